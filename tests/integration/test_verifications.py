"""Verifications over HTTP: their target, waiting for the verdict, cancelling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.fakes.errors import refused
from tests.support.sandbox import Moment, Sandbox
from tests.support.verifications import customer, get, post, work
from titleholder.bootstrap import application
from titleholder.domain.accounts import AccountRef
from titleholder.services import account_sync, verifications


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
    def test_exactly_one_target_is_needed_and_each_bad_field_named(
        self, sandbox: Sandbox, target: dict[str, Any], fields: set[str]
    ) -> None:
        answer = post(sandbox, **target)
        assert (answer.status, answer.problem, answer.bad_fields) == (422, "invalid-request", fields)
        assert sandbox.items() == []

    def test_unknown_target_is_reported(self, sandbox: Sandbox) -> None:
        for target in ({"customer": "cus_none"}, {"session": "seti_none"}, {"payment_method": "pm_none"}):
            assert post(sandbox, **target).status == 404
        assert sandbox.items(but=["PACE#", "AUDIT#"]) == []

    def test_customer_without_accounts_is_reported(self, sandbox: Sandbox, stripe: Any) -> None:
        answer = post(sandbox, customer=str(stripe.customers.create({}).id))
        assert 400 <= answer.status < 500
        assert answer.problem
        assert sandbox.items(but=["PACE#", "AUDIT#"]) == []

    def test_too_many_accounts_are_reported(self, sandbox: Sandbox, stripe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(verifications, "MOST_MEMBERS", 1)
        answer = post(sandbox, customer=customer(sandbox, stripe, "single_owner", "single_owner"))
        assert (answer.status, answer.problem) == (409, "too-many-accounts")
        assert sandbox.items(but=["PACE#", "AUDIT#"]) == []


class TestWait:
    @pytest.fixture
    def meanwhile(self, sandbox: Sandbox) -> list[Callable[[], None]]:
        """What happens while the caller waits, a step at each look."""
        return sandbox.meanwhile

    def test_wait_returns_the_verdict_in_the_same_call(self, sandbox: Sandbox, meanwhile: list[Callable[[], None]]) -> None:
        sandbox.link(id="fca_1")
        meanwhile.append(lambda: work(sandbox, sandbox.tokens.started[0]["name"]))
        answer = post(sandbox, account="fca_1", wait=20)
        assert (answer.status, answer.json["verdict"]["outcome"]) == (200, "match")

    def test_wait_ends_after_the_requested_seconds(self, sandbox: Sandbox, meanwhile: list[Callable[[], None]]) -> None:
        sandbox.link(id="fca_1")
        began = sandbox.clock()
        answer = post(sandbox, account="fca_1", wait=7)
        assert (answer.status, answer.json["state"]) == (202, "waiting")
        assert sandbox.clock() - began == pytest.approx(7)

    def test_request_does_not_wait_for_a_stored_verdict_or_without_wait(self, sandbox: Sandbox) -> None:
        sandbox.link("fresh", id="fca_1")
        sandbox.link(id="fca_2")
        began = sandbox.clock()
        assert post(sandbox, account="fca_1", wait=20).status == 200
        assert post(sandbox, account="fca_2").status == 202
        assert sandbox.clock() == began

    def test_wait_covers_every_member_of_a_group(self, sandbox: Sandbox, stripe: Any, meanwhile: list[Callable[[], None]]) -> None:
        id = customer(sandbox, stripe, "single_owner", "single_owner")
        for number in (0, 1):
            meanwhile.append(lambda number=number: work(sandbox, sandbox.tokens.started[number]["name"]))  # type: ignore[misc]
        answer = post(sandbox, customer=id, wait=20)
        assert (answer.status, answer.json["state"]) == (200, "completed")

    def test_wait_is_no_part_of_what_an_idempotency_key_identifies(self, sandbox: Sandbox, meanwhile: list[Callable[[], None]]) -> None:
        sandbox.link(id="fca_1")
        assert post(sandbox, "k", account="fca_1").json["id"] == post(sandbox, "k", account="fca_1", wait=1).json["id"]

    def test_call_beyond_the_limit_is_answered_at_once(self, sandbox: Sandbox) -> None:
        sandbox.link(id="fca_1")
        began, limits = sandbox.clock(), sandbox.store.rate_limits
        for _ in range(application().settings.waiting_calls):
            limits.begin_waiting(began + 20, began)
        answer = post(sandbox, account="fca_1", wait=20)
        assert (answer.status, answer.json["state"]) == (202, "waiting")
        assert sandbox.clock() == began
        # A call that was refused does not count as one that waits.
        limits.end_waiting(began + 20)
        assert limits.begin_waiting(began + 20, began) == application().settings.waiting_calls

    def test_call_that_died_counts_as_waiting_until_its_wait_would_have_ended(self, sandbox: Sandbox) -> None:
        limits, began = sandbox.store.rate_limits, sandbox.clock()
        assert [limits.begin_waiting(began + 20, began) for _ in range(3)] == [1, 2, 3]
        assert limits.begin_waiting(began + 15, began + 10) == 4
        assert limits.begin_waiting(began + 41, began + 22) == 1
        limits.end_waiting(began + 41)
        # Much later, the same counters start from 0 again.
        assert limits.begin_waiting(began + 20 + 64, began + 64) == 1

    def test_call_that_ends_its_wait_early_no_longer_counts(self, sandbox: Sandbox, meanwhile: list[Callable[[], None]]) -> None:
        sandbox.link(id="fca_1")
        meanwhile.append(lambda: work(sandbox, sandbox.tokens.started[0]["name"]))
        assert post(sandbox, account="fca_1", wait=20).status == 200
        assert sandbox.store.rate_limits.begin_waiting(sandbox.clock() + 20, sandbox.clock()) == 1

    def test_verification_is_accepted_though_its_wait_fails(self, sandbox: Sandbox) -> None:
        sandbox.link(id="fca_1")

        def throttle() -> None:
            raise refused("GetItem", "ThrottlingException")

        sandbox.meanwhile.append(throttle)
        assert post(sandbox, account="fca_1", wait=20).status == 202


class TestCancel:
    def test_cancelled_verification_ends_as_cancelled_and_its_workflow_stops(self, sandbox: Sandbox) -> None:
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

    def test_cancelling_is_recorded(self, sandbox: Sandbox) -> None:
        sandbox.link(id="fca_1")
        id = post(sandbox, account="fca_1").json["id"]
        sandbox.http("DELETE", f"/verifications/{id}")
        asked = [item for item in sandbox.items() if "action" in item and item["state"]["S"] == "done"]
        assert {(item["action"]["S"], item["verification"]["S"]) for item in asked} == {
            ("verification.requested", id), ("verification.cancelled", id),
        }  # fmt: skip

    def test_cancelling_twice_gives_the_same_answer(self, sandbox: Sandbox) -> None:
        sandbox.link(id="fca_1")
        id = post(sandbox, account="fca_1").json["id"]
        first, second = (sandbox.http("DELETE", f"/verifications/{id}") for _ in range(2))
        assert (first.status, first.text) == (second.status, second.text)
        assert get(sandbox, id) == first.json

    def test_cancelling_a_completed_verification_keeps_its_verdict(self, sandbox: Sandbox) -> None:
        sandbox.link("fresh", id="fca_1")
        made = post(sandbox, account="fca_1").json
        answer = sandbox.http("DELETE", f"/verifications/{made['id']}")
        assert (answer.status, answer.problem) == (409, "verification-completed")
        assert get(sandbox, made["id"]) == made
        assert sandbox.tokens.stopped == []

    def test_cancelling_an_unknown_verification_is_not_found(self, sandbox: Sandbox) -> None:
        assert sandbox.http("DELETE", f"/verifications/ver_{'0' * 32}").problem == "verification-not-found"

    def test_verdict_that_comes_while_cancelling_is_kept(self, sandbox: Sandbox) -> None:
        """If the cancellation comes first, its verdict is kept. In both cases there is one verdict."""
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

    def test_late_workflow_does_not_change_a_cancelled_verification_and_starts_no_refresh(self, sandbox: Sandbox) -> None:
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
    def test_crash_while_cancelling_is_made_up_for_by_repeating(self, sandbox: Sandbox, operation: str, when: str) -> None:
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

    def test_cancelling_a_group_ends_the_members_that_still_run(self, sandbox: Sandbox, stripe: Any) -> None:
        made = post(sandbox, customer=customer(sandbox, stripe, "single_owner", "single_owner")).json
        done, running = (member["verification"] for member in made["members"])
        work(sandbox, done)
        answer = sandbox.http("DELETE", f"/verifications/{made['id']}")
        assert (answer.status, answer.json["state"]) == (200, "completed")
        assert [member["outcome"] for member in answer.json["members"]] == ["match", "not_verifiable"]
        assert sandbox.tokens.stopped == [running]
        assert sandbox.http("DELETE", f"/verifications/{made['id']}").text == answer.text

    def test_cancelling_a_completed_group_is_refused(self, sandbox: Sandbox, stripe: Any) -> None:
        made = post(sandbox, customer=customer(sandbox, stripe, "single_owner")).json
        work(sandbox, made["members"][0]["verification"])
        assert sandbox.http("DELETE", f"/verifications/{made['id']}").problem == "verification-completed"


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
