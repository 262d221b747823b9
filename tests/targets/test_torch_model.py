"""The PyTorch module as a `Model`: it starts, draws, steps and keeps as the layer objects do."""

import numpy as np
import pytest
import torch

from netdsl.ground.diagnostics import UserError
from netdsl.pipeline import compile_text
from netdsl.targets.contract import Device, Workers
from netdsl.targets.torch.arrays import HostArrays
from netdsl.targets.torch.devices import exact_cudnn
from netdsl.training.runs.engine import Engine
from netdsl.verify.batches import random_batch

SPEC = """input 1x8x8
conv 4 k3 p1 nobias -> bn -> relu -> dropout2d 0.2 -> pool 2
flatten -> linear 12 -> relu -> dropout 0.3 -> droppath 0.2 -> linear 3
train {{ opt {} clip 0.5 }}
"""
OPTIMIZERS = ("sgd lr=0.1", "sgd momentum=0.9 nesterov wd=0.01", "adam", "adamw", "rmsprop momentum=0.5", "adagrad")


def of(optimizer):
    return SPEC.format(optimizer).replace("clip", "\n  clip")


def models(text=None, dtype="float64", device=None):
    net = compile_text(text or of("adam"), "small")
    workers = Workers(1, "threads", device or Device("cpu"))
    return net, net.model("torch", seed=3, dtype=dtype, workers=workers), net.model("interp", seed=3, dtype=dtype)


def step(model, net, number, n=6):
    x, y = random_batch(net, n, number)
    model.rng = np.random.default_rng([7, number])
    return model.learn(x, y, 0.01 * (number + 1))


def test_it_starts_with_the_weights_that_numpy_draws():
    _, ours, theirs = models(dtype="float32")
    for name, array in {**theirs.params, **theirs.buffers}.items():
        np.testing.assert_array_equal({**ours.params, **ours.buffers}[name], array)
    assert list(ours.params) == list(theirs.params) and list(ours.buffers) == list(theirs.buffers)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_steps_weights_and_what_the_optimizer_keeps_are_those_of_layer_objects(optimizer):
    net, ours, theirs = models(of(optimizer))
    for number in range(4):
        a, b = step(ours, net, number), step(theirs, net, number)
        assert a.is_finite and b.is_finite
        np.testing.assert_allclose([a.loss, *a.logits.ravel()], [b.loss, *b.logits.ravel()], rtol=1e-9, atol=1e-11)
    names = net.recipe.state_names
    for ours_of, theirs_of in ((ours.params, theirs.params), (ours.buffers, theirs.buffers)):
        for name, array in theirs_of.items():
            np.testing.assert_allclose(ours_of[name], array, rtol=1e-7, atol=1e-10, err_msg=name)
    for name, array in theirs.state(names).items():
        np.testing.assert_allclose(ours.state(names)[name], array, rtol=1e-7, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("begins", ["torch", "interp"])
def test_either_goes_on_with_what_the_other_kept(optimizer, begins):
    net, ours, theirs = models(of(optimizer))
    first, second = (ours, theirs) if begins == "torch" else (theirs, ours)
    for number in range(3):
        step(first, net, number)
    for target, source in ((second.params, first.params), (second.buffers, first.buffers)):
        for name, array in source.items():
            target[name][...] = array
    second.load_state(net.recipe.state_names, first.state(net.recipe.state_names), 3)
    for number in range(3, 5):
        a, b = step(first, net, number), step(second, net, number)
        np.testing.assert_allclose(a.loss, b.loss, rtol=1e-9)
    for name, array in first.params.items():
        np.testing.assert_allclose(second.params[name], array, rtol=1e-7, atol=1e-10, err_msg=name)


def test_a_step_with_a_number_that_is_not_finite_changes_no_param():
    net, ours, _ = models(dtype="float32")
    before = {name: array.copy() for name, array in ours.params.items()}
    x, y = random_batch(net, 4, 0)
    x[1, 0, 2, 2] = np.inf
    assert not ours.learn(x, y, 0.1).is_finite
    for name, array in ours.params.items():
        np.testing.assert_array_equal(array, before[name])


def test_what_is_written_into_params_is_what_it_computes_with():
    net, ours, theirs = models()
    x, _ = random_batch(net, 3, 0)
    for model in (ours, theirs):
        model.params["linear2.weight"][...] = 1
        model.params["linear2.bias"][...] = 0
    np.testing.assert_allclose(ours.forward(x), theirs.forward(x), rtol=1e-10)
    assert np.ptp(ours.forward(x)[0]) < 1e-12


def test_backward_gives_the_gradients_of_layer_objects_and_update_makes_their_step():
    net, ours, theirs = models()
    x, y = random_batch(net, 5, 1)
    made = []
    for model in (ours, theirs):
        model.rng = np.random.default_rng(1)
        loss, dlogits = model.loss(model.logits(x, training=True), y)
        dx, grads = model.backward(dlogits)
        model.update(grads, 0.01)
        made.append({"loss": loss, "dx": dx, **grads, **{f"new {name}": a for name, a in model.params.items()}})
    for name, array in made[1].items():
        np.testing.assert_allclose(made[0][name], array, rtol=1e-8, atol=1e-11, err_msg=name)


@pytest.mark.parametrize(
    "device", [Device("cpu", amp="bfloat16"), Device("cpu", is_channels_last=True)], ids=["bfloat16", "channels last"]
)
def test_other_ways_of_computing_learn_the_same_but_for_rounding(device):
    net, ours, theirs = models(dtype="float32", device=device)
    for number in range(3):
        a, b = step(ours, net, number), step(theirs, net, number)
        np.testing.assert_allclose(a.loss, b.loss, rtol=0.05 if device.amp else 1e-5)
        assert a.logits.dtype == np.float32
    assert {array.dtype for array in ours.params.values()} == {np.dtype("float32")}


def test_a_device_that_is_not_there_is_a_clear_line():
    with pytest.raises(UserError, match="has no device `cuda:77` here"):
        models(device=Device("cuda:77"))


def test_channels_of_vectors_cannot_stand_last():
    with pytest.raises(UserError, match="is for images and volumes, and the input is 4"):
        models("input 4\nlinear 2", device=Device("cpu", is_channels_last=True))


@pytest.mark.parametrize("amp", ["bfloat16", "float16"])
def test_what_it_gives_in_16_bits_is_float32_and_close(amp):
    net, ours, theirs = models(dtype="float32", device=Device("cpu", amp))
    x, y = random_batch(net, 4, 0)
    made = ours.forward(x)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, theirs.forward(x), atol=0.1)  # bfloat16 has 8 bits
    loss, grads = ours.loss_and_gradients(x, y)
    ours.update(grads, 0.01)
    assert np.isfinite(loss) and "in " + amp in ours.overflows_sooner


def test_the_process_has_its_own_number_of_threads_again_once_a_model_is_closed():
    before = torch.get_num_threads()
    net = compile_text(of("adam"), "small")
    model = net.model("torch", workers=Workers(before + 1, "threads", Device("cpu")))
    assert torch.get_num_threads() == before + 1
    model.close()
    model.close()
    assert torch.get_num_threads() == before
    with pytest.raises(UserError):
        net.model("torch", workers=Workers(before + 1, "threads", Device("cuda:77")))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("is_exact", [True, False])
def test_cudnn_is_told_to_give_the_same_bits_each_time_and_float32_unless_16_bits_will_do(is_exact):
    flags = torch.backends.cudnn
    before = flags.deterministic, flags.allow_tf32, flags.benchmark
    with exact_cudnn(is_exact):
        assert (flags.deterministic, flags.allow_tf32, flags.benchmark) == (True, not is_exact, False)
    assert (flags.deterministic, flags.allow_tf32, flags.benchmark) == before


def test_what_computes_is_named_with_its_version():
    assert Engine("torch", device=Device("cpu")).check() == f"{torch.__version__.split('+')[0]} on cpu"
    assert Engine().check() == ""


def test_arrays_of_another_memory_are_taken_when_asked_for_and_written_back(monkeypatch):
    """As on a GPU: what is asked for is a copy."""
    net = compile_text(of("adam"), "small")
    real = HostArrays.__init__

    def apart(self, *given):
        real(self, *given)
        self._arrays, self.is_shared = {name: array.copy() for name, array in self._arrays.items()}, False

    with monkeypatch.context() as patch:
        patch.setattr(HostArrays, "__init__", apart)
        ours = net.model("torch", seed=3, workers=Workers(1, "threads", Device("cpu")))
    theirs = net.model("torch", seed=3, workers=Workers(1, "threads", Device("cpu")))
    for number in range(4):
        assert step(ours, net, number).loss == step(theirs, net, number).loss
        for held in (ours.params, theirs.params):
            held["linear1.bias"][...] += number == 1
    for name, array in {**theirs.params, **theirs.buffers}.items():
        np.testing.assert_array_equal({**ours.params, **ours.buffers}[name], array)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_optimizer_makes_one_pass_over_a_param_where_pytorch_can(optimizer):
    _, ours, _ = models(of(optimizer))
    assert bool(ours.optimizer.defaults.get("fused")) == (optimizer.split()[0] in ("sgd", "adam", "adamw"))


def test_a_network_without_params_is_refused_in_words():
    with pytest.raises(UserError, match="has no params, and PyTorch learns nothing else"):
        models("input 3\nrelu -> softmax")


def test_a_gradient_whose_square_overflows_is_finite_and_one_that_does_itself_is_not():
    net, ours, _ = models("input 2\nlinear 2\ntrain { loss mse, opt sgd }", dtype="float32")
    x, y = np.full((1, 2), 1e15, np.float32), np.zeros((1, 2), np.float32)
    ours.params["linear1.weight"][...] = 1e3
    assert ours.learn(x, y, 1e-30).is_finite  # gradients of 1e33
    assert not ours.learn(np.full((1, 2), 1e19, np.float32), y, 1e-30).is_finite


@pytest.mark.parametrize("optimizer", ["sgd momentum=0.9", "adam", "rmsprop"])
def test_what_is_loaded_lies_in_memory_as_params_do(optimizer):
    """PyTorch's fused optimizers go through memory as it is, whatever its order."""
    text = f"input 3x6x6\nconv 4 k3 -> relu -> flatten -> linear 3\ntrain {{ opt {optimizer} }}\n"
    net = compile_text(text, "small")
    ways = Device("cpu", is_channels_last=True), Device("cpu")
    first, second, third = (
        net.model("torch", seed=3, dtype="float64", workers=Workers(1, "threads", way)) for way in (*ways, ways[0])
    )
    names = net.recipe.state_names
    for number in range(5):
        a, b = step(first, net, number, 4), step(second, net, number, 4)
        np.testing.assert_allclose(a.loss, b.loss, rtol=1e-9)
        if number == 1:  # a third goes on with what the first has
            third.load_state(names, {name: np.array(a, order="C") for name, a in first.state(names).items()}, 2)
            for name, array in first.params.items():
                third.params[name][...] = array
        if number > 1:
            np.testing.assert_allclose(step(third, net, number, 4).loss, a.loss, rtol=1e-12)
    x, y = random_batch(net, 4, 9)
    for model in (first, second):
        _, grads = model.loss_and_gradients(x, y)
        model.update({name: np.array(grad, order="C") for name, grad in grads.items()}, 0.01)
    for name, array in second.params.items():
        np.testing.assert_allclose(first.params[name], array, rtol=1e-7, atol=1e-9, err_msg=name)
