"""Which pages there are, and what writes each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tools.reference import parameters, reasons

PAGES: Mapping[str, Callable[[], str]] = {
    "parameters": parameters.render,
    "reasons": reasons.render,
}
