"""The mean and std of the data travel with the network: whoever has its spec and weights gets the run's answers."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from netdsl.cli import run as command
from netdsl.ground.diagnostics import UserError
from netdsl.pipeline import check_text, compile_file, compile_text, format_text
from netdsl.training.data.dataset import Dataset
from netdsl.training.data.feed import Feed
from netdsl.training.data.normalization import for_network, with_constants
from netdsl.training.loop.epochs import train
from netdsl.training.loop.session import check_unchanged, resumed, started
from netdsl.training.runs.config import config_of, write_setup
from netdsl.training.runs.engine import Engine
from netdsl.training.runs.folder import new_run, read_run, run_net
from netdsl.training.runs.views import open_run, score_run
from netdsl.training.scores.evaluation import probabilities

SPEC = """# colours
input 3x6x6  # small ones
conv 4 k3 p1 -> bn -> relu -> pool 2
flatten -> linear 3
train { data "made.npz", epochs 2, batch 16, val 0.2, augment crop=1 flip cutout=2 }
"""
RNG = np.random.default_rng(0)
Y = np.arange(80) % 3
X = np.clip(RNG.normal(90 + 50 * Y[:, None, None, None], 30, (80, 3, 6, 6)), 0, 255).astype(np.uint8)
ENGINES = {
    "interp": Engine("interp", 0, threads=1),
    "textbook": Engine("numpy", 0, threads=1),
    "fast": Engine("numpy", 2, "threads", 2),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("made.npz", x=X[:60], y=Y[:60], x_test=X[60:], y_test=Y[60:])
    (tmp_path / "small.net").write_text(SPEC)
    return tmp_path


def run_of(folder, engine="fast", spec="small.net"):
    with started(compile_file(spec), ENGINES[engine], out=folder, autotune=False) as session:
        session.train()
    return folder


def old_run(folder, dataset, engine="fast", epochs=2):
    """A run as versions before this one made it: no mean and std in model.net, samples fed normalised."""
    net = compile_file("small.net")
    net = net.with_recipe(replace(net.recipe, epochs=epochs))
    made = new_run(net.name, folder)
    write_setup(made, net.source.text, config_of(net, dataset, ENGINES[engine], None))
    train(net, dataset, ENGINES[engine], made)
    return made


def weights(folder):
    return (folder / "weights.safetensors").read_bytes()


def dataset_of(folder):
    with open_run(folder, None) as view:
        return replace(view.dataset, mean=view.run.config.mean, std=view.run.config.std, is_fed_raw=False)


def test_the_specs_copy_in_a_run_says_the_measured_numbers(here):
    run = run_of(here / "run")
    first, line, *rest = (run / "model.net").read_text().split("\n")
    assert (first, "\n".join(rest)) == ("# colours", SPEC.split("\n", 2)[2])
    config = json.loads((run / "config.json").read_text())
    mean, std = (", ".join(str(np.float32(number)) for number in config[name]) for name in ("mean", "std"))
    assert line == f"input 3x6x6 mean ({mean}) std ({std})  # small ones"
    graph = compile_file(run / "model.net").graph
    assert np.array_equal(np.float32(graph.mean), np.float32(config["mean"]))
    assert np.array_equal(np.float32(graph.std), np.float32(config["std"]))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_of_an_older_version_has_the_same_bytes_and_goes_on(here, engine):
    new = run_of(here / "new", engine)
    data = dataset_of(new)
    old = old_run(here / "old", data, engine)
    assert weights(old) == weights(new)  # the same arithmetic, in the network or before it
    with open_run(new, None) as one, open_run(old, None) as other:
        assert one.net.graph.mean and not other.net.graph.mean
        scores, others = score_run(one), score_run(other)
        assert scores.loss == others.loss and np.array_equal(scores.confusion, others.confusion)
        x = one.dataset.x_test
        raw, fed = one.model.logits(x), other.model.logits(other.dataset.normalized(x))
        assert raw.tobytes() == fed.tobytes()
        assert one.model.logits(one.dataset.normalized(x)).tobytes() == raw.tobytes()
    for run in (new, old):
        with resumed(run, epochs=3) as session:
            session.train()
    assert weights(old) == weights(new)
    assert not run_net(read_run(old)).graph.mean


def test_predict_says_of_images_the_same_for_a_run_of_an_older_version(here, capsys):
    new = run_of(here / "new")
    old = old_run(here / "old", dataset_of(new))
    for i, pixels in enumerate(X[60:66]):
        Image.fromarray(pixels.transpose(1, 2, 0)).save(f"{i}.png")
    said = []
    for folder in (new, old):
        assert command(["predict", str(folder), *(f"{i}.png" for i in range(6)), "--json", "--no-invert"]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    with open_run(new, None) as view:
        expected = probabilities(view.net, view.model, X[60:66])  # bytes, as they are
    found = [json.loads(line)["probability"] for line in said[0].splitlines()]
    np.testing.assert_allclose(found, expected.max(axis=1), rtol=0, atol=1e-6)  # 6 digits are printed


def test_a_spec_that_says_its_own_numbers_keeps_them(here):
    own = SPEC.replace("3x6x6 ", "3x6x6 mean 0.5 std (0.5, 0.25, 1) ")
    (here / "own.net").write_text(own)
    run = run_of(here / "run", spec="own.net")
    assert (run / "model.net").read_text() == own
    with open_run(run, None) as view:
        assert (view.dataset.mean, view.dataset.std) == ((0.5,), (0.5, 0.25, 1.0))
        expected = (X[60:] / np.float32(255) - 0.5) / np.array([0.5, 0.25, 1]).reshape(3, 1, 1)
        network = view.net.build()
        np.testing.assert_allclose(network.first_value(view.dataset.normalized(X[60:])), expected, atol=1e-6)  # float32


def test_numbers_in_the_units_of_bytes_are_noticed(here, capsys):
    (here / "bytes.net").write_text(SPEC.replace("3x6x6 ", "3x6x6 mean 33.3 std 78.6 "))
    assert command(["train", "bytes.net", "--out", "run", "--limit", "20", "--epochs", "1", "--no-plots"]) == 0
    assert "count as 0 to 1, but `input` has a mean or std of 78.6: of bytes that is 0.3082" in capsys.readouterr().err
    assert command(["train", "small.net", "--out", "other", "--limit", "20", "--epochs", "1", "--no-plots"]) == 0
    assert "count as" not in capsys.readouterr().err


@pytest.mark.parametrize("engine", ENGINES)
def test_features_of_a_table_have_one_number_each_and_the_bytes_of_the_old_way(here, engine):
    x = (RNG.normal(size=(80, 3)) * [1, 50, 1e-3] + [0, -1000, 5] + Y[:, None]).astype(np.float32)
    np.savez("made.npz", x=x[:60], y=Y[:60], x_test=x[60:], y_test=Y[60:])
    text = 'input 3\nlinear 6 -> relu -> linear 3\ntrain { data "made.npz", epochs 2, batch 16, val 0.2 }'
    (here / "small.net").write_text(text)
    new = run_of(here / "new", engine)
    assert len(compile_file(new / "model.net").graph.mean) == 3
    old = old_run(here / "old", dataset_of(new), engine)
    assert weights(old) == weights(new)
    with open_run(new, None) as view:
        assert view.model.predict(x[60:]).tolist() == view.model.predict(view.dataset.normalized(x[60:])).tolist()


def test_what_is_cut_out_is_zero_for_the_first_layer_and_the_border_is_black(here):
    net = with_constants(compile_file("small.net"), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    data = Dataset("made", X, Y, X, Y, ("0", "1", "2"), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    fed_raw, fed = Feed(for_network(data, net), net.recipe), Feed(data, net.recipe)
    seen = net.build().first_value(fed_raw.batch(1, 1).x)
    assert seen.tobytes() == fed.batch(1, 1).x.tobytes()
    assert (np.abs(seen) < 0.02).all(axis=1).any()  # a byte's rounding of the mean
    assert (fed_raw.batch(1, 1).x == 0).all(axis=1).any()


@pytest.mark.parametrize(
    "text",
    [
        "input 3x6x6\nflatten -> linear 2",
        "\ufeffblock f(c) { conv c }\r\n# input 3x6x6\r\ninput 3x6x6 # here\r\nf(3) -> flatten -> linear 2\r\n",
        "let k = 3\ninput    3x6x6\t\n\n\nflatten -> linear 2",
    ],
)
def test_the_text_compiles_to_the_network_it_stands_for(text):
    rng = np.random.default_rng(0)
    for scale in (1e-30, 1e-3, 1, 1e9, 1e30):
        mean, std = rng.normal(0, scale, 3), rng.uniform(0.1, 1, 3) * scale
        made = with_constants(check_text(text)[0], mean, std)
        again = check_text(made.source.text)[0]
        assert again.graph == made.graph
        assert np.array_equal(np.float32(made.graph.mean), np.float32(mean))
        assert np.array_equal(np.float32(made.graph.std), np.float32(std))
        assert made.source.text.replace(made.source.text[made.source.text.index(" mean") :], "") in text
        assert with_constants(made, (1.0,), (2.0,)) is made


@pytest.mark.parametrize(
    "mean, std", [((0.0,), (1.0,)), ((), ()), ((float("nan"),), (1.0,)), ((0.0,), (float("inf"),))]
)
def test_numbers_that_change_nothing_or_are_none_stay_out_of_the_text(mean, std):
    net = compile_text("input 2\nlinear 2")
    assert with_constants(net, mean, std) is net


def test_a_canonical_text_stays_canonical():
    text = format_text("input 3x6x6  # here\nflatten -> linear 2\n")[0]
    made = with_constants(compile_text(text), (0.5, -0.25, 1e-9), (1e9, 0.5, 2.0)).source.text
    assert format_text(made)[0] == made


def test_whether_a_spec_has_changed_is_seen_in_spite_of_what_was_written(here):
    run = run_of(here / "run")
    check_unchanged(here / "small.net", run)
    (here / "small.net").write_text(SPEC.replace("conv 4", "conv 5"))
    with pytest.raises(UserError, match="has changed"):
        check_unchanged(here / "small.net", run)
    (here / "small.net").write_text((run / "model.net").read_text())
    check_unchanged(here / "small.net", run)
