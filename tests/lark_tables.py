"""What Lark makes of grammars/net.lark: the tables of netdsl.language.syntax.lalr, and a parser to compare with."""

from pathlib import Path

from lark import Lark, Token, UnexpectedCharacters, UnexpectedInput
from lark.parsers.lalr_analysis import Shift

from netdsl.ground.source import Span
from netdsl.language.syntax import lalr

GRAMMAR = Path(__file__).resolve().parents[1] / "grammars/net.lark"


def lark_of(transformer=None):
    text = GRAMMAR.read_text(encoding="utf-8")
    return Lark(text, parser="lalr", lexer="contextual", maybe_placeholders=True, transformer=transformer)


def tables():
    """netdsl.language.syntax.lalr.tables says what is in them."""
    lark = lark_of()
    lexer, table = lark.parser.lexer, lark.parser.parser._parse_table
    states = _in_order(table.states, table.start_states["start"])
    contexts = [*dict.fromkeys(lexer.lexers[state] for state in states), lexer.root_lexer]
    rules = list(lark.rules)

    def described(state):
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


def _in_order(states, start):
    """The states as they are reached from the start, whatever numbers Lark gave them this time."""
    order = [start]
    for state in order:
        for kind, target in (states[state][key] for key in sorted(states[state])):
            if kind is Shift and target not in order:
                order.append(target)
    return order


def _text(terminal):
    assert not terminal.pattern.flags, terminal
    return terminal.pattern.value


def _context(lexer):
    order = [terminal.name for terminal in lexer.scanner.terminals]
    keywords = {
        name: {word.pattern.value: word.name for word in callback.scanner.terminals}
        for name, callback in sorted(lexer.callback.items())
    }
    return [order, keywords]


def _rule(rule):
    """As lark.parse_tree_builder has it: signs that the grammar does not keep go, and a `_rule` gives its parts."""
    origin, options, size = str(rule.origin.name), rule.options, len(rule.expansion)
    absent = [len(ones) for ones in "".join(str(int(b)) for b in options.empty_indices).split("0")]
    absent += [0] * (size + 1 - len(absent))
    wanted = []
    for i, symbol in enumerate(rule.expansion):
        wanted += [None] * absent[i]
        if not symbol.is_term:
            wanted.append(~i if symbol.name.startswith("_") else i)
        elif options.keep_all_tokens or not symbol.filter_out:
            wanted.append(i)
    wanted += [None] * absent[size]
    name = "" if origin.startswith("_") else rule.alias or origin
    return [origin, size, name, bool(options.expand1 and not rule.alias), wanted]


class _Adapter:
    """Lark's transformer: every rule's parts go to the build of the parse in progress, with netdsl's tokens."""

    def __getattr__(self, name):
        if name.startswith("_") or not name.islower():
            raise AttributeError(name)
        return lambda parts: self.build(name, [self.token(p) if isinstance(p, Token) else p for p in parts])

    def token(self, token):
        return lalr.Token(token.type, str(token), Span(self.source, token.start_pos, token.end_pos))


class LarksParser:
    """Lark's own parser, to stand in the place of netdsl.language.syntax.lalr.parse_text."""

    def __init__(self):
        self.adapter = _Adapter()
        self.lark = lark_of(self.adapter)

    def __call__(self, source, text, build):
        self.adapter.source, self.adapter.build = source, build
        try:
            return self.lark.parse(text)
        except UnexpectedCharacters as error:
            raise lalr.Unexpected("", "", error.pos_in_stream, error.allowed) from None
        except UnexpectedInput as error:
            token = error.token
            raise lalr.Unexpected(token.type, str(token), token.start_pos, error.expected) from None
