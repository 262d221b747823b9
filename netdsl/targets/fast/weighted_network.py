"""A fast NumPy network whose classes have weights; its text is copied into emitted modules."""

from __future__ import annotations

from netdsl.kernels.losses import total_weight
from netdsl.stages.stage import Worker
from netdsl.targets.fast.network import FastNetwork


class WeightedNetwork(FastNetwork):
    """A block's share of the mean loss goes by the weights of its labels, not by how many they are."""

    class_weights: tuple[float, ...]

    def share(self, w: Worker, rows: slice) -> float:
        """By how much the mean loss of a block counts in that of the batch."""
        y, weights, classes = self.io["y"][: w.n], self.class_weights, self.logits_shape[0]
        return total_weight(y[rows], weights, classes) / total_weight(y, weights, classes)
