"""What a network says of samples that no data set has, as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.training.drawing.signals import signals
from netdsl.training.drawing.sketches import Sketch, coloured_places, flat, reading, sketched
from netdsl.training.drawing.style import style
from netdsl.training.drawing.tiles import overlay, stretched, viewable

if TYPE_CHECKING:
    from netdsl.training.drawing.style import Figure
    from netdsl.training.scores.task import Task

Answered = tuple[str, np.ndarray, np.ndarray]
"""The title of a sample, its numbers (C, *space) as stored, and the answer."""


def draw_answers(samples: Sequence[Answered], task: Task, takes: Tensor, gives: Tensor) -> Figure:
    """Samples with what a network of the task, from `takes` to `gives`, says of each: probabilities (K,), a mask
    (*space), which is laid over an image in colours, or numbers (C, *space)."""
    from netdsl.training.pictures.samples import Prediction, draw_predictions

    inputs = _inputs(samples, takes)
    seen = [(title, sketch, answer) for sketch, (title, _, answer) in zip(inputs, samples, strict=True)]
    with style():
        if task.gives_one_class:
            return draw_predictions([Prediction(*sample) for sample in seen], task.classes, note=reading(takes))
        return _strips(seen, task, takes, gives)


def _inputs(samples: Sequence[Answered], takes: Tensor) -> list[Sketch]:
    """Signals on one scale; pictures, which may be photos beside scans, each on its own."""
    if takes.axes == 1:
        return sketched(np.stack([x for _, x, _ in samples]), takes)
    return [sketched(x[None], takes)[0] for _, x, _ in samples]


def _strips(seen: Sequence[tuple[str, Sketch, np.ndarray]], task: Task, takes: Tensor, gives: Tensor) -> Figure:
    from netdsl.training.drawing.strips import ACROSS, Strip, draw_strips

    answers, count = np.stack([answer for _, _, answer in seen]), len(task.classes)
    said: list[Sketch]
    if task.kind == "masks" and takes.is_image and gives.is_image:
        said = [overlay(sketch, mask, count) for _, sketch, mask in seen if isinstance(sketch, np.ndarray)]
    elif task.kind == "masks":
        said = coloured_places(answers, gives, count)
    elif gives.axes == 1:
        said = [*signals(answers)]
    else:
        said = flat(stretched(viewable(answers), *_range(answers)), gives)
    strips = [Strip(title, (sketch, answer)) for (title, sketch, _), answer in zip(seen, said, strict=True)]
    rows = ("input", "predicted" if count else "output")
    return draw_strips("predictions", strips, rows, task.classes, across=ACROSS[takes.axes], note=reading(takes))


def _range(answers: np.ndarray) -> tuple[float, float]:
    """What is black and what is white: 0 and 1 where the answers lie about there."""
    low, high = float(answers.min()), float(answers.max())
    return (0.0, 1.0) if low >= -0.5 and high <= 1.5 else (low, high)
