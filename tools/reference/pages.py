"""Which pages there are, and what writes each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tools.reference import claims, events, parameters, policy, reasons, simulator

PAGES: Mapping[str, Callable[[], str]] = {
    "claims": claims.render,
    "events": events.render,
    "parameters": parameters.render,
    "policy": policy.render,
    "reasons": reasons.render,
    "simulator": simulator.render,
}
