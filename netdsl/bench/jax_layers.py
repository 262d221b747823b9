"""Layers as JAX computes them: one function for each op, of what the layer has and its inputs.

Arrays have the shapes of the layer files, (N, C, *space), (N, T, D) and (N, D). XLA chooses how maps lie in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from netdsl.kernels.positions import rotary_table, sincos_table
from netdsl.kernels.resample import averaging_matrix
from netdsl.layers.avgpool import divisors

Array = Any  # a jax.Array, or what stands for one while JAX traces a function


@dataclass
class Own:
    """What a layer has: attrs; params and buffers by the names of its kernel's arguments; in training a key to draw
    with. moved: the buffers that training moves, as they are after it."""

    attrs: Mapping[str, Any]
    params: Mapping[str, Array]
    buffers: Mapping[str, Array] = field(default_factory=dict)
    key: Array | None = None
    training: bool = False
    moved: dict[str, Array] = field(default_factory=dict)

    def affine(self, y: Array, axis: int) -> Array:
        """weight * y + bias along an axis, where the layer has them."""
        for name, apply in (("weight", jnp.multiply), ("bias", jnp.add)):
            if name in self.params:
                y = apply(y, along(self.params[name], y, axis))
        return y


def along(vector: Array, x: Array, axis: int) -> Array:
    """The vector in a shape that repeats it over all axes of x but one."""
    return vector.reshape(*[1] * axis, -1, *[1] * (x.ndim - axis - 1))


def conv(own: Own, x: Array) -> Array:
    letters = "NC" + "DHW"[3 - (x.ndim - 2) :]
    y = lax.conv_general_dilated(
        x,
        own.params["weight"],
        own.attrs["stride"],
        own.attrs["padding"],
        rhs_dilation=own.attrs["dilation"],
        dimension_numbers=(letters, letters.replace("N", "O").replace("C", "I"), letters),
        feature_group_count=own.attrs["groups"],
    )
    return y + along(own.params["bias"], y, 1) if "bias" in own.params else y


def linear(own: Own, x: Array) -> Array:
    y = x @ own.params["weight"].T
    return y + own.params["bias"] if "bias" in own.params else y


def batch_norm(own: Own, x: Array) -> Array:
    axes = (0, *range(2, x.ndim))
    mean, var = own.buffers["running_mean"], own.buffers["running_var"]
    if own.training:
        rate, count = own.attrs["momentum"], x.size // x.shape[1]
        before = {"running_mean": mean, "running_var": var}
        mean, var = x.mean(axes), x.var(axes)
        seen = {"running_mean": mean, "running_var": var * (count / (count - 1))}
        own.moved.update({name: before[name] + rate * (seen[name] - before[name]) for name in seen})
    return own.affine((x - along(mean, x, 1)) * along(lax.rsqrt(var + own.attrs["eps"]), x, 1), 1)


def layer_norm(own: Own, x: Array) -> Array:
    axis = own.attrs["axis"]
    mean, var = x.mean(axis, keepdims=True), x.var(axis, keepdims=True)
    return own.affine((x - mean) * lax.rsqrt(var + own.attrs["eps"]), axis)


def rms_norm(own: Own, x: Array) -> Array:
    axis = own.attrs["axis"]
    return own.affine(x * lax.rsqrt(jnp.square(x).mean(axis, keepdims=True) + own.attrs["eps"]), axis)


def group_norm(own: Own, x: Array) -> Array:
    return own.affine(_normed_groups(x, own.attrs["groups"], own.attrs["eps"]), 1)


def instance_norm(own: Own, x: Array) -> Array:
    return own.affine(_normed_groups(x, x.shape[1], own.attrs["eps"]), 1)


def _normed_groups(x: Array, groups: int, eps: float) -> Array:
    rows = x.reshape(len(x), groups, -1)
    mean, var = rows.mean(2, keepdims=True), rows.var(2, keepdims=True)
    return ((rows - mean) * lax.rsqrt(var + eps)).reshape(x.shape)


def max_pool(own: Own, x: Array) -> Array:
    window = {"window_dimensions": (1, 1, *own.attrs["kernel_size"]), "window_strides": (1, 1, *own.attrs["stride"])}
    dilated = (1, 1, *own.attrs["dilation"])
    return lax.reduce_window(x, -jnp.inf, lax.max, padding=_sides(own), window_dilation=dilated, **window)


def average_pool(own: Own, x: Array) -> Array:
    kernel_size, stride = own.attrs["kernel_size"], own.attrs["stride"]
    axes = zip(x.shape[2:], kernel_size, stride, own.attrs["padding"], strict=True)
    counts = np.ix_(*(divisors(*axis, own.attrs["nopad"], own.attrs["ceil"]) for axis in axes))
    total = lax.reduce_window(x, 0.0, lax.add, (1, 1, *kernel_size), (1, 1, *stride), _sides(own))
    return total / np.array(math.prod(counts), np.float32)


def _sides(own: Own) -> tuple[tuple[int, int], ...]:
    return ((0, 0), (0, 0), *own.attrs["padding"])


def adaptive_pool(own: Own, x: Array) -> Array:
    for axis, (size, out) in enumerate(zip(x.shape[2:], own.attrs["output_size"], strict=True), 2):
        x = jnp.moveaxis(jnp.moveaxis(x, axis, -1) @ averaging_matrix(size, out, np.dtype(np.float32)).T, -1, axis)
    return x


def attention(own: Own, x: Array) -> Array:
    (n, t, d), attrs, params = x.shape, own.attrs, own.params
    heads, kv = attrs["heads"], attrs["kv"]
    qkv = x @ params["in_proj_weight"].T
    if "in_proj_bias" in params:
        qkv = qkv + params["in_proj_bias"]
    parts = jnp.split(qkv, (d, d + kv * d // heads), axis=2)
    q, k, v = (part.reshape(n, t, -1, d // heads).swapaxes(1, 2) for part in parts)
    if attrs["rope"]:
        table = rotary_table(0, t, d // heads, attrs["base"], np.dtype(np.float32))
        q, k = turned(q, table), turned(k, table)
    k, v = (part.repeat(heads // kv, axis=1) for part in (k, v))
    scores = q @ k.swapaxes(2, 3) * (d // heads) ** -0.5
    if attrs["causal"]:
        scores = jnp.where(np.tri(t, dtype=bool), scores, -jnp.inf)
    weights = dropped(lambda x: x.shape, "dropout")(own, jax.nn.softmax(scores, 3))
    y = (weights @ v).swapaxes(1, 2).reshape(n, t, d) @ params["out_proj_weight"].T
    return y + params["out_proj_bias"] if "out_proj_bias" in params else y


def turned(x: Array, table: np.ndarray) -> Array:
    (cos, sin), (a, b) = table, jnp.split(x, 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def positions(own: Own, x: Array) -> Array:
    _, t, d = x.shape
    return x + (sincos_table(0, t, d, np.dtype(np.float32)) if own.attrs["sincos"] else own.params["weight"])


def swiglu(own: Own, x: Array) -> Array:
    return jax.nn.silu(x @ own.params["gate_weight"].T) * (x @ own.params["up_weight"].T)


def dropped(shape: Callable[[Array], tuple[int, ...]], attr: str = "p") -> Callable[[Own, Array], Array]:
    """Dropout that draws a factor for each place of that shape; attr: what has its probability."""

    def drop(own: Own, x: Array) -> Array:
        if not own.training or not own.attrs[attr]:
            return x
        keeps = jax.random.bernoulli(own.key, 1 - own.attrs[attr], shape(x))
        return jnp.where(keeps, x / (1 - own.attrs[attr]), 0)

    return drop


def product(own: Own, *inputs: Array) -> Array:
    rank = max(x.ndim for x in inputs)
    return math.prod(x.reshape(*x.shape, *[1] * (rank - x.ndim)) for x in inputs)


def cat(own: Own, *inputs: Array) -> Array:
    return jnp.concatenate(inputs, own.attrs["axis"])


def prelu(own: Own, x: Array) -> Array:
    return jnp.where(x > 0, x, along(own.params["weight"], x, 1) * x)


def first_token(own: Own, x: Array) -> Array:
    token = own.params["weight"]
    return jnp.concatenate([jnp.broadcast_to(token, (len(x), *token.shape[1:])), x], 1)


def pointwise(function: Callable[[Array], Array]) -> Callable[[Own, Array], Array]:
    """A layer that changes every number by itself."""
    return lambda own, x: function(x)


LAYERS: Mapping[str, Callable[..., Array]] = {
    "adaptive": adaptive_pool,
    "add": lambda own, *inputs: sum(inputs[1:], inputs[0]),
    "avgpool": average_pool,
    "bn": batch_norm,
    "cat": cat,
    "cls": first_token,
    "conv": conv,
    "dropout": dropped(lambda x: x.shape),
    "dropout2d": dropped(lambda x: (*x.shape[:2], *[1] * (x.ndim - 2))),
    "droppath": dropped(lambda x: (len(x), *[1] * (x.ndim - 1))),
    "elu": lambda own, x: jax.nn.elu(x, own.attrs["alpha"]),
    "flatten": lambda own, x: x.reshape(len(x), -1),
    "gap": lambda own, x: x.mean(tuple(range(2, x.ndim))),
    "gelu": lambda own, x: jax.nn.gelu(x, approximate=own.attrs["tanh"]),
    "gmp": lambda own, x: x.max(tuple(range(2, x.ndim))),
    "gn": group_norm,
    "hardsigmoid": pointwise(jax.nn.hard_sigmoid),
    "hardswish": pointwise(jax.nn.hard_swish),
    "id": pointwise(lambda x: x),
    "inorm": instance_norm,
    "leaky": lambda own, x: jnp.where(x > 0, x, own.attrs["slope"] * x),
    "linear": linear,
    "ln": layer_norm,
    "logsoftmax": lambda own, x: jax.nn.log_softmax(x, own.attrs["axis"]),
    "map": lambda own, x: x.swapaxes(1, 2).reshape(len(x), -1, *own.attrs["space"]),
    "mha": attention,
    "mish": pointwise(jax.nn.mish),
    "mul": product,
    "pad": lambda own, x: jnp.pad(x, _sides(own)),
    "pool": max_pool,
    "pos": positions,
    "prelu": prelu,
    "relu": pointwise(jax.nn.relu),
    "relu6": pointwise(jax.nn.relu6),
    "reshape": lambda own, x: x.reshape(len(x), *own.attrs["shape"]),
    "rms": rms_norm,
    "scale": lambda own, x: own.params["weight"] * x,
    "selu": pointwise(jax.nn.selu),
    "sigmoid": pointwise(jax.nn.sigmoid),
    "silu": pointwise(jax.nn.silu),
    "softmax": lambda own, x: jax.nn.softmax(x, own.attrs["axis"]),
    "softplus": pointwise(jax.nn.softplus),
    "take": lambda own, x: x[:, own.attrs["index"]],
    "swiglu": swiglu,
    "tanh": pointwise(jnp.tanh),
    "tokens": lambda own, x: x.reshape(*x.shape[:2], -1).swapaxes(1, 2),
    "transpose": lambda own, x: x.swapaxes(1, 2),
}
"""op -> the function (what the layer has, its inputs) -> its output."""
