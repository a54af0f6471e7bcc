"""Verifies every scenario account on the embedded stack, prints a table, and writes `build/demo.json` and `build/demo.html`.

    python -m local.demo

Exits with 1 if a verdict differs from the scenario's, or a verification made too many refreshes, calls or state transitions.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from local.aws.paths import BUILD
from local.client import Client
from local.command import interruptible, no_arguments
from local.demo_page import page
from local.demo_table import legend, lines, seconds, terminal_width
from local.stack import Stack, running
from local.stripe_simulator.core import Simulator
from local.stripe_simulator.options import PREVIEW_VERSION, Options
from local.stripe_simulator.scenarios import SCENARIOS

COOLDOWN_SECONDS = 20
SETTLE_TIMEOUT_SECONDS = 10
TIMEOUT_SECONDS = 180
CONCURRENCY = 6
MAX_CALLS = 3
MAX_TRANSITIONS = 6
MAX_TRANSITIONS_WITH_COOLDOWN = 9
"""Or with a repair, or with both."""
PREFETCH_SECONDS = 9
"""A slow machine takes seconds from linking to the request, which the prefetch must outlast, and it ends before the settle timeout."""
REFRESH_ENDED = {"REFRESH_FAILED": "refresh failed", "REFRESH_TIMED_OUT": "refresh started"}
"""What happened to a refresh that did not succeed, by the reason of the verdict."""
RELINK_CALLS = 2
"""Calls about an account that is relinked while a verification waits: for the relink, and for the event of the reactivation."""
EXPIRES_IN_SECONDS = 20 * 86_400

# TIMED: a cooldown or prefetch at Stripe must still run when the verification begins. SLOW: the verification takes long.
TIMED = ("cooling_down", "prefetch_pending")
SLOW = (*TIMED, "never_answering", "lost_webhook")

MARGARET: dict[str, Any] = {
    "given": "Margaret",
    "family": "Testerman",
    "email": "margaret.testerman@example.com",
    "phone": "555-555-0101",
    "address": {"line1": "100 Example Street", "line2": "Apt 4", "city": "Springfield", "state": "IL", "postal_code": "62701"},
}


@dataclass(frozen=True)
class Case:
    """One scenario account and the expected result of its verification. `refreshes`: how many refreshes it pays for.

    `title`: a short name for a case that differs from its scenario, and `about` a sentence on it. `event`: what happens to the account
    after it was linked. `relink`: when the end user relinks it, before the verification or while that waits.
    """

    scenario: str
    outcome: str
    reason: str | None = None
    claim: dict[str, Any] = field(default_factory=lambda: MARGARET)
    refreshes: int = 1
    title: str = ""
    about: str = ""
    policy: dict[str, Any] | None = None
    event: Callable[[Simulator, str], Any] | None = None
    relink: Literal["before", "while it waits"] | None = None

    @property
    def slow(self) -> bool:
        return self.scenario in SLOW or self.relink == "while it waits"


def _expires(simulator: Simulator, account: str) -> None:
    simulator.expire(account, time.time() + EXPIRES_IN_SECONDS, cause="access_expired", action="relink_required")


CASES = {
    "fca_single": Case("single_owner", "match"),
    "fca_joint": Case("joint", "match", "JOINT_OWNER", {"name": "Jane Samplewell"}),
    "fca_jointline": Case("joint_line", "match", "JOINT_OWNER", {"name": "Jane Samplewell"}),
    "fca_business": Case("business", "match", "LEGAL_FORM_DIFFERS", {"business_name": "Placeholder Provisions"}),
    "fca_soletrader": Case(
        "single_owner",
        "no_match",
        None,
        {"business_name": "Placeholder Provisions LLC"},
        title="business claims a person's",
        about="A business claims the account of a person",
    ),
    "fca_trust": Case("trust", "close_match", "TRUST"),
    "fca_partial": Case("partial", "match"),
    "fca_noowners": Case("no_owners", "not_verifiable", "NO_OWNERS"),
    "fca_paged": Case("paged_owners", "match"),
    "fca_nickname": Case("nickname", "match", "NICKNAME"),
    "fca_relative": Case("relative", "no_match", "RELATIVE_LIKELY"),
    "fca_stranger": Case(
        "single_owner",
        "no_match",
        None,
        {"name": "Oliver Placeholder"},
        title="a stranger's claim",
        about="A person claims the account of a stranger",
    ),
    "fca_failing": Case("failing_with_reason", "not_verifiable", "REFRESH_FAILED"),
    "fca_cooling": Case("cooling_down", "match", policy={"cooldown_seconds": COOLDOWN_SECONDS}),
    "fca_prefetch": Case("prefetch_pending", "match", refreshes=0, policy={"settle_seconds": PREFETCH_SECONDS}),
    "fca_fresh": Case("fresh", "match", refreshes=0),
    "fca_old": Case("old", "match"),
    "fca_inactive": Case("inactive", "not_verifiable", "ACCOUNT_INACTIVE", refreshes=0),
    "fca_disconnected": Case("disconnected", "not_verifiable", "ACCOUNT_DISCONNECTED", refreshes=0),
    "fca_nopermission": Case("permission_missing", "not_verifiable", "PERMISSION_MISSING", refreshes=0),
    "fca_lost": Case("lost_webhook", "match"),
    "fca_never": Case("never_answering", "not_verifiable", "REFRESH_TIMED_OUT"),
    "fca_relinked": Case(
        "single_owner",
        "match",
        title="inactive, then relinked",
        about="Inactive; the end user relinks it while the verification waits",
        relink="while it waits",
        event=lambda simulator, account: simulator.deactivate(account, cause="access_expired", action="relink_required"),
    ),
    "fca_permitted": Case(
        "permission_missing",
        "match",
        title="permission added by relinking",
        about="Linked without the ownership permission, then relinked with it",
        relink="before",
    ),
    "fca_expiring": Case(
        "single_owner", "match", title="expiring", about="Active, and expected to become inactive in 20 days", event=_expires
    ),
}


def main() -> int:
    no_arguments("local.demo", "Run the main job on an embedded stack.")
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:5.1f} s] {text}", flush=True)

    say("starting the AWS emulator and the Stripe simulator, deploying template.yaml ...")
    parameters = {"SettleTimeoutSeconds": str(SETTLE_TIMEOUT_SECONDS), "StripePreviewVersion": PREVIEW_VERSION}
    with running(parameters=parameters, options=Options(settle_seconds=1.0), say=say) as stack:
        assert stack.stripe is not None
        simulator = stack.stripe.simulator
        _link(simulator)
        say(f"{len(CASES)} accounts are linked and their first webhooks are processed")
        before = {account: _calls(simulator, account).total() for account in CASES}
        rows = _verify_all(stack, simulator, before, say)
    return report(rows)


def report(rows: list[dict[str, Any]]) -> int:
    """Print the table and write the files. The exit code is 1 if anything is not as expected."""
    problems = {row["account"]: found for row in rows if (found := _problems(row))}
    BUILD.mkdir(exist_ok=True)
    (BUILD / "demo.json").write_text(json.dumps(rows, indent=1) + "\n")
    (BUILD / "demo.html").write_text(page(rows, problems))
    width = terminal_width()
    print("", *lines(rows, width), *legend(width), sep="\n")
    print(f"\n{len(rows)} verifications, {len(rows) - len(problems)} as expected.")
    print(f"With full claims, owners and timelines, for a browser: {BUILD / 'demo.html'}\nThe same as data: {BUILD / 'demo.json'}")
    for account, found in problems.items():
        for problem in found:
            print(f"NOT AS EXPECTED  {account}: {problem}")
    return 1 if problems else 0


def _link(simulator: Simulator) -> None:
    """Link the accounts, the timed ones last, and wait until the stack has read each account that has sent a webhook."""
    for timed in (False, True):
        chosen = {account: case for account, case in CASES.items() if (case.scenario in TIMED) == timed}
        for account, case in chosen.items():
            simulator.link(case.scenario, id=account, policy=case.policy)
        announced = {account for account, case in chosen.items() if case.scenario != "lost_webhook"}
        for _ in range(400):
            if all(_calls(simulator, account) for account in announced):
                break
            time.sleep(0.05)
        for account, case in chosen.items():
            if case.event is not None:
                case.event(simulator, account)
    # A finished prefetch, and whatever has happened to an account, sends a second webhook, for which the stack reads the account again.
    time.sleep(0.5)


def _verify_all(stack: Stack, simulator: Simulator, before: dict[str, int], say: Any) -> list[dict[str, Any]]:
    client = Client(stack.api_url)

    def verify(item: tuple[str, Case]) -> dict[str, Any]:
        account, case = item
        if case.relink == "before":
            _relink(client, simulator, account)
            before[account] = _settled_calls(simulator, account)
        asked = time.monotonic()
        wish = {"if_inactive": "wait"} if case.relink == "while it waits" else {}
        answer = client.call("POST", "/verifications", {"account": account, "claim": case.claim, **wish})
        at_once = answer.status == 200
        if answer.status not in (200, 202):
            raise SystemExit(f"POST /verifications for {account}: {answer.status} {answer.body}")
        found, pause, waits_for = answer.body, 0.2, None
        while found["state"] != "completed" and time.monotonic() - asked < TIMEOUT_SECONDS:
            if case.relink == "while it waits" and waits_for is None and _is_paused(stack, found["id"]):
                waits_for = f"{found.get('waiting_for')} by {found.get('remedy')}"
                say(f"{account:17} waits for {waits_for}")
                _relink(client, simulator, account)
            time.sleep(pause)
            found = client.call("GET", f"/verifications/{found['id']}").body
        found = client.call("GET", f"/verifications/{found['id']}?timeline=true").body
        row = _row(stack, simulator, before, account, case, found, at_once)
        row["status_details"] = client.call("GET", f"/accounts/{account}").body.get("status_details")
        row["waited_for"] = waits_for
        say(f"{account:17} {row['what']:35} {row['verdict']}")
        return row

    slow = [item for item in CASES.items() if item[1].slow]
    others = [item for item in CASES.items() if item not in slow]
    with ThreadPoolExecutor(len(slow)) as waiting, ThreadPoolExecutor(CONCURRENCY) as pool:
        slow_rows, other_rows = waiting.map(verify, slow), pool.map(verify, others)
        rows = [*other_rows, *slow_rows]
    return sorted(rows, key=lambda row: list(CASES).index(row["account"]))


def _row(
    stack: Stack,
    simulator: Simulator,
    before: dict[str, int],
    account: str,
    case: Case,
    found: dict[str, Any],
    at_once: bool,
) -> dict[str, Any]:
    states, history = ([], Counter[str]()) if at_once else _history(stack, found["id"])
    verdict = found["verdict"] or {"outcome": "none", "score": None, "fields": {}, "reasons": [], "owner_position": None}
    refreshes = simulator.initiated_refreshes()[account]
    calls = _calls(simulator, account)
    owner_pages = calls[("GET", "owners")]
    what = []
    if case.relink == "before":
        what.append("relinked")
    if "WaitForRepair" in states:
        what.append("waited for relink")
    if history["WaitStateEntered"]:
        what.append("waited for cooldown")
    if refreshes:
        what.append(REFRESH_ENDED.get(next(iter(verdict["reasons"]), ""), "refreshed"))
    if history["TaskTimedOut"]:
        what.append("healed" if verdict["outcome"] != "not_verifiable" else "gave up")
    if not what and verdict["outcome"] != "not_verifiable":
        what.append("found fresh" if at_once else "joined")
    return {
        "account": account,
        "scenario": case.title or case.scenario,
        "about": _about(case, what),
        "claim": case.claim,
        "owners": [dict(owner) for owner in SCENARIOS[case.scenario].owners],
        "what": ", ".join(what) or "refused by state",
        "seconds": seconds(found["timeline"]),
        "verdict": verdict["outcome"],
        "expected": case.outcome,
        "expected_reason": case.reason,
        "expected_refreshes": case.refreshes,
        "score": verdict["score"],
        "fields": verdict["fields"],
        "reasons": verdict["reasons"],
        "owner_position": verdict["owner_position"],
        # AWS bills a state transition for each entry of a state and for each retry.
        "state_transitions": sum(n for kind, n in history.items() if kind.endswith("StateEntered")) + history["retries"],
        "states": states,
        "waits": history["WaitStateEntered"],
        "repairs": states.count("WaitForRepair"),
        "relinked_while_waiting": case.relink == "while it waits",
        "stripe_calls": calls.total() - before[account],
        "owner_pages": owner_pages,
        "refreshes": refreshes,
        "verification": found["id"],
        "timeline": found["timeline"],
    }


def _about(case: Case, what: list[str]) -> str:
    """A sentence on the account, true of this run."""
    if case.scenario == "prefetch_pending" and "joined" not in what:
        return "A prefetch has ended before the verification was requested"
    return case.about or SCENARIOS[case.scenario].title


def _history(stack: Stack, verification: str) -> tuple[list[str], Counter[str]]:
    """By the execution's history: the names of the states, and the number of events of each kind and of a task's `retries`."""
    client, arn = stack.client("stepfunctions"), _execution(stack, verification)
    for _ in range(100):
        if client.describe_execution(executionArn=arn)["status"] != "RUNNING":
            break
        time.sleep(0.05)
    events = client.get_execution_history(executionArn=arn, maxResults=1000)["events"]
    kinds = Counter(event["type"] for event in events)
    kinds["retries"] = kinds["TaskScheduled"] - kinds["TaskStateEntered"]
    return [event["stateEnteredEventDetails"]["name"] for event in events if event["type"].endswith("StateEntered")], kinds


def _execution(stack: Stack, verification: str) -> str:
    return stack.outputs["StateMachineArn"].replace(":stateMachine:", ":execution:") + ":" + verification


def _is_paused(stack: Stack, verification: str) -> bool:
    """Whether the workflow has come to the state in which it waits for a repair."""
    found = stack.client("stepfunctions").get_execution_history(executionArn=_execution(stack, verification), maxResults=1000)["events"]
    return any(event.get("stateEnteredEventDetails", {}).get("name") == "WaitForRepair" for event in found)


def _relink(client: Client, simulator: Simulator, account: str) -> None:
    """Have the end user relink an account."""
    answer = client.call("POST", "/sessions", {"via": "financial_connections", "relink": {"account": account}})
    if answer.status != 201:
        raise SystemExit(f"POST /sessions for {account}: {answer.status} {answer.body}")
    simulator.complete_relink(answer.body["id"])
    ended = client.call("GET", f"/sessions/{answer.body['id']}").body["relink"]
    if (ended["status"], ended["relinked_account"]) != ("succeeded", account):
        raise SystemExit(f"{account} was not relinked: {ended}")


def _settled_calls(simulator: Simulator, account: str) -> int:
    """The calls about an account once the events of its relinking have been processed."""
    time.sleep(1.0)
    return _calls(simulator, account).total()


def _calls(simulator: Simulator, account: str) -> Counter[tuple[str, str]]:
    """The calls to Stripe about an account, by method and last part of the path."""
    counts = simulator.request_counts()["accounts"].get(account, {})
    return Counter({(name.split()[0], name.rsplit("/", 1)[1]): n for name, n in counts.items()})


def _problems(row: dict[str, Any]) -> list[str]:
    """How the row differs from what is expected."""
    allowed_transitions = MAX_TRANSITIONS_WITH_COOLDOWN if row["waits"] or row["repairs"] else MAX_TRANSITIONS
    checks = {
        f"verdict {row['verdict']}, expected {row['expected']}": row["verdict"] == row["expected"],
        f"reason {row['expected_reason']} is missing": row["expected_reason"] in [None, *row["reasons"]],
        f"{row['refreshes']} refreshes, expected {row['expected_refreshes']}": row["refreshes"] == row["expected_refreshes"],
        f"{row['state_transitions']} state transitions, {allowed_transitions} allowed": row["state_transitions"] <= allowed_transitions,
    }
    if row["relinked_while_waiting"]:
        checks[f"{row['repairs']} waits for a repair, expected 1"] = row["repairs"] == 1
        checks[f"its caller was told to wait for {row['waited_for']}"] = row["waited_for"] == "repair by relink"
    if row["scenario"] == "expiring":
        date = (row["status_details"] or {}).get("expected_deactivation_at")
        checks["no date of the expected deactivation is shown"] = date is not None and date > datetime.now(UTC).isoformat()
    allowed = MAX_CALLS + row["owner_pages"] + (RELINK_CALLS if row["relinked_while_waiting"] else 0)
    checks[f"{row['stripe_calls']} Stripe calls, {allowed} allowed"] = row["stripe_calls"] <= allowed
    return [text for text, good in checks.items() if not good]


if __name__ == "__main__":
    sys.exit(interruptible(main))
