"""A built-in policy's version belongs to that policy alone; stored policies of earlier releases stay readable."""

from __future__ import annotations

import pytest

from titleholder.matching import DEFAULT_POLICY, Policy, PolicyError

DEFAULT = DEFAULT_POLICY.as_dict()
CHANGES: dict[str, object] = {
    "match_threshold": 0,
    "close_match_threshold": 10,
    "required_fields": ["phone"],
    "field_thresholds": {"email": 0},
    "never_close": [],
}


@pytest.mark.parametrize("name", [name for name in DEFAULT if name != "version"])
def test_any_changed_entry_under_a_built_in_version_is_refused_by_the_name_of_the_version(name: str) -> None:
    change = {"close_match_threshold": 0, name: CHANGES[name]}
    with pytest.raises(PolicyError) as caught:
        Policy.from_request({"version": DEFAULT["version"], **change})
    assert caught.value.field == "version"
    assert Policy.from_request({"version": "mine", **change}).version == "mine"


@pytest.mark.parametrize("version", ["2025-1 ", "\n2025-1", "2025\u20111", "2025\u2013 1", "2025-\u200b1", "\uff12025-1", "\u0662025-1"])
def test_version_that_reads_like_a_built_in_one_is_refused(version: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.from_request({"version": version, "match_threshold": 0, "close_match_threshold": 0})
    assert caught.value.field == "version"


@pytest.mark.parametrize("version", ["1", "2025", "2025-2", "2025-10", "12025-1", "2025.1", "20251", "2025-1-strict", "Straße"])
def test_any_other_version_may_carry_any_policy(version: str) -> None:
    assert Policy.from_request({"version": version, "match_threshold": 90}).version == version


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"version": "2025-1"},
        DEFAULT,
        {"version": "2025-1", "match_threshold": 70, "field_thresholds": {"phone": 70}},
        {**DEFAULT, "never_close": [*reversed(DEFAULT_POLICY.never_close)], "required_fields": []},
    ],
)
def test_built_in_policy_spelled_out_is_that_policy(data: dict[str, object]) -> None:
    assert Policy.from_request(data).version == "2025-1"


def test_policy_stored_by_an_earlier_release_is_still_read() -> None:
    stored = {**DEFAULT, "match_threshold": 0.0, "close_match_threshold": 0.0}
    assert Policy.from_dict(stored).as_dict() == stored


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "policy: must be an object"),
        ({"version": "x" * 65}, "version: must be a text of 1 to 64 characters"),
        ({"version": ""}, "version: must be a text of 1 to 64 characters"),
        ({"version": None}, "version: must be a text of 1 to 64 characters"),
        ({"match_threshold": 80}, "version: is required when any other entry is given"),
        ({"version": "x", "match_threshold": 100.1}, "match_threshold: must be a number from 0 to 100"),
        ({"version": "x", "match_threshold": False}, "match_threshold: must be a number from 0 to 100"),
        ({"version": "x", "close_match_threshold": -0.1}, "close_match_threshold: must be a number from 0 to 100"),
        ({"version": "x", "close_match_threshold": 71}, "close_match_threshold: must not exceed match_threshold"),
        ({"version": "x", "required_fields": ["fax"]}, "required_fields: must hold only name, address, phone, email"),
        ({"version": "x", "required_fields": "phone"}, "required_fields: must be a list of texts"),
        ({"version": "x", "required_fields": ["phone", 1]}, "required_fields: must be a list of texts"),
        ({"version": "x", "never_close": {"NICKNAME": 1}}, "never_close: must be a list of texts"),
        ({"version": "x", "never_close": ["NONSENSE"]}, "never_close: must hold only known reason codes"),
        ({"version": "x", "field_thresholds": ["phone"]}, "field_thresholds: must be an object"),
        ({"version": "x", "field_thresholds": {"fax": 5}}, "field_thresholds: must have only the keys address, phone, email"),
        ({"version": "x", "field_thresholds": {"name": 5}}, "field_thresholds: must have only the keys address, phone, email"),
        ({"version": "x", "field_thresholds": {"phone": "5"}}, "field_thresholds.phone: must be a number from 0 to 100"),
        ({"version": "x", "y" * 70: 80}, "y" * 64 + ": is not an entry of a policy"),
        ({5: 80}, "5: is not an entry of a policy"),
    ],
)
def test_bad_policy_is_refused_with_the_reason(data: object, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.from_dict(data)
    assert str(caught.value) == message


def test_refusal_of_a_changed_built_in_policy_names_its_version() -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.from_request({"version": "2025-1", "match_threshold": 90})
    assert str(caught.value) == "version: 2025-1 is the version of a built-in policy; a changed policy needs another"


@pytest.mark.parametrize(
    "entries",
    [
        {"version": "x" * 64},
        {"match_threshold": 100, "close_match_threshold": 100},
        {"match_threshold": 0, "close_match_threshold": 0.0},
        {"required_fields": ["phone", "name"], "field_thresholds": {"address": 0, "phone": 100, "email": 50.5}},
        {"never_close": ["NICKNAME"]},
    ],
)
def test_policy_at_the_limits_of_what_is_allowed_is_taken_as_it_is(entries: dict[str, object]) -> None:
    asked = {**DEFAULT, "version": "x", **entries}
    assert Policy.from_dict({"version": "x", **entries}).as_dict() == asked
    assert Policy.from_dict(asked).as_dict() == asked


def test_entries_that_are_left_out_keep_their_defaults() -> None:
    policy = Policy.from_dict({"version": "x", "field_thresholds": {"phone": 100}, "required_fields": ("phone", "email", "phone")})
    assert policy.as_dict() == {
        **DEFAULT,
        "version": "x",
        "field_thresholds": {"address": 70.0, "phone": 100, "email": 70.0},
        "required_fields": ["phone", "email"],
    }
