"""The text of kernels for CuPy: NumPy's names become CuPy's, and what the host computes is moved to the GPU.

The kernels are the NumPy module's own, so `np.exp(x)` is written `cp.exp(x)`. Three things stay NumPy's, since CuPy's
functions take arrays that lie on the GPU, and no lists or tuples of sizes:

- a kernel that takes no array, by the types in its header: it computes with sizes (`window_slices`) or draws numbers
  (`he`), so that a seed gives the weights of the NumPy module;
- the functions of HOST, which kernels give sizes alone;
- whole modules that read and write files.

What such a kernel gives as an `Array`, and what a generator draws, is moved where it is called:
`cp.asarray(averaging_matrix(7, 3, x.dtype))`. A kernel that gives numbers about sizes as an array says `Counts`
(kernels/arrays.py), and these stay where they are.

A text is read as tokens, so that docstrings, comments and names that end in `np` stay as they are.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
import types
from collections.abc import Callable, Iterator
from functools import cache

from netdsl.kernels import initial
from netdsl.targets.text.kernel_source import definitions, emitted_text

HOST = frozenset(["broadcast", "dtype", "ix_", "ndindex", "random"])
"""What of NumPy is asked for sizes, dtypes or random numbers, whoever asks."""

FILES = frozenset(["netdsl.kernels.weights", "netdsl.targets.text.answers", "netdsl.targets.text.named_answers"])
"""Modules whose arrays come from files and go to files."""

ARRAYS = frozenset(["Any", "Array", "Arrays", "Grads", "Maps", "Param", "Saved", "State", "Tokens", "Vectors"])
"""The types of kernels/arrays.py that may be on the GPU, or hold what is; and what may be anything."""

_Edit = tuple[int, int, str]  # from place to place -> the text instead


@cache
def cupy_text(module: types.ModuleType, name: str) -> str | None:
    """The text of a definition of netdsl as it stands in a module for CuPy; None where it has none."""
    text = emitted_text(module, name)
    if text is None or is_on_host(module, name):
        return text
    return spelled(text, lambda called: _is_moved(getattr(module, called, None)))


def cupy_line(text: str) -> str:
    """A line that the emitter of the NumPy module writes, for CuPy."""
    if "np" not in text and "rng" not in text:  # most lines: reading one as tokens takes longer than writing it
        return text
    return spelled(text, lambda called: _is_moved(getattr(initial, called, None)))


def is_on_host(module: types.ModuleType, name: str) -> bool:
    """Whether a definition stays NumPy's: of a file, a class (those of networks are written twice), or a kernel that
    takes no array. An argument without a type may be one."""
    node = _header(module, name)
    if module.__name__ in FILES or node is None:
        return True
    a = node.args
    given = [*a.posonlyargs, *a.args, *a.kwonlyargs, *(arg for arg in (a.vararg, a.kwarg) if arg is not None)]
    return not any(arg.annotation is None or _names(arg.annotation) & ARRAYS for arg in given)


def _is_moved(used: object) -> bool:
    """Whether a function is one that the host computes, and whose array is then moved."""
    if not isinstance(used, types.FunctionType) or not used.__module__.startswith("netdsl."):
        return False
    module = sys.modules[used.__module__]
    node = _header(module, used.__name__)
    return node is not None and is_on_host(module, used.__name__) and bool(_names(node.returns) & ARRAYS)


@cache
def _header(module: types.ModuleType, name: str) -> ast.FunctionDef | None:
    """The definition of a function at the top of a module, with its types; None of a class."""
    (node,) = ast.parse(definitions(module).written(name)).body
    return node if isinstance(node, ast.FunctionDef) else None


def _names(annotation: ast.expr | None) -> set[str]:
    """The names in a type: of `Sequence[Array] | None` `Sequence` and `Array`."""
    return {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)} if annotation is not None else set()


def spelled(text: str, is_moved: Callable[[str], bool]) -> str:
    """The text with CuPy's names. is_moved: whether the result of a function of that name is moved to the GPU.

    Raises AssertionError for such a function that is not called where it stands: its result would not be moved."""
    for start, end, new in sorted(_edits(_Tokens(text), is_moved), reverse=True):
        text = text[:start] + new + text[end:]
    return text


class _Tokens:
    """The tokens of a text, and where in the text each begins and ends."""

    def __init__(self, text: str) -> None:
        lines = text.splitlines(keepends=True)
        begins = [0]
        for line in lines:
            begins.append(begins[-1] + len(line))
        self.tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
        self.places = [
            (begins[token.start[0] - 1] + token.start[1], begins[token.end[0] - 1] + token.end[1])
            for token in self.tokens
            if token.type not in (tokenize.ENDMARKER, tokenize.NEWLINE)
        ]
        self.words = [t.string for t in self.tokens if t.type not in (tokenize.ENDMARKER, tokenize.NEWLINE)]

    def is_attribute(self, i: int) -> bool:
        """Whether it stands behind a dot."""
        return i > 0 and self.words[i - 1] == "."

    def closing(self, i: int) -> int:
        """The number of the token that closes the bracket at i."""
        depth = 0
        while True:
            depth += {"(": 1, ")": -1}.get(self.words[i], 0)
            if depth == 0:
                return i
            i += 1


def _edits(read: _Tokens, is_moved: Callable[[str], bool]) -> Iterator[_Edit]:
    """What changes, in any order; no two edits overlap."""
    words, places = read.words, read.places
    for i, word in enumerate(words):
        if read.is_attribute(i) or not word.isidentifier():
            continue
        follows = words[i + 1 : i + 4]
        if word == "np" and follows[:1] == ["."] and follows[1] not in HOST:
            yield (*places[i], "cp")
        elif word == "rng" and follows[:1] == ["."] and follows[2:] == ["("]:
            yield from _moved(read, i, i + 3)
        elif is_moved(word) and words[i - 1 : i] != ["def"]:
            assert follows[:1] == ["("], f"`{word}` is not called where it stands, so that its array stays on the host"
            yield from _moved(read, i, i + 1)


def _moved(read: _Tokens, first: int, opening: int) -> Iterator[_Edit]:
    """`cp.asarray(` and `)` around a call."""
    start, end = read.places[first][0], read.places[read.closing(opening)][1]
    yield (start, start, "cp.asarray(")
    yield (end, end, ")")
