"""Small pieces of HTML for notebooks. They bring their styles along and take the page's colours, light or dark; every
text in them is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

MONO = "ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace"
RULE = "1px solid rgba(127,127,127,.4)"
_CELL = "padding:.15em .8em;border:0;white-space:nowrap"
_ANSI = {
    "1;31": "color:#b3261e;font-weight:600",
    "1;33": "color:#855300;font-weight:600",
    "1;34": "color:#0a52a8;font-weight:600",
    "1": "font-weight:600",
}


def paragraph(text: str) -> str:
    return f'<p style="margin:.5em 0;max-width:36em">{escape(text)}</p>'


def heading(text: str) -> str:
    return f'<p style="margin:.5em 0"><strong>{escape(text)}</strong></p>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: int, foot: Sequence[str] = ()) -> str:
    """A table that scrolls where it is long or wide; the last `numbers` columns are set to the right."""
    left = len(head) - numbers

    def line(cells: Sequence[str], tag: str, style: str = "") -> str:
        sides = ["left" if i < left else "right" for i in range(len(cells))]
        return (
            "<tr>"
            + "".join(
                f'<{tag} style="{_CELL};text-align:{side}{style}">{escape(cell)}</{tag}>'
                for cell, side in zip(cells, sides, strict=True)
            )
            + "</tr>"
        )

    strong = ";font-weight:600"
    end = f"<tfoot>{line(foot, 'td', f';border-top:{RULE};font-weight:600')}</tfoot>" if foot else ""
    return (
        '<div style="max-height:34em;overflow:auto;margin:.5em 0">'
        f'<table style="border-collapse:collapse;font-size:.92em;font-variant-numeric:tabular-nums;margin:0">'
        f'<thead style="border-bottom:{RULE}">{line(head, "th", strong)}</thead>'
        f"<tbody>{''.join(line(row, 'td') for row in rows)}</tbody>{end}</table></div>"
    )


def beside(*parts: str) -> str:
    """Pieces next to each other where there is room; each scrolls where it is long."""
    style = "max-height:46em;overflow:auto;max-width:100%"
    inner = "".join(f'<div style="{style}">{part}</div>' for part in parts)
    return f'<div style="display:flex;flex-wrap:wrap;gap:1.5em;align-items:flex-start;margin:.5em 0">{inner}</div>'


def terminal(text: str) -> str:
    """Text with the terminal's colours as `<pre>`, on a light ground of its own."""
    parts, is_open = [], False
    for i, piece in enumerate(re.split(r"\x1b\[([0-9;]*)m", text)):
        if i % 2 == 0:
            parts.append(escape(piece))
            continue
        parts.append("</span>" if is_open else "")
        is_open = piece in _ANSI
        parts.append(f'<span style="{_ANSI[piece]}">' if is_open else "")
    style = f"background:#f6f8fa;color:#1b1f24;padding:.7em 1em;border-radius:6px;overflow:auto;font:.92em/1.45 {MONO}"
    return f'<pre style="{style}">{"".join(parts)}{"</span>" if is_open else ""}</pre>'
