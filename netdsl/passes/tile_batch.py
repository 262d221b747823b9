"""How many samples a worker takes through the network at a time."""

from netdsl.graph.ir import Graph

_LARGEST = 32  # samples; measured: small products of 16 rows run at half the speed, above 32 little is gained
_MAP_BYTES = 1 << 26  # of the largest map


def block_size(graph: Graph) -> int:
    """The samples of a block: as many as keep the largest map of a block (float32) within 64 MiB, at most 32; stages
    cut their own work to what stays in the cache."""
    largest = max(graph.type_of(value).size for value in range(graph.num_values))
    return max(1, min(_LARGEST, _MAP_BYTES // (4 * largest)))
