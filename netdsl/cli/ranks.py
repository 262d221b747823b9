"""What `netdsl train` does where torchrun starts several processes of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from netdsl.ground.diagnostics import TrainingFailed, UserError
from netdsl.ground.ranks import ALONE, Ranks, SaidElsewhere
from netdsl.targets.registry import has_devices
from netdsl.training.data.places import data_dir

if TYPE_CHECKING:
    from netdsl.training.loop.session import Session

JOINS = "torch"  # the package that joins processes


@contextmanager
def joined_ranks(backend: str | None) -> Iterator[Ranks]:
    """The processes that torchrun started, joined; without torchrun this one alone. backend: what the command names,
    None where it is the run's. Raises UserError, TrainingFailed, SaidElsewhere."""
    count = os.environ.get("WORLD_SIZE", "1") if "RANK" in os.environ else "1"
    is_other = backend is not None and not has_devices(backend)
    if count == "1" and (is_other or "TORCHELASTIC_RUN_ID" not in os.environ):
        yield ALONE
        return
    if is_other or not find_spec(JOINS):
        _refuse(count, backend)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # what it warns of is chosen, or is told in words
    from netdsl.targets.contract import ModelEnded
    from netdsl.targets.torch.ranks import TorchRanks, place_in

    try:
        ranks = TorchRanks(place_in(os.environ))
    except ModelEnded as ended:
        raise TrainingFailed(f"training did not begin: {ended.why}") from None
    yield ranks


def _refuse(count: str, backend: str | None) -> None:
    if os.environ["RANK"] != "0":
        raise SaidElsewhere(2)
    text = f"{count} processes share a batch by PyTorch"
    if backend is None or has_devices(backend):
        raise UserError(f"{text}, which is not installed", help="`pip install 'netdsl[torch]'` brings it")
    text = f"{text}, not by `--backend {backend}`"
    raise UserError(text, help="add `--backend torch`, or start one process without torchrun")


@contextmanager
def opened_together(
    ranks: Ranks, opened: Callable[[], AbstractContextManager[Session]], on_note: Callable[[str], None]
) -> Iterator[Session]:
    """The session that this command opens, by the first process, or the one that it went on with before torchrun
    started its processes anew."""
    from netdsl.training.loop.session import joined, reopened
    from netdsl.training.loop.together import together

    def first() -> AbstractContextManager[Session]:
        begun = ranks.begun()
        return opened() if begun is None else reopened(begun, opened, data_dir(), on_note, ranks)

    def other(path: Path, is_resumed: bool) -> AbstractContextManager[Session]:
        return joined(path, is_resumed, data_dir(), ranks)

    with together(ranks, first, other) as session:
        yield session
