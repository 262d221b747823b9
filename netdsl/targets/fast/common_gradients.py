"""A fast NumPy network whose workers have one gradient of large weights; the text is copied into such modules."""

from __future__ import annotations

from typing import Any

from netdsl.kernels.arrays import Array, Grads
from netdsl.targets.fast.network import FastNetwork


class CommonGradients(FastNetwork):
    """A network whose workers make the gradient of large weights together, in the first worker's vector. Nobody writes
    or reads that part of other vectors, so that it takes no memory.

    common: the names of these weights. shown: the linear layers of which each worker makes a part by all samples of a
    batch; of the others workers add to the gradient in turns.
    """

    common: tuple[str, ...]
    shown: tuple[str, ...] = ()

    def __init__(self, seed: int = 0, dtype: Any = "float32", workers: int | None = None) -> None:
        """As every network, with places where workers show each other their samples of these layers."""
        super().__init__(seed, dtype, workers)
        self.whole = {begin for name in self.common for begin in self.chunks_in(self.stored[name])}
        for name in self.common:
            for grads in self.stored_grads[1:]:
                grads[name] = self.stored_grads[0][name]
        for name in self.shown:
            weight = self.stored[name + ".weight"]
            self.gives |= {f"x {name}": weight.shape[:1], f"dy {name}": weight.shape[1:]}

    def chunks_in(self, param: Array) -> range:
        """Where the chunks of the vector begin that are part of one param."""
        begin = (param.ctypes.data - self.vector.ctypes.data) // self.dtype.itemsize
        return range(-(-begin // self.chunk) * self.chunk, begin + param.size - self.chunk + 1, self.chunk)

    def rows_used(self, begin: int, others: list[Array]) -> list[Array]:
        """A chunk of the other workers' gradients, of those that write there."""
        return [] if begin in self.whole else others

    def total_gradients(self, n: int) -> Grads:
        """{param name: gradient} by the last n samples, summed over the workers in their order."""
        for begin in range(0, self.size, self.chunk):
            part = slice(begin, min(begin + self.chunk, self.size))
            total, *others = self.gradients[: 1 if n < self.num_workers else None, part]
            for row in self.rows_used(begin, others):
                total += row
        return super().total_gradients(0)
