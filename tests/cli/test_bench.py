"""`netdsl bench` as a user meets it: outputs, exit codes, Ctrl-C."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netdsl.bench import contestants, match
from netdsl.bench.contestants import Entry
from netdsl.cli import run
from netdsl.ground.system.processes import descendants

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
    assert "\nnote: torch is left out, not installed: torch" in err and "onnxruntime" not in err


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
    assert process.returncode == 130 and out == "" and err.splitlines()[-1] == "interrupted"
    end = time.monotonic() + 20  # one that had just been started ends when it finds nobody to serve
    while alive := [pid for pid in children if os.path.exists(f"/proc/{pid}")]:
        assert time.monotonic() < end, alive
        time.sleep(0.05)


def test_each_contestant_and_phase_is_named_on_stderr_while_it_works(call):
    _, _, err = call()
    said = [line for line in err.splitlines() if not line.startswith("note: ")]
    phases = ["starting", "making its network", "reading weights", "making its first output", "warming up"]
    assert [line for line in said if line.startswith("interpreter: ") and line[13:] in phases] == [
        f"interpreter: {phase}" for phase in ("starting", "starting", *phases[1:])
    ]
    assert "measuring, 2 turns" in said and len(said) < 25


def test_a_contestant_over_its_limit_is_ended_and_named(call, monkeypatch):
    planted = Entry("planted", "bench_contestants:Sleeps")
    monkeypatch.setattr(contestants, "ENTRIES", (contestants.ENTRIES[1], planted))
    code, out, err = call("--json", "--limit", "4")
    assert code == 2 and json.loads(out)["contestants"].keys() == {"interpreter"}
    told = "planted failed: it took longer than 4 s, its limit (`--limit`), and was ended while making its network"
    assert f"error: {told}" in err


PLANTED = """if True:
    import sys
    from netdsl.bench import contestants
    from netdsl.cli import run
    contestants.ENTRIES = (contestants.ENTRIES[1], contestants.Entry("planted", "bench_contestants:Spawns"))
    sys.exit(run(["bench", sys.argv[1], "--no-autotune"]))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
@pytest.mark.parametrize(
    "number, code, has_groups",
    [("SIGINT", 130, True), ("SIGTERM", 143, True), ("SIGKILL", -9, True), ("SIGKILL", -9, False)],
)
def test_nothing_that_a_contestant_started_outlives_the_bench(spec, tmp_path, number, code, has_groups):
    told = tmp_path / "pids"
    tests = Path(__file__).resolve().parents[1]
    paths = [str(tmp_path), str(tests), *filter(None, sys.path)]
    if not has_groups:
        shutil.copy(tests / "poor_system.py", tmp_path / "sitecustomize.py")
    (tmp_path / "temp").mkdir()
    environment = {**os.environ, "NETDSL_TEST_PIDS": str(told), "PYTHONPATH": os.pathsep.join(paths)}
    environment["TMPDIR"] = str(tmp_path / "temp")
    kept = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen([sys.executable, "-c", PLANTED, spec], stderr=subprocess.PIPE, env=environment)
    finally:
        signal.signal(signal.SIGINT, kept)
    with process:
        try:
            while not (told.exists() and told.read_text().endswith("\n")):
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.02)
            pids = [int(pid) for pid in told.read_text().split()]
            assert len(pids) == 3 and all(_runs(pid) for pid in pids)
            process.send_signal(getattr(signal, number))
            assert process.wait(30) == code
        finally:
            process.kill()
    end = time.monotonic() + 20
    while alive := [pid for pid in pids if _runs(pid)]:
        assert time.monotonic() < end, alive
        time.sleep(0.05)
    while left := list((tmp_path / "temp").iterdir()):
        assert time.monotonic() < end, left
        time.sleep(0.05)


def _runs(pid):
    """Whether a process is there, and is no zombie that waits for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_help_loads_no_numpy():
    code = """import sys
from netdsl.cli import run
code = run(['bench', '--help'])
print('numpy' in sys.modules, code)"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert "Examples" in out and out.endswith("False 0\n")
