"""Whether a net computes the same everywhere: bitwise at -O0, but for rounding at -O2 and in PyTorch."""

from functools import cache

import numpy as np

from netdsl.verify.batches import each, in_dtype, random_batch
from netdsl.verify.checks import largest_gradient
from netdsl.verify.runs import numpy_run, rounded_network
from netdsl.verify.torch_runs import torch_run

HUGE = 1e4
TINY = 1e-12


def distance(found, expected):
    return float(np.abs(found - expected).max(initial=0.0))


def check(net, batch, seed, is_fast=True, said=""):
    """Bitwise between interpreter and module at -O0; that at -O2 (if `is_fast`) and PyTorch in float64 within 1e-8 of
    the largest value, or within ten times what rounding the input and the weights moves. said: what shows the net."""
    x, y = (in_dtype(arrays, "float64") for arrays in random_batch(net, batch, seed))
    network, module = net.build(seed, "float64"), net.numpy_model(seed, "float64")
    try:
        found = numpy_run(network, x, y, seed)
    except ValueError as error:
        assert "batch norm needs more than one value" in str(error)
        return None
    for name, array in numpy_run(module, x, y, seed).items():
        assert array.tobytes() == found[name].tobytes(), f"{name}\n{said}"
    if not is_tame(network):
        return net

    @cache
    def moved():
        near = tuple(array * (1 + 1e-15) for array in each(x))
        return numpy_run(rounded_network(net, seed), near if isinstance(x, tuple) else near[0], y, seed)

    others = {"PyTorch": torch_run(net, network, x, y, seed)}
    if is_fast:
        others["-O2"] = fast_run(net, x, y, seed)
    for title, expected in others.items():
        noise = 1e-9 * largest_gradient(found)  # a bias before bn has no gradient, out of large ones
        for name, array in expected.items():
            allowed = 1e-8 * max(1e-4, np.abs(array).max(initial=0.0)) + noise
            difference = distance(found[name], array)
            if difference > allowed:
                allowed += 10 * distance(moved()[name], found[name])
            assert difference <= allowed, f"{title}, {name}: {difference} over {allowed}\n{said}"
    return net


def is_tame(network):
    """Whether what the last batch made can be compared but for rounding."""
    largest = [np.abs(layer.output).max(initial=0.0) for layer in network.layers if layer.output is not None]
    if not all(value < HUGE for value in largest):
        return False  # factors of factors: PyTorch's attention loses a digit for each one of its logits
    # zero but for rounding, as the mean behind an inorm is: a relu of that has either gradient
    return not any(0 < value < TINY for value in largest)


def fast_run(net, x, y, seed):
    """What the module at -O2 computes, by two workers that take two samples at a time."""
    model = net.numpy_model(seed, "float64", level=2, workers=2, kind="threads")
    model.block = 2
    try:
        found = numpy_run(model, x, y, seed)
        model.forward(*each(x))  # with the buffers as training left them
        return {name: array for name, array in found.items() if array is not None}
    finally:
        model.close()
