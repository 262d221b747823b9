"""The files of a run folder as what they are, data of a stranger perhaps: nothing in the folder leads out of it."""

from __future__ import annotations

import os
from pathlib import Path

from netdsl.ground.diagnostics import UserError
from netdsl.ground.reading import shown
from netdsl.ground.system.disk import is_link, is_plain

MOST_FILES = 10_000


def check_files(run: Path) -> None:
    """Raises UserError where something in the folder is a link, a pipe or a device, so that whoever reads or writes
    there stays inside. The folder itself may be a link."""
    waiting, count = [os.fspath(run)], 0
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                count += 1
                _check(entry)
                if count > MOST_FILES:
                    raise UserError(f"{shown(run)} is not a run folder: it has more than {MOST_FILES:,} files")
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)


def _check(entry: os.DirEntry[str]) -> None:
    status = os.lstat(entry.path)  # on Windows that of the entry counts no names
    has_names = entry.name == ".lock" and status.st_nlink > 1  # the only file that is not replaced, but opened
    if is_link(entry) or has_names:
        raise UserError(f"{shown(entry.path)} is a link", help="put the file itself there: a run keeps to its folder")
    if not is_plain(status):
        raise UserError(f"{shown(entry.path)} is a device or pipe, which a run does not have", help="remove it")
