"""Losses over tokens: a label for each, the classes last, the mean over all of them; PyTorch has the same."""

import numpy as np
import pytest

from netdsl.kernels.losses import cross_entropy, of_tokens
from netdsl.pipeline import compile_text

SPEC = "input 6x4\nlinear 5{last}\ntrain {{ loss {loss} }}"


LOSSES = [
    *("ce", "nll", "ce smooth=0.1", "ce weights=(1, 2, 1, 3, 0.5)", "nll weights=(1, 2, 1, 3, 1)"),
    *("ce ignore=2", "nll ignore=0", "ce smooth=0.1 ignore=4", "ce ignore=1 weights=(1, 2, 1, 3, 0.5)"),
]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_loss_of_tokens_is_pytorchs(loss, dtype):
    torch = pytest.importorskip("torch")
    running = pytest.importorskip("netdsl.targets.torch.running")
    net = compile_text(SPEC.format(last=" -> logsoftmax" if "nll" in loss else "", loss=loss))
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((3, 6, 5)).astype(dtype), rng.integers(0, 5, (3, 6))
    given = torch.from_numpy(logits.copy()).requires_grad_()
    expected = running.torch_loss(net, given, labels)
    expected.backward()
    for model in (
        net.build(dtype=dtype),
        net.numpy_model(dtype=dtype),
        net.numpy_model(dtype=dtype, level=2, workers=1),
    ):
        value, gradient = model.loss(logits, labels)
        np.testing.assert_allclose(value, expected.item(), rtol=1e-6)
        np.testing.assert_allclose(gradient, given.grad.numpy(), rtol=1e-5, atol=1e-8)
        assert gradient.dtype == dtype
        model.close() if hasattr(model, "close") else None


@pytest.mark.parametrize("options", ["weights=(1, 9, 1, 3, 0.5)", "ignore=1", "ignore=3 weights=(1, 9, 1, 3, 0.5)"])
def test_the_parts_of_a_batch_weigh_as_their_labels_do(options):
    net = compile_text(f"input 6x4\nlinear 5\ntrain {{ loss ce {options} }}")
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((7, 6, 4)), rng.integers(0, 5, (7, 6))
    y[:2] = 1  # a block, of which nothing counts where 1 is ignored
    slow, fast = net.numpy_model(dtype="float64"), net.numpy_model(dtype="float64", level=2, workers=2)
    fast.block = 2
    for name, array in slow.params.items():
        fast.params[name][...] = array
    (loss, grads), (other, others) = slow.loss_and_gradients(x, y), fast.loss_and_gradients(x, y)
    np.testing.assert_allclose(other, loss, rtol=1e-12)
    for name, grad in grads.items():
        np.testing.assert_allclose(others[name], grad, rtol=1e-9, atol=1e-12)
    fast.close()


def test_tokens_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"labels of the shape \(2, 4\) for outputs of the shape \(2, 3, 5\)"):
        of_tokens(cross_entropy, np.zeros((2, 3, 5)), np.zeros((2, 4), int))


@pytest.mark.parametrize("level", [0, 2])
def test_a_network_predicts_a_class_for_each_token(level):
    net = compile_text("input 6 of 5\nembed 4 -> linear 3")
    model, x = net.numpy_model(level=level), np.random.default_rng(0).integers(0, 5, (9, 6))
    chosen = model.predict(x, batch=4)
    assert chosen.shape == (9, 6) and (chosen == model.logits(x).argmax(axis=2)).all()
    assert (net.build().predict(x) == chosen).all()
    labels = chosen.copy()
    labels[0, 0] = (labels[0, 0] + 1) % 3
    assert model.score(x, labels) == pytest.approx(1 - 1 / labels.size)
    model.close() if level else None


@pytest.mark.parametrize("loss", ["ce", "nll"])
def test_where_nothing_counts_the_loss_is_nothing(loss):
    torch = pytest.importorskip("torch")
    running = pytest.importorskip("netdsl.targets.torch.running")
    net = compile_text(f"input 6x4\nlinear 5 -> logsoftmax\ntrain {{ loss {loss} ignore=3 }}")
    labels, logits = np.full((2, 6), 3), np.random.default_rng(0).standard_normal((2, 6, 5))
    for model in (net.build(dtype="float64"), net.numpy_model(dtype="float64", level=2, workers=2)):
        value, gradient = model.loss(logits, labels)
        assert value == 0 and not gradient.any() and gradient.shape == logits.shape
    assert model.train_step(np.ones((2, 6, 4)), labels) == 0
    model.close()
    assert running.torch_loss(net, torch.from_numpy(logits), labels).item() == 0


def test_labels_beside_the_ignored_one_are_looked_at():
    net = compile_text("input 2x4\nlinear 3\ntrain { loss ce ignore=9 }")
    logits = np.zeros((1, 2, 3))
    assert net.build().loss(logits, np.array([[9, 1]]))[0] == pytest.approx(np.log(3))
    with pytest.raises(ValueError, match="labels must lie in 0 to 2"):
        net.build().loss(logits, np.array([[8, 1]]))
