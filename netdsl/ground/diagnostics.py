"""What is wrong with a spec, as data (`Diagnostic`), and how it is shown. Also the errors that carry it upwards.

The shape of a message follows rustc: the error states, `note` gives facts, `help` proposes the smallest change.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from netdsl.ground.source import Span

CODES = {
    "N001": "the file is not text",
    "N002": "a character that is not allowed",
    "N004": "nesting is too deep",
    "N101": "a syntax error",
    "N102": "a brace or parenthesis is not closed",
    "N103": "a closing brace or parenthesis too many",
    "N104": "a number out of range",
    "N105": "the network has no input, or two",
    "N106": "the network is empty",
    "N201": "a window does not fit its input",
    "N202": "a layer cannot take an input of this shape",
    "N203": "sizes that must divide each other do not",
    "N204": "shapes that must agree do not",
    "N301": "an unknown layer",
    "N302": "an unknown attribute",
    "N303": "a value of the wrong kind",
    "N304": "a value out of range",
    "N305": "a value is missing",
    "N306": "a value too many",
    "N307": "an attribute is given twice",
    "N308": "a name is used twice",
    "N309": "a name that cannot be used",
    "N310": "a bad count",
    "N311": "the network is too large",
    "N312": "an unknown name",
    "N313": "attributes that exclude each other",
    "N314": "an unknown label",
    "N315": "an unknown block",
    "N316": "a merge with too few or too many branches",
    "N317": "block calls without end",
    "N318": "a file that cannot be used",
    "N319": "a list item that does not fit the names of a `for`",
    "N320": "a mean or std that does not fit the input",
    "N401": "an expectation does not hold",
    "N501": "an unknown entry in the train block",
    "N502": "a wrong value in the train block",
    "N503": "the train block does not fit the network",
    "N601": "a value that is never used",
    "N602": "a block that is never called",
    "N603": "a label that names nothing",
    "N604": "a softmax that the loss contains",
    "N605": "a bias before batch normalisation",
    "N606": "two linear layers with nothing between",
    "N607": "one layer holds most of the params",
    "N608": "a subtraction that reads like two values",
    "N609": "an output that is never used",
    "N610": "an ignore that ignores nothing",
}

MAX_SHOWN = 20  # diagnostics; what follows is counted
MAX_COLUMNS = 200  # of a source line shown
MAX_COMPARED = 100_000  # words, for the suggestions of one check; it is the first ones that are read
_compared: ContextVar[list[int] | None] = ContextVar("compared", default=None)


@dataclass(frozen=True)
class Edit:
    """`text` in place of what stands at the span."""

    span: Span
    text: str


@dataclass(frozen=True)
class Diagnostic:
    """One mistake (or one warning): what is wrong, where, what is known about it, and what to try.

    fix: the edit that the help proposes; `pipeline.fix_text` makes it where checking again shows that it helps."""

    code: str
    message: str
    span: Span
    label: str = ""
    notes: tuple[str, ...] = ()
    help: tuple[str, ...] = ()
    level: str = "error"
    fix: Edit | None = None

    def as_dict(self) -> dict[str, object]:
        """The object of `check --format json`; line and column count from 1."""
        end_line, end_col = self.span.end_line_and_column
        return {
            "level": self.level,
            "code": self.code,
            "message": self.message,
            "file": self.span.source.name,
            "line": self.span.line,
            "col": self.span.column,
            "end_line": end_line,
            "end_col": end_col,
            "notes": list(self.notes),
            "help": list(self.help),
        }

    def _repr_html_(self) -> str:
        from netdsl.ground.markup import terminal  # here, since a check of a right spec has no use for it

        return terminal(render(self, color=True))


class UserError(Exception):
    """A mistake outside the spec (a file, an option, the data): one line and perhaps a help; exit code 2."""

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.help = help


class TrainingFailed(Exception):
    """The loss, a gradient or a param stopped being a number; the message says when and where."""


class SpecError(Exception):
    """A spec that has errors; `str` is the rendered text of them all."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__(diagnostics)
        self.diagnostics = tuple(diagnostics)

    def __str__(self) -> str:
        return render_all(self.diagnostics)

    def _repr_html_(self) -> str:
        from netdsl.ground.markup import terminal

        return terminal(render_all(self.diagnostics, color=True))


class SpecProblem(Exception):
    """Raised by a rule of a layer: a complaint without a place, which the caller knows.

    `attr` names the attr to underline; without it the layer's name is underlined. wanted: what would fit in place of
    what arrives, `a map`, where that is the complaint; is_plain: `help` is what is said to every layer that wants it.
    """

    def __init__(
        self,
        code: str,
        message: str,
        attr: str | None = None,
        label: str = "",
        notes: Iterable[str] = (),
        help: Iterable[str] = (),
        wanted: str = "",
        is_plain: bool = False,
    ) -> None:
        super().__init__(message)
        self.wanted, self.is_plain = wanted, is_plain
        self.code, self.message, self.attr, self.label = code, message, attr, label
        self.notes, self.help = tuple(notes), tuple(help)


@contextmanager
def bounded_guesses() -> Iterator[None]:
    """While it is open, did_you_mean ends after MAX_COMPARED words: a spec can have thousands of mistakes."""
    token = _compared.set([0])
    try:
        yield
    finally:
        _compared.reset(token)


def comparable(known: Iterable[str]) -> set[str]:
    """The words that a guess may compare; none after MAX_COMPARED of them."""
    compared = _compared.get()
    if compared is not None and compared[0] > MAX_COMPARED:
        return set()
    words = set(known)
    if compared is not None:
        compared[0] += len(words)
    return words


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The known word nearest to `word`, if one is near. See bounded_guesses."""
    from difflib import get_close_matches  # here, since a right spec has no use for it

    candidates = sorted(comparable(known))
    folded = {c.lower(): c for c in reversed(candidates)}
    if word.lower() in folded:
        return folded[word.lower()]
    close = get_close_matches(word.lower(), list(folded), n=1, cutoff=0.6)
    if close:
        return folded[close[0]]
    longer = [
        c
        for c in candidates
        if len(word) >= 3 and (c.startswith(word.lower()) or word.lower().startswith(c) and len(c) >= 3)
    ]
    return longer[0] if longer else None


def plain(text: str) -> str:
    """`text` with every control character made visible, so that a file cannot drive the terminal."""
    return "".join(
        c if c.isprintable() or c == " " else f"\\x{ord(c):02x}" if ord(c) < 256 else f"\\u{ord(c):04x}" for c in text
    )


def _width(text: str) -> int:
    """Terminal columns of `text`: wide characters take two, combining marks none."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) != 0 for c in text)


def _excerpt(line: str, start: int, end: int) -> tuple[str, str, str]:
    """The text before, in and after columns start..end (from 0) of a line, at most MAX_COLUMNS in all."""
    left = max(0, start - MAX_COLUMNS // 2) if len(line) > MAX_COLUMNS else 0
    right = left + MAX_COLUMNS
    show = [
        plain(part.expandtabs(1))
        for part in (line[left:start], line[start : min(end, right)], line[max(start, min(end, right)) : right])
    ]
    show[0] = ("..." if left else "") + show[0]
    show[2] += "..." if len(line) > right else ""
    return show[0], show[1], show[2]


_COLORS = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "bold": "\x1b[1m", "blue": "\x1b[1;34m", "off": "\x1b[0m"}


def render(diagnostic: Diagnostic, color: bool = False) -> str:
    """The diagnostic with its line and a caret, as text that ends without a newline."""

    def paint(style: str, text: str) -> str:
        return f"{_COLORS[style]}{text}{_COLORS['off']}" if color else text

    span = diagnostic.span
    number, column = str(span.line), span.column
    line = span.source.line_text(span.line)
    last = column - 1 + max(1, span.end - span.start) if "\n" not in span.text else len(line)
    before, marked, after = _excerpt(line, column - 1, max(last, column))
    gutter = " " * (len(number) + 1)
    bar = paint("blue", "|")
    carets = "^" * max(1, _width(marked)) + (f" {diagnostic.label}" if diagnostic.label else "")
    head = paint(diagnostic.level, f"{diagnostic.level}[{diagnostic.code}]")
    lines = [
        f"{head}: {paint('bold', plain(diagnostic.message))}",
        f"{gutter}{paint('blue', '-->')} {plain(span.source.name)}:{span.line}:{column}",
        f"{gutter} {bar}",
        f" {paint('blue', number)} {bar} {before}{marked}{after}".rstrip(),
        f"{gutter} {bar} {' ' * _width(before)}{paint(diagnostic.level, plain(carets))}",
    ]
    lines += [f"{gutter} {paint('blue', '=')} {paint('bold', 'note:')} {plain(note)}" for note in diagnostic.notes]
    lines += [f"{gutter} {paint('blue', '=')} {paint('bold', 'help:')} {plain(help)}" for help in diagnostic.help]
    return "\n".join(lines)


def render_concise(diagnostic: Diagnostic) -> str:
    """One line: `file:line:col: error[N201] message`."""
    span = diagnostic.span
    place = f"{plain(span.source.name)}:{span.line}:{span.column}"
    return f"{place}: {diagnostic.level}[{diagnostic.code}] {plain(diagnostic.message)}"


def render_all(diagnostics: Sequence[Diagnostic], color: bool = False) -> str:
    """Every diagnostic, the first MAX_SHOWN in full."""
    parts = [render(d, color) for d in diagnostics[:MAX_SHOWN]]
    hidden = len(diagnostics) - MAX_SHOWN
    return "\n\n".join([*parts, *([f"... and {hidden} more"] if hidden > 0 else [])])
