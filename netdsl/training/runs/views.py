"""An opened run: its net, its trained model and its data, for all that shows or measures a run after training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from netdsl.ground.diagnostics import plain
from netdsl.language.train_block import with_data
from netdsl.training.data.dataset import Dataset
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.normalization import for_network
from netdsl.training.data.wanted import wanted_by
from netdsl.training.runs.engine import Engine, engine_threads
from netdsl.training.runs.folder import Run, load_run, read_run
from netdsl.training.runs.history import History, read_history
from netdsl.training.scores.evaluation import (
    Scores,
    as_trained,
    check_fits,
    evaluate,
    measured_together,
    task_of,
    weighing,
)
from netdsl.training.scores.fitting import adapted
from netdsl.training.scores.task import Task

if TYPE_CHECKING:
    from netdsl.pipeline import Net
    from netdsl.targets.contract import Model
    from netdsl.training.scores.mirrors import Answering


@dataclass(frozen=True)
class RunView:
    """A run, the weights of checkpoint `which` in `model`, the data with the run's classes and normalisation."""

    run: Run
    net: Net
    model: Model
    dataset: Dataset
    history: History
    which: str

    @property
    def task(self) -> Task:
        """What the network learned from the data."""
        return task_of(self.net, self.dataset)


@contextmanager
def open_run(
    path: Path,
    data_dir: Path | None,
    which: str | None = None,
    data: str | None = None,
    limit: int | None = None,
    on_note: Callable[[str], None] = lambda _: None,
    change: Callable[[Engine], Engine] = lambda engine: engine,
) -> Iterator[RunView]:
    """The run in the folder `path`; its model's workers end when it closes.

    data: other data than the run's; limit: as in `load_dataset`, by default the run's own for its own data; on_note
    is told when a damaged checkpoint is replaced by the one before it, and when the data are other ones than the run
    learned from; change: the run's engine -> the one that computes. Raises UserError, SpecError, OSError.
    """
    run = read_run(path)
    engine = change(run.config.engine)
    net, model, which = load_run(run, which, on_note, engine)
    try:
        dataset = run_data(run, net, data_dir, data, limit)
        if data is None and limit is None and is_other_data(run, dataset):
            on_note(
                f"`{plain(run.data)}` has changed since the run began, or is split in another way: the network "
                "may have learned from some of these samples"
            )
        dataset = for_network(dataset, net)
        check_fits(net, dataset)
        with engine_threads(engine):
            yield RunView(run, net, model, dataset, read_history(path, run.config.recipe.monitor), which)
    finally:
        model.close()


def score_run(view: RunView, model: Answering | None = None) -> Scores:
    """The scores of the run's weights on its test data. model: what answers in place of the run's own."""
    data = view.dataset
    weigh, together = weighing(view.net), measured_together(view.net)
    return evaluate(model or view.model, data, data.x_test, data.y_test, view.task, weigh, batch=together)


def is_other_data(run: Run, dataset: Dataset) -> bool:
    """Whether the run learned from other samples, or from the same split in another way; older runs do not know."""
    return run.config.digest not in (None, dataset.digest())


def run_data(run: Run, net: Net, data_dir: Path | None, data: str | None = None, limit: int | None = None) -> Dataset:
    """The run's data, or that called `data`, as the run's net takes it, with the run's classes and normalisation."""
    config = run.config
    known = wanted_by(config.recipe, net.graph.input_type, net.graph.output_type)
    want = replace(known, names=config.classes, bits=config.bits, rate=config.rate or known.rate, has_constants=True)
    name = run.data
    if data is not None:
        other = with_data(config.recipe, data)
        name, want = other.data, replace(want, options={**want.options, **other.data_options})
        if net.graph.input_type.is_ids:  # nothing of another text was learned
            want = replace(want, val=0.0)
    dataset = load_dataset(name, data_dir, limit if limit or data else config.limit, want=want)
    dataset = adapted(net, dataset)
    return as_trained(dataset, config.classes, config.mean, config.std)
