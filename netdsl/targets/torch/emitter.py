"""Graph to a PyTorch module: plain torch.nn; a block is a class, its calls are instances, a group is nn.Sequential.

A class is written once for all calls whose constructor and forward read the same: numbers are written as expressions of
the block's parameters (netdsl.ground.symbols). Calls whose `if`s went another way become a second class.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count

from netdsl.analysis.layouts import meets_transposed
from netdsl.analysis.loss import logits_value
from netdsl.graph.ir import Graph, Node, Scope
from netdsl.graph.recipe import Recipe
from netdsl.graph.types import Tensor
from netdsl.ground.names import class_name, reserved
from netdsl.ground.symbols import Symbol, is_symbolic, renamed, substitute, symbol, value_text, written
from netdsl.targets.text.emission import batch_shape, emit, title
from netdsl.targets.text.ends import argument_names, input_shapes, outputs_text
from netdsl.targets.text.kernel_source import kernel_texts
from netdsl.targets.text.numpy_demo import shares_text
from netdsl.targets.text.variables import names
from netdsl.targets.torch.answers import answer
from netdsl.targets.torch.dialect import DIALECT
from netdsl.targets.torch.forward import Statement, forward_lines, mark, statement
from netdsl.targets.torch.items import CLASS, named_sequence, numbered_sequence
from netdsl.targets.torch.names import RESERVED
from netdsl.targets.torch.rules import torch_rule
from netdsl.targets.torch.sharing import inner_scopes, sharing

_HIGHEST = 8
_RESERVED = ("Model", "OrderedDict", "F", "INPUT_SHAPE")


def emit_torch(graph: Graph, recipe: Recipe) -> str:
    """The text of `<name>_torch.py`."""
    emitter = _Emitter(graph, logits_value(graph, recipe.loss))
    emitter.shares = shares_text(graph, recipe.loss, "{}.softmax(dim=1)", "{}.sigmoid()", "torch.hstack({})")
    return emitter.text()


@dataclass
class _Class:
    """An emitted class. params: the names of the block that its constructor takes; handed_in: the members that it takes
    (a block that calls itself takes the inner one, so that one class does for every depth)."""

    base: str
    head: str
    doc: str
    params: tuple[str, ...]
    handed_in: tuple[str, ...]
    init: tuple[str, ...]
    forward: tuple[str, ...]
    flat: tuple[str, ...]
    labels: tuple[str, ...]
    decisions: frozenset[tuple[str, str]]
    uses: int = 0

    @property
    def code(self) -> tuple:
        """What makes it another class: everything but comments, and what is nested on one line of forward."""
        return self.base, self.head, self.doc, self.init, self.flat

    def lines(self, name: str, doc: str) -> list[str]:
        body = [f"class {name}(nn.Module):"]
        body += [f'    """{doc}"""', ""] if doc else []
        body += [f"    def __init__({self.head}):", "        super().__init__()"]
        body += [f"        {line}" for line in self.init]
        return [*body, "", *(f"    {line}" for line in self.forward)]


@dataclass
class _Members:
    """The children of a scope, whose names are `labels`, as members of its class; what forward does with each, and
    which of the block's parameters it reads."""

    labels: set[str]
    lines: list[str] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    handed_in: dict[str, Scope] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)


class _Emitter:
    def __init__(self, graph: Graph, until: int) -> None:
        self.graph = graph
        self.until = until
        self.shares = ""
        self.results = tuple(dict.fromkeys((*graph.results, *((until,) if graph.gives_names else ()))))
        self.sharing = sharing(graph)
        self.shared = {node.shares for node in graph.nodes} - {None}  # the nodes whose params others use
        self.groups: dict[str, list[Scope]] = {}  # name of a scope -> those that one module stands for
        self.classes: list[_Class] = []
        self.class_of: dict[str, int] = {}  # name of a scope -> its class
        self.handed_in: dict[str, dict[str, Scope]] = {}
        self.known: tuple[str, ...] = ()  # the names of the block around the place that is being written
        self.helpers: dict[str, None] = {}
        self.meets_transposed = meets_transposed(graph)
        self.spans: dict[str, range] = {}
        self.heights: dict[str, int] = {}  # of groups in groups
        self.readers: dict[int, int] = {}  # value -> the last node that reads it
        for index, node in enumerate(graph.nodes):
            self.readers.update(dict.fromkeys(node.inputs, index))
        self.measure(graph.root)
        for scope in inner_scopes(graph.root):
            self.groups.setdefault(self.sharing.alike.get(scope.name, scope.name), []).append(scope)

    # ---------------------------------------------------------------- what flows in and out of a scope

    def measure(self, scope: Scope) -> range:
        """Remember which nodes each scope holds: those of a scope stand in a row."""
        ranges = [self.measure(c) if isinstance(c, Scope) else range(c, c + 1) for c in scope.children]
        inside = [r for r in ranges if r]
        self.spans[scope.name] = range(inside[0].start, inside[-1].stop) if inside else range(0)
        inner = [self.heights[c.name] for c in scope.children if isinstance(c, Scope) and c.call is None]
        self.heights[scope.name] = 1 + max(inner, default=0)
        return self.spans[scope.name]

    def reads(self, scope: Scope) -> list[int]:
        """The values from outside that the nodes of a scope read; the one that flows in comes first."""
        inside = self.spans[scope.name]
        outside = [v for i in inside for v in self.graph.nodes[i].inputs if self.graph.maker(v) not in inside]
        return sorted(dict.fromkeys(outside), key=lambda value: value != scope.source)

    def makes(self, scope: Scope) -> list[int]:
        """The values of a scope that are read outside; the one that flows out comes first. A module that stands for
        several scopes gives what is read of any of them."""
        start = self.spans[scope.name].start
        alike = self.groups[self.sharing.alike.get(scope.name, scope.name)]
        places = sorted({place for one in alike for place in self.places_read(one)})
        values = [self.graph.value(start + place) for place in places]
        return sorted(values, key=lambda value: value != scope.result) or [
            self.graph.value(self.spans[scope.name].stop - 1)
        ]

    def places_read(self, scope: Scope) -> list[int]:
        """Which of its nodes make what is read outside of it."""
        inside = self.spans[scope.name]
        values = [(place, self.graph.value(index)) for place, index in enumerate(inside)]
        return [place for place, v in values if v in self.results or self.readers.get(v, 0) >= inside.stop]

    # ---------------------------------------------------------------- modules that are called again

    def called_again(self, scope: Scope) -> list[str]:
        """The paths of the modules outside of a scope that its forward is handed, since others have their params."""
        paths: dict[str, None] = {}
        pending: list[Scope | int] = [scope] if self.shared else []
        while pending:
            item = pending.pop()
            if not isinstance(item, Scope):
                shares = self.graph.nodes[item].shares
                paths.update(dict.fromkeys([shares] if shares is not None else []))
            elif item.name in self.sharing.again and item is not scope:
                first = self.sharing.again[item.name]
                paths.update(dict.fromkeys([first, *self.called_again(self.groups[first][0])]))
            else:
                pending += reversed(item.children)
        return [path for path in paths if scope.name and not path.startswith(f"{scope.name}.")]

    def handed_names(self, scope: Scope) -> dict[str, str]:
        """Path -> what forward of the scope's class calls the module that it is handed."""
        taken: dict[str, str] = {}
        for path in self.called_again(scope):
            name = f"shared_{path.rpartition('.')[2]}"
            while name in taken.values():
                name += "_"
            taken[path] = name
        return taken

    def reference(self, scope: Scope, path: str, made: str = "") -> str:
        """How forward of a scope's class writes the module of that path, inside of it or handed to it."""
        if scope.name and not path.startswith(f"{scope.name}."):
            return self.handed_names(scope)[path]
        return _attribute(path[len(scope.name) :].lstrip("."), made)

    # ---------------------------------------------------------------- nodes

    def written(self, node: Node) -> tuple[Mapping[str, object], tuple[Tensor, ...], Tensor]:
        """Attrs, types of the inputs and own type, with the names of the block where one is being written."""
        if node.written is None or not self.known:
            return node.attrs, self.graph.input_types(node), node.type
        attrs, inputs, made = node.written
        return {key: written(value) for key, value in attrs.items()}, written(inputs), made

    def is_idle(self, node: Node) -> bool:
        """Whether the layer gives its input as it is, in every call of the block that is being written."""
        return torch_rule(node.op).idle(self.written(node)[0])

    def constructor(self, node: Node) -> str | None:
        rule = torch_rule(node.op)
        if self.is_idle(node):
            return "nn.Identity()"
        attrs, inputs, _ = self.written(node)
        made = rule.constructor(attrs, *inputs) if rule.constructor is not None else None
        self.helpers.update(dict.fromkeys(text for text in rule.helpers if _class_in(text) in (made or "")))
        if made is None or not (rule.straight and self.meets_transposed and node.type.is_map):
            return made
        self.helpers[rule.straight] = None
        return made.removeprefix("nn.")

    def template(self, node: Node) -> str | None:
        """How forward writes the layer, in numbers, where that is not just calling a member on x."""
        if self.is_idle(node):
            return "{x}"
        call = torch_rule(node.op).call
        return call(node.attrs, *self.graph.input_types(node)) if call is not None else None

    def named_template(self, node: Node, found: _Members) -> str | None:
        """The same with the names of the block's parameters, which the constructor keeps for forward: `self.c`."""
        call, used = torch_rule(node.op).call, set()

        def kept(text: str) -> str:
            used.add(text.partition("[")[0])
            return f"self.{text}"

        attrs = {key: renamed(value, kept) for key, value in self.written(node)[0].items()}
        if (
            self.is_idle(node)
            or call is None
            or not used
            or used & found.labels
            or any(reserved(name, RESERVED) for name in used)
        ):
            return self.template(node)
        made = call(attrs, *self.graph.input_types(node))
        found.kept |= {name for name in used if re.search(rf"\bself\.{name}\b", made)}
        return made

    def is_member(self, node: Node) -> bool:
        return "{self}" in (self.template(node) or "{self}")

    def is_module(self, node: Node) -> bool:
        """True if the constructor alone, called on x, is the layer: then it can stand in an nn.Sequential."""
        if torch_rule(node.op).constructor is None:
            return False
        return not self.is_member(node) or self.template(node) in (None, "{self}({x})")

    def comment(self, tensor: Tensor) -> str:
        """`(N, 64, 56, 56)`; in a block, whose maps have many sizes, `(N, 4 * c, ...)`."""
        if not self.known:
            return batch_shape(tensor.sizes)
        sizes = [repr(size) for size in tensor.sizes]
        return f"(N, {sizes[0]}, ...)" if tensor.is_map else f"(N, {', '.join(sizes)})"

    def keeps_shape(self, node: Node) -> bool:
        """True if the layer gives the shape it takes; in a block, if every call of it does."""
        attrs, inputs, made = self.written(node)
        settings = [repr(value) for value in attrs.values() if is_symbolic(value)]
        fixed = all(text == repr(made.channels) for text in settings)
        return node.type == self.graph.type_of(node.inputs[0]) and repr(made) == repr(inputs[0]) and fixed

    # ---------------------------------------------------------------- groups

    def is_sequential(self, scope: Scope) -> bool:
        """True for a labelled group that is a chain of modules which nothing else looks into."""
        inside = self.spans[scope.name]
        if scope.call is not None or (inside and self.makes(scope) != [scope.result]):
            return False
        if self.heights[scope.name] > _HIGHEST:  # Python reads 200 parentheses in each other, people fewer
            return False
        value = scope.source
        for child in scope.children:
            if not isinstance(child, Scope):
                node = self.graph.nodes[child]
                if node.inputs != (value,) or not self.is_module(node) or node.shares is not None:
                    return False
                value = self.graph.value(child)
            elif self.spans[child.name]:
                if child.name in self.sharing.again or self.called_again(child):
                    return False
                if self.reads(child) != [value] or self.makes(child) != [child.result]:
                    return False
                value = child.result
        return value == scope.result

    def sequential(self, scope: Scope) -> list[str]:
        """nn.Sequential over the children; those with labels need an OrderedDict to keep their names."""
        labels = self.labels(scope)
        children = [c for c in scope.children if not self.can_go(c)]
        numbered = len(labels) == len(scope.children) and labels == {str(i) for i in range(len(labels))}
        if numbered:  # what stands before another one keeps its number
            last = max((i for i, c in enumerate(scope.children) if not self.can_go(c)), default=-1)
            children = list(scope.children[: last + 1])
        items: list[tuple[str, list[str]]] = []
        for child in children:
            if isinstance(child, Scope):
                items.append((child.last_name, self.instance(child)))
            else:
                node = self.graph.nodes[child]
                name = node.name.rpartition(".")[2] if numbered else self.own_name(node, labels)
                items.append((name, [self.constructor(node) or "nn.Identity()"]))
        return numbered_sequence(items) if numbered or not items else named_sequence(items)

    def can_go(self, child: Scope | int) -> bool:
        """Whether it is a layer that does nothing."""
        return not isinstance(child, Scope) and self.is_idle(self.graph.nodes[child])

    def own_name(self, node: Node, labels: set[str]) -> str:
        """The last part of its name; `relu2` for `2` where no checkpoint has anything under the number."""
        name = node.name.rpartition(".")[2]
        if not name.isdigit() or node.params or node.buffers or torch_rule(node.op).is_random:
            return name
        own = f"{node.op}{name}"
        return name if own in labels or own in self.known else own

    # ---------------------------------------------------------------- classes

    def instance(self, scope: Scope, meant: Mapping[str, object] | None = None) -> list[str]:
        """The lines that make a scope's module. meant: the names of the place where the call stands -> what they are
        where the module is made, if that is another place."""
        if self.is_sequential(scope):
            return self.sequential(scope)
        number = self.class_number(scope)
        made = self.classes[number]
        made.uses += 1
        given = self.given(scope, meant or {})
        args = []
        for name in made.params:
            value, default = given[name]
            if default is None or value != default:
                args.append(value_text(value) if default is None else f"{name}={value_text(value)}")
        inner = {name: value for name, (value, _) in given.items()}
        handed = [(name, self.instance(child, inner)) for name, child in self.handed_in[scope.name].items()]
        if not handed:
            return [f"{CLASS}{number}_({', '.join(args)})"]
        lines = [f"{CLASS}{number}_(", *([f"    {', '.join(args)},"] if args else [])]
        for name, (head, *rest) in handed:
            lines += [f"    {line}" for line in [f"{name}={head}", *rest]]
            lines[-1] += ","
        return [*lines, ")"]

    def given(self, scope: Scope, meant: Mapping[str, object]) -> dict[str, tuple[object, object]]:
        """Name -> (value, default) of everything that the class of this scope may ask for."""
        if scope.call is None:  # a group inside a block passes the names on
            return {name: (meant.get(name, Symbol(0, name)), None) for name in self.known}
        call = scope.call
        found: dict[str, tuple[object, object]] = {call.channels: (substitute(call.type.channels, meant), None)}
        for argument in call.arguments:
            found[argument.name] = (substitute(argument.value, meant), argument.default)
        return found

    @contextmanager
    def inside(self, scope: Scope) -> Iterator[None]:
        """While the class of this scope is written, its block's names are known."""
        outer = self.known
        if scope.call is not None:
            self.known = (scope.call.channels, *(argument.name for argument in scope.call.arguments))
        yield
        self.known = outer

    def class_number(self, scope: Scope) -> int:
        """The class of this scope: one that reads the same, or a new one."""
        if scope.name not in self.class_of:
            with self.inside(scope):
                made = self.class_for(scope)
            codes = [known.code for known in self.classes]
            if made.code not in codes:
                self.classes.append(made)
            number = codes.index(made.code) if made.code in codes else len(codes)
            self.classes[number].decisions &= made.decisions
            self.class_of[scope.name] = number
        return self.class_of[scope.name]

    def class_for(self, scope: Scope) -> _Class:
        members = self.members(scope)
        self.handed_in[scope.name] = members.handed_in
        reads, makes = self.reads(scope), self.makes(scope)
        inputs = [name for name, _ in zip(names(), reads, strict=False)] + list(self.handed_names(scope).values())
        lines = forward_lines(members.statements, reads, makes, self.comment(self.type_in(scope, scope.source)))
        flat = [replace(s, shape="", keeps=False) for s in members.statements]
        init = [*(f"self.{name} = {name}" for name in self.known if name in members.kept), *members.lines]
        free = _names_in(init)
        params = [name for name in self.known if name in free]
        defaults = {a.name: a.default for a in scope.call.arguments} if scope.call is not None else {}
        params.sort(key=lambda name: defaults.get(name) is not None)  # those with defaults must be last
        heads = [name if defaults.get(name) is None else f"{name}={value_text(defaults[name])}" for name in params]
        return _Class(
            class_name(_label(scope).replace(".", "_") if scope.call is None else scope.call.block),
            ", ".join(["self", *heads, *members.handed_in]),
            f"group {_label(scope)}" if scope.call is None else f"block {_signature(scope)}",
            tuple(params),
            tuple(members.handed_in),
            tuple(init),
            (f"def forward({', '.join(['self', *inputs])}):", *(f"    {line}" for line in lines)),
            (*inputs, *forward_lines(flat, reads, makes, "")),
            tuple(c.last_name for c in scope.children if isinstance(c, Scope) and not c.last_name[-1].isdigit()),
            frozenset(scope.call.decisions if scope.call is not None else ()),
        )

    def arriving(self, scope: Scope, value: int) -> Tensor:
        """The type of a value from outside, in the terms of the block whose inside or part `scope` is."""
        tensor = self.graph.type_of(value)
        if scope.call is not None:
            return tensor.with_channels(symbol(tensor.channels, scope.call.channels))
        for child in scope.children:
            if not isinstance(child, Scope):
                node = self.graph.nodes[child]
                if value in node.inputs:
                    return self.written(node)[1][node.inputs.index(value)]
            elif value in self.reads(child):
                return child.call.type if child.call is not None else self.arriving(child, value)
        return tensor

    def members(self, scope: Scope) -> _Members:
        """Every child as a member and a statement of forward."""
        found = _Members(self.labels(scope))
        for child in scope.children:
            if not isinstance(child, Scope):
                self.add_node(scope, child, found)
            elif self.spans[child.name]:
                self.add_scope(scope, child, found)
            else:
                found.lines += _member(child.last_name, ["nn.Sequential()"])
        return found

    def labels(self, scope: Scope) -> set[str]:
        """The last names of all its children."""
        paths = [c.name if isinstance(c, Scope) else self.graph.nodes[c].name for c in scope.children]
        return {path.rpartition(".")[2] for path in paths}

    def add_node(self, scope: Scope, index: int, found: _Members) -> None:
        node = self.graph.nodes[index]
        template, name = self.named_template(node, found) or "{self}({x})", self.own_name(node, found.labels)
        if self.is_member(node):
            made = self.constructor(node)
            assert made is not None, f"{node.op} has params, but no constructor"
            found.lines += _member(name, [made]) if node.shares is None else []
            own = _attribute(name, made) if node.shares is None else self.reference(scope, node.shares, made)
            template = template.replace("{self}", own)
        keeps = self.keeps_shape(node)
        comment = self.comment(self.written(node)[2])
        is_shared = node.owner in self.shared
        made_value = self.graph.value(index)
        found.statements.append(statement(template, node.inputs, made_value, comment, keeps, is_shared))

    def add_scope(self, scope: Scope, child: Scope, found: _Members) -> None:
        name, again = child.last_name, self.sharing.again.get(child.name)
        called = _attribute(name, "") if again is None else self.reference(scope, again)
        if again is not None:
            pass
        elif scope.call is not None and child.call is not None and scope.call.block == child.call.block:
            self.class_number(child)  # it stands before this one
            found.handed_in[name] = child
            found.lines += _member(name, [name])
        else:
            found.lines += _member(name, self.instance(child))
        reads, makes = self.reads(child), self.makes(child)
        node = self.graph.maker_of(makes[0])
        tensor = self.type_in(scope, makes[0]) if self.known else node.type
        keeps = len(makes) == len(reads) == 1 and node.type == self.graph.type_of(reads[0])
        if keeps and self.known:
            keeps = repr(tensor) == repr(self.type_in(scope, reads[0]))
        module = child if again is None else self.groups[again][0]
        handed = [self.reference(scope, path) for path in self.called_again(module)]
        text = f"{called}({', '.join([*(mark(value) for value in reads), *handed])})"
        is_shared = any(self.graph.nodes[index].owner in self.shared for index in self.spans[child.name])
        made = Statement(tuple(makes), tuple(reads), text, self.comment(tensor), keeps, is_shared=is_shared)
        found.statements.append(made)

    def type_in(self, scope: Scope, value: int) -> Tensor:
        """The type of a value that `scope` makes or takes, in the terms of the block around the scope's inside."""
        index = self.graph.maker(value)
        if index not in self.spans[scope.name]:
            return self.arriving(scope, value)
        for child in scope.children:
            if child == index:
                return self.written(self.graph.nodes[index])[2]
            if isinstance(child, Scope) and index in self.spans[child.name]:
                tensor = self.type_in(child, value)
                if child.call is None:
                    return tensor
                return substitute(tensor, {name: given for name, (given, _) in self.given(child, {}).items()})
        raise AssertionError(f"value {value} is not made in {scope.name}")

    # ---------------------------------------------------------------- the module

    def text(self) -> str:
        graph, name = self.graph, class_name(self.graph.name)
        members = self.members(graph.root)
        init, methods = (*self.input_buffers(), *members.lines), self.root_methods(members.statements)
        root = _Class(name, "self", "", (), (), init, methods, (), (), frozenset())
        chosen = self.chosen_names(name)
        blocks = [text.split("\n") for text in self.helpers]
        for number, made in enumerate(self.classes):
            own, doc = chosen[number]
            blocks.append(made.lines(own, doc))
        blocks.append(root.lines(name, ""))
        text = "\n\n\n".join("\n".join(lines) for lines in blocks)
        text = re.sub(rf"\b{CLASS}(\d+)_", lambda match: chosen[int(match[1])][0], text)
        imports = ["from collections import OrderedDict", ""] if "(OrderedDict(" in text else []
        imports += ["import torch"] if re.search(r"\btorch\.", text + self.shares) else []
        imports += ["import torch.nn.functional as F"] if re.search(r"\bF\.", text) else []
        return emit(
            DIALECT,
            title=f"{title(graph, name, 'PyTorch', ' --target torch')}.",
            imports=[*imports, "from torch import nn"],
            input_shape=value_text(graph.input_shape) if graph.is_plain else input_shapes(graph),
            is_plain=graph.is_plain,
            body=text,
            class_name=name,
            answers=kernel_texts([answer])[0] if graph.is_plain else "",
            shares=f", {self.shares}" if self.shares else "",
        )

    def chosen_names(self, root: str) -> list[tuple[str, str]]:
        """The name and docstring of each class: the most used of a block is called after it, the others after what
        they have besides, or numbered in the order in which they stand."""
        kept = {root, *_RESERVED, *(re.findall(r"class (\w+)", "\n".join(self.helpers)))}
        kept |= {name for made in self.classes for name in made.params}  # they hide a class in the constructor
        taken = set(kept)
        chosen: dict[int, tuple[str, str]] = {}
        most_used = [
            max((i for i, c in enumerate(self.classes) if c.base == base), key=lambda i: self.classes[i].uses)
            for base in dict.fromkeys(c.base for c in self.classes)
        ]
        for number in dict.fromkeys([*most_used, *range(len(self.classes))]):
            made = self.classes[number]
            first = next((c for i, c in enumerate(self.classes) if i in chosen and c.base == made.base), None)
            own, doc = f"{made.base}Block" if made.base in kept else made.base, made.doc
            if not made.handed_in and any(c.handed_in for c in self.classes if c.base == made.base):
                own = f"{made.base}Innermost"  # of a block that calls itself
            besides = [label for label in made.labels if first is not None and label not in first.labels]
            if besides:
                own += class_name(besides[0])
            doc += self.where(made)
            if own in taken:
                own = next(name for name in (f"{own}{number}" for number in count(2)) if name not in taken)
            taken.add(own)
            chosen[number] = (own, doc)
        return [chosen[number] for number in range(len(self.classes))]

    def where(self, made: _Class) -> str:
        """What tells this class from the others of its block: the conditions that went another way there."""
        others = [c for c in self.classes if c.base == made.base and c is not made]
        own = sorted(
            (text for text, opposite in made.decisions if any((opposite, text) in c.decisions for c in others)),
            key=lambda text: text.removeprefix("not "),
        )
        texts = [f"({text})" if " or " in text and len(own) > 1 else text for text in own]
        return f", where {' and '.join(texts)}" if own else ""

    def input_names(self) -> list[tuple[str, str]]:
        """What the buffers of each input's mean and std are called: as no label is."""
        taken, found = self.labels(self.graph.root), []
        for given in self.graph.inputs:
            names = [f"{given.name or 'input'}_mean", f"{given.name or 'input'}_std"]
            while taken & set(names):
                names = [f"{name}_" for name in names]
            found.append((names[0], names[1]))
        return found

    def input_buffers(self) -> list[str]:
        """The lines that make them; not persistent, so that state_dict holds what the other modules have, too."""
        lines = []
        for given, pair in zip(self.graph.inputs, self.input_names(), strict=True):
            for name, numbers in zip(pair, (given.mean, given.std), strict=True):
                lines += [_input_buffer(name, numbers, given.type)] if numbers else []
        return lines

    def input_lines(self) -> list[str]:
        """The first lines of forward: the inputs normalised, where the spec says how."""
        variables = [name for name, _ in zip(names(), self.graph.inputs, strict=False)]
        given = argument_names(self.graph)
        lines = [] if variables == given else [f"{', '.join(variables)} = {', '.join(given)}"]
        for x, one, (mean, std) in zip(variables, self.graph.inputs, self.input_names(), strict=True):
            if one.mean:
                lines.append(f"{x} = {x} / 255 if {x}.dtype == torch.uint8 else {x}  # bytes or floats")
                lines.append(f"{x} = ({x} - self.{mean}) / self.{std}")
        return lines

    def root_methods(self, statements: Sequence[Statement]) -> tuple[str, ...]:
        """forward; and logits, where the loss contains the last layer."""
        graph, arrives = self.graph, batch_shape(self.graph.inputs[0].type.sizes)
        sources, given = range(len(graph.inputs)), ", ".join(argument_names(graph))
        if graph.gives_names:
            return self.named_methods(statements, arrives)
        if self.until == graph.output:
            lines = [*self.input_lines(), *forward_lines(statements, sources, [graph.output], arrives)]
            return (f"def forward(self, {given}):", *(f"    {line}" for line in lines))
        before, last = self.before_last(graph.root, list(statements), "self.")
        logits = [*self.input_lines(), *forward_lines(before, sources, [self.until], arrives)]
        last_text = last.text.replace(mark(self.until), f"self.logits({given})")
        lines = [f"def logits(self, {given}):", *(f"    {line}" for line in logits), "", f"def forward(self, {given}):"]
        return (*lines, f"    return {last_text}  # {last.shape}")

    def named_methods(self, statements: Sequence[Statement], arrives: str) -> tuple[str, ...]:
        """forward, which gives a dict; and logits, where what the loss reads is no output."""
        graph, values = self.graph, list(self.results)
        has_logits = self.until not in graph.results

        def returned(variables: Sequence[str]) -> str:
            text = outputs_text(graph, dict(zip(values, variables, strict=True)))
            return f"{text}, {variables[-1]}" if has_logits else text

        given, sources = ", ".join(argument_names(graph)), range(len(graph.inputs))
        body = [*self.input_lines(), *forward_lines(statements, sources, values, arrives, returned)]
        heads = (f"def {'all_outputs' if has_logits else 'forward'}(self, {given}):", *(f"    {line}" for line in body))
        if not has_logits:
            return heads
        forward = (f"def forward(self, {given}):", f"    return self.all_outputs({given})[0]", "")
        return (*heads, "", *forward, f"def logits(self, {given}):", f"    return self.all_outputs({given})[1]")

    def before_last(self, scope: Scope, statements: list[Statement], prefix: str) -> tuple[list[Statement], Statement]:
        """The statements up to the last layer, and that one, taken out of the scopes it stands in."""
        position = next(i for i, s in enumerate(statements) if self.graph.output in s.makes)
        before, last = statements[:position], statements[position]
        index = self.graph.maker(self.graph.output)
        holder = next((c for c in scope.children if isinstance(c, Scope) and index in self.spans[c.name]), None)
        if holder is None:
            return before, last
        module = self.sharing.alike.get(holder.name, holder.name)
        own = _attribute(module[len(scope.name) :].lstrip("."), "").replace("self.", prefix, 1) + "."
        inner = [replace(s, text=re.sub(r"(?<![\w.])self\.", own, s.text)) for s in self.members(holder).statements]
        for path, name in self.handed_names(holder).items():
            there = self.reference(scope, path).replace("self.", prefix, 1)
            inner = [replace(s, text=re.sub(rf"(?<![\w.]){name}\b", lambda _, text=there: text, s.text)) for s in inner]
        more, last = self.before_last(holder, inner, own)
        return [*before, *more], last


# -------------------------------------------------------------------------------------------- text


def _member(name: str, lines: Sequence[str]) -> list[str]:
    """`self.conv1 = nn.Conv2d(...)`; a name that is a number needs a call."""
    first, *rest = lines
    if not name.isdigit():
        return [f"self.{name} = {first}", *rest]
    add = "register_parameter" if first.startswith("nn.Parameter(") else "add_module"
    made = [f'self.{add}("{name}", {first}', *rest]
    made[-1] += ")"
    return made


def _input_buffer(name: str, numbers: tuple[float, ...], given: Tensor) -> str:
    axes = f"[:{', None' * given.axes}]" if len(numbers) > 1 and given.is_map else ""
    text = f"[{', '.join(map(value_text, numbers))}]" if len(numbers) > 1 else ", ".join(map(value_text, numbers))
    return f'self.register_buffer("{name}", torch.tensor({text}){axes}, persistent=False)'


def _label(scope: Scope) -> str:
    """What a group is called by: its label, or of one without a label the nearest around it and its numbers."""
    words = scope.name.split(".")
    last = max(i for i, word in enumerate(words) if not word.isdigit())
    return ".".join(words[last:])


def _attribute(name: str, made: str) -> str:
    if not any(part.isdigit() for part in name.split(".")):
        return f"self.{name}"
    get = "get_parameter" if made.startswith("nn.Parameter(") else "get_submodule"
    return f'self.{get}("{name}")'


def _class_in(helper: str) -> str:
    """The name of the class that a helper's text makes."""
    return re.match(r"class (\w+)", helper)[1]  # type: ignore[index]


def _names_in(lines: Sequence[str]) -> set[str]:
    return {node.id for node in ast.walk(ast.parse("\n".join(lines))) if isinstance(node, ast.Name)}


def _signature(scope: Scope) -> str:
    """`neck(c, s=1)`."""
    assert scope.call is not None
    params = [a.name if a.default is None else f"{a.name}={a.default!r}" for a in scope.call.arguments]
    return f"{scope.call.block}({', '.join(params)})"
