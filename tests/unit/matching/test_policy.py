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
