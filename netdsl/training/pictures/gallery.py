"""All pictures of a run and its report.html, as a training leaves them behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from netdsl.training.pictures.kinds import FORMATS, figures, save, svg_text, usual_kinds
from netdsl.training.pictures.report import write_report
from netdsl.training.runs.views import RunView, score_run
from netdsl.training.scores.evaluation import Scores


def draw_all(view: RunView, scores: Scores | None = None) -> Iterator[Path]:
    """Draws the usual kinds of the run, to files in its folder `plots`, then report.html, and gives each path when it
    is written.

    scores: those of the test data, where they are known. Raises OSError.
    """
    folder, drawn = view.run.path / "plots", {}
    folder.mkdir(exist_ok=True)
    scores = scores or score_run(view)
    for kind, figure in figures(view, usual_kinds(view), scores=scores):
        yield from save(figure, folder / kind, FORMATS)
        drawn[kind] = svg_text(figure)
    yield write_report(view, scores, drawn)
