"""What convolutions with stride 1 by constant matrices share: weights at points, and their gradient."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array
from netdsl.stages.conv_stage import ConvStage
from netdsl.stages.fourier import Separable
from netdsl.stages.matrices import product


class TransformedConv(ConvStage):
    """A convolution as y = ty'((tx x) . (tw w)): constant matrices take x and the weights to points; at each point a
    matrix product sums over the channels; the transpose of ty brings these back. The gradients go the same way."""

    can = ConvStage.can.but(is_local=False, share_gradient=True, forgets_input=True)

    tx: Separable
    tw: Array
    ty: Separable

    def make_room_for_weights(self, points: int, tiles: int) -> None:
        """Arrays for the weights and their gradient, (taps, C * F), made for as many channels as stay in the cache."""
        w, c, f = self.w, self.channels, self.filters
        self.tw_t = np.ascontiguousarray(self.tw.T)
        self.u = w.shared(self.name, (points, c * f))
        self.factors = self.u.reshape(points, c, f)
        if w.training:
            self.channels_at_once = max(1, min(w.cut(c, 2 * f * points * tiles)[0].stop, (1 << 20) // (points * f)))
            if self.common:
                self.channels_at_once = min(self.channels_at_once, -(-c // w.num_workers))
            self.du = w.scratch("du", lambda n: (points, self.channels_at_once * f))[0]
            self.grad = w.grads[self.name + ".weight"].reshape(-1, c * f)
            self.grad_part = w.scratch("dweight", lambda n: (len(self.grad), self.channels_at_once * f))[0]

    def refresh(self) -> None:
        """Transform this worker's part of the weights."""
        self.fold()
        c, f = self.channels, self.filters
        begin, end = self.w.part(c * f)
        weight = self.weight.reshape(-1, c * f)[:, begin:end]
        if self.norm is not None:
            weight = weight * np.resize(self.scale, c * f)[begin:end]
        product(self.tw, weight, self.u[:, begin:end])

    def channels_gradient(self, begin: int, is_first: bool, v: Array, z: Array) -> None:
        """v (points, M, C), z (points, M, F) -> their products, back from the points, for some channels."""
        points, f = len(v), self.filters
        part = v[:, :, begin : begin + self.channels_at_once]
        du = self.du[:, : part.shape[2] * f]
        np.matmul(part.swapaxes(1, 2), z, out=du.reshape(points, -1, f))
        grad, more = self.grad[:, begin * f : (begin + part.shape[2]) * f], self.grad_part[:, : part.shape[2] * f]
        product(self.tw_t, du, grad if is_first else more)
        if not is_first:
            grad += more
