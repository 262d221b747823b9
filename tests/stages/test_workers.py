"""The workers that share a batch: alike in threads and in processes, and never a hang, whatever befalls one of them."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest

from netdsl.stages.blas import blas_threads
from netdsl.stages.forks import ForkedTeam, auto_kind
from netdsl.stages.workers import Team
from netdsl.targets.fast.dialect import DIALECT
from netdsl.targets.text.gate import gate
from netdsl.targets.text.kernel_source import imported_modules, kernel_texts

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
KINDS = ["threads", pytest.param("processes", marks=needs_fork)]
both = pytest.mark.parametrize("kind", KINDS)
STANDALONE = "\n".join(
    [
        *(f"import {name}" for name in imported_modules(kernel_texts([Team, ForkedTeam, auto_kind]))),
        "import numpy as np",
        *kernel_texts([Team, ForkedTeam, auto_kind]),
    ]
)
TEAMS = {"threads": Team, "processes": ForkedTeam}


@pytest.fixture
def team_of():
    """count, kind, make_work -> a started team; `make_work(team)` makes what it shares and returns its work."""
    teams = []

    def start(count, kind, make_work):
        teams.append(TEAMS[kind](count))
        teams[-1].start(make_work(teams[-1]))
        return teams[-1]

    yield start
    for team in teams:
        team.close()


def run(script, *lines, **options):
    """A script of its own process that holds the text of `Team` and knows no netdsl."""
    teams = "teams = {'threads': Team, 'processes': ForkedTeam}"
    text = "\n".join([STANDALONE, teams, script, *lines])
    return subprocess.Popen([sys.executable, "-I", "-c", text], stdout=subprocess.PIPE, text=True, **options)


def until(claim, seconds=5):
    """Whether `claim` comes true within some seconds."""
    end = time.monotonic() + seconds
    while not claim() and time.monotonic() < end:
        time.sleep(0.005)
    return claim()


def runs(pid):
    """Whether a process that is no child of this one still runs."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def products(team):
    """The work `y[me] = x[me] @ x[me] * command`, then each worker sums its columns of all y."""
    x, y, sums = (team.shared((team.count, 60, 60), np.float32) for _ in range(3))
    x[:] = np.random.default_rng(0).standard_normal(x.shape)

    def work(me, command):
        np.matmul(x[me], x[me], out=y[me])
        y[me] *= command[0]
        team.sync()
        sums[me] = y.sum(axis=0)

    team.results = y, sums
    return work


# ---------------------------------------------------------------------------------------------- work


@pytest.mark.parametrize("count", [1, 2, 3])
def test_threads_and_processes_give_the_same(team_of, count):
    results = []
    for kind in [k if isinstance(k, str) else k.values[0] for k in KINDS if isinstance(k, str) or hasattr(os, "fork")]:
        team = team_of(count, kind, products)
        for factor in (2, 3):
            team.call([factor])
            results.append([array.copy() for array in team.results])
    for one, other in zip(results[:2], results[2:], strict=False):
        np.testing.assert_array_equal(one, other)
    assert np.any(results[0][0])


@both
@pytest.mark.parametrize("count", [2, 3])
def test_barriers_keep_the_order_of_1000_rounds(team_of, kind, count):
    def counting(team):
        team.seen = team.shared(count, np.int64)
        team.wrong = team.shared(count, np.int64)

        def work(me, command):
            for turn in range(500):
                team.seen[me] = turn + 1
                team.sync()
                team.wrong[me] += np.any(team.seen != turn + 1)
                team.sync()

        return work

    team = team_of(count, kind, counting)
    team.call()
    assert list(team.seen) == [500] * count
    assert not np.any(team.wrong)


@both
def test_workers_see_what_is_shared_and_the_command(team_of, kind):
    def collecting(team):
        team.array = team.shared((2, 8), np.float64)

        def work(me, command):
            team.array[me, : len(command)] = np.asarray(command) * (me + 1)

        return work

    team = team_of(2, kind, collecting)
    for command in (np.arange(8.0), (5, 0.5)):
        team.call(command)
        np.testing.assert_array_equal(team.array[1], 2 * team.array[0])
        np.testing.assert_array_equal(team.array[0, : len(command)], command)


@both
def test_shared_arrays_are_zeros_of_any_shape(kind):
    team = TEAMS[kind](2)
    for shape in ((), 3, (0, 4), (300, 1000)):
        array = team.shared(shape, np.float32)
        np.testing.assert_array_equal(array, np.zeros(shape, np.float32), strict=True)
        array += 1
    if kind == "processes":
        assert array.ctypes.data % 4096 == 0


@needs_fork
def test_nothing_is_shared_after_processes_have_started(team_of):
    team = team_of(2, "processes", products)
    with pytest.raises(RuntimeError, match="before they start"):
        team.shared(3, np.float32)


@both
def test_one_worker_needs_no_helpers(kind):
    team, seen = TEAMS[kind](1), []
    team.start(lambda me, command: (seen.append((me, command[0], threading.get_ident())), team.sync()))
    team.call([7])
    assert seen == [(0, 7, threading.get_ident())]
    assert not team.threads


@both
def test_any_thread_may_call(team_of, kind):
    team = team_of(2, kind, products)
    thread = threading.Thread(target=team.call, args=([2],))
    thread.start()
    thread.join(10)
    seen = team.results[1].copy()
    team.call([2])
    np.testing.assert_array_equal(team.results[1], seen)


@both
def test_a_call_within_a_call_is_refused(team_of, kind):
    team = team_of(2, kind, lambda team: lambda me, command: team.call() if me == 0 else None)
    with pytest.raises(RuntimeError, match="one call at a time"):
        team.call()


# -------------------------------------------------------------------------------------------- errors


def failing(team):
    """Worker command[0] raises after command[1] barriers, of 4."""
    team.seen = team.shared(team.count, np.int64)

    def work(me, command):
        for turn in range(4):
            if (me, turn) == (command[0], command[1]):
                raise ERRORS[int(command[2])]
            team.sync()
        team.seen[me] += 1

    return work


ERRORS = [
    KeyError("who"),
    ValueError("what"),
    MemoryError(),
    SystemExit(3),
    FloatingPointError("nan"),
    EOFError("\0\ud800"),
]


@both
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("turn", [0, 2])
def test_an_error_in_any_worker_is_raised_and_the_team_works_on(team_of, kind, count, turn):
    team = team_of(count, kind, failing)
    for i in range(2 * count):
        with pytest.raises(ValueError, match="what"):
            team.call([i % count, turn, 1])
        team.seen[:] = 0
        team.call([-1, 0, 0])
        assert list(team.seen) == [1] * count


@both
def test_errors_of_helpers_keep_their_built_in_type(team_of, kind):
    team = team_of(2, kind, failing)
    for i, error in enumerate(ERRORS):
        plain = kind == "threads" or type(error) not in (SystemExit, EOFError)
        with pytest.raises(type(error) if plain else RuntimeError) as caught:
            team.call([1, 0, i])
        if kind == "processes":
            assert "in worker 1 of 2" in str(caught.value.__cause__)
            assert "Traceback" in str(caught.value.__cause__)
            assert plain or type(error).__name__ in str(caught.value)


@both
def test_an_error_of_numpy_for_memory_is_a_memory_error(team_of, kind):
    team = team_of(2, kind, lambda team: lambda me, command: me and np.ones(1 << 50))
    with pytest.raises(MemoryError, match="Unable to allocate"):
        team.call()


@both
def test_of_errors_in_all_workers_one_is_raised(team_of, kind):
    def work(me, command):
        raise ValueError(f"worker {me}")

    team = team_of(3, kind, lambda team: work)
    for _ in range(3):
        with pytest.raises(ValueError, match="worker 0"):
            team.call()


@both
def test_an_old_error_is_not_raised_again(team_of, kind):
    def work(me, command):
        if command[me]:
            raise ValueError(f"worker {me}")

    team = team_of(3, kind, lambda team: work)
    for wrong in ([1, 1, 0], [0, 0, 1], [0, 1, 0]):
        with pytest.raises(ValueError, match=f"worker {wrong.index(1)}"):
            team.call(wrong)
    team.call([0, 0, 0])


# ----------------------------------------------------------------------------------- ends of workers


@needs_fork
@pytest.mark.parametrize("while_waiting", [True, False])
def test_a_child_killed_in_a_step_is_reported(team_of, while_waiting):
    def dying(team):
        def work(me, command):
            if me == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            if while_waiting:
                team.sync()

        return work

    team = team_of(3, "processes", dying)
    children = dict(team.children)
    with pytest.raises(RuntimeError, match="worker 1 of 3 was killed by signal 9"):
        team.call()
    with pytest.raises(RuntimeError, match="have ended: worker 1 of 3 was killed by signal 9"):
        team.call()
    assert not any(runs(pid) for pid in children.values())


@needs_fork
@pytest.mark.parametrize("idle", [0, 0.1])
def test_a_child_killed_while_idle_is_reported(team_of, idle):
    team = team_of(2, "processes", products)
    team.call([1])
    time.sleep(idle)
    os.kill(team.children[1], signal.SIGKILL)
    with pytest.raises(RuntimeError, match="worker 1 of 2 was killed by signal 9"):
        while True:
            team.call([1])


@needs_fork
def test_a_child_that_exits_is_reported(team_of):
    team = team_of(2, "processes", lambda team: lambda me, command: me and os._exit(3))
    with pytest.raises(RuntimeError, match="worker 1 of 2 ended with exit code 3"):
        team.call()


@needs_fork
def test_a_child_reaped_by_someone_else_is_reported(team_of):
    team = team_of(2, "processes", products)
    os.kill(team.children[1], signal.SIGKILL)
    os.waitpid(team.children[1], 0)
    with pytest.raises(RuntimeError, match="worker 1 of 2 has ended"):
        team.call([1])


@needs_fork
@pytest.mark.parametrize(
    ("state", "with_a_fork_of_the_parent"),  # a fork holds the other end of the pipe of a child that is asleep
    [("idle", False), ("asleep", False), ("asleep", True), ("in sync", False), ("at work", False)],
)
def test_children_end_when_their_parent_is_killed(state, with_a_fork_of_the_parent):
    script = f"""
team = ForkedTeam(3)
def work(me, command):
    if {state == "in sync"} and me == 0 or {state == "at work"}:
        if me == 0: print(*getattr(team, "children", dict()).values(), flush=True)
        time.sleep(0.5 if me else 60)
    team.sync()
team.start(work)
if {with_a_fork_of_the_parent}:
    other = os.fork()
    if not other:
        time.sleep(3)
        os._exit(0)
team.call()
time.sleep({0.1 if state == "asleep" else 0})
print(*team.children.values(), flush=True)
time.sleep(60)
"""
    parent = run(script)
    children = [int(pid) for pid in parent.stdout.readline().split()]
    time.sleep(0.05)
    assert len(children) == 2
    assert all(runs(pid) for pid in children)
    parent.kill()
    parent.communicate() if not with_a_fork_of_the_parent else parent.wait()
    parent.stdout.close()
    assert until(lambda: not any(runs(pid) for pid in children), 3)


@both
def test_a_team_closes_twice(team_of, kind):
    team = team_of(2, kind, products)
    helpers = list(team.threads), list(getattr(team, "children", {}).values())
    team.call([1])
    team.close()
    team.close()
    assert not any(thread.is_alive() for thread in helpers[0])
    assert not any(runs(pid) for pid in helpers[1])
    with pytest.raises(RuntimeError, match="they were closed"):
        team.call([1])


@both
def test_a_team_closes_before_it_starts(kind):
    team = TEAMS[kind](2)
    team.close()
    with pytest.raises(RuntimeError, match="they were closed"):
        team.call()


@both
def test_helpers_end_when_the_team_is_collected(kind):
    team = TEAMS[kind](2)
    team.start(products(team))
    team.call([1])
    helpers, gone = (list(team.threads), list(getattr(team, "children", {}).values())), weakref.ref(team)
    del team
    gc.collect()
    assert gone() is None
    assert until(lambda: not any(thread.is_alive() for thread in helpers[0]))
    assert not any(runs(pid) for pid in helpers[1])


@both
def test_nothing_is_left_open(kind):
    def used():
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("counts open files in /proc")
    before = used()
    for _ in range(3):
        team = TEAMS[kind](3)
        team.start(products(team))
        team.call([1])
        team.close()
    assert used() == before


@both
def test_helpers_end_with_the_interpreter_and_run_none_of_its_last_acts(kind):
    script = """
import atexit
atexit.register(lambda: print("at exit", os.getpid() == pid))
pid = os.getpid()
print("written before", end=" ")  # stays in the buffer, of which a child has a copy
team = teams[KIND](3)
team.start(lambda me, command: team.sync())
team.call()
"""
    output, _ = (script := run(f"KIND = {kind!r}", script)).communicate(timeout=20)
    assert output == "written before at exit True\n"
    assert script.returncode == 0


@needs_fork
def test_a_fork_of_the_parent_can_neither_call_nor_close(team_of):
    team = team_of(2, "processes", products)
    pid = os.fork()
    if pid == 0:
        try:
            team.call([1])
        except RuntimeError as error:
            team.close()
            os._exit("not a fork of it" in str(error))
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    team.call([1])


# -------------------------------------------------------------------------------------------- Ctrl-C


@both
@pytest.mark.parametrize("where", ["in the work", "in sync", "after the work"])
def test_after_ctrl_c_in_a_step_the_team_works_on(kind, where):
    script = f"""
signal.signal(signal.SIGINT, signal.default_int_handler)
team = teams[{kind!r}](2)
done = team.shared(2, np.int64)
def work(me, command):
    if command[0]:
        if me == 0: print("ready", flush=True)
        for _ in range(25):
            if me == {int(where != "in the work")}: time.sleep(0.01)
        if {where == "in sync"} or me == 1 and {where == "in the work"}: team.sync()
    done[me] += 1
team.start(work)
for _ in range(3):
    try:
        team.call([1])
        print("no interrupt")
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    before = done.copy()
    team.call([0])
    print(done - before, flush=True)
"""
    process = run(script)
    for _ in range(3):
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        assert process.stdout.readline() == "[1 1]\n"
    assert process.communicate(timeout=20)[0] == ""
    assert process.returncode == 0


@both
def test_a_second_ctrl_c_ends_the_program_and_the_helpers(kind):
    script = f"""
signal.signal(signal.SIGINT, signal.default_int_handler)
team = teams[{kind!r}](2)
def work(me, command):
    if me == 0: print(*getattr(team, "children", dict()).values(), flush=True)
    if me == 1: time.sleep(60)
team.start(work)
team.call()
"""
    process = run(script, stderr=subprocess.DEVNULL)
    children = [int(pid) for pid in process.stdout.readline().split()]
    for _ in range(2):
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGINT
    assert not any(runs(pid) for pid in children)


@needs_fork
def test_ctrl_c_at_a_terminal_reaches_no_child():
    script = """
signal.signal(signal.SIGINT, signal.default_int_handler)
team = ForkedTeam(2)
team.start(lambda me, command: time.sleep(0.2))
try:
    print("ready", flush=True)
    team.call()
except KeyboardInterrupt:
    team.call()
    print("works on")
"""
    process = run(script, start_new_session=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=20)[0] == "works on\n"


# ---------------------------------------------------------------------------------------------- BLAS


def test_blas_threads_are_set_and_read():
    before = blas_threads(1)
    if before is None:
        pytest.skip("this BLAS cannot be asked")
    assert blas_threads(before) == 1


@both
def test_in_a_call_blas_has_one_thread_each_and_afterwards_what_it_had(team_of, kind):
    if blas_threads(2) is None:
        pytest.skip("this BLAS cannot be asked")

    def asking(team):
        team.seen = team.shared(2, np.float64)

        def work(me, command):
            team.seen[me] = blas_threads(1)
            if command[0]:
                raise ValueError("what")

        return work

    team = team_of(2, kind, asking)
    for wrong in (0, 1):
        blas_threads(2)
        if wrong:
            with pytest.raises(ValueError, match="what"):
                team.call([1])
        else:
            team.call([0])
        assert list(team.seen) == [1, 1]
        assert blas_threads(2) == 2


@needs_fork
def test_processes_start_20_times_after_blas_has_started_threads(team_of):
    x = np.random.default_rng(0).standard_normal((256, 256))
    blas_threads(2)

    def multiplying(team):
        y = team.results = team.shared((2, 256, 256), np.float64)
        return lambda me, command: np.matmul(x, x, out=y[me])

    for _ in range(20):
        expected = x @ x
        team = team_of(2, "processes", multiplying)
        team.call()
        for y in team.results:
            np.testing.assert_allclose(y, expected, rtol=0, atol=1e-10)  # another order of sums
        team.close()


# --------------------------------------------------------------------------------------------- alone


def test_the_text_passes_the_gate_and_runs_without_netdsl():
    gate(STANDALONE, DIALECT)
    script = """
for kind in dict.fromkeys(["threads", auto_kind()]):
    team = teams[kind](3)
    y = team.shared(3, np.float64)
    team.start(lambda me, command: y.__setitem__(me, me * command[0]))
    team.call([2])
    print(kind, *y, sorted(name for name in sys.modules if name.startswith("netdsl")))
"""
    kinds = ["threads", *(["processes"] if sys.platform == "linux" else [])]
    assert run(script).communicate(timeout=20)[0] == "".join(f"{kind} 0.0 2.0 4.0 []\n" for kind in kinds)


def test_auto_kind_forks_only_where_there_is_one_thread():
    script = """
print(auto_kind())
thread = threading.Thread(target=lambda: print(auto_kind()))
thread.start()
thread.join()
hold = threading.Event()
threading.Thread(target=hold.wait).start()
print(auto_kind())
hold.set()
"""
    alone = "processes" if sys.platform == "linux" else "threads"
    assert run(script).communicate(timeout=20)[0].split() == [alone, "threads", "threads"]
