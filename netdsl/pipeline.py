"""Source -> syntax tree -> graph -> artifacts: the only place that knows the order."""

from __future__ import annotations

import linecache
import os
import types
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netdsl.analysis.ignores import heard
from netdsl.analysis.lints import lints
from netdsl.analysis.rules import verify_rules
from netdsl.graph.ir import Graph
from netdsl.graph.misfits import misfits
from netdsl.graph.recipe import Recipe
from netdsl.ground.diagnostics import Diagnostic, Edit, SpecError, UserError, bounded_guesses
from netdsl.ground.names import identifier, reserved
from netdsl.ground.samples import SAMPLES
from netdsl.ground.source import Source, Span
from netdsl.language.library import Library, read_spec
from netdsl.language.lower import lower
from netdsl.language.syntax.parser import parse

if TYPE_CHECKING:
    from netdsl.analysis.summary import Summary
    from netdsl.targets.contract import Model, Workers
    from netdsl.targets.live.interpreter import LayerNetwork

MAX_ROUNDS, MAX_TRIALS = 50, 100  # of `fix_text`


@dataclass(frozen=True)
class Net:
    """A checked spec: its graph, its recipe, and everything that can be made of them."""

    source: Source
    graph: Graph
    recipe: Recipe
    warnings: tuple[Diagnostic, ...] = ()
    used: Mapping[str, str] = field(default_factory=dict)  # path below the spec's folder -> text
    choices: Mapping[str, str] = field(default_factory=dict)  # what `tune` found to be fastest
    samples: int = SAMPLES  # that one worker has of a batch, for which algorithms are chosen
    workers: str = "threads"  # of a fast NumPy module, or "processes"

    @property
    def name(self) -> str:
        return self.graph.name

    def with_recipe(self, recipe: Recipe) -> Net:
        """The net, trained in another way. Raises UserError where that does not fit the network."""
        graph = self.graph
        takes = None if graph.takes_names else graph.input_type
        for misfit in misfits(recipe, takes, graph.type_of(graph.judged_value)):
            raise UserError(misfit.message, help=misfit.help)
        return replace(self, recipe=recipe)

    def with_choices(self, choices: Mapping[str, str]) -> Net:
        """The net whose fast NumPy module computes its layers in these ways, as `bench.tuning.tune` gives them."""
        return replace(self, choices=choices)

    def for_samples(self, samples: int) -> Net:
        """The net whose fast NumPy module is made for workers with so many samples of a batch each."""
        return replace(self, samples=samples)

    def with_workers(self, kind: str) -> Net:
        """The net whose fast NumPy module has workers of that kind, "threads" or "processes"."""
        if kind == self.workers:
            return self
        if kind not in self._others:
            self._others[kind] = replace(self, workers=kind)
        return self._others[kind]

    @cached_property
    def _others(self) -> dict[str, Net]:
        return {}

    def summary(self) -> Summary:
        """Layers, shapes, params, MACs, memory; print it."""
        from netdsl.analysis.summary import Summary

        return Summary(self.graph, self.recipe)

    def build(self, seed: int | None = None, dtype: Any = "float32") -> LayerNetwork:
        """A network of layer objects with fresh weights; seed defaults to the spec's."""
        from netdsl.targets.live.interpreter import layer_network

        seed = self.recipe.seed if seed is None else seed
        return layer_network(self.graph, self.recipe, seed, dtype)

    @cached_property
    def _texts(self) -> dict[tuple[str, int], str]:
        return {}

    def text(self, target: str, level: int = 0) -> str:
        """The text that a target writes. Raises UserError where there is none, or it declines a layer of the net."""
        from netdsl.targets.registry import check_taken, target_of, writers

        if (target, level) not in self._texts:
            writer = target_of(target, level)
            if writer.emit is None:
                raise UserError(f"the target `{target}` writes nothing", f"use {' or '.join(writers())}")
            check_taken(writer, self.graph)
            self._texts[target, level] = writer.emit(self, level)
        return self._texts[target, level]

    def module(self, target: str, level: int = 0) -> types.ModuleType:
        """The text of a target that writes Python, run. Raises UserError as `text` does."""
        from netdsl.targets.registry import target_of

        if target_of(target, level).dialect is None:
            raise UserError(f"what the target `{target}` writes is no Python that netdsl runs")
        return run_module(self.text(target, level), f"{self.name}_{target}")

    def model(
        self,
        target: str,
        level: int = 0,
        seed: int | None = None,
        dtype: Any = "float32",
        workers: Workers | None = None,
    ) -> Model:
        """The net with its first weights, as a target makes it; seed defaults to the spec's. `close` ends it.

        workers: who shares a batch, by default threads, one for each core. Raises UserError where the target makes
        none, or declines a layer of the net.
        """
        from netdsl.targets.contract import ALONE
        from netdsl.targets.registry import check_taken, runners, target_of

        runner = target_of(target, level)
        if runner.model is None:
            raise UserError(f"the target `{target}` makes no model", f"use {' or '.join(runners())}")
        check_taken(runner, self.graph)
        return runner.model(self, level, self.recipe.seed if seed is None else seed, dtype, workers or ALONE)

    def numpy_source(self, level: int = 0) -> str:
        """The text of the standalone NumPy module: level 0 is the textbook, to be read, 2 is fast, 1 is as
        fast as it can be without Winograd's algorithm and the Fourier transform, which mix the numbers of a tile.

        All compute the same, have the same params under the same names and need nothing but numpy.
        """
        return self.text("numpy", level)

    def torch_source(self) -> str:
        """The text of the PyTorch module."""
        return self.text("torch")

    def numpy_module(self, level: int = 0) -> Any:
        """The emitted NumPy module, run: its `Model` and, by their names, the kernels that it uses."""
        return self.module("numpy", level)

    def numpy_model(self, seed: int | None = None, dtype: Any = "float32", level: int = 0, **options: Any) -> Any:
        """An instance of the emitted NumPy module's Model, with the methods of `targets.contract.Model` as well.

        options, above level 0: workers, how many (None: one for each core), and kind, "threads", "processes" or "auto";
        call the model's `close()` when it is no longer used.
        """
        from netdsl.targets.contract import Workers

        workers = Workers(options.pop("workers", None), options.pop("kind", "threads"))
        assert not options, options
        return self.model("numpy", level, seed, dtype, workers)

    def torch_model(self) -> Any:
        """An instance of the emitted PyTorch module, an `nn.Module` with weights as PyTorch starts them."""
        return self.module("torch").Model()

    def _repr_html_(self) -> str:
        from netdsl.analysis.summary import with_picture

        return with_picture(self.graph, self.summary()._repr_html_())


def run_module(text: str, name: str) -> types.ModuleType:
    """An emitted text as a module. Only texts that passed the emitters' gate come here.

    Tracebacks and `inspect.getsource` show its lines as long as its Model lives.
    """
    module = types.ModuleType(name)
    file = f"<{name} {id(module):x}>"
    exec(compile(text, file, "exec", dont_inherit=True), vars(module))
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    weakref.finalize(module.Model, linecache.cache.pop, file, None)
    return module


def why_reserved(name: str) -> str | None:
    """Why no label may have that name, for the sake of Python or of any target; None where it may."""
    from netdsl.targets.registry import reserved_names  # here, since most specs have no label

    return reserved(name, reserved_names())


def check_text(text: str, file: str = "net.net", root: Path | None = None) -> tuple[Net | None, list[Diagnostic]]:
    """The network (None if the text has errors) and every diagnostic, in the order of the file.

    root: the folder whose `.net` files the text may `use`; None for a text that stands in no folder.
    """
    source = Source(file, text)
    program, diagnostics = parse(source)
    complete = not diagnostics
    library = Library(root)
    with bounded_guesses():
        graph, recipe, more = lower(program, identifier(Path(file).stem), complete, library, why_reserved)
    known = {d.span.line for d in diagnostics}
    diagnostics += [d for d in more if d.span.line not in known or complete]
    diagnostics.sort(key=lambda d: (d.span.source is not source, d.span.source.name, d.span.start))
    if graph is None:
        return None, diagnostics
    verify_rules(graph)
    diagnostics = heard(source, sorted([*diagnostics, *lints(program, graph, recipe)], key=lambda d: d.span.start))
    return Net(source, graph, recipe, tuple(diagnostics), library.used), diagnostics


def fix_text(text: str, file: str = "net.net", root: Path | None = None) -> tuple[str, int]:
    """The text with every proposed edit that is certain to help, and how many there were.

    An edit counts as certain where the text is checked again and what it was made for is gone, with nothing new at
    its place: all at once, and where that does not hold, one by one. What then comes to light is fixed as well.
    """
    count = 0
    diagnostics = check_text(text, file, root)[1]
    for _ in range(MAX_ROUNDS):
        edits = _edits(diagnostics, file)
        tried = (edits, *([edit] for edit in edits[:MAX_TRIALS] if len(edits) > 1))
        for some in tried if edits else ():
            changed = _edited(text, some)
            after = check_text(changed, file, root)[1]
            if _is_better(diagnostics, after, some, file):
                text, diagnostics, count = changed, after, count + len(some)
                break
        else:
            break
    return text, count


def _edits(diagnostics: Sequence[Diagnostic], file: str) -> list[Edit]:
    """The edits of the file itself, the last one first, none in another."""
    own = {d.fix for d in diagnostics if d.fix is not None and d.fix.span.source.name == file}
    edits: list[Edit] = []
    for edit in sorted(own, key=lambda edit: (edit.span.start, edit.span.end), reverse=True):
        if not edits or edit.span.end <= edits[-1].span.start:
            edits.append(edit)
    return edits


def _edited(text: str, edits: Sequence[Edit]) -> str:
    """The text after edits that stand from its end to its start. A line that one leaves empty goes."""
    for edit in edits:
        start, end = edit.span.start, edit.span.end
        line_start, line_end = text.rfind("\n", 0, start) + 1, text.find("\n", end)
        before, after = text[line_start:start], text[end : line_end if line_end >= 0 else len(text)]
        if (before + text[start:end] + after).strip() and not (before + edit.text + after).strip():
            start, end = line_start, line_end + 1 if line_end >= 0 else len(text)
        text = text[:start] + edit.text + text[end:]
    return text


def _rank(diagnostics: Sequence[Diagnostic]) -> tuple[int, int, int, int]:
    """How far a text is from right: what stops the parser, what stops names, other errors, warnings."""
    errors = [d.code for d in diagnostics if d.level == "error"]
    syntax, names = (sum(code[1] in kind for code in errors) for kind in ("01", "35"))
    return syntax, names, len(errors), len(diagnostics) - len(errors)


def _is_better(before: Sequence[Diagnostic], after: Sequence[Diagnostic], edits: Sequence[Edit], file: str) -> bool:
    """Whether less is wrong than before, or as much but further on, where a mistake hid another; and nothing where the
    edits were made."""
    if _at_an_edit(after, edits, file):
        return False
    if _rank(after) != _rank(before):
        return _rank(after) < _rank(before)
    places = sorted(d.span.start for d in before)
    moved = sorted(_origin(d.span, edits, file) for d in after)
    return places != moved and all(new >= old for old, new in zip(places, moved, strict=True))


def _origin(span: Span, edits: Sequence[Edit], file: str) -> int:
    """Where a place of the edited text was before; edits stand from the end to the start."""
    start = span.start
    for edit in reversed(edits) if span.source.name == file else ():
        if start > edit.span.start:
            start = max(edit.span.start, start - len(edit.text) + edit.span.end - edit.span.start)
    return start


def _at_an_edit(diagnostics: Sequence[Diagnostic], edits: Sequence[Edit], file: str) -> bool:
    """Whether an error stands where one of the edits was made."""
    shift, places = 0, []
    for edit in reversed(edits):
        start = edit.span.start + shift
        places.append((start, start + len(edit.text)))
        shift += len(edit.text) - (edit.span.end - edit.span.start)
    errors = [d.span for d in diagnostics if d.level == "error" and d.span.source.name == file]
    return any(span.start < end and start < span.end for span in errors for start, end in places)


def format_text(text: str, file: str = "net.net") -> tuple[str | None, list[Diagnostic]]:
    """The text in canonical form (None if it has syntax errors) and what is wrong with it."""
    from netdsl.language.syntax.printer import format_source

    source = Source(file, text)
    _, diagnostics = parse(source)
    return (None, diagnostics) if diagnostics else (format_source(source), [])


def compile_text(text: str, name: str = "net") -> Net:
    """The network that `text` describes. Raises SpecError with every diagnostic."""
    net, diagnostics = check_text(text, f"{name}.net")
    if net is None:
        raise SpecError(_errors(diagnostics))
    return net


def check_file(path: str | os.PathLike[str]) -> tuple[Net | None, list[Diagnostic]]:
    """The network of a file (None if it has errors) and every diagnostic. Raises UserError where it cannot be read."""
    text = read_spec(Path(path), str(path))
    if isinstance(text, Diagnostic):
        return None, [text]
    return check_text(text, str(path), Path(path).resolve().parent)


def compile_file(path: str | os.PathLike[str]) -> Net:
    """The network in a `.net` file. Raises SpecError with every diagnostic, UserError where the file cannot be read."""
    net, diagnostics = check_file(path)
    if net is None:
        raise SpecError(_errors(diagnostics))
    return net


def _errors(diagnostics: Sequence[Diagnostic]) -> list[Diagnostic]:
    return [d for d in diagnostics if d.level == "error"]
