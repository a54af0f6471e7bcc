"""Titleholder's errors. Each message says what happened and what to do, without personal data."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from traceback import walk_tb
from typing import Any, Literal

Action = Literal["relink", "link_again", "wait", "retry", "none"]
"""What a caller can do next (`domain.remedies`)."""


class TitleholderError(Exception):
    """Base of all errors raised on purpose. `str(error)` may be shown to a caller.

    `remedy`: what the caller can do next, where the kind of error alone does not say it (`domain.remedies`).
    """

    remedy: Action | None = None


class UnexpectedError(Exception):
    """Replaces an unexpected exception.

    Keeps only its type, AWS error code and location, because its message may contain personal data.
    """

    @classmethod
    def of(cls, error: BaseException) -> UnexpectedError:
        response = error_response(error)
        code = None if response is None else response.get("Error", {}).get("Code")
        places = [f"{frame.f_code.co_filename.rpartition('/')[2]}:{line}" for frame, line in walk_tb(error.__traceback__)]
        silent = f"{hint} " if (hint := unreached(error)) else ""
        return cls(f"{silent}{type(error).__name__}{f' ({code})' if code else ''} at {' > '.join(places[-4:])}")


class ConfigurationError(TitleholderError):
    """The stack is set up wrongly; the message says what its operator has to change."""


class InvalidSignatureError(TitleholderError):
    """A webhook delivery is not proven to come from Stripe."""


class MalformedEventError(TitleholderError):
    """A delivery is too large or not text, or is signed but not an event that this stack can record."""


class AccountNotFoundError(TitleholderError):
    """Stripe knows no such account in this mode and under this connected account."""


class CustomerNotFoundError(TitleholderError):
    """Stripe knows no such customer in this mode and under this connected account, or it was deleted."""


class SessionNotFoundError(TitleholderError):
    """Stripe knows no such session or intent in this mode and under this connected account."""


class PaymentMethodNotFoundError(TitleholderError):
    """Stripe knows no such payment method in this mode and under this connected account."""


class NoLinkedAccountError(TitleholderError):
    """No account is linked by what was named. `reason`: `not_linked_yet`, `manually_entered` or `not_a_bank_account`."""

    def __init__(self, message: str, reason: str = "not_linked_yet", remedy: Action = "link_again") -> None:
        super().__init__(message)
        self.reason = reason
        self.remedy = remedy


class BankAccountUnavailableError(TitleholderError):
    """The Stripe account can't be paid by bank account, so no account can be linked by an intent or by Checkout."""


class RelinkNotAvailableError(TitleholderError):
    """An account can't be relinked. `reason` is one of `services.relinking.REASONS`. Its holder can link it again, as a new account."""

    def __init__(self, message: str, reason: str = "gone") -> None:
        super().__init__(message)
        self.reason = reason


class InvalidCursorError(TitleholderError):
    """A cursor that this list did not give out."""


class ConnectedAccountForbiddenError(TitleholderError):
    """The caller's token does not allow the connected account that the request is about."""


class AccountErasedError(TitleholderError):
    """The account was disconnected and all that was held of it erased: there is nothing to read, and nothing may be written."""

    def __init__(
        self, message: str = "The account was disconnected and its stored data was erased. Its holder has to link it again."
    ) -> None:
        super().__init__(message)


class DecryptionError(TitleholderError):
    """Encrypted data was changed, or belongs to another item."""


class AwsUnavailableError(TitleholderError):
    """An AWS service throttled a call, failed, or did not answer. The same request can succeed later."""

    def __init__(
        self, message: str = "An AWS service throttled a call or did not answer. Send the same request again in a few seconds."
    ) -> None:
        super().__init__(message)

    @classmethod
    def of(cls, error: BaseException) -> AwsUnavailableError:
        """The error to answer a call of an AWS service with that failed. On a stack on this machine it names the endpoint."""
        return cls(unreached(error)) if os.environ.get("AWS_ENDPOINT_URL") and unreached(error) else cls()


class TableBusyError(AwsUnavailableError):
    """DynamoDB throttled a call at every try, or other requests were writing the same items. The same request can succeed later."""

    def __init__(
        self,
        message: str = "DynamoDB throttled the request, or others wrote the same items. Send the same request again in a few seconds.",
    ) -> None:
        super().__init__(message)


class AuditUnavailableError(AwsUnavailableError):
    """An audit entry cannot be written. The message says whether the request may have been carried out. No data is returned."""


class VerificationNotFoundError(TitleholderError):
    """No such verification."""

    def __init__(
        self,
        message: str = "This stack has no such verification. Check the id, and that Stripe-Account is as it was in the request for it.",
    ) -> None:
        super().__init__(message)


class VerificationCompletedError(TitleholderError):
    """A verification has its verdict, and can't be cancelled any more."""


class ReviewNotFoundError(TitleholderError):
    """The verification has no review."""

    def __init__(self, message: str = "The verification has no review. A back end can open one: POST /verifications/{id}/review.") -> None:
        super().__init__(message)


class ReviewStateError(TitleholderError):
    """The state of a review does not allow what was asked for. `review` is the review as it is now, for the answer."""

    def __init__(self, message: str, review: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.review = review or {}


class ReviewChangedError(ReviewStateError):
    """A decision is about a version of a review that is not the current one."""


class ReviewClosedError(ReviewStateError):
    """A review was decided, or has ended by itself."""


class SecondReviewerNeededError(ReviewStateError):
    """The reviewer who proposed an approval may not confirm it."""


class NothingToWithdrawError(ReviewStateError):
    """There is no proposal by this caller that waits for a second reviewer, or the review was withdrawn too often."""


class NothingToReviewError(TitleholderError):
    """A verification can't be reviewed: no claim was compared with owners, they are no longer the account's, or there are no reviews."""


class CallerUnknownError(TitleholderError):
    """A caller without an identity asks for what only a known person may do."""

    def __init__(
        self,
        message: str = "The token has no subject (`sub`), so its caller is unknown. Have the issuer put a subject into each access token.",
    ) -> None:
        super().__init__(message)


class ClaimErasedError(TitleholderError):
    """The claim of a verification is not kept any more, so that there is nothing to compare."""

    def __init__(self, message: str = "The claim is no longer stored, so there is nothing to compare. Post a new verification.") -> None:
        super().__init__(message)


class OwnersErasedError(TitleholderError):
    """The owners that a verification was compared with are not kept any more, so that there is nothing to compare."""

    def __init__(self, message: str = "The owners are no longer stored, so there is nothing to compare. Post a new verification.") -> None:
        super().__init__(message)


class InvalidDecisionError(TitleholderError):
    """A decision whose fields do not go together. `fields`: each bad field with what is expected of it, without its value."""

    def __init__(self, message: str, fields: Sequence[Mapping[str, str]] = ()) -> None:
        super().__init__(message)
        self.fields = fields


class TooManyAccountsError(TitleholderError):
    """One request names more accounts than it can verify."""


class ClaimLimitExceededError(TitleholderError):
    """More different claims about one account within 24 hours than the stack accepts. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: int = 86_400) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SnapshotNotFoundError(TitleholderError):
    """No snapshot of owners is stored under this account (or not this one)."""


class TooManyOwnersError(TitleholderError):
    """An account has more owners than are stored and compared. `seen`: how many were read until that was clear."""

    def __init__(self, seen: int = 0) -> None:
        super().__init__("The bank names more owners for this account than are stored and compared, so it can't be verified by its owners.")
        self.seen = seen


class IdempotencyConflictError(TitleholderError):
    """An Idempotency-Key was used before with another body."""


class IdempotencyInProgressError(TitleholderError):
    """The first request with this Idempotency-Key still runs."""


class ManifestError(TitleholderError):
    """A manifest can't be read as a whole. What is wrong with single lines goes to the rejects file."""


class FileReplacedError(TitleholderError):
    """A file in the bucket was replaced after it was chosen to be read."""


class BatchNotFoundError(TitleholderError):
    """No such batch."""

    def __init__(
        self, message: str = "This stack has no such batch. Check the id, and that Stripe-Account is as it was when the batch was created."
    ) -> None:
        super().__init__(message)


class BatchStateError(TitleholderError):
    """The batch is in a state in which this can't be done. `remedy`: `retry` if the same request can succeed later."""

    def __init__(self, message: str, remedy: Action = "none") -> None:
        super().__init__(message)
        self.remedy = remedy


class StripeError(TitleholderError):
    """A call to Stripe did not succeed. `request_id` is Stripe's own, for its support.

    `replayed`: the answer was kept under the call's idempotency key, and is that of an earlier request.
    `after_failure`: Stripe had answered 5xx to a request of the call, and may have executed it; the SDK repeated the request all the same.
    """

    after_failure = False

    def __init__(self, message: str, *, code: str | None = None, request_id: str | None = None, replayed: bool = False) -> None:
        super().__init__(message)
        self.replayed = replayed
        self.code = code
        self.request_id = request_id


class StripeRefusedError(StripeError):
    """Stripe refused the call (400). A retry gets the same answer."""


class StripeCredentialsError(StripeError):
    """Stripe refused the key (401) or its rights (403); the message says what the operator has to do."""


class StripeRateLimitedError(StripeError):
    """Stripe answered 429."""


class StripeServerError(StripeError):
    """Stripe answered 5xx. It repeats that answer under the same idempotency key. The call may have taken effect."""


class StripeUnansweredError(StripeError):
    """Stripe gave no final answer: a timeout, a broken connection, or 409 (the same call still runs). The call may have taken effect."""


class StripeLaggingError(StripeError):
    """Stripe shows an account as it was before something that is known of it already. Ask again after `retry_after` seconds."""

    def __init__(self, message: str, *, retry_after: float = 2.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RateLimitExceededError(TitleholderError):
    """The rate limit for calls to Stripe allows no call now.

    `retry_after` is in seconds. `at`: when to retry (Unix seconds), for a call in `bucket`. `slots`: the slots that this work
    has taken and not used (Unix seconds, by bucket).
    """

    def __init__(self, retry_after: int, bucket: str = "", at: float = 0.0, slots: Mapping[str, float] | None = None) -> None:
        super().__init__(f"Other work uses all calls that the stack may make to Stripe now. Try again in {retry_after} s.")
        self.retry_after = retry_after
        self.bucket = bucket
        self.at = at
        self.slots = {} if slots is None else slots


def error_response(error: BaseException) -> dict[str, Any] | None:
    """The answer of an AWS service that refused a call; None for any other error.

    The error is recognised by its shape, because importing the SDK's ClientError would load the SDK.
    """
    response = getattr(error, "response", None)
    return response if isinstance(response, dict) else None


def reraise_unless(error: Exception, *codes: str) -> dict[str, Any]:
    """The answer of an AWS service that refused a call with one of `codes`; any other error is raised again."""
    response = error_response(error)
    if response is None or response["Error"]["Code"] not in codes:
        raise error
    return response


_UNANSWERED = frozenset({"HTTPClientError", "ConnectionError"})
"""The SDK's exceptions for a call that got no answer. All others of that kind derive from these."""

_TOO_MUCH = frozenset({"TooManyRequestsException", "ProvisionedThroughputExceededException", "RequestLimitExceeded", "SlowDown"})


def unreached(error: BaseException | None) -> str:
    """Which service could not be reached, and what to start; "" if the error is another. It names the endpoint without path and query."""
    while error is not None:
        if any(kind.__module__ == "botocore.exceptions" and kind.__name__ in _UNANSWERED for kind in type(error).__mro__):
            scheme, _, rest = str(getattr(error, "kwargs", {}).get("endpoint_url", "")).partition("://")
            endpoint = f"{scheme}://{rest.partition('/')[0]}"
            if rest and os.environ.get("AWS_ENDPOINT_URL", "").startswith(endpoint):
                return f"Nothing answers at {endpoint} (AWS_ENDPOINT_URL). Start the embedded stack: make up."
            return f"{endpoint} does not answer." if rest else ""
        error = error.__cause__
    return ""


def is_aws_unavailable(error: BaseException | None) -> bool:
    """Whether an AWS service throttled a call, failed (5xx) or did not answer, after all of the SDK's own tries.

    Such an error says nothing about the request that was made, which can succeed unchanged later. It is recognised by its shape, because
    importing the SDK's exceptions would load the SDK.
    """
    while error is not None:
        if (response := error_response(error)) is not None:
            code = str(response.get("Error", {}).get("Code"))
            return "hrottl" in code or code in _TOO_MUCH or response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500
        if isinstance(error, AwsUnavailableError):
            return True
        if any(kind.__module__ == "botocore.exceptions" and kind.__name__ in _UNANSWERED for kind in type(error).__mro__):
            return True
        error = error.__cause__
    return False
