"""A session that several processes hold together: the first one opens it, the others join it where it lies.

Only the first one writes into the run's folder, which all of them read: on several machines it lies where all see it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from netdsl.ground.diagnostics import TrainingFailed
from netdsl.ground.ranks import Ranks, SaidElsewhere
from netdsl.targets.contract import ModelEnded

if TYPE_CHECKING:
    from netdsl.training.loop.session import Session

T = TypeVar("T")

TOO_FEW = 2  # exit code of a process that could not begin because another one could not


@contextmanager
def together(
    ranks: Ranks,
    opened: Callable[[], AbstractContextManager[Session]],
    joined: Callable[[Path, bool], AbstractContextManager[Session]],
) -> Iterator[Session]:
    """The session that the first process opens, and the others join by the folder of its run.

    Where one of them cannot, none of them begins: it raises its error, the others SaidElsewhere.
    """
    with ExitStack() as stack:
        session, error = _entered(stack, opened) if ranks.is_first else (None, None)
        place = _heard(lambda: ranks.shared(lambda: _place_of(session)))
        if place and not ranks.is_first:
            session, error = _entered(stack, lambda: joined(Path(place[0]), place[1]))
        failures = [error is not None]
        failed = any(_heard(lambda: ranks.total(failures)))
        if error is not None:
            raise error
        if failed or session is None:
            raise SaidElsewhere(TOO_FEW)
        yield session


def _place_of(session: Session | None) -> tuple[str, bool] | None:
    """What the others need to join: the folder of the run, and whether it is resumed; None where there is none."""
    return (str(session.run.absolute()), session.is_resumed) if session else None


def _entered(
    stack: ExitStack, enter: Callable[[], AbstractContextManager[Session]]
) -> tuple[Session | None, Exception | None]:
    try:
        return stack.enter_context(enter()), None
    except Exception as error:
        return None, error


def _heard(ask: Callable[[], T]) -> T:
    """What the others say. Raises TrainingFailed where one of them has ended."""
    try:
        return ask()
    except ModelEnded as ended:
        raise TrainingFailed(f"training did not begin: {ended.why}") from None
