"""Small pieces of HTML for notebooks. templates/notebook.html.j2 lays them out; Jinja escapes every text in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Protocol, cast


class _Pieces(Protocol):
    """The macros of templates/notebook.html.j2."""

    def paragraph(self, words: str) -> str: ...
    def heading(self, words: str) -> str: ...
    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]], texts: int, foot: Sequence[str]) -> str: ...
    def beside(self, parts: Sequence[str]) -> str: ...
    def terminal(self, pieces: Sequence[tuple[str, str]]) -> str: ...


@cache
def _pieces() -> _Pieces:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # here, since only a notebook has use for it

    environment = Environment(
        loader=PackageLoader("netdsl.ground"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return cast(_Pieces, environment.get_template("notebook.html.j2").module)


def paragraph(words: str) -> str:
    """A paragraph, no wider than is good to read."""
    return str(_pieces().paragraph(words))


def heading(words: str) -> str:
    """A line that stands out."""
    return str(_pieces().heading(words))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: int, foot: Sequence[str] = ()) -> str:
    """A table that scrolls where it is long or wide; the last `numbers` columns are set to the right."""
    return str(_pieces().table(head, rows, len(head) - numbers, foot))


def beside(*parts: str) -> str:
    """Pieces of HTML next to each other where there is room; each scrolls where it is long."""
    from markupsafe import Markup

    return str(_pieces().beside([Markup(part) for part in parts]))


def terminal(words: str) -> str:
    """Text with the terminal's colours as `<pre>`, on a light ground of its own."""
    plain, *colored = re.split(r"\x1b\[([0-9;]*)m", words)
    return str(_pieces().terminal([("", plain), *zip(colored[::2], colored[1::2], strict=True)]))
