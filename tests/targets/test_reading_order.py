"""A fast module is read from its top: the network, what it computes with in the order of use, then what runs it."""

import ast
import re
from pathlib import Path

import pytest

from netdsl.pipeline import compile_file, compile_text
from netdsl.stages.row_conv import RowConv
from netdsl.targets.text.reading_order import reading_order

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "generated").glob("*_O2.py"))
PAGE, LINES = 100, 1303
each = pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)


def definitions(path):
    nodes = ast.parse(path.read_text(encoding="ascii")).body
    return {node.name: node for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}


@each
def test_the_network_comes_first_and_extends_nothing(path):
    network = next(iter(definitions(path).values()))
    assert path.stem.replace("_", "").startswith(network.name.lower())
    assert not network.bases
    assert network.lineno < PAGE / 2


@each
def test_stages_stand_in_the_order_of_their_use(path):
    lines, defined = path.read_text(encoding="ascii").splitlines(), definitions(path)
    network, *_ = defined.values()
    used = dict.fromkeys(re.findall(r"\n +s\.\w+ = (\w+)", "\n".join(lines[network.lineno - 1 : network.end_lineno])))
    extended = {ast.unparse(base) for node in defined.values() for base in getattr(node, "bases", ())}
    places = [defined[name].lineno for name in used if name not in extended]
    assert len(places) >= 5
    assert places == sorted(places)


def test_the_network_of_lenet_stands_on_the_first_page_of_a_module_that_is_no_longer_than_it_was():
    path = ROOT / "generated/lenet_numpy_O2.py"
    text, (network, *_) = path.read_text(encoding="ascii"), definitions(path).values()
    assert network.end_lineno <= PAGE
    direct = compile_file(ROOT / "specs/lenet.net").numpy_source(1)
    assert direct.count("\n") < text.count("\n") <= LINES


def test_what_is_used_follows_and_what_a_definition_is_made_with_comes_before():
    constants, texts = reading_order([RowConv])
    names = [re.search(r"(?:def|class) (\w+)", text)[1] for text in texts]
    assert not constants
    assert names[:4] == ["Stage", "ConvStage", "Epilogue", "RowConv"]
    assert {"bands", "relu"} <= set(names[4:])


def test_a_constant_stands_once_at_the_top():
    for path in MODULES:
        lines = path.read_text(encoding="ascii").splitlines()
        constants = [line for line in lines if line.partition(" = ")[0].replace(", ", "").isupper()]
        assert len(constants) == len(set(constants)) >= 3
        assert lines.index(constants[-1]) < PAGE / 2


def test_the_titles_of_sections_stand_where_their_stages_do():
    """`take` goes before what is made token by token, from behind the section to the middle of it; the dropout that
    would begin the head is none at inference."""
    text = compile_text(
        "input 3x8x8\nconv 8 k2 s2 -> tokens -> cls\nbody: { res { ln -> mha 2 } -> res { ln -> linear 8 -> gelu } }\n"
        "ln -> take 0\nhead: { dropout -> linear 4 }\n"
    ).numpy_source(2)
    methods = {node.name: node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)}
    for name in ("train_forward", "infer_forward"):
        titles = re.findall(r"^ *# (.*)$", ast.get_source_segment(text, methods[name]), re.M)
        assert titles == ["body", "the network itself", "head"], name
