"""No role may do more than its function does. `make permissions` proves the reverse too: each permission is taken away, and missed."""

from __future__ import annotations

from tests.e2e.bench import Bench
from tests.e2e.conftest import TRAIL
from tests.e2e.permissions import TESTER, Roles, Scenes, play_all


def test_every_permission_is_used(bench: Bench) -> None:
    roles = Roles(bench, TRAIL)
    held = roles.remember()
    assert len({permission.function for permission in held}) >= 7
    using = play_all(Scenes(roles))
    assert [str(permission) for permission in held if roles.emulated(permission) and permission not in using] == []


def test_nothing_that_a_function_did_was_refused(bench: Bench) -> None:
    """All that this session's tests had the functions do was within their rights."""
    refused = [decision for decision in Roles(bench, TRAIL).decisions()[0] if not decision["allowed"] and decision["session"] != TESTER]
    # A scene takes the right to start workflows away for a moment.
    refused = [decision for decision in refused if decision["action"] != "states:StartExecution"]
    assert refused == []
