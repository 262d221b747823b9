"""`pool`: maximum pooling."""

import numpy as np

from netdsl.diagnostics import SpecProblem
from netdsl.ir import show_shape
from netdsl.kernels.pooling import window_count, window_slices
from netdsl.layers.contract import REQUIRED, Attr, LayerDef, call_text, pair_text, require_rank


def pool_resolve(attrs, x):
    """Padding for each side; with `ceil` also the rows and columns that the last, incomplete windows reach over."""
    require_rank(x, 3, "`pool`")
    k, s, p, d = (attrs[name] for name in ("kernel_size", "stride", "padding", "dilation"))
    if any(2 * p[i] > k[i] for i in range(2)):
        raise SpecProblem("N304", f"padding {show_shape(p)} is more than half of a {show_shape(k)} window", attr="padding",
                          label="the padding", help=(f"use p{min(k) // 2} or less",))  # fmt: skip
    sides = []
    for i in range(2):
        reach, room = d[i] * (k[i] - 1) + 1, x[1 + i] + 2 * p[i]
        if reach > room:
            raise SpecProblem("N201", _does_not_fit(k, d[i], x, p), attr="kernel_size", label="the window",
                              help=(f"use a window of {(room - 1) // d[i] + 1} or less",))  # fmt: skip
        extra = -(room - reach) % s[i] if attrs["ceil"] else 0
        if extra and (room - reach + extra) // s[i] * s[i] >= x[1 + i] + p[i]:
            extra = 0  # PyTorch: the last window must start inside the input or the padding before it
        sides.append((p[i], p[i] + extra))
        if _only_padding(x[1 + i], k[i], s[i], sides[i], d[i]):
            raise SpecProblem("N201", f"a {show_shape(k)} window with dilation {d[i]} sees only padding at an edge of a {show_shape(x[1:])} input",
                              attr="dilation", label="the dilation", help=("use less padding or less dilation",))  # fmt: skip
    return {**attrs, "padding": tuple(sides)}


def _only_padding(size, k, s, sides, d):
    """True if some window along an axis holds no element of the input; its maximum would be -inf."""
    starts = [s * i - sides[0] for i in range(window_count(size, k, s, sides, d))]
    return d > 1 and any(not any(0 <= start + u * d < size for u in range(k)) for start in (starts[0], starts[-1]))


def _does_not_fit(k, dilation, x, p):
    dilated = f" with dilation {dilation}" if dilation > 1 else ""
    padded = f" with padding {show_shape(p)}" if p != (0, 0) else ""
    return f"a {show_shape(k)} window{dilated} does not fit a {show_shape(x[1:])} input{padded}"


def pool_shape(attrs, x):
    """(C, H, W) -> (C, Ho, Wo), Ho = floor((H + 2*padding - dilation * (Kh - 1) - 1) / stride) + 1, or ceil."""
    axes = zip(x[1:], *(attrs[name] for name in ("kernel_size", "stride", "padding", "dilation")), strict=True)
    return (x[0], *(window_count(*axis) for axis in axes))


def pool_forward(x, kernel_size, stride, padding=((0, 0), (0, 0)), dilation=(1, 1)):
    """x (N, C, H, W) -> y (N, C, Ho, Wo), the maximum of every window; the first one wins a tie, NaN wins over all.

    padding ((top, bottom), (left, right)) is never the maximum. winner holds the place in the window, counted by rows.
    """
    n, c, h, w = x.shape
    ho, wo = (window_count(*axis) for axis in zip((h, w), kernel_size, stride, padding, dilation))
    padded = np.pad(x, ((0, 0), (0, 0), *padding), constant_values=-np.inf)
    places = window_slices(kernel_size, stride, dilation, ho, wo)
    y = padded[:, :, places[0][0], places[0][1]].copy()
    winner = np.zeros(y.shape, np.int32)
    for place, (rows, cols) in enumerate(places[1:], 1):
        candidate = padded[:, :, rows, cols]
        better = (candidate > y) | (candidate != candidate)
        np.copyto(y, candidate, where=better)
        np.copyto(winner, place, where=better)
    return y, (x.shape, winner, kernel_size, stride, padding, dilation)


def pool_backward(dy, saved):
    """dy (N, C, Ho, Wo) -> dx (N, C, H, W): each dy goes to the element that won its window."""
    (n, c, h, w), winner, kernel_size, stride, padding, dilation = saved
    (top, bottom), (left, right) = padding
    dx = np.zeros((n, c, h + top + bottom, w + left + right), dy.dtype)
    for place, (rows, cols) in enumerate(window_slices(kernel_size, stride, dilation, *dy.shape[2:])):
        dx[:, :, rows, cols] += dy * (winner == place)
    return dx[:, :, top : top + h, left : left + w], {}


def pool_torch(attrs, x):
    k, s, ceil = attrs["kernel_size"], attrs["stride"], attrs["ceil"]
    padding = tuple(before for before, _ in attrs["padding"])
    options = {}
    if s != k:
        options["stride"] = pair_text(s)
    if padding != (0, 0):
        options["padding"] = pair_text(padding)
    if attrs["dilation"] != (1, 1):
        options["dilation"] = pair_text(attrs["dilation"])
    if ceil:
        options["ceil_mode"] = True
    return call_text("nn.MaxPool2d", pair_text(k), **options)


LAYER = LayerDef(
    name="pool",
    summary="maximum pooling",
    attrs=(
        Attr("kernel_size", "pair", REQUIRED, flag="k", spellings=("kernel",), positional=True, minimum=1, label="the window"),
        Attr("stride", "pair", "kernel_size", flag="s", minimum=1, label="the stride"),
        Attr("padding", "pair", (0, 0), flag="p", minimum=0, label="the padding"),
        Attr("dilation", "pair", (1, 1), flag="d", minimum=1, label="the dilation"),
        Attr("ceil", "word"),
    ),
    resolve=pool_resolve,
    shape=pool_shape,
    forward=pool_forward,
    backward=pool_backward,
    torch=pool_torch,
)
