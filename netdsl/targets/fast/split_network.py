"""A fast NumPy network whose workers share the layers of a sample where samples are fewer than workers; the text is
copied into modules that compute enough for one sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netdsl.kernels.arrays import Array
from netdsl.stages.split import SplitWorker
from netdsl.stages.stage import Worker
from netdsl.targets.fast.network import FastNetwork


class SplitNetwork(FastNetwork):
    """A network whose workers share the layers of a sample, and the optimizer's step, where samples are fewer than
    workers."""

    def sharers(self, n: int) -> int:
        """How many workers share what is not a sample's."""
        return self.num_workers

    def memories(self) -> list[Array]:
        """What all workers see, in the order in which it was made."""
        return [self.vector, self.gradients, *self.shared_arrays.values()]

    def make_worker(self, index: int, n: int, training: bool, apart: bool) -> Worker:
        """Worker `index` for a batch of n samples."""
        if n >= self.num_workers:
            return super().make_worker(index, n, training, apart)
        return SplitWorker(self, index, n, self.blocks_of(0, n), training, apart)

    def each_block(self, w: Worker, work: Callable[[Worker, slice], Any]) -> None:
        """All blocks by this worker, or by worker 0, which helpers help."""
        if not isinstance(w, SplitWorker):
            super().each_block(w, work)
        elif w.index:
            w.help()
        else:
            super().each_block(w, work)
            w.post(None)
