"""What gives its input as it is."""

from __future__ import annotations

from netdsl.kernels.arrays import Array
from netdsl.stages.can import Can
from netdsl.stages.stage import Stage, Worker


class Identity(Stage):
    """y = x: the plan leaves it out."""

    can = Can(idles="always")

    def __init__(self, w: Worker) -> None:
        self.start(w)

    def forward(self, x: Array) -> Array:
        """x (..., C) -> x."""
        return x

    def backward(self, dy: Array) -> Array:
        """dy (..., C) -> dy."""
        return dy
