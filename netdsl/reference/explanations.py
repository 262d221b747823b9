"""The pages of `netdsl explain`: one file for each code in netdsl/reference/codes, with a wrong and a right example."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "codes"


def explanation(code: str) -> str:
    """The page of a code. Its examples stand between fences: the first is wrong, the second right."""
    return (FOLDER / f"{code}.md").read_text(encoding="utf-8")
