"""`netdsl explain`: what a code means, with a wrong and a right example."""

from __future__ import annotations

import click


@click.command()
@click.argument("code", required=False)
def command(code: str | None) -> int:
    """Explain a code of a diagnostic, such as N201; without a code, list them all.

    \b
    Examples:
      netdsl explain N201
      netdsl explain
    """
    from netdsl.diagnostics import CODES, UserError, did_you_mean
    from netdsl.explanations import explanation

    if code is None:
        for known, title in CODES.items():
            click.echo(f"{known}  {title}")
        return 0
    if code.upper() not in CODES:
        guess = did_you_mean(code.upper(), CODES)
        help_text = f"did you mean `{guess}`?" if guess else "`netdsl explain` lists them"
        raise UserError(f"there is no code `{code}`", help_text)
    click.echo(explanation(code.upper()), nl=False)
    return 0
