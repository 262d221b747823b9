"""What the recipe makes of an emitted NumPy module: the loss with its options, and the step of the optimizer."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

from netdsl.graph.recipe import LOSSES, OPTIMIZERS, Options, Recipe, loss_kernel, weighs_labels
from netdsl.ground.symbols import value_text, word_text
from netdsl.kernels import optimizers
from netdsl.kernels.optimizers import clip_factor, clipped, decaying_matrices, norm_of, scaled
from netdsl.stages import adam
from netdsl.targets.text.emission import Method

_WIDTH = 112  # columns of a line in a class
_IN_PLACE: dict[Callable[..., None], Callable[..., None]] = {
    optimizers.adam_step: adam.adam_step,
    optimizers.adamw_step: adam.adamw_step,
}
"""The steps that do with less memory what those of the textbook do, under the same names."""


def recipe_kernels(recipe: Recipe, shared: bool = False) -> list[Callable[..., Any]]:
    """The kernels of loss, optimizer and clipping; shared: of a network whose workers have a part of the gradients."""
    clipping = [] if recipe.clip is None else [norm_of, clip_factor, scaled] if shared else [clipped]
    step = OPTIMIZERS[recipe.optimizer].step
    grouping = [decaying_matrices] if recipe.decay == "matrices" and not shared else []
    return [loss_kernel(recipe)[0], _IN_PLACE.get(step, step) if shared else step, *grouping, *clipping]


def loss_lines(recipe: Recipe, of_rows: bool = False) -> list[str]:
    """The lines of the class for its loss: the kernel, or the weights that `loss_methods` reads."""
    kernel, options = loss_kernel(recipe)
    return weights_lines(recipe) if options or of_rows else [f"loss = staticmethod({kernel.__name__})"]


def weights_lines(recipe: Recipe) -> list[str]:
    """The lines of the class for the weights of the classes, which `loss_methods` reads."""
    _, options = loss_kernel(recipe)
    return _tuple_lines("class_weights", options["weights"]) if "weights" in options else []


def weight_methods(recipe: Recipe, classes: int) -> list[Method]:
    """How a fast network weighs the labels of a block."""
    if not weighs_labels(recipe):
        return []
    weights = "self.class_weights" if "weights" in recipe.loss_options else "None"
    ignore = [_option("ignore", recipe.loss_options["ignore"])] if "ignore" in recipe.loss_options else []
    line = f"return total_weight({', '.join(['y', weights, str(classes), *ignore])})"
    return [Method("weight_of(self, y)", "By how much labels count together in the mean loss.", (line,))]


def loss_methods(recipe: Recipe, always: bool = False, of_rows: bool = False) -> list[Method]:
    """`loss`, where its kernel takes options, or always. of_rows: each token (N, T, K) is a sample of the kernel's."""
    kernel, options = loss_kernel(recipe)
    if not options and not always and not of_rows:
        return []
    given = [_option(key, value, "self.class_weights" if key == "weights" else "") for key, value in options.items()]
    if of_rows:
        rows = ["logits.reshape(-1, logits.shape[2])", "target.reshape(-1)"]
        call = f"loss, dlogits = {kernel.__name__}({', '.join([*rows, *given])})"
        doc = "Logits (N, T, K) and labels (N, T) -> mean loss over all tokens, dlogits."
        return [Method("loss(self, logits, target)", doc, (call, "return loss, dlogits.reshape(logits.shape)"))]
    what = "labels or probabilities" if LOSSES[recipe.loss].can_mix else "labels"
    line = f"return {kernel.__name__}({', '.join(['logits', 'target', *given])})"
    return [Method("loss(self, logits, target)", f"Logits and {what} -> mean loss, dlogits.", (line,))]


def _tuple_lines(name: str, values: tuple[float, ...]) -> list[str]:
    line = f"{name} = {value_text(values)}"
    if len(line) <= _WIDTH:
        return [line]
    text = ", ".join(map(value_text, values)) + ","
    return [f"{name} = (", *(f"    {part}" for part in textwrap.wrap(text, _WIDTH - 4)), ")"]


def optimizer_line(recipe: Recipe, params: str, state: str) -> str:
    """The call of the optimizer's kernel, with the options of the recipe."""
    step = OPTIMIZERS[recipe.optimizer].step.__name__
    given = [params, "grads", state, "lr", *_options(recipe.options)]
    if recipe.decay == "matrices":
        return f"{decaying_matrices.__name__}({', '.join([step, *given])})"
    return f"{step}({', '.join(given)})"


def shared_optimizer_lines(recipe: Recipe) -> list[str]:
    """The calls of the optimizer's kernel for a worker's part of the params, in two groups where some do not decay."""
    if recipe.decay == "all":
        return [optimizer_line(recipe, "params", "state")]
    step = OPTIMIZERS[recipe.optimizer].step.__name__
    calls = [
        f"{step}({', '.join([f'*{group}', 'lr', *_options({**recipe.options, **changed})])})"
        for group, changed in (("decayed", {}), ("others", {"weight_decay": 0.0}))
    ]
    return ["decayed, others = self.parted(params, grads, state)", *calls]


def _options(options: Options) -> list[str]:
    """The options of the optimizer's kernel, but for the learning rate."""
    return [_option(key, value) for key, value in options.items() if key != "lr"]


def _option(key: str, value: object, instead: str = "") -> str:
    """`eps=1e-08`. instead: what is written for the value."""
    return f"{word_text(key)}={instead or value_text(value)}"
