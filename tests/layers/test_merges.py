"""The layers of several inputs, by their kernels alone, against PyTorch: every shape they take, and no other."""

import itertools

import numpy as np
import pytest

from netdsl.graph.types import from_sizes, map_of
from netdsl.ground.diagnostics import SpecProblem
from netdsl.layers import layer_of, layer_table

torch = pytest.importorskip("torch")

MERGES = [name for name, layer in layer_table().items() if layer.num_inputs is None]
SHAPES = [(3, 4, 5), (3, 1, 1), (1, 4, 5), (1, 1, 1), (3, 4, 1), (2, 4, 5), (3,), (1,), (2,), (4, 5), (4, 1), (1, 5)]
IMAGES_AND_REST = [from_sizes(shape) for shape in SHAPES]  # images, vectors, tokens
SIGNALS = [map_of(*sizes) for sizes in [(3, 4), (3, 1), (1, 4), (2, 4), (4, 5)]]
VOLUMES = [map_of(*sizes) for sizes in [(3, 2, 4, 5), (3, 1, 1, 1), (1, 2, 4, 5), (2, 2, 4, 5)]]
TYPES = [*IMAGES_AND_REST, *SIGNALS, *VOLUMES]


def fits(name, types):
    try:
        return layer_of(name).shape({}, *types)
    except SpecProblem as problem:
        assert problem.code == "N204", problem
        return None


def all_inputs(name):
    """Every pair of TYPES that fits, and every three."""
    for count in (2, 3):
        yield from (inputs for inputs in itertools.product(TYPES, repeat=count) if fits(name, inputs))


def merged(name, types, arrays):
    """y, and what the backward kernel takes."""
    layer = layer_of(name)
    attrs = layer.resolve({}, *types) if layer.resolve else {}
    return layer.forward(*arrays, **attrs)


def torch_merge(name, types, arrays):
    """The layer's torch_call on tensors -> its output and the tensors, which take gradients."""
    tensors = [torch.from_numpy(array.copy()).requires_grad_() for array in arrays]
    named = {f"x{i}": tensor for i, tensor in enumerate(tensors)}
    text = layer_of(name).torch_call({}, *types).format(*named)
    return eval(text, {"torch": torch}, named), tensors


def test_these_are_the_merges():
    assert MERGES == ["add", "cat", "mul"]


@pytest.mark.parametrize("name", MERGES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_merge_equals_pytorch_on_every_shape_that_fits(name, dtype):
    rng = np.random.default_rng(0)
    for types in all_inputs(name):
        shapes = [one.sizes for one in types]
        arrays = [rng.standard_normal((2, *shape)).astype(dtype) for shape in shapes]
        kept = [array.copy() for array in arrays]
        y, saved = merged(name, types, arrays)
        expected, tensors = torch_merge(name, types, arrays)
        dy = rng.standard_normal(y.shape).astype(dtype)
        expected.backward(torch.from_numpy(dy.copy()))
        kept_dy = dy.copy()
        dxs, grads = layer_of(name).backward(dy, saved)
        assert y.shape == (2, *fits(name, types).sizes), shapes
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
    expected, tensors = torch_merge(name, [from_sizes(x.shape[1:])] * 3, [x, x, x])
    expected.backward(torch.ones_like(expected))
    dxs, _ = layer_of(name).backward(np.ones_like(y), saved)
    for dx, tensor in zip(dxs, tensors, strict=True):
        np.testing.assert_allclose(dx, tensor.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("name", MERGES)
def test_a_merge_takes_no_other_shapes(name):
    pairs = list(itertools.product(TYPES, repeat=2))
    rules = {
        "add": lambda a, b: a == b,
        "cat": lambda a, b: a.layout == b.layout and a.space == b.space and (not a.is_tokens or a.length == b.length),
        "mul": repeats,
    }
    assert {pair for pair in pairs if fits(name, pair)} == {pair for pair in pairs if rules[name](*pair)}


def repeats(a, b):
    """A vector beside maps counts as Cx1x1, and sizes must be equal or 1."""
    if a.layout != b.layout and {a.layout, b.layout} != {"map", "vector"}:
        return False
    a, b = ((*x.sizes, *[1] * max(a.axes, b.axes)) if x.is_vector else x.sizes for x in (a, b))
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
        layer_of(name).shape({}, *map(from_sizes, shapes))
    assert message in str(caught.value)
    assert help is None or help in " ".join(caught.value.help)


def test_what_helps_is_said_in_the_axes_of_the_maps():
    signals, volumes = (map_of(4, 9), map_of(4, 8)), (map_of(4, 3, 9, 9), map_of(4, 3, 8, 8))
    said = {}
    for name, inputs in itertools.product(MERGES, (signals, volumes)):
        with pytest.raises(SpecProblem) as caught:
            layer_of(name).shape({}, *inputs)
        said[name, inputs[0].axes] = f"{caught.value} {' '.join(caught.value.help)}"
    assert "`p1` for a kernel of 3" in said["add", 1] and "`p1` for a kernel of 3" in said["cat", 3]
    assert "equal lengths" in said["cat", 1] and "equal depths, heights and widths" in said["cat", 3]
    assert "CxW also Cx1, 1xW and a vector C" in said["mul", 1]
    assert "CxDxHxW also Cx1x1x1, 1xDxHxW and a vector C" in said["mul", 3]
