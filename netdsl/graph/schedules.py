"""How the learning rate moves: a factor of it for each step of the optimizer, as PyTorch's schedulers have it.

`step` counts from 0, `steps` is how many there are in all; both without those of a warm-up. The sources:
Loshchilov & Hutter 2017 (cosine), Smith & Topin 2018 (one cycle), Goyal et al. 2017 (warm-up).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

WARM_START = 0.01  # of the learning rate, as in torchvision's reference recipes
_MOST = 2**53  # steps: whole numbers are exact in floating point up to here


@dataclass(frozen=True)
class Steps:
    """A length in steps of the optimizer, where others are in epochs: `100steps`."""

    count: int

    def __str__(self) -> str:
        return f"{self.count}steps"


Length = float | Steps
"""Epochs, or steps."""


def constant(step: int, steps: int, steps_an_epoch: int) -> float:
    """The learning rate stays."""
    return 1.0


def stepped(
    step: int,
    steps: int,
    steps_an_epoch: int,
    every: Length | None = None,
    at: tuple[Length, ...] = (),
    gamma: float = 0.1,
) -> float:
    """gamma to the power of how often `every` has gone by (StepLR), or how many of `at` (MultiStepLR)."""
    if every is not None:
        return gamma ** (step // max(1, whole_steps(every, steps_an_epoch)))
    return gamma ** bisect_right([whole_steps(length, steps_an_epoch) for length in at], step)


def cosine(step: int, steps: int, steps_an_epoch: int, end: float = 0.0) -> float:
    """Half a cosine, from 1 down to `end` (CosineAnnealingLR with T_max=steps)."""
    return end + (1 - end) * (0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))))


def onecycle(
    step: int, steps: int, steps_an_epoch: int, up: float = 0.3, div: float = 25.0, final: float = 1e4
) -> float:
    """The factor rises from 1 / div to 1 in the share `up` of all steps, then falls to 1 / (div * final), both along
    half a cosine: OneCycleLR with pct_start, div_factor, final_div_factor, and no cycle of the momentum."""
    top, last = up * steps - 1, steps - 1
    if step <= top:
        return _half_cosine(1 / div, 1.0, step / top if top else 1.0)
    return _half_cosine(1.0, 1 / (div * final), min(1.0, (step - top) / (last - top)))


def _half_cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * done))


def whole_steps(length: Length, steps_an_epoch: int) -> int:
    """The steps of a length, rounded."""
    return length.count if isinstance(length, Steps) else round(min(length * steps_an_epoch, _MOST))


@dataclass(frozen=True)
class Schedule:
    """factor(step, steps, steps_an_epoch, **options), and the options a spec may give: spelling -> kind.

    one_of: options of which exactly one is given. by_length: whether a longer run has another schedule from its first
    step on. known_as: what other systems call it, in lower case without `_`.
    """

    factor: Callable[..., float]
    options: Mapping[str, str]
    one_of: tuple[str, ...] = ()
    by_length: bool = False
    known_as: tuple[str, ...] = ()


_WARMUP = {"warmup": "epochs"}
SCHEDULES: Mapping[str, Schedule] = {
    "const": Schedule(constant, _WARMUP, known_as=("constant", "constantlr", "none")),
    "step": Schedule(
        stepped,
        {"every": "epochs", "at": "rising", "gamma": "share", **_WARMUP},
        one_of=("every", "at"),
        known_as=("steplr", "multistep", "multisteplr", "exponential"),
    ),
    "cosine": Schedule(
        cosine,
        {"end": "fraction", **_WARMUP},
        by_length=True,
        known_as=("cosineannealing", "cosineannealinglr", "cosinedecay"),
    ),
    "onecycle": Schedule(
        onecycle,
        {"up": "fraction", "div": "factor", "final": "factor"},
        by_length=True,
        known_as=("onecyclelr", "1cycle"),
    ),
}


def rate_factor(schedule: str, options: Mapping[str, Any], step: int, steps: int, steps_an_epoch: int) -> float:
    """The factor of the learning rate after `step` steps of the whole run, which has `steps`.

    A warm-up of W steps rises by a line from WARM_START to 1, and the schedule begins behind it, with W steps less:
    SequentialLR([LinearLR(start_factor=0.01, total_iters=W), schedule], milestones=[W]).
    """
    warm = whole_steps(options.get("warmup", 0), steps_an_epoch)
    if step < warm:
        return WARM_START + (1 - WARM_START) * step / warm
    rest = {key: value for key, value in options.items() if key != "warmup"}
    return SCHEDULES[schedule].factor(step - warm, max(1, steps - warm), steps_an_epoch, **rest)
