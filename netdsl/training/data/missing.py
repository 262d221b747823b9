"""What is said where the files of a data set are nowhere: what is missing, and the ways to have it."""

from __future__ import annotations

from netdsl.ground.catalog import NamedData
from netdsl.ground.diagnostics import UserError
from netdsl.ground.reading import shown
from netdsl.training.data.places import Roots, pickled_place, places

MINI_HELP = "or use `--data mnist-mini`"
TEXT_HELP = "or use `--data classics`"


def missing_files(data: NamedData, where: Roots) -> UserError:
    """An error that names half of a set, or pickles, or what NETDSL_DATA_DIR lacks. Nothing is downloaded unasked."""
    return UserError(_what_is_missing(data, where), help=_help(data, where))


def files_in_words(data: NamedData) -> str:
    """`train.bin` and `test.bin` (or with .gz)."""
    groups = [[name for name in group if name in {m.name for m in data.members}] for group in data.needs]
    names = [data.on_disk(name) for name in (group[0] for group in groups)]
    ends = ["" if len(group) == 1 else f" to `{data.on_disk(group[-1])}`" for group in groups]
    *most, last = [f"`{name}`{end}" for name, end in zip(names, ends, strict=True)]
    is_zipped = data.on_disk(data.members[0].name) != data.members[0].name
    both = f"{', '.join(most)} and {last}" if most else last
    return f"{both} (or {'without' if is_zipped else 'with'} .gz)"


def megabytes(count: int) -> str:
    """`11.6 MB` of so many bytes, in millions."""
    return f"{count / 1e6:.1f} MB" if count >= 50_000 else f"{count / 1e3:.1f} kB"


def _what_is_missing(data: NamedData, where: Roots) -> str:
    half = next((place for place in places(data, where)), None)
    if half is not None and (lacking := half.lacks(data)):
        return f"{shown(half.path)} has no `{data.on_disk(lacking)}`"
    if pickles := pickled_place(data, where):
        return f"{shown(pickles)} has `{data.name}` in pickles, which can run code and are not read"
    if where.given is not None:
        folder = f"{data.folders[0]}/" if "" not in data.folders else ""
        return f"{shown(where.given)} has no `{folder}{data.on_disk(data.needs[0][0])}`"
    return f"the files of `{data.name}` are not on this machine"


def _help(data: NamedData, where: Roots) -> str:
    below = "" if "" in data.folders else f" in a folder `{data.folders[0]}`"
    own = f"set NETDSL_DATA_DIR to a folder with {files_in_words(data)}{below}"
    fetch = f"`netdsl data fetch {data.name}` downloads it ({megabytes(data.download_bytes)})"
    return f"{fetch}; or {own}; {TEXT_HELP if data.is_text else MINI_HELP}"
