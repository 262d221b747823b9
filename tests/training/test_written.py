"""What a network wrote while it learned: a text for each row of the history, in the run and in its report."""

import json
from dataclasses import replace

import numpy as np
import pytest
from pages import Page
from small_runs import DATA, ENGINES, kept, net_of, stop_after

from netdsl.pipeline import compile_text
from netdsl.training.data.dataset import Dataset
from netdsl.training.data.texts import BYTE_NAMES, text_dataset, text_of
from netdsl.training.data.wanted import Wanted
from netdsl.training.loop import epochs
from netdsl.training.loop.epochs import train
from netdsl.training.loop.watch import Interrupted, Watch
from netdsl.training.pictures.report_tables import MAX_WRITTEN, written_table
from netdsl.training.runs import sampling
from netdsl.training.runs.checkpoint import checkpoint_path, weights_of
from netdsl.training.runs.config import config_of, write_setup
from netdsl.training.runs.engine import new_model
from netdsl.training.runs.folder import new_run
from netdsl.training.runs.history import Epoch, History, read_history
from netdsl.training.runs.sampling import SAMPLED, Sampling, Writer, writer_of, written
from netdsl.training.runs.views import RunView
from netdsl.training.runs.written import Written, keep_written, read_written, written_path

VERSE = "Tyger Tyger, burning bright,\nIn the forests of the night;\n" * 12
SPEC = """input 8 of 40
embed 8 -> pos -> res { ln -> mha 2 causal dropout=0.1 } -> linear 40
train { EPOCHS, batch 8, opt adam lr=0.02, val 0.2 }
"""


def net_and_data(epochs="epochs 2", spec=SPEC, are_bytes=False):
    net = compile_text(spec.replace("EPOCHS", epochs), "verse")
    text = text_of("verse", VERSE.encode(), are_bytes)
    return net, text_dataset("verse", text, Wanted(takes=net.graph.input_type, val=net.recipe.val))


def trained(path, epochs="epochs 2", engine="fast", watch=None, **more):
    net, data = net_and_data(epochs, **more)
    run = new_run("verse", path)
    write_setup(run, net.source.text, config_of(net, data, ENGINES[engine], None), net.used, 1)
    train(net, data, ENGINES[engine], run, watch)
    return run


def wrote(run, which):
    return "".join(written(run, None, SAMPLED, Sampling(), which, lambda note: None))


@pytest.mark.parametrize("extra", ["", ", ema 0.9"])
@pytest.mark.parametrize("engine", ["interp", "fast", "torch"])
def test_each_row_has_the_text_that_its_checkpoint_writes(tmp_path, engine, extra):
    run = trained(tmp_path / "run", f"steps 9 every=4{extra}", engine)
    rows = read_written(run)
    assert [(row.epoch, row.step) for row in rows] == [(1, 4), (2, 8), (3, 9)]
    assert all(len(row.text) == SAMPLED for row in rows) and len({row.text for row in rows}) == 3
    history = read_history(run)
    assert rows[-1].text == wrote(run, "last")
    assert rows[history.best.epoch - 1].text == wrote(run, "best")


def test_a_run_in_epochs_numbers_its_texts_by_them_and_a_line_is_json(tmp_path):
    run = trained(tmp_path / "run")
    lines = [json.loads(line) for line in written_path(run).read_text().splitlines()]
    assert [(sorted(line), line["epoch"]) for line in lines] == [(["epoch", "text"], 1), (["epoch", "text"], 2)]


@pytest.mark.parametrize("engine", ["interp", "fast", "processes", "torch"])
def test_a_run_that_is_stopped_has_each_text_once_and_the_bytes_of_one_that_writes_none(tmp_path, engine, monkeypatch):
    whole = trained(tmp_path / "whole", "steps 9 every=4", engine)
    net, data = net_and_data("steps 9 every=4")
    for step in (2, 4, 7):
        run = new_run("verse", tmp_path / str(step))
        with pytest.raises(Interrupted):
            train(net, data, ENGINES[engine], run, stop_after(step))
        train(net, data, ENGINES[engine], run, resume=True)
        assert kept(run) == kept(whole) and written_path(run).read_bytes() == written_path(whole).read_bytes()
    monkeypatch.setattr(epochs, "writer_of", lambda net, names: None)
    silent = trained(tmp_path / "silent", "steps 9 every=4", engine)
    assert kept(silent) == kept(whole) and not written_path(silent).exists()


def test_a_row_that_is_made_again_after_a_kill_is_written_again_and_not_twice(tmp_path):
    run = trained(tmp_path / "run", "steps 8 every=4")
    as_it_was = written_path(run).read_bytes()
    checkpoint_path(run, "last").unlink()  # `prev` is that of step 4
    net, data = net_and_data("steps 8 every=4")
    train(net, data, ENGINES["fast"], run, resume=True)
    assert written_path(run).read_bytes() == as_it_was


def test_the_time_of_writing_is_none_of_the_steps(tmp_path, monkeypatch):
    now = [0.0]
    slow = Writer.write

    def write(writer, weights):
        now[0] += 1000
        return slow(writer, weights)

    monkeypatch.setattr(Writer, "write", write)
    run = trained(tmp_path / "run", watch=Watch(clock=lambda: now[0]))
    assert now[0] == 2000 and read_history(run).column("seconds") == [0.0, 0.0]


# ---------------------------------------------------------------------------------------------- who writes


def test_networks_that_cannot_write_or_learn_no_text_keep_none(tmp_path):
    run = new_run("tiny", tmp_path / "digits")
    train(net_of(epochs=1), DATA, ENGINES["interp"], run)
    assert not written_path(run).exists() and read_written(run) == ()
    both_ways = trained(tmp_path / "both", "epochs 1", "interp", spec=SPEC.replace(" causal", ""))
    assert not written_path(both_ways).exists()
    net = compile_text("input 4 of 3\nembed 4 -> linear 3\ntrain { epochs 1, batch 8 }", "numbers")
    x = np.random.default_rng(0).integers(0, 3, (20, 5))
    parts = (x[:, :-1], x[:, 1:]) * 2
    data = Dataset("numbers", *parts, ("0", "1", "2"), (0.0,), (1.0,), layout="ids", limit=3)
    run = new_run("numbers", tmp_path / "numbers")
    train(net, data, ENGINES["interp"], run)
    assert not written_path(run).exists()


def test_a_network_that_would_take_long_writes_nothing(monkeypatch):
    net, data = net_and_data()
    assert writer_of(net, data.classes) is not None
    monkeypatch.setattr(sampling, "MOST_MACS", SAMPLED * net.graph.num_macs // 8 - 1)
    assert writer_of(net, data.classes) is None


def test_bytes_are_written_as_the_text_that_they_are(tmp_path):
    net, data = net_and_data(spec=SPEC.replace("40", "256"), are_bytes=True)
    assert data.classes == BYTE_NAMES
    model = new_model(net, ENGINES["interp"])
    model.params["linear1.bias"][ord("~")] = 1000
    assert Writer(net, data.classes).write(weights_of(model)) == "~" * SAMPLED


def test_what_steers_a_terminal_is_escaped_before_it_is_kept():
    net, data = net_and_data()
    names = ("\x1b", *data.classes[1:])
    model = new_model(net, ENGINES["interp"])
    model.params["linear1.bias"][0] = 1000
    assert Writer(net, names).write(weights_of(model)) == "\\x1b" * SAMPLED


# ---------------------------------------------------------------------------------------------- the file


def test_a_text_takes_the_place_of_those_of_its_row_and_of_later_ones(tmp_path):
    for epoch, step, text in ((1, 4, "a"), (2, 8, "b\n\N{SNOWMAN}"), (3, None, "c"), (2, 8, "d")):
        keep_written(tmp_path, Written(epoch, step, text))
    assert read_written(tmp_path) == (Written(1, 4, "a"), Written(2, 8, "d"))
    assert [path.name for path in tmp_path.iterdir()] == ["samples.jsonl"]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "3",
        '{"epoch": 1}',
        '{"epoch": true, "text": "a"}',
        '{"epoch": 0, "text": "a"}',
        '{"epoch": 1, "step": -1, "text": "a"}',
        '{"epoch": 1e300, "text": "a"}',
        '{"epoch": 1, "text": 3}',
        "[" * 100_000,
        '{"epoch": ' + "9" * 10_000 + ', "text": ""}',
    ],
)
def test_a_damaged_line_is_left_out(tmp_path, line):
    written_path(tmp_path).write_text(f'{line}\n{{"epoch": 7, "text": "fine"}}\n')
    assert read_written(tmp_path) == (Written(7, None, "fine"),)


def test_a_file_that_is_no_text_has_none_and_half_a_letter_costs_no_page(tmp_path):
    written_path(tmp_path).write_bytes(b"\xff\xfe\n" * 9)
    assert read_written(tmp_path) == ()
    written_path(tmp_path).write_text('{"epoch": 1, "text": "\\ud800"}\n')
    (one,) = read_written(tmp_path)
    one.text.encode()


# ---------------------------------------------------------------------------------------------- the report


def view_with(tmp_path, rows, texts):
    for epoch, text in texts.items():
        keep_written(tmp_path, Written(epoch, 10 * epoch, text))
    history = History(tuple(Epoch(n, 2.0, 0.5, 1.0 / n, 0.5, 0.1, 1.0, 1.0, step=10 * n) for n in rows))

    class Run:
        path = tmp_path

    return RunView(Run, None, None, None, history, "last")


def test_the_report_has_the_texts_newest_first_with_their_loss(tmp_path):
    (table,) = written_table(view_with(tmp_path, (1, 2, 3), {1: "a\n", 2: "\nb\x1b[31m", 4: "not in the history"}))
    assert (table.title, table.head) == ("What it wrote", ("step", "val loss", "text"))
    assert table.rows == [("20", "0.5000", "b\\x1b[31m"), ("10", "1.0000", "a")]
    assert written_table(view_with(tmp_path / "none", (1, 2), {})) == []


def test_of_very_many_texts_some_are_shown_among_them_the_first_and_the_last(tmp_path):
    rows = range(1, 101)
    (table,) = written_table(view_with(tmp_path, rows, dict.fromkeys(rows, "a")))
    steps = [int(row[0]) for row in table.rows]
    assert table.title == f"What it wrote, after {MAX_WRITTEN} of 100 rows" and len(steps) == MAX_WRITTEN
    assert steps[0] == 1000 and steps[-1] == 10 and steps == sorted(steps, reverse=True)


def test_a_text_in_the_report_stays_text_and_keeps_its_lines(tmp_path):
    from netdsl.training.pictures.report import report_html
    from netdsl.training.runs.views import open_run, score_run

    run = trained(tmp_path / "run")
    hostile = '<script>alert(1)</script>\n{{ 7 * 7 }} "&lt;"'
    keep_written(run, Written(2, None, hostile))
    (tmp_path / "verse.txt").write_text(VERSE)
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"data_path": str(tmp_path / "verse.txt")}))
    with open_run(run, None) as view:
        html = report_html(view, score_run(view), {})
    Page(html).check_is_inert()
    assert "<script>" not in html and "&lt;script&gt;alert(1)&lt;/script&gt;\n{{ 7 * 7 }}" in html
    assert 'class="prose"' in html and "<code>netdsl sample" in html


def test_replaying_a_row_is_the_same_text_whoever_learned_it(tmp_path):
    net, data = net_and_data()
    model = new_model(replace(net), ENGINES["torch"])
    first, again = (Writer(net, data.classes).write(weights_of(model)) for _ in range(2))
    assert first == again and len(first) == SAMPLED
