"""Runs the simulation from the command line.

python -m tests.simulation.run --seeds 10000      schedules of faults
python -m tests.simulation.run --seeds 1 --start 4711      one of them again
python -m tests.simulation.run --crash-points     every function killed at every external call
python -m tests.simulation.run --bug lease_not_conditional      until a bug put in by hand is found
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.mutants import BUGS
from tests.simulation.schedules import Result, crash_at, simulate

CHUNK = 25
PROCESSES = 2
CRASHABLE = ("api", "start_refresh", "receive_webhook", "fetch_owners", "complete_verification", "reconcile", "erase_account", "review")


def simulate_some(begin: int, end: int) -> list[Result]:
    return [simulate(seed) for seed in range(begin, end)]


def points() -> Iterator[tuple[str, int, int, str]]:
    """Every crash point of the schedule: function, which of its runs, which external call, before or after it."""
    calls_of = crash_at({}).calls_of
    for function in CRASHABLE:
        for run, calls in enumerate(calls_of[function], 1):
            for call in range(1, calls + 1):
                for when in ("before", "after"):
                    yield function, run, call, when


def crash(point: tuple[str, int, int, str]) -> tuple[str, list[str]]:
    """Let a function die at one point. Returns the function and the violations."""
    function, *where = point
    return function, crash_at({function: (where[0], where[1], where[2])}).violations  # type: ignore[dict-item]


def _schedules(seeds: int, start: int) -> int:
    began, injected, bad = time.monotonic(), Counter[str](), 0
    verifications = refreshes = done = 0
    with ProcessPoolExecutor(PROCESSES) as pool:
        edges = range(start, start + seeds, CHUNK)
        for results in pool.map(simulate_some, edges, [min(edge + CHUNK, start + seeds) for edge in edges]):
            for result in results:
                done += 1
                injected += result.injected
                verifications += result.verifications
                refreshes += result.refreshes
                if result.violations:
                    bad += 1
                    print(f"seed {result.seed}: {'; '.join(result.violations)}")
                    print(f"  again: make simulate SEEDS=1 START={result.seed}", flush=True)
            if done % 1000 < CHUNK and done >= 1000:
                print(f"{done} seeds, {time.monotonic() - began:.0f} s", flush=True)
    print("\nfaults injected")
    for kind, count in sorted(injected.items()):
        print(f"  {kind:32} {count:8}")
    seconds = time.monotonic() - began
    print(f"\n{done} seeds in {seconds:.0f} s: {verifications} verifications, {refreshes} refreshes paid for")
    print(f"{bad} seeds with violations")
    return 1 if bad else 0


def _crash_points() -> int:
    held, broken = Counter[str](), Counter[str]()
    with ProcessPoolExecutor(PROCESSES) as pool:
        everything = list(points())
        for point, (function, violations) in zip(everything, pool.map(crash, everything, chunksize=10), strict=True):
            (broken if violations else held)[function] += 1
            if violations:
                print(f"{point}: {'; '.join(violations)}")
    print(f"{'function':18} {'points':>7} {'held':>7}")
    for function in CRASHABLE:
        print(f"{function:18} {held[function] + broken[function]:7} {held[function]:7}")
    print(f"{'all':18} {held.total() + broken.total():7} {held.total():7}")
    return 1 if broken else 0


def _bug(name: str, seeds: int, start: int) -> int:
    with BUGS[name]():
        for seed in range(start, start + seeds):
            violations = simulate(seed).violations
            if violations:
                print(f"{name}: found by seed {seed}: {violations[0]}")
                return 0
    print(f"{name}: not found in {seeds} seeds")
    return 1


def positive(text: str) -> int:
    """A whole number above 0. Raises ValueError, which argparse reports."""
    if int(text) < 1:
        raise ValueError
    return int(text)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.simulation.run", description="Schedules of faults in virtual time.")
    parser.add_argument("--seeds", type=positive, default=1000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--crash-points", action="store_true")
    parser.add_argument("--bug", choices=sorted(BUGS))
    options = parser.parse_args()
    if options.crash_points:
        return _crash_points()
    if options.bug:
        return _bug(options.bug, options.seeds, options.start)
    return _schedules(options.seeds, options.start)


if __name__ == "__main__":
    sys.exit(main())
