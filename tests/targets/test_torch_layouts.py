"""PyTorch 2.13 computes a wrong gradient of a norm, for a batch of one, where the one it is given lies transposed."""

import numpy as np
import pytest

from netdsl.analysis.layouts import meets_transposed
from netdsl.layers import layer_table
from netdsl.pipeline import Net, compile_text
from netdsl.verify.agreement import verify
from netdsl.verify.batches import random_batch
from netdsl.verify.runs import numpy_run
from netdsl.verify.torch_runs import torch_run

torch = pytest.importorskip("torch")

HELPER = "    def forward(self, x):\n        return super().forward(x).flatten(1).view_as(x)\n"
BEHIND = [
    "tokens",
    "tokens -> cls -> ln",
    "tokens -> mha 2",
    "ln",
    "rms",
    "relu6 -> tokens",
    "silu -> ln",
    "dropout 0.5 -> tokens",
    "add { id | relu } -> tokens",
    "mul { id | gap } -> tokens",
    "cat { id | id } -> tokens",
    "pad 1 -> tokens",
    "bn -> tokens",
    "lrn 3 -> tokens",
    "pool 2 -> rms -> conv 4",
]
APART = [
    "gap",
    "flatten",
    "conv 4 k3 p1 -> tokens",
    "convt 4 k2 s2 -> ln",
    "conv 6 k1 g6 -> tokens",
    "shuffle 3",
    "relu",
]


def torch_error(text):
    """The largest difference between a network's gradients and PyTorch's for a batch of one."""
    net = compile_text(f"{text}\ntrain {{ loss mse }}")
    x, y = (array.astype(np.float64) for array in random_batch(net, 1, 0))
    network = net.build(0, "float64")
    found = numpy_run(network, x, y, 0)
    expected = torch_run(net, network, x, y, 0)
    return net, max(float(np.abs(found[name] - array).max()) for name, array in expected.items())


@pytest.mark.parametrize("norm", ["bn", "inorm", "gn 2", "bn noaffine"])
@pytest.mark.parametrize("behind", [*BEHIND, *APART])
def test_a_norm_before_what_transposes_has_the_right_gradient_for_a_batch_of_one(norm, behind):
    net, error = torch_error(f"input 6x4x6\n{norm} -> {behind}")
    assert error < 1e-10
    assert (
        (HELPER in net.torch_source())
        == meets_transposed(net.graph)
        == (behind in BEHIND and (norm != "gn 2" or behind == "bn -> tokens"))
    )


@pytest.mark.parametrize("norm", ["bn", "inorm"])
@pytest.mark.parametrize("behind", [*BEHIND, *APART])
def test_the_gradient_of_a_volume_is_right_as_well_and_that_of_a_signal_needs_no_help(norm, behind):
    """PyTorch 2.13 computes the same wrong gradient for volumes, and a right one for signals."""
    net, error = torch_error(f"input 6x2x3x4\n{norm} -> {behind}")
    assert error < 1e-10
    assert (HELPER in net.torch_source()) == (behind in BEHIND)
    net, error = torch_error(f"input 6x8 map\n{norm} -> {behind}")
    assert error < 1e-10
    assert HELPER not in net.torch_source()


def test_every_layer_may_stand_behind_a_norm():
    """Layers to come are tested by being there: as the last one, and before tokens."""
    count = 0
    for name, layer in layer_table().items():
        if layer.num_inputs != 1:
            continue
        for behind in (name, f"{name} 2", f"{name} 3 p1"):
            for end in ("", " -> tokens"):
                try:
                    _, error = torch_error(f"input 6x4x6\nbn -> {behind}{end}")
                except Exception as problem:
                    assert type(problem).__name__ == "SpecError", f"{behind}{end}: {problem}"
                    continue
                assert error < 1e-7, f"{behind}{end}: {error}"
                count += 1
    assert count > 60


def test_verify_with_a_batch_of_one_finds_it(monkeypatch):
    net = compile_text("input 5x5x5\nbn -> tokens -> flatten -> linear 3\n")
    assert verify(net, batch=1).ok
    assert HELPER in net.torch_source()
    text = net.torch_source().replace(HELPER, "    pass\n")
    own = Net.text
    monkeypatch.setattr(Net, "text", lambda self, name, level=0: text if name == "torch" else own(self, name, level))
    failed = [check.name for check in verify(net, batch=1).checks if not check.ok]
    assert failed and all("PyTorch" in name and "gradient" in name or "steps" in name for name in failed), failed


def test_a_block_of_the_helpers_name_is_another_class():
    net = compile_text(
        "block BatchNorm2d() { bn -> relu }\ninput 3x4x4\nBatchNorm2d() -> tokens -> flatten -> linear 2\n"
    )
    assert verify(net, batch=1).ok
