"""Shared by all tests: `--update-golden` and the fixture `golden`."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SPECS = sorted((ROOT / "specs").glob("*.net"))
NAMES_OF_SMALL = ("lenet", "simple_cnn", "tiny_cnn", "bn_cnn", "spiral_mlp", "cifar_cnn")
SMALL = [path for path in SPECS if path.stem in NAMES_OF_SMALL]


def pytest_addoption(parser):
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite generated/ and tests/golden/; then read the diff"
    )
    parser.addoption("--nets", type=int, default=320, help="how many random networks to compare")
    parser.addoption("--proofs", type=int, default=8, help="how many random nets to plant faults in")
    parser.addoption("--kills", type=int, default=8, help="how often processes that train are killed")
    parser.addoption("--stops", type=int, default=4, help="how often they are interrupted by Ctrl-C")
    parser.addoption("--mutants", type=int, default=800, help="how many damaged weight files of each kind to load")
    parser.addoption("--hostile", type=int, default=1000, help="how many hostile texts the gate is given")
    parser.addoption("--trees", type=int, default=60, help="how many random trees of image folders to read")
    parser.addoption("--messy", type=int, default=300, help="how many untidy specs to format")


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
