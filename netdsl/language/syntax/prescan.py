"""What is looked at before a text is parsed: characters that must not be there, and braces that do not match."""

from __future__ import annotations

import re

from netdsl.ground.diagnostics import Diagnostic, Edit
from netdsl.ground.source import Source, Span

MAX_NESTING = 64
_BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"
MAX_WORDS = 100_000
_OPENER = {"}": "{", ")": "(", "]": "["}
_CLOSER = {opener: closer for closer, opener in _OPENER.items()}


def prescan(source: Source) -> list[Diagnostic]:
    """The first forbidden character, or the first brace that does not match; nothing if the text can be parsed."""
    return _forbidden_characters(source) or _unbalanced(source) or _too_many_words(source)


def _too_many_words(source: Source) -> list[Diagnostic]:
    """More names, numbers and signs than a network of 10,000 layers needs, counted because parsing takes its time."""
    words = re.finditer(r"#[^\n]*|[A-Za-z0-9_.]+|[^\sA-Za-z0-9_.]", source.text)
    for count, match in enumerate(words, 1):
        if count > MAX_WORDS:
            message = f"the spec has more than {MAX_WORDS:_} words and signs"
            help_text = "say it shorter: `10 * { ... }`, `for`, `block`"
            return [Diagnostic("N311", message, Span(source, match.start(), match.end()), help=(help_text,))]
    return []


def _forbidden_characters(source: Source) -> list[Diagnostic]:
    """Control characters and direction marks can make text look like what it is not (CVE-2021-42574)."""
    for match in re.finditer(rf"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f{_BIDI}]|(?<!\A)\ufeff", source.text):
        span = Span(source, match.start(), match.end())
        return [
            Diagnostic(
                "N002",
                f"the character U+{ord(match.group()):04X} is not allowed in a spec",
                span,
                help=("remove it: it cannot be seen",),
                fix=Edit(span, ""),
            )
        ]
    return []


def _unbalanced(source: Source) -> list[Diagnostic]:
    """Braces and parentheses that do not match, and nesting over the limit, before anything is parsed."""
    stack: list[tuple[str, int]] = []
    for match in re.finditer(r'#[^\n]*|"[^"\n]*"|[{}()\[\]]', source.text):
        char, at = match.group(), match.start()
        span = Span(source, at, at + 1)
        if char in "{([":
            stack.append((char, at))
            if len(stack) > MAX_NESTING:
                return [Diagnostic("N004", f"braces and parentheses are nested more than {MAX_NESTING} deep", span)]
        elif char in "})]":
            if not stack:
                return [
                    Diagnostic(
                        "N103",
                        f"this `{char}` closes nothing",
                        span,
                        help=(f"remove it, or add the missing `{_OPENER[char]}`",),
                    )
                ]
            opener, opened_at = stack.pop()
            if opener != _OPENER[char]:
                return [_unclosed(source, opener, opened_at, f"`{char}` on line {span.line} comes first")]
    if stack:
        return [_unclosed(source, *stack[-1], "the file ends first")]
    return []


def _unclosed(source: Source, opener: str, at: int, note: str) -> Diagnostic:
    closer = _CLOSER[opener]
    return Diagnostic(
        "N102",
        f"this `{opener}` is never closed",
        Span(source, at, at + 1),
        "opened here",
        (note,),
        (f"add the missing `{closer}`",),
    )
