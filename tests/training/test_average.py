"""The running mean of the weights is torch's AveragedModel with a decay that grows."""

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from netdsl.pipeline import compile_text
from netdsl.targets.contract import Device, Workers
from netdsl.targets.torch.arrays import HostArrays
from netdsl.training.runs.average import WeightAverage
from netdsl.training.runs.checkpoint import weights_of

NET = compile_text("input 3\nlinear 4 -> bn -> relu\nlinear 2\n", "tiny")
X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = np.arange(40) % 2
ENDS = ("torch", "interp")


def trained(model, steps):
    for i in range(steps):
        model.train_step(X[i : i + 10], Y[i : i + 10], 0.1)
        yield


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_the_mean_is_that_of_torch(decay):
    model = NET.build(seed=0, dtype=np.float64)
    average = WeightAverage(model, decay)
    twin = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
    name = "linear1.weight"
    twin.weight = torch.nn.Parameter(torch.from_numpy(model.params[name].copy()))

    def lerp(mean, now, n):  # torch's n counts from the copy of the first weights
        d = min(decay, int(n) / (9 + int(n)))
        return d * mean + (1 - d) * now

    reference = AveragedModel(twin, avg_fn=lerp, use_buffers=True)
    reference.update_parameters(twin)
    for _ in trained(model, 30):
        average.update()
        twin.weight.data = torch.from_numpy(model.params[name].copy())
        reference.update_parameters(twin)
    expected = reference.module.weight.detach().numpy()
    np.testing.assert_allclose(average.arrays[name], expected, rtol=1e-12)  # float64, sums in another order
    assert not np.array_equal(average.arrays["bn1.running_mean"], model.buffers["bn1.running_mean"])


@pytest.mark.parametrize("target, level", [("numpy", 0), ("numpy", 2), ("torch", 0)])
def test_the_model_has_the_mean_for_a_while_and_then_its_own_weights_again(target, level):
    model = NET.model(target, level, seed=0, workers=Workers(1, "threads", Device("cpu")))
    average = WeightAverage(model, 0.9)
    for _ in trained(model, 5):
        average.update()
    before, y = {name: array.copy() for name, array in weights_of(model).items()}, model.forward(X)
    with pytest.raises(KeyError), average.in_place_of_weights(model):
        assert all(np.array_equal(array, average.arrays[name]) for name, array in weights_of(model).items())
        assert not np.array_equal(model.forward(X), y)
        raise KeyError
    assert all(np.array_equal(array, before[name]) for name, array in weights_of(model).items())
    assert np.array_equal(model.forward(X), y)
    model.close()


@pytest.mark.parametrize("is_far", [False, True], ids=["here", "in another memory"])
def test_pytorch_keeps_the_mean_where_it_computes(monkeypatch, is_far):
    """In another memory, as on a GPU, nothing is copied here and there between steps."""
    real = HostArrays.__init__

    def apart(self, *given):
        real(self, *given)
        self._arrays, self.is_shared = {name: array.copy() for name, array in self._arrays.items()}, False

    if is_far:
        monkeypatch.setattr(HostArrays, "__init__", apart)
        monkeypatch.setattr(HostArrays, "_read", lambda self, tensor: tensor.numpy().copy())
    ours, theirs = (NET.model(t, seed=0, dtype="float64", workers=Workers(1, "threads", Device("cpu"))) for t in ENDS)
    averages = WeightAverage(ours, 0.9), WeightAverage(theirs, 0.9)
    for _ in zip(trained(ours, 12), trained(theirs, 12), strict=True):
        for average in averages:
            average.update()
        assert not ours._arrays._may_be_written or not is_far
    for name, mean in averages[1].arrays.items():
        # a bias before batch norm has no gradient but for rounding, which Adam makes something of
        np.testing.assert_allclose(averages[0].arrays[name], mean, rtol=1e-6, atol=1e-7, err_msg=name)
        averages[0].arrays[name][...] = 1
    averages[0].update()
    share, weight = 1 - min(0.9, 13 / 22), ours.params["linear1.bias"]
    np.testing.assert_allclose(averages[0].arrays["linear1.bias"], 1 + share * (weight - 1))
