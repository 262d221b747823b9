"""What a table says it alone names is named nowhere else: whole strings in the code, read from the files."""

import ast
from pathlib import Path

import pytest

from netdsl.cli.train import command
from netdsl.graph.recipe import DATASETS, LOSSES, OPTIMIZERS, SCHEMES
from netdsl.graph.schedules import SCHEDULES
from netdsl.layers import find_layer
from netdsl.training.data.built_in import LOADERS

PACKAGE = Path(__file__).resolve().parents[2] / "netdsl"
HOMES = {"recipe.py", "schedules.py"}  # in netdsl/graph
OTHER_MEANINGS = {"step", "torch", "const"}  # also a counter, a framework, a word of other languages


def strings():
    """Those of all modules but the tables' own, and but bench/jax_*.py, which translates each by a rule of its own."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if (path.parent.name == "graph" and path.name in HOMES) or path.name.startswith("jax_"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value, f"{path.relative_to(PACKAGE)}:{node.lineno}"


@pytest.mark.parametrize("table", [LOSSES, OPTIMIZERS, SCHEDULES, SCHEMES], ids=["loss", "opt", "schedule", "init"])
def test_only_the_table_names_what_it_holds(table):
    names = set(table) - OTHER_MEANINGS
    choices = {choice for param in command.params for choice in getattr(param.type, "choices", ())}
    places = [f"{value} in {place}" for value, place in strings() if value in names]
    assert [p for p in places if not (p.partition(" ")[0] in choices and "cli/train.py" in p)] == []


def test_a_loss_contains_a_layer_that_there_is():
    assert all(loss.contains is None or find_layer(loss.contains) for loss in LOSSES.values())


def test_every_data_set_of_a_name_has_a_loader():
    assert tuple(LOADERS) == DATASETS
