"""What an end-to-end test handles: the running stack, a caller of its HTTP interface, and ways to look behind both."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import requests

from local.aws.paths import BUILD
from local.client import Answer, Client
from local.stack import Stack
from local.stripe_simulator.core import Simulator
from local.stripe_simulator.wire import CaseInsensitive, Response
from tests.support.stripe_openapi import LEDGER

MARGARET = {"name": "Margaret Testerman"}
TRAIL = BUILD / "aws" / f"trail{os.environ.get('PYTEST_XDIST_WORKER', '')}.jsonl"
"""The file in which the embedded IAM records what it decides while this worker's tests run."""

CREATED = "financial_connections.account.created"
REFRESH = "/v1/financial_connections/accounts/{account}/refresh"


class Exchange(NamedTuple):
    """One call that reached the simulator."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: str


def eventually(probe: Callable[[], Any], within: float = 30) -> Any:
    """The first true value of `probe`. Fails if there is none `within` that many seconds."""
    end = time.monotonic() + within
    while not (value := probe()):
        assert time.monotonic() < end, f"nothing within {within} s"
        time.sleep(0.1)
    return value


class StackDriver:
    """The stack with the simulator in this very process, so that tests read its true state without a detour."""

    def __init__(self, stack: Stack) -> None:
        assert stack.stripe is not None
        self.stack = stack
        self.http = Client(stack.api_url)
        self.exchanges: list[Exchange] = []
        self.sim: Simulator = stack.stripe.simulator
        self._ids = itertools.count(1)
        self._record()

    def _record(self) -> None:
        handle = self.sim.handle

        def recorded(method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Response:
            version = CaseInsensitive(headers).get("Stripe-Version")
            LEDGER.note(method, target, body.decode(), version)
            self.exchanges.append(Exchange(method, target, dict(headers), body.decode()))
            response = handle(method, target, headers, body)
            LEDGER.note_answer(method, target, response.status, response.body, version)
            return response

        self.sim.handle = recorded  # type: ignore[method-assign]

    # -- what users and callers do ---------------------------------------------------------------------------------------------------

    def link(self, scenario: str, **details: Any) -> str:
        """Link an account without delivering the event of its creation, because the stack would read the account for it."""
        account = f"fca_e2e{next(self._ids)}"
        self.sim.fail_webhooks("drop", type=CREATED, account=account)
        self.sim.link(scenario, id=account, **details)
        return account

    def request(self, account: str, claim: Mapping[str, Any] | None = None, headers: dict[str, str] | None = None, **more: Any) -> Answer:
        """`POST /verifications`."""
        return self.http.call("POST", "/verifications", {"account": account, "claim": claim or MARGARET, **more}, headers=headers)

    def request_all(self, accounts: Sequence[str]) -> list[Answer]:
        """`POST /verifications` for each, all at once."""
        with ThreadPoolExecutor(len(accounts)) as callers:
            # A Client is one connection, so each caller has its own.
            body = [{"account": account, "claim": MARGARET} for account in accounts]
            return list(callers.map(lambda one: Client(self.stack.api_url).call("POST", "/verifications", one), body))

    def accepted(self, account: str, claim: Mapping[str, Any] | None = None, **more: Any) -> str:
        """The id of a verification that was accepted and waits."""
        answer = self.request(account, claim, **more)
        assert answer.status == 202, answer
        return str(answer.body["id"])

    def verification(self, id: str, stripe_account: str | None = None) -> Any:
        headers = {} if stripe_account is None else {"Stripe-Account": stripe_account}
        return self.http.call("GET", f"/verifications/{id}", headers=headers).body

    def verdict(self, id: str, within: float = 30, stripe_account: str | None = None) -> dict[str, Any]:
        """The verdict, once it is there."""
        return dict(eventually(lambda: self.verification(id, stripe_account)["verdict"], within))

    def deliver(self, body: bytes, headers: Mapping[str, str]) -> requests.Response:
        """Post to the webhook route, as any client can."""
        return requests.post(self.stack.webhook_url, body, headers={"Content-Type": "application/json", **headers}, timeout=30)

    # -- what happened behind the interface ------------------------------------------------------------------------------------------

    def history(self, verification: str) -> list[dict[str, Any]]:
        """The events of the verification's execution."""
        arn = self.stack.outputs["StateMachineArn"].replace(":stateMachine:", ":execution:") + f":{verification}"
        pages = self.stack.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=arn)
        return [event for page in pages for event in page["events"]]

    def ended(self, verification: str) -> list[dict[str, Any]]:
        """The same, once the execution has ended: its verdict is there a moment before."""
        return list(eventually(lambda: (events := self.history(verification))[-1]["type"] == "ExecutionSucceeded" and events, 10))

    def states(self, verification: str) -> list[str]:
        """The states that the execution entered, in order."""
        return [event["stateEnteredEventDetails"]["name"] for event in self.ended(verification) if event["type"].endswith("StateEntered")]

    def transitions(self, verification: str) -> int:
        """State transitions as AWS bills them: every state entered, and every retry."""
        kinds = [event["type"] for event in self.ended(verification)]
        entered = [kind for kind in kinds if kind.endswith("StateEntered")]
        return len(entered) + kinds.count("TaskScheduled") - kinds.count("TaskStateEntered")

    def stripe_calls(self, account: str) -> int:
        return sum(self.sim.request_counts()["accounts"].get(account, {}).values())

    def refreshes(self, account: str, **scope: Any) -> int:
        """The money: refreshes that Stripe started because this stack asked."""
        return int(self.sim.state(account, **scope)["initiated_refreshes"])

    def table(self) -> dict[tuple[str, str], Any]:
        """Every item except those of the rate limiter, which change with each call."""
        pages = self.stack.client("dynamodb").get_paginator("scan").paginate(TableName=self.stack.outputs["TableName"], ConsistentRead=True)
        return {
            (item["pk"]["S"], item["sk"]["S"]): item for page in pages for item in page["Items"] if not item["pk"]["S"].startswith("PACE#")
        }

    def log_lines(self) -> Iterator[str]:
        """Everything that any function logged."""
        logs = self.stack.client("logs")
        for page in logs.get_paginator("describe_log_groups").paginate():
            for group in page["logGroups"]:
                events = logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"])
                yield from (event["message"] for part in events for event in part["events"])

    def received(self, queue_url: str, within: float = 20) -> Any:
        """The JSON of the next message in a queue, which is then deleted."""
        sqs = self.stack.client("sqs")
        [message] = eventually(lambda: sqs.receive_message(QueueUrl=queue_url, WaitTimeSeconds=1).get("Messages"), within)
        sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
        return json.loads(message["Body"])
