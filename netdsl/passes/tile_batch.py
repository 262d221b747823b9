"""How many samples a worker takes through the network at a time."""

from netdsl.graph.ir import Graph
from netdsl.layers import layer_of

_LARGEST = 32  # samples; measured: small products of 16 rows run at half the speed, above 32 little is gained
_LARGEST_BY_STEP = 128  # where each step is a product of one row a sample, and calls of NumPy that take as long for few
_MAP_BYTES = 1 << 26  # of the largest map


def block_size(graph: Graph) -> int:
    """The samples of a block: as many as keep the largest map of a block (float32) within 64 MiB, at most 32, and
    128 where layers go step by step; stages cut their own work to what stays in the cache."""
    most = _LARGEST_BY_STEP if any(layer_of(node.op).by_step for node in graph.nodes) else _LARGEST
    largest = max(graph.type_of(value).size for value in range(graph.num_values))
    return max(1, min(most, _MAP_BYTES // (4 * largest)))
