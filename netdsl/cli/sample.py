"""`netdsl sample`: what a trained network writes."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--prompt", help="The text to go on with; by default the end of a line.")
@click.option("-n", "count", type=click.IntRange(0, 10**9), default=500, show_default=True, help="So many characters.")
@click.option(
    "--temperature",
    type=click.FloatRange(0, 100),
    default=0.8,
    show_default=True,
    help="Below 1 what is likely becomes likelier; 0 takes the most likely one each time.",
)
@click.option("--top-k", type=click.IntRange(1), help="Draw from the so many most likely ones alone; by default all.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Of what is drawn.")
@click.option("--checkpoint", type=click.Choice(["best", "last", "prev"]), help="By default the best, if there is one.")
@click.option(
    "--cache/--no-cache",
    default=True,
    show_default=True,
    help="Keep what layers made of earlier characters; without, all is computed again, and the text is the same.",
)
def command(
    run: Path,
    prompt: str | None,
    count: int,
    temperature: float,
    top_k: int | None,
    seed: int,
    checkpoint: str | None,
    cache: bool,
) -> None:
    """Write with the network of the folder RUN, which learned a text, and show each character as it comes.

    Where its window is full the second half of it begins the next one; recurrent networks have no window.

    \b
    Examples:
      netdsl sample runs/char_gpt-1
      netdsl sample runs/char_gpt-1 --prompt "ROMEO:" -n 200 --temperature 0.5 --top-k 40
    """
    from netdsl.cli import say
    from netdsl.training.runs.sampling import Sampling, written

    for piece in written(run, prompt, count, Sampling(temperature, top_k, seed, cache), checkpoint, say):
        click.echo(piece, nl=False)
    click.echo()
