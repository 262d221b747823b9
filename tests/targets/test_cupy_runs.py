"""Modules for CuPy on the stand-in of fake_cupy.py: they compute what the NumPy modules do, bit for bit, and what CuPy
would refuse is refused.

`pytest tests/targets/test_cupy_runs.py --cupy` runs them on CuPy itself where there is a GPU. What they compute is then
compared within rounding, and where networks train in float64, since a GPU adds in another order.
"""

import importlib
import re
import runpy
import sys
import types

import fake_cupy
import numpy as np
import pytest
from conftest import SPECS
from drawing import in_part
from graphs import siamese, two_heads, two_inputs, unread
from layer_lines import lines, spread

from netdsl.graph.recipe import LOSSES, OPTIMIZERS
from netdsl.ground.diagnostics import SpecError
from netdsl.layers import layer_at, layer_of, layer_table
from netdsl.pipeline import compile_file, compile_text, run_module
from netdsl.targets.cupy.spelling import cupy_text
from netdsl.targets.text.arguments import forward_arguments
from netdsl.targets.text.kernel_source import imported_modules, kernel_texts
from netdsl.verify.agreement import random_batch

LARGE = ("alexnet", "densenet121", "googlenet", "mobilenet_v2", "resnet18", "resnet50", "squeezenet1_0", "unet")
LARGE += ("unet3d", "vgg16", "vit_b_16", "gpt2")  # their layers and recipes stand below
SINGLE = [name for name, layer in layer_table().items() if layer.num_inputs == 1]
SMALL = [path for path in SPECS if path.stem not in LARGE]


@pytest.fixture(autouse=True)
def cupy(request, monkeypatch):
    """The stand-in as `cupy`; with `--cupy`, CuPy."""
    module = fake_cupy.module()
    if request.config.getoption("cupy"):
        module = importlib.import_module("cupy")
    monkeypatch.setitem(sys.modules, "cupy", module)
    fake_cupy.waits.clear()
    return module


@pytest.fixture
def stand_in(request):
    """For tests of the stand-in's own."""
    if request.config.getoption("cupy"):
        pytest.skip("the stand-in alone counts and refuses; `--cupy` runs CuPy itself")


def on_a_gpu():
    return not isinstance(sys.modules["cupy"], fake_cupy.Module)


def pair(net, seed=3, **options):
    """The same network in NumPy and for CuPy, with the same first params; on a GPU in float64."""
    options |= {"dtype": np.float64} if on_a_gpu() else {}
    return [net.module(target).Model(seed=seed, **options) for target in ("numpy", "cupy")]


def fetched(value):
    """What CuPy's arrays hold, in tuples and dicts too. Raises AssertionError for an array that is NumPy's."""
    if isinstance(value, dict):
        return {name: fetched(one) for name, one in value.items()}
    if isinstance(value, tuple | list):
        return [fetched(one) for one in value]
    assert not isinstance(value, np.ndarray | np.generic), "an array of the host"
    return sys.modules["cupy"].asnumpy(value) if isinstance(value, sys.modules["cupy"].ndarray) else value


def assert_same(made, expected):
    """The same numbers, bit for bit, of the same dtype; on a GPU within rounding."""
    if isinstance(expected, dict):
        assert list(made) == list(expected)
        made, expected = list(made.values()), list(expected.values())
    if isinstance(expected, tuple | list):
        assert len(made) == len(expected)
        for one, other in zip(made, expected, strict=True):
            assert_same(one, other)
        return
    assert_same_array(made, expected)


def assert_same_array(made, expected, note=""):
    """One array of theirs. A GPU adds in another order: in float32 sums of some hundred numbers are 1e-5 of the largest
    apart, and adam makes much of gradients that are 0 but for rounding, in float64 1e-8 in a few steps."""
    is_array = isinstance(expected, np.ndarray)
    if not on_a_gpu() or not is_array or expected.dtype.kind != "f":
        np.testing.assert_array_equal(made, expected, note, strict=is_array)
        return
    near = 1e-6 if expected.dtype == np.float64 else 3e-5
    size = max(1.0, float(np.max(np.abs(expected), initial=0, where=np.isfinite(expected))))
    np.testing.assert_allclose(made, expected, near, near * size, err_msg=note, strict=True)


def assert_trains_alike(net, n=2, steps=3, dtype=np.float32):
    """Outputs, gradients, and params, buffers and optimizer after some steps are the same."""
    ours, theirs = pair(net, dtype=dtype)
    x, y = random_batch(net, n, 0)
    x = x if isinstance(x, tuple) else (x,)
    assert_same(fetched(theirs.forward(*x)), ours.forward(*x))
    for _ in range(steps):
        logits, others = ours.logits(*x, training=True), theirs.logits(*x, training=True)
        assert_same(fetched(others), logits)
        (loss, dlogits), (other, dothers) = ours.loss(logits, y), theirs.loss(others, sys.modules["cupy"].asarray(y))
        assert_same(fetched((other, dothers)), (np.asarray(loss), dlogits))
        expected, made = ours.backward(dlogits), theirs.backward(dothers)
        assert_same(fetched(made), expected)
        ours.update(expected[1], 0.1)
        theirs.update(made[1], 0.1)
    for name in ("params", "buffers", "optimizer_state"):
        assert_same(fetched(getattr(theirs, name)), getattr(ours, name))


@pytest.mark.parametrize("spec", SMALL, ids=lambda path: path.stem)
def test_a_network_trains_as_the_numpy_module_does(spec):
    assert_trains_alike(compile_file(spec))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_recipe_trains_as_the_numpy_module_does(loss, optimizer):
    last = " -> sigmoid" if loss == "bce" else " -> logsoftmax" if loss == "nll" else ""
    options = {"ce": " smooth=0.1 weights=(1, 2, 1)", "nll": " weights=(1, 2, 1)"}.get(loss, "")
    more = {"sgd": " momentum=0.9 nesterov", "rmsprop": " momentum=0.5"}.get(optimizer, "")
    train = f"train {{ loss {loss}{options}, opt {optimizer}{more} wd=0.01, clip 0.5, init xavier }}"
    assert_trains_alike(compile_text(f"input 4\nlinear 8 -> relu -> dropout 0.5 -> linear 3{last}\n{train}"))


@pytest.mark.parametrize("net", [siamese, two_heads, two_inputs, unread])
def test_networks_of_named_values_train_as_the_numpy_module_does(net):
    assert_trains_alike(net())


MERGES = """
input 4x6x6 mean (1, 2, 3, 4) std 2
cat { conv 3 k3 p1 | id | conv 2 k1 } -> add { conv 5 k3 p1 | conv 5 k1 } -> mul { id | gap } -> mul { id | conv 1 k1 }
cat { gap | gmp | flatten } -> gelu -> linear 3
"""


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_merges_and_normalised_inputs_train_as_the_numpy_module_does(dtype):
    assert_trains_alike(compile_text(MERGES), dtype=dtype)


# ---------------------------------------------------------------- every layer


def kernels_of(layer, cupy):
    """The kernels of a layer as they are emitted, run."""
    texts = kernel_texts([layer.forward, layer.backward], cupy_text)
    imports = "".join(f"import {name}\n" for name in imported_modules(texts))
    space = {}
    exec(f"{imports}import cupy as cp\nimport numpy as np\n\n" + "\n\n".join(texts), space)
    return space[layer.forward.__name__], space[layer.backward.__name__]


INPUTS = ["4x7x9", "5x8", "12", "6x9 map", "2x8x6", "8x4x3x5", "6x5x1", "2x1 map", "5 of 7"]


def networks(layer, combined):
    """(spec line, input, network of one layer): each line on a few of the inputs that it takes, by turns."""
    for number, line in enumerate(lines(layer, combined)):
        taken = 0
        for shift in range(len(INPUTS)):
            shape = INPUTS[(number + shift) % len(INPUTS)]
            try:
                behind = f"it: {layer.ties} 4\n{line} @it" if layer.ties else line
                net = compile_text(f"input {shape}\n{behind}\ntrain {{ loss mse }}")
            except SpecError:
                continue
            yield line, shape, net
            taken += 1
            if taken == 2:
                break


@in_part("combined", 4, 60, "layers for CuPy with many combinations of their attributes")
@pytest.mark.parametrize("name", SINGLE)
def test_a_layer_computes_as_in_numpy_over_every_attribute(name, combined, cupy):
    kernels, count = {}, 0
    for line, shape, net in networks(layer_of(name), combined):
        node, network = net.graph.nodes[-1], net.build(seed=0)
        layer = layer_at(node)
        if layer.forward not in kernels:
            kernels[layer.forward] = kernels_of(layer, cupy)
        forward, backward = kernels[layer.forward]
        (takes,) = net.graph.input_types(node)
        x = spread(np.random.default_rng(0), (3, *takes.sizes), "float32")
        x = np.random.default_rng(0).integers(0, takes.limit, x.shape) if takes.is_ids else x
        for training in (True, False):
            given = {"param": network.layers[-1].params, "buffer": network.layers[-1].buffers}
            seed = {"training": training, "rng": np.random.default_rng(1)}
            expected = call(layer.forward, node, x, given, seed, np.copy)
            seed["rng"] = np.random.default_rng(1)
            y, saved = call(forward, node, cupy.asarray(x), given, seed, cupy.asarray)
            note = f"{line} on {shape}, training {training}"
            assert_same_array(fetched(y), expected[0], note)
            dy = spread(np.random.default_rng(2), expected[0].shape, "float32")
            wanted = layer.backward(dy, expected[1])
            assert_same(fetched(backward(cupy.asarray(dy), saved)), wanted)
        count += 1
    assert count


def call(forward, node, x, given, seed, moved):
    """A forward kernel with what its node has; moved: makes the arrays of params and buffers."""
    values = {}
    for name, source in forward_arguments(node):
        if source in given:
            specs = node.params if source == "param" else node.buffers
            full = next(spec.name for spec in specs if spec.argument == name)
            values[name] = moved(given[source][full])
        else:
            values[name] = None if source == "absent" else seed[name] if name in seed else node.attrs[name]
    return forward(x, **values)


# ---------------------------------------------------------------- what users call

NET = compile_text(
    "input 1x8x8\nconv 4 k3 -> bn -> relu -> pool 2 -> flatten -> dropout 0.2 -> linear 3\ntrain { opt sgd lr=0.05 }"
)


def data(n=20):
    rng = np.random.default_rng(5)
    return rng.integers(0, 256, (n, 1, 8, 8), np.uint8), rng.integers(0, 3, n)


@pytest.mark.parametrize("place", ["host", "gpu"])
def test_fit_score_predict_and_outputs_take_arrays_of_both_and_give_numpys(place, cupy):
    ours, theirs = pair(NET)
    x, y = data()
    given = (cupy.asarray(x), cupy.asarray(y)) if place == "gpu" else (x, y)
    # float32: the mean of an epoch's losses is added up in another order
    np.testing.assert_allclose(theirs.fit(*given, epochs=3, batch=6), ours.fit(x, y, epochs=3, batch=6), rtol=1e-6)
    assert_same(theirs.predict(given[0], batch=7), ours.predict(x, batch=7))
    assert_same(theirs.outputs(given[0], batch=7), ours.outputs(x, batch=7))
    assert theirs.score(*given) == ours.score(x, y)
    assert type(theirs.score(*given)) is float and type(theirs.outputs(x)) is np.ndarray


def test_named_networks_fit_and_predict(cupy):
    net = two_inputs()
    ours, theirs = pair(net)
    x, y = random_batch(net, 9, 0)
    given = {name: cupy.asarray(array) for name, array in zip(("image", "table"), x, strict=True)}
    np.testing.assert_allclose(theirs.fit(given, y, 2, 4), ours.fit(x, y, 2, 4), rtol=1e-6)  # as above
    assert_same(theirs.predict(x), ours.predict(x))
    assert_same(theirs.outputs(*x, batch=4), ours.outputs(*x, batch=4))
    heads = two_heads()
    ours, theirs = pair(heads)
    x, _ = random_batch(heads, 5, 0)
    assert_same(theirs.outputs(x, batch=2), ours.outputs(x, batch=2))


def test_what_is_no_input_is_refused_in_the_same_words():
    for model in pair(NET):
        with pytest.raises(ValueError, match=r"the network takes \(N, 1, 8, 8\), not \(2, 8, 8\)"):
            model.forward(np.zeros((2, 8, 8)))
        with pytest.raises(ValueError, match="labels must lie in 0 to 2, these are 0 to 3"):
            model.train_step(np.zeros((2, 1, 8, 8)), np.array([0, 3]))


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_a_checkpoint_is_the_numpy_modules_byte_for_byte(tmp_path, suffix):
    ours, theirs = pair(NET)
    ours.save(tmp_path / f"ours.{suffix}")
    theirs.save(tmp_path / f"theirs.{suffix}")
    if suffix == "safetensors":
        assert (tmp_path / "ours.safetensors").read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()
    other, another = pair(NET, seed=8)
    other.load(tmp_path / f"theirs.{suffix}")
    another.load(tmp_path / f"ours.{suffix}")
    assert_same(other.params, ours.params)
    assert_same(fetched(another.params), ours.params)
    assert_same(fetched(another.buffers), ours.buffers)


@pytest.mark.parametrize(
    "end, loss",
    [
        ("linear 3", "ce"),
        ("linear 3 -> softmax", "ce"),
        ("linear 1", "bce"),
        ("linear 1 -> sigmoid", "bce"),
        ("linear 3", "mse"),
    ],
)
def test_a_module_answers_for_samples_in_files_as_the_numpy_module_does(tmp_path, monkeypatch, capsys, end, loss):
    net = compile_text(f"input 2\n{end}\ntrain {{ loss {loss} }}", "small")
    monkeypatch.chdir(tmp_path)
    net.numpy_model(seed=1).save("w.safetensors")
    np.save("x.npy", np.random.default_rng(0).standard_normal((4, 2)))
    shown = [script(net, target, monkeypatch, capsys, "--weights", "w.safetensors", "x.npy") for target in BOTH]
    assert shown[0].count("x.npy") == 4 and within_rounding(shown[0]) == within_rounding(shown[1])


def within_rounding(text):
    """The text; on a GPU its fractions with four digits, without blanks."""
    if not on_a_gpu():
        return text
    return re.sub(r"\s", "", re.sub(r"\d+\.\d*", lambda found: f"{float(found[0]):.4f}", text))


BOTH = ("numpy", "cupy")


def test_a_module_that_is_run_trains_as_the_numpy_module_does(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shown = [script(NET, target, monkeypatch, capsys) for target in BOTH]
    assert shown[0].count("loss") == 5 and shown[0] == shown[1]


def script(net, target, monkeypatch, capsys, *words):
    """What `python MODULE.py WORDS` prints."""
    with open("m.py", "w") as file:
        file.write(net.text(target))
    monkeypatch.setattr(sys, "argv", ["m.py", *words])
    try:
        runpy.run_path("m.py", run_name="__main__")
    except SystemExit as ended:
        assert not ended.code
    return capsys.readouterr().out


@pytest.mark.usefixtures("stand_in")
def test_a_training_step_waits_for_the_gpu_as_often_however_deep_the_network_is():
    """Twice to look at the labels, and where the loss takes the logits at them; clipping once more."""
    counts = {}
    for depth in (1, 5):
        for clip in ("", ", clip 1"):
            net = compile_text(
                f"input 4\n{depth} * {{ linear 8 -> bn -> relu }} -> linear 3\ntrain {{ loss ce{clip} }}"
            )
            _, model = pair(net)
            x, y = random_batch(net, 4, 0)
            fake_cupy.waits.clear()
            model.train_step(x, y)
            counts[depth, clip] = list(fake_cupy.waits)
    assert counts[1, ""] == counts[5, ""] == ["number", "number", "mask"]
    assert counts[1, ", clip 1"] == counts[5, ", clip 1"] == ["number", "number", "mask", "tolist"]


@pytest.mark.usefixtures("stand_in")
def test_without_cupy_a_module_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ImportError, match="cupy"):
        NET.module("cupy")


# ---------------------------------------------------------------- faults that the stand-in must see


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    "line, fault, error",
    [
        ("cp.maximum(x, 0)", "cp.maximum(x, np.zeros(()))", "takes no ndarray for x2"),
        ("cp.maximum(x, 0)", "cp.maximum(x, [0])", "takes no list for x2"),
        ("cp.maximum(x, 0)", "np.maximum(x, 0)", "NumPy's maximum of a CuPy array"),
        ("cp.maximum(x, 0)", "cp.fmax.reduce(x)", "has no attribute"),
        ("cp.maximum(x, 0)", "cp.vecdot(x, x)", "has no attribute 'vecdot'"),
        ("cp.maximum(x, 0)", "cp.maximum(x, 0, where=x > 0)", "unexpected keyword argument 'where'"),
        ("cp.maximum(x, 0)", "x * np.ones(x.shape)", "Unsupported type"),
        ("cp.maximum(x, 0)", "np.ones(x.shape) * x", "NumPy's multiply of a CuPy array"),
        ("cp.maximum(x, 0)", "x + [1.0] * 8", "Unsupported type"),
        ("cp.maximum(x, 0)", "x[np.arange(4)]", "Unsupported index"),
        ("cp.maximum(x, 0)", "cp.asarray(np.asarray(x))", "Implicit conversion to a NumPy array is not allowed"),
        ("cp.maximum(x, 0)", "x[: x.argmax()]", "a slice of arrays"),
        ("cp.maximum(x, 0)", "x.clip(range(x.max()))", "cannot be interpreted as an integer"),
        ("cp.maximum(x, 0)", "x.choose(np.zeros(3))", "takes no ndarray for choices"),
        ("cp.maximum(x, 0)", "x.searchsorted(f'{x.max():.3f}')", "unsupported format string"),
        ("cp.asarray(he(", "(he(", "takes no ndarray for args"),
    ],
)
def test_a_planted_fault_is_seen(line, fault, error):
    net = compile_text("input 4\nlinear 8 -> relu -> linear 3", "small")
    text = net.text("cupy")
    assert line in text
    model = run_module(text.replace(line, fault), "planted").Model(seed=0)
    x, y = random_batch(net, 4, 0)
    with pytest.raises((TypeError, AttributeError, IndexError, AssertionError), match=error):
        fetched(model.train_step(x, y))


@pytest.mark.usefixtures("stand_in")
def test_the_text_that_was_refused_before_is_seen(cupy):
    """`cat` gave a list to `cumsum`."""
    with pytest.raises(TypeError, match="CuPy's cumsum takes no list for a"):
        cupy.cumsum([1, 2])


@pytest.mark.usefixtures("stand_in")
def test_the_stand_in_is_no_numpy_array(cupy):
    x = cupy.zeros((2, 3), cupy.float32)
    assert not isinstance(x, np.ndarray) and isinstance(x.sum(), cupy.ndarray) and isinstance(x[0, 0], cupy.ndarray)
    assert (x.sum().shape, float(x.sum()), x.dtype) == ((), 0.0, np.float32)
    with pytest.raises(ValueError, match="more than one element"):
        bool(x)
    with pytest.raises(AttributeError):
        _ = x.ctypes
    assert isinstance(cupy, types.ModuleType) and not hasattr(cupy, "errstate")
