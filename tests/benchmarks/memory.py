"""What a function's memory buys: cold and warm times at the processor shares that Lambda gives, measured in a control group of that share.

Lambda gives a function the share memory / 1,769 MB of one processor (docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html), which
is a quota within short periods, as here. Needs root and Linux's control groups; elsewhere nothing is measured.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from local.stack import running
from local.stripe_simulator.options import Options
from local.stripe_simulator.server import SimulatorServer
from tests.benchmarks import cost
from tests.benchmarks.cold_start import Round
from tests.benchmarks.figures import Figure

SIZES = (256, 512, 1024, 1769)
"""In MB. A function's own peak is far below the smallest."""

WHOLE_PROCESSOR_MB = 1769
PERIOD_MICROSECONDS = 20_000
RUNS, WARM = 3, 10
WATCHED = ("receive_webhook", "api", "start_refresh", "fetch_owners", "complete_verification")
ROOT = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def cage(share: float) -> Iterator[Path]:
    """A control group whose processes get that share of one processor. Raises OSError where there is none to be had."""
    quota, period = int(share * PERIOD_MICROSECONDS), PERIOD_MICROSECONDS
    first = (ROOT / "cpu").is_dir()
    group = (ROOT / "cpu" if first else ROOT) / f"titleholder-{os.getpid()}"
    group.mkdir()
    try:
        if first:
            (group / "cpu.cfs_period_us").write_text(str(period))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {period}")
        yield group
    finally:
        group.rmdir()


def measure() -> list[Figure]:
    figures: list[Figure] = []
    try:
        with cage(1.0):
            pass
    except OSError as error:
        print(f"memory: not measured, no control group can be made here ({error.strerror})", file=sys.stderr)
        return figures
    with running() as stack, SimulatorServer(port=0, options=Options(settle_seconds=0.0)) as simulator:
        Round(stack, simulator, 0).run()
        number = 0
        for size in SIZES:
            found = []
            for _ in range(RUNS):
                number += 1
                with cage(size / WHOLE_PROCESSOR_MB) as group:
                    found.append(Round(stack, simulator, number, cage=group, warm=WARM).run())
            for function in WATCHED:
                cold = median(one[function]["seconds"] for one in found)
                warm = [seconds for one in found for seconds in one[function]["warm"]]
                about = ""
                if warm:
                    dollars = 1e6 * median(warm) * size / 1024 * cost.PRICES["lambda_gb_second_arm64"]
                    about = f"warm {1000 * median(warm):.0f} ms, ${dollars:.2f} a million"
                figures.append(Figure("memory", f"{function} at {size} MB, cold", 1000 * cold, "ms", None, about))
    return figures
