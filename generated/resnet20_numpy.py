# -*- coding: utf-8 -*-
"""Resnet20 in NumPy, 3x32x32 -> 10, 272,474 parameters. Written by `netdsl compile -O0`; needs numpy and nothing else.

    layer     output    parameters      layer     output    parameters
    conv1     16x32x32         432      layer2.1  32x16x16      18,560
    bn1       16x32x32          32      layer2.2  32x16x16      18,560
    relu1     16x32x32                  layer3.0  64x8x8        57,728
    layer1.0  16x32x32       4,672      layer3.1  64x8x8        73,984
    layer1.1  16x32x32       4,672      layer3.2  64x8x8        73,984
    layer1.2  16x32x32       4,672      gap1      64
    layer2.0  32x16x16      14,528      fc        10               650

Arrays are (N, C, H, W). Every `<layer>_forward` returns (y, saved); its `<layer>_backward` takes (dy, saved) and
returns (dx, gradients). `dy` is the gradient of the loss by y.
"""
import json

import numpy as np

INPUT_SHAPE = (3, 32, 32)
NUM_PARAMETERS = 272_474


# ---------------------------------------------------------------- kernels


def windows(x, kernel_size, stride, padding, dilation=(1, 1)):
    """x (N, C, H, W) -> every window, a read-only view (N, C, Ho, Wo, Kh, Kw) of the zero-padded x.

    padding ((top, bottom), (left, right)); Ho = (H + top + bottom - dilation * (Kh - 1) - 1) // stride + 1.
    """
    x = np.pad(x, ((0, 0), (0, 0), *padding))
    reach = (dilation[0] * (kernel_size[0] - 1) + 1, dilation[1] * (kernel_size[1] - 1) + 1)
    view = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(2, 3))
    return view[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def conv_forward(x, weight, bias, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1):
    """x (N, C, H, W), weight (F, C/groups, Kh, Kw), bias (F,) or None -> y (N, F, Ho, Wo).

    y[n, f, i, j] = bias[f] + sum over c, u, v of weight[f, c, u, v] * x[n, c, i*s + u*d - p, j*s + v*d - p],
    as one matrix product: a row of weights for each filter, a column for each window (im2col). With groups, filters of
    one group see the channels of that group only: one matrix product each.
    """
    view = windows(x, weight.shape[2:], stride, padding, dilation)  # (N, C, Ho, Wo, Kh, Kw)
    n, _, ho, wo = view.shape[:4]
    cols = view.transpose(1, 4, 5, 0, 2, 3).reshape(groups, -1, n * ho * wo)  # (G, C/G*Kh*Kw, N*Ho*Wo)
    rows = weight.reshape(groups, len(weight) // groups, -1)  # (G, F/G, C/G*Kh*Kw)
    y = np.matmul(rows, cols).reshape(-1, n, ho, wo).transpose(1, 0, 2, 3)
    if bias is not None:
        y += bias[:, None, None]
    return y, (x.shape, cols, weight, bias is not None, stride, padding, dilation)


def windows_adjoint(dwindows, x_shape, stride, padding, dilation=(1, 1)):
    """The transpose of `windows`: sums (C, Kh, Kw, N, Ho, Wo) back into dx (N, C, H, W)."""
    n, c, h, w = x_shape
    _, kh, kw, _, ho, wo = dwindows.shape
    (top, bottom), (left, right) = padding
    dx = np.zeros((c, n, h + top + bottom, w + left + right), dwindows.dtype)
    for u in range(kh):
        for v in range(kw):
            rows, cols = u * dilation[0], v * dilation[1]
            target = dx[:, :, rows : rows + stride[0] * ho : stride[0], cols : cols + stride[1] * wo : stride[1]]
            target += dwindows[:, u, v]
    return dx[:, :, top : top + h, left : left + w].transpose(1, 0, 2, 3)


def conv_backward(dy, saved):
    """dy (N, F, Ho, Wo) -> dx (N, C, H, W), {weight, bias}.

    dweight multiplies dy with the windows of x; dx sends each dy[n, f, i, j] * weight[f] back to its window.
    """
    x_shape, cols, weight, has_bias, stride, padding, dilation = saved
    n, f, ho, wo = dy.shape
    groups = len(cols)
    dy_rows = dy.transpose(1, 0, 2, 3).reshape(groups, f // groups, -1)  # (G, F/G, N*Ho*Wo)
    grads = {"weight": np.matmul(dy_rows, cols.transpose(0, 2, 1)).reshape(weight.shape)}
    if has_bias:
        grads["bias"] = dy.sum(axis=(0, 2, 3))
    rows = weight.reshape(groups, f // groups, -1)
    dcols = np.matmul(rows.transpose(0, 2, 1), dy_rows).reshape(x_shape[1], *weight.shape[2:], n, ho, wo)
    return windows_adjoint(dcols, x_shape, stride, padding, dilation), grads


def bn_forward(x, weight, bias, running_mean, running_var, eps=1e-5, momentum=0.1, training=False):
    """y = weight * (x - mean) / sqrt(var + eps) + bias for each channel of x (N, C) or (N, C, H, W) (Ioffe 2015).

    In training mean and var are those of the batch, and the running ones move towards them by `momentum`, in place
    (var unbiased there, as in PyTorch); else mean and var are the running ones.
    """
    axes, shape = (0, *range(2, x.ndim)), (-1, *[1] * (x.ndim - 2))
    count = x.size // x.shape[1]
    if training:
        if count == 1:
            raise ValueError("batch norm needs more than one value for each channel in training: use a larger batch")
        mean = x.mean(axis=axes)
        var = ((x - mean.reshape(shape)) ** 2).mean(axis=axes)
        running_mean += momentum * (mean - running_mean)
        running_var += momentum * (var * (count / (count - 1)) - running_var)
    else:
        mean, var = running_mean.copy(), running_var
    inv_std = 1 / np.sqrt(var + eps)
    x_hat = (x - mean.reshape(shape)) * inv_std.reshape(shape)
    y = x_hat if weight is None else weight.reshape(shape) * x_hat + bias.reshape(shape)
    return y, (x_hat, inv_std, weight, training)


def bn_backward(dy, saved):
    """dx = inv_std * (g - mean(g) - x_hat * mean(g * x_hat)), g = dy * weight; in evaluation without the means."""
    x_hat, inv_std, weight, training = saved
    axes, shape = (0, *range(2, dy.ndim)), (-1, *[1] * (dy.ndim - 2))
    dbias, dweight = dy.sum(axis=axes), (dy * x_hat).sum(axis=axes)
    scale = inv_std if weight is None else weight * inv_std
    dx = dy
    if training:
        count = dy.size // dy.shape[1]
        dx = dy - (dbias / count).reshape(shape) - x_hat * (dweight / count).reshape(shape)
    return dx * scale.reshape(shape), {} if weight is None else {"weight": dweight, "bias": dbias}


def relu_forward(x):
    """y = max(x, 0)."""
    return np.maximum(x, 0), x > 0


def relu_backward(dy, saved):
    """dx = dy where x > 0."""
    return dy * saved, {}


def add_forward(*inputs):
    """y = x1 + x2 + ..., all of one shape."""
    y = inputs[0]
    for x in inputs[1:]:
        y = y + x
    return y, len(inputs)


def add_backward(dy, saved):
    """dx = dy for every input."""
    return (dy,) * saved, {}


def gap_forward(x):
    """x (N, C, H, W) -> y (N, C), the mean over H and W."""
    return x.mean(axis=(2, 3)), x.shape


def gap_backward(dy, saved):
    """Every element of a channel gets dy / (H*W)."""
    _, _, h, w = saved
    return np.broadcast_to(dy[:, :, None, None] / (h * w), saved), {}


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


def sgd_step(params, grads, state, lr=1e-2, momentum=0.0, nesterov=False, weight_decay=0.0):
    """v = momentum * v + g;  param -= lr * v, with nesterov lr * (g + momentum * v)."""
    for name, param in params.items():
        g = grads[name] + weight_decay * param if weight_decay else grads[name]
        if momentum:
            v, *_ = state.setdefault(name, (np.zeros_like(param),))
            v *= momentum
            v += g
            g = g + momentum * v if nesterov else v
        param -= lr * g


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


class Resnet20(Network):
    """(N, 3, 32, 32) -> (N, 10)."""

    input_shape = INPUT_SHAPE
    learning_rate = 0.1
    loss = staticmethod(cross_entropy)

    def __init__(self, seed=0, dtype=np.float32):
        rng = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)
        self.params = {
            "conv1.weight": he(rng, (16, 3, 3, 3), 27, 144, dtype),
            "bn1.weight": np.ones(16, dtype),
            "bn1.bias": np.zeros(16, dtype),
            "layer1.0.conv1.weight": he(rng, (16, 16, 3, 3), 144, 144, dtype),
            "layer1.0.bn1.weight": np.ones(16, dtype),
            "layer1.0.bn1.bias": np.zeros(16, dtype),
            "layer1.0.conv2.weight": he(rng, (16, 16, 3, 3), 144, 144, dtype),
            "layer1.0.bn2.weight": np.ones(16, dtype),
            "layer1.0.bn2.bias": np.zeros(16, dtype),
            "layer1.1.conv1.weight": he(rng, (16, 16, 3, 3), 144, 144, dtype),
            "layer1.1.bn1.weight": np.ones(16, dtype),
            "layer1.1.bn1.bias": np.zeros(16, dtype),
            "layer1.1.conv2.weight": he(rng, (16, 16, 3, 3), 144, 144, dtype),
            "layer1.1.bn2.weight": np.ones(16, dtype),
            "layer1.1.bn2.bias": np.zeros(16, dtype),
            "layer1.2.conv1.weight": he(rng, (16, 16, 3, 3), 144, 144, dtype),
            "layer1.2.bn1.weight": np.ones(16, dtype),
            "layer1.2.bn1.bias": np.zeros(16, dtype),
            "layer1.2.conv2.weight": he(rng, (16, 16, 3, 3), 144, 144, dtype),
            "layer1.2.bn2.weight": np.ones(16, dtype),
            "layer1.2.bn2.bias": np.zeros(16, dtype),
            "layer2.0.conv1.weight": he(rng, (32, 16, 3, 3), 144, 288, dtype),
            "layer2.0.bn1.weight": np.ones(32, dtype),
            "layer2.0.bn1.bias": np.zeros(32, dtype),
            "layer2.0.conv2.weight": he(rng, (32, 32, 3, 3), 288, 288, dtype),
            "layer2.0.bn2.weight": np.ones(32, dtype),
            "layer2.0.bn2.bias": np.zeros(32, dtype),
            "layer2.0.downsample.0.weight": he(rng, (32, 16, 1, 1), 16, 32, dtype),
            "layer2.0.downsample.1.weight": np.ones(32, dtype),
            "layer2.0.downsample.1.bias": np.zeros(32, dtype),
            "layer2.1.conv1.weight": he(rng, (32, 32, 3, 3), 288, 288, dtype),
            "layer2.1.bn1.weight": np.ones(32, dtype),
            "layer2.1.bn1.bias": np.zeros(32, dtype),
            "layer2.1.conv2.weight": he(rng, (32, 32, 3, 3), 288, 288, dtype),
            "layer2.1.bn2.weight": np.ones(32, dtype),
            "layer2.1.bn2.bias": np.zeros(32, dtype),
            "layer2.2.conv1.weight": he(rng, (32, 32, 3, 3), 288, 288, dtype),
            "layer2.2.bn1.weight": np.ones(32, dtype),
            "layer2.2.bn1.bias": np.zeros(32, dtype),
            "layer2.2.conv2.weight": he(rng, (32, 32, 3, 3), 288, 288, dtype),
            "layer2.2.bn2.weight": np.ones(32, dtype),
            "layer2.2.bn2.bias": np.zeros(32, dtype),
            "layer3.0.conv1.weight": he(rng, (64, 32, 3, 3), 288, 576, dtype),
            "layer3.0.bn1.weight": np.ones(64, dtype),
            "layer3.0.bn1.bias": np.zeros(64, dtype),
            "layer3.0.conv2.weight": he(rng, (64, 64, 3, 3), 576, 576, dtype),
            "layer3.0.bn2.weight": np.ones(64, dtype),
            "layer3.0.bn2.bias": np.zeros(64, dtype),
            "layer3.0.downsample.0.weight": he(rng, (64, 32, 1, 1), 32, 64, dtype),
            "layer3.0.downsample.1.weight": np.ones(64, dtype),
            "layer3.0.downsample.1.bias": np.zeros(64, dtype),
            "layer3.1.conv1.weight": he(rng, (64, 64, 3, 3), 576, 576, dtype),
            "layer3.1.bn1.weight": np.ones(64, dtype),
            "layer3.1.bn1.bias": np.zeros(64, dtype),
            "layer3.1.conv2.weight": he(rng, (64, 64, 3, 3), 576, 576, dtype),
            "layer3.1.bn2.weight": np.ones(64, dtype),
            "layer3.1.bn2.bias": np.zeros(64, dtype),
            "layer3.2.conv1.weight": he(rng, (64, 64, 3, 3), 576, 576, dtype),
            "layer3.2.bn1.weight": np.ones(64, dtype),
            "layer3.2.bn1.bias": np.zeros(64, dtype),
            "layer3.2.conv2.weight": he(rng, (64, 64, 3, 3), 576, 576, dtype),
            "layer3.2.bn2.weight": np.ones(64, dtype),
            "layer3.2.bn2.bias": np.zeros(64, dtype),
            "fc.weight": he(rng, (10, 64), 64, 10, dtype),
            "fc.bias": np.zeros(10, dtype),
        }
        self.buffers = {
            "bn1.running_mean": np.zeros(16, dtype),
            "bn1.running_var": np.ones(16, dtype),
            "layer1.0.bn1.running_mean": np.zeros(16, dtype),
            "layer1.0.bn1.running_var": np.ones(16, dtype),
            "layer1.0.bn2.running_mean": np.zeros(16, dtype),
            "layer1.0.bn2.running_var": np.ones(16, dtype),
            "layer1.1.bn1.running_mean": np.zeros(16, dtype),
            "layer1.1.bn1.running_var": np.ones(16, dtype),
            "layer1.1.bn2.running_mean": np.zeros(16, dtype),
            "layer1.1.bn2.running_var": np.ones(16, dtype),
            "layer1.2.bn1.running_mean": np.zeros(16, dtype),
            "layer1.2.bn1.running_var": np.ones(16, dtype),
            "layer1.2.bn2.running_mean": np.zeros(16, dtype),
            "layer1.2.bn2.running_var": np.ones(16, dtype),
            "layer2.0.bn1.running_mean": np.zeros(32, dtype),
            "layer2.0.bn1.running_var": np.ones(32, dtype),
            "layer2.0.bn2.running_mean": np.zeros(32, dtype),
            "layer2.0.bn2.running_var": np.ones(32, dtype),
            "layer2.0.downsample.1.running_mean": np.zeros(32, dtype),
            "layer2.0.downsample.1.running_var": np.ones(32, dtype),
            "layer2.1.bn1.running_mean": np.zeros(32, dtype),
            "layer2.1.bn1.running_var": np.ones(32, dtype),
            "layer2.1.bn2.running_mean": np.zeros(32, dtype),
            "layer2.1.bn2.running_var": np.ones(32, dtype),
            "layer2.2.bn1.running_mean": np.zeros(32, dtype),
            "layer2.2.bn1.running_var": np.ones(32, dtype),
            "layer2.2.bn2.running_mean": np.zeros(32, dtype),
            "layer2.2.bn2.running_var": np.ones(32, dtype),
            "layer3.0.bn1.running_mean": np.zeros(64, dtype),
            "layer3.0.bn1.running_var": np.ones(64, dtype),
            "layer3.0.bn2.running_mean": np.zeros(64, dtype),
            "layer3.0.bn2.running_var": np.ones(64, dtype),
            "layer3.0.downsample.1.running_mean": np.zeros(64, dtype),
            "layer3.0.downsample.1.running_var": np.ones(64, dtype),
            "layer3.1.bn1.running_mean": np.zeros(64, dtype),
            "layer3.1.bn1.running_var": np.ones(64, dtype),
            "layer3.1.bn2.running_mean": np.zeros(64, dtype),
            "layer3.1.bn2.running_var": np.ones(64, dtype),
            "layer3.2.bn1.running_mean": np.zeros(64, dtype),
            "layer3.2.bn1.running_var": np.ones(64, dtype),
            "layer3.2.bn2.running_mean": np.zeros(64, dtype),
            "layer3.2.bn2.running_var": np.ones(64, dtype),
        }
        self.saved, self.optimizer_state = {}, {}
        self.rng = rng

    def forward(self, x, training=False):
        """x (N, 3, 32, 32) -> y (N, 10)."""
        x = self.check_input(x)
        p, b, saved = self.params, self.buffers, self.saved
        x, saved["conv1"] = conv_forward(x, p["conv1.weight"], None, padding=((1, 1), (1, 1)))  # (N, 16, 32, 32)
        x, saved["bn1"] = bn_forward(x, p["bn1.weight"], p["bn1.bias"], b["bn1.running_mean"], b["bn1.running_var"], training=training)
        x, saved["relu1"] = relu_forward(x)

        # layer1.0: basic(c=16)
        y, saved["layer1.0.conv1"] = conv_forward(x, p["layer1.0.conv1.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer1.0.bn1"] = bn_forward(y, p["layer1.0.bn1.weight"], p["layer1.0.bn1.bias"], b["layer1.0.bn1.running_mean"], b["layer1.0.bn1.running_var"], training=training)
        y, saved["layer1.0.relu1"] = relu_forward(y)
        y, saved["layer1.0.conv2"] = conv_forward(y, p["layer1.0.conv2.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer1.0.bn2"] = bn_forward(y, p["layer1.0.bn2.weight"], p["layer1.0.bn2.bias"], b["layer1.0.bn2.running_mean"], b["layer1.0.bn2.running_var"], training=training)
        x, saved["layer1.0.add1"] = add_forward(y, x)  # (N, 16, 32, 32)
        x, saved["layer1.0.relu2"] = relu_forward(x)

        # layer1.1: basic(c=16)
        y, saved["layer1.1.conv1"] = conv_forward(x, p["layer1.1.conv1.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer1.1.bn1"] = bn_forward(y, p["layer1.1.bn1.weight"], p["layer1.1.bn1.bias"], b["layer1.1.bn1.running_mean"], b["layer1.1.bn1.running_var"], training=training)
        y, saved["layer1.1.relu1"] = relu_forward(y)
        y, saved["layer1.1.conv2"] = conv_forward(y, p["layer1.1.conv2.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer1.1.bn2"] = bn_forward(y, p["layer1.1.bn2.weight"], p["layer1.1.bn2.bias"], b["layer1.1.bn2.running_mean"], b["layer1.1.bn2.running_var"], training=training)
        x, saved["layer1.1.add1"] = add_forward(y, x)  # (N, 16, 32, 32)
        x, saved["layer1.1.relu2"] = relu_forward(x)

        # layer1.2: basic(c=16)
        y, saved["layer1.2.conv1"] = conv_forward(x, p["layer1.2.conv1.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer1.2.bn1"] = bn_forward(y, p["layer1.2.bn1.weight"], p["layer1.2.bn1.bias"], b["layer1.2.bn1.running_mean"], b["layer1.2.bn1.running_var"], training=training)
        y, saved["layer1.2.relu1"] = relu_forward(y)
        y, saved["layer1.2.conv2"] = conv_forward(y, p["layer1.2.conv2.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer1.2.bn2"] = bn_forward(y, p["layer1.2.bn2.weight"], p["layer1.2.bn2.bias"], b["layer1.2.bn2.running_mean"], b["layer1.2.bn2.running_var"], training=training)
        x, saved["layer1.2.add1"] = add_forward(y, x)  # (N, 16, 32, 32)
        x, saved["layer1.2.relu2"] = relu_forward(x)

        # layer2.0: basic(c=32, s=2)
        y, saved["layer2.0.conv1"] = conv_forward(x, p["layer2.0.conv1.weight"], None, stride=(2, 2), padding=((1, 1), (1, 1)))  # (N, 32, 16, 16)
        y, saved["layer2.0.bn1"] = bn_forward(y, p["layer2.0.bn1.weight"], p["layer2.0.bn1.bias"], b["layer2.0.bn1.running_mean"], b["layer2.0.bn1.running_var"], training=training)
        y, saved["layer2.0.relu1"] = relu_forward(y)
        y, saved["layer2.0.conv2"] = conv_forward(y, p["layer2.0.conv2.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer2.0.bn2"] = bn_forward(y, p["layer2.0.bn2.weight"], p["layer2.0.bn2.bias"], b["layer2.0.bn2.running_mean"], b["layer2.0.bn2.running_var"], training=training)
        x, saved["layer2.0.downsample.0"] = conv_forward(x, p["layer2.0.downsample.0.weight"], None, stride=(2, 2))  # (N, 32, 16, 16)
        x, saved["layer2.0.downsample.1"] = bn_forward(x, p["layer2.0.downsample.1.weight"], p["layer2.0.downsample.1.bias"], b["layer2.0.downsample.1.running_mean"], b["layer2.0.downsample.1.running_var"], training=training)
        x, saved["layer2.0.add1"] = add_forward(y, x)  # (N, 32, 16, 16)
        x, saved["layer2.0.relu2"] = relu_forward(x)

        # layer2.1: basic(c=32)
        y, saved["layer2.1.conv1"] = conv_forward(x, p["layer2.1.conv1.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer2.1.bn1"] = bn_forward(y, p["layer2.1.bn1.weight"], p["layer2.1.bn1.bias"], b["layer2.1.bn1.running_mean"], b["layer2.1.bn1.running_var"], training=training)
        y, saved["layer2.1.relu1"] = relu_forward(y)
        y, saved["layer2.1.conv2"] = conv_forward(y, p["layer2.1.conv2.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer2.1.bn2"] = bn_forward(y, p["layer2.1.bn2.weight"], p["layer2.1.bn2.bias"], b["layer2.1.bn2.running_mean"], b["layer2.1.bn2.running_var"], training=training)
        x, saved["layer2.1.add1"] = add_forward(y, x)  # (N, 32, 16, 16)
        x, saved["layer2.1.relu2"] = relu_forward(x)

        # layer2.2: basic(c=32)
        y, saved["layer2.2.conv1"] = conv_forward(x, p["layer2.2.conv1.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer2.2.bn1"] = bn_forward(y, p["layer2.2.bn1.weight"], p["layer2.2.bn1.bias"], b["layer2.2.bn1.running_mean"], b["layer2.2.bn1.running_var"], training=training)
        y, saved["layer2.2.relu1"] = relu_forward(y)
        y, saved["layer2.2.conv2"] = conv_forward(y, p["layer2.2.conv2.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer2.2.bn2"] = bn_forward(y, p["layer2.2.bn2.weight"], p["layer2.2.bn2.bias"], b["layer2.2.bn2.running_mean"], b["layer2.2.bn2.running_var"], training=training)
        x, saved["layer2.2.add1"] = add_forward(y, x)  # (N, 32, 16, 16)
        x, saved["layer2.2.relu2"] = relu_forward(x)

        # layer3.0: basic(c=64, s=2)
        y, saved["layer3.0.conv1"] = conv_forward(x, p["layer3.0.conv1.weight"], None, stride=(2, 2), padding=((1, 1), (1, 1)))  # (N, 64, 8, 8)
        y, saved["layer3.0.bn1"] = bn_forward(y, p["layer3.0.bn1.weight"], p["layer3.0.bn1.bias"], b["layer3.0.bn1.running_mean"], b["layer3.0.bn1.running_var"], training=training)
        y, saved["layer3.0.relu1"] = relu_forward(y)
        y, saved["layer3.0.conv2"] = conv_forward(y, p["layer3.0.conv2.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer3.0.bn2"] = bn_forward(y, p["layer3.0.bn2.weight"], p["layer3.0.bn2.bias"], b["layer3.0.bn2.running_mean"], b["layer3.0.bn2.running_var"], training=training)
        x, saved["layer3.0.downsample.0"] = conv_forward(x, p["layer3.0.downsample.0.weight"], None, stride=(2, 2))  # (N, 64, 8, 8)
        x, saved["layer3.0.downsample.1"] = bn_forward(x, p["layer3.0.downsample.1.weight"], p["layer3.0.downsample.1.bias"], b["layer3.0.downsample.1.running_mean"], b["layer3.0.downsample.1.running_var"], training=training)
        x, saved["layer3.0.add1"] = add_forward(y, x)  # (N, 64, 8, 8)
        x, saved["layer3.0.relu2"] = relu_forward(x)

        # layer3.1: basic(c=64)
        y, saved["layer3.1.conv1"] = conv_forward(x, p["layer3.1.conv1.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer3.1.bn1"] = bn_forward(y, p["layer3.1.bn1.weight"], p["layer3.1.bn1.bias"], b["layer3.1.bn1.running_mean"], b["layer3.1.bn1.running_var"], training=training)
        y, saved["layer3.1.relu1"] = relu_forward(y)
        y, saved["layer3.1.conv2"] = conv_forward(y, p["layer3.1.conv2.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer3.1.bn2"] = bn_forward(y, p["layer3.1.bn2.weight"], p["layer3.1.bn2.bias"], b["layer3.1.bn2.running_mean"], b["layer3.1.bn2.running_var"], training=training)
        x, saved["layer3.1.add1"] = add_forward(y, x)  # (N, 64, 8, 8)
        x, saved["layer3.1.relu2"] = relu_forward(x)

        # layer3.2: basic(c=64)
        y, saved["layer3.2.conv1"] = conv_forward(x, p["layer3.2.conv1.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer3.2.bn1"] = bn_forward(y, p["layer3.2.bn1.weight"], p["layer3.2.bn1.bias"], b["layer3.2.bn1.running_mean"], b["layer3.2.bn1.running_var"], training=training)
        y, saved["layer3.2.relu1"] = relu_forward(y)
        y, saved["layer3.2.conv2"] = conv_forward(y, p["layer3.2.conv2.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer3.2.bn2"] = bn_forward(y, p["layer3.2.bn2.weight"], p["layer3.2.bn2.bias"], b["layer3.2.bn2.running_mean"], b["layer3.2.bn2.running_var"], training=training)
        x, saved["layer3.2.add1"] = add_forward(y, x)  # (N, 64, 8, 8)
        x, saved["layer3.2.relu2"] = relu_forward(x)

        # the network itself
        x, saved["gap1"] = gap_forward(x)  # (N, 64)
        x, saved["fc"] = linear_forward(x, p["fc.weight"], p["fc.bias"])  # (N, 10)
        return x

    def logits(self, x, training=False):
        """What the loss reads: the output."""
        return self.forward(x, training)

    def backward(self, dy):
        """The gradient by the logits -> dx, {param name: gradient}, for the last batch."""
        saved, grads = self.saved, {}
        dy, grads["fc"] = linear_backward(dy, saved["fc"])  # (N, 64)
        dy, _ = gap_backward(dy, saved["gap1"])  # (N, 64, 8, 8)

        # layer3.2
        dy, _ = relu_backward(dy, saved["layer3.2.relu2"])
        (dy, dz), _ = add_backward(dy, saved["layer3.2.add1"])
        dy, grads["layer3.2.bn2"] = bn_backward(dy, saved["layer3.2.bn2"])
        dy, grads["layer3.2.conv2"] = conv_backward(dy, saved["layer3.2.conv2"])
        dy, _ = relu_backward(dy, saved["layer3.2.relu1"])
        dy, grads["layer3.2.bn1"] = bn_backward(dy, saved["layer3.2.bn1"])
        dy, grads["layer3.2.conv1"] = conv_backward(dy, saved["layer3.2.conv1"])
        dz = dz + dy

        # layer3.1
        dy, _ = relu_backward(dz, saved["layer3.1.relu2"])
        (dy, dz), _ = add_backward(dy, saved["layer3.1.add1"])
        dy, grads["layer3.1.bn2"] = bn_backward(dy, saved["layer3.1.bn2"])
        dy, grads["layer3.1.conv2"] = conv_backward(dy, saved["layer3.1.conv2"])
        dy, _ = relu_backward(dy, saved["layer3.1.relu1"])
        dy, grads["layer3.1.bn1"] = bn_backward(dy, saved["layer3.1.bn1"])
        dy, grads["layer3.1.conv1"] = conv_backward(dy, saved["layer3.1.conv1"])
        dz = dz + dy

        # layer3.0
        dy, _ = relu_backward(dz, saved["layer3.0.relu2"])
        (dy, dz), _ = add_backward(dy, saved["layer3.0.add1"])
        dz, grads["layer3.0.downsample.1"] = bn_backward(dz, saved["layer3.0.downsample.1"])
        dz, grads["layer3.0.downsample.0"] = conv_backward(dz, saved["layer3.0.downsample.0"])  # (N, 32, 16, 16)
        dy, grads["layer3.0.bn2"] = bn_backward(dy, saved["layer3.0.bn2"])
        dy, grads["layer3.0.conv2"] = conv_backward(dy, saved["layer3.0.conv2"])
        dy, _ = relu_backward(dy, saved["layer3.0.relu1"])
        dy, grads["layer3.0.bn1"] = bn_backward(dy, saved["layer3.0.bn1"])
        dy, grads["layer3.0.conv1"] = conv_backward(dy, saved["layer3.0.conv1"])  # (N, 32, 16, 16)
        dz = dz + dy

        # layer2.2
        dy, _ = relu_backward(dz, saved["layer2.2.relu2"])
        (dy, dz), _ = add_backward(dy, saved["layer2.2.add1"])
        dy, grads["layer2.2.bn2"] = bn_backward(dy, saved["layer2.2.bn2"])
        dy, grads["layer2.2.conv2"] = conv_backward(dy, saved["layer2.2.conv2"])
        dy, _ = relu_backward(dy, saved["layer2.2.relu1"])
        dy, grads["layer2.2.bn1"] = bn_backward(dy, saved["layer2.2.bn1"])
        dy, grads["layer2.2.conv1"] = conv_backward(dy, saved["layer2.2.conv1"])
        dz = dz + dy

        # layer2.1
        dy, _ = relu_backward(dz, saved["layer2.1.relu2"])
        (dy, dz), _ = add_backward(dy, saved["layer2.1.add1"])
        dy, grads["layer2.1.bn2"] = bn_backward(dy, saved["layer2.1.bn2"])
        dy, grads["layer2.1.conv2"] = conv_backward(dy, saved["layer2.1.conv2"])
        dy, _ = relu_backward(dy, saved["layer2.1.relu1"])
        dy, grads["layer2.1.bn1"] = bn_backward(dy, saved["layer2.1.bn1"])
        dy, grads["layer2.1.conv1"] = conv_backward(dy, saved["layer2.1.conv1"])
        dz = dz + dy

        # layer2.0
        dy, _ = relu_backward(dz, saved["layer2.0.relu2"])
        (dy, dz), _ = add_backward(dy, saved["layer2.0.add1"])
        dz, grads["layer2.0.downsample.1"] = bn_backward(dz, saved["layer2.0.downsample.1"])
        dz, grads["layer2.0.downsample.0"] = conv_backward(dz, saved["layer2.0.downsample.0"])  # (N, 16, 32, 32)
        dy, grads["layer2.0.bn2"] = bn_backward(dy, saved["layer2.0.bn2"])
        dy, grads["layer2.0.conv2"] = conv_backward(dy, saved["layer2.0.conv2"])
        dy, _ = relu_backward(dy, saved["layer2.0.relu1"])
        dy, grads["layer2.0.bn1"] = bn_backward(dy, saved["layer2.0.bn1"])
        dy, grads["layer2.0.conv1"] = conv_backward(dy, saved["layer2.0.conv1"])  # (N, 16, 32, 32)
        dz = dz + dy

        # layer1.2
        dy, _ = relu_backward(dz, saved["layer1.2.relu2"])
        (dy, dz), _ = add_backward(dy, saved["layer1.2.add1"])
        dy, grads["layer1.2.bn2"] = bn_backward(dy, saved["layer1.2.bn2"])
        dy, grads["layer1.2.conv2"] = conv_backward(dy, saved["layer1.2.conv2"])
        dy, _ = relu_backward(dy, saved["layer1.2.relu1"])
        dy, grads["layer1.2.bn1"] = bn_backward(dy, saved["layer1.2.bn1"])
        dy, grads["layer1.2.conv1"] = conv_backward(dy, saved["layer1.2.conv1"])
        dz = dz + dy

        # layer1.1
        dy, _ = relu_backward(dz, saved["layer1.1.relu2"])
        (dy, dz), _ = add_backward(dy, saved["layer1.1.add1"])
        dy, grads["layer1.1.bn2"] = bn_backward(dy, saved["layer1.1.bn2"])
        dy, grads["layer1.1.conv2"] = conv_backward(dy, saved["layer1.1.conv2"])
        dy, _ = relu_backward(dy, saved["layer1.1.relu1"])
        dy, grads["layer1.1.bn1"] = bn_backward(dy, saved["layer1.1.bn1"])
        dy, grads["layer1.1.conv1"] = conv_backward(dy, saved["layer1.1.conv1"])
        dz = dz + dy

        # layer1.0
        dy, _ = relu_backward(dz, saved["layer1.0.relu2"])
        (dy, dz), _ = add_backward(dy, saved["layer1.0.add1"])
        dy, grads["layer1.0.bn2"] = bn_backward(dy, saved["layer1.0.bn2"])
        dy, grads["layer1.0.conv2"] = conv_backward(dy, saved["layer1.0.conv2"])
        dy, _ = relu_backward(dy, saved["layer1.0.relu1"])
        dy, grads["layer1.0.bn1"] = bn_backward(dy, saved["layer1.0.bn1"])
        dy, grads["layer1.0.conv1"] = conv_backward(dy, saved["layer1.0.conv1"])
        dz = dz + dy

        # the network itself
        dy, _ = relu_backward(dz, saved["relu1"])
        dy, grads["bn1"] = bn_backward(dy, saved["bn1"])
        dy, grads["conv1"] = conv_backward(dy, saved["conv1"])  # (N, 3, 32, 32)

        return dy, {f"{layer}.{name}": g for layer, named in reversed(grads.items()) for name, g in named.items()}

    def update(self, grads, lr):
        """One step of the optimizer, in place."""
        sgd_step(self.params, grads, self.optimizer_state, lr, momentum=0.9, weight_decay=0.0001)


Model = Resnet20

if __name__ == "__main__":
    # A training run on made-up data, to show that the network learns.
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, 256)
    patterns = rng.standard_normal((10, *INPUT_SHAPE))  # one for each class
    x = (patterns[y] + rng.standard_normal((256, *INPUT_SHAPE))).astype(np.float32)
    model = Model(seed=0)
    for epoch in range(1, 6):
        (loss,) = model.fit(x, y, epochs=1, batch=32, seed=epoch)
        print(f"epoch {epoch}: loss {loss:.4f}, accuracy {model.score(x, y):.3f}")
