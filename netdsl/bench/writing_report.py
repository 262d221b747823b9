"""What a match of those that go on with a text came to: `str` is the table, `as_dict` the object of `--json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netdsl.bench.report import MB, OURS, Report, Result, show
from netdsl.bench.table import markdown_lines
from netdsl.bench.texts import CACHED_TORCH
from netdsl.ground.tables import table_lines

UNCACHED = ("numpy_uncached", "torch_uncached")


@dataclass(frozen=True)
class WritingReport:
    """report: of steps that write so many `tokens` each."""

    report: Report
    tokens: int

    @property
    def ratio(self) -> float | None:
        """The time of the NumPy module over that of the faster PyTorch contestant, both with what they keep; None
        unless both were measured."""
        numpy, torch = self.micros(OURS), self.torch_micros
        return numpy / torch if numpy and torch else None

    @property
    def torch_micros(self) -> float | None:
        """Microseconds a token of the faster PyTorch contestant that keeps what it has seen."""
        return min((micros for name in CACHED_TORCH if (micros := self.micros(name))), default=None)

    def micros(self, name: str) -> float | None:
        """Microseconds a token of a contestant; None if it was not measured."""
        result = self.report.results.get(name)
        return None if result is None else self._each(result.median_ms("inference"))

    def as_dict(self) -> dict[str, object]:
        """The report as the object of `--json` has it; keys end in the unit."""
        report = self.report
        return {
            "name": report.name,
            "tokens": self.tokens,
            "threads": report.threads,
            "level": report.level,
            "machine": dict(report.machine),
            "contestants": {name: self._told(name, result) for name, result in report.results.items()},
            "numpy_us": _rounded(self.micros(OURS)),
            "torch_us": _rounded(self.torch_micros),
            "ratio": None if self.ratio is None else round(self.ratio, 4),
            "notes": list(report.notes),
            "failures": dict(report.failures),
        }

    def _told(self, name: str, result: Result) -> dict[str, object]:
        micros, times = self.micros(name), result.times.get("inference", [])
        return {
            "token_us": _rounded(micros),
            "token_iqr_us": _rounded(self._each(result.iqr_ms("inference"))),
            "token_min_us": _rounded(self._each(min(times) * 1e3)) if times else None,
            "tokens_per_s": _rounded(1e6 / micros if micros else None),
            "texts": len(times),
            "peak_mb": None if result.peak is None else round(result.peak / MB, 1),
        }

    def __str__(self) -> str:
        head = ("us a token", "iqr", "tokens/s", "peak MB")
        rows = [("", *head), *(self._row(name, result) for name, result in self.report.results.items())]
        of = f"{self.report.name}: {self.tokens} tokens of one text, the likeliest each"
        return "\n".join([*self.report.head(of), "", *table_lines(rows, is_ruled=True), "", *self._foot()])

    def _row(self, name: str, result: Result) -> tuple[str, ...]:
        micros, memory = self.micros(name), "-" if result.peak is None else f"{result.peak / MB:.0f}"
        iqr = self._each(result.iqr_ms("inference"))
        return name, show(micros), show(iqr), show(1e6 / micros if micros else None), memory

    def _foot(self) -> list[str]:
        counts = sorted({len(result.times.get("inference", ())) for result in self.report.results.values()})
        texts = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(*counts)
        return [
            f"medians of {texts} texts, turn about, all contestants' the same; iqr: the width of the middle half;",
            "uncached: all is computed again for each token",
            f"numpy / faster PyTorch that keeps what it has seen: {show(self.ratio)}",
        ]

    def _each(self, milliseconds: float | None) -> float | None:
        """Of a text -> microseconds a token."""
        return None if milliseconds is None else milliseconds * 1e3 / self.tokens


class WritingTable:
    """Several reports in one table, a row for each; times are microseconds a token, ratios the NumPy module's time over
    the faster PyTorch contestant's."""

    def __init__(self, reports: Sequence[WritingReport]) -> None:
        self._rows = [
            ("net, tokens", "us a token: NumPy", "PyTorch", "ratio", "uncached: NumPy", "PyTorch"),
            *(
                (
                    f"{told.report.name}, {told.tokens}",
                    *map(show, (told.micros(OURS), told.torch_micros, told.ratio, *map(told.micros, UNCACHED))),
                )
                for told in reports
            ),
        ]

    def __str__(self) -> str:
        return "\n".join(table_lines(self._rows, is_ruled=True))

    def markdown(self) -> str:
        """The same as a table of Markdown, with ratios below 1 in bold."""
        return markdown_lines(self._rows)


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 3)
