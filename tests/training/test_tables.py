"""Tables of values between commas: headers, delimiters, targets, and what is wrong with a cell."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netdsl.cli import run as netdsl
from netdsl.graph.types import from_sizes
from netdsl.ground.diagnostics import UserError
from netdsl.training.data import tables
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.wanted import Wanted

RNG = np.random.default_rng(0)
ROWS = [(1.5, -2.0), (3.25, 4.0), (5.0, 6e-3), (7.0, 8.0), (9.0, 10.0), (0.5, 0.25)]
LABELS = ["dog", "cat", "dog", "cat", "dog", "cat"]


def table(path, header="a,b,label", rows=ROWS, labels=LABELS, **encoding):
    lines = ([header] if header else []) + [f"{a},{b},{y}" for (a, b), y in zip(rows, labels, strict=True)]
    path.write_text("\n".join(lines) + "\n", **encoding)
    return path


def load(path, want=None):
    return load_dataset(str(path), None, want=want)


def samples(d):
    """{sample: target} of both parts."""
    x, y = np.concatenate([d.x_train, d.x_test]), np.concatenate([d.y_train, d.y_test])
    return {tuple(row): target for row, target in zip(x.tolist(), y.tolist(), strict=True)}


WANTED = {tuple(np.float32(v).item() for v in row): int(y == "dog") for row, y in zip(ROWS, LABELS, strict=True)}


@pytest.mark.parametrize("header", ["a,b,label", "a,b,Class", '"a","b, too",target', "a,b,y", "a,b,species", ""])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_is_read_with_and_without_a_header(tmp_path, header, encoding):
    d = load(table(tmp_path / "d.csv", header, encoding=encoding))
    assert samples(d) == WANTED and d.classes == ("cat", "dog") and d.x_train.dtype == np.float32
    last = header in ("", "a,b,species")
    assert len(d.notes) == last and (not last or "are its last column" in d.notes[0])


@pytest.mark.parametrize("delimiter", list(",;\t|"))
def test_the_delimiter_is_the_one_that_the_first_row_has_most(tmp_path, delimiter):
    path = table(tmp_path / "d.csv")
    path.write_text(path.read_text().replace(",", delimiter) + "\n\n")
    assert samples(load(path)) == WANTED
    if delimiter == ";":
        path.write_text(path.read_text().replace(".", ","))
        assert samples(load(path)) == WANTED


def test_the_column_of_targets_is_found_by_its_name(tmp_path):
    (tmp_path / "d.csv").write_text(
        "label,a,b\n" + "".join(f"{y},{a},{b}\n" for (a, b), y in zip(ROWS, LABELS, strict=True))
    )
    assert samples(load(tmp_path / "d.csv")) == WANTED


def test_a_column_that_counts_the_rows_is_left_out(tmp_path):
    rows = "".join(f"{i},{a},{b},{y}\n" for i, ((a, b), y) in enumerate(zip(ROWS, LABELS, strict=True)))
    (tmp_path / "d.csv").write_text(",a,b,label\n" + rows)
    d = load(tmp_path / "d.csv")
    assert samples(d) == WANTED and "counts the rows: not used" in d.notes[0]


def test_targets_are_labels_or_numbers_as_they_stand(tmp_path):
    path = table(tmp_path / "d.csv", labels=[1, 2, 1, 2, 2, 1])
    assert load(path).classes == ("1", "2")
    assert load(path, Wanted(from_sizes((2,)), 0, "mse")).classes == ()
    d = load(table(path, labels=[0.5, 1, 2, 3, 4, 5]))
    assert d.classes == () and d.y_train.shape == (5, 1)
    assert load(table(path, labels=["0.0", "1.0"] * 3), Wanted(from_sizes((2,)), 2, "ce")).classes == ("0", "1")


def test_lines_of_pixels_are_images(tmp_path):
    pixels = RNG.integers(0, 256, (10, 64))
    lines = ["label," + ",".join(f"pixel{i}" for i in range(64))]
    lines += [f"{k % 2}," + ",".join(map(str, row)) for k, row in enumerate(pixels)]
    (tmp_path / "d.csv").write_text("\n".join(lines))
    d = load(tmp_path / "d.csv", Wanted(from_sizes((1, 8, 8)), 2, "ce"))
    assert d.input_shape == (1, 8, 8) and any(np.array_equal(d.x_test[0].ravel(), row) for row in pixels)


BAD = {
    "an empty file": ("", "has one column, expected numbers and a column of targets", "separated by a comma"),
    "one column": ("a\n1\n2\n", "has one column", "separated by"),
    "a header alone": ("a,b,label\n", "has no rows of numbers", "a row for each sample"),
    "a short row": ("a,b,y\n1,2,0\n3,4\n", "line 3 of .* has 2 cells, expected 3", "as many cells"),
    "a word": ("a,b,y\n1,2,0\n3,Rome,1\n", "line 3, column `b` of .* is `Rome`, expected a number", "its words"),
    "a word behind the target": ("y,a,b\n0,1,2\n1,3,Rome\n", "line 3, column `b` of .* is `Rome`", "its words"),
    "a missing number": ("a,b,y\n1,2,0\n\n,5,1\n", "line 4, column `a` of .* is missing", "fill it in"),
    "not a number": ("1,2,0\n3,nan,1\n", "line 2, column 2 of .* is missing", "fill it in"),
    "infinity": ("1,2,0\n3,inf,1\n", "line 2, column 2 of .* is `inf`, expected a number", "leave the column out"),
    "too large": ("1,2,0\n3,1e99,1\n", "line 2, column 2 of .* is `1e99`", ""),
    "a missing target": ("a,b,y\n1,2,0\n3,4,NA\n", "line 3, column `y` of .* is missing", "fill it in"),
    "two targets": ("a,label,y\n1,2,0\n", "the columns `label` and `y`, and either", "leave one out"),
    "an open quote": ('a,b,y\n1,"2,0\n', "is no table: unexpected end of data", "save it as CSV"),
    "one row": ("1,2,0\n", "has 1 sample, expected 2 or more", ""),
    "no features": (",y\n0,1\n1,0\n2,1\n3,0\n", "", ""),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_with_line_and_column(tmp_path, case):
    text, match, help = BAD[case]
    (tmp_path / "d.csv").write_text(text)
    if case == "no features":
        assert load(tmp_path / "d.csv").input_shape == (1,)  # the only column stays, though it counts the rows
        return
    with pytest.raises(UserError, match=match) as caught:
        load(tmp_path / "d.csv")
    assert help in caught.value.help and "\n" not in caught.value.message


def test_a_table_that_is_missing_is_said_to_be(tmp_path):
    with pytest.raises(UserError, match="cannot read .*none.csv`: no such file"):
        load(tmp_path / "none.csv")


def test_bytes_that_are_no_text_and_files_too_large_are_refused(tmp_path, monkeypatch):
    (tmp_path / "d.csv").write_bytes(b"a,b,y\n1,2,caf\xe9\n")
    with pytest.raises(UserError, match="is not UTF-8: it has the byte 0xe9"):
        load(tmp_path / "d.csv")
    monkeypatch.setattr(tables, "MAX_BYTES", 10)
    with pytest.raises(UserError, match="the limit of a table is 10"):
        load(tmp_path / "d.csv")
    monkeypatch.setattr(tables, "MAX_COLUMNS", 2)
    monkeypatch.setattr(tables, "MAX_BYTES", 1000)
    with pytest.raises(UserError, match="has 3 columns, the limit is 2"):
        load(table(tmp_path / "d.csv"))


@given(st.binary(max_size=60) | st.text('1.5,;"\n\r\t|ayNe-\0\ufeff ', max_size=60).map(str.encode))
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_table_or_refused(tmp_path, content):
    (tmp_path / "d.csv").write_bytes(content)
    try:
        assert load(tmp_path / "d.csv").x_train.ndim == 2
    except UserError as error:
        assert "d.csv" in error.message and "\n" not in error.message


def test_a_table_trains(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table(tmp_path / "d.csv", "a,b,kind", rows=ROWS * 5, labels=LABELS * 5)
    (tmp_path / "n.net").write_text('input 2\nlinear 2\ntrain { data "d.csv", epochs 2 }\n')
    assert netdsl(["train", "n.net", "--out", "r", "--no-plots"]) == 0
    assert "note: the targets of `d.csv` are its last column, `kind`" in capsys.readouterr().err
    assert netdsl(["eval", "r", "--data", "d.csv"]) == 0
