"""A table-driven LALR(1) parser whose lexer knows what may come next (Aho, Lam, Sethi & Ullman, "Compilers", 4.7).

Its tables, tables.json, are made of grammars/net.lark by Lark (lark_tables.py), and it does with them what Lark does:
in each state it tries the terminals that may stand there, in Lark's order, and nothing else. To import Lark for that
would take longer than a spec takes to check.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from netdsl.ground.source import Source, Span

TABLES = Path(__file__).parent / "tables.json"
END = "$END"


class Token:
    """A word or sign of the text: its terminal's name, what is written, and where."""

    __slots__ = ("kind", "span", "text")

    def __init__(self, kind: str, text: str, span: Span) -> None:
        self.kind, self.text, self.span = kind, text, span


class Unexpected(Exception):
    """What stands at the offset `at`, `text`, cannot stand there (kind END: the text ends); `expected` can."""

    def __init__(self, kind: str, text: str, at: int, expected: set[str]) -> None:
        super().__init__(f"unexpected {kind} {text!r} at {at}")
        self.kind, self.text, self.at, self.expected = kind, text, at, expected


class _Context:
    """The terminals that one state reads, each as a function (text, at) -> where it ends, or -1.

    keywords: terminal -> the words that look like it and are terminals of their own."""

    def __init__(self, tables: Mapping[str, Any], names: list[str], keywords: Mapping[str, Mapping[str, str]]) -> None:
        self.keywords = keywords
        self.expected = set(names) - set(tables["ignored"])
        self.readers = [(name, _reader(*tables["terminals"][name])) for name in names]

    def read(self, text: str, at: int) -> tuple[str, int]:
        """The terminal at `at` and where it ends; ("", at) where none fits."""
        for name, reader in self.readers:
            end = reader(text, at)
            if end >= 0:
                words = self.keywords.get(name)
                return (words.get(text[at:end], name) if words else name), end
        return "", at


@cache
def _reader(kind: str, pattern: str) -> Callable[[str, int], int]:
    if kind == "word":
        return lambda text, at: at + len(pattern) if text.startswith(pattern, at) else -1
    match = re.compile(pattern).match

    def end_of_match(text: str, at: int) -> int:
        matched = match(text, at)
        return matched.end() if matched else -1

    return end_of_match


@cache
def tables() -> dict[str, Any]:
    """What tables.json holds.

    terminals: name -> ["word" or "pattern", text]. ignored: names of those between the others. contexts: for each the
    terminals that it reads, in order, and its keywords; the last one reads them all. rules: for each the name of what
    it makes, the number of its parts, how it is built ("" where its parts go to the rule around it), whether one part
    alone stands for itself, and which parts are given to the builder: an index, ~index of a list that is joined in, or
    null for what is left out. states: for each its context, and then by pairs a terminal and what to do, the next
    state or ~rule to apply, and what a rule makes and the next state. The first state is 0; end: where all is read.
    """
    read: dict[str, Any] = json.loads(TABLES.read_text(encoding="utf-8"))
    return read


@cache
def _context(number: int) -> _Context:
    return _Context(tables(), *tables()["contexts"][number])


@cache
def _state(number: int) -> tuple[int, dict[str, int]]:
    """A state's context and its actions; few of all states are met in one text."""
    context, *pairs = tables()["states"][number].split()
    return int(context), dict(zip(pairs[::2], map(int, pairs[1::2]), strict=True))


def parse_text(source: Source, text: str, build: Callable[[str, list[Any]], Any]) -> Any:
    """What `build` makes of the start rule: it gets a rule's name and its parts, the innermost rule first.

    text: what is read in the place of the source's own; it has the same offsets. Raises Unexpected.
    """
    end = tables()["end"]
    states: list[int] = [0]
    values: list[Any] = []
    at = 0
    while True:
        context, actions = _state(states[-1])
        token = _next_token(source, text, at, context)
        while (action := actions.get(token.kind)) is not None and action < 0:
            values.append(_reduced(~action, states, values, build))
            if states[-1] == end and token.kind == END:
                return values[-1]
            _, actions = _state(states[-1])
        if action is None:
            expected = {name for name in actions if name.isupper()}
            raise Unexpected(token.kind, token.text, token.span.start, expected)
        states.append(action)
        values.append(token)
        at = token.span.end


def _next_token(source: Source, text: str, at: int, number: int) -> Token:
    """The token at `at`, or behind what is ignored there."""
    context, ignored = _context(number), tables()["ignored"]
    while at < len(text):
        kind, end = context.read(text, at)
        if not kind:
            kind, end = _context(len(tables()["contexts"]) - 1).read(text, at)
            raise Unexpected(kind, text[at:end] or text[at], at, context.expected)
        if kind not in ignored:
            return Token(kind, text[at:end], Span(source, at, end))
        at = end
    return Token(END, "", Span(source, at, at))


def _reduced(number: int, states: list[int], values: list[Any], build: Callable[[str, list[Any]], Any]) -> Any:
    """Take a rule's parts from the two stacks, push the state behind it, and return what is made of them."""
    made, size, name, stands_alone, wanted = tables()["rules"][number]
    first = len(values) - size
    parts = values[first:]
    del values[first:], states[first + 1 :]
    states.append(_state(states[-1])[1][made])
    children: list[Any] = []
    for index in wanted:
        if index is None:
            children.append(None)
        elif index >= 0:
            children.append(parts[index])
        elif children:
            children += parts[~index]
        else:
            children = parts[~index]  # a list that grows is not copied at each step
    if not name:
        return children
    return children[0] if stands_alone and len(children) == 1 else build(name, children)
