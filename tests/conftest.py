"""Shared by all tests: the options, the fixtures `golden`, `spec` and `small_spec`, and how the run is shared out.

`pytest` alone leaves out what is marked `slow` and says so in its last lines, and has a worker on each core where
pytest-xdist is installed; `pytest -m slow` runs what was left out, `pytest -n 0` takes one process.
"""

import os
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SPECS = sorted((ROOT / "specs").glob("*.net"))
NAMES_OF_SMALL = ("lenet", "simple_cnn", "tiny_cnn", "bn_cnn", "spiral_mlp", "cifar_cnn")
NAMES_OF_SMALL += ("mnist1d_cnn", "mnist1d_gru", "names_gpt")
SMALL = [path for path in SPECS if path.stem in NAMES_OF_SMALL]
MOST_WORKERS = 8  # each has its own PyTorch: 0.5 GB
BLAS_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
LEFT_OUT = pytest.StashKey[Counter]()
COUNTS = {  # how many in each run, and how many in the slow tests; what there are
    "nets": (60, 320, "random networks"),
    "graphs": (40, 300, "random graphs of named values"),
    "messy": (40, 300, "untidy specs"),
    "kills": (3, 8, "kills of processes that train"),
    "stops": (2, 4, "interruptions of processes that train"),
    "lost": (1, 4, "kills of one of several processes"),
}


def pytest_addoption(parser):
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite generated/ and tests/golden/; then read the diff"
    )
    parser.addoption("--nets", type=int, help="how many random networks to compare, instead of 60 and 320")
    parser.addoption("--graphs", type=int, help="how many random graphs of named values, instead of 40 and 300")
    parser.addoption("--proofs", type=int, default=8, help="how many random nets to plant faults in")
    parser.addoption("--kills", type=int, help="how often processes that train are killed, instead of 3 and 8 times")
    parser.addoption("--stops", type=int, help="how often they are interrupted by Ctrl-C, instead of 2 and 4 times")
    parser.addoption("--lost", type=int, help="how often one of several processes is killed, instead of 1 and 4 times")
    parser.addoption(
        "--mutants", type=int, default=800, help="how many damaged files of weights and data of each kind to load"
    )
    parser.addoption("--cupy", action="store_true", help="run modules for CuPy on a GPU, in place of the stand-in")
    parser.addoption("--hostile", type=int, default=1000, help="how many hostile texts the gate is given")
    parser.addoption("--trees", type=int, default=60, help="how many random trees of image folders to read")
    parser.addoption("--messy", type=int, help="how many untidy specs to format, instead of 40 and 300")


def pytest_generate_tests(metafunc):
    """`nets`, `messy`, ... of a test: few in each run and many in the slow tests, or as many as the caller says."""
    for name in COUNTS.keys() & set(metafunc.fixturenames):
        few, many, what = COUNTS[name]
        asked = metafunc.config.getoption(f"--{name}")
        slow = pytest.param(many, marks=pytest.mark.slow(f"{many} {what}"))
        metafunc.parametrize(name, [few, slow] if asked is None else [asked])


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """A worker on each core where the whole suite is run, and BLAS with one thread in each of them."""
    if not config.pluginmanager.hasplugin("xdist") or hasattr(config, "workerinput"):
        return
    option = config.option
    is_watched = option.usepdb or option.capture == "no" or option.collectonly or option.update_golden
    if option.numprocesses is None and config.args_source == config.ArgsSource.TESTPATHS and not is_watched:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        option.numprocesses = min(cores, MOST_WORKERS) if cores > 1 else None
        option.dist = "worksteal"  # neighbours, which share fixtures, mostly stay together
    if option.numprocesses:
        os.environ.update({name: os.environ.get(name, "1") for name in BLAS_THREADS})


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Leaves slow tests out, but for those that `-m` chooses or that are called by their names."""
    config.stash[LEFT_OUT] = Counter()
    if config.option.markexpr or any("::" in argument for argument in config.args):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.stash[LEFT_OUT].update(" ".join(item.get_closest_marker("slow").args) or item.name for item in slow)
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]


def pytest_sessionfinish(session):
    """A worker tells what it left out: the process that started it collects nothing."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = dict(session.config.stash.get(LEFT_OUT, {}))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """All workers leave out the same tests, so that the last one's word is everybody's."""
    node.config.stash[LEFT_OUT] = Counter(getattr(node, "workeroutput", {}).get("left_out", {}))


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    left_out = config.stash.get(LEFT_OUT, Counter())
    if left_out:
        what = ", ".join(f"{name} ({count})" if count > 1 else name for name, count in left_out.most_common())
        number = f"{left_out.total()} slow test{'s' if left_out.total() > 1 else ''}"
        terminalreporter.write_line(f"left out {number}: {what}; `pytest -m slow` runs them")


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """What is measured is kept beside the tests, not in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NETDSL_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def golden(request):
    """golden(path, text): the text must equal the file; `--update-golden` rewrites the file."""

    def check(path, actual):
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(actual, encoding="utf-8")
        assert path.exists(), f"{path} is missing: run pytest --update-golden, then read the diff"
        assert actual == path.read_text(encoding="utf-8")

    return check


@pytest.fixture(params=SPECS, ids=lambda path: path.stem)
def spec(request):
    """Each example network in turn."""
    return request.param


@pytest.fixture(params=SMALL, ids=lambda path: path.stem)
def small_spec(request):
    """Each example network that trains in seconds; tests/test_zoo.py has the others."""
    return request.param
