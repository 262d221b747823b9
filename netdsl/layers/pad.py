"""`pad`: zeros around a map."""

import numpy as np

from netdsl.kernels.shape_stages import Pad
from netdsl.layers.contract import REQUIRED, Attr, LayerDef, StageCall, require_rank
from netdsl.symbols import pair_text


def pad_shape(attrs, x):
    """(C, H, W) -> (C, H + 2 * padding, W + 2 * padding)."""
    require_rank(x, 3, "`pad`")
    ph, pw = attrs["padding"]
    return (x[0], x[1] + 2 * ph, x[2] + 2 * pw)


def pad_forward(x, padding):
    """x (N, C, H, W) -> y with padding[0] rows of zeros above and below, padding[1] columns left and right."""
    ph, pw = padding
    return np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw))), (x.shape, padding)


def pad_backward(dy, saved):
    """What belongs to x."""
    (_, _, h, w), (ph, pw) = saved
    return dy[:, :, ph : ph + h, pw : pw + w], {}


def pad_torch(attrs, x):
    ph, pw = attrs["padding"]
    return f"nn.ZeroPad2d({pair_text((ph, pw)) if ph == pw else (pw, pw, ph, ph)!r})"


LAYER = LayerDef(
    name="pad",
    summary="P rows and columns of zeros on each side",
    attrs=(Attr("padding", "pair", REQUIRED, flag="p", positional=True, minimum=0, label="the padding"),),
    shape=pad_shape,
    forward=pad_forward,
    backward=pad_backward,
    torch=pad_torch,
    stages=lambda attrs, x: (StageCall(Pad, (x, attrs["padding"])),),
)
