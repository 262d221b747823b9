"""Characters that look like a sign of the language and are none: no-break spaces, arrow signs, typographic quotes and
dashes, full-width letters, signs that nobody sees. Word processors, web pages and phones write them."""

from __future__ import annotations

import re
import unicodedata

from netdsl.ground.diagnostics import Diagnostic, Edit
from netdsl.ground.source import Source, Span

MAX_REPORTED = 1000
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d\u2500\u2501"
_FOREIGN = rf'#[^\n]*|"[^"\n]*"|[-~={_DASHES}]{{1,3}}[>\u203a\u3009\uff1e]|[^\W\d]\w*|[^\x00-\x7f]'
_ALIKE = {
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2018\u2019\u201a\u201b\u2039\u203a\u300c\u300d", '"'),
    **dict.fromkeys(_DASHES, "-"),
    **dict.fromkeys("\u2217\u22c5\u00b7\u2022", "*"),
    **dict.fromkeys("\u00f7\u2044\u2215", "/"),
    "\u2264": "<=",
    "\u2265": ">=",
    "\u2260": "!=",
    "\u2026": "..",
    "\u2223": "|",
    "\u00a6": "|",
    "\u3001": ",",
}
_LATIN = dict(
    zip(
        "\u0430\u0441\u0435\u043e\u0440\u0445\u0443\u0456\u0458\u0455\u043a\u0410\u0412\u0421\u0415\u041d\u041a\u041c\u041e\u0420\u0422\u0425"
        "\u03bf\u03bd\u03b1\u03c1\u0131",
        "aceopxyijskABCEHKMOPTXovapi",
        strict=True,
    )
)  # letters of other scripts -> the Latin letter that they look like


def lookalikes(source: Source) -> list[Diagnostic]:
    """One diagnostic for each such character, outside of comments and strings; its fix is the sign that is meant."""
    diagnostics: list[Diagnostic] = []
    if source.text.isascii():
        return diagnostics
    for match in re.finditer(_FOREIGN, source.text):
        text = match.group()
        if text[0] in '#"' or text.isascii() or (match.start() == 0 and text == "\ufeff"):
            continue
        meant = _meant(source.text, match)
        if meant is not None and len(diagnostics) < MAX_REPORTED:
            diagnostics.append(_diagnostic(Span(source, match.start(), match.end()), meant))
    return diagnostics


def repaired(text: str, diagnostics: list[Diagnostic]) -> str:
    """The text with what is meant in place of each, as far as that keeps every offset."""
    pieces, done = [], 0
    for diagnostic in diagnostics:
        assert diagnostic.fix is not None
        start, end, new = diagnostic.fix.span.start, diagnostic.fix.span.end, diagnostic.fix.text
        pieces += [
            text[done:start],
            "\n" if new == "->" and end - start == 1 else new.ljust(end - start)[: end - start],
        ]
        done = end
    return "".join([*pieces, text[done:]])


def _meant(text: str, match: re.Match[str]) -> str | None:
    """What stands for the characters in the language; None where nothing does."""
    written = match.group()
    char = written[-1]
    if len(written) > 1 and char in ">\u203a\u3009\uff1e":
        return "->"
    if written[0].isalpha() or len(written) > 1:
        word = unicodedata.normalize("NFKC", "".join(_LATIN.get(c, c) for c in written))
        return word if word.isascii() else None
    if "ARROW" in (name := unicodedata.name(char, "")) and "RIGHT" in name:
        return "->"
    if char == "\u00d7" or "MULTIPLICATION" in name:
        before, after = text[: match.start()], text[match.end() :]
        return "x" if before[-1:].isdigit() and after[:1].isdigit() else "*"
    if unicodedata.category(char) in ("Cf", "Cc", "Mn") or char == "\u3164":
        return ""
    if unicodedata.category(char) in ("Zl", "Zp"):
        return "\n"
    if char.isspace():
        return " "
    if (
        char in _DASHES
        and re.search(r"\w[ \t]+$", text[: match.start()])
        and re.match(r"[ \t]+[A-Za-z{]", text[match.end() :])
    ):
        return "->"
    if char in _ALIKE:
        return _ALIKE[char]
    plain = str(unicodedata.digit(char)) if char.isdigit() else unicodedata.normalize("NFKC", char)
    return plain if plain.isascii() else None


def _diagnostic(span: Span, meant: str) -> Diagnostic:
    """Names the first character by its number, since it often cannot be told from the right one, or be seen."""
    text = span.text
    char = next(c for c in text if not c.isascii())
    name = f"U+{ord(char):04X} ({unicodedata.name(char, 'without a name').lower()})"
    if meant == "" or meant.isspace():
        message = f"the character {name} is not allowed in a spec"
        help_text = "remove it: it cannot be seen" if meant == "" else "write a plain space"
        help_text = "write a new line" if meant == "\n" else help_text
    else:
        message = f"`{text}` has the character {name}" if len(text) > 1 else f"`{text}` is the character {name}"
        message += ", which is no sign of the language"
        help_text = f"write `{meant}`"
    return Diagnostic("N002", message, span, help=(help_text,), fix=Edit(span, meant))
