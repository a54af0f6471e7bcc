"""A wrapper for personal data: when it is printed, logged or serialised, it shows only a mask."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")
MASK = "[masked]"


class Sensitive(str, Generic[T]):
    """A value that only `reveal` shows: as text, `repr` and JSON it is `[masked]`, so it is a str whose content is the mask.

    Equal to another one with an equal value.
    """

    def __new__(cls, value: T) -> Sensitive[T]:
        made = super().__new__(cls, MASK)
        made.reveal = lambda: value  # type: ignore[method-assign]
        return made

    def reveal(self) -> T:
        """The value itself. Call this only where the value is matched, answered or encrypted."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sensitive) and self.reveal() == other.reveal()

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(MASK)
