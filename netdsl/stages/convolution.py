"""What a convolution is told: where its windows lie, and what it does to its sums before it hands them on."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class ConvGeometry:
    """The windows of a convolution of x, along every axis of space."""

    shape: tuple[int, ...]  # of x, (C, *space)
    filters: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...] = (1, 1)  # from one window to the next
    padding: tuple[tuple[int, int], ...] = ((0, 0), (0, 0))  # zeros before and behind x
    dilation: tuple[int, ...] = (1, 1)  # from tap to tap
    groups: int = 1

    @property
    def padded_size(self) -> tuple[int, ...]:
        """The space of x with its zeros."""
        return tuple(n + before + behind for n, (before, behind) in zip(self.shape[1:], self.padding, strict=True))

    @property
    def has_steps(self) -> bool:
        """Whether windows or taps do not lie side by side."""
        return max(*self.stride, *self.dilation) > 1

    @property
    def out_size(self) -> tuple[int, ...]:
        """How many windows there are along each axis."""
        if not self.has_steps:
            return tuple(n - k + 1 for n, k in zip(self.padded_size, self.kernel_size, strict=True))
        axes = zip(self.padded_size, self.kernel_size, self.stride, self.dilation, strict=True)
        return tuple((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in axes)


@dataclasses.dataclass(frozen=True)
class Epilogue:
    """What a convolution makes of its sums while they are in the cache: y = relu(sums * scale + bias + plus)."""

    bias: bool = True  # whether it adds its own; else the next stage does
    norm: tuple[str, float] | None = None  # (name, eps) of a batch norm: at inference the scale and part of the bias
    plus: bool = False  # whether forward is given another map, at inference
    relu: bool = False
    clip: tuple[float, float] | None = None  # between which two numbers y is kept
    sums: bool = False  # whether it adds up y and y * y for the batch norm behind it

    @property
    def ends(self) -> bool:
        """Whether a relu or a clip stands at the end."""
        return self.relu or self.clip is not None
