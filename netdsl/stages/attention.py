"""Self-attention: of all tokens with all, and what decoders ask of it (causal_attention)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Shape
from netdsl.stages.can import Can
from netdsl.stages.product import ProductStage
from netdsl.stages.rows import column_sums
from netdsl.stages.stage import Worker

Part = tuple[slice, slice]


class AttentionStage(ProductStage):
    """What stages of attention share: q, k and v are views of one product x inner + bias, o is mixed of v by the
    softmax of q k^T / sqrt(D / heads), part by part of samples and heads, and y = o outer + bias (Vaswani et al. 2017,
    eq. 1)."""

    piece = 131072  # numbers of scores that are worked on at a time: they stay in the cache
    views: list[list[tuple[list[Any], list[Any]]]]
    mix: Callable[[int], None]  # q, k and v of a part -> its o
    unmix: Callable[[int], None]  # do of a part -> its dq, dk and dv

    def prepare(
        self, w: Worker, name: str, shape: Shape, heads: int, joint: int, dx: bool, common: bool, plus: bool
    ) -> None:
        """What their constructors begin with. joint: the features of q, k and v together."""
        self.start(w)
        self.common = common and not w.splits and w.num_workers > 1
        self.name, self.shape, self.heads, self.has_dx, self.adds_map = name, shape, heads, dx, plus
        t, d = shape
        self.scale, self.ones = (d // heads) ** -0.5, np.ones(t, w.dtype)
        self.inner, self.outer = w.params[name + ".in_proj_weight"], w.params[name + ".out_proj.weight"]
        self.inner_bias, self.outer_bias = w.params.get(name + ".in_proj_bias"), w.params.get(name + ".out_proj.bias")
        keep = w.arrays if w.training else lambda shape: w.scratch(("attention", shape(1)), shape, common=True)
        self.qkv, self.o = keep(lambda n: (n * t, joint)), keep(lambda n: (n * t, d))
        self.inv_sum = keep(lambda n: (n, heads, t))
        self.y = w.outputs(lambda n: (n, *shape))
        self.x: list[Any] = [None] * len(w.sizes)
        self.laid = w.scratch("laid", lambda n: (n * t * d,))
        if w.training:
            self.do = w.scratch("do", lambda n: (n * t, d), common=True)
            self.dqkv = w.scratch("dqkv", lambda n: (n * t, joint), common=True)
            self.inner_part, self.outer_part = self.of_block(self.inner), self.of_block(self.outer)
            if dx:
                self.dx = w.gradients(lambda n: (n, *shape))

    def forward(self, x: Array, plus: Array | None = None) -> Array:
        """x (n, T, D), plus (n, T, D) or None -> y (n, T, D)."""
        b, rows = self.w.block, x.size // x.shape[2]
        self.x[b] = x
        self.multiply_first(x, self.inner, self.qkv[b])
        self.w.each(self.w.cut(rows, 2 * self.inner.size), self.enter, x)
        self.w.each(range(len(self.views[b])), self.mix)
        self.multiply_first(self.o[b], self.outer, self.y[b])
        self.w.each(self.w.cut(rows, 2 * self.outer.size), self.leave, plus)
        return self.y[b]

    def enter(self, part: slice, x: Array) -> None:
        """Some of the n*T rows of x to those of q, k and v."""
        self.multiply_rows(part, x, self.inner, self.inner_bias, None, self.qkv[self.w.block])

    def leave(self, part: slice, plus: Array | None) -> None:
        """Some of the n*T rows of o, and of another map or None, to those of y."""
        b = self.w.block
        self.multiply_rows(part, self.o[b], self.outer, self.outer_bias, plus, self.y[b])

    def transposed(self, k: Array, laid: Array) -> Array:
        """k (n, kv, T, D/heads) -> k^T / sqrt(D / heads), (n, kv, D/heads, T)."""
        return np.multiply(k.swapaxes(2, 3), self.scale, out=laid)

    def row_sums(self, e: Array) -> Array:
        """e (n, heads, T, S) -> (n, heads, T): a product with ones is quicker than a sum."""
        return np.dot(e.reshape(-1, e.shape[3]), self.ones[: e.shape[3]]).reshape(e.shape[:3])

    def backward(self, dy: Array) -> Any:
        """dy (n, T, D) -> dx (n, T, D) if anything needs it; and with plus the gradient by that, in the place of dy."""
        b, d = self.w.block, dy.shape[-1]
        rows = dy.reshape(-1, d)
        self.add_weight_gradient(self.name + ".out_proj.weight", self.o[b], rows, self.outer_part)
        self.w.multiply(rows, self.outer.T, self.do[b])
        self.w.each(range(len(self.views[b])), self.unmix)
        dqkv = self.dqkv[b]
        self.add_weight_gradient(self.name + ".in_proj_weight", self.x[b].reshape(-1, d), dqkv, self.inner_part)
        if self.inner_bias is not None:
            self.add_gradient(self.name + ".out_proj.bias", column_sums(rows, d))
            self.add_gradient(self.name + ".in_proj_bias", column_sums(dqkv, dqkv.shape[1]))
        dx = self.dx[b] if self.has_dx else None
        if dx is not None:
            self.w.multiply(dqkv, self.inner.T, dx.reshape(-1, d))
        return (dx, dy) if self.adds_map else dx


class Attention(AttentionStage):
    """o = P v of each head, P = softmax(q k^T / sqrt(D / heads)).

    P is never made: o is e v / sum(e), e = exp(q k^T / sqrt(D / heads)), and e is larger than what is divided. k and v
    are laid transposed for products, divided by the root.
    """

    can = Can(
        add_map=True,
        add_both_ways=True,
        leave_out_dx=True,
        share_gradient=True,
        is_named=True,
        has_own_output=True,
        has_own_gradient=True,
    )

    def __init__(
        self, w: Worker, name: str, shape: Shape, heads: int, dx: bool = True, common: bool = False, plus: bool = False
    ) -> None:
        self.prepare(w, name, shape, heads, 3 * shape[1], dx, common, plus)
        t, most = shape[0], max(self.piece, shape[0] ** 2)
        if w.training:
            self.e = w.arrays(lambda n: (n, heads, t, t))
            self.ds = w.scratch("ds", lambda n: (min(n * heads * t * t, most),))
        else:
            self.e = w.scratch("e", lambda n: (min(n * heads * t * t, most),))
        self.views = [[self.views_of(b, part) for part in self.parts(n)] for b, n in enumerate(w.sizes)]

    def parts(self, n: int) -> list[Part]:
        """Some samples of n with all heads, or some heads of one sample, at a time."""
        (t, d), w = self.shape, self.w
        count = max(1, self.piece // t**2)
        heads = min(count, w.cut(self.heads, 4 * n * t * t * (d // self.heads + 8))[0].stop)
        samples = max(1, count // self.heads)
        return [
            (slice(i, i + samples), slice(j, j + heads))
            for i in range(0, n, samples)
            for j in range(0, self.heads, heads)
        ]

    def by_head(self, rows: Array) -> Array:
        """rows (n*T, k*D) -> a view (k, n, heads, T, D/heads)."""
        t, d = self.shape
        return rows.reshape(-1, t, rows.shape[1] // d, self.heads, d // self.heads).transpose(2, 0, 3, 1, 4)

    def views_of(self, b: int, part: Part) -> tuple[list[Array], list[Array]]:
        """What `mix` and what `unmix` works on of a part of a block: views are made once."""
        q, k, v, o = (array[part] for array in (*self.by_head(self.qkv[b]), *self.by_head(self.o[b])))
        shape, laid = (*q.shape[:3], q.shape[2]), (*q.shape[:2], q.shape[3], q.shape[2])
        e = self.e[b][part] if self.w.training else self.e[b][: math.prod(shape)].reshape(shape)
        both = [q, k, v, e, self.inv_sum[b][part], self.laid[b][: q.size].reshape(laid)]
        if not self.w.training:
            return [*both, o], []
        grads = [array[part] for array in (*self.by_head(self.dqkv[b]), *self.by_head(self.do[b]))]
        return [*both, o], [*both, *grads, self.ds[b][: e.size].reshape(shape)]

    def mix(self, part: int) -> None:
        """q, k, v (n, heads, T, D/heads) of a part -> its o, so as well."""
        q, k, v, e, inv_sum, laid, o = self.views[self.w.block][part][0]
        k = self.transposed(k, laid)
        np.exp(np.matmul(q, k, out=e), out=e)
        sums = self.row_sums(e)
        if not 1e-30 < sums.min() <= sums.max() < np.inf:  # a score is large, or all of a row are small
            np.matmul(q, k, out=e)
            e -= e.max(axis=3, keepdims=True)
            sums = self.row_sums(np.exp(e, out=e))
        np.reciprocal(sums, out=inv_sum)
        np.matmul(e, v, out=o)
        self.scale_rows(o, inv_sum)

    def scale_rows(self, o: Array, factor: Array) -> None:
        """o (n, heads, T, D/heads) times factor (n, heads, T), in place and in the order in which o lies."""
        lies = o.swapaxes(1, 2)
        np.multiply(lies, factor.swapaxes(1, 2)[..., None], out=lies)

    def unmix(self, part: int) -> None:
        """The gradient do of a part -> its dq, dk and dv, by ds = e * (dp - rowsum(e * dp) / sum(e)), dp = do v^T /
        sum(e) / sqrt(D / heads)."""
        q, k, v, e, inv_sum, laid, dq, dk, dv, do, ds = self.views[self.w.block][part][1]
        self.scale_rows(do, inv_sum)
        np.matmul(e.swapaxes(2, 3), do, out=dv)
        np.matmul(do, self.transposed(v, laid), out=ds)
        ds -= (np.einsum("nhij,nhij->nhi", e, ds) * inv_sum)[..., None]
        ds *= e
        np.matmul(ds, k, out=dq)
        np.matmul(ds.swapaxes(2, 3), q, out=dk)
