"""Source -> syntax tree -> graph -> artifacts: the only place that knows the order."""

from __future__ import annotations

import os
import stat
import types
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netdsl.analysis.summary import Summary
from netdsl.diagnostics import Diagnostic, SpecError, UserError, plain
from netdsl.ir import Graph
from netdsl.lower import lower
from netdsl.names import identifier
from netdsl.recipe import LOSSES, Recipe
from netdsl.source import Source, Span
from netdsl.syntax.parser import parse

if TYPE_CHECKING:
    from netdsl.backends.interpreter import LayerNetwork

MAX_SOURCE = 2**20  # bytes


@dataclass(frozen=True)
class Net:
    """A checked spec: its graph, its recipe, and everything that can be made of them."""

    source: Source
    graph: Graph
    recipe: Recipe
    warnings: tuple[Diagnostic, ...] = ()

    @property
    def name(self) -> str:
        return self.graph.name

    def with_recipe(self, recipe: Recipe) -> Net:
        return replace(self, recipe=recipe)

    def summary(self) -> Summary:
        """Layers, shapes, params, MACs, memory; print it."""
        return Summary(self.graph, self.recipe)

    def build(self, seed: int | None = None, dtype: Any = "float32") -> LayerNetwork:
        """A network of layer objects with fresh weights; seed defaults to the spec's."""
        from netdsl.backends.interpreter import LayerNetwork

        seed = self.recipe.seed if seed is None else seed
        return LayerNetwork(self.graph, self.recipe, LOSSES[self.recipe.loss], seed, dtype)

    @cached_property
    def _numpy_text(self) -> str:
        from netdsl.backends.numpy_emitter import emit_numpy

        return emit_numpy(self.graph, self.recipe, LOSSES[self.recipe.loss])

    def numpy_source(self) -> str:
        """The text of the standalone NumPy module."""
        return self._numpy_text

    def torch_source(self) -> str:
        """The text of the PyTorch module."""
        from netdsl.backends.torch_emitter import emit_torch

        return emit_torch(self.graph, self.recipe)

    def numpy_model(self, seed: int | None = None, dtype: Any = "float32") -> Any:
        """The emitted NumPy module, run: an instance of its Model."""
        module = run_module(self.numpy_source(), f"{self.name}_numpy")
        return module.Model(seed=self.recipe.seed if seed is None else seed, dtype=dtype)

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()


def run_module(text: str, name: str) -> types.ModuleType:
    """An emitted text as a module. Only texts that passed the emitters' gate come here."""
    module = types.ModuleType(name)
    exec(compile(text, f"<{name}>", "exec"), vars(module))
    return module


def check_text(text: str, file: str = "net.net") -> tuple[Net | None, list[Diagnostic]]:
    """The network (None if the text has errors) and every diagnostic, in the order of the file."""
    source = Source(file, text)
    program, diagnostics = parse(source)
    complete = not diagnostics
    graph, recipe, more = lower(program, identifier(Path(file).stem), complete)
    known = {d.span.line for d in diagnostics}
    diagnostics += [d for d in more if d.span.line not in known or complete]
    diagnostics.sort(key=lambda d: d.span.start)
    if graph is None:
        return None, diagnostics
    return Net(source, graph, recipe, tuple(diagnostics)), diagnostics


def compile_text(text: str, name: str = "net") -> Net:
    """The network that `text` describes. Raises SpecError with every diagnostic."""
    net, diagnostics = check_text(text, f"{name}.net")
    if net is None:
        raise SpecError(_errors(diagnostics))
    return net


def check_file(path: str | os.PathLike[str]) -> tuple[Net | None, list[Diagnostic]]:
    """As check_text, for a file. Raises UserError where the file cannot be read."""
    data = _read(Path(path))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        good = data[: error.start].decode("utf-8")
        source = Source(str(path), good + "\ufffd")
        span = Span(source, len(good), len(good) + 1)
        return None, [
            Diagnostic(
                "N001", f"the file is not UTF-8 text: byte 0x{data[error.start]:02x} at offset {error.start}", span
            )
        ]
    return check_text(text, str(path))


def compile_file(path: str | os.PathLike[str]) -> Net:
    """The network in a `.net` file. Raises SpecError with every diagnostic, UserError where the file cannot be read."""
    net, diagnostics = check_file(path)
    if net is None:
        raise SpecError(_errors(diagnostics))
    return net


def _errors(diagnostics: Sequence[Diagnostic]) -> list[Diagnostic]:
    return [d for d in diagnostics if d.level == "error"]


def _read(path: Path) -> bytes:
    """The bytes of a regular file of at most MAX_SOURCE; never waits on a pipe or a device."""
    shown = plain(str(path))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UserError(f"`{shown}` is not a regular file")
            data = file.read(MAX_SOURCE + 1)
    except ValueError as error:  # a NUL in the name
        raise UserError(f"`{shown}` is not a file name") from error
    except IsADirectoryError as error:
        raise UserError(f"`{shown}` is a folder, not a `.net` file") from error
    except OSError as error:
        raise UserError(f"cannot read `{shown}`: {(error.strerror or str(error)).lower()}") from error
    if len(data) > MAX_SOURCE:
        raise UserError(f"`{shown}` is larger than {MAX_SOURCE:_} bytes, the limit for a spec")
    return data
