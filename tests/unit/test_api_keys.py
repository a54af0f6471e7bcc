"""A key of the other mode is refused before a call is made with it."""

from __future__ import annotations

from typing import get_args

import pytest

from titleholder.domain.accounts import AccountRef, Mode
from titleholder.errors import ConfigurationError
from titleholder.stripe_api.gateway import StripeGateway, check_key


class Keys:
    def __init__(self, key: str) -> None:
        self.key = key

    def api_keys(self) -> list[str]:
        return [self.key]

    def reload_api_keys(self) -> list[str]:
        return [self.key]


class NoNetwork:
    """A client that must not be used, and a limiter through which everything passes."""

    def acquire(self, bucket: object) -> None: ...

    def on_throttled(self, bucket: object) -> None: ...

    def __getattr__(self, name: str) -> None:
        raise AssertionError("a call was made")


@pytest.mark.parametrize("mode", get_args(Mode))
@pytest.mark.parametrize("kind", ["sk", "rk"])
def test_key_of_the_other_mode_is_refused_and_not_repeated(mode: Mode, kind: str) -> None:
    other = "live" if mode == "test" else "test"
    key = f"{kind}_{other}_abcdefgh"
    gateway = StripeGateway(Keys(key), mode, http_client=NoNetwork(), limiter=NoNetwork())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError) as refusal:
        gateway.read(AccountRef("fca_1", mode))
    assert key not in str(refusal.value)
    check_key(f"{kind}_{mode}_abcdefgh", mode)


@pytest.mark.parametrize("key", ["sk_org_abcdefgh", "sk_org_live_abcdefgh", "sk_org_test_abcdefgh"])
def test_key_of_an_organization_is_refused_and_not_repeated(key: str) -> None:
    gateway = StripeGateway(Keys(key), "test", http_client=NoNetwork(), limiter=NoNetwork())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="organization") as refusal:
        gateway.read(AccountRef("fca_1"))
    assert key not in str(refusal.value)
