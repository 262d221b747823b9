"""The items of an nn.Sequential as lines of text; equal or regularly growing blocks in a row are one line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

Item = tuple[str, list[str]]
"""A name, and the lines that make the module."""

_FEWEST = 3  # named blocks that become one line
_SHORT = 60  # characters of what stands on the line of its nn.Sequential
CLASS = "\u00c7lass_"  # with its number it stands for a class whose name is not chosen yet; no name of a spec has its C
_NUMBER = re.compile(r"(?<![\w.])\d+(?![\w.])")


def numbered_sequence(items: Sequence[Item]) -> list[str]:
    """The lines of `nn.Sequential(nn.Conv2d(...), nn.ReLU())`; what is short is one line."""
    lines = _numbered_items(items)
    if len(lines) <= 2 and sum(map(len, lines)) < _SHORT and not any(line[0] == " " for line in lines):
        return [f"nn.Sequential({' '.join(lines).rstrip(',')})"]
    return ["nn.Sequential(", *(f"    {line}" for line in lines), ")"]


def named_sequence(items: Sequence[Item]) -> list[str]:
    """The lines of `nn.Sequential(OrderedDict(conv=nn.Conv2d(...), relu1=nn.ReLU()))`.

    A single row of blocks is `OrderedDict((f"layer{i}", Dense(64 + 32 * i)) for i in range(1, 7))`; a list of pairs
    stands where there are rows beside other items, or names that are numbers.
    """
    plain = all(name.isidentifier() for name, _ in items)
    if _row(items) == len(items) >= _FEWEST:
        return [f"nn.Sequential(OrderedDict({_row_text(items)}))"]
    if not plain or any(_row(items[i:]) >= _FEWEST for i in range(len(items))):
        lines = _named_items(items)
        return ["nn.Sequential(OrderedDict([", *(f"    {line}" for line in lines), "]))"]
    lines = [line for name, (first, *rest) in items for line in _closed([f"{name}={first}", *rest])]
    if len(lines) == 1 and len(lines[0]) < _SHORT:
        return [f"nn.Sequential(OrderedDict({lines[0].rstrip(',')}))"]
    return ["nn.Sequential(OrderedDict(", *(f"    {line}" for line in lines), "))"]


def _numbered_items(items: Sequence[Item]) -> list[str]:
    """`Neck(256, 64),`; equal blocks in a row as `*(Neck(256, 64) for _ in range(2)),`."""
    lines: list[str] = []
    for made, equal in groupby(items, key=lambda item: item[1]):
        count = len(list(equal))
        if count > 1 and _is_block(made):
            lines.append(f"*({made[0]} for _ in range({count})),")
        else:
            lines += [line for _ in range(count) for line in _closed(made)]
    return lines


def _named_items(items: Sequence[Item]) -> list[str]:
    """`("conv", nn.Conv2d(...)),`; a row as `*((f"layer{i}", Dense(64 + 32 * i)) for i in range(1, 7)),`."""
    lines: list[str] = []
    at = 0
    while at < len(items):
        count = _row(items[at:])
        if count >= _FEWEST:
            lines.append(f"*({_row_text(items[at : at + count])}),")
        else:
            count = 1
            name, (first, *rest) = items[at]
            lines += _closed([f'("{name}", {first}', *rest], ")")
        at += count
    return lines


def _closed(lines: Sequence[str], closing: str = "") -> list[str]:
    return [*lines[:-1], f"{lines[-1]}{closing},"]


def _is_block(made: Sequence[str]) -> bool:
    return len(made) == 1 and made[0].startswith(CLASS)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in _NUMBER.findall(text)]


def _split(name: str) -> tuple[str, int]:
    match = re.fullmatch(r"(.*?)(0|[1-9]\d*)", name)
    return (match[1], int(match[2])) if match else (name, -1)


def _row(items: Sequence[Item]) -> int:
    """How many items, from the first, have names that count up and numbers that grow by the same steps."""
    (prefix, start), made = _split(items[0][0]), items[0][1]
    if start < 0 or not _is_block(made):
        return 1
    steps: list[int] | None = None
    for offset, (name, other) in enumerate(items):
        if _split(name) != (prefix, start + offset) or not _is_block(other):
            return offset
        if _NUMBER.sub("0", other[0]) != _NUMBER.sub("0", made[0]):
            return offset
        growth = [b - a for a, b in zip(_numbers(made[0]), _numbers(other[0]), strict=True)]
        if offset == 1:
            steps = growth
        if steps is not None and growth != [step * offset for step in steps]:
            return offset
    return len(items)


def _row_text(items: Sequence[Item]) -> str:
    (prefix, start), first = _split(items[0][0]), items[0][1][0]
    steps = [b - a for a, b in zip(_numbers(first), _numbers(items[1][1][0]), strict=True)]
    terms = iter([_term(a - step * start, step) for a, step in zip(_numbers(first), steps, strict=True)])
    bounds = f"{start}, {start + len(items)}" if start else str(len(items))
    made = _NUMBER.sub(lambda _: next(terms), first)
    return f'(f"{prefix}{{i}}", {made}) for i in range({bounds})'


def _term(constant: int, step: int) -> str:
    """constant + step * i."""
    if step == 0:
        return str(constant)
    product = "i" if step == 1 else f"{step} * i"
    if constant == 0:
        return product
    return f"{constant} + {product}" if constant > 0 else f"{product} - {-constant}"
