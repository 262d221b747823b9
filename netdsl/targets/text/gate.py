"""The gate: what an emitted module may say. Every emitted text passes it before it is written or run.

It is the second lock. By construction nothing in emitted text comes from outside but identifiers and numbers; here the
text is read again, and whatever is not known is refused. Two kinds of code are known:

- Kernels, networks and helpers: a function or class at the top whose text is, byte for byte, one of netdsl's own, as
  `plain_text` leaves it.
  In a fast network a part of that, too (`derived`), or of what it is where no workers share layers (`alone`).
- What emitters write around them: the nodes of NODES, names that are bound in the module or stand in BUILTINS, and of
  modules and values the attributes that the emitters' own source says (`np.zeros`, `.mean`), read there by `words`.

Which those are, says the `Dialect` of the target that writes.
"""

from __future__ import annotations

import ast
import builtins
import re
import types
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from math import isfinite
from typing import Any

from netdsl.ground.names import reserved
from netdsl.targets.dialect import Dialect
from netdsl.targets.text.alone import alone
from netdsl.targets.text.derived import is_derived
from netdsl.targets.text.kernel_source import REMEMBERED, children, imported_modules, parsed
from netdsl.targets.text.plain_text import is_record
from netdsl.targets.text.tree import (
    SCOPES,
    bound,
    check,
    flat,
    is_doc,
    labels_in,
    makes_stages,
    names_given,
    root_of,
    said,
)
from netdsl.targets.text.words import constants_of, has_constant, holder, known_names, origin, roots, words_of

BUILTINS = frozenset(["len", "print", "range", "reversed", "staticmethod", "super"])
_SAID = (
    *(ast.arguments, ast.arg, ast.Return, ast.Assign, ast.AugAssign, ast.Expr, ast.Attribute, ast.BinOp, ast.Call),
    *(ast.Constant, ast.Dict, ast.DictComp, ast.FormattedValue, ast.GeneratorExp, ast.IfExp, ast.JoinedStr),
    *(ast.keyword, ast.Lambda, ast.List, ast.Name, ast.Slice, ast.Starred, ast.Subscript, ast.Tuple, ast.UnaryOp),
    *(ast.YieldFrom, ast.comprehension, ast.Compare, ast.Eq),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.USub),
)
NODES = frozenset(_SAID)
_HEAD = re.compile(r"^(?:def|class) (\w+)", re.MULTILINE)
_TEXT = re.compile(r"[\n -~]*")
_CODING = re.compile(r"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", re.MULTILINE)
_PATH = re.compile(r"[\w.]*", re.ASCII)  # what a string may hold: the path of a layer or param, or a word


def gate(text: str, dialect: Dialect) -> str:
    """`text`, unless it is more than a module of the dialect may be. Raises AssertionError, which is a bug of
    netdsl."""
    check(bool(_TEXT.fullmatch(text)), "a character that is no printable ASCII")
    start = "\n".join(text.split("\n", 2)[:2])
    check(set(_CODING.findall(start)) <= {"utf-8"}, "an encoding that is not utf-8")
    try:
        _Module(_statements(text, dialect), dialect).check()
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise AssertionError(f"the emitted text is no module: {str(error)[:200]}") from None
    return text


Statement = tuple[ast.stmt, str]
"""A statement at the top of a module, and its lines, those of decorators too."""


def _statements(text: str, dialect: Dialect) -> list[Statement]:
    """The statements of a module. It is read in parts, at two empty lines each, since most definitions come again with
    the next network: parts that are Python one by one are so together. If one is none, the module is read as a
    whole."""
    try:
        return [one for part in text.split("\n\n\n") for one in _part(part, dialect)]
    except SyntaxError:
        return _part(text, dialect)


def _part(text: str, dialect: Dialect) -> list[Statement]:
    """What has the name of one of netdsl's definitions is remembered; the network, which is large, is not."""
    lines, head = text.split("\n"), _HEAD.search(text)
    tree = parsed(text) if head and head[1] in known_names(dialect) else ast.parse(text)
    return [(node, "\n".join(lines[_first_line(node) - 1 : node.end_lineno])) for node in tree.body]


def _first_line(node: ast.stmt) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))])


class _Module:
    """The check of one module. names: what its functions may read beside their own; bases: what a class may extend;
    scripts: what it may call when it is run."""

    def __init__(self, statements: Sequence[Statement], dialect: Dialect) -> None:
        self.statements, self.dialect = statements, dialect
        imports = [ast.unparse(node) for node, _ in statements if isinstance(node, ast.Import | ast.ImportFrom)]
        known = {**(dialect.kernel_imports or {}), **dialect.imports}
        for line in imports:
            check(line in known, f"the import `{line}`")
        imported = {known[line] for line in imports}
        self.roots = imported - dialect.callable
        self.words, self.helpers = words_of(dialect), set(dialect.helpers())
        self.names: set[str] = {*BUILTINS, *self.words.names, *(imported & dialect.callable)}
        self.bases: set[str] = set(dialect.bases)
        self.defined: set[str] = set()
        self.scripts: set[str] = set()
        self.own: list[str] = []
        self.labels: set[str] = set()  # of layers, where they are attributes
        self.has_stages = False  # whether `s` is the stages, where the check is now

    def check(self) -> None:
        rest: list[ast.stmt] = []
        for index, (node, text) in enumerate(self.statements):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                self.define(node.name)
                if self.is_own(node, text):
                    continue
                check(isinstance(node, ast.ClassDef), f"the function `{node.name}`, which is not netdsl's")
                self.names.add(node.name)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                self.define(node.names[0].asname or node.names[0].name)
                continue
            elif index == 0 and is_doc(node):
                continue
            elif isinstance(node, ast.Assign):
                given = names_given(node)
                own = has_constant(self.dialect, given[0], text)
                for name in given:
                    self.define(name)
                    check(own or name in constants_of(self.dialect), f"the name `{name}` at its top")
                    self.names.add(name)
                if own:
                    continue
            rest.append(node)
        if self.dialect.labels is not None:
            names = {name for node in rest for name in labels_in(node)}
            self.labels = {name for name in names if not reserved(name, self.dialect.labels)}
        for node in rest:
            self.top(node)
        idle = self.roots - roots(self.dialect) - set(imported_modules(self.own))
        check(not idle, f"an import of {sorted(idle)} for nothing")

    def define(self, name: str) -> None:
        """A name at the top stands for one thing."""
        taken = name in self.defined or hasattr(builtins, name)
        check(not taken and not name.startswith("_"), f"a second meaning of `{name}`")
        self.defined.add(name)

    def is_own(self, node: ast.FunctionDef | ast.ClassDef, text: str) -> bool:
        """Whether it is netdsl's own, byte for byte; what only computes can be called, a network extended."""
        if node.decorator_list and not is_record(node):
            return False
        if text in self.helpers:
            self.names.add(node.name)
            return True
        module = _home(self.dialect, node.name, text)
        if module is None:
            return False
        self.own.append(text)
        if module.__name__ in self.dialect.scripts:
            self.scripts.add(node.name)
        elif module.__name__ in self.dialect.networks:
            self.bases.add(node.name)
            if isinstance(node, ast.FunctionDef):
                self.names.add(node.name)
        elif _computes(module):
            self.names.add(node.name)
        return True

    def top(self, node: ast.stmt) -> None:
        """A statement at the top: the class of the network, a constant, or what runs as a script."""
        if isinstance(node, ast.ClassDef):
            self.network(node)
        elif isinstance(node, ast.Assign):
            self.inside(node.value, frozenset(self.bases))
        else:
            check(isinstance(node, ast.If), f"{said(node)} at its top")
            assert isinstance(node, ast.If)
            self.script(node)

    def script(self, node: ast.If) -> None:
        """What a module does when it is run."""
        check(not node.orelse, f"{said(node)} at its top")
        check(ast.unparse(node.test) == "__name__ == '__main__'", f"the condition `{ast.unparse(node.test)}`")
        body = [line for part in node.body for line in (part.body if isinstance(part, ast.For) else [part])]
        scope = bound([*body, *(part.target for part in node.body if isinstance(part, ast.For))])
        self.has_stages = False
        for name in scope:
            self.define(name)
        scope |= self.scripts
        for part in node.body:
            if isinstance(part, ast.For):
                check(isinstance(part.target, ast.Name) and not part.orelse, "a loop over several names")
                self.inside(part.iter, scope)
        for line in body:
            self.inside(line, scope)

    def network(self, node: ast.ClassDef) -> None:
        bases = [ast.unparse(base) for base in node.bases]
        plain = not (node.keywords or node.decorator_list or getattr(node, "type_params", None))
        known = not bases if self.dialect.has_stages else len(bases) == 1 and bases[0] in self.bases
        check(plain and known, f"the class `{node.name}` with {bases}")
        for index, part in enumerate(node.body):
            self.has_stages = False
            if isinstance(part, ast.FunctionDef):
                self.method(part)
            elif isinstance(part, ast.Assign):
                self.assign(part, frozenset())
                taken = self.roots | {name for name in names_given(part) if hasattr(builtins, name) or name[0] == "_"}
                check(not taken.intersection(names_given(part)), "a name in a class that means something else")
                self.inside(part.value, frozenset())
            else:
                check(index == 0 and is_doc(part), f"{said(part)} in a class")

    def method(self, node: ast.FunctionDef) -> None:
        head = f"{node.name}({ast.unparse(node.args)})"
        known = node.name in self.dialect.methods or head in self.words.heads
        a = node.args
        plain = not (node.decorator_list or node.returns or a.vararg or a.kwarg or a.posonlyargs or a.kwonlyargs)
        plain &= not any(arg.annotation for arg in a.args)
        check(known and plain, f"the method `{head}`")
        check(bool(a.args) and a.args[0].arg == "self", f"the method `{head}`")
        given = bound(node.body)
        check("self" not in given, "another `self`")
        takes = any(arg.arg == "s" for arg in a.args)
        self.has_stages = self.dialect.has_stages and (takes or makes_stages(node))
        check(not (takes and self.has_stages and "s" in given), "another `s`")
        for default in a.defaults:
            self.inside(default, frozenset())
        scope = given | bound(a.args)
        odd = [name for name in scope if name in self.roots or name.startswith("__")]
        check(not odd, f"another meaning of {odd}")
        for index, line in enumerate(node.body):
            if not (index == 0 and is_doc(line)):
                self.inside(line, scope)

    # ---------------------------------------------------------------- inside

    def inside(self, node: ast.AST, scope: frozenset[str]) -> None:
        """A statement or expression, and all in it. scope: the names that are bound around it."""
        check(type(node) in NODES, said(node))
        rule = _RULES.get(type(node))
        if isinstance(node, SCOPES):
            inner = bound([node.args] if isinstance(node, ast.Lambda) else node.generators)
            check("self" not in inner and not (self.has_stages and "s" in inner), "another `self`")
            scope |= inner
        if rule is not None:
            rule(self, node, scope)
        if isinstance(node, ast.Attribute) and self.chain(node, scope):
            return
        for child in _below(node):
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
        check(value.id in self.roots and text in self.words.chains, f"`{text}`")
        return True

    def attribute(self, node: ast.Attribute, scope: frozenset[str]) -> None:
        name, root = node.attr, root_of(node)
        if isinstance(node.ctx, ast.Store):
            places = ("self", "s") if self.has_stages else ("self",)
            check(isinstance(node.value, ast.Name) and root in places, f"an assignment to `{name[:80]}`")
        if self.chain(node, scope):
            return
        if name == "__init__":
            check(ast.unparse(node) == "super().__init__", "`__init__` of something")
            return
        is_stage = self.has_stages and root == "s" and name[0] != "_"
        is_label = is_stage or (root == "self" and name in self.labels)
        check(is_label or name in self.words.attributes, f"the attribute `{name[:80]}`")

    def name(self, node: ast.Name, scope: frozenset[str]) -> None:
        known = node.id in scope if isinstance(node.ctx, ast.Store) else node.id in scope or node.id in self.names
        check(known, f"the name `{node.id[:80]}`")

    def constant(self, node: ast.Constant, scope: frozenset[str]) -> None:
        value = node.value
        if isinstance(value, str):
            check(bool(_PATH.fullmatch(value)), f"the text {value[:80]!r}")
        else:
            number = isinstance(value, int) or (isinstance(value, float) and isfinite(value))
            check(value is None or value is ... or number, f"a constant of type `{type(value).__name__}`")

    def formatted(self, node: ast.FormattedValue, scope: frozenset[str]) -> None:
        form = node.format_spec
        check(form is None or bool(re.fullmatch(r"f'\.\df'", ast.unparse(form))), "a format")
        check(node.conversion == -1, "a conversion in a text")

    def assign(self, node: ast.Assign, scope: frozenset[str]) -> None:
        check(len(node.targets) == 1, "two assignments in one")
        for target in flat(node.targets[0]):
            check(isinstance(target, ast.Name | ast.Attribute | ast.Subscript), f"an assignment to {said(target)}")

    def aug_assign(self, node: ast.AugAssign, scope: frozenset[str]) -> None:
        check(isinstance(node.target, ast.Name), f"an assignment to {said(node.target)}")

    def expression(self, node: ast.Expr, scope: frozenset[str]) -> None:
        check(isinstance(node.value, ast.Call | ast.YieldFrom), f"a line that is {said(node.value)}")

    def keyword(self, node: ast.keyword, scope: frozenset[str]) -> None:
        check(node.arg is not None, "`**`")

    def comprehension(self, node: ast.comprehension, scope: frozenset[str]) -> None:
        check(not node.ifs and not node.is_async, "a comprehension with conditions")


_RULES: dict[type[ast.AST], Callable[[_Module, Any, frozenset[str]], None]] = {
    ast.Attribute: _Module.attribute,
    ast.Name: _Module.name,
    ast.Constant: _Module.constant,
    ast.FormattedValue: _Module.formatted,
    ast.Assign: _Module.assign,
    ast.AugAssign: _Module.aug_assign,
    ast.Expr: _Module.expression,
    ast.keyword: _Module.keyword,
    ast.comprehension: _Module.comprehension,
}


def _below(node: ast.AST) -> Sequence[ast.AST]:
    """What is in a node, but the text between values, and the format of one, which `formatted` has checked."""
    if isinstance(node, ast.JoinedStr):
        return [part for part in node.values if not isinstance(part, ast.Constant)]
    return [node.value] if isinstance(node, ast.FormattedValue) else children(node)


@lru_cache(REMEMBERED)
def _home(dialect: Dialect, name: str, text: str) -> types.ModuleType | None:
    """The module of netdsl that has a definition; None where it is none of netdsl's."""
    module = holder(dialect, name, text)
    if module is not None or not dialect.has_stages:
        return module
    return origin(dialect, name, lambda whole: is_derived(text, whole) or is_derived(text, alone(whole)))


@cache
def _computes(module: types.ModuleType) -> bool:
    """Whether it imports what cannot reach a file or a process, and so none of its kernels can."""
    used = {value.__name__ for value in vars(module).values() if isinstance(value, types.ModuleType)}
    return used <= {"numpy", "math", "dataclasses"}
