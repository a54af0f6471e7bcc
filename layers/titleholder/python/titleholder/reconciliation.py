"""Finding what got lost: erasures that nobody ended, refreshes that settled unnoticed, verifications that nobody works on, events that
Stripe could not deliver.

Works in slices: each run looks at so many of the longest waiting and leaves the rest to the next. Safe to run twice, also at once.
"""

from __future__ import annotations

from collections import Counter

from titleholder import deliveries, erasure, ownership, stripe_events, verdicts
from titleholder.deliveries import Mailroom
from titleholder.errors import MalformedEventError, PaceExceededError, StripeRateLimitedError
from titleholder.ownership import World

REFRESH_PATIENCE_SECONDS = 15 * 60
"""How long a refresh may stay open before somebody looks; then again after as long."""

VERIFICATION_PATIENCE_SECONDS = 60 * 60
"""How long a verification may have no verdict before somebody looks whether its workflow still runs; then again after as long."""

EVENTS_REACH_SECONDS = 30 * 86_400
"""How far back Stripe lists events."""

ERASURE_PATIENCE_SECONDS = 5 * 60
"""How long an erasure may take before somebody takes it up."""

ERASURES_A_RUN = 100
REFRESHES_A_RUN = 100
VERIFICATIONS_A_RUN = 200
EVENT_PAGES_A_RUN = 10


def reconcile(world: World, room: Mailroom) -> Counter[str]:
    """Look at one slice of everything. Returns what was repaired, by kind: `erasure`, `refresh`, `verification`, `event`.

    Raises:
        StripeError: Stripe could not be asked; what was repaired until then stays so.
    """
    repaired: Counter[str] = Counter()
    for ref in world.store.open_erasures(world.clock() - ERASURE_PATIENCE_SECONDS, ERASURES_A_RUN):
        erasure.erase(world, ref)
        repaired["erasure"] += 1
    _verifications(world, repaired)
    try:
        _refreshes(world, repaired)
        _events(world, room, repaired)
    except (StripeRateLimitedError, PaceExceededError):
        pass  # The next run goes on.
    return repaired


def _refreshes(world: World, repaired: Counter[str]) -> None:
    for ref in world.store.open_refreshes(world.clock() - REFRESH_PATIENCE_SECONDS, REFRESHES_A_RUN):
        repaired["refresh"] += ownership.fetch(world, ref)


def _verifications(world: World, repaired: Counter[str]) -> None:
    now = world.clock()
    for id_ in world.store.open_verifications(now - VERIFICATION_PATIENCE_SECONDS, VERIFICATIONS_A_RUN):
        status = world.workflow.status(id_)
        if status is None:
            world.workflow.start(world.store.get_verification(id_))
        elif status != "RUNNING":
            # A failed execution can't be started again under its name: give the verdict that can still be given.
            verdicts.complete(world.store, world.bus, id_, {"Error": "WorkflowFailed"}, now=now)
        repaired["verification"] += status != "RUNNING"
        world.store.still_open(id_, now)


def _events(world: World, room: Mailroom, repaired: Counter[str]) -> None:
    since = int(world.clock()) - EVENTS_REACH_SECONDS
    pages = EVENT_PAGES_A_RUN
    for stripe_account in (None, *world.store.connected(room.mode)):
        what = f"{room.mode}/{stripe_account or 'platform'}"
        after, more = world.store.get_cursor(what), True
        while more and pages:
            pages -= 1
            events, more = world.stripe.undelivered(stripe_account, stripe_events.SNAPSHOT_TYPES, since, after)
            for data in events:
                try:
                    event = stripe_events.from_object(data, room.mode)
                except MalformedEventError:
                    continue
                repaired["event"] += deliveries.accept(room, event)[1] == "new"
            after = events[-1]["id"] if events and more else None
        world.store.set_cursor(what, after)
