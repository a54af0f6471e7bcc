"""Reviews are stored with their verdicts, decided once, and listed until they are finished."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.support.sandbox import CLAIM
from tests.support.stored import CONNECTED, NOW, REF, VERIFICATION, create_verification
from titleholder.domain import reviews
from titleholder.domain.reviews import DecisionKind, DecisionRequest, Review
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.snapshots import Snapshot
from titleholder.errors import AccountErasedError, ReviewNotFoundError
from titleholder.store import Store
from titleholder.store.open_work import OpenKind

VERDICT = {"outcome": "close_match", "score": 62.0}
REVIEW = Review(REF, "ver_1", "open", 1, NOW, "rule")
LATER = NOW + 3600


def complete(store: Store, review: Review | None = REVIEW) -> None:
    create_verification(store, VERIFICATION, CLAIM)
    assert store.verifications.complete("ver_1", VERDICT, NOW, review=review)


def decided(review: Review, decision: DecisionKind, by: str = "anne", *, needed: int = 1) -> Review:
    reason = {"approve": "OTHER", "reject": "OTHER"}.get(decision)
    note = None if reason is None else Sensitive("why")
    return reviews.decide(review, "close_match", DecisionRequest(review.version, decision, reason, None, note), by, NOW + 60, needed)


def store_decision(store: Store, before: Review, after: Review, note: str | None = None) -> bool:
    _, known = store.reviews.get_for_decision(store.verifications.get(before.verification))
    assert known.wrapped is not None
    assert known.claim_expires_at is not None
    return store.reviews.decide(before, after, known.wrapped, None if note is None else Sensitive(note), known.claim_expires_at)


def listed(store: Store, kind: OpenKind, before: float = LATER) -> list[tuple[str | None, float]]:
    found = store.open_work.list_oldest(kind, before, 10)
    return [(item.verification, store.table.get(item.pk, item.sk)["open_since_ms"] / 1000) for item in found]  # type: ignore[index]


def test_review_is_opened_with_its_verdict(store: Store) -> None:
    complete(store)
    assert store.reviews.get(REF, "ver_1") == REVIEW
    assert store.verifications.get("ver_1").review == "open"
    assert listed(store, "review") == [("ver_1", NOW)]


def test_second_verdict_opens_no_review(store: Store) -> None:
    complete(store, None)
    assert not store.verifications.complete("ver_1", VERDICT, NOW, review=REVIEW)
    assert store.verifications.get("ver_1").review is None
    with pytest.raises(ReviewNotFoundError):
        store.reviews.get(REF, "ver_1")


def test_review_can_be_opened_once_after_the_verdict(store: Store) -> None:
    create_verification(store, VERIFICATION, CLAIM)
    made = replace(REVIEW, opened_by="manual", opened_actor="back end", opened_request="1")
    assert not store.reviews.open(made), "it has no verdict yet"
    store.verifications.complete("ver_1", {"outcome": "match"}, NOW)
    assert store.reviews.open(made)
    assert not store.reviews.open(made)
    assert store.reviews.get(REF, "ver_1") == made
    assert store.verifications.get("ver_1").review == "open"


def test_decision_is_stored_once_and_shown_by_the_verification(store: Store) -> None:
    complete(store)
    before = store.table.get("VERIFICATION#ver_1", "VERIFICATION")
    approved, rejected = decided(REVIEW, "approve"), decided(REVIEW, "reject", "bob")
    assert store_decision(store, REVIEW, approved)
    assert not store_decision(store, REVIEW, rejected)
    assert not store.reviews.expire(REVIEW, reviews.expired(REVIEW, "NOT_IN_TIME", NOW, by="reconcile"))
    assert store.reviews.get(REF, "ver_1") == approved
    after = store.table.get("VERIFICATION#ver_1", "VERIFICATION")
    assert before is not None
    assert after == {**before, "review": "closed", "final": "match", "final_ms": (NOW + 60) * 1000}
    assert store.verifications.get("ver_1").reviewed == reviews.decided(approved)


def test_closed_review_is_listed_until_it_is_finished(store: Store) -> None:
    complete(store)
    store.verifications.mark_announced("ver_1")
    closed = decided(REVIEW, "reject")
    assert store_decision(store, REVIEW, closed)
    assert listed(store, "review") == []
    assert listed(store, "review_end") == [("ver_1", NOW + 60)]
    assert store.reviews.get(REF, "ver_1").unfinished
    assert store.reviews.mark_finished(closed)
    assert not store.reviews.mark_finished(closed)
    assert listed(store, "review_end") == []
    assert store.reviews.get(REF, "ver_1") == replace(closed, unfinished=False)


def test_proposal_keeps_its_place_in_the_queue(store: Store) -> None:
    complete(store)
    proposed = decided(REVIEW, "approve", needed=2)
    assert store_decision(store, REVIEW, proposed)
    assert (listed(store, "review"), listed(store, "review_second")) == ([], [("ver_1", NOW)])
    withdrawn = decided(proposed, "withdraw")
    assert store_decision(store, proposed, withdrawn)
    assert (listed(store, "review"), listed(store, "review_second")) == ([("ver_1", NOW)], [])
    assert store.reviews.get(REF, "ver_1") == withdrawn
    assert store.verifications.get("ver_1").review == "open"


def test_review_that_is_not_closed_is_not_finished(store: Store) -> None:
    complete(store)
    assert not store.reviews.mark_finished(REVIEW)
    assert listed(store, "review") == [("ver_1", NOW)]


def test_reviews_of_an_account_are_listed_until_they_are_closed(store: Store) -> None:
    complete(store)
    other = replace(VERIFICATION, id="ver_2", ref=CONNECTED)
    create_verification(store, other, CLAIM)
    store.verifications.complete("ver_2", VERDICT, NOW, review=replace(REVIEW, ref=CONNECTED, verification="ver_2"))
    assert [review.verification for review in store.reviews.of_account(REF)] == ["ver_1"]
    ended = reviews.expired(REVIEW, "ACCOUNT_INACTIVE", NOW + 1, by="stripe")
    assert store.reviews.expire(REVIEW, ended)
    assert list(store.reviews.of_account(REF)) == []
    assert store.reviews.get(REF, "ver_1") == ended
    head = store.verifications.get("ver_1")
    assert (head.review, head.reviewed) == ("closed", None)


def test_seeing_a_review_changes_nothing_else(store: Store) -> None:
    complete(store)
    assert store.reviews.seen(REVIEW, "anne", NOW + 5)
    assert store.reviews.get(REF, "ver_1") == replace(REVIEW, seen_by="anne", seen_at=NOW + 5)
    assert store_decision(store, REVIEW, decided(REVIEW, "reject", "bob"))
    assert store.reviews.get(REF, "ver_1").seen_by == "anne"
    assert not store.reviews.seen(replace(REVIEW, verification="ver_2"), "anne", NOW)


def test_note_is_encrypted_and_expires_as_the_claim(store: Store) -> None:
    complete(store)
    closed = decided(REVIEW, "approve")
    assert store_decision(store, REVIEW, closed, "Quillfeather Canary married")
    item = store.table.get("ACCOUNT#test/platform/fca_1", "NOTE#ver_1#2")
    claim = store.table.get("ACCOUNT#test/platform/fca_1", "CLAIM#ver_1")
    assert item is not None
    assert claim is not None
    assert item["expires_at"] == claim["expires_at"]
    assert b"Canary" not in item["note"]
    assert {version: note.reveal() for version, note in store.reviews.notes(closed).items()} == {2: "Quillfeather Canary married"}


def test_decision_without_note_stores_none(store: Store) -> None:
    complete(store)
    assert store_decision(store, REVIEW, reviews.decide(REVIEW, "close_match", DecisionRequest(1, "reject", "RELATIVE"), "anne", NOW, 1))
    assert list(store.table.query("ACCOUNT#test/platform/fca_1", "NOTE#")) == []
    assert store.reviews.notes(store.reviews.get(REF, "ver_1")) == {}


@pytest.mark.parametrize("change", ["decide", "open"])
def test_nothing_is_decided_or_opened_after_the_erasure_has_begun(store: Store, change: str) -> None:
    complete(store, REVIEW if change == "decide" else None)
    known = store.reviews.get_compared(store.verifications.get("ver_1"))
    store.erasures.begin(REF, NOW + 1)
    changes: dict[str, Callable[[], Any]] = {
        "decide": lambda: store.reviews.decide(REVIEW, decided(REVIEW, "approve"), known.wrapped or b"", Sensitive("why"), 1),
        "open": lambda: store.reviews.open(REVIEW),
    }
    with pytest.raises(AccountErasedError):
        changes[change]()
    assert store.verifications.get("ver_1").reviewed is None
    assert list(store.table.query("ACCOUNT#test/platform/fca_1", "NOTE#")) == []
    if change == "decide":
        assert store.reviews.get(REF, "ver_1") == REVIEW
        assert store.reviews.get_compared(store.verifications.get("ver_1")).wrapped is None


def test_review_can_expire_after_the_erasure(store: Store) -> None:
    complete(store)
    store.erasures.begin(REF, NOW + 1)
    assert store.reviews.expire(REVIEW, reviews.expired(REVIEW, "ACCOUNT_DISCONNECTED", NOW + 2, by="stripe"))


def test_claim_that_is_not_kept_any_more_is_said(store: Store) -> None:
    complete(store)
    verification = store.verifications.get("ver_1")
    assert store.reviews.get_compared(verification).claim_expires_at is not None
    store.table.delete("ACCOUNT#test/platform/fca_1", "CLAIM#ver_1")
    known = store.reviews.get_compared(verification)
    assert (known.claim_expires_at, known.wrapped is None) == (None, False)


def test_owners_that_are_not_kept_any_more_are_said(store: Store) -> None:
    snapshot = Snapshot("fcaowns_1", 1, 2, Sensitive([{"name": "MARGARET TESTERMAN"}]))
    store.snapshots.put(REF, snapshot, NOW)
    create_verification(store, VERIFICATION, CLAIM)
    store.verifications.complete("ver_1", {**VERDICT, "snapshot": "fcaowns_1"}, NOW, review=REVIEW)
    verification = store.verifications.get("ver_1")
    assert store.reviews.get_for_decision(verification)[1].owners_kept
    assert store.snapshots.kept([(REF, "fcaowns_1"), (REF, "fcaowns_1"), (REF, ""), (CONNECTED, "fcaowns_1")]) == {(REF, "fcaowns_1")}
    store.table.delete("ACCOUNT#test/platform/fca_1", "SNAPSHOT#fcaowns_1")
    assert not store.reviews.get_for_decision(verification)[1].owners_kept
    assert store.snapshots.kept([(REF, "fcaowns_1")]) == set()
