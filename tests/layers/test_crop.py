"""`crop`: where the middle is, the size of a label, and what it takes away is what `pad` adds."""

import numpy as np
import pytest

from netdsl.ground.diagnostics import SpecError
from netdsl.pipeline import check_text, compile_text


def node_of(text, index=-1):
    return compile_text(f"{text}\ntrain {{ loss mse }}").graph.nodes[index]


@pytest.mark.parametrize("spare, before", [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 2), (6, 3), (7, 4)])
def test_the_middle_is_where_torchvision_finds_it(spare, before):
    """center_crop takes `int(round((height - wanted) / 2.0))` rows off the top."""
    node = node_of(f"input 1x{4 + spare}x9\ncrop 4x9")
    assert node.attrs["sides"] == ((before, spare - before), (0, 0))


def test_a_label_says_the_size_whatever_it_is_of():
    text = "input 2x13x12\nskip: conv 3 k4x3 -> conv 4 k3\npad 3 -> crop @skip -> cat { id | @skip }"
    assert node_of(text).shape == (7, 10, 10)
    assert node_of("input 2x13x12\nblock b() { conv 3 k3 -> pad 2 -> crop @in }\nb()").shape == (3, 13, 12)
    assert node_of("input 2x12x12\nskip: conv 3 k3\npool 2 -> adaptive @skip").shape == (3, 10, 10)


def test_cropping_by_sides_undoes_padding_by_sides():
    net = compile_text("input 2x5x4\npad 1x2x3x0 -> crop p=1x2x3x0\ntrain { loss mse }")
    x = np.random.default_rng(0).standard_normal((2, 2, 5, 4))
    network = net.build(dtype="float64")
    assert np.array_equal(network.forward(x), x)
    assert np.array_equal(network.backward(x)[0], x)


def test_a_crop_of_nothing_is_left_out_of_the_torch_module():
    source = compile_text("input 2x5x4\nconv 2 k3 -> crop 3x2 -> gap").torch_source()
    assert "[:, :" not in source


def test_a_label_that_is_read_for_its_size_alone_is_used():
    net, diagnostics = check_text("input 2x9x9\nskip: relu -> conv 3 k3 -> pad 2 -> crop @skip -> gap -> linear 2")
    assert net is not None and not diagnostics


@pytest.mark.parametrize(
    "line, message",
    [
        ("crop 4x9", "a crop to 4x9 is larger than the 8x8 map"),
        ("crop p=4x0x4x0", "to take 4x0 away leaves nothing of a 8x8 map"),
        ("crop @flat", "`@flat` is 6 (a vector), which has no axes of space"),
        ("crop 3 p1", "`crop` takes a size or sides, not both"),
        ("crop", "`crop` needs a size"),
        ("crop 1x0x1x0", "takes one or two sizes, not 4"),
        ("crop 3 4", "takes only 1 value"),
        ("crop @skpi", "no label `skpi` is known here"),
        ("pool @skip", "`pool` takes no label"),
        ("adaptive 2 @skip", "`adaptive` takes only one size"),
    ],
)
def test_what_cannot_be_cropped_is_said(line, message):
    with pytest.raises(SpecError) as error:
        compile_text(f"input 6x10x10\nflat: gap\nskip: @in -> conv 2 k3\n{line}\n")
    assert message in str(error.value)
