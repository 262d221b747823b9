"""What is shown of a run, as numbers, against NumPy and scikit-learn."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from netdsl.ground.diagnostics import UserError
from netdsl.pipeline import compile_text
from netdsl.training.data.dataset import Dataset
from netdsl.training.drawing import tiles
from netdsl.training.pictures import inspection, sensitivity
from netdsl.training.runs.history import Epoch, History
from netdsl.training.runs.views import RunView
from netdsl.training.scores.evaluation import evaluate

NET = "input 1x8x8\nconv 4 k3 p1 -> relu -> pool 2 -> conv 6 k3 -> relu -> flatten -> linear 12 -> relu -> linear 5"


def view_of(text=NET, classes=5, colours=1, seed=0, samples=40):
    net, rng = compile_text(text), np.random.default_rng(seed)
    x = rng.integers(0, 256, (samples, *net.graph.input_shape), np.uint8)
    y = rng.integers(0, classes, samples)
    names = tuple(f"class {k}" for k in range(classes))
    data = Dataset("drawn", x, y, x[::-1], y[::-1], names, (0.5,) * colours, (0.25,) * colours)
    return RunView(None, net, net.build(seed=3), data, History(()), "last")


@pytest.fixture(scope="module")
def view():
    return view_of()


def row(epoch, val_loss, val_accuracy):
    return Epoch(epoch, 1.0, None, val_loss, val_accuracy, 0.1, 1.0, 1.0)


def test_the_best_epoch_has_the_highest_accuracy_then_the_lowest_loss_then_comes_first():
    rows = (row(1, 0.5, 0.8), row(2, 0.4, 0.9), row(3, 0.3, 0.9), row(4, 0.3, 0.9))
    assert History(rows).best.epoch == 3
    assert History((row(1, 3.0, None), row(2, 2.0, None), row(3, 2.5, None))).best.epoch == 2
    assert History((row(1, None, None),)).best is None


def test_confusion_is_that_of_scikit_learn_and_of_evaluation(view):
    metrics = pytest.importorskip("sklearn.metrics")
    found = inspection.answers(view)
    confusion = inspection.confusion(found, view.dataset.classes)
    labels = range(5)
    assert np.array_equal(confusion.counts, metrics.confusion_matrix(view.dataset.y_test, found.said, labels=labels))
    assert_allclose(
        confusion.shares, metrics.confusion_matrix(found.labels, found.said, normalize="true", labels=labels)
    )
    assert_allclose(confusion.class_accuracy, metrics.recall_score(found.labels, found.said, average=None))
    scores = evaluate(view.model, view.dataset, view.dataset.x_test, view.dataset.y_test, view.task)
    assert np.array_equal(confusion.counts, scores.confusion) and confusion.accuracy == scores.accuracy


def test_a_class_without_samples_has_no_accuracy():
    confusion = inspection.Confusion(np.array([[3, 1, 0], [0, 0, 0], [0, 2, 2]]), ("a", "b", "c"))
    assert_allclose(confusion.class_accuracy, [0.75, np.nan, 0.5])


def test_mistakes_are_the_wrong_samples_the_surest_first(view):
    found = inspection.answers(view)
    worst = inspection.mistakes(found, 7)
    assert len(worst) == 7 and [m.probability for m in worst] == sorted((m.probability for m in worst), reverse=True)
    wrong = {i: found.p[i].max() for i in range(40) if found.p[i].argmax() != view.dataset.y_test[i]}
    assert {m.sample for m in worst} == set(sorted(wrong, key=lambda i: -wrong[i])[:7])
    assert all(m.label == view.dataset.y_test[m.sample] and m.said == found.p[m.sample].argmax() for m in worst)


def test_answers_about_some_samples_are_those_rows_of_all(view):
    rows = inspection.fixed_samples(40, 6, seed=1)
    some, every = inspection.answers(view, rows), inspection.answers(view)
    assert np.array_equal(some.labels, every.labels[rows])
    assert_allclose(some.p, every.p[rows], rtol=1e-5)  # float32 sums in another order


def test_fixed_samples_are_the_same_for_a_seed_and_never_repeat():
    a, b, c = (inspection.fixed_samples(50, 8, seed) for seed in (1, 1, 2))
    assert np.array_equal(a, b) and not np.array_equal(a, c) and len(set(a.tolist())) == 8
    assert sorted(inspection.fixed_samples(3, 8, 0)) == [0, 1, 2]


def test_statistics_are_those_of_plain_numpy():
    """A net whose layers can be computed in two lines."""
    view = view_of("input 6\nlinear 7 -> relu -> linear 3\ntrain {\n  batch 16\n}", classes=3)
    statistics = {s.name: s for s in inspection.layer_statistics(view)}
    rows = np.random.default_rng([0, inspection.STATISTICS]).permutation(40)[:16]
    x, y = view.dataset.normalized(view.dataset.x_train[rows]).astype(float), view.dataset.y_train[rows]
    params = {name: array.astype(float) for name, array in view.model.params.items()}
    h = x @ params["linear1.weight"].T + params["linear1.bias"]
    a = np.maximum(h, 0)
    logits = a @ params["linear2.weight"].T + params["linear2.bias"]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    dlogits = (p - np.eye(3)[y]) / 16
    close = {"rtol": 1e-4, "atol": 1e-6}  # the network computes in float32
    assert_allclose([statistics["linear1"].mean, statistics["linear1"].std], [h.mean(), h.std()], **close)
    assert_allclose([statistics["relu1"].mean, statistics["relu1"].std], [a.mean(), a.std()], **close)
    assert statistics["relu1"].zeros == (h <= 0).mean() and statistics["linear1"].zeros == 0
    assert statistics["relu1"].dead == (h <= 0).all(axis=0).mean()
    grads = np.concatenate([(dlogits.T @ a).ravel(), dlogits.sum(axis=0)])
    weights = np.concatenate([params["linear2.weight"].ravel(), params["linear2.bias"]])
    assert_allclose(statistics["linear2"].ratio, np.linalg.norm(grads) / np.linalg.norm(weights), **close)
    assert statistics["relu1"].ratio is None


def test_dead_channels_are_found():
    view = view_of()
    view.model.params["conv1.bias"][[0, 2]] = -1e3
    statistics = {s.name: s for s in inspection.layer_statistics(view)}
    assert statistics["relu1"].dead == 0.5 and statistics["relu1"].zeros > 0.5 and statistics["conv1"].dead == 0


def test_looking_changes_neither_params_nor_buffers():
    view = view_of("input 1x8x8\nconv 4 k3 -> bn -> relu -> dropout 0.5 -> flatten -> linear 5")
    before = {name: a.copy() for name, a in {**view.model.params, **view.model.buffers}.items()}
    assert inspection.layer_statistics(view) == inspection.layer_statistics(view)
    x, _ = inspection.subject(view, 0, None)
    inspection.feature_maps(view, x)
    sensitivity.effective_fields(view, sensitivity.receptive_fields(view.net.graph))
    assert all(np.array_equal(before[n], a) for n, a in {**view.model.params, **view.model.buffers}.items())


def test_an_effective_field_is_the_mean_of_absolute_gradients_and_stays_in_the_theoretical_one(view):
    fields = sensitivity.receptive_fields(view.net.graph)
    assert [field.name for _, field in fields] == ["conv1", "pool1", "conv2"]
    conv1, _, conv2 = sensitivity.effective_fields(view, fields)
    (top, bottom), (left, right) = conv1.field.spans
    kernel = np.abs(view.model.params["conv1.weight"].sum(axis=(0, 1)))  # the gradient of a sum over channels
    assert_allclose(conv1.heat[top : bottom + 1, left : right + 1], kernel / kernel.max(), rtol=1e-5)
    outside = np.ones((8, 8), bool)
    (top, bottom), (left, right) = conv2.field.spans
    outside[top : bottom + 1, left : right + 1] = False
    assert conv2.heat.max() == 1 and not conv2.heat[outside].any()


def test_feature_maps_are_the_layers_output_and_by_default_that_of_the_first_block(view):
    x, picture = inspection.subject(view, 5, None)
    found = inspection.feature_maps(view, x)
    assert found.name == "relu1" and found.maps.shape == (4, 8, 8) and picture.shape == (8, 8)
    view.model.forward(view.dataset.normalized(view.dataset.x_test[5:6]))
    assert np.array_equal(found.maps, view.model.layer("relu1").output[0])
    assert inspection.feature_maps(view, x, "conv2").maps.shape == (6, 2, 2)


def test_an_unknown_layer_and_a_sample_that_does_not_exist_are_user_errors(view):
    x, _ = inspection.subject(view, 0, None)
    with pytest.raises(UserError, match="`conv3` is no layer that gives maps") as error:
        inspection.feature_maps(view, x, "conv3")
    assert "did you mean `conv2`?" in error.value.help
    with pytest.raises(UserError, match="`linear1` is no layer that gives maps"):
        inspection.feature_maps(view, x, "linear1")
    with pytest.raises(UserError, match="there is no test sample 40"):
        inspection.subject(view, 40, None)


def test_the_first_filters_are_those_of_a_convolution_or_the_weights_of_every_pixel(view):
    filters = inspection.first_filters(view)
    assert filters.name == "conv1" and np.array_equal(filters.weights, view.model.params["conv1.weight"])
    linear = view_of("input 1x8x8\nflatten -> linear 5")
    assert inspection.first_filters(linear).weights.shape == (5, 1, 8, 8)
    assert inspection.first_filters(view_of("input 1x8x8\nconv 3 k1 -> flatten -> linear 5")) is None
    assert inspection.first_filters(view_of("input 6\nlinear 5")) is None


def test_a_montage_has_each_tile_at_its_place():
    drawn = np.arange(5 * 2 * 3).reshape(5, 2, 3).astype(float)
    whole = tiles.montage(drawn, columns=2, gap=1)
    assert whole.shape == (8, 7)
    assert np.array_equal(whole[3:5, 4:7], drawn[3]) and np.array_equal(whole[6:8, 0:3], drawn[4])
    assert np.isnan(whole[2]).all() and np.isnan(whole[:, 3]).all() and np.isnan(whole[6:, 4:]).all()
    assert np.array_equal(tiles.enlarged(drawn, least=5)[1, ::2, ::2], drawn[1])


def test_pictures_are_between_0_and_1_with_colours_last():
    x = np.arange(2 * 3 * 2 * 2, dtype=np.uint8).reshape(2, 3, 2, 2)
    assert_allclose(tiles.pictures(x)[1, 0, 1], x[1, :, 0, 1] / 255, rtol=1e-6)
    stretched = tiles.pictures(x[:, :1].astype(np.float32) * 4 - 7)
    assert stretched.shape == (2, 2, 2) and stretched.min() == 0 and stretched.max() == 1
    colours = tiles.as_colours(np.random.default_rng(0).normal(size=(4, 3, 5, 5)))
    assert_allclose(colours.min(axis=(1, 2, 3)), 0) and assert_allclose(colours.max(axis=(1, 2, 3)), 1)
