"""`# netdsl: ignore N604`: a warning that is meant to be there, on its line or the one below."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from netdsl.ground.diagnostics import CODES, Diagnostic, did_you_mean
from netdsl.ground.source import Source, Span

_COMMENT = r'"[^"\n]*"|#[^\n]*'
_IGNORE = r"(?i)#\s*netdsl\s*:\s*ignore\b[ \t:]*(?P<codes>[^#\n]*)"


@dataclass
class _Ignore:
    """One comment: the lines that it is about, and the codes on it, each with its place."""

    span: Span
    lines: range
    codes: dict[str, Span]
    used: set[str] = field(default_factory=set)


def heard(source: Source, diagnostics: Sequence[Diagnostic]) -> list[Diagnostic]:
    """The diagnostics without the warnings that comments of their files ignore, and with a warning for each code that
    ignores nothing, is not known, or is an error's: errors cannot be ignored."""
    sources = {d.span.source.name: d.span.source for d in diagnostics} | {source.name: source}
    ignores = {name: _ignores(each) for name, each in sources.items()}
    kept = [d for d in diagnostics if not (d.level == "warning" and _is_ignored(d, ignores[d.span.source.name]))]
    said = [complaint for ignore in ignores[source.name] for complaint in _complaints(ignore)]
    return sorted([*kept, *said], key=lambda d: d.span.start) if said else kept


def _ignores(source: Source) -> list[_Ignore]:
    if "netdsl" not in source.text.lower():
        return []
    return [
        _ignore(source, comment)
        for comment in re.finditer(_COMMENT, source.text)
        if comment.group()[0] == "#" and re.match(_IGNORE, comment.group())
    ]


def _ignore(source: Source, comment: re.Match[str]) -> _Ignore:
    match = re.match(_IGNORE, comment.group())
    assert match is not None
    span = Span(source, comment.start(), comment.end())
    alone = not source.line_text(span.line)[: span.column - 1].strip()
    codes: dict[str, Span] = {}
    for word in re.finditer(r"[^\s,;]+", match["codes"]):
        start = comment.start() + match.start("codes") + word.start()
        codes.setdefault(word.group().upper(), Span(source, start, start + len(word.group())))
    return _Ignore(span, range(span.line, span.line + 1 + alone), codes)


def _is_ignored(diagnostic: Diagnostic, ignores: Sequence[_Ignore]) -> bool:
    """Whether a comment on its line is about it; the comment remembers."""
    for ignore in ignores:
        if diagnostic.code in ignore.codes and diagnostic.span.line in ignore.lines:
            ignore.used.add(diagnostic.code)
            return True
    return False


def _complaints(ignore: _Ignore) -> list[Diagnostic]:
    """What is wrong with the comment itself."""
    if not ignore.codes:
        text = "this ignores nothing: it names no code"
        return [Diagnostic("N610", text, ignore.span, help=("write `# netdsl: ignore N604`",), level="warning")]
    return [_complaint(code, span) for code, span in ignore.codes.items() if code not in ignore.used]


def _complaint(code: str, span: Span) -> Diagnostic:
    warnings = [known for known in CODES if known.startswith("N6")]
    if code in CODES and code not in warnings:
        text, help_text = f"`{code}` is an error, which cannot be ignored", "mend what it is about, and remove the code"
        return Diagnostic("N610", text, span, help=(help_text,), level="warning")
    if code in warnings:
        line = "this line" if span.source.line_text(span.line).split("#")[0].strip() else "the next line"
        text = f"`{code}` is not said of {line}, so there is nothing to ignore"
        return Diagnostic("N610", text, span, help=("remove it",), level="warning")
    guess = did_you_mean(code, warnings)
    hints = (f"did you mean `{guess}`?",) if guess else ("`netdsl explain` lists the codes",)
    return Diagnostic("N610", f"there is no code `{code}`", span, help=hints, level="warning")
