"""What people write out of habit from PyTorch and Keras, as the statement that means the same here.

`nn.Conv2d(1, 32, 5, padding=2)` is `conv 32 k5 p2`. The text is read with Python's own parser and never run.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping

from netdsl.ground.spelling import correction
from netdsl.layers import find_layer, in_other_systems, spellings
from netdsl.layers.contract import Attr, LayerDef

MAX_TEXT = 300
_OUTPUTS = ("out_channels", "out_features", "units", "filters", "features", "num_filters", "nb_filter", "outputs")
_RENAMED: Mapping[str, tuple[str, ...]] = {
    "strides": ("stride",),
    "pool_size": ("kernel_size",),
    "kernel": ("kernel_size",),
    "filter_size": ("kernel_size",),
    "pad": ("padding",),
    "dilation_rate": ("dilation",),
    "rate": ("p",),
    "prob": ("p",),
    "drop_prob": ("p",),
    "negative_slope": ("slope",),
    "alpha": ("slope", "alpha"),
    "size": ("factor", "size"),
    "scale_factor": ("factor",),
    "upscale_factor": ("factor",),
    "num_groups": ("groups",),
    **dict.fromkeys(("num_heads", "n_head", "n_heads"), ("heads",)),
    **dict.fromkeys(("num_kv_heads", "n_kv_heads", "num_key_value_heads"), ("kv",)),
    **dict.fromkeys(("dropout_p", "attn_dropout", "attention_dropout"), ("dropout",)),
    **dict.fromkeys(("theta", "rope_theta"), ("base",)),
    "epsilon": ("eps",),
    "output_size": ("size",),
    **dict.fromkeys(_OUTPUTS, ("filters", "features")),
}
_NOT_WRITTEN = frozenset(
    [
        "in_channels",
        "in_features",
        "input_shape",
        "input_dim",
        "num_features",
        "normalized_shape",
        "num_channels",
        "name",
    ]
    + ["input_size", "return_sequences", "return_state"]
    + ["dim", "axis", "inplace", "data_format", "embed_dim", "device", "dtype", "batch_first", "start_dim", "end_dim"]
)
_WORDS = {
    ("bias", False): "nobias",
    ("use_bias", False): "nobias",
    ("affine", False): "noaffine",
    ("elementwise_affine", False): "noaffine",
    ("affine", True): "affine",
    ("ceil_mode", True): "ceil",
    ("count_include_pad", False): "nopad",
    ("padding", "same"): "same",
    ("bidirectional", True): "bi",
    ("nonlinearity", "relu"): "relu",
    ("is_causal", True): "causal",
    ("approximate", "tanh"): "tanh",
    ("mode", "nearest"): "nearest",
    ("mode", "linear"): "linear",
    ("mode", "bilinear"): "bilinear",
    ("mode", "trilinear"): "trilinear",
    ("interpolation", "nearest"): "nearest",
    ("interpolation", "bilinear"): "bilinear",
}
_NOTHING = (("padding", "valid"), ("nonlinearity", "tanh"), ("activation", None), ("activation", "linear"))


class _Untold(Exception):
    """There is no such statement."""


def layer_named(name: str) -> LayerDef | None:
    """The layer of that name here or in another system, whatever its case, underscores and axes; `Conv1d` is `conv`."""
    others = in_other_systems()
    foreign = {known.replace("_", ""): own for known, own in others.items()}
    foreign |= others | {known: known for known in spellings()}
    word = re.sub(r"(?<=[a-z_])[13]d", "2d", name.lower())
    shorter = word.replace("_", "")
    for spelled in (
        word,
        shorter,
        shorter.removesuffix("2d"),
        shorter.removesuffix("ing2d"),
        shorter.removesuffix("2d") + "2d",
    ):
        if spelled in foreign:
            return find_layer(foreign[spelled])
    return None


def attr_named(layer: LayerDef, key: str) -> Attr | None:
    """The attr that another system calls `key`, or the one whose key it is."""
    names = (key, *_RENAMED.get(key, ()))
    if key in _OUTPUTS:
        names += tuple(attr.name for attr in layer.attrs[:1] if attr.positional)
    return next((attr for name in names for attr in layer.attrs if attr.kind != "word" and name in attr.keys), None)


def word_for(layer: LayerDef, key: str, value: object) -> str | None:
    """What `bias=False` is: `nobias`; an empty text where it is what holds anyway; None where it cannot be said."""
    word = _WORDS.get((key, value))
    if word is not None:
        return word if any(attr.name == word for attr in layer.attrs) else ("" if word == "nearest" else None)
    if (key, value) in _NOTHING or isinstance(value, bool) and any(k == key for k, _ in _WORDS):
        return ""
    return None


def is_not_written(key: str) -> bool:
    """Whether other systems ask for what the compiler knows by itself, as the number of input channels."""
    return key in _NOT_WRITTEN


def translated(text: str, channels: int | None = None) -> str | None:
    """The statement that a line or call of another system means; None where there is none that surely is.

    channels: those that arrive, where they are known; a number that is them is not written.
    """
    if len(text) > MAX_TEXT:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's about `3x5`, which is none of its numbers
            tree = ast.parse(text.strip().rstrip(",;"))
        if len(tree.body) == 1:
            return _of(tree.body[0], channels)
    except (SyntaxError, ValueError, RecursionError, MemoryError, _Untold):
        pass
    return None


def _of(node: ast.stmt, channels: int | None) -> str:
    label = ""
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
        name = target.attr if isinstance(target, ast.Attribute) else target.id if isinstance(target, ast.Name) else ""
        label = f"{name}: " if len(name) > 1 else ""
    elif not isinstance(node, ast.Expr):
        raise _Untold
    return label + _call(node.value, channels)


def _call(node: ast.expr, channels: int | None) -> str:
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    layer = layer_named(name)
    if layer is None or layer.num_inputs is None:
        raise _Untold
    values = [_value(arg) for arg in call.args]
    words, after = [], ""
    given: dict[str, object] = {}
    is_causal = False
    for keyword in call.keywords:
        key, value = str(keyword.arg), _value(keyword.value)
        if (key, value) == ("padding", "causal"):
            is_causal = True
            continue
        word = word_for(layer, key, value)
        attr = attr_named(layer, key)
        if word is not None:
            words += [word] if word else []
        elif key == "activation":
            act = layer_named(str(value))
            if act is None:
                raise _Untold
            after = f" -> {act.name}"
        elif attr is not None:
            given[attr.name] = value
        elif not is_not_written(key):
            raise _Untold
    given |= _by_position(layer, name, values, channels, given)
    if is_causal:
        given["padding"] = _causal(given)
    parts = [_written(attr, given[attr.name]) for attr in layer.attrs if attr.name in given]
    return " ".join([layer.name, *parts, *words]) + after


def _causal(given: Mapping[str, object]) -> tuple[int, int]:
    """What Keras pads before a signal, so that no step sees a later one: (k - 1) * dilation."""
    numbers = [given.get(name, 1) for name in ("kernel_size", "dilation")]
    kernel, dilation = (n[0] if isinstance(n, tuple) and len(n) == 1 else n for n in numbers)
    if not isinstance(kernel, int) or not isinstance(dilation, int):
        raise _Untold
    return (kernel - 1) * dilation, 0


def _by_position(
    layer: LayerDef, name: str, values: list[object], channels: int | None, given: Mapping[str, object]
) -> dict[str, object]:
    """The attrs of bare values, in the layer's order; the size of the input is left out."""
    numbers = [attr for attr in layer.attrs if attr.kind != "word" and attr.name not in given]
    first = layer.attrs[0] if layer.attrs else None
    if first is None or not first.positional:
        return {}
    if name.lower().startswith("cropping"):  # whose numbers are what goes on each side
        raise _Untold
    makes = first.name in ("filters", "features", "hidden")
    least = 3 if any(attr.flag == "k" for attr in layer.attrs) and "kernel_size" not in given else 2
    if makes and len(values) >= least and (name[:1].isupper() or values[0] == channels or least == 2):
        values = values[1:]
    elif first.name == "groups":
        values = values[:1]
    elif first.name == "heads":  # PyTorch has the features first, Keras those of a head behind
        numbers, values = numbers[:1], values[1:] if name == "MultiheadAttention" else values
    if len(values) > len(numbers):
        raise _Untold
    return {attr.name: value for attr, value in zip(numbers, values, strict=False)}


def _value(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError):
        raise _Untold from None


def _written(attr: Attr, value: object) -> str:
    """`k5`, `k3x5`, `32` or `eps=0.001`."""
    sizes = value if isinstance(value, tuple | list) else (value,)
    if not sizes or any(isinstance(v, bool) or not isinstance(v, int | float) for v in sizes):
        raise _Untold
    if len(set(sizes)) == 1 and attr.kind in ("spatial", "sides"):
        sizes = sizes[:1]
    # PyTorch says both sides of the last axis first
    elif attr.kind == "sides" and sizes[2:] and not len(sizes) % 2:
        sizes = (*sizes[-2::-2], *sizes[::-2])
    text = "x".join(str(v) for v in sizes)
    if attr.positional:
        return text
    return (
        f"{attr.flag}{text}"
        if attr.flag and not any(isinstance(v, float) or v < 0 for v in sizes)
        else f"{attr.name}={text}"
    )


def nearest_layer(word: str) -> str | None:
    """The layer that a misspelt word surely is."""
    return correction(word, spellings())
