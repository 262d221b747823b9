"""Processes that train are killed and interrupted at random times: nothing is lost, nothing torn.

`pytest tests/training/test_kills.py --kills 100 --stops 20 -s` prints what was counted.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import pytest

from netdsl.training.runs.checkpoint import checkpoint_path

SPEC = """input 1x28x28
pool 2 -> conv 4 k3 nobias -> bn -> relu -> dropout2d 0.2 -> pool 2
flatten -> linear 10
train { data mnist-mini, val 0.3, epochs 4, batch 8, schedule onecycle, augment shift=1 rotate=5, ema 0.9 }
"""
LINE = "train {} --limit 200 --out {} --save-every 1 --no-plots --threads 2 --no-autotune"
STEPS = 18  # an epoch
# A server that has everything imported forks a process for each line, which is much faster than to start Python anew.
SERVER = """
import os, signal, sys
from netdsl.cli import run
import netdsl.pipeline, netdsl.training.loop.epochs, netdsl.bench.tuning, safetensors.numpy, threadpoolctl, filelock
import netdsl.targets.fast.emitter, netdsl.training.runs.views, netdsl.targets.live.interpreter
import netdsl.layers, netdsl.targets.fast.model
netdsl.layers.layer_table()
for line in sys.stdin:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    pid = os.fork()
    if not pid:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            code = run(line.split())
        except KeyboardInterrupt:  # before or behind what `run` does
            code = 130
        os._exit(code)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@contextmanager
def server(folder):
    """start(line) -> the process of that command line; ended() -> its exit code, negative for a signal."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SERVER]
    with (
        open(folder / "said", "w") as said,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            bufsize=1,
            cwd=folder,
            env=environment,
        ) as process,
    ):

        def start(line):
            process.stdin.write(f"{line}\n")
            return int(process.stdout.readline())

        def ended():
            while True:
                line = process.stdout.readline()
                if not line.startswith("{"):  # what `train` prints at its end
                    return int(line)

        yield start, ended
        process.stdin.close()
        process.kill()


def place(run):
    """How many steps the last checkpoint has behind it; it must be whole."""
    raw = checkpoint_path(run, "last").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    position = json.loads(header["__metadata__"]["netdsl"])["position"]
    return (position["epoch"] - 1) * STEPS + position["step"]


def weights(run):
    return [checkpoint_path(run, which).read_bytes() for which in ("last", "best")] + [
        (run / "weights.safetensors").read_bytes()
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """-> a spec, and the run of it that nobody disturbed with the seconds it took."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "tiny.net").write_text(SPEC)
    with server(folder) as (start, ended):
        began = time.monotonic()
        start(LINE.format("tiny.net", "whole"))
        assert ended() == 0
        seconds = time.monotonic() - began
    return folder / "tiny.net", folder / "whole", seconds


def disturbed(folder, whole, kind, count, rng):
    """Runs that get signals at random times until there were `count` of them -> what was counted."""
    spec, expected, seconds = whole
    counted = {"hits": 0, "runs": 0, "while it started": 0, "too late": 0}
    with server(folder) as (start, ended):
        while counted["hits"] < count:
            run, before, patience = folder / f"run{counted['runs']}", 0, 0.0
            line = LINE.format(spec, run)
            while True:
                pid = start(line)
                time.sleep(rng.uniform(0.0, 0.4 * seconds * (1 + patience)))
                patience += 0.1  # a start may take longer than the first run did in all: it comes to an end anyway
                with suppress(ProcessLookupError):
                    os.kill(pid, kind)
                code = ended()
                if code == 0:
                    counted["too late"] += 1
                    break
                assert code == (130 if kind == signal.SIGINT else -kind), (folder / "said").read_text()
                counted["hits"] += 1
                if (run / "result.json").exists():  # the last thing that is written
                    break
                begun = (run / "config.json").exists() and (run / "env.json").exists()
                if not begun:  # killed before there was a run: begin with another one
                    counted["while it started"] += 1
                    run = folder / f"{run.name}x"
                    line = LINE.format(spec, run)
                    continue
                now = place(run) if checkpoint_path(run, "last").exists() else 0
                assert now >= before, "a checkpoint is older than one before it"
                before, line = now, f"train --resume {run} --save-every 1 --no-plots"
            counted["runs"] += 1
            assert weights(run) == weights(expected)
            assert not list(run.rglob("*.tmp"))
    return counted


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the server forks")
def test_runs_killed_at_random_times_end_with_the_bytes_of_one_that_was_not(tmp_path, whole, kills):
    counted = disturbed(tmp_path, whole, signal.SIGKILL, kills, random.Random(0))
    text = "{hits} kills, {while it started} of them before there was a run; {runs} runs to their end"
    print("\n" + text.format(**counted))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the server forks")
def test_runs_interrupted_at_random_times_are_exit_130_and_go_on(tmp_path, whole, stops):
    counted = disturbed(tmp_path, whole, signal.SIGINT, stops, random.Random(1))
    print(f"\n{counted['hits']} times Ctrl-C; {counted['runs']} runs to their end")
    assert "Traceback" not in (tmp_path / "said").read_text()
