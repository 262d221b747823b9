"""The train block as a checked `Recipe`: what each entry takes, and what is said about one that is wrong.

`lower_train` reads a whole block, `with_entries` single entries given as text, on the command line for instance.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, replace
from typing import Any

from netdsl.graph.misfits import misfits
from netdsl.graph.recipe import (
    AUGMENTATIONS,
    DATA_OPTIONS,
    DATASETS,
    FITS,
    LOSSES,
    MONITORS,
    OPTIMIZERS,
    SCHEDULES,
    SCHEMES,
    TEXT_UNITS,
    Recipe,
)
from netdsl.graph.schedules import Steps
from netdsl.ground.diagnostics import Diagnostic, Edit, UserError, plain
from netdsl.ground.source import Source
from netdsl.language.syntax import ast
from netdsl.language.syntax.parser import parse
from netdsl.language.train_values import KINDS, Mistake, guessed, named, read_options, single, whole, word

Fields = dict[str, Any]
"""Fields of a Recipe, of the types that they have there."""

MAX_TEXT = 10_000  # characters of an entry given as text


def _data(entry: ast.Entry) -> Fields:
    """A built-in name, or a path in quotes with its options."""
    first, *settings = entry.settings or (None,)
    if isinstance(first, ast.Value) and not first.quoted and first.value == "text":
        return _text(settings)
    if not isinstance(first, ast.Value) or any(isinstance(s, ast.Value) for s in settings):
        raise Mistake("`data` takes one name or path, and options as `stride=64`")
    value = first.value
    options = read_options(tuple(settings), "data", {"data": DATA_OPTIONS})
    if first.quoted:
        return {"data": str(value), "data_options": options}
    if value in DATASETS and options:
        raise Mistake(f"`{value}` has no options: they are for files of your own", "leave them out")
    if value in DATASETS:
        return {"data": str(value), "data_options": {}}
    guess, sure = guessed(str(value), DATASETS)
    known = f"known: {', '.join(f'`{name}`' for name in DATASETS)}; a path is written in quotes"
    raise Mistake(
        f"unknown data `{value}`",
        *([f"did you mean `{guess}`?"] if guess else []),
        known,
        fix=Edit(first.span, guess) if guess and sure else None,
    )


def _text(settings: list[ast.Value | ast.Keyed]) -> Fields:
    """A text in a file, and the unit that its numbers stand for: `text "a.txt"`, `text "a.txt" bytes`."""
    path, *more = settings or (None,)
    if not isinstance(path, ast.Value) or not path.quoted or not path.value:
        raise Mistake("`data text` takes a path in quotes", 'write `data text "input.txt"`')
    if len(more) > 1 or any(isinstance(setting, ast.Keyed) for setting in more):
        raise Mistake("`data text` takes a path, and `bytes` or nothing", f"write `data text {path.span.text} bytes`")
    (unit,) = [setting.value for setting in more if isinstance(setting, ast.Value)] or ["characters"]
    return {"data": str(path.value), "data_options": {"text": KINDS["unit"](unit, "text")}}


def _loss(entry: ast.Entry) -> Fields:
    name = named(entry, LOSSES, "a loss", "loss ce")
    options = read_options(entry.settings[1:], name, {key: loss.options for key, loss in LOSSES.items()})
    if "weights" in options and "balanced" in options:
        raise Mistake("`weights` and `balanced` exclude each other", "`balanced` makes weights from the training data")
    return {"loss": name, "loss_options": options}


def _optimizer(entry: ast.Entry) -> Fields:
    name = named(entry, OPTIMIZERS, "an optimizer", "opt adam lr=1e-3")
    kinds = {key: {"lr": "positive"} | {k: kind for k, (_, kind) in o.options.items()} for key, o in OPTIMIZERS.items()}
    arguments = {"lr": "lr"} | {key: argument for key, (argument, _) in OPTIMIZERS[name].options.items()}
    given = read_options(entry.settings[1:], name, kinds)
    decay = str(given.pop("decay", "all"))
    options = {"lr": OPTIMIZERS[name].lr} | {arguments[key]: value for key, value in given.items()}
    if decay != "all":
        options = {"weight_decay": OPTIMIZERS[name].decay} | options
        if not options["weight_decay"]:
            raise Mistake(f"`decay={decay}` needs a weight decay above 0", f"write `wd=0.1 decay={decay}`")
    if options.get("nesterov") and not options.get("momentum"):
        raise Mistake("`nesterov` needs a momentum above 0", "add `momentum=0.9`")
    return {"optimizer": name, "options": options, "decay": decay}


def _schedule(entry: ast.Entry) -> Fields:
    name = named(entry, SCHEDULES, "a schedule", "schedule cosine")
    options = read_options(entry.settings[1:], name, {key: s.options for key, s in SCHEDULES.items()})
    one_of = SCHEDULES[name].one_of
    if one_of and sum(option in options for option in one_of) != 1:
        either = " or ".join(f"`{option}`" for option in one_of)
        text = f"`{name}` takes {either}, not both" if one_of[0] in options else f"`{name}` needs {either}"
        raise Mistake(text, f"write `schedule {name} {one_of[0]}=10`, in epochs")
    return {"schedule": name, "schedule_options": options}


def _augment(entry: ast.Entry) -> Fields:
    if not entry.settings:
        known = ", ".join(f"`{name}`" for name in AUGMENTATIONS)
        raise Mistake("`augment` takes what is to be changed", "write `augment shift=2 flip`", f"known: {known}")
    return {"augment": read_options(entry.settings, "augment", {"augment": AUGMENTATIONS})}


def _epochs(entry: ast.Entry) -> Fields:
    return {"epochs": whole(single(entry), 1, "`epochs`"), "steps": None, "every": None}


def _steps(entry: ast.Entry) -> Fields:
    """How many steps, and after how many of them there is a row of the history."""
    first, *settings = entry.settings or (None,)
    if not isinstance(first, ast.Value):
        raise Mistake("`steps` takes how many there are", "write `steps 2000`, or `steps 2000 every=250`")
    steps = whole(first.value.count if isinstance(first.value, Steps) else first.value, 1, "`steps`")
    every = read_options(tuple(settings), "steps", {"steps": STEPS_OPTIONS}).get("every")
    if isinstance(every, int) and every > steps:
        raise Mistake(f"`every={every}` is more than all of the {steps} steps", f"use `every={steps}` or less")
    return {"steps": steps, "every": every}


def _stop(entry: ast.Entry) -> Fields:
    if not entry.settings or not isinstance(entry.settings[0], ast.Keyed):
        raise Mistake("`stop` takes `patience`, in epochs", "write `stop patience=5`")
    return read_options(entry.settings, "stop", {"stop": {"patience": "whole"}})


def _one(key: str, read: Callable[[object, str], object]) -> Callable[[ast.Entry], Fields]:
    """What lowers an entry of one value to the field of its name."""
    return lambda entry: {key: read(single(entry), key)}


ENTRIES: Mapping[str, Callable[[ast.Entry], Fields]] = {
    "data": _data,
    "val": _one("val", KINDS["fraction"]),
    "loss": _loss,
    "opt": _optimizer,
    "schedule": _schedule,
    "epochs": _epochs,
    "steps": _steps,
    "batch": _one("batch", lambda value, what: whole(value, 1, f"`{what}`")),
    "accumulate": _one("accumulate", lambda value, what: whole(value, 1, f"`{what}`")),
    "seed": _one("seed", lambda value, what: whole(value, 0, f"`{what}`")),
    "init": _one("init", lambda value, what: word(value, SCHEMES, "initialisation")),
    "augment": _augment,
    "clip": _one("clip", KINDS["positive"]),
    "ema": _one("ema", KINDS["share"]),
    "stop": _stop,
    "fit": _one("fit", lambda value, what: word(value, dict.fromkeys(FITS), "fit")),
    "monitor": _one("monitor", lambda value, what: word(value, MONITORS, "measure")),
}
"""Key of an entry -> what makes fields of a Recipe of it."""

EXCLUDES: Mapping[str, str] = {"epochs": "steps", "steps": "epochs"}
"""Key -> that of the entry beside which it cannot stand."""

STEPS_OPTIONS: Mapping[str, str] = {"every": "whole"}
"""Option of `steps` -> the kind of its value."""

OFF: Mapping[str, str] = {"augment": "augment", "clip": "clip", "ema": "ema", "stop": "patience", "fit": "fit"}
"""Key -> the field that the text `none` puts back; an entry that a spec can only leave out."""


def lower_train(block: ast.Train) -> tuple[Recipe, list[Diagnostic]]:
    """The recipe a train block describes, and what is wrong with it."""
    said: Fields = {}
    seen: dict[str, ast.Entry] = {}
    diagnostics = []
    for entry in block.entries:
        if entry.key not in ENTRIES:
            diagnostics.append(_unknown_entry(entry))
        elif (other := EXCLUDES.get(entry.key)) in seen:
            text = f"`{entry.key}` and `{other}` both say how long the run is"
            note = f"the other one is on line {seen[other].span.line}"
            help = "leave one of the two out: an epoch goes once through the training data"
            diagnostics.append(Diagnostic("N502", text, entry.key_span, notes=(note,), help=(help,)))
        elif entry.key in seen:
            note = f"the first one is on line {seen[entry.key].span.line}"
            diagnostics.append(Diagnostic("N502", f"`{entry.key}` is given twice", entry.key_span, notes=(note,)))
        else:
            seen[entry.key] = entry
            try:
                said.update(ENTRIES[entry.key](entry))
            except Mistake as mistake:
                span = mistake.fix.span if mistake.fix is not None and mistake.fix.span.text.strip() else entry.span
                diagnostics.append(Diagnostic("N502", str(mistake), span, help=mistake.help, fix=mistake.fix))
    return Recipe(**said), diagnostics


def _example(table: Mapping[str, Any], text: str, *more: str) -> tuple[str, tuple[str, ...]]:
    """An entry as a spec writes it, and the options that its value has."""
    return text, (*more, *table[text.split()[1]].options)


def _unknown_entry(entry: ast.Entry) -> Diagnostic:
    """About an entry that there is not: perhaps one of that name, perhaps an option of one."""
    tables: list[Mapping[str, object]] = [*(optimizer.options for optimizer in OPTIMIZERS.values()), AUGMENTATIONS]
    tables += [*(loss.options for loss in LOSSES.values()), *(schedule.options for schedule in SCHEDULES.values())]
    is_option = entry.key in ("lr", "patience") or any(entry.key in table for table in tables)
    guess, sure = (None, False) if is_option else guessed(entry.key, ENTRIES)
    fix = Edit(entry.key_span, guess) if guess and sure else None
    owners = [
        example
        for example, options in (
            ("steps 2000", STEPS_OPTIONS if re.search("eval|interval", entry.key) else {}),
            _example(OPTIMIZERS, "opt adam", "lr"),
            _example(OPTIMIZERS, "opt sgd"),
            _example(LOSSES, "loss ce"),
            _example(SCHEDULES, "schedule cosine"),
            _example(SCHEDULES, "schedule step"),
            ("augment", AUGMENTATIONS),
            ("stop", {"patience": 0}),
        )
        if (guessed(entry.key, options)[1] and not sure)
    ]
    hint = f"known: {', '.join(f'`{key}`' for key in ENTRIES)}"
    if sure or guess and not owners:
        hint = f"did you mean `{guess}`?"
    elif owners:
        options = " ".join(setting.span.text for setting in entry.settings)
        own = guessed(
            entry.key, ("lr", "wd", "smooth", *(k for o in OPTIMIZERS.values() for k in o.options), "warmup", "every")
        )[0]
        option = (
            own if own and entry.key not in (*AUGMENTATIONS, "patience", "every", "at", "gamma", "end") else entry.key
        )
        options += "steps" if option == "warmup" and options.isdigit() and re.search("steps|iters", entry.key) else ""
        hint = f"it is an option: `{owners[0]} {option}{'=' if options else ''}{options}`"
    return Diagnostic("N501", f"unknown entry `{entry.key}` in the train block", entry.key_span, help=(hint,), fix=fix)


# -------------------------------------------------------------------------------------------- entries as text


def with_entries(recipe: Recipe, texts: Mapping[str, str]) -> Recipe:
    """The recipe with these entries: key -> what stands behind it in a train block, `{"opt": "sgd lr=0.1"}`.

    A text replaces the whole entry, with the defaults of what it leaves out; only an optimizer's name by itself keeps
    the options that this optimizer has already. `none` switches augment, clip, ema, stop or fit off. Raises UserError,
    whose message names the flag, `--opt`.
    """
    for key, text in texts.items():
        recipe = replace(recipe, **_fields(recipe, key, text.strip()))
    for misfit in misfits(recipe):
        flag = misfit.entry if misfit.entry in texts else "loss"
        raise UserError(f"--{flag}: {misfit.message}", help=_as_options(misfit.help))
    return recipe


_BEHIND_DATA = re.compile(rf'(?:\s+(?:{"|".join(DATA_OPTIONS)})=(?:"[^"]*"|\S+))+\s*$')
_TEXT = re.compile(rf'\s*text\s+(?:"(?P<quoted>[^"]+)"|(?P<path>\S.*?))(?:\s+(?P<unit>{"|".join(TEXT_UNITS)}))?\s*')


def with_data(recipe: Recipe, text: str) -> Recipe:
    """The recipe with other data, as the command line names them: a name or a path as it is, and options behind it,
    `har.csv stride=64`; `text` in front of it, and `bytes` behind it. Raises UserError."""
    if as_text := _TEXT.fullmatch(text):
        path = as_text["quoted"] or as_text["path"]
        return replace(recipe, data=path, data_options={"text": as_text["unit"] or "characters"})
    options = _BEHIND_DATA.search(text)
    if options is None:
        return replace(recipe, data=text, data_options={})
    name = text[: options.start()]
    quoted = name if name in DATASETS else '"data"'
    return replace(recipe, data=name, data_options=_fields(recipe, "data", f"{quoted} {options[0]}")["data_options"])


def _fields(recipe: Recipe, key: str, text: str) -> Fields:
    """The fields of the recipe that one entry, given as text, makes."""
    assert key in ENTRIES, key
    if text == "none" and key in OFF:
        return {OFF[key]: _default(OFF[key])}
    if key == "opt" and text == recipe.optimizer:
        return {}
    entry = _parsed(key, text)
    try:
        return ENTRIES[key](entry)
    except Mistake as mistake:
        raise _refused(key, str(mistake), mistake.help) from None


def _default(name: str) -> object:
    field = next(f for f in fields(Recipe) if f.name == name)
    return field.default if field.default_factory is MISSING else field.default_factory()


def _parsed(key: str, text: str) -> ast.Entry:
    """`key text` as the parser reads it in a train block. Nothing in the text can end that entry or the block."""
    if len(text) > MAX_TEXT or any(c in "{}#\n\r" for c in text):
        raise _refused(key, f"expected one line of at most {MAX_TEXT} characters, without `{{`, `}}` and `#`")
    program, diagnostics = parse(Source(f"--{key}", f"train {{\n{key} {text}\n}}\n"))
    if diagnostics:
        raise _refused(key, diagnostics[0].message, diagnostics[0].help)
    (block,) = program.statements
    assert isinstance(block, ast.Train), block
    if len(block.entries) != 1:
        raise _refused(key, f"a comma begins another entry, `{block.entries[1].key}`", ("give it its own option",))
    return block.entries[0]


def _refused(key: str, message: str, help: tuple[str, ...] = ()) -> UserError:
    return UserError(f"--{key}: {plain(message)}", help=_as_options("; ".join(map(plain, help))))


def _as_options(help: str) -> str:
    """A help that shows entries of a train block, with the options that they are: `--opt "adam lr=0.1"`."""

    def option(entry: re.Match[str]) -> str:
        key, text = ("patience", entry[2].removeprefix("patience=")) if entry[1] == "stop" else entry.groups()
        return f'`--{key} "{text}"`' if " " in text else f"`--{key} {text}`"

    return re.sub(rf"`({'|'.join(ENTRIES)}) ([^`\"]+)`", option, help)
