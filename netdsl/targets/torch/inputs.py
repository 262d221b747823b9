"""How an emitted PyTorch module normalises what it is given."""

from __future__ import annotations

from netdsl.graph.ir import Graph
from netdsl.graph.types import Tensor
from netdsl.ground.symbols import value_text
from netdsl.targets.text.ends import argument_names
from netdsl.targets.text.variables import names


def _buffer_names(graph: Graph, labels: set[str]) -> list[tuple[str, str]]:
    """What the buffers of each input's mean and std are called: as none of the labels is."""
    pairs = []
    for given in graph.inputs:
        names = [f"{given.name or 'input'}_mean", f"{given.name or 'input'}_std"]
        while labels & set(names):
            names = [f"{name}_" for name in names]
        pairs.append((names[0], names[1]))
    return pairs


def input_buffers(graph: Graph, labels: set[str]) -> list[str]:
    """The lines that make the buffers of mean and std; not persistent, so that state_dict holds what the other modules
    have, too. labels: the names of the network's own members."""
    lines = []
    for given, pair in zip(graph.inputs, _buffer_names(graph, labels), strict=True):
        for name, numbers in zip(pair, (given.mean, given.std), strict=True):
            lines += [_input_buffer(name, numbers, given.type)] if numbers else []
    return lines


def input_lines(graph: Graph, labels: set[str]) -> list[str]:
    """The first lines of forward: the inputs normalised, where the spec says how."""
    variables = [name for name, _ in zip(names(), graph.inputs, strict=False)]
    given = argument_names(graph)
    lines = [] if variables == given else [f"{', '.join(variables)} = {', '.join(given)}"]
    for x, one, (mean, std) in zip(variables, graph.inputs, _buffer_names(graph, labels), strict=True):
        if one.mean:
            lines.append(f"{x} = {x} / 255 if {x}.dtype == torch.uint8 else {x}  # bytes or floats")
            lines.append(f"{x} = ({x} - self.{mean}) / self.{std}")
    return lines


def _input_buffer(name: str, numbers: tuple[float, ...], given: Tensor) -> str:
    axes = f"[:{', None' * given.axes}]" if len(numbers) > 1 and given.is_map else ""
    text = f"[{', '.join(map(value_text, numbers))}]" if len(numbers) > 1 else ", ".join(map(value_text, numbers))
    return f'self.register_buffer("{name}", torch.tensor({text}){axes}, persistent=False)'
