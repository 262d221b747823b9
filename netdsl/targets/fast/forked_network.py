"""A fast NumPy network whose workers are forked processes; the text is copied into modules that ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array
from netdsl.stages.forks import ForkedTeam, can_fork
from netdsl.stages.workers import Team
from netdsl.targets.fast.network import FastNetwork


class ForkedNetwork(FastNetwork):
    """A network whose workers are processes. They see what was in shared memory before they were forked, so a batch is
    copied there; a larger one, or targets of another kind, need new processes."""

    failures: Array
    capacity = 0  # samples that there is memory for
    sizes: tuple[int, ...] = (1,)  # of batches that there is memory for, where workers share that of few samples

    def make_team(self) -> Team:
        """Who shares a batch. Raises ValueError where there can be none."""
        if not can_fork():
            raise ValueError("workers that are processes need fork, which this system does not have: take threads")
        team = ForkedTeam(self.num_workers)
        self.failures, self.seen = team.shared((1,), np.int64), 0  # of calls, and how many this process knows of
        return team

    def show(self, n: int, given: Mapping[str, Array]) -> None:
        """Copy n samples to where the workers see them: workers that can take these, and targets like theirs. The first
        batch starts them, if nobody else has.

        A fork is safe while there is no other thread.
        """
        y = given.get("y")
        is_known = n in self.sizes or not self.splits or n >= self.num_workers
        if not is_known or n > self.capacity or (y is not None and not self.fits(y)):
            self.sizes = self.sizes if is_known else (*self.sizes, n)
            self.begin_anew(n, self.io.get("y") if y is None else y)
        for name, array in given.items():
            self.io[name][: len(array)] = array

    def begin_anew(self, n: int, y: Array | None) -> None:
        """Have workers that can take n samples with targets like y (N, ...)."""
        if self.capacity:
            self.team.close()
            self.team = self.make_team()
            self.close = self.team.close
        self.capacity = max(n, self.capacity, 256)
        takes = self.named_inputs() if hasattr(self, "named_inputs") else {"x": self.input_shape}
        for name, shape in {**takes, **self.gives}.items():
            dtype = self.input_dtypes().get(name, self.dtype) if hasattr(self, "input_dtypes") else self.dtype
            self.io[name] = self.team.shared((self.capacity, *shape), dtype)
        if y is not None:
            self.io["y"] = self.team.shared((self.capacity, *y.shape[1:]), y.dtype)
        self.forget_workers()
        for size in self.sizes:
            for training, apart in ((False, False), (True, False), (True, True)):
                self.worker(0, size, training, apart)  # asks for all shared arrays
            self.forget_workers()
        if hasattr(self, "trim"):
            self.trim()
        self.team.start(self.work)

    def fits(self, y: Array) -> bool:
        """Whether there is a place for targets like y."""
        known = self.io.get("y")
        return known is not None and (known.dtype, known.shape[1:]) == (y.dtype, y.shape[1:])

    def forget_workers(self) -> None:
        """Give the memory of this process's workers back."""
        for known in self.workers.values():
            for worker in known.values():
                vars(worker).clear()
        self.workers = {}

    def run(self, command: int, n: int, lr: float = 0.0) -> None:
        """Every worker does its part of a command."""
        try:
            super().run(command, n, lr)
        except BaseException:
            self.failures[0] += 1
            raise

    def work(self, index: int, order: Any) -> None:
        """One worker's part of a command. Once a call has failed, every process makes its workers anew."""
        if self.failures[0] != self.seen:
            self.workers, self.seen = {}, self.failures[0]
        command, n, lr, steps, version = (float(number) for number in order[:5])
        super().work(index, (int(command), int(n), lr, int(steps), int(version)))
