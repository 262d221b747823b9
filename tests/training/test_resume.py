"""A run that was stopped anywhere and resumed has the same bytes as one that never stopped, and nothing gets lost."""

import errno
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from drawing import in_part
from small_runs import DATA, ENGINES, OPTIMIZERS, STEPS, TINY, changed_net, kept, net_of, stop_after

from netdsl.ground.diagnostics import TrainingFailed, UserError
from netdsl.pipeline import compile_text
from netdsl.training.loop import epochs as loop
from netdsl.training.loop.epochs import train
from netdsl.training.loop.watch import Interrupted, Watch
from netdsl.training.runs.checkpoint import CHECKPOINTS, checkpoint_path
from netdsl.training.runs.folder import locked, new_run
from netdsl.training.runs.history import read_history
from netdsl.training.scores import evaluation


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """whole(optimizer, engine) -> what a run that was never stopped kept, and its result."""
    known = {}

    def get(optimizer="adam", engine="interp"):
        if (optimizer, engine) not in known:
            run = new_run("tiny", tmp_path_factory.mktemp("whole") / "run")
            result = train(net_of(optimizer), DATA, ENGINES[engine], run)
            known[optimizer, engine] = kept(run), result
        return known[optimizer, engine]

    return get


@in_part("every", 5, 1, "runs resumed after every step")
@pytest.mark.parametrize("engine", ["interp", "fast", "torch", "float16"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_resumed_after_any_step_has_the_bytes_of_one_never_stopped(tmp_path, whole, optimizer, engine, every):
    expected, result = whole(optimizer, engine)
    for step in range(1, STEPS + 1, every):
        run = new_run("tiny", tmp_path / str(step))
        with pytest.raises(
            Interrupted, match=f"stopped in epoch {(step + 3) // 4} after step {(step - 1) % 4 + 1} of 4"
        ):
            train(net_of(optimizer), DATA, ENGINES[engine], run, stop_after(step))
        again = train(net_of(optimizer), DATA, ENGINES[engine], run, resume=True)
        assert kept(run) == expected, step
        assert (again.test_loss, again.test_accuracy, again.epoch) == (
            result.test_loss,
            result.test_accuracy,
            result.epoch,
        )


OF_SIGNALS = "shift=3 flip scale=0.2 noise=0.1 mixup=0.2 stretch=0.2 mask=9"
OF_IMAGES = (
    "shift=1 rotate=9 zoom=0.1 shear=9 resizedcrop=0.5 flip vflip brightness=0.3 contrast=0.3 blur=0.5 erase=0.5"
)


@pytest.mark.parametrize(
    "given, changes",
    [("1x64 map", OF_SIGNALS), ("1x8x8", f"{OF_IMAGES} mixup=0.2 cutmix=1"), ("1x4x4x4", "shift=1 vflip cutmix=1")],
)
def test_a_run_on_augmented_samples_resumed_after_any_step_has_the_same_bytes(tmp_path, given, changes):
    text = f"input {given}\nconv 4 k3 -> relu -> flatten -> linear 3\ntrain {{ augment {changes}, epochs 2, batch 16 }}"
    net = compile_text(text, "tiny")
    shape = net.graph.input_shape
    parts = {name: getattr(DATA, name).reshape(-1, *shape) for name in ("x_train", "x_test")}
    data = replace(DATA, **parts, layout="map")
    train(net, data, ENGINES["interp"], new_run("tiny", tmp_path / "whole"))
    for step in (1, 3, 4, 5, 8):
        run = new_run("tiny", tmp_path / str(step))
        with pytest.raises(Interrupted):
            train(net, data, ENGINES["interp"], run, stop_after(step))
        train(net, data, ENGINES["interp"], run, resume=True)
        assert kept(run) == kept(tmp_path / "whole"), step


@pytest.mark.parametrize("engine", ["textbook", "processes", "torch", "float16"])
def test_a_run_stopped_after_every_single_step_has_the_same_bytes(tmp_path, whole, engine):
    run, resume = new_run("tiny", tmp_path / "run"), False
    for _ in range(STEPS):
        with pytest.raises(Interrupted):
            train(net_of(), DATA, ENGINES[engine], run, stop_after(1), resume)
        resume = True
    train(net_of(), DATA, ENGINES[engine], run, resume=True)
    assert kept(run) == whole("adam", engine)[0]


def test_layer_objects_and_textbook_and_threads_and_processes_keep_the_same_bytes(whole):
    assert whole("adam", "interp")[0] == whole("adam", "textbook")[0]
    assert whole("adam", "threads")[0] == whole("adam", "processes")[0]


def test_a_checkpoint_calls_its_counters_as_the_first_version_did(whole):
    (_, last, _), _ = whole()
    header = json.loads(last[8 : 8 + int.from_bytes(last[:8], "little")])
    position = json.loads(header["__metadata__"]["netdsl"])["position"]
    assert position == {"epoch": 4, "step": 0, "samples": 0, "loss": 0.0, "found": 0}


def test_checkpoints_within_epochs_change_nothing(tmp_path, whole):
    run = new_run("tiny", tmp_path / "run")
    train(net_of(), DATA, ENGINES["interp"], run, Watch(save_every=1))
    assert kept(run) == whole()[0]
    run, made, real = new_run("tiny", tmp_path / "minute"), [], loop.save_state
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "save_state", lambda *given: (real(*given), made.append(given[4])))
        steps = []  # of 25 s each
        train(net_of(), DATA, ENGINES["interp"], run, Watch(steps.append, clock=lambda: 25 * len(steps)))
    assert kept(run) == whole()[0] and [(at.epoch, at.step) for at in made] == [
        (1, 3),
        (2, 0),
        (2, 2),
        (3, 0),
        (3, 2),
        (4, 0),
    ]


def test_a_run_can_be_made_longer_and_then_is_what_it_would_have_been(tmp_path):
    longer = net_of(epochs=5, schedule="const")
    run, other = new_run("tiny", tmp_path / "run"), new_run("tiny", tmp_path / "other")
    train(net_of(epochs=2, schedule="const"), DATA, ENGINES["interp"], run)
    train(longer, DATA, ENGINES["interp"], run, resume=True)
    train(longer, DATA, ENGINES["interp"], other)
    assert kept(run) == kept(other)


def test_a_stop_while_the_network_is_measured_loses_nothing(tmp_path, whole):
    for batch in range(1, 5):  # validation of three epochs, and the test
        run, asked, count = new_run("tiny", tmp_path / str(batch)), [], itertools.count(1)

        def measured(model, data, x, y, task, weights, before_batch, size, batch=batch, asked=asked, count=count):
            asked.extend([True] * (next(count) == batch))
            before_batch()
            return evaluation.evaluate(model, data, x, y, task, weights, batch=size)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "evaluate", measured)
            with pytest.raises(Interrupted):
                train(net_of(), DATA, ENGINES["interp"], run, Watch(is_stopped=lambda asked=asked: bool(asked)))
        train(net_of(), DATA, ENGINES["interp"], run, resume=True)
        assert kept(run) == whole()[0], batch


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_last_checkpoint_is_replaced_by_the_one_before_which_stays(tmp_path, whole, damage):
    run, notes = new_run("tiny", tmp_path / "run"), []
    with pytest.raises(Interrupted):
        train(net_of(), DATA, ENGINES["interp"], run, replace(stop_after(10), save_every=1))
    last = checkpoint_path(run, "last")
    data = bytearray(last.read_bytes())
    data[-5] ^= 1
    last.unlink()
    if damage != "gone":
        last.write_bytes(data if damage == "flipped" else data[:-5])
    with pytest.raises(Interrupted):
        train(net_of(), DATA, ENGINES["interp"], run, replace(stop_after(1), on_note=notes.append), resume=True)
    assert len(notes) == 1 and "training goes on from `prev`" in notes[0]
    train(net_of(), DATA, ENGINES["interp"], run, resume=True)
    assert kept(run) == whole()[0]


def test_where_no_checkpoint_can_be_read_that_is_an_error_and_where_there_is_none_it_begins_anew(tmp_path, whole):
    run, notes = new_run("tiny", tmp_path / "run"), []
    train(net_of(), DATA, ENGINES["interp"], run, Watch(on_note=notes.append), resume=True)
    assert kept(run) == whole()[0] and notes == ["no checkpoint was saved yet: training starts at the beginning"]
    for which in CHECKPOINTS:
        checkpoint_path(run, which).write_bytes(b"")
    with pytest.raises(UserError, match="last.safetensors` is not a whole .*; .*prev.*; .*best"):
        train(net_of(), DATA, ENGINES["interp"], run, resume=True)


def test_metrics_that_were_written_before_a_crash_have_no_row_twice(tmp_path, whole, monkeypatch):
    run = new_run("tiny", tmp_path / "run")

    def crash(*given):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_state", crash)
        with pytest.raises(OSError):
            train(net_of(), DATA, ENGINES["interp"], run)
    assert len(read_history(run)) == 1  # a row, and no checkpoint
    train(net_of(), DATA, ENGINES["interp"], run, resume=True)
    assert kept(run) == whole()[0]


def test_a_nan_keeps_the_last_good_checkpoint_and_the_batch_is_named(tmp_path):
    run = new_run("tiny", tmp_path / "run")
    data = replace(DATA, x_train=DATA.x_train.astype(np.float32))
    feed = loop.Feed(data, net_of(augment={}).recipe)
    rows = feed.batch(2, 3).rows
    data.x_train[rows[4]] = np.nan
    first = 1 + min(step for epoch in (1,) for step in range(4) if rows[4] in feed.batch(epoch, step + 1).rows)
    with pytest.raises(TrainingFailed, match=rf"epoch 1, step {first}: the loss is not .* layer `conv1`.*failure.json"):
        train(net_of(augment={}), data, ENGINES["threads"], run, Watch(save_every=1))
    failure = json.loads((run / "failure.json").read_text())
    assert failure["layer"] == "conv1" and rows[4] in failure["samples"] and failure["step"] == first
    if first > 1:
        data.x_train[rows[4]] = 0
        train(net_of(augment={}), data, ENGINES["threads"], run, resume=True)


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    run = new_run("tiny", tmp_path / "run")
    ruined = changed_net("sgd", schedule="const", clip=None, ema=None)
    ruined = ruined.with_recipe(replace(ruined.recipe, options={"lr": 1e39}))
    for watch in (Watch(save_every=1), stop_after(1)):
        with pytest.raises(TrainingFailed, match="epoch 1, step 1: a param or buffer is not a finite number"):
            train(ruined, DATA, ENGINES["fast"], run, watch)
    assert not checkpoint_path(run, "last").exists()


@pytest.mark.parametrize("level", [0, 2])
def test_a_module_that_was_compiled_reads_the_weights_of_a_checkpoint(tmp_path, level):
    run = new_run("tiny", tmp_path / "run")
    train(changed_net("adam", epochs=1), DATA, ENGINES["interp"], run)
    held = []
    for file in (checkpoint_path(run, "best"), run / "weights.safetensors"):
        model = TINY.numpy_model(seed=3, level=level, **({"workers": 1} if level else {}))
        model.load(file)
        held.append(model.forward(DATA.normalized(DATA.x_test)))
        getattr(model, "close", lambda: None)()
    assert np.array_equal(*held)


def test_a_run_that_another_process_trains_is_refused(tmp_path):
    run = new_run("tiny", tmp_path / "run")
    code = f"""import sys
from pathlib import Path
from netdsl.training.runs.folder import locked
with locked(Path({str(run)!r})):
    print("in", flush=True)
    sys.stdin.read()"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"in\n"
        with pytest.raises(UserError, match="another process trains"), locked(run):
            pass
        other.kill()
    (run / "checkpoints" / ".last.safetensors.0123.tmp").write_bytes(b"half")
    with locked(run):  # the lock ended with its process
        assert not list(run.rglob("*.tmp"))


# ------------------------------------------------------------------------------------------------ failing system calls

CALLS = ("open", "write", "fsync", "close", "replace", "link", "chmod", "unlink")
ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES, "short")


class Failing:
    """Lets the n-th of all calls of a save fail, those of the main thread on regular files and their folders."""

    def __init__(self, patch, at, error):
        self.count, self.at, self.error = 0, at, error
        for name in CALLS:
            patch.setattr(os, name, self.wrapped(name, getattr(os, name)))

    def wrapped(self, name, real):
        def call(*given, **named):
            if threading.current_thread() is not threading.main_thread():
                return real(*given, **named)
            self.count += 1
            if self.count != self.at:
                return real(*given, **named)
            if self.error == "short":
                return real(given[0], bytes(given[1])[:7]) if name == "write" else real(*given, **named)
            if name == "close":
                real(*given)
            raise OSError(self.error, os.strerror(self.error), str(given[0]))

        return call


def stopped_again(run, at=0, error=None):
    """Goes on with a copy of a run for six steps, over the end of epoch 1; system call `at` fails."""
    with pytest.MonkeyPatch.context() as patch:
        failing = Failing(patch, at, error)
        with pytest.raises((OSError, UserError, Interrupted)):
            train(net_of(), DATA, ENGINES["interp"], run, stop_after(6), resume=True)
    return failing.count


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """-> a run stopped in epoch 1, the checkpoints that may follow, and how many system calls their saves take."""
    run, states = new_run("tiny", tmp_path_factory.mktemp("begun") / "run"), set()
    with pytest.raises(Interrupted):
        train(net_of(), DATA, ENGINES["interp"], run, stop_after(3))
    real = loop.save_state

    def noted(path, *given):
        real(path, *given)
        states.add(path.read_bytes())

    states.add(checkpoint_path(run, "last").read_bytes())
    copy = shutil.copytree(run, run.with_name("copy"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "save_state", noted)
        stopped_again(copy)
    assert len(states) == 4  # of the start, the ends of the epochs 1 and 2, and the stop in epoch 3
    return run, states, stopped_again(shutil.copytree(run, run.with_name("counted")))


@pytest.mark.parametrize(
    "error",
    [ERRORS[0], *(pytest.param(e, marks=pytest.mark.slow("every error of a system call")) for e in ERRORS[1:])],
    ids=lambda e: errno.errorcode.get(e, e),
)
def test_whichever_system_call_of_a_save_fails_nothing_is_lost_and_nothing_torn(tmp_path, whole, begun, error):
    start, states, faults = begun
    assert faults > 30
    for at in range(1, faults + 1):
        run = shutil.copytree(start, tmp_path / str(at))
        stopped_again(run, at, error)
        held = {which: checkpoint_path(run, which) for which in CHECKPOINTS}
        assert all(path.read_bytes() in states for path in held.values() if path.exists()), at
        assert held["last"].exists(), at
        if at % 5 == ERRORS.index(error):
            with locked(run):
                train(net_of(), DATA, ENGINES["interp"], run, resume=True)
            assert kept(run) == whole()[0] and not list(run.rglob("*.tmp")), at
    print(f"\n{faults} system calls failed in turn, nothing lost, nothing torn")


def test_a_full_disk_ends_training_and_leaves_a_run_to_go_on_with(tmp_path, whole):
    run = new_run("tiny", tmp_path / "run")
    with pytest.raises(Interrupted):
        train(net_of(), DATA, ENGINES["interp"], run, stop_after(6))
    size = checkpoint_path(run, "last").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, before[1]))
    try:
        with pytest.raises(OSError) as caught:
            train(net_of(), DATA, ENGINES["interp"], run, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG and "last.safetensors" in str(caught.value.filename)
    train(net_of(), DATA, ENGINES["interp"], run, resume=True)
    assert kept(run) == whole()[0]
