"""Resnet50 in NumPy, 3x224x224 -> 1000, 25,557,032 parameters. Written by `netdsl compile -O0`; needs numpy and nothing else.

    layer     output      parameters      layer     output      parameters
    conv1     64x112x112       9,408      layer3.0  1024x14x14   1,512,448
    bn1       64x112x112         128      layer3.1  1024x14x14   1,117,184
    relu1     64x112x112                  layer3.2  1024x14x14   1,117,184
    pool1     64x56x56                    layer3.3  1024x14x14   1,117,184
    layer1.0  256x56x56       75,008      layer3.4  1024x14x14   1,117,184
    layer1.1  256x56x56       70,400      layer3.5  1024x14x14   1,117,184
    layer1.2  256x56x56       70,400      layer4.0  2048x7x7     6,039,552
    layer2.0  512x28x28      379,392      layer4.1  2048x7x7     4,462,592
    layer2.1  512x28x28      280,064      layer4.2  2048x7x7     4,462,592
    layer2.2  512x28x28      280,064      gap1      2048
    layer2.3  512x28x28      280,064      fc        1000         2,049,000

Arrays are (N, C, H, W). Every `<layer>_forward` returns (y, saved); its `<layer>_backward` takes (dy, saved) and
returns (dx, gradients). `dy` is the gradient of the loss by y.
"""

import json
import math
import os
import zipfile

import numpy as np

INPUT_SHAPE = (3, 224, 224)
NUM_PARAMETERS = 25_557_032


# ---------------------------------------------------------------- kernels


def sides_of(padding, axes):
    """Padding, one number for all sides or (before, after) along each axis of space -> such pairs (axes, 2)."""
    return np.broadcast_to(padding, (axes, 2))


def window_count(size, kernel_size, stride, dilation=1):
    """How many windows fit along an axis of `size` elements, padding included."""
    return (size - dilation * (kernel_size - 1) - 1) // stride + 1


def window_counts(space, kernel_size, stride, dilation):
    """How many windows fit along each axis of a padded map of the sizes `space`: (H, W), or any other axes.

    stride, dilation: one number for all axes, or one for each.
    """
    return [window_count(*axis) for axis in np.broadcast(space, kernel_size, stride, dilation)]


def window_slices(kernel_size, stride, dilation, counts):
    """For each place of the window, in reading order: the slices that take it out of every window at once."""
    places = []
    for place in np.ndindex(*kernel_size):
        axes = np.broadcast(place, stride, dilation, counts)
        places.append((..., *(slice(u * d, u * d + s * (n - 1) + 1, s) for u, s, d, n in axes)))
    return places


def windows(x, kernel_size, stride=1, padding=0, dilation=1):
    """x (N, C, H, W), padded with zeros -> all its windows (C, Kh*Kw, N, Ho, Wo); other axes of space alike.

    padding: one number for all sides, or ((top, bottom), (left, right)).
    """
    sides = sides_of(padding, x.ndim - 2)
    padded = np.pad(x.swapaxes(0, 1), ((0, 0), (0, 0), *sides))  # (C, N, H, W)
    counts = window_counts(padded.shape[2:], kernel_size, stride, dilation)
    return np.stack([padded[place] for place in window_slices(kernel_size, stride, dilation, counts)], axis=1)


def conv_forward(x, weight, bias, stride=1, padding=0, dilation=1, groups=1):
    """x (N, C, H, W), weight (F, C/groups, Kh, Kw), bias (F,) or None -> y (N, F, Ho, Wo); other axes of space alike.

    y[n, f, i, j] = bias[f] + sum over c, u, v of weight[f, c, u, v] * x[n, c, i*s + u*d - p, j*s + v*d - p],
    as one matrix product: a row of weights for each filter, a column for each window (im2col). With groups, filters of
    one group see the channels of that group only: one matrix product each.
    """
    rows = weight.reshape(groups, len(weight) // groups, -1)  # (G, F/G, C/G*Kh*Kw)
    cols = windows(x, weight.shape[2:], stride, padding, dilation)  # (C, Kh*Kw, N, Ho, Wo)
    _, _, n, *out = cols.shape
    cols = cols.reshape(groups, rows.shape[2], -1)  # (G, C/G*Kh*Kw, N*Ho*Wo)
    y = np.matmul(rows, cols).reshape(len(weight), -1)
    if bias is not None:
        y += bias[:, None]
    y = y.reshape(-1, n, *out).swapaxes(0, 1)
    return y, (x.shape, cols, weight, bias is not None, stride, padding, dilation)


def within(padded, sides, space):
    """The map of the sizes `space` in a padded one, which has sides (before, after) on each axis; a view."""
    inside = (..., *(slice(first, first + size) for (first, _), size in zip(sides, space, strict=True)))
    return padded[inside]


def windows_adjoint(dwindows, x_shape, kernel_size, stride=1, padding=0, dilation=1):
    """The transpose of `windows`: adds dwindows (C, Kh*Kw, N, Ho, Wo) up to dx (N, C, H, W)."""
    n, c, *space = x_shape
    sides = sides_of(padding, len(space))
    padded = np.zeros((c, n, *(space + sides.sum(axis=1))), dwindows.dtype)
    for k, place in enumerate(window_slices(kernel_size, stride, dilation, dwindows.shape[3:])):
        padded[place] += dwindows[:, k]
    return within(padded, sides, space).swapaxes(0, 1)


def conv_backward(dy, saved):
    """dy (N, F, Ho, Wo) -> dx (N, C, H, W), {weight, bias}.

    dweight multiplies dy with the windows of x; dx sends each dy[n, f, i, j] * weight[f] back to its window.
    """
    x_shape, cols, weight, has_bias, stride, padding, dilation = saved
    (n, f, *out), groups = dy.shape, len(cols)
    dy_rows = dy.swapaxes(0, 1).reshape(groups, f // groups, -1)  # (G, F/G, N*Ho*Wo)
    grads = {"weight": np.matmul(dy_rows, cols.swapaxes(1, 2)).reshape(weight.shape)}
    if has_bias:
        grads["bias"] = dy.sum(axis=(0, *range(2, dy.ndim)))
    rows = weight.reshape(groups, f // groups, -1)
    dcols = np.matmul(rows.swapaxes(1, 2), dy_rows).reshape(x_shape[1], -1, n, *out)
    return windows_adjoint(dcols, x_shape, weight.shape[2:], stride, padding, dilation), grads


def bn_forward(x, weight, bias, running_mean, running_var, eps=1e-5, momentum=0.1, training=False):
    """y = weight * (x - mean) / sqrt(var + eps) + bias for each channel of x (N, C) or (N, C, *space) (Ioffe 2015).

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


def pool_forward(x, kernel_size, stride, padding=0, dilation=1):
    """x (N, C, H, W) -> y (N, C, Ho, Wo), the maximum of every window; the first one wins a tie, NaN wins over all.

    padding ((top, bottom), (left, right)) is never the maximum. winner holds the place in the window, counted by rows.
    Other axes of space alike.
    """
    sides = sides_of(padding, x.ndim - 2)
    padded = np.pad(x, ((0, 0), (0, 0), *sides), constant_values=-np.inf)
    counts = window_counts(padded.shape[2:], kernel_size, stride, dilation)
    places = window_slices(kernel_size, stride, dilation, counts)
    y = padded[places[0]].copy()
    winner = np.zeros(y.shape, np.int32)
    for k, place in enumerate(places[1:], 1):
        candidate = padded[place]
        better = (candidate > y) | (candidate != candidate)
        np.copyto(y, candidate, where=better)
        np.copyto(winner, k, where=better)
    return y, (x.shape, winner, sides, places)


def pool_backward(dy, saved):
    """dy (N, C, Ho, Wo) -> dx (N, C, H, W): each dy goes to the element that won its window."""
    (n, c, *space), winner, sides, places = saved
    padded = np.zeros((n, c, *(space + sides.sum(axis=1))), dy.dtype)
    for k, place in enumerate(places):
        padded[place] += dy * (winner == k)
    return within(padded, sides, space), {}


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
    """x (N, C, *space) -> y (N, C), the mean over all places, of an image H and W."""
    return x.mean(axis=tuple(range(2, x.ndim))), x.shape


def gap_backward(dy, saved):
    """Every element of a channel gets dy / (the number of places)."""
    n, c, *space = saved
    share = dy / math.prod(space)
    return np.broadcast_to(share.reshape(n, c, *[1] * len(space)), saved), {}


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
        these = f"these are {labels.min()} to {labels.max()}" if labels.size else "there are none"
        raise ValueError(f"labels must lie in 0 to {num_classes - 1}, {these}")


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
        v *= betas[1]
        v += (1 - betas[1]) * (g * g)  # where squares overflow v stays infinite, and the param where it is
        param -= lr / correct1 * m / (np.sqrt(v) / correct2**0.5 + eps)


def softmax(x, axis):
    """exp(x) / sum of exp(x) along `axis`; the maximum is taken out first, so that nothing overflows."""
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


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
    parts = [np.array([len(text)], "<u8"), np.frombuffer(text, np.uint8), *weights.values()]
    np.concatenate([np.ascontiguousarray(part).reshape(-1).view(np.uint8) for part in parts]).tofile(path)


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


def named_once(pairs):
    """The dict of the pairs; raises ValueError where a name comes twice."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name comes twice in the header")
    return dict(pairs)


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


# ---------------------------------------------------------------- the network


class Network:
    """What a network can do once it has `params`, `buffers`, `logits`, `forward`, `backward`, `loss` and `update`.

    params and buffers: name -> array, with PyTorch's names, shapes and order, so that one checkpoint fits both.
    """

    def check_input(self, x):
        """x (N, *input_shape) -> the same in the network's dtype; bytes (uint8) become 0..1. Raises ValueError."""
        x = np.asarray(x)
        x = np.divide(x, 255, dtype=self.dtype) if x.dtype == np.uint8 else np.asarray(x, self.dtype)
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
        """Read what `save`, netdsl or PyTorch wrote; what is not right changes nothing and raises (read_weights)."""
        expected = {**self.params, **self.buffers}
        for name, array in read_weights(path, expected).items():
            expected[name][...] = array


class Resnet50(Network):
    """(N, 3, 224, 224) -> (N, 1000)."""

    input_shape = INPUT_SHAPE
    learning_rate = 0.001
    loss = staticmethod(cross_entropy)

    def __init__(self, seed=0, dtype=np.float32):
        rng = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)
        self.params = {
            "conv1.weight": he(rng, (64, 3, 7, 7), 147, 3136, dtype),
            "bn1.weight": np.ones(64, dtype),
            "bn1.bias": np.zeros(64, dtype),
            "layer1.0.conv1.weight": he(rng, (64, 64, 1, 1), 64, 64, dtype),
            "layer1.0.bn1.weight": np.ones(64, dtype),
            "layer1.0.bn1.bias": np.zeros(64, dtype),
            "layer1.0.conv2.weight": he(rng, (64, 64, 3, 3), 576, 576, dtype),
            "layer1.0.bn2.weight": np.ones(64, dtype),
            "layer1.0.bn2.bias": np.zeros(64, dtype),
            "layer1.0.conv3.weight": he(rng, (256, 64, 1, 1), 64, 256, dtype),
            "layer1.0.bn3.weight": np.ones(256, dtype),
            "layer1.0.bn3.bias": np.zeros(256, dtype),
            "layer1.0.downsample.0.weight": he(rng, (256, 64, 1, 1), 64, 256, dtype),
            "layer1.0.downsample.1.weight": np.ones(256, dtype),
            "layer1.0.downsample.1.bias": np.zeros(256, dtype),
            "layer1.1.conv1.weight": he(rng, (64, 256, 1, 1), 256, 64, dtype),
            "layer1.1.bn1.weight": np.ones(64, dtype),
            "layer1.1.bn1.bias": np.zeros(64, dtype),
            "layer1.1.conv2.weight": he(rng, (64, 64, 3, 3), 576, 576, dtype),
            "layer1.1.bn2.weight": np.ones(64, dtype),
            "layer1.1.bn2.bias": np.zeros(64, dtype),
            "layer1.1.conv3.weight": he(rng, (256, 64, 1, 1), 64, 256, dtype),
            "layer1.1.bn3.weight": np.ones(256, dtype),
            "layer1.1.bn3.bias": np.zeros(256, dtype),
            "layer1.2.conv1.weight": he(rng, (64, 256, 1, 1), 256, 64, dtype),
            "layer1.2.bn1.weight": np.ones(64, dtype),
            "layer1.2.bn1.bias": np.zeros(64, dtype),
            "layer1.2.conv2.weight": he(rng, (64, 64, 3, 3), 576, 576, dtype),
            "layer1.2.bn2.weight": np.ones(64, dtype),
            "layer1.2.bn2.bias": np.zeros(64, dtype),
            "layer1.2.conv3.weight": he(rng, (256, 64, 1, 1), 64, 256, dtype),
            "layer1.2.bn3.weight": np.ones(256, dtype),
            "layer1.2.bn3.bias": np.zeros(256, dtype),
            "layer2.0.conv1.weight": he(rng, (128, 256, 1, 1), 256, 128, dtype),
            "layer2.0.bn1.weight": np.ones(128, dtype),
            "layer2.0.bn1.bias": np.zeros(128, dtype),
            "layer2.0.conv2.weight": he(rng, (128, 128, 3, 3), 1152, 1152, dtype),
            "layer2.0.bn2.weight": np.ones(128, dtype),
            "layer2.0.bn2.bias": np.zeros(128, dtype),
            "layer2.0.conv3.weight": he(rng, (512, 128, 1, 1), 128, 512, dtype),
            "layer2.0.bn3.weight": np.ones(512, dtype),
            "layer2.0.bn3.bias": np.zeros(512, dtype),
            "layer2.0.downsample.0.weight": he(rng, (512, 256, 1, 1), 256, 512, dtype),
            "layer2.0.downsample.1.weight": np.ones(512, dtype),
            "layer2.0.downsample.1.bias": np.zeros(512, dtype),
            "layer2.1.conv1.weight": he(rng, (128, 512, 1, 1), 512, 128, dtype),
            "layer2.1.bn1.weight": np.ones(128, dtype),
            "layer2.1.bn1.bias": np.zeros(128, dtype),
            "layer2.1.conv2.weight": he(rng, (128, 128, 3, 3), 1152, 1152, dtype),
            "layer2.1.bn2.weight": np.ones(128, dtype),
            "layer2.1.bn2.bias": np.zeros(128, dtype),
            "layer2.1.conv3.weight": he(rng, (512, 128, 1, 1), 128, 512, dtype),
            "layer2.1.bn3.weight": np.ones(512, dtype),
            "layer2.1.bn3.bias": np.zeros(512, dtype),
            "layer2.2.conv1.weight": he(rng, (128, 512, 1, 1), 512, 128, dtype),
            "layer2.2.bn1.weight": np.ones(128, dtype),
            "layer2.2.bn1.bias": np.zeros(128, dtype),
            "layer2.2.conv2.weight": he(rng, (128, 128, 3, 3), 1152, 1152, dtype),
            "layer2.2.bn2.weight": np.ones(128, dtype),
            "layer2.2.bn2.bias": np.zeros(128, dtype),
            "layer2.2.conv3.weight": he(rng, (512, 128, 1, 1), 128, 512, dtype),
            "layer2.2.bn3.weight": np.ones(512, dtype),
            "layer2.2.bn3.bias": np.zeros(512, dtype),
            "layer2.3.conv1.weight": he(rng, (128, 512, 1, 1), 512, 128, dtype),
            "layer2.3.bn1.weight": np.ones(128, dtype),
            "layer2.3.bn1.bias": np.zeros(128, dtype),
            "layer2.3.conv2.weight": he(rng, (128, 128, 3, 3), 1152, 1152, dtype),
            "layer2.3.bn2.weight": np.ones(128, dtype),
            "layer2.3.bn2.bias": np.zeros(128, dtype),
            "layer2.3.conv3.weight": he(rng, (512, 128, 1, 1), 128, 512, dtype),
            "layer2.3.bn3.weight": np.ones(512, dtype),
            "layer2.3.bn3.bias": np.zeros(512, dtype),
            "layer3.0.conv1.weight": he(rng, (256, 512, 1, 1), 512, 256, dtype),
            "layer3.0.bn1.weight": np.ones(256, dtype),
            "layer3.0.bn1.bias": np.zeros(256, dtype),
            "layer3.0.conv2.weight": he(rng, (256, 256, 3, 3), 2304, 2304, dtype),
            "layer3.0.bn2.weight": np.ones(256, dtype),
            "layer3.0.bn2.bias": np.zeros(256, dtype),
            "layer3.0.conv3.weight": he(rng, (1024, 256, 1, 1), 256, 1024, dtype),
            "layer3.0.bn3.weight": np.ones(1024, dtype),
            "layer3.0.bn3.bias": np.zeros(1024, dtype),
            "layer3.0.downsample.0.weight": he(rng, (1024, 512, 1, 1), 512, 1024, dtype),
            "layer3.0.downsample.1.weight": np.ones(1024, dtype),
            "layer3.0.downsample.1.bias": np.zeros(1024, dtype),
            "layer3.1.conv1.weight": he(rng, (256, 1024, 1, 1), 1024, 256, dtype),
            "layer3.1.bn1.weight": np.ones(256, dtype),
            "layer3.1.bn1.bias": np.zeros(256, dtype),
            "layer3.1.conv2.weight": he(rng, (256, 256, 3, 3), 2304, 2304, dtype),
            "layer3.1.bn2.weight": np.ones(256, dtype),
            "layer3.1.bn2.bias": np.zeros(256, dtype),
            "layer3.1.conv3.weight": he(rng, (1024, 256, 1, 1), 256, 1024, dtype),
            "layer3.1.bn3.weight": np.ones(1024, dtype),
            "layer3.1.bn3.bias": np.zeros(1024, dtype),
            "layer3.2.conv1.weight": he(rng, (256, 1024, 1, 1), 1024, 256, dtype),
            "layer3.2.bn1.weight": np.ones(256, dtype),
            "layer3.2.bn1.bias": np.zeros(256, dtype),
            "layer3.2.conv2.weight": he(rng, (256, 256, 3, 3), 2304, 2304, dtype),
            "layer3.2.bn2.weight": np.ones(256, dtype),
            "layer3.2.bn2.bias": np.zeros(256, dtype),
            "layer3.2.conv3.weight": he(rng, (1024, 256, 1, 1), 256, 1024, dtype),
            "layer3.2.bn3.weight": np.ones(1024, dtype),
            "layer3.2.bn3.bias": np.zeros(1024, dtype),
            "layer3.3.conv1.weight": he(rng, (256, 1024, 1, 1), 1024, 256, dtype),
            "layer3.3.bn1.weight": np.ones(256, dtype),
            "layer3.3.bn1.bias": np.zeros(256, dtype),
            "layer3.3.conv2.weight": he(rng, (256, 256, 3, 3), 2304, 2304, dtype),
            "layer3.3.bn2.weight": np.ones(256, dtype),
            "layer3.3.bn2.bias": np.zeros(256, dtype),
            "layer3.3.conv3.weight": he(rng, (1024, 256, 1, 1), 256, 1024, dtype),
            "layer3.3.bn3.weight": np.ones(1024, dtype),
            "layer3.3.bn3.bias": np.zeros(1024, dtype),
            "layer3.4.conv1.weight": he(rng, (256, 1024, 1, 1), 1024, 256, dtype),
            "layer3.4.bn1.weight": np.ones(256, dtype),
            "layer3.4.bn1.bias": np.zeros(256, dtype),
            "layer3.4.conv2.weight": he(rng, (256, 256, 3, 3), 2304, 2304, dtype),
            "layer3.4.bn2.weight": np.ones(256, dtype),
            "layer3.4.bn2.bias": np.zeros(256, dtype),
            "layer3.4.conv3.weight": he(rng, (1024, 256, 1, 1), 256, 1024, dtype),
            "layer3.4.bn3.weight": np.ones(1024, dtype),
            "layer3.4.bn3.bias": np.zeros(1024, dtype),
            "layer3.5.conv1.weight": he(rng, (256, 1024, 1, 1), 1024, 256, dtype),
            "layer3.5.bn1.weight": np.ones(256, dtype),
            "layer3.5.bn1.bias": np.zeros(256, dtype),
            "layer3.5.conv2.weight": he(rng, (256, 256, 3, 3), 2304, 2304, dtype),
            "layer3.5.bn2.weight": np.ones(256, dtype),
            "layer3.5.bn2.bias": np.zeros(256, dtype),
            "layer3.5.conv3.weight": he(rng, (1024, 256, 1, 1), 256, 1024, dtype),
            "layer3.5.bn3.weight": np.ones(1024, dtype),
            "layer3.5.bn3.bias": np.zeros(1024, dtype),
            "layer4.0.conv1.weight": he(rng, (512, 1024, 1, 1), 1024, 512, dtype),
            "layer4.0.bn1.weight": np.ones(512, dtype),
            "layer4.0.bn1.bias": np.zeros(512, dtype),
            "layer4.0.conv2.weight": he(rng, (512, 512, 3, 3), 4608, 4608, dtype),
            "layer4.0.bn2.weight": np.ones(512, dtype),
            "layer4.0.bn2.bias": np.zeros(512, dtype),
            "layer4.0.conv3.weight": he(rng, (2048, 512, 1, 1), 512, 2048, dtype),
            "layer4.0.bn3.weight": np.ones(2048, dtype),
            "layer4.0.bn3.bias": np.zeros(2048, dtype),
            "layer4.0.downsample.0.weight": he(rng, (2048, 1024, 1, 1), 1024, 2048, dtype),
            "layer4.0.downsample.1.weight": np.ones(2048, dtype),
            "layer4.0.downsample.1.bias": np.zeros(2048, dtype),
            "layer4.1.conv1.weight": he(rng, (512, 2048, 1, 1), 2048, 512, dtype),
            "layer4.1.bn1.weight": np.ones(512, dtype),
            "layer4.1.bn1.bias": np.zeros(512, dtype),
            "layer4.1.conv2.weight": he(rng, (512, 512, 3, 3), 4608, 4608, dtype),
            "layer4.1.bn2.weight": np.ones(512, dtype),
            "layer4.1.bn2.bias": np.zeros(512, dtype),
            "layer4.1.conv3.weight": he(rng, (2048, 512, 1, 1), 512, 2048, dtype),
            "layer4.1.bn3.weight": np.ones(2048, dtype),
            "layer4.1.bn3.bias": np.zeros(2048, dtype),
            "layer4.2.conv1.weight": he(rng, (512, 2048, 1, 1), 2048, 512, dtype),
            "layer4.2.bn1.weight": np.ones(512, dtype),
            "layer4.2.bn1.bias": np.zeros(512, dtype),
            "layer4.2.conv2.weight": he(rng, (512, 512, 3, 3), 4608, 4608, dtype),
            "layer4.2.bn2.weight": np.ones(512, dtype),
            "layer4.2.bn2.bias": np.zeros(512, dtype),
            "layer4.2.conv3.weight": he(rng, (2048, 512, 1, 1), 512, 2048, dtype),
            "layer4.2.bn3.weight": np.ones(2048, dtype),
            "layer4.2.bn3.bias": np.zeros(2048, dtype),
            "fc.weight": he(rng, (1000, 2048), 2048, 1000, dtype),
            "fc.bias": np.zeros(1000, dtype),
        }
        self.buffers = {
            "bn1.running_mean": np.zeros(64, dtype),
            "bn1.running_var": np.ones(64, dtype),
            "layer1.0.bn1.running_mean": np.zeros(64, dtype),
            "layer1.0.bn1.running_var": np.ones(64, dtype),
            "layer1.0.bn2.running_mean": np.zeros(64, dtype),
            "layer1.0.bn2.running_var": np.ones(64, dtype),
            "layer1.0.bn3.running_mean": np.zeros(256, dtype),
            "layer1.0.bn3.running_var": np.ones(256, dtype),
            "layer1.0.downsample.1.running_mean": np.zeros(256, dtype),
            "layer1.0.downsample.1.running_var": np.ones(256, dtype),
            "layer1.1.bn1.running_mean": np.zeros(64, dtype),
            "layer1.1.bn1.running_var": np.ones(64, dtype),
            "layer1.1.bn2.running_mean": np.zeros(64, dtype),
            "layer1.1.bn2.running_var": np.ones(64, dtype),
            "layer1.1.bn3.running_mean": np.zeros(256, dtype),
            "layer1.1.bn3.running_var": np.ones(256, dtype),
            "layer1.2.bn1.running_mean": np.zeros(64, dtype),
            "layer1.2.bn1.running_var": np.ones(64, dtype),
            "layer1.2.bn2.running_mean": np.zeros(64, dtype),
            "layer1.2.bn2.running_var": np.ones(64, dtype),
            "layer1.2.bn3.running_mean": np.zeros(256, dtype),
            "layer1.2.bn3.running_var": np.ones(256, dtype),
            "layer2.0.bn1.running_mean": np.zeros(128, dtype),
            "layer2.0.bn1.running_var": np.ones(128, dtype),
            "layer2.0.bn2.running_mean": np.zeros(128, dtype),
            "layer2.0.bn2.running_var": np.ones(128, dtype),
            "layer2.0.bn3.running_mean": np.zeros(512, dtype),
            "layer2.0.bn3.running_var": np.ones(512, dtype),
            "layer2.0.downsample.1.running_mean": np.zeros(512, dtype),
            "layer2.0.downsample.1.running_var": np.ones(512, dtype),
            "layer2.1.bn1.running_mean": np.zeros(128, dtype),
            "layer2.1.bn1.running_var": np.ones(128, dtype),
            "layer2.1.bn2.running_mean": np.zeros(128, dtype),
            "layer2.1.bn2.running_var": np.ones(128, dtype),
            "layer2.1.bn3.running_mean": np.zeros(512, dtype),
            "layer2.1.bn3.running_var": np.ones(512, dtype),
            "layer2.2.bn1.running_mean": np.zeros(128, dtype),
            "layer2.2.bn1.running_var": np.ones(128, dtype),
            "layer2.2.bn2.running_mean": np.zeros(128, dtype),
            "layer2.2.bn2.running_var": np.ones(128, dtype),
            "layer2.2.bn3.running_mean": np.zeros(512, dtype),
            "layer2.2.bn3.running_var": np.ones(512, dtype),
            "layer2.3.bn1.running_mean": np.zeros(128, dtype),
            "layer2.3.bn1.running_var": np.ones(128, dtype),
            "layer2.3.bn2.running_mean": np.zeros(128, dtype),
            "layer2.3.bn2.running_var": np.ones(128, dtype),
            "layer2.3.bn3.running_mean": np.zeros(512, dtype),
            "layer2.3.bn3.running_var": np.ones(512, dtype),
            "layer3.0.bn1.running_mean": np.zeros(256, dtype),
            "layer3.0.bn1.running_var": np.ones(256, dtype),
            "layer3.0.bn2.running_mean": np.zeros(256, dtype),
            "layer3.0.bn2.running_var": np.ones(256, dtype),
            "layer3.0.bn3.running_mean": np.zeros(1024, dtype),
            "layer3.0.bn3.running_var": np.ones(1024, dtype),
            "layer3.0.downsample.1.running_mean": np.zeros(1024, dtype),
            "layer3.0.downsample.1.running_var": np.ones(1024, dtype),
            "layer3.1.bn1.running_mean": np.zeros(256, dtype),
            "layer3.1.bn1.running_var": np.ones(256, dtype),
            "layer3.1.bn2.running_mean": np.zeros(256, dtype),
            "layer3.1.bn2.running_var": np.ones(256, dtype),
            "layer3.1.bn3.running_mean": np.zeros(1024, dtype),
            "layer3.1.bn3.running_var": np.ones(1024, dtype),
            "layer3.2.bn1.running_mean": np.zeros(256, dtype),
            "layer3.2.bn1.running_var": np.ones(256, dtype),
            "layer3.2.bn2.running_mean": np.zeros(256, dtype),
            "layer3.2.bn2.running_var": np.ones(256, dtype),
            "layer3.2.bn3.running_mean": np.zeros(1024, dtype),
            "layer3.2.bn3.running_var": np.ones(1024, dtype),
            "layer3.3.bn1.running_mean": np.zeros(256, dtype),
            "layer3.3.bn1.running_var": np.ones(256, dtype),
            "layer3.3.bn2.running_mean": np.zeros(256, dtype),
            "layer3.3.bn2.running_var": np.ones(256, dtype),
            "layer3.3.bn3.running_mean": np.zeros(1024, dtype),
            "layer3.3.bn3.running_var": np.ones(1024, dtype),
            "layer3.4.bn1.running_mean": np.zeros(256, dtype),
            "layer3.4.bn1.running_var": np.ones(256, dtype),
            "layer3.4.bn2.running_mean": np.zeros(256, dtype),
            "layer3.4.bn2.running_var": np.ones(256, dtype),
            "layer3.4.bn3.running_mean": np.zeros(1024, dtype),
            "layer3.4.bn3.running_var": np.ones(1024, dtype),
            "layer3.5.bn1.running_mean": np.zeros(256, dtype),
            "layer3.5.bn1.running_var": np.ones(256, dtype),
            "layer3.5.bn2.running_mean": np.zeros(256, dtype),
            "layer3.5.bn2.running_var": np.ones(256, dtype),
            "layer3.5.bn3.running_mean": np.zeros(1024, dtype),
            "layer3.5.bn3.running_var": np.ones(1024, dtype),
            "layer4.0.bn1.running_mean": np.zeros(512, dtype),
            "layer4.0.bn1.running_var": np.ones(512, dtype),
            "layer4.0.bn2.running_mean": np.zeros(512, dtype),
            "layer4.0.bn2.running_var": np.ones(512, dtype),
            "layer4.0.bn3.running_mean": np.zeros(2048, dtype),
            "layer4.0.bn3.running_var": np.ones(2048, dtype),
            "layer4.0.downsample.1.running_mean": np.zeros(2048, dtype),
            "layer4.0.downsample.1.running_var": np.ones(2048, dtype),
            "layer4.1.bn1.running_mean": np.zeros(512, dtype),
            "layer4.1.bn1.running_var": np.ones(512, dtype),
            "layer4.1.bn2.running_mean": np.zeros(512, dtype),
            "layer4.1.bn2.running_var": np.ones(512, dtype),
            "layer4.1.bn3.running_mean": np.zeros(2048, dtype),
            "layer4.1.bn3.running_var": np.ones(2048, dtype),
            "layer4.2.bn1.running_mean": np.zeros(512, dtype),
            "layer4.2.bn1.running_var": np.ones(512, dtype),
            "layer4.2.bn2.running_mean": np.zeros(512, dtype),
            "layer4.2.bn2.running_var": np.ones(512, dtype),
            "layer4.2.bn3.running_mean": np.zeros(2048, dtype),
            "layer4.2.bn3.running_var": np.ones(2048, dtype),
        }
        self.saved, self.optimizer_state = {}, {}
        self.rng = rng

    def forward(self, x, training=False):
        """x (N, 3, 224, 224) -> y (N, 1000)."""
        x = self.check_input(x)
        p, b, saved = self.params, self.buffers, self.saved
        x, saved["conv1"] = conv_forward(x, p["conv1.weight"], None, stride=(2, 2), padding=((3, 3), (3, 3)))  # (N, 64, 112, 112)
        x, saved["bn1"] = bn_forward(x, p["bn1.weight"], p["bn1.bias"], b["bn1.running_mean"], b["bn1.running_var"], training=training)
        x, saved["relu1"] = relu_forward(x)
        x, saved["pool1"] = pool_forward(x, kernel_size=(3, 3), stride=(2, 2), padding=((1, 1), (1, 1)))  # (N, 64, 56, 56)

        # layer1.0: neck(c=64)
        y, saved["layer1.0.conv1"] = conv_forward(x, p["layer1.0.conv1.weight"], None)
        y, saved["layer1.0.bn1"] = bn_forward(y, p["layer1.0.bn1.weight"], p["layer1.0.bn1.bias"], b["layer1.0.bn1.running_mean"], b["layer1.0.bn1.running_var"], training=training)
        y, saved["layer1.0.relu1"] = relu_forward(y)
        y, saved["layer1.0.conv2"] = conv_forward(y, p["layer1.0.conv2.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer1.0.bn2"] = bn_forward(y, p["layer1.0.bn2.weight"], p["layer1.0.bn2.bias"], b["layer1.0.bn2.running_mean"], b["layer1.0.bn2.running_var"], training=training)
        y, saved["layer1.0.relu2"] = relu_forward(y)
        y, saved["layer1.0.conv3"] = conv_forward(y, p["layer1.0.conv3.weight"], None)  # (N, 256, 56, 56)
        y, saved["layer1.0.bn3"] = bn_forward(y, p["layer1.0.bn3.weight"], p["layer1.0.bn3.bias"], b["layer1.0.bn3.running_mean"], b["layer1.0.bn3.running_var"], training=training)
        x, saved["layer1.0.downsample.0"] = conv_forward(x, p["layer1.0.downsample.0.weight"], None)  # (N, 256, 56, 56)
        x, saved["layer1.0.downsample.1"] = bn_forward(x, p["layer1.0.downsample.1.weight"], p["layer1.0.downsample.1.bias"], b["layer1.0.downsample.1.running_mean"], b["layer1.0.downsample.1.running_var"], training=training)
        x, saved["layer1.0.add1"] = add_forward(y, x)  # (N, 256, 56, 56)
        x, saved["layer1.0.relu3"] = relu_forward(x)

        # layer1.1: neck(c=64)
        y, saved["layer1.1.conv1"] = conv_forward(x, p["layer1.1.conv1.weight"], None)  # (N, 64, 56, 56)
        y, saved["layer1.1.bn1"] = bn_forward(y, p["layer1.1.bn1.weight"], p["layer1.1.bn1.bias"], b["layer1.1.bn1.running_mean"], b["layer1.1.bn1.running_var"], training=training)
        y, saved["layer1.1.relu1"] = relu_forward(y)
        y, saved["layer1.1.conv2"] = conv_forward(y, p["layer1.1.conv2.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer1.1.bn2"] = bn_forward(y, p["layer1.1.bn2.weight"], p["layer1.1.bn2.bias"], b["layer1.1.bn2.running_mean"], b["layer1.1.bn2.running_var"], training=training)
        y, saved["layer1.1.relu2"] = relu_forward(y)
        y, saved["layer1.1.conv3"] = conv_forward(y, p["layer1.1.conv3.weight"], None)  # (N, 256, 56, 56)
        y, saved["layer1.1.bn3"] = bn_forward(y, p["layer1.1.bn3.weight"], p["layer1.1.bn3.bias"], b["layer1.1.bn3.running_mean"], b["layer1.1.bn3.running_var"], training=training)
        x, saved["layer1.1.add1"] = add_forward(y, x)  # (N, 256, 56, 56)
        x, saved["layer1.1.relu3"] = relu_forward(x)

        # layer1.2: neck(c=64)
        y, saved["layer1.2.conv1"] = conv_forward(x, p["layer1.2.conv1.weight"], None)  # (N, 64, 56, 56)
        y, saved["layer1.2.bn1"] = bn_forward(y, p["layer1.2.bn1.weight"], p["layer1.2.bn1.bias"], b["layer1.2.bn1.running_mean"], b["layer1.2.bn1.running_var"], training=training)
        y, saved["layer1.2.relu1"] = relu_forward(y)
        y, saved["layer1.2.conv2"] = conv_forward(y, p["layer1.2.conv2.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer1.2.bn2"] = bn_forward(y, p["layer1.2.bn2.weight"], p["layer1.2.bn2.bias"], b["layer1.2.bn2.running_mean"], b["layer1.2.bn2.running_var"], training=training)
        y, saved["layer1.2.relu2"] = relu_forward(y)
        y, saved["layer1.2.conv3"] = conv_forward(y, p["layer1.2.conv3.weight"], None)  # (N, 256, 56, 56)
        y, saved["layer1.2.bn3"] = bn_forward(y, p["layer1.2.bn3.weight"], p["layer1.2.bn3.bias"], b["layer1.2.bn3.running_mean"], b["layer1.2.bn3.running_var"], training=training)
        x, saved["layer1.2.add1"] = add_forward(y, x)  # (N, 256, 56, 56)
        x, saved["layer1.2.relu3"] = relu_forward(x)

        # layer2.0: neck(c=128, s=2)
        y, saved["layer2.0.conv1"] = conv_forward(x, p["layer2.0.conv1.weight"], None)  # (N, 128, 56, 56)
        y, saved["layer2.0.bn1"] = bn_forward(y, p["layer2.0.bn1.weight"], p["layer2.0.bn1.bias"], b["layer2.0.bn1.running_mean"], b["layer2.0.bn1.running_var"], training=training)
        y, saved["layer2.0.relu1"] = relu_forward(y)
        y, saved["layer2.0.conv2"] = conv_forward(y, p["layer2.0.conv2.weight"], None, stride=(2, 2), padding=((1, 1), (1, 1)))  # (N, 128, 28, 28)
        y, saved["layer2.0.bn2"] = bn_forward(y, p["layer2.0.bn2.weight"], p["layer2.0.bn2.bias"], b["layer2.0.bn2.running_mean"], b["layer2.0.bn2.running_var"], training=training)
        y, saved["layer2.0.relu2"] = relu_forward(y)
        y, saved["layer2.0.conv3"] = conv_forward(y, p["layer2.0.conv3.weight"], None)  # (N, 512, 28, 28)
        y, saved["layer2.0.bn3"] = bn_forward(y, p["layer2.0.bn3.weight"], p["layer2.0.bn3.bias"], b["layer2.0.bn3.running_mean"], b["layer2.0.bn3.running_var"], training=training)
        x, saved["layer2.0.downsample.0"] = conv_forward(x, p["layer2.0.downsample.0.weight"], None, stride=(2, 2))  # (N, 512, 28, 28)
        x, saved["layer2.0.downsample.1"] = bn_forward(x, p["layer2.0.downsample.1.weight"], p["layer2.0.downsample.1.bias"], b["layer2.0.downsample.1.running_mean"], b["layer2.0.downsample.1.running_var"], training=training)
        x, saved["layer2.0.add1"] = add_forward(y, x)  # (N, 512, 28, 28)
        x, saved["layer2.0.relu3"] = relu_forward(x)

        # layer2.1: neck(c=128)
        y, saved["layer2.1.conv1"] = conv_forward(x, p["layer2.1.conv1.weight"], None)  # (N, 128, 28, 28)
        y, saved["layer2.1.bn1"] = bn_forward(y, p["layer2.1.bn1.weight"], p["layer2.1.bn1.bias"], b["layer2.1.bn1.running_mean"], b["layer2.1.bn1.running_var"], training=training)
        y, saved["layer2.1.relu1"] = relu_forward(y)
        y, saved["layer2.1.conv2"] = conv_forward(y, p["layer2.1.conv2.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer2.1.bn2"] = bn_forward(y, p["layer2.1.bn2.weight"], p["layer2.1.bn2.bias"], b["layer2.1.bn2.running_mean"], b["layer2.1.bn2.running_var"], training=training)
        y, saved["layer2.1.relu2"] = relu_forward(y)
        y, saved["layer2.1.conv3"] = conv_forward(y, p["layer2.1.conv3.weight"], None)  # (N, 512, 28, 28)
        y, saved["layer2.1.bn3"] = bn_forward(y, p["layer2.1.bn3.weight"], p["layer2.1.bn3.bias"], b["layer2.1.bn3.running_mean"], b["layer2.1.bn3.running_var"], training=training)
        x, saved["layer2.1.add1"] = add_forward(y, x)  # (N, 512, 28, 28)
        x, saved["layer2.1.relu3"] = relu_forward(x)

        # layer2.2: neck(c=128)
        y, saved["layer2.2.conv1"] = conv_forward(x, p["layer2.2.conv1.weight"], None)  # (N, 128, 28, 28)
        y, saved["layer2.2.bn1"] = bn_forward(y, p["layer2.2.bn1.weight"], p["layer2.2.bn1.bias"], b["layer2.2.bn1.running_mean"], b["layer2.2.bn1.running_var"], training=training)
        y, saved["layer2.2.relu1"] = relu_forward(y)
        y, saved["layer2.2.conv2"] = conv_forward(y, p["layer2.2.conv2.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer2.2.bn2"] = bn_forward(y, p["layer2.2.bn2.weight"], p["layer2.2.bn2.bias"], b["layer2.2.bn2.running_mean"], b["layer2.2.bn2.running_var"], training=training)
        y, saved["layer2.2.relu2"] = relu_forward(y)
        y, saved["layer2.2.conv3"] = conv_forward(y, p["layer2.2.conv3.weight"], None)  # (N, 512, 28, 28)
        y, saved["layer2.2.bn3"] = bn_forward(y, p["layer2.2.bn3.weight"], p["layer2.2.bn3.bias"], b["layer2.2.bn3.running_mean"], b["layer2.2.bn3.running_var"], training=training)
        x, saved["layer2.2.add1"] = add_forward(y, x)  # (N, 512, 28, 28)
        x, saved["layer2.2.relu3"] = relu_forward(x)

        # layer2.3: neck(c=128)
        y, saved["layer2.3.conv1"] = conv_forward(x, p["layer2.3.conv1.weight"], None)  # (N, 128, 28, 28)
        y, saved["layer2.3.bn1"] = bn_forward(y, p["layer2.3.bn1.weight"], p["layer2.3.bn1.bias"], b["layer2.3.bn1.running_mean"], b["layer2.3.bn1.running_var"], training=training)
        y, saved["layer2.3.relu1"] = relu_forward(y)
        y, saved["layer2.3.conv2"] = conv_forward(y, p["layer2.3.conv2.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer2.3.bn2"] = bn_forward(y, p["layer2.3.bn2.weight"], p["layer2.3.bn2.bias"], b["layer2.3.bn2.running_mean"], b["layer2.3.bn2.running_var"], training=training)
        y, saved["layer2.3.relu2"] = relu_forward(y)
        y, saved["layer2.3.conv3"] = conv_forward(y, p["layer2.3.conv3.weight"], None)  # (N, 512, 28, 28)
        y, saved["layer2.3.bn3"] = bn_forward(y, p["layer2.3.bn3.weight"], p["layer2.3.bn3.bias"], b["layer2.3.bn3.running_mean"], b["layer2.3.bn3.running_var"], training=training)
        x, saved["layer2.3.add1"] = add_forward(y, x)  # (N, 512, 28, 28)
        x, saved["layer2.3.relu3"] = relu_forward(x)

        # layer3.0: neck(c=256, s=2)
        y, saved["layer3.0.conv1"] = conv_forward(x, p["layer3.0.conv1.weight"], None)  # (N, 256, 28, 28)
        y, saved["layer3.0.bn1"] = bn_forward(y, p["layer3.0.bn1.weight"], p["layer3.0.bn1.bias"], b["layer3.0.bn1.running_mean"], b["layer3.0.bn1.running_var"], training=training)
        y, saved["layer3.0.relu1"] = relu_forward(y)
        y, saved["layer3.0.conv2"] = conv_forward(y, p["layer3.0.conv2.weight"], None, stride=(2, 2), padding=((1, 1), (1, 1)))  # (N, 256, 14, 14)
        y, saved["layer3.0.bn2"] = bn_forward(y, p["layer3.0.bn2.weight"], p["layer3.0.bn2.bias"], b["layer3.0.bn2.running_mean"], b["layer3.0.bn2.running_var"], training=training)
        y, saved["layer3.0.relu2"] = relu_forward(y)
        y, saved["layer3.0.conv3"] = conv_forward(y, p["layer3.0.conv3.weight"], None)  # (N, 1024, 14, 14)
        y, saved["layer3.0.bn3"] = bn_forward(y, p["layer3.0.bn3.weight"], p["layer3.0.bn3.bias"], b["layer3.0.bn3.running_mean"], b["layer3.0.bn3.running_var"], training=training)
        x, saved["layer3.0.downsample.0"] = conv_forward(x, p["layer3.0.downsample.0.weight"], None, stride=(2, 2))  # (N, 1024, 14, 14)
        x, saved["layer3.0.downsample.1"] = bn_forward(x, p["layer3.0.downsample.1.weight"], p["layer3.0.downsample.1.bias"], b["layer3.0.downsample.1.running_mean"], b["layer3.0.downsample.1.running_var"], training=training)
        x, saved["layer3.0.add1"] = add_forward(y, x)  # (N, 1024, 14, 14)
        x, saved["layer3.0.relu3"] = relu_forward(x)

        # layer3.1: neck(c=256)
        y, saved["layer3.1.conv1"] = conv_forward(x, p["layer3.1.conv1.weight"], None)  # (N, 256, 14, 14)
        y, saved["layer3.1.bn1"] = bn_forward(y, p["layer3.1.bn1.weight"], p["layer3.1.bn1.bias"], b["layer3.1.bn1.running_mean"], b["layer3.1.bn1.running_var"], training=training)
        y, saved["layer3.1.relu1"] = relu_forward(y)
        y, saved["layer3.1.conv2"] = conv_forward(y, p["layer3.1.conv2.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer3.1.bn2"] = bn_forward(y, p["layer3.1.bn2.weight"], p["layer3.1.bn2.bias"], b["layer3.1.bn2.running_mean"], b["layer3.1.bn2.running_var"], training=training)
        y, saved["layer3.1.relu2"] = relu_forward(y)
        y, saved["layer3.1.conv3"] = conv_forward(y, p["layer3.1.conv3.weight"], None)  # (N, 1024, 14, 14)
        y, saved["layer3.1.bn3"] = bn_forward(y, p["layer3.1.bn3.weight"], p["layer3.1.bn3.bias"], b["layer3.1.bn3.running_mean"], b["layer3.1.bn3.running_var"], training=training)
        x, saved["layer3.1.add1"] = add_forward(y, x)  # (N, 1024, 14, 14)
        x, saved["layer3.1.relu3"] = relu_forward(x)

        # layer3.2: neck(c=256)
        y, saved["layer3.2.conv1"] = conv_forward(x, p["layer3.2.conv1.weight"], None)  # (N, 256, 14, 14)
        y, saved["layer3.2.bn1"] = bn_forward(y, p["layer3.2.bn1.weight"], p["layer3.2.bn1.bias"], b["layer3.2.bn1.running_mean"], b["layer3.2.bn1.running_var"], training=training)
        y, saved["layer3.2.relu1"] = relu_forward(y)
        y, saved["layer3.2.conv2"] = conv_forward(y, p["layer3.2.conv2.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer3.2.bn2"] = bn_forward(y, p["layer3.2.bn2.weight"], p["layer3.2.bn2.bias"], b["layer3.2.bn2.running_mean"], b["layer3.2.bn2.running_var"], training=training)
        y, saved["layer3.2.relu2"] = relu_forward(y)
        y, saved["layer3.2.conv3"] = conv_forward(y, p["layer3.2.conv3.weight"], None)  # (N, 1024, 14, 14)
        y, saved["layer3.2.bn3"] = bn_forward(y, p["layer3.2.bn3.weight"], p["layer3.2.bn3.bias"], b["layer3.2.bn3.running_mean"], b["layer3.2.bn3.running_var"], training=training)
        x, saved["layer3.2.add1"] = add_forward(y, x)  # (N, 1024, 14, 14)
        x, saved["layer3.2.relu3"] = relu_forward(x)

        # layer3.3: neck(c=256)
        y, saved["layer3.3.conv1"] = conv_forward(x, p["layer3.3.conv1.weight"], None)  # (N, 256, 14, 14)
        y, saved["layer3.3.bn1"] = bn_forward(y, p["layer3.3.bn1.weight"], p["layer3.3.bn1.bias"], b["layer3.3.bn1.running_mean"], b["layer3.3.bn1.running_var"], training=training)
        y, saved["layer3.3.relu1"] = relu_forward(y)
        y, saved["layer3.3.conv2"] = conv_forward(y, p["layer3.3.conv2.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer3.3.bn2"] = bn_forward(y, p["layer3.3.bn2.weight"], p["layer3.3.bn2.bias"], b["layer3.3.bn2.running_mean"], b["layer3.3.bn2.running_var"], training=training)
        y, saved["layer3.3.relu2"] = relu_forward(y)
        y, saved["layer3.3.conv3"] = conv_forward(y, p["layer3.3.conv3.weight"], None)  # (N, 1024, 14, 14)
        y, saved["layer3.3.bn3"] = bn_forward(y, p["layer3.3.bn3.weight"], p["layer3.3.bn3.bias"], b["layer3.3.bn3.running_mean"], b["layer3.3.bn3.running_var"], training=training)
        x, saved["layer3.3.add1"] = add_forward(y, x)  # (N, 1024, 14, 14)
        x, saved["layer3.3.relu3"] = relu_forward(x)

        # layer3.4: neck(c=256)
        y, saved["layer3.4.conv1"] = conv_forward(x, p["layer3.4.conv1.weight"], None)  # (N, 256, 14, 14)
        y, saved["layer3.4.bn1"] = bn_forward(y, p["layer3.4.bn1.weight"], p["layer3.4.bn1.bias"], b["layer3.4.bn1.running_mean"], b["layer3.4.bn1.running_var"], training=training)
        y, saved["layer3.4.relu1"] = relu_forward(y)
        y, saved["layer3.4.conv2"] = conv_forward(y, p["layer3.4.conv2.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer3.4.bn2"] = bn_forward(y, p["layer3.4.bn2.weight"], p["layer3.4.bn2.bias"], b["layer3.4.bn2.running_mean"], b["layer3.4.bn2.running_var"], training=training)
        y, saved["layer3.4.relu2"] = relu_forward(y)
        y, saved["layer3.4.conv3"] = conv_forward(y, p["layer3.4.conv3.weight"], None)  # (N, 1024, 14, 14)
        y, saved["layer3.4.bn3"] = bn_forward(y, p["layer3.4.bn3.weight"], p["layer3.4.bn3.bias"], b["layer3.4.bn3.running_mean"], b["layer3.4.bn3.running_var"], training=training)
        x, saved["layer3.4.add1"] = add_forward(y, x)  # (N, 1024, 14, 14)
        x, saved["layer3.4.relu3"] = relu_forward(x)

        # layer3.5: neck(c=256)
        y, saved["layer3.5.conv1"] = conv_forward(x, p["layer3.5.conv1.weight"], None)  # (N, 256, 14, 14)
        y, saved["layer3.5.bn1"] = bn_forward(y, p["layer3.5.bn1.weight"], p["layer3.5.bn1.bias"], b["layer3.5.bn1.running_mean"], b["layer3.5.bn1.running_var"], training=training)
        y, saved["layer3.5.relu1"] = relu_forward(y)
        y, saved["layer3.5.conv2"] = conv_forward(y, p["layer3.5.conv2.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer3.5.bn2"] = bn_forward(y, p["layer3.5.bn2.weight"], p["layer3.5.bn2.bias"], b["layer3.5.bn2.running_mean"], b["layer3.5.bn2.running_var"], training=training)
        y, saved["layer3.5.relu2"] = relu_forward(y)
        y, saved["layer3.5.conv3"] = conv_forward(y, p["layer3.5.conv3.weight"], None)  # (N, 1024, 14, 14)
        y, saved["layer3.5.bn3"] = bn_forward(y, p["layer3.5.bn3.weight"], p["layer3.5.bn3.bias"], b["layer3.5.bn3.running_mean"], b["layer3.5.bn3.running_var"], training=training)
        x, saved["layer3.5.add1"] = add_forward(y, x)  # (N, 1024, 14, 14)
        x, saved["layer3.5.relu3"] = relu_forward(x)

        # layer4.0: neck(c=512, s=2)
        y, saved["layer4.0.conv1"] = conv_forward(x, p["layer4.0.conv1.weight"], None)  # (N, 512, 14, 14)
        y, saved["layer4.0.bn1"] = bn_forward(y, p["layer4.0.bn1.weight"], p["layer4.0.bn1.bias"], b["layer4.0.bn1.running_mean"], b["layer4.0.bn1.running_var"], training=training)
        y, saved["layer4.0.relu1"] = relu_forward(y)
        y, saved["layer4.0.conv2"] = conv_forward(y, p["layer4.0.conv2.weight"], None, stride=(2, 2), padding=((1, 1), (1, 1)))  # (N, 512, 7, 7)
        y, saved["layer4.0.bn2"] = bn_forward(y, p["layer4.0.bn2.weight"], p["layer4.0.bn2.bias"], b["layer4.0.bn2.running_mean"], b["layer4.0.bn2.running_var"], training=training)
        y, saved["layer4.0.relu2"] = relu_forward(y)
        y, saved["layer4.0.conv3"] = conv_forward(y, p["layer4.0.conv3.weight"], None)  # (N, 2048, 7, 7)
        y, saved["layer4.0.bn3"] = bn_forward(y, p["layer4.0.bn3.weight"], p["layer4.0.bn3.bias"], b["layer4.0.bn3.running_mean"], b["layer4.0.bn3.running_var"], training=training)
        x, saved["layer4.0.downsample.0"] = conv_forward(x, p["layer4.0.downsample.0.weight"], None, stride=(2, 2))  # (N, 2048, 7, 7)
        x, saved["layer4.0.downsample.1"] = bn_forward(x, p["layer4.0.downsample.1.weight"], p["layer4.0.downsample.1.bias"], b["layer4.0.downsample.1.running_mean"], b["layer4.0.downsample.1.running_var"], training=training)
        x, saved["layer4.0.add1"] = add_forward(y, x)  # (N, 2048, 7, 7)
        x, saved["layer4.0.relu3"] = relu_forward(x)

        # layer4.1: neck(c=512)
        y, saved["layer4.1.conv1"] = conv_forward(x, p["layer4.1.conv1.weight"], None)  # (N, 512, 7, 7)
        y, saved["layer4.1.bn1"] = bn_forward(y, p["layer4.1.bn1.weight"], p["layer4.1.bn1.bias"], b["layer4.1.bn1.running_mean"], b["layer4.1.bn1.running_var"], training=training)
        y, saved["layer4.1.relu1"] = relu_forward(y)
        y, saved["layer4.1.conv2"] = conv_forward(y, p["layer4.1.conv2.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer4.1.bn2"] = bn_forward(y, p["layer4.1.bn2.weight"], p["layer4.1.bn2.bias"], b["layer4.1.bn2.running_mean"], b["layer4.1.bn2.running_var"], training=training)
        y, saved["layer4.1.relu2"] = relu_forward(y)
        y, saved["layer4.1.conv3"] = conv_forward(y, p["layer4.1.conv3.weight"], None)  # (N, 2048, 7, 7)
        y, saved["layer4.1.bn3"] = bn_forward(y, p["layer4.1.bn3.weight"], p["layer4.1.bn3.bias"], b["layer4.1.bn3.running_mean"], b["layer4.1.bn3.running_var"], training=training)
        x, saved["layer4.1.add1"] = add_forward(y, x)  # (N, 2048, 7, 7)
        x, saved["layer4.1.relu3"] = relu_forward(x)

        # layer4.2: neck(c=512)
        y, saved["layer4.2.conv1"] = conv_forward(x, p["layer4.2.conv1.weight"], None)  # (N, 512, 7, 7)
        y, saved["layer4.2.bn1"] = bn_forward(y, p["layer4.2.bn1.weight"], p["layer4.2.bn1.bias"], b["layer4.2.bn1.running_mean"], b["layer4.2.bn1.running_var"], training=training)
        y, saved["layer4.2.relu1"] = relu_forward(y)
        y, saved["layer4.2.conv2"] = conv_forward(y, p["layer4.2.conv2.weight"], None, padding=((1, 1), (1, 1)))
        y, saved["layer4.2.bn2"] = bn_forward(y, p["layer4.2.bn2.weight"], p["layer4.2.bn2.bias"], b["layer4.2.bn2.running_mean"], b["layer4.2.bn2.running_var"], training=training)
        y, saved["layer4.2.relu2"] = relu_forward(y)
        y, saved["layer4.2.conv3"] = conv_forward(y, p["layer4.2.conv3.weight"], None)  # (N, 2048, 7, 7)
        y, saved["layer4.2.bn3"] = bn_forward(y, p["layer4.2.bn3.weight"], p["layer4.2.bn3.bias"], b["layer4.2.bn3.running_mean"], b["layer4.2.bn3.running_var"], training=training)
        x, saved["layer4.2.add1"] = add_forward(y, x)  # (N, 2048, 7, 7)
        x, saved["layer4.2.relu3"] = relu_forward(x)

        # the network itself
        x, saved["gap1"] = gap_forward(x)  # (N, 2048)
        x, saved["fc"] = linear_forward(x, p["fc.weight"], p["fc.bias"])  # (N, 1000)
        return x

    def logits(self, x, training=False):
        """What the loss reads: the output."""
        return self.forward(x, training)

    def backward(self, dy):
        """The gradient by the logits -> dx, {param name: gradient}, for the last batch."""
        saved, grads = self.saved, {}
        dy, grads["fc"] = linear_backward(dy, saved["fc"])  # (N, 2048)
        dy, _ = gap_backward(dy, saved["gap1"])  # (N, 2048, 7, 7)

        # layer4.2
        dy, _ = relu_backward(dy, saved["layer4.2.relu3"])
        (dy, dz), _ = add_backward(dy, saved["layer4.2.add1"])
        dy, grads["layer4.2.bn3"] = bn_backward(dy, saved["layer4.2.bn3"])
        dy, grads["layer4.2.conv3"] = conv_backward(dy, saved["layer4.2.conv3"])  # (N, 512, 7, 7)
        dy, _ = relu_backward(dy, saved["layer4.2.relu2"])
        dy, grads["layer4.2.bn2"] = bn_backward(dy, saved["layer4.2.bn2"])
        dy, grads["layer4.2.conv2"] = conv_backward(dy, saved["layer4.2.conv2"])
        dy, _ = relu_backward(dy, saved["layer4.2.relu1"])
        dy, grads["layer4.2.bn1"] = bn_backward(dy, saved["layer4.2.bn1"])
        dy, grads["layer4.2.conv1"] = conv_backward(dy, saved["layer4.2.conv1"])  # (N, 2048, 7, 7)
        dz = dz + dy

        # layer4.1
        dy, _ = relu_backward(dz, saved["layer4.1.relu3"])
        (dy, dz), _ = add_backward(dy, saved["layer4.1.add1"])
        dy, grads["layer4.1.bn3"] = bn_backward(dy, saved["layer4.1.bn3"])
        dy, grads["layer4.1.conv3"] = conv_backward(dy, saved["layer4.1.conv3"])  # (N, 512, 7, 7)
        dy, _ = relu_backward(dy, saved["layer4.1.relu2"])
        dy, grads["layer4.1.bn2"] = bn_backward(dy, saved["layer4.1.bn2"])
        dy, grads["layer4.1.conv2"] = conv_backward(dy, saved["layer4.1.conv2"])
        dy, _ = relu_backward(dy, saved["layer4.1.relu1"])
        dy, grads["layer4.1.bn1"] = bn_backward(dy, saved["layer4.1.bn1"])
        dy, grads["layer4.1.conv1"] = conv_backward(dy, saved["layer4.1.conv1"])  # (N, 2048, 7, 7)
        dz = dz + dy

        # layer4.0
        dy, _ = relu_backward(dz, saved["layer4.0.relu3"])
        (dy, dz), _ = add_backward(dy, saved["layer4.0.add1"])
        dz, grads["layer4.0.downsample.1"] = bn_backward(dz, saved["layer4.0.downsample.1"])
        dz, grads["layer4.0.downsample.0"] = conv_backward(dz, saved["layer4.0.downsample.0"])  # (N, 1024, 14, 14)
        dy, grads["layer4.0.bn3"] = bn_backward(dy, saved["layer4.0.bn3"])
        dy, grads["layer4.0.conv3"] = conv_backward(dy, saved["layer4.0.conv3"])  # (N, 512, 7, 7)
        dy, _ = relu_backward(dy, saved["layer4.0.relu2"])
        dy, grads["layer4.0.bn2"] = bn_backward(dy, saved["layer4.0.bn2"])
        dy, grads["layer4.0.conv2"] = conv_backward(dy, saved["layer4.0.conv2"])  # (N, 512, 14, 14)
        dy, _ = relu_backward(dy, saved["layer4.0.relu1"])
        dy, grads["layer4.0.bn1"] = bn_backward(dy, saved["layer4.0.bn1"])
        dy, grads["layer4.0.conv1"] = conv_backward(dy, saved["layer4.0.conv1"])  # (N, 1024, 14, 14)
        dz = dz + dy

        # layer3.5
        dy, _ = relu_backward(dz, saved["layer3.5.relu3"])
        (dy, dz), _ = add_backward(dy, saved["layer3.5.add1"])
        dy, grads["layer3.5.bn3"] = bn_backward(dy, saved["layer3.5.bn3"])
        dy, grads["layer3.5.conv3"] = conv_backward(dy, saved["layer3.5.conv3"])  # (N, 256, 14, 14)
        dy, _ = relu_backward(dy, saved["layer3.5.relu2"])
        dy, grads["layer3.5.bn2"] = bn_backward(dy, saved["layer3.5.bn2"])
        dy, grads["layer3.5.conv2"] = conv_backward(dy, saved["layer3.5.conv2"])
        dy, _ = relu_backward(dy, saved["layer3.5.relu1"])
        dy, grads["layer3.5.bn1"] = bn_backward(dy, saved["layer3.5.bn1"])
        dy, grads["layer3.5.conv1"] = conv_backward(dy, saved["layer3.5.conv1"])  # (N, 1024, 14, 14)
        dz = dz + dy

        # layer3.4
        dy, _ = relu_backward(dz, saved["layer3.4.relu3"])
        (dy, dz), _ = add_backward(dy, saved["layer3.4.add1"])
        dy, grads["layer3.4.bn3"] = bn_backward(dy, saved["layer3.4.bn3"])
        dy, grads["layer3.4.conv3"] = conv_backward(dy, saved["layer3.4.conv3"])  # (N, 256, 14, 14)
        dy, _ = relu_backward(dy, saved["layer3.4.relu2"])
        dy, grads["layer3.4.bn2"] = bn_backward(dy, saved["layer3.4.bn2"])
        dy, grads["layer3.4.conv2"] = conv_backward(dy, saved["layer3.4.conv2"])
        dy, _ = relu_backward(dy, saved["layer3.4.relu1"])
        dy, grads["layer3.4.bn1"] = bn_backward(dy, saved["layer3.4.bn1"])
        dy, grads["layer3.4.conv1"] = conv_backward(dy, saved["layer3.4.conv1"])  # (N, 1024, 14, 14)
        dz = dz + dy

        # layer3.3
        dy, _ = relu_backward(dz, saved["layer3.3.relu3"])
        (dy, dz), _ = add_backward(dy, saved["layer3.3.add1"])
        dy, grads["layer3.3.bn3"] = bn_backward(dy, saved["layer3.3.bn3"])
        dy, grads["layer3.3.conv3"] = conv_backward(dy, saved["layer3.3.conv3"])  # (N, 256, 14, 14)
        dy, _ = relu_backward(dy, saved["layer3.3.relu2"])
        dy, grads["layer3.3.bn2"] = bn_backward(dy, saved["layer3.3.bn2"])
        dy, grads["layer3.3.conv2"] = conv_backward(dy, saved["layer3.3.conv2"])
        dy, _ = relu_backward(dy, saved["layer3.3.relu1"])
        dy, grads["layer3.3.bn1"] = bn_backward(dy, saved["layer3.3.bn1"])
        dy, grads["layer3.3.conv1"] = conv_backward(dy, saved["layer3.3.conv1"])  # (N, 1024, 14, 14)
        dz = dz + dy

        # layer3.2
        dy, _ = relu_backward(dz, saved["layer3.2.relu3"])
        (dy, dz), _ = add_backward(dy, saved["layer3.2.add1"])
        dy, grads["layer3.2.bn3"] = bn_backward(dy, saved["layer3.2.bn3"])
        dy, grads["layer3.2.conv3"] = conv_backward(dy, saved["layer3.2.conv3"])  # (N, 256, 14, 14)
        dy, _ = relu_backward(dy, saved["layer3.2.relu2"])
        dy, grads["layer3.2.bn2"] = bn_backward(dy, saved["layer3.2.bn2"])
        dy, grads["layer3.2.conv2"] = conv_backward(dy, saved["layer3.2.conv2"])
        dy, _ = relu_backward(dy, saved["layer3.2.relu1"])
        dy, grads["layer3.2.bn1"] = bn_backward(dy, saved["layer3.2.bn1"])
        dy, grads["layer3.2.conv1"] = conv_backward(dy, saved["layer3.2.conv1"])  # (N, 1024, 14, 14)
        dz = dz + dy

        # layer3.1
        dy, _ = relu_backward(dz, saved["layer3.1.relu3"])
        (dy, dz), _ = add_backward(dy, saved["layer3.1.add1"])
        dy, grads["layer3.1.bn3"] = bn_backward(dy, saved["layer3.1.bn3"])
        dy, grads["layer3.1.conv3"] = conv_backward(dy, saved["layer3.1.conv3"])  # (N, 256, 14, 14)
        dy, _ = relu_backward(dy, saved["layer3.1.relu2"])
        dy, grads["layer3.1.bn2"] = bn_backward(dy, saved["layer3.1.bn2"])
        dy, grads["layer3.1.conv2"] = conv_backward(dy, saved["layer3.1.conv2"])
        dy, _ = relu_backward(dy, saved["layer3.1.relu1"])
        dy, grads["layer3.1.bn1"] = bn_backward(dy, saved["layer3.1.bn1"])
        dy, grads["layer3.1.conv1"] = conv_backward(dy, saved["layer3.1.conv1"])  # (N, 1024, 14, 14)
        dz = dz + dy

        # layer3.0
        dy, _ = relu_backward(dz, saved["layer3.0.relu3"])
        (dy, dz), _ = add_backward(dy, saved["layer3.0.add1"])
        dz, grads["layer3.0.downsample.1"] = bn_backward(dz, saved["layer3.0.downsample.1"])
        dz, grads["layer3.0.downsample.0"] = conv_backward(dz, saved["layer3.0.downsample.0"])  # (N, 512, 28, 28)
        dy, grads["layer3.0.bn3"] = bn_backward(dy, saved["layer3.0.bn3"])
        dy, grads["layer3.0.conv3"] = conv_backward(dy, saved["layer3.0.conv3"])  # (N, 256, 14, 14)
        dy, _ = relu_backward(dy, saved["layer3.0.relu2"])
        dy, grads["layer3.0.bn2"] = bn_backward(dy, saved["layer3.0.bn2"])
        dy, grads["layer3.0.conv2"] = conv_backward(dy, saved["layer3.0.conv2"])  # (N, 256, 28, 28)
        dy, _ = relu_backward(dy, saved["layer3.0.relu1"])
        dy, grads["layer3.0.bn1"] = bn_backward(dy, saved["layer3.0.bn1"])
        dy, grads["layer3.0.conv1"] = conv_backward(dy, saved["layer3.0.conv1"])  # (N, 512, 28, 28)
        dz = dz + dy

        # layer2.3
        dy, _ = relu_backward(dz, saved["layer2.3.relu3"])
        (dy, dz), _ = add_backward(dy, saved["layer2.3.add1"])
        dy, grads["layer2.3.bn3"] = bn_backward(dy, saved["layer2.3.bn3"])
        dy, grads["layer2.3.conv3"] = conv_backward(dy, saved["layer2.3.conv3"])  # (N, 128, 28, 28)
        dy, _ = relu_backward(dy, saved["layer2.3.relu2"])
        dy, grads["layer2.3.bn2"] = bn_backward(dy, saved["layer2.3.bn2"])
        dy, grads["layer2.3.conv2"] = conv_backward(dy, saved["layer2.3.conv2"])
        dy, _ = relu_backward(dy, saved["layer2.3.relu1"])
        dy, grads["layer2.3.bn1"] = bn_backward(dy, saved["layer2.3.bn1"])
        dy, grads["layer2.3.conv1"] = conv_backward(dy, saved["layer2.3.conv1"])  # (N, 512, 28, 28)
        dz = dz + dy

        # layer2.2
        dy, _ = relu_backward(dz, saved["layer2.2.relu3"])
        (dy, dz), _ = add_backward(dy, saved["layer2.2.add1"])
        dy, grads["layer2.2.bn3"] = bn_backward(dy, saved["layer2.2.bn3"])
        dy, grads["layer2.2.conv3"] = conv_backward(dy, saved["layer2.2.conv3"])  # (N, 128, 28, 28)
        dy, _ = relu_backward(dy, saved["layer2.2.relu2"])
        dy, grads["layer2.2.bn2"] = bn_backward(dy, saved["layer2.2.bn2"])
        dy, grads["layer2.2.conv2"] = conv_backward(dy, saved["layer2.2.conv2"])
        dy, _ = relu_backward(dy, saved["layer2.2.relu1"])
        dy, grads["layer2.2.bn1"] = bn_backward(dy, saved["layer2.2.bn1"])
        dy, grads["layer2.2.conv1"] = conv_backward(dy, saved["layer2.2.conv1"])  # (N, 512, 28, 28)
        dz = dz + dy

        # layer2.1
        dy, _ = relu_backward(dz, saved["layer2.1.relu3"])
        (dy, dz), _ = add_backward(dy, saved["layer2.1.add1"])
        dy, grads["layer2.1.bn3"] = bn_backward(dy, saved["layer2.1.bn3"])
        dy, grads["layer2.1.conv3"] = conv_backward(dy, saved["layer2.1.conv3"])  # (N, 128, 28, 28)
        dy, _ = relu_backward(dy, saved["layer2.1.relu2"])
        dy, grads["layer2.1.bn2"] = bn_backward(dy, saved["layer2.1.bn2"])
        dy, grads["layer2.1.conv2"] = conv_backward(dy, saved["layer2.1.conv2"])
        dy, _ = relu_backward(dy, saved["layer2.1.relu1"])
        dy, grads["layer2.1.bn1"] = bn_backward(dy, saved["layer2.1.bn1"])
        dy, grads["layer2.1.conv1"] = conv_backward(dy, saved["layer2.1.conv1"])  # (N, 512, 28, 28)
        dz = dz + dy

        # layer2.0
        dy, _ = relu_backward(dz, saved["layer2.0.relu3"])
        (dy, dz), _ = add_backward(dy, saved["layer2.0.add1"])
        dz, grads["layer2.0.downsample.1"] = bn_backward(dz, saved["layer2.0.downsample.1"])
        dz, grads["layer2.0.downsample.0"] = conv_backward(dz, saved["layer2.0.downsample.0"])  # (N, 256, 56, 56)
        dy, grads["layer2.0.bn3"] = bn_backward(dy, saved["layer2.0.bn3"])
        dy, grads["layer2.0.conv3"] = conv_backward(dy, saved["layer2.0.conv3"])  # (N, 128, 28, 28)
        dy, _ = relu_backward(dy, saved["layer2.0.relu2"])
        dy, grads["layer2.0.bn2"] = bn_backward(dy, saved["layer2.0.bn2"])
        dy, grads["layer2.0.conv2"] = conv_backward(dy, saved["layer2.0.conv2"])  # (N, 128, 56, 56)
        dy, _ = relu_backward(dy, saved["layer2.0.relu1"])
        dy, grads["layer2.0.bn1"] = bn_backward(dy, saved["layer2.0.bn1"])
        dy, grads["layer2.0.conv1"] = conv_backward(dy, saved["layer2.0.conv1"])  # (N, 256, 56, 56)
        dz = dz + dy

        # layer1.2
        dy, _ = relu_backward(dz, saved["layer1.2.relu3"])
        (dy, dz), _ = add_backward(dy, saved["layer1.2.add1"])
        dy, grads["layer1.2.bn3"] = bn_backward(dy, saved["layer1.2.bn3"])
        dy, grads["layer1.2.conv3"] = conv_backward(dy, saved["layer1.2.conv3"])  # (N, 64, 56, 56)
        dy, _ = relu_backward(dy, saved["layer1.2.relu2"])
        dy, grads["layer1.2.bn2"] = bn_backward(dy, saved["layer1.2.bn2"])
        dy, grads["layer1.2.conv2"] = conv_backward(dy, saved["layer1.2.conv2"])
        dy, _ = relu_backward(dy, saved["layer1.2.relu1"])
        dy, grads["layer1.2.bn1"] = bn_backward(dy, saved["layer1.2.bn1"])
        dy, grads["layer1.2.conv1"] = conv_backward(dy, saved["layer1.2.conv1"])  # (N, 256, 56, 56)
        dz = dz + dy

        # layer1.1
        dy, _ = relu_backward(dz, saved["layer1.1.relu3"])
        (dy, dz), _ = add_backward(dy, saved["layer1.1.add1"])
        dy, grads["layer1.1.bn3"] = bn_backward(dy, saved["layer1.1.bn3"])
        dy, grads["layer1.1.conv3"] = conv_backward(dy, saved["layer1.1.conv3"])  # (N, 64, 56, 56)
        dy, _ = relu_backward(dy, saved["layer1.1.relu2"])
        dy, grads["layer1.1.bn2"] = bn_backward(dy, saved["layer1.1.bn2"])
        dy, grads["layer1.1.conv2"] = conv_backward(dy, saved["layer1.1.conv2"])
        dy, _ = relu_backward(dy, saved["layer1.1.relu1"])
        dy, grads["layer1.1.bn1"] = bn_backward(dy, saved["layer1.1.bn1"])
        dy, grads["layer1.1.conv1"] = conv_backward(dy, saved["layer1.1.conv1"])  # (N, 256, 56, 56)
        dz = dz + dy

        # layer1.0
        dy, _ = relu_backward(dz, saved["layer1.0.relu3"])
        (dy, dz), _ = add_backward(dy, saved["layer1.0.add1"])
        dz, grads["layer1.0.downsample.1"] = bn_backward(dz, saved["layer1.0.downsample.1"])
        dz, grads["layer1.0.downsample.0"] = conv_backward(dz, saved["layer1.0.downsample.0"])  # (N, 64, 56, 56)
        dy, grads["layer1.0.bn3"] = bn_backward(dy, saved["layer1.0.bn3"])
        dy, grads["layer1.0.conv3"] = conv_backward(dy, saved["layer1.0.conv3"])  # (N, 64, 56, 56)
        dy, _ = relu_backward(dy, saved["layer1.0.relu2"])
        dy, grads["layer1.0.bn2"] = bn_backward(dy, saved["layer1.0.bn2"])
        dy, grads["layer1.0.conv2"] = conv_backward(dy, saved["layer1.0.conv2"])
        dy, _ = relu_backward(dy, saved["layer1.0.relu1"])
        dy, grads["layer1.0.bn1"] = bn_backward(dy, saved["layer1.0.bn1"])
        dy, grads["layer1.0.conv1"] = conv_backward(dy, saved["layer1.0.conv1"])
        dz = dz + dy

        # the network itself
        dy, _ = pool_backward(dz, saved["pool1"])  # (N, 64, 112, 112)
        dy, _ = relu_backward(dy, saved["relu1"])
        dy, grads["bn1"] = bn_backward(dy, saved["bn1"])
        dy, grads["conv1"] = conv_backward(dy, saved["conv1"])  # (N, 3, 224, 224)

        return dy, {f"{layer}.{name}": g for layer, named in reversed(grads.items()) for name, g in named.items()}

    def update(self, grads, lr):
        """One step of the optimizer, in place."""
        adam_step(self.params, grads, self.optimizer_state, lr)


Model = Resnet50


def answer(make, shares=None):
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
            for i, row in enumerate(y if shares is None else shares(y)):
                said = f"class {row.argmax()}, probability {row.max():.6f}" if shares else row
                print(f"{path} {i}: {said}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(str(error))
    raise SystemExit


if __name__ == "__main__":
    answer(Model, lambda y: softmax(y, axis=1))
    # A training run on made-up data, of few samples, since a step of this network takes long.
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 2)
    patterns = rng.standard_normal((2, *INPUT_SHAPE))  # one for each class
    x = (patterns[y] + rng.standard_normal((2, *INPUT_SHAPE))).astype(np.float32)
    model = Model(seed=0)
    for epoch in range(1, 6):
        (loss,) = model.fit(x, y, epochs=1, batch=2, lr=1e-5, seed=epoch)
        print(f"epoch {epoch}: loss {loss:.4f}")
