"""What a batch will take: time, concurrency, money, quotas. python -m tools.batch_model 1000000 [--settle 30]

A formula, no simulation; `tests/simulation/test_batch.py` holds it against a run of the real code in virtual time.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READS = 2
"""Calls of one account in the busiest line, that of reads: one before its refresh, one for what that brought."""

LINE_BYTES = 300
RANGE_BYTES = 1024**2
IMPORTERS = 5
WRITERS = 8
AWS_SECONDS = 0.0075
"""One call to AWS from within a function."""

IMPORT_CALLS = 4.3
"""AWS calls for one line."""

TAIL_SECONDS = 3.0
"""The last verdicts, collecting, the results."""

PRICES: Mapping[str, Any] = json.loads((Path(__file__).parents[1] / "tests" / "benchmarks" / "prices.json").read_text())
"""Dollars each, with their date and source."""

UNITS: Mapping[str, float] = {
    # Of one account without a cooldown, in a batch long enough for the line to be full, as the simulation counts them.
    "step_functions_transition": 3,
    "lambda_request": 6.8,
    "lambda_gb_second_arm64": 0.63,
    "dynamodb_write_unit": 45,
    "dynamodb_read_unit": 20,
    "sqs_request": 14.5,
    # One data key made, and unwrapped in two more functions: there the simulation, being one process, counts less.
    "kms_request": 3,
    "eventbridge_event": 1,
}
REFRESH_DOLLARS = 1.50
"""Stripe's charge for one refresh."""

CONSUMERS = 30 + 20
"""Functions that the two queues run at once."""

QUOTAS: Mapping[str, tuple[str, int]] = {
    # What AWS grants without being asked, by what of a prediction counts against it.
    "open executions": ("open", 1_000_000),
    "children of a Distributed Map at once": ("open", 10_000),
    "functions at once": ("lambdas", 1000),
    "new executions a second, in bursts": ("per_second", 1300),
    "state transitions a second, in bursts": ("transitions_per_second", 5000),
}


@dataclass(frozen=True)
class Prediction:
    """What `predict` says. `bound`, `true_bound`: accounts over the rate, for one call and for the two reads of each."""

    accounts: int
    seconds: float
    import_seconds: float
    bound: float
    true_bound: float
    open: int
    lambdas: int
    per_second: float
    transitions_per_second: float
    units: Mapping[str, float]

    @property
    def dollars(self) -> float:
        """AWS's part."""
        return sum(float(PRICES[name]) * number for name, number in self.units.items())


def predict(
    accounts: int, *, rate: float = 25.0, settle_seconds: float = 30.0, concurrency: int = 2000, line_bytes: int = LINE_BYTES
) -> Prediction:
    """A batch of `accounts` none of which was read before or cools down, at `rate` calls a second for each operation."""
    ranges = max(1, math.ceil(accounts * line_bytes / RANGE_BYTES))
    import_seconds = accounts * IMPORT_CALLS * AWS_SECONDS / WRITERS / min(IMPORTERS, ranges)
    if concurrency >= rate * settle_seconds:
        # Refreshes are started for as long as the first take to settle; then what these brought has the right of way; and so on.
        waves, rest = divmod(accounts, max(1, round(rate * settle_seconds)))
        verifying = waves * 2 * settle_seconds + (rest / rate + settle_seconds if rest else 0)
    else:
        verifying = accounts / min(rate / READS, concurrency / settle_seconds) + settle_seconds
    seconds = import_seconds + max(verifying, READS * accounts / rate) + TAIL_SECONDS
    return Prediction(
        accounts=accounts,
        seconds=seconds,
        import_seconds=import_seconds,
        bound=accounts / rate,
        true_bound=READS * accounts / rate,
        open=min(concurrency, accounts),
        lambdas=CONSUMERS + math.ceil(2 * rate * AWS_SECONDS * 20),
        per_second=rate,
        transitions_per_second=3 * rate,
        units={name: number * accounts for name, number in UNITS.items()},
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools.batch_model", description="What a batch will take.")
    parser.add_argument("accounts", type=int)
    parser.add_argument("--settle", type=float, default=30.0, help="seconds that a refresh takes to settle")
    parser.add_argument("--rate", type=float, default=25.0, help="Stripe's calls a second for each operation")
    parser.add_argument("--concurrency", type=int, default=2000, help="the parameter BatchConcurrency")
    options = parser.parse_args()
    found = predict(options.accounts, rate=options.rate, settle_seconds=options.settle, concurrency=options.concurrency)
    print(f"time     {found.seconds:,.0f} s ({found.seconds / 3600:.1f} h), of which import {found.import_seconds:,.0f} s")
    print(f"bounds   {found.bound:,.0f} s (accounts / rate); {found.true_bound:,.0f} s, for each account is read twice")
    print(f"         {found.seconds / found.bound:.2f} and {found.seconds / found.true_bound:.2f} times")
    for name, number in found.units.items():
        print(f"{name:28} {number:>14,.0f}  ${number * PRICES[name]:>12,.2f}")
    print(f"{'AWS':28} {'':>14}  ${found.dollars:>12,.2f}  (list prices of {PRICES['date']}; logs and storage left out)")
    print(f"{'Stripe, refreshes':28} {'':>14}  ${found.accounts * REFRESH_DOLLARS:>12,.2f}")
    for name, (field, quota) in QUOTAS.items():
        needed = getattr(found, field)
        print(f"{name:38} {needed:>9,.0f} of {quota:,}{'  ASK FOR MORE' if needed > quota else ''}")


if __name__ == "__main__":
    main()
