"""A network of one layer, computed by one of its stages or by its textbook kernel."""

import numpy as np
from worst_order import worst

from netdsl.kernels.losses import mse
from netdsl.stages.layout import from_textbook, to_textbook
from netdsl.stages.stage import Stages
from netdsl.targets.fast.network import FastNetwork
from netdsl.targets.fast.parts import WaitingNetwork


class Alone(FastNetwork):
    """A network of one layer, which the stage of `call` computes; in_order makes arrays of another kind of what it is
    given, usually of those that add in the worst order."""

    learning_rate, loss, block = 1.0, staticmethod(mse), 4

    def __new__(cls, net, call, *options, **more):
        return super().__new__(WaitingAlone if call.kernel.can.waits else cls)

    def __init__(self, net, call, dtype="float32", in_order=worst):
        self.in_order = in_order
        self.node, self.stage_call, self.dtype = net.graph.nodes[0], call, np.dtype(dtype)
        self.input_shape, self.logits_shape = net.graph.input_shape, net.graph.output_shape
        self.space, self.takes_map = net.graph.input_type.space, net.graph.input_type.is_map
        self.gives_map = net.graph.output_type.is_map
        self.first = net.build(dtype=dtype)
        super().__init__(0, dtype, 2)

    def first_params(self, rng, dtype):
        return self.first.params

    def first_buffers(self, dtype):
        return self.first.buffers

    def train_stages(self, w):
        s, call = Stages(), self.stage_call
        name = [self.node.name] if call.kernel.can.is_named else []
        s.one = call.kernel(w, *name, *call.arguments, **call.options)
        return s

    infer_stages = train_stages

    def train_forward(self, s, x):
        return s.one.forward(self.in_order(from_textbook(x, self.takes_map)))

    infer_forward = train_forward

    def train_backward(self, s, dy):
        dx = s.one.backward(self.in_order(dy))
        if isinstance(self, WaitingNetwork):
            return self.put_later(s, dx)
        self.put(s, dx)
        return None

    def put_later(self, s, dx):
        self.put(s, (yield from dx))

    def put(self, s, dx):
        if dx is not None:
            self.dx[s.one.w.rows[s.one.w.block]] = to_textbook(dx, self.space)

    def both_passes(self, x, dy):
        """-> {what: array} in training."""
        self.dx = np.full(x.shape, 7.5, self.dtype)
        y = self.logits(x, training=True)
        return {"y": y, "dx": self.dx, **{f"d{name}": grad for name, grad in self.backward(dy)[1].items()}}


class WaitingAlone(Alone, WaitingNetwork):
    """The same, where the stage waits for the whole batch."""


def textbook(net, x, dy, dtype):
    model = net.build(dtype=dtype)
    y = model.logits(x.astype(dtype), training=True)
    dx, grads = model.backward(dy.astype(dtype))
    return {"y": y, "dx": dx, **{f"d{name}": grads[name] for name in model.params}}
