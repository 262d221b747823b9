"""Arrays of whole numbers that a network looks up, with labels beside them or with what follows."""

from dataclasses import replace

import numpy as np
import pytest
from small_runs import ENGINES

from netdsl.ground.diagnostics import UserError
from netdsl.pipeline import compile_text
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.samples import read_samples
from netdsl.training.data.wanted import wanted_by
from netdsl.training.loop.epochs import train
from netdsl.training.runs.folder import new_run
from netdsl.training.scores.evaluation import fitted, task_of

RNG = np.random.default_rng(0)
X = (np.arange(9) + RNG.integers(0, 12, (120, 1))) % 12  # each number is followed by the next one
WRITES = "input 8 of 12\nwords: embed 8 -> ln\nunembed @words\n"
TAGS = "input 8 of 12\nembed 8 -> linear 3\n"
SAYS = "input 8 of 12\nembed 8 -> take 7 -> linear 12\n"
KINDS = ["u1", "i2", "i4", "i8", ">u2"]


@pytest.fixture
def saved(tmp_path):
    """saved(folder, x=..., y=...) -> the path of a .npz, or of a folder of .npy files."""

    def saved(as_folder=False, **arrays):
        if not as_folder:
            np.savez(tmp_path / "d.npz", **arrays)
            return tmp_path / "d.npz"
        (tmp_path / "d").mkdir(exist_ok=True)
        for name, array in arrays.items():
            np.save(tmp_path / "d" / f"{name}.npy", array)
        return tmp_path / "d"

    return saved


def load(path, spec=WRITES, **settings):
    net = compile_text(spec, "net")
    net = net.with_recipe(net.recipe.__class__(**settings)) if settings else net
    return load_dataset(str(path), None, want=wanted_by(net.recipe, net.graph.input_type, net.graph.output_type))


def refuses(match, path, spec=WRITES, **settings):
    with pytest.raises(UserError, match=match) as caught:
        load(path, spec, **settings)
    assert "\n" not in caught.value.message + caught.value.help
    return caught.value.help


@pytest.mark.parametrize("as_folder", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_without_labels_a_number_asks_for_the_one_that_follows(saved, kind, as_folder):
    d = load(saved(as_folder, x=X.astype(kind)))
    assert d.has_ids and d.has_token_labels and (d.limit, d.mean, d.std) == (12, (0.0,), (1.0,))
    x, y = d.x_train[:], d.y_train[:]
    assert x.dtype == y.dtype == np.int64 and x.shape == (len(x), 8)
    assert np.array_equal((x + 1) % 12, y) and len(d.x_train) + len(d.x_test) == 120
    assert d.normalized(x) is x and d.classes == tuple(map(str, range(12)))
    fitted(compile_text(WRITES, "net"), d)


def test_where_the_network_gives_one_class_it_is_the_last_number(saved):
    d = load(saved(x=X.astype("i4")), SAYS)
    assert np.array_equal((d.x_train[:][:, -1] + 1) % 12, d.y_train) and len(d.classes) == 12
    fitted(compile_text(SAYS, "net"), d)


@pytest.mark.parametrize("as_folder", [False, True])
def test_labels_may_be_of_tokens_or_of_samples(saved, as_folder):
    d = load(saved(as_folder, x=X[:, :8], y=X[:, :8] % 3), TAGS)
    assert d.has_token_labels and np.array_equal(d.x_train[:] % 3, d.y_train[:])
    assert task_of(compile_text(TAGS, "net"), d).what == "a class for each token"
    d = load(saved(as_folder, x=X[:, :8], y=X[:, 0]), SAYS)
    assert not d.has_token_labels and np.array_equal(d.x_train[:][:, 0], d.y_train)


def test_features_of_tokens_may_have_labels_too(saved):
    x = RNG.standard_normal((60, 8, 4)).astype(np.float32)
    d = load(saved(x=x, y=X[:60, :8] % 3), "input 8x4\nlinear 3")
    assert d.has_token_labels and d.input_type.is_tokens and not d.has_ids
    fitted(compile_text("input 8x4\nlinear 3", "net"), d)


@pytest.mark.parametrize("spec, least", [(WRITES, 0.9), (TAGS, 0.9)])
@pytest.mark.parametrize("engine", ["interp", "fast", "torch"])
def test_a_network_learns_what_follows_and_tags(saved, tmp_path, engine, spec, least):
    arrays = {"x": X} if spec == WRITES else {"x": X[:, :8], "y": X[:, :8] % 3}
    net = compile_text(spec + "train { epochs 12, batch 8, opt adam lr=0.05 }", "net")
    d = load(saved(**arrays), spec)
    result = train(net, d, ENGINES[engine], new_run("net", tmp_path / "run"))
    scores = result.scores
    assert scores.accuracy > least and scores.confusion is None
    np.testing.assert_allclose(scores.values["perplexity"], np.exp(scores.loss))
    np.testing.assert_allclose(scores.values["bits"], scores.loss / np.log(2))
    assert result.used.value("val_perplexity") and result.used.val_accuracy > least


def test_numbers_that_the_network_does_not_take_are_named_with_their_place(saved, tmp_path):
    wrong = X.copy()
    wrong[70, 3] = 12
    assert "`input 8 of 13`" in refuses("number 3 of row 70 of `x` of .*d.npz` is 12, expected 0 to 11", saved(x=wrong))
    wrong[70, 3] = -1
    assert "from 0" in refuses("number 3 of row 70 .* is -1, expected 0 to 11", saved(x=wrong))
    d = load(saved(True, x=wrong))  # what is read later is looked at then
    with pytest.raises(UserError, match="number 3 of row 70 .* is -1"):
        for part in (d.x_train, d.x_test):
            part[:]


def test_other_shapes_and_kinds_are_refused(saved):
    refuses("are float32, but the network takes whole numbers, 8 of 12", saved(x=X.astype(np.float32)))
    refuses("are 8, but the network takes 8 numbers, and without labels `y` one more", saved(x=X[:, :8]))
    refuses("are 9, but the network takes 8 numbers$", saved(x=X, y=X[:, 0]))
    refuses("are 3x3, but the network takes 8 numbers", saved(x=X.reshape(-1, 3, 3), y=X[:, 0]))
    refuses("what follows a number is a class, which the loss `mse` cannot take", saved(x=X), WRITES, loss="mse")


def test_labels_that_do_not_fit_the_output_are_refused(saved):
    d = load(saved(x=X[:, :8], y=X[:, 0] % 3), TAGS)
    with pytest.raises(UserError, match="one class for each sample, but `net` gives 8x3, tokens"):
        fitted(compile_text(TAGS, "net"), d)
    d = load(saved(x=X[:, :8], y=X[:, :8] % 5), TAGS)
    with pytest.raises(UserError, match="labels for 8 tokens, of 5 classes, for which `ce` needs 8x5"):
        fitted(compile_text(TAGS, "net"), d)
    with pytest.raises(UserError, match="for which `ce` needs 8x5, but `net` gives 12") as caught:
        fitted(compile_text(SAYS, "net"), d)
    assert "of all tokens" in caught.value.help


def test_a_run_of_a_text_knows_arrays_of_its_numbers(saved):
    net = compile_text(WRITES, "net")
    want = wanted_by(net.recipe, net.graph.input_type, net.graph.output_type)
    want = replace(want, names=tuple("abcdefghijkl"), options={"text": "characters"})
    assert load_dataset(str(saved(x=X)), None, want=want).classes == want.names


def test_samples_to_predict_are_numbers_as_they_are(saved):
    net = compile_text(TAGS, "net")
    want = wanted_by(net.recipe, net.graph.input_type, net.graph.output_type)
    x, rows, _ = read_samples(saved(x=X[:, :8].astype("u1")), want)
    assert x.dtype == np.int64 and np.array_equal(x, X[:, :8]) and rows == list(range(120))
    with pytest.raises(UserError, match="number 0 of row 5"):
        wrong = X[:, :8].copy()
        wrong[5, 0] = 99
        read_samples(saved(x=wrong), want)


def test_ignored_labels_count_neither_in_the_loss_nor_in_the_accuracy(saved, tmp_path):
    y = X[:, :8] % 3
    net = compile_text(TAGS + "train { epochs 1, batch 16, loss ce ignore=0 }", "net")
    result = train(net, load(saved(x=X[:, :8], y=y), TAGS), ENGINES["interp"], new_run("net", tmp_path / "run"))
    tally = task_of(net, load(saved(x=X[:, :8], y=y), TAGS)).tally()
    tally.add(np.eye(3)[np.ones((4, 8), int)], y[:4])
    assert tally.values()["accuracy"] == np.mean(y[:4][y[:4] != 0] == 1) and 0 <= result.scores.accuracy <= 1
