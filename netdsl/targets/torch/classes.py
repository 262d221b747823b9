"""The classes of an emitted PyTorch module, and what each is called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count

from netdsl.ground.names import class_name

_RESERVED = ("Model", "OrderedDict", "F", "INPUT_SHAPE")


@dataclass
class EmittedClass:
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
    def code(self) -> tuple[object, ...]:
        """What makes it another class: everything but comments, and what is nested on one line of forward."""
        return self.base, self.head, self.doc, self.init, self.flat

    def lines(self, name: str, doc: str) -> list[str]:
        """The text of the class, under the name and with the docstring that were chosen for it."""
        body = [f"class {name}(nn.Module):"]
        body += [f'    """{doc}"""', ""] if doc else []
        body += [f"    def __init__({self.head}):", "        super().__init__()"]
        body += [f"        {line}" for line in self.init]
        return [*body, "", *(f"    {line}" for line in self.forward)]


def chosen_names(classes: Sequence[EmittedClass], root: str, helpers: Iterable[str]) -> list[tuple[str, str]]:
    """The name and docstring of each class: the most used of a block is called after it, the others after what
    they have besides, or numbered in the order in which they stand. root: the name of the network's class."""
    kept = {root, *_RESERVED, *(re.findall(r"class (\w+)", "\n".join(helpers)))}
    kept |= {name for made in classes for name in made.params}  # they hide a class in the constructor
    taken = set(kept)
    chosen: dict[int, tuple[str, str]] = {}
    most_used = [
        max((i for i, c in enumerate(classes) if c.base == base), key=lambda i: classes[i].uses)
        for base in dict.fromkeys(c.base for c in classes)
    ]
    for number in dict.fromkeys([*most_used, *range(len(classes))]):
        made = classes[number]
        first = next((c for i, c in enumerate(classes) if i in chosen and c.base == made.base), None)
        own, doc = f"{made.base}Block" if made.base in kept else made.base, made.doc
        if not made.handed_in and any(c.handed_in for c in classes if c.base == made.base):
            own = f"{made.base}Innermost"  # of a block that calls itself
        besides = [label for label in made.labels if first is not None and label not in first.labels]
        if besides:
            own += class_name(besides[0])
        doc += _where(made, classes)
        if own in taken:
            own = next(name for name in (f"{own}{number}" for number in count(2)) if name not in taken)
        taken.add(own)
        chosen[number] = (own, doc)
    return [chosen[number] for number in range(len(classes))]


def _where(made: EmittedClass, classes: Sequence[EmittedClass]) -> str:
    """What tells this class from the others of its block: the conditions that went another way there."""
    others = [c for c in classes if c.base == made.base and c is not made]
    own = sorted(
        (text for text, opposite in made.decisions if any((opposite, text) in c.decisions for c in others)),
        key=lambda text: text.removeprefix("not "),
    )
    texts = [f"({text})" if " or " in text and len(own) > 1 else text for text in own]
    return f", where {' and '.join(texts)}" if own else ""
