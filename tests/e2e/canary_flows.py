"""Every flow of the stack, taken with words that occur nowhere else."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

from local.client import Answer, Client
from tests.e2e.left_behind import arn, in_flight
from tests.e2e.stack_driver import StackDriver, eventually
from tests.support.functions import queue_event

NAME = "Xyloquent Brandywhistle"


CLAIM = {
    "name": NAME, "email": "xyloquent.claim@brandywhistle.example.com", "phone": "+1 555 555 0173",
    "address": {"line1": "4711 Claimants Hollow", "city": "Canaryville", "postal_code": "62797"},
    "aka": ["Quorble Fennimantle"],
}  # fmt: skip


OWNER = {
    "name": "XYLOQUENT BRANDYWHISTLE", "email": "owner@fennimantle.example.com", "phone": "5555550186",
    "raw_address": "4712 OWNERS HOLLOW CANARYVILLE 62786",
}  # fmt: skip


KEY = "xyloquent@brandywhistle.example.com"
"""An Idempotency-Key such as callers should not choose."""


def take_every_flow(driver: StackDriver) -> None:
    """Take each flow once. What takes long is begun first."""
    running = Batches(driver)
    waited_for = verified(driver)
    running.interrupt()
    waited_for += [*of_groups(driver), *stripe_in_trouble(driver)]
    linked(driver)
    refused(driver)
    cancelled_and_erased(driver)
    eventually(lambda: all(driver.verification(id_)["state"] == "completed" for id_ in waited_for), 90)
    read(driver)
    reviewed(driver)
    running.end()
    buried_and_put_back(driver)
    invoke(driver, "Reconcile", {})
    eventually(lambda: not in_flight(driver), 60)


def asked(driver: StackDriver, **target: str) -> str:
    """The id of a verification of the canaries' claim."""
    answer = driver.http.call(
        "POST", "/verifications", {"claim": CLAIM, **target}, headers={"Idempotency-Key": f"{KEY}-{target}".replace(" ", "")}
    )
    assert answer.status in (200, 202), answer
    return str(answer.body["id"])


def verified(driver: StackDriver) -> list[str]:
    """One account of each kind: the refresh succeeds, is lost, fails with a text of Stripe's, or is not allowed."""
    reason = {"cause": NAME, "code": "institution_unavailable"}
    accounts = [
        driver.link(scenario, owners=[OWNER], details={"display_name": f"{OWNER['name']} CHECKING"}, **more)
        for scenario, more in (
            ("single_owner", {}), ("fresh", {}), ("paged_owners", {}), ("inactive", {}), ("permission_missing", {}), ("lost_webhook", {}),
            ("failing_with_reason", {"policy": {"failure_error": reason}}),
        )
    ]  # fmt: skip
    return [asked(driver, account=account) for account in accounts]


def of_groups(driver: StackDriver) -> list[str]:
    """All accounts of a customer, of a session, of a payment method."""
    driver.sim.link("fresh", customer="cus_canary", payment_method="pm_canary", owners=[OWNER])
    driver.sim.link("single_owner", customer="cus_canary", owners=[OWNER])
    made = driver.http.call("POST", "/sessions", {"via": "setup_intent", "customer": "cus_canary"})
    driver.sim.complete(made.body["id"], accounts=[{"scenario": "single_owner", "owners": [OWNER]}])
    found = [asked(driver, customer="cus_canary"), asked(driver, session=made.body["id"]), asked(driver, payment_method="pm_canary")]
    assert len(driver.http.call("GET", "/verifications?customer=cus_canary").body["verifications"]) == 1
    return found


def stripe_in_trouble(driver: StackDriver) -> list[str]:
    """Accounts for which Stripe answers errors, each in another way, while callers wait for the answer."""

    def ask(fault: str) -> str:
        account = driver.link("single_owner", owners=[OWNER])
        driver.sim.fail_api(fault, account=account, times=4)
        answer = Client(driver.stack.api_url).call("POST", "/verifications", {"account": account, "claim": CLAIM})
        assert answer.status == 202, answer
        return str(answer.body["id"])

    with ThreadPoolExecutor(4) as callers:
        found = list(callers.map(ask, ("server_error", "rate_limit", "conflict", "drop")))
    account = driver.link("single_owner", owners=[OWNER])
    driver.sim.configure(api_keys=frozenset({"sk_test_another"}))
    answer = driver.request(account, CLAIM)
    assert answer.status == 502, answer
    driver.sim.configure(api_keys=None)
    # The flows that follow need not run at the reduced rate after the 429s.
    driver.stack.client("dynamodb").delete_item(
        TableName=driver.stack.outputs["TableName"], Key={"pk": {"S": "PACE#read"}, "sk": {"S": "PACE"}}
    )
    return found


def linked(driver: StackDriver) -> None:
    """What has accounts linked: its bodies and its keys hold canaries, and Stripe refuses once."""
    key = {"Idempotency-Key": KEY}
    driver.sim.fail_api("server_error", method="POST", path="/v1/customers", should_retry=False, stored=False)
    wanted = {"email": CLAIM["email"], "phone": CLAIM["phone"]}
    answers = [driver.http.call("POST", "/customers", wanted, headers=key) for _ in range(3)]
    assert [answer.status for answer in answers] == [503, 201, 201]
    assert driver.http.call("POST", "/customers", {"email": OWNER["email"]}, headers=key).status == 422
    assert driver.http.call("POST", "/customers", {"email": NAME}).status == 422
    assert driver.http.call("POST", "/customers", {"email": CLAIM["email"], "phone": OWNER["phone"]}).status == 422
    url = f"https://shop.example.com/{NAME.replace(' ', '-')}"
    body = {"via": "checkout_session", "customer": answers[1].body["id"], "return_url": url, "description": NAME, "amount": 1000}
    for _ in range(2):
        assert driver.http.call("POST", "/sessions", body, headers=key).status == 201
    assert driver.http.call("POST", "/sessions", {**body, "via": NAME}).status == 422


def cancelled_and_erased(driver: StackDriver) -> None:
    waiting = [driver.link("never_answering", owners=[OWNER]) for _ in range(2)]
    ids = [asked(driver, account=account) for account in waiting]
    assert driver.http.call("DELETE", f"/verifications/{ids[0]}").status == 200
    eventually(lambda: (f"ACCOUNT#test/platform/{waiting[1]}", f"WAITER#{ids[1]}") in driver.table(), 30)
    known = driver.link("fresh", owners=[OWNER])
    asked(driver, account=known)
    for account in (waiting[1], known):
        assert driver.http.call("DELETE", f"/accounts/{account}").status == 200
        # A claim that comes too late.
        assert driver.request(account, CLAIM).status in (200, 202)
    disconnected = driver.link("fresh", owners=[OWNER])
    asked(driver, account=disconnected)
    driver.sim.change(disconnected, action="disconnect")


def read(driver: StackDriver) -> None:
    """All that can be read of an account, with a second snapshot that differs."""
    account = driver.link("old", owners=[OWNER])
    driver.request(account, CLAIM, max_age=365 * 86400)
    driver.sim.change(account, action="prefetch", owners=[{**OWNER, "name": "QUORBLE FENNIMANTLE"}])
    newer = eventually(lambda: (found := driver.http.call("GET", f"/accounts/{account}/snapshots").body["snapshots"])[1:] and found, 30)
    assert newer[0]["changes"]
    for path in ("", "/owners", "/snapshots", f"/owners?snapshot={newer[1]['snapshot']}"):
        assert driver.http.call("GET", f"/accounts/{account}{path}").status == 200
    assert driver.http.call("GET", f"/verifications?account={account}").status == 200
    assert driver.http.call("POST", f"/accounts/{account}/refreshes", {"max_age": 0}).status in (200, 409)


def reviewed(driver: StackDriver) -> None:
    """All that happens at the review desk: to a review that is approved, to one that is rejected, and to one whose account is erased."""
    # Without its other names, one of which is the other owner's.
    claim = {**CLAIM, "name": "Xyloquent Quorble Brandywhistle", "aka": None}
    owner = {**OWNER, "name": "XYLOQUENT FENNIMANTLE BRANDYWHISTLE"}
    other = {"name": "QUORBLE FENNIMANTLE", "email": OWNER["email"]}
    accounts = [driver.link("fresh", owners=[owner, other]) for _ in range(3)]
    approved, rejected, erased = (str(driver.request(account, claim).body["id"]) for account in accounts)
    for id_ in (approved, rejected, erased):
        assert driver.verdict(id_)["outcome"] == "close_match"

    def decide(id_: str, **decision: Any) -> Answer:
        return driver.http.call("POST", f"/verifications/{id_}/review/decisions", {"version": 1, **decision})

    waiting = driver.http.call("GET", "/reviews")
    assert {approved, rejected, erased} <= {review["verification"] for review in waiting.body["reviews"]}
    for id_ in (approved, rejected, erased):
        looked = driver.http.call("POST", f"/verifications/{id_}/comparison")
        assert (looked.status, looked.headers["Cache-Control"]) == (200, "no-store")
        assert [other["name"]] == looked.body["other_owners"]
        assert driver.http.call("GET", f"/verifications/{id_}/timeline").status == 200
    for wrong in ({"reference": NAME}, {"reason": NAME}, {"note": f"{NAME}\x00"}, {NAME: NAME}, {"decision": NAME}):
        assert decide(approved, **{"decision": "approve", "reason": "OTHER", "note": NAME, **wrong}).status == 422
    for note in (NAME, OWNER["name"]):
        assert decide(approved, decision="approve", reason="OTHER", note=note).status == 200
    assert decide(rejected, decision="reject", reason="RELATIVE", note=json.dumps(CLAIM), reference="CASE-1").status == 200
    assert decide(rejected, decision="approve", reason="OTHER", note=NAME).status == 409
    assert driver.http.call("DELETE", f"/accounts/{accounts[2]}").status == 200
    assert driver.http.call("POST", f"/verifications/{erased}/comparison").status == 410
    assert decide(erased, decision="reject", reason="OTHER", note=NAME).status in (409, 410)
    mismatch = str(driver.request(driver.link("fresh", owners=[other]), claim).body["id"])
    assert driver.verdict(mismatch)["outcome"] == "no_match"
    assert driver.http.call("POST", f"/verifications/{mismatch}/review").status == 200
    assert driver.http.call("POST", f"/verifications/{mismatch}/comparison").status == 200


class Batches:
    """Batches that end in each of their ways, side by side."""

    def __init__(self, driver: StackDriver) -> None:
        self.driver = driver
        accounts = [driver.link(scenario, owners=[OWNER]) for scenario in ("single_owner", "fresh", "inactive")]
        slow = driver.link("single_owner", owners=[OWNER], policy={"settle_seconds": 15})
        self.completed = [self.started(self.lines(accounts)), self.started(self.table(accounts), "csv")]
        self.unusable = [
            self.started(f"fca_1,{NAME}\n".encode(), "csv"),
            self.started(f"account,name,{NAME}\nfca_1,x,y\n".encode(), "csv"),
        ]
        self.stopped = self.started(self.lines([driver.link("never_answering", owners=[OWNER])]))
        self.slow, self.resumed = slow, self.started(self.lines([slow]))

    def lines(self, accounts: list[str]) -> bytes:
        """A line for each account, and every kind of line that is refused."""
        good = {"account": "fca_1", "claim": CLAIM}
        wrong = ("account", "reference", "claim", "max_age", "stripe_account", NAME)
        bad: list[Any] = [*({**good, field: NAME} for field in wrong), {**good, "claim": {NAME: NAME}}, [CLAIM], NAME]
        rows = [json.dumps({**good, "account": account}) for account in accounts] + [json.dumps(row) for row in bad]
        return "\n".join([*rows, NAME, json.dumps(good)[:-5]]).encode() + b"\n\xff" + OWNER["name"].encode()

    def table(self, accounts: list[str]) -> bytes:
        """The same as a table, the last of whose quotes is never closed."""
        rows = [f'{account},"{NAME}",{CLAIM["email"]},{CLAIM["phone"]}' for account in accounts]
        bad = [f"{NAME},x,y,z", f"fca_1,x,y,z,{NAME}", f"{NAME}", f'fca_1,"{NAME}']
        return "\n".join(["account,name,email,phone", *rows, *bad]).encode()

    def started(self, body: bytes, format_: str = "jsonl") -> str:
        made = self.driver.http.call("POST", "/batches", {"format": format_}).body
        assert self.driver.http.call("POST", f"/batches/{made['id']}/start").status == 409
        assert requests.put(made["upload"]["urls"][0], body, timeout=30).status_code == 200
        assert self.driver.http.call("POST", f"/batches/{made['id']}/start").status == 202
        return str(made["id"])

    def state(self, batch: str) -> str:
        return str(self.driver.http.call("GET", f"/batches/{batch}").body["state"])

    def interrupt(self) -> None:
        """Stop one batch for good, and break off another's run."""
        eventually(lambda: self.state(self.stopped) == "verifying", 60)
        assert self.driver.http.call("DELETE", f"/batches/{self.stopped}").status == 200
        eventually(lambda: self.driver.refreshes(self.slow), 60)
        arn = self.driver.stack.outputs["BatchStateMachineArn"].replace(":stateMachine:", ":execution:")
        self.driver.stack.client("stepfunctions").stop_execution(executionArn=f"{arn}:{self.resumed}-1")

    def end(self) -> None:
        driver = self.driver
        assert driver.http.call("POST", f"/batches/{self.resumed}/start").status == 202
        eventually(lambda: {self.state(batch) for batch in self.unusable} == {"failed"}, 60)
        for batch in self.unusable:
            assert driver.http.call("DELETE", f"/batches/{batch}").status == 200
        eventually(lambda: {self.state(batch) for batch in (*self.completed, self.resumed)} == {"completed"}, 120)
        # Its caller never starts this one, nor puts its parts together.
        left = driver.http.call("POST", "/batches", {"format": "csv", "bytes": 6 * 1024**3}, headers={"Idempotency-Key": KEY})
        requests.put(left.body["upload"]["urls"][0], json.dumps(CLAIM).encode(), timeout=30)


def refused(driver: StackDriver) -> None:
    """Requests that are refused, with canaries where they are refused for."""
    account = driver.link("fresh", owners=[OWNER])
    for claim in ({**CLAIM, "colour": NAME}, {"name": 1, NAME: 2}, {**CLAIM, "address": {"planet": NAME}}):
        assert driver.request(account, claim).status == 422
    assert driver.http.call("POST", "/verifications", raw=json.dumps({"claim": CLAIM})[:-5].encode()).status == 400
    assert driver.request("fca_unknown", CLAIM).status == 404
    key = {"Idempotency-Key": f"{KEY}-again"}
    assert driver.request(account, CLAIM, headers=key).status in (200, 202)
    assert driver.request(account, {**CLAIM, "name": "Quorble"}, headers=key).status == 422
    assert driver.deliver(json.dumps(CLAIM).encode(), {"Stripe-Signature": "t=1,v1=0"}).status_code == 400


def buried_and_put_back(driver: StackDriver) -> None:
    """A message that goes to the dead-letter queue. The reason could repeat its content."""
    record = {"MessageId": "m", "ReceiptHandle": "r", "Body": json.dumps({"event": "evt_canary"})}
    for count in ("1", "7"):
        invoke(driver, "FetchOwners", queue_event({**record, "Attributes": {"ApproximateReceiveCount": count}}))
    sqs, outputs = driver.stack.client("sqs"), driver.stack.outputs
    source, destination = (arn(driver, outputs[name]) for name in ("EventsDeadLetterQueueUrl", "EventsQueueUrl"))
    sqs.start_message_move_task(SourceArn=source, DestinationArn=destination)
    # This message is left in its queue.
    message = {**record, "Attributes": {"ApproximateReceiveCount": "7"}}
    invoke(driver, "StartRefresh", queue_event({**message, "Body": json.dumps({"verification": "ver_canary"})}))


def invoke(driver: StackDriver, function: str, event: Any) -> None:
    found = driver.stack.client("cloudformation").describe_stack_resource(StackName="titleholder", LogicalResourceId=function)
    name = found["StackResourceDetail"]["PhysicalResourceId"]
    driver.stack.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event))
