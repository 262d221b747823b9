"""The text for CuPy: whose names it has, what is moved to the GPU, and that CuPy has all that it asks for."""

import ast
import importlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from graphs import GraphBuilder

from netdsl.cli import run
from netdsl.graph.recipe import LOSSES, OPTIMIZERS
from netdsl.ground.diagnostics import UserError
from netdsl.kernels import initial, losses, optimizers, stable, weights, windows
from netdsl.layers import layer_of, layer_table, register, unregister
from netdsl.pipeline import compile_file, compile_text
from netdsl.targets.contract import Declined
from netdsl.targets.cupy.rules import cupy_rules
from netdsl.targets.cupy.spelling import HOST, cupy_line, cupy_text, is_on_host, spelled
from netdsl.targets.cupy.table import refusals
from netdsl.targets.text.kernel_source import emitted_text

ROOT = Path(__file__).resolve().parents[2]
SLOW = pytest.mark.slow("published networks as text for CuPy")
SPECS = [pytest.param(path, id=path.stem) for path in sorted((ROOT / "specs").glob("*.net"))]
SPECS += [pytest.param(path, id=path.stem, marks=SLOW) for path in sorted((ROOT / "tests/published").glob("*.net"))]


def written(text, moved=()):
    return spelled(text, lambda name: name in moved)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("y = np.exp(x)", "y = cp.exp(x)"),
        ("y = np . exp(x)", "y = cp . exp(x)"),
        ("y = np.linalg.norm(np.abs(x))", "y = cp.linalg.norm(cp.abs(x))"),
        ('"""As np.exp."""  # np.exp', '"""As np.exp."""  # np.exp'),
        ("inp.exp = snp.exp + x.np.exp + np_exp", "inp.exp = snp.exp + x.np.exp + np_exp"),
        ("for place in np.ndindex(*sizes): pass", "for place in np.ndindex(*sizes): pass"),
        ("rng = np.random.default_rng(0)", "rng = np.random.default_rng(0)"),
        ("y = rng.random((2, 3), np.float32) >= p", "y = cp.asarray(rng.random((2, 3), cp.float32)) >= p"),
        ("y = f(matrix(2, (3 + 4)), 5)", "y = f(cp.asarray(matrix(2, (3 + 4))), 5)"),
        ("def matrix(a):\n    return a.matrix", "def matrix(a):\n    return a.matrix"),
        ("y = matrix(\n    matrix(2)\n)", "y = cp.asarray(matrix(\n    cp.asarray(matrix(2))\n))"),
    ],
)
def test_names_become_cupys_and_what_the_host_makes_is_moved(text, expected):
    assert written(text, ["matrix"]) == expected


def test_a_kernel_of_the_host_that_is_not_called_where_it_stands_is_refused():
    with pytest.raises(AssertionError, match="`matrix` is not called where it stands"):
        written("make = matrix", ["matrix"])


def test_what_takes_no_array_stays_on_the_host():
    on_host = [(windows, "window_slices"), (windows, "sides_of"), (stable, "erf_series"), (initial, "he")]
    on_host += [(weights, "read_weights"), (weights, "take_weights")]
    for module, name in on_host:
        assert is_on_host(module, name) and cupy_text(module, name) == emitted_text(module, name)
    for module, name in [(windows, "windows"), (stable, "erf"), (losses, "onehot"), (optimizers, "clipped")]:
        assert not is_on_host(module, name)
        assert cupy_text(module, name).count("cp.") == emitted_text(module, name).count("np.")


def test_what_has_no_types_may_be_an_array(made):
    texts = "def untyped(x):\n    return {}.exp(x)", "def typed(n):\n    return np.ones(n)"
    module = made(
        "\n\n\n".join(["import numpy as np", texts[0].format("np"), texts[1].replace("(n)", "(n: int)", 1)]) + "\n"
    )
    assert cupy_text(module, "untyped") == texts[0].format("cp")
    assert cupy_text(module, "typed") == texts[1]


def test_first_params_are_drawn_by_numpy_and_moved():
    assert cupy_line('"w": he(rng, (2, 3), 3, 2, dtype),') == '"w": cp.asarray(he(rng, (2, 3), 3, 2, dtype)),'
    assert cupy_line('"b": np.zeros(3, dtype),') == '"b": cp.zeros(3, dtype),'


@pytest.mark.parametrize("spec", SPECS)
def test_cupy_has_all_that_a_network_asks_for(spec):
    """Every function, keyword and place of a list in the whole module, which passes the gate when it is written."""
    net = compile_file(spec)
    text = net.text("cupy")
    assert not list(refusals(text))
    assert "import cupy as cp\nimport numpy as np\n" in text
    assert names_of(text, "cp")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_cupy_has_all_that_a_recipe_asks_for(loss, optimizer):
    options = {"ce": " smooth=0.1 weights=(1, 2, 1)", "nll": " weights=(1, 2, 1)"}.get(loss, "")
    text = f"input 4\nlinear 3\ntrain {{ loss {loss}{options}, opt {optimizer} wd=0.1, clip 2.5, init torch }}"
    assert not list(refusals(compile_text(text).text("cupy")))


def test_cupy_has_all_that_every_layer_asks_for():
    rules = cupy_rules()
    assert set(rules) == set(layer_table())
    assert not {op: rule.why for op, rule in rules.items() if isinstance(rule, Declined)}


def names_of(text, root):
    """The names behind `cp.`, or `np.`, of a text."""
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)]
    return {node.attr for node in nodes if isinstance(node.value, ast.Name) and node.value.id == root}


def test_kernels_ask_numpy_for_sizes_alone():
    """In a kernel that takes arrays, `np` is one of the few functions that are given sizes."""
    asked = set()
    layers = [one for layer in layer_table().values() for one in (layer, *layer.variants)]
    for layer in layers:
        for kernel in (layer.forward, layer.backward):
            asked |= names_of(cupy_text(sys.modules[kernel.__module__], kernel.__name__), "np")
    assert asked <= HOST


@pytest.mark.parametrize(
    "text, why",
    [
        ("cp.vecdot(x, y)", "CuPy has no `vecdot`"),
        ("cp.errstate(over='ignore')", "CuPy has no `errstate`"),
        ("cp.add.at(x, y, 1)", "CuPy has no `add.at`"),
        ("cp.lib.stride_tricks.broadcast_to(x, 1)", "CuPy has no `lib.stride_tricks.broadcast_to`"),
        ("cp.exp(x, where=y)", "CuPy's `exp` has no argument `where`"),
        ("cp.clip(x, 0, 1, dtype=int)", "CuPy's `clip` has no argument `dtype`"),
        ("x.sum(axis=0, where=y)", "CuPy's `sum` has no argument `where`"),
        ("cp.cumsum([1, 2])", "CuPy's `cumsum` takes no list for `a`"),
        ("cp.maximum(x, (1, 2))", "CuPy's `maximum` takes no list for `x2`"),
        ("cp.where(y, x, [0 for _ in x])", "CuPy's `where` takes no list for `y`"),
        ("cp.broadcast_to((1, 2), (3, 2))", "CuPy's `broadcast_to` takes no list for `array`"),
        ("cp.transpose(x, 0, 1)", "CuPy's `transpose` takes 2 arguments, not 3"),
    ],
)
def test_what_cupy_does_not_have_or_take_is_seen(text, why):
    assert list(refusals(f"def f(x, y):\n    return {text}\n")) == [why]


@pytest.mark.parametrize(
    "text",
    [
        "cp.stack([x, y], axis=1)",
        "cp.pad(x, ((0, 0), (1, 2)), constant_values=-cp.inf)",
        "cp.split(x, [1, 2], 1)",
        "cp.zeros((2, 3), cp.float32)",
        "cp.asarray([1, 2], x.dtype)",
        "x.sum(axis=(0, 2), keepdims=True)",
        "cp.square(x, dtype=cp.float64).sum()",
        "cp.linalg.norm(x, axis=(0, 1))",
        "cp.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))",
    ],
)
def test_what_cupy_takes_passes(text):
    assert not list(refusals(f"def f(x, y):\n    return {text}\n"))


def test_a_layer_whose_kernels_cupy_cannot_run_is_declined_with_the_reason(made):
    module = made("import numpy as np\n\n\ndef dots(x):\n    return np.vecdot(x, x), x\n")
    register(replace(layer_of("relu"), name="dots", forward=module.dots, torch=None, aliases=(), stages=None))
    try:
        net = compile_text("input 4\ndots -> linear 2", "small")
        why = r"cannot take `dots1`, a `dots` in line 2 of small.net: CuPy has no `vecdot`"
        with pytest.raises(UserError, match=why) as error:
            net.text("cupy")
        assert error.value.help == "the target `numpy` takes all of them"
    finally:
        unregister("dots")


@pytest.fixture
def made(tmp_path, monkeypatch):
    """made(text) -> a module of that text."""

    def module(text):
        (tmp_path / "made_kernels.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "made_kernels", raising=False)
        importlib.invalidate_caches()
        return importlib.import_module("made_kernels")

    return module


def test_compile_writes_it_and_all_leaves_it_out(tmp_path, capsys):
    spec = tmp_path / "small.net"
    spec.write_text("input 4\nlinear 3\n")
    assert run(["compile", str(spec), "--target", "cupy", "-o", str(tmp_path / "out")]) == 0
    assert run(["compile", str(spec), "--target", "all", "-o", str(tmp_path / "all")]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["small_cupy.py"]
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["small_numpy.py", "small_torch.py"]
    assert run(["compile", str(spec), "--target", "cupy", "-O2"]) == 2
    assert "`-O 2` is for the NumPy module, and `--target cupy` writes none" in capsys.readouterr().err
    assert run(["compile", "--help"]) == 0
    assert "What to write; `all` leaves out cupy." in " ".join(capsys.readouterr().out.split())


def test_an_input_may_be_called_as_the_library_is():
    b = GraphBuilder("named")
    net = b.net(_=b.put("linear 3", b.input("cp", "4")))
    assert "def forward(self, cp_, training=False)" in net.text("cupy")
