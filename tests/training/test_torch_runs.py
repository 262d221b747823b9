"""Runs that PyTorch computes: they fail, go on and are read as those of NumPy do, and NumPy goes on with them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file
from small_runs import DATA, ENGINES, changed_net, kept, net_of, stop_after

import netdsl
from netdsl.cli import run as netdsl_command
from netdsl.ground.diagnostics import TrainingFailed, UserError
from netdsl.targets.torch import target
from netdsl.training.loop.epochs import train
from netdsl.training.loop.session import resumed
from netdsl.training.loop.watch import Interrupted, Watch
from netdsl.training.runs.checkpoint import checkpoint_path
from netdsl.training.runs.engine import Engine, changed_engine
from netdsl.training.runs.folder import new_run
from netdsl.training.runs.state import OF_SOME

SPEC = "input 2\nlinear 8 -> relu\nlinear 3\ntrain {\n  data spiral\n  epochs 2\n  ema 0.9\n  opt adam lr=1e-2\n}\n"


def arrays_of(run):
    return load_file(checkpoint_path(run, "last"))


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "rmsprop", "adamw"])
def test_a_run_that_changes_its_backend_twice_comes_to_the_same_weights_but_for_rounding(tmp_path, optimizer):
    whole, broken = new_run("tiny", tmp_path / "whole"), new_run("tiny", tmp_path / "broken")
    net = net_of(optimizer, decay="matrices") if optimizer == "adamw" else net_of(optimizer)
    train(net, DATA, ENGINES["fast"], whole)
    for engine, steps, is_resumed in (("fast", 3, False), ("torch", 4, True), ("interp", 2, True)):
        with pytest.raises(Interrupted):
            train(net, DATA, ENGINES[engine], broken, stop_after(steps), is_resumed)
    train(net, DATA, ENGINES["torch"], broken, resume=True)
    expected = arrays_of(whole)
    for name, array in arrays_of(broken).items():
        np.testing.assert_allclose(array, expected[name], rtol=2e-3, atol=2e-5, err_msg=name)  # 12 steps in float32
    assert [row.epoch for row in kept(broken)[0]] == [row.epoch for row in kept(whole)[0]]


def test_only_a_checkpoint_of_float16_has_its_factor_and_either_goes_on_with_the_other(tmp_path):
    run, held = new_run("tiny", tmp_path / "run"), []
    for engine in ("fast", "float16", "float16", "torch"):
        with pytest.raises(Interrupted):
            train(net_of(), DATA, ENGINES[engine], run, stop_after(2), bool(held))
        held.append(OF_SOME[0] in arrays_of(run))
    assert held == [False, True, True, False]


def failing(tmp_path, engine, value):
    data = replace(DATA, x_train=DATA.x_train.astype(np.float32))
    data.x_train[:] = value
    run = new_run("tiny", tmp_path / "run")
    with pytest.raises(TrainingFailed) as failed:
        train(changed_net("adam", augment={}), data, ENGINES[engine], run)
    return str(failed.value), json.loads((run / "failure.json").read_text())


def test_a_nan_ends_in_the_words_of_numpy(tmp_path):
    text, failure = failing(tmp_path, "torch", np.nan)
    assert failure["layer"] == "conv1" and failure["epoch"] == failure["step"] == 1 and failure["samples"]
    assert "epoch 1, step 1: the loss is not a finite number; it begins in layer `conv1`" in text


def test_what_overflows_in_16_bits_alone_is_called_so(tmp_path):
    text, failure = failing(tmp_path, "float16", 1e7)
    assert "the loss is not a finite number in float16, which rounds more" in text and failure["layer"] is None
    assert "in float32 it is one (leave `--amp` out" in text


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of PyTorch that is over."""
    run = tmp_path_factory.mktemp("trained") / "run"
    net = netdsl.compile_text(SPEC, "tiny")
    netdsl.train(net, run, limit=200, engine=netdsl.Engine("torch", device=netdsl.Device("cpu")))
    return run


@pytest.fixture
def without_torch(monkeypatch):
    monkeypatch.setattr(target, "find_spec", lambda name: None)


def test_where_pytorch_is_missing_a_line_says_what_does_without(trained, without_torch, tmp_path, capsys):
    (tmp_path / "points.csv").write_text("0.1,0.2\n0.3,0.4\n")
    for command in (["eval"], ["plot", "curves", "--out", str(tmp_path)], ["predict", str(tmp_path / "points.csv")]):
        asked = [command[0], str(trained), *command[1:]]
        assert netdsl_command(asked) == 2
        assert capsys.readouterr().err.splitlines() == [
            "error: PyTorch is not installed",
            "help: `pip install 'netdsl[torch]'` brings it; `--backend numpy` does without",
        ]
        assert netdsl_command([*asked, "--backend", "numpy"]) == 0, capsys.readouterr().err
    capsys.readouterr()
    with pytest.raises(UserError, match="not installed"), netdsl.open_run(trained):
        pass
    with netdsl.open_run(trained, engine=netdsl.Engine()) as view:
        assert view.model.predict(view.dataset.x_test).shape == (len(view.dataset.x_test),)


def test_every_way_of_reading_a_run_of_pytorch_gives_what_numpy_gives(trained, capsys):
    told = []
    for backend in ([], ["--backend", "numpy"]):
        assert netdsl_command(["eval", str(trained), "--json", *backend]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert told[0]["accuracy"] == told[1]["accuracy"]
    np.testing.assert_allclose(told[0]["loss"], told[1]["loss"], rtol=1e-5)


def test_a_resumed_run_says_where_pytorch_is_another_one_than_when_it_began(tmp_path):
    net, run, notes = netdsl.compile_text(SPEC, "tiny"), tmp_path / "run", []
    netdsl.train(net, run, limit=100, engine=netdsl.Engine("torch", device=netdsl.Device("cpu")), epochs=1)
    known = json.loads((run / "env.json").read_text())
    (run / "env.json").write_text(json.dumps({**known, "torch": "1.0"}))

    def note_of(backend):
        notes.clear()
        with resumed(run, None, 3, notes.append, lambda own: changed_engine(own, {"backend": backend})):
            return [note for note in notes if "1.0" in note]

    assert note_of("torch") and note_of("torch")[0].startswith("torch was 1.0, is 2.")
    assert not note_of("numpy")  # which it is has no say there


def test_ctrl_c_in_the_midst_of_a_step_leaves_the_last_checkpoint(tmp_path):
    run, seen = new_run("tiny", tmp_path / "run"), []

    def interrupt(event):
        seen.append(event)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(net_of(), DATA, ENGINES["torch"], run, Watch(interrupt, save_every=1))
    train(net_of(), DATA, ENGINES["torch"], run, resume=True)
    train(net_of(), DATA, ENGINES["torch"], new_run("tiny", tmp_path / "other"))
    assert kept(run) == kept(tmp_path / "other")


def test_an_engine_of_the_python_interface_is_that_of_the_command_line():
    engine = netdsl.Engine("torch", device=netdsl.Device("cpu", amp="bfloat16"))
    asked = {"backend": "torch", "name": "cpu", "amp": "bfloat16", "level": None}
    assert netdsl.Engine is Engine and changed_engine(Engine(), asked).device == engine.device
