"""How every picture looks, and the only place that touches matplotlib. No pyplot, no state that outlives a call."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from netdsl.analysis.svg import INK as INK  # others name the ink and the types by way of here
from netdsl.analysis.svg import dark_style
from netdsl.ground.diagnostics import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes
    from matplotlib.figure import Figure as Figure
    from matplotlib.image import AxesImage as AxesImage

COLUMN, PAGE = 3.5, 7.0  # inches: one column of a paper, and both
DPI = 300
SMALL = 6  # points: the smallest text

# Okabe & Ito 2008, colours that the colour-blind tell apart
BLUE, ORANGE, VERMILLION, GREEN, SKY, GREY = "#0072B2", "#E69F00", "#D55E00", "#009E73", "#56B4E9", "#777777"
SEQUENTIAL, SIGNED, SHARES = "viridis", "RdBu_r", "Blues"  # colour maps

RIGHT, WRONG, UNKNOWN = "\N{CHECK MARK}", "\N{BALLOT X}", "\N{WHITE SQUARE}"
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"

FONT = "DejaVu Sans"  # comes with matplotlib: the same everywhere
BLANK = "Last Resort"  # a font that has a box for every character
FALLBACKS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "PingFang SC", "Hiragino Sans", "Microsoft YaHei", "Noto Sans")

# what is drawn on the page itself, light -> dark: ink, grid, GREY, bars behind numbers
DARK = {INK: "#e8eaed", "#dddddd": "#3a424b", "#777777": "#9aa4af", "#a9cfe5": "#1d4f73"}
DARK_PAGE = "#1b1f25"

SETTINGS: dict[Any, Any] = {  # matplotlib's names and values, whose types differ from release to release
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "axes.facecolor": "none",
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
    "axes.formatter.limits": (-3, 4),
    "image.composite_image": False,
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


@cache
def _font_with(character: str) -> str | None:
    """An installed font that has a character which the usual fonts lack, the first by name; None where none has."""
    from matplotlib.font_manager import fontManager, get_font

    for font in sorted(fontManager.ttflist, key=lambda font: (font.name, font.fname)):
        if not font.name.startswith(BLANK) and ord(character) in get_font(font.fname).get_charmap():
            return font.name
    return None


def unreadable(words: Iterable[str]) -> str:
    """The characters of these texts that no installed font has, each once; drawings have UNKNOWN in their place."""
    characters = dict.fromkeys("".join(map(plain, words)))
    return "".join(c for c in characters if ord(c) not in _known_characters() and _font_with(c) is None)


def _drawable(character: str) -> str:
    """The character, for which its font is added to those of the picture, or UNKNOWN."""
    import matplotlib

    if ord(character) in _known_characters():
        return character
    name = _font_with(character)
    if name is not None and name not in matplotlib.rcParams["font.family"]:
        matplotlib.rcParams["font.family"] = [*matplotlib.rcParams["font.family"], name]
    return UNKNOWN if name is None else character


def text(user_text: str, most: int | None = None) -> str:
    """`user_text` on one line, without characters that no font here has, shortened to `most` characters."""
    clean = "".join(map(_drawable, plain(user_text)))
    return clean if most is None or len(clean) <= most else clean[: most - 1].rstrip() + ELLIPSIS


def short_names(names: Sequence[str], most: int) -> list[str]:
    """The names as `text` shortens them; where that makes two alike, without what all of them begin with."""
    cut = [text(name, most) for name in names]
    if len(set(cut)) == len(names):
        return cut
    start = len(os.path.commonprefix(list(names)))
    return [ELLIPSIS + text(name[start:], most - 1) for name in names] if start else cut


def text_width(words: str, size: float) -> float:
    """Inches that a cleaned text takes in points of `size`; a character of another font counts as a square."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties(FONT)))
    own = font.get_charmap()
    font.set_size(size, 72)
    font.set_text("".join(c for c in words if ord(c) in own))
    return (font.get_width_height()[0] / 64 + size * sum(ord(c) not in own for c in words)) / 72


def widest(words: Iterable[str], size: float) -> float:
    """Inches that the widest of these texts takes."""
    return max((text_width(word, size) for word in words), default=0.0)


def note_lines(note: str, width: float) -> list[str]:
    """The note in lines of SMALL letters that are as wide as so many inches, or less; none of ""."""
    words, lines = text(note).split(), [""]
    for word in words:
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and text_width(longer, SMALL) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines if words else []


# Places are given in inches from the upper left corner: a layout that is computed looks the same with every
# renderer, and takes a tenth of the time of one that is searched for.


def new_figure(kind: str, width: float, height: float) -> Figure:
    """An empty page; its label says what kind it is."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), label=kind)
    FigureCanvasAgg(figure)
    return figure


def place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place."""
    page_width, page_height = figure.get_size_inches()
    bottom = page_height - top - height
    return figure.add_axes((left / page_width, bottom / page_height, width / page_width, height / page_height))


def sheet(figure: Figure) -> Axes:
    """Axes without any lines over the whole page, whose coordinates are inches."""
    width, height = figure.get_size_inches()
    axes = place(figure, 0, 0, width, height)
    axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    axes.set_axis_off()
    return axes


@dataclass(frozen=True)
class Box:
    """A place on a sheet, in inches."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height

    @property
    def centre(self) -> float:
        return self.left + self.width / 2


def show_image(axes: Axes, picture: np.ndarray, box: Box, **options: Any) -> tuple[AxesImage, Box]:
    """A picture (H, W) or (H, W, 3) in the middle of the box, as large as fits; and where it is.

    Pixels stay squares of one colour; grey is 0 to 1 unless options name a colour map; NaN is the page.
    """
    h, w = picture.shape[:2]
    scale = min(box.width / w, box.height / h)
    left, top = box.left + (box.width - w * scale) / 2, box.top + (box.height - h * scale) / 2
    if picture.ndim == 2 and "cmap" not in options:
        options = {"cmap": "gray", "vmin": 0, "vmax": 1, **options}
    place = Box(left, top, w * scale, h * scale)
    return fill_box(axes, picture, place, **options), place


def fill_box(axes: Axes, picture: np.ndarray, box: Box, **options: Any) -> AxesImage:
    """A picture (H, W) or (H, W, 3) over the whole box; NaN is the page."""
    if picture.ndim == 3 and np.isnan(picture).any():
        is_there = ~np.isnan(picture).any(axis=2, keepdims=True)
        picture = np.concatenate([np.where(is_there, picture, 1), is_there], axis=2)
    extent = (box.left, box.right, box.bottom, box.top)
    return axes.imshow(picture, interpolation="none", aspect="auto", extent=extent, **options)


def add_colorbar(axes: Axes, image: AxesImage, label: str, **options: Any) -> None:
    """A scale that fills `axes`, upright, its numbers to the right."""
    bar = axes.figure.colorbar(image, cax=axes, **options)
    bar.outline.set_linewidth(0.4)
    axes.tick_params(labelsize=SMALL + 0.5, width=0.4, length=2)
    bar.set_label(label, size=7)


def png_bytes(figure: Figure) -> bytes:
    """A PNG file of DPI dots an inch."""
    file = io.BytesIO()
    with style():
        figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return file.getvalue()


def svg_text(figure: Figure) -> str:
    """An `<svg>` element; text is outlines, and its ids begin with the figure's kind, so that a page may have several
    kinds. Paper and ink are dark and light where its reader prefers that; what shows data keeps its colours."""
    import matplotlib

    file, kind = io.StringIO(), str(figure.get_label() or "figure")
    with style():
        matplotlib.rcParams["svg.hashsalt"] = kind
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    whole = file.getvalue()
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{kind}-", whole[whole.index("<svg") :])
    head, rest = svg.split(">", 1)
    return f'{head} class="netdsl-{kind}">{_dark(kind)}{rest}'


def _dark(kind: str) -> str:
    """matplotlib writes colours into `style` attributes; the figure's paper is its first patch."""
    paper = f"#{kind}-patch_1 path{{fill:{DARK_PAGE} !important}}"
    return dark_style(f"netdsl-{kind}", DARK, selector='[style*="{key}: {color}"]', more=paper)


def whole_ticks(axes: Axes, most: int = 6) -> None:
    """Ticks of the x axis at whole numbers only, with at most so many intervals."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=most, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


def plain_log(axes: Axes) -> None:
    """A logarithmic y axis whose numbers are written out: matplotlib's own need mathematical type."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(numticks=6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def add_rectangle(axes: Axes, box: Box, **options: Any) -> None:
    """Draws the outline of the box; options are those of matplotlib's `Rectangle`."""
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((box.left, box.top), box.width, box.height, fill=False, **options))


def colour_of(fraction: float, name: str = SEQUENTIAL) -> tuple[float, ...]:
    """The colour at 0 to 1 of a colour map."""
    import matplotlib

    return matplotlib.colormaps[name](fraction)


def shades_of(values: np.ndarray, name: str) -> np.ndarray:
    """values (...), 0 to 1 -> (..., 3), their colours of a colour map."""
    import matplotlib

    shades: np.ndarray = matplotlib.colormaps[name](values)[..., :3]
    return shades


def round_numbers(low: float, high: float, most: int) -> list[float]:
    """At most `most` round numbers from low to high, for ticks."""
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(nbins=most - 1, integer=True, steps=[1, 2, 5, 10]).tick_values(low, high)
    return [float(tick) for tick in ticks if low <= tick <= high]
