"""Every example of the language reference compiles."""

import re
from pathlib import Path

import pytest

from netdsl.layers import layer_table
from netdsl.pipeline import compile_text

REFERENCE = (Path(__file__).resolve().parents[2] / "grammars/README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```net\n(.*?)```", REFERENCE, re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES)
def test_example_compiles(text):
    """Some warn on purpose: of a softmax that the loss contains, of a bias before bn, of linears in a row."""
    assert {d.code for d in compile_text(text).warnings} <= {"N604", "N605", "N606"}


def test_every_layer_is_in_the_table():
    named = set(re.findall(r"[a-z0-9]+", " ".join(re.findall(r"^\| (`.*?) \|", REFERENCE, re.MULTILINE))))
    assert set(layer_table()) <= named


def test_names_of_params_in_blocks_are_those_the_reference_tells():
    text = next(example for example in EXAMPLES if "block unet" in example)
    names = set(dict(compile_text(text).graph.param_specs()))
    assert {
        "stage.0.conv1.weight",
        "stage.0.downsample.0.weight",
        "unet1.dc1.conv1.weight",
        "unet1.unet1.dc1.conv1.weight",
    } <= names


def test_names_of_params_are_those_the_reference_tells():
    text = next(example for example in EXAMPLES if "stem:" in example)
    names = set(dict(compile_text(text).graph.param_specs()))
    for name in (
        "stem.weight",
        "conv1.weight",
        "features.0.weight",
        "features.2.weight",
        "features.3.weight",
        "head.weight",
    ):
        assert name in names
