"""What a drawn figure says, and whether it stays on its page."""

import matplotlib
import numpy as np

from netdsl.pipeline import compile_text
from netdsl.training.data.dataset import Dataset
from netdsl.training.drawing.style import style
from netdsl.training.runs.history import Epoch, History
from netdsl.training.runs.views import RunView

ROWS = tuple(Epoch(n, 1 / n, 0.5 + n / 20, 1.5 / n, 0.6, 1e-3 / n, 1.0, 100.0) for n in range(1, 5))
"""Four epochs of a history."""
NAMES = (
    "$x_1^{2}$",
    "\\frac{",
    "a\nb\x1b[31m",
    "\N{CAT FACE} \u732b",
    "a very long name of a class that goes on",
    "<b>&\"'-->",
)
"""Names of classes that are hard to draw."""


def view_of(text, classes=NAMES, samples=30, rows=ROWS):
    """A run of random samples that was not trained; {classes} in the text is how many classes there are."""
    net, rng = compile_text(text.format(classes=len(classes))), np.random.default_rng(0)
    shape = net.graph.input_shape
    x = rng.integers(0, 256, (samples, *shape), np.uint8) if len(shape) == 3 else rng.normal(size=(samples, *shape))
    gives = net.graph.output_shape
    y = rng.integers(0, len(classes), (samples, *gives[1:])) if classes else rng.normal(size=(samples, *gives))
    x, y = x if x.dtype == np.uint8 else x.astype(np.float32), y if classes else y.astype(np.float32)
    return RunView(
        None, net, net.build(seed=1), Dataset("drawn", x, y, x, y, classes, (0.5,), (0.25,)), History(rows), "last"
    )


def words(figure):
    """Every text that is shown, in order."""
    return [t.get_text() for t in figure.findobj(matplotlib.text.Text) if t.get_text()]


def overhang(figure):
    """By how many inches what is drawn reaches over the edge of the page."""
    with style():
        figure.draw_without_rendering()
        box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    return max(-box.x0, -box.y0, box.x1 - width, box.y1 - height)
