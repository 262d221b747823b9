"""What a NumPy network with named inputs or outputs does otherwise; its text is copied into emitted modules."""

from __future__ import annotations

from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Grads, Number, Shape
from netdsl.targets.numpy.network import Network


class NamedNetwork(Network):
    """A network of several inputs or outputs, or of one that has a name. `input_shapes` has them in order, by name.

    `forward`, `logits` and `outputs` take an array for each input. Where others take x, that is a tuple of them, a dict
    by their names, or the array of an only input. `forward` and `outputs` give a dict of the outputs if these have
    names, and the loss reads one of them.
    """

    input_shapes: dict[str, Shape]

    def check_inputs(self, *given: Any) -> list[Array]:
        """x (N, *shape) of each input -> the same in the network's dtype; bytes become 0..1. Raises ValueError."""
        inputs = zip(self.input_shapes, self.in_order(given), strict=True)
        checked = [self.check_named(name, x) for name, x in inputs]
        if len({len(x) for x in checked}) > 1:
            names = ", ".join(self.input_shapes)
            raise ValueError(f"the inputs ({names}) have {', '.join(str(len(x)) for x in checked)} samples")
        return checked

    def check_named(self, name: str, x: Any) -> Array:
        """x (N, *shape) of the input of that name -> the same in the network's dtype. Raises ValueError."""
        return self.check_floats(name, x)

    def check_floats(self, name: str, x: Any) -> Array:
        """The same, of an input that is no number of a vocabulary."""
        shape, x = self.input_shapes[name], np.asarray(x)
        x = np.divide(x, 255, dtype=self.dtype) if x.dtype == np.uint8 else np.asarray(x, self.dtype)
        if x.shape[1:] != shape or not len(x):
            raise ValueError(f"the input {name} takes (N, {', '.join(map(str, shape))}), not {x.shape}")
        return x

    def in_order(self, x: Any) -> tuple[Any, ...]:
        """A tuple, a dict by names or the array of an only input -> the arrays in order. Raises ValueError."""
        names = ", ".join(self.input_shapes)
        if isinstance(x, dict):
            if set(x) != set(self.input_shapes):
                raise ValueError(f"the inputs are {names}, not {', '.join(map(str, x))}")
            return tuple(x[name] for name in self.input_shapes)
        given = tuple(x) if isinstance(x, tuple | list) else (x,)
        if len(given) != len(self.input_shapes):
            raise ValueError(f"the network takes {len(self.input_shapes)} inputs ({names}), not {len(given)}")
        return given

    def loss_and_gradients(self, x: Any, y: Array) -> tuple[Number, Grads]:
        """x, targets y of the output that the loss reads -> mean loss, {param name: gradient}, in training mode."""
        loss, dlogits = self.loss(self.logits(*self.in_order(x), training=True), y)
        _, grads = self.backward(dlogits)
        return loss, grads

    def fit(
        self, x: Any, y: Array, epochs: int = 5, batch: int = 64, lr: float | None = None, seed: int = 0
    ) -> list[float]:
        """Train on x and targets y (N, ...) in shuffled batches; returns each epoch's mean loss."""
        xs, rng, history = self.check_inputs(*self.in_order(x)), np.random.default_rng(seed), []
        for _ in range(epochs):
            batches = np.array_split(rng.permutation(len(y)), max(1, len(y) // batch))
            losses = [self.train_step(tuple(x[rows] for x in xs), y[rows], lr) for rows in batches]
            history.append(float(np.mean(losses)))
        return history

    def outputs(self, *given: Any, batch: int = 256) -> Any:
        """x (N, *shape) of each input -> what `forward` gives, without training, batch by batch."""
        parts = [self.forward(*some) for some in self.batches(given, batch)]
        if isinstance(parts[0], dict):
            return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return np.concatenate(parts)

    def predict(self, x: Any, batch: int = 256) -> Array:
        """x -> the class with the largest logit, (N, ...), of the output that the loss reads; of a single one 1 where
        it is above 0."""
        logits = np.concatenate([self.logits(*some) for some in self.batches(self.in_order(x), batch)])
        return (logits[:, 0] > 0).astype(np.int64) if logits.shape[1] == 1 else logits.argmax(axis=1)

    def batches(self, given: Any, batch: int) -> list[tuple[Array, ...]]:
        """The arrays of the inputs, cut into batches."""
        xs = self.check_inputs(*given)
        return [tuple(x[i : i + batch] for x in xs) for i in range(0, len(xs[0]), batch)]
