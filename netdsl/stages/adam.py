"""Adam with few passes over memory: the numbers of `kernels/optimizers.py`, but for the rounding of its factors."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Arrays, State


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
    param -= lr * m_hat / (sqrt(v_hat) + eps). Params are flat, and short enough for the cache."""
    step = state["step"] = state.get("step", 0) + 1
    correct1, correct2 = 1 - betas[0] ** step, (1 - betas[1] ** step) ** 0.5
    room = np.empty_like(max(params.values(), key=len, default=np.empty(0)))
    for name, param in params.items():
        g = grads[name] + weight_decay * param if weight_decay else grads[name]
        m, v = state.get(name) or state.setdefault(name, (np.zeros_like(param), np.zeros_like(param)))
        part = room[: len(param)]
        np.subtract(g, m, out=part)
        part *= 1 - betas[0]
        m += part
        v *= betas[1]
        np.multiply(g, g, out=part)
        part *= 1 - betas[1]
        v += part  # where squares overflow v stays infinite, and the param where it is
        np.sqrt(v, out=part)
        part += eps * correct2  # the corrections of v and m are a factor of all, the last one
        np.divide(m, part, out=part)
        part *= lr * correct2 / correct1
        param -= part


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
