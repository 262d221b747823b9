"""The textbook NumPy module as a `Model`: what training asks for beside what the emitted class has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from netdsl.kernels.optimizers import scaled
from netdsl.targets.contract import Compiled, Model, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from netdsl.graph.ir import Graph
    from netdsl.targets.contract import Arrays, Batch
    from netdsl.targets.numpy.network import Network

    class Base(Network):
        """What StepByStep is mixed with."""

        params: dict[str, np.ndarray]
        optimizer_state: dict[str, Any]
        logits: Callable[..., np.ndarray]
        loss: Any
        backward: Callable[..., tuple[Any, dict[str, np.ndarray]]]
        update: Callable[..., None]
        gathered: dict[str, np.ndarray]
else:
    Base = object

KEPT = 2  # arrays of an optimizer for each param, whichever it is


class StepByStep(Base):
    """A network that learns pass by pass in this thread, with its optimizer's arrays in `optimizer_state`.

    It is mixed with a class that has the methods of targets/numpy/network.py, whose text stays as it is emitted.
    """

    overflows_sooner = ""

    def learn(self, x: Batch, y: np.ndarray, lr: float) -> Step:
        """Forward, loss, backward, and where all is finite a step of the optimizer."""
        logits = self.logits(*(x if isinstance(x, tuple) else (x,)), training=True)
        loss, dlogits = self.loss(logits, y)
        _, grads = self.backward(dlogits)
        is_finite = bool(np.isfinite(loss)) and all(np.isfinite(grad).all() for grad in grads.values())
        if is_finite:
            self.update(grads, lr)
        return Step(loss, logits, is_finite)

    def gather(self, x: Batch, y: np.ndarray, share: float, is_first: bool) -> Step:
        """Forward, loss and backward; so much of the gradients is added to those that wait for a step."""
        logits = self.logits(*(x if isinstance(x, tuple) else (x,)), training=True)
        loss, dlogits = self.loss(logits, y)
        self.gathered = with_more({} if is_first else self.gathered, self.backward(dlogits)[1], share)
        return Step(loss, logits, bool(np.isfinite(loss)))

    def apply(self, lr: float, factor: float) -> bool:
        """A step of the optimizer by the gradients that wait, where all are finite."""
        grads, self.gathered = scaled(self.gathered, factor), {}
        is_finite = all(np.isfinite(grad).all() for grad in grads.values())
        if is_finite:
            self.update(grads, lr)
        return is_finite

    def prepare(self, n: int, y: np.ndarray | None = None) -> None:
        """There is nothing to prepare."""

    def state(self, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """`conv1.weight.exp_avg` -> the array that the optimizer keeps, or zeros before the first step."""
        empty = {name: (np.zeros_like(array),) * KEPT for name, array in self.params.items()}
        kept = {**empty, **self.optimizer_state}
        return {f"{param}.{name}": kept[param][i] for i, name in enumerate(names) for param in self.params}

    def load_state(self, names: tuple[str, ...], arrays: Arrays, steps: int) -> None:
        """Take over what `state` gave after so many steps."""
        self.optimizer_state.clear()
        if steps:
            self.optimizer_state["step"] = steps
        for param, array in self.params.items():
            kept = [np.zeros_like(array) for _ in range(KEPT)]
            for i, name in enumerate(names):
                kept[i][...] = arrays[f"{param}.{name}"]
            self.optimizer_state[param] = tuple(kept)

    def close(self) -> None:
        """There are no workers to end."""


def with_more(gathered: dict[str, np.ndarray], grads: Mapping[str, np.ndarray], share: float) -> dict[str, np.ndarray]:
    """Gradients with so much of others added to them, in place; where there are none yet, that much of the others."""
    more = {name: grad * share for name, grad in grads.items()}
    for name, grad in gathered.items():
        grad += more[name]
    return gathered or more


def input_names(graph: Graph) -> tuple[str, ...]:
    """What the inputs are called; `x` where one has no name."""
    return tuple(given.name or "x" for given in graph.inputs)


def mixed(mixin: type, net: Compiled, target: str, level: int) -> Any:
    """The class of the emitted network, with the methods of the mixin as well."""
    network = net.module(target, level).Model
    return type(network.__name__, (mixin, network), {"__doc__": network.__doc__, "input_names": input_names(net.graph)})


def textbook_model(net: Compiled, target: str, level: int, seed: int, dtype: Any) -> Model:
    """An instance of the emitted module's class, mixed with StepByStep."""
    return mixed(StepByStep, net, target, level)(seed=seed, dtype=dtype)
