"""What is handed on in training, and what is kept for the backward pass."""

import re

import numpy as np
import pytest
from fast_twins import batch, near_all, twins

from netdsl.pipeline import compile_text


def stages_in_memory(body):
    """{stage: the number of the memory it hands on in, or None} in training."""
    net = compile_text(f"input 3x12x12\n{body}\ntrain {{ loss mse }}")
    text = net.numpy_source(2).partition("def train_stages")[2].partition("return s")[0]
    return {
        name: int(number) if number else None
        for name, number in re.findall(r"s\.(\w+) = \w+\(w(?:\.into\((\d+))?", text)
    }


@pytest.mark.parametrize(
    ("body", "is_handed_on"),
    [
        ("res { conv 3 k3 p1 -> bn }", True),
        ("conv 4 -> bn -> pool 3 s2 p1", True),
        ("conv 4 -> bn -> relu -> pool 3 s2 p1", True),  # the relu waits until after the pool
        ("conv 4 -> bn -> relu -> conv 4", False),  # its backward pass reads where it was 0
        ("conv 4 -> bn -> conv 4", False),  # the gradient of the weights reads what the norm gave
        ("conv 4 -> bn -> gelu", False),
        ("conv 4 -> bn", False),  # what comes out
    ],
)
def test_a_norm_hands_on_what_no_backward_pass_reads(body, is_handed_on):
    assert (stages_in_memory(body)["bn1"] is not None) == is_handed_on


def test_what_is_needed_at_a_time_lies_apart():
    numbers = stages_in_memory("conv 3\nres { conv 3 k3 p1 -> gelu } -> conv 4")
    assert numbers["add1"] != numbers["conv2"]  # the gradient that goes around, and the one that goes through


def test_the_larger_of_two_values_gets_the_larger_memory():
    body = "conv 32 k3 p1 -> bn -> pool 2 -> conv 4 k3 p1 -> conv 4 k3 p1 -> conv 4 k3 p1"
    numbers = stages_in_memory(body)
    assert numbers["bn1"] == numbers["pool1"] != numbers["conv2"]  # 32 maps of 12x12 there and back, and of 6x6


@pytest.mark.parametrize(
    "block", ["res { ln -> mha 2 }\nres { ln -> linear 9 -> gelu -> linear 4 }", "res { rms -> linear 4 -> relu }"]
)
def test_a_deeper_network_of_sums_needs_no_more_memory(block):
    counts = [len({*stages_in_memory("\n".join(["tokens", "linear 4", *[block] * n])).values()}) for n in (3, 9)]
    assert counts[0] == counts[1] <= 6


def test_a_sum_of_gradients_lies_where_the_first_of_them_lay():
    body = "conv 4\nadd { id | conv 4 -> gelu | id }\nadd { id | conv 4 k3 p1 }\nmul { id | conv 4 } -> conv 4"
    net = compile_text(f"input 3x7x6\n{body}\nflatten -> linear 3\ntrain {{ loss ce }}")
    slow, fast = twins(net, workers=2)
    x, y = batch(net, 5)
    near_all(fast.loss_and_gradients(x, y)[1], slow.loss_and_gradients(x, y)[1], 1e-9, "gradients")
    fast.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_training_and_inference_take_turns_with_several_sizes(workers):
    net = compile_text(
        "input 3x12x12\nconv 8 k3 p1 -> bn -> pool 3 s2 p1\n"
        "res { conv 8 k3 p1 -> bn -> relu -> conv 8 -> bn } -> relu\n"
        "res { conv 8 -> bn }\ngap -> linear 5\ntrain { loss ce }"
    )
    rng = np.random.default_rng(0)
    batches = [(rng.standard_normal((n, 3, 12, 12)), rng.integers(5, size=n)) for n in (5, 2, 4, 3, 5, 2)]
    textbook = net.numpy_model(dtype="float64")
    fast = net.numpy_model(dtype="float64", level=2, workers=workers, kind="threads")
    for x, y in batches:
        losses = [model.train_step(x, y) for model in (textbook, fast)]
        outputs = [model.forward(x) for model in (textbook, fast)]
        np.testing.assert_allclose(losses[1], losses[0], rtol=1e-9)
        np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-7, atol=1e-9)
        dy = rng.standard_normal(outputs[0].shape)
        for model in (textbook, fast):
            model.logits(x, training=True)
        grads = [model.backward(dy)[1] for model in (textbook, fast)]
        for name, grad in grads[0].items():
            np.testing.assert_allclose(grads[1][name], grad, rtol=1e-7, atol=1e-9)
    fast.close()
