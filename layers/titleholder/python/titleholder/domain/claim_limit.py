"""How many different claims about one account are accepted within 24 hours. Pure.

A verdict shows whether a claim is right, so a caller who could try any number of names would learn the owners without reading them. Each
name that is compared counts as a claim of its own, because one request may contain many names. A claim that was counted within 24 hours
does not count again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from titleholder.errors import ClaimLimitExceededError

WINDOW_SECONDS = 86_400

_PARTS = ("given", "middle", "family", "suffix")
_NAMES = (*_PARTS, "name", "business_name", "aka")


def one_by_one(claim: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The claim split into claims with one name each: one for each name that the matcher compares."""
    shared = {field: value for field, value in claim.items() if field not in _NAMES}
    names: list[dict[str, Any]] = [
        {field: claim[field] for field in _PARTS if claim.get(field)},
        *({field: claim[field]} for field in ("name", "business_name") if claim.get(field)),
        *({"name": alias} for alias in claim.get("aka") or ()),
    ]
    return [shared | name for name in names if name] or [shared]


def count(counted: Mapping[str, int], digests: Collection[str], now: int, limit: int) -> dict[str, int] | None:
    """All counted digests once these are counted too, each with its time (Unix seconds); None if these are all counted already.

    Raises ClaimLimitExceededError if there would be more than `limit`.
    """
    live = {digest: at for digest, at in counted.items() if now < at + WINDOW_SECONDS}
    new = [digest for digest in dict.fromkeys(digests) if digest not in live]
    if not new:
        return None
    if len(live) + len(new) > limit:
        ends = sorted(at + WINDOW_SECONDS for at in live.values())
        fits = (end for end in ends if len({digest for digest, at in live.items() if end < at + WINDOW_SECONDS}.union(digests)) <= limit)
        free_at = next(fits, now + WINDOW_SECONDS)
        raise ClaimLimitExceededError(
            f"At most {limit} different claims about one account are accepted within 24 hours, and each name in a claim counts. "
            f"{len(live)} were made, and this one counts {len(new)}.",
            max(1, free_at - now),
        )
    return live | dict.fromkeys(new, now)
