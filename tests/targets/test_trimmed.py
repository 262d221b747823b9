"""What nothing in a module asks for is left out of its texts, and what it computes stays the same to the byte."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest

from netdsl.pipeline import compile_text
from netdsl.targets.fast import emitter
from netdsl.targets.text.derived import is_derived
from netdsl.targets.text.said import said_by
from netdsl.targets.text.trimmed import Outside, trimmed

NETS = {
    "pairs": "input 3x8x8\nconv 8 k3 same -> relu -> pool 2 -> conv 9 k5 same -> relu -> pool 2 -> flatten -> linear 3",
    "strides that nobody gives and stages read": "input 8x16x16\nconv 8 k3 same -> relu -> gap -> linear 3",
    "residual": "input 9x6x6\nconv 9 k3 same -> bn -> add { conv 9 k3 same -> bn | id } -> relu -> gap -> linear 4",
    "depthwise": "input 8x7x7\nconv 8 k3 same g=8 -> bn -> relu6 -> conv 5 -> bn -> gap -> linear 3",
    "tokens": "input 6x8\nln -> mha 2 -> gelu -> linear 5 -> transpose -> flatten -> linear 3",
}


class Kept:
    """What is made and extended by nobody."""

    def __init__(self, w, size=2, dx=True):
        self.w, self.size = w, size
        self.seen = (w, w)
        self.prepare(size, dx)

    def prepare(self, size, dx):
        self.wide = size > 1

    def forward(self, x, plus=None, is_square=False):
        """What comes out."""
        y = self.scaled(x, None, 3)
        _left, kept = x, y
        if plus is not None:
            kept = kept + plus
        return kept * kept if is_square and not self.wide else kept

    def scaled(self, x, by=None, times=1):
        self.note(x)
        return x * times if by is None else x * by

    def note(self, x):
        """Nothing."""
        if self.prepare:
            self.size = x
        return None  # noqa: RET501


class Runs:
    """What stays as it is: others call it."""

    def run(self, x, again=False):
        return twice(x) if again else once(Kept(1).forward(x))


def once(x, factor=1, is_wide=False):
    return x * factor if not is_wide else [x]


def twice(x, of=once, more=0):
    return of(of(x, 2)) + more


def texts():
    nodes = ast.parse(Path(__file__).read_text(encoding="utf-8")).body
    return {n.name: ast.unparse(n) for n in nodes if getattr(n, "name", "") in ("Kept", "Runs", "once", "twice")}


def after(*others):
    """The texts when nothing changes any more."""
    here, own = sys.modules[__name__], texts()
    kernels = {vars(here)[name]: name for name in own}
    said = tuple(said_by(ast.parse(text)) for text in others)
    outside = Outside(said, frozenset(["run"]), Runs, Kept)
    left = trimmed(
        lambda text_of: {k: text_of(here, name) for k, name in kernels.items()}, lambda m, name: own[name], outside
    )
    return {kernels[kernel]: text for kernel, text in left.items()}


def results(defined):
    made = {}
    exec("\n\n".join(defined[name] for name in ("Kept", "once", "twice", "Runs")), made)
    return made["Runs"]().run(5), made["Runs"]().run(5, True)


def test_what_is_left_does_the_same_and_is_a_part_of_what_there_was():
    left = after()
    assert results(left) == results(texts()) == (15, 10)
    assert all(is_derived(left[name], text) for name, text in texts().items())


def test_parameters_that_no_call_gives_or_no_line_reads_are_left_out():
    left = after()
    assert "def __init__(self, w):" in left["Kept"]
    assert "def forward(self, x):" in left["Kept"] and "plus" not in left["Kept"]
    assert "def scaled(self, x, times=1):" in left["Kept"] and "return x * times\n" in left["Kept"] + "\n"
    assert "self.scaled(x, 3)" in left["Kept"]
    assert "def twice(x, of=once, more=0):" in left["twice"]  # read, so its default stays
    assert left["Runs"] == texts()["Runs"]


def test_what_nobody_reads_or_does_is_left_out():
    left = after()["Kept"]
    assert "self.seen" not in left and "_left" not in left and "kept = y" in left
    assert "note" in left  # the method itself goes with the next look at what is reached
    assert "self.note" not in left


@pytest.mark.parametrize(
    "other, kept",
    [("Kept(1, dx=False)", "dx=True"), ("a.forward(x, plus=x)", "plus=None"), ("f(a.forward)", "is_square=False")],
)
def test_what_is_given_or_handed_on_anywhere_stays(other, kept):
    assert kept not in after()["Kept"]
    assert kept in after(other)["Kept"]


def test_a_function_that_is_handed_on_keeps_its_parameters():
    assert after()["once"] == texts()["once"]


@pytest.mark.parametrize("called, may_lose", [("self.f", True), ("self.w.f", True), ("np.load", False), ("f", False)])
def test_methods_alone_may_lose_arguments(called, may_lose):
    text = f"def g(self, x):\n    return {called}(x, False)"
    assert is_derived(text.replace(", False", ""), text) is may_lose
    assert not is_derived(text.replace(", False", ", True"), text)


@pytest.mark.parametrize("name", NETS)
def test_a_trimmed_module_computes_the_same_bytes(name, monkeypatch):
    short = emitted(name)
    monkeypatch.setattr(emitter, "trimmed", lambda reach, text_of, outside: reach(text_of))
    whole = emitted(name)
    assert short.count("\n") < whole.count("\n")
    for batch in (1, 4):
        assert trained(short, batch) == trained(whole, batch)


def emitted(name):
    return compile_text(NETS[name]).numpy_source(2)


def trained(text, batch):
    """What three steps and an answer give."""
    module = {"__name__": "emitted"}
    exec(compile(text, "<emitted>", "exec"), module)
    model = module["Model"](seed=1, workers=2)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, *model.input_shape)).astype(np.float32)
    losses = [model.train_step(x, rng.integers(0, 3, batch), 0.01) for _ in range(3)]
    y = model.forward(x)
    made = [np.float64(losses), y, *model.params.values(), *model.buffers.values()]
    model.close()
    return [np.ascontiguousarray(array).tobytes() for array in made]
