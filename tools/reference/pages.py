"""Which pages there are, and what writes each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tools.reference import reasons

PAGES: Mapping[str, Callable[[], str]] = {
    "reasons": reasons.render,
}
