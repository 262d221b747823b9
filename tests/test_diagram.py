"""Network diagrams: what they show, that nothing overlaps, and that they are the same bytes each time."""

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from conftest import ROOT, SPECS

import netdsl
from netdsl.analysis.alignment import LANE
from netdsl.analysis.diagram import diagram_svg
from netdsl.analysis.folding import MAX_BOXES, MAX_ROWS, outline, rows_down
from netdsl.analysis.layer_text import layer_text
from netdsl.analysis.layered import Piece, lay_out
from netdsl.analysis.outline import boxes, links, output_boxes
from netdsl.analysis.svg import short
from netdsl.graph.ir import show_shape

SVG = "{http://www.w3.org/2000/svg}"
PUBLISHED = sorted((ROOT / "tests" / "published").glob("*.net"))


def texts(svg):
    return [element.text for element in ET.fromstring(svg).iter(f"{SVG}text")]


def titles(svg):
    return [element.text for element in ET.fromstring(svg).iter(f"{SVG}title")]


def graph_of(text):
    return netdsl.compile_text(text, "drawn").graph


def test_a_small_network_shows_every_layer_with_its_shape_and_params():
    graph = netdsl.load(ROOT / "specs" / "lenet.net").graph
    shown = texts(diagram_svg(graph))
    for node in graph.nodes:
        assert node.name in shown and layer_text(node) in shown
    assert {"input 1x28x28", "32x28x28", "832 params", "51.26k params", "64x7x7", "output 10"} <= set(shown)
    assert "conv2: conv 64 k5 p2, 32x14x14 to 64x14x14, 51,264 params, 10,035,200 MACs" in titles(diagram_svg(graph))


@pytest.mark.parametrize("path", [*SPECS, *PUBLISHED], ids=lambda path: path.stem)
def test_published_networks_fit_and_no_layer_is_left_out(path):
    graph = netdsl.load(path).graph
    root = outline(graph)
    drawn = list(boxes(root))
    assert len(drawn) <= MAX_BOXES and rows_down(graph, root) <= MAX_ROWS
    assert drawn[0].start == 0 and root.stop == len(graph.nodes)
    assert all(a.stop <= b.start for a, b in zip(drawn, drawn[1:], strict=False))
    svg = diagram_svg(graph)
    assert f"{graph.num_params:,} params" in titles(svg)[0]
    assert f"output {show_shape(graph.output_shape)}" in texts(svg)
    width = float(ET.fromstring(svg).get("width"))
    assert width < 1000, "it should fit a page"


def test_equal_blocks_are_drawn_once_with_their_count():
    shown = texts(diagram_svg(netdsl.load(ROOT / "specs" / "resnet20.net").graph))
    times = "\N{MULTIPLICATION SIGN}"
    counted = [text for text in shown if times in text]
    assert counted == [f"3 {times} basic(16)", f"2 {times} basic(32)", f"2 {times} basic(64)"]
    assert shown.count("add") == 5  # three once for all, two with a projection


def test_equal_blocks_stay_apart_where_one_is_read_elsewhere():
    block = "block b() { res { conv 4 k3 p1 -> bn } -> relu }\ninput 4x8x8\n"
    assert "2 \N{MULTIPLICATION SIGN} b()" in texts(diagram_svg(graph_of(block + "b() -> b()")))
    shown = texts(diagram_svg(graph_of(block + "first: b() -> b() -> cat { id | @first }")))
    assert shown.count("b()") == 2


def tangled(seed):
    """A network whose layers read any earlier ones, some of them from inside groups."""
    rng = np.random.default_rng(seed)
    lines, labels = ["input 4x6x6", "l0: conv 4 k1"], ["@l0"]
    for i in range(1, 25):
        merge, others = rng.choice(["add", "mul"]), " | ".join(rng.choice(labels, int(rng.integers(1, 3))))
        layer = rng.choice(["conv 4 k1", "conv 4 k1 -> bn -> relu", f"{merge} {{ id | {others} }}"])
        lines.append(f"g{i}: {{ bn -> l{i}: {{ {layer} }} -> relu }}" if rng.random() < 0.3 else f"l{i}: {{ {layer} }}")
        labels.append(f"@l{i}")
    return "\n".join(lines)


@pytest.mark.parametrize("seed", range(30))
def test_every_reading_of_a_tangled_network_is_a_line(seed):
    graph = graph_of(tangled(seed))
    ET.fromstring(diagram_svg(graph))
    root = outline(graph, 10_000)
    drawn = list(boxes(root))
    if any(box.detail for box in drawn) or sum(box.stop - box.start for box in drawn) < len(graph.nodes):
        return  # equal blocks stand for each other
    owner = {0: -1} | {value: n for n, box in enumerate(drawn) for value in range(box.start + 1, box.stop + 1)}
    expected = {
        (owner[value], owner[index + 1])
        for index, node in enumerate(graph.nodes)
        for value in node.inputs
        if owner[value] != owner[index + 1]
    }
    assert set(links(graph, root)) == expected
    assert output_boxes(graph, root) == [owner[graph.output]]


@pytest.mark.parametrize("seed", range(60))
def test_pieces_do_not_overlap_and_no_line_crosses_one(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 14))
    pieces = [Piece(float(rng.integers(20, 200)), float(rng.integers(10, 90))) for _ in range(count)]
    found = [(int(rng.integers(0, i)), i) for i in range(1, count) for _ in range(int(rng.integers(1, 4)))]
    layout = lay_out(pieces, [(a, b, a) for a, b in dict.fromkeys(found)])
    rects = [(x, y, x + p.width, y + p.height) for p, (x, y) in zip(pieces, layout.corners, strict=True)]
    for i, a in enumerate(rects):
        for b in rects[i + 1 :]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], "pieces overlap"
    for a, b in found:
        assert rects[a][3] < rects[b][1], "a reader stands below what it reads"
    for line in layout.lines:
        y0, y1, y2, y3 = line.ys
        assert y0 <= y1 < y2 <= y3
        for left, top, right, bottom in rects:
            assert not (top < y2 and bottom > y1), "no piece stands where lines bend"
            for x, start, stop in ((line.x1, y0, y1), (line.x2, y2, y3)):
                inside = left - LANE / 2 < x < right + LANE / 2
                assert not (inside and top < stop - 1e-6 and bottom > start + 1e-6), "a line crosses a piece"


def test_a_chain_is_straight():
    layout = lay_out([Piece(40, 10), Piece(100, 10), Piece(60, 10)], [(0, 1, 0), (1, 2, 1), (0, 2, 0)])
    centres = [x + w / 2 for (x, _), w in zip(layout.corners, (40, 100, 60), strict=True)]
    np.testing.assert_allclose(centres, centres[0], atol=0.2)


def test_ten_thousand_layers_are_drawn_within_a_second():
    graph = graph_of("input 8\n" + "linear 8 -> relu\nlinear 8 nobias -> tanh\n" * 2500)
    start = time.process_time()
    svg = diagram_svg(graph)
    assert time.process_time() - start < 1
    assert len(svg) < 100_000 and any(text.endswith(" layers") for text in texts(svg))


def test_a_network_that_gives_its_input_through_a_label_is_drawn():
    graph = graph_of("input 2x4x4\nout: conv 2 k1\nconv 3 k1\ncat { id | @out } -> gap")
    assert "output 5" in texts(diagram_svg(graph))


def test_the_text_of_a_layer_has_its_values():
    block = "block b(c, k=3) { conv 2*c k=k p=k//2 s=1x2 nobias -> bn eps=1e-3 }"
    graph = graph_of(f"input 3x9x9\n{block}\nb(4) -> dropout 0.2 -> pool 2")
    assert [layer_text(node) for node in graph.nodes] == [
        "conv 8 k3 s=1x2 p1 nobias",
        "bn eps=0.001",
        "dropout 0.2",
        "pool 2",
    ]


def test_numbers_are_short():
    counts = [0, 999, 9_536, 10_000, 110_800, 999_999, 1_025_000, 25_557_032, 138_357_544]
    assert [short(n) for n in counts] == ["0", "999", "9,536", "10k", "110.8k", "1000k", "1.02M", "25.56M", "138.4M"]


def test_the_same_graph_gives_the_same_bytes_whatever_the_hash_seed():
    code = """if True:
        import sys, netdsl
        from netdsl.analysis.diagram import diagram_svg
        sys.stdout.write(diagram_svg(netdsl.load(sys.argv[1]).graph))"""
    command = [sys.executable, "-c", code, str(ROOT / "specs" / "googlenet.net")]
    seen = {
        subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


def test_the_picture_asks_for_nothing_from_outside():
    svg = diagram_svg(netdsl.load(ROOT / "specs" / "googlenet.net").graph)
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")
    assert "<script" not in svg and "url(" not in svg and " id=" not in svg


def test_only_what_stands_for_many_has_a_second_card_behind_it():
    graph = netdsl.load(ROOT / "specs" / "resnet50.net").graph
    folded = [box for box in boxes(outline(graph)) if box.detail]
    assert {box.count for box in folded} == {1, 2, 3, 5}
    cards = [e for e in ET.fromstring(diagram_svg(graph)).iter(f"{SVG}rect") if e.get("x") == "4"]
    assert len(cards) == sum(box.count > 1 for box in folded) + 1, "and the frame of two blocks in layer1"


def test_every_colour_of_a_drawing_has_a_dark_one():
    svg = diagram_svg(netdsl.load(ROOT / "specs" / "resnet50.net").graph)
    used = {e.get(key) for e in ET.fromstring(svg).iter() for key in ("fill", "stroke")} - {None, "none"}
    style = next(ET.fromstring(svg).iter(f"{SVG}style")).text
    assert "prefers-color-scheme:dark" in style and all(f'[fill="{color}"]' in style for color in used)
    assert all(rule.startswith((".netdsl-network", "}")) for rule in style.partition("{")[2].split("}") if rule)


def test_a_signal_and_a_volume_are_shown_with_all_their_sizes():
    signal = texts(diagram_svg(graph_of("input 9x128 map\nconv 16 k7 s2 p3 -> relu\nconv 32 k3")))
    assert {"input 9x128 map", "conv 16 k7 s2 p3", "16x64", "output 32x62"} <= set(signal)
    volume = texts(diagram_svg(graph_of("input 1x8x16x16\nconv 4 k3x5x5 p1x2x2\npool 2")))
    assert {"input 1x8x16x16", "conv 4 k=3x5x5 p=1x2x2", "4x8x16x16", "output 4x4x8x8"} <= set(volume)
