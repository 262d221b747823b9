"""Backward passes against central differences of the loss, which know nothing of derivatives."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np

from netdsl.pipeline import Net
from netdsl.targets.contract import Model
from netdsl.targets.live.interpreter import LayerNetwork

TOLERANCE, LARGEST_TOLERANCE = 1e-7, 1e-3
STEPS = (1e-5, 1e-6, 1e-4, 1e-7, 1e-8)
DIRECTIONS = 3
DIRECTION = 5  # purpose of a random stream; by that of the batch the direction would be x, which norms do not feel
ROUNDED = 1e-4  # of the loss: TOLERANCE of it is how far its rounding reaches in a difference over the longest step
LARGE = 2e6  # numbers of a network's params and outputs from which on its memory counts
LARGE_WORK = 2e9  # MACs for one gradient check of each param; above it, of all together

M = TypeVar("M", bound=Model)
Pair = tuple[np.ndarray, np.ndarray]
"""An array, and the gradient by it."""


class Found(NamedTuple):
    """How far gradient and difference lie apart: absolute, relative, and what was allowed of the latter.

    saw: False where the gradient is 0 and the loss did not change, so that any factor of it would have passed.
    """

    error: float
    relative: float
    tolerance: float
    saw: bool = True

    @property
    def ratio(self) -> float:
        """Below 1 if the gradient is right."""
        return self.relative / self.tolerance


def network_to_check(net: Net, seed: int, dtype: str) -> LayerNetwork:
    """The layer objects of that seed, with biases that are not zero.

    Those of the check before may still be there, with all that they keep: a network and its layers refer to each other,
    and Python looks for such circles only now and then.
    """
    if net.graph.num_params + sum(node.type.size for node in net.graph.nodes) > LARGE:
        gc.collect()
    return without_zeros(net.build(seed, dtype), seed)


def without_zeros(network: M, seed: int) -> M:
    """The network, whose params that start as zeros (biases) are small numbers instead.

    Zeros would hide what is done to a bias, and a window of padding alone would give exactly zero, where a relu has two
    gradients and rounding picks one.
    """
    rng = np.random.default_rng(seed)
    for array in network.params.values():
        if not array.any():
            array[...] = 0.1 * rng.standard_normal(array.shape)
    return network


class GradientCheck(NamedTuple):
    """What was compared, the worst of it, and the names of what it saw nothing of."""

    title: str
    worst: Found
    unseen: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return self.worst.ratio < 1


def gradient_check(
    net: Net, x: np.ndarray | tuple[np.ndarray, ...], y: np.ndarray, seed: int, network: LayerNetwork | None = None
) -> GradientCheck:
    """The derivative of the loss along one direction for the input and each param, in float64, training mode.

    x, y: a batch, x in float64, a tuple where the inputs have names. network: what to check, by default the layer
    objects of that seed.
    """
    network = network_to_check(net, seed, "float64") if network is None else network
    rng = np.random.default_rng([seed, DIRECTION])
    xs = [array.copy() for array in (x if isinstance(x, tuple) else (x,))]

    def loss() -> float:
        network.rng = np.random.default_rng(seed)
        return float(network.loss(network.logits(*xs, training=True), y)[0])

    network.rng = np.random.default_rng(seed)
    value, dlogits = network.loss(network.logits(*xs, training=True), y)
    dx, grads = network.backward(dlogits)
    dxs = dx if isinstance(dx, tuple) else (dx,)
    names = (f"the input {given.name}".rstrip() for given in net.graph.inputs)
    inputs = zip(names, zip(xs, dxs, strict=True), strict=True)
    pairs = {name: pair for name, pair in inputs if pair[1] is not None}  # whole numbers do not move
    largest = max(float(np.linalg.norm(g)) for g in (*(g for _, g in pairs.values()), *grads.values()))
    size = abs(float(value))
    floor = max(1e-3 * largest, ROUNDED * size, 1e-15)
    pairs |= {name: (network.params[name], grads[name]) for name in network.params}
    one_by_one = net.graph.num_macs * len(pairs) < LARGE_WORK
    groups = {name: [pair] for name, pair in pairs.items()} if one_by_one else {"the network": list(pairs.values())}
    slopes = {name: _along_some_direction(loss, group, floor, rng) for name, group in groups.items()}
    if largest < TOLERANCE * ROUNDED * size:
        slopes = {name: one._replace(saw=False) for name, one in slopes.items()}
    return GradientCheck(
        f"gradient check by central differences{'' if one_by_one else ', all params together'}",
        max(slopes.values(), key=lambda one: (one.ratio, one.saw)),
        tuple(name for name, one in slopes.items() if not one.saw),
    )


def _along_some_direction(
    loss: Callable[[], float], pairs: list[Pair], floor: float, rng: np.random.Generator
) -> Found:
    """The best of a few directions: a kink (relu, max) near the point spoils one, a wrong gradient spoils all."""
    best = Found(float("inf"), float("inf"), TOLERANCE)
    for _ in range(DIRECTIONS):
        best = min(best, _along_one_direction(loss, pairs, floor, rng), key=lambda one: one.ratio)
        if best.ratio < 0.1:
            break
    return best


def _along_one_direction(loss: Callable[[], float], pairs: list[Pair], floor: float, rng: np.random.Generator) -> Found:
    """The best of a few step lengths.

    A network of millions of relus has kinks at any step, or a loss so large that its last digits drown the difference.
    Then the differences of two steps are no nearer to each other than to the gradient: that much is allowed.
    """
    directions = [_direction(gradient, rng, len(pairs)) for _, gradient in pairs]
    exact = float(sum((gradient * d).sum() for (_, gradient), d in zip(pairs, directions, strict=True)))
    scale = max(abs(exact), floor)
    error, derivatives, moved = float("inf"), {}, any(gradient.any() for _, gradient in pairs)
    for h, derivative in _differences(loss, pairs, directions):
        derivatives[h], moved = derivative, moved or derivative != 0
        error = min(error, abs(derivative - exact))
        if error < TOLERANCE / 10 * scale:
            return Found(error, error / scale, TOLERANCE, moved)
    ordered = [derivatives[h] for h in sorted(derivatives)]
    doubt = 2 * min(abs(a - b) for a, b in zip(ordered, ordered[1:], strict=False)) / scale
    return Found(error, error / scale, min(max(TOLERANCE, doubt), LARGEST_TOLERANCE))


def _differences(
    loss: Callable[[], float], pairs: list[Pair], directions: list[np.ndarray]
) -> Iterator[tuple[float, float]]:
    """Step length, derivative."""
    kept = [array.copy() for array, _ in pairs]
    for h in STEPS:
        values = []
        for sign in (1, -1):
            for (array, _), start, direction in zip(pairs, kept, directions, strict=True):
                array[...] = start + sign * h * direction
            values.append(loss())
        for (array, _), start in zip(pairs, kept, strict=True):
            array[...] = start
        yield h, (values[0] - values[1]) / (2 * h)


def _direction(gradient: np.ndarray, rng: np.random.Generator, count: int) -> np.ndarray:
    """Half random, half along the gradient, so that the derivative is not small; `count` of them have length 1.

    The random half points to the gradient's side: of one number the halves would cancel where it points the other way.
    """
    random = rng.standard_normal(gradient.shape)
    side = -1.0 if (random * gradient).sum() < 0 else 1.0
    direction = side * random / np.linalg.norm(random) + gradient / max(float(np.linalg.norm(gradient)), 1e-300)
    return direction / (np.linalg.norm(direction) * count**0.5)
