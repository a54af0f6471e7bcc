"""Runs one batch in virtual time and says what it took: python -m tests.simulation.batch 10000 [--settle 30] [--cooling 100]"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from tests.simulation.batch_world import Course, run_batch
from tools import batch_model

BAR = 40


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.simulation.batch", description="A batch in virtual time.")
    parser.add_argument("accounts", type=int)
    parser.add_argument("--settle", type=float, default=30.0, help="seconds that a refresh takes to settle")
    parser.add_argument("--cooling", type=int, default=0, help="how many accounts cool down at first")
    options = parser.parse_args()
    began = time.monotonic()

    def shown(finished: int, seconds: float) -> None:
        filled = BAR * finished // max(options.accounts, 1)
        print(f"\r[{'#' * filled}{'.' * (BAR - filled)}] {finished}/{options.accounts} after {seconds:.0f} s", end="", flush=True)

    course = run_batch(options.accounts, settle_seconds=options.settle, cooling=options.cooling, shown=shown)
    print(f"\n{told(course)}\n(simulated in {time.monotonic() - began:.0f} s)")
    return 0 if (course.lost, course.paid_twice, course.violations) == (0, 0, ()) else 1


def told(course: Course) -> str:
    """The course as lines of text, beside what the model says."""
    expected = batch_model.predict(course.accounts, rate=course.rate, settle_seconds=course.settle_seconds)
    singles = f"{statistics.median(course.singles):.0f} s, at most {max(course.singles):.0f} s" if course.singles else "none"
    calls = "; ".join(f"{count} {operation.split('/connections')[-1]}" for operation, count in sorted(course.calls.items()))
    peak = max(peak for operation, peak in course.peaks.items() if operation in course.calls)
    lines = (
        f"verdicts          {dict(course.done)}; {course.lost} lost, {course.paid_twice} paid twice",
        f"time              {course.seconds:.0f} s, of which import {course.import_seconds:.0f} s; the model says {expected.seconds:.0f} s",
        f"over the bound    {course.seconds / course.bound:.2f} of {course.bound:.0f} s (accounts / rate)",
        f"singles meanwhile {singles} to the verdict, {course.settle_seconds:.0f} s of it the bank's",
        f"in the batch      {course.wait_of_batch:.0f} s (median)",
        f"open at once      {course.most_open}; {course.transitions} transitions in {course.passes} passes",
        f"calls to Stripe   {calls}; within one second at most {peak} of one, {course.peaks['*']} in all",
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
