"""Rehearses the procedures of docs/recovery.md and docs/upgrading.md on an embedded stack, and prints what was checked.

    python -m local.rehearse [procedure ...]

Exits with 1 if a check fails. The commands are those of `tools.recovery`, with the arguments that an operator gives.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import os
import secrets
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import requests
from botocore.exceptions import ClientError

from local.aws import deploy
from local.aws.emulator import ACCOUNT, REGION, client_environment
from local.aws.paths import BUILD, ROOT
from local.client import Client
from local.command import CommandError, interruptible
from local.stack import DEFAULT_API_KEY, STACK, Stack, running
from local.stripe_simulator.core import Simulator
from local.stripe_simulator.options import Options
from titleholder.domain.accounts import AccountRef
from titleholder.domain.refresh_policy import CLOCK_SKEW
from tools.recovery import __main__ as recovery
from tools.recovery import data, restore
from tools.recovery.stack import Deployed, load_template

MARGARET = {"name": "Margaret Testerman"}
RESTORED = "titleholder-restored"
SETTLE_TIMEOUT_SECONDS = 8
WITHIN_SECONDS = 60.0
COOLDOWN_SECONDS = 120
RELEASES = {"0.1.0": "57a6204", "0.2.0": "ccdc4fa"}
"""The commits of earlier releases. The last one is the one that is upgraded from."""
FROM = os.environ.get("FROM") or list(RELEASES)[-1]
TEMPLATE = ROOT / "template.yaml"


class FailedError(CommandError):
    """A check of a rehearsal failed. The message says which."""


class NotRehearsedError(CommandError):
    """A procedure can't be rehearsed here. The message says why."""


@dataclass
class Rehearsal:
    """A running stack, and what an operator and callers do with it. `checked`: what the present procedure has checked."""

    stack: Stack
    checked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @property
    def simulator(self) -> Simulator:
        assert self.stack.stripe is not None
        return self.stack.stripe.simulator

    @property
    def http(self) -> Client:
        return Client(self.stack.api_url)

    def check(self, what: str, holds: bool, found: Any = "") -> None:
        if not holds:
            raise FailedError(f"{what}: {found}")
        self.checked.append(what)

    def tool(self, *arguments: str) -> list[str]:
        """Run a recovery command, as a user who may do what docs/iam/operator.json allows; returns what it said."""
        options = recovery.parser().parse_args(
            ["--stack", STACK, "--region", REGION, "--endpoint-url", self.stack.aws.endpoint, *arguments]
        )
        said: list[str] = []
        waiting = {"sleep": lambda seconds: time.sleep(min(seconds, 0.05))}
        with operator(self.stack) as variables, environment(variables):
            boto3.setup_default_session()  # The earlier session has kept its user's key.
            recovery.run(options, said.append, **waiting)
        boto3.setup_default_session()
        self.said += said
        return said

    def deployed(self) -> Deployed:
        return Deployed.find(STACK, REGION, self.stack.client)

    def deploy(self, template: Path = TEMPLATE, **parameters: str) -> None:
        """Update the stack in place, with its parameters and these."""
        self.quiet()
        self.deploy_with({**self.deployed().parameters, **parameters}, template)

    def quiet(self) -> None:
        """Wait until no message is in a queue or at work. The emulator ends functions in the middle of their work when they are updated."""
        sqs, stack = self.stack.client("sqs"), self.deployed()
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        urls = [stack.resources[queue] for queue in ("RefreshQueue", "EventsQueue")]
        until(
            lambda: (
                not sum(int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"][n]) for url in urls for n in names)
            )
        )
        time.sleep(1)

    def deploy_with(self, parameters: Mapping[str, str], template: Path = TEMPLATE) -> None:
        """Create or update the stack. Parameters that the template does not have are left out."""
        given = {name: value for name, value in parameters.items() if name in load_template(template)["Parameters"]}
        self.stack.outputs = deploy.deploy(template, self.stack.aws.endpoint, STACK, given)

    def link(self, scenario: str = "single_owner", **details: Any) -> str:
        account = f"fca_rehearsed{secrets.token_hex(4)}"
        self.simulator.fail_webhooks("drop", type="financial_connections.account.created", account=account)
        self.simulator.link(scenario, id=account, **details)
        return account

    def accept(self, account: str, key: str | None = None, **more: Any) -> str:
        """The id of an accepted verification."""
        headers = {"Idempotency-Key": key or account}
        answer = self.http.call("POST", "/verifications", {"account": account, "claim": MARGARET, **more}, headers=headers)
        self.check("a verification is accepted", answer.status in (200, 202), answer)
        return str(answer.body["id"])

    def batch(self, accounts: Sequence[str]) -> str:
        """The id of a batch that was started."""
        made = self.http.call("POST", "/batches", {"format": "jsonl"}, headers={"Idempotency-Key": f"batch-{accounts[0]}"}).body
        lines = b"".join(json.dumps({"account": account, "claim": MARGARET}).encode() + b"\n" for account in accounts)
        requests.put(made["upload"]["urls"][0], lines, timeout=60).raise_for_status()
        answer = self.http.call("POST", f"/batches/{made['id']}/start", {})
        self.check("a batch is started", answer.status == 202, answer)
        return str(made["id"])

    def outcome(self, verification: str, within: float = WITHIN_SECONDS) -> str:
        """The outcome of a verification, once it has a verdict."""
        verdict = until(lambda: (self.http.call("GET", f"/verifications/{verification}").body or {}).get("verdict"), within)
        return str(verdict["outcome"])

    def owners(self, account: str) -> int:
        """The status of GET owners."""
        return self.http.call("GET", f"/accounts/{account}/owners").status

    def refreshes(self) -> int:
        """How many refreshes were paid for."""
        return sum(self.simulator.initiated_refreshes().values())

    def reconcile(self) -> None:
        function = self.deployed().resources["Reconcile"]
        answer = self.stack.client("lambda").invoke(FunctionName=function, Payload=b"{}")
        self.check("reconcile runs", "FunctionError" not in answer, answer)


@dataclass
class Before:
    """The accounts and verifications that a rehearsal has made before the table is lost."""

    kept: str
    erased: str
    lost: str
    verdict: str
    later: str
    paid: int


def restore_beside(on: Rehearsal) -> Before:
    """Restore the table to a point in time, beside the one that the stack uses."""
    kept, erased, lost = on.link(), on.link(), on.link()
    verdict, other = on.accept(kept), on.accept(erased)
    on.check("verdicts are given before", {on.outcome(verdict), on.outcome(other)} == {"match"})
    time.sleep(1.1)  # Restores are to the second.
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    time.sleep(1.1)
    # What happens after the point in time: an erasure, and a verification with a paid refresh.
    on.check("an account is erased after the point in time", on.http.call("DELETE", f"/accounts/{erased}").status == 200)
    later = on.accept(lost)
    on.outcome(later)
    paid, audit = on.refreshes(), entries(on, on.stack.outputs["TableName"])

    on.tool("restore", "--into", RESTORED, "--to", at)
    dynamodb = on.stack.client("dynamodb")
    on.check("a dry run changes nothing", RESTORED not in dynamodb.list_tables()["TableNames"])
    on.tool("restore", "--into", RESTORED, "--to", at, "--apply")
    stack = on.deployed()
    wanted = restore.settings(stack, RESTORED, dynamodb.describe_table(TableName=RESTORED)["Table"])
    missing = [one.name for one in wanted if one.present != one.wanted]
    on.check("time to live, recovery, tags, policy and protection are as in the template", missing == [], missing)
    on.check("audit entries since then are in the restored table", set(audit) <= set(entries(on, RESTORED)))
    on.check("the restored table takes no change of an audit entry", refuses_changes(dynamodb, stack, RESTORED))
    marked = data.store(dynamodb, RESTORED, stack.keys_table).accounts.get(AccountRef(erased))
    on.check("an account that was erased since then is marked as erased", marked.erased_at is not None)
    return Before(kept, erased, lost, verdict, later, paid)


def point_in_time(on: Rehearsal) -> None:
    """Restore the table to a point in time, and have the stack use it."""
    before, dynamodb = restore_beside(on), on.stack.client("dynamodb")
    on.deploy(DataTableName=RESTORED)
    on.check("the stack uses the restored table", on.stack.outputs["TableName"] == RESTORED, on.stack.outputs)
    on.check("the stack's own table is still there", STACK in dynamodb.list_tables()["TableNames"])
    on.tool("after-restore", "--apply", "--per-second", "100")
    on.check("a verdict of before is as it was", on.outcome(before.verdict) == "match")
    on.check("owners of before can be read", on.owners(before.kept) == 200)
    on.check("a verdict that was given since then is kept", on.outcome(before.later) == "match")
    found = on.owners(before.erased)
    on.check("an account that was erased after the point in time is erased", found == 410, found)
    expire_waiting(dynamodb, RESTORED)
    on.reconcile()
    rows = (item["sk"] for item in data.scan(dynamodb, RESTORED, "pk", "sk") if item["pk"].endswith(f"/{before.erased}"))
    left = [sk for sk in rows if sk.startswith(("SNAPSHOT#", "CLAIM#"))]
    on.check("nothing encrypted of the erased account is left", left == [], left)
    again = on.accept(before.lost, key=f"{before.lost}-again")
    on.check("a lost verification that is asked for again gets its verdict", on.outcome(again) == "match")
    on.check("no refresh was paid for twice", on.refreshes() == before.paid, (on.refreshes(), before.paid))


def keys_table(on: Rehearsal) -> None:
    """Lose the table of keys."""
    rebuild_keys(on, lambda: on.stack.client("dynamodb").delete_table(TableName=on.deployed().keys_table))


def vault_key(on: Rehearsal) -> None:
    """Lose the KMS key that encrypts the data keys. The stack's logical ids differ from the template's afterwards."""
    kms, dynamodb = on.stack.client("kms"), on.stack.client("dynamodb")
    key, alias = (on.deployed().resources[name] for name in ("VaultKey", "VaultKeyAlias"))

    def lose() -> None:
        kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
        kms.delete_alias(AliasName=alias)  # As KMS does when it deletes the key.
        folder = BUILD / "vault-key"
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("functions", "layers", "statemachines"):
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(ROOT / name)
        renamed = folder / "template.yaml"
        text = TEMPLATE.read_text().replace("VAULT_KEY_ID: !Ref VaultKeyAlias", "VAULT_KEY_ID: !Ref VaultKey")
        renamed.write_text(text.replace("VaultKey", "VaultKey2"))
        on.deploy(renamed)
        made = kms.describe_key(KeyId=alias)["KeyMetadata"]
        on.check("the alias names a new key", (made["KeyId"] != key, made["KeyState"]) == (True, "Enabled"), made)
        dynamodb.delete_table(TableName=on.deployed().keys_table)

    rebuild_keys(on, lose)


def rebuild_keys(on: Rehearsal, lose: Callable[[], Any]) -> None:
    """Lose the table of keys, and make a new one."""
    kept, erased = on.link(), on.link()
    verdict = on.accept(kept)
    on.outcome(verdict)
    on.outcome(on.accept(erased))
    on.check("an account is erased", on.http.call("DELETE", f"/accounts/{erased}").status == 200)
    paid = on.refreshes()
    lose()
    on.check("owners can't be read without the keys", on.owners(kept) >= 400, on.owners(kept))
    on.tool("rebuild-keys", "--apply", "--per-second", "100")
    on.check("the verdict is as it was", on.outcome(verdict) == "match")
    until(lambda: on.owners(kept) == 200)
    on.check("owners are read from Stripe again", on.owners(kept) == 200)
    on.check("an erased account stays erased", on.owners(erased) == 410, on.owners(erased))
    on.check("a new verification gets its verdict", on.outcome(on.accept(kept, key=f"{kept}-again")) == "match")
    on.check("no refresh was paid for", on.refreshes() == paid, (on.refreshes(), paid))
    said = on.tool("rebuild-keys")
    on.check("the command finds nothing more to do", any("Nothing to do" in line for line in said), said)


def dead_letters(on: Rehearsal) -> None:
    """Redrive each dead-letter queue."""
    sqs, stack = on.stack.client("sqs"), on.deployed()
    account = on.link()
    reason = {"reason": {"DataType": "String", "StringValue": "rehearsed"}}

    def bury(queue: str, body: Any) -> None:
        sqs.send_message(QueueUrl=stack.resources[queue], MessageBody=json.dumps(body), MessageAttributes=reason)

    def left(queue: str) -> int:
        name = "ApproximateNumberOfMessages"
        return int(sqs.get_queue_attributes(QueueUrl=stack.resources[queue], AttributeNames=[name])["Attributes"][name])

    # An account that is to be read, and a request that no workflow waits for any more.
    bury("EventsDeadLetterQueue", {"account": account, "mode": "test"})
    verification = on.accept(account)
    on.outcome(verification)
    now, entered = int(time.time()), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    request = {
        "verification": verification, "ref": {"account": account, "mode": "test"}, "task_token": "AQC-rehearsed", "entered": entered,
        "retry": 0, "not_before": now, "requested_at": now, "deadline": now + 600, "priority": "single",
    }  # fmt: skip
    bury("RefreshDeadLetterQueue", request)
    arn = on.stack.client("lambda").get_function_configuration(FunctionName=stack.resources["Reconcile"])["FunctionArn"]
    context = {"functionArn": f"{arn}:$LATEST", "condition": "RetriesExhausted"}
    bury("AsyncDeadLetterQueue", {"requestContext": context, "requestPayload": {}})
    for name, queue in (("events", "EventsDeadLetterQueue"), ("refresh", "RefreshDeadLetterQueue"), ("async", "AsyncDeadLetterQueue")):
        shown = on.tool("redrive", name)
        on.check(f"{name}: shown without its task token", len(shown) >= 2 and "AQC-rehearsed" not in "".join(shown), shown)
        on.check(f"{name}: a dry run moves nothing", left(queue) == 1)
        on.tool("redrive", name, "--apply")
        on.check(f"{name}: moved back", until(lambda queue=queue: left(queue) == 0))  # type: ignore[misc]
    for queue in ("EventsQueue", "RefreshQueue"):
        until(lambda queue=queue: left(queue) == 0)  # type: ignore[misc]
    time.sleep(2)
    on.check("no message fails again", not any(map(left, ("EventsDeadLetterQueue", "RefreshDeadLetterQueue", "AsyncDeadLetterQueue"))))


def deleted_stack(on: Rehearsal) -> None:
    """Delete the stack and deploy it again under its name."""
    account = on.link()
    verdict = on.accept(account)
    on.outcome(verdict)
    before, paid = on.deployed(), on.refreshes()
    endpoint, cloudformation = on.stack.aws.endpoint, on.stack.client("cloudformation")
    deploy.delete(endpoint, STACK)
    tables = on.stack.client("dynamodb").list_tables()["TableNames"]
    on.check("tables outlive the stack", {before.own_table, before.keys_table} <= set(tables), tables)
    with contextlib.suppress(deploy.DeployError):
        on.deploy_with(before.parameters)
        raise FailedError("a stack of the same name was deployed although its tables exist")
    deploy.delete(endpoint, STACK)
    with tempfile.TemporaryDirectory() as folder:
        on.tool("import-files", "--folder", folder)
        template, imports = (json.loads(Path(folder, f"{name}.json").read_text()) for name in ("template", "resources"))
    cloudformation.create_change_set(
        StackName=STACK, ChangeSetName="import", ChangeSetType="IMPORT", TemplateBody=json.dumps(template), ResourcesToImport=imports
    )
    until(lambda: cloudformation.describe_change_set(StackName=STACK, ChangeSetName="import")["Status"] in ("CREATE_COMPLETE", "FAILED"))
    made = cloudformation.describe_change_set(StackName=STACK, ChangeSetName="import")
    on.check("CloudFormation takes the import file", made["Status"] == "CREATE_COMPLETE", made.get("StatusReason"))
    cloudformation.execute_change_set(StackName=STACK, ChangeSetName="import")
    until(lambda: cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"] == "IMPORT_COMPLETE")
    on.deploy_with(before.parameters)
    after = on.deployed()
    kept = ("Table", "KeysTable", "Key", "VaultKey", "Bucket", "KeyAlias", "VaultKeyAlias")
    same = {name: after.resources[name] == before.resources[name] for name in kept}
    on.check("tables, keys, aliases and bucket are those of before", all(same.values()), same)
    on.check("the verdict is as it was", on.outcome(verdict) == "match")
    on.check("owners of before can be decrypted", on.owners(account) == 200, on.owners(account))
    on.check("a new verification gets its verdict", on.outcome(on.accept(account, key=f"{account}-again")) == "match")
    on.check("no refresh was paid for", on.refreshes() == paid)


def lost_region(on: Rehearsal) -> None:
    """Lose the region: deploy a stack elsewhere, against the same Stripe account."""
    account = on.link()
    verdict = on.accept(account)
    on.outcome(verdict)
    paid = on.refreshes()
    parameters = {"SettleTimeoutSeconds": str(SETTLE_TIMEOUT_SECONDS)}
    secret = on.stack.webhook_secret
    with running(parameters=parameters, stripe_api_base=on.stack.stripe_url, webhook_secret=secret, api_key=DEFAULT_API_KEY) as stack:
        elsewhere = Client(stack.api_url)
        on.check("the other stack knows no verdict of the lost one", elsewhere.call("GET", f"/verifications/{verdict}").status == 404)
        on.check("it reads a linked account by its id", elsewhere.call("GET", f"/accounts/{account}").status == 200)
        answer = elsewhere.call("POST", "/verifications", {"account": account, "claim": MARGARET})
        path = f"/verifications/{answer.body['id']}"
        found = until(lambda: elsewhere.call("GET", path).body.get("verdict"))
        on.check("a verification that is asked for again gets its verdict", found["outcome"] == "match", found)
        on.check("owners are read from Stripe", elsewhere.call("GET", f"/accounts/{account}/owners").status == 200)
    on.check("no refresh was paid for", on.refreshes() == paid, (on.refreshes(), paid))


def upgrade(on: Rehearsal) -> None:
    """Upgrade from the previous release while verifications wait, roll back, and upgrade again."""
    cooled, linked = on.link("cooling_down", policy={"cooldown_seconds": COOLDOWN_SECONDS}), time.monotonic()
    accounts = [on.link() for _ in range(4)]
    for account in accounts:
        on.simulator.fail_webhooks("drop", times=None, account=account)
    waiting = [on.accept(account) for account in accounts[:2]]
    batch = on.batch(accounts[2:])
    until(lambda: on.refreshes() == len(accounts))
    # The failed refresh must be earlier than the request by more than the clocks may differ.
    time.sleep(max(0.0, linked + CLOCK_SKEW + 2 - time.monotonic()))
    cooling = on.accept(cooled)
    given = on.accept(known := on.link())
    on.check(f"release {FROM} gives a verdict", on.outcome(given) == "match")

    version = published(on)
    on.deploy()
    on.check("the alias live names a new version", published(on) != version, version)
    on.check("executions of before still wait after the upgrade", {status(on, one) for one in (*waiting, cooling)} == {"RUNNING"})
    on.check("a verdict and owners of before can be read", (on.outcome(given), on.owners(known)) == ("match", 200))
    newer = on.link()
    waits = {"if_inactive": "wait"}
    on.simulator.deactivate(newer, cause="access_expired", action="relink_required")
    repaired = on.accept(newer, **waits)
    waiters = [f"ACCOUNT#test/platform/{newer}", f"WAITER#{repaired}"]
    until(lambda: any([row["pk"], row["sk"]] == waiters and "awaits" in row for row in data.scan(on.stack.client("dynamodb"), STACK)))

    on.deploy(previous_release())
    read = (on.outcome(given), on.owners(known))
    on.check("after the rollback the older release reads what the newer one stored", read == ("match", 200), read)
    on.simulator.clear_faults()
    for event in on.simulator.event_ids():
        on.simulator.resend(event)
    on.check("verifications of before end under the older release", {on.outcome(one, 180) for one in (waiting[0], cooling)} == {"match"})

    on.deploy()
    on.check("verifications of before have one verdict after the second upgrade", {on.outcome(one, 180) for one in waiting} == {"match"})
    state = until(lambda: (found := on.http.call("GET", f"/batches/{batch}").body)["state"] == "completed" and found, 180)
    on.check("the batch of before is completed", state["done"]["match"] == 2, state)
    on.simulator.reactivate(newer)
    # The older release does not know that it waits for a repair, and may have ended it as not verifiable.
    on.check("a verification of the newer release that waited meanwhile ends", on.outcome(repaired, 180) in ("match", "not_verifiable"))
    on.check("no refresh was paid for twice", max(on.simulator.initiated_refreshes().values()) == 1, on.simulator.initiated_refreshes())
    dead = on.stack.client("sqs")
    names = ["ApproximateNumberOfMessages"]
    for queue in ("RefreshDeadLetterQueue", "EventsDeadLetterQueue"):
        url = on.deployed().resources[queue]
        count = dead.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"][names[0]]
        on.check(f"{queue} is empty", count == "0", count)


def previous_release() -> Path:
    """The template of the previous release, whose source is taken from the history. Raises `NotRehearsedError`."""
    folder = BUILD / f"release-{FROM}"
    if not (folder / "template.yaml").exists():
        archive = subprocess.run(["git", "archive", RELEASES[FROM]], cwd=ROOT, capture_output=True, check=False)
        if archive.returncode:
            raise NotRehearsedError(f"the history has no commit {RELEASES[FROM]} of release {FROM}")
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(folder, filter="data")
    template = copy.deepcopy(load_template(folder / "template.yaml"))
    # Its roles may send results of tasks to the state machines' ARNs. The embedded IAM takes AWS's reference literally, which knows no
    # resource for this action.
    for properties in (resource.get("Properties", {}) for resource in template["Resources"].values()):
        for document in properties.get("Policies", []):
            for statement in document.get("Statement", []):
                if "states:SendTask" in str(statement["Action"]):
                    statement["Resource"] = "*"
    path = folder / "template.json"
    path.write_text(json.dumps(template, default=str))
    return path


def published(on: Rehearsal) -> str:
    """The version of the function Api that HTTP callers use."""
    return str(on.stack.client("lambda").get_alias(FunctionName=on.deployed().resources["Api"], Name="live")["FunctionVersion"])


def status(on: Rehearsal, verification: str) -> str:
    """The status of a verification's execution."""
    arn = on.stack.outputs["StateMachineArn"].replace(":stateMachine:", ":execution:") + f":{verification}"
    return str(on.stack.client("stepfunctions").describe_execution(executionArn=arn)["status"])


UPGRADE = "upgrade"
PROCEDURES: dict[str, Callable[[Rehearsal], None]] = {
    "dead-letters": dead_letters,
    "keys-table": keys_table,
    "deleted-stack": deleted_stack,
    "point-in-time": point_in_time,
    "lost-region": lost_region,
    "vault-key": vault_key,
    UPGRADE: upgrade,
}


@dataclass
class Result:
    procedure: str
    seconds: float
    checked: list[str]
    problem: str = ""


def rehearse(names: Sequence[str], say: Callable[[str], None] = print) -> list[Result]:
    """Rehearse the procedures one after the other. Those that begin with this release share a stack."""
    results = []
    # In this order, because the last of them changes the stack's logical ids.
    if shared := [name for name in PROCEDURES if name in names and name != UPGRADE]:
        with stack() as on:
            for name in shared:
                results.append(result(name, on))
                say(f"{name}: {results[-1].problem or 'as it should be'}")
    if UPGRADE in names:
        try:
            with stack(template=previous_release(), SettleTimeoutSeconds="900", SnapStart="true") as on:
                results.append(result(UPGRADE, on))
        except NotRehearsedError as error:
            results.append(Result(UPGRADE, 0.0, [], f"NOT REHEARSED: {error}"))
        say(f"{UPGRADE}: {results[-1].problem or 'as it should be'}")
    return results


@contextlib.contextmanager
def stack(template: Path = TEMPLATE, **parameters: str) -> Iterator[Rehearsal]:
    options = Options(settle_seconds=0.3, cooldown_seconds=1.0, retry_base_seconds=1.0)
    given = {"SettleTimeoutSeconds": str(SETTLE_TIMEOUT_SECONDS), **parameters}
    with running(parameters=given, options=options, template=template) as made:
        yield Rehearsal(made)


def result(name: str, on: Rehearsal) -> Result:
    on.checked = []
    began, problem = time.monotonic(), ""
    try:
        PROCEDURES[name](on)
    except FailedError as error:
        problem = f"FAILED: {error}"
    return Result(name, time.monotonic() - began, list(on.checked), problem)


@contextlib.contextmanager
def operator(stack: Stack) -> Iterator[dict[str, str]]:
    """The environment of a user with the policy of docs/iam/operator.json."""
    policy = (ROOT / "docs" / "iam" / "operator.json").read_text()
    for placeholder, value in {"ACCOUNT_ID": ACCOUNT, "REGION": REGION, "STACK": STACK}.items():
        policy = policy.replace(placeholder, value)
    iam, user = stack.client("iam"), {"UserName": f"operator-{secrets.token_hex(4)}"}
    iam.create_user(**user)
    iam.put_user_policy(**user, PolicyName="operator", PolicyDocument=policy)
    key = iam.create_access_key(**user)["AccessKey"]
    try:
        yield {
            **client_environment(stack.aws.endpoint),
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }  # fmt: skip
    finally:
        iam.delete_access_key(**user, AccessKeyId=key["AccessKeyId"])
        iam.delete_user_policy(**user, PolicyName="operator")
        iam.delete_user(**user)


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def until(probe: Callable[[], Any], within: float = WITHIN_SECONDS) -> Any:
    """The first true value of `probe`. Raises `FailedError`."""
    end = time.monotonic() + within
    while not (value := probe()):
        if time.monotonic() > end:
            raise FailedError(f"nothing within {within:g} s")
        time.sleep(0.1)
    return value


def entries(on: Rehearsal, table: str) -> list[str]:
    """The sort keys of the audit entries of a table."""
    return [item["sk"] for item in data.scan(on.stack.client("dynamodb"), table, "pk", "sk") if item["pk"].startswith("AUDIT#")]


def refuses_changes(dynamodb: Any, stack: Deployed, table: str) -> bool:
    """Whether a table has the policy by which audit entries may not be changed."""
    try:
        policy = json.loads(dynamodb.get_resource_policy(ResourceArn=stack.table_arn(table))["Policy"])
    except ClientError:
        return False
    [statement] = policy["Statement"]
    return bool(statement["Effect"] == "Deny" and statement["Resource"] == stack.table_arn(table))


def expire_waiting(dynamodb: Any, table: str) -> None:
    """Make due now what reconcile would repair after minutes, so that the rehearsal does not have to wait."""
    for item in data.scan(dynamodb, table, "pk", "sk", "open_kind"):
        if item.get("open_kind") in ("erasure", "disconnection"):
            dynamodb.update_item(
                TableName=table, Key={name: {"S": item[name]} for name in ("pk", "sk")}, UpdateExpression="SET open_since_ms = :past",
                ExpressionAttributeValues={":past": {"N": "1"}},
            )  # fmt: skip


def table(results: list[Result]) -> str:
    rows = [f"{'procedure':16}{'seconds':>8}  {'checks':>6}  result"]
    for one in results:
        rows.append(f"{one.procedure:16}{one.seconds:8.1f}  {len(one.checked):6}  {one.problem or 'ok'}")
        rows += [f"{'':34}{what}" for what in dict.fromkeys(one.checked)]
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="local.rehearse", description="Rehearse recovery and upgrades on an embedded stack.")
    parser.add_argument("procedures", nargs="*", metavar="procedure", help=f"some of: {', '.join(PROCEDURES)} (default: all)")
    names = parser.parse_args().procedures or list(PROCEDURES)
    if unknown := set(names) - set(PROCEDURES):
        parser.error(f"no such procedure: {', '.join(sorted(unknown))}")
    if UPGRADE in names and FROM not in RELEASES:
        parser.error(f"no such release: FROM={FROM}. Known are {', '.join(RELEASES)}")
    results = rehearse(names)
    print(table(results))
    return 1 if any(one.problem for one in results) else 0


if __name__ == "__main__":
    sys.exit(interruptible(main))
