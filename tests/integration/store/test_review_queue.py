"""The queue of reviews: each tenant's own, the longest waiting first, in pages that take a bounded number of calls."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.integration.store.conftest import store_on
from tests.support.fakes.dynamodb import FakeDynamoDB
from tests.support.stored import NOW, VERIFICATION
from titleholder.domain.accounts import AccountRef, Tenant
from titleholder.domain.reviews import Review, ReviewDecision
from titleholder.services import review_queue
from titleholder.services.review_queue import QueuePage, QueueQuery
from titleholder.store import Store
from titleholder.store.review_queue import Position
from titleholder.store.reviews import opening_part
from titleholder.store.table import Table
from titleholder.store.verifications import Verifications

PLATFORM, CONNECTED, OTHER = Tenant(), Tenant(stripe_account="acct_1"), Tenant(stripe_account="acct_2")
FIRST = Position(0)
WALKED = int(os.environ.get("REVIEWS_WALKED", "500"))


def put(store: Store, number: int, tenant: Tenant = PLATFORM, *, at: float | None = None, batch: str | None = None) -> str:
    """A verification with an open review, opened `number` seconds after the first one. Returns its id.

    One of a batch has another reason.
    """
    id_ = f"ver_{number:032x}"
    ref = AccountRef(f"fca_{number}", tenant.mode, tenant.stripe_account)
    opened_at = NOW + number if at is None else at
    verification = replace(VERIFICATION, id=id_, ref=ref, batch=batch, line=None if batch is None else number)
    reason = "MIDDLE_DIFFERS" if batch is None else "BUSINESS_VS_PERSON"
    verdict = {"outcome": "close_match", "score": 62.0, "reasons": [reason], "fields": {}}
    ended = {"verdict": json.dumps(verdict), "completed_ms": int(opened_at * 1000), "review": "open"}
    store.table.put({**Verifications.item(verification), **ended})
    assert store.table.transact([opening_part(store.table, Review(ref, id_, "open", 1, opened_at, "rule"))])
    return id_


def put_many(store: Store, table: FakeDynamoDB, numbers: Iterable[int], tenant: Tenant = PLATFORM) -> None:
    """As `put`, in bulk."""
    first, *others = numbers
    id_ = put(store, first, tenant)
    pattern = [item for item in table.items.values() if item.get("verification") == {"S": id_}]
    for number in others:
        for item in pattern:
            made = {**item, "account": {"S": f"fca_{number}"}, "verification": {"S": f"ver_{number:032x}"}}
            for name in ("pk", "sk"):
                made[name] = {"S": item[name]["S"].replace(id_, f"ver_{number:032x}").replace(f"fca_{first}", f"fca_{number}")}
            for name in {"opened_ms", "open_since_ms"} & set(item):
                made[name] = {"N": str(round((NOW + number) * 1000))}
            table.items[made["pk"]["S"], made["sk"]["S"]] = made


def close(store: Store, id_: str) -> None:
    verification = store.verifications.get(id_)
    review = store.reviews.get(verification.ref, id_)
    closed = replace(review, state="closed", version=2, closed_at=NOW, resolution="expired", closed_reason="NOT_IN_TIME")
    assert store.reviews.expire(review, closed)


def propose(store: Store, id_: str) -> None:
    verification = store.verifications.get(id_)
    review = store.reviews.get(verification.ref, id_)
    decisions = (ReviewDecision("anne", NOW, "approve", "OTHER", None, noted=True),)
    assert store.reviews.expire(review, replace(review, state="proposed", version=2, decisions=decisions))


def page(store: Store, tenant: Tenant = PLATFORM, begin: Position = FIRST, **query: Any) -> QueuePage:
    return review_queue.page(store, tenant, QueueQuery(**query), begin)


def ids(page: QueuePage) -> list[str]:
    return [review.verification for review, _ in page.found]


def walk(store: Store, tenant: Tenant = PLATFORM, between: Callable[[], object] = lambda: None, **query: Any) -> Iterator[list[str]]:
    """The ids of each page, to the last one."""
    begin: Position | None = FIRST
    while begin is not None:
        found = page(store, tenant, begin, **query)
        yield ids(found)
        between()
        begin = found.following


def flat(pages: Iterable[list[str]]) -> list[str]:
    return [id_ for page in pages for id_ in page]


def text(page: QueuePage) -> str:
    return f"{page.waiting}{'+' if page.more_wait else ''}"


class TestContract:
    """On all tables."""

    def test_longest_waiting_are_first_and_each_comes_once(self, store: Store) -> None:
        known = [put(store, number) for number in (3, 1, 2, 0, 4)]
        for limit in (1, 2, 3, 5, 50):
            assert flat(walk(store, limit=limit)) == sorted(known), limit

    def test_tenant_has_its_own_only(self, store: Store) -> None:
        ours = [put(store, number, CONNECTED) for number in (1, 4, 5)]
        theirs = [put(store, number) for number in (0, 2, 3)]
        put(store, 6, Tenant("live", "acct_1"))
        assert flat(walk(store, CONNECTED, limit=2)) == ours
        assert flat(walk(store, limit=2)) == theirs
        assert flat(walk(store, OTHER)) == []
        assert [text(page(store, tenant)) for tenant in (CONNECTED, PLATFORM, OTHER)] == ["3", "3", "0"]

    def test_first_and_second_decisions_are_two_lists(self, store: Store) -> None:
        first, second, _ = (put(store, number) for number in range(3))
        propose(store, first)
        close(store, second)
        assert [len(ids(page(store, state=state))) for state in ("open", "proposed")] == [1, 1]
        [(review, verification)] = page(store, state="proposed").found
        assert (review.state, review.opened_at, verification.id) == ("proposed", NOW, first)


@pytest.fixture
def table() -> FakeDynamoDB:
    return FakeDynamoDB()


@pytest.fixture
def calls(table: FakeDynamoDB) -> Counter[str]:
    """The calls of DynamoDB, counted."""
    counted: Counter[str] = Counter()

    def cross(operation: str, effect: Callable[[], Any]) -> Any:
        counted[operation] += 1
        return effect()

    table._cross = cross
    return counted


@pytest.fixture
def fake(table: FakeDynamoDB) -> Store:
    return store_on(table)


THREE = Counter(Query=2, BatchGetItem=1)


class TestCalls:
    @pytest.mark.parametrize("waiting", [10, 10_000])
    def test_any_page_takes_three_calls(self, fake: Store, table: FakeDynamoDB, calls: Counter[str], waiting: int) -> None:
        put_many(fake, table, range(waiting))
        for begin in (FIRST, Position(round((NOW + waiting / 2) * 1000)), Position(round((NOW + waiting - 5) * 1000))):
            calls.clear()
            found = page(fake, begin=begin)
            assert calls == THREE
            assert len(found.found) == 50 or found.following is None
            assert text(found) == ("10" if waiting == 10 else "100+")

    def test_thousands_of_other_tenants_reviews_in_between_add_two_calls(
        self, fake: Store, table: FakeDynamoDB, calls: Counter[str]
    ) -> None:
        ours = {put(fake, number, CONNECTED) for number in (0, 700, 1500, 2599)}
        put_many(fake, table, sorted(set(range(2600)) - {0, 700, 1500, 2599}), OTHER)
        found: list[str] = []
        pages = 0
        begin: Position | None = FIRST
        while begin is not None:
            calls.clear()
            one = page(fake, CONNECTED, begin)
            assert calls["Query"] <= 4
            assert calls["BatchGetItem"] <= 1
            found += ids(one)
            pages += 1
            begin = one.following
        assert found == sorted(ours)
        # Each page looks through a thousand.
        assert pages == 3
        # More may be there than the counting has looked at.
        assert text(page(fake, CONNECTED)) == "2+"

    @pytest.mark.parametrize("filter_", [{"reason": "BUSINESS_VS_PERSON"}, {"batch": "bat_1"}])
    def test_filter_looks_through_a_thousand_at_most(self, fake: Store, table: FakeDynamoDB, calls: Counter[str], filter_: Any) -> None:
        wanted = [put(fake, number, batch="bat_1") for number in (3, 998, 1500)]
        put_many(fake, table, sorted(set(range(1600)) - {3, 998, 1500}))
        begin: Position | None = FIRST
        found = []
        while begin is not None:
            calls.clear()
            one = page(fake, begin=begin, **filter_)
            assert calls["Query"] == 2
            assert calls["BatchGetItem"] <= 20
            found.append(ids(one))
            begin = one.following
        assert found == [wanted[:2], wanted[2:]]
        assert flat(walk(fake, limit=1, **filter_)) == wanted


class TestWalk:
    def test_each_review_comes_once(self, fake: Store, table: FakeDynamoDB) -> None:
        put_many(fake, table, range(WALKED))
        assert flat(walk(fake)) == [f"ver_{number:032x}" for number in range(WALKED)]

    def test_others_are_closed_and_opened_meanwhile(self, fake: Store) -> None:
        choice = random.Random(1)
        first = [put(fake, number) for number in range(500)]
        gone: set[str] = set()
        seen: list[str] = []
        number = 500

        def meanwhile() -> None:
            nonlocal number
            for id_ in choice.sample(sorted(set(first) - gone), 20):
                close(fake, id_)
                gone.add(id_)
            put(fake, number)
            number += 1

        for found in walk(fake, between=meanwhile):
            assert not gone & set(found)
            seen += found
        assert len(set(seen)) == len(seen)
        assert seen == sorted(seen)
        assert set(first) - gone <= set(seen)

    @pytest.mark.parametrize("limit", [1, 7, 50])
    @pytest.mark.parametrize("together", [2, 30, 70])
    def test_reviews_that_were_opened_in_the_same_millisecond(self, fake: Store, together: int, limit: int, monkeypatch: Any) -> None:
        """The index has them in an order of its own, which is not that of their ids."""
        known = [put(fake, number, (PLATFORM, CONNECTED)[number % 3 == 2], at=NOW + number // together) for number in range(80)]
        ours = [id_ for number, id_ in enumerate(known) if number % 3 != 2]
        monkeypatch.setattr(review_queue, "MOST_LOOKED_AT", 25)
        pages = list(walk(fake, limit=limit))
        assert sorted(flat(pages)) == ours
        assert max(map(len, pages)) <= limit

    def test_listed_review_that_was_closed_is_not_shown(self, fake: Store, table: FakeDynamoDB) -> None:
        """The index may lag behind the table."""
        one, two = put(fake, 1), put(fake, 2)
        before = {key: dict(item) for key, item in table.items.items()}
        close(fake, one)
        now, queue = dict(table.items), fake.review_queue
        table.items = before
        entries, following = queue.entries("open", PLATFORM, FIRST, 51, 1000)
        table.items = now
        assert (len(entries), following) == (2, None)
        loaded = queue.load(entries)
        query = QueueQuery()
        assert [id_ for id_, pair in loaded.items() if query.wants(*pair)] == [two]

    def test_position_names_no_review_of_another_tenant(self, fake: Store, table: FakeDynamoDB) -> None:
        put_many(fake, table, range(1200), OTHER)
        found = page(fake, CONNECTED)
        assert found.following is not None
        assert found.following.after == ""


def test_entries_of_other_tenants_do_not_reach_the_function(fake: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(fake, 1, CONNECTED)
    put(fake, 2, OTHER)
    read: list[Any] = []
    original = Table.scan_index

    def watched(*arguments: Any, **more: Any) -> Any:
        read.append(original(*arguments, **more))
        return read[-1]

    monkeypatch.setattr(Table, "scan_index", watched)
    page(fake, CONNECTED)
    assert {item["stripe_account"] for slice_ in read for item in slice_.items} == {"acct_1"}


def test_forged_positions_show_nothing_more(fake: Store) -> None:
    put(fake, 1, CONNECTED)
    put(fake, 2, OTHER)
    for begin in (Position(0, "ver_" + "f" * 32), Position(10**15 - 1), Position(round(NOW * 1000) + 1000, "")):
        assert set(ids(page(fake, CONNECTED, begin))) <= {f"ver_{1:032x}"}
