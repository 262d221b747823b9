"""Settings and sizes along one, two and three axes of space, as a spec writes them and as a message speaks of them."""

import pytest

from netdsl.graph.types import map_of, tokens, vector
from netdsl.ground.source import Source
from netdsl.language.attributes import bind
from netdsl.language.syntax.parser import parse
from netdsl.layers import layer_of
from netdsl.pipeline import check_text, fix_text

SIGNAL, IMAGE, VOLUME = map_of(6, 20), map_of(6, 20, 12), map_of(6, 20, 12, 8)


def bound(text, given, label=None):
    program, diagnostics = parse(Source("a.net", f"input 1\n{text}\n"))
    assert diagnostics == []
    layer = program.statements[1].elements[0].primary
    return bind(layer_of(layer.name), layer, {}, given, lambda ref: label)


@pytest.mark.parametrize(
    ("sizes", "conditions"),
    [
        ("9x128 map", ["in.c == 9", "in.w == 128", "in.space == 128"]),
        ("3x8x6", ["in.c == 3", "in.h == 8", "in.w == 6", "in.space == 8x6"]),
        ("1x16x8x6", ["in.c == 1", "in.d == 16", "in.h == 8", "in.w == 6", "in.space == 16x8x6"]),
        ("10x64", ["in.n == 10", "in.c == 64"]),
        ("7", ["in.c == 7"]),
    ],
)
def test_every_size_that_arrives_has_a_name(sizes, conditions):
    net, found = check_text(f"input {sizes}\nexpect {' and '.join(conditions)}\nrelu\n")
    assert net is not None and not found


def test_the_space_is_a_size_wherever_a_size_may_stand():
    net, found = check_text(
        "input 3x8x6\nlet all = in.space\nconv 4 k=in.space p=in.space -> pool all -> crop in.space\n"
    )
    assert net is not None and not found
    assert [node.shape for node in net.graph.nodes] == [(4, 17, 13), (4, 2, 2), (4, 2, 2)]
    assert net.graph.nodes[1].attrs["kernel_size"] == (8, 6)


def test_the_space_of_a_signal_is_a_number():
    net, found = check_text("input 4x12 map\nlet half = in.space//2\nconv half k=in.space p=in.space-1\nrelu\n")
    assert net is not None and not found and net.graph.output_shape == (6, 23)


@pytest.mark.parametrize(
    ("sizes", "asked", "message", "help_text"),
    [
        ("9x128 map", "in.h", "`in.h` is not known here: the input is 9x128 (a map)", "its length is `in.w`"),
        ("9x128 map", "in.l", "`in.l` is not known here: the input is 9x128 (a map)", "its length is `in.w`"),
        ("9x128", "in.w", "`in.w` is not known here: the input is 9x128 (tokens)", "known: `in.n`, `in.c`"),
        ("9x128", "in.space", "`in.space` is not known here: the input is 9x128 (tokens)", "known: `in.n`, `in.c`"),
        ("3x8x8", "in.d", "in.d` is not known here: the input is 3x8x8", "`in.c`, `in.h`, `in.w`, `in.space`"),
        ("1x4x8x8", "in.n", "`in.n` is not known here", "known: `in.c`, `in.d`, `in.h`, `in.w`, `in.space`"),
    ],
)
def test_a_size_that_is_not_there_gets_those_that_are(sizes, asked, message, help_text):
    _, found = check_text(f"input {sizes}\nflatten -> relu\nexpect 1 == 1\n".replace("flatten", f"dropout p={asked}"))
    assert message in found[0].message and help_text in found[0].help[0]
    assert found[0].span.text == asked


def test_the_length_of_a_signal_under_another_letter_is_mended():
    assert fix_text("input 9x128 map\nexpect in.h == 128\nrelu\n") == ("input 9x128 map\nexpect in.w == 128\nrelu\n", 1)


@pytest.mark.parametrize(
    ("given", "written", "sides"),
    [
        (SIGNAL, "p2", ((2, 2),)),
        (SIGNAL, "p2x0", ((2, 0),)),
        (IMAGE, "p=0x2x0x0", ((0, 0), (2, 0))),
        (VOLUME, "p1x2x3", ((1, 1), (2, 2), (3, 3))),
        (VOLUME, "p=1x2x3x4x5x6", ((1, 4), (2, 5), (3, 6))),
    ],
    ids=str,
)
def test_padding_of_each_side_stands_before_and_then_behind_the_axes(given, written, sides):
    for layer in ("conv 4 k3", "pad"):
        text = f"{layer} {written}" if layer != "pad" else f"pad {written.lstrip('p=')}"
        assert bound(text, given).attrs["padding"] == sides


@pytest.mark.parametrize(
    ("given", "text", "message", "help_text"),
    [
        (
            SIGNAL,
            "conv 4 k1x3",
            "`kernel_size` of `conv` takes one size of a signal, not 2",
            "write `k3`: a signal has",
        ),
        (SIGNAL, "conv 4 k=1x3", "takes one size of a signal, not 2", "write `k=3`: a signal has one axis of space"),
        (SIGNAL, "conv 4 k3x5", "takes one size of a signal, not 2", "write `3`"),
        (SIGNAL, "conv 4 p=0x2x0x0", "takes one or two sizes of a signal, not 4", "write `p=2x0`: a signal has"),
        (SIGNAL, "conv 4 p=1x2x3", "takes one or two sizes of a signal, not 3", "write `1` or `2x0` (before, behind)"),
        (SIGNAL, "pool 1x2", "takes one size of a signal, not 2", "write `2`: a signal has one axis of space"),
        (IMAGE, "conv 4 k3x3x3", "takes one or two sizes, not 3", "write `3` or `3x5`"),
        (IMAGE, "conv 4 p1x2x3", "takes one, two or four sizes, not 3", "`0x1x0x0` (top, left, bottom, right)"),
        (VOLUME, "conv 4 k3x5", "takes one or three sizes of a volume, not 2", "write `3` or `3x5x5`"),
        (VOLUME, "conv 4 p1x2", "takes one, three or six sizes of a volume, not 2", "(front, top, left, back, bottom,"),
        (
            VOLUME,
            "convt 4 p=1x0x0x0x0x0",
            "takes one or three sizes of a volume",
            "`crop p=1x0x0x0x0x0` behind `convt`",
        ),
        (SIGNAL, "adaptive 3 3", "`adaptive` takes only 1 value", "a signal has one axis of space: write one number"),
        (IMAGE, "adaptive 3 3", "`adaptive` takes only 1 value", "height and width are written as one: `3x5`"),
        (
            VOLUME,
            "adaptive 3 3",
            "`adaptive` takes only 1 value",
            "depth, height and width are written as one: `3x5x5`",
        ),
        (SIGNAL, "conv 4 p=(2, 0)", "is written as a size, not as a list", "write `p=2x0`"),
        (IMAGE, "conv 4 p=(0, 1, 0, 0)", "is written as a size, not as a list", "write top, left, bottom, right"),
        (VOLUME, "conv 4 p=(1, 2, 3)", "is written as a size, not as a list", "write `p=1x2x3`"),
        (VOLUME, "conv 4 p=(1, 0, 0, 0, 0, 0)", "not as a list", "write front, top, left, back, bottom, right"),
        (SIGNAL, "conv 4 p=1.5", "must be sizes like `1` or `2x0` (before, behind), not `1.5`", ""),
        (SIGNAL, "conv 4 k=1.5", "must be a whole number, not `1.5`", ""),
        (VOLUME, "conv 4 k=1.5", "must be a whole number or a size like `3x5x5`, not `1.5`", ""),
        (VOLUME, "reshape 1x2x3x4x5", "`shape` of `reshape` takes one to four sizes, not 5", ""),
    ],
    ids=str,
)
def test_advice_on_a_setting_is_right_for_the_axes(given, text, message, help_text):
    (diagnostic,) = bound(text, given).diagnostics
    assert message in diagnostic.message
    assert help_text in " ".join(diagnostic.help)


def test_a_label_stands_for_the_space_of_a_map_with_as_many_axes():
    assert bound("crop @skip", SIGNAL, map_of(4, 11)).attrs["output_size"] == (11,)
    assert bound("adaptive @skip", VOLUME, map_of(4, 3, 2, 1)).attrs["output_size"] == (3, 2, 1)
    for label, message, help_text in (
        (IMAGE, "`@skip` is 6x20x12, an image, but 6x20 arrives", "name a signal"),
        (tokens(4, 5), "`@skip` is 4x5 (tokens), which has no axes of space", "name a map"),
        (vector(4), "`@skip` is 4 (a vector), which has no axes of space", "name a map"),
    ):
        (diagnostic,) = bound("crop @skip", SIGNAL, label).diagnostics
        assert diagnostic.message == message and diagnostic.help == (help_text,)
