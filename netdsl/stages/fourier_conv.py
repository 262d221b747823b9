"""Convolution with stride 1 by the Fourier transform of the whole plane (stages/fourier.py)."""

from __future__ import annotations

from netdsl.kernels.arrays import Array
from netdsl.stages.convolution import ConvGeometry, Epilogue
from netdsl.stages.fourier import fourier
from netdsl.stages.stage import Worker
from netdsl.stages.transformed_conv import TransformedConv


class FourierConv(TransformedConv):
    """A convolution with stride 1 by the Fourier transform of the whole plane. What lies at one point is 32 numbers
    longer: rows that are multiples of 4096 bytes apart share one place in the cache."""

    can = TransformedConv.can

    def __init__(
        self,
        w: Worker,
        name: str,
        geometry: ConvGeometry,
        epilogue: Epilogue = Epilogue(),
        dx: bool = True,
        common: bool = False,
    ) -> None:
        self.prepare(w, name, geometry, epilogue, dx, common)
        before = tuple(side for side, _ in self.padding)
        self.tx, self.tw, self.ty = w.constants(fourier, self.shape[1:], self.out_size, self.kernel_size, before)
        c, f, points = self.channels, self.filters, self.tx.points
        wide = max(tr.length * tr.width * maps for tr, maps in ((self.tx, c), (self.ty, f)))
        self.middle = w.scratch("middle", lambda n: (n * wide,))
        self.y = w.outputs(lambda n: (*self.out_size, n, f))
        self.m = w.scratch("m", lambda n: (points, n * f + 32), common=True)
        self.dv = w.scratch("v", lambda n: (points, n * c + 32), common=True)
        self.v = w.arrays(lambda n: (points, n * c + 32)) if w.training else self.dv
        if w.training:
            self.z = w.scratch("z", lambda n: (points, n * f + 32), common=True)
            self.dx = w.gradients(lambda n: (*self.shape[1:], n, c))
        self.make_room_for_weights(points, 1)

    def forward(self, x: Array, plus: Array | None = None) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, F)."""
        b, u, y = self.w.block, self.factors, self.y[self.w.block]
        v, m = self.v[b][:, :-32], self.m[b][:, :-32]
        self.tx.to_points(x.reshape(len(x), -1), self.middle[b], v)
        self.w.multiply(v.reshape(len(u), -1, self.channels), u, m.reshape(len(u), -1, self.filters))
        self.ty.from_points(m, self.middle[b], y.reshape(len(y), -1))
        self.complete(y, plus)
        return y

    def backward(self, dy: Array) -> Array | None:
        """dy (Ho, Wo, n, F) -> dx (H, W, n, C) if anything needs it."""
        b, c, u = self.w.block, self.channels, self.factors
        self.bias_gradient(dy)
        z, dv = self.z[b][:, :-32], self.dv[b][:, :-32]
        self.ty.to_points(dy.reshape(len(dy), -1), self.middle[b], z)
        z, v = z.reshape(len(u), -1, self.filters), self.v[b][:, :-32].reshape(len(u), -1, c)
        if self.common:
            self.w.in_turns(range(0, c, self.channels_at_once), self.channels_gradient, v, z)
        else:
            self.w.each(range(0, c, self.channels_at_once), self.channels_gradient, b == 0, v, z)
        if not self.has_dx:
            return None
        dx = self.dx[b]
        self.w.multiply(z, u.swapaxes(1, 2), dv.reshape(len(u), -1, c))
        self.tx.from_points(dv, self.middle[b], dx.reshape(len(dx), -1))
        return dx
