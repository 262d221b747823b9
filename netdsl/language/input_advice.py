"""What helps where a layer cannot take what `input` declares: its sizes may mean something else, or be out of order."""

from __future__ import annotations

from math import isqrt

from netdsl.graph.types import Tensor, map_of, show_sizes
from netdsl.ground.diagnostics import SpecProblem
from netdsl.layers.contract import plural

Advice = tuple[tuple[str, ...], str]
"""The helps, and what is to stand behind the sizes of the input for the first of them; "" where that is not sure."""


def about_the_input(problem: SpecProblem, given: Tensor) -> Advice:
    """What helps against a problem of a layer that the network's input reaches as it is declared."""
    if "a map" in problem.wanted and given.is_tokens:
        return _of_tokens(problem, given)
    if "a map" in problem.wanted and given.is_vector:
        return (*problem.help, _of_a_vector(given.size)), ""
    if problem.code in ("N201", "N203") and given.is_map:
        order = _of_the_order(given)
        return (order,) if order else problem.help, ""
    return problem.help, ""


def _of_tokens(problem: SpecProblem, given: Tensor) -> Advice:
    """Two sizes are tokens; a signal may be meant, channels first or last, or a grey image."""
    a, b = given.sizes
    image = f"a grey image of {a}x{b} is `input 1x{a}x{b}`"
    signal = f"write `input {a}x{b} map` for {plural(a, 'channel')} of {plural(b, 'step')}"
    turned = f"the channels come first: write `input {b}x{a} map` for {plural(b, 'channel')} of {plural(a, 'step')}"
    others = () if problem.is_plain else problem.help
    if a >= 4 * b:
        return (turned, signal, *others), ""
    if a > 16 and b < 4 * a:
        return (image, signal, *others), ""
    return (signal, image, *others), " map" if problem.is_plain else ""


def _of_a_vector(size: int) -> str:
    """A number may be that of the pixels of a square image, or the length of a signal."""
    sides = [(c, isqrt(size // c)) for c in (1, 3)]
    images = [f"an image is written as `input {c}x{s}x{s}`" for c, s in sides if s > 3 and c * s * s == size]
    return images[0] if images else f"a signal of one channel is written as `input 1x{size} map`"


def _of_the_order(given: Tensor) -> str:
    """The batch may stand among the sizes, or the channels last."""
    *first, last = given.sizes
    if given.axes > 2 and given.space[0] in (1, 3):
        return f"the batch is not written: an image is `input {show_sizes(given.space)}`"
    if given.axes == 1 and given.channels >= 4 * last or given.axes > 1 and last in (1, 3, 4) and min(first) > 4:
        return f"the channels come first: write `input {map_of(last, *first).show_type()}`"
    return ""
