"""No role may do more than its function does. `make permissions` also takes each permission away and sees that calls are refused."""

from __future__ import annotations

from tests.e2e.stack_driver import TRAIL, StackDriver
from tools.permissions import Roles, Scenes, play_all


def test_every_permission_is_used(driver: StackDriver) -> None:
    roles = Roles(driver, TRAIL)
    held = roles.remember()
    assert len({permission.function for permission in held}) >= 7
    using = play_all(Scenes(roles))
    assert [str(permission) for permission in held if roles.emulated(permission) and permission not in using] == []


def test_nothing_that_a_function_did_was_refused(driver: StackDriver) -> None:
    """IAM refused no call that a function made in this test session."""
    assert Roles(driver, TRAIL).refused_calls() == []
