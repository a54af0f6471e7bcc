"""Secrets: only values of their kind, the current ones and for a day the previous, cached, and loaded again, with pauses, if none works."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from titleholder import observability
from titleholder.aws.secrets import (
    API_KEY,
    KEPT_SECONDS,
    MAX_AGE_SECONDS,
    PREVIOUS_SECONDS,
    RELOAD_PAUSE_SECONDS,
    SIGNING_SECRET,
    SecretApiKeys,
    SecretKind,
    SecretValues,
)

NOW = 1_800_000_000.0
CREATED = datetime.fromtimestamp(NOW, UTC)
A, B, C = "whsec_aaaaaaaa", "whsec_bbbbbbbb", "whsec_cccccccc"


class Manager:
    """Secrets Manager with one secret. `stages` and `created` (when the current version was) may be changed at any time."""

    def __init__(self, stages: Mapping[str, str], error: str = "ResourceNotFoundException", created: datetime | None = CREATED) -> None:
        self.stages = stages
        self.error = error
        self.created = created
        self.calls = 0

    def get_secret_value(self, *, SecretId: str, VersionStage: str) -> dict[str, Any]:
        self.calls += 1
        if VersionStage not in self.stages:
            raise ClientError({"Error": {"Code": self.error, "Message": ""}}, "GetSecretValue")
        created = self.created if VersionStage == "AWSCURRENT" else CREATED - timedelta(days=400)
        return {"SecretString": self.stages[VersionStage], **({} if created is None else {"CreatedDate": created})}


class Clock:
    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def secret_of(manager: Manager, clock: Clock | None = None, kind: SecretKind = SIGNING_SECRET) -> SecretValues:
    return SecretValues(manager, "s", kind, clock or Clock())


def values(text: str, kind: SecretKind = SIGNING_SECRET) -> list[str]:
    return list(secret_of(Manager({"AWSCURRENT": text}), kind=kind).get())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (A, [A]),
        (f" {A}\n", [A]),
        (f"{A},{B}", [A, B]),
        (f"{A}, {B}\n{C}", [A, B, C]),
        (f'["{A}", "{B}"]', [A, B]),
        (f'[" {A} "]', [A]),
        (f'{{"platform": "{A}", "connected": "{B}"}}', [A, B]),
        (f'["{A}", "", null, 1, ["x"]]', [A]),
        (f"{A} {A}", [A]),
        ("", []),
        (" ,\n", []),
        ("[]", []),
        ("{}", []),
        (f'["{A}"', []),
        (f"{{{A}}}", []),
    ],
)
def test_forms_that_a_version_may_have(text: str, expected: list[str]) -> None:
    assert values(text) == expected


NO_SIGNING_SECRETS = [
    "test",
    "#",
    "whsec_",
    "whsec_test",
    "whsec_...",
    "whsec_<secret>",
    "WHSEC_aaaaaaaa",
    "xwhsec_aaaaaaaa",
    "sk_test_aaaaaaaaaaaa",
]
NO_API_KEYS = ["test", "#", "sk_", "rk_", "sk_test_...", "pk_test_aaaaaaaa", "SK_test_aaaaaaaa", A]


class TestKinds:
    @pytest.mark.parametrize("form", ["{}", " {}\n", "{0},{0}", '["{}"]', '{{"key": "{}"}}'])
    @pytest.mark.parametrize("word", NO_SIGNING_SECRETS)
    def test_word_that_is_no_signing_secret_does_not_count(self, word: str, form: str) -> None:
        assert values(form.format(word)) == []

    @pytest.mark.parametrize("form", ["{} {}", "{},{}", '["{}", "{}"]', '{{"{}": "{}"}}', '{{"a": "{}", "b": "{}"}}'])
    @pytest.mark.parametrize("word", NO_SIGNING_SECRETS)
    def test_secret_beside_such_a_word_counts(self, word: str, form: str) -> None:
        assert values(form.format(word, A)) == [A]

    def test_comment_in_a_secret_is_no_secret(self) -> None:
        assert values(f"# platform\n{A}\n# connected accounts (test)\n{B}") == [A, B]

    @pytest.mark.parametrize("word", NO_API_KEYS)
    def test_word_that_is_no_api_key_does_not_count(self, word: str) -> None:
        assert values(f"{word} rk_live_aaaaaaaa", API_KEY) == ["rk_live_aaaaaaaa"]
        assert values(word, API_KEY) == []

    @pytest.mark.parametrize("key", ["sk_test_51Habcdefgh", "rk_test_1", "sk_live_a", "rk_live_b_C"])
    def test_every_kind_of_api_key_counts(self, key: str) -> None:
        assert values(key, API_KEY) == [key]

    @pytest.mark.parametrize("secret", ["whsec_" + "aB3" * 11, "whsec_" + "0f" * 32, "whsec_QUJD/+Y="])
    def test_every_form_of_signing_secret_that_is_in_use_counts(self, secret: str) -> None:
        assert values(secret) == [secret]


@given(st.text(max_size=40))
def test_no_text_gives_an_unusable_value_or_fails(text: str) -> None:
    assert all(SIGNING_SECRET.pattern.fullmatch(value) for value in values(text))


class TestPreviousVersion:
    def previous(self, created: datetime | None, now: float) -> SecretValues:
        return secret_of(Manager({"AWSCURRENT": A, "AWSPREVIOUS": f"{B} {A}"}, created=created), Clock(now))

    def test_previous_version_counts_after_the_current_one(self) -> None:
        assert self.previous(CREATED, NOW).get() == (A, B)

    def test_previous_version_ends_24_hours_after_the_current_one_was_created(self) -> None:
        assert self.previous(CREATED, NOW + PREVIOUS_SECONDS - 1).get() == (A, B)
        assert self.previous(CREATED, NOW + PREVIOUS_SECONDS).get() == (A,)
        assert self.previous(CREATED, NOW + 30 * 86_400).get() == (A,)

    def test_previous_version_ends_in_time_although_it_is_cached(self) -> None:
        clock = Clock(NOW + PREVIOUS_SECONDS - 1)
        secret = secret_of(Manager({"AWSCURRENT": A, "AWSPREVIOUS": B}), clock)
        assert secret.get() == (A, B)
        clock.now += 1
        assert secret.get() == (A,)

    def test_previous_version_does_not_count_where_nothing_says_when_the_current_one_was_created(self) -> None:
        assert self.previous(None, NOW).get() == (A,)

    def test_previous_version_does_not_count_where_there_is_no_current_one(self) -> None:
        assert secret_of(Manager({"AWSPREVIOUS": B})).get() == ()

    def test_previous_version_counts_where_the_current_one_is_unusable(self) -> None:
        assert secret_of(Manager({"AWSCURRENT": "oops", "AWSPREVIOUS": B})).get() == (B,)

    def test_previous_version_is_not_asked_for_once_it_has_ended(self) -> None:
        manager = Manager({"AWSCURRENT": A, "AWSPREVIOUS": B})
        secret_of(manager, Clock(NOW + PREVIOUS_SECONDS)).get()
        assert manager.calls == 1


class TestUnusable:
    @pytest.mark.parametrize("stages", [{}, {"AWSCURRENT": ""}, {"AWSCURRENT": "test"}, {"AWSCURRENT": '["'}])
    def test_secret_is_reported_by_log_and_metric(self, stages: Mapping[str, str], reported: Reported) -> None:
        secret_of(Manager(stages)).get()
        assert "holds no usable value" in reported.log.getvalue()
        assert reported.metrics == ["SecretUnusable"]

    def test_part_is_reported_and_not_repeated(self, reported: Reported) -> None:
        secret_of(Manager({"AWSCURRENT": f"{A} plainword"})).get()
        assert "are ignored" in reported.log.getvalue()
        assert "plainword" not in reported.log.getvalue()
        assert A not in reported.log.getvalue()
        assert reported.metrics == []


class Reported:
    """What was logged and counted."""

    def __init__(self) -> None:
        self.log = io.StringIO()
        self.metrics: list[str] = []


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reported]:
    found = Reported()
    monkeypatch.setattr(observability.metrics, "add_metric", lambda *, name, **_: found.metrics.append(name))
    handler: Any = observability.logger.registered_handler
    before = handler.setStream(found.log)
    yield found
    handler.setStream(before)


@pytest.mark.parametrize("error", ["ResourceNotFoundException", "InvalidRequestException", "AccessDeniedException"])
def test_secret_that_is_not_there_or_being_deleted_has_no_values(error: str, reported: Reported) -> None:
    """To a role that may read this secret alone, AWS denies access while there is none."""
    assert secret_of(Manager({}, error)).get() == ()
    assert f'"answer":"{error}"' in reported.log.getvalue()


@pytest.mark.parametrize("error", ["InternalServiceError", "DecryptionFailure"])
def test_secret_that_cannot_be_read_is_an_error_and_not_an_empty_one(error: str) -> None:
    with pytest.raises(ClientError):
        secret_of(Manager({}, error)).get()


class TestCache:
    def test_values_are_kept_for_five_minutes(self) -> None:
        manager, clock = Manager({"AWSCURRENT": A}), Clock()
        secret = secret_of(manager, clock)
        secret.get()
        clock.now += MAX_AGE_SECONDS
        secret.get()
        assert manager.calls == 2
        clock.now += 1
        manager.stages = {"AWSCURRENT": B}
        assert secret.get() == (B,)

    def test_none_is_cached_too(self) -> None:
        manager = Manager({})
        secret = secret_of(manager)
        for _ in range(5):
            assert secret.get() == secret.reload() == ()
        assert manager.calls == 1

    def test_reload_pauses_between_loads(self) -> None:
        manager, clock = Manager({"AWSCURRENT": A}), Clock()
        secret = secret_of(manager, clock)
        secret.get()
        manager.stages = {"AWSCURRENT": B}
        assert secret.reload() == (A,)
        clock.now += RELOAD_PAUSE_SECONDS + 0.1
        assert secret.reload() == secret.get() == (B,)
        assert manager.calls == 4

    def test_failed_load_is_tried_again_by_the_next_caller(self) -> None:
        manager, clock = Manager({"AWSCURRENT": A}), Clock()
        secret = secret_of(manager, clock)
        secret.get()
        clock.now += MAX_AGE_SECONDS + 1
        manager.stages, manager.error = {}, "InternalServiceError"
        with pytest.raises(ClientError):
            secret.get()
        manager.stages, manager.error = {"AWSCURRENT": B}, "ResourceNotFoundException"
        assert secret.get() == (B,)

    def test_api_keys_are_the_secrets_values(self) -> None:
        clock = Clock()
        manager = Manager({"AWSCURRENT": "sk_test_b", "AWSPREVIOUS": "sk_test_a"})
        keys = SecretApiKeys(secret_of(manager, clock, API_KEY))
        assert keys.api_keys() == ("sk_test_b", "sk_test_a")
        clock.now += RELOAD_PAUSE_SECONDS + 1
        manager.stages = {"AWSCURRENT": "sk_test_c"}
        assert keys.reload_api_keys() == ("sk_test_c",)


def test_last_values_are_used_for_an_hour_while_secrets_manager_throttles() -> None:
    manager, clock = Manager({"AWSCURRENT": A}), Clock()
    values = SecretValues(manager, "secret", SIGNING_SECRET, clock)
    assert values.get() == (A,)
    manager.stages, manager.error = {}, "ThrottlingException"
    clock.now += MAX_AGE_SECONDS + 1
    assert values.get() == (A,)
    clock.now += KEPT_SECONDS
    with pytest.raises(ClientError):
        values.get()
    manager.stages, manager.error = {"AWSCURRENT": B}, "ResourceNotFoundException"
    assert values.get() == (B,)


def test_throttled_first_load_is_an_error() -> None:
    with pytest.raises(ClientError):
        SecretValues(Manager({}, "ThrottlingException"), "secret", SIGNING_SECRET, Clock()).get()
