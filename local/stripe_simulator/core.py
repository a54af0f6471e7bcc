"""The simulator: it answers API calls and does what tests ask, at the time of a given clock. It starts no thread and never sleeps."""

from __future__ import annotations

import functools
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from local.stripe_simulator import commands, relinking
from local.stripe_simulator.accounts import FEATURE_OF_PREFETCH, Account, Accounts, offered, with_overrides
from local.stripe_simulator.api import (
    Api,
    bank_options,
    check_linked,
    check_manual_entry,
    confirm,
    gives_token,
    new_customer,
    new_payment_method,
)
from local.stripe_simulator.deliveries import Endpoint, EndpointScope, Outgoing, WebhookFault, Webhooks, check_address
from local.stripe_simulator.faults import ApiFault
from local.stripe_simulator.options import Options
from local.stripe_simulator.requests import ApiRequests
from local.stripe_simulator.timeline import Scope, Timeline
from local.stripe_simulator.wire import Json, Response

Method = TypeVar("Method", bound=Callable[..., Any])

ACTIONS = ("deactivate", "reactivate", "disconnect", "prefetch", "update_account_numbers")
"""What `Simulator.change` can do to an account."""


def _locked(method: Method) -> Method:
    """Run due timers, then the method, for one caller at a time."""

    @functools.wraps(method)
    def wrapper(self: Simulator, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            self._timeline.advance()
            return method(self, *args, **kwargs)

    return wrapper  # type: ignore[return-value]


class Simulator:
    """A stateful Stripe for one test.

    clock: Unix seconds, never going back. seed: for the ids. All public methods may be called from any thread.
    """

    def __init__(self, clock: Callable[[], float], seed: int = 0, options: Options | None = None) -> None:
        self.options = options or Options()
        self._lock = threading.RLock()
        self._timeline = Timeline(clock, seed)
        self._webhooks = Webhooks(self._timeline, self.options)
        self._accounts = Accounts(self._timeline, self._webhooks, self.options)
        self._api = Api(self._timeline, self._accounts, self._webhooks, self.options)
        self._requests = ApiRequests(self._timeline, self._api, self.options)

    # --- The API ------------------------------------------------------------------------------------------------------

    @_locked
    def handle(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Response:
        """Answer one HTTP request to Stripe's API. `target` is the path with its query."""
        return self._requests.answer(method, target, headers, body)

    # --- Webhooks -----------------------------------------------------------------------------------------------------

    @_locked
    def due_deliveries(self) -> list[Outgoing]:
        """The webhook deliveries that are due, signed now. Each is returned once. The caller makes it and reports to `delivered`."""
        return self._webhooks.due()

    @_locked
    def delivered(self, delivery: Outgoing, status: int | None) -> None:
        """Report the HTTP status of a delivery's answer, None if there was none. Without 2xx it is sent again later."""
        self._webhooks.delivered(delivery, status)

    def now(self) -> float:
        """The clock, in Unix seconds."""
        return self._timeline.now()

    def next_due(self) -> float | None:
        """The Unix time of the next timer or delivery, None if there is none."""
        with self._lock:
            times = [when for when in (self._timeline.next_due(), self._webhooks.next_due()) if when is not None]
            return min(times, default=None)

    @_locked
    def add_endpoint(
        self,
        url: str,
        secret: str | Sequence[str],
        *,
        scope: EndpointScope = "platform",
        payload: Literal["snapshot", "thin"] = "snapshot",
        types: Sequence[str] = ("*",),
        livemode: bool | None = None,
        enabled: bool = True,
        through_platform: bool = False,
        id: str | None = None,
    ) -> str:
        """Configure an endpoint, or reconfigure the one with this id. Returns its id. See `deliveries.Endpoint`. Raises ValueError."""
        try:
            check_address(url)
        except ValueError as error:
            raise ValueError(f"url: {error}") from None
        endpoint_id = id or self._timeline.new_id("we")
        secrets = (secret,) if isinstance(secret, str) else tuple(secret)
        self._webhooks.endpoints[endpoint_id] = Endpoint(
            endpoint_id, url, secrets, scope, payload, tuple(types), livemode, enabled, through_platform
        )
        return endpoint_id

    @_locked
    def remove_endpoint(self, id: str) -> None:
        """Remove an endpoint and drop its pending deliveries. Raises KeyError."""
        del self._webhooks.endpoints[id]

    @_locked
    def resend(self, event: str) -> int:
        """Send an event again, as the dashboard can. Returns the number of deliveries."""
        return self._webhooks.resend(event)

    @_locked
    def send_thin(
        self,
        type: str,
        *,
        related_object: Mapping[str, Any] | None = None,
        changes: Mapping[str, Any] | None = None,
        snapshot_event: str | None = None,
        stripe_account: str | None = None,
        livemode: bool = False,
    ) -> str:
        """Send a thin event of any type, to the endpoints that take it. Returns its id."""
        scope = Scope(stripe_account, livemode)
        related = dict(related_object) if related_object is not None else None
        return self._webhooks.emit_thin(
            scope, type, related, changes=dict(changes) if changes else None, snapshot_event=snapshot_event
        )  # fmt: skip

    @_locked
    def event_ids(self, *, stripe_account: str | None = None, livemode: bool = False) -> set[str]:
        """The ids of all snapshot events of the platform, or of a connected account."""
        return set(self._webhooks.events.get(Scope(stripe_account, livemode), ()))

    def use_ids(self, ids: Mapping[str, Sequence[str]]) -> None:
        """Give new objects these ids first, by prefix and in this order, so that earlier calls can be replayed."""
        with self._lock:
            self._timeline.first_ids = {prefix: deque(each) for prefix, each in ids.items()}

    # --- What end users and banks do ----------------------------------------------------------------------------------

    @_locked
    def link(
        self,
        scenario: str,
        *,
        id: str | None = None,
        stripe_account: str | None = None,
        livemode: bool = False,
        customer: str | None = None,
        customer_account: str | None = None,
        connected_account: str | None = None,
        session: str | None = None,
        payment_method: str | None = None,
        permissions: Sequence[str] = ("balances", "ownership", "payment_method"),
        prefetch: Sequence[str] = (),
        policy: Mapping[str, Any] | None = None,
        owners: Sequence[Mapping[str, str | None]] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> Json:
        """Link an account of a scenario and return its state. At most one of customer, customer_account and connected_account holds it.

        Makes a missing customer or customer account, and the payment method if an id is given.

        Raises KeyError for an unknown scenario, ValueError for an id in use, a bad policy or several holders.
        """
        scope = Scope(stripe_account, livemode)
        if customer is not None and customer not in self._api.of(scope, "customer"):
            new_customer(self._api, scope, {}, customer)
        if customer_account is not None:
            self._api.customer_accounts.add((scope, customer_account))
        holder = _holder(customer, customer_account, connected_account)
        linked = self._accounts.link(
            scope, scenario, id=id, holder=holder, session=session, requested=permissions, prefetch=prefetch, policy=policy, owners=owners,
            details=details,
        )  # fmt: skip
        if payment_method is not None:
            new_payment_method(self._api, scope, linked.holder, linked, payment_method)
        return linked.true_state()

    @_locked
    def state(self, account: str, *, stripe_account: str | None = None, livemode: bool = False) -> Json:
        """The state of an account, with all its refreshes. Raises KeyError."""
        return self._find(account, stripe_account, livemode).true_state()

    @_locked
    def states(self) -> list[Json]:
        """The state of every account."""
        return [account.true_state() for account in self._accounts.everywhere()]

    @_locked
    def initiated_refreshes(self) -> dict[str, int]:
        """By account id, how many owners refreshes API calls have started. These cost money."""
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
        """Change an account and return its new state. Raises KeyError, ValueError.

        action: deactivate, reactivate, disconnect, prefetch (of `features`, named as in a session's prefetch), or
        update_account_numbers. New owners appear when the next refresh settles. A new outcome in the policy does not change a pending one.
        """
        found = self._find(account, stripe_account, livemode)
        commands.check_owners(owners)
        commands.check(details or {}, commands.DETAILS, "details")
        if owners is not None:
            found.owners = tuple(owners)
        if policy is not None:
            found.policy = with_overrides(found.policy, policy)
        if permissions is not None:
            found.permissions = list(permissions)
        found.details |= details or {}
        if expected_deactivation_date is not None:
            self._accounts.expire(found, expected_deactivation_date)
        self._act(found, action, features)
        return found.true_state()

    @_locked
    def deactivate(
        self,
        account: str,
        *,
        cause: str | None = None,
        action: str | None = None,
        stripe_account: str | None = None,
        livemode: bool = False,
    ) -> Json:
        """Let Stripe lose access to an account, and return its new state. Raises KeyError, ValueError.

        cause: one of `scenarios.CAUSES`. action: none if relinking does not repair it, else relink_required.
        """
        found = self._find(account, stripe_account, livemode)
        self._accounts.deactivate(found, cause, action)
        return found.true_state()

    @_locked
    def reactivate(self, account: str, *, stripe_account: str | None = None, livemode: bool = False) -> Json:
        """Give Stripe access to an inactive account again, and return its new state. Raises KeyError."""
        found = self._find(account, stripe_account, livemode)
        self._accounts.reactivate(found)
        return found.true_state()

    @_locked
    def expire(
        self,
        account: str,
        at: float,
        *,
        cause: str | None = None,
        action: str | None = None,
        stripe_account: str | None = None,
        livemode: bool = False,
    ) -> Json:
        """Let Stripe expect an active account to become inactive `at` that time (Unix seconds), when it does. Raises KeyError, ValueError.

        cause: one of `scenarios.EXPIRY_CAUSES`. action: as for `deactivate`. Returns the account's new state.
        """
        found = self._find(account, stripe_account, livemode)
        self._accounts.expire(found, at, cause, action)
        return found.true_state()

    def _act(self, account: Account, action: str | None, features: Sequence[str]) -> None:
        if action == "prefetch":
            for feature in features:
                if self._accounts.pending(account, FEATURE_OF_PREFETCH[feature]):
                    raise ValueError(f"{feature} of {account.id} is already pending")
                self._accounts.start(account, FEATURE_OF_PREFETCH[feature], "prefetch")
        elif action in ACTIONS:
            getattr(self._accounts, action)(account)
        elif action is not None:
            raise ValueError(f"action: {commands.no_such('action', action, ACTIONS)}")

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
        """Complete the linking dialogue of a session, intent or Checkout Session (by its id), as an end user does.

        accounts: what is linked, each as for `link` (scenario, id, policy, owners, details). manual: the numbers are typed in,
        and nothing is linked. Returns {"accounts": [ids], "payment_method": id or None}.

        Raises KeyError; ValueError, also for an intent that can't be paid by a bank account, for accounts that the session does not let
        be linked, and for numbers that it does not let be typed in.
        """
        for number, given in enumerate(accounts):
            commands.check(given, commands.LINKED, f"accounts[{number}]")
        scope = Scope(stripe_account, livemode)
        kinds = ("financial_connections.session", "setup_intent", "payment_intent", "checkout.session")
        kind = next((kind for kind in kinds if id in self._api.of(scope, kind)), kinds[0])
        shown = self._api.of(scope, kind)[id]
        is_session = kind == kinds[0]
        if is_session and "relink_options" in shown:
            raise ValueError(f"{id} is for relinking: use complete_relink")
        if not is_session and "us_bank_account" not in shown["payment_method_types"]:
            raise ValueError(f"{id} does not take us_bank_account")
        wanted = shown if is_session else bank_options(shown)
        holder = shown["account_holder"] if is_session else _holder(shown["customer"], shown.get("customer_account"))
        chosen: list[Json] = [] if manual else [{"scenario": "single_owner", **given} for given in accounts]
        if manual:
            check_manual_entry(shown, is_session)
        elif is_session:
            check_linked(shown, [offered(given["scenario"], given.get("details")) for given in chosen])
        linked = [
            self._accounts.link(
                scope,
                **given,
                holder=holder,
                session=id if is_session else None,
                requested=wanted.get("permissions") or ["payment_method"],
                prefetch=wanted.get("prefetch") or [],
            )
            for given in chosen
        ]
        method = None
        if is_session:
            shown["status"] = "succeeded"
            if (linked or manual) and gives_token(shown):
                # Stripe answers an object that its published document does not describe.
                shown["bank_account_token"] = self._timeline.new_id("btok")
        else:
            method = new_payment_method(self._api, scope, holder, linked[0] if linked else None)
            confirm(self._api, scope, shown, method)
        return {"accounts": [account.id for account in linked], "payment_method": method["id"] if method else None}

    @_locked
    def complete_relink(
        self,
        id: str,
        *,
        outcome: relinking.Outcome = "succeeded",
        failure_reason: str | None = None,
        account: str | Mapping[str, Any] | None = None,
        grant: Literal["union", "replace"] = "union",
        prefetch: bool = True,
        listed: bool = True,
        stripe_account: str | None = None,
        livemode: bool = False,
    ) -> Json:
        """Complete the dialogue of a session for relinking, as an end user does. Returns {"accounts": [ids]}.

        outcome: succeeded, failed (`failure_reason`: no_account, no_authorization or other) or cancelled. account: which one the end user
        chooses instead of the one to be relinked, an id of the authorization's accounts, or one to be linked to it (an id, or arguments as
        for `link`). With the outcome failed and an account, another one was linked than the one to be relinked.

        What Stripe does not document: `grant` says whether an account that was linked before has its old permissions and those of the
        session, or those of the session alone; `prefetch` whether the session's prefetch takes effect on it; `listed` whether lists by the
        session contain it.

        Raises KeyError; ValueError for a session that is not for relinking, or has ended.
        """
        scope = Scope(stripe_account, livemode)
        chosen = relinking.complete(
            self._api,
            scope,
            id,
            outcome=outcome,
            failure_reason=failure_reason,
            account=account,
            grant=grant,
            prefetch=prefetch,
            listed=listed,
        )
        return {"accounts": chosen}

    @_locked
    def add_customer_account(self, id: str, *, stripe_account: str | None = None, livemode: bool = False) -> None:
        """Let an account of Accounts v2 have the customer configuration, so that it is known as a `customer_account`."""
        self._api.customer_accounts.add((Scope(stripe_account, livemode), id))

    @_locked
    def delete_customer(self, id: str, *, stripe_account: str | None = None, livemode: bool = False) -> None:
        """Delete a customer, as Stripe's dashboard can. Raises KeyError."""
        customers = self._api.of(Scope(stripe_account, livemode), "customer")
        customers[id] = {"id": customers[id]["id"], "object": "customer", "deleted": True}

    # --- Faults and logs ----------------------------------------------------------------------------------------------

    @_locked
    def fail_api(self, kind: str, **matching: Any) -> None:
        """Let API calls fail, see `faults.ApiFault`. Raises ValueError."""
        self._requests.faults.append(_rule(ApiFault, kind, matching))

    @_locked
    def fail_webhooks(self, kind: str, **matching: Any) -> None:
        """Let deliveries fail, see `deliveries.WebhookFault`. Raises ValueError."""
        self._webhooks.faults.append(_rule(WebhookFault, kind, matching))

    @_locked
    def awaits(self, idempotency_key: str) -> bool:
        """Whether a call with this key has arrived and is executed later."""
        return self._requests.keys.holds(idempotency_key)

    @_locked
    def configure(self, **settings: Any) -> Json:
        """Change `options` and return all of them except keys. Raises ValueError for an unknown one, or one of another type."""
        commands.check(settings, commands.hints(Options))
        for name, value in settings.items():
            setattr(self.options, name, value)
        return {name: value for name, value in vars(self.options).items() if name not in ("api_keys", "denied")}

    @_locked
    def clear_faults(self) -> None:
        self._requests.faults.clear()
        self._webhooks.faults.clear()

    @_locked
    def requests(self) -> list[Json]:
        """Every API call so far, without bodies: method, path (template), operation, account, stripe_account, livemode,
        idempotency_key, request_id, status (0: never answered), action, replayed, at."""
        return [dict(entry) for entry in self._requests.log]

    @_locked
    def request_counts(self) -> Json:
        """{"operations": {name: n}, "accounts": {id: {name: n}}, "statuses": {status: n}, "peaks": {name: calls within one second}}."""
        accounts: dict[str, Counter[str]] = {}
        for entry in self._requests.log:
            if entry["account"]:
                accounts.setdefault(entry["account"], Counter())[entry["operation"]] += 1
        return {
            "operations": dict(Counter(entry["operation"] for entry in self._requests.log)),
            "accounts": {account: dict(counts) for account, counts in accounts.items()},
            "statuses": dict(Counter(str(entry["status"]) for entry in self._requests.log)),
            "peaks": dict(self._requests.meter.peaks),
        }

    @_locked
    def deliveries(self) -> list[Json]:
        """Every delivery, refused and dropped ones too: event, type, account, stripe_account, endpoint, attempt, status, result, at."""
        return [dict(entry) for entry in self._webhooks.log]

    @_locked
    def reset(self, *, endpoints: bool = False) -> None:
        """Remove everything except the options and, unless `endpoints` is true, the endpoints."""
        for store in (self._timeline, self._webhooks, self._accounts, self._api, self._requests):
            store.clear()
        if endpoints:
            self._webhooks.endpoints.clear()


def _holder(customer: str | None, customer_account: str | None, connected_account: str | None = None) -> Json | None:
    named = {"customer": customer, "customer_account": customer_account, "account": connected_account}
    given = {name: id for name, id in named.items() if id is not None}
    if len(given) > 1:
        raise ValueError("at most one of customer, customer_account and connected_account")
    return {"type": "account" if connected_account else "customer", **given} if given else None


Rule = TypeVar("Rule", ApiFault, WebhookFault)


def _rule(rule: type[Rule], kind: str, matching: Mapping[str, Any]) -> Rule:
    commands.check({"kind": kind, **matching}, commands.hints(rule))
    return rule(kind=kind, **matching)  # type: ignore[arg-type]
