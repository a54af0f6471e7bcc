"""Lists of verifications: of an account or a customer, by verdict, in pages."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.sandbox import CLAIM, Sandbox
from tests.support.verifications import customer, get, post, work
from titleholder.services import verifications
from titleholder.store.verifications import VerificationListing

pytestmark = pytest.mark.slow


class TestList:
    def listed(self, sandbox: Sandbox, query: str) -> list[str]:
        """All ids, page by page."""
        found: list[str] = []
        cursor = ""
        while True:
            page = sandbox.http("GET", f"/verifications?{query}{cursor}").json
            found += [one["id"] for one in page["verifications"]]
            if page["next_cursor"] is None:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    def several(self, sandbox: Sandbox) -> tuple[list[str], list[str]]:
        """Seven verifications of one account, the newest first, and those of them that match."""
        sandbox.link("fresh", id="fca_1")
        ids: list[str] = []
        matching: list[str] = []
        for number in range(7):
            sandbox.wait(1)
            claim = dict(CLAIM) if number % 3 else {"name": "Somebody Else"}
            id = post(sandbox, account="fca_1", claim=claim).json["id"]
            ids.insert(0, id)
            if number % 3:
                matching.insert(0, id)
        return ids, matching

    def test_list_of_an_account_is_newest_first(self, sandbox: Sandbox) -> None:
        ids, _ = self.several(sandbox)
        for limit in (1, 2, 3, 7, 100):
            assert self.listed(sandbox, f"account=fca_1&limit={limit}") == ids

    def test_list_by_verdict(self, sandbox: Sandbox) -> None:
        _, matching = self.several(sandbox)
        for limit in (1, 2, 4, 100):
            assert self.listed(sandbox, f"account=fca_1&verdict=match&limit={limit}") == matching
        assert self.listed(sandbox, "account=fca_1&verdict=close_match") == []

    def test_list_by_verdict_reads_a_bounded_number_and_returns_a_cursor(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(verifications, "MOST_LOOKED_AT", 1)
        _, matching = self.several(sandbox)
        assert self.listed(sandbox, "account=fca_1&verdict=match&limit=1") == matching

    def test_list_of_a_customer(self, sandbox: Sandbox, stripe: Any) -> None:
        id = customer(sandbox, stripe, "single_owner")
        first = post(sandbox, customer=id).json
        sandbox.wait(1)
        second = post(sandbox, customer=id).json
        assert self.listed(sandbox, f"customer={id}") == [second["id"], first["id"]]
        work(sandbox, first["members"][0]["verification"])
        assert self.listed(sandbox, f"customer={id}&verdict=match") == [first["id"]]
        assert self.listed(sandbox, "customer=cus_other") == []
        # A member is also its account's.
        members = {one["members"][0]["verification"] for one in (first, second)}
        assert set(self.listed(sandbox, "account=fca_0")) == members

    @pytest.mark.parametrize("kind", ["customer_account", "connected_account"])
    def test_list_of_another_holder(self, sandbox: Sandbox, kind: str) -> None:
        sandbox.link("fresh", id="fca_0", **{kind: "acct_1"})
        made = post(sandbox, **{kind: "acct_1"}).json
        assert made[kind] == "acct_1"
        assert self.listed(sandbox, f"{kind}=acct_1") == [made["id"]]
        # Accounts v2: one account may be both a customer and a connected account.
        [other] = {"customer_account", "connected_account"} - {kind}
        assert self.listed(sandbox, f"{other}=acct_1") == []
        assert self.listed(sandbox, "account=fca_0") == [made["members"][0]["verification"]]

    def test_list_shows_each_verification_as_it_is_shown_alone(self, sandbox: Sandbox, stripe: Any) -> None:
        id = customer(sandbox, stripe, "single_owner")
        made = post(sandbox, customer=id).json
        assert sandbox.http("GET", f"/verifications?customer={id}").json["verifications"] == [made]
        [member] = sandbox.http("GET", "/verifications?account=fca_0").json["verifications"]
        assert member == get(sandbox, made["members"][0]["verification"])

    def test_list_shows_nothing_to_another_connected_account(self, sandbox: Sandbox) -> None:
        self.several(sandbox)
        assert sandbox.http("GET", "/verifications?account=fca_1", Stripe_Account="acct_1").json["verifications"] == []

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("", "account"),
            ("account=fca_1&customer=cus_1", "account"),
            ("account=cus_1", "account"),
            ("customer=fca_1", "customer"),
            ("customer_account=cus_1", "customer_account"),
            ("customer=cus_1&connected_account=acct_1", "customer"),
            ("account=fca_1&verdict=maybe", "verdict"),
            ("account=fca_1&limit=0", "limit"),
        ],
    )
    def test_bad_query_of_a_list_is_refused(self, sandbox: Sandbox, query: str, field: str) -> None:
        answer = sandbox.http("GET", f"/verifications?{query}")
        assert (answer.status, answer.bad_fields) == (422, {field})

    def test_cursor_of_another_query_is_refused(self, sandbox: Sandbox) -> None:
        self.several(sandbox)
        cursor = sandbox.http("GET", "/verifications?account=fca_1&limit=1").json["next_cursor"]
        for other in ("account=fca_2", "account=fca_1&verdict=match", "customer=cus_1"):
            assert sandbox.http("GET", f"/verifications?{other}&cursor={cursor}").problem == "invalid-cursor"

    def test_connected_account_can_not_name_another_one(self, sandbox: Sandbox) -> None:
        there = {"Stripe_Account": "acct_2"}
        listed = sandbox.http("GET", "/verifications?connected_account=acct_1", **there)
        asked = sandbox.http("POST", "/verifications", {"connected_account": "acct_1", "claim": dict(CLAIM)}, **there)
        assert {(answer.status, *answer.bad_fields) for answer in (listed, asked)} == {(422, "connected_account")}


def test_holder_of_one_scope_is_not_another_scopes() -> None:
    holders = {
        VerificationListing.customer("cus_1", "test", None),
        VerificationListing.customer("cus_1", "live", None),
        VerificationListing.customer("cus_1", "test", "acct_1"),
    }
    holders |= {VerificationListing.holder(kind, "acct_1", "test", None) for kind in ("customer_account", "connected_account")}
    assert len({holder.pk for holder in holders}) == 5
