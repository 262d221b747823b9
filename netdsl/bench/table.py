"""Several reports in one table: a row for each net and batch, NumPy beside PyTorch and what else was measured."""

from __future__ import annotations

from collections.abc import Sequence

from netdsl.bench.report import MB, OURS, TORCH_FORMATS, Report, show
from netdsl.ground.tables import table_lines

KINDS = ("train", "inference")
Rows = list[tuple[str, ...]]


class Table:
    """The rows of some reports. `str` is text for a terminal, `markdown` that of a page.

    Times are medians in milliseconds; a ratio is the NumPy module's over the other's; the memory is the peak of all
    processes of a contestant, then what of it is not there before the network.
    """

    def __init__(self, reports: Sequence[Report]) -> None:
        self._reports = reports

    def __str__(self) -> str:
        tables = ["\n".join(table_lines(rows, is_ruled=True)) for rows in self._tables()]
        return "\n\n".join([*tables, "\n".join(FOOT)])

    def markdown(self) -> str:
        """The same as tables of Markdown, with ratios below 1 in bold."""
        return "\n\n".join(map(markdown_lines, self._tables()))

    def _tables(self) -> list[Rows]:
        others = self._others()
        return [self._beside_pytorch(), *([self._beside_others(others)] if others else [])]

    def _others(self) -> list[str]:
        """The contestants beside the NumPy module, the layer objects and PyTorch's formats, in their order."""
        names = dict.fromkeys(name for report in self._reports for name in report.results)
        return [name for name in names if name not in (OURS, "interpreter", *TORCH_FORMATS)]

    def _beside_pytorch(self) -> Rows:
        times = [cell for kind in KINDS for cell in (f"{kind}: NumPy", "PyTorch", "ratio")]
        return [("net, batch", *times, *HEAD_OF_MEMORY), *map(_beside_pytorch, self._reports)]

    def _beside_others(self, others: Sequence[str]) -> Rows:
        """The columns of what some report has."""
        columns = [
            (name, kind)
            for name in others
            for kind in KINDS
            if any(_median(report, name, kind) for report in self._reports)
        ]
        head = [cell for name, kind in columns for cell in (f"{name}: {kind}", "ratio")]
        return [
            ("net, batch", *head),
            *(
                (_named(report), *(cell for column in columns for cell in _beside(report, *column)))
                for report in self._reports
            ),
        ]


HEAD_OF_MEMORY = ("peak MB: NumPy", "PyTorch", "network: NumPy", "PyTorch")
FOOT = (
    "ms, medians; ratio: numpy's time over the other's; PyTorch: the faster of its formats, for memory the leaner",
    "peak MB: all that a contestant's processes ever held; network: what came after the libraries and the samples",
)


def _named(report: Report) -> str:
    return f"{report.name}, {report.batch}"


def _beside_pytorch(report: Report) -> tuple[str, ...]:
    times = (
        show(number) for kind in KINDS for number in (report.numpy_ms(kind), report.torch_ms(kind), report.ratio(kind))
    )
    memory = (*report.peaks(), *report.of_networks())
    return _named(report), *times, *("-" if size is None else f"{size / MB:,.0f}" for size in memory)


def _median(report: Report, name: str, kind: str) -> float | None:
    return report.results[name].median_ms(kind) if name in report.results else None


def _beside(report: Report, name: str, kind: str) -> tuple[str, str]:
    """The time of a contestant, and the NumPy module's over it."""
    numpy, other = report.numpy_ms(kind), _median(report, name, kind)
    return show(other), show(numpy / other if numpy and other else None)


def markdown_lines(rows: Rows) -> str:
    """Rows that begin with `net, number` as a table of Markdown, with ratios below 1 in bold."""
    head, *body = rows
    ratios = [i for i, cell in enumerate(head) if cell == "ratio"]
    lines = [_row(head), "|" + "---|" * len(head)]
    for name, *cells in body:
        net, _, batch = name.rpartition(", ")
        row = [f"`{net}`, {batch}", *cells]
        for i in ratios:
            row[i] = f"**{row[i]}**" if row[i] != "-" and float(row[i].replace(",", "")) < 1 else row[i]
        lines.append(_row(row))
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
