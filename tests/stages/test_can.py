"""What a stage says that it can do is what its constructor and its passes take."""

import inspect
import pkgutil
from dataclasses import fields
from importlib import import_module

import pytest

from netdsl import stages
from netdsl.stages.attention import AttentionStage
from netdsl.stages.can import Can
from netdsl.stages.conv_stage import ConvStage
from netdsl.stages.convolution import Epilogue
from netdsl.stages.norm import NormStage
from netdsl.stages.product import ProductStage
from netdsl.stages.recurrent import Recurrent
from netdsl.stages.stage import Stage
from netdsl.stages.transformed_conv import TransformedConv

SHARED = {
    Stage,
    ConvStage,
    TransformedConv,
    NormStage,
    ProductStage,
    AttentionStage,
    Recurrent,
}  # what others begin with, no stages themselves
OPTIONS = {
    "end_in_relu": "relu",
    "take_norm": "norm",
    "add_bias": "conv",
    "leave_bias": "adds_bias",
    "leave_out_dx": "dx",
    "work_in_place": "copies",
    "train_in_place": "in_place",
    "is_named": "name",
    "end_in_clip": "clip",
    "take_sums": "sums",
    "walk_for_norm": "front",
    "add_both_ways": "plus",
    "lend_rows": "is_lent",
    "share_gradient": "common",
}
ENDS = {  # what is asked of a convolution by its epilogue
    "end_in_relu": "relu",
    "end_in_clip": "clip",
    "take_norm": "norm",
    "leave_bias": "bias",
    "give_sums": "sums",
}


def kinds():
    """Every kind of stage, in the order of their names."""
    for module in pkgutil.iter_modules(stages.__path__):
        for value in vars(import_module(f"{stages.__name__}.{module.name}")).values():
            own = isinstance(value, type) and value.__module__.endswith(f".{module.name}")
            if own and issubclass(value, Stage) and value not in SHARED:
                yield value


@pytest.fixture(params=list(kinds()), ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


def test_every_kind_of_stage_says_itself_what_it_can_do(kind):
    assert isinstance(vars(kind).get("can"), Can)


def test_an_ability_is_an_argument_of_the_constructor(kind):
    arguments = inspect.signature(kind).parameters
    options = {a: word for a, word in OPTIONS.items() if not (kind.can.is_conv and a in ENDS)}
    assert {a: getattr(kind.can, a) for a in options} == {a: word in arguments for a, word in options.items()}


def test_what_ends_a_convolution_is_its_epilogue(kind):
    assert ("epilogue" in inspect.signature(kind).parameters) == kind.can.is_conv
    assert set(ENDS.values()) <= {field.name for field in fields(Epilogue)}
    assert kind.can.end_in_relu == kind.can.end_in_clip or not kind.can.is_conv


def test_options_are_off_by_default(kind):
    defaults = {name: p.default for name, p in inspect.signature(kind).parameters.items()}
    off = {
        "relu": False,
        "clip": None,
        "sums": None,
        "front": None,
        "norm": None,
        "conv": None,
        "adds_bias": True,
        "dx": True,
        "copies": False,
        "in_place": False,
        "plus": False,
    }
    assert {name: defaults[name] for name in off if name in defaults} == {n: off[n] for n in off if n in defaults}


def test_another_map_is_an_argument_of_forward(kind):
    assert (kind.can.add_map or kind.can.add_both_ways) == ("plus" in inspect.signature(kind.forward).parameters)


def test_what_waits_has_generators_for_both_passes(kind):
    waits = inspect.isgeneratorfunction(kind.forward)
    assert kind.can.waits == waits
    assert not waits or inspect.isgeneratorfunction(kind.backward)


def test_convolutions_begin_alike(kind):
    assert kind.can.is_conv == issubclass(kind, ConvStage)


def test_what_can_wait_for_a_relu_can_end_in_one(kind):
    assert kind.can.end_in_relu or not kind.can.wait_for_relu


def test_no_emitted_module_says_what_stages_can_do():
    from netdsl.targets.text.kernel_source import kernel_texts

    texts = kernel_texts(kinds())
    assert not [text for text in texts if "can = " in text or text.startswith("class Can")]
