"""What each role may do, and scenes short enough to be played once for each permission taken away.

    python -m tests.e2e.permissions [FUNCTION ...]

plays every scene, then takes each permission (an action on a resource) from its role in turn and plays a scene that used it: the call has
to be refused, else the permission is superfluous. Given functions, only theirs are taken. Exits with 1 if one is.
"""

from __future__ import annotations

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
from local.stack import STACK, running
from local.stripe_simulator.options import Options
from tests.e2e.bench import CREATED, MARGARET, Bench, eventually
from tests.support.functions import ROOT, queue_event

TESTER = "tester"
"""Name of the sessions in which tests take a function's role themselves."""
TRAIL = BUILD / "aws" / "permissions.jsonl"
NOTHING_OF_USE = b"{}\n"
"""A manifest that is rejected line by line."""

NOT_EMULATED = {
    ("kms:Decrypt", "Key"): "DynamoDB and S3 decrypt with the stack's key in the caller's name",
    ("kms:GenerateDataKey", "Key"): "DynamoDB and S3 encrypt with the stack's key in the caller's name",
    ("sqs:SendMessage", "AsyncDeadLetterQueue"): "Lambda itself sends what failed for good, by the function's role",
}
"""What AWS does by a function's role and the emulator does not: action, logical id of the resource, and who does it."""


@dataclass(frozen=True)
class Permission:
    """One action on one resource that a function's role allows, and under which condition. `function` is the logical id."""

    function: str
    action: str
    resource: str
    condition: str = "null"

    @property
    def kinds(self) -> list[str]:
        """The kinds of items that it is for, such as `EVENT`; none if it is for all."""
        patterns = ((json.loads(self.condition) or {}).get("ForAllValues:StringLike") or {}).get("dynamodb:LeadingKeys", ())
        return [pattern.removesuffix("#*") for pattern in patterns]

    def covers_keys(self, kinds: Sequence[str]) -> bool:
        """Whether a call may touch items of these kinds by it."""
        return not self.kinds or set(kinds) <= set(self.kinds)

    def __str__(self) -> str:
        text = f"{self.function:16} {self.action:32} {self.resource.split(':', 5)[5]}"
        return text if self.condition == "null" else f"{text}   if {self.condition}"


class Roles:
    """The roles of the deployed functions, as IAM has them."""

    def __init__(self, bench: Bench, trail: Path) -> None:
        self.bench = bench
        self._iam = bench.stack.client("iam")
        self._trail = trail

    @cached_property
    def physical(self) -> dict[str, str]:
        """Physical ids by logical ids."""
        found = self.bench.stack.client("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
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

    def policies(self, function: str) -> dict[str, dict[str, Any]]:
        role = self.functions[function]
        names = self._iam.list_role_policies(RoleName=role)["PolicyNames"]
        return {name: self._iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names}

    def permissions(self) -> list[Permission]:
        return [
            permission
            for function in sorted(self.functions)
            for policy in self.policies(function).values()
            for statement in policy["Statement"]
            if statement["Effect"] == "Allow"
            for permission in _permissions(function, statement)
        ]

    def without(self, permission: Permission) -> Callable[[], None]:
        """Take a permission away; returns what gives it back."""
        role, before = self.functions[permission.function], self.policies(permission.function)
        for name, policy in before.items():
            statements = [
                {**statement, "Action": each.action, "Resource": each.resource}
                for statement in policy["Statement"]
                for each in _permissions(permission.function, statement)
                if each != permission
            ]
            document = json.dumps({**policy, "Statement": statements})
            self._iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=document)

        def restore() -> None:
            for name, policy in before.items():
                self._iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(policy))

        return restore

    def cold_start(self, function: str) -> None:
        """Let a function forget what it keeps in memory, such as secrets."""
        name, functions = self.physical[function], self.bench.stack.client("lambda")
        variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": {**variables, "BEGUN": str(time.time())}})

    def decisions(self, since: int = 0) -> tuple[list[dict[str, Any]], int]:
        """What IAM decided since that place in the trail, and where the trail ends now."""
        with self._trail.open() as trail:
            trail.seek(since)
            return [json.loads(line) for line in trail.read().splitlines()], trail.tell()

    def used(self, since: int, *, allowed: bool = True) -> set[Permission]:
        """The permissions by which calls were allowed since then (or for want of which they were refused)."""
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
        """The kinds of items (partition keys up to their #) that a permission names and that none of its calls has touched."""
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
        """Whether a call was refused for want of the permission since then, or is within so many seconds."""
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
        """Every permission, as they stand before any is taken away."""
        return self._all


class Scenes:
    """Ways through the functions, each as short as will do. They pass over refusals: what counts is what IAM decided."""

    def __init__(self, roles: Roles) -> None:
        self.roles = roles
        self.bench = roles.bench
        self.table = self.bench.stack.outputs["TableName"]
        self.dynamodb = self.bench.stack.client("dynamodb")

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
            self.bench.http.call("GET", f"/accounts/{account}{path}")

    def scene_owners_read_that_another_function_stored(self) -> None:
        account = self._unseen("fresh")
        self._consume("FetchOwners", {"event": "evt_scene", "account": account, "mode": "test"}, count=1)
        self.bench.http.call("GET", f"/accounts/{account}/owners")

    def scene_verified_although_dead(self) -> None:
        account = self._known_fresh()
        self._disconnect(account)
        self.bench.http.call("GET", f"/accounts/{account}")
        self._verify(account)

    def scene_customer_and_session_made_and_collected(self) -> None:
        tag = {"Idempotency-Key": f"scene-{time.time_ns()}"}
        customer = self.bench.http.call("POST", "/customers", {"email": "scene@example.com"}, headers=tag).body or {}
        self.bench.http.call("POST", "/customers", {"email": "scene@example.com"}, headers=tag)
        body = {"customer": customer.get("id", "cus_none"), "via": "financial_connections"}
        session = self.bench.http.call("POST", "/sessions", body, headers=tag).body or {}
        self.bench.http.call("GET", f"/sessions/{session.get('id', 'fcsess_none')}")
        self.bench.http.call("GET", f"/accounts?customer={customer.get('id', 'cus_none')}")

    def scene_customer_refused_by_stripe_for_its_pace_and_then_made(self) -> None:
        tag = {"Idempotency-Key": f"scene-{time.time_ns()}"}
        self.bench.sim.fail_api("rate_limit", method="POST", path="/v1/customers", should_retry=False)
        for _ in range(2):
            self.bench.http.call("POST", "/customers", {"email": "scene@example.com"}, headers=tag)
        self._forget_pace("other")

    def scene_verification_cancelled(self) -> None:
        id = self._verify(self._unseen("never_answering"))
        self.bench.http.call("DELETE", f"/verifications/{id}")

    def scene_refused_by_the_accounts_state(self) -> None:
        self._patiently(self._verify(self._unseen("inactive")))

    def scene_refresh_asked_for(self) -> None:
        self.bench.http.call("POST", f"/accounts/{self._unseen_and_waited_for()}/refreshes")

    def scene_second_snapshot_found_by_who_asks_for_a_refresh(self) -> None:
        self.bench.http.call("POST", f"/accounts/{self._known_by_an_old_snapshot()}/refreshes")

    def scene_refresh_of_a_disconnected_account_asked_for(self) -> None:
        account = self._known_fresh()
        self._disconnect(account)
        # Forgotten, so that it is read again.
        self.dynamodb.delete_item(TableName=self.table, Key={"pk": {"S": f"ACCOUNT#test/platform/{account}"}, "sk": {"S": "ACCOUNT"}})
        self.bench.http.call("POST", f"/accounts/{account}/refreshes")

    def scene_refresh_request_deferred(self) -> None:
        account, child = self._unseen("never_answering"), self._waiters[1]
        with self._no_place("read"), self._no_place("refresh"):
            id = self._verify(account)
            # Its own token is not spent yet: a message whose workflow does not wait any more is not put back.
            for waiter in (eventually(partial(self._waiter, account), 5), child):
                self._consume("StartRefresh", self._refresh_request(id, account, waiter, time.time() + 60), count=1)
            # The message comes again once the scene is over, and finds that its verification has ended.
            self.bench.http.call("DELETE", f"/verifications/{id}")

    def scene_refresh_request_given_up(self) -> None:
        account = self._unseen("never_answering")
        id = self._verify(account)
        for waiter in self._waiters:
            self._consume("StartRefresh", self._refresh_request(id, account, waiter, time.time() - 60), count=1)

    def scene_refresh_request_buried(self) -> None:
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
        with self._no_place("read"):
            self._consume("FetchOwners", {"event": "evt_scene", "account": account, "mode": "test"}, count=1)

    def scene_event_of_a_disconnected_account_fetched(self) -> None:
        account = self._known_fresh()
        self._disconnect(account)
        self._consume("FetchOwners", {"event": "evt_scene", "account": account, "mode": "test"}, count=1)

    def scene_event_buried(self) -> None:
        self._consume("FetchOwners", {"event": "evt_scene"}, count=1)
        self._consume("FetchOwners", {"event": "evt_scene"}, count=7)

    def scene_erased_while_it_is_waited_for(self) -> None:
        account = self._known_fresh()
        self._let_wait_for(account)
        with self._unheard():
            self.bench.http.call("DELETE", f"/accounts/{account}")

    def scene_unknown_account_erased(self) -> None:
        self.bench.http.call("DELETE", f"/accounts/fca_nobody{time.time_ns()}")

    def scene_erasure_ended_by_reconcile(self) -> None:
        account = self._known_fresh()
        self._let_wait_for(account)
        self._open_for_reconcile(account, kind="erasure", erased_ms={"N": "1"})
        self._invoke("Reconcile", {})

    def scene_webhook_received(self) -> None:
        before = len(self.bench.sim.deliveries())
        self.bench.sim.link("fresh", id=f"fca_scene{time.time_ns()}")
        eventually(lambda: len(self.bench.sim.deliveries()) > before, 5)

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
        self._verification_nobody_works_on()
        self._invoke("Reconcile", {})

    def scene_reconciled_after_a_workflow_failed(self) -> None:
        id = self._verify(self._unseen("never_answering"))
        machine = self.bench.stack.outputs["StateMachineArn"]
        with contextlib.suppress(ClientError):
            arn = f"{machine.replace(':stateMachine:', ':execution:')}:{id}"
            self.bench.stack.client("stepfunctions").stop_execution(executionArn=arn)
        self._age(id)
        self._invoke("Reconcile", {})

    def scene_reconciled_long_after_the_deadline(self) -> None:
        self._age(self._verify(self._unseen("never_answering")), deadline_ms={"N": "1"})
        # Its owners are there.
        answered = self._verify(self._known_fresh())
        self.dynamodb.update_item(
            TableName=self.table, Key={"pk": {"S": f"VERIFICATION#{answered}"}, "sk": {"S": "VERIFICATION"}},
            UpdateExpression="REMOVE verdict, completed_ms",
        )  # fmt: skip
        self._age(answered, deadline_ms={"N": "1"})
        self._invoke("Reconcile", {})

    def scene_lost_event_found(self) -> None:
        self.bench.sim.fail_webhooks("drop", type=CREATED)
        self.bench.sim.link("fresh", id=f"fca_scene{time.time_ns()}")
        self._invoke("Reconcile", {})

    def scene_batch_started_shown_and_stopped(self) -> None:
        batch = self._batch(NOTHING_OF_USE)
        self.bench.http.call("POST", f"/batches/{batch}/start")
        self.bench.http.call("GET", f"/batches/{batch}")
        self.bench.http.call("DELETE", f"/batches/{batch}")

    def scene_batch_uploaded_in_parts(self) -> None:
        batch = self._batch(NOTHING_OF_USE, bytes=6 * 1024**3)
        self.bench.http.call("POST", f"/batches/{batch}/start")
        self.bench.http.call("DELETE", f"/batches/{batch}")

    def scene_batch_refused(self) -> None:
        tag = {"Idempotency-Key": f"scene-{time.time_ns()}"}
        self.bench.http.call("POST", "/batches", {"format": "csv", "bytes": 1024**5}, headers=tag)

    def scene_batch_imported_and_summarised(self) -> None:
        """The steps without the workflow, which would wait between them."""
        body = _manifest([self._known_fresh(), self._unseen("never_answering")]) + NOTHING_OF_USE
        batch = self._batch(body)
        block = {"number": 0, "start": 0, "end": len(body)}
        self._set(f"BATCH#{batch}", "BATCH", started_ms={"N": str(int(time.time() * 1000))})
        for step, more in (
            ("plan", {}), ("scan", {"block": block}), ("cut", {"blocks": [block]}), ("import", {"range": {**block, "line": 1}}),
            ("imported", {}), ("collect", {"range": block, "pass": 1, "since": time.time()}), ("tally", {"pass": 1}), ("summarise", {}),
        ):  # fmt: skip
            self._invoke("ImportManifest", {"step": step, "batch": batch, **more})
        found = self.bench.http.call("GET", f"/batches/{batch}").body
        for url in (*found["results"].values(), found["rejects"]):
            requests.get(url, timeout=30)

    # -- what scenes are made of -----------------------------------------------------------------------------------------------------

    def _verify(self, account: str) -> str:
        answer = self.bench.request(account)
        return str((answer.body or {}).get("id", ""))

    def _refresh_request(self, id: str, account: str, waiter: Mapping[str, Any], deadline: float) -> dict[str, Any]:
        """A verification's message in the refresh queue, with the token of a waiter."""
        return {
            "verification": id, "ref": {"account": account, "mode": "test"}, "task_token": waiter["task_token"]["S"],
            "entered": "2027-01-15T08:00:00.000Z", "retry": 0, "not_before": 0, "requested_at": time.time(), "deadline": deadline,
            "priority": "single",
        }  # fmt: skip

    def _patiently(self, id: str) -> None:
        """Wait for a verdict, but not for long: where a permission is missing there may be none."""
        end = time.monotonic() + 4
        while id and time.monotonic() < end and not (self.bench.verification(id) or {}).get("verdict"):
            time.sleep(0.1)

    def _known_fresh(self) -> str:
        account = self._unseen("fresh")
        self._verify(account)
        return account

    def _disconnect(self, account: str) -> None:
        with self._unheard():
            self.bench.sim.change(account, action="disconnect")

    def _known_by_an_old_snapshot(self) -> str:
        """An account whose owners are known of old, and that has others since."""
        account = self._unseen("old")
        self.bench.request(account, max_age=365 * 86400)
        with self._unheard():
            self.bench.sim.change(account, action="prefetch", policy={"settle_seconds": 0})
            eventually(lambda: all(refresh["status"] != "pending" for refresh in self.bench.sim.state(account)["refreshes"]), 5)
        return account

    def _unseen_and_waited_for(self) -> str:
        """A fresh account that no function has read yet, and for which workflows wait."""
        account = self._unseen("fresh")
        self._let_wait_for(account)
        return account

    def _unseen(self, scenario: str) -> str:
        account = f"fca_scene{time.time_ns()}"
        with self._unheard():
            self.bench.sim.link(scenario, id=account)
        return account

    @contextlib.contextmanager
    def _unheard(self) -> Iterator[None]:
        """What Stripe has to tell meanwhile it tells nobody: else another function would do a part of the scene's work."""
        endpoints = list(self.bench.sim._webhooks.endpoints.values())
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
        """One of a verification alone and one of a batch's. Whether their tokens are spent IAM does not ask."""
        alone, child = (self._unseen("never_answering") for _ in range(2))
        self._verify(alone)
        self.bench.http.call("POST", f"/batches/{self._batch(_manifest([child]))}/start")
        return [eventually(partial(self._waiter, account)) for account in (alone, child)]

    def _waiter(self, account: str) -> dict[str, Any] | None:
        found = self.dynamodb.query(
            TableName=self.table, KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues={":pk": {"S": f"ACCOUNT#test/platform/{account}"}, ":sk": {"S": "WAITER#"}},
        )  # fmt: skip
        return dict(found["Items"][0]) if found["Items"] else None

    @contextlib.contextmanager
    def _no_place(self, line: str) -> Iterator[None]:
        """Stripe may not be called in a line for seconds."""
        self._set(f"PACE#{line}", "PACE", next_ms={"N": str(int(time.time() * 1000) + 4000)})
        try:
            yield
        finally:
            self._forget_pace(line)

    def _forget_pace(self, line: str) -> None:
        self.dynamodb.delete_item(TableName=self.table, Key={"pk": {"S": f"PACE#{line}"}, "sk": {"S": "PACE"}})

    def _batch(self, body: bytes, **more: Any) -> str:
        """A batch whose manifest is there."""
        answer = self.bench.http.call("POST", "/batches", {"format": "jsonl", **more}).body
        requests.put(answer["upload"]["urls"][0], body, timeout=30)
        return str(answer["id"])

    def _open_for_reconcile(self, account: str, kind: str = "refresh", **more: Mapping[str, str]) -> None:
        self._set(
            f"ACCOUNT#test/platform/{account}", "ACCOUNT",
            account={"S": account}, mode={"S": "test"}, open_kind={"S": kind}, open_since_ms={"N": "1"}, **more,
        )  # fmt: skip

    def _verification_nobody_works_on(self) -> None:
        """As when a function dies between storing a verification and starting its workflow."""
        before = set(self.bench.table())
        start = next(permission for permission in self.roles.remember() if permission.action == "states:StartExecution")
        restore = self.roles.without(start)
        self._verify(self._unseen("never_answering"))
        restore()
        for pk, sk in set(self.bench.table()) - before:
            if sk == "VERIFICATION":
                self._age(pk.removeprefix("VERIFICATION#"))

    def _age(self, id: str, **more: Mapping[str, str]) -> None:
        """Let a verification be open since long ago."""
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
        self.bench.stack.client("lambda").invoke(FunctionName=self.roles.physical[function], Payload=json.dumps(event))


def _manifest(accounts: Sequence[str]) -> bytes:
    return "".join(json.dumps({"account": account, "claim": MARGARET}) + "\n" for account in accounts).encode()


def play_all(scenes: Scenes) -> dict[Permission, list[str]]:
    """Play every scene; for each permission that was used, the scenes that used it, the shortest first."""
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
    """Whether one of the scenes has a call refused while the permission is taken away."""
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
    only = set(sys.argv[1:])
    TRAIL.parent.mkdir(parents=True, exist_ok=True)
    TRAIL.unlink(missing_ok=True)
    parameters = {"SettleTimeoutSeconds": "8", "StripeEventBus": "default"}
    with running(parameters=parameters, options=Options(settle_seconds=0.3, cooldown_seconds=3600.0), trail=TRAIL) as stack:
        roles = Roles(Bench(stack), TRAIL)
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
            # What a function keeps in memory it asks for in the first scene only, so any scene of its own will do.
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
        print(f"NOT SEEN     {kind}: a kind of item that no scene has the function touch; tests/support/rights.py may know one that does")
    print(f"\n{len(held)} permissions of {len(roles.functions)} roles: {noticed} taken away and noticed, {len(exempt)} exempt, "
          f"{len(superfluous)} superfluous.")  # fmt: skip
    return 1 if superfluous else 0


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _permissions(function: str, statement: Mapping[str, Any]) -> list[Permission]:
    condition = json.dumps(statement.get("Condition"), sort_keys=True)
    pairs = itertools.product(_list(statement["Action"]), _list(statement["Resource"]))
    return [Permission(function, action, resource, condition) for action, resource in pairs]


def _covers(pattern: str, resource: str) -> bool:
    return fnmatchcase(resource, pattern)


if __name__ == "__main__":
    sys.exit(main())
