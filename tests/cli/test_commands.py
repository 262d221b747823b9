"""check, summary, compile: exit codes, streams, and that nothing is written when anything is wrong."""

import io
import json
import os
import tokenize
from pathlib import Path
from xml.etree import ElementTree

import pytest

from netdsl.cli import COMMANDS, run

GOOD = "input 1x8x8\nconv 4 k3 -> relu\nflatten -> linear 3\n"
BAD = "input 1x8x8\nconv 4 k9\nrellu\n"


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.net"
    path.write_text(GOOD)
    return path


@pytest.fixture
def bad(tmp_path):
    path = tmp_path / "bad.net"
    path.write_text(BAD)
    return path


def test_check_says_ok_on_stderr_and_nothing_on_stdout(good, capsys):
    assert run(["check", str(good)]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "ok, 475 params" in shown.err


def test_check_reports_every_spec_and_exits_with_1(good, bad, capsys):
    assert run(["check", str(bad), str(good), "--format", "concise"]) == 1
    assert [line.split(": ")[1] for line in capsys.readouterr().out.splitlines()] == [
        "error[N201] a 9x9 kernel does not fit a 8x8 input",
        "error[N301] unknown layer `rellu`",
    ]


def test_check_json_is_one_object_a_line(bad, capsys):
    assert run(["check", str(bad), "--format", "json"]) == 1
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [d["code"] for d in objects] == ["N201", "N301"]
    assert set(objects[0]) == {
        "level",
        "code",
        "message",
        "file",
        "line",
        "col",
        "end_line",
        "end_col",
        "notes",
        "help",
    }


def test_summary_counts_layers_params_and_macs(capsys):
    spec = Path(__file__).resolve().parents[2] / "specs/lenet.net"
    assert run(["summary", str(spec)]) == 0
    table = capsys.readouterr().out
    assert "454,922" in table
    assert "memory" in table
    assert run(["summary", str(spec), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    conv1, conv2, linears = 28 * 28 * 32 * 25, 14 * 14 * 64 * 32 * 25, 3136 * 128 + 128 * 10
    assert summary["macs"] == conv1 + conv2 + linears
    assert (summary["params"], summary["trainable"], summary["input"], summary["output"]) == (
        454_922,
        454_922,
        [1, 28, 28],
        [10],
    )
    assert {"name", "op", "in", "out", "params", "macs"} <= set(summary["layers"][0])


def test_the_summary_draws_the_network_into_a_file(tmp_path, capsys):
    spec = Path(__file__).resolve().parents[2] / "specs/resnet20.net"
    assert run(["summary", str(spec), "--svg", str(tmp_path / "r.svg")]) == 0
    assert ElementTree.parse(tmp_path / "r.svg").getroot().tag.endswith("svg") and "272,474" in capsys.readouterr().out
    assert run(["summary", str(spec), "--svg", str(tmp_path / "no/r.svg")]) == 2


def test_the_summary_says_that_the_loss_contains_the_softmax(capsys):
    run(["summary", str(Path(__file__).resolve().parents[2] / "specs/tiny_cnn.net")])
    assert "the loss `ce` contains `softmax`" in capsys.readouterr().out


def test_compile_writes_to_stdout_a_file_or_a_folder(good, tmp_path, capsys):
    assert run(["compile", str(good)]) == 0
    text = capsys.readouterr().out
    assert run(["compile", str(good), "-o", str(tmp_path / "mine.py")]) == 0
    assert run(["compile", str(good), "--target", "all", "-o", str(tmp_path / "out")]) == 0
    assert (tmp_path / "mine.py").read_text() == text == (tmp_path / "out/good_numpy.py").read_text()
    assert "nn.Module" in (tmp_path / "out/good_torch.py").read_text()


@pytest.mark.parametrize("flag", [["-O2"], ["-O", "2"]])
def test_compile_writes_the_fast_module_where_it_is_asked_to(good, tmp_path, capsys, flag):
    assert run(["compile", str(good), *flag]) == 0
    text = capsys.readouterr().out
    assert "Written by `netdsl compile -O2`" in text and "class FastNetwork" in text
    assert run(["compile", str(good), *flag, "--target", "all", "-o", str(tmp_path)]) == 0
    assert (tmp_path / "good_numpy.py").read_text() == text
    assert run(["compile", str(good), "-O0", "-o", str(tmp_path)]) == 0
    assert "class FastNetwork" not in (tmp_path / "good_numpy.py").read_text()


def test_a_fast_module_has_threads_unless_it_is_asked_for_processes(good, capsys):
    assert run(["compile", str(good), "-O2"]) == 0
    threads = capsys.readouterr().out
    assert "os.fork" not in threads and "import mmap" not in threads and "threads" in threads.split('"""')[1]
    assert run(["compile", str(good), "-O1", "--workers", "processes"]) == 0
    forked = capsys.readouterr().out
    assert "forked" in forked.split('"""')[1] and "ForkedNetwork)" in forked and "os.fork()" in forked
    assert run(["compile", str(good), "--workers", "processes"]) == 2
    assert "`--workers processes` is for modules that have some: add `-O2`" in capsys.readouterr().err


def test_a_level_that_there_is_not_or_that_changes_nothing_is_wrong_use(good, capsys):
    assert run(["compile", str(good), "-O3"]) == 2
    assert "'3' is not one of '0', '1', '2'" in capsys.readouterr().err
    assert run(["compile", str(good), "-O2", "--target", "torch"]) == 2
    assert "is for the NumPy module" in capsys.readouterr().err


def test_compile_writes_nothing_if_any_spec_is_wrong(good, bad, tmp_path, capsys):
    assert run(["compile", str(good), str(bad), "-o", str(tmp_path / "out")]) == 1
    assert not (tmp_path / "out").exists()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "error[N201]" in shown.err
    assert "error[N301]" in shown.err


def test_compile_overwrites_its_own_files_and_no_other(good, tmp_path, capsys):
    mine = tmp_path / "good_numpy.py"
    mine.write_text("print('mine')\n")
    assert run(["compile", str(good), "-o", str(mine)]) == 2
    assert mine.read_text() == "print('mine')\n"
    assert "was not written by netdsl" in capsys.readouterr().err
    assert run(["compile", str(good), "-o", str(mine), "--force"]) == 0
    assert run(["compile", str(good), "-o", str(mine)]) == 0


def test_compile_several_to_stdout_is_a_usage_error(good, capsys):
    assert run(["compile", str(good), "--target", "all"]) == 2
    assert "-o FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "missing.net"],
        ["check", "."],
        ["summary", "missing.net"],
        ["compile", "specs"],
        ["check", "/dev/zero"],
        ["chek", "a.net"],
        ["check"],
        ["check", "a.net", "--format", "xml"],
    ],
)
def test_wrong_use_gives_one_message_and_2(arguments, capsys):
    assert run(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Traceback" not in shown.err


def test_a_pipe_is_not_waited_for(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.net")
    assert run(["check", str(tmp_path / "pipe.net")]) == 2
    assert "not a regular file" in capsys.readouterr().err


def test_a_full_disk_leaves_no_half_written_module(good, tmp_path, monkeypatch, capsys):
    def full(descriptor):
        raise OSError(28, "No space left on device", str(tmp_path / "out/good_numpy.py"))

    monkeypatch.setattr("os.fsync", full)
    assert run(["compile", str(good), "-o", str(tmp_path / "out")]) == 2
    assert list((tmp_path / "out").iterdir()) == []
    assert "no space left" in capsys.readouterr().err


def test_names_in_files_cannot_add_code(tmp_path, capsys):
    path = tmp_path / 'x coding=unicode_escape \\u000aimport os """ .net'
    path.write_text(GOOD)
    assert run(["compile", str(path), "--target", "all", "-o", str(tmp_path / "out")]) == 0
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert all(name.replace(".py", "").isidentifier() for name in names), names
    for name in names:
        text = (tmp_path / "out" / name).read_bytes()
        assert b'import os """' not in text and text.isascii()
        assert tokenize.detect_encoding(io.BytesIO(text).readline) == ("utf-8", [text.split(b"\n")[0] + b"\n"])
        assert text.startswith(b'"""')  # no comment on the first line, so none on the second is asked for an encoding


def test_an_unexpected_error_is_called_a_bug(good, monkeypatch, capsys):
    monkeypatch.setattr("netdsl.pipeline.check_text", lambda *args: 1 / 0)
    assert run(["check", str(good)]) == 101
    assert "bug" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command, capsys):
    assert run([command, "--help"]) == 0
    assert "Example" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError("Unable to allocate 392. MiB"), "error: not enough memory: unable to allocate 392. MiB\n"),
        (MemoryError(), "error: not enough memory\n"),
        (OSError(12, "Cannot allocate memory"), "error: not enough memory\n"),
    ],
)
def test_too_little_memory_is_a_line_and_what_takes_less(monkeypatch, tmp_path, capsys, error, line):
    def fails(path):
        raise error

    (tmp_path / "a.net").write_text("input 2\nlinear 2\n")
    monkeypatch.setattr("netdsl.pipeline.check_file", fails)
    assert run(["check", str(tmp_path / "a.net")]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(line) and "help: a smaller `--batch`" in shown
