"""`netdsl check`: is the spec right?"""

from __future__ import annotations

import json
from pathlib import Path

import click


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
def command(specs: tuple[Path, ...], style: str) -> int:
    """Check specs: syntax, names, shapes, counts. Writes nothing.

    \b
    Examples:
      netdsl check lenet.net
      netdsl check specs/*.net --format concise
    """
    from netdsl.cli import lazy_numpy, say, wants_color

    lazy_numpy()
    from netdsl.diagnostics import render_all, render_concise
    from netdsl.pipeline import check_file

    failed = False
    for path in specs:
        net, diagnostics = check_file(path)
        failed |= net is None
        if style == "json":
            for diagnostic in diagnostics:
                click.echo(json.dumps(diagnostic.as_dict()))
        elif style == "concise":
            for diagnostic in diagnostics:
                click.echo(render_concise(diagnostic))
        else:
            if diagnostics:
                click.echo(render_all(diagnostics, wants_color()), err=True)
            if net is not None:
                say(f"{path}: ok, {net.graph.num_params:_} params")
            else:
                count = sum(d.level == "error" for d in diagnostics)
                say(f"{path}: {count} error{'s' if count != 1 else ''}")
    return int(failed)
