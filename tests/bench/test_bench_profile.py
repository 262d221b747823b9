"""`netdsl bench --profile`: the stages of one worker, timed in their places."""

import json

import pytest

import netdsl
from netdsl.bench.profile import profile
from netdsl.bench.samples import Samples
from netdsl.cli import run
from netdsl.targets.fast import emitter

SPEC = "input 8x12x12\nconv 8 k3 p1 nobias -> bn -> relu -> pool 2\nflatten -> linear 10\n"


def test_every_stage_is_timed_and_works_as_before():
    net = netdsl.compile_text(SPEC)
    train, inference = profile(net, Samples(net, 6), 2)
    methods = {(row.stage, row.method) for row in train.rows}
    assert {("conv1", "forward"), ("conv1", "backward"), ("bn1", "backward"), ("linear1", "forward")} <= methods
    assert not [row for row in inference.rows if row.method == "backward"]
    for found in (train, inference):
        assert 0 < sum(row.ms for row in found.rows) <= found.step_ms
        assert sum(row.share for row in found.rows) <= 1
        conv = next(row for row in found.rows if row.stage == "conv1" and row.method == "forward")
        macs, samples = 8 * 8 * 9 * 144, 3
        assert conv.gflops is not None and abs(conv.gflops * conv.ms * 1e6 / (2 * macs * samples) - 1) < 1e-6
        assert "conv1" in str(found) and "GFLOP/s" in str(found)


def test_a_batch_that_cannot_be_trained_on_is_inferred_alone():
    net = netdsl.compile_text("input 4\nlinear 3 -> bn -> linear 2\n")
    assert [found.kind for found in profile(net, Samples(net, 1), 1)] == ["inference"]
    assert [found.kind for found in profile(net, Samples(net, 2), 1)] == ["train", "inference"]


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize(("saving", "splitting"), [(0, 1e8), (1 << 20, 1), (0, 1)])
def test_networks_that_save_memory_or_share_layers_are_timed(saving, splitting, batch, monkeypatch):
    monkeypatch.setattr(emitter, "WORTH_SAVING", saving)
    monkeypatch.setattr(emitter, "WORTH_SPLITTING", splitting)
    net = netdsl.compile_text(SPEC.replace("linear 10", "linear 900 -> linear 900"))
    for found in profile(net, Samples(net, batch), 2):
        assert {row.stage for row in found.rows} >= {"conv1", "linear2"}


@pytest.mark.slow("the profile of a network, by the command")
def test_the_command_shows_it(tmp_path, capsys):
    spec = tmp_path / "net.net"
    spec.write_text(SPEC)
    assert run(["bench", str(spec), "--batch", "4", "--steps", "1", "--profile", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["profile"]["train"]["stages"] and told["profile"]["inference"]["peak_gflops"] > 0
    assert run(["bench", str(spec), "-O", "0", "--profile"]) == 2
    assert "-O2" in capsys.readouterr().err
