"""Stages: layers that keep their buffers, for networks that run fast (-O2).

Maps are (H, W, n, C) inside, n the samples of one block: n * C numbers lie together, so that a pass over a map is a
pass over long rows, and every product with a constant matrix along H or W is one plain matrix product. Vectors are
(n, D).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

from netdsl.kernels.arrays import Array, Shape, Type
from netdsl.stages.buffers import Buffers
from netdsl.stages.can import Can
from netdsl.stages.workers import Team

Sizes = Callable[[int], Shape]
"""How large an array for n samples is."""


class HasWorkers(Protocol):
    """What the workers of a network share, as far as stages see it (targets/fast/network.py).

    stored, stored_grads: name -> array as stages store it, params and buffers by every name that a layer calls them,
    and the gradients of each worker. named_grads: the same gradients in PyTorch's shapes. io: what they are given of
    the whole batch. team: where workers wait for each other.
    """

    dtype: np.dtype[Any]
    num_workers: int
    stored: dict[str, Array]
    stored_grads: Sequence[dict[str, Array]]
    named_grads: Sequence[dict[str, Array]]
    io: dict[str, Array]
    team: Team
    known_constants: dict[Any, Any]
    block: int

    def shared(self, key: Hashable, shape: Shape, dtype: Type | None = None) -> Array:
        """An array that all workers see, made when the first one asks for it."""

    @property
    def train_stages(self) -> Callable[[Worker], Stages]:
        """What a worker computes with, in training; `infer_stages`, if there is that, at inference."""

    @property
    def train_forward(self) -> Callable[..., Any]:
        """How a block (N, ...) goes through stages in training; at inference by `infer_forward`, if there is that."""


class Worker:
    """One worker's part of a network: its samples in blocks, the stages that work on them, and its gradients.

    n: the samples of the whole batch; rows: which of them each block has, a slice, and `sizes` how many; `block` is the
    one at work. training: stages keep what their backward pass needs. apart: blocks keep it beside each other, since
    they take turns; else one ends before the next begins, and they share memory. s: its stages, by name.
    """

    splits: ClassVar[bool] = False  # whether others share what `each` is given
    row = 0
    s: Any
    settle: Callable[[], None]  # of workers that share parts
    own: Buffers  # of those, too
    stages: list[Stage]
    version: int | None
    handed_on: dict[int, int | None]
    zeroed: list[Array]

    def __init__(self, network: HasWorkers, index: int, n: int, training: bool, apart: bool) -> None:
        self.network, self.index, self.n, self.training, self.apart = network, index, n, training, apart
        self.dtype, self.num_workers = network.dtype, network.num_workers if n >= network.num_workers else 1
        begin, end = (0, n) if self.splits else self.part(n)
        count = max(1, min(-(-n // (self.num_workers * network.block)), end - begin))  # for all workers as many
        cuts = [begin + i * (end - begin) // count for i in range(count + 1)]
        self.rows = [slice(*both) for both in zip(cuts, cuts[1:], strict=False)]
        self.sizes, self.block, self.version = [part.stop - part.start for part in self.rows], 0, None
        self.params, self.grads = network.stored, network.stored_grads[0 if self.splits else index]
        self.buffers = Buffers(self.dtype)
        self.shared = network.shared
        make, self.compute = network.train_stages, network.train_forward
        if hasattr(network, "infer_stages"):
            make = make if training else network.infer_stages
        if hasattr(network, "infer_forward"):
            self.compute = self.compute if training else network.infer_forward
        for _ in range(2):  # the first time stages say how much memory they need, the second time they get it
            self.count, self.stages, self.handed_on = 0, [], {}
            self.s = make(self)
            if self.buffers.memory is None:
                if hasattr(network, "give_memory"):
                    network.give_memory(self)
                else:
                    self.settle() if self.splits else self.buffers.settle()

    def arrays(self, shape: Sizes, dtype: Type | None = None) -> list[Array]:
        """An array for each block, shape(n) for its n samples, that keeps what is in it until the block ends."""
        self.count += 1
        return self.scratch(self.count, shape, dtype, self.apart, common=True)

    def scratch(
        self, key: Hashable, shape: Sizes, dtype: Type | None = None, apart: bool = False, common: bool = False
    ) -> list[Array]:
        """An array for each block; who asks for the same key gets the same memory, and so do blocks not apart."""
        return [self.buffers.array((key, i if apart else 0), shape(n), dtype) for i, n in enumerate(self.sizes)]

    def into(self, *memory: int | None) -> Worker:
        """This worker; what the next stage hands on goes into the memory of that number, which others use before and
        after it. A second number is that at inference; None: into one of its own."""
        self.handed_on[len(self.stages)] = memory[0 if self.training else -1]
        return self

    def outputs(self, shape: Sizes) -> list[Array]:
        """An array for each block, for what a stage's forward gives: kept in training, handed on at inference."""
        return self.arrays(shape) if self.training else self.gradients(shape)

    def gradients(self, shape: Sizes) -> list[Array]:
        """An array for each block, for what a stage's backward gives, which is handed on."""
        memory = self.handed_on.pop(len(self.stages) - 1, None)
        if memory is None:
            return self.arrays(shape)
        return self.scratch((memory, "handed on"), shape, None, self.apart, common=True)

    def zeros(self, shape: Sizes) -> list[Array]:
        """An array for each block that starts as zeros; what is not written stays so."""
        self.count += 1
        return self.frame(shape, self.count, self.apart)

    def frame(self, shape: Sizes, inside: Hashable, apart: bool = False) -> list[Array]:
        """Scratch that starts as zeros, for stages that write to the same part of it, said by `inside`."""
        keys = [(inside, i if apart else shape(n)) for i, n in enumerate(self.sizes)]
        arrays = [self.buffers.array(key, shape(n)) for key, n in zip(keys, self.sizes, strict=True)]
        for array in arrays[:0] if self.splits and self.index else arrays:
            if hasattr(self.network, "give_memory"):  # which does it whenever this worker's turn begins
                vars(self).setdefault("zeroed", []).append(array)
            else:
                array[...] = 0
        return arrays

    def tallies(self, shape: Shape) -> list[Array]:
        """Zeros for each block in float64, (1, *shape), to which parts of `each` add sums: row `row` of as many as
        there are workers that share parts."""
        return [np.zeros((1, *shape)) for _ in self.sizes]

    def constants(self, make: Callable[..., Any], *arguments: Hashable) -> Any:
        """What make(*arguments, dtype) gives, made once for all workers."""
        known, key = self.network.known_constants, (make, arguments)
        if key not in known:
            known.setdefault(key, make(*arguments, self.dtype))
        return known[key]

    def add_named_gradient(self, name: str, grad: Array) -> None:
        """The gradient of a param in PyTorch's shape, by one block."""
        target = self.network.named_grads[self.index][name]
        if self.block == 0:
            target[...] = grad
        else:
            target += grad

    def part(self, size: int) -> tuple[int, int]:
        """Begin and end of this worker's part of `size` things."""
        return self.index * size // self.num_workers, (self.index + 1) * size // self.num_workers

    def cut(self, length: int, operations: float) -> list[slice]:
        """The parts that `each` is given of `length` rows: one, all rows."""
        return [slice(0, length)]

    def each(self, parts: Sequence[Any], work: Callable[..., object], *given: Any) -> None:
        """work(part, *given) for every part; no part reads what another one writes. Where samples are fewer than
        workers, these share the parts."""
        for part in parts:
            work(part, *given)

    def equal_parts(self, length: int, times: int = 1) -> list[slice]:
        """`length` rows in as many parts as there are workers, or some times as many."""
        count = times * self.num_workers
        return [slice(i * length // count, (i + 1) * length // count) for i in range(count)]

    def in_turns(self, parts: Sequence[Any], work: Callable[..., object], *given: Any) -> None:
        """work(part, is_first, *given) for every part, by all workers, to add to what they have in common: never two to
        the same part at a time, and always in the same order. is_first: nobody has for this batch."""
        equal = self.equal_parts(len(parts))
        for turn in range(self.num_workers):
            if turn or self.block:
                self.network.team.sync()
            for part in parts[equal[(self.index + turn) % self.num_workers]]:
                work(part, turn == self.block == 0, *given)

    def multiply(self, a: Array, b: Array, out: Array) -> Array:
        """np.matmul(a, b, out=out); a column by a row through np.dot, which takes a quarter of the time."""
        return (np.dot if a.ndim == 2 and a.shape[1] == 1 else np.matmul)(a, b, out=out)


def take(tally: Array) -> Array:
    """Rows of sums (K, ...) -> their sum (...); they begin at 0 again."""
    sums: Array = np.add.reduce(tally)
    tally[...] = 0
    return sums


class Stage:
    """What the stages of one worker have in common. A stage has forward and, in training, backward; `refresh` makes
    what it derives from its params, before a batch."""

    can: ClassVar[Can]

    def start(self, w: Worker) -> None:
        """What every constructor begins with."""
        self.w = w
        w.stages.append(self)

    def refresh(self) -> None:
        """Nothing is derived from the params."""

    def add_gradient(self, name: str, value: Array) -> None:
        """The gradient of a param by one block is added to that of the blocks before."""
        if self.w.block == 0:
            self.w.grads[name][...] = value
        else:
            self.w.grads[name] += value


class Stages:
    """The stages of one worker, by name."""
