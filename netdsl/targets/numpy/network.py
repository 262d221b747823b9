"""The part that every NumPy network shares; its text is copied into emitted modules."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Grads, Number, Shape
from netdsl.kernels.weights import read_weights, write_weights


class Network:
    """What a network can do once it has `params`, `buffers`, `logits`, `forward`, `backward`, `loss` and `update`.

    params and buffers: name -> array, with PyTorch's names, shapes and order, so that one checkpoint fits both.
    """

    dtype: np.dtype[Any]
    input_shape: Shape
    learning_rate: float
    params: dict[str, Array]
    buffers: dict[str, Array]
    loss: Callable[..., tuple[Number, Array]]
    logits: Callable[..., Array]
    forward: Callable[..., Any]
    backward: Callable[[Array], tuple[Any, Grads]]
    update: Callable[[Grads, float], None]

    def check_input(self, x: Any) -> Array:
        """x (N, *input_shape) -> the same in the network's dtype; bytes (uint8) become 0..1. Raises ValueError."""
        x = np.asarray(x)
        x = np.divide(x, 255, dtype=self.dtype) if x.dtype == np.uint8 else np.asarray(x, self.dtype)
        if x.shape[1:] != self.input_shape or not len(x):
            raise ValueError(f"the network takes (N, {', '.join(map(str, self.input_shape))}), not {x.shape}")
        return x

    def loss_and_gradients(self, x: Any, y: Array) -> tuple[Number, Grads]:
        """x (N, *input_shape), targets y -> mean loss, {param name: gradient}, in training mode."""
        loss, dlogits = self.loss(self.logits(x, training=True), y)
        _, grads = self.backward(dlogits)
        return loss, grads

    def train_step(self, x: Any, y: Array, lr: float | None = None) -> Number:
        """Forward, loss, backward and one step of the optimizer, in place; returns the loss."""
        loss, grads = self.loss_and_gradients(x, y)
        self.update(grads, self.learning_rate if lr is None else lr)
        return loss

    def fit(
        self, x: Any, y: Array, epochs: int = 5, batch: int = 64, lr: float | None = None, seed: int = 0
    ) -> list[float]:
        """Train on x (N, *input_shape) and targets y (N, ...) in shuffled batches; returns each epoch's mean loss."""
        rng, history = np.random.default_rng(seed), []
        for _ in range(epochs):
            batches = np.array_split(rng.permutation(len(x)), max(1, len(x) // batch))
            history.append(float(np.mean([self.train_step(x[rows], y[rows], lr) for rows in batches])))
        return history

    def outputs(self, x: Any, batch: int = 256) -> Any:
        """x (N, *input_shape) -> what the network gives, (N, ...), without training, batch by batch."""
        x = self.check_input(x)
        return np.concatenate([self.forward(x[i : i + batch]) for i in range(0, len(x), batch)])

    def predict(self, x: Any, batch: int = 256) -> Array:
        """x (N, *input_shape) -> the class with the largest logit, (N, ...); of a single one 1 where it is above 0."""
        x = self.check_input(x)
        logits = np.concatenate([self.logits(x[i : i + batch]) for i in range(0, len(x), batch)])
        return (logits[:, 0] > 0).astype(np.int64) if logits.shape[1] == 1 else logits.argmax(axis=1)

    def score(self, x: Any, y: Array) -> float:
        """The share of labels y that `predict` finds."""
        return float(np.mean(self.predict(x) == y))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write params and buffers to a `.safetensors` or `.npz` file."""
        write_weights(path, {**self.params, **self.buffers})

    def load(self, path: str | os.PathLike[str]) -> None:
        """Read what `save`, netdsl or PyTorch wrote; what is not right changes nothing and raises (read_weights)."""
        expected = {**self.params, **self.buffers}
        for name, array in read_weights(path, expected).items():
            expected[name][...] = array
