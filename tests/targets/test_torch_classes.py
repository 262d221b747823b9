"""How the emitted PyTorch module reads: classes, their names and docstrings, members."""

import pytest

from netdsl.pipeline import compile_text, run_module
from netdsl.targets.torch.running import torch_model
from netdsl.verify.agreement import verify

CONV = "block cb(c, k=1, p=0) { conv c k=k p=p nobias -> bn -> relu }\n"


def classes(text):
    return [line.removeprefix("class ").split("(")[0] for line in text.splitlines() if line.startswith("class ")]


def test_one_class_serves_where_a_parameter_happens_to_equal_a_number():
    """In one call of Inception's block 192 channels stay 192, in the others they change."""
    text = compile_text(
        f"{CONV}block ways(c) {{ cb(c) -> cb(192, k=3, p=1) -> cb(192) }}\n"
        "input 3x8x8\nways(128) -> ways(192) -> ways(9)"
    ).torch_source()
    assert classes(text) == ["Cb", "Ways", "Net"]


def test_classes_of_one_block_say_which_way_its_ifs_went():
    text = compile_text(
        "block step(c, s=1, deep=false) {\n"
        "  if s != 1 or in.c != c { conv c k1 s=s } else { res { conv c k1 } }\n"
        "  if not deep { relu }\n"
        "}\n"
        "input 8x8x8\n"
        "step(8, deep=true) -> step(16) -> step(16) -> step(16) -> step(16, s=2, deep=true) -> gap -> linear 2"
    ).torch_source()
    docs = {
        name: text.split(f"class {name}(")[1].split('"""')[1].partition(", where ")[2] for name in classes(text)[:-1]
    }
    assert docs == {
        "Step2": "deep and s == 1 and in.c == c",
        "Step3": "not deep and (s != 1 or in.c != c)",
        "Step": "not deep and s == 1 and in.c == c",  # the most used one
        "Step4": "deep and (s != 1 or in.c != c)",
    }


def test_members_without_weights_are_called_after_their_layer_where_others_are_numbers():
    pytest.importorskip("torch")
    net = compile_text(
        "input 3x8x8\nse: { pool3: conv 3 k1 -> relu -> mul { id | adaptive 1x1 -> conv 3 k1 -> softplus } -> pool 2 }"
    )
    text = net.torch_source()
    members = [line.split(" = ")[0].strip() for line in text.split("class Net")[0].splitlines() if " = nn." in line]
    assert members == ["self.pool3", "self.adaptive3", "self.softplus5", "self.pool6"]
    assert verify(net).ok
    state = run_module(text, "se").Model().state_dict()
    assert list(state) == list(net.build().params)


def test_a_label_keeps_its_name_where_a_layer_would_take_it():
    pytest.importorskip("torch")
    net = compile_text("input 3x8x8\ng: { pool1: conv 3 k1 -> pool 2 -> res { conv 3 k1 } }")
    assert 'self.add_module("1", nn.MaxPool2d(2))' in net.torch_source()
    assert verify(net).ok


def test_forward_reads_the_parameters_of_its_block_so_that_one_class_serves():
    pytest.importorskip("torch")
    net = compile_text(
        "block part(a, b=2, size=3x2x2) {\n"
        "  cat { slice 0 a | slice a a*b -> conv a } -> flatten -> linear 12 -> reshape size\n"
        "}\n"
        "input 12x2x2\n"
        "part(3) -> conv 12 -> part(2, b=6) -> conv 12 -> part(4, size=12x1x1)\n"
        "train { loss mse }"
    )
    text = net.torch_source()
    assert classes(text) == ["Part", "Net"]
    for part in (
        "self.a = a\n        self.b = b\n",
        ":self.a]",
        "self.a : self.a * self.b]",
        "-1, self.size[0], self",
    ):
        assert part in text
    assert verify(net).ok


def test_a_parameter_that_is_called_like_a_member_stays_a_number_in_forward():
    pytest.importorskip("torch")
    net = compile_text("block part(conv1) { slice 0 conv1 -> conv 2 }\ninput 4x2x2\npart(3) -> conv 4 -> part(2)")
    assert "x[:, :3]" in net.torch_source()
    assert verify(net).ok


def test_what_does_nothing_is_left_out_and_later_ones_keep_their_numbers():
    pytest.importorskip("torch")
    net = compile_text(
        """input 3x8x8
a: { conv 4 -> dropout 0 -> conv 4 -> pad 0 }
b: { conv 4 -> inner: conv 4 -> dropout2d 0.0 -> relu }
res { conv 4 -> droppath 0 } -> upsample 1 -> gap -> dropout 0 -> linear 2"""
    )
    text = net.torch_source()
    assert "Drop" not in text and "ZeroPad" not in text and "Upsample" not in text
    assert (
        "nn.Sequential(\n            nn.Conv2d(3, 4, 1),\n            nn.Identity(),\n            nn.Conv2d(4, 4, 1),\n"
        in text
    )
    names = list(torch_model(net, net.build()).state_dict())
    assert names == [name for name, _ in net.graph.param_specs()]
    assert {"a.0.weight", "a.2.weight"} <= set(names)
    assert verify(net).ok


def test_a_probability_that_a_call_says_keeps_its_layer():
    pytest.importorskip("torch")
    net = compile_text("input 4\nblock f(p) { linear 4 -> dropout p }\nf(0) -> f(0.5) -> linear 2")
    assert net.torch_source().count("class FBlock(nn.Module)") == 1
    assert "nn.Dropout(p)" in net.torch_source()
    assert verify(net).ok


def test_a_sequence_with_names_says_them_plainly():
    text = compile_text(
        """input 3x8x8
block f(c) { conv c k3 p1 -> relu }
alone: { head: conv 4 }
mixed: { stem: conv 4 -> relu -> pool 2 -> last: { for i in 0..3 { layer{i}: f(4) } } }
rows: { first: conv 4 -> for i in 0..3 { layer{i}: f(4) } }
numbers: { conv 4 -> named: conv 4 }
gap"""
    ).torch_source()
    assert "self.alone = nn.Sequential(OrderedDict(head=nn.Conv2d(3, 4, 1)))\n" in text
    assert "            relu1=nn.ReLU(),\n            pool2=nn.MaxPool2d(2),\n" in text
    assert '            last=nn.Sequential(OrderedDict((f"layer{i}", FBlock(4, 4)) for i in range(3))),\n' in text
    assert '            ("first", nn.Conv2d(4, 4, 1)),\n            *((f"layer{i}", ' in text
    assert '("0", nn.Conv2d(4, 4, 1)),\n            ("named", ' in text


def test_the_innermost_call_of_a_block_that_calls_itself_is_called_so():
    text = compile_text(
        """input 1x16x16
block net(c, depth) {
  conv c k3 p1 -> relu
  if depth > 0 { cat { id | pool 2 -> net(2*c, depth-1) -> up c } -> conv c k1 }
}
net(4, 2) -> gap -> linear 2""",
        "unet",
    ).torch_source()
    assert "class NetInnermost(nn.Module):" in text and "class Net(nn.Module):" in text
    assert "(N, 2 * c, ...)" in text and "nn.Conv2d(2 * c, c, 1)" in text and "c + c" not in text
