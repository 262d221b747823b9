"""What networks, summaries, histories and diagnostics show of themselves in a notebook."""

import xml.etree.ElementTree as ET

import pytest
from conftest import ROOT
from pages import Page

import netdsl
from netdsl.ground.markup import table, terminal
from netdsl.training.runs.history import Epoch, History

HOSTILE = "<script>alert(1)</script><img src=x onerror='alert(2)'>\"'&amp;"


def shown(thing):
    page = Page(thing._repr_html_())
    page.check_is_inert()
    return page


def history(*rows):
    return History(tuple(Epoch(i, *row, 1e-3, 2.5, 1234.5) for i, row in enumerate(rows, start=1)))


def test_a_network_shows_its_table_and_its_diagram(small_spec):
    net = netdsl.load(small_spec)
    page, text = shown(net), shown(net).text
    for node in net.graph.nodes:
        assert node.name in text
    assert f"{net.graph.num_params:,}" in text and {"table", "svg"} <= page.tags


def test_layer_objects_show_the_same_and_say_how_to_look_inside():
    text = shown(netdsl.load(ROOT / "specs" / "lenet.net").build()).text
    assert "10 layer objects, 454,922 params, float32" in text and "model.layer(name).output" in text


def test_the_method_is_not_in_emitted_modules():
    assert "_repr_html_" not in netdsl.load(ROOT / "specs" / "lenet.net").numpy_source()


def test_a_summary_says_in_html_what_it_says_in_text():
    summary = netdsl.load(ROOT / "specs" / "resnet20.net").summary()
    page, words = shown(summary), str(summary).split()
    assert [word for word in words if not word.startswith("---")] == page.text.replace(
        " output params", " output params"
    ).split()


def test_a_history_shows_curves_and_every_epoch():
    page = shown(history((2.0, 0.25, 1.5, 0.5), (1.0, 0.75, 1.25, 0.625)))
    assert "2 epochs" in page.text and "75.00% 1.2500 62.50%" in page.text and "1,234" in page.text
    assert sum(attributes.get("id", "").startswith("curves-axes") for _, attributes in page.elements) == 3, "panels"


@pytest.mark.parametrize(
    "rows",
    [
        [(2.0, 0.5, None, None)],
        [(2.0, None, None, None), (1.0, None, 3.0, None)],
        [(float("nan"), 0.1, float("inf"), 0.1)] * 2,
        [(0.0, 0.0, 0.0, 0.0)] * 3,
        [(-1.5, None, -2.5, None)] * 2,
        [(1e30, 1.0, 1e-30, 1.0)] * 200,
    ],
    ids=["no validation", "regression", "not finite", "zeros", "below zero", "extremes"],
)
def test_curves_of_any_history_are_drawn_as_those_of_the_plots(rows):
    page = history(*rows)._repr_html_()
    svg = page[page.index("<svg") : page.index("</svg>") + 6]
    assert ET.fromstring(svg).get("class") == "netdsl-curves" and "nan" not in svg.lower().split("</style>")[1]
    assert shown(history(*rows)).tags >= {"svg", "table"}


def test_a_history_without_epochs_says_so():
    assert shown(History(())).text == "no epoch is finished"


def test_diagnostics_show_their_text_and_a_hostile_spec_stays_text():
    with pytest.raises(netdsl.SpecError) as caught:
        netdsl.compile_text(f"input 1x8x8\nrellu # {HOSTILE}\nlinear 10 nobais", HOSTILE)
    for thing in (caught.value, caught.value.diagnostics[0]):
        page = shown(thing)
        assert page.tags == {"pre", "span"} and HOSTILE in " ".join(page.parts) or HOSTILE in "".join(page.parts)
    assert "".join(shown(caught.value).parts) == str(caught.value)


def test_text_in_tables_is_escaped():
    page = Page(table([HOSTILE, "n"], [[HOSTILE, "1"]], 1, [HOSTILE, "2"]))
    page.check_is_inert()
    assert page.parts.count(HOSTILE) == 3


def test_a_terminals_colours_become_spans_and_nothing_else_does():
    page = Page(terminal("\x1b[1;31mbad\x1b[0m <b> \x1b[7mnot a colour of ours\x1b[0m"))
    assert [tag for tag, _ in page.elements] == ["pre", "span"]
    assert "".join(page.parts) == "bad <b> not a colour of ours"


@pytest.mark.parametrize("given", ["9x128 map", "1x8x16x16"])
def test_networks_of_signals_and_volumes_show_what_they_take_and_how_far_they_see(given):
    net = netdsl.compile_text(f"input {given}\nconv 4 k3 p1 -> relu -> pool 2\nconv 2 k3 p1", "seen")
    text = shown(net).text
    assert f"seen: {given} -> " in text and f"input {given}" in text and "receptive field: `conv2` sees" in text
    assert "layer objects" in shown(net.build()).text
