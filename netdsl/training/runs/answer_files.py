"""What a network says about samples, written to files: tables, arrays, and images of masks or pictures."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.ground.diagnostics import UserError
from netdsl.ground.files import write_atomic
from netdsl.ground.reading import shown
from netdsl.ground.system.disk import name_in_letters
from netdsl.training.drawing.tiles import can_be_shown
from netdsl.training.scores.task import Task

MAX_COLUMNS = 10_000  # of a table

Source = tuple[str, int | None]  # a file, and the row in it where it holds several


def check_out(out: Path, task: Task, gives: Tensor) -> None:
    """Raises UserError unless the answers of this task fit the file `out`, or the folder where it has no suffix."""
    suffix = out.suffix.lower()
    numbers = prod(gives.space) if task.kind == "masks" else gives.length if task.kind == "tokens" else gives.size
    if suffix == ".csv" and (numbers > MAX_COLUMNS or (task.kind == "masks" and gives.axes > 1)):
        what = "masks" if task.kind == "masks" else f"{gives.size:,} numbers a sample"
        folder = "`--out FOLDER` or " if _are_pictures(task, gives) else ""
        raise UserError(f"{what} do not fit a table", help=f"use {folder}`--out FILE.npz`")
    if suffix in (".csv", ".npz", ".npy"):
        return
    if suffix or out.is_file():
        raise UserError(f"cannot write {shown(out)}: answers go to a .csv, .npz or .npy file, masks also to a folder")
    if not _are_pictures(task, gives):
        text = f"cannot write {shown(out)}: only masks and pictures go to a folder"
        raise UserError(text, help=f"use `--out FILE{'.npz' if gives.axes > 1 else '.csv'}`")
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"the folder {shown(out)} is not empty", help="choose another `--out`")


def _are_pictures(task: Task, gives: Tensor) -> bool:
    return (task.kind == "masks" and gives.is_image) or (not task.classes and can_be_shown(gives))


def write_answers(out: Path, task: Task, sources: Sequence[Source], answers: np.ndarray) -> None:
    """Writes the answers of all samples: probabilities (N, K), masks (N, *space), classes of tokens (N, T) or numbers
    (N, ...). Raises OSError."""
    suffix = out.suffix.lower()
    out.parent.mkdir(parents=True, exist_ok=True)
    if suffix == ".csv":
        write_atomic(out, table_of(task, sources, answers))
    elif suffix == ".npy":
        write_atomic(out, _bytes(np.save, answers))
    elif suffix == ".npz":
        name = task.kind if task.kind in ("masks", "tokens") else "probabilities" if task.classes else "predicted"
        arrays = {name: answers, "files": np.array([_written(file) for file, _ in sources])}
        arrays["rows"] = np.array([-1 if row is None else row for _, row in sources])
        if task.classes:
            arrays["classes"] = np.array(task.classes)
        write_atomic(out, _bytes(np.savez_compressed, **arrays))
    else:
        _write_pictures(out, task, sources, answers)


def table_of(task: Task, sources: Sequence[Source], answers: np.ndarray) -> str:
    """A csv with a row a sample: file, row, and the class with the probability of each, or the numbers; of the masks of
    signals the class of each step, and of tokens that of each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    flat = answers.reshape(len(answers), -1)
    says_one = bool(task.classes) and task.kind not in ("masks", "tokens")
    writer.writerow(["file", "row", *(["class"] if says_one else []), *_columns(task, flat.shape[1])])
    for (file, row), values in zip(sources, flat, strict=True):
        said = [task.classes[int(values.argmax())]] if says_one else []
        if task.kind in ("masks", "tokens"):
            cells = [task.classes[k] if k < len(task.classes) else str(k) for k in values.tolist()]
        else:
            cells = [f"{value:.7g}" for value in values.tolist()]
        writer.writerow([_written(file), "" if row is None else row, *said, *cells])
    return text.getvalue()


def _columns(task: Task, count: int) -> tuple[str, ...]:
    """The names of the columns of the answers."""
    if task.kind in ("masks", "tokens"):
        return tuple(f"{task.place}_{k}" for k in range(count))
    return task.classes or (("output",) if count == 1 else tuple(f"output_{k}" for k in range(count)))


def _written(file: str) -> str:
    """The name of a file in letters of UTF-8, and its other bytes in escapes."""
    return name_in_letters(file).encode("utf-8", "backslashreplace").decode()


def _bytes(save: Callable[..., None], *arrays: np.ndarray, **named: np.ndarray) -> bytes:
    file = io.BytesIO()
    save(file, *arrays, **named)
    return file.getvalue()


def _write_pictures(folder: Path, task: Task, sources: Sequence[Source], answers: np.ndarray) -> None:
    """A PNG a sample, by the name of its file: of masks the number of the class at each pixel, with colours."""
    folder.mkdir(parents=True, exist_ok=True)
    for (file, row), answer in zip(sources, answers, strict=True):
        stem = Path(file).stem + ("" if row is None else f"_{row:05}")
        name, n = stem, 2
        while (folder / f"{name}.png").exists():  # the folder was empty; to some systems `A.png` is `a.png`
            name, n = f"{stem}_{n}", n + 1
        write_atomic(folder / f"{name}.png", _png(answer, len(task.classes)))


def _png(answer: np.ndarray, classes: int) -> bytes:
    from PIL import Image

    from netdsl.training.drawing.tiles import class_colours

    if classes:
        kind = np.uint8 if classes <= 256 else np.uint16
        image = Image.fromarray(answer.astype(kind))
        if classes <= 256:
            image.putpalette(np.rint(255 * class_colours(classes)).astype(np.uint8).tobytes())
    else:
        levels = np.rint(255 * np.clip(answer, 0, 1)).astype(np.uint8)
        image = Image.fromarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
