"""`pos`: a vector for each position, learned or of sines and cosines, added to the tokens."""

from __future__ import annotations

from dataclasses import replace

from netdsl.graph.ir import ParamSpec
from netdsl.graph.types import Tensor
from netdsl.ground.symbols import value_text
from netdsl.kernels.arrays import Array, Grads, Param, Saved, Tokens
from netdsl.kernels.positions import sincos_table
from netdsl.layers.contract import Attr, Attrs, LayerDef, StageCall, call_text, require_tokens
from netdsl.layers.rules.places import everywhere


def pos_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """The type of x, tokens."""
    require_tokens(x, "`pos`")
    return x


def pos_forward(x: Array, weight: Array) -> tuple[Array, Saved]:
    """y = x + weight, x (N, T, D), weight (1, T, D) (Dosovitskiy et al. 2021)."""
    return x + weight, None


def pos_backward(dy: Tokens, saved: Saved) -> tuple[Tokens, Grads]:
    """dx = dy; dweight sums dy over the batch."""
    return dy, {"": dy.sum(axis=0, keepdims=True)}


def pos_sincos_forward(x: Tokens) -> tuple[Tokens, Saved]:
    """x (N, T, D) -> y = x + p, p[t, 2i] = sin(t / 10000^(2i / D)), p[t, 2i + 1] the cosine (Vaswani et al. 2017,
    section 3.5)."""
    _, t, d = x.shape
    return x + sincos_table(0, t, d, x.dtype), None


def pos_sincos_backward(dy: Tokens, saved: Saved) -> tuple[Tokens, Grads]:
    """dy (N, T, D) -> dx = dy."""
    return dy, {}


def pos_go_on(x: Tokens, weight: Param, state: int | None, sincos: bool = False) -> tuple[Tokens, int]:
    """x (N, S, D), the next tokens -> y (N, S, D), and how many there are so far. Raises ValueError where these are
    more than positions were learned."""
    begin = 0 if state is None else state
    end = begin + x.shape[1]
    if sincos:
        return x + sincos_table(begin, end, x.shape[2], x.dtype), end
    if end > weight.shape[1]:
        raise ValueError(f"vectors were learned for {weight.shape[1]} positions, and there are {end} tokens")
    return x + weight[:, begin:end], end


SINE_POSITIONS = '''class SinePositions(nn.Module):
    """Adds to features 2i and 2i + 1 of the token at position t the sine and the cosine of t / 10000^(2i / features)
    (Vaswani et al. 2017, section 3.5)."""

    def __init__(self, length, features):
        super().__init__()
        positions, i = (torch.arange(n, dtype=torch.float64, device="cpu") for n in (length, (features + 1) // 2))
        angles = positions[:, None] / 10000 ** (2 * i / features)
        self.table = torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :features]

    def forward(self, x):
        return x + self.table.to(x)'''


def pos_torch(attrs: Attrs, x: Tensor) -> str:
    if attrs["sincos"]:
        return call_text("SinePositions", x.length, x.channels)
    return f"nn.Parameter(0.02 * torch.randn(1, {value_text(x.length)}, {value_text(x.channels)}))"


def pos_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.tokens import Positions, SinePositions

    return (StageCall(SinePositions if attrs["sincos"] else Positions, (x.sizes,)),)


LEARNED = LayerDef(
    name="pos",
    summary="a vector for each position, learned or of sines and cosines, added",
    attrs=(Attr("sincos", "word"),),
    shape=pos_shape,
    params=lambda attrs, x: () if attrs["sincos"] else (ParamSpec("", (1, *x.sizes), "normal"),),
    forward=pos_forward,
    backward=pos_backward,
    reads=everywhere,
    torch=pos_torch,
    torch_call=lambda attrs, x: "{self}({x})" if attrs["sincos"] else "{x} + {self}",
    torch_helpers=(SINE_POSITIONS,),
    known_as=("positionalencoding",),
    go_on=pos_go_on,
    stages=pos_stages,
)
FIXED = replace(
    LEARNED,
    forward=pos_sincos_forward,
    backward=pos_sincos_backward,
    when=lambda attrs: bool(attrs["sincos"]),
)
LAYER = replace(LEARNED, variants=(FIXED,))
