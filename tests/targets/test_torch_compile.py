"""`--compile`: the module is one graph, made anew for no step, and computes the same."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from netdsl.ground.diagnostics import UserError
from netdsl.pipeline import compile_text
from netdsl.targets.contract import Device, Workers
from netdsl.targets.torch import devices, model
from netdsl.training.runs.engine import Engine
from netdsl.verify.batches import random_batch

DRAWN = """input 1x8x8
conv 4 k3 p1 nobias -> bn -> relu -> dropout2d 0.2 -> pool 2
flatten -> linear 12 -> relu -> dropout 0.3 -> droppath 0.2 -> linear 3
train { opt adam }
"""


@pytest.fixture
def traced(monkeypatch):
    """Every graph that is made, where a break of one is an error; none is translated."""
    made = []

    def backend(graph, example):
        made.append(graph)
        return graph

    compiled = torch.compile
    monkeypatch.setattr(model.torch, "compile", lambda run: compiled(run, backend=backend, fullgraph=True))
    monkeypatch.setattr(devices, "check_compiler", lambda device: None)
    torch._dynamo.reset()
    return made


def twins(text, **how):
    net = compile_text(text, "small")
    ways = Device("cpu", is_compiled=True, **how), Device("cpu", **how)
    return net, [net.model("torch", seed=3, workers=Workers(1, "threads", way)) for way in ways]


def learn(net, models, n, number):
    x, y = random_batch(net, n, number)
    steps = []
    for one in models:
        one.rng = np.random.default_rng([7, number])
        steps.append(one.learn(x, y, 0.01))
    np.testing.assert_allclose(steps[0].loss, steps[1].loss, rtol=1e-5)  # the same operations, called otherwise
    np.testing.assert_allclose(steps[0].logits, steps[1].logits, rtol=1e-4, atol=1e-5)


def test_it_is_one_graph_for_training_and_one_for_all_sizes_of_a_batch_and_so_at_rest(traced):
    net, models = twins(DRAWN)
    for number in range(4):
        learn(net, models, 6, number)
    assert len(traced) == 1, "what is drawn for a step makes no graph anew"
    for number, n in enumerate((5, 6, 4, 7), start=4):
        learn(net, models, n, number)
    assert len(traced) == 2, "the last batch of an epoch is smaller"
    for n in (6, 6, 3, 5):
        x, _ = random_batch(net, n, 0)
        np.testing.assert_allclose(models[0].logits(x), models[1].logits(x), rtol=1e-5, atol=1e-6)
    assert len(traced) <= 4


def test_it_may_be_in_16_bits_as_well(traced):
    net, models = twins(DRAWN, amp="bfloat16")
    for number in range(3):
        learn(net, models, 6, number)
    assert len(traced) == 1


def test_where_nothing_can_be_compiled_a_line_says_so(monkeypatch):
    def fails(run):
        raise RuntimeError("\nInvalidCxxCompiler: No working C++ compiler\nset TORCHDYNAMO_VERBOSE=1")

    monkeypatch.setattr(devices.torch, "compile", fails)
    devices.check_compiler.cache_clear()
    with pytest.raises(UserError) as refused:
        Engine("torch", device=Device("cpu", is_compiled=True)).check()
    message = "torch.compile cannot compile for `cpu` here: InvalidCxxCompiler: No working C++ compiler"
    assert refused.value.message == message
    assert refused.value.help.startswith("leave `--compile` out") and "`--backend numpy` does" in refused.value.help


@pytest.mark.slow("a missing compiler")
def test_where_no_compiler_is_there_a_line_says_so(tmp_path):
    code = """import torch
from netdsl.ground.diagnostics import UserError
from netdsl.training.runs.engine import Engine, Device
try:
    Engine("torch", device=Device("cpu", is_compiled=True)).check()
except UserError as error:
    print(error.message)
    print(error.help)
"""
    environment = {**os.environ, "CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    made = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    message, advice = made.stdout.splitlines()
    assert message.startswith("torch.compile cannot compile for `cpu` here: InvalidCxxCompiler")
    assert advice.startswith("leave `--compile` out") and "`--backend numpy` does without" in advice
