"""What a fast NumPy network has beside what all have, where it needs that; the text is copied into emitted modules."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Arrays, Shape, State
from netdsl.kernels.optimizers import matrices
from netdsl.stages.layout import to_textbook
from netdsl.stages.stage import Worker
from netdsl.targets.fast.network import BACKWARD, LOGITS, OUTPUTS, FastNetwork

Steps = Generator[None, None, Any]
"""What a block does, step by step: it yields where it waits for all other blocks and workers."""


class WaitingNetwork(FastNetwork):
    """A network of which the blocks wait for each other in training: a batch norm needs the whole batch. Both of its
    passes are generators, which yield where they wait."""

    def each_block(self, w: Worker, command: int) -> None:
        """All blocks by turns, each up to where it waits; at inference one after the other."""
        if not w.training:
            super().each_block(w, command)
            return
        steps, running = [self.steps_of(w, rows, command) for rows in w.rows], True
        while running:
            for block, step in enumerate(steps):
                w.block = block
                running = next(step, "ended") != "ended"
            if running and w.num_workers > 1:
                self.team.sync()

    def steps_of(self, w: Worker, rows: slice, command: int) -> Steps:
        """What a block does in training."""
        if command != BACKWARD:
            xs = self.inputs(rows) if hasattr(self, "inputs") else [self.io["x"][rows]]
            made = yield from w.compute(w.s, *xs)
            if hasattr(self, "keep_outputs"):
                made = self.keep_outputs(made, rows)
            self.io["logits"][rows] = to_textbook(made).reshape(-1, *self.logits_shape) if self.gives_map else made
        if command != LOGITS:
            yield from self.train_backward(w.s, self.gradient(w, rows, command)) or ()


class DrawingNetwork(FastNetwork):
    """A network with dropouts, whose factors are drawn for the whole batch, before its workers begin."""

    draws: Callable[[], tuple[tuple[Any, ...], ...]]

    def __init__(self, seed: int = 0, dtype: Any = "float32", workers: int | None = None) -> None:
        """As every network, with places for the factors."""
        super().__init__(seed, dtype, workers)
        drawn = [(name, self.drawn(1, np.random.default_rng(0), *how)) for name, *how in self.draws()]
        self.gives |= {f"factor {name}": factor.shape[1:] for name, factor in drawn}

    def draw(self, n: int) -> None:
        """The factors by which dropouts multiply n samples."""
        drawn = {f"factor {name}": self.drawn(n, self.rng, *how) for name, *how in self.draws()}
        if hasattr(self, "show"):
            self.show(n, drawn)
        else:
            self.io |= drawn

    def drawn(self, n: int, rng: np.random.Generator, kernel: Callable[..., Any], shape: Shape, p: float) -> Array:
        """The factors of one dropout."""
        return kernel(np.broadcast_to(np.ones((), self.dtype), (n, *shape)), p, True, rng)[1]


class SharingNetwork(FastNetwork):
    """A network of which several layers use one param.

    shares: pairs (name, owner): what a layer calls a param or buffer that is another one's, and its name there. Its
    gradient lies under its own name, in a vector beside.
    """

    shares: tuple[tuple[str, str], ...]

    def store(self, params: Mapping[str, Array], buffers: Mapping[str, Array]) -> None:
        """The params and buffers, by every name that a layer calls them, and places for more gradients."""
        super().store(params, buffers)
        again = {name: params[owner] for name, owner in self.shares if owner in params}
        self.stored |= {name: self.stored[owner] for name, owner in self.shares}
        beside = self.team.shared((self.num_workers, self.room(again.values())), self.dtype)
        for index, row in enumerate(beside):
            stored, named = self.views(row, again)
            self.stored_grads[index].update(stored)
            self.named_grads[index].update(named)

    def each_block(self, w: Worker, command: int) -> None:
        """One worker's part, with the sums of what several layers give as gradients of one param. They begin at 0: the
        loss may not depend on the owner."""
        shared, grads = [pair for pair in self.shares if pair[1] in self.params], self.stored_grads[w.index]
        if command != OUTPUTS:
            for _, owner in shared:
                grads[owner][...] = 0
        super().each_block(w, command)
        if command != OUTPUTS:
            for name, owner in shared:
                grads[owner] += grads[name]


class WeightedNetwork(FastNetwork):
    """A block's share of the mean loss goes by the weights of its labels, not by how many they are."""

    weight_of: Callable[[Array], float]

    def share(self, w: Worker, rows: slice) -> float:
        """By how much the mean loss of a block counts in that of the batch."""
        y = self.io["y"][: w.n]
        return self.weight_of(y[rows]) / (self.weight_of(y) or 1.0)


class DecayingMatrices(FastNetwork):
    """A network of which params of two axes or more decay, and others do not. They lie first in the vector."""

    def store(self, params: Mapping[str, Array], buffers: Mapping[str, Array]) -> None:
        """The params and buffers, and where in the vector those that decay end."""
        super().store(params, buffers)
        self.decayed = self.room(matrices(dict(params)).values())

    def views(self, vector: Array, arrays: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
        """Of a vector the arrays as they are stored, and in PyTorch's shapes."""
        stored, named = super().views(vector, {**matrices(dict(arrays)), **arrays})
        return stored, {name: named[name] for name in arrays}

    def parted(self, params: Arrays, grads: Arrays, state: State) -> tuple[tuple[Arrays, Arrays, State], ...]:
        """A worker's chunks, by where they begin, (n,) each -> those that decay, and the others. The chunk with the end
        of those that decay is cut there."""
        groups: tuple[Any, ...] = tuple(({}, {}, {"step": state["step"]}) for _ in range(2))
        for begin, param in params.items():
            end = min(max(self.decayed - begin, 0), len(param))
            for group, part in zip(groups, (slice(end), slice(end, len(param))), strict=True):
                if part.stop > (part.start or 0):
                    group[0][begin], group[1][begin] = param[part], grads[begin][part]
                    group[2][begin] = tuple(kept[part] for kept in state[begin])
        return groups
