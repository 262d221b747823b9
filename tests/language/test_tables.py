"""netdsl/syntax/tables.json holds Lark's tables of the grammar, so that no command has to make them."""

import hashlib
import json
from pathlib import Path

import lark
from lark.grammar import Rule
from lark.lexer import TerminalDef

from netdsl.ground.source import Source
from netdsl.language.syntax import parser

SHA256 = hashlib.sha256((Path(__file__).resolve().parents[2] / "grammars/net.lark").read_bytes()).hexdigest()


def test_the_tables_belong_to_the_grammar(request):
    if request.config.getoption("--update-golden") and parser.tables()["grammar"] != SHA256:
        data, memo = parser.build_lark().memo_serialize([TerminalDef, Rule])
        made = {"grammar": SHA256, "lark": lark.__version__, "data": data, "memo": memo}
        parser.TABLES.write_text(json.dumps(made, separators=(",", ":")) + "\n", encoding="utf-8")
    assert parser.tables()["grammar"] == SHA256, "the grammar has changed: run pytest --update-golden"


def test_without_them_every_spec_gives_the_same_tree(spec, monkeypatch):
    source = Source(spec.name, spec.read_text(encoding="utf-8"))
    with_tables = parser.parse(source)
    monkeypatch.setattr(parser, "tables", lambda: {"grammar": "another", "lark": "another"})
    monkeypatch.setattr(parser, "_made", type(parser._made)())
    assert parser.parse(source) == with_tables
