"""What a drawn figure says, and whether it stays on its page."""

import matplotlib

from netdsl.training.drawing.style import style
from netdsl.training.runs.history import Epoch

ROWS = tuple(Epoch(n, 1 / n, 0.5 + n / 20, 1.5 / n, 0.6, 1e-3 / n, 1.0, 100.0) for n in range(1, 5))
"""Four epochs of a history."""


def words(figure):
    """Every text that is shown, in order."""
    return [t.get_text() for t in figure.findobj(matplotlib.text.Text) if t.get_text()]


def overhang(figure):
    """By how many inches what is drawn reaches over the edge of the page."""
    with style():
        figure.draw_without_rendering()
        box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    return max(-box.x0, -box.y0, box.x1 - width, box.y1 - height)
