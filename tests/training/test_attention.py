"""The maps of attention: the weights that layers saved, what is shown of them, and what does not fit."""

import re
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from figures import ROWS, overhang, view_of, words

from netdsl.ground.diagnostics import UserError
from netdsl.layers import layer_at
from netdsl.pipeline import compile_text
from netdsl.training.data.dataset import Dataset
from netdsl.training.data.texts import text_dataset, text_of
from netdsl.training.data.wanted import Wanted
from netdsl.training.drawing.style import UNKNOWN, png_bytes
from netdsl.training.pictures.attention import (
    LEAST,
    MOST_IDS,
    MOST_TOKENS,
    Attention,
    attention_maps,
    draw_attention,
    subject_of,
)
from netdsl.training.pictures.kinds import draw, fitting_kinds, usual_kinds
from netdsl.training.runs.history import History
from netdsl.training.runs.views import RunView

VERSE = "to be or not to be,\nthat is\tthe question " * 8
GPT = "input {length} of 40\nembed 8 -> pos -> {layers} * res {{ ln -> mha {mha} }} -> linear 40\ntrain {{ val 0.5 }}"
VIT = "input 1x16x16\nconv {{width}} k4 s4 -> tokens -> cls -> pos -> {{layers}} * res {{{{ ln -> mha {{heads}} }}}}"
VARIANTS = ["4", "4 causal", "4 kv=2 causal", "4 kv=1", "4 causal rope", "4 causal dropout=0.3", "4 kv=2 rope nobias"]


def text_view(mha="2 causal", length=32, layers=2, are_bytes=False, content=VERSE):
    spec = GPT.format(mha=mha, length=length, layers=layers)
    net = compile_text(spec.replace("40", "256") if are_bytes else spec, "verse")
    text = text_of("verse", content.encode(), are_bytes)
    data = text_dataset("verse", text, Wanted(takes=net.graph.input_type, val=net.recipe.val))
    return RunView(None, net, net.build(seed=1), data, History(ROWS), "last")


def image_view(heads=2, layers=2, samples=5):
    spec = VIT.format(width="{width}", heads="{heads}", layers="{layers}")
    spec = spec.format(width=8 * heads, heads=heads, layers=layers)
    return view_of(spec.replace("{", "{{").replace("}", "}}") + "\ntake 0 -> linear {classes}", ("cat", "dog"), samples)


def maps_in(figure):
    """The arrays that are drawn, each as it is seen: NaN is the page."""
    images = figure.findobj(matplotlib.image.AxesImage)
    return [np.ma.filled(image.get_array().astype(float), np.nan) for image in images]


# ------------------------------------------------------------------------------------------------ the weights


@pytest.mark.parametrize("mha", VARIANTS)
@pytest.mark.parametrize("training", [False, True])
def test_the_weights_of_every_kernel_are_those_that_mixed_its_values(mha, training):
    net = compile_text(f"input 5x8\nmha {mha}\ntrain {{ loss mse }}")
    network = net.build(seed=2, dtype="float64")
    (layer,), (node,) = network.layers, net.graph.nodes
    x = np.random.default_rng(0).normal(size=(3, 5, 8))
    y = layer.forward(x, training=training)
    weights = layer_at(node).attention_of(layer.saved)
    assert weights.shape == (3, 4, 5, 5)
    np.testing.assert_allclose(weights.sum(axis=3), 1, rtol=1e-12)  # sums of five numbers
    if "causal" in mha:
        assert not np.triu(weights, 1).any()
    if training and "dropout" in mha:
        weights = weights * layer_at(node).factor_of(layer.saved).reshape(weights.shape)
    params, kv = layer.params, node.attrs["kv"]
    bias = params.get("in_proj_bias", np.zeros(len(params["in_proj_weight"])))
    values = (x @ params["in_proj_weight"].T + bias)[:, :, -2 * kv :].reshape(3, 5, kv, 2)
    values = values.repeat(4 // kv, axis=2)  # each serves heads that follow each other
    mixed = np.einsum("nhts,nshd->nthd", weights, values).reshape(3, 5, 8)
    expected = mixed @ params["out_proj.weight"].T + params.get("out_proj.bias", 0)
    np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-12)  # the same sums in another order


def test_what_a_causal_layer_cannot_read_is_empty_and_the_rest_is_what_the_layer_made():
    view = text_view()
    subject = subject_of(view, None, 1, None)
    maps = attention_maps(view, subject)
    assert [one.name for one in maps] == ["mha1", "mha2"]
    network = view.net.build(seed=1)
    network.forward(view.dataset.x_test[1:2])
    for one in maps:
        whole = layer_at(network.layer(one.name).node).attention_of(network.layer(one.name).saved)[0]
        lower = np.tri(32, dtype=bool)
        assert np.isnan(one.weights[:, ~lower]).all() and np.array_equal(one.weights[:, lower], whole[:, lower])


def test_drawing_leaves_the_model_as_it_is():
    view = text_view("2 causal dropout=0.2")
    before, state = {k: v.copy() for k, v in view.model.params.items()}, view.model.rng.bit_generator.state
    first = png_bytes(draw("attention", view))
    assert png_bytes(draw("attention", view)) == first and view.model.rng.bit_generator.state == state
    assert all(np.array_equal(view.model.params[name], array) for name, array in before.items())


# ------------------------------------------------------------------------------------------------ what is shown


def test_a_text_run_shows_the_beginning_of_its_held_out_text_with_as_many_letters_as_fit():
    view = text_view()
    figure = draw("attention", view)
    shown, maps = words(figure), maps_in(figure)
    assert overhang(figure) < 1e-9 and figure.get_label() == "attention"
    count = len(maps[0])
    assert LEAST <= count <= 32 and len(maps) >= 4 and {one.shape for one in maps[:4]} == {(count, count)}
    held = "".join(view.dataset.classes[k] for k in view.dataset.x_test[0][:count])
    letters = held.translate({32: "\N{MIDDLE DOT}", 10: "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}", 9: "\u21e5"})
    assert any(word.startswith(f"held-out text: {letters}; each row is a token that reads") for word in shown)
    assert {"head 1", "head 2", "mha1", "mha2", "weight"} <= set(shown) and "head 3" not in shown
    rows_and_columns = [word for word in shown if len(word) == 1]
    assert "".join(rows_and_columns).count(letters) == 2 + 4  # on the left of each layer, above each map


def test_a_text_of_ones_own_is_shown_whole_with_letters_only_where_they_fit():
    view = text_view(length=80)
    shown = words(draw("attention", view, text="to be"))
    assert "the text: to\N{MIDDLE DOT}be; each row is a token that reads, each column one that is read" in shown
    figure = draw("attention", view, text=VERSE[:50])
    assert len(maps_in(figure)[0]) == 50 and not [word for word in words(figure) if len(word) == 1]
    figure = draw("attention", view, text=VERSE[:100])
    assert len(maps_in(figure)[0]) == MOST_IDS
    assert any(word.startswith(f"the first {MOST_IDS} of 100 characters: to") for word in words(figure))


def test_what_stands_behind_a_short_text_changes_nothing():
    view = text_view()
    short, long = (attention_maps(view, subject_of(view, words, 0, None)) for words in (VERSE[:9], VERSE[:32]))
    for one, other in zip(short, long, strict=True):
        np.testing.assert_allclose(one.weights, other.weights[:, :9, :9], rtol=1e-6)  # float32


def test_all_maps_share_one_scale_that_begins_at_0():
    figure = draw("attention", text_view())
    limits = {image.get_clim() for image in figure.findobj(matplotlib.image.AxesImage)[:4]}
    ((low, high),) = limits
    assert low == 0 < high <= 1


def test_bytes_are_letters_or_two_digits():
    view = text_view(length=32, are_bytes=True, content="\N{SNOWMAN}a b\n" * 40)
    assert subject_of(view, "\N{SNOWMAN}a \n", 0, None).names == (
        "e2", "98", "83", "a", "\N{MIDDLE DOT}", "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}",
    )  # fmt: skip
    assert overhang(draw("attention", view)) < 1e-9


def test_hostile_characters_stay_letters():
    view = text_view(length=12, content="$^_{}\\\x1b\u202e<&" * 20)
    figure = draw("attention", view)
    assert overhang(figure) < 1e-9 and "$" in words(figure) and UNKNOWN in words(figure)
    assert "".join(words(figure)).isprintable()


def test_tokens_that_are_no_text_are_shown_by_their_numbers():
    net = compile_text("input 20 of 300\nembed 8 -> mha 2 -> take 0 -> linear 3", "numbers")
    x, y = np.random.default_rng(0).integers(0, 300, (9, 20)), np.arange(9) % 3
    data = Dataset("numbers", x, y, x, y, ("a", "b", "c"), (0.0,), (1.0,), layout="ids", limit=300)
    view = RunView(None, net, net.build(seed=0), data, History(ROWS), "last")
    figure = draw("attention", view, sample=4)
    shown = words(figure)
    assert any(word.startswith(f"test sample 4: b: {x[4, 0]} {x[4, 1]} ") for word in shown) and overhang(figure) < 1e-9
    with pytest.raises(UserError, match="`--text` is for networks that learned a text"):
        draw("attention", view, text="a")
    with pytest.raises(UserError, match="there is no test sample 9"):
        draw("attention", view, sample=9)


def test_images_whose_patches_read_each_other_are_shown_too():
    view = image_view()
    assert "attention" in usual_kinds(view)
    figure = draw("attention", view, sample=2)
    assert any(word.startswith("test sample 2: ") for word in words(figure)) and overhang(figure) < 1e-9
    maps = maps_in(figure)[:4]
    assert {one.shape for one in maps} == {(17, 17)} and not any(np.isnan(one).any() for one in maps)
    own = draw("attention", view, image=np.zeros((1, 16, 16), np.uint8))
    assert any(word.startswith("the image; each row") for word in words(own))


def test_of_very_many_layers_and_heads_the_first_are_drawn_if_asked_and_that_is_said():
    view = image_view(heads=13, layers=14)
    assert "attention" in fitting_kinds(view) and "attention" not in usual_kinds(view)
    figure = draw("attention", view)
    assert any("the first 12 of 14 layers; the first 12 of 13 heads" in word for word in words(figure))
    assert "head 12" in words(figure) and "head 13" not in words(figure) and "mha13" not in words(figure)
    assert overhang(figure) < 1e-9 and max(figure.get_size_inches()) < 10


def test_of_very_many_tokens_the_first_are_drawn():
    view = image_view()
    subject = replace(subject_of(view, None, 0, None), count=MOST_TOKENS, caption="a volume")
    maps = (Attention("mha1", np.full((1, MOST_TOKENS, MOST_TOKENS), 1 / MOST_TOKENS)),)
    assert "a volume, its first 256 tokens" in " ".join(words(draw_attention(maps, subject, 1, 1)))


# ------------------------------------------------------------------------------------------------ what does not fit


@pytest.mark.parametrize(
    ("mha", "text", "message"),
    [
        ("2 causal", "", "the text is empty"),
        ("2 causal", "to be?", "the text has 1 character that the network does not know: `?` (once)"),
        ("2", "to be", "the text has 5 characters, the network takes 32: a token of `mha1` (mha) may depend on"),
    ],
)
def test_a_text_that_does_not_do_is_a_user_error(mha, text, message):
    with pytest.raises(UserError, match=re.escape(message)):
        draw("attention", text_view(mha), text=text)


def test_a_network_that_reads_both_ways_takes_a_whole_text():
    view = text_view("2")
    assert not np.isnan(attention_maps(view, subject_of(view, VERSE[:40], 0, None))[0].weights).any()


def test_networks_without_attention_have_no_maps():
    view = view_of("input 4\nlinear {classes}", ("a", "b"))
    assert "attention" not in fitting_kinds(view)
    with pytest.raises(UserError, match="the run has no plot `attention`: no layer of it is attention"):
        draw("attention", view)
