"""What a run that learned a text writes: it goes on with a prompt, character by character."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netdsl.analysis.writing import why_not
from netdsl.ground.diagnostics import UserError
from netdsl.ground.reading import shown
from netdsl.training.data.texts import BYTE_NAMES, text_of
from netdsl.training.runs.engine import Engine
from netdsl.training.runs.folder import load_run, read_run

if TYPE_CHECKING:
    from netdsl.pipeline import Net


@dataclass(frozen=True)
class Sampling:
    """How numbers are drawn: from softmax(logits / temperature), the top_k most likely ones (None: all), by the seed;
    cache: whether what was made of earlier ones is kept, which changes none."""

    temperature: float = 0.8
    top_k: int | None = None
    seed: int = 0
    cache: bool = True


def written(
    run: Path, prompt: str | None, count: int, how: Sampling, which: str | None, on_note: Callable[[str], None]
) -> Iterator[str]:
    """The prompt, and then piece by piece the `count` characters or bytes with which the run goes on.

    prompt: None is a line's end, or the first character that the run knows where it knows none. Raises UserError.
    """
    opened = read_run(run)
    net, model, _ = load_run(opened, which, on_note, Engine(level=0))
    names = vocabulary(net, opened.config.classes, run)
    begun = prompt if prompt is not None else "\n" if "\n" in names or names == BYTE_NAMES else names[0]
    if not begun:
        raise UserError("the prompt is empty", help="leave `--prompt` out, or give a character")
    ids = text_of("the prompt", begun.encode(), names=names).ids.astype(np.int64)
    return _pieces(begun if prompt is not None else "", model, ids, count, how, names)


def vocabulary(net: Net, names: tuple[str, ...], run: Path) -> tuple[str, ...]:
    """The characters, or the names of bytes, of a network that learned a text. Raises UserError for another one."""
    reason = why_not(net.graph, net.recipe.loss)
    if not reason and names != BYTE_NAMES and not all(len(name) == 1 for name in names):
        reason = "it learned numbers, which stand for no characters"
    if reason:
        raise UserError(f"{shown(run)} cannot write a text: {reason}", help="`netdsl explain embed` shows one that can")
    return names


def _pieces(
    begun: str, model: Any, ids: np.ndarray, count: int, how: Sampling, names: tuple[str, ...]
) -> Iterator[str]:
    rng = np.random.default_rng(how.seed)
    numbers = model.continued(ids[None], how.temperature, how.top_k, rng, how.cache)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    yield begun
    for drawn in islice(numbers, count):
        number = int(drawn[0])
        if names == BYTE_NAMES:
            yield harmless(decoder.decode(bytes([number])))
        else:
            yield harmless(names[number]) if number < len(names) else "\N{REPLACEMENT CHARACTER}"
    yield decoder.decode(b"", True)


def harmless(text: str) -> str:
    """The text with escapes in place of what steers a terminal; a text that was learned may have had such."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
