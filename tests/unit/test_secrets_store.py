"""Secrets: current and previous values, cached, loaded anew when none serves but never without pause."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from titleholder.secrets_store import MAX_AGE_SECONDS, RELOAD_PAUSE_SECONDS, SecretApiKeys, SecretValues


class Manager:
    """Secrets Manager with one secret. `stages` may be changed at any time."""

    def __init__(self, stages: Mapping[str, str], error: str = "ResourceNotFoundException") -> None:
        self.stages = stages
        self.error = error
        self.calls = 0

    def get_secret_value(self, *, SecretId: str, VersionStage: str) -> dict[str, str]:
        self.calls += 1
        if VersionStage not in self.stages:
            raise ClientError({"Error": {"Code": self.error, "Message": ""}}, "GetSecretValue")
        return {"SecretString": self.stages[VersionStage]}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def values(text: str) -> list[str]:
    return list(SecretValues(Manager({"AWSCURRENT": text}), "s").get())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("whsec_a", ["whsec_a"]),
        (" whsec_a\n", ["whsec_a"]),
        ("whsec_a,whsec_b", ["whsec_a", "whsec_b"]),
        ("whsec_a, whsec_b\nwhsec_c", ["whsec_a", "whsec_b", "whsec_c"]),
        ('["whsec_a", "whsec_b"]', ["whsec_a", "whsec_b"]),
        ('{"platform": "whsec_a", "connected": "whsec_b"}', ["whsec_a", "whsec_b"]),
        ('["whsec_a", "", null, 1, ["x"]]', ["whsec_a"]),
        ("", []),
        (" ,\n", []),
        ("[]", []),
        ("{}", []),
        ('["whsec_a"', []),
        ("{whsec_a}", []),
    ],
)
def test_forms_that_a_version_may_have(text: str, expected: list[str]) -> None:
    assert values(text) == expected


@given(st.text(max_size=40))
def test_no_text_gives_an_empty_value_or_fails(text: str) -> None:
    assert all(values(text))


def test_current_values_come_before_previous_ones() -> None:
    assert SecretValues(Manager({"AWSCURRENT": "new", "AWSPREVIOUS": "old new"}), "s").get() == ("new", "old")


@pytest.mark.parametrize("error", ["ResourceNotFoundException", "InvalidRequestException"])
def test_secret_that_is_not_there_or_being_deleted_has_no_values(error: str) -> None:
    assert SecretValues(Manager({}, error), "s").get() == ()


@pytest.mark.parametrize("error", ["AccessDeniedException", "InternalServiceError", "DecryptionFailure"])
def test_secret_that_cannot_be_read_is_an_error_and_not_an_empty_one(error: str) -> None:
    with pytest.raises(ClientError):
        SecretValues(Manager({}, error), "s").get()


class TestCache:
    def test_values_are_kept_for_five_minutes(self) -> None:
        manager, clock = Manager({"AWSCURRENT": "a"}), Clock()
        secret = SecretValues(manager, "s", clock)
        secret.get()
        clock.now += MAX_AGE_SECONDS
        secret.get()
        assert manager.calls == 2
        clock.now += 1
        manager.stages = {"AWSCURRENT": "b"}
        assert secret.get() == ("b",)

    def test_none_is_cached_too(self) -> None:
        manager = Manager({})
        secret = SecretValues(manager, "s", Clock())
        for _ in range(5):
            assert secret.get() == secret.reload() == ()
        assert manager.calls == 2

    def test_reload_pauses_between_loads(self) -> None:
        manager, clock = Manager({"AWSCURRENT": "a"}), Clock()
        secret = SecretValues(manager, "s", clock)
        secret.get()
        manager.stages = {"AWSCURRENT": "b"}
        assert secret.reload() == ("a",)
        clock.now += RELOAD_PAUSE_SECONDS + 0.1
        assert secret.reload() == secret.get() == ("b",)
        assert manager.calls == 4

    def test_failed_load_is_tried_again_by_the_next_caller(self) -> None:
        manager, clock = Manager({"AWSCURRENT": "a"}), Clock()
        secret = SecretValues(manager, "s", clock)
        secret.get()
        clock.now += MAX_AGE_SECONDS + 1
        manager.stages, manager.error = {}, "InternalServiceError"
        with pytest.raises(ClientError):
            secret.get()
        manager.stages, manager.error = {"AWSCURRENT": "b"}, "ResourceNotFoundException"
        assert secret.get() == ("b",)

    def test_api_keys_are_the_secrets_values(self) -> None:
        clock = Clock()
        manager = Manager({"AWSCURRENT": "sk_test_b", "AWSPREVIOUS": "sk_test_a"})
        keys = SecretApiKeys(SecretValues(manager, "s", clock))
        assert keys.api_keys() == ("sk_test_b", "sk_test_a")
        clock.now += RELOAD_PAUSE_SECONDS + 1
        manager.stages = {"AWSCURRENT": "sk_test_c"}
        assert keys.reload_api_keys() == ("sk_test_c",)
