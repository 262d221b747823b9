"""`netdsl bench` as a user meets it: outputs, exit codes, Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netdsl.bench import contestants, match
from netdsl.bench.contestants import Entry
from netdsl.bench.processes import descendants
from netdsl.cli import run

TINY = "input 1x6x6\nconv 3 k3 -> relu\nflatten -> linear 4\ntrain { batch 6 }\n"


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "tiny.net"
    path.write_text(TINY)
    return str(path)


@pytest.fixture
def call(spec, monkeypatch, capsys):
    """call(arguments) -> exit code, stdout, stderr, without PyTorch."""
    monkeypatch.setattr(match, "installed_version", lambda package: None)

    def call(*arguments):
        code = run(["bench", spec, "--threads", "1", "--steps", "1", *arguments])
        return code, *capsys.readouterr()

    return call


def test_the_table_goes_to_stdout_and_notes_to_stderr(call):
    code, out, err = call()
    assert code == 0 and out.startswith("tiny: batch 6, 1 thread, ") and out.endswith("train -, inference -\n")
    assert err.startswith("note: torch is left out, not installed: torch") and "onnxruntime" not in err


def test_json_is_one_object_on_stdout(call):
    code, out, err = call("--json", "--batch", "3", "-O0", "--all")
    found = json.loads(out)
    assert code == 0 and out.count("\n") == 1 and found["batch"] == 3
    assert found["train"]["ratio"] is None and found["numpy_ms"] > 0
    assert len(found["notes"]) >= 4 and "note: onnxruntime is left out, not installed: torch, onnx" in err


@pytest.mark.parametrize(
    "name, is_extra, expected, part",
    [
        ("WrongOutput", False, 1, "error: `planted` and `interpreter` do not compute the same"),
        ("Raises", False, 2, "error: planted failed: ValueError: the moon is full\nerror: Traceback"),
        ("Raises", True, 0, "error: planted failed: ValueError: the moon is full\nerror: Traceback"),
    ],
)
def test_a_wrong_contestant_is_exit_1_and_a_failed_one_exit_2(call, monkeypatch, name, is_extra, expected, part):
    planted = Entry("planted", f"bench_contestants:{name}", is_extra=is_extra)
    monkeypatch.setattr(contestants, "ENTRIES", (contestants.ENTRIES[1], planted))
    code, out, err = call("--json", "--all")
    assert code == expected and part in err
    assert (out == "") == (expected == 1)


def test_wrong_use_is_exit_2(spec, capsys):
    for arguments in (["missing.net"], [spec, "--batch", "0"], [spec, "-O", "7"], [spec, "--workers", "elves"]):
        assert run(["bench", *arguments]) == 2
        shown = capsys.readouterr()
        assert shown.out == "" and "Traceback" not in shown.err


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_ctrl_c_is_exit_130_and_ends_every_process(spec):
    line = [sys.executable, "-m", "netdsl", "bench", spec, "--steps", "1000000"]
    kept = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would inherit: ignore it
    try:
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, kept)
    with process:
        try:
            while len(children := descendants(process.pid)) < 2:
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 130 and out == "" and err.strip() == "interrupted"
    end = time.monotonic() + 20  # one that had just been started ends when it finds nobody to serve
    while alive := [pid for pid in children if os.path.exists(f"/proc/{pid}")]:
        assert time.monotonic() < end, alive
        time.sleep(0.05)


def test_help_loads_no_numpy():
    code = """import sys
from netdsl.cli import run
code = run(['bench', '--help'])
print('numpy' in sys.modules, code)"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert "Examples" in out and out.endswith("False 0\n")
