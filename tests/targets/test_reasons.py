"""The comment above a stage says why its layer is computed so, with what the other ways would cost."""

import re

from netdsl.pipeline import compile_text
from netdsl.targets.fast.reasons import WIDTH

NET = "input 32x14x14\nconv 64 k5 p2 -> relu -> pool 2 -> conv 64 k3 p1 -> flatten -> linear 3"


def reasons(level=2, samples=16, net=NET):
    text = compile_text(net).for_samples(samples).numpy_source(level)
    return re.findall(r"\n +# (.*): est. ([\d.,]+) us a sample of a step \((.*)\)\n +s\.(\w+) = ", text)


def test_a_choice_has_the_lowest_estimate_beside_those_of_others():
    taken = reasons()
    assert [member for *_, member in taken] == ["conv1", "conv2"]
    assert taken[0][0] == "Fourier, whole plane"
    for _, cost, others, _ in taken:
        costs = [float(part.rpartition(": ")[2].replace(",", "")) for part in others.split("; ")]
        assert float(cost.replace(",", "")) <= costs[0] <= costs[-1]
        assert len(others) < WIDTH


def test_estimates_are_those_of_the_batch_that_the_module_is_for():
    assert reasons(samples=1) != reasons()


def test_at_level_1_a_way_that_mixes_windows_is_told_of_but_not_taken():
    assert all("Fourier" not in taken and "Winograd" not in taken for taken, *_ in reasons(1))


def test_a_layer_of_one_way_has_no_reason():
    assert not reasons(net="input 4x8x8\nconv 4 k3 g4 p1 -> gap -> linear 3")


def test_stages_that_are_the_same_at_inference_stand_once():
    text = compile_text(NET).numpy_source(2)
    assert text.count("= PairPool(") == 1 and "in training and at inference" in text
    with_norm = compile_text("input 8x8x8\nconv 8 k3 p1 -> bn -> relu -> gap -> linear 3").numpy_source(2)
    assert "def infer_stages(self, w)" in with_norm.split("\nclass Stage:")[0]
