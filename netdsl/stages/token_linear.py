"""A linear layer of tokens."""

from __future__ import annotations

from typing import Any

from netdsl.kernels.arrays import Array, Shape
from netdsl.stages.can import Can
from netdsl.stages.product import ProductStage
from netdsl.stages.relu import relu
from netdsl.stages.rows import add_to_rows, column_sums
from netdsl.stages.stage import Worker


class TokenLinear(ProductStage):
    """y = x weight + bias, then relu, of all tokens by one product; weight is stored as (D, F). adds_bias: False where
    the next stage adds it."""

    can = Can(
        end_in_relu=True,
        leave_bias=True,
        add_map=True,
        add_both_ways=True,
        leave_out_dx=True,
        share_gradient=True,
        spares_output=True,
        is_named=True,
        has_own_output=True,
        has_own_gradient=True,
    )

    def __init__(
        self,
        w: Worker,
        name: str,
        shape: Shape,
        filters: int,
        relu: bool = False,
        adds_bias: bool = True,
        dx: bool = True,
        common: bool = False,
        plus: bool = False,
    ) -> None:
        self.start(w)
        self.common = common and not w.splits and w.num_workers > 1
        self.name, self.relu, self.has_dx, self.adds_map = name, relu, dx, plus
        self.weight, self.bias = w.params[name + ".weight"], w.params.get(name + ".bias")
        self.adds_bias = adds_bias and self.bias is not None
        self.x: list[Any] = [None] * len(w.sizes)
        self.y = w.outputs(lambda n: (n, shape[0], filters))
        if w.training:
            self.part = self.of_block(self.weight)
            if dx:
                self.dx = w.gradients(lambda n: (n, *shape))

    def forward(self, x: Array, plus: Array | None = None) -> Array:
        """x (n, T, D), plus (n, T, F) or None -> y (n, T, F)."""
        b = self.w.block
        self.x[b], y = x, self.y[b]
        self.w.multiply(x.reshape(-1, x.shape[-1]), self.weight, y.reshape(-1, y.shape[-1]))
        if self.adds_bias:
            add_to_rows(y, self.bias)
        if plus is not None:
            y += plus
        return relu(y, y) if self.relu else y

    def backward(self, dy: Array) -> Any:
        """dy (n, T, F) -> dx (n, T, D) if anything needs it; and with plus the gradient by that, in the place of dy."""
        b = self.w.block
        if self.relu:
            dy *= self.y[b] > 0
        x, rows = self.x[b], dy.reshape(-1, dy.shape[-1])
        self.add_weight_gradient(self.name + ".weight", x.reshape(-1, x.shape[-1]), rows, self.part)
        if self.adds_bias:
            self.add_gradient(self.name + ".bias", column_sums(rows, dy.shape[-1]))
        dx = self.dx[b] if self.has_dx else None
        if dx is not None:
            self.w.multiply(rows, self.weight.T, dx.reshape(-1, dx.shape[-1]))
        return (dx, dy) if self.adds_map else dx
