"""What is known of what constructors of stages are given, beside plain values."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Another:
    """Another stage, or an array: it is there, and that is all that is known of it."""


@dataclasses.dataclass(frozen=True)
class Names:
    """The arrays of a network by their names, of which there are these."""

    names: frozenset[str]

    def get(self, name: str) -> Another | None:
        return Another() if name in self.names else None

    def __getitem__(self, name: str) -> Another:
        if name not in self.names:
            raise KeyError(name)
        return Another()

    def __contains__(self, name: str) -> bool:
        return name in self.names


@dataclasses.dataclass(frozen=True)
class Working:
    """The worker that a constructor is given: whether it trains, and which params there are."""

    training: bool
    params: Names


@dataclasses.dataclass(frozen=True)
class WorkingAlone(Working):
    """One with which no others share the layers of a sample."""

    splits: bool = False
