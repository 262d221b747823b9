"""`netdsl sample`: what a run writes, the same with a cache and without, and what is said where it cannot."""

import pytest

from netdsl.cli import run

SPEC = """\
input 8 of {limit}
words: embed 8 -> pos -> res {{ ln -> mha 2 causal }} -> ln
unembed @words
train {{ {data}, steps 4, batch 4, opt adamw lr=0.01, val 0.2, init gpt }}
"""
TEXT = "In the beginning was the word,\nand a word has letters: \u00e4, \u00f6, \u00fc.\n" * 20


def trained(folder, text=TEXT, more="", limit=256):
    (folder / "some.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    spec = folder / "writer.net"
    spec.write_text(SPEC.format(limit=limit, data=f'data text "{folder / "some.txt"}"{more}'), encoding="utf-8")
    assert run(["train", str(spec), "--out", str(folder / "run"), "--quiet", "--no-plots", "--threads", "1"]) == 0
    return str(folder / "run")


def said(capsys, *arguments):
    capsys.readouterr()
    code = run(["sample", *arguments])
    return code, *capsys.readouterr()


def test_a_text_is_the_same_each_time_and_goes_on_with_the_prompt(tmp_path, capsys):
    where = trained(tmp_path)
    code, text, _ = said(capsys, where, "--prompt", "the word", "-n", "40")
    assert code == 0 and text.startswith("the word") and len(text) == len("the word") + 40 + 1
    assert set(text) <= set(TEXT)
    assert said(capsys, where, "--prompt", "the word", "-n", "40")[1] == text
    assert said(capsys, where, "--prompt", "the word", "-n", "40", "--no-cache")[1] == text
    assert said(capsys, where, "--prompt", "the word", "-n", "40", "--seed", "1")[1] != text
    assert said(capsys, where, "--prompt", "the word", "-n", "0")[1] == "the word\n"
    greedy = said(capsys, where, "-n", "30", "--temperature", "0")[1]
    assert said(capsys, where, "-n", "30", "--top-k", "1", "--seed", "9")[1] == greedy


def test_bytes_are_written_as_the_text_that_they_are(tmp_path, capsys):
    where = trained(tmp_path, b"\x1b[31m\xc3\xa4\xff" * 300, " bytes")
    code, text, _ = said(capsys, where, "--prompt", "\u00e4", "-n", "200", "--temperature", "3")
    assert code == 0 and text.startswith("\u00e4")
    assert "\x1b" not in text and all(c.isprintable() or c in "\n\t" for c in text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--prompt", "word \u00e9\u00e9"],
            "the prompt has 2 characters that the network does not know: `\u00e9` (2 times)",
        ),
        (["--prompt", ""], "the prompt is empty"),
        (["--temperature", "-1"], "-1.0 is not in the range"),
        (["--top-k", "0"], "0 is not in the range"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, options, message):
    code, text, error = said(capsys, trained(tmp_path), *options)
    assert code == 2 and text == "" and message in error


def test_a_run_that_learned_no_text_says_why(tmp_path, capsys):
    spec = tmp_path / "spiral.net"
    spec.write_text("input 2\nlinear 3\ntrain { data spiral, epochs 1 }", encoding="utf-8")
    assert run(["train", str(spec), "--out", str(tmp_path / "run"), "--quiet", "--no-plots"]) == 0
    code, _, error = said(capsys, str(tmp_path / "run"))
    assert code == 2 and "cannot write a text: it takes no numbers of a vocabulary" in error


def test_other_words_mean_the_command(capsys):
    for word in ("generate", "write"):
        assert run([word, "runs/x"]) == 2
        assert "did you mean `sample`?" in capsys.readouterr().err
