"""Measures which of the ways to compute a layer is the fastest here, once: the answers are kept in the user's cache.

The estimates of `passes.choose_algorithms` know the shapes, not the machine. Where ways lie close, each is run alone on
random numbers, forward and, for training, backward, and the fastest is taken from then on. What was chosen decides
rounding, so a run records it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netdsl.analysis.loss import logits_layers
from netdsl.graph.ir import Graph, Node
from netdsl.graph.recipe import Recipe
from netdsl.ground.files import read_json, write_atomic
from netdsl.ground.system.machine import cpu_flags, cpu_model, num_cores, user_cache, work_clock
from netdsl.kernels.arrays import Array, Shape, Type
from netdsl.layers.contract import StageCall
from netdsl.passes.choose_algorithms import name_of, worth_measuring
from netdsl.passes.signals import stage_calls
from netdsl.passes.tile_batch import block_size
from netdsl.pipeline import Net
from netdsl.stages.blas import blas_threads
from netdsl.stages.layout import plane
from netdsl.stages.stage import Stages, Worker
from netdsl.stages.workers import Team

MOST_BYTES = 2**24  # of the file of answers
RUNS, LONGEST = 5, 0.3  # of a way; seconds after which no further run is made
IN_DOUBT = 0.9  # what the time of the estimated best counts: another has to be clearly faster
NEAR = 1.05  # times as long as the fastest, within which a way is taken that derives fewer MiB from the params


def tune(graph: Graph, recipe: Recipe, samples: int, cache: Path | None = None) -> dict[str, str]:
    """What to choose for every layer where it is not certain: names of `name_of` -> the way's name.

    samples: those that one worker has of a batch. cache: the file that answers are kept in; None for the user's.
    """
    file = cache_file() if cache is None else cache
    known = _read(file)
    here = known.setdefault(_machine(), {})
    n = max(1, min(samples, block_size(graph)))
    choices: dict[str, str] = {}
    measured = False
    for node in graph.nodes[: logits_layers(graph, recipe.loss)]:
        calls = stage_calls(node, graph.input_types(node))
        for training in (True, False):
            ways = worth_measuring(calls, training, n)
            if len(ways) < 2:
                continue
            question = name_of(ways, training)
            if here.get(f"{n} {question}") not in [way.text for way in ways]:
                here[f"{n} {question}"] = str(_fastest(graph, node, ways, n, training).text)
                measured = True
            choices[question] = here[f"{n} {question}"]
    if measured:
        _write(file, known)
    return choices


def tuned(net: Net) -> Net:
    """The net with its choices measured for as many samples as it is made for."""
    return net.with_choices(tune(net.graph, net.recipe, net.samples))


def cache_file() -> Path:
    """Where answers are kept: NETDSL_CACHE_DIR, or the place that the system has for caches."""
    return user_cache() / "tuning.json"


def _machine() -> str:
    """What the answers depend on beside the question."""
    cpu = f"{cpu_model('')} {'avx512f' if 'avx512f' in cpu_flags() else ''}".strip()
    return f"{cpu}, {num_cores()} cores, numpy {np.__version__}"


def _read(file: Path) -> dict[str, dict[str, str]]:
    """What is known; nothing where the file is missing, damaged or no file."""
    try:
        known = read_json(file, MOST_BYTES)
        if not isinstance(known, dict):
            return {}
        return {
            machine: {question: answer for question, answer in answers.items() if isinstance(answer, str)}
            for machine, answers in known.items()
        }
    except (OSError, ValueError, AttributeError):
        return {}


def _write(file: Path, known: Mapping[str, Mapping[str, str]]) -> None:
    """Keeps what is known; where nothing can be written it is measured again next time. A pipe or a device is let be:
    to write to one may take for ever."""
    try:
        if file.exists() and not file.is_file():
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, json.dumps(known, indent=1, sort_keys=True) + "\n")
    except OSError:
        pass


class _Alone:
    """Stands in for a fast network: as much of one as a worker with one stage needs."""

    def __init__(self, graph: Graph, node: Node, way: StageCall, block: int) -> None:
        rng = np.random.default_rng(0)
        self.dtype, self.num_workers, self.block = np.dtype(np.float32), 1, block
        self.known_constants: dict[Any, Any] = {}
        self.team = Team(1)
        self.io: dict[str, Array] = {}
        self.stored: dict[str, Array] = {}
        for spec in node.params:
            shape = (*spec.shape[2:], *reversed(spec.shape[:2]))  # as targets/fast/storage.py has it
            self.stored[spec.full_name(node.name)] = rng.standard_normal(shape).astype(self.dtype)
        self.stored_grads: Sequence[dict[str, Array]] = [
            {name: np.zeros_like(array) for name, array in self.stored.items()}
        ]
        self.named_grads: Sequence[dict[str, Array]] = self.stored_grads
        self.known_shared: dict[Hashable, Array] = {}
        self._node, self._way = node, way

    def shared(self, key: Hashable, shape: Shape, dtype: Type | None = None) -> Array:
        return self.known_shared.setdefault(key, np.zeros(shape, self.dtype if dtype is None else dtype))

    def train_forward(self, s: Any, x: Array) -> Any:
        """The output of the stage alone."""
        return s.it.forward(x)

    def train_stages(self, w: Worker) -> Stages:
        stages = Stages()
        make: Any = self._way.kernel  # every kind of stage has arguments of its own
        stage = make(w, self._node.name, *self._way.arguments, **self._way.options)
        vars(stages)["it"] = stage  # as an attribute, which is how a network has its stages
        return stages

    infer_stages, infer_forward = train_stages, train_forward


def _fastest(graph: Graph, node: Node, ways: Sequence[StageCall], n: int, training: bool) -> StageCall:
    """The way that takes the least processor time for a block of n samples, or about as little and less memory for
    what it derives from the params, which a network holds of all its layers at a time."""
    given, made = graph.input_types(node)[0], node.type
    rng = np.random.default_rng(0)
    x = rng.standard_normal((*plane(given.space), n, given.channels), np.float32)
    dy = rng.standard_normal((*plane(made.space), n, made.channels), np.float32)
    before = blas_threads(1)
    try:
        tried = [_tried(graph, node, way, x, dy, training) for way in ways]
    finally:
        blas_threads(before)
    return ways[preferred([seconds for seconds, _ in tried], [derived for _, derived in tried])]


def preferred(seconds: Sequence[float], derived: Sequence[int]) -> int:
    """Which way to take, of the times of all, the estimated best first, and the bytes that they derive from params."""
    counted = [seconds[0] * IN_DOUBT, *seconds[1:]]
    near = [i for i, time in enumerate(counted) if time <= NEAR * min(counted)]
    return min(near, key=lambda i: (derived[i] >> 20, counted[i]))


def _tried(
    graph: Graph, node: Node, way: StageCall, x: np.ndarray, dy: np.ndarray, training: bool
) -> tuple[float, int]:
    """The processor time of a step with this stage, the best of a few, and the bytes that it derives from params."""
    n, alone = x.shape[2], _Alone(graph, node, way, x.shape[2])
    stage: Any = Worker(alone, 0, n, training, False).s.it
    best, started = float("inf"), time.perf_counter()
    stage.refresh()
    for _ in range(RUNS + 1):
        begin = work_clock()
        if training:
            stage.refresh()
        stage.forward(x)
        if training:
            stage.backward(dy)
        best = min(best, work_clock() - begin)
        if time.perf_counter() - started > LONGEST:
            break
    return best, sum(array.nbytes for array in alone.known_shared.values())
