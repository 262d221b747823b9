"""A `Dataset`, and its normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from netdsl.graph.types import Layout, Tensor, from_sizes, show_sizes
from netdsl.training.data.limits import MAX_BYTES
from netdsl.training.data.splits import SPLIT, split_rows, split_units
from netdsl.training.data.stored import Samples, Stored, marks, spaced

MAX_CONSTANTS = 64  # features or channels normalised one by one; more of them share one mean and std
CHUNK = 2**22  # values looked at together for the statistics, to bound memory
MAX_MEASURED = MAX_BYTES  # of the samples that the statistics are of; of more samples evenly spaced ones


@dataclass(frozen=True)
class Dataset:
    """x (N, *input_shape) uint8 or float32; y int64 labels (N,), masks (N, *space) or labels of tokens (N, T) with
    `classes`, or float32 targets (N, ...) without. What does not fit into memory is read when it is asked for, see
    `Stored`: x, and y that copies it.

    `mean` and `std` have one entry per index of x's axis 1, or one in all; those of uint8 data are of x / 255. held: so
    many samples at the end of the training arrays are the validation part that the data brought. is_own: neither built
    in nor made by the caller: its classes are split alike. bits: how many of their bits 16-bit images use, None without
    such. notes: what was changed on reading, in words. is_fed_raw: the network normalises by itself
    (netdsl.training.data.normalization). layout: what a sample is to the network that it was read for, a signal (C, L),
    tokens (T, D) or ids (T,), int64; None: what plain sizes say. limit: of ids, all of which are below it. counted: how
    much there is to learn from and to test, in words, where that is not told in samples. rate: of recordings, numbers a
    second; None of others. units: of each training sample the number of the recording that it is a window of, which
    parts do not tear apart.
    """

    name: str
    x_train: Samples
    y_train: Samples
    x_test: Samples
    y_test: Samples
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    is_fed_raw: bool = False
    held: int = 0
    is_own: bool = False
    bits: int | None = None
    notes: tuple[str, ...] = ()
    layout: Layout | None = None
    rate: int | None = None
    units: np.ndarray | None = None
    limit: int = 0
    counted: str = ""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample, (C, *space) of a map."""
        return self.x_train.shape[1:]

    @property
    def input_type(self) -> Tensor:
        """What one sample is."""
        if self.has_ids:
            return from_sizes(self.input_shape, limit=self.limit)
        return Tensor(self.layout, self.input_shape) if self.layout else from_sizes(self.input_shape)

    @property
    def written(self) -> str:
        """The shape of one sample as the sizes of an `input` are written."""
        return self.input_type.show_type() if self.layout in ("map", "ids") else show_sizes(self.input_shape)

    @property
    def has_ids(self) -> bool:
        """Whether samples are whole numbers of a vocabulary, which nothing normalises or moves."""
        return self.layout == "ids"

    @property
    def has_masks(self) -> bool:
        """Whether a sample has a class for each of its places."""
        return bool(self.classes) and self.y_train.ndim > 1 and not self.has_token_labels

    @property
    def has_token_labels(self) -> bool:
        """Whether a sample of tokens or ids has a class for each of them."""
        return bool(self.classes) and self.y_train.ndim > 1 and self.layout in ("tokens", "ids")

    @property
    def target_space(self) -> tuple[int, ...]:
        """The space of targets that are maps as the samples are, masks (N, *space) or (N, C, *space); () of others."""
        axes, y = self.input_type.axes, self.y_train
        is_map = axes and y.ndim in ((axes + 1, axes + 2) if self.classes or axes > 1 else (axes + 2,))
        return y.shape[-axes:] if is_map else ()

    def parts(self, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """-> the indices of the training and of the validation samples in the training arrays.

        fraction: the share for validation; 0: none; of data that brought their own validation part just that, or none.
        Labels of one's own data are in both parts alike; of windows whole recordings are. Raises UserError where no
        sample is left to learn from.
        """
        if self.held:
            rows = np.arange(len(self.x_train))
            return rows[: -self.held], rows[-self.held :] if fraction else rows[:0]
        y = None if isinstance(self.y_train, Stored) else self.y_train
        if self.units is not None and fraction and y is not None:
            return split_units(self.units, y, fraction, np.random.default_rng([seed, SPLIT]))
        has_labels = self.is_own and y is not None and y.ndim == 1
        return split_rows(len(self.x_train), fraction, seed, y if has_labels else None)

    def digest(self) -> str:
        """The digest of the training samples, their targets and how they are split, in hexadecimal: BLAKE2b, which is
        fast. A run keeps it, to tell later whether its data are still the same."""
        digest = blake2b(f"alike {self.held}\n".encode() if self.is_own else b"", digest_size=16)
        for array in (self.x_train, self.y_train, *([] if self.units is None else [self.units])):
            digest.update(f"{array.dtype.str} {array.shape}\n".encode())
            for piece in marks(array):
                digest.update(piece)
        return digest.hexdigest()

    def normalized(self, x: np.ndarray) -> np.ndarray:
        """x (N, *input_shape) -> float32 of the same shape, as the network is fed: raw if it normalises by itself; ids
        as they are."""
        if self.has_ids:
            return x
        return raw(x) if self.is_fed_raw else normalize(x, self.mean, self.std)


def raw(x: np.ndarray) -> np.ndarray:
    """x (N, ...) -> float32 of the same shape; uint8 is divided by 255."""
    return np.divide(x, 255, dtype=np.float32) if x.dtype == np.uint8 else x.astype(np.float32)


def normalize(x: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """x (N, C, ...) -> float32 (x - mean) / std per channel, or by one mean and std; uint8 is divided by 255 first."""
    assert len(mean) == len(std) and len(mean) in (1, *x.shape[1:2]), (x.shape, mean, std)
    columns = (-1, *[1] * (x.ndim - 2)) if len(mean) > 1 else ()
    m, s = (np.array(v, np.float32).reshape(columns) for v in (mean, std))
    values = raw(x)
    values -= m  # in place: memory asked for anew costs as much as the arithmetic
    values /= s
    return values


def statistics(
    x: Samples, rows: np.ndarray | None = None, layout: Layout | None = None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """x (N, C, ...) -> mean, std for `normalize`: per feature of vectors, per channel of maps, else one each.

    Those of the samples `rows`, None: of all; of more than MAX_MEASURED bytes those of evenly spaced samples. layout:
    as in `Dataset`. A constant feature gets std 1. The samples are gone through in the order of their rows, so that
    what is read from a disk is read from its beginning to its end.
    """
    rows = np.arange(len(x)) if rows is None else np.sort(rows)
    rows, values = rows[spaced(len(rows), most_measured(x))], math.prod(x.shape[1:])
    are_columns = layout in ("vector", "map") if layout else x.ndim in (2, 4, 5)
    is_apart = are_columns and x.shape[1] <= MAX_CONSTANTS
    axes = (0, *range(2, x.ndim)) if is_apart else tuple(range(x.ndim))
    count, size = len(rows) * values // (x.shape[1] if is_apart else 1), max(1, CHUNK // values)
    chunks = [rows[i : i + size] for i in range(0, len(rows), size)]
    return (_of_bytes if x.dtype == np.uint8 else _of_floats)(x, chunks, axes, count)


def most_measured(x: Samples) -> int:
    """Of how many of such samples the statistics are, at most."""
    return max(1, MAX_MEASURED // (math.prod(x.shape[1:]) * x.dtype.itemsize))


def _of_bytes(
    x: Samples, chunks: Sequence[np.ndarray], axes: tuple[int, ...], count: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean and std of bytes / 255 by their exact sums, of `count` values each: every sample is read once."""
    sums, squares = [0], [0]
    for rows in chunks:
        piece = x[rows]
        own = np.atleast_1d(piece.sum(axes, dtype=np.uint64)).tolist()
        own_squares = np.atleast_1d(np.square(piece, dtype=np.uint16).sum(axes, dtype=np.uint64)).tolist()
        sums, squares = _added(sums, own), _added(squares, own_squares)
    mean = tuple(s / (255 * count) for s in sums)
    spread = [count * q - s * s for s, q in zip(sums, squares, strict=True)]  # count^2 times the variance of the bytes
    return mean, tuple(math.sqrt(v) / (255 * count) if v else 1.0 for v in spread)


def _added(totals: list[int], more: list[int]) -> list[int]:
    return more if totals == [0] else [a + b for a, b in zip(totals, more, strict=True)]


def _of_floats(
    x: Samples, chunks: Sequence[np.ndarray], axes: tuple[int, ...], count: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    mean = sum(x[c].astype(np.float64).sum(axes, keepdims=True) for c in chunks) / count
    var = sum(((x[c].astype(np.float64) - mean) ** 2).sum(axes, keepdims=True) for c in chunks) / count
    std = np.sqrt(var).ravel()
    is_constant = std <= np.maximum(1e-30, 1e-12 * np.abs(mean.ravel()))  # but for rounding
    return tuple(mean.ravel().tolist()), tuple(np.where(is_constant, 1.0, std).tolist())
