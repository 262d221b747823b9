"""netdsl: a compiler for `.net`, a small language for neural-network architectures.

net = netdsl.load("lenet.net")
print(net.summary())
model = net.build(seed=0)
"""

from importlib import import_module

__version__ = "0.1.0"

_PUBLIC = {
    "load": ("netdsl.pipeline", "compile_file"),
    "compile_file": ("netdsl.pipeline", "compile_file"),
    "compile_text": ("netdsl.pipeline", "compile_text"),
    "Net": ("netdsl.pipeline", "Net"),
    "train": ("netdsl.api", "train"),
    "load_data": ("netdsl.api", "load_data"),
    "open_run": ("netdsl.api", "open_run"),
    "read_history": ("netdsl.api", "read_history"),
    "Engine": ("netdsl.training.runs.engine", "Engine"),
    "Device": ("netdsl.targets.contract", "Device"),
    "Diagnostic": ("netdsl.ground.diagnostics", "Diagnostic"),
    "SpecError": ("netdsl.ground.diagnostics", "SpecError"),
    "UserError": ("netdsl.ground.diagnostics", "UserError"),
}
__all__ = [*_PUBLIC]


def __getattr__(name: str) -> object:
    """The public names, imported when first used, so that `netdsl --help` loads no numpy."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'netdsl' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
