"""Graph to a module that computes with CuPy: the NumPy module's textbook, in CuPy's names."""

from __future__ import annotations

from netdsl.graph.ir import Graph
from netdsl.graph.recipe import Recipe
from netdsl.targets.cupy.dialect import DIALECT
from netdsl.targets.cupy.named_network import NamedNetwork
from netdsl.targets.cupy.network import Network
from netdsl.targets.cupy.token_network import TokenNetwork
from netdsl.targets.numpy.emitter import Textbook, emit_textbook
from netdsl.targets.text.numpy_demo import shares_text


def cupy_shares(graph: Graph, loss: str) -> str:
    """What `answer` makes probabilities with: outputs are NumPy's there, and the kernels take CuPy's arrays."""
    moved = "cp.asnumpy({}(cp.asarray({{}}){}))"
    return shares_text(graph, loss, moved.format("softmax", ", axis=1"), moved.format("sigmoid", ""), "np.hstack({})")


CUPY = Textbook(
    DIALECT,
    "CuPy",
    " --target cupy",
    "cupy and a GPU",
    Network,
    TokenNetwork,
    None,
    NamedNetwork,
    notes=(
        "",
        "`cp` is CuPy: params, and all that is computed with them, are its arrays and lie on the GPU. `np` is NumPy:",
        "sizes, files, and what is drawn, so that a seed gives the params and the dropout of the NumPy module.",
    ),
    shares=cupy_shares,
)


def emit_cupy(graph: Graph, recipe: Recipe) -> str:
    """The text of `<name>_cupy.py`."""
    return emit_textbook(graph, recipe, CUPY)
