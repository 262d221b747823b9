"""The 1x1 convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array
from netdsl.stages.conv_stage import ConvStage, asked_by, read_by
from netdsl.stages.convolution import ConvGeometry, Epilogue
from netdsl.stages.rows import bands, moments_by_channel, sums_by_channel
from netdsl.stages.stage import Worker


class PointConv(ConvStage):
    """A 1x1 convolution: one matrix product over the channels of every pixel, by bands that stay in the cache.

    With few channels and many filters, y is not read for the batch norm behind it. As y = x w, the sums over all pixels
    are products of small matrices: that of y is (sum of x) w, that of y * y is w' (x' x) w on the diagonal, that of
    dy * y is w' (x' dy). The batch norm gives a gradient f * dy + s * y + t, by channels; so the weights get
    f * x' dy + s * (x' x) w + t * (sum of x), and dx is dy (f w)' + x (s w w') + t w'.
    """

    can = ConvStage.can.but(walk_for_norm=True, lend_rows=True, share_gradient=True)

    band_numbers, least_pixels = 1 << 18, 192

    def __init__(
        self,
        w: Worker,
        name: str,
        geometry: ConvGeometry,
        epilogue: Epilogue = Epilogue(),
        dx: bool = True,
        front: Any = None,
        is_lent: bool = False,
        common: bool = False,
    ) -> None:
        self.prepare(w, name, geometry, epilogue, dx, common)
        self.share_weight()
        shape, filters, (ho, wo) = self.shape, self.filters, self.out_size
        self.is_lent = is_lent
        if not is_lent:
            self.y = w.outputs(lambda n: (ho, wo, n, filters))
        self.x: list[Any] = [None] * len(w.sizes)
        self.picks = self.stride != (1, 1) or geometry.padded_size != shape[1:]
        self.front = None if self.picks else read_by(self, front)
        self.maker: Any = None if self.picks else asked_by(self, front)
        self.level = 0 if self.maker is None else self.maker.level + 1
        is_plain = self.has_norm and not (w.splits or self.picks or self.ends or self.adds_bias)
        pixels, squares = ho * wo * min(w.sizes), shape[0] ** 2
        self.is_quick = is_plain and squares * (pixels + 4 * filters) < 15 * pixels * filters
        self.squares: list[Any] = [None] * len(w.sizes)  # None: y is read
        self.meetings: list[Any] = [None] * len(w.sizes)
        if self.maker is not None:
            self.given = w.scratch(("rows", self.level), lambda n: (self.maker.rows_at_once[n], wo, n, shape[0]))
        if self.picks:
            self.picked = w.zeros(lambda n: (ho, wo, n, shape[0]))
        if w.training:
            own = self.scratch_for_gradient() if self.common else w.grads[name + ".weight"]
            self.grad_rows = own.reshape(shape[0], filters)
            self.grad_part = w.scratch("dweight", lambda n: (shape[0], filters))[0]
            if w.splits:
                self.dy_rows = w.scratch("dy", lambda n: (ho * wo * n, filters), common=True)
            if self.picks:
                self.dx = w.scratch("dx", lambda n: (ho, wo, n, shape[0]), common=True)
                self.dx_whole = w.gradients(lambda n: (*shape[1:], n, shape[0]))
            else:
                self.dx = w.gradients(lambda n: (ho, wo, n, shape[0]))

    def forward(self, x: Array, plus: Any = None) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, F)."""
        b = self.w.block
        if self.is_lent:
            return x
        if self.picks:
            inside, outside = self.places()
            self.picked[b][outside] = x[inside]
            x = self.picked[b]
        self.x[b] = x
        y = self.y[b]
        if self.is_quick:
            self.squares[b] = np.zeros((self.channels + 1, self.channels))
        if self.w.splits and self.maker is None and 4 * y.size < self.filters**2:
            self.forward_by_filters(x, y)
            self.complete(y, plus)
            return y
        self.w.each(self.w.cut(len(y), 2 * self.channels * y[0].size), self.forward_rows, x, plus)
        return y

    def forward_by_filters(self, x: Array, y: Array) -> None:
        """x (Ho, Wo, n, C) to y, of few pixels and many filters: of rows each worker would read all weights."""
        weight = self.weight.reshape(self.channels, -1)
        self.w.multiply(x.reshape(-1, self.channels), weight, y.reshape(-1, self.filters))

    def forward_rows(self, rows: slice, x: Array, plus: Any) -> None:
        """Rows of x (Ho, Wo, n, C), and of another map or None, to those of y, band by band."""
        y = self.y[self.w.block]
        self.restart()
        for band in self.bands_of(y, rows) if self.maker is None else [rows]:
            if self.front is not None:
                self.front.fill_rows(band, self.front.rows[self.w.block])
            self.make_rows(band, x, y[band], plus[band] if self.adds_map else None)

    def restart(self) -> None:
        """Rows follow that may not continue those before."""
        if self.maker is not None:
            self.maker.restart()

    def make_rows(self, rows: slice, x: Array, y: Array, plus: Any = None) -> None:
        """Rows of the output, to y (rows, Wo, n, F), of x, or of what the convolution in front makes of x."""
        if self.maker is None:
            self.make(x[rows], y, plus)
            return
        count = self.maker.rows_at_once[x.shape[2]]
        for begin in range(rows.start, rows.stop, count):
            end = min(begin + count, rows.stop)
            given, part = self.given[self.w.block][: end - begin], slice(begin - rows.start, end - rows.start)
            self.maker.make_rows(slice(begin, end), x, given)
            self.make(given, y[part], plus[part] if self.adds_map else None)

    def make(self, x: Array, y: Array, plus: Any) -> None:
        """Rows of x (rows, Wo, n, C) to those of y."""
        b, pixels = self.w.block, x.reshape(-1, self.channels)
        np.matmul(pixels, self.weight.reshape(self.channels, -1), out=y.reshape(-1, self.filters))
        if self.is_quick:
            self.squares[b][:-1] += pixels.T @ pixels
            self.squares[b][-1] += sums_by_channel(pixels)
        else:
            self.complete(y, plus)

    def work_for(self, norm: Any) -> None:
        """As every convolution does; and this one may know the sums."""
        super().work_for(norm)
        norm.product = self if self.is_quick else None

    @property
    def multiplies(self) -> bool:
        """Whether this block's y is not read."""
        return self.squares[self.w.block] is not None

    def take_sums(self) -> Array:
        """The sums of y and of y * y of this block, (2, F)."""
        if not self.is_quick:
            return super().take_sums()
        b, weight = self.w.block, self.weight.reshape(self.channels, -1)
        squares, self.meetings[b] = self.squares[b], np.zeros(weight.shape)
        sums = np.stack([squares[-1] @ weight, (weight * (squares[:-1] @ weight)).sum(axis=0)])
        rounding = ((squares[:-1] ** 2 @ weight**2) * weight**2).sum(axis=0) ** 0.5
        of_mean = sums[0] ** 2 * self.filters / self.y[b].size
        if (np.maximum(rounding / 100, of_mean / 5) > sums[1] - of_mean).any():  # little is left of large numbers
            self.squares[b] = None
            for band in bands(self.y[b]):
                self.totals[b][0] += moments_by_channel(self.y[b][band], self.y[b][band])
            return super().take_sums()
        return sums

    def meet(self, dy: Array, rows: slice) -> None:
        """Rows of dy (H, W, n, F), in front of the batch norm, meet x."""
        b = self.w.block
        for band in self.bands_of(dy, rows):
            self.meetings[b] += self.x[b][band].reshape(-1, self.channels).T @ dy[band].reshape(-1, self.filters)

    def take_products(self) -> Array:
        """The sums of dy * y of this block, (F,)."""
        return (self.weight.reshape(self.channels, -1) * self.meetings[self.w.block]).sum(axis=0)

    def bands_of(self, y: Array, within: slice = slice(None)) -> list[slice]:
        """Bands of rows of y (Ho, Wo, n, F), as many as stay in the cache and are a large product."""
        pixels = y.shape[1] * y.shape[2]
        rows = max(self.band_numbers // (pixels * max(self.channels, self.filters)), -(-self.least_pixels // pixels))
        begin, end, _ = within.indices(len(y))
        return [slice(i, min(i + rows, end)) for i in range(begin, end, rows)]

    def places(self) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Which pixels of x are read, and which of y have one: the others see padding."""
        inside, outside = [], []
        for size, (before, _), s, out in zip(self.shape[1:], self.padding, self.stride, self.out_size, strict=True):
            first = -(-before // s)
            last = min(out - 1, (size - 1 + before) // s)
            inside.append(slice(first * s - before, last * s - before + 1, s))
            outside.append(slice(first, last + 1))
        return tuple(inside), tuple(outside)

    def backward(self, dy: Array) -> Array | None:
        """dy (Ho, Wo, n, F) -> dx (H, W, n, C) if anything needs it."""
        self.has_gradient = False if self.common else self.w.block > 0
        if self.w.splits:
            self.backward_by_products(dy)
        elif self.is_quick and self.multiplies:
            self.backward_by_norm(dy, *self.behind.numbers[self.w.block])
        else:
            self.backward_by_bands(dy)
        if self.common:
            self.hand_in()
        return self.whole_dx(self.dx[self.w.block]) if self.has_dx else None

    def backward_by_products(self, dy: Array) -> None:
        """dy to dx and the gradient of the weights, by products that workers share: of memory that all of them see,
        which a copy of the inside of a larger map is not."""
        b, c = self.w.block, self.channels
        rows = dy.reshape(-1, self.filters) if dy.flags.c_contiguous else self.dy_rows[b]
        if not dy.flags.c_contiguous:
            rows.reshape(dy.shape)[...] = dy
        self.bias_gradient(dy)
        self.add_weight_gradient(self.x[b].reshape(-1, c), rows)
        if self.has_dx:
            self.w.multiply(rows, self.weight.reshape(c, -1).T, self.dx[b].reshape(-1, c))

    def backward_by_norm(self, dy: Array, factor: Array, slope: Array, shift: Array) -> None:
        """dy to dx and the gradient of the weights: the batch norm gives both factor * dy + slope * y + shift."""
        b, weight = self.w.block, self.weight.reshape(self.channels, -1)
        squares, x = self.squares[b], self.x[b]
        grad = self.meetings[b] * factor + squares[:-1] @ weight * slope + np.multiply.outer(squares[-1], shift)
        self.grad_rows[...] = self.grad_rows + grad if self.has_gradient else grad
        if not self.has_dx:
            return
        back, mixed, rest = np.ascontiguousarray((weight * factor).T), weight * slope @ weight.T, weight @ shift
        for band in self.bands_of(dy):
            dx = self.dx[b][band].reshape(-1, self.channels)
            np.matmul(dy[band].reshape(-1, self.filters), back, out=dx)
            dx += x[band].reshape(-1, self.channels) @ mixed + rest
            if self.front is not None:
                self.front.take_gradient(self.dx[b], band)

    def backward_by_bands(self, dy: Array) -> None:
        """dy to dx and the gradient of the weights, while they are in the cache."""
        b = self.w.block
        x = self.x[b]
        back = np.ascontiguousarray(self.weight.reshape(self.channels, -1).T)
        for band in self.bands_of(dy):
            self.gradient_of_sums(dy, band)
            rows = dy[band].reshape(-1, self.filters)
            self.add_weight_gradient(x[band].reshape(-1, self.channels), rows)
            if self.has_dx:
                np.matmul(rows, back, out=self.dx[b][band].reshape(-1, self.channels))
                if self.front is not None:
                    self.front.take_gradient(self.dx[b], band)
        self.add_bias_gradient()

    def whole_dx(self, dx: Array) -> Array:
        """The gradient by the pixels that are read, dx (Ho, Wo, n, C) -> that by all, (H, W, n, C)."""
        if not self.picks:
            return dx
        inside, outside = self.places()
        whole = self.dx_whole[self.w.block]
        whole[...] = 0
        whole[inside] = dx[outside]
        return whole
