"""What changed from one snapshot of an account's owners to the next. Pure: no I/O, no clock.

Changes contain only kinds and positions, never a name or an address, so they may be announced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import ModuleType
from typing import Any, Literal

from titleholder import matching
from titleholder.domain.snapshots import SnapshotSummary, since

Kind = Literal["owner_added", "owner_removed", "owner_renamed", "owner_moved", "contact_changed"]
Owner = Mapping[str, Any]

SAME = 70.0
"""The score from which on two names are one person's, and two addresses or phone numbers the same: the default policy's match."""

MOST_COMPARISONS = 400
"""How many pairs of names are compared. An account may have any number of owners; beyond this limit, only equal names are found."""


MOST_CHARACTERS = 300
"""Longer names, addresses and numbers are compared for equality only, which bounds the time."""

MOST_CHANGES = 500
"""How many changes are kept and announced, the first ones. An event may have 256 KB, a page of snapshots 6 MB."""

OTHER_OWNERS: frozenset[str] = frozenset({"owner_added", "owner_removed", "owner_renamed"})
"""The changes after which a decision about the earlier owners would rest on owners that the account no longer has."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change. `before` and `after` are the owner's positions in the two snapshots, from 0; None if a snapshot lacks the owner."""

    kind: Kind
    before: int | None
    after: int | None

    def as_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "before": self.before, "after": self.after}


def between(before: Sequence[Owner], after: Sequence[Owner]) -> list[Change]:
    """The changes from one snapshot's owners to a later one's (each with id, name, email, phone, raw_address).

    A field does not count as changed if it is only written differently, nor does a field other than the name if one side lacks it. An owner
    whose name only the later snapshot lacks has no other name, unless the address or a contact is another one too: then nothing shows who
    it is. If only the earlier snapshot lacks the name, that counts as another name, because an even earlier snapshot may have had one. The
    order of owners does not count. At most the first `MOST_CHANGES` are returned.
    """
    pairs = _aligned(before, after)
    known = set(pairs.values())
    found = [change for old, new in sorted(pairs.items()) for change in _of_pair(old, before[old], new, after[new])]
    gone = [Change("owner_removed", old, None) for old in range(len(before)) if old not in pairs]
    come = [Change("owner_added", None, new) for new in range(len(after)) if new not in known]
    return (found + gone + come)[:MOST_CHANGES]


def are_others(changes: Sequence[Mapping[str, Any]] | None) -> bool:
    """Whether an owner was added, removed or renamed. A move or another contact does not count. True if that is not known.

    `changes`: as dicts; None: not known. It is not known either if there were more changes than are kept.
    """
    return changes is None or len(changes) >= MOST_CHANGES or any(change["kind"] in OTHER_OWNERS for change in changes)


def have_changed(history: Sequence[SnapshotSummary], snapshot: str) -> bool:
    """Whether the newest owners of an account are others than those of `snapshot`. True if that is not known.

    `history`: the account's snapshots, the newest first. Each names the snapshot that its changes are counted from. Only snapshots in this
    chain count, because one that was stored after a newer one says nothing about the newest owners.
    """
    found = since(history, snapshot)
    return not found.whole or any(are_others(each.changes) for each in (*found.newer, *found.aside))


def _aligned(before: Sequence[Owner], after: Sequence[Owner]) -> dict[int, int]:
    """The pairs of owners that are one person, by position, the surest first. Equal ids count, although Stripe promises no stable ids."""
    names = _names()
    pairs: dict[int, int] = {}
    _pair_equal(pairs, before, after, lambda owner: owner.get("id"))
    _pair_equal(pairs, before, after, _whole)
    _pair_equal(pairs, before, after, _name)
    _pair_equal(pairs, before, after, lambda owner: names.reading(_written_name(owner)))
    _pair_alike(pairs, before, after)
    # Joint owners share an address, and often a number. Only a contact that one person alone has shows that this person was renamed.
    _pair_equal(pairs, before, after, lambda owner: _text(owner, "email"))
    _pair_equal(pairs, before, after, _digits)
    return pairs


def _left(pairs: Mapping[int, int], before: Sequence[Owner], after: Sequence[Owner]) -> tuple[list[int], list[int]]:
    taken = set(pairs.values())
    return [old for old in range(len(before)) if old not in pairs], [new for new in range(len(after)) if new not in taken]


def _pair_equal(pairs: dict[int, int], before: Sequence[Owner], after: Sequence[Owner], key: Callable[[Owner], Any]) -> None:
    """Pair owners with equal keys, in their order. Owners without a key are not paired."""
    olds, news = _left(pairs, before, after)
    by_key: dict[Any, list[int]] = {}
    for new in reversed(news):
        if found := key(after[new]):
            by_key.setdefault(found, []).append(new)
    for old in olds:
        if waiting := by_key.get(key(before[old])):
            pairs[old] = waiting.pop()


def _pair_alike(pairs: dict[int, int], before: Sequence[Owner], after: Sequence[Owner]) -> None:
    """Pair owners whose names are one person's according to the matcher, the best pairs first."""
    olds, news = _left(pairs, before, after)
    if len(olds) * len(news) > MOST_COMPARISONS:
        return
    scores = ((_alike(before[old], after[new], "name"), -old, -new) for old, new in product(olds, news))
    taken: set[int] = set()
    for score, old, new in sorted(scores, reverse=True):
        if score >= SAME and -old not in pairs and -new not in taken:
            pairs[-old] = -new
            taken.add(-new)


def _of_pair(old: int, before: Owner, new: int, after: Owner) -> Iterable[Change]:
    moved = _differs(before, after, "raw_address", "address")
    other_contact = _differs(before, after, "phone", "phone") or _both_differ(_text(before, "email"), _text(after, "email"))
    if _is_renamed(before, after, otherwise_known=not (moved or other_contact)):
        yield Change("owner_renamed", old, new)
    if moved:
        yield Change("owner_moved", old, new)
    if other_contact:
        yield Change("contact_changed", old, new)


def _is_renamed(before: Owner, after: Owner, *, otherwise_known: bool) -> bool:
    """Whether an owner has another name. `otherwise_known`: no other field is another one."""
    names = _names()
    old, new = _written_name(before), _written_name(after)
    if names.are_same(old, new):
        return False
    if not names.is_given(new):
        return not otherwise_known and bool(names.is_given(old))
    return True


def _differs(before: Owner, after: Owner, name: str, field: str) -> bool:
    return _both_differ(_text(before, name), _text(after, name)) and _alike(before, after, field) < SAME


def _alike(before: Owner, after: Owner, field: str) -> float:
    """The score of one field of two owners, whichever of them is taken for the claim; 0 if it can't be compared, or is very long."""
    key = "raw_address" if field == "address" else field
    if max(len(_text(owner, key)) for owner in (before, after)) > MOST_CHARACTERS:
        return 0.0
    return max(_score(before, after, field), _score(after, before, field))


def _score(claimed: Owner, held: Owner, field: str) -> float:
    name = "raw_address" if field == "address" else field
    # Only this field, so that a comparison of two addresses does not take the time for comparing names.
    return matching.match({field: claimed.get(name)}, {name: held.get(name)}).fields[field].score or 0.0


def _both_differ(before: Any, after: Any) -> bool:
    return bool(before and after and before != after)


def _whole(owner: Owner) -> tuple[str, ...]:
    return (_name(owner), _text(owner, "email"), _text(owner, "phone"), _text(owner, "raw_address"))


def _written_name(owner: Owner) -> str:
    return str(owner.get("name") or "")


def _name(owner: Owner) -> str:
    return str(_names().plain(_written_name(owner)))


def _names() -> ModuleType:
    from titleholder.domain import owner_names  # imported here, because it loads the matcher, which most calls do not need

    return owner_names


def _digits(owner: Owner) -> str:
    return "".join(letter for letter in _text(owner, "phone") if letter.isdigit())[-10:]


def _text(owner: Owner, name: str) -> str:
    return " ".join(str(owner.get(name) or "").casefold().split())
