"""Samples that are read when they are asked for: they are what an array of them would be."""

import threading

import numpy as np
import pytest

from netdsl.graph.recipe import Recipe
from netdsl.ground.diagnostics import UserError
from netdsl.training.data import stored
from netdsl.training.data.dataset import Dataset, statistics
from netdsl.training.data.feed import AHEAD, Feed
from netdsl.training.data.stored import Stored, chosen, each, first, in_batches, joined, marks, pieces, spaced

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (23, 2, 5, 4)).astype(np.uint8)
LABELS = np.arange(23) % 3


class Kept(Stored):
    """An array that is read as if it lay elsewhere; counts what is read, and by which threads."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.asked, self.threads = [], set()

    def read(self, rows):
        self.asked.append(rows)
        self.threads.add(threading.current_thread().name)
        return self.array[rows]

    def marks(self):
        yield self.array.tobytes()


def data(x, y=LABELS, **more):
    return Dataset("made", x, y, x, y, ("0", "1", "2"), (0.5,), (0.25,), **more)


@pytest.mark.parametrize(
    "key", [0, 7, -1, np.int64(3), slice(None), slice(2, 9), slice(9, 2, -3), [1, 1, 0], np.array([22, -23, 5]), []]
)
def test_rows_are_those_of_the_array(key):
    np.testing.assert_array_equal(Kept(IMAGES)[key], IMAGES[np.array(key, int) if isinstance(key, list) else key])


@pytest.mark.parametrize("key", [23, -24, [0, 23], [-24]])
def test_a_row_that_is_not_there_is_an_index_error(key):
    with pytest.raises(IndexError):
        Kept(IMAGES)[key]


def test_what_is_made_of_stored_samples_is_what_is_made_of_the_array():
    order, kept = RNG.permutation(23), Kept(IMAGES)
    made = first(joined([chosen(kept, order), each(kept, lambda b: b[:, ::-1]), IMAGES]), 60)
    expected = np.concatenate([IMAGES[order], IMAGES[:, ::-1], IMAGES])[:60]
    assert (made.shape, made.dtype, len(made), made.ndim, made.size) == ((60, 2, 5, 4), np.uint8, 60, 4, 2400)
    np.testing.assert_array_equal(np.asarray(made), expected)
    rows = RNG.integers(0, 60, 40)
    np.testing.assert_array_equal(made[rows], expected[rows])


def test_a_change_says_what_shape_and_dtype_it_gives_without_a_sample():
    kept = Kept(IMAGES)
    halves = each(kept, lambda b: b.reshape(len(b), 40).astype(np.float32) / 2)
    assert (halves.shape, halves.dtype, kept.asked) == ((23, 40), np.float32, [])


def test_nothing_is_read_before_it_is_asked_for():
    kept = Kept(IMAGES)
    first(chosen(kept, np.arange(9)), 3)
    assert kept.asked == []


def test_all_samples_at_once_are_refused_beyond_the_limit(monkeypatch):
    monkeypatch.setattr(stored, "MAX_BYTES", IMAGES.nbytes)
    assert np.asarray(Kept(IMAGES)).nbytes == IMAGES.nbytes
    monkeypatch.setattr(stored, "MAX_BYTES", IMAGES.nbytes - 1)
    with pytest.raises(UserError, match="all samples together take 920 bytes, the limit is 919"):
        np.asarray(Kept(IMAGES))


def test_pieces_are_bounded_and_all_of_it():
    both = [list(pieces(x, 100)) for x in (IMAGES, Kept(IMAGES))]
    for taken in both:
        assert {len(piece) for piece in taken} == {2, 1}
        np.testing.assert_array_equal(np.concatenate(taken), IMAGES)


def test_the_marks_of_an_array_are_its_bytes_in_whatever_pieces(monkeypatch):
    moved = IMAGES.transpose(0, 2, 3, 1)
    monkeypatch.setattr(stored, "PIECE", 100)
    assert b"".join(marks(moved)) == moved.tobytes()


@pytest.mark.parametrize("count, most", [(5, 9), (9, 9), (10, 3), (1000, 7), (3, 0)])
def test_spaced_numbers_are_different_and_ascending(count, most):
    rows = spaced(count, most)
    assert len(rows) == min(count, max(1, most)) and rows[0] == 0 and rows[-1] < count and (np.diff(rows) > 0).all()


# statistics


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_statistics_are_the_same_numbers_however_the_samples_are_kept_and_ordered(dtype):
    x = IMAGES.astype(dtype)
    rows = RNG.permutation(23)[:20]
    expected = statistics(x, rows)
    assert statistics(Kept(x), rows) == statistics(x, np.sort(rows)) == expected
    values = x[rows].astype(np.float64) / (255 if dtype == np.uint8 else 1)
    np.testing.assert_allclose(expected[0], values.mean((0, 2, 3)), rtol=1e-14)  # sums of 400 float64
    np.testing.assert_allclose(expected[1], values.std((0, 2, 3)), rtol=1e-14)


def test_statistics_of_bytes_read_each_sample_once_and_those_of_constants_are_exact():
    kept = Kept(np.full((40, 3, 8, 8), 51, np.uint8))
    assert statistics(kept) == ((0.2,) * 3, (1.0,) * 3)
    assert np.concatenate(kept.asked).tolist() == [*range(40)]


def test_statistics_of_more_bytes_than_the_limit_are_those_of_evenly_spaced_samples(monkeypatch):
    monkeypatch.setattr("netdsl.training.data.dataset.MAX_MEASURED", 200)
    kept = Kept(IMAGES)
    assert statistics(kept) == statistics(IMAGES[[0, 4, 9, 13, 18]])
    assert np.concatenate(kept.asked).tolist() == [0, 4, 9, 13, 18]


# batches


@pytest.mark.parametrize("augment", [{}, {"flip": True, "shift": 1}])
def test_batches_of_stored_samples_are_made_ahead_and_are_the_same(augment):
    recipe = Recipe(val=0.2, batch=4, augment=augment)
    kept = Kept(IMAGES)
    for batch, expected in zip(Feed(data(kept), recipe).epoch(3), Feed(data(IMAGES), recipe).epoch(3), strict=True):
        assert batch.step == expected.step
        for name in ("rows", "x", "y"):
            np.testing.assert_array_equal(getattr(batch, name), getattr(expected, name))
    assert all(name.startswith("netdsl-feed") for name in kept.threads)


def test_so_many_batches_are_read_ahead_and_no_more_after_the_epoch_is_left():
    kept = Kept(IMAGES)
    epoch = Feed(data(kept), Recipe(val=0.0, batch=2)).epoch(1)
    next(epoch), epoch.close()
    assert 1 <= len(kept.asked) <= 1 + AHEAD


@pytest.mark.parametrize("size", [1, 4, 11, 12, 22, 23, 99])
def test_batches_in_order_are_those_of_the_array_and_the_first_is_read_by_who_asks(size):
    kept = Kept(IMAGES)
    for one, other in zip(in_batches(kept, size), in_batches(IMAGES, size), strict=True):
        np.testing.assert_array_equal(one, other)
    names = [name.rpartition("_")[0] for name in sorted(kept.threads)]
    assert names == ["", "netdsl-read"][: 1 + (size < 23)]


def test_no_batch_is_read_ahead_before_the_first_is_worked_with_and_no_thread_stays():
    kept = Kept(IMAGES)
    parts = in_batches(kept, 5)
    next(parts)
    assert len(kept.asked) == 1 and threading.active_count() == 1
    next(parts)
    parts.close()
    assert 2 <= len(kept.asked) <= 3 and threading.active_count() == 1


def test_what_goes_wrong_on_reading_ahead_is_said_by_the_step_that_needs_it():
    class Broken(Kept):
        def read(self, rows):
            if 5 in rows:
                raise UserError("row 5 is gone")
            return super().read(rows)

    feed = Feed(data(Broken(IMAGES)), Recipe(val=0.0, batch=2))
    at = next(step for step, rows in enumerate(feed._pieces(1)) if 5 in rows)
    made = []
    with pytest.raises(UserError, match="row 5 is gone"):
        made.extend(feed.epoch(1))
    assert len(made) == at
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("netdsl-feed")]
