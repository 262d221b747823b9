"""The targets as a table: what each takes and declines, whose names they are, and who still knows one by its name."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from netdsl.ground.diagnostics import UserError
from netdsl.layers import layer_table, register, unregister
from netdsl.pipeline import compile_text
from netdsl.targets.contract import Declined
from netdsl.targets.registry import levels_of, plain_writers, reserved_names, runners, target_of, targets, writers

PACKAGE = Path(__file__).resolve().parents[2] / "netdsl"

NAMED = {
    "bench/contestants.py": "packages that a contestant needs",
    "bench/machine.py": "packages whose version is told",
    "bench/match.py": "a package that is missing",
    "bench/texts.py": "packages that a contestant needs",
    "bench/report.py": "the rows of the bench's table",
    "cli/__init__.py": "the library that waits",
    "cli/bench.py": "the engine whose devices its contestants have",
    "cli/ranks.py": "the package that joins processes",
    "cli/train.py": "a way to start weights",
    "graph/recipe.py": "a way to start weights",
    "ground/names.py": "libraries that a file of that name would hide",
    "pipeline.py": "`numpy_source` and its like, by which users name a target",
    "training/runs/config.py": "packages whose version is kept",
}
"""Where the name of a target stands outside of the targets, and what it means there. Nothing is decided by it."""


def test_the_targets_and_their_levels():
    assert [(one.name, sorted(one.levels)) for one in targets()] == [
        ("numpy", [0]),
        ("numpy", [1, 2]),
        ("cupy", [0]),
        ("interp", [0]),
        ("torch", [0]),
    ]
    assert (writers(), plain_writers()) == (["numpy", "cupy", "torch"], ["numpy", "torch"])
    assert (runners(), levels_of("numpy")) == (["numpy", "interp", "torch"], [0, 1, 2])


@pytest.mark.parametrize("target", targets(), ids=lambda one: f"{one.name}{max(one.levels)}")
def test_every_target_says_of_every_op_what_it_knows_or_why_not(target, capsys):
    rules = target.rules()
    declined = {op: rule.why for op, rule in rules.items() if isinstance(rule, Declined)}
    with capsys.disabled():
        what = "; ".join(f"{op}: {why}" for op, why in declined.items()) or "nothing"
        print(f"\n{target.name} {sorted(target.levels)}: {len(rules)} ops, declines {what}", end="")
    assert set(rules) == set(layer_table())
    assert not declined


def test_a_layer_that_pytorch_does_not_have_is_declined_by_its_target_alone():
    register(replace(layer_table()["relu"], name="lone", torch=None, torch_call=None, aliases=()))
    try:
        net = compile_text("input 4\nlinear 3 -> lone -> linear 2", "net")
        assert "relu_forward" in net.numpy_source()
        with pytest.raises(
            UserError, match=r"`lone1`, a `lone` in line 2 of net.net: PyTorch has no such layer"
        ) as why:
            net.torch_source()
        assert why.value.help == "the target `numpy` takes all of them"
        assert [(node.name, bool(why)) for node, why in target_of("torch").declines(net.graph)] == [("lone1", True)]
    finally:
        unregister("lone")


@pytest.mark.parametrize("name, level", [("nump", 0), ("numpy", 3), ("xyz", 0)])
def test_a_target_or_level_that_there_is_not_is_a_users_mistake(name, level):
    with pytest.raises(UserError) as error:
        target_of(name, level)
    assert error.value.help in ("did you mean `numpy`?", "it has 0, 1, 2", "use numpy or cupy or interp or torch")


def test_a_target_that_only_runs_writes_nothing():
    with pytest.raises(UserError, match="the target `interp` writes nothing"):
        compile_text("input 4\nlinear 2").text("interp")


def test_only_pytorch_reserves_names_and_says_why():
    assert set(reserved_names().values()) == {"every PyTorch module has an attribute of that name"}
    assert [one.name for one in targets() if one.reserved_names] == ["torch"]


def literals():
    """Where a string is the name of a target, outside of the targets: file -> lines."""
    names = {one.name for one in targets()}
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        if not place.startswith("targets/"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and node.value in names:
                    yield place, node.lineno


def test_nothing_outside_the_targets_knows_one_by_its_name():
    there = {}
    for place, line in literals():
        there.setdefault(place, []).append(line)
    for place, lines in there.items():
        print(f"{place}:{','.join(map(str, lines))}: {NAMED.get(place, 'UNKNOWN')}")
    assert set(there) == set(NAMED)


def test_no_name_of_a_target_is_compared_outside_the_targets():
    names = {one.name for one in targets()}
    for path in sorted(PACKAGE.rglob("*.py")):
        if "targets" not in path.relative_to(PACKAGE).parts:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Compare):
                    words = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
                    where = f"{path.relative_to(PACKAGE)}:{node.lineno}"
                    assert not words & names or where.startswith(("ground/names.py", "bench/match.py")), where
