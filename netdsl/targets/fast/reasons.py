"""Why a layer is computed as it is: the comment above its stage, with the estimates that the choice was made by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from netdsl.layers.contract import StageCall

WIDTH = 112  # columns of a line in a class


def reason(taken: StageCall, ways: Sequence[StageCall], samples: int) -> str:
    """`# Fourier, whole plane: est. 306 us a sample of a step (Fourier, 7x7 tiles: 445; patches: 611)`; nothing where
    there was no choice. samples: how many a worker has of a batch, for which the choice was made."""
    rest = [way for way in ways if (way.kernel, way.arguments) != (taken.kernel, taken.arguments)]
    others = sorted((way.cost(samples, True), _way(way)) for way in rest)
    if not others:
        return ""
    told = [f"{how}: {_time(cost)}" for cost, how in others]
    text = f"# {_way(taken)}: est. {_time(taken.cost(samples, True))} us a sample of a step"
    count = next((n for n in (3, 2) if len(f"{text} ({'; '.join(told[:n])})") <= WIDTH), 1)
    return f"{text} ({'; '.join(told[:count])})"


def _time(cost: float) -> str:
    """Microseconds of nanoseconds, in two digits or more."""
    return f"{cost / 1000:,.0f}" if cost >= 10_000 else f"{cost / 1000:.1f}"


def _way(call: StageCall) -> str:
    says = _WAYS.get(call.kernel.__name__)
    return says(*call.arguments) if says is not None else call.kernel.__name__


def _bilinear(geometry: object, algorithm: Callable[..., Any], tile: int) -> str:
    return f"{algorithm.__name__.partition('_')[0].title()}, {tile}x{tile} tiles"


_WAYS: Mapping[str, Callable[..., str]] = {
    "BilinearConv": _bilinear,
    "FourierConv": lambda geometry: "Fourier, whole plane",
    "WinogradRows": lambda geometry, tile: f"Winograd along H, {tile} rows",
    "SignalConv": lambda geometry, tile: f"Winograd, {tile} numbers",
    "PatchConv": lambda geometry: "patches",
    "PointConv": lambda geometry: "one product",
    "RowConv": lambda geometry: "rows of windows",
}
