"""Convolutions whose filters see one channel each (depthwise)."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array
from netdsl.stages.conv_stage import ConvStage, asked_by, read_by
from netdsl.stages.convolution import ConvGeometry, Epilogue
from netdsl.stages.layout import long_rows
from netdsl.stages.stage import Worker, take
from netdsl.stages.windows import Part, Windows, add_up, windows_backward, windows_forward


class DepthConv(ConvStage):
    """A depthwise convolution: filter c * m + j sees channel c only, m = filters / channels.

    y[i, j] = sum over u, v of weight[u, v] * x[i*s + u*d - p, j*s + v*d - p], for rows of n * F numbers at once. The
    gradient by x is of the same form for each place within a stride, and so is that of the weights, with dy in the
    place of the weights. Nothing is padded: outputs at the border have fewer taps. All goes by bands of rows that stay
    in the cache.
    """

    can = ConvStage.can.but(add_map=False, walk_for_norm=True, lend_rows=True)

    band_numbers = 1 << 18

    def __init__(
        self,
        w: Worker,
        name: str,
        geometry: ConvGeometry,
        epilogue: Epilogue = Epilogue(),
        dx: bool = True,
        front: Any = None,
        is_lent: bool = False,
    ) -> None:
        self.prepare(w, name, geometry, epilogue, dx)
        self.front, self.maker = read_by(self, front), asked_by(self, front)
        self.is_lent, self.held = is_lent, range(0)
        self.level = 0 if self.maker is None else self.maker.level + 1
        shape, filters, kernel_size = self.shape, self.filters, self.kernel_size
        given = (shape[1:], self.out_size, kernel_size, self.stride, self.padding, self.dilation)
        self.times = filters // shape[0]
        self.windows = windows_forward(*given)
        numbers = [self.out_size[1] * n * filters for n in w.sizes]
        if self.maker is not None:
            numbers = [
                max(count, self.stride[0] * shape[2] * n * shape[0]) for count, n in zip(numbers, w.sizes, strict=True)
            ]
        most = [w.cut(self.out_size[0], 150 * count)[-1] for count in numbers]  # the last part is the longest
        rows = [min(max(2, self.band_numbers // n), m.stop - m.start) for n, m in zip(numbers, most, strict=True)]
        self.rows_at_once = dict(zip(w.sizes, rows, strict=True))
        self.bands = [self.windows.by_bands(many) for many in rows]
        length = max(Windows.longest // filters, *w.sizes) * filters
        self.rows = w.scratch((name, "rows"), lambda n: (*kernel_size, length))[0]
        if not is_lent:
            self.y = w.outputs(lambda n: (*self.out_size, n, filters))
        if self.maker is not None:
            self.ring = w.scratch(
                ("rows", self.level), lambda n: (self.rows_for(self.rows_at_once[n]), shape[2], n, shape[0])
            )
        self.plans: dict[tuple[int, int], tuple[int, int, list[Part]]] = {}
        self.x: list[Any] = [None] * len(w.sizes)
        self.known: dict[tuple[Hashable, int], tuple[Any, list[Any]]] = {}
        if self.times > 1:
            self.wide = w.scratch("wide", lambda n: (*shape[1:], n, filters))
        if w.training:
            self.part = w.scratch("dweight", lambda n: (length,))[0]
            self.grad_sums = w.tallies((*kernel_size, filters)) if w.splits else []
            self.back = windows_backward(*given)
            self.bands_back = [[windows.by_bands(many) for windows in self.back] for many in rows]
            self.dx = w.gradients(lambda n: (*shape[1:], n, shape[0])) if dx else []

    def refresh(self) -> None:
        """Lays the weights side by side for as many samples and pixels as there are in a row."""
        super().refresh()
        self.rows.reshape(*self.kernel_size, -1, self.filters)[...] = self.weight

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, F)."""
        b = self.w.block
        if self.is_lent:
            return x
        self.x[b], y = x, self.y[b]
        if self.maker is not None or (self.w.splits and self.times == 1):
            self.w.each(self.w.cut(len(y), 150 * y[0].size), self.forward_rows, x)
            return y
        if self.times > 1:
            self.fill(0, len(x))
        views = self.bound("forward", self.views, self.wide_rows(x), long_rows(y))
        begin = filled = 0
        for (end, needed, _), parts in zip(self.bands[b], views, strict=True):
            filled = self.fill(filled, needed) if self.times == 1 else len(x)
            add_up(parts)
            self.complete(y[begin:end])
            begin = end
        self.fill(filled, len(x))
        return y

    def forward_rows(self, rows: slice, x: Array) -> None:
        """Rows of y, band by band."""
        self.restart()
        y, count = self.y[self.w.block], self.rows_at_once[x.shape[2]]
        for begin in range(rows.start, rows.stop, count):
            band = slice(begin, min(begin + count, rows.stop))
            self.make_rows(band, x, y[band])

    def restart(self) -> None:
        """Rows follow that may not continue those before."""
        self.held = range(0)
        if self.maker is not None:
            self.maker.restart()

    def make_rows(self, rows: slice, x: Array, y: Array) -> None:
        """Rows of the output, to y (rows, Wo, n, F), of x, or of what the convolution in front makes of x: its rows are
        made as they are needed, and the last of them are kept for the rows that follow."""
        first, needed, parts = self.plan_of(rows.start, rows.stop)
        x = x[first:] if self.maker is None else self.rows_in_front(first, needed, x)
        key = rows.start, rows.stop
        add_up(self.bound(key, lambda x, y: self.windows.views(x, self.rows, y, parts), long_rows(x), long_rows(y)))
        self.complete(y)

    def plan_of(self, begin: int, end: int) -> tuple[int, int, list[Part]]:
        """Of rows begin..end-1 of the output the first row of x that they need, the one behind the last, and their
        parts, as if both began there."""
        if (begin, end) not in self.plans:
            needed, parts = self.windows.band(begin, end)
            first = min((top for (_, taps, top), _ in parts if taps.stop > taps.start), default=0)
            here = [
                ((slice(rows.start - begin, rows.stop - begin), taps, max(0, top - first)), columns)
                for (rows, taps, top), columns in parts
            ]
            self.plans[begin, end] = first, max(first, needed), here
        return self.plans[begin, end]

    def rows_in_front(self, first: int, needed: int, x: Array) -> Array:
        """Rows first..needed-1 of what the convolution in front makes of x."""
        ring, held = self.ring[self.w.block], self.held
        kept = max(0, held.stop - first)
        if kept:
            ring[:kept] = ring[first - held.start : held.stop - held.start]
        if first + kept < needed:
            self.maker.make_rows(slice(first + kept, needed), x, ring[kept : needed - first])
        self.held = range(first, max(held.stop, needed))
        return ring

    def rows_for(self, count: int) -> int:
        """How many rows of x so many rows of the output need."""
        return min(self.shape[1], (count - 1) * self.stride[0] + (self.kernel_size[0] - 1) * self.dilation[0] + 1)

    def band_ends(self, b: int) -> list[int]:
        """Where the bands of y begin, and where the last one ends."""
        return [0, *(end for end, _, _ in self.bands[b])]

    def bound(self, what: Hashable, make: Callable[[Array, Array], list[Any]], x: Array, y: Array) -> list[Any]:
        """The views of x and y that `make` makes, which stay the same while x and y lie where they lay."""
        key = x.__array_interface__["data"][0], y.__array_interface__["data"][0]
        known = self.known.get((what, self.w.block))
        if known is None or known[0] != key:
            known = self.known[what, self.w.block] = key, make(x, y)
        return known[1]

    def views(self, x: Array, y: Array) -> list[Any]:
        """x (H, W, L), y (Ho, Wo, L) -> for each band what `add_up` needs."""
        return [self.windows.views(x, self.rows, y, parts) for _, _, parts in self.bands[self.w.block]]

    def views_back(self, dy: Array, dx: Array) -> list[Any]:
        """dy (Ho, Wo, L), dx (H, W, L) -> for each band of dx: how many rows of dy it needs, and what `add_up` does."""
        made = []
        for i in range(len(self.bands_back[self.w.block][0])):
            bands = [(w, b[i]) for w, b in zip(self.back, self.bands_back[self.w.block], strict=True) if i < len(b)]
            views = [view for w, (_, _, parts) in bands for view in w.views(dy, self.rows, dx, parts)]
            made.append((max(needed for _, (_, needed, _) in bands), views))
        return made

    def meeting_views(self, x: Array, dy: Array) -> list[Any]:
        """x (H, W, L), dy (Ho, Wo, L) -> for each band of dy what meets at each tap."""
        ends = self.band_ends(self.w.block)
        return [self.windows.meeting_views(x, dy, slice(*pair)) for pair in zip(ends, ends[1:], strict=False)]

    def fill(self, filled: int, needed: int) -> int:
        """The batch norm in front has given its first `filled` rows; -> how many it has given when it gave what is
        needed."""
        if self.front is not None and filled < needed:
            self.front.fill_rows(slice(filled, needed), self.front.rows[self.w.block])
        return max(filled, needed)

    def wide_rows(self, x: Array) -> Array:
        """x (H, W, n, C) -> (H, W, n*F), every channel as often as there are filters that see it."""
        if self.times == 1:
            return long_rows(x)
        wide = self.wide[self.w.block]
        wide.reshape(*x.shape, self.times)[...] = x[..., None]
        return long_rows(wide)

    def backward(self, dy: Array) -> Array | None:
        """dy (Ho, Wo, n, F) -> dx (H, W, n, C) if anything needs it."""
        b = self.w.block
        grad = self.w.grads[self.name + ".weight"].reshape(*self.kernel_size, self.filters)
        if b == 0:
            grad[...] = 0
        if self.w.splits and self.times == 1:
            return self.backward_by_parts(dy, grad)
        met = self.bound("meeting", self.meeting_views, self.wide_rows(self.x[b]), long_rows(dy))
        begin = made = 0
        for (end, _, _), views in zip(self.bands[b], met, strict=True):
            self.gradient_of_sums(dy, slice(begin, end))
            for u, v, x, y in views:
                sums = np.einsum("hwc,hwc->c", x, y, out=self.part[: x.shape[2]])
                grad[u, v] += sums.reshape(-1, self.filters).sum(axis=0)
            begin = end
            if self.has_dx and self.times == 1:
                made = self.make_dx(dy, self.dx[b], end, made)
        self.add_bias_gradient()
        if not self.has_dx:
            return None
        dx = self.dx[b]
        if self.times > 1:
            self.make_dx(dy, self.wide[b], len(dy), 0)
            np.sum(self.wide[b].reshape(*dx.shape, self.times), axis=4, out=dx)
            if self.front is not None:
                self.front.take_gradient(dx, slice(None))
        return dx

    def backward_by_parts(self, dy: Array, grad: Array) -> Array | None:
        """The bands of dy, then those of dx, each by itself."""
        b = self.w.block
        self.bias_gradient(dy)
        self.w.each(range(len(self.bands[b])), self.gradient_band, dy, self.x[b])
        grad += take(self.grad_sums[b])
        if not self.has_dx:
            return None
        dx = self.dx[b]
        self.w.each(range(len(self.bands_back[b][0])), self.dx_band, dy)
        return dx

    def gradient_band(self, i: int, dy: Array, x: Array) -> None:
        """What a band of dy gives to the gradient of the weights."""
        sums = self.grad_sums[self.w.block][self.w.row]
        for u, v, left, right in self.bound("meeting", self.meeting_views, self.wide_rows(x), long_rows(dy))[i]:
            products = np.einsum("hwc,hwc->c", left, right, out=self.part[: left.shape[2]])
            sums[u, v] += products.reshape(-1, self.filters).sum(axis=0)

    def dx_band(self, i: int, dy: Array) -> None:
        """One band of dx."""
        add_up(self.bound("back", self.views_back, long_rows(dy), long_rows(self.dx[self.w.block]))[i][1])

    def make_dx(self, dy: Array, dx: Array, end: int, made: int) -> int:
        """The bands of dx (H, W, n, F) that need no more than the first `end` rows of dy, but for the first `made`,
        which are there already -> how many are there."""
        bands = self.bound("back", self.views_back, long_rows(dy), long_rows(dx))
        rows = self.bands_back[self.w.block][0][0][0] * self.stride[0]
        while made < len(bands) and (bands[made][0] <= end or end == len(dy)):
            add_up(bands[made][1])
            if self.front is not None and self.times == 1:
                self.front.take_gradient(dx, slice(made * rows, (made + 1) * rows))
            made += 1
        return made
