"""What the textbook NumPy module is made of."""

from __future__ import annotations

from netdsl.targets.dialect import Dialect
from netdsl.targets.text.kernel_source import STANDARD

SHARED = (
    "netdsl.targets.text.arguments",
    "netdsl.targets.text.ends",
    "netdsl.targets.text.gradients",
    "netdsl.targets.text.numpy_demo",
    "netdsl.targets.text.recipe_lines",
    "netdsl.targets.text.sequences",
    "netdsl.targets.text.starts",
    "netdsl.targets.text.writing",
)
"""What writes in NumPy for every target of it."""

DIALECT = Dialect(
    package=__package__,
    template="module.py.j2",
    imports={"import numpy as np": "np"},
    kernel_imports={f"import {module}": module for module in sorted(STANDARD)},
    writers=("netdsl.targets.numpy.emitter", *SHARED),
    kernels=("netdsl.kernels",),
    layers=True,
    networks=tuple(
        f"netdsl.targets.numpy.{name}" for name in ("network", "named_network", "token_network", "writing_network")
    ),
    methods=frozenset(["forward", "logits", "all_outputs"]),
    scripts=("netdsl.targets.text.answers", "netdsl.targets.text.named_answers"),
)
