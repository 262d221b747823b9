"""What a match came to: `str` is the table, `as_dict` the object of `--json`."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from netdsl.ground.tables import table_lines

MB = 10**6
OURS, TORCH_FORMATS = "numpy", ("torch", "torch_channels_last")
"""The contestants that the ratio is of: the NumPy module over the faster of PyTorch's formats."""


@dataclass
class Result:
    """One contestant. times: seconds of each step, `train` and `inference`; losses: of those of training; memory in
    bytes; idle: for each turn, the share of one processor that it used while it waited. subnormals: kind of array ->
    the share of subnormal numbers in it after the steps.

    agreement: the largest difference of its output over the largest output of the reference; loss_agreement: that of
    the training losses; None where nothing was compared.
    """

    times: dict[str, list[float]] = field(default_factory=dict)
    base: int | None = None
    peak: int | None = None
    agreement: float | None = None
    loss_agreement: float | None = None
    idle: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    subnormals: dict[str, float] = field(default_factory=dict)

    @property
    def of_network(self) -> int | None:
        """Bytes that it held at most beside those from before there was a network."""
        return None if self.peak is None or self.base is None else self.peak - self.base

    def median_ms(self, kind: str) -> float | None:
        """Milliseconds a step; None if it was not measured."""
        times = self.times.get(kind)
        return statistics.median(times) * 1e3 if times else None

    def iqr_ms(self, kind: str) -> float | None:
        """The width of the middle half of the steps, milliseconds."""
        times = self.times.get(kind, [])
        if len(times) < 2:
            return 0.0 if times else None
        low, _, high = statistics.quantiles(times, n=4, method="inclusive")
        return (high - low) * 1e3

    def as_dict(self, batch: int) -> dict[str, object]:
        """The result as the object of `--json` has it; keys end in the unit."""
        values: dict[str, object] = {}
        for kind in ("train", "inference"):
            median, times = self.median_ms(kind), self.times.get(kind, [])
            values |= {
                f"{kind}_ms": _rounded(median),
                f"{kind}_iqr_ms": _rounded(self.iqr_ms(kind)),
                f"{kind}_min_ms": _rounded(min(times) * 1e3) if times else None,
                f"{kind}_steps": len(times),
                f"{kind}_samples_per_s": _rounded(batch / median * 1e3) if median else None,
            }
        return values | {
            "train_loss": _finite(statistics.median(self.losses)) if self.losses else None,
            "peak_mb": _megabytes(self.peak),
            "base_mb": _megabytes(self.base),
            "agreement": self.agreement,
            "loss_agreement": self.loss_agreement,
            "subnormals": self.subnormals,
        }


@dataclass(frozen=True)
class Report:
    """notes: what was left out, and what disturbed; failures: name -> why a contestant has no result. device: where
    PyTorch computed and how, where somebody chose."""

    name: str
    batch: int
    threads: int
    level: int
    machine: Mapping[str, object]
    results: Mapping[str, Result]
    notes: tuple[str, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    device: str | None = None

    def ratio(self, kind: str) -> float | None:
        """Time of the NumPy module over that of the faster PyTorch format; None unless both were measured."""
        numpy, torch = self.numpy_ms(kind), self.torch_ms(kind)
        return numpy / torch if numpy and torch else None

    def numpy_ms(self, kind: str) -> float | None:
        """Milliseconds a step of the NumPy module."""
        return self.results[OURS].median_ms(kind) if OURS in self.results else None

    def torch_ms(self, kind: str) -> float | None:
        """Milliseconds a step of the faster PyTorch format."""
        medians = (self.results[name].median_ms(kind) for name in TORCH_FORMATS if name in self.results)
        return min((ms for ms in medians if ms), default=None)

    def peaks(self) -> tuple[int | None, int | None]:
        """Bytes that the NumPy module held at most, and the leaner PyTorch format."""
        return self._least(lambda result: result.peak)

    def of_networks(self) -> tuple[int | None, int | None]:
        """Bytes of these that came with the network."""
        return self._least(lambda result: result.of_network)

    def _least(self, memory: Callable[[Result], int | None]) -> tuple[int | None, int | None]:
        """The least of the NumPy module, and of PyTorch's formats."""
        ours, others = (
            [size for name in names if name in self.results and (size := memory(self.results[name]))]
            for names in ((OURS,), TORCH_FORMATS)
        )
        return min(ours, default=None), min(others, default=None)

    def as_dict(self) -> dict[str, object]:
        """The report as the object of `--json`; numpy_ms is the time of a training step."""
        ratios = {
            kind: {
                "numpy_ms": _rounded(self.numpy_ms(kind)),
                "torch_ms": _rounded(self.torch_ms(kind)),
                "ratio": _rounded(self.ratio(kind)),
            }
            for kind in ("train", "inference")
        }
        return {
            "name": self.name,
            "batch": self.batch,
            "threads": self.threads,
            "level": self.level,
            "machine": dict(self.machine),
            **({"device": self.device} if self.device else {}),
            "contestants": {name: result.as_dict(self.batch) for name, result in self.results.items()},
            "numpy_ms": ratios["train"]["numpy_ms"],
            **ratios,
            "peak_mb": dict(zip(("numpy", "torch"), map(_megabytes, self.peaks()), strict=True)),
            "network_mb": dict(zip(("numpy", "torch"), map(_megabytes, self.of_networks()), strict=True)),
            "notes": list(self.notes),
            "failures": dict(self.failures),
        }

    def __str__(self) -> str:
        return "\n".join([*self.head(f"{self.name}: batch {self.batch}"), "", *self._table(), "", *self._foot()])

    def head(self, of: str) -> list[str]:
        """The lines above the table. of: what is measured."""
        used = self.machine
        torch = f", torch {used['torch']}" if used["torch"] else ""
        return [
            f"{of}, {_count(self.threads, 'thread')}, NumPy module at -O{self.level}",
            f"{used['cpu']}, {_count(used['cores'], 'core')}; numpy {used['numpy']} with {used['blas']}{torch}",
            *([f"PyTorch {self.device}; NumPy on the processor"] if self.device else []),
        ]

    def _table(self) -> list[str]:
        head = ("contestant", "train ms", "iqr", "inference ms", "iqr", "samples/s", "peak MB", "base MB")
        return table_lines([head, *(self._row(name, result) for name, result in self.results.items())], is_ruled=True)

    def _row(self, name: str, result: Result) -> tuple[str, ...]:
        times = (
            show(value) for kind in ("train", "inference") for value in (result.median_ms(kind), result.iqr_ms(kind))
        )
        median = result.median_ms("train")
        speed = show(self.batch / median * 1e3 if median else None)
        memory = (f"{size / MB:.0f}" if size else "-" for size in (result.peak, result.base))
        return name, *times, speed, *memory

    def _foot(self) -> list[str]:
        counts = sorted({len(times) for result in self.results.values() for times in result.times.values()})
        steps = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(*counts)
        ratios = (f"{kind} {show(self.ratio(kind))}" for kind in ("train", "inference"))
        return [
            f"medians of {steps} steps, turn about; iqr: the width of the middle half; samples/s: in training;",
            "base: before the network is built",
            *self._memory(),
            f"numpy / faster PyTorch format: {', '.join(ratios)}",
        ]

    def _memory(self) -> list[str]:
        """Who needs how much, in a line."""
        both = self.peaks(), self.of_networks()
        if None in both[0] or None in both[1]:
            return []
        peaks, networks = (" and ".join(f"{(size or 0) / MB:,.0f}" for size in sizes) for sizes in both)
        return [f"peak MB of numpy and the leaner PyTorch format: {peaks}, of the network alone {networks}"]


def show(value: float | None) -> str:
    """Three digits or all before the point; `-` for None."""
    if value is None:
        return "-"
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def _count(number: object, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None  # JSON has no NaN


def _megabytes(size: int | None) -> float | None:
    return None if size is None else round(size / MB, 1)
