"""Less of a picture, until it can be read.

Equal blocks in a row become one with their count, always. What is still too much is folded: later calls of a block that
was shown already, then equal boxes in a row, then the middle of a long chain, then deep scopes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import replace

from netdsl.analysis.outline import Box, Frame, Item, boxes, full_outline, links
from netdsl.graph.ir import Graph
from netdsl.ground.symbols import plain_value
from netdsl.layers.contract import plural

MAX_BOXES = 36
MAX_ROWS = 100  # lines of text from the input to the output: about two pages of a screen
ROW_GAP = 1.5  # lines between a box and the next
MAX_CHAIN = 24  # boxes kept of a chain whose middle is left out
TIMES = "\N{MULTIPLICATION SIGN}"


def outline(graph: Graph, most: int = MAX_BOXES) -> Frame:
    """What to draw of the graph, at most `most` boxes (no fewer than MAX_CHAIN), folded also where it would be taller
    than MAX_ROWS; the outermost frame is the network."""
    folder = _Folder(graph)
    root = folder.with_runs(full_outline(graph))
    for reduce in (folder.without_repeats, folder.with_equals_joined, folder.without_middle):
        if _is_readable(graph, root, most):
            return root
        root = reduce(root)
    for depth in range(_depth(root) - 2, -1, -1):
        if _is_readable(graph, root, most):
            return root
        root = folder.cut(root, depth)
    return root


def _is_readable(graph: Graph, root: Frame, most: int) -> bool:
    return sum(1 for _ in boxes(root)) <= most and rows_down(graph, root) <= MAX_ROWS


def rows_down(graph: Graph, root: Frame) -> float:
    """How tall the drawing is, in lines of text: boxes and the gaps between them along the longest way down."""
    reads: dict[int, list[int]] = {}
    for source, target in links(graph, root):
        reads.setdefault(target, []).append(source)
    below = {-1 - value: 0.0 for value in range(len(graph.inputs))}
    for number, box in enumerate(boxes(root)):
        lines = 2 if box.detail else box.stop - box.start
        below[number] = max((below[source] for source in reads.get(number, ())), default=0.0) + lines + 1 + ROW_GAP
    return max(below.values())


def _depth(item: Item) -> int:
    """How many frames are inside each other; a box has none."""
    return 0 if isinstance(item, Box) else 1 + max((_depth(inner) for inner in item.items), default=0)


def _ends(items: list[Item]) -> tuple[str, ...]:
    """The first and the last name."""
    return (*items[0].names[:1], *items[-1].names[-1:]) if len(items) > 1 else items[0].names


class _Folder:
    """One graph, and which node reads a value last."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.last_use = [-1] * graph.num_values
        for index, node in enumerate(graph.nodes):
            for value in node.inputs:
                self.last_use[value] = index
        for value in graph.results:
            self.last_use[value] = len(graph.nodes)

    # ------------------------------------------------------------------------------------ what is equal, in a row

    def with_runs(self, frame: Frame) -> Frame:
        """Equal frames in a row become one with their count."""
        items = [self.with_runs(item) if isinstance(item, Frame) else item for item in frame.items]
        runs = self.runs(items, lambda item: self.signature(item) if isinstance(item, Frame) else None)
        return replace(frame, items=tuple(self.as_one(run) for run in runs))

    def as_one(self, run: list[Item]) -> Item:
        """The first of equal frames, for all of them."""
        if len(run) == 1:
            return run[0]
        first, last = run[0], run[-1]
        assert isinstance(first, Frame), first
        (value,) = self.gives(last)
        same = (value - last.start + first.start, value)
        return replace(first, stop=last.stop, names=_ends(run), count=len(run), same=same)

    def runs(self, items: Iterable[Item], key: Callable[[Item], Hashable]) -> Iterator[list[Item]]:
        """The items in pieces: those of one key (None: none of its own) that follow each other in a plain chain."""
        run: list[Item] = []
        known: Hashable = None
        for item in items:
            new = key(item)
            if run and (new is None or new != known or not self.follows(run[-1], item)):
                yield run
                run = []
            run.append(item)
            known = new
        if run:
            yield run

    def follows(self, before: Item, item: Item) -> bool:
        """True if `item` reads the one thing that `before` gives and nothing else does, and gives one thing itself."""
        given, gives = self.gives(before), self.gives(item)
        return (
            (before.stop, len(given), len(gives)) == (item.start, 1, 1)
            and self.reads(item) == given
            and self.last_use[given[0]] < item.stop
        )

    def reads(self, item: Item) -> list[int]:
        """The values from outside that it reads, in order."""
        nodes, first = self.graph.nodes[item.start : item.stop], self.graph.value(item.start)
        return list(dict.fromkeys(value for node in nodes for value in node.inputs if value < first))

    def gives(self, item: Item) -> list[int]:
        """The values of it that are read outside."""
        values = map(self.graph.value, range(item.start, item.stop))
        return [value for value in values if self.last_use[value] >= item.stop]

    def signature(self, item: Item) -> Hashable:
        """Equal for items that compute the same with other params, and give it at the same place."""
        cut, outside = len(item.names[0]) if item.names else None, self.reads(item)
        before = self.graph.value(item.start) - 1
        gives = [value - before for value in self.gives(item)]
        rows = [
            (
                node.name[cut:] if cut is not None else "",
                node.op,
                repr(sorted((key, plain_value(value)) for key, value in node.attrs.items())),
                node.type,
                tuple(p.shape for p in node.params),
                tuple(v - before if v > before else -outside.index(v) for v in node.inputs),
            )
            for node in self.graph.nodes[item.start : item.stop]
        ]
        return (*gives, *rows)

    # ------------------------------------------------------------------------------------ less of it

    def kind(self, item: Item) -> Hashable:
        """Equal for calls of one block that consist of the same layers; None for what is no call."""
        if isinstance(item, Box) or not item.block:
            return None
        stop = item.start + (item.stop - item.start) // item.count
        return item.block, tuple(node.op for node in self.graph.nodes[item.start : stop])

    def without_repeats(self, root: Frame) -> Frame:
        """The first call of each kind is drawn in full, later ones are folded."""
        seen: set[Hashable] = set()

        def reduced(frame: Frame) -> Frame:
            items: list[Item] = []
            for run in self.runs(frame.items, lambda item: kind if (kind := self.kind(item)) in seen else None):
                if self.kind(run[0]) in seen:
                    items.append(self.folded(run))
                    continue
                for item in run:
                    items.append(item if isinstance(item, Box) else reduced(item))
                    seen.update({self.kind(item)} - {None})
            return replace(frame, items=tuple(items))

        return reduced(root)

    def folded(self, run: list[Item]) -> Box:
        """One box for frames in a row."""
        count, first = sum(item.count for item in run), run[0]
        assert isinstance(first, Frame), first
        text = first.detail if len({item.detail for item in run}) == 1 else first.block
        text = text or plural(run[-1].stop - first.start, "layer")
        return Box(first.start, run[-1].stop, _ends(run), f"{count} {TIMES} {text}" if count > 1 else text, count)

    def with_equals_joined(self, frame: Frame) -> Frame:
        """Equal boxes in a row become one."""
        items: list[Item] = []
        for run in self.runs(frame.items, lambda item: self.signature(item) if isinstance(item, Box) else None):
            if len(run) > 1 and not run[0].detail:
                nodes = self.graph.nodes
                ops = ", ".join(node.op for node in nodes[run[0].start : run[0].stop])
                names = (nodes[run[0].start].name, nodes[run[-1].stop - 1].name)
                text = f"{len(run)} {TIMES} {ops}"
                items.append(Box(run[0].start, run[-1].stop, names, text, len(run)))
            else:
                items += [self.with_equals_joined(item) if isinstance(item, Frame) else item for item in run]
        return replace(frame, items=tuple(items))

    def without_middle(self, frame: Frame) -> Frame:
        """The frame with the beginning and the end of a chain that is long."""
        items = [self.without_middle(item) if isinstance(item, Frame) else item for item in frame.items]
        if len(items) > MAX_CHAIN:
            half = MAX_CHAIN // 2
            start, stop = items[half].start, items[1 - half].start
            names = (self.graph.nodes[start].name, self.graph.nodes[stop - 1].name)
            items[half : 1 - half] = [Box(start, stop, names, plural(stop - start, "layer"), stop - start)]
        return replace(frame, items=tuple(items))

    def cut(self, frame: Frame, depth: int) -> Frame:
        """No frames below that depth: they are folded."""
        items: list[Item] = []
        for run in self.runs(frame.items, lambda item: None if isinstance(item, Box) else item.block or None):
            if depth or isinstance(run[0], Box):
                items += [self.cut(item, depth - 1) if isinstance(item, Frame) else item for item in run]
            else:
                items.append(self.folded(run))
        return replace(frame, items=tuple(items))
