"""One step of each optimizer, in place: params and grads are dicts name -> array, state is a dict the caller keeps.

The update rules and their defaults are torch.optim's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Arrays, State


def sgd_step(
    params: Arrays,
    grads: Arrays,
    state: State,
    lr: float = 1e-2,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> None:
    """v = momentum * v + g;  param -= lr * v, with nesterov lr * (g + momentum * v)."""
    for name, param in params.items():
        g = grads[name] + weight_decay * param if weight_decay else grads[name]
        if momentum:
            v, *_ = state.setdefault(name, (np.zeros_like(param),))
            v *= momentum
            v += g
            g = g + momentum * v if nesterov else v
        param -= lr * g


def adam_step(
    params: Arrays,
    grads: Arrays,
    state: State,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> None:
    """Kingma & Ba 2015: m, v are running means of g and g*g, corrected for starting at zero;
    param -= lr * m_hat / (sqrt(v_hat) + eps). weight_decay adds to g."""
    step = state["step"] = state.get("step", 0) + 1
    correct1, correct2 = 1 - betas[0] ** step, 1 - betas[1] ** step
    for name, param in params.items():
        g = grads[name] + weight_decay * param if weight_decay else grads[name]
        m, v = state.setdefault(name, (np.zeros_like(param), np.zeros_like(param)))
        m += (1 - betas[0]) * (g - m)
        v *= betas[1]
        v += (1 - betas[1]) * (g * g)  # where squares overflow v stays infinite, and the param where it is
        param -= lr / correct1 * m / (np.sqrt(v) / correct2**0.5 + eps)


def adamw_step(
    params: Arrays,
    grads: Arrays,
    state: State,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
) -> None:
    """Loshchilov & Hutter 2019: Adam whose weight decay shrinks the params themselves, by lr * weight_decay."""
    for param in params.values():
        param *= 1 - lr * weight_decay
    adam_step(params, grads, state, lr, betas, eps)


def rmsprop_step(
    params: Arrays,
    grads: Arrays,
    state: State,
    lr: float = 1e-2,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
) -> None:
    """Tieleman & Hinton 2012: v is a running mean of g*g; param -= lr * g / (sqrt(v) + eps), or that with momentum."""
    for name, param in params.items():
        g = grads[name] + weight_decay * param if weight_decay else grads[name]
        v, moving = state.setdefault(name, (np.zeros_like(param), np.zeros_like(param)))
        v *= alpha
        v += (1 - alpha) * (g * g)
        update = g / (np.sqrt(v) + eps)
        if momentum:
            moving *= momentum
            moving += update
            update = moving
        param -= lr * update


def adagrad_step(
    params: Arrays,
    grads: Arrays,
    state: State,
    lr: float = 1e-2,
    eps: float = 1e-10,
    weight_decay: float = 0.0,
) -> None:
    """Duchi et al. 2011: the sum of all g*g so far; param -= lr * g / (sqrt(sum) + eps)."""
    for name, param in params.items():
        g = grads[name] + weight_decay * param if weight_decay else grads[name]
        total, *_ = state.setdefault(name, (np.zeros_like(param),))
        total += g * g
        param -= lr * g / (np.sqrt(total) + eps)


def decaying_matrices(
    step: Callable[..., None],
    params: Arrays,
    grads: Arrays,
    state: State,
    lr: float,
    weight_decay: float,
    **options: Any,
) -> None:
    """One step of an optimizer in two groups: matrices decay; what has one axis, biases and norms, does not, as in GPTs
    (Radford et al. 2018, section 4.1). Params of any shape."""
    vectors, others = {name: param for name, param in params.items() if param.ndim < 2}, dict(state)
    step(matrices(params), grads, state, lr, weight_decay=weight_decay, **options)
    step(vectors, grads, others, lr, weight_decay=0.0, **options)
    state.update(others)  # both have counted the step


def matrices(params: Arrays) -> Arrays:
    """The params of two axes or more: weights, embeddings and positions."""
    return {name: param for name, param in params.items() if param.ndim > 1}


def clipped(grads: Arrays, largest: float) -> Arrays:
    """Gradients, as they are or shrunk so that the norm of all together is `largest` (Pascanu et al. 2013)."""
    return scaled(grads, clip_factor(norm_of(grads.values()), largest))


def norm_of(arrays: Iterable[Array]) -> float:
    """The root of the sum of all squares; in float64 where squares overflow."""
    arrays = list(arrays)
    squares = [np.vdot(array, array) for array in arrays]
    total = sum(np.stack(squares).tolist()) if squares else 0.0
    if not math.isfinite(total):
        total = sum(float(np.square(array, dtype=np.float64).sum()) for array in arrays)
    return total**0.5


def clip_factor(norm: float, largest: float) -> float:
    """What gradients of that norm are multiplied by, 1 or less; torch.nn.utils.clip_grad_norm_ adds 1e-6, too."""
    return min(1.0, float(largest / (norm + 1e-6)))


def scaled(grads: Arrays, factor: float) -> Arrays:
    """Each gradient times the factor; the same arrays where it is 1."""
    return grads if factor == 1 else {name: factor * grad for name, grad in grads.items()}
