"""A step of several batches, one after the other, is a step of all their samples at once."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file
from small_runs import DATA, ENGINES, changed_net, kept, stop_after

from netdsl.ground.diagnostics import SpecError, TrainingFailed
from netdsl.pipeline import compile_text
from netdsl.training.data.feed import Feed
from netdsl.training.loop.epochs import train
from netdsl.training.loop.session import with_settings
from netdsl.training.loop.watch import Interrupted, Progress, Watch
from netdsl.training.runs.checkpoint import checkpoint_path
from netdsl.training.runs.folder import new_run
from netdsl.training.runs.history import read_history
from netdsl.verify.batches import random_batch

SPEC = "input 1x8x8\nconv 4 k3 p1 -> relu -> pool 2 -> flatten -> linear 8 -> tanh -> linear 3\n"
TRAIN = "epochs 3, val 0.1, seed 1, opt adamw lr=0.01 wd=0.1 decay=matrices, schedule cosine warmup=2steps, clip 0.5"
LOSSES = ["loss ce", "loss ce weights=(1, 3, 0.5) smooth=0.1", "loss ce ignore=1"]


def net_of(train, text=SPEC):
    return compile_text(f"{text}train {{ {TRAIN}, {train} }}", "tiny")


def run_of(tmp_path, name, net, engine, watch=None):
    run = new_run("tiny", tmp_path / name)
    train(net, DATA, ENGINES[engine], run, watch)
    return run


@pytest.mark.parametrize("engine", ["interp", "textbook", "fast", "threads", "processes", "torch"])
@pytest.mark.parametrize("loss", LOSSES)
def test_batches_of_12_learn_what_one_of_48_learns(tmp_path, engine, loss):
    """63 samples: steps of 48 and of 15, computed as 12, 12, 12, 12 and as 12, 3."""
    runs = [
        run_of(tmp_path, name, net_of(f"{loss}, {batch}"), engine)
        for name, batch in (("whole", "batch 48"), ("parts", "batch 12, accumulate 4"))
    ]
    whole, parts = (load_file(checkpoint_path(run, "last")) for run in runs)
    for name, array in whole.items():
        np.testing.assert_allclose(parts[name], array, rtol=2e-3, atol=2e-5, err_msg=name)  # float32, 6 steps of Adam
    for one, other in zip(*map(read_history, runs), strict=True):
        # where labels are ignored, the accuracy of a batch counts for all of its places
        assert one.train_accuracy == pytest.approx(other.train_accuracy, abs=0.05)
        assert (one.train_loss, one.val_loss, one.lr) == pytest.approx(
            (other.train_loss, other.val_loss, other.lr), rel=2e-4
        )


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize("loss", LOSSES)
def test_in_float64_the_steps_are_the_same_but_for_rounding(level, loss):
    net = net_of(f"{loss}, batch 48")
    one, several = (net.numpy_model(0, "float64", level=level, **({"workers": 1} if level else {})) for _ in range(2))
    for step in range(4):
        x, y = random_batch(net, 20, step)
        x = x.astype("float64")
        one.train_step(x, y, 0.01)
        weigh = lambda rows: {"loss ce": len(rows)}.get(loss, weight_of(loss, rows))  # noqa: E731
        for number, rows in enumerate((slice(8), slice(8, 17), slice(17, 20))):
            made = several.gather(x[rows], y[rows], weigh(y[rows]) / 20, number == 0)
            assert made.is_finite
        assert several.apply(0.01, 20 / weigh(y))
    for name, array in one.params.items():
        np.testing.assert_allclose(several.params[name], array, rtol=1e-9, atol=1e-12, err_msg=name)
    for model in (one, several):
        getattr(model, "close", lambda: None)()


def weight_of(loss, labels):
    weights = np.array([1, 3, 0.5] if "weights" in loss else [1, 0, 1])
    return float(weights[labels].sum())


def test_the_feed_of_a_step_has_several_batches():
    feed = Feed(DATA, net_of("batch 12, accumulate 4").recipe)
    assert (feed.steps, feed.sizes, feed.most) == (2, [48, 15], 12)
    made = list(feed.epoch(2))
    assert [(b.step, b.number, len(b.rows), b.is_first, b.is_last, b.whole) for b in made] == [
        (1, 1, 12, True, False, 48),
        (1, 2, 12, False, False, 48),
        (1, 3, 12, False, False, 48),
        (1, 4, 12, False, True, 48),
        (2, 5, 12, True, False, 15),
        (2, 6, 3, False, True, 15),
    ]
    whole = Feed(DATA, net_of("batch 48").recipe)
    assert np.array_equal(np.concatenate([b.rows for b in made]), np.concatenate([b.rows for b in whole.epoch(2)]))
    assert [b.number for b in feed.epoch(2, 1)] == [5, 6] and [b.number for b in feed.epoch(2, 0, 1)] == [1, 2, 3, 4]
    assert feed.batch(2, 2).number == 5 and np.array_equal(feed.numbered(2, 6).x, made[5].x)


def test_progress_is_told_once_a_step(tmp_path):
    events = []
    run_of(tmp_path, "run", net_of("batch 12, accumulate 4"), "interp", Watch(events.append))
    samples = [event.samples for event in events if isinstance(event, Progress)]
    assert samples == [48, 63] * 3


@pytest.mark.parametrize("engine", ["interp", "fast", "torch", "float16"])
def test_a_run_that_accumulates_and_was_stopped_has_the_bytes_of_one_never_stopped(tmp_path, engine):
    """With dropout, batch norm, mixup, an average and steps in place of epochs."""
    net = changed_net("adam", schedule="cosine", patience=None, batch=8, accumulate=3, steps=7, every=2)
    whole = new_run("tiny", tmp_path / "whole")
    train(net, DATA, ENGINES[engine], whole)
    for step in (1, 2, 4, 6):
        run = new_run("tiny", tmp_path / str(step))
        with pytest.raises(Interrupted, match=f"^stopped after step {step} of 7$"):
            train(net, DATA, ENGINES[engine], run, stop_after(step))
        train(net, DATA, ENGINES[engine], run, resume=True)
        assert kept(run) == kept(whole), step


@pytest.mark.parametrize("engine", ["interp", "fast", "torch"])
def test_a_batch_of_a_step_that_is_not_finite_is_told_and_changes_nothing(tmp_path, engine):
    net = net_of("batch 12, accumulate 4")
    bad = Feed(DATA, net.recipe).numbered(1, 3).rows[5]
    data = replace(DATA, x_train=DATA.x_train.astype(np.float32))
    data.x_train[bad] = np.inf
    run = new_run("tiny", tmp_path / "run")
    with pytest.raises(TrainingFailed, match="in epoch 1, step 1: .* it begins in layer `conv1`"):
        train(net, data, ENGINES[engine], run)
    failure = json.loads((run / "failure.json").read_text())
    assert (failure["epoch"], failure["step"]) == (1, 1) and bad in failure["samples"]
    assert len(failure["samples"]) == 12


def test_a_gradient_that_is_not_finite_is_looked_for_in_all_batches_of_the_step(tmp_path):
    net = compile_text("input 4\nlinear 3\ntrain { loss mse, batch 4, accumulate 3, val 0, opt sgd lr=1e-3 }", "tiny")
    x, y = np.ones((24, 4), np.float32), np.zeros((24, 3), np.float32)
    data = replace(DATA, x_train=x, y_train=y, x_test=x[:4], y_test=y[:4], classes=(), mean=(0.0,), std=(1.0,))
    bad = Feed(data, net.recipe).numbered(1, 2).rows[0]
    x[bad], y[bad] = 1e25, 1e15
    run = new_run("tiny", tmp_path / "run")
    with pytest.raises(TrainingFailed, match="not a finite number"):
        train(net, data, ENGINES["interp"], run)
    assert int(bad) in json.loads((run / "failure.json").read_text())["samples"]


# ---------------------------------------------------------------------------------------------- what is written


@pytest.mark.parametrize(
    "entry, message, help",
    [
        ("accumulate 0", "`accumulate` must be a whole number of at least 1, not `0`", ""),
        ("accumulate 2.5", "`accumulate` must be a whole number of at least 1, not `2.5`", ""),
        ("gradient_accumulation_steps 4", "unknown entry `gradient_accumulation_steps`", "did you mean `accumulate`?"),
        ("accumulate_grad_batches 4", "unknown entry `accumulate_grad_batches`", "did you mean `accumulate`?"),
        ("grad_accum 4", "unknown entry `grad_accum`", "did you mean `accumulate`?"),
    ],
)
def test_wrong_entries_are_told(entry, message, help):
    with pytest.raises(SpecError) as caught:
        compile_text(f"input 4\nlinear 2\ntrain {{ {entry} }}")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.message.startswith(message) and help in " ".join(diagnostic.help)


def test_a_setting_wins_over_the_spec():
    recipe = net_of("accumulate 4").recipe
    assert recipe.accumulate == 4 and with_settings(recipe, {"accumulate": 2}).accumulate == 2
