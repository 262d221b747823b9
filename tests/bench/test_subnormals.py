"""Subnormal numbers are counted where a step leaves them, and named where there are many."""

import numpy as np
import pytest
from bench_contestants import planted

from netdsl.bench.contestants import ENTRIES, Interpreter, Job, NumpyModule
from netdsl.bench.match import Options, bench
from netdsl.bench.subnormals import Subnormals, num_subnormal
from netdsl.pipeline import compile_text
from netdsl.verify.batches import random_batch

TINY = "input 1x6x6\nconv 3 k3 -> bn -> relu\nflatten -> linear 4\n"
KINDS = ("params", "gradients", "moments")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_what_lies_between_zero_and_the_smallest_normal_number_is_subnormal(dtype):
    limits = np.finfo(dtype)
    few = [limits.smallest_subnormal, -limits.tiny / 2, np.nextafter(limits.tiny, np.array(0, dtype))]
    none = [0.0, -0.0, limits.tiny, -limits.tiny, 1.0, np.inf, np.nan]
    assert num_subnormal(np.array(few + none, dtype)) == 3


def test_shares_are_of_all_arrays_of_a_kind():
    counter = Subnormals()
    for kind, numbers in (("a", [1e-40, 1]), ("a", [1, 2]), ("b", [0, 0])):
        counter.count(kind, np.array(numbers, np.float32))
    counter.count("a", np.arange(5))
    assert counter.shares() == {"a": 0.25, "b": 0.0}


def shown_by(one, net):
    """Kind -> how many numbers it shows after a step."""
    one.build()
    x, y = random_batch(net, 3, 0)
    one.training()(one.placed(x), y)
    shown = dict.fromkeys(KINDS, 0)

    def show(kind, array):
        shown[kind] = shown.get(kind, 0) + array.size

    one.show_numbers(one.placed(x), y, show)
    return shown


@pytest.mark.parametrize("level", [0, 2])
def test_numpy_shows_params_gradients_and_moments(level):
    net = compile_text(TINY)
    count = net.graph.num_params
    expected = {"params": count, "gradients": count, "moments": 2 * count}
    job = Job(net, "", 3, 1, level, "threads")
    assert shown_by(NumpyModule(job), net) == expected
    outputs = 3 * (3 * (3 * 4 * 4) + 3 * 4 * 4 + 4)  # of three layers of maps, of flatten and of linear
    assert shown_by(Interpreter(job), net) == expected | {"outputs": outputs, "gradients by outputs": outputs}


def test_pytorch_shows_as_many():
    pytest.importorskip("torch")
    from netdsl.bench.torch_contestants import TorchEager

    net = compile_text(TINY)
    count = net.graph.num_params
    one = TorchEager(Job(net, "", 3, 1, 0, "auto"))
    assert shown_by(one, net) == {"params": count, "gradients": count, "moments": 2 * count}
    one.settings.close()


def test_many_of_them_are_a_note_and_few_are_none():
    report = bench(compile_text(TINY), Options(4, 1, 0, steps=1), [ENTRIES[1], planted("Dwindles")])
    assert report.results["interpreter"].subnormals.keys() > set(KINDS)
    assert not any(report.results["interpreter"].subnormals.values())
    share = report.as_dict()["contestants"]["Dwindles"]["subnormals"]["moments"]
    assert share == 0.5
    assert [note for note in report.notes if "subnormal" in note] == [
        "Dwindles holds subnormal numbers, which are slow to compute with: 50.00% of moments"
    ]
