"""What the fast NumPy module is made of: all that the textbook is, and stages."""

from __future__ import annotations

from dataclasses import replace

from netdsl.targets.numpy.dialect import DIALECT as TEXTBOOK
from netdsl.targets.numpy.dialect import SHARED

DIALECT = replace(
    TEXTBOOK,
    package=__package__,
    writers=("netdsl.targets.fast.emitter", "netdsl.targets.fast.description", *SHARED),
    kernels=(*TEXTBOOK.kernels, "netdsl.stages"),
    networks=(
        *TEXTBOOK.networks,
        "netdsl.targets.fast.storage",
        "netdsl.targets.fast.network",
        "netdsl.targets.fast.named_network",
        "netdsl.targets.fast.parts",
        "netdsl.targets.fast.split_network",
        "netdsl.targets.fast.large_network",
        "netdsl.targets.fast.common_gradients",
        "netdsl.targets.fast.forked_network",
    ),
    methods=TEXTBOOK.methods | {"train_forward", "infer_forward"},
    has_stages=True,
)
