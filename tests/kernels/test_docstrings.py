"""The docstrings of forward and backward passes give the shapes of what they take and give."""

import ast

import pytest
from house_counts import PACKAGE, gives_shapes, passes

GENERATED = PACKAGE.parent / "generated"


def shapeless():
    return [(path, node) for path, node in passes(PACKAGE) if not gives_shapes(node)]


def test_every_pass_has_a_docstring():
    assert not [(path.name, node.name) for path, node in passes(PACKAGE) if not ast.get_docstring(node)]


def test_a_docstring_without_shapes_is_one_that_stands_in_a_committed_module():
    """Those texts are kept byte for byte; the types in their headers, which are not emitted, say the axes."""
    modules = [path.read_text(encoding="utf-8") for path in GENERATED.glob("*_numpy.py")]
    for path, node in shapeless():
        doc = ast.get_docstring(node, clean=False)
        heads = [text.split(f"def {node.name}(", 1)[1] for text in modules if f"def {node.name}(" in text]
        assert any(f'"""{doc}"""' in head.split("return")[0] for head in heads), f"{path.stem}: {node.name}"


@pytest.mark.parametrize(
    ("doc", "answer"),
    [
        ("x (N, C, H, W) -> y (N, F, Ho, Wo).", True),
        ("dy (..., C) -> dx, in its place.", True),
        ("x (H, W, n, C) -> y (n, C*H*W).", True),
        ("x of any shape -> y = max(x, 0).", True),
        ("y = max(x, 0).", False),
        ("dx = dy * (Phi(x) + x * exp(-x*x/2) / sqrt(2 pi)).", False),
        ("padding ((top, bottom), (left, right)).", False),
        ("dropout (Srivastava et al. 2014).", False),
    ],
)
def test_the_count_knows_a_shape(doc, answer):
    node = ast.parse(f"def f():\n    {doc!r}").body[0]
    assert gives_shapes(node) == answer
