"""Where a fast NumPy network keeps its params, for all workers to see; the text is copied into emitted modules."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Shape, Type
from netdsl.stages.workers import Team
from netdsl.targets.numpy.network import Network


class StoredNetwork(Network):
    """A network whose params are views of one vector, in which weights lie the other way round, (Kh, Kw, C, F) and
    (D, F), and whose workers have a vector of gradients each. At inference stages use what they derived from params
    earlier. Users may write to these at any time, so workers add up their bytes, times odd numbers, modulo 2 ** 64: one
    number that changes always shows, and several do but for one case in 2 ** 64."""

    chunk = 32768  # so many numbers of the vector are worked on at a time
    splits = False  # whether workers share the layers of a sample
    team: Team
    num_workers: int
    size: int
    stored: dict[str, Array]
    stored_grads: Sequence[dict[str, Array]]
    named_grads: Sequence[dict[str, Array]]
    shared_arrays: dict[Hashable, Array]
    last_sum: Any

    def store(self, params: Mapping[str, Array], buffers: Mapping[str, Array]) -> None:
        """One vector for all of them, first the matrices, from which nothing is derived; gradients for each worker."""
        self.begin = self.room(array for array in params.values() if array.ndim == 2)
        self.size = self.room(params.values())
        self.vector = self.team.shared((self.size + self.room(buffers.values()),), self.dtype)
        self.gradients = self.team.shared((self.num_workers, self.size), self.dtype)
        self.stored, named = self.views(self.vector, {**params, **buffers})
        self.stored_grads, self.named_grads = zip(*(self.views(row, params) for row in self.gradients), strict=True)
        for name, array in (*params.items(), *buffers.items()):
            named[name][...] = array
        self.params, self.buffers = ({name: named[name] for name in some} for some in (params, buffers))
        self.sums, self.last_sum = self.team.shared((self.num_workers,), np.uint64), None
        self.odd_numbers = np.random.default_rng(0).integers(1 << 63, size=self.chunk, dtype=np.uint64) * 2 + 1
        self.shared_arrays, self.version = {}, 1

    def room(self, arrays: Iterable[Array]) -> int:
        """How many numbers of a vector they take, each at a multiple of 64 bytes."""
        return sum(-(-array.size // 16) * 16 for array in arrays)

    def views(self, vector: Array, arrays: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
        """Of a vector the arrays as they are stored, and in PyTorch's shapes."""
        stored, named, begin = {}, dict(arrays), 0
        for name, array in sorted(arrays.items(), key=lambda item: item[1].ndim != 2):
            place = vector[begin : begin + array.size]
            stored[name] = place.reshape((*array.shape[2:], *array.shape[1::-1]))
            named[name] = np.moveaxis(stored[name], (-1, -2), (0, 1)) if array.ndim > 1 else stored[name]
            begin += self.room([array])
        return stored, named

    def shared(self, key: Hashable, shape: Shape, dtype: Type | None = None) -> Array:
        """An array that all workers see, made when the first one asks for it, or one of two that do so at a time.
        Training and inference write there what they derive from params, over what the other has."""
        if (key, shape) not in self.shared_arrays:
            self.shared_arrays.setdefault((key, shape), self.team.shared(shape, dtype or self.dtype))
        return self.shared_arrays[key, shape]

    def add_up(self, index: int) -> None:
        """The bytes of one worker's part."""
        self.sums[index] = 0
        for begin in range(self.begin, len(self.vector), self.chunk)[index :: self.team.active]:
            words = self.vector[begin : begin + self.chunk].view(np.uint64)
            self.sums[index] += np.dot(words, self.odd_numbers[: len(words)])

    def touch(self) -> None:
        """What workers derived is no longer right, or is overwritten: that of each has the version that it is from."""
        self.version, self.last_sum = self.version + 1, None

    def was_touched(self) -> bool:
        """Whether a user has written to params or buffers since this was asked last."""
        last, self.last_sum = self.last_sum, self.sums[: self.team.active].sum()
        is_new = last not in (None, self.last_sum)
        self.version += is_new
        return is_new
