"""A training from its beginning or from where it was stopped, in a folder that no other process trains in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netdsl.analysis.plain import require_plain
from netdsl.bench.tuning import tuned
from netdsl.graph.recipe import SCHEDULES, Recipe
from netdsl.ground.diagnostics import UserError, plain
from netdsl.ground.ranks import ALONE, Ranks
from netdsl.ground.reading import shown
from netdsl.language.train_block import with_data, with_entries
from netdsl.pipeline import Net, compile_file
from netdsl.stages.workers import available_cores
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.feed import check_batches
from netdsl.training.data.normalization import for_network, notes_on, with_constants
from netdsl.training.data.wanted import wanted_by
from netdsl.training.loop.epochs import train
from netdsl.training.loop.shares import notes_on_ranks
from netdsl.training.loop.watch import Result, Watch
from netdsl.training.runs.config import config_of, what_changed, write_setup
from netdsl.training.runs.engine import Engine
from netdsl.training.runs.folder import discard, extended, locked, read_run, result_path, run_net, starting, with_engine
from netdsl.training.runs.views import is_other_data, run_data
from netdsl.training.scores.evaluation import fitted
from netdsl.training.scores.fitting import adapted

if TYPE_CHECKING:
    from netdsl.training.data.dataset import Dataset

ENTRIES = ("opt", "schedule", "loss", "augment", "clip", "ema", "stop", "fit", "monitor", "steps")
"""What settings say as a train block does."""


@dataclass(frozen=True)
class Session:
    """What is about to be trained, in the folder `run`, which is locked; `name` is the spec's."""

    name: str
    net: Net
    dataset: Dataset
    engine: Engine
    run: Path
    is_resumed: bool = False
    ranks: Ranks = ALONE

    def train(self, watch: Watch | None = None) -> Result:
        """Trains the network, see `netdsl.training.loop.epochs.train`."""
        return train(self.net, self.dataset, self.engine, self.run, watch, self.is_resumed, self.ranks)


@contextmanager
def started(
    net: Net,
    engine: Engine,
    data_dir: Path | None = None,
    limit: int | None = None,
    out: Path | None = None,
    autotune: bool = True,
    on_note: Callable[[str], None] = lambda _: None,
    ranks: Ranks = ALONE,
) -> Iterator[Session]:
    """A new run of the net, in the folder `out` or `runs/<net>-<n>`; nothing of it stays if it fails before its first
    step. on_note is told what was changed in the data on reading. ranks: this process is the first of them. Raises
    UserError, OSError."""
    engine = _ready(engine, ranks)
    require_plain(net.graph, "training on a data set")
    want = wanted_by(net.recipe, net.graph.input_type, net.graph.output_type)
    dataset = adapted(net, load_dataset(net.recipe.data, data_dir, limit, want=want))
    for note in (*dataset.notes, *notes_on(net, dataset), *notes_on_ranks(net, engine, ranks)):
        on_note(f"note: {note}")
    net = fitted(net, dataset)
    check_batches(net, dataset)
    net = with_constants(net, dataset.mean, dataset.std)
    if engine.threads:
        net = net.for_samples(max(1, net.recipe.batch // engine.threads))
    if engine.is_tuned and engine.threads and autotune:  # what is tuned has workers, and so threads
        net = tuned(net)
    with starting(net.name, out) as run, locked(run):
        ranks.note_begun(run)
        write_setup(run, net.source.text, config_of(net, dataset, engine, limit), net.used, ranks.count)
        yield Session(net.name, net, for_network(dataset, net), engine, run, ranks=ranks)


@contextmanager
def resumed(
    path: Path,
    data_dir: Path | None = None,
    epochs: int | None = None,
    on_note: Callable[[str], None] = lambda _: None,
    change: Callable[[Engine], Engine] = lambda engine: engine,
    ranks: Ranks = ALONE,
    steps: int | None = None,
) -> Iterator[Session]:
    """A run to go on with, up to so many epochs, or steps where it is counted in these (None: its own).

    on_note is told what may keep it from the bytes of a run that was never stopped. change: its engine -> the one that
    goes on with it. ranks: this process is the first of them.
    Raises UserError, SpecError, OSError.
    """
    read_run(path)  # nothing is written into a folder that is none
    with locked(path):
        run = read_run(path)  # again: another process may have ended it while this one waited
        net = run_net(run)
        dataset = run_data(run, net, data_dir)
        if is_other_data(run, dataset):
            text = (
                f"the data `{plain(run.data)}` is not what the run {shown(path)} began with, or is split in another way"
            )
            raise UserError(text, help="bring it back as it was, or begin another run")
        engine = _ready(change(run.config.engine), ranks)
        run = with_engine(extended(run, epochs, steps), engine)
        if (epochs or steps) is not None and SCHEDULES[run.config.recipe.schedule].by_length:
            length = f"{epochs} epochs" if steps is None else f"{steps} steps"
            on_note(f"the schedule `{run.config.recipe.schedule}` is that of {length} from here on")
        for other in what_changed(path, ranks.count, engine.target.needs):
            on_note(f"{plain(other)}: the weights may differ in their last bits from those of a run without a stop")
        net = net.with_recipe(run.config.recipe)
        ranks.note_begun(path)
        yield Session(run.config.spec, net, for_network(dataset, net), engine, path, True, ranks)


def reopened(
    run: Path,
    begin: Callable[[], AbstractContextManager[Session]],
    data_dir: Path | None,
    on_note: Callable[[str], None],
    ranks: Ranks,
) -> AbstractContextManager[Session]:
    """The session of a command that was started anew by its launcher, which knows that it began `run` before.

    begin: begins it anew, where it ended before the run's setup was written.
    """
    if not (run / "env.json").exists():  # the last file of the setup
        discard(run)
        return begin()
    on_note(f"the processes were started anew: they go on with {shown(run)}")
    result_path(run).unlink(missing_ok=True)  # one of them ended after that
    return resumed(run, data_dir, None, on_note, ranks=ranks)


@contextmanager
def joined(path: Path, is_resumed: bool, data_dir: Path | None, ranks: Ranks) -> Iterator[Session]:
    """The session that the first of several processes opened in the folder `path`, as another one has it, which reads
    what the first wrote and writes nothing. Raises UserError, SpecError, OSError."""
    run = read_run(path)
    net = run_net(run)
    dataset = run_data(run, net, data_dir)
    if ranks.is_first_here and is_other_data(run, dataset):  # one of each machine reads all of it
        text = f"the data `{plain(run.data)}` is another here than where rank 0 reads it"
        raise UserError(text, help="all machines need the same data, under the same path")
    run.config.engine.check()
    ranks.check(run.config.engine.device.name, run.config.engine.device.is_sharded)
    yield Session(run.config.spec, net, for_network(dataset, net), run.config.engine, path, is_resumed, ranks)


def _ready(engine: Engine, ranks: Ranks) -> Engine:
    """The engine with as many workers as there are cores, where it has some. Raises UserError where it cannot run."""
    if ranks.are_many and not engine.has_devices:
        text = f"{ranks.count} processes share a batch by PyTorch, not by `--backend {engine.backend}`"
        raise UserError(text, help="add `--backend torch`, or start one process without torchrun")
    engine.check()
    ranks.check(engine.device.name, engine.device.is_sharded)
    return replace(engine, threads=available_cores()) if engine.has_workers and not engine.threads else engine


def check_unchanged(spec: Path, run: Path) -> None:
    """Raises UserError where the spec is not what the run trains."""
    net, own = compile_file(spec), run_net(read_run(run))
    measured = with_constants(net, own.graph.mean, own.graph.std)  # as they were written into the run's copy
    if own.source.text not in (net.source.text, measured.source.text):
        text = f"`{spec}` is not what the run `{run}` trains: it has changed since"
        raise UserError(text, help=f"`netdsl train --resume {run}` goes on with the run's own copy")


def with_settings(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """The recipe with what is not None of the settings, as the command line has them: fields, `lr`, and the ENTRIES as
    text. Raises UserError."""
    given = {name: value for name, value in settings.items() if value is not None}
    if "epochs" in given and "steps" in given:
        raise UserError("`epochs` and `steps` both say how long the run is", help="leave one of the two out")
    if "epochs" in given:
        given |= {"steps": None, "every": None}
    entries = {name: str(given.pop(name)) for name in ENTRIES if given.get(name) is not None}
    lr = given.pop("lr", None)
    data = given.pop("data", None)
    recipe = with_entries(replace(recipe, **given), entries)
    recipe = recipe if data is None else with_data(recipe, data)
    return recipe if lr is None else replace(recipe, options={**recipe.options, "lr": lr})
