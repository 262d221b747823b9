"""A fast NumPy network whose classes have weights; its text is copied into emitted modules."""

from netdsl.backends.fast_network import FastNetwork
from netdsl.kernels.losses import total_weight
from netdsl.kernels.plane_stages import from_textbook, to_textbook


class WeightedNetwork(FastNetwork):
    """A block's share of the mean loss goes by the weights of its labels, not by how many they are."""

    def train_block(self, w, b):
        rows, y = w.rows[b], self.io["y"][: w.n]
        x = self.io["x"][rows]
        z = (yield from self.train_forward(w.s, x)) if self.waits else self.train_forward(w.s, x)
        z = to_textbook(z)
        self.io["logits"][rows] = z
        loss, dz = self.loss(z, y[rows])
        weights, classes = self.class_weights, z.shape[1]
        share = total_weight(y[rows], weights, classes) / total_weight(y, weights, classes)
        self.losses[w.index] += loss * share
        waiting = self.train_backward(w.s, from_textbook((dz * share).astype(self.dtype)))
        if waiting is not None:
            yield from waiting
