"""A batch counts each verification at one line, also if another batch made it, and if a step is repeated."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.batches import Batch, linked, manifest
from tests.support.sandbox import Moment, Sandbox
from titleholder.batches import steps
from titleholder.errors import UnexpectedError

pytestmark = pytest.mark.slow


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line is a range of its own, so no step sees two of the equal lines."""
    monkeypatch.setattr(steps, "piece_bytes", lambda size: 80)


def verified(sandbox: Sandbox, accounts: list[str]) -> Batch:
    batch = Batch(sandbox, manifest(accounts))
    batch.start()
    batch.run(batch.imported())
    return batch


def counts(batch: Batch) -> tuple[int, int, dict[str, int], int]:
    shown = batch.shown()
    return shown["imported"], shown["duplicates"], shown["done"], shown["waiting"]


def check_end(batch: Batch) -> None:
    """What docs/batches.md promises of the numbers of a batch that has ended."""
    imported, duplicates, done, _ = counts(batch)
    verifications = {row["verification"] for row in batch.lines("results.jsonl")}
    assert imported - duplicates == len(verifications) == sum(done.values())


class TestLineWithAVerdictThatComesThreeTimes:
    def test_is_counted_once_in_one_range(self, sandbox: Sandbox) -> None:
        known, new = linked(sandbox, 2)
        verified(sandbox, [known])
        batch = Batch(sandbox, manifest([known, known, new, known]))
        batch.start()
        following = batch.imported()
        assert counts(batch) == (4, 2, {"match": 1}, 1)
        batch.run(following)
        assert counts(batch) == (4, 2, {"match": 2}, 0)
        assert [row["outcome"] for row in batch.lines("results.jsonl")] == ["match"] * 4
        [summary] = [
            event["detail"]
            for event in sandbox.published()
            if event["detail-type"] == "BatchCompleted" and event["detail"]["batch"] == batch.id
        ]
        assert (summary["verified"], summary["done"]) == (2, {"match": 2})

    @pytest.mark.usefixtures("pieces")
    def test_is_counted_once_in_several_ranges(self, sandbox: Sandbox) -> None:
        known, new = linked(sandbox, 2)
        verified(sandbox, [known])
        batch = Batch(sandbox, manifest([known, known, new, known]))
        batch.start()
        following = batch.imported()
        assert len(batch.lines("ranges.jsonl")) > 2
        assert counts(batch) == (4, 2, {"match": 1}, 1)
        batch.run(following)
        assert counts(batch) == (4, 2, {"match": 2}, 0)
        check_end(batch)

    def test_is_counted_once_by_each_batch(self, sandbox: Sandbox) -> None:
        [known] = linked(sandbox, 1)
        for _ in range(3):
            batch = verified(sandbox, [known] * 3)
            assert counts(batch) == (3, 2, {"match": 1}, 0)


def test_death_at_any_call_of_the_import_changes_no_count(sandbox: Sandbox) -> None:
    known, other = linked(sandbox, 2)
    verified(sandbox, [known])
    calls, dying = 0, True
    while dying:
        calls, dying = calls + 1, False
        batch = Batch(sandbox, manifest([known, other, known, other]), scope=f"{calls}" if calls % 2 else "")
        batch.start()
        [part] = batch.cut()
        left = calls

        def die(moment: Moment) -> None:
            nonlocal left, dying
            if moment.service in ("dynamodb", "s3") and moment.when == "after":
                left -= 1
                if not left:
                    dying = True
                    raise RuntimeError

        sandbox.taps.append(die)
        try:
            batch.step("import", range=part)
        except UnexpectedError:
            assert dying
        sandbox.taps.remove(die)
        batch.step("import", range=part)
        batch.run(batch.step("imported"))
        assert counts(batch) == (4, 2, {"match": 2}, 0), calls
        check_end(batch)
    assert calls > 10


@pytest.mark.usefixtures("pieces")
def test_two_batches_that_import_equal_lines_at_once_count_each_verification_once(sandbox: Sandbox) -> None:
    accounts = linked(sandbox, 2)
    batches = [Batch(sandbox, manifest([*accounts, *accounts])) for _ in range(2)]
    parts = []
    for batch in batches:
        batch.start()
        parts.append(batch.cut())
    for mine, theirs in zip(*parts, strict=True):
        # Each takes the verifications from the other, again and again.
        batches[0].step("import", range=mine)
        batches[1].step("import", range=theirs)
    followings = [batch.step("imported") for batch in batches]
    for batch in batches:
        assert counts(batch) == (4, 2, {}, 2)
    for batch, following in zip(batches, followings, strict=True):
        batch.run(following)
        check_end(batch)
        assert counts(batch) == (4, 2, {"match": 2}, 0)


@pytest.mark.usefixtures("pieces")
def test_verdict_that_comes_between_two_equal_lines_is_counted_once(sandbox: Sandbox) -> None:
    [account] = linked(sandbox, 1)
    first = Batch(sandbox, manifest([account]))
    first.start()
    first.imported()
    batch = Batch(sandbox, manifest([account] * 2))
    batch.start()
    parts = batch.cut()
    batch.step("import", range=parts[0])
    # The other batch's workflow still runs when its verification has been taken over.
    first.verify(0)
    for part in parts:
        batch.step("import", range=part)
    following = batch.step("imported")
    assert counts(batch) == (2, 1, {"match": 1}, 0)
    batch.run(following)
    assert counts(batch) == (2, 1, {"match": 1}, 0)


def test_stop_of_an_import_that_died_counts_lines_with_a_verdict_once(sandbox: Sandbox) -> None:
    known, new = linked(sandbox, 2)
    verified(sandbox, [known])
    batch = Batch(sandbox, manifest([known, new, known, new, known]))
    batch.start()
    [part] = batch.cut()

    def die(moment: Moment) -> Any:
        if moment.operation == "put_object" and "/rows/" in str(moment.arguments.get("Key")):
            sandbox.taps.remove(die)
            raise RuntimeError

    sandbox.taps.append(die)
    with pytest.raises(UnexpectedError):
        batch.step("import", range=part)
    assert sandbox.http("DELETE", f"/batches/{batch.id}").status == 200
    batch.close()
    assert counts(batch) == (5, 3, {"match": 1, "not_verifiable": 1}, 0)
    check_end(batch)
