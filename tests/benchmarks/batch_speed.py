"""A batch of 10,000 in virtual time: how much longer than Stripe's limit allows, what went wrong, and what memory its steps take."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from tests.benchmarks.figures import Figure
from tests.simulation.batch_memory import SIZES, WIDTH
from tests.simulation.batch_memory import measure as memory
from tests.simulation.batch_run import BatchRun, run_batch
from titleholder.observability import logger

ACCOUNTS = 10_000


def measure() -> list[Figure]:
    peaks: dict[int, tuple[float, float]] = {}
    # In a process of its own each: nothing of it is left behind, and a process's memory is its highest so far.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        run = pool.submit(_run).result()
        for lines in SIZES:
            own, process = (pool.submit(memory, lines, traced=traced).result() for traced in (True, False))
            peaks[lines] = (max(peak for step, peak in own.items() if step != "imports"), max(process.values()))
    topic, about = "batch", f"{ACCOUNTS:,} in virtual time, a refresh settling in {run.settle_seconds:g} s"
    took = f"{run.seconds:.0f} s over {run.bound:.0f} s, at {run.rate:g} calls a second of each operation"
    figures = [
        Figure(topic, "time over accounts / rate", run.seconds / run.bound, "", ("<=", 1.15), took),
        Figure(topic, "lost", run.lost + len(run.violations), "", ("<=", 0.0), about),
        Figure(topic, "refreshed twice", run.paid_twice, "", ("<=", 0.0), about),
    ]
    for lines, (mine, whole) in peaks.items():
        of = f"Python's own in the largest step, {lines * WIDTH / 1e6:.1f} MB of manifest; its whole process: {whole:.0f} MB"
        figures.append(Figure(topic, f"peak memory, {lines:,} lines", mine, "MB", None, of))
    few, *more = SIZES
    for lines in more:
        ratios = zip(peaks[lines], peaks[few], strict=True)
        for name, ratio in zip(("memory, Python's own", "memory, whole process"), (many / one for many, one in ratios), strict=True):
            figures.append(Figure(topic, name, ratio, "", ("<=", 1.15), f"peak at {lines:,} lines over that at {few:,}"))
    return figures


def _run() -> BatchRun:
    # A hundred thousand lines that are not read.
    logger.setLevel("CRITICAL")
    return run_batch(ACCOUNTS)
