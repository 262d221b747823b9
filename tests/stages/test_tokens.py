"""The stages of tokens compute what their layers compute at -O0: attention at the ends of the numbers, in any parts; no
layer of a transformer is left to the textbook's kernels."""

import numpy as np
import pytest
from fast_twins import KINDS, assert_near, assert_twins, batch, near, near_all, twins

from netdsl.passes.make_plan import make_plan
from netdsl.pipeline import compile_text
from netdsl.stages.attention import Attention

VIT = """
input 3x6x8
block layer(features) {
  res { ln -> mha 4 }
  res { rms -> linear features -> gelu -> linear 8 }
}
conv 8 k2 s2 -> tokens -> cls -> pos -> 2 * layer(16)
ln -> take 0 -> linear 5
"""
CHAINS = [
    "mha 2 nobias -> mha 4",
    "linear 6 -> relu -> linear 6 nobias -> mha 3",
    "linear 6 -> gelu -> gelu -> take 3",
    "cls -> cls -> pos -> take 1 -> gelu",
    "add { linear 8 | mha 2 | id } -> gelu -> add { id | linear 8 } -> relu",
    "res { linear 8 -> gelu } -> res { gelu -> linear 8 -> relu }",
    "linear 4 -> transpose -> linear 5 -> gelu -> transpose -> map 5x1 -> gelu",
]


@pytest.mark.parametrize("workers, block", [(1, 16), (2, 2), (3, 1)])
def test_a_transformer_agrees_with_the_textbook(workers, block):
    for samples in (1, 5):
        assert_twins(VIT, samples=samples, workers=workers, block=block)


@pytest.mark.parametrize("workers, block", [(1, 16), (2, 2)])
def test_layers_of_tokens_agree_in_any_order(workers, block):
    inside = "\n| ".join(f"{{ {chain} -> flatten }}" for chain in CHAINS)
    assert_twins(f"input 3x4x3\nconv 8 k1 -> tokens\ncat {{\n{inside}\n}}\nlinear 3", workers=workers, block=block)


@pytest.mark.parametrize("kind", KINDS)
def test_workers_of_both_kinds_train_a_transformer_to_the_same_params(kind):
    slow, fast = twins(compile_text(f"{VIT}\ntrain {{ opt adamw lr=0.01 wd=0.1 }}"), workers=2, block=2, kind=kind)
    for step in range(3):
        x, y = batch(compile_text(VIT), 5, step)
        near(fast.train_step(x, y), slow.train_step(x, y), 1e-8, "loss")
    near_all(fast.params, slow.params, 1e-7, "param")  # three steps of Adam, which divides by small numbers
    fast.close()


@pytest.mark.parametrize("width", [32, 33])
def test_many_tokens_are_scaled_and_shifted_some_rows_at_a_time(width):
    """More than 65,536 numbers: what is added to each row is laid out for some rows where their number fits."""
    assert_twins(f"input 3x33x{width}\nconv 64 k1 -> tokens -> linear 64 -> ln -> map 33x{width} -> gap", samples=1)


@pytest.mark.parametrize("piece", [1, 100, 300])
def test_attention_may_be_worked_on_in_any_parts(piece, monkeypatch):
    """Tokens are 6, heads 4: one head at a time, some, all heads of a sample, or some samples."""
    monkeypatch.setattr(Attention, "piece", piece)
    assert_twins("input 3x6x1\ntokens -> linear 8 -> mha 4 -> linear 2")


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-10), ("float32", 1e-4)])
@pytest.mark.parametrize("scale", [1e-3, 10, 60, 1e4])
def test_attention_of_large_scores_agrees(scale, dtype, tolerance):
    """exp of a large score overflows, and all of a row of very negative ones vanish: the maximum is taken out then. In
    float32 a score of 1e4 has steps of a thousandth, and all of them lie in one token."""
    net = compile_text("input 2x5x1\ntokens -> mha 2 -> take 1 -> linear 3")
    x, y = batch(net, 6, dtype=dtype)
    for sign in (1, -1):
        models = slow, fast = twins(net, dtype)
        for model in models:
            weight = model.params["mha1.in_proj_weight"]
            weight[:2] = scale * np.eye(2)
            weight[2:4] = sign * np.eye(2)
            weight[4:] = np.eye(2)
        with np.errstate(all="ignore"):
            near(fast.forward(x), slow.forward(x), tolerance, "inference")
            (loss, grads), (found, found_grads) = (model.loss_and_gradients(x, y) for model in models)
        near(found, loss, tolerance, "loss")
        near_all(found_grads, grads, 10 * tolerance, "gradient of")
        fast.close()


def test_scores_far_below_0_are_not_lost():
    """One token reads itself and others by scores of about -100, which float32 has no exponential of."""
    net = compile_text("input 2x3x1\ntokens -> mha 1\ntrain { loss mse }")
    slow, fast = (net.numpy_model(0, "float32", level=level) for level in (0, 2))
    for model in (slow, fast):
        for name, array in model.params.items():
            array[...] = np.concatenate([np.eye(2), -np.eye(2), np.eye(2)]) if name.endswith("in_proj_weight") else 0
        model.params["mha1.out_proj.weight"][...] = np.eye(2)
    x = np.array([[[[12.0], [11.9], [11.8]], [[0.1], [0.2], [0.3]]]], np.float32)
    assert_near(fast.forward(x), slow.forward(x), 1e-6, "inference")
    assert (np.abs(fast.forward(x)[0, :, 0]) > 11).all()
    fast.close()


def test_what_is_not_finite_stays_in_its_own_sample():
    net = compile_text("input 3x4x1\ntokens -> linear 4 -> mha 2 -> gelu -> take 0 -> linear 2")
    slow, fast = twins(net, workers=1, block=16)
    x, _ = batch(net, 4)
    x[2, 1, 3] = np.nan
    with np.errstate(all="ignore"):
        right, found = slow.forward(x), fast.forward(x)
    assert np.isnan(found[2]).all()
    assert_near(found[[0, 1, 3]], right[[0, 1, 3]], 1e-10, "the other samples")
    fast.close()


@pytest.mark.parametrize("training", [True, False])
def test_a_transformer_has_no_textbook_kernel_left(training):
    net = compile_text(VIT)
    plan = make_plan(net.graph, net.graph.output, len(net.graph.nodes), training)
    assert [stage.node.name for stage in plan.stages if stage.call is None] == []


def test_at_inference_residuals_are_added_by_the_branch_and_biases_by_the_activation():
    net = compile_text(VIT.replace("take 0", "flatten"))
    stages = make_plan(net.graph, net.graph.output, len(net.graph.nodes), training=False).stages
    assert [stage.node.op for stage in stages if stage.can.is_sum] == []
    assert [len(stage.inputs) for stage in stages if stage.node.op == "mha"] == [2, 2]
    assert [stage.conv for stage in stages if stage.node.op == "gelu"] == ["layer1.linear1", "layer2.linear1"]


@pytest.mark.parametrize(
    "body",
    [
        "res { ln -> mha 2 } -> relu",
        "res { ln -> linear 4 } -> relu",
        "res { linear 4 -> mha 2 -> relu6 } -> relu",
        "add { mha 2 | linear 4 } -> relu -> mha 2",
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_relu_behind_a_sum_is_not_lost(body, workers):
    assert_twins(f"input 4x3x3\ntokens\n{body}\nflatten -> linear 3", workers=workers)
