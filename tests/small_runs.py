"""A small network with all that a recipe can have, data for it, and what computes it: runs of a second."""

import functools
import itertools
from dataclasses import replace

import numpy as np

from netdsl.pipeline import compile_text
from netdsl.targets.contract import Device
from netdsl.training.data.dataset import Dataset
from netdsl.training.loop.watch import Progress, Watch
from netdsl.training.runs.checkpoint import checkpoint_path
from netdsl.training.runs.engine import Engine
from netdsl.training.runs.history import read_history

SPEC = """input 1x8x8
conv 4 k3 p1 nobias -> bn -> relu -> dropout2d 0.2 -> pool 2
flatten -> linear 8 -> relu -> dropout 0.3 -> linear 3
"""
RECIPE = {
    "epochs": 3,
    "batch": 16,
    "schedule": "onecycle",
    "augment": {"shift": 1, "rotate": 10.0, "flip": True, "cutout": 2, "mixup": 0.2},
    "ema": 0.9,
    "clip": 1.0,
    "loss_options": {"smooth": 0.1},
    "patience": 2,
}
STEPS = 12  # 4 an epoch
OPTIMIZERS = {
    "sgd": {"lr": 0.1},
    "momentum": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4},
    "adam": {"lr": 0.01},
    "adamw": {"lr": 0.01, "weight_decay": 0.1},
    "rmsprop": {"lr": 0.01, "momentum": 0.5},
    "adagrad": {"lr": 0.1},
}
ENGINES = {
    "interp": Engine("interp", 0, threads=1),
    "textbook": Engine("numpy", 0, threads=1),
    "fast": Engine("numpy", 2, "threads", 1),
    "threads": Engine("numpy", 2, "threads", 2),
    "processes": Engine("numpy", 2, "processes", 2),
    "torch": Engine("torch", 0, threads=1, device=Device("cpu")),
    "float16": Engine("torch", 0, threads=1, device=Device("cpu", "float16")),
}
RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (90, 1, 8, 8), dtype=np.uint8)
Y = np.arange(90) % 3
DATA = Dataset("made", X[:70], Y[:70], X[70:], Y[70:], ("a", "b", "c"), (0.5,), (0.25,))


TINY = compile_text(SPEC, "tiny")


def net_of(optimizer="adam", **changes):
    return plain_net(optimizer) if not changes else changed_net(optimizer, **changes)


@functools.cache
def plain_net(optimizer):
    return changed_net(optimizer)


def changed_net(optimizer, **changes):
    name = "sgd" if optimizer == "momentum" else optimizer
    recipe = replace(TINY.recipe, optimizer=name, options=OPTIMIZERS[optimizer], **{**RECIPE, **changes})
    return TINY.with_recipe(recipe)


def stop_after(steps):
    """Asks for a stop once so many steps are made."""
    made = itertools.count(1)
    asked = []

    def on_progress(event):
        if isinstance(event, Progress) and next(made) == steps:
            asked.append(True)

    return Watch(on_progress, is_stopped=lambda: bool(asked))


def kept(run):
    """Everything of a run that is not a time: the bytes of its checkpoints, the rows of its metrics."""
    history = [replace(row, seconds=0, samples_per_second=0) for row in read_history(run)]
    return history, *(checkpoint_path(run, which).read_bytes() for which in ("last", "best"))
