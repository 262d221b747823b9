"""The floors: a module imports only from lower floors. Reads the imports; imports nothing of netdsl."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "netdsl"

FLOORS = [
    {
        "source",
        "spelling",
        "markup",
        "diagnostics",
        "encodings",
        "explanations",
        "files",
        "names",
        "kernels",
        "reports",
        "symbols",
        "tables",
        "convolution_costs",
        "schedules",
    },
    {"ir", "scopes", "syntax.ast", "syntax.prescan", "syntax.lookalikes", "train_values"},
    {"layers", "window_rules", "transposed_rules"},
    {"foreign", "recipe"},
    {"syntax.habits"},
    {"syntax.parser", "syntax.printer", "expressions", "misfits", "train_block"},
    {
        "attributes",
        "attribute_mistakes",
        "unknown_names",
        "blocks",
        "definitions",
        "expectations",
        "input_constants",
        "library",
        "lower",
        "analysis",
    },
    {"passes"},
    {"backends"},
    {"pipeline"},
    {"training", "gradient_check", "tuning", "layer_pages"},
    {"verify", "bench"},
    {"cli"},
    {"", "__main__", "api"},
]
WITHIN = {
    "kernels",
    "passes",
    "backends",
    "training",
    "cli",
    "analysis",
    "layers.contract",
    "diagnostics",
    "markup",
    "source",
    "expressions",
    "attribute_mistakes",
    "attributes",
    "blocks",
    "definitions",
    "unknown_names",
    "expectations",
    "input_constants",
    "recipe",
    "misfits",
    "window_rules",
    "transposed_rules",
    "syntax.ast",
    "syntax.parser",
    "files",
    "ir",
    "verify",
    "bench",
    "tuning",
}  # modules and folders that their own floor may import
WORKERS = {"ctypes", "inspect", "mmap", "os", "select", "signal", "sys", "threading", "time", "traceback", "weakref"}
ONLY_IN = {
    "lark": {"syntax.parser"},
    "jinja2": {"backends.emission", "markup", "training.report"},
    "matplotlib": {"training.plots.style"},
}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")
        yield name, ast.parse(path.read_text(encoding="utf-8"))


def floor(name):
    parts = [name, *([name.partition(".")[0]] if name else [])]
    return next((i for part in parts for i, floor in enumerate(FLOORS) if part in floor), None)


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (
                f"{node.module}.{alias.name}"
                for alias in node.names
                if node.module in ("netdsl.syntax", "netdsl.kernels")
            )


def test_every_module_imports_only_from_lower_floors():
    for name, tree in modules():
        assert floor(name) is not None or name == "syntax", f"{name} has no floor"
        for target in imports(tree):
            target = target.removeprefix("netdsl.") if target.startswith("netdsl.") else None
            if target is None or floor(target) is None:
                continue
            folder = target.partition(".")[0]
            own = floor(target) == floor(name) and (target in WITHIN or folder in WITHIN)
            assert floor(target) < floor(name) or own, f"{name} imports {target}"


def test_a_layer_file_never_imports_another_layer_file():
    for name, tree in modules():
        if name.startswith("layers."):
            assert not [i for i in imports(tree) if i.startswith("netdsl.layers") and i != "netdsl.layers.contract"], (
                name
            )


def test_kernels_import_only_numpy_and_the_standard_library():
    for name, tree in modules():
        if name.startswith("kernels."):
            used = {i.split(".")[0] for i in imports(tree) if not i.startswith("netdsl.kernels")}
            more = {"kernels.workers": WORKERS, "kernels.weights": {"os", "zipfile"}}.get(name, set())
            assert used <= {"numpy", "math", "json"} | more, name


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
            assert not {"torch", "matplotlib", "onnx"} & set(top_level), f"{name} imports {top_level} at import time"
