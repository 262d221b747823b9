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
from netdsl.training.runs.history import COLUMNS, TIMES, Epoch

OPTIMIZER, LEARNED = f"{PRIVATE}optimizer.", f"{PRIVATE}learned."
OF_SOME = (f"{OPTIMIZER}scale",)
"""What only some models keep: another one goes on without it."""


@dataclass(frozen=True)
class Position:
    """The running epoch, counted from 1, how many of its steps are made, and sums over their samples.

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
) -> None:
    """Writes a checkpoint to go on from. Its plain names are the weights to use: the average, where there is one."""
    rows = [
        {name: value for name, value in asdict(row).items() if name not in TIMES and value != {}} for row in history
    ]
    info = {"format": 1, "position": _stored(position), "history": rows, "epoch": len(rows)}
    save_checkpoint(path, _arrays(model, recipe, average), info)


def load_state(
    path: Path, model: Model, recipe: Recipe, average: WeightAverage | None, steps_an_epoch: int
) -> tuple[Position, list[Epoch]]:
    """Puts a checkpoint's arrays into the model, its optimizer and the average. The history has no times.

    Raises UserError; the model is untouched then.
    """
    arrays, info = read_checkpoint(path, _arrays(model, recipe, average), True, OF_SOME)
    try:
        position = _position(info["position"])
        history = [
            Epoch(**{name: row.get(name) for name in COLUMNS}, more=dict(row.get("more", {})))
            for row in info["history"]
        ]
    except (KeyError, TypeError, AttributeError, ValueError):
        raise UserError(f"{shown(path)} holds weights, but not where training stood") from None
    steps = (position.epoch - 1) * steps_an_epoch + position.step  # as Adam counts them, over all epochs
    for name, array in weights_of(model).items():
        array[...] = arrays[f"{LEARNED}{name}" if average else name]
    kept = {name.removeprefix(OPTIMIZER): array for name, array in arrays.items() if name.startswith(OPTIMIZER)}
    model.load_state(tuple(recipe.state_names), kept, steps)
    if average:
        average.updates = steps
        for name, mean in average.arrays.items():
            mean[...] = arrays[name]
    return position, history


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
    steps_an_epoch: int,
    on_note: Callable[[str], None],
) -> tuple[str, Position, list[Epoch]] | None:
    """Loads the youngest checkpoint of a run that can be read -> its name and what `load_state` gives; None where there
    is none.

    on_note is told where it is not the last. Raises UserError where there are some, but none can be read.
    """
    complaints = []
    for which in CHECKPOINTS:
        path = checkpoint_path(run, which)
        if not path.exists():
            complaints += [f"there is no checkpoint `{which}`"] if which == "last" else []
            continue
        try:
            loaded = load_state(path, model, recipe, average, steps_an_epoch)
        except UserError as error:
            complaints.append(error.message)
            continue
        if complaints:
            on_note(f"{'; '.join(complaints)}; training goes on from `{which}`")
        return which, *loaded
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
