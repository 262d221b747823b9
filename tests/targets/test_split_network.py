"""Workers share the layers of a batch that has fewer samples than there are workers."""

import os

import numpy as np
import pytest
from fast_twins import KINDS, batch, near, near_all, needs_fork, twins

from netdsl.pipeline import compile_text
from netdsl.targets.fast import emitter
from netdsl.targets.fast.split_network import SplitNetwork

MAP = """
input 3x24x20
stem: { conv 8 k3 p1 nobias -> bn -> relu -> pool 3 s2 p1 }
res { conv 8 k1 nobias -> bn -> relu6 -> conv 8 k3 p1 nobias -> bn } -> relu
cat { id | conv 4 k5 p2 -> relu } -> conv 12 k3 s2 p1 g12 nobias -> bn -> relu6 -> conv 8 k1 s2 -> gelu
conv 8 k7 p3 -> relu -> pool 2 -> dropout 0.2 -> flatten -> linear 12 -> relu -> linear 4
"""
SIGNAL = """
input 3x40 map
conv 8 k5 p2 -> bn -> relu -> pool 2 -> conv 8 k3 p1 -> relu -> conv 8 k3 s2 g8 -> gap -> linear 4
"""
VOLUME = """
input 2x5x8x6
conv 8 k3 p1 -> bn -> relu -> pool 2 -> conv 8 k1 -> relu -> flatten -> linear 4
"""
TOKENS = """
input 3x16x16
conv 12 k4 s4 -> tokens -> cls -> pos
res { ln -> mha 3 } -> res { ln -> linear 24 -> gelu -> linear 12 } -> ln -> take 0 -> linear 4
"""
DEEP = """
input 3x4x5
conv 200 k3 p1 nobias -> bn -> relu -> res { conv 200 k3 p1 -> relu } -> conv 240 k1 nobias -> bn -> relu
res { conv 240 k1 } -> relu -> conv 200 k3 s2 p1 -> relu -> gap -> linear 4
"""
NETS = {"map": MAP, "deep": DEEP, "signal": SIGNAL, "volume": VOLUME, "tokens": TOKENS}


@pytest.fixture(autouse=True)
def every_net_is_split(monkeypatch):
    monkeypatch.setattr(emitter, "WORTH_SPLITTING", 0)


def split_all(model):
    """Have the model's workers share all that they can. Returns a list of what, to which names come."""
    split = next(base for base in type(model).__mro__ if base.__name__ == SplitNetwork.__name__)
    worker, shared = split.worker_for.__globals__["SplitWorker"], []
    post = worker.post  # of each task once

    def posted(self, task):
        shared.append(task[1])
        post(self, task)

    type(model).least, worker.post = 1, posted
    return shared


@pytest.mark.parametrize(
    ("workers", "size", "kind"), [(3, 2, "threads"), pytest.param(2, 1, "processes", marks=needs_fork)]
)
@pytest.mark.parametrize("name", NETS)
def test_every_number_is_that_of_the_textbook(name, workers, size, kind):
    net = compile_text(NETS[name])
    slow, fast = twins(net, workers=workers, kind=kind)
    shared = split_all(fast)
    x, y = batch(net, size)
    for step in range(2):
        near(fast.forward(x), slow.forward(x), 1e-8, "inference")
        for model in (slow, fast):
            model.rng = np.random.default_rng(step)
        losses = [model.train_step(x, y) for model in (slow, fast)]
        near(losses[1], losses[0], 1e-8, "loss")
    near_all(fast.params, slow.params, 1e-6, "param")  # Adam divides by gradients that are rounding
    near_all(fast.buffers, slow.buffers, 1e-8, "buffer")
    assert len(set(shared)) > 2
    fast.close()


@pytest.mark.parametrize("many", [0, 1 << 18])
def test_rows_of_tokens_are_shared_or_where_weights_are_many_columns_of_products(many, monkeypatch):
    net = compile_text(TOKENS)
    slow, fast = twins(net, workers=2, kind="threads")
    shared = split_all(fast)
    split = next(base for base in type(fast).__mro__ if base.__name__ == SplitNetwork.__name__)
    monkeypatch.setattr(split.worker_for.__globals__["ProductStage"], "many", many)
    x, _ = batch(net, 1)
    near(fast.forward(x), slow.forward(x), 1e-8, "inference")
    assert {"enter", "mix", "leave"} <= set(shared)
    fast.close()


def test_networks_of_tokens_are_split_earlier_between_processes(monkeypatch):
    monkeypatch.setattr(emitter, "WORTH_SPLITTING", 1e8)
    monkeypatch.setattr(emitter, "WORTH_SPLITTING_TOKENS", 1000)
    nets = {name: compile_text(NETS[name]) for name in ("map", "tokens")}
    pairs = [(name, kind) for name in nets for kind in ("threads", "processes")]
    texts = [emitter.emit_fast(nets[name].graph, nets[name].recipe, kind=kind) for name, kind in pairs]
    split = [pair for pair, text in zip(pairs, texts, strict=True) if "class SplitWorker" in text]
    assert split == [("tokens", "processes")]


@pytest.mark.parametrize("most", [4096, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_helpers_read_a_task_once_as_long_as_there_is_room(kind, most):
    net = compile_text(MAP)
    slow, fast = twins(net, workers=2, kind=kind)
    written = split_all(fast)
    type(fast).worker_for.__globals__["SplitWorker"].most = most
    counts, (x, y) = [], batch(net, 1)
    for _ in range(3):
        near(fast.forward(x), slow.forward(x), 1e-8, "inference")
        near_all(fast.loss_and_gradients(x, y)[1], slow.loss_and_gradients(x, y)[1], 1e-8, "gradient")
        counts.append(len(written))
    new = counts[2] - counts[1]
    assert new == 0 if most > counts[0] else counts[0] - 2 * most <= new < counts[0]
    fast.close()


BOTTLENECK = """
input 8x12x12
res { conv 4 k1 nobias -> bn -> relu -> conv 4 k3 p1 nobias -> bn -> relu -> conv 8 k1 nobias -> bn } -> relu
conv 3 k1 -> gap -> flatten
"""


def test_what_workers_share_lies_where_all_see_it_and_nothing_piles_up():
    """The gradient of the 3x3 convolution is the inside of a larger map."""
    model = compile_text(BOTTLENECK).numpy_model(0, level=2, workers=2, kind="threads")
    split_all(model)
    split = next(base for base in type(model).__mro__ if base.__name__ == SplitNetwork.__name__)
    worker, left, held = split.worker_for.__globals__["SplitWorker"], [], {}
    number_of = worker.number_of

    def numbered(self, parts, work, given, same):
        number = number_of(self, parts, work, given, same)
        left.extend([work.__name__] * (number is None))
        arrays = [x for _, (_, given) in self.quick.values() for x in given if isinstance(x, np.ndarray)]
        held.update((id(x), self.place_of(x)) for x in arrays)
        number_of(self, parts, work, [np.zeros(3), *given], same)  # of a stage that makes an array anew
        return number

    worker.number_of = numbered
    for step in range(4):
        model.train_step(*batch(compile_text(BOTTLENECK), 1, step, "float32"))
    assert not left and held
    assert None not in held.values()  # of which each would be memory of its own
    model.close()


@pytest.mark.parametrize("workers", [2, 3])
def test_threads_and_processes_give_the_same_bytes_each_time(workers):
    net, runs = compile_text(MAP), []
    for kind in ["threads", "threads", *(["processes"] if hasattr(os, "fork") else [])]:
        model = net.numpy_model(1, level=2, workers=workers, kind=kind)
        split_all(model)
        losses = [float(model.train_step(*batch(net, 1, step, "float32"))) for step in range(4)]
        x, _ = batch(net, 1, 77, "float32")
        arrays = [np.array(losses), *model.params.values(), *model.buffers.values(), model.forward(x)]
        runs.append([array.tobytes() for array in arrays])
        model.close()
    assert all(run == runs[0] for run in runs)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_of_any_size_come_in_any_order(kind):
    net = compile_text(TOKENS)
    slow, fast = twins(net, workers=3, kind=kind)
    split_all(fast)
    for size in (1, 4, 2, 1, 3):
        x, y = batch(net, size, size)
        near(fast.logits(x, training=True), slow.logits(x, training=True), 1e-8, f"{size} in training")
        other, _ = batch(net, 1, 9)
        near(fast.forward(other), slow.forward(other), 1e-8, "one sample between")
        dy = batch(net, size, 5)[0].reshape(size, -1)[:, :4]
        slow.logits(x, training=True)
        near_all(fast.backward(dy)[1], slow.backward(dy)[1], 1e-8, "gradient, from outside, of")
        near_all(fast.loss_and_gradients(x, y)[1], slow.loss_and_gradients(x, y)[1], 1e-8, "gradient")
        for model in (slow, fast):
            model.update(model.loss_and_gradients(x, y)[1], 0.003)
    near_all(fast.params, slow.params, 1e-6, "param")  # Adam divides by gradients that are rounding
    fast.close()


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_a_helper_is_raised_and_the_next_batch_works(kind):
    net = compile_text("input 8\nlinear 16 -> relu -> linear 4")
    slow, fast = twins(net, workers=2, kind=kind)
    split_all(fast)
    worker = fast.worker_for(1)
    whole, x = worker.multiply_columns, batch(net, 1)[0]

    def multiply_columns(self, part, a, b, out):
        if self.index and np.isnan(a).any():
            raise ValueError("the part of a helper")
        whole(self, part, a, b, out)

    worker.multiply_columns = multiply_columns
    for _ in range(2):
        with pytest.raises(ValueError, match="the part of a helper"):
            fast.forward(x * np.nan)
        near(fast.forward(x), slow.forward(x), 1e-12, "the next")
    fast.close()


def test_a_small_network_is_not_split(monkeypatch):
    monkeypatch.undo()
    net = compile_text(MAP)
    assert "SplitNetwork" not in net.text("numpy", 2)


@needs_fork
def test_layers_of_a_middle_size_give_the_same_bytes_between_threads_and_processes(monkeypatch):
    monkeypatch.setattr(emitter, "WORTH_SPLITTING", 0)
    body = "2 * { conv 32 k3 p1 nobias -> bn -> relu }\nconv 48 k3 s2 p1 -> relu -> conv 64 -> bn -> gelu"
    net = compile_text(f"input 16x28x28\n{body}\ngap -> linear 5")
    bytes_of = []
    for kind in ("threads", "processes"):
        model = net.numpy_model(level=2, workers=2, kind=kind, seed=0)
        for step in range(3):
            model.train_step(*batch(net, 1, step, "float32"))
        bytes_of.append({name: array.tobytes() for name, array in {**model.params, **model.buffers}.items()})
        model.close()
    assert bytes_of[0] == bytes_of[1]
