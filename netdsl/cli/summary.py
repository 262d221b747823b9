"""`netdsl summary`: every layer with its output, params and MACs."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
@click.option("--svg", type=click.Path(path_type=Path), help="Draw the network into this file as well.")
def command(spec: Path, as_json: bool, svg: Path | None) -> None:
    """Show every layer with its output, params and MACs, the totals, and the memory.

    \b
    Examples:
      netdsl summary lenet.net
      netdsl summary resnet50.net --svg resnet50.svg
    """
    from netdsl.cli import lazy_numpy

    lazy_numpy()
    from netdsl.pipeline import compile_file

    net = compile_file(spec)
    summary = net.summary()
    if svg is not None:
        from netdsl.analysis.diagram import diagram_svg
        from netdsl.files import write_atomic

        write_atomic(svg, diagram_svg(net.graph))
    click.echo(json.dumps(summary.as_dict()) if as_json else str(summary))
