"""What the templates of all NumPy modules ask for: the kernels' text, and what a spec says once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from netdsl.analysis.loss import judges_tokens
from netdsl.analysis.starts import buffer_starts, param_starts
from netdsl.graph.ir import Graph
from netdsl.graph.recipe import Recipe
from netdsl.ground.names import class_name
from netdsl.ground.symbols import value_text
from netdsl.targets.dialect import Dialect
from netdsl.targets.text.answers import answer
from netdsl.targets.text.emission import layer_table
from netdsl.targets.text.ends import input_shapes, shapes_text
from netdsl.targets.text.kernel_source import imported_modules, kernel_texts
from netdsl.targets.text.named_answers import answer_by_name
from netdsl.targets.text.numpy_demo import Shares, demo_lines, numpy_shares
from netdsl.targets.text.recipe_lines import loss_lines
from netdsl.targets.text.starts import dictionary, start_kernels
from netdsl.targets.text.writing import window_lines


def module_values(
    graph: Graph,
    recipe: Recipe,
    dialect: Dialect,
    roots: Sequence[Callable[..., Any] | type],
    bases: Sequence[type],
    shares: Shares = numpy_shares,
) -> dict[str, object]:
    """Name -> value, for `emit`; the module's title is left out. roots: the kernels that the module calls, but those
    that params start with; bases: the network's classes, the one that it extends last; shares: how the module writes
    probabilities of the classes."""
    answers = answer if graph.is_plain else answer_by_name
    *texts, answering = kernel_texts([*roots, *start_kernels(graph, recipe.init), *bases, answers], dialect.text_of)
    kernels, network = texts[: -len(bases)], "\n\n\n".join(texts[-len(bases) :])
    return {
        **spec_values(graph, recipe, dialect, texts),
        "modules": imported_modules([*kernels, network]),
        "kernels": kernels,
        "network": network,
        "base": bases[-1].__name__,
        "loss": [*window_lines(graph, recipe.loss), *loss_lines(recipe, judges_tokens(graph, recipe.loss))],
        "answers": answering,
        "demo": demo_lines(graph, recipe.loss, shares),
    }


def spec_values(graph: Graph, recipe: Recipe, dialect: Dialect, texts: Sequence[str]) -> dict[str, object]:
    """What every template is given of a spec. texts: the definitions of the module."""
    return {
        "table": layer_table(graph),
        "is_plain": graph.is_plain,
        "arrays": _arrays(graph),
        "input_shape": value_text(graph.input_shape) if graph.is_plain else input_shapes(graph),
        "num_parameters": f"{graph.num_params:_}",
        "class_name": _class_name(graph, texts),
        "shapes": shapes_text(graph),
        "learning_rate": value_text(recipe.options["lr"]),
        "params": dictionary(param_starts(graph, recipe.init), dialect),
        "buffers": dictionary(buffer_starts(graph), dialect),
    }


def _arrays(graph: Graph) -> str:
    """`(N, C, L)` where all maps are signals; `(N, C, H, W)` of images, and where there are maps of several kinds."""
    types = [*(given.type for given in graph.inputs), *(node.type for node in graph.nodes)]
    axes = {one.axes for one in types if one.is_map}
    return {1: "(N, C, L)", 2: "(N, C, H, W)", 3: "(N, C, D, H, W)"}[axes.pop() if len(axes) == 1 else 2]


def _class_name(graph: Graph, texts: Sequence[str]) -> str:
    """The network's class is called after the spec; `LinearNet` where a kernel is a class of that name."""
    name = class_name(graph.name)
    return f"{name}Net" if any(text.startswith((f"class {name}:", f"class {name}(")) for text in texts) else name
