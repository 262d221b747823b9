"""Words that are nearly right: which known word is meant, and when that is certain."""

from __future__ import annotations

from collections.abc import Iterable

from netdsl.ground.diagnostics import comparable


def correction(word: str, known: Iterable[str]) -> str | None:
    """The one known word that `word` surely is: the same but for case and `_` or `-`, or the only one that is one
    letter away (one too many, one too few, another one, or two that changed places). None where there are several."""
    known, folded = comparable(known), _folded(word)
    same = {k for k in known if _folded(k) == folded}
    if same:
        return same.pop() if len(same) == 1 else None
    near = {k for k in known if len(folded) >= 3 and len(k) >= 2 and _one_apart(folded, k.lower())}
    return near.pop() if len(near) == 1 else None


def _folded(word: str) -> str:
    return word.lower().replace("_", "").replace("-", "")


def _one_apart(a: str, b: str) -> bool:
    """Whether one change makes `b` of `a`."""
    if abs(len(a) - len(b)) > 1 or a == b:
        return False
    i = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    if len(a) != len(b):
        longer, shorter = (a, b) if len(a) > len(b) else (b, a)
        return longer[i + 1 :] == shorter[i:]
    return a[i + 1 :] == b[i + 1 :] or (a[i + 2 :] == b[i + 2 :] and a[i : i + 2] == b[i : i + 2][::-1])
