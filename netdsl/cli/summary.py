"""`netdsl summary`: every layer with its output, params and MACs."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
def command(spec: Path, as_json: bool) -> None:
    """Show every layer with its output, params and MACs, the totals, and the memory.

    \b
    Example:
      netdsl summary lenet.net
    """
    from netdsl.cli import lazy_numpy

    lazy_numpy()
    from netdsl.pipeline import compile_file

    summary = compile_file(spec).summary()
    click.echo(json.dumps(summary.as_dict()) if as_json else str(summary))
