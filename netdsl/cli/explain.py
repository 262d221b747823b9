"""`netdsl explain`: what a code, a layer or a word of the language means."""

from __future__ import annotations

import click


@click.command()
@click.argument("word", required=False)
def command(word: str | None) -> int:
    """Explain a code of a diagnostic (N201), a layer (conv) or a word of the language (block, in.c, schedule).

    A layer's page has its attributes with their defaults, its shape rule, its formula, an example, and what it is in
    PyTorch. Without a word, all codes are listed; `layers` lists the layers.

    \b
    Examples:
      netdsl explain N201
      netdsl explain conv
      netdsl explain layers
      netdsl explain
    """
    from netdsl.cli import lazy_numpy
    from netdsl.ground.diagnostics import CODES, UserError, did_you_mean
    from netdsl.reference.explanations import explanation

    if word is None:
        for known, title in CODES.items():
            click.echo(f"{known}  {title}")
        return 0
    if word.upper() in CODES:
        click.echo(explanation(word.upper()), nl=False)
        return 0
    lazy_numpy()
    from netdsl.language.foreign import layer_named
    from netdsl.reference.layer_pages import page, words

    text = page(word) or page(word.lower())
    if text is None:
        meant = layer_named(word)
        guess = did_you_mean(word.upper(), CODES) or (meant.name if meant else did_you_mean(word, words()))
        help_text = (
            f"did you mean `{guess}`?"
            if guess
            else "`netdsl explain` lists the codes, `netdsl explain layers` the layers"
        )
        raise UserError(f"there is no code, layer or word `{word}`", help_text)
    click.echo(text, nl=False)
    return 0
