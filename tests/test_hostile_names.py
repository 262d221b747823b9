"""A name is data: whatever it is called, a network computes the same, or the spec is refused with a message."""

import ast

import numpy as np
import pytest
from drawing import in_part

from netdsl.pipeline import check_text
from netdsl.targets.torch.running import torch_model

SPEC = """
block BLOCK(PARAM, k=1) {
  let LET = 2*PARAM
  for LOOP in 1..3 { conv LET//LOOP k=k }
  res { bn -> INSIDE: conv in.c k1 } -> relu -> slice 0 PARAM
}
input 2x5x5
LABEL: conv 4 k3 -> relu
GROUP: { conv 4 -> CHILD: bn -> res { conv 4 } }
CALL: BLOCK(3)
for i in 0..2 { NUMBERED{i}: conv 3 }
cat { id | @LABEL } -> gap -> linear 3
train { data "DATA.npz" }
"""
PLACES = ["BLOCK", "PARAM", "LET", "LOOP", "INSIDE", "LABEL", "GROUP", "CHILD", "CALL", "NUMBERED"]
BENIGN = {place: place.lower() + "_name" for place in [*PLACES, "DATA"]}
NAMES = """
np nn torch F self x y z b p v1 dx dy saved grads rng training layer name shape init seed i math cls
range super len max min sum int float print list zip enumerate object Exception True False None lambda class
Model Net INPUT_SHAPE OrderedDict collections os sys exec eval open __import__ __class__ __init__ __dict__
forward backward logits loss fit predict params buffers check_input load save state_dict train type dtype
conv1 relu1 bn1 add1 cat1 conv_forward relu_backward adam_step in_channels in_features c k s input use block std
_ __ _0 A a1
""".strip()
STRINGS = [
    "é",
    "e\u0301",
    "x\u2028y",
    "'",
    '"',
    '"' * 3,
    "'" * 3,
    "\\",
    "\\n",
    "{}",
    "{0}",
    "{x}",
    "%s",
    "$x",
    ";",
    ")",
]
STRINGS += ['");import os;("', "\n".join(["'" * 3, "import os"]), "{{7*7}}", "{%x%}", "x\ny"]
WORDS = [*NAMES.split(), *STRINGS]


def spec_with(**names):
    text = SPEC
    for place, name in (BENIGN | names).items():
        text = text.replace(place, name)
    return text


def outputs(net):
    """Of the layer objects and the emitted NumPy module: the network's output, its loss, and every gradient."""
    x = np.random.default_rng(0).standard_normal((2, 2, 5, 5)).astype(np.float32)
    network, module = net.build(seed=0), net.numpy_model(seed=0)
    found = []
    for model in (network, module):
        loss, grads = model.loss_and_gradients(x, np.array([0, 2]))
        found += [model.forward(x), np.asarray(loss), *(grads[name] for name in model.params)]
    return found, x, network


def imports(text):
    tree = ast.walk(ast.parse(text))
    return {alias.name for node in tree if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}


@pytest.fixture(scope="module")
def benign():
    net, diagnostics = check_text(spec_with())
    assert net is not None, diagnostics
    return net, outputs(net)[0]


@in_part("every", 15, 1, "every name in every place")
def test_names_change_nothing(benign, every):
    """Each word is tried in each place; those that are accepted then take all places at once, in changing company."""
    torch = pytest.importorskip("torch")
    net, expected = benign
    accepted = {place: [] for place in PLACES}
    for place in PLACES:
        for word in WORDS:
            renamed, diagnostics = check_text(spec_with(**{place: word}))
            assert renamed is not None or any(d.level == "error" for d in diagnostics), (place, word)
            accepted[place] += [word] * (renamed is not None)
    assert all(len(words) > 20 for words in accepted.values())
    ran = {place: set() for place in PLACES}
    for shift in range(0, max(map(len, accepted.values())), every):
        names = {place: words[(shift + 7 * i) % len(words)] for i, (place, words) in enumerate(accepted.items())}
        renamed, diagnostics = check_text(spec_with(**names))
        if renamed is None:
            assert any(d.level == "error" for d in diagnostics), names
            continue
        for place, word in names.items():
            ran[place].add(word)
        found, x, network = outputs(renamed)
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True)), names
        with torch.no_grad():
            y = torch_model(renamed, network).eval()(torch.from_numpy(x))
        np.testing.assert_allclose(y, network.forward(x), rtol=1e-4, atol=1e-5, err_msg=str(names))
        assert imports(renamed.numpy_source()) == imports(net.numpy_source())
        assert imports(renamed.torch_source()) == imports(net.torch_source())
    assert all(len(words) > 0.6 / every * len(accepted[place]) for place, words in ran.items())


@pytest.mark.parametrize("word", [*STRINGS, "#", "class", "None", "Model", "torch", "np"])
def test_file_names_and_paths_of_data_change_nothing(word, benign):
    net, expected = benign
    for name, data in ((word, "data"), ("net", word)):
        renamed, diagnostics = check_text(spec_with(DATA=data), f"{name}.net")
        if renamed is None:
            assert any(d.level == "error" for d in diagnostics)
            continue
        assert all(np.array_equal(a, b) for a, b in zip(outputs(renamed)[0], expected, strict=True))
        assert imports(renamed.torch_source()) == imports(net.torch_source())


END = "\ngap -> linear 4"
COLLISIONS = {
    "a parameter is called as a block's class": "block inner(c) { conv c k3 p1 -> bn }\n"
    "block outer(Inner, OrderedDict=3) { inner(Inner) -> conv Inner -> g: { x: conv OrderedDict } }\n"
    "input 3x4x4\nouter(3) -> outer(4)" + END,
    "blocks are called as classes": "block net(c) { res { conv c } }\nblock network(c) { res { bn -> conv c } }\n"
    "block model(c) { res { conv c k3 p1 } }\nblock ordered_dict(c) { res { conv c -> tanh } }\n"
    "block value_error(c) { res { conv c -> relu } }\n"
    "input 3x4x4\nnet(3) -> network(3) -> model(3) -> ordered_dict(3) -> value_error(3)" + END,
    "classes have one name": "block a_b(c) { conv c -> bn }\nblock aB(c) { conv c -> relu }\n"
    "block AB(c) { bn -> conv c }\n"
    "input 3x4x4\nx1: a_b(3)\nx2: aB(3)\nx3: AB(3)" + END,
    "labels are called as what stands for them": "block o(c) { conv c k3 p1 -> bn }\ninput 3x4x4\nvalue_0_: o(3)\n"
    "Class_0_: { res { o(3) } }\nvalue_1_: res { value_2_: conv 3 }\ncat { id | @value_1_ | @value_0_ }" + END,
    "names are one when they are joined": "input 3x4x4\na: { b: { c: conv 3 } }\na_b: { c: conv 3 }\na_b_c: conv 3"
    + END,
    "labels are called as counted names": "block conv1(c) { conv c }\nblock conv(c) { conv 3 -> bn }\ninput 3x4x4\n"
    "conv1(3) -> conv(3)\nconv 3" + END,
    "groups without a label have branches": "input 3x4x4\nt: { conv 3 -> { add { conv 3 k1 | bn } } -> "
    "{ { res { conv 3 } } } }" + END,
    "the last group is called self": "input 3x4x4\nmyself: { self: { x: conv 3 -> gap -> linear 4 -> softmax } }",
    "values are called as Python's": "let np = 3\nlet torch = 3\n"
    "block b(lambda, range=1, len=2, zip=2) { conv lambda k=range -> len * conv 3 -> zip * { res { bn } } }\n"
    "input 3x4x4\nb(np) -> b(torch, range=3)" + END,
}


def compared(text, file):
    """Holds all emitted modules of a spec, trained for a step where they can be, against the layer objects."""
    torch = pytest.importorskip("torch")
    net, diagnostics = check_text(text, file)
    assert net is not None, diagnostics
    x, y = np.random.default_rng(0).standard_normal((4, 3, 4, 4)).astype(np.float32), np.arange(4)
    network, textbook, fast = net.build(seed=0), net.numpy_model(seed=0), net.numpy_model(seed=0, level=2, workers=1)
    expected = network.forward(x)
    assert np.array_equal(textbook.forward(x), expected)
    np.testing.assert_allclose(fast.forward(x), expected, rtol=1e-4, atol=1e-5)  # float32, by Winograd
    theirs = torch_model(net, network).eval()(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(theirs, expected, rtol=1e-4, atol=1e-5)  # float32
    loss = network.train_step(x, y)
    assert textbook.train_step(x, y) == loss
    np.testing.assert_allclose(fast.train_step(x, y), loss, rtol=1e-4)  # float32
    with pytest.raises(FileNotFoundError):
        textbook.load("no such file")
    fast.close()


@pytest.mark.parametrize("kind", COLLISIONS)
def test_names_that_meet_in_emitted_text_stay_apart(kind):
    compared(COLLISIONS[kind], "net.net")


@pytest.mark.parametrize("stem", ["model", "network", "stages", "conv", "fast_network", "file_not_found_error", "np"])
def test_a_file_may_be_called_as_anything_in_the_emitted_module(stem):
    compared("input 3x4x4\nconv 3 k3 p1 -> bn -> relu" + END, f"{stem}.net")
