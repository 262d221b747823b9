"""A fast NumPy network that needs much memory; the text is copied into modules of large networks."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Shape, Type
from netdsl.stages.stage import Worker
from netdsl.stages.workers import trim_heap
from netdsl.targets.fast.network import FastNetwork


class Room(dict):  # type: ignore[type-arg]
    """Workers that take turns in one memory, by (samples, whether in training). planned: for whom it was made, and how
    many numbers that are; last: who had it last."""

    planned: list[tuple[int, bool]]
    memory: Array | None
    last: Worker | None

    def __init__(self, apart: bool) -> None:
        self.apart, self.planned, self.size, self.memory, self.last = apart, [], 0, None, None

    def forget(self, count: int) -> None:
        """Give up the oldest workers, so many, and their memory: they and their stages refer to each other."""
        for key in list(self)[:count]:
            w = self.pop(key)
            for one in (*w.stages, w):
                vars(one).clear()


class LargeNetwork(FastNetwork):
    """A network in which training and inference take turns in one memory. What `logits` keeps for `backward` has a
    memory of its own, as inference may come between."""

    rooms: dict[int, Room]
    sizes_made: dict[Hashable, dict[int, Array]]

    def __init__(self, seed: int = 0, dtype: Any = "float32", workers: int | None = None) -> None:
        """As every network, with places for memory."""
        super().__init__(seed, dtype, workers)
        self.rooms, self.sizes_made = {}, {}
        self.trim()

    def trim(self) -> None:
        """Give freed memory back, of ResNet-50's first weights 100 MB, which each forked worker would copy."""
        trim_heap()

    def worker(self, index: int, n: int, training: bool, apart: bool) -> Worker:
        """What worker `index` needs for its part of a batch of n samples; the last six that were made are kept.

        All workers make and forget theirs in the same order, so that they agree on what is new: where a memory may be
        too small for more samples, or for training, all who have it are forgotten.
        """
        room: Any = self.workers.setdefault((index, self.team.active, apart), Room(apart))
        if not any(n <= most and training <= trains for most, trains in room.planned):
            room.forget(len(room))
            room.planned.append((n, training))
            room.memory = None
        if (n, training) not in room:
            room.forget(len(room) - 5)
            if self.splits and n < self.num_workers and not training:
                self.worker(index, n, True, apart)  # whose memory is made for both
            self.rooms[index], takes_turns = room, apart or (training and hasattr(self, "steps_of"))
            if hasattr(self, "worker_for"):
                room[n, training] = self.worker_for(n)(self, index, n, training, takes_turns)
            else:
                room[n, training] = Worker(self, index, n, training, takes_turns)
        w: Worker = room[n, training]
        if room.last is not w:
            room.last, w.version = w, w.version if apart else None
            for array in w.zeroed:
                array[...] = 0
        return w

    def shared(self, key: Hashable, shape: Shape, dtype: Type | None = None) -> Array:
        """An array that all workers see; what a worker asks for in two shapes, in training and at inference, lies in
        the same memory if that is large enough."""
        if key == "task" or (isinstance(key, tuple) and key[0] == "split"):
            return super().shared(key, shape, dtype)
        made, size = self.sizes_made.setdefault((key, dtype), {}), math.prod(shape)
        large = next((made[many] for many in list(made) if many >= size), None)
        if large is None:
            large = made.setdefault(size, super().shared(key, shape, dtype))
        return large.reshape(-1)[:size].reshape(shape)

    def give_memory(self, w: Any) -> None:
        """Memory for a worker that is being made, of which the network sets to zero what has to be so."""
        w.zeroed = []
        w.buffers.settle(lambda size: self.memory_for(w, size, w.splits))
        if w.splits:
            w.own.settle(lambda size: self.memory_for(w, size, False))

    def memory_for(self, w: Worker, size: int, is_shared: bool) -> Array:
        """Memory for so many numbers of a worker that is being made; is_shared: by all workers."""
        room = self.rooms[w.index]
        if is_shared:
            memory = self.shared(("split", w.n, room.apart), (size,))
            return memory if size <= len(memory) else self.shared(("split", w.n, room.apart, size), (size,))
        if room.memory is None:
            room.size = max(size, room.size)
            room.memory = np.empty(room.size, self.dtype)
        return room.memory if size <= len(room.memory) else np.empty(size, self.dtype)
