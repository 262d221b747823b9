"""The fast NumPy module as a `Model`: what training asks for beside what the emitted class has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from netdsl.kernels.optimizers import scaled
from netdsl.stages.forks import auto_kind
from netdsl.targets.contract import Compiled, Model, ModelEnded, Step, Workers
from netdsl.targets.numpy.model import mixed, with_more

if TYPE_CHECKING:
    from netdsl.targets.contract import Arrays, Batch
    from netdsl.targets.fast.network import FastNetwork as Base
else:
    Base = object


class SharedSteps(Base):
    """A network whose workers make whole steps, with the optimizer's arrays in the rows of `moments`.

    It is mixed with a class that has the methods of targets/fast/network.py.
    """

    gathered: dict[str, np.ndarray]

    # it adds the squares of gradients up before it looks at them
    overflows_sooner = "at -O2, whose sums overflow sooner; at -O0 it is one (`-O 0` or a smaller lr may help)"

    def run(self, command: int, n: int, lr: float = 0.0) -> None:
        """Every worker's part of a command. Raises ModelEnded where one of them has died."""
        try:
            super().run(command, n, lr)
        except RuntimeError as error:
            if self.has_ended:
                raise ModelEnded(str(error), self.team.why) from error
            raise

    def call(self, *given: Any, **named: Any) -> int:
        """Hand a batch to the workers; returns how many samples it has."""
        self.last_size = super().call(*given, **named)
        return self.last_size

    def prepare(self, n: int, y: np.ndarray | None = None) -> None:
        """Have room for n samples with targets like y, and all workers started; the first batch does it, if nobody
        else has."""
        if hasattr(self, "show"):  # those of processes have to be told
            self.show(n, {} if y is None else {"y": y})

    @property
    def has_ended(self) -> bool:
        """Whether the workers were closed, or one of them died and ended them all."""
        return not self.team.close.alive

    @property
    def last_logits(self) -> np.ndarray:
        """What the loss read of the last batch, (N, ...); the next batch writes over it."""
        return self.io["logits"][: self.last_size]

    @property
    def last_loss(self) -> float:
        """The mean loss of the last batch with targets, also where a gradient was not finite."""
        return self.losses.sum()

    def learn(self, x: Batch, y: np.ndarray, lr: float) -> Step:
        """A whole step in one call, which leaves the params alone where a gradient is not finite."""
        is_finite = bool(np.isfinite(self.train_step(x, y, lr)))
        return Step(self.last_loss, self.last_logits, is_finite)

    def gather(self, x: Batch, y: np.ndarray, share: float, is_first: bool) -> Step:
        """So much of the gradients by these samples is added to those that wait for a step."""
        loss, grads = self.loss_and_gradients(x, y)
        self.gathered = with_more({} if is_first else self.gathered, grads, share)
        return Step(loss, self.last_logits, bool(np.isfinite(loss)))

    def apply(self, lr: float, factor: float) -> bool:
        """A step of the optimizer by the gradients that wait; the workers look whether all are finite."""
        grads, self.gathered = scaled(self.gathered, factor), {}
        self.update(dict(grads), lr)
        return bool(np.isfinite(self.norms.sum()))

    def state(self, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """`conv1.weight.exp_avg` -> the array that the optimizer keeps."""
        rows = [self.views(row, self.params)[1] for row in self.moments[: len(names)]]
        return {f"{param}.{name}": row[param] for name, row in zip(names, rows, strict=True) for param in row}

    def load_state(self, names: tuple[str, ...], arrays: Arrays, steps: int) -> None:
        """Take over what `state` gave after so many steps."""
        self.steps = steps
        for key, kept in self.state(names).items():
            kept[...] = arrays[key]


def fast_model(net: Compiled, target: str, level: int, seed: int, dtype: Any, workers: Workers) -> Model:
    """An instance of the emitted module's class, mixed with SharedSteps. Raises ValueError for workers that cannot be.

    The text has the kind of workers that there are to be, threads or processes.
    """
    if workers.kind not in ("auto", "threads", "processes"):
        raise ValueError(f'the kind of workers is "auto", "threads" or "processes", not {workers.kind!r}')
    kind = auto_kind() if workers.kind == "auto" else workers.kind
    made = mixed(SharedSteps, net.with_workers(kind), target, level)
    return made(seed=seed, dtype=dtype, workers=workers.count)
