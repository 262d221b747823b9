"""`up`: the transposed convolution that doubles a map, as in U-Net's decoder (Ronneberger et al. 2015)."""

from netdsl.graph.types import Tensor
from netdsl.ground.symbols import spatial_text
from netdsl.kernels.transposed import transposed_backward, transposed_forward
from netdsl.layers.contract import REQUIRED, Attr, Attrs, LayerDef, StageCall, call_text, for_axes, require_map
from netdsl.layers.rules.places import windows_above
from netdsl.layers.rules.transposed import transposed_macs, transposed_options, transposed_params, transposed_shape


def up_resolve(attrs: Attrs, x: Tensor) -> Attrs:
    """What `convt` could say besides stays at its default."""
    zeros = (0,) * x.axes
    return {**attrs, "padding": zeros, "output_padding": zeros, "dilation": (1,) * x.axes, "groups": 1}


def up_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(C, H, W) -> (F, (H - 1) * stride + Kh, (W - 1) * stride + Kw)."""
    require_map(x, "`up`")
    return transposed_shape(attrs, x)


def up_torch(attrs: Attrs, x: Tensor) -> str:
    options = transposed_options(attrs)
    name = for_axes("nn.ConvTranspose2d", x)
    return call_text(name, x.channels, attrs["filters"], spatial_text(attrs["kernel_size"]), **options)


def up_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.convolution import ConvGeometry
    from netdsl.stages.transposed_conv import TransposedConv

    if attrs["groups"] > 1:
        return ()
    filters, kernel_size, stride, dilation = (attrs[name] for name in ("filters", "kernel_size", "stride", "dilation"))
    sides = tuple((p, p) for p in attrs["padding"])
    geometry = ConvGeometry(x.sizes, filters, kernel_size, stride, sides, dilation)
    return (StageCall(TransposedConv, (geometry, attrs["output_padding"])),)


LAYER = LayerDef(
    name="up",
    summary="transposed convolution that doubles every axis of a map",
    attrs=(
        Attr("filters", "int", REQUIRED, positional=True, minimum=1, label="the filters"),
        Attr("kernel_size", "spatial", 2, flag="k", spellings=("kernel",), minimum=1, label="the kernel"),
        Attr("stride", "spatial", 2, flag="s", minimum=1, label="the stride"),
        Attr("nobias", "word"),
    ),
    resolve=up_resolve,
    shape=up_shape,
    params=transposed_params,
    macs=transposed_macs,
    forward=transposed_forward,
    backward=transposed_backward,
    reads=windows_above,
    torch=up_torch,
    stages=up_stages,
)
