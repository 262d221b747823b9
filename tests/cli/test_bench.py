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
from click.testing import CliRunner

from netdsl.bench import contestants, match
from netdsl.bench.contestants import Entry
from netdsl.bench.match import Progress
from netdsl.bench.report import Report, Result
from netdsl.cli import run
from netdsl.cli.bench import command
from netdsl.cli.bench_progress import described, shown_bench
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


def test_several_specs_and_batches_come_in_one_table(call, tmp_path):
    other = tmp_path / "other.net"
    other.write_text("input 4\nlinear 2\n")
    code, out, err = call(str(other), "--batch", "2", "--only", "interpreter", "--markdown")
    rows = [line.split("|")[1].strip() for line in out.splitlines()[2:]]
    assert code == 0 and rows == ["`tiny`, 2", "`other`, 2"]
    assert "[2/2] other, batch 2: interpreter: starting" in err


def test_several_are_whole_reports_and_then_the_table(call):
    code, out, _ = call("--batch", "2", "--batch", "3", "--only", "interpreter")
    heads = [line.split()[:3] for line in out.splitlines() if line.startswith(("tiny: ", "net, "))]
    assert code == 0 and heads == [["tiny:", "batch", "2,"], ["tiny:", "batch", "3,"], ["net,", "batch", "train:"]]


def test_what_is_known_is_told_where_somebody_ends_it_in_between(call, monkeypatch):
    def interrupted(net, options, *given):
        if options.batch == 3:
            raise KeyboardInterrupt
        return Report(net.name, options.batch, 1, 2, {}, {"numpy": Result({"train": [1.0]})})

    monkeypatch.setattr(match, "bench", interrupted)
    code, out, err = call("--batch", "2", "--batch", "3", "--json")
    assert code == 130 and err.endswith("interrupted\n")
    assert [one["batch"] for one in json.loads(out)["reports"]] == [2]
    code, out, _ = call("--batch", "3", "--batch", "4", "--json")
    assert code == 130 and out == ""


def test_what_goes_wrong_in_one_of_several_ends_only_it(call, monkeypatch):
    planted = Entry("planted", "bench_contestants:WrongForTwo")
    monkeypatch.setattr(contestants, "ENTRIES", (contestants.ENTRIES[1], planted))
    code, out, err = call("--batch", "2", "--batch", "3", "--json")
    assert code == 1 and [one["batch"] for one in json.loads(out)["reports"]] == [3]
    assert "error: [1/2] tiny, batch 2: `planted` and `interpreter` do not compute the same" in err


def test_a_batch_that_cannot_be_trained_on_is_inferred_alone(call, spec):
    Path(spec).write_text("input 4\nlinear 3 -> bn -> linear 2\n")
    code, out, err = call("--json", "--batch", "1")
    found = json.loads(out)
    assert code == 0 and found["train"]["numpy_ms"] is None and found["inference"]["numpy_ms"] > 0
    assert "note: training is left out: `bn1` needs 2 values or more of each channel" in err


def test_only_chooses_contestants_and_unknown_ones_are_named(call):
    code, out, _ = call("--json", "--only", "interpreter")
    assert code == 0 and list(json.loads(out)["contestants"]) == ["interpreter"]
    code, out, err = call("--only", "onnxruntme")
    assert code == 2 and out == "" and "no contestant `onnxruntme`: did you mean `onnxruntime`?" in err
    code, _, err = call("--only", "numpy", "--only", "elves")
    assert code == 2 and "no contestant `elves`: there are numpy, interpreter, torch," in err


def test_help_names_every_contestant():
    said = " ".join(CliRunner().invoke(command, ["--help"]).output.split())
    assert f"or these: {', '.join(entry.name for entry in contestants.ENTRIES)};" in said


def test_wrong_use_is_exit_2(spec, capsys):
    for arguments in ([], ["missing.net"], [spec, "--batch", "0"], [spec, "-O", "7"], [spec, "--workers", "elves"]):
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


def test_long_preparations_are_told_again_and_again(capsys):
    with shown_bench("[1/2] net, batch 3: ") as show:
        for seconds in (0.0, 10.0, 31.0, 40.0, 62.0):
            show(Progress("jax: compiling inference", step=3, steps=9, seconds=seconds))
        show(Progress("jax: being measured", 0, 4))
        show(Progress("jax: being measured", 1, 4, left=100))
        show(Progress("jax: counting subnormal numbers"))
    assert capsys.readouterr().err.splitlines() == [
        "[1/2] net, batch 3: jax: compiling inference",
        "[1/2] net, batch 3: jax: compiling inference for 31 s, step 3 of 9 before measuring",
        "[1/2] net, batch 3: jax: compiling inference for 62 s, step 3 of 9 before measuring",
        "[1/2] net, batch 3: measuring, 4 turns",
        "[1/2] net, batch 3: jax: counting subnormal numbers",
    ]


def test_a_terminal_is_told_what_is_to_come():
    assert described(Progress("jax: being measured", 1, 4, left=100)) == "jax: being measured, turn 2 of 4, 1:40 left"
    assert described(Progress("jax: being measured", 0, 4)) == "jax: being measured, turn 1 of 4"
    assert described(Progress("jax: starting", step=2, steps=9)) == "jax: starting, step 2 of 9 before measuring"


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


WRITER = "input 6 of 9\nembed 4 -> lstm 5 -> linear 9\n"


def test_generate_measures_how_fast_a_text_is_written(call, spec):
    Path(spec).write_text(WRITER)
    code, out, err = call("--generate")
    assert code == 0 and out.startswith("tiny: 6 tokens of one text, the likeliest each, 1 thread, ")
    assert "numpy_uncached" in out and out.endswith("keeps what it has seen: -\n")
    assert "note: torch_cells is left out, not installed: torch" in err
    code, out, _ = call("--generate", "3", "--json", "--only", "numpy")
    found = json.loads(out)
    assert code == 0 and found["tokens"] == 3 and list(found["contestants"]) == ["numpy"]


def test_generate_of_several_specs_makes_one_table(call, spec):
    Path(spec).write_text(WRITER)
    code, out, _ = call(spec, "--generate", "2", "--markdown", "--only", "numpy")
    assert code == 0 and out.splitlines()[0].startswith("| net, tokens | us a token: NumPy |")
    assert [line.split(" | ")[0] for line in out.splitlines()[2:]] == ["| `tiny`, 2"] * 2


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (TINY, (), "error: `tiny` cannot go on with a text: it takes no numbers of a vocabulary"),
        (WRITER, ("--batch", "4"), "`--batch` is not for `--generate`, which writes one text on the processor"),
        (WRITER, ("--channels-last",), "`--channels-last` is not for `--generate`"),
        (WRITER, ("--only", "torch_cell"), "no contestant `torch_cell`: did you mean `torch_cells`?"),
    ],
)
def test_what_cannot_be_written_is_one_clear_line(call, spec, text, arguments, message):
    Path(spec).write_text(text)
    code, out, err = call("--generate", *arguments)
    assert code == 2 and not out and message in err
