"""What a network and its recipe want of data: with it, what files leave open is certain, or refused in words."""

from __future__ import annotations

from dataclasses import dataclass, field

from netdsl.graph.recipe import LOSSES, Options, Recipe, Targets
from netdsl.graph.types import Layout, Sizes, Tensor


@dataclass(frozen=True)
class Wanted:
    """What is known of the network that the data are for; without it nothing is reshaped or guessed.

    takes: its input. classes: how many it tells apart, 0 if it gives numbers. loss: its name. val, seed: the share of
    the training samples that is held out for validation, and what decides which. fit: how images come to the size that
    it takes. names: of the classes that it knows already. bits: how many bits 16-bit images use, None: as many as the
    brightest one needs. outputs: the first size of the network's output, the features of tokens. mask_axes: the axes of
    space of masks, 1 where each token has a label. rate: that of recordings, numbers a second; None: the one that most
    of them have. options: those of `data`. has_constants: whether the mean and std of the training samples are known,
    so that they are not computed.
    """

    takes: Tensor | None = None
    classes: int | None = None
    loss: str | None = None
    val: float = 0.0
    seed: int = 0
    fit: str | None = None
    names: tuple[str, ...] = ()
    bits: int | None = None
    outputs: int | None = None
    mask_axes: int = 2
    rate: int | None = None
    options: Options = field(default_factory=dict)
    has_constants: bool = False

    @property
    def targets(self) -> Targets | None:
        """What the loss compares outputs with; None where nobody said which loss."""
        return LOSSES[self.loss].targets if self.loss else None

    @property
    def needs_labels(self) -> bool:
        """Whether the loss takes class labels and nothing else."""
        return self.targets == "labels"

    @property
    def image_shape(self) -> Sizes | None:
        """The sizes of the input where an image file can have them: (1, H, W) or (3, H, W)."""
        return self.takes.sizes if self.takes is not None and self.takes.is_picture else None

    @property
    def label(self) -> str | None:
        """The name of the column of targets, where one was given."""
        return self.options.get("label")

    @property
    def takes_signals(self) -> bool:
        """Whether the network takes maps of one axis of space."""
        return self.takes is not None and self.takes.axes == 1

    @property
    def takes_series(self) -> bool:
        """Whether the network takes rows that follow each other: signals (C, L), or tokens (T, D)."""
        return self.takes_signals or (self.takes is not None and self.takes.is_tokens)

    @property
    def steps(self) -> int:
        """How many rows that follow each other it takes."""
        assert self.takes is not None and self.takes_series, repr(self.takes)
        return self.takes.length if self.takes.is_tokens else self.takes.space[0]

    def unused(self, what: str, *used: str) -> tuple[str, ...]:
        """A note on the options of `data` that this kind of data has no use for; what: the data, in words."""
        names = ", ".join(f"`{name}`" for name in self.options if name not in used)
        return (f"{what} have no use for {names}: not used",) if names else ()

    def layout_of(self, sizes: Sizes) -> Layout | None:
        """What samples of these sizes are to the network; None where they are none of its own, and of ids, which are
        told by those who read them."""
        if self.takes is None or self.takes.is_ids:
            return None
        return self.takes.layout if len(self.takes.sizes) == len(sizes) else None


def wanted_by(recipe: Recipe, given: Tensor, made: Tensor) -> Wanted:
    """What a network wants that takes `given`, gives `made` and learns by the recipe."""
    has_labels = LOSSES[recipe.loss].targets == "labels" and made.is_tokens  # one for each token
    classes = outputs = made.channels if has_labels else made.sizes[0]
    if outputs == 1 and recipe.targets == "truth":  # one output tells two classes apart
        classes = 2
    elif outputs == 1 and recipe.targets == "numbers" and made != given:
        classes = 0
    return Wanted(
        given,
        classes,
        recipe.loss,
        recipe.val,
        recipe.seed,
        recipe.fit,
        outputs=outputs,
        mask_axes=1 if has_labels else made.axes or max(2, given.axes),
        rate=recipe.data_options.get("rate"),
        options=recipe.data_options,
    )
