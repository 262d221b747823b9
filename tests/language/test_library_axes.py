"""The blocks of `use std` speak of no axis, so that they serve signals, images and volumes alike."""

import numpy as np
import pytest

from netdsl.pipeline import compile_text

SPACES = {"8x12 map": (12,), "8x12x6": (12, 6), "8x4x12x6": (4, 12, 6)}
MAKE = {
    "basic(8)": (8, 1),
    "basic(6, s=2)": (6, 2),
    "neck(4, s=2)": (16, 2),
    "fire(2, 4)": (8, 1),
    "se(2)": (8, 1),
    "mbconv(8)": (8, 1),
    "mbconv(6, s=2, t=2)": (6, 2),
    "dense(4)": (12, 1),
    "convnext()": (8, 1),
}


@pytest.mark.parametrize("sizes", SPACES)
@pytest.mark.parametrize("call", MAKE)
def test_a_block_of_maps_is_one_for_any_axes_of_space(sizes, call):
    net = compile_text(f"use std\ninput {sizes}\n{call}\ntrain {{ loss mse }}")
    channels, stride = MAKE[call]
    shape = (channels, *(-(-size // stride) for size in SPACES[sizes]))
    assert net.graph.output_shape == shape
    x = np.random.default_rng(0).standard_normal((2, *net.graph.input_shape))
    network = net.build(0, "float64")
    y = network.forward(x, training=True)
    assert y.shape == (2, *shape) and np.isfinite(y).all()
    assert network.backward(y)[0].shape == x.shape


def test_an_encoder_reads_the_tokens_of_any_map():
    for sizes in SPACES:
        net = compile_text(f"use std\ninput {sizes}\ntokens -> encoder(2) -> map @in -> flatten -> linear 2")
        assert net.graph.nodes[-3].type == net.graph.input_type
