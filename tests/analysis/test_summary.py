"""The table of `netdsl summary`: the numbers that layers got, and lines that fit the terminal."""

import functools
from pathlib import Path

import pytest

from netdsl.analysis.summary import shortened
from netdsl.pipeline import compile_file, compile_text

compiled = functools.cache(compile_file)
SPECS = sorted((Path(__file__).resolve().parents[2] / "specs").glob("*.net"))


def test_a_layer_written_with_names_is_shown_with_its_numbers():
    net = compile_text(
        "input 1x8x8\nlet k=3\nlet drop=0.25\nconv 4*2 k=k p=k//2 nobias -> dropout drop\n"
        "block b(c) { conv c k1 -> pool 2 s=2 }\nb(in.c)\nconv 32 k5 p2  # as it is\ngap -> linear 1_000\n"
    )
    texts = [row[1] for row in net.summary().rows()]
    assert texts[1:4] == ["conv 8 k3 p1 nobias", "dropout 0.25", "conv 8"]
    assert texts[4:] == ["pool 2 s=2", "conv 32 k5 p2", "gap", "linear 1_000"]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.stem)
def test_a_summary_fits_its_width_and_keeps_every_layer_and_the_total(spec, width):
    net = compiled(spec)
    lines = net.summary().text(width).splitlines()
    assert max(map(len, lines)) <= width
    start, end = (i for i, line in enumerate(lines) if set(line) == {"-"})
    assert end - start - 2 == len(net.graph.nodes)
    total = lines[end + 1].split()
    assert total[0] == "total" and len(total[-1]) >= 1 and total[-2][0] == f"{net.graph.num_params}"[0]
    assert len({len(line) for line in (lines[start], lines[end])}) == 1
    columns = lines[start - 1].index("output")
    for line in lines[start + 1 : end]:
        assert line[columns - 1] == " " and line[columns].isdigit(), line


def test_without_a_width_nothing_is_shortened():
    text = str(compile_file(next(s for s in SPECS if s.stem == "resnet50")).summary())
    assert "25,557,032" in text and "layer3.5.conv3" in text and "..." not in text


def test_a_long_name_is_shortened_in_its_middle():
    assert shortened("layer1.0.conv1", 20) == "layer1.0.conv1"
    assert [shortened("layer1.0.conv1", n) for n in (13, 12)] == ["layer...conv1", "layer...onv1"]
    assert len(shortened("x" * 99, 11)) == 11


def test_signals_and_volumes_are_told_with_their_receptive_field():
    signal = compile_text("input 9x128 map\nconv 8 k3 p=2x0 -> conv 8 k3 d2 p=4x0 -> gap -> linear 3").summary()
    assert signal.rows()[0][2] == "9x128 map" and str(signal).startswith("net: 9x128 map -> 3\n")
    assert signal.facts()[-1] == "receptive field: `conv2` sees 7 of 128 steps"
    volume = compile_text("input 1x8x16x16\nconv 8 k3 -> pool 2 -> gap -> linear 2").summary()
    assert volume.facts()[-1] == "receptive field: `pool1` sees 4\N{MULTIPLICATION SIGN}4\N{MULTIPLICATION SIGN}4"
    for text in ("input 3x8x8\nconv 2 k3", "input 9x128\nlinear 3", "input 9x128 map\nflatten -> linear 3"):
        assert len(compile_text(text).summary().facts()) == 1
