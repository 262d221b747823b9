"""`netdsl train`, `eval` and `predict` as a user meets them: outputs, exit codes, files."""

import errno
import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netdsl.cli import run as netdsl
from netdsl.cli.progress import Display, time_left
from netdsl.cli.train import command
from netdsl.graph import recipe
from netdsl.passes.choose_algorithms import cheapest
from netdsl.stages.workers import available_cores
from netdsl.targets import registry
from netdsl.training.loop.watch import Progress
from netdsl.training.runs import engine
from netdsl.training.runs.history import read_history

SPIRAL = "input 2\nlinear 16 -> relu\nlinear 3\ntrain {\n  data spiral\n  epochs 3\n  opt adam lr=1e-2\n}\n"
DIGITS = "input 1x28x28\nflatten -> linear 10\ntrain {\n  data mnist-mini\n  epochs 3\n}\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.net").write_text(SPIRAL)
    (tmp_path / "digits.net").write_text(DIGITS)
    return tmp_path


@pytest.fixture
def call(here, capsys):
    """call(arguments) -> exit code, stdout, stderr."""

    def call(line):
        code = netdsl(line.split())
        return code, *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    (folder / "digits.net").write_text(DIGITS)
    assert netdsl([*["train", "-q", "--out"], str(folder / "run"), str(folder / "digits.net")]) == 0
    return folder / "run"


def test_train_ends_with_one_json_line_on_stdout(call, here):
    code, out, err = call("train tiny.net --no-plots")
    assert code == 0 and out.count("\n") == 1
    result = json.loads(out)
    assert list(result) == ["test_accuracy", "val_accuracy", "test_f1", "test_loss", "epochs", "seconds", "run"]
    assert result["run"] == "runs/tiny-1" and result["epochs"] == 3 and 0 <= result["test_accuracy"] <= 1
    lines = err.splitlines()
    assert lines[0].startswith("runs/tiny-1: tiny, 99 params") and lines[1].startswith("epoch 1/3  loss ")
    assert lines[-1] == "saved in runs/tiny-1; next: netdsl eval runs/tiny-1" and len(lines) == 6
    files = sorted(str(p.relative_to(here / "runs/tiny-1")) for p in (here / "runs/tiny-1").rglob("*") if p.is_file())
    assert files == [
        ".lock",
        "checkpoints/best.safetensors",
        "checkpoints/last.safetensors",
        "checkpoints/prev.safetensors",
        "config.json",
        "env.json",
        "metrics.csv",
        "model.net",
        "result.json",
        "weights.safetensors",
    ]


def test_quiet_says_nothing_but_the_json_line(call):
    code, out, err = call("train tiny.net -q")
    assert (code, err, out.count("\n")) == (0, "", 1)


def test_flags_win_over_the_train_block(call, here):
    assert (
        call(
            "train tiny.net -q --epochs 2 --batch 7 --lr 0.5 --opt sgd --val 0.2 --loss mse"
            " --init torch --seed 3 --limit 50 --threads 1 --backend interp --out x"
        )[0]
        == 0
    )
    config = json.loads((here / "x/config.json").read_text())
    assert config["recipe"] == {
        "data_options": {},
        "data": "spiral",
        "val": 0.2,
        "loss": "mse",
        "optimizer": "sgd",
        "options": {"lr": 0.5},
        "schedule": "const",
        "epochs": 2,
        "batch": 7,
        "seed": 3,
        "init": "torch",
        "loss_options": {},
        "schedule_options": {},
        "augment": {},
        "clip": None,
        "ema": None,
        "patience": None,
        "fit": None,
        "monitor": "val_loss",
        "decay": "all",
        "steps": None,
        "every": None,
        "accumulate": 1,
    }
    assert (config["limit"], config["threads"], config["backend"], config["level"]) == (50, 1, "interp", 0)


def test_another_optimizer_starts_from_its_own_defaults(call, here):
    call("train tiny.net -q --opt sgd --out x")
    assert json.loads((here / "x/config.json").read_text())["recipe"]["options"] == {"lr": recipe.OPTIMIZERS["sgd"].lr}


def test_the_choices_of_the_flags_are_those_of_the_language():
    choices = {p.name: list(p.type.choices) for p in command.params if hasattr(p.type, "choices")}
    assert choices == {
        "backend": registry.runners(),
        "level": [str(level) for level in registry.levels_of(registry.DEFAULT)],
        "amp": list(engine.AMP),
        "workers": list(engine.WORKERS),
        "init": list(recipe.SCHEMES),
    }


BAD_FLAGS = [
    *("--epochs 0", "--batch 0", "--lr 0", "--lr nan", "--lr inf", "--lr -1", "--val 1", "--val nan", "--val -0.1"),
    *("--seed -1", "--threads 0", "--limit 0", "--opt x", "--loss x", "--init x", "--backend x"),
    *("-O4", "-O 3", "--workers x", "-O2 --backend interp", "--workers threads -O0", "--workers auto --backend interp"),
]


@pytest.mark.parametrize("flag", BAD_FLAGS)
def test_flags_out_of_range_are_usage_errors_and_make_no_run(call, here, flag):
    code, out, err = call(f"train tiny.net {flag}")
    assert code == 2 and out == "" and flag.split()[0][:2] in err and not (here / "runs").exists()


def test_the_fast_module_is_the_default_and_the_run_says_how_it_was_shared(call, here):
    said = []
    for flags in ("", "--threads 1", "-O 2 --threads 2 --workers threads", "-O0", "--backend interp"):
        code, _, err = call(f"train tiny.net {flags}")
        assert code == 0
        said.append(err.splitlines()[0].rpartition("spiral, ")[2])
    assert said[0].startswith("numpy -O2, ")
    assert said[1:] == ["numpy -O2, 1 worker", "numpy -O2, 2 threads", "numpy -O0", "layer objects"]
    configs = [json.loads((here / f"runs/tiny-{i}/config.json").read_text()) for i in range(1, 6)]
    assert [config["level"] for config in configs] == [2, 2, 2, 0, 0]
    assert [config["threads"] for config in configs] == [available_cores(), 1, 2, None, None]


def test_what_was_measured_to_be_fastest_is_kept_in_the_run_and_used_again(call, here, monkeypatch):
    (here / "maps.net").write_text("input 1x28x28\nflatten -> linear 10\ntrain { data mnist-mini, epochs 1 }\n")
    made = {}
    monkeypatch.setattr("netdsl.bench.tuning.tune", lambda *given: {"which": "this"})
    monkeypatch.setattr(
        "netdsl.passes.choose_algorithms.chosen", lambda choices, samples: made.update(choices) or cheapest
    )
    assert call("train maps.net -q --limit 99")[0] == 0
    assert json.loads((here / "runs/maps-1/config.json").read_text())["choices"] == {"which": "this"} == made
    made.clear()
    assert call("eval runs/maps-1")[0] == 0 and made == {"which": "this"}
    made.clear()
    assert call("train maps.net -q --limit 99 --no-autotune")[0] == 0 and made == {}


@pytest.mark.parametrize("backend", ["numpy", "numpy -O0", "numpy --workers processes --threads 2", "interp"])
def test_a_loss_that_is_no_number_is_exit_3_with_layer_and_step(call, backend):
    code, out, err = call(f"train tiny.net --lr 1e30 --backend {backend}")
    assert code == 3 and out == "" and "epoch 1, step 2" in err and "layer `linear" in err
    assert "Warning" not in err and "Traceback" not in err


def test_a_full_disk_is_exit_2_and_leaves_no_half_written_file(call, here, monkeypatch):
    write, calls = os.write, []

    def full(fd, data):
        is_file = stat.S_ISREG(os.fstat(fd).st_mode)  # and no pipe to a worker
        calls.extend([fd] * is_file)
        if is_file and len(calls) > 6:  # the seventh file is the second epoch's
            write(fd, bytes(data)[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        code, out, err = call("train tiny.net --out x")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == "error: `x/checkpoints/last.safetensors`: no space left on device"
    assert not list(here.rglob("*.tmp"))
    assert call("eval x")[0] == 0


def test_errors_of_the_user_are_one_line_and_exit_2(call, here, monkeypatch):
    monkeypatch.delenv("NETDSL_DATA_DIR", raising=False)
    (here / "wide.net").write_text("input 5\nlinear 3\ntrain {\n  data spiral\n}\n")
    for line, part in {
        "train wide.net": "are 2, but `wide` takes 5",
        "train tiny.net --data nothing": "there is no data called `nothing`",
        "train tiny.net --data cifar10": "NETDSL_DATA_DIR",
        "train nothing.net": "cannot read `nothing.net`",
        "eval nothing": "not a folder",
        "eval .": "not a run folder",
        "predict . a.png": "not a run folder",
    }.items():
        code, out, err = call(line)
        assert code == 2 and out == "" and part in err and "Traceback" not in err, line
    assert not (here / "runs").exists()


def test_eval_measures_what_train_printed(call):
    result = json.loads(call("train tiny.net -q --limit 200")[1])
    code, out, _ = call("eval runs/tiny-1 --json")
    scores = json.loads(out)
    assert code == 0 and scores["accuracy"] == result["test_accuracy"] and scores["samples"] == 200
    assert (
        np.trace(scores["confusion"])
        == sum(c["correct"] for c in scores["per_class"])
        == round(200 * scores["accuracy"])
    )
    assert [c["samples"] for c in scores["per_class"]] == np.sum(scores["confusion"], axis=1).tolist()


def test_eval_shows_a_table_and_takes_other_data(call, here):
    call("train tiny.net -q --val 0")
    code, out, _ = call("eval runs/tiny-1 --limit 30")
    assert code == 0 and out.startswith("30 test samples of spiral, last checkpoint: loss ") and "arm 2" in out
    np.savez(here / "other.npz", x=np.zeros((10, 2), np.float32), y=np.arange(10) % 5)
    code, _, err = call("eval runs/tiny-1 --data other.npz")
    assert code == 2 and "class `0`, which the network does not know" in err
    assert call("eval runs/tiny-1 --checkpoint best")[0] == 2


def test_a_damaged_checkpoint_is_one_line(call, here):
    call("train tiny.net -q")
    path = here / "runs/tiny-1/checkpoints/best.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    code, _, err = call("eval runs/tiny-1")
    assert code == 2 and err.startswith("error: ") and "best.safetensors" in err.splitlines()[0]
    assert "`--checkpoint last`" in err
    last = here / "runs/tiny-1/checkpoints/last.safetensors"
    last.write_bytes(last.read_bytes()[:-1])
    code, out, err = call("eval runs/tiny-1 --checkpoint last")
    assert code == 0 and "prev checkpoint" in out and "`prev`, the one before it, is used" in err
    (here / "runs/tiny-1/metrics.csv").unlink()
    assert "is over after 3 epochs" in call("train --resume runs/tiny-1")[2]


def digit_image(invert, size=56):
    """A test digit as a grey picture, and its class."""
    from netdsl.training.data.datasets import load_dataset

    data = load_dataset("mnist-mini", None)
    pixels = data.x_test[0, 0]
    return Image.fromarray(255 - pixels if invert else pixels).resize((size, size)), data.classes[data.y_test[0]]


def test_predict_names_the_class_of_pictures_of_either_polarity(call, here, digits_run):
    light, name = digit_image(invert=False)
    light.save(here / "light.png")
    digit_image(invert=True)[0].convert("RGB").save(here / "dark.png")
    code, out, err = call(f"predict {digits_run} light.png dark.png --json")
    first, second = map(json.loads, out.splitlines())
    assert code == 0 and first["class"] == second["class"] == name
    assert first["file"] == "light.png" and list(first) == ["file", "class", "probability", "top"]
    assert first["top"][0] == {"class": name, "probability": first["probability"]} and len(first["top"]) == 3
    assert "dark.png" in err and "light.png" not in err
    code, out, err = call(f"predict {digits_run} dark.png --no-invert --json")
    assert err == "" and json.loads(out)["probability"] != second["probability"]


def test_predict_takes_a_folder_and_probabilities_sum_to_one(call, here, digits_run):
    (here / "scans").mkdir()
    image, digit = digit_image(invert=False)
    for name in ("b.png", "a.PNG", "notes.txt"):
        image.save(here / "scans" / name, format="PNG")
    code, out, _ = call(f"predict {digits_run} scans --top 10 --json")
    answers = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [a["file"] for a in answers] == ["scans/a.PNG", "scans/b.png"]
    assert abs(sum(t["probability"] for t in answers[0]["top"]) - 1) < 1e-4  # ten numbers of six places
    assert call(f"predict {digits_run} scans --top 2")[1].startswith(f"scans/a.PNG: {digit} ")


def test_predict_refuses_what_is_no_image_in_one_line(call, here, digits_run):
    (here / "empty").mkdir()
    (here / "bad.png").write_bytes(b"not a picture")
    for name, part in {"empty": "has no images", "bad.png": "not an image", "none.png": "cannot read"}.items():
        code, out, err = call(f"predict {digits_run} {name}")
        assert code == 2 and out == "" and part in err, name


@contextmanager
def long_training(*flags):
    """`netdsl train` in a session of its own, in its second epoch or later; killed at the end."""
    line = [sys.executable, "-m", "netdsl", "train", "tiny.net", "--epochs", "100000", *flags]
    dfl = signal.SIG_DFL  # `nohup` and `&` would let some be ignored
    defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: dfl, signal.SIGTERM: dfl}
    kept = {number: signal.signal(number, how) for number, how in defaults.items()}
    try:
        process = subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
    finally:
        for number, how in kept.items():
            signal.signal(number, how)
    with process:
        try:
            while not process.stderr.readline().startswith("epoch      2/"):
                assert process.poll() is None
            yield process
        finally:
            process.kill()


def is_empty(session):
    """Have all processes of a session ended? One that has is nobody's child and may take a moment to be buried."""
    for _ in range(200):
        try:
            os.killpg(session, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("workers", ["threads", "processes", "auto"])
def test_ctrl_c_is_exit_130_says_what_is_saved_and_leaves_no_process(here, workers):
    with long_training("--threads", "3", "--workers", workers) as process:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it, too
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130 and out == "" and "Traceback" not in err
    stopped, go_on = err.splitlines()[-2:]
    assert re.fullmatch(r"stopped in epoch \d+ after step \d+ of 22; saved in runs/tiny-1", stopped), err
    assert go_on == "to go on: netdsl train --resume runs/tiny-1" and is_empty(process.pid)
    assert netdsl(["eval", "runs/tiny-1"]) == 0 and not list(here.rglob("*.tmp"))


@pytest.mark.parametrize("which, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_run_goes_on_where_it_was(here, capsys, which, code):
    with long_training("--threads", "1") as process:
        process.send_signal(which)
        process.communicate(timeout=20)
    assert process.returncode == code
    epochs = len(read_history(here / "runs/tiny-1"))
    assert netdsl(["train", "--resume", "runs/tiny-1", "--epochs", str(epochs + 2), "--no-plots"]) == 0
    err = capsys.readouterr().err.splitlines()
    assert (
        err[0].startswith("runs/tiny-1: tiny, 99 params")
        and err[0].endswith(", resumed")
        and err[1].startswith(f"epoch {epochs + 1}/{epochs + 2}")
    )
    assert [row.epoch for row in read_history(here / "runs/tiny-1")] == list(range(1, epochs + 3))


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_to_all_of_its_processes_stops_it_as_politely(here, number, code):
    with long_training("--threads", "3", "--workers", "processes") as process:
        os.killpg(process.pid, number)
        _, err = process.communicate(timeout=20)
    assert process.returncode == code and "; saved in runs/tiny-1" in err and is_empty(process.pid)


def test_a_reader_of_its_progress_who_goes_away_costs_nothing(here):
    with long_training("--threads", "1") as process:
        process.stderr.close()
        process.wait(timeout=20)
    assert process.returncode == 141
    rows = len(read_history(here / "runs/tiny-1"))
    assert netdsl(["train", "-q", "--resume", "runs/tiny-1", "--epochs", str(rows + 1), "--no-plots"]) == 0


def test_a_second_ctrl_c_quits_at_once(here):
    with long_training("--threads", "1", "--batch", "1400", "--backend", "interp") as process:
        process.send_signal(signal.SIGSTOP)  # so that both come within one step
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        while "again quits at once" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in err and is_empty(process.pid)
    assert netdsl(["eval", "runs/tiny-1"]) == 0


def test_resume_takes_the_last_run_of_a_spec_and_refuses_what_would_make_another(call, here):
    for _ in range(2):
        call("train tiny.net -q --no-plots --epochs 1")
    for line in ("--resume runs/tiny-1 --epochs 2", "tiny.net --resume --epochs 2", "--resume tiny.net --epochs 3"):
        code, out, err = call(f"train {line} --no-plots")
        assert code == 0 and json.loads(out)["epochs"] == int(line[-1]), err
    assert json.loads(out)["run"] == "runs/tiny-2"
    (here / "tiny.net").write_text(SPIRAL.replace("16", "17"))
    for line, part in {
        "--resume": "needs a SPEC or a RUN",
        "tiny.net --resume runs/tiny-1": "it has changed since",
        "--resume runs/tiny-1": "is over after 2 epochs",
        "--resume runs/tiny-1 --epochs 1": "has 2 epochs behind it",
        "--resume runs/tiny-1 --lr 3": "`--lr` cannot change a run",
        "--resume runs/tiny-1 -O1": "`-O` cannot change a run",
        "--resume nothing": "not a folder",
        "other.net --resume": "no run `runs/other-<n>`",
        "": "Missing argument 'SPEC'",
    }.items():
        code, out, err = call(f"train {line}")
        assert code == 2 and out == "" and part in err, (line, err)


def test_a_run_whose_data_or_library_changed_is_not_resumed_in_silence(call, here):
    x = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    np.savez(here / "d.npz", x=x, y=np.arange(50) % 3)
    call("train tiny.net -q --no-plots --data d.npz --epochs 1")
    environment = json.loads((here / "runs/tiny-1/env.json").read_text())
    (here / "runs/tiny-1/env.json").write_text(json.dumps({**environment, "numpy": "1.0"}))
    code, _, err = call("train --resume runs/tiny-1 --epochs 2 --no-plots")
    assert code == 0 and f"numpy was 1.0, is {np.__version__}: the weights may differ" in err
    assert call("eval runs/tiny-1")[2] == ""
    np.savez(here / "d.npz", x=x + 1, y=np.arange(50) % 3)
    code, _, err = call("eval runs/tiny-1")
    assert code == 0 and "d.npz` has changed since the run began" in err
    code, _, err = call("train --resume runs/tiny-1 --epochs 3 --no-plots")
    assert code == 2 and "d.npz` is not what the run `runs/tiny-1` began with" in err
    assert json.loads((here / "runs/tiny-1/config.json").read_text())["recipe"]["epochs"] == 2  # nothing was changed
    assert (here / "runs/tiny-1/result.json").exists()


def test_flags_are_written_as_entries_of_a_train_block(here, capsys):
    line = ["train", "tiny.net", "-q", "--no-plots", "--out", "x", "--lr", "0.2", "--patience", "3"]
    for flag, text in {
        "opt": "sgd momentum=0.9 nesterov",
        "schedule": "step every=1 gamma=0.5 warmup=0.5",
        "loss": "ce smooth=0.1 balanced",
        "augment": "mixup=0.2",
        "clip": "1.5",
        "ema": "0.9",
    }.items():
        line += [f"--{flag}", text]
    assert netdsl(line) == 0
    recipe = json.loads((here / "x/config.json").read_text())["recipe"]
    assert recipe["options"] == {"lr": 0.2, "momentum": 0.9, "nesterov": True}
    assert (recipe["schedule"], recipe["augment"], recipe["clip"]) == ("step", {"mixup": 0.2}, 1.5)
    assert (recipe["ema"], recipe["patience"]) == (0.9, 3) and len(recipe["loss_options"]["weights"]) == 3
    for flag, text, part in (
        ("opt", "sdg", "did you mean `sgd`"),
        ("augment", "shift=1", "changes images"),
        ("stop", "x", "No such option"),
        ("clip", "-1", "--clip"),
        ("loss", "ce } } import", "--loss"),
        ("patience", "0", "--stop"),
    ):
        code = netdsl(["train", "tiny.net", "-q", f"--{flag}", text])
        assert code == 2 and part in capsys.readouterr().err, flag
    assert netdsl(["train", "tiny.net", "-q", "--no-plots", "--patience", "3", "--val", "0"]) == 2


def test_the_same_command_twice_gives_the_same_weights_and_metrics(call, here):
    line = 'train digits.net -q --no-plots --limit 300 --threads 2 --augment "shift=2" --ema 0.9'
    for _ in range(2):
        assert netdsl(shlex.split(line)) == 0
    one, two = (here / f"runs/digits-{i}" for i in (1, 2))
    for file in ("weights.safetensors", *(f"checkpoints/{which}.safetensors" for which in ("last", "prev", "best"))):
        assert (one / file).read_bytes() == (two / file).read_bytes(), file
    rows = [[replace(row, seconds=0, samples_per_second=0) for row in read_history(run)] for run in (one, two)]
    assert rows[0] == rows[1] and len(rows[0]) == 3


def test_json_is_an_object_an_epoch_and_the_result(call):
    code, out, err = call("train tiny.net --json --no-plots")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and err == "" and [line.get("epoch") for line in lines] == [1, 2, 3, None]
    assert lines[0].keys() >= {"train_loss", "val_accuracy", "lr"} and lines[-1]["run"] == "runs/tiny-1"


@pytest.mark.parametrize("seconds, text", [(0, "0:00"), (59.6, "1:00"), (754, "12:34"), (11_100, "3:05:00")])
def test_the_time_that_is_left_is_shown_as_on_a_clock(seconds, text):
    assert time_left(seconds) == text


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere `auto` takes threads")
def test_a_killed_worker_is_exit_3_and_one_line_and_by_default_workers_are_processes(here):
    with long_training("--threads", "3") as process:
        children = list(map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()))
        assert len(children) == 2
        os.kill(children[1], signal.SIGKILL)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 3 and out == "" and "Traceback" not in err and is_empty(process.pid)
    assert re.fullmatch(
        r"error: training failed in epoch \d+: worker 2 of 3 was killed by signal 9", err.splitlines()[-1]
    )
    assert netdsl(["eval", "runs/tiny-1"]) == 0


def test_the_bar_starts_no_thread_that_a_fork_would_meet(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    before = threading.active_count()
    with Display(2).shown() as show:
        show(Progress(1, 2, 32, 64, 0.5, 0.9, 0.1, 32))
        assert threading.active_count() == before


@pytest.mark.parametrize("name", ["train", "eval", "predict"])
def test_help_shows_an_example_and_loads_no_numpy(name):
    code = f"""import sys
from netdsl.cli import run
code = run(['{name}', '--help'])
print([m for m in ('numpy', 'rich') if m in sys.modules], code)"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert f"netdsl {name} " in out and "Example" in out and out.endswith("[] 0\n")


def test_a_run_takes_the_used_files_along(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/blocks.net").write_text("block b(c) { linear c -> tanh }\n")
    (tmp_path / "a.net").write_text(
        'use "parts/blocks.net"\ninput 2\nb(8) -> linear 3\ntrain { data spiral, epochs 1 }\n'
    )
    assert netdsl(["train", "a.net"]) == 0
    (tmp_path / "parts/blocks.net").unlink()
    assert netdsl(["eval", "runs/a-1"]) == 0
    capsys.readouterr()
