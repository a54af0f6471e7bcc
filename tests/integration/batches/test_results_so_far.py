"""Results so far of a batch that waits for cooldowns: their own files, few writes, and no effect on the batch if they fail."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from tests.support.batches import Batch, _unix, linked, manifest
from tests.support.sandbox import Sandbox
from titleholder.batches import steps
from titleholder.batches.bucket import BatchBucket

pytestmark = pytest.mark.slow


def waiting(sandbox: Sandbox, quick: int = 2, soon: int = 0, late: int = 0) -> tuple[Batch, list[Any]]:
    """A batch whose first pass is over, with accounts whose cooldowns end `soon` (within the pause) or `late`."""
    accounts = linked(sandbox, soon, "cooling_down", policy={"cooldown_seconds": 7300})
    accounts += linked(sandbox, late, "cooling_down", policy={"cooldown_seconds": 90_000}) + linked(sandbox, quick)
    sandbox.wait(2)
    batch = Batch(sandbox, manifest(accounts))
    batch.start()
    following = batch.imported()
    batch.verify(0)
    if soon:
        sandbox.clock.now += 7000
    ranges = batch.lines("ranges.jsonl")
    for part in ranges:
        batch.step("collect", range=part, **{"pass": 1, "since": following["since"]})
    return batch, ranges


def tally(batch: Batch) -> Any:
    return batch.step("tally", **{"pass": 1})


def test_stop_while_they_are_written_does_not_change_the_final_results(sandbox: Sandbox) -> None:
    batch, _ = waiting(sandbox, late=1)
    write = BatchBucket.write
    stopped: list[Any] = []

    def slowly(self: BatchBucket, key: str, blocks: Any) -> None:
        data = list(blocks)
        if not stopped:
            # Everything is read, and the run that closes the stopped batch finishes before this is written.
            stopped.append(sandbox.http("DELETE", f"/batches/{batch.id}").status)
            batch.close()
            stopped.append(batch.lines("results.jsonl"))
        write(self, key, data)

    with patch.object(BatchBucket, "write", slowly):
        tally(batch)
    status, final = stopped
    assert (status, [row["outcome"] for row in final]) == (200, ["not_verifiable", "match", "match"])
    assert batch.lines("results.jsonl") == final
    shown = batch.shown()
    assert (shown["state"], shown["results_so_far"]) == ("stopped", None)
    assert all("so_far" not in url for url in shown["results"].values())


def test_their_links_name_their_own_files_until_the_end(sandbox: Sandbox) -> None:
    batch, _ = waiting(sandbox, late=1)
    following = tally(batch)
    shown = batch.shown()
    assert [url.partition("?")[0].rpartition(batch.id)[2] for url in shown["results_so_far"].values()] == [
        "/results.so_far.jsonl",
        "/results.so_far.csv",
    ]
    assert [row["outcome"] for row in batch.lines("results.so_far.jsonl")] == [None, "match", "match"]
    sandbox.clock.now = _unix(following["at"])
    batch.run(following)
    assert [url.partition("?")[0].rpartition(batch.id)[2] for url in batch.shown()["results"].values()] == [
        "/results.jsonl",
        "/results.csv",
    ]


def test_error_while_they_are_written_is_logged_without_its_message_and_the_batch_continues(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    batch, _ = waiting(sandbox, quick=1, soon=3, late=4)
    caplog.set_level(logging.ERROR)
    with patch.object(BatchBucket, "write", side_effect=RuntimeError("Margaret Testerman")):
        assert tally(batch)["next"] == "verify"
    [logged] = [record for record in caplog.records if record.message == "results so far not written"]
    assert (logged.batch, logged.error.partition(" at ")[0], logged.exc_info) == (batch.id, "RuntimeError", None)
    assert "steps.py:" in logged.error
    assert "Testerman" not in caplog.text
    shown = batch.shown()
    assert (shown["state"], shown["results_so_far"], shown["results_at"]) == ("verifying", None, None)
    assert (shown["cooling_down"]["accounts"], shown["waiting"]) == (4, 7)


def test_tally_that_is_repeated_counts_nothing_twice_and_does_not_write_again(sandbox: Sandbox) -> None:
    class TimeOverError(BaseException):
        """The function's time is over, which no handler in it sees."""

    batch, _ = waiting(sandbox, quick=1, soon=3, late=4)
    with patch.object(BatchBucket, "write", side_effect=TimeOverError) as write:
        with pytest.raises(TimeOverError):
            tally(batch)
        assert tally(batch)["next"] == "verify"
    assert write.call_count == 1
    kept, shown = sandbox.store.batches.get(batch.id), batch.shown()
    assert (kept["resumed"], shown["cooling_down"]["accounts"]) == (3, 4)
    assert tally(batch)["next"] == "verify"
    assert batch.shown()["cooling_down"]["accounts"] == 4


@pytest.mark.parametrize(("hours", "most"), [(6, 15), (24, 20), (24 * 7, 27), (24 * 90, 36)])
def test_their_number_grows_with_the_logarithm_of_the_waiting_time(hours: int, most: int) -> None:
    """docs/batches.md names these numbers."""
    kept: dict[str, Any] = {"started_ms": 0}
    writes, now = 0, 0.0
    while now < hours * 3600:
        if steps._so_far_due(SimpleNamespace(now=now), kept):  # type: ignore[arg-type]
            writes, kept["results_tried_ms"] = writes + 1, int(now * 1000)
        now += 60
    assert most - 2 <= writes <= most


def test_another_tenants_batch_is_not_found(sandbox: Sandbox) -> None:
    batch, _ = waiting(sandbox, late=1)
    tally(batch)
    assert sandbox.http("GET", f"/batches/{batch.id}", **{"Stripe-Account": "acct_1"}).status == 404
