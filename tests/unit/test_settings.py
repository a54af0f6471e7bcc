"""The environment of a function: defaults, and errors that name the variable."""

from __future__ import annotations

import pytest

from tests.support.urls import ELSEWHERE, HERE, HTTPS, PUBLIC, WRONG
from titleholder.errors import ConfigurationError
from titleholder.settings import Settings


def test_defaults_are_test_mode_and_stripes_own_pace() -> None:
    settings = Settings.from_environment({})
    assert (settings.mode, settings.stripe_calls_per_second, settings.stripe_api_base) == ("test", 25.0, None)


def test_empty_variables_are_as_good_as_none() -> None:
    names = ("STRIPE_API_BASE", "STRIPE_CALLS_PER_SECOND", "STRIPE_PREVIEW_VERSION")
    assert Settings.from_environment(dict.fromkeys(names, "")) == Settings.from_environment({})


def test_preview_version_is_off_by_default_and_taken_as_given() -> None:
    assert Settings.from_environment({}).stripe_preview_version is None
    settings = Settings.from_environment({"STRIPE_PREVIEW_VERSION": "2026-09-30.preview"})
    assert settings.stripe_preview_version == "2026-09-30.preview"


@pytest.mark.parametrize("mode", ["test", "live"])
def test_mode(mode: str) -> None:
    assert Settings.from_environment({"STRIPE_MODE": mode}).mode == mode


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STRIPE_MODE", "Live"),
        ("STRIPE_MODE", "production"),
        ("STRIPE_PREVIEW_VERSION", "2026-09-30"),
        ("STRIPE_PREVIEW_VERSION", "2026-10-28.endive"),
        ("STRIPE_PREVIEW_VERSION", "2026-9-30.preview"),
        ("STRIPE_PREVIEW_VERSION", "2026-09-30.preview; other=v1"),
        ("STRIPE_PREVIEW_VERSION", "2026-09-30.preview\n"),
        ("STRIPE_PREVIEW_VERSION", "preview"),
        ("STRIPE_CALLS_PER_SECOND", "0"),
        ("STRIPE_CALLS_PER_SECOND", "101"),
        ("STRIPE_CALLS_PER_SECOND", "nan"),
        ("STRIPE_CALLS_PER_SECOND", "inf"),
        ("STRIPE_CALLS_PER_SECOND", "many"),
        ("SETTLE_TIMEOUT_SECONDS", "0"),
        ("SETTLE_TIMEOUT_SECONDS", "-1"),
        ("MAX_WAIT_SECONDS", "59"),
        ("MAX_WAIT_SECONDS", str(91 * 86_400)),
    ],
)
def test_wrong_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Settings.from_environment({name: value})


class TestStripeApiBase:
    @pytest.mark.parametrize("base", HERE + HTTPS)
    def test_stripe_api_base_of_this_machine_or_over_tls_is_taken(self, base: str) -> None:
        assert Settings.from_environment({"STRIPE_API_BASE": base}).stripe_api_base == base

    @pytest.mark.parametrize("base", [base for base in ELSEWHERE + PUBLIC if base.startswith("http:")])
    def test_over_plain_http_elsewhere_is_taken_only_beside_another_endpoint_of_aws(self, base: str) -> None:
        with pytest.raises(ConfigurationError, match="STRIPE_API_BASE"):
            Settings.from_environment({"STRIPE_API_BASE": base, "AWS_ENDPOINT_URL": ""})
        settings = Settings.from_environment({"STRIPE_API_BASE": base, "AWS_ENDPOINT_URL": "http://aws:4566"})
        assert settings.stripe_api_base == base

    @pytest.mark.parametrize("base", WRONG)
    @pytest.mark.parametrize("endpoint", ["", "http://aws:4566"])
    def test_stripe_api_base_that_is_no_such_url_is_refused(self, base: str, endpoint: str) -> None:
        with pytest.raises(ConfigurationError, match="STRIPE_API_BASE"):
            Settings.from_environment({"STRIPE_API_BASE": base, "AWS_ENDPOINT_URL": endpoint})
