"""`attention`: which tokens each token of a sample reads, in every head of every attention layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from netdsl.analysis.writing import goes_on, why_not
from netdsl.ground.diagnostics import UserError
from netdsl.ground.symbols import plain_value
from netdsl.layers import layer_at
from netdsl.training.data.texts import BYTE_NAMES, text_of
from netdsl.training.drawing.style import (
    COLUMN,
    PAGE,
    SEQUENTIAL,
    SMALL,
    UNKNOWN,
    Box,
    add_colorbar,
    add_rectangle,
    fill_box,
    new_figure,
    note_lines,
    place,
    sheet,
    text,
    widest,
)
from netdsl.training.loop.failures import copy_of
from netdsl.training.pictures.inspection import sample_of

if TYPE_CHECKING:
    from netdsl.graph.ir import Graph, Node
    from netdsl.training.drawing.style import Axes, AxesImage, Figure
    from netdsl.training.runs.views import RunView

MOST_LAYERS = MOST_HEADS = 12  # of which maps are drawn
MOST_IDS, MOST_TOKENS, LEAST = 64, 256, 12  # tokens of a text, of other samples; with letters at least, if not asked
PITCH = 0.078  # inches of a letter, at least
EDGE, NOTE, TITLE, LINE = 0.08, 0.13, 0.2, 0.1  # inches: margin, a line of the note, names of heads, letters
GAP, SCALE, TALLEST, WIDEST = 0.08, 0.55, 9.0, 2.4  # between maps, the colour scale, a sheet, a map
BASE = 0.028  # from the middle of a letter down to what it stands on
ROBUST = 99.0  # percent of the weights that the scale covers, where the rest are much larger
SHOWN_AS = {
    " ": "\N{MIDDLE DOT}",
    "\n": "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}",
    "\t": "\N{RIGHTWARDS ARROW TO BAR}",
}


@dataclass(frozen=True)
class Attention:
    """The weights (heads, T, T) of one layer for a sample: how much row reads of column, each row 1 in all; NaN where
    it cannot read."""

    name: str
    weights: np.ndarray


@dataclass(frozen=True)
class Subject:
    """x (1, ...), as the network is fed, of which the first `count` tokens are shown; their names, () where they have
    none; what it is, in words. is_asked: all of these tokens were asked for."""

    x: np.ndarray
    count: int
    names: tuple[str, ...]
    caption: str = ""
    is_asked: bool = False


def attention_layers(graph: Graph) -> tuple[Node, ...]:
    """The layers that have weights of attention."""
    return tuple(node for node in graph.nodes if layer_at(node).attention_of is not None)


def heads_of(nodes: Sequence[Node]) -> int:
    """How many heads these layers have, the most of one; 0 of none."""
    counts = [plain_value(node.attrs["heads"]) for node in nodes]
    return max((count for count in counts if isinstance(count, int)), default=0)


def has_few_maps(graph: Graph) -> bool:
    """Whether all maps of its attention are drawn."""
    nodes = attention_layers(graph)
    return len(nodes) <= MOST_LAYERS and heads_of(nodes) <= MOST_HEADS


def attention_maps(view: RunView, subject: Subject) -> tuple[Attention, ...]:
    """What the first MOST_HEADS heads of the first MOST_LAYERS attention layers read of the subject's tokens."""
    network, maps = copy_of(view.net, view.model), list[Attention]()
    wanted = min(MOST_LAYERS, len(attention_layers(view.net.graph)))
    values = [network.first_value(subject.x)]
    for layer in network.layers:
        if len(maps) == wanted:
            break
        values.append(layer.forward(*(values[i] for i in layer.node.inputs)))
        weights_of = layer_at(layer.node).attention_of
        if weights_of is not None:
            weights = weights_of(layer.saved)[0, :MOST_HEADS, : subject.count, : subject.count]
            unread = ~np.tri(weights.shape[1], dtype=bool) if goes_on(layer.node) else False
            maps.append(Attention(layer.name, np.where(unread, np.nan, weights)))
        layer.saved = None  # of many tokens it is large
    return tuple(maps)


# ------------------------------------------------------------------------------------------------ what is shown


def subject_of(view: RunView, words: str | None, sample: int, image: np.ndarray | None) -> Subject:
    """What is shown: the text `words`, the test sample of that index, of a text one of its windows, or the sample
    `image`; what is no text has no caption. Raises UserError."""
    takes = view.net.graph.input_type
    if words is not None:
        if not view.task.learns_text:
            raise UserError("`--text` is for networks that learned a text", help="`--sample` chooses a test sample")
        return _of_text(view, words)
    x = sample_of(view, sample, image)
    if not takes.is_ids:
        length = attention_layers(view.net.graph)[0].type.length
        return Subject(x, min(MOST_TOKENS, length), ())
    count = min(MOST_IDS, takes.length)
    if not view.task.learns_text:
        return Subject(x, count, tuple(map(str, x[0, :count].tolist())))
    return Subject(x, count, _letters(x[0, :count], view.dataset.classes), "held-out text")


def _of_text(view: RunView, words: str) -> Subject:
    """The text, behind which a network that looks back alone may be given anything."""
    names, graph = view.dataset.classes, view.net.graph
    if not words:
        raise UserError("the text is empty", help="give a character at least, or leave `--text` out")
    ids, length = text_of("the text", words.encode(), names=names).ids, graph.input_type.length
    if len(ids) < length and (reason := why_not(graph, view.net.recipe.loss)):
        unit = view.task.place
        raise UserError(
            f"the text has {len(ids)} {unit}s, the network takes {length}: {reason}", help="give it a longer text"
        )
    x, count = np.zeros((1, length), np.int64), min(len(ids), length, MOST_IDS)
    x[0, : min(len(ids), length)] = ids[:length]
    what = "the text" if count == len(ids) else f"the first {count} of {len(ids)} {view.task.place}s"
    return Subject(x, count, _letters(ids[:count], names), what, True)


def _letters(ids: np.ndarray, names: tuple[str, ...]) -> tuple[str, ...]:
    """What stands at an axis for each of these ids."""
    return tuple(_letter(k, names) for k in ids.tolist())


def _letter(k: int, names: tuple[str, ...]) -> str:
    """A character, of a byte that is no letter two hexadecimal digits."""
    character = chr(k) if names == BYTE_NAMES else names[k]
    if character in SHOWN_AS:
        return SHOWN_AS[character]
    if names == BYTE_NAMES:
        return names[k] if 32 <= k < 127 else f"{k:02x}"
    return text(character) if character.isprintable() else UNKNOWN


# ------------------------------------------------------------------------------------------------ the picture


@dataclass(frozen=True)
class Layout:
    """What is shown, the first `count` tokens with these letters or none, and where, in inches: the maps' side, what is
    left of the first, and from one to the next, across and down."""

    count: int
    letters: tuple[str, ...]
    side: float
    left: float
    across: float
    down: float


def draw_attention(maps: Sequence[Attention], subject: Subject, layers: int, heads: int) -> Figure:
    """A row of maps for each layer, one for each head; layers, heads: how many there are in all."""
    columns = max(len(one.weights) for one in maps)
    plan = _layout(maps, columns, subject)
    width = max(COLUMN, plan.left + columns * plan.across + SCALE)
    said = note_lines(_note(subject, plan.count, len(maps), layers, columns, heads), width - 2 * EDGE)
    top = EDGE + NOTE * len(said) + TITLE + (LINE if plan.letters else 0)
    figure = new_figure("attention", width, top + len(maps) * plan.down)
    axes = sheet(figure)
    axes.text(EDGE, EDGE, "\n".join(said), va="top", fontsize=SMALL)
    weights = [one.weights[:, : plan.count, : plan.count] for one in maps]
    scale, ends = _scale(weights)
    for row, (one, of_heads) in enumerate(zip(maps, weights, strict=True)):
        first = Box(plan.left, top + row * plan.down, plan.side, plan.side)
        axes.text(EDGE, first.top + plan.side / 2, text(one.name, 18), va="center", fontsize=7)
        for i, letter in enumerate(plan.letters):
            at = first.top + (i + 0.5) * plan.side / plan.count + BASE
            axes.text(first.left - 0.04, at, letter, ha="right", va="baseline", fontsize=SMALL)
        for column, head in enumerate(of_heads):
            box = replace(first, left=first.left + column * plan.across)
            image = _draw_map(axes, head, box, plan.letters, scale)
            if not row:
                above = box.top - (0.07 + LINE if plan.letters else 0.06)
                axes.text(box.centre, above, f"head {column + 1}", ha="center", va="bottom", fontsize=SMALL)
    bar = place(figure, plan.left + columns * plan.across, top, 0.07, min(1.6, (len(maps) - 1) * plan.down + plan.side))
    add_colorbar(bar, image, "weight", **ends)
    return figure


def _draw_map(axes: Axes, weights: np.ndarray, box: Box, letters: Sequence[str], scale: Mapping[str, Any]) -> AxesImage:
    """A map in a thin frame, since its upper half may be the page, with the letters above its columns."""
    image = fill_box(axes, weights, box, **scale)
    add_rectangle(axes, box, edgecolor="#777777", linewidth=0.3)
    for i, letter in enumerate(letters):
        at = box.left + (i + 0.5) * box.width / len(letters)
        axes.text(at, box.top - 0.045, letter, ha="center", va="baseline", fontsize=SMALL)
    return image


def _layout(maps: Sequence[Attention], columns: int, subject: Subject) -> Layout:
    """With letters where they fit: of a text that nobody asked for at so many tokens as have room."""
    side, left, across, down = _sides(maps, columns, subject.names)
    fit = int(side / max(PITCH, widest(subject.names, SMALL) + 0.02))
    count = subject.count if subject.is_asked or fit < LEAST else min(subject.count, fit)
    if subject.names and count <= fit:
        return Layout(count, subject.names[:count], side, left, across, down)
    return Layout(subject.count, (), *_sides(maps, columns, ()))


def _sides(maps: Sequence[Attention], columns: int, names: Sequence[str]) -> tuple[float, float, float, float]:
    left = 2 * EDGE + widest((text(one.name, 18) for one in maps), 7) + (0.06 + widest(names, SMALL) if names else 0)
    below = GAP + (LINE if names else 0)
    across, down = (PAGE - left - SCALE) / columns, (TALLEST - 0.8) / len(maps)
    side = min(WIDEST, across - GAP, down - below)
    return side, left, side + GAP, side + below


def _note(subject: Subject, count: int, rows: int, layers: int, columns: int, heads: int) -> str:
    """What is shown, in words."""
    what = subject.caption
    if subject.names:
        joint = "" if all(len(name) == 1 for name in subject.names) else " "
        what += f": {joint.join(subject.names[:count])}"
    elif subject.count == MOST_TOKENS:
        what += f", its first {count} tokens"
    some = [f"the first {rows} of {layers} layers"] if rows < layers else []
    some += [f"the first {columns} of {heads} heads"] if columns < heads else []
    return "; ".join([what, "each row is a token that reads, each column one that is read", *some])


def _scale(weights: Sequence[np.ndarray]) -> tuple[dict[str, Any], dict[str, Any]]:
    """One colour scale for all maps, from 0, and whether its end is open."""
    known = np.concatenate([one[np.isfinite(one)] for one in weights])
    largest, usual = (float(np.percentile(known, q)) if known.size else 1.0 for q in (100, ROBUST))
    limit = (usual if largest > 1.3 * usual > 0 else largest) or 1.0
    ends = {"extend": "max" if largest > limit else "neither", "extendfrac": 0.04}
    return {"cmap": SEQUENTIAL, "vmin": 0, "vmax": limit}, ends
