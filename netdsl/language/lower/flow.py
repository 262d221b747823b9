"""What the walk through a file passes along, frozen: what flows at a point, and where the point stands."""

from __future__ import annotations

from dataclasses import dataclass, field

from netdsl.graph.types import Tensor
from netdsl.ground.source import Span
from netdsl.language.definitions import Block, File
from netdsl.language.expressions import Names
from netdsl.language.scopes import Labels, OpenScope


@dataclass(frozen=True, slots=True)
class Flow:
    """The value that flows at a point: its number, and its type (None: unknown after a mistake)."""

    value: int
    type: Tensor | None

    def unknown(self) -> Flow:
        """The value after a mistake, which has been reported."""
        return Flow(self.value, None)


@dataclass(frozen=True, slots=True)
class Frame:
    """A block call in progress (block and call None: the file itself): what its body can name.

    arriving: `@in`. labels and decisions are filled while the body is walked through; decisions holds, for each `if`,
    what holds and what does not. depth: in how many calls the frame stands.
    """

    file: File
    arriving: Flow
    outer: Frame | None = None
    block: Block | None = None
    call: Span | None = None
    depth: int = 0
    labels: Labels = field(default_factory=Labels)
    decisions: dict[str, tuple[str, str]] = field(default_factory=dict)

    def chain(self) -> list[Frame]:
        """The frame and those around it, the innermost first."""
        frames = [self]
        while frames[-1].outer is not None:
            frames.append(frames[-1].outer)
        return frames


@dataclass(frozen=True, slots=True)
class Place:
    """Where a point stands: in which call, among which names, in which scope, and in how many braces."""

    frame: Frame
    names: Names
    scope: OpenScope
    depth: int = 0

    def among(self, names: Names) -> Place:
        """The place with other names."""
        return Place(self.frame, names, self.scope, self.depth)

    def in_braces(self) -> Place:
        """The place inside braces, where names are defined over those around them."""
        return Place(self.frame, Names(self.names), self.scope, self.depth + 1)

    def within(self, scope: OpenScope) -> Place:
        """The place in another scope."""
        return Place(self.frame, self.names, scope, self.depth)
