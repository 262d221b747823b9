"""What goes through signals and volumes at -O2 computes what its layers compute at -O0."""

import numpy as np
import pytest
from alone import Alone, textbook
from fast_twins import assert_near, assert_twins

from netdsl.layers.contract import StageCall
from netdsl.passes.signals import stage_calls
from netdsl.pipeline import compile_text
from netdsl.stages.patch_conv import PatchConv
from netdsl.stages.signal_conv import SignalConv
from netdsl.stages.volume_conv import VolumeConv

SIGNALS = [
    "conv 9 k5 p2 -> relu -> pool 2",
    "conv 9 k3 p1 -> relu -> conv 9 k3 -> pool 2 -> conv 9 k2 same",
    "conv 9 k4 same -> conv 9 k9 p4 -> pool 3 s2 p1",
    "conv 6 k7 s2 p3 -> relu -> conv 5 k3 s3",
    "conv 9 k3 d2 p=4x0 -> relu -> conv 9 k3 d=4 p=8x0 -> relu -> conv 4 k1",
    "conv 8 k5 p2 g8 -> conv 16 k3 p1 g8 -> conv 8 k3 s2 g4",
    "conv 6 k1 s2 -> relu -> conv 6 k1 p1",
    "convt 6 k4 s2 p1 -> relu -> convt 5 k3 d2 op=1 s2",
    "up 6 -> relu -> up 4 k3 s3",
    "avgpool 2 -> avgpool 3 s1 p1",
    "avgpool 3 s2 p1 nopad -> avgpool 3 s2 ceil",
    "pool 2 s1 same -> pool 3 s2 same -> pool 2 d=2 s1",
    "cat { id | conv 4 k3 p1 | slice 2 7 } -> shuffle 1",
    "shuffle 4 -> pixelshuffle 2",
    "pad 1x2 -> pad 1",
    "crop 13 -> crop p=0x1 -> relu -> pool 2 s1 same",
    "upsample 2 -> upsample 3 linear -> adaptive 5",
    "upsample 2 linear align_corners -> lrn 3",
    "gmp",
    "relu -> mul { id | gmp -> linear 8 -> sigmoid } -> mul { id | conv 1 k1 }",
    "add { gap | gmp } -> linear 2",
    "gn 4 -> gn 2 noaffine eps=0.1 -> scale 0.3",
    "inorm affine -> ln -> rms -> prelu channelwise",
    "relu -> bn -> relu -> bn -> gelu -> relu6",
    "tokens -> ln -> linear 5",
    "softmax -> leaky -> prelu",
]
VOLUMES = [
    "conv 6 k3 p1 -> relu -> pool 2",
    "conv 6 k2x3x1 s1x2x1 p=1x0x0x0x1x1 -> relu -> conv 4 k3 same",
    "conv 6 k3 d2 p2 -> relu -> conv 5 k1",
    "conv 8 k3 p1 g8 -> conv 8 k3 s2 g4",
    "conv 6 k1 s2 -> relu -> conv 6 k1 p1",
    "conv 4 k1 -> relu -> conv 4 k1 -> pool 2x1x2",
    "convt 6 k4x3x2 s2 p1 -> relu -> convt 3 k3 d2",
    "up 6 -> relu -> pool 2",
    "avgpool 2 -> avgpool 2x3x2 s1 p1",
    "avgpool 3 s2 p1 nopad -> avgpool 3x2x2 s2 ceil",
    "pool 2 s1 same -> pool 3x2x3 s2 same",
    "pool 3 s2 p1 -> relu",
    "cat { id | conv 4 k3 p1 | slice 2 7 } -> shuffle 1",
    "shuffle 4 -> pixelshuffle 2",
    "pad 1x2x0 -> pad 1",
    "crop 3x5x4 -> crop p=0x1x0x1x0x0 -> relu -> pool 2 s1 same",
    "upsample 2x1x3 -> upsample 1x2x1 trilinear -> adaptive 3x5x2",
    "upsample 2 trilinear align_corners -> lrn 3 -> adaptive 2",
    "gmp",
    "relu -> mul { id | gmp -> linear 8 -> sigmoid } -> mul { id | conv 1 k1 }",
    "mul { id | adaptive 5x1x1 } -> mul { id | adaptive 1 }",
    "add { gap | gmp } -> linear 2",
    "gn 4 -> gn 2 noaffine eps=0.1 -> scale 0.3",
    "inorm affine -> ln -> rms -> prelu channelwise",
    "relu -> bn -> relu -> bn -> gelu -> relu6",
    "tokens -> ln -> linear 5",
    "softmax -> leaky -> prelu",
]


def assert_all(shape, branches, **options):
    """Each of the branches, behind a convolution that needs their gradients."""
    inside = "\n| ".join(f"{{ {branch} -> flatten }}" for branch in branches)
    assert_twins(f"input {shape}\nconv 8 k1\ncat {{\n{inside}\n}}\nlinear 3", **options)


@pytest.mark.parametrize("workers, block", [(1, 16), (2, 2)])
@pytest.mark.parametrize("shape, branches", [("3x23 map", SIGNALS), ("2x5x7x6", VOLUMES)], ids=["signals", "volumes"])
def test_stages_agree_along_any_axes_of_space(shape, branches, workers, block):
    assert_all(shape, branches, workers=workers, block=block)


WAYS = [
    "k3 p1",
    "k5 p2",
    "k7",
    "k9 p4",
    "k2 p=3x0",
    "k3 d2 p=4x0",
    "k5 d=7 p=28x0",
    "k5 s2 p2",
    "k3 s4",
    "k3 d=40 p=80x0",
]


@pytest.mark.parametrize("line", WAYS)
def test_every_way_to_compute_a_convolution_of_a_signal_agrees(line):
    net = compile_text(f"input 8x29 map\nconv 6 {line}\ntrain {{ loss mse }}")
    calls = stage_calls(net.graph.nodes[0], (net.graph.input_type,))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((7, *net.graph.input_shape))
    dy = rng.standard_normal((7, *net.graph.output_shape))
    right = textbook(net, x, dy, "float64")
    names = [call.kernel.__name__ for call in calls]
    assert names[-1] == "PatchConv" and "SignalConv" in names
    for call in calls:
        model = Alone(net, call, "float64", in_order=np.asarray)
        for what, array in model.both_passes(x, dy).items():
            assert_near(array, right[what], 1e-10, f"{call.text}: {what}")
        model.close()


@pytest.mark.parametrize("line", ["k3 p1", "k3x1x5 p=1x0x2x1x0x2", "k2x3x2 p=1x0x0x0x1x1", "k4 p=0x1x3x3x2x0"])
def test_a_convolution_of_a_volume_by_rows_agrees_with_patches(line):
    net = compile_text(f"input 3x5x9x6\nconv 4 {line}\ntrain {{ loss mse }}")
    (call,) = stage_calls(net.graph.nodes[0], (net.graph.input_type,))
    assert call.kernel is VolumeConv
    patches = StageCall(PatchConv, call.arguments)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((7, *net.graph.input_shape))
    dy = rng.standard_normal((7, *net.graph.output_shape))
    right = textbook(net, x, dy, "float64")
    for way in (call, patches):
        model = Alone(net, way, "float64", in_order=np.asarray)
        for what, array in model.both_passes(x, dy).items():
            assert_near(array, right[what], 1e-10, f"{way.text}: {what}")
        model.close()


def test_of_wide_padding_a_volume_goes_by_patches():
    net = compile_text("input 3x5x9x6\nconv 4 k3 p3\ntrain { loss mse }")
    (call,) = stage_calls(net.graph.nodes[0], (net.graph.input_type,))
    assert call.kernel is PatchConv


def test_a_dilated_signal_costs_no_more_products_than_an_undilated_one():
    made = {}
    for dilation, padding in ((1, 4), (8, 32)):
        net = compile_text(f"input 32x256 map\nconv 32 k5 d={dilation} p={padding}x0\ntrain {{ loss mse }}")
        calls = stage_calls(net.graph.nodes[0], (net.graph.input_type,))
        made[dilation] = min(calls, key=lambda call: call.cost(32, True))
        assert made[dilation].kernel is SignalConv
    assert made[8].cost(32, True) <= 1.2 * made[1].cost(32, True)  # of 32 rows each, tiles of 6 leave more over


def test_at_level_1_a_signal_is_not_mixed():
    source = compile_text("input 8x64 map\nconv 8 k3 p1\ntrain { loss mse }").numpy_source
    assert "SignalConv(" in source(2) and "SignalConv(" not in source(1)


@pytest.mark.parametrize("line", ["k2", "k3 p1", "k5 p2", "k7 p3", "k9 p4", "k5 s2 p2"])
def test_in_float32_winograd_along_a_signal_loses_a_digit_at_most(line):
    net = compile_text(f"input 16x61 map\nconv 16 {line}\ntrain {{ loss mse }}")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, *net.graph.input_shape))
    dy = rng.standard_normal((8, *net.graph.output_shape))
    right = textbook(net, x, dy, "float64")
    for call in stage_calls(net.graph.nodes[0], (net.graph.input_type,)):
        model = Alone(net, call, "float32", in_order=np.asarray)
        for what, array in model.both_passes(x.astype("f"), dy.astype("f")).items():
            assert_near(array, right[what], 1e-5, f"{call.text}: {what}")  # float32 itself: 1e-6
        model.close()
