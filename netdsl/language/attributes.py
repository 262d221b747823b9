"""What is written after a layer's name, held against the layer's attrs: `bind`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from netdsl.graph.types import MOST_AXES, Tensor
from netdsl.ground.diagnostics import Diagnostic, Edit, did_you_mean
from netdsl.ground.source import Span
from netdsl.language.attribute_mistakes import (
    Mistake,
    foreign_key,
    of_habit,
    too_many,
    unknown_attribute,
    with_key,
    without,
    written_for_an_image,
)
from netdsl.language.axes_in_words import kind_of, sides_example, sides_order, sizes_example
from netdsl.language.expressions import ExprError, UnknownShape, Value, evaluate, show_value
from netdsl.language.syntax import ast
from netdsl.layers.contract import REQUIRED, Attr, LayerDef, axes_of

Number = TypeVar("Number", int, float)
_FLAG = re.compile(r"([A-Za-z_]+?)(\d+(?:x\d+)*)")


@dataclass
class Bound:
    """attrs is None where a mistake was found; `spans` says where each attr was written."""

    attrs: dict[str, object] | None
    spans: dict[str, Span]
    diagnostics: list[Diagnostic]


def bind(
    layer: LayerDef,
    syntax: ast.Layer,
    names: Mapping[str, Value],
    given: Tensor | None,
    labelled: Callable[[ast.Ref], Tensor | None],
) -> Bound:
    """The attrs of `layer` as `syntax` gives them, with defaults; every mistake is reported.

    given: what arrives; None: unknown. labelled: the type of what `@name` means; None where it complained, or knows
    none.
    """
    written: dict[str, object] = {}
    bound = Bound(None, {}, [])
    complete = True
    free = [attr for attr in layer.attrs if attr.positional]
    for arg, following in zip(syntax.args, (*syntax.args[1:], None), strict=False):
        try:
            if isinstance(arg.value, ast.Ref):
                attr, value = _map_size(layer, arg, arg.value, free, given, labelled)
            else:
                attr, value = _argument(layer, arg, following, free, names, given, written)
            if attr in free:
                free.remove(attr)
            if attr.name in written:
                raise Mistake(
                    "N307",
                    f"`{attr.name}` is given twice",
                    arg.span,
                    "leave out one of the two",
                    notes=(f"the first one is `{bound.spans[attr.name].text}`",),
                )
            bound.spans[attr.name] = arg.span
            written[attr.name] = value
            written[attr.name] = _converted(layer, attr, value, axes_of(given), arg.span)
        except Mistake as mistake:
            bound.diagnostics.append(mistake.diagnostic)
            if mistake.is_last:
                break
        except ExprError as error:
            bound.diagnostics.append(of_habit(layer, arg) or error.diagnostic)
            break
        except UnknownShape:
            complete = False
    missing = [attr for attr in layer.attrs if attr.default is REQUIRED and attr.name not in written]
    if missing and complete and not bound.diagnostics:
        bound.diagnostics.append(_missing(layer, missing[0], syntax))
    if complete and not bound.diagnostics:
        bound.attrs = _with_defaults(layer, written, axes_of(given))
    return bound


def _with_defaults(layer: LayerDef, written: dict[str, object], axes: int) -> dict[str, object]:
    attrs: dict[str, object] = {}
    for attr in layer.attrs:
        default = attrs[attr.default] if isinstance(attr.default, str) else attr.default
        if attr.name not in written and isinstance(default, int):
            default = attr.spread(default, axes)
        attrs[attr.name] = written.get(attr.name, default)
    return attrs


def _missing(layer: LayerDef, attr: Attr, syntax: ast.Layer) -> Diagnostic:
    values = [arg.value.value for arg in syntax.args if arg.key is None and isinstance(arg.value, ast.Number)]
    needed = sum(a.positional and a.default is REQUIRED for a in layer.attrs)
    first = 0 if needed > 1 else 2 if attr.kind in ("spatial", "sides") else 32
    while len(values) < needed:
        values.append((2 * values[-1] or 2) if values else first)
    example = " ".join(map(str, values[:needed]))
    return Diagnostic(
        "N305",
        f"`{layer.name}` needs {attr.label or f'`{attr.name}`'}",
        syntax.name_span,
        help=(f"write a number after it, for example `{syntax.name} {example}`",),
    )


def _map_size(
    layer: LayerDef,
    arg: ast.Arg,
    ref: ast.Ref,
    free: list[Attr],
    given: Tensor | None,
    labelled: Callable[[ast.Ref], Tensor | None],
) -> tuple[Attr, Value]:
    """The attr that `@skip` sets, and the sizes of that map along its axes of space."""
    if not any(attr.takes_label for attr in layer.attrs):
        help_text = f"to go on from it, write `{arg.span.text} -> {layer.name}`"
        raise Mistake("N303", f"`{layer.name}` takes no label", arg.span, help_text)
    if not free or not free[0].takes_label:
        raise Mistake("N306", f"`{layer.name}` takes only one size", arg.span, "leave out one of the two")
    tensor = labelled(ref)
    if tensor is None:
        raise UnknownShape
    if not tensor.is_map:
        message = f"`{arg.span.text}` is {tensor.show()} ({tensor.noun}), which has no axes of space"
        raise Mistake("N303", message, arg.span, "name a map")
    if given is not None and given.is_map and given.axes != tensor.axes:
        message = f"`{arg.span.text}` is {tensor.show()}, {kind_of(tensor.axes)}, but {given.show()} arrives"
        raise Mistake("N303", message, arg.span, f"name {kind_of(given.axes)}")
    return free[0], tensor.space


def _argument(
    layer: LayerDef,
    arg: ast.Arg,
    following: ast.Arg | None,
    free: list[Attr],
    names: Mapping[str, Value],
    given: Tensor | None,
    written: Mapping[str, object],
) -> tuple[Attr, Value]:
    """The attr that `arg` means, and its value as written. following: the next one, if there is one."""
    if arg.key is not None:
        attr = next((a for a in layer.attrs if arg.key in a.keys), None)
        if attr is None or isinstance(arg.value, ast.Name) and arg.value.id not in names:
            foreign = foreign_key(layer, arg)
            if foreign is not None:
                raise foreign
        if attr is None:
            raise unknown_attribute(layer, arg.key, arg.key_span or arg.span)
        if attr.kind == "word":
            text = f"`{attr.name}` is a word: it takes no value"
            is_off = isinstance(arg.value, ast.Name) and arg.value.id.lower() == "false"
            fix = without(arg.span) if is_off else Edit(arg.span, attr.name)
            raise Mistake("N303", text, arg.span, f"write `{attr.name}` or leave it out", fix=fix)
        return attr, evaluate(arg.expr, names, given)
    if isinstance(arg.value, ast.Name) and arg.value.id not in names:
        return _flag_or_word(layer, arg.value, names, following)
    value = evaluate(arg.expr, names, given)
    if not free:
        raise too_many(layer, arg, value, given, written)
    return free[0], value


def _flag_or_word(
    layer: LayerDef, name: ast.Name, names: Mapping[str, Value], following: ast.Arg | None
) -> tuple[Attr, Value]:
    """`k5` or `nobias`."""
    alone = next((a for a in layer.attrs if a.kind != "word" and name.id in a.keys), None)
    if alone is not None and following is not None and isinstance(following.value, ast.Number | ast.Size):
        new = f"{name.id}={following.span.text}"
        between = Span(name.span.source, name.span.end, following.span.start)
        text = f"`{name.id}` stands without `=`"
        raise Mistake(
            "N302", text, name.span.to(following.span), f"write `{new}`", fix=Edit(between, "="), is_last=True
        )
    for attr in layer.attrs:
        if attr.kind == "word" and attr.name == name.id:
            return attr, True
    match = _FLAG.fullmatch(name.id)
    if match:
        keyed = next((a for a in layer.attrs if a.kind != "word" and match[1] in a.keys), None)
        if keyed is not None and match[1] != keyed.flag:
            short = f" or `{keyed.flag}{match[2]}`" if keyed.flag else ""
            raise Mistake(
                "N302",
                f"unknown attribute `{name.id}` of `{layer.name}`",
                name.span,
                f"write `{match[1]}={match[2]}`{short}",
                fix=Edit(name.span, f"{match[1]}={match[2]}"),
            )
        if keyed is not None:
            sizes = tuple(int(part) for part in match[2].split("x"))
            return keyed, sizes[0] if len(sizes) == 1 else sizes
        near = did_you_mean(match[1], [a.flag for a in layer.attrs if a.flag])
        if near:
            text = f"unknown attribute `{name.id}` of `{layer.name}`"
            guess = f"{near}{match[2]}"
            raise Mistake("N302", text, name.span, f"did you mean `{guess}`?", fix=Edit(name.span, guess))
    raise unknown_attribute(layer, name.id, name.span, names)


def _converted(layer: LayerDef, attr: Attr, value: Value, axes: int, span: Span) -> object:
    """`value` in the attr's kind, along so many axes of space; complains about kind and range."""
    if attr.kind == "word":
        return value
    if attr.kind == "float":
        if isinstance(value, bool | tuple | list):
            raise Mistake("N303", f"`{attr.name}` of `{layer.name}` must be a number, not `{show_value(value)}`", span)
        return _in_range(layer, attr, value if isinstance(value, float) else float(value), span)
    if attr.kind == "size" and isinstance(value, int | tuple) and not isinstance(value, bool):
        sizes = value if isinstance(value, tuple) else (value,)
        if len(sizes) > 1 + MOST_AXES:
            raise Mistake("N303", f"`{attr.name}` of `{layer.name}` takes one to four sizes, not {len(sizes)}", span)
        return tuple(_in_range(layer, attr, size, span) for size in sizes)
    if attr.kind == "spatial" and isinstance(value, tuple):
        _check_count(layer, attr, value, (1, axes), span)
        return tuple(_in_range(layer, attr, size, span) for size in value)
    if attr.kind == "sides" and isinstance(value, tuple):
        _check_count(layer, attr, value, (1, axes, 2 * axes), span)
        ends = [_in_range(layer, attr, size, span) for size in value]
        return tuple(zip(ends[:axes], ends[-axes:], strict=True))
    if (
        isinstance(value, list)
        and attr.kind in ("spatial", "size", "sides")
        and all(type(v) is int for v in value)
        and value
    ):
        written = with_key(attr, span) + "x".join(map(str, value))
        text = f"`{attr.name}` of `{layer.name}` is written as a size, not as a list"
        if attr.kind == "sides" and len(value) > max(2, axes):  # in which order they are meant nobody knows
            raise Mistake("N303", text, span, f"write {sides_order(axes)}")
        raise Mistake("N303", text, span, f"write `{written}`", fix=Edit(span, written))
    if isinstance(value, bool) or not isinstance(value, int):
        example = {
            "spatial": "a whole number" + (f" or a size like `{'x'.join('355'[:axes])}`" if axes > 1 else ""),
            "sides": f"sizes like {sides_example(axes)}",
            "size": "a size like `64x7x7`",
        }
        what = example.get(attr.kind, "a whole number")
        is_integer = isinstance(value, float) and value.is_integer()
        hints = (f"write `{with_key(attr, span)}{value:.0f}`",) if is_integer else ()
        text = f"`{attr.name}` of `{layer.name}` must be {what}, not `{show_value(value)}`"
        raise Mistake("N303", text, span, *hints)
    return attr.spread(_in_range(layer, attr, value, span), axes)


_NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four", 6: "six"}


def _check_count(layer: LayerDef, attr: Attr, value: tuple[int, ...], counts: tuple[int, ...], span: Span) -> None:
    """Complains unless there are as many sizes as the axes of space (the second count), or their sides, need."""
    if len(value) in counts[1:]:
        return
    *most, last = [_NUMBERS[count] for count in dict.fromkeys(counts)]
    listed = f"{', '.join(most)} or {last} sizes" if most else f"{last} size"
    of_what = "" if counts[1] == 2 else f" of {kind_of(counts[1])}"
    message = f"`{attr.name}` of `{layer.name}` takes {listed}{of_what}, not {len(value)}"
    spare = written_for_an_image(span, value) if counts[1] == 1 else None
    if spare is not None:
        raise Mistake("N303", message, span, f"write `{spare}`: a signal has one axis of space", fix=Edit(span, spare))
    raise Mistake("N303", message, span, _count_help(layer, attr, value, counts[1]))


def _count_help(layer: LayerDef, attr: Attr, value: tuple[int, ...], axes: int) -> str:
    """What to write instead of too many or too few sizes; a number for each side may be meant, but of no window."""
    if attr.kind == "sides":
        return f"write {sides_example(axes)}"
    if attr.name in ("kernel_size", "stride", "dilation"):
        return f"write {sizes_example(axes)}"
    sides = next((a for a in layer.attrs if a.kind == "sides"), None)
    if len(value) == 2 * axes and sides is not None:
        key = f"{sides.keys[0]}={show_value(value)}"
        return f"write {sizes_example(axes)}; for each side by itself write `{key}`"
    if len(value) == 2 * axes and attr.name == "padding":  # of a transposed convolution, where it is what goes
        crop = f"crop p={show_value(value)}"
        return f"write {sizes_example(axes)}; for each side by itself `{crop}` behind `{layer.name}`"
    return f"write {sizes_example(axes)}"


def _in_range(layer: LayerDef, attr: Attr, number: Number, span: Span) -> Number:
    """The number, if the attr can be that."""
    if attr.minimum is not None and number < attr.minimum:
        limit = f"at least {attr.minimum:g}"
    elif attr.above is not None and number <= attr.above:
        limit = f"above {attr.above:g}"
    elif attr.below is not None and number >= attr.below:
        limit = f"below {attr.below:g}"
    elif attr.kind != "float" and number >= 2**31:
        limit = f"below {2**31:_}"
    else:
        return number
    share = attr.below == 1 and 5 <= number <= 99
    hints = (f"{show_value(number)} per cent is `{number / 100:g}`",) if share else ()
    text = f"`{attr.name}` of `{layer.name}` must be {limit}, not {show_value(number)}"
    raise Mistake("N304", text, span, *hints)
