"""Every command on a system that has neither fork nor /proc, with a console that is not UTF-8."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import filelock
import numpy as np
import pytest

from netdsl.cli import run as netdsl
from netdsl.graph.types import map_of, vector
from netdsl.pipeline import compile_text
from netdsl.training.runs.answer_files import write_answers
from netdsl.training.scores.task import decided_task

TESTS = Path(__file__).resolve().parents[1]
SPEC = """# a comment with \N{RIGHTWARDS ARROW} and \u4e2d
input 2
linear 8->relu
linear 2
train {
  data "points \u4e2d.csv"
  epochs 1
  batch 8
}
"""
CLASSES = ("\N{RIGHTWARDS ARROW} caf\N{LATIN SMALL LETTER E WITH ACUTE}", "\u4e2d\u2502")
CONSOLES = {
    "windows": {"PYTHONIOENCODING": "cp1252"},
    "dos": {"PYTHONIOENCODING": "cp437"},
    "posix": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii:strict"},
}
SCRIPT = """import sys
from netdsl.bench import contestants
from netdsl.cli import run
from netdsl.ground.system.console import be_readable
contestants.ENTRIES = tuple(entry for entry in contestants.ENTRIES if not entry.needs)
be_readable()  # as the console script does first
for number, line in enumerate(sys.argv[1:]):
    print(f"<{number}>", flush=True)
    print(f"<{number}>", file=sys.stderr, flush=True)
    print(run(line.split(";")), flush=True)
"""
TRAIN = "train;p.net;--no-plots;--threads;2;--out;run"
BENCH = "bench;p.net;--steps;1;--batch;4;--threads;2;--no-autotune"
LINES = {  # line -> its exit code
    "check;p.net": 0,
    "check;u.net": 0,
    "check;p.net;wrong.net;--format;concise": 1,
    "fmt;--diff;p.net": 0,
    TRAIN: 0,
    "predict;run;points.npy": 0,
    "predict;run;points \u4e2d.csv;--out;answers.csv": 0,
    "eval;run": 0,
    "summary;missing.net": 2,
}
MORE = {  # the same everywhere
    "summary;p.net": 0,
    "explain;conv": 0,
    "explain;N201": 0,
    "compile;p.net;-O2;--target;all;-o;out": 0,
    "compile;p.net": 0,
    "verify;p.net": 0,
    "train;--resume;run;--epochs;2": 0,
    "plot;run;curves": 0,
    BENCH: 0,
    "train;p.net;--workers;processes": 2,
    "bench;p.net;--workers;processes": 2,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folder")
    (folder / "p.net").write_text(SPEC, encoding="utf-8")
    (folder / "u.net").write_text('use "b\u4e2d.net"\ninput 4\nb()\n', encoding="utf-8")
    (folder / "b\u4e2d.net").write_text("block b() { linear 3 }\n", encoding="utf-8")
    (folder / "wrong.net").write_text("input 4\nlinear 3 # \u4e2d\nrelux\n", encoding="utf-8")
    points = np.random.default_rng(0).standard_normal((40, 2)).astype(np.float32)
    rows = [f"{x},{y},{CLASSES[int(x > y)]}" for x, y in points.tolist()]
    (folder / "points \u4e2d.csv").write_text("\n".join(["a,b,label", *rows]) + "\n", encoding="utf-8")
    np.save(folder / "points.npy", points[:3])
    (folder / "system").mkdir()
    shutil.copy(TESTS / "poor_system.py", folder / "system" / "sitecustomize.py")
    return folder


def said(folder, name, place, lines):
    """line -> its output, its errors, and its exit code."""
    place = place / "caf\N{LATIN SMALL LETTER E WITH ACUTE} \u4e2d"
    shutil.copytree(folder, place)
    paths = [str(place / "system"), *filter(None, sys.path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **CONSOLES[name]}
    done = subprocess.run([sys.executable, "-c", SCRIPT, *lines], cwd=place, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr[-3000:]
    encoding = "utf-8" if name == "posix" else CONSOLES[name]["PYTHONIOENCODING"]  # click takes UTF-8 in place of ASCII
    texts = [stream.decode(encoding) for stream in (done.stdout, done.stderr)]
    found = {}
    for number, line in enumerate(lines):
        out, err = (text.split(f"<{number}>\n")[1].split(f"<{number + 1}>\n")[0] for text in texts)
        out, _, code = out.rstrip("\n").rpartition("\n")
        found[line] = out, err, int(code)
    return found


@pytest.fixture(
    scope="module", params=["windows", "posix", pytest.param("dos", marks=pytest.mark.slow("a DOS console"))]
)
def console(request, folder, tmp_path_factory):
    """-> its name, what the lines should end with, and what they said."""
    codes = {**LINES, **MORE} if request.param == "windows" else LINES
    return request.param, codes, said(folder, request.param, tmp_path_factory.mktemp(request.param), list(codes))


def test_every_command_works_or_says_one_clear_line(console):
    _, codes, found = console
    errors = "\n".join(f"{line}\n{err}" for line, (_, err, _) in found.items())
    assert {line: code for line, (_, _, code) in found.items()} == codes, errors
    assert "Traceback" not in errors and "Encode" not in errors and "bug of its own" not in errors
    assert "numpy -O2, 2 threads" in found[TRAIN][1]
    for line in [line for line in codes if line.endswith("processes")]:
        assert found[line][0] == "" and found[line][1].splitlines()[-1] == (
            "Error: `--workers processes` needs fork, which this system does not have: take `threads`"
        )


def test_words_that_the_console_lacks_are_said_in_plain_letters(console):
    name, _, found = console
    out, _, _ = found["predict;run;points.npy"]
    arrow = {
        "windows": "-> caf\N{LATIN SMALL LETTER E WITH ACUTE} ",
        "dos": "-> caf\N{LATIN SMALL LETTER E WITH ACUTE} ",
    }
    assert arrow.get(name, " caf") in out and len(out.splitlines()) == 3
    assert ("\\u4e2d" in out) == (name != "posix")


def test_the_bench_measures_memory_without_proc(console):
    _, codes, found = console
    lines = found[BENCH][0].splitlines() if BENCH in codes else []
    rows = [line.split() for line in lines if line.startswith(("numpy  ", "interpreter  "))]
    peaks = [[int(number) for number in row[-2:]] for row in rows]
    assert len(peaks) == (2 if lines else 0)
    assert all(300 > peak >= base > 10 for peak, base in peaks), peaks  # the process that asked has more


STANDALONE = """import sys
import p_numpy, q_numpy
model = p_numpy.Model(seed=0, workers=3)
x, y = p_numpy.np.ones((6, 2), "f4"), p_numpy.np.array([0, 1] * 3)
losses = [model.train_step(x, y, lr=0.1) for _ in range(3)]
print(len(model.team.threads), losses[2] < losses[0], "netdsl" in sys.modules)
try:
    q_numpy.Model()
except ValueError as error:
    print(error)
"""


def test_a_module_that_stands_alone_trains_with_threads(folder):
    text = compile_text("input 2\nlinear 8 -> relu\nlinear 2\n", "p").numpy_source(2)
    (folder / "p_numpy.py").write_text(text, encoding="utf-8")
    forked = compile_text("input 2\nlinear 2\n", "q").with_workers("processes").numpy_source(2)
    (folder / "q_numpy.py").write_text(forked, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder / "system"), str(folder)])}
    done = subprocess.run(
        [sys.executable, "-c", STANDALONE], env=environment, cwd=folder, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == [
        "2 True False",
        "workers that are processes need fork, which this system does not have: take threads",
    ], done.stderr


def test_a_run_of_processes_goes_on_with_threads_to_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.net").write_text("input 2\nlinear 8 -> relu\nlinear 3\ntrain { data spiral, epochs 1, batch 50 }\n")
    options = ["-q", "--no-plots", "--limit", "200", "--threads", "2"]
    assert netdsl(["train", *options, "--workers", "processes", "--out", "run", "a.net"]) == 0
    shutil.copytree("run", "other")
    assert netdsl(["train", "-q", "--no-plots", "--resume", "run", "--epochs", "2"]) == 0
    monkeypatch.delattr(os, "fork")
    assert netdsl(["train", "-q", "--no-plots", "--resume", "other", "--epochs", "2"]) == 0
    assert Path("run/weights.safetensors").read_bytes() == Path("other/weights.safetensors").read_bytes()


def test_a_file_system_without_locks_is_one_line(tmp_path, monkeypatch, capsys):
    def acquire(*_, **__):
        raise NotImplementedError("no flock")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    Path("a.net").write_text("input 2\nlinear 3\ntrain { data spiral, epochs 1 }\n")
    assert netdsl(["train", "-q", "--no-plots", "--out", "run", "a.net"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "error: the file system of `run` has no locks, so that two processes could train it at once"
    assert len(said) == 2 and not Path("run").exists()


def test_pictures_keep_apart_where_capitals_are_no_difference(tmp_path, monkeypatch):
    """As on the usual disks of macOS and Windows."""
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: exists(path) or path.name.lower() in _names(path.parent))
    task = decided_task("ce", map_of(1, 4, 4), map_of(2, 4, 4), ("a", "b"))
    files = [("x/A.png", None), ("y/a.png", None), ("z/a.png", None)]
    write_answers(tmp_path / "out", task, files, np.zeros((3, 4, 4), np.int64))
    assert sorted(os.listdir(tmp_path / "out")) == ["A.png", "a_2.png", "a_3.png"]


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
def test_a_file_whose_name_is_no_utf8_can_have_answers(tmp_path, suffix):
    task = decided_task("ce", vector(2), vector(2), ("a", "b"))
    name = os.fsdecode(b"caf\xc3\xa9 \xff.npy")
    write_answers(tmp_path / f"out{suffix}", task, [(name, 0)], np.array([[0.25, 0.75]]))
    if suffix == ".npz":
        assert np.load(tmp_path / "out.npz")["files"].tolist() == ["caf\N{LATIN SMALL LETTER E WITH ACUTE} \\udcff.npy"]
    else:
        assert "\\udcff.npy,0,b,0.25,0.75" in (tmp_path / "out.csv").read_text(encoding="utf-8")


def _names(folder):
    return {name.lower() for name in os.listdir(folder)} if os.path.isdir(folder) else ()
