"""What is measured once: the answers, their file, and what they change."""

import json
import os

import pytest

import netdsl
from netdsl.bench.tuning import cache_file, preferred, tune

SPEC = "input 8x14x14\nconv 16 k3 p1 -> relu -> pool 2\nconv 16 k5 p2 -> relu\nflatten -> linear 10\n"


@pytest.fixture
def net():
    return netdsl.compile_text(SPEC)


def test_answers_are_kept_and_read_again(net, tmp_path):
    file = tmp_path / "deep" / "tuning.json"
    first = tune(net.graph, net.recipe, 4, file)
    assert first and {way.split("(")[0] for way in first.values()} <= {
        "BilinearConv",
        "FourierConv",
        "WinogradRows",
        "PatchConv",
    }
    (answers,) = json.loads(file.read_text()).values()
    changed = {question: question.rsplit(" or ", 1)[1] for question in answers}
    assert changed != answers
    file.write_text(json.dumps(dict.fromkeys(json.loads(file.read_text()), changed)))
    assert set(tune(net.graph, net.recipe, 4, file).values()) == set(changed.values())


DAMAGED = [
    "{",
    "[]",
    '{"a": 3}',
    "\x00",
    "",
    "[" * 200_000,
    '{"a":' * 50_000,
    "null",
    "1e400",
    '"x"',
    "{}" * 9,
    "\ud800",
]


@pytest.mark.parametrize("text", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_file_is_made_anew(net, tmp_path, text):
    file = tmp_path / "tuning.json"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert tune(net.graph, net.recipe, 2, file)
    assert json.loads(file.read_text())


@pytest.mark.parametrize("answer", ["os.system('x')", "", "Conv" * 10_000, "\n", None, 3, True, [], {}, ["a"]], ids=str)
def test_an_answer_that_is_none_of_the_ways_is_measured_again(net, tmp_path, answer):
    file = tmp_path / "tuning.json"
    first = tune(net.graph, net.recipe, 2, file)
    (machine,) = json.loads(file.read_text())
    file.write_text(json.dumps({machine: dict.fromkeys(json.loads(file.read_text())[machine], answer)}))
    assert set(tune(net.graph, net.recipe, 2, file)) == set(first)
    kept = json.loads(file.read_text())[machine]
    assert all(kept[question] in question for question in kept)


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "huge"])
def test_what_is_no_file_of_answers_neither_stops_nor_hangs(net, tmp_path, kind):
    file = tmp_path / "tuning.json"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "device":
        file.symlink_to("/dev/zero")
    else:
        with open(file, "wb") as sparse:
            sparse.truncate(2**40)
    assert tune(net.graph, net.recipe, 2, file)
    assert kind == "huge" or not file.is_file()


def test_a_folder_that_cannot_be_written_to_is_no_error(net, tmp_path):
    (tmp_path / "file").write_text("")
    assert tune(net.graph, net.recipe, 2, tmp_path / "file" / "tuning.json")


def test_the_users_cache_is_the_default(monkeypatch, tmp_path):
    monkeypatch.setenv("NETDSL_CACHE_DIR", str(tmp_path))
    assert cache_file() == tmp_path / "netdsl" / "tuning.json"


def test_choices_change_the_module_and_only_by_rounding(net):
    import numpy as np

    net = net.for_samples(2)
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


MIB = 1 << 20


@pytest.mark.parametrize(
    "seconds, derived, expected",
    [
        ([1.0, 0.95], [0, 0], 0),  # the estimated best, unless another is clearly faster
        ([1.0, 0.85], [0, 0], 1),
        ([2.0, 1.0, 1.04], [0, 27 * MIB, 16 * MIB], 2),  # about as fast, and less memory
        ([2.0, 1.0, 1.06], [0, 27 * MIB, 16 * MIB], 1),
        ([2.0, 1.0, 1.04], [0, MIB // 2, 0], 1),  # so little does not count
    ],
)
def test_of_ways_that_are_about_as_fast_the_one_with_less_memory_is_taken(seconds, derived, expected):
    assert preferred(seconds, derived) == expected
