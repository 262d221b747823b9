"""`netdsl data unpack`: a `.npz` becomes a folder of `.npy` files, which is the same data set."""

import os

import numpy as np
import pytest

from netdsl.cli import run as netdsl
from netdsl.training.data.datasets import load_dataset

X, Y = np.arange(60, dtype=np.float32).reshape(20, 3), np.arange(20) % 2


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys):
    """cli(*arguments) -> the exit code and what was printed, beside a file `large.npz`."""
    monkeypatch.chdir(tmp_path)
    np.savez("large.npz", x=X, y=Y)

    def cli(*arguments):
        code = netdsl(["data", *arguments])
        return code, *capsys.readouterr()

    return cli


@pytest.mark.parametrize("arguments, folder", [([], "large"), (["-o", "other"], "other"), (["--out", "a/b"], "a/b")])
def test_the_folder_is_made_and_printed_and_is_the_same_data_set(cli, arguments, folder):
    os.mkdir("a")
    assert cli("unpack", "large.npz", *arguments) == (0, f"{folder}\n", "")
    assert sorted(os.listdir(folder)) == ["x.npy", "y.npy"]
    np.testing.assert_array_equal(load_dataset(folder, None).x_train, load_dataset("large.npz", None).x_train)


@pytest.mark.parametrize(
    "name, said",
    [
        ("none.npz", "cannot read `none.npz`: no such file or directory"),
        ("large.zip", "`large.zip` is no `.npz`"),
        ("folder.npz", "cannot read `folder.npz`: it is a folder, not a file"),
        ("text.npz", "`text.npz` is damaged: file is not a zip file"),
    ],
)
def test_what_is_no_npz_is_one_line(cli, name, said):
    os.mkdir("folder.npz")
    with open("text.npz", "w") as file:
        file.write("text")
    code, out, err = cli("unpack", name)
    assert (code, out) == (2, "") and err.startswith(f"error: {said}") and not os.path.exists(name[:-4])


def test_a_folder_that_is_there_is_kept(cli):
    os.mkdir("large")
    code, out, err = cli("unpack", "large.npz")
    assert (code, out) == (2, "") and "`large` is there already" in err and os.listdir("large") == []


def test_a_npz_beyond_the_limit_says_how_to_unpack_it(cli, monkeypatch, capsys):
    monkeypatch.setattr("netdsl.training.data.npz.MAX_BYTES", 100)
    with open("n.net", "w") as file:
        file.write('input 3\nlinear 2\ntrain { data "large.npz" }\n')
    assert netdsl(["train", "n.net"]) == 2
    assert "help: `netdsl data unpack large.npz` makes a folder of it" in capsys.readouterr().err
