"""Errors as HTTP answers: every error of ours has a status and a stable type, and only those that pass say when to come again."""

from __future__ import annotations

import inspect

import pytest
from botocore.exceptions import EndpointConnectionError

from titleholder import errors
from titleholder.domain.remedies import BY_PROBLEM, Remedy, for_reason
from titleholder.web import problems

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.TitleholderError)]
ABSTRACT = (errors.TitleholderError, errors.StripeError, errors.ReviewStateError)


def make(kind: type[errors.TitleholderError]) -> errors.TitleholderError:
    return errors.RateLimitExceededError(7) if kind is errors.RateLimitExceededError else kind("what to do")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ABSTRACT], ids=lambda kind: kind.__name__)
def test_every_error_of_ours_is_known(kind: type[errors.TitleholderError]) -> None:
    problem = problems.problem_for(make(kind))
    assert problem.type != "internal-error"
    assert 400 <= problem.status < 600
    assert problem.body()["type"] == f"urn:titleholder:problem:{problem.type}"
    assert problem.body()["status"] == problem.status


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_retry_after_is_given_where_trying_again_helps(kind: type[errors.TitleholderError]) -> None:
    problem = problems.problem_for(make(kind))
    passes = problem.status in (429, 503) or kind is errors.IdempotencyInProgressError
    assert ("Retry-After" in problem.headers) == passes


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.InvalidSignatureError, 400),
        (errors.MalformedEventError, 400),
        (errors.AccountNotFoundError, 404),
        (errors.VerificationNotFoundError, 404),
        (errors.SnapshotNotFoundError, 404),
        (errors.TooManyOwnersError, 409),
        (errors.CustomerNotFoundError, 404),
        (errors.SessionNotFoundError, 404),
        (errors.PaymentMethodNotFoundError, 404),
        (errors.NoLinkedAccountError, 409),
        (errors.InvalidCursorError, 422),
        (errors.IdempotencyConflictError, 422),
        (errors.IdempotencyInProgressError, 409),
        (errors.RateLimitExceededError, 429),
        (errors.StripeCredentialsError, 502),
        (errors.StripeRefusedError, 502),
        (errors.StripeRateLimitedError, 503),
        (errors.StripeServerError, 503),
        (errors.StripeUnansweredError, 503),
        (errors.ConfigurationError, 500),
    ],
)
def test_status(kind: type[errors.TitleholderError], status: int) -> None:
    assert problems.problem_for(make(kind)).status == status


def test_pace_says_its_own_seconds() -> None:
    assert problems.problem_for(errors.RateLimitExceededError(7)).headers["Retry-After"] == "7"


def test_unmapped_error_shows_nothing() -> None:
    problem = problems.problem_for(errors.TitleholderError("inner workings"))
    assert problem.status == 500
    assert "inner workings" not in str(problem.body())


def test_fields_are_listed_only_where_there_are_any() -> None:
    assert "errors" not in problems.unexpected().body()
    assert problems.invalid([{"field": "a", "detail": "b"}]).body()["errors"] == [{"field": "a", "detail": "b"}]


def test_cooldown_that_is_just_over_still_says_a_second() -> None:
    problem = problems.cooling_down("2027-01-15T08:00:00Z", 0)
    assert (problem.headers["Retry-After"], problem.body()["retry_at"]) == ("1", "2027-01-15T08:00:00Z")


def test_unknown_reason_is_a_refusal() -> None:
    problem = problems.not_refreshable("NEVER_HEARD", Remedy("retry"))
    assert problem.type == "refresh-refused"
    assert problem.body()["reason"] == "NEVER_HEARD"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ABSTRACT], ids=lambda kind: kind.__name__)
def test_every_conflict_names_its_remedy(kind: type[errors.TitleholderError]) -> None:
    problem = problems.problem_for(make(kind))
    assert ("remedy" in problem.body()) == (problem.status in (409, 410))
    assert problem.body().get("remedy", "") in (*BY_PROBLEM.get(problem.type, ()), "")


def test_erased_account_is_to_be_linked_again() -> None:
    assert problems.problem_for(errors.AccountErasedError()).body()["remedy"] == "link_again"


@pytest.mark.parametrize(("error", "remedy"), [(errors.BankAccountUnavailableError(), "retry"), (errors.BatchStateError(""), "none")])
def test_remedy_is_retry_where_the_same_request_can_succeed(error: errors.TitleholderError, remedy: str) -> None:
    assert problems.problem_for(error).body()["remedy"] == remedy


def test_detail_of_an_inactive_account_is_true_of_a_closed_one() -> None:
    detail = problems.not_refreshable("ACCOUNT_INACTIVE", Remedy("link_again")).detail
    assert "closed" in detail
    assert "repair" not in detail


@pytest.mark.parametrize("reason", ["ACCOUNT_INACTIVE", "ACCOUNT_DISCONNECTED", "PERMISSION_MISSING", "REFRESH_UNAVAILABLE"])
def test_account_that_can_not_be_refreshed_names_its_remedy(reason: str) -> None:
    remedy = for_reason(reason, now=0)
    body = problems.not_refreshable(reason, remedy).body()
    assert (body["remedy"], body["status"]) == (remedy.action, 409)
    assert remedy.action in BY_PROBLEM[body["type"].rpartition(":")[2]]


def test_cooldown_is_to_be_waited_out_until_its_end() -> None:
    body = problems.cooling_down("2027-01-15T08:00:00Z", 5).body()
    assert (body["remedy"], body["remedy_until"]) == ("wait", body["retry_at"])


def test_service_that_can_not_be_reached_is_named_with_what_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    error = EndpointConnectionError(endpoint_url="http://127.0.0.1:4566/queue/path?secret=x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    told = "Nothing answers at http://127.0.0.1:4566 (AWS_ENDPOINT_URL). Start the embedded stack: make up."
    assert problems.problem_for(errors.AwsUnavailableError.of(error)).detail == told
    assert str(errors.UnexpectedError.of(error)).startswith(told)
    # On AWS no caller is shown an address.
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert "127.0.0.1" not in problems.problem_for(errors.AwsUnavailableError.of(error)).detail
    assert str(errors.UnexpectedError.of(error)).startswith("http://127.0.0.1:4566 does not answer. EndpointConnectionError")
    assert errors.unreached(KeyError("x")) == ""
