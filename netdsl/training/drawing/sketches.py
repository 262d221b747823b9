"""What a sample looks like where many are drawn: an image as it is, a signal as curves, a volume as slices.

A volume becomes a picture of its three middle slices, as those who read scans see them: across the depth above on the
left, across the width beside it, across the height below.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.training.drawing.signals import HEAT, LANES, Band, Signal, show_band, show_signal, signals
from netdsl.training.drawing.style import Box, shades_of, show_image
from netdsl.training.drawing.tiles import coloured, pictures, stretched, viewable

if TYPE_CHECKING:
    from netdsl.training.drawing.style import Axes, AxesImage

Sketch = np.ndarray | Signal | Band
"""A picture (H, W) or (H, W, 3), curves, or a band of colours."""


def no_sketch(sample: Tensor) -> str:
    """What keeps samples of that type from being drawn, in words after `the samples are`; "" where nothing does."""
    if not sample.is_map:
        return "no images, signals or volumes"
    if sample.axes == 1:
        return "" if max(sample.space) > 1 else "signals of one step"
    noun = "images" if sample.is_image else "volumes"
    if sample.channels not in (1, 3):
        return f"{noun} of {sample.channels} channels, of which those of 1 or 3 are drawn"
    return "" if min(sample.space) > 1 else f"{noun} of a single line"


def sketched(x: np.ndarray, kind: Tensor) -> list[Sketch]:
    """x (N, C, *space) as stored, of samples of that type -> what each looks like; all on one scale."""
    return [*signals(x)] if kind.axes == 1 else flat(pictures(x), kind)


def as_numbers(x: np.ndarray, kind: Tensor) -> list[Sketch]:
    """The same of samples of any number of channels. Images are not stretched: grey is 0 to 1."""
    if kind.axes == 1:
        return [*signals(x)]
    values = viewable(x)
    return flat(values if kind.is_image else stretched(values, float(values.min()), float(values.max())), kind)


def compared(numbers: np.ndarray, true: np.ndarray, kind: Tensor) -> tuple[list[Sketch], list[Sketch]]:
    """numbers, true (N, C, *space) of that type -> what both look like on one scale: of pictures the one of `true`, of
    each channel of signals the one of both."""
    if kind.axes == 1:
        both = signals(np.concatenate([numbers, true]))
        return [*both[: len(numbers)]], [*both[len(numbers) :]]
    low, high = float(true.min()), float(true.max())
    return flat(stretched(viewable(numbers), low, high), kind), flat(stretched(viewable(true), low, high), kind)


def differences(errors: np.ndarray, kind: Tensor) -> tuple[list[Sketch], float]:
    """errors (N, C, *space) -> each of them, of pictures the mean of the channels; and the largest that is shown."""
    if kind.axes == 1:
        largest = float(np.abs(errors).max()) or 1.0
        return [Signal(sample, *np.full((2, kind.channels), largest) * [[-1], [1]]) for sample in errors], largest
    gaps = errors[:, 0] if kind.channels == 1 else errors.mean(axis=1)
    return flat(gaps, kind), float(np.abs(gaps).max()) or 1.0


def coloured_places(masks: np.ndarray, kind: Tensor, count: int) -> list[Sketch]:
    """masks (N, *space) of classes below `count` -> each place in the colour of its class; kind: a map of
    that space."""
    if kind.axes == 1:
        return [Band(coloured(mask, count)) for mask in masks]
    return flat(coloured(masks, count), kind)


def heated(x: np.ndarray, heats: np.ndarray, kind: Tensor) -> list[tuple[Sketch, ...]]:
    """x (N, C, *space) as stored, heats of its shape, 0 to 1 -> of a signal the curves on the heat of each channel;
    else what the sample looks like, and the heat of its places over all channels."""
    if kind.axes == 1:
        return [(replace(signal, heat=heat),) for signal, heat in zip(signals(x), heats, strict=True)]
    sums = heats.sum(axis=1)
    most = sums.reshape(len(sums), -1).max(axis=1).reshape(-1, *[1] * kind.axes)
    shades = shades_of(sums / np.where(most > 0, most, 1), HEAT)
    return list(zip(sketched(x, kind), flat(shades, kind), strict=True))


def flat(values: np.ndarray, kind: Tensor) -> list[Sketch]:
    """values (N, *space) or (N, *space, 3) of images or volumes -> pictures (H, W) or (H, W, 3)."""
    return [three_slices(volume) if kind.axes == 3 else volume for volume in values]


def three_slices(volume: np.ndarray) -> np.ndarray:
    """volume (D, H, W) or (D, H, W, 3) -> its middle slices across depth, width and height on one picture
    (H + gap + D, W + gap + D), with NaN where there is nothing."""
    d, h, w = volume.shape[:3]
    gap = 1 + max(d, h, w) // 24
    sheet = np.full((h + gap + d, w + gap + d, *volume.shape[3:]), np.nan, np.float32)
    sheet[:h, :w] = volume[d // 2]
    sheet[:h, w + gap :] = volume[:, :, w // 2].swapaxes(0, 1)
    sheet[h + gap :, :w] = volume[:, h // 2]
    return sheet


def tallness(sketch: Sketch) -> float:
    """The height of the sketch for a width of 1."""
    return sketch.shape[0] / sketch.shape[1] if isinstance(sketch, np.ndarray) else sketch.tallness


def show_sketch(axes: Axes, sketch: Sketch, box: Box, **options: Any) -> tuple[AxesImage | None, Box]:
    """Draws the sketch in the box, a picture as `show_image` does with its options; -> what has a scale, if anything,
    and where it is."""
    match sketch:
        case Signal():
            return show_signal(axes, sketch, box)
        case Band():
            return show_band(axes, sketch, box)
    return show_image(axes, sketch, box, **options)


def reading(kind: Tensor) -> str:
    """What one has to know to read sketches of that type, a line; "" of images."""
    if kind.axes == 3:
        return "middle slices across depth (left above), width (beside it) and height (below it)"
    if kind.axes != 1:
        return ""
    steps = f"{kind.space[0]:,} steps from left to right"
    if kind.channels == 1:
        return steps
    lanes = "rows of colour" if kind.channels > LANES else "curves"
    return f"{steps}; {kind.channels} channels as {lanes}, the first on top, each on its own scale"
