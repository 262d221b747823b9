"""Tables of signals: rows are steps, windows lie within a recording, and no step is in two parts."""

import numpy as np
import pytest

from netdsl.graph.recipe import Recipe
from netdsl.graph.types import map_of, vector
from netdsl.ground.diagnostics import UserError
from netdsl.language.train_block import with_data
from netdsl.training.data import signal_tables
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.samples import read_samples
from netdsl.training.data.wanted import Wanted, wanted_by
from netdsl.training.data.windows import Recording, in_pieces, labels_of, windows_of

TAKES, THREE = map_of(2, 8), vector(3)
NAMES = ("run", "sit", "walk")


def steps(count, first=0):
    """(count, 2): the number of the step in the file, and its negative."""
    return np.arange(first, first + count)[:, None] * np.array([1, -1])


def write(path, rows, header="a,b,subject,label"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*([header] if header else []), *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def subjects(path, count=6, rows=40):
    """Each subject does all of NAMES, one after the other."""
    numbers = steps(3 * count * rows).tolist()
    named = [(f"s{i // (3 * rows)}", NAMES[i // rows % 3]) for i in range(len(numbers))]
    return write(path, [(*x, *name) for x, name in zip(numbers, named, strict=True)])


def load(path, options="", takes=TAKES, made=THREE, loss="ce", limit=None, **settings):
    recipe = with_data(Recipe(loss=loss, **settings), f"{path} {options}".strip())
    return load_dataset(str(path), None, limit, want=wanted_by(recipe, takes, made))


def of_parts(d, val=0.25):
    """The steps (n, L) of the windows to learn from, to validate and to test."""
    rows, held = d.parts(val, 0)
    return d.x_train[rows][:, 0], d.x_train[held][:, 0], d.x_test[:, 0]


def refuses(match, path, options="", help="", **settings):
    with pytest.raises(UserError, match=match) as error:
        load(path, options, **settings)
    assert help in error.value.help


@pytest.mark.parametrize("stride", [1, 3, 8, 50])
def test_windows_are_steps_that_follow_each_other_with_the_stride_between_them(stride):
    x = steps(30).astype(np.float32)
    windows = windows_of([Recording(x, None, "")], 8, stride)
    assert np.array_equal(windows, [x[i : i + 8].T for i in range(0, 23, stride)])


def test_the_label_of_a_window_is_the_one_that_most_of_its_steps_have():
    y = np.array(["b", "a", "a", "a", "b", "b", "b", "b"])
    labels = labels_of([Recording(steps(8).astype(np.float32), y, "")], 4, 1, True)
    assert labels.tolist() == ["a", "a", "a", "b", "b"]  # of two that tie the one that sorts first
    means = labels_of([Recording(steps(8).astype(np.float32), np.arange(8.0), "")], 4, 2, False)
    assert means.tolist() == [1.5, 3.5, 5.5]


def test_the_window_is_as_long_as_the_input_and_without_a_stride_none_overlap(tmp_path):
    d = load(subjects(tmp_path / "d.csv"))
    assert d.input_type == TAKES and d.classes == NAMES
    every = np.concatenate([d.x_train, d.x_test])
    assert sorted(every[:, 0, 0].tolist()) == list(range(0, 720, 8)) and np.array_equal(every[:, 1], -every[:, 0])
    assert (np.diff(every[:, 0], axis=1) == 1).all()
    y = np.concatenate([d.y_train, d.y_test])
    assert all(y[i] == start // 40 % 3 for i, start in enumerate(every[:, 0, 0]))
    assert len(load(subjects(tmp_path / "d.csv"), "stride=4").x_train) > 1.8 * len(d.x_train)


@pytest.mark.parametrize("stride", [1, 2, 8])
def test_whole_subjects_are_test_and_validation_part_and_no_window_is_of_two(tmp_path, stride):
    parts = of_parts(load(subjects(tmp_path / "d.csv"), f"stride={stride}"))
    of = [set((steps // 120).ravel().tolist()) for steps in parts]
    assert set.union(*of) == set(range(6)) and sum(map(len, of)) == 6 and min(map(len, of)) >= 1
    assert all((steps[:, 0] // 120 == steps[:, -1] // 120).all() for steps in parts)


@pytest.mark.parametrize("header", ["a,b,label", ""])
@pytest.mark.parametrize("stride", [1, 2, 8])
def test_one_recording_is_cut_into_pieces_that_have_no_step_in_common(tmp_path, stride, header):
    rows = [(*x, NAMES[i // 50 % 3]) for i, x in enumerate(steps(600).tolist())]
    d = load(write(tmp_path / "d.csv", rows, header), f"stride={stride}")
    learned, held, tested = (set(steps.ravel().tolist()) for steps in of_parts(d))
    assert learned and held and tested
    assert not learned & held and not learned & tested and not held & tested
    assert any("is one recording: cut into 20 pieces, test" in note for note in d.notes)
    assert set(d.y_train) == set(d.y_test) == {0, 1, 2}


def test_pieces_are_of_about_one_size_and_long_enough():
    for count in (3, 16, 17, 100, 1000):
        pieces = in_pieces([Recording(steps(count), np.arange(count), "")], 8)
        assert np.array_equal(np.concatenate([piece.x for piece in pieces]), steps(count))
        sizes = [len(piece.x) for piece in pieces]
        assert max(sizes) - min(sizes) <= 1 and (len(pieces) == 1 or min(sizes) >= 16) and len(pieces) <= 20
        assert len({piece.unit for piece in pieces}) == len(pieces)


def test_the_same_file_is_split_alike_and_a_run_knows_if_it_is_not(tmp_path):
    path = subjects(tmp_path / "d.csv")
    one, same, other = (load(path, f"stride={stride}") for stride in (4, 4, 8))
    assert one.digest() == same.digest() != other.digest()
    assert np.array_equal(one.x_test, same.x_test)
    assert len(load(path, limit=7).x_train) == 7 == len(load(path, limit=7).units)


@pytest.mark.parametrize(
    "header, options",
    [
        ("a,b,subject,label", ""),
        ("a,b,Session,Class", ""),
        ("a,b,who,what", "label=what group=who"),
        ("a,b,the one,what it is", 'label="what it is" group="the one"'),
    ],
)
def test_columns_of_labels_and_groups_are_known_by_their_names_or_named(tmp_path, header, options):
    path = subjects(tmp_path / "d.csv")
    path.write_text(path.read_text().replace("a,b,subject,label", header))
    d = load(path, options)
    assert d.classes == NAMES and d.units is not None and len(set(d.units)) in (4, 5)


def test_a_column_of_time_is_no_channel(tmp_path):
    path = subjects(tmp_path / "d.csv")
    lines = path.read_text().splitlines()
    path.write_text("\n".join(["Time," + lines[0], *(f"2026-11-{i},{line}" for i, line in enumerate(lines[1:]))]))
    d = load(path)
    assert d.input_shape == (2, 8) and d.notes[0].startswith("not used of")
    assert d.notes[0].endswith(": `Time`, no channel by the name")


def test_without_a_column_of_time_nothing_is_said_to_be_left_out(tmp_path):
    rows = [(i, -i, "s", NAMES[i // 40 % 3]) for i in range(480)]
    notes = load(write(tmp_path / "d.csv", rows, "a,b,subject,activity")).notes
    assert any("its last column, `activity`" in note for note in notes)
    assert not any("not used" in note for note in notes)


def test_a_row_with_as_many_numbers_as_the_input_is_a_sample(tmp_path):
    rows = [(*range(i, i + 8), NAMES[i % 3]) for i in range(30)]
    for header in ("", ",".join("abcdefgh") + ",label"):
        d = load(write(tmp_path / "d.csv", rows, header), takes=map_of(1, 8))
        assert d.input_shape == (1, 8) and d.units is None and len(d.x_train) + len(d.x_test) == 30
        assert (d.x_train[:, 0, 0] % 3 == d.y_train).all()


def test_a_class_for_each_step_and_numbers_and_no_targets_are_learned(tmp_path):
    path = subjects(tmp_path / "d.csv")
    d = load(path, "stride=3", made=map_of(3, 8))
    assert d.has_masks and d.classes == NAMES and np.array_equal(d.y_train, d.x_train[:, 0] // 40 % 3)
    rows = [(a, b, f"s{a // 100}", a / 8) for a, b in steps(600).tolist()]
    d = load(write(tmp_path / "n.csv", rows), made=vector(1), loss="mse")
    assert np.array_equal(d.y_train[:, 0], d.x_train[:, 0].mean(axis=1) / 8)
    d = load(write(tmp_path / "n.csv", rows), made=map_of(1, 8), loss="mse")
    assert np.array_equal(d.y_train, d.x_train[:, :1] / 8)
    d = load(write(tmp_path / "a.csv", [row[:2] for row in rows], "a,b"), made=TAKES, loss="mse")
    assert np.array_equal(d.y_train, d.x_train) and not d.classes


def test_a_folder_has_a_table_for_each_recording_in_class_folders_or_with_labels(tmp_path):
    for k, name in enumerate(NAMES):
        for i in range(4):
            write(tmp_path / "of" / name / f"{i}.csv", steps(40, 1000 * (4 * k + i)).tolist(), "a,b")
    d = load(tmp_path / "of", "stride=2")
    assert d.classes == NAMES and (d.x_train[:, 0, 0] // 4000 == d.y_train).all()
    of = [set((steps // 1000).ravel().tolist()) for steps in of_parts(d)]
    assert sum(map(len, of)) == 12 and set(d.y_test) == {0, 1, 2}
    for i in range(6):
        rows = [(*x, NAMES[j // 20 % 3]) for j, x in enumerate(steps(60, 1000 * i).tolist())]
        write(tmp_path / "with" / f"{i}.csv", rows, "a,b,label")
        write(tmp_path / "parts" / ("train", "val", "test")[i % 3] / f"{i}.csv", rows, "a,b,label")
    of = [set((steps // 1000).ravel().tolist()) for steps in of_parts(load(tmp_path / "with"))]
    assert sum(map(len, of)) == 6 and min(map(len, of)) >= 1
    of = [set((steps // 1000).ravel().tolist()) for steps in of_parts(load(tmp_path / "parts"))]
    assert of == [{0, 3}, {1, 4}, {2, 5}]


def test_too_few_recordings_of_a_class_are_cut_into_pieces(tmp_path):
    for k, name in enumerate(NAMES):
        for i in range(2):
            write(tmp_path / name / f"{i}.csv", steps(100, 1000 * (2 * k + i)).tolist(), "a,b")
    d = load(tmp_path, "stride=1")
    assert any("6 recordings of .* are too few" in n or "are too few to keep whole ones apart" in n for n in d.notes)
    learned, held, tested = (set(steps.ravel().tolist()) for steps in of_parts(d))
    assert not learned & held and not learned & tested and not held & tested
    assert set(d.y_train) == set(d.y_test) == {0, 1, 2}


def test_what_is_no_table_of_signals_is_refused_with_its_place(tmp_path):
    path = subjects(tmp_path / "d.csv")
    text = path.read_text()
    other = "begin the spec with `input 2x8 map`"
    refuses(
        "has 2 columns of numbers beside its labels and groups, but the network takes 5x8: 5 ch",
        path,
        "",
        other,
        takes=map_of(5, 8),
    )
    refuses("has no column `activity`", path, "label=activity", "it has `a`, `b`, `subject`, `label`")
    refuses("has no column `who`", path, "group=who")
    refuses("no recording of .* has 800 rows, as the input takes; the longest has 120", path, takes=map_of(2, 800))
    lines = text.splitlines()
    for line, match in (
        ("1,2,s0", "line 5 of .* has 3 cells, expected 4"),
        ("1,x,s0,run", "line 5, column `b` of .* is `x`, expected a number"),
        ("nan,2,s0,run", "line 5, column `a` of .* is missing"),
        ("inf,2,s0,run", "line 5, column `a` of .* is `inf`, expected a number"),
        ("1,2,s0,", "line 5, column `label` of .* is missing"),
    ):
        path.write_text("\n".join([*lines[:4], line, *lines[5:]]))
        refuses(match, path)
    path.write_text("")
    refuses("has one column", path)
    path.write_bytes(b"a,b,label\n\xff\xfe1,2,3\n")
    refuses("is not UTF-8", path)
    refuses(
        "has no column of labels, which the loss `ce` needs",
        write(path, steps(600).tolist(), "a,b"),
        "",
        "add a column `label`",
    )
    refuses(
        "is one recording of 30 rows, too short", write(path, [(*x, "run") for x in steps(30).tolist()], "a,b,label")
    )


def test_folders_that_hold_no_or_two_kinds_of_recordings_are_refused(tmp_path):
    refuses("has 0 class folders", tmp_path)
    subjects(tmp_path / "d.csv")
    (tmp_path / "a.wav").write_bytes(b"")
    refuses("has recordings in .wav files and in tables", tmp_path)
    (tmp_path / "d.csv").unlink()
    (tmp_path / "a.wav").rename(tmp_path / "a.png")
    refuses("has images, but the network takes signals of 2x8", tmp_path)


def test_windows_that_take_too_much_memory_are_refused_before_they_do(tmp_path, monkeypatch):
    monkeypatch.setattr(signal_tables, "MAX_BYTES", 10_000)
    refuses(
        "the 678 windows of .* take 43392 bytes, the limit is 10000",
        subjects(tmp_path / "d.csv"),
        "stride=1",
        "larger `stride`",
    )


def test_prediction_needs_no_labels_and_says_the_row_that_a_window_begins_with(tmp_path):
    path = subjects(tmp_path / "d.csv", 2, 15)
    x, rows, notes = read_samples(path, Wanted(TAKES, options={"stride": 5}))
    assert rows == [*range(0, 38, 5), *range(45, 83, 5)] and x[:, 0, 0].tolist() == rows and not notes
    write(path, steps(20).tolist(), "a,b")
    x, rows, notes = read_samples(path, Wanted(TAKES, options={"label": "activity", "group": "who"}))
    assert rows == [0, 8] and x.shape == (2, 2, 8)
    write(path, steps(8).T.tolist(), "")
    assert read_samples(path, Wanted(map_of(1, 8)))[0].shape == (2, 1, 8)


def test_options_that_the_data_have_no_use_for_are_said_and_unknown_ones_refused(tmp_path):
    path = subjects(tmp_path / "d.csv")
    assert "tables of signals have no use for `rate`: not used" in load(path, "rate=50").notes
    np.savez(tmp_path / "d.npz", x=np.zeros((9, 2, 8)), y=np.arange(9) % 3)
    assert load(tmp_path / "d.npz", "stride=3 label=b").notes == ("arrays have no use for `stride`, `label`: not used",)
    with pytest.raises(UserError, match="data have no option `strid`") as error:
        load_dataset(f"{path} strid=4", None)
    assert "`stride`" in error.value.help
    (tmp_path / "a.wav").write_bytes(b"")
    with pytest.raises(UserError, match="cannot use .*a.wav` as data") as error:
        load_dataset(str(tmp_path / "a.wav"), None)
    assert "a folder for each class" in error.value.help
