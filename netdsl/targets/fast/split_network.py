"""A fast NumPy network whose workers share the layers of a sample where samples are fewer than workers; the text is
copied into modules that compute enough for one sample."""

from __future__ import annotations

from netdsl.kernels.arrays import Array
from netdsl.stages.split import HandsOver, SplitWorker
from netdsl.stages.stage import Worker
from netdsl.stages.workers import HelpingTeam, Team
from netdsl.targets.fast.network import FastNetwork


class SplitNetwork(FastNetwork):
    """A network whose workers share the layers of a sample, and the optimizer's step, where samples are fewer than
    workers."""

    splits = True
    least: float = 8e6  # operations that are worth sharing, about 100 us of products

    def make_team(self) -> Team:
        """Who shares a batch: threads."""
        return HelpingTeam(self.num_workers)

    @property
    def helping(self) -> HandsOver:
        """Its team."""
        return self.team  # type: ignore[return-value]

    def memories(self) -> list[Array]:
        """What all workers see, in the order in which it was made."""
        return [self.vector, self.gradients, *self.shared_arrays.values()]

    def worker_for(self, n: int) -> type[Worker]:
        """What works on n samples."""
        return Worker if n >= self.num_workers else SplitWorker

    def each_block(self, w: Worker, command: int) -> None:
        """All blocks by this worker, or by worker 0, which helpers help."""
        if not isinstance(w, SplitWorker):
            super().each_block(w, command)
        elif w.index:
            w.help()
        else:
            super().each_block(w, command)
            self.helping.hand_over(0)
