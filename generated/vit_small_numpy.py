"""VitSmall in NumPy, 3x32x32 -> 10, 809,098 parameters. Written by `netdsl compile -O0`; needs numpy and nothing else.

    layer           output   parameters      layer           output   parameters
    conv1           128x8x8       6,272      layer3.mha1     64x128       66,048
    tokens1         64x128                   layer3.add1     64x128
    pos1            64x128        8,192      layer3.ln2      64x128          256
    layer1.ln1      64x128          256      layer3.linear1  64x512       66,048
    layer1.mha1     64x128       66,048      layer3.gelu1    64x512
    layer1.add1     64x128                   layer3.linear2  64x128       65,664
    layer1.ln2      64x128          256      layer3.add2     64x128
    layer1.linear1  64x512       66,048      layer4.ln1      64x128          256
    layer1.gelu1    64x512                   layer4.mha1     64x128       66,048
    layer1.linear2  64x128       65,664      layer4.add1     64x128
    layer1.add2     64x128                   layer4.ln2      64x128          256
    layer2.ln1      64x128          256      layer4.linear1  64x512       66,048
    layer2.mha1     64x128       66,048      layer4.gelu1    64x512
    layer2.add1     64x128                   layer4.linear2  64x128       65,664
    layer2.ln2      64x128          256      layer4.add2     64x128
    layer2.linear1  64x512       66,048      ln1             64x128          256
    layer2.gelu1    64x512                   map1            128x8x8
    layer2.linear2  64x128       65,664      gap1            128
    layer2.add2     64x128                   linear1         10            1,290
    layer3.ln1      64x128          256

Arrays are (N, C, H, W). Every `<layer>_forward` returns (y, saved); its `<layer>_backward` takes (dy, saved) and
returns (dx, gradients). `dy` is the gradient of the loss by y.
"""

import json
import math
import os
import zipfile

import numpy as np

INPUT_SHAPE = (3, 32, 32)
NUM_PARAMETERS = 809_098


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


def tokens_forward(x):
    """x (N, C, H, W), or any other axes of space -> y (N, H*W, C), row by row (Dosovitskiy et al. 2021)."""
    return x.reshape(*x.shape[:2], -1).transpose(0, 2, 1), x.shape


def tokens_backward(dy, saved):
    """The tokens back at their positions."""
    return dy.transpose(0, 2, 1).reshape(saved), {}


def pos_forward(x, weight):
    """y = x + weight, x (N, T, D), weight (1, T, D) (Dosovitskiy et al. 2021)."""
    return x + weight, None


def pos_backward(dy, saved):
    """dx = dy; dweight sums dy over the batch."""
    return dy, {"": dy.sum(axis=0, keepdims=True)}


def ln_forward(x, weight, bias, eps=1e-5, axis=1):
    """y = weight * (x - mean) / sqrt(var + eps) + bias (Ba et al. 2016), mean and var over the features.

    The features are axis 1 of maps (N, C, *space), each position by itself, and of (N, D); of (N, T, D) axis 2.
    """
    shape = (-1, *[1] * (x.ndim - axis - 1))
    mean = x.mean(axis=axis, keepdims=True)
    inv_std = 1 / np.sqrt(((x - mean) ** 2).mean(axis=axis, keepdims=True) + eps)
    x_hat = (x - mean) * inv_std
    y = x_hat if weight is None else weight.reshape(shape) * x_hat
    if bias is not None:
        y = y + bias.reshape(shape)
    return y, (x_hat, inv_std, weight, bias is not None, axis, shape)


def ln_backward(dy, saved):
    """dx = inv_std * (g - mean(g) - x_hat * mean(g * x_hat)), g = dy * weight."""
    x_hat, inv_std, weight, has_bias, axis, shape = saved
    g = dy if weight is None else dy * weight.reshape(shape)
    means = [part.mean(axis=axis, keepdims=True) for part in (g, g * x_hat)]
    dx = inv_std * (g - means[0] - x_hat * means[1])
    if weight is None:
        return dx, {}
    others = tuple(a for a in range(dy.ndim) if a != axis)
    grads = {"weight": (dy * x_hat).sum(axis=others)}
    if has_bias:
        grads["bias"] = dy.sum(axis=others)
    return dx, grads


def softmax(x, axis):
    """exp(x) / sum of exp(x) along `axis`; the maximum is taken out first, so that nothing overflows."""
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def mha_forward(x, in_proj_weight, in_proj_bias, out_proj_weight, out_proj_bias, heads):
    """x (N, T, D) -> y (N, T, D) = concat over heads of softmax(q k^T / sqrt(D / heads)) v, times out_proj.

    Vaswani et al. 2017, eq. 1; q, k, v are rows 0, 1, 2 times D of in_proj_weight (3D, D) applied to x, as in PyTorch.
    """
    n, t, d = x.shape
    qkv = np.matmul(x, in_proj_weight.T)
    if in_proj_bias is not None:
        qkv = qkv + in_proj_bias
    q, k, v = qkv.reshape(n, t, 3, heads, d // heads).transpose(2, 0, 3, 1, 4)  # each (N, heads, T, D/heads)
    scale = (d // heads) ** -0.5
    weights = softmax(np.matmul(q * scale, k.swapaxes(2, 3)), 3)  # (N, heads, T, T)
    mixed = np.matmul(weights, v).transpose(0, 2, 1, 3).reshape(n, t, d)
    y = np.matmul(mixed, out_proj_weight.T)
    if out_proj_bias is not None:
        y = y + out_proj_bias
    return y, (x, q, k, v, weights, mixed, in_proj_weight, out_proj_weight, in_proj_bias is not None)


def mha_backward(dy, saved):
    """Back through the output matrix, the mixing, the softmax (ds = w * (dw - sum(dw * w))), and the input matrix."""
    x, q, k, v, weights, mixed, in_proj_weight, out_proj_weight, has_bias = saved
    n, t, d = x.shape
    heads = q.shape[1]
    scale = (d // heads) ** -0.5
    dmixed = np.matmul(dy, out_proj_weight).reshape(n, t, heads, -1).transpose(0, 2, 1, 3)
    dweights = np.matmul(dmixed, v.swapaxes(2, 3))
    dscores = weights * (dweights - (dweights * weights).sum(axis=3, keepdims=True))
    dq, dk = np.matmul(dscores, k) * scale, np.matmul(dscores.swapaxes(2, 3), q) * scale
    dv = np.matmul(weights.swapaxes(2, 3), dmixed)
    dqkv = np.stack([dq, dk, dv]).transpose(1, 3, 0, 2, 4).reshape(n * t, 3 * d)
    rows = dy.reshape(n * t, d)
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


def erf_series(count):
    """The coefficients of the Chebyshev series h of `erf`, from its values at `count` Chebyshev points, which come from
    math.erf and math.erfc."""
    angles = np.pi * (np.arange(count) + 0.5) / count
    h = []
    for t in (3 * (1 + np.cos(angles)) / (2 - np.cos(angles))).tolist():
        near_0 = (math.erf(t) + math.expm1(-t * t)) * math.exp(t * t)  # the other form cancels
        h.append((near_0 if t < 1 else 1 - math.erfc(t) * math.exp(t * t)) / t)
    return (2 / count * np.matmul(np.cos(np.outer(np.arange(count), angles)), np.array(h))).tolist()


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


def gelu_forward(x):
    """y = x * Phi(x), Phi(x) = (1 + erf(x / sqrt(2))) / 2 (Hendrycks & Gimpel 2016)."""
    phi = 0.5 * (1 + erf(x * 0.5**0.5))
    return x * phi, (x, phi)


def gelu_backward(dy, saved):
    """dx = dy * (Phi(x) + x * exp(-x*x/2) / sqrt(2 pi))."""
    x, phi = saved
    bounded = np.clip(x, -40, 40)  # beyond, the density is 0 and the square may overflow
    density = np.exp(-0.5 * bounded * bounded) * (2 * math.pi) ** -0.5
    return dy * (phi + x * density), {}


def map_forward(x, space):
    """x (N, T, D) -> y (N, D, *space), of (H, W) row by row."""
    return x.transpose(0, 2, 1).reshape(len(x), -1, *space), None


def map_backward(dy, saved):
    """The map as tokens again."""
    return dy.reshape(*dy.shape[:2], -1).transpose(0, 2, 1), {}


def gap_forward(x):
    """x (N, C, *space) -> y (N, C), the mean over all places, of an image H and W."""
    return x.mean(axis=tuple(range(2, x.ndim))), x.shape


def gap_backward(dy, saved):
    """Every element of a channel gets dy / (the number of places)."""
    n, c, *space = saved
    share = dy / math.prod(space)
    return np.broadcast_to(share.reshape(n, c, *[1] * len(space)), saved), {}


def constant(numbers, ndim, axis):
    """One number, or one for each channel, as float32 that fits arrays of `ndim` axes with their channels along one."""
    return np.array(numbers, np.float32).reshape(-1, *[1] * (ndim - axis - 1))


def normalize(x, mean, std, axis=1):
    """x (N, ...) -> (x - mean) / std, one number each, or one for each channel: axis 1 of maps, 2 of tokens (N, T, D).

    The numbers are those of float32 for x of any dtype, so that every module of the network has the same.
    """
    return (x - constant(mean, x.ndim, axis)) / constant(std, x.ndim, axis)


def normalize_backward(dy, std, axis=1):
    """dx = dy / std."""
    return dy / constant(std, dy.ndim, axis)


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


def he(rng, shape, fan_in, fan_out, dtype):
    """He et al. 2015: normal with variance 2 / fan_in."""
    return (rng.standard_normal(shape) * (2.0 / fan_in) ** 0.5).astype(dtype)


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


class VitSmall(Network):
    """(N, 3, 32, 32) -> (N, 10)."""

    input_shape = INPUT_SHAPE
    learning_rate = 0.001
    loss = staticmethod(cross_entropy)

    def __init__(self, seed=0, dtype=np.float32):
        rng = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)
        self.params = {
            "pos1": normal(rng, (1, 64, 128), dtype),
            "conv1.weight": he(rng, (128, 3, 4, 4), 48, 2048, dtype),
            "conv1.bias": np.zeros(128, dtype),
            "layer1.ln1.weight": np.ones(128, dtype),
            "layer1.ln1.bias": np.zeros(128, dtype),
            "layer1.mha1.in_proj_weight": he(rng, (384, 128), 128, 384, dtype),
            "layer1.mha1.in_proj_bias": np.zeros(384, dtype),
            "layer1.mha1.out_proj.weight": he(rng, (128, 128), 128, 128, dtype),
            "layer1.mha1.out_proj.bias": np.zeros(128, dtype),
            "layer1.ln2.weight": np.ones(128, dtype),
            "layer1.ln2.bias": np.zeros(128, dtype),
            "layer1.linear1.weight": he(rng, (512, 128), 128, 512, dtype),
            "layer1.linear1.bias": np.zeros(512, dtype),
            "layer1.linear2.weight": he(rng, (128, 512), 512, 128, dtype),
            "layer1.linear2.bias": np.zeros(128, dtype),
            "layer2.ln1.weight": np.ones(128, dtype),
            "layer2.ln1.bias": np.zeros(128, dtype),
            "layer2.mha1.in_proj_weight": he(rng, (384, 128), 128, 384, dtype),
            "layer2.mha1.in_proj_bias": np.zeros(384, dtype),
            "layer2.mha1.out_proj.weight": he(rng, (128, 128), 128, 128, dtype),
            "layer2.mha1.out_proj.bias": np.zeros(128, dtype),
            "layer2.ln2.weight": np.ones(128, dtype),
            "layer2.ln2.bias": np.zeros(128, dtype),
            "layer2.linear1.weight": he(rng, (512, 128), 128, 512, dtype),
            "layer2.linear1.bias": np.zeros(512, dtype),
            "layer2.linear2.weight": he(rng, (128, 512), 512, 128, dtype),
            "layer2.linear2.bias": np.zeros(128, dtype),
            "layer3.ln1.weight": np.ones(128, dtype),
            "layer3.ln1.bias": np.zeros(128, dtype),
            "layer3.mha1.in_proj_weight": he(rng, (384, 128), 128, 384, dtype),
            "layer3.mha1.in_proj_bias": np.zeros(384, dtype),
            "layer3.mha1.out_proj.weight": he(rng, (128, 128), 128, 128, dtype),
            "layer3.mha1.out_proj.bias": np.zeros(128, dtype),
            "layer3.ln2.weight": np.ones(128, dtype),
            "layer3.ln2.bias": np.zeros(128, dtype),
            "layer3.linear1.weight": he(rng, (512, 128), 128, 512, dtype),
            "layer3.linear1.bias": np.zeros(512, dtype),
            "layer3.linear2.weight": he(rng, (128, 512), 512, 128, dtype),
            "layer3.linear2.bias": np.zeros(128, dtype),
            "layer4.ln1.weight": np.ones(128, dtype),
            "layer4.ln1.bias": np.zeros(128, dtype),
            "layer4.mha1.in_proj_weight": he(rng, (384, 128), 128, 384, dtype),
            "layer4.mha1.in_proj_bias": np.zeros(384, dtype),
            "layer4.mha1.out_proj.weight": he(rng, (128, 128), 128, 128, dtype),
            "layer4.mha1.out_proj.bias": np.zeros(128, dtype),
            "layer4.ln2.weight": np.ones(128, dtype),
            "layer4.ln2.bias": np.zeros(128, dtype),
            "layer4.linear1.weight": he(rng, (512, 128), 128, 512, dtype),
            "layer4.linear1.bias": np.zeros(512, dtype),
            "layer4.linear2.weight": he(rng, (128, 512), 512, 128, dtype),
            "layer4.linear2.bias": np.zeros(128, dtype),
            "ln1.weight": np.ones(128, dtype),
            "ln1.bias": np.zeros(128, dtype),
            "linear1.weight": he(rng, (10, 128), 128, 10, dtype),
            "linear1.bias": np.zeros(10, dtype),
        }
        self.buffers = {}
        self.saved, self.optimizer_state = {}, {}
        self.rng = rng

    def forward(self, x, training=False):
        """x (N, 3, 32, 32) -> y (N, 10). x is raw: it is normalized here, and bytes (uint8) become 0..1 before."""
        x = self.check_input(x)
        x = normalize(x, mean=(0.4914, 0.4822, 0.4465), std=(0.247, 0.2435, 0.2616))
        p, saved = self.params, self.saved
        x, saved["conv1"] = conv_forward(x, p["conv1.weight"], p["conv1.bias"], stride=(4, 4))  # (N, 128, 8, 8)
        x, saved["tokens1"] = tokens_forward(x)  # (N, 64, 128)
        x, saved["pos1"] = pos_forward(x, p["pos1"])

        # layer1: layer(features=512)
        y, saved["layer1.ln1"] = ln_forward(x, p["layer1.ln1.weight"], p["layer1.ln1.bias"], axis=2)
        y, saved["layer1.mha1"] = mha_forward(y, p["layer1.mha1.in_proj_weight"], p["layer1.mha1.in_proj_bias"], p["layer1.mha1.out_proj.weight"], p["layer1.mha1.out_proj.bias"], heads=4)
        x, saved["layer1.add1"] = add_forward(y, x)  # (N, 64, 128)
        y, saved["layer1.ln2"] = ln_forward(x, p["layer1.ln2.weight"], p["layer1.ln2.bias"], axis=2)
        y, saved["layer1.linear1"] = linear_forward(y, p["layer1.linear1.weight"], p["layer1.linear1.bias"])  # (N, 64, 512)
        y, saved["layer1.gelu1"] = gelu_forward(y)
        y, saved["layer1.linear2"] = linear_forward(y, p["layer1.linear2.weight"], p["layer1.linear2.bias"])  # (N, 64, 128)
        x, saved["layer1.add2"] = add_forward(y, x)  # (N, 64, 128)

        # layer2: layer(features=512)
        y, saved["layer2.ln1"] = ln_forward(x, p["layer2.ln1.weight"], p["layer2.ln1.bias"], axis=2)
        y, saved["layer2.mha1"] = mha_forward(y, p["layer2.mha1.in_proj_weight"], p["layer2.mha1.in_proj_bias"], p["layer2.mha1.out_proj.weight"], p["layer2.mha1.out_proj.bias"], heads=4)
        x, saved["layer2.add1"] = add_forward(y, x)  # (N, 64, 128)
        y, saved["layer2.ln2"] = ln_forward(x, p["layer2.ln2.weight"], p["layer2.ln2.bias"], axis=2)
        y, saved["layer2.linear1"] = linear_forward(y, p["layer2.linear1.weight"], p["layer2.linear1.bias"])  # (N, 64, 512)
        y, saved["layer2.gelu1"] = gelu_forward(y)
        y, saved["layer2.linear2"] = linear_forward(y, p["layer2.linear2.weight"], p["layer2.linear2.bias"])  # (N, 64, 128)
        x, saved["layer2.add2"] = add_forward(y, x)  # (N, 64, 128)

        # layer3: layer(features=512)
        y, saved["layer3.ln1"] = ln_forward(x, p["layer3.ln1.weight"], p["layer3.ln1.bias"], axis=2)
        y, saved["layer3.mha1"] = mha_forward(y, p["layer3.mha1.in_proj_weight"], p["layer3.mha1.in_proj_bias"], p["layer3.mha1.out_proj.weight"], p["layer3.mha1.out_proj.bias"], heads=4)
        x, saved["layer3.add1"] = add_forward(y, x)  # (N, 64, 128)
        y, saved["layer3.ln2"] = ln_forward(x, p["layer3.ln2.weight"], p["layer3.ln2.bias"], axis=2)
        y, saved["layer3.linear1"] = linear_forward(y, p["layer3.linear1.weight"], p["layer3.linear1.bias"])  # (N, 64, 512)
        y, saved["layer3.gelu1"] = gelu_forward(y)
        y, saved["layer3.linear2"] = linear_forward(y, p["layer3.linear2.weight"], p["layer3.linear2.bias"])  # (N, 64, 128)
        x, saved["layer3.add2"] = add_forward(y, x)  # (N, 64, 128)

        # layer4: layer(features=512)
        y, saved["layer4.ln1"] = ln_forward(x, p["layer4.ln1.weight"], p["layer4.ln1.bias"], axis=2)
        y, saved["layer4.mha1"] = mha_forward(y, p["layer4.mha1.in_proj_weight"], p["layer4.mha1.in_proj_bias"], p["layer4.mha1.out_proj.weight"], p["layer4.mha1.out_proj.bias"], heads=4)
        x, saved["layer4.add1"] = add_forward(y, x)  # (N, 64, 128)
        y, saved["layer4.ln2"] = ln_forward(x, p["layer4.ln2.weight"], p["layer4.ln2.bias"], axis=2)
        y, saved["layer4.linear1"] = linear_forward(y, p["layer4.linear1.weight"], p["layer4.linear1.bias"])  # (N, 64, 512)
        y, saved["layer4.gelu1"] = gelu_forward(y)
        y, saved["layer4.linear2"] = linear_forward(y, p["layer4.linear2.weight"], p["layer4.linear2.bias"])  # (N, 64, 128)
        x, saved["layer4.add2"] = add_forward(y, x)  # (N, 64, 128)

        # the network itself
        x, saved["ln1"] = ln_forward(x, p["ln1.weight"], p["ln1.bias"], axis=2)
        x, saved["map1"] = map_forward(x, space=(8, 8))  # (N, 128, 8, 8)
        x, saved["gap1"] = gap_forward(x)  # (N, 128)
        x, saved["linear1"] = linear_forward(x, p["linear1.weight"], p["linear1.bias"])  # (N, 10)
        return x

    def logits(self, x, training=False):
        """What the loss reads: the output."""
        return self.forward(x, training)

    def backward(self, dy):
        """The gradient by the logits -> dx, {param name: gradient}, for the last batch."""
        saved, grads = self.saved, {}
        dy, grads["linear1"] = linear_backward(dy, saved["linear1"])  # (N, 128)
        dy, _ = gap_backward(dy, saved["gap1"])  # (N, 128, 8, 8)
        dy, _ = map_backward(dy, saved["map1"])  # (N, 64, 128)
        dy, grads["ln1"] = ln_backward(dy, saved["ln1"])

        # layer4
        (dy, dz), _ = add_backward(dy, saved["layer4.add2"])
        dy, grads["layer4.linear2"] = linear_backward(dy, saved["layer4.linear2"])  # (N, 64, 512)
        dy, _ = gelu_backward(dy, saved["layer4.gelu1"])
        dy, grads["layer4.linear1"] = linear_backward(dy, saved["layer4.linear1"])  # (N, 64, 128)
        dy, grads["layer4.ln2"] = ln_backward(dy, saved["layer4.ln2"])
        dz = dz + dy
        (dy, dz), _ = add_backward(dz, saved["layer4.add1"])
        dy, grads["layer4.mha1"] = mha_backward(dy, saved["layer4.mha1"])
        dy, grads["layer4.ln1"] = ln_backward(dy, saved["layer4.ln1"])
        dz = dz + dy

        # layer3
        (dy, dz), _ = add_backward(dz, saved["layer3.add2"])
        dy, grads["layer3.linear2"] = linear_backward(dy, saved["layer3.linear2"])  # (N, 64, 512)
        dy, _ = gelu_backward(dy, saved["layer3.gelu1"])
        dy, grads["layer3.linear1"] = linear_backward(dy, saved["layer3.linear1"])  # (N, 64, 128)
        dy, grads["layer3.ln2"] = ln_backward(dy, saved["layer3.ln2"])
        dz = dz + dy
        (dy, dz), _ = add_backward(dz, saved["layer3.add1"])
        dy, grads["layer3.mha1"] = mha_backward(dy, saved["layer3.mha1"])
        dy, grads["layer3.ln1"] = ln_backward(dy, saved["layer3.ln1"])
        dz = dz + dy

        # layer2
        (dy, dz), _ = add_backward(dz, saved["layer2.add2"])
        dy, grads["layer2.linear2"] = linear_backward(dy, saved["layer2.linear2"])  # (N, 64, 512)
        dy, _ = gelu_backward(dy, saved["layer2.gelu1"])
        dy, grads["layer2.linear1"] = linear_backward(dy, saved["layer2.linear1"])  # (N, 64, 128)
        dy, grads["layer2.ln2"] = ln_backward(dy, saved["layer2.ln2"])
        dz = dz + dy
        (dy, dz), _ = add_backward(dz, saved["layer2.add1"])
        dy, grads["layer2.mha1"] = mha_backward(dy, saved["layer2.mha1"])
        dy, grads["layer2.ln1"] = ln_backward(dy, saved["layer2.ln1"])
        dz = dz + dy

        # layer1
        (dy, dz), _ = add_backward(dz, saved["layer1.add2"])
        dy, grads["layer1.linear2"] = linear_backward(dy, saved["layer1.linear2"])  # (N, 64, 512)
        dy, _ = gelu_backward(dy, saved["layer1.gelu1"])
        dy, grads["layer1.linear1"] = linear_backward(dy, saved["layer1.linear1"])  # (N, 64, 128)
        dy, grads["layer1.ln2"] = ln_backward(dy, saved["layer1.ln2"])
        dz = dz + dy
        (dy, dz), _ = add_backward(dz, saved["layer1.add1"])
        dy, grads["layer1.mha1"] = mha_backward(dy, saved["layer1.mha1"])
        dy, grads["layer1.ln1"] = ln_backward(dy, saved["layer1.ln1"])
        dz = dz + dy

        # the network itself
        dy, grads["pos1"] = pos_backward(dz, saved["pos1"])
        dy, _ = tokens_backward(dy, saved["tokens1"])  # (N, 128, 8, 8)
        dy, grads["conv1"] = conv_backward(dy, saved["conv1"])  # (N, 3, 32, 32)

        dy = normalize_backward(dy, std=(0.247, 0.2435, 0.2616))
        return dy, {f"{layer}.{name}".rstrip("."): g for layer, named in reversed(grads.items()) for name, g in named.items()}

    def update(self, grads, lr):
        """One step of the optimizer, in place."""
        adamw_step(self.params, grads, self.optimizer_state, lr, weight_decay=0.05)


Model = VitSmall


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
    y = rng.integers(0, 10, 64)
    patterns = rng.standard_normal((10, *INPUT_SHAPE))  # one for each class
    x = (patterns[y] + rng.standard_normal((64, *INPUT_SHAPE))).astype(np.float32)
    model = Model(seed=0)
    for epoch in range(1, 6):
        (loss,) = model.fit(x, y, epochs=1, batch=32, seed=epoch)
        print(f"epoch {epoch}: loss {loss:.4f}, accuracy {model.score(x, y):.3f}")
