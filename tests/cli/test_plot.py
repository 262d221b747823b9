"""`netdsl plot` and `netdsl predict --plot` as a user meets them."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from netdsl.cli import run as netdsl

DIGITS = "input 1x28x28\nconv 4 k5 s3 -> relu -> flatten -> linear 10\ntrain {\n  data mnist-mini\n  epochs 1\n}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plot")
    (folder / "digits.net").write_text(DIGITS)
    line = ["train", "-q", "-O", "0", "--limit", "200", "--out", str(folder / "run"), str(folder / "digits.net")]
    assert netdsl(line) == 0
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(folder / "seven.png")
    return folder


@pytest.fixture
def call(folder, capsys, monkeypatch):
    """call(arguments) -> exit code, stdout, stderr."""
    monkeypatch.chdir(folder)

    def call(line):
        code = netdsl(line.split())
        return code, *capsys.readouterr()

    return call


def test_plot_writes_every_fitting_kind_and_prints_the_paths(call, folder):
    code, out, err = call("plot run --format svg")
    kinds = ["curves", "confusion", "mistakes", "predictions", "filters", "features", "statistics", "receptive"]
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"run/plots/{kind}.svg" for kind in kinds]
    assert all((folder / path).stat().st_size > 1000 for path in out.splitlines())


def test_kinds_format_and_folder_are_the_users(call, folder):
    code, out, _ = call("plot run curves filters curves --format svg --out some/where --checkpoint last")
    assert code == 0 and out.splitlines() == ["some/where/curves.svg", "some/where/filters.svg"]


def test_features_show_a_layer_and_an_image(call):
    code, out, err = call("plot run features --layer relu1 --image seven.png --format png --out own")
    assert (code, out, err) == (0, "own/features.png\n", "")
    assert call("plot run filters")[1] == "run/plots/filters.png\nrun/plots/filters.svg\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("plot run confuson", "error: there is no plot `confuson`\nhelp: did you mean `confusion`?\n"),
        (
            "plot run features --layer rellu1",
            "error: `rellu1` is no layer that gives maps\nhelp: did you mean `relu1`?\n",
        ),
        ("plot run features --sample 200", "error: there is no test sample 200\n"),
        (
            "plot run curves --layer conv1",
            "error: `--layer` changes nothing here: it is for `features` and `receptive`\n",
        ),
        ("plot run features --sample 1 --image seven.png", "error: `--image` and `--sample` exclude each other\n"),
        ("plot nowhere", "error: `nowhere` is not a folder"),
        ("predict run seven.png --plot x.gif", "error: cannot draw `x.gif`: a picture ends in .png or .svg\n"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(call, folder, line, message):
    code, out, err = call(line)
    assert (code, out) == (2, "") and err.startswith(message) and err.count("\n") <= 2


def test_predict_draws_its_answers(call, folder):
    code, out, err = call("predict run seven.png seven.png --plot pictures/p.png")
    assert code == 0 and err == "" and out.count("\n") == 2
    with Image.open(folder / "pictures/p.png") as image:
        assert image.width == 2100
    assert call("predict run seven.png --plot p.svg")[0] == 0 and (folder / "p.svg").read_text().startswith("<svg")


def test_a_picture_of_many_images_shows_the_first_ones_and_says_so(call):
    code, _, err = call(f"predict run {'seven.png ' * 26} --plot many.svg")
    assert code == 0 and err == "note: `many.svg` shows the first 24 of 26 images\n"


def test_commands_without_pictures_do_not_load_matplotlib(folder):
    script = (
        "import sys; from netdsl.cli import run; import netdsl.training.pictures.kinds, netdsl.cli.plot\n"
        "code = run(['predict', 'run', 'seven.png'])\n"
        "sys.exit(code or 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def signals(folder):
    """A run on signals of two channels."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 2, 32)).astype(np.float32), rng.integers(0, 3, 60)
    np.savez(folder / "signals.npz", x_train=x, y_train=y, x_test=x[:20], y_test=y[:20])
    np.savez(folder / "new.npz", x=x[:3])
    spec = "input 2x32 map\nconv 4 k5 p2 -> relu -> gap -> linear 3\ntrain { epochs 1 }\n"
    (folder / "signals.net").write_text(spec)
    line = f"train {folder}/signals.net --data {folder}/signals.npz -q -O 0 --no-plots --out {folder}/signals"
    assert netdsl(line.split()) == 0


def test_signals_have_their_plots_and_a_sample_of_ones_own(call, signals):
    code, out, err = call("plot signals saliency features --image new.npz --format png --out own")
    assert (code, out, err) == (0, "own/saliency.png\nown/features.png\n", "")
    code, out, _ = call("predict signals new.npz --plot new.png --top 1")
    assert code == 0 and len(out.splitlines()) == 3
    with Image.open("new.png") as picture:
        assert picture.width == 2100


def test_an_image_is_no_sample_of_a_network_of_signals(call, signals):
    code, out, err = call("plot signals features --image seven.png")
    assert (code, out) == (2, "") and len(err.splitlines()) <= 2
    assert err.startswith("error: `seven.png` is no recording and no table of numbers, but the network takes 2x32")
