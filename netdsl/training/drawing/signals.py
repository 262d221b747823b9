"""Signals as curves: a lane for each channel, and long ones honestly shorter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netdsl.training.drawing.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    SEQUENTIAL,
    SKY,
    VERMILLION,
    Box,
    add_rectangle,
    fill_box,
)

if TYPE_CHECKING:
    from netdsl.training.drawing.style import Axes, AxesImage

COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, SKY)  # of channels, by turns
LANES = 12  # channels that are curves; more of them are rows of colour
FINE = 150  # pieces an inch: as many of a long signal are drawn
INSIDE = 0.88  # the share of a lane that its curve takes
ON_HEAT = "#1a1a1a"  # curves where the ground is coloured: as dark on a dark page
HEAT = "Oranges"


@dataclass(frozen=True)
class Signal:
    """values (C, L), of which low to high (C,) is drawn of each channel. heat (C, L), 0 to 1: the ground behind it."""

    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    heat: np.ndarray | None = None

    @property
    def tallness(self) -> float:
        """Its height for a width of 1: more channels need more."""
        return float(np.clip(0.3 + 0.09 * len(self.values), 0.45, 0.9))

    @property
    def shares(self) -> np.ndarray:
        """(C, L), 0 to 1: where each value lies in what is drawn of its channel; a constant one in the middle."""
        spread = self.high - self.low
        shares = (self.values - self.low[:, None]) / np.where(spread > 0, spread, 1)[:, None]
        return np.clip(np.where(spread[:, None] > 0, shares, 0.5), 0, 1)


def signals(x: np.ndarray) -> list[Signal]:
    """x (N, C, L) -> each with the range of its channels over all of them."""
    values = x.astype(np.float64)
    ends = [np.nan_to_num(f(values, axis=(0, 2), initial=v)) for f, v in ((np.min, np.inf), (np.max, -np.inf))]
    return [Signal(sample, *ends) for sample in values]


def decimated(values: np.ndarray, pieces: int) -> np.ndarray:
    """values (..., L) -> (..., 2 * pieces) of a longer signal, the lowest and the highest of each piece, so that no
    peak is lost; a shorter one as it is."""
    length = values.shape[-1]
    if length <= 2 * pieces:
        return values
    starts = np.arange(pieces) * length // pieces
    ends = [f.reduceat(values, starts, axis=-1) for f in (np.minimum, np.maximum)]
    return np.stack(ends, axis=-1).reshape(*values.shape[:-1], -1)


def show_signal(axes: Axes, signal: Signal, box: Box, width: float = 0.8) -> tuple[AxesImage | None, Box]:
    """Draws the signal on a sheet, the first channel on top, time from left to right; -> its rows of colour, if there
    are so many channels, and where it is."""
    pieces, image = max(2, int(box.width * FINE)), None
    shares = decimated(signal.shares, pieces)
    if signal.heat is not None:
        image = fill_box(axes, decimated(signal.heat, pieces), box, cmap=HEAT, vmin=0, vmax=1)
    elif len(shares) > LANES:
        image = fill_box(axes, shares, box, cmap=SEQUENTIAL, vmin=0, vmax=1)
    if len(shares) <= LANES:
        _curves(axes, signal, shares, box, width)
    add_rectangle(axes, box, color=GREY, linewidth=0.4, zorder=3)
    return image, box


def _curves(axes: Axes, signal: Signal, shares: np.ndarray, box: Box, width: float) -> None:
    """Draws a curve for each channel, with a dotted line where 0 is in its range."""
    count, places = len(shares), shares.shape[1]
    lane = box.height / count
    times = box.left + (np.arange(places) + 0.5) / places * box.width
    for channel, row in enumerate(shares):
        middle, low, high = box.top + (channel + 0.5) * lane, signal.low[channel], signal.high[channel]
        if low < 0 < high:
            zero = middle + (0.5 + low / (high - low)) * INSIDE * lane
            axes.hlines(zero, box.left, box.right, color=GREY, linewidth=0.4, linestyle=":", zorder=1.5)
        color = COLOURS[channel % len(COLOURS)] if signal.heat is None else ON_HEAT
        axes.plot(times, middle + (0.5 - row) * INSIDE * lane, color=color, linewidth=width, zorder=2)


def mixed(colours: np.ndarray, pieces: int) -> np.ndarray:
    """colours (L, 3) -> (pieces, 3) of more of them, the mean of each piece; fewer as they are."""
    if len(colours) <= pieces:
        return colours
    starts = np.arange(pieces) * len(colours) // pieces
    return np.add.reduceat(colours, starts) / np.diff(starts, append=len(colours))[:, None]


@dataclass(frozen=True)
class Band:
    """colours (L, 3), 0 to 1, along time: what each step of a signal is."""

    colours: np.ndarray
    tallness: float = 0.06


def show_band(axes: Axes, band: Band, box: Box, **options: Any) -> tuple[AxesImage, Box]:
    """Draws the band over the whole box."""
    pieces = int(box.width * FINE)
    image = fill_box(axes, mixed(band.colours, pieces)[None], box, **options)
    add_rectangle(axes, box, color=GREY, linewidth=0.4, zorder=3)
    return image, box
