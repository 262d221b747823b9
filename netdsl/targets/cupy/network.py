"""The part that every CuPy network shares; its text is copied into emitted modules.

It is written beside that of NumPy's networks (targets/numpy/network.py) and not made of it: which arrays lie where, and
what waits for the GPU, is the whole of the difference. Importing it needs no CuPy.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from netdsl.kernels.arrays import Array, Grads, Number, Shape
from netdsl.kernels.weights import read_weights, write_weights

if TYPE_CHECKING:
    import cupy as cp


class Network:
    """What a network can do once it has `params`, `buffers`, `logits`, `forward`, `backward`, `loss` and `update`.

    params and buffers: name -> array, with PyTorch's names, shapes and order, so that one checkpoint fits both. They
    lie on the GPU, as all does that is computed. x and y may be NumPy's or CuPy's, and are moved there where they are
    not. `fit`, `outputs`, `predict` and `score` wait for the GPU and give Python's numbers and NumPy's arrays; the
    others give CuPy's.
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
        x = cp.asarray(x)
        x = x.astype(self.dtype) / 255 if x.dtype == np.uint8 else cp.asarray(x, self.dtype)
        if x.shape[1:] != self.input_shape or not len(x):
            raise ValueError(f"the network takes (N, {', '.join(map(str, self.input_shape))}), not {x.shape}")
        return x

    def loss_and_gradients(self, x: Any, y: Any) -> tuple[Number, Grads]:
        """x (N, *input_shape), targets y -> mean loss, {param name: gradient}, in training mode."""
        loss, dlogits = self.loss(self.logits(x, training=True), cp.asarray(y))
        _, grads = self.backward(dlogits)
        return loss, grads

    def train_step(self, x: Any, y: Any, lr: float | None = None) -> Number:
        """Forward, loss, backward and one step of the optimizer, in place; returns the loss, a CuPy array."""
        loss, grads = self.loss_and_gradients(x, y)
        self.update(grads, self.learning_rate if lr is None else lr)
        return loss

    def fit(
        self, x: Any, y: Any, epochs: int = 5, batch: int = 64, lr: float | None = None, seed: int = 0
    ) -> list[float]:
        """Train on x (N, *input_shape) and targets y (N, ...) in shuffled batches; returns each epoch's mean loss.

        All of x and y is moved to the GPU first. Where they do not fit, give `train_step` one batch after the other.
        """
        x, y, rng, history = cp.asarray(x), cp.asarray(y), np.random.default_rng(seed), []
        for _ in range(epochs):
            batches = np.array_split(rng.permutation(len(x)), max(1, len(x) // batch))
            losses = [self.train_step(x[rows], y[rows], lr) for rows in map(cp.asarray, batches)]
            history.append(float(cp.stack(losses).mean()))
        return history

    def outputs(self, x: Any, batch: int = 256) -> Any:
        """x (N, *input_shape) -> what the network gives, (N, ...), without training, batch by batch."""
        x = self.check_input(x)
        return np.concatenate([cp.asnumpy(self.forward(x[i : i + batch])) for i in range(0, len(x), batch)])

    def predict(self, x: Any, batch: int = 256) -> Array:
        """x (N, *input_shape) -> the class with the largest logit, (N, ...); of a single one 1 where it is above 0."""
        x = self.check_input(x)
        logits = np.concatenate([cp.asnumpy(self.logits(x[i : i + batch])) for i in range(0, len(x), batch)])
        return (logits[:, 0] > 0).astype(np.int64) if logits.shape[1] == 1 else logits.argmax(axis=1)

    def score(self, x: Any, y: Any) -> float:
        """The share of labels y that `predict` finds."""
        return float(np.mean(self.predict(x) == cp.asnumpy(y)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write params and buffers to a `.safetensors` or `.npz` file."""
        write_weights(path, {name: cp.asnumpy(array) for name, array in {**self.params, **self.buffers}.items()})

    def load(self, path: str | os.PathLike[str]) -> None:
        """Read what `save`, netdsl or PyTorch wrote; raises ValueError and changes nothing unless all of it is right.

        What is right, and what is passed over, says `read_weights`.
        """
        expected = {**self.params, **self.buffers}
        for name, array in read_weights(path, expected).items():
            expected[name][...] = cp.asarray(array)
