"""A layer by its textbook kernels, where there is no faster way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Grads, Saved, Shape
from netdsl.stages.can import Can
from netdsl.stages.layout import from_textbook, to_textbook
from netdsl.stages.stage import Stage, Worker


class Textbook(Stage):
    """A layer by its textbook kernels: maps are brought to (n, C, *space) and back.

    forward(*xs, params...) -> (y, saved), backward(dy, saved) -> (dx, grads); call: how `forward` is called. spaces:
    the sizes (H, W) of each input and, at the end, of the output, () of what is no map; none where maps are images.
    """

    can = Can(is_named=True)

    def __init__(
        self,
        w: Worker,
        name: str,
        call: Callable[..., tuple[Array, Saved]],
        backward: Callable[[Array, Saved], tuple[Any, Grads]],
        spaces: Sequence[Shape] = (),
    ) -> None:
        self.start(w)
        self.spaces = spaces
        self.name, self.call, self.kernel = name, call, backward
        self.saved: list[Any] = [None] * len(w.sizes)

    def forward(self, *xs: Array) -> Array:
        """Each x as stages see it, (H, W, n, C), (n, T, D) or (n, D) -> y, so as well."""
        y, saved = self.call(*(to_textbook(x, self.space(i)) for i, x in enumerate(xs)))
        self.saved[self.w.block] = saved if self.w.training else None
        return self.inward(y, -1)

    def space(self, place: int) -> Shape:
        """The space of the input of that number; of the output at -1."""
        return self.spaces[place] if self.spaces else ()

    def inward(self, x: Array, place: int) -> Array:
        """What the textbook made at a place, as stages see it."""
        return from_textbook(x, bool(self.spaces[place]) if self.spaces else None)

    def backward(self, dy: Array) -> Array | tuple[Array, ...]:
        """dy as stages see it, (H, W, n, C), (n, T, D) or (n, D) -> dx for each input, so as well, in its own array."""
        dx, grads = self.kernel(to_textbook(dy, self.space(-1)), self.saved[self.w.block])
        for name, grad in grads.items():
            full = f"{self.name}.{name}" if name else self.name
            self.w.add_named_gradient(full, grad)
        if isinstance(dx, tuple):
            return tuple(np.array(self.inward(d, i)) for i, d in enumerate(dx))
        dx = self.inward(dx, 0)
        return dx if dx.flags.owndata and dx.flags.writeable else dx.copy()
