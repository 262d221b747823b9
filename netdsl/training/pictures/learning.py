"""`statistics`: activations and gradients, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from netdsl.training.drawing.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    PAGE,
    SMALL,
    VERMILLION,
    new_figure,
    place,
    text,
    widest,
)
from netdsl.training.pictures.inspection import LayerStatistics

if TYPE_CHECKING:
    from netdsl.training.drawing.style import Axes, Figure

TALLEST = 9.0  # inches, a page
LINE = 0.115  # inches for a layer


def draw_statistics(layers: Sequence[LayerStatistics]) -> Figure:
    """A row for each layer, the first on top."""
    height = min(TALLEST, max(1.6, 0.7 + LINE * len(layers)))
    figure = new_figure("statistics", PAGE, height)
    step = -(-len(layers) // int((height - 0.7) / 0.1))
    names = [text(layer.name, 28) for layer in layers[::step]]
    left = 0.16 + widest(names, SMALL)
    width = (PAGE - left) / 3
    panels = [place(figure, left + width * i, 0.28, width - 0.18, height - 0.68) for i in range(3)]
    rows = np.arange(len(layers))
    _activations(panels[0], rows, layers)
    _zeros(panels[1], rows, layers)
    _gradients(panels[2], rows, layers)
    for axes in panels:
        axes.set(ylim=(len(layers) - 0.4, -0.6), yticks=[])
        axes.grid(axis="x")
        axes.set_axisbelow(True)
    panels[0].set_yticks(rows[::step], names, fontsize=SMALL)
    panels[0].tick_params(axis="y", length=0)
    return figure


def _activations(axes: Axes, rows: np.ndarray, layers: Sequence[LayerStatistics]) -> None:
    mean, std = (np.array([getattr(layer, name) for layer in layers]) for name in ("mean", "std"))
    axes.errorbar(mean, rows, xerr=std, fmt="o", color=BLUE, markersize=2.5, elinewidth=0.8, capsize=1.5, capthick=0.6)
    axes.axvline(0, color=INK, linewidth=0.5)
    axes.set_xlabel("activation, mean \N{PLUS-MINUS SIGN} std", fontsize=7)


def _zeros(axes: Axes, rows: np.ndarray, layers: Sequence[LayerStatistics]) -> None:
    zeros, dead = (100 * np.array([getattr(layer, name) for layer in layers]) for name in ("zeros", "dead"))
    axes.barh(rows, zeros, height=0.7, color="#c9c9c9", label="zeros")
    axes.barh(
        rows, dead, height=0.35, color=VERMILLION, hatch="////", edgecolor="white", linewidth=0, label="dead channels"
    )
    axes.set_xlim(0, 100)
    axes.set_xlabel("share (%)", fontsize=7)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, handlelength=1.2, columnspacing=1)


def _gradients(axes: Axes, rows: np.ndarray, layers: Sequence[LayerStatistics]) -> None:
    known = [(row, np.log10(layer.ratio)) for row, layer in zip(rows, layers, strict=True) if layer.ratio]
    if known:
        where, ratios = zip(*known, strict=True)
        axes.hlines(where, min(ratios) - 0.2, ratios, color=GREY, linewidth=0.5)
        axes.plot(ratios, where, "D", color=GREEN, markersize=2.8)
        axes.set_xlim(left=min(ratios) - 0.2)
    axes.set_xlabel("log10(gradient norm / weight norm)", fontsize=7)
