"""What netdsl promises about any input of at most 1 MiB: a located message, soon, and never a traceback."""

import difflib
import random
import sys
import time

import pytest

from netdsl.cli import run
from netdsl.ground.diagnostics import MAX_COMPARED
from netdsl.pipeline import check_text

HEAD = "input 3x32x32\n"
MEBI = 2**20
HUGE = {
    "relu": HEAD + "relu\n" * (MEBI // 5 - 10),
    "conv": HEAD + "conv 8 k3\n" * (MEBI // 10 - 10),
    "layers": HEAD + "relu\n" * 9_999,
    "not": HEAD + "expect " + "not " * (MEBI // 4 - 100),
    "plus": HEAD + "expect 1" + "+1" * 49_000 + " == 3\nrelu\n",
    "minus": HEAD + "conv " + "-" * 60_000 + "3\n",
    "else if": HEAD + "if false { relu } " + "else if false { relu } " * 9_000 + "\nrelu",
    "parentheses": "(" * MEBI,
    "braces": HEAD + "{" * (MEBI - 50),
    "quotes": HEAD + '"' * (MEBI - 50),
    "new lines": "\n" * MEBI,
    "size": HEAD + "conv 1" + "x1" * (MEBI // 2 - 50),
    "name": HEAD + "x" * (MEBI - 50),
    "digits": HEAD + "1" * (MEBI - 50),
    "errors": HEAD + "rellu\n" * 20_000,
    "laughs": HEAD + "".join(f"block b{i}() {{ b{i + 1}() -> b{i + 1}() }}\n" for i in range(40)) + "b0()",
    "nothing 2^60": HEAD + "block f(n) { if n > 0 { f(n-1) -> f(n-1) } }\nf(60)\nrelu",
    "empty loops": HEAD + "for i in 0..9999 { for j in 0..9999 { if false { relu } } }\nrelu",
    "calls": HEAD + "".join(f"block b{i}() {{ b{i + 1}() }}\n" for i in range(1000)) + "b0()",
    "nested calls": HEAD + "block f(n) { if n > 0 { a: { b: { c: { f(n-1) } } } } else { relu } }\nf(62)",
    "branches": HEAD + "cat { " + " | ".join(["relu"] * 3_000) + " }",
}


@pytest.mark.parametrize("name", HUGE)
def test_huge_specs_end_soon_in_a_network_or_a_message(name):
    began = time.perf_counter()
    net, diagnostics = check_text(HUGE[name])
    assert net is not None or diagnostics
    assert time.perf_counter() - began < 60  # seconds; the promise is 5, and loaded machines are slow


MISTAKES = {
    "layers": "\n".join(f"rellu{i} 3" for i in range(5_000)),
    "blocks": "\n".join([f"block b{i}() {{ relu }}" for i in range(3_000)] + [f"c{i}()" for i in range(3_000)]),
    "values": "\n".join([f"let a{i} = 1" for i in range(3_000)] + [f"conv bb{i}" for i in range(3_000)]),
    "lets": "\n".join(f"let a{i} = 1" for i in range(10_000)) + "\nrelu",
    "labels": "\n".join(f"g{i}: {{ a: relu }}" for i in range(3_000)) + "\n@a" * 3_000,
}


@pytest.mark.parametrize("name", MISTAKES)
def test_thousands_of_mistakes_cost_little_each(name, monkeypatch):
    """Each has a message, but the words nearest to what was written are looked for in the first ones only."""
    compared, original = [], difflib.get_close_matches

    def counting(word, known, **options):
        compared.append(len(known))
        return original(word, known, **options)

    monkeypatch.setattr(difflib, "get_close_matches", counting)
    began = time.process_time()
    _, diagnostics = check_text(HEAD + MISTAKES[name])
    assert len(diagnostics) > 2_900
    assert sum(compared) <= MAX_COMPARED + 3_500  # the last search is made whole
    assert time.process_time() - began < 12  # seconds; about 1 on an idle machine, where it was 4 to 40


def lines_run(work):
    """How many lines of netdsl's Python run, one in a loop as often as that turns."""
    count = 0

    def inside(frame, event, argument):
        nonlocal count
        count += event == "line"
        return inside

    before = sys.gettrace()
    sys.settrace(lambda frame, *_: inside if "netdsl" in frame.f_code.co_filename else None)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def test_the_fast_module_of_hundreds_of_residual_blocks_is_planned_in_linear_time():
    """Four times the blocks take four times the work, and up to 16 times where something looks at all for each."""
    work = []
    for blocks in (10, 50, 200):  # the first one reads the texts of the stages
        net, _ = check_text("input 2x4x4\n" + "res { conv 2 k1 -> bn -> relu }\n" * blocks + "gap -> linear 2")
        work.append(lines_run(lambda net=net: net.numpy_source(2)))
    assert work[2] < 6 * work[1], work


def test_nested_groups_and_recursion_work_up_to_the_limit():
    for text in ("a: { " * 62 + "relu" + " }" * 62, "res { " * 62 + "relu" + " }" * 62):
        net, _ = check_text(HEAD + text)
        assert net is not None
        assert "Model" in net.torch_source() and "Model" in net.numpy_source()
    net, _ = check_text(HEAD + "block f(n) { conv 3 -> if n > 0 { f(n-1) } }\nf(62)")
    assert net is not None and len(net.graph.nodes) == 63
    assert net.torch_source().count("\nclass ") == 3  # the network, the block that goes on, the one that ends


def test_a_chain_of_2000_layers_works_everywhere():
    net, _ = check_text("input 4\n" + "linear 4 -> tanh\n" * 1_000)
    model, network = net.numpy_model(seed=0), net.build(seed=0)
    import numpy as np

    x = np.ones((2, 4), np.float32)
    assert model.forward(x).tobytes() == network.forward(x).tobytes()
    dx, grads = model.backward(x)
    assert len(grads) == 2_000
    assert "self.linear1000" in net.torch_source()


WORDS = [
    "input",
    "3x8x8",
    "conv",
    "8",
    "k3",
    "->",
    "\n",
    "{",
    "}",
    "(",
    ")",
    "|",
    "add",
    "cat",
    "res",
    "@a",
    "a:",
    "block",
]
WORDS += [
    "f(c)",
    "f(3)",
    "if",
    "else",
    "for",
    "in",
    "0..3",
    "[",
    "]",
    ",",
    "=",
    "let",
    "x",
    "in.c",
    "*",
    "+",
    "-",
    "//",
]
WORDS += [
    "use",
    "std",
    '"a.net"',
    "train",
    "epochs",
    "expect",
    "==",
    "not",
    "true",
    "#",
    "relu",
    "gap",
    "linear",
    "1e9",
    ".",
]


@pytest.mark.parametrize("seed", range(8))
def test_words_in_any_order_end_in_a_network_or_a_message(seed):
    rng = random.Random(seed)
    for _ in range(150):
        text = HEAD * rng.randint(0, 1) + " ".join(rng.choices(WORDS, k=rng.randint(1, 40)))
        net, diagnostics = check_text(text)
        assert net is not None or diagnostics, text


def test_any_bytes_end_in_a_message(tmp_path, capsys):
    rng = random.Random(0)
    good = (
        b"use std\ninput 3x8x8\nlet k = 4\nstem: conv k k3 -> relu\n2 * basic(4)\ngap -> linear 10\ntrain { seed 1 }\n"
    )
    path = tmp_path / "x.net"
    for _ in range(300):
        data = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data))
            data[at : at + rng.randint(0, 3)] = bytes(rng.randrange(256) for _ in range(rng.randint(0, 3)))
        path.write_bytes(data)
        assert run(["check", str(path)]) in (0, 1), bytes(data)
    capsys.readouterr()
