"""Mnist1dGru in NumPy, 1x40 map -> 10, 38,474 parameters. Written by `netdsl compile -O0`; needs numpy and nothing else.

    layer    output  parameters
    tokens1  40x1
    gru1     40x64       37,824
    take1    64
    linear1  10             650

Arrays are (N, C, L). Every `<layer>_forward` returns (y, saved); its `<layer>_backward` takes (dy, saved) and
returns (dx, gradients). `dy` is the gradient of the loss by y.
"""

import json
import math
import os
import zipfile

import numpy as np

INPUT_SHAPE = (1, 40)
NUM_PARAMETERS = 38_474


# ---------------------------------------------------------------- kernels


def tokens_forward(x):
    """x (N, C, H, W), or any other axes of space -> y (N, H*W, C), row by row (Dosovitskiy et al. 2021)."""
    return x.reshape(*x.shape[:2], -1).transpose(0, 2, 1), x.shape


def tokens_backward(dy, saved):
    """The tokens back at their positions."""
    return dy.transpose(0, 2, 1).reshape(saved), {}


def cell_weights(params, layer, side):
    """The weights of one layer in one direction, forwards or backwards, by their names without `_l0_reverse`."""
    end = f"_l{layer}_reverse" if side else f"_l{layer}"
    return {name: params.get(name + end) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}


def recurrent_forward(x, steps, layers, sides, factor, params):
    """x (N, T, D) -> y (N, T, sides * H): what the last of the layers gives, of two directions side by side. factor
    (N, layers - 1, T, sides * H): what each but the last is multiplied by, or None."""
    saved = []
    for layer in range(layers):
        ys = []
        for side in range(sides):
            y, kept, _ = steps(x[:, ::-1] if side else x, None, **cell_weights(params, layer, side))
            ys.append(y[:, ::-1] if side else y)
            saved.append(kept)
        x = np.concatenate(ys, axis=2) if sides == 2 else ys[0]
        if factor is not None and layer < layers - 1:
            x = x * factor[:, layer]
    return x, (saved, sides, factor)


def with_biases(x, weight, bias):
    """x (N, T, D) -> x weight^T + bias, of all steps by one product."""
    y = np.matmul(x.reshape(-1, x.shape[2]), weight.T).reshape(*x.shape[:2], -1)
    return y if bias is None else y + bias


def sigmoid(x):
    """1 / (1 + exp(-x)), from exp(-|x|), which never overflows."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def gru_steps(x, state, weight_ih, weight_hh, bias_ih, bias_hh):
    """x (N, T, D) -> y (N, T, H), weight_ih (3H, D), weight_hh (3H, H), biases (3H,) or None; state: h (N, H)."""
    n, t, _ = x.shape
    size = weight_hh.shape[1]
    inner = with_biases(x, weight_ih, bias_ih).reshape(n, t, 3, size)
    h = np.zeros((n, size), x.dtype) if state is None else state
    gates, begun = np.zeros((n, t, 4, size), x.dtype), np.zeros((n, t, size), x.dtype)
    y = np.zeros((n, t, size), x.dtype)
    for step in range(t):
        begun[:, step] = h
        b = np.matmul(h, weight_hh.T)
        b = (b if bias_hh is None else b + bias_hh).reshape(n, 3, size)
        a = inner[:, step]
        r, z = sigmoid(a[:, 0] + b[:, 0]), sigmoid(a[:, 1] + b[:, 1])
        new = np.tanh(a[:, 2] + r * b[:, 2])
        h = new + z * (h - new)
        y[:, step] = h
        gates[:, step, 0], gates[:, step, 1], gates[:, step, 2], gates[:, step, 3] = r, z, new, b[:, 2]
    return y, (x, gates, begun, weight_ih, weight_hh, bias_ih is not None), h


def gru_forward(x, layers=1, bi=False, **params):
    """x (N, T, D) -> y (N, T, H), or (N, T, 2H) with `bi`; params by nn.GRU's names. At each step of a layer, with
    a = x weight_ih^T + bias_ih and b = h weight_hh^T + bias_hh in three parts,

    r, z = sigmoid(a + b), n = tanh(a + r * b), and y = h = (1 - z) * n + z * h (Cho et al. 2014; the reset gate stands
    behind the product, as in nn.GRU); h begins at 0.
    """
    return recurrent_forward(x, gru_steps, layers, 2 if bi else 1, None, params)


def recurrent_backward(dy, saved, steps_backward):
    """dy (N, T, sides * H) -> dx (N, T, D), back through the layers, the last one first; what two directions read gets
    the sum of their gradients."""
    kept, sides, factor = saved
    grads = {}
    for layer in reversed(range(len(kept) // sides)):
        if factor is not None and layer < len(kept) // sides - 1:
            dy = dy * factor[:, layer]
        dxs = []
        for side in range(sides):
            size = dy.shape[2] // sides
            own = dy[:, :, side * size : (side + 1) * size]
            dx, made = steps_backward(own[:, ::-1] if side else own, kept[layer * sides + side])
            dxs.append(dx[:, ::-1] if side else dx)
            end = f"_l{layer}_reverse" if side else f"_l{layer}"
            grads |= {name + end: grad for name, grad in made.items()}
        dy = dxs[0] + dxs[1] if sides == 2 else dxs[0]
    return dy, grads


def weight_grads(x, h, dinner, drecurrent, has_bias):
    """The gradients of a cell's weights, each by one product over all steps: x (N, T, D), h (N, T, H) what each step
    began from, dinner and drecurrent (N, T, G*H) the gradients by what x and h were multiplied to."""
    di, dr = dinner.reshape(-1, dinner.shape[2]), drecurrent.reshape(-1, drecurrent.shape[2])
    grads = {
        "weight_ih": np.matmul(di.T, x.reshape(-1, x.shape[2])),
        "weight_hh": np.matmul(dr.T, h.reshape(-1, h.shape[2])),
    }
    if has_bias:
        grads |= {"bias_ih": di.sum(axis=0), "bias_hh": dr.sum(axis=0)}
    return grads


def gru_steps_backward(dy, saved):
    """dy (N, T, H) -> dx (N, T, D), from the last step to the first; the gradient by b differs from that by a in the
    third part alone, by the factor r."""
    x, gates, begun, weight_ih, weight_hh, has_bias = saved
    n, t, _, size = gates.shape
    da, db = np.zeros((n, t, 3, size), dy.dtype), np.zeros((n, t, 3, size), dy.dtype)
    dh = np.zeros((n, size), dy.dtype)
    for step in reversed(range(t)):
        r, z, new, b = gates[:, step, 0], gates[:, step, 1], gates[:, step, 2], gates[:, step, 3]
        dh = dh + dy[:, step]
        dnew = dh * (1 - z) * (1 - new * new)
        da[:, step, 0] = db[:, step, 0] = dnew * b * r * (1 - r)
        da[:, step, 1] = db[:, step, 1] = dh * (begun[:, step] - new) * z * (1 - z)
        da[:, step, 2], db[:, step, 2] = dnew, dnew * r
        dh = dh * z + np.matmul(db[:, step].reshape(n, 3 * size), weight_hh)
    da, db = da.reshape(n, t, 3 * size), db.reshape(n, t, 3 * size)
    return np.matmul(da, weight_ih), weight_grads(x, begun, da, db, has_bias)


def gru_backward(dy, saved):
    """dy (N, T, H), or (N, T, 2H) -> dx (N, T, D): back through the layers, and in each through the steps."""
    return recurrent_backward(dy, saved, gru_steps_backward)


def take_forward(x, index):
    """x (N, T, D) -> y (N, D)."""
    return x[:, index], (x.shape, index)


def take_backward(dy, saved):
    """dy at that token, zeros elsewhere."""
    shape, index = saved
    dx = np.zeros(shape, dy.dtype)
    dx[:, index] = dy
    return dx, {}


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


def scaled(grads, factor):
    """Each gradient times the factor; the same arrays where it is 1."""
    return grads if factor == 1 else {name: factor * grad for name, grad in grads.items()}


def clip_factor(norm, largest):
    """What gradients of that norm are multiplied by, 1 or less; torch.nn.utils.clip_grad_norm_ adds 1e-6, too."""
    return min(1.0, float(largest / (norm + 1e-6)))


def norm_of(arrays):
    """The root of the sum of all squares; in float64 where squares overflow."""
    arrays = list(arrays)
    squares = [np.vdot(array, array) for array in arrays]
    total = sum(np.stack(squares).tolist()) if squares else 0.0
    if not math.isfinite(total):
        total = sum(float(np.square(array, dtype=np.float64).sum()) for array in arrays)
    return total**0.5


def clipped(grads, largest):
    """Gradients, as they are or shrunk so that the norm of all together is `largest` (Pascanu et al. 2013)."""
    return scaled(grads, clip_factor(norm_of(grads.values()), largest))


def softmax(x, axis):
    """exp(x) / sum of exp(x) along `axis`; the maximum is taken out first, so that nothing overflows."""
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def he(rng, shape, fan_in, fan_out, dtype):
    """He et al. 2015: normal with variance 2 / fan_in."""
    return (rng.standard_normal(shape) * (2.0 / fan_in) ** 0.5).astype(dtype)


def torch_uniform(rng, shape, fan_in, fan_out, dtype):
    """PyTorch's default for convolutions and linear layers, weights and biases: uniform within 1 / sqrt(fan_in)."""
    bound = fan_in**-0.5
    return rng.uniform(-bound, bound, shape).astype(dtype)


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


class Mnist1dGru(Network):
    """(N, 1, 40) -> (N, 10)."""

    input_shape = INPUT_SHAPE
    learning_rate = 0.005
    loss = staticmethod(cross_entropy)

    def __init__(self, seed=0, dtype=np.float32):
        rng = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)
        self.params = {
            "gru1.weight_ih_l0": torch_uniform(rng, (192, 1), 64, 1, dtype),
            "gru1.weight_hh_l0": torch_uniform(rng, (192, 64), 64, 1, dtype),
            "gru1.bias_ih_l0": torch_uniform(rng, (192,), 64, 1, dtype),
            "gru1.bias_hh_l0": torch_uniform(rng, (192,), 64, 1, dtype),
            "gru1.weight_ih_l1": torch_uniform(rng, (192, 64), 64, 1, dtype),
            "gru1.weight_hh_l1": torch_uniform(rng, (192, 64), 64, 1, dtype),
            "gru1.bias_ih_l1": torch_uniform(rng, (192,), 64, 1, dtype),
            "gru1.bias_hh_l1": torch_uniform(rng, (192,), 64, 1, dtype),
            "linear1.weight": he(rng, (10, 64), 64, 10, dtype),
            "linear1.bias": np.zeros(10, dtype),
        }
        self.buffers = {}
        self.saved, self.optimizer_state = {}, {}
        self.rng = rng

    def forward(self, x, training=False):
        """x (N, 1, 40) -> y (N, 10)."""
        x = self.check_input(x)
        p, saved = self.params, self.saved
        x, saved["tokens1"] = tokens_forward(x)  # (N, 40, 1)
        x, saved["gru1"] = gru_forward(x, layers=2, weight_ih_l0=p["gru1.weight_ih_l0"], weight_hh_l0=p["gru1.weight_hh_l0"], bias_ih_l0=p["gru1.bias_ih_l0"], bias_hh_l0=p["gru1.bias_hh_l0"], weight_ih_l1=p["gru1.weight_ih_l1"], weight_hh_l1=p["gru1.weight_hh_l1"], bias_ih_l1=p["gru1.bias_ih_l1"], bias_hh_l1=p["gru1.bias_hh_l1"])  # (N, 40, 64)
        x, saved["take1"] = take_forward(x, index=-1)  # (N, 64)
        x, saved["linear1"] = linear_forward(x, p["linear1.weight"], p["linear1.bias"])  # (N, 10)
        return x

    def logits(self, x, training=False):
        """What the loss reads: the output."""
        return self.forward(x, training)

    def backward(self, dy):
        """The gradient by the logits -> dx, {param name: gradient}, for the last batch."""
        saved, grads = self.saved, {}
        dy, grads["linear1"] = linear_backward(dy, saved["linear1"])  # (N, 64)
        dy, _ = take_backward(dy, saved["take1"])  # (N, 40, 64)
        dy, grads["gru1"] = gru_backward(dy, saved["gru1"])  # (N, 40, 1)
        dy, _ = tokens_backward(dy, saved["tokens1"])  # (N, 1, 40)
        return dy, {f"{layer}.{name}": g for layer, named in reversed(grads.items()) for name, g in named.items()}

    def update(self, grads, lr):
        """One step of the optimizer, in place."""
        grads = clipped(grads, 1.0)
        adam_step(self.params, grads, self.optimizer_state, lr)


Model = Mnist1dGru


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
    y = rng.integers(0, 10, 256)
    patterns = rng.standard_normal((10, *INPUT_SHAPE))  # one for each class
    x = (patterns[y] + rng.standard_normal((256, *INPUT_SHAPE))).astype(np.float32)
    model = Model(seed=0)
    for epoch in range(1, 6):
        (loss,) = model.fit(x, y, epochs=1, batch=32, seed=epoch)
        print(f"epoch {epoch}: loss {loss:.4f}, accuracy {model.score(x, y):.3f}")
