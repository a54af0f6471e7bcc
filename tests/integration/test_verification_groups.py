"""Groups: one verification for each account of a customer or a session, their idempotency and their summary."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.sandbox import CLAIM, Moment, Sandbox
from tests.support.verifications import OTHER, customer, get, heads, post, work
from titleholder.domain.accounts import AccountRef
from titleholder.domain.verifications import Group, Verification
from titleholder.services import account_sync
from titleholder.services.verifications import GroupResult


class TestGroup:
    def test_each_account_of_a_group_has_its_own_verification(self, sandbox: Sandbox, stripe: Any) -> None:
        id = customer(sandbox, stripe, "single_owner", "single_owner")
        answer = post(sandbox, customer=id)
        assert answer.status == 202
        assert (answer.json["customer"], answer.json["state"]) == (id, "waiting")
        assert answer.json["summary"] == {"any": None, "all": None, "best": None, "final": {"any": None, "all": None}, "stale": 0}
        members = answer.json["members"]
        assert {member["account"] for member in members} == {"fca_0", "fca_1"}
        assert {execution["name"] for execution in sandbox.tokens.started} == {member["verification"] for member in members}
        assert get(sandbox, members[0]["verification"])["group"] == answer.json["id"]
        assert get(sandbox, answer.json["id"]) == answer.json

    @pytest.mark.parametrize("kind", ["payment_method", "session"])
    def test_group_of_what_an_intent_collected(self, sandbox: Sandbox, stripe: Any, kind: str) -> None:
        bank: Any = {"us_bank_account": {"financial_connections": {"permissions": ["payment_method", "ownership"]}}}
        intent = str(stripe.setup_intents.create({"allowed_payment_method_types": ["us_bank_account"], "payment_method_options": bank}).id)
        done = sandbox.simulator.complete(intent)
        target = done["payment_method"] if kind == "payment_method" else intent
        answer = post(sandbox, **{kind: target})
        assert (answer.status, answer.json[kind]) == (202, target)
        assert [member["account"] for member in answer.json["members"]] == done["accounts"]

    @pytest.mark.parametrize("kind", ["customer_account", "connected_account"])
    def test_group_of_another_holder(self, sandbox: Sandbox, kind: str) -> None:
        for number in range(2):
            sandbox.link("single_owner", id=f"fca_{number}", **{kind: "acct_1"})
        answer = post(sandbox, "k", **{kind: "acct_1"})
        assert (answer.status, answer.json[kind]) == (202, "acct_1")
        assert {member["account"] for member in answer.json["members"]} == {"fca_0", "fca_1"}
        assert post(sandbox, "k", **{kind: "acct_1"}).text == answer.text
        [other] = {"customer_account", "connected_account"} - {kind}
        assert post(sandbox, "k", **{other: "acct_1"}).problem == "idempotency-conflict"
        assert post(sandbox, **{other: "acct_1"}).problem == "no-linked-account"

    def test_group_sums_up_as_its_members_end(self, sandbox: Sandbox, stripe: Any) -> None:
        id = customer(sandbox, stripe, {"scenario": "single_owner", "owners": [OTHER]}, "single_owner", "inactive")
        made = post(sandbox, customer=id).json
        by_account = {member["account"]: member["verification"] for member in made["members"]}

        work(sandbox, by_account["fca_2"], {"outcome": "not_verifiable", "reason": "ACCOUNT_INACTIVE"})
        shown = get(sandbox, made["id"])
        assert (shown["summary"]["any"], shown["summary"]["all"], shown["summary"]["best"]["outcome"]) == (None, False, "not_verifiable")
        work(sandbox, by_account["fca_0"])
        assert get(sandbox, made["id"])["summary"]["best"]["outcome"] == "no_match"
        work(sandbox, by_account["fca_1"])
        shown = get(sandbox, made["id"])
        assert shown["state"] == "completed"
        best = {"account": "fca_1", "verification": by_account["fca_1"], "outcome": "match", "stale": None}
        assert shown["summary"] == {"any": True, "all": False, "best": best, "final": {"any": True, "all": False}, "stale": 0}

    def test_group_shows_which_verdicts_no_longer_hold(self, sandbox: Sandbox, stripe: Any) -> None:
        id = customer(sandbox, stripe, "fresh", "fresh", "fresh")
        for number in range(3):
            account_sync.sync_account(sandbox.deps, AccountRef(f"fca_{number}"))
        before = post(sandbox, customer=id).json
        assert (before["summary"]["final"], before["summary"]["stale"]) == ({"any": True, "all": True}, 0)
        assert {member["stale"] for member in before["members"]} == {None}

        sandbox.http("DELETE", "/accounts/fca_0")
        sandbox.simulator.change("fca_1", action="deactivate")
        sandbox.http("GET", "/accounts/fca_1")
        after = get(sandbox, before["id"])
        reasons = {"fca_0": "ACCOUNT_DISCONNECTED", "fca_1": "ACCOUNT_INACTIVE", "fca_2": None}
        assert {member["account"]: member["stale"] for member in after["members"]} == reasons
        best = {**before["summary"]["best"], "stale": reasons[before["summary"]["best"]["account"]]}
        # Verdicts and answers stay as they were given.
        assert after["summary"] == {**before["summary"], "best": best, "stale": 2}
        assert {member["account"]: member["final"] for member in after["members"]} == {
            member["account"]: member["final"] for member in before["members"]
        }
        listed = sandbox.http("GET", f"/verifications?customer={id}").json["verifications"]
        assert listed == [after]

        sandbox.simulator.change("fca_1", action="reactivate")
        sandbox.http("GET", "/accounts/fca_1")
        assert get(sandbox, before["id"])["summary"]["stale"] == 1

    def test_claim_of_a_group_is_stored_with_each_account_and_nowhere_else(self, sandbox: Sandbox, stripe: Any) -> None:
        post(sandbox, customer=customer(sandbox, stripe, "single_owner", "single_owner"))
        holding = [item["sk"]["S"].partition("#")[0] for item in sandbox.items() if "claim" in item]
        assert holding == ["CLAIM", "CLAIM"]
        others = [item for item in sandbox.items() if not item["sk"]["S"].startswith("CLAIM#")]
        assert "testerman" not in str(others).lower()

    def test_group_is_answered_at_once_where_all_owners_are_stored(self, sandbox: Sandbox, stripe: Any) -> None:
        id = customer(sandbox, stripe, "fresh", "fresh")
        for number in (0, 1):
            account_sync.sync_account(sandbox.deps, AccountRef(f"fca_{number}"))
        answer = post(sandbox, customer=id)
        assert (answer.status, answer.json["state"]) == (200, "completed")
        assert (answer.json["summary"]["any"], answer.json["summary"]["all"]) == (True, True)

    def test_group_of_a_connected_account_stays_there(self, sandbox: Sandbox, stripe: Any) -> None:
        id = customer(sandbox, stripe, "single_owner")
        assert sandbox.http("POST", "/verifications", {"claim": dict(CLAIM), "customer": id}, Stripe_Account="acct_1").status == 404


class TestGroupIdempotency:
    def test_same_key_gives_the_same_group_though_accounts_came_since(self, sandbox: Sandbox, stripe: Any) -> None:
        id = customer(sandbox, stripe, "single_owner")
        first = post(sandbox, "k", customer=id)
        params: Any = {"account_holder": {"type": "customer", "customer": id}, "permissions": ["ownership"]}
        sandbox.simulator.complete(str(stripe.financial_connections.sessions.create(params).id))
        assert post(sandbox, "k", customer=id).text == first.text
        assert len(post(sandbox, "other", customer=id).json["members"]) == 2

    def test_same_key_with_another_request_is_refused_and_changes_nothing(self, sandbox: Sandbox, stripe: Any) -> None:
        id = customer(sandbox, stripe, "single_owner", "single_owner")
        post(sandbox, "k", customer=id)
        post(sandbox, "single", account="fca_0")
        before = sandbox.items(but=["AUDIT#"])
        for key, body in (
            ("k", {"customer": id, "claim": {"name": "Somebody Else"}}), ("k", {"customer": id, "max_age": 1}), ("k", {"account": "fca_0"}),
            ("single", {"customer": id}),
        ):  # fmt: skip
            answer = post(sandbox, key, **body)
            assert (answer.status, answer.problem) == (422, "idempotency-conflict")
        assert sandbox.items(but=["AUDIT#"]) == before

    def test_claim_is_recognised_by_the_accounts_that_are_not_erased(self, sandbox: Sandbox, stripe: Any) -> None:
        id = customer(sandbox, stripe, "single_owner", "single_owner")
        first = post(sandbox, "k", customer=id).json
        other = {"customer": id, "claim": {"name": "Somebody Else"}}
        sandbox.http("DELETE", "/accounts/fca_0")
        assert post(sandbox, "k", customer=id).json["id"] == first["id"]
        assert post(sandbox, "k", **other).problem == "idempotency-conflict"
        sandbox.http("DELETE", "/accounts/fca_1")
        assert post(sandbox, "k", customer=id).json["id"] == first["id"]

    @pytest.mark.parametrize("operation", ["transact_write_items", "start_execution"])
    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_repeated_request_completes_a_group_after_a_crash(
        self, sandbox: Sandbox, stripe: Any, operation: str, when: str, number: int
    ) -> None:
        id = customer(sandbox, stripe, "single_owner", "single_owner")
        seen = 0

        def die(moment: Moment) -> None:
            nonlocal seen
            seen += (moment.operation, moment.when) == (operation, when)
            if seen == number:
                sandbox.taps.clear()
                raise RuntimeError

        sandbox.taps.append(die)
        first = post(sandbox, "k", customer=id)
        assert first.status == (202 if (operation, number) == ("start_execution", 3) else 500)
        sandbox.taps.clear()
        answer = post(sandbox, "k", customer=id)
        assert answer.status == 202
        assert {execution["name"] for execution in sandbox.tokens.started} == {one["verification"] for one in answer.json["members"]}
        assert len(heads(sandbox)) == 3

    def test_members_whose_group_was_never_made_are_ordinary_verifications(self, sandbox: Sandbox, stripe: Any) -> None:
        """If the caller does not ask again, `reconcile` starts the other members, so that every group ends."""

        def die(moment: Moment) -> None:
            if (moment.operation, moment.when) == ("start_execution", "before"):
                sandbox.taps.clear()
                raise RuntimeError

        sandbox.taps.append(die)
        assert post(sandbox, customer=customer(sandbox, stripe, "single_owner", "single_owner")).status == 500
        sandbox.wait(2 * 3600)
        sandbox.function("reconcile")({})
        assert len(sandbox.tokens.started) == len(heads(sandbox)) == 1


def summary(*outcomes: tuple[str, float] | None) -> tuple[bool | None, bool | None, str | None]:
    members = [
        Verification(f"ver_{n}", AccountRef(f"fca_{n}"), "", {}, 0, 0, 0, "", verdict=one and {"outcome": one[0], "score": one[1]})
        for n, one in enumerate(outcomes)
    ]
    found = GroupResult(Group("ver_g", "test", None, "customer", "cus_1", [], 0, ""), members).summary
    return found.any, found.all, found.best.id if found.best else None


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([None, None], (None, None, None)),
        ([("match", 90), None], (True, None, "ver_0")),
        ([None, ("no_match", 10)], (None, False, "ver_1")),
        ([("match", 90), ("match", 95)], (True, True, "ver_1")),
        ([("match", 90), ("match", 90)], (True, True, "ver_0")),
        ([("no_match", 60), ("close_match", 55)], (False, False, "ver_1")),
        ([("not_verifiable", None), ("no_match", 0)], (False, False, "ver_1")),
    ],
)
def test_summary_is_open_until_it_can_no_longer_change(outcomes: Any, expected: Any) -> None:
    assert summary(*outcomes) == expected
