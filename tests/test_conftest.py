"""What a plain `pytest` leaves out, what it says of that, and how it is shared by workers."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py").read_text(encoding="utf-8")
SETTINGS = "[pytest]\ntestpaths = tests\npythonpath = tests\naddopts = --strict-markers\nmarkers = slow(what): left\n"
TESTS = """
import os
import pytest

def test_quick():
    print("BLAS threads:", os.environ.get("OMP_NUM_THREADS"), "worker:", os.environ.get("PYTEST_XDIST_WORKER"))

@pytest.mark.parametrize("name", ["quick", *(pytest.param(n, marks=pytest.mark.slow("large ones")) for n in "abc")])
def test_sizes(name):
    pass

@pytest.mark.slow("the long way")
def test_long():
    pass

def test_draws(nets):
    assert nets in (60, 320, 7)
"""
LEFT_OUT = "left out 5 slow tests: large ones (3), the long way, 320 random networks; `pytest -m slow` runs them"


@pytest.fixture
def suite(tmp_path):
    """suite(*arguments, cores, workers) -> what pytest says of the tests above, with or without pytest-xdist."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "pytest.ini").write_text(SETTINGS)
    (tmp_path / "tests" / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (tmp_path / "tests" / "test_some.py").write_text(TESTS)

    def run(*arguments, cores=2, workers=False):
        set_cores = f"import os, sys, pytest; os.sched_getaffinity = lambda pid: set(range({cores}));"
        plugin = ["-p", "xdist"] if workers else []  # no other one is loaded, which takes less time
        command = [sys.executable, "-c", f"{set_cores} sys.exit(pytest.main(sys.argv[1:]))", "-rP", *plugin, *arguments]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "OMP"))}
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def passed(text):
    return int(re.search(r"(\d+) passed", text)[1])


def test_a_plain_run_leaves_out_the_slow_ones_and_says_so_in_its_last_lines(suite):
    text = suite()
    assert text.splitlines()[-2] == LEFT_OUT
    assert passed(text) == 3 and "5 deselected" in text and "worker: None" in text


def test_workers_say_it_once_and_have_one_thread_of_blas_each(suite):
    pytest.importorskip("xdist")
    text = suite(workers=True)
    assert text.splitlines()[-2] == LEFT_OUT and text.count("left out") == 1
    assert passed(text) == 3 and re.search(r"BLAS threads: 1 worker: gw[01]", text)


def test_one_process_is_enough_for_a_file_and_for_one_core(suite):
    pytest.importorskip("xdist")
    assert "worker: None" in suite("tests/test_some.py", workers=True)
    assert "worker: None" in suite(cores=1, workers=True)


def test_the_slow_ones_run_alone_and_with_the_others_nothing_is_lost(suite):
    text = suite("-m", "slow")
    assert passed(text) == 5 and "left out" not in text
    assert passed(suite("-m", "slow or not slow")) == 8


def test_a_slow_one_runs_when_it_is_called_by_its_name(suite):
    text = suite("tests/test_some.py::test_long")
    assert passed(text) == 1 and "left out" not in text


def test_a_count_of_the_callers_is_drawn_at_once_and_alone(suite):
    text = suite("--nets", "7")
    assert passed(text) == 3 and "left out 4 slow tests: large ones (3), the long way;" in text
