"""Names that a spec may not use for a label, because they would change what an emitted module means."""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Mapping


def reserved(name: str, by_targets: Mapping[str, str] | None = None) -> str | None:
    """Why `name` cannot be a label, or None. by_targets: what the targets reserve -> why."""
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        return "it is a keyword of Python"
    if by_targets and name in by_targets:
        return by_targets[name]
    if name.startswith("_"):
        return "a leading underscore is kept for Python's own names"
    if len(name) > 64:
        return f"it has {len(name)} characters; at most 64 are allowed"
    return None


def identifier(text: str) -> str:
    """`text` (a file's stem) as a Python module name in lower case: `My-Net 2` gives `my_net_2`."""
    name = "".join(c if c.isascii() and c.isalnum() else "_" for c in text.lower()).strip("_") or "net"
    name = f"net_{name}" if name[0].isdigit() else name
    return (
        f"{name[:64]}_net"
        if keyword.iskeyword(name) or name in ("con", "nul", "aux", "prn", "cupy", "numpy", "torch")
        else name[:64]
    )


def class_name(name: str) -> str:
    """`bn_cnn` gives `BnCnn`; no class takes a name that Python has, as `Exception`."""
    camel = "".join(part[:1].upper() + part[1:] for part in name.split("_"))
    camel = camel or "Block"
    taken = keyword.iskeyword(camel) or hasattr(builtins, camel) or camel in ("Model", "Network")
    return f"{camel}Net" if taken else camel


def python_name(name: str) -> str:
    """A name of the spec as a variable of an emitted module: `lambda` gives `lambda_`."""
    if name.startswith("_"):
        return f"value{name}"
    taken = ("self", "super", "nn", "torch", "F", "OrderedDict", "range", "len", "x")
    return f"{name}_" if keyword.iskeyword(name) or name in taken else name
