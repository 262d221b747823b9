"""Draws from what a network says of the numbers that may follow."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array


def drawn_ids(logits: Array, temperature: float, top_k: int | None, rng: np.random.Generator) -> Array:
    """logits (N, V) -> (N,), each drawn from softmax(logits / temperature) of the top_k largest (None: all); of a
    temperature of 0 the largest itself."""
    if temperature == 0:
        return logits.argmax(axis=1)
    scores = logits.astype(np.float64)
    if top_k is not None and top_k < scores.shape[1]:
        least = np.partition(scores, -top_k, axis=1)[:, -top_k, None]
        scores = np.where(scores < least, -np.inf, scores)
    shares = np.exp((scores - scores.max(axis=1, keepdims=True)) / temperature).cumsum(axis=1)
    return (shares <= rng.random((len(shares), 1)) * shares[:, -1:]).sum(axis=1)
