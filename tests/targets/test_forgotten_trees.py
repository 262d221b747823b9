"""What is remembered of a text stays right when its syntax tree is forgotten and made again: emission in a process that
has seen thousands of other texts gives the same module."""

import pytest

from netdsl.pipeline import compile_text
from netdsl.targets.text import folded, kernel_source

NET = "input 2x9x9\nconv 4 k3 s2 -> bn -> relu -> res { conv 4 k3 p1 -> bn } -> flatten -> linear 3"
GPT = "input 6 of 9\nw: embed 8 -> pos -> res { ln -> mha 2 causal } -> ln -> unembed @w"


@pytest.mark.parametrize("text", [NET, GPT])
def test_a_forgotten_tree_changes_no_text(text, monkeypatch):
    expected = compile_text(text).numpy_source(2)
    original = kernel_source.parsed.__wrapped__
    for module in (kernel_source, folded):
        monkeypatch.setattr(module, "parsed", original)  # another tree each time that it is asked for
    for remembered in ("_chosen", "_written"):
        getattr(folded, remembered).cache_clear()
    assert compile_text(text).numpy_source(2) == expected
