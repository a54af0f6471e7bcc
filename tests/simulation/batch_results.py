"""What has to be true of the results that `GET /batches/{id}` links, at the moment at which it links them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

BUCKET = "https://bucket/"


def wrong_results(simulation: Simulation, shown: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the results of a batch as a back end is shown it."""
    batch = shown["id"]
    if shown["results"] and shown["results_so_far"]:
        yield f"{batch}: links final results and results so far"
    for name in ("results", "results_so_far"):
        links = shown[name] or {}
        if missing := [link for link in links.values() if link.removeprefix(BUCKET) not in simulation.s3.objects]:
            yield f"{batch}: links files that do not exist: {missing}"
        elif links:
            yield from _wrong_lines(simulation, batch, links["jsonl"].removeprefix(BUCKET), ended=name == "results")
            if name == "results":
                yield from _wrong_counts(simulation, shown, links["jsonl"].removeprefix(BUCKET))


def _wrong_lines(simulation: Simulation, batch: str, key: str, *, ended: bool) -> Iterator[str]:
    items = simulation.dynamodb.items
    rows = simulation.s3.lines(key)
    imported = sum(int(item["rows"]["N"]) for (pk, sk), item in items.items() if pk == f"BATCH#{batch}" and sk.startswith("RANGE#"))
    if len(rows) != imported:
        yield f"{key}: {len(rows)} lines of {imported}"
    for row in rows:
        item = items.get((f"VERIFICATION#{row['verification']}", "VERIFICATION"), {})
        if item.get("batch", {}).get("S") != batch:
            yield f"{key}: names {row['verification']}, which is not of this batch"
        elif row["outcome"] is None:
            if ended:
                yield f"{key}: line {row['line']} has no outcome, though the batch has ended"
        elif "verdict" not in item or json.loads(item["verdict"]["S"])["outcome"] != row["outcome"]:
            yield f"{key}: line {row['line']} has a verdict that is not stored"


def _wrong_counts(simulation: Simulation, shown: Mapping[str, Any], key: str) -> Iterator[str]:
    verifications = {row["verification"] for row in simulation.s3.lines(key)}
    counted = shown["imported"] - shown["duplicates"]
    if not counted == sum(shown["done"].values()) == len(verifications):
        yield f"{shown['id']}: counts {counted} verifications and {shown['done']} verdicts, but has {len(verifications)}"


def check_batches(simulation: Simulation) -> None:
    """Read each batch once more, when all is over: as its own tenant, and as another one, for whom it does not exist."""

    def read(batch: str) -> None:
        tenant = simulation.dynamodb.items[f"BATCH#{batch}", "BATCH"]["stripe_account"].get("S")
        for each in (tenant, None if tenant else "acct_two"):
            status, answer = simulation._http("batches", "GET", f"/batches/{batch}", None, each, {})
            if each == tenant and status == 200:
                simulation.violations += wrong_results(simulation, answer)
                simulation.injected["results of a batch read at the end"] += bool(answer["results"])
            elif each != tenant and status != 404:
                simulation.violations.append(f"{batch}: another tenant's GET was answered {status}")

    for batch in filter(None, simulation.batches.values()):
        simulation.scheduler.spawn(partial(read, batch))
    if any(simulation.batches.values()):
        simulation.run(60)
