"""What the transposed convolutions share beside their kernel: shape, params, MACs, PyTorch's constructor."""

from __future__ import annotations

from collections.abc import Mapping

from netdsl.graph.ir import ParamSpec, Shape, show_shape
from netdsl.ground.diagnostics import SpecProblem
from netdsl.ground.symbols import pair_text
from netdsl.kernels.transposed import transposed_size


def transposed_shape(attrs: Mapping, x: Shape) -> Shape:
    """(C, H, W) -> (F, Ho, Wo), Ho = (H - 1) * stride - 2 * padding + dilation * (Kh - 1) + output_padding + 1.

    Raises SpecProblem where groups do not divide the channels or nothing is left of the output.
    """
    c, f, groups = x[0], attrs["filters"], attrs["groups"]
    if c % groups or f % groups:
        name, number = ("input channels", c) if c % groups else ("filters", f)
        message = f"{groups} groups do not divide {number} {name}"
        raise SpecProblem("N203", message, "groups", "the groups", help=(f"use a divisor of {number}",))
    for i in range(2):
        largest = max(attrs["stride"][i], attrs["dilation"][i])
        if attrs["output_padding"][i] >= largest:
            message = f"output padding {attrs['output_padding'][i]} is not below the stride and dilation ({largest})"
            raise SpecProblem("N304", message, "output_padding", help=(f"use op{largest - 1} or less",))
    names = ("kernel_size", "stride", "padding", "output_padding", "dilation")
    sizes = [transposed_size(x[1 + i], *(attrs[name][i] for name in names)) for i in range(2)]
    if min(sizes) < 1:
        message = f"padding {show_shape(attrs['padding'])} leaves nothing of a {show_shape(x[1:])} input"
        most = min(p + (size - 1) // 2 for p, size in zip(attrs["padding"], sizes, strict=True) if size < 1)
        raise SpecProblem("N201", message, "padding", "the padding", help=(f"use less padding: p{most} or less",))
    return (f, *sizes)


def transposed_params(attrs: Mapping, x: Shape) -> tuple[ParamSpec, ...]:
    """weight (C, F/groups, Kh, Kw) and bias (F,); the fans as PyTorch counts them."""
    kh, kw = attrs["kernel_size"]
    f = attrs["filters"] // attrs["groups"]
    fans = {"fan_in": f * kh * kw, "fan_out": x[0] * kh * kw}
    weight = ParamSpec("weight", (x[0], f, kh, kw), "weight", **fans)
    return (weight,) if attrs["nobias"] else (weight, ParamSpec("bias", (attrs["filters"],), "bias", **fans))


def transposed_macs(attrs: Mapping, x: Shape) -> int:
    """C * H * W * F / groups * Kh * Kw: every input number meets every weight of its channel."""
    kh, kw = attrs["kernel_size"]
    return x[0] * x[1] * x[2] * (attrs["filters"] // attrs["groups"]) * kh * kw


def transposed_options(attrs: Mapping) -> dict[str, object]:
    """The keyword arguments of nn.ConvTranspose2d that are not at their defaults."""
    usual = {"stride": (1, 1), "padding": (0, 0), "output_padding": (0, 0), "dilation": (1, 1)}
    options: dict[str, object] = {name: pair_text(attrs[name]) for name in usual if attrs[name] != usual[name]}
    if attrs["groups"] != 1:
        options["groups"] = attrs["groups"]
    return {**options, "bias": False} if attrs["nobias"] else options
