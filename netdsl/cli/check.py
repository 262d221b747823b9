"""`netdsl check`: is the spec right?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from netdsl.ground.diagnostics import plain

if TYPE_CHECKING:
    from netdsl.ground.diagnostics import Diagnostic
    from netdsl.pipeline import Net


@click.command()
@click.argument("specs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "style",
    type=click.Choice(["human", "concise", "json"]),
    default="human",
    show_default=True,
    help="How diagnostics are shown; json is one object a line.",
)
@click.option("--fix", is_flag=True, help="Apply the edits that are certain to help to the specs.")
@click.option("--diff", is_flag=True, help="With --fix: show the edits, and write nothing.")
def command(specs: tuple[Path, ...], style: str, fix: bool, diff: bool) -> int:
    """Check specs: syntax, names, shapes, counts, and warnings. Writes nothing, unless with --fix.

    An edit is certain where the spec, checked again, no longer has what it was made for, and nothing new at its place.
    `# netdsl: ignore N604` at the end of a line takes a warning back.

    \b
    Examples:
      netdsl check lenet.net
      netdsl check specs/*.net --format concise
      netdsl check --fix lenet.net
      netdsl check --fix --diff lenet.net
    """
    from netdsl.cli import lazy_numpy

    lazy_numpy()
    from netdsl.pipeline import check_file

    if diff and not fix:
        raise click.UsageError("`--diff` shows what `--fix` would change: write `--fix --diff`")
    failed = False
    for path in specs:
        net, diagnostics = (_fixed if fix and not diff else check_file)(path)
        if diff:
            _show_diff(path)
        _show(path, None if net is None else net.graph.num_params, diagnostics, style)
        failed |= net is None
    return int(failed)


def _edits(path: Path) -> tuple[str, str, int]:
    """The text of a spec, what `--fix` makes of it, and by how many edits."""
    from netdsl.language.library import read_spec
    from netdsl.pipeline import fix_text

    text = read_spec(path, str(path))
    if not isinstance(text, str):
        return "", "", 0
    return text, *fix_text(text, str(path), path.resolve().parent)


def _fixed(path: Path) -> tuple[Net | None, list[Diagnostic]]:
    """Writes what is certain, and checks what was written."""
    from netdsl.cli import say
    from netdsl.ground.files import write_atomic
    from netdsl.pipeline import check_file

    _, text, count = _edits(path)
    if count:
        write_atomic(path, text)
        say(f"{path}: fixed {count}")
    return check_file(path)


def _show_diff(path: Path) -> None:
    """A unified diff on stdout, and how many edits it has."""
    from difflib import unified_diff

    from netdsl.cli import say

    text, changed, count = _edits(path)
    before, after = text.splitlines(), changed.splitlines()
    for line in unified_diff(before, after, fromfile=str(path), tofile=f"{path} (fixed)", lineterm=""):
        click.echo(plain(line))
    say(f"{path}: {count} can be fixed" if count else f"{path}: nothing can be fixed for certain")


def _show(path: Path, params: int | None, diagnostics: list[Diagnostic], style: str) -> None:
    """The diagnostics in the chosen style, and for a person a last line."""
    from netdsl.cli import say, wants_color
    from netdsl.ground.diagnostics import render_all, render_concise

    if style == "json":
        for diagnostic in diagnostics:
            click.echo(json.dumps(diagnostic.as_dict()))
    elif style == "concise":
        for diagnostic in diagnostics:
            click.echo(render_concise(diagnostic))
    else:
        if diagnostics:
            click.echo(render_all(diagnostics, wants_color()), err=True)
        errors = sum(d.level == "error" for d in diagnostics)
        say(
            f"{path}: {errors} error{'s' if errors != 1 else ''}"
            if params is None
            else f"{path}: ok, {params:_} params"
        )
