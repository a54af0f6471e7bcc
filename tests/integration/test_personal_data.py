"""No personal data outside the table: canaries in claims and owners, looked for in all that leaves a function in every flow."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.sandbox import CLAIM, PERSONAL, Moment, Sandbox

OWNER = {
    "name": "QUILLFEATHER CANARY",
    "email": "canary@example.com",
    "phone": "+1 555-555-0101",
    "raw_address": "1 CANARY ST, SPRINGFIELD",
}


def whole_way(sandbox: Sandbox, scenario: str = "single_owner") -> None:
    ref = sandbox.link(scenario, owners=[OWNER])
    answer = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": dict(CLAIM)}, Idempotency_Key="key")
    token = sandbox.enter(sandbox.store.verifications.get(answer.json["id"]))
    sandbox.consume(sandbox.refresh_queue)
    sandbox.wait(6)
    sandbox.settle()
    sandbox.function("complete_verification")({"verification": answer.json["id"], "refresh": sandbox.outcome(token)})
    for path in (f"/verifications/{answer.json['id']}", f"/accounts/{ref.account}", f"/accounts/{ref.account}/owners"):
        assert sandbox.http("GET", path).status < 500
    sandbox.http("POST", f"/accounts/{ref.account}/refreshes")
    sandbox.simulator.change(ref.account, action="disconnect")
    sandbox.settle()


def bad_requests(sandbox: Sandbox) -> None:
    for claim in ({"name": 1, "Canary": "Quillfeather"}, {"name": "Quillfeather\x00"}, {"type": "canary"}, {"address": {"canary": 1}}):
        assert sandbox.http("POST", "/verifications", {"account": "fca_1", "claim": claim}).status == 422
    assert sandbox.http("POST", "/verifications", '{"claim": {"name": "Quillfeather Canary"').status == 400


def forged_delivery(sandbox: Sandbox) -> None:
    answer = sandbox.http(
        "POST", "/webhooks/stripe", b'{"name": "Quillfeather Canary"}', function="receive_webhook", Stripe_Signature="t=1,v1=canary"
    )
    assert answer.status == 400


def table_that_repeats_what_it_was_sent(sandbox: Sandbox) -> None:
    """AWS's own messages may repeat what was sent; they must not reach a log."""

    refused = ["transact_write_items", "put_item"]

    def fail(moment: Moment) -> None:
        if moment.operation in refused:
            raise ClientError({"Error": {"Code": "ValidationException", "Message": f"Item {CLAIM} {OWNER}"}}, "PutItem")

    ref = sandbox.link("fresh", owners=[OWNER])
    sandbox.taps.append(fail)
    sandbox.send(sandbox.events_queue, {"event": "evt_1", **ref.as_dict()})
    assert len(sandbox.consume(sandbox.events_queue)) == 1
    sandbox.taps.clear()
    sandbox.simulator.link("single_owner", id="fca_9")
    sandbox.http("GET", "/accounts/fca_9")
    sandbox.taps.append(fail)
    assert sandbox.http("POST", "/verifications", {"account": "fca_9", "claim": dict(CLAIM)}).problem == "audit-unavailable"
    refused.remove("put_item")
    assert sandbox.http("POST", "/verifications", {"account": "fca_9", "claim": dict(CLAIM)}).problem == "internal-error"


FLOWS: list[Callable[[Sandbox], None]] = [
    whole_way,
    lambda sandbox: whole_way(sandbox, "failing_with_reason"),
    lambda sandbox: whole_way(sandbox, "fresh"),
    bad_requests,
    forged_delivery,
    table_that_repeats_what_it_was_sent,
]


@pytest.mark.parametrize("flow", FLOWS, ids=["whole way", "failing", "fresh", "bad requests", "forged delivery", "outage"])
def test_nothing_personal_leaves_but_for_the_table_and_the_answers(
    sandbox: Sandbox, flow: Callable[[Sandbox], None], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    flow(sandbox)
    captured = capsys.readouterr()
    seen = (sandbox.outside_the_table() + captured.out + captured.err + caplog.text).lower()
    assert not [word for word in PERSONAL if word in seen]


def test_the_table_holds_it_sealed_and_only_so(sandbox: Sandbox) -> None:
    """The search above looks for data that exists: with the keys it can be found, in the items alone it cannot."""
    ref = sandbox.link("fresh", owners=[OWNER])
    made = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": dict(CLAIM)}).json
    claim = sandbox.store.claims.get(ref, made["id"])
    assert claim is not None
    assert "Testerman" in str(claim.reveal())
    assert "CANARY" in sandbox.http("GET", f"/accounts/{ref.account}/owners").text
    whole_way(sandbox)
    held = readable(sandbox.items())
    assert "snapshot#fcaowns_" in held
    assert not [word for word in PERSONAL if word in held]


def readable(items: list[dict[str, Any]]) -> str:
    """The whole content of items in lower case, with binary values taken as text."""
    text = [
        value.decode("latin-1") if isinstance(value, bytes) else str(value)
        for item in items
        for kind in item.values()
        for value in kind.values()
    ]
    return "\n".join(text).lower()


def test_signing_secret_signature_api_key_and_task_token_are_never_logged(sandbox: Sandbox) -> None:
    whole_way(sandbox)
    forged_delivery(sandbox)
    for secret in ("whsec_", "sk_test_", "v1=", "token-0001"):
        assert secret not in sandbox.log.getvalue()
