"""The secrets: readable, of the right form, of the right mode; and whether Stripe accepts the key. Values are never shown."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import requests
from botocore.exceptions import ClientError

from titleholder.aws import secrets
from titleholder.aws.secrets import API_KEY, SIGNING_SECRET, SecretKind
from titleholder.stripe_api.gateway import API_VERSION
from tools.smoke.report import Line, failed, ok, unchecked
from tools.smoke.stack import Deployed

READS = {
    "/v1/account": "its own account, which organizations and connected accounts need",
    "/v1/financial_connections/accounts?limit=1": "Financial Connections",
    "/v1/events?limit=1": "events, by which reconcile finds undelivered ones",
    "/v2/core/events?limit=1": "thin events",
}
"""Reads that cost nothing, and what they prove that the key may read."""


def signing_secrets(stack: Deployed) -> list[str]:
    """The usable signing secrets; none if they cannot be read."""
    return _usable(stack, "StripeWebhookSecretName", SIGNING_SECRET)


def reads_own_account(stack: Deployed) -> bool:
    """Whether the key may read its own account at Stripe."""
    held = _usable(stack, "StripeApiKeySecretName", API_KEY)
    try:
        return bool(held) and _read(stack, held[0], "/v1/account").status_code == 200
    except requests.RequestException:
        return False


def secret(stack: Deployed, about: str, parameter: str, kind: SecretKind) -> Iterator[Line]:
    """Whether a secret exists, can be read and holds a usable value, of the stack's mode if that shows."""
    name = stack.parameters[parameter]
    try:
        text = _text(stack, name)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("ResourceNotFoundException", "InvalidRequestException"):
            create = f"aws secretsmanager create-secret --region {stack.region} --name {name} --secret-string ..."
            yield failed(about, f"there is no secret {name}", create)
            return
        raise
    parts = secrets.split(text)
    usable = [part for part in parts if kind.pattern.fullmatch(part)]
    if not usable:
        yield failed(about, f"the secret {name} holds no {kind.name}", "store one with `aws secretsmanager put-secret-value`")
        return
    if len(usable) < len(parts):
        yield failed(about, f"{len(parts) - len(usable)} values of the secret {name} are no {kind.name}", "remove them: they are ignored")
        return
    yield ok(about, f"the secret {name} holds {len(usable)} of the right form")
    if kind is API_KEY:
        yield from _modes(stack, usable)


def _modes(stack: Deployed, held: list[str]) -> Iterator[Line]:
    about = "mode of Stripe's key"
    wrong = [key for key in held if f"_{stack.mode}_" not in key]
    if wrong:
        yield failed(about, f"the key is not one of {stack.mode} mode, and StripeMode is {stack.mode}", "store a key of that mode")
    else:
        yield ok(about, f"{stack.mode}, as StripeMode is; {'restricted' if held[0].startswith('rk_') else 'not restricted'}")


def stripe(stack: Deployed) -> Iterator[Line]:
    """Whether Stripe accepts the key, and what it may read. Stripe shows a key's permissions only by refusing calls."""
    held = _usable(stack, "StripeApiKeySecretName", API_KEY)
    if not held:
        yield unchecked("Stripe's key", "there is no usable key")
        return
    for number, key in enumerate(held):
        which = "" if len(held) == 1 else f", key {number + 1} of {len(held)}"
        for path, what in READS.items():
            yield _reads(stack, key, path, f"Stripe's key{which} reads {path.partition('?')[0]}", what)


def _reads(stack: Deployed, key: str, path: str, about: str, what: str) -> Line:
    try:
        answer = _read(stack, key, path)
    except requests.RequestException as error:
        return unchecked(
            about, f"Stripe cannot be reached from here ({type(error).__name__})", "allow this machine HTTPS to api.stripe.com"
        )
    if answer.status_code == 200:
        return ok(about)
    if answer.status_code == 401:
        return failed(about, "Stripe does not know the key (401)", "store a valid key in the secret")
    if answer.status_code == 403:
        return failed(about, f"the key may not read {what} (403)", "add the permission to the restricted key in Stripe's Dashboard")
    if answer.status_code == 429 or answer.status_code >= 500:
        return unchecked(about, f"Stripe answered {answer.status_code}", "repeat in a minute")
    if path.startswith("/v2/") and answer.status_code in (400, 404):
        return unchecked(about, f"Stripe answered {answer.status_code}: this account has no thin events")
    return failed(about, f"Stripe answered {answer.status_code}", "see the request in Stripe's Workbench")


def _read(stack: Deployed, key: str, path: str) -> requests.Response:
    base = stack.parameters.get("StripeApiBase") or "https://api.stripe.com"
    return requests.get(base.rstrip("/") + path, headers={"Authorization": f"Bearer {key}", "Stripe-Version": API_VERSION}, timeout=15)


def _usable(stack: Deployed, parameter: str, kind: SecretKind) -> list[str]:
    try:
        return [part for part in secrets.split(_text(stack, stack.parameters[parameter])) if kind.pattern.fullmatch(part)]
    except ClientError:
        return []


def _text(stack: Deployed, name: str) -> str:
    return str(stack.client("secretsmanager").get_secret_value(SecretId=name).get("SecretString") or "")


def checks(stack: Deployed) -> dict[str, Any]:
    """The checks of this module by name."""
    webhook, key = "webhook's signing secret", "Stripe's API key"
    return {
        webhook: partial(secret, stack, webhook, "StripeWebhookSecretName", SIGNING_SECRET),
        key: partial(secret, stack, key, "StripeApiKeySecretName", API_KEY),
        "Stripe": partial(stripe, stack),
    }
