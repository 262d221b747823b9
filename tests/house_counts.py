"""Counts of the house, for any tree of it: `python tests/house_counts.py [FOLDER_OF_NETDSL...]`, a column each.

Reads the files; imports nothing of netdsl, so that trees of other days can be counted beside each other.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "netdsl"
LONG_FUNCTION, LONG_FILE = 50, 400
Function = ast.FunctionDef | ast.AsyncFunctionDef


def files(package: Path) -> Iterator[tuple[Path, str]]:
    """Every Python file below a folder, and its text."""
    for path in sorted(package.rglob("*.py")):
        yield path, path.read_text(encoding="utf-8")


def functions(package: Path) -> Iterator[tuple[Path, Function]]:
    """Every function of every file, methods and functions in functions too."""
    for path, text in files(package):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, Function):
                yield path, node


def module_imports(package: Path) -> dict[str, set[str]]:
    """Module -> the modules of the package that it imports, names without `netdsl.`; type-checking imports too."""
    names = {".".join(path.relative_to(package).with_suffix("").parts): text for path, text in files(package)}
    names = {name.removesuffix(".__init__"): text for name, text in names.items()}
    imported: dict[str, set[str]] = {}
    for name, text in names.items():
        targets: set[str] = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module:
                base = node.module.removeprefix("netdsl").removeprefix(".")
                inner = {f"{base}.{alias.name}".lstrip(".") for alias in node.names}
                targets |= (inner & set(names)) or {base}
        imported[name] = {target for target in targets if target in names and target != name}
    return imported


def loose_modules(package: Path) -> int:
    """Modules that stand beside the folders."""
    return len([path for path in package.glob("*.py") if path.stem not in ("__init__", "__main__")])


def rooms(package: Path) -> int:
    """Folders and loose modules."""
    return loose_modules(package) + len([path for path in package.iterdir() if (path / "__init__.py").exists()])


def arrows(package: Path) -> int:
    """Imports between rooms: pairs of them."""
    room = {name: name.partition(".")[0] for name in module_imports(package)}
    pairs = {(room[name], room[target]) for name, targets in module_imports(package).items() for target in targets}
    return len({(a, b) for a, b in pairs if a != b and a not in ("__init__", "__main__")})


def modules_on_circles(package: Path) -> int:
    """Modules that import themselves through others."""
    above = module_imports(package)
    while free := [name for name, targets in above.items() if not targets & set(above)]:
        for name in free:
            del above[name]
    while free := [name for name in above if not any(name in targets for targets in above.values())]:
        for name in free:
            del above[name]
    return len(above)


def exempted_names(package: Path) -> int:
    """Names that the test of the floors lets import from their own floor."""
    tree = ast.parse((package.parent / "tests/test_architecture.py").read_text(encoding="utf-8"))
    lists = [node.value for node in tree.body if isinstance(node, ast.Assign) and _named(node) == "WITHIN"]
    return sum(len(one.elts) for one in lists if isinstance(one, ast.Set))


def _named(node: ast.Assign) -> str:
    return node.targets[0].id if isinstance(node.targets[0], ast.Name) else ""


def long_functions(package: Path) -> int:
    """Functions of more than 50 lines."""
    return sum(node.end_lineno - node.lineno + 1 > LONG_FUNCTION for _, node in functions(package) if node.end_lineno)


def long_files(package: Path) -> int:
    """Files of more than 400 lines."""
    return sum(text.count("\n") > LONG_FILE for _, text in files(package))


def is_annotated(node: Function) -> bool:
    """True if a function says the types of its arguments and of its result."""
    args = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    args += [arg for arg in (node.args.vararg, node.args.kwarg) if arg is not None]
    missing = [arg for arg in args if arg.annotation is None and arg.arg not in ("self", "cls")]
    return not missing and (node.returns is not None or node.name == "__init__" and len(args) > 1)


def annotated_signatures(package: Path) -> str:
    """`2345 of 2400`."""
    answers = [is_annotated(node) for _, node in functions(package)]
    return f"{sum(answers)} of {len(answers)}"


SHAPE = re.compile(r"\((?:\.\.\.|n|[A-Z]\w*)(?:[*/]\w+)*,(?: [\w.*/+-]+,?)*\)")  # (N, C, H, W), (..., C), (n, C*H*W)


def passes(package: Path) -> Iterator[tuple[Path, Function]]:
    """Every forward and backward of kernels, stages and layers, which are copied into emitted modules."""
    for path, node in functions(package):
        in_room = path.relative_to(package).parts[0] in ("kernels", "stages", "layers")
        if in_room and re.fullmatch(r"(\w+_)?(forward|backward)", node.name):
            yield path, node


def gives_shapes(node: Function) -> bool:
    """True if a docstring says the axes of what a function takes or gives, or that it takes any shape."""
    doc = ast.get_docstring(node) or ""
    return bool(SHAPE.search(doc)) or "any shape" in doc


def kernel_docstrings_without_shapes(package: Path) -> str:
    """`26 of 186`. Those that are left stand in generated/, whose bytes are kept (tests/kernels/test_docstrings.py)."""
    answers = [gives_shapes(node) for _, node in passes(package)]
    return f"{answers.count(False)} of {len(answers)}"


RANK_FREE = (
    "kernels/",
    "stages/",
    "graph/types.py",
    "targets/fast/network.py",
    "targets/fast/storage.py",
    "targets/text/answers.py",
    "targets/torch/answers.py",
)
"""Where arrays are computed with, the type itself, and text that runs in emitted modules."""
READING = {
    "training/data/": "arrays as files hold them, of which a data set says once what they are",
    "training/drawing/": "a picture has two axes where it is grey, three in colours",
    "language/attributes.py": "how many sizes a setting is written with",
    "language/lower/program.py": "how many sizes an `input` is written with, before they are a type",
}
"""Where a rank is what was read, so that it must be looked at; begins of paths, and why."""


def rank_tests(package: Path) -> list[str]:
    """`layers/bn.py:16: len(x) == 2` for every place that asks how many sizes a shape has, or axes an array, to tell
    maps, tokens and vectors apart."""
    return [test for test in all_rank_tests(package) if not test.startswith(tuple(READING))]


@cache
def all_rank_tests(package: Path) -> list[str]:
    """Those of `READING` too."""
    tests = []
    for path, text in files(package):
        name = path.relative_to(package).as_posix()
        if not name.startswith(RANK_FREE):
            tests += [f"{name}:{line}: {asked}" for line, asked in sorted(_ranks_asked(ast.parse(text), name))]
    return tests


def _ranks_asked(tree: ast.AST, file: str) -> Iterator[tuple[int, str]]:
    """Line and text of comparisons, and of tables by rank, but for kernels."""
    pending = [(tree, frozenset({"x", "inputs", "first", "different"} if file.startswith("layers/") else ()))]
    while pending:
        node, shapes = pending.pop()
        if isinstance(node, Function) and node.name.endswith(("_forward", "_backward")):
            continue
        if isinstance(node, Function):
            shapes |= {arg.arg for arg in ast.walk(node.args) if isinstance(arg, ast.arg) and _is_shape_type(arg)}
        pending += [(child, shapes) for child in ast.iter_child_nodes(node)]
        asked: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            asked = [node.left, *node.comparators]
        elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Dict):
            asked = [node.slice]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            asked = node.args[:1]
        if any(_is_rank(one, shapes) for one in asked):
            yield node.lineno, ast.unparse(node)


def _is_shape_type(arg: ast.arg) -> bool:
    written = "" if arg.annotation is None else ast.unparse(arg.annotation)
    return written.removesuffix(" | None") in ("Shape", "Sizes", "Tensor")


def _is_rank(asked: ast.expr, shapes: frozenset[str]) -> bool:
    """`x.ndim`, or the length of a name or attribute that is a shape, of a part of several, or of a call for one."""
    if isinstance(asked, ast.Attribute):
        return asked.attr == "ndim"
    if not (isinstance(asked, ast.Call) and isinstance(asked.func, ast.Name) and asked.func.id == "len"):
        return False
    measured, singular = asked.args[0], ("shape", "shape_of", "sizes", "space")
    while isinstance(measured, ast.Subscript | ast.Call):
        measured = measured.value if isinstance(measured, ast.Subscript) else measured.func
    name = measured.attr if isinstance(measured, ast.Attribute) else getattr(measured, "id", "")
    return name in shapes or name.endswith(singular if measured is asked.args[0] else (*singular, "shapes"))


def found_variables(package: Path) -> int:
    """How often a variable is called `found`."""
    names = [node.id for _, text in files(package) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)]
    return names.count("found")


def docstrings_that_begin_with_that_of(package: Path) -> int:
    """Docstrings whose first words name nothing."""
    docs = [ast.get_docstring(node) or "" for _, node in functions(package)]
    return sum(doc.startswith("That of") for doc in docs)


COUNTS: dict[str, Callable[[Path], object]] = {
    "rooms": rooms,
    "loose modules": loose_modules,
    "arrows between rooms": arrows,
    "modules on circles": modules_on_circles,
    "names exempted by the test of the floors": exempted_names,
    "functions over 50 lines": long_functions,
    "files over 400 lines": long_files,
    "signatures annotated": annotated_signatures,
    "kernels' docstrings without shapes": kernel_docstrings_without_shapes,
    "rank tests outside the type": lambda package: len(rank_tests(package)),
    "variables called `found`": found_variables,
    'docstrings that begin "That of"': docstrings_that_begin_with_that_of,
}

if __name__ == "__main__":
    packages = [Path(folder) for folder in sys.argv[1:]] or [PACKAGE]
    for name, count in COUNTS.items():
        print(f"{name:45}", *(f"{count(package)!s:>14}" for package in packages))
