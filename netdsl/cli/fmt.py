"""`netdsl fmt`: specs in canonical form."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from netdsl.ground.diagnostics import Diagnostic


@click.command()
@click.argument("specs", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if a spec is not in canonical form.")
@click.option("--diff", "shows_diff", is_flag=True, help="Write nothing; show what would change.")
def command(specs: tuple[Path, ...], check: bool, shows_diff: bool) -> int:
    """Bring specs into canonical form: spaces and indentation; every word and comment stays. `-` reads the spec from
    the standard input and writes it to the standard output; a folder means every `.net` file in it.

    \b
    Examples:
      netdsl fmt lenet.net
      netdsl fmt --check --diff specs
      netdsl fmt - < lenet.net
    """
    from netdsl.cli import lazy_numpy, say
    from netdsl.ground.diagnostics import UserError

    lazy_numpy()
    code = 0
    for path in _files(specs):
        try:
            code = max(code, _format(path, check, shows_diff))
        except BrokenPipeError:
            raise
        except UserError as error:
            say(f"error: {error.message}")
            code = 2
        except OSError as error:
            say(f"error: cannot write `{path}`: {(error.strerror or str(error)).lower()}")
            code = 2
    return code


def _files(specs: tuple[Path, ...]) -> list[Path]:
    """Each file once; a folder's are those in no hidden folder."""
    from netdsl.cli import say

    files: list[Path] = []
    for path in specs:
        if not path.is_dir():
            files.append(path)
            continue
        inside = [file for file in sorted(path.rglob("*.net")) if not file.is_dir() and not _is_hidden(file, path)]
        files += inside
        if not inside:
            say(f"there is no `.net` file in `{path}`")
    return list(dict.fromkeys(files))


def _is_hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


def _format(path: Path, check: bool, shows_diff: bool) -> int:
    """The exit code for one spec, which is written if it differs and nothing else is asked for."""
    from netdsl.cli import say, wants_color
    from netdsl.ground.diagnostics import Diagnostic, render_all
    from netdsl.ground.files import write_atomic
    from netdsl.pipeline import format_text

    name = "stdin.net" if str(path) == "-" else str(path)
    text = _read(path, name)
    formatted, diagnostics = (None, [text]) if isinstance(text, Diagnostic) else format_text(text, name)
    if formatted is None or isinstance(text, Diagnostic):
        click.echo(render_all(diagnostics, wants_color()), err=True)
        return 1
    if shows_diff:
        _show_diff(text, formatted, name)
    if check and formatted != text:
        say(f"{name}: would change")
        return 1
    if check or shows_diff:
        return 0
    if str(path) == "-":
        click.echo(formatted.encode(), nl=False)
    elif formatted != text:
        write_atomic(path, formatted)
        say(f"{name}: formatted")
    return 0


def _read(path: Path, name: str) -> str | Diagnostic:
    """The text, or a Diagnostic where it is not UTF-8. Raises UserError where it cannot be read."""
    from netdsl.language.library import MAX_SOURCE, decode_spec, read_spec

    return decode_spec(sys.stdin.buffer.read(MAX_SOURCE + 1), name) if str(path) == "-" else read_spec(path, name)


def _show_diff(text: str, formatted: str, name: str) -> None:
    import difflib

    from netdsl.ground.diagnostics import plain

    lines = (_lines(text), _lines(formatted))
    for line in difflib.unified_diff(*lines, name, name, "now", "canonical", lineterm=""):
        for piece in line.split("\n"):
            click.echo("\t".join(plain(part) for part in piece.split("\t")))


def _lines(text: str) -> list[str]:
    """Split at new lines only, since a comment may hold U+2028; a last line without one says so, as in `diff`."""
    *lines, last = text.split("\n")
    return [*lines, f"{last}\n\\ No newline at end of file"] if last else lines
