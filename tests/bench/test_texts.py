"""`bench --generate`: all contestants write the same; what goes wrong is named. No times are judged."""

import json

import numpy as np
import pytest
from bench_contestants import planted

from netdsl.bench.contestants import Job
from netdsl.bench.match import Disagreement, Options, bench
from netdsl.bench.report import Report, Result
from netdsl.bench.texts import WRITERS, first_difference, vary, writers_of
from netdsl.bench.worker import Worker
from netdsl.bench.writing_report import WritingReport, WritingTable
from netdsl.ground.diagnostics import UserError
from netdsl.pipeline import compile_text

GPT = """\
input 8 of 11
wte: embed 12 -> pos
2 * { res { ln -> mha 3 causal } -> res { ln -> linear 24 -> gelu -> linear 12 } }
ln -> unembed @wte
"""
NETS = {
    "gpt": GPT,
    "llama": "input 8 of 11\nembed 12\n2 * { res { rms -> mha 2 kv=1 causal rope nobias } }\nlinear 11",
    "sines": "input 8 of 11\nembed 12 -> pos sincos -> res { mha 2 causal dropout=0.3 } -> dropout 0.2 -> linear 11",
    "lstm": "input 8 of 11\nembed 6 -> lstm 10 layers=2 dropout=0.1 -> linear 11",
    "gru": "input 8 of 11\nembed 6 -> gru 10 nobias -> rnn 7 relu -> rnn 5 -> cat { id | tanh } -> linear 11",
    "both": "input 8 of 11\nembed 6 -> pos -> lstm 10 -> res { mha 2 causal } -> linear 11 -> softmax",
}
OPTIONS = Options(batch=1, threads=1, level=0, steps=1, trains=False, tokens=6)


def written(entry, net, tokens, path):
    """What a contestant writes, in this process."""
    worker = Worker(Job(net, entry.factory, 1, 1, 2, "threads", trains=False, tokens=tokens))
    worker.base()
    worker.build()
    worker.load(str(path))
    first = worker.output()
    assert np.array_equal(first, worker.output())  # another text leaves nothing behind
    model = getattr(worker.contestant, "model", None)
    if model is not None:
        model.close()
    return first


@pytest.mark.parametrize("name", NETS)
def test_all_write_the_same_past_the_window(name, tmp_path):
    pytest.importorskip("torch")
    net = compile_text(NETS[name], name)
    network, path = net.build(), tmp_path / "weights.safetensors"
    vary(network.params)
    network.save(str(path))
    texts = {entry.name: written(entry, net, 21, path) for entry in writers_of(net)}
    assert ("torch_cells" in texts) == (name in ("lstm", "gru", "both"))
    assert len(set(texts["numpy"])) > 1
    for text in texts.values():
        assert text.shape == (21,) and not first_difference(text, texts["numpy"])


@pytest.fixture(scope="module")
def report():
    pytest.importorskip("torch")
    net = compile_text(NETS["lstm"], "lstm")
    return WritingReport(bench(net, OPTIONS, writers_of(net)), 6)


def test_the_object_has_every_key(report):
    found = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert set(found) == {
        *("name", "tokens", "threads", "level", "machine", "contestants", "numpy_us", "torch_us", "ratio"),
        *("notes", "failures"),
    }
    assert (found["name"], found["tokens"], found["failures"]) == ("lstm", 6, {})
    assert list(found["contestants"]) == [entry.name for entry in WRITERS]
    for told in found["contestants"].values():
        assert told["token_us"] >= told["token_min_us"] > 0 and told["texts"] == 1
        assert told["tokens_per_s"] == pytest.approx(1e6 / told["token_us"], rel=1e-2)
    faster = min(found["contestants"][name]["token_us"] for name in ("torch_cached", "torch_cells"))
    assert found["torch_us"] == faster and found["ratio"] == pytest.approx(found["numpy_us"] / faster, rel=1e-2)


def test_the_table_has_a_row_for_each_and_ends_with_the_ratio(report):
    lines = str(report).splitlines()
    assert lines[0] == "lstm: 6 tokens of one text, the likeliest each, 1 thread, NumPy module at -O0"
    rows = [line.split() for line in lines[5:10]]
    assert [row[0] for row in rows] == [entry.name for entry in WRITERS] and {len(row) for row in rows} == {5}
    assert lines[-1].startswith("numpy / faster PyTorch that keeps what it has seen: ")


def test_several_reports_make_one_table():
    machine = {"cpu": "abacus", "cores": 1, "numpy": "2", "blas": "x", "torch": None}

    def told(**seconds):
        results = {name: Result({"inference": [s]}) for name, s in seconds.items()}
        return WritingReport(Report("net", 1, 1, 2, machine, results), 10)

    both, alone = told(numpy=1e-3, torch_cached=8e-3, torch_cells=4e-3, torch_uncached=1.0), told(numpy=1e-3)
    assert (both.ratio, alone.ratio, alone.as_dict()["torch_us"]) == (0.25, None, None)
    lines = WritingTable([both, alone]).markdown().splitlines()
    assert lines[2] == "| `net`, 10 | 100 | 400 | **0.25** | - | 100,000 |"
    assert lines[3] == "| `net`, 10 | 100 | - | - | - | - |"
    assert "net, 10" in str(WritingTable([both]))


def test_one_that_writes_something_else_is_not_measured():
    net = compile_text(NETS["lstm"])
    message = "`WritesOther` and `numpy` do not write the same: number 3 of 6 is"
    with pytest.raises(Disagreement, match=message):
        bench(net, OPTIONS, [WRITERS[0], planted("WritesOther")])


def test_where_texts_differ():
    text = np.array([1, 2, 3])
    assert first_difference(text, text) == ""
    assert first_difference(text, np.array([1, 5, 4])) == "number 2 of 3 is 2, and 5"
    assert first_difference(text, text[:2]) == "3 and 2 numbers"


def test_a_network_that_cannot_write_is_told_why():
    net = compile_text("input 8 of 11\nembed 4 -> mha 2 -> linear 11", "blind")
    message = r"`blind` cannot go on with a text: a token of `mha1` \(mha\) may depend on those behind it"
    with pytest.raises(UserError, match=message):
        writers_of(net)
