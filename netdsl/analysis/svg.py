"""Parts of an SVG drawing as text."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

INK, MUTED, EDGE, PAPER = "#1b1f24", "#57606a", "#6e7781", "#ffffff"
FONT, GLYPH = 11, 6.65  # size of the letters and the width of each: all are as wide
FAMILY = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def text(x: float, y: float, words: str, *, color: str = INK, anchor: str = "", bold: bool = False) -> str:
    attributes = (f' fill="{color}"' if color != INK else "") + (f' text-anchor="{anchor}"' if anchor else "")
    attributes += ' font-weight="600"' if bold else ""
    return f'<text x="{x:g}" y="{y:g}"{attributes}>{escape(words)}</text>'


def rect(width: float, height: float, fill: str, stroke: str, *, at: float = 0, radius: float = 5) -> str:
    return (
        f'<rect x="{at:g}" y="{at:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" '
        f'fill="{fill}" stroke="{stroke}"/>'
    )


def short(count: int) -> str:
    """`9,536`, `454.9k`, `25.56M`: four digits or fewer."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= max(size, 10**4):
            whole = count / size
            return f"{whole:.{2 if whole < 99.995 else 1}f}".rstrip("0").rstrip(".") + unit
    return f"{count:,}"


def dark_style(name: str, colors: Mapping[str, str], selector: str = '[{key}="{color}"]', more: str = "") -> str:
    """A `<style>` that gives the drawing of class `name` other colours where its reader prefers dark pages: light
    colour -> dark one. Programs that know no media queries show the light ones, which are attributes of the elements.

    selector: how such an attribute is matched; more: further rules."""
    rules = []
    for light, dark in colors.items():
        for key in ("fill", "stroke"):
            match = selector.format(key=key, color=light)
            rules.append(f".{name}{match},.{name} {match}{{{key}:{dark} !important}}")
    return f"<style>@media screen and (prefers-color-scheme:dark){{{''.join(rules)}{more}}}</style>"
