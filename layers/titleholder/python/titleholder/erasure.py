"""Erasing an account: all that is held of the people behind it goes, verdicts stay as ids, dates and outcomes.

Disconnected is for good at Stripe, so it is for good here. The order makes it safe to die anywhere: in one transaction the account is
marked as erased and its data key destroyed, after which nothing of it can be read, in backups neither, nor anything written; then what is
left is tidied up, which whoever comes next does again (the caller, Stripe's event, or `reconcile`, which finds the mark).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from titleholder import staleness, verdicts
from titleholder.accounts import AccountRef
from titleholder.errors import AccountNotFoundError, StripeRefusedError
from titleholder.refresh import DEAD

if TYPE_CHECKING:
    from titleholder.ownership import World

REASON = DEAD["disconnected"]
OUTCOME = {"outcome": "not_verifiable", "reason": REASON}


def disconnect(world: World, ref: AccountRef) -> float:
    """Disconnect the account at Stripe and erase it; returns when it was erased (Unix seconds). Repeating this changes nothing.

    Stripe comes first: who dies after that is followed by Stripe's own event, while a connected account that was erased would be news to
    nobody.

    Raises:
        AccountNotFoundError: Stripe knows no such account, and nothing is held of it.
        StripeError: Stripe could not be asked; nothing was erased.
    """
    stored = world.store.get_account(ref)
    if stored.erased_at is None:
        try:
            world.stripe.disconnect(ref)
        except AccountNotFoundError:
            if stored.state is None and not world.store.has_key(ref):
                raise
        except StripeRefusedError:
            # Stripe does not say how it answers for an account that is disconnected already.
            if world.stripe.read(ref).state.status != "disconnected":
                raise
    erase(world, ref)
    return world.store.get_account(ref).erased_at or world.clock()


def erase(world: World, ref: AccountRef) -> None:
    """Erase what is held of an account. Does nothing where that has been done to its end, else does all of it again."""
    store, now = world.store, world.clock()
    stored = store.get_account(ref)
    if stored.erasure_ended:
        return
    if stored.erased_at is None:
        store.begin_erasure(ref, now)
    store.delete_sealed(ref)
    for verification in store.verifications_of(ref):
        if store.get_verification(verification).verdict is None:
            verdicts.complete(store, world.bus, verification, OUTCOME, now=now)
        else:
            staleness.mark_one(store, world.bus, ref, verification, REASON, now)
    for waiter in store.waiters(ref):
        world.workflow.wake(waiter.task_token, OUTCOME)
        store.remove_waiter(ref, waiter.verification, waiter.turn)
    store.end_erasure(ref, world.clock())
