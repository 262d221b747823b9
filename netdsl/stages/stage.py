"""Stages: layers that keep their buffers, for networks that run fast (-O2).

Maps are (H, W, n, C) inside, n the samples of one block: n * C numbers lie together, so that a pass over a map is a
pass over long rows, and every product with a constant matrix along H or W is one plain matrix product. Vectors are
(n, D).
"""

from __future__ import annotations

from typing import ClassVar

from netdsl.stages.can import Can


class Stage:
    """What the stages of one worker have in common. A stage has forward and, in training, backward; `refresh` makes
    what it derives from its params, before a batch.
    """

    can: ClassVar[Can]

    def start(self, w):
        self.w = w
        w.given, w.memory = w.memory, None  # what `into` says is for this stage alone
        w.stages.append(self)

    def refresh(self):
        """Nothing is derived from the params."""

    def add_gradient(self, name, value):
        """The gradient of a param by one block is added to that of the blocks before."""
        if self.w.block == 0:
            self.w.grads[name][...] = value
        else:
            self.w.grads[name] += value


class Stages:
    """The stages of one worker, by name."""
