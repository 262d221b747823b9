"""A start that fails leaves no folder behind, whatever failed."""

import os

import numpy as np
import pytest

from netdsl.cli import run as netdsl
from netdsl.training.loop import session

SPEC = 'input 4\nlinear 8 -> relu -> linear 2\ntrain { data "d.npz", epochs 2, batch 16 }\n'


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "n.net").write_text(SPEC)
    np.savez("d.npz", x=np.random.default_rng(0).random((40, 4)), y=np.arange(40) % 2)
    return tmp_path


FAULTS = {
    "no data": ["--data", "none.npz"],
    "a misfit": ["--data", "spiral"],
    "no sample to learn from": ["--limit", "1"],
    "augmentation of no images": ["--augment", "flip"],
    "a fit of no images": ["--fit", "crop"],
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("out", [[], ["--out", "deep/run"]])
def test_what_does_not_fit_leaves_no_folder(here, fault, out, capsys):
    assert netdsl(["train", "n.net", "--no-plots", *FAULTS[fault], *out]) == 2
    assert sorted(os.listdir(here)) == ["d.npz", "n.net"]
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    "error, code",
    [(MemoryError(), 2), (OSError(28, "No space left on device"), 2), (BlockingIOError(11, "no fork"), 2)],
)
@pytest.mark.parametrize("place", ["write_setup", "train", "new_model"])
@pytest.mark.parametrize("out", [[], ["--out", "empty"], ["--out", "deep/run"]])
def test_what_fails_before_the_first_step_leaves_no_folder(here, monkeypatch, capsys, place, error, code, out):
    def fails(*arguments, **options):
        raise error

    (here / "empty").mkdir()
    (here / "runs" / "n-1").mkdir(parents=True)  # another run, which stays
    target = "netdsl.training.loop.epochs.new_model" if place == "new_model" else f"{session.__name__}.{place}"
    monkeypatch.setattr(target, fails)
    assert netdsl(["train", "n.net", "--no-plots", *out]) == code
    assert sorted(os.listdir(here)) == ["d.npz", "empty", "n.net", "runs"]
    assert os.listdir(here / "runs") == ["n-1"] and not os.listdir(here / "empty")
    assert "to go on" not in capsys.readouterr().err


def test_what_fails_later_keeps_what_was_made(here, capsys):
    assert netdsl(["train", "n.net", "--no-plots", "--lr", "1e30", "--opt", "sgd", "--out", "r"]) == 3
    assert "failure.json" in os.listdir(here / "r")


def test_workers_that_cannot_be_started_leave_no_folder(here, monkeypatch):
    def no_fork():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", no_fork)
    assert netdsl(["train", "n.net", "--no-plots", "--workers", "processes", "--threads", "2"]) == 2
    assert sorted(os.listdir(here)) == ["d.npz", "n.net"]
