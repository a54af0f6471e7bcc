"""Verifications of several accounts, waiting for a verdict, listing, cancelling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.sandbox import API_KEY, CLAIM, Answer, Moment, Sandbox
from tests.support.stripe_client import client
from titleholder.domain.accounts import AccountRef
from titleholder.domain.verifications import Group, Verification
from titleholder.services import account_sync, verifications
from titleholder.services.verifications import GroupResult
from titleholder.store.verifications import VerificationListing

OTHER = {"name": "SOMEBODY ELSE", "email": None, "phone": None, "raw_address": None}


@pytest.fixture
def stripe(sandbox: Sandbox) -> Any:
    return client(sandbox.http_client, API_KEY).v1


def customer(sandbox: Sandbox, stripe: Any, *scenarios: str | dict[str, Any], session: bool = False) -> str:
    """A customer with linked accounts fca_0, fca_1, ...; or the session that linked them."""
    id = str(stripe.customers.create({}).id)
    params: Any = {"account_holder": {"type": "customer", "customer": id}, "permissions": ["ownership"]}
    linking = str(stripe.financial_connections.sessions.create(params).id)
    accounts = [{"scenario": kind} if isinstance(kind, str) else kind for kind in scenarios]
    numbered = [{**account, "id": f"fca_{number}"} for number, account in enumerate(accounts)]
    sandbox.simulator.complete(linking, accounts=numbered)
    return linking if session else id


def post(sandbox: Sandbox, key: str | None = None, **body: Any) -> Answer:
    headers = {} if key is None else {"Idempotency-Key": key}
    return sandbox.http("POST", "/verifications", {"claim": dict(CLAIM), **body}, **headers)


def get(sandbox: Sandbox, id: str) -> Any:
    return sandbox.http("GET", f"/verifications/{id}").json


def heads(sandbox: Sandbox) -> list[Any]:
    return [item for item in sandbox.items() if item["sk"]["S"] == "VERIFICATION"]


def work(sandbox: Sandbox, id: str, outcome: dict[str, Any] | None = None) -> None:
    """Let the verification's workflow end: with fresh owners, or as `outcome` says."""
    verification = sandbox.store.verifications.get(id)
    if outcome is None:
        token = sandbox.enter(verification)
        sandbox.settle()
        sandbox.wait(6)
        sandbox.settle()
        outcome = sandbox.outcome(token)
    sandbox.function("complete_verification")({"verification": id, "refresh": outcome})


class TestTarget:
    @pytest.mark.parametrize(
        ("target", "fields"),
        [
            ({}, {"account"}),
            ({"account": "fca_1", "customer": "cus_1"}, {"account", "customer"}),
            ({"session": "seti_1", "payment_method": "pm_1", "account": None}, {"session", "payment_method"}),
            ({"customer": "fca_1"}, {"customer"}),
            ({"payment_method": "seti_1"}, {"payment_method"}),
            ({"session": "cus_1"}, {"session"}),
            ({"customer": 1, "wait": 21}, {"customer", "wait"}),
            ({"account": "fca_1", "wait": -1}, {"wait"}),
            ({"account": "fca_1", "wait": 1.5}, {"wait"}),
        ],
    )
    def test_exactly_one_is_needed_and_each_bad_field_named(self, sandbox: Sandbox, target: dict[str, Any], fields: set[str]) -> None:
        answer = post(sandbox, **target)
        assert (answer.status, answer.problem, answer.bad_fields) == (422, "invalid-request", fields)
        assert sandbox.items() == []

    def test_unknown_ones_are_told(self, sandbox: Sandbox) -> None:
        for target in ({"customer": "cus_none"}, {"session": "seti_none"}, {"payment_method": "pm_none"}):
            assert post(sandbox, **target).status == 404
        assert sandbox.items(but=["PACE#", "AUDIT#"]) == []

    def test_customer_without_accounts_is_told(self, sandbox: Sandbox, stripe: Any) -> None:
        answer = post(sandbox, customer=str(stripe.customers.create({}).id))
        assert 400 <= answer.status < 500
        assert answer.problem
        assert sandbox.items(but=["PACE#", "AUDIT#"]) == []

    def test_too_many_accounts_are_told(self, sandbox: Sandbox, stripe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(verifications, "MOST_MEMBERS", 1)
        answer = post(sandbox, customer=customer(sandbox, stripe, "single_owner", "single_owner"))
        assert (answer.status, answer.problem) == (409, "too-many-accounts")
        assert sandbox.items(but=["PACE#", "AUDIT#"]) == []


class TestGroup:
    def test_each_account_has_a_verification_of_its_own(self, sandbox: Sandbox, stripe: Any) -> None:
        id = customer(sandbox, stripe, "single_owner", "single_owner")
        answer = post(sandbox, customer=id)
        assert answer.status == 202
        assert (answer.json["customer"], answer.json["state"]) == (id, "waiting")
        assert answer.json["summary"] == {"any": None, "all": None, "best": None}
        members = answer.json["members"]
        assert {member["account"] for member in members} == {"fca_0", "fca_1"}
        assert {execution["name"] for execution in sandbox.tokens.started} == {member["verification"] for member in members}
        assert get(sandbox, members[0]["verification"])["group"] == answer.json["id"]
        assert get(sandbox, answer.json["id"]) == answer.json

    @pytest.mark.parametrize("kind", ["payment_method", "session"])
    def test_what_an_intent_collected(self, sandbox: Sandbox, stripe: Any, kind: str) -> None:
        bank: Any = {"us_bank_account": {"financial_connections": {"permissions": ["payment_method", "ownership"]}}}
        intent = str(stripe.setup_intents.create({"payment_method_types": ["us_bank_account"], "payment_method_options": bank}).id)
        done = sandbox.simulator.complete(intent)
        target = done["payment_method"] if kind == "payment_method" else intent
        answer = post(sandbox, **{kind: target})
        assert (answer.status, answer.json[kind]) == (202, target)
        assert [member["account"] for member in answer.json["members"]] == done["accounts"]

    def test_sums_up_as_members_end(self, sandbox: Sandbox, stripe: Any) -> None:
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
        best = {"account": "fca_1", "verification": by_account["fca_1"], "outcome": "match"}
        assert shown["summary"] == {"any": True, "all": False, "best": best}

    def test_claim_is_kept_with_each_account_and_nowhere_else(self, sandbox: Sandbox, stripe: Any) -> None:
        post(sandbox, customer=customer(sandbox, stripe, "single_owner", "single_owner"))
        holding = [item["sk"]["S"].partition("#")[0] for item in sandbox.items() if "claim" in item]
        assert holding == ["CLAIM", "CLAIM"]
        others = [item for item in sandbox.items() if not item["sk"]["S"].startswith("CLAIM#")]
        assert "testerman" not in str(others).lower()

    def test_answers_at_once_where_all_is_stored(self, sandbox: Sandbox, stripe: Any) -> None:
        id = customer(sandbox, stripe, "fresh", "fresh")
        for number in (0, 1):
            account_sync.sync_account(sandbox.deps, AccountRef(f"fca_{number}"))
        answer = post(sandbox, customer=id)
        assert (answer.status, answer.json["state"]) == (200, "completed")
        assert (answer.json["summary"]["any"], answer.json["summary"]["all"]) == (True, True)

    def test_of_a_connected_account_stays_there(self, sandbox: Sandbox, stripe: Any) -> None:
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

    def test_claim_is_told_by_the_accounts_that_are_not_erased(self, sandbox: Sandbox, stripe: Any) -> None:
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
    def test_crash_in_the_middle_is_healed_by_the_repeated_request(
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
        """Nobody asks again, and `reconcile` starts what was not started: they end, and no group waits for ever."""

        def die(moment: Moment) -> None:
            if (moment.operation, moment.when) == ("start_execution", "before"):
                sandbox.taps.clear()
                raise RuntimeError

        sandbox.taps.append(die)
        assert post(sandbox, customer=customer(sandbox, stripe, "single_owner", "single_owner")).status == 500
        sandbox.wait(2 * 3600)
        sandbox.function("reconcile")({})
        assert len(sandbox.tokens.started) == len(heads(sandbox)) == 1


class TestWait:
    @pytest.fixture
    def meanwhile(self, sandbox: Sandbox) -> list[Callable[[], None]]:
        """What happens while the caller waits, a step at each look."""
        return sandbox.meanwhile

    def test_fresh_answer_in_the_same_call(self, sandbox: Sandbox, meanwhile: list[Callable[[], None]]) -> None:
        sandbox.link(id="fca_1")
        meanwhile.append(lambda: work(sandbox, sandbox.tokens.started[0]["name"]))
        answer = post(sandbox, account="fca_1", wait=20)
        assert (answer.status, answer.json["verdict"]["outcome"]) == (200, "match")

    def test_is_over_after_so_many_seconds(self, sandbox: Sandbox, meanwhile: list[Callable[[], None]]) -> None:
        sandbox.link(id="fca_1")
        began = sandbox.clock()
        answer = post(sandbox, account="fca_1", wait=7)
        assert (answer.status, answer.json["state"]) == (202, "waiting")
        assert sandbox.clock() - began == pytest.approx(7)

    def test_does_not_wait_for_what_is_there_or_was_not_asked_for(self, sandbox: Sandbox) -> None:
        sandbox.link("fresh", id="fca_1")
        sandbox.link(id="fca_2")
        began = sandbox.clock()
        assert post(sandbox, account="fca_1", wait=20).status == 200
        assert post(sandbox, account="fca_2").status == 202
        assert sandbox.clock() == began

    def test_waits_for_every_member(self, sandbox: Sandbox, stripe: Any, meanwhile: list[Callable[[], None]]) -> None:
        id = customer(sandbox, stripe, "single_owner", "single_owner")
        for number in (0, 1):
            meanwhile.append(lambda number=number: work(sandbox, sandbox.tokens.started[number]["name"]))  # type: ignore[misc]
        answer = post(sandbox, customer=id, wait=20)
        assert (answer.status, answer.json["state"]) == (200, "completed")

    def test_is_no_part_of_what_an_idempotency_key_stands_for(self, sandbox: Sandbox, meanwhile: list[Callable[[], None]]) -> None:
        sandbox.link(id="fca_1")
        assert post(sandbox, "k", account="fca_1").json["id"] == post(sandbox, "k", account="fca_1", wait=1).json["id"]


class TestCancel:
    def test_running_one_ends_as_cancelled_and_its_workflow_stops(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(id="fca_1")
        id = post(sandbox, account="fca_1").json["id"]
        token = sandbox.enter(sandbox.store.verifications.get(id))
        sandbox.settle()
        assert [waiter.verification for waiter in sandbox.store.waiters.of_account(ref)] == [id]
        answer = sandbox.http("DELETE", f"/verifications/{id}")
        assert (answer.status, answer.json["state"]) == (200, "completed")
        assert (answer.json["verdict"]["outcome"], answer.json["verdict"]["reasons"]) == ("not_verifiable", ["CANCELLED"])
        assert sandbox.tokens.stopped == [id]
        assert list(sandbox.store.waiters.of_account(ref)) == []
        sandbox.wait(6)
        sandbox.settle()
        assert sandbox.outcome(token) is None
        [event] = [event["detail"] for event in sandbox.published() if event["detail-type"] == "VerificationCompleted"]
        assert (event["verification"], event["reasons"]) == (id, ["CANCELLED"])

    def test_is_recorded(self, sandbox: Sandbox) -> None:
        sandbox.link(id="fca_1")
        id = post(sandbox, account="fca_1").json["id"]
        sandbox.http("DELETE", f"/verifications/{id}")
        asked = [item for item in sandbox.items() if "action" in item and item["state"]["S"] == "done"]
        assert {(item["action"]["S"], item["verification"]["S"]) for item in asked} == {
            ("verification.requested", id), ("verification.cancelled", id),
        }  # fmt: skip

    def test_repeated_is_the_same(self, sandbox: Sandbox) -> None:
        sandbox.link(id="fca_1")
        id = post(sandbox, account="fca_1").json["id"]
        first, second = (sandbox.http("DELETE", f"/verifications/{id}") for _ in range(2))
        assert (first.status, first.text) == (second.status, second.text)
        assert get(sandbox, id) == first.json

    def test_completed_one_keeps_its_verdict(self, sandbox: Sandbox) -> None:
        sandbox.link("fresh", id="fca_1")
        made = post(sandbox, account="fca_1").json
        answer = sandbox.http("DELETE", f"/verifications/{made['id']}")
        assert (answer.status, answer.problem) == (409, "verification-completed")
        assert get(sandbox, made["id"]) == made
        assert sandbox.tokens.stopped == []

    def test_unknown_one(self, sandbox: Sandbox) -> None:
        assert sandbox.http("DELETE", f"/verifications/ver_{'0' * 32}").problem == "verification-not-found"

    def test_verdict_that_comes_meanwhile_stands(self, sandbox: Sandbox) -> None:
        """The other way round, the cancelled one stands: there is one verdict, whoever is first."""
        sandbox.link(id="fca_1")
        id = post(sandbox, account="fca_1").json["id"]

        def race(moment: Moment) -> None:
            if (moment.operation, moment.when) == ("update_item", "before"):
                sandbox.taps.clear()
                sandbox.function("complete_verification")(
                    {"verification": id, "refresh": {"outcome": "not_verifiable", "reason": "REFRESH_FAILED"}}
                )

        sandbox.taps.append(race)
        assert sandbox.http("DELETE", f"/verifications/{id}").problem == "verification-completed"
        assert get(sandbox, id)["verdict"]["reasons"] == ["REFRESH_FAILED"]

    def test_late_workflow_changes_no_cancelled_one_and_pays_for_nothing(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(id="fca_1")
        id = post(sandbox, account="fca_1").json["id"]
        sandbox.http("DELETE", f"/verifications/{id}")
        sandbox.enter(sandbox.store.verifications.get(id))
        sandbox.settle()
        assert sandbox.refreshes(ref) == 0
        answer = sandbox.function("complete_verification")(
            {"verification": id, "refresh": {"outcome": "not_verifiable", "reason": "REFRESH_FAILED"}}
        )
        assert answer["outcome"] == "not_verifiable"
        assert get(sandbox, id)["verdict"]["reasons"] == ["CANCELLED"]

    @pytest.mark.parametrize("operation", ["update_item", "put_events", "stop_execution", "delete_item"])
    @pytest.mark.parametrize("when", ["before", "after"])
    def test_crash_is_healed_by_repeating(self, sandbox: Sandbox, operation: str, when: str) -> None:
        ref = sandbox.link(id="fca_1")
        id = post(sandbox, account="fca_1").json["id"]
        sandbox.enter(sandbox.store.verifications.get(id))
        sandbox.settle()

        def die(moment: Moment) -> None:
            if (moment.operation, moment.when) == (operation, when):
                sandbox.taps.clear()
                raise RuntimeError

        sandbox.taps.append(die)
        assert sandbox.http("DELETE", f"/verifications/{id}").status == 500
        assert sandbox.http("DELETE", f"/verifications/{id}").status == 200
        assert id in sandbox.tokens.stopped
        assert list(sandbox.store.waiters.of_account(ref)) == []
        assert {event["detail"]["verification"] for event in sandbox.published()} == {id}

    def test_group_ends_with_the_members_that_still_run(self, sandbox: Sandbox, stripe: Any) -> None:
        made = post(sandbox, customer=customer(sandbox, stripe, "single_owner", "single_owner")).json
        done, running = (member["verification"] for member in made["members"])
        work(sandbox, done)
        answer = sandbox.http("DELETE", f"/verifications/{made['id']}")
        assert (answer.status, answer.json["state"]) == (200, "completed")
        assert [member["outcome"] for member in answer.json["members"]] == ["match", "not_verifiable"]
        assert sandbox.tokens.stopped == [running]
        assert sandbox.http("DELETE", f"/verifications/{made['id']}").text == answer.text

    def test_completed_group(self, sandbox: Sandbox, stripe: Any) -> None:
        made = post(sandbox, customer=customer(sandbox, stripe, "single_owner")).json
        work(sandbox, made["members"][0]["verification"])
        assert sandbox.http("DELETE", f"/verifications/{made['id']}").problem == "verification-completed"


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

    def test_of_an_account_newest_first(self, sandbox: Sandbox) -> None:
        ids, _ = self.several(sandbox)
        for limit in (1, 2, 3, 7, 100):
            assert self.listed(sandbox, f"account=fca_1&limit={limit}") == ids

    def test_by_verdict(self, sandbox: Sandbox) -> None:
        _, matching = self.several(sandbox)
        for limit in (1, 2, 4, 100):
            assert self.listed(sandbox, f"account=fca_1&verdict=match&limit={limit}") == matching
        assert self.listed(sandbox, "account=fca_1&verdict=close_match") == []

    def test_looks_only_so_far_for_a_verdict_and_says_where_to_go_on(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(verifications, "MOST_LOOKED_AT", 1)
        _, matching = self.several(sandbox)
        assert self.listed(sandbox, "account=fca_1&verdict=match&limit=1") == matching

    def test_of_a_customer(self, sandbox: Sandbox, stripe: Any) -> None:
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

    def test_shows_each_as_it_is_shown_alone(self, sandbox: Sandbox, stripe: Any) -> None:
        id = customer(sandbox, stripe, "single_owner")
        made = post(sandbox, customer=id).json
        assert sandbox.http("GET", f"/verifications?customer={id}").json["verifications"] == [made]
        [member] = sandbox.http("GET", "/verifications?account=fca_0").json["verifications"]
        assert member == get(sandbox, made["members"][0]["verification"])

    def test_other_connected_account_sees_nothing(self, sandbox: Sandbox) -> None:
        self.several(sandbox)
        assert sandbox.http("GET", "/verifications?account=fca_1", Stripe_Account="acct_1").json["verifications"] == []

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("", "account"),
            ("account=fca_1&customer=cus_1", "account"),
            ("account=cus_1", "account"),
            ("customer=fca_1", "customer"),
            ("account=fca_1&verdict=maybe", "verdict"),
            ("account=fca_1&limit=0", "limit"),
        ],
    )
    def test_bad_query(self, sandbox: Sandbox, query: str, field: str) -> None:
        answer = sandbox.http("GET", f"/verifications?{query}")
        assert (answer.status, answer.bad_fields) == (422, {field})

    def test_cursor_of_another_query_is_refused(self, sandbox: Sandbox) -> None:
        self.several(sandbox)
        cursor = sandbox.http("GET", "/verifications?account=fca_1&limit=1").json["next_cursor"]
        for other in ("account=fca_2", "account=fca_1&verdict=match", "customer=cus_1"):
            assert sandbox.http("GET", f"/verifications?{other}&cursor={cursor}").problem == "invalid-cursor"


def test_verdict_reads_nothing_twice(sandbox: Sandbox) -> None:
    """One read each of what a verdict takes; the account's comes after, to see whether it has died meanwhile."""
    sandbox.link(id="fca_1")
    id = post(sandbox, account="fca_1").json["id"]
    ref = AccountRef("fca_1")
    sandbox.deps.stripe.refresh(ref, "key")
    sandbox.wait(6)
    account_sync.sync_account(sandbox.deps, ref)
    seen: list[str] = []

    def note(moment: Moment) -> None:
        if moment.service == "dynamodb" and moment.when == "before":
            key: Any = moment.arguments.get("Key")
            if moment.operation == "get_item" and key:
                seen.append(key["sk"]["S"].partition("#")[0])

    sandbox.taps.append(note)
    sandbox.function("complete_verification")(
        {"verification": id, "refresh": {"outcome": "ready", "snapshot": sandbox.store.accounts.get(ref).snapshot}}
    )
    del seen[0]  # the test's own look at the account
    assert len(seen) == len(set(seen))
    assert seen[-1] == "ACCOUNT"


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


def test_holder_of_one_scope_is_not_another_scopes() -> None:
    holders = {
        VerificationListing.customer("cus_1", "test", None),
        VerificationListing.customer("cus_1", "live", None),
        VerificationListing.customer("cus_1", "test", "acct_1"),
    }
    assert len({holder.pk for holder in holders}) == 3
