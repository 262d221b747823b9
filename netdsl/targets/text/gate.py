"""The gate: what an emitted module may say. Every emitted text passes it before it is written or run.

It is the second lock. By construction nothing in emitted text comes from outside but identifiers and numbers; here the
text is read again, and whatever is not known is refused. Two kinds of code are known:

- Kernels, networks and helpers: a function or class at the top whose text is, byte for byte, one of netdsl's own, as
  `plain_text` leaves it.
- What emitters write around them: the nodes of NODES, names that are bound in the module or stand in BUILTINS, and of
  modules and values the attributes that the emitters' own source says (`np.zeros`, `.mean`), read there by `_words`.
"""

from __future__ import annotations

import ast
import builtins
import re
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.resources import files
from math import isfinite
from pkgutil import iter_modules

from netdsl.ground.names import reserved
from netdsl.layers import layer_table
from netdsl.targets.registry import reserved_names
from netdsl.targets.text.kernel_source import STANDARD, emitted_text, imported_modules, walk

_NUMPY_EMITTERS = ("numpy.emitter", "fast.emitter", "text.ends", "text.numpy_demo", "text.recipe_lines")
_TORCH_EMITTERS = ("torch.emitter", "torch.items", "torch.forward", "text.ends")
_NETWORKS = ("numpy.network", "numpy.named_network", "fast.network", "fast.weighted_network")
_SCRIPTS = ("text.answers", "text.named_answers", "torch.answers")  # what a module does when it is run
_TEMPLATES = ("numpy_module.py.j2", "fast_module.py.j2", "torch_module.py.j2")

_TORCH_IMPORTS = {
    "from torch import nn": "nn",
    "import torch": "torch",
    "import torch.nn.functional as F": "F",
    "from collections import OrderedDict": "OrderedDict",
}
_NUMPY_IMPORTS = {"import numpy as np": "np", **{f"import {module}": module for module in STANDARD}}
BUILTINS = frozenset(["len", "print", "range", "reversed", "staticmethod", "super"])
NODES = (
    *(ast.arguments, ast.arg, ast.Return, ast.Assign, ast.AugAssign, ast.Expr),
    *(ast.Attribute, ast.BinOp, ast.Call, ast.Constant, ast.Dict, ast.DictComp, ast.FormattedValue, ast.GeneratorExp),
    *(ast.IfExp, ast.JoinedStr, ast.keyword, ast.Lambda, ast.List, ast.Name, ast.Slice, ast.Starred, ast.Subscript),
    *(ast.Tuple, ast.UnaryOp, ast.YieldFrom, ast.comprehension, ast.Compare, ast.Eq),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.USub),
)
_MEMBERS = ("add_module", "register_parameter", "get_parameter", "get_submodule")  # of a torch module, with a name
_CALLED = ("forward", "logits", "all_outputs")  # with the inputs
_SCOPES = (ast.Lambda, ast.DictComp, ast.GeneratorExp)
_TEXT = re.compile(r"[\n -~]*")
_CODING = re.compile(r"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", re.MULTILINE)
_PATH = re.compile(r"[\w.]*", re.ASCII)  # what a string may hold: the path of a layer or param, or a word
_HEAD = re.compile(r"\w+\(self\b[^{}]*\)")
_CHAIN = re.compile(r"\b(?:np|nn|torch|F)(?:\.[A-Za-z]\w*)+")
_ATTRIBUTE = re.compile(r"\.([A-Za-z]\w*)")


def gate(text: str) -> str:
    """`text`, unless it is more than an emitted module may be. Raises AssertionError, which is a bug of netdsl."""
    _check(bool(_TEXT.fullmatch(text)), "a character that is no printable ASCII")
    start = "\n".join(text.split("\n", 2)[:2])
    _check(set(_CODING.findall(start)) <= {"utf-8"}, "an encoding that is not utf-8")
    try:
        tree = ast.parse(text)
        _Module(text, tree).check()
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise AssertionError(f"the emitted text is no module: {str(error)[:200]}") from None
    return text


def _check(holds: bool, what: str) -> None:
    """An assertion that `python -O` keeps."""
    if not holds:
        raise AssertionError(f"the emitted text has {what[:200]}")


# -------------------------------------------------------------------------------------------- what is known


def _strings(code: types.CodeType, doc: str | None) -> Iterator[str]:
    """The strings in a function's code but its docstring, those of functions inside it too."""
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            yield from _strings(value, None)
        elif isinstance(value, str) and value != doc:
            yield value


def _functions(module: types.ModuleType) -> Iterator[types.FunctionType]:
    for value in vars(module).values():
        for function in vars(value).values() if isinstance(value, type) else (value,):
            function = getattr(function, "fget", function)
            if isinstance(function, types.FunctionType) and function.__module__ == module.__name__:
                yield function


def _rule_strings(rules: Iterable[Callable]) -> Iterator[str]:
    """The strings of layers' rules, and of the functions that they call."""
    waiting: list[object] = list(rules)
    seen: set[object] = set()
    while waiting:
        function = waiting.pop()
        if not isinstance(function, types.FunctionType) or function in seen:
            continue
        seen.add(function)
        yield from _strings(function.__code__, function.__doc__)
        waiting += [function.__globals__.get(name) for name in function.__code__.co_names]


@dataclass(frozen=True)
class _Words:
    """chains: `np.zeros`, `nn.Conv2d`. attributes: of values. heads: of methods. names: classes that a layer's rule
    writes."""

    chains: frozenset[str]
    attributes: frozenset[str]
    heads: frozenset[str]
    names: frozenset[str]


def _words(is_torch: bool) -> _Words:
    """What the emitters of one target write, read from their own source: strings of their code, templates, and the
    rules of layers."""
    layers = layer_table().values() if is_torch else ()
    return _words_with(is_torch, tuple(rule for layer in layers for rule in (layer.torch, layer.torch_call) if rule))


@cache
def _words_with(is_torch: bool, rules: tuple[Callable, ...]) -> _Words:
    written = set(_rule_strings(rules))
    texts, members = _emitter_strings(is_torch) | written, _MEMBERS if is_torch else ()
    names = {match for text in written for match in re.findall(r"^([A-Z]\w+)(?:\(|$)", text)}
    return _Words(
        frozenset(chain for text in texts for chain in _CHAIN.findall(text)),
        frozenset(name for text in texts for name in _ATTRIBUTE.findall(_CHAIN.sub("", text))) | set(members),
        frozenset(text.replace('"', "'") for text in texts if _HEAD.fullmatch(text)),
        frozenset(name for name in names if not hasattr(builtins, name)),
    )


@cache
def _emitter_strings(is_torch: bool) -> set[str]:
    """The strings in the code of the emitters of one target, and the lines of its templates without Jinja's tags."""
    modules = [import_module(f"netdsl.targets.{name}") for name in (_TORCH_EMITTERS if is_torch else _NUMPY_EMITTERS)]
    strings = (s for m in modules for f in _functions(m) for s in _strings(f.__code__, f.__doc__))
    texts = {s for s in strings if not s.startswith(("import ", "from ")) and not s.endswith((".j2", ".py"))}
    for name in _TEMPLATES:
        if name.startswith("torch") == is_torch:
            lines = _template(name)
            texts |= {line.strip() for line in lines}
            texts |= {line.strip().removeprefix("def ").rstrip(":") for line in lines}
    return texts


@cache
def _template(name: str) -> tuple[str, ...]:
    """The lines of a template behind its docstring, without Jinja's tags."""
    text = files("netdsl.targets").joinpath("templates", name).read_text(encoding="utf-8")
    return tuple(re.sub(r"\{[{%].*?[}%]\}", " ", text).split('"""', 2)[2].split("\n"))


@cache
def _constants() -> frozenset[str]:
    """What templates assign at the top of a module: `INPUT_SHAPE`, `OUTPUTS, LOGITS, ...`, `Model`."""
    lines = (line for name in _TEMPLATES for line in _template(name))
    heads = [line.partition(" = ")[0] for line in lines if re.match(r"[A-Z][\w, ]* = ", line)]
    return frozenset(name for head in heads for name in head.split(", "))


@cache
def _kernel_modules() -> tuple[types.ModuleType, ...]:
    from netdsl import kernels, stages

    names = [f"{room.__name__}.{module.name}" for room in (kernels, stages) for module in iter_modules(room.__path__)]
    names += [f"netdsl.targets.{name}" for name in (*_NETWORKS, *_SCRIPTS)]
    return tuple(import_module(name) for name in names)


def _holder(name: str, text: str, layers: Iterable[types.ModuleType]) -> types.ModuleType | None:
    """The module of netdsl that has a definition of that name which is emitted as these very bytes."""
    for module in (*_kernel_modules(), *layers):
        if name in vars(module) and emitted_text(module, name) == text:
            return module
    return None


def _computes(module: types.ModuleType) -> bool:
    """Whether it imports numpy and math at most, so that none of its kernels can reach a file or a process."""
    used = {value.__name__ for value in vars(module).values() if isinstance(value, types.ModuleType)}
    return used <= {"numpy", "math"}


# -------------------------------------------------------------------------------------------- what is checked


class _Module:
    """The check of one module. names: what its functions may read beside their own; bases: what a class may extend;
    scripts: what it may call when it is run."""

    def __init__(self, text: str, tree: ast.Module) -> None:
        self.lines, self.tree = text.split("\n"), tree
        imports = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        self.is_torch = "from torch import nn" in imports
        known = _TORCH_IMPORTS if self.is_torch else _NUMPY_IMPORTS
        for line in imports:
            _check(line in known, f"the import `{line}`")
        self.roots = {known[line] for line in imports} - {"OrderedDict"}
        self.words = _words(self.is_torch)
        self.layers = [import_module(layer.forward.__module__) for layer in layer_table().values()]
        self.helpers = {text for one in layer_table().values() for text in (*one.torch_helpers, one.torch_straight)}
        self.names: set[str] = {*BUILTINS, *self.words.names, *({known[line] for line in imports} - self.roots)}
        self.bases: set[str] = {"nn.Module"} if self.is_torch else set()
        self.defined: set[str] = set()
        self.scripts: set[str] = set()
        self.own: list[str] = []
        self.labels: set[str] = set()  # of layers in a torch module
        self.has_stages = False  # whether `s` is the stages, where the check is now

    def check(self) -> None:
        rest: list[ast.stmt] = []
        for index, node in enumerate(self.tree.body):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                self.define(node.name)
                if self.is_own(node):
                    continue
                _check(isinstance(node, ast.ClassDef), f"the function `{node.name}`, which is not netdsl's")
                self.names.add(node.name)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                self.define(node.names[0].asname or node.names[0].name)
                continue
            elif index == 0 and _is_doc(node):
                continue
            elif isinstance(node, ast.Assign):
                for name in _targets(node):
                    self.define(name)
                    _check(name in _constants(), f"the name `{name}` at its top")
                    self.names.add(name)
            rest.append(node)
        if self.is_torch:
            self.labels = {name for node in rest for name in _labels(node) if not reserved(name, reserved_names())}
        for node in rest:
            self.top(node)
        idle = self.roots - {"np", *imported_modules(self.own)} if not self.is_torch else set()
        _check(not idle, f"an import of {sorted(idle)} for nothing")

    def define(self, name: str) -> None:
        """A name at the top stands for one thing."""
        taken = name in self.defined or hasattr(builtins, name)
        _check(not taken and not name.startswith("_"), f"a second meaning of `{name}`")
        self.defined.add(name)

    def is_own(self, node: ast.FunctionDef | ast.ClassDef) -> bool:
        """Whether it is netdsl's own, byte for byte; what only computes can be called, a network extended."""
        if node.decorator_list:
            return False
        text = "\n".join(self.lines[node.lineno - 1 : node.end_lineno])
        if self.is_torch and text in self.helpers:
            self.names.add(node.name)
            return True
        module = _holder(node.name, text, self.layers)
        if module is None:
            return False
        self.own.append(text)
        kind = module.__name__.removeprefix("netdsl.targets.")
        if kind in _SCRIPTS:
            self.scripts.add(node.name)
        elif self.is_torch:
            return False
        elif kind in _NETWORKS:
            self.bases.add(node.name)
        elif _computes(module):
            self.names.add(node.name)
        return True

    def top(self, node: ast.stmt) -> None:
        """A statement at the top: the class of the network, a constant, or what runs as a script."""
        if isinstance(node, ast.ClassDef):
            self.network(node)
        elif isinstance(node, ast.Assign):
            self.inside(node.value, frozenset())
        else:
            _check(isinstance(node, ast.If) and not node.orelse, f"{_said(node)} at its top")
            _check(ast.unparse(node.test) == "__name__ == '__main__'", f"the condition `{ast.unparse(node.test)}`")
            body = [line for part in node.body for line in (part.body if isinstance(part, ast.For) else [part])]
            scope = _bound([*body, *(part.target for part in node.body if isinstance(part, ast.For))])
            self.has_stages = False
            for name in scope:
                self.define(name)
            scope |= self.scripts
            for part in node.body:
                if isinstance(part, ast.For):
                    _check(isinstance(part.target, ast.Name) and not part.orelse, "a loop over several names")
                    self.inside(part.iter, scope)
            for line in body:
                self.inside(line, scope)

    def network(self, node: ast.ClassDef) -> None:
        bases = [ast.unparse(base) for base in node.bases]
        plain = not (node.keywords or node.decorator_list or getattr(node, "type_params", None))
        _check(plain and len(bases) == 1 and bases[0] in self.bases, f"the class `{node.name}` with {bases}")
        for index, part in enumerate(node.body):
            self.has_stages = False
            if isinstance(part, ast.FunctionDef):
                self.method(part)
            elif isinstance(part, ast.Assign):
                self.assign(part, frozenset())
                taken = self.roots | {name for name in _targets(part) if hasattr(builtins, name) or name[0] == "_"}
                _check(not taken.intersection(_targets(part)), "a name in a class that means something else")
                self.inside(part.value, frozenset())
            else:
                _check(index == 0 and _is_doc(part), f"{_said(part)} in a class")

    def method(self, node: ast.FunctionDef) -> None:
        head = f"{node.name}({ast.unparse(node.args)})"
        own = node.name in (("__init__", *_CALLED) if self.is_torch else _CALLED)  # its arguments are the inputs' names
        known = own or (not self.is_torch and head in self.words.heads)
        a = node.args
        plain = not (node.decorator_list or node.returns or a.vararg or a.kwarg or a.posonlyargs or a.kwonlyargs)
        _check(known and plain, f"the method `{head}`")
        _check(bool(a.args) and a.args[0].arg == "self", f"the method `{head}`")
        _check("self" not in _bound(node.body), "another `self`")
        takes = any(arg.arg == "s" for arg in a.args)
        self.has_stages = not self.is_torch and (takes or _makes_stages(node))
        _check(not (takes and self.has_stages and "s" in _bound(node.body)), "another `s`")
        for default in a.defaults:
            self.inside(default, frozenset())
        scope = _bound([*node.body, *a.args])
        odd = [name for name in scope if name in self.roots or name.startswith("__")]
        _check(not odd, f"another meaning of {odd}")
        for index, line in enumerate(node.body):
            if not (index == 0 and _is_doc(line)):
                self.inside(line, scope)

    # ---------------------------------------------------------------- inside

    def inside(self, node: ast.AST, scope: frozenset[str]) -> None:
        """A statement or expression, and all in it. scope: the names that are bound around it."""
        _check(type(node) in NODES, _said(node))
        rule = _RULES.get(type(node))
        if isinstance(node, _SCOPES):
            inner = _bound([node.args] if isinstance(node, ast.Lambda) else node.generators)
            _check("self" not in inner and not (self.has_stages and "s" in inner), "another `self`")
            scope |= inner
        if rule is not None:
            rule(self, node, scope)
        if isinstance(node, ast.Attribute) and self.chain(node, scope):
            return
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.expr_context):
                self.inside(child, scope)

    def chain(self, node: ast.Attribute, scope: frozenset[str]) -> bool:
        """`np.random.default_rng`, as the emitters write it; False for an attribute of a value."""
        parts = [node.attr]
        value = node.value
        while isinstance(value, ast.Attribute):
            parts.append(value.attr)
            value = value.value
        if not isinstance(value, ast.Name) or value.id in scope:
            return False
        text = ".".join([value.id, *reversed(parts)])
        _check(value.id in self.roots and text in self.words.chains, f"`{text}`")
        return True

    def attribute(self, node: ast.Attribute, scope: frozenset[str]) -> None:
        name, root = node.attr, _root(node)
        if isinstance(node.ctx, ast.Store):
            places = ("self", "s") if self.has_stages else ("self",)
            _check(isinstance(node.value, ast.Name) and root in places, f"an assignment to `{name[:80]}`")
        if self.chain(node, scope):
            return
        if name == "__init__":
            _check(ast.unparse(node) == "super().__init__", "`__init__` of something")
            return
        is_label = (
            root == "self" and name in self.labels
            if self.is_torch
            else self.has_stages and root == "s" and name[0] != "_"
        )
        _check(is_label or name in self.words.attributes, f"the attribute `{name[:80]}`")

    def name(self, node: ast.Name, scope: frozenset[str]) -> None:
        known = node.id in scope if isinstance(node.ctx, ast.Store) else node.id in scope or node.id in self.names
        _check(known, f"the name `{node.id[:80]}`")

    def constant(self, node: ast.Constant, scope: frozenset[str]) -> None:
        value = node.value
        if isinstance(value, str):
            _check(bool(_PATH.fullmatch(value)), f"the text {value[:80]!r}")
        else:
            number = isinstance(value, int) or (isinstance(value, float) and isfinite(value))
            _check(value is None or value is ... or number, f"the constant {ast.unparse(node)[:80]}")

    def joined(self, node: ast.JoinedStr, scope: frozenset[str]) -> None:
        """Texts between values; `inside` goes on to the values alone."""
        node.values = [part for part in node.values if not isinstance(part, ast.Constant)]

    def formatted(self, node: ast.FormattedValue, scope: frozenset[str]) -> None:
        form = node.format_spec
        _check(form is None or bool(re.fullmatch(r"f'\.\df'", ast.unparse(form))), "a format")
        _check(node.conversion == -1, "a conversion in a text")
        node.format_spec = None

    def assign(self, node: ast.Assign, scope: frozenset[str]) -> None:
        _check(len(node.targets) == 1, "two assignments in one")
        for target in _flat(node.targets[0]):
            _check(isinstance(target, ast.Name | ast.Attribute | ast.Subscript), f"an assignment to {_said(target)}")

    def aug_assign(self, node: ast.AugAssign, scope: frozenset[str]) -> None:
        _check(isinstance(node.target, ast.Name), f"an assignment to {_said(node.target)}")

    def expression(self, node: ast.Expr, scope: frozenset[str]) -> None:
        _check(isinstance(node.value, ast.Call | ast.YieldFrom), f"a line that is {_said(node.value)}")

    def keyword(self, node: ast.keyword, scope: frozenset[str]) -> None:
        _check(node.arg is not None, "`**`")

    def comprehension(self, node: ast.comprehension, scope: frozenset[str]) -> None:
        _check(not node.ifs and not node.is_async, "a comprehension with conditions")


_RULES: dict[type, Callable[[_Module, ast.AST, frozenset[str]], None]] = {
    ast.Attribute: _Module.attribute,
    ast.Name: _Module.name,
    ast.Constant: _Module.constant,
    ast.JoinedStr: _Module.joined,
    ast.FormattedValue: _Module.formatted,
    ast.Assign: _Module.assign,
    ast.AugAssign: _Module.aug_assign,
    ast.Expr: _Module.expression,
    ast.keyword: _Module.keyword,
    ast.comprehension: _Module.comprehension,
}


def _said(node: ast.AST) -> str:
    return f"`{type(node).__name__}`"


def _is_doc(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _flat(target: ast.AST) -> Iterator[ast.AST]:
    if isinstance(target, ast.Tuple):
        for part in target.elts:
            yield from _flat(part)
    else:
        yield target


def _targets(node: ast.Assign) -> list[str]:
    """The names that an assignment at the top of a module or class gives. Raises AssertionError for other targets."""
    targets = [target for part in node.targets for target in _flat(part)]
    _check(all(isinstance(target, ast.Name) for target in targets), "an assignment to no name")
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _bound(nodes: Iterable[ast.AST]) -> frozenset[str]:
    """The names that these bind in their own scope: arguments, and what is assigned outside lambdas and the like."""
    found: set[str] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif not isinstance(node, _SCOPES):
            waiting += ast.iter_child_nodes(node)
    return frozenset(found)


def _root(node: ast.Attribute) -> str:
    """`self` of `self.encoder.conv1`; nothing where it is no name."""
    value = node.value
    while isinstance(value, ast.Attribute):
        value = value.value
    return value.id if isinstance(value, ast.Name) else ""


def _labels(tree: ast.AST) -> Iterator[str]:
    """What can be a member of a torch module: assigned to `self`, or named in a dict."""
    for node in walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.keyword) and node.arg is not None:
            yield node.arg


def _makes_stages(node: ast.FunctionDef) -> bool:
    """Whether its only `s` is that of the first line, `s = Stages()`."""
    lines = node.body[1:] if _is_doc(node.body[0]) else node.body
    known = [ast.unparse(ast.parse(line)) for line in ("s = Stages()", "p, s = self.params, Stages()")]
    return bool(lines) and "s" not in _bound(lines[1:]) and ast.unparse(lines[0]) in known
