"""What helps after a syntax error: the smallest change where the mistake is a known one, most of them habits from other
languages, and else what could have stood there."""

from __future__ import annotations

import re

from netdsl.ground.diagnostics import Edit, did_you_mean
from netdsl.ground.source import Span
from netdsl.ground.spelling import correction
from netdsl.language.foreign import layer_named, translated
from netdsl.language.syntax.ast import MERGES
from netdsl.layers import in_other_systems

Help = tuple[str, Edit | None]
NO_HELP: Help = ("", None)
MAX_LINE = 400  # characters of a line that is searched
_PYTHON = ("import", "from", "class", "def", "return", "print", "self", "super", "with", "while", "pass")

_LINES = (
    (
        r"\s*inputs?\b\s*(?:[:=(\[]|shape|size)?\s*=?\s*(?P<word>(?i:maps?|signals?)\b)?\s*[(\[]*\s*(?:(?:None|N|-1)\s*,)?"
        r"\s*(?P<sizes>\d+(?:\s*[,xX* ]\s*\d+)*)[\s)\],]*(?P<map>(?i:maps?|signals?)\s*)?",
        "input",
    ),
    (r"\s*expect\b(?P<left>[^=<>!]+)=(?P<right>[^=].*)", "expect{left}=={right}"),
    (r"(?P<before>\s*expect\b.*\d),(?P<after>\d{3}\b.*)", "{before}_{after}"),
    (r"\s*(?P<if>if|else if)\b(?P<left>[^=<>!{]+)={1,3}(?P<right>[^=].*)", "{if}{left}=={right}"),
    (r"\s*elif\b(?P<rest>.*)", "else if{rest}"),
    (r"\s*for\s*\((?P<inside>[^{]*)\)(?P<rest>\s*\{.*)", "for {inside}{rest}"),
    (r"(?P<before>\s*for\b.*)\.\.\.(?P<after>.*)", "{before}..{after}"),
    (r"\s*let\s+(?P<name>[A-Za-z_]\w*)\s*(?::=|:|<-)?\s*(?P<value>[^=\s].*)", "let {name} = {value}"),
    (r"\s*(?P<name>[A-Za-z_]\w*)\s*:?=\s*(?P<value>[\d(\[][^-]*)", "let {name} = {value}"),
    (r"\s*@(?P<label>\w+)\s*:\s*(?P<rest>.*)", "{label}: {rest}"),
    (r"\s*(?:x|y|h|z|out|output|net|model)\s*=\s*(?P<rest>[a-z].*)", "{rest}"),
    (r"\s*(?P<label>[A-Za-z_]\w*)\s*=\s*(?P<rest>[a-z].*)", "{label}: {rest}"),
    (
        r"\s*(?:def|function|fn|fun|func)\s+(?!__|forward|call)(?P<name>\w+)\s*\((?P<params>[^()]*)\).*",
        "block {name}({params}) {{ ... }}",
    ),
    (r"\s*block\s+(?P<name>\w+)\s*\((?P<params>[^()]*)\)\s*:.*", "block {name}({params}) {{ ... }}"),
    (r"(?P<before>.*\b\w+)\s*=\s*['\u2018](?P<word>same|nearest|bilinear|trilinear)['\u2019](?P<after>.*)", None),
)

_ENTRIES = (
    (r"(?P<key>[a-z_]+)\s*[:=]\s*(?P<value>[^=:]*)", "{key} {value}"),
    (r"(?P<key>[a-z_]+)\s+(?P<name>\w+)\s*\((?P<options>[^()]*=[^()]*)\)", "{key} {name} {options}"),
    (r"(?P<before>.*\s\w+)\s*=\s*\[(?P<inside>[^\[\]]*)\](?P<after>.*)", "{before}=({inside}){after}"),
    (r"data\s+(?P<path>[^\s\"',]*[./\\][^\s\"',]*)", 'data "{path}"'),
)


def syntax_help(span: Span, expected: set[str], what: dict[str, str]) -> Help:
    """The help, and the edit that it proposes. expected: names of tokens; what: how they are called."""
    of_whole = (_of_comment, _of_entry, _of_call, _of_line) if len(_around(span)[0]) < MAX_LINE else ()
    signs = (_of_input_word, _of_arrow, _of_separator, _of_bracket, _of_value, _of_end)
    for attempt in (*of_whole, _of_quotes, _of_call, _of_merge, *signs):
        help_text, edit = attempt(span)
        if help_text:
            return help_text, edit
    names = sorted({what[name] for name in expected if name in what})
    return (f"expected {' or '.join(names)}" if 0 < len(names) <= 5 else "", None)


def _around(span: Span) -> tuple[str, str, int]:
    """What stands before and behind the place on its line, and where the line begins."""
    text = span.source.text
    start = max(text.rfind("\n", 0, span.start) + 1, text.rfind("\r", 0, span.start) + 1, span.start - MAX_LINE)
    end = re.compile(r"[\r\n]|\Z").search(text, span.start)
    assert end is not None
    return text[start : span.start], text[span.start : min(end.start(), span.start + MAX_LINE)].split("#")[0], start


def _edit(span: Span, start: int, end: int, text: str) -> Edit:
    return Edit(Span(span.source, start, end), text)


def _of_comment(span: Span) -> Help:
    """`//` and others."""
    before, rest, _ = _around(span)
    sign = re.match(r"//|/\*|--(?=\s)|<!--|\"{2,3}|'{3}|;(?=\s*\S)|%(?!>)", rest)
    if sign and (not before.strip() or sign.group() in ("//", "/*", "<!--")):
        return "a comment begins with `#`", _edit(span, span.start, span.start + len(sign.group()), "#")
    return NO_HELP


def _of_entry(span: Span) -> Help:
    """An entry of the train block written as in Python, JSON or YAML."""
    text = span.source.text
    opener = re.compile(r"(?:^|\n)[ \t]*train[ \t\n]*\{[^{}]*\Z").search(text[max(0, span.start - 20_000) : span.start])
    head = re.match(
        r"\s*(?:train|training|Train)\b\s*[:=]?\s*(?P<rest>[^{]*)(?P<brace>\{?)", "".join(_around(span)[:2])
    )
    if opener is None:
        if head and "{" not in _around(span)[0]:
            return "the train block stands in braces: `train { epochs 5 }`", None
        return NO_HELP
    before, rest, line = _around(span)
    if rest.startswith("%") and (number := re.search(r"(\d+(?:\.\d+)?)\s*$", before)):
        share = f"{float(number[1]) / 100:g}"
        return f"write `{share}`", _edit(span, line + number.start(1), span.start + 1, share)
    if number := re.match(r"\.[0-9]+", rest):
        return f"write `0{number[0]}`", _edit(span, span.start, span.start, "0")
    if rest.startswith("=") and re.search(r"(\w+)\s+\w[^,{]*,\s*[a-z]+\s*$", before):
        comma = before.rindex(",")
        shown = f"{before[:comma]} {before[comma + 1 :].strip()}{rest}".rpartition("{")[2].strip(" }")
        return f"options stand behind the name, without a comma: `{shown}`", _edit(
            span, line + comma, line + comma + 1, ""
        )
    start = max(before.rfind("{"), before.rfind(",")) + 1
    if "(" in before[start:] or "[" in before[start:]:
        start = max(before.rfind("{"), 0) + (1 if "{" in before else 0)
    stop = re.search(r"[}]|,(?![^(\[]*[)\]])|\Z", rest)
    assert stop is not None
    entry = (before[start:] + rest[: stop.start()]).strip()
    for pattern, template in _ENTRIES:
        match = re.fullmatch(pattern, entry)
        if match:
            groups = {k: v.strip() if k not in ("before", "after") else v for k, v in match.groupdict().items()}
            if "options" in groups:
                groups["options"] = groups["options"].replace(",", "")
            new = template.format(**groups).strip()
            lead = len(before[start:]) - len(before[start:].lstrip())
            return f"write `{new}`", _edit(span, line + start + lead, line + start + lead + len(entry), new)
    return NO_HELP


def _of_line(span: Span) -> Help:
    """A whole statement in the words of another language."""
    before, rest, start = _around(span)
    line = f"{before}{rest}".rstrip()
    word = re.match(r"\s*(\w+)", line)
    if "->" not in line and re.match(r"\s*[\w.]+\s*=", line) or re.match(r"\s*self\.", line):
        new = translated(line)
        if new:
            return f"write `{new}`", _edit(span, start + len(line) - len(line.lstrip()), start + len(line), new)
    for pattern, template in _LINES:
        match = re.fullmatch(pattern, line) if len(line) <= MAX_LINE else None
        if match is None or template and template.startswith("let {") and layer_named(match["name"]):
            continue
        lead = len(line) - len(line.lstrip())
        if template == "input":
            sizes = re.findall(r"\d+", match["sizes"])
            new = f"input {'x'.join(sizes)}" + (" map" if match["word"] or match["map"] else "")
        elif template is None:
            new = f"{match['before']} {match['word']}{match['after']}".strip()
            new = re.sub(r"\s*\w+ (same|nearest|bilinear|trilinear)", r" \1", new)
        else:
            new = template.format(**match.groupdict()).strip()
        if new == line.strip():
            continue
        edit = None if "..." in new else _edit(span, start + lead, start + len(line), new)
        return f"write `{new}`", edit
    if "Sequential(" in line:
        return "layers stand by themselves, on lines of their own or chained with `->`: leave `Sequential` out", None
    if word and word[1] in _PYTHON:
        return f"a spec is not Python: leave this line out, it needs no `{word[1]}`", None
    if word and word[1] == "for" and not re.search(r"\bin\b", line):
        return "write `for i in 0..4 { ... }` or `for c in [64, 128] { ... }`", None
    if word and word[1] in ("if", "for") and "{" not in line:
        return f"what `{word[1]}` decides about stands in braces: `{{ ... }}`", None
    if word and word[1] == "block" and "(" not in line:
        return "a block has parentheses: `block f(...) { ... }`", None
    if word and word[1] == "use":
        name = re.sub(r"['\"]", "", line.strip()[3:]).strip()
        return f'a file is written in quotes: `use "{name if "." in name else "blocks.net"}"`', None
    for sign, plain in (("&&", "and"), ("||", "or"), ("!", "not"), ("===", "==")):
        asks = word and word[1] in ("if", "else", "expect", "let")
        if asks and rest.startswith(sign) and not rest.startswith("!="):
            return f"write `{plain}`", _edit(span, span.start, span.start + len(sign), f"{plain} ")
    return NO_HELP


def _of_quotes(span: Span) -> Help:
    """`'mnist'`, and values of layers in quotes."""
    before, rest, _ = _around(span)
    quoted = re.match(r"'([^'\n]*)'", rest)
    if quoted and re.match(r"\s*(data|use)\b|.*[{,]\s*data\b", before):
        return f'write `"{quoted[1]}"`', _edit(span, span.start, span.start + quoted.end(), f'"{quoted[1]}"')
    if call := _of_call(span)[0]:
        return call, _of_call(span)[1]
    quoted = re.match(r"(['\"`])(\w*)\1", rest)
    if quoted:
        return f"values stand without quotes: `{quoted[2]}`", _edit(
            span, span.start, span.start + quoted.end(), quoted[2]
        )
    return NO_HELP


def _of_call(span: Span) -> Help:
    """`nn.Conv2d(1, 32, 5)`, `conv(32, padding="same")`, `nn.ReLU`: one element of a chain."""
    before, rest, start = _around(span)
    begin = max((m.end() for m in re.finditer(r"->|[{|]", before)), default=0)
    stop = re.search(r"->|[}|]|\Z", rest)
    assert stop is not None
    text = before[begin:] + rest[: stop.start()]
    piece = text.strip().rstrip(",;")
    call = re.fullmatch(r"(?:[A-Za-z_][\w.]*\s*=\s*)?[A-Za-z_][\w.]*\s*(\(.*\))?", piece)
    if not call or not (call[1] or "." in piece) or piece.startswith(("in.", *(f"{op}(" for op in MERGES))):
        return NO_HELP
    new = translated(piece)
    if new is None:
        return NO_HELP
    at = start + begin + len(text) - len(text.lstrip())
    return f"write `{new}`", _edit(span, at, at + len(piece), new)


def _of_merge(span: Span) -> Help:
    """Branches without braces or bars, and braces behind what takes no branches."""
    before, rest, start = _around(span)
    opened = re.search(r"(\w+)\s*([{(\[])([^{}()\[\]|]*)$", before)
    if rest.startswith("|") and opened and opened[2] == "{":
        if opened[1] in MERGES and not opened[3].strip():
            return "a branch is missing before `|`: `id` passes the input on", None
        meant = {**in_other_systems(), "residual": "res", "sum": "add", "plus": "add"}.get(opened[1].lower())
        meant = meant or did_you_mean(opened[1], MERGES)
        listed = "only `add`, `mul` and `cat` have branches"
        if meant in MERGES and opened[1] not in MERGES:
            at = start + opened.start(1)
            return f"write `{meant} {{ ... | ... }}`: {listed}", _edit(span, at, at + len(opened[1]), meant)
    merge = re.search(rf"\b({'|'.join(MERGES)})\b\s*([({{\[]?)", before)
    if merge and merge[2] != "{" and (rest[:1] in ("|", ",") or merge[2]):
        return f"branches stand in braces: `{merge[1]} {{ a | b }}`", None
    if opened and opened[1] in MERGES and rest.startswith(","):
        return "branches are separated by `|`", _edit(span, span.start, span.start + 1, " |")
    if (
        opened is None
        and (word := re.search(r"(\w+)\s*\{\s*\w+\s*$", before))
        and word[1].lower() in ("residual", "skip", "shortcut")
    ):
        at = start + word.start(1)
        return "write `res { f }`, which is `add { f | id }`", _edit(span, at, at + len(word[1]), "res")
    return NO_HELP


def _of_input_word(span: Span) -> Help:
    """A word behind the sizes of the input that is nearly one of those that may stand there."""
    before, rest, _ = _around(span)
    word = re.match(r"[A-Za-z_]\w*", rest)
    if word is None or not re.match(r"\s*input\s+\d", before):
        return NO_HELP
    sure = correction(word[0], ("map", "of", "mean", "std"))
    if sure is None or sure == word[0]:
        return NO_HELP
    return f"did you mean `{sure}`?", _edit(span, span.start, span.start + word.end(), sure)


def _of_arrow(span: Span) -> Help:
    """Arrows of other kinds, and per cent before one."""
    before, rest, start = _around(span)
    line = before + rest
    for match in re.finditer(r"(?<!-)-\s+>|[-=~|%>]*>+|(?<=\s)=>(?=\s)", line):
        if match.start() <= len(before) < match.end() and match.group() != "->":
            return "layers are chained with `->`", _edit(span, start + match.start(), start + match.end(), "->")
    share = re.search(r"(\d+(?:\.\d+)?)\s*%\s*(->?\s*)?$", before)
    if share and (rest[:1] in (">", "") or share[2]):
        number = f"{float(share[1]) / 100:g}"
        at = start + share.start(1)
        return f"write `{number}`", _edit(span, at, start + before.rindex("%") + 1, number)
    return NO_HELP


def _of_separator(span: Span) -> Help:
    """Signs that other languages set between arguments, layers and lines."""
    before, rest, _ = _around(span)
    stripped = before.rstrip()
    if rest.startswith(",") and re.match(r"[\w ]*\([^()\n]*$", stripped.rpartition("->")[2].lstrip()):
        return "arguments are separated by spaces and take no parentheses: `conv 32 k5`", None
    if rest.startswith(","):
        return _comma(span, rest)
    if rest.startswith(";"):
        if not rest[1:].strip():
            return "remove it: a line needs no sign at its end", _edit(span, span.start, span.start + 1, "")
        return "write what follows on a new line, or after `->`", _edit(span, span.start, span.start + 1, " ->")
    if rest.startswith("\\"):
        return "remove it: a line that begins with `->` goes on with the one above", None
    if rest.startswith("|"):
        return "layers are chained with `->`", _edit(span, span.start, span.start + 1, "->")
    return NO_HELP


def _of_bracket(span: Span) -> Help:
    """Brackets around a group or a name, and signs of a name or a power."""
    before, rest, _ = _around(span)
    opens = re.search(r"(?:^|->|\*|\d)\s*$", before) and re.match(r"[(\[]\s*[A-Za-z]", rest)
    inside = re.search(r"(?:^|->|[{|]|\*)\s*[(\[]\s*\w+\s*$", before) and re.match(r"\d", rest)
    if opens or inside:
        return "a group stands in braces: `2 * { conv 8 -> relu }`", None
    if rest[:1] in ("$", "`", "!") or rest.startswith("{") and re.match(r"\{\w+\}", rest):
        return "a name stands by itself: `conv c`", None
    if rest.startswith(("**", "^")) or before.endswith("*") and rest.startswith("*"):
        return "there is no power: write the product, `2*2*2`", None
    return NO_HELP


def _of_value(span: Span) -> Help:
    """A value, or the sign between a name and its value, written as elsewhere."""
    before, rest, _ = _around(span)
    stripped = before.rstrip()
    if rest.startswith(":") and (flag := re.search(r"\b([a-z_]+)$", stripped)) and re.match(r":\s*\d", rest):
        return f"write `{flag[1]}={rest[1:].split()[0]}`", _edit(span, span.start, span.start + 1, "=")
    if (number := re.match(r"\.[0-9]+", rest)) and not before[-1:].isalnum():
        return f"write `0{number[0]}`", _edit(span, span.start, span.start, "0")
    if rest.startswith("=") and (dropped := re.search(r"(?:^|->|[{|])\s*([a-z]\w*)\s*$", before)):
        value = re.match(r"=\s*(\d[\w.]*)", rest)
        if value:
            return f"write `{dropped[1]} {value[1]}`", _edit(span, span.start, span.start + 1, " ")
    if rest.startswith("x") and re.search(r"(?:^|->|[{|])\s*\d+\s*$", before):
        return "write `*`", _edit(span, span.start, span.start + 1, "*")
    return NO_HELP


def _of_end(span: Span) -> Help:
    """What ends too early, and words that are none."""
    before, rest, _ = _around(span)
    stripped = before.rstrip()
    if stripped.endswith(("->", ":", "*")):
        sign = "->" if stripped.endswith("->") else stripped[-1]
        return f"a layer or `{{` must follow `{sign}`", None
    if re.match(r"\d[\d_.]*[A-Za-z]", rest):
        return "put a space between the number and the word", None
    if not span.text.isascii():
        return "names are made of ASCII letters, digits and `_`; put other text in a comment", None
    if stripped.endswith("="):
        return "a value must follow `=`", None
    return NO_HELP


def _comma(span: Span, rest: str) -> Help:
    """Between the arguments of a layer it is a space, between layers an arrow."""
    after = re.match(r",\s*([A-Za-z_]\w*)", rest)
    if after and _is_layer(after[1]):
        return "layers are chained with `->`", _edit(span, span.start, span.start + 1, " ->")
    if not rest[1:].strip():
        return "remove it: a line needs no sign at its end", _edit(span, span.start, span.start + 1, "")
    return "arguments are separated by spaces: `conv 32 k5`", _edit(
        span, span.start, span.start + 1, "" if rest[1:2] == " " else " "
    )


def _is_layer(word: str) -> bool:
    return layer_named(word) is not None
