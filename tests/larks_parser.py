"""Lark's own parser, to compare with netdsl's."""

from lark import Token, UnexpectedCharacters, UnexpectedInput

from netdsl.ground.source import Span
from netdsl.language.syntax import lalr
from netdsl.language.syntax.lark_tables import lark_of


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
