"""Sliding windows over maps, and their adjoint. What convolution and average pooling share."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array, Shape, Sides, Spatial


def windows(x: Array, kernel_size: Spatial, stride: Spatial, padding: Sides, dilation: Spatial = (1, 1)) -> Array:
    """x (N, C, H, W) -> every window, a read-only view (N, C, Ho, Wo, Kh, Kw) of the zero-padded x.

    padding ((top, bottom), (left, right)); Ho = (H + top + bottom - dilation * (Kh - 1) - 1) // stride + 1.
    """
    x = np.pad(x, ((0, 0), (0, 0), *padding))
    reach = (dilation[0] * (kernel_size[0] - 1) + 1, dilation[1] * (kernel_size[1] - 1) + 1)
    view = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(2, 3))
    return view[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def windows_adjoint(
    dwindows: Array, x_shape: Shape, stride: Spatial, padding: Sides, dilation: Spatial = (1, 1)
) -> Array:
    """The transpose of `windows`: sums (C, Kh, Kw, N, Ho, Wo) back into dx (N, C, H, W)."""
    n, c, h, w = x_shape
    _, kh, kw, _, ho, wo = dwindows.shape
    (top, bottom), (left, right) = padding
    dx = np.zeros((c, n, h + top + bottom, w + left + right), dwindows.dtype)
    for u in range(kh):
        for v in range(kw):
            rows, cols = u * dilation[0], v * dilation[1]
            target = dx[:, :, rows : rows + stride[0] * ho : stride[0], cols : cols + stride[1] * wo : stride[1]]
            target += dwindows[:, u, v]
    return dx[:, :, top : top + h, left : left + w].transpose(1, 0, 2, 3)
