"""Runs one batch in virtual time and prints its figures: python -m tests.simulation.run_batch 10000 [--settle 30] [--cooling 100]"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from tests.simulation.batch_run import BatchRun, ImportRun, run_batch, run_import
from tests.support.fakes.capacity import UNITS_A_SECOND
from tools import batch_model

BAR = 40


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.simulation.run_batch", description="A batch in virtual time.")
    parser.add_argument("accounts", type=int, choices=range(1, 10_000_001), metavar="accounts")
    parser.add_argument("--settle", type=float, default=30.0, help="seconds that a refresh takes to settle")
    parser.add_argument("--cooling", type=int, default=0, help="how many accounts cool down at first")
    parser.add_argument("--import-only", action="store_true", help="end when the verifications begin, and count write units")
    parser.add_argument("--units", type=float, default=UNITS_A_SECOND, help="write units a second of the table, with --import-only")
    options = parser.parse_args()
    if options.import_only:
        return imported(run_import(options.accounts, options.units))
    began = time.monotonic()

    def shown(finished: int, seconds: float) -> None:
        filled = BAR * finished // max(options.accounts, 1)
        print(f"\r[{'#' * filled}{'.' * (BAR - filled)}] {finished}/{options.accounts} after {seconds:.0f} s", end="", flush=True)

    run = run_batch(options.accounts, settle_seconds=options.settle, cooling=options.cooling, shown=shown)
    print(f"\n{told(run)}\n(simulated in {time.monotonic() - began:.0f} s)")
    return 0 if (run.lost, run.paid_twice, run.violations) == (0, 0, ()) else 1


def imported(run: ImportRun) -> int:
    """Print an import's figures; returns the exit code."""
    print(f"import of {run.lines:,} lines at {run.units:,.0f} write units a second: {run.seconds:.0f} s")
    print(f"{run.lost} lost, {run.failed} ranges failed, {sum(run.throttled.values())} tries throttled")
    print(f"{run.units_a_line:.1f} units a line, at most {run.hottest} under one partition key")
    return 0 if (run.lost, run.failed, run.violations) == (0, 0, ()) else 1


def told(run: BatchRun) -> str:
    """The run as lines of text, with the model's figures."""
    expected = batch_model.predict(run.accounts, rate=run.rate, settle_seconds=run.settle_seconds)
    singles = f"{statistics.median(run.singles):.0f} s, at most {max(run.singles):.0f} s" if run.singles else "none"
    calls = "; ".join(f"{count} {operation.split('/connections')[-1]}" for operation, count in sorted(run.calls.items()))
    peak = max(peak for operation, peak in run.peaks.items() if operation in run.calls)
    lines = (
        f"verdicts          {dict(run.done)}; {run.lost} lost, {run.paid_twice} paid twice",
        f"time              {run.seconds:.0f} s, of which import {run.import_seconds:.0f} s; the model says {expected.seconds:.0f} s",
        f"over the bound    {run.seconds / run.bound:.2f} of {run.bound:.0f} s (accounts / rate)",
        f"singles meanwhile {singles} to the verdict, {run.settle_seconds:.0f} s of it the bank's",
        f"in the batch      {run.wait_of_batch:.0f} s (median)",
        f"open at once      {run.most_open}; {run.transitions} transitions in {run.passes} passes",
        f"calls to Stripe   {calls}; within one second at most {peak} of one, {run.peaks['*']} in all",
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
