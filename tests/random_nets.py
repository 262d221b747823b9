"""Random well-typed networks over all layers, branches and blocks, with boundary sizes: a hypothesis strategy of specs.

Elements are drawn freely and kept where the spec so far still compiles, so that what is left is right by construction
and hypothesis can shrink it by leaving elements out.
"""

from hypothesis import strategies as st

from netdsl.layers import layer_table
from netdsl.layers.contract import REQUIRED
from netdsl.pipeline import check_text

INPUTS = ["1x1x1", "1x2x1", "2x5x7", "3x8x8", "4x4x4", "4x6x3", "3x11x13", "6x7x2", "1", "7", "12", "1x1", "5x8", "9x4"]
HEADER = """\
use std
block mix(c, k=1) { cat { conv c k=k same | id } -> bn -> relu }
block squeeze(r) { mul { id | gap -> linear max(1, in.c//r) -> relu -> linear in.c*r -> slice 0 in.c//r -> sigmoid } }
block gate() { mul { id | conv in.c k1 -> sigmoid } }
block deep(c, n) { conv c k1 -> relu -> if n > 0 { res { deep(c, n-1) } } }
block tower(n) { for i in 0..n { level{i}: { linear 4 -> gelu } } }
"""
NUMBERS = {
    "int": ["1", "2", "3", "4", "6", "12"],
    "float": ["0.0", "0.1", "0.3", "0.5", "1.0", "2"],
    "pair": ["1", "2", "3", "4", "1x3", "3x2", "in.h", "2x1", "0", "5"],
    "size": ["12", "3x4", "2x2x3", "1x4x4", "8x2", "4x4x4", "6x7x2", "70", "1x1x1"],
}
COMPOSED = (
    """\
mix(3); mix(2, k=3); squeeze(1); gate(); deep(4, 2); tower(2)
basic(4); basic(6, s=2); neck(2); fire(2, 3); se(2); dense(2); convnext(); encoder(1, m=2); mbconv(6, t=2)
id; gap; gap -> reshape in.c*1; if in.c > 2 { relu } else { tanh }; 2 * relu
reshape 4 -> linear 3; flatten -> linear 6; tokens; tokens -> cls -> pos -> res { ln -> mha 1 }
tokens -> take 0; tokens -> cls -> take 0
conv in.c*2 k3 p1; conv in.c k3 p1 g=in.c; conv 4 k=in.h; convt 3 k2 s2; up 2
""".replace("\n", "; ")
    .strip("; ")
    .split("; ")
)


def _layer_lines():
    """`conv 4 k3 s2 nobias`: each layer with some of its attributes."""

    def written(layer):
        parts = []
        for attr in layer.attrs:
            if attr.kind == "word":
                parts.append(st.sampled_from(["", "", attr.name]))
                continue
            values = st.sampled_from(NUMBERS[attr.kind])
            key = "" if attr.positional else f"{attr.flag or attr.name}="
            text = values.map(lambda value, key=key: key + value)
            parts.append(text if attr.default is REQUIRED else st.one_of(st.just(""), st.just(""), text))
        return st.tuples(*parts).map(lambda given: " ".join([layer.name, *(text for text in given if text)]))

    return st.one_of([written(layer) for layer in layer_table().values() if layer.num_inputs == 1])


LINES = _layer_lines()


def _elements(depth=2):
    simple = st.one_of(LINES, LINES, st.sampled_from(COMPOSED))
    if depth == 0:
        return simple
    inner = st.lists(_elements(depth - 1), min_size=1, max_size=3).map(" -> ".join)
    branches = st.lists(inner, min_size=2, max_size=3).map(" | ".join)
    return st.one_of(
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
    )


@st.composite
def specs(draw):
    """The text of a spec that compiles, with at least one layer."""
    shape = draw(st.sampled_from(INPUTS))
    body = ""
    for number, element in enumerate(draw(st.lists(_elements(), min_size=1, max_size=7))):
        longer = f"{body}{element.replace('GROUP', f'group{number}').replace('SKIP', f'skip{number}')}\n"
        net, _ = check_text(_whole(shape, longer))
        if net is not None and net.graph.num_params < 20_000 and net.graph.num_macs < 2_000_000:
            body = longer
    return _whole(shape, body or "relu\n")


def _whole(shape, body):
    return f"{HEADER}input {shape}\n{body}train {{ loss mse }}\n"
