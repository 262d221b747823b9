"""Every layer of the table against PyTorch, over every attribute: a new layer file is tested by being there.

Forward, input gradient and parameter gradients, in float64 and float32, in training and evaluation mode. The networks
are one layer long and go through the whole compiler, so the PyTorch side is the emitted module.
"""

import itertools
import re
import warnings

import numpy as np
import pytest
from drawing import in_part
from layer_lines import lines, spread, values

from netdsl.analysis.layer_text import layer_text
from netdsl.ground.diagnostics import SpecError
from netdsl.layers import find_layer, layer_of, layer_table
from netdsl.pipeline import compile_text

torch = pytest.importorskip("torch")
running = pytest.importorskip("netdsl.targets.torch.running")
torch_runs = pytest.importorskip("netdsl.verify.torch_runs")

INPUTS = ["4x7x9", "6x5x1", "2x8x6", "12", "5x8"]  # images (odd, thin, even), a vector, tokens
FULL = (*INPUTS, "6 of 7")  # the others take a part of a plain run, with the first of these comparisons alone
INPUTS += ["6x9 map", "8x4x3x5", "6 of 7"]  # a signal, a volume, numbers of a vocabulary
COMPARISONS = (3, "float64", True), (1, "float64", False), (2, "float32", True)  # batch, dtype, training
MORE_INPUTS = ["4x8 map", "2x1 map", "2x5x1x4", "4x2x2x3"]
CANCELS = {
    "ln": 10,
    "mha": 10,
}  # float32: of two channels ln leaves +-1, and its gradient is what cancels; large scores


SINGLE = [name for name, layer in layer_table().items() if layer.num_inputs == 1]
PYTORCH_ROUNDS = {"hardsigmoid": 1e-7}  # its float64 gradient multiplies by a float32 1/6


def test_every_layer_is_called_after_its_file():
    assert {name: layer.name for name, layer in layer_table().items() if layer.name != name} == {}


def test_an_alias_is_another_name_of_one_layer():
    aliases = {alias: layer for layer in layer_table().values() for alias in layer.aliases}
    assert aliases.keys() & layer_table().keys() == set()
    assert sum(len(layer.aliases) for layer in layer_table().values()) == len(aliases) > 0
    assert all(find_layer(alias) is layer for alias, layer in aliases.items())


REFUSED = ("N201", "N202", "N203", "N304", "N305", "N313")
COUNTED = re.compile(r"takes .* sizes?( of an? \w+)?, not \d")  # a size for each of other axes than the input has


def networks(layer, combined=60, inputs=INPUTS, most=None):
    """(spec line, input, compiled network) for every combination the layer accepts. most: how many lines, or a few
    more, the inputs get that are not in FULL; None: all."""
    texts = lines(layer, combined)
    step = max(1, len(texts) // most) if most else 1
    for (number, line), (place, shape) in itertools.product(enumerate(texts), enumerate(inputs)):
        if shape not in FULL and (number + place) % step:
            continue
        try:
            yield line, shape, compile_text(f"input {shape}\n{tied(layer, line)}\ntrain {{ loss mse }}")
        except SpecError as error:
            assert all(d.code in REFUSED or COUNTED.search(d.message) for d in error.diagnostics), str(error)


def tied(layer, line):
    """The line, behind the layer whose weights it uses."""
    return f"it: {layer.ties} 4\n{line} @it" if layer.ties else line


def samples(net, count, dtype):
    """x (count, *input) as a network of that dtype takes it."""
    rng, given = np.random.default_rng(count), net.graph.input_type
    if given.is_ids:
        return rng.integers(0, given.limit, (count, *given.sizes))
    return spread(rng, (count, *given.sizes), dtype)


def compare(net, batch, dtype, training, rtol, atol):
    rng = np.random.default_rng(batch)
    network = net.build(seed=0, dtype=dtype)
    for array in network.params.values():
        array += 0.1 * rng.standard_normal(array.shape)
    for name, array in network.buffers.items():
        array += 0.1 if "var" in name else 0.3
    x = samples(net, batch, dtype)
    module = running.torch_model(net, network).train(training)
    y = network.forward(x, training)
    assert y.dtype == dtype
    torch_runs.same_draws(module, network)
    inputs = torch.from_numpy(x.copy()).requires_grad_(x.dtype.kind == "f")
    with warnings.catch_warnings():  # padding="same" with an even kernel copies the input
        warnings.filterwarnings("ignore", message="Using padding='same'")
        expected = module(inputs)
    dy = rng.standard_normal(y.shape).astype(dtype)
    expected.backward(torch.from_numpy(dy))
    kept = dy.copy()
    dx, grads = network.backward(dy)
    reach = (
        1.0
        if dtype == "float64"
        else 4 * np.finfo(np.float32).eps / atol * np.sqrt(dy.size) * max(1, np.abs(dy).max() * np.abs(x).max())
    )
    reach *= CANCELS.get(net.graph.nodes[0].op, 1)
    close = lambda a, b: np.testing.assert_allclose(a, b.detach().numpy(), rtol=rtol, atol=atol * max(1.0, reach))  # noqa: E731
    assert np.array_equal(dy, kept), "backward changed dy in place"
    close(y, expected)
    if net.graph.input_type.is_ids:
        assert dx is None
    else:
        close(dx, inputs.grad)
        assert dx.dtype == dtype
    for name, param in module.named_parameters():
        assert grads[name].dtype == dtype, name
        close(grads[name], param.grad)
    for name, buffer in network.buffers.items():
        close(buffer, module.get_buffer(name))


@in_part("combined", 6, 60, "layers with many combinations of their attributes")
@pytest.mark.parametrize("name", SINGLE)
def test_layer_equals_pytorch_over_every_attribute(name, combined):
    layer = layer_of(name)
    count, varied = 0, set()
    is_whole = combined == 60
    inputs, most = ([*INPUTS, *MORE_INPUTS], None) if is_whole else (INPUTS, 20)
    for line, shape, net in networks(layer, combined, inputs, most):
        varied |= {attr.name for attr in layer.attrs for text in line.split()[1:] if text in values(attr)}
        for batch, dtype, training in COMPARISONS if is_whole or shape in FULL else COMPARISONS[:1]:
            tolerance = (PYTORCH_ROUNDS.get(name, 1e-10), 1e-12) if dtype == "float64" else (1.3e-6, 1e-5)
            try:  # a number that overflows is a warning, and so an error; but for matmul's, see pyproject.toml
                compare(net, batch, dtype, training, *tolerance)
            except Exception as error:
                error.add_note(f"{line} on {shape}, batch {batch}, {dtype}, training {training}")
                raise
        count += 1
    assert count >= 1, "the layer accepts none of the inputs"
    assert varied == {attr.name for attr in layer.attrs}, "some attr was never written"


@pytest.mark.parametrize("name", SINGLE)
def test_layer_gives_the_same_bytes_in_the_emitted_module(name):
    for line, shape, net in itertools.islice(networks(layer_of(name)), 40):
        x = samples(net, 2, "float32")
        model, network = net.numpy_model(seed=1), net.build(seed=1)
        y = network.forward(x, training=True)
        assert y.tobytes() == model.forward(x, training=True).tobytes(), (line, shape)
        dx, _ = network.backward(y)
        other = model.backward(y)[0]
        assert (dx is other is None) or dx.tobytes() == other.tobytes(), (line, shape)


def in_a_block(line, shape):
    """The same network, with the layer in a block whose parameters are its settings."""
    name, *parts = line.split()
    written, values = [name], []
    for part in parts:
        match = re.fullmatch(r"(?:([a-z_]+)=?)?(\d.*)", part)
        if match is None:  # a word
            written.append(part)
            continue
        key, value = match.groups()
        written.append(f"{key}=p{len(values)}p" if key else f"p{len(values)}p")
        values.append(value)
    params = ", ".join(f"p{i}p" for i in range(len(values)))
    return f"block b({params}) {{ {' '.join(written)} }}\ninput {shape}\nb({', '.join(values)})\ntrain {{ loss mse }}"


@pytest.mark.parametrize("name", [name for name in SINGLE if any(a.kind != "word" for a in layer_of(name).attrs)])
def test_layer_takes_the_parameters_of_a_block(name):
    for line, shape, net in itertools.islice(networks(layer_of(name)), 12):
        text = in_a_block(line, shape)
        block = compile_text(text)
        x = samples(net, 2, "float64")
        network = block.build(seed=0, dtype="float64")
        y = network.forward(x)
        assert y.tobytes() == net.build(seed=0, dtype="float64").forward(x).tobytes(), text
        with torch.no_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Using padding='same'")
            expected = running.torch_model(block, network).eval()(torch.from_numpy(x.copy())).numpy()
        np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-12, err_msg=text)


@pytest.mark.parametrize("name", SINGLE)
def test_layer_does_not_change_its_input(name):
    for line, shape, net in itertools.islice(networks(layer_of(name)), 10):
        x = samples(net, 2, "float32")
        kept = x.copy()
        net.build().forward(x, training=True)
        assert np.array_equal(x, kept), (line, shape)


@pytest.mark.parametrize("given", ["3x9 map", "3x4x5", "3x2x4x3"])
@pytest.mark.parametrize("name", [layer.name for layer in layer_table().values() if layer.idle])
def test_an_idle_layer_gives_its_input_as_it_is_in_training_too(name, given):
    """The attrs that it declares for that say so truly: the PyTorch module leaves the layer out with them."""
    layer = layer_table()[name]
    values = {"p": "0", "padding": "0", "factor": "1"}
    net = compile_text(f"input {given}\n{name} {' '.join(values[key] for key in layer.idle)}")
    assert layer.is_idle(net.graph.nodes[0].attrs)
    x = np.random.default_rng(0).standard_normal((4, *net.graph.input_shape)).astype(np.float32)
    network = net.build()
    assert np.array_equal(network.forward(x, training=True), x) and np.array_equal(network.forward(x), x)
    dx, _ = network.backward(x)
    assert np.array_equal(dx, x)
    assert "nn." not in net.torch_source().split("__init__()")[1]


@pytest.mark.parametrize("name", SINGLE)
def test_the_text_of_a_layer_makes_the_same_layer(name):
    for line, shape, net in itertools.islice(networks(layer_of(name)), 40):
        text = layer_text(net.graph.nodes[-1])
        again = compile_text(f"input {shape}\n{tied(layer_of(name), text)}\ntrain {{ loss mse }}")
        assert forward_settings(again) == forward_settings(net), f"{line} is shown as {text}"


def forward_settings(net):
    node = net.graph.nodes[-1]
    return node.shape, {key: node.attrs[key] for key in layer_of(node.op).forward_names if key in node.attrs}
