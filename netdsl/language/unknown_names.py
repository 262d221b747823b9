"""What is said of a layer or a block that there is not, and of an `input` that is written as other systems do."""

from __future__ import annotations

from collections.abc import Mapping

from netdsl.ground.diagnostics import Edit, did_you_mean
from netdsl.ground.spelling import correction
from netdsl.language.foreign import layer_named, translated
from netdsl.language.syntax import ast
from netdsl.layers import find_layer, in_other_systems, spellings

_LETS = ("var", "const", "val", "set", "int", "define", "local")
_PYTHON = ("import", "from", "class", "def", "return", "print", "pass", "with", "while", "lambda", "yield")


def is_input(primary: object) -> bool:
    """Whether a layer is `input` in another spelling: `Input 1x28x28`."""
    return isinstance(primary, ast.Layer) and correction(primary.name, ["input"]) is not None and bool(primary.args)


def unknown_layer(syntax: ast.Layer, blocks: Mapping[str, object]) -> tuple[str, str, Edit | None]:
    """The message, the help, and the edit that the help proposes."""
    name, values = syntax.name, [arg.span.text for arg in syntax.args]
    message = f"unknown layer `{name}`"
    if name in ast.MERGES:
        shape = "{ f }" if name == "res" else "{ a | b }"
        return f"`{name}` needs branches", f"write `{name} {shape}`", None
    if is_input(syntax):
        return message, f"write `input {' '.join(values)}`", Edit(syntax.name_span, "input")
    if name in blocks:
        call = f"{name}({', '.join(values)})"
        return message, f"`{name}` is a block: write `{call}`", Edit(syntax.span, call)
    if name in _LETS and len(syntax.args) == 1 and syntax.args[0].key:
        return (
            message,
            f"write `let {syntax.args[0].key} = {syntax.args[0].value.span.text}`",
            Edit(syntax.name_span, "let"),
        )
    if name in _PYTHON:
        return message, f"a spec is not Python: leave this line out, it needs no `{name}`", None
    return message, *_guess(syntax, blocks)


def _guess(syntax: ast.Layer, blocks: Mapping[str, object]) -> tuple[str, Edit | None]:
    foreign = in_other_systems()
    layer = layer_named(syntax.name)
    if layer is not None:
        return f"did you mean `{layer.name}`?", Edit(syntax.name_span, layer.name)
    sure = correction(syntax.name, [*spellings(), "res", *blocks, *foreign])
    if sure is not None and sure in blocks:
        call = f"{sure}({', '.join(arg.span.text for arg in syntax.args)})"
        return f"did you mean the block `{sure}(...)`?", Edit(syntax.span, call)
    guess = sure or did_you_mean(syntax.name, [*spellings(), "res"]) or did_you_mean(syntax.name, foreign)
    block = did_you_mean(syntax.name, blocks)
    if guess:
        guess = foreign.get(guess, guess)
        return f"did you mean `{guess}`?", Edit(syntax.name_span, guess) if sure else None
    if block:
        return f"did you mean the block `{block}(...)`?", None
    return "`netdsl explain layers` lists the layers", None


def unknown_block(syntax: ast.Call, blocks: Mapping[str, object], channels: int | None) -> tuple[str, Edit | None]:
    """The help for a call of a block that there is not, and the edit that it proposes; channels: those that arrive."""
    sure = correction(syntax.name, blocks)
    guess = sure or did_you_mean(syntax.name, blocks)
    meant = None if sure else translated(syntax.span.text, channels)
    if meant is not None:
        is_own = find_layer(syntax.name) is not None
        hint = f"`{syntax.name}` is a layer: write `{meant}`" if is_own else f"write `{meant}`"
        return hint, Edit(syntax.span, meant)
    if guess:
        return f"did you mean `{guess}`?", Edit(syntax.name_span, guess) if sure else None
    if syntax.name in ast.MERGES:
        return f"branches stand in braces: `{syntax.name} {{ a | b }}`", None
    if layer_named(syntax.name) is not None:
        return f"`{syntax.name}` is a layer: write it without parentheses, as in `conv 32 k5`", None
    return f"define it: `block {syntax.name}(...) {{ ... }}`", None
