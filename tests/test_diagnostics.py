"""Every spec in tests/golden/diagnostics gets exactly the text beside it: errors, or warnings that stop nothing."""

import json
import re
from pathlib import Path

import pytest

from netdsl.ground.diagnostics import CODES, did_you_mean, render, render_all
from netdsl.pipeline import check_file, check_text

FOLDER = Path(__file__).parent / "golden/diagnostics"
BROKEN = sorted(FOLDER.glob("*.net"))


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_broken_spec_gets_its_diagnostics(path, golden):
    net, diagnostics = check_text(path.read_text(encoding="utf-8"), path.name)
    assert diagnostics
    assert (net is None) == any(d.level == "error" for d in diagnostics)
    golden(path.with_suffix(".txt"), render_all(diagnostics) + "\n")


def expectations():
    """(name, text, line, help) of every spec that says on its first line where its mistake is and what helps."""
    for path in BROKEN:
        text = path.read_text(encoding="utf-8")
        said = re.match(r"# line (\d+)(?:, help: (.*))?\n", text)
        if said:
            yield path.stem, text, int(said[1]), said[2]


def test_broken_specs_are_rejected_at_the_right_line_with_the_right_suggestion(capsys):
    wrong_line, wrong_help, suggestions = [], [], 0
    cases = list(expectations())
    for name, text, line, help_text in cases:
        _, diagnostics = check_text(text)
        if not diagnostics or diagnostics[0].span.line != line:
            wrong_line.append(name)
        if help_text is not None:
            suggestions += 1
            found = diagnostics[0].help if diagnostics else ()
            wrong_help += [name] if not any(help_text in hint for hint in found) else []
    with capsys.disabled():
        right = len(cases) - len(wrong_line)
        print(
            f"\n{len(cases)} broken specs: {right} rejected at the right line, {suggestions - len(wrong_help)} of",
            end=" ",
        )
        print(f"{suggestions} with the right suggestion (not: {', '.join(wrong_help) or 'none'})")
    assert len(cases) >= 200
    assert not wrong_line
    assert len(wrong_help) <= 0.05 * suggestions


def test_nothing_stale_is_among_the_goldens():
    assert {path.stem for path in FOLDER.glob("*.txt")} == {path.stem for path in BROKEN}


def test_every_code_used_is_in_the_table_and_has_an_example():
    used = {d.code for path in BROKEN for d in check_text(path.read_text(encoding="utf-8"))[1]}
    assert used <= set(CODES)
    shown_elsewhere = {"N001", "N004"}  # bytes and depth: tests of their own
    assert set(CODES) - used <= shown_elsewhere


def test_json_has_the_places_of_the_contract():
    _, (diagnostic,) = check_text("input 1x4x4\nconv 8 k7 p1\n", "a.net")
    assert json.loads(json.dumps(diagnostic.as_dict())) == {
        "level": "error",
        "code": "N201",
        "message": "a 7x7 kernel does not fit a 4x4 input with padding 1",
        "file": "a.net",
        "line": 2,
        "col": 8,
        "end_line": 2,
        "end_col": 10,
        "notes": ["the input is 1x4x4 (`input` on line 1)"],
        "help": ["use k6 or less, or p2"],
    }


def test_the_help_about_a_kernel_is_right():
    for change in ("conv 8 k6 p1", "conv 8 k7 p2"):
        assert check_text(f"input 1x4x4\n{change}\n")[0] is not None


def test_more_than_twenty_are_counted():
    _, diagnostics = check_text("input 4\n" + "rellu\n" * 50)
    assert len(diagnostics) == 50
    assert render_all(diagnostics).endswith("... and 30 more")


def test_control_characters_never_reach_the_terminal():
    _, diagnostics = check_text("input 4\nlinear 3 -> \u0085\u009b2J\n", "a\x1b[2J.net")
    shown = render_all(diagnostics)
    assert not any(char in shown for char in "\x1b\x85\x9b")


def test_a_long_line_is_cut_and_the_caret_stays_under_its_place():
    _, diagnostics = check_text("input 4\n" + "relu -> " * 3000 + "rellu" + " -> relu" * 3000 + "\n")
    line, caret = render(diagnostics[0]).splitlines()[3:5]
    assert len(line) < 250
    assert line[caret.index("^") : caret.rindex("^") + 1] == "rellu"


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_end_gives_the_same_line(newline):
    _, (diagnostic,) = check_text(newline.join(["input 1x8x8", "# note", "rellu", ""]))
    assert (diagnostic.span.line if newline != "\r" else 3) == 3


def test_bytes_that_are_not_text_are_located(tmp_path):
    path = tmp_path / "a.net"
    path.write_bytes(b"input 4\nrelu \xff\n")
    net, (diagnostic,) = check_file(path)
    assert net is None
    assert (diagnostic.code, diagnostic.span.line, diagnostic.span.column) == ("N001", 2, 6)


def test_deep_nesting_is_refused_before_it_is_parsed():
    good, bad = ("input 4\n" + "{ " * depth + "relu" + " }" * depth for depth in (64, 65))
    assert check_text(good)[0] is not None
    assert [d.code for d in check_text(bad)[1]] == ["N004"]
    assert [d.code for d in check_text("{" * 100_000)[1]] == ["N004"]


def test_a_chain_of_ten_thousand_layers_works_and_one_more_does_not():
    net, _ = check_text("input 4\n" + "relu\n" * 10_000)
    assert len(net.graph.nodes) == 10_000
    assert [d.code for d in check_text("input 4\n" + "relu\n" * 10_001)[1]] == ["N311"]


def test_empty_copies_do_not_run_for_ever():
    assert [d.code for d in check_text("input 4\n9999 * { 9999 * { } }\nrelu\n")[1]] == ["N311"]


def test_suggestions():
    known = ["conv", "relu", "leaky", "linear"]
    assert [did_you_mean(word, known) for word in ("rellu", "Conv", "conv2d", "lin", "xyz")] == [
        "relu",
        "conv",
        "conv",
        "linear",
        None,
    ]


def test_separators_that_only_unicode_calls_line_ends_do_not_shift_the_line_shown():
    _, (diagnostic,) = check_text("input 4 # x\u2028y\nrelu\nlinear = 3\n")
    assert diagnostic.span.line == 3
    assert "linear = 3" in render(diagnostic)
