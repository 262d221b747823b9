"""The pictures of a run: which fit, that they are drawn, and what is in the files."""

import itertools
import re
from dataclasses import replace
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from figures import NAMES, ROWS, overhang, view_of, words
from PIL import Image

from netdsl.graph.types import map_of, vector
from netdsl.ground.diagnostics import UserError
from netdsl.training.drawing.style import short_names, style, text
from netdsl.training.pictures.kinds import (
    KINDS,
    draw,
    draw_answers,
    figures,
    fitting_kinds,
    font_note,
    png_bytes,
    save,
    svg_text,
)
from netdsl.training.runs.history import Epoch, History
from netdsl.training.scores.task import decided_task

IMAGES = "input 3x10x8\nconv 6 k3 p1 -> bn -> relu -> pool 2 -> conv 4 k3 -> relu -> flatten -> linear {classes}"


@pytest.fixture(scope="module")
def view():
    return view_of(IMAGES)


def view_for(kind, view):
    """A view that has this kind of picture."""
    if kind == "roc":
        return view_of("input 4\nlinear {classes}", NAMES[3:5])
    if kind == "masks":
        return view_of("input 3x10x8\nconv {classes} k3 p1")
    if kind == "attention":
        return view_of("input 1x8x8\nconv 8 k2 s2 -> tokens -> mha 2 -> take 0 -> linear {classes}")
    if kind == "augmentation":
        return view_of(f"{IMAGES}\ntrain {{{{ augment flip hue=0.1 }}}}")
    if kind in ("regression", "reconstructions"):
        layer = "linear 4" if kind == "regression" else "conv 3 k3 p1"
        return view_of(f"input {4 if kind == 'regression' else '3x10x8'}\n{layer}\ntrain {{{{ loss mse }}}}", ())
    return view


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn_in_both_formats_with_hostile_names(kind, view, tmp_path):
    view = view_for(kind, view)
    figure = draw(kind, view)
    paths = save(figure, tmp_path / kind)
    assert [p.name for p in paths] == [f"{kind}.png", f"{kind}.svg"]
    with Image.open(paths[0]) as image:
        inches = figure.get_size_inches()
        assert image.width == pytest.approx(300 * inches[0], abs=1) and image.format == "PNG"
        assert {round(dpi) for dpi in image.info["dpi"]} == {300} and len(image.getcolors(2**24)) > 5
    assert ElementTree.parse(paths[1]).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert overhang(figure) < 0.01
    assert min(t.get_fontsize() for t in figure.findobj(matplotlib.text.Text) if t.get_text()) >= 6
    assert 3.49 <= inches[0] <= 7.01


@pytest.mark.parametrize("kind", ["curves", "receptive"])
def test_the_same_content_gives_the_same_bytes(kind, view):
    first, second = draw(kind, view), draw(kind, view)
    with matplotlib.rc_context({"font.size": 20, "svg.fonttype": "none", "savefig.bbox": "tight"}):
        assert png_bytes(first) == png_bytes(second)
        assert svg_text(first) == svg_text(second) == svg_text(first)


def test_files_hold_no_date(view):
    figure = draw("curves", view)
    assert not re.search(rb"tEXt|iTXt|tIME", png_bytes(figure))
    assert not re.search(r"<metadata|<dc:|20[0-9][0-9]-", svg_text(figure))


def test_several_kinds_can_stand_in_one_page(view):
    ids = [
        i
        for kind in ("curves", "mistakes", "statistics")
        for i in re.findall(r'\bid="([^"]*)"', svg_text(draw(kind, view)))
    ]
    assert len(ids) == len(set(ids)) > 50
    svg = svg_text(draw("curves", view))
    used = set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', svg))
    assert {a or b for a, b in used} <= set(re.findall(r'\bid="([^"]*)"', svg)) and svg.startswith("<svg")


def test_drawing_leaves_no_state_behind(view):
    before = dict(matplotlib.rcParams)
    png_bytes(draw("confusion", view))
    assert dict(matplotlib.rcParams) == before


def test_names_are_shown_as_they_are_but_on_one_line_and_shortened(view, monkeypatch):
    shown = words(draw("confusion", view))
    assert "$x_1^{2}$" in shown and "\\frac{" in shown and "a very long n\N{HORIZONTAL ELLIPSIS}" in shown
    monkeypatch.setitem(text.__globals__, "_font_with", lambda character: None)
    assert text("a\nb\x1b") == "a\\x0ab\\x1b" and text("\U0001f999") == "\N{WHITE SQUARE}"
    names = short_names([f"a common beginning {k}" for k in range(3)], 10)
    assert names == [f"\N{HORIZONTAL ELLIPSIS}{k}" for k in range(3)]


def test_a_font_that_has_the_characters_is_taken_and_what_none_has_is_said(view, monkeypatch):
    circled = "\N{CIRCLED LATIN CAPITAL LETTER A}"  # of STIX, which comes with matplotlib, not of DejaVu
    with style():
        assert text(circled) == circled and "STIXGeneral" in matplotlib.rcParams["font.family"]
    assert font_note([circled, "a"]) is None
    classes = (circled, *NAMES[1:])
    png_bytes(draw("confusion", replace(view, dataset=replace(view.dataset, classes=classes))))  # or matplotlib warns
    monkeypatch.setitem(text.__globals__, "_font_with", lambda character: None)
    assert font_note([circled, f"a{circled}"]).startswith(f"no installed font has `{circled}`")


def test_what_is_drawn_on_the_page_is_dark_where_the_reader_prefers_it_and_data_is_not(view):
    svg = svg_text(draw("confusion", view))
    sheet = ElementTree.fromstring(svg).find("{http://www.w3.org/2000/svg}style").text
    assert "prefers-color-scheme:dark" in sheet and "#confusion-patch_1 path" in sheet
    matched = [rule for rule in re.findall(r'\[style\*="([^"]+)"\]', sheet) if rule in svg.replace(sheet, "")]
    assert {"stroke: #1b1f24", "fill: #1b1f24"} <= set(matched), "axes and words"
    assert "fill: #ffffff" not in sheet and "fill: #000000" not in sheet, "numbers in cells keep their colour"


def test_the_colour_bar_is_as_high_as_the_matrix(view):
    figure = draw("confusion", view)
    matrix, _, bar = (axes.get_position() for axes in figure.axes)
    np.testing.assert_allclose([bar.y0, bar.height], [matrix.y0, matrix.height])


def test_counts_stand_in_the_confusion_matrix_and_accuracy_beside_it(view):
    from netdsl.training.pictures import inspection

    found = inspection.confusion(inspection.answers(view), NAMES)
    shown = words(draw("confusion", view))
    for value in found.counts[found.counts > 0]:
        assert str(value) in shown
    assert f"all: {100 * found.accuracy:.2f}" in shown


def test_a_hundred_classes_are_drawn_without_numbers():
    view = view_of(IMAGES, tuple(f"class number {k}" for k in range(100)), samples=150)
    figure = draw("confusion", view)
    assert overhang(figure) < 0.01
    assert figure.get_size_inches()[0] == pytest.approx(7, abs=0.01) and "1" not in words(figure)


def test_classes_in_thousands_share_the_cells_of_a_picture_of_bounded_size():
    from netdsl.training.pictures.classes import MOST, draw_confusion
    from netdsl.training.pictures.inspection import Confusion

    rng, count = np.random.default_rng(0), 3 * MOST
    counts = np.zeros((count, count), np.int64)
    np.add.at(counts, (rng.integers(0, count, 9000), rng.integers(0, count, 9000)), 1)
    figure = draw_confusion(Confusion(counts, tuple(map(str, range(count)))))
    matrix, bars = figure.axes[0], figure.axes[1]
    shares = matrix.images[0].get_array()
    assert shares.shape == (MOST, MOST) and len(bars.patches) == MOST
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert matrix.get_ylim() == bars.get_ylim() == (count - 0.5, -0.5)


def test_right_and_wrong_are_told_by_more_than_colour(view):
    from netdsl.training.pictures import inspection

    rows = inspection.fixed_samples(30, 8, 0)
    found = inspection.answers(view, rows)
    shown = " ".join(words(draw("predictions", view)))
    right = int((found.said == found.labels).sum())
    assert shown.count("\N{CHECK MARK} right") == right and shown.count("\N{BALLOT X} wrong") == 8 - right


def test_a_run_gets_the_kinds_that_make_sense_for_it(view):
    others = ("roc", "masks", "regression", "reconstructions", "attention", "augmentation")  # of others
    assert fitting_kinds(view) == tuple(kind for kind in KINDS if kind not in others)
    points = view_of("input 4\nlinear 8 -> relu -> linear 2", ("a", "b"))
    assert fitting_kinds(points) == ("curves", "confusion", "roc", "statistics")
    numbers = view_of("input 4\nlinear 8 -> relu -> linear 2\ntrain {{\n  loss mse\n}}", ())
    assert fitting_kinds(numbers) == ("curves", "regression", "statistics")
    flat = view_of("input 1x6x6\nflatten -> linear 2", ("a", "b"), rows=())
    assert fitting_kinds(flat) == ("confusion", "roc", "mistakes", "predictions", "saliency", "filters", "statistics")
    masks, pictures = view_for("masks", view), view_for("reconstructions", view)
    assert fitting_kinds(masks)[:3] == ("curves", "confusion", "masks")
    assert fitting_kinds(pictures)[:2] == ("curves", "reconstructions")
    for some in (points, numbers, flat, masks):
        assert [figure.get_label() for _, figure in figures(some, fitting_kinds(some))] == list(fitting_kinds(some))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("confusion", "the run has no plot `confusion`: its network learns numbers"),
        ("features", "the run has no plot `features`: the samples of `drawn` are no images"),
        ("confuson", "there is no plot `confuson`"),
    ],
)
def test_a_kind_that_does_not_fit_is_a_user_error_before_anything_is_drawn(kind, reason):
    view = view_of("input 4\nlinear 2\ntrain {{\n  loss mse\n}}", ())
    with pytest.raises(UserError, match=re.escape(reason)):
        draw(kind, view)
    with pytest.raises(UserError, match=re.escape(reason)):
        next(figures(view, ["curves", kind]))


def test_an_image_of_ones_own_and_a_layer_are_shown(view):
    image = np.zeros((3, 10, 8), np.uint8)
    shown = words(draw("features", view, image=image, layer="conv2"))
    assert "the image" in shown and any(word.startswith("conv2: 4 maps") for word in shown)
    assert "effective, pool1" in words(draw("receptive", view, image=image, layer="pool1"))


def test_a_network_without_mistakes_says_so(view):
    from netdsl.training.pictures import inspection

    found = inspection.answers(view)
    figure = draw("mistakes", view, answers=replace(found, labels=found.said))
    assert words(figure) == ["\N{CHECK MARK} no mistake among 30 test samples"]


def test_curves_of_one_epoch_without_validation_and_of_losses_far_apart_are_drawn(view):
    one = (Epoch(1, 2.0, None, None, None, 0.0, 1.0, 100.0),)
    far = tuple(Epoch(n, 10.0**-n, 0.5, 2 * 10.0**-n, 0.5, 1e-3, 1.0, 100.0) for n in range(1, 60))
    for rows in (one, far, (replace(far[0], train_loss=float("inf")), *far[1:])):
        figure = draw("curves", replace(view, history=History(rows)))
        assert overhang(figure) < 0.01


@pytest.mark.parametrize("last", [300, 2000, 25_000, 1_000_000])
def test_the_numbers_of_steps_do_not_touch(view, last):
    tracked = {"val_perplexity": 3.0}
    rows = [
        replace(row, step=last * row.epoch // 4, more=tracked, train_accuracy=0.5, val_accuracy=0.5) for row in ROWS
    ]
    figure = draw("curves", replace(view, history=History(tuple(rows))))
    with style():
        figure.draw_without_rendering()
    panels = [axes for axes in figure.axes if axes.get_xlabel() == "step"]
    assert len(panels) == 4
    for axes in panels:
        low, high = axes.get_xlim()
        shown = [label for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]
        boxes = [label.get_window_extent() for label in shown]
        assert len(boxes) >= 2 and all(one.x1 < other.x0 for one, other in itertools.pairwise(boxes))


def test_images_without_a_label_are_neither_right_nor_wrong():
    images = [(f"{k}.png", np.full((1, 8, 8), 40 * k, np.uint8), np.array([0.2, 0.8])) for k in range(3)]
    types = map_of(1, 8, 8), vector(2)
    shown = words(draw_answers(images, decided_task("ce", *types, ("cat", "dog")), *types))
    assert "0.png" in shown and "80.0" in shown and not any("right" in word or "wrong" in word for word in shown)
