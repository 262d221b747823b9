"""How a network is trained: the checked `Recipe` that a train block makes, and what each of its words means.

The tables LOSSES, OPTIMIZERS and SCHEMES here, and schedules.SCHEDULES, are the only places that name what they hold:
everyone else asks an entry what it is. AUGMENTATIONS and FITS are names; training/data does what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from netdsl.graph.schedules import SCHEDULES as SCHEDULES
from netdsl.graph.schedules import rate_factor
from netdsl.ground.catalog import CATALOG
from netdsl.ground.diagnostics import UserError
from netdsl.kernels import initial, losses, optimizers
from netdsl.kernels.arrays import Array, Arrays, Number, State
from netdsl.kernels.losses import total_weight

Options = Mapping[str, Any]
"""Keyword arguments of a kernel, of the types that it takes."""

DATASETS = tuple(CATALOG)
"""The names that `data` takes without quotes."""


Targets = Literal["labels", "truth", "numbers"]
LossKernel = Callable[..., tuple[Number, Array]]
Step = Callable[[Arrays, Arrays, State, float], None]
"""step(params, grads, state, lr), as kernels/optimizers has it."""


@dataclass(frozen=True)
class Loss:
    """A loss, and everything that anyone asks of it.

    kernel: (outputs, targets) -> (mean loss, gradient). targets: what the outputs are compared with, `labels` (whole
    numbers, each a class), `truth` (numbers from 0 to 1 for each output, whose sigmoid they are) or `numbers`.
    torch: its name in torch.nn.functional. unit: the loss in words, for an axis. general: the kernel that takes
    options, and of labels also probabilities. options: spelling -> kind. can_mix: whether its targets can be mixed.
    contains: the layer that it does itself, which as the last one is left out of what the loss reads. known_as: what
    other systems call it, in lower case without `_`.
    """

    kernel: LossKernel
    targets: Targets
    torch: str
    unit: str = "loss (nats)"
    general: LossKernel | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    can_mix: bool = True
    contains: str | None = None
    known_as: tuple[str, ...] = ()


_WEIGHTS = {"weights": "weights", "balanced": "word", "ignore": "label"}
LOSSES: Mapping[str, Loss] = {
    "ce": Loss(
        losses.cross_entropy,
        "labels",
        "cross_entropy",
        general=losses.soft_cross_entropy,
        options={"smooth": "fraction", **_WEIGHTS},
        contains="softmax",
        known_as=(
            *("crossentropy", "crossentropyloss", "softmaxcrossentropy", "categoricalcrossentropy"),
            *("sparsecategoricalcrossentropy", "xent", "crossentropyloss2d"),
        ),
    ),
    "bce": Loss(
        losses.bce,
        "truth",
        "binary_cross_entropy_with_logits",
        contains="sigmoid",
        known_as=("binarycrossentropy", "bceloss", "bcewithlogits", "bcewithlogitsloss"),
    ),
    "mse": Loss(
        losses.mse,
        "numbers",
        "mse_loss",
        "loss (mean squared error)",
        known_as=("mseloss", "l2", "l2loss", "meansquarederror", "squarederror"),
    ),
    "nll": Loss(
        losses.nll,
        "labels",
        "nll_loss",
        general=losses.weighted_nll,
        options=_WEIGHTS,
        can_mix=False,
        known_as=("nllloss", "negativeloglikelihood"),
    ),
}


@dataclass(frozen=True)
class Optimizer:
    """A kernel, its default learning rate, the options a spec may give: spelling -> (argument, kind), where `decay` is
    the recipe's own and no argument, and PyTorch's names of its class and of the arrays that it keeps for each param,
    in the kernel's order. is_fused: PyTorch has it in one kernel on every device that netdsl takes. decay: the weight
    decay where a spec says none."""

    step: Callable[..., None]
    lr: float
    options: Mapping[str, tuple[str, str]]
    torch: str
    state: tuple[str, ...]
    is_fused: bool = False
    decay: float = 0.0


DECAYS: Mapping[str, str] = {"all": "every param", "matrices": "params of two axes or more"}
"""What `decay` of an optimizer says -> which params its weight decay shrinks."""

_DECAY = {"wd": ("weight_decay", "number"), "decay": ("decay", "decayed")}
_MOMENTUM = {"momentum": ("momentum", "fraction")}
_EPS = {"eps": ("eps", "positive")}
_SGD = {**_MOMENTUM, "nesterov": ("nesterov", "word"), **_DECAY}
_ADAM = {**_DECAY, "betas": ("betas", "pair"), **_EPS}
OPTIMIZERS: Mapping[str, Optimizer] = {
    "sgd": Optimizer(
        optimizers.sgd_step, 1e-2, {**_MOMENTUM, "nesterov": ("nesterov", "word"), **_DECAY}, "SGD", (), True
    ),
    "adam": Optimizer(optimizers.adam_step, 1e-3, _ADAM, "Adam", ("exp_avg", "exp_avg_sq"), True),
    "adamw": Optimizer(optimizers.adamw_step, 1e-3, _ADAM, "AdamW", ("exp_avg", "exp_avg_sq"), True, 1e-2),
    "rmsprop": Optimizer(
        optimizers.rmsprop_step,
        1e-2,
        {"alpha": ("alpha", "fraction"), **_EPS, **_DECAY, **_MOMENTUM},
        "RMSprop",
        ("square_avg",),
    ),
    "adagrad": Optimizer(optimizers.adagrad_step, 1e-2, {**_DECAY, **_EPS}, "Adagrad", ("sum",)),
}


@dataclass(frozen=True)
class Scheme:
    """How a weight and how a bias starts (None: zeros), and an embedding; what other systems call it.

    end: how a weight starts that a residual branch ends in (None: as others). takes_fans: whether those of weights and
    biases are given how many numbers go in and come out.
    """

    weight: Callable[..., Array]
    bias: Callable[..., Array] | None = None
    known_as: tuple[str, ...] = ()
    embedding: Callable[..., Array] = initial.embedding
    end: Callable[..., Array] | None = None
    takes_fans: bool = True


SCHEMES: Mapping[str, Scheme] = {
    "he": Scheme(initial.he, known_as=("kaiming", "henormal", "heuniform", "kaimingnormal", "kaiminguniform")),
    "xavier": Scheme(initial.xavier, known_as=("glorot", "glorotuniform", "xavieruniform", "xaviernormal")),
    "torch": Scheme(initial.torch_uniform, initial.torch_uniform),
    "gpt": Scheme(
        initial.normal,
        known_as=("gpt2", "nanogpt", "normal", "truncnormal"),
        embedding=initial.normal,
        end=initial.residual_end,
        takes_fans=False,
    ),
}

DATA_OPTIONS: Mapping[str, str] = {
    "label": "text",
    "group": "text",
    "window": "whole",
    "stride": "whole",
    "rate": "whole",
    "columns": "text",
    "text": "unit",
}
"""Option of `data` -> the kind of its value. `label` and `columns` are for tables, `text` says of what units a text is,
the others are for signals and series."""

TEXT_UNITS = ("characters", "bytes")
"""What the numbers of a text stand for."""

AUGMENTATIONS: Mapping[str, str] = {
    "shift": "whole",
    "crop": "whole",
    "rotate": "degrees",
    "zoom": "share",
    "shear": "slant",
    "resizedcrop": "share",
    "flip": "word",
    "vflip": "word",
    "stretch": "share",
    "brightness": "strength",
    "contrast": "strength",
    "saturation": "strength",
    "hue": "half",
    "grey": "chance",
    "blur": "positive",
    "cutout": "whole",
    "erase": "chance",
    "mask": "whole",
    "scale": "share",
    "noise": "positive",
    "mixup": "positive",
    "cutmix": "positive",
}
"""Name -> the kind of how much."""

AUGMENTED_AXES: Mapping[str, tuple[int, ...]] = {
    "shift": (1, 2, 3),
    "crop": (2,),
    "rotate": (2,),
    "zoom": (2,),
    "shear": (2,),
    "resizedcrop": (2,),
    "flip": (1, 2, 3),
    "vflip": (2, 3),
    "stretch": (1,),
    "brightness": (2,),
    "contrast": (2,),
    "saturation": (2,),
    "hue": (2,),
    "grey": (2,),
    "blur": (2,),
    "cutout": (2,),
    "erase": (2,),
    "mask": (1,),
    "scale": (1, 3),
    "noise": (1, 2, 3),
    "cutmix": (1, 2, 3),
}
"""Name -> how many axes of space the maps have that it changes. mixup changes samples of any kind."""

OF_COLOURS = ("saturation", "hue", "grey")
"""What needs the channels red, green and blue."""

MIXES = ("mixup", "cutmix")
"""What mixes the samples of a batch, and their targets."""

FITS = ("resize", "crop", "pad")
"""How images of other sizes come to that of the network's input."""


MONITORS: Mapping[str, bool] = {
    "val_loss": False,
    "val_accuracy": True,
    "val_f1": True,
    "val_auc": True,
    "val_miou": True,
    "val_perplexity": False,
    "val_mae": False,
    "val_rmse": False,
    "val_r2": True,
}
"""What may choose the best epoch -> whether more of it is better."""


ROWS = 10
"""Rows of the history of a run that is counted in steps, where its spec does not say after how many there is one."""


@dataclass(frozen=True)
class Recipe:
    """Everything the train block says.

    data_options: any of DATA_OPTIONS. options: the optimizer's keyword arguments with `lr` among them; loss_options,
    schedule_options: those of the loss and the schedule. decay: one of DECAYS. augment: name of a change -> how much.
    clip: the largest norm of all gradients together; ema: the decay of the running mean of the weights; patience:
    epochs without a better one before training stops; fit: how images come to the size of the input; None: not done.
    monitor: one of MONITORS, the measure of validation data by which one epoch is better than another. steps: how long
    the run is in steps of the optimizer, in place of epochs; every: after how many of them it is measured and saved, as
    it is after each epoch else; None: a tenth of them. accumulate: of how many batches, one after the other, a step has
    the samples.
    """

    data: str = "mnist-mini"
    val: float = 0.1
    loss: str = "ce"
    optimizer: str = "adam"
    options: Options = field(default_factory=lambda: {"lr": 1e-3})
    schedule: str = "const"
    epochs: int = 5
    batch: int = 64
    seed: int = 0
    init: str = "he"
    loss_options: Options = field(default_factory=dict)
    schedule_options: Options = field(default_factory=dict)
    augment: Options = field(default_factory=dict)
    clip: float | None = None
    ema: float | None = None
    patience: int | None = None
    fit: str | None = None
    monitor: str = "val_loss"
    data_options: Options = field(default_factory=dict)
    decay: str = "all"
    steps: int | None = None
    every: int | None = None
    accumulate: int = 1

    def learning_rate(self, step: int, steps_an_epoch: int) -> float:
        """The learning rate of the step after `step` others, counted over the whole run."""
        lr: float = self.options["lr"]
        steps = self.epochs * steps_an_epoch if self.steps is None else self.steps
        return lr * rate_factor(self.schedule, self.schedule_options, step, steps, steps_an_epoch)

    @property
    def steps_a_row(self) -> int | None:
        """After how many steps there is a row of the history, in a run that is counted in steps."""
        return None if self.steps is None else self.every or -(-self.steps // ROWS)

    @property
    def state_names(self) -> tuple[str, ...]:
        """What PyTorch calls the arrays that the optimizer keeps for each param, in the order of the kernel's."""
        return OPTIMIZERS[self.optimizer].state + (("momentum_buffer",) if self.options.get("momentum") else ())

    @property
    def targets(self) -> Targets:
        """What the loss compares the network's outputs with."""
        return LOSSES[self.loss].targets

    @property
    def takes_probabilities(self) -> bool:
        """Whether the targets of training are mixed, a probability for each class instead of a label."""
        return self.targets == "labels" and any(name in self.augment for name in MIXES)


def loss_kernel(recipe: Recipe) -> tuple[LossKernel, Options]:
    """The kernel of the recipe's loss, and the keyword arguments that its options are.

    `balanced` is none of them: see resolved_weights.
    """
    loss = LOSSES[recipe.loss]
    options = {key: value for key, value in recipe.loss_options.items() if key != "balanced"}
    if not options and not recipe.takes_probabilities:
        return loss.kernel, {}
    assert loss.general is not None, recipe
    return loss.general, {key: tuple(value) if key == "weights" else value for key, value in options.items()}


def optimizer_step(recipe: Recipe) -> Step:
    """step(params, grads, state, lr) with the recipe's other options bound; where the recipe clips, so does it."""
    options = {key: value for key, value in recipe.options.items() if key != "lr"}
    step, clip = partial(OPTIMIZERS[recipe.optimizer].step, **options), recipe.clip
    if recipe.decay == "matrices":
        step = partial(optimizers.decaying_matrices, OPTIMIZERS[recipe.optimizer].step, **options)
    if clip is None:
        return step
    return lambda params, grads, state, lr: step(params, optimizers.clipped(grads, clip), state, lr)


def resolved_weights(recipe: Recipe, labels: np.ndarray, classes: int) -> Recipe:
    """The recipe with numbers in place of `balanced`: class k weighs n / (classes * how often k is among the n labels).

    labels: those of the training data, (N, ...), 0 to classes - 1. scikit-learn's "balanced", after King & Zeng 2001.
    Raises UserError where a class has no label.
    """
    if "balanced" not in recipe.loss_options:
        return recipe
    labels = labels[labels != recipe.loss_options.get("ignore", -1)]
    counts = np.bincount(labels.ravel(), minlength=classes)
    if not counts.all():
        text = f"`loss {recipe.loss} balanced` finds no training sample of class {int(np.argmin(counts))}"
        raise UserError(text, help="give the weights themselves: `weights=(1, 2, 1)`")
    weights = tuple(float(weight) for weight in labels.size / (classes * counts))
    rest = {key: value for key, value in recipe.loss_options.items() if key != "balanced"}
    return replace(recipe, loss_options={**rest, "weights": weights})


def weighs_labels(recipe: Recipe) -> bool:
    """Whether some labels count more than others, or not at all."""
    return "weights" in recipe.loss_options or "ignore" in recipe.loss_options


def label_weight(recipe: Recipe, labels: np.ndarray, classes: int) -> float:
    """By how much labels (N, ...), or probabilities (N, K, ...), count together in a mean of the recipe's loss."""
    return total_weight(labels, recipe.loss_options.get("weights"), classes, recipe.loss_options.get("ignore"))
