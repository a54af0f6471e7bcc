"""The cheap rehearsals of docs/recovery.md. `make rehearse` runs all of them."""

from __future__ import annotations

import pytest

from local import rehearse
from tests.e2e.stack_driver import StackDriver


def rehearsed(name: str, on: rehearse.Rehearsal) -> None:
    done = rehearse.result(name, on)
    assert done.problem == ""
    assert len(set(done.checked)) > 5


def test_dead_letters_of_each_queue_are_moved_back(driver: StackDriver) -> None:
    rehearsed("dead-letters", rehearse.Rehearsal(driver.stack))


@pytest.mark.slow
def test_table_is_restored_to_a_point_in_time_and_lost_keys_are_replaced() -> None:
    with rehearse.stack() as on:
        rehearsed("point-in-time", on)
        rehearsed("keys-table", on)


def test_every_procedure_is_rehearsed_by_a_name_that_the_runbook_has() -> None:
    text = (rehearse.ROOT / "docs" / "recovery.md").read_text() + (rehearse.ROOT / "docs" / "upgrading.md").read_text()
    assert [name for name in rehearse.PROCEDURES if f"`{name}`" not in text] == []
