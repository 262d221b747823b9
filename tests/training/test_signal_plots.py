"""The pictures of runs on signals and volumes: all kinds that fit, and that what they show is what is there."""

import matplotlib
import numpy as np
import pytest
from figures import ROWS, overhang, words
from numpy.testing import assert_allclose

from netdsl.graph.types import map_of, tokens, vector
from netdsl.ground.diagnostics import UserError
from netdsl.pipeline import compile_text
from netdsl.training.data.dataset import Dataset
from netdsl.training.drawing import signals, sketches
from netdsl.training.drawing.style import note_lines
from netdsl.training.pictures import inspection, sensitivity
from netdsl.training.pictures.kinds import draw, draw_answers, fitting_kinds, usual_kinds
from netdsl.training.runs.answer_files import check_out, table_of
from netdsl.training.runs.history import History
from netdsl.training.runs.views import RunView
from netdsl.training.scores.task import decided_task

NAMES = ("walking", "walking upstairs, slowly and carefully", "laying")
END = "relu -> flatten -> linear {classes}"
NETS = {
    "a channel": (f"input 1x40 map\nconv 8 k5 p2 -> {END}", NAMES),
    "two channels and weights": ("input 2x30 map\nflatten -> linear {classes}", NAMES),
    "twelve channels": (f"input 12x3000 map\nconv 6 k15 s4 -> relu -> pool 4 -> conv 4 k9 -> {END}", NAMES),
    "more channels than lanes": (f"input 40x60 map\nconv 8 k15 -> {END}", tuple(map(str, range(20)))),
    "a class for each step": ("input 2x300 map\nconv 4 k9 p4 -> relu -> conv {classes} k9 p4", NAMES),
    "signals again": ("input 3x50 map\nconv 4 k9 p4 -> conv 3 k9 p4\ntrain {{ loss mse }}", ()),
    "volumes": (f"input 1x6x9x8\nconv 4 k3 p1 -> relu -> pool 2 -> conv 3 k2 -> {END}", NAMES[:2]),
    "colour volumes": (f"input 3x5x8x9\nconv 4 k3x5x5 -> {END}", NAMES),
    "a class for each voxel": ("input 1x6x8x9\nconv 4 k3 p1 -> conv {classes} k3 p1", NAMES),
    "volumes again": ("input 1x6x8x9\nconv 1 k3 p1\ntrain {{ loss mse }}", ()),
}


def view_of(text, classes, samples=9):
    net, rng = compile_text(text.format(classes=len(classes))), np.random.default_rng(0)
    takes, gives = net.graph.input_type, net.graph.output_type
    x = rng.normal(size=(samples, *takes.sizes)).astype(np.float32)
    y = rng.integers(0, len(classes), (samples, *gives.space)) if classes else x
    data = Dataset("drawn", x, y, x, y, classes, (0.5,), (1.0,))
    return RunView(None, net, net.build(seed=1), data, History(ROWS), "last")


@pytest.mark.parametrize("name", NETS)
def test_all_that_fits_is_drawn_and_stays_on_the_page(name):
    view = view_of(*NETS[name])
    kinds = usual_kinds(view)
    assert kinds == fitting_kinds(view) and {"curves", "statistics", "filters"} <= set(kinds)
    assert {"saliency", "mistakes", "predictions"} <= set(kinds) or {"masks", "reconstructions"} & set(kinds)
    for kind in kinds:
        figure = draw(kind, view)
        assert overhang(figure) < 0.01, kind
        assert min(t.get_fontsize() for t in figure.findobj(matplotlib.text.Text) if t.get_text()) >= 6, kind
        width, height = figure.get_size_inches()
        assert width <= 7.01 and height <= 12, kind


def test_a_single_sample_is_drawn():
    view = view_of(NETS["twelve channels"][0], NAMES, samples=1)
    for kind in ("predictions", "mistakes", "saliency"):
        assert overhang(draw(kind, view)) < 0.01


def test_what_cannot_be_drawn_says_why():
    for text, reason in (
        ("input 4x5x6x7\nconv 2 k3 -> flatten -> linear {classes}", "are volumes of 4 channels, of which"),
        ("input 3x1 map\nflatten -> linear {classes}", "are signals of one step"),
        ("input 5\nlinear {classes}", "are no images, signals or volumes"),
    ):
        view = view_of(text, NAMES)
        with pytest.raises(UserError, match=f"the samples of `drawn` {reason}"):
            draw("predictions", view)
        assert "confusion" in usual_kinds(view)
    assert sketches.no_sketch(tokens(4, 5)) == sketches.no_sketch(vector(3))
    dense = view_of(*NETS["a class for each step"])
    with pytest.raises(UserError, match="its network learns a class for each step"):
        draw("saliency", dense)


def test_the_saliency_of_a_linear_network_is_its_weights():
    view = view_of(*NETS["two channels and weights"])
    weight = np.abs(view.model.params["linear1.weight"]).reshape(3, 2, 30)
    rows = np.arange(4)
    said = inspection.answers(view, rows).said
    for one, row in zip(sensitivity.saliencies(view, rows), rows, strict=True):
        assert (one.sample, one.said) == (row, said[row])
        assert_allclose(one.heat, weight[one.said] / weight[one.said].max(), rtol=1e-5)  # float32


def test_saliency_of_images_is_drawn_where_it_is_asked_for():
    view = view_of("input 1x9x8\nconv 4 k3 -> relu -> flatten -> linear {classes}", NAMES)
    assert "saliency" in fitting_kinds(view) and "saliency" not in usual_kinds(view)
    assert {"input", "saliency"} <= set(words(draw("saliency", view)))


def test_a_long_signal_keeps_its_peaks():
    values = np.zeros((2, 10_000))
    values[0, 4321], values[1, 77] = 5, -3
    short = signals.decimated(values, 100)
    assert short.shape == (2, 200) and short[0].max() == 5 and short[1].min() == -3
    assert np.array_equal(signals.decimated(values[:, :200], 100), values[:, :200])
    spread = signals.decimated(np.arange(1001.0), 10)
    assert_allclose(spread[::2], np.arange(10) * 1001 // 10)
    assert (np.diff(spread.reshape(-1, 2), axis=1) > 0).all()
    assert_allclose(signals.mixed(np.repeat(np.eye(3), 100, axis=0), 3), np.eye(3))


def test_channels_have_the_range_that_they_have_in_all_samples():
    x = np.array([[[0.0, 1.0], [5.0, 5.0]], [[3.0, 2.0], [5.0, 5.0]]])
    first, second = signals.signals(x)
    assert_allclose(first.shares, [[0, 1 / 3], [0.5, 0.5]])  # a constant channel lies in the middle
    assert_allclose(second.shares, [[1, 2 / 3], [0.5, 0.5]])


def test_a_volume_is_its_three_middle_slices():
    volume = np.random.default_rng(0).normal(size=(4, 6, 5))
    sheet = sketches.three_slices(volume)
    gap = sheet.shape[0] - 6 - 4
    assert gap > 0 and sheet.shape[1] == 5 + gap + 4
    assert_allclose(sheet[:6, :5], volume[2], rtol=1e-6)  # float32
    assert_allclose(sheet[:6, 5 + gap :], volume[:, :, 2].T, rtol=1e-6)
    assert_allclose(sheet[6 + gap :, :5], volume[:, 3], rtol=1e-6)
    assert np.isnan(sheet[6 + gap :, 5 + gap :]).all()


def test_volumes_that_go_far_are_stretched_beside_their_masks():
    x = np.random.default_rng(0).normal(size=(3, 2, 4, 5, 6)) * 100
    shown = np.stack(sketches.as_numbers(x, map_of(2, 4, 5, 6)))
    assert np.nanmin(shown) >= 0 and np.nanmax(shown) <= 1 and len(np.unique(shown)) > 100


def test_pictures_say_how_to_read_them():
    assert sketches.reading(map_of(1, 1000)) == "1,000 steps from left to right"
    assert "9 channels as curves, the first on top" in sketches.reading(map_of(9, 128))
    assert "64 channels as rows of colour" in sketches.reading(map_of(64, 128))
    assert "across depth" in sketches.reading(map_of(1, 4, 5, 6)) and sketches.reading(map_of(3, 5, 6)) == ""
    shown = words(draw("predictions", view_of(*NETS["a channel"])))
    assert "40 steps from left to right" in shown
    assert note_lines("", 3) == [] and len(note_lines("several words " * 20, 2)) > 3


def test_the_receptive_field_along_time_is_told_in_steps():
    shown = words(draw("receptive", view_of(*NETS["twelve channels"])))
    assert {"conv1: 15 of 3,000 steps", "pool1: 27 of 3,000 steps", "conv2: 155 of 3,000 steps"} <= set(shown)
    cube = "\N{MULTIPLICATION SIGN}".join("333")
    assert f"conv1: {cube}" in words(draw("receptive", view_of(*NETS["volumes"])))


def test_maps_stand_below_the_steps_that_they_are_about():
    for text, steps in (
        ("conv 2 k9", (4, 36)),  # 32 places, of which the first sees steps 0 to 8
        ("conv 2 k3 p1 -> relu", (0, 40)),
        ("pool 4", (0, 40)),
        ("conv 2 k3 p=2x0", (0, 39)),  # causal: each place sees the steps before it
        ("conv 2 k31 p15 -> conv 2 k31 p15", None),  # all places see all steps
    ):
        graph = compile_text(f"input 1x40 map\n{text}").graph
        assert sensitivity.covered_steps(graph, graph.nodes[-1].name) == steps, text


def test_filters_of_a_signal_have_a_curve_a_channel_and_many_channels_are_a_picture():
    few = draw("filters", view_of(f"input 3x64 map\nconv 12 k5 -> {END}", NAMES))
    assert {f"channel {k}" for k in range(3)} <= set(words(few))
    assert words(few)[0].startswith("conv1: 12 filters of 3 channels \N{MULTIPLICATION SIGN} 5 steps")
    many = draw("filters", view_of(*NETS["more channels than lanes"]))
    assert words(many)[0].startswith("conv1: 8 filters of 40 channels \N{MULTIPLICATION SIGN} 15 steps")
    assert len(many.axes[0].images) == 1


def test_slices_of_a_filter_stand_beside_each_other():
    title = words(draw("filters", view_of(*NETS["volumes"])))[0]
    assert title.endswith(", slice by slice")
    deep = view_of("input 1x12x4x4\nflatten -> linear 3", NAMES)
    assert words(draw("filters", deep))[0].endswith("8 of 12 slices")


PLACES = {"step": map_of(2, 30), "pixel": map_of(1, 8, 8), "voxel": map_of(1, 4, 5, 6)}


@pytest.mark.parametrize("place", PLACES)
def test_masks_are_counted_in_the_places_of_their_space(place):
    takes = PLACES[place]
    task = decided_task("ce", takes, map_of(3, *takes.space), NAMES)
    assert (task.what, task.counts) == (f"a class for each {place}", f"{place}s")
    assert task.measures[1].title == f"{place} accuracy"
    said = np.random.default_rng(0).integers(0, 3, (3, *takes.space))
    samples = [(f"{k}.npz[0]", np.ones(takes.sizes, np.float32) * k, mask) for k, mask in enumerate(said)]
    figure = draw_answers(samples, task, takes, map_of(3, *takes.space))
    assert overhang(figure) < 0.01 and {"input", "predicted", "laying"} <= set(words(figure))


def test_the_masks_of_signals_fit_a_table_and_those_of_volumes_do_not(tmp_path):
    signal, volume = map_of(3, 4), map_of(3, 2, 3, 4)
    task = decided_task("ce", map_of(1, 4), signal, NAMES)
    check_out(tmp_path / "a.csv", task, signal)
    table = table_of(task, [("a.csv", 0)], np.array([[0, 0, 2, 1]])).splitlines()
    assert table[0] == "file,row,step_0,step_1,step_2,step_3" and table[1].startswith("a.csv,0,walking,walking,laying,")
    with pytest.raises(UserError, match="masks do not fit a table") as error:
        check_out(tmp_path / "a.csv", decided_task("ce", map_of(1, 2, 3, 4), volume, NAMES), volume)
    assert error.value.help == "use `--out FILE.npz`"
    with pytest.raises(UserError, match="only masks and pictures go to a folder"):
        check_out(tmp_path / "a", task, signal)


def test_what_a_network_gives_again_is_drawn_for_each_kind_of_map():
    for takes in (map_of(2, 30), map_of(1, 4, 5, 6)):
        task = decided_task("mse", takes, takes, ())
        assert task.plots == ("reconstructions",)
        samples = [("a", np.ones(takes.sizes, np.float32), np.zeros(takes.sizes, np.float32))]
        assert {"input", "output"} <= set(words(draw_answers(samples, task, takes, takes)))
