"""Memory for the time of one comparison. Its keys are names and addresses, so it must be empty when the comparison has ended."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_forget: list[Callable[[], None]] = []


def remembered(maxsize: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Keep the last `maxsize` results of a pure function until the comparison that asked for them ends."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        cached = lru_cache(maxsize)(function)
        _forget.append(cached.cache_clear)
        return cached  # type: ignore[return-value]

    return decorate


def forgetful(function: Callable[P, T]) -> Callable[P, T]:
    """A comparison, at whose end all results are forgotten, also if it fails.

    A Lambda environment lives for hours, so what it remembers of an account's owners would outlive their erasure.
    """

    @wraps(function)
    def compare(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        finally:
            for forget in _forget:
                forget()

    return compare
