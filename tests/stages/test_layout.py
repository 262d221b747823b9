"""How signals and volumes lie in a fast network, and what of them is an image."""

import numpy as np
import pytest

from netdsl.graph.types import map_of, tokens, vector
from netdsl.passes.signals import as_image, stage_calls
from netdsl.pipeline import compile_text
from netdsl.stages.convolution import ConvGeometry
from netdsl.stages.layout import from_textbook, inside, plane, to_textbook
from netdsl.stages.textbook import Textbook


@pytest.mark.parametrize("space", [(5,), (4, 5), (2, 4, 5)], ids=str)
def test_maps_come_back_from_how_they_lie(space):
    x = np.arange(3 * 2 * np.prod(space)).reshape(3, 2, *space)
    lies = from_textbook(x, is_map=True)
    assert lies.shape == (*plane(space), 3, 2)
    np.testing.assert_array_equal(to_textbook(lies, space), x)


def test_what_is_no_map_stays_as_it_is():
    for shape in ((3, 4), (3, 4, 5)):  # vectors, tokens
        x = np.zeros(shape)
        assert from_textbook(x) is x and to_textbook(x) is x and inside(shape[1:], 3) == shape


def test_a_signal_is_an_image_one_number_wide():
    assert as_image(map_of(9, 128)) == map_of(9, 128, 1)
    for other in (map_of(3, 4, 5), map_of(1, 3, 4, 5), tokens(9, 128), vector(7)):
        assert as_image(other) is other


def calls_of(line, shape="8x24 map"):
    graph = compile_text(f"input {shape}\n{line}\ntrain {{ loss mse }}").graph
    return stage_calls(graph.nodes[0], graph.input_types(graph.nodes[0]))


def test_settings_of_a_signal_say_nothing_of_the_width():
    given = {call.kernel.__name__: call.arguments for call in calls_of("conv 6 k5 s2 p=2x1 d=2")}
    assert given["PatchConv"] == (ConvGeometry((8, 24, 1), 6, (5, 1), (2, 1), ((2, 1), (0, 0)), (2, 1)),)
    (call,) = calls_of("convt 6 k3 s2 op=1")
    assert call.arguments == (ConvGeometry((8, 24, 1), 6, (3, 1), (2, 1)), (1, 0))
    (call,) = calls_of("up 6")
    assert call.arguments == (ConvGeometry((8, 24, 1), 6, (2, 1), (2, 1)), (0, 0))


def test_only_what_is_no_image_says_to_the_textbook_how_it_lies():
    texts = [
        compile_text(f"input {shape}\nsoftmax\ntrain {{ loss mse }}").numpy_source(2)
        for shape in ("3x4x5", "3x4 map", "3x2x4x5")
    ]
    ends = ["softmax_backward)", "softmax_backward, ((4,), (4,)))", "softmax_backward, ((2, 4, 5), (2, 4, 5)))"]
    for text, end in zip(texts, ends, strict=True):
        line, *_ = [line for line in text.splitlines() if f"= {Textbook.__name__}(" in line]
        assert line.endswith(end)


def test_the_module_says_how_its_maps_lie():
    signal = compile_text("input 2x9 map\nconv 3 k3\ntrain { loss mse }").numpy_source(2)
    volume = compile_text("input 2x3x4x5\nconv 3 k3\ntrain { loss mse }").numpy_source(2)
    image = compile_text("input 2x9x9\nconv 3 k3\ntrain { loss mse }").numpy_source(2)
    for said, text in (("A signal (C, L) is an image one number wide", signal), ("A volume (C, D, H, W) lies", volume)):
        assert said in text and said not in image
