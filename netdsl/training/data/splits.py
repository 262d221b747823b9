"""Which samples are held out, for validation and for the test: functions of the seed."""

from __future__ import annotations

import numpy as np

from netdsl.ground.diagnostics import UserError

SPLIT = 3  # purpose of a random stream


def split_rows(
    count: int, fraction: float, seed: int, labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """-> the indices of the training and of the validation samples; a fraction above 0 gives one sample or more.

    Given labels (N,), each class gives its share, see `stratified`. Raises UserError where none are left to learn from.
    """
    held = max(1, round(fraction * count)) if fraction else 0
    if held >= count:
        text = f"{count} training samples do not leave any beside a validation part of {fraction}"
        raise UserError(text, help="use `--val 0`")
    rng = np.random.default_rng([seed, SPLIT])  # a stream of its own: what is held out does not move with the shuffling
    if labels is not None:
        return stratified(labels, held, rng)
    order = rng.permutation(count)
    return order[held:], order[:held]


def split_units(
    units: np.ndarray, y: np.ndarray, fraction: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """units (N,) -> the rows that stay and those that go, shuffled: all rows of a unit together.

    So many of the units go as the fraction says, one or more; given labels y (N,) int64, each class has its share of
    them, by the label that most rows of a unit have, and at least one where units are of one class each. Raises
    UserError where none would stay.
    """
    names, which = np.unique(units, return_inverse=True)
    held = max(1, round(fraction * len(names)))
    if held >= len(names):
        text = f"{len(names)} recording{'s' * (len(names) > 1)} cannot be split into two parts by {fraction}"
        raise UserError(text, help="use `--val 0`, or more recordings")
    if y.dtype == np.int64 and y.ndim == 1:
        counts = np.zeros((len(names), int(y.max()) + 1), np.int64)
        np.add.at(counts, (which, y), 1)
        are_pure = bool(np.all(np.count_nonzero(counts, axis=1) == 1))
        _, go = stratified(counts.argmax(axis=1), held, rng, least=int(are_pure))
    else:
        go = rng.permutation(len(names))[:held]
    goes = np.isin(which, go)
    return rng.permutation(np.flatnonzero(~goes)), rng.permutation(np.flatnonzero(goes))


def stratified(
    labels: np.ndarray, held: int, rng: np.random.Generator, least: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """labels (N,) -> the indices that stay and the `held` ones that do not, both shuffled.

    A class of n gives its share, held * n / N, rounded down; what is missing then comes from the largest remainders
    (Hamilton's method). Every class with more than `least` samples gives `least`, so that it may be more than `held`;
    none gives its last one. Where every class has one sample, they are taken as if there were no classes.
    """
    _, which, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    shares = held * sizes / len(labels)
    quotas = np.floor(shares).astype(np.int64)
    quotas[np.argsort(quotas - shares, kind="stable")[: held - quotas.sum()]] += 1
    quotas = np.minimum(np.where(sizes > least, np.maximum(quotas, least), quotas), sizes - 1)
    if not quotas.any():
        order = rng.permutation(len(labels))
        return order[held:], order[:held]
    by_class = np.split(np.argsort(which, kind="stable"), np.cumsum(sizes)[:-1])
    stay, go = [], []
    for members, quota in zip(by_class, quotas, strict=True):
        own = rng.permutation(members)
        go.append(own[:quota])
        stay.append(own[quota:])
    return rng.permutation(np.concatenate(stay)), rng.permutation(np.concatenate(go))
