"""`netdsl compile`: write the NumPy and PyTorch modules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from netdsl.cli.options import level_option

TARGETS = ("numpy", "torch")


@click.command()
@click.argument("specs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--target", "-t", type=click.Choice([*TARGETS, "all"]), default="numpy", show_default=True, help="What to write."
)
@level_option(
    0, "Of the NumPy module: 0 is the textbook, 2 is fast, 1 is fast without mixing numbers of different windows."
)
@click.option(
    "-o",
    "output",
    type=click.Path(path_type=Path),
    help="A .py file, or a folder that gets <spec>_<target>.py; by default stdout.",
)
@click.option("--force", is_flag=True, help="Overwrite files that netdsl did not write.")
def command(specs: tuple[Path, ...], target: str, level: int, output: Path | None, force: bool) -> None:
    """Compile specs to Python. Without -o, one module goes to stdout. Nothing is written if any spec has errors.

    \b
    Examples:
      netdsl compile lenet.net > lenet_numpy.py
      netdsl compile lenet.net -O2 -o lenet_fast.py
      netdsl compile lenet.net --target torch -o lenet_torch.py
      netdsl compile specs/*.net --target all -o generated
    """
    from netdsl.cli import lazy_numpy, say

    lazy_numpy()
    from netdsl.ground.diagnostics import SpecError
    from netdsl.ground.files import write_atomic
    from netdsl.pipeline import compile_file

    targets = TARGETS if target == "all" else (target,)
    if level and "numpy" not in targets:
        raise click.UsageError(f"`-O {level}` is for the NumPy module, and `--target {target}` writes none")
    nets, diagnostics = [], []
    for path in specs:
        try:
            nets.append(compile_file(path))
        except SpecError as error:
            diagnostics += error.diagnostics
    if diagnostics:
        raise SpecError(diagnostics)
    texts = {
        (net.name, name): net.numpy_source(level) if name == "numpy" else net.torch_source()
        for net in nets
        for name in targets
    }
    if len(texts) != len(nets) * len(targets):
        raise click.UsageError("two of these specs would be written to the same file; compile them one by one")
    if output is None:
        if len(texts) > 1:
            raise click.UsageError("several modules need a folder: add `-o FOLDER`")
        click.echo(*texts.values(), nl=False)
        return
    for place, text in _places(texts, output, force).items():
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(place, text)
        say(f"wrote {place}")


def _places(texts: Mapping[tuple[str, str], str], output: Path, force: bool) -> dict[Path, str]:
    """Where each text goes; refuses to overwrite what netdsl did not write."""
    from netdsl.ground.diagnostics import UserError

    if output.suffix.lstrip(".").isalpha() and output.suffix != ".py" and not output.is_dir():
        help_text = f"write `-o {output.with_suffix('.py')}`, or for a folder a name without `{output.suffix}`"
        raise UserError(f"`{output}` is neither a `.py` file nor a folder", help_text)
    if output.suffix == ".py" and not output.is_dir():
        if len(texts) > 1:
            raise click.UsageError("several modules need a folder, not a file: `-o FOLDER`")
        places = dict.fromkeys([output], *texts.values())
    else:
        places = {output / f"{name}_{target}.py": text for (name, target), text in texts.items()}
    for place in places:
        if (
            place.exists()
            and not force
            and not (place.is_file() and b"Written by `netdsl compile" in place.read_bytes()[:1000])
        ):
            raise UserError(f"`{place}` exists and was not written by netdsl", "use another name, or `--force`")
    return places
