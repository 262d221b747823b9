"""How emitted text says what a network takes and gives: x and y, or its inputs and outputs by their names."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Mapping, Sequence

from netdsl.graph.ir import Graph, Input, Shape
from netdsl.ground.symbols import value_text, word_text
from netdsl.targets.text.emission import batch_shape, constants_text

_TAKEN = ("self", "training", "np", "cp", "nn", "torch", "F", "math", "OrderedDict")


def argument_names(graph: Graph) -> list[str]:
    """What the methods of an emitted network call their inputs: `x`, or their names."""
    names = [word_text(given.name or "x") for given in graph.inputs]
    return [f"{name}_" if name in _TAKEN or keyword.iskeyword(name) else name for name in names]


def takes_text(graph: Graph) -> str:
    """`x (N, 1, 28, 28)`, or `left (N, 2, 6, 6), right (N, 2, 6, 6)`."""
    return _listed((given.name or "x", given.type.sizes) for given in graph.inputs)


def gives_text(graph: Graph) -> str:
    """`y (N, 10)`, or `a dict of digit (N, 10), box (N, 4)`."""
    listed = _listed((output.name or "y", graph.shape_of(output.value)) for output in graph.outputs)
    return f"a dict of {listed}" if graph.gives_names else listed


def _listed(named: Iterable[tuple[str, Shape]]) -> str:
    return ", ".join(f"{name} {batch_shape(shape)}" for name, shape in named)


def shapes_text(graph: Graph) -> str:
    """`(N, 1, 28, 28) -> (N, 10)`; with names where there are some."""
    takes, gives = takes_text(graph), gives_text(graph).removeprefix("a dict of ")
    takes = takes if graph.takes_names else takes.removeprefix("x ")
    return f"{takes} -> {gives if graph.gives_names else gives.removeprefix('y ')}"


def input_shapes(graph: Graph) -> str:
    """`{"left": (2, 6, 6), "right": (2, 6, 6)}`."""
    return _dictionary({given.name or "x": value_text(given.type.sizes) for given in graph.inputs})


def output_shapes(graph: Graph) -> str:
    """`{"digit": (10,), "box": (4,)}`; `{}` where the only output has no name."""
    return _dictionary({o.name: value_text(graph.shape_of(o.value)) for o in graph.outputs if o.name})


def outputs_text(graph: Graph, variables: Mapping[int, str]) -> str:
    """`{"digit": x, "box": y}`: what a network gives whose outputs have names. variables: value -> its variable."""
    return _dictionary({output.name: variables[output.value] for output in graph.outputs})


def _dictionary(items: Mapping[str, str]) -> str:
    return f"{{{', '.join(f'{value_text(name)}: {text}' for name, text in items.items())}}}"


def together(texts: Sequence[str]) -> str:
    """A tuple of variables that something is assigned to: `(x,)`, `x, y`."""
    return f"({texts[0]},)" if len(texts) == 1 else ", ".join(texts)


def tuple_text(texts: Sequence[str]) -> str:
    """A tuple of expressions: `(x,)`, `(x, y)`."""
    return together(texts) if len(texts) == 1 else f"({together(texts)})"


def axis_text(given: Input) -> str:
    """What tells the kernels of the normalisation where the channels are, if several numbers are not along axis 1."""
    is_one = len(given.mean) == len(given.std) == 1
    return "" if is_one or given.type.channel_axis == 1 else f", axis={given.type.channel_axis}"


def normalize_lines(graph: Graph, variables: Sequence[str]) -> list[str]:
    """The lines that normalise the inputs, which these variables hold."""
    inputs = zip(graph.inputs, variables, strict=True)
    return [
        f"{x} = normalize({x}, mean={constants_text(one.mean)}, std={constants_text(one.std)}{axis_text(one)})"
        for one, x in inputs
        if one.mean
    ]
