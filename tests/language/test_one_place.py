"""What the language says in one place is said in one place: merges, what expectations know, and who lowers."""

import ast
import json
import re
from pathlib import Path

from netdsl.language.expectations import COUNTED
from netdsl.language.syntax.ast import MERGES
from netdsl.language.syntax.lalr import TABLES
from netdsl.layers import layer_table
from netdsl.pipeline import check_text

PACKAGE = Path(__file__).resolve().parents[2] / "netdsl"


def tuples_of(folder):
    """Every tuple of plain strings in the code of a folder, and where it stands."""
    for path in sorted((PACKAGE / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Tuple) and all(isinstance(item, ast.Constant) for item in node.elts):
                yield tuple(item.value for item in node.elts), path.relative_to(PACKAGE).as_posix()


def test_merges_are_those_of_the_grammar_and_all_but_res_are_layers():
    _, pattern = json.loads(TABLES.read_text(encoding="utf-8"))["terminals"]["MERGE"]
    assert [word for word in MERGES if re.match(pattern, f"{word} {{")] == list(MERGES)
    assert pattern.count("|") == len(MERGES) - 1
    many = {layer.name for layer in layer_table().values() if layer.num_inputs is None}
    assert set(MERGES) == many | {"res"}


def test_merges_and_counts_are_listed_once():
    places = [(words, place) for folder in ("language", "reference") for words, place in tuples_of(folder)]
    assert [place for words, place in places if words == MERGES] == ["language/syntax/ast.py"]
    assert [place for words, place in places if words == COUNTED] == ["language/expectations.py"]


def test_what_expectations_know_names_no_value():
    for name in COUNTED:
        _, diagnostics = check_text(f"input 4\nlet {name} = 3\nlinear {name}\nexpect {name} == 3\n")
        assert [d.code for d in diagnostics][:1] == ["N309"], name


def test_only_the_pipeline_lowers_and_reads_specs_for_others():
    lowering = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(r"import .*\blower$|from netdsl\.language\.lower import", path.read_text(encoding="utf-8"), re.M)
    }
    assert lowering - {p for p in lowering if p.startswith("language/lower/")} == {"pipeline.py"}
