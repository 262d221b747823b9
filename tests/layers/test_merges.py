"""The layers of several inputs, by their kernels alone, against PyTorch: every shape they take, and no other."""

import itertools

import numpy as np
import pytest

from netdsl.graph.types import from_sizes
from netdsl.ground.diagnostics import SpecProblem
from netdsl.layers import layer_of, layer_table

torch = pytest.importorskip("torch")

MERGES = [name for name, layer in layer_table().items() if layer.num_inputs is None]
SHAPES = [(3, 4, 5), (3, 1, 1), (1, 4, 5), (1, 1, 1), (3, 4, 1), (2, 4, 5), (3,), (1,), (2,), (4, 5), (4, 1), (1, 5)]


def types(shapes):
    return [from_sizes(shape) for shape in shapes]


def fits(name, shapes):
    try:
        return layer_of(name).shape({}, *types(shapes))
    except SpecProblem as problem:
        assert problem.code == "N204", problem
        return None


def all_inputs(name):
    """Every pair of SHAPES that fits, and every three."""
    for count in (2, 3):
        yield from (inputs for inputs in itertools.product(SHAPES, repeat=count) if fits(name, inputs))


def torch_merge(name, shapes, arrays):
    """The layer's torch_call on tensors -> its output and the tensors, which take gradients."""
    tensors = [torch.from_numpy(array.copy()).requires_grad_() for array in arrays]
    named = {f"x{i}": tensor for i, tensor in enumerate(tensors)}
    text = layer_of(name).torch_call({}, *types(shapes)).format(*named)
    return eval(text, {"torch": torch}, named), tensors


def test_these_are_the_merges():
    assert MERGES == ["add", "cat", "mul"]


@pytest.mark.parametrize("name", MERGES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_merge_equals_pytorch_on_every_shape_that_fits(name, dtype):
    rng = np.random.default_rng(0)
    for shapes in all_inputs(name):
        arrays = [rng.standard_normal((2, *shape)).astype(dtype) for shape in shapes]
        kept = [array.copy() for array in arrays]
        y, saved = layer_of(name).forward(*arrays)
        expected, tensors = torch_merge(name, shapes, arrays)
        dy = rng.standard_normal(y.shape).astype(dtype)
        expected.backward(torch.from_numpy(dy.copy()))
        kept_dy = dy.copy()
        dxs, grads = layer_of(name).backward(dy, saved)
        assert y.shape == (2, *fits(name, shapes).sizes), shapes
        assert isinstance(dxs, tuple) and grads == {}, shapes
        tolerance = {"rtol": 1e-10, "atol": 1e-14} if dtype == "float64" else {"rtol": 1.3e-6, "atol": 1e-5}
        for found, wanted in [(y, expected.detach()), *zip(dxs, [t.grad for t in tensors], strict=True)]:
            np.testing.assert_allclose(found, wanted.numpy(), **tolerance, err_msg=str(shapes))
            assert found.dtype == dtype and found.shape == tuple(wanted.shape), shapes
        for array, before in zip([*arrays, dy], [*kept, kept_dy], strict=True):
            assert np.array_equal(array, before), f"{shapes}: an argument was changed in place"


@pytest.mark.parametrize("name", MERGES)
def test_a_merge_takes_the_same_array_twice(name):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    y, saved = layer_of(name).forward(x, x, x)
    expected, tensors = torch_merge(name, [x.shape[1:]] * 3, [x, x, x])
    expected.backward(torch.ones_like(expected))
    dxs, _ = layer_of(name).backward(np.ones_like(y), saved)
    for dx, tensor in zip(dxs, tensors, strict=True):
        np.testing.assert_allclose(dx, tensor.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("name", MERGES)
def test_a_merge_takes_no_other_shapes(name):
    pairs = list(itertools.product(SHAPES, repeat=2))
    rules = {
        "add": lambda a, b: a == b,
        "cat": lambda a, b: len(a) == len(b) and a[1:] == b[1:] if len(a) != 2 else len(b) == 2 and a[0] == b[0],
        "mul": repeats,
    }
    assert {pair for pair in pairs if fits(name, pair)} == {pair for pair in pairs if rules[name](*pair)}


def repeats(a, b):
    """A vector beside maps counts as Cx1x1, and sizes must be equal or 1."""
    a, b = ((*x, 1, 1) if len(x) == 1 and 3 in (len(a), len(b)) else x for x in (a, b))
    return len(a) == len(b) and all(m == n or 1 in (m, n) for m, n in zip(a, b, strict=True))


@pytest.mark.parametrize(
    "name, shapes, message, help",
    [
        ("add", [(64, 56, 56), (256, 56, 56)], "64x56x56 and 256x56x56", "`conv 256 k1`"),
        ("add", [(64, 56, 56), (64, 56, 56), (64, 28, 28)], "64x56x56 and 64x28x28", "the same strides"),
        ("cat", [(64, 56, 56), (64, 28, 28)], "64x56x56 and 64x28x28", "the same strides"),
        ("cat", [(16, 4), (15, 4)], "16x4 and 15x4", None),
        ("mul", [(64, 56, 56), (16,)], "64x56x56 and 16", "a vector C"),
    ],
)
def test_the_message_has_both_shapes(name, shapes, message, help):
    with pytest.raises(SpecProblem) as caught:
        layer_of(name).shape({}, *types(shapes))
    assert message in str(caught.value)
    assert help is None or help in " ".join(caught.value.help)
