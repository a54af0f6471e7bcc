"""Verifications, their verdicts, groups of them, and the lists of them.

Rows: a verification and its verdict, or a group and its members, VERIFICATION#<id> / VERIFICATION; the line of a batch that counts a
verification of another batch, VERIFICATION#<id> / BATCH#<batch>; the list of an account's verifications in order of time,
ACCOUNT#<ref> / VERIFICATION#<requested at, ms>#<id>; the list of a holder's verifications of all accounts,
CUSTOMER#<mode>/<connected account>/<holder> / VERIFICATION#<requested at, ms>#<id>; the secret from which ids are derived,
SECRET#ids / SECRET.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from titleholder.domain.accounts import HOLDERS, AccountRef, Mode
from titleholder.domain.verifications import DigestedClaim, Group, IdSecret, Verification
from titleholder.errors import AccountErasedError, IdempotencyConflictError, VerificationNotFoundError
from titleholder.store.open_work import CLOSED, mark_announced, opened
from titleholder.store.table import Item, Table, account_pk
from titleholder.timestamps import from_milliseconds, to_milliseconds

if TYPE_CHECKING:
    from titleholder.domain.reviews import Final, Review
    from titleholder.store.claims import Claims

ENTRY = "VERIFICATION#"
_SK = "VERIFICATION"
_EXISTS = "attribute_exists(pk)"
_SEEN_LAST = "attribute_exists(verdict) AND (attribute_not_exists(stale_seen) OR stale_seen <= :stale_seen)"
"""Several workers may act on observations of an account at the same time. The latest observation decides, not the last worker."""


@dataclass(frozen=True, slots=True)
class VerificationListing:
    """The verifications of an account, or of a holder of accounts."""

    pk: str

    @classmethod
    def account(cls, ref: AccountRef) -> VerificationListing:
        return cls(account_pk(ref))

    @classmethod
    def customer(cls, customer: str, mode: Mode, stripe_account: str | None) -> VerificationListing:
        return cls.holder("customer", customer, mode, stripe_account)

    @classmethod
    def holder(cls, kind: str, id: str, mode: Mode, stripe_account: str | None) -> VerificationListing:
        """`kind`: one of `domain.accounts.HOLDERS`. A customer has the same key as in earlier releases, which knew no other kind."""
        return cls(f"CUSTOMER#{mode}/{stripe_account or 'platform'}/{id if kind == 'customer' else f'{kind}/{id}'}")


class Verifications:
    """`claims` is called only when a claim is stored. `new_secret` makes 32 random bytes or more."""

    def __init__(self, table: Table, claims: Callable[[], Claims], clock: Callable[[], float], new_secret: Callable[[], bytes]) -> None:
        self._table = table
        self._claims = claims
        self._clock = clock
        self._new_secret = new_secret
        self._id_secret: IdSecret | None = None

    def id_secret(self) -> IdSecret:
        """The secret from which ids are derived. The first caller makes it. It never changes, so each process reads it once."""
        if self._id_secret is None:
            item = self._table.get("SECRET#ids", "SECRET")
            if item is None:
                item = {"pk": "SECRET#ids", "sk": "SECRET", "secret": self._new_secret(), "made_ms": to_milliseconds(self._clock())}
                # Another caller, or our own retried request, may have stored a secret first. Use the stored one.
                item = self._table.insert(item) or item
            self._id_secret = IdSecret(item["secret"], from_milliseconds(item["made_ms"]))
        return self._id_secret

    def create(self, verification: Verification, claim: DigestedClaim) -> Verification:
        """Store a new verification and its claim together; if the id is taken by the same request, return what is stored.

        The claim is not stored if the account was erased, because the verification can then only end in `ACCOUNT_DISCONNECTED`.

        Raises:
            IdempotencyConflictError: the id is taken by another request.
            ClaimLimitExceededError: too many different claims about the account. Nothing was written.
        """
        head = self.item(verification)
        if verification.batch is None:
            # Reconcile does not repair a batch's verifications: the batch's workflow ends only when all of them have their verdicts.
            head |= opened("verification", verification.requested_at)
        entry = _entry(VerificationListing.account(verification.ref), verification.id, verification.requested_at)
        try:
            kept = self._claims().put(verification, claim, [head, entry])
        except AccountErasedError:
            kept = self._table.put_all([head, entry])
        return verification if kept is None else _same_request(kept, verification)

    @staticmethod
    def item(verification: Verification) -> Item:
        """A verification's item, before it has a verdict, and in no list of open work."""
        return {
            "pk": _pk(verification.id),
            "sk": _SK,
            **verification.ref.as_dict(),
            "verification": verification.id,
            "claim_digest": verification.claim_digest,
            "policy": json.dumps(dict(verification.policy), sort_keys=True),
            "max_age": verification.max_age,
            "requested_ms": to_milliseconds(verification.requested_at),
            "deadline_ms": to_milliseconds(verification.deadline),
            "request_digest": verification.request_digest,
            "group": verification.group,
            **({"recorded": True} if verification.recorded else {}),
            **({"if_inactive": "wait"} if verification.waits_if_inactive else {}),
            **({} if verification.batch is None else _of_batch(verification)),
        }

    def create_group(self, group: Group) -> Group:
        """Store a new group, whose members exist already; if the id is taken by the same request, return what is stored.

        Raises:
            IdempotencyConflictError: the id is taken by another request.
        """
        head: Item = {
            "pk": _pk(group.id),
            "sk": _SK,
            "verification": group.id,
            "mode": group.mode,
            "stripe_account": group.stripe_account,
            "target_kind": group.kind,
            "target": group.target,
            "members": list(group.members),
            "requested_ms": to_milliseconds(group.requested_at),
            "request_digest": group.request_digest,
        }
        entries = []
        if group.kind in HOLDERS:
            listing = VerificationListing.holder(group.kind, group.target, group.mode, group.stripe_account)
            entries.append(_entry(listing, group.id, group.requested_at))
        kept = self._table.put_all([head, *entries])
        if kept is None:
            return group
        found = _verification_or_group(kept)
        if not isinstance(found, Group) or found.request_digest != group.request_digest:
            raise IdempotencyConflictError(
                "This Idempotency-Key was used before with another request. Send a new key, or the earlier request unchanged."
            )
        return found

    def get(self, verification: str) -> Verification:
        """Raises VerificationNotFoundError, also for a group."""
        found = self.find(verification)
        if isinstance(found, Group):
            raise VerificationNotFoundError
        return found

    def get_all(self, ids: Sequence[str], *, consistent: bool = True) -> dict[str, Verification]:
        """The verifications of these ids that exist, by id."""
        return {id_: found for id_, found in self.find_all(ids, consistent=consistent).items() if isinstance(found, Verification)}

    def find(self, id: str) -> Verification | Group:
        """Raises VerificationNotFoundError."""
        item = self._table.get(_pk(id), _SK)
        if item is None:
            raise VerificationNotFoundError
        return _verification_or_group(item)

    def find_all(self, ids: Sequence[str], *, consistent: bool = True) -> dict[str, Verification | Group]:
        """The verifications and groups of these ids that exist, by id.

        `consistent` False costs half, but may miss an item's latest change. Only for callers that read a verification again if it seems to
        have no verdict.
        """
        keys = [(_pk(id_), _SK) for id_ in dict.fromkeys(ids)]
        return {item["verification"]: _verification_or_group(item) for item in self._table.get_all(keys, consistent=consistent)}

    def page(self, listing: VerificationListing, limit: int, after: str | None = None) -> tuple[list[str], list[str], str | None]:
        """Up to `limit` ids after the position `after`, the newest first; the position of each; and the next page's `after` or None."""
        items, position = self._table.page(listing.pk, ENTRY, limit, after)
        return [item["verification"] for item in items], [item["sk"].removeprefix(ENTRY) for item in items], position

    def ids_of(self, ref: AccountRef) -> Iterator[str]:
        """The ids of all verifications of an account."""
        return (item["verification"] for item in self._table.query(account_pk(ref), ENTRY))

    def reassign_to_batch(self, verification: Verification) -> bool:
        """Let `verification.batch` work on a verification that another batch left without a verdict.

        False if it has a verdict, or belongs to that batch already.
        """
        return self._table.update(
            _pk(verification.id),
            _SK,
            set_={
                **_of_batch(verification),
                "requested_ms": to_milliseconds(verification.requested_at),
                "deadline_ms": to_milliseconds(verification.deadline),
                "recorded": True,
            },
            condition=f"{_EXISTS} AND attribute_not_exists(verdict) AND #batch <> :batch",
        )

    def counting_line(self, verification: str, batch: str, line: int, expires_at: int) -> int:
        """The line of a batch's manifest that counts a verification which another batch made or works on: the first that asked for it.

        The other equal lines are its duplicates. `expires_at`: until when this is kept (Unix seconds).
        """
        kept = self._table.insert({"pk": _pk(verification), "sk": _count_sk(batch), "batch_line": line, "expires_at": expires_at})
        return line if kept is None else int(kept["batch_line"])

    def complete(
        self, verification: str, verdict: Mapping[str, Any], now: float, *, batch: str | None = None, review: Review | None = None
    ) -> bool:
        """Store the verdict, which never changes again. It counts as unannounced until `mark_announced`.

        `review`: opened in the same transaction, so that a verdict that needs a review always has one.
        False if there was a verdict already, or if another batch than `batch` works on the verification.
        """
        change: dict[str, Any] = {
            "set_": {"verdict": json.dumps(dict(verdict)), "completed_ms": to_milliseconds(now), **opened("announcement", now)},
            "remove": ("repair_tries",),
            "condition": f"{_EXISTS} AND attribute_not_exists(verdict)" + (" AND #batch = :ours" if batch else ""),
            "values": {":ours": batch} if batch else {},
            "names": {"#batch": "batch"} if batch else {},
        }
        if review is None:
            return self._table.update(_pk(verification), _SK, **change)
        from titleholder.store.reviews import opening_part

        change["set_"]["review"] = review.state
        return self._table.transact([self._table.update_part(_pk(verification), _SK, **change), opening_part(self._table, review)])

    def review_part(self, review: Review, *, first: bool = False) -> Item:
        """The part of a transaction that shows the state of a review in its verification. `first`: the verification has had none."""
        from titleholder.domain.reviews import decided

        final = decided(review)
        said: Item = {} if final is None else {"final": final.outcome, "final_ms": to_milliseconds(final.at)}
        condition = "attribute_exists(verdict)" + (" AND attribute_not_exists(#review)" if first else "")
        return self._table.update_part(_pk(review.verification), _SK, set_={"review": review.state, **said}, condition=condition)

    def mark_announced(self, verification: str, seen: str | None = None) -> bool:
        """Record that a verdict was announced, and marked as stale if its account is no longer active.

        `seen`: the observation which shows that the account is active. It is stored, so that a slower worker that acts on an earlier one
        sets no mark. False if the verdict was announced already; with `seen` also if a later observation was acted on, or there is a mark.
        """
        if seen is None:
            return mark_announced(self._table, _pk(verification), _SK)
        return self._table.update(
            _pk(verification), _SK, set_={"stale_seen": seen}, remove=CLOSED,
            condition=f"{_SEEN_LAST} AND attribute_not_exists(stale) AND open_kind = :announcement",
            values={":announcement": "announcement"},
        )  # fmt: skip

    def mark_stale(self, verification: str, reason: str, seen: str, now: float, *, unannounced: bool = False) -> bool:
        """Mark a verdict as stale, because the observation `seen` shows that its account is no longer active.

        False if a later observation was acted on. `unannounced`: the mark counts as unannounced until `end_stale_announcement`.
        """
        set_: Item = {"stale": reason, "stale_ms": to_milliseconds(now), "stale_seen": seen}
        return self._table.update(
            _pk(verification), _SK, set_={**set_, **({"stale_unannounced": True} if unannounced else {})}, condition=_SEEN_LAST
        )

    def end_stale_announcement(self, verification: str, seen: str) -> bool:
        """Record that a mark was announced; False if a later observation was acted on."""
        return self._table.update(
            _pk(verification), _SK, set_={}, remove=("stale_unannounced",), condition="stale_seen = :seen", values={":seen": seen}
        )

    def lift_stale(self, verification: str, reason: str, seen: str, lifted_at: float | None = None) -> bool:
        """Lift the mark that a verdict has for `reason`, because the observation `seen` shows that its account is active.

        False if a later observation was acted on, or the mark has another reason. `seen` is stored even if there is no mark, so that a
        slower worker that acts on an earlier observation does not set one. `lifted_at`: when the mark is lifted (Unix seconds); None
        without a mark.
        """
        lifted: Item = {} if lifted_at is None else {"stale_lifted_ms": to_milliseconds(lifted_at)}
        return self._table.update(
            _pk(verification), _SK, set_={"stale_seen": seen, **lifted}, remove=("stale", "stale_unannounced"),
            condition=f"{_SEEN_LAST} AND (attribute_not_exists(stale) OR stale = :lifted)", values={":lifted": reason},
        )  # fmt: skip

    def is_wanted(self, verification: str) -> bool:
        """Whether a verification still needs owners: it has no verdict, and its batch, if it has one, was not stopped.

        The batch is read last, because a stop is stored there first.
        """
        item = self._table.get(_pk(verification), _SK)
        if item is None or "verdict" in item:
            return False
        batch = self._table.get(f"BATCH#{item['batch']}", "BATCH") if item.get("batch") else None
        return batch is None or batch["batch_state"] != "stopped"


def _pk(id: str) -> str:
    return f"VERIFICATION#{id}"


def _count_sk(batch: str) -> str:
    return f"BATCH#{batch}"


def head_key(id: str) -> tuple[str, str]:
    """The key of a verification's item."""
    return _pk(id), _SK


def _of_batch(verification: Verification) -> Item:
    return {"batch": verification.batch, "batch_line": verification.line}


def _entry(listing: VerificationListing, id: str, requested_at: float) -> Item:
    return {"pk": listing.pk, "sk": f"{ENTRY}{to_milliseconds(requested_at):015}#{id}", "verification": id}


def _same_request(kept: Item, verification: Verification) -> Verification:
    """The verification that is stored under an id, if the same request made it. Raises IdempotencyConflictError for another request.

    If the account was erased since, the claim has no digest any more, so it is not compared.
    """
    same = verification.claim_digest in (None, kept.get("claim_digest"))
    if kept["request_digest"] != verification.request_digest or not same:
        raise IdempotencyConflictError(
            "This Idempotency-Key was used before with another request. Send a new key, or the earlier request unchanged."
        )
    return verification_of(kept)


def _verification_or_group(item: Item) -> Verification | Group:
    if "members" not in item:
        return verification_of(item)
    return Group(
        id=item["verification"],
        mode=item["mode"],
        stripe_account=item.get("stripe_account"),
        kind=item["target_kind"],
        target=item["target"],
        members=item["members"],
        requested_at=from_milliseconds(item["requested_ms"]),
        request_digest=item["request_digest"],
    )


def verification_of(item: Item) -> Verification:
    """A verification as stored in an item."""
    return Verification(
        id=item["verification"],
        ref=AccountRef.from_dict(item),
        claim_digest=item["claim_digest"],
        policy=json.loads(item["policy"]),
        max_age=item["max_age"],
        requested_at=from_milliseconds(item["requested_ms"]),
        deadline=from_milliseconds(item["deadline_ms"]),
        request_digest=item["request_digest"],
        group=item.get("group"),
        verdict=json.loads(item["verdict"]) if "verdict" in item else None,
        completed_at=_seconds(item, "completed_ms"),
        stale=item.get("stale"),
        stale_seen=item.get("stale_seen"),
        stale_unannounced=bool(item.get("stale_unannounced")),
        batch=item.get("batch"),
        line=item.get("batch_line"),
        waits_if_inactive=item.get("if_inactive") == "wait",
        review=item.get("review"),
        reviewed=_reviewed(item) if "final" in item else None,
        stale_at=_seconds(item, "stale_ms"),
        stale_lifted_at=_seconds(item, "stale_lifted_ms"),
        recorded=bool(item.get("recorded")),
    )


def _reviewed(item: Item) -> Final:
    # Imported here, because most functions never read a decided review.
    from titleholder.domain.reviews import Final

    return Final(item["final"], "review", from_milliseconds(item["final_ms"]))


def _seconds(item: Item, name: str) -> float | None:
    return from_milliseconds(item[name]) if name in item else None
