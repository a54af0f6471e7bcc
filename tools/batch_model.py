"""Predicts what a batch needs: time, concurrency, money, quotas. python -m tools.batch_model 1000000 [--settle 30]

It is a formula, not a simulation. `tests/simulation/test_batch.py` compares it with a run of the real code in virtual time.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.command import count, interruptible, number
from titleholder.batches.manifests import piece_bytes

LINE_BYTES = 300
IMPORTERS = 5
WRITERS = 8
AWS_SECONDS = 0.0075
"""The duration of one call to AWS from a function."""

IMPORT_CALLS = 5.3
"""How many AWS calls the import of one line takes."""

TAIL_SECONDS = 2.0
"""The time for the first slots, the last verdicts, collecting and the results."""

PRICES: Mapping[str, Any] = json.loads((Path(__file__).parents[1] / "tests" / "benchmarks" / "prices.json").read_text())
"""Dollars each, with their date and source."""

UNITS: Mapping[str, float] = {
    # Counted by the simulation for one account without a cooldown, in a batch that is long enough to use every slot.
    "step_functions_transition": 3,
    "lambda_request": 6,
    "lambda_gb_second_arm64": 0.61,
    "dynamodb_write_unit": 53,
    "dynamodb_read_unit": 26,
    "sqs_request": 12,
    # One data key is made, and unwrapped in two more functions. The simulation counts fewer, because it is one process.
    "kms_request": 3,
    "eventbridge_event": 1,
}
REFRESH_DOLLARS = 1.50
"""Stripe's charge for one refresh."""

CONSUMERS = 30 + 20
"""How many functions the two queues run at once."""

QUOTAS: Mapping[str, tuple[str, int]] = {
    # AWS's default quotas, each with the part of a prediction that counts against it.
    "open executions": ("open", 1_000_000),
    "children of a Distributed Map at once": ("open", 10_000),
    "functions at once": ("lambdas", 1000),
    "new executions a second, in bursts": ("per_second", 1300),
    "state transitions a second, in bursts": ("transitions_per_second", 5000),
}


@dataclass(frozen=True)
class Prediction:
    """The result of `predict`. `bound`: the accounts divided by the rate (seconds)."""

    accounts: int
    seconds: float
    import_seconds: float
    bound: float
    open: int
    lambdas: int
    per_second: float
    transitions_per_second: float
    units: Mapping[str, float]

    @property
    def dollars(self) -> float:
        """AWS's charges."""
        return sum(float(PRICES[name]) * number for name, number in self.units.items())


def predict(
    accounts: int, *, rate: float = 25.0, settle_seconds: float = 30.0, concurrency: int = 2000, line_bytes: int = LINE_BYTES
) -> Prediction:
    """A batch of accounts that were never read before and are not cooling down, at `rate` calls a second for each operation."""
    ranges = max(1, math.ceil(accounts * line_bytes / piece_bytes(accounts * line_bytes)))
    rounds = math.ceil(ranges / IMPORTERS) / ranges
    import_seconds = accounts * rounds * IMPORT_CALLS * AWS_SECONDS / WRITERS
    # An account needs one call in each of three buckets, which are used in parallel. The last refresh has to settle.
    pace = min(rate, concurrency / settle_seconds)
    seconds = import_seconds + accounts / pace + settle_seconds + TAIL_SECONDS
    return Prediction(
        accounts=accounts,
        seconds=seconds,
        import_seconds=import_seconds,
        bound=accounts / rate,
        open=min(concurrency, accounts),
        lambdas=CONSUMERS + math.ceil(2 * rate * AWS_SECONDS * 20),
        per_second=pace,
        transitions_per_second=3 * pace,
        units={name: number * accounts for name, number in UNITS.items()},
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools.batch_model", description="What a batch will take.")
    parser.add_argument("accounts", type=count)
    parser.add_argument("--settle", type=number, default=30.0, help="seconds that a refresh takes to settle")
    parser.add_argument("--rate", type=number, default=25.0, help="Stripe's calls a second for each operation")
    parser.add_argument("--concurrency", type=count, default=2000, help="the parameter BatchConcurrency")
    options = parser.parse_args()
    found = predict(options.accounts, rate=options.rate, settle_seconds=options.settle, concurrency=options.concurrency)
    print(f"time     {found.seconds:,.0f} s ({found.seconds / 3600:.1f} h), of which import {found.import_seconds:,.0f} s")
    print(f"bound    {found.bound:,.0f} s (accounts / rate), of which it is {found.seconds / found.bound:.2f} times")
    for name, units in found.units.items():
        print(f"{name:28} {units:>14,.0f}  ${units * PRICES[name]:>12,.2f}")
    print(f"{'AWS':28} {'':>14}  ${found.dollars:>12,.2f}  (list prices of {PRICES['date']}; logs and storage left out)")
    print(f"{'Stripe, refreshes':28} {'':>14}  ${found.accounts * REFRESH_DOLLARS:>12,.2f}")
    for name, (field, quota) in QUOTAS.items():
        needed = getattr(found, field)
        print(f"{name:38} {needed:>9,.0f} of {quota:,}{'  ASK FOR MORE' if needed > quota else ''}")


if __name__ == "__main__":
    sys.exit(interruptible(main))
