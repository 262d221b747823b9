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

Sizes = Callable[[int], Shape]
"""How large an array for n samples is."""


class HasWorkers(Protocol):
    """What the workers of a network share, as far as stages see it (targets/fast/network.py).

    stored, stored_grads: name -> array as stages store it, the gradients of each worker. named_grads: the same
    gradients in PyTorch's shapes. stored_buffers: the buffers, by every name that a layer calls them. io: what they
    are given of the whole batch.
    """

    dtype: np.dtype[Any]
    num_workers: int
    stored: dict[str, Array]
    stored_grads: list[dict[str, Array]]
    named_grads: list[dict[str, Array]]
    stored_buffers: dict[str, Array]
    io: dict[str, Array]
    known_constants: dict[Any, Any]

    def shared(self, key: Hashable, shape: Shape, dtype: Type | None = None) -> Array:
        """An array that all workers see, made when the first one asks for it."""

    def shared_memory(self, key: Hashable, size: int) -> Array:
        """Memory that all workers see, and who else asks for the same key."""

    def wait(self, n: int) -> None:
        """Wait for all other workers, if they have a part in a batch of n samples."""

    def train_stages(self, w: Worker) -> Stages:
        """What worker w computes with, in training."""

    def infer_stages(self, w: Worker) -> Stages:
        """What worker w computes with, at inference."""


class Worker:
    """One worker's part of a network: its samples in blocks, the stages that work on them, and its gradients.

    n: the samples of the whole batch; rows: which of them each block has, a slice, and `sizes` how many; `block` is the
    one at work. params and grads: name -> array as it is stored.
    training: stages keep what their backward pass needs. apart: blocks keep it beside each other, since they take
    turns; else one block ends before the next begins, and they share their memory. s: its stages, by name.
    """

    splits: ClassVar[bool] = False  # whether others share what `each` is given
    row = 0
    s: Any
    stages: list[Stage]
    version: int | None
    memory: int | None
    given: int | None

    def __init__(
        self, network: HasWorkers, index: int, n: int, rows: Sequence[slice], training: bool, apart: bool
    ) -> None:
        self.network, self.index, self.n, self.rows = network, index, n, rows
        self.sizes, self.version = [part.stop - part.start for part in rows], None
        self.training, self.apart, self.block = training, apart, 0
        self.params, self.grads = network.stored, network.stored_grads[0 if self.splits else index]
        self.dtype, self.num_workers = network.dtype, network.num_workers if n >= network.num_workers else 1
        self.buffers = Buffers(self.dtype)
        self.own = self.own_buffers()
        self.build()
        self.take_memory()
        self.build()

    def build(self) -> None:
        """Make the stages: the first time they say how much memory they need, the second time they get it."""
        self.count, self.stages, self.memory = 0, [], None
        build = self.network.train_stages if self.training else self.network.infer_stages
        self.s = build(self)

    def own_buffers(self) -> Buffers:
        """Where scratch lies."""
        return self.buffers

    def take_memory(self) -> None:
        """Take the memory for all arrays, now that their sizes are known."""
        self.buffers.settle()

    def release(self) -> None:
        """Give the memory back at once: stages and worker refer to each other."""
        self.s, self.stages, self.buffers = None, [], Buffers(self.dtype)
        self.own = self.buffers

    def arrays(self, shape: Sizes) -> list[Array]:
        """An array for each block, shape(n) for its n samples, that keeps what is in it until the block ends."""
        self.count += 1
        return self.by_block([(i if self.apart else 0, self.count) for i in range(len(self.sizes))], shape)

    def into(self, *memory: int | None) -> Worker:
        """This worker; what the next stage hands on goes into the memory of that number, which others use before and
        after it. A second number is that at inference; None: into one of its own."""
        self.memory = memory[0 if self.training else -1]
        return self

    def outputs(self, shape: Sizes) -> list[Array]:
        """An array for each block, for what a stage's forward gives: kept in training, handed on at inference."""
        return self.arrays(shape) if self.training else self.gradients(shape)

    def gradients(self, shape: Sizes) -> list[Array]:
        """An array for each block, for what a stage's backward gives, which is handed on."""
        memory, self.given = self.given, None
        if memory is None:
            return self.arrays(shape)
        return self.by_block([(memory, "handed on", i if self.apart else 0) for i in range(len(self.sizes))], shape)

    def zeros(self, shape: Sizes) -> list[Array]:
        """An array for each block that starts as zeros; what is not written stays so."""
        self.count += 1
        return self.cleared(
            self.by_block([(i if self.apart else -n, self.count) for i, n in enumerate(self.sizes)], shape)
        )

    def frame(self, shape: Sizes, inside: Hashable) -> list[Array]:
        """Scratch that starts as zeros, for stages that write to the same part of it: (first row, first column, rows,
        columns)."""
        keys = [("frame", inside, shape(n)) for n in self.sizes]
        return self.cleared(self.by_block(keys, shape))

    def cleared(self, arrays: list[Array]) -> list[Array]:
        """The arrays, set to zero."""
        for array in arrays:
            array[...] = 0
        return arrays

    def tallies(self, shape: Shape) -> list[Array]:
        """Zeros for each block in float64, (1, *shape), to which parts of `each` add sums: row `row` of as many as
        there are workers that share parts."""
        return [np.zeros((1, *shape)) for _ in self.sizes]

    def of_blocks(self) -> list[Any]:
        """A place for each block, for what its forward pass keeps as it is."""
        return [None] * len(self.sizes)

    def scratch(self, key: Hashable, shape: Sizes, common: bool = False) -> list[Array]:
        """An array for each block; whoever asks for the same key gets the same memory. common: what one part of `each`
        writes there others read later."""
        return self.by_block([key] * len(self.sizes), shape, self.buffers if common else self.own)

    def bits(self, shape: Sizes) -> list[Array]:
        """An array of booleans for each block, which keeps what is in it as `arrays` does."""
        arrays = self.arrays(lambda n: (-(-int(np.prod(shape(n))) // self.dtype.itemsize),))
        sizes = [(int(np.prod(shape(n))), shape(n)) for n in self.sizes]
        return [a.view(np.bool_)[:size].reshape(s) for a, (size, s) in zip(arrays, sizes, strict=True)]

    def masks(self, shape: Shape) -> list[Array]:
        """A flat array of booleans for each block, which all stages share."""
        size = int(np.prod(shape))
        return [mask.view(np.bool_) for mask in self.scratch("mask", lambda n: (-(-n * size // self.dtype.itemsize),))]

    def by_block(self, keys: Sequence[Hashable], shape: Sizes, buffers: Buffers | None = None) -> list[Array]:
        """For each block the array of its key; blocks of one key and one size share it."""
        made, buffers = {}, self.buffers if buffers is None else buffers
        for key, n in zip(keys, self.sizes, strict=True):
            if (key, n) not in made:
                made[key, n] = buffers.array(key, shape(n))
        return [made[key, n] for key, n in zip(keys, self.sizes, strict=True)]

    def shared(self, key: Hashable, shape: Shape, dtype: Type | None = None) -> Array:
        """An array that all workers see, of the network's dtype if there is none."""
        return self.network.shared((key, shape), shape, dtype)

    def transformed(self, name: str, shape: Shape) -> Array:
        """For transformed weights, which all workers see. Training and inference have theirs in the same memory: each
        transforms anew what the other may have written over."""
        return self.network.shared_memory(name, int(np.prod(shape))).reshape(shape)

    def constants(self, make: Callable[..., Any], *arguments: Hashable) -> Any:
        """What make(*arguments, dtype) gives, made once for all workers."""
        known = self.network.known_constants
        if (make, arguments) not in known:
            known.setdefault((make, arguments), make(*arguments, self.dtype))
        return known[make, arguments]

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
        """The parts that `each` is given of `length` rows with so many operations each: one, all rows. Operations are
        those of products: a number that is read and written once takes as long as 20 or 30."""
        return [slice(0, length)]

    def each(self, parts: Sequence[Any], work: Callable[..., object], *given: Any) -> None:
        """work(part, *given) for every part; no part reads what another one writes. Where samples are fewer than
        workers, these share the parts."""
        for part in parts:
            work(part, *given)

    def multiply(self, a: Array, b: Array, out: Array) -> Array:
        """np.matmul(a, b, out=out), whose rows, columns or matrices are shared as what `each` is given."""
        return multiply(a, b, out)


def take(tally: Array) -> Array:
    """Rows of sums (K, ...) -> their sum (...); they begin at 0 again."""
    sums: Array = np.add.reduce(tally)
    tally[...] = 0
    return sums


def multiply(a: Array, b: Array, out: Array) -> Array:
    """np.matmul(a, b, out=out); a column by a row through np.dot, which takes a quarter of the time."""
    return (np.dot if a.ndim == 2 and a.shape[1] == 1 else np.matmul)(a, b, out=out)


class Stage:
    """What the stages of one worker have in common. A stage has forward and, in training, backward; `refresh` makes
    what it derives from its params, before a batch.
    """

    can: ClassVar[Can]

    def start(self, w: Worker) -> None:
        """What every constructor begins with."""
        self.w = w
        w.given, w.memory = w.memory, None  # what `into` says is for this stage alone
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
