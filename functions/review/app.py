"""HTTP routes for reviews of close matches and for the timeline of verifications."""

from __future__ import annotations

import titleholder.cold_start  # noqa: F401

import re
from types import ModuleType
from typing import Annotated, Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Path, Query

from titleholder.bootstrap import application, prepare
from titleholder.domain.accounts import Tenant
from titleholder.errors import CallerUnknownError, InvalidCursorError
from titleholder.observability import logger, observed
from titleholder.services import repairs, review_queue, reviews, timelines
from titleholder.services.audit import By
from titleholder.services.review_queue import QueueQuery
from titleholder.store.review_queue import Position
from titleholder.web import cursors, resolver, review_models
from titleholder.web.models import BatchId, Cursor, VerificationId
from titleholder.web.review_models import May

app = resolver.resolver()


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one HTTP request. No answer may be cached, because comparisons show personal data, and all answers show who reviewed."""
    answer = resolver.handle(app, event, context)
    return {**answer, "headers": {**(answer.get("headers") or {}), "Cache-Control": "no-store"}}


@app.get("/reviews")
@resolver.openapi_responses({200: review_models.ReviewQueue}, "invalid-cursor")
def list_reviews(
    state: Annotated[
        review_models.Waiting, Query(description="`open`: no reviewer has decided. `proposed`: a second one has to.")
    ] = "open",
    reason: Annotated[review_models.VerdictReason | None, Query(description="A reason of the verdict.")] = None,
    batch: Annotated[BatchId | None, Query(description="The batch that the verification belongs to.")] = None,
    limit: Annotated[review_models.Limit, Query()] = review_models.PAGE,
    cursor: Annotated[Cursor | None, Query()] = None,
) -> Response[Any]:
    """List the reviews that wait for a person, the longest waiting first.

    A page looks through at most 1,000 reviews, also those of other connected accounts. So a page may be shorter than `limit`, or empty.
    Only the last page has no `next_cursor`.
    """
    tenant, by, now = _tenant(), _caller(), application().clock()
    list_ = {"list": "reviews", **tenant.as_dict(), "state": state, "reason": reason, "batch": batch}
    begin = Position(0) if cursor is None else _position(cursors.decode(list_, cursor))
    page = review_queue.page(application().store, tenant, QueueQuery(state, reason, batch, limit), begin)
    application().audit.read(
        by, "reviews.listed", **tenant.as_dict(), verifications=" ".join(review.verification for review, _ in page.found)
    )
    shown = review_models.ReviewQueue(
        reviews=[review_models.QueuedReview.of(review, head, you=by.actor, now=now) for review, head in page.found],
        open=f"{page.waiting}{'+' if page.more_wait else ''}",
        you=by.actor,
        may=_may(),
        caller_unknown=None if by.is_known else str(CallerUnknownError()),
        next_cursor=None if page.following is None else cursors.encode(list_, f"{page.following.since_ms}#{page.following.after}"),
    )
    return resolver.json_response(200, shown)


@app.get("/verifications/<verification>/timeline")
@resolver.openapi_responses({200: review_models.VerificationTimeline}, "verification-not-found")
def get_verification_timeline(verification: Annotated[VerificationId, Path()]) -> Response[Any]:
    """Read what happened to a verification and when.

    Of one account: for several, each member has a timeline of its own.
    """
    store, now = application().store, application().clock()
    timeline = timelines.read(store, _tenant(), verification, now)
    by = _caller()
    application().audit.read(by, "timeline.read", timeline.verification.ref, verification=verification)
    shown = review_models.VerificationTimeline.of_verification(
        timeline,
        you=by.actor,
        relink=application().settings.stripe_preview_version is not None,
        repair=repairs.awaited_repair(store, timeline.verification, now),
    )
    return resolver.json_response(200, shown)


@app.post("/verifications/<verification>/comparison")
@resolver.openapi_responses(
    {200: review_models.Comparison}, "verification-not-found", "review-not-found", "review-closed", "account-erased", "claim-erased",
    "owners-erased", "caller-unknown", "decryption-failed",
)  # fmt: skip
def show_comparison(
    verification: Annotated[VerificationId, Path()], body: Annotated[review_models.NewComparison | None, Body()] = None
) -> Response[Any]:
    """Show the claim beside the owner, with the parts that differ.

    Each call is recorded before it is answered. Only a review that is not closed has a comparison. A caller whose token has no subject gets
    none.
    """
    comparison = _comparisons().compare(application().review_dependencies, _tenant(), verification, _known_caller())
    return resolver.json_response(200, review_models.Comparison.of(comparison))


@app.post("/verifications/<verification>/review")
@resolver.openapi_responses(
    {200: review_models.Review}, "verification-not-found", "nothing-to-review", "review-closed", "account-erased", "claim-erased",
    "owners-erased", "caller-unknown",
)  # fmt: skip
def open_review(
    verification: Annotated[VerificationId, Path()], body: Annotated[review_models.NewReview | None, Body()] = None
) -> Response[Any]:
    """Open a review of a verification for which no rule opened one.

    Repeating this answers with the present review. Answers 409 if it is closed, or if there is nothing to compare.
    """
    review = reviews.open_by_hand(application().review_dependencies, _tenant(), verification, _known_caller())
    logger.info("review opened", extra={"verification": verification})
    return resolver.json_response(200, review_models.Review.of(review, None))


@app.post("/verifications/<verification>/review/decisions")
@resolver.openapi_responses(
    {200: review_models.Review}, "verification-not-found", "review-not-found", "review-changed", "review-closed", "nothing-to-withdraw",
    "second-reviewer-needed", "account-erased", "claim-erased", "owners-erased", "caller-unknown",
)  # fmt: skip
def decide_review(verification: Annotated[VerificationId, Path()], body: Annotated[review_models.NewDecision, Body()]) -> Response[Any]:
    """Decide a review, or propose or withdraw a decision.

    The first decision wins. A later one is answered 409 with the present review. The same decision by the same caller is answered as
    the first time. Where two reviewers are needed, an approval is a proposal until another reviewer approves too.
    """
    review, final = reviews.decide(application().review_dependencies, _tenant(), verification, body.request(), _known_caller())
    logger.info("review decided", extra={"verification": verification, "state": review.state, "resolution": review.resolution})
    return resolver.json_response(200, review_models.Review.of(review, final))


def _position(text: str) -> Position:
    found = re.fullmatch(r"([0-9]{1,15})#((?:ver_[0-9a-f]{32})?)", text)
    if found is None:
        raise InvalidCursorError(cursors.REFUSED)
    return Position(int(found[1]), found[2])


def _may() -> list[May]:
    """What the caller may do, by the token's scopes. For a signed request both are listed: only API Gateway knows what IAM permits."""
    if not _caller().is_known:
        return []
    claims = (app.current_event.raw_event.get("requestContext", {}).get("authorizer") or {}).get("jwt", {}).get("claims")
    if claims is not None and f"{application().settings.jwt_scope_prefix}review" not in _scopes(claims):
        return []
    return ["reveal", "decide"]


def _scopes(claims: dict[str, Any]) -> set[str]:
    """A token's scopes. API Gateway passes a list as text in brackets."""
    return {scope for name in ("scope", "scp") for scope in re.split(r"[\s,]+", str(claims.get(name, "")).strip("[]"))}


def _comparisons() -> ModuleType:
    from titleholder.services import comparisons  # imported here, because it loads the matcher, which the other routes do not need

    return comparisons


def _caller() -> By:
    return By.caller(app.current_event.raw_event)


def _known_caller() -> By:
    """The caller. Raises CallerUnknownError for one without an identity, because two such reviewers could not be distinguished."""
    caller = _caller()
    if not caller.is_known:
        raise CallerUnknownError
    return caller


def _tenant() -> Tenant:
    return resolver.tenant(app.current_event, application().settings)


prepare(lambda made: (_comparisons(), made.cipher, made.store.load(), made.event_publisher, made.audit))
