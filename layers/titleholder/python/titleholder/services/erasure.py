"""Erasing an account: all that is held of the people behind it goes, verdicts stay as ids, dates and outcomes.

Disconnected is for good at Stripe, so it is for good here. The local erasure comes first, because it must not depend on Stripe: in one
transaction the account is marked as erased and its data key destroyed. After that nothing of it can be read, in backups neither, and
nothing can be written. What is left is deleted then. If a crash interrupts that, the next caller, Stripe's event, or `reconcile`, which
finds the mark, does it again.

The mark also says that the account has yet to be disconnected at Stripe. That is tried at once, and if it fails, `reconcile` tries again
until it succeeds or has failed for 30 days.
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
"""When a disconnection that failed is first tried again. Each further pause is twice as long."""

LONGEST_PAUSE_SECONDS = 6 * 3600.0
GIVE_UP_SECONDS = 30 * 86_400.0
"""How long a disconnection is tried before it is left to the operator."""

DISCONNECTIONS_A_RUN = 100


@dataclass(frozen=True, slots=True)
class Erased:
    """When an account was erased (Unix seconds), and whether Stripe has disconnected it."""

    at: float
    disconnected: bool


def disconnect(deps: Dependencies, ref: AccountRef, by: By) -> Erased:
    """Erase an account and disconnect it at Stripe. Repeating this changes nothing, but for a disconnection that has failed so far.

    Raises:
        AccountNotFoundError: Stripe knows no such account, and nothing is held of it.
        AuditUnavailableError: it could not be recorded, and nothing was erased.
    """
    stored = deps.store.accounts.get(ref)
    with deps.audit.effect(by, "account.erased", ref) as entry:
        # None: not tried yet.
        done: bool | None = None
        if stored == StoredAccount() and not deps.store.erasures.has_key(ref):
            # Nothing is held that could be erased at once, and only Stripe can tell whether there is such an account.
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
    """Erase what is held of an account that Stripe has disconnected. Does nothing where that has been done to its end.

    Raises AuditUnavailableError: it could not be recorded, and nothing was erased.
    """
    if not deps.store.accounts.get(ref).erasure_ended:
        with deps.audit.effect(by, "account.erased", ref):
            _erase(deps, ref, by, pending=False)


def retry_disconnections(deps: Dependencies, end: float) -> int:
    """Try again what is due, up to the time `end`; returns how many accounts were disconnected. One that fails holds up no other."""
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
    """Try once more to disconnect an erased account; False if that failed, or is not needed any more.

    The next try is booked before this one, so that a crash or a time-out in between does not keep the others waiting.
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
    """Disconnect an account at Stripe, unless anything at all stands against it. Raises AccountNotFoundError, unless something is held."""
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
        # Stripe does not say how it answers for an account that is disconnected already.
        if deps.stripe.read(ref).state.status != "disconnected":
            raise


def _erase(deps: Dependencies, ref: AccountRef, by: By, *, pending: bool) -> None:
    """Erase what is held. `pending`: Stripe has yet to be told. Does nothing where this was done to its end, else does all of it again."""
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
