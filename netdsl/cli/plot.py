"""`netdsl plot`: pictures of a training run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netdsl.cli.options import device_options, engine_flags, run_backend_option
from netdsl.training.data.places import data_dir

if TYPE_CHECKING:
    from netdsl.training.drawing.style import Figure
    from netdsl.training.runs.views import RunView

SUBJECT = {  # kinds that these options are for
    "image": ("features", "receptive", "attention"),
    "sample": ("features", "receptive", "attention"),
    "layer": ("features", "receptive"),
    "text": ("attention",),
}


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("kinds", metavar="[KIND]...", nargs=-1)
@click.option(
    "--image",
    type=click.Path(path_type=Path),
    help="Show this image or recording, or the first sample of a table, in `features`, `receptive` and "
    "`attention`; by default a test sample.",
)
@click.option("--sample", type=click.IntRange(0), help="Or this test sample, counted from 0; by default the first.")
@click.option(
    "--layer", help="The layer that `features` and `receptive` show, by its full name; by default netdsl chooses it."
)
@click.option(
    "--text", help="Show this text in `attention`; by default the beginning of the text it did not learn from."
)
@click.option("--checkpoint", type=click.Choice(["best", "last"]), help="By default the best, if there is one.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["png", "svg", "both"]),
    default="both",
    show_default=True,
    help="What to write.",
)
@click.option("--out", type=click.Path(path_type=Path), help="The folder for the pictures; by default RUN/plots.")
@run_backend_option()
@device_options()
def command(
    run: Path,
    kinds: tuple[str, ...],
    image: Path | None,
    sample: int | None,
    layer: str | None,
    text: str | None,
    checkpoint: str | None,
    form: str,
    out: Path | None,
    **flags: Any,
) -> None:
    """Draw pictures of the run in the folder RUN, of these KINDs or of all that fit it, and print their paths.

    Without KIND and options report.html is written as well; `netdsl train` ends with that.

    \b
    curves       loss, accuracy and learning rate over the epochs or steps
    confusion    which classes are taken for which
    roc          of two classes both shares over all thresholds
    masks        input, true and predicted classes of its places, worst and best
    regression   what was predicted against what is true, and the errors
    reconstructions  input, output and difference
    mistakes     the wrong answers the network was surest of
    predictions  test samples with the probabilities of their classes
    saliency     where test samples decide of their class; of images only if named
    filters      the weights of the first layer
    features     what a layer makes of a sample
    attention    which tokens each token reads, layer by layer and head by head
    statistics   activations and gradients, layer by layer
    receptive    what units see of a sample, and what they look at
    augmentation  training samples as stored and as four epochs saw them; only if named

    \b
    Examples:
      netdsl plot runs/lenet-1
      netdsl plot runs/lenet-1 curves confusion --format svg
      netdsl plot runs/lenet-1 features --layer conv2 --image seven.png
      netdsl plot runs/char_gpt-1 attention --text "ROMEO: I am"
    """
    from netdsl.training.pictures.gallery import draw_all

    about: dict[str, Any] = {"image": image, "sample": sample, "layer": layer, "text": text}
    _check_options(kinds, about)
    is_all = not kinds and {*about.values(), checkpoint, out} == {None} and form == "both"
    with _opened(run, checkpoint, flags) as view:
        if is_all:
            _echo(draw_all(view))
        else:
            _save(_drawn(view, kinds, about), out or run / "plots", form)


@contextmanager
def _opened(run: Path, checkpoint: str | None, flags: dict[str, Any]) -> Iterator[RunView]:
    """The run, which the engine of the flags computes; a note where its classes cannot be written in pictures."""
    from netdsl.cli import say
    from netdsl.training.pictures.kinds import font_note
    from netdsl.training.runs.engine import changed_engine
    from netdsl.training.runs.views import open_run

    change = partial(changed_engine, given=engine_flags(flags))
    with open_run(run, data_dir(), checkpoint, on_note=say, change=change) as view:
        if note := font_note(view.task.drawn_classes):
            say(f"note: {note}")
        yield view


def _drawn(view: RunView, kinds: tuple[str, ...], about: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """The kinds by name, or the usual ones, with their pictures; about: what they are to show, by option."""
    from netdsl.cli.predict import first_sample
    from netdsl.training.pictures.kinds import figures, usual_kinds

    image = about["image"] and first_sample(about["image"], view.net.graph.input_type, view.run.config)
    options = {**about, "image": image, "sample": about["sample"] or 0}
    return figures(view, dict.fromkeys(kinds) or usual_kinds(view), **options)


def _save(drawn: Iterable[tuple[str, Figure]], folder: Path, form: str) -> None:
    """Write each picture in that form, or in `both`, and print its path."""
    from netdsl.training.pictures.kinds import FORMATS, save

    for kind, figure in drawn:
        folder.mkdir(parents=True, exist_ok=True)
        _echo(save(figure, folder / kind, FORMATS if form == "both" else (form,)))


def _echo(paths: Iterable[Path]) -> None:
    for path in paths:
        click.echo(path)


def _check_options(kinds: tuple[str, ...], about: Mapping[str, object]) -> None:
    """Raises UserError for options that would change nothing; about: what pictures are to show, by option."""
    from netdsl.ground.diagnostics import UserError

    given = [name for name, value in about.items() if value is not None]
    if "image" in given and "sample" in given:
        raise UserError("`--image` and `--sample` exclude each other", help="leave out one")
    for name in given:
        if kinds and not set(SUBJECT[name]) & set(kinds):
            *others, last = (f"`{kind}`" for kind in SUBJECT[name])
            those = f"{', '.join(others)} and {last}" if others else last
            text = f"`--{name}` changes nothing here: it is for {those}"
            raise UserError(text, help=f"leave it out, or add `{SUBJECT[name][0]}`")
