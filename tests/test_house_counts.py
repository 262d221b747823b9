"""What the counts of the house must be."""

import pytest
from house_counts import (
    COUNTS,
    PACKAGE,
    READING,
    all_rank_tests,
    functions,
    is_annotated,
    rank_tests,
)

NONE_OF = (
    "modules on circles",
    "names exempted by the test of the floors",
    "functions over 50 lines",
    "files over 400 lines",
    "rank tests outside the type",
    "variables called `found`",
    'docstrings that begin "That of"',
)


@pytest.mark.parametrize("what", NONE_OF)
def test_there_are_none_of(what):
    assert COUNTS[what](PACKAGE) == 0


def test_only_what_joins_the_folders_stands_beside_them():
    loose = {path.stem for path in PACKAGE.glob("*.py")}
    assert loose == {"__init__", "__main__", "api", "pipeline"}


def test_every_signature_has_types():
    assert [(path.name, node.name) for path, node in functions(PACKAGE) if not is_annotated(node)] == []


def test_no_rank_is_asked_outside_the_type():
    """Ask `.channels`, `.space` or `.is_map` (netdsl.graph.types) instead."""
    assert rank_tests(PACKAGE) == []


def test_every_place_that_reads_ranks_still_does():
    asked = all_rank_tests(PACKAGE)
    assert [place for place in READING if not any(test.startswith(place) for test in asked)] == []


def test_the_count_sees_a_rank_test(tmp_path):
    (tmp_path / "layers").mkdir()
    (tmp_path / "layers" / "bad.py").write_text(
        "def bad_shape(attrs, x):\n    return x[1 if len(x) == 2 else 0]\n\n\n"
        "def bad_forward(x):\n    return x if x.ndim == 2 else -x\n"
    )
    (tmp_path / "task.py").write_text("def is_map(y, net):\n    return y.ndim > 2 or 3 == len(net.graph.input_shape)\n")
    assert rank_tests(tmp_path) == [
        "layers/bad.py:2: len(x) == 2",
        "task.py:2: 3 == len(net.graph.input_shape)",
        "task.py:2: y.ndim > 2",
    ]
