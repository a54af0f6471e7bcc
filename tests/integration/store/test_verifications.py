"""Verifications: repeated requests, claims that are stored encrypted with them, verdicts that never change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.sandbox import CLAIM
from tests.support.stored import CONNECTED, NOW, REF, VERIFICATION, create_verification
from titleholder.domain.sensitive import Sensitive
from titleholder.errors import IdempotencyConflictError, VerificationNotFoundError
from titleholder.store import Store


def test_verification_is_read_with_its_claim(store: Store) -> None:
    made = create_verification(store, VERIFICATION, CLAIM)
    assert made == replace(VERIFICATION, claim_digest=made.claim_digest)
    assert store.verifications.get("ver_1") == made
    assert store.claims.get(REF, "ver_1") == Sensitive(CLAIM)


def test_unknown_verification_is_not_found(store: Store) -> None:
    with pytest.raises(VerificationNotFoundError):
        store.verifications.get("ver_1")
    assert store.claims.get(REF, "ver_1") is None


def test_repeated_request_returns_the_first_verification(store: Store) -> None:
    made = create_verification(store, VERIFICATION, CLAIM)
    again = replace(VERIFICATION, requested_at=NOW + 60, deadline=NOW + 9000)
    assert create_verification(store, again, dict(sorted(CLAIM.items(), reverse=True))) == made


def test_repeated_request_returns_the_first_verification_after_its_account_was_erased(store: Store) -> None:
    made = create_verification(store, VERIFICATION, CLAIM)
    store.erasures.begin(REF, NOW)
    assert create_verification(store, VERIFICATION, {"name": "Other"}) == made


def test_same_id_with_another_claim_is_refused(store: Store) -> None:
    create_verification(store, VERIFICATION, CLAIM)
    with pytest.raises(IdempotencyConflictError):
        create_verification(store, VERIFICATION, {**CLAIM, "name": "Other"})


def test_claim_about_an_erased_account_is_neither_stored_nor_digested(store: Store) -> None:
    store.erasures.begin(REF, NOW)
    assert create_verification(store, VERIFICATION, CLAIM).claim_digest is None
    assert store.verifications.get("ver_1").claim_digest is None


def test_other_request_under_the_same_id_is_refused_and_changes_nothing(store: Store) -> None:
    create_verification(store, VERIFICATION, CLAIM)
    before = store.table.client.scan(TableName="ttt")["Items"]
    other = replace(VERIFICATION, ref=CONNECTED, request_digest="other")
    with pytest.raises(IdempotencyConflictError):
        create_verification(store, other, {"name": "Other"})
    assert store.table.client.scan(TableName="ttt")["Items"] == before


def test_claim_and_verification_are_written_together_or_not_at_all(store: Store) -> None:
    orphan = {"pk": {"S": f"ACCOUNT#{REF.key}"}, "sk": {"S": "CLAIM#ver_1"}}
    store.table.client.put_item(TableName="ttt", Item=orphan)
    with pytest.raises(Exception, match="Inconsistent state"):
        create_verification(store, VERIFICATION, CLAIM)
    with pytest.raises(VerificationNotFoundError):
        store.verifications.get("ver_1")


def test_verdict_never_changes(store: Store) -> None:
    create_verification(store, VERIFICATION, CLAIM)
    assert store.verifications.complete("ver_1", {"outcome": "match"}, NOW + 5)
    assert not store.verifications.complete("ver_1", {"outcome": "no_match"}, NOW + 6)
    found = store.verifications.get("ver_1")
    assert (found.verdict, found.completed_at) == ({"outcome": "match"}, NOW + 5)


def test_verdict_of_an_unknown_verification_is_not_stored(store: Store) -> None:
    assert not store.verifications.complete("ver_1", {"outcome": "match"}, NOW)
    with pytest.raises(VerificationNotFoundError):
        store.verifications.get("ver_1")


def test_claim_is_stored_under_its_account_only_and_encrypted(store: Store) -> None:
    create_verification(store, VERIFICATION, CLAIM)
    for item in store.table.client.scan(TableName="ttt")["Items"]:
        assert "testerman" not in str(item).lower()
        assert ("claim" in item) == (item["sk"]["S"] == "CLAIM#ver_1")
