"""`netdsl predict` reads images and tables, and writes answers of every task."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from netdsl.cli import run as netdsl
from netdsl.pipeline import compile_text
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.shapes import shapes

SPECS = {
    "masks": "input 1x32x32\nconv 4 k3 p1 -> relu -> conv 4 k1\ntrain { data shapes, epochs 1 }",
    "numbers": 'input 3\nlinear 2\ntrain { data "table.npz", loss mse, epochs 2, opt adam lr=0.1 }',
    "two": 'input 3\nlinear 1\ntrain { data "two.npz", loss bce, epochs 2 }',
    "again": "input 1x28x28\nconv 1 k3 p1\ntrain { data mnist-mini, loss mse, epochs 1 }",
    "points": "input 2\nlinear 3\ntrain { data spiral, epochs 1 }",
}


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with a run of each task."""
    folder = tmp_path_factory.mktemp("predict")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        np.savez("table.npz", x=x, y=(x @ rng.normal(size=(3, 2))).astype(np.float32))
        np.savez("two.npz", x=x, y=(x[:, 0] > 0).astype(np.int64))
        for name, text in SPECS.items():
            (folder / f"{name}.net").write_text(text)
            line = ["train", f"{name}.net", "-q", "--no-plots", "--limit", "60", "-O", "0", "--out", name]
            assert netdsl(line) == 0
    return folder


@pytest.fixture
def call(here, monkeypatch, capfd):
    """call("masks a.png") -> exit code, stdout, stderr of `netdsl predict`."""
    monkeypatch.chdir(here)

    def run(line):
        code = netdsl(["predict", *line.split()])
        return code, *capfd.readouterr()

    return run


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_numbers_of_a_table_are_those_of_the_network(call, here):
    from netdsl.training.runs.views import open_run

    x = np.load(here / "table.npz")["x"]
    with open_run(here / "numbers", None) as view:
        wanted = view.model.forward(view.dataset.normalized(x))
    assert call("numbers table.npz --out p.csv") == (0, "", "60 answers in p.csv\n")
    rows = rows_of(here / "p.csv")
    assert list(rows[0]) == ["file", "row", "output_0", "output_1"] and rows[7]["row"] == "7"
    found = np.array([[float(row["output_0"]), float(row["output_1"])] for row in rows])
    np.testing.assert_allclose(found, wanted, rtol=1e-6)  # seven digits are written
    np.save(here / "x.npy", x)
    lines = [f"{a},{b},{c},{9}" for a, b, c in x.tolist()]
    (here / "x.csv").write_text("\ufeffa,b,c,target\n" + "\n".join(lines) + "\n")
    (here / "semi.csv").write_text("a;b;c\n" + "\n".join(line[:-2].replace(",", ";") for line in lines) + "\n")
    for file in ("x.npy", "x.csv", "semi.csv"):
        assert call(f"numbers {file} --out q.npy")[0] == 0
        np.testing.assert_allclose(np.load(here / "q.npy"), wanted, rtol=1e-6)
    code, out, err = call("numbers x.csv --json")
    assert "column `target` of `x.csv` is left out" in err
    assert json.loads(out.splitlines()[3])["values"] == pytest.approx(wanted[3].tolist(), rel=1e-6)
    assert call("numbers x.npy")[1].startswith("x.npy[0]: ")


def test_classes_of_a_table_have_a_column_each(call, here):
    x = load_dataset("spiral", None).x_test[:5]
    np.save(here / "p.npy", x)
    assert call("points p.npy --out p.csv")[0] == 0
    rows = rows_of(here / "p.csv")
    assert list(rows[0]) == ["file", "row", "class", "arm 0", "arm 1", "arm 2"]
    for row in rows:
        shares = {name: float(row[name]) for name in ("arm 0", "arm 1", "arm 2")}
        assert row["class"] == max(shares, key=shares.get) and sum(shares.values()) == pytest.approx(1, abs=1e-5)
    assert call("two two.npz --out p.npz")[0] == 0
    with np.load(here / "p.npz") as found:
        assert found["probabilities"].shape == (60, 2) and found["classes"].tolist() == ["0", "1"]
    code, out, _ = call("two two.npz --json")
    assert json.loads(out.splitlines()[0]).keys() == {"file", "row", "class", "probability", "top"}


def test_masks_are_written_as_images_whose_values_are_classes_and_drawn_over_their_images(call, here):
    x, _ = shapes()
    (here / "pics").mkdir()
    for i in range(3):
        Image.fromarray(x[i, 0]).save(here / f"pics/p{i}.png")
    np.savez(here / "pics.npz", x=x[:3])
    code, out, err = call("masks pics --out seen --plot seen.png")
    assert (code, out) == (0, "") and "3 answers in seen" in err
    assert call("masks pics.npz --out seen.npz")[0] == 0
    with np.load(here / "seen.npz") as arrays:
        masks = arrays["masks"]
    for i in range(3):
        with Image.open(here / f"seen/p{i}.png") as image:
            assert image.mode == "P" and np.array_equal(np.asarray(image), masks[i])
    with Image.open(here / "seen.png") as picture:
        assert picture.format == "PNG" and picture.width == 2100
    code, out, _ = call("masks pics --json")
    assert json.loads(out.splitlines()[1])["mask"] == masks[1].tolist()
    assert "% of the pixels" in call("masks pics/p0.png")[1]


def test_pictures_come_back_as_pictures(call, here):
    Image.fromarray(load_dataset("mnist-mini", None).x_test[0, 0]).save(here / "digit.png")
    assert call("again digit.png --out back --plot back.svg")[0] == 0
    with Image.open(here / "back/digit.png") as image:
        assert image.size == (28, 28) and image.mode == "L"
    assert "784 numbers from" in call("again digit.png")[1]


@pytest.mark.parametrize(
    "line, message",
    [
        ("numbers digit.jpg", "`digit.jpg` is no table of numbers, but the network takes 3"),
        ("numbers gone.csv", "cannot read `gone.csv`: no such file or directory"),
        ("masks bad.npy", "the samples of `bad.npy` are 5, but the network takes 1x32x32"),
        ("numbers bad.npy", "the samples of `bad.npy` are 5, but the network takes 3"),
        ("numbers words.csv", "row 3 of `words.csv` has `x`, expected 3 numbers"),
        ("numbers ragged.csv", "row 3 of `ragged.csv` has 2 columns, expected 3 numbers"),
        ("numbers wide.csv", "`wide.csv` has 6 columns, but the network takes 3 numbers a sample"),
        ("numbers empty.csv", "`empty.csv` has no rows of numbers"),
        ("numbers nan.csv", "1 of 3 values of `x` in `nan.csv` are NaN or infinite as float32"),
        ("numbers objects.npy", "`objects.npy` is damaged"),
        ("numbers cut.npy", "`cut.npy` is damaged"),
        ("numbers other.npz", "`other.npz` has no array `x`"),
        ("masks pics.npz --out m.csv", "masks do not fit a table"),
        ("numbers table.npz --out folder", "cannot write `folder`: only masks and pictures go to a folder"),
        ("numbers table.npz --out a.json", "cannot write `a.json`: answers go to"),
        ("numbers table.npz --plot a.png", "`--plot` draws samples, but those of the run are no images"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(call, here, line, message):
    np.save(here / "bad.npy", np.zeros((4, 5)))
    np.save(here / "objects.npy", np.array([None]), allow_pickle=True)
    np.save(here / "cut.npy", np.zeros((40, 3)))
    (here / "cut.npy").write_bytes((here / "cut.npy").read_bytes()[:300])
    np.savez(here / "other.npz", z=np.zeros(3), w=np.zeros(3))
    texts = {"words": "a,b,c\n1,2,3\n1,x,3\n", "ragged": "a,b,c\n1,2,3\n1,2\n", "wide": "1,2,3,4,5,6\n"}
    for name, text in {**texts, "empty": "a,b,c\n", "nan": "a,b,c\n1,nan,2\n"}.items():
        (here / f"{name}.csv").write_text(text)
    code, out, err = call(line)
    assert code == 2 and err.startswith(f"error: {message}") and len(err.splitlines()) <= 2


def test_the_samples_of_unequal_files_are_answered_in_their_order(call, here):
    x = np.load(here / "table.npz")["x"]
    np.save(here / "one.npy", x[0])
    np.save(here / "two.npy", x[1:3])
    code, out, _ = call("numbers one.npy two.npy one.npy")
    lines = out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["one.npy[0]", "two.npy[0]", "two.npy[1]", "one.npy[0]"]
    assert lines[0] == lines[3]


def test_labels_of_a_run_decide_its_task_as_its_data_do(here):
    from netdsl.training.runs.views import open_run
    from netdsl.training.scores.task import decided_task

    for name, text in SPECS.items():
        graph = compile_text(text).graph
        with open_run(here / name, None) as view:
            task = decided_task(view.net.recipe.loss, graph.input_type, graph.output_type, view.run.config.classes)
            assert task.kind == view.task.kind and task.classes == view.task.classes
