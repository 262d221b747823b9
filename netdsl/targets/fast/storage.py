"""Where a fast NumPy network keeps its params, for all workers to see; the text is copied into emitted modules."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Grads, Shape, Type
from netdsl.stages.workers import Team
from netdsl.targets.numpy.network import Network


class StoredNetwork(Network):
    """A network whose params are views of one vector, in which weights lie the other way round, (Kh, Kw, C, F) and
    (D, F), and whose workers have a vector of gradients each."""

    chunk = 32768  # so many numbers of the vector are worked on at a time
    team: Team
    num_workers: int
    size: int
    places: dict[str, tuple[int, int]]
    stored: dict[str, Array]
    stored_grads: list[dict[str, Array]]
    named_grads: list[dict[str, Array]]
    stored_buffers: dict[str, Array]
    shared_arrays: dict[Hashable, Array]
    common_memory: dict[Hashable, dict[int, Array]]
    watched: list[Array]
    last_sums: Array
    odd_numbers: Array

    def store_params(self, params: Mapping[str, Array]) -> None:
        """One vector for all of them, and one of gradients for each worker; each begins at a multiple of 64 bytes."""
        self.places = {}
        self.size = self.place(params)
        self.vector = self.team.shared((self.size,), self.dtype)
        self.gradients = self.team.shared((self.num_workers, self.size), self.dtype)
        self.stored, self.params = self.views(self.vector, params)
        both = [self.views(row, params) for row in self.gradients]
        self.stored_grads, self.named_grads = [stored for stored, _ in both], [named for _, named in both]
        for name, array in params.items():
            self.params[name][...] = array

    def place(self, arrays: Mapping[str, Array]) -> int:
        """Places for these arrays in a vector; returns how long it is."""
        begin = 0
        for name, array in arrays.items():
            self.places[name] = (begin, begin + array.size)
            begin += -(-array.size // 16) * 16
        return begin

    def store_buffers(self, buffers: Mapping[str, Array]) -> None:
        """One vector for all of them."""
        self.carried = self.team.shared((sum(array.size for array in buffers.values()),), self.dtype)
        self.buffers, begin = {}, 0
        for name, array in buffers.items():
            self.buffers[name] = self.carried[begin : begin + array.size].reshape(array.shape)
            self.buffers[name][...] = array
            begin += array.size
        self.stored_buffers = self.buffers

    def views(self, vector: Array, params: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
        """Of one vector the params as they are stored, and in PyTorch's shapes."""
        stored, named = {}, {}
        for name, array in params.items():
            begin, end = self.places[name]
            order = (*range(2, array.ndim), 1, 0) if array.ndim > 1 else tuple(range(array.ndim))
            stored[name] = vector[begin:end].reshape([array.shape[axis] for axis in order])
            named[name] = stored[name].transpose(np.argsort(order))
        return stored, named

    def shared(self, key: Hashable, shape: Shape, dtype: Type | None = None) -> Array:
        """An array that all workers see, made when the first one asks for it; of two that do so at a time, one makes
        it for both."""
        if key not in self.shared_arrays:
            self.shared_arrays.setdefault(key, self.team.shared(shape, self.dtype if dtype is None else dtype))
        return self.shared_arrays[key]

    def shared_memory(self, key: Hashable, size: int) -> Array:
        """Memory for so many numbers that all workers see. Who asks for the same key gets the same, if it is large
        enough."""
        made = self.common_memory.setdefault(key, {})
        large = next((made[many] for many in list(made) if many >= size), None)
        return (made.setdefault(size, self.shared(("common", key, size), (size,))) if large is None else large)[:size]

    def active(self, n: int) -> int:
        """How many workers have a part in a batch of n samples: all, or the first, if there is not one for each."""
        return self.num_workers if n >= self.num_workers else 1

    def sharers(self, n: int) -> int:
        """How many workers share what is not of one sample alone: as many as have a part in a batch of n samples."""
        return self.active(n)

    def watch(self, places: list[tuple[int, int]]) -> None:
        """Prepare to see whether the params at these places or the buffers were written to, as users may at any time.

        At inference stages use what they derived from them earlier: transformed weights with a batch norm in them.
        `version` counts the changes that are known of, and every worker keeps the one it derived from. What was there
        is known by sums, modulo 2 ** 64, of the numbers' bytes times odd numbers: one that changes always shows, and
        several do but for one case in 2 ** 64.
        """
        runs: list[tuple[int, int]] = []
        for begin, end in places:
            if runs and begin - runs[-1][1] < 16:
                begin = runs.pop()[0]
            runs.append((begin, end))
        self.watched, size = [], 2 * self.chunk
        for array in (*(self.vector[begin:end] for begin, end in runs), self.carried):
            self.watched += [array[i : i + size] for i in range(0, array.size, size)]
        self.last_sums = self.team.shared((len(self.watched),), np.uint64)
        self.odd_numbers = np.random.default_rng(0).integers(1 << 63, size=size, dtype=np.uint64) * 2 + 1
        self.news = self.team.shared((self.num_workers,), self.dtype)
        self.version, self.is_known = 1, True

    def touch(self) -> None:
        """What inference derived is no longer right, or is overwritten."""
        self.version, self.is_known = self.version + 1, True

    def notice(self, index: int, n: int) -> None:
        """Compare with what was there before: `news` says whether anything was written to. Each worker has a part."""
        count, many = self.sharers(n), len(self.watched)
        self.news[index] = 0
        for i in range(index * many // count, (index + 1) * many // count):
            now = self.sum_of_bytes(self.watched[i])
            if now != self.last_sums[i]:
                self.last_sums[i] = now
                self.news[index] = 1

    def sum_of_bytes(self, array: Array) -> Any:
        """The bytes of a piece of a vector, 8 or 4 at a time, times odd numbers, added up modulo 2 ** 64."""
        words = array.view(np.uint64 if array.nbytes % 8 == 0 else np.uint32)
        return np.dot(words, self.odd_numbers[: len(words)])

    def total_gradients(self, n: int) -> Grads:
        """{param name: gradient} by n samples, summed over the workers in their order."""
        for row in self.gradients[1 : self.active(n)]:
            self.gradients[0] += row
        return {name: self.named_grads[0][name].copy() for name in self.params}
