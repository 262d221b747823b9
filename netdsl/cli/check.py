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
@click.option("--fix", is_flag=True, help="Apply the fixes that are certain to the specs.")
def command(specs: tuple[Path, ...], style: str, fix: bool) -> int:
    """Check specs: syntax, names, shapes, counts, and warnings. Writes nothing, unless with --fix.

    \b
    Examples:
      netdsl check lenet.net
      netdsl check specs/*.net --format concise
      netdsl check --fix lenet.net
    """
    from netdsl.cli import lazy_numpy, say, wants_color

    lazy_numpy()
    from netdsl.diagnostics import render_all, render_concise
    from netdsl.files import write_atomic
    from netdsl.pipeline import check_file, fix_text

    failed = False
    for path in specs:
        net, diagnostics = check_file(path)
        own = [d for d in diagnostics if d.fix and d.span.source.name == str(path)]
        if fix and own:
            text, count = fix_text(own[0].span.source.text, own)
            write_atomic(path, text)
            say(f"{path}: fixed {count}")
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
