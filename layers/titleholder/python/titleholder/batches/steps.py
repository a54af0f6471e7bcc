"""The steps of the workflow `verify_batch`: each takes ids and numbers, never lines, and may be repeated without harm."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from titleholder.aws.event_publisher import EventPublisher
from titleholder.batches import manifests
from titleholder.batches.bucket import BatchBucket
from titleholder.batches.lifecycle import manifest_key, work_key
from titleholder.batches.manifests import LONGEST_RECORD_BYTES, Piece, Record, Reject, Row, piece_bytes
from titleholder.domain import refresh_policy
from titleholder.domain.accounts import AccountRef
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.verifications import DigestedClaim, Verification
from titleholder.errors import ClaimLimitExceededError, FileReplacedError, ManifestError
from titleholder.observability import logger, metrics
from titleholder.services import verdicts, verifications
from titleholder.store import Store
from titleholder.store.open_work import Announcement
from titleholder.timestamps import iso_milliseconds

BLOCK_BYTES = 64 * 1024**2
"""What one scan reads."""

WRITERS = 8
"""Verifications that one import writes at once: each waits for the table most of the time."""

IMPORT_SECONDS = 150
"""After a stop no import step is at work any more: its task has 120 s."""

ROWS_AT_ONCE = 1000
SHORTEST_PAUSE_SECONDS = 5
PAUSE_SHARE = 0.05
"""Between two passes over those that cooled down: this share of the batch's age. So the passes grow rare, not many."""

LINES_KNOWN_SECONDS = 400 * 86_400
"""For so long after an upgrade from a release that derived ids without a secret, a line of the same scope finds its verification."""

CLAIM_LIMIT = "too many different claims about this account within 24 hours; upload the line again later"

RESULT_COLUMNS = ("line", "reference", "verification", "account", "stripe_account", "outcome", "score", "reasons", "snapshot")


@dataclass(frozen=True, slots=True)
class BatchStepContext:
    """What the steps work with. `now`: Unix seconds. `max_wait`: how long a cooldown may be waited for, in seconds."""

    store: Store
    files: BatchBucket
    bus: EventPublisher
    now: float
    max_wait: int


def plan(desk: BatchStepContext, batch: str) -> dict[str, Any]:
    """Where to begin: with blocks of the manifest to be scanned, or, where it was imported in an earlier run, with what is left.

    Of a stopped batch what was imported is left, in whole or in part.
    """
    # Looked at before the batch, because a stop is kept there before it deletes the manifest.
    found = desk.files.stat(manifest_key(batch))
    kept = desk.store.batches.get(batch)
    if _stopped(kept):
        if "columns" not in kept:
            desk.files.write_lines(work_key(batch, "ranges.jsonl"), [])
        return {"imported": True, "blocks": [], "pass": int(kept.get("pass", 0)) + 1}
    if "imported_ms" in kept:
        return {"imported": True, "blocks": [], "pass": int(kept["pass"]) + 1}
    with _told(desk, batch):
        if found is None:
            raise ManifestError("The manifest is gone.")
        size, etag = found
        if kept.get("manifest_etag", etag) != etag:
            raise ManifestError(REPLACED)
    starts = range(0, size, BLOCK_BYTES)
    blocks = [
        {"number": number, "start": start, "end": min(start + BLOCK_BYTES, size), "piece": piece_bytes(size)}
        for number, start in enumerate(starts)
    ]
    return {"imported": False, "blocks": blocks, "pass": 0}


def scan(desk: BatchStepContext, batch: str, block: Mapping[str, int]) -> None:
    """Look at each piece of one block, to find where it could be cut."""
    kept, size, left = desk.store.batches.get(batch), block["piece"], block["end"] - block["start"]
    found: list[dict[str, Any]] = []
    with _told(desk, batch):
        data = bytearray()
        # Behind the block so much is read that the last piece's last record is seen to its end.
        blocks = _manifest(desk, kept, block["start"], block["end"] + LONGEST_RECORD_BYTES, size)
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
    desk.files.write_lines(_key(batch, "scans", block["number"]), found)


def cut(desk: BatchStepContext, batch: str, blocks: int) -> dict[str, Any]:
    """Write the index of ranges; answers `{usable}`, False for a manifest that can't be read as a whole."""
    kept = desk.store.batches.get(batch)

    def look(start: int, end: int, entry: int | None) -> Piece:
        piece = b"".join(_manifest(desk, kept, start, end))
        ahead = b"".join(_manifest(desk, kept, end, end + LONGEST_RECORD_BYTES)) if end < size else b""
        return manifests.examine(piece, kept["format"], ahead, first=not start, entry=entry)

    def pieces() -> Iterator[Piece]:
        at = 0
        for scan in itertools.chain.from_iterable(desk.files.lines(_key(batch, "scans", number)) for number in range(blocks)):
            start, at = at, at + scan["bytes"]
            # Those that an earlier release looked at, for a run that goes on over the upgrade, are looked at again.
            yield Piece.from_dict(scan) if "ways" in scan else look(start, at, None)

    try:
        with _told(desk, batch):
            size = desk.files.size(manifest_key(batch)) or 0
            head = b"".join(_manifest(desk, kept, 0, min(size, LONGEST_RECORD_BYTES)))
            manifests.check(head)
            columns = None
            if kept["format"] == "csv":
                columns = manifests.header(next(manifests.records([head], "csv"), Record(1, b"")).data or b"")
            desk.files.write_lines(work_key(batch, "ranges.jsonl"), (asdict(each) for each in manifests.cut(pieces(), look)))
    except ManifestError:
        return {"usable": False}
    desk.store.batches.update(batch, {"columns": columns})
    return {"usable": True}


def import_range(desk: BatchStepContext, batch: str, part: Mapping[str, int]) -> None:
    """Read, validate and write one range's claims. A range that was imported before is left alone."""
    number = part["number"]
    if desk.store.batches.get_range(batch, number) is not None:
        return
    kept = desk.store.batches.get(batch)
    columns = kept.get("columns")
    stream = _Counted(_manifest(desk, kept, part["start"], part["end"]))
    found = manifests.records(stream, kept["format"], part["line"])
    rows: list[dict[str, Any]] = []
    todo: list[dict[str, Any]] = []
    rejects: list[dict[str, Any]] = []
    before: Counter[str] = Counter()
    heading = duplicates = blank = within = 0
    with _told(desk, batch), ThreadPoolExecutor(WRITERS) as writers:
        for turn, some in enumerate(_chunks(found, ROWS_AT_ONCE)):
            if _stopped(desk.store.batches.get(batch)):
                return  # What was made until now is ended by the run that closes the batch.
            if columns and number == 0 and not turn:
                heading = some.pop(0).lines
            lines: list[_Line] = []
            for record, taken in zip(some, writers.map(lambda record: _read(desk, kept, record, columns), some), strict=True):
                if isinstance(taken, Reject):
                    rejects += [each.as_dict() for each in manifests.rejects(record, taken)]
                    continue
                within += record.lines - 1
                if taken is None:
                    blank += 1
                else:
                    lines.append(taken)
            records = {record.line: record for record in some}
            for line, verification in _made(desk, kept, number, turn, lines, writers):
                if verification is None:
                    # Not a verdict, which would stay: the line may be uploaded again when there is room.
                    record = records[line.line]
                    rejects += [each.as_dict() for each in manifests.rejects(record, Reject(record.line, "account", CLAIM_LIMIT))]
                    within -= record.lines - 1
                    continue
                mine = verification.verdict is not None or verification.line == line.line
                rows.append(_row(line, verification, duplicate=not mine))
                duplicates += not mine
                if verification.verdict is not None:
                    before[verification.verdict["outcome"]] += 1
                elif mine:
                    todo.append(_task(verification))
    told = len(rows) + len(rejects) + blank
    if stream.lines != heading + told + within or part.get("lines", stream.ends) != stream.ends:
        raise RuntimeError("Not every line of a range was imported, rejected or blank.")
    desk.files.write_lines(_key(batch, "rows", number), rows)
    _write_todo(desk, batch, 0, number, todo)
    desk.files.write_lines(_key(batch, "rejects", number), sorted(rejects, key=lambda reject: int(reject["line"])))
    if limited := sum(reject["reason"] == CLAIM_LIMIT for reject in rejects):
        logger.warning("lines over the limit of claims rejected", extra={"lines": limited})
        metrics.add_metric(name="ClaimLimitExceeded", unit=MetricUnit.Count, value=limited)
    desk.store.batches.put_range(
        batch, number,
        {
            "rows": len(rows), "duplicates": duplicates, "rejected": len(rejects), "blank": blank, "lines": told, "before": before,
            "done": before, "left": len(todo), "ready": len(todo), "resume_at": None, "collected": not todo,
        },
    )  # fmt: skip


def imported(desk: BatchStepContext, batch: str) -> dict[str, Any]:
    """Gather the rejects, delete the manifest, and say what is to be done."""
    parts = list(desk.store.batches.ranges(batch))
    rejects = [_key(batch, "rejects", int(part["number"])) for part in parts]
    # Deleted last, and gathered once: whoever died in between is followed by one who finds what is left.
    if "imported_ms" not in desk.store.batches.get(batch):
        desk.files.write(work_key(batch, "rejects.jsonl"), itertools.chain.from_iterable(map(desk.files.read, rejects)))
        # Ranges that an earlier release imported did not count their blank lines.
        lines = sum(int(part["lines"]) for part in parts) if all("lines" in part for part in parts) else None
        done = {"imported_ms": round(desk.now * 1000), "batch_state": "verifying", "pass": 0, "lines": lines}
        if not desk.store.batches.update(batch, done, unless=["stopped"]):
            return tally(desk, batch, 0)
    desk.files.delete([manifest_key(batch), *rejects])
    return tally(desk, batch, 0)


def collect(desk: BatchStepContext, batch: str, part: Mapping[str, int], pass_: int, since: float | None) -> None:
    """See what became of one range's verifications, and list those that the next pass `pass_` is to take up.

    `since` (Unix seconds): when the last pass began. It has dealt with every one that it took up: who has no verdict cools down, or else
    its workflow failed, and the verdict that can still be given is given. None if the last pass was broken off.

    Of a stopped batch every verification gets its verdict here.
    """
    number = part["number"]
    state = desk.store.batches.get(batch)
    if _stopped(state):
        _close(desk, state, number)
        return
    kept = desk.store.batches.get_range(batch, number)
    if kept is None or kept["collected"]:
        return
    horizon = desk.now + _pause(desk, batch)
    rows = [row for row in desk.files.lines(_key(batch, "rows", number)) if not row["duplicate"]]
    # Half the price of a consistent read. A verification whose verdict is seen too late is looked at again: here, or in the next pass.
    found = desk.store.verifications.get_all([row["verification"] for row in rows], consistent=False)
    ready: list[dict[str, Any]] = []
    resume_at: list[int] = []
    done: Counter[str] = Counter()
    for verification in found.values():
        if verification.verdict is None:
            until = _cooling_until(desk, verification, since)
            if until is None:
                verification = desk.store.verifications.get(verification.id)
            elif until <= horizon:
                ready.append(_task(verification))
            if until is not None:
                resume_at.append(until)
        if verification.verdict is not None:
            done[verification.verdict["outcome"]] += 1
    _write_todo(desk, batch, pass_, number, ready)
    changes = {"done": done, "left": len(resume_at), "ready": len(ready), "resume_at": min(resume_at, default=None)}
    desk.store.batches.put_range(batch, number, {**kept, **changes, "collected": not resume_at, "cooling_until": max(resume_at, default=0)})


def tally(desk: BatchStepContext, batch: str, pass_: int) -> dict[str, Any]:
    """Add the ranges up: `next` is `verify` (those who are ready, at `at`), `collect` (none is, before `at`) or `summarise`."""
    state = desk.store.batches.get(batch)
    if _stopped(state):
        return _tally_stopped(desk, state, pass_)
    left = ready = cooling_until = 0
    resume_at: list[int] = []
    for part in desk.store.batches.ranges(batch):
        if not part["collected"]:
            left, ready = left + int(part["left"]), ready + int(part["ready"])
            resume_at += [int(part["resume_at"])] if part["resume_at"] is not None else []
            cooling_until = max(cooling_until, int(part.get("cooling_until", 0)))
    resumed = int(state.get("resumed", 0)) + ready if pass_ else 0
    desk.store.batches.update(batch, {"pass": pass_, "resumed": resumed, "cooling_until": cooling_until})
    at = desk.now if not pass_ or not left else desk.now + _pause(desk, batch)
    if left and not ready:
        at = max(at, min(resume_at))
    following = "summarise" if not left else "verify" if ready else "collect"
    return {"next": following, "at": iso_milliseconds(at), "since": at if following == "verify" else None, "pass": pass_}


def _tally_stopped(desk: BatchStepContext, state: Mapping[str, Any], pass_: int) -> dict[str, Any]:
    """What is next for a stopped batch: `collect` until every verification that was made has its verdict, then `summarise`.

    Where ranges were not imported to their end, an import step may still be at work, or may have died at it: they are looked at once more
    when none can be. That is not remembered beside the ranges, because this step may die and be repeated before they are looked at.
    """
    batch, parts = state["batch"], list(desk.store.batches.ranges(state["batch"]))
    missing = len(parts) < sum(1 for _ in desk.files.lines(work_key(batch, "ranges.jsonl")))
    following, at = "summarise", desk.now
    if missing or not all(part["collected"] for part in parts):
        following, at = "collect", desk.now + SHORTEST_PAUSE_SECONDS
    if missing:
        at = max(at, _import_over(state) + refresh_policy.CLOCK_SKEW)
    return {"next": following, "at": iso_milliseconds(at), "since": None, "pass": pass_}


def summarise(desk: BatchStepContext, batch: str) -> dict[str, Any]:
    """Write the results, announce the end; answers the counts by verdict. A stopped batch stays so."""
    state = desk.store.batches.get(batch)
    totals: Counter[str] = Counter()
    numbers, rows, rejected = [], 0, 0
    for part in desk.store.batches.ranges(batch):
        numbers.append(int(part["number"]))
        rows, rejected = rows + int(part["rows"]) - int(part["duplicates"]), rejected + int(part["rejected"])
        totals.update({outcome: int(number) for outcome, number in part["done"].items()})
    if _stopped(state) and "imported_ms" not in state:
        rejects = [_key(batch, "rejects", number) for number in numbers]
        desk.files.write(work_key(batch, "rejects.jsonl"), itertools.chain.from_iterable(map(desk.files.read, rejects)))
    desk.files.write(work_key(batch, "results.jsonl"), _json_lines(_results(desk, batch, numbers)))
    desk.files.write(work_key(batch, "results.csv"), _csv_lines(desk.files.lines(work_key(batch, "results.jsonl"))))
    summary = {"batch": batch, "verified": rows, "rejected": rejected, "done": dict(totals)}
    if not desk.store.batches.complete(batch, desk.now, Announcement("BatchCompleted", summary)):
        if _stopped(state):
            desk.store.batches.update(batch, {"closed_ms": round(desk.now * 1000)})
        return {"state": "stopped"}
    desk.bus.publish("BatchCompleted", summary)
    desk.store.batches.mark_announced(batch)
    return summary


# -- one row -----------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Line:
    """A line that is to be verified. `again`: how often its verification ended because a batch was stopped."""

    line: int
    reference: str | None
    new: Verification
    keyed: DigestedClaim
    name: str
    again: int = 0

    def once_more(self, desk: BatchStepContext) -> _Line:
        again = self.again + 1
        return replace(self, again=again, new=replace(self.new, id=_id(desk, self.new.ref, self.name, again)))


def _id(desk: BatchStepContext, ref: AccountRef, name: str, again: int = 0) -> str:
    # A caller's Idempotency-Key holds no space, so no single verification can have the same id.
    name = f"{name} again {again}" if again else name
    return verifications.verification_id(desk.store, ref, name, desk.now, LINES_KNOWN_SECONDS)


def _read(desk: BatchStepContext, batch: Mapping[str, Any], record: Record, columns: list[str] | None) -> _Line | Reject | None:
    """What one record asks for; None for a blank one."""
    row = manifests.parse(record, columns)
    if not isinstance(row, Row):
        return row
    whose = batch.get("stripe_account")
    if whose is not None and row.stripe_account not in (None, whose):
        return Reject(record.line, "stripe_account", "a batch of a connected account may name no other")
    ref = AccountRef(row.account, batch["mode"], row.stripe_account or whose)
    max_age = int(batch["max_age"]) if row.max_age is None else row.max_age
    keyed, policy = desk.store.claims.digest(ref, Sensitive(row.claim.as_dict())), json.loads(batch["policy"])
    request = verifications.digest({"ref": ref.as_dict(), "max_age": max_age, "policy": policy})
    # What is said of an erased account nobody may recognise any more.
    said = keyed.digest or f"{batch['batch']} {record.line}"
    name = f"batch {batch['scope']} {row.reference or ''} {request} {said}"
    new = Verification(
        id=_id(desk, ref, name), ref=ref, claim_digest=keyed.digest, policy=policy, max_age=max_age, requested_at=desk.now,
        deadline=desk.now + desk.max_wait, request_digest=request, batch=batch["batch"], line=record.line,
    )  # fmt: skip
    return _Line(record.line, row.reference, new, keyed, name)


def _made(
    desk: BatchStepContext, batch: Mapping[str, Any], number: int, turn: int, lines: list[_Line], writers: ThreadPoolExecutor
) -> list[tuple[_Line, Verification | None]]:
    """The lines with the verifications that are kept for them, new ones where there are none, or where they ended with a stopped batch.

    None for a line that is one claim too many about its account.

    Their ids are written down first, so that the run that closes a stopped batch finds what an import made that died.
    """
    made: dict[int, tuple[_Line, Verification | None]] = {}
    left, tries = lines, 0
    while left or not tries:
        desk.files.write_lines(_made_key(batch["batch"], number, turn, tries), [_row(line, line.new, duplicate=False) for line in left])
        kept = list(zip(left, writers.map(lambda line: _keep(desk, line), left), strict=True))
        made |= {line.line: (line, verification) for line, verification in kept}
        left, tries = [line.once_more(desk) for line, each in kept if each is not None and verdicts.was_stopped(each)], tries + 1
    return [made[line.line] for line in lines]


def _keep(desk: BatchStepContext, line: _Line) -> Verification | None:
    try:
        kept = desk.store.verifications.create(line.new, line.keyed)
    except ClaimLimitExceededError:
        return None
    if kept is not line.new and kept.verdict is None and kept.batch != line.new.batch:
        desk.store.verifications.reassign_to_batch(line.new)
        kept = desk.store.verifications.get(line.new.id)
    return kept


def _cooling_until(desk: BatchStepContext, verification: Verification, since: float | None) -> int | None:
    """Until when a verification without a verdict has to wait; None if it was given one."""
    known = desk.store.accounts.get(verification.ref)
    if snapshot := refresh_policy.usable_snapshot(known, verification.need):
        verdicts.complete_by_id(
            desk.store, desk.bus, verification.id, {"outcome": "ready", "snapshot": snapshot}, now=desk.now, among_others=True
        )
        return None
    hash_ = known.state.refresh if known.state else None
    until = (hash_.next_refresh_available_at if hash_ else None) or 0
    if since is None:
        return until
    if until > since and not (known.state and known.state.status in refresh_policy.REASON_BY_ACCOUNT_STATUS):
        return until
    verdicts.complete_by_id(desk.store, desk.bus, verification.id, {"Error": "WorkflowFailed"}, now=desk.now, among_others=True)
    return None


def _task(verification: Verification) -> dict[str, Any]:
    """What the verification's workflow gets: ids and times."""
    need = verification.need
    return {
        "verification": verification.id, "ref": verification.ref.as_dict(), "not_before": need.not_before,
        "requested_at": need.requested_at, "deadline": need.deadline,
    }  # fmt: skip


def _row(line: _Line, verification: Verification, *, duplicate: bool) -> dict[str, Any]:
    ref = verification.ref
    return {
        "line": line.line, "reference": line.reference, "verification": verification.id, "account": ref.account,
        "stripe_account": ref.stripe_account, "duplicate": duplicate,
    }  # fmt: skip


def _results(desk: BatchStepContext, batch: str, numbers: Iterable[int]) -> Iterator[dict[str, Any]]:
    for number in numbers:
        for rows in _chunks(desk.files.lines(_key(batch, "rows", number)), ROWS_AT_ONCE):
            found = desk.store.verifications.get_all(list({row["verification"] for row in rows}))
            for row in rows:
                verdict = (found[row["verification"]].verdict if row["verification"] in found else None) or {}
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


# -- a stopped batch ---------------------------------------------------------------------------------------------------------------------


def _stopped(batch: Mapping[str, Any]) -> bool:
    return bool(batch["batch_state"] == "stopped")


def _import_over(batch: Mapping[str, Any]) -> float:
    return int(batch["completed_ms"]) / 1000 + IMPORT_SECONDS


def _close(desk: BatchStepContext, batch: Mapping[str, Any], number: int) -> None:
    """Give every verification of one range of a stopped batch its verdict, but for those that another batch works on by now."""
    id_ = batch["batch"]
    kept = desk.store.batches.get_range(id_, number)
    if kept is None and desk.now >= _import_over(batch):
        kept = _half_imported(desk, id_, number)
    if kept is None or kept["collected"]:
        return

    def ended(each: Verification) -> Verification:
        # One that an earlier try ended may not have been announced.
        mine = each.batch == id_ and (each.verdict is None or verdicts.was_stopped(each))
        return verdicts.stop(desk.store, desk.bus, each, id_, now=desk.now) if mine else each

    done: Counter[str] = Counter()
    with ThreadPoolExecutor(WRITERS) as writers:
        for rows in _chunks((row for row in desk.files.lines(_key(id_, "rows", number)) if not row["duplicate"]), ROWS_AT_ONCE):
            found = desk.store.verifications.get_all([row["verification"] for row in rows])
            done.update(each.verdict["outcome"] for each in writers.map(ended, found.values()) if each.verdict is not None)
    desk.store.batches.put_range(id_, number, {**kept, "done": done, "left": 0, "ready": 0, "resume_at": None, "collected": True})


def _half_imported(desk: BatchStepContext, batch: str, number: int) -> dict[str, Any]:
    """A range whose import the stop broke off, or kept from beginning, with the lines whose verifications were made."""
    rows = _made_lines(desk, batch, number)
    desk.files.write_lines(_key(batch, "rows", number), rows)
    desk.files.write_lines(_key(batch, "rejects", number), [])
    duplicates = sum(row["duplicate"] for row in rows)
    return {"rows": len(rows), "duplicates": duplicates, "rejected": 0, "before": {}, "done": {}, "left": 0, "collected": False}


def _made_lines(desk: BatchStepContext, batch: str, number: int) -> list[dict[str, Any]]:
    """The lines of a range whose verifications were made before its import was broken off."""
    rows: dict[int, dict[str, Any]] = {}
    turn = tries = 0
    while desk.files.size(key := _made_key(batch, number, turn, tries)) is not None:
        wanted = list(desk.files.lines(key))
        found = desk.store.verifications.get_all(list({row["verification"] for row in wanted}))
        for row in wanted:
            if (verification := found.get(row["verification"])) is not None:
                rows[row["line"]] = {**row, "duplicate": verification.batch == batch and verification.line != row["line"]}
        tries += 1
        if desk.files.size(_made_key(batch, number, turn, tries)) is None:
            turn, tries = turn + 1, 0
    return list(rows.values())


def _made_key(batch: str, number: int, turn: int, tries: int) -> str:
    return work_key(batch, f"made/{number:06}/{turn:06}.{tries}.jsonl")


# -- the manifest ------------------------------------------------------------------------------------------------------------------------

REPLACED = "The manifest was uploaded again while it was imported. Upload it to a new batch."


def _manifest(desk: BatchStepContext, batch: Mapping[str, Any], start: int, end: int, block: int | None = None) -> Iterator[bytes]:
    """A part of the manifest that was there at the start. Raises ManifestError if it was replaced since."""
    sized = {} if block is None else {"block": block}
    try:
        # A batch that an earlier release started has no ETag.
        yield from desk.files.read(manifest_key(batch["batch"]), start, end, etag=batch.get("manifest_etag"), **sized)
    except FileReplacedError:
        raise ManifestError(REPLACED) from None


@contextmanager
def _told(desk: BatchStepContext, batch: str) -> Iterator[None]:
    """Have the batch say why its manifest can't be read."""
    try:
        yield
    except ManifestError as error:
        desk.store.batches.update(batch, {"failure": str(error)})
        raise


class _Counted:
    """Blocks of bytes, whose lines are counted as they pass: by another way than that which splits them."""

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


# -- small things ------------------------------------------------------------------------------------------------------------------------


def _key(batch: str, kind: str, number: int) -> str:
    return work_key(batch, f"{kind}/{number:06}.jsonl")


def _write_todo(desk: BatchStepContext, batch: str, pass_: int, number: int, tasks: list[dict[str, Any]]) -> None:
    key = _key(batch, f"todo/{pass_}", number)
    if tasks:
        desk.files.write_lines(key, tasks)
    else:
        desk.files.delete([key])  # An earlier try may have had some.


def _pause(desk: BatchStepContext, batch: str) -> float:
    age = desk.now - int(desk.store.batches.get(batch)["started_ms"]) / 1000
    return max(SHORTEST_PAUSE_SECONDS, PAUSE_SHARE * age)


def _chunks(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    values = iter(values)
    while some := list(itertools.islice(values, size)):
        yield some
