"""Calls to Stripe's API: the only module that imports `stripe`. Every failure is raised as one of our own errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qsl, urlsplit

import stripe
from aws_lambda_powertools.metrics import MetricUnit

from titleholder.domain import snapshots
from titleholder.domain.accounts import AccountHolder, AccountRef, AccountState, Mode, PaymentSupport
from titleholder.errors import (
    AccountNotFoundError,
    ConfigurationError,
    CustomerNotFoundError,
    PaymentMethodNotFoundError,
    RateLimitExceededError,
    SessionNotFoundError,
    StripeCredentialsError,
    StripeError,
    StripeRateLimitedError,
    StripeRefusedError,
    StripeServerError,
    StripeUnansweredError,
    TitleholderError,
    TooManyOwnersError,
)
from titleholder.observability import count_alone, logger, metrics
from titleholder.timestamps import iso_seconds

API_VERSION = "2026-10-28.endive"
"""The version of Stripe's API that this code is written for, sent with every call. It is that of the pinned SDK."""

CONNECT_TIMEOUT_SECONDS = 3.0
READ_TIMEOUT_SECONDS = 8.0
RESOURCE_MISSING = "resource_missing"
"""The code of Stripe's error for an object that a parameter names and that does not exist."""

FORBIDDEN = 403
NOT_FOUND = 404
BUSY = 409
SERVER_ERROR = 500
NETWORK_RETRIES = 2
"""Retries by the SDK's client (default: none). It retries 409, 5xx and lost connections under the same idempotency key, never 429."""

LONGEST_CALL_SECONDS = (CONNECT_TIMEOUT_SECONDS + READ_TIMEOUT_SECONDS) * (NETWORK_RETRIES + 1) + 5
"""The duration of a call whose tries all time out, with the SDK's pauses. The lease is longer, and the functions' timeout even longer."""

READ, LIST, REFRESH, OWNERS, EVENTS, OTHER = "read", "list", "refresh", "owners", "events", "other"
"""The rate limiter's buckets: one for each operation that is called often, one for all others together."""

ACCOUNTS_PAGE = 10
"""How many of a holder's newest accounts are searched for one. Their owners are part of the answer, and few holders have more accounts."""

OWNERS_PAGE = 100
MOST_OWNERS_PAGES = 60
"""Twenty full pages hold as many owners as a snapshot may. Stripe may send smaller pages, but an endless list is not followed."""

MOST_STRIPE_KEYS = 5
"""How many of Stripe's idempotency keys one key of a caller gets: one more each time that Stripe replays a 5xx for the last one."""

EVENTS_PAGE = 100
_OWNER_TEXTS = ("id", "name", "email", "phone", "raw_address")

FINANCIAL_CONNECTIONS = "Financial Connections"
_RESOURCES: tuple[tuple[str, str], ...] = (
    ("/v1/financial_connections/", FINANCIAL_CONNECTIONS),
    ("/v1/customers", "Customers"),
    ("/v1/setup_intents", "SetupIntents"),
    ("/v1/payment_intents", "PaymentIntents"),
    ("/v1/checkout/sessions", "Checkout Sessions"),
    ("/v1/payment_methods", "PaymentMethods"),
    ("/v1/events", "Events"),
    ("/v2/core/events", "Events"),
    ("/v1/account", "the Stripe account itself"),
)
"""The resources that a restricted key needs permissions for, by the beginning of the path."""

_NOUNS: Mapping[type[TitleholderError], str] = {
    AccountNotFoundError: "account",
    CustomerNotFoundError: "customer",
    PaymentMethodNotFoundError: "payment method",
    SessionNotFoundError: "session or intent",
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ownership:
    """An `account_ownership` as expanded in its account: the owners of its first page, and whether there are more."""

    id: str
    created: int
    first_owners: Sequence[Mapping[str, Any]] = field(repr=False)
    has_more: bool


@dataclass(frozen=True, slots=True)
class AccountReading:
    """An account as read from Stripe, with its ownership if this exists and was expanded. `listed`: it was read from a list.

    `newer`: the account's stored state, if Stripe's answer is older than that.
    """

    state: AccountState
    ownership: Ownership | None
    listed: bool = False
    newer: AccountState | None = None
    payment: PaymentSupport = field(default_factory=PaymentSupport)

    @property
    def current(self) -> AccountState:
        """The newest known state: `newer` if there is one, else that of the reading."""
        return self.newer or self.state


class ApiKeys(Protocol):
    """The source of API keys: those to try, in order, and those to try after Stripe has refused all of them."""

    def api_keys(self) -> Sequence[str]: ...

    def reload_api_keys(self) -> Sequence[str]: ...


class CallLimiter(Protocol):
    """Admits calls at the rate that Stripe allows (`services.rate_limiter.RateLimiter`)."""

    def acquire(self, bucket: str) -> None: ...

    def acquire_either(self, bucket: str, other: str) -> str: ...

    def reserve(self, bucket: str, held: float | None) -> float | None: ...

    def exceeded(self, bucket: str, at: float) -> RateLimitExceededError: ...

    def hurry(self) -> None: ...

    def on_throttled(self, bucket: str) -> None: ...


ContextOf = Callable[[str], str | None]
"""The context by which calls name a connected account; None if they name it by its id."""


class RecordingClient(stripe.HTTPClient):
    """Records which calls had a request without an answer, because the SDK retries by itself and reports only the last answer.

    It stops retries of a call that is no longer wanted. It also names a connected account for which `context_of` knows a context by
    `Stripe-Context`, which supersedes `Stripe-Account`. That happens here so that no call can omit it.
    """

    name = "requests"

    def __init__(self, http: stripe.HTTPClient, context_of: ContextOf = lambda connected: None) -> None:
        super().__init__()
        self._http = http
        self._context_of = context_of
        self._unanswered: dict[str, bool] = {}
        self._still_wanted: dict[str, Callable[[], bool]] = {}
        self._sent: set[str] = set()
        self._failed: set[str] = set()
        self._made: dict[str, bool] = {}
        self.denied = ""
        """The permission that the last call lacked, in words."""

    def begin_once(self, idempotency_key: str) -> None:
        """Begin a call that continues with another key if Stripe only replays a 5xx for this key."""
        self._made[idempotency_key] = False

    def end_once(self, idempotency_key: str) -> bool:
        """End the call. Returns whether Stripe executed a request of it and answered 5xx."""
        return self._made.pop(idempotency_key, False)

    def begin(self, idempotency_key: str, still_wanted: Callable[[], bool] = lambda: True) -> None:
        """Begin a call under this key. `still_wanted` is called before each retry of its request."""
        self._unanswered[idempotency_key] = False
        self._failed.discard(idempotency_key)
        self._still_wanted[idempotency_key] = still_wanted

    def failed(self, idempotency_key: str) -> bool:
        """Whether one of the call's requests so far was answered with 5xx. Stripe may have executed it all the same."""
        return idempotency_key in self._failed

    def end(self, idempotency_key: str) -> bool:
        """End the call. Returns whether one of its requests was not answered."""
        self._still_wanted.pop(idempotency_key, None)
        self._sent.discard(idempotency_key)
        self._failed.discard(idempotency_key)
        return self._unanswered.pop(idempotency_key, False)

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, *, _usage: list[str] | None = None
    ) -> tuple[str, int, Mapping[str, str]]:
        headers = self._in_context(headers or {})
        key = headers.get("Idempotency-Key")
        if key in self._still_wanted:
            if key in self._sent and not self._still_wanted[key]():
                # The SDK has no types for it.
                raise stripe.APIConnectionError("The call is no longer wanted.", should_retry=False)  # type: ignore[no-untyped-call]
            self._sent.add(key)
        try:
            # The SDK's own HTTP clients take no `_usage`.
            answer = self._http.request(method, url, headers, post_data)
        except stripe.APIConnectionError:
            self._note(key)
            raise
        if answer[1] == FORBIDDEN:
            self.denied = _permission(method, urlsplit(url).path)
        if answer[1] == BUSY:
            self._note(key)
        elif answer[1] >= SERVER_ERROR and key in self._made and not _is_replayed(answer[2]):
            self._made[key] = True
        elif answer[1] >= SERVER_ERROR and key in self._unanswered:
            self._failed.add(key)
        return answer

    def _in_context(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        connected = headers.get("Stripe-Account")
        context = self._context_of(connected) if connected is not None else None
        if context is None:
            return headers
        return {**{name: value for name, value in headers.items() if name != "Stripe-Account"}, "Stripe-Context": context}

    def _note(self, key: str | None) -> None:
        if key in self._unanswered:
            self._unanswered[key] = True

    def _sleep_time_seconds(self, num_retries: int) -> float:
        return self._http._sleep_time_seconds(num_retries)

    def close(self) -> None:
        self._http.close()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class RefreshAnswer:
    """Stripe's answer to a refresh call.

    `replayed`: Stripe repeated the answer to an earlier request with the call's key, so it shows the account as it was then.
    """

    state: AccountState
    replayed: bool


@dataclass(slots=True)
class PreviewVersion:
    """The preview version of Stripe's API for relinking and for reads of accounts (None: none), and whether Stripe has refused it."""

    configured: str | None
    refused: bool = False


class StripeGateway:
    """Stripe's API at `api_base` (None: Stripe's own URL), in one mode, at the rate that `limiter` allows.

    `preview_version` is sent with reads of accounts and Financial Connections Sessions (`read_call`), and to create sessions for relinking.
    All other calls have the stable version.
    """

    def __init__(
        self,
        keys: ApiKeys,
        mode: Mode,
        api_base: str | None = None,
        http_client: stripe.HTTPClient | None = None,
        *,
        limiter: CallLimiter,
        preview_version: str | None = None,
        context_of: ContextOf = lambda connected: None,
    ) -> None:
        self._limiter = limiter
        self._keys = keys
        self._mode = mode
        self._api_base = api_base
        http = http_client or stripe.RequestsClient(timeout=(CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS))
        self._http = RecordingClient(http, context_of)
        self._clients: dict[str, stripe.StripeClient] = {}
        # Shared by the gateways that `limited_by` makes.
        self._preview = PreviewVersion(preview_version)

    @property
    def preview(self) -> PreviewVersion:
        """The preview version, and whether this process knows that Stripe refuses it."""
        return self._preview

    def limited_by(self, limiter: CallLimiter) -> StripeGateway:
        """The same gateway with another rate limiter."""
        mine = copy(self)
        mine._limiter = limiter
        return mine

    def acquire_refresh(self) -> None:
        """Take the slot for `refresh`. `refresh` takes none itself, because the rate limit must not stop an attempt that has begun.

        Raises RateLimitExceededError.
        """
        self._limiter.acquire(REFRESH)

    def reserve_refresh(self, held: float | None) -> float | None:
        """The slot for the account's refresh call: the `held` one, or the next. None for work that takes its slot with the call."""
        return self._limiter.reserve(REFRESH, held)

    def too_early(self, slot: float) -> RateLimitExceededError:
        """The error to raise while the slot for the refresh call is not due."""
        return self._limiter.exceeded(REFRESH, slot)

    def hurry(self) -> None:
        """Let this work's calls precede starts of other refreshes, because a refresh that was paid for waits for them."""
        self._limiter.hurry()

    def read(self, ref: AccountRef, *, acquired: bool = False) -> AccountReading:
        """The account now, with its ownership and the first page of owners.

        Raises:
            AccountNotFoundError: Stripe knows no such account in this mode under this connected account.
            StripeError: the call failed. The subclass says how.
            RateLimitExceededError: the rate limit allows no call yet. The error says when to try again.
        """
        account = self.read_call(
            lambda client, version: client.v1.financial_connections.accounts.retrieve(
                ref.account, {"expand": ["ownership"]}, _options(ref, version=version)
            ),
            bucket=READ,
            acquired=acquired,
        )
        return _reading(account.to_dict())

    def read_again(self, ref: AccountRef, holder: AccountHolder, shows: Callable[[AccountState], bool]) -> AccountReading:
        """The account from the list of its holder's accounts, if `shows` accepts that state; otherwise from `read`.

        Stripe limits each operation separately, so an account that was read before its refresh is listed after it. If the list fails, lags
        behind, or lacks the account, `read` follows. Raises the same errors as `read`.
        """
        if self._limiter.acquire_either(LIST, READ) == LIST:
            reading = self._listed(ref, holder)
            if reading is not None and shows(reading.state):
                return reading
            self._limiter.acquire(READ)
        return self.read(ref, acquired=True)

    def _listed(self, ref: AccountRef, holder: AccountHolder) -> AccountReading | None:
        params: Any = {"account_holder": {holder.kind: holder.id}, "limit": ACCOUNTS_PAGE, "expand": ["data.ownership"]}

        def list_once(client: stripe.StripeClient, version: str | None) -> Any:
            # No retries here: on failure `read` follows, and needs the remaining time.
            options: Any = {**_options(ref, version=version), "max_network_retries": 0}
            return client.v1.financial_connections.accounts.list(params, options)

        try:
            page = self.read_call(list_once, bucket=LIST, acquired=True)
        except (StripeError, AccountNotFoundError):
            return None
        found = next((account for account in page.to_dict()["data"] if account["id"] == ref.account), None)
        return None if found is None else _reading(found, listed=True)

    def refresh(
        self, ref: AccountRef, idempotency_key: str, *, in_doubt: bool = False, still_wanted: Callable[[], bool] = lambda: True
    ) -> RefreshAnswer:
        """Initiate a refresh, for which Stripe fetches the ownership data from the bank. It costs money if Stripe starts it.

        `in_doubt`: a request under this key was sent before and may be unanswered, so Stripe may still execute it. Its result is known only
        from an answer that Stripe stores under the key: a 200, or a replayed error. Any other error is raised as StripeUnansweredError,
        because it says nothing about that request. The same is true after an unanswered request of this call.

        `still_wanted` is called before each retry, because seconds may have passed. If it returns False, StripeUnansweredError is raised.

        Returns the account from Stripe's answer, which shows whether a refresh was started (`refresh_policy.was_started`).
        Raises the same errors as `read`.
        """
        self._http.begin(idempotency_key, still_wanted)
        try:
            account = self.call(
                lambda client: client.v1.financial_connections.accounts.refresh(
                    ref.account, {"features": ["ownership"]}, _options(ref, idempotency_key)
                ),
                bucket=REFRESH,
                acquired=True,
            )
        except (StripeError, AccountNotFoundError) as error:
            failed = self._http.failed(idempotency_key)
            in_doubt = self._http.end(idempotency_key) or in_doubt
            if isinstance(error, StripeError):
                error.after_failure = failed
            if not in_doubt or (isinstance(error, StripeError) and error.replayed):
                raise
            code, request_id = (error.code, error.request_id) if isinstance(error, StripeError) else (None, None)
            unanswered = StripeUnansweredError(
                "The result of the call is unknown, because Stripe did not answer it.",
                code=code,
                request_id=request_id,
            )
            unanswered.after_failure = failed
            raise unanswered from None
        finally:
            self._http.end(idempotency_key)
        replayed = account.last_response is not None and _is_replayed(account.last_response.headers)
        return RefreshAnswer(AccountState.from_stripe(account.to_dict()), replayed)

    def disconnect(self, ref: AccountRef) -> None:
        """Disconnect the account, which can't be undone. Raises the same errors as `read`."""
        # No retries here: a caller may wait for the answer, and `reconcile` retries later.
        options: Any = {**_options(ref), "max_network_retries": 0}
        self.call(lambda client: client.v1.financial_connections.accounts.disconnect(ref.account, {}, options))

    def owners(self, ref: AccountRef, ownership: Ownership) -> list[dict[str, Any]]:
        """All owners of the snapshot; the first page is not read again. Each has id, name, email, phone, raw_address, refreshed_at.

        Raises TooManyOwnersError if there are more than a snapshot may have, or more than `MOST_OWNERS_PAGES` pages of them, and the same
        errors as `read`.
        """
        owners = [_owner(owner) for owner in ownership.first_owners]
        more, pages = ownership.has_more, 0
        while more and snapshots.fit(owners):
            if pages == MOST_OWNERS_PAGES:
                raise TooManyOwnersError(len(owners))
            pages += 1
            params: dict[str, Any] = {"ownership": ownership.id, "limit": OWNERS_PAGE}
            if owners:
                params["starting_after"] = owners[-1]["id"]
            page = self.call(
                lambda client, params=params: client.v1.financial_connections.accounts.owners.list(  # type: ignore[misc]
                    ref.account, params, _options(ref)
                ),
                bucket=OWNERS,
            ).to_dict()
            owners += [_owner(owner) for owner in page["data"]]
            more = bool(page["has_more"]) and bool(page["data"])
        if not snapshots.fit(owners):
            raise TooManyOwnersError(len(owners))
        return owners

    def undelivered(
        self, stripe_account: str | None, types: Sequence[str], since: int, after: str | None
    ) -> tuple[list[dict[str, Any]], bool]:
        """One page of events that Stripe could not deliver, the newest first, and whether there are more. Reaches 30 days back.

        `since`: Unix seconds. `after`: the last event of the page before. Raises the same errors as `read`.

        Calls for a connected account are not retried, because one that does not answer must not take the time of the others.
        """
        params: dict[str, Any] = {"types": list(types), "delivery_success": False, "created": {"gte": since}, "limit": EVENTS_PAGE}
        if after is not None:
            params["starting_after"] = after
        options: Any = {"stripe_account": stripe_account, "max_network_retries": 0} if stripe_account else {}
        page = self.call(lambda client: client.v1.events.list(params, options), bucket=EVENTS).to_dict()  # type: ignore[arg-type]
        return list(page["data"]), bool(page["has_more"])

    def thin_events(
        self, stripe_account: str | None, types: Sequence[str], created: tuple[int, int], page: str | None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """One page of thin events, delivered or not, and the URL of the next one. Reaches 30 days back.

        `created`: from and until when they were made (Unix seconds). `page`: the URL of the page. Raises and retries as in `undelivered`.
        """
        options: Any = {"stripe_account": stripe_account, "max_network_retries": 0} if stripe_account else {}

        def listed(created: Mapping[str, Any]) -> dict[str, Any]:
            params: Any = {"types": list(types), "created": created, "limit": EVENTS_PAGE}
            if page is not None:
                params = dict(parse_qsl(urlsplit(page).query))
            answer: dict[str, Any] = self.call(lambda client: client.v2.core.events.list(params, options), bucket=EVENTS).to_dict()
            return answer

        since, until = created
        try:
            answer = listed({"gte": since, "lte": until})
        except StripeRefusedError:
            if page is not None:
                raise
            # Stripe's API description has integers here, but the types of its SDKs have ISO 8601 text.
            answer = listed({"gte": iso_seconds(since), "lte": iso_seconds(until)})
        return list(answer["data"]), answer.get("next_page_url")

    def thin_event(self, id: str, stripe_account: str | None) -> dict[str, Any]:
        """A thin event with its data, which a delivery lacks. Raises AccountNotFoundError if Stripe has no such event; else as `read`."""
        options: Any = {"stripe_account": stripe_account} if stripe_account else {}
        found: dict[str, Any] = self.call(lambda client: client.v2.core.events.retrieve(id, {}, options), bucket=EVENTS).to_dict()
        return found

    def account_of_calls(self, context: str | None = None) -> str:
        """The id of the account that calls are about: the key's own, or the one that a context names. Raises the same errors as `read`."""
        options: Any = {"stripe_context": context} if context else {}
        return str(self.call(lambda client: client.v1.accounts.retrieve_current({}, options)).id)

    def call(
        self,
        call: Callable[[stripe.StripeClient], T],
        missing: type[TitleholderError] = AccountNotFoundError,
        *,
        bucket: str = OTHER,
        acquired: bool = False,
    ) -> T:
        """Call with each key in turn until one is accepted, then with reloaded keys. `missing` is the error for a 404.

        `bucket`: the operation's bucket of the rate limiter. `acquired`: its slot has been taken already.
        """
        if not acquired:
            self._limiter.acquire(bucket)
        tried: set[str] = set()
        for load in (self._keys.api_keys, self._keys.reload_api_keys):
            for key in load():
                if key in tried:
                    continue
                tried.add(key)
                client = self._client(key)
                metrics.add_metric(name="StripeCalls", unit=MetricUnit.Count, value=1)
                try:
                    return call(client)
                except stripe.AuthenticationError as error:
                    refused = error
                except stripe.StripeError as error:
                    if isinstance(error, stripe.RateLimitError) and getattr(error.error, "code", None) != "lock_timeout":
                        self._limiter.on_throttled(bucket)
                    _log_failure(error, bucket)
                    raise _translated(error, missing, self._http.denied) from None
        if not tried:
            raise ConfigurationError("No Stripe API key is configured: store one in the secret that StripeApiKeySecretName names.")
        _log_failure(refused, bucket)
        raise _translated(refused, missing) from None

    def make(
        self,
        call: Callable[[stripe.StripeClient, str | None], T],
        key: str | None,
        missing: type[TitleholderError] = AccountNotFoundError,
    ) -> T:
        """As `call`, for a call that makes something free, such as a customer or a session. It is given the idempotency key to send.

        Stripe replays a 5xx for its key for a day. So if a repetition of the caller's request gets a replayed 5xx, it continues with the
        next of the keys that are derived from `key`. If Stripe made the object in spite of its 5xx, there are then two. Never use this for
        anything that costs money.
        """
        if key is None:
            return self.call(lambda client: call(client, None), missing)
        for number in range(1, MOST_STRIPE_KEYS + 1):
            tried = key if number == 1 else f"{key}-{number}"
            self._http.begin_once(tried)
            try:
                return self.call(lambda client, tried=tried: call(client, tried), missing)  # type: ignore[misc]
            except StripeServerError as error:
                executed = self._http.end_once(tried)
                if executed or not error.replayed:
                    raise
                last = error
            finally:
                self._http.end_once(tried)
        raise StripeServerError(
            "Stripe answered 5xx to each repetition of this request. Send it with a new Idempotency-Key.",
            code=last.code, request_id=last.request_id, replayed=True,
        )  # fmt: skip

    def read_call(
        self,
        call: Callable[[stripe.StripeClient, str | None], T],
        missing: type[TitleholderError] = AccountNotFoundError,
        *,
        bucket: str = OTHER,
        acquired: bool = False,
    ) -> T:
        """As `call`, for a read of accounts or of a Financial Connections Session. It is given the preview version to send, if any.

        If Stripe refuses the call with that version and accepts it without, this process stops using the version. So if Stripe withdraws a
        version, only relinking stops.
        """
        version = None if self._preview.refused else self._preview.configured
        if version is None:
            return self.call(lambda client: call(client, None), missing, bucket=bucket, acquired=acquired)
        try:
            return self.call(lambda client: call(client, version), missing, bucket=bucket, acquired=acquired)
        except StripeRefusedError as error:
            if error.code == RESOURCE_MISSING:
                raise
        # Like the SDK's retries, this call takes no slot of its own. It happens once in a process.
        answer = self.call(lambda client: call(client, None), missing, bucket=bucket, acquired=True)
        self._preview.refused = True
        count_alone("StripePreviewRefused", "Stripe refuses the version that StripePreviewVersion names", version=version)
        return answer

    def _client(self, key: str) -> stripe.StripeClient:
        if key not in self._clients:
            check_key(key, self._mode)
            self._clients[key] = stripe.StripeClient(
                key,
                stripe_version=API_VERSION,
                max_network_retries=NETWORK_RETRIES,
                http_client=self._http,
                base_addresses={"api": self._api_base} if self._api_base else None,
            )
        return self._clients[key]


def check_key(key: str, mode: Mode) -> None:
    """Raises ConfigurationError if the API key's prefix shows that it is of the other mode, or an organization's."""
    if key.startswith("sk_org_"):
        raise ConfigurationError(
            "The Stripe API key is an organization's, which works only in the context of one of its accounts. Store a restricted key of "
            "the account itself in the secret that StripeApiKeySecretName names."
        )
    for theirs in ("test", "live"):
        if key.startswith((f"sk_{theirs}_", f"rk_{theirs}_")) and theirs != mode:
            raise ConfigurationError(
                f"The Stripe API key is a {theirs}-mode key, but the stack's StripeMode is {mode}. "
                "Store a key of that mode in the secret that StripeApiKeySecretName names, or deploy with the other StripeMode."
            )


def _options(ref: AccountRef, idempotency_key: str | None = None, *, version: str | None = None) -> Any:
    options = {"stripe_account": ref.stripe_account, "idempotency_key": idempotency_key, "stripe_version": version}
    return {name: value for name, value in options.items() if value is not None}


def _owner(owner: Any) -> dict[str, Any]:
    """An owner with its known fields. A value without its documented type counts as missing, because later code relies on types."""
    known: Mapping[str, Any] = owner if isinstance(owner, Mapping) else {}
    refreshed_at = known.get("refreshed_at")
    texts = {name: _text(known.get(name)) for name in _OWNER_TEXTS}
    return {**texts, "refreshed_at": refreshed_at if isinstance(refreshed_at, int) else None}


def _text(value: Any) -> str | None:
    """A text that can be stored. JSON may contain half a surrogate pair, which has no encoding."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


def _reading(account: Mapping[str, Any], *, listed: bool = False) -> AccountReading:
    expanded = account.get("ownership")
    ownership = None
    if isinstance(expanded, Mapping):
        owners = expanded.get("owners")
        # Without a usable first page, the list is read from its beginning.
        page: Mapping[str, Any] = {"data": [], "has_more": True}
        if isinstance(owners, Mapping) and isinstance(owners.get("data"), list):
            page = owners
        ownership = Ownership(
            id=expanded["id"], created=int(expanded["created"]), first_owners=page["data"], has_more=bool(page.get("has_more"))
        )
    return AccountReading(
        state=AccountState.from_stripe(account),
        ownership=ownership,
        listed=listed,
        payment=PaymentSupport.from_stripe(account),
    )


def _is_replayed(headers: Mapping[str, str]) -> bool:
    """Whether Stripe repeated an earlier answer, because of the call's idempotency key."""
    return headers.get("Idempotent-Replayed") == "true"


def _permission(method: str, path: str) -> str:
    """The permission that a restricted key needs for a request, in words."""
    resource = next((name for beginning, name in _RESOURCES if path.startswith(beginning)), None)
    if resource is None:
        return "the permission for it"
    # Financial Connections has one permission, because the same key refreshes what it reads.
    access = "read" if method.lower() == "get" and resource != FINANCIAL_CONNECTIONS else "write"
    return f"{access} access to {resource}"


def _code(error: stripe.StripeError) -> str | None:
    return getattr(error.error, "code", None) if error.error is not None else error.code


def _log_failure(error: stripe.StripeError, operation: str) -> None:
    """Log a failed call, without Stripe's message, which may quote the request. An object that Stripe does not know is not a failure."""
    status = error.http_status
    told = {"operation": operation, "stripe_status": status, "stripe_code": _code(error), "stripe_request": error.request_id}
    (logger.info if status == NOT_FOUND else logger.warning)("call to Stripe failed", extra=told)
    if status != NOT_FOUND:
        metrics.add_metric(name="StripeCallFailed", unit=MetricUnit.Count, value=1)


def _translated(error: stripe.StripeError, missing: type[TitleholderError], denied: str = "") -> Exception:
    """Our error for one of the SDK's. Its message is our own, because Stripe's may quote the request.

    `denied`: with 403, the permission that the request needs.
    """
    code = _code(error)
    request_id = error.request_id
    if isinstance(error, stripe.IdempotencyError):
        code = code or "idempotency_error"
    replayed = _is_replayed(error.headers or {})
    known: dict[str, Any] = {"code": code, "request_id": request_id, "replayed": replayed}
    match error.http_status:
        case None:
            return StripeUnansweredError("Stripe did not answer in time.", **known)
        case status if status < 400:
            return StripeUnansweredError("Stripe's answer could not be read.", **known)
        case status if status == NOT_FOUND:
            noun = _NOUNS.get(missing, "account")
            return missing(
                f"Stripe knows no such {noun} in this mode and under this connected account. Check the id and the header Stripe-Account."
            )
        case 401:
            return StripeCredentialsError(
                "Stripe refused the API key. Store a valid one in the secret that StripeApiKeySecretName names.", **known
            )
        case 403:
            live = ", and in live mode complete the Financial Connections registration in Stripe's Dashboard"
            return StripeCredentialsError(
                "The API key lacks the permission for this call. Give the key "
                f"{denied or 'the permission for it'}{live if FINANCIAL_CONNECTIONS in denied else ''}.",
                **known,
            )
        case 429:
            return StripeRateLimitedError("Stripe limited the rate of calls (429).", **known)
        case status if status == BUSY:
            return StripeUnansweredError("Stripe is still busy with the same call.", **known)
        case status if status >= 500:
            return StripeServerError(f"Stripe answered {status}.", **known)
        case status:
            return StripeRefusedError(
                f"Stripe refused the call ({status}, {code or 'no code'}). The same request would be refused again.",
                **known,
            )
