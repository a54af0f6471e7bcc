"""Checks the promises at every call to Stripe and at every write to the table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from tests.simulation import records, review_checks
from titleholder.domain.accounts import AccountRef
from titleholder.domain.refresh_policy import CLOCK_SKEW

if TYPE_CHECKING:
    from tests.simulation.simulated_stack import SimulatedStack

PREFETCH_BLINDNESS = 340.0
DEADLINE_BLINDNESS = 25.0
"""How long a call may be on its way: a worker looks at the deadline right before it calls, by a clock that may differ."""

STOP_BLINDNESS = 0.1
"""A stop fewer seconds than this before a call to Stripe is too late to prevent it."""

SEALED = ("SNAPSHOT#", "HISTORY#", "CLAIM#", "NOTE#", "DIGESTS")


class Invariants:
    """Checks one simulation, and adds to its `violations`."""

    def __init__(self, stack: SimulatedStack) -> None:
        self._stack = stack
        self.open: dict[str, dict[str, Mapping[str, Any]]] = {}
        """By account key, the verifications without a verdict, by id."""
        self.stopped: dict[str, float] = {}
        """When a batch was stopped."""
        self._written: set[tuple[str, str]] = set()
        self._completed: list[Mapping[str, Any]] = []
        """Verifications whose verdicts were written by the present call."""

    def initiated(self, account: str) -> int:
        return self._stack.simulator.initiated_refreshes().get(account, 0)

    def needs(self, account: str, connected: str | None) -> list[tuple[float, int]]:
        """When the open verifications of an account were asked for, and their `max_age`; without those whose deadline has passed, and those
        of stopped batches.
        """
        needs = []
        for item in self.open.get(AccountRef(account, "test", connected).key, {}).values():
            if int(item["deadline_ms"]["N"]) / 1000 < self._stack.scheduler.now - DEADLINE_BLINDNESS:
                continue
            stopped = self.stopped.get(item.get("batch", {}).get("S", ""))
            if stopped is None or self._stack.scheduler.now - stopped < STOP_BLINDNESS:
                needs.append((int(item["requested_ms"]["N"]) / 1000, int(item["max_age"]["N"])))
        return needs

    def why_not(self, account: str, connected: str | None, needs: Sequence[tuple[float, int]]) -> str | None:
        """Why a refresh must not be paid for now: no waiter needs one, or Stripe's data would answer all that do."""
        now = self._stack.simulator.now()
        (state,) = (state for state in self._stack.simulator.states() if (state["id"], state["stripe_account"]) == (account, connected))
        done = [r for r in state["refreshes"] if r["status"] == "succeeded"]
        # A prefetch of another stack may settle between our reading of the account and the call, which no code can see in time.
        blind = any(r["via"] == "prefetch" and (r["settled"] or now) > now - PREFETCH_BLINDNESS for r in state["refreshes"])
        if self._stack.asking[account] or blind:
            return None
        last = max((r["started"] for r in done), default=None)
        if not needs:
            return "a refresh was paid for that no verification needed"
        if self._too_many(account, connected):
            return "a refresh was paid for by a verification although the owners are known to be too many"
        # Stripe shows only the last attempt. After one that failed, no code can see that an earlier one succeeded without owners.
        account_shown = state["account"]
        hidden = account_shown["ownership"] is None and (account_shown["ownership_refresh"] or {}).get("status") == "failed"
        if last is not None and not hidden and all(last >= requested - max_age - 8 for requested, max_age in needs):
            return "a refresh was paid for although Stripe had data that was fresh enough"
        return None

    def paid_twice(self) -> Iterator[str]:
        """Refreshes that were paid for although one was enough: a second key was used before a call under the first one was executed."""
        for state in self._stack.simulator.states():
            paid = [refresh for refresh in state["refreshes"] if refresh["via"] == "api" and refresh["feature"] == "ownership"]
            for late in paid:
                asked = self._stack.asked_at[state["id"], late["idempotency_key"]]
                if late["started"] > asked + 1:
                    self._stack.injected["refresh executed late"] += 1
                if any(asked < other["started"] < late["started"] for other in paid):
                    yield f"{state['id']}: a call was executed late, and another one was paid for meanwhile"

    def _check_verdict(self, item: Mapping[str, Any]) -> None:
        """A verdict rests on owners that are fresh enough, and no refresh of ours runs that was refused as it says."""
        verdict, requested = json.loads(item["verdict"]["S"]), int(item["requested_ms"]["N"]) / 1000
        ref = AccountRef.from_dict(_strings(item))
        try:
            state = self._stack.simulator.state(ref.account, stripe_account=ref.stripe_account)
        except KeyError:
            return
        created = {snapshot["id"]: snapshot["created"] for snapshot in state["snapshots"]}
        oldest = requested - int(item["max_age"]["N"]) - CLOCK_SKEW - self._stack.faults.clock_skew - 2
        if verdict["snapshot"] and created[verdict["snapshot"]] < oldest:
            age = oldest - created[verdict["snapshot"]]
            self._stack.violations.append(f"{item['pk']['S']}: its verdict rests on owners {age:.0f} s too old")
        if verdict["reasons"] == ["OWNERSHIP_MISSING"]:
            self._stack.injected["verdict: ownership missing"] += 1
        ends = [refresh["settled"] or self._stack.simulator.now() for refresh in state["refreshes"] if refresh["via"] == "api"]
        if verdict["reasons"] == ["REFRESH_REFUSED"] and any(end > self._stack.simulator.now() - 5 for end in ends):
            self._stack.violations.append(f"{item['pk']['S']}: REFRESH_REFUSED while a refresh of ours runs")

    def _too_many(self, account: str, connected: str | None) -> bool:
        """Whether the stored account's newest snapshot is one of too many owners."""
        item = self._stack.dynamodb.items.get((f"ACCOUNT#{AccountRef(account, 'test', connected).key}", "ACCOUNT"), {})
        return "N" in item.get("snapshot_too_many", {})

    def see_whole(self) -> None:
        """After each call, check that all of what it wrote exists, because a reader may follow at once: the parts of a snapshot, and the
        review of a close match.
        """
        while self._completed:
            self._stack.complain(review_checks.missing_review(self._stack, self._completed.pop()))
        while self._written:
            pk, head = self._written.pop()
            item = self._stack.dynamodb.items.get((pk, head))
            found = sum(sk.startswith(f"{head}#PART#") for sk in self._stack.dynamodb.sort_keys(pk))
            if found != int(item["parts"]["N"] if item and "parts" in item else 0):
                self._stack.violations.append(f"{pk}: {head} has {found} parts at one moment, which are not all")

    def changed(self, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> None:
        """Check a write: no older data replaces newer data, and no verdict changes."""
        pk, sk = after["pk"]["S"], after["sk"]["S"]
        if invocation := self._stack.current_invocations.get(getcurrent()):
            if pk.startswith("AUDIT#"):
                invocation.records.note(after)
            self._stack.complain(records.missing_in_table(invocation.records, before, after))
        if sk == "EVENT" and (stray := after["id"]["S"]) in self._stack.strays and stray not in self._stack.strays_elsewhere:
            self._stack.violations.append(
                f"{stray} ({self._stack.strays[stray]}): an event that may have no effect was recorded as one that has"
            )
        if sk.startswith("SNAPSHOT#"):
            self._written.add((pk, sk.partition("#PART#")[0]))
        if sk == "VERIFICATION" and "members" not in after:
            of_account = self.open.setdefault(AccountRef.from_dict(_strings(after)).key, {})
            if "verdict" in after:
                of_account.pop(after["verification"]["S"], None)
            else:
                of_account[after["verification"]["S"]] = after
        if sk == "ACCOUNT" and (status := "erased" if "erased_ms" in after else after.get("status", {}).get("S")):
            self._stack.statuses.setdefault(pk, []).append((self._stack.scheduler.now, status))
        if sk.startswith("WAITER#") and before is None:
            verification = self._stack.dynamodb.items.get((f"VERIFICATION#{sk.removeprefix('WAITER#')}", "VERIFICATION"), {})
            if signal := self._stack.served.get(verification.get("batch", {}).get("S", "")):
                self._stack.scheduler.fire(signal)
        if sk == "BATCH" and after["batch_state"]["S"] == "stopped":
            self.stopped.setdefault(after["batch"]["S"], self._stack.scheduler.now)
        erased = "erased_ms" in after or "erased_ms" in self._stack.dynamodb.keys.get((pk, ""), {})
        if erased and (sk.startswith(SEALED) or (sk == "ACCOUNT" and "snapshot" in after)):
            self._stack.violations.append(f"{pk}: {sk} was written after the account was erased")
        self._stack.violations += review_checks.wrong_write(self._stack, before, after)
        if sk == "VERIFICATION" and "verdict" in after and "verdict" not in (before or {}):
            self._completed.append(after)
        if before is None:
            return
        if sk == "ACCOUNT" and "snapshot" in before and not erased and _place(after) < _place(before):
            self._stack.violations.append(f"{after['account']['S']}: a newer snapshot was replaced by an older one")
        seen = [int(item["refresh_order"]["N"]) for item in (before, after) if "refresh_order" in item]
        if after["sk"]["S"] == "ACCOUNT" and seen != sorted(seen):
            self._stack.violations.append(f"{after['account']['S']}: a newer observation was replaced by an older one")
        if "verdict" in after and "verdict" not in before:
            self._check_verdict(after)
        if "verdict" in before and before["verdict"] != after.get("verdict"):
            self._stack.violations.append(f"{after['pk']['S']}: a verdict changed")
        if after["sk"]["S"].startswith("SNAPSHOT#") and before != after:
            self._stack.violations.append(f"{after['sk']['S']}: a snapshot changed")


def _strings(item: Mapping[str, Any]) -> dict[str, str]:
    """The attributes of an item that are text."""
    return {name: value["S"] for name, value in item.items() if "S" in value}


def _place(item: Mapping[str, Any]) -> tuple[int, int, str]:
    """The position in time of an account's newest snapshot."""
    return int(item["snapshot_attempted_at"]["N"]), int(item["snapshot_created"]["N"]), item["snapshot"]["S"]
