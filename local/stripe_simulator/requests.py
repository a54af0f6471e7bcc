"""Answers requests to Stripe's API: authorisation, rate limits, faults on demand, idempotency keys, and a log."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import unquote

from local.stripe_simulator import parameters
from local.stripe_simulator.api import OPERATIONS, Api, Call, Operation
from local.stripe_simulator.faults import ApiFault, RateMeter, rate_limited
from local.stripe_simulator.idempotency import IdempotencyKeys
from local.stripe_simulator.options import Options
from local.stripe_simulator.timeline import Scope, Timeline
from local.stripe_simulator.wire import ApiError, CaseInsensitive, Json, Response, decode_form, to_bytes

NEVER_SECONDS = 3600.0
"""How long a request that is never answered hangs (seconds): longer than any client waits."""

CONTEXT = re.compile(r"(org_[A-Za-z0-9_]+/)*(acct_[A-Za-z0-9_]+/)*acct_[A-Za-z0-9_]+")
"""A path to an account: organizations, the accounts between, and the account itself."""

KEY_PREFIXES = ("sk_test_", "rk_test_", "sk_live_", "rk_live_")


class ApiRequests:
    """Answers requests. `log` has an entry for each, without bodies."""

    def __init__(self, timeline: Timeline, api: Api, options: Options) -> None:
        self.timeline = timeline
        self.api = api
        self.options = options
        self.keys = IdempotencyKeys(options)
        self.faults: list[ApiFault] = []
        self.meter = RateMeter()
        self.log: list[Json] = []

    def clear(self) -> None:
        for store in (self.keys, self.faults, self.meter, self.log):
            store.clear()

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Answer one request. `target` is the path with its query."""
        path, _, query = target.partition("?")
        return _Request(self, method.upper(), path, query, CaseInsensitive(headers), body).answer()


class _Request:
    """One request: authorisation, faults, idempotency, execution."""

    def __init__(self, owner: ApiRequests, method: str, path: str, query: str, headers: CaseInsensitive, body: bytes) -> None:
        self._owner = owner
        self._method = method
        self._path = path
        self._query = query
        self._headers = headers
        self._body = body
        self._now = owner.timeline.now()
        self._request_id = owner.timeline.new_id("req", 14)
        self._key = headers.get("idempotency-key") if method == "POST" else None
        self._scope = Scope(None, False)
        self._operation: Operation | None = None
        self._ids: dict[str, str] = {}
        self._replayed = False
        self._version = headers.get("stripe-version", owner.options.api_version)

    @property
    def _preview(self) -> bool:
        return self._version == self._owner.options.preview_version

    def answer(self) -> Response:
        try:
            response = self._authorised()
        except ApiError as error:
            response = self._error(error)
        self._record(response)
        return response

    def _authorised(self) -> Response:
        key = self._secret_key()
        self._scope = Scope(None, key[3:].startswith("live_"))
        self._scope = self._scope._replace(stripe_account=self._named_account(key))
        self._known_version()
        parts = [unquote(part) for part in self._path.split("/")]
        for operation in OPERATIONS:
            ids = operation.match(self._method, parts)
            if ids is not None and operation.exists(self._preview):
                self._operation, self._ids = operation, ids
                break
        else:
            message = f"Unrecognized request URL ({self._method}: {self._path[:200]}). Please see https://stripe.com/docs."
            raise ApiError(404, message)
        self._permitted(key, self._operation)
        self._within_rate(self._operation)
        return self._with_faults(self._operation)

    def _named_account(self, key: str) -> str | None:
        """The connected account that the request is about, None for the key's own. Stripe-Context supersedes Stripe-Account."""
        options, context = self._owner.options, self._headers.get("stripe-context")
        if context is None:
            named: str | None = self._headers.get("stripe-account") or None
            path, through = "", list[str]()
        else:
            if not CONTEXT.fullmatch(context):
                raise ApiError(400, f"Invalid Stripe-Context header: {context[:80]}")
            segments = context.split("/")
            path = "/".join(segment for segment in segments if segment.startswith("org_"))
            *through, named = [segment for segment in segments if segment.startswith("acct_")]
        if path not in ("", options.organization) or any(each in options.foreign for each in (*through, named)):
            raise ApiError(
                403,
                f"The provided key '{key[:8]}{'*' * 8}' does not have access to account '{named}' (or that account does not exist). "
                "Application access may have been revoked.",
                code="account_invalid",
            )
        return None if named == options.own_account else named

    def _secret_key(self) -> str:
        scheme, _, credential = self._headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                credential = base64.b64decode(credential, validate=True).decode().partition(":")[0]
            except (binascii.Error, ValueError):
                credential = ""
        elif scheme.lower() != "bearer":
            credential = ""
        if not credential:
            raise ApiError(401, "You did not provide an API key. You need to provide your API key in the Authorization header.")
        accepted = self._owner.options.api_keys
        if not credential.startswith(KEY_PREFIXES) or (accepted is not None and credential not in accepted):
            raise ApiError(401, f"Invalid API Key provided: {credential[:8]}{'*' * 8}")
        return credential

    def _known_version(self) -> None:
        options = self._owner.options
        if self._version not in (options.api_version, options.preview_version):
            asked, self._version = self._version, options.api_version
            raise ApiError(400, f"Invalid Stripe API version: {asked[:80]}. See https://docs.stripe.com/api/versioning.")

    def _permitted(self, key: str, operation: Operation) -> None:
        if self._scope.stripe_account in self._owner.options.revoked:
            raise ApiError(
                403,
                f"The provided key '{key[:8]}{'*' * 8}' does not have access to account '{self._scope.stripe_account}' (or that account "
                "does not exist). Application access may have been revoked.",
                code="account_invalid",
            )
        if operation.name in self._owner.options.denied.get(key, ()):
            raise ApiError(403, f"The provided key '{key[:8]}{'*' * 8}' does not have the required permissions for this endpoint.")
        if self._scope.livemode and not self._owner.options.live_registered and "/financial_connections/" in operation.template:
            raise ApiError(403, "Your account must complete its Financial Connections registration before using it in live mode.")

    def _within_rate(self, operation: Operation) -> None:
        options, meter, now = self._owner.options, self._owner.meter, self._now
        prefix = f"{self._scope.stripe_account} " if self._scope.stripe_account else ""
        if not meter.admit(f"{prefix}*", now, options.global_rate_limit):
            raise rate_limited("global-rate", {})
        if not meter.admit(f"{prefix}{operation.name}", now, options.rate_limit):
            raise rate_limited("endpoint-rate", {})

    def _with_faults(self, operation: Operation) -> Response:
        account = self._ids.get("account")
        fault = next(
            (fault for fault in self._owner.faults if fault.takes(self._method, operation.template, account, self._scope.stripe_account)),
            None,
        )
        if fault is None:
            return self._once(operation)
        if fault.kind in ("rate_limit", "conflict"):
            raise fault.error()
        if fault.kind == "server_error" and fault.effect == "before" and not fault.stored:
            raise fault.error()
        if fault.kind == "server_error":
            return self._once(operation, fault)
        if fault.kind == "late":
            return self._later(operation, fault.seconds)
        action, seconds = fault.silence()
        if fault.effect == "before":
            return Response(0, action=action, seconds=seconds)
        return replace(self._once(operation, busy_seconds=seconds), action=action, seconds=seconds)

    def _later(self, operation: Operation, seconds: float) -> Response:
        """Give no answer, and execute the request `seconds` from now unless its key was used before."""
        params = self._parameters()
        fingerprint = json.dumps([self._method, self._path, params], sort_keys=True)
        keys = self._owner.keys
        if self._key is not None and keys.recall(self._scope, self._key, fingerprint, self._now) is not None:
            return Response(0, action="hang", seconds=NEVER_SECONDS)
        checked = self._checked(operation, params)
        if self._key is not None:
            keys.hold(self._scope, self._key, fingerprint)

        def execute() -> None:
            response = self._execute(operation, checked)
            if self._key is not None:
                keys.remember(self._scope, self._key, fingerprint, self._owner.timeline.now(), response)

        self._owner.timeline.at(self._now + seconds, execute)
        return Response(0, action="hang", seconds=NEVER_SECONDS)

    def _once(self, operation: Operation, fault: ApiFault | None = None, busy_seconds: float = 0.0) -> Response:
        """The key's stored answer, or the result of executing the request. `fault` replaces a new answer by a 500."""
        params = self._parameters()
        fingerprint = json.dumps([self._method, self._path, params], sort_keys=True)
        keys = self._owner.keys
        if self._key is not None:
            stored = keys.recall(self._scope, self._key, fingerprint, self._now)
            if stored is not None:
                self._replayed = True
                original = stored.headers["Request-Id"]
                headers = {**stored.headers, "Request-Id": self._request_id, "Original-Request": original, "Idempotent-Replayed": "true"}
                return replace(stored, headers=headers)
        checked = self._checked(operation, params)
        response = None
        if fault is None or fault.effect == "after":
            response = self._execute(operation, checked)
        store = True
        if fault is not None:
            response = self._error(fault.error())
            store = fault.stored
        assert response is not None
        if self._key is not None and store:
            keys.remember(self._scope, self._key, fingerprint, self._now, response, busy_seconds)
        return response

    def _parameters(self) -> Json:
        try:
            text = self._body.decode() if self._method == "POST" else self._query
        except UnicodeDecodeError:
            raise ApiError(400, "Invalid request body: it is not UTF-8.") from None
        return decode_form(text)

    def _checked(self, operation: Operation, params: Json) -> Json:
        checked: Json = parameters.check(operation.parameters_of(self._preview), params)
        for index, path in enumerate(checked.get("expand", ())):
            known = any(path == full or full.startswith(f"{path}.") for full in operation.expandable)
            if not known:
                raise ApiError(400, f"This property cannot be expanded ({path[:80]}).", param=f"expand[{index}]")
        return checked

    def _execute(self, operation: Operation, params: Json) -> Response:
        call = Call(self._scope, self._ids, params, self._request_id, self._key, self._version, self._preview)
        api = self._owner.api
        try:
            shown = api.expand(self._scope, operation.handler(api, call), params.get("expand", ()))
        except ApiError as error:
            return self._error(error)
        return Response(200, self._answer_headers(), to_bytes(shown))

    def _error(self, error: ApiError) -> Response:
        body = to_bytes(error.body(self._request_id, self._scope.livemode))
        return Response(error.status, self._answer_headers() | error.headers, body)

    def _answer_headers(self) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Request-Id": self._request_id,
            "Stripe-Version": self._version,
        }
        if self._key:
            headers["Idempotency-Key"] = self._key
        if self._scope.stripe_account:
            headers["Stripe-Account"] = self._scope.stripe_account
        return headers

    def _record(self, response: Response) -> None:
        template = self._operation.template if self._operation else None
        self._owner.log.append(
            {
                "method": self._method,
                "path": template,
                "operation": self._operation.name if self._operation else "unknown",
                "account": self._ids.get("account"),
                "stripe_account": self._scope.stripe_account,
                "livemode": self._scope.livemode,
                "idempotency_key": self._key,
                "request_id": self._request_id,
                "status": response.status,
                "action": response.action,
                "version": self._headers.get("stripe-version", self._version),
                "replayed": self._replayed,
                "at": self._now,
            }
        )
