"""Texts as data to learn from: characters or bytes as whole numbers, in windows of which each is asked what follows."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from netdsl.ground.diagnostics import UserError, plain
from netdsl.ground.reading import reading, shown
from netdsl.training.data.dataset import Dataset
from netdsl.training.data.limits import MAX_BYTES
from netdsl.training.data.stored import joined
from netdsl.training.data.token_windows import Windows
from netdsl.training.data.wanted import Wanted

SUFFIXES = (".txt", ".text")
WINDOW, VAL = 64, 0.1  # of a text that nobody said a network or a share for
MAX_VOCABULARY = 100_000
MAX_NAMED = 8  # characters in a message
PIECE = 2**20  # bytes that are decoded together
POINTS = 0x110000  # code points of Unicode

BYTE_NAMES = tuple(chr(k) if 32 <= k < 127 else f"\\x{k:02x}" for k in range(256))
"""What the numbers of a text of bytes are called: ASCII's letters, and the rest in escapes."""


@dataclass(frozen=True)
class Text:
    """A text as whole numbers: ids (L,), each the place of a character in the vocabulary; notes on what was changed."""

    ids: np.ndarray
    vocabulary: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """What one of its numbers is: `character` or `byte`."""
        return unit_of(self.vocabulary)

    def passage(self, start: int = 0, count: int = 400) -> str:
        """So many characters from there on, as they stand in the text."""
        return decoded(self.ids[start : start + count], self.vocabulary)


def unit_of(vocabulary: tuple[str, ...]) -> str:
    """`character`, or `byte` where these are the names of bytes."""
    return "byte" if vocabulary == BYTE_NAMES else "character"


def decoded(ids: np.ndarray, vocabulary: tuple[str, ...]) -> str:
    """ids (n,) -> the text that they stand for; of bytes that are no UTF-8 escapes."""
    if vocabulary == BYTE_NAMES:
        return bytes(ids.tolist()).decode("utf-8", "backslashreplace")
    return "".join(vocabulary[k] for k in ids.tolist())


def is_text(name: str, want: Wanted) -> bool:
    """Whether data of that name are a text: the options say so, or the name does and the network takes ids. A `.npz` is
    none, whatever the options of the run say that it is given to."""
    takes_ids, lower = want.takes is None or want.takes.is_ids, name.lower()
    is_named = takes_ids and lower.endswith(SUFFIXES) and not os.path.isdir(name)
    return is_named or ("text" in want.options and not lower.endswith(".npz"))


def text_file(path: Path, want: Wanted, limit: int | None = None) -> Dataset:
    """A text of one's own, see `text_dataset`. Raises UserError."""
    with reading(path):
        if (size := os.path.getsize(path)) > MAX_BYTES:
            raise UserError(f"{shown(path)} has {size} bytes, the limit is {MAX_BYTES}")
        raw = path.read_bytes()
        text = text_of(shown(path), raw, want.options.get("text") == "bytes", want.names)
    return text_dataset(plain(path.name), text, want, limit, want.unused("texts", "text"))


def text_of(where: str, raw: bytes, are_bytes: bool = False, names: tuple[str, ...] = ()) -> Text:
    """The bytes of a text as whole numbers; where: what it is called in a message.

    Characters are those of UTF-8, or of UTF-16 where its mark stands first; lines that end with CR LF end with LF. The
    vocabulary is the characters sorted, `names` where those are known, or with are_bytes all 256 bytes. Raises
    UserError.
    """
    if not raw:
        raise UserError(f"{where} is empty", help="a text has at least as many characters as the input, and one more")
    if are_bytes or names == BYTE_NAMES:
        return Text(np.frombuffer(raw, np.uint8), BYTE_NAMES)
    raw, notes = _in_lines(where, raw)
    counts = np.zeros(POINTS, np.int64)
    for points in _points(where, raw):
        counts += np.bincount(points, minlength=POINTS)
    used = np.flatnonzero(counts)
    if counts[0]:
        raise UserError(f"{where} has the character NUL, {counts[0]:,} of them: it is no text", help=_bytes_help(where))
    if not names and len(used) > MAX_VOCABULARY:
        raise UserError(f"{where} has {len(used)} different characters, the limit is {MAX_VOCABULARY}")
    vocabulary = names or tuple(map(chr, used.tolist()))
    codes = np.array([ord(name) if len(name) == 1 else -1 for name in vocabulary])
    _check_known(where, counts, used, codes)
    table = np.zeros(POINTS, _dtype(len(vocabulary)))
    table[codes[codes >= 0]] = np.flatnonzero(codes >= 0)
    ids, done = np.empty(int(counts.sum()), table.dtype), 0
    for points in _points(where, raw):
        ids[done : done + len(points)] = table[points]
        done += len(points)
    return Text(ids, vocabulary, notes)


def _dtype(count: int) -> type[np.unsignedinteger]:
    return np.uint8 if count <= 2**8 else np.uint16 if count <= 2**16 else np.uint32


def _in_lines(where: str, raw: bytes) -> tuple[bytes, tuple[str, ...]]:
    """The bytes as UTF-8 without a mark, whose lines end with LF, and a note where they did not."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            raw = raw.decode("utf-16").encode()
        except UnicodeError:
            raise UserError(f"{where} begins as UTF-16 and is none", help=_bytes_help(where)) from None
    raw = raw.removeprefix(codecs.BOM_UTF8)
    if not raw:
        raise UserError(f"{where} is empty but for a byte order mark", help="write a text into it")
    if b"\r\n" not in raw:
        return raw, ()
    return raw.replace(b"\r\n", b"\n"), (f"the lines of {where} end with CR LF: read as LF",)


def _points(where: str, raw: bytes) -> Iterator[np.ndarray]:
    """The code points (n,) of pieces of UTF-8, in order. Raises UserError."""
    decoder, view = codecs.getincrementaldecoder("utf-8")(), memoryview(raw)
    for start in range(0, len(raw), PIECE):
        try:
            piece = decoder.decode(view[start : start + PIECE], start + PIECE >= len(raw))
        except UnicodeDecodeError:
            raise _no_text(where, raw) from None
        yield np.frombuffer(piece.encode("utf-32-le"), "<u4")


def _no_text(where: str, raw: bytes) -> UserError:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        at = error.start
        line = raw.count(b"\n", 0, at) + 1
        return UserError(f"{where} is not UTF-8: byte {at}, on line {line}, is 0x{raw[at]:02x}", _bytes_help(where))
    raise AssertionError(f"{where} is UTF-8 as a whole")


def _bytes_help(where: str) -> str:
    path = where.strip("`")
    return f'save it as UTF-8, or take its bytes: `data text "{path}" bytes` and `input 64 of 256`'


def _check_known(where: str, counts: np.ndarray, used: np.ndarray, codes: np.ndarray) -> None:
    """Raises UserError where a text has characters that the vocabulary of a run has not."""
    unknown = np.setdiff1d(used, codes)
    if not unknown.size:
        return
    most = unknown[np.argsort(-counts[unknown], kind="stable")][:MAX_NAMED]
    times = {k: f"{counts[k]:,} times" if counts[k] > 1 else "once" for k in most.tolist()}
    some = ", ".join(f"`{plain(chr(k))}` ({often})" for k, often in times.items())
    more = f" and {len(unknown) - len(most)} others" if len(unknown) > len(most) else ""
    total = int(counts[unknown].sum())
    text = f"{where} has {total:,} {'character' if total == 1 else 'characters'} that the network does not know"
    raise UserError(f"{text}: {some}{more}", help="its vocabulary is that of the text that it learned from")


def text_dataset(
    name: str, text: Text, want: Wanted, limit: int | None = None, more_notes: tuple[str, ...] = ()
) -> Dataset:
    """A text in windows of the network's length: x (N, T) int64, and y (N, T), what follows each of them.

    The first 1 - val of the text is learned from, the rest is the validation part, and the test part too, since
    windows that lie next to each other are no stranger to what is learned than to each other. Without validation part
    the whole text is the test part. limit: of the windows of each part. Raises UserError.
    """
    ids, takes = text.ids, want.takes if want.takes is not None and want.takes.is_ids else None
    length, val = (WINDOW, VAL) if takes is None else (takes.length, want.val)
    known, given = len(text.vocabulary), None if takes is None else takes.limit
    if given is not None and known > given:
        what = f"`{name}` has {known} different {text.unit}s" if text.unit != "byte" else "a text of bytes has 256"
        raise UserError(
            f"{what}, but the network takes {given}", help=f"begin the spec with `input {length} of {known}`"
        )
    begin = int((1 - val) * len(ids))
    learned, held = ids[:begin], ids[begin:]
    _check_length(name, text.unit, learned, length, "part to learn from" if val else "text")
    if val:
        _check_length(name, text.unit, held, length, f"validation part, the last {val:.3g} of it,")
    if limit is not None:
        learned, held = learned[: (limit + 1) * length], held[: limit * length + 1]
    whole = held if val else learned
    x, y = (Windows(learned, length, ahead, moves=True) for ahead in (0, 1))
    x_test, y_test = (Windows(whole, length, ahead) for ahead in (0, 1))
    count = f"{len(whole):,} {text.unit}s"
    note = f"the test part of `{name}` is its validation part, its last {count}"
    if not val:
        note = f"`{name}` has no validation part: its test part is all of it, {count}"
    return Dataset(
        name,
        joined([x, x_test]) if val else x,
        joined([y, y_test]) if val else y,
        x_test,
        y_test,
        text.vocabulary,
        (0.0,),
        (1.0,),
        held=len(x_test) if val else 0,
        notes=(*text.notes, note, *more_notes),
        layout="ids",
        limit=known if given is None else given,
        counted=f"{len(learned):,} + {len(held):,} {text.unit}s, {known} different ones",
    )


def _check_length(name: str, unit: str, ids: np.ndarray, length: int, part: str) -> None:
    if len(ids) > length:
        return
    text = f"the {part} of `{name}` has {len(ids)} {unit}s"
    if part == "text":
        text = f"the text `{name}` has {len(ids)} {unit}s"
    shorter = f"begin the spec with a shorter input, as `input {len(ids) - 1} of ...`" if len(ids) > 1 else "add to it"
    raise UserError(
        f"{text}, but the input takes {length} and one that follows", help=f"use a longer text, or {shorter}"
    )
