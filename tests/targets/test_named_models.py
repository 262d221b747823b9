"""Models of several inputs and outputs, as users and training use them: by order and name, in workers, in files."""

import subprocess
import sys

import numpy as np
import pytest
from graphs import GraphBuilder, siamese, two_heads, two_inputs

from netdsl.graph.recipe import Recipe
from netdsl.targets.contract import Workers
from netdsl.verify.agreement import random_batch

KINDS = {
    "layers": ("interp", 0),
    "textbook": ("numpy", 0),
    "fast": ("numpy", 2),
    "direct": ("numpy", 1),
    "torch": ("torch", 0),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def model_of(request):
    models = []

    def made(net, dtype="float64"):
        models.append(net.model(*request.param, seed=0, dtype=dtype, workers=Workers(2, "threads")))
        return models[-1]

    yield made
    for model in models:
        model.close()


def test_outputs_in_training_are_those_of_the_layer_objects(model_of):
    net = two_heads(ends="dropout 0.5 -> softmax")
    x, _ = random_batch(net, 6, 0)
    expected, model = net.build(0, "float64"), model_of(net)
    for network in (expected, model):
        network.rng = np.random.default_rng(3)
    wanted, made = expected.forward(x, training=True), model.forward(x, training=True)
    assert list(made) == ["digit", "box"]
    for name, array in made.items():
        np.testing.assert_allclose(array, wanted[name], rtol=1e-12, atol=1e-14)  # other orders of summation
    for name, array in model.buffers.items():
        np.testing.assert_allclose(array, expected.buffers[name], rtol=1e-12)


def test_inputs_are_given_in_order_by_name_or_alone(model_of):
    net = two_inputs()
    (image, table), y = random_batch(net, 6, 0)
    model = model_of(net)
    loss, grads = model.loss_and_gradients((image, table), y)
    named, again = model.loss_and_gradients({"table": table, "image": image}, y)
    assert named == loss and all(np.array_equal(grads[name], again[name]) for name in grads)
    with pytest.raises(ValueError, match=r"the network takes 2 inputs \(image, table\), not 1"):
        model.train_step(image, y)
    with pytest.raises(ValueError, match="the inputs are image, table, not image"):
        model.train_step({"image": image}, y)
    with pytest.raises(ValueError, match=r"the input table takes \(N, 5\), not \(6, 4\)"):
        model.forward(image, table[:, :4])
    with pytest.raises(ValueError, match="6, 5 samples"):
        model.forward(image, table[:5])
    bytes_of = np.random.default_rng(0).integers(0, 256, image.shape, np.uint8)
    np.testing.assert_allclose(model.forward(bytes_of, table), model.forward(bytes_of / 255, table), rtol=1e-6)


def test_a_model_is_fitted_asked_and_scored(model_of):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 90)
    left = np.eye(3)[y] + 0.1 * rng.standard_normal((90, 3))
    right = rng.standard_normal((90, 3))
    b = GraphBuilder()
    first, second = b.input("left", "3"), b.input("right", "3")
    both = b.merge(
        "cat", b.put("body: { linear 8 -> tanh }", first), b.put("body: { linear 8 -> tanh }", second, "body")
    )
    net = b.net(
        "kind", Recipe(options={"lr": 0.05}), size=b.put("linear 1", both), kind=b.put("linear 3 -> softmax", both)
    )
    model = model_of(net, "float32")
    history = model.fit((left, right), y, epochs=20, batch=30)
    assert history[-1] < 0.3 * history[0]
    assert model.score((left, right), y) > 0.95
    made = model.outputs(left, right, batch=40)
    assert {name: array.shape for name, array in made.items()} == {"size": (90, 1), "kind": (90, 3)}
    np.testing.assert_allclose(made["kind"].sum(axis=1), 1, rtol=1e-5)
    assert (model.predict({"left": left, "right": right}) == made["kind"].argmax(axis=1)).all()


def test_weights_of_one_target_fit_all_others_and_hold_shared_params_once(model_of, tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    net = siamese()
    x, y = random_batch(net, 4, 0)
    model = model_of(net, "float32")
    model.train_step(x, y)
    model.save(tmp_path / "weights.safetensors")
    stored = load_file(tmp_path / "weights.safetensors")
    assert sorted(stored) == sorted(name for name, _ in (*net.graph.param_specs(), *net.graph.buffer_specs()))
    module = net.torch_model().eval()
    missing = module.load_state_dict(stored, strict=False)
    assert all(key.endswith("num_batches_tracked") for key in missing.missing_keys) and not missing.unexpected_keys
    with torch.no_grad():
        made = module(*map(torch.from_numpy, x)).numpy()
    np.testing.assert_allclose(made, model.forward(*x), rtol=1e-4, atol=1e-5)  # float32
    other = net.build(1)
    other.load(tmp_path / "weights.safetensors")
    np.testing.assert_allclose(other.forward(*x), model.forward(*x), rtol=1e-4, atol=1e-5)


def test_a_step_is_learned_and_its_state_taken_over(model_of):
    net = siamese()
    x, y = random_batch(net, 5, 0)
    names = net.recipe.state_names
    one, other = model_of(net), model_of(net)
    steps = [one.learn(x, y, 1e-2) for _ in range(3)]
    assert all(step.is_finite for step in steps) and steps[-1].loss < steps[0].loss
    for name in net.graph.param_specs():
        other.params[name[0]][...] = one.params[name[0]]
    for name in one.buffers:
        other.buffers[name][...] = one.buffers[name]
    state = {key: np.array(array) for key, array in one.state(names).items()}
    assert len(state) == len(names) * len(one.params)
    other.load_state(names, state, 3)
    assert other.learn(x, y, 1e-2).loss == one.learn(x, y, 1e-2).loss
    for name, array in one.params.items():
        assert np.array_equal(array, other.params[name]), name


def test_processes_share_the_work_of_several_inputs():
    from netdsl.stages.forks import can_fork

    if not can_fork():
        pytest.skip("this system has no fork")
    net = siamese()
    x, y = random_batch(net, 6, 0)
    expected = net.build(0, "float64")
    losses = [expected.train_step(x, y) for _ in range(3)]
    model = net.numpy_model(0, "float64", level=2, workers=2, kind="processes")
    try:
        np.testing.assert_allclose([model.train_step(x, y) for _ in range(3)], losses, rtol=1e-10)
        np.testing.assert_allclose(model.forward(*x), expected.forward(*x), rtol=1e-9, atol=1e-12)
        heads = two_heads("box").numpy_model(0, "float64", level=2, workers=2, kind="processes")
        x, _ = random_batch(two_heads(), 6, 0)
        made, wanted = heads.forward(x), two_heads("box").build(0, "float64").forward(x)
        heads.close()
        assert all(np.allclose(made[name], wanted[name], rtol=1e-10) for name in ("digit", "box"))
    finally:
        model.close()


def test_classes_have_weights_where_outputs_have_names(model_of):
    recipe = Recipe(loss="ce", loss_options={"weights": (1.0, 5.0, 1.0, 0.5, 2.0)})
    net = two_heads("digit", recipe)
    x, y = random_batch(net, 7, 0)
    loss, grads = model_of(net).loss_and_gradients(x, y)
    wanted, expected = net.build(0, "float64").loss_and_gradients(x, y)
    np.testing.assert_allclose(loss, wanted, rtol=1e-12)
    for name, grad in grads.items():
        np.testing.assert_allclose(grad, expected[name], rtol=1e-9, atol=1e-12)


def test_names_that_mean_something_in_python_can_be_inputs():
    b = GraphBuilder()
    names = ["np", "self", "training", "y", "x", "torch", "s", "p", "lambda", "w"]
    values = [b.input(name, "3") for name in names]
    net = b.net(out=b.put("linear 2", b.merge("cat", *values)))
    xs, y = random_batch(net, 4, 0)
    expected = net.build(0, "float64")
    wanted = expected.forward(*xs)["out"]
    assert np.array_equal(net.numpy_model(0, "float64").forward(*xs)["out"], wanted)
    with_workers = net.numpy_model(0, "float64", level=2, workers=1)
    np.testing.assert_allclose(with_workers.forward(*xs)["out"], wanted, rtol=1e-12)
    with_workers.close()
    pytest.importorskip("torch")
    from netdsl.verify.agreement import torch_checks

    assert all(check.ok for check in torch_checks(net, xs, y, 0, "float64"))


@pytest.mark.parametrize("level", [0, 2])
def test_an_emitted_module_runs_alone(level, tmp_path):
    net = siamese()
    (tmp_path / "siamese_numpy.py").write_text(net.numpy_source(level))
    x, _ = random_batch(net, 3, 0)
    model = net.numpy_model(0)
    model.save(tmp_path / "weights.npz")
    np.savez(tmp_path / "pairs.npz", left=x[0], right=x[1])
    trained = ran(tmp_path, "siamese_numpy.py")
    assert trained.stdout.count("epoch") == 5, trained.stderr
    asked = ran(tmp_path, "siamese_numpy.py", "--weights", "weights.npz", "pairs.npz")
    assert asked.stdout.splitlines()[0].startswith("pairs.npz 0: ["), asked.stderr
    np.savez(tmp_path / "half.npz", left=x[0])
    wrong = ran(tmp_path, "siamese_numpy.py", "--weights", "weights.npz", "half.npz")
    assert wrong.returncode == 2 and "right" in wrong.stderr and "Traceback" not in wrong.stderr


def ran(folder, *words):
    return subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=60)
