"""Comparisons of arrays, as data: a `Check` each, a `Report` of all, and how near is near enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from netdsl.ground.tables import table_lines

TOLERANCES = {"float64": (1e-8, 1e-12), "float32": (1e-4, 1e-5)}  # rtol of the largest value, atol
ROUNDS = 8  # see compared
AMPLIFIED, LARGEST_TOLERANCE = 10, 1e-3  # see close


Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Check:
    """One comparison. max_rel is the largest difference over the largest value; tolerance 0 means bit for bit.

    saw: False where everything compared is 0, so that a wrong factor would have passed.
    """

    name: str
    max_abs: float
    max_rel: float
    tolerance: float
    ok: bool
    saw: bool = True

    @property
    def verdict(self) -> str:
        if not self.ok:
            return "FAILED"
        return "ok" if self.saw else "0 = 0"


@dataclass(frozen=True)
class Report:
    """`ok` if every check passed; `notes` say what was left out."""

    name: str
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    def as_dict(self) -> dict[str, object]:
        return {"ok": self.ok, "checks": [asdict(check) for check in self.checks], "notes": list(self.notes)}

    def __str__(self) -> str:
        rows = [("check", "max abs", "max rel", "tolerance", "")]
        for check in self.checks:
            tolerance = "bitwise" if check.tolerance == 0 else f"{check.tolerance:.0e}"
            rows.append((check.name, f"{check.max_abs:.1e}", f"{check.max_rel:.1e}", tolerance, check.verdict))
        lines = table_lines(rows, left=len(rows[0]))
        passed = sum(check.ok for check in self.checks)
        blind = sum(check.ok and not check.saw for check in self.checks)
        end = f"; {blind} of them compared 0 with 0, which proves nothing" if blind else ""
        return "\n".join([*lines, "", f"{self.name}: {passed} of {len(self.checks)} checks passed{end}"])


def is_seen(name: str, computed: np.ndarray, expected: np.ndarray) -> bool:
    """Whether there is a gradient to compare; an output or a buffer may well be 0."""
    return not name.startswith("gradient") or bool(computed.any() or expected.any())


def difference(computed: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """The largest absolute difference, and that over the largest expected value."""
    if computed.shape != expected.shape:
        return float("inf"), float("inf")
    if not expected.size:
        return 0.0, 0.0
    largest = float(np.abs(computed.astype(np.float64) - expected.astype(np.float64)).max())
    scale = float(np.abs(expected).max())
    return largest, largest / scale if scale else largest


def close(
    name: str,
    computed: np.ndarray,
    expected: np.ndarray,
    dtype: str,
    atol: float | None = None,
    own: float = 0.0,
    rtol: float | None = None,
) -> Check:
    """Within rtol of the largest expected value, plus atol (by default those of the dtype).

    own: how far rounding alone moves it; where the network amplifies that beyond rtol, the tolerance is its multiple,
    but never so much that a wrong result could pass.
    """
    rtol = TOLERANCES[dtype][0] if rtol is None else rtol
    atol = TOLERANCES[dtype][1] if atol is None else atol
    largest, relative = difference(computed, expected)
    scale = float(np.abs(expected).max()) if expected.size else 0.0
    if AMPLIFIED * own > rtol * scale > 0:
        rtol = max(rtol, min(AMPLIFIED * own / scale, LARGEST_TOLERANCE))
    return Check(name, largest, relative, rtol, bool(largest <= atol + rtol * scale))


def compared(
    title: str,
    computed: Arrays,
    expected: Arrays,
    ours: Arrays,
    other: Callable[[], Arrays],
    dtype: str,
    flips: float = 0.0,
    **rtol: float,
) -> Iterator[Check]:
    """Each expected array with the one computed.

    In float64 the tolerance grows with what a rounding error on every weight moves: `other` has one, `ours` has not.
    In float32 a deep network goes its own way wherever rounding flips a relu. There the result in float64, `other`, is
    the judge: what is computed may be as far from it as ROUNDS times what is expected is, or a gradient by the share
    `flips` of its norm.
    """
    largest = largest_gradient(expected) if dtype == "float64" else 1.0
    for name, array in expected.items():
        what, atol = f"{title}, {dtype}: {name}", TOLERANCES[dtype][1]
        if name.startswith("gradient"):
            atol *= largest
        check = close(what, computed[name], array, dtype, atol, **rtol)
        if not check.ok and dtype == "float64":
            check = close(what, computed[name], array, dtype, atol, difference(other()[name], ours[name])[0])
        elif not check.ok:
            judge = other()[name]
            is_near = difference(computed[name], judge)[0] <= ROUNDS * difference(array, judge)[0]
            is_flipped = np.linalg.norm(computed[name] - judge) <= flips * np.linalg.norm(judge)
            check = replace(check, ok=bool(is_near or (is_flipped and name.startswith("gradient"))))
        yield replace(check, saw=is_seen(name, computed[name], array))


def steps_compared(
    title: str, computed: Arrays, expected: Arrays, ours: Arrays, other: Callable[[], Arrays], followed: Arrays
) -> Iterator[Check]:
    """The losses, and of every param the numbers that are `followed`, where there are some."""
    for name in expected:
        numbers = followed.get(name, np.array(name == "losses")) & np.ones(expected[name].shape, bool)
        if not numbers.any():
            continue
        what = f"{title}, float64: {name}"
        check = close(what, computed[name][numbers], expected[name][numbers], "float64", 1e-8)
        if not check.ok:
            own = difference(other()[name][numbers], ours[name][numbers])[0]
            check = close(what, computed[name][numbers], expected[name][numbers], "float64", 1e-8, own)
        yield check


def largest_gradient(arrays: dict[str, np.ndarray]) -> float:
    """The scale of rounding in gradients: one that is zero but for rounding, out of large ones, is not quite zero."""
    gradients = (array for name, array in arrays.items() if name.startswith("gradient") and array.size)
    return max([1.0, *(float(np.abs(gradient).max()) for gradient in gradients)])
