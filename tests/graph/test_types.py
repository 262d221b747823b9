import pytest

from netdsl.graph.types import from_sizes, ids, map_of, show_sized, tokens, vector
from netdsl.ground.symbols import is_symbolic, plain_value, renamed, substitute, symbol, written


@pytest.mark.parametrize(
    ("tensor", "channels", "space", "axis", "text"),
    [
        (vector(10), 10, (), 1, "10"),
        (map_of(9, 128), 9, (128,), 1, "9x128"),
        (map_of(3, 32, 24), 3, (32, 24), 1, "3x32x24"),
        (map_of(1, 4, 5, 6), 1, (4, 5, 6), 1, "1x4x5x6"),
        (tokens(16, 64), 64, (), 2, "16x64"),
    ],
)
def test_a_tensor_says_what_its_sizes_mean(tensor, channels, space, axis, text):
    assert (tensor.channels, tensor.space, tensor.channel_axis) == (channels, space, axis)
    assert tensor.show() == text and tensor.axes == len(space) and tensor.is_map == bool(space)
    assert tensor.with_channels(7).channels == 7 and tensor.with_channels(7).space == space


@pytest.mark.parametrize(
    ("tensor", "letters", "picture"),
    [
        (vector(10), "c", False),
        (tokens(16, 64), "nc", False),
        (ids(16, 5), "n", False),
        (map_of(9, 128), "cw", False),
        (map_of(3, 32, 24), "chw", True),
        (map_of(2, 32, 24), "chw", False),
        (map_of(1, 4, 5, 6), "cdhw", False),
    ],
)
def test_a_tensor_has_a_letter_for_each_size_and_may_be_a_picture(tensor, letters, picture):
    assert (tensor.letters, tensor.is_picture) == (letters, picture)
    assert len(tensor.letters) == len(tensor.sizes)


def test_sizes_may_be_symbols_which_are_put_in_and_taken_out_together():
    c = symbol(8, "c")
    inside = map_of(4 * c, 6, 6)
    assert inside == map_of(32, 6, 6) and is_symbolic(inside) and not is_symbolic(plain_value(inside))
    assert repr(inside.channels) == "4 * c" and repr(substitute(inside, {"c": symbol(8, "d")}).channels) == "4 * d"
    assert written(inside) != map_of(32, 6, 6) and written(inside) == written(map_of(4 * c, 6, 6))
    assert repr(renamed((inside,), lambda name: f"self.{name}")[0].channels) == "4 * self.c"


def test_ids_are_whole_numbers_below_a_limit():
    words = ids(64, 65)
    assert (words.length, words.limit, words.dtype, words.layout) == (64, 65, "whole", "ids")
    with pytest.raises(AssertionError):
        _ = words.channels


def test_plain_sizes_mean_a_vector_tokens_or_a_map():
    assert [from_sizes(sizes).layout for sizes in ((10,), (16, 64), (3, 8, 8), (1, 4, 8, 8))] == [
        "vector",
        "tokens",
        "map",
        "map",
    ]


def test_two_sizes_are_a_map_where_that_is_said_and_it_stays_said():
    signal = from_sizes((9, 128), is_map=True)
    assert signal == map_of(9, 128) and signal.show_type() == "9x128 map"
    for sizes in ((10,), (16, 64), (3, 8, 8), (1, 4, 8, 8)):
        assert from_sizes(sizes).show_type() == from_sizes(sizes).show()
    assert from_sizes((3, 8, 8), is_map=True) == from_sizes((3, 8, 8))


def test_a_size_along_one_axis_stands_behind_what_has_it():
    assert [show_sized("kernel", sizes) for sizes in ((3,), (3, 5), (3, 5, 5))] == [
        "a kernel of 3",
        "a 3x5 kernel",
        "a 3x5x5 kernel",
    ]
    assert show_sized("input", (128,)) == "an input of 128"


def test_equal_sizes_of_another_layout_are_another_type():
    assert map_of(9, 128) != tokens(9, 128) and map_of(9, 128).tokens_of_map() == tokens(128, 9)


def test_a_layout_has_its_number_of_sizes():
    for make in (lambda: map_of(3), lambda: map_of(3, 1, 1, 1, 1), lambda: from_sizes(())):
        with pytest.raises(AssertionError):
            make()
