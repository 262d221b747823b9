"""The rows of a vocabulary at -O2: small and large tables, few and many numbers, tied or not, one worker and more."""

import numpy as np
import pytest
from fast_twins import KINDS, assert_twins

from netdsl.pipeline import compile_text
from netdsl.stages.embed import Embed

TIED = "input 7 of {limit}\nwords: embed {features} -> pos -> ln -> res {{ linear {features} }}\nunembed @words"


@pytest.mark.parametrize("limit", [1, 2, 65, 513, 3000])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_tied_and_untied_rows_are_those_of_the_textbook(limit, workers):
    assert_twins(TIED.format(limit=limit, features=4), workers=workers, block=2)
    assert_twins(f"input 7 of {limit}\nembed 3 -> linear 5 -> take 6", workers=workers, block=2)


def test_rows_of_a_large_table_are_gathered(monkeypatch):
    monkeypatch.setattr(Embed, "small", 100)
    assert_twins(TIED.format(limit=600, features=4), workers=2, block=2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_a_user_writes_is_read(kind):
    net = compile_text("input 3 of 5\nembed 4 -> flatten -> linear 2")
    model, x = net.numpy_model(level=2, workers=2, kind=kind), np.array([[0, 1, 4], [3, 3, 2], [1, 1, 1]])
    before = model.logits(x)
    model.params["embed1.weight"][1] += 1
    after = model.logits(x)
    slow = net.numpy_model()
    for name, array in slow.params.items():
        array[...] = model.params[name]
    np.testing.assert_allclose(after, slow.logits(x), rtol=1e-5, atol=1e-6)
    assert (before[1] == after[1]).all() and (before[[0, 2]] != after[[0, 2]]).any(axis=1).all()
    model.close()


def test_a_fast_network_refuses_what_is_no_id():
    model = compile_text("input 3 of 5\nembed 4 -> flatten -> linear 2").numpy_model(level=2, workers=1)
    for x, message in ((np.zeros((2, 3)), "whole numbers"), (np.full((2, 3), 5), "from 0 to 4, these are 5 to 5")):
        with pytest.raises(ValueError, match=message):
            model.logits(x)
    model.close()
