"""What emitters of straight lines share: the text of arguments, and the sums of gradients."""

from netdsl.pipeline import compile_text
from netdsl.targets.text.arguments import argument_texts
from netdsl.targets.text.gradients import Gradients

WORDS = {"param": "p", "buffer": "b", "training": "training=t", "rng": "rng=r"}


def written_back(text, add="{0} = {0} + {1}", wanted=None):
    """The lines that send gradients back through a network, with the names of its layers for what they do."""
    graph = compile_text(text).graph
    gradients = Gradients(graph.output, "dy", add)
    lines = []
    for index, node in reversed(list(enumerate(graph.nodes))):
        dy = gradients.take(graph.value(index))
        values = node.inputs if wanted is None else wanted
        targets, sums = gradients.send(node.inputs, values)
        lines += [f"{', '.join(targets)} = {node.name}({dy})", *sums]
    return lines


def test_a_chain_needs_one_variable():
    assert written_back("input 4\nlinear 3 -> relu -> linear 2") == [
        "dy = linear2(dy)",
        "dy = relu1(dy)",
        "dy = linear1(dy)",
    ]


def test_what_two_layers_read_gets_the_sum_of_what_they_send_back():
    text = "input 4\nadd { linear 4 | id }"
    assert written_back(text) == ["dy, dz = add1(dy)", "dy = linear1(dy)", "dz = dz + dy"]
    assert written_back(text, "{0} += {1}")[-1] == "dz += dy"


def test_a_gradient_that_nobody_wants_goes_nowhere():
    assert written_back("input 4\nlinear 3", wanted=())[-1] == "_ = linear1(dy)"


def test_arguments_are_params_buffers_and_what_differs_from_the_kernels_default():
    nodes = compile_text("input 2x6x6\nconv 3 k3 s2 nobias -> bn -> dropout 0.5").graph.nodes
    conv, norm, dropout = (argument_texts(node, WORDS) for node in nodes)
    assert conv[:2] == ['p["conv1.weight"]', "None"] and any(text.startswith("stride=") for text in conv)
    assert not any(text.startswith(("dilation=", "groups=")) for text in conv)
    assert 'b["bn1.running_mean"]' in norm and "training=t" in norm
    assert dropout[-2:] == ["training=t", "rng=r"]
