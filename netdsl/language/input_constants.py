"""`mean` and `std` behind the sizes of an input: the numbers by which the network normalises what it is given."""

from __future__ import annotations

from collections.abc import Sequence

from netdsl.graph.types import Tensor, from_sizes
from netdsl.ground.reports import Reports
from netdsl.language.syntax import ast

Constants = tuple[tuple[float, ...], tuple[float, ...]]
"""mean, std: both empty, or each one number, or one for each channel."""

SMALLEST, LARGEST = 2.0**-126, 2.0**127  # what float32 holds in full, and twice of it


def input_constants(statement: ast.Input, reports: Reports) -> Constants:
    """The mean and std of an input, ((), ()) where it has none or they are wrong, which is reported."""
    given: dict[str, ast.Constants] = {}
    if statement.limit is not None:
        for constants in statement.constants:
            message = f"whole numbers of a vocabulary have no `{constants.name}`"
            reports.error("N320", message, constants.span, "remove it: a number says which row `embed` takes")
        return (), ()
    right, takes = True, from_sizes(statement.shape, statement.is_map)
    for constants in statement.constants:
        right &= _is_new(constants, given, reports) and _fits(constants, takes, reports)
        given.setdefault(constants.name, constants)
    if not given or not right:
        return (), ()
    if len(given) == 1:
        (only,) = given.values()
        other, value = ("std", 1) if only.name == "mean" else ("mean", 0)
        message = f"`input` has a `{only.name}`, but no `{other}`"
        reports.error("N320", message, only.span, f"write `{other} {value}` behind it, or what the data have")
        return (), ()
    return given["mean"].numbers, given["std"].numbers


def are_allowed(mean: Sequence[float], std: Sequence[float]) -> bool:
    """Whether float32 can compute with these numbers."""
    return all(abs(m) <= LARGEST for m in mean) and all(SMALLEST <= s <= LARGEST for s in std)


def _is_new(constants: ast.Constants, given: dict[str, ast.Constants], reports: Reports) -> bool:
    if constants.name not in given:
        return True
    reports.error("N320", f"`input` has one `{constants.name}`", constants.span, "remove one of them")
    return False


def _fits(constants: ast.Constants, given: Tensor, reports: Reports) -> bool:
    """Whether there is one number, or one for each channel, and float32 can compute with them."""
    name, numbers, channels = constants.name, constants.numbers, given.channels
    if len(numbers) not in (1, channels):
        what = ("channel" if given.is_map else "feature") + ("s" if channels > 1 else "")
        help_text = "write one number" + (f", or {channels} in parentheses" if channels > 1 else "")
        message = f"`{name}` has {len(numbers)} numbers, but the input {given.show()} has {channels} {what}"
        reports.error("N320", message, constants.span, help_text)
        return False
    for value, number in zip(constants.values, numbers, strict=True):
        if name == "std" and not are_allowed((), [number]):
            reports.error("N320", f"a `std` must be above 0 and within float32, not {number:g}", value.span)
            return False
        if not are_allowed([number], ()):
            reports.error("N320", f"a `mean` must be within float32, not {number:g}", value.span)
            return False
    return True
