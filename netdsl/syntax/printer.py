"""The canonical form of a spec: `format_source`. Words, comments and line breaks stay; white space is ours.

Two spaces a brace; one space around `->`, `|`, comparisons, `and or not`, the `*` of a count and the `=` of a let; none
around arithmetic and the `=` of an argument. A line that goes on after `->` or `|` begins with it: `->` two spaces
further in, `|` under the brace of its merge. `} else {` is on one line. Comments stand two spaces behind their line. At
most one blank line in a row, none inside the ends of braces.

Working on words instead of the syntax tree keeps comments where they are; that the tree stays the same is checked each
time, not only in tests.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, fields

from netdsl.source import Source
from netdsl.syntax import ast
from netdsl.syntax.parser import parse

INDENT = 2
_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*)
    |(?P<string>"[^"\n]*")
    |(?P<newline>\n)
    |(?P<label>[A-Za-z_][A-Za-z0-9_]*(?:\{[^{}\n]*\}[A-Za-z0-9_]*)*[ \t]*:)
    |(?P<arrow>->)
    |(?P<ref>@[A-Za-z0-9_.]+)
    |(?P<size>in\.[a-z]+)
    |(?P<number>\d+(?:x\d+)+|\d[\d_]*(?:\.\d+)?(?:[eE][-+]?\d+)?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>\.\.|==|!=|<=|>=|//|[-+*/%<>=(){}\[\],|])
    |(?P<space>[ \t]+)""",
    re.VERBOSE,
)
_WORD_IN_TRAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_ARITHMETIC = ("+", "-", "*", "/", "//", "%")
_KEYWORDS = ("and", "or", "not", "if", "in", "else", "for", "let", "expect", "input", "block", "use", "train")
_OPENERS = {"{": "}", "(": ")", "[": "]"}


@dataclass(frozen=True)
class _Word:
    """A token with its kind; touches: no white space stands before it."""

    kind: str
    text: str
    touches: bool
    at: int


@dataclass
class _Line:
    """Words up to a new line, and the comment behind them. `blank` lines stood before it."""

    words: list[_Word]
    comment: str = ""
    blank: bool = False


def format_source(source: Source) -> str | None:
    """The canonical text; None if the source has syntax errors."""
    program, diagnostics = parse(source)
    if diagnostics:
        return None
    cleaned = Source(source.name, _cleaned(source.text))
    words = list(_words(cleaned.text))
    text = _laid_out(_lines(words), _signs(parse(cleaned)[0], words))
    again, errors = parse(Source(source.name, text))
    assert not errors and again == program, "formatting changed the meaning"
    assert comments(text) == comments(source.text), "formatting lost a comment"
    return text


def comments(text: str) -> list[str]:
    """Every comment, in order, without white space behind it."""
    found = re.findall(r'"[^"\n]*"|(#[^\n]*)', _cleaned(text))
    return [comment.rstrip() for comment in found if comment]


def _cleaned(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


# -------------------------------------------------------------------------------------------- words and lines


def _words(text: str) -> Iterator[_Word]:
    """The tokens; inside `train { }` a name may hold hyphens and there are no labels."""
    at, touches, depth = 0, True, 0
    train: int | None = None  # the depth of braces around the train block
    last = ""
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match is not None and match.lastgroup is not None, text[at : at + 20]
        kind, found = match.lastgroup, match.group()
        if train is not None and kind in ("name", "label", "size"):
            word = _WORD_IN_TRAIN.match(text, at)
            assert word is not None
            kind, found = "name", word.group()
        start, at = at, at + len(found)
        if kind == "space":
            touches = False
            continue
        if kind == "label":
            found = re.sub(r"[ \t]+", "", found)
        if found == "{":
            train = depth if last == "train" and train is None else train
            depth += 1
        elif found == "}":
            depth -= 1
            train = None if train == depth else train
        yield _Word(kind, found.rstrip() if kind == "comment" else found, touches, start)
        touches, last = True, found


def _lines(words: list[_Word]) -> list[_Line]:
    """Words line by line, with what belongs at the start of the next line brought there."""
    lines, current, blank = [], _Line([]), False
    for word in [*words, _Word("newline", "\n", True, -1)]:
        if word.kind == "comment":
            current.comment = word.text
        elif word.kind != "newline":
            current.words.append(word)
        else:
            if current.words or current.comment:
                current.blank = blank
                lines.append(current)
            blank = not (current.words or current.comment)
            current = _Line([])
    return _with_joints_first(lines)


def _with_joints_first(lines: list[_Line]) -> list[_Line]:
    """`->` and `|` move from the end of a line to the start of the next one with words; `else` to the `}` before it."""
    moved: list[_Word] = []
    for line in lines:
        if not line.words:
            continue
        line.words[:0] = moved
        moved = []
        while line.words and (line.words[-1].text == "|" or line.words[-1].kind == "arrow"):
            moved.insert(0, line.words.pop())
    found: list[_Line] = []
    for line in lines:
        before = found[-1] if found else None
        joins = line.words and line.words[0].text == "else" and line.words[0].kind == "name"
        if joins and before is not None and before.words and before.words[-1].text == "}" and not before.comment:
            before.words += line.words
            before.comment = line.comment
        elif line.words or line.comment:
            found.append(line)
    return found


# -------------------------------------------------------------------------------------------- spaces in a line


@dataclass(frozen=True)
class _Signs:
    """Where in the text the `*` of counts and the `-` of negative numbers stand."""

    counts: frozenset[int]
    negations: frozenset[int]


def _signs(program: ast.Program, words: list[_Word]) -> _Signs:
    """Read off the syntax tree, since `2 * relu` and `2*c`, `c - 1` and `take -1` are told apart by nothing else."""
    ends, negations = [], set()
    pending: list[object] = [program]
    while pending:
        item = pending.pop()
        if isinstance(item, ast.Element) and item.count is not None:
            ends.append(item.count.span.end)
        if isinstance(item, ast.Unary) and item.op == "-":
            negations.add(item.span.start)
        if isinstance(item, tuple):
            pending += item
        elif isinstance(item, ast.Syntax):
            pending += [getattr(item, part.name) for part in fields(item) if part.name != "span"]
    stars = [word.at for word in words if word.text == "*"]
    return _Signs(frozenset(stars[bisect_left(stars, end)] for end in ends), frozenset(negations))


def _gap(before: _Word, word: _Word, signs: _Signs, before_that: str) -> str:
    """The white space between two words of a line."""
    return " " if _is_spaced(before, word, signs, before_that) else ""


def _is_spaced(before: _Word, word: _Word, signs: _Signs, before_that: str) -> bool:
    last, text = before.text, word.text
    if word.at in signs.counts or before.at in signs.counts:
        return True
    if before.at in signs.negations or last in ("(", "[", "..") or text in (")", "]", ",", ".."):
        return False
    if "=" in (last, text):
        return before_that == "let"
    if last in _ARITHMETIC or (text in _ARITHMETIC and word.at not in signs.negations):
        return False
    if text == "(" and before.kind == "name" and last not in _KEYWORDS:
        return not word.touches
    return True


# -------------------------------------------------------------------------------------------- lines in a file


def _laid_out(lines: list[_Line], signs: _Signs) -> str:
    """The lines with their white space. `margins` holds, for each open brace, where its content and its end stand."""
    out: list[str] = []
    margins: list[tuple[int, int, int]] = []  # column of the content, of the closing brace, of `|`
    for number, line in enumerate(lines):
        margin = margins[-1][0] if margins else 0
        first = line.words[0] if line.words else None
        closes = first is not None and first.text in _OPENERS.values()
        if closes:
            margin = margins[-1][1]
        elif first is not None and first.kind == "arrow":
            margin += INDENT
        elif first is not None and first.text == "|" and margins:
            margin = margins[-1][2]
        text = " " * margin
        for position, word in enumerate(line.words):
            if position:
                that = line.words[position - 2].text if position > 1 else ""
                text += _gap(line.words[position - 1], word, signs, _let_before(line.words, position) or that)
            if word.text in _OPENERS and word.kind == "sign":
                ends_line = position == len(line.words) - 1
                merges = position > 0 and line.words[position - 1].text in ("add", "mul", "cat", "res")
                if ends_line or (word.text == "{" and not merges):
                    margins.append((margin + INDENT, margin, margin + INDENT))
                else:
                    inside = len(text) + (INDENT if word.text == "{" else 1)
                    margins.append((inside, len(text), len(text)))
            elif word.text in _OPENERS.values() and word.kind == "sign":
                margins.pop()
            text += word.text
        if line.comment:
            text += ("  " if line.words else "") + line.comment
        opened = number > 0 and bool(lines[number - 1].words) and lines[number - 1].words[-1].text == "{"
        if line.blank and out and not closes and not opened:
            out.append("")
        out.append(text.rstrip())
    return "\n".join(out) + "\n" if out else ""


def _let_before(words: list[_Word], position: int) -> str:
    """`let` where the `=` beside this place is that of a let."""
    for sign in (position, position - 1):
        if words[sign].text == "=" and sign >= 2 and words[sign - 2].text == "let":
            return "let"
    return ""
