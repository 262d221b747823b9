"""Signals (C, L) and volumes (C, D, H, W) as arrays: their axes, their labels, and each channel's mean and std."""

import numpy as np
import pytest

from netdsl.graph.recipe import Recipe
from netdsl.graph.types import map_of, tokens, vector
from netdsl.ground.diagnostics import UserError
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.wanted import Wanted, wanted_by

RNG = np.random.default_rng(0)
SIGNALS = RNG.normal(size=(40, 3, 16)) * np.array([1, 5, 0.1])[:, None] + np.array([0, 2, -1])[:, None]
SIGNALS = SIGNALS.astype(np.float32)
VOLUMES = RNG.normal(size=(20, 2, 4, 5, 6)).astype(np.float32)
TWO = vector(2)
LABELS = np.arange(40) % 2


@pytest.fixture
def load(tmp_path):
    """load(takes, made, loss="ce", x=..., y=...) -> the data set of a .npz of these arrays, for such a network."""

    def loaded(takes, made=TWO, loss="ce", val=0.1, **arrays):
        np.savez(tmp_path / "d.npz", **arrays)
        want = wanted_by(Recipe(loss=loss, val=val), takes, made)
        return load_dataset(str(tmp_path / "d.npz"), None, want=want)

    return loaded


def rows_of(d, x):
    """Where each training sample of the data set stands in x (N, ...)."""
    return [int(np.flatnonzero((x == row).reshape(len(x), -1).all(axis=1))[0]) for row in d.x_train]


def test_signals_and_volumes_are_what_the_network_takes(load):
    d = load(map_of(3, 16), x=SIGNALS, y=LABELS)
    assert d.input_type == map_of(3, 16) and not d.notes
    assert load(tokens(3, 16), x=SIGNALS, y=LABELS).input_type == tokens(3, 16)
    assert load(map_of(2, 4, 5, 6), x=VOLUMES, y=LABELS[:20]).input_type == map_of(2, 4, 5, 6)


def test_each_channel_has_the_mean_and_std_of_the_samples_that_are_learned_from(load):
    for takes, x in ((map_of(3, 16), SIGNALS), (map_of(2, 4, 5, 6), VOLUMES)):
        d = load(takes, x=x, y=LABELS[: len(x)], val=0.25)
        rows, held = d.parts(0.25, 0)
        assert len(held) and len(d.mean) == takes.channels
        learned = d.x_train[rows].astype(np.float64).swapaxes(0, 1).reshape(takes.channels, -1)
        np.testing.assert_allclose(d.mean, learned.mean(axis=1), rtol=1e-9)  # sums in another order
        np.testing.assert_allclose(d.std, learned.std(axis=1), rtol=1e-9)
        assert not np.allclose(d.mean, x.swapaxes(0, 1).reshape(takes.channels, -1).mean(axis=1), rtol=1e-6)
    assert len(load(tokens(3, 16), x=SIGNALS, y=LABELS).mean) == 1


def test_channels_that_stand_last_are_moved_where_the_network_makes_it_certain(load):
    d = load(map_of(3, 16), x=SIGNALS.transpose(0, 2, 1), y=LABELS)
    assert d.notes[0].endswith("are 16x3, channels last: read as 3x16")
    assert np.array_equal(d.x_train, SIGNALS[rows_of(d, SIGNALS)])
    d = load(map_of(2, 4, 5, 6), x=np.moveaxis(VOLUMES, 1, -1), y=LABELS[:20])
    assert d.notes[0].endswith("are 4x5x6x2, channels last: read as 2x4x5x6")
    assert np.array_equal(d.x_train, VOLUMES[rows_of(d, VOLUMES)])
    d = load(map_of(16, 16), x=np.tile(SIGNALS[:, :1], (1, 16, 1)), y=LABELS)  # as many channels as steps
    assert not d.notes


def test_signals_of_other_channels_that_stand_last_are_explained(load):
    with pytest.raises(UserError, match=r"the signals `x` of .* are 16x3 float32, expected C x L") as error:
        load(map_of(9, 16), x=SIGNALS.transpose(0, 2, 1), y=LABELS)
    assert error.value.help == "use x.transpose(0, 2, 1), and begin the spec with `input 3x16 map`"


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int16])
def test_one_channel_may_be_left_out(load, dtype):
    signals = (SIGNALS[:, 0] * 20 + 100).astype(dtype)
    d = load(map_of(1, 16), x=signals, y=LABELS)
    assert d.input_shape == (1, 16) and np.array_equal(d.x_train[:, 0], signals[rows_of(d, signals[:, None])])
    assert d.notes[0].endswith("are 16: read as one channel, 1x16")
    volumes = (VOLUMES[:, 0] * 20 + 100).astype(dtype)
    d = load(map_of(1, 4, 5, 6), x=volumes, y=LABELS[:20])
    assert d.input_shape == (1, 4, 5, 6) and d.notes[0].endswith("are 4x5x6: read as one channel, 1x4x5x6")


def test_bytes_of_a_signal_are_no_grey_image(load):
    assert load(map_of(3, 16), x=SIGNALS.astype(np.uint8), y=LABELS).input_shape == (3, 16)
    with pytest.raises(UserError, match="are 16x3 uint8, expected C x L"):
        load(map_of(5, 16), x=SIGNALS.astype(np.uint8).transpose(0, 2, 1), y=LABELS)


def test_channels_in_a_line_are_told_apart_by_the_reader_alone(load):
    with pytest.raises(UserError, match="has 48 numbers a sample, but the network takes 3x16") as error:
        load(map_of(3, 16), x=SIGNALS.reshape(40, 48), y=LABELS)
    first, last = "x.reshape(-1, 3, 16) where channels stand first", "x.reshape(-1, 16, 3).transpose(0, 2, 1) where"
    assert first in error.value.help and last in error.value.help
    with pytest.raises(UserError) as error:
        load(map_of(2, 4, 5, 6), x=VOLUMES.reshape(20, -1), y=LABELS[:20])
    assert "x.reshape(-1, 4, 5, 6, 2).transpose(0, 4, 1, 2, 3)" in error.value.help


@pytest.mark.parametrize(
    "takes, made, x", [(map_of(3, 16), map_of(4, 16), SIGNALS), (map_of(2, 4, 5, 6), map_of(4, 4, 5, 6), VOLUMES)]
)
def test_a_class_for_each_place_is_read_as_numbers_as_a_channel_and_as_one_hot(load, takes, made, x):
    masks = RNG.integers(0, 4, (len(x), *takes.space))
    for y in (
        masks,
        masks[:, None],
        masks[..., None],
        np.moveaxis(np.eye(4, dtype=int)[masks], -1, 1),
        np.eye(4, dtype=int)[masks],
    ):
        d = load(takes, made, x=x, y=y)
        assert d.has_masks and d.classes == tuple("0123") and d.target_space == takes.space
        assert np.array_equal(d.y_train, masks[rows_of(d, x)])


def test_a_class_for_each_step_under_bce_is_0_or_1_and_numbers_under_mse(load):
    steps = RNG.integers(0, 2, (40, 16))
    d = load(map_of(3, 16), map_of(1, 16), "bce", x=SIGNALS, y=steps)
    assert d.has_masks and d.classes == ("0", "1")
    d = load(map_of(3, 16), map_of(1, 16), "mse", x=SIGNALS, y=steps)
    assert d.y_train.shape[1:] == (1, 16) and not d.classes and d.target_space == (16,)
    d = load(map_of(3, 16), vector(16), "mse", x=SIGNALS, y=steps.astype(np.float32))
    assert d.target_space == ()  # numbers of a sample, not of its steps


def test_labels_of_a_signal_that_nobody_means_are_refused(load):
    with pytest.raises(UserError, match=r"have the shape \(40, 5, 5, 5\), expected \(40,\), or masks \(N, L\)"):
        load(map_of(3, 16), map_of(4, 16), x=SIGNALS, y=np.zeros((40, 5, 5, 5), int))
    with pytest.raises(UserError, match="1 of 1920 values of `x` in .* are NaN"):
        load(map_of(3, 16), x=np.where(np.arange(1920).reshape(40, 3, 16) == 7, np.nan, SIGNALS), y=LABELS)


def test_built_in_data_are_what_the_network_takes():
    assert load_dataset("spiral", None, limit=5, want=Wanted(vector(2))).input_type == vector(2)
    assert load_dataset("mnist-mini", None, limit=5).input_type == map_of(1, 28, 28)


def test_samples_of_other_sizes_than_the_input_are_refused_with_the_input_to_write(load):
    from netdsl.pipeline import compile_text
    from netdsl.training.scores.evaluation import check_fits

    net = compile_text("input 3x20 map\nflatten -> linear 2")
    for x, written in ((SIGNALS, "3x16 map"), (VOLUMES, "2x4x5x6"), (VOLUMES[..., None, None], "2x4x5x6x1x1")):
        data = load(map_of(3, 20), x=x, y=LABELS[: len(x)])
        with pytest.raises(UserError, match="but `net` takes 3x20") as error:
            check_fits(net, data)
        assert error.value.help == f"begin the spec with `input {written}` or choose other data"
