"""HTTP route `POST /accounts/{account}/refreshes`."""

from __future__ import annotations

import math
from typing import Annotated, Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Path

from titleholder.bootstrap import application
from titleholder.domain import remedies
from titleholder.domain.refresh_policy import CoolingDown, Fresh, FreshnessRequirement, JoinPending, NotVerifiable, usable_snapshot
from titleholder.domain.refresh_requests import AlreadyStarting
from titleholder.schemas import AccountId
from titleholder.services import refreshes
from titleholder.services.audit import By
from titleholder.services.refresh_calls import Started
from titleholder.services.refreshes import RefreshResult
from titleholder.timestamps import iso_or_none, iso_seconds
from titleholder.web import models, problems, resolver

DEFAULT_MAX_AGE_SECONDS = 86_400

app = resolver.resolver()


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one HTTP request."""
    return resolver.handle(app, event, context)


@app.post("/accounts/<account>/refreshes")
@resolver.openapi_responses(
    {200: models.RefreshResult, 202: models.RefreshResult},
    "account-not-found", "cooling-down", "account-inactive", "account-disconnected", "permission-missing",
    "refresh-unavailable", "refresh-refused", asks_stripe=True,
)  # fmt: skip
def start_refresh(account: Annotated[AccountId, Path()], body: Annotated[models.NewRefresh | None, Body()] = None) -> Response[Any]:
    """Start a refresh of the account's owners, unless the stored ones are recent enough.

    Answers 202 if a refresh was started, 200 if the stored owners are recent enough or a refresh is pending, 409 if Stripe allows none now
    or at all. Stripe charges for a refresh.
    """
    deps, settings = application().dependencies(), application().settings
    ref = resolver.tenant(app.current_event, settings).ref(account)
    now = deps.clock()
    max_age = DEFAULT_MAX_AGE_SECONDS if body is None or body.max_age is None else body.max_age
    # Ignore earlier failures (`requested_at`), and never wait for a cooldown: HTTP callers get a 409 instead.
    need = FreshnessRequirement(not_before=now - max_age, requested_at=now + 1, deadline=math.inf)
    with deps.audit.effect(By.caller(app.current_event.raw_event), "refresh.requested", ref) as entry:
        asked = refreshes.ensure_fresh(deps, ref, need)
        entry.note(result=_result(asked))
    known = deps.store.accounts.get(ref)
    snapshot = known.snapshot
    match asked:
        case Started(attempted_at):
            return _answer(202, account, "started", attempted_at, snapshot)
        case JoinPending(attempted_at):
            return _answer(200, account, "pending", attempted_at, snapshot)
        case AlreadyStarting():
            return _answer(200, account, "pending", None, snapshot)
        case Fresh(attempted_at):
            # A refresh that brought no owners leaves older ones stored, which do not answer this request.
            return _answer(200, account, "fresh", attempted_at, usable_snapshot(known, need))
        case CoolingDown(resume_at):
            return resolver.respond(problems.cooling_down(iso_seconds(resume_at), math.ceil(resume_at - deps.clock())))
        case NotVerifiable(reason):
            return resolver.respond(problems.not_refreshable(reason, remedies.for_reason(reason, known.state, now=deps.clock())))


def _result(asked: RefreshResult) -> str:
    """The result of a request for a refresh, for its audit entry."""
    match asked:
        case Started():
            return "started"
        case JoinPending() | AlreadyStarting():
            return "pending"
        case Fresh():
            return "fresh"
        case CoolingDown():
            return "cooling_down"
        case NotVerifiable(reason):
            return reason


def _answer(status: int, account: str, state: Any, attempted_at: int | None, snapshot: str | None) -> Response[Any]:
    return resolver.json_response(
        status, models.RefreshResult(account=account, status=state, last_attempted_at=iso_or_none(attempted_at), snapshot=snapshot)
    )
