"""What the counts of the house must be."""

from house_counts import PACKAGE, READING, all_rank_tests, rank_tests


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
