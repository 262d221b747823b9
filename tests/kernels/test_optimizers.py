"""Optimizers and clipping against torch.optim, over a hundred steps."""

import numpy as np
import pytest

from netdsl.graph.recipe import OPTIMIZERS, Recipe, optimizer_step
from netdsl.kernels.optimizers import clipped, norm_of
from netdsl.language.train_block import with_entries

TEXTS = [
    *("sgd", "sgd wd=0.1", "sgd momentum=0.9", "sgd momentum=0.9 wd=0.1", "sgd momentum=0.9 nesterov wd=0.1"),
    *("adam", "adam wd=0.1", "adam betas=(0.5, 0.9) eps=1e-3", "adamw", "adamw wd=0.3 betas=(0, 0.5) eps=1e-4"),
    *("rmsprop", "rmsprop alpha=0.5 eps=1e-3 wd=0.1", "rmsprop momentum=0.9", "rmsprop momentum=0.9 wd=0.1"),
    *("adagrad", "adagrad lr=0.1 wd=0.1", "adagrad eps=1e-3"),
    *("adamw decay=matrices", "adam wd=0.1 decay=matrices", "sgd momentum=0.9 wd=0.1 decay=matrices"),
    *("sgd wd=0.1 decay=matrices", "rmsprop momentum=0.9 wd=0.1 decay=matrices", "adagrad wd=0.1 decay=matrices"),
]
SHAPES = {"weight": (4, 3, 2, 2), "bias": (4,)}


def gradients(step):
    """Some large, some small, one always zero."""
    rng = np.random.default_rng(step)
    return {name: 10.0 ** rng.integers(-4, 2) * rng.standard_normal(shape) for name, shape in SHAPES.items()}


@pytest.mark.parametrize("clip", [None, "0.5"])
@pytest.mark.parametrize("text", TEXTS)
def test_a_hundred_steps_are_pytorchs(text, clip):
    torch = pytest.importorskip("torch")
    recipe = with_entries(Recipe(), {"opt": text} | ({"clip": clip} if clip else {}))
    rng = np.random.default_rng(99)
    params = {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}
    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in params.items()}
    groups = [{"params": [tensors["weight"]]}, {"params": [tensors["bias"]]}]
    if recipe.decay == "matrices":
        groups[1]["weight_decay"] = 0.0
    optimizer = getattr(torch.optim, OPTIMIZERS[recipe.optimizer].torch)(groups, **recipe.options)
    step, state = optimizer_step(recipe), {}
    for number in range(100):
        grads = gradients(number)
        step(params, grads, state, recipe.options["lr"])
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(grads[name])
        if clip:
            torch.nn.utils.clip_grad_norm_(tensors.values(), recipe.clip)
        optimizer.step()
    for name, tensor in tensors.items():
        np.testing.assert_allclose(params[name], tensor.detach().numpy(), rtol=1e-12, atol=1e-13)
        for kept, array in zip(recipe.state_names, state.get(name, ()), strict=False):
            np.testing.assert_allclose(array, optimizer.state[tensor][kept].numpy(), rtol=1e-11, atol=1e-13)


def test_small_gradients_are_not_clipped_and_large_ones_keep_their_direction():
    grads = {"a": np.array([3.0, 0.0]), "b": np.array([[4.0]])}
    assert clipped(grads, 6.0) is grads
    shrunk = clipped(grads, 1.0)
    np.testing.assert_allclose(norm_of(shrunk.values()), 1.0, rtol=1e-6)  # of which 1e-6 / 5 is PyTorch's own
    np.testing.assert_allclose(shrunk["a"][0] / shrunk["b"][0, 0], 0.75, rtol=1e-15)
    assert clipped({"a": np.ones(2, np.float32)}, 0.1)["a"].dtype == np.float32


def test_gradients_whose_squares_overflow_are_clipped():
    found = clipped({"a": np.full(4, 1e30, np.float32)}, 1.0)["a"]
    np.testing.assert_allclose(found, 0.5, rtol=1e-6)  # float32


def test_what_is_no_number_stays_none():
    assert np.isnan(clipped({"a": np.array([np.nan, 1.0])}, 1.0)["a"][0])


@pytest.mark.parametrize("text", ["adam", "adamw", "rmsprop", "rmsprop momentum=0.9", "adagrad", "sgd momentum=0.9"])
def test_gradients_whose_squares_overflow_move_params_as_in_pytorch(text):
    """The running mean of the squares is infinite from then on, and the param stays; infinity less infinity is none."""
    torch = pytest.importorskip("torch")
    recipe = with_entries(Recipe(), {"opt": text})
    params = {"weight": np.ones(3, np.float32)}
    tensor = torch.ones(3, requires_grad=True)
    optimizer = getattr(torch.optim, OPTIMIZERS[recipe.optimizer].torch)([tensor], **recipe.options)
    step, state = optimizer_step(recipe), {}
    for size in (1e30, 1e30, 1.0, 1e-3, 1e25):
        grad = np.array([size, -size, 0.5], np.float32)
        with np.errstate(over="ignore"):
            step(params, {"weight": grad}, state, recipe.options["lr"])
        tensor.grad = torch.tensor(grad)
        optimizer.step()
        np.testing.assert_allclose(params["weight"], tensor.detach().numpy(), rtol=1e-5)
    assert np.isfinite(params["weight"]).all()
