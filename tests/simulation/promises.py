"""What has to be true after a schedule with any faults."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.simulation.batch_results import check_batches
from tests.simulation.deployment import CLAIM_LIMIT, EVENTS_QUEUE
from tests.simulation.invariants import SEALED
from tests.simulation.simulation import Simulation
from titleholder.domain.accounts import AccountRef
from titleholder.domain.refresh_policy import CLOCK_SKEW, TOO_MANY_OWNERS
from titleholder.matching.explanations import SENTENCES
from titleholder.services import erasure
from titleholder.services.verdicts import MATCHER_FAILED

SETTLE_SECONDS = 4000.0
"""The time between two runs of `reconcile` after the storm."""
SILENT = ("lost_webhook", "never_answering")
BOUND_RUNS = 4
"""The number of runs within which docs/operations.md promises repairs, even for ten times as many tenants as there are here."""


def check_bound(simulation: Simulation) -> None:
    """A lost event of a tenant that works, and has worked, is repaired within `BOUND_RUNS` runs, even if other tenants fail."""
    items, now = simulation.dynamodb.items, simulation.scheduler.now * 1000
    resting = {id_ for id_ in simulation.many if int(items["CONNECTED#test", id_].get("due_ms", {"N": "0"})["N"]) > now}
    for _ in range(BOUND_RUNS if simulation.many else 0):
        simulation.scheduler.spawn(simulation.reconcile)
        simulation.run(900)
    for id_ in simulation.many:
        if id_ not in resting and id_ not in simulation.broken and (f"ACCOUNT#test/{id_}/fca_of_{id_}", "ACCOUNT") not in items:
            simulation.violations.append(f"{id_}: its lost event was not found within {BOUND_RUNS} runs")
        if id_ not in simulation.broken and "retired_ms" in items["CONNECTED#test", id_]:
            simulation.violations.append(f"{id_}: retired, though it had not revoked its access")


def check_promises(simulation: Simulation) -> None:
    """Check the promises by the state of the table, the bus and Stripe at the end."""
    complain = simulation.violations.append
    check_batches(simulation)
    simulation.violations += [f"no right to: {call}" for call in simulation.rights.refused()]
    items = simulation.dynamodb.items
    verifications = {pk.removeprefix("VERIFICATION#"): item for (pk, sk), item in items.items() if sk == "VERIFICATION"}
    announced: dict[str, set[str]] = {}
    stale_announced, lifted = set(), set()
    for kind, detail in simulation.events_bus.announced:
        if kind == "VerificationCompleted":
            announced.setdefault(detail["verification"], set()).add(json.dumps(detail, sort_keys=True))
        elif kind == "VerificationStale":
            stale_announced.add(detail["verification"])
        elif kind == "VerificationStaleLifted":
            lifted.add(detail["verification"])
    for name, id_ in simulation.accepted.items():
        item = verifications.get(id_)
        if item is None or "verdict" not in item:
            execution = simulation.workflows.executions.get(id_)
            complain(f"{name}: accepted, and no verdict (its workflow: {execution.status if execution else 'none'})")
            continue
        verdict = json.loads(item["verdict"]["S"])
        _check_many(simulation, name, item, verdict)
        if (
            name in simulation.poisoned
            and verdict["snapshot"] is not None
            and verdict["reasons"] not in ([MATCHER_FAILED], [TOO_MANY_OWNERS])
        ):
            complain(f"{name}: the matcher raised, and the verdict is {verdict['outcome']} for {verdict['reasons']}")
        given = {*verdict["reasons"], *(reason for field in verdict.get("fields", {}).values() for reason in field["reasons"])}
        if unexplained := given - set(SENTENCES):
            complain(f"{name}: reasons without a sentence: {sorted(unexplained)}")
        if verdict["reasons"] == ["CANCELLED"] and name not in simulation.cancelled:
            complain(f"{name}: cancelled, and not by its own back end")
    for id_, item in verifications.items():
        if "verdict" in item and len(announced.get(id_, ())) != 1:
            complain(f"{id_}: {len(announced.get(id_, ()))} different verdicts were announced")
    for id_, item in verifications.items():
        batch = item.get("batch", {}).get("S")
        if batch is None:
            continue
        if "verdict" not in item:
            complain(f"{id_}: of a batch that {'was stopped' if batch in simulation.invariants.stopped else 'ran'}, and no verdict")
        elif "BATCH_STOPPED" in item["verdict"]["S"]:
            simulation.injected["verification stopped"] += 1
            if batch not in simulation.invariants.stopped:
                complain(f"{id_}: stopped with a batch that was not")
    _check_changes_announced(simulation)
    dead = {json.loads(body).get("event") for body in simulation.sqs.dead.get(EVENTS_QUEUE + "-dead", ())}
    for (pk, sk), item in items.items():
        # A waiter that a late message stored after the verdict does not wait any more; it expires.
        if sk.startswith("WAITER#") and "verdict" not in verifications[sk.removeprefix("WAITER#")]:
            complain(f"{item['verification']['S']}: still waits at the end")
        key = "@".join([pk.removeprefix("EVENT#"), *sk.split("#")[1:]])
        if sk.split("#")[0] == "EVENT" and not item["processed"]["BOOL"] and key not in dead and not _found_otherwise(simulation, pk, item):
            complain(f"{pk}: acknowledged, neither processed nor among the dead letters")
    ids = list(simulation.accepted.values())
    if len(set(ids)) < len(ids):
        complain("two Idempotency-Keys, or two tenants with the same one, have one verification")
    if guessed := {id_ for id_ in ids if id_ in simulation.guesses}:
        complain(f"{guessed.pop()}: its id can be derived from its Idempotency-Key")
    for id_, why in simulation.strays.items():
        kept = {_why_aside(item, sk) for (pk, sk), item in items.items() if pk == f"EVENT#{id_}"}
        if kept != {why} and id_ not in dead:
            complain(f"{id_} ({why}): not stored as what it is")
    platforms = simulation.simulator.event_ids()
    for (pk, sk), item in items.items():
        if pk.startswith("EVENT#") and _why_aside(item, sk) and pk.removeprefix("EVENT#") in platforms:
            complain(f"{pk}: an event of the platform was set aside ({sk})")
    if len(simulation.guessed) > CLAIM_LIMIT:
        complain(f"{len(simulation.guessed)} different names were compared with one account within 24 hours")
    _check_erased(simulation)
    simulation.violations += simulation.invariants.paid_twice()
    _check_whole(simulation)
    for running in simulation.workflows.executions.values():
        if running.status == "RUNNING":
            complain(f"{running.name}: runs for ever")
    _check_accounts(simulation, verifications, stale_announced, lifted)


def _why_aside(item: Mapping[str, Any], sk: str) -> str | None:
    """Why an event was set aside, on arrival, or in processing if it names its account by a context."""
    if sk.startswith("ASIDE#"):
        return sk.removeprefix("ASIDE#")
    return item["aside"]["S"] if "aside" in item and item["processed"]["BOOL"] else None


def _found_otherwise(simulation: Simulation, pk: str, item: Mapping[str, Any]) -> bool:
    """Whether Stripe gave up the deliveries of an event before one was acknowledged, and `reconcile` found the event by its other path.

    An event that `reconcile` itself stored is listed as open until it is processed, so that it needs no delivery.
    """
    others = [other for (key, _), other in simulation.dynamodb.items.items() if key == pk and "processed" in other]
    processed = any(other["processed"]["BOOL"] for other in others)
    return "open_kind" not in item and processed and pk.removeprefix("EVENT#") not in simulation.events


def _check_changes_announced(simulation: Simulation) -> None:
    """Every stored change of a snapshot was announced, unless the account was erased since, and so was every batch's end."""
    ended = {detail["batch"] for kind, detail in simulation.events_bus.announced if kind == "BatchCompleted"}
    for (pk, sk), item in simulation.dynamodb.items.items():
        if sk == "BATCH" and item["batch_state"]["S"] == "completed" and item["batch"]["S"] not in ended:
            simulation.violations.append(f"{pk}: its end was not announced")
    announced = {detail["snapshot"] for kind, detail in simulation.events_bus.announced if kind == "OwnershipChanged"}
    for (_, sk), item in simulation.dynamodb.items.items():
        if sk.startswith("HISTORY#") and "S" in item["changes"] and json.loads(item["changes"]["S"]):
            simulation.injected["owners changed"] += 1
            if item["snapshot"]["S"] not in announced:
                simulation.violations.append(f"{sk}: its changes were not announced")


def _check_many(simulation: Simulation, name: str, item: Mapping[str, Any], verdict: Mapping[str, Any]) -> None:
    """Too many owners give that reason in every case, and nothing else does."""
    if verdict["snapshot"] is None:
        return
    ref = AccountRef(item["account"]["S"], "test", item.get("stripe_account", {}).get("S"))
    kept = simulation.dynamodb.items.get((f"ACCOUNT#{ref.key}", f"SNAPSHOT#{verdict['snapshot']}"))
    if kept is not None and ("too_many" in kept) != (verdict["reasons"] == [TOO_MANY_OWNERS]):
        simulation.violations.append(f"{name}: {verdict['reasons']} for a snapshot with {kept.get('too_many', 'not too many')} owners")
    simulation.injected["verdict on too many owners"] += verdict["reasons"] == [TOO_MANY_OWNERS]


def _check_whole(simulation: Simulation) -> None:
    """No snapshot lacks a part, and no part lacks its snapshot."""
    found: dict[tuple[str, str], set[str]] = {}
    wanted: dict[tuple[str, str], int] = {}
    for (pk, sk), item in simulation.dynamodb.items.items():
        head, _, part = sk.partition("#PART#")
        if part:
            found.setdefault((pk, head), set()).add(part)
        elif sk.startswith("SNAPSHOT#") and "parts" in item:
            simulation.injected["snapshot in parts"] += 1
            wanted[pk, sk] = int(item["parts"]["N"])
    for key in {*found, *wanted}:
        if len(found.get(key, ())) != wanted.get(key, 0):
            simulation.violations.append(f"{key}: {len(found.get(key, ()))} of {wanted.get(key, 0)} parts are stored")


def _check_erased(simulation: Simulation) -> None:
    """No encrypted item and no key is left of a disconnected account."""
    for (pk, _), item in list(simulation.dynamodb.items.items()):
        if item["sk"]["S"] != "ACCOUNT" or item.get("status", {}).get("S") != "disconnected":
            continue
        simulation.injected["account erased"] += 1
        left = [sk for key, sk in simulation.dynamodb.items if key == pk and sk.startswith(SEALED)]
        if left or "wrapped_key" in simulation.dynamodb.keys.get((pk, ""), {"wrapped_key": None}):
            simulation.violations.append(f"{pk}: disconnected, and not erased ({left or 'its key'})")
        if "erasure_ended_ms" not in item or "snapshot" in item or "refresh_error" in item:
            simulation.violations.append(f"{pk}: its erasure was not ended")
        elif "disconnect_pending" in item and fails(simulation, item):
            _check_denied(simulation, pk, item)
        elif "open_kind" in item:
            simulation.violations.append(f"{pk}: its erasure was not ended ({item['open_kind']['S']})")


def _check_denied(simulation: Simulation, pk: str, item: Mapping[str, Any]) -> None:
    """An account that Stripe never disconnects is still listed: a disconnection was tried, and the next try is due in the future."""
    simulation.injected["disconnection denied for good"] += 1
    tries, open_ = int(item.get("disconnect_tries", {"N": "0"})["N"]), item.get("open_kind", {"S": None})["S"]
    if not tries or open_ != "disconnection":
        simulation.violations.append(f"{pk}: its disconnection is not tried any more ({tries} tries, {open_})")
        return
    ahead = int(item["open_since_ms"]["N"]) / 1000 - simulation.scheduler.now
    if not -2 * SETTLE_SECONDS < ahead <= erasure.LONGEST_PAUSE_SECONDS + CLOCK_SKEW:
        simulation.violations.append(f"{pk}: its next disconnection is due in {ahead:.0f} s")


def fails(simulation: Simulation, item: Mapping[str, Any]) -> bool:
    """Whether Stripe never answers for this account, or for its connected account."""
    return any(item.get(name, {}).get("S") in simulation.broken for name in ("account", "stripe_account"))


def check_woken(simulation: Simulation) -> None:
    """Without faults, no workflow may have waited for a time-out, because then a call that resumes it would have been lost."""
    if simulation.injected["function time-out"] or simulation.injected["key refused"]:
        return
    # Stripe makes no event of these accounts, nor of those that were repaired without one.
    silent = {state["id"] for state in simulation.simulator.states() if state["scenario"] in SILENT}
    for name, id_ in simulation.accepted.items():
        execution = simulation.workflows.executions.get(id_)
        account = name.rsplit("-", 1)[0]
        # A wait for a repair that never comes ends at its time-out.
        waited = execution and execution.states[-2:] == ["WaitForRepair", "NotVerifiable"] and account not in simulation.repaired
        unseen = account in silent or simulation.repaired.get(account, (0.0, False))[1]
        if execution and execution.timeouts and not unseen and not waited:
            simulation.violations.append(f"{name}: not resumed, although nothing was lost")


def _check_accounts(simulation: Simulation, verifications: dict[str, Any], stale_announced: set[str], lifted: set[str]) -> None:
    letters = [json.loads(body) for body in simulation.sqs.dead.get(EVENTS_QUEUE + "-dead", ())]
    # An organization's events that can't be placed excuse nothing where the platform's own endpoint delivers them too.
    placed = not simulation.injected["own account denied"]
    dead = {letter.get("account") for letter in letters if placed or "context" not in letter}
    for state in simulation.simulator.states():
        ref = AccountRef(state["id"], "test", state["stripe_account"])
        item = simulation.dynamodb.items.get((f"ACCOUNT#{ref.key}", "ACCOUNT"))
        if ref.account in simulation.broken or ref.stripe_account in simulation.broken:
            continue
        if item is None and ref.stripe_account in simulation.many:
            simulation.violations.append(f"{ref.key}: its lost event was never found")
        if item is None or "status" not in item:
            continue
        if ref.account in dead:
            simulation.injected["account with a dead letter"] += 1
            continue
        # If the event of a repair was never made, only a verification that waits for the repair notices it, by a reading.
        if item["status"]["S"] != state["status"] and simulation.repaired.get(ref.account, (0.0, False))[1]:
            continue
        if item["status"]["S"] != state["status"]:
            simulation.violations.append(f"{ref.key}: known as {item['status']['S']}, is {state['status']}")
        newest = max(state["refreshes"], key=lambda r: r["started"], default=None)
        if newest and newest["status"] == "succeeded" and state["status"] != "disconnected":
            known, named = item["snapshot"]["S"] if "snapshot" in item else None, state["account"]["ownership"]
            if named not in (None, known):
                simulation.violations.append(f"{ref.key}: the newest owners are not stored ({known}, {named})")
        for id_, verification in verifications.items():
            whose = verification["account"]["S"] if "account" in verification else None, verification.get("stripe_account", {}).get("S")
            if whose != (ref.account, ref.stripe_account) or "verdict" not in verification:
                continue
            if json.loads(verification["verdict"]["S"])["outcome"] == "not_verifiable":
                continue
            if state["status"] == "active":
                if "stale" in verification:
                    simulation.violations.append(f"{id_}: its account is active, and its verdict marked as stale")
                elif id_ in stale_announced:
                    simulation.injected["stale lifted"] += 1
                    if id_ not in lifted:
                        simulation.violations.append(f"{id_}: it was announced as stale, and not that it no longer is")
            elif "stale" not in verification or id_ not in stale_announced:
                simulation.violations.append(f"{id_}: its account is inactive or disconnected, and its verdict not marked as stale")
