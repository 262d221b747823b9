"""`netdsl fmt`: specs in canonical form."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("specs", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if a spec is not in canonical form.")
@click.option("--diff", "shows_diff", is_flag=True, help="Write nothing; show what would change.")
def command(specs: tuple[Path, ...], check: bool, shows_diff: bool) -> int:
    """Bring specs into canonical form: spaces and indentation; every word, comment and line break stays. `-` reads the
    spec from the standard input and writes it to the standard output; a folder means every `.net` file in it.

    \b
    Examples:
      netdsl fmt lenet.net
      netdsl fmt --check --diff specs
      netdsl fmt - < lenet.net
    """
    from netdsl.cli import say, wants_color
    from netdsl.diagnostics import UserError, render_all
    from netdsl.files import write_atomic
    from netdsl.pipeline import format_text

    failed, failure, changed = False, None, 0
    for path in _files(specs):
        try:
            text, name = _read(path)
        except UserError as error:
            failure = error
            say(f"error: {error.message}")
            continue
        formatted, diagnostics = format_text(text, name)
        if formatted is None:
            click.echo(render_all(diagnostics, wants_color()), err=True)
            failed = True
            continue
        differs = formatted.encode() != _bytes(path, text)
        changed += differs
        if shows_diff and differs:
            _show_diff(text, formatted, name)
        if str(path) == "-":
            if not check and not shows_diff:
                click.echo(formatted, nl=False)
        elif differs and check:
            say(f"{name}: would change")
        elif differs and not shows_diff:
            write_atomic(path, formatted)
            say(f"{name}: formatted")
    if failure is not None:
        return 2
    return int(failed or (check and changed > 0))


def _files(specs: tuple[Path, ...]) -> list[Path]:
    return [file for path in specs for file in (sorted(path.rglob("*.net")) if path.is_dir() else [path])]


def _read(path: Path) -> tuple[str, str]:
    """Text and shown name. Raises UserError."""
    from netdsl.diagnostics import Diagnostic, UserError
    from netdsl.library import decode_spec, read_spec

    if str(path) == "-":
        text = decode_spec(click.get_binary_stream("stdin").read(), "stdin.net")
    else:
        text = read_spec(path, str(path))
    if isinstance(text, Diagnostic):
        raise UserError(f"`{text.span.source.name}`: {text.message}")
    return text, "stdin.net" if str(path) == "-" else str(path)


def _bytes(path: Path, text: str) -> bytes:
    return text.encode() if str(path) == "-" else path.read_bytes()


def _show_diff(text: str, formatted: str, name: str) -> None:
    import difflib

    from netdsl.diagnostics import plain

    lines = (text.splitlines(), formatted.splitlines())
    for line in difflib.unified_diff(*lines, name, name, "now", "canonical", lineterm=""):
        click.echo(plain(line))
