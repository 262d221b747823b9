"""The table of several reports."""

import json

from netdsl.bench.report import Report, Result
from netdsl.bench.table import Table

MACHINE = {"cpu": "abacus", "cores": 1, "numpy": "2", "blas": "x", "torch": None}


def report_of(name, batch, **results):
    """Each result: milliseconds of training (None: it made no step) and of inference, peak and base in MB."""
    made = {}
    for contestant, (train, inference, peak, base) in results.items():
        times = {kind: [ms / 1e3] * 3 for kind, ms in (("train", train), ("inference", inference)) if ms}
        made[contestant] = Result(times, base=base * 10**6, peak=peak * 10**6)
    return Report(name, batch, 2, 2, MACHINE, made)


LENET = report_of(
    "lenet",
    64,
    numpy=(10, 2, 150, 60),
    interpreter=(50, 20, 140, 40),
    torch=(25, 5, 390, 240),
    torch_channels_last=(20, 6, 400, 230),
    onnxruntime=(None, 4, 450, 240),
)
CNN = report_of("cnn", 1, numpy=(None, 3, 100, 60), torch=(None, 2, 350, 240), jax=(None, 1500, 1, 1))


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_markdown_has_a_row_for_each_report_and_bold_ratios_below_one():
    beside_pytorch, beside_others = Table([LENET, CNN]).markdown().split("\n\n")
    head, rule, *rows = beside_pytorch.splitlines()
    assert cells(head)[:4] == ["net, batch", "train: NumPy", "PyTorch", "ratio"] and rule == "|" + "---|" * 11
    assert cells(rows[0]) == [
        *("`lenet`, 64", "10.0", "20.0", "**0.50**", "2.00", "5.00", "**0.40**"),
        *("150", "390", "90", "150"),  # of each number the smaller of PyTorch's formats
    ]
    assert cells(rows[1]) == ["`cnn`, 1", "-", "-", "-", "3.00", "2.00", "1.50", "100", "350", "40", "110"]
    head, _, *rows = beside_others.splitlines()
    assert cells(head) == ["net, batch", "onnxruntime: inference", "ratio", "jax: inference", "ratio"]
    assert [cells(row) for row in rows] == [
        ["`lenet`, 64", "4.00", "**0.50**", "-", "-"],
        ["`cnn`, 1", "-", "-", "1,500", "**0.00**"],
    ]


def test_text_is_aligned_and_says_what_its_columns_are():
    text = str(Table([LENET, CNN]))
    first, second, foot = text.split("\n\n")
    assert len({len(line) for line in first.splitlines()}) == 1 and "ratio: numpy's time over the other's" in foot
    assert second.splitlines()[2].split() == ["lenet,", "64", "4.00", "0.50", "-", "-"]
    assert len(str(Table([report_of("a", 1, numpy=(1, 1, 9, 2))])).split("\n\n")) == 2  # nothing beside PyTorch


def test_a_report_tells_the_memory_of_both():
    told = json.loads(json.dumps(LENET.as_dict()))
    assert told["peak_mb"] == {"numpy": 150.0, "torch": 390.0} and told["network_mb"] == {"numpy": 90.0, "torch": 150.0}
    line = "peak MB of numpy and the leaner PyTorch format: 150 and 390, of the network alone 90 and 150"
    assert line in str(LENET).splitlines()
    alone = report_of("a", 1, numpy=(1, 1, 9, 2))
    assert alone.as_dict()["peak_mb"] == {"numpy": 9.0, "torch": None} and "leaner" not in str(alone)
