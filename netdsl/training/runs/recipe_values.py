"""The recipe in config.json, read by the rules of the train block: what no block can say is damage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from netdsl.graph.misfits import misfits
from netdsl.graph.recipe import OPTIMIZERS, Recipe
from netdsl.graph.schedules import Steps
from netdsl.ground.source import Source, Span
from netdsl.language.syntax import ast
from netdsl.language.train_block import ENTRIES
from netdsl.language.train_values import Mistake

ALWAYS = ("data", "val", "loss", "optimizer", "options", "schedule", "epochs", "batch", "seed", "init")
MOST = 2**53  # a whole number: up to here floats are exact
_WITH_OPTIONS: Mapping[str, tuple[str, str]] = {
    "data": ("data", "data_options"),
    "loss": ("loss", "loss_options"),
    "opt": ("optimizer", "options"),
    "schedule": ("schedule", "schedule_options"),
}
"""Key of an entry -> the field of its name and that of its options; other fields are entries of their own name."""
_NOWHERE = Span(Source("config.json", ""), 0, 0)


def recipe_of(values: object) -> Recipe:
    """The recipe that `dataclasses.asdict` made these values of, in older versions too. Raises ValueError."""
    if not isinstance(values, dict):
        raise ValueError("`recipe` is no object")
    known = {f.name for f in fields(Recipe)}
    for key in values:
        if key not in known:
            raise ValueError(f"`recipe` has the unknown key `{key[:80]}`")
    missing = [key for key in ALWAYS if key not in values]
    if missing:
        raise ValueError(f"`recipe` has no `{missing[0]}`")
    read: dict[str, object] = {}
    for entry in _entries(values):
        try:
            read.update(ENTRIES[entry.key](entry))
        except Mistake as mistake:
            raise ValueError(f"`recipe`: {mistake}") from None
    recipe = Recipe(**read)  # type: ignore[arg-type]
    for misfit in misfits(recipe):
        raise ValueError(f"`recipe`: {misfit.message}")
    return recipe


def _entries(values: Mapping[str, object]) -> list[ast.Entry]:
    """The entries of a train block that say the same."""
    rest, entries = {"monitor": "val_accuracy", **values}, []  # which was that of runs before they could say so
    for key, (name, options) in _WITH_OPTIONS.items():
        if name in rest:
            given = _options(options, rest.pop(options, {}))
            if key == "opt" and "lr" not in given:
                raise ValueError("`options` has no `lr`")
            settings = _settings(given, _spellings(values, key))
            if key == "opt":
                settings += _settings({k: rest.pop(k) for k in ("decay",) if rest.get(k, "all") != "all"}, {})
                rest.pop("decay", None)
            entries.append(_entry(key, _value(name, rest.pop(name)), *settings))
        elif options in rest:
            raise ValueError(f"`recipe` has `{options}`, but no `{name}`")
    augment = _options("augment", rest.pop("augment", {}))
    entries += [_entry("augment", *_settings(augment, {}))] if augment else []
    steps, every = rest.pop("steps", None), rest.pop("every", None)
    patience = rest.pop("patience", None)
    entries += [_entry("stop", *_settings({"patience": patience}, {}))] if patience is not None else []
    optional = {f.name for f in fields(Recipe) if f.default is None}
    entries += [_entry(key, _value(key, v)) for key, v in rest.items() if v is not None or key not in optional]
    if steps is None and every is not None:
        raise ValueError("`recipe` has `every`, but no `steps`")
    if steps is not None:  # behind `epochs`, which are those of a run that is counted in them
        options_given = _settings({} if every is None else {"every": every}, {})
        entries.append(_entry("steps", _value("steps", steps), *options_given))
    return entries


def _entry(key: str, *settings: ast.Value | ast.Keyed) -> ast.Entry:
    return ast.Entry(_NOWHERE, key, settings, _NOWHERE)


def _options(name: str, values: object) -> dict[str, object]:
    if not isinstance(values, dict):
        raise ValueError(f"`{name}` is no object")
    return values


def _spellings(values: Mapping[str, object], key: str) -> dict[str, str]:
    """Argument of an optimizer -> how a spec spells it: `weight_decay` is `wd`."""
    optimizer = OPTIMIZERS.get(str(values.get("optimizer"))) if key == "opt" else None
    return {argument: spelling for spelling, (argument, _) in optimizer.options.items()} if optimizer else {}


def _settings(options: Mapping[str, object], spellings: Mapping[str, str]) -> list[ast.Value | ast.Keyed]:
    """`{"momentum": 0.9, "nesterov": True}` as `momentum=0.9 nesterov`."""
    spelled = {value: key for key, value in spellings.items()}
    for key in options:
        if key in spelled and spelled[key] != key:  # a config has the arguments, no other names of them
            raise ValueError(f"`recipe` has the unknown key `{key[:80]}`")
    return [
        ast.Value(_NOWHERE, spellings.get(key, key))
        if value is True
        else ast.Keyed(_NOWHERE, spellings.get(key, key), _value(key, value))
        for key, value in options.items()
    ]


def _value(name: str, value: object) -> ast.Value:
    """A word, a number or numbers. A path is one in quotes."""
    if isinstance(value, list):
        return ast.Value(_NOWHERE, tuple(_length(name, part) for part in value))
    if isinstance(value, str):
        return ast.Value(_NOWHERE, value, name == "data")
    return ast.Value(_NOWHERE, _length(name, value))


def _length(name: str, value: object) -> int | float | Steps:
    """A number, or how many steps, which is an object."""
    if isinstance(value, dict) and list(value) == ["count"] and isinstance(value["count"], int):
        return Steps(int(_number(name, value["count"])))
    return _number(name, value)


def _number(name: str, value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"`{name[:80]}` is no number")
    if isinstance(value, int) and abs(value) > MOST:
        raise ValueError(f"`{name[:80]}` is too large")
    return value
