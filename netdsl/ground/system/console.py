"""The console, or whatever stands in its place, may not be UTF-8: what it cannot show is said in plain letters."""

from __future__ import annotations

import codecs
import errno
import os
import sys
from typing import TextIO

from netdsl.ground import system

PLAINER = {
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{SUPERSCRIPT TWO}": "2",
    "\N{PLUS-MINUS SIGN}": "+-",
    "\N{MINUS SIGN}": "-",
    "\N{HYPHEN}": "-",
    "\N{NON-BREAKING HYPHEN}": "-",
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{RIGHTWARDS ARROW}": "->",
    "\N{LEFTWARDS ARROW}": "<-",
    "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
    "\N{BULLET}": "*",
    "\N{NO-BREAK SPACE}": " ",
}
LINES = "\u2500\u2501\u2504\u2505\u2508\u2509\u254c\u254d\u2550\u2574\u2576\u2578\u257a\u257c\u257e"
UPRIGHT = "\u2502\u2503\u2506\u2507\u250a\u250b\u254e\u254f\u2551\u2575\u2577\u2579\u257b\u257d\u257f"


def plainer(text: str) -> str:
    """Letters of ASCII for what a console may not have: `x` for a multiplication sign, `-`, `|` and `+` for lines of
    tables, else the number, as in `plain`."""
    return "".join(PLAINER.get(letter) or _shape(letter) for letter in text)


def _shape(letter: str) -> str:
    if letter in LINES:
        return "-"
    if letter in UPRIGHT:
        return "|"
    if "\u2500" <= letter <= "\u257f":
        return "+"
    if "\u2580" <= letter <= "\u259f":
        return "#"
    return letter.encode("ascii", "backslashreplace").decode()


def _handle(error: UnicodeError) -> tuple[str, int]:
    """The error handler `netdsl.plainer` of codecs."""
    assert isinstance(error, UnicodeEncodeError), error
    return plainer(error.object[error.start : error.end]), error.end


codecs.register_error("netdsl.plainer", _handle)


def be_readable(*streams: TextIO | None) -> None:
    """From now on nothing that is written there raises UnicodeEncodeError; without streams, stdout and stderr."""
    for stream in streams or (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure") and not _keeps_bytes(stream):
            stream.reconfigure(errors="netdsl.plainer")


def _keeps_bytes(stream: TextIO) -> bool:
    """Whether it takes all letters, and bytes of file names that are none."""
    return stream.errors == "surrogateescape" and stream.encoding.lower().replace("-", "") == "utf8"


def has_no_reader(error: OSError) -> bool:
    """Whether the reader of a pipe went away, which Windows calls an invalid argument."""
    is_nameless = system.is_windows() and error.errno == errno.EINVAL and error.filename is None
    return isinstance(error, BrokenPipeError) or is_nameless


def drop_broken(*streams: TextIO) -> None:
    """What Python flushes at its end goes nowhere, where nobody reads it; without streams, stdout and stderr."""
    for stream in streams or (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
