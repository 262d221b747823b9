"""The scopes of a graph as modules of PyTorch: a block is a class, its calls are instances, a group is nn.Sequential.

A class is written once for all calls whose constructor and forward read the same: numbers are written as expressions of
the block's parameters (netdsl.ground.symbols). Calls whose `if`s went another way become a second class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from netdsl.graph.ir import Graph, Scope
from netdsl.graph.types import Tensor
from netdsl.ground.names import class_name
from netdsl.ground.symbols import Symbol, substitute, symbol, value_text
from netdsl.targets.text.variables import names
from netdsl.targets.torch.classes import EmittedClass
from netdsl.targets.torch.forward import Statement, forward_lines, mark, statement
from netdsl.targets.torch.items import CLASS, named_sequence, numbered_sequence
from netdsl.targets.torch.layers import Layers
from netdsl.targets.torch.scopes import Scopes
from netdsl.targets.torch.texts import attribute, label_of, member_lines, names_in, signature

_HIGHEST = 8


@dataclass
class Members:
    """The children of a scope, whose names are `labels`, as members of its class; what forward does with each, and
    which of the block's parameters it reads."""

    labels: set[str]
    lines: list[str] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    handed_in: dict[str, Scope] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)


class Modules:
    """Scopes as modules. classes: those that were written so far; a scope's module is made by `instance`."""

    def __init__(self, graph: Graph, scopes: Scopes, layers: Layers) -> None:
        self.graph, self.scopes, self.layers = graph, scopes, layers
        self.classes: list[EmittedClass] = []
        self.class_of: dict[str, int] = {}  # name of a scope -> its class
        self.handed_in: dict[str, dict[str, Scope]] = {}

    def is_sequential(self, scope: Scope) -> bool:
        """True for a labelled group that is a chain of modules which nothing else looks into."""
        inside = self.scopes.spans[scope.name]
        if scope.call is not None or (inside and self.scopes.makes(scope) != [scope.result]):
            return False
        if self.scopes.heights[scope.name] > _HIGHEST:  # Python reads 200 parentheses in each other, people fewer
            return False
        value = scope.source
        for child in scope.children:
            if not isinstance(child, Scope):
                node = self.graph.nodes[child]
                if node.inputs != (value,) or not self.layers.is_module(node) or node.shares is not None:
                    return False
                value = self.graph.value(child)
            elif self.scopes.spans[child.name]:
                if child.name in self.scopes.sharing.again or self.scopes.called_again(child):
                    return False
                if self.scopes.reads(child) != [value] or self.scopes.makes(child) != [child.result]:
                    return False
                value = child.result
        return value == scope.result

    def sequential(self, scope: Scope) -> list[str]:
        """nn.Sequential over the children; those with labels need an OrderedDict to keep their names."""
        labels = self.scopes.labels(scope)
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
                name = node.name.rpartition(".")[2] if numbered else self.layers.own_name(node, labels)
                items.append((name, [self.layers.constructor(node) or "nn.Identity()"]))
        return numbered_sequence(items) if numbered or not items else named_sequence(items)

    def can_go(self, child: Scope | int) -> bool:
        """Whether it is a layer that does nothing."""
        return not isinstance(child, Scope) and self.layers.is_idle(self.graph.nodes[child])

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
            return {name: (meant.get(name, Symbol(0, name)), None) for name in self.layers.known}
        call = scope.call
        asked: dict[str, tuple[object, object]] = {}
        if call.channels:
            asked[call.channels] = (substitute(call.type.channels, meant), None)
        for argument in call.arguments:
            asked[argument.name] = (substitute(argument.value, meant), argument.default)
        return asked

    def class_number(self, scope: Scope) -> int:
        """The class of this scope: one that reads the same, or a new one."""
        if scope.name not in self.class_of:
            with self.layers.inside(scope):
                made = self.class_for(scope)
            codes = [known.code for known in self.classes]
            if made.code not in codes:
                self.classes.append(made)
            number = codes.index(made.code) if made.code in codes else len(codes)
            self.classes[number].decisions &= made.decisions
            self.class_of[scope.name] = number
        return self.class_of[scope.name]

    def class_for(self, scope: Scope) -> EmittedClass:
        """The class of this scope, written anew."""
        members = self.members(scope)
        self.handed_in[scope.name] = members.handed_in
        reads, makes = self.scopes.reads(scope), self.scopes.makes(scope)
        inputs = [name for name, _ in zip(names(), reads, strict=False)]
        inputs += self.scopes.handed_names(scope).values()
        lines = forward_lines(members.statements, reads, makes, self.layers.comment(self.type_in(scope, scope.source)))
        flat = [replace(s, shape="", keeps=False) for s in members.statements]
        init = [*(f"self.{name} = {name}" for name in self.layers.known if name in members.kept), *members.lines]
        free = names_in(init)
        params = [name for name in self.layers.known if name in free]
        defaults = {a.name: a.default for a in scope.call.arguments} if scope.call is not None else {}
        params.sort(key=lambda name: defaults.get(name) is not None)  # those with defaults must be last
        heads = [name if defaults.get(name) is None else f"{name}={value_text(defaults[name])}" for name in params]
        return EmittedClass(
            class_name(label_of(scope).replace(".", "_") if scope.call is None else scope.call.block),
            ", ".join(["self", *heads, *members.handed_in]),
            f"group {label_of(scope)}" if scope.call is None else f"block {signature(scope)}",
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
        if tensor.is_ids:
            return tensor
        if scope.call is not None:
            return tensor.with_channels(symbol(tensor.channels, scope.call.channels))
        for child in scope.children:
            if not isinstance(child, Scope):
                node = self.graph.nodes[child]
                if value in node.inputs:
                    return self.layers.written(node)[1][node.inputs.index(value)]
            elif value in self.scopes.reads(child):
                return child.call.type if child.call is not None else self.arriving(child, value)
        return tensor

    def members(self, scope: Scope) -> Members:
        """Every child as a member and a statement of forward."""
        members = Members(self.scopes.labels(scope))
        for child in scope.children:
            if not isinstance(child, Scope):
                self.add_node(scope, child, members)
            elif self.scopes.spans[child.name]:
                self.add_scope(scope, child, members)
            else:
                members.lines += member_lines(child.last_name, ["nn.Sequential()"])
        return members

    def add_node(self, scope: Scope, index: int, members: Members) -> None:
        """Enter a layer among the members."""
        node = self.graph.nodes[index]
        template, kept = self.layers.named_template(node, members.labels)
        template, name = template or "{self}({x})", self.layers.own_name(node, members.labels)
        members.kept |= kept
        if self.layers.is_member(node):
            if node.shares is None:
                made = self.layers.constructor(node)
                assert made is not None, f"{node.op} has params, but no constructor"
                members.lines += member_lines(name, [made])
                own = attribute(name, made)
            else:
                own = self.scopes.reference(scope, node.shares)
            template = template.replace("{self}", own)
        keeps = self.layers.keeps_shape(node)
        comment = self.layers.comment(self.layers.written(node)[2])
        is_shared = node.owner in self.scopes.shared
        made_value = self.graph.value(index)
        members.statements.append(statement(template, node.inputs, made_value, comment, keeps, is_shared))

    def add_scope(self, scope: Scope, child: Scope, members: Members) -> None:
        """Enter a block call or a group among the members."""
        name, again = child.last_name, self.scopes.sharing.again.get(child.name)
        called = attribute(name, "") if again is None else self.scopes.reference(scope, again)
        if again is not None:
            pass
        elif scope.call is not None and child.call is not None and scope.call.block == child.call.block:
            self.class_number(child)  # it stands before this one
            members.handed_in[name] = child
            members.lines += member_lines(name, [name])
        else:
            members.lines += member_lines(name, self.instance(child))
        reads, makes = self.scopes.reads(child), self.scopes.makes(child)
        node = self.graph.maker_of(makes[0])
        assert node is not None, f"{child.name} gives what flows into the network"
        tensor = self.type_in(scope, makes[0]) if self.layers.known else node.type
        keeps = len(makes) == len(reads) == 1 and node.type == self.graph.type_of(reads[0])
        if keeps and self.layers.known:
            keeps = repr(tensor) == repr(self.type_in(scope, reads[0]))
        module = child if again is None else self.scopes.groups[again][0]
        handed = [self.scopes.reference(scope, path) for path in self.scopes.called_again(module)]
        text = f"{called}({', '.join([*(mark(value) for value in reads), *handed])})"
        is_shared = any(self.graph.nodes[index].owner in self.scopes.shared for index in self.scopes.spans[child.name])
        made = Statement(tuple(makes), tuple(reads), text, self.layers.comment(tensor), keeps, is_shared=is_shared)
        members.statements.append(made)

    def type_in(self, scope: Scope, value: int) -> Tensor:
        """The type of a value that `scope` makes or takes, in the terms of the block around the scope's inside."""
        index = self.graph.maker(value)
        if index not in self.scopes.spans[scope.name]:
            return self.arriving(scope, value)
        for child in scope.children:
            if child == index:
                return self.layers.written(self.graph.nodes[index])[2]
            if isinstance(child, Scope) and index in self.scopes.spans[child.name]:
                tensor = self.type_in(child, value)
                if child.call is None:
                    return tensor
                return substitute(tensor, {name: given for name, (given, _) in self.given(child, {}).items()})
        raise AssertionError(f"value {value} is not made in {scope.name}")
