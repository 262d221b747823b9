"""Losses against PyTorch, at the edges, and with labels that do not exist."""

import numpy as np
import pytest

from netdsl.kernels.losses import bce, cross_entropy, mse, nll, soft_cross_entropy, weighted_nll


@pytest.mark.parametrize("shape", [(4, 3), (1, 2), (2, 5, 3, 4), (2, 5, 7), (2, 3, 2, 4, 3)])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_cross_entropy_and_its_gradient_equal_pytorch(shape, scale):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    logits = scale * rng.standard_normal(shape)
    labels = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    loss, dlogits = cross_entropy(logits, labels)
    tensor = torch.from_numpy(logits).requires_grad_()
    expected = torch.nn.functional.cross_entropy(tensor, torch.from_numpy(labels))
    expected.backward()
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-12)
    np.testing.assert_allclose(dlogits, tensor.grad.numpy(), rtol=1e-10, atol=1e-15)


def test_float32_stays_float32():
    logits, labels = np.zeros((2, 3), np.float32), np.array([0, 2])
    pairs = [(cross_entropy, labels), (nll, labels), (mse, labels), (bce, np.ones((2, 3)))]
    for loss, target in pairs:
        value, gradient = loss(logits, target)
        assert (value.dtype, gradient.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize("labels", [[-1, 0], [0, 3], [0.0, 1.0], []])
@pytest.mark.parametrize("loss", [cross_entropy, nll])
def test_labels_that_do_not_exist_are_refused(loss, labels):
    with pytest.raises(ValueError, match="labels must"):
        loss(np.zeros((len(labels), 3)), np.array(labels, dtype=None if labels else np.int64))


def test_mse_takes_labels_as_one_hot_rows():
    y = np.random.default_rng(0).standard_normal((4, 3))
    by_label, by_row = mse(y, np.array([0, 2, 1, 1])), mse(y, np.eye(3)[[0, 2, 1, 1]])
    assert by_label[0] == by_row[0]
    assert np.array_equal(by_label[1], by_row[1])


def test_mse_refuses_targets_of_another_shape():
    with pytest.raises(ValueError, match="targets have the shape"):
        mse(np.zeros((4, 1)), np.zeros(4))


@pytest.mark.parametrize("shape", [(4, 3), (5, 1), (2, 1, 3, 4), (2, 5, 3), (2, 1, 2, 3, 4)])
@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
def test_bce_and_its_gradient_equal_pytorch(shape, scale):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    logits, soft = scale * rng.standard_normal(shape), rng.random(shape)
    for target in (soft, (soft > 0.5).astype(np.float64)):
        loss, dlogits = bce(logits, target)
        tensor = torch.from_numpy(logits).requires_grad_()
        expected = torch.nn.functional.binary_cross_entropy_with_logits(tensor, torch.from_numpy(target))
        expected.backward()
        np.testing.assert_allclose(loss, expected.item(), rtol=1e-12)
        np.testing.assert_allclose(dlogits, tensor.grad.numpy(), rtol=1e-10, atol=1e-15)


def test_bce_keeps_its_precision_where_the_network_is_sure():
    for logit, label in ((40.0, 1), (-40.0, 0)):
        np.testing.assert_allclose(bce(np.array([[logit]]), np.array([label]))[0], np.exp(-40.0), rtol=1e-12)
    with np.errstate(over="raise", invalid="raise"):
        loss, gradient = bce(np.array([[1e4, -1e4]], np.float32), np.array([[0.0, 1.0]], np.float32))
    assert loss == 1e4 and gradient.tolist() == [[0.5, -0.5]]


@pytest.mark.parametrize("shape", [(4, 1), (4, 1, 2, 3), (4, 1, 6), (4, 1, 2, 3, 2)])
def test_bce_takes_labels_for_a_single_output(shape):
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal(shape), rng.integers(0, 2, (4, *shape[2:]))
    by_label, by_target = bce(logits, labels), bce(logits, labels.reshape(shape).astype(np.float64))
    assert by_label[0] == by_target[0]
    assert np.array_equal(by_label[1], by_target[1])


@pytest.mark.parametrize("target", [[[1.5]], [[-0.1]], [[np.nan]], [2], [-1], np.zeros((0, 1))])
def test_bce_refuses_targets_outside_0_to_1(target):
    target = np.array(target)
    with pytest.raises(ValueError, match="targets must lie in 0 to 1"):
        bce(np.zeros((len(target), 1)), target)


def test_bce_refuses_targets_of_another_shape():
    for target in (np.zeros(4), np.zeros((4, 2)), np.zeros((4, 1, 1), np.int64)):
        with pytest.raises(ValueError, match="targets have the shape"):
            bce(np.zeros((4, 1)), target)


@pytest.mark.parametrize("loss", [cross_entropy, nll], ids=lambda loss: loss.__name__)
def test_labels_of_another_shape_are_refused(loss):
    for labels in (np.zeros((2, 1), int), np.zeros(3, int), np.zeros((2, 4), int)):
        with pytest.raises(ValueError, match=r"labels of the shape .* for outputs of the shape \(2, 3\)"):
            loss(np.zeros((2, 3)), labels)


def same_as_pytorch(found, expected, tensor):
    loss, gradient = found
    expected.backward()
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-12)
    scale = np.abs(tensor.grad.numpy()).max()
    np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-12, atol=1e-14 * scale)  # differences of sums


@pytest.mark.parametrize("shape", [(4, 3), (1, 2), (2, 5, 3, 4), (2, 5, 7), (2, 3, 2, 4, 3)])
@pytest.mark.parametrize("smooth", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("kind", ["labels", "probabilities"])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_soft_cross_entropy_and_its_gradient_equal_pytorch(shape, smooth, is_weighted, kind, scale):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    logits, classes = scale * rng.standard_normal(shape), shape[1]
    weights = tuple(0.5 + rng.random(classes)) if is_weighted else None
    target = rng.integers(0, classes, (shape[0], *shape[2:]))
    if kind == "probabilities":
        target = np.moveaxis(rng.dirichlet(np.ones(classes), target.shape), -1, 1)
    tensor = torch.from_numpy(logits).requires_grad_()
    weight = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    expected = torch.nn.functional.cross_entropy(
        tensor, torch.from_numpy(np.ascontiguousarray(target)), weight=weight, label_smoothing=smooth
    )
    same_as_pytorch(soft_cross_entropy(logits, target, smooth, weights), expected, tensor)


@pytest.mark.parametrize("shape", [(4, 3), (2, 5, 3, 4), (2, 5, 7), (2, 3, 2, 4, 3)])
def test_weighted_nll_and_its_gradient_equal_pytorch(shape):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    log_p, weights = -rng.random(shape), tuple(0.5 + rng.random(shape[1]))
    labels = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    tensor = torch.from_numpy(log_p).requires_grad_()
    expected = torch.nn.functional.nll_loss(
        tensor, torch.from_numpy(labels), torch.tensor(weights, dtype=torch.float64)
    )
    same_as_pytorch(weighted_nll(log_p, labels, weights), expected, tensor)


def test_without_options_soft_cross_entropy_is_cross_entropy():
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
    for found, expected in zip(soft_cross_entropy(logits, labels), cross_entropy(logits, labels), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-16)


def test_with_options_float32_stays_float32():
    logits, labels, weights = np.zeros((2, 3), np.float32), np.array([0, 2]), (1.0, 2.0, 3.0)
    found = [soft_cross_entropy(logits, target, 0.1, weights) for target in (labels, np.full((2, 3), 1 / 3))]
    for value, gradient in [*found, weighted_nll(logits, labels, weights)]:
        assert gradient.dtype == np.float32
        assert value.dtype == (np.float32(1) * 1.0).dtype  # one number: NumPy 1 works on those in float64


@pytest.mark.parametrize("labels", [[-1, 0], [0, 3]])
def test_labels_that_do_not_exist_have_no_weight(labels):
    for loss in (soft_cross_entropy, weighted_nll):
        with pytest.raises(ValueError, match="labels must"):
            loss(np.zeros((2, 3)), np.array(labels), weights=(1.0, 2.0, 3.0))


def test_targets_that_are_no_probabilities_are_refused():
    for target in (np.zeros((2, 4)), np.zeros(2), np.zeros((2, 3, 1))):
        with pytest.raises(ValueError, match="probabilities of the shape"):
            soft_cross_entropy(np.zeros((2, 3)), target)
    for target in (np.full((2, 3), -0.1), np.full((2, 3), np.nan), np.zeros((0, 3))):
        with pytest.raises(ValueError, match="probabilities must be at least 0"):
            soft_cross_entropy(np.zeros((len(target), 3)), target)
