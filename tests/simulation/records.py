"""Checks that every effect and every read has an entry in the audit record."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

EFFECTS_AT_STRIPE: Mapping[str, tuple[str, ...]] = {
    "refresh": ("refresh.requested",),
    "disconnect": ("account.erased", "account.disconnected"),
    "customers": ("customer.created",),
    "sessions": ("session.created",),
}
"""By the end of a POST's path, the actions. One of them must have been recorded."""

REVIEWING = re.compile("/review(/decisions)?$")
"""Paths whose entries follow from the stored review, so that repeating a request writes them once: see `review_checks.unrecorded`."""


@dataclass
class Records:
    """The entries that one run of a function has written: `open` are effects that were begun, by id, `read` what was handed out; `written`
    counts all.
    """

    open: dict[str, dict[str, str]] = field(default_factory=dict)
    read: list[dict[str, str]] = field(default_factory=list)
    written: int = 0
    ended: int = 0

    def note(self, item: Mapping[str, Any]) -> None:
        entry = {name: value["S"] for name, value in item.items() if "S" in value}
        self.written += 1
        if entry["sk"].endswith("#after"):
            self.open.pop(entry["entry"])
            self.ended += 1
        elif entry["state"] == "requested":
            self.open[entry["entry"]] = entry
        elif entry["state"] == "done":
            self.read.append(entry)

    def asked(self, *actions: str, **ids: str | None) -> bool:
        """Whether this run has recorded the request for one of `actions` before."""
        return any(
            entry["action"] in actions and all(entry.get(name) == id_ for name, id_ in ids.items() if name in entry or id_ is None)
            for entry in self.open.values()
        )


def missing_at_stripe(records: Records, method: str, path: str, stripe_account: str | None) -> str | None:
    """The violation of a call to Stripe that is about to be made, if any."""
    actions = EFFECTS_AT_STRIPE.get(path.rpartition("/")[2])
    if method != "POST" or actions is None:
        return None
    ids = {"account": path.split("/")[-2]} if "/accounts/" in path else {}
    if records.asked(*actions, **ids, stripe_account=stripe_account):
        return None
    return f"{path}: asked of Stripe, and not recorded before"


def missing_in_table(records: Records, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> str | None:
    """The violation of an item that was just written, if any."""
    pk, sk = after["pk"]["S"], after["sk"]["S"]
    wanted: tuple[str, ...] = ()
    if sk == "ACCOUNT" and "erased_ms" in after and "erased_ms" not in (before or {}):
        wanted = ("account.erased",)
    elif sk == "VERIFICATION" and before is None and "members" not in after and "batch" not in after:
        wanted = ("verification.requested",)
    elif sk == "BATCH" and before is None:
        wanted = ("batch.created",)
    elif sk == "BATCH" and before is not None and before["run"] != after["run"]:
        wanted = ("batch.started",)
    elif sk == "BATCH" and before is not None and after["batch_state"] == {"S": "stopped"} != before["batch_state"]:
        wanted = ("batch.stopped",)
    if not wanted:
        return None
    ids = {name: after.get(name, {}).get("S") for name in ("account", "stripe_account")}
    return None if records.asked(*wanted, **ids) else f"{pk}: {wanted[0]}, and not recorded before"


def missing_in_answer(records: Records, event: Any, answer: Any) -> str | None:
    """The violation of an HTTP answer, if any."""
    http = event.get("requestContext", {}).get("http", {}) if isinstance(event, dict) else {}
    if not http or "/webhooks/" in http["path"] or not 200 <= answer["statusCode"] < 300:
        return None
    if REVIEWING.search(http["path"]):
        return None  # An earlier try may have recorded it.
    if http["path"].endswith("/comparison"):
        id_ = http["path"].split("/")[-2]
        done: Any = any(entry["action"] == "comparison.read" and entry["verification"] == id_ for entry in records.read)
    elif http["path"] == "/reviews":
        listed = [review["verification"] for review in json.loads(answer["body"])["reviews"]]
        done = any(entry["action"] == "reviews.listed" and entry["verifications"].split() == listed for entry in records.read)
    else:
        done = records.written if http["method"] == "GET" else records.ended
    return None if done else f"{http['method']} {http['path']}: answered, and not recorded before"
