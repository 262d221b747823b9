"""What the transposed convolutions share beside their kernel: shape, params, MACs, PyTorch's constructor."""

from __future__ import annotations

from math import prod

from netdsl.graph.ir import ParamSpec, show_shape
from netdsl.graph.types import Tensor, map_of, show_sized
from netdsl.ground.diagnostics import SpecProblem
from netdsl.ground.symbols import is_all, spatial_text
from netdsl.kernels.transposed import transposed_size
from netdsl.layers.rules.places import Attrs


def transposed_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(C, H, W) -> (F, Ho, Wo), Ho = (H - 1) * stride - 2 * padding + dilation * (Kh - 1) + output_padding + 1.

    Raises SpecProblem where groups do not divide the channels or nothing is left of the output.
    """
    c, f, groups = x.channels, attrs["filters"], attrs["groups"]
    if c % groups or f % groups:
        name, number = ("input channels", c) if c % groups else ("filters", f)
        message = f"{groups} groups do not divide {number} {name}"
        raise SpecProblem("N203", message, "groups", "the groups", help=(f"use a divisor of {number}",))
    for i in range(x.axes):
        largest = max(attrs["stride"][i], attrs["dilation"][i])
        if attrs["output_padding"][i] >= largest:
            message = f"output padding {attrs['output_padding'][i]} is not below the stride and dilation ({largest})"
            raise SpecProblem("N304", message, "output_padding", help=(f"use op{largest - 1} or less",))
    names = ("kernel_size", "stride", "padding", "output_padding", "dilation")
    sizes = [transposed_size(size, *(attrs[name][i] for name in names)) for i, size in enumerate(x.space)]
    if min(sizes) < 1:
        message = f"padding {show_shape(attrs['padding'])} leaves nothing of {show_sized('input', x.space)}"
        most = min(p + (size - 1) // 2 for p, size in zip(attrs["padding"], sizes, strict=True) if size < 1)
        raise SpecProblem("N201", message, "padding", "the padding", help=(f"use less padding: p{most} or less",))
    return map_of(f, *sizes)


def transposed_params(attrs: Attrs, x: Tensor) -> tuple[ParamSpec, ...]:
    """weight (C, F/groups, Kh, Kw) and bias (F,); the fans as PyTorch counts them."""
    f, window = attrs["filters"] // attrs["groups"], prod(attrs["kernel_size"])
    fans = {"fan_in": f * window, "fan_out": x.channels * window}
    weight = ParamSpec("weight", (x.channels, f, *attrs["kernel_size"]), "weight", **fans)
    return (weight,) if attrs["nobias"] else (weight, ParamSpec("bias", (attrs["filters"],), "bias", **fans))


def transposed_macs(attrs: Attrs, x: Tensor) -> int:
    """C * H * W * F / groups * Kh * Kw: every input number meets every weight of its channel."""
    return int(x.size * (attrs["filters"] // attrs["groups"]) * prod(attrs["kernel_size"]))


def transposed_options(attrs: Attrs) -> dict[str, object]:
    """The keyword arguments of nn.ConvTranspose1d, 2d, 3d that are not at their defaults."""
    usual = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1}
    options: dict[str, object] = {
        name: spatial_text(attrs[name]) for name, one in usual.items() if not is_all(attrs[name], one)
    }
    if attrs["groups"] != 1:
        options["groups"] = attrs["groups"]
    return {**options, "bias": False} if attrs["nobias"] else options
