"""The part that every fast NumPy network (-O2) shares; its text is copied into emitted modules."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Arrays, Grads, Number, Shape, State
from netdsl.stages.layout import from_textbook, to_textbook
from netdsl.stages.stage import Stages, Worker
from netdsl.stages.workers import Team, available_cores
from netdsl.targets.fast.storage import StoredNetwork

OUTPUTS, LOGITS, GRADIENTS, BACKWARD, UPDATE, STEP = range(6)


def fast(network: type, *parts: type) -> type:
    """A class that describes a network, and parts of it beside FastNetwork -> the class that trains and answers."""
    return type(network.__name__, (network, *parts, FastNetwork), {"__doc__": network.__doc__})


class FastNetwork(StoredNetwork):
    """A network whose batch is shared by workers, each with stages of its own. params: name -> array of PyTorch's
    shape, a view of one vector: write into it, `params[name][...] = new`, do not replace it."""

    gives_map = False  # whether the loss reads a map
    worth_sharing = 1 << 18  # params: from so many on a step of the optimizer takes longer than to ask others for help
    input_shape: Shape
    logits_shape: Shape
    block: int
    first_params: Callable[[np.random.Generator, Any], Arrays]
    train_stages: Callable[[Worker], Stages]
    train_forward: Callable[..., Any]
    train_backward: Callable[[Any, Array], Any]
    optimize: Callable[[Arrays, Arrays, State, float], None]

    first_buffers: Callable[[Any], Arrays]
    infer_stages: Callable[[Worker], Stages]
    infer_forward: Callable[..., Any]
    rows_used: Callable[[int, list[Array]], list[Array]]

    known_constants: dict[Any, Any]
    workers: dict[Hashable, dict[Hashable, Worker]]
    io: dict[str, Array]
    pending: int | None

    def __init__(self, seed: int = 0, dtype: Any = "float32", workers: int | None = None) -> None:
        """workers: how many share a batch; None: one for each core. Raises ValueError if these cannot be made."""
        if workers is not None and workers < 1:
            raise ValueError(f"a network needs 1 worker or more, not {workers}")
        self.rng, self.dtype = np.random.default_rng(seed), np.dtype(dtype)
        self.num_workers = available_cores() if workers is None else workers
        self.team = self.make_team() if hasattr(self, "make_team") else Team(self.num_workers)
        buffers = self.first_buffers(dtype) if hasattr(self, "first_buffers") else {}
        self.store(self.first_params(self.rng, dtype), buffers)
        self.moments = self.team.shared((2, self.size), self.dtype)
        self.norms, self.losses = self.team.shared((2, self.num_workers), np.float64)
        self.gives = {"logits": self.logits_shape, "dlogits": self.logits_shape}
        self.known_constants, self.workers, self.io = {}, {}, {"logits": np.zeros(0)}
        self.steps, self.pending, self.close = 0, None, self.team.close
        if not hasattr(self, "show"):
            self.team.start(self.work)

    def logits(self, x: Any, training: bool = False) -> Array:
        """x (N, *input_shape) -> what the loss reads, (N, ...)."""
        n = self.call(LOGITS if training else OUTPUTS, x)
        if not training and self.was_touched():
            self.run(OUTPUTS, n)
        return self.io["logits"][:n].copy()

    def backward(self, dy: Array) -> tuple[None, Grads]:
        """The gradient by the logits of the last batch that `logits` saw in training -> None, where a module of -O0 has
        that by the input, and {param name: gradient}."""
        n = len(dy)
        if n != self.pending:
            raise ValueError(f"the last batch that `logits` saw in training has {self.pending} samples, not {n}")
        self.io["dlogits"][:n] = dy
        self.touch()
        self.run(BACKWARD, n)
        return None, self.total_gradients(n)

    def loss_and_gradients(self, x: Any, y: Array) -> tuple[Number, Grads]:
        """x (N, *input_shape), targets y -> mean loss, {param name: gradient}, in training mode."""
        n = self.call(GRADIENTS, x, y)
        return self.losses.sum(), self.total_gradients(n)

    def train_step(self, x: Any, y: Array, lr: float | None = None) -> Number:
        """Forward, loss, backward and one step of the optimizer, in place; returns the loss. Where a gradient is not a
        finite number the params stay as they are, and the loss is NaN."""
        self.call(STEP, x, y, self.learning_rate if lr is None else lr)
        return self.losses.sum() if np.isfinite(self.norms.sum()) else np.nan

    def update(self, grads: Grads, lr: float) -> None:
        """One step of the optimizer, in place."""
        for name, grad in grads.items():
            self.named_grads[0][name][...] = grad
        if hasattr(self, "show"):
            self.show(1, {})
        self.touch()
        self.run(UPDATE, 1, lr)  # the gradients are where those of one sample are

    def call(self, command: int, x: Any, y: Array | None = None, lr: float = 0.0) -> int:
        """Hand a batch to the workers and wait for them; returns how many samples it has."""
        if hasattr(self, "checked"):
            given = self.checked(x)
            n = len(next(iter(given.values())))
        else:
            given = {"x": self.check_input(x)}
            n = len(given["x"])
        if y is not None:
            given["y"] = np.asarray(y)
            if given["y"].shape[:1] != (n,):
                raise ValueError(f"{n} samples, but targets of the shape {given['y'].shape}")
        if hasattr(self, "show"):
            self.show(n, given)
        else:
            if n > len(self.io["logits"]):
                self.io |= {name: np.zeros((n, *shape), self.dtype) for name, shape in self.gives.items()}
            self.io |= given
        if command != OUTPUTS:
            self.touch()
            self.pending = n if command == LOGITS else None
            if hasattr(self, "draw"):
                self.draw(n)
        self.run(command, n, lr)
        return n

    def run(self, command: int, n: int, lr: float = 0.0) -> None:
        """Every worker does its part of a command; of a batch with too few samples for all, the first does all, but for
        the optimizer's step if params are many."""
        is_few = False if self.splits else n < self.num_workers
        if command == STEP and is_few and self.size >= self.worth_sharing:
            self.run(GRADIENTS, n)
            self.run(UPDATE, n, lr)
            return
        self.losses[:], self.norms[:] = self.losses if command == UPDATE else 0, 0
        try:
            self.team.call((command, n, lr, self.steps, self.version), is_few and command != UPDATE)
        except BaseException:
            self.touch()
            self.workers, self.pending = {}, None  # some may have made theirs, others not
            raise
        self.steps += command in (UPDATE, STEP) and bool(np.isfinite(self.norms.sum()))

    def work(self, index: int, order: Any) -> None:
        """One worker's part of a command: its samples through the network, and back, and its part of the params."""
        command, n, lr, steps, version = order
        with np.errstate(all="ignore"):  # what is not finite shows in the loss and in `norms`
            if command == OUTPUTS:
                self.add_up(index)
            if command != UPDATE:
                w = self.worker(index, n, command != OUTPUTS, command in (LOGITS, BACKWARD))
                if command == BACKWARD and w.version is None:
                    raise ValueError("what `logits` kept for `backward` is gone: too many other sizes came between")
                if w.version != version:
                    for stage in w.stages:  # each worker makes a part of what they derive from params
                        stage.refresh()
                    w.version = version
                    self.team.sync()
                self.each_block(w, command)
            if command in (UPDATE, STEP):
                self.update_part(index, n, lr, steps)

    def worker(self, index: int, n: int, training: bool, apart: bool) -> Worker:
        """What worker `index` needs for its part of a batch of n samples; the last six that were made are kept. All
        workers make and forget theirs in the same order, so that they agree on what is new."""
        if hasattr(self, "steps_of"):
            apart = apart or training  # all blocks are at work at a time
        known, key = self.workers.setdefault((index, self.team.active), {}), (n, training, apart)
        if key not in known:
            while len(known) >= 6:
                vars(known.pop(next(iter(known)))).clear()  # its memory, too: stages and worker refer to each other
            if hasattr(self, "worker_for"):
                known[key] = self.worker_for(n)(self, index, n, training, apart)
            else:
                known[key] = Worker(self, index, n, training, apart)
        return known[key]

    def each_block(self, w: Worker, command: int) -> None:
        """One block after the other."""
        for block, rows in enumerate(w.rows):
            w.block = block
            if command != BACKWARD:
                if hasattr(self, "inputs") and hasattr(self, "keep_outputs"):
                    y = self.keep_outputs(w.compute(w.s, *self.inputs(rows)), rows)
                else:
                    y = w.compute(w.s, self.io["x"][rows])
                self.io["logits"][rows] = to_textbook(y).reshape(-1, *self.logits_shape) if self.gives_map else y
            if command not in (OUTPUTS, LOGITS):
                self.train_backward(w.s, self.gradient(w, rows, command))

    def gradient(self, w: Worker, rows: slice, command: int) -> Array:
        """The gradient by what the loss reads of a block, as the stages take it; the loss is added to this worker's."""
        if command == BACKWARD:
            dy = self.io["dlogits"][rows].copy()
        else:
            loss, dy = self.loss(self.io["logits"][rows], self.io["y"][rows])
            share = self.share(w, rows) if hasattr(self, "share") else len(dy) / w.n  # of the batch's mean loss
            self.losses[w.index] += loss * share
            dy = (dy * share).astype(self.dtype)
        return from_textbook(dy, True) if self.gives_map else dy

    def total_gradients(self, n: int) -> Grads:
        """{param name: gradient} by the last n samples, summed over the workers in their order."""
        for row in self.gradients[1 : 1 if n < self.num_workers else None]:
            self.gradients[0] += row
        return {name: self.named_grads[0][name].copy() for name in self.params}

    def update_part(self, index: int, n: int, lr: float, steps: int) -> None:
        """One worker's part of the params: sum the gradients, see that all are finite, then the optimizer's step."""
        self.team.sync()
        params, grads, norm = {}, {}, 0.0
        state: State = {"step": steps}  # of its own: each step adds 1 to it
        for begin in range(0, self.size, self.chunk)[index :: self.team.active]:
            part = slice(begin, min(begin + self.chunk, self.size))
            grads[begin], *others = self.gradients[: 1 if n < self.num_workers else None, part]
            for row in self.rows_used(begin, others) if hasattr(self, "rows_used") else others:
                grads[begin] += row
            norm += float(np.dot(grads[begin], grads[begin]))
            params[begin], state[begin] = self.vector[part], tuple(self.moments[:, part])
        if not np.isfinite(norm) and all(np.isfinite(grad).all() for grad in grads.values()):
            norm = 0.0  # only the squares overflow
        self.norms[index] = norm
        self.team.sync()
        if np.isfinite(self.norms.sum()):
            self.optimize(params, grads, state, lr)
