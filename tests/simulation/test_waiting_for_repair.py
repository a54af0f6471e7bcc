"""A verification with `if_inactive: wait` pauses until its account is repaired: the real workflow and functions, in virtual time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.simulation.application import inside
from tests.simulation.deployment import API_KEY, BEGIN, DAY, REFRESH_QUEUE
from tests.simulation.handlers import http_event
from tests.simulation.promises import check_promises
from tests.simulation.simulation import Simulation
from tests.simulation.workflows import Execution
from titleholder.domain.accounts import AccountRef

WEEK = 7 * DAY
REQUEST, WAIT = ["RequestRefresh", "Outcome"], ["WaitForRepair"]
READ = "/v1/financial_connections/accounts/fca_1"
VERIFIED = [*REQUEST, *WAIT, *REQUEST, "VerifyOwners"]


class Stack:
    """A simulation with one account, `fca_1`, and verifications that wait for it. `reconcile` runs each quarter of an hour."""

    def __init__(self) -> None:
        self.simulation = Simulation(0)
        options = self.simulation.simulator.options
        options.settle_seconds, options.cooldown_seconds = 3.0, 600.0
        self.reads: Counter[str] = Counter()

    def link(self, scenario: str = "inactive", account: str = "fca_1", **policy: Any) -> None:
        self.simulation.simulator.link(scenario, id=account, policy=policy)

    def verify(self, name: str = "a", account: str = "fca_1", at: float = 5.0, if_inactive: str | None = "wait", **more: Any) -> None:
        self.simulation.at(at, partial(self.simulation.verify, name, account, if_inactive=if_inactive, **more))

    def change(self, at: float, action: str, account: str = "fca_1") -> None:
        def act() -> None:
            self.simulation.simulator.change(account, action=action)
            self.simulation.stripe_moved()

        self.simulation.at(at, act)

    def run(self, seconds: float, reconcile: bool = True) -> None:
        if reconcile:
            self.simulation.reconcile_every(900, int(seconds // 900))
        self.simulation.run(seconds)

    def look(self, at: float, account: str = "fca_1") -> None:
        self.simulation.at(at, partial(self.simulation.look, account, None))

    def lose_webhooks(self, account: str = "fca_1") -> None:
        """Events that Stripe can't make: they never arrive, and no list has them."""
        self.simulation.simulator.fail_webhooks("ungenerated", account=account, times=None)

    def execution(self, name: str = "a") -> Execution:
        return self.simulation.workflows.executions[self.simulation.accepted[name]]

    def item(self, name: str = "a") -> dict[str, Any]:
        return self.simulation.dynamodb.items[f"VERIFICATION#{self.simulation.accepted[name]}", "VERIFICATION"]

    def verdict(self, name: str = "a") -> Any:
        item = self.item(name)
        return json.loads(item["verdict"]["S"]) if "verdict" in item else None

    def completed_at(self, name: str = "a") -> float:
        """Seconds after the beginning."""
        return int(self.item(name)["completed_ms"]["N"]) / 1000 - BEGIN

    def refreshes(self, account: str = "fca_1") -> int:
        return int(self.simulation.simulator.state(account)["initiated_refreshes"])

    def waiters(self) -> list[str]:
        return [sk for _, sk in self.simulation.dynamodb.items if sk.startswith("WAITER#")]

    def get(self, name: str = "a") -> Any:
        """What the route shows. To be called by an activity."""
        event = http_event("GET", f"/verifications/{self.simulation.accepted[name]}", {}, "")
        return json.loads(self.simulation._invoke("api", event)["body"])


@pytest.fixture
def stack() -> Iterator[Stack]:
    made = Stack()
    with inside(made.simulation):
        yield made
        made.simulation.reconcile_every(10, 1)
        made.simulation.run(100)
        check_promises(made.simulation)
    assert made.simulation.violations == []


class TestRepair:
    def test_account_that_is_reactivated_is_refreshed_once_and_verified(self, stack: Stack) -> None:
        stack.link()
        stack.verify()
        stack.change(2 * DAY, "reactivate")
        stack.run(2 * DAY + 60)
        assert stack.verdict()["outcome"] == "match"
        assert stack.execution().states == VERIFIED
        assert stack.execution().transitions == 6
        assert stack.completed_at() == pytest.approx(2 * DAY, abs=10)
        assert (stack.refreshes(), stack.waiters()) == (1, [])

    def test_one_repair_and_one_cooldown_take_nine_transitions(self, stack: Stack) -> None:
        stack.link("cooling_down", cooldown_seconds=7200.0)
        stack.change(1, "deactivate")
        stack.verify()
        stack.change(3600, "reactivate")
        stack.run(3 * 3600)
        assert stack.verdict()["outcome"] == "match"
        assert stack.execution().states == [*REQUEST, *WAIT, *REQUEST, "WaitForCooldown", *REQUEST, "VerifyOwners"]
        assert stack.execution().transitions == 9

    def test_each_further_repair_takes_three_more(self, stack: Stack) -> None:
        stack.link("turning_inactive", outcome=("failed", "succeeded"), deactivate_on_settle=False, cooldown_seconds=60.0)
        stack.change(1, "deactivate")
        stack.verify()
        stack.change(3600, "reactivate")
        stack.change(3601.5, "deactivate")  # While the refresh is under way.
        stack.change(2 * 3600, "reactivate")
        stack.run(3 * 3600)
        assert stack.verdict()["outcome"] == "match"
        assert stack.execution().states == [*REQUEST, *WAIT, *REQUEST, *WAIT, *REQUEST, "VerifyOwners"]
        assert stack.execution().transitions == 9

    def test_refresh_that_failed_because_of_the_inactivity_is_tried_again_after_the_repair(self, stack: Stack) -> None:
        stack.link("turning_inactive", outcome=("failed", "succeeded"), cooldown_seconds=30.0)
        stack.verify()
        stack.change(3600, "reactivate")
        stack.simulation.at(3600.5, lambda: stack.simulation.simulator.change("fca_1", policy={"deactivate_on_settle": False}))
        stack.run(2 * 3600)
        assert stack.verdict()["outcome"] == "match"
        assert stack.refreshes() == 2

    def test_late_worker_does_not_make_the_refresh_that_failed_before_the_repair_the_answer(self, stack: Stack) -> None:
        stack.link("turning_inactive", outcome=("failed", "succeeded"), cooldown_seconds=30.0)
        table, late = stack.simulation.dynamodb, Counter[str]()
        update, delete = table.update_item, table.delete_item

        def update_item(**request: Any) -> Any:
            if ":joined" in request["ExpressionAttributeValues"] and not late["joined"]:
                # Until then the refresh has failed, and the workflow waits for the repair.
                late["joined"] += 1
                stack.simulation.scheduler.sleep(10.0)
                assert stack.execution().states == [*REQUEST, *WAIT]
            return update(**request)

        def delete_item(**request: Any) -> Any:
            if request["Key"]["sk"]["S"].startswith("WAITER#"):
                # Until then the resumed workflow asks again, so its waiter is not removed but gets a new token.
                late["removed"] += 1
                stack.simulation.scheduler.sleep(1.0)
            return delete(**request)

        table.update_item, table.delete_item = update_item, delete_item  # type: ignore[method-assign]
        stack.verify()
        stack.simulation.at(3600, lambda: stack.simulation.simulator.change("fca_1", policy={"deactivate_on_settle": False}))
        stack.change(3600, "reactivate")
        stack.run(2 * 3600)
        assert late["joined"] == 1
        assert late["removed"] > 1
        assert stack.verdict()["outcome"] == "match"
        assert stack.execution().states == VERIFIED
        assert stack.refreshes() == 2

    def test_refresh_that_stays_pending_while_the_account_is_inactive_is_waited_for_as_a_repair(self, stack: Stack) -> None:
        stack.link("never_answering")
        stack.verify()
        stack.change(60, "deactivate")
        stack.run(6 * 900)
        assert stack.verdict() is None
        assert stack.execution().states == [*REQUEST, *WAIT]
        stack.run(WEEK)
        assert stack.verdict()["reasons"] == ["ACCOUNT_INACTIVE"]
        assert stack.completed_at() == pytest.approx(WEEK, abs=10)

    def test_inactive_account_without_the_permission_is_waited_for_because_a_relink_grants_it(self, stack: Stack) -> None:
        stack.link("permission_missing")
        stack.change(1, "deactivate")
        stack.verify()
        stack.simulation.at(3600, lambda: stack.simulation.simulator.change("fca_1", permissions=["balances", "ownership"]))
        stack.change(3600.1, "reactivate")
        stack.run(7200)
        assert stack.verdict()["outcome"] == "match"
        assert stack.execution().states == VERIFIED

    def test_many_that_wait_for_one_account_share_one_refresh(self, stack: Stack) -> None:
        stack.link()
        for number in range(5):
            stack.verify(f"v{number}", at=5 + number * 1000)
        stack.change(DAY / 2, "reactivate")
        stack.run(DAY)
        assert {stack.verdict(f"v{number}")["outcome"] for number in range(5)} == {"match"}
        assert stack.refreshes() == 1

    def test_reactivation_between_the_decision_and_the_wait_is_seen(self, stack: Stack) -> None:
        stack.link()
        put = stack.simulation.sqs.send_message
        state = {"done": False}

        def send_message(*, QueueUrl: str, MessageBody: str, **more: Any) -> Any:
            if QueueUrl == REFRESH_QUEUE and json.loads(MessageBody).get("awaits") == "repair" and not state["done"]:
                # Its message is on its way, and comes after the webhook of the reactivation was handled.
                state["done"] = True
                stack.change(0, "reactivate")
                more = {**more, "DelaySeconds": 30}
            return put(QueueUrl=QueueUrl, MessageBody=MessageBody, **more)

        stack.simulation.sqs.send_message = send_message  # type: ignore[method-assign]
        stack.verify()
        stack.run(120, reconcile=False)
        assert stack.verdict()["outcome"] == "match"
        assert stack.execution().states == VERIFIED
        assert state["done"]

    def test_account_that_refuses_as_inactive_though_reads_lag_is_waited_for_without_a_loop(self, stack: Stack) -> None:
        stack.link("single_owner", read_lag_seconds=20.0)
        stack.change(1, "deactivate")
        stack.verify(at=2.0)
        stack.change(DAY / 2, "reactivate")
        stack.run(DAY)
        assert stack.verdict()["outcome"] == "match"
        assert stack.execution().transitions <= 9
        assert stack.refreshes() == 1


class TestLostWebhook:
    def test_account_is_read_once_a_day_and_its_repair_found(self, stack: Stack) -> None:
        stack.link()
        stack.lose_webhooks()
        stack.verify()
        stack.change(3 * DAY + 600, "reactivate")
        stack.run(3 * DAY + 500)
        reads = stack.simulation.simulator.request_counts()["accounts"]["fca_1"]
        assert stack.verdict() is None
        before = sum(reads.values())
        assert before <= 6
        stack.run(DAY + 3600)
        assert stack.verdict()["outcome"] == "match"
        assert 3 * DAY + 600 < stack.completed_at() <= 4 * DAY + 600 + 1800

    def test_repair_that_a_caller_sees_has_the_workflow_go_on_at_once(self, stack: Stack) -> None:
        stack.link()
        stack.lose_webhooks()
        stack.verify()
        stack.change(600, "reactivate")
        stack.look(660)
        stack.simulation.at(659, stack.simulation.simulator.clear_faults)
        stack.run(2000, reconcile=False)
        assert stack.verdict()["outcome"] == "match"
        assert 660 <= stack.completed_at() < 720

    def test_waiters_of_one_account_share_its_daily_read(self, stack: Stack) -> None:
        stack.link()
        stack.lose_webhooks()
        for number in range(6):
            stack.verify(f"v{number}", at=5 + number * 7200)
        stack.run(DAY - 900)
        before = sum(stack.simulation.simulator.request_counts()["accounts"]["fca_1"].values())
        stack.run(3 * DAY)
        assert sum(stack.simulation.simulator.request_counts()["accounts"]["fca_1"].values()) - before == 3
        stack.change(10, "reactivate")
        stack.run(DAY + 3600)
        assert {stack.verdict(f"v{number}")["outcome"] for number in range(6)} == {"match"}

    def test_account_that_always_fails_does_not_stop_the_others(self, stack: Stack) -> None:
        for account in ("fca_0", "fca_1", "fca_2"):
            stack.link(account=account)
            stack.lose_webhooks(account)
            stack.verify(account, account)
        stack.simulation.at(60, lambda: stack.simulation.simulator.fail_api("server_error", account="fca_0", times=None))
        stack.change(600, "reactivate", "fca_1")
        stack.change(600, "reactivate", "fca_2")
        stack.run(DAY + 3600)
        assert [stack.verdict(account) and stack.verdict(account)["outcome"] for account in ("fca_0", "fca_1", "fca_2")] == [
            None, "match", "match",
        ]  # fmt: skip
        stack.simulation.simulator.clear_faults()
        stack.run(WEEK)


class TestEnd:
    @pytest.mark.parametrize("trouble", ["none", "key revoked", "message lost"])
    def test_account_that_is_not_repaired_is_inactive_at_the_deadline(self, stack: Stack, trouble: str) -> None:
        stack.link()
        stack.verify()
        if trouble == "key revoked":
            stack.simulation.at(60, lambda: stack.simulation.simulator.configure(api_keys=frozenset({"sk_test_another"})))
        if trouble == "message lost":
            receive = stack.simulation.sqs.consumers[REFRESH_QUEUE]
            stack.simulation.sqs.consumers[REFRESH_QUEUE] = lambda message: (
                json.loads(message.body).get("awaits") == "repair" or receive(message)
            )
        stack.run(WEEK - 60)
        assert stack.verdict() is None
        stack.run(120, reconcile=False)
        assert stack.verdict()["reasons"] == ["ACCOUNT_INACTIVE"]
        assert stack.execution().states == [*REQUEST, *WAIT, "NotVerifiable"]
        assert stack.execution().status == "SUCCEEDED"
        assert (stack.refreshes(), stack.waiters()) == (0, [])
        stack.simulation.simulator.configure(api_keys=frozenset({API_KEY}))

    @pytest.mark.parametrize("end", ["disconnect", "erase", "cancel"])
    def test_wait_ends_at_once_when_nothing_can_come_of_it(self, stack: Stack, end: str) -> None:
        stack.link()
        stack.verify()
        acts: dict[str, Callable[[], None]] = {
            "erase": lambda: stack.simulation.erase("fca_1"), "cancel": lambda: stack.simulation.cancel("a"),
        }  # fmt: skip
        if end in acts:
            stack.simulation.at(DAY / 2, acts[end])
        else:
            stack.change(DAY / 2, end)
        stack.run(DAY / 2 + 60)
        reasons = {"disconnect": "ACCOUNT_DISCONNECTED", "erase": "ACCOUNT_DISCONNECTED", "cancel": "CANCELLED"}
        assert stack.verdict()["reasons"] == [reasons[end]]
        assert stack.execution().status != "RUNNING"
        assert (stack.refreshes(), stack.waiters()) == (0, [])

    def test_without_the_wish_an_inactive_account_ends_the_verification(self, stack: Stack) -> None:
        stack.link()
        stack.verify("a", if_inactive=None)
        stack.verify("b", if_inactive="refuse")
        stack.run(60)
        for name in ("a", "b"):
            assert stack.verdict(name)["reasons"] == ["ACCOUNT_INACTIVE"]
            assert stack.execution(name).states == [*REQUEST, "NotVerifiable"]

    def test_execution_of_a_definition_without_the_wait_ends_as_inactive(self, stack: Stack) -> None:
        definitions = stack.simulation.workflows._definitions
        for name, definition in definitions.items():
            if "WaitForRepair" in definition["States"]:
                old = json.loads(json.dumps(definition))
                del old["States"]["WaitForRepair"]
                choices = old["States"]["Outcome"]["Choices"]
                old["States"]["Outcome"]["Choices"] = [choice for choice in choices if choice["StringEquals"] != "inactive"]
                stack.simulation.workflows._definitions = {**definitions, name: old}
        stack.link()
        stack.verify()
        stack.run(60)
        assert stack.verdict()["reasons"] == ["ACCOUNT_INACTIVE"]

    def test_messages_that_come_twice_or_late_do_no_harm(self, stack: Stack) -> None:
        sent: list[str] = []
        send = stack.simulation.sqs.send_message

        def send_message(*, QueueUrl: str, MessageBody: str, **more: Any) -> Any:
            sent.extend([MessageBody] * (QueueUrl == REFRESH_QUEUE))
            return send(QueueUrl=QueueUrl, MessageBody=MessageBody, **more)

        stack.simulation.sqs.send_message = send_message  # type: ignore[method-assign]
        stack.simulation.sqs.duplicates = 1.0
        stack.link()
        stack.verify()
        stack.verify("b", at=DAY)
        stack.change(3600, "reactivate")
        stack.change(3700, "deactivate")

        def send_again() -> None:
            for body in sent[:3]:
                send(QueueUrl=REFRESH_QUEUE, MessageBody=body)

        stack.simulation.at(7200, send_again)
        stack.simulation.at(DAY + 7200, send_again)
        stack.run(DAY + 2 * 7200)
        assert len(sent) >= 3
        assert [stack.verdict(name)["outcome"] for name in ("a", "b")] == ["match", "match"]
        assert (stack.refreshes(), stack.waiters()) == (1, [])


class TestShown:
    def test_caller_sees_what_is_waited_for_and_how_to_repair_it(self, stack: Stack) -> None:
        stack.link()
        stack.verify()
        shown: list[Any] = []
        stack.simulation.at(60, lambda: shown.append(stack.get()))
        stack.change(3600, "reactivate")
        stack.simulation.at(3700, lambda: shown.append(stack.get()))
        stack.run(4000)
        waits, done = shown
        assert (waits["state"], waits["waiting_for"], waits["remedy"]) == ("waiting", "repair", "link_again")
        assert done["state"] == "completed"
        assert "waiting_for" not in done or done["waiting_for"] is None

    def test_waiters_item_names_the_account_for_the_index(self, stack: Stack) -> None:
        stack.link()
        stack.verify()
        stack.run(60)
        ref = AccountRef("fca_1")
        item = stack.simulation.dynamodb.items[f"ACCOUNT#{ref.key}", f"WAITER#{stack.simulation.accepted['a']}"]
        assert (item["open_kind"]["S"], item["account"]["S"], item["awaits"]["S"]) == ("repair", "fca_1", "repair")
        stack.run(WEEK)
