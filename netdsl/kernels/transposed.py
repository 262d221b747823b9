"""Transposed convolution: the adjoint of a convolution, used forward. What `convt` and `up` share."""

from __future__ import annotations

import math

import numpy as np

from netdsl.kernels.arrays import Array, Grads, OneOrSpatial, Param, Saved
from netdsl.kernels.windows import windows, windows_adjoint, within


def transposed_size(size: int, kernel_size: int, stride: int, padding: int, output_padding: int, dilation: int) -> int:
    """(size - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1, along one axis."""
    return (size - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1


def transposed_forward(
    x: Array,
    weight: Param,
    bias: Param,
    stride: OneOrSpatial = 1,
    padding: OneOrSpatial = 0,
    output_padding: OneOrSpatial = 0,
    dilation: OneOrSpatial = 1,
    groups: int = 1,
) -> tuple[Array, Saved]:
    """x (N, C, H, W), weight (C, F/groups, Kh, Kw), bias (F,) or None -> y (N, F, Ho, Wo) (Zeiler et al. 2010).

    Each x[n, c, i, j] adds weight[c] * x[n, c, i, j] to the window of y at (i*s - p, j*s - p): the way a gradient goes
    back through a convolution of the same settings. Other axes of space alike.
    """
    n, c, *space = x.shape
    f, kernel_size = groups * weight.shape[1], weight.shape[2:]
    axes = np.broadcast(space, kernel_size, stride, padding, output_padding, dilation)
    out = [transposed_size(*axis) for axis in axes]
    sides = tuple((p, p) for p, _ in np.broadcast(padding, space))
    rows = weight.reshape(groups, c // groups, -1)  # (G, C/G, F/G*Kh*Kw)
    x_rows = x.swapaxes(0, 1).reshape(groups, c // groups, -1)  # (G, C/G, N*H*W)
    cols = np.matmul(rows.swapaxes(1, 2), x_rows).reshape(f, -1, n, *space)  # (F, Kh*Kw, N, H, W)
    y = windows_adjoint(cols, (n, f, *out), kernel_size, stride, sides, dilation)
    if bias is not None:
        y = y + bias.reshape(-1, *[1] * len(space))
    return y, (x_rows, x.shape, weight, bias is not None, stride, sides, dilation, groups)


def transposed_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, F, Ho, Wo) -> dx (N, C, H, W), {weight, bias}: dx is the convolution of dy with weight."""
    x_rows, (n, c, *space), weight, has_bias, stride, sides, dilation, groups = saved
    cols = windows(dy, weight.shape[2:], stride, sides, dilation)  # (F, Kh*Kw, N, H, W)
    cols = within(cols, ((0, 0),) * len(space), space).reshape(groups, -1, n * math.prod(space))
    rows = weight.reshape(groups, c // groups, -1)
    dx = np.matmul(rows, cols).reshape(c, n, *space).swapaxes(0, 1)
    grads = {"weight": np.matmul(x_rows, cols.swapaxes(1, 2)).reshape(weight.shape)}
    if has_bias:
        grads["bias"] = dy.sum(axis=(0, *range(2, dy.ndim)))
    return dx, grads
