"""Where a recipe does not fit itself, or the network: each as a `Misfit`, which spec and command line show in their
own ways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from netdsl.graph.ir import Shape, show_shape
from netdsl.graph.recipe import AUGMENTATIONS, LOSSES, Recipe

SMALLER_THAN_THE_IMAGE = ("shift", "crop", "cutout")


@dataclass(frozen=True)
class Misfit:
    """What is wrong, what helps, and the key of the entry to change."""

    entry: str
    message: str
    help: str


def misfits(recipe: Recipe, given: Shape | None = None, made: Shape | None = None) -> Iterator[Misfit]:
    """given, made: the shapes of the network's input and output; None: not known, so nothing is said about them."""
    if "mixup" in recipe.augment and not LOSSES[recipe.loss].can_mix:
        text = f"`mixup` mixes targets, which the loss `{recipe.loss}` cannot take"
        yield Misfit("augment", text, "use `loss ce`, `bce` or `mse`, or leave `mixup` out")
    if made is not None:
        yield from _loss_misfits(recipe, made)
    if given is not None:
        yield from _image_misfits(recipe, given)
        if recipe.fit and (len(given) != 3 or given[0] not in (1, 3)):
            text = f"`fit {recipe.fit}` is for images of 1 or 3 channels, but the input is {show_shape(given)}"
            yield Misfit("fit", text, "leave `fit` out")
    if recipe.takes_probabilities and made is not None and len(made) > 1:
        text = f"`mixup` mixes the labels of samples, but the output is {show_shape(made)}, a class for each place"
        yield Misfit("augment", text, "leave `mixup` out")


def _loss_misfits(recipe: Recipe, made: Shape) -> Iterator[Misfit]:
    if recipe.targets != "labels":
        return
    classes, weights = made[0], recipe.loss_options.get("weights")
    if classes < 2:
        text = f"the loss `{recipe.loss}` needs at least 2 classes, but the output is {show_shape(made)}"
        yield Misfit(
            "loss",
            text,
            "give the last layer one output for each class, or use `loss bce` for yes and no, `loss mse` for numbers",
        )
    elif weights is not None and len(weights) != classes:
        text = f"the loss has {len(weights)} weights, but the output is {show_shape(made)} ({classes} classes)"
        yield Misfit("loss", text, "give one weight for each class, or `balanced`")


def _image_misfits(recipe: Recipe, given: Shape) -> Iterator[Misfit]:
    for name in (name for name in AUGMENTATIONS if name in recipe.augment and name != "mixup"):
        amount = recipe.augment[name]
        if len(given) != 3:
            text = f"`{name}` changes images (C x H x W), but the input is {show_shape(given)}"
            yield Misfit("augment", text, f"leave `{name}` out")
        elif name in SMALLER_THAN_THE_IMAGE and amount >= min(given[1:]):
            text = f"`{name}={amount}` does not fit an image of {show_shape(given[1:])}"
            largest = min(given[1:]) - 1
            yield Misfit("augment", text, f"use `{name}={largest}` or less" if largest else f"leave `{name}` out")
