"""A layer by its textbook kernels, where there is no faster way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.stages.can import Can
from netdsl.stages.layout import from_textbook, to_textbook
from netdsl.stages.stage import Stage, Worker


class Textbook(Stage):
    """A layer by its textbook kernels: maps are brought to (n, C, H, W) and back.

    forward(*xs, params...) -> (y, saved), backward(dy, saved) -> (dx, grads); call: how `forward` is called.
    """

    can = Can(is_named=True)

    def __init__(
        self,
        w: Worker,
        name: str,
        call: Callable[..., tuple[Array, Saved]],
        backward: Callable[[Array, Saved], tuple[Any, Grads]],
    ) -> None:
        self.start(w)
        self.name, self.call, self.kernel = name, call, backward
        self.saved = w.of_blocks()

    def forward(self, *xs: Array) -> Array:
        """Each x as stages see it, (H, W, n, C), (n, T, D) or (n, D) -> y, so as well."""
        y, saved = self.call(*(to_textbook(x) for x in xs))
        self.saved[self.w.block] = saved if self.w.training else None
        return from_textbook(y)

    def backward(self, dy: Array) -> Array | tuple[Array, ...]:
        """dy as stages see it, (H, W, n, C), (n, T, D) or (n, D) -> dx for each input, so as well, in its own array."""
        dx, grads = self.kernel(to_textbook(dy), self.saved[self.w.block])
        for name, grad in grads.items():
            full = f"{self.name}.{name}" if name else self.name
            self.w.add_named_gradient(full, grad)
        if isinstance(dx, tuple):
            return tuple(np.array(from_textbook(d)) for d in dx)
        dx = from_textbook(dx)
        return dx if dx.flags.owndata and dx.flags.writeable else dx.copy()
