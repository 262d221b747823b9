"""Files are written whole or not at all, whatever fails on the way."""

import errno
import os
import stat
import subprocess
import sys

import pytest

from netdsl.ground.files import write_atomic

FAILURES = [OSError(errno.ENOSPC, "no space"), OSError(errno.EIO, "I/O error"), KeyboardInterrupt(), MemoryError()]
STEPS = ("open", "write", "fsync", "close", "replace", "chmod")


def test_text_is_written_as_utf8_and_replaces_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    write_atomic(path, "old")
    write_atomic(path, "neü\n")
    assert path.read_bytes() == "neü\n".encode() and os.listdir(tmp_path) == ["a.txt"]


def test_short_writes_are_continued(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:3]))
    write_atomic(tmp_path / "a", b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("error", FAILURES, ids=repr)
def test_a_failure_at_any_call_leaves_the_old_file_or_the_new_one(tmp_path, monkeypatch, name, error):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    calls = {"count": 0}
    real = getattr(os, name)

    def failing(*args, **kwargs):
        calls["count"] += 1
        if calls["count"] == fail_at:
            if name == "close":
                real(*args)
            raise error
        return real(*args, **kwargs)

    for fail_at in (1, 2, 3):
        calls["count"] = 0
        with monkeypatch.context() as patch:
            patch.setattr(os, name, failing)
            try:
                write_atomic(path, b"new")
            except type(error) as caught:
                assert not isinstance(caught, OSError) or caught.filename == str(path)
        assert path.read_bytes() in (b"old", b"new") and os.listdir(tmp_path) == ["a"], (name, fail_at)


def test_a_full_disk_is_an_oserror_that_names_the_file(tmp_path):
    code = f"""
import resource, sys
from netdsl.ground.files import write_atomic
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomic({str(tmp_path / "a")!r}, b"x" * 5000)
except OSError as error:
    print(error.filename)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == str(tmp_path / "a"), done.stderr
    assert os.listdir(tmp_path) == []


def test_the_mode_of_the_old_file_and_links_are_kept(tmp_path):
    real = tmp_path / "real"
    real.write_text("old")
    real.chmod(0o640)
    (tmp_path / "link").symlink_to(real)
    write_atomic(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and real.read_text() == "new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_a_new_file_has_the_mode_that_open_would_give(tmp_path):
    write_atomic(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_missing_folder_or_a_folder_in_the_way_is_named(tmp_path):
    with pytest.raises(FileNotFoundError) as missing:
        write_atomic(tmp_path / "no" / "a", "x")
    assert missing.value.filename == str(tmp_path / "no" / "a")
    with pytest.raises(IsADirectoryError):
        write_atomic(tmp_path, "x")
    assert os.listdir(tmp_path) == [] and os.listdir(tmp_path.parent).count(tmp_path.name) == 1


def test_a_device_is_written_to_and_stays_a_device():
    write_atomic("/dev/null", "x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
