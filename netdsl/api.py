"""What the commands do, from Python: train a net, look into a run."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from netdsl.pipeline import Net
from netdsl.training.data.dataset import Dataset
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.places import data_dir
from netdsl.training.loop.session import started, with_settings
from netdsl.training.loop.watch import Result, Watch
from netdsl.training.runs import views
from netdsl.training.runs.engine import Engine
from netdsl.training.runs.folder import read_run
from netdsl.training.runs.history import History
from netdsl.training.runs.history import read_history as history_of


def train(
    net: Net,
    out: Path | str | None = None,
    limit: int | None = None,
    engine: Engine | None = None,
    watch: Watch | None = None,
    **settings: object,
) -> Result:
    """Trains as the spec's train block says, and keeps a run folder: `out`, or runs/<net>-<n>.

    result = netdsl.train(net, data="mnist-mini", epochs=3, opt="sgd lr=0.1 momentum=0.9", augment="shift=2")
    result.history  # shows itself in a notebook
    result.run      # the folder, for netdsl.open_run and the commands

    settings, which win over the spec: data, val, epochs, batch, accumulate, seed, init, lr; and opt, schedule, loss,
    augment, clip, ema, stop, fit, monitor, steps, written as in a train block. limit: use only the first samples.
    watch.on_note is told what was changed in the data on reading. engine: what computes, by default the fast NumPy
    module:

    netdsl.train(net, engine=netdsl.Engine("torch", device=netdsl.Device("cpu", amp="bfloat16")))

    Raises UserError, TrainingFailed, OSError.
    """
    net = net.with_recipe(with_settings(net.recipe, settings))
    place, on_note = Path(out) if out else None, watch.on_note if watch else lambda _: None
    with started(net, engine or Engine(), data_dir(), limit, place, on_note=on_note) as session:
        return session.train(watch)


def load_data(name: str = "mnist-mini") -> Dataset:
    """A data set by its name or path, as `--data` takes them: `data.x_train`, `data.y_train`, `data.x_test`,
    `data.y_test`, `data.classes`. Samples that are not in memory are read by rows, `data.x_train[:10]`. Raises
    UserError."""
    return load_dataset(name, data_dir())


def open_run(
    run: Path | str, which: str | None = None, engine: Engine | None = None
) -> AbstractContextManager[views.RunView]:
    """A run to look into: `with netdsl.open_run("runs/lenet-1") as view: view.model.predict(view.dataset.x_test)`.

    which: "best" or "last"; None takes the best, if there is one. engine: what computes; None is what trained the run,
    and `netdsl.Engine()` does without PyTorch. Raises UserError, SpecError, OSError.
    """
    return views.open_run(Path(run), data_dir(), which, change=lambda own: engine or own)


def read_history(run: Path | str) -> History:
    """The epochs of a run so far; shows itself in a notebook. Raises UserError."""
    return history_of(Path(run), read_run(Path(run)).config.recipe.monitor)
