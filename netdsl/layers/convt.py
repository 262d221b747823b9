"""`convt`: transposed convolution, which makes maps larger."""

from netdsl.graph.types import Tensor
from netdsl.ground.symbols import spatial_text
from netdsl.kernels.transposed import transposed_backward, transposed_forward
from netdsl.layers.contract import REQUIRED, Attr, Attrs, LayerDef, StageCall, call_text, for_axes, require_map
from netdsl.layers.rules.places import windows_above
from netdsl.layers.rules.transposed import transposed_macs, transposed_options, transposed_params, transposed_shape


def convt_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(C, H, W) -> (F, Ho, Wo); see transposed_shape."""
    require_map(x, "`convt`")
    return transposed_shape(attrs, x)


def convt_torch(attrs: Attrs, x: Tensor) -> str:
    options = transposed_options(attrs)
    name = for_axes("nn.ConvTranspose2d", x)
    return call_text(name, x.channels, attrs["filters"], spatial_text(attrs["kernel_size"]), **options)


def convt_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.convolution import ConvGeometry
    from netdsl.stages.transposed_conv import TransposedConv

    if attrs["groups"] > 1:
        return ()
    filters, kernel_size, stride, dilation = (attrs[name] for name in ("filters", "kernel_size", "stride", "dilation"))
    sides = tuple((p, p) for p in attrs["padding"])
    geometry = ConvGeometry(x.sizes, filters, kernel_size, stride, sides, dilation)
    return (StageCall(TransposedConv, (geometry, attrs["output_padding"])),)


LAYER = LayerDef(
    name="convt",
    summary="transposed convolution with C filters",
    attrs=(
        Attr("filters", "int", REQUIRED, positional=True, minimum=1, label="the filters"),
        Attr("kernel_size", "spatial", 1, flag="k", spellings=("kernel",), minimum=1, label="the kernel"),
        Attr("stride", "spatial", 1, flag="s", minimum=1, label="the stride"),
        Attr("padding", "spatial", 0, flag="p", minimum=0, label="the padding"),
        Attr("output_padding", "spatial", 0, flag="op", minimum=0, label="the output padding"),
        Attr("dilation", "spatial", 1, flag="d", minimum=1, label="the dilation"),
        Attr("groups", "int", 1, flag="g", minimum=1, label="the groups"),
        Attr("nobias", "word"),
    ),
    shape=convt_shape,
    params=transposed_params,
    macs=transposed_macs,
    forward=transposed_forward,
    backward=transposed_backward,
    reads=windows_above,
    torch=convt_torch,
    known_as=("deconv", "convtranspose", "conv_transpose", "conv2dtranspose"),
    stages=convt_stages,
)
