"""Test-time flips: what a network says of a sample and of its mirror images, as one answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import chain, combinations
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from netdsl.analysis.loss import gives_probabilities
from netdsl.ground.diagnostics import UserError
from netdsl.kernels.stable import softplus

if TYPE_CHECKING:
    from netdsl.pipeline import Net

AXES: Mapping[str, int] = {"flip": -1, "vflip": -2}
"""A change of `augment` -> the axis of arrays that it mirrors."""


class Answering(Protocol):
    """What scores ask of a model (netdsl.targets.contract.Model says more of each)."""

    def forward(self, x: np.ndarray, /) -> Any: ...
    def logits(self, x: np.ndarray, /) -> np.ndarray: ...
    def loss(self, logits: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]: ...


@dataclass(frozen=True)
class Mirrored:
    """A model whose answers are means over each sample and its mirror images, as the net's loss reads them.

    Of labels the mean is one of probabilities, given as its logarithm, whose softmax it is; of outputs that are true or
    not one of probabilities, given as their logits; of numbers one of numbers. Outputs that are maps are mirrored back.
    views: the axes that each view is mirrored along, () among them.
    """

    model: Answering
    net: Net
    views: tuple[tuple[int, ...], ...]

    @property
    def described(self) -> str:
        """`mean of each image and its mirror image`."""
        more = len(self.views) - 1
        images = "its mirror image" if more == 1 else f"its {more} mirror images"
        return f"mean of each {self.net.graph.input_type.kind} and {images}"

    def forward(self, x: np.ndarray, /) -> np.ndarray:
        """x (N, *input_shape) -> what the network gives, (N, *output_shape): probabilities, if it gives such."""
        gives_numbers = gives_probabilities(self.net.graph)
        return self._mean(self.model.forward, x, "numbers" if gives_numbers else self.net.recipe.targets)

    def logits(self, x: np.ndarray, /) -> np.ndarray:
        """x (N, *input_shape) -> what the loss reads, (N, ...)."""
        return self._mean(self.model.logits, x, self.net.recipe.targets)

    def loss(self, logits: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        """What the loss reads, (N, ...), and targets (N, ...) -> mean loss, the gradient by the logits."""
        return self.model.loss(logits, target)

    def _mean(self, answer: Callable[[np.ndarray], np.ndarray], x: np.ndarray, targets: str) -> np.ndarray:
        outputs = self._outputs(answer, x)
        if targets == "labels":
            return _mean_of_labels(outputs, len(self.views))
        return _mean_of_truth(outputs) if targets == "truth" else _mean_of_numbers(outputs, len(self.views))

    def _outputs(self, answer: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> Iterator[np.ndarray]:
        """What the model says of each view, maps mirrored back; it may write the next ones over them."""
        for axes in self.views:
            y = answer(np.ascontiguousarray(np.flip(x, axes)))
            yield np.flip(y, axes) if self.net.graph.output_type.is_map else y


def mirrored(net: Net, model: Answering) -> Mirrored:
    """The model that sees each sample mirrored too: along the axes that training mirrored, of images else left for
    right.

    Raises UserError where samples have no mirror images, where training showed none of signals or volumes, and where
    what the network gives cannot be mirrored back.
    """
    takes, gives = net.graph.input_type, net.graph.output_type
    learned = tuple(name for name in AXES if name in net.recipe.augment)
    if not takes.is_map:
        raise UserError(f"`--flips` mirrors images, but the network takes {takes.show()}", help="leave `--flips` out")
    if not learned and not takes.is_image:
        text = f"`--flips` mirrors {takes.kind}s where training did, but this run had no `augment flip`"
        raise UserError(text, help="train with `--augment flip`, or leave `--flips` out")
    if not gives.is_vector and gives.axes != takes.axes:
        text = f"`--flips` cannot mirror back what the network gives, {gives.show()}, for {takes.show()}"
        raise UserError(text, help="leave `--flips` out")
    axes = [AXES[name] for name in learned or ("flip",)]
    chosen = chain.from_iterable(combinations(axes, count) for count in range(len(axes) + 1))
    return Mirrored(model, net, tuple(chosen))


def note_on(net: Net) -> str | None:
    """A sentence where training never showed the network a mirror image."""
    if any(name in net.recipe.augment for name in AXES):
        return None
    return "training mirrored nothing (`augment flip`): the network may not know the mirror images of `--flips`"


def _mean_of_numbers(outputs: Iterator[np.ndarray], count: int) -> np.ndarray:
    total = sum(outputs, start=np.zeros((), np.float32))
    return np.divide(total, total.dtype.type(count))


def _mean_of_labels(outputs: Iterator[np.ndarray], count: int) -> np.ndarray:
    """The logarithms of the mean of softmax over axis 1."""
    total: np.ndarray = reduce(np.logaddexp, map(_log_softmax, outputs))
    logs: np.ndarray = total - total.dtype.type(np.log(count))
    return logs


def _mean_of_truth(outputs: Iterator[np.ndarray]) -> np.ndarray:
    """The logits of the mean of sigmoid."""
    logs = [(-softplus(-y), -softplus(y)) for y in outputs]
    true, false = (reduce(np.logaddexp, part) for part in zip(*logs, strict=True))
    logits: np.ndarray = true - false
    return logits


def _log_softmax(x: np.ndarray) -> np.ndarray:
    below = x - x.max(axis=1, keepdims=True)
    logs: np.ndarray = below - np.log(np.exp(below).sum(axis=1, keepdims=True))
    return logs
