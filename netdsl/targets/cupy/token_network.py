"""What a CuPy network that gives a class for each token does otherwise; its text is copied into emitted modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from netdsl.kernels.arrays import Array
from netdsl.targets.cupy.network import Network

if TYPE_CHECKING:
    import cupy as cp


class TokenNetwork(Network):
    """A network that gives logits (N, T, K), a class for each token."""

    def predict(self, x: Any, batch: int = 256) -> Array:
        """x (N, *input_shape) -> the class with the largest logit of each token, (N, T)."""
        x = self.check_input(x)
        logits = [cp.asnumpy(self.logits(x[i : i + batch])) for i in range(0, len(x), batch)]
        return np.concatenate(logits).argmax(axis=2)
