"""Records an answer of every route and status, as the examples of the OpenAPI document.

    python -m tests.support.example_answers

writes local/openapi_examples.json (`make examples` then also writes the document). The answers are those of the real handlers in a
sandbox. Only what is random in each run (ids, digests, cursors, signed URLs) is replaced by fixed values.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
from hashlib import sha256
from typing import Any
from unittest.mock import patch

from local import openapi, openapi_values
from local.stripe_simulator.options import PREVIEW_VERSION
from tests.support.batches import Batch, manifest
from tests.support.functions import http_event
from tests.support.gateway import Routes
from tests.support.reviews import CLOSE
from tests.support.sandbox import CLAIM, Answer, Sandbox
from tests.support.verdicts import run
from titleholder.batches import steps
from titleholder.domain.accounts import AccountRef

_ID = re.compile(r"\b(ver|bat)_[0-9a-f]{32}\b")
_DIGEST = re.compile(r'"[0-9a-f]{64}"')
_SIGNED = re.compile(r"\?[^\"]*(X-Amz-Signature|Signature)=[^\"]*")
_SECRET = re.compile(r"_secret_[A-Za-z0-9]+")
_CURSOR = re.compile(r'"next_cursor": "[^"]+"')


CALLER = "arn:aws:sts::123456789012:assumed-role/back-end/anne"
OTHER_CALLER = "arn:aws:sts::123456789012:assumed-role/back-end/ben"


class Recorder:
    """Calls routes of a sandbox and keeps the answers."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.answers: dict[str, dict[str, Any]] = {}
        self.problems: dict[str, Any] = {}
        self._routes = Routes()
        self._names = {openapi.shape(key): key for key in documented()}

    def __call__(self, name: str, method: str, path: str, body: Any = None, *, by: str = CALLER, **headers: str) -> Any:
        """Make a call. Its answer becomes the example `name` of its route and status, or a problem's example."""
        self.sandbox.wait(1)  # Lists are ordered by time.
        found = self._routes.find(method, path.partition("?")[0])
        assert found is not None, path
        event = http_event(method, path, body, headers)
        event["requestContext"]["authorizer"] = {"iam": {"userArn": by}}
        answer = Answer.of(self.sandbox.function(found[1])(event))
        if answer.status < 300:
            key = f"{self._names[openapi.shape(found[0])]} {answer.status}"
            self.answers.setdefault(key, {})[name] = {"summary": name, "value": answer.json}
        else:
            self.problems.setdefault(answer.problem, answer.json)
        return answer.json

    def result(self) -> dict[str, Any]:
        """All answers, with fixed values for what is random."""
        text = json.dumps({**dict(sorted(self.answers.items())), "problems": dict(sorted(self.problems.items()))}, indent=1)
        known: dict[str, str] = {}
        for found in _ID.finditer(text):
            known.setdefault(found[0], f"{found[1]}_{sha256(str(len(known)).encode()).hexdigest()[:32]}")
        text = _ID.sub(lambda found: known[found[0]], text)
        text = _DIGEST.sub(f'"{sha256(b"claim").hexdigest()}"', text)
        text = _SECRET.sub("_secret_example", text)
        text = _SIGNED.sub("?X-Amz-Signature=0000", text)
        made: dict[str, Any] = json.loads(_CURSOR.sub('"next_cursor": "bmV4dCBwYWdl"', text))
        return made


def documented() -> list[str]:
    """The document's operations, such as `GET /accounts/{account}`."""
    return [f"{route.method} {route.openapi_path}" for route in openapi._routes()]


def record() -> dict[str, Any]:
    """The answers, as the document shows them."""
    with patch.object(steps, "WRITERS", 1), Sandbox.open() as sandbox:
        sandbox.cold_start(REVIEWERS_NEEDED="1", STRIPE_PREVIEW_VERSION=PREVIEW_VERSION)
        call = Recorder(sandbox)
        _linking(call)
        _verifying(call)
        _reviewing(call)
        _batches(call)
        _refused(call)
        _erasing(call)
        return call.result()


def _linking(call: Recorder) -> None:
    sandbox = call.sandbox
    customer = call("customer", "POST", "/customers", {"email": CLAIM["email"], "phone": "+1 201 555 0123"})["id"]
    page = {"return_url": "https://shop.example/linked"}
    for via, more in (
        ("financial_connections", {}), ("setup_intent", {}), ("payment_intent", {"amount": 1500}), ("checkout_session", page),
    ):  # fmt: skip
        session = call(via, "POST", "/sessions", {"via": via, "customer": customer, **more})["id"]
        if via == "financial_connections":
            call("not linked yet", "GET", f"/sessions/{session}")
            call("none", "POST", "/verifications", {"session": session, "claim": dict(CLAIM)})
            sandbox.simulator.complete(session)
            call("linked", "GET", f"/sessions/{session}")
            call("customer", "GET", f"/accounts?customer={customer}")
    inactive = sandbox.link("inactive", id="fca_inactive", customer=customer, permissions=["balances", "ownership"]).account
    relink = {"via": "financial_connections", "relink": {"account": inactive}}
    session = call("relink", "POST", "/sessions", relink)["id"]
    call("relink under way", "GET", f"/sessions/{session}")
    sandbox.simulator.complete_relink(session)
    sandbox.settle()
    call("relinked", "GET", f"/sessions/{session}")


def _verifying(call: Recorder) -> None:
    sandbox = call.sandbox
    ref = sandbox.link("single_owner", id="fca_example", customer="cus_example")
    waiting = call("waiting", "POST", "/verifications", {"account": ref.account, "claim": dict(CLAIM)})["id"]
    call("waiting", "GET", f"/verifications/{waiting}")
    call("started", "POST", f"/accounts/{ref.account}/refreshes")
    call("pending", "POST", f"/accounts/{ref.account}/refreshes")
    call("cancelled", "DELETE", f"/verifications/{waiting}")
    sandbox.wait(6)
    sandbox.settle()
    call("fresh", "POST", f"/accounts/{ref.account}/refreshes")
    matched = call("match", "POST", "/verifications", {"account": ref.account, "claim": dict(CLAIM)})["id"]
    call("match", "GET", f"/verifications/{matched}?timeline=true")
    call("completed", "DELETE", f"/verifications/{matched}")
    call("no_match", "POST", "/verifications", {"account": ref.account, "claim": {"name": "John Samplewell"}})
    sandbox.link("closed", id="fca_closed", customer="cus_example")
    call("group", "POST", "/verifications", {"customer": "cus_example", "claim": dict(CLAIM)})
    group = call("group", "POST", "/verifications", {"customer": "cus_example", "claim": dict(CLAIM)})["id"]
    call("group", "GET", f"/verifications/{group}")
    paused = {"account": sandbox.link("inactive", id="fca_paused").account, "claim": dict(CLAIM), "if_inactive": "wait"}
    call("waiting for a repair", "POST", "/verifications", paused)
    call("account", "GET", f"/verifications?account={ref.account}&limit=2")
    call("customer", "GET", "/verifications?customer=cus_example")
    call("active", "GET", f"/accounts/{ref.account}")
    call("inactive", "GET", "/accounts/fca_closed")
    call("owners", "GET", f"/accounts/{ref.account}/owners")
    call("snapshots", "GET", f"/accounts/{ref.account}/snapshots")
    call("timeline", "GET", f"/verifications/{matched}/timeline")
    unverifiable = run(sandbox, sandbox.link("no_owners", id="fca_no_owners"))
    assert unverifiable["outcome"] == "not_verifiable"
    [id_] = sandbox.store.verifications.ids_of(AccountRef("fca_no_owners", "test", None))
    call("not_verifiable", "GET", f"/verifications/{id_}")


def _reviewing(call: Recorder) -> None:
    claim = {"account": "fca_example", "claim": CLOSE}
    close = call("close_match", "POST", "/verifications", claim)["id"]
    call("queue", "GET", "/reviews")
    call("comparison", "POST", f"/verifications/{close}/comparison")
    review = f"/verifications/{close}/review"
    decision = {"version": 1, "decision": "approve", "reason": "CHANGED_NAME_DOCUMENTED", "reference": "CASE-4711", "note": "Seen."}
    call("approved", "POST", f"{review}/decisions", decision)
    call("closed", "POST", f"{review}/decisions", {**decision, "decision": "reject", "reason": "RELATIVE"})
    call("reviewed", "GET", f"/verifications/{close}/timeline")
    other = call("no_match", "POST", "/verifications", {"account": "fca_example", "claim": {"name": "Jane Samplewell"}})["id"]
    call("opened", "POST", f"/verifications/{other}/review")
    call.sandbox.cold_start(REVIEWERS_NEEDED="2")
    review = f"/verifications/{other}/review"
    call("-", "POST", f"{review}/decisions", {"version": 1, "decision": "withdraw"})
    call("proposed", "POST", f"{review}/decisions", {"version": 1, "decision": "approve", "reason": "CONTACT_CONFIRMED"})
    call("-", "POST", f"{review}/decisions", {"version": 2, "decision": "approve", "reason": "JOINT_OR_AUTHORISED"})
    call("changed", "POST", f"{review}/decisions", {"version": 1, "decision": "reject", "reason": "RELATIVE"}, by=OTHER_CALLER)


def _batches(call: Recorder) -> None:
    sandbox = call.sandbox
    made = call("jsonl", "POST", "/batches", {"format": "jsonl"})["id"]
    call("created", "GET", f"/batches/{made}")
    call("not uploaded", "POST", f"/batches/{made}/start")
    call("stopped", "DELETE", f"/batches/{made}")
    batch = Batch(sandbox, manifest(["fca_example", "fca_example"]) + b"{}\n")
    call("started", "POST", f"/batches/{batch.id}/start")
    batch.run(batch.imported())
    call("completed", "GET", f"/batches/{batch.id}")


def _refused(call: Recorder) -> None:
    sandbox = call.sandbox
    claim = dict(CLAIM)
    call("-", "GET", "/accounts/fca_unknown")
    call("-", "GET", "/sessions/pm_unknown")
    call("-", "GET", "/sessions/fcsess_unknown")
    call("-", "GET", "/accounts?customer=cus_unknown")
    call("-", "GET", "/accounts/fca_example/owners?snapshot=fcaowns_unknown")
    call("-", "GET", "/verifications?account=fca_example&cursor=unknown")
    call("-", "GET", f"/verifications/ver_{'0' * 32}")
    call("-", "POST", "/verifications", {"account": "fca_example", "claim": {"nmae": "Margaret"}})
    call("-", "POST", "/verifications", b"\xff")
    call("-", "POST", "/verifications", "{")
    call("-", "POST", "/verifications", {"claim": "x" * 70_000})
    call("-", "POST", "/verifications", {}, **{"Content-Type": "text/plain"})
    call("-", "POST", "/accounts/fca_closed/refreshes")
    for scenario in ("cooling_down", "permission_missing", "no_next_refresh"):
        account = sandbox.link(scenario, id=f"fca_{scenario}").account
        if scenario == "no_next_refresh":
            call("started", "POST", f"/accounts/{account}/refreshes")
            sandbox.wait(6)
            sandbox.settle()
        call("-", "POST", f"/accounts/{account}/refreshes", {"max_age": 0})
    call("-", "POST", "/sessions", {"via": "financial_connections", "relink": {"account": "fca_closed"}})
    for number in range(51):
        sandbox.link("single_owner", id=f"fca_many{number}", customer="cus_many")
    call("-", "POST", "/verifications", {"customer": "cus_many", "claim": claim})
    call("-", "POST", "/webhooks/stripe", "{}")
    nowhere = Answer.of(sandbox.function("api")(http_event("GET", "/nowhere")))
    call.problems[nowhere.problem] = nowhere.json


def _erasing(call: Recorder) -> None:
    call("erased", "DELETE", "/accounts/fca_example")
    call("-", "GET", "/accounts/fca_example/owners")


def main() -> None:
    with contextlib.redirect_stdout(io.StringIO()):  # The functions print metrics.
        made = record()
    openapi_values.ANSWERS.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
