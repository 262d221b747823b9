"""A layer is added by adding one file: the whole compiler then knows it."""

import importlib.util
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import netdsl
from netdsl.layers import register, unregister
from netdsl.pipeline import run_module
from netdsl.verify.agreement import verify

TOY = '''"""`sine`: amplitude * sin(weight * x), a toy layer of one file."""

import numpy as np

from netdsl.graph.ir import ParamSpec
from netdsl.layers.contract import Attr, LayerDef, call_text
from netdsl.layers.rules.places import same_place


def sine_params(attrs, x):
    return (ParamSpec("weight", (x.channels,), 0.5),)


def sine_forward(x, weight, amplitude=1.0):
    """y = amplitude * sin(weight * x), weight (C,)."""
    angle = weight.reshape(-1, *[1] * (x.ndim - 2)) * x
    return amplitude * np.sin(angle), (x, weight, angle, amplitude)


def sine_backward(dy, saved):
    """dx = dy * amplitude * cos(angle) * weight; dweight sums dy * amplitude * cos(angle) * x."""
    x, weight, angle, amplitude = saved
    slope = dy * amplitude * np.cos(angle)
    axes = tuple(axis for axis in range(x.ndim) if axis != 1)
    return slope * weight.reshape(-1, *[1] * (x.ndim - 2)), {"weight": (slope * x).sum(axis=axes)}


def sine_torch(attrs, x):
    return call_text("Sine", x.channels, attrs["amplitude"])


LAYER = LayerDef(
    name="sine",
    summary="amplitude * sin(weight * x)",
    attrs=(Attr("amplitude", "float", 1.0, flag="a", positional=True),),
    params=sine_params,
    forward=sine_forward,
    backward=sine_backward,
    reads=same_place,
    torch=sine_torch,
)
'''


@pytest.fixture
def sine(tmp_path):
    path = tmp_path / "sine.py"
    path.write_text(TOY)
    spec = importlib.util.spec_from_file_location("sine", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["sine"] = module
    spec.loader.exec_module(module)
    register(module.LAYER)
    yield module.LAYER
    unregister("sine")
    del sys.modules["sine"]


@pytest.fixture
def net(sine):
    return netdsl.compile_text("input 2x4x4\nconv 3 k3 -> sine 2 -> flatten -> linear 4\n", "toy")


def test_the_summary_counts_it(net):
    rows = net.summary().as_dict()["layers"]
    assert rows[1] == {"name": "sine1", "op": "sine", "in": [3, 2, 2], "out": [3, 2, 2], "params": 3, "macs": 0}


def test_layer_objects_and_the_numpy_module_run_it_with_the_same_bytes(net):
    x = np.random.default_rng(0).standard_normal((5, 2, 4, 4))
    labels = np.arange(5) % 4
    first, second = net.build(seed=0), net.numpy_model(seed=0)
    assert first.forward(x).tobytes() == second.forward(x).tobytes()
    found, expected = second.loss_and_gradients(x, labels)[1], first.loss_and_gradients(x, labels)[1]
    assert all(found[name].tobytes() == expected[name].tobytes() for name in first.params)


@pytest.mark.parametrize("given", ["2x9 map", "2x3x4x4"])
def test_it_is_a_layer_of_signals_and_of_volumes(sine, given):
    net = netdsl.compile_text(f"input {given}\nconv 3 k3 -> sine 2 -> flatten -> linear 4\n", "toy")
    x, labels = np.random.default_rng(0).standard_normal((5, *net.graph.input_shape)), np.arange(5) % 4
    found, expected = (
        model.loss_and_gradients(x, labels)[1]["sine1.weight"] for model in (net.build(seed=0), net.numpy_model(seed=0))
    )
    assert found.shape == (3,) and found.all() and found.tobytes() == expected.tobytes()


def test_the_numpy_module_with_it_stands_alone(net, tmp_path):
    (tmp_path / "toy_numpy.py").write_text(net.numpy_source())
    done = subprocess.run([sys.executable, "-I", "toy_numpy.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "def sine_forward(" in net.numpy_source()


def test_the_torch_module_constructs_it(net):
    assert "self.sine1 = Sine(3, 2.0)" in net.torch_source()


def test_verify_proves_it_right(net, monkeypatch):
    torch = pytest.importorskip("torch")

    class Sine(torch.nn.Module):
        def __init__(self, channels, amplitude):
            super().__init__()
            self.amplitude = amplitude
            self.weight = torch.nn.Parameter(torch.full((channels,), 0.5))

        def forward(self, x):
            return self.amplitude * torch.sin(self.weight[:, None, None] * x)

    def with_sine(text, name):
        return run_module(
            text.replace("INPUT_SHAPE =", "from test_toy_sine import Sine\nINPUT_SHAPE =", 1)
            if "nn.Module" in text
            else text,
            name,
        )

    monkeypatch.setitem(sys.modules, "test_toy_sine", type(sys)("test_toy_sine"))
    sys.modules["test_toy_sine"].Sine = Sine
    monkeypatch.setattr("netdsl.pipeline.run_module", with_sine)
    report = verify(net)
    assert report.ok, str(report)
    assert any("PyTorch, float64: gradient of sine1.weight" in check.name for check in report.checks)


def test_verify_finds_a_wrong_backward(net, sine, monkeypatch):
    module = sys.modules["sine"]
    right = module.sine_backward
    wrong = replace(sine, backward=lambda dy, saved: (1.001 * right(dy, saved)[0], right(dy, saved)[1]))
    monkeypatch.setattr(
        "netdsl.targets.live.interpreter.layer_at",
        lambda node: wrong if node.op == "sine" else netdsl.layers.layer_at(node),
    )
    monkeypatch.setattr("netdsl.verify.agreement.torch_checks", lambda *args: [])
    monkeypatch.setattr("netdsl.verify.agreement.optimizer_steps", lambda *args: [])
    failed = [check.name for check in verify(net).checks if not check.ok]
    assert "gradient check by central differences, float64" in failed
    assert "module = layers, float64: gradient of the input" in failed


def test_a_misspelt_attribute_of_it_is_found(sine):
    with pytest.raises(netdsl.SpecError, match="did you mean `amplitude=...`"):
        netdsl.compile_text("input 4\nsine amplitud=2\n")
