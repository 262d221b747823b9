"""Tables as plain text for a terminal, laid out by rich, which knows how wide the characters of every script are."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

WIDEST = 100_000  # columns: a table is as wide as it is, whatever the terminal


def table_lines(rows: Iterable[Sequence[str]], left: int = 1, is_ruled: bool = False) -> list[str]:
    """The rows as lines, two spaces between columns; the first `left` columns are set to the left, the others to the
    right. is_ruled: a line of dashes stands under the first row.

    The table of `netdsl summary` is not made here: for 10,000 layers rich takes three seconds.
    """
    from rich.console import Console  # here: it costs more to import than most commands take
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    for number, row in enumerate(rows):
        for i in range(len(row) if number == 0 else 0):
            table.add_column(justify="left" if i < left else "right", no_wrap=True)
        table.add_row(*map(Text, row))
    file = io.StringIO()
    Console(file=file, width=WIDEST, color_system=None, force_terminal=False).print(table)
    head, *body = (line.rstrip() for line in file.getvalue().splitlines())
    rule = "-" * max(Text(line).cell_len for line in (head, *body))
    return [head, *([rule] if is_ruled else []), *body]
