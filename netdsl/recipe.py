"""How a network is trained: the train block as a checked `Recipe`, and what each of its words means.

The tables LOSSES, OPTIMIZERS, SCHEDULES and SCHEMES are the only places that name what they hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from netdsl.diagnostics import Diagnostic, did_you_mean
from netdsl.kernels import initial, losses, optimizers
from netdsl.syntax import ast

DATASETS = ("mnist-mini", "mnist", "cifar10", "spiral")
LOSSES: Mapping[str, Callable] = {
    "ce": losses.cross_entropy,
    "bce": losses.bce,
    "mse": losses.mse,
    "nll": losses.nll,
}


@dataclass(frozen=True)
class Optimizer:
    """A kernel, its default learning rate, and the options a spec may give: spelling -> (argument, kind)."""

    step: Callable
    lr: float
    options: Mapping[str, tuple[str, str]]
    torch: str


_ADAM = {"wd": ("weight_decay", "number"), "betas": ("betas", "pair"), "eps": ("eps", "positive")}
OPTIMIZERS: Mapping[str, Optimizer] = {
    "sgd": Optimizer(
        optimizers.sgd_step,
        1e-2,
        {"momentum": ("momentum", "fraction"), "nesterov": ("nesterov", "word"), "wd": ("weight_decay", "number")},
        "SGD",
    ),
    "adam": Optimizer(optimizers.adam_step, 1e-3, _ADAM, "Adam"),
    "adamw": Optimizer(optimizers.adamw_step, 1e-3, _ADAM, "AdamW"),
    "rmsprop": Optimizer(
        optimizers.rmsprop_step,
        1e-2,
        {
            "alpha": ("alpha", "fraction"),
            "eps": ("eps", "positive"),
            "wd": ("weight_decay", "number"),
            "momentum": ("momentum", "fraction"),
        },
        "RMSprop",
    ),
}

SCHEMES: Mapping[str, tuple[Callable, Callable | None]] = {
    "he": (initial.he, None),
    "xavier": (initial.xavier, None),
    "torch": (initial.torch_uniform, initial.torch_uniform),
}
"""Name -> how a weight and how a bias starts (None: zeros)."""


@dataclass(frozen=True)
class Recipe:
    """Everything the train block says.

    options: the optimizer's keyword arguments with `lr` among them; loss_options, schedule_options: those of the loss
    and the schedule. augment: name of a change -> how much. clip: the largest norm of all gradients together; ema: the
    decay of the running mean of the weights; patience: epochs without a better one before training stops; None: not
    done.
    """

    data: str = "mnist-mini"
    val: float = 0.1
    loss: str = "ce"
    optimizer: str = "adam"
    options: Mapping[str, object] = field(default_factory=lambda: {"lr": 1e-3})
    schedule: str = "const"
    epochs: int = 5
    batch: int = 64
    seed: int = 0
    init: str = "he"
    loss_options: Mapping[str, object] = field(default_factory=dict)
    schedule_options: Mapping[str, object] = field(default_factory=dict)
    augment: Mapping[str, object] = field(default_factory=dict)
    clip: float | None = None
    ema: float | None = None
    patience: int | None = None

    def learning_rate(self, step: int, steps_an_epoch: int) -> float:
        """That of the step after `step` others, counted over the whole run."""
        return self.options["lr"] * SCHEDULES[self.schedule](step / (self.epochs * steps_an_epoch))


def constant(fraction: float) -> float:
    """The learning rate stays."""
    return 1.0


def cosine(fraction: float) -> float:
    """Half a cosine, from 1 down to 0 (Loshchilov & Hutter 2017); torch's CosineAnnealingLR over all steps."""
    return 0.5 * (1 + math.cos(math.pi * fraction))


SCHEDULES: Mapping[str, Callable[[float], float]] = {"const": constant, "cosine": cosine}
"""Name -> factor of the learning rate, by the fraction of all steps that is done (0 <= fraction < 1)."""


def optimizer_step(recipe: Recipe) -> Callable:
    """step(params, grads, state, lr) with the recipe's other options bound."""
    options = {key: value for key, value in recipe.options.items() if key != "lr"}
    return partial(OPTIMIZERS[recipe.optimizer].step, **options)


# -------------------------------------------------------------------------------------------- the train block


class _Mistake(Exception):
    def __init__(self, message: str, *help: str) -> None:
        super().__init__(message)
        self.help = help


def _word(value: object, known: Mapping[str, object], what: str) -> str:
    if value in known:
        return str(value)
    guess = did_you_mean(str(value), known)
    hints = (f"did you mean `{guess}`?",) if guess else ()
    raise _Mistake(f"unknown {what} `{value}`", *hints, f"known: {', '.join(f'`{name}`' for name in known)}")


def _whole(value: object, minimum: int, what: str) -> int:
    if not isinstance(value, int) or value < minimum:
        raise _Mistake(f"{what} must be a whole number of at least {minimum}, not `{value}`")
    return value


def _number(value: object, kind: str, what: str) -> object:
    if kind == "pair":
        if not (isinstance(value, tuple) and len(value) == 2 and all(0 <= v < 1 for v in value)):
            raise _Mistake(f"`{what}` takes two numbers of at least 0 and below 1", f"write `{what}=(0.9, 0.999)`")
        return tuple(float(v) for v in value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Mistake(f"`{what}` takes a number, not `{value}`")
    if kind == "fraction" and not 0 <= value < 1:
        raise _Mistake(f"`{what}` must be at least 0 and below 1, not {value}")
    if kind == "positive" and value <= 0:
        raise _Mistake(f"`{what}` must be above 0, not {value}")
    return float(value)


def _single(entry: ast.Entry) -> object:
    if len(entry.settings) != 1 or not isinstance(entry.settings[0], ast.Value):
        raise _Mistake(f"`{entry.key}` takes one value")
    return entry.settings[0].value


def _data(entry: ast.Entry) -> str:
    """A built-in name, or a path in quotes."""
    value = _single(entry)
    quoted = isinstance(entry.settings[0], ast.Value) and entry.settings[0].quoted
    if quoted or value in DATASETS:
        return str(value)
    guess = did_you_mean(str(value), DATASETS)
    known = f"known: {', '.join(f'`{name}`' for name in DATASETS)}; a path is written in quotes"
    raise _Mistake(f"unknown data `{value}`", *([f"did you mean `{guess}`?"] if guess else []), known)


def _optimizer(entry: ast.Entry) -> dict[str, object]:
    if not entry.settings or not isinstance(entry.settings[0], ast.Value):
        raise _Mistake("`opt` takes the name of an optimizer", "write `opt adam lr=1e-3`")
    name = _word(entry.settings[0].value, OPTIMIZERS, "optimizer")
    known = {"lr": ("lr", "positive"), **OPTIMIZERS[name].options}
    options: dict[str, object] = {"lr": OPTIMIZERS[name].lr}
    for setting in entry.settings[1:]:
        key = setting.key if isinstance(setting, ast.Keyed) else str(setting.value)
        argument, kind = known[_word(key, known, f"option of `{name}`")]
        if isinstance(setting, ast.Keyed) == (kind == "word"):
            raise _Mistake(
                f"`{key}` is a word: it takes no value" if kind == "word" else f"`{key}` needs a value: `{key}=...`"
            )
        options[argument] = True if kind == "word" else _number(setting.value.value, kind, key)
    if options.get("nesterov") and not options.get("momentum"):
        raise _Mistake("`nesterov` needs a momentum above 0", "add `momentum=0.9`")
    return {"optimizer": name, "options": options}


_ENTRIES: Mapping[str, Callable[[ast.Entry], dict[str, object]]] = {
    "data": lambda entry: {"data": _data(entry)},
    "val": lambda entry: {"val": _number(_single(entry), "fraction", "val")},
    "loss": lambda entry: {"loss": _word(_single(entry), LOSSES, "loss")},
    "opt": _optimizer,
    "schedule": lambda entry: {"schedule": _word(_single(entry), SCHEDULES, "schedule")},
    "epochs": lambda entry: {"epochs": _whole(_single(entry), 1, "`epochs`")},
    "batch": lambda entry: {"batch": _whole(_single(entry), 1, "`batch`")},
    "seed": lambda entry: {"seed": _whole(_single(entry), 0, "`seed`")},
    "init": lambda entry: {"init": _word(_single(entry), SCHEMES, "initialisation")},
}


def lower_train(block: ast.Train) -> tuple[Recipe, list[Diagnostic]]:
    """The recipe a train block describes, and what is wrong with it."""
    found: dict[str, object] = {}
    seen: dict[str, ast.Entry] = {}
    diagnostics = []
    for entry in block.entries:
        if entry.key not in _ENTRIES:
            guess = did_you_mean(entry.key, _ENTRIES)
            hints = (f"did you mean `{guess}`?",) if guess else (f"known: {', '.join(f'`{key}`' for key in _ENTRIES)}",)
            diagnostics.append(
                Diagnostic("N501", f"unknown entry `{entry.key}` in the train block", entry.key_span, help=hints)
            )
        elif entry.key in seen:
            note = f"the first one is on line {seen[entry.key].span.line}"
            diagnostics.append(Diagnostic("N502", f"`{entry.key}` is given twice", entry.key_span, notes=(note,)))
        else:
            seen[entry.key] = entry
            try:
                found.update(_ENTRIES[entry.key](entry))
            except _Mistake as mistake:
                diagnostics.append(Diagnostic("N502", str(mistake), entry.span, help=mistake.help))
    return Recipe(**found), diagnostics  # type: ignore[arg-type]
