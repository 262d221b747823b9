"""`netdsl verify`: do all back ends compute the same?"""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option(
    "--batch", type=click.IntRange(1), default=3, show_default=True, help="Samples in the batch that is compared."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Decides the numbers.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
def command(spec: Path, batch: int, seed: int, as_json: bool) -> int:
    """Run the layer objects, the NumPy module and the PyTorch module on the same numbers and compare everything.

    Outputs in evaluation and training mode, gradients by the input and by every param, buffers, five steps of the
    optimizer, and a numerical gradient check in float64. Exit code 1 when any check fails.

    \b
    Example:
      netdsl verify lenet.net
    """
    from netdsl.cli import say
    from netdsl.pipeline import compile_file
    from netdsl.verify.agreement import verify

    report = verify(compile_file(spec), batch=batch, seed=seed)
    if as_json:
        click.echo(json.dumps(report.as_dict()))
    else:
        click.echo(str(report))
        for note in report.notes:
            say(f"note: {note}")
    return 0 if report.ok else 1
