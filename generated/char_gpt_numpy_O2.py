"""CharGpt in NumPy, 64 of 65 -> 64x65, 804,096 parameters. Written by `netdsl compile -O2`; needs numpy and nothing else.

    layer           output  parameters      layer           output  parameters
    wte             64x128       8,320      layer3.ln1      64x128         128
    pos1            64x128       8,192      layer3.mha1     64x128      65,536
    layer1.ln1      64x128         128      layer3.add1     64x128
    layer1.mha1     64x128      65,536      layer3.ln2      64x128         128
    layer1.add1     64x128                  layer3.linear1  64x512      65,536
    layer1.ln2      64x128         128      layer3.gelu1    64x512
    layer1.linear1  64x512      65,536      layer3.linear2  64x128      65,536
    layer1.gelu1    64x512                  layer3.add2     64x128
    layer1.linear2  64x128      65,536      layer4.ln1      64x128         128
    layer1.add2     64x128                  layer4.mha1     64x128      65,536
    layer2.ln1      64x128         128      layer4.add1     64x128
    layer2.mha1     64x128      65,536      layer4.ln2      64x128         128
    layer2.add1     64x128                  layer4.linear1  64x512      65,536
    layer2.ln2      64x128         128      layer4.gelu1    64x512
    layer2.linear1  64x512      65,536      layer4.linear2  64x128      65,536
    layer2.gelu1    64x512                  layer4.add2     64x128
    layer2.linear2  64x128      65,536      ln1             64x128         128
    layer2.add2     64x128                  unembed1        64x65

Every layer, or a few together, is a stage: an object with its buffers, a forward and a backward. Inside, maps are
(H, W, n, C), n the samples of a block; x, params and gradients have PyTorch's shapes. Workers, threads, share
the batch: each has stages of its own, and they wait for each other where a batch norm needs all samples, and around the
optimizer. Read on: the network and why it has its stages, these in the order of their use, then what trains it, `fast`.
"""

import ctypes
import json
import math
import os
import queue
import sys
import threading
import weakref
import zipfile

import numpy as np

INPUT_SHAPE = (64,)
NUM_PARAMETERS = 804_096
OUTPUTS, LOGITS, GRADIENTS, BACKWARD, UPDATE, STEP = range(6)


class CharGpt:
    """(N, 64) -> (N, 64, 65)."""

    input_shape, logits_shape = INPUT_SHAPE, (64, 65)
    shares = (
        ("unembed1.weight", "wte.weight"),
    )
    learning_rate = 0.002
    window = 64
    block = 32  # samples at a time, at most

    def first_params(self, rng, dtype):
        """The params before training, by PyTorch's names and in its shapes."""
        return {
            "pos1": normal(rng, (1, 64, 128), dtype),
            "wte.weight": normal(rng, (65, 128), dtype),
            "layer1.ln1.weight": np.ones(128, dtype),
            "layer1.mha1.in_proj_weight": normal(rng, (384, 128), dtype),
            "layer1.mha1.out_proj.weight": residual_end(rng, (128, 128), 8, dtype),
            "layer1.ln2.weight": np.ones(128, dtype),
            "layer1.linear1.weight": normal(rng, (512, 128), dtype),
            "layer1.linear2.weight": residual_end(rng, (128, 512), 8, dtype),
            "layer2.ln1.weight": np.ones(128, dtype),
            "layer2.mha1.in_proj_weight": normal(rng, (384, 128), dtype),
            "layer2.mha1.out_proj.weight": residual_end(rng, (128, 128), 8, dtype),
            "layer2.ln2.weight": np.ones(128, dtype),
            "layer2.linear1.weight": normal(rng, (512, 128), dtype),
            "layer2.linear2.weight": residual_end(rng, (128, 512), 8, dtype),
            "layer3.ln1.weight": np.ones(128, dtype),
            "layer3.mha1.in_proj_weight": normal(rng, (384, 128), dtype),
            "layer3.mha1.out_proj.weight": residual_end(rng, (128, 128), 8, dtype),
            "layer3.ln2.weight": np.ones(128, dtype),
            "layer3.linear1.weight": normal(rng, (512, 128), dtype),
            "layer3.linear2.weight": residual_end(rng, (128, 512), 8, dtype),
            "layer4.ln1.weight": np.ones(128, dtype),
            "layer4.mha1.in_proj_weight": normal(rng, (384, 128), dtype),
            "layer4.mha1.out_proj.weight": residual_end(rng, (128, 128), 8, dtype),
            "layer4.ln2.weight": np.ones(128, dtype),
            "layer4.linear1.weight": normal(rng, (512, 128), dtype),
            "layer4.linear2.weight": residual_end(rng, (128, 512), 8, dtype),
            "ln1.weight": np.ones(128, dtype),
        }

    def loss(self, logits, target):
        """Logits (N, T, K) and labels (N, T) -> mean loss over all tokens, dlogits."""
        loss, dlogits = cross_entropy(logits.reshape(-1, logits.shape[2]), target.reshape(-1))
        return loss, dlogits.reshape(logits.shape)

    def check_input(self, x):
        """x (N, 64), whole numbers from 0 to 64 -> the same as int64. Raises ValueError."""
        return check_ids(x, 64, 65)

    def next_logits(self, x, states):
        """The next numbers x (N, S) of texts, and what layers kept of those before -> logits of what follows each."""
        x, p = check_ids(x, x.shape[1], 65), self.params
        x = embed_forward(x, p["wte.weight"])[0]
        x, states["pos1"] = pos_go_on(x, p["pos1"], state=states.get("pos1"))

        # layer1: layer(features=128)
        y = ln_of_few(x, p["layer1.ln1.weight"], None)
        y, states["layer1.mha1"] = attention_go_on(
            y, p["layer1.mha1.in_proj_weight"], None, p["layer1.mha1.out_proj.weight"], None, heads=4, kv=4,
            state=states.get("layer1.mha1")
        )
        x = add_forward(y, x)[0]
        y = ln_of_few(x, p["layer1.ln2.weight"], None)
        y = linear_forward(y, p["layer1.linear1.weight"], None)[0]
        y = gelu_of_few(y)
        y = linear_forward(y, p["layer1.linear2.weight"], None)[0]
        x = add_forward(y, x)[0]

        # layer2: layer(features=128)
        y = ln_of_few(x, p["layer2.ln1.weight"], None)
        y, states["layer2.mha1"] = attention_go_on(
            y, p["layer2.mha1.in_proj_weight"], None, p["layer2.mha1.out_proj.weight"], None, heads=4, kv=4,
            state=states.get("layer2.mha1")
        )
        x = add_forward(y, x)[0]
        y = ln_of_few(x, p["layer2.ln2.weight"], None)
        y = linear_forward(y, p["layer2.linear1.weight"], None)[0]
        y = gelu_of_few(y)
        y = linear_forward(y, p["layer2.linear2.weight"], None)[0]
        x = add_forward(y, x)[0]

        # layer3: layer(features=128)
        y = ln_of_few(x, p["layer3.ln1.weight"], None)
        y, states["layer3.mha1"] = attention_go_on(
            y, p["layer3.mha1.in_proj_weight"], None, p["layer3.mha1.out_proj.weight"], None, heads=4, kv=4,
            state=states.get("layer3.mha1")
        )
        x = add_forward(y, x)[0]
        y = ln_of_few(x, p["layer3.ln2.weight"], None)
        y = linear_forward(y, p["layer3.linear1.weight"], None)[0]
        y = gelu_of_few(y)
        y = linear_forward(y, p["layer3.linear2.weight"], None)[0]
        x = add_forward(y, x)[0]

        # layer4: layer(features=128)
        y = ln_of_few(x, p["layer4.ln1.weight"], None)
        y, states["layer4.mha1"] = attention_go_on(
            y, p["layer4.mha1.in_proj_weight"], None, p["layer4.mha1.out_proj.weight"], None, heads=4, kv=4,
            state=states.get("layer4.mha1")
        )
        x = add_forward(y, x)[0]
        y = ln_of_few(x, p["layer4.ln2.weight"], None)
        y = linear_forward(y, p["layer4.linear1.weight"], None)[0]
        y = gelu_of_few(y)
        y = linear_forward(y, p["layer4.linear2.weight"], None)[0]
        x = add_forward(y, x)[0]

        # the network itself
        x = ln_of_few(x, p["ln1.weight"], None)
        x = unembed_forward(x, p["wte.weight"])[0]
        return x

    def train_stages(self, w):
        """What worker w computes with, in training."""
        s = Stages()
        s.wte = Embed(w, "wte", 64, 65, 128)
        s.pos1 = Positions(w, "pos1", (64, 128))
        s.layer1_ln1 = LayerNorm(w, "layer1.ln1", (64, 128), 1e-05)
        s.layer1_mha1 = CausalAttention(w.into(1), "layer1.mha1", (64, 128), 4, 4, True, plus=True)
        s.layer1_ln2 = LayerNorm(w, "layer1.ln2", (64, 128), 1e-05)
        s.layer1_linear1 = TokenLinear(w.into(2), "layer1.linear1", (64, 128), 512)
        s.layer1_gelu1 = Gelu(w, (64, 512), in_place=True)
        s.layer1_linear2 = TokenLinear(w.into(1), "layer1.linear2", (64, 512), 128, plus=True)
        s.layer2_ln1 = LayerNorm(w, "layer2.ln1", (64, 128), 1e-05)
        s.layer2_mha1 = CausalAttention(w.into(1), "layer2.mha1", (64, 128), 4, 4, True, plus=True)
        s.layer2_ln2 = LayerNorm(w, "layer2.ln2", (64, 128), 1e-05)
        s.layer2_linear1 = TokenLinear(w.into(2), "layer2.linear1", (64, 128), 512)
        s.layer2_gelu1 = Gelu(w, (64, 512), in_place=True)
        s.layer2_linear2 = TokenLinear(w.into(1), "layer2.linear2", (64, 512), 128, plus=True)
        s.layer3_ln1 = LayerNorm(w, "layer3.ln1", (64, 128), 1e-05)
        s.layer3_mha1 = CausalAttention(w.into(1), "layer3.mha1", (64, 128), 4, 4, True, plus=True)
        s.layer3_ln2 = LayerNorm(w, "layer3.ln2", (64, 128), 1e-05)
        s.layer3_linear1 = TokenLinear(w.into(2), "layer3.linear1", (64, 128), 512)
        s.layer3_gelu1 = Gelu(w, (64, 512), in_place=True)
        s.layer3_linear2 = TokenLinear(w.into(1), "layer3.linear2", (64, 512), 128, plus=True)
        s.layer4_ln1 = LayerNorm(w, "layer4.ln1", (64, 128), 1e-05)
        s.layer4_mha1 = CausalAttention(w.into(1), "layer4.mha1", (64, 128), 4, 4, True, plus=True)
        s.layer4_ln2 = LayerNorm(w, "layer4.ln2", (64, 128), 1e-05)
        s.layer4_linear1 = TokenLinear(w.into(2), "layer4.linear1", (64, 128), 512)
        s.layer4_gelu1 = Gelu(w, (64, 512), in_place=True)
        s.layer4_linear2 = TokenLinear(w.into(1), "layer4.linear2", (64, 512), 128, plus=True)
        s.ln1 = LayerNorm(w, "ln1", (64, 128), 1e-05)
        s.unembed1 = TokenLinear(w.into(0), "unembed1", (64, 128), 65)
        return s

    def infer_stages(self, w):
        """The same at inference: batch norms are part of convolutions."""
        s = Stages()
        s.wte = Embed(w.into(0), "wte", 64, 65, 128)
        s.pos1 = Positions(w.into(1), "pos1", (64, 128))
        s.layer1_ln1 = LayerNorm(w.into(0), "layer1.ln1", (64, 128), 1e-05)
        s.layer1_mha1 = CausalAttention(w.into(2), "layer1.mha1", (64, 128), 4, 4, True, plus=True)
        s.layer1_ln2 = LayerNorm(w.into(0), "layer1.ln2", (64, 128), 1e-05)
        s.layer1_linear1 = TokenLinear(w.into(1), "layer1.linear1", (64, 128), 512)
        s.layer1_gelu1 = Gelu(w, (64, 512))
        s.layer1_linear2 = TokenLinear(w.into(0), "layer1.linear2", (64, 512), 128, plus=True)
        s.layer2_ln1 = LayerNorm(w.into(1), "layer2.ln1", (64, 128), 1e-05)
        s.layer2_mha1 = CausalAttention(w.into(2), "layer2.mha1", (64, 128), 4, 4, True, plus=True)
        s.layer2_ln2 = LayerNorm(w.into(0), "layer2.ln2", (64, 128), 1e-05)
        s.layer2_linear1 = TokenLinear(w.into(1), "layer2.linear1", (64, 128), 512)
        s.layer2_gelu1 = Gelu(w, (64, 512))
        s.layer2_linear2 = TokenLinear(w.into(0), "layer2.linear2", (64, 512), 128, plus=True)
        s.layer3_ln1 = LayerNorm(w.into(1), "layer3.ln1", (64, 128), 1e-05)
        s.layer3_mha1 = CausalAttention(w.into(2), "layer3.mha1", (64, 128), 4, 4, True, plus=True)
        s.layer3_ln2 = LayerNorm(w.into(0), "layer3.ln2", (64, 128), 1e-05)
        s.layer3_linear1 = TokenLinear(w.into(1), "layer3.linear1", (64, 128), 512)
        s.layer3_gelu1 = Gelu(w, (64, 512))
        s.layer3_linear2 = TokenLinear(w.into(0), "layer3.linear2", (64, 512), 128, plus=True)
        s.layer4_ln1 = LayerNorm(w.into(1), "layer4.ln1", (64, 128), 1e-05)
        s.layer4_mha1 = CausalAttention(w.into(2), "layer4.mha1", (64, 128), 4, 4, True, plus=True)
        s.layer4_ln2 = LayerNorm(w.into(0), "layer4.ln2", (64, 128), 1e-05)
        s.layer4_linear1 = TokenLinear(w.into(1), "layer4.linear1", (64, 128), 512)
        s.layer4_gelu1 = Gelu(w, (64, 512))
        s.layer4_linear2 = TokenLinear(w.into(0), "layer4.linear2", (64, 512), 128, plus=True)
        s.ln1 = LayerNorm(w.into(1), "ln1", (64, 128), 1e-05)
        s.unembed1 = TokenLinear(w.into(0), "unembed1", (64, 128), 65)
        return s

    def train_forward(self, s, x):
        """One block: x (N, 64) -> what the loss reads (N, 64, 65)."""
        x = s.wte.forward(x)  # (n, 64, 128)
        x = s.pos1.forward(x)

        # layer1: layer(features=128)
        y = s.layer1_ln1.forward(x)
        x = s.layer1_mha1.forward(y, x)  # layer1.mha1 -> layer1.add1: (n, 64, 128)
        y = s.layer1_ln2.forward(x)
        y = s.layer1_linear1.forward(y)  # (n, 64, 512)
        y = s.layer1_gelu1.forward(y)
        x = s.layer1_linear2.forward(y, x)  # layer1.linear2 -> layer1.add2: (n, 64, 128)

        # layer2: layer(features=128)
        y = s.layer2_ln1.forward(x)
        x = s.layer2_mha1.forward(y, x)  # layer2.mha1 -> layer2.add1: (n, 64, 128)
        y = s.layer2_ln2.forward(x)
        y = s.layer2_linear1.forward(y)  # (n, 64, 512)
        y = s.layer2_gelu1.forward(y)
        x = s.layer2_linear2.forward(y, x)  # layer2.linear2 -> layer2.add2: (n, 64, 128)

        # layer3: layer(features=128)
        y = s.layer3_ln1.forward(x)
        x = s.layer3_mha1.forward(y, x)  # layer3.mha1 -> layer3.add1: (n, 64, 128)
        y = s.layer3_ln2.forward(x)
        y = s.layer3_linear1.forward(y)  # (n, 64, 512)
        y = s.layer3_gelu1.forward(y)
        x = s.layer3_linear2.forward(y, x)  # layer3.linear2 -> layer3.add2: (n, 64, 128)

        # layer4: layer(features=128)
        y = s.layer4_ln1.forward(x)
        x = s.layer4_mha1.forward(y, x)  # layer4.mha1 -> layer4.add1: (n, 64, 128)
        y = s.layer4_ln2.forward(x)
        y = s.layer4_linear1.forward(y)  # (n, 64, 512)
        y = s.layer4_gelu1.forward(y)
        x = s.layer4_linear2.forward(y, x)  # layer4.linear2 -> layer4.add2: (n, 64, 128)

        # the network itself
        x = s.ln1.forward(x)
        return s.unembed1.forward(x)  # (n, 64, 65)

    def train_backward(self, s, dy):
        """The gradient by what `train_forward` gave -> those of the params."""
        dy = s.unembed1.backward(dy)
        dy = s.ln1.backward(dy)
        dy, dz = s.layer4_linear2.backward(dy)
        dy = s.layer4_gelu1.backward(dy)
        dy = s.layer4_linear1.backward(dy)
        dy = s.layer4_ln2.backward(dy)
        dz += dy
        dy, dz = s.layer4_mha1.backward(dz)
        dy = s.layer4_ln1.backward(dy)
        dz += dy
        dy, dz = s.layer3_linear2.backward(dz)
        dy = s.layer3_gelu1.backward(dy)
        dy = s.layer3_linear1.backward(dy)
        dy = s.layer3_ln2.backward(dy)
        dz += dy
        dy, dz = s.layer3_mha1.backward(dz)
        dy = s.layer3_ln1.backward(dy)
        dz += dy
        dy, dz = s.layer2_linear2.backward(dz)
        dy = s.layer2_gelu1.backward(dy)
        dy = s.layer2_linear1.backward(dy)
        dy = s.layer2_ln2.backward(dy)
        dz += dy
        dy, dz = s.layer2_mha1.backward(dz)
        dy = s.layer2_ln1.backward(dy)
        dz += dy
        dy, dz = s.layer1_linear2.backward(dz)
        dy = s.layer1_gelu1.backward(dy)
        dy = s.layer1_linear1.backward(dy)
        dy = s.layer1_ln2.backward(dy)
        dz += dy
        dy, dz = s.layer1_mha1.backward(dz)
        dy = s.layer1_ln1.backward(dy)
        dz += dy
        dy = s.pos1.backward(dz)
        s.wte.backward(dy)

    def forward(self, x, training=False):
        """x (N, 64) -> y (N, 64, 65)."""
        return self.logits(x, training)

    def optimize(self, params, grads, state, lr):
        """One step of the optimizer, in place."""
        # a worker's part of `norms` is 0, too, where its squares overflow
        norm = self.norms.sum() ** 0.5 if self.norms.all() else norm_of([self.gradients[0]])
        grads = scaled(grads, clip_factor(norm, 1.0))
        decayed, others = self.parted(params, grads, state)
        adamw_step(*decayed, lr, weight_decay=0.1, betas=(0.9, 0.99))
        adamw_step(*others, lr, weight_decay=0.0, betas=(0.9, 0.99))


class Stage:
    """What the stages of one worker have in common. A stage has forward and, in training, backward; `refresh` makes
    what it derives from its params, before a batch."""

    def start(self, w):
        """What every constructor begins with."""
        self.w = w
        w.stages.append(self)

    def refresh(self):
        """Nothing is derived from the params."""

    def add_gradient(self, name, value):
        """The gradient of a param by one block is added to that of the blocks before."""
        if self.w.block == 0:
            self.w.grads[name][...] = value
        else:
            self.w.grads[name] += value


class Embed(Stage):
    """y = the rows of weight for the numbers x; weight is stored as (D, V). In training all rows of a small table are
    laid one behind the other; else, and at inference, where nothing is derived from matrices, they are gathered."""

    small = 1 << 20  # numbers of a table
    few = 512  # rows of a table, for which a product with ones and zeros is quicker than to sort

    def __init__(self, w, name, length, limit, features):
        self.start(w)
        self.name, self.limit = name, limit
        self.rows = w.params[name + ".weight"].T
        self.is_small = w.training and limit * features <= self.small
        if self.is_small:
            self.laid = w.shared((name, "rows"), (limit, features))
        self.x = [np.zeros(0)] * len(w.sizes)
        self.y = w.outputs(lambda n: (n, length, features))
        if w.training:
            self.is_few = limit <= self.few
            if self.is_few:
                self.ones = w.scratch("ones", lambda n: (n * length, limit))

    def refresh(self):
        """Lay this worker's part of the rows."""
        if self.is_small:
            part = slice(*self.w.part(self.limit))
            self.laid[part] = self.rows[part]

    def forward(self, x):
        """x (n, T), whole numbers -> y (n, T, D)."""
        b = self.w.block
        self.x[b], y = x, self.y[b]
        if self.is_small:
            return np.take(self.laid, x, axis=0, out=y, mode="clip")
        y[...] = self.rows[x]
        return y

    def backward(self, dy):
        """dy (n, T, D) -> nothing: the numbers have no gradient."""
        b, rows = self.w.block, dy.reshape(-1, dy.shape[-1])
        x, grad = self.x[b].reshape(-1), self.w.grads[self.name + ".weight"]
        if b == 0:
            grad[...] = 0
        if self.is_few:
            ones = self.ones[b]
            ones[...] = x[:, None] == np.arange(self.limit)
            grad += np.dot(rows.T, ones)
        else:
            order = np.argsort(x, kind="stable")
            begins = np.flatnonzero(np.diff(x[order], prepend=-1))
            grad.T[x[order[begins]]] += np.add.reduceat(rows[order], begins, axis=0)


class Positions(Stage):
    """y = x + weight, a learned vector for each of the T positions."""

    def __init__(self, w, name, shape):
        self.start(w)
        self.name, self.stored = name, w.params[name]  # (D, T, 1)
        self.weight = np.empty(shape, w.dtype)
        self.y = w.outputs(lambda n: (n, *shape))

    def refresh(self):
        """Lay the weight as tokens lie."""
        self.weight[...] = self.stored[:, :, 0].T

    def forward(self, x):
        """x (n, T, D) -> y (n, T, D)."""
        return np.add(x, self.weight, out=self.y[self.w.block])

    def backward(self, dy):
        """dy (n, T, D) -> dx, the same."""
        sums = np.dot(np.ones(len(dy), dy.dtype), dy.reshape(len(dy), -1))
        self.add_gradient(self.name, sums.reshape(self.weight.shape).T[..., None])
        return dy


class NormStage(Stage):
    """y = weight * x_hat + bias, where the norm has them; keeps x_hat in training, else it is made in y."""

    def prepare(self, w, name, shape, eps):
        self.start(w)
        self.name, self.shape, self.eps = name, shape, eps
        self.weight, self.bias = w.params.get(name + ".weight"), w.params.get(name + ".bias")
        self.y = w.outputs(lambda n: inside(shape, n))
        self.inv_std = [None] * len(w.sizes)
        self.x_hat = self.y
        if w.training:
            self.x_hat = w.arrays(lambda n: inside(shape, n))
            self.part = w.scratch("part", lambda n: (n * int(np.prod(shape)),))

    def scaled(self, x_hat, y):
        """x_hat (..., C) -> y (..., C), with weight and bias where there are any; y may be x_hat."""
        weight = repeated_for(y, self.weight)
        np.multiply(x_hat.reshape(-1, len(weight)), weight, out=y.reshape(-1, len(weight)))
        add_to_rows(y, self.bias)

    def add_gradients(self, dweight, dbias):
        """The gradients of weight and bias, (C,) each, by one block."""
        self.add_gradient(self.name + ".weight", dweight)


class LayerNorm(NormStage):
    """The channels of each position of a map, the features of each token or vector, to variance 1; and if `centered`
    to mean 0 (Ba et al. 2016), else of mean square 1 (Zhang & Sennrich 2019)."""

    def __init__(self, w, name, shape, eps, centered=True):
        self.prepare(w, name, shape, eps)
        *places, c = inside(shape, 1)
        self.mean = np.full(c, 1 / c, w.dtype)  # a product with it is the mean
        self.center = self.mean * centered
        if w.training:
            self.inv_std = w.arrays(lambda n: (n * math.prod(places), 1))

    def forward(self, x):
        """x (..., C) -> y (..., C)."""
        self.forward_rows(slice(0, x.size // x.shape[-1]), x)
        return self.y[self.w.block]

    def forward_rows(self, part, x):
        """Some rows of x (..., C)."""
        b, x = self.w.block, x.reshape(-1, x.shape[-1])
        hat, y = self.x_hat[b].reshape(x.shape)[part], self.y[b].reshape(x.shape)[part]
        np.subtract(x[part], np.dot(x[part], self.center)[:, None], out=hat)
        var = np.einsum("ij,ij->i", hat, hat) / x.shape[1]
        if is_felt(left := np.dot(hat, self.center), var):
            hat -= left[:, None]
            var = np.einsum("ij,ij->i", hat, hat) / x.shape[1]
        inv_std = 1 / np.sqrt(var + self.eps)[:, None]
        hat *= inv_std
        if self.w.training:
            self.inv_std[b][part] = inv_std
        self.scaled(hat, y)

    def backward(self, dy):
        """dy (..., C) -> dx (..., C), in its place.

        dx = inv_std * (g - mean(g) - x_hat * mean(g * x_hat)), g = dy * weight.
        """
        rows = dy.reshape(-1, dy.shape[-1])
        hat = self.x_hat[self.w.block].reshape(rows.shape)
        self.add_gradients(np.einsum("ij,ij->j", rows, hat), np.dot(np.ones(len(rows), rows.dtype), rows))
        self.backward_rows(slice(0, len(rows)), rows)
        return rows.reshape(dy.shape)

    def backward_rows(self, part, dy):
        """Some rows of dy (rows, C)."""
        b, g = self.w.block, dy[part]
        hat, product = self.x_hat[b].reshape(dy.shape)[part], self.part[b][: g.size].reshape(g.shape)
        g *= self.weight
        np.multiply(g, hat, out=product)
        np.multiply(hat, np.dot(product, self.mean)[:, None], out=product)
        product += np.dot(g, self.center)[:, None]
        g -= product
        g *= self.inv_std[b][part]


def repeated_for(x, a):
    """a (C,) for x (..., C) -> (k*C,), for a view of x with k rows as one: a loop over 100 numbers takes twice its
    time. For few numbers a as it is."""
    if x.size < 65536:
        return a
    k = math.gcd(x.size // len(a), 1 << max(1, 4096 // len(a)).bit_length() - 1)
    return repeated(a, k * len(a))


def repeated(a, size):
    """a (C,) -> (size,), again and again, in 1 us; np.resize takes 20 to 50."""
    out = np.empty((size // len(a), len(a)), a.dtype)
    out[...] = a
    return out.reshape(-1)


def add_to_rows(x, a):
    """x (..., C), in one piece, plus a (C,) if there is one, in place."""
    if a is not None:
        a = repeated_for(x, a)
        rows = x.reshape(-1, len(a))
        rows += a


def inside(shape, n):
    """The sizes of n samples as stages keep them: (H, W, n, C) of maps, else (n, *shape)."""
    return (*plane(shape[1:]), n, shape[0]) if is_map(shape) else (n, *shape)


def is_map(shape):
    """Whether a value of these sizes is a map, (C, H, W) or (C, D, H, W); signals are (C, L, 1) here."""
    return len(shape) >= 3


def plane(space):
    """The height and width of a map as it lies: (L,) -> (L, 1), (H, W) as it is, (D, H, W) -> (D*H, W)."""
    *rows, width = space if len(space) > 1 else (*space, 1)
    return math.prod(rows), width


def is_felt(left, var):
    """Whether of some mean so much is left, beside the deviation, that it is not rounding: the sum of many numbers
    beside a large mean is that wrong."""
    return (left * left > 16 * np.finfo(var.dtype).eps ** 2 * var).any()


class ProductStage(Stage):
    """What stages share that multiply the rows of vectors or tokens by weights, stored as (D, F)."""

    def of_block(self, weight):
        """Scratch for what comes second to the gradient of a weight."""
        rows = len(weight)
        return self.w.scratch("dweight", lambda n: (rows, weight.shape[1]))[0]

    def multiply_rows(self, part, x, weight, bias, plus, y):
        """Some rows of y (..., F) = x weight + bias, plus (..., F) or None, which `multiply_first` was given."""
        rows = y.reshape(-1, y.shape[-1])[part]
        np.matmul(x.reshape(-1, x.shape[-1])[part], weight, out=rows)
        add_to_rows(rows, bias)
        if plus is not None:
            rows += plus.reshape(-1, plus.shape[-1])[part]
        return rows

    def add_weight_gradient(self, name, x, dy, part):
        """x (rows, D), dy (rows, F) -> the gradient x^T dy of the weights of that name, added to that of the blocks
        before; part: what `of_block` gave."""
        grad = self.w.grads[name]
        self.add_rows(slice(None), self.w.block == 0, grad, x, dy, part)

    def add_rows(self, rows, is_first, grad, x, dy, part):
        """Some rows of the gradient."""
        grad, x = grad[rows], x[:, rows]
        if is_first:
            self.w.multiply(x.T, dy, grad)
        else:
            grad += self.w.multiply(x.T, dy, part[: len(grad)])


class AttentionStage(ProductStage):
    """What stages of attention share: q, k and v are views of one product x inner + bias, o is mixed of v by the
    softmax of q k^T / sqrt(D / heads), part by part of samples and heads, and y = o outer + bias (Vaswani et al. 2017,
    eq. 1)."""

    piece = 131072  # numbers of scores that are worked on at a time: they stay in the cache

    def prepare(self, w, name, shape, heads, joint, dx, common, plus):
        """What their constructors begin with. joint: the features of q, k and v together."""
        self.start(w)
        self.name, self.shape = name, shape
        t, d = shape
        self.scale, self.ones = (d // heads) ** -0.5, np.ones(t, w.dtype)
        self.inner, self.outer = w.params[name + ".in_proj_weight"], w.params[name + ".out_proj.weight"]
        self.inner_bias, self.outer_bias = w.params.get(name + ".in_proj_bias"), w.params.get(name + ".out_proj.bias")
        keep = w.arrays if w.training else lambda shape: w.scratch(("attention", shape(1)), shape, common=True)
        self.qkv, self.o = keep(lambda n: (n * t, joint)), keep(lambda n: (n * t, d))
        self.inv_sum = keep(lambda n: (n, heads, t))
        self.y = w.outputs(lambda n: (n, *shape))
        self.x = [None] * len(w.sizes)
        self.laid = w.scratch("laid", lambda n: (n * t * d,))
        if w.training:
            self.do = w.scratch("do", lambda n: (n * t, d), common=True)
            self.dqkv = w.scratch("dqkv", lambda n: (n * t, joint), common=True)
            self.inner_part, self.outer_part = self.of_block(self.inner), self.of_block(self.outer)
            self.dx = w.gradients(lambda n: (n, *shape))

    def forward(self, x, plus=None):
        """x (n, T, D), plus (n, T, D) or None -> y (n, T, D)."""
        b, rows = self.w.block, x.size // x.shape[2]
        self.x[b] = x
        self.enter(slice(0, rows), x)
        for part in range(len(self.views[b])):
            self.mix(part)
        self.leave(slice(0, rows), plus)
        return self.y[b]

    def enter(self, part, x):
        """Some of the n*T rows of x to those of q, k and v."""
        self.multiply_rows(part, x, self.inner, self.inner_bias, None, self.qkv[self.w.block])

    def leave(self, part, plus):
        """Some of the n*T rows of o, and of another map or None, to those of y."""
        b = self.w.block
        self.multiply_rows(part, self.o[b], self.outer, self.outer_bias, plus, self.y[b])

    def transposed(self, k, laid):
        """k (n, kv, T, D/heads) -> k^T / sqrt(D / heads), (n, kv, D/heads, T)."""
        return np.multiply(k.swapaxes(2, 3), self.scale, out=laid)

    def row_sums(self, e):
        """e (n, heads, T, S) -> (n, heads, T): a product with ones is quicker than a sum."""
        return np.dot(e.reshape(-1, e.shape[3]), self.ones[: e.shape[3]]).reshape(e.shape[:3])

    def backward(self, dy):
        """dy (n, T, D) -> dx (n, T, D) if anything needs it; and with plus the gradient by that, in the place of dy."""
        b, d = self.w.block, dy.shape[-1]
        rows = dy.reshape(-1, d)
        self.add_weight_gradient(self.name + ".out_proj.weight", self.o[b], rows, self.outer_part)
        self.w.multiply(rows, self.outer.T, self.do[b])
        for part in range(len(self.views[b])):
            self.unmix(part)
        dqkv = self.dqkv[b]
        self.add_weight_gradient(self.name + ".in_proj_weight", self.x[b].reshape(-1, d), dqkv, self.inner_part)
        dx = self.dx[b]
        if dx is not None:
            self.w.multiply(dqkv, self.inner.T, dx.reshape(-1, d))
        return (dx, dy)


class CausalAttention(AttentionStage):
    """o = P v of each head, P = softmax(q k^T / sqrt(D / heads)), in training times the factor of a dropout that it may
    have (`draws`). P is never made, as in Attention.

    Where it is causal, some tokens are worked on at a time, and by the keys up to the last of them alone; what these
    few do not read is multiplied by 0 behind exp. Of `kv` heads of k and v each is there for a group of heads of q,
    whose rows (T * group) are those of one product. q and k are turned where they lie, if there is a base.
    """

    least, most = 32, 16  # tokens that are worked on at a time, and into how many such parts all are cut

    def __init__(self, w, name, shape, heads, kv, causal=False, dx=True, common=False, plus=False):
        t, d = shape
        self.kv, self.group, self.size = kv, heads // kv, d // heads
        self.prepare(w, name, shape, heads, d + 2 * kv * self.size, dx, common, plus)
        count = max(1, min(self.most, t // self.least))
        self.step = -(-t // count)
        self.blocks = [(i, min(i + self.step, t)) for i in range(0, t, self.step)]
        self.seen = np.tri(self.step, dtype=w.dtype)[:, None]  # (token, 1, token)
        rows = self.group * self.step * t
        self.part = w.scratch("e", lambda n: (min(n * kv * rows, max(self.piece, rows)),))
        self.queries, self.rows = (w.scratch(("queries", i), lambda n: (n * t * d,)) for i in range(2))
        if w.training:
            self.e = [self.scores(*block) for block in self.blocks]
            self.ds = w.scratch("ds", lambda n: (min(n * kv * rows, max(self.piece, rows)),))
            self.drows, self.more = (w.scratch(("drows", i), lambda n: (n * t * d,)) for i in range(2))
        self.views = [[self.views_of(b, part) for part in self.parts(n)] for b, n in enumerate(w.sizes)]

    def scores(self, begin, end):
        """Places for e of some tokens."""
        return self.w.arrays(lambda n: (n, self.kv, (end - begin) * self.group, end))

    def parts(self, n):
        """Some samples of n with all heads of k and v, or some of these heads of one sample, at a time."""
        t = self.shape[0]
        count = max(1, self.piece // (self.step * t * self.group))
        kv = min(count, self.kv)
        samples = max(1, count // self.kv)
        return [(slice(i, i + samples), slice(j, j + kv)) for i in range(0, n, samples) for j in range(0, self.kv, kv)]

    def by_head(self, rows):
        """rows (n*T, D + 2 * kv * size) -> views: q (n, kv, T, group, size), k and v (n, kv, T, 1, size)."""
        (t, d), end = self.shape, self.shape[1] + self.kv * self.size
        parts = rows[:, :d], rows[:, d:end], rows[:, end:]
        q, k, v = (part.reshape(-1, t, self.kv, part.shape[1] // (self.kv * self.size), self.size) for part in parts)
        return q.swapaxes(1, 2), k.swapaxes(1, 2), v.swapaxes(1, 2)

    def views_of(self, b, part):
        """What `mix` and what `unmix` works on of a part of a block: views are made once."""
        t, d = self.shape
        q, k, v = (array[part] for array in self.by_head(self.qkv[b]))
        o, do = (
            rows[b].reshape(-1, t, self.kv, self.group, self.size).swapaxes(1, 2)[part]
            for rows in (self.o, self.do if self.w.training else self.o)
        )
        n, kv = q.shape[:2]
        inv_sum = self.inv_sum[b].reshape(-1, self.kv, t * self.group)[part]
        laid = self.laid[b][: k.size].reshape(n, kv, self.size, t)
        queries, rows = (array[b][: q.size].reshape(n, kv, -1, self.size) for array in (self.queries, self.rows))
        shapes = [(n, kv, (end - begin) * self.group, end) for begin, end in self.blocks]
        used = [self.part[b][: math.prod(shape)].reshape(shape) for shape in shapes]
        e = [self.e[i][b][part] for i in range(len(shapes))] if self.w.training else used
        both = [part, q, k, v[:, :, :, 0], e, used, inv_sum, laid, queries, rows]
        if not self.w.training:
            return [*both, o], []
        grads = [array[part] for array in self.by_head(self.dqkv[b])]
        ds = [self.ds[b][: math.prod(shape)].reshape(shape) for shape in shapes]
        drows = self.drows[b][: q.size].reshape(n, kv, -1, self.size)
        more = self.more[b][: k.size].reshape(n, kv, t, self.size)
        return [*both, o], [*both, *grads, do, ds, drows, more]

    def mix(self, part):
        """q, k and v of a part -> its o."""
        places, q, k, v, e, used, inv_sum, laid, queries, rows, o = self.views[self.w.block][part][0]
        keys, q = self.transposed(k[:, :, :, 0], laid), self.folded(q)
        for i, (begin, end) in enumerate(self.blocks):
            own = slice(begin * self.group, end * self.group)
            sums = self.exponentials(q[:, :, own], keys[..., :end], e[i], begin)
            np.reciprocal(sums, out=inv_sum[:, :, own])
            weights = e[i]
            mixed = np.matmul(weights, v[:, :, :end], out=rows[:, :, own])
            np.multiply(self.by_token(mixed), self.by_token(inv_sum[:, :, own, None]), out=o[:, :, begin:end])

    def exponentials(self, q, k, e, begin):
        """q (n, kv, rows, size), k (n, kv, size, T) -> e, so far that its rows are not 0 everywhere, and their sums."""
        np.exp(np.matmul(q, k, out=e), out=e)
        own = self.by_token(e)[..., begin:]
        own *= self.seen[: own.shape[2], :, : own.shape[2]]
        sums = self.row_sums(e)
        if not 1e-30 < sums.min() <= sums.max() < np.inf:  # a score is large, or all of a row are small
            np.matmul(q, k, out=e)
            own = self.by_token(e)[..., begin:]
            np.copyto(own, -np.inf, where=self.seen[: own.shape[2], :, : own.shape[2]] == 0)
            e -= e.max(axis=3, keepdims=True)
            sums = self.row_sums(np.exp(e, out=e))
        return sums

    def folded(self, x):
        """x (n, kv, T, group, size) -> (n, kv, T * group, size): a copy where several heads share those of k and v."""
        return x[:, :, :, 0]

    def by_token(self, rows):
        """rows (n, kv, T * group, S) -> a view (n, kv, T, group, S)."""
        n, kv, _, s = rows.shape
        return rows.reshape(n, kv, -1, self.group, s)

    def factor(self, places, begin, end):
        """What was drawn for some tokens of a part of this block, (n, kv, tokens, group, end)."""
        drawn = self.w.network.io[f"factor {self.name}"][self.w.rows[self.w.block]]
        by_group = drawn.reshape(len(drawn), self.kv, self.group, *drawn.shape[2:])[places]
        return by_group[..., begin:end, :end].swapaxes(2, 3)

    def unmix(self, part):
        """The gradient do of a part -> its dq, dk and dv, by ds = e * (dp - rowsum(e * dp) / sum(e)), dp = do v^T /
        sum(e) / sqrt(D / heads). The last tokens come first: they alone read all keys."""
        places, q, k, v, es, used, inv_sum, laid, queries, rows, *grads = self.views[self.w.block][part][1]
        dq, dk, dv, do, dss, drows, more = grads
        np.multiply(do, self.by_token(inv_sum[..., None]), out=self.by_token(drows))
        values, k, q = self.transposed(v, laid), k[:, :, :, 0], self.folded(q)
        dq_rows = dq[:, :, :, 0]
        for i, (begin, end) in reversed(list(enumerate(self.blocks))):
            own, e, ds = slice(begin * self.group, end * self.group), es[i], dss[i]
            np.matmul(drows[:, :, own], values[..., :end], out=ds)
            weights = e
            self.add_keys(weights, drows[:, :, own], dv, more)
            ds -= (np.einsum("nhij,nhij->nhi", e, ds) * inv_sum[:, :, own])[..., None]
            ds *= e
            np.matmul(ds, k[:, :, :end], out=dq_rows[:, :, own])
            self.add_keys(ds, q[:, :, own], dk, more)

    def add_keys(self, e, x, dk, more):
        """e (n, kv, rows, S), x (n, kv, rows, size): e^T x comes to the first S tokens of dk (n, kv, T, 1, size)."""
        end = e.shape[3]
        own = dk[:, :, :end, 0]
        if end == dk.shape[2]:
            np.matmul(e.swapaxes(2, 3), x, out=own)
        else:
            own += np.matmul(e.swapaxes(2, 3), x, out=more[:, :, :end])


class TokenLinear(ProductStage):
    """y = x weight + bias, then relu, of all tokens by one product; weight is stored as (D, F). adds_bias: False where
    the next stage adds it."""

    def __init__(self, w, name, shape, filters, plus=False):
        self.start(w)
        self.name, self.adds_map = name, plus
        self.weight = w.params[name + ".weight"]
        self.x = [None] * len(w.sizes)
        self.y = w.outputs(lambda n: (n, shape[0], filters))
        if w.training:
            self.part = self.of_block(self.weight)
            self.dx = w.gradients(lambda n: (n, *shape))

    def forward(self, x, plus=None):
        """x (n, T, D), plus (n, T, F) or None -> y (n, T, F)."""
        b = self.w.block
        self.x[b], y = x, self.y[b]
        self.forward_rows(slice(0, y.size // y.shape[2]), x, plus)
        return y

    def forward_rows(self, part, x, plus):
        """Some of the n*T rows of x, and of another map or None, to those of y."""
        bias = None
        y = self.multiply_rows(part, x, self.weight, bias, plus, self.y[self.w.block])

    def backward(self, dy):
        """dy (n, T, F) -> dx (n, T, D) if anything needs it; and with plus the gradient by that, in the place of dy."""
        b = self.w.block
        x, rows = self.x[b], dy.reshape(-1, dy.shape[-1])
        self.add_weight_gradient(self.name + ".weight", x.reshape(-1, x.shape[-1]), rows, self.part)
        dx = self.dx[b]
        if dx is not None:
            self.w.multiply(rows, self.weight.T, dx.reshape(-1, dx.shape[-1]))
        return (dx, dy) if self.adds_map else dx


class Pointwise(Stage):
    """y = function(x + bias) for each number, by a textbook kernel, some rows of the map at a time.

    forward(x, *arguments) -> (y, saved), backward(dy, saved) -> (dx, {}). conv: the stage whose bias is added here, if
    any. At inference in place unless it `copies`.
    """

    piece = 16384  # numbers that are worked on at a time; a kernel makes several arrays of that size

    def __init__(self, w, shape, forward, backward, *arguments, conv=None, copies=False):
        self.start(w)
        self.kernels, self.arguments = (forward, backward), arguments
        self.saved = [None] * len(w.sizes)

    def forward(self, x):
        """x (..., C) -> y (..., C)."""
        self.saved[self.w.block] = []
        x = np.ascontiguousarray(x)  # a copy where x is a part of a larger map
        y = x
        for part in self.rows_of_workers(x):
            self.forward_rows(part, x, y)
        return y

    def forward_rows(self, share, x, y):
        """Some of the rows of x (..., C) to those of y, piece by piece."""
        x_rows, y_rows = (array.reshape(-1, array.shape[-1]) for array in (x, y))
        pieces, bias = self.pieces(x_rows[share], share.start), None
        for rows in pieces:
            part = x_rows[rows]
            if bias is not None:
                part += bias[: len(part)]
            self.compute(part, y_rows[rows], rows)

    def rows_of_workers(self, x):
        """The rows of x (..., C) in parts that workers share. What a kernel gives to keep is kept where it is made."""
        shares = type(self).compute is not Pointwise.compute or not self.w.training
        return [slice(0, x.size // x.shape[-1])]

    def compute(self, x, y, rows):
        """x (rows, C) -> y, so as well; it may be x."""
        y[...], kept = self.kernels[0](x, *self.arguments)
        if self.w.training:
            self.saved[self.w.block].append(kept)

    def pieces(self, x, begin=0):
        """Slices of the first axis, of which that is the first row."""
        step, end = max(1, self.piece * len(x) // x.size), begin + len(x)
        return [slice(i, min(i + step, end)) for i in range(begin, end, step)]

    def backward(self, dy):
        """dy (..., C) -> dx (..., C), in its place."""
        dy_rows = dy.reshape(-1, dy.shape[-1])
        for rows, saved in zip(self.pieces(dy_rows), self.saved[self.w.block], strict=True):
            dy_rows[rows] = self.kernels[1](dy_rows[rows], saved)[0]
        return self.with_bias_gradient(dy_rows.reshape(dy.shape))

    def with_bias_gradient(self, dy):
        """dy (..., C), of which the bias of the convolution before gets the sum."""
        return dy


class Gelu(Pointwise):
    """y = x * Phi(x), and dx = dy * (Phi(x) + x * exp(-x*x/2) / sqrt(2 pi)); the factor is kept."""

    piece = 49152

    def __init__(self, w, shape, conv=None, copies=False, in_place=False):
        super().__init__(w, shape, None, None, conv=conv, copies=copies)
        self.factor = w.arrays(lambda n: inside(shape, n)) if w.training else []
        most = max(self.piece, inside(shape, 1)[-1])  # a row at least
        self.parts = [w.scratch(("gelu", i), lambda n: (most,))[0] for i in range(3)]

    def compute(self, x, y, rows):
        """x (rows, C) -> y, so as well; it may be x."""
        square, phi, part = (array[: x.size].reshape(x.shape) for array in self.parts)
        np.square(x, out=square)
        normal_distribution(x, square, phi, part)
        if self.w.training:
            square *= -0.5
            np.exp(square, out=square)
            square *= (2 * math.pi) ** -0.5
            square *= x
            np.add(phi, square, out=self.factor[self.w.block].reshape(-1, x.shape[1])[rows])
        np.multiply(phi, x, out=y)

    def backward(self, dy):
        """dy (..., C) -> dx (..., C), in its place."""
        rows = dy.reshape(-1, dy.shape[-1])
        self.backward_rows(slice(0, len(rows)), rows)
        return self.with_bias_gradient(rows.reshape(dy.shape))

    def backward_rows(self, part, dy):
        dy[part] *= self.factor[self.w.block].reshape(dy.shape)[part]


def normal_distribution(x, square, phi, part):
    """x and x*x, of any shape -> Phi(x) = (1 + erf(x / sqrt(2))) / 2 = t*t * (3 - t) / 4, t = 1 + tanh(x * p(x*x)).
    part: scratch.

    p is a polynomial, a product of two squares and what is added to them: with it Phi is within 2e-8, and what is
    rounded. In float64 by `erf`.
    """
    if x.dtype == np.float64:
        phi[...] = 0.5 * (1 + erf(x * 0.5**0.5))
        return
    for factor, shift, rest in (phi, -56.110737, 2269.0377), (part, 27.774086, 530.23886):
        np.add(square, shift, out=factor)
        np.square(factor, out=factor)
        factor += rest
    phi *= part
    phi *= 7.543333e-8
    phi *= x
    np.tanh(phi, out=phi)
    phi += 1
    np.square(phi, out=part)
    phi -= 3
    phi *= part
    phi *= -0.25


def erf(x):
    """The error function: erf(t) = 1 - exp(-t*t) + t * exp(-t*t) * h(t), odd, and +-1 where |x| >= 6.

    h is a Chebyshev series in u = (2*t - 3) / (t + 3), which takes 0 .. 6 to -1 .. 1. The error is below 1e-15 in
    float64, and 4e-8 in float32, worked in float64.
    """
    coefficients = erf_series(20 if x.dtype == np.float64 else 10)
    t = np.minimum(np.abs(x), 6).astype(np.float64)
    u = (2 * t - 3) / (t + 3)
    above, here = np.zeros_like(t), np.zeros_like(t)
    for c in coefficients[:0:-1]:  # Clenshaw's recurrence
        above, here = here, 2 * u * here - above + c
    y = t * np.exp(-t * t) * (u * here - above + coefficients[0] / 2) - np.expm1(-t * t)
    return (np.sign(x) * y).astype(x.dtype)


def erf_series(count):
    """The coefficients of the Chebyshev series h of `erf`, from its values at `count` Chebyshev points, which come from
    math.erf and math.erfc."""
    angles = np.pi * (np.arange(count) + 0.5) / count
    h = []
    for t in (3 * (1 + np.cos(angles)) / (2 - np.cos(angles))).tolist():
        near_0 = (math.erf(t) + math.expm1(-t * t)) * math.exp(t * t)  # the other form cancels
        h.append((near_0 if t < 1 else 1 - math.erfc(t) * math.exp(t * t)) / t)
    return (2 / count * np.matmul(np.cos(np.outer(np.arange(count), angles)), np.array(h))).tolist()


def embed_forward(x, weight):
    """x (N, T), weight (V, D) -> y (N, T, D), of each number the row (Bengio et al. 2003)."""
    return weight[x], (x, weight.shape)


def pos_go_on(x, weight, state):
    """x (N, S, D), the next tokens -> y (N, S, D), and how many there are so far. Raises ValueError where these are
    more than positions were learned."""
    begin = 0 if state is None else state
    end = begin + x.shape[1]
    if end > weight.shape[1]:
        raise ValueError(f"vectors were learned for {weight.shape[1]} positions, and there are {end} tokens")
    return x + weight[:, begin:end], end


def ln_of_few(x, weight, bias, eps=1e-5):
    """x (N, S, D) -> y as `ln_forward`: of few numbers a sum takes a third of the time of a mean."""
    size = x.shape[2]
    centered = x - x.sum(axis=2, keepdims=True) / size
    x_hat = centered / np.sqrt((centered * centered).sum(axis=2, keepdims=True) / size + eps)
    y = x_hat if weight is None else weight * x_hat
    return y if bias is None else y + bias


def attention_go_on(x, in_proj_weight, in_proj_bias, out_proj_weight, out_proj_bias, heads, kv, state):
    """x (N, S, D), the next tokens of causal attention -> y (N, S, D), and the state: the keys and values of all tokens
    so far, which those that come later read, in buffers (N, kv, 1, room, D/heads), and how many they are. The next call
    writes into these buffers."""
    q, k, v = queries_keys_values(x, in_proj_weight, in_proj_bias, heads, kv)
    keys, values, begin = (k[:, :, :, :0], v[:, :, :, :0], 0) if state is None else state
    end = begin + x.shape[1]
    keys, values = appended(keys, k, begin), appended(values, v, begin)
    weights = attention_weights(q, keys[:, :, :, :end], x.shape[1] > 1)  # a single token reads all
    _, y = mixed_values(weights, values[:, :, :, :end], out_proj_weight, out_proj_bias)
    return y, (keys, values, end)


def queries_keys_values(x, weight, bias, heads, kv):
    """x (N, T, D), weight (D + 2 * kv * D/heads, D) -> q (N, kv, heads/kv, T, D/heads), k and v (N, kv, 1, T, D/heads):
    each head of k and v is there for so many heads of q that follow each other."""
    n, t, d = x.shape
    size = d // heads
    qkv = np.matmul(x, weight.T)
    if bias is not None:
        qkv = qkv + bias
    q, k, v = qkv[..., :d], qkv[..., d : d + kv * size], qkv[..., d + kv * size :]
    q, k, v = (part.reshape(n, t, kv, -1, size).transpose(0, 2, 3, 1, 4) for part in (q, k, v))
    return q, k, v


def attention_weights(q, k, causal):
    """q (..., S, D), k (..., T, D) -> softmax(q k^T / sqrt(D)), (..., S, T). causal: query s, the last of which belongs
    to the last key, has a weight of 0 for every key behind its own."""
    scores = np.matmul(q * q.shape[-1] ** -0.5, k.swapaxes(-1, -2))
    if causal:
        s, t = scores.shape[-2:]
        scores = np.where(np.tri(s, t, t - s, dtype=bool), scores, -np.inf)
    return softmax(scores, -1)


def softmax(x, axis):
    """exp(x) / sum of exp(x) along `axis`; the maximum is taken out first, so that nothing overflows."""
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def mixed_values(weights, v, weight, bias):
    """weights (N, kv, heads/kv, T, S), v (N, kv, 1, S, D/heads) -> weights v, its heads beside each other, (N, T, D),
    and that times weight (D, D), plus bias (D,)."""
    n, kv, group, t, _ = weights.shape
    mixed = np.matmul(weights, v).transpose(0, 3, 1, 2, 4).reshape(n, t, -1)
    y = np.matmul(mixed, weight.T)
    return mixed, y if bias is None else y + bias


def appended(buffer, new, begin):
    """new (N, kv, 1, S, D) behind the first `begin` tokens of a buffer (N, kv, 1, room, D), or of one that has room for
    twice as many where it has none."""
    end = begin + new.shape[3]
    if end > buffer.shape[3]:
        larger = np.zeros((*new.shape[:3], max(64, 2 * end), new.shape[4]), new.dtype)
        larger[:, :, :, :begin] = buffer[:, :, :, :begin]
        buffer = larger
    buffer[:, :, :, begin:end] = new
    return buffer


def add_forward(*inputs):
    """y = x1 + x2 + ..., all of one shape."""
    y = inputs[0]
    for x in inputs[1:]:
        y = y + x
    return y, len(inputs)


def linear_forward(x, weight, bias):
    """x (N, ..., D), weight (F, D), bias (F,) or None -> y (N, ..., F) = x weight^T + bias."""
    y = np.matmul(x, weight.T)
    return y if bias is None else y + bias, (x, weight, bias is not None)


def gelu_of_few(x):
    """x of any shape -> y as `gelu_forward`, in float32 by one tanh: Phi(x) = t*t * (3 - t) / 4
    within 2e-8, t = 1 + tanh(x * p(x*x)), p a product of two squares and what is added to them."""
    if x.dtype == np.float64:
        return gelu_forward(x)[0]
    square = x * x
    p = 7.543333e-8 * ((square - 56.110737) ** 2 + 2269.0377) * ((square + 27.774086) ** 2 + 530.23886)
    t = 1 + np.tanh(x * p)
    return 0.25 * x * t * t * (3 - t)


def gelu_forward(x):
    """y = x * Phi(x), Phi(x) = (1 + erf(x / sqrt(2))) / 2 (Hendrycks & Gimpel 2016)."""
    phi = 0.5 * (1 + erf(x * 0.5**0.5))
    return x * phi, (x, phi)


def unembed_forward(x, weight):
    """x (N, ..., D), weight (V, D) -> y (N, ..., V) = x weight^T, the weight of an `embed` (Press & Wolf 2017)."""
    return np.matmul(x, weight.T), (x, weight)


def check_ids(x, length, limit):
    """x (N, length), whole numbers from 0 to limit - 1 -> the same as int64. Raises ValueError."""
    x = np.asarray(x)
    if x.dtype.kind not in "iu" or x.shape[1:] != (length,) or not len(x):
        raise ValueError(f"the network takes whole numbers (N, {length}), not {x.dtype} of the shape {x.shape}")
    if x.min() < 0 or x.max() >= limit:
        raise ValueError(f"the network takes numbers from 0 to {limit - 1}, these are {x.min()} to {x.max()}")
    return x.astype(np.int64)


def cross_entropy(logits, labels):
    """logits (N, K, ...), labels (N, ...) -> mean loss, dlogits = (softmax - onehot(labels)) / number of labels.

    The maximum is taken out first, so that no exponential overflows.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    wanted = onehot(labels, log_p)
    return -log_p[wanted].mean(), (np.exp(log_p) - wanted) / labels.size


def onehot(labels, like):
    """labels (N, ...) -> booleans of the shape of `like` (N, K, ...), True in class `label`. Raises ValueError."""
    num_classes = like.shape[1]
    if labels.shape != like.shape[:1] + like.shape[2:]:
        raise ValueError(f"labels of the shape {labels.shape} for outputs of the shape {like.shape}")
    check_labels(labels, num_classes)
    return np.expand_dims(labels, 1) == np.arange(num_classes).reshape(-1, *[1] * (like.ndim - 2))


def check_labels(labels, num_classes):
    """Raise ValueError unless every label is a whole number in 0 .. num_classes - 1 (a negative index would wrap)."""
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be whole numbers, not {labels.dtype}")
    if labels.size == 0 or labels.min() < 0 or labels.max() >= num_classes:
        these = f"these are {labels.min()} to {labels.max()}" if labels.size else "there are none"
        raise ValueError(f"labels must lie in 0 to {num_classes - 1}, {these}")


def adamw_step(params, grads, state, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
    """Loshchilov & Hutter 2019: Adam whose weight decay shrinks the params themselves, by lr * weight_decay."""
    for param in params.values():
        param *= 1 - lr * weight_decay
    adam_step(params, grads, state, lr, betas, eps)


def adam_step(params, grads, state, lr=1e-3, betas=(0.9, 0.999), eps=1e-8):
    """Kingma & Ba 2015: m, v are running means of g and g*g, corrected for starting at zero;
    param -= lr * m_hat / (sqrt(v_hat) + eps). Params are flat, and short enough for the cache."""
    step = state["step"] = state.get("step", 0) + 1
    correct1, correct2 = 1 - betas[0] ** step, (1 - betas[1] ** step) ** 0.5
    room = np.empty_like(max(params.values(), key=len, default=np.empty(0)))
    for name, param in params.items():
        g = grads[name]
        m, v = state.get(name) or state.setdefault(name, (np.zeros_like(param), np.zeros_like(param)))
        part = room[: len(param)]
        np.subtract(g, m, out=part)
        part *= 1 - betas[0]
        m += part
        v *= betas[1]
        np.multiply(g, g, out=part)
        part *= 1 - betas[1]
        v += part  # where squares overflow v stays infinite, and the param where it is
        np.sqrt(v, out=part)
        part += eps * correct2  # the corrections of v and m are a factor of all, the last one
        np.divide(m, part, out=part)
        part *= lr * correct2 / correct1
        param -= part


def norm_of(arrays):
    """The root of the sum of all squares; in float64 where squares overflow."""
    arrays = list(arrays)
    squares = [np.vdot(array, array) for array in arrays]
    total = sum(np.stack(squares).tolist()) if squares else 0.0
    if not math.isfinite(total):
        total = sum(float(np.square(array, dtype=np.float64).sum()) for array in arrays)
    return total**0.5


def clip_factor(norm, largest):
    """What gradients of that norm are multiplied by, 1 or less; torch.nn.utils.clip_grad_norm_ adds 1e-6, too."""
    return min(1.0, float(largest / (norm + 1e-6)))


def scaled(grads, factor):
    """Each gradient times the factor; the same arrays where it is 1."""
    return grads if factor == 1 else {name: factor * grad for name, grad in grads.items()}


def residual_end(rng, shape, branches, dtype):
    """Normal with standard deviation 0.02 / sqrt(branches), so that all of them add up to one (Radford et al. 2019,
    section 2.3)."""
    return (0.02 / branches**0.5 * rng.standard_normal(shape)).astype(dtype)


def normal(rng, shape, dtype):
    """Normal with standard deviation 0.02, for learned positions (Dosovitskiy et al. 2021)."""
    return (0.02 * rng.standard_normal(shape)).astype(dtype)


class Stages:
    """The stages of one worker, by name."""


def fast(network, *parts):
    """A class that describes a network, and parts of it beside FastNetwork -> the class that trains and answers."""
    return type(network.__name__, (network, *parts, FastNetwork), {"__doc__": network.__doc__})


class Network:
    """What a network can do once it has `params`, `buffers`, `logits`, `forward`, `backward`, `loss` and `update`.

    params and buffers: name -> array, with PyTorch's names, shapes and order, so that one checkpoint fits both.
    """

    def loss_and_gradients(self, x, y):
        """x (N, *input_shape), targets y -> mean loss, {param name: gradient}, in training mode."""
        loss, dlogits = self.loss(self.logits(x, training=True), y)
        _, grads = self.backward(dlogits)
        return loss, grads

    def train_step(self, x, y, lr=None):
        """Forward, loss, backward and one step of the optimizer, in place; returns the loss."""
        loss, grads = self.loss_and_gradients(x, y)
        self.update(grads, self.learning_rate if lr is None else lr)
        return loss

    def fit(self, x, y, epochs=5, batch=64, lr=None, seed=0):
        """Train on x (N, *input_shape) and targets y (N, ...) in shuffled batches; returns each epoch's mean loss."""
        rng, history = np.random.default_rng(seed), []
        for _ in range(epochs):
            batches = np.array_split(rng.permutation(len(x)), max(1, len(x) // batch))
            history.append(float(np.mean([self.train_step(x[rows], y[rows], lr) for rows in batches])))
        return history

    def outputs(self, x, batch=256):
        """x (N, *input_shape) -> what the network gives, (N, ...), without training, batch by batch."""
        x = self.check_input(x)
        return np.concatenate([self.forward(x[i : i + batch]) for i in range(0, len(x), batch)])

    def predict(self, x, batch=256):
        """x (N, *input_shape) -> the class with the largest logit, (N, ...); of a single one 1 where it is above 0."""
        x = self.check_input(x)
        logits = np.concatenate([self.logits(x[i : i + batch]) for i in range(0, len(x), batch)])
        return (logits[:, 0] > 0).astype(np.int64) if logits.shape[1] == 1 else logits.argmax(axis=1)

    def score(self, x, y):
        """The share of labels y that `predict` finds."""
        return float(np.mean(self.predict(x) == y))

    def save(self, path):
        """Write params and buffers to a `.safetensors` or `.npz` file."""
        write_weights(path, {**self.params, **self.buffers})

    def load(self, path):
        """Read what `save`, netdsl or PyTorch wrote; what is not right changes nothing and raises (read_weights)."""
        expected = {**self.params, **self.buffers}
        for name, array in read_weights(path, expected).items():
            expected[name][...] = array


class StoredNetwork(Network):
    """A network whose params are views of one vector, in which weights lie the other way round, (Kh, Kw, C, F) and
    (D, F), and whose workers have a vector of gradients each. At inference stages use what they derived from params
    earlier. Users may write to these at any time, so workers add up their bytes, times odd numbers, modulo 2 ** 64: one
    number that changes always shows, and several do but for one case in 2 ** 64."""

    chunk = 32768  # so many numbers of the vector are worked on at a time

    def store(self, params, buffers):
        """One vector for all of them, first the matrices, from which nothing is derived; gradients for each worker."""
        self.begin = self.room(array for array in params.values() if array.ndim == 2)
        self.size = self.room(params.values())
        self.vector = self.team.shared((self.size + self.room(buffers.values()),), self.dtype)
        self.gradients = self.team.shared((self.num_workers, self.size), self.dtype)
        self.stored, named = self.views(self.vector, {**params, **buffers})
        self.stored_grads, self.named_grads = zip(*(self.views(row, params) for row in self.gradients), strict=True)
        for name, array in (*params.items(), *buffers.items()):
            named[name][...] = array
        self.params, self.buffers = ({name: named[name] for name in some} for some in (params, buffers))
        self.sums, self.last_sum = self.team.shared((self.num_workers,), np.uint64), None
        self.odd_numbers = np.random.default_rng(0).integers(1 << 63, size=self.chunk, dtype=np.uint64) * 2 + 1
        self.shared_arrays, self.version = {}, 1

    def room(self, arrays):
        """How many numbers of a vector they take, each at a multiple of 64 bytes."""
        return sum(-(-array.size // 16) * 16 for array in arrays)

    def views(self, vector, arrays):
        """Of a vector the arrays as they are stored, and in PyTorch's shapes."""
        stored, named, begin = {}, dict(arrays), 0
        for name, array in sorted(arrays.items(), key=lambda item: item[1].ndim != 2):
            place = vector[begin : begin + array.size]
            stored[name] = place.reshape((*array.shape[2:], *array.shape[1::-1]))
            named[name] = np.moveaxis(stored[name], (-1, -2), (0, 1)) if array.ndim > 1 else stored[name]
            begin += self.room([array])
        return stored, named

    def shared(self, key, shape, dtype=None):
        """An array that all workers see, made when the first one asks for it, or one of two that do so at a time.
        Training and inference write there what they derive from params, over what the other has."""
        if (key, shape) not in self.shared_arrays:
            self.shared_arrays.setdefault((key, shape), self.team.shared(shape, dtype or self.dtype))
        return self.shared_arrays[key, shape]

    def add_up(self, index):
        """The bytes of one worker's part."""
        self.sums[index] = 0
        for begin in range(self.begin, len(self.vector), self.chunk)[index :: self.team.active]:
            words = self.vector[begin : begin + self.chunk].view(np.uint64)
            self.sums[index] += np.dot(words, self.odd_numbers[: len(words)])

    def touch(self):
        """What workers derived is no longer right, or is overwritten: that of each has the version that it is from."""
        self.version, self.last_sum = self.version + 1, None

    def was_touched(self):
        """Whether a user has written to params or buffers since this was asked last."""
        last, self.last_sum = self.last_sum, self.sums[: self.team.active].sum()
        is_new = last not in (None, self.last_sum)
        self.version += is_new
        return is_new


class FastNetwork(StoredNetwork):
    """A network whose batch is shared by workers, each with stages of its own. params: name -> array of PyTorch's
    shape, a view of one vector: write into it, `params[name][...] = new`, do not replace it."""

    worth_sharing = 1 << 18  # params: from so many on a step of the optimizer takes longer than to ask others for help

    def __init__(self, seed=0, dtype="float32", workers=None):
        """workers: how many share a batch; None: one for each core. Raises ValueError if these cannot be made."""
        if workers is not None and workers < 1:
            raise ValueError(f"a network needs 1 worker or more, not {workers}")
        self.rng, self.dtype = np.random.default_rng(seed), np.dtype(dtype)
        self.num_workers = available_cores() if workers is None else workers
        self.team = Team(self.num_workers)
        buffers = {}
        self.store(self.first_params(self.rng, dtype), buffers)
        self.moments = self.team.shared((2, self.size), self.dtype)
        self.norms, self.losses = self.team.shared((2, self.num_workers), np.float64)
        self.gives = {"logits": self.logits_shape, "dlogits": self.logits_shape}
        self.known_constants, self.workers, self.io = {}, {}, {"logits": np.zeros(0)}
        self.steps, self.pending, self.close = 0, None, self.team.close
        self.team.start(self.work)

    def logits(self, x, training=False):
        """x (N, *input_shape) -> what the loss reads, (N, ...)."""
        n = self.call(LOGITS if training else OUTPUTS, x)
        if not training and self.was_touched():
            self.run(OUTPUTS, n)
        return self.io["logits"][:n].copy()

    def backward(self, dy):
        """The gradient by the logits of the last batch that `logits` saw in training -> None, where a module of -O0 has
        that by the input, and {param name: gradient}."""
        n = len(dy)
        if n != self.pending:
            raise ValueError(f"the last batch that `logits` saw in training has {self.pending} samples, not {n}")
        self.io["dlogits"][:n] = dy
        self.touch()
        self.run(BACKWARD, n)
        return None, self.total_gradients(n)

    def loss_and_gradients(self, x, y):
        """x (N, *input_shape), targets y -> mean loss, {param name: gradient}, in training mode."""
        n = self.call(GRADIENTS, x, y)
        return self.losses.sum(), self.total_gradients(n)

    def train_step(self, x, y, lr=None):
        """Forward, loss, backward and one step of the optimizer, in place; returns the loss. Where a gradient is not a
        finite number the params stay as they are, and the loss is NaN."""
        self.call(STEP, x, y, self.learning_rate if lr is None else lr)
        return self.losses.sum() if np.isfinite(self.norms.sum()) else np.nan

    def update(self, grads, lr):
        """One step of the optimizer, in place."""
        for name, grad in grads.items():
            self.named_grads[0][name][...] = grad
        self.touch()
        self.run(UPDATE, 1, lr)  # the gradients are where those of one sample are

    def call(self, command, x, y=None, lr=0.0):
        """Hand a batch to the workers and wait for them; returns how many samples it has."""
        given = {"x": self.check_input(x)}
        n = len(given["x"])
        if y is not None:
            given["y"] = np.asarray(y)
            if given["y"].shape[:1] != (n,):
                raise ValueError(f"{n} samples, but targets of the shape {given['y'].shape}")
        if n > len(self.io["logits"]):
            self.io |= {name: np.zeros((n, *shape), self.dtype) for name, shape in self.gives.items()}
        self.io |= given
        if command != OUTPUTS:
            self.touch()
            self.pending = n if command == LOGITS else None
        self.run(command, n, lr)
        return n

    def run(self, command, n, lr=0.0):
        """Every worker does its part of a command; of a batch with too few samples for all, the first does all, but for
        the optimizer's step if params are many."""
        is_few = n < self.num_workers
        if command == STEP and is_few and self.size >= self.worth_sharing:
            self.run(GRADIENTS, n)
            self.run(UPDATE, n, lr)
            return
        self.losses[:], self.norms[:] = self.losses if command == UPDATE else 0, 0
        try:
            self.team.call((command, n, lr, self.steps, self.version), is_few and command != UPDATE)
        except BaseException:
            self.touch()
            self.workers, self.pending = {}, None  # some may have made theirs, others not
            raise
        self.steps += command in (UPDATE, STEP) and bool(np.isfinite(self.norms.sum()))

    def work(self, index, order):
        """One worker's part of a command: its samples through the network, and back, and its part of the params."""
        command, n, lr, steps, version = order
        with np.errstate(all="ignore"):  # what is not finite shows in the loss and in `norms`
            if command == OUTPUTS:
                self.add_up(index)
            if command != UPDATE:
                w = self.worker(index, n, command != OUTPUTS, command in (LOGITS, BACKWARD))
                if command == BACKWARD and w.version is None:
                    raise ValueError("what `logits` kept for `backward` is gone: too many other sizes came between")
                if w.version != version:
                    for stage in w.stages:  # each worker makes a part of what they derive from params
                        stage.refresh()
                    w.version = version
                    self.team.sync()
                self.each_block(w, command)
            if command in (UPDATE, STEP):
                self.update_part(index, n, lr, steps)

    def worker(self, index, n, training, apart):
        """What worker `index` needs for its part of a batch of n samples; the last six that were made are kept. All
        workers make and forget theirs in the same order, so that they agree on what is new."""
        known, key = self.workers.setdefault((index, self.team.active), {}), (n, training, apart)
        if key not in known:
            while len(known) >= 6:
                vars(known.pop(next(iter(known)))).clear()  # its memory, too: stages and worker refer to each other
            known[key] = Worker(self, index, n, training, apart)
        return known[key]

    def each_block(self, w, command):
        """One block after the other."""
        for block, rows in enumerate(w.rows):
            w.block = block
            if command != BACKWARD:
                y = w.compute(w.s, self.io["x"][rows])
                self.io["logits"][rows] = y
            if command not in (OUTPUTS, LOGITS):
                self.train_backward(w.s, self.gradient(w, rows, command))

    def gradient(self, w, rows, command):
        """The gradient by what the loss reads of a block, as the stages take it; the loss is added to this worker's."""
        if command == BACKWARD:
            dy = self.io["dlogits"][rows].copy()
        else:
            loss, dy = self.loss(self.io["logits"][rows], self.io["y"][rows])
            share = len(dy) / w.n  # of the batch's mean loss
            self.losses[w.index] += loss * share
            dy = (dy * share).astype(self.dtype)
        return dy

    def total_gradients(self, n):
        """{param name: gradient} by the last n samples, summed over the workers in their order."""
        for row in self.gradients[1 : 1 if n < self.num_workers else None]:
            self.gradients[0] += row
        return {name: self.named_grads[0][name].copy() for name in self.params}

    def update_part(self, index, n, lr, steps):
        """One worker's part of the params: sum the gradients, see that all are finite, then the optimizer's step."""
        self.team.sync()
        params, grads, norm = {}, {}, 0.0
        state = {"step": steps}  # of its own: each step adds 1 to it
        for begin in range(0, self.size, self.chunk)[index :: self.team.active]:
            part = slice(begin, min(begin + self.chunk, self.size))
            grads[begin], *others = self.gradients[: 1 if n < self.num_workers else None, part]
            for row in others:
                grads[begin] += row
            norm += float(np.dot(grads[begin], grads[begin]))
            params[begin], state[begin] = self.vector[part], tuple(self.moments[:, part])
        if not np.isfinite(norm) and all(np.isfinite(grad).all() for grad in grads.values()):
            norm = 0.0  # only the squares overflow
        self.norms[index] = norm
        self.team.sync()
        if np.isfinite(self.norms.sum()):
            self.optimize(params, grads, state, lr)


def write_weights(path, weights):
    """{name: array} -> a `.safetensors` or `.npz` file."""
    if str(path).endswith(".npz"):
        np.savez(path, **weights)
        return
    header, end = {}, 0
    for name, array in weights.items():
        dtype = {"f8": "F64", "f4": "F32", "f2": "F16"}[array.dtype.str[1:]]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    parts = [np.array([len(text)], "<u8"), np.frombuffer(text, np.uint8), *weights.values()]
    np.concatenate([np.ascontiguousarray(part).reshape(-1).view(np.uint8) for part in parts]).tofile(path)


def read_weights(path, expected):
    """A `.safetensors` or `.npz` file -> {name: array}, with the names, shapes and dtypes of the arrays `expected`.

    float16, float32 and float64 are converted; names that begin with `netdsl.` (the optimizer of a checkpoint) or end
    with `.num_batches_tracked` (PyTorch's counters) are passed over. Names, dtypes, shapes and sizes are compared
    before any data is read. Raises ValueError, which names the file and the tensor, where they differ, where the file
    is damaged and where a number is not finite; FileNotFoundError where there is none.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path} is not a file")
    size, names = os.path.getsize(path), 2**22 + 2000 * len(expected)  # bytes of the file, and at most of its names
    try:
        if not str(path).endswith(".npz"):
            return take_weights(path, find_tensors(path, size, names), expected)
        if size > names + 8 * sum(array.size for array in expected.values()):
            raise ValueError(f"it has {size} bytes, more than these weights can take")
        with zipfile.ZipFile(path) as archive:
            return take_weights(archive, find_arrays(archive), expected)
    except Exception as error:  # whatever a decoder raises on damaged bytes
        raise ValueError(f"{path}: {str(error)[:300] or type(error).__name__}") from error


def take_weights(file, held, expected):
    """held {name: (dtype, shape, place)} -> {name: array}, read from the file once all of `expected` are there."""
    passed = {name for name in held if name.startswith("netdsl.") or name.endswith(".num_batches_tracked")}
    for name in sorted((held.keys() | expected.keys()) - passed):
        dtype, shape, _ = held.get(name, ("", "nothing", 0))
        wanted = expected[name].shape if name in expected else "nothing"
        if shape != wanted:
            raise ValueError(f"{name!r} should be {wanted}, the file has {shape}")
        if dtype not in ("float16", "float32", "float64"):
            raise ValueError(f"{name!r} is {dtype}, expected float16, float32 or float64")
    weights = {}
    for name, array in expected.items():
        dtype, shape, place = held[name]
        if isinstance(file, zipfile.ZipFile):
            with file.open(place) as member:
                data = np.lib.format.read_array(member, allow_pickle=False)
        else:
            data = np.fromfile(file, np.dtype(dtype).newbyteorder("<"), math.prod(shape), offset=place).reshape(shape)
        with np.errstate(over="ignore"):
            weights[name] = data.astype(array.dtype, copy=False)
        if not np.isfinite(weights[name]).all():
            raise ValueError(f"{name!r} has numbers that are not finite in {array.dtype}")
    return weights


def find_tensors(path, size, names):
    """A safetensors file of `size` bytes, at most `names` of them its header -> {name: (dtype, shape, first byte)}.

    It is the length of the header (8 bytes), the header (JSON: dtype, shape and place of each tensor) and the data,
    every byte of which belongs to one tensor.
    """
    length = int(np.fromfile(path, "<u8", 1)[0]) if size >= 8 else 0
    if not 2 <= length <= min(size - 8, names):
        raise ValueError(f"the header is cut or too long: {length} bytes in a file of {size}")
    text = np.fromfile(path, np.uint8, length, offset=8).tobytes().decode()
    header = json.loads(text, object_pairs_hook=named_once)
    if not isinstance(header, dict):
        raise ValueError("the header is not a JSON object")
    header.pop("__metadata__", None)
    places, ranges = {}, []
    for name, entry in header.items():
        try:
            dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
            dtype, item = {"F16": ("float16", 2), "F32": ("float32", 4), "F64": ("float64", 8)}.get(dtype, (dtype, 0))
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{name!r} has no dtype, shape and data_offsets") from None
        is_right = all(type(n) is int and n >= 0 for n in (*shape, begin, end)) and begin <= end
        if not is_right or item and math.prod(shape) * item != end - begin:
            raise ValueError(f"{name!r} cannot be {dtype} of shape {shape} at the bytes {begin} to {end}")
        places[name] = dtype, shape, 8 + length + begin
        ranges.append((begin, end, repr(name)))
    last = 0
    for begin, end, name in [*sorted(ranges), (size - 8 - length, 0, "the end")]:
        if begin != last:
            raise ValueError(f"{name} is at byte {begin} of the data, but what is before it ends at {last}")
        last = end
    return places


def named_once(pairs):
    """The dict of the pairs; raises ValueError where a name comes twice."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name comes twice in the header")
    return dict(pairs)


def find_arrays(archive):
    """An open `.npz`, a zip file of `.npy` files as `np.savez` writes -> {name: (dtype, shape, member)}."""
    places = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name in places or member.compress_type not in (0, 8):
            raise ValueError(f"{name!r} comes twice, or is packed in another way than by NumPy")
        try:
            with archive.open(member) as file:
                if np.lib.format.read_magic(file) != (1, 0):
                    raise ValueError("not the first version of the format")
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
                held = member.file_size - file.tell()
        except Exception as error:  # whatever the decoders raise on damaged bytes
            raise ValueError(f"{name!r} is no array: {error}") from error
        if held != math.prod(shape) * dtype.itemsize or held > 1032 * member.compress_size + 1024:
            raise ValueError(f"{name!r} cannot be {dtype} of shape {shape} in {held} bytes")
        places[name] = dtype.name, shape, member
    return places


class Team:
    """`count` workers that do the same work at the same time, each its part of it: threads, and worker 0, who calls.
    After an error, Ctrl-C too, all others are let out of `sync` and awaited, and the next call finds them ready."""

    work = None  # what `start` is given
    is_cut = False  # whether helpers may be at work without a call

    def __init__(self, count):
        self.count, self.active, self.pid, self.why = count, count, os.getpid(), "they were closed"
        self.barrier, self.busy = threading.Barrier(count), threading.Lock()
        self.calls = [queue.SimpleQueue() for _ in range(1, count)]  # what each helper is to do
        self.threads = []
        self.close = weakref.finalize(self, end_threads, self.calls, self.threads)  # at exit, too

    def shared(self, shape, dtype):
        """-> zeros that every worker sees."""
        return np.zeros(shape, dtype)

    def start(self, work):
        """Start the helpers. `work(index, order)` does one worker's part; `order` is what `call` is given."""
        for calls in self.calls:
            thread = threading.Thread(target=serve, args=(calls,), daemon=True)
            thread.start()
            self.threads.append(thread)
        self.work = work

    def call(self, order=(), is_alone=False):
        """Every worker does its work on `order`, or the first one alone; raises what one of them raised."""
        if not self.close.alive:
            raise RuntimeError(f"the workers have ended: {self.why}")
        if self.busy.locked():
            raise RuntimeError("the workers are at work: one call at a time")
        with self.busy:
            if self.is_cut:
                self.settle()
            self.active, threads = 1 if is_alone else self.count, None
            try:
                threads = blas_threads(1 if self.count > 1 else None)  # of each worker
                if self.active == 1:
                    self.work(0, order)
                elif self.pid != os.getpid():
                    raise RuntimeError("the workers serve the process that started them, not a fork of it")
                else:
                    self.lead(order)
            finally:
                blas_threads(threads)

    def lead(self, order):
        """Worker 0's part of a call, with all others'."""
        ended = queue.SimpleQueue()
        self.barrier, self.is_cut = threading.Barrier(self.count), True
        try:
            for me, calls in enumerate(self.calls, 1):
                calls.put(lambda me=me: ended.put(self.help(me, order)))
            self.work(0, order)
            errors = [ended.get() for _ in self.calls]
        except BaseException as error:
            self.settle()
            errors = [error, *(ended.get() for _ in range(ended.qsize()))]
        self.is_cut = False
        for failure in errors:
            if failure is not None and not isinstance(failure, threading.BrokenBarrierError):
                raise failure

    def help(self, me, order):
        """A helper's part of a call -> its error."""
        try:
            self.work(me, order)
        except BaseException as error:
            self.barrier.abort()
            return error
        return None

    def settle(self):
        """Let the helpers out of the last call and wait until they are; a second Ctrl-C may cut that short."""
        self.barrier.abort()
        ended = queue.SimpleQueue()
        for calls in self.calls:
            calls.put(lambda: ended.put(None))
        for _ in self.calls:
            ended.get()
        self.is_cut = False

    def sync(self):
        """Wait until every worker has come to as many of these in this call as this one."""
        if self.active > 1:
            self.barrier.wait()


def end_threads(calls, threads):
    """End the helpers; those at work get a second."""
    for one in calls:
        one.put(None)
    for thread in {*threads} - {threading.current_thread()}:
        thread.join(1)


def serve(calls):
    """The life of a helper, which holds nothing between calls, so that the team can be collected."""
    while (call := calls.get()) is not None:
        call()
        del call


def blas_threads(count):
    """Set how many threads the BLAS of numpy uses; returns how many it did, None where it cannot be asked (0.5 us)."""
    known = vars(blas_threads)
    get, put = known.get("controls") or known.setdefault("controls", blas_controls())
    if put is None or count is None:
        return None
    previous = get()
    put(count)
    return previous


def blas_controls():
    """-> the functions that get and set the number of threads in the BLAS that numpy's own library links, or Nones.
    Windows knows a function only by the file that defines it, so what numpy's wheel brings along is asked as well."""
    forms = [f"{front}openblas_%s_num_threads{end}" for front in ("scipy_", "") for end in ("64_", "")]
    names = [(form % "get", form % "set") for form in [*forms, "bli_thread_%s_num_threads"]]
    for path in blas_libraries():
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        for get, put in [*names, ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads")]:
            if hasattr(library, get):
                return library[get], library[put]
    return None, None


def blas_libraries():
    """-> the paths of numpy's own library, which links a BLAS, and of those that its wheel brings along."""
    modules = "numpy._core._multiarray_umath", "numpy.core._multiarray_umath"  # numpy 2, numpy 1
    own = [str(sys.modules[name].__file__) for name in modules if name in sys.modules][:1]
    folder = os.path.join(os.path.dirname(os.path.dirname(np.__file__)), "numpy.libs")
    brought = [name for _, _, names in os.walk(folder) for name in sorted(names) if "openblas" in name]
    return [*own, *(os.path.join(folder, name) for name in brought)]


def available_cores():
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Worker:
    """One worker's part of a network: its samples in blocks, the stages that work on them, and its gradients.

    n: the samples of the whole batch; rows: which of them each block has, a slice, and `sizes` how many; `block` is the
    one at work. training: stages keep what their backward pass needs. apart: blocks keep it beside each other, since
    they take turns; else one ends before the next begins, and they share memory. s: its stages, by name.
    """

    def __init__(self, network, index, n, training, apart):
        self.network, self.index, self.n, self.training, self.apart = network, index, n, training, apart
        self.dtype, self.num_workers = network.dtype, network.num_workers if n >= network.num_workers else 1
        begin, end = self.part(n)
        count = max(1, min(-(-n // (self.num_workers * network.block)), end - begin))  # for all workers as many
        cuts = [begin + i * (end - begin) // count for i in range(count + 1)]
        self.rows = [slice(*both) for both in zip(cuts, cuts[1:], strict=False)]
        self.sizes, self.block, self.version = [part.stop - part.start for part in self.rows], 0, None
        self.params, self.grads = network.stored, network.stored_grads[index]
        self.buffers = Buffers(self.dtype)
        self.shared = network.shared
        make, self.compute = network.train_stages, network.train_forward
        make = make if training else network.infer_stages
        for _ in range(2):  # the first time stages say how much memory they need, the second time they get it
            self.count, self.stages, self.handed_on = 0, [], {}
            self.s = make(self)
            if self.buffers.memory is None:
                self.buffers.settle()

    def arrays(self, shape, dtype=None):
        """An array for each block, shape(n) for its n samples, that keeps what is in it until the block ends."""
        self.count += 1
        return self.scratch(self.count, shape, dtype, self.apart, common=True)

    def scratch(self, key, shape, dtype=None, apart=False, common=False):
        """An array for each block; who asks for the same key gets the same memory, and so do blocks not apart."""
        return [self.buffers.array((key, i if apart else 0), shape(n), dtype) for i, n in enumerate(self.sizes)]

    def into(self, *memory):
        """This worker; what the next stage hands on goes into the memory of that number, which others use before and
        after it. A second number is that at inference; None: into one of its own."""
        self.handed_on[len(self.stages)] = memory[0 if self.training else -1]
        return self

    def outputs(self, shape):
        """An array for each block, for what a stage's forward gives: kept in training, handed on at inference."""
        return self.arrays(shape) if self.training else self.gradients(shape)

    def gradients(self, shape):
        """An array for each block, for what a stage's backward gives, which is handed on."""
        memory = self.handed_on.pop(len(self.stages) - 1, None)
        if memory is None:
            return self.arrays(shape)
        return self.scratch((memory, "handed on"), shape, None, self.apart, common=True)

    def part(self, size):
        """Begin and end of this worker's part of `size` things."""
        return self.index * size // self.num_workers, (self.index + 1) * size // self.num_workers

    def multiply(self, a, b, out):
        """np.matmul(a, b, out=out); a column by a row through np.dot, which takes a quarter of the time."""
        return (np.dot if a.ndim == 2 and a.shape[1] == 1 else np.matmul)(a, b, out=out)


class Buffers:
    """Arrays that live as long as a worker, in one piece (a large one has huge pages); those of a key share it. Sizes
    are learned by building all twice, first with arrays over each other: a process keeps part of what it gives back."""

    def __init__(self, dtype):
        self.dtype, self.sizes, self.places = np.dtype(dtype), {}, {}
        self.memory, self.trial = None, np.empty(0, self.dtype)

    def array(self, key, shape, dtype=None):
        """An array of that shape; what is in it at first is undefined."""
        dtype, begin, count = np.dtype(dtype or self.dtype), self.places.get(key, 0), math.prod(shape)
        size = -(-count * dtype.itemsize // self.dtype.itemsize)
        if self.memory is None:
            self.sizes[key] = max(self.sizes.get(key, 0), size)
            self.trial = self.trial if size <= len(self.trial) else np.empty(2 * size, self.dtype)
        memory = self.trial if self.memory is None else self.memory
        return memory[begin : begin + size].view(dtype)[:count].reshape(shape)

    def settle(self):
        """Take the memory for all that was asked for; from now on arrays are parts of it."""
        end = 0
        for key, size in self.sizes.items():  # 64 bytes apart, and not at multiples of 4096, which share a cache set
            self.places[key], end = end, end + -(-size // 16) * 16 + 48
        memory = np.empty(end + 16, self.dtype)
        self.memory, self.trial = memory[-memory.ctypes.data % 64 // self.dtype.itemsize :], memory[:0]


class TokenNetwork(Network):
    """A network that gives logits (N, T, K), a class for each token."""

    def predict(self, x, batch=256):
        """x (N, *input_shape) -> the class with the largest logit of each token, (N, T)."""
        x = self.check_input(x)
        return np.concatenate([self.logits(x[i : i + batch]).argmax(axis=2) for i in range(0, len(x), batch)])


class WritingNetwork(TokenNetwork):
    """A network that says of each number of a text which one follows.

    next_logits(x, states): x (N, S), the next numbers -> logits (N, S, V); states: what its layers keep of the numbers
    before, {} at the beginning. window: so many numbers it sees at a time; 0: all.
    """

    def generate(self, prompt, n, temperature=1.0, top_k=None, seed=0, cache=True):
        """prompt (S,) or (N, S), whole numbers -> the n that follow, (n,) or (N, n).

        Each is drawn as `drawn_ids` says. cache: whether layers keep what they have made of earlier numbers; without it
        all is computed again for each number, and the numbers are the same.
        """
        prompt = np.asarray(prompt)
        texts = np.atleast_2d(prompt)
        numbers = self.continued(texts, temperature, top_k, np.random.default_rng(seed), cache)
        made = np.zeros((len(texts), n), np.int64)
        for i, drawn in zip(range(n), numbers, strict=False):
            made[:, i] = drawn
        return made.reshape(*prompt.shape[:-1], n)

    def continued(self, texts, temperature, top_k, rng, cache, known=None):
        """texts (N, S) -> the numbers that follow, (N,) at a time, without end. known: numbers below it alone; None:
        all. Where the window is full, its second half begins the next one. Raises ValueError."""
        if not texts.size or texts.dtype.kind not in "iu":
            raise ValueError(f"a text has one whole number or more, not {texts.dtype} of the shape {texts.shape}")
        new = texts[:, -self.window :]
        seen, states = new[:, :0], {}
        while True:
            if self.window and seen.shape[1] + new.shape[1] > self.window:
                new = np.concatenate([seen, new], axis=1)[:, -max(1, self.window // 2) :]
                seen, states = new[:, :0], {}
            seen = np.concatenate([seen, new], axis=1)
            logits = self.next_logits(new, states) if cache else self.next_logits(seen, {})
            drawn = drawn_ids(logits[:, -1, :known], temperature, top_k, rng)
            yield drawn
            new = drawn[:, None]


def drawn_ids(logits, temperature, top_k, rng):
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


class SharingNetwork(FastNetwork):
    """A network of which several layers use one param.

    shares: pairs (name, owner): what a layer calls a param or buffer that is another one's, and its name there. Its
    gradient lies under its own name, in a vector beside.
    """

    def store(self, params, buffers):
        """The params and buffers, by every name that a layer calls them, and places for more gradients."""
        super().store(params, buffers)
        again = {name: params[owner] for name, owner in self.shares if owner in params}
        self.stored |= {name: self.stored[owner] for name, owner in self.shares}
        beside = self.team.shared((self.num_workers, self.room(again.values())), self.dtype)
        for index, row in enumerate(beside):
            stored, named = self.views(row, again)
            self.stored_grads[index].update(stored)
            self.named_grads[index].update(named)

    def each_block(self, w, command):
        """One worker's part, with the sums of what several layers give as gradients of one param. They begin at 0: the
        loss may not depend on the owner."""
        shared, grads = [pair for pair in self.shares if pair[1] in self.params], self.stored_grads[w.index]
        if command != OUTPUTS:
            for _, owner in shared:
                grads[owner][...] = 0
        super().each_block(w, command)
        if command != OUTPUTS:
            for name, owner in shared:
                grads[owner] += grads[name]


class DecayingMatrices(FastNetwork):
    """A network of which params of two axes or more decay, and others do not. They lie first in the vector."""

    def store(self, params, buffers):
        """The params and buffers, and where in the vector those that decay end."""
        super().store(params, buffers)
        self.decayed = self.room(matrices(dict(params)).values())

    def views(self, vector, arrays):
        """Of a vector the arrays as they are stored, and in PyTorch's shapes."""
        stored, named = super().views(vector, {**matrices(dict(arrays)), **arrays})
        return stored, {name: named[name] for name in arrays}

    def parted(self, params, grads, state):
        """A worker's chunks, by where they begin, (n,) each -> those that decay, and the others. The chunk with the end
        of those that decay is cut there."""
        groups = tuple(({}, {}, {"step": state["step"]}) for _ in range(2))
        for begin, param in params.items():
            end = min(max(self.decayed - begin, 0), len(param))
            for group, part in zip(groups, (slice(end), slice(end, len(param))), strict=True):
                if part.stop > (part.start or 0):
                    group[0][begin], group[1][begin] = param[part], grads[begin][part]
                    group[2][begin] = tuple(kept[part] for kept in state[begin])
        return groups


def matrices(params):
    """The params of two axes or more: weights, embeddings and positions."""
    return {name: param for name, param in params.items() if param.ndim > 1}


def answer(make):
    """`python MODULE.py --weights FILE X.npy...` prints what the network says of each sample, and ends here.

    A file has x (N, ...), bytes or floats, or a single sample; one channel may be left out. make: the network's class.
    shares: outputs (N, K) -> probabilities of the classes; None prints the outputs themselves.
    """
    import argparse

    parser = argparse.ArgumentParser(description="What the network says of samples; without arguments, it trains.")
    parser.add_argument("--weights", metavar="FILE", help="as training or `save` leaves it")
    parser.add_argument("samples", metavar="X.npy", nargs="*", help="samples, or a single one; of a .npz its `x`")
    given = parser.parse_args()
    if not given.weights and not given.samples:
        return
    model = make()
    try:
        model.load(given.weights or parser.error("--weights FILE is missing"))
        for path in given.samples or parser.error("the files of samples are missing"):
            x = np.load(path)
            x = x if isinstance(x, np.ndarray) else x["x"]
            is_short = model.input_shape in (x.shape, (1, *x.shape), (1, *x.shape[1:]))
            y = model.outputs(x.reshape(-1, *model.input_shape) if is_short else x)
            for i, row in enumerate(y):
                said = row
                print(f"{path} {i}: {said}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(str(error))
    raise SystemExit


Model = fast(CharGpt, WritingNetwork, SharingNetwork, DecayingMatrices)


if __name__ == "__main__":
    answer(Model)
    # A training run on made-up data, to show that the network learns.
    rng = np.random.default_rng(0)
    x = (rng.integers(0, 65, (256, 1)) + np.arange(64)) % 65  # texts that count
    y = (x + 1) % 65
    model = Model(seed=0)
    for epoch in range(1, 6):
        (loss,) = model.fit(x, y, epochs=1, batch=32, seed=epoch)
        print(f"epoch {epoch}: loss {loss:.4f}, accuracy {model.score(x, y):.3f}")
