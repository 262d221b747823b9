"""The floors: a module imports from its own folder and from lower floors. Reads the imports; imports nothing of netdsl.

A module belongs to the longest of the names below that it begins with. There are no exemptions, and no circles.
"""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "netdsl"

FLOORS = (
    "ground",
    "kernels",
    "stages",
    "graph",
    "layers.rules",
    "layers.contract",
    "layers.families",
    "layers",
    "language",
    "analysis",
    "passes",
    "targets.dialect",
    "targets.contract",
    "targets.registry",
    "targets.text",
    "targets.numpy",
    "targets.cupy",
    "targets.live",
    "targets.fast",
    "targets.torch",
    "targets",
    "pipeline",
    "verify",
    "bench",
    "reference",
    "training.data",
    "training.scores",
    "training.drawing",
    "training.runs",
    "training.loop",
    "training.pictures",
    "api",
    "cli",
)
"""From the ground up. Every folder of netdsl stands here; of single modules only those that lie beside folders."""

PUBLIC = {"", "__main__"}  # the package itself, which imports what is asked for, and `python -m netdsl`
FOLDERS_ALONE = {"training"}  # hold folders, and no module
MORE = {
    "kernels.weights": {"os", "zipfile"},
    "stages.split": {"bisect"},
    "stages.blas": {"ctypes", "os", "sys"},
    "stages.forks": {"mmap", "os", "select", "signal", "sys", "threading", "time", "traceback", "weakref"},
    "stages.workers": {"ctypes", "os", "queue", "threading", "weakref"},
}
"""What kernels and stages use of the standard library beside what computes."""
TYPES = {"__future__", "collections", "dataclasses", "typing"}  # for annotations, which are not emitted
ONLY_IN = {
    "lark": {"language.syntax.lark_tables"},  # which nothing imports: it is run where the grammar is changed
    "jinja2": {"targets.text.emission", "ground.markup", "training.pictures.report"},
    "matplotlib": {"training.drawing.style"},
}

LOAD_TORCH = {
    *(
        "targets.torch.arrays",
        "targets.torch.devices",
        "targets.torch.model",
        "targets.torch.ranked",
        "targets.torch.ranks",
        "targets.torch.running",
        "targets.torch.scale",
        "targets.torch.sharded",
        "targets.torch.synced",
    ),
    *("verify.torch_runs", "bench.torch_contestants", "bench.torch_texts"),
}
"""The modules that load PyTorch when they are imported; no others import them but within a function."""


def modules():
    """Every module of netdsl: its name without `netdsl.`, and its syntax tree."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")
        yield name, ast.parse(path.read_text(encoding="utf-8"))


NAMES = {name for name, _ in modules()}


def floor(name):
    """The number of the longest name of FLOORS that holds it; None for what is not of netdsl."""
    parts = name.split(".")
    heads = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return next((FLOORS.index(head) for head in heads if head in FLOORS), None)


def imports(tree):
    """Full names: of a module, where one is imported, else of what it is imported from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            known = [name for name in inner if name.removeprefix("netdsl.") in NAMES]
            yield from known
            if len(known) < len(inner):
                yield node.module


def own_imports(tree):
    """The modules of netdsl that a module imports, without `netdsl.`."""
    return sorted({i.removeprefix("netdsl.") for i in imports(tree) if i.startswith("netdsl.")})


def test_every_module_imports_only_from_its_folder_and_lower_floors():
    for name, tree in modules():
        if name in PUBLIC | FOLDERS_ALONE:
            continue
        assert floor(name) is not None, f"{name} has no floor"
        for target in own_imports(tree):
            assert floor(target) is not None, f"{name} imports {target}, which has no floor"
            assert floor(target) <= floor(name), f"{name} imports {target}, from a higher floor"


def test_no_module_imports_itself_in_a_circle():
    above = {name: [i for i in own_imports(tree) if i != name] for name, tree in modules() if name not in PUBLIC}
    while free := [name for name, targets in above.items() if not any(target in above for target in targets)]:
        for name in free:
            del above[name]
    assert not above, f"in or on a circle: {above}"


def test_folders_of_folders_hold_no_module():
    for folder in FOLDERS_ALONE:
        assert [path.name for path in (PACKAGE / folder).glob("*.py")] == ["__init__.py"]


def test_a_layer_file_never_imports_another_layer_file():
    for name, tree in modules():
        if floor(name) == FLOORS.index("layers") and name != "layers":
            assert not [i for i in own_imports(tree) if floor(i) == FLOORS.index("layers")], name


def test_a_layer_file_imports_stages_only_in_the_rule_that_offers_them():
    for name, tree in modules():
        if name.startswith("layers"):
            top = ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
            assert not [target for target in imports(top) if target.startswith("netdsl.stages")], name


def test_kernels_and_stages_import_only_numpy_and_the_standard_library():
    for name, tree in modules():
        if name.startswith(("kernels.", "stages.")):
            used = {i.split(".")[0] for i in imports(tree) if not i.startswith(("netdsl.kernels", "netdsl.stages"))}
            more = MORE.get(name, set())
            assert used <= {"numpy", "math", "json"} | TYPES | more, name


def test_heavy_libraries_stay_in_their_place():
    for name, tree in modules():
        for target in imports(tree):
            library = target.split(".")[0]
            allowed = ONLY_IN.get(library, {name})
            assert any(f"{name}.".startswith(f"{place}.") for place in allowed), f"{name} imports {library}"
        for node in tree.body:
            top_level = (
                [i.split(".")[0] for i in imports(ast.Module([node], []))]
                if isinstance(node, ast.Import | ast.ImportFrom)
                else []
            )
            heavy = {"cupy", "matplotlib", "onnx"} | ({"torch"} if name not in LOAD_TORCH else set())
            assert not heavy & set(top_level), f"{name} imports {top_level} at import time"


def test_pytorch_is_loaded_by_those_alone_who_use_it():
    for name, tree in modules():
        top_level = imports(ast.Module([n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)], []))
        loaded = LOAD_TORCH & {target.removeprefix("netdsl.") for target in top_level}
        assert name in LOAD_TORCH or not loaded, f"{name} imports {loaded} at import time"
