"""Networks that go on with a text: number by number as forward says it, with what layers keep and without."""

import subprocess
import sys

import numpy as np
import pytest

from netdsl.analysis.writing import can_write, why_not, window_of
from netdsl.pipeline import compile_text

GPT = """\
input 8 of 11
wte: embed 12 -> pos
2 * { res { ln -> mha 3 causal } -> res { ln -> linear 24 -> gelu tanh -> linear 12 } }
ln -> unembed @wte
"""
LLAMA = """\
input 8 of 11
embed 12
2 * { res { rms -> mha 2 kv=1 causal rope nobias } -> res { rms -> swiglu 20 -> linear 12 nobias } }
rms -> linear 11 -> softmax
"""
DROPPING = "input 8 of 11\nembed 12 -> pos sincos -> res { mha 2 causal dropout=0.3 } -> dropout 0.2 -> linear 11"
LSTM = "input 8 of 11\nembed 6 -> lstm 10 layers=2 dropout=0.1 -> linear 11"
GRU = "input 8 of 11\nembed 6 -> gru 10 -> rnn 7 relu -> cat { id | linear 3 -> tanh } -> linear 11"
WRITERS = {"gpt": GPT, "llama": LLAMA, "dropping": DROPPING, "lstm": LSTM, "gru": GRU}


def model_of(name, level, dtype="float64"):
    net = compile_text(WRITERS[name])
    model = net.numpy_model(seed=0, dtype=dtype, level=level)
    rng = np.random.default_rng(0)
    for array in model.params.values():
        array[...] = 0.5 * rng.standard_normal(array.shape)
    return model


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize("name", WRITERS)
def test_what_follows_is_what_forward_says_of_the_whole_text(name, level):
    model = model_of(name, level)
    texts = np.random.default_rng(1).integers(0, 11, (3, 8))
    expected, states = model.logits(texts), {}
    parts = [model.next_logits(texts[:, a:b], states) for a, b in ((0, 1), (1, 2), (2, 5), (5, 8))]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), expected, rtol=1e-9, atol=1e-9)
    model.close() if level else None


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize("name", WRITERS)
def test_a_text_is_the_same_with_a_cache_and_without(name, level):
    model = model_of(name, level)
    for prompt in ([3], [1, 2, 3, 4, 5], np.arange(30) % 11, np.array([[1, 2], [9, 0], [5, 5]])):
        made = model.generate(prompt, 40, temperature=0.9, top_k=6, seed=5)
        assert made.shape == (*np.shape(prompt)[:-1], 40) and made.dtype == np.int64
        assert (made == model.generate(prompt, 40, temperature=0.9, top_k=6, seed=5, cache=False)).all()
        assert (made != model.generate(prompt, 40, temperature=0.9, top_k=6, seed=6)).any()
    model.close() if level else None


def test_where_the_window_is_full_its_second_half_begins_the_next_one():
    model = model_of("gpt", 0)
    text = [4]
    for number in model.generate(text, 30, temperature=0):
        seen = text if len(text) <= 8 else text[-(4 + (len(text) - 9) % 5) :]  # 4 to 8 numbers
        padded = np.zeros((1, 8), int)
        padded[0, : len(seen)] = seen
        assert model.logits(padded)[0, len(seen) - 1].argmax() == number
        text.append(int(number))


def test_a_recurrent_network_forgets_nothing():
    model = model_of("lstm", 0)
    text = list(np.arange(20) % 11)
    expected = model.next_logits(np.array([text]), {})[0, -1].argmax()
    assert model.window == 0 and model.generate(text, 1, temperature=0) == [expected]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [([], "one whole number or more"), ([1.5], "one whole number or more"), ([11], "from 0 to 10, these are 11 to 11")],
)
def test_what_is_no_text_is_refused(prompt, message):
    with pytest.raises(ValueError, match=message):
        model_of("gpt", 0).generate(prompt, 3)


def test_nothing_is_asked_for():
    assert model_of("gpt", 0).generate([1], 0).shape == (0,)
    assert model_of("gpt", 0).generate([[1], [2]], 0).shape == (2, 0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("input 8 of 11\nembed 4 -> mha 2 -> linear 11", "a token of `mha1` (mha) may depend on those behind it"),
        ("input 8 of 11\nembed 4 -> lstm 4 bi -> linear 11", "a token of `lstm1` (lstm) may depend on those behind it"),
        ("input 8 of 11\nembed 4 -> transpose -> linear 8 -> transpose -> linear 11", "`transpose1` (transpose)"),
        ("input 8 of 11\nembed 4 -> take -1 -> linear 11", "its loss asks for no label of each token"),
        ("input 8 of 11\nembed 4 -> linear 11\ntrain { loss mse }", "its loss asks for no label of each token"),
        ("input 8 of 11\nembed 4 -> linear 12", "it gives more classes than the numbers that it takes"),
        ("input 8x4\nlinear 4", "it takes no numbers of a vocabulary"),
        ("input 8 of 11\nembed 4 -> cls -> linear 11", "it does not give as many tokens as it takes"),
    ],
)
def test_why_a_network_does_not_write(text, reason):
    net = compile_text(text)
    assert reason in why_not(net.graph, net.recipe.loss)
    assert "def generate" not in net.numpy_source(0) + net.numpy_source(2)


def test_how_far_networks_look_back():
    nets = {name: compile_text(text) for name, text in WRITERS.items()}
    assert all(can_write(net.graph, net.recipe.loss) for net in nets.values())
    windows = {name: window_of(net.graph) for name, net in nets.items()}
    assert windows == {"gpt": 8, "llama": 8, "dropping": 8, "lstm": 0, "gru": 0}


@pytest.mark.parametrize("level", [0, 2])
def test_an_emitted_module_writes_with_numpy_alone(level, tmp_path):
    (tmp_path / "writer.py").write_text(compile_text(GPT).numpy_source(level), encoding="utf-8")
    program = """
import sys
sys.modules["netdsl"] = sys.modules["torch"] = None
from writer import Model
model = Model(seed=0)
print(model.generate([1, 2], 20, temperature=0.5, top_k=3, seed=1).tolist())
"""
    run = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{program}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(eval(run.stdout)) == 20
