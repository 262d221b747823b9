"""What the PyTorch module is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netdsl.layers import layer_table
from netdsl.targets.dialect import Dialect
from netdsl.targets.torch.names import RESERVED
from netdsl.targets.torch.starts import START


def _rules() -> tuple[Callable[..., Any], ...]:
    """The layers' rules that write text."""
    return tuple(rule for layer in layer_table().values() for rule in (layer.torch, layer.torch_call) if rule)


def _helpers() -> tuple[str, ...]:
    """The texts of the classes that the layers bring along, and of the function that starts a GPT."""
    texts = (text for layer in layer_table().values() for text in (*layer.torch_helpers, *layer.torch_straight))
    return (*texts, START)


DIALECT = Dialect(
    package=__package__,
    template="module.py.j2",
    imports={
        "from torch import nn": "nn",
        "import torch": "torch",
        "import torch.nn.functional as F": "F",
        "from collections import OrderedDict": "OrderedDict",
    },
    callable=frozenset(["OrderedDict"]),
    writers=(
        *(
            f"{__package__}.{name}"
            for name in ("emitter", "modules", "layers", "inputs", "texts", "items", "forward", "starts")
        ),
        "netdsl.targets.text.ends",
    ),
    rules=_rules,
    helpers=_helpers,
    scripts=("netdsl.targets.torch.answers",),
    bases=frozenset(["nn.Module"]),
    methods=frozenset(["__init__", "forward", "logits", "all_outputs"]),
    members=frozenset(["add_module", "register_parameter", "get_parameter", "get_submodule"]),
    labels=RESERVED,
)
