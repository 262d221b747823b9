"""What a fast NumPy network with named inputs or outputs does otherwise; its text is copied into emitted modules."""

from __future__ import annotations

from typing import Any

from netdsl.kernels.arrays import Array, Shape
from netdsl.stages.layout import to_textbook
from netdsl.targets.fast.network import LOGITS, OUTPUTS, FastNetwork
from netdsl.targets.numpy.named_network import NamedNetwork


class NamedFastNetwork(FastNetwork, NamedNetwork):
    """A fast network of several inputs or outputs, or of one that has a name. `input_shapes` and `output_shapes` have
    them in order, by name; `output_shapes` is empty where the only output has no name."""

    output_shapes: dict[str, Shape]

    def __init__(self, seed: int = 0, dtype: Any = "float32", workers: int | None = None) -> None:
        """As every network, with places for the outputs."""
        super().__init__(seed, dtype, workers)
        self.gives |= {f"output {name}": shape for name, shape in self.output_shapes.items()}

    def named_inputs(self) -> dict[str, Shape]:
        """What the workers call each input -> its shape."""
        return {f"input {name}": shape for name, shape in self.input_shapes.items()}

    def inputs(self, rows: slice) -> list[Array]:
        """These samples of every input."""
        return [self.io[name][rows] for name in self.named_inputs()]

    def checked(self, x: Any) -> dict[str, Array]:
        """A tuple, a dict by names or the array of an only input -> the arrays in order, checked."""
        return dict(zip(self.named_inputs(), self.check_inputs(*self.in_order(x)), strict=True))

    def keep_outputs(self, made: Any, rows: slice) -> Any:
        """What a block gave, in order -> what the loss reads; the outputs, if they have names, are kept."""
        z, *outputs = made if self.output_shapes else (made,)
        for name, y in zip(self.output_shapes, outputs, strict=True):
            place = self.io[f"output {name}"]
            place[rows] = to_textbook(y).reshape(-1, *place.shape[1:])
        return z

    def ask(self, x: Any, training: bool) -> int:
        """Forward on x, the number of whose samples it returns; what comes out is in `io`."""
        n = self.call(LOGITS if training else OUTPUTS, x)
        if not training and self.was_touched():
            self.run(OUTPUTS, n)
        return n

    def logits_of(self, x: Any, training: bool) -> Array:
        """x of each input -> what the loss reads, (N, ...)."""
        n = self.ask(x, training)
        return self.io["logits"][:n].copy()

    def outputs_of(self, x: Any, training: bool) -> dict[str, Array]:
        """x of each input -> {name: output (N, ...)}."""
        n = self.ask(x, training)
        return {name: self.io[f"output {name}"][:n].copy() for name in self.output_shapes}
