"""Adam in few passes is the Adam of the textbook, up to the rounding of its factors."""

import numpy as np
import pytest

from netdsl.kernels import optimizers
from netdsl.stages import adam


@pytest.mark.parametrize("name", ["adam_step", "adamw_step"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1}, {"betas": (0.5, 0.9), "eps": 0.1}], ids=str)
def test_steps_are_those_of_the_textbook(name, dtype, options):
    rng = np.random.default_rng(0)
    start = {key: rng.standard_normal(size).astype(dtype) for key, size in (("a", 33), ("b", 1), ("c", 0), ("d", 40))}
    params = [{key: array.copy() for key, array in start.items()} for _ in range(2)]
    states = [{}, {}]
    for step in range(4):
        grads = {
            key: rng.standard_normal(array.shape).astype(dtype) * 10.0 ** (9 * step) for key, array in start.items()
        }
        grads["a"][:5] = 0
        for module, mine, state in zip((optimizers, adam), params, states, strict=True):
            with np.errstate(over="ignore"):
                getattr(module, name)(mine, grads, state, 0.01 / (step + 1), **options)
    assert states[0]["step"] == states[1]["step"] == 4
    tolerance = {"rtol": 32 * np.finfo(dtype).eps, "atol": 4 * np.finfo(dtype).eps}  # 4 steps, 5 roundings each
    for key in start:
        np.testing.assert_allclose(params[1][key], params[0][key], **tolerance)
        assert params[0][key].tobytes() != start[key].tobytes() or not start[key].size
        for mine, theirs in zip(states[1][key], states[0][key], strict=True):
            np.testing.assert_allclose(mine, theirs, **tolerance)


@pytest.mark.parametrize("step", [adam.adam_step, adam.adamw_step])
def test_a_worker_without_params_does_nothing(step):
    state = {}
    step({}, {}, state)
    assert state == {"step": 1}
