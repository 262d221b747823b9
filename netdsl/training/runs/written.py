"""What a network wrote while it learned: samples.jsonl in the folder of a run, a line for each row of its history."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from netdsl.ground.files import read_text, write_atomic

MOST_READ, MOST_LETTERS = 2**24, 4000  # bytes of a file, characters of a text


@dataclass(frozen=True)
class Written:
    """A text that a network wrote with the weights of row `epoch` of its history; step: as in `Epoch`."""

    epoch: int
    step: int | None
    text: str


def written_path(run: Path) -> Path:
    """Where a run keeps what its network wrote; it has none of a network that writes no text."""
    return run / "samples.jsonl"


def read_written(run: Path) -> tuple[Written, ...]:
    """What the network of a run wrote, by rows of the history; lines that are damaged are left out, for a run does
    not depend on them."""
    path, limit = written_path(run), MOST_READ
    try:
        lines = read_text(path, limit).splitlines()
    except (OSError, ValueError):  # there is none, or it is no text
        return ()
    texts = {one.epoch: one for one in map(_parsed, lines) if one is not None}
    return tuple(texts[epoch] for epoch in sorted(texts))


def keep_written(run: Path, new: Written) -> None:
    """Adds a text to those of the run's earlier rows, all or nothing. Raises OSError."""
    kept = [*(one for one in read_written(run) if one.epoch < new.epoch), new]
    write_atomic(written_path(run), "".join(map(_line, kept)))


def _line(one: Written) -> str:
    step = {} if one.step is None else {"step": one.step}
    return json.dumps({"epoch": one.epoch, **step, "text": one.text}) + "\n"


def _parsed(line: str) -> Written | None:
    try:
        values = json.loads(line)
        epoch, step, text = values["epoch"], values.get("step"), values["text"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    counts = [epoch] if step is None else [epoch, step]
    if not all(type(count) is int and 0 < count < 2**53 for count in counts) or not isinstance(text, str):
        return None
    return Written(epoch, step, text[:MOST_LETTERS].encode(errors="replace").decode())
