"""What the pooling layers share: walking over the elements of every window, one place in the window at a time."""

from __future__ import annotations

from netdsl.kernels.arrays import Spatial


def window_slices(
    kernel_size: Spatial, stride: Spatial, dilation: Spatial, ho: int, wo: int
) -> list[tuple[slice, slice]]:
    """For each place (u, v) of the window, in reading order: the slices that take it out of every window at once."""
    places = []
    for u in range(kernel_size[0]):
        for v in range(kernel_size[1]):
            top, left = u * dilation[0], v * dilation[1]
            places.append(
                (
                    slice(top, top + stride[0] * (ho - 1) + 1, stride[0]),
                    slice(left, left + stride[1] * (wo - 1) + 1, stride[1]),
                )
            )
    return places


def window_count(size: int, kernel_size: int, stride: int, padding: tuple[int, int], dilation: int = 1) -> int:
    """How many windows fit along one axis of `size` elements; padding (before, after)."""
    return (size + padding[0] + padding[1] - dilation * (kernel_size - 1) - 1) // stride + 1
