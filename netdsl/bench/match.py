"""The contestants side by side: the same weights, the same batch, the same results, and then the clock."""

from __future__ import annotations

import contextlib
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from netdsl.analysis.batches import batch_mistake
from netdsl.analysis.plain import require_plain
from netdsl.bench import LIMIT
from netdsl.bench.child import PHASES, Child, ContestantFailed, ContestantLeftOut
from netdsl.bench.contestants import ENTRIES, Entry, Job, installed_version, write_module
from netdsl.bench.guard import Guard
from netdsl.bench.machine import machine
from netdsl.bench.report import OURS, TORCH_FORMATS, Report, Result
from netdsl.bench.subnormals import WORTH_SAYING
from netdsl.bench.texts import first_difference, vary
from netdsl.graph.ir import Graph
from netdsl.ground.diagnostics import UserError
from netdsl.ground.system.machine import busy_seconds
from netdsl.layers import layer_at
from netdsl.pipeline import Net
from netdsl.stages.workers import available_cores
from netdsl.targets.contract import Device
from netdsl.targets.registry import target_of

STEPS, STEPS_A_TURN = 20, 4
BUDGET = 30.0  # seconds that a contestant gets for the steps of one kind, unless the number of steps is given
TOLERANCE = 1e-3  # of the outputs, relative to the largest
LOSS_STEPS, LOSS_TOLERANCE = 2, 5e-2  # batch norm of a few samples amplifies rounding: 4e-3 in ResNet-50 at batch 2
IN_16_BITS = 0.2  # bfloat16 rounds each number to 8 bits, and the next layers add that up
PREPARATIONS = ("start", "base", "build", "load", "output", "losses", "warm_up")  # what is asked before measuring
DISTURBED = 0.1  # share of a processor used while waiting, or of all of them by other programs


@dataclass(frozen=True)
class Options:
    """steps: how many of each kind; None is STEPS, or fewer where they take long. limit: seconds for a contestant.
    device: where PyTorch's contestants compute, and how; those of NumPy stay on the processor. trains: whether steps of
    training are made. tokens: how many a step of inference writes; 0: it infers a batch."""

    batch: int
    threads: int
    level: int
    workers: str = "auto"
    steps: int | None = None
    limit: float = LIMIT
    device: Device = Device("cpu")
    trains: bool = True
    tokens: int = 0

    @property
    def tolerances(self) -> tuple[float, float]:
        """How far outputs and losses may differ, relative to the largest: in 16 bits further."""
        return (IN_16_BITS, IN_16_BITS) if self.device.amp else (TOLERANCE, LOSS_TOLERANCE)


@dataclass(frozen=True)
class Progress:
    """What is going on (`torch_compile: warming up`), and for how many seconds.

    Before the clock runs: which step it is, from 1, and of how many; then how many of the turns are done, and about how
    many seconds the others will take, where that is known.
    """

    what: str
    done: int = 0
    total: int = 0
    step: int = 0
    steps: int = 0
    seconds: float = 0.0
    left: float | None = None


class Disagreement(Exception):
    """A contestant computes something else than the reference, so its time says nothing."""


def bench(
    net: Net,
    options: Options,
    entries: Sequence[Entry] = ENTRIES,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Report:
    """Measure every contestant that can run here; a failed one is left out and reported.

    A batch that the net cannot be trained on is inferred alone. Raises Disagreement; UserError if none is left, or the
    net has several inputs. No process outlives the call.
    """
    require_plain(net.graph, "the benchmark")
    usable, notes = available(entries, net.graph)
    mistake = batch_mistake(net.graph, options.batch) if options.trains else None
    if mistake is not None:
        options = replace(options, trains=False)
        notes.append(f"training is left out: {mistake}")
    device = described(options.device, net.graph)
    with tempfile.TemporaryDirectory(prefix="netdsl-bench-", ignore_cleanup_errors=True) as folder:
        match = _Match(net, options, Path(folder), notes, on_progress, device)
        try:
            match.start(usable)
            match.compare()
            match.measure()
            return match.report()
        finally:
            match.end()


def available(entries: Iterable[Entry], graph: Graph) -> tuple[list[Entry], list[str]]:
    """The entries that can run here, and why the others cannot."""
    usable, notes = [], []
    for entry in entries:
        missing = [package for package in entry.needs if installed_version(package) is None]
        if missing:
            extra = "torch" if missing == ["torch"] else "bench"
            named = f"{', '.join(missing)} (`pip install 'netdsl[{extra}]'`)"
            notes.append(f"{entry.name} is left out, not installed: {named}")
        elif entry.takes_axes and graph.input_type.axes not in entry.takes_axes:
            notes.append(f"{entry.name} is left out: the input is no image and no volume")
        else:
            usable.append(entry)
    return usable, notes


def described(device: Device, graph: Graph) -> str | None:
    """Where PyTorch computes and how, `2.13.0 on cuda:0 (NVIDIA H200), bfloat16`; None where nobody chose. Raises
    UserError where it cannot."""
    if device == Device("cpu"):
        return None
    check = target_of("torch").check
    assert check is not None
    named = ", ".join([check(device), *device.described])
    from netdsl.targets.torch.devices import memory_format

    memory_format(device, graph.input_type)
    return named


class _Match:
    """The contestants that are left, in the order of the table, and what is known about them."""

    def __init__(
        self,
        net: Net,
        options: Options,
        folder: Path,
        notes: list[str],
        on_progress: Callable[[Progress], None],
        device: str | None = None,
    ) -> None:
        self.net, self.options, self.folder = net, options, folder
        self.device = device
        self.notes, self.on_progress = notes, on_progress
        self.children: list[Child] = []
        self.guard = Guard(str(folder))
        self.results: dict[str, Result] = {}
        self.failures: dict[str, str] = {}
        self.now = Progress("")
        self.began = (time.perf_counter(), time.process_time(), busy_seconds())

    def start(self, entries: Iterable[Entry]) -> None:
        """All at once, since most of it is waiting for files."""
        options, entries = self.options, tuple(entries)
        if any(entry.name == OURS for entry in entries):
            with contextlib.suppress(UserError):  # which its process raises, too
                write_module(self.net, options.level, options.workers)
        for entry in entries:
            shared = options.batch, options.threads, options.level, options.workers
            job = Job(self.net, entry.factory, *shared, 0, options.device, options.trains, options.tokens)
            words = {**PHASES, **entry.words}
            self.children.append(Child(entry.name, job, self.folder, self.guard, options.limit, words, self._wait))
        for child in tuple(self.children):
            self._begin(child, "start")
            self._guarded(child, child.receive)
        for name, base in self._each("base"):
            self.results[name] = Result(base=base)

    def compare(self) -> None:
        """Give all the same weights, and see that they make the same of them. Raises Disagreement."""
        self._do("build")
        path = str(self.folder / "weights.safetensors")
        network = self.net.build()
        if self.options.tokens:
            vary(network.params)
        network.save(path)
        self._do("load", path)
        if self.options.tokens:
            self._compare_texts()
            return
        tolerance, of_losses = self.options.tolerances
        self._compare("output", "outputs", "agreement", tolerance)
        if not any(layer_at(node).is_random for node in self.net.graph.nodes):  # the second loss tells of gradients
            self._compare("losses", "losses before and after a step", "loss_agreement", of_losses, LOSS_STEPS)

    def measure(self) -> None:
        """Round after round, every contestant a few steps; each round begins with another one."""
        rounds = math.ceil((self.options.steps or STEPS) / STEPS_A_TURN)
        totals = {
            name: {kind: num_steps(self.options.steps, seconds, rounds) for kind, seconds in kinds.items()}
            for name, kinds in self._each("warm_up")
        }
        done, began = 0, time.monotonic()
        for index in range(rounds):
            first = index % len(self.children)
            for child in self.children[first:] + self.children[:first]:
                total = rounds * len(self.children)
                left = (time.monotonic() - began) / done * (total - done) if done else None
                self._tell(Progress(f"{child.name}: {child.doing('turn')}", done, total, left=left))
                self._turn(child, {kind: share(n, index, rounds) for kind, n in totals[child.name].items()})
                done += 1
        self._finish()

    def report(self) -> Report:
        """What is known by now."""
        options, results = self.options, {child.name: self.results[child.name] for child in self.children}
        notes, failures = tuple(self.notes), self.failures
        return Report(
            self.net.name,
            options.batch,
            options.threads,
            options.level,
            machine(),
            results,
            notes,
            failures,
            self.device,
        )

    def end(self) -> None:
        """End every process."""
        for child in self.children:
            child.end()
        self.guard.end()

    def _begin(self, child: Child, method: str) -> None:
        """Tell that it is asked that."""
        event = Progress(f"{child.name}: {child.doing(method)}")
        if method in PREPARATIONS:
            number, count = self.children.index(child) + 1, len(self.children)
            step = PREPARATIONS.index(method) * count + number
            event = replace(event, step=step, steps=len(PREPARATIONS) * count)
        self._tell(event)

    def _tell(self, event: Progress) -> None:
        self.now = event
        self.on_progress(event)

    def _wait(self, seconds: float) -> None:
        """Tell for how long an answer has been waited for; while steps are measured nothing is told."""
        if not self.now.total:
            self.on_progress(replace(self.now, seconds=seconds))

    def _each(self, method: str, *arguments: object) -> Iterator[tuple[str, Any]]:
        """Ask all, one after another -> name and answer of those that do not fail."""
        for child in tuple(self.children):
            self._begin(child, method)
            reply = self._guarded(child, child.ask, method, *arguments)
            if child in self.children:
                yield child.name, reply

    def _do(self, method: str, *arguments: object) -> None:
        for _ in self._each(method, *arguments):
            pass

    def _guarded(self, child: Child, call: Callable[..., object], *arguments: object) -> Any:
        """What the call returns; None if the contestant fails, which is then out. Raises UserError after the last."""
        try:
            return call(*arguments)
        except ContestantFailed as failure:
            if isinstance(failure, ContestantLeftOut):
                self.notes.append(f"{child.name} is left out: {failure.message}")
            else:
                self.failures[child.name] = "\n".join(filter(None, (failure.message, failure.details)))
            self.children.remove(child)
            child.end()
            if not self.children:
                raise UserError(f"every contestant failed; {child.name}: {failure.message}", failure.details) from None
            return None

    def _compare(self, method: str, what: str, field: str, tolerance: float, *arguments: object) -> None:
        """Compares what each answers with the reference: PyTorch, or else the layer objects."""
        outputs = {name: np.asarray(reply) for name, reply in self._each(method, *arguments) if reply is not None}
        reference = next((name for name in (*TORCH_FORMATS, "interpreter", *outputs) if name in outputs), "")
        for name, array in outputs.items():
            off = difference(array, outputs[reference])
            setattr(self.results[name], field, off)
            if not off <= tolerance:
                raise Disagreement(
                    f"`{name}` and `{reference}` do not compute the same: the {what} differ by {off:.1e} of the "
                    f"largest, and {tolerance:.0e} is allowed"
                )

    def _compare_texts(self) -> None:
        """Has all go on with the same text, and sees that they do it in the same way. Raises Disagreement."""
        texts = {name: np.asarray(reply) for name, reply in self._each("output") if reply is not None}
        reference = next(iter(texts), "")
        for name, text in texts.items():
            where = first_difference(text, texts[reference])
            if where:
                raise Disagreement(f"`{name}` and `{reference}` do not write the same: {where}")
            self.results[name].agreement = 0.0

    def _turn(self, child: Child, counts: dict[str, int]) -> None:
        reply = self._guarded(child, child.ask, "turn", counts)
        if reply:
            (times, losses, idle), result = reply, self.results[child.name]
            result.idle.append(idle)
            result.losses.extend(losses)
            for kind, seconds in times.items():
                result.times.setdefault(kind, []).extend(seconds)

    def _finish(self) -> None:
        """Memory, subnormal numbers, and notes on what may have disturbed."""
        used = dict(self._each("used"))
        for name, (peak, _) in used.items():
            self.results[name].peak = peak
            if float(np.median(self.results[name].idle)) > DISTURBED:
                self.notes.append(f"{name} used a processor while it waited, which disturbed the others")
        self._note_others(sum(cpu for _, cpu in used.values()))
        for name, shares in self._each("subnormals"):
            self.results[name].subnormals = shares
            many = [f"{share:.2%} of {kind}" for kind, share in shares.items() if share >= WORTH_SAYING]
            if many:
                self.notes.append(f"{name} holds subnormal numbers, which are slow to compute with: {', '.join(many)}")

    def _note_others(self, used: float) -> None:
        """Whether other programs disturbed. used: the contestants' CPU time."""
        start, own, busy = self.began
        now = busy_seconds()
        if busy is None or now is None or self.failures:
            return
        ours = time.process_time() - own + used
        others = (now - busy - ours) / (time.perf_counter() - start)
        if others > DISTURBED * available_cores():
            self.notes.append(f"other programs used {others:.1f} processors meanwhile: the times may be too long")


def num_steps(wanted: int | None, seconds: float, rounds: int) -> int:
    """How many steps of that length: as many as wanted, or STEPS within the BUDGET, one a round at least."""
    return wanted or max(rounds, min(STEPS, int(BUDGET / max(seconds, 1e-9))))


def share(total: int, index: int, rounds: int) -> int:
    """How many of `total` steps belong to a round (from 0), spread evenly."""
    return total * (index + 1) // rounds - total * index // rounds


def difference(computed: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference over the largest expected number; infinite where shapes differ, or one of the two is not
    finite and the other is not the same."""
    if computed.shape != expected.shape:
        return math.inf
    other = (computed != expected) & ~(np.isnan(computed) & np.isnan(expected))
    if not other.any():
        return 0.0
    off = np.abs(computed[other].astype(np.float64) - expected[other]).max()
    scale = np.abs(expected, where=np.isfinite(expected), out=np.zeros_like(expected)).max()
    return float(off / scale if scale else off) if np.isfinite(off) else math.inf
