"""Where a recipe does not fit itself, or the network: each as a `Misfit`, which spec and command line show in their
own ways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from netdsl.graph.recipe import AUGMENTED_AXES, LOSSES, MIXES, OF_COLOURS, Recipe
from netdsl.graph.types import Tensor, show_sizes

SMALLER_THAN_THE_MAP = ("shift", "crop", "blur", "cutout", "mask")
OF_ANY_INPUT = ("label", "columns", "text")  # options of data, the last of which has a rule of its own
COLOURS = 3  # channels of an image in colours
LIKE = {
    ("crop", 1): "shift",
    ("crop", 3): "shift",
    ("zoom", 1): "stretch",
    ("stretch", 2): "zoom",
    ("cutout", 1): "mask",
    ("mask", 2): "cutout",
    ("brightness", 1): "scale",
    ("brightness", 3): "scale",
    ("scale", 2): "brightness",
    ("saturation", 2): "contrast",
}
"""A change, and the axes of the maps that it does not take -> the one that is most like it, with numbers alike."""


@dataclass(frozen=True)
class Misfit:
    """What is wrong, what helps, and the key of the entry to change."""

    entry: str
    message: str
    help: str


def misfits(recipe: Recipe, given: Tensor | None = None, made: Tensor | None = None) -> Iterator[Misfit]:
    """given, made: the types of the network's input and output; None: not known, so nothing is said about them."""
    mixes = [name for name in MIXES if name in recipe.augment]
    for name in () if LOSSES[recipe.loss].can_mix else mixes:
        text = f"`{name}` mixes targets, which the loss `{recipe.loss}` cannot take"
        yield Misfit("augment", text, f"use `loss ce`, `bce` or `mse`, or leave `{name}` out")
    if made is not None:
        yield from _loss_misfits(recipe, made)
    if given is not None:
        yield from _data_misfits(recipe, given)
        yield from _augment_misfits(recipe, given)
        if recipe.fit and not given.is_picture:
            text = f"`fit {recipe.fit}` is for images of 1 or 3 channels, but the input is {given.show()}"
            yield Misfit("fit", text, "leave `fit` out")
    if recipe.takes_probabilities and made is not None and not made.is_vector:
        for name in mixes:
            text = f"`{name}` mixes the labels of samples, but the output is {made.show()}, a class for each place"
            yield Misfit("augment", text, f"leave `{name}` out")


def _data_misfits(recipe: Recipe, given: Tensor) -> Iterator[Misfit]:
    """What the options of `data` ask for and the input is not."""
    if "text" in recipe.data_options and not given.is_ids:
        text = f"a text is for an input of whole numbers, but the input is {given.show_type()}"
        yield Misfit("data", text, "begin the spec with `input 64 of 65`, for 64 characters of 65 different ones")
    is_series = given.axes == 1 or given.is_tokens
    for name in (name for name in recipe.data_options if name not in OF_ANY_INPUT and not is_series):
        text = f"`{name}` is for data of signals, but the input is {given.show()}"
        yield Misfit("data", text, f"leave `{name}` out, or begin with an input of a signal, as `input 9x128 map`")
    window = recipe.data_options.get("window")
    steps = given.length if given.is_tokens else given.space[0] if given.axes == 1 else None
    if window is not None and steps not in (None, window):
        text = f"`window={window}` does not fit the input {given.show()}, which takes {steps} steps"
        yield Misfit("data", text, "leave `window` out: the input says how long a window is")


def _loss_misfits(recipe: Recipe, made: Tensor) -> Iterator[Misfit]:
    if recipe.targets != "labels":
        return
    classes, weights = made.channels, recipe.loss_options.get("weights")
    if classes < 2:
        text = f"the loss `{recipe.loss}` needs at least 2 classes, but the output is {made.show()}"
        yield Misfit(
            "loss",
            text,
            "give the last layer one output for each class, or use `loss bce` for yes and no, `loss mse` for numbers",
        )
    elif recipe.loss_options.get("ignore", 0) >= classes and made.is_vector:
        text = f"`ignore={recipe.loss_options['ignore']}` is none of the {classes} classes, which count from 0"
        yield Misfit("loss", text, "leave it out, or name a class")
    elif weights is not None and len(weights) != classes:
        text = f"the loss has {len(weights)} weights, but the output is {made.show()} ({classes} classes)"
        yield Misfit("loss", text, "give one weight for each class, or `balanced`")


def _augment_misfits(recipe: Recipe, given: Tensor) -> Iterator[Misfit]:
    """What changes maps of other axes or channels, or moves them by more than they have."""
    for name in (name for name in recipe.augment if given.is_ids and name not in AUGMENTED_AXES):
        text = f"`{name}` mixes samples, but the input {given.show_type()} is whole numbers, which do not mix"
        yield Misfit("augment", text, f"leave `{name}` out")
    for name in (name for name in recipe.augment if name in AUGMENTED_AXES):
        amount = recipe.augment[name]
        if given.axes not in AUGMENTED_AXES[name]:
            shown = given.show_type() if given.is_ids else given.show()
            text = f"`{name}` changes {_changed_by(name)}, but the input is {shown}"
            yield Misfit("augment", text, _instead_of(name, amount, given))
        elif name in OF_COLOURS and given.channels != COLOURS:
            text = f"`{name}` changes colours (3 x H x W), but the input is {given.show()}"
            yield Misfit("augment", text, _instead_of(name, amount, given))
        elif name in SMALLER_THAN_THE_MAP and amount >= min(given.space):
            text = f"`{name}={amount}` does not fit {'an' if given.is_image else 'a'} {given.kind}"
            largest = min(given.space) - 1
            help_text = f"use `{name}={largest}` or less" if largest else f"leave `{name}` out"
            yield Misfit("augment", f"{text} of {show_sizes(given.space)}", help_text)


def _changed_by(name: str) -> str:
    """`images (C x H x W)`, `signals and volumes`."""
    axes = AUGMENTED_AXES[name]
    if axes == (2,):
        return "images (C x H x W)"
    kinds = [kind for kind, count in (("images", 2), ("signals", 1), ("volumes", 3)) if count in axes]
    return " and ".join(filter(None, (", ".join(kinds[:-1]), kinds[-1])))


def _instead_of(name: str, amount: object, given: Tensor) -> str:
    """What to do about a change that the input does not take."""
    if given.is_tokens:
        return f"write `input {given.show()} map` where it is a signal, or leave `{name}` out"
    if given.is_map and (name, given.axes) in LIKE:
        like = LIKE[name, given.axes]
        does = "moves" if like == "shift" else "changes"
        return f"use `{like}={amount}`, which {does} {'an' if given.is_image else 'a'} {given.kind} as well"
    names = (other for other, axes in AUGMENTED_AXES.items() if given.axes in axes)
    takes = ", ".join(f"`{other}`" for other in names if other not in OF_COLOURS or given.channels == COLOURS)
    return f"{'an' if given.is_image else 'a'} {given.kind} takes {takes}" if takes else f"leave `{name}` out"
