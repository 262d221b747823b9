"""The pages of `netdsl explain` about layers and words: one for each, complete, and their examples compile."""

import re

import pytest

from netdsl.cli import run
from netdsl.layers import layer_table, spellings
from netdsl.pipeline import check_text
from netdsl.reference.layer_pages import page, words


@pytest.mark.parametrize("name", [*spellings(), "res"])
def test_a_layer_has_a_page_with_all_that_its_file_says(name):
    text = page(name)
    layer = layer_table().get("add" if name == "res" else name) or layer_table()["linear"]
    assert text.startswith(f"# {name}: {layer.summary}")
    for attr in layer.attrs:
        (row,) = re.findall(rf"^{attr.name}  +(.*)$", text, re.MULTILINE)
        assert all(re.search(rf"\b{key}(=|\b)", row) for key in attr.keys), row
        assert row.rpartition("  ")[2], row
    for part in ("Shape:\n\n    ", "Formula:\n\n    ", "In PyTorch:\n\n    ", "Example, which gives "):
        assert part in text
    (example,) = re.findall(r"```net\n(.*?)```", text, re.DOTALL)
    net, diagnostics = check_text(example)
    assert net is not None and {d.code for d in diagnostics} <= {"N604"}
    assert not re.search(r"[ \t]$", text, re.MULTILINE)


def test_a_default_on_a_page_is_what_the_layer_does_without_it():
    for name, layer in layer_table().items():
        text = page(name)
        for attr in (a for a in layer.attrs if a.kind == "int" and isinstance(a.default, int)):
            assert re.search(rf"^{attr.name} .*  {attr.default}$", text, re.MULTILINE), (name, attr.name)
    assert "kernel_size  k3, k=3, kernel=3, kernel_size=3  1" in page("conv")
    assert re.search(r"^stride .* that of kernel_size$", page("pool"), re.MULTILINE)


@pytest.mark.parametrize("word", words())
def test_every_word_has_a_page_and_layers_and_topics_have_different_ones(word):
    text = page(word)
    assert text.startswith("#") and len(text) > 100
    assert text.startswith("## ") or f"# {word}: " in text


def test_explain_shows_layers_words_and_what_is_meant(capsys):
    for word, part in (("conv", "nn.Conv2d"), ("ReLU", "max(x, 0)"), ("in.c", "`in.h`"), ("schedule", "onecycle")):
        assert run(["explain", word]) == 0
        assert part in capsys.readouterr().out
    for word, guess in (("Conv2d", "conv"), ("rellu", "relu"), ("blok", "block"), ("N2011", "N201")):
        assert run(["explain", word]) == 2
        assert f"did you mean `{guess}`" in capsys.readouterr().err
    assert run(["explain", "xylophone"]) == 2
    assert "`netdsl explain layers`" in capsys.readouterr().err
