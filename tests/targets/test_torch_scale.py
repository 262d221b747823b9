"""float16 trains with a loss scale: steps whose gradients overflow are left out, and a run goes on with the scale."""

import numpy as np
import pytest
import torch

from netdsl.pipeline import compile_text
from netdsl.targets.contract import Device, Workers
from netdsl.targets.torch.scale import SCALE, LossScale
from netdsl.verify.batches import random_batch

NET = compile_text("input 1x6x6\nconv 4 k3 -> relu -> flatten -> linear 3\ntrain { opt adam }\n", "small")
NAMES = NET.recipe.state_names


def model(array=None):
    made = NET.model("torch", seed=1, workers=Workers(1, "threads", Device("cpu", "float16")))
    if array is not None:
        made.scale = LossScale(made.device, np.array(array, np.float32))
    return made


def learn(network, number=0, loss_of=1.0):
    x, y = random_batch(NET, 8, number)
    return network.learn(x * np.float32(loss_of), y, 0.01)


def test_gradients_that_overflow_leave_a_step_out_and_halve_the_factor():
    network = model([2.0**30, 5, 2])  # times 2**30 every gradient is above 65504
    before = {name: array.copy() for name, array in network.params.items()}
    assert learn(network).is_finite  # it is no failure
    for name, array in network.params.items():
        np.testing.assert_array_equal(array, before[name])
    assert network.scale.array.tolist() == [2.0**29, 0, 3]
    made = 0
    while network.scale.skipped == 3 + made or network.scale.array[1] == 0:
        assert learn(network).is_finite
        made += 1
        assert made < 40
    assert network.scale.array[0] < 2.0**29 and network.scale.array[1] == 1
    assert not np.array_equal(network.params["conv1.weight"], before["conv1.weight"])


def test_gradients_that_are_not_finite_without_a_factor_are_a_failure():
    network = model([1, 0, 0])
    x, y = random_batch(NET, 8, 0)
    x[0, 0, 0, 0] = np.nan
    assert not network.learn(x, y, 0.01).is_finite
    network = model()
    assert not network.learn(x, y, 0.01).is_finite, "a loss that is not finite is none at any factor"
    assert network.scale.array.tolist() == [65536, 0, 0]


def test_what_it_keeps_goes_on_bit_for_bit():
    first, second = model([2.0**20, 0, 0]), model()
    for number in range(12):
        learn(first, number)
    for held, given in ((second.params, first.params), (second.buffers, first.buffers)):
        for name, array in given.items():
            held[name][...] = array
    kept = first.state(NAMES)
    assert kept[SCALE].dtype == np.float32 and kept[SCALE][2] > 0
    second.load_state(NAMES, kept, 12)
    for number in range(12, 16):
        assert learn(first, number).loss == learn(second, number).loss
    np.testing.assert_array_equal(first.state(NAMES)[SCALE], second.state(NAMES)[SCALE])
    for name, array in first.params.items():
        np.testing.assert_array_equal(array, second.params[name])


@pytest.mark.parametrize("array", [[np.nan, 0, 0], [np.inf, 0, 0], [-1, 0, 0]])
def test_a_factor_that_no_run_has_is_not_taken(array):
    assert LossScale(torch.device("cpu"), np.array(array, np.float32)).array.tolist() == [65536, 0, 0]


def test_a_model_without_a_factor_goes_on_with_what_one_with_it_kept():
    first = model()
    learn(first)
    other = NET.model("torch", seed=1, workers=Workers(1, "threads", Device("cpu")))
    other.load_state(NAMES, first.state(NAMES), 1)
    assert SCALE not in other.state(NAMES)
    first.load_state(NAMES, other.state(NAMES), 1)
    assert first.state(NAMES)[SCALE].tolist() == [65536, 0, 0]
