"""How weights start. Each takes numpy's generator, a shape and the fans, and gives an array of `dtype`."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array, Shape, Type


def he(rng: np.random.Generator, shape: Shape, fan_in: int, fan_out: int, dtype: Type) -> Array:
    """He et al. 2015: normal with variance 2 / fan_in."""
    return (rng.standard_normal(shape) * (2.0 / fan_in) ** 0.5).astype(dtype)


def xavier(rng: np.random.Generator, shape: Shape, fan_in: int, fan_out: int, dtype: Type) -> Array:
    """Glorot & Bengio 2010: uniform within sqrt(6 / (fan_in + fan_out))."""
    bound = (6.0 / (fan_in + fan_out)) ** 0.5
    return rng.uniform(-bound, bound, shape).astype(dtype)


def torch_uniform(rng: np.random.Generator, shape: Shape, fan_in: int, fan_out: int, dtype: Type) -> Array:
    """PyTorch's default for convolutions and linear layers, weights and biases: uniform within 1 / sqrt(fan_in)."""
    bound = fan_in**-0.5
    return rng.uniform(-bound, bound, shape).astype(dtype)


def embedding(rng: np.random.Generator, shape: Shape, dtype: Type) -> Array:
    """PyTorch's default for embeddings: normal with standard deviation 1."""
    return rng.standard_normal(shape).astype(dtype)


def normal(rng: np.random.Generator, shape: Shape, dtype: Type) -> Array:
    """Normal with standard deviation 0.02, for learned positions (Dosovitskiy et al. 2021)."""
    return (0.02 * rng.standard_normal(shape)).astype(dtype)


def residual_end(rng: np.random.Generator, shape: Shape, branches: int, dtype: Type) -> Array:
    """Normal with standard deviation 0.02 / sqrt(branches), so that all of them add up to one (Radford et al. 2019,
    section 2.3)."""
    return (0.02 / branches**0.5 * rng.standard_normal(shape)).astype(dtype)
