"""What a network does first with what it is given, where its `input` has a mean and a std."""

import numpy as np


def constant(numbers, shape):
    """One number, or one for each channel, as float32 that fits arrays (N, *shape): (C, 1, 1) for maps, else (D,)."""
    return np.array(numbers, np.float32).reshape(-1, *[1] * (len(shape) - 1 if len(shape) > 2 else 0))


def normalize(x, mean, std):
    """x (N, *shape) -> (x - mean) / std, with one number each, or one for each channel (feature).

    The numbers are those of float32 for x of any dtype, so that every module of the network has the same.
    """
    return (x - constant(mean, x.shape[1:])) / constant(std, x.shape[1:])


def normalize_backward(dy, std):
    """dx = dy / std."""
    return dy / constant(std, dy.shape[1:])
