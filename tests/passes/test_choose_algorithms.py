"""Which way to compute a layer is taken depends on how many samples a worker has of a batch."""

import pytest

from netdsl.passes.choose_algorithms import cheapest, worth_measuring
from netdsl.passes.signals import stage_calls
from netdsl.pipeline import compile_text
from netdsl.stages.bilinear import winograd
from netdsl.stages.bilinear_conv import BilinearConv


def ways(channels, size):
    graph = compile_text(f"input {channels}x{size}x{size}\nconv {channels} k3 p1 -> gap -> linear 2").graph
    return stage_calls(graph.nodes[0], graph.input_types(graph.nodes[0]))


@pytest.mark.parametrize("samples, tile", [(1, 2), (64, 4)])
def test_of_many_weights_and_few_samples_small_tiles_are_taken(samples, tile):
    """Transformed weights are paid once a step: 16 numbers of 9 weights for 2x2 outputs, 36 for 4x4."""
    chosen = cheapest(ways(512, 14), True, samples)
    assert chosen.kernel is BilinearConv
    assert chosen.arguments[1:] == (winograd, tile)


def test_what_is_measured_is_close_and_begins_with_the_cheapest():
    calls = ways(256, 14)
    close = worth_measuring(calls, True, 4)
    costs = [way.cost(4, True) for way in close]
    assert close[0] is cheapest(calls, True, 4) and costs == sorted(costs)
    assert 2 <= len(close) < len(calls) and costs[-1] < 1.5 * costs[0]
    assert {way.arguments[2] for way in close if way.kernel is BilinearConv} == {2, 3, 4}
