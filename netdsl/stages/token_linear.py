"""A linear layer of tokens."""

from __future__ import annotations

from typing import Any

from netdsl.kernels.arrays import Array, Shape
from netdsl.stages.can import Can
from netdsl.stages.product import ProductStage
from netdsl.stages.relu import relu
from netdsl.stages.rows import column_sums
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
        self.multiply_first(x, self.weight, y)
        self.w.each(self.w.cut(y.size // y.shape[2], 2 * self.weight.size), self.forward_rows, x, plus)
        return y

    def forward_rows(self, part: slice, x: Array, plus: Array | None) -> None:
        """Some of the n*T rows of x, and of another map or None, to those of y."""
        bias = self.bias if self.adds_bias else None
        y = self.multiply_rows(part, x, self.weight, bias, plus, self.y[self.w.block])
        if self.relu:
            relu(y, y)

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
