"""Training: the same seed gives the same bytes, the best weights are kept, and what breaks is named."""

import csv
import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from netdsl.ground.diagnostics import TrainingFailed, UserError
from netdsl.pipeline import compile_text
from netdsl.training.data.dataset import Dataset
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.feed import batches
from netdsl.training.data.splits import split_rows
from netdsl.training.loop import epochs as loop
from netdsl.training.loop import failures
from netdsl.training.loop.epochs import train
from netdsl.training.loop.watch import Watch
from netdsl.training.runs.checkpoint import checkpoint_path, load_checkpoint
from netdsl.training.runs.engine import Engine, new_model
from netdsl.training.runs.folder import new_run
from netdsl.training.runs.history import Epoch, quality
from netdsl.training.scores import evaluation
from netdsl.training.scores.evaluation import BATCH, as_trained, check_fits, evaluate, probabilities, task_of

SPEC = """input 2
linear 16 -> bn -> relu -> dropout 0.2
linear 3
train {
  data spiral
  epochs 3
  opt adam lr=1e-2
}
"""
SPIRAL = load_dataset("spiral", None, limit=400)
RNG = np.random.default_rng(0)
ENGINES = {
    "interp": Engine("interp", 0, threads=1),
    "textbook": Engine("numpy", 0, threads=1),
    "threads": Engine("numpy", 2, "threads", 2),
    "processes": Engine("numpy", 2, "processes", 2),
}


def net_of(text=SPEC, **changes):
    net = compile_text(text, "tiny")
    options = {**net.recipe.options, **changes.pop("options", {})}
    return net.with_recipe(replace(net.recipe, **changes, options=options))


def run_of(folder, text=SPEC, data=SPIRAL, engine="threads", on_progress=lambda event: None, **changes):
    """Trains into a new folder -> the result."""
    return train(net_of(text, **changes), data, ENGINES[engine], new_run("tiny", folder), Watch(on_progress))


@pytest.fixture
def first_model():
    """first_model(net, engine) -> its model, closed after the test."""
    models = []

    def make(net, engine="interp"):
        models.append(new_model(net, ENGINES[engine]))
        return models[-1]

    yield make
    for model in models:
        model.close()


def weights(result, which="last"):
    return checkpoint_path(result.run, which).read_bytes()


def dataset(x, y, classes=("0", "1"), **changes):
    return replace(Dataset("made", x, y, x, y, classes, (0.0,), (1.0,)), **changes)


@pytest.mark.parametrize("engines", [("interp", "textbook"), ("threads", "processes")], ids="-".join)
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
def test_the_same_seed_gives_the_same_bytes_in_both_runs_and_both_engines(tmp_path, optimizer, engines):
    results = [
        run_of(tmp_path / f"{engine}{i}", engine=engine, optimizer=optimizer) for engine in engines for i in (1, 2)
    ]
    assert len({weights(r) for r in results}) == len({weights(r, "best") for r in results}) == 1
    assert len({(r.test_accuracy, r.test_loss, r.val_accuracy) for r in results}) == 1


def test_the_fast_module_learns_what_the_textbook_learns(tmp_path):
    text = "input 1x8x8\nconv 4 -> bn -> relu -> dropout 0.2 -> pool 2\nflatten -> linear 3"
    data = dataset(RNG.integers(0, 256, (100, 1, 8, 8), dtype=np.uint8), np.arange(100) % 3, ("a", "b", "c"))
    runs = {name: [] for name in ("textbook", "threads", "processes")}
    for name, events in runs.items():
        run_of(tmp_path / name, text, data, name, events.append, epochs=2, batch=16)
    steps = {name: [(e.loss, e.accuracy) for e in events if not isinstance(e, Epoch)] for name, events in runs.items()}
    np.testing.assert_allclose(steps["threads"], steps["textbook"], rtol=1e-3)  # float32 after some steps
    assert steps["threads"] == steps["processes"]


def test_another_seed_gives_other_weights(tmp_path):
    assert weights(run_of(tmp_path / "0", seed=0)) != weights(run_of(tmp_path / "1", seed=1))


def test_stopping_after_an_epoch_changes_nothing_before_it(tmp_path):
    seen = {}
    for epochs in (1, 3):
        events = []
        run_of(tmp_path / str(epochs), epochs=epochs, on_progress=events.append)
        seen[epochs] = [(e.train_loss, e.val_loss) for e in events if isinstance(e, Epoch)]
    assert seen[3][:1] == seen[1]


def test_the_network_learns_the_spiral(tmp_path):
    text = (
        "input 2\nlinear 64 -> relu\nlinear 3\ntrain {\n  data spiral\n  opt adam lr=3e-2\n  epochs 25\n  batch 32\n}"
    )
    result = run_of(tmp_path / "r", text, load_dataset("spiral", None))
    assert result.test_accuracy > 0.93 and result.epochs == 25


def test_metrics_have_a_row_an_epoch(tmp_path):
    result = run_of(tmp_path / "r")
    rows = list(csv.DictReader((result.run / "metrics.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert list(rows[0]) == [
        "epoch",
        "train_loss",
        "train_accuracy",
        "val_loss",
        "val_accuracy",
        "val_f1",
        "lr",
        "seconds",
        "samples_per_second",
    ]
    best = min(rows, key=lambda row: float(row["val_loss"]))
    assert result.epoch == int(best["epoch"]) and result.val_accuracy == float(best["val_accuracy"])


def test_the_test_accuracy_is_that_of_the_best_checkpoint(tmp_path, first_model):
    result = run_of(tmp_path / "r", options={"lr": 0.5}, epochs=8)
    model = first_model(net_of(), "threads")
    info = load_checkpoint(checkpoint_path(result.run, "best"), model)
    assert info["epoch"] == result.epoch and info["history"][-1]["val_accuracy"] == result.val_accuracy
    scores = evaluate(model, SPIRAL, SPIRAL.x_test, SPIRAL.y_test, task_of(net_of(), SPIRAL))
    assert (scores.accuracy, scores.loss) == (result.test_accuracy, result.test_loss)


def test_without_validation_the_last_weights_are_tested_and_there_is_no_best(tmp_path):
    result = run_of(tmp_path / "r", val=0.0)
    assert result.val_accuracy is None and result.epoch == 3
    assert not checkpoint_path(result.run, "best").exists()


def test_of_equally_accurate_epochs_the_one_with_the_lower_loss_is_the_best():
    rows = [
        Epoch(i, 1.0, 0.5, loss, acc, 0.1, 1.0, 1.0)
        for i, (loss, acc) in enumerate([(0.5, 0.9), (0.4, 0.9), (0.1, 0.8)])
    ]
    assert max(rows, key=lambda row: quality(row, "val_accuracy")).epoch == 1
    assert max(rows, key=quality).epoch == 2


def test_the_split_has_every_row_once_and_depends_on_the_seed_only():
    rows, val = split_rows(1000, 0.1, 5)
    assert len(val) == 100 and sorted([*rows, *val]) == list(range(1000))
    assert np.array_equal(val, split_rows(1000, 0.1, 5)[1]) and not np.array_equal(val, split_rows(1000, 0.1, 6)[1])
    assert [len(part) for part in split_rows(10, 0.0, 0)] == [10, 0]
    assert [len(part) for part in split_rows(10, 0.001, 0)] == [9, 1]
    with pytest.raises(UserError, match="do not leave any"):
        split_rows(1, 0.1, 0)


@pytest.mark.parametrize(
    "count, size, sizes",
    [(9, 4, [4, 5]), (10, 4, [4, 4, 2]), (8, 4, [4, 4]), (1, 4, [1]), (3, 1, [1, 1, 1]), (3, 9, [3])],
)
def test_a_last_batch_of_one_joins_the_one_before(count, size, sizes):
    pieces = batches(np.arange(count), size)
    assert [len(p) for p in pieces] == sizes and np.array_equal(np.concatenate(pieces), np.arange(count))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_far_too_large_lr_fails_and_names_layer_epoch_and_step(tmp_path, engine):
    with pytest.raises(TrainingFailed, match=r"in epoch 1, step 2: the loss .* layer `linear\d`"):
        run_of(tmp_path / "r", "input 2\nlinear 16 -> relu\nlinear 3", engine=engine, options={"lr": 1e30})
    assert not checkpoint_path(tmp_path / "r", "last").exists()


def test_a_step_that_ruins_the_params_is_found_even_if_no_step_follows(tmp_path):
    with pytest.raises(TrainingFailed, match="after epoch 1"):
        run_of(
            tmp_path / "r", "input 2\nlinear 3", batch=1000, epochs=1, val=0.0, optimizer="sgd", options={"lr": 1e39}
        )


@pytest.mark.parametrize("layer", ["linear1", "linear2"])
@pytest.mark.parametrize("what", ["weight", "bias"])
@pytest.mark.parametrize("engine", ENGINES)
def test_the_layer_with_a_planted_nan_is_named(tmp_path, monkeypatch, layer, what, engine):
    def planted(net, engine, _):
        model = new_model(net, engine)
        model.params[f"{layer}.{what}"].flat[0] = np.nan
        return model

    monkeypatch.setattr(loop, "new_model", planted)
    with pytest.raises(TrainingFailed, match=f"epoch 1, step 1: the loss .* `{layer}`"):
        run_of(tmp_path / "r", "input 2\nlinear 16 -> relu\nlinear 3", engine=engine)


@pytest.fixture
def bias_only(monkeypatch):
    """Models that are made begin with weights of 0 and biases of 1."""

    def made(net, engine, _):
        model = new_model(net, engine)
        model.params["linear1.weight"][...] = 0
        model.params["linear1.bias"][...] = 1
        return model

    monkeypatch.setattr(loop, "new_model", made)


def regression_of(value):
    return dataset(np.full((100, 2), value, np.float32), np.zeros((100, 1), np.float32), classes=())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_gradient_that_overflows_where_the_loss_does_not_is_told_from_the_loss(tmp_path, bias_only, engine):
    with pytest.raises(TrainingFailed, match="epoch 1, step 1: a gradient .* `linear1`"):
        run_of(tmp_path / "r", "input 2\nlinear 1", regression_of(3e38), engine, loss="mse")


def test_a_gradient_whose_square_overflows_is_followed(tmp_path, bias_only):
    seen = []
    for engine in ("textbook", "threads"):
        events = []
        options = {"loss": "mse", "optimizer": "sgd", "options": {"lr": 1e-40}}
        run_of(tmp_path / engine, "input 2\nlinear 1", regression_of(3e19), engine, events.append, **options)
        seen.append([e.loss for e in events if not isinstance(e, Epoch)])
    assert len(seen[0]) == 10
    np.testing.assert_allclose(seen[1], seen[0], rtol=1e-5)  # float32


def test_the_layer_where_only_a_gradient_overflows_is_named():
    network = net_of("input 2\nlinear 1", loss="mse").build(seed=0)
    network.params["linear1.weight"][...] = 0
    network.params["linear1.bias"][...] = 1000
    x, y = np.full((4, 2), 3e38, np.float32), np.zeros((4, 1), np.float32)
    assert failures.bad_layer(network, x, y, [0]) == "linear1"
    assert failures.bad_layer(network, x / 1e38, y, [0]) is None


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_the_workers_end_with_the_run_however_it_ends(tmp_path, monkeypatch, kind):
    made = []

    def kept(net, engine, _):
        made.append(new_model(net, engine))
        return made[-1]

    def stop(event):
        if isinstance(event, Epoch) and event.epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "new_model", kept)
    run_of(tmp_path / "whole", engine=kind)
    with pytest.raises(KeyboardInterrupt):
        run_of(tmp_path / "cut", engine=kind, on_progress=stop)
    with pytest.raises(TrainingFailed):
        run_of(tmp_path / "failed", engine=kind, options={"lr": 1e30})
    assert len(made) == 3 and all(model.has_ended for model in made)


def test_a_worker_that_dies_ends_the_run_and_is_named(tmp_path, monkeypatch):
    made = []

    def kept(net, engine, _):
        made.append(new_model(net, engine))
        return made[-1]

    def kill(event):
        if isinstance(event, Epoch) and event.epoch == 2:
            os.kill(*made[0].team.children.values(), signal.SIGKILL)

    monkeypatch.setattr(loop, "new_model", kept)
    with pytest.raises(TrainingFailed, match="in epoch 3: worker 1 of 2 was killed by signal 9"):
        run_of(tmp_path / "r", engine="processes", on_progress=kill, epochs=5)
    info = load_checkpoint(checkpoint_path(tmp_path / "r", "last"), net_of().build())
    assert info["epoch"] == 2


@pytest.mark.parametrize("engine", ["textbook", "threads", "processes"])
def test_ctrl_c_passes_through_and_leaves_the_last_finished_epoch(tmp_path, engine):
    def interrupt(event):
        if isinstance(event, loop.Progress) and event.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_of(tmp_path / "r", epochs=5, on_progress=interrupt, engine=engine)
    info = load_checkpoint(checkpoint_path(tmp_path / "r", "last"), net_of().build())
    assert info["epoch"] == 2
    assert (
        weights(run_of(tmp_path / "two", epochs=2, engine=engine))
        == checkpoint_path(tmp_path / "r", "last").read_bytes()
    )


def test_regression_has_no_accuracy_and_keeps_the_lowest_loss(tmp_path):
    x = RNG.normal(size=(200, 2)).astype(np.float32)
    data = dataset(x, (x @ [[1.0], [2.0]]).astype(np.float32), classes=())
    events = []
    result = run_of(
        tmp_path / "r",
        "input 2\nlinear 1",
        data,
        loss="mse",
        epochs=30,
        batch=16,
        options={"lr": 0.03},
        on_progress=events.append,
    )
    losses = [e.val_loss for e in events if isinstance(e, Epoch)]
    assert result.test_accuracy is None and result.val_accuracy is None and result.test_loss < 1e-3
    assert losses[result.epoch - 1] == min(losses)


def test_mse_takes_class_labels(tmp_path):
    assert run_of(tmp_path / "r", loss="mse", epochs=10).test_accuracy > 0.5


@pytest.mark.parametrize("end", ["linear 1", "linear 1 -> sigmoid"])
@pytest.mark.parametrize("engine", ENGINES)
def test_bce_tells_two_classes_apart_by_one_output(tmp_path, first_model, end, engine):
    x = RNG.normal(size=(200, 2)).astype(np.float32)
    data = dataset(x, (x[:, 0] > 0.2).astype(np.int64))
    options = {"epochs": 20, "batch": 16, "options": {"lr": 0.1}}
    result = run_of(tmp_path / "r", f"input 2\n{end}", data, engine, loss="bce", **options)
    assert result.test_accuracy > 0.95 and result.val_accuracy > 0.9
    net = net_of(f"input 2\n{end}", loss="bce")
    model = first_model(net, engine)
    load_checkpoint(checkpoint_path(result.run, "best"), model)
    scores = evaluate(model, data, x, data.y_test, task_of(net, data))
    p = probabilities(net, model, x)
    assert scores.confusion.shape == (2, 2)
    assert scores.accuracy == np.mean(p.argmax(axis=1) == data.y_test) == result.test_accuracy
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)  # float32


def test_bce_takes_several_targets_from_0_to_1(tmp_path):
    x = RNG.normal(size=(200, 2)).astype(np.float32)
    data = dataset(x, (x > 0).astype(np.float32), classes=())
    result = run_of(tmp_path / "r", "input 2\nlinear 2", data, loss="bce", epochs=20, batch=16, options={"lr": 0.1})
    assert result.test_accuracy is None and result.test_loss < 0.2


def test_images_stay_bytes_until_their_batch_is_taken(tmp_path):
    x = RNG.integers(0, 256, (20, 1, 4, 4), dtype=np.uint8)
    data = dataset(x, np.arange(20) % 2, mean=(0.5,), std=(0.25,))
    result = run_of(tmp_path / "r", "input 1x4x4\nflatten -> linear 2", data)
    assert data.x_train is x and x.dtype == np.uint8 and result.epochs == 5


@pytest.mark.parametrize("count", [1, BATCH - 1, BATCH, BATCH + 1])
def test_scores_are_means_over_samples_whatever_the_batches(count):
    net, data = net_of(), load_dataset("spiral", None)
    model = net.build(seed=0)
    x, y = data.x_train[:count], data.y_train[:count]
    scores = evaluate(model, data, x, y, task_of(net, data))
    logits = model.logits(data.normalized(x))
    assert scores.samples == count and scores.confusion.sum() == count
    assert scores.accuracy == np.mean(logits.argmax(axis=1) == y)
    np.testing.assert_allclose(scores.loss, model.loss(logits, y)[0], rtol=1e-5)  # float32 means in other orders


def test_scores_of_weighted_classes_are_those_of_one_large_batch():
    net, data = net_of(loss_options={"weights": (1.0, 5.0, 0.2)}), load_dataset("spiral", None)
    model = net.build(seed=0)
    assert evaluation.weighing(net)(np.array([0, 1, 1, 2])) == pytest.approx(11.2)
    scores = evaluate(model, data, data.x_train, data.y_train, task_of(net, data), evaluation.weighing(net))
    expected = model.loss(model.logits(data.normalized(data.x_train)), data.y_train)[0]
    np.testing.assert_allclose(scores.loss, expected, rtol=1e-5)  # float32 means in other orders


@pytest.mark.parametrize(
    "end, loss", [("", "ce"), (" -> softmax", "ce"), (" -> softmax", "mse"), (" -> logsoftmax", "nll")]
)
def test_probabilities_are_the_softmax_applied_once(end, loss):
    net, plain = net_of(f"input 2\nlinear 3{end}", loss=loss), net_of("input 2\nlinear 3")
    x = SPIRAL.x_test[:5]
    logits = plain.build(seed=0).forward(x).astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities(net, net.build(seed=0), x), expected, rtol=1e-5)  # float32


@pytest.mark.parametrize(
    "text, changes, match",
    [
        ("input 3\nlinear 3", {}, "are 2, but `tiny` takes 3"),
        ("input 2\nlinear 4", {}, "has 3 classes, but `tiny` gives an output of 4"),
        ("input 2\nlinear 2", {}, "has 3 classes, but `tiny` gives an output of 2"),
        ("input 2\nlinear 1", {"loss": "bce"}, "`bce` tells two classes apart, but `spiral` has 3"),
    ],
)
def test_data_that_does_not_fit_the_net_is_refused_with_both_numbers(text, changes, match):
    with pytest.raises(UserError, match=match) as caught:
        check_fits(net_of(text, **changes), SPIRAL)
    assert caught.value.help


def test_targets_that_do_not_fit_the_loss_are_refused():
    x = np.zeros((4, 2), np.float32)
    data = dataset(x, np.zeros((4, 2), np.float32), classes=())
    with pytest.raises(UserError, match="`ce` needs class labels"):
        check_fits(net_of("input 2\nlinear 2"), data)
    with pytest.raises(UserError, match="2 classes, for which `bce` needs one output, but `tiny` gives an output of 2"):
        check_fits(net_of("input 2\nlinear 2", loss="bce"), dataset(x, np.array([0, 1, 1, 0])))
    with pytest.raises(UserError, match="needs targets from 0 to 1, but those of `made` go from -1 to 2"):
        check_fits(net_of("input 2\nlinear 1", loss="bce"), dataset(x, np.array([[-1.0], [0], [2], [1]]), classes=()))
    with pytest.raises(UserError, match="are 2, but `tiny` gives 1"):
        check_fits(net_of("input 2\nlinear 1", loss="mse"), data)


def test_classes_of_other_data_are_matched_by_name():
    x = np.zeros((3, 2), np.float32)
    data = dataset(x, np.array([0, 1, 1]), classes=("b", "a"))
    assert as_trained(data, ("a", "b", "c"), (1.0,), (2.0,)).y_test.tolist() == [1, 0, 0]
    with pytest.raises(UserError, match="class `b`, which the network does not know"):
        as_trained(data, ("a", "c"), (1.0,), (2.0,))
    with pytest.raises(UserError, match="trained to give numbers"):
        as_trained(data, (), (1.0,), (2.0,))


def test_no_warning_of_numpy_escapes_while_values_overflow(tmp_path):
    # pytest turns warnings into errors; the failure must still be ours
    with pytest.raises(TrainingFailed):
        run_of(tmp_path / "r", optimizer="sgd", options={"lr": 1e20}, epochs=20)
