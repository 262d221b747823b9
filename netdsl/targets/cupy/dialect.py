"""What the textbook module for CuPy is made of: the NumPy module's kernels in CuPy's names, and networks of its own."""

from __future__ import annotations

from dataclasses import replace

from netdsl.targets.cupy.spelling import cupy_line, cupy_text
from netdsl.targets.numpy.dialect import DIALECT as TEXTBOOK

DIALECT = replace(
    TEXTBOOK,
    imports={"import cupy as cp": "cp", **TEXTBOOK.imports},
    writers=(*TEXTBOOK.writers, "netdsl.targets.cupy.emitter"),
    networks=tuple(f"netdsl.targets.cupy.{name}" for name in ("network", "named_network", "token_network")),
    text_of=cupy_text,
    line_of=cupy_line,
)
