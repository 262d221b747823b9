"""Lark makes the parser's tables from the grammar: `python -m netdsl.language.syntax.lark_tables` writes tables.json.

This is done once for a grammar, not in each run: to import Lark takes longer than a spec takes to parse.
"""

from __future__ import annotations

import json
from typing import Any

from lark import Lark, Transformer
from lark.parsers.lalr_analysis import Shift

from netdsl.language.syntax.lalr import TABLES
from netdsl.language.syntax.parser import grammar_folder


def lark_of(transformer: Transformer[Any, Any] | None = None) -> Lark:
    """Lark's own parser of the grammar."""
    text = (grammar_folder() / "net.lark").read_text(encoding="utf-8")
    return Lark(text, parser="lalr", lexer="contextual", maybe_placeholders=True, transformer=transformer)


def tables_text() -> str:
    """What tables.json is to be."""
    return json.dumps(tables(), separators=(",", ":")) + "\n"


def tables() -> dict[str, Any]:
    """What tables.json holds; lalr.tables says what that is."""
    lark = lark_of()
    inner: Any = lark.parser  # Lark declares less of it than it has
    lexer, table = inner.lexer, inner.parser._parse_table
    states = _in_order(table.states, table.start_states["start"])
    contexts = [*dict.fromkeys(lexer.lexers[state] for state in states), lexer.root_lexer]
    rules = list(lark.rules)

    def described(state: int) -> str:
        """`3 NAME 12 _NL -30`: the context, and what to do with each terminal and with what each rule makes."""
        known = sorted(table.states[state].items())
        pairs = (f"{key} {states.index(to) if kind is Shift else ~rules.index(to)}" for key, (kind, to) in known)
        return " ".join([str(contexts.index(lexer.lexers[state])), *pairs])

    return {
        "terminals": {t.name: ["word" if t.pattern.type == "str" else "pattern", _text(t)] for t in lark.terminals},
        "ignored": sorted(lexer.root_lexer.ignore_types),
        "contexts": [_context(context) for context in contexts],
        "rules": [_rule(rule) for rule in rules],
        "states": [described(state) for state in states],
        "end": states.index(table.end_states["start"]),
    }


def _in_order(states: Any, start: int) -> list[int]:
    """The states as they are reached from the start, whatever numbers Lark gave them this time."""
    order = [start]
    for state in order:
        for kind, target in (states[state][key] for key in sorted(states[state])):
            if kind is Shift and target not in order:
                order.append(target)
    return order


def _text(terminal: Any) -> str:
    assert not terminal.pattern.flags, terminal
    return str(terminal.pattern.value)


def _context(lexer: Any) -> list[Any]:
    order = [terminal.name for terminal in lexer.scanner.terminals]
    keywords = {
        name: {word.pattern.value: word.name for word in callback.scanner.terminals}
        for name, callback in sorted(lexer.callback.items())
    }
    return [order, keywords]


def _rule(rule: Any) -> list[Any]:
    """As lark.parse_tree_builder has it: signs that the grammar does not keep go, and a `_rule` gives its parts."""
    origin, options, size = str(rule.origin.name), rule.options, len(rule.expansion)
    absent = [len(ones) for ones in "".join(str(int(b)) for b in options.empty_indices).split("0")]
    absent += [0] * (size + 1 - len(absent))
    wanted: list[int | None] = []
    for i, symbol in enumerate(rule.expansion):
        wanted += [None] * absent[i]
        if not symbol.is_term:
            wanted.append(~i if symbol.name.startswith("_") else i)
        elif options.keep_all_tokens or not symbol.filter_out:
            wanted.append(i)
    wanted += [None] * absent[size]
    name = "" if origin.startswith("_") else rule.alias or origin
    return [origin, size, name, bool(options.expand1 and not rule.alias), wanted]


if __name__ == "__main__":
    TABLES.write_text(tables_text(), encoding="utf-8")
