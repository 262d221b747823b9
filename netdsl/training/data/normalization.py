"""How the mean and std of the training data travel with the network: as part of its spec.

The network of a run normalises what it is given by itself, so that it is fed raw samples, and whoever compiles the
run's `model.net` and loads its weights gets the run's answers. Runs of older versions have none in their `model.net`;
their samples are normalised by the numbers in `config.json` before they are fed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from netdsl.ground.diagnostics import plain
from netdsl.ground.source import Source
from netdsl.language.input_constants import are_allowed
from netdsl.language.syntax import ast
from netdsl.language.syntax.parser import parse
from netdsl.training.data.dataset import Dataset, normalize, raw

if TYPE_CHECKING:
    from netdsl.pipeline import Net


def with_constants(net: Net, mean: Sequence[float], std: Sequence[float]) -> Net:
    """The net that normalises by itself: its text with `mean ... std ...` behind the sizes of its `input`.

    It stays as it is where the spec says its own, where the numbers change nothing (0 and 1, or none), and where a spec
    cannot hold them (what is not finite).
    """
    changes_something = any(mean) or any(number != 1 for number in std)
    if net.graph.mean or not changes_something or not are_allowed(mean, std):
        return net
    texts = [[str(np.float32(number)) for number in numbers] for numbers in (mean, std)]
    written = "".join(f" {name} {_listed(numbers)}" for name, numbers in zip(("mean", "std"), texts, strict=True))
    at = next(s for s in parse(net.source)[0].statements if isinstance(s, ast.Input)).span.end
    text = net.source.text[:at] + written + net.source.text[at:]
    mean, std = (tuple(float(number) for number in numbers) for numbers in texts)
    return replace(net, source=Source(net.source.name, text), graph=net.graph.with_constants(mean, std))


def _listed(numbers: Sequence[str]) -> str:
    return numbers[0] if len(numbers) == 1 else f"({', '.join(numbers)})"


def notes_on(net: Net, dataset: Dataset) -> list[str]:
    """What is odd about the numbers of the net's own `input` for these data, in words."""
    largest = max((abs(number) for number in (*net.graph.mean, *net.graph.std)), default=0.0)
    if dataset.x_train.dtype != np.uint8 or largest <= 1:
        return []
    return [
        f"the bytes of `{plain(dataset.name)}` count as 0 to 1, but `input` has a mean or std of {largest:g}: "
        f"of bytes that is {largest / 255:.4g}"
    ]


def for_network(dataset: Dataset, net: Net) -> Dataset:
    """The data as the net is fed with them: raw where it normalises by itself, with the mean and std it has."""
    graph = net.graph
    return replace(dataset, mean=graph.mean, std=graph.std, is_fed_raw=True) if graph.mean else dataset


def as_fed(x: np.ndarray, net: Net, mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """x (N, *input_shape) as stored -> float32 as the net of a run is fed, whose config.json has this mean and std; ids
    as they are."""
    if net.graph.input_type.is_ids:
        return x
    return raw(x) if net.graph.mean else normalize(x, mean, std)
