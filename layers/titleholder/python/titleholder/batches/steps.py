"""The steps of the workflow `verify_batch`. Each takes ids and numbers, never lines, and may be repeated without harm."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from titleholder.batches import manifests, stopped
from titleholder.batches.lifecycle import FINAL_RESULTS, SO_FAR, manifest_key, work_key
from titleholder.batches.manifests import LONGEST_RECORD_BYTES, Piece, Record, Reject, piece_bytes
from titleholder.batches.rows import (
    ROWS_AT_ONCE,
    WRITERS,
    BatchStepContext,
    Line,
    as_row,
    chunks,
    is_stopped,
    make_verifications,
    read_line,
    task,
    work_file,
)
from titleholder.domain import refresh_policy, remedies
from titleholder.domain.verifications import Verification
from titleholder.errors import FileReplacedError, ManifestError, UnexpectedError
from titleholder.observability import logger, metrics
from titleholder.services import verdicts
from titleholder.store.open_work import Announcement
from titleholder.timestamps import iso_milliseconds, to_milliseconds

BLOCK_BYTES = 64 * 1024**2
"""How much of the manifest one scan step reads."""

LONG_WAIT_SECONDS = 300
"""A batch that waits at least so long for cooldowns writes the results so far, but at most once in this time."""

SO_FAR_SHARE = 0.25
"""The time between two writes of results so far, as a share of the batch's age, so that the number of writes stays small."""

PAUSE_SHARE = 0.05
"""The pause between two passes over accounts in cooldown, as a share of the batch's age, so that the number of passes stays small."""

CLAIM_LIMIT = "too many different claims about this account within 24 hours; upload the line again later"

RESULT_COLUMNS = (
    "line",
    "reference",
    "verification",
    "account",
    "stripe_account",
    "outcome",
    "score",
    "reasons",
    "snapshot",
    "remedy",
    "remedy_until",
)


def plan(context: BatchStepContext, batch: str) -> dict[str, Any]:
    """Return where to begin: with blocks of the manifest to scan, or with verifications, if an earlier run has imported the manifest.

    In a stopped batch nothing more is imported, even if only a part of the manifest was.
    """
    # Read before the batch's item, because a stop stores its state there before it deletes the manifest.
    found = context.files.stat(manifest_key(batch))
    kept = context.store.batches.get(batch)
    if is_stopped(kept):
        if "columns" not in kept:
            context.files.write_lines(work_key(batch, "ranges.jsonl"), [])
        return {"imported": True, "blocks": [], "pass": int(kept.get("pass", 0)) + 1}
    if "imported_ms" in kept:
        return {"imported": True, "blocks": [], "pass": int(kept["pass"]) + 1}
    with _failure_recorded(context, batch):
        if found is None:
            raise ManifestError("The manifest was deleted before it was imported. Upload it to a new batch.")
        size, etag = found
        if kept.get("manifest_etag", etag) != etag:
            raise ManifestError(REPLACED)
    starts = range(0, size, BLOCK_BYTES)
    blocks = [
        {"number": number, "start": start, "end": min(start + BLOCK_BYTES, size), "piece": piece_bytes(size)}
        for number, start in enumerate(starts)
    ]
    return {"imported": False, "blocks": blocks, "pass": 0}


def scan(context: BatchStepContext, batch: str, block: Mapping[str, int]) -> None:
    """Examine each piece of one block, to find where the manifest could be cut."""
    kept, size, left = context.store.batches.get(batch), block["piece"], block["end"] - block["start"]
    found: list[dict[str, Any]] = []
    with _failure_recorded(context, batch):
        data = bytearray()
        # Read beyond the block, so that the last record of its last piece is complete.
        blocks = _manifest(context, kept, block["start"], block["end"] + LONGEST_RECORD_BYTES, size)
        ended = False
        while left:
            while not ended and len(data) < size + LONGEST_RECORD_BYTES:
                some = next(blocks, b"")
                data, ended = data + some, not some
            end = min(size, left)
            piece, ahead = bytes(data[:end]), bytes(data[end : end + LONGEST_RECORD_BYTES])
            found.append(manifests.examine(piece, kept["format"], ahead, first=not block["start"] and not found).as_dict())
            del data[:end]
            left -= end
    context.files.write_lines(work_file(batch, "scans", block["number"]), found)


def cut(context: BatchStepContext, batch: str, blocks: int) -> dict[str, Any]:
    """Write the index of ranges. Returns `{usable}`: False for a manifest that can't be read as a whole."""
    kept = context.store.batches.get(batch)

    def examine(start: int, end: int, entry: int | None) -> Piece:
        piece = b"".join(_manifest(context, kept, start, end))
        ahead = b"".join(_manifest(context, kept, end, end + LONGEST_RECORD_BYTES)) if end < size else b""
        return manifests.examine(piece, kept["format"], ahead, first=not start, entry=entry)

    def pieces() -> Iterator[Piece]:
        at = 0
        for scan in itertools.chain.from_iterable(context.files.lines(work_file(batch, "scans", number)) for number in range(blocks)):
            start, at = at, at + scan["bytes"]
            # A run may continue after an upgrade. Pieces that an earlier release examined are examined again.
            yield Piece.from_dict(scan) if "ways" in scan else examine(start, at, None)

    try:
        with _failure_recorded(context, batch):
            size = context.files.size(manifest_key(batch)) or 0
            head = b"".join(_manifest(context, kept, 0, min(size, LONGEST_RECORD_BYTES)))
            manifests.check(head)
            columns = None
            if kept["format"] == "csv":
                columns = manifests.header(next(manifests.records([head], "csv"), Record(1, b"")).data or b"")
            context.files.write_lines(work_key(batch, "ranges.jsonl"), (asdict(each) for each in manifests.cut(pieces(), examine)))
    except ManifestError:
        return {"usable": False}
    context.store.batches.update(batch, {"columns": columns})
    return {"usable": True}


def import_range(context: BatchStepContext, batch: str, part: Mapping[str, int]) -> None:
    """Read, validate and write one range's claims. Does nothing if the range was imported before."""
    number = part["number"]
    if context.store.batches.get_range(batch, number) is not None:
        return
    kept = context.store.batches.get(batch)
    columns = kept.get("columns")
    stream = _Counted(_manifest(context, kept, part["start"], part["end"]))
    found = manifests.records(stream, kept["format"], part["line"])
    rows: list[dict[str, Any]] = []
    todo: list[dict[str, Any]] = []
    rejects: list[dict[str, Any]] = []
    before: Counter[str] = Counter()
    done: Counter[str] = Counter()
    heading = duplicates = blank = within = 0
    begun = "import_begun_ms" in kept
    with _failure_recorded(context, batch), context.writers(WRITERS) as writers:
        for turn, some in enumerate(chunks(found, ROWS_AT_ONCE)):
            if is_stopped(context.store.batches.get(batch)):
                return  # The run that closes the batch ends the verifications that exist by now.
            if columns and number == 0 and not turn:
                heading = some.pop(0).lines
            lines: list[Line] = []
            for record, taken in zip(some, writers.map(lambda record: read_line(context, kept, record, columns), some), strict=True):
                if isinstance(taken, Reject):
                    rejects += [each.as_dict() for each in manifests.rejects(record, taken)]
                    continue
                within += record.lines - 1
                if taken is None:
                    blank += 1
                else:
                    lines.append(taken)
            if lines and not begun:
                # From now on the batch takes no other manifest, because these lines have verifications.
                begun = context.store.batches.update(batch, {"import_begun_ms": to_milliseconds(context.now)})
            records = {record.line: record for record in some}
            for line, made in make_verifications(context, kept, number, turn, lines, writers):
                if made is None:
                    # A reject instead of a verdict, because the line may be uploaded again once the limit allows it.
                    record = records[line.line]
                    rejects += [each.as_dict() for each in manifests.rejects(record, Reject(record.line, "account", CLAIM_LIMIT))]
                    within -= record.lines - 1
                    continue
                verification = made.verification
                rows.append(as_row(line, verification, duplicate=not made.mine))
                duplicates += not made.mine
                if not made.mine:
                    continue
                if verification.verdict is None:
                    todo.append(task(verification))
                    continue
                done[verification.verdict["outcome"]] += 1
                # A verdict that was given after this batch had taken the verification over is counted in the shards of its progress.
                before[verification.verdict["outcome"]] += verification.batch != batch
    told = len(rows) + len(rejects) + blank
    if stream.lines != heading + told + within or part.get("lines", stream.ends) != stream.ends:
        raise RuntimeError("Not every line of a range was imported, rejected or blank.")
    context.files.write_lines(work_file(batch, "rows", number), rows)
    _write_todo(context, batch, 0, number, todo)
    context.files.write_lines(work_file(batch, "rejects", number), sorted(rejects, key=lambda reject: int(reject["line"])))
    if limited := sum(reject["reason"] == CLAIM_LIMIT for reject in rejects):
        logger.warning("lines over the limit of claims rejected", extra={"lines": limited})
        metrics.add_metric(name="ClaimLimitExceeded", unit=MetricUnit.Count, value=limited)
    context.store.batches.put_range(
        batch, number,
        {
            "rows": len(rows), "duplicates": duplicates, "rejected": len(rejects), "blank": blank, "lines": told, "before": before,
            "done": done, "left": len(todo), "ready": len(todo), "resume_at": None, "collected": not todo,
        },
    )  # fmt: skip


def imported(context: BatchStepContext, batch: str) -> dict[str, Any]:
    """Write the file of all rejects, delete the manifest, and return what is next."""
    parts = list(context.store.batches.ranges(batch))
    rejects = [work_file(batch, "rejects", int(part["number"])) for part in parts]
    # Delete the manifest last, so that a retry after a crash can still finish this step.
    if "imported_ms" not in context.store.batches.get(batch):
        context.files.write(work_key(batch, "rejects.jsonl"), itertools.chain.from_iterable(map(context.files.read, rejects)))
        # Ranges that an earlier release imported did not count their blank lines.
        lines = sum(int(part["lines"]) for part in parts) if all("lines" in part for part in parts) else None
        done = {"imported_ms": to_milliseconds(context.now), "batch_state": "verifying", "pass": 0, "lines": lines}
        if not context.store.batches.update(batch, done, unless=["stopped"]):
            return tally(context, batch, 0)
    context.files.delete([manifest_key(batch), *rejects])
    return tally(context, batch, 0)


def collect(context: BatchStepContext, batch: str, part: Mapping[str, int], pass_: int, since: float | None) -> None:
    """Read the results of one range's verifications, and list those that the next pass `pass_` has to handle.

    `since` (Unix seconds): when the last pass began, None if it was interrupted. A verification that it handled and that has no verdict
    is in cooldown, or its workflow failed. After a failed workflow it gets the verdict that is still possible.

    In a stopped batch every verification gets its verdict here.
    """
    number = part["number"]
    state = context.store.batches.get(batch)
    if is_stopped(state):
        stopped.close_range(context, state, number)
        return
    kept = context.store.batches.get_range(batch, number)
    if kept is None or kept["collected"]:
        return
    horizon = context.now + _pause(context, batch)
    rows = [row for row in context.files.lines(work_file(batch, "rows", number)) if not row["duplicate"]]
    # Eventually consistent reads cost half. A verification whose verdict is read too late is read again, here or in the next pass.
    found = context.store.verifications.get_all([row["verification"] for row in rows], consistent=False)
    ready: list[dict[str, Any]] = []
    resume_at: list[int] = []
    done: Counter[str] = Counter()
    for verification in found.values():
        if verification.verdict is None:
            until = _cooling_until(context, verification, since)
            if until is None:
                verification = context.store.verifications.get(verification.id)
            elif until <= horizon:
                ready.append(task(verification))
            if until is not None:
                resume_at.append(until)
        if verification.verdict is not None:
            done[verification.verdict["outcome"]] += 1
    _write_todo(context, batch, pass_, number, ready)
    changes = {"done": done, "left": len(resume_at), "ready": len(ready), "resume_at": min(resume_at, default=None)}
    context.store.batches.put_range(
        batch, number, {**kept, **changes, "collected": not resume_at, "cooling_until": max(resume_at, default=0)}
    )


def tally(context: BatchStepContext, batch: str, pass_: int) -> dict[str, Any]:
    """Add up the ranges. `next` is `verify` (some verifications are ready, at `at`), `collect` (none is before `at`) or `summarise`."""
    state = context.store.batches.get(batch)
    if is_stopped(state):
        return stopped.tally(context, state, pass_)
    left = ready = cooling_until = 0
    numbers: list[int] = []
    resume_at: list[int] = []
    for part in context.store.batches.ranges(batch):
        numbers.append(int(part["number"]))
        if not part["collected"]:
            left, ready = left + int(part["left"]), ready + int(part["ready"])
            resume_at += [int(part["resume_at"])] if part["resume_at"] is not None else []
            cooling_until = max(cooling_until, int(part.get("cooling_until", 0)))
    resumed = int(state.get("resumed", 0))
    if pass_ and left:
        # Calculated from the counts, not added to the last value, because this step may be repeated.
        resumed = context.store.batches.counts(batch).get("cooled", 0) - (left - ready)
    at = context.now if not pass_ or not left else context.now + _pause(context, batch)
    if left and not ready:
        at = max(at, min(resume_at))
    changes = {"pass": pass_, "resumed": resumed, "cooling_until": cooling_until}
    so_far = bool(left) and at - context.now >= LONG_WAIT_SECONDS and _so_far_due(context, state)
    # The try is stored before it is made. If the step fails, for example because its time ends, it does not try again when it is repeated.
    context.store.batches.update(batch, {**changes, "results_tried_ms": to_milliseconds(context.now)} if so_far else changes)
    if so_far:
        _write_so_far(context, batch, numbers)
    following = "summarise" if not left else "verify" if ready else "collect"
    return {"next": following, "at": iso_milliseconds(at), "since": at if following == "verify" else None, "pass": pass_}


def summarise(context: BatchStepContext, batch: str) -> dict[str, Any]:
    """Write the results and announce the end. Returns the counts by verdict. A stopped batch stays stopped."""
    state = context.store.batches.get(batch)
    totals: Counter[str] = Counter()
    numbers, rows, rejected = [], 0, 0
    for part in context.store.batches.ranges(batch):
        numbers.append(int(part["number"]))
        rows, rejected = rows + int(part["rows"]) - int(part["duplicates"]), rejected + int(part["rejected"])
        totals.update({outcome: int(number) for outcome, number in part["done"].items()})
    if is_stopped(state) and "imported_ms" not in state:
        rejects = [work_file(batch, "rejects", number) for number in numbers]
        context.files.write(work_key(batch, "rejects.jsonl"), itertools.chain.from_iterable(map(context.files.read, rejects)))
    _write_results(context, batch, numbers, FINAL_RESULTS)
    summary = {"batch": batch, "verified": rows, "rejected": rejected, "done": dict(totals)}
    if not context.store.batches.complete(batch, context.now, Announcement("BatchCompleted", summary)):
        if is_stopped(state):
            context.store.batches.update(batch, {"closed_ms": to_milliseconds(context.now)})
        return {"state": "stopped"}
    context.bus.publish("BatchCompleted", summary)
    context.store.batches.mark_announced(batch)
    return summary


def _cooling_until(context: BatchStepContext, verification: Verification, since: float | None) -> int | None:
    """Until when a verification without a verdict has to wait (Unix seconds); None if this call has given it a verdict."""
    known = context.store.accounts.get(verification.ref)
    if snapshot := refresh_policy.usable_snapshot(known, verification.need):
        verdicts.complete_by_id(
            context.store, context.bus, verification.id, {"outcome": "ready", "snapshot": snapshot}, now=context.now, among_others=True
        )
        return None
    hash_ = known.state.refresh if known.state else None
    until = (hash_.next_refresh_available_at if hash_ else None) or 0
    if since is None:
        return until
    if until > since and not (known.state and known.state.status in refresh_policy.REASON_BY_ACCOUNT_STATUS):
        return until
    verdicts.complete_by_id(context.store, context.bus, verification.id, {"Error": "WorkflowFailed"}, now=context.now, among_others=True)
    return None


def _so_far_due(context: BatchStepContext, batch: Mapping[str, Any]) -> bool:
    """Whether the last try to write results so far was long enough ago."""
    if "results_tried_ms" not in batch:
        return True
    age = context.now - int(batch["started_ms"]) / 1000
    return context.now - int(batch["results_tried_ms"]) / 1000 >= max(LONG_WAIT_SECONDS, SO_FAR_SHARE * age)


def _write_so_far(context: BatchStepContext, batch: str, numbers: Iterable[int]) -> None:
    """Write the results so far. They are optional, so the batch continues if this fails.

    They have keys of their own, because after a stop this step may still be writing when the closing run has written the results.
    """
    try:
        _write_results(context, batch, numbers, SO_FAR, consistent=False)
        context.store.batches.update(batch, {"results_ms": to_milliseconds(context.now)})
    except Exception as error:
        logger.error("results so far not written", extra={"batch": batch, "error": str(UnexpectedError.of(error))})


def _write_results(context: BatchStepContext, batch: str, numbers: Iterable[int], name: str, *, consistent: bool = True) -> None:
    lines = work_key(batch, f"{name}.jsonl")
    context.files.write(lines, _json_lines(_results(context, batch, numbers, consistent=consistent)))
    context.files.write(work_key(batch, f"{name}.csv"), _csv_lines(context.files.lines(lines)))


def _results(context: BatchStepContext, batch: str, numbers: Iterable[int], *, consistent: bool) -> Iterator[dict[str, Any]]:
    for number in numbers:
        for rows in chunks(context.files.lines(work_file(batch, "rows", number)), ROWS_AT_ONCE):
            found = context.store.verifications.get_all(list({row["verification"] for row in rows}), consistent=consistent)
            for row in rows:
                stored = found[row["verification"]].verdict if row["verification"] in found else None
                verdict = {} if stored is None else remedies.shown(stored)
                yield {name: row[name] if name in row else verdict.get(name) for name in RESULT_COLUMNS}


def _json_lines(values: Iterable[Any]) -> Iterator[bytes]:
    for value in values:
        yield json.dumps(value).encode() + b"\n"


def _csv_lines(results: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    for row in itertools.chain([dict(zip(RESULT_COLUMNS, RESULT_COLUMNS, strict=True))], results):
        writer.writerow([" ".join(value) if isinstance(value, list) else value for value in row.values()])
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()


# -- the manifest ------------------------------------------------------------------------------------------------------------------------

REPLACED = "The manifest was uploaded again while it was imported. Upload it to a new batch."


def _manifest(context: BatchStepContext, batch: Mapping[str, Any], start: int, end: int, block: int | None = None) -> Iterator[bytes]:
    """A part of the manifest as it was when the batch was started. Raises ManifestError if it was replaced since."""
    sized = {} if block is None else {"block": block}
    try:
        # A batch that an earlier release started has no ETag.
        yield from context.files.read(manifest_key(batch["batch"]), start, end, etag=batch.get("manifest_etag"), **sized)
    except FileReplacedError:
        raise ManifestError(REPLACED) from None


@contextmanager
def _failure_recorded(context: BatchStepContext, batch: str) -> Iterator[None]:
    """Store in the batch why its manifest can't be read."""
    try:
        yield
    except ManifestError as error:
        context.store.batches.update(batch, {"failure": str(error)})
        raise


class _Counted:
    """Passes blocks of bytes on and counts their lines, independently of the code that splits them."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = blocks
        self.ends = 0
        self._last = b"\n"

    def __iter__(self) -> Iterator[bytes]:
        for block in self._blocks:
            self.ends += block.count(b"\n")
            self._last = block[-1:] or self._last
            yield block

    @property
    def lines(self) -> int:
        return self.ends + (self._last != b"\n")


def _write_todo(context: BatchStepContext, batch: str, pass_: int, number: int, tasks: list[dict[str, Any]]) -> None:
    key = work_file(batch, f"todo/{pass_}", number)
    if tasks:
        context.files.write_lines(key, tasks)
    else:
        context.files.delete([key])  # An earlier try may have had some.


def _pause(context: BatchStepContext, batch: str) -> float:
    age = context.now - int(context.store.batches.get(batch)["started_ms"]) / 1000
    return max(stopped.SHORTEST_PAUSE_SECONDS, PAUSE_SHARE * age)
