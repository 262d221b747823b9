"""How long a run is, and where it makes a row of its history: in epochs, or in steps of the optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netdsl.graph.recipe import Recipe
from netdsl.training.runs.history import Epoch


@dataclass(frozen=True)
class Course:
    """A run of `steps` in all, an epoch of which has `an_epoch`; after each `every` there is a row of the history, with
    validation and a checkpoint, and after the last. in_steps: whether the spec counts in steps, else in epochs.

    Steps are counted over the whole run, from 0. Which samples a step has depends on its number alone, wherever rows
    are made.
    """

    steps: int
    every: int
    an_epoch: int
    in_steps: bool

    def done(self, history: Sequence[Epoch]) -> int:
        """How many steps the rows of a history have behind them."""
        if not history:
            return 0
        step = history[-1].step
        return len(history) * self.an_epoch if step is None else step

    def next_row(self, done: int) -> int:
        """How many steps are made when the next row is, after so many."""
        return min(self.steps, (done // self.every + 1) * self.every)

    def place(self, done: int) -> tuple[int, int]:
        """The epoch and the step in it, both counted from 1, that come after so many steps."""
        return done // self.an_epoch + 1, done % self.an_epoch + 1

    def stretches(self, done: int, until: int) -> list[tuple[int, int, int]]:
        """The steps after `done` up to `until`, by epochs: each one, how many of its steps come before, and the last
        of them."""
        made = []
        while done < until:
            epoch, step = self.place(done)
            last = min(self.an_epoch, step - 1 + until - done)
            made.append((epoch, step - 1, last))
            done += last - step + 1
        return made


def course_of(recipe: Recipe, an_epoch: int) -> Course:
    """The course of a run whose epochs have so many steps."""
    if recipe.steps is None:
        return Course(recipe.epochs * an_epoch, an_epoch, an_epoch, False)
    assert recipe.steps_a_row is not None, recipe
    return Course(recipe.steps, recipe.steps_a_row, an_epoch, True)
