"""Class weights, smoothing, mixed targets and clipping in every NumPy network."""

import os
import subprocess
import sys

import numpy as np
import pytest
from fast_twins import KINDS, batch, near, near_all, twins

from netdsl.pipeline import compile_text
from netdsl.verify.batches import random_batch

NET = "input 2x6x6\nconv 4 k3 p1 -> bn -> relu -> pool 2 -> flatten -> linear 3\n"
DENSE = "input 2x5x5\nconv 4 k3 p1 -> relu -> conv 3 k1\n"
WEIGHTED = "loss ce smooth=0.1 weights=(1, 5, 0.5)"
TRAINS = [
    "loss ce smooth=0.1",
    f"{WEIGHTED}, clip 0.1",
    f"{WEIGHTED}, augment mixup=0.2, opt adagrad, clip 0.01",
    "augment mixup=0.2, opt sgd lr=0.1 momentum=0.9",
    "loss mse, augment mixup=0.2, opt rmsprop momentum=0.5, clip 1",
    "opt adamw wd=0.3 decay=matrices, clip 0.5",
    "opt sgd lr=0.1 momentum=0.9 wd=0.2 decay=matrices",
]


@pytest.mark.parametrize("train", TRAINS)
def test_layer_objects_and_the_textbook_module_learn_bit_for_bit_the_same(train):
    net = compile_text(f"{NET}train {{ {train} }}")
    models = [net.build(seed=1), net.numpy_model(seed=1)]
    for step in range(3):
        x, y = random_batch(net, 7, step)
        losses = [model.train_step(x, y) for model in models]
        assert losses[0].tobytes() == losses[1].tobytes()
    for name, array in models[0].params.items():
        assert array.tobytes() == models[1].params[name].tobytes(), name
        kept = zip(*(model.optimizer_state.get(name, ()) for model in models), strict=True)
        assert all(np.array_equal(*pair) for pair in kept)


@pytest.mark.parametrize(
    ("text", "train"),
    [
        (text, train)
        for text in (NET, DENSE, NET + "softmax\n")
        for train in TRAINS[1:]
        if text != DENSE or "mixup" not in train or "mse" in train  # a class for each place is not mixed
    ],
)
@pytest.mark.parametrize("workers", [1, 3])
def test_workers_that_share_a_batch_learn_what_the_textbook_learns(text, train, workers):
    net = compile_text(f"{text}train {{ {train} }}")
    slow, fast = twins(net, workers=workers, block=2)
    for step, size in enumerate((7, 10, 2)):
        x, y = batch(net, size, step)
        (loss, grads), (found, found_grads) = (model.loss_and_gradients(x, y) for model in (slow, fast))
        near(found, loss, 1e-10, "loss")
        near_all(found_grads, grads, 1e-9, "gradient of")
        near(fast.train_step(x, y), slow.train_step(x, y), 1e-8, "loss of a step")
    near_all(fast.params, slow.params, 1e-8, "param")
    fast.close()


@pytest.mark.parametrize("text", ["sgd momentum=0.9", "adam", "rmsprop", "rmsprop momentum=0.5", "adagrad"])
def test_the_rows_of_moments_are_the_optimizers_state_in_the_order_of_its_names(text):
    net = compile_text(f"{DENSE}train {{ opt {text} }}")  # no bias before a batch norm, whose state is rounding
    slow, fast = twins(net)
    for step in range(3):
        x, y = batch(net, 6, step)
        slow.train_step(x, y)
        fast.train_step(x, y)
    for row, _ in enumerate(net.recipe.state_names):
        _, named = fast.views(fast.moments[row], fast.params)
        near_all(named, {name: slow.optimizer_state[name][row] for name in slow.params}, 1e-8, "state of")
    fast.close()


TOKENS = "input 5x8\npos -> res { ln -> mha 2 } -> linear 6 -> gelu -> flatten -> linear 3\n"


@pytest.mark.parametrize("chunk", [64, 100, 1 << 15])
@pytest.mark.parametrize("workers", [1, 2])
def test_params_of_one_axis_do_not_decay_wherever_the_chunks_end(chunk, workers):
    net = compile_text(f"{TOKENS}train {{ opt sgd lr=0.5 wd=0.5 decay=matrices }}")
    slow, fast = twins(net, workers=workers)
    fast.chunk = chunk
    zeros = {name: np.zeros_like(array) for name, array in slow.params.items()}
    before = {name: array.copy() for name, array in fast.params.items()}
    fast.update(zeros, 0.5)
    slow.update(zeros, 0.5)
    for name, array in fast.params.items():
        np.testing.assert_allclose(array, before[name] * (0.75 if array.ndim > 1 else 1), rtol=1e-15, err_msg=name)
    near_all(fast.params, slow.params, 1e-15, "param")
    assert list(fast.params) == list(slow.params)
    fast.close()


def test_pytorchs_optimizer_has_a_group_that_does_not_decay():
    pytest.importorskip("torch")
    from netdsl.targets.torch.model import new_optimizer
    from netdsl.targets.torch.running import torch_model

    net = compile_text(f"{TOKENS}train {{ opt adamw decay=matrices }}")
    groups = new_optimizer(net, torch_model(net, net.build())).param_groups
    assert [(group["weight_decay"], {param.dim() > 1 for param in group["params"]}) for group in groups] == [
        (1e-2, {True}),
        (0.0, {False}),
    ]
    biases = compile_text("input 4\nln\ntrain { loss mse, opt adamw decay=matrices }")
    assert len(new_optimizer(biases, torch_model(biases, biases.build())).param_groups) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_labels_and_probabilities_may_come_in_turn(kind):
    net = compile_text(f"{NET}train {{ {WEIGHTED}, augment mixup=0.2, clip 0.1 }}")
    slow, fast = twins(net, workers=2, kind=kind)
    for step in range(4):
        x, y = batch(net, 6, step)
        y = y.argmax(axis=1) if step % 2 else y
        near(fast.train_step(x, y), slow.train_step(x, y), 1e-8, "loss")
    near_all(fast.params, slow.params, 1e-8, "param")
    with pytest.raises(ValueError, match="labels must lie in 0 to 2"):
        fast.train_step(x, np.array([0, 1, 2, 0, 1, 3]))
    fast.close()


@pytest.mark.parametrize("workers, size", [(1, 4), (3, 6), (3, 2)])
def test_gradients_whose_squares_overflow_are_clipped_by_workers_too(workers, size):
    net = compile_text("input 30000\nlinear 3\ntrain { loss mse, clip 1, opt sgd lr=1 }")
    slow, fast = (net.numpy_model(0, level=level, **kw) for level, kw in ((0, {}), (2, {"workers": workers})))
    for array in (*slow.params.values(), *fast.params.values()):
        array[...] = 0
    x, y = np.full((size, 30000), 1e12, np.float32), np.full((size, 3), 1e12, np.float32)
    for model in (slow, fast):
        assert np.isfinite(model.train_step(x, y))
        total = sum(float(np.square(array, dtype=np.float64).sum()) for array in model.params.values())
        np.testing.assert_allclose(total, 1.0, rtol=1e-4)  # float32
    near_all(fast.params, slow.params, 1e-5, "param")
    fast.close()


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_module_with_everything_needs_numpy_alone(level, tmp_path):
    net = compile_text(f"{NET}train {{ {WEIGHTED}, augment mixup=0.2, clip 0.1, opt adagrad }}")
    text = net.numpy_source(level)
    for line in ("class_weights = (1.0, 5.0, 0.5)", "smooth=0.1, weights=self.class_weights)", "def adagrad_step("):
        assert line in text
    (tmp_path / "module.py").write_text(text)
    environment = {**os.environ, "PYTHONWARNINGS": "error", "PYTHONPATH": ""}
    command = [
        sys.executable,
        "-S",
        "-c",
        f"import sys; sys.path += [{os.path.dirname(np.__path__[0])!r}]; import module",
    ]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_many_class_weights_are_broken_over_lines():
    weights = tuple(1 + k / 7 for k in range(100))
    net = compile_text(f"input 4\nlinear 100\ntrain {{ loss ce weights=({', '.join(map(repr, weights))}) }}")
    assert max(map(len, net.numpy_source().splitlines())) <= 120
    assert net.numpy_model().class_weights == weights


def test_a_spec_that_uses_nothing_of_it_emits_nothing_of_it():
    for level, line in ((0, "loss = staticmethod(cross_entropy)"), (2, "return cross_entropy(logits, target)")):
        text = compile_text(NET).numpy_source(level)
        assert line in text
        for word in ("class_weights", "def matrices", "parted", "soft_cross_entropy", "clip_factor", "WeightedNetwork"):
            assert word not in text
