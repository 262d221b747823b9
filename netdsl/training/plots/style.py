"""How every picture looks, and the only place that touches matplotlib. No pyplot, no state that outlives a call."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from netdsl.diagnostics import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.image import AxesImage

COLUMN, PAGE = 3.5, 7.0  # inches: one column of a paper, and both
DPI = 300
SMALL = 6  # points: the smallest text

# Okabe & Ito 2008, colours that the colour-blind tell apart
BLUE, ORANGE, VERMILLION, GREEN, SKY, GREY = "#0072B2", "#E69F00", "#D55E00", "#009E73", "#56B4E9", "#777777"
SEQUENTIAL, SIGNED, SHARES = "viridis", "RdBu_r", "Blues"  # colour maps

RIGHT, WRONG, UNKNOWN = "\N{CHECK MARK}", "\N{BALLOT X}", "\N{WHITE SQUARE}"

FONT = "DejaVu Sans"  # comes with matplotlib: the same everywhere
FALLBACKS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "PingFang SC", "Hiragino Sans", "Microsoft YaHei", "Noto Sans")

SETTINGS = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.use_mathtext": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.pad": 2.5,
    "ytick.major.pad": 2.5,
    "axes.labelpad": 2.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "grid.linewidth": 0.4,
    "grid.color": "#dddddd",
    "hatch.linewidth": 0.5,
    "text.parse_math": False,
    "svg.fonttype": "path",  # outlines: no font is needed to show them
    "savefig.dpi": DPI,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
}


@contextmanager
def style() -> Iterator[None]:
    """matplotlib's own defaults and SETTINGS while it is open, whatever the user has set."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**SETTINGS, "font.family": list(_fonts())})
        yield


@cache
def _fonts() -> tuple[str, ...]:
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return (FONT, *(name for name in FALLBACKS if name in installed))


@cache
def _known_characters() -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(code for name in _fonts() for code in get_font(findfont(FontProperties(name))).get_charmap())


def text(user_text: str, most: int | None = None) -> str:
    """`user_text` on one line, without characters that no font here has, shortened to `most` characters."""
    clean = "".join(c if ord(c) in _known_characters() else UNKNOWN for c in plain(user_text))
    return clean if most is None or len(clean) <= most else clean[: most - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def new_figure(width: float, height: float) -> Figure:
    """Width and height in inches; what is put on it finds its place by itself."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def settle(figure: Figure, kind: str) -> Figure:
    """The figure with its layout computed, once for all formats; its label says what kind it is."""
    figure.set_label(kind)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def png_bytes(figure: Figure) -> bytes:
    """A PNG file of DPI dots an inch."""
    file = io.BytesIO()
    with style():
        figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return file.getvalue()


def svg_text(figure: Figure) -> str:
    """An `<svg>` element; text is outlines, and its ids begin with the figure's kind, so that a page may have several
    kinds."""
    import matplotlib

    file, kind = io.StringIO(), figure.get_label() or "figure"
    with style():
        matplotlib.rcParams["svg.hashsalt"] = kind
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    whole = file.getvalue()
    svg = whole[whole.index("<svg") :]
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{kind}-", svg)


def show_image(axes: Axes, picture: np.ndarray, **options: object) -> AxesImage:
    """A picture (H, W) or (H, W, 3) without axes, pixel for pixel; grey 0 to 1 unless options name a colour map."""
    if picture.ndim == 2 and "cmap" not in options:
        options = {"cmap": "gray", "vmin": 0, "vmax": 1, **options}
    if picture.ndim == 3:
        picture = np.concatenate([np.nan_to_num(picture, nan=1.0), np.ones((*picture.shape[:2], 1))], axis=2)
    image = axes.imshow(picture, interpolation="none", **options)
    axes.set_axis_off()
    return image


def add_colorbar(figure: Figure | SubFigure, image: AxesImage, axes: object, label: str, **options: object) -> None:
    bar = figure.colorbar(image, ax=axes, **{"fraction": 0.05, "pad": 0.02, "aspect": 25, **options})
    bar.outline.set_linewidth(0.4)
    bar.ax.tick_params(labelsize=SMALL + 0.5, width=0.4, length=2)
    bar.set_label(label, size=7)


def whole_ticks(axes: Axes) -> None:
    """Ticks of the x axis at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))


def plain_log(axes: Axes) -> None:
    """A logarithmic y axis whose numbers are written out: powers of ten as 1e-3 need mathematical type."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(numticks=6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def add_rectangle(axes: Axes, left: float, top: float, width: float, height: float, **options: object) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((left, top), width, height, **{"fill": False, "linewidth": 1.0, **options}))


def colour_of(fraction: float, name: str = SEQUENTIAL) -> tuple[float, ...]:
    """The colour at 0..1 of a map."""
    import matplotlib

    return matplotlib.colormaps[name](fraction)
