"""Every signature is computed again, by botocore's own signer, as AWS does. MiniStack accepts every request that names the root's key.

A request is refused for an unknown key, a wrong secret, a signature for another region, service or day, a change of anything signed,
another body than the signed one, and headers that have to be signed but are not.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
from typing import Any

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest, HTTPHeaders
from botocore.credentials import Credentials
from ministack import app
from ministack.core import iam_actions, iam_evaluator, router, sigv4
from ministack.core.iam_evaluator import AuthError

ROOT_KEY = "test"
UNSIGNED = "UNSIGNED-PAYLOAD"
STREAMING = "STREAMING-"
STREAMING_UNSIGNED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

original_pin = iam_evaluator.pin_signed_request
original_authenticate = iam_evaluator.authenticate
original_enforce = iam_evaluator.enforce
original_check = iam_evaluator.check_credentials
original_account = app._request_account_scope


class Signer(SigV4Auth):  # type: ignore[misc]
    """Signs a received request with the headers that its sender signed, and no others."""

    def headers_to_sign(self, request: Any) -> Any:
        return request.headers

    def signature(self, string_to_sign: str, request: Any) -> str:
        scope = (self.credentials.secret_key, request.context["timestamp"][:8], self._region_name, self._service_name)
        return hmac.new(signing_key(*scope), string_to_sign.encode(), hashlib.sha256).hexdigest()


class S3Signer(Signer, S3SigV4Auth):  # type: ignore[misc]
    """The same for S3, which signs a path as it was sent."""


signing_key = functools.lru_cache(maxsize=256)(sigv4.derive_signing_key)


def apply(region: str) -> None:
    """Verify signatures, which have to be made for `region`."""
    malformed = f"The authorization header is malformed; its region or service is wrong; expecting '{region}' and 's3'"
    _add_failure("WrongScope", "AuthorizationHeaderMalformed", 400, malformed)
    _add_failure("UnsignedHeader", "AccessDenied", 403, "There were headers present in the request which were not signed")
    _add_failure("WrongPayload", "XAmzContentSHA256Mismatch", 400, "The provided 'x-amz-content-sha256' header does not match the body.")
    _add_failure("NoPayload", "InvalidRequest", 400, "Missing required header for this request: x-amz-content-sha256")
    app.pin_signed_request = iam_evaluator.pin_signed_request = pin
    iam_evaluator.authenticate = functools.partial(authenticate, region)
    iam_evaluator.enforce = enforce
    iam_evaluator.check_credentials = check
    # MiniStack takes 12 digits for the key of the root of the account with that number.
    app._request_account_scope = lambda key: ROOT_KEY if iam_evaluator.is_root_access_key(key) else original_account(key)


def _add_failure(name: str, s3_code: str, s3_status: int, s3_message: str) -> None:
    """Add a failure for which S3 has its own answer. Other services answer as for a wrong signature."""
    others = iam_actions._AUTH_FAILURES["SignatureDoesNotMatch"][:3]
    iam_actions._AUTH_FAILURES[name] = (*others, (s3_code, s3_status, s3_message))


def pin(method: str, raw_path: str, query: dict[str, Any], raw_headers: list[tuple[bytes, bytes]], handshake: bool = False) -> None:
    """Keep a request as it was sent, including the root's requests and those with presigned URLs of S3."""
    original_pin(method, raw_path, query, raw_headers, handshake)
    pinned = iam_evaluator._signed_request.get()
    if pinned is not None and not pinned.s3_scoped:
        return
    headers: dict[str, str] = {}
    for name, value in raw_headers:
        lower, text = name.decode("latin-1").lower(), sigv4.decode_header_value(value)
        headers[lower] = f"{headers[lower]},{text}" if lower in headers else text
    authorization = headers.get("authorization", "")
    # MiniStack takes a caller with another kind of authorisation for the root. Calls of HTTP APIs with tokens do not get here.
    if not authorization and not iam_evaluator._signature_attempted(authorization, query):
        return
    by_header = authorization.startswith("AWS4-HMAC-SHA256 ")
    by_query = not by_header and iam_evaluator._query_value(query, "X-Amz-Algorithm") == "AWS4-HMAC-SHA256"
    key = router.extract_access_key_id({"authorization": authorization}, query)
    iam_evaluator._signed_request.set(
        iam_evaluator.SignedRequest(
            key, method, raw_path, query, headers, presigned=by_query, handshake=handshake, unverifiable=not (by_header or by_query)
        )
    )


UNSIGNED_REQUEST = AuthError("MissingAuthenticationToken", "Request is missing Authentication Token")


def enforce(access_key: str, action: str, service: str, *rest: Any, **details: Any) -> Any:
    """IAM's decision. Buckets are never public here, although MiniStack lets any caller make one public."""
    if service == "s3" and iam_evaluator._anonymous.get():
        return UNSIGNED_REQUEST
    return original_enforce(access_key, action, service, *rest, **details)


def check(access_key: str, service: str | None = None) -> Any:
    """Why a request without an IAM action is refused, for example because it is not signed; None if it is accepted."""
    return UNSIGNED_REQUEST if iam_evaluator._anonymous.get() else original_check(access_key, service)


def authenticate(region: str, access_key: str, account: str) -> Any:
    """The credential of the pinned request, or why it is refused; None for a request that was checked already or is not signed."""
    request = iam_evaluator._signed_request.get()
    if request is None or request.access_key_id != access_key or request.unverifiable or request.sigv2:
        return original_authenticate(access_key, account)
    read: Any = sigv4.parse_query_signature if request.presigned else sigv4.parse_header_signature
    signature = read(request.query_params if request.presigned else request.headers)
    if not isinstance(signature, tuple) and signature.region_set is not None:
        return original_authenticate(access_key, account)
    iam_evaluator._signed_request.set(None)
    if isinstance(signature, tuple):
        return AuthError(*signature)
    # S3 itself checks until when a presigned URL is valid.
    late = None if request.presigned and signature.service == "s3" else sigv4.request_time_failure(signature)
    if late:
        return AuthError(*late)
    credential = _credential(request, access_key, account)
    if isinstance(credential, AuthError):
        return credential
    failure = (
        scope_failure(signature, request, region)
        or payload_failure(signature, request)
        or signature_failure(signature, request, credential)
    )
    if failure is None:
        iam_evaluator._verified_key.set(access_key)
    return failure or credential


def _credential(request: Any, access_key: str, account: str) -> Any:
    unknown = iam_evaluator._unknown_access_key()
    unknown = AuthError(unknown.code, unknown.message)
    if access_key != ROOT_KEY and iam_evaluator.is_root_access_key(access_key):
        return unknown
    if request.presigned:
        token = iam_evaluator._query_value(request.query_params, "X-Amz-Security-Token")
    else:
        token = request.headers.get("x-amz-security-token", "")
    found = iam_evaluator.resolve_credential(access_key, account, token)
    if not isinstance(found, iam_evaluator.CredentialResolutionError):
        return found
    # A temporary key without its token is an unknown key.
    return unknown if found.code == "InvalidToken" and not token else AuthError(found.code, found.message)


def scope_failure(signature: Any, request: Any, region: str) -> AuthError | None:
    """Why the region, service, date or headers that were signed are not those of this request."""
    if signature.date_stamp != signature.amz_date[:8]:
        return AuthError("WrongScope", "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP. ")
    if signature.region != region:
        return AuthError("WrongScope", f"Credential should be scoped to a valid region, not '{signature.region}'. ")
    if signature.service != (expected := signing_name(request, signature.service)):
        return AuthError("WrongScope", f"Credential should be scoped to correct service: '{expected}'. ")
    signed = signature.signed_headers.split(";")
    if "host" not in signed:
        return AuthError("SignatureDoesNotMatch", "'Host' must be a 'SignedHeader' in the AWS Authorization.")
    if not all(name in signed for name in request.headers if name.startswith("x-amz-") and name != "x-amz-content-sha256"):
        return AuthError("UnsignedHeader", sigv4.SIGNATURE_MISMATCH)
    return None


def signing_name(request: Any, signed: str) -> str:
    """The name of the service that serves the request: `signed` if it is one of its names."""
    if app._parse_execute_api_url(request.headers.get("host", ""), request.raw_path):
        return "execute-api"
    service = router.detect_service(request.method, request.raw_path, request.headers, request.query_params)
    scope = {"authorization": f"Credential=key/date/region/{signed}/aws4_request"}
    # MiniStack routes unknown names to S3.
    known = signed != "execute-api" and (service != "s3" or signed == "s3")
    return signed if known and router.detect_service(request.method, request.raw_path, scope, {}) == service else service


def payload_failure(signature: Any, request: Any) -> AuthError | None:
    """The failure if a header has the hash of the signed body and the body has another one; else None."""
    told = request.headers.get("x-amz-content-sha256")
    if request.presigned:
        return None
    if told is None:
        return AuthError("NoPayload", "") if signature.service == "s3" else None
    if told == UNSIGNED or told.startswith(STREAMING):
        return None if signature.service == "s3" else AuthError("SignatureDoesNotMatch", sigv4.SIGNATURE_MISMATCH)
    return None if told == hashlib.sha256(request.body).hexdigest() else AuthError("WrongPayload", sigv4.SIGNATURE_MISMATCH)


def signature_failure(signature: Any, request: Any, credential: Any) -> AuthError | None:
    """The failure if the signature is not the one that botocore makes; else None."""
    mismatch = AuthError("SignatureDoesNotMatch", sigv4.SIGNATURE_MISMATCH)
    headers = HTTPHeaders()
    for name in signature.signed_headers.split(";"):
        if name not in request.headers:
            return mismatch
        headers[name] = request.headers[name]
    again = AWSRequest(request.method, f"http://host{request.raw_path}", headers)
    again.context["timestamp"] = signature.amz_date
    again.params = [
        (name, value)
        for name, values in request.query_params.items()
        for value in values
        if not (request.presigned and name.lower() == "x-amz-signature")
    ] or None
    if request.presigned and signature.service == "s3":
        payload = UNSIGNED
    else:
        payload = request.headers.get("x-amz-content-sha256") or hashlib.sha256(request.body).hexdigest()
    kind = S3Signer if signature.service == "s3" else Signer
    signer = kind(Credentials(credential.access_key_id, credential.secret_access_key), signature.service, signature.region)
    signer.payload = lambda _: payload
    text = signer.string_to_sign(again, signer.canonical_request(again))
    made = signer.signature(text, again)
    if signer.signed_headers(headers) != signature.signed_headers or not hmac.compare_digest(made.encode(), signature.signature.encode()):
        return mismatch
    if payload.startswith(STREAMING) and payload != STREAMING_UNSIGNED and not chunks_signed(request, signature, credential, made):
        return mismatch
    return None


def chunks_signed(request: Any, signature: Any, credential: Any, seed: str) -> bool:
    """Whether each chunk of a body has a correct signature, and the trailing lines, too, if there are any."""
    key = signing_key(credential.secret_access_key, signature.date_stamp, signature.region, signature.service)
    scope = f"{signature.date_stamp}/{signature.region}/{signature.service}/aws4_request"
    previous, body, at = seed, request.body, 0

    def signed(kind: str, given: bytes, *hashed: bytes) -> bool:
        nonlocal previous
        lines = (f"AWS4-HMAC-SHA256-{kind}", signature.amz_date, scope, previous, *(hashlib.sha256(each).hexdigest() for each in hashed))
        previous = hmac.new(key, "\n".join(lines).encode(), hashlib.sha256).hexdigest()
        return hmac.compare_digest(previous.encode(), given.strip())

    while (end := body.find(b"\r\n", at)) >= 0:
        size, _, given = body[at:end].partition(b";chunk-signature=")
        try:
            at = end + 2 + int(size, 16)
        except ValueError:
            return False
        if not signed("PAYLOAD", given, b"", body[end + 2 : at]):
            return False
        if at == end + 2:
            *lines, last = [line for line in body[at:].split(b"\r\n") if line] or [b""]
            name, _, given = last.partition(b":")
            trailer = b"".join(line + b"\n" for line in lines)
            return not request.headers["x-amz-content-sha256"].endswith("-TRAILER") or (
                name.lower() == b"x-amz-trailer-signature" and signed("TRAILER", given, trailer)
            )
        at += 2
    return False
