"""What each role may do, and scenes short enough to be played once for each permission taken away.

    python -m tests.e2e.permissions [FUNCTION ...]

plays every scene, then takes each permission (an action on a resource) from its role in turn and plays a scene that used it: the call has
to be refused, else the permission is superfluous. Given functions, only theirs are taken. Exits with 1 if one is.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local.aws.paths import BUILD
from local.stack import STACK, running
from local.stripe_simulator.options import Options
from tests.e2e.bench import CREATED, Bench, eventually
from tests.support.functions import ROOT, queue_event

TESTER = "tester"
"""Name of the sessions in which tests take a function's role themselves."""
TRAIL = BUILD / "aws" / "permissions.jsonl"

NOT_EMULATED = {
    ("kms:Decrypt", "key/*"): "DynamoDB decrypts with the table's key in the caller's name",
    ("kms:GenerateDataKey", "key/*"): "DynamoDB encrypts with the table's key in the caller's name",
    ("sqs:SendMessage", "*-async-dead"): "Lambda itself sends what failed for good, by the function's role",
}
"""What AWS does by a function's role and the emulator does not: action, resource, and who does it."""

NOT_PLAYED = {
    ("Collect", "dynamodb:GetItem"): "a request repeated while the first still runs; a pace that Stripe slowed down",
    ("Collect", "dynamodb:DeleteItem"): "a request that failed, and may be repeated",
    ("FetchOwners", "dynamodb:BatchGetItem"): "a second snapshot, compared with the first",
    ("Reconcile", "dynamodb:BatchGetItem"): "a second snapshot, compared with the first",
    ("StartRefresh", "dynamodb:BatchGetItem"): "a second snapshot, compared with the first",
    ("FetchOwners", "sqs:SendMessage"): "an event deferred by the pace",
    ("StartRefresh", "sqs:SendMessage"): "a refresh request deferred by the pace",
}
"""What no scene reaches yet, so that nothing here says whether it is needed, and what it is held for. To become empty."""


@dataclass(frozen=True)
class Permission:
    """One action on one resource that a function's role allows. `function` is the logical id."""

    function: str
    action: str
    resource: str

    @property
    def emulated(self) -> bool:
        name = self.resource.split(":", 5)[5]
        return not any(self.action == action and fnmatchcase(name, pattern) for action, pattern in NOT_EMULATED)

    @property
    def played(self) -> bool:
        """Whether scenes reach it: none runs a batch yet, nor opens what another function sealed."""
        of_batches = self.function in ("Batches", "ImportManifest") or self.action.startswith("s3:") or "verify-batch" in self.resource
        return not of_batches and not self.resource.endswith("-keys") and (self.function, self.action) not in NOT_PLAYED

    def __str__(self) -> str:
        return f"{self.function:16} {self.action:32} {self.resource.split(':', 5)[5]}"


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

    def policies(self, function: str) -> dict[str, dict[str, Any]]:
        role = self.functions[function]
        names = self._iam.list_role_policies(RoleName=role)["PolicyNames"]
        return {name: self._iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names}

    def permissions(self) -> list[Permission]:
        return [
            Permission(function, action, resource)
            for function in sorted(self.functions)
            for policy in self.policies(function).values()
            for statement in policy["Statement"]
            if statement["Effect"] == "Allow"
            for action, resource in itertools.product(_list(statement["Action"]), _list(statement["Resource"]))
        ]

    def without(self, permission: Permission) -> Callable[[], None]:
        """Take a permission away; returns what gives it back."""
        role, before = self.functions[permission.function], self.policies(permission.function)
        for name, policy in before.items():
            statements = []
            for statement in policy["Statement"]:
                for action, resource in itertools.product(_list(statement["Action"]), _list(statement["Resource"])):
                    if (action, resource) != (permission.action, permission.resource):
                        statements.append({**statement, "Action": action, "Resource": resource})
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
        for permission in self.permissions() if allowed else self._all:
            held.setdefault((self.functions[permission.function], permission.action), []).append(permission)
        return {
            permission
            for decision in self.decisions(since)[0]
            if decision["allowed"] is allowed
            for permission in held.get((decision["role"], decision["action"]), ())
            if _covers(permission.resource, decision["resource"])
        }

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
        self._ids = itertools.count(1)

    def all(self) -> Iterator[tuple[str, Callable[[], None]]]:
        for name in dir(self):
            if name.startswith("scene_"):
                yield name, getattr(self, name)

    def scene_verified_through_the_workflow(self) -> None:
        account = self.bench.link("single_owner")
        self._patiently(self._verify(account))

    def scene_answered_at_once_at_first_sight(self) -> None:
        account = self._unseen_and_waited_for()
        self._verify(account)

    def scene_owners_and_account_read(self) -> None:
        account = self._known_fresh()
        for path in ("", "/owners"):
            self.bench.http.call("GET", f"/accounts/{account}{path}")

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

    def scene_verification_cancelled(self) -> None:
        self.bench.http.call("DELETE", f"/verifications/{self._verify(self.bench.link('never_answering'))}")

    def scene_refused_by_the_accounts_state(self) -> None:
        self._patiently(self._verify(self.bench.link("inactive")))

    def scene_refresh_asked_for(self) -> None:
        account = self._unseen_and_waited_for()
        self.bench.http.call("POST", f"/accounts/{account}/refreshes")

    def scene_refresh_of_a_disconnected_account_asked_for(self) -> None:
        account = self._known_fresh()
        self._disconnect(account)
        # Forgotten, so that it is read again.
        self.dynamodb.delete_item(TableName=self.table, Key={"pk": {"S": f"ACCOUNT#test/platform/{account}"}, "sk": {"S": "ACCOUNT"}})
        self.bench.http.call("POST", f"/accounts/{account}/refreshes")

    def scene_refresh_request_deferred(self) -> None:
        later = str(int(time.time() * 1000) + 4000)
        self.dynamodb.put_item(TableName=self.table, Item={"pk": {"S": "PACE#refresh"}, "sk": {"S": "PACE"}, "next_ms": {"N": later}})
        self._consume("StartRefresh", {"verification": "none"}, count=1)
        self.dynamodb.delete_item(TableName=self.table, Key={"pk": {"S": "PACE#refresh"}, "sk": {"S": "PACE"}})

    def scene_refresh_request_buried(self) -> None:
        self._consume("StartRefresh", {"verification": "none"}, count=1)
        self._consume("StartRefresh", {"verification": "none"}, count=7)

    def scene_event_fetched(self) -> None:
        account = self._unseen_and_waited_for()
        self._consume("FetchOwners", {"event": "evt_scene", "account": account, "mode": "test"}, count=1)

    def scene_event_of_a_disconnected_account_fetched(self) -> None:
        account = self._known_fresh()
        self._disconnect(account)
        self._consume("FetchOwners", {"event": "evt_scene", "account": account, "mode": "test"}, count=1)

    def scene_event_buried(self) -> None:
        self._consume("FetchOwners", {"event": "evt_scene"}, count=1)
        self._consume("FetchOwners", {"event": "evt_scene"}, count=7)

    def scene_erased_while_it_is_waited_for(self) -> None:
        account = self.bench.link("never_answering")
        id = self._verify(account)
        eventually(lambda: ("ACCOUNT#test/platform/" + account, f"WAITER#{id}") in self.bench.table(), 5)
        self.bench.http.call("DELETE", f"/accounts/{account}")

    def scene_unknown_account_erased(self) -> None:
        self.bench.http.call("DELETE", f"/accounts/fca_nobody{time.time_ns()}")

    def scene_disconnected_account_found_by_reconcile(self) -> None:
        account = self._known_fresh()
        self._disconnect(account)
        key = {"pk": {"S": f"ACCOUNT#test/platform/{account}"}, "sk": {"S": "ACCOUNT"}}
        item = {**key, "account": {"S": account}, "mode": {"S": "test"}, "open_kind": {"S": "refresh"}, "open_since_ms": {"N": "1"}}
        self.dynamodb.put_item(TableName=self.table, Item=item)
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
        account = self.bench.link("never_answering")
        id = self._verify(account)
        eventually(lambda: ("ACCOUNT#test/platform/" + account, f"WAITER#{id}") in self.bench.table(), 5)
        self._invoke("VerifyOwners", {"verification": id, "refresh": {"Error": "States.Timeout"}})

    def scene_reconciled(self) -> None:
        account = self._unseen_and_waited_for()
        key = {"pk": {"S": f"ACCOUNT#test/platform/{account}"}, "sk": {"S": "ACCOUNT"}}
        item = {**key, "account": {"S": account}, "mode": {"S": "test"}, "open_kind": {"S": "refresh"}, "open_since_ms": {"N": "1"}}
        self.dynamodb.put_item(TableName=self.table, Item=item)
        self._verification_nobody_works_on()
        self._invoke("Reconcile", {})

    def scene_reconciled_after_a_workflow_failed(self) -> None:
        id = self._verify(self.bench.link("never_answering"))
        machine = self.bench.stack.outputs["StateMachineArn"]
        with contextlib.suppress(ClientError):
            arn = f"{machine.replace(':stateMachine:', ':execution:')}:{id}"
            self.bench.stack.client("stepfunctions").stop_execution(executionArn=arn)
        self._age(id)
        self._invoke("Reconcile", {})

    def scene_lost_event_found(self) -> None:
        self.bench.sim.fail_webhooks("drop", type=CREATED)
        self.bench.sim.link("fresh", id=f"fca_scene{next(self._ids)}{time.time_ns()}")
        self.bench.sim.clear_faults()
        self._invoke("Reconcile", {})

    # -- what scenes are made of -----------------------------------------------------------------------------------------------------

    def _verify(self, account: str) -> str:
        answer = self.bench.request(account)
        return str((answer.body or {}).get("id", ""))

    def _patiently(self, id: str) -> None:
        """Wait for a verdict, but not for long: where a permission is missing there may be none."""
        end = time.monotonic() + 4
        while id and time.monotonic() < end and not (self.bench.verification(id) or {}).get("verdict"):
            time.sleep(0.1)

    def _known_fresh(self) -> str:
        account = self.bench.link("fresh")
        self._verify(account)
        return account

    def _disconnect(self, account: str) -> None:
        self.bench.sim.fail_webhooks("drop", account=account, times=None)
        self.bench.sim.change(account, action="disconnect")

    def _unseen_and_waited_for(self) -> str:
        """A fresh account that no function has read yet, and for which a workflow waits."""
        account = f"fca_scene{time.time_ns()}"
        self.bench.sim.fail_webhooks("drop", account=account, times=None)
        self.bench.sim.link("fresh", id=account)
        waiting = self.bench.link("never_answering")
        id = self._verify(waiting)
        found = eventually(lambda: self.bench.table().get((f"ACCOUNT#test/platform/{waiting}", f"WAITER#{id}")), 8)
        item = {**found, "pk": {"S": f"ACCOUNT#test/platform/{account}"}, "not_before_ms": {"N": "0"}}
        item.pop("joined", None)
        self.dynamodb.put_item(TableName=self.table, Item=item)
        return account

    def _verification_nobody_works_on(self) -> None:
        """As when a function dies between storing a verification and starting its workflow."""
        before = set(self.bench.table())
        start = next(permission for permission in self.roles.remember() if permission.action == "states:StartExecution")
        restore = self.roles.without(start)
        self._verify(self.bench.link("never_answering"))
        restore()
        for pk, sk in set(self.bench.table()) - before:
            if sk == "VERIFICATION":
                self._age(pk.removeprefix("VERIFICATION#"))

    def _age(self, id: str) -> None:
        """Let a verification be open since long ago."""
        self.dynamodb.update_item(
            TableName=self.table, Key={"pk": {"S": f"VERIFICATION#{id}"}, "sk": {"S": "VERIFICATION"}},
            UpdateExpression="SET open_kind = :kind, open_since_ms = :long_ago",
            ExpressionAttributeValues={":kind": {"S": "verification"}, ":long_ago": {"N": "1"}},
        )  # fmt: skip

    def _consume(self, function: str, message: Mapping[str, Any], *, count: int) -> None:
        attributes = {"ApproximateReceiveCount": str(count)}
        self._invoke(function, queue_event({"MessageId": "m", "ReceiptHandle": "r", "Body": json.dumps(message), "Attributes": attributes}))

    def _invoke(self, function: str, event: Mapping[str, Any]) -> None:
        self.bench.stack.client("lambda").invoke(FunctionName=self.roles.physical[function], Payload=json.dumps(event))


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
            with contextlib.suppress(AssertionError, KeyError, TypeError, ValueError):
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
        exempt = [permission for permission in held if permission not in using and not (permission.emulated and permission.played)]
        superfluous = [permission for permission in held if permission not in using and permission.emulated and permission.played]
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
    print(f"\n{len(held)} permissions of {len(roles.functions)} roles: {noticed} taken away and noticed, {len(exempt)} exempt, "
          f"{len(superfluous)} superfluous.")  # fmt: skip
    return 1 if superfluous else 0


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _covers(pattern: str, resource: str) -> bool:
    return fnmatchcase(resource, pattern)


if __name__ == "__main__":
    sys.exit(main())
