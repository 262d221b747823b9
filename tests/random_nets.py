"""Random well-typed networks over all layers, branches and blocks, with boundary sizes: a hypothesis strategy of specs.

Elements are drawn freely and kept where the spec so far still compiles, so that what is left is right by construction
and hypothesis can shrink it by leaving elements out.
"""

import re
from math import prod

from hypothesis import strategies as st

from netdsl.layers import layer_table
from netdsl.layers.contract import REQUIRED
from netdsl.pipeline import check_text

INPUTS = ["1x1x1", "1x2x1", "2x5x7", "3x8x8", "4x4x4", "4x6x3", "3x11x13", "6x7x2", "1", "7", "12", "1x1", "5x8", "9x4"]
INPUTS += ["3x8x8 mean (0.5, -1, 0.1) std (0.5, 2, 1)", "2x5x7 mean 0.1307 std 0.3081"]
INPUTS += ["7 mean -1 std 3", "5x8 mean 1 std 0.5"]
INPUTS += ["1x1 map", "1x2 map", "2x9 map", "3x16 map", "4x7 map", "6x13 map", "2x9 map mean (0.5, -1) std (0.5, 2)"]
INPUTS += ["1x1x1x1", "1x2x1x3", "2x3x5x4", "3x4x4x4", "4x2x5x3", "6x3x2x7", "2x3x5x4 mean 0.1 std 2"]
INPUTS += ["6 of 7\nwords: embed 4", "1 of 1\nwords: embed 2", "9 of 600\nwords: embed 6"]
HEADER = """\
block mix(c, k=1) { cat { conv c k=k same | id } -> bn -> relu }
block squeeze(r) { mul { id | gap -> linear max(1, in.c//r) -> relu -> linear in.c*r -> slice 0 in.c//r -> sigmoid } }
block gate() { mul { id | conv in.c k1 -> sigmoid } }
block deep(c, n) { conv c k1 -> relu -> if n > 0 { res { deep(c, n-1) } } }
block tower(n) { for i in 0..n { level{i}: { linear 4 -> gelu } } }
"""
BLOCKS_BY_NAME = {line.split("(")[0].removeprefix("block "): line for line in HEADER.splitlines()}
OF_STD = ("basic", "neck", "fire", "se", "dense", "convnext", "encoder", "mbconv")
NUMBERS = {
    "int": ["1", "2", "3", "4", "6", "12"],
    "float": ["0.0", "0.1", "0.3", "0.5", "1.0", "2"],
    "spatial": ["1", "2", "3", "4", "1x3", "3x2", "in.w", "in.h", "2x1", "0", "5", "2x1x3", "1x3x2"],
    "sides": ["1", "2", "1x2", "in.w", "0", "2x0", "0x1x0x0", "1x0x2x1", "0x1x0x2", "2x2x2x2", "1x0x2", "0x1x2x1x0x1"],
    "size": ["12", "3x4", "2x2x3", "1x4x4", "8x2", "4x4x4", "6x7x2", "70", "1x1x1", "2x2x3x1", "1x1x4x3"],
}
IN_BLOCK = ["a", "b", "a", "b", "in.c", "1", "2", "3", "8"]  # what expressions in a drawn block are made of
FORMS = [
    "{}+{}",
    "{}*{}",
    "{}*({})",
    "({})*{}",
    "({})//{}",
    "{}//({})*2",
    "{}-({})",
    "({})%{}+1",
    "max({},{})",
    "-{}+{}",
]
COMPOSED = (
    """\
mix(3); mix(2, k=3); squeeze(1); gate(); deep(4, 2); tower(2)
basic(4); basic(6, s=2); neck(2); fire(2, 3); se(2); dense(2); convnext(); encoder(1, m=2); mbconv(6, t=2)
id; gap; gap -> reshape in.c*1; if in.c > 2 { relu } else { tanh }; 2 * relu
reshape 4 -> linear 3; flatten -> linear 6; tokens; tokens -> cls -> pos -> res { ln -> mha 1 }; mha 1; gn 1
tokens -> take 0; tokens -> cls -> take 0; pool 1; pool 2 s1
conv in.c*2 k1 -> shuffle 2; conv in.c*2 k3 p1; conv in.c k3 p1 g=in.c; conv 4 k=in.h; convt 3 k2 s2; up 2
conv 4 k=in.w; conv 3 k3 p2x0 -> relu -> crop p=2x0; pad 1 -> pool 2; pool in.space; reshape 6x4 map
tokens -> transpose -> linear 3 -> transpose; tokens -> map; tokens -> res { mha 1 } -> relu
transpose -> linear 4 -> transpose; map; map 2x2
lstm 3; tokens -> gru 4 -> take -1; take -2; lstm 2 layers=2 dropout=0.5 -> take -1; gru 3 bi; rnn 3 relu -> take -1
tokens -> res { gru in.c layers=2 dropout=0.25 }; tokens -> lstm 3 bi nobias; tokens -> rnn 4 layers=3 bi dropout=0.1
linear 4 -> mha 2 causal; linear 8 -> mha 4 kv=2 causal rope; linear 6 -> mha 3 kv=1 dropout=0.3; pos sincos; gelu tanh
res { rms -> mha 1 causal rope }; res { ln -> mha 1 causal dropout=0.2 }; res { swiglu 6 -> linear in.c nobias }
unembed @words; linear 4 -> unembed @words; unembed @words -> linear 3
""".replace("\n", "; ")
    .strip("; ")
    .split("; ")
)


@st.composite
def _expressions(draw, depth=2):
    """`(a + 6)//8*8`, `b*(a//2)`: whole numbers from a block's parameters and from what arrives at it."""
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from(IN_BLOCK))
    left, right = draw(_expressions(depth - 1)), draw(_expressions(depth - 1))
    form = draw(st.sampled_from(FORMS))
    return form.format(left, right)


def _layer_lines(numbers):
    """`conv 4 k3 s2 nobias`: each layer with some of its attributes."""

    def written(layer):
        parts = []
        for attr in layer.attrs:
            if attr.kind == "word":
                parts.append(st.sampled_from(["", "", attr.name]))
                continue
            values = numbers[attr.kind]
            key = "" if attr.positional else f"{attr.flag or attr.name}="
            text = values.map(lambda value, key=key: key + value)
            parts.append(text if attr.default is REQUIRED else st.one_of(st.just(""), st.just(""), text))
        return st.tuples(*parts).map(lambda given: " ".join([layer.name, *(text for text in given if text)]))

    return _one(*(written(layer) for layer in layer_table().values() if layer.num_inputs == 1))


def _one(*choices):
    """One of them, each as likely; `one_of` would dissolve the ones inside it, whose many choices drown the rest."""
    return st.sampled_from(choices).flatmap(lambda chosen: chosen)


PLAIN = {kind: st.sampled_from(texts) for kind, texts in NUMBERS.items()}
WHOLE = _expressions().map(lambda text: f"({text})")
LINES = _layer_lines(PLAIN)
BLOCK_LINES = _layer_lines(
    PLAIN | {"int": WHOLE} | {kind: st.one_of(WHOLE, PLAIN[kind]) for kind in ("spatial", "sides")}
)


def _elements(depth=2, lines=LINES):
    simple = _one(lines, lines, st.sampled_from(COMPOSED))
    if depth == 0:
        return simple
    inner = st.lists(_elements(depth - 1, lines), min_size=1, max_size=3).map(" -> ".join)
    branches = _one(st.lists(inner, min_size=2, max_size=3), st.lists(_elements(0, lines), min_size=4, max_size=9)).map(
        " | ".join
    )
    return _one(
        simple,
        simple,
        simple,
        simple,
        simple,
        simple,
        inner.map(lambda text: f"res {{ {text} }}"),
        branches.map(lambda text: f"add {{ {text} }}"),
        branches.map(lambda text: f"cat {{ {text} }}"),
        inner.map(lambda text: f"cat {{ id | {text} }}"),
        inner.map(lambda text: f"mul {{ {text} | id }}"),
        inner.map(lambda text: f"2 * {{ {text} }}"),
        inner.map(lambda text: f"for i in 0..2 {{ {text} }}"),
        inner.map(lambda text: f"GROUP: {{ {text} }}"),
        inner.map(lambda text: f"SKIP: id -> {text} -> cat {{ id | @SKIP }}"),
        inner.map(lambda text: f"SKIP: id -> {text} -> mul {{ @SKIP | id }}"),
        inner.map(lambda text: f"SKIP: id -> {text} -> pad 2x3x1x2 -> crop @SKIP -> cat {{ @SKIP | id }}"),
        inner.map(lambda text: f"SKIP: id -> {text} -> pad 2 -> crop @SKIP -> cat {{ @SKIP | id }}"),
    )


ELEMENTS = _elements()
CALLS = st.builds("{}, {}".format, st.sampled_from([1, 2, 3, 4, 6, 12]), st.sampled_from(["1", "3", "4", "b=2"]))
BLOCKS = st.tuples(st.lists(_elements(1, BLOCK_LINES), min_size=1, max_size=4), st.lists(CALLS, min_size=2, max_size=3))


@st.composite
def specs(draw):
    """The text of a spec that compiles, with at least one layer."""
    head, body = f"input {draw(st.sampled_from(INPUTS))}\n", ""
    for number, element in enumerate(draw(st.lists(_one(_elements(), _elements(), BLOCKS), min_size=2, max_size=14))):
        if isinstance(element, str):
            body = _kept(head, body, f"{body}{labelled(element, number)}\n")
            continue
        inside, calls = element  # a block that grows where it is first called, and is called again as far as it fits
        first, *others = [f"own{number}({arguments})\n" for arguments in calls]
        block = ""
        for i, line in enumerate(inside):
            longer = f"{block}  {labelled(line, i)}\n"
            if _fits(f"block own{number}(a, b=2) {{\n{longer}}}\n{head}", body + first):
                block = longer
        if block:
            head, body = f"block own{number}(a, b=2) {{\n{block}}}\n{head}", body + first
            for call in others:
                body = _kept(head, body, body + call)
    return whole(head, body or "relu\n", draw(st.sampled_from(RECIPES)))


def _kept(head, body, longer):
    return longer if _fits(head, longer) else body


def _fits(head, body):
    net, _ = check_text(whole(head, body))
    if net is None or net.graph.num_params > 20_000 or net.graph.num_macs > 2_000_000:
        return False
    return sum(prod(node.shape) for node in net.graph.nodes) < 200_000


def labelled(element, number):
    return element.replace("GROUP", f"group{number}").replace("SKIP", f"skip{number}")


RECIPES = ["", ", init gpt, opt adamw wd=0.3 decay=matrices", ", opt sgd lr=1e-3 wd=0.2 decay=matrices, clip 0.5"]


def whole(head, body, recipe=""):
    """With those blocks that are called: to parse them all takes longer than the rest."""
    called = set(re.findall(r"\b(\w+)\(", head + body))
    use = "" if called.isdisjoint(OF_STD) else "use std\n"
    blocks = "".join(f"{line}\n" for name, line in BLOCKS_BY_NAME.items() if name in called)
    loss = "ce" if " of " in head.partition("\n")[0] and head.startswith("input") else "mse"
    return f"{use}{blocks}{head}{body}train {{ loss {loss}{recipe} }}\n"
