"""Syntax tree to `Graph`: names, shapes and counts. Reports every independent mistake.

After a layer whose shape is unknown nothing more is said about shapes; names and values are still checked. The graph is
a flat list; recursion follows only the nesting of braces and of block calls, which MAX_DEPTH limits.

Inside a block the params of its call, and the channels that arrive, are symbols (ground.symbols): numbers that remember
their expression. So one walk gives the numbers and what a class would write for them.

What the walk passes along is frozen (`flow`): what flows, and where it stands. What it adds to is `work`.
"""

from netdsl.language.lower.program import lower

__all__ = ["lower"]
