"""The cheap rehearsals of docs/recovery.md. `make rehearse` runs all of them."""

from __future__ import annotations

import contextlib
import os

import pytest

from local import rehearse
from tests.e2e.stack_driver import StackDriver


def test_dead_letters_of_each_queue_are_moved_back(driver: StackDriver) -> None:
    done = rehearse.result("dead-letters", rehearse.Rehearsal(driver.stack))
    assert done.problem == ""
    assert len(set(done.checked)) > 5


@pytest.mark.skipif("DYNAMODB_ENGINE" in os.environ, reason="only the embedded AWS itself restores tables")
def test_table_is_restored_to_a_point_in_time_beside_the_one_that_is_used(driver: StackDriver) -> None:
    on = rehearse.Rehearsal(driver.stack)
    try:
        rehearse.restore_beside(on)
    finally:
        with contextlib.suppress(driver.stack.client("dynamodb").exceptions.ResourceNotFoundException):
            driver.stack.client("dynamodb").delete_table(TableName=rehearse.RESTORED)
    assert len(set(on.checked)) > 5
