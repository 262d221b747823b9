"""The memory of one worker, in one piece."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable

import numpy as np

from netdsl.kernels.arrays import Array, Shape, Type


class Buffers:
    """Arrays that live as long as a worker, in one piece of memory (NumPy asks for huge pages for large pieces only).
    Those of the same key share theirs. Sizes are learned by building everything twice."""

    sizes: dict[Hashable, int]
    places: dict[Hashable, int]
    memory: Array | None

    def __init__(self, dtype: Type) -> None:
        self.dtype, self.sizes, self.places, self.memory = np.dtype(dtype), {}, {}, None

    def array(self, key: Hashable, shape: Shape, dtype: Type | None = None) -> Array:
        """An array of that shape; what is in it at first is undefined."""
        dtype = np.dtype(dtype or self.dtype)
        size = -(-math.prod(shape) * dtype.itemsize // self.dtype.itemsize)
        if self.memory is None:
            self.sizes[key] = max(self.sizes.get(key, 0), size)
            return np.empty(shape, dtype)
        begin = self.places[key]
        return self.memory[begin : begin + size].view(dtype)[: math.prod(shape)].reshape(shape)

    def settle(self, make: Callable[[int], Array] | None = None) -> None:
        """Take the memory for all that was asked for; from now on arrays are parts of it."""
        end = 0
        for key, size in self.sizes.items():
            # 64 bytes apart, and not at multiples of 4096, which would share a cache set
            self.places[key], end = end, end + -(-size // 16) * 16 + 48
        memory = np.empty(end + 16, self.dtype) if make is None else make(end + 16)
        self.memory = memory[-memory.ctypes.data % 64 // self.dtype.itemsize :]
