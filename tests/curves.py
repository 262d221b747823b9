"""Losses of a training, step by step, under one backend or another, from the same seed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from netdsl.graph.recipe import DATASETS
from netdsl.pipeline import Net, compile_file
from netdsl.targets.contract import Device, Workers
from netdsl.training.data.dataset import Dataset
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.feed import Feed
from netdsl.training.data.normalization import for_network, with_constants
from netdsl.training.data.wanted import wanted_by
from netdsl.training.runs.average import WeightAverage
from netdsl.training.scores.evaluation import fitted
from netdsl.training.scores.fitting import adapted

STEPS = 100
AT_HAND = ("mnist-mini", "spiral", "shapes", "mnist1d", "classics")  # data that need no file of the user's


@dataclass(frozen=True)
class Way:
    """What computes: a target at a level, in a dtype."""

    target: str
    level: int = 0
    dtype: str = "float32"

    @property
    def title(self) -> str:
        named = f"NumPy -O{self.level}" if self.target == "numpy" else "PyTorch"
        return named if self.dtype == "float32" else f"{named}, {self.dtype}"


def prepared(path: Path, folder: Path | None = None) -> tuple[Net, Dataset]:
    """The net of a spec and its data as a training takes them. folder: where data that have to be fetched are; without
    it such are made up, in as many classes."""
    net = compile_file(path)
    want = wanted_by(net.recipe, net.graph.input_type, net.graph.output_type)
    known = net.recipe.data in AT_HAND or (folder is not None and net.recipe.data in DATASETS)
    data = adapted(net, load_dataset(net.recipe.data, folder, want=want) if known else made_up(net))
    net = with_constants(fitted(net, data), data.mean, data.std)
    return net, for_network(data, net)


def made_up(net: Net, n: int = 4000) -> Dataset:
    """Noisy images of classes that have a mean image each, of the sizes that the net takes and gives."""
    rng, classes, takes = np.random.default_rng(0), net.graph.output_type.channels, net.graph.input_type
    if takes.is_ids:  # texts that count, from one number on or from another
        x = (rng.integers(0, takes.limit, (n, 1)) + np.arange(takes.length)) % takes.limit
        y, names = (x + 1) % takes.limit, tuple(map(str, range(takes.limit)))
        return Dataset("made", x[:-100], y[:-100], x[-100:], y[-100:], names, (0.0,), (1.0,), layout="ids")
    y = rng.integers(0, classes, n)
    means = rng.normal(128, 20, (classes, *net.graph.input_shape))
    x = np.clip(rng.normal(means[y], 50), 0, 255).astype(np.uint8)
    channels = len(x[0])
    half, full = (0.5,) * channels, (0.25,) * channels
    return Dataset("made", x[:-100], y[:-100], x[-100:], y[-100:], tuple(map(str, range(classes))), half, full)


def losses(net: Net, data: Dataset, way: Way, steps: int = STEPS) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The mean loss of each of the first steps, and what the weights are in the end; their mean where it is kept."""
    recipe, feed = net.recipe, Feed(data, net.recipe)
    model = net.model(way.target, way.level, dtype=way.dtype, workers=Workers(1, "threads", Device("cpu")))
    average = WeightAverage(model, recipe.ema) if recipe.ema else None
    made: list[float] = []
    while len(made) < steps:
        epoch = len(made) // feed.steps + 1
        for batch in feed.epoch(epoch):
            model.rng = np.random.default_rng([recipe.seed, 2, epoch, batch.step])  # as the loop has it
            step = model.learn(batch.x, batch.y, recipe.learning_rate(len(made), feed.steps))
            assert step.is_finite
            made.append(float(step.loss))
            if average:
                average.update()
            if len(made) == steps:
                break
    weights = average.arrays if average else {**model.params, **model.buffers}
    held = {name: array.copy() for name, array in weights.items()}
    model.close()
    return np.array(made), held


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference of two curves."""
    return float(np.abs(a - b).max())
