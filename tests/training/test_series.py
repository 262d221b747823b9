"""Columns of a table by name, and rows that follow each other as tokens."""

import numpy as np
import pytest

from netdsl.graph.recipe import Recipe
from netdsl.graph.types import map_of, tokens, vector
from netdsl.ground.diagnostics import UserError
from netdsl.language.train_block import with_data
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.samples import read_samples
from netdsl.training.data.wanted import wanted_by

SERIES = tokens(4, 2)


@pytest.fixture
def table(tmp_path):
    """table(change) -> a table of 120 rows, of row i the numbers i, 2i and 3i, and a word; change: of its lines."""

    def table(change=lambda lines: None):
        lines = ["day,a,b,c,label"]
        lines += [f"d{i},{i},{2 * i},{3 * i},{'high' if i % 10 > 4 else 'low'}" for i in range(120)]
        change(lines)
        path = tmp_path / "t.csv"
        path.write_text("\n".join(lines) + "\n")
        return path

    return table


def asked(path, options, takes, made=None, loss="ce"):
    recipe = with_data(Recipe(loss=loss), f"{path} {options}".strip())
    return recipe.data, wanted_by(recipe, takes, made or vector(2))


def load(path, options="", takes=SERIES, made=None, loss="ce"):
    name, want = asked(path, options, takes, made, loss)
    return load_dataset(name, None, want=want)


def every(d):
    return np.concatenate([d.x_train[:], d.x_test[:]]), np.concatenate([d.y_train[:], d.y_test[:]])


def refuses(match, *args, **kwargs):
    with pytest.raises(UserError, match=match) as caught:
        load(*args, **kwargs)
    assert "\n" not in caught.value.message + caught.value.help
    return caught.value.help


def test_named_columns_are_read_in_their_order_and_no_others(table):
    x, y = every(load(table(), 'columns="c, a"', vector(2)))
    assert np.array_equal(x[:, 0], 3 * x[:, 1]) and len(x) == 120
    assert np.array_equal(y, (x[:, 1] % 10 <= 4).astype(int))  # high, low
    x, y = every(load(table(), 'columns="a, b" label=c', vector(2), vector(1), "mse"))
    assert np.array_equal(3 * x[:, :1], y)


def test_a_series_is_tokens_whose_label_is_that_of_the_last_row(table):
    d = load(table(), 'columns="a, c" stride=1')
    x, y = every(d)
    assert x.shape[1:] == (4, 2) and d.input_type == SERIES and d.classes == ("high", "low")
    assert np.array_equal(x[:, :, 0], x[:, :1, 0] + np.arange(4)) and np.array_equal(3 * x[..., 0], x[..., 1])
    assert np.array_equal(y, (x[:, -1, 0] % 10 <= 4).astype(int))


def test_a_series_with_its_label_among_the_columns_foretells_the_next_row(table):
    d = load(table(), 'columns="a, c" label=c stride=1', made=vector(1), loss="mse")
    x, y = every(d)
    assert np.array_equal(y[:, 0], x[:, -1, 1] + 3) and y.dtype == np.float32
    assert any("`c` of the row that follows it" in note for note in d.notes)


def test_parts_of_a_series_have_no_row_in_common(table):
    d = load(table(), 'columns="a, c" stride=1')
    rows, held = d.parts(0.2, 0)
    parts = [set(x[:, :, 0].ravel().tolist()) for x in (d.x_train[rows], d.x_train[held], d.x_test)]
    assert all(parts) and not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


def test_a_label_for_each_token_is_that_of_each_row(table):
    x, y = every(load(table(), 'columns="a, c"', made=tokens(4, 2)))
    assert y.shape == x.shape[:2] and np.array_equal(y, (x[..., 0] % 10 <= 4).astype(int))


def test_without_named_columns_a_series_takes_all_but_label_and_time(table):
    path = table()
    path.write_text("\n".join(line.partition(",")[2] for line in path.read_text().split("\n")))  # no days
    x, _ = every(load(path, "stride=1", tokens(4, 3)))
    assert np.array_equal(x[..., 2], 3 * x[..., 0])


def test_the_last_window_can_be_predicted_though_nothing_follows_it(table):
    name, want = asked(table(), 'columns="a, c" label=c stride=1', SERIES, vector(1), "mse")
    x, rows, _ = read_samples(table(), want)
    assert x[-1, -1].tolist() == [119, 357] and rows[-1] == 116 and len(x) == 117
    name, want = asked(table(), 'columns="c, a"', vector(2))
    x, _, _ = read_samples(table(), want)
    assert np.array_equal(x[:, 0], 3 * x[:, 1])


def test_named_columns_may_be_channels_of_a_signal(table):
    x, _ = every(load(table(), 'columns="c, a" stride=4', map_of(2, 8)))
    assert x.shape[1:] == (2, 8) and np.array_equal(x[:, 0], 3 * x[:, 1])


def at(line, change):
    """A change of one line, counted from 1 as in the message."""
    return lambda lines: lines.__setitem__(line - 1, change(lines[line - 1]))


@pytest.mark.parametrize("takes", [vector(2), SERIES])
def test_holes_and_ragged_rows_are_named_with_line_and_column(table, takes):
    columns = 'columns="a, c"'
    for hole in ("", "nan", "NA"):
        path = table(at(11, lambda line, hole=hole: ",".join([*line.split(",")[:3], hole, "low"])))
        refuses("line 11, column `c` of .*t.csv` is missing", path, columns, takes)
    refuses("line 12 of .*t.csv` has 6 cells, expected 5", table(at(12, lambda line: line + ",1")), columns, takes)
    path = table(at(13, lambda line: line[: line.rindex(",") + 1]))
    refuses("line 13, column `label` .* is missing", path, columns, takes)
    path = table(at(14, lambda line: line.replace("12,24", "12,x")))
    assert load(path, columns, takes).classes  # nobody named that column
    refuses("line 14, column `b` of .* is `x`, expected a number", path, 'columns="a, b"', takes)


@pytest.mark.parametrize("takes", [vector(2), SERIES])
def test_columns_that_are_not_there_or_too_many_are_said(table, takes):
    assert "`day`, `a`, `b`, `c`, `label`" in refuses("no column `d`", table(), 'columns="a, d"', takes)
    refuses("names `a` twice", table(), 'columns="a, b, a"', takes)
    refuses("has a name without a letter", table(), 'columns="a,"', takes)
    refuses("no column `a`", table(lambda lines: lines.pop(0)), 'columns="a, c"', takes)


def test_a_series_of_other_columns_than_the_input_says_which_input_fits(table):
    assert "`input 4x3`" in refuses("3 columns of numbers", table(), 'columns="a, b, c"')
    given = table(), 'columns="a, c" label=c', vector(2), vector(1), "mse"
    assert "leave it out of `columns`" in refuses("`c` .* is the label, and one of `columns`", *given)
    path = table(at(1, lambda line: line.replace("label", "kind")))
    assert "label=..." in refuses("no column called", path, 'columns="a, c"', vector(2))
