"""What a network and its recipe want of data: with it, what files leave open is certain, or refused in words."""

from __future__ import annotations

from dataclasses import dataclass

from netdsl.graph.ir import Shape
from netdsl.graph.recipe import LOSSES, Recipe, Targets


@dataclass(frozen=True)
class Wanted:
    """What is known of the network that the data are for; without it nothing is reshaped or guessed.

    shape: of its input. classes: how many it tells apart, 0 if it gives numbers. loss: its name. val, seed: the share
    of the training samples that is held out for validation, and what decides which. fit: how images come to `shape`.
    names: of the classes that it knows already. bits: how many bits 16-bit images use, None: as many as the brightest
    one needs. outputs: the first size of the network's output.
    """

    shape: Shape | None = None
    classes: int | None = None
    loss: str | None = None
    val: float = 0.0
    seed: int = 0
    fit: str | None = None
    names: tuple[str, ...] = ()
    bits: int | None = None
    outputs: int | None = None

    @property
    def targets(self) -> Targets | None:
        """What the loss compares outputs with; None where nobody said which loss."""
        return LOSSES[self.loss].targets if self.loss else None

    @property
    def needs_labels(self) -> bool:
        """Whether the loss takes class labels and nothing else."""
        return self.targets == "labels"

    @property
    def image_shape(self) -> Shape | None:
        """The shape of the input where an image file can have it: (1, H, W) or (3, H, W)."""
        shape = self.shape
        return shape if shape is not None and len(shape) == 3 and shape[0] in (1, 3) else None


def wanted_by(recipe: Recipe, given: Shape, made: Shape) -> Wanted:
    """What a network wants that takes `given`, gives `made` and learns by the recipe."""
    classes = made[0]
    if made[0] == 1 and recipe.targets == "truth":  # one output tells two classes apart
        classes = 2
    elif made[0] == 1 and recipe.targets == "numbers" and made != given:
        classes = 0
    return Wanted(given, classes, recipe.loss, recipe.val, recipe.seed, recipe.fit, outputs=made[0])
