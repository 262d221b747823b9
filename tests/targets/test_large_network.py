"""Training and inference of a large network take turns in one memory."""

import numpy as np
import pytest
from fast_twins import KINDS, batch, needs_fork

from netdsl.pipeline import compile_text
from netdsl.targets.fast import emitter

NET = """
input 3x12x12
conv 8 k3 p1 -> bn -> pool 3 s2 p1
res { conv 8 k1 nobias -> bn -> relu -> conv 8 k3 p1 nobias -> bn } -> relu
conv 8 k1 s2 p1 -> bn -> relu6 -> flatten -> linear 6
train { opt adam lr=0.01 }
"""


@pytest.fixture
def large(monkeypatch):
    """The net, compiled as a large one."""
    monkeypatch.setattr(emitter, "WORTH_SAVING", 0)
    return compile_text(NET)


@pytest.mark.parametrize("splits", [False, True])
@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_whoever_has_the_memory_last_finds_it_as_he_needs_it(kind, workers, splits, large, monkeypatch):
    monkeypatch.setattr(emitter, "WORTH_SPLITTING", 0 if splits else 1e8)
    textbook, fast = (
        large.numpy_model(dtype="float64"),
        large.numpy_model(dtype="float64", level=2, workers=workers, kind=kind),
    )
    for number, size in enumerate((4, 1, 5, 2, 4, 1)):
        x, y = batch(large, size, number)
        textbook.update(textbook.loss_and_gradients(x, y)[1], 0.01)
        fast.train_step(x, y, 0.01)
        for other in (size, 3):
            x, _ = batch(large, other, number)
            np.testing.assert_allclose(fast.forward(x), textbook.forward(x), rtol=1e-6, atol=1e-8)
    fast.close()


@pytest.mark.parametrize("kind", KINDS)
def test_inference_between_logits_and_backward_writes_over_nothing(kind, large):
    fast = large.numpy_model(dtype="float64", level=2, workers=2, kind=kind)
    x, y = batch(large, 4, 0)
    fast.train_step(x, y)
    dy = np.random.default_rng(1).standard_normal(fast.logits(x, training=True).shape)
    expected = fast.backward(dy)[1]
    fast.logits(x, training=True)
    fast.forward(batch(large, 6, 1)[0])
    fast.forward(x)
    grads = fast.backward(dy)[1]
    assert all(np.array_equal(grads[name], grad) for name, grad in expected.items())
    fast.close()


def test_training_and_inference_lie_in_the_same_memory(large):
    fast = large.numpy_model(level=2, workers=2, kind="threads")
    (x, y), (more, _) = batch(large, 4, 0), batch(large, 8, 1)
    for _ in range(2):
        fast.forward(x)
        fast.train_step(x, y)
    for index in range(2):
        room = fast.workers[index, 2, False]
        assert room.keys() == {(4, True), (4, False)}
        assert len({id(w.buffers.memory.base) for w in room.values()}) == 1
    fast.forward(more)  # needs a larger one: those who had the smaller one are forgotten
    fast.forward(x)
    fast.train_step(x, y)
    for index in range(2):
        room = fast.workers[index, 2, False]
        assert len({id(w.buffers.memory.base) for w in room.values()}) == 1
        assert len(room) == 3
    fast.close()


@needs_fork
def test_freed_memory_is_given_back_before_workers_are_forked(large, monkeypatch):
    fast, told = large.numpy_model(level=2, workers=2, kind="processes"), []
    trim, start = type(fast).trim, fast.team.start
    monkeypatch.setattr(type(fast), "trim", lambda self: told.append("trim") or trim(self))
    monkeypatch.setattr(fast.team, "start", lambda work: told.append("fork") or start(work))
    fast.train_step(*batch(large, 4, 0))
    assert told == ["trim", "fork"]
    fast.close()


def test_a_large_network_is_one_whose_layers_make_many_numbers():
    assert "LargeNetwork" not in compile_text(NET).numpy_source(2)
    assert "LargeNetwork" in compile_text(NET.replace("3x12x12", "3x400x400").replace("flatten", "gap")).numpy_source(2)
