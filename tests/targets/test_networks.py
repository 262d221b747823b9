"""Layer objects can be looked at; both NumPy networks save, load, fit and refuse wrong input in the same way."""

import numpy as np
import pytest
import safetensors.numpy
import torch

import netdsl
from netdsl.pipeline import compile_text, run_module
from netdsl.targets.live.interpreter import first_nonfinite

NET = netdsl.compile_text("input 2x6x6\nconv 4 k3 p1 -> bn -> relu -> pool 2\nflatten -> linear 3\n", "small")
X = np.random.default_rng(0).standard_normal((40, 2, 6, 6)).astype(np.float32)
Y = (X.mean(axis=(1, 2, 3)) > 0).astype(np.int64)


@pytest.fixture(params=["layers", "module"])
def model(request):
    return NET.build(seed=0) if request.param == "layers" else NET.numpy_model(seed=0)


def test_every_layer_keeps_its_inputs_output_params_and_grads():
    network = NET.build(seed=0)
    network.loss_and_gradients(X, Y)
    assert [layer.name for layer in network.layers] == ["conv1", "bn1", "relu1", "pool1", "flatten1", "linear1"]
    conv, bn = network.layers[:2]
    assert conv.output.shape == (40, 4, 6, 6)
    assert conv.inputs[0] is network.layers[0].inputs[0]
    assert set(conv.params) == set(conv.grads) == {"weight", "bias"}
    assert conv.params["weight"] is network.params["conv1.weight"]
    assert bn.buffers["running_mean"] is network.buffers["bn1.running_mean"]
    assert network.layer("pool1").output.shape == (40, 4, 3, 3)


def test_a_layer_runs_by_itself():
    conv = NET.build(seed=0).layers[0]
    y = conv.forward(X)
    (dx,) = conv.backward(np.ones_like(y))
    assert dx.shape == X.shape


@pytest.mark.parametrize("end", ["linear 1", "linear 1 -> sigmoid"])
def test_one_output_tells_two_classes_apart(end):
    net = compile_text(f"input 2\n{end}\ntrain {{ loss bce }}")
    x = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    y = (x[:, 0] > 0.1).astype(np.int64)
    for model in (net.build(seed=0), net.numpy_model(seed=0), net.numpy_model(seed=0, level=2, workers=1)):
        model.fit(x, y, epochs=30, batch=20, lr=0.1)
        assert model.score(x, y) > 0.95 and set(model.predict(x)) == {0, 1}
        with pytest.raises(ValueError, match="the network takes"):
            model.predict(x[:0])
        getattr(model, "close", lambda: None)()


def test_fit_learns_and_score_counts(model):
    history = model.fit(X, Y, epochs=20, batch=16, lr=0.02)
    assert history[-1] < history[0]
    assert model.score(X, Y) == np.mean(model.predict(X) == Y) > 0.8


def test_the_same_seed_gives_the_same_weights_after_training_in_both():
    models = [NET.build(seed=3), NET.numpy_model(seed=3)]
    for model in models:
        model.fit(X, Y, epochs=2)
    for name, array in models[0].params.items():
        assert array.tobytes() == models[1].params[name].tobytes(), name


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_weights_travel_through_a_file(model, tmp_path, suffix):
    path = tmp_path / f"weights.{suffix}"
    model.fit(X, Y, epochs=1)
    model.save(path)
    other = NET.numpy_model(seed=9)
    other.load(path)
    assert np.array_equal(other.forward(X), model.forward(X))
    if suffix == "safetensors":
        theirs = safetensors.numpy.load_file(path)
        assert sorted(theirs) == sorted([*model.params, *model.buffers])
        safetensors.numpy.save_file(theirs, tmp_path / "back.safetensors", metadata={"from": "the library"})
        other.load(tmp_path / "back.safetensors")


def test_load_refuses_other_names_and_shapes_and_changes_nothing(model, tmp_path):
    before = {name: array.copy() for name, array in model.params.items()}
    weights = {**model.params, **model.buffers}
    for change in ({"conv1.bias": np.zeros(5, np.float32)}, {"extra": np.zeros(1, np.float32)}):
        safetensors.numpy.save_file({**weights, **change}, tmp_path / "wrong.safetensors")
        with pytest.raises(ValueError, match="should be"):
            model.load(tmp_path / "wrong.safetensors")
    assert all(np.array_equal(before[name], array) for name, array in model.params.items())


def test_input_of_another_shape_is_refused_with_both_shapes(model):
    with pytest.raises(ValueError, match=r"takes \(N, 2, 6, 6\), not \(40, 6, 6, 2\)"):
        model.forward(X.transpose(0, 2, 3, 1))


def test_numbers_of_any_type_go_in(model):
    y = model.forward((X * 10).astype(np.int16))
    assert y.dtype == np.float32


def test_one_vector_through_batch_norm_in_training_is_refused_as_in_pytorch():
    network = netdsl.compile_text("input 4\nbn -> linear 2\n").build()
    with pytest.raises(ValueError, match="more than one value"):
        network.forward(np.zeros((1, 4)), training=True)


def test_a_network_that_ends_in_softmax_trains_on_its_logits():
    spec = "input 5\nlinear 4"
    plain, ended = (netdsl.compile_text(text, "a").build(seed=0) for text in (spec, f"{spec} -> softmax"))
    x, y = 1e4 * np.random.default_rng(0).standard_normal((6, 5)), np.arange(6) % 4
    (loss, grads), (loss2, grads2) = plain.loss_and_gradients(x, y), ended.loss_and_gradients(x, y)
    assert loss == loss2
    assert np.isfinite(loss)
    assert all(np.array_equal(grads[name], grads2[name]) for name in grads)
    np.testing.assert_allclose(ended.forward(x).sum(axis=1), 1, rtol=1e-6)  # float32


def test_a_network_of_many_branches_keeps_its_params_and_buffers_apart_from_its_variables():
    """Variables are x, y, z, a, c, ...: b and p are the module's buffers and params."""
    branches = " | ".join(["conv 2 k1 -> bn"] * 24)
    net = compile_text(f"input 2x3x3\ncat {{ {branches} }} -> bn -> gap -> linear 2")
    model, network = net.numpy_model(seed=0), net.build(seed=0)
    x = np.random.default_rng(0).standard_normal((2, 2, 3, 3)).astype(np.float32)
    y = network.forward(x, training=True)
    assert model.forward(x, training=True).tobytes() == y.tobytes()
    assert all(np.array_equal(g, model.backward(y)[1][name]) for name, g in network.backward(y)[1].items())


def test_layers_that_nothing_reads_keep_their_params():
    net = compile_text("input 3x4x4\nstem: conv 3 k1\nconv 4 k1\n@stem\ntrain { loss mse }")
    model, network = net.numpy_model(seed=0), net.build(seed=0)
    x = np.ones((2, 3, 4, 4), np.float32)
    assert model.train_step(x, 0 * x) == network.train_step(x, 0 * x)
    grads = model.loss_and_gradients(x, 0 * x)[1]
    assert set(grads) == set(model.params)
    assert not grads["conv1.weight"].any() and grads["stem.weight"].any()


def test_layers_after_the_output_run_as_in_pytorch():
    net = compile_text("input 3x4x4\nstem: conv 3 k1\ndropout 0.5 -> bn\n@stem\ntrain { loss mse }")
    model, network = net.numpy_model(seed=0), net.build(seed=0)
    module = run_module(net.torch_source(), "torch").Model()
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4)).astype(np.float32)
    module.train()(torch.from_numpy(x))
    assert model.forward(x, training=True).tobytes() == network.forward(x, training=True).tobytes()
    assert np.array_equal(network.buffers["bn1.running_mean"], model.buffers["bn1.running_mean"])
    assert network.buffers["bn1.running_mean"].all() and module.state_dict()["bn1.running_mean"].all()


def test_the_first_layer_that_is_not_finite_is_found_beside_layers_that_training_skips():
    net = compile_text("input 4\nlinear 3 -> relu -> linear 3\nend: softmax\nlinear 2\n@end")
    network = net.build(seed=0)
    assert first_nonfinite(network, np.ones((2, 4), np.float32)) is None
    network.params["linear2.bias"][0] = np.nan
    assert first_nonfinite(network, np.ones((2, 4), np.float32)) == "linear2"


def test_the_table_of_a_very_long_network_is_cut():
    layers = " -> ".join(["linear 4"] * 300)
    docstring = run_module(compile_text(f"input 4\n{layers}").numpy_source(), "long").__doc__
    assert "more)" in docstring
    assert len(docstring.splitlines()) < 100
