"""What a run learns decides its measures, columns and words: labels, two classes, masks, numbers, its input again."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics

from netdsl.graph.recipe import MONITORS
from netdsl.graph.types import from_sizes, ids, tokens
from netdsl.ground.diagnostics import UserError
from netdsl.pipeline import compile_text
from netdsl.training.data.dataset import Dataset
from netdsl.training.data.datasets import load_dataset
from netdsl.training.loop.epochs import train
from netdsl.training.loop.session import started
from netdsl.training.loop.watch import Interrupted, Watch
from netdsl.training.runs.checkpoint import checkpoint_path, load_checkpoint
from netdsl.training.runs.engine import Engine
from netdsl.training.runs.folder import new_run, read_run
from netdsl.training.runs.history import ORDER, read_history
from netdsl.training.runs.views import open_run, score_run
from netdsl.training.scores.evaluation import (
    BATCH,
    check_fits,
    evaluate,
    fitted,
    measured_together,
    predictions,
    task_of,
)
from netdsl.training.scores.fitting import adapted, is_copy
from netdsl.training.scores.task import decided_task

RNG = np.random.default_rng(0)
ENGINES = {
    "interp": Engine("interp", 0, threads=1),
    "textbook": Engine("numpy", 0, threads=1),
    "threads": Engine("numpy", 2, "threads", 2),
    "processes": Engine("numpy", 2, "processes", 2),
}
X = RNG.integers(0, 256, (60, 1, 8, 8), dtype=np.uint8)
BRIGHT = (X[:, 0] // 86).astype(np.int64)  # three classes by brightness
SEGMENTER = "input 1x8x8\nconv 8 k3 p1 -> relu -> conv 3 k1"


def made(x, y, classes=(), name="made"):
    return Dataset(name, x, y, x, y, tuple(classes), (0.0,), (1.0,))


def net_of(text, **changes):
    net = compile_text(text, "tiny")
    changes = {"epochs": 3, "batch": 16, "options": {"lr": 0.02}, **changes}
    return net.with_recipe(replace(net.recipe, **changes))


def run_of(folder, text, data, engine="threads", **changes):
    net, events = net_of(text, **changes), []
    result = train(net, data, ENGINES[engine], new_run("tiny", folder), Watch(events.append))
    return result, events


MASK_LOSSES = {
    "ce": (SEGMENTER, BRIGHT),
    "nll": (f"{SEGMENTER} -> logsoftmax", BRIGHT),
    "bce": ("input 1x8x8\nconv 4 k3 p1 -> relu -> conv 1", (BRIGHT == 2).astype(np.int64)),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("loss", MASK_LOSSES)
def test_masks_are_learned_under_every_loss_of_classes_by_every_engine(tmp_path, loss, engine):
    text, masks = MASK_LOSSES[loss]
    data = made(X, masks, map(str, range(masks.max() + 1)))
    result, events = run_of(tmp_path / "r", text, data, engine, loss=loss, epochs=12)
    assert result.task.kind == "masks" and result.test_accuracy > 0.7
    confusion = result.scores.confusion
    assert confusion.sum() == masks.size and (confusion.sum(axis=1) == np.bincount(masks.ravel())).all()
    row = result.history[-1]
    assert row.train_loss < result.history[0].train_loss and 0.5 < row.train_accuracy < 1
    assert list(row.more) == ["val_miou"] and result.as_dict()["test_miou"] == result.scores.values["miou"]
    last = [event for event in events if not hasattr(event, "train_loss")][-1]
    assert last.accuracy == row.train_accuracy and last.loss == row.train_loss


def test_the_fast_module_learns_masks_as_the_textbook_does(tmp_path):
    data = made(X, BRIGHT, "abc")
    rows = [run_of(tmp_path / name, SEGMENTER, data, name)[0].history[-1] for name in ("textbook", "threads")]
    for name in ("train_loss", "val_loss", "val_miou"):
        np.testing.assert_allclose(rows[0].value(name), rows[1].value(name), rtol=1e-3)  # float32 after some steps


@pytest.mark.parametrize("engine", ["interp", "threads"])
def test_a_run_on_masks_that_was_stopped_comes_to_the_bytes_of_one_that_was_not(tmp_path, engine):
    data, net = made(X, BRIGHT, "abc"), net_of(SEGMENTER, monitor="val_miou", augment={"flip": True})
    whole, other = new_run("tiny", tmp_path / "whole"), new_run("tiny", tmp_path / "other")
    train(net, data, ENGINES[engine], whole)
    for _ in range(3):
        made_steps = []
        watch = Watch(made_steps.append, is_stopped=lambda made_steps=made_steps: len(made_steps) >= 3)
        with pytest.raises(Interrupted):
            train(net, data, ENGINES[engine], other, watch, resume=True)
    train(net, data, ENGINES[engine], other, resume=True)
    for which in ("last", "best"):
        assert checkpoint_path(whole, which).read_bytes() == checkpoint_path(other, which).read_bytes()
    rows = [[replace(row, seconds=0, samples_per_second=0) for row in read_history(run)] for run in (whole, other)]
    assert rows[0] == rows[1] and rows[0][0].more["val_miou"] > 0


def test_shapes_are_the_same_for_everybody_and_nobody_can_tell_a_class_by_its_grey():
    data = load_dataset("shapes", None)
    assert data.digest() == "a49541b86bce58b2dbb35c2bb1062465"
    assert data.x_train.shape == (800, 1, 32, 32) and data.y_test.shape == (200, 32, 32)
    means = [data.x_train[:, 0][data.y_train == k].mean() for k in range(4)]
    assert max(means) - min(means) < 12  # grey levels, beside 40 to 60 between a shape and its ground
    assert np.bincount(data.y_test.ravel(), minlength=4).min() > 5000
    np.testing.assert_allclose(data.x_train.mean() / 255, data.mean[0], atol=5e-5)  # four digits are kept
    np.testing.assert_allclose(data.x_train.std() / 255, data.std[0], atol=5e-5)


@pytest.mark.parametrize("options", [{"weights": (1.0, 2.0, 3.0)}, {"smooth": 0.1}, {"balanced": True}])
def test_masks_take_the_options_of_the_loss(tmp_path, options):
    result, _ = run_of(tmp_path / "r", SEGMENTER, made(X, BRIGHT, "abc"), loss_options=options)
    assert np.isfinite(result.test_loss)


def test_iou_is_scikit_learns_over_all_pixels_and_masks_are_measured_in_small_batches(tmp_path):
    net, data = net_of(SEGMENTER), made(X, BRIGHT, "abc")
    model = net.build(seed=0)
    scores = [evaluate(model, data, X, BRIGHT, task_of(net, data), batch=batch) for batch in (7, 60)]
    said = model.logits(data.normalized(X)).argmax(axis=1)
    for found in scores:
        wanted = metrics.jaccard_score(BRIGHT.ravel(), said.ravel(), average="macro")
        assert found.values["miou"] == pytest.approx(wanted, rel=1e-12)
    np.testing.assert_allclose(scores[0].loss, scores[1].loss, rtol=1e-5)  # float32 sums
    wide = compile_text("input 1x512x512\nconv 64 k3 p1 -> relu -> conv 2")
    assert measured_together(wide) == 4 and measured_together(net) == BATCH


@pytest.mark.parametrize(
    "text, changes, message",
    [
        ("input 1x8x8\nconv 4 k3 p1", {}, "8x8 with 3 classes, for which `ce` needs an output of 3x8x8, but"),
        ("input 1x8x8\nflatten -> linear 3", {}, "needs an output of 3x8x8, but `tiny` gives 3"),
        ("input 1x8x8\nconv 3 k3", {}, "but `tiny` gives 3x6x6"),
        (SEGMENTER, {"loss": "mse"}, "a class for each pixel, which the loss `mse` cannot take"),
        ("input 1x8x8\nconv 1", {"loss": "bce"}, "`bce` tells two classes apart, but the masks of `made` have 3"),
        (SEGMENTER, {"augment": {"mixup": 0.2}}, "`mixup` mixes the labels of samples, but the output is 3x8x8"),
        (SEGMENTER, {"monitor": "val_auc"}, "`monitor val_auc` is not measured here"),
        (SEGMENTER, {"monitor": "val_miou", "val": 0.0}, "`monitor val_miou` needs validation data"),
    ],
)
def test_what_does_not_fit_masks_is_said_in_one_line(text, changes, message):
    with pytest.raises(UserError, match=message) as caught:
        fitted(net_of(text, **changes), made(X, BRIGHT, "abc"))
    assert caught.value.help


# --------------------------------------------------------------------------------------- numbers, two classes, itself


def line_data(outputs=1):
    x = RNG.normal(size=(120, 3)).astype(np.float32)
    return made(x, (x @ RNG.normal(size=(3, outputs))).astype(np.float32))


def test_a_regression_has_its_own_columns_and_no_empty_one(tmp_path):
    data = line_data(2)
    result, _ = run_of(tmp_path / "r", "input 3\nlinear 2", data, loss="mse", epochs=20, val=0.2)
    assert result.task.kind == "regression"
    header, *rows = (result.run / "metrics.csv").read_text().splitlines()
    names = "epoch,train_loss,val_loss,val_mae,val_rmse,val_r2,lr,seconds,samples_per_second"
    assert header == names and all("" not in row.split(",") for row in rows)
    assert read_history(result.run).epochs == result.history.epochs
    with open_result(result, data) as (net, model):
        predicted = predictions(net, model, data.normalized(data.x_test))
    assert result.scores.values["r2"] == pytest.approx(metrics.r2_score(data.y_test, predicted), rel=1e-5)
    assert result.scores.values["mae"] == pytest.approx(metrics.mean_absolute_error(data.y_test, predicted), rel=1e-5)
    written = json.loads((result.run / "result.json").read_text())
    assert list(written)[:4] == ["test_mae", "val_mae", "test_rmse", "test_r2"] and "test_accuracy" not in written


class open_result:
    """The net and the weights of a run that has no config: those that were tested."""

    def __init__(self, result, data, text="input 3\nlinear 2", loss="mse"):
        self.net = net_of(text, loss=loss)
        self.model = self.net.build(seed=0)
        load_checkpoint(result.run / "weights.safetensors", self.model)

    def __enter__(self):
        return self.net, self.model

    def __exit__(self, *error):
        self.model.close()


@pytest.mark.parametrize("end, loss", [("linear 2", "ce"), ("linear 1", "bce"), ("linear 2", "mse")])
def test_two_classes_have_auc_and_a_curve(tmp_path, end, loss):
    x = RNG.normal(size=(160, 3)).astype(np.float32)
    y = (x[:, 0] + RNG.normal(0, 0.5, 160) > 0).astype(np.int64)
    result, _ = run_of(tmp_path / "r", f"input 3\n{end}", made(x, y, ("no", "yes")), loss=loss, epochs=8)
    assert result.task.kind == "binary" and list(result.history[-1].more) == ["val_f1", "val_auc"]
    assert [*result.scores.values] == ["accuracy", "precision", "recall", "f1", "auc"]
    assert result.scores.roc.area == result.scores.values["auc"] > 0.8


def test_float_targets_of_0_and_1_under_bce_are_two_classes():
    net, x = net_of("input 3\nlinear 1", loss="bce"), RNG.normal(size=(20, 3)).astype(np.float32)
    for y, classes in ((np.arange(20) % 2, ("0", "1")), (np.arange(20) / 20, ())):
        data = adapted(net, made(x, y[:, None].astype(np.float32)))
        assert data.classes == classes and data.y_test.dtype == (np.int64 if classes else np.float32)
        check_fits(net, data)
    maps = net_of("input 1x8x8\nconv 1", loss="bce")
    assert adapted(maps, made(X, (X > 128).astype(np.float32))).y_train.shape == (60, 8, 8)


def test_a_net_that_gives_its_input_learns_it_where_labels_do_not_fit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "input 1x28x28\nconv 4 k3 p1 -> relu -> conv 1 k3 p1"
    for loss in ("mse", "bce"):
        net = net_of(text, loss=loss, epochs=1, data="mnist-mini")
        with started(net, ENGINES["threads"], limit=100, out=tmp_path / loss, autotune=False) as session:
            assert is_copy(session.dataset) and session.dataset.y_train.max() == 1
            result = session.train()
        assert result.task.kind == "reconstruction" and read_run(result.run).config.classes == ()
        with open_run(result.run, None) as view:
            assert score_run(view).values == result.scores.values
            predicted = predictions(view.net, view.model, view.dataset.normalized(view.dataset.x_test))
        wanted = metrics.mean_absolute_error(view.dataset.y_test.ravel(), predicted.ravel())
        assert result.scores.values["mae"] == pytest.approx(wanted, rel=1e-4)  # float32 beside float64


def test_labels_that_fit_stay_labels():
    net = net_of("input 2\nlinear 2", loss="mse")
    x = RNG.normal(size=(10, 2)).astype(np.float32)
    data = made(x, np.arange(10) % 2, "ab")
    assert adapted(net, data) is data
    three = made(x, np.arange(10) % 3, "abc")
    assert is_copy(adapted(net, three)) and adapted(net_of("input 2\nlinear 2"), three) is three


# ------------------------------------------------------------------------------------------------ the best epoch


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy", "val_f1"])
def test_the_monitor_chooses_the_best_epoch(tmp_path, monitor):
    data = load_dataset("spiral", None, limit=300)
    result, _ = run_of(
        tmp_path / "r", "input 2\nlinear 16 -> relu -> linear 3", data, monitor=monitor, epochs=12, options={"lr": 0.3}
    )
    column = result.history.column(monitor)
    assert result.used.value(monitor) == (min(column) if monitor == "val_loss" else max(column))
    assert result.history.monitor == monitor


def test_every_monitor_is_a_column_that_some_task_has_and_better_is_the_same_everywhere():
    takes, ways = (1, 8, 8), {"val_loss": False}
    for loss, gives, classes in (
        ("ce", (7,), "abcdefg"),
        ("bce", (1,), "ab"),
        ("ce", (2, 8, 8), "ab"),
        ("mse", (1,), ""),
    ):
        task = decided_task(loss, from_sizes(takes), from_sizes(gives), tuple(classes))
        by_name = {f"val_{measure.name}": measure.is_better_higher for measure in task.measures}
        ways |= {name: by_name[name] for name in task.monitors if name != "val_loss"}
    for task in (decided_task("ce", ids(8, 3), tokens(8, 3), tuple("abc")),):
        by_name = {f"val_{measure.name}": measure.is_better_higher for measure in task.measures}
        ways |= {name: by_name[name] for name in task.monitors if name != "val_loss"}
    assert ways == MONITORS and set(MONITORS) <= set(ORDER)


def test_patience_waits_for_what_the_monitor_says(tmp_path):
    data, text = load_dataset("spiral", None, limit=300), "input 2\nlinear 16 -> relu -> linear 3"
    result, _ = run_of(tmp_path / "r", text, data, monitor="val_f1", patience=2, epochs=40)
    values = result.history.column("val_f1")
    best = values.index(max(values)) + 1
    assert result.epochs == min(40, best + 2) or values.count(max(values)) > 1


def test_an_old_config_chooses_by_accuracy_as_it_did(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = net_of("input 2\nlinear 3", data="spiral", epochs=1)
    with started(net, ENGINES["textbook"], limit=50, out=tmp_path / "r") as session:
        session.train()
    values = json.loads((tmp_path / "r/config.json").read_text())
    assert values["recipe"].pop("monitor") == "val_loss"
    (tmp_path / "r/config.json").write_text(json.dumps(values))
    assert read_run(tmp_path / "r").config.recipe.monitor == "val_accuracy"


def test_old_metrics_are_read(tmp_path):
    old = (
        "epoch,train_loss,train_accuracy,val_loss,val_accuracy,lr,seconds,samples_per_second\n1,0.5,,0.4,,0.1,1.0,9.0\n"
    )
    (tmp_path / "metrics.csv").write_text(old)
    (row,) = read_history(tmp_path)
    assert row.train_accuracy is None and row.val_loss == 0.4 and row.more == {}
    (tmp_path / "metrics.csv").write_text(old.replace("lr", "larry"))
    with pytest.raises(UserError, match="is damaged: expected the columns epoch, train_loss, lr"):
        read_history(tmp_path)
