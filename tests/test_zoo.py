"""The published networks of specs/: counts, names, order and outputs of torchvision, and the same numbers everywhere.

tests/zoo holds facts about torchvision 0.28's networks: parameter counts, keys and shapes of state_dict in order, and
logits (float64, evaluation) for weights and an input that `noise` gives.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from netdsl.pipeline import compile_file, compile_text, run_module
from netdsl.targets.torch.running import torch_model
from netdsl.verify.agreement import bitwise_checks, fast_checks, torch_checks
from netdsl.verify.batches import random_batch

ROOT = Path(__file__).resolve().parents[1]
FACTS = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "tests/zoo").glob("*.json"))}
OTHERS = {"unet": 31_030_658, "resnet20": 272_474, "cifar100_resnet20": 278_324}
DEEP = ("densenet121", "googlenet")
LARGE = ("alexnet", "resnet50", "vgg16", "vit_b_16")
PIECE = 2**16  # numbers made at a time
SMALL_INPUTS = {"unet": "1x32x32", "resnet20": "3x32x32", "cifar100_resnet20": "3x32x32"}  # the others: 3x64x64
REDUCED = {  # what is smaller beside the input, so that weights do not take longer than what is done with them
    "alexnet": {"linear 4096": "linear 256"},
    "unet": {"unet(64, 4)": "unet(16, 4)"},
    "vgg16": {"linear 4096": "linear 256"},
    "vit_b_16": {"768": "192", "3072": "768"},
}


def named(names, slow):
    return [pytest.param(n, marks=pytest.mark.slow("large published networks")) if n in slow else n for n in names]


def source(name):
    return (ROOT / f"specs/{name}.net").read_text(encoding="utf-8")


def fill(array, number, factor=1.0, offset=0.0):
    """offset + factor * numbers from -1 to 1, rounded to float32: a formula gives them, so nothing need be stored."""
    values = array.reshape(-1)  # pieces, since a weight of vgg16 has 100 million values
    assert np.shares_memory(values, array)
    for start in range(0, values.size, PIECE):
        waves = np.sin(12.9898 * np.arange(start, min(start + PIECE, values.size)) + 78.233 * number) * 43758.5453
        noise = 2 * (waves - np.floor(waves)) - 1
        values[start : start + PIECE] = (offset + factor * noise).astype(np.float32)


def factor_and_offset(name, shape):
    if name.endswith("running_var"):
        return 0.5, 1.0
    if name.endswith(("running_mean", "bias")):
        return 0.1, 0.0
    return (0.1, 1.0) if len(shape) == 1 else (np.sqrt(6 / np.prod(shape[1:])), 0.0)


def model_of_formulas(net, tensors):
    """The NumPy module in float64 with weights by `fill`; none are drawn that would only be written over."""
    module = run_module(net.numpy_source(), net.name)
    module.he = lambda rng, shape, fan_in, fan_out, dtype: np.empty(shape, dtype)
    model = module.Model(0, "float64")
    arrays = model.params | model.buffers
    for number, (name, shape) in enumerate(tensors):
        assert arrays[name].shape == tuple(shape)
        fill(arrays[name], number, *factor_and_offset(name, shape))
    return model


def at_reduced_size(name):
    """The same network on a smaller input, where whatever depends on the size may be of another size too."""
    text = re.sub(r"^expect params.*\n", "", source(name), flags=re.MULTILINE)
    text = re.sub(r"^input .*", f"input {SMALL_INPUTS.get(name, '3x64x64')}", text, flags=re.MULTILINE)
    for given, smaller in REDUCED.get(name, {}).items():
        assert given in text
        text = text.replace(given, smaller)
    return compile_text(text, name)


@pytest.mark.parametrize("name", FACTS)
def test_names_order_and_shapes_are_those_of_torchvision(name):
    graph = compile_file(ROOT / f"specs/{name}.net").graph
    params, buffers = dict(graph.param_specs()), dict(graph.buffer_specs())
    expected = [(key, tuple(shape)) for key, shape in FACTS[name]["tensors"]]
    assert [(key, params[key].shape) for key in params] == [item for item in expected if item[0] in params]
    assert [(key, buffers[key].shape) for key in buffers] == [item for item in expected if item[0] in buffers]
    assert len(params) + len(buffers) == len(expected)
    assert graph.num_params == FACTS[name]["params"]


@pytest.mark.parametrize("name", [*FACTS, *OTHERS])
def test_spec_is_short_and_states_its_count(name):
    lines = [line for line in source(name).split("train {")[0].splitlines() if line.strip()]
    assert len(lines) <= (14 if name == "resnet50" else 20)
    count = FACTS[name]["params"] if name in FACTS else OTHERS[name]
    assert f"expect params == {count:_}" in lines


@pytest.mark.parametrize("name", named(FACTS, LARGE))
def test_logits_are_those_of_torchvision(name):
    """NumPy and PyTorch module, float64, within 1e-8 of the largest logit."""
    pytest.importorskip("torch")
    import torch

    facts = FACTS[name]
    net = compile_file(ROOT / f"specs/{name}.net")
    model = model_of_formulas(net, facts["tensors"])
    x = np.empty((1, 3, 224, 224))
    fill(x, 1000)
    logits = model.forward(x)
    module = torch_model(net, model).eval()
    with torch.no_grad():
        others = module(torch.from_numpy(x)).numpy()
    scale = facts["logits_max_abs"]
    for found in (logits, others):
        np.testing.assert_allclose(found[0, :16], facts["logits_first_16"], rtol=0, atol=1e-8 * scale)
        assert found.argmax() == facts["logits_argmax"]
    keys = [key for key in module.state_dict() if not key.endswith("num_batches_tracked")]
    assert keys == [key for key, _ in facts["tensors"]]


def check_everywhere(net, dtypes, fast, seed=1):
    """fast: for which of the dtypes -O2 is compared too."""
    x, y = random_batch(net, 2, seed)
    checks = list(bitwise_checks(net, x, y, seed, dtypes))
    for dtype in dtypes:
        checks += torch_checks(net, x, y, seed, dtype)
        checks += fast_checks(net, x, y, seed, dtype) if dtype in fast else []
    assert not [check for check in checks if not check.ok]
    assert {"gradient of the input"} <= {check.name.split(": ")[1] for check in checks}


@pytest.mark.parametrize("name", named([*FACTS, *OTHERS], (*LARGE, *DEEP, "resnet18", "mobilenet_v2", "unet")))
def test_forward_and_every_gradient_agree_at_reduced_size(name):
    pytest.importorskip("torch")
    dtypes = ("float64",) if name in LARGE else ("float64", "float32")
    fast = () if name in LARGE and name != "resnet50" else dtypes
    check_everywhere(at_reduced_size(name), dtypes, fast)


@pytest.mark.slow("resnet18 at full size")
def test_forward_and_every_gradient_of_resnet18_agree_at_full_size():
    pytest.importorskip("torch")
    check_everywhere(compile_file(ROOT / "specs/resnet18.net"), ("float64", "float32"), ("float32",), seed=2)


def flops_of_pytorch(net):
    """Floating-point operations of the emitted module, counted by PyTorch; meta tensors have shapes and no numbers."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        run_module(net.torch_source(), "module").Model().train()(torch.empty(1, *net.graph.input_shape))
    return counter.get_total_flops()


@pytest.mark.parametrize("name", [*FACTS, *OTHERS])
def test_macs_are_half_the_flops_that_pytorch_counts(name):
    pytest.importorskip("torch")
    net = compile_file(ROOT / f"specs/{name}.net")
    assert 2 * net.graph.num_macs == flops_of_pytorch(net)


def test_macs_of_some_are_what_hand_counts_give():
    tokens, features = 197, 768
    layer = 4 * tokens * features**2 + 2 * tokens**2 * features + 2 * tokens * features * 3072
    vit = 196 * features * 3 * 16 * 16 + 12 * layer + features * 1000
    widths = [16] + 6 * [16] + 6 * [32] + 6 * [64]  # ResNet-20: the 3x3 convolutions
    sizes = [32] + 6 * [32] + 6 * [16] + 6 * [8]
    before = [3, *widths[:-1]]
    resnet20 = sum(9 * a * b * s * s for a, b, s in zip(before, widths, sizes, strict=True))
    resnet20 += 16 * 32 * 16**2 + 32 * 64 * 8**2 + 64 * 10  # the projections and the end
    lenet = 32 * 28 * 28 * 25 + 64 * 14 * 14 * 32 * 25 + 64 * 49 * 128 + 1280
    for name, macs in (("vit_b_16", vit), ("resnet20", resnet20), ("lenet", lenet)):
        assert compile_file(ROOT / f"specs/{name}.net").graph.num_macs == macs
