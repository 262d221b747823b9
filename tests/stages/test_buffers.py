"""The memory of one worker: learned first, then one piece for all."""

import numpy as np

from netdsl.stages.buffers import Buffers

SHAPES = [
    ("a", (3, 5), None),
    ("b", (40, 7), None),
    ("a", (4, 4), None),
    ("c", (9,), np.uint8),
    ("d", (0, 3), np.float64),
]


def arrays_of(buffers):
    return [buffers.array(key, shape, dtype) for key, shape, dtype in SHAPES]


def test_arrays_of_one_key_share_memory_and_others_do_not():
    buffers = Buffers(np.float32)
    arrays_of(buffers)
    buffers.settle()
    first, second, other, small, none = arrays_of(buffers)
    assert [array.shape for array in (first, second, other, small, none)] == [shape for _, shape, _ in SHAPES]
    assert (first.dtype, small.dtype, none.dtype) == (np.float32, np.uint8, np.float64)
    assert np.shares_memory(first, other)
    assert not any(np.shares_memory(one, second) for one in (first, other, small))
    assert not np.shares_memory(first, small)
    assert all(array.ctypes.data % 64 == 0 for array in (first, second, small))


def test_sizes_are_learned_in_memory_of_no_more_than_twice_the_largest():
    buffers = Buffers(np.float32)
    trials = [buffers.array(number, (size,)) for number, size in enumerate((10, 1000, 300, 900, 1100))]
    assert all(np.shares_memory(trials[1], other) for other in trials[2:])
    assert max(trial.base.nbytes for trial in trials) == 2 * 1000 * 4
    buffers.settle()
    assert buffers.trial.nbytes == 0
