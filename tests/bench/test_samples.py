"""The batches of the bench: others in every step, the same for all, and nothing to be learned by heart."""

import math

import numpy as np
import pytest

from netdsl.bench import samples, worker
from netdsl.bench.contestants import Job
from netdsl.bench.samples import Samples
from netdsl.pipeline import compile_text
from netdsl.verify.batches import random_batch

TINY = "input 1x6x6\nconv 3 k3 -> bn -> relu\nflatten -> linear 4\n"


def test_steps_differ_and_two_contestants_see_the_same():
    net = compile_text(TINY)
    one, other = Samples(net, 5), Samples(net, 5)
    drawn = [one.batch(step) for step in range(200)]
    for step in (199, 7, 0):
        for mine, yours in zip(drawn[step], other.batch(step), strict=True):
            assert np.array_equal(mine, yours)
    assert len({(x.tobytes(), y.tobytes()) for x, y in drawn}) == 200
    assert len({x.tobytes() for x, _ in drawn}) == len(one) == samples.MOST


def test_the_first_batch_is_the_one_that_verify_draws():
    net = compile_text(TINY)
    for mine, expected in zip(Samples(net, 3, seed=4).batch(0), random_batch(net, 3, 4), strict=True):
        assert np.array_equal(mine, expected)


@pytest.mark.parametrize("size, count", [(16, samples.MOST), (512, 16), (2000, samples.FEWEST)])
def test_large_batches_are_few(size, count):
    net = compile_text(f"input 1x{size}x{size}\ngap -> linear 2\n")
    assert len(Samples(net, 1)) == count


def test_every_x_is_placed_once():
    held = Samples(compile_text(TINY), 2)
    held.place(lambda x: (x.shape, x.sum()))
    assert len({held.x(step) for step in range(len(held))}) == len(held)
    assert held.x(3) == held.batch(3 + len(held))[0]


@pytest.mark.parametrize(
    "text",
    [
        "input 5\nlinear 2\ntrain { loss mse }\n",
        "input 5\nlinear 3 -> sigmoid\ntrain { loss bce }\n",
        "input 2x4x4\nconv 3 k3 p1 -> softmax\n",
    ],
    ids=["numbers", "truth", "a label for each place"],
)
def test_targets_are_what_the_loss_takes(text):
    net = compile_text(text)
    model, held = net.build(), Samples(net, 3)
    assert all(math.isfinite(model.train_step(*held.batch(step))) for step in range(3))


def test_a_loss_stays_where_one_sample_again_and_again_would_be_learned_by_heart():
    net = compile_text("input 1x8x8\nconv 8 k3 -> relu -> pool 2\nflatten -> linear 32 -> relu -> linear 10\n")
    own = worker.Worker(Job(net, "netdsl.bench.contestants:Interpreter", 1, 1, 0, "auto"))
    own.base()
    own.build()
    losses = []
    worker.timed(own._ready("train"), 200, losses.append)
    repeated = own.losses(100)
    assert np.median(losses[100:]) > 1 > 0.1 > repeated[-1]
