"""A history as small curves: SVG by hand, for where nothing may be imported that draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import floor, isfinite, log10

from netdsl.analysis.svg import FAMILY, FONT, GLYPH, INK, MUTED, PAPER, text

WIDTH, HEIGHT = 340.0, 190.0  # of one panel
LEFT, RIGHT, TOP, BOTTOM = 50.0, 62.0, 28.0, 34.0  # margins inside it
GRID = "#d8dee4"
PARTS = (("train", "#0072b2", ""), ("val", "#c04d00", ' stroke-dasharray="5 3"'))
Points = Sequence[tuple[float, float]]
Columns = Callable[[str], Sequence[float | None]]  # of a history, by name: `history.column`


def curves_svg(column: Columns) -> str:
    """Loss, and of classifications accuracy, over the epochs, of training and validation; one `<svg>` element."""
    panels = [("loss", "{:g}".format)]
    if any(value is not None for value in column("train_accuracy")):
        panels.append(("accuracy", "{:.4g}%".format))
    drawn = "".join(
        f'<g transform="translate({i * WIDTH:g} 0)">{_panel(column, measure, label)}</g>'
        for i, (measure, label) in enumerate(panels)
    )
    width = WIDTH * len(panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{HEIGHT:g}" '
        f'viewBox="0 0 {width:g} {HEIGHT:g}" role="img" style="max-width:100%;height:auto" '
        f'font-family="{FAMILY}" font-size="{FONT}" fill="{INK}">'
        f"<title>{' and '.join(measure for measure, _ in panels)} over {len(column('epoch'))} epochs</title>"
        f'<rect width="{width:g}" height="{HEIGHT:g}" rx="6" fill="{PAPER}"/>{drawn}</svg>'
    )


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """At most about `count` round numbers from low to high: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / count or abs(high) or 1.0
    power = 10.0 ** floor(log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = -floor(-low / step + 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, floor(high / step + 1e-9) + 1)]


def _points(column: Columns, name: str, factor: float) -> Points:
    rows = zip(column("epoch"), column(name), strict=True)
    return [(epoch, value * factor) for epoch, value in rows if value is not None and isfinite(value)]


def _panel(column: Columns, measure: str, label: Callable[[float], str]) -> str:
    factor = 100.0 if measure == "accuracy" else 1.0
    lines = [(part, _points(column, f"{part[0]}_{measure}", factor)) for part in PARTS]
    points = [point for _, line in lines for point in line]
    title = text(LEFT, 17, measure, bold=True)
    if not points:
        return title + text(LEFT, HEIGHT / 2, "nothing finite to show", color=MUTED)
    low, high = min(y for _, y in points), max(y for _, y in points)
    room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    low, high = max(0.0, low - room) if low >= 0 else low - room, high + room
    first, last = min(x for x, _ in points), max(x for x, _ in points)

    def x_of(x: float) -> float:
        share = (x - first) / (last - first) if last > first else 0.5
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y_of(y: float) -> float:
        return round(HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    grid = [
        f'<path d="M{LEFT:g} {y_of(y):g}H{WIDTH - RIGHT:g}" stroke="{GRID}"/>'
        + text(LEFT - 6, y_of(y) + 4, label(y), color=MUTED, anchor="end")
        for y in ticks(low, high)
    ]
    whole = [x for x in ticks(first, last, 6) if x == floor(x)] or [first]
    grid += [text(x_of(x), HEIGHT - BOTTOM + 16, f"{x:g}", color=MUTED, anchor="middle") for x in whole]
    grid.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, "epoch", color=MUTED, anchor="middle"))
    ends = _apart([y_of(line[-1][1]) if line else None for _, line in lines])
    curves = [
        _curve([(x_of(x), y_of(y)) for x, y in line], part, end)
        for (part, line), end in zip(lines, ends, strict=True)
        if line
    ]
    return title + "".join(grid) + "".join(curves)


def _curve(points: Points, part: tuple[str, str, str], end: float) -> str:
    """A line, or a dot of a single epoch, with its name behind it."""
    name, color, dashes = part
    x, y = points[-1]
    path = "L".join(f"{px:g} {py:g}" for px, py in points)
    shape = f'<path d="M{path}" fill="none" stroke="{color}" stroke-width="1.8" stroke-linejoin="round"{dashes}/>'
    dot = f'<circle cx="{x:g}" cy="{y:g}" r="2.6" fill="{color}"/>'
    return shape + dot + text(x + GLYPH, end + 4, name, color=color, bold=True)


def _apart(ends: list[float | None]) -> list[float]:
    """The heights of the two names, moved apart where they would cover each other."""
    first, second = ends
    if first is None or second is None or abs(first - second) >= FONT:
        return [end or 0.0 for end in ends]
    middle, shift = (first + second) / 2, FONT / 2 if first > second else -FONT / 2
    return [middle + shift, middle - shift]
