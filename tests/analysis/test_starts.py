"""Where residual branches end, and how params start under each scheme."""

from dataclasses import replace

import numpy as np
import pytest

from netdsl.analysis.residuals import residual_ends
from netdsl.analysis.starts import param_starts
from netdsl.graph.ir import ParamSpec
from netdsl.graph.recipe import SCHEMES
from netdsl.pipeline import compile_text
from netdsl.targets.live.interpreter import initial_array

GPT = """block layer(h, c) {
  res { ln -> mha h -> dropout 0.1 }
  res { ln -> linear 4*c -> gelu -> linear c -> dropout 0.1 }
}
input 6x64
pos -> 3 * layer(2, 64) -> ln -> flatten -> linear 50
"""
CASES = {
    "input 6x8\nres { mha 2 }": ({"mha1.out_proj.weight"}, 1),
    "input 6x8\nres { linear 16 -> relu -> linear 8 nobias -> dropout 0.1 }": ({"linear2.weight"}, 1),
    "input 8\nres { linear 8 -> tanh }": ({"linear1.weight"}, 1),
    "input 8\nadd { id | linear 8 }": ({"linear1.weight"}, 1),
    "input 8\nadd { linear 8 | linear 8 | id }": ({"linear1.weight", "linear2.weight"}, 2),
    "input 8\nres { linear 16 -> res { linear 16 } -> linear 8 }": ({"linear2.weight", "linear3.weight"}, 2),
    "input 8\nres { linear 8 -> res { linear 8 } }": ({"linear1.weight", "linear2.weight"}, 2),
    "input 8\nres { cat { linear 4 | linear 4 } }": ({"linear1.weight", "linear2.weight"}, 1),
    "input 8\nskip: linear 8\nrelu -> linear 8 -> add { id | @skip }": ({"linear1.weight"}, 1),
    "input 8\nadd { linear 8 | linear 8 }": (set(), 0),
    "input 6x8\nres { linear 8 -> ln }": (set(), 1),
    "input 6x8\nres { relu }": (set(), 1),
    "input 6x8\nres { mul { linear 8 | linear 8 } -> linear 8 }": ({"linear3.weight"}, 1),
    "input 8\nlinear 8 -> relu": (set(), 0),
}


@pytest.mark.parametrize("text", CASES, ids=lambda text: text.replace("\n", "; "))
def test_a_residual_branch_ends_in_the_weight_that_makes_what_is_added(text):
    ends, branches = residual_ends(compile_text(f"{text}\ntrain {{ loss mse }}\n").graph)
    assert (set(ends), branches) == CASES[text]


def test_weights_of_a_gpt_start_as_gpt_2_does():
    net = compile_text(f"{GPT}train {{ init gpt }}")
    model = net.build(seed=3)
    for name, array in model.params.items():
        if name.endswith("bias"):
            assert not array.any(), name
        elif "ln" in name:
            assert (array == 1).all(), name
        else:
            is_end = name.startswith("layer") and name.endswith(("out_proj.weight", "linear2.weight"))
            std = 0.02 / 6**0.5 if is_end else 0.02
            np.testing.assert_allclose(array.std(), std, rtol=0.15, err_msg=name)  # 384 numbers or more
            assert abs(array.mean()) < std / 4, name
    ends = [name for name, _, start in param_starts(net.graph, "gpt") if start.numbers]
    assert len(ends) == 6 and {start.numbers for _, _, start in param_starts(net.graph, "gpt")} == {(), (6,)}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_target_starts_with_the_same_numbers(scheme):
    net = compile_text(f"{GPT}train {{ init {scheme} }}")
    expected = net.build(seed=5).params
    models = [net.numpy_model(5), net.numpy_model(5, level=2, workers=1)]
    for model in models:
        for name, array in expected.items():
            assert np.array_equal(model.params[name], array), name
        getattr(model, "close", lambda: None)()


def test_pytorch_starts_with_the_same_numbers():
    pytest.importorskip("torch")
    from netdsl.targets.contract import Device, Workers
    from netdsl.targets.torch.model import torch_network

    net = compile_text(f"{GPT}train {{ init gpt }}")
    model = torch_network(net, 5, "float32", Workers(1, device=Device("cpu")))
    for name, array in net.build(seed=5).params.items():
        assert np.array_equal(model.params[name], array), name
    model.close()


@pytest.mark.parametrize("scheme, std", [("he", 1), ("xavier", 1), ("torch", 1), ("gpt", 0.02)])
def test_an_embedding_is_pytorchs_or_that_of_a_gpt(scheme, std):
    graph = compile_text("input 8\nlinear 8").graph
    table = ParamSpec("weight", (500, 40), "embedding")
    graph = replace(graph, nodes=(replace(graph.nodes[0], params=(table,)),))
    ((_, spec, start),) = param_starts(graph, scheme)
    array = initial_array(spec, start, np.random.default_rng(0), np.dtype("float32"))
    assert array.dtype == np.float32
    np.testing.assert_allclose([array.std(), array.mean() + 1], [std, 1], rtol=0.03)  # 20,000 numbers


def made_by_pytorch(text):
    """The params of the module as PyTorch makes it, without netdsl's numbers, and the net."""
    torch = pytest.importorskip("torch")
    net = compile_text(text, "tiny")
    torch.manual_seed(0)
    module = net.module("torch").Model()
    return {name: param.detach().numpy() for name, param in module.named_parameters()}, net


def test_a_pytorch_module_on_its_own_starts_as_gpt_2_does():
    params, net = made_by_pytorch(f"{GPT}train {{ init gpt }}")
    for name, array in net.build(seed=0).params.items():
        if array.std() < 1e-8:
            assert np.array_equal(params[name], array), name
        else:
            np.testing.assert_allclose(params[name].std(), array.std(), rtol=0.25, err_msg=name)  # 384 numbers or more


def test_what_has_a_start_of_its_own_keeps_it_in_pytorch():
    text = "input 12x64\nemb: linear 64 -> cls -> pos -> res { mha 2 } -> scale 0.5 -> lstm 32 -> take -1 -> linear 9\n"
    params, net = made_by_pytorch(f"{text}train {{ init gpt }}")
    for name, array in net.build(seed=0).params.items():
        np.testing.assert_allclose(params[name].std(), array.std(), rtol=0.4, atol=1e-8, err_msg=name)
        np.testing.assert_allclose(params[name].mean(), array.mean(), atol=0.05, err_msg=name)


def test_other_schemes_write_nothing_of_it():
    for scheme in set(SCHEMES) - {"gpt"}:
        assert "start_as_gpt" not in compile_text(f"{GPT}train {{ init {scheme} }}").torch_source()
    assert (
        '        start_as_gpt(self, ("linear1.weight",), 1, ())\n'
        in compile_text("input 8\nres { linear 8 }\ntrain { loss mse, init gpt }").torch_source()
    )
