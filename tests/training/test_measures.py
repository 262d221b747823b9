"""Measures of predictions are scikit-learn's, whatever the batches they were counted in."""

import numpy as np
import pytest
from sklearn import metrics

from netdsl.kernels.stable import sigmoid, softmax
from netdsl.training.scores.measures import ClassTally, NumberTally, intersection_over_union, roc_curve

RNG = np.random.default_rng(0)
ROUNDING = 1e-12  # float64 sums in another order


def filled(tally, outputs, targets, sizes=(1, 7, 100, 13)):
    """The tally after batches of these sizes, and the rest."""
    for piece in np.split(np.arange(len(outputs)), np.cumsum(sizes)):
        if len(piece):
            tally.add(outputs[piece], targets[piece])
    return tally


@pytest.mark.parametrize("classes", [3, 6, 10])
def test_several_classes(classes):
    logits = RNG.normal(size=(300, classes)).astype(np.float32)
    labels = RNG.integers(0, classes, 300)
    logits[np.arange(300), labels] += RNG.normal(1, 1, 300).astype(np.float32)
    found, said = filled(ClassTally(classes, ranks=classes > 5), logits, labels).values(), logits.argmax(axis=1)
    assert found["accuracy"] == metrics.accuracy_score(labels, said)
    assert found["f1"] == pytest.approx(metrics.f1_score(labels, said, average="macro"), rel=ROUNDING)
    if classes > 5:
        p = softmax(logits.astype(np.float64), 1)
        assert found["top5"] == metrics.top_k_accuracy_score(labels, p, k=5, labels=np.arange(classes))


def test_a_class_that_is_neither_there_nor_said_does_not_count_in_means():
    labels, said = np.array([0, 0, 2, 2]), np.array([0, 2, 2, 0])
    found = filled(ClassTally(7, False), np.eye(7)[said], labels, sizes=()).values()
    assert found["f1"] == pytest.approx(metrics.f1_score(labels, said, average="macro"), rel=ROUNDING)
    assert found["miou"] == pytest.approx(metrics.jaccard_score(labels, said, average="macro"), rel=ROUNDING)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("ties", [False, True])
def test_two_classes(outputs, ties):
    logits = RNG.normal(size=(500, outputs)).astype(np.float32)
    logits = np.round(logits, 1) if ties else logits
    labels = (RNG.random(500) < 0.3).astype(np.int64)
    logits[:, -1] += labels
    tally = filled(ClassTally(2, True), logits, labels)
    roc = tally.roc()
    found, margin = tally.values(roc), logits[:, 0] if outputs == 1 else logits[:, 1] - logits[:, 0]
    said = (margin > 0).astype(int)
    assert found["accuracy"] == metrics.accuracy_score(labels, said)
    assert found["precision"] == pytest.approx(metrics.precision_score(labels, said), rel=ROUNDING)
    assert found["recall"] == pytest.approx(metrics.recall_score(labels, said), rel=ROUNDING)
    assert found["f1"] == pytest.approx(metrics.f1_score(labels, said), rel=ROUNDING)
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(labels, margin), rel=ROUNDING)
    false, true, _ = metrics.roc_curve(labels, margin, drop_intermediate=False)
    np.testing.assert_allclose(roc.false_positives, false, atol=ROUNDING)
    np.testing.assert_allclose(roc.true_positives, true, atol=ROUNDING)


def test_where_nothing_was_said_or_a_class_is_missing_there_is_no_failure():
    tally = filled(ClassTally(2, True), np.full((20, 1), -1.0), np.ones(20, np.int64))
    found = tally.values(tally.roc())
    assert (found["precision"], found["recall"], found["f1"], found["auc"]) == (0, 0, 0, None)
    assert roc_curve(np.arange(3.0), np.zeros(3, np.int64)) is None


@pytest.mark.parametrize("outputs", [1, 2, 4])
def test_masks(outputs):
    classes = max(2, outputs)
    logits, masks = RNG.normal(size=(150, outputs, 5, 4)), RNG.integers(0, classes, (150, 5, 4))
    tally = filled(ClassTally(classes, False), logits, masks)
    said = logits.argmax(axis=1) if outputs > 1 else (logits[:, 0] > 0).astype(int)
    found, (true, flat) = tally.values(), (masks.ravel(), said.ravel())
    assert found["accuracy"] == metrics.accuracy_score(true, flat)
    assert found["miou"] == pytest.approx(metrics.jaccard_score(true, flat, average="macro"), rel=ROUNDING)
    each = metrics.jaccard_score(true, flat, average=None)
    np.testing.assert_allclose(intersection_over_union(tally.confusion), each, rtol=ROUNDING)


@pytest.mark.parametrize("far", [0.0, 1e6])
@pytest.mark.parametrize("outputs", [1, 3])
def test_numbers(outputs, far):
    targets = RNG.normal(far, 1, size=(300, outputs))
    predicted = targets + RNG.normal(0, 0.3, size=targets.shape)
    found = filled(NumberTally(False), predicted, targets).values()
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(targets, predicted), rel=1e-9)
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(targets, predicted), rel=1e-9)
    assert found["r2"] == pytest.approx(metrics.r2_score(targets, predicted), rel=1e-9)  # 1e6 beside 1: ten digits left


def test_maps_are_numbers_of_each_channel_and_bce_gives_shares():
    targets, logits = RNG.random((40, 2, 3, 3)), RNG.normal(size=(40, 2, 3, 3))
    found = filled(NumberTally(True), logits, targets).values()
    rows, shares = (a.transpose(0, 2, 3, 1).reshape(-1, 2) for a in (targets, sigmoid(logits)))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(rows, shares), rel=ROUNDING)
    assert found["r2"] == pytest.approx(metrics.r2_score(rows, shares), rel=1e-9)


@pytest.mark.parametrize("error", [0.0, 1.0])
def test_constant_targets(error):
    targets = np.full((10, 1), 0.1)
    found = filled(NumberTally(False), targets + error, targets, sizes=(3,)).values()
    assert found["r2"] == metrics.r2_score(targets, targets + error)


def test_one_sample_has_no_r2():
    assert filled(NumberTally(False), np.ones((1, 1)), np.zeros((1, 1)), sizes=()).values()["r2"] is None
