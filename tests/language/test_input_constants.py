"""`input ... mean ... std ...`: what may stand there, what is said where it may not, and its one form."""

import pytest

from netdsl.language.syntax.parser import parse
from netdsl.pipeline import check_text, compile_text, format_text


def graph_of(line, rest="flatten -> linear 2"):
    return compile_text(f"{line}\n{rest}").graph


@pytest.mark.parametrize(
    ("line", "mean", "std"),
    [
        ("input 1x28x28", (), ()),
        ("input 1x28x28 mean 0.1307 std 0.3081", (0.1307,), (0.3081,)),
        ("input 3x4x4 std (0.25, 0.24, 0.26) mean (0.49, -0.48, 1e-3)", (0.49, -0.48, 1e-3), (0.25, 0.24, 0.26)),
        ("input 3x4x4 mean (0.49,\n  0.48,  # green\n  0.45) std 1", (0.49, 0.48, 0.45), (1.0,)),
        ("input 2 mean (1, 2) std 1_000", (1.0, 2.0), (1000.0,)),
        ("input 1 mean (-5) std (2)", (-5.0,), (2.0,)),
    ],
)
def test_an_input_has_one_number_or_one_for_each_channel(line, mean, std):
    graph = graph_of(line)
    assert (graph.mean, graph.std) == (mean, std)
    assert all(isinstance(number, float) for number in graph.mean + graph.std)


def test_tokens_have_one_number_for_each_feature():
    assert graph_of("input 5x2 mean (1, 2) std 3", "take 0 -> linear 2").mean == (1.0, 2.0)


@pytest.mark.parametrize(
    ("line", "marked", "message", "help_text"),
    [
        ("input 3x4x4 mean 0.5", "mean 0.5", "`input` has a `mean`, but no `std`", "write `std 1` behind it"),
        ("input 3x4x4 std 0.5", "std 0.5", "`input` has a `std`, but no `mean`", "write `mean 0` behind it"),
        ("input 3x4x4 mean 1 std 2 std 2", "std 2", "`input` has one `std`", "remove one"),
        (
            "input 3x4x4 mean (1, 2) std 1",
            "mean (1, 2)",
            "`mean` has 2 numbers, but the input 3x4x4 has 3 channels",
            "write one number, or 3 in parentheses",
        ),
        (
            "input 1x28x28 mean 0 std (1, 2)",
            "std (1, 2)",
            "`std` has 2 numbers, but the input 1x28x28 has 1 channel",
            "write one number",
        ),
        ("input 4 mean (1, 2) std 1", "mean (1, 2)", "`mean` has 2 numbers, but the input 4 has 4 features", "4 in"),
        ("input 2 mean 0 std (1, 0)", "0", "a `std` must be above 0 and within float32, not 0", ""),
        ("input 2 mean 0 std -0.5", "-0.5", "a `std` must be above 0 and within float32, not -0.5", ""),
        ("input 2 mean 0 std 1e-40", "1e-40", "a `std` must be above 0 and within float32, not 1e-40", ""),
        ("input 2 mean -1e39 std 1", "-1e39", "a `mean` must be within float32, not -1e+39", ""),
        ("input 2 mean 1e400 std 1", "1e400", "a number too large for floating point", ""),
        ("input 2 maen 1 std 1", "maen", "unexpected `maen`", "did you mean `mean`?"),
        ("input 2 foo 1 std 1", "foo", "unexpected `foo`", "expected `map` or `mean` or `of` or `std` or a new line"),
        ("input 2 mean --1 std 1", "-", "unexpected `-`", "expected a value"),
        ("input 2 mean x std 1", "x", "unexpected `x`", "expected a value"),
        ("input 2 mean nan std 1", "nan", "unexpected `nan`", "expected a value"),
        ("input 2 mean", "", "the line ends too early", "expected a value"),
    ],
)
def test_what_does_not_fit_is_marked_and_said_once(line, marked, message, help_text):
    net, found = check_text(f"{line}\nflatten -> linear 2")
    assert net is None
    assert [d.message for d in found] == [message]
    assert found[0].span.text == marked
    assert help_text in " ".join(found[0].help)


def test_mean_and_std_are_free_names_elsewhere():
    text = "block std(mean) { linear mean }\ninput 2 mean 1 std 2\nlet mean = 3\nstd(mean) -> mean: linear 2"
    net = compile_text(text)
    assert [name for name, _ in net.graph.param_specs()][2:] == ["mean.weight", "mean.bias"]


def test_the_one_form_keeps_numbers_and_comments():
    text = "input 3x4x4   mean(0.49,0.48 ,-0.45)std  (1,2,3)# colours\nblock mean(c) { conv c }\nmean(3)\ngap\n"
    wanted = "input 3x4x4 mean (0.49, 0.48, -0.45) std (1, 2, 3)  # colours\nblock mean(c) { conv c }\nmean(3)\ngap\n"
    assert format_text(text)[0] == wanted
    assert format_text(wanted)[0] == wanted
    assert format_text("input 2 mean -1 std 2")[0] == "input 2 mean -1 std 2\n"


def test_the_tree_has_the_numbers_as_they_are_written():
    program, diagnostics = parse(compile_text("input 2 mean (-1, 2) std 3\nlinear 2").source)
    assert not diagnostics
    mean, std = program.statements[0].constants
    assert (mean.name, mean.numbers, std.name, std.numbers) == ("mean", (-1.0, 2.0), "std", (3.0,))


def test_the_summary_says_them():
    assert "mean 0.1307 std 0.3081" in str(compile_text("input 4 mean 0.1307 std 0.3081\nlinear 2").summary())
    numbers = ", ".join("123456")
    assert "mean (6 numbers) std 1" in str(compile_text(f"input 6 mean ({numbers}) std 1\nlinear 2").summary())
    assert compile_text("input 4 mean 1 std 2\nlinear 2").summary().as_dict()["std"] == [2.0]
