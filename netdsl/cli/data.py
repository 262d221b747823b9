"""`netdsl data`: the data sets that have names; which there are, where they are, and how they come here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from netdsl.ground.catalog import NamedData
    from netdsl.training.data.places import Place

ELSEWHERE = {
    "download": "fetch",
    "get": "fetch",
    "ls": "list",
    "info": "show",
    "head": "show",
    "check": "verify",
    "where": "path",
    "extract": "unpack",
}
"""What other programs call a subcommand -> what it is here."""


class _Subcommands(click.Group):
    """An unknown one is answered with the one that is meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from netdsl.ground.diagnostics import did_you_mean, plain

        name = args[0]
        if name not in self.commands and not name.startswith("-"):
            guess = ELSEWHERE.get(name) or did_you_mean(name, self.commands)
            meant = f"did you mean `data {guess}`?" if guess else f"they are {', '.join(self.commands)}"
            ctx.fail(f"`data` has no command `{plain(name)}`; {meant}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Subcommands, no_args_is_help=True)
def command() -> None:
    """List, show, fetch, verify and find the data sets that have names; unpack your own.

    Files are looked for in the folder NETDSL_DATA_DIR, then where torchvision (./data, ~/data) and Keras
    (~/.keras/datasets) keep theirs, then in netdsl's cache (NETDSL_CACHE_DIR, or the system's place for caches), where
    `fetch` puts them. No other command downloads anything.

    \b
    Examples:
      netdsl data list
      netdsl data show classics
      netdsl data fetch fashion-mnist
      netdsl data fetch mnist cifar10 --to ~/data
      netdsl data verify cifar10
      netdsl data path mnist
      netdsl data unpack large.npz
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a data set on stdout, with its licence.")
def list_command(as_json: bool) -> None:
    """Show every data set: its samples to learn from and to test, their shape, its classes, and where it is.

    \b
    Examples:
      netdsl data list
      netdsl data list --json
    """
    from netdsl.ground.catalog import SETS
    from netdsl.ground.tables import table_lines

    if as_json:
        for data in SETS:
            click.echo(json.dumps(_as_dict(data)))
        return
    rows = [("data", "samples", "shape", "classes", "where"), *map(_row, SETS)]
    click.echo("\n".join(table_lines(rows, left=len(rows[0]), is_ruled=True)))


@command.command()
@click.argument("name", metavar="NAME|FILE.txt")
@click.option("--chars", type=click.IntRange(1), default=300, help="Characters of a text to print; by default 300.")
def show(name: str, chars: int) -> None:
    """Tell what a data set holds: of a text its size, its characters and how it begins.

    NAME is one that `netdsl data list` has, or a text in a file.

    \b
    Examples:
      netdsl data show tinyshakespeare
      netdsl data show diary.txt --chars 1000
    """
    from netdsl.ground.catalog import CATALOG

    is_known = name in CATALOG or not Path(name).is_file()
    data = _named(name) if is_known else None
    if data is None or data.is_text:
        click.echo("\n".join(_text_lines(name, data, chars)))
        return
    click.echo(f"{data.name}: {data.train:,} samples to learn from, {data.test:,} to test, {_shape(data)} each")
    click.echo(f"{len(data.classes)} classes: {', '.join(data.classes)}")
    click.echo(f"from {data.source}")


def _text_lines(name: str, data: NamedData | None, chars: int) -> list[str]:
    """What is said of a text of the catalog, or in a file of that name."""
    from netdsl.ground.diagnostics import plain
    from netdsl.ground.reading import reading, shown
    from netdsl.training.data.built_in import named_text
    from netdsl.training.data.places import data_dir
    from netdsl.training.data.texts import text_of

    if data is not None:
        text = named_text(name, data_dir())
    else:
        with reading(Path(name)):
            raw = Path(name).read_bytes()
        text = text_of(shown(name), raw)
    known = " ".join({"\n": "newline", " ": "space"}.get(c, plain(c)) for c in text.vocabulary)
    counts = f"{len(text.ids):,} characters, {len(text.vocabulary)} different ones"
    lines = [
        f"{plain(name)}: {counts}",
        f"its vocabulary: {known}",
        f"an input of 64 of them: `input 64 of {len(text.vocabulary)}`",
    ]
    lines += [f"from {data.source}"] if data is not None else []
    passage = text.passage(0, chars)
    return [*lines, *text.notes, "", *(plain(line.expandtabs(4)) for line in passage.split("\n"))]


@command.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "--to", type=click.Path(path_type=Path), metavar="DIR", help="A folder for data sets; by default netdsl's cache."
)
@click.option(
    "--mirror",
    "mirrors",
    multiple=True,
    metavar="URL",
    help="Ask here first, may be repeated; by default nowhere else.",
)
@click.option(
    "--offline", is_flag=True, envvar="NETDSL_OFFLINE", help="Download nothing; NETDSL_OFFLINE=1 does the same."
)
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def fetch(names: tuple[str, ...], to: Path | None, mirrors: tuple[str, ...], offline: bool, quiet: bool) -> None:
    """Download the data sets of these NAMES, unless they are here, and print the folder of each.

    Every file must come to its known SHA-256, whichever mirror sends it; what breaks off is gone on with. Proxies are
    taken from the environment. Ctrl-C keeps what is there for the next time.

    \b
    Examples:
      netdsl data fetch fashion-mnist
      netdsl data fetch mnist cifar10 --to ~/data
      netdsl data fetch cifar100 --mirror https://mirror.example.org/cifar/
    """
    for data in [_named(name) for name in names]:
        _fetch_one(data, to, mirrors, offline, quiet)


@command.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def verify(names: tuple[str, ...]) -> int:
    """Compare every file of the data sets of these NAMES, wherever it is, with what was published.

    \b
    ok       its SHA-256 is right, packed or unpacked
    damaged  it is not: exit code 1
    part     half fetched, or some samples of a file
    unknown  its size is right, but nobody has published a SHA-256 of it
    missing  the place has other files of the set

    \b
    Examples:
      netdsl data verify mnist
    """
    states = [state for name in names for state in _verify_one(_named(name))]
    return int("damaged" in states)


@command.command()
@click.argument("name")
def path(name: str) -> None:
    """Print where the data set of this NAME is read from: a folder, or a file.

    \b
    Examples:
      netdsl data path mnist
    """
    from netdsl.ground.diagnostics import UserError
    from netdsl.training.data.missing import missing_files
    from netdsl.training.data.places import data_dir, package_file, readable_place, roots

    data = _named(name)
    if data.is_packed:
        click.echo(package_file(name))
        return
    if not data.has_files:
        raise UserError(f"`{name}` is computed: it has no files")
    place = readable_place(data, roots(data_dir()))
    if place is None:
        raise missing_files(data, roots(data_dir()))
    click.echo(place.path)


@command.command()
@click.argument("file", metavar="FILE.npz", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder to make; by default FILE.",
)
def unpack(file: Path, out: Path | None) -> None:
    """Make a folder of .npy files of a .npz, which may then be larger than memory, and print its path.

    `--data DIR` reads the samples of such a folder when they are needed. All or nothing: what is there stays as it is,
    and of an unpacking that breaks off nothing stays.

    \b
    Examples:
      netdsl data unpack large.npz
      netdsl data unpack large.npz -o /mnt/disk/large
    """
    from netdsl.ground.diagnostics import UserError
    from netdsl.ground.reading import shown
    from netdsl.training.data.unpack import unpacked

    if file.suffix.lower() != ".npz":
        raise UserError(f"{shown(file)} is no `.npz`", help="netdsl data unpack FILE.npz")
    folder = file.with_suffix("") if out is None else out
    unpacked(file, folder)
    click.echo(folder)


def _named(name: str) -> NamedData:
    """The data set of a name. Raises UserError."""
    from netdsl.ground.catalog import CATALOG
    from netdsl.ground.diagnostics import UserError, did_you_mean, plain

    if name not in CATALOG:
        guess = did_you_mean(name, CATALOG)
        known = f"they are {', '.join(CATALOG)}"
        raise UserError(
            f"there is no data set called `{plain(name)}`", help=f"did you mean `{guess}`? {known}" if guess else known
        )
    return CATALOG[name]


def _place(data: NamedData) -> Place | None:
    from netdsl.training.data.places import data_dir, readable_place, roots

    return readable_place(data, roots(data_dir())) if data.has_files else None


def _row(data: NamedData) -> tuple[str, ...]:
    from netdsl.ground.diagnostics import plain
    from netdsl.training.data.missing import megabytes

    place = _place(data)
    where = "in netdsl" if data.is_packed else "computed"
    if place is not None:
        where = plain(str(place.path)) + ("" if place.is_whole(data) else ", a part")
    elif data.has_files:
        where = f"not here; {megabytes(data.download_bytes)} to fetch"
    return data.name, f"{data.train:,} + {data.test:,}", _shape(data), str(len(data.classes)), where


def _shape(data: NamedData) -> str:
    """`1x28x28` of a sample; a text has characters."""
    return "x".join(map(str, data.shape)) or "characters"


def _as_dict(data: NamedData) -> dict[str, object]:
    """The object of `list --json`."""
    place = _place(data)
    return {
        "name": data.name,
        "train": data.train,
        "test": data.test,
        "shape": list(data.shape),
        "classes": list(data.classes),
        "place": None if place is None else str(place.path),
        "is_whole": not data.has_files or place is not None and place.is_whole(data),
        "download_bytes": data.download_bytes,
        "source": data.source,
    }


def _fetch_one(data: NamedData, to: Path | None, mirrors: tuple[str, ...], is_offline: bool, is_quiet: bool) -> None:
    """Brings one set to its folder, and says whose it is."""
    from netdsl.cli import say
    from netdsl.cli.download_bar import shown_downloads
    from netdsl.training.data.fetching.fetch import fetch
    from netdsl.training.data.places import data_dir, places, roots

    if not data.has_files:
        say(f"{data.name} comes with netdsl: there is nothing to fetch")
        return
    where = roots(data_dir())
    whole = next((place for place in places(data, where) if place.is_whole(data)), None)
    if to is None and whole is not None:
        say(f"{data.name} is here already")
        click.echo(whole.path)
        return
    folder = where.cache / data.name if to is None else to / next(name for name in data.folders if name)
    try:
        with shown_downloads(is_quiet) as watch:
            fetch(data, folder, (*mirrors, *data.mirrors), watch=watch, is_offline=is_offline)
    except KeyboardInterrupt:
        _say_how_to_go_on(data, folder, to)
        raise
    say(f"{data.name}: {data.source}")
    click.echo(folder)
    _say_what_is_read(data, folder, to)


def _say_how_to_go_on(data: NamedData, folder: Path, to: Path | None) -> None:
    from netdsl.cli import say
    from netdsl.training.data.fetching.check import parts

    for part in parts(data, folder):
        say(f"kept {part.path}: {part.reason}")
    say(f"to go on: netdsl data fetch {data.name}{f' --to {to}' if to else ''}")


def _say_what_is_read(data: NamedData, folder: Path, to: Path | None) -> None:
    """A note where the set is read from another place than it was fetched to."""
    from netdsl.cli import say

    place = _place(data)
    if place is not None and place.path.resolve() == folder.resolve():
        return
    if to is not None:
        say(f"note: NETDSL_DATA_DIR={to} makes netdsl read it from there")
    elif place is not None:
        say(f"note: {place.path}, which is looked into first, has a part of it: that is what is read")


def _verify_one(data: NamedData) -> list[str]:
    """The states of all files of a set, each of which is said in a line."""
    from netdsl.ground.diagnostics import UserError, plain
    from netdsl.training.data.fetching.check import check_place, parts
    from netdsl.training.data.missing import missing_files
    from netdsl.training.data.places import data_dir, places, roots

    if not data.has_files:
        raise UserError(f"`{data.name}` comes with netdsl: there is nothing to verify")
    where = roots(data_dir())
    rows = [checked for place in places(data, where) for checked in check_place(data, place)]
    rows = rows or list(parts(data, where.cache / data.name))
    if not rows:
        raise missing_files(data, where)
    for checked in rows:
        reason = f": {checked.reason}" if checked.reason else ""
        click.echo(f"{checked.state:7}  {plain(str(checked.path))}{reason}")
    return [checked.state for checked in rows]
