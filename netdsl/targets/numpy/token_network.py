"""What a NumPy network that gives a class for each token does otherwise; its text is copied into emitted modules."""

from __future__ import annotations

from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array
from netdsl.targets.numpy.network import Network


class TokenNetwork(Network):
    """A network that gives logits (N, T, K), a class for each token."""

    def predict(self, x: Any, batch: int = 256) -> Array:
        """x (N, *input_shape) -> the class with the largest logit of each token, (N, T)."""
        x = self.check_input(x)
        return np.concatenate([self.logits(x[i : i + batch]).argmax(axis=2) for i in range(0, len(x), batch)])
