"""Measures: one command, one table, a plot and the figures as JSON.

    python -m tests.benchmarks.run [topic ...]

Writes build/bench.json and build/bench.png. Ratios may be compared within one run, on any machine. Exits with 1 if a goal was missed.
A topic is a module here with `measure() -> list[Figure]`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence

from local.aws.paths import BUILD
from tests.benchmarks import artefacts, batch_speed, cold_start, cost, desk_page, matching_speed, memory, warm_receiver, webhooks
from tests.benchmarks.figures import Figure, short, table
from tests.support import dynamodb_local, judges
from tests.support.dynamodb_local import DynamoDBLocalError
from tools.draw_bench import Bar, draw

TOPICS: dict[str, Callable[[], list[Figure]]] = {
    "size": artefacts.measure,
    "cold": cold_start.measure,
    "warm": warm_receiver.measure,
    "cost": cost.measure,
    "memory": memory.measure,
    "webhooks": webhooks.measure,
    "matching": matching_speed.measure,
    "batch": batch_speed.measure,
    "page": desk_page.measure,
}


def plot(figures: Sequence[Figure]) -> None:
    """Draw each figure that has a goal as a share of its limit."""
    bars = [
        Bar(f"{figure.topic}: {figure.name}", f"{short(figure.value)} {figure.unit}".strip() + f", {_goal(figure)}", share, figure.kept)
        for figure in figures
        if (share := _share(figure)) is not None
    ]
    (BUILD / "bench.png").write_bytes(draw(bars))


def _goal(figure: Figure) -> str:
    assert figure.goal is not None
    sign, limit = figure.goal
    return f"{'at least' if sign == '>=' else 'at most'} {short(limit)}"


def _share(figure: Figure) -> float | None:
    if figure.goal is None:
        return None
    sign, limit = figure.goal
    if sign == ">=":
        return limit / figure.value if figure.value else 2.0
    return figure.value / limit if limit else float(figure.value > 0)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.run", description="Measure.")
    parser.add_argument("topics", nargs="*", metavar="topic", help=f"of {', '.join(TOPICS)}; all of them if none is named")
    chosen = parser.parse_args().topics or list(TOPICS)
    if unknown := set(chosen) - set(TOPICS):
        parser.error(f"no such topic: {', '.join(sorted(unknown))}")
    figures: list[Figure] = []
    for topic in chosen:
        began = time.monotonic()
        try:
            figures += TOPICS[topic]()
        except DynamoDBLocalError as error:
            sys.exit(f"{judges.MISSING}{dynamodb_local.NAME}: {error}")
        print(f"{topic}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    machine = {"python": platform.python_version(), "system": platform.platform(), "processors": os.cpu_count(), "load": os.getloadavg()}
    BUILD.mkdir(exist_ok=True)
    (BUILD / "bench.json").write_text(
        json.dumps({"machine": machine, "figures": [figure.as_dict() for figure in figures]}, indent=1) + "\n"
    )
    plot(figures)
    print(table(figures))
    missed = [figure for figure in figures if not figure.kept]
    print(f"\n{len(missed)} goals missed; build/bench.json, build/bench.png")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
