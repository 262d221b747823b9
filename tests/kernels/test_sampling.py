"""Draws of what follows: the shares are those of the softmax, of the most likely ones alone."""

import numpy as np
import pytest

from netdsl.kernels.sampling import drawn_ids

LOGITS = np.array([[1.0, 3.0, 2.0, -1.0]])


def shares(temperature, top_k, count=20_000):
    drawn = drawn_ids(np.repeat(LOGITS, count, axis=0), temperature, top_k, np.random.default_rng(0))
    return np.bincount(drawn, minlength=4) / count


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("top_k", [None, 2, 4, 9])
def test_numbers_are_drawn_by_their_shares(temperature, top_k):
    p = np.exp(LOGITS[0] / temperature)
    p[np.argsort(-LOGITS[0])[top_k:]] = 0 if top_k else p[np.argsort(-LOGITS[0])[top_k:]]
    np.testing.assert_allclose(shares(temperature, top_k), p / p.sum(), atol=0.015)  # four standard errors


def test_the_most_likely_one_is_taken_without_a_draw():
    rng = np.random.default_rng(0)
    assert drawn_ids(LOGITS, 0, None, rng).tolist() == [1]
    assert rng.random() == np.random.default_rng(0).random()


def test_large_logits_and_equal_ones_are_drawn():
    rng = np.random.default_rng(0)
    assert drawn_ids(np.array([[1e30, -1e30, 0.0]], np.float32), 1.0, None, rng).tolist() == [0]
    drawn = drawn_ids(np.zeros((1000, 3)), 1.0, 2, rng)
    assert set(drawn.tolist()) == {0, 1, 2}  # as likely as the second one is the third
