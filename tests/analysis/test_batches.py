"""A network that cannot be trained on a batch is refused before anything begins, in one line, as by PyTorch."""

import numpy as np
import pytest

from netdsl.analysis.batches import check_batch
from netdsl.cli import run
from netdsl.ground.diagnostics import UserError
from netdsl.pipeline import compile_text
from netdsl.targets.torch.running import torch_model
from netdsl.training.loop.epochs import train
from netdsl.training.runs.engine import Engine
from netdsl.verify.agreement import verify

VECTOR = "input 4\nlinear 8 nobias -> bn -> relu -> linear 2\n"
POINT = "input 3x4x4\nconv 4 k4 nobias -> bn -> relu -> flatten -> linear 2\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A spec, and 21 samples to train on."""
    (tmp_path / "a.net").write_text(VECTOR + "train { batch 1, epochs 1 }\n")
    x = np.random.default_rng(0).standard_normal((21, 4)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(21) % 2)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("text", [VECTOR, POINT])
def test_batch_norm_of_one_value_is_refused_as_pytorch_does(text):
    torch = pytest.importorskip("torch")
    net = compile_text(text)
    with pytest.raises(UserError, match=r"`bn1` needs 2 values or more .* a batch of 1 sample has 1"):
        check_batch(net.graph, 1)
    with pytest.raises(UserError, match="`bn1`"):
        verify(net, batch=1)
    check_batch(net.graph, 2)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        torch_model(net, net.build()).train()(torch.zeros(1, *net.graph.input_shape))


def test_batch_norm_of_a_map_takes_one_sample():
    check_batch(compile_text("input 3x4x4\nbn -> gap -> linear 2\n").graph, 1)


@pytest.mark.parametrize(
    "options", ["-O 0", "-O 2 --threads 2 --workers threads", "--backend interp", "--limit 1 --val 0"]
)
def test_training_is_refused_before_there_is_a_run(options, folder, capsys):
    batch = "--batch 8" if "limit" in options else "--batch 1"
    assert run(["train", "a.net", "--data", "d.npz", "--no-plots", *batch.split(), *options.split()]) == 2
    assert "error: `bn1` needs 2 values or more" in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == ["a.net", "d.npz"]


def test_verify_refuses_a_batch_of_one(folder, capsys):
    assert run(["verify", "a.net", "--batch", "1"]) == 2
    assert "error: `bn1` needs 2 values or more" in capsys.readouterr().err


def test_the_training_loop_refuses_too(tmp_path):
    from netdsl.training.data.datasets import load_dataset

    net = compile_text("input 2\nlinear 8 nobias -> bn -> relu -> linear 3\ntrain { data spiral, batch 1, epochs 1 }\n")
    with pytest.raises(UserError, match="`bn1`"):
        train(net, load_dataset("spiral", None, 50), Engine("numpy", 0, "auto", None), tmp_path)


@pytest.mark.parametrize("options", ["-O 0", "-O 2 --threads 2 --workers threads"])
def test_a_last_batch_or_a_worker_of_one_sample_trains(options, folder, capsys):
    """Of 21 samples in tens the last joins those before it; of a batch of 3 one worker has one, and sees all."""
    for batch in ("10", "3"):
        asked = ["train", "a.net", "--data", "d.npz", "--no-plots", "-q", "--val", "0", "--batch", batch]
        assert run([*asked, *options.split()]) == 0, capsys.readouterr().err
