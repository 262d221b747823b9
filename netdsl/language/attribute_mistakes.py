"""What is said of arguments of a layer that are wrong: the nearest attribute, or what a habit means here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain

from netdsl.graph.types import Tensor
from netdsl.ground.diagnostics import Diagnostic, Edit, did_you_mean
from netdsl.ground.source import Span
from netdsl.ground.spelling import correction
from netdsl.language.axes_in_words import axes_text
from netdsl.language.expressions import Value, show_value
from netdsl.language.foreign import attr_named, is_not_written, layer_named, word_for
from netdsl.language.syntax import ast
from netdsl.layers.contract import Attr, LayerDef, axes_of, plural

CAUSAL = "write what lies before and behind: `p2x0` for a kernel of 3, (k - 1) * d steps before"


class Mistake(Exception):
    """A diagnostic on its way. fix: the edit that the help proposes; is_last: what follows is part of the mistake."""

    def __init__(
        self,
        code: str,
        message: str,
        span: Span,
        *help: str,
        notes: tuple[str, ...] = (),
        fix: Edit | None = None,
        is_last: bool = False,
    ) -> None:
        super().__init__(message)
        self.diagnostic = Diagnostic(code, message, span, notes=notes, help=help, fix=fix)
        self.is_last = is_last


def unknown_attribute(layer: LayerDef, word: str, span: Span, names: Mapping[str, Value] | None = None) -> Mistake:
    """Names the nearest attribute; a flag's number (`kk5`) is set aside for the search."""
    words = [attr.name for attr in layer.attrs if attr.kind == "word"]
    keys = [key for attr in layer.attrs if attr.kind != "word" for key in attr.keys]
    values = () if names is None else names
    sure = correction(word, chain(words, keys, values))
    guess = sure or did_you_mean(word, chain(words, keys, values))
    fix = None
    if word == "causal" and any(attr.kind == "sides" for attr in layer.attrs):
        return Mistake("N302", f"unknown attribute `{word}` of `{layer.name}`", span, CAUSAL)
    if names is not None and guess not in words and guess not in values and layer_named(word) is not None:
        help_text, fix = (
            f"`{word}` is a layer: write `-> {word}`",
            Edit(Span(span.source, span.start, span.start), "-> "),
        )
    elif guess:
        plain = guess in words or guess in values
        help_text = f"did you mean `{guess}`?" if plain else f"did you mean `{guess}=...`?"
        fix = Edit(span, guess) if sure and (plain or names is None) else None
    elif layer.attrs:
        flags = [f"`{a.flag}`" if a.flag else f"`{a.name}`" for a in layer.attrs]
        help_text = f"known: {', '.join(flags)}"
    else:
        help_text = f"`{layer.name}` has no attributes"
    return Mistake("N302", f"unknown attribute `{word}` of `{layer.name}`", span, help_text, fix=fix)


def too_many(
    layer: LayerDef, arg: ast.Arg, value: Value, given: Tensor | None, written: Mapping[str, object]
) -> Mistake:
    """A bare value too many: perhaps the window, perhaps the size of the input, which is never written."""
    count = sum(attr.positional for attr in layer.attrs)
    flags = [
        attr.flag
        for attr in layer.attrs
        if attr.flag and not attr.positional and attr.kind != "sides" and attr.name not in written
    ]
    takes = "no value" if count == 0 else f"only {plural(count, 'value')}"
    hints, fix = [], None
    size = _size_text(value)
    first = written.get(layer.attrs[0].name) if layer.attrs else None
    arrives = None if given is None or given.is_ids else given.channels
    if isinstance(value, int) and layer.attrs and layer.attrs[0].name in ("filters", "features") and first == arrives:
        hints = [f"the size of the input is not written: `{layer.name} {value}`"]
    elif flags and size is not None:
        text = f"{flags[0]}{size}"
        hints, fix = [f"name the others, as in `{text}`"], Edit(arg.span, text)
    elif layer.attrs and layer.attrs[0].name == "features":
        hints = [f"the size of the input is not written: `{layer.name} {show_value(value)}`"]
    elif count == 0:
        hints, fix = ["leave it out"], without(arg.span)
    elif any(attr.positional and attr.kind == "spatial" for attr in layer.attrs):
        hints = [_of_more_sizes(axes_of(given))]
    elif isinstance(first, tuple) and isinstance(value, int) and layer.attrs[0].kind == "size":
        hints = [f"sizes are written as one: `{layer.name} {show_value(first)}x{value}`"]
    return Mistake("N306", f"`{layer.name}` takes {takes}", arg.span, *hints, fix=fix)


def _of_more_sizes(axes: int) -> str:
    """What helps where sizes stand one after the other."""
    if axes == 1:
        return "a signal has one axis of space: write one number"
    return f"{axes_text(axes)} are written as one: `{'x'.join('355'[:axes])}`"


def written_for_an_image(span: Span, value: tuple[int, ...]) -> str | None:
    """`k3` for `k1x3` and `p2x0` for `p0x2x0x0`, where an image 1 high stands for a signal; None where it does not."""
    heights, widths, text = value[::2], value[1::2], "x".join(map(str, value))
    if len(value) not in (2, 4) or set(heights) - {0, 1} or not span.text.endswith(text):
        return None
    return span.text.removesuffix(text) + "x".join(map(str, widths[:1] if len(set(widths)) == 1 else widths))


def _size_text(value: Value) -> str | None:
    """The value as it stands behind a flag, `3` or `3x5`; None where it is no size."""
    if isinstance(value, bool | float):
        return None
    sizes = value if isinstance(value, list | tuple) else (value,)
    if any(isinstance(size, list | tuple) for size in sizes):
        return None
    return "x".join(map(str, sizes[:1] if all(size == sizes[0] for size in sizes) else sizes))


def of_habit(layer: LayerDef, arg: ast.Arg) -> Diagnostic | None:
    """An argument in the words of another system, or a comment of another language; None where it is neither."""
    text, start = arg.span.source.text, arg.span.start
    value = arg.value
    line = text[start : (text + "\n").find("\n", start)]
    comment = re.search(r"//", line)
    if comment and not re.match(r"//\s*[\d(]", line[comment.start() :]):
        at = Span(arg.span.source, start + comment.start(), start + comment.end())
        return Diagnostic("N101", "unexpected `//`", at, help=("a comment begins with `#`",), fix=Edit(at, "#"))
    if isinstance(value, ast.Binary) and "--" in arg.span.text:
        start += arg.span.text.index("--")
        span = Span(arg.span.source, start, start + 2)
        return Diagnostic("N101", "unexpected `--`", span, help=("layers are chained with `->`",), fix=Edit(span, "->"))
    if isinstance(value, ast.Binary) and value.op == "*" and isinstance(value.right, ast.Number):
        count = f"{value.right.span.text} * {layer.name} ..."
        return Diagnostic("N101", "a count stands after the layer", arg.span, help=(f"write it before: `{count}`",))
    if isinstance(value, ast.Binary) and isinstance(value.right, ast.Name) and layer_named(value.right.id) is not None:
        between = value.right.span.source.text[value.left.span.end : value.right.span.start]
        sign = Span(arg.span.source, value.left.span.end, value.right.span.start)
        if between.strip() == value.op:
            help_text = "layers are chained with `->`"
            return Diagnostic("N101", f"unexpected `{value.op}`", sign, help=(help_text,), fix=Edit(sign, " -> "))
    if isinstance(value, ast.Function) and value.args:
        attr = next((a for a in layer.attrs if value.name in a.keys and a.kind != "word"), None)
        if attr is not None:
            new = f"{value.name}={'x'.join(dict.fromkeys(a.span.text for a in value.args))}"
            help_text = f"write `{new}`"
            return Diagnostic(
                "N302", f"`{value.name}` is an attribute", arg.span, help=(help_text,), fix=Edit(arg.span, new)
            )
    return None


def foreign_key(layer: LayerDef, arg: ast.Arg) -> Mistake | None:
    """`bias=False`, `padding=same`, `activation=relu`, `out_channels=8`: what it is here; None if it is not known."""
    key, value = str(arg.key), arg.value
    span, text = arg.span, f"unknown attribute `{arg.key}` of `{layer.name}`"
    word = value.id if isinstance(value, ast.Name) else None
    is_true = {"True": True, "true": True, "False": False, "false": False, "None": None}
    known = next((a for a in layer.attrs if key in a.keys), None)
    if word is not None:
        told = word_for(layer, key, is_true.get(word, word))
        told = (
            word if told is None and known and any(a.kind == "word" and a.name == word for a in layer.attrs) else told
        )
        if told is None and key in ("p", "pad") and word in ("same", "valid"):
            told = word_for(layer, "padding", word)
        if known is not None:
            text = f"`{key}` of `{layer.name}` takes a number"
        if word == "causal" and known is not None and known.kind == "sides":
            return Mistake("N302", text, span, CAUSAL)
        if told:
            return Mistake("N302", text, span, f"write `{told}`", fix=Edit(span, told))
        if told == "":
            return Mistake("N302", text, span, "leave it out: it is so without", fix=without(span))
        act = layer_named(word) if key == "activation" else None
        if act is not None:
            fix = Edit(span, f"-> {act.name}")
            return Mistake(
                "N302", text, span, f"an activation is a layer: write `-> {act.name}`", fix=fix, is_last=True
            )
    if known is not None:
        return None
    attr = attr_named(layer, key)
    if attr is not None and arg.key_span is not None:
        given = f"{attr.name}={value.span.text}"
        return Mistake("N302", text, span, f"write `{given}`", fix=Edit(arg.key_span, attr.name))
    if is_not_written(key):
        return Mistake("N302", text, span, "leave it out: the compiler knows it", fix=without(span))
    return None


def without(span: Span) -> Edit:
    """Takes the text away, with the white space before it."""
    text = span.source.text[: span.start]
    return Edit(Span(span.source, len(text.rstrip(" \t")), span.end), "")


def with_key(attr: Attr, span: Span) -> str:
    """`k=` where the argument at the span has a key."""
    key = re.match(r"[A-Za-z_]+\s*=", span.text)
    return key[0].replace(" ", "") if key else ""
