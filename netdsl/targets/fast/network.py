"""The part that every fast NumPy network (-O2) shares; its text is copied into emitted modules."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Arrays, Grads, Number, Shape, State
from netdsl.stages.blas import blas_threads
from netdsl.stages.layout import from_textbook, to_textbook
from netdsl.stages.stage import Stages, Worker
from netdsl.stages.workers import Team, available_cores
from netdsl.targets.fast.storage import StoredNetwork

OUTPUTS, LOGITS, GRADIENTS, BACKWARD, UPDATE, STEP = range(6)


def fast(network: type, *parts: type) -> type:
    """A class that describes a network, and parts of it beside FastNetwork -> the class that trains and answers."""
    return type(network.__name__, (network, *parts, FastNetwork), {"__doc__": network.__doc__})


class FastNetwork(StoredNetwork):
    """A network whose batch is shared by workers, each with stages of its own.

    params: name -> array of PyTorch's shape. They are views of one vector: write into them, `params[name][...] = new`,
    do not replace them.
    """

    gives_signal: bool | None = None  # whether the logits are a signal (C, L), which tokens have as many sizes as
    worth_sharing = 1 << 18  # params: from so many on a step of the optimizer takes longer than to ask others for help
    logits_shape: Shape
    block: int
    first_params: Callable[[np.random.Generator, Any], Arrays]
    train_stages: Callable[[Worker], Stages]
    train_forward: Callable[..., Any]
    train_backward: Callable[[Any, Array], Any]
    optimize: Callable[[Arrays, Arrays, State, float], None]

    known_constants: dict[Any, Any]
    workers: dict[tuple[int, int], dict[Hashable, Worker]]
    io: dict[str, Array]
    pending: int | None

    def __init__(self, seed: int = 0, dtype: Any = "float32", workers: int | None = None) -> None:
        """workers: how many share a batch; None: one for each core."""
        rng = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)
        self.start(self.first_params(rng, dtype), self.first_buffers(dtype), rng, workers)

    def start(
        self, params: Mapping[str, Array], buffers: Mapping[str, Array], rng: np.random.Generator, workers: int | None
    ) -> None:
        """Store the params in one vector, shared by the workers. Raises ValueError if these cannot be made."""
        if workers is not None and workers < 1:
            raise ValueError(f"a network needs 1 worker or more, not {workers}")
        self.rng = rng
        self.num_workers = available_cores() if workers is None else workers
        self.team = self.make_team()
        self.shared_arrays, self.common_memory, self.known_constants, self.workers, self.io = {}, {}, {}, {}, {}
        self.store_params(params)
        self.store_buffers(buffers)
        self.watch([self.places[name] for name in params if params[name].ndim != 2])
        self.moments = self.team.shared((2, self.size), self.dtype)
        self.norms = self.team.shared((self.num_workers,), np.float64)
        self.losses = self.team.shared((self.num_workers,), np.float64)
        self.capacity, self.steps, self.last_size, self.pending = 0, 0, 0, None
        self.is_overwritten = False

    def make_team(self) -> Team:
        """Who shares a batch."""
        return Team(self.num_workers)

    def first_buffers(self, dtype: Any) -> Arrays:
        """What layers carry along, before training."""
        return {}

    def infer_stages(self, w: Worker) -> Stages:
        """What worker w computes with at inference."""
        return self.train_stages(w)

    def infer_forward(self, s: Any, *xs: Array) -> Any:
        """One block at inference."""
        return self.train_forward(s, *xs)

    def worker(self, index: int, n: int, training: bool, apart: bool) -> Worker:
        """What worker `index` needs for its part of a batch of n samples; the last six that were made are kept.

        All workers make and forget theirs in the same order, so that they agree on what is new.
        """
        active = self.active(n)
        known, key = self.workers.setdefault((index, active), {}), (n, training, apart)
        if key not in known:
            while len(known) >= 6:
                known.pop(next(iter(known))).release()
            known[key] = self.make_worker(index, n, training, apart)
        return known[key]

    def make_worker(self, index: int, n: int, training: bool, apart: bool) -> Worker:
        """Worker `index` for a batch of n samples."""
        active = self.active(n)
        rows = self.blocks_of(index * n // active, (index + 1) * n // active)
        return Worker(self, index, n, rows, training, apart)

    def blocks_of(self, begin: int, end: int) -> list[slice]:
        """The blocks of a worker's samples."""
        count = max(1, -(-(end - begin) // self.block))
        cuts = [begin + i * (end - begin) // count for i in range(count + 1)]
        return [slice(a, b) for a, b in zip(cuts, cuts[1:], strict=False)]

    def logits(self, x: Any, training: bool = False) -> Array:
        """x (N, *input_shape) -> what the loss reads, (N, ...)."""
        self.ask(self.checked(x), training)
        return self.last_logits.copy()

    def backward(self, dy: Array) -> tuple[None, Grads]:
        """The gradient by the logits, for the last batch that `logits` saw in training -> None, {param name: gradient}.

        The gradient by the input is not computed here; a module of -O0 gives it.
        """
        if len(dy) != self.pending:
            raise ValueError(f"the last batch that `logits` saw in training has {self.pending} samples, not {len(dy)}")
        self.io["dlogits"][: len(dy)] = dy
        if self.is_overwritten:
            self.touch()
        self.run(BACKWARD, len(dy))
        return None, self.total_gradients(len(dy))

    def loss_and_gradients(self, x: Any, y: Array) -> tuple[Number, Grads]:
        """x (N, *input_shape), targets y -> mean loss, {param name: gradient}, in training mode."""
        self.call(GRADIENTS, self.checked(x), np.asarray(y))
        return self.last_loss, self.total_gradients(self.last_size)

    def train_step(self, x: Any, y: Array, lr: float | None = None) -> Number:
        """Forward, loss, backward and one step of the optimizer, in place; returns the loss.

        Where a gradient is not a finite number the params stay as they are, and the loss is NaN.
        """
        xs, lr = self.checked(x), self.learning_rate if lr is None else lr
        is_few = self.sharers(len(xs[0])) < self.num_workers and self.size >= self.worth_sharing
        self.call(GRADIENTS if is_few else STEP, xs, np.asarray(y), lr)
        if is_few:  # one worker had all samples; all have a part of the params
            self.run(UPDATE, self.num_workers, lr)
        return self.last_loss if self.counted() else np.nan

    def counted(self) -> bool:
        """Count the step that was just made; False if it was not made, since a gradient is not finite."""
        made = bool(np.isfinite(self.norms.sum()))
        self.steps += made
        return made

    def update(self, grads: Grads, lr: float) -> None:
        """One step of the optimizer, in place."""
        for name, grad in grads.items():
            self.named_grads[0][name][...] = grad
        self.prepare(self.num_workers)
        self.touch()
        self.run(UPDATE, self.num_workers, lr)
        self.counted()

    @property
    def last_loss(self) -> Number:
        """The mean loss of the last batch with targets, also where a gradient was not finite."""
        return self.losses.sum()

    @property
    def last_logits(self) -> Array:
        """What the loss read of the last batch, (N, ...); the next batch writes over it."""
        return self.io["logits"][: self.last_size]

    def close(self) -> None:
        """End the workers."""
        self.team.close()

    def checked(self, x: Any) -> list[Array]:
        """x (N, *input_shape) -> the arrays of the inputs, of which there is one."""
        return [self.check_input(x)]

    def takes(self) -> dict[str, Shape]:
        """What the workers call each input -> its shape."""
        return {"x": self.input_shape}

    def gives(self) -> dict[str, Shape]:
        """What beside the inputs and targets lies in `io`, for all samples of a batch -> its shape."""
        return {"logits": self.logits_shape, "dlogits": self.logits_shape}

    def ask(self, xs: Sequence[Array], training: bool) -> None:
        """Forward on an array for each input; what comes out is in `io`."""
        self.call(LOGITS if training else OUTPUTS, xs)
        if not training:
            n = self.last_size
            if not self.is_known and self.news[: self.sharers(n)].any():
                self.touch()
                self.run(OUTPUTS, n)
            self.is_known, self.is_overwritten = False, True

    def call(self, command: int, xs: Sequence[Array], y: Array | None = None, lr: float = 0.0) -> None:
        """Hand a batch to the workers, an array for each input, and wait for them."""
        n = len(xs[0])
        if y is not None and y.shape[:1] != (n,):
            raise ValueError(f"{n} samples, but targets of the shape {y.shape}")
        self.prepare(n, y)
        self.last_size = n
        for name, x in zip(self.takes(), xs, strict=True):
            self.show(name, x)
        if y is not None:
            self.show("y", y)
        if command != OUTPUTS:
            self.touch()
            self.pending, self.is_overwritten = n if command == LOGITS else None, False
            self.draw(n)
        self.run(command, n, lr)

    def prepare(self, n: int, y: Array | None = None) -> None:
        """Have room for n samples, and all workers started; the first batch does it, if nobody else."""
        if n > self.capacity:
            self.capacity = n
            self.io |= {name: np.zeros((n, *shape), self.dtype) for name, shape in self.gives().items()}
        if self.team.work is None:
            self.team.start(self.work)

    def show(self, name: str, array: Array) -> None:
        """Show an array to the workers."""
        self.io[name] = array

    def draw(self, n: int) -> None:
        """There is nothing to draw for a batch of n samples."""

    def run(self, command: int, n: int, lr: float = 0.0) -> None:
        """Every worker does its part of a command; of a batch with too few samples for all, the first does all."""
        order = (command, n, lr, self.steps, self.version)
        try:
            if self.sharers(n) == self.num_workers:
                self.team.call(order)
            else:
                self.losses[:], self.norms[:] = 0, 0
                threads = blas_threads(1)  # more would not share what is this small, but wait for it
                try:
                    self.work(0, order)
                finally:
                    if threads is not None:
                        blas_threads(threads)
        except BaseException:
            self.touch()
            self.workers, self.pending = {}, None  # some may have made theirs, others not
            raise

    def wait(self, n: int) -> None:
        """For all other workers, if they have samples of a batch of n."""
        if self.active(n) > 1:
            self.team.sync()

    def meet(self, n: int) -> None:
        """Wait for all others, if they share what is done for a batch of n samples."""
        if self.sharers(n) > 1:
            self.team.sync()

    def work(self, index: int, order: Any) -> None:
        """One worker's part of a command."""
        command, n, lr, steps, version = order
        with np.errstate(all="ignore"):  # what is not finite shows in the loss and in `counted`
            if command == OUTPUTS:
                self.infer_part(index, n, version)
            elif command != UPDATE:
                self.train_part(command, index, n, version)
            if command in (UPDATE, STEP):
                self.update_part(index, n, lr, steps, 1 if command == UPDATE else self.active(n))

    def infer_part(self, index: int, n: int, version: int) -> None:
        """One worker's part of OUTPUTS. `ask` runs it again if somebody found news, which nobody waits for here."""
        w = self.worker(index, n, False, False)
        self.notice(index, n)
        if w.version != version:
            self.refresh(w, version)
        self.each_block(w, self.infer_block)

    def train_part(self, command: int, index: int, n: int, version: int) -> None:
        """One worker's part of LOGITS, BACKWARD, or both and the loss between them."""
        w = self.worker(index, n, True, command in (LOGITS, BACKWARD))
        if command == BACKWARD and w.version is None:
            raise ValueError("what `logits` kept for `backward` is gone: too many batches of other sizes came between")
        if command != BACKWARD or w.version != version:  # inference has its transformed weights in the same memory
            self.refresh(w, version)
        self.losses[index] = 0
        self.each_block(w, {LOGITS: self.logits_block, BACKWARD: self.backward_block}.get(command, self.train_block))

    def each_block(self, w: Worker, work: Callable[[Worker, slice], Any]) -> None:
        """One block after the other."""
        for block, rows in enumerate(w.rows):
            w.block = block
            work(w, rows)

    def refresh(self, w: Worker, version: int) -> None:
        """Make what the stages derive from the params; each worker makes a part."""
        for stage in w.stages:
            stage.refresh()
        w.version = version
        self.meet(w.n)

    def part_of(self, rows: slice) -> list[Array]:
        """These rows of every input."""
        return [self.io[name][rows] for name in self.takes()]

    def keep(self, made: Any, rows: slice) -> Array:
        """Keep what a block gave; returns what the loss reads."""
        self.io["logits"][rows] = z = to_textbook(made).reshape(-1, *self.logits_shape)
        return z

    def infer_block(self, w: Worker, rows: slice) -> Array:
        return self.keep(self.infer_forward(w.s, *self.part_of(rows)), rows)

    def logits_block(self, w: Worker, rows: slice) -> Any:
        return self.keep(self.train_forward(w.s, *self.part_of(rows)), rows)

    def backward_block(self, w: Worker, rows: slice) -> Any:
        return self.train_backward(w.s, from_textbook(self.io["dlogits"][rows].copy(), self.gives_signal))

    def train_block(self, w: Worker, rows: slice) -> Any:
        return self.train_backward(w.s, self.loss_gradient(w, rows, self.logits_block(w, rows)))

    def loss_gradient(self, w: Worker, rows: slice, z: Array) -> Array:
        """What the loss reads of a block -> its gradient, as the stages take it; the loss is added to this worker's."""
        loss, dz = self.loss(z, self.io["y"][rows])
        share = self.share(w, rows)
        self.losses[w.index] += loss * share
        return from_textbook((dz * share).astype(self.dtype), self.gives_signal)

    def share(self, w: Worker, rows: slice) -> float:
        """By how much the mean loss of a block counts in that of the batch."""
        return (rows.stop - rows.start) / w.n

    def update_part(self, index: int, n: int, lr: float, steps: int, rows: int) -> None:
        """One worker's part of the params: sum the gradients that lie in so many rows, see that all are finite, then
        the optimizer's step."""
        self.meet(n)
        active, chunk = self.sharers(n), self.chunk
        chunks = range(0, self.size, chunk)
        own = chunks[index * len(chunks) // active : (index + 1) * len(chunks) // active]
        params, grads, norm = {}, {}, 0.0
        for begin in own:
            params[begin] = self.vector[begin : begin + chunk]
            grads[begin] = self.gradients[0, begin : begin + chunk]
            for row in self.gradients[1:rows]:
                grads[begin] += row[begin : begin + chunk]
            norm += float(np.dot(grads[begin], grads[begin]))
        if not np.isfinite(norm) and all(np.isfinite(grad).all() for grad in grads.values()):
            norm = 0.0  # only the squares overflow
        self.norms[index] = norm
        self.meet(n)
        if np.isfinite(self.norms[:active].sum()):
            state = {begin: tuple(self.moments[:, begin : begin + chunk]) for begin in own}
            self.optimize(params, grads, {**state, "step": steps}, lr)  # of its own: each step adds 1 to it
