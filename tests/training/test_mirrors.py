"""Test-time flips: means over a sample and its mirror images, of every task, and what is said about them."""

import json

import numpy as np
import pytest
from PIL import Image

from netdsl.cli import run as netdsl
from netdsl.ground.diagnostics import UserError
from netdsl.pipeline import compile_text
from netdsl.training.data.dataset import Dataset
from netdsl.training.scores.evaluation import answers_of, evaluate, probabilities, task_of
from netdsl.training.scores.mirrors import Mirrored, mirrored, note_on

RNG = np.random.default_rng(0)
OF_CLASSES = {
    "logits": "flatten -> linear 3",
    "softmax": "flatten -> linear 3 -> softmax",
    "logsoftmax": "flatten -> linear 3 -> logsoftmax\ntrain { loss nll }",
    "yes or no": "flatten -> linear 1\ntrain { loss bce }",
    "yes or no, sigmoid": "flatten -> linear 1 -> sigmoid\ntrain { loss bce }",
    "one-hot": "flatten -> linear 3 -> softmax\ntrain { loss mse }",
}


def made(text, given="2x5x4"):
    """The net of a text, its model, and samples."""
    net = compile_text(f"input {given}\n{text}\n")
    return net, net.model("numpy"), RNG.normal(size=(9, *net.graph.input_shape)).astype(np.float32)


def data_of(net, x, y, classes=("a", "b", "c")):
    return Dataset("made", x, y, x, y, classes, (0.0,), (1.0,), layout=net.graph.input_type.layout)


# ------------------------------------------------------------------------------------------------- means


@pytest.mark.parametrize("text", OF_CLASSES.values(), ids=OF_CLASSES)
def test_probabilities_are_the_mean_of_both_views_and_so_is_the_loss(text):
    net, model, x = made(text)
    p = probabilities(net, model, x)
    both = (p.copy() + probabilities(net, model, np.ascontiguousarray(x[..., ::-1]))) / 2
    seen = mirrored(net, model)
    np.testing.assert_allclose(probabilities(net, seen, x), both, rtol=0, atol=1e-6)
    assert np.abs(both - p).max() > 1e-3
    y = RNG.integers(0, both.shape[1], len(x))
    data = data_of(net, x, y, ("a", "b", "c")[: both.shape[1]])
    scores = evaluate(seen, data, x, y, task_of(net, data))
    assert scores.accuracy == np.mean(both.argmax(axis=1) == y)
    if net.recipe.loss != "mse":
        np.testing.assert_allclose(scores.loss, -np.log(both[np.arange(9), y]).mean(), rtol=1e-5)


def test_masks_are_mirrored_back_before_their_mean():
    net, model, x = made("conv 3 k3 p1")
    raw = [model.logits(x).copy(), np.flip(model.logits(np.ascontiguousarray(x[..., ::-1])), -1).copy()]
    p = sum(np.exp(y) / np.exp(y).sum(axis=1, keepdims=True) for y in raw) / 2
    seen, y = mirrored(net, model), RNG.integers(0, 3, (9, 5, 4))
    np.testing.assert_allclose(np.exp(seen.logits(x)), p, rtol=0, atol=1e-6)
    data = data_of(net, x, y)
    said = np.stack(list(answers_of(net, seen, task_of(net, data), x)))
    assert np.array_equal(said, p.argmax(axis=1))
    assert evaluate(seen, data, x, y, task_of(net, data)).accuracy == np.mean(said == y)


@pytest.mark.parametrize("text", ["conv 2 k3 p1\ntrain { loss mse }", "conv 2 k3 p1\ntrain { loss bce }"])
def test_an_image_and_its_mirror_image_get_answers_that_mirror_each_other(text):
    net, model, x = made(text)
    seen, task = mirrored(net, model), task_of(net, data_of(net, x, x, ()))
    one = np.stack(list(answers_of(net, seen, task, x)))
    other = np.stack(list(answers_of(net, seen, task, np.ascontiguousarray(x[..., ::-1]))))
    np.testing.assert_allclose(one, other[..., ::-1], rtol=0, atol=1e-6)
    assert np.abs(one - np.stack(list(answers_of(net, model, task, x)))).max() > 1e-3


def test_numbers_are_means():
    net, model, x = made("flatten -> linear 4\ntrain { loss mse }")
    expected = (model.logits(x).copy() + model.logits(np.ascontiguousarray(x[..., ::-1]))) / 2
    np.testing.assert_allclose(mirrored(net, model).logits(x), expected, rtol=0, atol=1e-6)


def test_all_mirror_images_of_training_are_seen():
    for augment, views in (
        ("augment flip", {(), (-1,)}),
        ("augment vflip", {(), (-2,)}),
        ("augment flip vflip", {(), (-1,), (-2,), (-1, -2)}),
        ("augment shift=1", {(), (-1,)}),
    ):
        net, model, x = made(f"flatten -> linear 3\ntrain {{ {augment} }}")
        seen = mirrored(net, model)
        assert set(seen.views) == views and len(seen.views) == len(views)
        expected = sum(probabilities(net, model, np.flip(x, axes).copy()) for axes in views) / len(views)
        np.testing.assert_allclose(probabilities(net, seen, x), expected, rtol=0, atol=1e-6)
    assert seen.described == "mean of each image and its mirror image"
    assert Mirrored(model, net, ((), (-1,), (-2,), (-1, -2))).described == "mean of each image and its 3 mirror images"


class Loud:
    """A model that is as sure of one view as floats can be, and of the other one of the opposite."""

    def logits(self, x):
        return np.where(x[:, :2, 0, 0] > 0, np.float32(3e38), np.float32(-3e38))

    forward = logits

    def loss(self, logits, target):
        return 0.0, logits


@pytest.mark.parametrize("text", ["flatten -> linear 2", "flatten -> linear 2\ntrain { loss bce }"])
def test_logits_of_any_size_have_a_mean(text):
    net, _, _ = made(text)
    x = np.zeros((2, 2, 5, 4), np.float32)
    x[0, 0, 0, 0] = x[0, 1, 0, 3] = x[1, :, 0, 0] = 1
    with np.errstate(over="ignore"):  # as scores do
        logits = mirrored(net, Loud()).logits(x)
    assert not np.isnan(logits).any() and logits.dtype == np.float32
    assert logits[0, 0] == logits[0, 1]  # half and half


# ------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "given, text, message",
    [
        ("4", "linear 2", "`--flips` mirrors images, but the network takes 4"),
        ("6x4", "linear 3", "`--flips` mirrors images, but the network takes 6x4"),
        ("2x9 map", "conv 2 -> gap", "mirrors signals where training did, but this run had no `augment flip`"),
        ("1x4x4x4", "conv 2 -> gap", "mirrors volumes where training did, but this run had no `augment flip`"),
        ("2x4x4", "tokens -> linear 2", "`--flips` cannot mirror back what the network gives, 16x2, for 2x4x4"),
    ],
)  # fmt: skip
def test_flips_are_refused_where_they_mean_nothing(given, text, message):
    net, model, _ = made(text, given)
    with pytest.raises(UserError) as error:
        mirrored(net, model)
    assert message in error.value.message and "`--flips`" in error.value.help


def test_signals_are_mirrored_in_time_where_training_did():
    net, model, x = made("conv 3 k3 p1 -> gap\ntrain { augment flip }", "2x9 map")
    seen = mirrored(net, model)
    assert seen.described == "mean of each signal and its mirror image" and note_on(net) is None
    expected = (probabilities(net, model, x) + probabilities(net, model, x[..., ::-1].copy())) / 2
    np.testing.assert_allclose(probabilities(net, seen, x), expected, rtol=0, atol=1e-6)


# ------------------------------------------------------------------------------------------------- the commands


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a run that learned from flipped images, and one that did not."""
    monkeypatch.chdir(tmp_path)
    for name, augment in (("with", "flip"), ("without", "none")):
        (tmp_path / "small.net").write_text("input 1x28x28\nconv 2 k5 s3 -> relu -> flatten -> linear 10\n")
        line = ["train", "small.net", "-q", "--no-plots", "--limit", "60", "--epochs", "1", "-O", "0", "--out", name]
        assert netdsl([*line, "--augment", augment]) == 0
    return tmp_path


def test_eval_and_predict_say_that_they_mirror(here, capfd):
    assert netdsl(["eval", "with"]) == 0 and netdsl(["eval", "with", "--flips"]) == 0
    out, err = capfd.readouterr()
    first, second = (line for line in out.splitlines() if line.startswith("60 test"))
    assert ", best checkpoint: loss" in first and "flips" not in err
    assert ", best checkpoint, mean of each image and its mirror image: loss" in second
    assert netdsl(["eval", "without", "--flips", "--json"]) == 0
    out, err = capfd.readouterr()
    seen = json.loads(out)
    assert seen["flips"] == 2
    assert "note: training mirrored nothing (`augment flip`): the network may not know the mirror images" in err
    assert netdsl(["eval", "without", "--json"]) == 0
    alone = json.loads(capfd.readouterr().out)
    assert "flips" not in alone and alone["loss"] != seen["loss"] and alone["samples"] == seen["samples"]


def test_a_picture_and_its_mirror_image_get_one_answer(here, capfd):
    pixels = RNG.integers(0, 256, (28, 28), dtype=np.uint8)
    for name, image in (("a.png", pixels), ("b.png", pixels[:, ::-1])):
        Image.fromarray(image).save(name)
    answers = {}
    for flag in ((), ("--flips",)):
        assert netdsl(["predict", "with", "a.png", "b.png", "--no-invert", "--json", *flag]) == 0
        out, err = capfd.readouterr()
        answers[flag] = [json.loads(line)["top"] for line in out.splitlines()]
        assert ("note: an answer is the mean of each image and its mirror image" in err) == bool(flag)
    assert answers["--flips",][0] == answers["--flips",][1] and answers[()][0] != answers[()][1]
