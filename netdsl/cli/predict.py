"""`netdsl predict`: what a trained network says about images, recordings, and samples in files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netdsl.cli.options import device_options, engine_flags, flips_option, run_backend_option, seen_mirrored

if TYPE_CHECKING:
    import numpy as np

    from netdsl.graph.types import Tensor
    from netdsl.pipeline import Net
    from netdsl.targets.contract import Model
    from netdsl.training.runs.answer_files import Source
    from netdsl.training.runs.config import RunConfig
    from netdsl.training.runs.engine import Engine
    from netdsl.training.scores.mirrors import Answering
    from netdsl.training.scores.task import Task

BATCH = 256  # images or recordings that are read at once
MAX_SHOWN = 24  # samples in the picture of `--plot`
MAX_NUMBERS = 8  # in a line of text
MAX_TOKENS = 64  # classes of tokens in one


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--invert/--no-invert", default=None, help="Swap light and dark in images; by default if it looks so.")
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="How many classes to name.")
@click.option("--checkpoint", type=click.Choice(["best", "last"]), help="By default the best, if there is one.")
@flips_option()
@run_backend_option()
@device_options()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: file, row, and class or values.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write all answers: a .csv, .npz or .npy, masks in a folder; by default none.",
)
@click.option(
    "--plot", type=click.Path(path_type=Path), help="Write a picture of it, a `.png` or `.svg` file; by default none."
)
def command(
    run: Path,
    files: tuple[Path, ...],
    invert: bool | None,
    top: int,
    checkpoint: str | None,
    as_json: bool,
    out: Path | None,
    plot: Path | None,
    flips: bool,
    **flags: Any,
) -> None:
    """Say what each sample in the FILEs is, with the network of the folder RUN: classes, masks or numbers.

    A FILE is an image, a .wav or a folder of such, an .npz with `x`, an .npy, or a .csv with a row a sample or a step.
    Of tokens it says the class of each. It takes no text: `netdsl eval` measures one, `netdsl sample` goes on with one.
    Images and recordings come to the size and rate that the network takes as in training (else images are resized). A
    picture of black on white is inverted for digits of white on black, which is said. --out writes, and prints nothing.

    \b
    Examples:
      netdsl predict runs/lenet-1 seven.png
      netdsl predict runs/lenet-1 scans/ --top 1 --json
      netdsl predict runs/lenet-1 test.npz --out answers.csv
      netdsl predict runs/resnet20-1 photos/ --flips
      netdsl predict runs/unet_small-1 photos/ --out masks --plot masks.png
    """
    from netdsl.training.runs.engine import engine_threads

    network = _opened(run, checkpoint, out, plot, flips, engine_flags(flags))
    task, total = network.task, 0
    kept: list[tuple[Source, np.ndarray]] = []
    shown: list[_Answered] = []
    with engine_threads(network.engine):
        for sample in _answered(network, files, invert):
            total += 1
            if out:
                kept.append((sample.source, sample.answer))
            else:
                click.echo(_line(sample.source, sample.answer, task, top, as_json))
            if plot and len(shown) < MAX_SHOWN:
                shown.append(sample)
    network.model.close()
    if out:
        _write(kept, task, out)
    if plot:
        _draw(shown, total, network, plot)


@dataclass(frozen=True)
class _Network:
    """The trained network of a run, what gives its answers, the model itself or `--flips`, and what these mean."""

    net: Net
    model: Model
    answering: Answering
    config: RunConfig
    engine: Engine
    task: Task


@dataclass(frozen=True)
class _Answered:
    """A sample (C, ...) as stored, where it comes from, and what the network says of it."""

    source: Source
    x: np.ndarray
    answer: np.ndarray


def _opened(
    run: Path, checkpoint: str | None, out: Path | None, plot: Path | None, flips: bool, flags: dict[str, Any]
) -> _Network:
    """The run's network. Raises UserError where its answers cannot be written or drawn as asked for."""
    from netdsl.cli import say
    from netdsl.training.runs.answer_files import check_out
    from netdsl.training.runs.engine import changed_engine
    from netdsl.training.runs.folder import load_run, read_run
    from netdsl.training.scores.task import decided_task

    _check_plot(plot)
    folder = read_run(run)
    engine = changed_engine(folder.config.engine, flags)
    net, model, _ = load_run(folder, checkpoint, engine=engine)
    config, takes, gives = folder.config, net.graph.input_type, net.graph.output_type
    if config.recipe.fit:
        say(f"note: images of another size are fitted as in training (`fit {config.recipe.fit}`)")
    task = decided_task(net.recipe.loss, takes, gives, config.classes)
    if plot:
        _check_drawable(task, takes, gives)
    if out:
        check_out(out, task, gives)
    mirrored = seen_mirrored(net, model) if flips else None
    if mirrored:
        say(f"note: an answer is the {mirrored.described}")
    return _Network(net, model, mirrored or model, config, engine, task)


def _answered(network: _Network, files: Sequence[Path], invert: bool | None) -> Iterator[_Answered]:
    """Every sample of the files, in their order."""
    from netdsl.training.data.normalization import as_fed
    from netdsl.training.scores.evaluation import answers_of

    net, config = network.net, network.config
    for sources, x in _parts(files, net.graph.input_type, config, invert):
        answers = answers_of(net, network.answering, network.task, as_fed(x, net, config.mean, config.std))
        for sample in zip(sources, x, answers, strict=True):
            yield _Answered(*sample)


def _parts(
    files: Sequence[Path], takes: Tensor, config: RunConfig, invert: bool | None
) -> Iterator[tuple[list[Source], np.ndarray]]:
    """The samples (n, C, ...) of all files as stored, in their order, many together, and where each comes from."""
    from netdsl.cli import say
    from netdsl.training.data.samples import SUFFIXES, read_samples
    from netdsl.training.data.wanted import Wanted

    _check_no_text(files, takes)
    every = [file for path in files for file in _files(path, takes)]
    is_table = [file.suffix.lower() in SUFFIXES for file in every]
    _check_single([file for file, table in zip(every, is_table, strict=True) if not table], takes)
    single: list[Path] = []
    for i, file in enumerate(every):
        if not is_table[i]:
            single.append(file)
        if single and (len(single) == BATCH or is_table[i] or i == len(every) - 1):
            yield [(str(f), None) for f in single], _read_single(single, takes, config, invert)
            single = []
        if is_table[i]:
            x, rows, notes = read_samples(
                file, Wanted(takes, fit=config.recipe.fit, options=config.recipe.data_options)
            )
            for note in notes:
                say(f"note: {note}")
            yield [(str(file), row) for row in rows], x


def first_sample(file: Path, takes: Tensor, config: RunConfig) -> np.ndarray:
    """The image or the recording of a file, or the first sample of a table, (C, ...) as stored. Raises UserError."""
    _, x = next(_parts([file], takes, config, None))
    sample: np.ndarray = x[0]
    return sample


def _read_single(files: Sequence[Path], takes: Tensor, config: RunConfig, invert: bool | None) -> np.ndarray:
    """Images (N, C, H, W) uint8, or recordings (N, C, L) float32, brought to what the network takes as in training."""
    import numpy as np

    from netdsl.cli import say
    from netdsl.training.data.wanted import Wanted
    from netdsl.training.data.wavs import WavReader

    if takes.axes != 1:
        return np.stack(list(read_pixels(files, config, invert)))
    reader = WavReader(files, Wanted(takes, rate=config.rate))
    x = reader.read(files)
    for note in reader.notes():
        say(f"note: {note}")
    return x


def _check_single(files: Sequence[Path], takes: Tensor) -> None:
    """Raises UserError for images and recordings, and whatever else is no table, where the network takes no such."""
    from netdsl.ground.diagnostics import UserError, plain
    from netdsl.training.data.recordings import WAV_FILES
    from netdsl.training.data.samples import SUFFIXES
    from netdsl.training.drawing.tiles import can_be_shown

    ends = (*SUFFIXES, *WAV_FILES.suffixes) if takes.axes == 1 else SUFFIXES
    wrong = [file for file in files if not (WAV_FILES.has(file) if takes.axes == 1 else can_be_shown(takes))]
    if wrong:
        kind = "no recording and no table" if takes.axes == 1 else "no table"
        text = f"`{plain(str(wrong[0]))}` is {kind} of numbers, but the network takes {takes.show()}"
        raise UserError(text, help=f"give a file that ends in {', '.join(ends)}")


def _check_no_text(files: Sequence[Path], takes: Tensor) -> None:
    """Raises UserError for a text: what a network says of each of its characters is no answer that anybody reads."""
    from netdsl.ground.diagnostics import UserError, plain
    from netdsl.training.data.samples import SUFFIXES

    text = next((file for file in files if takes.is_ids and file.suffix.lower() not in SUFFIXES), None)
    if text is not None:
        name = plain(str(text))
        help_text = f"`netdsl sample RUN` goes on with a text, `netdsl eval RUN --data 'text \"{name}\"'` measures one"
        raise UserError(f"`predict` takes arrays of whole numbers, and `{name}` is none", help=help_text)


def _files(path: Path, takes: Tensor) -> list[Path]:
    """The path itself, or the images or recordings of a folder by name. Raises UserError for a folder without any."""
    from netdsl.ground.diagnostics import UserError
    from netdsl.training.data.listing import IMAGE_FILES
    from netdsl.training.data.recordings import WAV_FILES

    if not path.is_dir():
        return [path]
    kind = WAV_FILES if takes.axes == 1 else IMAGE_FILES
    files = sorted(p for p in path.iterdir() if kind.has(p.name) and not p.name.startswith("."))
    if not files:
        raise UserError(f"the folder `{path}` has no {kind.noun}s", help=kind.endings)
    return files


def _check_plot(plot: Path | None) -> None:
    from netdsl.ground.diagnostics import UserError, plain

    if plot and plot.suffix.lower() not in (".png", ".svg"):
        raise UserError(f"cannot draw `{plain(str(plot))}`: a picture ends in .png or .svg")


def _check_drawable(task: Task, takes: Tensor, gives: Tensor) -> None:
    """Raises UserError where there is nothing that a picture could show."""
    from netdsl.ground.diagnostics import UserError
    from netdsl.training.drawing.sketches import no_sketch

    if reason := no_sketch(takes):
        raise UserError(f"`--plot` draws samples, but those of the run are {reason}", help="use `--out FILE.csv`")
    if not task.gives_one_class and not gives.is_map:
        raise UserError("`--plot` draws classes and maps, but the run gives numbers", help="use `--out FILE.csv`")


def _write(kept: Sequence[tuple[Source, np.ndarray]], task: Task, out: Path) -> None:
    """Writes all answers."""
    import numpy as np

    from netdsl.cli import say
    from netdsl.training.runs.answer_files import write_answers

    write_answers(out, task, [source for source, _ in kept], np.stack([answer for _, answer in kept]))
    say(f"{len(kept)} {'answer' if len(kept) == 1 else 'answers'} in {out}")


def _draw(shown: Sequence[_Answered], total: int, network: _Network, plot: Path) -> None:
    """Writes the picture of these samples, the first of so many."""
    from netdsl.cli import say
    from netdsl.ground.files import write_atomic
    from netdsl.training.pictures.kinds import draw_answers, font_note, png_bytes, svg_text

    plot.parent.mkdir(parents=True, exist_ok=True)
    task, graph = network.task, network.net.graph
    samples = [(_name(sample.source, short=True), sample.x, sample.answer) for sample in shown]
    figure = draw_answers(samples, task, graph.input_type, graph.output_type)
    write_atomic(plot, png_bytes(figure) if plot.suffix.lower() == ".png" else svg_text(figure))
    if note := font_note(task.classes):
        say(f"note: {note}")
    if len(shown) < total:
        what = "images" if graph.input_type.is_image else "samples"
        say(f"note: `{plot}` shows the first {len(shown)} of {total} {what}")


def _name(source: Source, short: bool = False) -> str:
    """`seven.png`, `test.npz[3]`."""
    file, row = source
    name = Path(file).name if short else file
    return name if row is None else f"{name}[{row}]"


def read_pixels(files: Sequence[Path], config: RunConfig, invert: bool | None) -> Iterator[np.ndarray]:
    """-> (C, H, W) uint8 of each file, brought to the size that the network takes as in training."""
    from netdsl.cli import say
    from netdsl.training.data.images import is_deep, looks_inverted, read_image

    shape, fit = config.input_shape, config.recipe.fit
    for file in files:
        swap = bool(invert)
        if config.bits is None and is_deep(file):
            say(f"note: `{file}` has 16 bits a pixel, unlike the training data: scaled by its own brightest one")
        if invert is None and looks_inverted(read_image(file, shape, bits=config.bits), config.mean):
            say(f"note: `{file}` is dark on light, unlike the training data: inverted (`--no-invert` keeps it)")
            swap = True
        yield read_image(file, shape, swap, fit, config.bits)


def _line(source: Source, answer: np.ndarray, task: Task, top: int, as_json: bool) -> str:
    """The line about one sample: probabilities (K,), a mask (*space), classes of tokens (T,), or numbers."""
    import json

    from netdsl.ground.diagnostics import plain

    if not as_json:
        return plain(f"{_name(source)}: {_in_words(answer, task, top)}")
    file, row = source
    return json.dumps({"file": file, **({} if row is None else {"row": row}), **_in_json(answer, task, top)})


def _best(answer: np.ndarray, task: Task, top: int) -> list[tuple[str, float]]:
    """The most probable classes, or those that have the most places of a mask, with their shares."""
    import numpy as np

    shares = np.bincount(answer.ravel(), minlength=len(task.classes)) / answer.size if task.kind == "masks" else answer
    best = [(task.classes[i], round(float(shares[i]), 6)) for i in np.argsort(-shares, kind="stable")[:top]]
    return [(name, share) for name, share in best if share] if task.kind == "masks" else best


def _names_of(answer: np.ndarray, task: Task) -> list[str]:
    """The class (T,) of each token by its name."""
    return [task.classes[k] if k < len(task.classes) else str(k) for k in answer.tolist()]


def _in_words(answer: np.ndarray, task: Task, top: int) -> str:
    if task.kind == "tokens":
        names = _names_of(answer, task)
        return " ".join(names[:MAX_TOKENS]) + (f" ... ({len(names)} {task.counts})" if len(names) > MAX_TOKENS else "")
    if task.classes:
        of = f" of the {task.counts}" if task.kind == "masks" else ""
        return ", ".join(f"{name} {share:.1%}" for name, share in _best(answer, task, top)) + of
    if answer.size <= MAX_NUMBERS:
        return ", ".join(f"{value:.6g}" for value in answer.ravel().tolist())
    return f"{answer.size} numbers from {answer.min():.4g} to {answer.max():.4g}, mean {answer.mean():.4g}"


def _in_json(answer: np.ndarray, task: Task, top: int) -> dict[str, object]:
    if not task.classes:
        return {"values": answer.tolist()}
    if task.kind == "tokens":
        return {task.counts: _names_of(answer, task)}
    best = _best(answer, task, top)
    if task.kind == "masks":
        return {task.counts: dict(best), "mask": answer.tolist()}
    named = [{"class": name, "probability": share} for name, share in best]
    return {**named[0], "top": named}
