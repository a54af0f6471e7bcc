"""The simulator itself: one call in, one answer out, as of the clock it is given. No threads, no sleeping, no real time."""

from __future__ import annotations

import base64
import binascii
import functools
import json
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import unquote

from local.stripe_simulator import parameters
from local.stripe_simulator.accounts import FEATURE_OF_PREFETCH, Account, Accounts, with_overrides
from local.stripe_simulator.api import OPERATIONS, Api, Call, Operation, bank_options, confirm, new_customer, new_payment_method
from local.stripe_simulator.deliveries import Endpoint, Outgoing, WebhookFault, Webhooks
from local.stripe_simulator.faults import ApiFault, RateMeter, rate_limited
from local.stripe_simulator.idempotency import IdempotencyKeys
from local.stripe_simulator.options import Options
from local.stripe_simulator.timeline import Scope, Timeline
from local.stripe_simulator.wire import ApiError, CaseInsensitive, Json, Response, decode_form, to_bytes

NEVER_SECONDS = 3600.0
"""How long a call hangs that is never answered: longer than any client waits."""

KEY_PREFIXES = ("sk_test_", "rk_test_", "sk_live_", "rk_live_")

Method = TypeVar("Method", bound=Callable[..., Any])


def _locked(method: Method) -> Method:
    """One caller at a time, after everything due has happened."""

    @functools.wraps(method)
    def wrapper(self: Simulator, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            self._timeline.advance()
            return method(self, *args, **kwargs)

    return wrapper  # type: ignore[return-value]


class Simulator:
    """A stateful Stripe for one test.

    clock: Unix seconds, never going back. seed: decides ids. All public methods may be called from any thread.
    """

    def __init__(self, clock: Callable[[], float], seed: int = 0, options: Options | None = None) -> None:
        self.options = options or Options()
        self._lock = threading.RLock()
        self._timeline = Timeline(clock, seed)
        self._webhooks = Webhooks(self._timeline, self.options)
        self._accounts = Accounts(self._timeline, self._webhooks, self.options)
        self._api = Api(self._timeline, self._accounts, self._webhooks)
        self._keys = IdempotencyKeys(self.options)
        self._faults: list[ApiFault] = []
        self._meter = RateMeter()
        self._log: list[Json] = []

    # --- The API ------------------------------------------------------------------------------------------------------

    @_locked
    def handle(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Response:
        """Answer one HTTP request to Stripe's API. `target` is the path with its query."""
        path, _, query = target.partition("?")
        return _Request(self, method.upper(), path, query, CaseInsensitive(headers), body).answer()

    # --- Webhooks -----------------------------------------------------------------------------------------------------

    @_locked
    def due_deliveries(self) -> list[Outgoing]:
        """The webhook deliveries whose time has come, signed as of now. Each is handed out once: tell `delivered` how it went."""
        return self._webhooks.due()

    @_locked
    def delivered(self, delivery: Outgoing, status: int | None) -> None:
        """The HTTP status a delivery was answered with, or None when there was no answer. All but 2xx is sent again later."""
        self._webhooks.delivered(delivery, status)

    def now(self) -> float:
        """The clock, in Unix seconds."""
        return self._timeline.now()

    def next_due(self) -> float | None:
        """The next instant, in Unix seconds, at which anything happens by itself; None when nothing is under way."""
        with self._lock:
            times = [when for when in (self._timeline.next_due(), self._webhooks.next_due()) if when is not None]
            return min(times, default=None)

    @_locked
    def add_endpoint(
        self,
        url: str,
        secret: str | Sequence[str],
        *,
        scope: str = "platform",
        payload: str = "snapshot",
        types: Sequence[str] = ("*",),
        livemode: bool | None = None,
        enabled: bool = True,
        id: str | None = None,
    ) -> str:
        """Configure an endpoint, or reconfigure the one with this id. Returns its id. See `deliveries.Endpoint`."""
        if scope not in ("platform", "connected") or payload not in ("snapshot", "thin"):
            raise ValueError("scope is platform or connected; payload is snapshot or thin")
        endpoint_id = id or self._timeline.new_id("we")
        secrets = (secret,) if isinstance(secret, str) else tuple(secret)
        self._webhooks.endpoints[endpoint_id] = Endpoint(
            endpoint_id, url, secrets, scope, payload, tuple(types), livemode, enabled  # type: ignore[arg-type]
        )  # fmt: skip
        return endpoint_id

    @_locked
    def remove_endpoint(self, id: str) -> None:
        """Raises KeyError. Deliveries under way to it are given up."""
        del self._webhooks.endpoints[id]

    @_locked
    def resend(self, event: str) -> int:
        """Send an event once more, as the dashboard can. Returns how many deliveries that makes."""
        return self._webhooks.resend(event)

    def use_ids(self, ids: Mapping[str, Sequence[str]]) -> None:
        """Give these ids, by prefix and in this order, before any other: for the replay of calls that were made earlier."""
        with self._lock:
            self._timeline.first_ids = {prefix: deque(each) for prefix, each in ids.items()}

    # --- What the world does: end users, banks ------------------------------------------------------------------------

    @_locked
    def link(
        self,
        scenario: str,
        *,
        id: str | None = None,
        stripe_account: str | None = None,
        livemode: bool = False,
        customer: str | None = None,
        session: str | None = None,
        payment_method: str | None = None,
        permissions: Sequence[str] = ("balances", "ownership", "payment_method"),
        prefetch: Sequence[str] = (),
        policy: Mapping[str, Any] | None = None,
        owners: Sequence[Mapping[str, str | None]] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> Json:
        """Link an account of a scenario; its true state. A customer not yet there is made, and a payment method of the id given.

        Raises KeyError for an unknown scenario, ValueError for an id in use or a bad policy.
        """
        scope = Scope(stripe_account, livemode)
        if customer is not None and customer not in self._api.of(scope, "customer"):
            new_customer(self._api, scope, {}, customer)
        holder = _customer_holder(customer)
        linked = self._accounts.link(
            scope,
            scenario,
            id=id,
            holder=holder,
            session=session,
            requested=permissions,
            prefetch=prefetch,
            policy=policy,
            owners=owners,
            details=details,
        )
        if payment_method is not None:
            new_payment_method(self._api, scope, customer, linked, payment_method)
        return linked.true_state()

    @_locked
    def state(self, account: str, *, stripe_account: str | None = None, livemode: bool = False) -> Json:
        """The true state of an account, with every refresh ever initiated. Raises KeyError."""
        return self._find(account, stripe_account, livemode).true_state()

    @_locked
    def states(self) -> list[Json]:
        """The true state of every account."""
        return [account.true_state() for account in self._accounts.everywhere()]

    @_locked
    def initiated_refreshes(self) -> dict[str, int]:
        """By account id, how many owners refreshes were initiated through the API: the money."""
        counts: Counter[str] = Counter()
        for account in self._accounts.everywhere():
            counts[account.id] += sum(refresh.feature == "ownership" and refresh.via == "api" for refresh in account.attempts)
        return dict(counts)

    @_locked
    def change(
        self,
        account: str,
        *,
        stripe_account: str | None = None,
        livemode: bool = False,
        action: str | None = None,
        owners: Sequence[Mapping[str, str | None]] | None = None,
        policy: Mapping[str, Any] | None = None,
        permissions: Sequence[str] | None = None,
        details: Mapping[str, Any] | None = None,
        expected_deactivation_date: int | None = None,
        features: Sequence[str] = ("ownership",),
    ) -> Json:
        """Change an account; its true state then. Raises KeyError, ValueError.

        action: deactivate, reactivate, disconnect, prefetch (of `features`, named as in a session's prefetch), or
        update_account_numbers. owners, policy, permissions count from the next refresh on.
        """
        found = self._find(account, stripe_account, livemode)
        if owners is not None:
            found.owners = tuple(owners)
        if policy is not None:
            found.policy = with_overrides(found.policy, policy)
        if permissions is not None:
            found.permissions = list(permissions)
        found.details |= details or {}
        if expected_deactivation_date is not None:
            self._accounts.expect_deactivation(found, expected_deactivation_date)
        self._act(found, action, features)
        return found.true_state()

    def _act(self, account: Account, action: str | None, features: Sequence[str]) -> None:
        if action == "prefetch":
            for feature in features:
                if self._accounts.pending(account, FEATURE_OF_PREFETCH[feature]):
                    raise ValueError(f"{feature} of {account.id} is already pending")
                self._accounts.start(account, FEATURE_OF_PREFETCH[feature], "prefetch")
        elif action in ("deactivate", "reactivate", "disconnect", "update_account_numbers"):
            getattr(self._accounts, action)(account)
        elif action is not None:
            raise ValueError(f"unknown action {action}")

    def _find(self, account: str, stripe_account: str | None, livemode: bool) -> Account:
        return self._accounts.within(Scope(stripe_account, livemode))[account]

    @_locked
    def complete(
        self,
        id: str,
        *,
        accounts: Sequence[Mapping[str, Any]] = ({"scenario": "single_owner"},),
        manual: bool = False,
        stripe_account: str | None = None,
        livemode: bool = False,
    ) -> Json:
        """Do as an end user does in the linking dialogue of a session, intent or Checkout Session (by its id).

        accounts: what is linked, each as for `link` (scenario, id, policy, owners, details). manual: the numbers are typed in,
        and nothing is linked. Returns {"accounts": [ids], "payment_method": id or None}. Raises KeyError, ValueError.
        """
        scope = Scope(stripe_account, livemode)
        kinds = ("financial_connections.session", "setup_intent", "payment_intent", "checkout.session")
        kind = next((kind for kind in kinds if id in self._api.of(scope, kind)), kinds[0])
        shown = self._api.of(scope, kind)[id]
        is_session = kind == kinds[0]
        wanted = shown if is_session else bank_options(shown)
        holder = shown["account_holder"] if is_session else _customer_holder(shown["customer"])
        linked = [
            self._accounts.link(
                scope,
                **{"scenario": "single_owner", **given},
                holder=holder,
                session=id if is_session else None,
                requested=wanted.get("permissions") or ["payment_method"],
                prefetch=wanted.get("prefetch") or [],
            )
            for given in (() if manual else accounts)
        ]
        method = None
        if not is_session:
            method = new_payment_method(self._api, scope, shown["customer"], linked[0] if linked else None)
            confirm(self._api, scope, shown, method)
        return {"accounts": [account.id for account in linked], "payment_method": method["id"] if method else None}

    # --- Misbehaviour, and what was seen ------------------------------------------------------------------------------

    @_locked
    def fail_api(self, kind: str, **matching: Any) -> None:
        """Let API calls go wrong; see `faults.ApiFault`. Raises ValueError."""
        self._faults.append(_rule(ApiFault, kind, matching, ("rate_limit", "server_error", "conflict", "hang", "drop", "late")))

    @_locked
    def fail_webhooks(self, kind: str, **matching: Any) -> None:
        """Let deliveries go wrong; see `deliveries.WebhookFault`. Raises ValueError."""
        self._webhooks.faults.append(_rule(WebhookFault, kind, matching, ("duplicate", "delay", "drop", "reorder", "twin")))

    @_locked
    def awaits(self, idempotency_key: str) -> bool:
        """Whether a call under this key has arrived, and is to be executed later."""
        return self._keys.holds(idempotency_key)

    @_locked
    def configure(self, **settings: Any) -> Json:
        """Change `options` from now on; all of them, but for keys. Raises ValueError for one that does not exist."""
        for name, value in settings.items():
            if not hasattr(self.options, name):
                raise ValueError(f"unknown option {name}")
            setattr(self.options, name, value)
        return {name: value for name, value in vars(self.options).items() if name not in ("api_keys", "denied")}

    @_locked
    def clear_faults(self) -> None:
        self._faults.clear()
        self._webhooks.faults.clear()

    @_locked
    def requests(self) -> list[Json]:
        """Every API call so far, without bodies: method, path (template), operation, account, stripe_account, livemode,
        idempotency_key, request_id, status (0: never answered), action, replayed, at."""
        return [dict(entry) for entry in self._log]

    @_locked
    def request_counts(self) -> Json:
        """{"operations": {name: n}, "accounts": {id: {name: n}}, "statuses": {status: n}, "peaks": {name: calls within one second}}."""
        accounts: dict[str, Counter[str]] = {}
        for entry in self._log:
            if entry["account"]:
                accounts.setdefault(entry["account"], Counter())[entry["operation"]] += 1
        return {
            "operations": dict(Counter(entry["operation"] for entry in self._log)),
            "accounts": {account: dict(counts) for account, counts in accounts.items()},
            "statuses": dict(Counter(str(entry["status"]) for entry in self._log)),
            "peaks": dict(self._meter.peaks),
        }

    @_locked
    def deliveries(self) -> list[Json]:
        """Every delivery made, refused or dropped: event, type, account, stripe_account, endpoint, attempt, status, result, at."""
        return [dict(entry) for entry in self._webhooks.log]

    @_locked
    def reset(self, *, endpoints: bool = False) -> None:
        """Forget everything but the options and, unless told so, the endpoints."""
        for store in (self._timeline, self._webhooks, self._accounts, self._api, self._keys, self._faults, self._meter, self._log):
            store.clear()
        if endpoints:
            self._webhooks.endpoints.clear()


def _customer_holder(customer: str | None) -> Json | None:
    return {"type": "customer", "customer": customer} if customer else None


Rule = TypeVar("Rule", ApiFault, WebhookFault)


def _rule(rule: type[Rule], kind: str, matching: Mapping[str, Any], kinds: Sequence[str]) -> Rule:
    if kind not in kinds:
        raise ValueError(f"kind is one of {', '.join(kinds)}")
    try:
        return rule(kind=kind, **matching)  # type: ignore[arg-type]
    except TypeError as error:
        raise ValueError(str(error)) from error


class _Request:
    """One API call on its way: who asks, is it allowed, was it answered before, what does it do."""

    def __init__(self, simulator: Simulator, method: str, path: str, query: str, headers: CaseInsensitive, body: bytes) -> None:
        self._sim = simulator
        self._method = method
        self._path = path
        self._query = query
        self._headers = headers
        self._body = body
        self._now = simulator._timeline.now()
        self._request_id = simulator._timeline.new_id("req", 14)
        self._key = headers.get("idempotency-key") if method == "POST" else None
        self._scope = Scope(None, False)
        self._operation: Operation | None = None
        self._ids: dict[str, str] = {}
        self._replayed = False

    def answer(self) -> Response:
        try:
            response = self._authorised()
        except ApiError as error:
            response = self._error(error)
        self._record(response)
        return response

    def _authorised(self) -> Response:
        key = self._secret_key()
        stripe_account = self._headers.get("stripe-account") or self._headers.get("stripe-context", "").rsplit("/", 1)[-1] or None
        self._scope = Scope(stripe_account, key[3:].startswith("live_"))
        parts = [unquote(part) for part in self._path.split("/")]
        for operation in OPERATIONS:
            ids = operation.match(self._method, parts)
            if ids is not None:
                self._operation, self._ids = operation, ids
                break
        else:
            message = f"Unrecognized request URL ({self._method}: {self._path[:200]}). Please see https://stripe.com/docs."
            raise ApiError(404, message)
        self._permitted(key, self._operation)
        self._within_rate(self._operation)
        return self._with_faults(self._operation)

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
        accepted = self._sim.options.api_keys
        if not credential.startswith(KEY_PREFIXES) or (accepted is not None and credential not in accepted):
            raise ApiError(401, f"Invalid API Key provided: {credential[:8]}{'*' * 8}")
        return credential

    def _permitted(self, key: str, operation: Operation) -> None:
        if self._scope.stripe_account in self._sim.options.revoked:
            raise ApiError(
                403,
                f"The provided key '{key[:8]}{'*' * 8}' does not have access to account '{self._scope.stripe_account}' (or that account "
                "does not exist). Application access may have been revoked.",
                code="account_invalid",
            )
        if operation.name in self._sim.options.denied.get(key, ()):
            raise ApiError(403, f"The provided key '{key[:8]}{'*' * 8}' does not have the required permissions for this endpoint.")
        if self._scope.livemode and not self._sim.options.live_registered and "/financial_connections/" in operation.template:
            raise ApiError(403, "Your account must complete its Financial Connections registration before using it in live mode.")

    def _within_rate(self, operation: Operation) -> None:
        options, meter, now = self._sim.options, self._sim._meter, self._now
        prefix = f"{self._scope.stripe_account} " if self._scope.stripe_account else ""
        if not meter.admit(f"{prefix}*", now, options.global_rate_limit):
            raise rate_limited("global-rate", {})
        if not meter.admit(f"{prefix}{operation.name}", now, options.rate_limit):
            raise rate_limited("endpoint-rate", {})

    def _with_faults(self, operation: Operation) -> Response:
        account = self._ids.get("account")
        fault = next(
            (fault for fault in self._sim._faults if fault.takes(self._method, operation.template, account, self._scope.stripe_account)),
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
        """No answer, and the execution `seconds` from now, unless the key was used before."""
        params = self._parameters()
        fingerprint = json.dumps([self._method, self._path, params], sort_keys=True)
        keys = self._sim._keys
        if self._key is not None and keys.recall(self._scope, self._key, fingerprint, self._now) is not None:
            return Response(0, action="hang", seconds=NEVER_SECONDS)
        checked = self._checked(operation, params)
        if self._key is not None:
            keys.hold(self._scope, self._key, fingerprint)

        def execute() -> None:
            response = self._execute(operation, checked)
            if self._key is not None:
                keys.remember(self._scope, self._key, fingerprint, self._sim._timeline.now(), response)

        self._sim._timeline.at(self._now + seconds, execute)
        return Response(0, action="hang", seconds=NEVER_SECONDS)

    def _once(self, operation: Operation, fault: ApiFault | None = None, busy_seconds: float = 0.0) -> Response:
        """The answer, from the idempotency key's memory or by executing; `fault` replaces it by a 500."""
        params = self._parameters()
        fingerprint = json.dumps([self._method, self._path, params], sort_keys=True)
        keys = self._sim._keys
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
        checked: Json = parameters.check(operation.parameters, params)
        for index, path in enumerate(checked.get("expand", ())):
            known = any(path == full or full.startswith(f"{path}.") for full in operation.expandable)
            if not known:
                raise ApiError(400, f"This property cannot be expanded ({path[:80]}).", param=f"expand[{index}]")
        return checked

    def _execute(self, operation: Operation, params: Json) -> Response:
        call = Call(self._scope, self._ids, params, self._request_id, self._key)
        api = self._sim._api
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
            "Stripe-Version": self._headers.get("stripe-version", self._sim.options.api_version),
        }
        if self._key:
            headers["Idempotency-Key"] = self._key
        if self._scope.stripe_account:
            headers["Stripe-Account"] = self._scope.stripe_account
        return headers

    def _record(self, response: Response) -> None:
        template = self._operation.template if self._operation else None
        self._sim._log.append(
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
                "replayed": self._replayed,
                "at": self._now,
            }
        )
