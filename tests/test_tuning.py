"""What is measured once: the answers, their file, and what they change."""

import json

import pytest

import netdsl
from netdsl.tuning import cache_file, tune

SPEC = "input 8x14x14\nconv 16 k3 p1 -> relu -> pool 2\nconv 16 k5 p2 -> relu\nflatten -> linear 10\n"


@pytest.fixture
def net():
    return netdsl.compile_text(SPEC)


def test_answers_are_kept_and_read_again(net, tmp_path):
    file = tmp_path / "deep" / "tuning.json"
    first = tune(net.graph, net.recipe, 4, file)
    assert first and {way.split("(")[0] for way in first.values()} <= {"BilinearConv", "WinogradRows", "PatchConv"}
    (answers,) = json.loads(file.read_text()).values()
    changed = dict.fromkeys(answers, "PatchConv((8, 14, 14), 16, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))")
    file.write_text(json.dumps(dict.fromkeys(json.loads(file.read_text()), changed)))
    assert set(tune(net.graph, net.recipe, 4, file).values()) == set(changed.values())


def test_a_damaged_file_is_made_anew(net, tmp_path):
    for text in ("{", "[]", '{"a": 3}', "\x00"):
        file = tmp_path / "tuning.json"
        file.write_text(text)
        assert tune(net.graph, net.recipe, 2, file)
        assert json.loads(file.read_text())


def test_a_folder_that_cannot_be_written_to_is_no_error(net, tmp_path):
    (tmp_path / "file").write_text("")
    assert tune(net.graph, net.recipe, 2, tmp_path / "file" / "tuning.json")


def test_the_users_cache_is_the_default(monkeypatch, tmp_path):
    monkeypatch.setenv("NETDSL_CACHE_DIR", str(tmp_path))
    assert cache_file() == tmp_path / "netdsl" / "tuning.json"


def test_choices_change_the_module_and_only_by_rounding(net):
    import numpy as np

    plain = net.numpy_source(2)
    choices = {question: question.rsplit(" or ", 1)[1] for question in tune(net.graph, net.recipe, 2)}
    other = net.with_choices(choices)
    assert other.numpy_source(2) != plain
    x = np.random.default_rng(0).standard_normal((3, 8, 14, 14))
    outputs = [n.numpy_model(dtype="float64", level=2, workers=1).forward(x) for n in (net, other)]
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-9, atol=1e-9 * abs(outputs[0]).max())
    assert "Conv" in other.numpy_source(2)


def test_unknown_answers_are_left_alone(net):
    text = net.with_choices({"nonsense": "NoConv"}).numpy_source(2)
    assert text == net.numpy_source(2)
