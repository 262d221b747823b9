"""The module at -O2 computes what the textbook at -O0 computes, whatever is asked of it and in whatever order."""

import ast
import gc
import os
import re
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from fast_twins import KINDS, batch, near, near_all, twins
from test_hostile_names import NAMES

from netdsl.pipeline import check_text, compile_file, compile_text
from netdsl.targets.fast.dialect import DIALECT
from netdsl.targets.text.gate import gate

ROOT = Path(__file__).resolve().parents[2]
REDUCED = {
    "resnet18": {"3x224x224": "3x48x48"},
    "unet": {"1x256x256": "1x16x16", "unet(64, 4)": "unet(8, 4)"},
    "mobilenet_v2": {"3x224x224": "3x64x64"},
    "googlenet": {"3x224x224": "3x64x64"},
    "squeezenet1_0": {"3x224x224": "3x64x64"},
    "vit_b_16": {"3x224x224": "3x64x64", "768": "24", "3072": "48", "0..12": "0..2", "mha 12": "mha 4"},
}
SPECS = ["lenet", "bn_cnn", "tiny_cnn", "simple_cnn", "spiral_mlp", "resnet20", *REDUCED]
SMALL = """
input 2x9x7
stem: { conv 8 k3 p1 nobias -> bn -> relu -> pool 2 }
res { conv 8 k3 p1 nobias -> bn -> relu -> conv 8 k5 same -> bn } -> relu -> dropout2d 0.25
cat { id | @stem -> conv 4 k1 -> relu } -> pool 3 s2 p1 -> flatten -> linear 12 -> relu -> dropout 0.5 -> linear 4
"""

SIGNAL = """
input 3x23 map
conv 8 k5 p2 -> bn -> relu -> pool 2 -> conv 8 k3 p=8x0 d=4 -> bn -> relu -> conv 8 k3 s2 g8 -> dropout 0.3 -> gap
linear 4
"""
VOLUME = """
input 2x5x7x6
conv 8 k3 p1 -> bn -> relu -> pool 2 -> conv 8 k3 s2 p1 -> relu -> up 8 -> dropout 0.3 -> flatten -> linear 4
"""


def spec(name):
    """The network in specs/, a large one smaller."""
    text = (ROOT / f"specs/{name}.net").read_text(encoding="utf-8")
    for old, new in REDUCED.get(name, {}).items():
        assert old in text
        text = text.replace(old, new)
    return compile_text(re.sub(r"^expect params.*\n", "", text, flags=re.MULTILINE), name)


def both_agree(slow, fast, x, y, tolerance=1e-8, step=0):
    """Inference, training, loss, gradients by both ways, buffers."""
    near(fast.forward(x), slow.forward(x), tolerance, "inference")
    for model in (slow, fast):
        model.rng = np.random.default_rng(step)
    (loss, grads), (found, found_grads) = (model.loss_and_gradients(x, y) for model in (slow, fast))
    near(found, loss, tolerance, "loss")
    near_all(found_grads, grads, tolerance, "gradient of")
    near_all(fast.buffers, slow.buffers, tolerance, "buffer")
    dy = np.random.default_rng(step).standard_normal(slow.logits(x[:2]).shape[1:]).astype(x.dtype)
    dy = dy * np.linspace(-1, 1, len(x)).reshape(-1, *[1] * dy.ndim).astype(x.dtype)
    near(fast.logits(x, training=True), slow.logits(x, training=True), tolerance, "training")
    near_all(fast.backward(dy)[1], slow.backward(dy)[1], tolerance, "gradient, from outside, of")
    near_all(fast.buffers, slow.buffers, tolerance, "buffer")
    near(fast.forward(x, training=True), slow.forward(x, training=True), tolerance, "training, output")
    near(fast.forward(x), slow.forward(x), tolerance, "inference after training")


def check(text, size=5, workers=2, block=2, tolerance=1e-8):
    net = compile_text(text)
    slow, fast = twins(net, workers=workers, block=block)
    both_agree(slow, fast, *batch(net, size), tolerance)
    fast.close()


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow("large published networks")) if n in REDUCED else n for n in SPECS]
)
def test_every_number_of_a_published_network_is_that_of_the_textbook(name):
    net = spec(name)
    slow, fast = twins(net)
    both_agree(slow, fast, *batch(net, 3 if name in REDUCED else 5))
    fast.close()


@pytest.mark.parametrize("name, tolerance", [("lenet", 1e-4), ("bn_cnn", 1e-3), ("simple_cnn", 1e-3)])  # DESIGN, 4
def test_float32_stays_within_its_tolerance(name, tolerance):
    net = spec(name)
    slow, fast = twins(net, "float32", block=16)
    x, y = batch(net, 24, dtype="float32")
    near(fast.forward(x), slow.forward(x), tolerance, "inference", 1e-5)
    (loss, grads), (found, found_grads) = (m.loss_and_gradients(x, y) for m in (slow, fast))
    near(found, loss, tolerance, "loss", 1e-5)
    for name, grad in grads.items():
        near(found_grads[name], grad, 10 * tolerance, name, 1e-5)  # a relu or a maximum that rounding flips
    fast.close()


OPTIMIZERS = ["sgd lr=0.01", "sgd lr=0.01 momentum=0.9", "sgd momentum=0.9 nesterov wd=0.01", "adam lr=0.01 wd=0.01"]
OPTIMIZERS += ["adamw lr=0.01 eps=1e-4", "rmsprop lr=0.01 eps=1e-4", "rmsprop lr=0.01 eps=1e-4 momentum=0.9 wd=0.01"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_params_after_some_steps_are_those_of_the_textbook(optimizer):
    net = compile_text(f"{SMALL}train {{ opt {optimizer} }}")
    slow, fast = twins(net, workers=3)
    for step in range(4):
        x, y = batch(net, 7, step)
        slow.rng, fast.rng = np.random.default_rng(step), np.random.default_rng(step)
        if step < 3:
            near(fast.train_step(x, y), slow.train_step(x, y), 1e-8, "loss")
        else:
            for model in (slow, fast):
                model.update(model.loss_and_gradients(x, y)[1], 0.003)
    near_all(fast.params, slow.params, 1e-8, "param")
    near_all(fast.buffers, slow.buffers, 1e-8, "buffer")
    fast.close()


@pytest.mark.parametrize("kind", KINDS)
def test_workers_without_samples_have_a_part_of_the_optimizer_s_step_if_params_are_many(kind):
    net, params = compile_text(f"{SMALL}train {{ opt adam lr=0.01 }}"), []
    for workers, worth_sharing in ((3, 1), (3, 1 << 18), (1, 1)):
        model = net.numpy_model(seed=0, level=2, workers=workers, kind=kind)
        model.worth_sharing, model.chunk, model.learning_rate = worth_sharing, 100, 0.01
        model.rng = np.random.default_rng(0)
        for step in range(3):
            x, y = batch(net, 2, step, "float32")
            assert np.isfinite(model.train_step(x, y))
        assert model.steps == 3 and model.workers.keys() == {(0, 1)}
        params.append(np.concatenate([param.ravel() for param in model.params.values()]))
        model.close()
    assert params[0].tobytes() == params[1].tobytes() == params[2].tobytes()


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_threads_and_processes_give_the_same_bytes_each_time(workers, seed):
    assert_same_bytes(compile_text(SMALL), workers, seed)


@pytest.mark.parametrize("text", [SIGNAL, VOLUME], ids=["signal", "volume"])
def test_so_they_do_with_signals_and_volumes(text):
    assert_same_bytes(compile_text(text), 2, 0)


def assert_same_bytes(net, workers, seed):
    runs = []
    for kind in ["threads", "threads", *(["processes"] if hasattr(os, "fork") else [])]:
        model = net.numpy_model(seed, level=2, workers=workers, kind=kind)
        model.block = 4
        losses = [float(model.train_step(*batch(net, 13 + step % 2, step, "float32"))) for step in range(5)]
        x, _ = batch(net, 9, 77, "float32")
        arrays = [np.array(losses), *model.params.values(), *model.buffers.values(), model.forward(x)]
        runs.append([array.tobytes() for array in arrays])
        model.close()
    assert all(run == runs[0] for run in runs)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_of_any_size_come_in_any_order(kind):
    net = compile_text(SMALL)
    slow, fast = twins(net, workers=3, kind=kind)
    for step, size in enumerate([6, 3, 2, 6, 300, 1, 7, 8, 9, 10, 11, 12, 13, 6, 2]):
        x, y = batch(net, size, step)
        near(fast.forward(x), slow.forward(x), 1e-8, f"inference of {size}")
        if size > 1:
            for model in (slow, fast):
                model.rng = np.random.default_rng(step)
            step = fast.learn(x, y, 1e-3)
            near(step.loss, slow.train_step(x, y, 1e-3), 1e-8, f"loss of {size}")
            assert step.logits.shape == (size, 4)
        near(fast.forward(x[:1]), slow.forward(x[:1]), 1e-8, "inference of one")
    near_all(fast.params, slow.params, 1e-7, "param")
    fast.close()


@pytest.mark.parametrize("kind", KINDS)
def test_what_users_write_into_params_and_buffers_is_seen_at_once(kind):
    """At inference stages keep transformed weights with the batch norms in them."""
    net = compile_text("input 3x9x9\nconv 8 k3 p1 -> bn momentum=0 -> relu -> conv 8 k5 p2 -> bn -> gap -> linear 3\n")
    slow, fast = twins(net, kind=kind)
    (x, y), (other, _) = batch(net, 6), batch(net, 9, 1)
    kept = {name: array.copy() for name, array in slow.params.items()}
    for name, array in (slow.params | slow.buffers).items():
        for model in (slow, fast):
            (model.params | model.buffers)[name][...] = 1 + np.random.default_rng(1).random(array.shape)
        near(fast.forward(x), slow.forward(x), 1e-8, name)
        near(fast.forward(x), slow.forward(x), 1e-8, f"{name}, again")
    for model in (slow, fast):  # other sizes see it, too, and what is taken back is seen
        for name, array in kept.items():
            model.params[name][...] = array
    near(fast.forward(other), slow.forward(other), 1e-8, "another size")
    near(fast.forward(x), slow.forward(x), 1e-8, "taken back")
    for model in (slow, fast):
        model.params["conv1.weight"][0, 0, 0, 0] += 1
        model.forward(other)
        model.params["conv1.weight"][0, 0, 0, 0] -= 1
    near(fast.forward(x), slow.forward(x), 1e-8, "there and back while another size looked")
    for model in (slow, fast):
        model.params["conv1.weight"][0, 0, 0] = model.params["conv1.weight"][0, 0, 0, ::-1].copy()
    near(fast.forward(x), slow.forward(x), 1e-8, "two that changed places")
    dy = np.random.default_rng(2).standard_normal((len(x), 3))
    for model in (slow, fast):
        model.logits(x, training=True)
        if model is fast:
            model.forward(other)  # transforms weights with batch norms, in the same place
    near_all(fast.backward(dy)[1], slow.backward(dy)[1], 1e-8, "with an inference before, gradient of")
    near(fast.forward(x), slow.forward(x), 1e-8, "after a backward pass")
    for model in (slow, fast):
        model.loss_and_gradients(x, y)  # training transforms weights without batch norms, in the same place
    near(fast.forward(x), slow.forward(x), 1e-8, "after training that changed no param")
    for _ in range(2):
        near(fast.train_step(x, y), slow.train_step(x, y), 1e-8, "loss")
        near(fast.forward(x), slow.forward(x), 1e-8, "between steps")
    fast.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_changes_no_param(kind, value):
    net = compile_text(SMALL + "train { opt adam lr=0.01 }")
    fast = net.numpy_model(0, "float64", level=2, workers=2, kind=kind)
    x, y = batch(net, 8)
    fast.train_step(x, y)
    before = {name: array.tobytes() for name, array in fast.params.items()}
    bad = x.copy()
    bad[5, 0, 0, 0] = value
    buffers = {name: array.copy() for name, array in fast.buffers.items()}
    with np.errstate(all="ignore"):
        assert np.isnan(fast.train_step(bad, y))
    assert before == {name: array.tobytes() for name, array in fast.params.items()}
    for name, array in buffers.items():
        fast.buffers[name][...] = array  # batch norm saw the bad batch, as at -O0
    twin = net.numpy_model(0, "float64", level=2, workers=2, kind=kind)
    twin.train_step(x, y)
    fast.rng, twin.rng = np.random.default_rng(1), np.random.default_rng(1)
    assert fast.train_step(x, y) == twin.train_step(x, y)  # as if the bad batch had not been
    assert all(np.array_equal(array, twin.params[name]) for name, array in fast.params.items())
    fast.close()
    twin.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_batch_raises_and_the_next_one_works(kind):
    net = compile_text(SMALL)
    slow, fast = twins(net, workers=2, kind=kind)
    x, y = batch(net, 6)
    fast.forward(x)
    for bad in (y + 4, y[:5], y.astype(float)):
        with pytest.raises(ValueError, match="labels|targets"):
            fast.train_step(x, bad)
    with pytest.raises(ValueError, match=r"takes \(N, 2, 9, 7\)"):
        fast.train_step(x[:, :1], y)
    for model in (slow, fast):
        for array in model.buffers.values():
            array[...] = 0.5
        model.rng = np.random.default_rng(0)
    near(fast.forward(x), slow.forward(x), 1e-8, "inference")
    near(fast.train_step(x, y), slow.train_step(x, y), 1e-8, "loss")
    near_all(fast.params, slow.params, 1e-8, "param")
    fast.close()


def test_backward_is_for_the_batch_that_logits_saw():
    net = compile_text(SMALL)
    _, fast = twins(net)
    x, y = batch(net, 6)
    z = fast.logits(x, training=True)
    fast.forward(x)  # inference between them changes nothing
    first = fast.backward(np.ones_like(z))[1]
    again = fast.backward(np.ones_like(z))[1]
    assert all(np.array_equal(first[name], again[name]) for name in first)
    with pytest.raises(ValueError, match="6 samples, not 5"):
        fast.backward(np.ones_like(z[:5]))
    fast.train_step(x, y)
    with pytest.raises(ValueError, match="None samples"):
        fast.backward(np.ones_like(z))
    fast.logits(x, training=True)
    for size in range(7, 20):
        fast.forward(batch(net, size)[0])
        fast.logits(batch(net, size)[0], training=True)
    fast.close()


def test_a_model_keeps_what_the_loss_read_and_the_loss_of_the_last_batch():
    net = compile_text("input 1x6x6\nconv 3 k3 -> flatten -> linear 4\ntrain { opt sgd }")
    with closing(net.numpy_model(level=2, workers=2, kind="threads")) as model:
        x, y = np.random.default_rng(0).random((5, 1, 6, 6), np.float32), np.arange(5) % 4
        assert model.train_step(x, y, 0.0) == model.last_loss
        np.testing.assert_array_equal(model.last_logits, model.logits(x, training=True))
        model.train_step(x[:3], y[:3], 0.0)
        assert model.last_logits.shape == (3, 4)


def test_fit_predict_score_outputs_save_and_load(tmp_path):
    net = compile_text(SMALL)
    slow, fast = twins(net, "float32")
    x, y = batch(net, 50, dtype="float32")
    history = [model.fit(x, y, epochs=2, batch=16) for model in (slow, fast)]
    assert np.isfinite(history).all()
    fast.save(tmp_path / "w.safetensors")
    slow.load(tmp_path / "w.safetensors")
    other = net.numpy_model(9, "float32", level=2, workers=3)
    other.forward(x)
    other.load(tmp_path / "w.safetensors")
    for model in (fast, other):
        near(model.outputs(x, batch=16), slow.outputs(x, batch=16), 1e-3, "outputs")
        assert np.array_equal(model.predict(x), slow.predict(x)) and model.score(x, y) == slow.score(x, y)
        model.close()


def test_the_caller_s_arrays_are_not_written_to():
    on_maps, on_vectors = "input 3x4x4\nrelu -> res { relu } -> bn -> pool 2", "input 6\nrelu -> linear 6 -> relu"
    for text in (on_maps, on_vectors):
        net = compile_text(f"{text}\ntrain {{ loss mse }}")
        _, fast = twins(net)
        x, y = batch(net, 5)
        kept = x.copy(), y.copy()
        fast.train_step(x, y)
        z = fast.logits(x, training=True)
        dz = np.ones_like(z)
        fast.backward(dz)
        fast.forward(x)
        assert np.array_equal(x, kept[0]) and np.array_equal(y, kept[1]) and (dz == 1).all()
        out = fast.forward(x)
        fast.forward(0 * x)
        assert not np.array_equal(out, 0 * out)  # an answer is not written over by the next one
        fast.close()


GRAPHS = """\
# softmax at the end
input 2x6x6
conv 4 k3 -> relu -> flatten -> linear 3 -> softmax
# logsoftmax and nll
input 5
linear 3 -> logsoftmax
train { loss nll }
# sigmoid and bce
input 5
linear 3 -> relu -> linear 1 -> sigmoid
train { loss bce }
# bce
input 2x6x6
conv 1 k3 p1
train { loss bce }
# mse
input 4
linear 5 -> tanh
train { loss mse }
# segmentation
input 2x7x6
conv 9 k3 p1 -> bn -> relu -> conv 3 k3 p1
# segmentation with softmax
input 2x7x6
conv 9 k3 p1 -> conv 3 k3 p1 -> softmax
# tokens
input 5x6
ln -> linear 8 -> gelu -> res { mha 2 } -> take 0 -> linear 3
# tokens out
input 5x6
linear 8 -> relu -> linear 4
train { loss mse }
# no layers
input 4
id
train { loss mse }
# no layers, a map
input 2x3x3
id
train { loss mse }
# only relu
input 2x3x3
relu
train { loss mse }
# only softmax
input 4
softmax
# no params
input 2x5x5
pool 2 -> relu -> flatten
train { loss mse }
# bn without params
input 4
bn noaffine -> linear 2
# bn without params on a map
input 2x5x5
bn noaffine -> relu -> pool 2 -> flatten
# bn first
input 2x5x5
bn -> relu -> conv 3 k3 -> gap
# bn twice
input 2x5x5
conv 3 k3 -> bn -> bn -> relu -> gap
# bn three times
input 2x5x5
conv 8 k3 p1 -> bn -> bn -> bn -> relu -> bn -> gap
# bn of vectors
input 4
linear 6 nobias -> bn -> relu -> bn -> linear 3
# bn, pool, odd planes
input 2x7x5
conv 8 k3 p1 -> bn -> pool 2 -> bn -> pool 2 -> conv 8 k1 -> bn -> pool 1 -> flatten
# bn, other pool, odd planes
input 2x9x7
conv 8 k3 p1 -> bn -> pool 3 s2 -> bn -> pool 2 s1 -> flatten
# bn and dropout, pool
input 2x7x7
conv 8 k3 p1 -> dropout 0.2 -> pool 2 -> bn -> dropout2d 0.3 -> pool 2 -> gap
# a pooled value read twice
input 2x7x7
conv 8 k3 p1
c: id
cat { @c -> pool 2 -> gap | @c -> gap } -> linear 3
# a pooled value read by others
input 2x7x7
c: conv 8 k3 p1
cat { @c -> pool 2 -> gap | @c -> pool 3 -> gap | @c -> gap | @c -> relu -> gap } -> linear 3
# relu of a value read by others
input 2x6x6
c: conv 4 k3
cat { @c -> relu | @c | @c -> bn } -> gap
# relu of a relu
input 2x6x6
conv 4 k3 -> relu -> relu -> pool 2 -> relu -> pool 2 -> relu -> flatten -> linear 3 -> relu -> relu
# relu of a dropout
input 2x6x6
conv 4 k3
cat { id -> dropout 0.3 -> relu | id } -> gap -> linear 3
# relu of the input
input 2x6x6
cat { relu | id | conv 2 k3 p1 } -> relu -> gap -> linear 2
# relu of an id
input 2x6x6
c: conv 4 k3 -> id
cat { @c -> relu | @c } -> gap -> linear 3
# relu of a reshape
input 2x6x6
c: conv 4 k3
cat { @c -> reshape 4x4x4 -> relu | @c } -> gap -> linear 3
# the sum of a value with itself
input 2x6x6
conv 4 k3 -> add { id | id } -> relu -> add { id | id | id } -> gap
# the product of a value with itself
input 2x6x6
conv 4 k3 -> mul { id | id } -> relu -> cat { id | id } -> gap
# a sum that is read twice
input 4x6x6
res { conv 4 k3 p1 } -> res { relu -> conv 4 k3 p1 } -> relu -> res { relu } -> gap
# batch norms that add another map, or vector
input 2x7x6
conv 9 k3 p1 -> add { pool 3 s1 p1 -> bn | id } -> relu -> add { bn -> relu | conv 9 k3 p1 -> bn } -> add { id | bn }
add { slice 0 3 | slice 6 9 -> bn | slice 3 6 } -> add { slice 0 2 | slice 1 3 -> bn } -> relu -> conv 3 k1
flatten -> linear 6 -> add { bn -> relu | linear 6 -> bn } -> relu -> linear 3
# branches
input 8x6x6
cat { conv 2 k1 | conv 3 k3 p1 | pool 3 s1 p1 | add { id | relu | bn } } -> relu -> gap
# a signal
input 2x17 map
conv 9 k5 p2 -> bn -> relu -> pool 2 -> conv 9 k3 p1 -> dropout 0.3 -> pool 3 s2 -> flatten -> linear 3
# a signal comes out
input 2x17 map
conv 9 k3 p1 -> dropout 0.2 -> res { bn -> relu -> conv 9 k3 p1 } -> conv 3 k3 p1
# a signal comes out, as it came in
input 2x5 map
id
train { loss mse }
# a signal with softmax and a textbook layer
input 4x6 map
conv 4 k3 -> tanh -> lrn 3 -> softmax
# a volume
input 2x4x5x6
conv 9 k3 p1 -> bn -> relu -> pool 2 -> conv 9 k3 p1 -> dropout 0.3 -> flatten -> linear 3
# a signal, dropped out and as tokens
input 3x12 map
conv 8 k3 p1 -> dropout2d 0.3 -> res { conv 8 k3 p1 -> droppath 0.3 } -> tokens -> ln -> map 12 -> gap -> linear 3
# a volume comes out
input 2x4x5x6
conv 9 k3 p1 -> reshape 9x5x6x4 -> res { bn -> relu -> conv 9 k3 p1 } -> conv 3 k1
# a volume comes out, as it came in
input 2x3x2x4
id
train { loss mse }
# dead layers
input 9x7x7
stem: conv 3 k1
conv 4 k3 -> relu
@stem
train { loss mse }
# a dead convolution of each kind
input 9x20x20
stem: conv 3 k1
conv 9 k3 p1
@stem -> conv 9 k5
@stem -> conv 9 k1 -> flatten -> linear 3
@stem -> gap
# dead layers with bn and dropout
input 9x7x7
stem: conv 9 k3
dropout 0.5 -> conv 9 k3 -> bn -> relu -> conv 9 k3
@stem -> bn -> gap
# bias before bn
input 2x7x7
conv 9 k3 -> bn -> relu -> conv 9 k3 -> bn -> gap -> linear 3
# stride
input 9x9x8
conv 9 k3 s2 p1 -> relu -> conv 9 k3x2 s=1x2 -> bn -> conv 4 k1 s2 p1 -> gap
# dilation and groups
input 8x9x9
conv 8 k3 d=2 -> relu -> conv 8 k3 g2 -> relu -> conv 8 k3 p1 g8 -> bn -> relu -> gap
# asymmetric padding
input 8x9x9
conv 9 k4 same -> relu -> conv 9 k2x3 same -> pool 3 s2 ceil -> relu -> gap
# a large kernel
input 9x22x19
conv 9 k17 p8 -> relu -> conv 2 k5 -> gap
# droppath
input 4x5x5
res { conv 4 k3 p1 -> droppath 0.4 } -> relu -> gap -> linear 3
# layers named like variables
input 2x6x6
x: conv 4 k3 -> y: relu
w: conv 4 k1 -> s: bn -> r: relu -> logits1: dropout 0.5 -> z: pool 2 -> gap
# dropouts named like arrays
input 6
linear 8 -> x: dropout 0.3 -> linear 8 -> y: dropout 0.4 -> linear 8 -> dlogits: dropout 0.5 -> linear 3
# names that meet
input 2x6x6
a: { b: conv 4 k1 -> c: { d: bn } }
a_b: conv 4 k3 -> a_c_d: relu -> gap -> a_b_1: linear 3
# kinds of names
input 2x6x6
forward1: conv 4 k1 -> Relu: relu -> np: conv 4 k3 -> Linear: bn -> count: relu -> gap -> Stages: linear 3
# many branches
input 2x3x3
cat { BRANCHES } -> bn -> gap -> linear 2
""".replace("BRANCHES", " | ".join(["conv 2 k1 -> bn"] * 30))
GRAPHS = dict(graph.split("\n", 1) for graph in GRAPHS.removeprefix("# ").split("\n# "))


@pytest.mark.parametrize("text", GRAPHS.values(), ids=GRAPHS)
def test_every_kind_of_graph_agrees(text):
    check(text)


def test_any_name_that_the_language_takes_is_but_a_name():
    layers, branches = ["linear 4", "gelu", "dropout 0.3", "bn", "relu"], {}
    for word in [*NAMES.split(), "s", "w", "input_", "stages", "team", "io", "factors", "memory", "Worker", "Linear"]:
        free = word not in ("cat1", "linear1") and word.lower() not in branches
        if free and check_text(f"input 4\n{word}: linear 4")[0] is not None:
            branches[word.lower()] = f"{word}: {layers[len(branches) % 5]}"
    assert len(branches) > 60
    check(f"input 4\ncat {{ {' | '.join(branches.values())} }} -> linear 3")
    groups = [f"{name}_: {{" for name in list(branches)[-50:]]
    check(f"input 4\n{' '.join(groups)} linear 4 {'}' * len(groups)}")


@pytest.mark.parametrize(
    "name", ["linear", "worker", "team", "fast_network", "bilinear_conv", "stages", "cross_entropy"]
)
def test_a_spec_may_be_called_like_a_class_of_the_emitted_text(name):
    net = compile_text("input 8x5x5\nconv 8 k3 p1 -> flatten -> linear 3", name)
    slow, fast = twins(net)
    both_agree(slow, fast, *batch(net, 5))
    fast.close()


def test_a_spec_may_be_called_like_a_class_that_the_network_extends():
    spec = "input 8\nlinear 3\ntrain { loss ce weights=(1, 2, 3) }"
    assert "\nclass WeightedNetworkNet:" in compile_text(spec, "weighted_network").numpy_source(2)


@pytest.mark.parametrize("workers, size, block", [(1, 1, 16), (3, 2, 1), (3, 7, 2), (4, 4, 1), (2, 9, 4)])
def test_parts_and_blocks_of_any_size_agree(workers, size, block):
    check(SMALL, max(size, 2), workers, block, 1e-7)  # batch norm of two samples


def test_one_sample_through_batch_norm_is_refused_as_at_o0():
    net = compile_text("input 4\nlinear 4 -> bn -> linear 2")
    _, fast = twins(net)
    x, y = batch(net, 4)
    with pytest.raises(ValueError, match="more than one value"):
        fast.train_step(x[:1], y[:1])
    assert np.isfinite(fast.train_step(x, y))
    fast.close()


def test_dead_layers_have_gradients_of_zero_and_their_params_stay():
    net = compile_text("input 9x7x7\nstem: conv 3 k1\ndead: conv 9 k3 p1 -> conv 9 k3\n@stem -> gap")
    _, fast = twins(net, workers=2)
    x, y = batch(net, 6)
    before = fast.params["dead.weight"].copy()
    for _ in range(2):
        grads = fast.loss_and_gradients(x, y)[1]
        assert not grads["dead.weight"].any() and not grads["dead.bias"].any() and grads["stem.weight"].any()
        fast.train_step(x, y)
    assert np.array_equal(fast.params["dead.weight"], before)
    fast.close()


# ------------------------------------------------------------------------------------------------ the emitted text


ALONE = """
import sys
for name in ("netdsl", "torch", "lark", "jinja2", "scipy"):
    sys.modules[name] = None
import numpy as np
text = open(sys.argv[1]).read()
module = type(sys)("emitted")
exec(compile(text, sys.argv[1], "exec"), vars(module))
model = module.Model(seed=1, workers=2)
x = np.random.default_rng(0).standard_normal((9, *module.INPUT_SHAPE)).astype(np.float32)
print(*(float(model.train_step(x, np.arange(9) % 4)) for _ in range(3)), float(model.forward(x).sum()))
"""


@pytest.mark.parametrize("text", [SMALL, SIGNAL, VOLUME], ids=["image", "signal", "volume"])
def test_the_emitted_text_runs_alone(tmp_path, text):
    net = compile_text(text)
    text = net.numpy_source(2)
    path = tmp_path / "alone.py"
    path.write_text(text, encoding="ascii")
    run = subprocess.run([sys.executable, "-I", "-c", ALONE, path], capture_output=True, text=True, cwd=tmp_path)
    assert not run.stderr
    model = net.numpy_model(1, "float32", level=2, workers=2)
    x = np.random.default_rng(0).standard_normal((9, *net.graph.input_shape)).astype(np.float32)
    here = [float(model.train_step(x, np.arange(9) % 4)) for _ in range(3)] + [float(model.forward(x).sum())]
    assert [float(word) for word in run.stdout.split()] == here
    demo = subprocess.run([sys.executable, "-I", path], capture_output=True, text=True, cwd=tmp_path)
    assert not demo.stderr and "epoch 5" in demo.stdout
    model.close()


@pytest.mark.parametrize("name", ["bn_cnn", "unet", "vit_b_16"])
def test_the_emitted_text_passes_the_gate_and_names_only_what_it_defines(name):
    text = compile_file(ROOT / f"specs/{name}.net").numpy_source(2)
    assert gate(text, DIALECT) == text
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {alias.name for node in imports for alias in node.names} <= {"numpy", *sys.stdlib_module_names}
    assert not [line for line in text.splitlines() if line != line.rstrip()]


def test_the_emitted_text_does_not_depend_on_the_hash_seed():
    command = "import netdsl; print(netdsl.load('specs/googlenet.net').numpy_source(2))"
    here = compile_file(ROOT / "specs" / "googlenet.net").numpy_source(2)  # this process has a seed of its own
    for seed in ("0", "77"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        there = subprocess.check_output([sys.executable, "-c", command], cwd=ROOT, env=environment, text=True)
        assert there == f"{here}\n"


def test_a_network_that_nobody_holds_ends_its_workers():
    before = threading.active_count()
    net = compile_text(SMALL)
    model = net.numpy_model(0, level=2, workers=3)
    model.forward(batch(net, 6, dtype="float32")[0])
    assert threading.active_count() == before + 2
    del model
    gc.collect()
    assert threading.active_count() == before


def test_at_level_1_every_number_comes_from_its_own_window():
    net = compile_text("input 8x16x16\nconv 8 k3 p1 -> relu -> conv 4 k5 p2\n")
    x = np.random.default_rng(0).standard_normal((3, 8, 16, 16))
    outputs = {level: net.numpy_model(dtype="float64", level=level).forward(x) for level in (0, 1)}
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-10, atol=1e-12)
    x[1, 2, 0, 0] = np.nan
    x[2, 0, 15, 15] = 1e12
    found = net.numpy_model(dtype="float64", level=1).forward(x)
    near = np.zeros((3, 4, 16, 16), bool)
    near[1, :, :4, :4] = near[2, :, 12:, 12:] = True
    assert np.isnan(found[1, :, :4, :4]).all()
    np.testing.assert_array_equal(
        found[~near], net.numpy_model(dtype="float64", level=1).forward(np.nan_to_num(x))[~near]
    )
    np.testing.assert_allclose(found[~near], outputs[0][~near], rtol=1e-10, atol=1e-12)
    assert "fourier" not in net.numpy_source(1) and "winograd" not in net.numpy_source(1)


@pytest.mark.parametrize("options", [{"workers": 0}, {"workers": -1}, {"workers": 2, "kind": "greenlets"}], ids=str)
def test_workers_that_cannot_be_are_refused(options):
    with pytest.raises(ValueError, match="worker"):
        compile_text("input 4\nlinear 2").numpy_model(level=2, **options)


@pytest.mark.parametrize("level", [0, 2])
def test_an_empty_batch_is_refused(level):
    model = compile_text("input 1x4x4\nconv 2 k3 -> flatten -> linear 2").numpy_model(level=level)
    for call in (lambda x: model.forward(x), lambda x: model.train_step(x, np.zeros(0, int))):
        with pytest.raises(ValueError, match=r"the network takes \(N, 1, 4, 4\), not \(0, 1, 4, 4\)"):
            call(np.zeros((0, 1, 4, 4)))
