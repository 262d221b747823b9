"""Files as Linux, macOS and Windows have them: opening, bringing to the disk, replacing, second names, links."""

from __future__ import annotations

import errno
import os
import stat
import time

from netdsl.ground import system

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

AS_IT_IS = getattr(os, "O_BINARY", 0)  # Windows would make one new line of two bytes, and end at a Ctrl-Z
NO_WAIT = getattr(os, "O_NONBLOCK", 0)
NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF}  # of some network file systems
NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV}
WINDOWS_NO_LINKS = 1  # ERROR_INVALID_FUNCTION, on FAT
WINDOWS_LONGEST = 259  # characters of a path, unless the system was told to take longer ones
RETRIES, PAUSE = 20, 0.05  # of a name that another program, as a virus scanner, has open for a moment
OTHER_NAME = 0x2000_0000  # bit of a Windows reparse tag: the entry stands for another one (IsReparseTagNameSurrogate)


def open_to_read(path: str | os.PathLike[str]) -> int:
    """A descriptor of the file, whose bytes are read as they are; it does not wait for a pipe or device.

    Raises OSError: IsADirectoryError for a folder where the system does not open folders.
    """
    try:
        return os.open(path, os.O_RDONLY | NO_WAIT | AS_IT_IS)
    except PermissionError as error:  # what Windows says of a folder
        if system.is_windows() and os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path)) from error
        raise


def open_new(path: str) -> int:
    """A descriptor to write a file that must not be there yet. Raises OSError."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | AS_IT_IS, 0o666)


def sync(descriptor: int) -> None:
    """The file's bytes are on the disk when this returns; on macOS, where fsync leaves them in the disk's own memory,
    by F_FULLFSYNC (man fsync). Raises OSError."""
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        try:
            fcntl.fcntl(descriptor, full)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY):
                raise
    os.fsync(descriptor)


def sync_folder(folder: str) -> None:
    """The names in the folder last as well; Windows and some network file systems need or know no such step.

    Raises OSError.
    """
    if system.is_windows():
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)


def replace(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """`source` takes the place of `target`. Windows refuses while another program has the old file open: it is tried
    for a second. Raises OSError."""
    for _ in range(RETRIES if system.is_windows() else 0):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            time.sleep(PAUSE)
    os.replace(source, target)


def has_second_name(source: str | os.PathLike[str], name: str | os.PathLike[str]) -> bool:
    """Gives a file a second name; False where the file system, or the system, has no such thing. Raises OSError."""
    if not hasattr(os, "link"):
        return False
    try:
        os.link(source, name)
    except OSError as error:
        if error.errno in NO_LINKS or getattr(error, "winerror", None) == WINDOWS_NO_LINKS:
            return False
        raise
    return True


def is_link(entry: os.DirEntry[str]) -> bool:
    """Whether the entry of a folder stands for another place: a symbolic link, or a junction of Windows.

    Other reparse points, as the files of a cloud folder, are files like all others.
    """
    tag = getattr(entry.stat(follow_symlinks=False), "st_reparse_tag", 0)
    return entry.is_symlink() or bool(tag & OTHER_NAME)


def is_plain(status: os.stat_result) -> bool:
    """Whether it is a file or a folder: no link, pipe or device."""
    return stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)


def name_on_disk(text: str) -> str:
    """The name of a file, written in a spec, as this system's functions take it: where their encoding has no such
    letters (Linux with LC_ALL=C), by its bytes in UTF-8."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        try:
            return os.fsdecode(text.encode("utf-8"))
        except UnicodeEncodeError:  # half of a letter
            pass
    return text


def name_in_letters(name: str) -> str:
    """The other way round: a name that a system's function gave, as it is written down for every system; unchanged
    where its bytes are no UTF-8."""
    try:
        return os.fsencode(name).decode("utf-8")
    except UnicodeError:
        return name


def advice(error: OSError) -> str:
    """What else is known of a file that cannot be opened; "" for nothing."""
    length = len(os.path.abspath(error.filename)) if isinstance(error.filename, str) else 0
    if system.is_windows() and length > WINDOWS_LONGEST:
        return f"the path has {length} characters, and Windows takes {WINDOWS_LONGEST} unless long paths are enabled"
    return ""
