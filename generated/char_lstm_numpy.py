"""CharLstm in NumPy, 50 of 65 -> 50x65, 280,897 parameters. Written by `netdsl compile -O0`; needs numpy and nothing else.

    layer    output  parameters
    embed1   50x128       8,320
    lstm1    50x128     264,192
    linear1  50x65        8,385

Arrays are (N, C, H, W). Every `<layer>_forward` returns (y, saved); its `<layer>_backward` takes (dy, saved) and
returns (dx, gradients). `dy` is the gradient of the loss by y.
"""

import json
import math
import os
import zipfile

import numpy as np

INPUT_SHAPE = (50,)
NUM_PARAMETERS = 280_897


# ---------------------------------------------------------------- kernels


def embed_forward(x, weight):
    """x (N, T), weight (V, D) -> y (N, T, D), of each number the row (Bengio et al. 2003)."""
    return weight[x], (x, weight.shape)


def embed_backward(dy, saved, rows=4096):
    """dy (N, T, D) -> dweight (V, D) = onehot(x)^T dy, so many rows at a time; numbers themselves have no gradient."""
    x, shape = saved
    x, dy, dweight = x.reshape(-1), dy.reshape(-1, shape[1]), np.zeros(shape, dy.dtype)
    for begin in range(0, shape[0], rows):
        onehot = np.arange(begin, min(begin + rows, shape[0]))[:, None] == x
        dweight[begin : begin + rows] = np.matmul(onehot.astype(dy.dtype), dy)
    return None, {"weight": dweight}


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


def lstm_steps(x, state, weight_ih, weight_hh, bias_ih, bias_hh):
    """x (N, T, D) -> y (N, T, H), weight_ih (4H, D), weight_hh (4H, H), biases (4H,) or None; state: h, c (N, H)."""
    n, t, _ = x.shape
    size = weight_hh.shape[1]
    inner = with_biases(x, weight_ih, None if bias_ih is None else bias_ih + bias_hh)
    h, c = (np.zeros((n, size), x.dtype), np.zeros((n, size), x.dtype)) if state is None else state
    gates, begun = np.zeros((n, t, 4, size), x.dtype), np.zeros((2, n, t, size), x.dtype)
    y, tanh_c = np.zeros((n, t, size), x.dtype), np.zeros((n, t, size), x.dtype)
    for step in range(t):
        begun[0, :, step], begun[1, :, step] = h, c
        z = (inner[:, step] + np.matmul(h, weight_hh.T)).reshape(n, 4, size)
        i, f, g, o = sigmoid(z[:, 0]), sigmoid(z[:, 1]), np.tanh(z[:, 2]), sigmoid(z[:, 3])
        c = f * c + i * g
        tanh_c[:, step] = np.tanh(c)
        h = o * tanh_c[:, step]
        y[:, step] = h
        gates[:, step, 0], gates[:, step, 1], gates[:, step, 2], gates[:, step, 3] = i, f, g, o
    return y, (x, gates, begun, tanh_c, weight_ih, weight_hh, bias_ih is not None), (h, c)


def lstm_forward(x, layers=1, bi=False, **params):
    """x (N, T, D) -> y (N, T, H), or (N, T, 2H) with `bi`; params by nn.LSTM's names. At each step of a layer

    i, f, g, o = sigmoid, sigmoid, tanh, sigmoid of x weight_ih^T + bias_ih + h weight_hh^T + bias_hh,
    c = f * c + i * g, and y = h = o * tanh(c) (Hochreiter & Schmidhuber 1997, Gers et al. 2000); h and c begin at 0.
    """
    return recurrent_forward(x, lstm_steps, layers, 2 if bi else 1, None, params)


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


def lstm_steps_backward(dy, saved):
    """dy (N, T, H) -> dx (N, T, D), from the last step to the first: dc += dh * o * (1 - tanh(c)^2), and f * dc goes on
    to the step before, as do the gates' gradients times weight_hh."""
    x, gates, begun, tanh_c, weight_ih, weight_hh, has_bias = saved
    n, t, _, size = gates.shape
    dz = np.zeros((n, t, 4, size), dy.dtype)
    dh, dc = np.zeros((n, size), dy.dtype), np.zeros((n, size), dy.dtype)
    for step in reversed(range(t)):
        i, f, g, o = gates[:, step, 0], gates[:, step, 1], gates[:, step, 2], gates[:, step, 3]
        dh = dh + dy[:, step]
        dc = dc + dh * o * (1 - tanh_c[:, step] ** 2)
        dz[:, step, 0] = dc * g * i * (1 - i)
        dz[:, step, 1] = dc * begun[1, :, step] * f * (1 - f)
        dz[:, step, 2] = dc * i * (1 - g * g)
        dz[:, step, 3] = dh * tanh_c[:, step] * o * (1 - o)
        dc = dc * f
        dh = np.matmul(dz[:, step].reshape(n, 4 * size), weight_hh)
    dz = dz.reshape(n, t, 4 * size)
    return np.matmul(dz, weight_ih), weight_grads(x, begun[0], dz, dz, has_bias)


def lstm_backward(dy, saved):
    """dy (N, T, H), or (N, T, 2H) -> dx (N, T, D): back through the layers, and in each through the steps."""
    return recurrent_backward(dy, saved, lstm_steps_backward)


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


def check_ids(x, length, limit):
    """x (N, length), whole numbers from 0 to limit - 1 -> the same as int64. Raises ValueError."""
    x = np.asarray(x)
    if x.dtype.kind not in "iu" or x.shape[1:] != (length,) or not len(x):
        raise ValueError(f"the network takes whole numbers (N, {length}), not {x.dtype} of the shape {x.shape}")
    if x.min() < 0 or x.max() >= limit:
        raise ValueError(f"the network takes numbers from 0 to {limit - 1}, these are {x.min()} to {x.max()}")
    return x.astype(np.int64)


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


def adamw_step(params, grads, state, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
    """Loshchilov & Hutter 2019: Adam whose weight decay shrinks the params themselves, by lr * weight_decay."""
    for param in params.values():
        param *= 1 - lr * weight_decay
    adam_step(params, grads, state, lr, betas, eps)


def matrices(params):
    """The params of two axes or more: weights, embeddings and positions."""
    return {name: param for name, param in params.items() if param.ndim > 1}


def decaying_matrices(step, params, grads, state, lr, weight_decay, **options):
    """One step of an optimizer in two groups: matrices decay; what has one axis, biases and norms, does not, as in GPTs
    (Radford et al. 2018, section 4.1). Params of any shape."""
    vectors, others = {name: param for name, param in params.items() if param.ndim < 2}, dict(state)
    step(matrices(params), grads, state, lr, weight_decay=weight_decay, **options)
    step(vectors, grads, others, lr, weight_decay=0.0, **options)
    state.update(others)  # both have counted the step


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


def lstm_joint(weight_ih, weight_hh, bias_ih, bias_hh):
    """-> weight (D + H, 4H), bias (4H,), factor and summand (4H,) with which `lstm_token` makes all gates by one tanh:
    sigmoid(z) = tanh(z / 2) / 2 + 1/2 for i, f and o."""
    size = weight_hh.shape[1]
    factor = np.full(4 * size, 0.5, weight_hh.dtype)
    factor[2 * size : 3 * size] = 1
    weight = np.ascontiguousarray(np.concatenate([weight_ih.T, weight_hh.T]))
    weight *= factor
    bias = np.zeros_like(factor) if bias_ih is None else (bias_ih + bias_hh) * factor
    return weight, bias, factor, 1 - factor


def lstm_token(x, h, c, weight, bias, factor, summand):
    """x (N, D), h and c (N, H) -> h and c behind one step of `lstm_forward`."""
    z = np.tanh(np.matmul(np.concatenate([x, h], axis=1), weight) + bias) * factor + summand
    i, f, g, o = z.reshape(len(x), 4, -1).swapaxes(0, 1)
    c = f * c + i * g
    return o * np.tanh(c), c


def lstm_go_on(x, state, layers=1, **params):
    """The next tokens x (N, S, D) -> y (N, S, H), and h and c of every layer behind them, with its `lstm_joint`."""
    cells = list(state or [])
    for layer in range(len(cells), layers):
        joint = lstm_joint(**cell_weights(params, layer, 0))
        nothing = np.zeros((len(x), joint[0].shape[1] // 4), x.dtype)
        cells.append((nothing, nothing, joint))
    ys = []
    for step in range(x.shape[1]):
        h = x[:, step]
        for layer, (before, c, joint) in enumerate(cells):
            h, c = lstm_token(h, before, c, *joint)
            cells[layer] = h, c, joint
        ys.append(h)
    return np.stack(ys, axis=1), cells


def he(rng, shape, fan_in, fan_out, dtype):
    """He et al. 2015: normal with variance 2 / fan_in."""
    return (rng.standard_normal(shape) * (2.0 / fan_in) ** 0.5).astype(dtype)


def torch_uniform(rng, shape, fan_in, fan_out, dtype):
    """PyTorch's default for convolutions and linear layers, weights and biases: uniform within 1 / sqrt(fan_in)."""
    bound = fan_in**-0.5
    return rng.uniform(-bound, bound, shape).astype(dtype)


def embedding(rng, shape, dtype):
    """PyTorch's default for embeddings: normal with standard deviation 1."""
    return rng.standard_normal(shape).astype(dtype)


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


# ---------------------------------------------------------------- the network


class TokenNetwork(Network):
    """A network that gives logits (N, T, K), a class for each token."""

    def predict(self, x, batch=256):
        """x (N, *input_shape) -> the class with the largest logit of each token, (N, T)."""
        x = self.check_input(x)
        return np.concatenate([self.logits(x[i : i + batch]).argmax(axis=2) for i in range(0, len(x), batch)])


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


class CharLstm(WritingNetwork):
    """(N, 50) -> (N, 50, 65)."""

    input_shape = INPUT_SHAPE
    learning_rate = 0.004
    window = 0

    def __init__(self, seed=0, dtype=np.float32):
        rng = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)
        self.params = {
            "embed1.weight": embedding(rng, (65, 128), dtype),
            "lstm1.weight_ih_l0": torch_uniform(rng, (512, 128), 128, 1, dtype),
            "lstm1.weight_hh_l0": torch_uniform(rng, (512, 128), 128, 1, dtype),
            "lstm1.bias_ih_l0": torch_uniform(rng, (512,), 128, 1, dtype),
            "lstm1.bias_hh_l0": torch_uniform(rng, (512,), 128, 1, dtype),
            "lstm1.weight_ih_l1": torch_uniform(rng, (512, 128), 128, 1, dtype),
            "lstm1.weight_hh_l1": torch_uniform(rng, (512, 128), 128, 1, dtype),
            "lstm1.bias_ih_l1": torch_uniform(rng, (512,), 128, 1, dtype),
            "lstm1.bias_hh_l1": torch_uniform(rng, (512,), 128, 1, dtype),
            "linear1.weight": he(rng, (65, 128), 128, 65, dtype),
            "linear1.bias": np.zeros(65, dtype),
        }
        self.buffers = {}
        self.saved, self.optimizer_state = {}, {}
        self.rng = rng

    def loss(self, logits, target):
        """Logits (N, T, K) and labels (N, T) -> mean loss over all tokens, dlogits."""
        loss, dlogits = cross_entropy(logits.reshape(-1, logits.shape[2]), target.reshape(-1))
        return loss, dlogits.reshape(logits.shape)

    def forward(self, x, training=False):
        """x (N, 50) -> y (N, 50, 65)."""
        x = self.check_input(x)
        p, saved = self.params, self.saved
        x, saved["embed1"] = embed_forward(x, p["embed1.weight"])  # (N, 50, 128)
        x, saved["lstm1"] = lstm_forward(x, layers=2, weight_ih_l0=p["lstm1.weight_ih_l0"], weight_hh_l0=p["lstm1.weight_hh_l0"], bias_ih_l0=p["lstm1.bias_ih_l0"], bias_hh_l0=p["lstm1.bias_hh_l0"], weight_ih_l1=p["lstm1.weight_ih_l1"], weight_hh_l1=p["lstm1.weight_hh_l1"], bias_ih_l1=p["lstm1.bias_ih_l1"], bias_hh_l1=p["lstm1.bias_hh_l1"])
        x, saved["linear1"] = linear_forward(x, p["linear1.weight"], p["linear1.bias"])  # (N, 50, 65)
        return x

    def logits(self, x, training=False):
        """What the loss reads: the output."""
        return self.forward(x, training)

    def backward(self, dy):
        """The gradient by the logits -> dx, {param name: gradient}, for the last batch."""
        saved, grads = self.saved, {}
        dy, grads["linear1"] = linear_backward(dy, saved["linear1"])  # (N, 50, 128)
        dy, grads["lstm1"] = lstm_backward(dy, saved["lstm1"])
        dy, grads["embed1"] = embed_backward(dy, saved["embed1"])  # (N, 50)
        return dy, {f"{layer}.{name}": g for layer, named in reversed(grads.items()) for name, g in named.items()}

    def update(self, grads, lr):
        """One step of the optimizer, in place."""
        grads = clipped(grads, 5.0)
        decaying_matrices(adamw_step, self.params, grads, self.optimizer_state, lr, weight_decay=0.01)

    def check_input(self, x):
        """x (N, 50), whole numbers from 0 to 64 -> the same as int64. Raises ValueError."""
        return check_ids(x, 50, 65)

    def next_logits(self, x, states):
        """The next numbers x (N, S) of texts, and what layers kept of those before -> logits of what follows each."""
        x, p = check_ids(x, x.shape[1], 65), self.params
        x = embed_forward(x, p["embed1.weight"])[0]
        x, states["lstm1"] = lstm_go_on(
            x, layers=2, weight_ih_l0=p["lstm1.weight_ih_l0"], weight_hh_l0=p["lstm1.weight_hh_l0"],
            bias_ih_l0=p["lstm1.bias_ih_l0"], bias_hh_l0=p["lstm1.bias_hh_l0"], weight_ih_l1=p["lstm1.weight_ih_l1"],
            weight_hh_l1=p["lstm1.weight_hh_l1"], bias_ih_l1=p["lstm1.bias_ih_l1"], bias_hh_l1=p["lstm1.bias_hh_l1"],
            state=states.get("lstm1")
        )
        x = linear_forward(x, p["linear1.weight"], p["linear1.bias"])[0]
        return x


Model = CharLstm


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
    answer(Model)
    # A training run on made-up data, to show that the network learns.
    rng = np.random.default_rng(0)
    x = (rng.integers(0, 65, (256, 1)) + np.arange(50)) % 65  # texts that count
    y = (x + 1) % 65
    model = Model(seed=0)
    for epoch in range(1, 6):
        (loss,) = model.fit(x, y, epochs=1, batch=32, seed=epoch)
        print(f"epoch {epoch}: loss {loss:.4f}, accuracy {model.score(x, y):.3f}")
