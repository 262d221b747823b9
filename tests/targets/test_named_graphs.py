"""Networks of several inputs and outputs, and of shared params: all targets compute what the layer objects do."""

import pytest
from graphs import GRAPHS, two_inputs

from netdsl.verify.agreement import bitwise_checks, fast_checks, fast_steps, optimizer_steps, torch_checks, verify
from netdsl.verify.batches import in_dtype, random_batch
from netdsl.verify.gradients import gradient_check


@pytest.fixture(params=GRAPHS.values(), ids=GRAPHS)
def net(request):
    return request.param()


def test_the_textbook_module_gives_the_same_bytes(net):
    checks = list(bitwise_checks(net, *random_batch(net, 3, 0), 0))
    assert all(check.ok for check in checks), [check.name for check in checks if not check.ok]
    compared = {check.name.partition(": ")[2] for check in checks}
    assert {f"gradient of {name}" for name, _ in net.graph.param_specs()} <= compared


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_fast_module_computes_the_same(net, dtype):
    checks = fast_checks(net, *random_batch(net, 5, 0), 0, dtype)
    assert all(check.ok for check in checks), [check for check in checks if not check.ok]


def test_five_steps_lead_the_fast_module_to_the_same_params(net):
    checks = list(fast_steps(net, *random_batch(net, 5, 0), 0))
    assert all(check.ok for check in checks), [check for check in checks if not check.ok]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_pytorch_computes_the_same(net, dtype):
    pytest.importorskip("torch")
    x, y = random_batch(net, 3, 0)
    checks = torch_checks(net, x, y, 0, dtype)
    assert all(check.ok for check in checks), [check for check in checks if not check.ok]


def test_five_steps_lead_pytorch_to_the_same_params(net):
    pytest.importorskip("torch")
    checks = list(optimizer_steps(net, *random_batch(net, 3, 0), 0))
    assert all(check.ok for check in checks), [check for check in checks if not check.ok]


def test_pytorch_has_every_param_and_buffer_once(net):
    pytest.importorskip("torch")
    state = [key for key in net.torch_model().state_dict() if not key.endswith("num_batches_tracked")]
    assert sorted(state) == sorted(name for name, _ in (*net.graph.param_specs(), *net.graph.buffer_specs()))


def test_the_whole_proof_holds():
    report = verify(two_inputs())
    assert report.ok, report
    names = [check.name for check in report.checks]
    assert "module = layers, float32: gradient of the input table" in names
    assert "PyTorch, bytes = floats, float32: output" in names  # the image is normalised, the table is not
    assert "gradient check by central differences, float64" in names


def test_gradients_are_right(net):
    x, y = random_batch(net, 4, 1)
    found = gradient_check(net, in_dtype(x, "float64"), y.astype("float64") if net.recipe.loss == "mse" else y, 0)
    assert found.ok, found
