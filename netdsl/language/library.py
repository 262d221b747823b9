"""What `use` brings: other `.net` files below the spec's folder, and the library that is shipped with netdsl."""

from __future__ import annotations

import os
import stat
from functools import cache
from pathlib import Path

from netdsl.ground.diagnostics import Diagnostic, UserError, did_you_mean, plain
from netdsl.ground.encodings import no_text, text_of
from netdsl.ground.source import Source
from netdsl.ground.system.disk import name_on_disk, open_to_read
from netdsl.language.syntax import ast
from netdsl.language.syntax.parser import parse

MAX_SOURCE = 2**20  # bytes
MAX_USED = 16  # files one spec may use in all
_FOREIGN = {
    ".py": "a Python file",
    ".ipynb": "a notebook",
    ".json": "a JSON file",
    ".csv": "a table",
    ".toml": "a TOML file",
    ".html": "a web page",
    ".md": "a Markdown page",
}
_SHIPPED = Path(__file__).parent / "std.net"


class Library:
    """Gives lowering the syntax tree of each used file, once. Nothing outside `root` is ever read."""

    def __init__(self, root: Path | None) -> None:
        self.root = root
        self.used: dict[str, str] = {}
        self._programs: dict[Path, ast.Program | list[Diagnostic]] = {}
        self._folders: dict[str, Path] = {}  # name of a used source -> its folder

    def __call__(self, use: ast.Use) -> ast.Program | list[Diagnostic]:
        """The tree, or what is wrong."""
        try:
            path = self._path(use)
            if path not in self._programs:
                self._programs[path] = self._parsed(path, use)
        except UserError as error:
            return [Diagnostic("N318", error.message, use.span, help=(error.help,) if error.help else ())]
        return self._programs[path]

    def _path(self, use: ast.Use) -> Path:
        if not use.quoted:
            if use.target != "std":
                raise UserError(f"there is no library `{use.target}`", _library_help(use.target))
            return _SHIPPED
        if self.root is None:
            raise UserError(f"`{use.target}` cannot be found: this text is in no folder", "put it into a file")
        written = Path(name_on_disk(use.target))
        if written.is_absolute() or "\\" in use.target or ":" in use.target:
            raise UserError(f"`{use.target}` is not a path below the spec's folder", "write it as `parts/blocks.net`")
        folder = self._folders.get(use.span.source.name, self.root)
        path = Path(os.path.realpath(folder / written))
        if not path.is_relative_to(os.path.realpath(self.root)):
            raise UserError(f"`{use.target}` is outside the spec's folder", "a spec reads files in its own folder only")
        if path.suffix != ".net":
            raise UserError(f"`{use.target}` is not a `.net` file", f"write `{use.target}.net`")
        return path

    def _parsed(self, path: Path, use: ast.Use) -> ast.Program | list[Diagnostic]:
        if len(self._programs) >= MAX_USED:
            raise UserError(f"more than {MAX_USED} files are used")
        if path == _SHIPPED:
            return _shipped()
        name = os.path.relpath(path, os.path.realpath(self.root or "."))
        text = read_spec(path, name)
        if isinstance(text, Diagnostic):
            return [text]
        self.used[Path(name).as_posix()] = text
        self._folders[name] = path.parent
        program, diagnostics = parse(Source(name, text))
        return diagnostics or program


@cache
def _shipped() -> ast.Program:
    """The library's tree; a frozen one, so that all specs can share it."""
    return parse(Source("std.net", _SHIPPED.read_text(encoding="utf-8")))[0]


def _library_help(name: str) -> str:
    return "did you mean `std`?" if did_you_mean(name, ["std"]) else f'a file is written in quotes: `use "{name}.net"`'


def read_spec(path: Path, name: str) -> str | Diagnostic:
    """The text of a regular file of at most MAX_SOURCE bytes; a Diagnostic where it is not UTF-8. Never waits on a pipe
    or a device. Raises UserError where it cannot be read, or its name says that it is no spec."""
    kind = _FOREIGN.get(path.suffix.lower())
    if kind is not None and path.is_file():
        raise UserError(f"`{plain(name)}` is {kind}, not a spec", "a spec is a text file, usually called `NAME.net`")
    return decode_spec(_read(path, plain(name)), name)


def decode_spec(data: bytes, name: str) -> str | Diagnostic:
    """The bytes of a spec as text; a Diagnostic where they are not UTF-8. Raises UserError where they are too many."""
    if len(data) > MAX_SOURCE:
        strange = no_text(data[:MAX_SOURCE], name)
        if strange is not None:
            return strange
        raise UserError(f"`{plain(name)}` is larger than {MAX_SOURCE:_} bytes, the limit for a spec")
    return text_of(data, name)


def _read(path: Path, shown: str) -> bytes:
    try:
        with open(open_to_read(path), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UserError(f"`{shown}` is not a regular file")
            data = file.read(MAX_SOURCE + 1)
    except ValueError as error:  # a NUL in the name
        raise UserError(f"`{shown}` is not a file name") from error
    except IsADirectoryError as error:
        raise UserError(f"`{shown}` is a folder, not a `.net` file", _folder_help(path)) from error
    except FileNotFoundError as error:
        raise UserError(f"cannot read `{shown}`: there is no such file", _nearby(path)) from error
    except OSError as error:
        raise UserError(f"cannot read `{shown}`: {(error.strerror or str(error)).lower()}") from error
    return data


def _folder_help(path: Path) -> str:
    """The spec of a run folder, or the only one in a folder."""
    inside = [path / "model.net"] if (path / "model.net").is_file() else sorted(path.glob("*.net"))
    return f"its spec is `{plain(str(inside[0]))}`" if len(inside) == 1 else ""


def _nearby(path: Path) -> str:
    """The file that is meant, if there is one of nearly that name."""
    try:
        names = [entry.name for entry in os.scandir(path.parent) if entry.name.endswith(".net")][:1000]
    except OSError:
        return ""
    guess = f"{path.name}.net" if f"{path.name}.net" in names else did_you_mean(path.name, names)
    return f"did you mean `{plain(str(path.with_name(guess)))}`?" if guess else ""
