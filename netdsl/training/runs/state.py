"""Where training stands: all that the next step depends on, as the arrays and the plain values of a checkpoint.

The learning rate, the order of the samples, dropout and augmentation are functions of the seed, the epoch and the step,
so that counters are all there is of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netdsl.graph.recipe import Recipe
from netdsl.ground.diagnostics import UserError
from netdsl.ground.ranks import ALONE, Ranks
from netdsl.ground.reading import shown
from netdsl.targets.contract import Model
from netdsl.training.runs.average import WeightAverage
from netdsl.training.runs.checkpoint import (
    CHECKPOINTS,
    PRIVATE,
    checkpoint_path,
    read_checkpoint,
    save_checkpoint,
    weights_of,
)
from netdsl.training.runs.course import Course
from netdsl.training.runs.history import COLUMNS, TIMES, Epoch

OPTIMIZER, LEARNED = f"{PRIVATE}optimizer.", f"{PRIVATE}learned."
UNSAID: tuple[tuple[str, object], ...] = (("more", {}), ("step", None))
"""What a row of a checkpoint leaves out."""
OF_SOME = (f"{OPTIMIZER}scale",)
"""What only some models keep: another one goes on without it."""


@dataclass(frozen=True)
class Position:
    """The running epoch, counted from 1, how many of its steps are made, and sums over their samples. In a run that is
    counted in steps it stands for those up to the next row of the history.

    loss: of each sample's loss; right: of the samples, or pixels, that were classified correctly.
    """

    epoch: int = 1
    step: int = 0
    samples: int = 0
    loss: float = 0.0
    right: int = 0


def save_state(
    path: Path,
    model: Model,
    recipe: Recipe,
    average: WeightAverage | None,
    position: Position,
    history: Sequence[Epoch],
    is_written: bool = True,
) -> None:
    """Writes a checkpoint to go on from. Its plain names are the weights to use: the average, where there is one.

    is_written: whether this process does, or only gives another one what it has of the arrays.
    """
    arrays = _arrays(model, recipe, average)
    if not is_written:
        return
    rows = [
        {name: value for name, value in asdict(row).items() if name not in TIMES and (name, value) not in UNSAID}
        for row in history
    ]
    info = {"format": 1, "position": _stored(position), "history": rows, "epoch": len(rows)}
    save_checkpoint(path, arrays, info)


@dataclass(frozen=True)
class State:
    """What a checkpoint has: its name, its arrays, and where training stood. The history has no times."""

    which: str
    arrays: Mapping[str, np.ndarray]
    position: Position
    history: list[Epoch]


def read_state(run: Path, which: str, expected: Mapping[str, np.ndarray]) -> State:
    """The checkpoint `which` of a run, which must have arrays like those expected. Raises UserError."""
    path = checkpoint_path(run, which)
    arrays, info = read_checkpoint(path, expected, True, OF_SOME)
    try:
        position = _position(info["position"])
        history = [
            Epoch(**{name: row.get(name) for name in COLUMNS}, more=dict(row.get("more", {})))
            for row in info["history"]
        ]
        if not all(row.step is None or (type(row.step) is int and row.step > 0) for row in history):
            raise ValueError("a row of the history has no number of steps")
    except (KeyError, TypeError, AttributeError, ValueError):
        raise UserError(f"{shown(path)} holds weights, but not where training stood") from None
    return State(which, arrays, position, history)


def take_state(state: State, model: Model, recipe: Recipe, average: WeightAverage | None, course: Course) -> None:
    """Puts a checkpoint's arrays into the model, its optimizer and the average."""
    # as Adam counts them, over the whole run
    arrays, steps = state.arrays, course.done(state.history) + state.position.step
    for name, array in weights_of(model).items():
        array[...] = arrays[f"{LEARNED}{name}" if average else name]
    kept = {name.removeprefix(OPTIMIZER): array for name, array in arrays.items() if name.startswith(OPTIMIZER)}
    model.load_state(tuple(recipe.state_names), kept, steps)
    if average:
        average.updates = steps
        for name, mean in average.arrays.items():
            mean[...] = arrays[name]


def _stored(position: Position) -> dict[str, object]:
    """The position as a checkpoint has it, by the names of the first version of the file."""
    values = asdict(position)
    right = values.pop("right")
    return {**values, "found": right}


def _position(stored: Mapping[str, Any]) -> Position:
    """What `_stored` was given. Raises TypeError, AttributeError for what it did not give."""
    values = {**stored}
    return Position(right=values.pop("found", 0), **values)


def load_youngest(
    run: Path,
    model: Model,
    recipe: Recipe,
    average: WeightAverage | None,
    course: Course,
    on_note: Callable[[str], None],
    ranks: Ranks = ALONE,
) -> State | None:
    """Loads the youngest checkpoint of a run that can be read; None where there is none. The first process reads for
    all.

    on_note is told where it is not the last. Raises UserError where there are some, but none can be read.
    """
    expected = _arrays(model, recipe, average)
    state = ranks.shared(lambda: _youngest(run, expected, on_note))
    if state is not None:
        take_state(state, model, recipe, average, course)
    return state


def _youngest(run: Path, expected: Mapping[str, np.ndarray], on_note: Callable[[str], None]) -> State | None:
    complaints = []
    for which in CHECKPOINTS:
        if not checkpoint_path(run, which).exists():
            complaints += [f"there is no checkpoint `{which}`"] if which == "last" else []
            continue
        try:
            state = read_state(run, which, expected)
        except UserError as error:
            complaints.append(error.message)
            continue
        if complaints:
            on_note(f"{'; '.join(complaints)}; training goes on from `{which}`")
        return state
    if any(checkpoint_path(run, which).exists() for which in CHECKPOINTS):
        raise UserError("; ".join(complaints), help="train again: no checkpoint of the run can be read")
    on_note("no checkpoint was saved yet: training starts at the beginning")
    return None


def _arrays(model: Model, recipe: Recipe, average: WeightAverage | None) -> dict[str, np.ndarray]:
    weights = weights_of(model)
    learned = {f"{LEARNED}{name}": array for name, array in weights.items()} if average else {}
    return {**(average.arrays if average else weights), **learned, **_optimizer(model, recipe.state_names)}


def _optimizer(model: Model, names: Sequence[str]) -> dict[str, np.ndarray]:
    """What the optimizer keeps for each param, in PyTorch's names and shapes."""
    return {f"{OPTIMIZER}{name}": array for name, array in model.state(tuple(names)).items()}
