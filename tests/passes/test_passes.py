"""Every pass changes what is computed by rounding alone: drawn networks with all passes, and with all but one."""

from collections import Counter

import numpy as np
import pytest
from drawing import drawn_in_part
from fast_twins import assert_twins
from hypothesis import strategies as st

from netdsl.passes import make_plan
from netdsl.passes.choose_algorithms import cheapest, direct
from netdsl.passes.freeze_norm import freeze_norm
from netdsl.passes.make_plan import INFERENCE, TRAINING
from netdsl.pipeline import compile_text
from netdsl.targets.fast.emitter import emit_fast

ELEMENTS = (
    "conv 4 k3 p1",
    "conv 6 k3x2 p1",
    "conv 4",
    "conv 4 k3 p1 g2",
    "conv 4 k3 p1 g4",
    "conv 4 k1 s2 p1",
    "conv 4 k3 s2 p1 g4 nobias",
    "conv 8 -> bn -> relu6 -> conv 8 k3 p1 g8 -> bn -> relu6 -> conv 4 -> bn",
    "conv 24 nobias -> bn -> relu -> conv 4 k3 p1",
    "convt 4 k2 s2",
    "bn",
    "bn",
    "relu",
    "relu",
    "relu6",
    "gelu",
    "id",
    "dropout 0",
    "pool 2",
    "res { conv in.c k3 p1 -> bn }",
    "res { conv in.c k3 p1 -> bn -> relu -> conv in.c k3 p1 } -> relu",
    "add { conv 4 | conv 4 k3 p1 -> bn }",
    "cat { id | conv 2 -> relu }",
    "tokens -> res { ln -> mha 1 } -> relu -> map",
    "tokens -> linear 4 -> gelu -> res { linear 4 } -> relu -> map",
)
NEEDED = (freeze_norm,)  # without it a batch norm would want the whole batch at inference
OPTIONAL = [each for each in dict.fromkeys(TRAINING + INFERENCE) if each not in NEEDED]
SPECS = st.tuples(
    st.sampled_from(["4x9x8", "8x12x12", "4x13 map", "4x5x6x4"]),
    st.lists(st.sampled_from(ELEMENTS), min_size=3, max_size=9),
)


def drawn_net(shape, elements):
    """The network of as many of these elements as fit one behind the other."""
    body = ""
    for element in elements:
        try:
            compile_text(f"input {shape}\n{body}{element}\ntrain {{ loss mse }}")
        except Exception:  # a layer that does not fit is left out
            continue
        body += f"{element}\n"
    return compile_text(f"input {shape}\n{body or 'relu'}\ntrain {{ loss mse }}")


def computed(net, text, x, dy):
    """What the module of that text makes of x at inference, and all gradients."""
    space = {"__name__": "module"}
    exec(compile(text, "module", "exec", dont_inherit=True), space)
    model = space["Model"](seed=1, dtype="float64", workers=1)
    arrays = {"inference": model.forward(x)}
    model.logits(x, training=True)
    _, gradients = model.backward(dy)
    arrays |= gradients | {name: array.copy() for name, array in model.buffers.items()}
    model.close()
    return arrays


changed = Counter()


@drawn_in_part(8, 24, "every pass on more networks", SPECS, st.integers(0, 9))
def test_a_pass_changes_numbers_by_rounding_alone(spec, seed):
    net, rng = drawn_net(*spec), np.random.default_rng(seed)
    x = rng.standard_normal((3, *net.graph.input_shape))
    dy = rng.standard_normal((3, *net.graph.output_shape))
    text = emit_fast(net.graph, net.recipe)
    expected = computed(net, text, x, dy)
    with pytest.MonkeyPatch.context() as patch:
        for left_out in OPTIONAL:
            for name, passes in (("TRAINING", TRAINING), ("INFERENCE", INFERENCE)):
                patch.setattr(make_plan, name, tuple(each for each in passes if each is not left_out))
            other = emit_fast(net.graph, net.recipe)
            if other == text:
                continue
            changed[left_out.__name__] += 1
            for what, array in computed(net, other, x, dy).items():
                scale = np.abs(expected[what]).max(initial=1.0)
                np.testing.assert_allclose(
                    array, expected[what], rtol=1e-9, atol=1e-11 * scale, err_msg=f"{left_out.__name__}: {what}"
                )


def test_no_pass_goes_without_work():
    net = compile_text(
        "input 4x8x8\nconv 4 k3 p1 -> bn -> relu -> dropout 0 -> id -> res { conv 4 k3 p1 -> bn } -> relu\n"
        "bn -> relu -> conv 4 k3 p1 -> gelu -> conv 4 -> bn -> relu6 -> conv 4 -> conv 4 k3 p1 g4 -> pool 2\n"
        "res { gelu }\ntokens -> ln -> take 0 -> linear 300000\ntrain { loss mse }"
    )
    text = emit_fast(net.graph, net.recipe)
    with pytest.MonkeyPatch.context() as patch:
        for left_out in OPTIONAL:
            for name, passes in (("TRAINING", TRAINING), ("INFERENCE", INFERENCE)):
                patch.setattr(make_plan, name, tuple(each for each in passes if each is not left_out))
            assert emit_fast(net.graph, net.recipe) != text, left_out.__name__


LENET2 = "input 32x14x14\nconv 64 k5 p2 -> relu -> pool 2 -> flatten -> linear 10\n"


def stages_of(net, samples, choose):
    """The classes of the convolution's stage, in training and at inference."""
    for training in (True, False):
        plan = make_plan.make_plan(net.graph, net.graph.output, len(net.graph.nodes), training, choose(samples))
        yield plan.stages[0].kernel.__name__


def test_transforms_of_weights_count_the_more_the_fewer_samples_there_are():
    net = compile_text(LENET2, "late")

    def estimated(samples):
        return lambda ways, training: cheapest(ways, training, samples)

    assert next(iter(stages_of(net, 32, estimated))) == "FourierConv"
    assert "FourierConv" not in stages_of(net, 1, estimated)
    assert set(stages_of(net, 32, direct)) == {"PatchConv"}
    net = compile_text("input 32x16x16\nconv 32 k3 p1 -> relu -> gap -> linear 10\n", "middle")
    assert next(iter(stages_of(net, 1, estimated))) == "PatchConv" not in stages_of(net, 32, estimated)


def test_a_net_is_made_for_as_many_samples_as_a_worker_has():
    net = compile_text(LENET2, "late")
    assert net.numpy_source(2) == net.for_samples(32).numpy_source(2) != net.for_samples(1).numpy_source(2)


@pytest.mark.parametrize(
    "drops, left", [("dropout 0", 0), ("dropout2d 0 -> dropout 0", 0), ("dropout 0 -> dropout 0.5", 2)]
)
def test_a_dropout_of_0_draws_nothing_where_all_are_0(drops, left):
    text = f"input 4x5x6\nconv 4 k1 -> {drops} -> conv 4 k1 -> flatten -> linear 3"
    net = compile_text(text)
    stages = make_plan.make_plan(net.graph, net.graph.output, len(net.graph.nodes), training=True).stages
    assert len([stage for stage in stages if stage.node.op.startswith("drop")]) == left
    assert_twins(text)
