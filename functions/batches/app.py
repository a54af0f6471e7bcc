"""HTTP routes for batches: create, start, read progress, stop."""

from __future__ import annotations

import titleholder.cold_start  # noqa: F401

from typing import Annotated, Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Header, Path

from titleholder.aws.idempotency import Request
from titleholder.aws.workflows import longest_wait
from titleholder.batches import lifecycle
from titleholder.bootstrap import application
from titleholder.domain.accounts import Tenant
from titleholder.observability import logger, observed
from titleholder.services import verifications
from titleholder.services.audit import By
from titleholder.timestamps import iso_or_none, iso_seconds
from titleholder.web import models, resolver

app = resolver.resolver()


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one HTTP request."""
    return resolver.handle(app, event, context)


@app.post("/batches")
@resolver.openapi_responses({201: models.CreatedBatch}, "manifest-unusable", "idempotency-conflict", "idempotency-in-progress")
def create_batch(
    body: Annotated[models.NewBatch, Body()],
    idempotency_key: Annotated[models.IdempotencyKey | None, Header(alias="Idempotency-Key")] = None,
) -> Response[Any]:
    """Create a batch.

    Answers 201 with its id and the URLs for its manifest.
    """
    policy = resolver.policy(body.policy)
    deps, tenant = application().batch_dependencies, _tenant()
    new = lifecycle.NewBatch(
        mode=tenant.mode,
        format=body.format,
        stripe_account=tenant.stripe_account,
        max_age=verifications.DEFAULT_MAX_AGE_SECONDS if body.max_age is None else body.max_age,
        policy=policy.as_dict(),
        scope=body.scope,
        size=body.bytes,
    )
    request = Request("POST /batches", tenant.mode, tenant.stripe_account, idempotency_key, body.model_dump(mode="json"))
    with application().audit.effect(_caller(), "batch.created", **_tenant().as_dict()) as entry:
        ids = application().idempotency.once(request, lambda _: {"id": lifecycle.create(deps, new)}, app.lambda_context)
        entry.note(batch=ids["id"])
    slot = lifecycle.upload(deps, ids["id"])
    logger.info("batch created", extra={"batch": slot.batch})
    upload = models.ManifestUpload(urls=slot.urls, part_bytes=slot.part_bytes, expires_at=iso_seconds(slot.expires_at))
    return resolver.json_response(201, models.CreatedBatch(id=slot.batch, upload=upload))


@app.post("/batches/<id>/start")
@resolver.openapi_responses({202: models.Batch}, "batch-not-found", "batch-state", "manifest-unusable")
def start_batch(id: Annotated[models.BatchId, Path()]) -> Response[Any]:
    """Start a batch once its manifest is uploaded, or continue one that failed.

    Answers 202 with the batch. Repeating it while the batch runs changes nothing.
    """
    settings = application().settings
    inputs = {
        "settle_timeout": settings.settle_timeout_seconds,
        "longest_wait": longest_wait(settings.max_wait_seconds, settings.settle_timeout_seconds),
        "concurrency": settings.batch_concurrency,
    }
    with application().audit.effect(_caller(), "batch.started", **_tenant().as_dict(), batch=id) as entry:
        started = lifecycle.start(application().batch_dependencies, _tenant(), id, inputs)
        entry.note(result=started.state)
    logger.info("batch started", extra={"batch": id, "state": started.state})
    return resolver.json_response(202, _shown(started))


@app.get("/batches/<id>")
@resolver.openapi_responses({200: models.Batch}, "batch-not-found")
def get_batch(id: Annotated[models.BatchId, Path()]) -> Response[Any]:
    """Read the progress of a batch, with links to its results.

    Links are valid for at most an hour. Each call makes new ones.
    """
    found = lifecycle.progress(application().batch_dependencies, _tenant(), id)
    application().audit.read(_caller(), "batch.read", **_tenant().as_dict(), batch=id)
    return resolver.json_response(200, _shown(found))


@app.delete("/batches/<id>")
@resolver.openapi_responses({200: models.Batch}, "batch-not-found", "batch-state")
def stop_batch(id: Annotated[models.BatchId, Path()]) -> Response[Any]:
    """Stop a batch for good.

    Verdicts stay; other verifications end as `not_verifiable`, reason `BATCH_STOPPED`.
    """
    with application().audit.effect(_caller(), "batch.stopped", **_tenant().as_dict(), batch=id):
        stopped = lifecycle.stop(application().batch_dependencies, _tenant(), id)
    logger.info("batch stopped", extra={"batch": id})
    return resolver.json_response(200, _shown(stopped))


def _caller() -> By:
    return By.caller(app.current_event.raw_event)


def _tenant() -> Tenant:
    return resolver.tenant(app.current_event, application().settings)


def _shown(found: lifecycle.Progress) -> models.Batch:
    cooling = None
    if found.cooling_down and found.cooling_until:
        cooling = models.BatchCooldown(accounts=found.cooling_down, until=iso_seconds(found.cooling_until))
    return models.Batch(
        id=found.batch,
        state=found.state,
        format=found.format,
        created_at=iso_seconds(found.created_at),
        started_at=iso_or_none(found.started_at),
        completed_at=iso_or_none(found.completed_at),
        imported=found.imported,
        duplicates=found.duplicates,
        rejected=found.rejected,
        blank=found.blank,
        lines=found.lines,
        waiting=found.waiting,
        cooling_down=cooling,
        done=dict(found.done),
        per_second=found.per_second if found.per_second is None else round(found.per_second, 2),
        estimated_end=iso_or_none(found.estimated_end),
        failure=found.failure,
        results={kind: found.links[kind] for kind in ("jsonl", "csv") if kind in found.links} or None,
        results_so_far={kind: found.links[f"so_far_{kind}"] for kind in ("jsonl", "csv") if f"so_far_{kind}" in found.links} or None,
        results_at=iso_or_none(found.results_at),
        rejects=found.links.get("rejects"),
    )
