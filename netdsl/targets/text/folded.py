"""The text of a class without what is decided: an `if` whose outcome is known becomes the branch that is taken."""

from __future__ import annotations

import ast
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from netdsl.targets.text.kernel_source import REMEMBERED, children, parsed, walk

Decide = Callable[[str, ast.expr], bool | None]
"""(method, condition) -> whether it holds; None where that is not known."""


Unread = Callable[[str, ast.expr], bool]
"""(method, target) -> whether nobody reads what an assignment gives it."""


def folded(text: str, decide: Decide, idle: Container[str] = (), unread: Unread = lambda method, target: False) -> str:
    """The text of a class or function with no branch that is never taken, and nothing behind a return. idle: methods
    that do nothing, which nobody need call. Assignments that do nothing but give what is unread are left out."""
    text = _chosen(text, tuple(decide(method, test) for method, test in _parts(text).choices))
    outcomes = tuple(decide(method, test) for method, test in _parts(text).branches)
    unread_ones = tuple(unread(method, target) for method, target in _parts(text).targets)
    return _written(text, outcomes, unread_ones, frozenset(name for name in _calls(text) if name in idle))


@lru_cache(REMEMBERED)
def _chosen(text: str, outcomes: tuple[bool | None, ...]) -> str:
    """The text where each `a if c else b` with an outcome is that value."""
    parts = _parts(text)
    known = _known(parts.choices, outcomes)
    return _Choices(text, known, parts.tree).written() if known else text


@lru_cache(REMEMBERED)
def _written(text: str, outcomes: tuple[bool | None, ...], unread: tuple[bool, ...], idle: frozenset[str]) -> str:
    """The text without the branches that are never taken, what is given to unread targets, and calls of idle methods:
    mostly the same as in a network before."""
    parts = _parts(text)
    known = _known(parts.branches, outcomes)
    gone = {target for (_, target), is_unread in zip(parts.targets, unread, strict=True) if is_unread}
    return _Blocks(text, known, idle, gone, parts.tree).written() if known or gone or idle else text


def _known(tests: Sequence[tuple[str, ast.expr]], outcomes: Sequence[bool | None]) -> dict[ast.expr, bool]:
    """The conditions that have an outcome, and which."""
    return {test: outcome for (_, test), outcome in zip(tests, outcomes, strict=True) if outcome is not None}


@dataclass(frozen=True, eq=False)
class _Parts:
    """What is decided of the functions in a text, each with the name of its function: the conditions of `a if c else b`
    and of `if`, and what assignments give a value. They are parts of `tree`: two trees of one text have other ones."""

    tree: ast.Module
    choices: tuple[tuple[str, ast.expr], ...]
    branches: tuple[tuple[str, ast.expr], ...]
    targets: tuple[tuple[str, ast.expr], ...]


@lru_cache(REMEMBERED)
def _parts(text: str) -> _Parts:
    tree = parsed(text)
    inside = [(one.name, node) for one in _functions(tree) for node in walk(one)]
    choices = tuple((name, node.test) for name, node in inside if type(node) is ast.IfExp)
    branches = tuple((name, node.test) for name, node in inside if type(node) is ast.If)
    given = [(name, target) for name, node in inside if isinstance(node, ast.Assign) for target in node.targets]
    return _Parts(tree, choices, branches, tuple((name, one) for name, target in given for one in flat(target)))


@lru_cache(REMEMBERED)
def _calls(text: str) -> tuple[str, ...]:
    """The methods of `self` that the functions of a text call in statements which do nothing else."""
    nodes = [node for one in _functions(parsed(text)) for node in walk(one) if isinstance(node, ast.Expr)]
    return tuple(filter(None, map(is_call_of_self, nodes)))


def flat(target: ast.expr) -> list[ast.expr]:
    """The targets of an assignment one by one."""
    return [part for one in target.elts for part in flat(one)] if isinstance(target, ast.Tuple) else [target]


@lru_cache(REMEMBERED)
def idle_methods(text: str) -> frozenset[str]:
    """The methods of a class that do nothing."""
    return frozenset(node.name for node in _functions(parsed(text)) if all(map(does_nothing, node.body)))


def is_method(called: ast.expr) -> bool:
    """Whether what is called is a method of `self`, or of its worker, `w` or `self.w`."""
    return isinstance(called, ast.Attribute) and ast.unparse(called.value) in ("self", "w", "self.w")


def does_nothing(node: ast.stmt) -> bool:
    """Whether a statement is a docstring, `pass` or a bare `return`."""
    if isinstance(node, ast.Return):
        return node.value is None
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


_PLAIN = ("len", "max", "min", "tuple", "list", "range", "zip", "map", "slice", "any", "all", "sum", "enumerate")


class _Choices:
    """`a if c else b` in a text. known: the conditions that have an outcome."""

    def __init__(self, text: str, known: Mapping[ast.expr, bool], tree: ast.Module) -> None:
        self.text, self.known, self.tree = text, known, tree
        self.begins = [0]
        for line in text.split("\n"):
            self.begins.append(self.begins[-1] + len(line) + 1)

    def written(self) -> str:
        edits = [edit for node in _functions(self.tree) for edit in self._edits(node)]
        text = self.text
        for begin, end, new in sorted(edits, reverse=True):
            text = text[:begin] + new + text[end:]
        return text

    def _edits(self, node: ast.AST) -> Iterator[tuple[int, int, str]]:
        if isinstance(node, ast.IfExp) and (outcome := self.known.get(node.test)) is not None:
            chosen = node.body if outcome else node.orelse
            begin, end = self._place(chosen)
            inner = sorted(self._edits(chosen), reverse=True)
            new = self.text[begin:end]
            for first, last, part in inner:
                new = new[: first - begin] + part + new[last - begin :]
            yield (*self._place(node), new)
            return
        for child in children(node):
            yield from self._edits(child)

    def _place(self, node: ast.expr) -> tuple[int, int]:
        end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or 0
        return self.begins[node.lineno - 1] + node.col_offset, self.begins[end_line - 1] + end_column


class _Blocks:
    """The statements of a text, line by line. known: conditions with an outcome; idle: methods that do nothing;
    unread: targets of assignments."""

    def __init__(
        self,
        text: str,
        known: Mapping[ast.expr, bool],
        idle: Container[str],
        unread: Container[ast.expr],
        tree: ast.Module,
    ) -> None:
        self.lines, self.known, self.tree = text.split("\n"), known, tree
        self.idle, self.unread = idle, unread

    def written(self) -> str:
        lines: list[str] = []
        done = 0
        for node in _functions(self.tree):
            first = node.body[0].lineno - 1
            lines += self.lines[done:first]
            lines += self._block(node.body, first, 0) or [f"{' ' * node.body[0].col_offset}pass"]
            done = node.end_lineno or node.lineno
        return "\n".join([*lines, *self.lines[done:]])

    def _block(self, body: Sequence[ast.stmt], begin: int, out: int) -> list[str]:
        """Statements that begin behind line `begin`, comments among them, with `out` columns less."""
        lines: list[str] = []
        for node in body:
            own = self._statement(node, out)
            lines += [line[out:] for line in self.lines[begin : node.lineno - 1]] if own else []
            lines += own
            begin = node.end_lineno or node.lineno
            if self._ends(node):
                break
        return lines

    def _ends(self, node: ast.stmt) -> bool:
        """Whether nothing behind it is reached."""
        if isinstance(node, ast.If) and (outcome := self.known.get(node.test)) is not None:
            return any(map(self._ends, node.body if outcome else node.orelse))
        return isinstance(node, ast.Return | ast.Raise)

    def _statement(self, node: ast.stmt, out: int, word: str = "if") -> list[str]:
        if isinstance(node, ast.If):
            return self._branch(node, out, word)
        if is_call_of_self(node) in self.idle:
            return []
        if (pairs := _kept(node, self.unread)) is not None:
            return [line[out:] for line in self._assignment(node, pairs)]
        if not isinstance(node, ast.For | ast.While | ast.With) or getattr(node, "orelse", None):
            return [line[out:] for line in self.lines[node.lineno - 1 : node.end_lineno]]
        first = node.body[0].lineno - 1
        head = [line[out:] for line in self.lines[node.lineno - 1 : first]]
        return [*head, *(self._block(node.body, first, out) or [" " * (node.body[0].col_offset - out) + "pass"])]

    def _assignment(self, node: ast.stmt, pairs: list[tuple[ast.expr, ast.expr]]) -> list[str]:
        """A line that gives some values to some targets, in the place of an assignment of more."""
        if not pairs:
            return []
        line = self.lines[node.lineno - 1]
        texts = [
            ", ".join(line[part.col_offset : part.end_col_offset] for part in side) for side in zip(*pairs, strict=True)
        ]
        return [f"{line[: node.col_offset]}{' = '.join(texts)}{line[node.end_col_offset :]}"]

    def _branch(self, node: ast.If, out: int, word: str) -> list[str]:
        """word: `if`, or `elif` where one of several branches is written. A decided one behind it is its `else`."""
        outcome = self.known.get(node.test)
        pad = " " * (node.col_offset - out)
        if outcome is None:
            first = node.body[0].lineno - 1
            head = [line[out:] for line in self.lines[node.lineno - 1 : first]]
            head[0] = f"{pad}{word}{head[0][len(pad) :].removeprefix('elif').removeprefix('if')}"
            body, rest = self._block(node.body, first, out), self._else(node, out)
            if not body and not rest and only_computes(node.test):
                return []
            return [*head, *(body or [f"{pad}    pass"]), *rest]
        chosen = node.body if outcome else node.orelse
        if word == "elif":
            return (
                [f"{pad}else:", *body] if outcome and (body := self._inside(node.body, out)) else self._else(node, out)
            )
        if not outcome and self._is_elif(node):
            return self._branch(_as_if(node.orelse[0]), out, word)
        return self._inside(chosen, out + 4) if chosen else []

    def _else(self, node: ast.If, out: int) -> list[str]:
        if not node.orelse:
            return []
        if self._is_elif(node):
            return self._branch(_as_if(node.orelse[0]), out, "elif")
        body = self._inside(node.orelse, out)
        return [f"{' ' * (node.col_offset - out)}else:", *body] if body else []

    def _inside(self, body: Sequence[ast.stmt], out: int) -> list[str]:
        """A block, and the comments right above its first statement."""
        begin = body[0].lineno - 1
        while self.lines[begin - 1].lstrip().startswith("#"):
            begin -= 1
        return self._block(body, begin, out)

    def _is_elif(self, node: ast.If) -> bool:
        return len(node.orelse) == 1 and self.lines[node.orelse[0].lineno - 1].lstrip().startswith("elif")


def is_call_of_self(node: ast.stmt) -> str:
    """`name` of a statement `self.name(x, self.y[i], ...)`, whose arguments do nothing but compute; else nothing."""
    call = node.value if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else None
    if call is None or not isinstance(call.func, ast.Attribute):
        return ""
    if not isinstance(call.func.value, ast.Name) or call.func.value.id != "self":
        return ""
    given = [*call.args, *(word.value for word in call.keywords)]
    return call.func.attr if all(map(only_computes, given)) else ""


def _as_if(node: ast.stmt) -> ast.If:
    assert isinstance(node, ast.If), "what follows `elif` is a condition"
    return node


def _functions(tree: ast.Module) -> list[ast.FunctionDef]:
    """The functions at the top, and the methods of classes."""
    parts = [part for node in tree.body for part in (node.body if isinstance(node, ast.ClassDef) else [node])]
    return [part for part in parts if isinstance(part, ast.FunctionDef)]


def _kept(node: ast.stmt, unread: Container[ast.expr]) -> list[tuple[ast.expr, ast.expr]] | None:
    """What is left of an assignment in one line, (target, value) of each; None where all is."""
    if not isinstance(node, ast.Assign) or len(node.targets) > 1 or node.end_lineno != node.lineno:
        return None
    pairs = pairs_of(node)
    left = [(target, value) for target, value in pairs if not (_all_in(target, unread) and only_computes(value))]
    return None if len(left) == len(pairs) else left


def pairs_of(node: ast.Assign) -> list[tuple[ast.expr, ast.expr]]:
    """(target, value) of each of those that an assignment gives side by side."""
    (target, *more), value = node.targets, node.value
    both = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
    if more or not both or len(target.elts) != len(value.elts):  # type: ignore[attr-defined]
        return [(one, value) for one in node.targets]
    return list(zip(target.elts, value.elts, strict=True))  # type: ignore[attr-defined]


def _all_in(target: ast.expr, unread: Container[ast.expr]) -> bool:
    return all(one in unread and not isinstance(one, ast.Starred) for one in flat(target))


def only_computes(node: ast.expr) -> bool:
    """Whether an expression does nothing but compute its value. What a lambda does it does when it is called."""
    if isinstance(node, ast.Name | ast.Constant):
        return True
    later = {part for one in walk(node) if isinstance(one, ast.Lambda) for part in walk(one.body)}
    now = [part for part in walk(node) if part not in later]
    calls = [part for part in now if isinstance(part, ast.Call)]
    return all(_is_plain_call(call.func) for call in calls) and not any(isinstance(p, ast.NamedExpr) for p in now)


def _is_plain_call(called: ast.expr) -> bool:
    if isinstance(called, ast.Attribute):
        return called.attr in ("reshape", "transpose", "swapaxes", "get")
    return isinstance(called, ast.Name) and called.id in _PLAIN
