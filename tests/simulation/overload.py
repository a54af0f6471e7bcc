"""Runs the real handlers and workflows in virtual time under a load that is a multiple of Stripe's rate.

python -m tests.simulation.overload            loads of 0.5, 1, 2 and 5 times the rate, and the bursts that once collapsed

The load lasts for four settle timeouts, then no more work comes, and the backlog is drained. Times are scaled down from Stripe's 25 calls a
second and the settle timeout of 900 s, because only their product with the load counts: how many settle timeouts long the backlog gets.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from local.stripe_simulator.options import Options
from tests.simulation.application import inside
from tests.simulation.batch_run import BatchSimulation
from tests.simulation.deployment import BEGIN
from tests.simulation.limits import LONGEST_CHAIN

BEGIN_SECONDS = 5.0
SLICE_SECONDS = 10.0


@dataclass(frozen=True)
class Load:
    """The work of a run, and the rate that Stripe allows. Times are seconds.

    `pace`: calls a second for each operation, `in_all` for all together. `singles`: verifications over HTTP, evenly over `seconds`.
    `batch`: accounts of one batch that starts with them. `readers`: calls of `GET /accounts/{id}` a second, for `reading` seconds from the
    beginning. `bank`: how long a refresh takes to settle. `concurrency`: how many functions the AWS account may run at once. `wait`: for
    how many seconds each of the calls for `singles` waits for the verdict, `waiting_calls`: how many may, where the default is not meant.
    """

    pace: float
    settle_timeout: int
    in_all: float = 100.0
    singles: int = 0
    seconds: float = 1.0
    batch: int = 0
    readers: float = 0.0
    reading: float = 0.0
    bank: float = 5.0
    max_wait: int = 7 * 86_400
    concurrency: int = 1000
    wait: int = 0
    waiting_calls: int | None = None


@dataclass(frozen=True)
class Outcome:
    """The result of a load. `waits`: from the first call for it to the verdict, of singles. `drained`: seconds until the last verdict.

    `longest_chain`: how often a message was put back into its queue at most, `long_chains`: the share of messages that Lambda would have
    stopped. `throttled`: invocations that Lambda did not run.
    """

    load: Load
    verdicts: Mapping[str, int]
    reasons: Mapping[str, int]
    paid: int
    unwanted: int
    early_timeouts: int
    lost: int
    waits: tuple[float, ...]
    drained: float
    peak: int
    peak_of_one: int
    refused: int
    read_answers: Mapping[int, int]
    violations: tuple[str, ...]
    longest_chain: int = 0
    long_chains: float = 0.0
    throttled: Mapping[str, int] = field(default_factory=dict)

    @property
    def goodput(self) -> float:
        """Verdicts that rest on owners, as a share of what the rate or the load allowed until the backlog was drained."""
        asked = self.load.singles + self.load.batch
        ideal = max(asked / self.load.pace, self.load.seconds if self.load.singles else 0.0) + self.load.bank
        return (self.verdicts.get("match", 0) / asked) * min(1.0, ideal / self.drained) if asked and self.drained else 0.0

    def wait(self, share: float) -> float:
        """The wait that this share of the singles did not exceed."""
        ordered = sorted(self.waits)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class OverloadedSimulation(BatchSimulation):
    """A simulation without faults, under overload."""

    def __init__(self, load: Load, seed: int = 0) -> None:
        super().__init__(load.batch, Options(settle_seconds=load.bank, global_rate_limit=None), seed, singles=load.singles)
        self.simulator.link("single_owner", id="fca_read", customer="cus_read")
        self.load = load
        self.concurrency.limit = load.concurrency
        self.wait_seconds = load.wait
        self.unwanted = 0
        self.read_answers: Counter[int] = Counter()
        self.environment = {
            "STRIPE_CALLS_PER_SECOND": str(load.pace),
            "STRIPE_CALLS_PER_SECOND_IN_ALL": str(load.in_all),
            "SETTLE_TIMEOUT_SECONDS": str(load.settle_timeout),
            "MAX_WAIT_SECONDS": str(load.max_wait),
            **({"WAITING_CALLS": str(load.waiting_calls)} if load.waiting_calls is not None else {}),
        }

    def stripe_call(self, method: str, path: str, headers: Mapping[str, str], call: Callable[[], Any]) -> Any:
        account = path.split("/")[-2]
        if method == "POST" and path.endswith("/refresh"):
            key = f"test/{headers.get('Stripe-Account') or 'platform'}/{account}"
            now = self.scheduler.now * 1000
            if all(int(item["deadline_ms"]["N"]) < now for item in self.invariants.open.get(key, {}).values()):
                self.unwanted += 1
        return super().stripe_call(method, path, headers, call)

    def read(self, account: str) -> None:
        """Read an account once, as a back end does."""
        status, _ = self._http("api", "GET", f"/accounts/{account}", None, None, {})
        self.read_answers[status] += 1


def run(load: Load, *, longest: float = 2 * 86_400.0, shown: Callable[[float, int], None] = lambda now, done: None) -> Outcome:
    """Run a load to its end."""
    simulation = OverloadedSimulation(load)
    with inside(simulation):
        if load.batch:
            simulation.at(BEGIN_SECONDS, simulation.begin)
        for number in range(load.singles):
            at = BEGIN_SECONDS + load.seconds * number / load.singles
            simulation.at(at, partial(simulation.verify, f"single-{number}", f"fca_single{number}"))
        for number in range(int(load.readers * load.reading)):
            simulation.at(BEGIN_SECONDS + number / load.readers, partial(simulation.read, "fca_read"))
        simulation.run(BEGIN_SECONDS + load.seconds)
        while simulation.scheduler.now - BEGIN < longest and _unfinished(simulation):
            simulation.run(SLICE_SECONDS)
            shown(simulation.scheduler.now - BEGIN, len(simulation.accepted))
        return _outcome(simulation)


def _unfinished(simulation: OverloadedSimulation) -> bool:
    return len(simulation.accepted) < simulation.load.singles or not simulation.quiet or bool(simulation.load.batch and simulation.running)


def _outcome(simulation: OverloadedSimulation) -> Outcome:
    load = simulation.load
    verifications = [
        (pk.removeprefix("VERIFICATION#"), item) for (pk, sk), item in simulation.dynamodb.items.items() if sk == "VERIFICATION"
    ]
    verdicts, reasons = Counter[str](), Counter[str]()
    waits, ends, early, lost = [], [BEGIN + BEGIN_SECONDS], 0, 0
    asked = {id_: simulation.asked[name] for name, id_ in simulation.accepted.items()}
    for id_, item in verifications:
        if "verdict" not in item:
            lost += 1
            continue
        verdict = json.loads(item["verdict"]["S"])
        verdicts[verdict["outcome"]] += 1
        if verdict["outcome"] == "not_verifiable":
            reasons.update(verdict["reasons"])
        ended = int(item["completed_ms"]["N"]) / 1000
        ends.append(ended)
        early += verdict["reasons"] == ["REFRESH_TIMED_OUT"] and ended < int(item["deadline_ms"]["N"]) / 1000
        if id_ in asked:
            waits.append(ended - asked[id_])
    counts = simulation.simulator.request_counts()
    peaks = counts["peaks"]
    return Outcome(
        load=load,
        verdicts=dict(verdicts),
        reasons=dict(reasons),
        paid=sum(simulation.simulator.initiated_refreshes().values()),
        unwanted=simulation.unwanted,
        early_timeouts=early,
        lost=lost,
        waits=tuple(waits),
        drained=max(ends) - BEGIN - BEGIN_SECONDS,
        peak=peaks.get("*", 0),
        peak_of_one=max((peak for name, peak in peaks.items() if name != "*"), default=0),
        refused=counts["statuses"].get("429", 0),
        read_answers=dict(simulation.read_answers),
        violations=tuple(simulation.violations),
        longest_chain=max(simulation.sqs.chains, default=0),
        long_chains=simulation.sqs.chains[LONGEST_CHAIN] / max(1, simulation.sqs.chains[0]),
        throttled=dict(simulation.concurrency.throttled),
    )


PACE, SETTLE_TIMEOUT = 10.0, 60


def mixed(factor: float, pace: float = PACE, settle_timeout: int = SETTLE_TIMEOUT) -> Load:
    """A load of `factor` times the rate for four settle timeouts, a quarter of it one batch, scaled down from Stripe's limits."""
    seconds = 4.0 * settle_timeout
    asked = factor * pace * seconds
    return Load(pace, settle_timeout, 4 * pace, singles=int(0.75 * asked), seconds=seconds, batch=int(0.25 * asked))


CASES: Mapping[str, Load] = {
    **{f"{factor:g} x pace": mixed(factor) for factor in (0.5, 1.0, 2.0, 5.0)},
    "240 in 30 s": Load(2, 60, singles=240, seconds=30),
    "480 in 30 s": Load(2, 60, singles=480, seconds=30),
    "batch of 2,000": Load(1, 900, batch=2000),
    # As 22 singles a second beside a batch of 2,000, at Stripe's 25 calls a second.
    "beside a batch": Load(2.5, 900, singles=2640, seconds=1200, batch=200),
    "10 at once": Load(10, 900, singles=240, seconds=120, concurrency=10, wait=20),
    "1,000 at once": Load(100, 900, in_all=400, singles=3600, seconds=60, concurrency=1000, wait=20),
    "readers": Load(25, 900, singles=20, seconds=10, readers=200, reading=10),
}


def told(name: str, outcome: Outcome) -> str:
    """An outcome as a line of the table."""
    verdicts = ", ".join(f"{count} {kind}" for kind, count in sorted(outcome.verdicts.items()))
    reasons = f" ({', '.join(f'{count} {reason}' for reason, count in outcome.reasons.items())})" if outcome.reasons else ""
    return (
        f"{name:16} {outcome.load.singles + outcome.load.batch:6} {outcome.paid:6} {outcome.unwanted:8} {outcome.early_timeouts:6}"
        f" {outcome.lost:5} {outcome.goodput:8.2f} {outcome.wait(0.5):8.0f} {outcome.wait(0.99):8.0f} {outcome.drained:8.0f}"
        f" {outcome.peak:5} {outcome.longest_chain:5} {outcome.long_chains:6.3f} {sum(outcome.throttled.values()):6}  {verdicts}{reasons}"
    )


HEAD = (
    f"{'load':16} {'asked':>6} {'paid':>6} {'unwanted':>8} {'early':>6} {'lost':>5} {'goodput':>8} {'p50 s':>8} {'p99 s':>8} {'drained':>8}"
    f" {'peak':>5} {'hops':>5} {'over':>6} {'thrott':>6}  verdicts"
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.simulation.overload", description="More work than Stripe allows, in virtual time.")
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], help="which loads; all of them if none is named")
    chosen = parser.parse_args().cases or list(CASES)
    print(HEAD)
    bad = False
    for name in chosen:
        began = time.monotonic()
        outcome = run(CASES[name])
        print(told(name, outcome), f"[{time.monotonic() - began:.0f} s]", flush=True)
        for text in outcome.violations[:5]:
            print(f"  {text}")
        bad |= bool(outcome.unwanted or outcome.early_timeouts or outcome.lost or outcome.violations)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
