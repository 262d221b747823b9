"""Losses and optimizers as JAX computes them, after the kernels of NumPy (kernels/losses.py, kernels/optimizers.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from netdsl.bench.jax_layers import Array
from netdsl.graph.recipe import Recipe


def cross_entropy(logits: Array, y: Array, smooth: float = 0.0) -> Array:
    """logits (N, K, ...), y labels (N, ...) or probabilities (N, K, ...) -> the mean of -sum(t * log softmax)."""
    logs, classes = jax.nn.log_softmax(logits, 1), logits.shape[1]
    is_label = jnp.issubdtype(y.dtype, jnp.integer)
    hit = jnp.take_along_axis(logs, y[:, None], 1)[:, 0] if is_label else (y * logs).sum(1)
    return -((1 - smooth) * hit + smooth / classes * logs.sum(1)).mean()


def binary_cross_entropy(logits: Array, y: Array) -> Array:
    """The mean of log(1 + exp(z)) - y * z."""
    return (jax.nn.softplus(logits) - y * logits).mean()


def squared_error(made: Array, y: Array) -> Array:
    """The mean of (made - y)^2."""
    return jnp.square(made - y).mean()


def negative_log_likelihood(logs: Array, y: Array) -> Array:
    """The mean of -logs (N, K, ...) at the labels y (N, ...)."""
    return -jnp.take_along_axis(logs, y[:, None], 1).mean()


LOSSES: Mapping[str, Callable[..., Array]] = {
    "ce": cross_entropy,
    "bce": binary_cross_entropy,
    "mse": squared_error,
    "nll": negative_log_likelihood,
}


def sgd(g: Array, step: Array, v: Array, lr: float, momentum: float = 0.0, nesterov: bool = False) -> tuple[Array, ...]:
    """v = momentum * v + g -> lr * v, with nesterov lr * (g + momentum * v); v."""
    v = momentum * v + g
    return lr * (g + momentum * v if nesterov else v), v


def adam(
    g: Array,
    step: Array,
    m: Array,
    v: Array,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> tuple[Array, ...]:
    """m, v the running means of g and g^2 -> lr * m_hat / (sqrt(v_hat) + eps); m, v."""
    m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
    root = jnp.sqrt(v) / jnp.sqrt(1 - betas[1] ** step) + eps
    return lr / (1 - betas[0] ** step) * m / root, m, v


def rmsprop(g: Array, step: Array, v: Array, lr: float, alpha: float = 0.99, eps: float = 1e-8) -> tuple[Array, ...]:
    """v the running mean of g^2 -> lr * g / (sqrt(v) + eps); v."""
    v = alpha * v + (1 - alpha) * g * g
    return lr * g / (jnp.sqrt(v) + eps), v


def adagrad(g: Array, step: Array, total: Array, lr: float, eps: float = 1e-10) -> tuple[Array, ...]:
    """total the sum of all g^2 -> lr * g / (sqrt(total) + eps); total."""
    total = total + g * g
    return lr * g / (jnp.sqrt(total) + eps), total


OPTIMIZERS: Mapping[str, tuple[Callable[..., tuple[Array, ...]], int]] = {
    "sgd": (sgd, 1),
    "adam": (adam, 2),
    "adamw": (adam, 2),
    "rmsprop": (rmsprop, 1),
    "adagrad": (adagrad, 1),
}
"""What a param loses in a step, and what is kept: a function of the gradient, the number of the step and what was kept;
how many arrays that is."""

Moments = Mapping[str, tuple[Array, ...]]


def first_moments(recipe: Recipe, params: Mapping[str, Array]) -> Moments:
    """What the optimizer keeps of each param before the first step."""
    kept = range(OPTIMIZERS[recipe.optimizer][1])
    return {name: tuple(jnp.zeros_like(array) for _ in kept) for name, array in params.items()}


def updated(
    recipe: Recipe, params: Mapping[str, Array], grads: Mapping[str, Array], moments: Moments, step: Array
) -> tuple[dict[str, Array], dict[str, tuple[Array, ...]]]:
    """One step of the recipe's optimizer, counted from 1 -> params, moments."""
    options: dict[str, Any] = dict(recipe.options)
    is_apart = recipe.optimizer == "adamw"  # its decay is no part of the gradient
    decay = options.pop("weight_decay", 1e-2 if is_apart else 0.0)
    new, kept = {}, {}
    for name, grad in clipped(recipe, grads).items():
        param = params[name]
        shrinks = decay if recipe.decay == "all" or jnp.ndim(param) > 1 else 0.0
        grad = grad + shrinks * param if shrinks and not is_apart else grad
        lost, *kept[name] = OPTIMIZERS[recipe.optimizer][0](grad, step, *moments[name], **options)
        new[name] = param * (1 - options["lr"] * shrinks * is_apart) - lost
    return new, {name: tuple(arrays) for name, arrays in kept.items()}


def clipped(recipe: Recipe, grads: Mapping[str, Array]) -> Mapping[str, Array]:
    """The gradients, shrunk to the norm that the recipe allows, where it says one."""
    if recipe.clip is None:
        return grads
    norm = jnp.sqrt(sum(jnp.vdot(grad, grad) for grad in grads.values()))
    return {name: grad * jnp.minimum(1, recipe.clip / (norm + 1e-6)) for name, grad in grads.items()}
