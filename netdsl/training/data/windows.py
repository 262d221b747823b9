"""Long recordings cut into windows that a network takes, and into pieces that keep training and test apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

MOST_PIECES = 20  # of a recording
WINDOWS_A_PIECE = 2  # without overlap, at least
RECORDINGS_A_CLASS = 3  # at least, where recordings stay whole: one each to learn from, to validate and to test


@dataclass(frozen=True)
class Recording:
    """Steps that follow each other: x (rows, C) float32, y (rows,) of any kind or None, and the name of what must not
    be torn apart between training and test."""

    x: np.ndarray
    y: np.ndarray | None
    unit: str


def in_pieces(recordings: Sequence[Recording], length: int) -> list[Recording]:
    """Each recording as up to MOST_PIECES of about one size, each a unit of its own.

    Windows are cut from a piece alone, so that none of two pieces have a step in common.
    """
    pieces = []
    for number, recording in enumerate(recordings):
        count = max(1, min(MOST_PIECES, len(recording.x) // (WINDOWS_A_PIECE * length)))
        edges = np.linspace(0, len(recording.x), count + 1).astype(int).tolist()
        for k, (start, end) in enumerate(zip(edges, edges[1:], strict=False)):
            y = None if recording.y is None else recording.y[start:end]
            pieces.append(replace(recording, x=recording.x[start:end], y=y, unit=f"{number} {k}"))
    return pieces


def stay_whole(recordings: Iterable[Recording], are_classes: bool) -> bool:
    """Whether there are so many units, of each class where there are such, that each part can have whole ones."""
    units_of: dict[object, set[str]] = {}
    for recording in recordings:
        labels = set(recording.y.tolist()) if are_classes and recording.y is not None else {None}
        for label in labels:
            units_of.setdefault(label, set()).add(recording.unit)
    return min(map(len, units_of.values()), default=0) >= RECORDINGS_A_CLASS


def starts(recording: Recording, length: int, stride: int) -> range:
    """The steps that its windows begin with."""
    return range(0, len(recording.x) - length + 1, stride)


def windows_of(recordings: Sequence[Recording], length: int, stride: int) -> np.ndarray:
    """-> (N, C, length) float32: every `stride`-th window of each recording; what is left at its end is not used."""
    pieces = [
        sliding_window_view(recording.x, length, axis=0)[::stride]  # (n, C, length)
        for recording in recordings
        if len(recording.x) >= length
    ]
    return np.ascontiguousarray(np.concatenate(pieces), np.float32)


def labels_of(recordings: Sequence[Recording], length: int, stride: int, are_classes: bool) -> np.ndarray:
    """-> the targets (N,) of the windows: the class that most steps of a window have, of several the one that sorts
    first; of numbers the mean."""
    return np.concatenate([_labels(r, length, stride, are_classes) for r in recordings if len(r.x) >= length])


def _labels(recording: Recording, length: int, stride: int, are_classes: bool) -> np.ndarray:
    assert recording.y is not None, recording.unit
    if not are_classes:
        means: np.ndarray = sliding_window_view(recording.y, length)[::stride].mean(axis=1)
        return means
    values, codes = np.unique(recording.y, return_inverse=True)
    counts = [_sums(codes == k, length)[::stride] for k in range(len(values))]
    labels: np.ndarray = values[np.argmax(counts, axis=0)]
    return labels


def _sums(steps: np.ndarray, length: int) -> np.ndarray:
    """steps (rows,) booleans -> how many are true in each window, (rows - length + 1,)."""
    sums = np.concatenate([[0], np.cumsum(steps)])
    totals: np.ndarray = sums[length:] - sums[:-length]
    return totals


def last_labels_of(recordings: Sequence[Recording], length: int, stride: int) -> np.ndarray:
    """-> the targets (N,) of the windows: that of the last step of each."""
    ys = [recording.y for recording in recordings if recording.y is not None and len(recording.x) >= length]
    return np.concatenate([y[length - 1 :: stride] for y in ys])


def dense_labels_of(recordings: Sequence[Recording], length: int, stride: int) -> np.ndarray:
    """-> the targets (N, length) of the windows' steps."""
    ys = [recording.y for recording in recordings if recording.y is not None and len(recording.x) >= length]
    return np.concatenate([sliding_window_view(y, length)[::stride] for y in ys])


def units_of(recordings: Sequence[Recording], length: int, stride: int) -> np.ndarray:
    """-> the number of the unit (N,) int64 that each window is of."""
    names = {name: k for k, name in enumerate(sorted({recording.unit for recording in recordings}))}
    counts = [len(starts(recording, length, stride)) for recording in recordings]
    return np.repeat(np.array([names[recording.unit] for recording in recordings], np.int64), counts)
