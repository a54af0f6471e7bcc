"""What the steps of a batch share, and how a line of the manifest becomes a verification."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from titleholder.aws.event_publisher import EventPublisher
from titleholder.batches import manifests
from titleholder.batches.bucket import BatchBucket
from titleholder.batches.lifecycle import work_key
from titleholder.batches.manifests import Record, Reject, Row
from titleholder.domain.accounts import AccountRef
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.verifications import DigestedClaim, Verification
from titleholder.errors import ClaimLimitExceededError
from titleholder.services import verdicts, verifications
from titleholder.store import Store
from titleholder.timestamps import DAY_SECONDS

WRITERS = 8
"""How many verifications one import step writes at once. Each write waits for the table most of the time."""

ROWS_AT_ONCE = 1000

LINES_KNOWN_SECONDS = 400 * DAY_SECONDS
"""How long a line of the same scope still finds its verification after an upgrade from a release that derived ids without a secret."""


@dataclass(frozen=True, slots=True)
class BatchStepContext:
    """The dependencies of the steps. `now`: Unix seconds. `max_wait`: how many seconds to wait for a cooldown at most.

    `writers` makes an executor with the given number of threads.
    """

    store: Store
    files: BatchBucket
    bus: EventPublisher
    now: float
    max_wait: int
    writers: Callable[[int], Executor] = ThreadPoolExecutor


@dataclass(frozen=True, slots=True)
class Line:
    """A line to be verified. `again`: how often its verification ended because a batch was stopped."""

    line: int
    reference: str | None
    new: Verification
    claim: DigestedClaim
    name: str
    again: int = 0

    def once_more(self, context: BatchStepContext) -> Line:
        again = self.again + 1
        return replace(self, again=again, new=replace(self.new, id=_id(context, self.new.ref, self.name, again)))


@dataclass(frozen=True, slots=True)
class Made:
    """The verification of a line. `mine`: the batch counts it at this line. The other equal lines are duplicates."""

    verification: Verification
    mine: bool


def _id(context: BatchStepContext, ref: AccountRef, name: str, again: int = 0) -> str:
    # A caller's Idempotency-Key has no spaces, so no single verification can have the same id.
    name = f"{name} again {again}" if again else name
    return verifications.verification_id(context.store, ref, name, context.now, LINES_KNOWN_SECONDS)


def read_line(context: BatchStepContext, batch: Mapping[str, Any], record: Record, columns: list[str] | None) -> Line | Reject | None:
    """The line or the reject that a record results in; None for a blank one."""
    row = manifests.parse(record, columns)
    if not isinstance(row, Row):
        return row
    whose = batch.get("stripe_account")
    if whose is not None and row.stripe_account not in (None, whose):
        return Reject(record.line, "stripe_account", "a batch of a connected account may name no other")
    ref = AccountRef(row.account, batch["mode"], row.stripe_account or whose)
    max_age = int(batch["max_age"]) if row.max_age is None else row.max_age
    claim, policy = context.store.claims.digest(ref, Sensitive(row.claim.as_dict())), json.loads(batch["policy"])
    request = verifications.digest({"ref": ref.as_dict(), "max_age": max_age, "policy": policy})
    # An erased account has no key to digest the claim with, so the line number identifies it.
    said = claim.digest or f"{batch['batch']} {record.line}"
    name = f"batch {batch['scope']} {row.reference or ''} {request} {said}"
    new = Verification(
        id=_id(context, ref, name), ref=ref, claim_digest=claim.digest, policy=policy, max_age=max_age, requested_at=context.now,
        deadline=context.now + context.max_wait, request_digest=request, batch=batch["batch"], line=record.line,
    )  # fmt: skip
    return Line(record.line, row.reference, new, claim, name)


def make_verifications(
    context: BatchStepContext, batch: Mapping[str, Any], number: int, turn: int, lines: list[Line], writers: Executor
) -> list[tuple[Line, Made | None]]:
    """The lines with their verifications. A verification is new if there was none, or if the earlier one ended with a stopped batch.

    None for a line that exceeds the limit of claims about its account.

    The ids are written first, so that the run that closes a stopped batch finds the verifications of an import that crashed.
    """
    made: dict[int, tuple[Line, Made | None]] = {}
    left, tries = lines, 0
    while left or not tries:
        key = made_key(batch["batch"], number, turn, tries)
        left = _as_before(context, key, left)
        context.files.write_lines(key, [as_row(line, line.new, duplicate=False) for line in left])
        kept = list(zip(left, writers.map(lambda line: _store(context, batch, line), left), strict=True))
        made |= {line.line: (line, each) for line, each in kept}
        again = [line for line, each in kept if each is not None and verdicts.was_stopped(each.verification)]
        left, tries = [line.once_more(context) for line in again], tries + 1
    return [made[line.line] for line in lines]


def _as_before(context: BatchStepContext, key: str, lines: list[Line]) -> list[Line]:
    """The lines. Those whose accounts were erased since keep the ids that an earlier try of this step wrote to the file `key`.

    Their claims can't be digested any more, so they would get other ids, and the verifications of the first ids would never end.
    """
    if all(line.new.claim_digest for line in lines) or context.files.size(key) is None:
        return lines
    ids = {row["line"]: row["verification"] for row in context.files.lines(key)}
    return [line if line.new.claim_digest else replace(line, new=replace(line.new, id=ids.get(line.line, line.new.id))) for line in lines]


def _store(context: BatchStepContext, batch: Mapping[str, Any], line: Line) -> Made | None:
    stored = context.store.verifications
    try:
        kept = stored.create(line.new, line.claim)
    except ClaimLimitExceededError:
        return None
    if kept is line.new or verdicts.was_stopped(kept):
        # A verification that ended with a stopped batch counts nowhere. The line gets another one.
        return Made(kept, mine=kept is line.new)
    counting = counting_line(context, batch, kept, line.line)
    if kept.verdict is None and kept.batch != line.new.batch:
        if kept.batch is not None and kept.line is not None:
            # The other batch may import equal lines at this moment, and must count none of them again.
            stored.counting_line(kept.id, kept.batch, kept.line, _counted_until(batch))
        stored.reassign_to_batch(replace(line.new, line=counting))
        kept = stored.get(line.new.id)
    return Made(kept, mine=counting == line.line)


def counting_line(context: BatchStepContext, batch: Mapping[str, Any], verification: Verification, line: int) -> int:
    """The line that counts a verification for this batch. `line`: a line with this verification.

    The line that made the verification, or took it over from another batch, is stored with it. If it belongs to another batch, also because
    it had its verdict before, the first line that this is called for is stored. So each try of a step, and each range, finds the same line.
    """
    if verification.batch == batch["batch"] and verification.line is not None:
        return verification.line
    return context.store.verifications.counting_line(verification.id, batch["batch"], line, _counted_until(batch))


def _counted_until(batch: Mapping[str, Any]) -> int:
    return int(batch["expires_at"])


def task(verification: Verification) -> dict[str, Any]:
    """The input of a verification's workflow: ids and times."""
    need = verification.need
    return {
        "verification": verification.id, "ref": verification.ref.as_dict(), "not_before": need.not_before,
        "requested_at": need.requested_at, "deadline": need.deadline,
    }  # fmt: skip


def as_row(line: Line, verification: Verification, *, duplicate: bool) -> dict[str, Any]:
    """A line's row in the file of rows, from which the results are written. `duplicate`: the verification is another line's."""
    ref = verification.ref
    return {
        "line": line.line, "reference": line.reference, "verification": verification.id, "account": ref.account,
        "stripe_account": ref.stripe_account, "duplicate": duplicate,
    }  # fmt: skip


def made_key(batch: str, number: int, turn: int, tries: int) -> str:
    return work_key(batch, f"made/{number:06}/{turn:06}.{tries}.jsonl")


def is_stopped(batch: Mapping[str, Any]) -> bool:
    return bool(batch["batch_state"] == "stopped")


def work_file(batch: str, kind: str, number: int) -> str:
    return work_key(batch, f"{kind}/{number:06}.jsonl")


def chunks(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    values = iter(values)
    while some := list(itertools.islice(values, size)):
        yield some
