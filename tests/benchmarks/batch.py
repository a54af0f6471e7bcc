"""A batch of 10,000 in virtual time: how much longer than Stripe's limit allows, what went wrong, and what memory its steps take."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from tests.benchmarks.figures import Figure
from tests.simulation.batch_memory import SIZES, WIDTH
from tests.simulation.batch_memory import measure as memory
from tests.simulation.batch_world import run_batch

ACCOUNTS = 10_000


def measure() -> list[Figure]:
    course = run_batch(ACCOUNTS)
    topic, about = "batch", f"{ACCOUNTS:,} in virtual time, a refresh settling in {course.settle_seconds:g} s"
    took = f"{course.seconds:.0f} s over {course.bound:.0f} s, at {course.rate:g} calls a second of each operation"
    figures = [
        Figure(topic, "time over accounts / rate", course.seconds / course.bound, "", ("<=", 1.15), took),
        Figure(topic, "lost", course.lost + len(course.violations), "", ("<=", 0.0), about),
        Figure(topic, "refreshed twice", course.paid_twice, "", ("<=", 0.0), about),
    ]
    peaks: dict[int, tuple[float, float]] = {}
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        for lines in SIZES:
            own, process = (pool.submit(memory, lines, traced=traced).result() for traced in (True, False))
            peaks[lines] = (max(peak for step, peak in own.items() if step != "imports"), max(process.values()))
    few, many, most = SIZES
    for lines, (mine, whole) in peaks.items():
        of = f"Python's own in the largest step, {lines * WIDTH / 1e6:.1f} MB of manifest; its whole process: {whole:.0f} MB"
        figures.append(Figure(topic, f"peak memory, {lines:,} lines", mine, "MB", None, of))
    return [
        *figures,
        Figure(topic, "memory of a step's process", peaks[many][1] / peaks[few][1], "", ("<=", 1.15), f"{many:,} lines over {few:,}"),
        Figure(topic, "the same", peaks[most][1] / peaks[few][1], "", ("<=", 1.15), f"{most:,} lines over {few:,}"),
    ]
