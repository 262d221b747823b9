"""Stages are right where what they are given is a part of a larger map, whose rows lie apart."""

import numpy as np
import pytest
from fast_twins import batch, near, near_all, twins

from netdsl.pipeline import compile_text

LAYERS = (
    *("relu", "relu6", "gelu", "tanh", "silu", "sigmoid", "leaky 0.1", "elu", "mish", "hardswish", "softplus", "prelu"),
    *("bn", "bn -> relu", "bn -> relu6", "ln", "rms", "gn 2", "inorm affine", "scale 0.5", "lrn 3"),
    *(
        "conv 4 k1",
        "conv 4 k1 s2",
        "conv 4 k3 p1",
        "conv 4 k3 p1 s2",
        "conv 4 k3 p1 d2",
        "conv 4 k3 p1 g4",
        "conv 4 k3 p1 g2",
    ),
    *("conv 8 k1 -> conv 8 k3 p1", "convt 4 k2 s2 p1", "pool 2", "pool 3 s1 p1", "avgpool 2", "avgpool 3 s1 p1"),
    *("upsample 2", "pad 1", "crop 3x3", "cat { id | relu }", "add { id | gelu }", "mul { id | conv 4 -> sigmoid }"),
    *("shuffle 2", "slice 0 4", "tokens -> linear 4 -> gelu -> map 8x6", "mul { id | gap -> linear 4 -> sigmoid }"),
)


@pytest.mark.parametrize("layer", LAYERS)
def test_what_lies_apart_is_read_and_written_right(layer):
    net = compile_text(f"input 4x5x4\nconvt 4 k2 s2 p1x1\n{layer}\npad 1x2\nflatten -> linear 3\ntrain {{ loss mse }}")
    slow, fast = twins(net, workers=1)
    x, y = batch(net, 3)
    near(fast.forward(x), slow.forward(x), 1e-9, "inference")
    (loss, right), (fast_loss, gradients) = (model.loss_and_gradients(x, y) for model in (slow, fast))
    near(fast_loss, loss, 1e-9, "loss")
    largest = max(np.abs(gradient).max() for gradient in right.values())
    near_all(
        {name: g / largest for name, g in gradients.items()},
        {name: g / largest for name, g in right.items()},
        1e-9,
        "gradient",
    )
    fast.close()
