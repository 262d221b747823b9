"""Gelu for speed: by a polynomial, without choosing number by number."""

from __future__ import annotations

import math

import numpy as np

from netdsl.kernels.arrays import Array, Grads, Saved, Shape
from netdsl.kernels.stable import erf
from netdsl.stages.can import Can
from netdsl.stages.conv_stage import ConvStage
from netdsl.stages.pointwise import Pointwise
from netdsl.stages.stage import Worker


class Gelu(Pointwise):
    """y = x * Phi(x)."""

    can = Can(add_bias=True, work_in_place=True, has_own_output=True)

    def __init__(self, w: Worker, shape: Shape, conv: ConvStage | None = None, copies: bool = False) -> None:
        series = scaled_erfc_series(9)
        super().__init__(w, shape, quick_gelu_forward, quick_gelu_backward, series, conv=conv, copies=copies)


def quick_gelu_forward(x: Array, series: list[float]) -> tuple[Array, Saved]:
    """x of any shape -> y = x * Phi(x).

    With t = |x| / sqrt(2), Phi is q = exp(-t*t) * g(t) / 2 for negative x and 1 - q for the others, g(t) = exp(t*t) *
    erfc(t) a polynomial in u = (2*t - 3) / (t + 3), within 2e-8; in float64 by `erf`.
    """
    t = np.minimum(np.abs(x), 40)  # exp(-800) is 0, so that x times it is, too, up to infinity
    t *= 0.5**0.5
    e = t * t
    np.exp(np.negative(e, out=e), out=e)
    if x.dtype == np.float64:
        phi = 0.5 * (1 + erf(x * 0.5**0.5))
        return x * phi, (x, phi, e)
    t += 3
    u = np.divide(-9, t, out=t)
    u += 2
    q = series[0] * u
    for c in series[1:-1]:
        q += c
        q *= u
    q += series[-1]
    q *= e
    q *= 0.5
    phi = np.abs(np.subtract(x >= 0, q, out=q, dtype=x.dtype), out=q)
    return x * phi, (x, phi, e)


def quick_gelu_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy of any shape -> dx = dy * (Phi(x) + x * exp(-x*x/2) / sqrt(2 pi))."""
    x, phi, e = saved
    factor = x * e
    factor *= (2 * math.pi) ** -0.5
    factor += phi
    factor *= dy
    return factor, {}


def scaled_erfc_series(count: int) -> list[float]:
    """The coefficients, highest power of u first, of a polynomial that is exp(t*t) * erfc(t) at `count` places of 0..6,
    the Chebyshev points of u = (2*t - 3) / (t + 3)."""
    u = np.cos(np.pi * (np.arange(count) + 0.5) / count)
    t = (3 * (1 + u) / (2 - u)).tolist()
    return np.linalg.solve(np.vander(u), [math.exp(a * a) * math.erfc(a) for a in t]).tolist()
