"""Padding by side and `same`: the order of the sides, TensorFlow's sizes, and how PyTorch's modules say them."""

import numpy as np
import pytest

from netdsl.analysis.layer_text import layer_text
from netdsl.kernels.windows import window_count
from netdsl.layers.rules.windows import _sees_only_padding
from netdsl.pipeline import compile_text


def node_of(text):
    return compile_text(f"{text}\ntrain {{ loss mse }}").graph.nodes[0]


def torch_line(text):
    (line,) = (
        line for line in compile_text(f"{text}\ntrain {{ loss mse }}").torch_source().split("\n") if "1 = " in line
    )
    return line.split(" = ")[1]


def test_four_sizes_are_top_left_bottom_right():
    """As ONNX writes pads: what lies before each axis, then what lies behind; `1x2` is `1x2x1x2`."""
    assert node_of("input 1x9x9\nconv 2 p=1x2x3x4").attrs["padding"] == ((1, 3), (2, 4))
    assert node_of("input 1x9x9\nconv 2 p1x2").attrs["padding"] == ((1, 1), (2, 2))
    assert node_of("input 1x9x9\npad 1x2x3x4").shape == (1, 9 + 1 + 3, 9 + 2 + 4)


def test_a_causal_convolution_sees_no_later_time():
    net = compile_text("input 2x1x9\nconv 3 k1x2 p=0x2x0x0 d1x2\ntrain { loss mse }")
    network = net.build(dtype="float64")
    x = np.random.default_rng(0).standard_normal((1, 2, 1, 9))
    y, later = network.forward(x), x.copy()
    later[..., 5:] += 1
    assert y.shape == (1, 3, 1, 9)
    changed = (network.forward(later) != y).any(axis=(0, 1, 2))
    assert changed.tolist() == [False] * 5 + [True] * 4


@pytest.mark.parametrize("layer", ["conv 3 k{k}", "pool {k}", "avgpool {k}"])
def test_same_gives_the_input_size_divided_by_the_stride_rounded_up(layer):
    """TensorFlow's SAME: max((ceil(n / s) - 1) * s + k - n, 0) in all, the smaller half before."""
    for size in range(1, 9):
        for k in range(1, 6):
            for s in range(1, 5):
                node = node_of(f"input 1x{size}x8\n{layer.format(k=f'{k}x1')} s{s}x1 same")
                total = max((-(-size // s) - 1) * s + k - size, 0)
                assert node.shape[1] == -(-size // s), (size, k, s)
                assert node.attrs["padding"] == ((total // 2, total - total // 2), (0, 0)), (size, k, s)


def test_even_padding_is_the_module_s_own_and_the_rest_is_padded_in_front_of_it():
    expected = {
        "conv 8 k3 p1": "nn.Conv2d(3, 8, 3, padding=1)",
        "conv 8 k2 same": 'nn.Conv2d(3, 8, 2, padding="same")',
        "conv 8 k3 s2 same": "PaddedConv2d(3, 8, 3, stride=2, sides=(0, 1, 0, 1))",
        "conv 8 k1x2 p=0x1x0x0": "PaddedConv2d(3, 8, (1, 2), sides=(1, 0, 0, 0))",
        "pool 2 s1 same": "nn.Sequential(nn.ConstantPad2d((0, 1, 0, 1), -torch.inf), nn.MaxPool2d(2, stride=1))",
        "pool 3 s1 same": "nn.MaxPool2d(3, stride=1, padding=1)",
        "avgpool 2 s1 same": "nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.AvgPool2d(2, stride=1))",
        "avgpool 2 s1 same nopad": "UncountedAvgPool2d(2, stride=1, sides=(0, 1, 0, 1))",
        "pad 1": "nn.ZeroPad2d(1)",
        "pad 0x1x2x3": "nn.ZeroPad2d((1, 3, 0, 2))",
    }
    assert {layer: torch_line(f"input 3x8x8\n{layer}") for layer in expected} == expected


def test_a_helper_class_is_written_only_where_it_is_used():
    assert "class PaddedConv2d" in compile_text("input 3x8x8\nconv 2 p=0x1x0x0 -> gap").torch_source()
    assert "class PaddedConv2d" not in compile_text("input 3x8x8\nconv 2 p1 -> conv 2 k2 same -> gap").torch_source()


@pytest.mark.parametrize(
    "text, shown",
    [
        ("conv 8 k1x2 p=0x1x0x0", "conv 8 k=1x2 p=0x1x0x0"),
        ("conv 8 k3 p=1x2x1x2", "conv 8 k3 p=1x2"),
        ("conv 8 k3 s2 same", "conv 8 k3 s2 same"),
        ("pool 3 s2 p1 ceil", "pool 3 s2 p1 ceil"),
        ("pool 3 s2 ceil", "pool 3 s2 ceil"),
        ("pool 2 s1 same", "pool 2 s1 same"),
        ("pad 0x1x0x0", "pad 0x1x0x0"),
        ("crop p1", "crop p1"),
        ("crop p=0x1x0x0", "crop p=0x1x0x0"),
        ("crop 3x5", "crop 3x5"),
        ("crop 4", "crop 4"),
    ],
)
def test_the_text_of_a_layer_says_its_padding_as_a_spec_does(text, shown):
    assert layer_text(node_of(f"input 1x8x8\n{text}")) == shown


def test_windows_of_padding_alone_are_known_without_looking_at_all_of_them():
    for size, k, s, d in np.ndindex(5, 4, 4, 4):
        size, k, s, d = size + 1, k + 1, s + 1, d + 1
        for sides in np.ndindex(7, 7):
            count = window_count(size + sum(sides), k, s, d)
            starts = [s * j - sides[0] for j in range(count)]
            empty = any(not any(0 <= start + u * d < size for u in range(k)) for start in starts)
            if count > 0:
                assert _sees_only_padding(size, k, s, sides, d) == empty, (size, k, s, sides, d)


def test_an_average_of_a_volume_smaller_than_its_window_is_padded_in_front():
    """nn.AvgPool3d looks at the sizes without the padding, and refuses them."""
    expected = {
        "avgpool 2 s1 p1": "nn.Sequential(nn.ZeroPad3d((1, 1, 1, 1, 1, 1)), nn.AvgPool3d(2, stride=1))",
        "avgpool 2 s1 p1 nopad": "UncountedAvgPool3d(2, stride=1, sides=(1, 1, 1, 1, 1, 1))",
        "avgpool 3 s2 p1 ceil": (
            "nn.Sequential(nn.ZeroPad3d((1, 1, 1, 1, 1, 1)), UncountedAvgPool3d(3, stride=2, sides=(0, 1, 0, 0, 0, 0)))"
        ),
        "avgpool 2x1x2 s1 p1x0x1": "nn.AvgPool3d((2, 1, 2), stride=1, padding=(1, 0, 1))",
    }
    assert {layer: torch_line(f"input 2x5x1x4\n{layer}") for layer in expected} == expected
