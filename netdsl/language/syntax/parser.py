"""Text to syntax tree.

The tree is built while the text is parsed (a walk afterwards would recurse). After a syntax error the line is blanked
and the rest parsed again, so that independent mistakes are all found in one go.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

from netdsl.ground.diagnostics import MAX_SHOWN, Diagnostic
from netdsl.ground.source import Source, Span
from netdsl.language.syntax import ast
from netdsl.language.syntax.lalr import END, Token, Unexpected, parse_text
from netdsl.language.syntax.lookalikes import lookalikes, repaired
from netdsl.language.syntax.prescan import prescan

T = TypeVar("T", bound=ast.Syntax)
MAX_DIGITS = 18
MAX_OPERATORS = 100  # one in the other


def parse(source: Source) -> tuple[ast.Program, list[Diagnostic]]:
    """The tree of everything that can be understood, and what is wrong with the rest."""
    unreadable = prescan(source)
    if unreadable:
        return ast.Program(Span(source, 0, 0), ()), unreadable
    strange = lookalikes(source)
    text = _in_lines(repaired(source.text, strange))
    program, diagnostics = _parsed(source, text)
    lines = {d.span.line for d in strange}
    return program, _in_order(strange + [d for d in diagnostics if d.span.line not in lines])


def _parsed(source: Source, text: str) -> tuple[ast.Program, list[Diagnostic]]:
    """What `parse` gives; `text` is read in place of the source's own and has the same offsets."""
    diagnostics: list[Diagnostic] = []
    blanked: dict[int, int] = {}  # line -> how often: first all but its braces, then all of it
    while True:
        builder = _Builder(source)
        try:
            program = parse_text(source, text + "\n", builder.build)
            return program, diagnostics + builder.diagnostics
        except Unexpected as error:
            span = _error_span(error, source)
            times = blanked.get(span.line, 0)
            if times == 0:
                diagnostics.append(_syntax_error(error, span))
            if times == 2 or len(diagnostics) >= MAX_SHOWN:
                return ast.Program(Span(source, 0, 0), ()), diagnostics
            blanked[span.line] = times + 1
            text = _blank_line(text, span.start, keep_braces=times == 0)


def _in_lines(text: str) -> str:
    """The text as the grammar reads it, every offset kept: no carriage returns, no new lines inside ( ) and [ ], and no
    blank lines in a row, of which the regular expressions would remember each."""
    text = text.replace("\r\n", " \n").replace("\r", "\n")
    if text.startswith("\ufeff"):
        text = " " + text[1:]
    text = re.sub(r"\n[ \t\n]+", lambda match: "\n".ljust(len(match.group())), text)
    pieces, depth, done = [], 0, 0
    for match in re.finditer(r'#[^\n]*|"[^"\n]*"|[()\[\]]|\n', text):
        word = match.group()
        if word in "([":
            depth += 1
        elif word in ")]":
            depth -= 1
        elif depth and word[0] in "#\n":
            pieces += [text[done : match.start()], " " * len(word)]
            done = match.end()
    return "".join([*pieces, text[done:]])


def grammar_folder() -> Path:
    """The folder of net.lark and of the language reference: in the wheel netdsl/grammars, in a checkout the one beside
    the package."""
    package = Path(__file__).resolve().parents[2]
    for folder in (package / "grammars", package.parent / "grammars"):
        if (folder / "net.lark").exists():
            return folder
    raise AssertionError(f"net.lark is missing beside {package}")


def _in_order(diagnostics: list[Diagnostic]) -> list[Diagnostic]:
    return sorted(diagnostics, key=lambda d: d.span.start)


def _blank_line(text: str, offset: int, keep_braces: bool) -> str:
    """`text` with the line around `offset` blanked; the braces stay so that the rest still fits together."""
    start = text.rfind("\n", 0, offset) + 1
    end = text.find("\n", offset)
    end = len(text) if end < 0 else end
    blank = "".join(c if keep_braces and c in "{}" else " " for c in text[start:end].split("#")[0])
    return text[:start] + blank.ljust(end - start) + text[end:]


# -------------------------------------------------------------------------------------------- syntax errors

_EXPECTED = {
    "NAME": "a layer",
    "_NL": "a new line",
    "_ARROW": "`->`",
    "LBRACE": "`{`",
    "RBRACE": "`}`",
    "STRING": "a value",
    "RPAR": "`)`",
    "NUMBER": "a value",
    "SIZE": "a value",
    "STEPS": "a value",
    "WORD": "a word",
    "EQUAL": "`=`",
    "STAR": "`*`",
    "COMMA": "`,`",
    "COLON": "`:`",
    "MAP": "`map`",
    "_OF": "`of`",
    "MEAN": "`mean`",
    "STD": "`std`",
}


def _error_span(error: Unexpected, source: Source) -> Span:
    """The place of the offending text; a line that ends too early is marked at its end."""
    if error.kind == END:
        at = len(source.text.rstrip())
        return Span(source, at, at)
    at = min(error.at, len(source.text))
    text = error.text if error.kind else source.text[at : at + 1]
    if text.strip() == "" or text.lstrip()[:1] == "#":  # the end of a line
        return Span(source, at, at)
    lead = len(text) - len(text.lstrip())
    return Span(source, at + lead, at + lead + max(1, len(text.strip())))


def _syntax_error(error: Unexpected, span: Span) -> Diagnostic:
    from netdsl.language.syntax.habits import syntax_help  # here, since a right spec has no use for it

    shown = span.text
    message = f"unexpected `{shown}`" if shown.strip() else "the line ends too early"
    help_text, fix = syntax_help(span, error.expected, _EXPECTED)
    return Diagnostic("N101", message, span, help=(help_text,) if help_text else (), fix=fix)


# -------------------------------------------------------------------------------------------- the tree


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\d[\d_]*", text) is not None


def _without_tokens(children: list[Any]) -> tuple[Any, ...]:
    return tuple(child for child in children if child is not None and not isinstance(child, Token))


def _is_brace(child: Any) -> bool:
    return isinstance(child, Token) and child.text in ("{", "}")


class _Builder:
    """Makes the tree: for each rule of the grammar, a method gets what stands in it, innermost first.

    A token is among the children where the grammar keeps it (`!rule`)."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.diagnostics: list[Diagnostic] = []
        self.depths: dict[int, int] = {}  # id of an operator's or else-if's tree -> how deep it is

    def build(self, rule: str, children: list[Any]) -> Any:
        return getattr(self, rule)(children)

    def _span(self, children: list[Any]) -> Span:
        """The span from the first child to the last."""
        spans = [child.span for child in children if child is not None]
        return spans[0].to(spans[-1]) if spans else Span(self.source, 0, 0)

    def _integer(self, digits: str, span: Span) -> int:
        digits = digits.replace("_", "").lstrip("0") or "0"
        if len(digits) > MAX_DIGITS:
            self.diagnostics.append(
                Diagnostic("N104", f"a number of {len(digits)} digits; at most {MAX_DIGITS} are allowed", span)
            )
            return 1
        return int(digits)

    def _number(self, token: Token) -> int | float:
        span, text = token.span, token.text
        if _is_number(text):
            return self._integer(text, span)
        value = float(text.replace("_", "")) if len(text) <= 64 else float("inf")
        if value in (float("inf"), float("-inf")):
            self.diagnostics.append(Diagnostic("N104", "a number too large for floating point", span))
            return 1.0
        return value

    def _length(self, token: Token) -> int | float | ast.Steps:
        """A number, or how many steps."""
        if token.kind == "STEPS":
            return ast.Steps(self._integer(token.text.removesuffix("steps"), token.span))
        return self._number(token)

    def _sizes(self, token: Token) -> tuple[int, ...]:
        return tuple(self._integer(part, token.span) for part in token.text.split("x"))

    def start(self, children: list[Any]) -> ast.Program:
        return ast.Program(self._span(children), _without_tokens(children))

    def input(self, children: list[Any]) -> ast.Input:
        token, word, limit, *constants = children
        sizes = self._sizes(token) if token.kind == "SIZE" else (self._whole(token, "an input size"),)
        below = None if limit is None else self._whole(limit, "how many numbers there are")
        return ast.Input(self._span([token, word, limit]), sizes, word is not None, below, tuple(constants))

    def _whole(self, token: Token, what: str) -> int:
        """The whole number that a token is; 1, and a complaint, where it is none."""
        number = self._number(token)
        if isinstance(number, int):
            return number
        self.diagnostics.append(Diagnostic("N303", f"{what} is a whole number", token.span))
        return 1

    def constants(self, children: list[Any]) -> ast.Constants:
        return ast.Constants(self._span(children), children[0].text, _without_tokens(children))

    def expect(self, children: list[Any]) -> ast.Expect:
        return ast.Expect(self._span(children), children[1])

    def let(self, children: list[Any]) -> ast.Let:
        _, name, _, value = children
        return ast.Let(self._span(children), name, value)

    def use(self, children: list[Any]) -> ast.Use:
        target = children[1]
        quoted = target.kind == "STRING"
        return ast.Use(self._span(children), target.text[1:-1] if quoted else target.text, quoted)

    def block(self, children: list[Any]) -> ast.Block:
        name = children[1]
        *params, body = _without_tokens(children)
        span = name.span
        return ast.Block(children[0].span.to(span), name.text, tuple(params), body, span)

    def param(self, children: list[Any]) -> ast.Param:
        return ast.Param(self._span(children), *children)

    def body(self, children: list[Any]) -> ast.Body:
        return ast.Body(self._span(children), _without_tokens(children))

    def branch(self, children: list[Any]) -> ast.Body:
        """The grammar's tables share the repetition with `body`, which keeps its tokens."""
        statements = _without_tokens(children)
        return ast.Body(statements[0].span.to(statements[-1].span), statements)

    def chain(self, children: list[Any]) -> ast.Chain:
        return ast.Chain(self._span(children), tuple(children))

    def element(self, children: list[Any]) -> ast.Element:
        label, count, primary = children
        return ast.Element(self._span(children), label, count, primary)

    def label(self, children: list[Any]) -> ast.Label:
        """`name:`, `layer{i}:`; the span is without the colon."""
        *written, _ = [child for child in children if child is not None]
        parts = [c.text if isinstance(c, Token) else c for c in written if not _is_brace(c)]
        span = self._span(written)
        if any(text.isspace() for text in span.text):
            help_text = "write it in one piece: `layer{i}:`"
            self.diagnostics.append(Diagnostic("N101", "a label has no spaces", span, help=(help_text,)))
        return ast.Label(span, tuple(parts))

    def count(self, children: list[Any]) -> ast.Expr:
        expression: ast.Expr = children[0]
        return expression

    def ref(self, children: list[Any]) -> ast.Ref:
        return ast.Ref(children[0].span, children[0].text[1:])

    def call(self, children: list[Any]) -> ast.Call:
        name = children[0]
        return ast.Call(self._span(children), name.text, _without_tokens(children), name.span)

    def merge(self, children: list[Any]) -> ast.Merge:
        op, branches = children[0], _without_tokens(children)
        return ast.Merge(self._span(children), op.text, branches, op.span)

    def cond(self, children: list[Any]) -> ast.If:
        condition, then, *otherwise = _without_tokens(children)
        made = ast.If(self._span(children), condition, then, otherwise[0] if otherwise else None)
        return self._not_too_deep(made, otherwise or [then], "more than {} `else if` in a row")

    def loop(self, children: list[Any]) -> ast.For:
        *names, items, body = _without_tokens(children)
        return ast.For(self._span(children), tuple(names), items, body)

    def range(self, children: list[Any]) -> ast.Range:
        return ast.Range(self._span(children), *children)

    def layer(self, children: list[Any]) -> ast.Layer:
        name, *args = children
        return ast.Layer(self._span(children), name.text, tuple(args), name.span)

    def call_keyword(self, children: list[Any]) -> ast.Arg:
        return self.keyword_arg(children)

    def plain_arg(self, children: list[Any]) -> ast.Arg:
        return ast.Arg(self._span(children), None, children[0])

    def keyword_arg(self, children: list[Any]) -> ast.Arg:
        return ast.Arg(self._span(children), children[0].text, children[1], children[0].span)

    def number(self, children: list[Any]) -> ast.Number:
        return ast.Number(children[0].span, self._number(children[0]))

    def size(self, children: list[Any]) -> ast.Size:
        return ast.Size(children[0].span, self._sizes(children[0]))

    def name(self, children: list[Any]) -> ast.Name:
        return ast.Name(children[0].span, children[0].text)

    def in_size(self, children: list[Any]) -> ast.InSize:
        return ast.InSize(children[0].span, children[0].text[3:])

    def unary(self, children: list[Any]) -> ast.Expr:
        made = ast.Unary(children[0].span.to(children[1].span), children[0].text, children[1])
        return self._not_too_deep(made, [children[1]], "an expression has more than {} operators")

    def binary(self, children: list[Any]) -> ast.Expr:
        left, op, right = children
        made = ast.Binary(left.span.to(right.span), op.text, left, right)
        return self._not_too_deep(made, [left, right], "an expression has more than {} operators")

    def _not_too_deep(self, made: T, parts: list[Any], message: str) -> T:
        """`made`, or what it is made of where its tree is so deep that walking it would be too much for Python."""
        depth = 1 + max(self.depths.get(id(part), 0) for part in parts)
        if depth > MAX_OPERATORS:
            if depth == MAX_OPERATORS + 1:
                self.diagnostics.append(Diagnostic("N004", message.format(MAX_OPERATORS), made.span))
            inner: T = parts[0]
            self.depths[id(inner)] = depth
            return inner
        self.depths[id(made)] = depth
        return made

    def sequence(self, children: list[Any]) -> ast.Sequence:
        return ast.Sequence(self._span(children), _without_tokens(children), children[0].text == "(")

    def function(self, children: list[Any]) -> ast.Function:
        name = children[0]
        return ast.Function(self._span(children), name.text, _without_tokens(children), name.span)

    def train(self, children: list[Any]) -> ast.Train:
        return ast.Train(self._span(children), _without_tokens(children))

    def entry(self, children: list[Any]) -> ast.Entry:
        key, *settings = children
        return ast.Entry(self._span(children), key.text, tuple(settings), key.span)

    def keyed(self, children: list[Any]) -> ast.Keyed:
        return ast.Keyed(self._span(children), children[0].text, children[1])

    def value(self, children: list[Any]) -> ast.Value:
        token = children[0]
        if token.kind in ("NUMBER", "STEPS"):
            return ast.Value(token.span, self._length(token))
        quoted = token.kind == "STRING"
        return ast.Value(token.span, token.text[1:-1] if quoted else token.text, quoted)

    def values(self, children: list[Any]) -> ast.Value:
        return ast.Value(self._span(children), tuple(self._length(token) for token in children))
