"""Every stage is as exact as the textbook kernel of its layer, in float32, beside any mean, however sums are added.

All sums of a stage add in the worst order (`worst_order`), those of the textbook as numpy does; both are compared with
the textbook in float64. What an algorithm or a long sum costs by its nature is written beside its case.
"""

import numpy as np
import pytest
from alone import Alone, textbook
from worst_order import worst

from netdsl.ground.diagnostics import SpecError
from netdsl.layers import layer_of, layer_table
from netdsl.passes.signals import stage_calls
from netdsl.pipeline import compile_text
from netdsl.stages.buffers import Buffers


def errors(found, right):
    """The largest error of each, over the largest right value."""
    return {
        what: float(np.abs(np.asarray(found[what], np.float64) - array).max() / max(np.abs(array).max(), 1e-30))
        for what, array in right.items()
    }


MEANS = (0, 10, 1000, 10_000)
INPUTS = "8x12x12", "40", "6x16", "8x24 map", "8x4x6x6"  # an image, a vector, tokens, a signal, a volume
LINES = {
    "adaptive": "adaptive 3",
    "avgpool": "avgpool 3",
    "conv": "conv 6 k3 p1",
    "convt": "convt 6 k3 s2",
    "crop": "crop 4",
    "gn": "gn 2",
    "gru": "gru 5",
    "inorm": "inorm affine",
    "linear": "linear 5",
    "lrn": "lrn 3",
    "lstm": "lstm 5",
    "mha": "mha 4",
    "pad": "pad 1",
    "pixelshuffle": "pixelshuffle 2",
    "map": "map 2x3",
    "pool": "pool 3",
    "rnn": "rnn 5",
    "scale": "scale 0.5",
    "shuffle": "shuffle 2",
    "swiglu": "swiglu 5",
    "slice": "slice 1 3",
    "take": "take 2",
    "up": "up 2",
    "upsample": "upsample 2 bilinear",  # of an image; see MODES
}
TRANSFORMS = ("BilinearConv", "FourierConv", "WinogradRows", "SignalConv")
"""They lose a digit by their nature: see the tolerances of test_stages."""

MODES = {"8x24 map": "linear", "8x4x6x6": "trilinear"}
STAGED = [
    name
    for name, layer in layer_table().items()
    if layer.stages is not None and layer.num_inputs == 1 and not layer.is_random
    if not layer.takes_ids and not layer.ties  # sums of rows as they are, and what `linear` does
]


@pytest.fixture
def worst_buffers(monkeypatch):
    """Buffers of stages that add in the worst order."""
    usual = Buffers.array
    monkeypatch.setattr(Buffers, "array", lambda self, *given: worst(usual(self, *given)))


def cases(name):
    """(compiled network of one layer, call of a stage) for every input that fits and every way to compute it."""
    for shape in INPUTS:
        try:
            line = LINES.get(name, name).replace("bilinear", MODES.get(shape, "bilinear"))
            net = compile_text(f"input {shape}\n{line}\ntrain {{ loss mse }}")
        except SpecError as error:
            assert {d.code for d in error.diagnostics} <= {"N202", "N203"}, str(error)
            continue
        for call in stage_calls(net.graph.nodes[0], (net.graph.input_type,)):
            yield net, call


@pytest.mark.parametrize("name", STAGED)
def test_stages_that_add_in_the_worst_order_are_as_exact_as_the_textbook(name, worst_buffers):
    count = 0
    for net, call in cases(name):
        shape = net.graph.input_shape
        terms = 8 * max(1, int(np.prod(shape[1:])))  # of the longest sum, which is that of a gradient
        rounding = np.finfo(np.float32).eps * terms**0.5
        factor = 10 if call.kernel.__name__ in TRANSFORMS else 4
        for mean in MEANS:
            rng = np.random.default_rng(1)
            x = (rng.standard_normal((8, *shape)) + mean).astype(np.float32)
            dy = rng.standard_normal((8, *net.graph.output_shape)).astype(np.float32)
            with np.errstate(all="ignore"):
                right = textbook(net, x, dy, "float64")
                usual = errors(textbook(net, x, dy, "float32"), right)
                model = Alone(net, call)
                found = errors(model.both_passes(x, dy), right)
                model.close()
            for what, error in found.items():
                case = f"{call.text}, {what} beside a mean of {mean}: {error:.1e}, the textbook {usual[what]:.1e}"
                assert error <= factor * usual[what] + rounding, case
        count += 1
    assert count, "the layer takes none of the inputs"


@pytest.mark.parametrize("mean", MEANS)
def test_a_norm_of_large_maps_forgets_the_mean(mean, worst_buffers):
    """Beside a mean of 10,000 float32 has steps of a thousandth; what the steps left of x is normalised exactly."""
    for line in ("bn", "gn 2", "inorm", "ln"):
        net = compile_text(f"input 4x40x30\n{line}\ntrain {{ loss mse }}")
        (call,) = layer_of(line.split()[0]).stages(net.graph.nodes[0].attrs, net.graph.input_type)
        rng = np.random.default_rng(2)
        x = (rng.standard_normal((6, 4, 40, 30)) + mean).astype(np.float32)
        model = Alone(net, call)
        found = errors(model.both_passes(x, x), textbook(net, x, x, "float64"))
        model.close()
        assert found["y"] < 2e-6, f"{line}: {found['y']}"


def test_the_sums_of_a_convolution_forget_a_large_bias():
    """Beside 1,000 float32 has steps of 6e-5 and squares of 0.1: they would be all that a difference leaves."""
    net = compile_text("input 5x9x8\nconv 6 -> bn\ntrain { loss mse }")
    right, space = net.build(seed=1, dtype="float64"), {"__name__": "module"}
    exec(compile(net.numpy_source(2), "module", "exec", dont_inherit=True), space)
    model = space["Model"](seed=1, workers=2)
    model.params["conv1.bias"][...] = right.params["conv1.bias"][...] = 1000
    for name, array in right.params.items():
        model.params[name][...] = array
    x = np.random.default_rng(0).standard_normal((7, 5, 9, 8))
    found = model.logits(x.astype(np.float32), training=True)
    assert np.abs(found - right.logits(x, training=True)).max() < 1e-3  # some steps, as the spread is about 1
    model.close()


@pytest.mark.parametrize("mean", [0, 3, 30])
def test_sums_that_a_product_knows_without_reading_it_are_exact(mean):
    """A 1x1 convolution of few channels does not read what it made for the batch norm behind it, unless it must."""
    net = compile_text("input 4x16x12\nconv 24 nobias -> bn -> relu6 -> conv 3 k3 p1\ntrain { loss mse }")
    rng = np.random.default_rng(3)
    x, dy = rng.standard_normal((6, 4, 16, 12)) + mean, rng.standard_normal((6, 3, 16, 12))
    space = {"__name__": "module"}
    exec(compile(net.numpy_source(2), "module", "exec", dont_inherit=True), space)
    right = net.build(seed=1, dtype="float64")
    logits, (_, grads) = right.logits(x, training=True), right.backward(dy)
    model = space["Model"](seed=1, workers=2)
    for name, array in right.params.items():
        model.params[name][...] = array
    assert np.abs(model.logits(x.astype(np.float32), training=True) - logits).max() < 1e-6 * max(30, mean)
    _, found = model.backward(dy.astype(np.float32))
    for name in grads:  # the sum of x * dy is that much smaller than its parts
        error = np.abs(found[name] - grads[name]).max() / np.abs(grads[name]).max()
        assert error < 1e-6 * max(10, mean**2), f"{name}: {error}"
    (worker,) = model.workers[1, 2].values()
    assert worker.s.conv1.is_quick and worker.s.conv1.multiplies == (mean == 0)
    model.close()


def test_batch_norm_measures_parts_that_differ_as_one():
    """One worker's samples lie around 0, another's around 1,000: neither's own spread says anything of all."""
    net = compile_text("input 5x6x6\nbn\ntrain { loss mse }")
    (call,) = layer_of("bn").stages(net.graph.nodes[0].attrs, net.graph.input_type)
    x = np.random.default_rng(0).standard_normal((16, 5, 6, 6)).astype(np.float32)
    x[8:12] += 1000
    x[12:] *= 50
    model = Alone(net, call)
    found, right = model.both_passes(x, x[::-1].copy()), textbook(net, x, x[::-1], "float64")
    assert max(errors(found, right).values()) < 2e-6
    buffers = net.build(dtype="float64")
    buffers.logits(x.astype(np.float64), training=True)
    for name, array in buffers.buffers.items():
        np.testing.assert_allclose(model.buffers[name], array, rtol=1e-6)
    model.close()
