"""Reads what CuPy has of NumPy into netdsl/targets/cupy/functions.toml: `python tests/read_cupy.py`, beside a CuPy.

It needs no GPU, and the newest NumPy. What stands in front of `[functions]` is written by hand and stays, but for the
version of CuPy.
"""

from __future__ import annotations

import inspect
import json
import re
import textwrap
import types
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

PAGE = Path(__file__).resolve().parents[1] / "netdsl/targets/cupy/functions.toml"
FILES = re.compile(r"from.*|load.*|save.*|genfromtxt|.*printoptions|.*_repr|array_str|array2string|dumps?|tofile")
SETTINGS = re.compile(r"format_float.*|show_config|mintypecode|typename|iterable|require|(may_)?shares?_memory")
OTHERS = re.compile(r"apply_.*|mask_indices|piecewise|row_stack|divmod|frexp|modf|min_scalar_type")
CLASSES = re.compile(r"[crs]_|flatiter|[mo]grid|index_exp|poly1d|ufunc|vectorize")
UFUNC = re.compile(r"\w+\(([^/]*), /, out=None, \\\*, casting='same_kind', dtype=None\)")
METHOD = re.compile(r"(?:_ndarray_base|ndarray)\.\w+\(self(?:, )?(.*?)\)(?: ->|$|\n)", re.DOTALL)
TYPES = re.compile(r"\b(?:Py_ssize_t|bint|bool|int|_ndarray_base|tuple|str) (?=\w)")


def left_out(name: str) -> bool:
    """What reads and writes files and settings, or is no function of arrays."""
    return any(pattern.fullmatch(name) for pattern in (FILES, SETTINGS, OTHERS, CLASSES)) or name[0] == "_"


def shared(cupy: types.ModuleType) -> Iterator[tuple[str, object]]:
    """The names that NumPy and CuPy both have, and what is CuPy's."""
    views = np.lib.stride_tricks, cupy.lib.stride_tricks
    spaces = {"": (np, cupy), "linalg.": (np.linalg, cupy.linalg), "lib.stride_tricks.": views}
    for space, (ours, theirs) in spaces.items():
        for name in sorted(dir(ours)):
            value = getattr(theirs, name, types)  # a module, where it has none
            if not left_out(name) and not isinstance(value, types.ModuleType):
                yield space + name, value


def arguments(function: object) -> str:
    """`a, axis=None, *, dtype=None`, without annotations."""
    signature = inspect.signature(function)  # type: ignore[arg-type]
    plain = [p.replace(annotation=p.empty, default=_named(p.default)) for p in signature.parameters.values()]
    return str(inspect.Signature(plain))[1:-1]


class _Name(str):
    __slots__ = ()
    __repr__ = str.__str__


def _named(default: object) -> object:
    return _Name(default.__name__) if isinstance(default, type) and default is not inspect.Parameter.empty else default


def methods(cupy: types.ModuleType) -> Iterator[tuple[str, str]]:
    """The methods that arrays of both have, `get` and `set`, by the first line of their docstrings."""
    for name in sorted(dir(cupy.ndarray)):
        method = getattr(cupy.ndarray, name)
        if callable(method) and not left_out(name) and (hasattr(np.ndarray, name) or name in ("get", "set")):
            match = METHOD.match(method.__doc__ or "")
            assert match is not None, f"the docstring of `{name}` begins otherwise"
            yield name, TYPES.sub("", match[1])


def listed(name: str, names: Iterable[str]) -> str:
    """`name = [...]`, over several lines."""
    text = ", ".join(map(json.dumps, names)) + ","
    lines = textwrap.wrap(text, 112, break_long_words=False, break_on_hyphens=False)
    return "\n".join([f"{name} = [", *(f"    {line}" for line in lines), "]"])


def sections(cupy: types.ModuleType) -> str:
    """All from `[functions]` on."""
    functions, constants, of_one, of_two = {}, [], [], []
    for name, value in shared(cupy):
        if isinstance(value, type) or not callable(value):
            constants += [name] * ("." not in name)
        elif isinstance(value, cupy.ufunc):
            match = UFUNC.match(value.__doc__ or "")
            assert match is not None, f"the docstring of `{name}` begins otherwise"
            (of_two if "," in match[1] else of_one).append(name)
        else:
            functions[name] = "a, axis=None" if name == "size" else arguments(value)
    attributes = [n for n in dir(cupy.ndarray) if n[0] != "_" and hasattr(np.ndarray, n)]
    return "\n".join(
        [
            "[functions]",
            *(f"{json.dumps(n) if '.' in n else n} = {json.dumps(text)}" for n, text in functions.items()),
            "",
            "# Element by element: `out`, `casting` and `dtype`, but no `where`. Methods (`add.at`) are left out.",
            "[ufuncs]",
            "keywords = \"out=None, *, casting='same_kind', dtype=None\"",
            listed("of_one", of_one),
            listed("of_two", of_two),
            "",
            "[methods]",
            *(f"{name} = {json.dumps(text)}" for name, text in methods(cupy)),
            "",
            "# Attributes of arrays; and dtypes and constants, which are NumPy's own.",
            "[names]",
            listed("attributes", [n for n in attributes if not callable(getattr(cupy.ndarray, n))]),
            listed("constants", constants),
        ]
    )


def main() -> None:
    import cupy

    head = PAGE.read_text(encoding="utf-8").partition("[functions]\n")[0]
    head = re.sub(r'(?<=\nversion = ")[^"]*', cupy.__version__, head)
    PAGE.write_text(f"{head}{sections(cupy)}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
