"""The room for the operating system: what it does on systems that this one is not, and that it is the only room."""

import ast
import errno
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import types
from contextlib import nullcontext
from pathlib import Path

import psutil
import pytest

from netdsl.ground import files, system
from netdsl.ground.files import read_text, write_atomic
from netdsl.ground.system import console, disk, machine, processes, signals
from netdsl.stages import blas, forks, workers
from netdsl.training.runs.checkpoint import rename_copy

PACKAGE = Path(files.__file__).resolve().parents[1]
ROOMS = ("ground/system/", "stages/blas.py", "stages/forks.py", "stages/workers.py")
LIBRARIES = {
    *("ctypes", "fcntl", "grp", "mmap", "msvcrt", "multiprocessing", "platform", "psutil", "pwd", "resource"),
    *("select", "signal", "termios", "tty", "winreg"),
}
OF_SOME_SYSTEMS = re.compile(
    r"os\.(fork\w*|kill\w*|wait\w*|sched_\w+|getpgrp|setsid|setpgid|get(u|g|eu|eg|pg|s|pp)id|O_\w+|name|uname|sysconf"
    r"|cpu_count|link|symlink|readlink|fsync|replace|rename|pipe\w*|nice|chown|mkfifo|process_cpu_count)"
    r"|sys\.(platform|getwindowsversion)|time\.(thread_time|clock_\w+)|subprocess\.(CREATE_\w+|STARTUPINFO)"
)
PLACES = re.compile(r"/(proc|dev|sys|etc|tmp|var|usr)(/|$)")


# ------------------------------------------------------------------------------------------------ the only room


def complaints(text):
    """What a module says that not every system has: libraries, functions, and absolute places in strings."""
    tree = ast.parse(text)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from {alias.name.split(".")[0] for alias in node.names} & LIBRARIES
        elif isinstance(node, ast.ImportFrom):
            yield from {(node.module or "").split(".")[0]} & LIBRARIES
            yield from (n.name for n in node.names if OF_SOME_SYSTEMS.fullmatch(f"{node.module}.{n.name}"))
        elif isinstance(node, ast.Attribute) and OF_SOME_SYSTEMS.fullmatch(ast.unparse(node)):
            yield ast.unparse(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield from [node.value] if PLACES.match(node.value) else []
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
            asked = ".".join([ast.unparse(node.args[0]), str(getattr(node.args[1], "value", ""))])
            yield from [asked] if OF_SOME_SYSTEMS.fullmatch(asked) else []


def test_only_one_room_and_the_workers_know_of_the_operating_system():
    told = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith(ROOMS):
            told[name] = sorted(complaints(path.read_text(encoding="utf-8")))
    assert len(told) > 200
    assert {name: words for name, words in told.items() if words} == {}


@pytest.mark.parametrize(
    "line",
    [
        *("import signal", "from resource import getrusage", "import psutil", "os.fork()", "from os import fork"),
        *("sys.platform == 'win32'", "hasattr(os, 'killpg')", "getattr(os, 'O_BINARY', 0)", "os.replace(a, b)"),
        *("open('/proc/stat')", "Path('/dev/null')"),
    ],
)
def test_the_search_finds_what_it_looks_for(line):
    assert list(complaints(f'"""A module."""\nimport os\n{line}\n'))


def test_every_text_file_is_opened_with_its_encoding():
    """Windows' own is not UTF-8."""
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            takes = {keyword.arg for keyword in node.keywords}
            modes = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            is_text = name == "open" and isinstance(node.func, ast.Name) and not any("b" in mode for mode in modes)
            if (is_text or name in ("read_text", "write_text")) and "encoding" not in takes and path.stem != "history":
                wrong.append(f"{path.relative_to(PACKAGE)}:{node.lineno} {ast.unparse(node)}")
    assert not [line for line in wrong if not re.search(r"read_text\((file|path, limit)\)", line)]


GUARDED = {
    "ground/system/disk.py": {"fcntl"},
    "ground/system/processes.py": {"getpgrp", "getrusage", "RUSAGE_SELF"},
    "stages/forks.py": {
        *("fork", "SIGHUP", "SIG_BLOCK", "SIG_SETMASK", "pthread_sigmask", "poll", "POLLIN", "WNOHANG", "SIGKILL")
    },
}
"""What macOS or Windows have not, as the types of Python's library say, and netdsl asks for before it uses it."""


@pytest.fixture(scope="module")
def absent(tmp_path_factory):
    """absent(system) -> (module, name) that this system has not, by the types of Python's library, which are written
    for each system."""
    pytest.importorskip("mypy")
    cache = tmp_path_factory.mktemp("mypy")
    options = ["--config-file", os.devnull, "--cache-dir", str(cache), "--ignore-missing-imports", "--no-site-packages"]

    def names(platform):
        line = [sys.executable, "-m", "mypy", *options, "--check-untyped-defs", "--platform", platform, str(PACKAGE)]
        done = subprocess.run(line, capture_output=True, text=True)
        assert "source files" in done.stdout.splitlines()[-1], done.stdout[-500:] + done.stderr
        return set(re.findall(r"netdsl/([\w/]+\.py):\d+: error: .* has no attribute \"(\w+)\"", done.stdout))

    known = names("linux")
    return lambda platform: names(platform) - known


@pytest.mark.slow("mypy as on another system")
@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_every_name_that_is_used_is_there_on_macos_and_windows(absent, platform):
    found = absent(platform)
    assert {(module, name) for module, name in found if name not in GUARDED.get(module, ())} == set()
    assert platform == "darwin" or ("stages/forks.py", "fork") in found


# ------------------------------------------------------------------------------------------------ files


@pytest.fixture
def windows(monkeypatch):
    monkeypatch.setattr(system, "is_windows", lambda: True)
    monkeypatch.setattr(disk, "PAUSE", 0.001)


def test_a_file_is_read_without_what_only_unix_has(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"one\r\ntwo\x1athree")
    monkeypatch.setattr(disk, "NO_WAIT", 0)
    assert read_text(tmp_path / "a") == "one\r\ntwo\x1athree"


def test_a_spec_is_read_where_there_is_no_nonblock(tmp_path):
    (tmp_path / "a.net").write_text("input 4\nlinear 2\n")
    code = """import os
del os.O_NONBLOCK, os.fork, os.link, os.killpg, os.sched_getaffinity, os.sched_yield
from netdsl.cli import run
raise SystemExit(run(["check", "a.net"]))"""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "a.net: ok, 10 params\n")


def test_a_folder_that_windows_does_not_open_is_a_folder(tmp_path, windows, monkeypatch):
    def denied(path, *_):
        raise PermissionError(errno.EACCES, "permission denied", path)

    (tmp_path / "file").write_text("")
    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(IsADirectoryError):
        disk.open_to_read(tmp_path)
    with pytest.raises(PermissionError):
        disk.open_to_read(tmp_path / "file")


def test_windows_waits_for_a_virus_scanner_but_not_for_ever(tmp_path, windows, monkeypatch):
    real, left = os.replace, [3]

    def busy(*names):
        left[0] -= 1
        if left[0] >= 0:
            raise PermissionError(errno.EACCES, "it is used by another process", *names)
        real(*names)

    monkeypatch.setattr(os, "replace", busy)
    write_atomic(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
    left[0] = 10**6
    with pytest.raises(PermissionError):
        write_atomic(tmp_path / "a", "newer")
    assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "new"


def test_elsewhere_a_refused_place_is_refused_at_once(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(os, "replace", lambda *names: calls.append(names) or (_ for _ in ()).throw(PermissionError(13)))
    with pytest.raises(PermissionError):
        disk.replace("a", "b")
    assert len(calls) == 1


def test_windows_folders_are_not_synced(windows, monkeypatch):
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("opened"))
    disk.sync_folder("somewhere")


@pytest.mark.parametrize("number", sorted(disk.NO_FOLDER_SYNC))
def test_a_file_system_that_cannot_sync_folders_is_no_failure(tmp_path, monkeypatch, number):
    def fsync(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(number, "no")

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomic(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"


@pytest.mark.parametrize("refused", [None, errno.ENOTSUP, errno.EIO])
def test_macos_brings_files_past_the_memory_of_the_disk(tmp_path, monkeypatch, refused):
    """F_FULLFSYNC, or fsync where the file system has none."""
    calls = []

    def fcntl(descriptor, command):
        calls.append(command)
        if refused:
            raise OSError(refused, "no")

    monkeypatch.setattr(disk, "fcntl", types.SimpleNamespace(F_FULLFSYNC=51, fcntl=fcntl))
    monkeypatch.setattr(os, "fsync", lambda _: calls.append("fsync"))
    if refused == errno.EIO:
        with pytest.raises(OSError, match="no"):
            disk.sync(0)
    else:
        disk.sync(0)
    assert calls == {None: [51], errno.ENOTSUP: [51, "fsync"], errno.EIO: [51]}[refused]


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EXDEV])
def test_a_checkpoint_is_copied_where_no_file_has_two_names(tmp_path, monkeypatch, number):
    def link(*_):
        raise OSError(number, "no links")

    (tmp_path / "last").write_bytes(b"weights")
    monkeypatch.setattr(os, "link", link)
    rename_copy(tmp_path / "last", tmp_path / "prev")
    assert (tmp_path / "prev").read_bytes() == b"weights" and len(os.listdir(tmp_path)) == 2


def test_a_system_without_links_and_fat_on_windows_have_no_second_names(tmp_path, monkeypatch):
    error = OSError(errno.EINVAL, "incorrect function")
    error.winerror = 1
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(error))
    assert not disk.has_second_name("a", "b")
    monkeypatch.delattr(os, "link")
    assert not disk.has_second_name("a", "b")


@pytest.mark.parametrize("tag, is_other", [(0, False), (0xA000000C, True), (0xA0000003, True), (0x9000001A, False)])
def test_junctions_are_links_and_files_of_a_cloud_folder_are_not(tag, is_other):
    status = types.SimpleNamespace(st_reparse_tag=tag)
    entry = types.SimpleNamespace(stat=lambda follow_symlinks: status, is_symlink=lambda: False)
    assert disk.is_link(entry) == is_other


def test_a_name_as_long_as_the_system_takes_can_be_written(tmp_path):
    for name in ("a" * 255, "\N{SNOWMAN}" * 85, "\N{GRINNING FACE}" * 63):
        write_atomic(tmp_path / name, "x")
        assert (tmp_path / name).read_text() == "x"


NAMES = """import os, sys
from netdsl.ground.system.disk import name_in_letters, name_on_disk
(name,) = os.listdir()
written = name_in_letters(name)
print(ascii(written), os.path.exists(name_on_disk(written)), os.path.exists(name_on_disk(name)))
print(ascii(name_on_disk("\\ud800")), ascii(name_in_letters("\\ud800")))
"""


@pytest.mark.parametrize(
    "options", [{}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}], ids=["utf8", "c"]
)
def test_names_are_letters_whatever_encoding_the_system_has_for_them(tmp_path, options):
    (tmp_path / "\u4e2d").write_text("")
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), **options}
    done = subprocess.run([sys.executable, "-c", NAMES], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines() == ["'\\u4e2d' True True", "'\\ud800' '\\ud800'"], done.stderr


def test_windows_says_that_a_path_is_too_long(windows, tmp_path):
    long = tmp_path / ("d" * 150) / ("e" * 150)
    told = disk.advice(FileNotFoundError(errno.ENOENT, "no such file", str(long)))
    assert told == (f"the path has {len(str(long))} characters, and Windows takes 259 unless long paths are enabled")
    assert disk.advice(FileNotFoundError(errno.ENOENT, "no such file", "short")) == ""


def test_long_paths_need_no_advice_elsewhere():
    assert disk.advice(FileNotFoundError(errno.ENOENT, "no such file", "a" * 300)) == ""


# ------------------------------------------------------------------------------------------------ the console


def test_what_a_console_cannot_show_is_said_in_plain_letters():
    own = "2 \N{MULTIPLICATION SIGN} b \N{RIGHTWARDS ARROW} R\N{SUPERSCRIPT TWO} "
    assert console.plainer(own + "\u2554\u2550\u2557\u2502\u2588 \u4e2d \udcff") == "2 x b -> R2 +-+|# \\u4e2d \\udcff"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "latin-1", "shift_jis", "utf-8", "utf-16"])
def test_no_text_dies_on_a_stream_that_was_made_readable(encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console.be_readable(stream)
    said = "".join(chr(c) for c in [*range(32, 0x3000), 0xD800, 0xDCFF, 0x1F600])
    stream.write(said)
    stream.flush()
    shown = stream.buffer.getvalue().decode(encoding)
    assert shown.isprintable() or len(shown) > len(said)
    assert ("\N{MULTIPLICATION SIGN}" in shown) == (encoding not in ("ascii", "cp437"))


def test_streams_that_are_none_or_no_text_are_let_be():
    console.be_readable(None, io.StringIO(), types.SimpleNamespace())
    surrogates = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape")
    console.be_readable(surrogates)
    assert surrogates.errors == "surrogateescape", "it gives back the bytes of file names"


def test_a_reader_who_went_away_is_known_on_windows_too(windows):
    assert console.has_no_reader(BrokenPipeError())
    assert console.has_no_reader(OSError(errno.EINVAL, "invalid argument"))
    assert not console.has_no_reader(OSError(errno.EINVAL, "invalid argument", "a?.net"))
    assert not console.has_no_reader(OSError(errno.ENOSPC, "no space"))


def test_an_invalid_argument_is_one_elsewhere():
    assert not console.has_no_reader(OSError(errno.EINVAL, "invalid argument"))


# ------------------------------------------------------------------------------------------------ signals


@pytest.fixture
def usual():
    """The signals as a program of its own has them; pytest may run with some ignored."""
    kept = {number: signal.signal(number, signal.SIG_DFL) for number in signals.numbers()}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_the_first_signal_is_noted_and_the_next_acts_as_ever(usual):
    seen, late = [], []
    signal.signal(signal.SIGTERM, lambda *_: late.append("as ever"))
    with signals.on_signals(seen.append, once=True):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert (seen, late) == ([signal.SIGTERM], ["as ever"])


def test_ignored_signals_stay_ignored_and_all_are_given_back(usual):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with signals.on_signals(pytest.fail):
        os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGINT) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_signals_that_a_system_has_not_are_passed_over(monkeypatch):
    monkeypatch.delattr(signal, "SIGHUP")
    monkeypatch.setattr(signal, "SIGBREAK", 21, raising=False)
    assert signals.numbers() == [signal.SIGINT, signal.SIGTERM, 21]


def test_an_end_is_told_by_name_where_it_has_one():
    assert signals.exit_text(-9) == "exit code -9 (SIGKILL)" and signals.exit_text(3) == "exit code 3"
    assert signals.exit_text(-60) == "exit code -60" and signals.exit_text(0xC0000005) == "exit code 3221225477"


# ------------------------------------------------------------------------------------------------ the machine


@pytest.fixture
def no_cpuinfo(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "none")
    for known in (machine._cpu_info, machine._told):
        known.cache_clear()
    yield
    monkeypatch.undo()
    for known in (machine._cpu_info, machine._told):
        known.cache_clear()


def test_without_cpuinfo_the_processor_still_has_a_name(no_cpuinfo):
    assert machine.cpu_model() and machine.cpu_flags() == frozenset()


def test_macos_tells_the_processor_by_sysctl(no_cpuinfo, monkeypatch):
    monkeypatch.setattr(system, "is_macos", lambda: True)
    monkeypatch.setattr(machine, "SYSCTL", "echo")
    assert machine.cpu_model() == "machdep.cpu.brand_string"


def test_macos_without_sysctl_is_no_failure(no_cpuinfo, monkeypatch):
    monkeypatch.setattr(system, "is_macos", lambda: True)
    monkeypatch.setattr(machine, "SYSCTL", "/nowhere/sysctl")
    assert machine.cpu_model()


def test_windows_tells_the_processor_by_its_registry(no_cpuinfo, windows, monkeypatch):
    asked = []
    registry = types.SimpleNamespace(
        HKEY_LOCAL_MACHINE="machine",
        OpenKey=lambda *place: asked.append(place) or nullcontext("key"),
        QueryValueEx=lambda key, name: (f"{name} of a {key}  ", 1),
    )
    monkeypatch.setitem(sys.modules, "winreg", registry)
    assert machine.cpu_model() == "ProcessorNameString of a key" and asked == [("machine", machine.REGISTRY)]


def test_a_user_without_a_home_has_a_cache_all_the_same(monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert machine.cache_folder() == Path(tempfile.gettempdir(), "netdsl")


def test_every_system_has_its_own_folder_of_caches(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert machine.cache_folder() == tmp_path / ".cache" / "netdsl"
    monkeypatch.setattr(system, "is_macos", lambda: True)
    assert machine.cache_folder() == tmp_path / "Library" / "Caches" / "netdsl"
    monkeypatch.setattr(system, "is_windows", lambda: True)
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "Local"))
    assert machine.cache_folder() == tmp_path / "Local" / "netdsl" / "cache"


def test_work_is_counted_by_the_clock_that_is_fine_enough(monkeypatch):
    start = machine.work_clock()
    time.sleep(0.05)
    assert machine.work_clock() - start < 0.04
    monkeypatch.setattr(system, "is_windows", lambda: True)
    start = machine.work_clock()
    time.sleep(0.05)
    assert machine.work_clock() - start > 0.04


# ------------------------------------------------------------------------------------------------ processes


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], **processes.own_group())
    yield process
    process.kill()
    process.wait()


def test_what_was_started_is_known_and_ended(sleeper):
    assert sleeper.pid in processes.descendants(os.getpid()) and processes.is_alive(sleeper.pid)
    processes.kill_all([sleeper.pid])
    assert sleeper.wait(10) == -signal.SIGKILL
    assert not processes.is_alive(sleeper.pid) and processes.descendants(sleeper.pid) == []


def test_it_is_ended_where_there_are_no_process_groups(sleeper, monkeypatch):
    monkeypatch.delattr(os, "killpg")
    processes.kill_all([sleeper.pid])
    assert sleeper.wait(10) == -signal.SIGKILL and not processes.is_alive(sleeper.pid)


def test_a_group_of_its_own_is_asked_for_as_each_system_says_it(monkeypatch):
    assert processes.own_group() == {"process_group": 0}
    monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0x200, raising=False)
    assert processes.own_group() == {"creationflags": 0x200}


def test_memory_and_time_are_known_without_what_linux_alone_tells(sleeper, monkeypatch):
    whole = processes.peak_bytes()
    monkeypatch.setattr(processes, "_high_water", lambda pid: None)
    monkeypatch.setattr(processes, "_max_rss", lambda: None)
    assert 10e6 < processes.peak_bytes() <= whole * 1.5 and processes.cpu_seconds() > 0


def test_memory_is_unknown_where_the_system_tells_nothing(monkeypatch):
    def nothing(*_):
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "Process", nothing)
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: nothing())
    monkeypatch.setitem(sys.modules, "resource", None)
    assert processes.peak_bytes() is None and machine.busy_seconds() is None
    assert processes.descendants(os.getpid()) == [] and processes.cpu_seconds() > 0
    processes.settle(0.05)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux forgets a peak")
def test_a_peak_can_be_forgotten():
    bytearray(b"1") * 100_000_000
    before = processes.peak_bytes()
    processes.forget_peak()
    assert processes.peak_bytes() < before - 90e6


def test_the_peak_that_windows_tells_is_taken(monkeypatch):
    told = types.SimpleNamespace(rss=5, peak_wset=7)
    assert processes._peak(types.SimpleNamespace(pid=0, memory_info=lambda: told)) == 7


def test_busy_time_counts_what_each_system_has():
    first = machine.busy_seconds()
    assert first > 0 and first <= machine.busy_seconds()


def test_busy_time_needs_no_affinity_and_no_more_than_three_numbers(monkeypatch):
    """macOS has no affinity, Windows no `nice`, and its `system` has interrupts in it."""
    cores = [types.SimpleNamespace(user=1.0, system=2.0, idle=50.0, interrupt=0.5, dpc=0.5)] * 3
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: cores)
    monkeypatch.delattr(psutil.Process, "cpu_affinity")
    assert machine.busy_seconds() == 9.0


# ------------------------------------------------------------------------------------------------ workers


def test_auto_is_threads_where_there_is_no_fork(monkeypatch):
    monkeypatch.delattr(os, "fork")
    assert forks.auto_kind() == "threads" and not forks.can_fork()


def test_a_core_is_yielded_and_cores_are_counted_without_a_scheduler(monkeypatch):
    for name in ("sched_yield", "sched_getaffinity"):
        monkeypatch.delattr(os, name)
    forks.yield_core()
    assert workers.available_cores() == (os.cpu_count() or 1)


def test_the_blas_is_asked_by_the_file_that_defines_it(monkeypatch):
    """On Windows numpy's own library shows nothing of what it links; here that is as if it were not there."""
    own, *brought = blas.blas_libraries()
    if blas.blas_controls()[0] is None or not brought:
        pytest.skip("this numpy brings no OpenBLAS along")
    kept = blas.blas_threads(1)
    get, put = blas.blas_controls()
    monkeypatch.setattr(blas, "blas_libraries", lambda: brought)
    other, _ = blas.blas_controls()
    put(2)
    assert get() == other() == 2
    put(kept)
