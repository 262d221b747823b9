"""`netdsl fmt` and `check --fix`: what is written, what is only said, and the exit codes."""

import io
import os

import pytest

from netdsl.cli import run

UNTIDY, TIDY = "input  4\nlinear 2->relu # done\n", "input 4\nlinear 2 -> relu  # done\n"


@pytest.fixture
def untidy(tmp_path):
    path = tmp_path / "a.net"
    path.write_text(UNTIDY)
    return path


def test_fmt_rewrites_the_file_once(untidy, capsys):
    untidy.chmod(0o640)
    assert run(["fmt", str(untidy)]) == 0
    assert untidy.read_text() == TIDY
    assert untidy.stat().st_mode & 0o777 == 0o640
    assert "formatted" in capsys.readouterr().err
    assert run(["fmt", str(untidy)]) == 0
    assert capsys.readouterr() == ("", "")


def test_check_and_diff_write_nothing(untidy, capsys):
    assert run(["fmt", "--check", str(untidy)]) == 1
    assert "would change" in capsys.readouterr().err
    assert run(["fmt", "--diff", str(untidy)]) == 0
    shown = capsys.readouterr().out
    assert "-input  4" in shown and "+input 4" in shown
    assert run(["fmt", "--check", "--diff", str(untidy)]) == 1
    assert untidy.read_text() == UNTIDY


def test_a_diff_shows_line_ends_and_lines_as_the_file_has_them(untidy, capsys):
    untidy.write_bytes("input 4\r\nrelu # a\u2028b".encode())
    assert run(["fmt", "--diff", str(untidy)]) == 0
    assert capsys.readouterr().out.splitlines()[3:] == [
        "-input 4\\x0d",
        "-relu # a\\u2028b",
        "\\ No newline at end of file",
        "+input 4",
        "+relu  # a\\u2028b",
    ]


def test_a_spec_in_canonical_form_is_not_written(untidy, monkeypatch):
    untidy.write_text(TIDY)
    monkeypatch.setattr("netdsl.ground.files.write_atomic", lambda *args: 1 / 0)
    assert run(["fmt", str(untidy)]) == 0
    assert run(["fmt", "--check", "--diff", str(untidy)]) == 0


def test_a_dash_means_standard_input_and_output(monkeypatch, capsys):
    stream = io.TextIOWrapper(io.BytesIO(UNTIDY.encode()))
    monkeypatch.setattr("sys.stdin", stream)
    assert run(["fmt", "-"]) == 0
    assert capsys.readouterr().out == TIDY


def test_a_folder_means_its_specs_and_a_broken_one_stays(untidy, tmp_path, capsys):
    broken = tmp_path / "b.net"
    broken.write_text("input = 4\n")
    assert run(["fmt", str(tmp_path)]) == 1
    assert untidy.read_text() == TIDY
    assert broken.read_text() == "input = 4\n"
    assert "error[N101]" in capsys.readouterr().err


def test_hidden_folders_are_left_alone(untidy, tmp_path, capsys):
    hidden = tmp_path / ".venv/a.net"
    hidden.parent.mkdir()
    hidden.write_text(UNTIDY)
    assert run(["fmt", str(tmp_path)]) == 0
    assert hidden.read_text() == UNTIDY
    assert run(["fmt", str(hidden.parent)]) == 0
    assert hidden.read_text() == TIDY


def test_a_folder_without_specs_is_named(tmp_path, capsys):
    assert run(["fmt", str(tmp_path)]) == 0
    assert "no `.net` file" in capsys.readouterr().err


def test_what_cannot_be_read_is_named_and_the_others_are_formatted(untidy, tmp_path, capsys):
    latin = tmp_path / "latin.net"
    latin.write_bytes(b"input 4 # \xe9\n")
    assert run(["fmt", str(latin)]) == 1
    assert run(["fmt", str(tmp_path / "no.net"), str(latin), str(untidy)]) == 2
    assert untidy.read_text() == TIDY
    assert latin.read_bytes() == b"input 4 # \xe9\n"
    shown = capsys.readouterr().err
    assert "error[N001]" in shown
    assert "no.net" in shown


def test_what_cannot_be_written_is_named_and_the_others_are_formatted(untidy, tmp_path, monkeypatch, capsys):
    other = tmp_path / "b.net"
    other.write_text(UNTIDY)
    chmod = os.chmod

    def refuse(path, *args):
        if ".a.net." in str(path):
            raise PermissionError(13, "Permission denied", path)
        chmod(path, *args)

    monkeypatch.setattr("os.chmod", refuse)
    assert run(["fmt", str(untidy), str(other)]) == 2
    assert (untidy.read_text(), other.read_text()) == (UNTIDY, TIDY)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.net", "b.net"]
    assert "a.net`: permission denied" in capsys.readouterr().err


def test_a_missing_file_is_named(tmp_path, capsys):
    assert run(["fmt", str(tmp_path / "no.net")]) == 2
    assert "cannot read" in capsys.readouterr().err


BROKEN = "input 3x8x8\nconv 8 k3 nobais -> rellu\nconv 8 k3 \u2192 bn\ngap -> dense 2 -> foo\n"
FIXED = "input 3x8x8\nconv 8 k3 nobias -> relu\nconv 8 k3 -> bn\ngap -> linear 2 -> foo\n"


def test_fix_applies_what_is_certain_and_nothing_else(tmp_path, capsys):
    path = tmp_path / "a.net"
    path.write_text("input 3x8x8\nlet k = 9\nlet c = 9\nact: relu\nconv c -1 k3 -> bn\ngap -> linear 2 -> softmax\n")
    assert run(["check", "--fix", str(path)]) == 0
    assert path.read_text() == "input 3x8x8\nlet c = 9\nrelu\nconv c-1 k3 nobias -> bn\ngap -> linear 2 -> softmax\n"
    shown = capsys.readouterr().err
    assert "fixed 4" in shown
    assert "N604" in shown and "N601" not in shown


def test_fix_mends_the_errors_that_it_can_and_says_the_others(tmp_path, capsys):
    path = tmp_path / "a.net"
    path.write_text(BROKEN, encoding="utf-8")
    assert run(["check", "--fix", str(path)]) == 1
    assert path.read_text() == FIXED
    shown = capsys.readouterr().err
    assert f"{path}: fixed 4" in shown and "unknown layer `foo`" in shown and shown.endswith(": 1 error\n")
    assert run(["check", "--fix", str(path)]) == 1
    assert path.read_text() == FIXED and "fixed" not in capsys.readouterr().err


def test_fix_with_diff_shows_the_edits_and_writes_nothing(tmp_path, capsys):
    path = tmp_path / "a.net"
    path.write_text(BROKEN, encoding="utf-8")
    assert run(["check", "--fix", "--diff", str(path)]) == 1
    shown = capsys.readouterr()
    assert path.read_text(encoding="utf-8") == BROKEN
    assert [line[1:] for line in shown.out.splitlines() if line[:1] == "+"][1:] == FIXED.splitlines()[1:]
    assert f"{path}: 4 can be fixed" in shown.err and "unknown layer `foo`" in shown.err
    assert run(["check", "--diff", str(path)]) == 2


def test_a_fix_that_cannot_be_written_leaves_the_spec_as_it_was(tmp_path, monkeypatch, capsys):
    path = tmp_path / "a.net"
    path.write_text(BROKEN, encoding="utf-8")

    def full(descriptor):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("os.fsync", full)
    assert run(["check", "--fix", str(path)]) == 2
    assert path.read_text(encoding="utf-8") == BROKEN and [p.name for p in tmp_path.iterdir()] == ["a.net"]


def test_a_used_file_is_read_from_the_folder_of_the_spec_and_nowhere_else(tmp_path, capsys):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/blocks.net").write_text('use "more.net"\nlet n = 2\nblock b(c) { n * { conv c } -> m() }\n')
    (tmp_path / "parts/more.net").write_text("block m() { relu }\n")
    (tmp_path / "outside.net").write_text("block o() { relu }\n")
    good, bad = tmp_path / "a.net", tmp_path / "parts/c.net"
    good.write_text('use "parts/blocks.net"\ninput 3x8x8\nb(4) -> gap -> linear 2\n')
    bad.write_text('use "../outside.net"\nuse "/etc/hosts"\nuse "missing.net"\nuse "more"\ninput 3x8x8\nm()\n')
    assert run(["check", str(good)]) == 0
    assert run(["check", str(bad), "--format", "concise"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert ["outside" in lines[0], "not a path" in lines[1], "cannot read" in lines[2]] == [True] * 3
    assert "not a `.net` file" in lines[3]
    errors = tmp_path / "parts/more.net"
    errors.write_text("block m() { rellu }\n")
    assert run(["check", str(good)]) == 1
    assert "parts/more.net:1:13" in capsys.readouterr().err


def test_the_standard_input_is_read_as_far_as_a_file_would_be(monkeypatch, capfd):
    class Endless(io.RawIOBase):
        given = 0

        def readable(self):
            return True

        def readinto(self, buffer):
            buffer[:] = b"\n" * len(buffer)
            self.given += len(buffer)
            assert self.given < 2**22, "it is read without end"
            return len(buffer)

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(Endless())))
    assert run(["fmt", "-"]) == 2
    assert "`stdin.net` is larger than 1_048_576 bytes" in capfd.readouterr().err
