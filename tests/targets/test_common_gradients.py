"""Workers that have one gradient of a large weight, each of which makes a part of it."""

import pkgutil
from importlib import import_module

import numpy as np
import pytest
from fast_twins import KINDS, batch, near, near_all, twins

from netdsl.passes import choose_algorithms, share_gradients
from netdsl.pipeline import compile_text
from netdsl.stages.can import Can
from netdsl.stages.conv_stage import ConvStage
from netdsl.stages.transformed_conv import TransformedConv
from netdsl.targets.fast import emitter

NET = """
input 3x6x6
conv 7 k3 p1 -> {} -> flatten -> linear 301 -> relu -> linear 290 nobias -> linear 5
train {{
  opt adam lr=0.01
  clip 1
}}
"""
SIZES = (4, 1, 5, 2, 7)
LAYERS = {  # a stage -> layers by which it is tried
    "BilinearConv": ("conv 16 k3 p1", "conv 16 k3 p1 nobias -> bn"),
    "FourierConv": ("conv 16 k5 p2",),
    "WinogradRows": ("conv 16 k3 p1 -> relu", "conv 16 k3 p1 s2"),
    "PatchConv": ("conv 16 k3 p1 d2", "conv 16 k3 s3 -> bn"),
    "PointConv": ("conv 16", "conv 16 s2", "conv 64 nobias -> bn", "bn -> relu -> conv 16 -> bn -> relu6"),
    "TokenLinear": ("tokens -> linear 6 -> gelu",),
    "Attention": ("tokens -> mha 2",),
    "CausalAttention": ("tokens -> mha 2 causal", "tokens -> res { mha 4 kv=2 causal rope }"),
    "SwiGLU": ("tokens -> swiglu 6 -> gelu", "tokens -> take 3 -> swiglu 40"),
}


@pytest.fixture
def net(monkeypatch):
    monkeypatch.setattr(share_gradients, "WORTH", 50_000)
    return compile_text(NET.format("relu"))


def is_common(fast):
    """Whether the second worker has no gradient of its own where there is one for all, which is somewhere."""
    parts = [fast.gradients[1, begin : begin + fast.chunk] for begin in fast.whole]
    return bool(parts) and not any(part.any() for part in parts) and fast.gradients[1].any()


@pytest.mark.parametrize(("workers", "large"), [(1, False), (2, False), (2, True), (3, True)])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_and_gradients_are_those_of_the_textbook(kind, workers, large, net, monkeypatch):
    monkeypatch.setattr(emitter, "WORTH_SAVING", 0 if large else 1 << 20)
    monkeypatch.setattr(emitter, "WORTH_SPLITTING", 0 if large else 1e8)
    slow, fast = twins(net, workers=workers, block=2, kind=kind)
    for number, size in enumerate(SIZES):
        x, y = batch(net, size, number)
        near(fast.train_step(x, y, 0.01), slow.train_step(x, y, 0.01), 1e-9, f"the loss of {size}")
        near_all(fast.params, slow.params, 1e-7, f"params after {size}")  # Adam divides by roots of small gradients
        near_all(fast.loss_and_gradients(x, y)[1], slow.loss_and_gradients(x, y)[1], 1e-6, f"gradients of {size}")
        dy = np.random.default_rng(number).standard_normal((size, 5))
        for model in (slow, fast):
            model.logits(x, training=True)
        fast.forward(batch(net, 3)[0])
        near_all(fast.backward(dy.copy())[1], slow.backward(dy.copy())[1], 1e-6, f"gradients apart of {size}")
    assert workers == 1 or is_common(fast)
    fast.close()


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_that_wait_for_each_other_make_it_too(kind, net):
    waiting = compile_text(NET.format("bn -> dropout 0"))
    slow, fast = twins(waiting, workers=2, block=2, kind=kind)
    for size in (5, 7, 2):
        x, y = batch(waiting, size, size)
        near_all(fast.loss_and_gradients(x, y)[1], slow.loss_and_gradients(x, y)[1], 1e-9, f"gradients of {size}")
    assert is_common(fast)
    fast.close()


def test_a_step_has_the_same_bytes_whoever_is_first(net):
    params = []
    for kind in ("threads", "threads", "processes" if len(KINDS) > 1 and not KINDS[1].marks[0].args[0] else "threads"):
        fast = net.numpy_model(level=2, workers=3, kind=kind)
        for size in SIZES:
            fast.train_step(*batch(net, size, size, "float32"))
        params.append({name: array.tobytes() for name, array in fast.params.items()})
        fast.close()
    assert params[0] == params[1] == params[2]


@pytest.mark.parametrize("kind", KINDS)
def test_who_waits_for_samples_that_never_come_is_let_out(kind, net):
    slow, fast = twins(net, kind=kind)
    x, y = batch(net, 4)
    fast.train_step(x, y, 0.0)
    wrong = y.copy()
    wrong[-1] = 99  # of the second worker, whom the first waits for
    with pytest.raises(ValueError, match="labels"):
        fast.train_step(x, wrong, 0.0)
    near_all(fast.loss_and_gradients(x, y)[1], slow.loss_and_gradients(x, y)[1], 1e-9, "gradients after an error")
    fast.close()


def test_what_is_not_finite_leaves_params_as_they_are(net):
    fast = net.numpy_model(level=2, workers=2, kind="threads")
    x, y = batch(net, 4, 0, "float32")
    before = {name: array.copy() for name, array in fast.params.items()}
    assert np.isnan(fast.train_step(np.where(x == x[3], np.nan, x), y))
    assert all(np.array_equal(fast.params[name], array) for name, array in before.items())
    fast.close()


def test_a_small_network_says_nothing_of_it(net):
    assert "CommonGradients" in net.numpy_source(2)
    text = compile_text("input 8\nlinear 6 -> relu -> linear 4\n").numpy_source(2)
    assert "self.common" not in text and "make_part" not in text and "rows_used" not in text


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize(("stage", "layers"), [(stage, layers) for stage in LAYERS for layers in LAYERS[stage]])
def test_every_stage_makes_it_with_others(stage, layers, workers, monkeypatch):
    monkeypatch.setattr(share_gradients, "WORTH", 8)
    ways = choose_algorithms.cheapest

    def cheapest(given, *options):
        return ways([way for way in given if way.kernel.__name__ == stage] or given, *options)

    monkeypatch.setattr(choose_algorithms, "cheapest", cheapest)
    net = compile_text(f"input 2x9x8\nconv 16 k3 p1 -> relu -> {layers} -> flatten -> linear 3")
    source = net.numpy_source(2)
    assert f"class {stage}" in source and "in_turns" in source
    slow, fast = twins(net, workers=workers, block=2)
    for number, size in enumerate((5, 7, 2, 1, 9)):
        x, y = batch(net, size, number)
        near_all(fast.loss_and_gradients(x, y)[1], slow.loss_and_gradients(x, y)[1], 1e-9, f"gradients of {size}")
        dy = np.random.default_rng(number).standard_normal((size, 3))
        for model in (slow, fast):
            model.logits(x, training=True)
        near_all(fast.backward(dy.copy())[1], slow.backward(dy.copy())[1], 1e-9, f"gradients apart of {size}")
    for name in fast.common:
        fast.stored_grads[0][name][...] = np.nan  # what nobody writes would stay
    near_all(fast.loss_and_gradients(x, y)[1], slow.loss_and_gradients(x, y)[1], 1e-9, "gradients after others")
    fast.close()


def test_every_stage_that_can_is_tried():
    from netdsl import stages

    assert {kind.__name__ for kind in kinds_of(stages) if kind.can.share_gradient} == {*LAYERS, "Linear"}


def kinds_of(package):
    """The stages of a package that say what they can do."""
    for module in pkgutil.iter_modules(package.__path__):
        for value in vars(import_module(f"{package.__name__}.{module.name}")).values():
            own = isinstance(value, type) and value.__module__.endswith(f".{module.name}")
            if own and isinstance(vars(value).get("can"), Can) and value not in (ConvStage, TransformedConv):
                yield value
