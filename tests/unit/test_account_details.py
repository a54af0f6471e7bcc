"""Stripe's `status_details` and `authorization`: shapes of its published and preview versions, and values that are not known yet."""

from __future__ import annotations

from typing import Any

import pytest

from titleholder.domain.accounts import AccountNumber, AccountState, PaymentSupport, StatusDetails
from titleholder.web import models

ACTIVE = {"action": "relink_required", "cause": "access_expired", "expected_deactivation_date": 1_900_000_000}
INACTIVE = {"action": "none", "cause": "account_closed"}


def read(status: str = "active", **fields: Any) -> AccountState:
    return AccountState.from_stripe({"status": status, **fields})


@pytest.mark.parametrize(
    ("status", "details", "expected"),
    [
        ("active", {"active": ACTIVE}, StatusDetails("relink_required", "access_expired", 1_900_000_000)),
        ("inactive", {"inactive": INACTIVE}, StatusDetails("none", "account_closed", None)),
        ("active", {"active": ACTIVE, "inactive": INACTIVE}, StatusDetails("relink_required", "access_expired", 1_900_000_000)),
        ("inactive", {"active": ACTIVE, "inactive": INACTIVE}, StatusDetails("none", "account_closed")),
        ("inactive", {"active": ACTIVE}, None),
        ("active", {"active": None}, None),
        ("active", {"active": {}}, None),
        ("active", {"active": {"action": None, "cause": None, "expected_deactivation_date": None}}, None),
        ("active", {"active": {**ACTIVE, "expected_deactivation_date": None}}, StatusDetails("relink_required", "access_expired")),
        ("active", {"active": {"action": "dance", "cause": "full_moon"}}, StatusDetails("dance", "full_moon")),
        ("hibernating", {"hibernating": {"action": "wake"}}, StatusDetails("wake")),
        ("active", {}, None),
        ("active", None, None),
        ("active", "soon", None),
        ("active", {"active": "soon"}, None),
    ],
)
def test_details_are_those_of_the_present_status(status: str, details: Any, expected: StatusDetails | None) -> None:
    assert read(status, status_details=details).details == expected


def test_account_without_details_has_none() -> None:
    assert (read().details, read().expires_at) == (None, None)


@pytest.mark.parametrize("date", ["2030-01-01", True, -1, 0, 10**12, 1.5, [1]])
def test_date_that_is_no_time_is_dropped(date: Any) -> None:
    state = read(status_details={"active": {**ACTIVE, "expected_deactivation_date": date}})
    assert state.details == StatusDetails("relink_required", "access_expired")
    assert state.expires_at is None


def test_words_that_are_no_codes_are_dropped_because_they_may_be_about_people() -> None:
    details = {"active": {"action": "Call Margaret", "cause": ["access_expired"], "expected_deactivation_date": 1_900_000_000}}
    assert read(status_details=details).details == StatusDetails(None, None, 1_900_000_000)


def test_only_an_active_account_expires() -> None:
    details = {"active": ACTIVE, "inactive": {**INACTIVE, "expected_deactivation_date": 1}}
    assert read(status_details=details).expires_at == 1_900_000_000
    assert read("inactive", status_details=details).expires_at is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [("fcauth_1", "fcauth_1"), ({"id": "fcauth_1"}, "fcauth_1"), (None, None), ({}, None), (7, None), ("", None), ("no id", None)],
)
def test_authorization_is_named_by_its_id(value: Any, expected: str | None) -> None:
    assert read(authorization=value).authorization == expected
    assert read().authorization is None


NUMBER = {"status": "transactable", "identifier_type": "account_number", "supported_networks": ["ach"]}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, PaymentSupport()),
        ({"supported_payment_method_types": ["link", "us_bank_account"]}, PaymentSupport(("link", "us_bank_account"))),
        ({"account_numbers": None, "supported_payment_method_types": None}, PaymentSupport()),
        ({"account_numbers": []}, PaymentSupport(numbers=())),
        ({"account_numbers": [NUMBER]}, PaymentSupport(numbers=(AccountNumber("transactable", "account_number"),))),
        (
            {"account_numbers": [{**NUMBER, "status": "a new one", "expected_expiry_date": 1_900_000_000}]},
            PaymentSupport(numbers=(AccountNumber("a new one", "account_number", 1_900_000_000),)),
        ),
        # No verification may fail for what it does not need.
        ({"account_numbers": "12345", "supported_payment_method_types": {"link": True}}, PaymentSupport()),
        ({"account_numbers": ["12345", 6], "supported_payment_method_types": [3]}, PaymentSupport(numbers=())),
    ],
)
def test_payment_support_is_read_in_any_shape(fields: dict[str, Any], expected: PaymentSupport) -> None:
    assert PaymentSupport.from_stripe({"status": "active", **fields}) == expected


def test_account_number_itself_is_never_read() -> None:
    read_ = PaymentSupport.from_stripe({"account_numbers": [{**NUMBER, "number": "000123456789", "account_number": "000123456789"}]})
    assert "000123456789" not in repr(read_)


@pytest.mark.parametrize("date", [None, 1_800_000_000])
def test_values_that_nobody_has_seen_yet_are_shown(date: int | None) -> None:
    said = {"action": "dance", "cause": "full_moon", "expected_deactivation_date": date}
    shown = models.StatusDetails.of(read(status_details={"active": said}))
    assert shown is not None
    expected_at = None if date is None else "2027-01-15T08:00:00Z"
    assert shown.model_dump() == {"cause": "full_moon", "action": "dance", "expected_deactivation_at": expected_at}


def test_account_without_details_shows_none() -> None:
    assert models.StatusDetails.of(read()) is None
