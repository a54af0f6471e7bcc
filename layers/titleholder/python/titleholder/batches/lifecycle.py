"""The life cycle of a batch as its caller sees it: upload, start, progress, stop. The workflow's steps are in `batches.steps`."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from titleholder.aws.workflows import BatchWorkflow
from titleholder.batches.bucket import LINK_SECONDS, PART_BYTES, BatchBucket
from titleholder.batches.manifests import LARGEST_BYTES, Format
from titleholder.domain.accounts import Mode, Tenant
from titleholder.errors import AwsUnavailableError, BatchNotFoundError, BatchStateError, ManifestError, is_aws_unavailable
from titleholder.store import Store
from titleholder.timestamps import DAY_SECONDS, from_milliseconds, to_milliseconds

State = Literal["waiting_for_upload", "importing", "verifying", "completed", "failed", "stopped"]

BATCH_RETENTION_SECONDS = 400 * DAY_SECONDS
FINAL = ("completed", "stopped")

FINAL_RESULTS = "results"
SO_FAR = "results.so_far"
"""The names of the files of results, without their endings."""

LOOKED_AT_SECONDS = 15.0
"""How old the answer of Step Functions may be on which a batch's shown progress is based (seconds)."""


@dataclass(frozen=True, slots=True)
class BatchDependencies:
    """What the HTTP routes of batches depend on. `clock`: Unix seconds."""

    store: Store
    files: BatchBucket
    workflow: BatchWorkflow
    clock: Callable[[], float]


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A caller's request for a batch. `size`: in bytes, if known. `max_age`: in seconds.

    Rows are identified by `scope` and content: a row that was verified in the same scope is not verified again.
    """

    mode: Mode
    format: Format
    stripe_account: str | None
    max_age: int
    policy: Mapping[str, Any]
    scope: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class Upload:
    """Where to PUT the manifest: one URL, or one for each part of `part_bytes`."""

    batch: str
    urls: list[str]
    part_bytes: int | None
    expires_at: float


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a batch. Times are Unix seconds, `per_second` is verdicts a second since verifying began."""

    batch: str
    state: State
    format: Format
    created_at: float
    started_at: float | None
    completed_at: float | None
    imported: int
    duplicates: int
    rejected: int
    blank: int
    lines: int | None
    done: Mapping[str, int]
    waiting: int
    cooling_down: int
    cooling_until: int | None
    per_second: float | None
    estimated_end: float | None
    failure: str | None
    results_at: float | None
    links: Mapping[str, str]


def manifest_key(batch: str) -> str:
    return f"manifests/{batch}"


def work_key(batch: str, name: str) -> str:
    return f"batches/{batch}/{name}"


def create(deps: BatchDependencies, new: NewBatch, batch: str | None = None) -> str:
    """Store a new batch and return its id. Raises ManifestError if its manifest will be too large."""
    _check_size(new.size)
    batch, now = batch or f"bat_{uuid.uuid4().hex}", deps.clock()
    deps.store.batches.create(
        batch,
        {
            "mode": new.mode, "format": new.format, "stripe_account": new.stripe_account, "max_age": new.max_age, "size": new.size,
            "policy": json.dumps(dict(new.policy), sort_keys=True), "scope": new.scope, "run": 0, "batch_state": "waiting_for_upload",
            "upload": deps.files.start_upload(manifest_key(batch), new.size),
            "created_ms": to_milliseconds(now), "expires_at": int(now) + BATCH_RETENTION_SECONDS,
        },
    )  # fmt: skip
    return batch


def upload(deps: BatchDependencies, batch: str) -> Upload:
    """Where to put a batch's manifest. Raises BatchNotFoundError."""
    kept = deps.store.batches.get(batch)
    urls = deps.files.upload_urls(manifest_key(batch), int(kept["size"]), kept["upload"])
    return Upload(batch, urls, PART_BYTES if kept["upload"] else None, deps.clock() + LINK_SECONDS)


def start(deps: BatchDependencies, tenant: Tenant, batch: str, inputs: Mapping[str, Any]) -> Progress:
    """Start a batch whose manifest is uploaded, or resume a failed one. Does nothing if the batch runs or is completed.

    `inputs`: the workflow's settings. Raises BatchNotFoundError, BatchStateError, ManifestError.
    """
    kept = _batch_of(deps, tenant, batch)
    state = _state(deps, kept, max_age=0)
    if state == "stopped":
        if not int(kept["run"]):
            raise BatchStateError("The batch was stopped before it was started. Create a new batch.")
        raise BatchStateError(
            "The batch was stopped. To verify the rest, upload its manifest to a new batch in the same scope. A line whose verification "
            "ended as BATCH_STOPPED is verified again; a line with another verdict keeps it."
        )
    if state in ("waiting_for_upload", "failed"):
        run = int(kept["run"]) + 1
        upload = {} if "imported_ms" in kept else {"manifest_etag": _check_upload(deps, kept)}
        now = deps.clock()
        begun = upload if "started_ms" in kept else {**upload, "started_ms": to_milliseconds(now)}
        changes = {"batch_state": "verifying" if "imported_ms" in kept else "importing", "run": run, "failure": None, **begun}
        # Store the state first: if the start then fails, the next call finds that this run's execution is missing.
        if deps.store.batches.update(batch, changes, unless=FINAL):
            deps.workflow.start(batch, run, inputs)
            if deps.store.batches.get(batch)["batch_state"] == "stopped":
                # The batch was stopped in between, and that call may have found no run to stop.
                deps.workflow.stop(batch, run)
    return _progress(deps, deps.store.batches.get(batch), max_age=math.inf)


def stop(deps: BatchDependencies, tenant: Tenant, batch: str) -> Progress:
    """Stop a batch for good. Verdicts stay, every other imported verification ends as `BATCH_STOPPED`, and no more refreshes are paid.

    Repeating this starts the run that ends the verifications again, if it failed. Raises BatchNotFoundError, BatchStateError.
    """
    _batch_of(deps, tenant, batch)
    now = to_milliseconds(deps.clock())
    stopped = deps.store.batches.update(batch, {"batch_state": "stopped", "completed_ms": now}, unless=FINAL)
    kept = deps.store.batches.get(batch)
    if not stopped and kept["batch_state"] == "completed":
        raise BatchStateError("The batch is completed, so it can't be stopped. GET /batches/{id} links its results.")
    # Also for a batch that was stopped before, because that call may have crashed in between.
    if int(kept["run"]):
        deps.workflow.stop(batch, int(kept["run"]))
    deps.files.delete([manifest_key(batch)])
    # The import begins once the manifest is cut and its columns are stored.
    if "columns" in kept and "closed_ms" not in kept:
        _close(deps, kept)
    return _progress(deps, deps.store.batches.get(batch), max_age=math.inf)


def _close(deps: BatchDependencies, kept: Mapping[str, Any]) -> None:
    """Start the run that ends a stopped batch's verifications; another one if the last one failed."""
    batch, number = kept["batch"], int(kept.get("closing") or int(kept["run"]) + 1)
    if "closing" in kept and _failed(deps, kept, number, 0):
        number += 1
    # Stored first, as in `start`. Starting a run of this number again has no effect.
    deps.store.batches.update(batch, {"closing": number})
    deps.workflow.start(batch, number, {})


def _closing_failed(deps: BatchDependencies, kept: Mapping[str, Any], max_age: float) -> bool:
    if "closing" not in kept or "closed_ms" in kept:
        return False
    return _failed(deps, kept, int(kept["closing"]), max_age)


def progress(deps: BatchDependencies, tenant: Tenant, batch: str) -> Progress:
    """The progress of a batch now. Raises BatchNotFoundError."""
    return _progress(deps, _batch_of(deps, tenant, batch))


def _progress(deps: BatchDependencies, kept: Mapping[str, Any], max_age: float = LOOKED_AT_SECONDS) -> Progress:
    """The progress of a batch. `max_age`: how old the known state of its run may be, in seconds."""
    batch, state = kept["batch"], _state(deps, kept, max_age)
    # A stopped batch has ended once its remaining verifications have their verdicts.
    ended = state == "completed" or "closed_ms" in kept
    imported = duplicates = rejected = blank = 0
    done: dict[str, int] = {}
    for part in deps.store.batches.ranges(batch):
        imported, duplicates = imported + int(part["rows"]), duplicates + int(part["duplicates"])
        rejected, blank = rejected + int(part["rejected"]), blank + int(part.get("blank", 0))
        # The ranges count verdicts from before the import. Verdicts that come while the batch runs are counted in shards.
        for outcome, number in part["done" if ended else "before"].items():
            done[outcome] = done.get(outcome, 0) + int(number)
    lines = None if kept.get("lines") is None else int(kept["lines"])
    counts = deps.store.batches.counts(batch)
    cooling = max(0, counts.pop("cooled", 0) - int(kept.get("resumed", 0)))
    before = sum(done.values())
    if not ended:
        for outcome, number in counts.items():
            done[outcome] = done.get(outcome, 0) + number
    total = imported - duplicates
    waiting = 0 if ended else max(0, total - sum(done.values()))
    since, until = _seconds(kept.get("imported_ms")), _seconds(kept.get("completed_ms")) or deps.clock()
    rate = (sum(done.values()) - before) / (until - since) if since and until > since and not ended else None
    cooling_until = int(kept["cooling_until"]) if cooling and kept.get("cooling_until") and state == "verifying" else None
    end = None
    if state == "verifying" and rate:
        end = max(deps.clock() + (waiting - min(cooling, waiting)) / rate, cooling_until or 0)
    links = {}
    if "imported_ms" in kept or "closed_ms" in kept:
        links["rejects"] = deps.files.link(work_key(batch, "rejects.jsonl"), f"{batch}.rejects.jsonl")
    if ended or "results_ms" in kept:
        # Callers may take the links of the results for the end.
        prefix, name = ("", FINAL_RESULTS) if ended else ("so_far_", SO_FAR)
        for kind in ("jsonl", "csv"):
            links[f"{prefix}{kind}"] = deps.files.link(work_key(batch, f"{name}.{kind}"), f"{batch}{name.removeprefix('results')}.{kind}")
    written = (kept.get("closed_ms") or kept.get("completed_ms")) if ended else kept.get("results_ms")
    return Progress(
        batch=batch, state=state, format=kept["format"], created_at=_seconds(kept["created_ms"]) or 0.0,
        started_at=_seconds(kept.get("started_ms")), completed_at=_seconds(kept.get("completed_ms")), imported=imported,
        duplicates=duplicates, rejected=rejected, blank=blank, lines=lines, done=done, waiting=waiting, cooling_down=min(cooling, waiting),
        cooling_until=cooling_until, per_second=rate, estimated_end=end, failure=_failure(deps, kept, state, max_age),
        results_at=_seconds(written), links=links,
    )  # fmt: skip


def _batch_of(deps: BatchDependencies, tenant: Tenant, batch: str) -> dict[str, Any]:
    """A tenant's batch. Raises BatchNotFoundError, also for another tenant's."""
    kept = deps.store.batches.get(batch)
    if not tenant.owns(kept["mode"], kept.get("stripe_account")):
        raise BatchNotFoundError
    return kept


def _state(deps: BatchDependencies, kept: Mapping[str, Any], max_age: float = LOOKED_AT_SECONDS) -> State:
    """The batch's state. A batch whose workflow ended without storing a state has failed."""
    state = str(kept["batch_state"])
    if state in ("importing", "verifying") and _failed(deps, kept, int(kept["run"]), max_age, unstarted=True):
        return "failed"
    return cast(State, state)


def _failed(deps: BatchDependencies, kept: Mapping[str, Any], run: int, max_age: float, *, unstarted: bool = False) -> bool:
    """Whether a run failed; with `unstarted` also whether it was never started. The result is stored with the batch.

    Step Functions answers 10 DescribeExecution a second for the whole AWS account. So only one reader in `max_age` seconds asks for a run's
    status. Until a reader finds that it failed, the run counts as running. `max_age` 0: ask now, for a caller who acts on the answer;
    infinite: do not ask.

    Raises:
        AwsUnavailableError: with `max_age` 0, Step Functions did not answer.
    """
    batch, now = kept["batch"], to_milliseconds(deps.clock())
    if kept.get("failed_run") == run:
        return True
    if math.isinf(max_age) or (max_age and not deps.store.batches.begin_look(batch, run, now, now - to_milliseconds(max_age))):
        return False
    try:
        status = deps.workflow.status(batch, run)
    except Exception as error:
        if not is_aws_unavailable(error):
            raise
        if max_age:
            return False
        raise AwsUnavailableError from None
    if status in ("RUNNING", "SUCCEEDED"):
        return False
    if status is None:
        # The run may be started at this moment, so this is not stored, and the next reader asks again.
        deps.store.batches.update(batch, {"looked_ms": 0})
        return unstarted
    deps.store.batches.update(batch, {"failed_run": run})
    return True


def _failure(deps: BatchDependencies, kept: Mapping[str, Any], state: str, max_age: float) -> str | None:
    if state == "stopped" and _closing_failed(deps, kept, max_age):
        return "The run that ends the stopped batch's verifications failed. Stop the batch again to start another run."
    if state != "failed":
        return None
    return str(kept.get("failure") or "The batch's workflow failed. Start the batch again to resume it.")


def _check_upload(deps: BatchDependencies, kept: Mapping[str, Any]) -> str:
    """The ETag of the manifest. Every step of the import then reads only this version."""
    batch = kept["batch"]
    if kept.get("upload"):
        deps.files.complete_upload(manifest_key(batch), kept["upload"])
    found = deps.files.stat(manifest_key(batch))
    if found is None:
        raise BatchStateError("The manifest is not uploaded yet. PUT it to the batch's upload URL, then repeat this request.", "retry")
    size, etag = found
    _check_size(size)
    if size == 0:
        raise ManifestError("The manifest is empty. Upload one with at least one line, then start the batch again.")
    # An import that broke may have made verifications of its first lines. A batch that an earlier release imported only shows its ranges.
    begun = "import_begun_ms" in kept or any(True for _ in deps.store.batches.ranges(batch))
    if kept.get("manifest_etag", etag) != etag and begun:
        raise BatchStateError(
            "The manifest was uploaded again after a part of it had been imported. Stop this batch, and create one for the new file."
        )
    return etag


def _check_size(size: int) -> None:
    if size > LARGEST_BYTES:
        raise ManifestError(f"A manifest may have {LARGEST_BYTES // 1024**3} GiB at most. Split it into several batches.")


def _seconds(milliseconds: Any) -> float | None:
    return None if milliseconds is None else from_milliseconds(milliseconds)
