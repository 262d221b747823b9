"""`python MODULE.py --weights FILE X.npy`: every emitted module says of raw samples what `netdsl predict` says."""

import json
import re
import runpy
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest

from netdsl.cli import run
from netdsl.pipeline import compile_file, compile_text
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.images import read_image

SPEC = """input 1x28x28
conv 4 k5 s2 -> bn -> relu -> pool 2
flatten -> linear 10
train { data mnist-mini, epochs 1 }
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, 20 test digits as .png files and as bytes in a .npy file, and what `netdsl predict` says of them."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("answers")
    (folder / "digits.net").write_text(SPEC)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run(["train", "digits.net", "-q", "--out", "run", "--limit", "800", "--threads", "2", "--no-plots"]) == 0
    x = load_dataset("mnist-mini", None).x_test[:20]
    (folder / "images").mkdir()
    for i, pixels in enumerate(x):
        Image.fromarray(pixels[0]).save(folder / f"images/{i:02}.png")
    assert np.array_equal(read_image(folder / "images/03.png", (1, 28, 28)), x[3])
    np.save(folder / "x.npy", x)
    np.savez(folder / "x.npz", x=x)
    np.save(folder / "floats.npy", (x / 255).astype(np.float32))
    np.save(folder / "short.npy", x[:, 0])
    np.save(folder / "one.npy", x[3, 0])
    done = subprocess.run(
        [sys.executable, "-m", "netdsl", "predict", "run", "images", "--no-invert", "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    said = [json.loads(line) for line in done.stdout.splitlines()]
    return folder, [(int(answer["class"]), answer["probability"]) for answer in said]


def answers(module, folder, *words):
    """The class and the probability of each line that the module prints."""
    command = [sys.executable, "-I", module, *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    return [(int(line[3].rstrip(",")), float(line[5])) for line in lines]


def write_module(folder, target, level=0):
    net = compile_file(folder / "run/model.net")
    path = folder / f"{target}_{level}.py"
    path.write_text(net.numpy_source(level) if target == "numpy" else net.torch_source())
    return path


@pytest.mark.parametrize("target, level", [("numpy", 0), ("numpy", 1), ("numpy", 2), ("torch", 0)])
def test_a_module_says_of_raw_samples_what_predict_says_of_the_images(trained, target, level):
    if target == "torch":
        pytest.importorskip("torch")
    folder, expected = trained
    assert len({label for label, _ in expected}) > 5
    module, weights = write_module(folder, target, level), ["--weights", "run/weights.safetensors"]
    found = answers(module, folder, *weights, "x.npy", "floats.npy", "short.npy", "x.npz", "one.npy")
    for part in (found[:20], found[20:40], found[40:60], found[60:80]):
        assert [label for label, _ in part] == [label for label, _ in expected]
        # float32, and 6 digits are printed; the level that the run was made with gives the very same digits
        tolerance = 0 if (target, level) == ("numpy", 2) else 2e-5
        np.testing.assert_allclose([p for _, p in part], [p for _, p in expected], rtol=0, atol=tolerance)
    assert found[80:] == [found[3]]


@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_wrong_use_of_a_module_is_an_error_of_2(trained, monkeypatch, capsys, target):
    if target == "torch":
        pytest.importorskip("torch")
    folder, _ = trained
    monkeypatch.chdir(folder)
    module = write_module(folder, target)
    np.save("wrong.npy", np.zeros((2, 28, 28, 1), np.uint8))
    np.savez("other.npz", y=np.zeros((2, 1, 28, 28)))
    np.save("words.npy", np.array(["a", "b"]))
    (folder / "text.npy").write_text("no array")
    (folder / "text.safetensors").write_text("no weights")
    good = ["--weights", "run/weights.safetensors"]
    for words, said in (
        (["x.npy"], "--weights"),
        (good, "X.npy" if target == "torch" else "the files of samples are missing"),
        (["--weights", "none.safetensors", "x.npy"], "none.safetensors"),
        (["--weights", "text.safetensors", "x.npy"], "error: "),
        ([*good, "none.npy"], "none.npy"),
        ([*good, "text.npy"], "error: "),
        ([*good, "words.npy"], "error: "),
        ([*good, "other.npz"], "x is not a file in the archive"),
        ([*good, "wrong.npy"], "28, 1" if target == "torch" else "takes (N, 1, 28, 28), not (2, 28, 28, 1)"),
    ):
        monkeypatch.setattr(sys, "argv", [str(module), *words])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(module), run_name="__main__")
        shown = capsys.readouterr()
        assert (ended.value.code, shown.out) == (2, ""), words
        assert said in shown.err, words


@pytest.mark.parametrize(
    "end, loss, shares",
    [
        ("linear 3", "ce", "lambda y: softmax(y, axis=1)"),
        ("linear 3 -> softmax", "ce", "lambda y: y"),
        ("linear 3 -> logsoftmax", "nll", "lambda y: softmax(y, axis=1)"),
        ("linear 1", "bce", "lambda y: sigmoid(np.hstack([-y, y]))"),
        ("linear 1 -> sigmoid", "bce", "lambda y: np.hstack([1 - y, y])"),
        ("linear 3", "bce", ""),
        ("linear 3", "mse", ""),
    ],
)
@pytest.mark.parametrize("target, level", [("numpy", 0), ("numpy", 2), ("torch", 0)])
def test_each_loss_has_its_probabilities(tmp_path, monkeypatch, capsys, end, loss, shares, target, level):
    if target == "torch":
        pytest.importorskip("torch")
    constants = " mean 1 std 2" if loss == "ce" else ""
    net = compile_text(f"input 2{constants}\n{end}\ntrain {{ loss {loss} }}", "small")
    assert f"answer(Model{f', {shares}' if shares else ''})" in net.numpy_source()
    text = net.numpy_source(level) if target == "numpy" else net.torch_source()
    model = net.numpy_model(seed=1)
    model.save(tmp_path / "w.safetensors")
    x = np.random.default_rng(0).standard_normal((4, 2))
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "m.py").write_text(text)
    y = model.outputs(x)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["m.py", "--weights", "w.safetensors", "x.npy"])
    with suppress(SystemExit):
        runpy.run_path("m.py", run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"x.npy {i}" for i in range(4)]
    if not shares:
        found = [numbers_in(line.split(":")[1]) for line in lines]
        np.testing.assert_allclose(found, y, rtol=0, atol=2e-6)  # 8 digits, but for float32
        return
    if loss == "bce":
        p = y if "sigmoid" in end else 1 / (1 + np.exp(-y))
        p = np.hstack([1 - p, p])
    else:
        p = y if "-> softmax" in end else np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
    found = [line.split() for line in lines]
    assert [int(words[3].rstrip(",")) for words in found] == p.argmax(axis=1).tolist()
    np.testing.assert_allclose([float(words[5]) for words in found], p.max(axis=1), rtol=0, atol=2e-6)  # 6 digits


def numbers_in(line):
    return [float(number) for number in re.findall(r"-?\d+\.[-\de]*", line)]


@pytest.mark.parametrize("given", ["1x6 map", "1x3x4", "1x2x3x4", "2x6 map", "5x2", "3"])
@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_one_channel_may_be_left_out_of_signals_images_and_volumes(tmp_path, monkeypatch, capsys, given, target):
    """Of one sample or of several; a single sample of any shape needs no axis for the batch."""
    if target == "torch":
        pytest.importorskip("torch")
    net = compile_text(f"input {given}\nflatten -> linear 2\ntrain {{ loss mse }}", "small")
    net.numpy_model(seed=1).save(tmp_path / "w.safetensors")
    x = np.random.default_rng(0).standard_normal((3, *net.graph.input_shape)).astype(np.float32)
    files = {"all": x, "one": x[0]} | ({"short": x[:, 0], "short_one": x[0, 0]} if given[:2] == "1x" else {})
    for name, array in files.items():
        np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / "m.py").write_text(net.numpy_source() if target == "numpy" else net.torch_source())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["m.py", "--weights", "w.safetensors", *(f"{name}.npy" for name in files)])
    with suppress(SystemExit):
        runpy.run_path("m.py", run_name="__main__")
    said = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    several = [name for name in files if "one" not in name]
    assert said.keys() == {f"{name}.npy {i}" for name in files for i in range(3 if name in several else 1)}
    for name in files:
        for i in range(3 if name in several else 1):
            found, expected = (numbers_in(said[f"{file}.npy {i}"]) for file in (name, "all"))
            np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6, err_msg=name)  # 8 digits, but for float32
