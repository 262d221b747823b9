"""Chains of 1x1 and depthwise convolutions, whose rows are made as they are needed, a few at a time."""

import numpy as np
import pytest

from netdsl.pipeline import compile_text

CHAINS = (
    ("conv 6 -> bn -> relu6 -> conv 6 k3 p1 g6 -> bn -> relu6 -> conv 3 nobias -> bn", 2),
    ("conv 6 -> conv 6 k3x2 s2x1 p2 g6 -> relu -> conv 4", 2),
    ("conv 6 -> conv 6 k2 s3 g6 -> conv 3 -> conv 3 k3 d2 p4 g3 -> conv 2", 4),
    ("conv 6 k3 p1 -> conv 6 k5 s2 p2 g6 -> conv 6 -> conv 6 k3 p1 g6", 2),
    ("conv 8 -> add { id | conv 8 k3 p1 g8 -> conv 8 }", 1),
    ("conv 6 k3 p4 g6 -> conv 4 -> conv 4 k1 s2 g4 -> conv 2", 3),
    ("conv 6 -> conv 12 k3 p1 g6 -> conv 3", 0),
)


@pytest.mark.parametrize(("body", "lent"), CHAINS)
def test_a_chain_that_keeps_no_maps_is_right_in_bands_of_few_rows(body, lent):
    net = compile_text(f"input 6x17x11\n{body}\ntrain {{ loss mse }}")
    right, space = net.build(seed=1, dtype="float64"), {"__name__": "module"}
    text = net.numpy_source(2)
    assert text.count("is_lent=True") == lent
    exec(compile(text, "module", "exec", dont_inherit=True), space)
    space["DepthConv"].band_numbers = 60  # two rows of the output at a time
    for workers, samples in ((1, 3), (2, 1), (2, 5)):
        model = space["Model"](seed=1, dtype="float64", workers=workers)
        for mine, given in ((model.params, right.params), (model.buffers, right.buffers)):
            for name, array in given.items():
                mine[name][...] = array
        for seed in range(2):  # the second time rows are where the first left theirs
            x = np.random.default_rng(seed).standard_normal((samples, 6, 17, 11))
            np.testing.assert_allclose(model.forward(x), right.forward(x), atol=1e-13)
        model.close()
