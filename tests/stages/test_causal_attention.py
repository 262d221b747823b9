"""The stage of causal attention computes what its textbook computes: with every word, in any parts of tokens, samples
and heads, at the ends of the numbers, whoever shares the work; and it makes no score that no token reads."""

import numpy as np
import pytest
from fast_twins import KINDS, assert_near, assert_twins, batch, near, near_all, twins

from netdsl.passes.make_plan import make_plan
from netdsl.pipeline import compile_text
from netdsl.stages.causal_attention import CausalAttention
from netdsl.targets.fast import emitter

WORDS = [
    "causal",
    "causal kv=2",
    "causal kv=1 rope",
    "causal rope base=50 nobias",
    "causal dropout=0.4",
    "causal kv=2 rope dropout=0.2",
    "kv=2",
    "rope",
    "kv=1 rope dropout=0.3",
]
LLAMA = """
input 16x64
2 * {
  res { rms -> mha 4 kv=2 causal rope }
  res { rms -> swiglu 128 -> linear 64 nobias }
}
rms -> take 0 -> linear 10
"""
GPT = """
input 9x16
pos sincos
2 * { res { ln -> mha 4 causal } -> res { ln -> linear 32 -> gelu tanh -> linear 16 } }
ln -> take 8 -> linear 5
"""


@pytest.fixture(params=[(32, 16), (2, 16), (1, 3)], ids=["whole", "pairs", "thirds"])
def blocks(request, monkeypatch):
    """Tokens are worked on all at once, two at a time, or a third of them."""
    monkeypatch.setattr(CausalAttention, "least", request.param[0])
    monkeypatch.setattr(CausalAttention, "most", request.param[1])


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("workers, block", [(1, 16), (2, 2), (3, 1)])
def test_every_word_agrees_with_the_textbook(words, workers, block, blocks):
    for samples in (1, 5):
        assert_twins(f"input 9x16\nmha 4 {words} -> mha 2 causal", samples=samples, workers=workers, block=block)


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("piece", [1, 100, 300])
def test_attention_may_be_worked_on_in_any_parts(words, piece, blocks, monkeypatch):
    """One head of keys at a time, some, all heads of a sample, or some samples."""
    monkeypatch.setattr(CausalAttention, "piece", piece)
    assert_twins(f"input 6x8\nlinear 16 -> mha 4 {words} -> linear 2")


@pytest.mark.parametrize("words", WORDS)
def test_one_token_is_enough(words):
    assert_twins(f"input 1x8\nmha 2 {words.replace('kv=2', 'kv=1')} -> linear 3", samples=2)


@pytest.mark.parametrize("tokens", [31, 33, 64, 70, 100])
def test_any_number_of_tokens_is_cut_into_blocks(tokens):
    assert_twins(f"input {tokens}x4\nmha 2 causal rope kv=1", samples=2, tolerance=1e-9)


@pytest.mark.parametrize("text", [LLAMA, GPT])
@pytest.mark.parametrize("workers, block", [(1, 16), (2, 2), (3, 1)])
def test_whole_decoders_agree(text, workers, block):
    assert_twins(text, samples=5, workers=workers, block=block)


@pytest.mark.parametrize("text", [LLAMA, GPT.replace("causal", "causal dropout=0.2")])
@pytest.mark.parametrize("kind", KINDS)
def test_workers_of_both_kinds_train_a_decoder_to_the_same_params(text, kind):
    net = compile_text(f"{text}\ntrain {{ opt adamw lr=0.01 wd=0.1 }}")
    slow, fast = twins(net, workers=2, block=2, kind=kind)
    for step, size in enumerate((5, 3, 5)):
        x, y = batch(net, size, step)
        slow.rng, fast.rng = (np.random.default_rng(step) for _ in range(2))
        near(fast.train_step(x, y), slow.train_step(x, y), 1e-8, "loss")
    near_all(fast.params, slow.params, 1e-7, "param")  # three steps of Adam, which divides by small numbers
    fast.close()


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("kind", KINDS)
def test_workers_share_the_heads_of_one_sample(words, kind, blocks, monkeypatch):
    monkeypatch.setattr(emitter, "WORTH_SPLITTING", 0)
    body = f"res {{ ln -> mha 4 {words} }} -> res {{ rms -> swiglu 24 -> linear 16 }} -> linear 3"
    net = compile_text(f"input 9x16\n{body}\ntrain {{ loss mse }}")
    slow, fast = twins(net, workers=3, kind=kind)
    type(fast).least = 1
    for size in (1, 2, 4, 1):
        x, y = batch(net, size, size)
        slow.rng, fast.rng = (np.random.default_rng(size) for _ in range(2))
        near(fast.forward(x), slow.forward(x), 1e-10, f"inference of {size}")
        (loss, grads), (found, found_grads) = (model.loss_and_gradients(x, y) for model in (slow, fast))
        near(found, loss, 1e-10, f"loss of {size}")
        near_all(found_grads, grads, 1e-9, f"gradients of {size}")
    fast.close()


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-10), ("float32", 1e-4)])
@pytest.mark.parametrize("scale", [1e-3, 10, 60, 1e4])
@pytest.mark.parametrize("words", ["causal", "causal kv=1", "causal dropout=0.3"])
def test_large_scores_agree(scale, dtype, tolerance, words, blocks):
    """exp of a large score overflows, and all that a token reads may vanish beside what it must not: the maximum of
    what it reads is taken out then."""
    net = compile_text(f"input 5x4\nmha 2 {words} -> take 3 -> linear 3")
    x, y = batch(net, 6, dtype=dtype)
    for sign in (1, -1):
        models = slow, fast = twins(net, dtype)
        for model in models:
            weight = model.params["mha1.in_proj_weight"]
            weight[...] = np.resize(np.eye(4), weight.shape)
            weight[:4] *= scale
            weight[4:6] *= sign
            model.rng = np.random.default_rng(2)
        with np.errstate(all="ignore"):
            near(fast.forward(x), slow.forward(x), tolerance, "inference")
            (loss, grads), (found, found_grads) = (model.loss_and_gradients(x, y) for model in models)
        near(found, loss, tolerance, "loss")
        near_all(found_grads, grads, 10 * tolerance, "gradient of")
        fast.close()


def test_what_a_token_must_not_read_does_not_drown_what_it_reads():
    """Scores are products of 12 and more; those behind a token are a thousand times as large as its own."""
    net = compile_text("input 3x2\nmha 1 causal\ntrain { loss mse }")
    slow, fast = twins(net, "float32")
    for model in (slow, fast):
        model.params["mha1.in_proj_weight"][...] = np.concatenate([np.eye(2)] * 3)
    x = np.array([[[1.0, 0.1], [12.0, 0.2], [1000.0, 0.3]]], np.float32)
    with np.errstate(all="ignore"):
        assert_near(fast.forward(x), slow.forward(x), 1e-5, "inference")
    fast.close()


def test_what_is_not_finite_stays_in_its_own_sample():
    net = compile_text("input 4x8\nmha 2 causal rope -> gelu tanh -> swiglu 5 -> take 0 -> linear 2")
    slow, fast = twins(net, workers=1, block=16)
    x, _ = batch(net, 4)
    x[2, 0, 3] = np.nan
    with np.errstate(all="ignore"):
        right, found = slow.forward(x), fast.forward(x)
    assert np.isnan(found[2]).all()
    assert_near(found[[0, 1, 3]], right[[0, 1, 3]], 1e-10, "the other samples")
    fast.close()


def test_no_score_is_made_of_keys_behind_a_block():
    """64 tokens are worked on 32 at a time: the first 32 by 32 keys, the others by 64."""
    net = compile_text("input 64x8\nmha 2 causal\ntrain { loss mse }")
    fast = net.numpy_model(0, "float32", level=2, workers=1, kind="threads")
    x, y = batch(net, 3, dtype="float32")
    fast.loss_and_gradients(x, y)
    (worker,) = (w for known in fast.workers.values() for w in known.values())
    assert [array.shape for (array,) in worker.s.mha1.e] == [(3, 2, 32, 32), (3, 2, 32, 64)]
    fast.close()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("text", [LLAMA, GPT])
def test_a_decoder_has_no_textbook_kernel_left(text, training):
    net = compile_text(text)
    plan = make_plan(net.graph, net.graph.output, len(net.graph.nodes), training)
    assert [stage.node.name for stage in plan.stages if stage.call is None] == []
    assert {len(stage.inputs) for stage in plan.stages if stage.node.op == "mha"} == {2}  # the residual is added there


@pytest.mark.parametrize("scale", [1, 30, 1e5, 1e20])
@pytest.mark.parametrize("line", ["gelu tanh", "swiglu 7"])
@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-10), ("float32", 1e-5)])
def test_gates_and_gelu_agree_at_the_ends_of_the_numbers(scale, line, dtype, tolerance):
    net = compile_text(f"input 5x6\n{line}\ntrain {{ loss mse }}")
    slow, fast = twins(net, dtype)
    x = (scale * np.random.default_rng(0).standard_normal((4, 5, 6))).astype(dtype)
    with np.errstate(all="ignore"):
        y, found = (model.logits(x, training=True) for model in (slow, fast))
        near(found, y, tolerance, "training")
        near(fast.logits(x), y, tolerance, "inference")
        for name, grad in (slow.backward(np.ones_like(y))[1]).items():
            near(fast.backward(np.ones_like(y))[1][name], grad, tolerance, name)
    fast.close()
