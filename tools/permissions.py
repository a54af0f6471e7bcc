"""Checks that each permission of each function's role is needed: takes it away and expects that a call is refused.

    python -m tools.permissions [FUNCTION ...]

Plays every scene (a short use of the deployed stack), then takes each permission (one action on one resource) from its role in turn and
plays the scenes that used it. If no call is refused, the permission is superfluous. With FUNCTIONs, only their permissions are taken away.
Exits with 1 if a permission is superfluous.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import requests
from botocore.exceptions import ClientError

from local.aws.paths import BUILD
from local.command import interruptible
from local.stack import STACK, running
from local.stripe_simulator.options import PREVIEW_VERSION, Options
from tests.e2e.stack_driver import CREATED, MARGARET, StackDriver, eventually
from tests.support.functions import ROOT, queue_event

TESTER = "tester"
"""Session name for tests that assume a function's role themselves."""
TRAIL = BUILD / "aws" / "permissions.jsonl"
INVALID_LINE = b"{}\n"
"""A manifest of one line, which is rejected."""

NOT_EMULATED = {
    ("kms:Decrypt", "Key"): "DynamoDB and S3 decrypt with the stack's key on behalf of the caller",
    ("kms:GenerateDataKey", "Key"): "DynamoDB and S3 encrypt with the stack's key on behalf of the caller",
    ("sqs:SendMessage", "AsyncDeadLetterQueue"): "Lambda itself sends events that failed with all retries, with the function's role",
}
"""Calls that AWS's services make with a function's role, but the emulator does not: action, logical id of the resource, and the service."""


@dataclass(frozen=True)
class Permission:
    """One action on one resource that a function's role allows, with its condition as JSON. `function` is the logical id."""

    function: str
    action: str
    resource: str
    condition: str = "null"

    @property
    def kinds(self) -> list[str]:
        """The kinds of items to which the condition limits it, such as `EVENT`. Empty without such a limit."""
        patterns = ((json.loads(self.condition) or {}).get("ForAllValues:StringLike") or {}).get("dynamodb:LeadingKeys", ())
        return [pattern.removesuffix("#*") for pattern in patterns]

    def covers_keys(self, kinds: Sequence[str]) -> bool:
        """Whether it allows a call that touches items of these kinds."""
        return not self.kinds or set(kinds) <= set(self.kinds)

    def __str__(self) -> str:
        text = f"{self.function:16} {self.action:32} {self.resource.split(':', 5)[-1]}"
        return text if self.condition == "null" else f"{text}   if {self.condition}"


class Roles:
    """The roles of the deployed functions, as they are in IAM."""

    def __init__(self, driver: StackDriver, trail: Path) -> None:
        self.driver = driver
        self._iam = driver.stack.client("iam")
        self._trail = trail

    @cached_property
    def physical(self) -> dict[str, str]:
        """Physical ids by logical ids."""
        found = self.driver.stack.client("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
        return {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in found}

    @cached_property
    def functions(self) -> dict[str, str]:
        """The role's name of each function, by logical id."""
        known = self.physical
        return {name: known[f"{name}Role"] for name in known if f"{name}Role" in known and f"{name}Logs" in known}

    @cached_property
    def not_emulated(self) -> set[tuple[str, str]]:
        """Actions and the ends of the resources on which the emulator does not need them."""
        return {(action, self.physical[name].rpartition("/")[2]) for action, name in NOT_EMULATED}

    def emulated(self, permission: Permission) -> bool:
        return (permission.action, re.split("[:/]", permission.resource)[-1]) not in self.not_emulated

    def permissions(self) -> list[Permission]:
        """What the functions' roles allow by their own policies and by the stack's managed policies, without AWS's managed policies."""
        return [
            permission
            for function in sorted(self.functions)
            for policy in [*self._own_policies(function).values(), *self._shared_policies(function).values()]
            for statement in policy["Statement"]
            if statement["Effect"] == "Allow"
            for permission in _permissions(function, statement)
        ]

    def without(self, permission: Permission) -> Callable[[], None]:
        """Take a permission away from its role and no other. Returns a function that gives it back."""
        function, role = permission.function, self.functions[permission.function]
        own, shared = self._own_policies(function), self._shared_policies(function)
        # Other roles keep the shared policy. This role gets the remaining permissions as its own policy.
        replaced = {arn: arn.rpartition("/")[2] for arn, policy in shared.items() if _rest(policy, permission) != _rest(policy)}
        for name, policy in own.items():
            self._put(role, name, _rest(policy, permission))
        for arn, name in replaced.items():
            self._put(role, name, _rest(shared[arn], permission))
            self._iam.detach_role_policy(RoleName=role, PolicyArn=arn)

        def restore() -> None:
            for name, policy in own.items():
                self._put(role, name, policy["Statement"])
            for arn, name in replaced.items():
                self._iam.attach_role_policy(RoleName=role, PolicyArn=arn)
                self._put(role, name, [])

        return restore

    def _own_policies(self, function: str) -> dict[str, dict[str, Any]]:
        """By name."""
        role = self.functions[function]
        names = self._iam.list_role_policies(RoleName=role)["PolicyNames"]
        return {name: self._iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names}

    def _shared_policies(self, function: str) -> dict[str, dict[str, Any]]:
        """The stack's managed policies that the role has, by ARN."""
        attached = self._iam.list_attached_role_policies(RoleName=self.functions[function])["AttachedPolicies"]
        return {each["PolicyArn"]: self._document(each["PolicyArn"]) for each in attached if each["PolicyArn"] in self.physical.values()}

    def _document(self, arn: str) -> dict[str, Any]:
        version = self._iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        document: dict[str, Any] = self._iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        return document

    def _put(self, role: str, name: str, statements: list[dict[str, Any]]) -> None:
        """Write a role's own policy, or delete it if there are no statements, because IAM accepts no empty policy."""
        if statements:
            document = json.dumps({"Version": "2012-10-17", "Statement": statements})
            self._iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=document)
        else:
            with contextlib.suppress(self._iam.exceptions.NoSuchEntityException):
                self._iam.delete_role_policy(RoleName=role, PolicyName=name)

    def cold_start(self, function: str) -> None:
        """Restart a function, so that it loses what it caches in memory, such as secrets."""
        name, functions = self.physical[function], self.driver.stack.client("lambda")
        variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": {**variables, "BEGUN": str(time.time())}})

    def decisions(self, since: int = 0) -> tuple[list[dict[str, Any]], int]:
        """IAM's decisions after that position in the trail, and the position of the trail's end."""
        with self._trail.open() as trail:
            trail.seek(since)
            return [json.loads(line) for line in trail.read().splitlines()], trail.tell()

    def refused_calls(self) -> list[dict[str, Any]]:
        """The functions' calls that IAM refused since the stack was deployed."""
        by_functions = [each for each in self.decisions()[0] if each["session"] != TESTER]
        # One scene takes the permission to start workflows away for a moment.
        return [each for each in by_functions if not each["allowed"] and each["action"] != "states:StartExecution"]

    def used(self, since: int, *, allowed: bool = True) -> set[Permission]:
        """The permissions that allowed calls since then, or whose absence had calls refused."""
        held: dict[tuple[str, str], list[Permission]] = {}
        for permission in self._all:
            held.setdefault((self.functions[permission.function], permission.action), []).append(permission)
        return {
            permission
            for decision in self.decisions(since)[0]
            if decision["allowed"] is allowed
            for permission in held.get((decision["role"], decision["action"]), ())
            if _covers(permission.resource, decision["resource"]) and permission.covers_keys(decision.get("keys", ()))
        }

    def unused_kinds(self) -> list[str]:
        """The kinds of items (partition keys up to their #) that a permission lists and that none of its calls has touched."""
        decisions = [decision for decision in self.decisions()[0] if decision["allowed"]]
        found = []
        for permission in self._all:
            touched = {
                kind
                for decision in decisions
                if (decision["role"], decision["action"]) == (self.functions[permission.function], permission.action)
                and _covers(permission.resource, decision["resource"])
                for kind in decision.get("keys", ())
            }
            found += [f"{permission.function} {permission.action} {kind}" for kind in permission.kinds if kind not in touched]
        return found

    def refused(self, permission: Permission, since: int, within: float = 6) -> bool:
        """Whether a call was refused since then because the permission is missing, or is refused `within` that many seconds."""
        end = time.monotonic() + within
        while permission not in self.used(since, allowed=False):
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        return True

    @cached_property
    def _all(self) -> list[Permission]:
        return self.permissions()

    def remember(self) -> list[Permission]:
        """Every permission that the stack has before any is taken away."""
        return self._all


class Scenes:
    """Short uses of the functions. They ignore refused calls, because only IAM's decisions in the trail count."""

    def __init__(self, roles: Roles) -> None:
        self.roles = roles
        self.driver = roles.driver
        self.table = self.driver.stack.outputs["TableName"]
        self.dynamodb = self.driver.stack.client("dynamodb")

    def all(self) -> Iterator[tuple[str, Callable[[], None]]]:
        for name in dir(self):
            if name.startswith("scene_"):
                yield name, getattr(self, name)

    def scene_verified_through_the_workflow(self) -> None:
        account = self._unseen("single_owner")
        self._patiently(self._verify(account))

    def scene_answered_at_once_at_first_sight(self) -> None:
        self._verify(self._unseen_and_waited_for())

    def scene_owners_and_account_read(self) -> None:
        account = self._known_fresh()
        for path in ("", "/owners"):
            self.driver.http.call("GET", f"/accounts/{account}{path}")

    def scene_owners_read_that_another_function_stored(self) -> None:
        account = self._unseen("fresh")
        self._consume("FetchOwners", {"event": "evt_scene", "account": account, "mode": "test"}, count=1)
        self.driver.http.call("GET", f"/accounts/{account}/owners")

    def scene_verified_although_dead(self) -> None:
        account = self._known_fresh()
        self._disconnect(account)
        self.driver.http.call("GET", f"/accounts/{account}")
        self._verify(account)

    def scene_customer_and_session_made_and_collected(self) -> None:
        tag = {"Idempotency-Key": f"scene-{time.time_ns()}"}
        customer = self.driver.http.call("POST", "/customers", {"email": "scene@example.com"}, headers=tag).body or {}
        self.driver.http.call("POST", "/customers", {"email": "scene@example.com"}, headers=tag)
        body = {"customer": customer.get("id", "cus_none"), "via": "financial_connections"}
        session = self.driver.http.call("POST", "/sessions", body, headers=tag).body or {}
        self.driver.http.call("GET", f"/sessions/{session.get('id', 'fcsess_none')}")
        self.driver.http.call("GET", f"/accounts?customer={customer.get('id', 'cus_none')}")

    def scene_account_relinked(self) -> None:
        body = {"via": "financial_connections", "relink": {"account": self._unseen("inactive")}}
        self.driver.http.call("POST", "/sessions", body)

    def scene_customer_refused_by_stripe_for_its_pace_and_then_made(self) -> None:
        tag = {"Idempotency-Key": f"scene-{time.time_ns()}"}
        self.driver.sim.fail_api("rate_limit", method="POST", path="/v1/customers", should_retry=False)
        for _ in range(2):
            self.driver.http.call("POST", "/customers", {"email": "scene@example.com"}, headers=tag)
        self._forget_pace("other")

    def scene_verification_cancelled(self) -> None:
        id = self._verify(self._unseen("never_answering"))
        self.driver.http.call("DELETE", f"/verifications/{id}")

    def scene_refused_by_the_accounts_state(self) -> None:
        self._patiently(self._verify(self._unseen("inactive")))

    def scene_refresh_asked_for(self) -> None:
        self.driver.http.call("POST", f"/accounts/{self._unseen_and_waited_for()}/refreshes")

    def scene_second_snapshot_found_by_a_refresh_request(self) -> None:
        self.driver.http.call("POST", f"/accounts/{self._known_by_an_old_snapshot()}/refreshes")

    def scene_refresh_of_a_disconnected_account_asked_for(self) -> None:
        account = self._known_fresh()
        self._disconnect(account)
        # Deleted, so that the function reads the account from Stripe again.
        self.dynamodb.delete_item(TableName=self.table, Key={"pk": {"S": f"ACCOUNT#test/platform/{account}"}, "sk": {"S": "ACCOUNT"}})
        self.driver.http.call("POST", f"/accounts/{account}/refreshes")

    def scene_refresh_request_deferred(self) -> None:
        account, child = self._unseen("never_answering"), self._waiters[1]
        with self._no_free_slot("read"), self._no_free_slot("refresh"):
            id = self._verify(account)
            # Its own token is still valid. A message whose workflow no longer waits is not put back into the queue.
            for waiter in (eventually(partial(self._waiter, account), 5), child):
                self._consume("StartRefresh", self._refresh_request(id, account, waiter, time.time() + 60), count=1)
            # SQS redelivers the message after the scene. It then finds that the verification has ended.
            self.driver.http.call("DELETE", f"/verifications/{id}")

    def scene_refresh_request_given_up(self) -> None:
        account = self._unseen("never_answering")
        id = self._verify(account)
        for waiter in self._waiters:
            self._consume("StartRefresh", self._refresh_request(id, account, waiter, time.time() - 60), count=1)

    def scene_refresh_request_dead_lettered(self) -> None:
        self._consume("StartRefresh", {"verification": "none"}, count=1)
        self._consume("StartRefresh", {"verification": "none"}, count=7)

    def scene_event_fetched(self) -> None:
        account = self._unseen_and_waited_for()
        self._consume("FetchOwners", {"event": "evt_scene", "account": account, "mode": "test"}, count=1)

    def scene_second_snapshot_found_by_an_event(self) -> None:
        event = {"event": "evt_scene", "account": self._known_by_an_old_snapshot(), "mode": "test"}
        self._consume("FetchOwners", event, count=1)

    def scene_event_deferred(self) -> None:
        account = self._known_fresh()
        with self._no_free_slot("read"):
            self._consume("FetchOwners", {"event": "evt_scene", "account": account, "mode": "test"}, count=1)

    def scene_event_of_a_running_refresh_deferred(self) -> None:
        """Workflows that wait for the refresh get heartbeats."""
        account = self._unseen("never_answering")
        id = self._verify(account)
        eventually(lambda: "joined_ms" in (self._waiter(account) or {}), 5)
        for waiter in self._waiters:
            item = {**waiter, "pk": {"S": f"ACCOUNT#test/platform/{account}"}, "joined_ms": {"N": str(int(time.time() * 1000))}}
            self.dynamodb.put_item(TableName=self.table, Item=item)
        with self._no_free_slot("list"), self._no_free_slot("read"):
            self._consume("FetchOwners", {"event": "evt_scene", "account": account, "mode": "test"}, count=1)
        self.driver.http.call("DELETE", f"/verifications/{id}")

    def scene_event_of_a_disconnected_account_fetched(self) -> None:
        account = self._known_fresh()
        self._disconnect(account)
        self._consume("FetchOwners", {"event": "evt_scene", "account": account, "mode": "test"}, count=1)

    def scene_connected_account_used(self) -> None:
        """Each function reads by which context its calls name a connected account. It keeps that, so every scene has another one."""
        connected, account = f"acct_scene{time.time_ns()}", f"fca_scene{time.time_ns()}"
        with self._without_events():
            self.driver.sim.link("fresh", id=account, stripe_account=connected)
        header = {"Stripe-Account": connected}
        self.driver.http.call("GET", f"/accounts/{account}", headers=header)
        self.driver.http.call("POST", f"/accounts/{account}/refreshes", {"max_age": 0}, headers=header)
        self.driver.http.call("POST", "/customers", {"email": "scene@example.com"}, headers=header)
        event = {"event": "evt_scene", "account": account, "mode": "test", "stripe_account": connected}
        self._consume("FetchOwners", {**event, "context": f"org_simulated/{connected}"}, count=1)
        self._invoke("Reconcile", {})
        self.driver.http.call("DELETE", f"/accounts/{account}", headers=header)

    def scene_event_of_another_account_of_an_organization_set_aside(self) -> None:
        event = f"evt_scene{time.time_ns()}"
        texts = {"pk": f"EVENT#{event}", "sk": "EVENT", "id": event, "type": CREATED, "created": "1"}
        item = {name: {"S": text} for name, text in texts.items()} | {"processed": {"BOOL": False}, "received_ms": {"N": "1"}}
        self.dynamodb.put_item(TableName=self.table, Item=item)
        message = {"event": event, "account": "fca_scene", "mode": "test", "stripe_account": "acct_elsewhere"}
        self._consume("FetchOwners", {**message, "context": "org_simulated/acct_elsewhere"}, count=1)

    def scene_event_dead_lettered(self) -> None:
        self._consume("FetchOwners", {"event": "evt_scene"}, count=1)
        self._consume("FetchOwners", {"event": "evt_scene"}, count=7)

    def scene_erased_while_it_is_waited_for(self) -> None:
        account = self._known_fresh()
        self._let_wait_for(account)
        with self._without_events():
            self.driver.http.call("DELETE", f"/accounts/{account}")

    def scene_unknown_account_erased(self) -> None:
        self.driver.http.call("DELETE", f"/accounts/fca_unknown{time.time_ns()}")

    def scene_erasure_ended_by_reconcile(self) -> None:
        account = self._known_fresh()
        self._let_wait_for(account)
        self._open_for_reconcile(account, kind="erasure", erased_ms={"N": "1"})
        self._invoke("Reconcile", {})

    def scene_webhook_received(self) -> None:
        before = len(self.driver.sim.deliveries())
        self.driver.sim.link("fresh", id=f"fca_scene{time.time_ns()}")
        eventually(lambda: len(self.driver.sim.deliveries()) > before, 5)

    def scene_event_received_from_the_bus(self) -> None:
        sample = json.loads((ROOT / "events" / "receive_event.refreshed_ownership.json").read_text())
        sample["detail"]["id"] = f"evt_scene{time.time_ns()}"
        self._invoke("ReceiveEvent", sample)

    def scene_verdict_without_an_answer(self) -> None:
        account = self._unseen("never_answering")
        id = self._verify(account)
        self._let_wait_for(account)
        self._invoke("VerifyOwners", {"verification": id, "refresh": {"Error": "States.Timeout"}})

    def scene_reconciled(self) -> None:
        self._open_for_reconcile(self._unseen_and_waited_for())
        self._verification_without_a_workflow()
        self._invoke("Reconcile", {})

    def scene_reconciled_after_a_workflow_failed(self) -> None:
        id = self._verify(self._unseen("never_answering"))
        machine = self.driver.stack.outputs["StateMachineArn"]
        with contextlib.suppress(ClientError):
            arn = f"{machine.replace(':stateMachine:', ':execution:')}:{id}"
            self.driver.stack.client("stepfunctions").stop_execution(executionArn=arn)
        self._age(id)
        self._invoke("Reconcile", {})

    def scene_reconciled_long_after_the_deadline(self) -> None:
        self._age(self._verify(self._unseen("never_answering")), deadline_ms={"N": "1"})
        # Its owners are stored.
        answered = self._verify(self._known_fresh())
        self.dynamodb.update_item(
            TableName=self.table, Key={"pk": {"S": f"VERIFICATION#{answered}"}, "sk": {"S": "VERIFICATION"}},
            UpdateExpression="REMOVE verdict, completed_ms",
        )  # fmt: skip
        self._age(answered, deadline_ms={"N": "1"})
        self._invoke("Reconcile", {})

    def scene_lost_event_found(self) -> None:
        self.driver.sim.fail_webhooks("drop", type=CREATED)
        self.driver.sim.link("fresh", id=f"fca_scene{time.time_ns()}")
        self._invoke("Reconcile", {})

    def scene_close_match_reviewed(self) -> None:
        id = self._close_match(self._unseen("single_owner"))
        self.driver.http.call("GET", "/reviews")
        self.driver.http.call("GET", f"/verifications/{id}/timeline")
        self.driver.http.call("POST", f"/verifications/{id}/comparison")
        decision = {"version": 1, "decision": "approve", "reason": "OTHER", "note": "The passport was shown."}
        self.driver.http.call("POST", f"/verifications/{id}/review/decisions", decision)

    def scene_review_opened_by_hand(self) -> None:
        id = self._verify(self._known_fresh())
        self.driver.http.call("POST", f"/verifications/{id}/review")

    def scene_review_of_an_erased_account(self) -> None:
        account = self._unseen("fresh")
        self._close_match(account)
        self.driver.http.call("DELETE", f"/accounts/{account}")

    def scene_batch_started_shown_and_stopped(self) -> None:
        batch = self._batch(INVALID_LINE)
        self.driver.http.call("POST", f"/batches/{batch}/start")
        self.driver.http.call("GET", f"/batches/{batch}")
        self.driver.http.call("DELETE", f"/batches/{batch}")

    def scene_batch_shown_whose_run_was_never_started(self) -> None:
        """Whether the batch of the scene before is still importing when it is shown depends on how fast its workflow is."""
        batch = self._batch(INVALID_LINE)
        self._set(f"BATCH#{batch}", "BATCH", batch_state={"S": "importing"}, run={"N": "1"}, started_ms={"N": str(int(time.time() * 1000))})
        self.driver.http.call("GET", f"/batches/{batch}")
        self.driver.http.call("DELETE", f"/batches/{batch}")

    def scene_batch_uploaded_in_parts(self) -> None:
        batch = self._batch(INVALID_LINE, bytes=6 * 1024**3)
        self.driver.http.call("POST", f"/batches/{batch}/start")
        self.driver.http.call("DELETE", f"/batches/{batch}")

    def scene_batch_refused(self) -> None:
        tag = {"Idempotency-Key": f"scene-{time.time_ns()}"}
        self.driver.http.call("POST", "/batches", {"format": "csv", "bytes": 1024**5}, headers=tag)

    def scene_batch_imported_and_summarised(self) -> None:
        """Runs the steps without the workflow, because the workflow waits between them."""
        body = _manifest([self._known_fresh(), self._unseen("never_answering")]) + INVALID_LINE
        batch = self._batch(body)
        block = {"number": 0, "start": 0, "end": len(body)}
        self._set(f"BATCH#{batch}", "BATCH", started_ms={"N": str(int(time.time() * 1000))})
        for step, more in (
            ("plan", {}), ("scan", {"block": block}), ("cut", {"blocks": [block]}), ("import", {"range": {**block, "line": 1}}),
            ("imported", {}), ("collect", {"range": block, "pass": 1, "since": time.time()}), ("tally", {"pass": 1}), ("summarise", {}),
        ):  # fmt: skip
            self._invoke("ImportManifest", {"step": step, "batch": batch, **more})
        found = self.driver.http.call("GET", f"/batches/{batch}").body
        for url in (*found["results"].values(), found["rejects"]):
            requests.get(url, timeout=30)

    # -- parts of scenes -------------------------------------------------------------------------------------------------------------

    def _verify(self, account: str) -> str:
        answer = self.driver.request(account)
        return str((answer.body or {}).get("id", ""))

    def _close_match(self, account: str) -> str:
        """A verification that has a review."""
        answer = self.driver.request(account, {"name": "Margaret Louise Testerman", "phone": "555-555-0101"})
        id = str((answer.body or {}).get("id", ""))
        self._patiently(id)
        return id

    def _refresh_request(self, id: str, account: str, waiter: Mapping[str, Any], deadline: float) -> dict[str, Any]:
        """A verification's message in the refresh queue, with a waiter's token."""
        return {
            "verification": id, "ref": {"account": account, "mode": "test"}, "task_token": waiter["task_token"]["S"],
            "entered": "2027-01-15T08:00:00.000Z", "retry": 0, "not_before": 0, "requested_at": time.time(), "deadline": deadline,
            "priority": "single",
        }  # fmt: skip

    def _patiently(self, id: str) -> None:
        """Wait for a verdict, but only briefly, because there may be none while a permission is missing."""
        end = time.monotonic() + 4
        while id and time.monotonic() < end and not (self.driver.verification(id) or {}).get("verdict"):
            time.sleep(0.1)

    def _known_fresh(self) -> str:
        account = self._unseen("fresh")
        self._verify(account)
        return account

    def _disconnect(self, account: str) -> None:
        with self._without_events():
            self.driver.sim.change(account, action="disconnect")

    def _known_by_an_old_snapshot(self) -> str:
        """An account with an old stored snapshot and other owners at Stripe since then."""
        account = self._unseen("old")
        self.driver.request(account, max_age=365 * 86400)
        with self._without_events():
            self.driver.sim.change(account, action="prefetch", policy={"settle_seconds": 0})
            eventually(lambda: all(refresh["status"] != "pending" for refresh in self.driver.sim.state(account)["refreshes"]), 5)
        return account

    def _unseen_and_waited_for(self) -> str:
        """A fresh account that no function has read yet and that workflows wait for."""
        account = self._unseen("fresh")
        self._let_wait_for(account)
        return account

    def _unseen(self, scenario: str) -> str:
        account = f"fca_scene{time.time_ns()}"
        with self._without_events():
            self.driver.sim.link(scenario, id=account)
        return account

    @contextlib.contextmanager
    def _without_events(self) -> Iterator[None]:
        """Meanwhile Stripe sends no events, because another function would then do a part of the scene's work."""
        endpoints = list(self.driver.sim._webhooks.endpoints.values())
        for endpoint in endpoints:
            endpoint.enabled = False
        try:
            yield
        finally:
            for endpoint in endpoints:
                endpoint.enabled = True

    def _let_wait_for(self, account: str) -> None:
        for waiter in self._waiters:
            item = {**waiter, "pk": {"S": f"ACCOUNT#test/platform/{account}"}, "not_before_ms": {"N": "0"}}
            item.pop("joined", None)
            self.dynamodb.put_item(TableName=self.table, Item=item)

    @cached_property
    def _waiters(self) -> list[dict[str, Any]]:
        """The waiter of a single verification and that of a batch's. IAM does not check whether their tokens are still valid."""
        alone, child = (self._unseen("never_answering") for _ in range(2))
        self._verify(alone)
        self.driver.http.call("POST", f"/batches/{self._batch(_manifest([child]))}/start")
        return [eventually(partial(self._waiter, account)) for account in (alone, child)]

    def _waiter(self, account: str) -> dict[str, Any] | None:
        found = self.dynamodb.query(
            TableName=self.table, KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues={":pk": {"S": f"ACCOUNT#test/platform/{account}"}, ":sk": {"S": "WAITER#"}},
        )  # fmt: skip
        return dict(found["Items"][0]) if found["Items"] else None

    @contextlib.contextmanager
    def _no_free_slot(self, line: str) -> Iterator[None]:
        """The rate limiter has no free slot for an operation for some seconds."""
        self._set(f"PACE#{line}", "PACE", next_ms={"N": str(int(time.time() * 1000) + 4000)})
        try:
            yield
        finally:
            self._forget_pace(line)

    def _forget_pace(self, line: str) -> None:
        self.dynamodb.delete_item(TableName=self.table, Key={"pk": {"S": f"PACE#{line}"}, "sk": {"S": "PACE"}})

    def _batch(self, body: bytes, **more: Any) -> str:
        """A batch with an uploaded manifest."""
        answer = self.driver.http.call("POST", "/batches", {"format": "jsonl", **more}).body
        requests.put(answer["upload"]["urls"][0], body, timeout=30)
        return str(answer["id"])

    def _open_for_reconcile(self, account: str, kind: str = "refresh", **more: Mapping[str, str]) -> None:
        self._set(
            f"ACCOUNT#test/platform/{account}", "ACCOUNT",
            account={"S": account}, mode={"S": "test"}, open_kind={"S": kind}, open_since_ms={"N": "1"}, **more,
        )  # fmt: skip

    def _verification_without_a_workflow(self) -> None:
        """Stores a verification without starting its workflow, as a crash between the two does."""
        before = set(self.driver.table())
        start = next(permission for permission in self.roles.remember() if permission.action == "states:StartExecution")
        restore = self.roles.without(start)
        self._verify(self._unseen("never_answering"))
        restore()
        for pk, sk in set(self.driver.table()) - before:
            if sk == "VERIFICATION":
                self._age(pk.removeprefix("VERIFICATION#"))

    def _age(self, id: str, **more: Mapping[str, str]) -> None:
        """Make a verification look open for a long time."""
        self._set(f"VERIFICATION#{id}", "VERIFICATION", open_kind={"S": "verification"}, open_since_ms={"N": "1"}, **more)

    def _set(self, pk: str, sk: str, **values: Mapping[str, str]) -> None:
        self.dynamodb.update_item(
            TableName=self.table, Key={"pk": {"S": pk}, "sk": {"S": sk}},
            UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in values),
            ExpressionAttributeNames={f"#{name}": name for name in values},
            ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
        )  # fmt: skip

    def _consume(self, function: str, message: Mapping[str, Any], *, count: int) -> None:
        attributes = {"ApproximateReceiveCount": str(count)}
        self._invoke(function, queue_event({"MessageId": "m", "ReceiptHandle": "r", "Body": json.dumps(message), "Attributes": attributes}))

    def _invoke(self, function: str, event: Mapping[str, Any]) -> None:
        self.driver.stack.client("lambda").invoke(FunctionName=self.roles.physical[function], Payload=json.dumps(event))


def _manifest(accounts: Sequence[str]) -> bytes:
    return "".join(json.dumps({"account": account, "claim": MARGARET}) + "\n" for account in accounts).encode()


def play_all(scenes: Scenes) -> dict[Permission, list[str]]:
    """Play every scene. Returns for each permission that was used the scenes that used it, the shortest first."""
    using: dict[Permission, list[tuple[float, str]]] = {}
    for function in scenes.roles.functions:
        scenes.roles.cold_start(function)
    for name, scene in scenes.all():
        since, began = scenes.roles.decisions()[1], time.monotonic()
        scene()
        took = time.monotonic() - began
        for permission in scenes.roles.used(since):
            using.setdefault(permission, []).append((took, name))
    return {permission: [name for _, name in sorted(found)] for permission, found in using.items()}


def noticed_without(permission: Permission, scenes: Scenes, names: list[str]) -> bool:
    """Whether a call of one of the scenes is refused while the permission is taken away."""
    roles = scenes.roles
    secret = permission.action == "secretsmanager:GetSecretValue"
    restore = roles.without(permission)
    try:
        if secret:
            roles.cold_start(permission.function)
        for name in names:
            since = roles.decisions()[1]
            with contextlib.suppress(AssertionError, AttributeError, LookupError, TypeError, ValueError):
                getattr(scenes, name)()
            if roles.refused(permission, since):
                return True
        return False
    finally:
        restore()
        if secret:
            roles.cold_start(permission.function)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools.permissions", description="Take each permission away and check that a call is refused.")
    parser.add_argument("functions", nargs="*", metavar="FUNCTION", help="logical ids, such as Api (default: all)")
    only = set(parser.parse_args().functions)
    TRAIL.parent.mkdir(parents=True, exist_ok=True)
    TRAIL.unlink(missing_ok=True)
    parameters = {"SettleTimeoutSeconds": "8", "StripeEventBus": "default", "StripePreviewVersion": PREVIEW_VERSION}
    parameters["ReviewersNeeded"] = "1"
    with running(parameters=parameters, options=Options(settle_seconds=0.3, cooldown_seconds=3600.0), trail=TRAIL) as stack:
        roles = Roles(StackDriver(stack), TRAIL)
        scenes = Scenes(roles)
        held = roles.remember()
        using = play_all(scenes)
        exempt = [permission for permission in held if not roles.emulated(permission)]
        superfluous = [permission for permission in held if permission not in using and permission not in exempt]
        unused = roles.unused_kinds()
        noticed = 0
        for permission in held:
            if permission not in using or (only and permission.function not in only):
                continue
            # A function asks for cached values in its first scene only, so all scenes of the function are tried.
            its = [name for other in using if other.function == permission.function for name in using[other]]
            refused = noticed_without(permission, scenes, list(dict.fromkeys(using[permission] + its)))
            noticed += refused
            print(f"{'refused ' if refused else 'UNNOTICED'}  {permission}", flush=True)
            if not refused:
                superfluous.append(permission)
    for permission in exempt:
        print(f"exempt     {permission}")
    for permission in superfluous:
        print(f"SUPERFLUOUS  {permission}")
    for kind in unused:
        print(f"NOT SEEN   {kind}")
    if unused:
        print("No scene touches these kinds of items. tests/support/rights.py checks the calls of other tests.")
    print(f"\n{len(held)} permissions of {len(roles.functions)} roles: {noticed} taken away and noticed, {len(exempt)} exempt, "
          f"{len(superfluous)} superfluous.")  # fmt: skip
    return 1 if superfluous else 0


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _permissions(function: str, statement: Mapping[str, Any]) -> list[Permission]:
    condition = json.dumps(statement.get("Condition"), sort_keys=True)
    pairs = itertools.product(_list(statement["Action"]), _list(statement["Resource"]))
    return [Permission(function, action, resource, condition) for action, resource in pairs]


def _rest(policy: Mapping[str, Any], taken: Permission | None = None) -> list[dict[str, Any]]:
    """A policy's statements, one for each permission, without the one that is taken away."""
    return [
        {**statement, "Action": each.action, "Resource": each.resource}
        for statement in policy["Statement"]
        for each in _permissions(taken.function if taken else "", statement)
        if each != taken
    ]


def _covers(pattern: str, resource: str) -> bool:
    return fnmatchcase(resource, pattern)


if __name__ == "__main__":
    sys.exit(interruptible(main))
