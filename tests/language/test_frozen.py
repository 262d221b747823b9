"""The classes of the syntax tree behave as frozen dataclasses do."""

import pytest

from netdsl.ground.source import Source, Span
from netdsl.language.syntax import ast

HERE, THERE = (Span(Source("net.net", "conv 8 k3\n"), start, start + 1) for start in (0, 5))


def test_a_field_has_its_place_its_name_and_its_default():
    arg = ast.Arg(HERE, "k", value=ast.Number(THERE, 3))
    assert (arg.span, arg.key, arg.value.value, arg.key_span) == (HERE, "k", 3, None)
    assert ast.Arg.fields == ("span", "key", "value", "key_span")


def test_equality_ignores_where_something_stands():
    one, same = ast.Layer(HERE, "relu", (), HERE), ast.Layer(THERE, "relu", (), THERE)
    assert one == same
    assert hash(one) == hash(same)
    assert one not in (ast.Layer(HERE, "gelu", (), HERE), ast.Call(HERE, "relu", (), HERE), "relu")
    assert repr(one) == "Layer(name='relu', args=())"


def test_nothing_changes():
    with pytest.raises(AttributeError, match="Name does not change: `id` cannot be set"):
        ast.Name(HERE, "c").id = "d"


@pytest.mark.parametrize(
    ("values", "named", "message"),
    [
        ((HERE,), {}, "Name needs id"),
        ((HERE, "c", "d"), {}, "Name has span, id: not 3 values"),
        ((HERE, "c"), {"id": "d"}, "Name has span, id: not 2 values"),
        ((HERE,), {"name": "c"}, "Name has span, id: not 1 values"),
    ],
)
def test_values_and_fields_must_fit(values, named, message):
    with pytest.raises(TypeError, match=message):
        ast.Name(*values, **named)


def test_walking_visits_everything_in_a_piece_of_syntax_once():
    number = ast.Number(THERE, 8)
    layer = ast.Layer(HERE, "conv", (ast.Arg(THERE, None, number),), HERE)
    chain = ast.Chain(HERE, (ast.Element(HERE, None, None, layer),))
    assert list(ast.walk(chain)) == [chain, chain.elements[0], layer, layer.args[0], number]
