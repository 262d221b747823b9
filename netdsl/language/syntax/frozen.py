"""What the classes of the syntax tree have in common: fields, equality, and that they never change.

dataclasses compile five functions for each class, which for forty classes takes longer than to check a spec.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any, ClassVar, dataclass_transform


@dataclass_transform(frozen_default=True)
class Frozen:
    """A class whose fields are the names that it and its bases annotate, in order; a field with a value has a default.

    Objects are equal where their fields are, but for those that say where something stands: `span` and `..._span`."""

    fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls.fields += tuple(cls.__annotations__)

    def __init__(self, *values: Any, **named: Any) -> None:
        """Raises TypeError where a field has no value, or two, or a value no field."""
        if named or len(values) != len(self.fields):
            self._check(len(values), named.keys())
        vars(self).update(zip(self.fields, values, strict=False), **named)

    def _check(self, count: int, names: Set[str]) -> None:
        """Whether `count` first fields and those of these names are, with the defaults, just all of them."""
        others = self.fields[count:]
        if count > len(self.fields) or names - set(others):
            raise TypeError(f"{type(self).__name__} has {', '.join(self.fields)}: not {count} values and {set(names)}")
        missing = [name for name in others if name not in names and not hasattr(self, name)]
        if missing:
            raise TypeError(f"{type(self).__name__} needs {', '.join(missing)}")

    def content(self) -> list[Any]:
        """The values of the fields, without the spans."""
        return [getattr(self, name) for name in self.fields if not name.endswith("span")]

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} does not change: `{name}` cannot be set")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.content() == other.content()

    def __hash__(self) -> int:
        return hash((type(self), *self.content()))

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in self.fields if not name.endswith("span"))
        return f"{type(self).__name__}({', '.join(shown)})"
