"""A network as a picture: SVG by hand, one self-contained text, the same bytes for the same graph.

It has its own background, light or dark as its reader prefers; the colours are tints that colour-blind people can tell
apart, and nothing is said by colour alone. What a box is about is told in full when the pointer rests on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from netdsl.analysis.folding import TIMES, outline
from netdsl.analysis.layer_text import layer_text
from netdsl.analysis.layered import Layout, Piece, lay_out
from netdsl.analysis.outline import Box, Frame, Item, boxes, links, output_boxes
from netdsl.analysis.svg import EDGE, FAMILY, FONT, GLYPH, INK, MUTED, PAPER, dark_style, rect, short, text
from netdsl.graph.ir import Graph, Node, show_shape
from netdsl.layers.contract import plural

ROW, PAD, BAR = 16.0, 8.0, 19.0  # height of a line, margin inside, height of a frame's title
LEAST = 168.0  # width of a box that is no merge
MARGIN, BEHIND = 14.0, 4.0  # around everything; how far a card behind another sticks out

TINTS = {  # fill and stroke, after Okabe & Ito's palette
    "weights": ("#d3e6f5", "#0072b2"),
    "params": ("#d2ede2", "#009e73"),
    "shape": ("#eedbe8", "#b0608c"),
    "plain": ("#f6f8fa", "#8c959f"),
    "merge": ("#fbe6c0", "#b87a00"),
    "input": ("#ffffff", "#57606a"),
    "folded": ("#ececec", "#57606a"),
}
FRAMES = ("#fafbfc", "#f3f5f7")  # frames inside each other take turns
TITLE_BAR, FRAME_EDGE = "#e4e8ec", "#afb8c1"
DARK = dark_style(
    "netdsl-network",
    {
        INK: "#e8eaed",
        MUTED: "#a3adb8",
        EDGE: "#8b949e",
        PAPER: "#161a1f",
        "#d3e6f5": "#143a57",
        "#d2ede2": "#114334",
        "#eedbe8": "#482c3e",
        "#f6f8fa": "#262c33",
        "#fbe6c0": "#4d3a0e",
        "#0072b2": "#4ba3dd",
        "#009e73": "#2fbf95",
        "#b0608c": "#cf86b0",
        "#b87a00": "#e0a52e",
        "#8c959f": "#7d8792",
        "#ececec": "#2d333b",
        "#fafbfc": "#1b2026",
        "#f3f5f7": "#20262d",
        TITLE_BAR: "#2f363f",
        FRAME_EDGE: "#4a535e",
    },
)


@dataclass(frozen=True)
class _Drawn:
    """A piece and what is in it, drawn from its left upper corner; `first` and `last` are numbers of its boxes."""

    piece: Piece
    svg: str
    first: int
    last: int


def diagram_svg(graph: Graph) -> str:
    """The network from its input to its output as the text of one `<svg>` element.

    Boxes have a line for each layer, their output shape and their params; frames are groups and block calls; equal
    blocks in a row are drawn once, with their count. Large networks are folded until they can be read.
    """
    root = outline(graph)
    picture = _Picture(graph, links(graph, root), {id(box): n for n, box in enumerate(boxes(root))})
    svg, width, height = picture.network(root, output_boxes(graph, root))
    width, height = round(width + 2 * MARGIN), round(height + 2 * MARGIN)
    name, shapes = escape(graph.name), escape(f"{graph.show_inputs()} to {graph.show_outputs()}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'class="netdsl-network" role="img" style="max-width:100%;height:auto" '
        f'font-family="{FAMILY}" font-size="{FONT}" fill="{INK}">'
        f"<title>{name}, {shapes}, {plural(len(graph.nodes), 'layer')}, {graph.num_params:,} params</title>"
        f"{DARK}"
        f'<rect width="{width}" height="{height}" rx="6" fill="{PAPER}"/>'
        f'<g transform="translate({MARGIN:g} {MARGIN:g})">{svg}</g></svg>'
    )


def _tint(graph: Graph, node: Node) -> str:
    if len(node.inputs) > 1:
        return "merge"
    if node.params:
        return "weights" if node.macs else "params"
    return "plain" if node.type == graph.input_types(node)[0] else "shape"


def _relative(name: str, scope: str) -> str:
    return name[len(scope) + 1 :] if scope and name.startswith(f"{scope}.") else name


def _names(item: Item, scope: str) -> str:
    return " \N{HORIZONTAL ELLIPSIS} ".join(_relative(name, scope) for name in item.names)


def _card(width: float, height: float, level: int, detail: str, name: str) -> str:
    """A frame with its title: what it calls, and its name."""
    bar = f"M0 {BAR:g}V5a5 5 0 0 1 5 -5H{width - 5:g}a5 5 0 0 1 5 5V{BAR:g}z"
    words = text(PAD, 13.5, detail or name, bold=True)
    words += text(PAD + GLYPH * (len(detail) + 1.5), 13.5, name, color=MUTED) if detail else ""
    return rect(width, height, FRAMES[level % 2], FRAME_EDGE) + f'<path d="{bar}" fill="{TITLE_BAR}"/>' + words


class _Picture:
    """The drawing of one graph."""

    def __init__(self, graph: Graph, reads: list[tuple[int, int]], numbers: Mapping[int, int]) -> None:
        self.graph, self.reads, self.numbers = graph, reads, numbers

    def network(self, root: Frame, outputs: Sequence[int]) -> tuple[str, float, float]:
        """outputs: the box that makes each -> the drawing, its width and height."""
        graph, last = self.graph, len(self.numbers)
        self.reads += [(box, last + i) for i, box in enumerate(outputs)]
        given = [self.end("input", one.name, one.type.show_type(), -1 - i) for i, one in enumerate(graph.inputs)]
        drawn = [*given, *(self.item(item, "", 0) for item in root.items)]
        drawn += [
            self.end("output", o.name, show_shape(graph.shape_of(o.value)), last + i)
            for i, o in enumerate(graph.outputs)
        ]
        layout = lay_out([d.piece for d in drawn], self.within(drawn))
        return self.placed(drawn, layout), layout.width, layout.height

    def end(self, word: str, name: str, sizes: str, number: int) -> _Drawn:
        """An input or an output."""
        fill, stroke = TINTS["input"]
        words = " ".join([word, *([name] if name else []), sizes])
        width, height = GLYPH * len(words) + 24, 24.0
        svg = rect(width, height, fill, stroke, radius=12) + text(width / 2, 16, words, anchor="middle", bold=True)
        return _Drawn(Piece(width, height), svg, number, number)

    def item(self, item: Item, scope: str, level: int) -> _Drawn:
        if isinstance(item, Frame):
            return self.frame(item, scope, level)
        return self.folded(item, scope) if item.detail else self.box(item, scope)

    # ------------------------------------------------------------------------------------ boxes

    def box(self, box: Box, scope: str) -> _Drawn:
        """A line for each layer, then shape and params."""
        nodes = self.graph.nodes[box.start : box.stop]
        rows = [(node, layer_text(node), _relative(node.name, scope)) for node in nodes]
        foot, tint = self.foot(nodes), _tint(self.graph, nodes[0])
        letters = max(len(" ".join(foot)) + 1, *(len(words) + len(name) + 2 for _, words, name in rows))
        width = max(GLYPH * letters + 2 * PAD, LEAST if tint != "merge" else 0)
        parts = [self.row(i * ROW, width, node, words, name) for i, (node, words, name) in enumerate(rows)]
        return self.framed(box, width, "".join(parts), len(rows) * ROW, foot, TINTS[tint][1])

    def row(self, y: float, width: float, node: Node, words: str, name: str) -> str:
        fill, stroke = TINTS[_tint(self.graph, node)]
        inputs = ", ".join(show_shape(shape) for shape in self.graph.input_shapes(node))
        count = node.num_params
        facts = [f"{node.name}: {words}", f"{inputs} to {show_shape(node.shape)}"]
        facts += [f"{count:,} params"] if count else [f"the params of {node.shares}"] if node.shares else []
        facts += [f"{node.macs:,} MACs"] if node.macs else []
        return (
            f"<g><title>{escape(', '.join(facts))}</title>"
            f'<rect x="0" y="{y:g}" width="{width:g}" height="{ROW:g}" fill="{fill}"/>'
            f'<rect x="0" y="{y:g}" width="3" height="{ROW:g}" fill="{stroke}"/>'
            + text(PAD, y + 12, words, bold=True)
            + text(width - PAD, y + 12, name, color=MUTED, anchor="end")
            + "</g>"
        )

    def foot(self, nodes: tuple[Node, ...]) -> tuple[str, str]:
        params = sum(node.num_params for node in nodes)
        return show_shape(nodes[-1].shape), f"{short(params)} params" if params else ""

    def framed(self, box: Box, width: float, rows: str, y: float, foot: tuple[str, str], stroke: str) -> _Drawn:
        """The rows, the line below them, and the edge around both."""
        height = y + ROW
        svg = (
            f'<rect width="{width:g}" height="{height:g}" fill="{PAPER}"/>{rows}'
            + text(PAD, y + 12, foot[0])
            + (text(width - PAD, y + 12, foot[1], color=MUTED, anchor="end") if foot[1] else "")
            + f'<rect width="{width:g}" height="{height:g}" rx="2" fill="none" stroke="{stroke}"/>'
        )
        number = self.numbers[id(box)]
        return _Drawn(Piece(width, height), svg, number, number)

    def folded(self, box: Box, scope: str) -> _Drawn:
        """One box for a whole call, or for many layers."""
        name, foot = _names(box, scope), self.foot(self.graph.nodes[box.start : box.stop])
        fill, stroke = TINTS["folded"]
        width = max(GLYPH * max(len(box.detail), len(name), len(" ".join(foot)) + 1) + 2 * PAD, LEAST)
        rows = (
            f"<g><title>{escape(self.facts(box, name))}</title>"
            f'<rect width="{width:g}" height="{2 * ROW:g}" fill="{fill}"/>'
            + text(PAD, 12, box.detail, bold=True)
            + text(PAD, ROW + 12, name, color=MUTED)
            + "</g>"
        )
        front = self.framed(box, width, rows, 2 * ROW, foot, stroke)
        if box.count == 1:
            return front
        height = front.piece.height
        svg = rect(width, height, PAPER, stroke, at=BEHIND, radius=2) + front.svg
        return _Drawn(Piece(width + BEHIND, height + BEHIND), svg, front.first, front.last)

    def facts(self, item: Item, name: str) -> str:
        """What a folded box or a frame comes to, for its tooltip."""
        nodes = self.graph.nodes[item.start : item.stop]
        params, macs = sum(node.num_params for node in nodes), sum(node.macs for node in nodes)
        what = [f"{name}: {item.detail}" if item.detail else name]
        what += [] if item.detail.endswith("layers") else [plural(len(nodes), "layer")]
        return ", ".join([*what, f"{params:,} params, {macs:,} MACs"])

    # ------------------------------------------------------------------------------------ frames

    def frame(self, frame: Frame, scope: str, level: int) -> _Drawn:
        """A title, and below it the items with the lines between them and to the edges."""
        drawn = [self.item(item, frame.names[0], level + 1) for item in frame.items]
        inside = range(drawn[0].first, drawn[-1].last + 1)
        enters = dict.fromkeys(s for s, t in self.reads if t in inside and s not in inside)
        leaves = dict.fromkeys(s for s, t in self.reads if s in inside and t not in inside)
        gates = [_Drawn(Piece(0, 0), "", key, key) for key in enters]
        exits = [_Drawn(Piece(0, 0, is_last=True), "", key, key) for key in leaves]
        everything = [*gates, *drawn, *exits]
        layout = lay_out([d.piece for d in everything], self.within([*gates, *drawn], exits))
        name, detail = (
            _names(frame, scope),
            f"{frame.count} {TIMES} {frame.detail}" if frame.count > 1 else frame.detail,
        )
        width = max(layout.width + 2 * PAD + 4, GLYPH * (len(detail) + len(name) + 2) + 2 * PAD)
        height, shift = BAR + layout.height, (width - layout.width) / 2
        more = BEHIND if frame.count > 1 else 0
        svg = (
            (rect(width, height, FRAMES[level % 2], FRAME_EDGE, at=BEHIND) if more else "")
            + f"<g><title>{escape(self.facts(frame, name))}</title>{_card(width, height, level, detail, name)}</g>"
            + f'<g transform="translate({shift:g} {BAR:g})">{self.placed(everything, layout)}</g>'
        )
        xs = [x + shift for x, _ in layout.corners]
        ins, outs = dict(zip(enters, xs, strict=False)), dict(zip(leaves, xs[len(xs) - len(exits) :], strict=True))
        return _Drawn(Piece(width + more, height + more, ins, outs), svg, inside[0], inside[-1])

    # ------------------------------------------------------------------------------------ lines

    def within(self, drawn: list[_Drawn], exits: Iterable[_Drawn] = ()) -> list[tuple[int, int, int]]:
        """The links between the pieces, and from them to the exits of the same key."""
        place = {n: i for i, d in enumerate(drawn) for n in range(d.first, d.last + 1)}
        links = [(place[s], place[t], s) for s, t in self.reads if s in place and t in place and place[s] != place[t]]
        links += [(place[e.first], len(drawn) + i, e.first) for i, e in enumerate(exits)]
        return list(dict.fromkeys(links))

    def placed(self, drawn: list[_Drawn], layout: Layout) -> str:
        """The pieces at their places, above the lines."""
        paths, heads = [], []
        for line in layout.lines:
            y0, y1, y2, y3 = line.ys
            bend = (y1 + y2) / 2
            over = "" if line.x1 == line.x2 else f"V{y1:g}C{line.x1:g} {bend:g} {line.x2:g} {bend:g} {line.x2:g} {y2:g}"
            paths.append(f"M{line.x1:g} {y0:g}{over}V{y3:g}")
            if line.piece is not None and drawn[line.piece].piece.height:
                heads.append(f"M{line.x2:g} {y3:g}l-3.5 -6h7z")
        lines = f'<path d="{"".join(paths)}" fill="none" stroke="{EDGE}" stroke-width="1.3"/>' if paths else ""
        arrows = f'<path d="{"".join(heads)}" fill="{EDGE}"/>' if heads else ""
        pieces = [
            f'<g transform="translate({x:g} {y:g})">{d.svg}</g>'
            for d, (x, y) in zip(drawn, layout.corners, strict=True)
            if d.svg
        ]
        return lines + arrows + "".join(pieces)
