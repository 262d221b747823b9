"""Self-attention as decoders need it: no token reads what is behind it, heads share keys and values, queries and keys
are turned by their positions, weights are dropped."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Shape, Type
from netdsl.kernels.positions import rotary_table
from netdsl.stages.attention import Attention, AttentionStage, Part
from netdsl.stages.stage import Worker


class CausalAttention(AttentionStage):
    """o = P v of each head, P = softmax(q k^T / sqrt(D / heads)), in training times the factor of a dropout that it may
    have (`draws`). P is never made, as in Attention.

    Where it is causal, some tokens are worked on at a time, and by the keys up to the last of them alone; what these
    few do not read is multiplied by 0 behind exp. Of `kv` heads of k and v each is there for a group of heads of q,
    whose rows (T * group) are those of one product. q and k are turned where they lie, if there is a base.
    """

    can = Attention.can

    least, most = 32, 16  # tokens that are worked on at a time, and into how many such parts all are cut

    def __init__(
        self,
        w: Worker,
        name: str,
        shape: Shape,
        heads: int,
        kv: int,
        causal: bool = False,
        base: float | None = None,
        drops: bool = False,
        dx: bool = True,
        common: bool = False,
        plus: bool = False,
    ) -> None:
        t, d = shape
        self.kv, self.group, self.size = kv, heads // kv, d // heads
        self.causal, self.turns, self.drops, self.shares = causal, base is not None, drops and w.training, kv < heads
        self.prepare(w, name, shape, heads, d + 2 * kv * self.size, dx, common, plus)
        count = max(1, min(self.most, t // self.least)) if causal else 1
        self.step = -(-t // count)
        self.blocks = [(i, min(i + self.step, t)) for i in range(0, t, self.step)]
        if self.causal:
            self.seen = np.tri(self.step, dtype=w.dtype)[:, None]  # (token, 1, token)
        if self.turns:
            self.cos, self.sin = w.constants(angles_of_heads, t, heads, self.size, base)
        rows = self.group * self.step * t
        self.part = w.scratch("e", lambda n: (min(n * kv * rows, max(self.piece, rows)),))
        self.queries, self.rows = (w.scratch(("queries", i), lambda n: (n * t * d,)) for i in range(2))
        if w.training:
            self.e = [self.scores(*block) for block in self.blocks]
            self.ds = w.scratch("ds", lambda n: (min(n * kv * rows, max(self.piece, rows)),))
            self.drows, self.more = (w.scratch(("drows", i), lambda n: (n * t * d,)) for i in range(2))
        self.views = [[self.views_of(b, part) for part in self.parts(n)] for b, n in enumerate(w.sizes)]

    def scores(self, begin: int, end: int) -> list[Array]:
        """Places for e of some tokens."""
        return self.w.arrays(lambda n: (n, self.kv, (end - begin) * self.group, end))

    def parts(self, n: int) -> list[Part]:
        """Some samples of n with all heads of k and v, or some of these heads of one sample, at a time."""
        t, w = self.shape[0], self.w
        count = max(1, self.piece // (self.step * t * self.group))
        kv = min(count, w.cut(self.kv, 4 * n * t * t * self.group * (self.size + 8))[0].stop)
        samples = max(1, count // self.kv)
        return [(slice(i, i + samples), slice(j, j + kv)) for i in range(0, n, samples) for j in range(0, self.kv, kv)]

    def by_head(self, rows: Array) -> tuple[Array, Array, Array]:
        """rows (n*T, D + 2 * kv * size) -> views: q (n, kv, T, group, size), k and v (n, kv, T, 1, size)."""
        (t, d), end = self.shape, self.shape[1] + self.kv * self.size
        parts = rows[:, :d], rows[:, d:end], rows[:, end:]
        q, k, v = (part.reshape(-1, t, self.kv, part.shape[1] // (self.kv * self.size), self.size) for part in parts)
        return q.swapaxes(1, 2), k.swapaxes(1, 2), v.swapaxes(1, 2)

    def views_of(self, b: int, part: Part) -> tuple[list[Any], list[Any]]:
        """What `mix` and what `unmix` works on of a part of a block: views are made once."""
        t, d = self.shape
        q, k, v = (array[part] for array in self.by_head(self.qkv[b]))
        o, do = (
            rows[b].reshape(-1, t, self.kv, self.group, self.size).swapaxes(1, 2)[part]
            for rows in (self.o, self.do if self.w.training else self.o)
        )
        n, kv = q.shape[:2]
        inv_sum = self.inv_sum[b].reshape(-1, self.kv, t * self.group)[part]
        laid = self.laid[b][: k.size].reshape(n, kv, self.size, t)
        queries, rows = (array[b][: q.size].reshape(n, kv, -1, self.size) for array in (self.queries, self.rows))
        shapes = [(n, kv, (end - begin) * self.group, end) for begin, end in self.blocks]
        used = [self.part[b][: math.prod(shape)].reshape(shape) for shape in shapes]
        e = [self.e[i][b][part] for i in range(len(shapes))] if self.w.training else used
        both = [part, q, k, v[:, :, :, 0], e, used, inv_sum, laid, queries, rows]
        if not self.w.training:
            return [*both, o], []
        grads = [array[part] for array in self.by_head(self.dqkv[b])]
        ds = [self.ds[b][: math.prod(shape)].reshape(shape) for shape in shapes]
        drows = self.drows[b][: q.size].reshape(n, kv, -1, self.size)
        more = self.more[b][: k.size].reshape(n, kv, t, self.size)
        return [*both, o], [*both, *grads, do, ds, drows, more]

    def mix(self, part: int) -> None:
        """q, k and v of a part -> its o."""
        places, q, k, v, e, used, inv_sum, laid, queries, rows, o = self.views[self.w.block][part][0]
        if self.turns:
            self.turn(q, rows, np.add)
            self.turn(k, rows, np.add)
        keys, q = self.transposed(k[:, :, :, 0], laid), self.folded(q, queries)
        for i, (begin, end) in enumerate(self.blocks):
            own = slice(begin * self.group, end * self.group)
            sums = self.exponentials(q[:, :, own], keys[..., :end], e[i], begin)
            np.reciprocal(sums, out=inv_sum[:, :, own])
            if self.drops:
                np.multiply(self.by_token(e[i]), self.factor(places, begin, end), out=self.by_token(used[i]))
            weights = used[i] if self.drops else e[i]
            mixed = np.matmul(weights, v[:, :, :end], out=rows[:, :, own])
            np.multiply(self.by_token(mixed), self.by_token(inv_sum[:, :, own, None]), out=o[:, :, begin:end])

    def exponentials(self, q: Array, k: Array, e: Array, begin: int) -> Array:
        """q (n, kv, rows, size), k (n, kv, size, T) -> e, so far that its rows are not 0 everywhere, and their sums."""
        np.exp(np.matmul(q, k, out=e), out=e)
        if self.causal:
            own = self.by_token(e)[..., begin:]
            own *= self.seen[: own.shape[2], :, : own.shape[2]]
        sums = self.row_sums(e)
        if not 1e-30 < sums.min() <= sums.max() < np.inf:  # a score is large, or all of a row are small
            np.matmul(q, k, out=e)
            if self.causal:
                own = self.by_token(e)[..., begin:]
                np.copyto(own, -np.inf, where=self.seen[: own.shape[2], :, : own.shape[2]] == 0)
            e -= e.max(axis=3, keepdims=True)
            sums = self.row_sums(np.exp(e, out=e))
        return sums

    def turn(self, x: Array, rows: Array, add: np.ufunc) -> None:
        """x (n, kv, T, group, size), in place: features i and i + size / 2 of each token, as a point of the plane, by
        its angle, or by the negative one where what is to be added is subtracted. rows: scratch. All heads of a token
        lie beside each other: a pass over them is one over long rows."""
        lies = x.swapaxes(1, 2)
        n, t, kv, group, size = lies.shape
        flat, count = lies.reshape(n, t, -1), kv * group
        across = rows.reshape(-1)[: flat.size].reshape(n, t, count, 2, size // 2)
        np.multiply(flat.reshape(across.shape)[:, :, :, ::-1], self.sin[:, :count], out=across)
        flat *= self.cos[:, : count * size]
        add(flat, across.reshape(flat.shape), out=flat)

    def folded(self, x: Array, rows: Array) -> Array:
        """x (n, kv, T, group, size) -> (n, kv, T * group, size): a copy where several heads share those of k and v."""
        if self.shares:
            self.by_token(rows)[...] = x
            return rows
        return x[:, :, :, 0]

    def by_token(self, rows: Array) -> Array:
        """rows (n, kv, T * group, S) -> a view (n, kv, T, group, S)."""
        n, kv, _, s = rows.shape
        return rows.reshape(n, kv, -1, self.group, s)

    def factor(self, places: Part, begin: int, end: int) -> Array:
        """What was drawn for some tokens of a part of this block, (n, kv, tokens, group, end)."""
        drawn = self.w.network.io[f"factor {self.name}"][self.w.rows[self.w.block]]
        by_group = drawn.reshape(len(drawn), self.kv, self.group, *drawn.shape[2:])[places]
        return by_group[..., begin:end, :end].swapaxes(2, 3)

    def unmix(self, part: int) -> None:
        """The gradient do of a part -> its dq, dk and dv, by ds = e * (dp - rowsum(e * dp) / sum(e)), dp = do v^T /
        sum(e) / sqrt(D / heads). The last tokens come first: they alone read all keys."""
        places, q, k, v, es, used, inv_sum, laid, queries, rows, *grads = self.views[self.w.block][part][1]
        dq, dk, dv, do, dss, drows, more = grads
        np.multiply(do, self.by_token(inv_sum[..., None]), out=self.by_token(drows))
        values, k, q = self.transposed(v, laid), k[:, :, :, 0], self.folded(q, queries)
        dq_rows = rows if self.shares else dq[:, :, :, 0]
        for i, (begin, end) in reversed(list(enumerate(self.blocks))):
            own, e, ds = slice(begin * self.group, end * self.group), es[i], dss[i]
            np.matmul(drows[:, :, own], values[..., :end], out=ds)
            if self.drops:
                factor, by_token = self.factor(places, begin, end), self.by_token(ds)
                by_token *= factor
                np.multiply(self.by_token(e), factor, out=self.by_token(used[i]))
            weights = used[i] if self.drops else e
            self.add_keys(weights, drows[:, :, own], dv, more)
            ds -= (np.einsum("nhij,nhij->nhi", e, ds) * inv_sum[:, :, own])[..., None]
            ds *= e
            np.matmul(ds, k[:, :, :end], out=dq_rows[:, :, own])
            self.add_keys(ds, q[:, :, own], dk, more)
        if self.shares:
            dq[...] = self.by_token(dq_rows)
        if self.turns:
            self.turn(dq, rows, np.subtract)
            self.turn(dk, rows, np.subtract)

    def add_keys(self, e: Array, x: Array, dk: Array, more: Array) -> None:
        """e (n, kv, rows, S), x (n, kv, rows, size): e^T x comes to the first S tokens of dk (n, kv, T, 1, size)."""
        end = e.shape[3]
        own = dk[:, :, :end, 0]
        if end == dk.shape[2]:
            np.matmul(e.swapaxes(2, 3), x, out=own)
        else:
            own += np.matmul(e.swapaxes(2, 3), x, out=more[:, :, :end])


def angles_of_heads(t: int, heads: int, size: int, base: float, dtype: Type) -> tuple[Array, Array]:
    """For every head the cosines (T, heads * size) by which its features are multiplied, and the sines (T, heads, 2,
    size / 2) by which those are that come from the other half."""
    cos, sin = rotary_table(0, t, size, base, dtype)
    return np.tile(cos, 2 * heads), np.tile(np.stack([-sin, sin], axis=1)[:, None], (1, heads, 1, 1))
