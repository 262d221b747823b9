"""What moves, mixes and scales maps, tokens and vectors at -O2 computes what its layers compute at -O0."""

import pytest
from fast_twins import assert_twins

MAPS = [
    "cat { id | conv 4 k3 p1 | slice 2 7 } -> shuffle 1",
    "shuffle 4 -> pixelshuffle 2",
    "pad 1x2 -> pad 0x1 -> pad 2x0x0x1",
    "crop 3 -> crop p=0x1x1x0",
    "relu -> crop 4x6 -> conv 3 k3 -> relu -> crop p=1x0x0x1 -> pool 2 s1 same",
    "crop p1 -> crop p0 -> bn -> tanh -> crop 2 -> flatten -> linear 3",
    "add { crop 3 | crop 3x3 -> relu | conv 8 k3 -> crop p=1x0x1x1 } -> gelu -> crop 1x2",
    "upsample 2x3",
    "upsample 2x3 bilinear -> upsample 1x2 nearest",
    "upsample 2x3 bilinear align_corners -> upsample 1x2 bilinear align_corners",
    "adaptive 1x3 -> upsample 3x2 bilinear align_corners",
    "gmp",
    "relu -> mul { id | gmp -> linear 8 -> sigmoid }",
    "conv 4 k3 -> add { gmp | gap } -> linear 2",
    "adaptive 3x5 -> adaptive 4 -> adaptive 1",
    "mul { id | gap -> linear 8 -> sigmoid } -> mul { id | conv 1 k1 }",
    "mul { id | adaptive 1 } -> mul { id | id | tanh }",
    "mul { gap | id } -> scale 0.3 -> slice 0 8 -> slice 3 5",
    "gn 4 -> gn 2 noaffine eps=0.1 -> gn 1",
    "inorm affine -> conv 3 k1 -> inorm -> relu",
    "ln -> rms -> ln noaffine eps=0.01",
    "relu -> bn -> relu -> bn -> bn eps=0.1",
    "avgpool 2 -> avgpool 3 s1 p1",
    "avgpool 3 s2 p1 nopad",
    "avgpool 3 s2 ceil",
    "avgpool 2x3 s3x2 p1 ceil nopad",
    "avgpool 2 s1 same -> avgpool 3x2 s2 same nopad",
    "avgpool 3 s2 p=2x0x0x1 -> avgpool 2 s1 p=0x1x1x0 nopad",
    "pool 2 s1 same -> pool 3x2 s2 same",
    "pool 3 s2 p=2x0x0x1 -> pool 2 p=1x0x0x1",
    "conv 4 k2x3 p=1x0x0x2 -> relu -> pool 2 s1 p=0x1x1x0",
    "conv 4 k3 s2 same -> bn -> relu -> conv 3 k2 same",
    "id -> relu -> id -> tanh -> id",
    "prelu -> prelu channelwise",
    "tokens -> ln -> scale -> cat { id | slice 1 3 } -> prelu -> rms -> mul { id | tanh }",
    "flatten -> linear 6 -> ln -> gn 2 -> scale -> mul { id | tanh } -> slice 1 5",
    "flatten -> cat { id | linear 3 } -> prelu channelwise",
]
ACTIVATIONS = ["relu6", "leaky", "leaky 1.5", "leaky -0.5", "leaky 0", "gelu", "silu", "sigmoid", "tanh", "hardswish"]
ACTIVATIONS += ["hardsigmoid", "mish", "softplus", "selu", "elu", "elu 0.7"]


def assert_all(branches, **options):
    """Each of the branches, behind a convolution that needs their gradients."""
    inside = "\n| ".join(f"{{ {branch} -> flatten }}" for branch in branches)
    assert_twins(f"input 3x7x6\nconv 8 k1\ncat {{\n{inside}\n}}\nlinear 3", **options)


@pytest.mark.parametrize("workers, block", [(1, 16), (2, 2)])
def test_stages_of_all_shapes_agree(workers, block):
    assert_all(MAPS, workers=workers, block=block)


@pytest.mark.parametrize("workers, block", [(1, 16), (2, 2)])
def test_activations_agree_on_maps_tokens_and_vectors(workers, block):
    behind = [f"conv 5 k1 -> {name}" for name in ACTIVATIONS] + [
        f"conv 5 k3 -> {name} -> conv 4 k1" for name in ACTIVATIONS
    ]
    rest = [f"tokens -> linear 4 -> {name}" for name in ACTIVATIONS] + [
        f"gap -> linear 4 -> {name}" for name in ACTIVATIONS
    ]
    shared = [f"conv 4 k3 -> mul {{ {name} | id }}" for name in ACTIVATIONS]
    assert_all([*behind, *rest, *shared], workers=workers, block=block)
