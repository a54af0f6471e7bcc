"""What an end user does in a session for relinking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from local.stripe_simulator import commands
from local.stripe_simulator.accounts import FEATURE_OF_PREFETCH, Account
from local.stripe_simulator.api import Api
from local.stripe_simulator.timeline import Scope
from local.stripe_simulator.wire import Json

Outcome = Literal["succeeded", "failed", "cancelled"]
FAILURES = ("no_account", "no_authorization", "other")


def complete(
    api: Api,
    scope: Scope,
    id: str,
    *,
    outcome: Outcome = "succeeded",
    failure_reason: str | None = None,
    account: str | Mapping[str, Any] | None = None,
    grant: Literal["union", "replace"] = "union",
    prefetch: bool = True,
    listed: bool = True,
) -> list[str]:
    """Implements `Simulator.complete_relink`. Returns the ids of the session's accounts."""
    session = api.of(scope, "financial_connections.session")[id]
    options = session.get("relink_options")
    if options is None or session["status"] != "pending":
        raise ValueError(f"{id} is no session for relinking that is still pending")
    if failure_reason is not None and (outcome != "failed" or failure_reason not in FAILURES):
        raise ValueError(f"failure_reason is one of {', '.join(FAILURES)}, with the outcome failed")
    if outcome == "cancelled":
        session |= {"status": "cancelled", "status_details": {"cancelled": {"reason": "other"}}}
        return []
    if outcome not in ("succeeded", "failed"):
        raise ValueError("outcome is succeeded, failed or cancelled")
    linked = None
    if outcome == "succeeded" or account is not None:
        linked = _chosen(api, scope, session, account)
        if linked.session != id:
            _relink(api, linked, session, grant=grant, prefetch=prefetch)
            linked.relinked_in[id] = listed
    result: Json = {"failure_reason": failure_reason or ("other" if linked is None else "no_account")}
    if outcome == "succeeded":
        result = {"authorization": options["authorization"]}
        if linked is not None and options.get("account") == linked.id:
            result["account"] = linked.id
    session |= {"status": outcome, "relink_result": result}
    return [] if linked is None else [linked.id]


def _chosen(api: Api, scope: Scope, session: Json, account: str | Mapping[str, Any] | None) -> Account:
    """The account that the end user chooses: one of the authorization, or one that is linked to it now."""
    options = session["relink_options"]
    known = {each.id: each for each in api.accounts.authorized(scope, options["authorization"])}
    wanted = account if account is not None else options.get("account") or next(iter(known))
    if isinstance(wanted, str) and wanted in known:
        return known[wanted]
    given: Mapping[str, Any] = {"id": wanted} if isinstance(wanted, str) else wanted
    commands.check(given, commands.LINKED, "account")
    return api.accounts.link(
        scope,
        **{"scenario": "single_owner", **given},
        holder=session["account_holder"] or next(iter(known.values())).holder,
        session=session["id"],
        authorization=options["authorization"],
        requested=session["permissions"],
        prefetch=session["prefetch"] or (),
    )


def _relink(api: Api, account: Account, session: Json, *, grant: str, prefetch: bool) -> None:
    if account.status == "disconnected":
        raise ValueError(f"{account.id} has been disconnected")
    account.remember(api.timeline.now())
    before = (account.permissions or []) if grant == "union" else []
    account.permissions = [*before, *(permission for permission in session["permissions"] if permission not in before)]
    api.accounts.repair(account)
    for name in session["prefetch"] or () if prefetch else ():
        feature = FEATURE_OF_PREFETCH[name]
        if name in account.permissions and api.accounts.refuse(account, feature) is None:
            api.accounts.start(account, feature, "prefetch")
