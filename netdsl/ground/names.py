"""Names that a spec may not use for a label, because they would change what an emitted module means."""

from __future__ import annotations

import builtins
import keyword

# Public attributes of torch.nn.Module (PyTorch 2.13; a test compares), and the methods that emitted modules add.
_MODULE_ATTRIBUTES = frozenset(
    [
        "add_module",
        "apply",
        "bfloat16",
        "buffers",
        "call_super_init",
        "children",
        "compile",
        "cpu",
        "cuda",
        "double",
        "dump_patches",
        "eval",
        "extra_repr",
        "float",
        "forward",
        "get_buffer",
        "get_extra_state",
        "get_parameter",
        "get_submodule",
        "half",
        "ipu",
        "load_state_dict",
        "modules",
        "mtia",
        "named_buffers",
        "named_children",
        "named_modules",
        "named_parameters",
        "parameters",
        "register_backward_hook",
        "register_buffer",
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
        "register_load_state_dict_post_hook",
        "register_load_state_dict_pre_hook",
        "register_module",
        "register_parameter",
        "register_state_dict_post_hook",
        "register_state_dict_pre_hook",
        "requires_grad_",
        "set_extra_state",
        "set_submodule",
        "share_memory",
        "state_dict",
        "to",
        "to_empty",
        "train",
        "training",
        "type",
        "xpu",
        "zero_grad",
        "logits",
    ]
)


def reserved(name: str) -> str | None:
    """Why `name` cannot be a label, or None."""
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        return "it is a keyword of Python"
    if name in _MODULE_ATTRIBUTES:
        return "every PyTorch module has an attribute of that name"
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
        if keyword.iskeyword(name) or name in ("con", "nul", "aux", "prn", "numpy", "torch")
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
