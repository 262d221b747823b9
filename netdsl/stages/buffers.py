"""The memory of one worker, in one piece."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable

import numpy as np

from netdsl.kernels.arrays import Array, Shape, Type


class Buffers:
    """Arrays that live as long as a worker, in one piece (a large one has huge pages); those of a key share it. Sizes
    are learned by building all twice, first with arrays over each other: a process keeps part of what it gives back."""

    sizes: dict[Hashable, int]
    places: dict[Hashable, int]
    memory: Array | None

    def __init__(self, dtype: Type) -> None:
        self.dtype, self.sizes, self.places = np.dtype(dtype), {}, {}
        self.memory, self.trial = None, np.empty(0, self.dtype)

    def array(self, key: Hashable, shape: Shape, dtype: Type | None = None) -> Array:
        """An array of that shape; what is in it at first is undefined."""
        dtype, begin, count = np.dtype(dtype or self.dtype), self.places.get(key, 0), math.prod(shape)
        size = -(-count * dtype.itemsize // self.dtype.itemsize)
        if self.memory is None:
            self.sizes[key] = max(self.sizes.get(key, 0), size)
            self.trial = self.trial if size <= len(self.trial) else np.empty(2 * size, self.dtype)
        memory = self.trial if self.memory is None else self.memory
        return memory[begin : begin + size].view(dtype)[:count].reshape(shape)

    def settle(self, make: Callable[[int], Array] | None = None) -> None:
        """Take the memory for all that was asked for; from now on arrays are parts of it."""
        end = 0
        for key, size in self.sizes.items():  # 64 bytes apart, and not at multiples of 4096, which share a cache set
            self.places[key], end = end, end + -(-size // 16) * 16 + 48
        memory = np.empty(end + 16, self.dtype) if make is None else make(end + 16)
        self.memory, self.trial = memory[-memory.ctypes.data % 64 // self.dtype.itemsize :], memory[:0]
