"""A text from the command line: trained, gone on with, measured, drawn, and what is said of other texts."""

import json
import re

import pytest
from conftest import ROOT

from netdsl.cli import run

VERSE = "Tyger Tyger, burning bright,\nIn the forests of the night;\n" * 60
SPEC = """input 16 of 40
words: embed 8 -> pos -> res { ln -> linear 8 } -> ln
unembed @words
train { data text "tyger.txt", epochs 2, batch 12, opt adamw lr=0.02 }
"""


@pytest.fixture
def call(capsys):
    def call(*line):
        code = run(list(line))
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tyger.txt").write_text(VERSE)
    (tmp_path / "verse.net").write_text(SPEC)
    return tmp_path


@pytest.fixture
def trained(here, call):
    code, out, err = call("train", "verse.net", "--out", "run")
    assert code == 0, err
    return json.loads(out), err


def test_a_text_is_trained_drawn_and_told(here, call, trained):
    result, err = trained
    assert list(result)[:4] == ["test_perplexity", "val_perplexity", "test_bits", "test_accuracy"]
    assert f"characters, {len(set(VERSE))} different ones of tyger.txt" in err and "is its validation part" in err
    assert re.search(r"epoch 2/2  loss .* accuracy .*%  val loss .* val perplexity ", err)
    assert {p.stem for p in (here / "run/plots").iterdir()} == {"curves", "statistics"}
    report = (here / "run/report.html").read_text()
    assert "windows of 16 characters" in report and "netdsl sample run" in report and "bits per character" in report
    assert json.loads((here / "run/config.json").read_text())["classes"] == sorted(set(VERSE))
    assert "val_perplexity" in (here / "run/metrics.csv").read_text().splitlines()[0]


def test_a_text_run_is_measured_on_its_own_and_on_other_texts(here, call, trained):
    result, _ = trained
    code, out, _ = call("eval", "run", "--json")
    told = json.loads(out)
    assert code == 0 and (told["loss"], told["perplexity"]) == (result["test_loss"], result["test_perplexity"])
    assert set(told) == {"loss", "perplexity", "bits", "accuracy", "samples"}
    (here / "other.txt").write_text("the night is in the forests\n" * 3)
    _, out, _ = call("eval", "run")
    assert "windows of 16 characters of the validation part of tyger.txt, best checkpoint: loss" in out
    for data in ("other.txt", "text other.txt", 'text "other.txt"'):
        code, out, err = call("eval", "run", "--data", data)
        assert code == 0 and out.startswith("6 windows of 16 characters of other.txt, best checkpoint: loss "), err
    (here / "other.txt").write_text("the night? the light? " * 3)
    code, _, err = call("eval", "run", "--data", "other.txt")
    assert code == 2 and err.startswith(
        "error: `other.txt` has 9 characters that the network does not know: `?` (6 times), `l` (3 times)"
    )


def test_a_text_run_goes_on_from_the_command_line(here, call, trained):
    code, out, err = call("train", "--resume", "run", "--epochs", "3", "--no-plots")
    assert code == 0 and json.loads(out)["epochs"] == 3, err
    (here / "tyger.txt").write_text(VERSE.replace("Tyger", "gerTy"))
    code, _, err = call("train", "--resume", "run", "--epochs", "4")
    assert code == 2 and "is not what the run" in err
    (here / "tyger.txt").unlink()
    code, _, err = call("eval", "run")
    assert code == 2 and "no such file" in err and err.count("\n") <= 2


def test_predict_and_plot_say_what_a_text_run_has(here, call, trained):
    code, _, err = call("predict", "run", "tyger.txt")
    assert code == 2 and "`netdsl sample RUN`" in err and "netdsl eval RUN" in err
    code, _, err = call("plot", "run", "mistakes")
    assert code == 2 and "its network learns the next character" in err and "`curves`, `statistics`" in err


@pytest.mark.parametrize("backend", ["interp", "torch"])
def test_other_backends_measure_a_text_run_alike(here, call, trained, backend):
    code, out, err = call("eval", "run", "--json", "--backend", backend)
    assert code == 0 and json.loads(out)["loss"] == pytest.approx(trained[0]["test_loss"], rel=1e-5), err


@pytest.mark.parametrize(
    "content, data, said",
    [
        (b"", "a.txt", "`a.txt` is empty"),
        (b"abc", "a.txt", "the part to learn from of `a.txt` has 2 characters, but the input takes 16"),
        (b"ab\xff" * 90, "a.txt", "is not UTF-8: byte 2, on line 1, is 0xff"),
        (b"abc" * 90, "text a.txt bytes", "a text of bytes has 256, but the network takes 40"),
        ("".join(map(chr, range(200, 300))).encode() * 9, "a.txt", "has 100 different characters, but the network"),
        (None, "text none.txt", "cannot read `none.txt`: no such file"),
    ],
)
def test_a_text_that_does_not_do_is_one_line_and_one_that_helps(here, call, content, data, said):
    if content is not None:
        (here / "a.txt").write_bytes(content)
    code, out, err = call("train", "verse.net", "--data", data)
    assert code == 2 and said in err and err.startswith("error: ") and err.count("\n") <= 2 and not out
    assert not (here / "runs").exists()


def test_bytes_of_any_file_are_learned_and_their_run_reads_other_bytes(here, call):
    (here / "a.bin").write_bytes(bytes(range(256)) * 8)
    (here / "b.net").write_text("input 16 of 256\nembed 4 -> linear 256\n")
    code, out, err = call("train", "b.net", "--data", "text a.bin bytes", "--epochs", "1", "--no-plots", "--out", "b")
    assert code == 0 and "2,048" not in err and "1,843 + 205 bytes, 256 different ones of a.bin" in err, err
    code, out, err = call("eval", "b", "--data", "text tyger.txt")
    assert code == 0 and "windows of 16 bytes of tyger.txt" in out and "bits per byte" in out, err


def test_the_text_of_the_package_trains_after_a_bare_install(here, call, monkeypatch):
    monkeypatch.delenv("NETDSL_DATA_DIR", raising=False)
    (here / "c.net").write_text("input 32 of 65\nembed 8 -> linear 65\ntrain { data classics, epochs 1, batch 64 }\n")
    code, out, err = call("train", "c.net", "--limit", "200", "--no-plots")
    assert code == 0 and json.loads(out)["test_perplexity"] > 1 and "64 different ones of classics" in err


def test_show_tells_a_text_and_every_other_set(here, call, monkeypatch):
    monkeypatch.delenv("NETDSL_DATA_DIR", raising=False)
    code, out, _ = call("data", "show", "classics", "--chars", "13")
    assert code == 0 and out.splitlines()[0] == "classics: 721,902 characters, 64 different ones"
    assert "its vocabulary: newline space ! '" in out and out.endswith("\nPARADISE LOST\n")
    (here / "a.txt").write_bytes(b"a\x07b\r\n")
    code, out, _ = call("data", "show", "a.txt")
    assert code == 0 and "its vocabulary: \\x07 newline a b" in out and "a\\x07b" in out and "CR LF" in out
    code, out, _ = call("data", "show", "mnist-mini")
    assert code == 0 and "5,000 samples to learn from" in out and "10 classes: 0, 1" in out
    code, _, err = call("data", "show", "nothing.txt")
    assert code == 2 and "there is no data set called" in err


def test_what_comes_along_says_where_it_is_from():
    folder = ROOT / "netdsl/training/data"
    assert "721,902 characters" in (folder / "classics.md").read_text() and (folder / "classics.txt.gz").exists()
