"""`netdsl predict`: what a trained network sees in images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import numpy as np

    from netdsl.training.config import RunConfig

BATCH = 256
MAX_SHOWN = 24  # images in the picture of `--plot`


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--invert/--no-invert", default=None, help="Swap light and dark; by default if it looks so.")
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="How many classes to name.")
@click.option("--checkpoint", type=click.Choice(["best", "last"]), help="By default the best, if there is one.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: file, class, probability, top.")
@click.option(
    "--plot", type=click.Path(path_type=Path), help="Write a picture of it, a `.png` or `.svg` file; by default none."
)
def command(
    run: Path,
    images: tuple[Path, ...],
    invert: bool | None,
    top: int,
    checkpoint: str | None,
    as_json: bool,
    plot: Path | None,
) -> None:
    """Say which class each IMAGE is, with the network of the folder RUN. A folder stands for the images in it.

    Images of any size come to what the network takes as in training (`fit`), else they are resized. Digits are white
    on black in MNIST: a picture of black on white is inverted, and a note on stderr says so.

    \b
    Examples:
      netdsl predict runs/lenet-1 seven.png
      netdsl predict runs/lenet-1 scans/ --top 1 --json
      netdsl predict runs/lenet-1 scans/ --plot scans.png
    """
    import numpy as np

    from netdsl.cli import say
    from netdsl.training.engine import close_model, engine_threads
    from netdsl.training.evaluation import probabilities
    from netdsl.training.normalization import as_fed
    from netdsl.training.runs import load_run, read_run

    _check_plot(plot)
    found = read_run(run)
    net, model, _ = load_run(found, checkpoint)
    _check_classifies(found.config)
    files = [file for path in images for file in _files(path)]
    shown: list[tuple[Path, np.ndarray, np.ndarray]] = []
    if found.config.recipe.fit:
        say(f"note: images of another size are fitted as in training (`fit {found.config.recipe.fit}`)")
    with engine_threads(found.config.engine):
        for start in range(0, len(files), BATCH):
            part = files[start : start + BATCH]
            pixels = np.stack(list(read_pixels(part, found.config, invert)))
            x = as_fed(pixels, net, found.config.mean, found.config.std)
            for file, image, p in zip(part, pixels, probabilities(net, model, x), strict=True):
                click.echo(_line(file, p, found.config.classes, top, as_json))
                shown += [(file, image, p)] if plot and len(shown) < MAX_SHOWN else []
    close_model(model)
    if plot:
        _draw(shown, len(files), found.config.classes, plot)


def _check_classifies(config: RunConfig) -> None:
    from netdsl.diagnostics import UserError

    if not config.classes:
        raise UserError("the run is a regression: it has no classes to predict", help="use `netdsl eval` to measure it")


def _files(path: Path) -> list[Path]:
    """The path itself, or the image files of a folder by name. Raises UserError for a folder without any."""
    from netdsl.diagnostics import UserError
    from netdsl.training.images import SUFFIXES

    if not path.is_dir():
        return [path]
    files = sorted(p for p in path.iterdir() if p.name.lower().endswith(SUFFIXES) and not p.name.startswith("."))
    if not files:
        raise UserError(f"the folder `{path}` has no images", help=f"images end in {', '.join(SUFFIXES)}")
    return files


def _check_plot(plot: Path | None) -> None:
    from netdsl.diagnostics import UserError, plain

    if plot and plot.suffix.lower() not in (".png", ".svg"):
        raise UserError(f"cannot draw `{plain(str(plot))}`: a picture ends in .png or .svg")


def _draw(
    shown: Sequence[tuple[Path, np.ndarray, np.ndarray]], total: int, classes: tuple[str, ...], plot: Path
) -> None:
    """Writes the picture of these images, each with its pixels (C, H, W) and probabilities (K,)."""
    from netdsl.cli import say
    from netdsl.files import write_atomic
    from netdsl.training.plots import draw_images, font_note, png_bytes, svg_text

    plot.parent.mkdir(parents=True, exist_ok=True)
    figure = draw_images([(file.name, pixels, p) for file, pixels, p in shown], classes)
    write_atomic(plot, png_bytes(figure) if plot.suffix.lower() == ".png" else svg_text(figure))
    if note := font_note(classes):
        say(f"note: {note}")
    if len(shown) < total:
        say(f"note: `{plot}` shows the first {len(shown)} of {total} images")


def read_pixels(files: Sequence[Path], config: RunConfig, invert: bool | None) -> Iterator[np.ndarray]:
    """-> (C, H, W) uint8 of each file, brought to the size that the network takes as in training."""
    from netdsl.cli import say
    from netdsl.training.images import is_deep, looks_inverted, read_image

    shape, fit = config.input_shape, config.recipe.fit
    for file in files:
        swap = bool(invert)
        if config.bits is None and is_deep(file):
            say(f"note: `{file}` has 16 bits a pixel, unlike the training data: scaled by its own brightest one")
        if invert is None and looks_inverted(read_image(file, shape, bits=config.bits), config.mean):
            say(f"note: `{file}` is dark on light, unlike the training data: inverted (`--no-invert` keeps it)")
            swap = True
        yield read_image(file, shape, swap, fit, config.bits)


def _line(file: Path, p: np.ndarray, classes: tuple[str, ...], top: int, as_json: bool) -> str:
    """What is said of one image; p (K,) are its probabilities."""
    import json

    import numpy as np

    from netdsl.diagnostics import plain

    best = [(classes[i], round(float(p[i]), 6)) for i in np.argsort(-p, kind="stable")[:top]]
    if not as_json:
        return plain(f"{file}: " + ", ".join(f"{name} {share:.1%}" for name, share in best))
    named = [{"class": name, "probability": share} for name, share in best]
    return json.dumps({"file": str(file), **named[0], "top": named})
