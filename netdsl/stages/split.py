"""Workers that share the layers of a sample, where samples are fewer than workers; the text is copied into emitted
modules.

Measured on two cores beside other work: to hand a part to a helper and to wait for it takes 12 us between processes,
which look at a counter, and 5 to 100 us between threads, which sleep on a lock and which Linux may wake on the core
that the caller needs. A product of 1,600 rows that takes one worker 530 us takes two processes 200, two threads 560.
BLAS's own threads share no more than products: with two of them a step of MobileNetV2 took 639 ms instead of 198.
"""

from __future__ import annotations

import bisect
import json
import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

from netdsl.kernels.arrays import Array, Shape, Type
from netdsl.stages.buffers import Buffers
from netdsl.stages.stage import HasWorkers, Sizes, Worker


class HandsOver(Protocol):
    """A team whose worker 0 hands numbers over, and waits until the others have done what these stand for."""

    def hand_over(self, number: int) -> None:
        """Worker 0 gives all others a number."""

    def receive(self, me: int) -> int:
        """The next number that worker 0 gives."""

    def report(self, me: int) -> None:
        """A helper has done what the number stands for."""

    def collect(self) -> None:
        """Worker 0 waits until all others have."""


class HasHelpers(HasWorkers, Protocol):
    """What a network is to its workers where they share layers. least: operations that are worth it; the same between
    threads and processes, since what each gives to a sum goes by that."""

    least: float

    def shared(self, key: Hashable, shape: Shape, dtype: Type | None = None) -> Array:
        """An array that all workers see, made when the first one asks for it."""

    def memories(self) -> list[Array]:
        """What all workers see, in the order in which it was made."""

    @property
    def helping(self) -> HandsOver:
        """Its team."""


class SplitWorker(Worker):
    """A worker where samples are fewer than workers: each has all samples and the same stages, worker 0 runs the
    network, and the helpers do their parts of what its stages give to `each`.

    Arrays lie in memory that every worker sees, but each has scratch of its own, and what worker 0 sets as attributes
    while it runs is its own, too: a part is given what it needs of them. Which part is whose goes by number, never by
    time.
    """

    splits = True
    most: ClassVar[int] = 4096  # tasks that are kept: a batch after the other needs the same
    network: HasHelpers

    def __init__(self, network: HasHelpers, index: int, n: int, training: bool, apart: bool) -> None:
        self.row, self.own, self.least = index, Buffers(network.dtype), network.least
        self.cuts: dict[tuple[int, int], list[slice]] = {}
        self.task, self.is_sharing = memoryview(network.shared("task", (1 << 16,), np.uint8).data), index > 0
        super().__init__(network, index, n, training, apart)
        self.tasks: list[tuple[Any, ...]] = []  # of a helper, those that worker 0 has numbered 1, 2, ...
        self.known: dict[Hashable, int] = {}
        self.quick: dict[Hashable, tuple[int, Any]] = {}
        self.numbers = {id(stage): number for number, stage in enumerate([*self.stages, self])}
        self.memories = network.memories()
        begins = [(address_of(memory), number) for number, memory in enumerate(self.memories)]
        self.ranges = sorted((begin, begin + self.memories[number].nbytes, number) for begin, number in begins)
        self.begins = [begin for begin, *_ in self.ranges]

    def settle(self) -> None:
        """Take the memory for scratch, and for all else that which every worker has."""
        key = "split", self.n, self.training, self.apart
        self.own.settle()
        self.buffers.settle(lambda size: self.network.shared(key, (size,)))

    def scratch(
        self, key: Hashable, shape: Sizes, dtype: Type | None = None, apart: bool = False, common: bool = False
    ) -> list[Array]:
        """An array for each block. common: what one part of `each` writes there others read later; else it is of this
        worker alone."""
        if common:
            return super().scratch(key, shape, dtype, apart)
        return [self.own.array(key, shape(n), dtype) for n in self.sizes]

    def tallies(self, shape: Shape) -> list[Array]:
        """Zeros for each block in float64, a row for each worker."""
        size, doubles = self.network.num_workers * math.prod(shape), 8 // self.dtype.itemsize
        arrays = self.zeros(lambda n: (size * doubles,))
        return [array.view(np.float64).reshape(-1, *shape) for array in arrays]

    def part(self, size: int) -> tuple[int, int]:
        """Begin and end of this worker's part of `size` things."""
        count = self.network.num_workers
        return self.index * size // count, (self.index + 1) * size // count

    def cut(self, length: int, operations: float) -> list[slice]:
        """The parts that `each` is given of `length` rows with so many operations each: one for each worker, where
        there is enough to do. Operations are those of products: a number that is read and written once takes as long
        as 20 or 30."""
        count = min(length, self.network.num_workers) if length * operations >= self.least else 1
        if (length, count) not in self.cuts:
            self.cuts[length, count] = [slice(i * length // count, (i + 1) * length // count) for i in range(count)]
        return self.cuts[length, count]

    def each(self, parts: Sequence[Any], work: Callable[..., object], *given: Any) -> None:
        """work(part, *given) for every part, a slice or a number, by all workers; work is a method of a stage, and what
        it is given are numbers, and arrays of this worker. Else, and within a part, worker 0 does all."""
        if self.is_sharing or len(parts) < 2:
            super().each(parts, work, *given)
            return
        same = work, self.block, parts if isinstance(parts, range) else id(parts), *map(id, given)
        number = self.quick[same][0] if same in self.quick else self.number_of(parts, work, given, same)
        if number is None:
            super().each(parts, work, *given)
            return
        self.is_sharing = True
        try:
            self.network.helping.hand_over(number)
            super().each(self.own_parts(parts), work, *given)
            self.network.helping.collect()
        finally:
            self.is_sharing = False

    def number_of(
        self, parts: Sequence[Any], work: Callable[..., object], given: Sequence[Any], same: Hashable
    ) -> int | None:
        """The number of a task, which helpers know or can read about; None where they do not see what is given. It
        takes 2 us to ask NumPy where an array lies, so the first objects of a task are held, and known again by
        `same`; those that a stage makes anew each time would pile up."""
        arrays = [spot_of(x) if isinstance(x, np.ndarray) else x for x in given]
        key = work, self.block, str(parts), *arrays
        number = self.known.get(key)
        if number is None:
            places = [self.place_of(x) if isinstance(x, np.ndarray) else x for x in given]
            if places.count(None) > sum(x is None for x in given):
                return None
            stage, number = self.numbers[id(work.__self__)], len(self.known) + 1  # type: ignore[attr-defined]
            self.post([stage, work.__name__, self.block, [code_of(part) for part in parts], places])
            if number <= self.most:
                self.known[key], self.quick[same] = number, (number, (parts, given))
        return number

    def multiply(self, a: Array, b: Array, out: Array) -> Array:
        """np.matmul(a, b, out=out) by all workers: some matrices each, or some rows, or columns if there are more."""
        by_rows = out.ndim > 2 or len(out) >= out.shape[1]
        length = len(out) if by_rows else out.shape[1]
        parts = self.cut(length, 2 * a.shape[-1] * out.size / length)
        self.each(parts, self.multiply_rows if by_rows else self.multiply_columns, a, b, out)
        return out

    def multiply_rows(self, part: slice, a: Array, b: Array, out: Array) -> None:
        super().multiply(a[part], b[part] if b.ndim > 2 else b, out[part])

    def multiply_columns(self, part: slice, a: Array, b: Array, out: Array) -> None:
        np.matmul(a, b[:, part], out=out[:, part])

    def own_parts(self, parts: Sequence[Any]) -> Sequence[Any]:
        begin, end = self.part(len(parts))
        return parts[begin:end]

    def help(self) -> None:
        """A helper's part while worker 0 runs the network."""
        team = self.network.helping
        while number := team.receive(self.index):
            task = self.tasks[number - 1] if number <= len(self.tasks) else self.next_task()
            work, self.block, parts, given = task
            for part in parts:
                work(part, *given)
            team.report(self.index)
        team.report(self.index)

    def post(self, task: Any) -> None:
        """Write what helpers need to know of a task."""
        text = json.dumps(task).encode()
        self.task[:4], self.task[4 : 4 + len(text)] = len(text).to_bytes(4, "little"), text

    def next_task(self) -> tuple[Any, ...]:
        """Read what worker 0 has written; keep it for the next time, if there is room."""
        text = bytes(self.task[4 : 4 + int.from_bytes(self.task[:4], "little")])
        number, name, block, codes, places = json.loads(text)
        given = [self.array_at(*place) if isinstance(place, list) else place for place in places]
        parts = [part_of(code) for code in self.own_parts(codes)]
        task = getattr([*self.stages, self][number], name), block, parts, given
        self.tasks += [task] if len(self.tasks) < self.most else []
        return task

    def place_of(self, x: Array) -> list[Any] | None:
        """Which memory that all workers see an array lies in, and where; None where it does not."""
        address = address_of(x)
        after = bisect.bisect_right(self.begins, address)
        begin, end, number = self.ranges[after - 1] if after else (0, 0, 0)
        return [number, address - begin, x.shape, x.strides, x.dtype.str] if address < end else None

    def array_at(self, number: int, begin: int, shape: Shape, strides: Shape, dtype: str) -> Array:
        """The array that lies there."""
        if number >= len(self.memories):
            self.memories = self.network.memories()
        return np.ndarray(shape, dtype, self.memories[number], begin, strides)


def spot_of(x: Array) -> Hashable:
    """Where an array lies, and how."""
    return address_of(x), x.shape, x.strides


def address_of(x: Array) -> int:
    return int(x.__array_interface__["data"][0])


def code_of(part: Any) -> Any:
    """A part, a number, a slice or a tuple of them, as JSON has it."""
    if isinstance(part, tuple):
        return [code_of(each) for each in part]
    return {"slice": [part.start, part.stop]} if isinstance(part, slice) else part


def part_of(code: Any) -> Any:
    """The part of which that is the code."""
    if isinstance(code, list):
        return tuple(part_of(each) for each in code)
    return slice(*code["slice"]) if isinstance(code, dict) else code
