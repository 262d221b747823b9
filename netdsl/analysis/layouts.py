"""In which layout PyTorch's gradients arrive: transposed, where a map was seen as tokens."""

from netdsl.graph.ir import Graph
from netdsl.layers import layer_of


def meets_transposed(graph: Graph) -> bool:
    """Whether some layer that needs its gradient straight may get it transposed: between it and a layer that moves the
    channels of a map to the end no layer with products lays a new one."""
    transposed: set[int] = set()  # values whose gradient may be
    for index, node in reversed(list(enumerate(graph.nodes))):
        layer, inputs = layer_of(node.op), graph.input_types(node)
        value = graph.value(index)
        if value in transposed and layer.torch_straight and node.type.is_map:
            return True
        if (inputs[0].is_map and layer.torch_transposes) or (value in transposed and node.macs == 0):
            transposed.update(node.inputs)
    return False
