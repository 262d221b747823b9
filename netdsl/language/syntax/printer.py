"""The canonical form of a spec: `format_source`. Words and comments stay; white space is ours.

Two spaces a brace; one space around `->`, `|`, comparisons, `and or not`, the `*` of a count and the `=` of a let; none
around arithmetic and the `=` of an argument. A line that goes on after `->` or `|` begins with it: `->` two spaces
further in, `|` under the brace of its merge. `} else {` is on one line. Comments stand two spaces behind their line. At
most one blank line in a row, none inside the ends of braces or before a line that goes on.

What stands on one line is the author's choice, except that braces broken anywhere are broken at both ends. A merge of
several branches broken anywhere has one branch a line, the first one behind its `{` and the `}` behind the last one;
or, where the `{` ends a line, each on a line of its own and the `}` too. No line is broken for its length. Numbers and
parentheses stay as they are written; only a comma before `)` or `]` goes.

Working on words instead of the syntax tree keeps comments where they are; that the tree stays the same is checked each
time, not only in tests.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from netdsl.ground.source import Source
from netdsl.language.syntax import ast
from netdsl.language.syntax.parser import parse

INDENT = 2
_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*)
    |(?P<string>"[^"\n]*")
    |(?P<newline>\n(?:[ \t]*\n)*)
    |(?P<label>[A-Za-z_][A-Za-z0-9_]*(?:\{[^{}\n]*\}[A-Za-z0-9_]*)*[ \t]*:)
    |(?P<arrow>->)
    |(?P<ref>@[A-Za-z0-9_.]+)
    |(?P<size>in\.[a-z]+)
    |(?P<number>\d+(?:x\d+)+|\d[\d_]*steps(?!\w)|\d[\d_]*(?:\.\d+)?(?:[eE][-+]?\d+)?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>\.\.|==|!=|<=|>=|//|[-+*/%<>=(){}\[\],|])
    |(?P<space>[ \t]+)""",
    re.VERBOSE,
)
_WORD_IN_TRAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_ARITHMETIC = ("+", "-", "*", "/", "//", "%")
_KEYWORDS = ("and", "or", "not", "if", "in", "else", "for", "let", "expect", "input", "block", "use", "train")
_OPENERS = ("{", "(", "[")
_CLOSERS = ("}", ")", "]")


@dataclass(frozen=True)
class _Word:
    """A token with its kind (`word` for a name in the train block); touches: no white space stands before it."""

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
    words = _without_last_commas(list(_words(cleaned.text)))
    signs = _signs(program if cleaned.text == source.text else parse(cleaned)[0], words)
    text = _laid_out(_with_braces_broken(_with_joints_first(_lines(words)), signs.merges), signs)
    again, errors = parse(Source(source.name, text))
    if errors or again != program or comments(text) != comments(source.text):
        raise AssertionError("formatting changed the meaning or lost a comment")  # -O keeps this one
    return text


def comments(text: str) -> list[str]:
    """Every comment, in order, without white space behind it."""
    words = re.findall(r'"[^"\n]*"|(#[^\n]*)', _cleaned(text))
    return [comment.rstrip() for comment in words if comment]


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
        kind, written = match.lastgroup, match.group()
        if train is not None and kind in ("name", "label", "size"):
            word = _WORD_IN_TRAIN.match(text, at)
            assert word is not None
            kind, written = "word", word.group()
        start, at = at, at + len(written)
        if kind == "space":
            touches = False
            continue
        if kind == "label":
            written = re.sub(r"[ \t]+", "", written)
        if written == "{":
            train = depth if last == "train" and train is None else train
            depth += 1
        elif written == "}":
            depth -= 1
            train = None if train == depth else train
        yield _Word(kind, written.rstrip() if kind == "comment" else written, touches, start)
        touches, last = True, written


def _without_last_commas(words: list[_Word]) -> list[_Word]:
    """The words without a comma that the end of a list follows; comments and new lines may stand between."""
    kept: list[_Word] = []
    following = ""
    for word in reversed(words):
        if word.text != "," or following not in (")", "]"):
            kept.append(word)
            following = word.text if word.kind not in ("comment", "newline") else following
    return kept[::-1]


def _lines(words: list[_Word]) -> list[_Line]:
    """Words line by line."""
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
            blank = word.text.count("\n") > 1 or not (current.words or current.comment)
            current = _Line([])
    return lines


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
    joined: list[_Line] = []
    for line in lines:
        before = joined[-1] if joined else None
        joins = line.words and line.words[0].text == "else" and line.words[0].kind == "name"
        if joins and before is not None and before.words and before.words[-1].text == "}" and not before.comment:
            before.words += line.words
            before.comment = line.comment
        elif line.words or line.comment:
            joined.append(line)
    return joined


# -------------------------------------------------------------------------------------------- braces over many lines


@dataclass
class _Braces:
    """Which braces hold what; each is named by the place of its opener."""

    opener: dict[int, int]  # place of a `|` or closer -> its opener
    broken: set[int]  # a line ends directly inside
    ends_line: set[int]  # the opener is the last word of its line


def _braces(lines: list[_Line]) -> _Braces:
    braces = _Braces({}, set(), set())
    stack: list[int] = []
    for line in lines:
        for word in line.words:
            if word.text in _CLOSERS:
                braces.opener[word.at] = stack.pop()
            elif word.text in _OPENERS:
                stack.append(word.at)
            elif word.text == "|":
                braces.opener[word.at] = stack[-1]
        if stack:
            braces.broken.add(stack[-1])
        if line.words and line.words[-1].text in _OPENERS:
            braces.ends_line.add(line.words[-1].at)
    return braces


def _with_braces_broken(lines: list[_Line], merges: frozenset[int]) -> list[_Line]:
    """Braces with a line break inside get one behind `{` and one before `}`; merges get one before each `|`."""
    braces = _braces(lines)
    laid: list[_Line] = []
    for line in lines:
        first = line.words[0] if line.words else None
        opener = braces.opener.get(first.at, -1) if first is not None and first.text == "}" else -1
        joins = opener in merges and opener not in braces.ends_line and laid[-1].words and not laid[-1].comment
        parts = _parts(line.words, braces, merges)
        if joins:
            laid[-1].words += parts.pop(0)
        laid += [_Line(part) for part in parts]
        laid[-1].comment = line.comment
        if not joins:
            laid[-len(parts)].blank = line.blank
    return laid


def _parts(words: list[_Word], braces: _Braces, merges: frozenset[int]) -> list[list[_Word]]:
    """A line, cut where braces are to be broken; one empty part for a line of no words."""
    parts: list[list[_Word]] = [[]]
    for word in words:
        opener = braces.opener.get(word.at, -1)
        cut = word.text == "|" or (word.text == "}" and (opener not in merges or opener in braces.ends_line))
        if parts[-1] and opener in braces.broken and cut:
            parts.append([])
        parts[-1].append(word)
        if word.text == "{" and word.at in braces.broken - merges and word is not words[-1]:
            parts.append([])
    return parts


# -------------------------------------------------------------------------------------------- spaces in a line


@dataclass(frozen=True)
class _Signs:
    """Where in the text the `*` of counts, the `-` of negative numbers, the `{` of several branches and the `mean` and
    `std` of inputs stand."""

    counts: frozenset[int]
    negations: frozenset[int]
    merges: frozenset[int]
    constants: frozenset[int]


def _signs(program: ast.Program, words: list[_Word]) -> _Signs:
    """Read off the syntax tree, since `2 * relu` and `2*c`, `c - 1` and `take -1` are told apart by nothing else."""
    counts, negations, merges, constants = set(), set(), set(), set()
    stars = [word.at for word in words if word.text == "*"]
    braces = [word.at for word in words if word.text == "{"]
    for item in ast.walk(program):
        if isinstance(item, ast.Element) and item.count is not None:
            counts.add(stars[bisect_left(stars, item.count.span.end)])
        elif isinstance(item, ast.Unary) and item.op == "-":
            negations.add(item.span.start)
        elif isinstance(item, ast.Merge) and len(item.branches) > 1:
            merges.add(braces[bisect_left(braces, item.op_span.end)])
        elif isinstance(item, ast.Constants):
            constants.add(item.span.start)
    return _Signs(frozenset(counts), frozenset(negations), frozenset(merges), frozenset(constants))


def _gap(words: list[_Word], position: int, signs: _Signs) -> str:
    """The white space before the word at `position` of a line."""
    return " " if _is_spaced(words, position, signs) else ""


def _is_spaced(words: list[_Word], position: int, signs: _Signs) -> bool:
    before, word = words[position - 1], words[position]
    last, text = before.text, word.text
    if word.at in signs.counts or before.at in signs.counts:
        return True
    if before.at in signs.negations or last in ("(", "[", "..") or text in (")", "]", ",", ".."):
        return False
    if "=" in (last, text):
        name = position - 2 if text == "=" else position - 3
        return name >= 0 and words[name].text == "let" and words[name].kind == "name"
    if last in _ARITHMETIC or (text in _ARITHMETIC and word.at not in signs.negations):
        return False
    if text == "(" and before.kind == "name" and last not in _KEYWORDS and before.at not in signs.constants:
        return not word.touches
    return True


# -------------------------------------------------------------------------------------------- lines in a file


@dataclass(frozen=True)
class _Margin:
    """The columns, for an open brace, of what stands in it, of its `|`, of its end, and of what it stands in itself."""

    content: int
    bar: int
    end: int
    around: int


def _laid_out(lines: list[_Line], signs: _Signs) -> str:
    """The lines with their white space."""
    out: list[str] = []
    margins: list[_Margin] = []
    opened = True
    for line in lines:
        first = line.words[0] if line.words else None
        goes_on = first is not None and (first.text in (*_CLOSERS, "|") or first.kind == "arrow")
        if line.blank and not opened and not goes_on:
            out.append("")
        text = _written(line.words, margins, signs)
        out.append(text + ("  " if line.words else "") + line.comment if line.comment else text)
        opened = bool(line.words) and line.words[-1].text in _OPENERS
    return "\n".join(out) + "\n" if out else ""


def _written(words: list[_Word], margins: list[_Margin], signs: _Signs) -> str:
    """A line without its comment; `margins` are those of the braces open before it, and afterwards behind it."""
    column = _column(words[0] if words else None, margins)
    text = " " * column
    around = column + INDENT if words and words[0].text == "|" else column
    for position, word in enumerate(words):
        if position:
            text += _gap(words, position, signs)
        if word.text in _CLOSERS:
            around = margins.pop().around
        elif word.text in _OPENERS:
            hangs = position < len(words) - 1 and (word.text != "{" or word.at in signs.merges)
            margins.append(_opened(word, len(text) if hangs else None, around, signs))
            around = margins[-1].content if hangs else around
        text += word.text
    return text


def _column(first: _Word | None, margins: list[_Margin]) -> int:
    """Where a line begins."""
    inner = margins[-1] if margins else _Margin(0, 0, 0, 0)
    if first is None:
        return inner.content
    if first.text in _CLOSERS:
        return inner.end
    if first.text == "|":
        return inner.bar
    return inner.content + (INDENT if first.kind == "arrow" else 0)


def _opened(word: _Word, column: int | None, around: int, signs: _Signs) -> _Margin:
    """The margin of a brace whose content hangs behind it in `column`, or (None) stands on lines of its own."""
    if column is not None:
        return _Margin(column + (INDENT if word.text == "{" else 1), column, column, around)
    if word.at in signs.merges:
        return _Margin(around + 2 * INDENT, around + INDENT, around, around)
    return _Margin(around + INDENT, around + INDENT, around, around)
