"""`netdsl summary`: every layer with its output, params and MACs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
@click.option(
    "--svg",
    type=click.Path(path_type=Path),
    help="Draw the network into this `.svg` file as well; by default none is written.",
)
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

    if svg is not None and svg.suffix.lower() != ".svg":
        raise click.UsageError(
            f"`--svg` writes SVG, not `{svg.suffix or svg.name}`: write `--svg {svg.with_suffix('.svg')}`"
        )
    net = compile_file(spec)
    summary = net.summary()
    if svg is not None:
        from netdsl.analysis.diagram import diagram_svg
        from netdsl.ground.files import write_atomic

        write_atomic(svg, diagram_svg(net.graph))
    width = shutil.get_terminal_size((0, 0)).columns or None  # COLUMNS, or that of the terminal
    click.echo(json.dumps(summary.as_dict()) if as_json else summary.text(width and max(width, 40)))
