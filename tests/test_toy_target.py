"""A target is added by adding one file: the command line, labels and messages then know it."""

import importlib
import importlib.util
import sys

import numpy as np
import pytest

import netdsl
from netdsl.cli import run
from netdsl.targets.registry import register, runners, unregister, writers

TOY = '''"""`toy`: the network as a numbered list, and a model that answers the same whatever it is asked; one file."""

from netdsl.graph.ir import show_shape
from netdsl.targets.contract import Declined, Target

SENTENCES = {
    "conv": "slide {filters} windows over it",
    "linear": "mix all into {features} numbers",
    "relu": "cut off what is below 0",
    "flatten": "lay it out in a row",
    "mha": Declined("no sentence says how"),
}


def toy_text(net, level):
    lines = [f"Written by `netdsl compile --target toy`: {net.name}, level {level}", ""]
    for number, node in enumerate(net.graph.nodes, 1):
        lines.append(f"{number}. {node.name}: {SENTENCES[node.op].format(**node.attrs)}, {show_shape(node.shape)}")
    return "\\n".join(lines) + "\\n"


TARGET = Target(
    name="toy",
    describe="the list",
    rules=lambda: SENTENCES,
    emit=toy_text,
    suffix=".txt",
    levels={0: "short", 3: "shorter"},
    reserved_names={"chapter": "a list has chapters of its own"},
)
'''
SPEC = "input 1x6x6\nconv 2 k3 -> relu -> flatten -> linear 4\n"


@pytest.fixture
def toy(tmp_path):
    path = tmp_path / "toy_target.py"
    path.write_text(TOY)
    spec = importlib.util.spec_from_file_location("toy_target", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["toy_target"] = module
    spec.loader.exec_module(module)
    register(module.TARGET)
    yield module.TARGET
    unregister(module.TARGET)
    del sys.modules["toy_target"]


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "small.net").write_text(SPEC)
    return str(tmp_path / "small.net")


def test_compile_writes_it_where_it_is_asked_for(toy, spec, tmp_path, capsys):
    assert run(["compile", spec, "--target", "toy"]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[2:] == [
        "1. conv1: slide 2 windows over it, 2x4x4",
        "2. relu1: cut off what is below 0, 2x4x4",
        "3. flatten1: lay it out in a row, 32",
        "4. linear1: mix all into 4 numbers, 4",
    ]
    for _ in range(2):  # the second time over its own file
        assert run(["compile", spec, "-t", "toy", "-o", str(tmp_path / "list.txt")]) == 0
    assert (tmp_path / "list.txt").read_text() == text


def test_all_writes_it_beside_the_others_with_its_own_ending(toy, spec, tmp_path):
    assert run(["compile", spec, "--target", "all", "-o", str(tmp_path / "out")]) == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["small_numpy.py", "small_torch.py", "small_toy.txt"]


def test_the_help_lists_it_with_its_levels_and_its_ending(toy, capsys):
    assert run(["compile", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "--target [numpy|cupy|torch|toy|all]" in shown
    assert "Of the list: 0 is short, 3 is shorter." in shown and "-O [0|1|2|3]" in shown
    assert "A .py or .txt file" in shown


def test_its_levels_are_its_own(toy, spec, capsys):
    assert run(["compile", spec, "-t", "toy", "-O3"]) == 0
    assert "level 3" in capsys.readouterr().out
    assert run(["compile", spec, "-t", "toy", "-O2"]) == 2
    assert "`-O 2` is for the NumPy module, and `--target toy` writes none" in capsys.readouterr().err
    assert run(["compile", spec, "-O3"]) == 2
    assert "`-O 3` is for the list, and `--target numpy` writes none" in capsys.readouterr().err


def test_a_file_of_another_ending_is_refused_by_both_endings(toy, spec, tmp_path, capsys):
    assert run(["compile", spec, "-t", "toy", "-o", str(tmp_path / "list.py")]) == 2
    shown = capsys.readouterr().err
    assert "is neither a `.txt` file nor a folder" in shown and "list.txt" in shown


def test_a_layer_that_it_declines_is_one_error_with_the_reason_and_the_place(toy, tmp_path, capsys):
    path = tmp_path / "small.net"
    path.write_text("input 4x6\nmha 2\n-> linear 4\n")
    assert run(["compile", str(path), "-t", "toy"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"error: the target `toy` cannot take `mha1`, a `mha` in line 2 of {path}: no sentence says how",
        "help: the target `numpy` takes all of them",
    ]


def test_a_layer_without_an_entry_is_declined_and_the_others_are_counted(toy):
    net = netdsl.compile_text("input 1x6x6\npool 2 -> mish -> flatten -> linear 4\n", "small")
    assert [node.name for node, _ in toy.declines(net.graph)] == ["pool1", "mish1"]
    message = "`pool1`, a `pool` in line 2 of small.net: the list has no rule for it; it declines 1 more of 4 layers"
    with pytest.raises(netdsl.UserError, match=message):
        net.text("toy")


def test_a_name_that_it_reserves_cannot_be_a_label(toy, tmp_path, capsys):
    (tmp_path / "small.net").write_text("input 4\nchapter: linear 3\n")
    assert run(["check", str(tmp_path / "small.net")]) == 1
    assert "`chapter` cannot be a label: a list has chapters of its own" in capsys.readouterr().err


def test_what_makes_no_model_cannot_train(toy, spec, capsys):
    assert "toy" in writers() and "toy" not in runners()
    assert run(["train", spec, "--backend", "toy"]) == 2
    assert "'toy' is not one of 'numpy', 'interp'" in capsys.readouterr().err
    with pytest.raises(netdsl.UserError, match="the target `toy` makes no model"):
        netdsl.compile_text(SPEC).model("toy")


def test_what_passes_no_gate_is_not_run(toy):
    with pytest.raises(netdsl.UserError, match="what the target `toy` writes is no Python that netdsl runs"):
        netdsl.compile_text(SPEC).module("toy")


def test_it_is_gone_once_it_is_taken_out(spec, capsys):
    assert run(["compile", spec, "-t", "toy"]) == 2
    assert "'toy' is not one of 'numpy', 'cupy', 'torch', 'all'" in capsys.readouterr().err


def test_a_target_that_makes_models_trains(toy, spec, tmp_path, monkeypatch):
    """Here its models are layer objects with a bias of their own."""

    def biased(net, level, seed, dtype, workers):
        model = net.build(seed, dtype)
        model.params["linear1.bias"][...] = 5
        return model

    rules = {name: name for name in ("conv", "relu", "flatten", "linear")}
    runner = type(toy)(name="biased", describe="biased layers", rules=lambda: rules, model=biased)
    register(runner)
    try:
        net = netdsl.compile_text("input 2\nlinear 4 -> relu -> linear 3\ntrain { data spiral, epochs 1 }")
        assert np.all(net.model("biased").params["linear1.bias"] == 5)
        (tmp_path / "spiral.net").write_text(net.source.text)
        monkeypatch.chdir(tmp_path)
        assert run(["train", "spiral.net", "--backend", "biased", "-q", "--no-plots", "--out", "r"]) == 0
        assert run(["eval", "r"]) == 0
    finally:
        unregister(runner)


PYTHON = {
    "__init__.py": "",
    "module.py.j2": '''"""{{ title }}"""

import numpy as np

SIZES = {{ sizes }}


{{ network }}


class Model(Sizes):
    """{{ title }}"""

    sizes = SIZES

    def largest(self):
        return {{ largest }}
''',
    "network.py": '''class Sizes:
    """What the emitted class extends."""

    def count(self):
        """How many layers there are."""
        return len(self.sizes)
''',
    "target.py": """import inspect

from netdsl.ground.symbols import value_text
from netdsl.layers import layer_table
from netdsl.targets.contract import Target
from netdsl.targets.dialect import Dialect
from netdsl.targets.text.emission import emit
from toy_package.network import Sizes

DIALECT = Dialect(
    package="toy_package",
    template="module.py.j2",
    imports={"import numpy as np": "np"},
    writers=("toy_package.target",),
    scripts=(),
    networks=("toy_package.network",),
)


def network_text():
    return inspect.getsource(Sizes).rstrip()


def largest_text():
    return "np.max(self.sizes)"


def toy_text(net, level):
    sizes = tuple(node.type.sizes[-1] for node in net.graph.nodes)
    title = "Written by `netdsl compile --target sizes`"
    return emit(DIALECT, title=title, sizes=value_text(sizes), network=network_text(), largest=largest_text())


TARGET = Target(
    name="sizes", describe="the sizes", rules=layer_table, emit=toy_text, dialect=lambda: DIALECT, levels={0: ""}
)
""",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of its own, outside of netdsl, whose target writes Python."""
    (tmp_path / "toy_package").mkdir()
    for name, text in PYTHON.items():
        (tmp_path / "toy_package" / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("toy_package.target")
    register(module.TARGET)
    yield module
    unregister(module.TARGET)
    for name in [name for name in sys.modules if name.startswith("toy_package")]:
        del sys.modules[name]


def test_a_package_brings_its_template_and_its_networks_and_passes_the_gate(package):
    net = netdsl.compile_text(SPEC, "small")
    model = net.module("sizes").Model()
    assert (model.sizes, model.count(), model.largest()) == ((4, 4, 32, 4), 4, 32)


@pytest.mark.parametrize("text", ["np.load(self.sizes)", "open(self.sizes)", "self.count.__globals__"])
def test_the_gate_refuses_what_the_packages_writers_do_not_say(package, monkeypatch, text):
    monkeypatch.setattr(package, "largest_text", lambda: text)
    with pytest.raises(AssertionError, match="the emitted text has"):
        netdsl.compile_text(SPEC, "small").text("sizes")


def test_the_gate_refuses_a_network_with_one_word_changed(package, monkeypatch):
    changed = package.network_text().replace("len(", "print(")
    monkeypatch.setattr(package, "network_text", lambda: changed)
    with pytest.raises(AssertionError, match="the emitted text has"):
        netdsl.compile_text(SPEC, "small").text("sizes")
