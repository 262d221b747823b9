"""The proof gives no false alarm and finds every wrong gradient, in random networks that have params of one number.

`pytest tests/test_proof.py --proofs 300 -s` tries as many, drawn anew, and prints what it counted.
"""

import itertools
import warnings
from collections import Counter

import numpy as np
import pytest
from drawing import drawn
from hypothesis import given, strategies
from random_nets import specs

from netdsl.ground.diagnostics import UserError
from netdsl.layers import layer_of, layer_table
from netdsl.pipeline import check_text, compile_text
from netdsl.verify.agreement import verify
from netdsl.verify.batches import labels_in_dtype, random_batch
from netdsl.verify.gradients import gradient_check, network_to_check

NORMAL, VERIFIED = 8, 3  # networks to plant faults in, and to verify, which takes some seconds each
ENDS = ("conv 1 -> prelu", "scale 0.5 -> linear 1", "linear 1 -> prelu -> scale", "flatten -> linear 1", "prelu", "bn")
FELT = 1e-2  # a fault that moves no gradient by more, of its own norm or a thousandth of the largest, is none to find
STEEP = 1e6  # gradients of norms of nothing but rounding, behind each other: no difference of the loss follows those
FLAT = 1e-7  # the largest gradient of a loss near 1: over the shortest step, 1e-8, that moves no digit of the loss


def with_one(text, ends):
    """The spec with what gives it a param of one number, or None."""
    body, train = text.rsplit("train {", 1)
    for end in ends:
        longer = f"{body}{end}\ntrain {{{train}"
        net, _ = check_text(longer)
        if net and any(np.prod(spec.shape) == 1 for _, spec in net.graph.param_specs()):
            return longer
    return None


NETS = strategies.builds(with_one, specs(), strategies.permutations(ENDS)).filter(bool)


def quietly():
    warnings.simplefilter("ignore")
    return np.errstate(all="ignore")


def test_right_networks_pass(request):
    pytest.importorskip("torch")
    asked, seen = request.config.getoption("--proofs"), Counter()
    count = VERIFIED if asked == NORMAL else asked

    @drawn(count, VERIFIED)
    @given(NETS, strategies.sampled_from([1, 2, 3]), strategies.integers(0, 9))
    def every_net(text, batch, seed):
        with warnings.catch_warnings(), quietly():
            try:
                report = verify(compile_text(text), batch, seed)
            except UserError as error:
                assert "needs 2 values or more of each channel" in str(error)
                seen["refused"] += 1
                return
        seen["verified"] += 1
        seen["checks"] += len(report.checks)
        failed = [str(check) for check in report.checks if not check.ok]
        assert not failed, f"batch {batch}, seed {seed}: {failed}\n{text}"

    every_net()
    print(f"no false alarm: {dict(seen)}")


def halves(gradient):
    """The gradient of the first half of its channels or numbers, and zeros."""
    wrong = gradient.copy()
    wrong.reshape(-1)[wrong.size // 2 :] = 0
    return wrong


FAULTS = {
    "a factor": lambda gradient: 1.05 * gradient,
    "a sign": lambda gradient: -gradient,
    "a part left out": halves,
    "samples mixed up": lambda gradient: gradient[::-1].copy(),
    "a constant": lambda gradient: gradient + 0.1 * np.abs(gradient).max(initial=0.0),
}


def plant(layer, fault, what):
    """Let the layer's backward give a wrong gradient: by its input `what`, a number, or by the param of that name."""
    right = layer.backward

    def wrong(dy):
        dxs = list(right(dy))
        if isinstance(what, int):
            dxs[what] = fault(dxs[what])
        else:
            layer.grads = {**layer.grads, what: fault(layer.grads[what])}
        return tuple(dxs)

    layer.backward = wrong


def gradients(network, x, y, seed):
    network.rng = np.random.default_rng(seed)
    _, dlogits = network.loss(network.logits(x, training=True), y)
    dx, grads = network.backward(dlogits)
    return [*([] if dx is None else [dx]), *grads.values()]


def is_felt(right, wrong):
    floor = 1e-3 * max(float(np.linalg.norm(gradient)) for gradient in right)
    return any(
        np.linalg.norm(b - a) > FELT * max(float(np.linalg.norm(a)), floor) for a, b in zip(right, wrong, strict=True)
    )


def check_planted(text, seed, seen, most):
    """Up to `most` faults, one at a time: a layer gives a wrong gradient by an input or by a param."""
    net = compile_text(text)
    x, y = (labels_in_dtype(array, "float64") for array in random_batch(net, 4, seed))
    right = gradients(network_to_check(net, seed, "float64"), x, y, seed)
    if not all(np.linalg.norm(gradient) < STEEP for gradient in right):
        seen["too steep"] += 1
        return
    if max(np.linalg.norm(gradient) for gradient in right) < FLAT:
        seen["too flat"] += 1
        return
    found = gradient_check(net, x, y, seed)
    assert found.ok, f"a false alarm, seed {seed}: {found}\n{text}"
    seen["right"] += 1
    rng = np.random.default_rng(seed)
    places = [
        (index, what)
        for index, node in enumerate(net.graph.nodes)
        for what in (*range(len(node.inputs)), *(param.name for param in node.params))
        if what != 0 or not layer_of(node.op).takes_ids
    ]
    for place in rng.permutation(len(places))[:most]:
        index, what = places[place]
        kind, node = rng.choice(sorted(FAULTS)), net.graph.nodes[index]
        network = network_to_check(net, seed, "float64")
        plant(network.layers[index], FAULTS[kind], what)
        if not is_felt(right, gradients(network, x, y, seed)):
            seen["not felt"] += 1
            continue
        network = network_to_check(net, seed, "float64")  # with the buffers as they were at the start
        plant(network.layers[index], FAULTS[kind], what)
        found = gradient_check(net, x, y, seed, network)
        assert not found.ok, f"{kind} in {node.name} by {what}, seed {seed}: {found}\n{text}"
        seen[node.op] += 1


def test_wrong_gradients_in_random_networks_are_found(request):
    count, seen = request.config.getoption("--proofs"), Counter()

    @drawn(count, NORMAL)
    @given(NETS, strategies.integers(0, 9))
    def every_net(text, seed):
        with warnings.catch_warnings(), quietly():
            check_planted(text, seed, seen, 4)

    every_net()
    right, hidden, steep, flat = (seen.pop(name, 0) for name in ("right", "not felt", "too steep", "too flat"))
    print(
        f"{right} right networks passed; of {sum(seen.values())} faults in {len(seen)} kinds of layers none was missed"
    )
    print(f"{hidden} faults moved no gradient, {steep + flat} networks were too steep or too flat for any difference")
    assert sum(seen.values()) > min(count, NORMAL)


def small_networks(name, layer):
    """Networks of that layer behind one with params, in the ways it may be written."""
    many = layer.num_inputs is None
    written = (
        [f"{name} {{ id | scale 0.5 }}"] if many else [name, f"{name} 2", f"{name} 3 p1", f"{name} 1 3", f"{name} 3x4"]
    )
    for shape, line in itertools.product(("4x6x6", "12", "5x8"), written):
        text = f"input {shape}\nscale 0.9\n{line}\ntrain {{ loss mse }}\n"
        net, _ = check_text(text)
        if net:
            yield text
    if layer.takes_ids:
        yield f"input 5 of 7\n{name} 3 -> linear 4\ntrain {{ loss ce }}"
    if layer.ties:
        yield f"input 5 of 7\nit: {layer.ties} 3 -> scale 0.9 -> {name} @it\ntrain {{ loss ce }}"


@pytest.mark.parametrize("name", layer_table())
def test_a_wrong_gradient_of_each_layer_is_found(name):
    """Layers to come are tested by being there."""
    seen = Counter()
    for seed, text in enumerate(small_networks(name, layer_table()[name])):
        with warnings.catch_warnings(), quietly():
            check_planted(text, seed, seen, 6)
    assert seen[name], "no network has this layer"
