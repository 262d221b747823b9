"""Cifar100Resnet20 in NumPy, 3x32x32 -> 100, 278,324 parameters. Written by `netdsl compile -O0`; needs numpy and nothing else.

    layer     output    parameters      layer     output    parameters
    conv1     16x32x32         432      layer2.1  32x16x16      18,560
    bn1       16x32x32          32      layer2.2  32x16x16      18,560
    relu1     16x32x32                  layer3.0  64x8x8        57,728
    layer1.0  16x32x32       4,672      layer3.1  64x8x8        73,984
    layer1.1  16x32x32       4,672      layer3.2  64x8x8        73,984
    layer1.2  16x32x32       4,672      gap1      64
    layer2.0  32x16x16      14,528      fc        100            6,500

Arrays are (N, C, H, W). Every `<layer>_forward` returns (y, saved); its `<layer>_backward` takes (dy, saved) and
returns (dx, gradients). `dy` is the gradient of the loss by y.
"""

import json
import math
import os
import zipfile

import numpy as np

INPUT_SHAPE = (3, 32, 32)
NUM_PARAMETERS = 278_324


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


def probabilities_of(target, like):
    """Labels (N, ...) or probabilities (N, K, ...) -> probabilities, with the shape and dtype of `like`. Raises
    ValueError."""
    if np.issubdtype(target.dtype, np.integer):
        return onehot(target, like).astype(like.dtype)
    if target.shape != like.shape:
        raise ValueError(f"probabilities of the shape {target.shape} for outputs of the shape {like.shape}")
    if not (target.size and target.min() >= 0):
        raise ValueError(f"probabilities must be at least 0, the least is {target.min() if target.size else 'none'}")
    return target.astype(like.dtype)


def kept_labels(labels, ignore):
    """labels (N, ...) -> the same with some class in place of `ignore`, which may be none of them."""
    return labels if ignore is None else np.where(labels == ignore, 0, labels)


def total_weight(target, weights, num_classes, ignore=None):
    """What a mean over targets (N, ...) divides by: the sum of the labels' weights, else how many places there are;
    without those of the label `ignore`."""
    if not np.issubdtype(target.dtype, np.integer):
        return target.size / num_classes
    kept = target if ignore is None else target[target != ignore]
    if weights is None:
        return kept.size
    if kept.size:
        check_labels(kept, num_classes)
    return float(np.asarray(weights)[kept].sum())


def soft_cross_entropy(logits, target, smooth=0.0, weights=None, ignore=None):
    """logits (N, K, ...), target labels (N, ...) or probabilities (N, K, ...) -> mean loss, dlogits.

    The loss of one place is -sum over k of t_k * log(softmax_k), t_k = weights_k * ((1 - smooth) * target_k +
    smooth / K), weights 1 if there are none (label smoothing: Szegedy et al. 2016, section 7); dlogits =
    sum(t) * softmax - t. The mean of labels is by their weights, that of probabilities by places, as in PyTorch. Places
    of the label `ignore` do not count; where all are such, the loss is 0.
    """
    wanted = probabilities_of(kept_labels(target, ignore), logits)
    t = (1 - smooth) * wanted + smooth / logits.shape[1]
    if ignore is not None:
        t *= np.expand_dims(target != ignore, 1)
    if weights is not None:
        t *= np.asarray(weights, logits.dtype).reshape(-1, *[1] * (logits.ndim - 2))
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    size = total_weight(target, weights, logits.shape[1], ignore) or 1.0
    return -(t * log_p).sum() / size, (np.exp(log_p) * t.sum(axis=1, keepdims=True) - t) / size


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


class Cifar100Resnet20(Network):
    """(N, 3, 32, 32) -> (N, 100)."""

    input_shape = INPUT_SHAPE
    learning_rate = 0.1

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
            "fc.weight": he(rng, (100, 64), 64, 100, dtype),
            "fc.bias": np.zeros(100, dtype),
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

    def loss(self, logits, target):
        """Logits and labels or probabilities -> mean loss, dlogits."""
        return soft_cross_entropy(logits, target, smooth=0.1)

    def forward(self, x, training=False):
        """x (N, 3, 32, 32) -> y (N, 100)."""
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
        x, saved["fc"] = linear_forward(x, p["fc.weight"], p["fc.bias"])  # (N, 100)
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
        sgd_step(self.params, grads, self.optimizer_state, lr, momentum=0.9, nesterov=True, weight_decay=0.0005)


Model = Cifar100Resnet20


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
    # A training run on made-up data, to show that the network learns.
    rng = np.random.default_rng(0)
    y = rng.integers(0, 100, 256)
    patterns = rng.standard_normal((100, *INPUT_SHAPE))  # one for each class
    x = (patterns[y] + rng.standard_normal((256, *INPUT_SHAPE))).astype(np.float32)
    model = Model(seed=0)
    for epoch in range(1, 6):
        (loss,) = model.fit(x, y, epochs=1, batch=32, seed=epoch)
        print(f"epoch {epoch}: loss {loss:.4f}, accuracy {model.score(x, y):.3f}")
