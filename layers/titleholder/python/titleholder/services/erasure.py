"""Erases an account: its claims and owners are removed. Its verdicts stay, as ids, dates and outcomes.

An erasure is final, because a disconnection at Stripe is. The local erasure comes first, because it must not depend on Stripe: one
transaction marks the account as erased and deletes its data key. From then on none of its data can be read, not even from backups, and
none can be written. After that the remaining items are deleted. If a crash interrupts this, it is repeated by the next caller, by Stripe's
event, or by `reconcile`, which finds the mark.

The mark also says that the account has yet to be disconnected at Stripe. This is tried at once. If it fails, `reconcile` tries again until
it succeeds or has failed for 30 days.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from titleholder.domain.accounts import AccountRef, StoredAccount
from titleholder.domain.refresh_policy import ERASED
from titleholder.errors import AccountNotFoundError, RateLimitExceededError, StripeRefusedError, TitleholderError, UnexpectedError
from titleholder.observability import logger, metrics
from titleholder.services import verdicts
from titleholder.services.audit import RECONCILE, STRIPE, By

if TYPE_CHECKING:
    from titleholder.domain.reviews import Review
    from titleholder.services.context import Dependencies

OUTCOME = {"outcome": "not_verifiable", "reason": ERASED}

FIRST_PAUSE_SECONDS = 60.0
"""How soon a failed disconnection is first tried again. Each further pause is twice as long."""

LONGEST_PAUSE_SECONDS = 6 * 3600.0
GIVE_UP_SECONDS = 30 * 86_400.0
"""How long after the erasure `reconcile` tries to disconnect an account before it leaves this to the operator."""

DISCONNECTIONS_A_RUN = 100


@dataclass(frozen=True, slots=True)
class Erased:
    """When an account was erased (Unix seconds), and whether Stripe has disconnected it."""

    at: float
    disconnected: bool


def disconnect(deps: Dependencies, ref: AccountRef, by: By) -> Erased:
    """Erase an account and disconnect it at Stripe. Repeating this only tries a failed disconnection again.

    Raises:
        AccountNotFoundError: Stripe knows no such account, and nothing is stored about it.
        AuditUnavailableError: it could not be recorded, and nothing was erased.
    """
    stored = deps.store.accounts.get(ref)
    with deps.audit.effect(by, "account.erased", ref) as entry:
        # None: not tried yet.
        done: bool | None = None
        if stored == StoredAccount() and not deps.store.erasures.has_key(ref):
            # Nothing is stored about the account, so only Stripe knows whether it exists.
            done = _try(deps, ref, held=False)
        _erase(deps, ref, by, pending=not done)
        stored = deps.store.accounts.get(ref)
        if not stored.disconnect_pending:
            done = True
        else:
            done = _try(deps, ref) if done is None else done
            if done:
                deps.store.erasures.end_disconnection(ref, deps.clock())
        entry.note(disconnected="yes" if done else "no")
    return Erased(stored.erased_at or deps.clock(), done)


def erase(deps: Dependencies, ref: AccountRef, by: By = STRIPE) -> None:
    """Erase what is stored about an account that Stripe has disconnected. Does nothing if its erasure is complete.

    Raises AuditUnavailableError: it could not be recorded, and nothing was erased.
    """
    if not deps.store.accounts.get(ref).erasure_ended:
        with deps.audit.effect(by, "account.erased", ref):
            _erase(deps, ref, by, pending=False)


def retry_disconnections(deps: Dependencies, end: float) -> int:
    """Retry the disconnections that are due, until the time `end` (Unix seconds). Returns how many succeeded. A failure stops no other."""
    done = 0
    for item in deps.store.open_work.list_oldest("disconnection", deps.clock(), DISCONNECTIONS_A_RUN):
        if deps.clock() >= end:
            break
        try:
            done += item.ref is not None and retry_disconnection(deps, item.ref)
        except Exception as error:
            logger.error("disconnection failed", extra={"account": item.ref and item.ref.account, "reason": _reason(error)})
    return done


def retry_disconnection(deps: Dependencies, ref: AccountRef) -> bool:
    """Try once more to disconnect an erased account. False if that failed, or is no longer needed.

    The next try is scheduled before this one, so that accounts that crash or time out here do not delay the others.
    """
    store, now = deps.store, deps.clock()
    stored = store.accounts.get(ref)
    tries = stored.disconnect_tries + 1
    pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(tries, 30))
    if not store.erasures.postpone_disconnection(ref, tries, now + pause):
        store.erasures.end_disconnection(ref, now)
        return False
    try:
        with deps.audit.effect(RECONCILE, "account.disconnected", ref):
            _disconnect(deps, ref)
    except RateLimitExceededError:
        store.erasures.postpone_disconnection(ref, stored.disconnect_tries, now + FIRST_PAUSE_SECONDS)
        return False
    except AccountNotFoundError:
        pass
    except Exception as error:
        logger.warning("not disconnected", extra={"account": ref.account, "tries": tries, "reason": _reason(error)})
        if now - (stored.erased_at or now) >= GIVE_UP_SECONDS:
            store.erasures.give_up_disconnection(ref, now)
            logger.error("disconnection given up", extra={"account": ref.account, "stripe_account": ref.stripe_account})
            metrics.add_metric(name="DisconnectionFailed", unit="Count", value=1)
        return False
    store.erasures.end_disconnection(ref, deps.clock())
    return True


def _try(deps: Dependencies, ref: AccountRef, *, held: bool = True) -> bool:
    """Disconnect an account at Stripe. False if that fails for any reason.

    Raises AccountNotFoundError if Stripe does not know the account and nothing is stored about it (not `held`).
    """
    try:
        _disconnect(deps, ref)
    except AccountNotFoundError:
        if not held:
            raise
    except Exception as error:
        logger.warning("not disconnected", extra={"account": ref.account, "reason": _reason(error)})
        return False
    return True


def _disconnect(deps: Dependencies, ref: AccountRef) -> None:
    try:
        deps.stripe.disconnect(ref)
    except StripeRefusedError:
        # How Stripe answers for an account that is disconnected already is not documented.
        if deps.stripe.read(ref).state.status != "disconnected":
            raise


def _erase(deps: Dependencies, ref: AccountRef, by: By, *, pending: bool) -> None:
    """Erase what is stored about an account. `pending`: it has yet to be disconnected at Stripe.

    Does nothing if its erasure is complete, else repeats all of it.
    """
    store, now = deps.store, deps.clock()
    ended: list[Review] = []
    stored = store.accounts.get(ref)
    if stored.erasure_ended:
        return
    if stored.erased_at is None:
        store.erasures.begin(ref, now, disconnect=pending)
    store.erasures.delete_sealed(ref)
    for verification in store.verifications.ids_of(ref):
        if store.verifications.get(verification).verdict is None:
            verdicts.complete_by_id(store, deps.bus, verification, OUTCOME, now=now)
        else:
            ended += verdicts.mark_stale(store, deps.bus, ref, verification, "ACCOUNT_DISCONNECTED", now, by=by)
    for waiter in store.waiters.of_account(ref):
        deps.workflow.resume(waiter.task_token, OUTCOME)
        store.waiters.remove(ref, waiter.verification, waiter.token_version)
    store.erasures.end(ref, deps.clock(), deps.clock() + FIRST_PAUSE_SECONDS)
    if ended:
        from titleholder.services import review_endings

        review_endings.finish(deps, ended)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if isinstance(error, TitleholderError) else str(UnexpectedError.of(error))
