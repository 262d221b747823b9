"""Values and options in a train block: what is read of each kind, and what is said about one that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from netdsl.graph.recipe import DECAYS, LOSSES, SCHEMES, TEXT_UNITS
from netdsl.graph.schedules import SCHEDULES, Length, Steps
from netdsl.ground.diagnostics import Edit, did_you_mean
from netdsl.ground.source import Span
from netdsl.ground.spelling import correction
from netdsl.language.syntax import ast


class Mistake(Exception):
    """What is wrong with an entry, and what helps; the caller knows the place. fix: the edit that the help proposes."""

    def __init__(self, message: str, *help: str, fix: Edit | None = None) -> None:
        super().__init__(message)
        self.help = help
        self.fix = fix


_NAMED: tuple[Mapping[str, Any], ...] = (LOSSES, SCHEDULES, SCHEMES)
_ELSEWHERE = {
    **{known: name for table in _NAMED for name, entry in table.items() for known in entry.known_as},
    **dict.fromkeys(("learningrate", "rate", "eta"), "lr"),
    **dict.fromkeys(("weightdecay", "decay", "l2reg"), "wd"),
    **dict.fromkeys(("labelsmoothing", "smoothing"), "smooth"),
    **dict.fromkeys(("classweights", "weight", "classweight"), "weights"),
    **dict.fromkeys(("ignoreindex", "ignorelabel", "padding", "pad"), "ignore"),
    **dict.fromkeys(("epsilon",), "eps"),
    **dict.fromkeys(("randomcrop", "padding"), "crop"),
    **dict.fromkeys(("hflip", "horizontalflip", "randomhorizontalflip", "mirror"), "flip"),
    **dict.fromkeys(("translate", "translation", "timeshift", "roll"), "shift"),
    **dict.fromkeys(("scaling", "gain", "amplitude"), "scale"),
    **dict.fromkeys(("jitter", "gaussiannoise", "gaussian"), "noise"),
    **dict.fromkeys(("rotation", "degrees"), "rotate"),
    **dict.fromkeys(("erasing", "randomerasing", "randomerase", "coarsedropout"), "erase"),
    **dict.fromkeys(("verticalflip", "randomverticalflip", "flipud"), "vflip"),
    **dict.fromkeys(("randomzoom", "zoomrange", "scalerange"), "zoom"),
    **dict.fromkeys(("randomshear", "shearrange", "skew"), "shear"),
    **dict.fromkeys(("randomresizedcrop", "resizecrop", "inceptioncrop", "rrc"), "resizedcrop"),
    **dict.fromkeys(("timestretch", "timewarp", "tempo"), "stretch"),
    **dict.fromkeys(("timemask", "timemasking", "specaugment"), "mask"),
    **dict.fromkeys(("randombrightness", "lightness"), "brightness"),
    **dict.fromkeys(("randomcontrast",), "contrast"),
    **dict.fromkeys(("randomsaturation",), "saturation"),
    **dict.fromkeys(("randomhue",), "hue"),
    **dict.fromkeys(("gray", "grayscale", "greyscale", "randomgrayscale"), "grey"),
    **dict.fromkeys(("gaussianblur", "randomgaussianblur"), "blur"),
    **dict.fromkeys(("etamin", "minlr"), "end"),
    **dict.fromkeys(("milestones",), "at"),
    **dict.fromkeys(("stepsize",), "every"),
    **dict.fromkeys(("warmupsteps", "warmupiters", "numwarmupsteps", "warmupepochs", "warmupratio"), "warmup"),
    **dict.fromkeys(("lrdecay", "decaylr", "lrdecayiters", "lrdecaysteps"), "schedule"),
    **dict.fromkeys(("pctstart",), "up"),
    **dict.fromkeys(("optimizer", "optim", "optimiser"), "opt"),
    **dict.fromkeys(("batchsize", "bs"), "batch"),
    **dict.fromkeys(("dataset",), "data"),
    **dict.fromkeys(("shakespeare", "shakespearechar"), "tinyshakespeare"),
    **dict.fromkeys(("criterion", "lossfunction"), "loss"),
    **dict.fromkeys(("scheduler", "lrscheduler", "lrschedule"), "schedule"),
    **dict.fromkeys(("valsplit", "validationsplit", "validation", "valfraction"), "val"),
    **dict.fromkeys(("numepochs", "nepochs", "maxepochs"), "epochs"),
    **dict.fromkeys(("maxsteps", "maxiters", "numsteps", "nsteps", "trainsteps", "totalsteps"), "steps"),
    **dict.fromkeys(("iterations", "iters", "maxiterations", "numiterations", "niters", "trainiters"), "steps"),
    **dict.fromkeys(("gradientaccumulationsteps", "gradaccumsteps", "accumsteps", "accumulationsteps"), "accumulate"),
    **dict.fromkeys(("gradientaccumulation", "gradaccum", "accum", "accumulation"), "accumulate"),
    **dict.fromkeys(("accumulategradbatches", "accumulategradients", "microbatches"), "accumulate"),
    **dict.fromkeys(("evalinterval", "evaliters", "evalsteps", "evalevery", "interval"), "every"),
    **dict.fromkeys(("earlystopping", "earlystop"), "stop"),
    **dict.fromkeys(("initialization", "initialisation", "weightinit"), "init"),
    **dict.fromkeys(("gradclip", "clipgrad", "clipnorm", "gradientclipping"), "clip"),
    **dict.fromkeys(("augmentation", "transforms", "augmentations"), "augment"),
    **dict.fromkeys(("randomseed", "randomstate"), "seed"),
}
"""What other systems call something, without case and `_` -> what it is here."""


def guessed(text: str, known: Iterable[str]) -> tuple[str | None, bool]:
    """The known word that is meant, and whether that is certain."""
    elsewhere = _ELSEWHERE.get(text.lower().replace("_", "").replace("-", ""))
    sure = elsewhere if elsewhere in set(known) else correction(text, known)
    return (sure, True) if sure else (did_you_mean(text, known), False)


def word(value: object, known: Mapping[str, object], what: str, span: Span | None = None) -> str:
    """The value, if it is a known word. span: where it stands."""
    if value in known:
        return str(value)
    guess, sure = guessed(str(value), known)
    hints = (f"did you mean `{guess}`?",) if guess else ()
    fix = Edit(span, guess) if guess and sure and span is not None else None
    raise Mistake(f"unknown {what} `{value}`", *hints, f"known: {', '.join(f'`{name}`' for name in known)}", fix=fix)


def whole(value: object, minimum: int, what: str) -> int:
    """The value, if it is a whole number of at least `minimum`."""
    if not isinstance(value, int) or value < minimum:
        is_whole = isinstance(value, float) and value.is_integer() and value >= minimum
        hints = (f"write `{int(value)}`",) if is_whole else ()  # type: ignore[call-overload]
        raise Mistake(f"{what} must be a whole number of at least {minimum}, not `{_shown(value)}`", *hints)
    return value


def _number(value: object, what: str) -> float:
    if not isinstance(value, int | float):
        raise Mistake(f"`{what}` takes a number, not `{_shown(value)}`")
    return float(value)


def _numbers(value: object, what: str, count: int, example: str) -> tuple[float, ...]:
    """Several numbers in parentheses, `count` or more."""
    if not isinstance(value, tuple) or len(value) < count:
        raise Mistake(f"`{what}` takes {count} numbers or more, not `{_shown(value)}`", f"write `{what}={example}`")
    return tuple(float(v) for v in value)


def _shown(value: object) -> str:
    return f"({', '.join(map(str, value))})" if isinstance(value, tuple) else str(value)


def _within(fits: Callable[[float], bool], text: str) -> Callable[[object, str], float]:
    """What reads a number of a range, which `text` tells."""

    def read(value: object, what: str) -> float:
        number = _number(value, what)
        if not fits(number):
            share = (
                number / 100
                if 5 <= number < 100 and fits(number / 100) and text.endswith(("below 1", "most 1"))
                else None
            )
            hints = (f"{value} per cent is `{share:g}`",) if share is not None else ()
            raise Mistake(f"`{what}` must be {text}, not {value}", *hints)
        return number

    return read


def _pair(value: object, what: str) -> tuple[float, ...]:
    if not (isinstance(value, tuple) and len(value) == 2 and all(0 <= v < 1 for v in value)):
        raise Mistake(f"`{what}` takes two numbers of at least 0 and below 1", f"write `{what}=(0.9, 0.999)`")
    return tuple(float(v) for v in value)


def _weights(value: object, what: str) -> tuple[float, ...]:
    weights = _numbers(value, what, 2, "(1, 2, 1)")
    if min(weights) <= 0:
        raise Mistake(f"`{what}` must be above 0, not `{_shown(value)}`")
    return weights


def _length(value: object, what: str) -> Length:
    """So many epochs, which may be a fraction, or steps."""
    if isinstance(value, Steps):
        if not value.count:
            raise Mistake(f"`{what}` must be above 0, not {value}")
        return value
    return _within(lambda v: v > 0, "above 0")(value, what)


def _rising(value: object, what: str) -> tuple[Length, ...]:
    lengths = value if isinstance(value, tuple) else (_length(value, what),)
    numbers = [length.count if isinstance(length, Steps) else float(length) for length in lengths]
    if len({isinstance(length, Steps) for length in lengths}) > 1:
        raise Mistake(f"`{what}` takes epochs or steps, not both as in `{_shown(value)}`")
    if numbers[0] <= 0 or any(a >= b for a, b in zip(numbers, numbers[1:], strict=False)):
        text = f"`{what}` takes epochs above 0 that rise, not `{_shown(value)}`"
        raise Mistake(text, f"write `{what}=(30, 60)`, or in steps `{what}=(3000steps, 6000steps)`")
    return tuple(length if isinstance(length, Steps) else float(length) for length in lengths)


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise Mistake(f"`{what}` takes a name, not `{_shown(value)}`", f'write `{what}="{_shown(value)}"`')
    return value


def _decayed(value: object, what: str) -> str:
    if isinstance(value, str):
        return word(value, DECAYS, "params to decay")
    known = " or ".join(f"`{name}`" for name in DECAYS)
    raise Mistake(f"`{what}` takes {known}, not `{_shown(value)}`", f"how much params decay says `wd={_shown(value)}`")


KINDS: Mapping[str, Callable[[object, str], object]] = {
    "number": _number,
    "fraction": _within(lambda v: 0 <= v < 1, "at least 0 and below 1"),
    "share": _within(lambda v: 0 < v < 1, "above 0 and below 1"),
    "positive": _within(lambda v: v > 0, "above 0"),
    "epochs": _length,
    "factor": _within(lambda v: v >= 1, "at least 1"),
    "half": _within(lambda v: 0 < v <= 0.5, "above 0 and at most 0.5"),
    "chance": _within(lambda v: 0 < v <= 1, "above 0 and at most 1"),
    "strength": _within(lambda v: 0 < v <= 10, "above 0 and at most 10"),
    "slant": _within(lambda v: 0 < v < 90, "above 0 and below 90"),
    "degrees": _within(lambda v: 0 < v <= 180, "above 0 and at most 180"),
    "label": lambda value, what: whole(value, 0, f"`{what}`"),
    "whole": lambda value, what: whole(value, 1, f"`{what}`"),
    "text": _text,
    "unit": lambda value, what: word(value, dict.fromkeys(TEXT_UNITS), "unit of a text"),
    "pair": _pair,
    "weights": _weights,
    "rising": _rising,
    "decayed": _decayed,
}
"""Kind of a value -> what checks one. A `word` has none."""


def single(entry: ast.Entry) -> object:
    """The value of an entry that has one and nothing else."""
    if len(entry.settings) != 1 or not isinstance(entry.settings[0], ast.Value):
        raise Mistake(f"`{entry.key}` takes one value")
    return entry.settings[0].value


def named(entry: ast.Entry, known: Mapping[str, object], what: str, example: str) -> str:
    """The first word of an entry that goes on with options."""
    if not entry.settings or not isinstance(entry.settings[0], ast.Value):
        raise Mistake(f"`{entry.key}` takes the name of {what}", f"write `{example}`")
    return word(entry.settings[0].value, known, what.partition(" ")[2], entry.settings[0].span)


def read_options(
    settings: tuple[ast.Value | ast.Keyed, ...], owner: str, table: Mapping[str, Mapping[str, str]]
) -> dict[str, object]:
    """`momentum=0.9 nesterov` -> {"momentum": 0.9, "nesterov": True}; table: owner -> spelling -> kind."""
    known = table[owner]
    read: dict[str, object] = {}
    for before, setting, following in zip((None, *settings), settings, (*settings[1:], None), strict=False):
        value = setting.value.value if isinstance(setting, ast.Keyed) else True
        key = setting.key if isinstance(setting, ast.Keyed) else _shown(setting.value)
        if key == "steps" and isinstance(before, ast.Keyed) and known.get(before.key) in ("epochs", "rising"):
            raise _of_two_words(before, setting)
        if key not in known:
            raise _foreign(key, owner, table, setting)
        if isinstance(setting, ast.Keyed) == (known[key] == "word"):
            raise _with_or_without(key, known[key] == "word", setting, following)
        if key in read:
            raise Mistake(f"`{key}` is given twice", "leave out one of the two")
        read[key] = value if known[key] == "word" else KINDS[known[key]](value, key)
    return read


def _with_or_without(key: str, is_word: bool, setting: ast.Syntax, following: ast.Syntax | None) -> Mistake:
    """About a word that has a value, or an option that has none."""
    if is_word:
        fix = Edit(setting.span, key)
        return Mistake(f"`{key}` is a word: it takes no value", f"write `{key}`, or leave it out", fix=fix)
    if isinstance(following, ast.Value) and not isinstance(following.value, str):
        between = Span(setting.span.source, setting.span.end, following.span.start)
        text = f"write `{key}={following.span.text}`"
        return Mistake(f"`{key}` needs a value behind `=`", text, fix=Edit(between, "="))
    return Mistake(f"`{key}` needs a value: `{key}=...`")


def _of_two_words(before: ast.Keyed, steps: ast.Syntax) -> Mistake:
    """About `warmup=100 steps`, where a length in steps is one word."""
    value = before.value.value
    numbers = value if isinstance(value, tuple) else (value,)
    counts = tuple(f"{int(number)}steps" for number in numbers if isinstance(number, int | float))
    written = f"{before.key}={_shown(counts) if isinstance(value, tuple) else ''.join(counts)}"
    fix = Edit(before.span.to(steps.span), written)
    return Mistake("so many steps are one word, without a space", f"write `{written}`", fix=fix)


def _foreign(key: str, owner: str, table: Mapping[str, Mapping[str, str]], setting: ast.Syntax) -> Mistake:
    """About an option that `owner` has not."""
    guess, sure = guessed(key, table[owner])
    if guess is None and "lr" in table[owner] and isinstance(setting, ast.Value) and isinstance(setting.value, float):
        text = f"`{owner}` takes its numbers by name, not `{key}`"
        return Mistake(text, f"write `lr={setting.span.text}`", fix=Edit(setting.span, f"lr={setting.span.text}"))
    others = [f"`{name}`" for name, options in table.items() if key in options]
    hints = [f"did you mean `{guess}`?"] if guess else []
    hints += [f"it is an option of {', '.join(others)}"] if others else []
    hints += [f"known: {', '.join(f'`{name}`' for name in table[owner])}"] if table[owner] else []
    at = setting.span
    fix = Edit(Span(at.source, at.start, at.start + len(key)), guess) if guess and sure else None
    return Mistake(f"`{owner}` has no option `{key}`", *hints, fix=fix)
