"""The bytes of a spec as text, and what they are where they are none: another encoding, or another kind of file."""

from __future__ import annotations

from netdsl.ground.diagnostics import Diagnostic
from netdsl.ground.source import Source, Span

_MARKS = (
    (b"\xff\xfe\0\0", "UTF-32", "utf-32"),
    (b"\0\0\xfe\xff", "UTF-32", "utf-32"),
    (b"\xff\xfe", "UTF-16", "utf-16"),
    (b"\xfe\xff", "UTF-16", "utf-16"),
)
_KINDS = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip archive (so are `.npz`, `.pt` and `.docx` files)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x7fELF", "a program"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
)
_SAVE = "save it as UTF-8 in your editor, or with `iconv -f {} -t UTF-8 {} > new.net`"


def text_of(data: bytes, name: str) -> str | Diagnostic:
    """The text that the bytes are in UTF-8, or what is wrong with them."""
    strange = no_text(data, name)
    if strange is not None:
        return strange
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        return _not_utf8(data, name, error)


def no_text(data: bytes, name: str) -> Diagnostic | None:
    """What is said of bytes that are UTF-16, UTF-32 or no text at all; their start is enough."""
    mark = next((m for m in _MARKS if data.startswith(m[0])), None) or _unmarked(data)
    if mark is not None:
        help_text = _SAVE.format(mark[2].upper(), _shell(name))
        if mark[1] == "UTF-16":
            help_text += f"; in PowerShell: `Get-Content {_shell(name)} | Set-Content -Encoding utf8 new.net`"
        return _complaint(name, f"the file is {mark[1]} text, and a spec is UTF-8", help_text)
    kind = _kind(data)
    if kind is None:
        return None
    return _complaint(name, f"the file is {kind}, not a spec", "a spec is a text file, usually called `NAME.net`")


def _kind(data: bytes) -> str | None:
    """What a file is that is no text; None where it may be one."""
    for start, kind in _KINDS:
        if data.startswith(start) and (len(start) > 2 or b"\0" in data[:64]):
            return kind
    if data[8:10] == b'{"' and int.from_bytes(data[:8], "little") < 2**32 and b"\0" in data[:8]:
        return "a file of weights (safetensors)"
    if data.count(b"\0") > len(data) // 50:
        return "binary"
    return None


def _unmarked(data: bytes) -> tuple[bytes, str, str] | None:
    """UTF-16 or UTF-32 without a mark at its start: most of a spec is ASCII, so other bytes are zero in a pattern."""
    start = data[:400]
    for width, name in ((4, "UTF-32"), (2, "UTF-16")):
        for place, order in ((0, "LE"), (width - 1, "BE")):
            letters = start[place::width]
            others = len(start) - len(letters)
            zeros = start.count(0) - letters.count(0)
            if others and letters.count(0) < 0.1 * len(letters) and zeros > 0.8 * others and len(start) >= 2 * width:
                return b"", name, f"{name}{order}"
    return None


def _not_utf8(data: bytes, name: str, error: UnicodeDecodeError) -> Diagnostic:
    """Marks the first byte that is wrong, and says which letter it is in the usual older encoding."""
    good = data[: error.start].decode("utf-8")
    span = Span(Source(name, good + "\ufffd"), len(good), len(good) + 1)
    value = data[error.start]
    message = f"the file is not UTF-8 text: byte 0x{value:02x} at offset {error.start}"
    letter = bytes([value]).decode("cp1252", errors="replace")
    notes = (
        (f"in Windows-1252 (Latin-1) that byte is `{letter}`",) if letter.isprintable() and letter != "\ufffd" else ()
    )
    return Diagnostic("N001", message, span, notes=notes, help=(_SAVE.format("WINDOWS-1252", _shell(name)),))


def _complaint(name: str, message: str, help: str) -> Diagnostic:
    return Diagnostic("N001", message, Span(Source(name, ""), 0, 0), help=(help,))


def _shell(name: str) -> str:
    """A file name as a shell takes it."""
    return name if name.replace("/", "").replace(".", "").replace("-", "").isalnum() else f"'{name}'"
