"""Webhook signatures: agreement with Stripe's own library, and refusal of everything else by one kind of error."""

from __future__ import annotations

import hashlib
import hmac

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from titleholder.errors import InvalidSignatureError
from titleholder.stripe_api.signatures import TOLERANCE_SECONDS, sign, verify

NOW = 1_800_000_000
SECRET, OTHER = "whsec_one", "whsec_two"
BODY = b'{"id":"evt_1"}'


def digest(body: bytes, secret: str, timestamp: object) -> str:
    return hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


def accepted(body: bytes, header: str | None, secrets: list[str], now: float = NOW) -> bool:
    try:
        verify(body, header, secrets, now)
    except InvalidSignatureError:
        return False
    return True


def stripe_accepts(body: bytes, header: str, secret: str) -> bool:
    """By the official library, which is given the tolerance's check by hand: it knows only the real clock."""
    try:
        stripe.WebhookSignature.verify_header(body.decode(), header, secret)
    except stripe.SignatureVerificationError:
        return False
    timestamp, _ = stripe.WebhookSignature._get_timestamp_and_signatures(header, "v1")
    return bool(timestamp >= NOW - TOLERANCE_SECONDS)


class TestAccepts:
    def test_what_stripes_library_signs(self) -> None:
        header = stripe.WebhookSignature.generate_signature_header(BODY.decode(), SECRET, NOW)
        verify(BODY, header, [SECRET], NOW)

    def test_what_sign_signs(self) -> None:
        verify(BODY, sign(BODY, SECRET, NOW), [SECRET], NOW)

    def test_any_of_several_secrets(self) -> None:
        verify(BODY, sign(BODY, OTHER, NOW), [SECRET, OTHER], NOW)
        verify(BODY, sign(BODY, OTHER, NOW), [OTHER, SECRET], NOW)

    def test_any_of_several_signatures_as_while_a_secret_is_rolled(self) -> None:
        header = f"t={NOW},v1={digest(BODY, 'whsec_new', NOW)},v1={digest(BODY, SECRET, NOW)},v0={'0' * 64}"
        verify(BODY, header, [SECRET], NOW)

    @pytest.mark.parametrize("age", [TOLERANCE_SECONDS, 0, -TOLERANCE_SECONDS])
    def test_timestamps_within_the_tolerance(self, age: int) -> None:
        verify(BODY, sign(BODY, SECRET, NOW - age), [SECRET], NOW)

    def test_the_empty_body(self) -> None:
        verify(b"", sign(b"", SECRET, NOW), [SECRET], NOW)


class TestRefuses:
    @pytest.mark.parametrize("header", [None, ""])
    def test_missing_header(self, header: str | None) -> None:
        with pytest.raises(InvalidSignatureError, match="missing"):
            verify(BODY, header, [SECRET], NOW)

    @pytest.mark.parametrize("secrets", [[], [""], ["", ""]])
    def test_everything_when_no_secret_is_configured(self, secrets: list[str]) -> None:
        assert not accepted(BODY, sign(BODY, SECRET, NOW), secrets)
        # An empty secret must not turn into one that everybody knows.
        assert not accepted(BODY, sign(BODY, "", NOW), secrets)

    @pytest.mark.parametrize("age", [TOLERANCE_SECONDS + 1, 86_400, -TOLERANCE_SECONDS - 1, -86_400])
    def test_old_and_future_timestamps_though_signed(self, age: int) -> None:
        with pytest.raises(InvalidSignatureError, match="timestamp"):
            verify(BODY, sign(BODY, SECRET, NOW - age), [SECRET], NOW)

    def test_timestamp_that_was_not_signed(self) -> None:
        assert not accepted(BODY, f"t={NOW},v1={digest(BODY, SECRET, NOW - 900)}", [SECRET])

    def test_wrong_secret(self) -> None:
        assert not accepted(BODY, sign(BODY, OTHER, NOW), [SECRET])

    def test_changed_body(self) -> None:
        assert not accepted(BODY + b" ", sign(BODY, SECRET, NOW), [SECRET])

    @pytest.mark.parametrize(
        "header",
        [
            "t=,v1=", "t", "v1", ",", "=", "t=1,t", f"t={NOW}", f"t={NOW},v1=", f"v1={digest(BODY, SECRET, NOW)}",
            f"t={NOW},v0={digest(BODY, SECRET, NOW)}", f"t={NOW},v1={digest(BODY, SECRET, NOW).upper()}",
            f"t={NOW},v1={digest(BODY, SECRET, NOW)[:63]}", f"t={NOW},v1={digest(BODY, SECRET, NOW)}0", f"t={NOW},v1={'é' * 64}",
            f"t={NOW},t={NOW},v1={digest(BODY, SECRET, NOW)}", f"t={NOW},t=1=2,v1={digest(BODY, SECRET, NOW)}",
            f"t=-{NOW},v1={digest(BODY, SECRET, f'-{NOW}')}",
            f"t={NOW}.0,v1={digest(BODY, SECRET, f'{NOW}.0')}", f"t=１８,v1={digest(BODY, SECRET, '１８')}",
            "t=" + "9" * 5000 + f",v1={digest(BODY, SECRET, '9' * 5000)}", f"t=abc,v1={digest(BODY, SECRET, 'abc')}",
            f"t={NOW},v1={digest(BODY, SECRET, NOW)}" + ",v0=x" * 1000, "\x00", "t=1\ud800,v1=\udfff",
        ],
    )  # fmt: skip
    def test_malformed_header(self, header: str) -> None:
        assert not accepted(BODY, header, [SECRET])

    @pytest.mark.parametrize(
        ("header", "secrets", "message"),
        [
            (f"t={NOW},v1={'0' * 64}", [], "No webhook signing secret is configured, so every delivery is refused."),
            (None, [SECRET], "The Stripe-Signature header is missing."),
            ("v0=" + "x" * 4096, [SECRET], "The Stripe-Signature header is malformed."),
            (f"v1={'0' * 64}", [SECRET], "The Stripe-Signature header is malformed: it needs one timestamp (t=)."),
            (f"t={NOW}", [SECRET], "The Stripe-Signature header is malformed: it needs a v1 signature."),
            (
                f"t={NOW},v1={'0' * 64}",
                [SECRET],
                "No signature in the Stripe-Signature header matches the body and a configured secret.",
            ),
            (sign(BODY, SECRET, NOW - 301), [SECRET], "The signature's timestamp is more than 300 s away from now."),
        ],
    )
    def test_delivery_is_refused_with_the_reason(self, header: str | None, secrets: list[str], message: str) -> None:
        with pytest.raises(InvalidSignatureError) as refused:
            verify(BODY, header, secrets, NOW)
        assert str(refused.value) == message

    @pytest.mark.parametrize(("length", "passes"), [(4096, True), (4097, False)])
    def test_header_that_is_too_long(self, length: int, passes: bool) -> None:
        header = sign(BODY, SECRET, NOW) + ",v0="
        assert accepted(BODY, header + "x" * (length - len(header)), [SECRET]) is passes

    def test_delivery_is_refused_without_naming_the_header_or_a_secret(self) -> None:
        for header in (sign(BODY, OTHER, NOW), sign(BODY, SECRET, NOW - 900), f"t={NOW},v1=zzz"):
            with pytest.raises(InvalidSignatureError) as refused:
                verify(BODY, header, [SECRET], NOW)
            assert header.rpartition("=")[2] not in str(refused.value)
            assert SECRET not in str(refused.value)


TIMESTAMPS = st.integers(NOW - 2 * TOLERANCE_SECONDS, NOW + TOLERANCE_SECONDS)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@st.composite
def headers(draw: st.DrawFn) -> tuple[bytes, str]:
    """A body, and a header such as Stripe sends, partly wrong: right and wrong secrets, bodies, schemes, in any order."""
    body = draw(TEXTS).encode()
    timestamp = draw(TIMESTAMPS)
    digests = st.builds(
        digest,
        st.sampled_from([body, body, body + b"x"]),
        st.sampled_from([SECRET, SECRET, OTHER]),
        st.sampled_from([timestamp, timestamp, timestamp + 1]),
    )
    signatures = draw(st.lists(st.tuples(st.sampled_from(["v1", "v1", "v0", "v2"]), digests), max_size=4))
    parts = [f"t={timestamp}", *(f"{scheme}={value}" for scheme, value in signatures)]
    return body, ",".join(draw(st.permutations(parts)))


@given(headers())
def test_agrees_with_stripes_library(case: tuple[bytes, str]) -> None:
    body, header = case
    assert accepted(body, header, [SECRET]) == stripe_accepts(body, header, SECRET)


@given(TEXTS, TEXTS.filter(lambda secret: secret.strip() != ""), st.integers(NOW - TOLERANCE_SECONDS, NOW + TOLERANCE_SECONDS))
def test_accepts_what_stripes_library_signs_now(text: str, secret: str, timestamp: int) -> None:
    header = stripe.WebhookSignature.generate_signature_header(text, secret, timestamp)
    verify(text.encode(), header, [secret], NOW)


@given(TEXTS, st.integers(1, 10**9))
def test_refuses_the_future_that_stripes_library_lets_pass(text: str, ahead: int) -> None:
    header = sign(text.encode(), SECRET, NOW + TOLERANCE_SECONDS + ahead)
    assert stripe_accepts(text.encode(), header, SECRET)
    assert not accepted(text.encode(), header, [SECRET])


HEX = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(
    st.binary(max_size=40),
    st.text() | st.binary().map(lambda raw: raw.decode("latin-1")) | st.builds("t={},v1={}".format, TIMESTAMPS, HEX),
    st.lists(TEXTS, max_size=3),
)
def test_nothing_at_random_is_accepted_and_nothing_but_a_refusal_is_raised(body: bytes, header: str, secrets: list[str]) -> None:
    with pytest.raises(InvalidSignatureError):
        verify(body, header, secrets, NOW)


@given(st.binary(min_size=1, max_size=60), st.data())
def test_one_changed_bit_is_refused(body: bytes, data: st.DataObject) -> None:
    header = sign(body, SECRET, NOW)
    bit = data.draw(st.integers(0, len(body) * 8 - 1))
    changed = bytearray(body)
    changed[bit // 8] ^= 1 << bit % 8
    assert not accepted(bytes(changed), header, [SECRET])
