"""Receptive fields against the gradient: what a unit depends on, pixel by pixel."""

import numpy as np
import pytest

from netdsl.analysis.receptive_field import receptive_field
from netdsl.layers import layer_table
from netdsl.layers.contract import REQUIRED
from netdsl.pipeline import check_text, compile_text
from netdsl.training.pictures.inspection import forward_to
from netdsl.training.pictures.sensitivity import gradient_by_input

NETS = {
    "conv": "input 2x13x11\nconv 3 k3 s2 p1",
    "dilated": "input 2x17x17\nconv 3 k3 d3 p2",
    "pools": "input 2x16x16\npool 3 s2 p1\navgpool 2 s2\nconv 3 k3x1 p1x0",
    "ceil": "input 2x15x15\npool 3 s2 ceil\nconv 3 k3 p1",
    "sides": "input 2x9x12\nconv 3 k2x3 p=1x2x0x0\npad 0x1x1x0\npool 2x3 s1x2 p=0x0x1x1\nconv 2 k2",
    "same": "input 2x9x12\nconv 3 k3 s2 same\npool 2 s1 same\navgpool 3 s2 same\nconv 2 k2",
    "dropped edge": "input 2x5x5\nconv 3 k2 s2\nconv 3 k3 p1",
    "gaps": "input 2x17x17\nconv 3 k2 s3 d4 p3\nconv 2 k2 d2 p1",
    "up": "input 2x9x9\nconv 3 k3\npool 2\nup 4\nconv 3 k3 p1",
    "transposed": "input 2x8x8\nconvt 3 k4 s2 p1\nconv 2 k3",
    "nearest": "input 2x6x7\nupsample 3\nconv 2 k3",
    "bilinear": "input 2x6x7\nupsample 2 bilinear\nconv 2 k3",
    "cropped": "input 2x9x10\nconv 3 k3 -> crop 4x5 -> conv 2 k2 -> crop p=1x0x0x2",
    "corners": "input 2x6x7\nupsample 3x2 bilinear align_corners\nconv 2 k2",
    "maximum": "input 3x5x5\nmul { id | gmp -> linear 3 -> sigmoid }",
    "shuffled": "input 4x6x6\npixelshuffle 2\npad 1\nconv 2 k3",
    "adaptive": "input 2x11x7\nadaptive 4x3\nconv 2 k2",
    "pointwise": "input 4x9x9\nconv 4 k3 -> bn -> gelu -> ln -> lrn 3 -> shuffle g2 -> slice 0 2 -> tanh",
    "branches": "input 3x12x12\nadd { conv 3 k5 p2 | conv 3 k3 p1 s1 -> conv 3 k3 p1 | id }\nconv 2 k3 s2",
    "joined": "input 3x12x12\ncat { conv 3 k1 | pool 5 s1 p2 }\nconv 2 k3",
    "global": "input 3x9x9\nmul { id | gap -> linear 3 -> sigmoid }\nconv 2 k3",
    "group norm": "input 4x9x9\ngn 2\nconv 2 k3",
    "signal": "input 2x40 map\nconv 3 k5 s2 p2\nconv 3 k3 d4 p=3x0\npool 2\nconv 2 k3 same",
    "causal signal": "input 2x30 map\nconv 3 k3 p=2x0\nconv 3 k3 d2 p=4x0\nconv 3 k3 d4 p=8x0",
    "volume": "input 2x7x8x9\nconv 3 k3 p1\npool 2\nconv 2 k2x1x2",
}


def dependence(net, index, unit):
    """(H, W), or any other axes of space: whether the unit depends on the place, from gradients at random weights and
    inputs."""
    network = net.build(seed=1, dtype="float64")
    x = np.random.default_rng(0).normal(size=(30, *net.graph.input_shape))
    forward_to(network, index, x)
    dy = np.zeros_like(network.layers[index].output)
    dy[:, :, *unit] = np.random.default_rng(1).normal(size=dy.shape[:2])
    return np.abs(gradient_by_input(network, index, dy)).max(axis=(0, 1)) > 1e-12


def hull(mask):
    """The first and the last place along each axis."""
    return tuple((int(places.min()), int(places.max())) for places in np.nonzero(mask))


@pytest.mark.parametrize("text", NETS.values(), ids=NETS)
def test_a_unit_depends_on_its_receptive_field_and_on_nothing_else(text):
    net = compile_text(text)
    index = len(net.graph.nodes) - 1
    space = net.graph.nodes[index].type.space
    for unit in {tuple(part * (size - 1) // 2 for size in space) for part in (0, 1, 2)}:
        field = receptive_field(net.graph, index, unit)
        assert field.spans == hull(dependence(net, index, unit)), unit


def test_the_size_follows_the_recurrence_of_stacked_windows():
    """r grows by (k - 1) * jump, the jump by the stride (Araujo et al. 2019, equation 2), whatever the input's size."""
    windows = [(7, 2, 3), (3, 2, 1), (3, 1, 1), (3, 1, 1), (3, 2, 1), (5, 1, 2)]
    net = compile_text("input 3x40x40\n" + "\n".join(f"conv 2 k{k} s{s} p{p}" for k, s, p in windows))
    size, jump = 1, 1
    for index, (k, s, _) in enumerate(windows):
        size, jump = size + (k - 1) * jump, jump * s
        assert receptive_field(net.graph, index).size == (size, size)


def test_a_map_of_other_axes_reads_all_of_the_one_before():
    graph = compile_text("input 1x4x8\nconv 2 k3\nreshape 4x6 map\nconv 2 k3").graph
    field = receptive_field(graph, 2)
    assert (field.unit, field.spans, field.size) == ((2,), ((0, 3), (0, 7)), (4, 8))


def test_a_field_tells_its_size_in_words():
    signal, volume = (compile_text(f"input {given}\nconv 2 k3\nconv 2 k5") for given in ("9x1280 map", "1x9x9x9"))
    assert receptive_field(signal.graph, 1).show() == "7 of 1,280 steps"
    assert receptive_field(volume.graph, 1).show() == "\N{MULTIPLICATION SIGN}".join("777")


def test_a_unit_that_reads_only_padding_has_no_field():
    assert receptive_field(compile_text("input 1x4x4\nconv 2 k1 p2").graph, 0, (0, 0)) is None


def alone(layer):
    """A network of the layer alone, where it makes an image of an image without being told more; else None."""
    if layer.num_inputs != 1 or any(attr.default is REQUIRED for attr in layer.attrs):
        return None
    net, _ = check_text(f"input 4x5x6\n{layer.name}\n")
    return net if net is not None and net.graph.output_type.is_image else None


@pytest.mark.parametrize("name", [layer.name for layer in layer_table().values() if alone(layer)])
def test_a_layer_reads_what_it_says(name):
    net = compile_text(f"input 4x5x6\n{name}\n")
    for unit in ((0, 0), (2, 3), (4, 5)):
        field = receptive_field(net.graph, 0, unit)
        assert field.spans == hull(dependence(net, 0, unit)), unit
