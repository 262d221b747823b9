"""Checkpoints come back as they went; what does not fit is refused before anything is changed."""

import json
import os
import re
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.numpy

from netdsl.ground.diagnostics import UserError
from netdsl.training.runs.checkpoint import load_checkpoint, save_checkpoint


def model(seed=0, **shapes):
    rng = np.random.default_rng(seed)
    shapes = shapes or {"a.weight": (3, 2), "a.bias": (3,), "s.value": ()}
    params = {name: np.array(rng.normal(size=shape), np.float32) for name, shape in shapes.items()}
    return SimpleNamespace(params=params, buffers={"b.running_mean": rng.normal(size=4).astype(np.float32)})


def save(path, m, info=None):
    save_checkpoint(path, {**m.params, **m.buffers}, info or {})
    return path


def test_arrays_and_info_come_back_in_place(tmp_path):
    first, second = model(0), model(1)
    held = second.params["a.weight"]
    path = save(tmp_path / "c.safetensors", first, {"epoch": 3, "val_loss": 0.5})
    assert load_checkpoint(path, second) == {"epoch": 3, "val_loss": 0.5}
    assert second.params["a.weight"] is held
    for name, array in {**first.params, **first.buffers}.items():
        assert np.array_equal(array, {**second.params, **second.buffers}[name]), name


def test_the_same_content_gives_the_same_bytes(tmp_path):
    info = {"epoch": 1, "b": 2, "a": 3}
    one = save(tmp_path / "1", model(), info).read_bytes()
    assert one == save(tmp_path / "2", model(), dict(reversed(info.items()))).read_bytes()


def test_arrays_that_are_views_are_saved_by_value(tmp_path):
    m, other = model(w=(4, 6)), model(1, w=(4, 6))
    m.params["w"] = np.arange(24, dtype=np.float32).reshape(6, 4).T
    load_checkpoint(save(tmp_path / "c", m), other)
    assert np.array_equal(other.params["w"], m.params["w"])


def test_the_metadata_is_one_key_of_json(tmp_path):
    raw = save(tmp_path / "c", model(), {"epoch": 1}).read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert list(header["__metadata__"]) == ["netdsl"]
    assert re.fullmatch(r'{"epoch": 1, "sha256": "[0-9a-f]{64}"}', header["__metadata__"]["netdsl"])


def test_missing_extra_and_different_arrays_are_all_listed_and_nothing_is_copied(tmp_path):
    path = save(tmp_path / "c", model(0, w=(3, 2), old=(1,)))
    other = model(1, w=(2, 3), new=(1,))
    before = {name: array.copy() for name, array in {**other.params, **other.buffers}.items()}
    with pytest.raises(UserError) as caught:
        load_checkpoint(path, other)
    for part in ("it has no `new`", "it has also `old`", "`w` (3x2 float32, expected 2x3 float32)"):
        assert part in caught.value.message
    assert all(np.array_equal(before[n], a) for n, a in {**other.params, **other.buffers}.items())


def test_another_dtype_is_refused(tmp_path):
    m = model(w=(2,))
    m.params["w"] = m.params["w"].astype(np.float64)
    with pytest.raises(UserError, match="2 float64, expected 2 float32"):
        load_checkpoint(save(tmp_path / "c", m), model(w=(2,)))


def test_weights_that_are_no_numbers_are_refused_and_an_overflown_optimizer_is_not(tmp_path):
    m = model(w=(2,))
    infinite = {"netdsl.optimizer.v.w": np.full(2, np.inf, np.float32)}
    save_checkpoint(tmp_path / "c", {**m.params, **m.buffers, **infinite}, {})
    assert load_checkpoint(tmp_path / "c", model(w=(2,))) == {}
    m.params["w"][1] = np.nan
    with pytest.raises(UserError, match="`.*c` has numbers that are not finite in `w`"):
        load_checkpoint(save(tmp_path / "c", m), model(w=(2,)))


@pytest.mark.parametrize("text", ["[" * 9000 + "]" * 9000, "[1]", "null", '"x"', "{", "1e999", '{"sha256": 5}'])
def test_info_of_another_kind_is_one_line(tmp_path, text):
    m = model()
    (tmp_path / "c").write_bytes(safetensors.numpy.save({**m.params, **m.buffers}, {"netdsl": text}))
    with pytest.raises(UserError, match="is damaged"):
        load_checkpoint(tmp_path / "c", m)


def test_missing_cut_and_foreign_files_are_one_line(tmp_path):
    whole = save(tmp_path / "c", model()).read_bytes()
    for data in (b"", whole[:5], whole[:-7], b"\xff" * 200, whole + b"x", b"hello world, this is text"):
        (tmp_path / "bad").write_bytes(data)
        with pytest.raises(UserError) as caught:
            load_checkpoint(tmp_path / "bad", model())
        assert "\n" not in caught.value.message and "bad" in caught.value.message
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(UserError, match="cannot read"):
            load_checkpoint(path, model())


def test_every_single_flipped_byte_is_an_error_or_leaves_the_weights_right(tmp_path):
    whole = bytearray(save(tmp_path / "c", model(), {"epoch": 1}).read_bytes())
    for i in range(len(whole)):
        data = bytearray(whole)
        data[i] ^= 0x21
        (tmp_path / "bad").write_bytes(data)
        other, expected = model(1), model(0)
        try:
            load_checkpoint(tmp_path / "bad", other)
        except UserError as error:
            assert "\n" not in error.message
            expected = model(1)  # untouched
        assert all(np.array_equal(array, expected.params[name]) for name, array in other.params.items())


def test_a_failed_save_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = save(tmp_path / "c", model(0))
    old = path.read_bytes()

    def full(fd, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left") as caught:
        save(path, model(1))
    assert caught.value.filename == str(path)
    assert path.read_bytes() == old and os.listdir(tmp_path) == ["c"]
