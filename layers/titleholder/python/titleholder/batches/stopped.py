"""Closing a stopped batch: every verification that it made gets its verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from titleholder.batches.lifecycle import work_key
from titleholder.batches.rows import ROWS_AT_ONCE, WRITERS, BatchStepContext, chunks, counting_line, made_key, work_file
from titleholder.domain import refresh_policy
from titleholder.domain.verifications import Verification
from titleholder.services import verdicts
from titleholder.timestamps import iso_milliseconds

SHORTEST_PAUSE_SECONDS = 5
IMPORT_SECONDS = 150
"""How many seconds after a stop an import step may still be running. Its task has 120 s."""


def tally(context: BatchStepContext, state: Mapping[str, Any], pass_: int) -> dict[str, Any]:
    """What is next for a stopped batch: `collect` until every verification that was made has its verdict, then `summarise`.

    If a range was not imported completely, its import step may still be running, or may have crashed. Such ranges are read again when no
    step can be running any more. That is not stored with the ranges, because this step may crash and be repeated before they are read.
    """
    batch, parts = state["batch"], list(context.store.batches.ranges(state["batch"]))
    missing = len(parts) < sum(1 for _ in context.files.lines(work_key(batch, "ranges.jsonl")))
    following, at = "summarise", context.now
    if missing or not all(part["collected"] for part in parts):
        following, at = "collect", context.now + SHORTEST_PAUSE_SECONDS
    if missing:
        at = max(at, _import_over(state) + refresh_policy.CLOCK_SKEW)
    return {"next": following, "at": iso_milliseconds(at), "since": None, "pass": pass_}


def _import_over(batch: Mapping[str, Any]) -> float:
    return int(batch["completed_ms"]) / 1000 + IMPORT_SECONDS


def close_range(context: BatchStepContext, batch: Mapping[str, Any], number: int) -> None:
    """Give every verification of one range of a stopped batch its verdict, except those that another batch works on by now."""
    id_ = batch["batch"]
    kept = context.store.batches.get_range(id_, number)
    if kept is None and context.now >= _import_over(batch):
        kept = _half_imported(context, batch, number)
    if kept is None or kept["collected"]:
        return

    def ended(each: Verification) -> Verification:
        # A verification that an earlier try ended may not have been announced.
        mine = each.batch == id_ and (each.verdict is None or verdicts.was_stopped(each))
        return verdicts.stop(context.store, context.bus, each, id_, now=context.now) if mine else each

    done: Counter[str] = Counter()
    with context.writers(WRITERS) as writers:
        for rows in chunks((row for row in context.files.lines(work_file(id_, "rows", number)) if not row["duplicate"]), ROWS_AT_ONCE):
            found = context.store.verifications.get_all([row["verification"] for row in rows])
            done.update(each.verdict["outcome"] for each in writers.map(ended, found.values()) if each.verdict is not None)
    context.store.batches.put_range(id_, number, {**kept, "done": done, "left": 0, "ready": 0, "resume_at": None, "collected": True})


def _half_imported(context: BatchStepContext, batch: Mapping[str, Any], number: int) -> dict[str, Any]:
    """A range whose import was interrupted or prevented by the stop, with the lines whose verifications exist."""
    rows = made_lines(context, batch, number)
    context.files.write_lines(work_file(batch["batch"], "rows", number), rows)
    context.files.write_lines(work_file(batch["batch"], "rejects", number), [])
    duplicates = sum(row["duplicate"] for row in rows)
    return {"rows": len(rows), "duplicates": duplicates, "rejected": 0, "before": {}, "done": {}, "left": 0, "collected": False}


def made_lines(context: BatchStepContext, batch: Mapping[str, Any], number: int) -> list[dict[str, Any]]:
    """The lines of a range whose verifications were made before its import was interrupted."""
    rows: dict[int, dict[str, Any]] = {}
    turn = tries = 0
    while context.files.size(key := made_key(batch["batch"], number, turn, tries)) is not None:
        wanted = list(context.files.lines(key))
        found = context.store.verifications.get_all(list({row["verification"] for row in wanted}))
        for row in wanted:
            if (verification := found.get(row["verification"])) is not None:
                rows[row["line"]] = {**row, "duplicate": counting_line(context, batch, verification, row["line"]) != row["line"]}
        tries += 1
        if context.files.size(made_key(batch["batch"], number, turn, tries)) is None:
            turn, tries = turn + 1, 0
    return list(rows.values())
