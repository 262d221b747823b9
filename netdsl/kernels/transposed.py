"""Transposed convolution: the adjoint of a convolution, used forward. What `convt` and `up` share."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array, Grads, Param, Saved, Spatial
from netdsl.kernels.windows import windows, windows_adjoint


def transposed_size(size: int, kernel_size: int, stride: int, padding: int, output_padding: int, dilation: int) -> int:
    """(size - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1, along one axis."""
    return (size - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1


def transposed_forward(
    x: Array,
    weight: Param,
    bias: Param,
    stride: Spatial = (1, 1),
    padding: Spatial = (0, 0),
    output_padding: Spatial = (0, 0),
    dilation: Spatial = (1, 1),
    groups: int = 1,
) -> tuple[Array, Saved]:
    """x (N, C, H, W), weight (C, F/groups, Kh, Kw), bias (F,) or None -> y (N, F, Ho, Wo) (Zeiler et al. 2010).

    Each x[n, c, i, j] adds weight[c] * x[n, c, i, j] to the window of y at (i*s - p, j*s - p): the way a gradient goes
    back through a convolution of the same settings.
    """
    n, c, h, w = x.shape
    kernel_size = weight.shape[2:]
    ho, wo = (
        transposed_size(*axis)
        for axis in zip((h, w), kernel_size, stride, padding, output_padding, dilation, strict=True)
    )
    rows = weight.reshape(groups, c // groups, -1)  # (G, C/G, F/G*Kh*Kw)
    x_rows = x.transpose(1, 0, 2, 3).reshape(groups, c // groups, -1)  # (G, C/G, N*H*W)
    f = groups * weight.shape[1]
    cols = np.matmul(rows.transpose(0, 2, 1), x_rows).reshape(f, *kernel_size, n, h, w)
    sides = tuple((p, p) for p in padding)
    y = windows_adjoint(cols, (n, f, ho, wo), stride, sides, dilation)
    if bias is not None:
        y = y + bias[:, None, None]
    return y, (x_rows, x.shape, weight, bias is not None, stride, sides, dilation, groups)


def transposed_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, F, Ho, Wo) -> dx (N, C, H, W), {weight, bias}: dx is the convolution of dy with weight."""
    x_rows, (n, c, h, w), weight, has_bias, stride, sides, dilation, groups = saved
    view = windows(dy, weight.shape[2:], stride, sides, dilation)[:, :, :h, :w]  # (N, F, H, W, Kh, Kw)
    cols = view.transpose(1, 4, 5, 0, 2, 3).reshape(groups, -1, n * h * w)  # (G, F/G*Kh*Kw, N*H*W)
    rows = weight.reshape(groups, c // groups, -1)
    dx = np.matmul(rows, cols).reshape(c, n, h, w).transpose(1, 0, 2, 3)
    grads = {"weight": np.matmul(x_rows, cols.transpose(0, 2, 1)).reshape(weight.shape)}
    if has_bias:
        grads["bias"] = dy.sum(axis=(0, 2, 3))
    return dx, grads
