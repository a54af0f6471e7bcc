"""Verifies Stripe's webhook signature, which proves that a delivery comes from Stripe and is recent. Standard library only.

The scheme is Stripe's `v1`: HMAC-SHA256 over `"{t}.{raw body}"` with the endpoint's secret, lower-case hex, in the header
`Stripe-Signature: t=<unix seconds>,v1=<hex>[,v1=<hex>]...` (docs.stripe.com/webhooks#verify-manually).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence

from titleholder.errors import InvalidSignatureError

TOLERANCE_SECONDS = 300
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_MAX_HEADER = 4096


def sign(body: bytes, secret: str, timestamp: int) -> str:
    """The header that Stripe would send with `body` at `timestamp` (Unix seconds)."""
    return f"t={timestamp},v1={_digest(body, secret, str(timestamp))}"


def verify(body: bytes, header: str | None, secrets: Sequence[str], now: float) -> None:
    """Return if one of `secrets` signed `body` at a time within 300 s of `now`, before or after.

    Raises:
        InvalidSignatureError: in every other case, also without any secret.
    """
    if not secrets:
        raise InvalidSignatureError("No webhook signing secret is configured, so every delivery is refused.")
    if not header:
        raise InvalidSignatureError("The Stripe-Signature header is missing.")
    timestamp, signatures = _parse(header)
    # Compare every candidate, so that the time reveals neither which secret nor which signature nearly matched.
    expected = [_digest(body, secret, timestamp) for secret in secrets if secret]
    genuine = False
    for wanted in expected:
        for given in signatures:
            genuine |= hmac.compare_digest(wanted, given)
    if not genuine:
        raise InvalidSignatureError("No signature in the Stripe-Signature header matches the body and a configured secret.")
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        raise InvalidSignatureError(f"The signature's timestamp is more than {TOLERANCE_SECONDS} s away from now.")


def _parse(header: str) -> tuple[str, list[str]]:
    if len(header) > _MAX_HEADER:
        raise InvalidSignatureError("The Stripe-Signature header is malformed.")
    timestamps, signatures = [], []
    for part in header.split(","):
        scheme, _, value = part.partition("=")
        if scheme == "t":
            timestamps.append(value)
        elif scheme == "v1":
            signatures.append(value)
    if len(timestamps) != 1 or not _TIMESTAMP.fullmatch(timestamps[0]):
        raise InvalidSignatureError("The Stripe-Signature header is malformed: it needs one timestamp (t=).")
    signatures = [value for value in signatures if _SIGNATURE.fullmatch(value)]
    if not signatures:
        raise InvalidSignatureError("The Stripe-Signature header is malformed: it needs a v1 signature.")
    return timestamps[0], signatures


def _digest(body: bytes, secret: str, timestamp: str) -> str:
    return hmac.new(secret.encode(), timestamp.encode("ascii") + b"." + body, hashlib.sha256).hexdigest()
