# -*- coding: utf-8 -*-
"""SpiralMlp in NumPy, 2 -> 3, 675 parameters. Written by `netdsl compile -O0`; needs numpy and nothing else.

    layer    output  parameters
    linear1  32              96
    relu1    32
    linear2  16             528
    relu2    16
    linear3  3               51

Arrays are (N, C, H, W). Every `<layer>_forward` returns (y, saved); its `<layer>_backward` takes (dy, saved) and
returns (dx, gradients). `dy` is the gradient of the loss by y.
"""
import json

import numpy as np

INPUT_SHAPE = (2,)
NUM_PARAMETERS = 675


# ---------------------------------------------------------------- kernels


def linear_forward(x, weight, bias):
    """x (N, ..., D), weight (F, D), bias (F,) or None -> y (N, ..., F) = x weight^T + bias."""
    y = np.matmul(x, weight.T)
    return y if bias is None else y + bias, (x, weight, bias is not None)


def linear_backward(dy, saved):
    """dx = dy weight; dweight = dy^T x and dbias = the sum of dy, over the batch and all tokens."""
    x, weight, has_bias = saved
    rows = dy.reshape(-1, dy.shape[-1])
    grads = {"weight": np.matmul(rows.T, x.reshape(-1, x.shape[-1]))}
    if has_bias:
        grads["bias"] = rows.sum(axis=0)
    return np.matmul(dy, weight), grads


def relu_forward(x):
    """y = max(x, 0)."""
    return np.maximum(x, 0), x > 0


def relu_backward(dy, saved):
    """dx = dy where x > 0."""
    return dy * saved, {}


def check_labels(labels, num_classes):
    """Raise ValueError unless every label is a whole number in 0 .. num_classes - 1 (a negative index would wrap)."""
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be whole numbers, not {labels.dtype}")
    if labels.size == 0 or labels.min() < 0 or labels.max() >= num_classes:
        found = f"{labels.min()} to {labels.max()}" if labels.size else "none"
        raise ValueError(f"labels must lie in 0 to {num_classes - 1}, found {found}")


def onehot(labels, like):
    """labels (N, ...) -> booleans of the shape of `like` (N, K, ...), True in class `label`. Raises ValueError."""
    num_classes = like.shape[1]
    if labels.shape != like.shape[:1] + like.shape[2:]:
        raise ValueError(f"labels of the shape {labels.shape} for outputs of the shape {like.shape}")
    check_labels(labels, num_classes)
    return np.expand_dims(labels, 1) == np.arange(num_classes).reshape(-1, *[1] * (like.ndim - 2))


def cross_entropy(logits, labels):
    """logits (N, K, ...), labels (N, ...) -> mean loss, dlogits = (softmax - onehot(labels)) / number of labels.

    The maximum is taken out first, so that no exponential overflows.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    wanted = onehot(labels, log_p)
    return -log_p[wanted].mean(), (np.exp(log_p) - wanted) / labels.size


def adam_step(params, grads, state, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    """Kingma & Ba 2015: m, v are running means of g and g*g, corrected for starting at zero;
    param -= lr * m_hat / (sqrt(v_hat) + eps). weight_decay adds to g."""
    step = state["step"] = state.get("step", 0) + 1
    correct1, correct2 = 1 - betas[0] ** step, 1 - betas[1] ** step
    for name, param in params.items():
        g = grads[name] + weight_decay * param if weight_decay else grads[name]
        m, v = state.setdefault(name, (np.zeros_like(param), np.zeros_like(param)))
        m += (1 - betas[0]) * (g - m)
        v += (1 - betas[1]) * (g * g - v)
        param -= lr / correct1 * m / (np.sqrt(v) / correct2**0.5 + eps)


def he(rng, shape, fan_in, fan_out, dtype):
    """He et al. 2015: normal with variance 2 / fan_in."""
    return (rng.standard_normal(shape) * (2.0 / fan_in) ** 0.5).astype(dtype)


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
    parts = [np.array([len(text)], "<u8").view(np.uint8), np.frombuffer(text, np.uint8)]
    parts += [np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in weights.values()]
    np.concatenate(parts).tofile(path)


def read_weights(path):
    """A `.safetensors` or `.npz` file -> {name: array}.

    It is the length of a header (8 bytes), the header (JSON: dtype, shape and place of each tensor), data.
    """
    if str(path).endswith(".npz"):
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    raw = np.fromfile(path, np.uint8)
    start = 8 + int(raw[:8].view("<u8")[0])
    header = json.loads(raw[8:start].tobytes())
    header.pop("__metadata__", None)
    dtypes = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
    weights = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        weights[name] = raw[start + begin : start + end].view(dtypes[entry["dtype"]]).reshape(entry["shape"])
    return weights


# ---------------------------------------------------------------- the network


class Network:
    """What a network can do once it has `params`, `buffers`, `logits`, `forward`, `backward`, `loss` and `update`.

    params and buffers: name -> array, with PyTorch's names, shapes and order, so that one checkpoint fits both.
    """

    def check_input(self, x):
        """x (N, *input_shape), numbers of any type -> the same in the network's dtype. Raises ValueError."""
        x = np.asarray(x, self.dtype)
        if x.shape[1:] != self.input_shape or not len(x):
            raise ValueError(f"the network takes (N, {', '.join(map(str, self.input_shape))}), not {x.shape}")
        return x

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
        """Read what `save`, netdsl or PyTorch wrote; raises ValueError unless every name and shape is right.

        Names in a checkpoint that begin with `netdsl.` are of its optimizer and are passed over.
        """
        found, expected = read_weights(path), {**self.params, **self.buffers}
        for name in sorted(found.keys() | expected.keys()):
            if name.startswith("netdsl."):
                continue
            if name not in expected or name not in found or found[name].shape != expected[name].shape:
                shapes = [weights[name].shape if name in weights else "nothing" for weights in (expected, found)]
                raise ValueError(f"{path}: {name} should be {shapes[0]}, the file has {shapes[1]}")
        for name, array in expected.items():
            array[...] = found[name]


class SpiralMlp(Network):
    """(N, 2) -> (N, 3)."""

    input_shape = INPUT_SHAPE
    learning_rate = 0.01
    loss = staticmethod(cross_entropy)

    def __init__(self, seed=0, dtype=np.float32):
        rng = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)
        self.params = {
            "linear1.weight": he(rng, (32, 2), 2, 32, dtype),
            "linear1.bias": np.zeros(32, dtype),
            "linear2.weight": he(rng, (16, 32), 32, 16, dtype),
            "linear2.bias": np.zeros(16, dtype),
            "linear3.weight": he(rng, (3, 16), 16, 3, dtype),
            "linear3.bias": np.zeros(3, dtype),
        }
        self.buffers = {}
        self.saved, self.optimizer_state = {}, {}
        self.rng = rng

    def forward(self, x, training=False):
        """x (N, 2) -> y (N, 3)."""
        x = self.check_input(x)
        p, saved = self.params, self.saved
        x, saved["linear1"] = linear_forward(x, p["linear1.weight"], p["linear1.bias"])  # (N, 32)
        x, saved["relu1"] = relu_forward(x)
        x, saved["linear2"] = linear_forward(x, p["linear2.weight"], p["linear2.bias"])  # (N, 16)
        x, saved["relu2"] = relu_forward(x)
        x, saved["linear3"] = linear_forward(x, p["linear3.weight"], p["linear3.bias"])  # (N, 3)
        return x

    def logits(self, x, training=False):
        """What the loss reads: the output."""
        return self.forward(x, training)

    def backward(self, dy):
        """The gradient by the logits -> dx, {param name: gradient}, for the last batch."""
        saved, grads = self.saved, {}
        dy, grads["linear3"] = linear_backward(dy, saved["linear3"])  # (N, 16)
        dy, _ = relu_backward(dy, saved["relu2"])
        dy, grads["linear2"] = linear_backward(dy, saved["linear2"])  # (N, 32)
        dy, _ = relu_backward(dy, saved["relu1"])
        dy, grads["linear1"] = linear_backward(dy, saved["linear1"])  # (N, 2)
        return dy, {f"{layer}.{name}": g for layer, named in reversed(grads.items()) for name, g in named.items()}

    def update(self, grads, lr):
        """One step of the optimizer, in place."""
        adam_step(self.params, grads, self.optimizer_state, lr)


Model = SpiralMlp

if __name__ == "__main__":
    # A training run on made-up data, to show that the network learns.
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 256)
    patterns = rng.standard_normal((3, *INPUT_SHAPE))  # one for each class
    x = (patterns[y] + rng.standard_normal((256, *INPUT_SHAPE))).astype(np.float32)
    model = Model(seed=0)
    for epoch in range(1, 6):
        (loss,) = model.fit(x, y, epochs=1, batch=32, seed=epoch)
        print(f"epoch {epoch}: loss {loss:.4f}, accuracy {model.score(x, y):.3f}")
