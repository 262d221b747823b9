"""The command line itself: every option says what it does without it, and mistakes are answered with what is meant."""

import os
import subprocess
import sys

import click
import pytest

from netdsl import __version__
from netdsl.cli import COMMANDS, cli, run

GOOD = "input 1x8x8\nconv 4 k3 -> relu\nflatten -> linear 3\n"


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.net"
    path.write_text(GOOD)
    return path


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help_and_says_its_default(name):
    command = cli.get_command(click.Context(cli), name)
    for option in command.params:
        if isinstance(option, click.Option):
            option.get_help_record(click.Context(command))  # some help is made when it is shown
            assert option.help and len(option.help) > 5, option.opts
            is_switch = option.is_flag and not option.secondary_opts
            assert is_switch or option.show_default or "default" in option.help, option.opts


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["chek", "a.net"], "no such command `chek`; did you mean `check`?"),
        (["sumary", "a.net"], "did you mean `summary`?"),
        (["compil", "a.net"], "did you mean `compile`?"),
        (["lenet.net"], "did you mean `netdsl check lenet.net`?"),
        (["help"], "did you mean `--help`?"),
        (["format", "a.net"], "did you mean `fmt`?"),
        (["fix", "a.net"], "did you mean `check --fix`?"),
        (["frobnicate"], "the commands are check, fmt, summary"),
        (["train", "--epoch", "3"], "Did you mean '--epochs'?"),
        (["check", "--fixx", "a.net"], "Did you mean '--fix'?"),
    ],
)
def test_what_is_meant_is_said(arguments, said, capsys):
    assert run(arguments) == 2
    shown = capsys.readouterr()
    assert said in shown.err and shown.out == ""


def test_the_version_has_a_short_option(capsys):
    for option in ("-V", "--version"):
        assert run([option]) == 0
        assert capsys.readouterr().out == f"netdsl, version {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_written_for_the_usual_shells_and_completes_commands(shell):
    code = "from netdsl.cli import main; main()"
    script = "import sys; sys.argv = ['netdsl']; " + code
    made = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "_NETDSL_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
    )
    assert "_NETDSL_COMPLETE" in made.stdout and "netdsl" in made.stdout
    words = {"COMP_WORDS": "netdsl expl", "COMP_CWORD": "1"} | ({"COMP_CWORD": "expl"} if shell == "fish" else {})
    told = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **words, "_NETDSL_COMPLETE": f"{shell}_complete"},
        capture_output=True,
        text=True,
    )
    assert "explain" in told.stdout and "train" not in told.stdout


def test_a_file_that_is_no_module_is_refused_and_a_folder_is_made(good, tmp_path, capsys):
    assert run(["compile", str(good), "-o", str(tmp_path / "out/x.txt")]) == 2
    shown = capsys.readouterr().err
    assert "neither a `.py` file nor a folder" in shown and "x.py`" in shown and not (tmp_path / "out").exists()
    assert run(["compile", str(good), "-o", str(tmp_path / "v1.2")]) == 0
    assert (tmp_path / "v1.2/good_numpy.py").is_file()


def test_a_picture_of_another_kind_is_refused_before_anything_is_made(good, tmp_path, capsys):
    for name in ("x.png", "x"):
        assert run(["summary", str(good), "--svg", str(tmp_path / name)]) == 2
        shown = capsys.readouterr()
        assert "x.svg`" in shown.err and shown.out == "" and not (tmp_path / name).exists()


def test_the_summary_fits_the_columns_of_the_terminal(good, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    assert run(["summary", str(good)]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 40
    monkeypatch.delenv("COLUMNS")
    assert run(["summary", str(good)]) == 0
    assert "memory (float32): params" in capsys.readouterr().out


def test_warnings_are_said_once_a_run_and_not_by_every_command(tmp_path, capsys):
    spec = tmp_path / "net.net"
    spec.write_text("input 2\nlinear 4 -> tanh -> linear 3 -> softmax\ntrain { data spiral, epochs 1 }\n")
    out = str(tmp_path / "run")
    assert run(["train", str(spec), "--out", out, "--limit", "60", "--no-plots", "-O", "0"]) == 0
    assert capsys.readouterr().err.count("warning[N604]") == 1
    for arguments in (
        ["eval", out],
        ["plot", out, "curves", "--format", "svg"],
        ["train", "--resume", out, "--epochs", "2", "--no-plots"],
    ):
        assert run(arguments) == 0
        shown = capsys.readouterr()
        assert "warning[" not in shown.err + shown.out, arguments
