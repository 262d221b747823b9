"""Googlenet in NumPy, 3x224x224 -> 1000, 6,624,904 parameters. Written by `netdsl compile -O0`; needs numpy and nothing else.

    layer        output      parameters      layer        output      parameters
    conv1        64x112x112       9,536      inception4c  512x14x14      486,192
    pool1        64x56x56                    inception4d  528x14x14      573,312
    conv2        64x56x56         4,224      inception4e  832x14x14      803,840
    conv3        192x56x56      110,976      pool4        832x7x7
    pool2        192x28x28                   inception5a  832x7x7        978,944
    inception3a  256x28x28      155,872      inception5b  1024x7x7     1,347,040
    inception3b  480x28x28      340,224      gap1         1024
    pool3        480x14x14                   dropout1     1024
    inception4a  512x14x14      364,512      fc           1000         1,025,000
    inception4b  512x14x14      425,232

Arrays are (N, C, H, W). Every `<layer>_forward` returns (y, saved); its `<layer>_backward` takes (dy, saved) and
returns (dx, gradients). `dy` is the gradient of the loss by y.
"""

import json
import math
import os
import zipfile

import numpy as np

INPUT_SHAPE = (3, 224, 224)
NUM_PARAMETERS = 6_624_904


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


def cat_forward(*inputs, axis=1):
    """y has the channels (axis 1) of all inputs; of tokens (N, T, D), the features (axis 2)."""
    begins = [sum(x.shape[axis] for x in inputs[:i]) for i in range(1, len(inputs))]  # of each but the first
    return np.concatenate(inputs, axis), (axis, begins)


def cat_backward(dy, saved):
    """Each input's dx is its own part of dy."""
    axis, begins = saved
    return tuple(np.split(dy, begins, axis)), {}


def gap_forward(x):
    """x (N, C, *space) -> y (N, C), the mean over all places, of an image H and W."""
    return x.mean(axis=tuple(range(2, x.ndim))), x.shape


def gap_backward(dy, saved):
    """Every element of a channel gets dy / (the number of places)."""
    n, c, *space = saved
    share = dy / math.prod(space)
    return np.broadcast_to(share.reshape(n, c, *[1] * len(space)), saved), {}


def dropout_forward(x, p, training, rng):
    """In training y = x * factor, factor = 0 with probability p, else 1 / (1 - p) (Srivastava et al. 2014)."""
    if not training:
        return x, None
    factor = ((rng.random(x.shape, np.float32) >= p) / (1 - p)).astype(x.dtype)
    return x * factor, factor


def dropout_backward(dy, saved):
    """dx = dy * factor."""
    return dy if saved is None else dy * saved, {}


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


class Googlenet(Network):
    """(N, 3, 224, 224) -> (N, 1000)."""

    input_shape = INPUT_SHAPE
    learning_rate = 0.001
    loss = staticmethod(cross_entropy)

    def __init__(self, seed=0, dtype=np.float32):
        rng = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)
        self.params = {
            "conv1.conv.weight": he(rng, (64, 3, 7, 7), 147, 3136, dtype),
            "conv1.bn.weight": np.ones(64, dtype),
            "conv1.bn.bias": np.zeros(64, dtype),
            "conv2.conv.weight": he(rng, (64, 64, 1, 1), 64, 64, dtype),
            "conv2.bn.weight": np.ones(64, dtype),
            "conv2.bn.bias": np.zeros(64, dtype),
            "conv3.conv.weight": he(rng, (192, 64, 3, 3), 576, 1728, dtype),
            "conv3.bn.weight": np.ones(192, dtype),
            "conv3.bn.bias": np.zeros(192, dtype),
            "inception3a.branch1.conv.weight": he(rng, (64, 192, 1, 1), 192, 64, dtype),
            "inception3a.branch1.bn.weight": np.ones(64, dtype),
            "inception3a.branch1.bn.bias": np.zeros(64, dtype),
            "inception3a.branch2.0.conv.weight": he(rng, (96, 192, 1, 1), 192, 96, dtype),
            "inception3a.branch2.0.bn.weight": np.ones(96, dtype),
            "inception3a.branch2.0.bn.bias": np.zeros(96, dtype),
            "inception3a.branch2.1.conv.weight": he(rng, (128, 96, 3, 3), 864, 1152, dtype),
            "inception3a.branch2.1.bn.weight": np.ones(128, dtype),
            "inception3a.branch2.1.bn.bias": np.zeros(128, dtype),
            "inception3a.branch3.0.conv.weight": he(rng, (16, 192, 1, 1), 192, 16, dtype),
            "inception3a.branch3.0.bn.weight": np.ones(16, dtype),
            "inception3a.branch3.0.bn.bias": np.zeros(16, dtype),
            "inception3a.branch3.1.conv.weight": he(rng, (32, 16, 3, 3), 144, 288, dtype),
            "inception3a.branch3.1.bn.weight": np.ones(32, dtype),
            "inception3a.branch3.1.bn.bias": np.zeros(32, dtype),
            "inception3a.branch4.1.conv.weight": he(rng, (32, 192, 1, 1), 192, 32, dtype),
            "inception3a.branch4.1.bn.weight": np.ones(32, dtype),
            "inception3a.branch4.1.bn.bias": np.zeros(32, dtype),
            "inception3b.branch1.conv.weight": he(rng, (128, 256, 1, 1), 256, 128, dtype),
            "inception3b.branch1.bn.weight": np.ones(128, dtype),
            "inception3b.branch1.bn.bias": np.zeros(128, dtype),
            "inception3b.branch2.0.conv.weight": he(rng, (128, 256, 1, 1), 256, 128, dtype),
            "inception3b.branch2.0.bn.weight": np.ones(128, dtype),
            "inception3b.branch2.0.bn.bias": np.zeros(128, dtype),
            "inception3b.branch2.1.conv.weight": he(rng, (192, 128, 3, 3), 1152, 1728, dtype),
            "inception3b.branch2.1.bn.weight": np.ones(192, dtype),
            "inception3b.branch2.1.bn.bias": np.zeros(192, dtype),
            "inception3b.branch3.0.conv.weight": he(rng, (32, 256, 1, 1), 256, 32, dtype),
            "inception3b.branch3.0.bn.weight": np.ones(32, dtype),
            "inception3b.branch3.0.bn.bias": np.zeros(32, dtype),
            "inception3b.branch3.1.conv.weight": he(rng, (96, 32, 3, 3), 288, 864, dtype),
            "inception3b.branch3.1.bn.weight": np.ones(96, dtype),
            "inception3b.branch3.1.bn.bias": np.zeros(96, dtype),
            "inception3b.branch4.1.conv.weight": he(rng, (64, 256, 1, 1), 256, 64, dtype),
            "inception3b.branch4.1.bn.weight": np.ones(64, dtype),
            "inception3b.branch4.1.bn.bias": np.zeros(64, dtype),
            "inception4a.branch1.conv.weight": he(rng, (192, 480, 1, 1), 480, 192, dtype),
            "inception4a.branch1.bn.weight": np.ones(192, dtype),
            "inception4a.branch1.bn.bias": np.zeros(192, dtype),
            "inception4a.branch2.0.conv.weight": he(rng, (96, 480, 1, 1), 480, 96, dtype),
            "inception4a.branch2.0.bn.weight": np.ones(96, dtype),
            "inception4a.branch2.0.bn.bias": np.zeros(96, dtype),
            "inception4a.branch2.1.conv.weight": he(rng, (208, 96, 3, 3), 864, 1872, dtype),
            "inception4a.branch2.1.bn.weight": np.ones(208, dtype),
            "inception4a.branch2.1.bn.bias": np.zeros(208, dtype),
            "inception4a.branch3.0.conv.weight": he(rng, (16, 480, 1, 1), 480, 16, dtype),
            "inception4a.branch3.0.bn.weight": np.ones(16, dtype),
            "inception4a.branch3.0.bn.bias": np.zeros(16, dtype),
            "inception4a.branch3.1.conv.weight": he(rng, (48, 16, 3, 3), 144, 432, dtype),
            "inception4a.branch3.1.bn.weight": np.ones(48, dtype),
            "inception4a.branch3.1.bn.bias": np.zeros(48, dtype),
            "inception4a.branch4.1.conv.weight": he(rng, (64, 480, 1, 1), 480, 64, dtype),
            "inception4a.branch4.1.bn.weight": np.ones(64, dtype),
            "inception4a.branch4.1.bn.bias": np.zeros(64, dtype),
            "inception4b.branch1.conv.weight": he(rng, (160, 512, 1, 1), 512, 160, dtype),
            "inception4b.branch1.bn.weight": np.ones(160, dtype),
            "inception4b.branch1.bn.bias": np.zeros(160, dtype),
            "inception4b.branch2.0.conv.weight": he(rng, (112, 512, 1, 1), 512, 112, dtype),
            "inception4b.branch2.0.bn.weight": np.ones(112, dtype),
            "inception4b.branch2.0.bn.bias": np.zeros(112, dtype),
            "inception4b.branch2.1.conv.weight": he(rng, (224, 112, 3, 3), 1008, 2016, dtype),
            "inception4b.branch2.1.bn.weight": np.ones(224, dtype),
            "inception4b.branch2.1.bn.bias": np.zeros(224, dtype),
            "inception4b.branch3.0.conv.weight": he(rng, (24, 512, 1, 1), 512, 24, dtype),
            "inception4b.branch3.0.bn.weight": np.ones(24, dtype),
            "inception4b.branch3.0.bn.bias": np.zeros(24, dtype),
            "inception4b.branch3.1.conv.weight": he(rng, (64, 24, 3, 3), 216, 576, dtype),
            "inception4b.branch3.1.bn.weight": np.ones(64, dtype),
            "inception4b.branch3.1.bn.bias": np.zeros(64, dtype),
            "inception4b.branch4.1.conv.weight": he(rng, (64, 512, 1, 1), 512, 64, dtype),
            "inception4b.branch4.1.bn.weight": np.ones(64, dtype),
            "inception4b.branch4.1.bn.bias": np.zeros(64, dtype),
            "inception4c.branch1.conv.weight": he(rng, (128, 512, 1, 1), 512, 128, dtype),
            "inception4c.branch1.bn.weight": np.ones(128, dtype),
            "inception4c.branch1.bn.bias": np.zeros(128, dtype),
            "inception4c.branch2.0.conv.weight": he(rng, (128, 512, 1, 1), 512, 128, dtype),
            "inception4c.branch2.0.bn.weight": np.ones(128, dtype),
            "inception4c.branch2.0.bn.bias": np.zeros(128, dtype),
            "inception4c.branch2.1.conv.weight": he(rng, (256, 128, 3, 3), 1152, 2304, dtype),
            "inception4c.branch2.1.bn.weight": np.ones(256, dtype),
            "inception4c.branch2.1.bn.bias": np.zeros(256, dtype),
            "inception4c.branch3.0.conv.weight": he(rng, (24, 512, 1, 1), 512, 24, dtype),
            "inception4c.branch3.0.bn.weight": np.ones(24, dtype),
            "inception4c.branch3.0.bn.bias": np.zeros(24, dtype),
            "inception4c.branch3.1.conv.weight": he(rng, (64, 24, 3, 3), 216, 576, dtype),
            "inception4c.branch3.1.bn.weight": np.ones(64, dtype),
            "inception4c.branch3.1.bn.bias": np.zeros(64, dtype),
            "inception4c.branch4.1.conv.weight": he(rng, (64, 512, 1, 1), 512, 64, dtype),
            "inception4c.branch4.1.bn.weight": np.ones(64, dtype),
            "inception4c.branch4.1.bn.bias": np.zeros(64, dtype),
            "inception4d.branch1.conv.weight": he(rng, (112, 512, 1, 1), 512, 112, dtype),
            "inception4d.branch1.bn.weight": np.ones(112, dtype),
            "inception4d.branch1.bn.bias": np.zeros(112, dtype),
            "inception4d.branch2.0.conv.weight": he(rng, (144, 512, 1, 1), 512, 144, dtype),
            "inception4d.branch2.0.bn.weight": np.ones(144, dtype),
            "inception4d.branch2.0.bn.bias": np.zeros(144, dtype),
            "inception4d.branch2.1.conv.weight": he(rng, (288, 144, 3, 3), 1296, 2592, dtype),
            "inception4d.branch2.1.bn.weight": np.ones(288, dtype),
            "inception4d.branch2.1.bn.bias": np.zeros(288, dtype),
            "inception4d.branch3.0.conv.weight": he(rng, (32, 512, 1, 1), 512, 32, dtype),
            "inception4d.branch3.0.bn.weight": np.ones(32, dtype),
            "inception4d.branch3.0.bn.bias": np.zeros(32, dtype),
            "inception4d.branch3.1.conv.weight": he(rng, (64, 32, 3, 3), 288, 576, dtype),
            "inception4d.branch3.1.bn.weight": np.ones(64, dtype),
            "inception4d.branch3.1.bn.bias": np.zeros(64, dtype),
            "inception4d.branch4.1.conv.weight": he(rng, (64, 512, 1, 1), 512, 64, dtype),
            "inception4d.branch4.1.bn.weight": np.ones(64, dtype),
            "inception4d.branch4.1.bn.bias": np.zeros(64, dtype),
            "inception4e.branch1.conv.weight": he(rng, (256, 528, 1, 1), 528, 256, dtype),
            "inception4e.branch1.bn.weight": np.ones(256, dtype),
            "inception4e.branch1.bn.bias": np.zeros(256, dtype),
            "inception4e.branch2.0.conv.weight": he(rng, (160, 528, 1, 1), 528, 160, dtype),
            "inception4e.branch2.0.bn.weight": np.ones(160, dtype),
            "inception4e.branch2.0.bn.bias": np.zeros(160, dtype),
            "inception4e.branch2.1.conv.weight": he(rng, (320, 160, 3, 3), 1440, 2880, dtype),
            "inception4e.branch2.1.bn.weight": np.ones(320, dtype),
            "inception4e.branch2.1.bn.bias": np.zeros(320, dtype),
            "inception4e.branch3.0.conv.weight": he(rng, (32, 528, 1, 1), 528, 32, dtype),
            "inception4e.branch3.0.bn.weight": np.ones(32, dtype),
            "inception4e.branch3.0.bn.bias": np.zeros(32, dtype),
            "inception4e.branch3.1.conv.weight": he(rng, (128, 32, 3, 3), 288, 1152, dtype),
            "inception4e.branch3.1.bn.weight": np.ones(128, dtype),
            "inception4e.branch3.1.bn.bias": np.zeros(128, dtype),
            "inception4e.branch4.1.conv.weight": he(rng, (128, 528, 1, 1), 528, 128, dtype),
            "inception4e.branch4.1.bn.weight": np.ones(128, dtype),
            "inception4e.branch4.1.bn.bias": np.zeros(128, dtype),
            "inception5a.branch1.conv.weight": he(rng, (256, 832, 1, 1), 832, 256, dtype),
            "inception5a.branch1.bn.weight": np.ones(256, dtype),
            "inception5a.branch1.bn.bias": np.zeros(256, dtype),
            "inception5a.branch2.0.conv.weight": he(rng, (160, 832, 1, 1), 832, 160, dtype),
            "inception5a.branch2.0.bn.weight": np.ones(160, dtype),
            "inception5a.branch2.0.bn.bias": np.zeros(160, dtype),
            "inception5a.branch2.1.conv.weight": he(rng, (320, 160, 3, 3), 1440, 2880, dtype),
            "inception5a.branch2.1.bn.weight": np.ones(320, dtype),
            "inception5a.branch2.1.bn.bias": np.zeros(320, dtype),
            "inception5a.branch3.0.conv.weight": he(rng, (32, 832, 1, 1), 832, 32, dtype),
            "inception5a.branch3.0.bn.weight": np.ones(32, dtype),
            "inception5a.branch3.0.bn.bias": np.zeros(32, dtype),
            "inception5a.branch3.1.conv.weight": he(rng, (128, 32, 3, 3), 288, 1152, dtype),
            "inception5a.branch3.1.bn.weight": np.ones(128, dtype),
            "inception5a.branch3.1.bn.bias": np.zeros(128, dtype),
            "inception5a.branch4.1.conv.weight": he(rng, (128, 832, 1, 1), 832, 128, dtype),
            "inception5a.branch4.1.bn.weight": np.ones(128, dtype),
            "inception5a.branch4.1.bn.bias": np.zeros(128, dtype),
            "inception5b.branch1.conv.weight": he(rng, (384, 832, 1, 1), 832, 384, dtype),
            "inception5b.branch1.bn.weight": np.ones(384, dtype),
            "inception5b.branch1.bn.bias": np.zeros(384, dtype),
            "inception5b.branch2.0.conv.weight": he(rng, (192, 832, 1, 1), 832, 192, dtype),
            "inception5b.branch2.0.bn.weight": np.ones(192, dtype),
            "inception5b.branch2.0.bn.bias": np.zeros(192, dtype),
            "inception5b.branch2.1.conv.weight": he(rng, (384, 192, 3, 3), 1728, 3456, dtype),
            "inception5b.branch2.1.bn.weight": np.ones(384, dtype),
            "inception5b.branch2.1.bn.bias": np.zeros(384, dtype),
            "inception5b.branch3.0.conv.weight": he(rng, (48, 832, 1, 1), 832, 48, dtype),
            "inception5b.branch3.0.bn.weight": np.ones(48, dtype),
            "inception5b.branch3.0.bn.bias": np.zeros(48, dtype),
            "inception5b.branch3.1.conv.weight": he(rng, (128, 48, 3, 3), 432, 1152, dtype),
            "inception5b.branch3.1.bn.weight": np.ones(128, dtype),
            "inception5b.branch3.1.bn.bias": np.zeros(128, dtype),
            "inception5b.branch4.1.conv.weight": he(rng, (128, 832, 1, 1), 832, 128, dtype),
            "inception5b.branch4.1.bn.weight": np.ones(128, dtype),
            "inception5b.branch4.1.bn.bias": np.zeros(128, dtype),
            "fc.weight": he(rng, (1000, 1024), 1024, 1000, dtype),
            "fc.bias": np.zeros(1000, dtype),
        }
        self.buffers = {
            "conv1.bn.running_mean": np.zeros(64, dtype),
            "conv1.bn.running_var": np.ones(64, dtype),
            "conv2.bn.running_mean": np.zeros(64, dtype),
            "conv2.bn.running_var": np.ones(64, dtype),
            "conv3.bn.running_mean": np.zeros(192, dtype),
            "conv3.bn.running_var": np.ones(192, dtype),
            "inception3a.branch1.bn.running_mean": np.zeros(64, dtype),
            "inception3a.branch1.bn.running_var": np.ones(64, dtype),
            "inception3a.branch2.0.bn.running_mean": np.zeros(96, dtype),
            "inception3a.branch2.0.bn.running_var": np.ones(96, dtype),
            "inception3a.branch2.1.bn.running_mean": np.zeros(128, dtype),
            "inception3a.branch2.1.bn.running_var": np.ones(128, dtype),
            "inception3a.branch3.0.bn.running_mean": np.zeros(16, dtype),
            "inception3a.branch3.0.bn.running_var": np.ones(16, dtype),
            "inception3a.branch3.1.bn.running_mean": np.zeros(32, dtype),
            "inception3a.branch3.1.bn.running_var": np.ones(32, dtype),
            "inception3a.branch4.1.bn.running_mean": np.zeros(32, dtype),
            "inception3a.branch4.1.bn.running_var": np.ones(32, dtype),
            "inception3b.branch1.bn.running_mean": np.zeros(128, dtype),
            "inception3b.branch1.bn.running_var": np.ones(128, dtype),
            "inception3b.branch2.0.bn.running_mean": np.zeros(128, dtype),
            "inception3b.branch2.0.bn.running_var": np.ones(128, dtype),
            "inception3b.branch2.1.bn.running_mean": np.zeros(192, dtype),
            "inception3b.branch2.1.bn.running_var": np.ones(192, dtype),
            "inception3b.branch3.0.bn.running_mean": np.zeros(32, dtype),
            "inception3b.branch3.0.bn.running_var": np.ones(32, dtype),
            "inception3b.branch3.1.bn.running_mean": np.zeros(96, dtype),
            "inception3b.branch3.1.bn.running_var": np.ones(96, dtype),
            "inception3b.branch4.1.bn.running_mean": np.zeros(64, dtype),
            "inception3b.branch4.1.bn.running_var": np.ones(64, dtype),
            "inception4a.branch1.bn.running_mean": np.zeros(192, dtype),
            "inception4a.branch1.bn.running_var": np.ones(192, dtype),
            "inception4a.branch2.0.bn.running_mean": np.zeros(96, dtype),
            "inception4a.branch2.0.bn.running_var": np.ones(96, dtype),
            "inception4a.branch2.1.bn.running_mean": np.zeros(208, dtype),
            "inception4a.branch2.1.bn.running_var": np.ones(208, dtype),
            "inception4a.branch3.0.bn.running_mean": np.zeros(16, dtype),
            "inception4a.branch3.0.bn.running_var": np.ones(16, dtype),
            "inception4a.branch3.1.bn.running_mean": np.zeros(48, dtype),
            "inception4a.branch3.1.bn.running_var": np.ones(48, dtype),
            "inception4a.branch4.1.bn.running_mean": np.zeros(64, dtype),
            "inception4a.branch4.1.bn.running_var": np.ones(64, dtype),
            "inception4b.branch1.bn.running_mean": np.zeros(160, dtype),
            "inception4b.branch1.bn.running_var": np.ones(160, dtype),
            "inception4b.branch2.0.bn.running_mean": np.zeros(112, dtype),
            "inception4b.branch2.0.bn.running_var": np.ones(112, dtype),
            "inception4b.branch2.1.bn.running_mean": np.zeros(224, dtype),
            "inception4b.branch2.1.bn.running_var": np.ones(224, dtype),
            "inception4b.branch3.0.bn.running_mean": np.zeros(24, dtype),
            "inception4b.branch3.0.bn.running_var": np.ones(24, dtype),
            "inception4b.branch3.1.bn.running_mean": np.zeros(64, dtype),
            "inception4b.branch3.1.bn.running_var": np.ones(64, dtype),
            "inception4b.branch4.1.bn.running_mean": np.zeros(64, dtype),
            "inception4b.branch4.1.bn.running_var": np.ones(64, dtype),
            "inception4c.branch1.bn.running_mean": np.zeros(128, dtype),
            "inception4c.branch1.bn.running_var": np.ones(128, dtype),
            "inception4c.branch2.0.bn.running_mean": np.zeros(128, dtype),
            "inception4c.branch2.0.bn.running_var": np.ones(128, dtype),
            "inception4c.branch2.1.bn.running_mean": np.zeros(256, dtype),
            "inception4c.branch2.1.bn.running_var": np.ones(256, dtype),
            "inception4c.branch3.0.bn.running_mean": np.zeros(24, dtype),
            "inception4c.branch3.0.bn.running_var": np.ones(24, dtype),
            "inception4c.branch3.1.bn.running_mean": np.zeros(64, dtype),
            "inception4c.branch3.1.bn.running_var": np.ones(64, dtype),
            "inception4c.branch4.1.bn.running_mean": np.zeros(64, dtype),
            "inception4c.branch4.1.bn.running_var": np.ones(64, dtype),
            "inception4d.branch1.bn.running_mean": np.zeros(112, dtype),
            "inception4d.branch1.bn.running_var": np.ones(112, dtype),
            "inception4d.branch2.0.bn.running_mean": np.zeros(144, dtype),
            "inception4d.branch2.0.bn.running_var": np.ones(144, dtype),
            "inception4d.branch2.1.bn.running_mean": np.zeros(288, dtype),
            "inception4d.branch2.1.bn.running_var": np.ones(288, dtype),
            "inception4d.branch3.0.bn.running_mean": np.zeros(32, dtype),
            "inception4d.branch3.0.bn.running_var": np.ones(32, dtype),
            "inception4d.branch3.1.bn.running_mean": np.zeros(64, dtype),
            "inception4d.branch3.1.bn.running_var": np.ones(64, dtype),
            "inception4d.branch4.1.bn.running_mean": np.zeros(64, dtype),
            "inception4d.branch4.1.bn.running_var": np.ones(64, dtype),
            "inception4e.branch1.bn.running_mean": np.zeros(256, dtype),
            "inception4e.branch1.bn.running_var": np.ones(256, dtype),
            "inception4e.branch2.0.bn.running_mean": np.zeros(160, dtype),
            "inception4e.branch2.0.bn.running_var": np.ones(160, dtype),
            "inception4e.branch2.1.bn.running_mean": np.zeros(320, dtype),
            "inception4e.branch2.1.bn.running_var": np.ones(320, dtype),
            "inception4e.branch3.0.bn.running_mean": np.zeros(32, dtype),
            "inception4e.branch3.0.bn.running_var": np.ones(32, dtype),
            "inception4e.branch3.1.bn.running_mean": np.zeros(128, dtype),
            "inception4e.branch3.1.bn.running_var": np.ones(128, dtype),
            "inception4e.branch4.1.bn.running_mean": np.zeros(128, dtype),
            "inception4e.branch4.1.bn.running_var": np.ones(128, dtype),
            "inception5a.branch1.bn.running_mean": np.zeros(256, dtype),
            "inception5a.branch1.bn.running_var": np.ones(256, dtype),
            "inception5a.branch2.0.bn.running_mean": np.zeros(160, dtype),
            "inception5a.branch2.0.bn.running_var": np.ones(160, dtype),
            "inception5a.branch2.1.bn.running_mean": np.zeros(320, dtype),
            "inception5a.branch2.1.bn.running_var": np.ones(320, dtype),
            "inception5a.branch3.0.bn.running_mean": np.zeros(32, dtype),
            "inception5a.branch3.0.bn.running_var": np.ones(32, dtype),
            "inception5a.branch3.1.bn.running_mean": np.zeros(128, dtype),
            "inception5a.branch3.1.bn.running_var": np.ones(128, dtype),
            "inception5a.branch4.1.bn.running_mean": np.zeros(128, dtype),
            "inception5a.branch4.1.bn.running_var": np.ones(128, dtype),
            "inception5b.branch1.bn.running_mean": np.zeros(384, dtype),
            "inception5b.branch1.bn.running_var": np.ones(384, dtype),
            "inception5b.branch2.0.bn.running_mean": np.zeros(192, dtype),
            "inception5b.branch2.0.bn.running_var": np.ones(192, dtype),
            "inception5b.branch2.1.bn.running_mean": np.zeros(384, dtype),
            "inception5b.branch2.1.bn.running_var": np.ones(384, dtype),
            "inception5b.branch3.0.bn.running_mean": np.zeros(48, dtype),
            "inception5b.branch3.0.bn.running_var": np.ones(48, dtype),
            "inception5b.branch3.1.bn.running_mean": np.zeros(128, dtype),
            "inception5b.branch3.1.bn.running_var": np.ones(128, dtype),
            "inception5b.branch4.1.bn.running_mean": np.zeros(128, dtype),
            "inception5b.branch4.1.bn.running_var": np.ones(128, dtype),
        }
        self.saved, self.optimizer_state = {}, {}
        self.rng = rng

    def forward(self, x, training=False):
        """x (N, 3, 224, 224) -> y (N, 1000)."""
        x = self.check_input(x)
        p, b, saved = self.params, self.buffers, self.saved

        # conv1: cbr(c=64, k=7, s=2, p=3)
        x, saved["conv1.conv"] = conv_forward(x, p["conv1.conv.weight"], None, stride=(2, 2), padding=((3, 3), (3, 3)))  # (N, 64, 112, 112)
        x, saved["conv1.bn"] = bn_forward(x, p["conv1.bn.weight"], p["conv1.bn.bias"], b["conv1.bn.running_mean"], b["conv1.bn.running_var"], eps=0.001, training=training)
        x, saved["conv1.relu1"] = relu_forward(x)

        # the network itself
        x, saved["pool1"] = pool_forward(x, kernel_size=(3, 3), stride=(2, 2), padding=((0, 1), (0, 1)))  # (N, 64, 56, 56)

        # conv2: cbr(c=64)
        x, saved["conv2.conv"] = conv_forward(x, p["conv2.conv.weight"], None)
        x, saved["conv2.bn"] = bn_forward(x, p["conv2.bn.weight"], p["conv2.bn.bias"], b["conv2.bn.running_mean"], b["conv2.bn.running_var"], eps=0.001, training=training)
        x, saved["conv2.relu1"] = relu_forward(x)

        # conv3: cbr(c=192, k=3, p=1)
        x, saved["conv3.conv"] = conv_forward(x, p["conv3.conv.weight"], None, padding=((1, 1), (1, 1)))  # (N, 192, 56, 56)
        x, saved["conv3.bn"] = bn_forward(x, p["conv3.bn.weight"], p["conv3.bn.bias"], b["conv3.bn.running_mean"], b["conv3.bn.running_var"], eps=0.001, training=training)
        x, saved["conv3.relu1"] = relu_forward(x)

        # the network itself
        x, saved["pool2"] = pool_forward(x, kernel_size=(3, 3), stride=(2, 2), padding=((0, 1), (0, 1)))  # (N, 192, 28, 28)

        # inception3a.branch1: cbr(c=64)
        y, saved["inception3a.branch1.conv"] = conv_forward(x, p["inception3a.branch1.conv.weight"], None)  # (N, 64, 28, 28)
        y, saved["inception3a.branch1.bn"] = bn_forward(y, p["inception3a.branch1.bn.weight"], p["inception3a.branch1.bn.bias"], b["inception3a.branch1.bn.running_mean"], b["inception3a.branch1.bn.running_var"], eps=0.001, training=training)
        y, saved["inception3a.branch1.relu1"] = relu_forward(y)

        # inception3a.branch2.0: cbr(c=96)
        z, saved["inception3a.branch2.0.conv"] = conv_forward(x, p["inception3a.branch2.0.conv.weight"], None)  # (N, 96, 28, 28)
        z, saved["inception3a.branch2.0.bn"] = bn_forward(z, p["inception3a.branch2.0.bn.weight"], p["inception3a.branch2.0.bn.bias"], b["inception3a.branch2.0.bn.running_mean"], b["inception3a.branch2.0.bn.running_var"], eps=0.001, training=training)
        z, saved["inception3a.branch2.0.relu1"] = relu_forward(z)

        # inception3a.branch2.1: cbr(c=128, k=3, p=1)
        z, saved["inception3a.branch2.1.conv"] = conv_forward(z, p["inception3a.branch2.1.conv.weight"], None, padding=((1, 1), (1, 1)))  # (N, 128, 28, 28)
        z, saved["inception3a.branch2.1.bn"] = bn_forward(z, p["inception3a.branch2.1.bn.weight"], p["inception3a.branch2.1.bn.bias"], b["inception3a.branch2.1.bn.running_mean"], b["inception3a.branch2.1.bn.running_var"], eps=0.001, training=training)
        z, saved["inception3a.branch2.1.relu1"] = relu_forward(z)

        # inception3a.branch3.0: cbr(c=16)
        a, saved["inception3a.branch3.0.conv"] = conv_forward(x, p["inception3a.branch3.0.conv.weight"], None)  # (N, 16, 28, 28)
        a, saved["inception3a.branch3.0.bn"] = bn_forward(a, p["inception3a.branch3.0.bn.weight"], p["inception3a.branch3.0.bn.bias"], b["inception3a.branch3.0.bn.running_mean"], b["inception3a.branch3.0.bn.running_var"], eps=0.001, training=training)
        a, saved["inception3a.branch3.0.relu1"] = relu_forward(a)

        # inception3a.branch3.1: cbr(c=32, k=3, p=1)
        a, saved["inception3a.branch3.1.conv"] = conv_forward(a, p["inception3a.branch3.1.conv.weight"], None, padding=((1, 1), (1, 1)))  # (N, 32, 28, 28)
        a, saved["inception3a.branch3.1.bn"] = bn_forward(a, p["inception3a.branch3.1.bn.weight"], p["inception3a.branch3.1.bn.bias"], b["inception3a.branch3.1.bn.running_mean"], b["inception3a.branch3.1.bn.running_var"], eps=0.001, training=training)
        a, saved["inception3a.branch3.1.relu1"] = relu_forward(a)

        # inception3a: inception(c1=64, c3r=96, c3=128, c5r=16, c5=32, cp=32)
        x, saved["inception3a.branch4.0"] = pool_forward(x, kernel_size=(3, 3), stride=(1, 1), padding=((1, 1), (1, 1)))

        # inception3a.branch4.1: cbr(c=32)
        x, saved["inception3a.branch4.1.conv"] = conv_forward(x, p["inception3a.branch4.1.conv.weight"], None)  # (N, 32, 28, 28)
        x, saved["inception3a.branch4.1.bn"] = bn_forward(x, p["inception3a.branch4.1.bn.weight"], p["inception3a.branch4.1.bn.bias"], b["inception3a.branch4.1.bn.running_mean"], b["inception3a.branch4.1.bn.running_var"], eps=0.001, training=training)
        x, saved["inception3a.branch4.1.relu1"] = relu_forward(x)

        # inception3a: inception(c1=64, c3r=96, c3=128, c5r=16, c5=32, cp=32)
        x, saved["inception3a.cat1"] = cat_forward(y, z, a, x)  # (N, 256, 28, 28)

        # inception3b.branch1: cbr(c=128)
        y, saved["inception3b.branch1.conv"] = conv_forward(x, p["inception3b.branch1.conv.weight"], None)  # (N, 128, 28, 28)
        y, saved["inception3b.branch1.bn"] = bn_forward(y, p["inception3b.branch1.bn.weight"], p["inception3b.branch1.bn.bias"], b["inception3b.branch1.bn.running_mean"], b["inception3b.branch1.bn.running_var"], eps=0.001, training=training)
        y, saved["inception3b.branch1.relu1"] = relu_forward(y)

        # inception3b.branch2.0: cbr(c=128)
        z, saved["inception3b.branch2.0.conv"] = conv_forward(x, p["inception3b.branch2.0.conv.weight"], None)  # (N, 128, 28, 28)
        z, saved["inception3b.branch2.0.bn"] = bn_forward(z, p["inception3b.branch2.0.bn.weight"], p["inception3b.branch2.0.bn.bias"], b["inception3b.branch2.0.bn.running_mean"], b["inception3b.branch2.0.bn.running_var"], eps=0.001, training=training)
        z, saved["inception3b.branch2.0.relu1"] = relu_forward(z)

        # inception3b.branch2.1: cbr(c=192, k=3, p=1)
        z, saved["inception3b.branch2.1.conv"] = conv_forward(z, p["inception3b.branch2.1.conv.weight"], None, padding=((1, 1), (1, 1)))  # (N, 192, 28, 28)
        z, saved["inception3b.branch2.1.bn"] = bn_forward(z, p["inception3b.branch2.1.bn.weight"], p["inception3b.branch2.1.bn.bias"], b["inception3b.branch2.1.bn.running_mean"], b["inception3b.branch2.1.bn.running_var"], eps=0.001, training=training)
        z, saved["inception3b.branch2.1.relu1"] = relu_forward(z)

        # inception3b.branch3.0: cbr(c=32)
        a, saved["inception3b.branch3.0.conv"] = conv_forward(x, p["inception3b.branch3.0.conv.weight"], None)  # (N, 32, 28, 28)
        a, saved["inception3b.branch3.0.bn"] = bn_forward(a, p["inception3b.branch3.0.bn.weight"], p["inception3b.branch3.0.bn.bias"], b["inception3b.branch3.0.bn.running_mean"], b["inception3b.branch3.0.bn.running_var"], eps=0.001, training=training)
        a, saved["inception3b.branch3.0.relu1"] = relu_forward(a)

        # inception3b.branch3.1: cbr(c=96, k=3, p=1)
        a, saved["inception3b.branch3.1.conv"] = conv_forward(a, p["inception3b.branch3.1.conv.weight"], None, padding=((1, 1), (1, 1)))  # (N, 96, 28, 28)
        a, saved["inception3b.branch3.1.bn"] = bn_forward(a, p["inception3b.branch3.1.bn.weight"], p["inception3b.branch3.1.bn.bias"], b["inception3b.branch3.1.bn.running_mean"], b["inception3b.branch3.1.bn.running_var"], eps=0.001, training=training)
        a, saved["inception3b.branch3.1.relu1"] = relu_forward(a)

        # inception3b: inception(c1=128, c3r=128, c3=192, c5r=32, c5=96, cp=64)
        x, saved["inception3b.branch4.0"] = pool_forward(x, kernel_size=(3, 3), stride=(1, 1), padding=((1, 1), (1, 1)))

        # inception3b.branch4.1: cbr(c=64)
        x, saved["inception3b.branch4.1.conv"] = conv_forward(x, p["inception3b.branch4.1.conv.weight"], None)  # (N, 64, 28, 28)
        x, saved["inception3b.branch4.1.bn"] = bn_forward(x, p["inception3b.branch4.1.bn.weight"], p["inception3b.branch4.1.bn.bias"], b["inception3b.branch4.1.bn.running_mean"], b["inception3b.branch4.1.bn.running_var"], eps=0.001, training=training)
        x, saved["inception3b.branch4.1.relu1"] = relu_forward(x)

        # inception3b: inception(c1=128, c3r=128, c3=192, c5r=32, c5=96, cp=64)
        x, saved["inception3b.cat1"] = cat_forward(y, z, a, x)  # (N, 480, 28, 28)

        # the network itself
        x, saved["pool3"] = pool_forward(x, kernel_size=(3, 3), stride=(2, 2), padding=((0, 1), (0, 1)))  # (N, 480, 14, 14)

        # inception4a.branch1: cbr(c=192)
        y, saved["inception4a.branch1.conv"] = conv_forward(x, p["inception4a.branch1.conv.weight"], None)  # (N, 192, 14, 14)
        y, saved["inception4a.branch1.bn"] = bn_forward(y, p["inception4a.branch1.bn.weight"], p["inception4a.branch1.bn.bias"], b["inception4a.branch1.bn.running_mean"], b["inception4a.branch1.bn.running_var"], eps=0.001, training=training)
        y, saved["inception4a.branch1.relu1"] = relu_forward(y)

        # inception4a.branch2.0: cbr(c=96)
        z, saved["inception4a.branch2.0.conv"] = conv_forward(x, p["inception4a.branch2.0.conv.weight"], None)  # (N, 96, 14, 14)
        z, saved["inception4a.branch2.0.bn"] = bn_forward(z, p["inception4a.branch2.0.bn.weight"], p["inception4a.branch2.0.bn.bias"], b["inception4a.branch2.0.bn.running_mean"], b["inception4a.branch2.0.bn.running_var"], eps=0.001, training=training)
        z, saved["inception4a.branch2.0.relu1"] = relu_forward(z)

        # inception4a.branch2.1: cbr(c=208, k=3, p=1)
        z, saved["inception4a.branch2.1.conv"] = conv_forward(z, p["inception4a.branch2.1.conv.weight"], None, padding=((1, 1), (1, 1)))  # (N, 208, 14, 14)
        z, saved["inception4a.branch2.1.bn"] = bn_forward(z, p["inception4a.branch2.1.bn.weight"], p["inception4a.branch2.1.bn.bias"], b["inception4a.branch2.1.bn.running_mean"], b["inception4a.branch2.1.bn.running_var"], eps=0.001, training=training)
        z, saved["inception4a.branch2.1.relu1"] = relu_forward(z)

        # inception4a.branch3.0: cbr(c=16)
        a, saved["inception4a.branch3.0.conv"] = conv_forward(x, p["inception4a.branch3.0.conv.weight"], None)  # (N, 16, 14, 14)
        a, saved["inception4a.branch3.0.bn"] = bn_forward(a, p["inception4a.branch3.0.bn.weight"], p["inception4a.branch3.0.bn.bias"], b["inception4a.branch3.0.bn.running_mean"], b["inception4a.branch3.0.bn.running_var"], eps=0.001, training=training)
        a, saved["inception4a.branch3.0.relu1"] = relu_forward(a)

        # inception4a.branch3.1: cbr(c=48, k=3, p=1)
        a, saved["inception4a.branch3.1.conv"] = conv_forward(a, p["inception4a.branch3.1.conv.weight"], None, padding=((1, 1), (1, 1)))  # (N, 48, 14, 14)
        a, saved["inception4a.branch3.1.bn"] = bn_forward(a, p["inception4a.branch3.1.bn.weight"], p["inception4a.branch3.1.bn.bias"], b["inception4a.branch3.1.bn.running_mean"], b["inception4a.branch3.1.bn.running_var"], eps=0.001, training=training)
        a, saved["inception4a.branch3.1.relu1"] = relu_forward(a)

        # inception4a: inception(c1=192, c3r=96, c3=208, c5r=16, c5=48, cp=64)
        x, saved["inception4a.branch4.0"] = pool_forward(x, kernel_size=(3, 3), stride=(1, 1), padding=((1, 1), (1, 1)))

        # inception4a.branch4.1: cbr(c=64)
        x, saved["inception4a.branch4.1.conv"] = conv_forward(x, p["inception4a.branch4.1.conv.weight"], None)  # (N, 64, 14, 14)
        x, saved["inception4a.branch4.1.bn"] = bn_forward(x, p["inception4a.branch4.1.bn.weight"], p["inception4a.branch4.1.bn.bias"], b["inception4a.branch4.1.bn.running_mean"], b["inception4a.branch4.1.bn.running_var"], eps=0.001, training=training)
        x, saved["inception4a.branch4.1.relu1"] = relu_forward(x)

        # inception4a: inception(c1=192, c3r=96, c3=208, c5r=16, c5=48, cp=64)
        x, saved["inception4a.cat1"] = cat_forward(y, z, a, x)  # (N, 512, 14, 14)

        # inception4b.branch1: cbr(c=160)
        y, saved["inception4b.branch1.conv"] = conv_forward(x, p["inception4b.branch1.conv.weight"], None)  # (N, 160, 14, 14)
        y, saved["inception4b.branch1.bn"] = bn_forward(y, p["inception4b.branch1.bn.weight"], p["inception4b.branch1.bn.bias"], b["inception4b.branch1.bn.running_mean"], b["inception4b.branch1.bn.running_var"], eps=0.001, training=training)
        y, saved["inception4b.branch1.relu1"] = relu_forward(y)

        # inception4b.branch2.0: cbr(c=112)
        z, saved["inception4b.branch2.0.conv"] = conv_forward(x, p["inception4b.branch2.0.conv.weight"], None)  # (N, 112, 14, 14)
        z, saved["inception4b.branch2.0.bn"] = bn_forward(z, p["inception4b.branch2.0.bn.weight"], p["inception4b.branch2.0.bn.bias"], b["inception4b.branch2.0.bn.running_mean"], b["inception4b.branch2.0.bn.running_var"], eps=0.001, training=training)
        z, saved["inception4b.branch2.0.relu1"] = relu_forward(z)

        # inception4b.branch2.1: cbr(c=224, k=3, p=1)
        z, saved["inception4b.branch2.1.conv"] = conv_forward(z, p["inception4b.branch2.1.conv.weight"], None, padding=((1, 1), (1, 1)))  # (N, 224, 14, 14)
        z, saved["inception4b.branch2.1.bn"] = bn_forward(z, p["inception4b.branch2.1.bn.weight"], p["inception4b.branch2.1.bn.bias"], b["inception4b.branch2.1.bn.running_mean"], b["inception4b.branch2.1.bn.running_var"], eps=0.001, training=training)
        z, saved["inception4b.branch2.1.relu1"] = relu_forward(z)

        # inception4b.branch3.0: cbr(c=24)
        a, saved["inception4b.branch3.0.conv"] = conv_forward(x, p["inception4b.branch3.0.conv.weight"], None)  # (N, 24, 14, 14)
        a, saved["inception4b.branch3.0.bn"] = bn_forward(a, p["inception4b.branch3.0.bn.weight"], p["inception4b.branch3.0.bn.bias"], b["inception4b.branch3.0.bn.running_mean"], b["inception4b.branch3.0.bn.running_var"], eps=0.001, training=training)
        a, saved["inception4b.branch3.0.relu1"] = relu_forward(a)

        # inception4b.branch3.1: cbr(c=64, k=3, p=1)
        a, saved["inception4b.branch3.1.conv"] = conv_forward(a, p["inception4b.branch3.1.conv.weight"], None, padding=((1, 1), (1, 1)))  # (N, 64, 14, 14)
        a, saved["inception4b.branch3.1.bn"] = bn_forward(a, p["inception4b.branch3.1.bn.weight"], p["inception4b.branch3.1.bn.bias"], b["inception4b.branch3.1.bn.running_mean"], b["inception4b.branch3.1.bn.running_var"], eps=0.001, training=training)
        a, saved["inception4b.branch3.1.relu1"] = relu_forward(a)

        # inception4b: inception(c1=160, c3r=112, c3=224, c5r=24, c5=64, cp=64)
        x, saved["inception4b.branch4.0"] = pool_forward(x, kernel_size=(3, 3), stride=(1, 1), padding=((1, 1), (1, 1)))

        # inception4b.branch4.1: cbr(c=64)
        x, saved["inception4b.branch4.1.conv"] = conv_forward(x, p["inception4b.branch4.1.conv.weight"], None)  # (N, 64, 14, 14)
        x, saved["inception4b.branch4.1.bn"] = bn_forward(x, p["inception4b.branch4.1.bn.weight"], p["inception4b.branch4.1.bn.bias"], b["inception4b.branch4.1.bn.running_mean"], b["inception4b.branch4.1.bn.running_var"], eps=0.001, training=training)
        x, saved["inception4b.branch4.1.relu1"] = relu_forward(x)

        # inception4b: inception(c1=160, c3r=112, c3=224, c5r=24, c5=64, cp=64)
        x, saved["inception4b.cat1"] = cat_forward(y, z, a, x)  # (N, 512, 14, 14)

        # inception4c.branch1: cbr(c=128)
        y, saved["inception4c.branch1.conv"] = conv_forward(x, p["inception4c.branch1.conv.weight"], None)  # (N, 128, 14, 14)
        y, saved["inception4c.branch1.bn"] = bn_forward(y, p["inception4c.branch1.bn.weight"], p["inception4c.branch1.bn.bias"], b["inception4c.branch1.bn.running_mean"], b["inception4c.branch1.bn.running_var"], eps=0.001, training=training)
        y, saved["inception4c.branch1.relu1"] = relu_forward(y)

        # inception4c.branch2.0: cbr(c=128)
        z, saved["inception4c.branch2.0.conv"] = conv_forward(x, p["inception4c.branch2.0.conv.weight"], None)  # (N, 128, 14, 14)
        z, saved["inception4c.branch2.0.bn"] = bn_forward(z, p["inception4c.branch2.0.bn.weight"], p["inception4c.branch2.0.bn.bias"], b["inception4c.branch2.0.bn.running_mean"], b["inception4c.branch2.0.bn.running_var"], eps=0.001, training=training)
        z, saved["inception4c.branch2.0.relu1"] = relu_forward(z)

        # inception4c.branch2.1: cbr(c=256, k=3, p=1)
        z, saved["inception4c.branch2.1.conv"] = conv_forward(z, p["inception4c.branch2.1.conv.weight"], None, padding=((1, 1), (1, 1)))  # (N, 256, 14, 14)
        z, saved["inception4c.branch2.1.bn"] = bn_forward(z, p["inception4c.branch2.1.bn.weight"], p["inception4c.branch2.1.bn.bias"], b["inception4c.branch2.1.bn.running_mean"], b["inception4c.branch2.1.bn.running_var"], eps=0.001, training=training)
        z, saved["inception4c.branch2.1.relu1"] = relu_forward(z)

        # inception4c.branch3.0: cbr(c=24)
        a, saved["inception4c.branch3.0.conv"] = conv_forward(x, p["inception4c.branch3.0.conv.weight"], None)  # (N, 24, 14, 14)
        a, saved["inception4c.branch3.0.bn"] = bn_forward(a, p["inception4c.branch3.0.bn.weight"], p["inception4c.branch3.0.bn.bias"], b["inception4c.branch3.0.bn.running_mean"], b["inception4c.branch3.0.bn.running_var"], eps=0.001, training=training)
        a, saved["inception4c.branch3.0.relu1"] = relu_forward(a)

        # inception4c.branch3.1: cbr(c=64, k=3, p=1)
        a, saved["inception4c.branch3.1.conv"] = conv_forward(a, p["inception4c.branch3.1.conv.weight"], None, padding=((1, 1), (1, 1)))  # (N, 64, 14, 14)
        a, saved["inception4c.branch3.1.bn"] = bn_forward(a, p["inception4c.branch3.1.bn.weight"], p["inception4c.branch3.1.bn.bias"], b["inception4c.branch3.1.bn.running_mean"], b["inception4c.branch3.1.bn.running_var"], eps=0.001, training=training)
        a, saved["inception4c.branch3.1.relu1"] = relu_forward(a)

        # inception4c: inception(c1=128, c3r=128, c3=256, c5r=24, c5=64, cp=64)
        x, saved["inception4c.branch4.0"] = pool_forward(x, kernel_size=(3, 3), stride=(1, 1), padding=((1, 1), (1, 1)))

        # inception4c.branch4.1: cbr(c=64)
        x, saved["inception4c.branch4.1.conv"] = conv_forward(x, p["inception4c.branch4.1.conv.weight"], None)  # (N, 64, 14, 14)
        x, saved["inception4c.branch4.1.bn"] = bn_forward(x, p["inception4c.branch4.1.bn.weight"], p["inception4c.branch4.1.bn.bias"], b["inception4c.branch4.1.bn.running_mean"], b["inception4c.branch4.1.bn.running_var"], eps=0.001, training=training)
        x, saved["inception4c.branch4.1.relu1"] = relu_forward(x)

        # inception4c: inception(c1=128, c3r=128, c3=256, c5r=24, c5=64, cp=64)
        x, saved["inception4c.cat1"] = cat_forward(y, z, a, x)  # (N, 512, 14, 14)

        # inception4d.branch1: cbr(c=112)
        y, saved["inception4d.branch1.conv"] = conv_forward(x, p["inception4d.branch1.conv.weight"], None)  # (N, 112, 14, 14)
        y, saved["inception4d.branch1.bn"] = bn_forward(y, p["inception4d.branch1.bn.weight"], p["inception4d.branch1.bn.bias"], b["inception4d.branch1.bn.running_mean"], b["inception4d.branch1.bn.running_var"], eps=0.001, training=training)
        y, saved["inception4d.branch1.relu1"] = relu_forward(y)

        # inception4d.branch2.0: cbr(c=144)
        z, saved["inception4d.branch2.0.conv"] = conv_forward(x, p["inception4d.branch2.0.conv.weight"], None)  # (N, 144, 14, 14)
        z, saved["inception4d.branch2.0.bn"] = bn_forward(z, p["inception4d.branch2.0.bn.weight"], p["inception4d.branch2.0.bn.bias"], b["inception4d.branch2.0.bn.running_mean"], b["inception4d.branch2.0.bn.running_var"], eps=0.001, training=training)
        z, saved["inception4d.branch2.0.relu1"] = relu_forward(z)

        # inception4d.branch2.1: cbr(c=288, k=3, p=1)
        z, saved["inception4d.branch2.1.conv"] = conv_forward(z, p["inception4d.branch2.1.conv.weight"], None, padding=((1, 1), (1, 1)))  # (N, 288, 14, 14)
        z, saved["inception4d.branch2.1.bn"] = bn_forward(z, p["inception4d.branch2.1.bn.weight"], p["inception4d.branch2.1.bn.bias"], b["inception4d.branch2.1.bn.running_mean"], b["inception4d.branch2.1.bn.running_var"], eps=0.001, training=training)
        z, saved["inception4d.branch2.1.relu1"] = relu_forward(z)

        # inception4d.branch3.0: cbr(c=32)
        a, saved["inception4d.branch3.0.conv"] = conv_forward(x, p["inception4d.branch3.0.conv.weight"], None)  # (N, 32, 14, 14)
        a, saved["inception4d.branch3.0.bn"] = bn_forward(a, p["inception4d.branch3.0.bn.weight"], p["inception4d.branch3.0.bn.bias"], b["inception4d.branch3.0.bn.running_mean"], b["inception4d.branch3.0.bn.running_var"], eps=0.001, training=training)
        a, saved["inception4d.branch3.0.relu1"] = relu_forward(a)

        # inception4d.branch3.1: cbr(c=64, k=3, p=1)
        a, saved["inception4d.branch3.1.conv"] = conv_forward(a, p["inception4d.branch3.1.conv.weight"], None, padding=((1, 1), (1, 1)))  # (N, 64, 14, 14)
        a, saved["inception4d.branch3.1.bn"] = bn_forward(a, p["inception4d.branch3.1.bn.weight"], p["inception4d.branch3.1.bn.bias"], b["inception4d.branch3.1.bn.running_mean"], b["inception4d.branch3.1.bn.running_var"], eps=0.001, training=training)
        a, saved["inception4d.branch3.1.relu1"] = relu_forward(a)

        # inception4d: inception(c1=112, c3r=144, c3=288, c5r=32, c5=64, cp=64)
        x, saved["inception4d.branch4.0"] = pool_forward(x, kernel_size=(3, 3), stride=(1, 1), padding=((1, 1), (1, 1)))

        # inception4d.branch4.1: cbr(c=64)
        x, saved["inception4d.branch4.1.conv"] = conv_forward(x, p["inception4d.branch4.1.conv.weight"], None)  # (N, 64, 14, 14)
        x, saved["inception4d.branch4.1.bn"] = bn_forward(x, p["inception4d.branch4.1.bn.weight"], p["inception4d.branch4.1.bn.bias"], b["inception4d.branch4.1.bn.running_mean"], b["inception4d.branch4.1.bn.running_var"], eps=0.001, training=training)
        x, saved["inception4d.branch4.1.relu1"] = relu_forward(x)

        # inception4d: inception(c1=112, c3r=144, c3=288, c5r=32, c5=64, cp=64)
        x, saved["inception4d.cat1"] = cat_forward(y, z, a, x)  # (N, 528, 14, 14)

        # inception4e.branch1: cbr(c=256)
        y, saved["inception4e.branch1.conv"] = conv_forward(x, p["inception4e.branch1.conv.weight"], None)  # (N, 256, 14, 14)
        y, saved["inception4e.branch1.bn"] = bn_forward(y, p["inception4e.branch1.bn.weight"], p["inception4e.branch1.bn.bias"], b["inception4e.branch1.bn.running_mean"], b["inception4e.branch1.bn.running_var"], eps=0.001, training=training)
        y, saved["inception4e.branch1.relu1"] = relu_forward(y)

        # inception4e.branch2.0: cbr(c=160)
        z, saved["inception4e.branch2.0.conv"] = conv_forward(x, p["inception4e.branch2.0.conv.weight"], None)  # (N, 160, 14, 14)
        z, saved["inception4e.branch2.0.bn"] = bn_forward(z, p["inception4e.branch2.0.bn.weight"], p["inception4e.branch2.0.bn.bias"], b["inception4e.branch2.0.bn.running_mean"], b["inception4e.branch2.0.bn.running_var"], eps=0.001, training=training)
        z, saved["inception4e.branch2.0.relu1"] = relu_forward(z)

        # inception4e.branch2.1: cbr(c=320, k=3, p=1)
        z, saved["inception4e.branch2.1.conv"] = conv_forward(z, p["inception4e.branch2.1.conv.weight"], None, padding=((1, 1), (1, 1)))  # (N, 320, 14, 14)
        z, saved["inception4e.branch2.1.bn"] = bn_forward(z, p["inception4e.branch2.1.bn.weight"], p["inception4e.branch2.1.bn.bias"], b["inception4e.branch2.1.bn.running_mean"], b["inception4e.branch2.1.bn.running_var"], eps=0.001, training=training)
        z, saved["inception4e.branch2.1.relu1"] = relu_forward(z)

        # inception4e.branch3.0: cbr(c=32)
        a, saved["inception4e.branch3.0.conv"] = conv_forward(x, p["inception4e.branch3.0.conv.weight"], None)  # (N, 32, 14, 14)
        a, saved["inception4e.branch3.0.bn"] = bn_forward(a, p["inception4e.branch3.0.bn.weight"], p["inception4e.branch3.0.bn.bias"], b["inception4e.branch3.0.bn.running_mean"], b["inception4e.branch3.0.bn.running_var"], eps=0.001, training=training)
        a, saved["inception4e.branch3.0.relu1"] = relu_forward(a)

        # inception4e.branch3.1: cbr(c=128, k=3, p=1)
        a, saved["inception4e.branch3.1.conv"] = conv_forward(a, p["inception4e.branch3.1.conv.weight"], None, padding=((1, 1), (1, 1)))  # (N, 128, 14, 14)
        a, saved["inception4e.branch3.1.bn"] = bn_forward(a, p["inception4e.branch3.1.bn.weight"], p["inception4e.branch3.1.bn.bias"], b["inception4e.branch3.1.bn.running_mean"], b["inception4e.branch3.1.bn.running_var"], eps=0.001, training=training)
        a, saved["inception4e.branch3.1.relu1"] = relu_forward(a)

        # inception4e: inception(c1=256, c3r=160, c3=320, c5r=32, c5=128, cp=128)
        x, saved["inception4e.branch4.0"] = pool_forward(x, kernel_size=(3, 3), stride=(1, 1), padding=((1, 1), (1, 1)))

        # inception4e.branch4.1: cbr(c=128)
        x, saved["inception4e.branch4.1.conv"] = conv_forward(x, p["inception4e.branch4.1.conv.weight"], None)  # (N, 128, 14, 14)
        x, saved["inception4e.branch4.1.bn"] = bn_forward(x, p["inception4e.branch4.1.bn.weight"], p["inception4e.branch4.1.bn.bias"], b["inception4e.branch4.1.bn.running_mean"], b["inception4e.branch4.1.bn.running_var"], eps=0.001, training=training)
        x, saved["inception4e.branch4.1.relu1"] = relu_forward(x)

        # inception4e: inception(c1=256, c3r=160, c3=320, c5r=32, c5=128, cp=128)
        x, saved["inception4e.cat1"] = cat_forward(y, z, a, x)  # (N, 832, 14, 14)

        # the network itself
        x, saved["pool4"] = pool_forward(x, kernel_size=(2, 2), stride=(2, 2))  # (N, 832, 7, 7)

        # inception5a.branch1: cbr(c=256)
        y, saved["inception5a.branch1.conv"] = conv_forward(x, p["inception5a.branch1.conv.weight"], None)  # (N, 256, 7, 7)
        y, saved["inception5a.branch1.bn"] = bn_forward(y, p["inception5a.branch1.bn.weight"], p["inception5a.branch1.bn.bias"], b["inception5a.branch1.bn.running_mean"], b["inception5a.branch1.bn.running_var"], eps=0.001, training=training)
        y, saved["inception5a.branch1.relu1"] = relu_forward(y)

        # inception5a.branch2.0: cbr(c=160)
        z, saved["inception5a.branch2.0.conv"] = conv_forward(x, p["inception5a.branch2.0.conv.weight"], None)  # (N, 160, 7, 7)
        z, saved["inception5a.branch2.0.bn"] = bn_forward(z, p["inception5a.branch2.0.bn.weight"], p["inception5a.branch2.0.bn.bias"], b["inception5a.branch2.0.bn.running_mean"], b["inception5a.branch2.0.bn.running_var"], eps=0.001, training=training)
        z, saved["inception5a.branch2.0.relu1"] = relu_forward(z)

        # inception5a.branch2.1: cbr(c=320, k=3, p=1)
        z, saved["inception5a.branch2.1.conv"] = conv_forward(z, p["inception5a.branch2.1.conv.weight"], None, padding=((1, 1), (1, 1)))  # (N, 320, 7, 7)
        z, saved["inception5a.branch2.1.bn"] = bn_forward(z, p["inception5a.branch2.1.bn.weight"], p["inception5a.branch2.1.bn.bias"], b["inception5a.branch2.1.bn.running_mean"], b["inception5a.branch2.1.bn.running_var"], eps=0.001, training=training)
        z, saved["inception5a.branch2.1.relu1"] = relu_forward(z)

        # inception5a.branch3.0: cbr(c=32)
        a, saved["inception5a.branch3.0.conv"] = conv_forward(x, p["inception5a.branch3.0.conv.weight"], None)  # (N, 32, 7, 7)
        a, saved["inception5a.branch3.0.bn"] = bn_forward(a, p["inception5a.branch3.0.bn.weight"], p["inception5a.branch3.0.bn.bias"], b["inception5a.branch3.0.bn.running_mean"], b["inception5a.branch3.0.bn.running_var"], eps=0.001, training=training)
        a, saved["inception5a.branch3.0.relu1"] = relu_forward(a)

        # inception5a.branch3.1: cbr(c=128, k=3, p=1)
        a, saved["inception5a.branch3.1.conv"] = conv_forward(a, p["inception5a.branch3.1.conv.weight"], None, padding=((1, 1), (1, 1)))  # (N, 128, 7, 7)
        a, saved["inception5a.branch3.1.bn"] = bn_forward(a, p["inception5a.branch3.1.bn.weight"], p["inception5a.branch3.1.bn.bias"], b["inception5a.branch3.1.bn.running_mean"], b["inception5a.branch3.1.bn.running_var"], eps=0.001, training=training)
        a, saved["inception5a.branch3.1.relu1"] = relu_forward(a)

        # inception5a: inception(c1=256, c3r=160, c3=320, c5r=32, c5=128, cp=128)
        x, saved["inception5a.branch4.0"] = pool_forward(x, kernel_size=(3, 3), stride=(1, 1), padding=((1, 1), (1, 1)))

        # inception5a.branch4.1: cbr(c=128)
        x, saved["inception5a.branch4.1.conv"] = conv_forward(x, p["inception5a.branch4.1.conv.weight"], None)  # (N, 128, 7, 7)
        x, saved["inception5a.branch4.1.bn"] = bn_forward(x, p["inception5a.branch4.1.bn.weight"], p["inception5a.branch4.1.bn.bias"], b["inception5a.branch4.1.bn.running_mean"], b["inception5a.branch4.1.bn.running_var"], eps=0.001, training=training)
        x, saved["inception5a.branch4.1.relu1"] = relu_forward(x)

        # inception5a: inception(c1=256, c3r=160, c3=320, c5r=32, c5=128, cp=128)
        x, saved["inception5a.cat1"] = cat_forward(y, z, a, x)  # (N, 832, 7, 7)

        # inception5b.branch1: cbr(c=384)
        y, saved["inception5b.branch1.conv"] = conv_forward(x, p["inception5b.branch1.conv.weight"], None)  # (N, 384, 7, 7)
        y, saved["inception5b.branch1.bn"] = bn_forward(y, p["inception5b.branch1.bn.weight"], p["inception5b.branch1.bn.bias"], b["inception5b.branch1.bn.running_mean"], b["inception5b.branch1.bn.running_var"], eps=0.001, training=training)
        y, saved["inception5b.branch1.relu1"] = relu_forward(y)

        # inception5b.branch2.0: cbr(c=192)
        z, saved["inception5b.branch2.0.conv"] = conv_forward(x, p["inception5b.branch2.0.conv.weight"], None)  # (N, 192, 7, 7)
        z, saved["inception5b.branch2.0.bn"] = bn_forward(z, p["inception5b.branch2.0.bn.weight"], p["inception5b.branch2.0.bn.bias"], b["inception5b.branch2.0.bn.running_mean"], b["inception5b.branch2.0.bn.running_var"], eps=0.001, training=training)
        z, saved["inception5b.branch2.0.relu1"] = relu_forward(z)

        # inception5b.branch2.1: cbr(c=384, k=3, p=1)
        z, saved["inception5b.branch2.1.conv"] = conv_forward(z, p["inception5b.branch2.1.conv.weight"], None, padding=((1, 1), (1, 1)))  # (N, 384, 7, 7)
        z, saved["inception5b.branch2.1.bn"] = bn_forward(z, p["inception5b.branch2.1.bn.weight"], p["inception5b.branch2.1.bn.bias"], b["inception5b.branch2.1.bn.running_mean"], b["inception5b.branch2.1.bn.running_var"], eps=0.001, training=training)
        z, saved["inception5b.branch2.1.relu1"] = relu_forward(z)

        # inception5b.branch3.0: cbr(c=48)
        a, saved["inception5b.branch3.0.conv"] = conv_forward(x, p["inception5b.branch3.0.conv.weight"], None)  # (N, 48, 7, 7)
        a, saved["inception5b.branch3.0.bn"] = bn_forward(a, p["inception5b.branch3.0.bn.weight"], p["inception5b.branch3.0.bn.bias"], b["inception5b.branch3.0.bn.running_mean"], b["inception5b.branch3.0.bn.running_var"], eps=0.001, training=training)
        a, saved["inception5b.branch3.0.relu1"] = relu_forward(a)

        # inception5b.branch3.1: cbr(c=128, k=3, p=1)
        a, saved["inception5b.branch3.1.conv"] = conv_forward(a, p["inception5b.branch3.1.conv.weight"], None, padding=((1, 1), (1, 1)))  # (N, 128, 7, 7)
        a, saved["inception5b.branch3.1.bn"] = bn_forward(a, p["inception5b.branch3.1.bn.weight"], p["inception5b.branch3.1.bn.bias"], b["inception5b.branch3.1.bn.running_mean"], b["inception5b.branch3.1.bn.running_var"], eps=0.001, training=training)
        a, saved["inception5b.branch3.1.relu1"] = relu_forward(a)

        # inception5b: inception(c1=384, c3r=192, c3=384, c5r=48, c5=128, cp=128)
        x, saved["inception5b.branch4.0"] = pool_forward(x, kernel_size=(3, 3), stride=(1, 1), padding=((1, 1), (1, 1)))

        # inception5b.branch4.1: cbr(c=128)
        x, saved["inception5b.branch4.1.conv"] = conv_forward(x, p["inception5b.branch4.1.conv.weight"], None)  # (N, 128, 7, 7)
        x, saved["inception5b.branch4.1.bn"] = bn_forward(x, p["inception5b.branch4.1.bn.weight"], p["inception5b.branch4.1.bn.bias"], b["inception5b.branch4.1.bn.running_mean"], b["inception5b.branch4.1.bn.running_var"], eps=0.001, training=training)
        x, saved["inception5b.branch4.1.relu1"] = relu_forward(x)

        # inception5b: inception(c1=384, c3r=192, c3=384, c5r=48, c5=128, cp=128)
        x, saved["inception5b.cat1"] = cat_forward(y, z, a, x)  # (N, 1024, 7, 7)

        # the network itself
        x, saved["gap1"] = gap_forward(x)  # (N, 1024)
        x, saved["dropout1"] = dropout_forward(x, p=0.2, training=training, rng=self.rng)
        x, saved["fc"] = linear_forward(x, p["fc.weight"], p["fc.bias"])  # (N, 1000)
        return x

    def logits(self, x, training=False):
        """What the loss reads: the output."""
        return self.forward(x, training)

    def backward(self, dy):
        """The gradient by the logits -> dx, {param name: gradient}, for the last batch."""
        saved, grads = self.saved, {}
        dy, grads["fc"] = linear_backward(dy, saved["fc"])  # (N, 1024)
        dy, _ = dropout_backward(dy, saved["dropout1"])
        dy, _ = gap_backward(dy, saved["gap1"])  # (N, 1024, 7, 7)

        # inception5b
        (dy, dz, da, dc), _ = cat_backward(dy, saved["inception5b.cat1"])

        # inception5b.branch4.1
        dc, _ = relu_backward(dc, saved["inception5b.branch4.1.relu1"])
        dc, grads["inception5b.branch4.1.bn"] = bn_backward(dc, saved["inception5b.branch4.1.bn"])
        dc, grads["inception5b.branch4.1.conv"] = conv_backward(dc, saved["inception5b.branch4.1.conv"])  # (N, 832, 7, 7)

        # inception5b
        dc, _ = pool_backward(dc, saved["inception5b.branch4.0"])

        # inception5b.branch3.1
        da, _ = relu_backward(da, saved["inception5b.branch3.1.relu1"])
        da, grads["inception5b.branch3.1.bn"] = bn_backward(da, saved["inception5b.branch3.1.bn"])
        da, grads["inception5b.branch3.1.conv"] = conv_backward(da, saved["inception5b.branch3.1.conv"])  # (N, 48, 7, 7)

        # inception5b.branch3.0
        da, _ = relu_backward(da, saved["inception5b.branch3.0.relu1"])
        da, grads["inception5b.branch3.0.bn"] = bn_backward(da, saved["inception5b.branch3.0.bn"])
        da, grads["inception5b.branch3.0.conv"] = conv_backward(da, saved["inception5b.branch3.0.conv"])  # (N, 832, 7, 7)
        dc = dc + da

        # inception5b.branch2.1
        dz, _ = relu_backward(dz, saved["inception5b.branch2.1.relu1"])
        dz, grads["inception5b.branch2.1.bn"] = bn_backward(dz, saved["inception5b.branch2.1.bn"])
        dz, grads["inception5b.branch2.1.conv"] = conv_backward(dz, saved["inception5b.branch2.1.conv"])  # (N, 192, 7, 7)

        # inception5b.branch2.0
        dz, _ = relu_backward(dz, saved["inception5b.branch2.0.relu1"])
        dz, grads["inception5b.branch2.0.bn"] = bn_backward(dz, saved["inception5b.branch2.0.bn"])
        dz, grads["inception5b.branch2.0.conv"] = conv_backward(dz, saved["inception5b.branch2.0.conv"])  # (N, 832, 7, 7)
        dc = dc + dz

        # inception5b.branch1
        dy, _ = relu_backward(dy, saved["inception5b.branch1.relu1"])
        dy, grads["inception5b.branch1.bn"] = bn_backward(dy, saved["inception5b.branch1.bn"])
        dy, grads["inception5b.branch1.conv"] = conv_backward(dy, saved["inception5b.branch1.conv"])  # (N, 832, 7, 7)
        dc = dc + dy

        # inception5a
        (dy, dz, da, dc), _ = cat_backward(dc, saved["inception5a.cat1"])

        # inception5a.branch4.1
        dc, _ = relu_backward(dc, saved["inception5a.branch4.1.relu1"])
        dc, grads["inception5a.branch4.1.bn"] = bn_backward(dc, saved["inception5a.branch4.1.bn"])
        dc, grads["inception5a.branch4.1.conv"] = conv_backward(dc, saved["inception5a.branch4.1.conv"])  # (N, 832, 7, 7)

        # inception5a
        dc, _ = pool_backward(dc, saved["inception5a.branch4.0"])

        # inception5a.branch3.1
        da, _ = relu_backward(da, saved["inception5a.branch3.1.relu1"])
        da, grads["inception5a.branch3.1.bn"] = bn_backward(da, saved["inception5a.branch3.1.bn"])
        da, grads["inception5a.branch3.1.conv"] = conv_backward(da, saved["inception5a.branch3.1.conv"])  # (N, 32, 7, 7)

        # inception5a.branch3.0
        da, _ = relu_backward(da, saved["inception5a.branch3.0.relu1"])
        da, grads["inception5a.branch3.0.bn"] = bn_backward(da, saved["inception5a.branch3.0.bn"])
        da, grads["inception5a.branch3.0.conv"] = conv_backward(da, saved["inception5a.branch3.0.conv"])  # (N, 832, 7, 7)
        dc = dc + da

        # inception5a.branch2.1
        dz, _ = relu_backward(dz, saved["inception5a.branch2.1.relu1"])
        dz, grads["inception5a.branch2.1.bn"] = bn_backward(dz, saved["inception5a.branch2.1.bn"])
        dz, grads["inception5a.branch2.1.conv"] = conv_backward(dz, saved["inception5a.branch2.1.conv"])  # (N, 160, 7, 7)

        # inception5a.branch2.0
        dz, _ = relu_backward(dz, saved["inception5a.branch2.0.relu1"])
        dz, grads["inception5a.branch2.0.bn"] = bn_backward(dz, saved["inception5a.branch2.0.bn"])
        dz, grads["inception5a.branch2.0.conv"] = conv_backward(dz, saved["inception5a.branch2.0.conv"])  # (N, 832, 7, 7)
        dc = dc + dz

        # inception5a.branch1
        dy, _ = relu_backward(dy, saved["inception5a.branch1.relu1"])
        dy, grads["inception5a.branch1.bn"] = bn_backward(dy, saved["inception5a.branch1.bn"])
        dy, grads["inception5a.branch1.conv"] = conv_backward(dy, saved["inception5a.branch1.conv"])  # (N, 832, 7, 7)
        dc = dc + dy

        # the network itself
        dy, _ = pool_backward(dc, saved["pool4"])  # (N, 832, 14, 14)

        # inception4e
        (dy, dz, da, dc), _ = cat_backward(dy, saved["inception4e.cat1"])

        # inception4e.branch4.1
        dc, _ = relu_backward(dc, saved["inception4e.branch4.1.relu1"])
        dc, grads["inception4e.branch4.1.bn"] = bn_backward(dc, saved["inception4e.branch4.1.bn"])
        dc, grads["inception4e.branch4.1.conv"] = conv_backward(dc, saved["inception4e.branch4.1.conv"])  # (N, 528, 14, 14)

        # inception4e
        dc, _ = pool_backward(dc, saved["inception4e.branch4.0"])

        # inception4e.branch3.1
        da, _ = relu_backward(da, saved["inception4e.branch3.1.relu1"])
        da, grads["inception4e.branch3.1.bn"] = bn_backward(da, saved["inception4e.branch3.1.bn"])
        da, grads["inception4e.branch3.1.conv"] = conv_backward(da, saved["inception4e.branch3.1.conv"])  # (N, 32, 14, 14)

        # inception4e.branch3.0
        da, _ = relu_backward(da, saved["inception4e.branch3.0.relu1"])
        da, grads["inception4e.branch3.0.bn"] = bn_backward(da, saved["inception4e.branch3.0.bn"])
        da, grads["inception4e.branch3.0.conv"] = conv_backward(da, saved["inception4e.branch3.0.conv"])  # (N, 528, 14, 14)
        dc = dc + da

        # inception4e.branch2.1
        dz, _ = relu_backward(dz, saved["inception4e.branch2.1.relu1"])
        dz, grads["inception4e.branch2.1.bn"] = bn_backward(dz, saved["inception4e.branch2.1.bn"])
        dz, grads["inception4e.branch2.1.conv"] = conv_backward(dz, saved["inception4e.branch2.1.conv"])  # (N, 160, 14, 14)

        # inception4e.branch2.0
        dz, _ = relu_backward(dz, saved["inception4e.branch2.0.relu1"])
        dz, grads["inception4e.branch2.0.bn"] = bn_backward(dz, saved["inception4e.branch2.0.bn"])
        dz, grads["inception4e.branch2.0.conv"] = conv_backward(dz, saved["inception4e.branch2.0.conv"])  # (N, 528, 14, 14)
        dc = dc + dz

        # inception4e.branch1
        dy, _ = relu_backward(dy, saved["inception4e.branch1.relu1"])
        dy, grads["inception4e.branch1.bn"] = bn_backward(dy, saved["inception4e.branch1.bn"])
        dy, grads["inception4e.branch1.conv"] = conv_backward(dy, saved["inception4e.branch1.conv"])  # (N, 528, 14, 14)
        dc = dc + dy

        # inception4d
        (dy, dz, da, dc), _ = cat_backward(dc, saved["inception4d.cat1"])

        # inception4d.branch4.1
        dc, _ = relu_backward(dc, saved["inception4d.branch4.1.relu1"])
        dc, grads["inception4d.branch4.1.bn"] = bn_backward(dc, saved["inception4d.branch4.1.bn"])
        dc, grads["inception4d.branch4.1.conv"] = conv_backward(dc, saved["inception4d.branch4.1.conv"])  # (N, 512, 14, 14)

        # inception4d
        dc, _ = pool_backward(dc, saved["inception4d.branch4.0"])

        # inception4d.branch3.1
        da, _ = relu_backward(da, saved["inception4d.branch3.1.relu1"])
        da, grads["inception4d.branch3.1.bn"] = bn_backward(da, saved["inception4d.branch3.1.bn"])
        da, grads["inception4d.branch3.1.conv"] = conv_backward(da, saved["inception4d.branch3.1.conv"])  # (N, 32, 14, 14)

        # inception4d.branch3.0
        da, _ = relu_backward(da, saved["inception4d.branch3.0.relu1"])
        da, grads["inception4d.branch3.0.bn"] = bn_backward(da, saved["inception4d.branch3.0.bn"])
        da, grads["inception4d.branch3.0.conv"] = conv_backward(da, saved["inception4d.branch3.0.conv"])  # (N, 512, 14, 14)
        dc = dc + da

        # inception4d.branch2.1
        dz, _ = relu_backward(dz, saved["inception4d.branch2.1.relu1"])
        dz, grads["inception4d.branch2.1.bn"] = bn_backward(dz, saved["inception4d.branch2.1.bn"])
        dz, grads["inception4d.branch2.1.conv"] = conv_backward(dz, saved["inception4d.branch2.1.conv"])  # (N, 144, 14, 14)

        # inception4d.branch2.0
        dz, _ = relu_backward(dz, saved["inception4d.branch2.0.relu1"])
        dz, grads["inception4d.branch2.0.bn"] = bn_backward(dz, saved["inception4d.branch2.0.bn"])
        dz, grads["inception4d.branch2.0.conv"] = conv_backward(dz, saved["inception4d.branch2.0.conv"])  # (N, 512, 14, 14)
        dc = dc + dz

        # inception4d.branch1
        dy, _ = relu_backward(dy, saved["inception4d.branch1.relu1"])
        dy, grads["inception4d.branch1.bn"] = bn_backward(dy, saved["inception4d.branch1.bn"])
        dy, grads["inception4d.branch1.conv"] = conv_backward(dy, saved["inception4d.branch1.conv"])  # (N, 512, 14, 14)
        dc = dc + dy

        # inception4c
        (dy, dz, da, dc), _ = cat_backward(dc, saved["inception4c.cat1"])

        # inception4c.branch4.1
        dc, _ = relu_backward(dc, saved["inception4c.branch4.1.relu1"])
        dc, grads["inception4c.branch4.1.bn"] = bn_backward(dc, saved["inception4c.branch4.1.bn"])
        dc, grads["inception4c.branch4.1.conv"] = conv_backward(dc, saved["inception4c.branch4.1.conv"])  # (N, 512, 14, 14)

        # inception4c
        dc, _ = pool_backward(dc, saved["inception4c.branch4.0"])

        # inception4c.branch3.1
        da, _ = relu_backward(da, saved["inception4c.branch3.1.relu1"])
        da, grads["inception4c.branch3.1.bn"] = bn_backward(da, saved["inception4c.branch3.1.bn"])
        da, grads["inception4c.branch3.1.conv"] = conv_backward(da, saved["inception4c.branch3.1.conv"])  # (N, 24, 14, 14)

        # inception4c.branch3.0
        da, _ = relu_backward(da, saved["inception4c.branch3.0.relu1"])
        da, grads["inception4c.branch3.0.bn"] = bn_backward(da, saved["inception4c.branch3.0.bn"])
        da, grads["inception4c.branch3.0.conv"] = conv_backward(da, saved["inception4c.branch3.0.conv"])  # (N, 512, 14, 14)
        dc = dc + da

        # inception4c.branch2.1
        dz, _ = relu_backward(dz, saved["inception4c.branch2.1.relu1"])
        dz, grads["inception4c.branch2.1.bn"] = bn_backward(dz, saved["inception4c.branch2.1.bn"])
        dz, grads["inception4c.branch2.1.conv"] = conv_backward(dz, saved["inception4c.branch2.1.conv"])  # (N, 128, 14, 14)

        # inception4c.branch2.0
        dz, _ = relu_backward(dz, saved["inception4c.branch2.0.relu1"])
        dz, grads["inception4c.branch2.0.bn"] = bn_backward(dz, saved["inception4c.branch2.0.bn"])
        dz, grads["inception4c.branch2.0.conv"] = conv_backward(dz, saved["inception4c.branch2.0.conv"])  # (N, 512, 14, 14)
        dc = dc + dz

        # inception4c.branch1
        dy, _ = relu_backward(dy, saved["inception4c.branch1.relu1"])
        dy, grads["inception4c.branch1.bn"] = bn_backward(dy, saved["inception4c.branch1.bn"])
        dy, grads["inception4c.branch1.conv"] = conv_backward(dy, saved["inception4c.branch1.conv"])  # (N, 512, 14, 14)
        dc = dc + dy

        # inception4b
        (dy, dz, da, dc), _ = cat_backward(dc, saved["inception4b.cat1"])

        # inception4b.branch4.1
        dc, _ = relu_backward(dc, saved["inception4b.branch4.1.relu1"])
        dc, grads["inception4b.branch4.1.bn"] = bn_backward(dc, saved["inception4b.branch4.1.bn"])
        dc, grads["inception4b.branch4.1.conv"] = conv_backward(dc, saved["inception4b.branch4.1.conv"])  # (N, 512, 14, 14)

        # inception4b
        dc, _ = pool_backward(dc, saved["inception4b.branch4.0"])

        # inception4b.branch3.1
        da, _ = relu_backward(da, saved["inception4b.branch3.1.relu1"])
        da, grads["inception4b.branch3.1.bn"] = bn_backward(da, saved["inception4b.branch3.1.bn"])
        da, grads["inception4b.branch3.1.conv"] = conv_backward(da, saved["inception4b.branch3.1.conv"])  # (N, 24, 14, 14)

        # inception4b.branch3.0
        da, _ = relu_backward(da, saved["inception4b.branch3.0.relu1"])
        da, grads["inception4b.branch3.0.bn"] = bn_backward(da, saved["inception4b.branch3.0.bn"])
        da, grads["inception4b.branch3.0.conv"] = conv_backward(da, saved["inception4b.branch3.0.conv"])  # (N, 512, 14, 14)
        dc = dc + da

        # inception4b.branch2.1
        dz, _ = relu_backward(dz, saved["inception4b.branch2.1.relu1"])
        dz, grads["inception4b.branch2.1.bn"] = bn_backward(dz, saved["inception4b.branch2.1.bn"])
        dz, grads["inception4b.branch2.1.conv"] = conv_backward(dz, saved["inception4b.branch2.1.conv"])  # (N, 112, 14, 14)

        # inception4b.branch2.0
        dz, _ = relu_backward(dz, saved["inception4b.branch2.0.relu1"])
        dz, grads["inception4b.branch2.0.bn"] = bn_backward(dz, saved["inception4b.branch2.0.bn"])
        dz, grads["inception4b.branch2.0.conv"] = conv_backward(dz, saved["inception4b.branch2.0.conv"])  # (N, 512, 14, 14)
        dc = dc + dz

        # inception4b.branch1
        dy, _ = relu_backward(dy, saved["inception4b.branch1.relu1"])
        dy, grads["inception4b.branch1.bn"] = bn_backward(dy, saved["inception4b.branch1.bn"])
        dy, grads["inception4b.branch1.conv"] = conv_backward(dy, saved["inception4b.branch1.conv"])  # (N, 512, 14, 14)
        dc = dc + dy

        # inception4a
        (dy, dz, da, dc), _ = cat_backward(dc, saved["inception4a.cat1"])

        # inception4a.branch4.1
        dc, _ = relu_backward(dc, saved["inception4a.branch4.1.relu1"])
        dc, grads["inception4a.branch4.1.bn"] = bn_backward(dc, saved["inception4a.branch4.1.bn"])
        dc, grads["inception4a.branch4.1.conv"] = conv_backward(dc, saved["inception4a.branch4.1.conv"])  # (N, 480, 14, 14)

        # inception4a
        dc, _ = pool_backward(dc, saved["inception4a.branch4.0"])

        # inception4a.branch3.1
        da, _ = relu_backward(da, saved["inception4a.branch3.1.relu1"])
        da, grads["inception4a.branch3.1.bn"] = bn_backward(da, saved["inception4a.branch3.1.bn"])
        da, grads["inception4a.branch3.1.conv"] = conv_backward(da, saved["inception4a.branch3.1.conv"])  # (N, 16, 14, 14)

        # inception4a.branch3.0
        da, _ = relu_backward(da, saved["inception4a.branch3.0.relu1"])
        da, grads["inception4a.branch3.0.bn"] = bn_backward(da, saved["inception4a.branch3.0.bn"])
        da, grads["inception4a.branch3.0.conv"] = conv_backward(da, saved["inception4a.branch3.0.conv"])  # (N, 480, 14, 14)
        dc = dc + da

        # inception4a.branch2.1
        dz, _ = relu_backward(dz, saved["inception4a.branch2.1.relu1"])
        dz, grads["inception4a.branch2.1.bn"] = bn_backward(dz, saved["inception4a.branch2.1.bn"])
        dz, grads["inception4a.branch2.1.conv"] = conv_backward(dz, saved["inception4a.branch2.1.conv"])  # (N, 96, 14, 14)

        # inception4a.branch2.0
        dz, _ = relu_backward(dz, saved["inception4a.branch2.0.relu1"])
        dz, grads["inception4a.branch2.0.bn"] = bn_backward(dz, saved["inception4a.branch2.0.bn"])
        dz, grads["inception4a.branch2.0.conv"] = conv_backward(dz, saved["inception4a.branch2.0.conv"])  # (N, 480, 14, 14)
        dc = dc + dz

        # inception4a.branch1
        dy, _ = relu_backward(dy, saved["inception4a.branch1.relu1"])
        dy, grads["inception4a.branch1.bn"] = bn_backward(dy, saved["inception4a.branch1.bn"])
        dy, grads["inception4a.branch1.conv"] = conv_backward(dy, saved["inception4a.branch1.conv"])  # (N, 480, 14, 14)
        dc = dc + dy

        # the network itself
        dy, _ = pool_backward(dc, saved["pool3"])  # (N, 480, 28, 28)

        # inception3b
        (dy, dz, da, dc), _ = cat_backward(dy, saved["inception3b.cat1"])

        # inception3b.branch4.1
        dc, _ = relu_backward(dc, saved["inception3b.branch4.1.relu1"])
        dc, grads["inception3b.branch4.1.bn"] = bn_backward(dc, saved["inception3b.branch4.1.bn"])
        dc, grads["inception3b.branch4.1.conv"] = conv_backward(dc, saved["inception3b.branch4.1.conv"])  # (N, 256, 28, 28)

        # inception3b
        dc, _ = pool_backward(dc, saved["inception3b.branch4.0"])

        # inception3b.branch3.1
        da, _ = relu_backward(da, saved["inception3b.branch3.1.relu1"])
        da, grads["inception3b.branch3.1.bn"] = bn_backward(da, saved["inception3b.branch3.1.bn"])
        da, grads["inception3b.branch3.1.conv"] = conv_backward(da, saved["inception3b.branch3.1.conv"])  # (N, 32, 28, 28)

        # inception3b.branch3.0
        da, _ = relu_backward(da, saved["inception3b.branch3.0.relu1"])
        da, grads["inception3b.branch3.0.bn"] = bn_backward(da, saved["inception3b.branch3.0.bn"])
        da, grads["inception3b.branch3.0.conv"] = conv_backward(da, saved["inception3b.branch3.0.conv"])  # (N, 256, 28, 28)
        dc = dc + da

        # inception3b.branch2.1
        dz, _ = relu_backward(dz, saved["inception3b.branch2.1.relu1"])
        dz, grads["inception3b.branch2.1.bn"] = bn_backward(dz, saved["inception3b.branch2.1.bn"])
        dz, grads["inception3b.branch2.1.conv"] = conv_backward(dz, saved["inception3b.branch2.1.conv"])  # (N, 128, 28, 28)

        # inception3b.branch2.0
        dz, _ = relu_backward(dz, saved["inception3b.branch2.0.relu1"])
        dz, grads["inception3b.branch2.0.bn"] = bn_backward(dz, saved["inception3b.branch2.0.bn"])
        dz, grads["inception3b.branch2.0.conv"] = conv_backward(dz, saved["inception3b.branch2.0.conv"])  # (N, 256, 28, 28)
        dc = dc + dz

        # inception3b.branch1
        dy, _ = relu_backward(dy, saved["inception3b.branch1.relu1"])
        dy, grads["inception3b.branch1.bn"] = bn_backward(dy, saved["inception3b.branch1.bn"])
        dy, grads["inception3b.branch1.conv"] = conv_backward(dy, saved["inception3b.branch1.conv"])  # (N, 256, 28, 28)
        dc = dc + dy

        # inception3a
        (dy, dz, da, dc), _ = cat_backward(dc, saved["inception3a.cat1"])

        # inception3a.branch4.1
        dc, _ = relu_backward(dc, saved["inception3a.branch4.1.relu1"])
        dc, grads["inception3a.branch4.1.bn"] = bn_backward(dc, saved["inception3a.branch4.1.bn"])
        dc, grads["inception3a.branch4.1.conv"] = conv_backward(dc, saved["inception3a.branch4.1.conv"])  # (N, 192, 28, 28)

        # inception3a
        dc, _ = pool_backward(dc, saved["inception3a.branch4.0"])

        # inception3a.branch3.1
        da, _ = relu_backward(da, saved["inception3a.branch3.1.relu1"])
        da, grads["inception3a.branch3.1.bn"] = bn_backward(da, saved["inception3a.branch3.1.bn"])
        da, grads["inception3a.branch3.1.conv"] = conv_backward(da, saved["inception3a.branch3.1.conv"])  # (N, 16, 28, 28)

        # inception3a.branch3.0
        da, _ = relu_backward(da, saved["inception3a.branch3.0.relu1"])
        da, grads["inception3a.branch3.0.bn"] = bn_backward(da, saved["inception3a.branch3.0.bn"])
        da, grads["inception3a.branch3.0.conv"] = conv_backward(da, saved["inception3a.branch3.0.conv"])  # (N, 192, 28, 28)
        dc = dc + da

        # inception3a.branch2.1
        dz, _ = relu_backward(dz, saved["inception3a.branch2.1.relu1"])
        dz, grads["inception3a.branch2.1.bn"] = bn_backward(dz, saved["inception3a.branch2.1.bn"])
        dz, grads["inception3a.branch2.1.conv"] = conv_backward(dz, saved["inception3a.branch2.1.conv"])  # (N, 96, 28, 28)

        # inception3a.branch2.0
        dz, _ = relu_backward(dz, saved["inception3a.branch2.0.relu1"])
        dz, grads["inception3a.branch2.0.bn"] = bn_backward(dz, saved["inception3a.branch2.0.bn"])
        dz, grads["inception3a.branch2.0.conv"] = conv_backward(dz, saved["inception3a.branch2.0.conv"])  # (N, 192, 28, 28)
        dc = dc + dz

        # inception3a.branch1
        dy, _ = relu_backward(dy, saved["inception3a.branch1.relu1"])
        dy, grads["inception3a.branch1.bn"] = bn_backward(dy, saved["inception3a.branch1.bn"])
        dy, grads["inception3a.branch1.conv"] = conv_backward(dy, saved["inception3a.branch1.conv"])  # (N, 192, 28, 28)
        dc = dc + dy

        # the network itself
        dy, _ = pool_backward(dc, saved["pool2"])  # (N, 192, 56, 56)

        # conv3
        dy, _ = relu_backward(dy, saved["conv3.relu1"])
        dy, grads["conv3.bn"] = bn_backward(dy, saved["conv3.bn"])
        dy, grads["conv3.conv"] = conv_backward(dy, saved["conv3.conv"])  # (N, 64, 56, 56)

        # conv2
        dy, _ = relu_backward(dy, saved["conv2.relu1"])
        dy, grads["conv2.bn"] = bn_backward(dy, saved["conv2.bn"])
        dy, grads["conv2.conv"] = conv_backward(dy, saved["conv2.conv"])

        # the network itself
        dy, _ = pool_backward(dy, saved["pool1"])  # (N, 64, 112, 112)

        # conv1
        dy, _ = relu_backward(dy, saved["conv1.relu1"])
        dy, grads["conv1.bn"] = bn_backward(dy, saved["conv1.bn"])
        dy, grads["conv1.conv"] = conv_backward(dy, saved["conv1.conv"])  # (N, 3, 224, 224)

        return dy, {f"{layer}.{name}": g for layer, named in reversed(grads.items()) for name, g in named.items()}

    def update(self, grads, lr):
        """One step of the optimizer, in place."""
        adam_step(self.params, grads, self.optimizer_state, lr)


Model = Googlenet


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
    y = rng.integers(0, 8, 8)
    patterns = rng.standard_normal((8, *INPUT_SHAPE))  # one for each class
    x = (patterns[y] + rng.standard_normal((8, *INPUT_SHAPE))).astype(np.float32)
    model = Model(seed=0)
    for epoch in range(1, 6):
        (loss,) = model.fit(x, y, epochs=1, batch=4, lr=1e-5, seed=epoch)
        print(f"epoch {epoch}: loss {loss:.4f}")
