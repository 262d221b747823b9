"""Settings along one, two and three axes of space, and rules that do not count them."""

import numpy as np
import pytest

from netdsl.graph.types import Tensor, from_sizes, map_of, tokens, vector
from netdsl.ground.diagnostics import SpecProblem
from netdsl.ground.source import Source
from netdsl.ground.symbols import spatial_text, symbol, written
from netdsl.language.attributes import bind
from netdsl.language.syntax.parser import parse
from netdsl.layers import layer_of, layer_table
from netdsl.layers.contract import REQUIRED, axes_of, require_map, require_tokens
from netdsl.layers.rules.transposed import transposed_params, transposed_shape
from netdsl.layers.rules.windows import given_sides, pooling_sides, sides_text, torch_sides
from netdsl.pipeline import check_text, compile_text

SIGNAL, IMAGE, VOLUME = map_of(6, 20), map_of(6, 20, 12), map_of(6, 20, 12, 8)


def bound(text, given):
    program, diagnostics = parse(Source("a.net", f"input 1\n{text}\n"))
    assert diagnostics == []
    layer = program.statements[1].elements[0].primary
    return bind(layer_of(layer.name), layer, {}, given, lambda ref: None)


@pytest.mark.parametrize("given", [SIGNAL, IMAGE, VOLUME], ids=Tensor.show)
def test_a_number_means_every_axis_and_a_size_has_one_for_each(given):
    axes = given.axes
    attrs = bound("conv 4 k3 p1", given).attrs
    assert (attrs["kernel_size"], attrs["padding"]) == ((3,) * axes, ((1, 1),) * axes)
    assert (attrs["stride"], attrs["dilation"]) == ((1,) * axes, (1,) * axes)
    sizes = tuple(range(2, 2 + axes))
    if axes > 1:
        assert bound(f"conv 4 k={'x'.join(map(str, sizes))}", given).attrs["kernel_size"] == sizes
    sides = tuple(range(2 * axes))
    padding = bound(f"conv 4 k3 p={'x'.join(map(str, sides))}", given).attrs["padding"]
    assert padding == tuple(zip(sides[:axes], sides[axes:], strict=True))


def test_a_setting_of_an_unknown_input_is_that_of_an_image():
    assert [axes_of(x) for x in (None, vector(5), tokens(4, 5), IMAGE, VOLUME)] == [2, 2, 2, 2, 3]


@pytest.mark.parametrize(
    ("given", "text", "message"),
    [
        (IMAGE, "conv 4 k3x3x3", "takes one or two sizes, not 3"),
        (IMAGE, "conv 4 k3 p1x1x1", "takes one, two or four sizes, not 3"),
        (SIGNAL, "conv 4 k3x3", "takes one size of a signal, not 2"),
        (SIGNAL, "conv 4 k3 p1x1x1", "takes one or two sizes of a signal, not 3"),
        (VOLUME, "conv 4 k3x3", "takes one or three sizes of a volume, not 2"),
        (VOLUME, "conv 4 k3 p1x1", "takes one, three or six sizes of a volume, not 2"),
    ],
)
def test_the_sizes_that_are_too_many_or_too_few_are_counted(given, text, message):
    (diagnostic,) = bound(text, given).diagnostics
    assert message in diagnostic.message


def test_no_default_of_a_setting_along_axes_counts_them():
    attrs = [attr for layer in layer_table().values() for attr in layer.attrs if attr.kind in ("spatial", "sides")]
    assert {attr.kind for attr in attrs} == {"spatial", "sides"}
    assert all(attr.default in (None, REQUIRED) or isinstance(attr.default, int | str) for attr in attrs)


@pytest.mark.parametrize("given", [SIGNAL, IMAGE, VOLUME], ids=Tensor.show)
def test_the_rules_of_windows_read_alike_for_every_number_of_axes(given):
    """`same` at stride 2 halves each axis, rounded up; a transposed convolution at stride 2 undoes that."""
    axes = given.axes
    attrs = {
        "kernel_size": (3,) * axes,
        "stride": (2,) * axes,
        "padding": ((0, 0),) * axes,
        "same": True,
        "ceil": False,
    }
    sides = given_sides(attrs, given)
    halves = tuple(-(-size // 2) for size in given.space)
    assert [(size + sum(side) - 3) // 2 + 1 for size, side in zip(given.space, sides, strict=True)] == list(halves)
    assert pooling_sides(attrs, given) == sides and len(torch_sides(sides)) == 2 * axes
    back = {"filters": 5, "groups": 1, "nobias": False, "kernel_size": (2,) * axes, "stride": (2,) * axes}
    back |= {"padding": (0,) * axes, "output_padding": (0,) * axes, "dilation": (1,) * axes}
    assert transposed_shape(back, given) == map_of(5, *(2 * size for size in given.space))
    assert transposed_params(back, given)[0].shape == (6, 5, *(2,) * axes)


def test_sides_and_sizes_are_written_as_a_person_would():
    assert [sides_text(s) for s in (((1, 1),) * 3, ((0, 1),), ((1, 1), (2, 2)))] == ["1", "0x1", "1x2"]
    assert (spatial_text((3,)), spatial_text((3, 3, 3)), spatial_text((1, 3, 3))) == (3, 3, (1, 3, 3))
    k = written(symbol((2, 3, 4), "k"))
    assert repr(spatial_text(k)) == "k"


@pytest.mark.parametrize(
    ("require", "given", "message"),
    [
        (require_map, vector(7), "`it` needs a map, but 7 arrives (a vector)"),
        (require_map, tokens(4, 5), "`it` needs a map, but 4x5 arrives (tokens)"),
        (require_tokens, IMAGE, "`it` needs tokens, but 6x20x12 arrives (a map)"),
        (require_tokens, vector(7), "`it` needs tokens, but 7 arrives (a vector)"),
    ],
)
def test_a_rule_says_what_it_needs_and_what_arrives(require, given, message):
    with pytest.raises(SpecProblem) as caught:
        require(given, "`it`")
    assert str(caught.value) == message
    for fits in (SIGNAL, IMAGE, VOLUME) if require is not require_tokens else (from_sizes((4, 5)),):
        require(fits, "`it`")


@pytest.mark.parametrize(
    ("given", "word"),
    [(SIGNAL, "linear"), (IMAGE, "bilinear"), (VOLUME, "trilinear")],
    ids=["signal", "image", "volume"],
)
def test_the_word_that_mixes_is_the_one_that_pytorch_has_for_the_axes(given, word):
    layer = layer_of("upsample")
    for other in ("linear", "bilinear", "trilinear"):
        attrs = bound(f"upsample 2 {other}", given).attrs
        if other == word:
            assert layer.shape(attrs, given).space == tuple(2 * size for size in given.space)
            continue
        with pytest.raises(SpecProblem, match=f"`{other}` is for maps like .*, but {given.show()} arrives") as caught:
            layer.shape(attrs, given)
        assert caught.value.help == (f"write `{word}`",)


def test_channels_of_a_signal_are_not_found_by_counting_axes():
    """(N, C, L) and (N, T, D) are arrays of three axes each: what stands where is the type's to say."""
    x = np.random.default_rng(0).standard_normal((2, 4, 6))
    signal, features = (compiled(f"input 4x6{word}\nslice 1 3") for word in (" map", ""))
    assert np.array_equal(signal.forward(x), x[:, 1:3]) and np.array_equal(features.forward(x), x[:, :, 1:3])
    for layer in ("ln", "rms", "softmax", "logsoftmax", "scale 2", "cat { id | relu }"):
        signal, features = (compiled(f"input {text}\n{layer}") for text in ("4x6 map", "6x4"))
        assert np.array_equal(signal.forward(x).swapaxes(1, 2), features.forward(x.swapaxes(1, 2))), layer


def test_every_layer_of_images_is_one_of_signals_and_volumes():
    def is_taken(layer, given):
        lines = (f"input {given}\n{layer}{values}\ntrain {{ loss mse }}" for values in ("", " 1", " 0 1", " 96"))
        return any(check_text(line)[0] is not None for line in lines)

    taken = {
        given: {name for name, layer in layer_table().items() if layer.num_inputs == 1 and is_taken(name, given)}
        for given in ("8x12 map", "8x4x3", "8x2x3x2")
    }
    assert taken["8x12 map"] == taken["8x4x3"] == taken["8x2x3x2"] and len(taken["8x4x3"]) > 40


def compiled(text):
    return compile_text(f"{text}\ntrain {{ loss mse }}").build(dtype="float64")
