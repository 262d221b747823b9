"""CharLlama in NumPy, 64 of 65 -> 64x65, 742,784 parameters. Written by `netdsl compile -O0`; needs numpy and nothing else.

    layer           output  parameters      layer           output  parameters
    embed1          64x128       8,320      layer3.mha1     64x128      49,152
    layer1.rms1     64x128         128      layer3.add1     64x128
    layer1.mha1     64x128      49,152      layer3.rms2     64x128         128
    layer1.add1     64x128                  layer3.swiglu1  64x344      88,064
    layer1.rms2     64x128         128      layer3.linear1  64x128      44,032
    layer1.swiglu1  64x344      88,064      layer3.add2     64x128
    layer1.linear1  64x128      44,032      layer4.rms1     64x128         128
    layer1.add2     64x128                  layer4.mha1     64x128      49,152
    layer2.rms1     64x128         128      layer4.add1     64x128
    layer2.mha1     64x128      49,152      layer4.rms2     64x128         128
    layer2.add1     64x128                  layer4.swiglu1  64x344      88,064
    layer2.rms2     64x128         128      layer4.linear1  64x128      44,032
    layer2.swiglu1  64x344      88,064      layer4.add2     64x128
    layer2.linear1  64x128      44,032      rms1            64x128         128
    layer2.add2     64x128                  linear1         64x65        8,320
    layer3.rms1     64x128         128

Arrays are (N, C, H, W). Every `<layer>_forward` returns (y, saved); its `<layer>_backward` takes (dy, saved) and
returns (dx, gradients). `dy` is the gradient of the loss by y.
"""

import json
import math
import os
import zipfile

import numpy as np

INPUT_SHAPE = (64,)
NUM_PARAMETERS = 742_784


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


def rms_forward(x, weight, eps=1e-6, axis=1):
    """y = weight * x / sqrt(mean(x^2) + eps) (Zhang & Sennrich 2019), the mean over the features.

    The features are axis 1 of maps (N, C, *space), each position by itself, and of (N, D); of (N, T, D) axis 2.
    """
    shape = (-1, *[1] * (x.ndim - axis - 1))
    inv_rms = 1 / np.sqrt((x**2).mean(axis=axis, keepdims=True) + eps)
    x_hat = x * inv_rms
    y = x_hat if weight is None else weight.reshape(shape) * x_hat
    return y, (x_hat, inv_rms, weight, axis, shape)


def rms_backward(dy, saved):
    """dy (N, ..., D) -> dx = inv_rms * (g - x_hat * mean(g * x_hat)), g = dy * weight, {weight}."""
    x_hat, inv_rms, weight, axis, shape = saved
    g = dy if weight is None else dy * weight.reshape(shape)
    dx = inv_rms * (g - x_hat * (g * x_hat).mean(axis=axis, keepdims=True))
    if weight is None:
        return dx, {}
    return dx, {"weight": (dy * x_hat).sum(axis=tuple(a for a in range(dy.ndim) if a != axis))}


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


def softmax(x, axis):
    """exp(x) / sum of exp(x) along `axis`; the maximum is taken out first, so that nothing overflows."""
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def attention_weights(q, k, causal):
    """q (..., S, D), k (..., T, D) -> softmax(q k^T / sqrt(D)), (..., S, T). causal: query s, the last of which belongs
    to the last key, has a weight of 0 for every key behind its own."""
    scores = np.matmul(q * q.shape[-1] ** -0.5, k.swapaxes(-1, -2))
    if causal:
        s, t = scores.shape[-2:]
        scores = np.where(np.tri(s, t, t - s, dtype=bool), scores, -np.inf)
    return softmax(scores, -1)


def mixed_values(weights, v, weight, bias):
    """weights (N, kv, heads/kv, T, S), v (N, kv, 1, S, D/heads) -> weights v, its heads beside each other, (N, T, D),
    and that times weight (D, D), plus bias (D,)."""
    n, kv, group, t, _ = weights.shape
    mixed = np.matmul(weights, v).transpose(0, 3, 1, 2, 4).reshape(n, t, -1)
    y = np.matmul(mixed, weight.T)
    return mixed, y if bias is None else y + bias


def rotary_table(begin, end, size, base, dtype):
    """The cosine and the sine of t * base^(-2i / size), t from begin to end - 1, i below size / 2: (2, T, size / 2)."""
    angles = np.arange(begin, end)[:, None] * base ** -(np.arange(0, size, 2) / size)
    return np.stack([np.cos(angles), np.sin(angles)]).astype(dtype)


def rotated(x, table):
    """x (..., T, D), table (2, T, D/2) -> features i and i + D/2 of token t, as a point of the plane, turned by the
    angle of t and i (Su et al. 2021, eq. 34; the pairs as in Hugging Face's LlamaAttention and in GPT-NeoX)."""
    cos, sin = table
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def attend(x, weight, bias, out_weight, out_bias, heads, kv, causal, base, factor):
    """x (N, T, D) -> y (N, T, D), softmax(q k^T / sqrt(D / heads)) v of each head, times the output matrix (Vaswani et
    al. 2017, eq. 1; Ainslie et al. 2023 where kv is below heads).

    base: of the angles by which q and k are turned; None: not at all. factor: (N, heads, T, T), by which the weights
    are multiplied behind the softmax, or None.
    """
    n, t, d = x.shape
    q, k, v = queries_keys_values(x, weight, bias, heads, kv)
    table = None if base is None else rotary_table(0, t, d // heads, base, x.dtype)
    if table is not None:
        q, k = rotated(q, table), rotated(k, table)
    weights = attention_weights(q, k, causal)  # (N, kv, heads/kv, T, T)
    used = weights if factor is None else weights * factor.reshape(weights.shape)
    mixed, y = mixed_values(used, v, out_weight, out_bias)
    return y, (x, q, k, v, weights, mixed, weight, out_weight, bias is not None, table, factor)


def attention_forward(
    x, in_proj_weight, in_proj_bias, out_proj_weight, out_proj_bias, heads, kv, causal=False, rope=False, base=10000.0
):
    """x (N, T, D) -> y (N, T, D), self-attention (`attend`). causal: a token reads itself and those before it; kv:
    heads of keys and values, each for heads / kv heads of queries (Ainslie et al. 2023); rope: queries and keys are
    turned by their positions (Su et al. 2021), features i and i + half of a head together, as in Hugging Face's
    Llama."""
    angles = base if rope else None
    return attend(x, in_proj_weight, in_proj_bias, out_proj_weight, out_proj_bias, heads, kv, causal, angles, None)


def rotated_back(dy, table):
    """dy (..., T, D), table (2, T, D/2) -> dx of `rotated`: it turns by the negative angles."""
    return rotated(dy, table * np.array([1, -1], table.dtype)[:, None, None])


def attention_backward(dy, saved):
    """dy (N, T, D) -> dx (N, T, D): back through the output matrix, the mixing, the softmax (ds = w * (dw - sum(dw *
    w)), which is 0 where w is), the turning, and the input matrix; what several heads read of k and v adds up."""
    x, q, k, v, weights, mixed, in_proj_weight, out_proj_weight, has_bias, table, factor = saved
    n, t, d = x.shape
    kv, size = q.shape[1], q.shape[-1]
    dmixed = np.matmul(dy, out_proj_weight).reshape(n, t, kv, -1, size).transpose(0, 2, 3, 1, 4)
    dweights = np.matmul(dmixed, v.swapaxes(3, 4))
    used = weights
    if factor is not None:
        by_group = factor.reshape(weights.shape)
        used, dweights = weights * by_group, dweights * by_group
    dscores = weights * (dweights - (dweights * weights).sum(axis=4, keepdims=True))
    dq = np.matmul(dscores, k) * size**-0.5
    dk = np.matmul(dscores.swapaxes(3, 4), q).sum(axis=2, keepdims=True) * size**-0.5
    dv = np.matmul(used.swapaxes(3, 4), dmixed).sum(axis=2, keepdims=True)
    if table is not None:
        dq, dk = rotated_back(dq, table), rotated_back(dk, table)
    parts = [part.transpose(0, 3, 1, 2, 4).reshape(n * t, -1) for part in (dq, dk, dv)]
    dqkv, rows = np.concatenate(parts, axis=1), dy.reshape(n * t, d)
    grads = {
        "in_proj_weight": np.matmul(dqkv.T, x.reshape(n * t, d)),
        "out_proj.weight": np.matmul(rows.T, mixed.reshape(n * t, d)),
    }
    if has_bias:
        grads |= {"in_proj_bias": dqkv.sum(axis=0), "out_proj.bias": rows.sum(axis=0)}
    return np.matmul(dqkv, in_proj_weight).reshape(x.shape), grads


def add_forward(*inputs):
    """y = x1 + x2 + ..., all of one shape."""
    y = inputs[0]
    for x in inputs[1:]:
        y = y + x
    return y, len(inputs)


def add_backward(dy, saved):
    """dx = dy for every input."""
    return (dy,) * saved, {}


def sigmoid(x):
    """1 / (1 + exp(-x)), from exp(-|x|), which never overflows."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def swiglu_forward(x, gate_weight, up_weight):
    """x (N, ..., D), weights (F, D) -> y (N, ..., F) = silu(x gate^T) * (x up^T), silu(g) = g * sigmoid(g) (Shazeer
    2020, eq. 6, before its last matrix)."""
    gate, up = np.matmul(x, gate_weight.T), np.matmul(x, up_weight.T)
    s = sigmoid(gate)
    return gate * s * up, (x, gate, up, s, gate_weight, up_weight)


def swiglu_backward(dy, saved):
    """dy (N, ..., F) -> dx (N, ..., D), by dup = dy * silu(g), dgate = dy * up * s * (1 + g * (1 - s)), s =
    sigmoid(g)."""
    x, gate, up, s, gate_weight, up_weight = saved
    dup, dgate = dy * (gate * s), dy * up * s * (1 + gate * (1 - s))
    rows, dup_rows, dgate_rows = (array.reshape(-1, array.shape[-1]) for array in (x, dup, dgate))
    grads = {"gate.weight": np.matmul(dgate_rows.T, rows), "up.weight": np.matmul(dup_rows.T, rows)}
    return np.matmul(dgate, gate_weight) + np.matmul(dup, up_weight), grads


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


def attention_go_on(
    x, in_proj_weight, in_proj_bias, out_proj_weight, out_proj_bias, heads, kv, state, rope=False, base=10000.0
):
    """x (N, S, D), the next tokens of causal attention -> y (N, S, D), and the state: the keys and values of all tokens
    so far, which those that come later read, in buffers (N, kv, 1, room, D/heads), and how many they are. The next call
    writes into these buffers."""
    q, k, v = queries_keys_values(x, in_proj_weight, in_proj_bias, heads, kv)
    keys, values, begin = (k[:, :, :, :0], v[:, :, :, :0], 0) if state is None else state
    end = begin + x.shape[1]
    if rope:
        table = rotary_table(begin, end, q.shape[-1], base, x.dtype)
        q, k = rotated(q, table), rotated(k, table)
    keys, values = appended(keys, k, begin), appended(values, v, begin)
    weights = attention_weights(q, keys[:, :, :, :end], x.shape[1] > 1)  # a single token reads all
    _, y = mixed_values(weights, values[:, :, :, :end], out_proj_weight, out_proj_bias)
    return y, (keys, values, end)


def residual_end(rng, shape, branches, dtype):
    """Normal with standard deviation 0.02 / sqrt(branches), so that all of them add up to one (Radford et al. 2019,
    section 2.3)."""
    return (0.02 / branches**0.5 * rng.standard_normal(shape)).astype(dtype)


def normal(rng, shape, dtype):
    """Normal with standard deviation 0.02, for learned positions (Dosovitskiy et al. 2021)."""
    return (0.02 * rng.standard_normal(shape)).astype(dtype)


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


class CharLlama(WritingNetwork):
    """(N, 64) -> (N, 64, 65)."""

    input_shape = INPUT_SHAPE
    learning_rate = 0.002
    window = 64

    def __init__(self, seed=0, dtype=np.float32):
        rng = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)
        self.params = {
            "embed1.weight": normal(rng, (65, 128), dtype),
            "layer1.rms1.weight": np.ones(128, dtype),
            "layer1.mha1.in_proj_weight": normal(rng, (256, 128), dtype),
            "layer1.mha1.out_proj.weight": residual_end(rng, (128, 128), 8, dtype),
            "layer1.rms2.weight": np.ones(128, dtype),
            "layer1.swiglu1.gate.weight": normal(rng, (344, 128), dtype),
            "layer1.swiglu1.up.weight": normal(rng, (344, 128), dtype),
            "layer1.linear1.weight": residual_end(rng, (128, 344), 8, dtype),
            "layer2.rms1.weight": np.ones(128, dtype),
            "layer2.mha1.in_proj_weight": normal(rng, (256, 128), dtype),
            "layer2.mha1.out_proj.weight": residual_end(rng, (128, 128), 8, dtype),
            "layer2.rms2.weight": np.ones(128, dtype),
            "layer2.swiglu1.gate.weight": normal(rng, (344, 128), dtype),
            "layer2.swiglu1.up.weight": normal(rng, (344, 128), dtype),
            "layer2.linear1.weight": residual_end(rng, (128, 344), 8, dtype),
            "layer3.rms1.weight": np.ones(128, dtype),
            "layer3.mha1.in_proj_weight": normal(rng, (256, 128), dtype),
            "layer3.mha1.out_proj.weight": residual_end(rng, (128, 128), 8, dtype),
            "layer3.rms2.weight": np.ones(128, dtype),
            "layer3.swiglu1.gate.weight": normal(rng, (344, 128), dtype),
            "layer3.swiglu1.up.weight": normal(rng, (344, 128), dtype),
            "layer3.linear1.weight": residual_end(rng, (128, 344), 8, dtype),
            "layer4.rms1.weight": np.ones(128, dtype),
            "layer4.mha1.in_proj_weight": normal(rng, (256, 128), dtype),
            "layer4.mha1.out_proj.weight": residual_end(rng, (128, 128), 8, dtype),
            "layer4.rms2.weight": np.ones(128, dtype),
            "layer4.swiglu1.gate.weight": normal(rng, (344, 128), dtype),
            "layer4.swiglu1.up.weight": normal(rng, (344, 128), dtype),
            "layer4.linear1.weight": residual_end(rng, (128, 344), 8, dtype),
            "rms1.weight": np.ones(128, dtype),
            "linear1.weight": normal(rng, (65, 128), dtype),
        }
        self.buffers = {}
        self.saved, self.optimizer_state = {}, {}
        self.rng = rng

    def loss(self, logits, target):
        """Logits (N, T, K) and labels (N, T) -> mean loss over all tokens, dlogits."""
        loss, dlogits = cross_entropy(logits.reshape(-1, logits.shape[2]), target.reshape(-1))
        return loss, dlogits.reshape(logits.shape)

    def forward(self, x, training=False):
        """x (N, 64) -> y (N, 64, 65)."""
        x = self.check_input(x)
        p, saved = self.params, self.saved
        x, saved["embed1"] = embed_forward(x, p["embed1.weight"])  # (N, 64, 128)

        # layer1: layer(features=128, hidden=344)
        y, saved["layer1.rms1"] = rms_forward(x, p["layer1.rms1.weight"], axis=2)
        y, saved["layer1.mha1"] = attention_forward(y, p["layer1.mha1.in_proj_weight"], None, p["layer1.mha1.out_proj.weight"], None, heads=4, kv=2, causal=True, rope=True)
        x, saved["layer1.add1"] = add_forward(y, x)  # (N, 64, 128)
        y, saved["layer1.rms2"] = rms_forward(x, p["layer1.rms2.weight"], axis=2)
        y, saved["layer1.swiglu1"] = swiglu_forward(y, p["layer1.swiglu1.gate.weight"], p["layer1.swiglu1.up.weight"])  # (N, 64, 344)
        y, saved["layer1.linear1"] = linear_forward(y, p["layer1.linear1.weight"], None)  # (N, 64, 128)
        x, saved["layer1.add2"] = add_forward(y, x)  # (N, 64, 128)

        # layer2: layer(features=128, hidden=344)
        y, saved["layer2.rms1"] = rms_forward(x, p["layer2.rms1.weight"], axis=2)
        y, saved["layer2.mha1"] = attention_forward(y, p["layer2.mha1.in_proj_weight"], None, p["layer2.mha1.out_proj.weight"], None, heads=4, kv=2, causal=True, rope=True)
        x, saved["layer2.add1"] = add_forward(y, x)  # (N, 64, 128)
        y, saved["layer2.rms2"] = rms_forward(x, p["layer2.rms2.weight"], axis=2)
        y, saved["layer2.swiglu1"] = swiglu_forward(y, p["layer2.swiglu1.gate.weight"], p["layer2.swiglu1.up.weight"])  # (N, 64, 344)
        y, saved["layer2.linear1"] = linear_forward(y, p["layer2.linear1.weight"], None)  # (N, 64, 128)
        x, saved["layer2.add2"] = add_forward(y, x)  # (N, 64, 128)

        # layer3: layer(features=128, hidden=344)
        y, saved["layer3.rms1"] = rms_forward(x, p["layer3.rms1.weight"], axis=2)
        y, saved["layer3.mha1"] = attention_forward(y, p["layer3.mha1.in_proj_weight"], None, p["layer3.mha1.out_proj.weight"], None, heads=4, kv=2, causal=True, rope=True)
        x, saved["layer3.add1"] = add_forward(y, x)  # (N, 64, 128)
        y, saved["layer3.rms2"] = rms_forward(x, p["layer3.rms2.weight"], axis=2)
        y, saved["layer3.swiglu1"] = swiglu_forward(y, p["layer3.swiglu1.gate.weight"], p["layer3.swiglu1.up.weight"])  # (N, 64, 344)
        y, saved["layer3.linear1"] = linear_forward(y, p["layer3.linear1.weight"], None)  # (N, 64, 128)
        x, saved["layer3.add2"] = add_forward(y, x)  # (N, 64, 128)

        # layer4: layer(features=128, hidden=344)
        y, saved["layer4.rms1"] = rms_forward(x, p["layer4.rms1.weight"], axis=2)
        y, saved["layer4.mha1"] = attention_forward(y, p["layer4.mha1.in_proj_weight"], None, p["layer4.mha1.out_proj.weight"], None, heads=4, kv=2, causal=True, rope=True)
        x, saved["layer4.add1"] = add_forward(y, x)  # (N, 64, 128)
        y, saved["layer4.rms2"] = rms_forward(x, p["layer4.rms2.weight"], axis=2)
        y, saved["layer4.swiglu1"] = swiglu_forward(y, p["layer4.swiglu1.gate.weight"], p["layer4.swiglu1.up.weight"])  # (N, 64, 344)
        y, saved["layer4.linear1"] = linear_forward(y, p["layer4.linear1.weight"], None)  # (N, 64, 128)
        x, saved["layer4.add2"] = add_forward(y, x)  # (N, 64, 128)

        # the network itself
        x, saved["rms1"] = rms_forward(x, p["rms1.weight"], axis=2)
        x, saved["linear1"] = linear_forward(x, p["linear1.weight"], None)  # (N, 64, 65)
        return x

    def logits(self, x, training=False):
        """What the loss reads: the output."""
        return self.forward(x, training)

    def backward(self, dy):
        """The gradient by the logits -> dx, {param name: gradient}, for the last batch."""
        saved, grads = self.saved, {}
        dy, grads["linear1"] = linear_backward(dy, saved["linear1"])  # (N, 64, 128)
        dy, grads["rms1"] = rms_backward(dy, saved["rms1"])

        # layer4
        (dy, dz), _ = add_backward(dy, saved["layer4.add2"])
        dy, grads["layer4.linear1"] = linear_backward(dy, saved["layer4.linear1"])  # (N, 64, 344)
        dy, grads["layer4.swiglu1"] = swiglu_backward(dy, saved["layer4.swiglu1"])  # (N, 64, 128)
        dy, grads["layer4.rms2"] = rms_backward(dy, saved["layer4.rms2"])
        dz = dz + dy
        (dy, dz), _ = add_backward(dz, saved["layer4.add1"])
        dy, grads["layer4.mha1"] = attention_backward(dy, saved["layer4.mha1"])
        dy, grads["layer4.rms1"] = rms_backward(dy, saved["layer4.rms1"])
        dz = dz + dy

        # layer3
        (dy, dz), _ = add_backward(dz, saved["layer3.add2"])
        dy, grads["layer3.linear1"] = linear_backward(dy, saved["layer3.linear1"])  # (N, 64, 344)
        dy, grads["layer3.swiglu1"] = swiglu_backward(dy, saved["layer3.swiglu1"])  # (N, 64, 128)
        dy, grads["layer3.rms2"] = rms_backward(dy, saved["layer3.rms2"])
        dz = dz + dy
        (dy, dz), _ = add_backward(dz, saved["layer3.add1"])
        dy, grads["layer3.mha1"] = attention_backward(dy, saved["layer3.mha1"])
        dy, grads["layer3.rms1"] = rms_backward(dy, saved["layer3.rms1"])
        dz = dz + dy

        # layer2
        (dy, dz), _ = add_backward(dz, saved["layer2.add2"])
        dy, grads["layer2.linear1"] = linear_backward(dy, saved["layer2.linear1"])  # (N, 64, 344)
        dy, grads["layer2.swiglu1"] = swiglu_backward(dy, saved["layer2.swiglu1"])  # (N, 64, 128)
        dy, grads["layer2.rms2"] = rms_backward(dy, saved["layer2.rms2"])
        dz = dz + dy
        (dy, dz), _ = add_backward(dz, saved["layer2.add1"])
        dy, grads["layer2.mha1"] = attention_backward(dy, saved["layer2.mha1"])
        dy, grads["layer2.rms1"] = rms_backward(dy, saved["layer2.rms1"])
        dz = dz + dy

        # layer1
        (dy, dz), _ = add_backward(dz, saved["layer1.add2"])
        dy, grads["layer1.linear1"] = linear_backward(dy, saved["layer1.linear1"])  # (N, 64, 344)
        dy, grads["layer1.swiglu1"] = swiglu_backward(dy, saved["layer1.swiglu1"])  # (N, 64, 128)
        dy, grads["layer1.rms2"] = rms_backward(dy, saved["layer1.rms2"])
        dz = dz + dy
        (dy, dz), _ = add_backward(dz, saved["layer1.add1"])
        dy, grads["layer1.mha1"] = attention_backward(dy, saved["layer1.mha1"])
        dy, grads["layer1.rms1"] = rms_backward(dy, saved["layer1.rms1"])
        dz = dz + dy

        # the network itself
        dy, grads["embed1"] = embed_backward(dz, saved["embed1"])  # (N, 64)

        return dy, {f"{layer}.{name}": g for layer, named in reversed(grads.items()) for name, g in named.items()}

    def update(self, grads, lr):
        """One step of the optimizer, in place."""
        grads = clipped(grads, 1.0)
        decaying_matrices(adamw_step, self.params, grads, self.optimizer_state, lr, weight_decay=0.1, betas=(0.9, 0.99))

    def check_input(self, x):
        """x (N, 64), whole numbers from 0 to 64 -> the same as int64. Raises ValueError."""
        return check_ids(x, 64, 65)

    def next_logits(self, x, states):
        """The next numbers x (N, S) of texts, and what layers kept of those before -> logits of what follows each."""
        x, p = check_ids(x, x.shape[1], 65), self.params
        x = embed_forward(x, p["embed1.weight"])[0]

        # layer1: layer(features=128, hidden=344)
        y = rms_forward(x, p["layer1.rms1.weight"], axis=2)[0]
        y, states["layer1.mha1"] = attention_go_on(
            y, p["layer1.mha1.in_proj_weight"], None, p["layer1.mha1.out_proj.weight"], None, heads=4, kv=2, rope=True,
            state=states.get("layer1.mha1")
        )
        x = add_forward(y, x)[0]
        y = rms_forward(x, p["layer1.rms2.weight"], axis=2)[0]
        y = swiglu_forward(y, p["layer1.swiglu1.gate.weight"], p["layer1.swiglu1.up.weight"])[0]
        y = linear_forward(y, p["layer1.linear1.weight"], None)[0]
        x = add_forward(y, x)[0]

        # layer2: layer(features=128, hidden=344)
        y = rms_forward(x, p["layer2.rms1.weight"], axis=2)[0]
        y, states["layer2.mha1"] = attention_go_on(
            y, p["layer2.mha1.in_proj_weight"], None, p["layer2.mha1.out_proj.weight"], None, heads=4, kv=2, rope=True,
            state=states.get("layer2.mha1")
        )
        x = add_forward(y, x)[0]
        y = rms_forward(x, p["layer2.rms2.weight"], axis=2)[0]
        y = swiglu_forward(y, p["layer2.swiglu1.gate.weight"], p["layer2.swiglu1.up.weight"])[0]
        y = linear_forward(y, p["layer2.linear1.weight"], None)[0]
        x = add_forward(y, x)[0]

        # layer3: layer(features=128, hidden=344)
        y = rms_forward(x, p["layer3.rms1.weight"], axis=2)[0]
        y, states["layer3.mha1"] = attention_go_on(
            y, p["layer3.mha1.in_proj_weight"], None, p["layer3.mha1.out_proj.weight"], None, heads=4, kv=2, rope=True,
            state=states.get("layer3.mha1")
        )
        x = add_forward(y, x)[0]
        y = rms_forward(x, p["layer3.rms2.weight"], axis=2)[0]
        y = swiglu_forward(y, p["layer3.swiglu1.gate.weight"], p["layer3.swiglu1.up.weight"])[0]
        y = linear_forward(y, p["layer3.linear1.weight"], None)[0]
        x = add_forward(y, x)[0]

        # layer4: layer(features=128, hidden=344)
        y = rms_forward(x, p["layer4.rms1.weight"], axis=2)[0]
        y, states["layer4.mha1"] = attention_go_on(
            y, p["layer4.mha1.in_proj_weight"], None, p["layer4.mha1.out_proj.weight"], None, heads=4, kv=2, rope=True,
            state=states.get("layer4.mha1")
        )
        x = add_forward(y, x)[0]
        y = rms_forward(x, p["layer4.rms2.weight"], axis=2)[0]
        y = swiglu_forward(y, p["layer4.swiglu1.gate.weight"], p["layer4.swiglu1.up.weight"])[0]
        y = linear_forward(y, p["layer4.linear1.weight"], None)[0]
        x = add_forward(y, x)[0]

        # the network itself
        x = rms_forward(x, p["rms1.weight"], axis=2)[0]
        x = linear_forward(x, p["linear1.weight"], None)[0]
        return x


Model = CharLlama


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
    x = (rng.integers(0, 65, (256, 1)) + np.arange(64)) % 65  # texts that count
    y = (x + 1) % 65
    model = Model(seed=0)
    for epoch in range(1, 6):
        (loss,) = model.fit(x, y, epochs=1, batch=32, seed=epoch)
        print(f"epoch {epoch}: loss {loss:.4f}, accuracy {model.score(x, y):.3f}")
