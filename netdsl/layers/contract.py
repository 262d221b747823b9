"""What a layer file says about its layer: `LayerDef`, a bundle of plain functions, and `Attr`, a setting of it.

Each input is a `Tensor` (netdsl.graph.types), which says what its sizes mean: rules ask for `.channels`, `.space`,
`.is_map`, and complain by `require_map` and its sisters, never by counting sizes. A rule reads alike for a signal, an
image and a volume where it goes through `x.space`. `attrs` is a dict of attr name -> value, complete. The rules:

    resolve(attrs, *inputs) -> attrs     fills in what depends on the input (the padding of `same`); optional
    shape(attrs, *inputs) -> Tensor      what comes out; raises SpecProblem where the input does not fit
    params(attrs, *inputs), buffers(...) -> tuple of ParamSpec
    macs(attrs, *inputs) -> int          multiply-adds for one sample (products with weights; no norms, no activations)
    forward(x, ...) -> (y, saved)        a kernel. Its arguments are found by their names: first the inputs, then any of
                                         the layer's params, buffers and attrs, `training` (bool) and `rng`
                                         (numpy.random.Generator). A param that this node does not have is None;
                                         a dot in a param's name is `_` here, and the param named "" is `weight`.
                                         `**params` gets all that no argument is called after, where there may be many.
                                         A default for an attr is left out of emitted calls, so give the usual ones.
    backward(dy, saved) -> (dx, grads)   a kernel: the exact adjoint; grads is a dict param name -> gradient. A layer of
                                         several inputs takes them as `*inputs` (num_inputs None) and returns a tuple
                                         of dx. Ids have no gradient: None.
    reads(attrs, places, axis, size, out) -> places     which places of a map a place of its output is made of
                                         (layers/rules/places.py): `same_place`, `everywhere`, under a window
    torch(attrs, *inputs) -> str         a constructor, `nn.Conv2d(1, 32, 5)`; None where PyTorch has no such module
    torch_call(attrs, *inputs) -> str    the layer as an expression of {x} (`torch.relu({x})`), or of {0}, {1}, ...
                                         where it has several inputs. It stands instead of a member; a member that it
                                         needs is {self} (`{self}({x}, {x}, {x})[0]`). Optional where calling the
                                         member on x is all there is
    torch_helpers: text of small classes that `torch` may name, copied above the network where it does
    torch_transposes: the gradient of a map comes back from PyTorch with its channels last
    torch_straight: texts of the classes that stand for PyTorch's where their gradient of one sample is then wrong
    known_as: what other systems call it, for suggestions
    idle: the attrs with which it gives its input as it is, `{"p": 0}`, a number for all axes; the PyTorch module leaves
    it out then
    cancels_bias: a bias in the layer before it does nothing; is_linear: two in a row can do no more than one
    norms_batch: in training its statistics are those of the batch, one value of a channel has none
    by_token: it makes each token by itself, as it makes a vector
    by_step: it makes a token from what it made of those before, one step after the other: the more samples a step has,
    the better
    takes_ids: it takes whole numbers of a vocabulary, with which no other layer can compute
    ties: the op of another layer whose params it uses, which a label names (`unembed @words`). Its attrs are `classes`
    and `features`, the sizes of that layer's weight; in torch_call {self} is that layer's member
    go_on(x, ..., state) -> (y, state)   a kernel: the next tokens (N, S, D) of sequences, at inference, as forward
                                         makes them of all; it finds its other arguments as forward does. state: what
                                         it gave for the tokens before these, None at the beginning. Optional; None of
                                         a layer whose tokens need those behind them. One that is `by_token` needs none
    attention_of(saved) -> weights       of a layer whose tokens read each other: how much each reads of each,
                                         (N, heads, T, T), before any dropout; its attr `heads` says how many
    of_few(x, ...) -> y                  a kernel: what forward makes of tokens (N, S, D) at inference, faster where
                                         they are few; for layers that are `by_token`. Optional
    goes_on(attrs) -> bool               whether it can with these attrs: not where its tokens need those behind them
    variants: the layer with other kernels, for attrs by which it computes something else (`gelu tanh`): a tuple of
    LayerDef, of which the first whose `when(attrs)` holds stands in its place (`of`); all else is as the layer's own
    stages(attrs, *inputs) -> tuple of StageCall     what computes the layer fast, each in its way; optional. It imports
                                         the stages itself: only a fast network needs them. A signal comes to it as an
                                         image one number wide (passes/signals.py)

A kernel is an undecorated module-level `def` that names only numpy, math, builtins, its arguments and other kernels:
its text is copied into emitted modules (targets/text/kernel_source.py). Buffers are updated in place by forward, in
training. What it computes with sizes stands in a kernel that takes no array: on a GPU that is left to NumPy
(targets/cupy/spelling.py).
A layer whose forward takes `rng` saves the factor that it multiplied x by (so that a comparison can reuse the draw).
Where it draws for something else than x it says so:

    draws(attrs, *inputs) -> (forward, shape, p)     a dropout's kernel, and what shape for a sample it is given
    factor_of(saved) -> factor           what of that which forward saved is the factor; None out of training
    torch_draws: the member of the PyTorch module that draws: an `nn.Dropout`
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import isqrt
from typing import TYPE_CHECKING, Any, Literal

from netdsl.graph.ir import ParamSpec
from netdsl.graph.types import Sizes, Tensor
from netdsl.ground.diagnostics import SpecProblem
from netdsl.ground.symbols import is_all, value_text

if TYPE_CHECKING:
    from netdsl.stages.stage import Stage
from netdsl.layers.rules.places import Attrs as Attrs
from netdsl.layers.rules.places import Reads

Kind = Literal["int", "spatial", "sides", "size", "float", "word"]
REQUIRED = object()


@dataclass(frozen=True)
class Attr:
    """A setting of a layer.

    kind: `int`; `spatial` (a number for every axis of space, or one for each: `3x5` for H and W; its value is a tuple
    with one for each); `sides` (a number for all sides, `1x2` for H and W, or `0x1x0x0`, what lies before H and W and
    then what lies behind them: top, left, bottom, right; its value is (before, behind) for each axis of space, here
    ((top, bottom), (left, right))); `size` (one to four sizes, always a tuple); `float`; `word` (True when written).
    The axes are those of the input; where it is unknown or no map, two, those of an image.
    flag: the letter of the short form (`k` in `k5`). spellings: other keys (`kernel`). default: a value (None: none; of
    `spatial` and `sides` a number), REQUIRED, or the name of another attr whose value is taken. positional: may be
    written as a bare value. minimum is inclusive, `above` and `below` are not. set_by: the names of attrs which set
    this one, where they are given; grown_by: of those which make what lies behind larger than written (`ceil`).
    takes_label: may be `@skip`, the axes of space of what has that label.
    """

    name: str
    kind: Kind
    default: object = False
    flag: str = ""
    spellings: tuple[str, ...] = ()
    positional: bool = False
    minimum: float | None = None
    above: float | None = None
    below: float | None = None
    label: str = ""
    set_by: tuple[str, ...] = ()
    grown_by: tuple[str, ...] = ()
    takes_label: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key that may stand before `=`."""
        return (*([self.flag] if self.flag else []), *self.spellings, self.name)

    def spread(self, number: int, axes: int) -> object:
        """The attr's value where one number is written: of `spatial` and `sides` the same along all axes of space."""
        if self.kind == "spatial":
            return (number,) * axes
        return ((number, number),) * axes if self.kind == "sides" else number


def axes_of(x: Tensor | None) -> int:
    """How many numbers a `spatial` attr has: one for each axis of space; two where x is unknown or no map."""
    return x.axes if x is not None and x.is_map else 2


Cost = Callable[[int, bool], float]


def _no_cost(samples: int, training: bool) -> float:
    """Of a stage that is the only way."""
    return 0.0


@dataclass(frozen=True)
class StageCall:
    """A stage that computes a layer fast (stages/stage.py): its class and the arguments behind the worker and, where
    the class says that it `is_named` (stages/can.py), the layer's name. cost(samples, training): estimated nanoseconds
    for each of so many samples that a worker has of a batch, of a training step or at inference. What is done once a
    step (weights transformed, their gradients brought back) counts the more the fewer they are."""

    kernel: type[Stage]
    arguments: tuple[object, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)
    cost: Cost = field(default=_no_cost, compare=False)

    @property
    def text(self) -> str:
        """The call as it reads: `WinogradRows(ConvGeometry((16, 32, 32), 16, (3, 3), padding=((1, 1), (1, 1))), 8)`."""
        words = [value_text(value) for value in self.arguments]
        words += [f"{key}={value_text(value)}" for key, value in self.options.items()]
        return f"{self.kernel.__name__}({', '.join(words)})"


def _no_params(attrs: Attrs, *inputs: Tensor) -> tuple[ParamSpec, ...]:
    return ()


def _no_macs(attrs: Attrs, *inputs: Tensor) -> int:
    return 0


def always(attrs: Attrs) -> bool:
    """Of what holds with any attrs."""
    return True


def _saved_alone(saved: Any) -> Any:
    """The factor, where it is all that forward saved."""
    return saved


def same_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """The type of x."""
    return x


@dataclass(frozen=True)
class LayerDef:
    """One layer type; see the module's docstring for the rules."""

    name: str
    summary: str
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    torch: Callable[..., str] | None
    reads: Reads
    shape: Callable[..., Tensor] = same_shape
    attrs: tuple[Attr, ...] = ()
    params: Callable[..., tuple[ParamSpec, ...]] = _no_params
    buffers: Callable[..., tuple[ParamSpec, ...]] = _no_params
    macs: Callable[..., int] = _no_macs
    resolve: Callable[..., Attrs] | None = None
    torch_call: Callable[..., str] | None = None
    aliases: tuple[str, ...] = ()
    num_inputs: int | None = 1  # None: two or more
    torch_helpers: tuple[str, ...] = ()
    torch_transposes: bool = False
    torch_straight: tuple[str, ...] = ()
    known_as: tuple[str, ...] = ()
    cancels_bias: bool = False
    is_linear: bool = False
    idle: Mapping[str, float] | None = None
    norms_batch: bool = False
    by_token: bool = False
    by_step: bool = False
    takes_ids: bool = False
    ties: str = ""
    go_on: Callable[..., Any] | None = None
    goes_on: Callable[[Attrs], bool] = always
    attention_of: Callable[[Any], Any] | None = None
    of_few: Callable[..., Any] | None = None
    variants: tuple[LayerDef, ...] = ()
    when: Callable[[Attrs], bool] = always
    draws: Callable[..., tuple[Callable[..., Any], Sizes, float]] | None = None
    factor_of: Callable[[Any], Any] = _saved_alone
    torch_draws: str = ""
    stages: Callable[..., tuple[StageCall, ...]] | None = None

    def is_idle(self, attrs: Attrs) -> bool:
        """Whether it gives its input as it is."""
        return self.idle is not None and all(is_all(attrs[name], number) for name, number in self.idle.items())

    def of(self, attrs: Attrs) -> LayerDef:
        """The layer with the kernels that it has with these attrs."""
        return next((variant for variant in self.variants if variant.when(attrs)), self)

    def drawn(self, attrs: Attrs, *inputs: Tensor) -> tuple[Callable[..., Any], Sizes, float]:
        """What draws a factor in training: a dropout's forward, the shape for a sample of what that is given, and its
        probability."""
        return self.draws(attrs, *inputs) if self.draws is not None else (self.forward, inputs[0].sizes, attrs["p"])

    def attr(self, name: str) -> Attr:
        return next(attr for attr in self.attrs if attr.name == name)

    @cached_property
    def forward_names(self) -> tuple[str, ...]:
        """The names of forward's arguments after its inputs."""
        return tuple(inspect.signature(self.forward).parameters)[self.num_inputs or 1 :]

    @cached_property
    def go_on_names(self) -> tuple[str, ...]:
        """The names of go_on's arguments between its input and its state."""
        assert self.go_on is not None, self.name
        return tuple(name for name in tuple(inspect.signature(self.go_on).parameters)[1:] if name != "state")

    @property
    def is_random(self) -> bool:
        """True if forward draws random numbers in training."""
        return "rng" in self.forward_names


# -------------------------------------------------------------------------------------------- helps for shape rules


def require_map(x: Tensor, what: str, for_vectors: str = "", for_tokens: str = "") -> None:
    """Complain unless the input is a map. for_vectors, for_tokens: what helps where it is such, if not a `reshape`."""
    if x.is_map:
        return
    own = for_tokens if x.is_tokens else for_vectors
    raise _needs(x, what, "a map", (own or _made_a_map(x),), is_plain=not own)


def _made_a_map(x: Tensor) -> str:
    """Which layer makes a map of tokens or a vector."""
    if x.is_vector:
        return f"`reshape {x.show()}x1x1` makes an image of a vector, `reshape 1x{x.show()} map` a signal"
    signal = f"makes a signal of the tokens, {plural(x.channels, 'channel')} of {plural(x.length, 'step')}"
    side = isqrt(x.length)
    square = f", `map {side}x{side}` an image" if side * side == x.length > 1 else ""
    return f"`map` before it {signal}{square}"


def require_tokens(x: Tensor, what: str, for_maps: str = "`tokens` makes a sequence of a map") -> None:
    """Complain unless the input is tokens. for_maps: what helps where it is a map."""
    if not x.is_tokens:
        of_a_vector = f"`reshape 1x{x.show()}` makes one token of a vector"
        raise _needs(x, what, "tokens", (for_maps if x.is_map else of_a_vector,))


def refuse_tokens(x: Tensor, what: str, help: str, attr: str | None = None) -> None:
    """Complain unless the input is a map or a vector. attr: the setting that needs one, to be underlined."""
    if x.is_tokens:
        raise _needs(x, what, "a map or a vector", (help,), attr)


def refuse_map(x: Tensor, what: str, help: str) -> None:
    """Complain unless the input is a vector or tokens, whose features are the last axis."""
    if x.is_map:
        of_steps = "`tokens` before it makes a sequence, whose steps it takes one by one"
        raise _needs(x, what, "a vector", (help, of_steps) if x.axes == 1 else (help,))


def refuse_ids(layer: LayerDef, inputs: tuple[Tensor, ...]) -> None:
    """Complain where whole numbers of a vocabulary arrive at a layer that computes with what arrives."""
    for x in inputs if not layer.takes_ids else ():
        if x.is_ids:
            message = f"`{layer.name}` computes with numbers, but {x.show_type()} arrive ({x.noun})"
            raise SpecProblem("N202", message, help=("put `embed 64` before it: a vector of 64 features for each",))


def _needs(
    x: Tensor, what: str, wanted: str, help: tuple[str, ...], attr: str | None = None, is_plain: bool = False
) -> SpecProblem:
    message = f"{what} needs {wanted}, but {x.show()} arrives ({x.noun})"
    return SpecProblem("N202", message, attr, help=help, wanted=wanted, is_plain=is_plain)


def equal_shapes(name: str, inputs: tuple[Tensor, ...]) -> Tensor:
    """The one type of all inputs; complains if they differ."""
    first, *others = inputs
    different = next((x for x in others if x != first), None)
    if different is None:
        return first
    message = f"`{name}` needs equal shapes, but its branches give {first.show()} and {different.show()}"
    if first.sizes == different.sizes:
        message = (
            f"`{name}` needs equal shapes, but its branches give {first.show()}, {first.noun} and {different.noun}"
        )
        hint = made_alike(first, different)
    elif first.layout != different.layout or first.axes != different.axes:
        hint = made_alike(first, different)
    elif first.with_channels(different.channels) == different:
        most = max(first.channels, different.channels)
        what, layer = ("channels", f"conv {most} k1") if first.is_map else ("features", f"linear {most}")
        hint = f"bring the {what} together, for example with `{layer}`"
    elif first.is_map:
        hint = f"give both branches {same_sizes(first)}"
    else:
        hint = ""
    raise SpecProblem("N204", message, help=(hint,) if hint else ())


def made_alike(x: Tensor, other: Tensor) -> str:
    """What makes two branches of one kind, where one gives tokens and one a map, or maps of other axes of space."""
    if x.layout != other.layout and x.sizes == other.sizes:
        return "`map` makes a map of tokens, `tokens` a sequence of a map"
    if x.layout != other.layout:
        return "give every branch a map, tokens or a vector; `flatten` makes a vector of each"
    return (
        f"add `reshape {x.show_type()}`" if x.size == other.size else "give every branch maps of as many axes of space"
    )


def same_sizes(x: Tensor) -> str:
    """What gives branches maps of the same sizes along the axes of space, as x has them."""
    kernel = "a 3x3 kernel" if x.is_image else "a kernel of 3"
    return f"the same strides, and padding that keeps the size: `p1` for {kernel}"


def plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def call_text(name: str, *args: object, **options: object) -> str:
    """`nn.Conv2d(1, 32, 5, padding=2)` from values; every value is a number, a bool, a word or a tuple of numbers."""
    parts = [value_text(arg) for arg in args] + [f"{key}={value_text(value)}" for key, value in options.items()]
    return f"{name}({', '.join(parts)})"


def for_axes(text: str, x: Tensor) -> str:
    """The name of a module for the axes of x, from that for images: of `nn.Conv2d` that, `nn.Conv1d` or `nn.Conv3d`."""
    return text.replace("2d", f"{x.axes}d")


def features_axis(attrs: Attrs, *inputs: Tensor) -> Attrs:
    """A resolve: `axis` is where arrays (N, ...) have their channels or features, 1, or 2 in tokens."""
    return {**attrs, "axis": inputs[0].channel_axis}


def on_features(x: Tensor) -> str:
    """`{self}({x})` of a module that works on the last axis; the channels of a map go there and back."""
    if not x.is_map:
        return "{self}({x})"
    there, back = (0, *range(2, 2 + x.axes), 1), (0, 1 + x.axes, *range(1, 1 + x.axes))
    return f"{{self}}({{x}}.permute{there}).permute{back}"


def pointwise_stages(
    forward: Callable[..., Any], backward: Callable[..., Any], *names: str
) -> Callable[..., tuple[StageCall, ...]]:
    """The stages rule of everything that works on each element: its kernels, given the attrs of these names."""

    def stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
        from netdsl.stages.pointwise import Pointwise

        return (StageCall(Pointwise, (x.sizes, forward, backward, *(attrs[name] for name in names))),)

    return stages
