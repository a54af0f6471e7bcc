"""A simulation: callers, the scheduler and Stripe act on the simulated stack at times that a schedule chooses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from tests.simulation import batch_results
from tests.simulation.application import POISON
from tests.simulation.deployment import API_KEY, BEGIN, WEBHOOK_SECRET
from tests.simulation.handlers import http_event
from tests.simulation.invariants import SEALED
from tests.simulation.queues import ThrottledError
from tests.simulation.scheduler import Signal
from tests.simulation.simulated_stack import FOREIGN, SimulatedStack
from titleholder.stripe_api import signatures

ENDED_SECONDS = 5 * 3600.0
"""When a back end no longer waits for the results of a batch that it stopped: it does not know whether anything was imported."""

WAITS_FOR_STRIPE = (
    "stripe-credentials-refused", "stripe-refused", "stripe-rate-limited", "stripe-unavailable", "rate-limit-exceeded", "misconfigured",
)  # fmt: skip


def guessed(name: str) -> str:
    """The id that a stranger would try who knows what it is derived from, but no secret."""
    return f"ver_{sha256(name.encode()).hexdigest()[:32]}"


class Simulation(SimulatedStack):
    """Have callers act at the times you like (`at`), then `run`, then look."""

    def at(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something `seconds` after the beginning."""
        self.scheduler.spawn(act, seconds)

    def verify(
        self,
        name: str,
        account: str,
        max_age: int = 30 * 86_400,
        stripe_account: str | None = None,
        claim: Mapping[str, Any] | None = None,
        key: str | None = None,
        *,
        patient: bool = True,
        if_inactive: str | None = None,
    ) -> None:
        """Be a back end that wants a verification, and asks again until it has been accepted. `key`: its Idempotency-Key, else `name`.

        One that is not `patient` asks only once.
        """
        if claim == POISON:
            self.poisoned.add(name)
        body: dict[str, Any] = {"account": account, "claim": {"name": "Margaret Testerman", **(claim or {})}, "max_age": max_age}
        self.asked.setdefault(name, self.scheduler.now)
        if self.wait_seconds:
            body["wait"] = self.wait_seconds
        if if_inactive is not None:
            body["if_inactive"] = if_inactive
            self.waiting |= {name} if if_inactive == "wait" else set()
        self.guesses.add(guessed(f"test/{stripe_account or 'platform'}/{key or name}"))
        for attempt in range(60):
            status, answer = self._http("api", "POST", "/verifications", body, stripe_account, {"idempotency-key": key or name})
            if status in (200, 202):
                known = self.accepted.setdefault(name, answer["id"])
                self.claimed.setdefault(known, body["claim"])
                if known != answer["id"]:
                    self.violations.append(f"{name}: two ids for one Idempotency-Key")
                return
            if status == 404 or not patient:
                return
            self.scheduler.sleep(min(600, 2**attempt))
        self.violations.append(f"{name}: never accepted")

    def pry(self, name: str, stripe_account: str | None) -> None:
        """Be the back end of another tenant, which knows the id of a verification that is not its own."""
        if (id_ := self.accepted.get(name)) is None:
            return
        for method in ("GET", "DELETE"):
            status, _ = self._http("api", method, f"/verifications/{id_}", None, stripe_account, {})
            self.injected[f"another tenant's {method}"] += 1
            if status < 400 or status == 409:
                self.violations.append(f"{name}: another tenant's {method} was answered {status}")

    def guess(self, account: str, key: str, names: Sequence[str]) -> None:
        """Be a back end that tries names, once."""
        claim = {"name": names[0], "aka": list(names[1:])}
        status, answer = self._http("api", "POST", "/verifications", {"account": account, "claim": claim}, None, {"idempotency-key": key})
        if status in (200, 202):
            self.accepted[key] = answer["id"]
            self.guessed.update(names)
        self.injected[f"guess answered {status}"] += 1

    def ask_refresh(self, account: str, max_age: int, stripe_account: str | None = None) -> None:
        """Be a back end that wants fresh owners, once."""
        self.asking[account] += 1
        self._http("start_refresh", "POST", f"/accounts/{account}/refreshes", {"max_age": max_age}, stripe_account, {})
        self.asking[account] -= 1

    def erase(self, account: str, stripe_account: str | None = None) -> None:
        """Be a back end that wants an account gone, and asks again until it is."""
        for attempt in range(60):
            status, answer = self._http("erase_account", "DELETE", f"/accounts/{account}", None, stripe_account, {})
            if status in (200, 404):
                self.erased += status == 200
                self.injected["erased before it was disconnected"] += status == 200 and not answer["disconnected"]
                self.stripe_moved()
                pk = f"ACCOUNT#test/{stripe_account or 'platform'}/{account}"
                left = [sk for key, sk in self.dynamodb.items if key == pk and sk.startswith(SEALED)]
                if status == 200 and (left or "wrapped_key" in self.dynamodb.keys.get((pk, ""), {})):
                    self.violations.append(f"{account}: answered as erased, and {left or 'its key'} is left")
                return
            if answer and answer["type"].rpartition(":")[2] in WAITS_FOR_STRIPE:
                self.violations.append(f"{account}: not erased, because Stripe could not be asked ({answer['type']})")
            self.scheduler.sleep(min(600, 2**attempt))
        self.violations.append(f"{account}: never erased")

    def read_account(self, account: str) -> None:
        """Be a back end that reads an account, once."""
        status, _ = self._http("api", "GET", f"/accounts/{account}", None, None, {})
        self.injected[f"reader answered {status}"] += 1

    def cancel(self, name: str) -> None:
        """Be a back end that no longer wants a verification."""
        if name in self.accepted:
            self.cancelled.add(name)
            status, _ = self._http("api", "DELETE", f"/verifications/{self.accepted[name]}", None, None, {})
            self.injected["verification cancelled"] += status == 200

    def look(self, account: str, stripe_account: str | None = None) -> None:
        """Be a back end that reads what there is about an account."""
        paths = [f"/accounts/{account}", f"/accounts/{account}/owners", f"/accounts/{account}/snapshots"]
        for path in (*paths, *(f"/verifications/{id_}" for id_ in self.accepted.values())):
            self._http("api", "GET", path, None, stripe_account, {})

    def have_linked(self, stripe_account: str | None = None) -> None:
        """Be a back end that has accounts linked, once."""
        status, customer = self._http("linking", "POST", "/customers", {"email": "someone@example.com"}, stripe_account, {})
        if status == 201:
            body = {"via": "financial_connections", "customer": customer["id"]}
            status, session = self._http("linking", "POST", "/sessions", body, stripe_account, {})
        if status == 201:
            self._http("linking", "GET", f"/sessions/{session['id']}", None, stripe_account, {})

    def deny_disconnecting(self, denied: bool = True) -> None:
        """Let Stripe answer 403 where an account is to be disconnected."""
        operations = frozenset({"POST /v1/financial_connections/accounts/{account}/disconnect"})
        self.injected["disconnecting denied"] += denied
        self.simulator.configure(denied={API_KEY: operations} if denied else {})

    def receive_stray(self, event: Mapping[str, Any], why: str, *, by_bus: bool = False) -> None:
        """Be Stripe: deliver a genuine event that may have no effect until it is accepted. `why`: the reason to set it aside."""
        self.strays[event["id"]] = why
        if str(event.get("context")).endswith(f"/{FOREIGN}"):
            self.strays_elsewhere.add(event["id"])
        self.injected[f"event set aside: {why}"] += 1
        body = json.dumps(event)
        for attempt in range(60):
            if by_bus:
                answer = self._asynchronously("receive_event", {"source": "aws.partner/stripe.com/ed_1", "detail": json.loads(body)})
            else:
                headers = {"stripe-signature": signatures.sign(body.encode(), WEBHOOK_SECRET, int(self.scheduler.now))}
                try:
                    answer = self._invoke("receive_webhook", http_event("POST", "/webhooks/stripe", headers, body))
                except ThrottledError:
                    answer = None
            if answer is not None and answer.get("statusCode", 200) == 200:
                return
            if answer is not None and answer["statusCode"] != 503:
                self.violations.append(f"{event['id']} ({why}): a genuine event was answered {answer['statusCode']}")
                return
            self.scheduler.sleep(min(600, 2**attempt))
        self.violations.append(f"{event['id']} ({why}): never taken")

    def batch(self, accounts: Sequence[str], max_age: int, stripe_account: str | None, stop_after: float | None) -> None:
        """Be a back end that has a batch verified, and stops it after a while. It asks again until all is done, as the docs say:
        starts a batch again that failed, and stops one again that the stop did not end.
        """
        key = f"batch-{len(self.batches)}-{'-'.join(accounts)}"
        self.batches[key] = ""
        body = {"format": "jsonl", "max_age": max_age, "scope": key}
        made = self._until((201,), "POST", "/batches", body, stripe_account)
        if made is None:
            return
        self.batches[key] = made["id"]
        lines = [{"account": account, "claim": {"name": "Margaret Testerman"}} for account in (*accounts, "ba_1", accounts[0])]
        self.s3.objects[f"manifests/{made['id']}"] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        path = f"/batches/{made['id']}"
        self._until((202,), "POST", f"{path}/start", {}, stripe_account)
        if stop_after is not None:
            if stop_after < 0:
                # When the first of its messages is being served: between that and the refresh there are about ten calls.
                self.scheduler.wait(self.served.setdefault(made["id"], Signal()), 600)
            self.scheduler.sleep(abs(stop_after))
            self._until((200, 409), "DELETE", path, None, stripe_account)
        for _ in range(2000):
            shown = self._until((200,), "GET", path, None, stripe_account)
            self.violations += [] if shown is None else batch_results.wrong_results(self, shown)
            self.injected["results so far shown"] += bool(shown and shown["results_so_far"])
            if shown is None or shown["results"] or (shown["state"] == "stopped" and self.scheduler.now > BEGIN + ENDED_SECONDS):
                break
            if shown["state"] == "failed":
                self._until((202, 409), "POST", f"{path}/start", {}, stripe_account)
            elif shown["state"] == "stopped" and shown["failure"]:
                self._until((200,), "DELETE", path, None, stripe_account)
            self.scheduler.sleep(60 if shown["state"] != "stopped" else 300)
        else:
            self.violations.append(f"{key}: never done")

    def _until(self, wanted: tuple[int, ...], method: str, path: str, body: Any, stripe_account: str | None) -> Any:
        """What a route of batches answers, asked again until it answers as wanted; None if it never does."""
        for attempt in range(60):
            status, answer = self._http("batches", method, path, body, stripe_account, {})
            if status in wanted:
                return answer
            self.scheduler.sleep(min(600, 2**attempt))
        self.violations.append(f"{method} {path}: never answered as wanted")
        return None

    def reconcile(self) -> None:
        """Be the scheduler."""
        self._asynchronously("reconcile", {})

    def reconcile_every(self, seconds: float, times: int) -> None:
        for number in range(1, times + 1):
            self.scheduler.spawn(self.reconcile, number * seconds)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.scheduler.run(self.scheduler.now + seconds)

    @property
    def quiet(self) -> bool:
        """Whether nothing is on its way: no message, no execution, no delivery."""
        return not self.sqs.in_flight and all(execution.status != "RUNNING" for execution in self.workflows.executions.values())
