"""The gate before an emitted module is written or run: it lets through what netdsl emits, and nothing else."""

import ast
import random
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from drawing import in_part

from netdsl.graph.recipe import LOSSES, OPTIMIZERS
from netdsl.ground.symbols import value_text
from netdsl.pipeline import compile_text
from netdsl.targets.cupy.dialect import DIALECT as CUPY
from netdsl.targets.fast.dialect import DIALECT as FAST
from netdsl.targets.numpy.dialect import DIALECT as TEXTBOOK
from netdsl.targets.text import gate as gates
from netdsl.targets.text.gate import gate
from netdsl.targets.text.words import words_of
from netdsl.targets.torch.dialect import DIALECT as TORCH

ROOT = Path(__file__).resolve().parents[2]
GENERATED = sorted((ROOT / "generated").glob("*.py"))
NET = compile_text(
    "input 4\nlinear 5 -> G: { linear 4 } -> linear 3\ntrain { loss ce smooth=0.1, opt sgd momentum=0.9 }"
)


def short(text):
    """An emitted module with no more of netdsl's own definitions than the network itself names, which Python reads in
    less time."""
    tree, lines = ast.parse(text), text.split("\n")
    own = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    network = own.pop(next(i for i, node in enumerate(own) if node.name == "Net"))
    rest = [node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    used = {node.id for part in (network, *rest) for node in ast.walk(part) if isinstance(node, ast.Name)}
    for node in reversed(own):
        if node.name not in used:
            del lines[node.lineno - 1 : node.end_lineno]
    named = {node.id for node in ast.walk(ast.parse("\n".join(lines))) if isinstance(node, ast.Name)}
    idle = {f"import {name}" for name in sys.stdlib_module_names if name not in named}
    return "\n".join(line for line in lines if line not in idle)


DIALECTS = {"numpy": TEXTBOOK, "fast": FAST, "cupy": CUPY, "torch": TORCH}
MODULES = {"numpy": short(NET.numpy_source(0)), "fast": short(NET.numpy_source(2)), "torch": NET.torch_source()}
MODULES["cupy"] = short(NET.text("cupy"))

# Expressions that read, write, import or run something, or lead to what does.
EXPRESSIONS = r"""
np.ctypeslib.ctypes.CDLL(None)
np.ctypeslib.ctypes
np.ctypeslib
np.load("a")
np.save("a", x)
cp.save("a", x)
cp.RawKernel("a", "b")
cp.cuda.runtime
cp.fromfile("a")
np.savez("a", x)
np.savetxt("a", x)
np.fromfile("a")
np.loadtxt("a")
np.genfromtxt("a")
np.memmap("a")
np.f2py
np.f2py.compile("a")
np.testing
np.distutils
np.lib.npyio.DataSource
np.lib.npyio.os.system("a")
np.os
np.sys
np.core.numeric
np.random
np.random.seed(0)
np.random.bit_generator
np.dtype.mro
np.zeros.tofile
np.zeros(1).tofile("a")
np.zeros(1).dump("a")
np.zeros(1).dumps()
np.zeros(1).ctypes.data
np.zeros(1).data
np.zeros(1).setflags(write=1)
np.float32.mro()
np
x.tofile("a")
x.dump("a")
x.ctypes
x.save("a")
x.__class__
x.__class__.__mro__
x.__reduce__()
x.f_globals
x.gi_frame
x.func_globals
self.save("a")
self.load("a")
self.tofile("a")
self.__class__
self.__dict__
self.team
self.team.work
self.work
self.io
self.forward.__globals__
torch.hub.load("a", "b")
torch.load("a")
torch.save(x, "a")
torch.ops.load_library("a")
torch.classes.load_library("a")
torch.utils.cpp_extension.load("a")
torch.jit.load("a")
torch.compile(x)
torch.os.system("a")
torch.sys
torch._C
torch.from_file("a")
torch.serialization
nn.Module.__subclasses__()
nn.Module.register_forward_hook
nn.Module.load_state_dict
nn.modules.module
nn.Conv2d.__init__
nn.Linear.forward
nn.init
nn
F.torch
F
os.system("a")
os
sys.modules
ctypes.CDLL(None)
json.load
threading.Thread
inspect.getsource
eval("a")
exec("a")
compile("a", "b", "exec")
open("a")
open
__import__("os")
__builtins__
__loader__
__file__
__name__
getattr(x, "a")
setattr(x, "a", 1)
delattr(x, "a")
globals()
locals()
vars()
dir(x)
input()
breakpoint()
type(x)
object()
help()
memoryview(x)
bytes(1)
map(x, x)
sorted(x, key=x)
staticmethod.__call__
super().__getattribute__("a")
super().load("a")
super(x).__init__
read_weights("a")
write_weights("a", x)
Team(1)
blas_controls()
unknown
unknown(1)
"a b"
"/etc/passwd"
"{0.__class__}".format(x)
"a".join(x)
f"{x!r}"
f"{x:{x}}"
f"{x.__class__}"
f"{open('a')}"
b"a"
1j
1e999
(y := 1)
[y for y in x]
{y for y in x}
{1, 2}
(y for y in x if y)
(y for y in open("a"))
{y: eval for y in x}
(lambda: eval("a"))()
(lambda self: self.tofile("a"))(x)
(lambda s: s.tofile("a"))(x)
(lambda y=open("a"): y)()
range(**x)
range(*open("a"))
await x
(yield x)
(yield)
(yield from open("a"))
x if open("a") else x
x and open("a")
not open
~x
x @ x
x << 1
x is x
x in x
x[open("a"):]
x[eval]
-open
""".strip().split("\n")

# Statements for the body of a method or the top of a module.
STATEMENTS = r"""
import os
import os as np
from os import system
from os import *
import numpy
import numpy as sp
from numpy import load
from numpy import ctypeslib as np
import torch.hub
from torch import hub
from torch import *
from . import x
import netdsl
from netdsl import cli
global np
nonlocal x
del np
np = nn = 1
np.zeros = 1
np.float32 = x
torch.relu = x
range = eval
self = x
self.__class__ = x
self.x.y = x
x.shape = 1
x = y = 1
x: int = 1
x += open("a")
self.x += 1
self.x[open("a")] = 1
[x, y] = x
x, *y = x
assert open("a")
raise Exception
raise x
return open("a")
return eval
pass
for y in x: pass
for y in open("a"): pass
while True: pass
while open("a"): pass
if open("a"): pass
if x: pass
with open("a"): pass
with x as y: pass
try: x
except: x
try:\n    import os\nfinally: x
def f(): return open("a")
def f(x=open("a")): return x
async def f(): return 1
class A: x = open("a")
class A(nn.Module, metaclass=open): x = 1
@open\ndef f(): return 1
@eval\nclass A(nn.Module): x = 1
match x:\n    case 1: pass
x
1
"a b c" + x
lambda: open("a")
exec("a"); x = 1
x = 1; import os
x = 1 if eval("a") else 2
s = x\ns.tofile("a")
print(open("a"))
print(open)
__name__ = "__main__"
INPUT_SHAPE = open("a")
INPUT_SHAPE = eval
Model = eval
_x = eval
__x = eval
""".strip().split("\n")

# Whole texts that are no module of netdsl's.
TEXTS = [
    "# coding: utf-7\nx = 1",
    "#!/bin/sh\n# vim: set fileencoding=unicode_escape :\nx = 1",
    "x = 1\x00",
    "x = '\xe9'",
    "x = '\u2028import os'",
    "x\x0cimport os",
    "x = (",
    "\tx",
    "(" * 1000 + ")" * 1000,
    "-" * 100_000 + "1",
    "x = " + "[" * 300 + "]" * 300,
    "x" + ".x" * 50_000,
    "9" * 10_000,
    "def sigmoid(x):\n    return x",
    "def read_weights(path):\n    return eval(path)",
    "class Network:\n    x = open('a')",
    "import json\nimport numpy as np\nclass FastNetwork:\n    x = 1",
    "if __name__ == '__main__':\n    import os",
    "if __name__ == '__main__':\n    open('a')",
    "if __name__ == '__main__':\n    s = 1\n    s.tofile('a')",
    "if __name__ == '__main__':\n    len = 1",
    "if __name__ != '__main__':\n    x = 1",
    "if open('a'):\n    x = 1",
    "if __name__ == '__main__':\n    x = 1\nelse:\n    x = 2",
]


def inside(text, statement):
    """The statement at places where it can stand in a module: in each method, the class, the top, the script."""
    lines = text.split("\n")
    statement = statement.replace("\\n", "\n").split("\n")
    tree = ast.parse(text)
    network = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Net")
    method = next(node for node in network.body if isinstance(node, ast.FunctionDef) and node.name != "__init__")
    last = method.body[-1]
    for line, indent in ((last.lineno - 1, 8), (network.body[-1].lineno - 1, 4), (len(lines), 0)):
        yield "\n".join([*lines[:line], *(" " * indent + part for part in statement), *lines[line:]])


def instead(text, expression):
    """The expression in place of others: of the first numbers of a call, of a default, of the value of a return."""
    for pattern in (r"(?<=return )x\b", r"(?<=momentum=)0.9", r"(?<=Linear\()\d+"):
        found = [match for match in re.finditer(pattern, text) if match.start() > text.index("\nclass Net")]
        if found:
            yield text[: found[-1].start()] + expression + text[found[-1].end() :]


def hostile_texts():
    """What no emitter would write, each with the target that would have: EXPRESSIONS and STATEMENTS at several places
    of three modules, and TEXTS."""
    for target, module in MODULES.items():
        yield from ((text, target) for text in hostile_to(target, module))


def hostile_to(target, text):
    """The texts for one target."""
    yield from TEXTS
    step = 4 if target == "fast" else 1  # its network is long
    for expression in EXPRESSIONS[::step]:
        yield from instead(text, expression)
        yield from inside(text, f"x = {expression}")
    for statement in STATEMENTS[::step]:
        yield from inside(text, statement)
    for own in TEXTS[::step]:
        yield f"{text}\n{own}"


def refused(text, target):
    try:
        gate(text, DIALECTS[target])
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.stem)
def test_what_is_generated_passes(path):
    text = path.read_text(encoding="utf-8")
    target = {"O2": "fast"}.get(path.stem.rpartition("_")[2], path.stem.rpartition("_")[2])
    assert gate(text, DIALECTS[target]) == text
    others = [other for other in DIALECTS if other not in (target, "fast")]
    assert all(refused(text, other) for other in others), "what one target may say another may not"


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_recipe_passes(loss, optimizer):
    last = " -> sigmoid" if loss == "bce" else " -> logsoftmax" if loss == "nll" else ""
    options = {"ce": " smooth=0.1 weights=(1, 2, 1)", "nll": " weights=(1, 2, 1)"}.get(loss, "")
    momentum = {"sgd": " momentum=0.9 nesterov", "rmsprop": " momentum=0.5"}.get(optimizer, " wd=1e-4")
    for more, init in (("", "xavier"), (" wd=0.01 decay=matrices", "gpt")):
        chosen = f"opt {optimizer}{momentum.removesuffix(' wd=1e-4') if more else momentum}{more}"
        train = f"train {{ loss {loss}{options}, {chosen}, clip 2.5, init {init} }}"
        net = compile_text(f"input 4\nlinear 8 -> res {{ linear 8 -> relu }} -> linear 3{last}\n{train}")
        for level in (0, 1, 2):
            net.numpy_source(level)
        net.torch_source()


@in_part("every", 5, 1, "a thousand hostile texts")
def test_hostile_texts_are_refused(request, every):
    texts = sorted(set(hostile_texts()))
    random.Random(0).shuffle(texts)
    texts = texts[: request.config.getoption("--hostile") : every]
    passed = [text for text, target in texts if not refused(text, target)]
    for text in passed:
        print("PASSED", difference(text))
    print(f"{len(texts):,} hostile texts: {len(texts) - len(passed):,} refused")
    assert len(texts) >= 1000 / every
    assert not passed, f"{len(passed)} passed, the first: {difference(passed[0])}"


def difference(text):
    """The lines that none of the modules has."""
    known = {line for module in MODULES.values() for line in module.split("\n")}
    return [line for line in text.split("\n") if line not in known]


def test_an_annotation_which_python_would_compute_is_refused():
    for target, text in MODULES.items():
        begin = text.index("def forward(self, x") + len("def forward(self, x")
        assert not refused(text, target)
        assert refused(f"{text[:begin]}: open('a'){text[begin:]}", target), target


def test_statements_that_reach_over_two_empty_lines_are_read_as_one():
    doc, rest = MODULES["numpy"].split('"""', 2)[1:]
    assert not refused(f'"""{doc}\n\n\nimport os\n\n\n"""{rest}', "numpy")
    assert refused(f'"""{doc}"""\n\n\nimport os\n\n\n{rest}', "numpy")
    assert refused(f"{MODULES['numpy']}\n\n\nelse:\n\n\n    x = 1", "numpy")


def test_the_places_of_hostile_texts_take_what_is_harmless():
    """The places are ones where code would run: the same texts with harmless code in them pass."""
    for target, text in MODULES.items():
        harmless = "np.zeros(3)" if target != "torch" else "nn.Identity()"
        assert not any(refused(changed, target) for changed in instead(text, "1"))
        assert not refused(next(inside(text, f"x = {harmless}")), target), target


def test_every_changed_byte_of_a_kernel_is_seen():
    text = MODULES["numpy"]
    begin = text.index("def linear_forward")
    body = text[begin : text.index("\n\n\n", begin)]
    at = [i for i, c in enumerate(body) if c.isalnum()]
    changed = [text[: begin + i] + ("7" if body[i] != "7" else "8") + text[begin + i + 1 :] for i in at]
    assert len(changed) > 100
    assert all(refused(other, "numpy") for other in changed)


def test_what_emitters_may_say_names_nothing_that_reaches_outside():
    outside = re.compile(
        r"load|save(?!d)|file|open|dump|exec|eval|compile|ctypes|import|globals|hub|ops|\bos$|sys|__|f2py|mmap|pickle|hook"
    )
    count = 0
    for dialect in DIALECTS.values():
        words = words_of(dialect)
        said = [*words.chains, *words.attributes, *words.names, *gates.BUILTINS]
        count += len(said)
        assert not [word for word in said if outside.search(word)]
    print(f"{count} words of emitters")
    assert {"np.zeros", "np.random.default_rng"} <= words_of(TEXTBOOK).chains
    assert {"nn.Conv2d", "torch.cat"} <= words_of(TORCH).chains
    assert {"cp.zeros", "cp.asarray"} <= words_of(CUPY).chains


def test_a_node_or_builtin_that_no_emitted_text_has_is_not_allowed():
    """The lists are as short as they can be."""
    texts = [*MODULES.values(), *(path.read_text(encoding="utf-8") for path in GENERATED)]
    more = compile_text("input 4x6x6\nslice 1 2 -> conv 4 -> mul { id | conv 4 k1 p0 -> sigmoid }\n")
    nodes = [node for text in [*texts, more.torch_source(), more.numpy_source(2)] for node in ast.walk(ast.parse(text))]
    seen = {type(node) for node in nodes}
    assert not [node.__name__ for node in gates.NODES if node not in seen]
    assert not gates.BUILTINS.difference(node.id for node in nodes if isinstance(node, ast.Name))


def test_the_gate_holds_without_assertions():
    code = (
        "from netdsl.targets.text.gate import gate\nfrom netdsl.targets.numpy.dialect import DIALECT\n"
        "try: gate('x = 1', DIALECT)\nexcept AssertionError: print('refused')"
    )
    found = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert found.stdout == "refused\n", found.stderr


@pytest.mark.parametrize(
    "value", ["a b", "x'", 'x"', "é", "a;b", "a..b", "", "1a", float("nan"), float("inf"), 1j, b"a", [1], {}, ("a b",)]
)
def test_a_value_that_is_no_number_or_name_cannot_be_written(value):
    with pytest.raises(AssertionError):
        value_text(value)


def test_values_are_written_so_that_python_reads_them_again():
    numbers = (0, -1, 10**20, 0.1, -1e-300, 5e-324, True, False, None)
    for value in (*numbers, *product(numbers, repeat=2), ((1, 2), (3,)), (), "conv1", "layer1.0.conv1"):
        assert ast.literal_eval(value_text(value)) == value
    assert value_text(compile_text) == "compile_text"
