"""Errors as HTTP answers (RFC 9457). This module alone maps errors to statuses and problem types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from titleholder import errors
from titleholder.domain import remedies

CONTENT_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Problem:
    """An `application/problem+json` answer. `errors` name bad fields: `{"field": "claim.name", "detail": ...}`."""

    status: int
    type: str
    title: str
    detail: str
    errors: Sequence[Mapping[str, str]] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "type": f"urn:titleholder:problem:{self.type}", "title": self.title, "status": self.status, "detail": self.detail,
        }  # fmt: skip
        if self.errors:
            body["errors"] = list(self.errors)
        return body | dict(self.extra)


_KNOWN: Mapping[type[Exception], tuple[int, str, str]] = {
    errors.InvalidSignatureError: (400, "invalid-signature", "The signature is not valid"),
    errors.MalformedEventError: (400, "malformed-event", "The delivery is not an event"),
    errors.ConnectedAccountForbiddenError: (403, "connected-account-forbidden", "The token is for another connected account"),
    errors.AccountNotFoundError: (404, "account-not-found", "No such account"),
    errors.CustomerNotFoundError: (404, "customer-not-found", "No such customer"),
    errors.SessionNotFoundError: (404, "session-not-found", "No such session"),
    errors.PaymentMethodNotFoundError: (404, "payment-method-not-found", "No such payment method"),
    errors.NoLinkedAccountError: (409, "no-linked-account", "No account is linked"),
    errors.BankAccountUnavailableError: (409, "us-bank-account-unavailable", "The Stripe account can't be paid by bank account"),
    errors.RelinkNotAvailableError: (409, "relink-not-available", "The account can't be relinked"),
    errors.InvalidCursorError: (422, "invalid-cursor", "The cursor does not belong to this list"),
    errors.AccountErasedError: (410, "account-erased", "The account was erased"),
    errors.VerificationNotFoundError: (404, "verification-not-found", "No such verification"),
    errors.VerificationCompletedError: (409, "verification-completed", "The verification already has a verdict"),
    errors.ReviewNotFoundError: (404, "review-not-found", "No such review"),
    errors.ReviewChangedError: (409, "review-changed", "The review has changed"),
    errors.ReviewClosedError: (409, "review-closed", "The review is closed"),
    errors.SecondReviewerNeededError: (403, "second-reviewer-needed", "Another reviewer has to confirm"),
    errors.NothingToWithdrawError: (409, "nothing-to-withdraw", "Nothing can be withdrawn"),
    errors.NothingToReviewError: (409, "nothing-to-review", "There is nothing to review"),
    errors.ClaimErasedError: (410, "claim-erased", "The claim was erased"),
    errors.OwnersErasedError: (410, "owners-erased", "The owners were erased"),
    errors.CallerUnknownError: (403, "caller-unknown", "The token does not name its caller"),
    errors.TooManyAccountsError: (409, "too-many-accounts", "Too many accounts for one request"),
    errors.TooManyOwnersError: (409, "too-many-owners", "The account has too many owners"),
    errors.ClaimLimitExceededError: (429, "claim-limit-exceeded", "Too many different claims about one account"),
    errors.SnapshotNotFoundError: (404, "snapshot-not-found", "No such snapshot"),
    errors.BatchNotFoundError: (404, "batch-not-found", "No such batch"),
    errors.BatchStateError: (409, "batch-state", "The batch is not in a state for this"),
    errors.ManifestError: (422, "manifest-unusable", "The manifest can't be used"),
    # The manifest is the only file that is checked for having been replaced. The step that reads it reports this as a ManifestError.
    errors.FileReplacedError: (422, "manifest-unusable", "The manifest can't be used"),
    errors.IdempotencyConflictError: (422, "idempotency-conflict", "The Idempotency-Key was used with another request"),
    errors.IdempotencyInProgressError: (409, "idempotency-in-progress", "The first request is still running"),
    errors.StripeCredentialsError: (502, "stripe-credentials-refused", "Stripe refused the stack's API key"),
    errors.StripeRateLimitedError: (503, "stripe-rate-limited", "Stripe throttled the call"),
    errors.StripeRefusedError: (502, "stripe-refused", "Stripe refused the call"),
    errors.StripeServerError: (503, "stripe-unavailable", "Stripe is not available"),
    errors.StripeUnansweredError: (503, "stripe-unavailable", "Stripe is not available"),
    errors.StripeLaggingError: (503, "stripe-unavailable", "Stripe is not available"),
    errors.RateLimitExceededError: (429, "rate-limit-exceeded", "The rate limit for calls to Stripe is used up"),
    errors.TableBusyError: (503, "table-busy", "The table is busy"),
    errors.AwsUnavailableError: (503, "aws-unavailable", "An AWS service is not available"),
    errors.AuditUnavailableError: (503, "audit-unavailable", "The request cannot be recorded"),
    errors.DecryptionError: (500, "decryption-failed", "Stored data cannot be decrypted"),
    errors.ConfigurationError: (500, "misconfigured", "The stack is misconfigured"),
}

_CONFLICTS: Mapping[str, tuple[str, str]] = {
    "ACCOUNT_INACTIVE": (
        "account-inactive",
        "Stripe has lost access to the account, or it was closed; `remedy` says what its holder can do.",
    ),
    "ACCOUNT_DISCONNECTED": ("account-disconnected", "The account was disconnected; its holder has to link it again."),
    "PERMISSION_MISSING": (
        "permission-missing",
        "The account was linked without the permission `ownership`. Have its holder relink it, or link it again, with that permission.",
    ),
    "REFRESH_UNAVAILABLE": (
        "refresh-unavailable",
        "Stripe names no time when this account can be refreshed. Use the stored owners, or have the account linked again.",
    ),
    "REFRESH_REFUSED": (
        "refresh-refused",
        "Stripe refused to refresh this account and gave no known reason. Try again later, then ask Stripe.",
    ),
}

_UNREADABLE: Mapping[str, str] = {
    "malformed-body": "The body is not text",
    "malformed-json": "The body is not JSON",
    "body-too-large": "The body is too large",
    "unsupported-media-type": "The media type is not supported",
    "route-not-found": "No such route",
}
"""The titles of requests that can't be read at all."""

_OTHERS: Mapping[str, int] = {
    "invalid-request": 422,
    "malformed-body": 400,
    "malformed-json": 400,
    "body-too-large": 413,
    "unsupported-media-type": 415,
    "route-not-found": 404,
    "cooling-down": 409,
    "internal-error": 500,
}
OF_EVERY_ROUTE = (
    "invalid-request", "connected-account-forbidden", "route-not-found", "misconfigured", "internal-error", "audit-unavailable",
    "table-busy", "aws-unavailable",
)  # fmt: skip
OF_EVERY_BODY = ("malformed-body", "malformed-json", "body-too-large", "unsupported-media-type")
OF_STRIPE = ("stripe-credentials-refused", "stripe-refused", "stripe-rate-limited", "stripe-unavailable", "rate-limit-exceeded")


def statuses() -> dict[str, int]:
    """Every problem's type with its status."""
    known = {type_: status for status, type_, _ in _KNOWN.values()}
    return {**known, **{type_: 409 for type_, _ in _CONFLICTS.values()}, **_OTHERS}


def problem_for(error: errors.TitleholderError) -> Problem:
    """The answer to one of our own errors."""
    if isinstance(error, errors.InvalidDecisionError):
        return invalid(error.fields)
    for kind in type(error).__mro__:
        if kind in _KNOWN:
            status, type_, title = _KNOWN[kind]
            retry_after = error.retry_after if isinstance(error, errors.RateLimitExceededError | errors.ClaimLimitExceededError) else 5
            again = status in (429, 503) or isinstance(error, errors.IdempotencyInProgressError)
            remedy = remedies.for_problem(type_) if error.remedy is None else remedies.Remedy(error.remedy)
            return Problem(
                status=status, type=type_, title=title, detail=_detail(type_, error),
                extra={
                    **({"reason": error.reason} if isinstance(error, errors.NoLinkedAccountError | errors.RelinkNotAvailableError) else {}),
                    **({"review": dict(error.review)} if isinstance(error, errors.ReviewStateError) else {}),
                    **({} if remedy is None else remedy.as_dict()),
                },
                headers={"Retry-After": str(retry_after)} if again else {},
            )  # fmt: skip
    return unexpected()


def _detail(type_: str, error: errors.TitleholderError) -> str:
    # The messages of these errors are also the reasons of queue messages, which SQS delivers again by itself.
    again = type_ in ("stripe-unavailable", "stripe-rate-limited") and "again" not in str(error) and "Send" not in str(error)
    return f"{error} Try again in a few seconds." if again else str(error)


def unexpected() -> Problem:
    """The answer to an unexpected error, which is logged."""
    return Problem(500, "internal-error", "Internal error", "The request failed because of an internal error. Try again later.")


def invalid(fields: Sequence[Mapping[str, str]], more: int = 0) -> Problem:
    """The answer to a request whose fields are wrong. `more`: how many wrong fields there are besides `fields`."""
    detail = "Correct each field that `errors` names: its `detail` says what is expected."
    if more:
        detail += f" `errors` does not name {more} more, because it has at most {len(fields)} entries."
    return Problem(422, "invalid-request", "The request is not valid", detail, errors=fields)


def bad_request(status: HTTPStatus, type_: str, detail: str) -> Problem:
    """The answer to a request that can't be read at all."""
    return Problem(int(status), type_, _UNREADABLE[type_], detail)


def cooling_down(retry_at: str, seconds: int) -> Problem:
    """The answer to a refresh that Stripe allows only later."""
    return Problem(
        409, "cooling-down", "The account is cooling down", f"Stripe allows the next refresh at {retry_at}.",
        extra={"retry_at": retry_at, "remedy": "wait", "remedy_until": retry_at}, headers={"Retry-After": str(max(1, seconds))},
    )  # fmt: skip


def not_refreshable(reason: str, remedy: remedies.Remedy) -> Problem:
    """The answer to a refresh of an account that can't be refreshed."""
    type_, detail = _CONFLICTS.get(reason, ("refresh-refused", "This account can't be refreshed. `reason` says why."))
    return Problem(409, type_, "The account can't be refreshed", detail, extra={"reason": reason, **remedy.as_dict()})
