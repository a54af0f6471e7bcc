"""Events, endpoints and signed deliveries, with retries and with faults on demand."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import heapq
import hmac
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import urlsplit

from local.stripe_simulator.options import Options
from local.stripe_simulator.timeline import Scope, Timeline
from local.stripe_simulator.wire import ApiError, Json, to_bytes

State = Literal["pending", "succeeded", "failed"]
EndpointScope = Literal["platform", "connected", "organization"]
GENERATION_FAILURE = "v2.core.health.event_generation_failure.resolved"


@dataclass
class Endpoint:
    """A webhook endpoint. Each of several `secrets` adds a signature, as while a secret is rolled. livemode None takes both modes.

    scope "organization" takes the events of every account of the organization, each with its `context`: `org_.../acct_...`, or with
    `through_platform` the path `org_.../<platform>/acct_...` for a connected account.
    """

    id: str
    url: str
    secrets: tuple[str, ...]
    scope: EndpointScope = "platform"
    payload: Literal["snapshot", "thin"] = "snapshot"
    types: tuple[str, ...] = ("*",)
    livemode: bool | None = None
    enabled: bool = True
    through_platform: bool = False

    def wants(self, event: Event, foreign: bool) -> bool:
        """Whether it takes an event. `foreign`: the event is of an account of the organization that is not connected to the platform."""
        return (
            self.enabled
            and (self.scope == "organization" or (not foreign and (self.scope == "connected") == (event.scope.stripe_account is not None)))
            and self.payload == event.payload
            and self.livemode in (None, event.scope.livemode)
            and ("*" in self.types or event.type in self.types)
        )


@dataclass
class Event:
    """A snapshot or a thin event. `state`: its delivery to each endpoint that takes it. `fetched`: what only the API shows of it."""

    id: str
    type: str
    scope: Scope
    created: float
    payload: Literal["snapshot", "thin"]
    account: str | None
    fields: Json
    state: dict[str, State] = field(default_factory=dict)
    fetched: Json = field(default_factory=dict)

    @property
    def delivered(self) -> bool:
        return all(state == "succeeded" for state in self.state.values())

    def render(self) -> Json:
        if self.payload == "thin":
            return copy.deepcopy(self.fields)
        pending = sum(state == "pending" for state in self.state.values())
        return copy.deepcopy(self.fields) | {"pending_webhooks": pending}


@dataclass
class Delivery:
    """A pending delivery of an event to an endpoint. `due` is in Unix seconds."""

    event: Event
    endpoint: Endpoint
    due: float
    attempt: int = 1


@dataclass(frozen=True)
class Outgoing:
    """A delivery to make now: POST `body` with `headers` to `url`, then report the status to `Simulator.delivered`."""

    event_id: str
    type: str
    endpoint: str
    url: str
    headers: dict[str, str]
    body: bytes
    attempt: int
    delivery: Delivery = field(repr=False, compare=False)


@dataclass
class WebhookFault:
    """What happens to deliveries that match. docs/reference/simulator.md is written from this text.

    kind: what happens. `duplicate`: each delivery is repeated `copies` times, `seconds` apart. `delay`: sent `seconds` later. `drop`: never
        sent, and counted as failed. `reorder`: held back until another event has gone to the same endpoint, for `seconds` at most. `twin`:
        a second event is made about the same change. `ungenerated`: no event is made or listed. Instead,
        `v2.core.health.event_generation_failure.resolved` is sent.
    type: only events of this type.
    account: only events of this account.
    times: to how many events the fault applies. null: to all.
    seconds: the time for `duplicate`, `delay` and `reorder`. null: 5 for `reorder`, 0 for the others.
    copies: how many more deliveries `duplicate` sends.
    """

    kind: Literal["duplicate", "delay", "drop", "reorder", "twin", "ungenerated"]
    type: str | None = None
    account: str | None = None
    times: int | None = 1
    seconds: float | None = None
    copies: int = 1

    def takes(self, event: Event) -> bool:
        if self.times == 0 or self.type not in (None, event.type) or self.account not in (None, event.account):
            return False
        if self.times is not None:
            self.times -= 1
        return True


def check_address(url: str) -> None:
    """Raises ValueError for an address to which no webhook can be sent."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("not an address that begins with http:// or https://, with a valid host and port")


def iso(at: float) -> str:
    """A time as API v2 writes it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _reference(obj: Json) -> Json:
    """A thin event's reference to the object that it is about."""
    return {"id": obj["id"], "type": obj["object"], "url": f"/v1/{obj['object'].replace('.', '/')}s/{obj['id']}"}


def sign(body: bytes, secrets: Iterable[str], timestamp: int) -> str:
    """The Stripe-Signature header: one v1 for each secret (docs.stripe.com/webhooks)."""
    message = f"{timestamp}.".encode() + body
    digests = (hmac.new(secret.encode(), message, hashlib.sha256).hexdigest() for secret in secrets)
    return ",".join([f"t={timestamp}", *(f"v1={digest}" for digest in digests)])


class Webhooks:
    """All events and deliveries."""

    def __init__(self, timeline: Timeline, options: Options) -> None:
        self._timeline = timeline
        self._options = options
        self._queue: list[tuple[float, int, Delivery]] = []
        self._order = itertools.count()
        self._held: dict[str, list[Delivery]] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self.faults: list[WebhookFault] = []
        self.events: dict[Scope, dict[str, Event]] = {}
        self.thin_events: dict[Scope, dict[str, Event]] = {}
        self.log: list[Json] = []

    @property
    def own_account(self) -> str:
        """The account of every key."""
        return self._options.own_account

    def seconds(self, text: str, param: str) -> float:
        """A time in a parameter of API v2, written as `Options.thin_created` says. Raises ApiError 400."""
        if self._options.thin_created == "seconds" and text.isascii() and text.isdigit():
            return float(text)
        if self._options.thin_created == "text" and not text.isdigit():
            with contextlib.suppress(ValueError):
                return datetime.fromisoformat(text).timestamp()
        raise ApiError(400, f"Invalid timestamp: {text[:40]}", code="invalid_fields", param=param)

    def clear(self) -> None:
        for store in (self._queue, self._held, self.faults, self.events, self.thin_events, self.log):
            store.clear()

    def emit(
        self, scope: Scope, type: str, obj: Json, *, request: Mapping[str, str | None] | None, lost: bool, thin_types: tuple[str, ...] = ()
    ) -> None:
        """Make the snapshot event and its thin events, and send each to the endpoints that take it. `lost`: no delivery arrives."""
        if any(fault.kind == "ungenerated" and fault.takes(self._probe(scope, type, obj)) for fault in self.faults):
            self._dispatch(self._generation_failure(scope, type, obj), lost)
            return
        twins = sum(fault.kind == "twin" and fault.takes(self._probe(scope, type, obj)) for fault in self.faults)
        for _ in range(1 + twins):
            snapshot = self._snapshot(scope, type, obj, request)
            self._dispatch(snapshot, lost)
            for thin_type in (f"v1.{type}", *thin_types):
                self._dispatch(self._thin(scope, thin_type, obj, request, snapshot.id), lost)

    def _probe(self, scope: Scope, type: str, obj: Json) -> Event:
        return Event("", type, scope, 0, "snapshot", obj["id"], {})

    def _snapshot(self, scope: Scope, type: str, obj: Json, request: Mapping[str, str | None] | None) -> Event:
        now = self._timeline.now()
        fields: Json = {
            "id": self._timeline.new_id("evt"),
            "object": "event",
            "api_version": self._options.api_version,
            "created": int(now),
            "data": {"object": copy.deepcopy(obj)},
            "livemode": scope.livemode,
            "request": dict(request or {"id": None, "idempotency_key": None}),
            "type": type,
        }
        if scope.stripe_account:
            fields["account"] = scope.stripe_account
        event = Event(fields["id"], type, scope, now, "snapshot", obj["id"], fields)
        self.events.setdefault(scope, {})[event.id] = event
        return event

    def _thin(self, scope: Scope, type: str, obj: Json, request: Mapping[str, str | None] | None, snapshot_event: str) -> Event:
        reason = {"type": "request", "request": dict(request)} if request and None not in request.values() else None
        related = {"related_object": _reference(obj), "reason": reason, "snapshot_event": snapshot_event}
        return self._thin_event(scope, type, obj["id"], related)

    def _thin_event(self, scope: Scope, type: str, account: str | None, more: Json) -> Event:
        now = self._timeline.now()
        fields: Json = {
            "id": self._timeline.new_id("evt" if scope.livemode else "evt_test", 32),
            "object": "v2.core.event",
            "type": type,
            "created": iso(now),
            "livemode": scope.livemode,
            "context": scope.stripe_account,
            **more,
        }
        return Event(fields["id"], type, scope, now, "thin", account, fields, fetched={"changes": None})

    def _generation_failure(self, scope: Scope, type: str, obj: Json) -> Event:
        """The thin event with which Stripe reports that it could not make another event. Only its `data` says what that event was about."""
        event = self._thin_event(scope, GENERATION_FAILURE, None, {"related_object": None, "reason": None})
        reference = _reference(obj)
        event.fetched["data"] = {
            "alert_id": self._timeline.new_id("halert"),
            "grouping_key": self._timeline.new_id("_grouping"),
            "impact": {
                "context": scope.stripe_account, "event_type": type, "related_object_id": obj["id"], "related_object": reference,
            },
            "resolved_at": event.fields["created"],
            "summary": "We have failed to create a notification for your Stripe account.",
        }  # fmt: skip
        return event

    def emit_thin(
        self, scope: Scope, type: str, related_object: Json | None, *, changes: Json | None = None, snapshot_event: str | None = None
    ) -> str:
        """Send a thin event of any type and shape, such as one without a related object. Returns its id."""
        about = (related_object or {}).get("id")
        more: Json = {"related_object": related_object, "reason": None}
        more |= {"snapshot_event": snapshot_event} if snapshot_event else {}
        event = self._thin_event(scope, type, about, more | ({"changes": changes} if changes else {}))
        event.fetched["changes"] = changes
        self._dispatch(event, lost=False)
        return event.id

    def _dispatch(self, event: Event, lost: bool) -> None:
        wanted_by = [endpoint for endpoint in self.endpoints.values() if self._wants(endpoint, event)]
        if event.payload == "thin" and (wanted_by or self._options.list_all_thin_events):
            self.thin_events.setdefault(event.scope, {})[event.id] = event
        if not wanted_by:
            return
        faults = [fault for fault in self.faults if fault.kind != "twin" and fault.takes(event)]
        for endpoint in wanted_by:
            if lost or any(fault.kind == "drop" for fault in faults):
                event.state[endpoint.id] = "failed"
                self._record(event, endpoint, 0, None, "dropped")
                continue
            event.state[endpoint.id] = "pending"
            self._send(event, endpoint, faults)

    def _wants(self, endpoint: Endpoint, event: Event) -> bool:
        return endpoint.wants(event, event.scope.stripe_account in self._options.foreign)

    def _rendered(self, event: Event, endpoint: Endpoint) -> Json:
        """The event as one endpoint gets it: an organization's with the path to its account."""
        shown = event.render()
        if endpoint.scope != "organization":
            return shown
        connected = event.scope.stripe_account
        path = [self._options.organization, connected or self._options.own_account]
        if connected and endpoint.through_platform and connected not in self._options.foreign:
            path.insert(1, self._options.own_account)
        return shown | {"context": "/".join(path)}

    def _send(self, event: Event, endpoint: Endpoint, faults: list[WebhookFault]) -> None:
        due = self._timeline.now() + self._options.delivery_delay_seconds
        due += sum(fault.seconds or 0 for fault in faults if fault.kind == "delay")
        hold = max((5.0 if fault.seconds is None else fault.seconds for fault in faults if fault.kind == "reorder"), default=None)
        if hold is None:
            self._release_held(endpoint, due)
            self._put(Delivery(event, endpoint, due))
        else:
            held = Delivery(event, endpoint, due + hold)
            self._held.setdefault(endpoint.id, []).append(held)
            self._put(held)
        for fault in faults:
            if fault.kind == "duplicate":
                for number in range(1, fault.copies + 1):
                    self._put(Delivery(event, endpoint, due + number * (fault.seconds or 0)))

    def _put(self, delivery: Delivery) -> None:
        heapq.heappush(self._queue, (delivery.due, next(self._order), delivery))

    def _release_held(self, endpoint: Endpoint, due: float) -> None:
        for delivery in self._held.pop(endpoint.id, []):
            if delivery.due > due:
                # Slightly later, so that it follows the delivery that overtook it. The old queue entry is skipped.
                delivery.due = due + 0.001
                self._put(delivery)

    def next_due(self) -> float | None:
        self._skip_stale()
        return self._queue[0][0] if self._queue else None

    def _skip_stale(self) -> None:
        while self._queue and self._queue[0][0] != self._queue[0][2].due:
            heapq.heappop(self._queue)

    def due(self) -> list[Outgoing]:
        """Take the deliveries that are due. Each is signed now, so a retry has a new timestamp."""
        now, out = self._timeline.now(), []
        while (when := self.next_due()) is not None and when <= now:
            delivery = heapq.heappop(self._queue)[2]
            event, endpoint = delivery.event, delivery.endpoint
            if not endpoint.enabled or endpoint.id not in self.endpoints:
                event.state[endpoint.id] = "failed"
                continue
            body = to_bytes(self._rendered(event, endpoint))
            headers = {
                "Content-Type": "application/json; charset=utf-8",
                "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
                "Stripe-Signature": sign(body, endpoint.secrets, int(now)),
            }
            out.append(Outgoing(event.id, event.type, endpoint.id, endpoint.url, headers, body, delivery.attempt, delivery))
        return out

    def delivered(self, outgoing: Outgoing, status: int | None) -> None:
        """Record the HTTP status of a delivery's answer, None if there was none. Without 2xx it is sent again, with growing delays."""
        delivery = outgoing.delivery
        event, endpoint = delivery.event, delivery.endpoint
        accepted = status is not None and 200 <= status < 300
        self._record(event, endpoint, delivery.attempt, status, "delivered" if accepted else "refused")
        if accepted:
            event.state[endpoint.id] = "succeeded"
        elif event.state.get(endpoint.id) != "succeeded":
            if delivery.attempt > self._options.retry_limit:
                event.state[endpoint.id] = "failed"
            else:
                wait = self._options.retry_base_seconds * 2 ** (delivery.attempt - 1)
                self._put(Delivery(event, endpoint, self._timeline.now() + wait, delivery.attempt + 1))

    def resend(self, event_id: str) -> int:
        """Send an event again to the endpoints that take it, as Stripe's dashboard can. Returns the number of deliveries."""
        sent = 0
        for store in (*self.events.values(), *self.thin_events.values()):
            if event := store.get(event_id):
                for endpoint in self.endpoints.values():
                    if self._wants(endpoint, event):
                        if event.state.get(endpoint.id) != "succeeded":
                            event.state[endpoint.id] = "pending"
                        self._put(Delivery(event, endpoint, self._timeline.now()))
                        sent += 1
        return sent

    def _record(self, event: Event, endpoint: Endpoint, attempt: int, status: int | None, result: str) -> None:
        self.log.append(
            {
                "event": event.id,
                "type": event.type,
                "account": event.account,
                "stripe_account": event.scope.stripe_account,
                "endpoint": endpoint.id,
                "attempt": attempt,
                "status": status,
                "result": result,
                "at": self._timeline.now(),
            }
        )
