"""`POST /accounts/{account}/refreshes`."""

from __future__ import annotations

import math
from typing import Annotated, Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Path

from titleholder import http_api, http_models, ownership, problems, runtime
from titleholder.audit import By
from titleholder.ownership import Asked, InFlight, Started, timestamp
from titleholder.refresh import CoolDown, Fresh, Join, Need, NotVerifiable, usable_snapshot

DEFAULT_MAX_AGE_SECONDS = 86_400

app = http_api.resolver()


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one HTTP request."""
    return http_api.handle(app, event, context)


@app.post("/accounts/<account>/refreshes")
@http_api.documented(
    {200: http_models.Refresh, 202: http_models.Refresh},
    "account-not-found", "cooling-down", "account-inactive", "account-disconnected", "permission-missing",
    "refresh-unavailable", "refresh-refused", asks_stripe=True,
)  # fmt: skip
def refresh(
    account: Annotated[http_models.AccountId, Path()], body: Annotated[http_models.NewRefresh | None, Body()] = None
) -> Response[Any]:
    """202 started, 200 already fresh or already pending, 409 if Stripe does not allow a refresh now or at all."""
    world, settings = runtime.world(), runtime.settings()
    ref = http_api.tenant(app.current_event, settings).ref(account)
    now = world.clock()
    max_age = DEFAULT_MAX_AGE_SECONDS if body is None or body.max_age is None else body.max_age
    # A failure that lies behind is no answer to who asks for a refresh, and who asks over HTTP is told of any cooldown.
    need = Need(not_before=now - max_age, requested_at=now + 1, deadline=math.inf)
    with world.audit.effect(By.caller(app.current_event.raw_event), "refresh.requested", ref) as entry:
        asked = ownership.ask(world, ref, need, world.store.accounts.get(ref))
        entry.note(result=_result(asked))
    known = world.store.accounts.get(ref)
    snapshot = known.snapshot
    match asked:
        case Started(attempted_at):
            return _answer(202, account, "started", attempted_at, snapshot)
        case Join(attempted_at):
            return _answer(200, account, "pending", attempted_at, snapshot)
        case InFlight():
            return _answer(200, account, "pending", None, snapshot)
        case Fresh(attempted_at):
            # A refresh that brought no owners leaves older ones in store, which are not what was asked for.
            return _answer(200, account, "fresh", attempted_at, usable_snapshot(known, need))
        case CoolDown(resume_at):
            return http_api.respond(problems.cooling_down(timestamp(resume_at), math.ceil(resume_at - world.clock())))
        case NotVerifiable(reason):
            return http_api.respond(problems.not_refreshable(reason))


def _result(asked: Asked) -> str:
    """How a request for a refresh ended, for the record."""
    match asked:
        case Started():
            return "started"
        case Join() | InFlight():
            return "pending"
        case Fresh():
            return "fresh"
        case CoolDown():
            return "cooling_down"
        case NotVerifiable(reason):
            return reason


def _answer(status: int, account: str, state: Any, attempted_at: int | None, snapshot: str | None) -> Response[Any]:
    shown = None if attempted_at is None else timestamp(attempted_at)
    answer = http_models.Refresh(account=account, status=state, last_attempted_at=shown, snapshot=snapshot)
    return Response(status_code=status, content_type="application/json", body=answer.model_dump_json(exclude_none=True))
