"""`netdsl bench`: how fast is the NumPy module, beside PyTorch?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netdsl.bench import LIMIT, WORKERS
from netdsl.cli.bench_progress import shown_bench
from netdsl.cli.options import DEVICE_FLAGS, NameOf, autotune_option, check_workers, device_options
from netdsl.ground.diagnostics import UserError
from netdsl.ground.system.signals import on_signals
from netdsl.targets.registry import DEFAULT, levels_of, target_of

if TYPE_CHECKING:
    from netdsl.bench.contestants import Entry
    from netdsl.bench.match import Options
    from netdsl.bench.profile import Profile
    from netdsl.bench.report import Report
    from netdsl.bench.writing_report import WritingReport
    from netdsl.pipeline import Net


@click.command()
@click.argument("specs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SPEC...")
@click.option(
    "--batch",
    "batches",
    multiple=True,
    type=click.IntRange(1),
    help="Samples a step, once or several times; by default as the spec trains.",
)
@click.option("--threads", type=click.IntRange(1), help="Threads of every contestant; by default one a core.")
@click.option("--steps", type=click.IntRange(1), help="Steps that count; by default 20, or fewer if they take long.")
@click.option(
    "-O",
    "level",
    type=NameOf(lambda: [str(level) for level in levels_of(DEFAULT)]),
    default=str(levels_of(DEFAULT)[-1]),
    show_default=True,
    help="Optimisation level of the NumPy module.",
)
@autotune_option()
@click.option("--workers", type=click.Choice(WORKERS), default="auto", show_default=True, help="How it shares work.")
@click.option(
    "--all",
    "with_extras",
    is_flag=True,
    help="Also torch.compile, which takes a minute before it is measured, onnxruntime (inference) and JAX, where "
    "installed.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="Only this contestant, or these: numpy, interpreter, torch, torch_channels_last, torch_compile, onnxruntime, "
    "jax; by default the first four. With --generate numpy, numpy_uncached, torch_cached, torch_cells, torch_uncached.",
)
@click.option(
    "--generate",
    "tokens",
    type=click.IntRange(0),
    is_flag=False,
    flag_value=0,
    metavar="[N]",
    help="Measure how fast a text of N tokens is written, each the likeliest; by default as many as an input has.",
)
@click.option("--profile", "with_profile", is_flag=True, help="Also time every stage of the NumPy module, at -O2.")
@click.option(
    "--limit",
    type=click.FloatRange(1),
    default=LIMIT,
    show_default=True,
    metavar="SECONDS",
    help="A contestant that takes longer in all is ended and left out.",
)
@device_options()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
@click.option("--markdown", "as_markdown", is_flag=True, help="The table of all specs and batches alone, as Markdown.")
def command(
    specs: tuple[Path, ...],
    batches: tuple[int, ...],
    only: tuple[str, ...],
    autotune: bool,
    with_extras: bool,
    tokens: int | None,
    with_profile: bool,
    as_json: bool,
    as_markdown: bool,
    **flags: Any,
) -> int:
    """Measure a training step and inference: NumPy module, layer objects, and PyTorch in both memory formats.

    Each contestant has a process of its own, the same weights, samples and threads; they work turn about, every step
    on other samples. Nothing is measured unless they compute the same (exit code 1). A contestant that fails is left
    out (exit code 2). The last line is the time of the NumPy module over that of the faster PyTorch format: below 1,
    NumPy is faster. --device and what follows it are for PyTorch's contestants; by default they compute on the
    processor, too. Of several specs or batches one table is made in the end.

    With --generate each goes on with a text instead, number by number, the NumPy module and PyTorch with what their
    layers keep of earlier numbers and without. All must write the same.

    \b
    Examples:
      netdsl bench lenet.net
      netdsl bench lenet.net --batch 128 --threads 2 --json
      netdsl bench lenet.net resnet20.net --batch 1 --batch 64 --markdown
      netdsl bench lenet.net --all --steps 50
      netdsl bench lenet.net --only numpy --only onnxruntime
      netdsl bench resnet20.net --device cuda --amp --channels-last
      netdsl bench char_gpt.net char_lstm.net --generate
    """
    from netdsl.pipeline import compile_file

    check_workers(flags["workers"])
    if with_profile and flags["level"] != "2":
        raise click.UsageError("`--profile` is for the NumPy module at -O2")
    nets = [(spec, compile_file(spec)) for spec in specs]
    if tokens is not None:
        _check_writing(batches, with_extras, with_profile, flags)
        writing = [_writing_case(spec, net, only, tokens, flags) for spec, net in nets]
        return _measure_all(writing, as_json, as_markdown)
    entries, cases = _entries(only, with_extras), []
    for spec, net in nets:
        sizes = batches or (net.recipe.batch,)
        cases += [Case(spec, net, _options(batch, flags), entries, autotune, with_profile) for batch in sizes]
    return _measure_all(cases, as_json, as_markdown)


def _check_writing(batches: Sequence[int], with_extras: bool, with_profile: bool, flags: dict[str, Any]) -> None:
    """Raises UsageError for what says nothing of a text."""
    given = {"--batch": batches, "--all": with_extras, "--profile": with_profile}
    given |= {f"--{option.replace('_', '-')}": flags.get(option) for option in DEVICE_FLAGS}
    for option, value in given.items():
        if value:
            raise click.UsageError(f"`{option}` is not for `--generate`, which writes one text on the processor")


def _writing_case(spec: Path, net: Net, only: Sequence[str], tokens: int, flags: dict[str, Any]) -> Case:
    """How fast a net goes on with a text. Raises UserError where it cannot; tokens: 0 for as many as its input has."""
    from netdsl.bench.texts import writers_of

    entries = _chosen(writers_of(net), only)
    options = replace(_options(1, flags), trains=False, tokens=tokens or net.graph.input_type.length)
    return Case(spec, net, options, entries, False, False)


@dataclass(frozen=True)
class Case:
    """A net to be measured, from which file, how, and by whom."""

    spec: Path
    net: Net
    options: Options
    entries: Sequence[Entry]
    is_tuned: bool
    has_profile: bool

    @property
    def named(self) -> str:
        """`lenet, batch 64`, or `char_gpt, 64 tokens`."""
        how_much = f"{self.options.tokens} tokens" if self.options.tokens else f"batch {self.options.batch}"
        return f"{self.net.name}, {how_much}"


@dataclass(frozen=True)
class Outcome:
    """The exit code, and what was measured; report: None where nothing was."""

    code: int
    report: Report | WritingReport | None = None
    profiles: Sequence[Profile] = ()

    def as_dict(self) -> dict[str, object]:
        """The object of `--json`."""
        assert self.report
        told = {"profile": {p.kind: p.as_dict() for p in self.profiles}} if self.profiles else {}
        return {**self.report.as_dict(), **told}


def _measure_all(cases: Sequence[Case], as_json: bool, as_markdown: bool) -> int:
    """Each in turn, told as soon as it is done, and of several the table in the end -> exit code."""
    finished, codes = [], []
    try:
        for number, case in enumerate(cases, 1):
            before = f"[{number}/{len(cases)}] {case.named}: " if len(cases) > 1 else ""
            outcome = _outcome(case, before)
            codes.append(outcome.code)
            if outcome.report is not None:
                finished.append(outcome)
                _show(case, outcome, not as_json and not as_markdown, bool(before))
    finally:  # where somebody ends it in between, what is known is told
        _show_all(finished, as_json, as_markdown, len(cases) > 1)
    return 1 if 1 in codes else max(codes)


def _outcome(case: Case, before: str) -> Outcome:
    """What a case comes to. before: which one of several it is, for messages; what goes wrong there ends only it."""
    from netdsl.bench.match import Disagreement
    from netdsl.bench.tuning import tuned
    from netdsl.cli import say

    options = case.options
    net = case.net.for_samples(max(1, options.batch // options.threads))
    try:
        if case.is_tuned and options.level in target_of(DEFAULT, options.level).tuned:
            net = tuned(net)
        report = _measured(net, options, case.entries, before)
    except Disagreement as error:
        say(f"error: {before}{error}")
        say(f"help: `netdsl verify {case.spec}` shows where it begins; nothing was measured")
        return Outcome(1)
    except UserError as error:
        if not before:
            raise
        say(f"error: {before}{error}")
        return Outcome(2)
    extras = {entry.name for entry in case.entries if entry.is_extra}
    code = 2 if report.failures.keys() - extras else 0
    if options.tokens:
        from netdsl.bench.writing_report import WritingReport

        return Outcome(code, WritingReport(report, options.tokens))
    return Outcome(code, report, _profiles(net, options) if case.has_profile else ())


def _entries(only: Sequence[str], with_extras: bool) -> list[Entry]:
    """The contestants that are asked for, in the order of the table. Raises UsageError for one that there is not."""
    from netdsl.bench.contestants import ENTRIES

    chosen = _chosen(ENTRIES, only)
    if only:
        return [replace(entry, is_extra=False) for entry in chosen]
    return [entry for entry in chosen if with_extras or not entry.is_extra]


def _chosen(entries: Sequence[Entry], only: Sequence[str]) -> list[Entry]:
    """Those that are named, or all where none is. Raises UsageError for one that there is not."""
    from netdsl.ground.diagnostics import did_you_mean

    names = [entry.name for entry in entries]
    for name in only:
        if name not in names:
            guess = did_you_mean(name, names)
            help = f"did you mean `{guess}`?" if guess else f"there are {', '.join(names)}"
            raise click.UsageError(f"no contestant `{name}`: {help}")
    return [entry for entry in entries if not only or entry.name in only]


def _options(batch: int, flags: dict[str, Any]) -> Options:
    """How it is measured. Raises UserError for a device that there is not."""
    from netdsl.bench.match import Options
    from netdsl.stages.workers import available_cores
    from netdsl.targets.contract import Device
    from netdsl.training.runs.engine import Engine, changed_engine

    how = {field: flags[option] for option, field in DEVICE_FLAGS.items() if option in flags}
    device = changed_engine(Engine("torch", device=Device("cpu")), how).device
    threads, level = flags["threads"] or available_cores(), int(flags["level"])
    return Options(batch, threads, level, flags["workers"], flags["steps"], flags["limit"], device)


def _measured(net: Net, options: Options, entries: Sequence[Entry], before: str) -> Report:
    """What all contestants take. Raises Disagreement where they compute different things."""
    from netdsl.bench.match import bench

    with on_signals(_end, ("SIGTERM",)), shown_bench(before) as show:
        return bench(net, options, entries, show)


def _profiles(net: Net, options: Options) -> Sequence[Profile]:
    """What each stage of the NumPy module takes, in a training step and at inference."""
    from netdsl.bench.profile import profile
    from netdsl.bench.samples import Samples

    return profile(net, Samples(net, options.batch), options.threads)


def _show(case: Case, outcome: Outcome, is_whole: bool, is_one_of_many: bool) -> None:
    """The report of a case, or what is said beside it alone."""
    from netdsl.bench.report import Report
    from netdsl.cli import say

    assert outcome.report
    if is_whole:
        click.echo("\n\n".join(map(str, [outcome.report, *outcome.profiles])) + "\n" * is_one_of_many)
    report = outcome.report if isinstance(outcome.report, Report) else outcome.report.report
    of = f"{case.named}: " if is_one_of_many else ""
    for note in report.notes:
        say(f"note: {of}{note}")
    for name, reason in report.failures.items():
        for line in f"{of}{name} failed: {reason}".splitlines():
            say(f"error: {line}")


def _show_all(finished: Sequence[Outcome], as_json: bool, as_markdown: bool, has_many: bool) -> None:
    """The table of all, or the object of `--json`: of several cases a list of what one has."""
    import json

    from netdsl.bench.report import Report
    from netdsl.bench.table import Table
    from netdsl.bench.writing_report import WritingReport, WritingTable

    reports = [outcome.report for outcome in finished if isinstance(outcome.report, Report)]
    writing = [outcome.report for outcome in finished if isinstance(outcome.report, WritingReport)]
    table = WritingTable(writing) if writing else Table(reports)
    if as_json:
        objects = [outcome.as_dict() for outcome in finished]
        for told in [{"reports": objects}] if has_many and objects else objects:
            click.echo(json.dumps(told))
    elif as_markdown and finished:
        click.echo(table.markdown())
    elif has_many and finished:
        click.echo(str(table))


def _end(number: int) -> None:
    """SIGTERM ends the contestants and removes their files, as Ctrl-C does; exit code 143."""
    sys.exit(128 + number)
