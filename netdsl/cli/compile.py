"""`netdsl compile`: write what the targets make of specs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from netdsl.cli.options import LateHelp, NameOf, level_option, levels_text
from netdsl.ground.samples import SAMPLES
from netdsl.targets.registry import DEFAULT, levels_of, plain_writers, target_of, targets, writers

if TYPE_CHECKING:
    from netdsl.ground.diagnostics import Diagnostic
    from netdsl.pipeline import Net
    from netdsl.targets.contract import Target

ALL = "all"


def _suffixes() -> list[str]:
    """How the names of the files end that targets write."""
    return list(dict.fromkeys(one.suffix for one in targets() if one.emit is not None))


def _target_help() -> str:
    """What `--target` takes, and what `all` leaves out."""
    plain = plain_writers()
    left_out = [name for name in writers() if name not in plain]
    return f"What to write; `all` leaves out {' and '.join(left_out)}." if left_out else "What to write."


def _output_help() -> str:
    """What `-o` takes."""
    return f"A {' or '.join(_suffixes())} file, or a folder that gets <spec>_<target>.py; by default stdout."


@click.command()
@click.argument("specs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--target",
    "-t",
    type=NameOf(writers, ALL),
    default=DEFAULT,
    show_default=True,
    cls=LateHelp,
    text=_target_help,
)
@level_option(0, levels_text)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=2 * SAMPLES,
    show_default=True,
    help="At -O2: the samples of a batch, shared by two workers, for which algorithms are chosen.",
)
@click.option(
    "--workers",
    type=click.Choice(["threads", "processes"]),
    default="threads",
    show_default=True,
    help="At -O1 and -O2: what shares a batch. Processes are faster where there are many small layers.",
)
@click.option("-o", "output", type=click.Path(path_type=Path), cls=LateHelp, text=_output_help)
@click.option("--force", is_flag=True, help="Overwrite files that netdsl did not write.")
def command(
    specs: tuple[Path, ...], target: str, level: int, batch: int, workers: str, output: Path | None, force: bool
) -> None:
    """Compile specs to Python. Without -o, one module goes to stdout. Nothing is written if any spec has errors.

    \b
    Examples:
      netdsl compile lenet.net > lenet_numpy.py
      netdsl compile lenet.net -O2 -o lenet_fast.py
      netdsl compile lenet.net -O2 --batch 1 -o lenet_one.py
      netdsl compile lenet.net -O2 --workers processes -o lenet_forked.py
      netdsl compile lenet.net --target torch -o lenet_torch.py
      netdsl compile lenet.net --target cupy -o lenet_cupy.py
      netdsl compile specs/*.net --target all -o generated
    """
    from netdsl.cli import lazy_numpy, say

    lazy_numpy()
    from netdsl.ground.files import write_atomic

    chosen = _at_level(target, level)
    if workers != "threads" and not any(one.has_workers for one in chosen):
        raise click.UsageError(f"`--workers {workers}` is for modules that have some: add `-O2`")
    nets = [net.for_samples(max(1, batch // 2)).with_workers(workers) for net in _checked(specs)]
    texts = {
        (net.name, f"_{one.name}{one.suffix}"): net.text(one.name, level if level in one.levels else 0)
        for net in nets
        for one in chosen
    }
    if len(texts) != len(nets) * len(chosen):
        raise click.UsageError("two of these specs would be written to the same file; compile them one by one")
    if output is None:
        if len(texts) > 1:
            raise click.UsageError("several modules need a folder: add `-o FOLDER`")
        (text,) = texts.values()
        click.echo(text, nl=False)
        return
    suffixes = list(dict.fromkeys(one.suffix for one in chosen))
    for place, text in _places(texts, output, suffixes, force).items():
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(place, text)
        say(f"wrote {place}")


def _checked(specs: Sequence[Path]) -> list[Net]:
    """The networks of the specs. Raises SpecError with every diagnostic."""
    from netdsl.ground.diagnostics import SpecError
    from netdsl.pipeline import compile_file

    nets: list[Net] = []
    diagnostics: list[Diagnostic] = []
    for path in specs:
        try:
            nets.append(compile_file(path))
        except SpecError as error:
            diagnostics += error.diagnostics
    if diagnostics:
        raise SpecError(diagnostics)
    return nets


def _at_level(name: str, level: int) -> list[Target]:
    """The targets of that name, or of all, each at that level or at 0. Raises UsageError where none has the level."""
    chosen = plain_writers() if name == ALL else [name]
    if level and not any(level in levels_of(one) for one in chosen):
        those = dict.fromkeys(one.describe for one in targets() if level in one.levels and one.emit is not None)
        raise click.UsageError(f"`-O {level}` is for {' and '.join(those)}, and `--target {name}` writes none")
    return [target_of(one, level if level in levels_of(one) else 0) for one in chosen]


def _places(
    texts: Mapping[tuple[str, str], str], output: Path, suffixes: Sequence[str], force: bool
) -> dict[Path, str]:
    """Where the text of each spec and ending goes; refuses to overwrite what netdsl did not write."""
    from netdsl.ground.diagnostics import UserError

    if output.suffix.lstrip(".").isalpha() and output.suffix not in suffixes and not output.is_dir():
        help_text = f"write `-o {output.with_suffix(suffixes[0])}`, or for a folder a name without `{output.suffix}`"
        raise UserError(f"`{output}` is neither a `{'` or `'.join(suffixes)}` file nor a folder", help_text)
    if output.suffix in suffixes and not output.is_dir():
        if len(texts) > 1:
            raise click.UsageError("several modules need a folder, not a file: `-o FOLDER`")
        places = dict.fromkeys([output], *texts.values())
    else:
        places = {output / f"{name}{ending}": text for (name, ending), text in texts.items()}
    for place in places:
        if (
            place.exists()
            and not force
            and not (place.is_file() and b"Written by `netdsl compile" in place.read_bytes()[:1000])
        ):
            raise UserError(f"`{place}` exists and was not written by netdsl", "use another name, or `--force`")
    return places
