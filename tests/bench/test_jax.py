"""What JAX computes: the same as the layer objects, for every layer that it has."""

import numpy as np
import pytest

pytest.importorskip("jax")

from netdsl.bench.contestants import ENTRIES, Interpreter, Job, LeftOut
from netdsl.bench.jax_contestant import Jax, why_left_out
from netdsl.bench.jax_layers import LAYERS, Own
from netdsl.bench.match import Options, bench, difference
from netdsl.layers import layer_table
from netdsl.pipeline import compile_text
from netdsl.verify.batches import random_batch

NETS = {
    "image": """input 3x12x11
conv 8 k3 p1 -> bn -> relu -> pool 3 s2 p1
conv 8 k3 s2 same g2 nobias -> gn 2 -> leaky 0.1 -> pad 2 -> avgpool 3 s2 p1 nopad -> inorm -> silu
conv 8 k3 p2 d2 -> prelu channelwise -> bn noaffine -> adaptive 2x3
flatten -> linear 5
""",
    "branches": """input 4x6x6
add { conv 4 k3 p1 | tanh }
cat { conv 3 | relu }
mul { sigmoid | gap -> linear 7 }
tokens -> map 6x6 -> reshape 7x4x9 -> flatten -> linear 3
""",
    "signal": "input 2x20 map\nconv 4 k5 s2 -> relu6 -> pool 2 -> avgpool 2 ceil -> elu 0.5\ngap -> linear 3\n",
    "volume": "input 1x5x6x4\nconv 3 k3 p1 -> selu -> pool 2 s1 -> avgpool 2 -> gmp\nlinear 3 -> tanh -> linear 2\n",
    "vectors": """input 6 mean 0.5 std 2
linear 8 nobias -> ln -> mish -> scale 0.5 -> rms -> softplus -> linear 6 -> hardsigmoid -> bn -> linear 4 -> logsoftmax
train { loss nll, opt sgd }
""",
    "tokens": """input 3x8x8
conv 8 k4 s4 -> tokens -> cls -> pos -> mha 2 -> ln -> gelu -> linear 8 -> rms -> transpose -> transpose -> take 0
linear 4 -> softmax
train { loss ce smooth=0.1, opt adamw wd=0.1, clip 0.5 }
""",
    "decoder": """input 6x8
pos sincos -> mha 4 kv=2 causal rope -> gelu tanh -> swiglu 12 -> linear 8 -> mha 2 kv=1 nobias -> take 5 -> linear 3
train { opt sgd }
""",
    "numbers": "input 4\nlinear 5 -> sigmoid -> linear 2\ntrain { loss mse, opt sgd momentum=0.9 nesterov wd=0.01 }\n",
    "truth": "input 4\nlinear 3 -> sigmoid\ntrain { loss bce, opt rmsprop wd=0.01 }\n",
    "places": "input 2x4x4\nconv 3 k3 p1 -> id -> hardswish -> softmax\ntrain { opt adagrad }\n",
}


RANDOM = {"dropout", "dropout2d", "droppath"}


def both(text, path, batch=4):
    """Output, and losses of three steps, of the layer objects and of JAX with the same weights."""
    net = compile_text(text)
    x, y = random_batch(net, batch, 0)
    made = []
    for kind in (Interpreter, Jax):
        one = kind(Job(net, "", batch, 1, 0, "auto"))
        one.build()
        one.model.save(path) if kind is Interpreter else one.load(path)
        placed = one.placed(x)
        output = one.as_array(one.inference()(placed))
        step = one.training()
        losses = [step(placed, y) for _ in range(3)]
        made.append((output, np.array(losses), one.as_array(one.inference()(placed))))
    return made


QUICK = ("branches", "vectors", "truth", "decoder")
SLOW = [pytest.param(name, marks=pytest.mark.slow("what JAX computes")) for name in NETS if name not in QUICK]


@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_outputs_losses_and_what_is_learned_are_those_of_the_layer_objects(name, tmp_path):
    for expected, computed in zip(*both(NETS[name], str(tmp_path / "w.safetensors")), strict=True):
        assert difference(computed, expected) < 1e-3  # float32, in which Adam divides small gradients by their size


def test_every_layer_of_jax_is_among_those_that_are_compared():
    compared = {node.op for text in NETS.values() for node in compile_text(text).graph.nodes}
    assert compared | RANDOM == LAYERS.keys() <= layer_table().keys()


@pytest.mark.parametrize("op, group", [("dropout", 1), ("dropout2d", 64), ("droppath", 512)])
def test_dropped_numbers_are_zero_and_the_others_larger(op, group):
    import jax

    own = Own({"p": 0.25}, {}, key=jax.random.key(1), training=True)
    factors = np.asarray(LAYERS[op](own, np.ones((40, 8, 8, 8), np.float32)))
    assert set(np.unique(factors)) == {np.float32(0), np.float32(4 / 3)}
    groups = factors.reshape(-1, group)
    assert (groups == groups[:, :1]).all()
    share, error = (groups[:, 0] == 0).mean(), (0.25 * 0.75 / len(groups)) ** 0.5
    assert abs(share - 0.25) < 4 * error
    own.training = False
    assert (np.asarray(LAYERS[op](own, factors)) == factors).all()


@pytest.mark.parametrize(
    "text, why",
    [
        ("input 2x4x4\nlrn 3 -> up 2 k2\nflatten -> linear 2\n", "it has no `lrn` and no `up`"),
        ("input 4\nlinear 2\ntrain { loss ce weights=(1, 2) }\n", "it has no such loss"),
        ("input 4\nlinear 2\ntrain { opt rmsprop momentum=0.9 }\n", "its `rmsprop` has no momentum"),
    ],
)
def test_what_jax_has_no_rule_for_is_a_note_and_no_failure(text, why):
    net = compile_text(text)
    assert why_left_out(net) == why
    with pytest.raises(LeftOut, match=why):
        Jax(Job(net, "", 2, 1, 0, "auto"))


def test_the_bench_names_why_it_is_left_out():
    net = compile_text("input 2x4x4\nlrn 3\nflatten -> linear 2\n")
    entries = [entry for entry in ENTRIES if entry.name in ("interpreter", "jax")]
    report = bench(net, Options(2, 1, 0, steps=1), entries)
    assert list(report.results) == ["interpreter"] and not report.failures
    assert "jax is left out: it has no `lrn`" in report.notes


def test_jax_is_measured_beside_the_others():
    entries = [entry for entry in ENTRIES if entry.name in ("interpreter", "jax")]
    report = bench(compile_text(NETS["signal"]), Options(2, 1, 0, steps=2), entries)
    result = report.results["jax"]
    assert not report.failures and len(result.times["train"]) == len(result.times["inference"]) == 2
    assert result.agreement < 1e-4 and result.loss_agreement < 1e-4
    assert result.subnormals.keys() == {"params", "moments"}
