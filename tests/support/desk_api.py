"""The review desk's page over an API that a test scripts: the page as its function serves it, invented reviews, and any failure on demand.

It is for what an API that works does not show: each screen in each state, with ages of days. What the page does with the real API and the
real sign-in is the subject of tests/e2e/test_desk.py and tests/e2e/test_desk_page.py.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

from tests.support.functions import FUNCTIONS, http_event, load

YOU, OTHER = "https://idp.example.com#reviewer-3f2a", "https://idp.example.com#reviewer-b71c"
SIGN_IN = """
export async function signIn() {
  let ended = () => {};
  globalThis.endSession = () => ended();
  const onEnded = (callback) => { ended = callback; };
  // A window for signing in that a test closes: nothing comes of it until another one takes its place.
  globalThis.windows = [];
  const signInAgain = () => !globalThis.closing ? Promise.resolve() : new Promise((resolve, reject) => {
    globalThis.windows.at(-1)?.(Object.assign(new Error("Another window for signing in was opened."), { code: "interrupted" }));
    globalThis.windows.push(reject);
    globalThis.signedIn = resolve;
  });
  return { token: async () => "token", onEnded, signInAgain, signOut: async () => false };
}
"""
HOUR, DAY = 3600, 86_400


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def verification(number: int) -> str:
    return f"ver_{_digest(str(number))[:32]}"


def at(ago: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - ago))


@dataclass
class Answer:
    """What a scripted call is answered with; `status` 0: the connection breaks."""

    status: int
    problem: str = ""
    detail: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        return {"type": f"urn:titleholder:problem:{self.problem}", "title": "", "status": self.status, "detail": self.detail, **self.more}


def close_match(number: int, ago: float, score: float, *reasons: str, **more: Any) -> dict[str, Any]:
    """A row of the queue."""
    return {
        "verification": verification(number), "account": f"fca_1Qx{_digest(str(-number))[:12]}", "stripe_account": None, "state": "open",
        "version": 1, "opened_by": "rule", "opened_at": at(ago), "age": int(ago), "outcome": "close_match", "score": score,
        "reasons": list(reasons), "seen": None, **more,
    }  # fmt: skip


def names() -> dict[str, Any]:
    """A comparison. All names are invented."""
    part = lambda text, differs=False: {"text": text, "differs": differs}  # noqa: E731
    nothing: dict[str, Any] = {"claim": None, "bank": None}
    return {
        "snapshot": "fcaowns_1", "refreshed_at": at(3 * DAY), "newest": True, "owner_position": 0,
        "fields": [
            {"field": "name", "score": 62.0, "missing": None, "same": False, "reasons": ["MIDDLE_DIFFERS"],
             "sentences": ["The middle names differ."], "other_claimed": [],
             "claim": [part("Margaret "), part("Anne", True), part(" Testerman")],
             "bank": [part("MARGARET "), part("LOUISE", True), part(" TESTERMAN")]},
            {"field": "address", "score": 85.0, "missing": None, "same": False, "reasons": ["UNIT_MISSING"],
             "sentences": ["One side has no apartment or unit."], "other_claimed": [],
             "claim": [part("12 Elm Street "), part("Apt 4", True), part(", Springfield, IL 62701")],
             "bank": [part("12 ELM ST SPRINGFIELD IL 62701")]},
            {"field": "phone", "score": 100.0, "missing": None, "same": True, "reasons": [], "sentences": [], **nothing},
            {"field": "email", "score": None, "missing": "bank", "same": False, "reasons": [], "sentences": [], **nothing},
        ],
        "other_owners": ["HOMER Q TESTERMAN"], "other_owner_count": 1, "may_tell": ["The middle names differ."], "may_name_owner": True,
    }  # fmt: skip


class DeskApi:
    """The scripted API. `rows`: the queue; `answers`: by a part of the path, what the next calls are answered with instead."""

    def __init__(self) -> None:
        self.rows = [
            close_match(1, 3 * DAY + 4 * HOUR, 62.0, "MIDDLE_DIFFERS", "UNIT_MISSING"),
            close_match(2, 2 * DAY + HOUR, 55.0, "BUSINESS_VS_PERSON"),
            close_match(3, 6 * HOUR, 58.0, "SURNAME_SIMILAR", "CONTACT_AGREES", seen={"by_you": False, "at": at(125)}),
            close_match(4, 5 * HOUR, 71.0, "MAIDEN_NAME_LIKELY"),
            close_match(5, 3 * HOUR + 600, 64.0, "NICKNAME", "GIVEN_NAME_SIMILAR", seen={"by_you": True, "at": at(2400)}),
            close_match(6, 2 * HOUR, 31.0, "NAME_DIFFERS", outcome="no_match", opened_by="manual"),
            close_match(7, 1500, 60.0, "TRUST", "JOINT_OWNER"),
            close_match(8, 40, 66.0, "INITIALS_ONLY"),
            close_match(9, DAY, 57.0, "LEGAL_FORM_DIFFERS", state="proposed", version=2),
        ]
        self._first = list(self.rows)
        self.reviews = {row["verification"]: self._review(row) for row in self.rows}
        self.reviews[verification(9)]["decisions"] = [self.decision("approve", "BUSINESS_RELATION_DOCUMENTED", OTHER, HOUR, "CASE-4711")]
        self.comparison = names()
        self.may = ["reveal", "decide"]
        self.you = YOU
        self.caller_unknown: str | None = None
        self.recorded, self.left_out = True, 0
        self.steps: list[dict[str, Any]] = []
        # The connected account that each call named.
        self.tenants: list[str | None] = []
        self.open: str | None = None
        self.answers: dict[str, list[Answer]] = {}
        self.calls: list[tuple[str, str, Any]] = []
        self.slow = threading.Event()
        self.slow.set()
        self.url = ""

    @staticmethod
    def decision(kind: str, reason: str | None, by: str, ago: float = 0.0, reference: str | None = None) -> dict[str, Any]:
        return {"by": by, "at": at(ago), "decision": kind, "reason": reason, "reference": reference, "noted": False}

    @staticmethod
    def _review(row: dict[str, Any]) -> dict[str, Any]:
        kept = {name: row[name] for name in ("verification", "state", "version", "opened_by", "opened_at")}
        return {**kept, "closed_at": None, "resolution": None, "closed_reason": None, "reviewers_needed": 1, "decisions": []}

    def close(self, id: str, resolution: str, reason: str, by: str = OTHER) -> dict[str, Any]:
        """Let another reviewer decide, or (`expired`) the review end by itself."""
        review = self.reviews[id]
        review |= {"state": "closed", "version": review["version"] + 1, "closed_at": at(0), "resolution": resolution}
        if resolution == "expired":
            review["closed_reason"] = reason
        else:
            review["decisions"] = [*review["decisions"], self.decision("approve" if resolution == "approved" else "reject", reason, by)]
        self.rows = [row for row in self.rows if row["verification"] != id]
        return review

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
        self.slow.wait(20)
        for part, scripted in self.answers.items():
            if part in path and scripted:
                given = scripted.pop(0)
                return given.status, given.body(), {"apigw-requestid": "Kf3xQhk2IAMEVtg=", **given.headers}
        if path == "/reviews":
            return 200, self._page(query), {}
        id = path.split("/")[2]
        review = self.reviews.get(id)
        if path.endswith("/timeline"):
            return 200, self._timeline(id), {}
        if review is None:
            return 404, Answer(404, "review-not-found", "This verification has no review.").body(), {}
        if path.endswith("/comparison"):
            return 200, {"verification": id, **self.comparison}, {}
        if review["state"] == "closed" or review["version"] != body["version"]:
            kind = "review-closed" if review["state"] == "closed" else "review-changed"
            return 409, Answer(409, kind, "Another decision came first.", more={"review": review}).body(), {}
        return self._decide(review, body)

    def _decide(self, review: dict[str, Any], body: dict[str, Any]) -> tuple[int, dict[str, Any], dict[str, str]]:
        made = self.decision(body["decision"], body.get("reason"), self.you, reference=body.get("reference"))
        review |= {"version": review["version"] + 1, "decisions": [*review["decisions"], made]}
        if body["decision"] == "withdraw":
            review["state"] = "open"
            return 200, {**review, "final": None}, {}
        review |= {"state": "closed", "closed_at": at(0), "resolution": "approved" if body["decision"] == "approve" else "rejected"}
        self.rows = [row for row in self.rows if row["verification"] != review["verification"]]
        outcome = "match" if body["decision"] == "approve" else "no_match"
        return 200, {**review, "final": {"outcome": outcome, "by": "review", "at": at(0)}}, {}

    def _page(self, query: dict[str, str]) -> dict[str, Any]:
        listed = [row for row in self.rows if row["state"] == query["state"]]
        shown = [row for row in listed if not query.get("reason") or query["reason"] in row["reasons"]]
        begin, limit = int(query.get("cursor", "0")), int(query["limit"])
        cursor = str(begin + limit) if len(shown) > begin + limit else None
        count = self.open if self.open is not None and query["state"] == "open" else str(len(listed))
        caller = {"you": self.you, "may": self.may, "caller_unknown": self.caller_unknown}
        return {"reviews": shown[begin : begin + limit], "open": count, **caller, "next_cursor": cursor}

    def _timeline(self, id: str) -> dict[str, Any]:
        review = self.reviews.get(id)
        opened = time.time() - time.mktime(time.strptime(review["opened_at"], "%Y-%m-%dT%H:%M:%SZ")) + time.timezone if review else 600
        row = next(
            (row for row in [*self.rows, *self._first] if row["verification"] == id),
            {"reasons": ["NORMALISED"], "outcome": "match", "score": 97},
        )
        verdict = {
            "outcome": row["outcome"],
            "score": row["score"],
            "reasons": row["reasons"],
            "matcher_version": "2026-1",
            "policy_version": "2026-1",
        }
        steps = [
            {"at": at(opened + 1748), "kind": "requested"},
            {"at": at(opened + 1747), "kind": "cooldown_began", "resume_at": at(opened + 8)},
            {"at": at(opened + 8), "kind": "cooldown_over"},
            {"at": at(opened + 7), "kind": "refresh_started"},
            {"at": at(opened + 2), "kind": "webhook", "event": "evt_1QxTestEvent0001",
             "event_type": "financial_connections.account.refreshed_ownership"},
            {"at": at(opened + 1), "kind": "owners_fetched"},
            {"at": at(opened + 1), "kind": "woken", "by": "webhook", "outcome": "ready"},
            {"at": at(opened), "kind": "verdict", "outcome": row["outcome"], "score": row["score"]},
        ]  # fmt: skip
        if review:
            steps.append({"at": at(opened), "kind": "review_opened", "by": review["opened_by"]})
            steps += [
                {"kind": "decided", **decision} for decision in review["decisions"] if review["resolution"] in ("approved", "rejected")
            ]
            if review["resolution"] == "expired":
                steps.append({"at": review["closed_at"], "kind": "expired", "reason": review["closed_reason"]})
        outcome = {"approved": "match", "rejected": "no_match"}.get(review["resolution"] if review else "")
        final = outcome and {"outcome": outcome, "by": "review", "at": at(0)}
        head = {
            "id": id, "account": row.get("account", "fca_1QxTestbank"), "stripe_account": None, "state": "completed", "stale": None,
            "review": review and review["state"], "final": final, "verdict": verdict,
        }  # fmt: skip
        shown = review and {**copy.deepcopy(review), "seen": row.get("seen")}
        steps += self.steps
        return {"verification": head, "review": shown, "recorded": self.recorded, "steps": steps, "left_out": self.left_out}


@contextmanager
def running(folder: Path, *, library: Path | None = None) -> Iterator[DeskApi]:
    """The page and its API at an address of this machine.

    `folder`: an empty one, for the page's files. `library`: the one for signing in, which the page loads and does not use here.
    """
    api = DeskApi()
    shutil.copytree(FUNCTIONS / "desk", folder / "desk", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "desk" / "sign_in.js").write_text(SIGN_IN)
    (folder / "desk" / "oauth4webapi.js").write_text(library.read_text() if library else "export {};\n")
    with mock.patch.dict(os.environ, {"DESK_ISSUER": "https://idp.example.com", "DESK_CLIENT_ID": "desk"}):
        page = load("desk", folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            raw = self.rfile.read(length)
            path, _, query = self.path.partition("?")
            parameters = dict(pair.split("=", 1) for pair in query.split("&") if "=" in pair)
            if path == "/desk" or path.startswith("/desk/"):
                event = http_event(self.command, self.path, headers=dict(self.headers))
                event |= {"pathParameters": {"file": path.removeprefix("/desk/")}} if path != "/desk" else {}
                answer = page(event)
                body = base64.b64decode(answer["body"]) if answer["isBase64Encoded"] else answer["body"].encode()
                return self._send(answer["statusCode"], answer["headers"], body)
            data = json.loads(raw) if raw else None
            api.calls.append((self.command, path, data))
            api.tenants.append(self.headers.get("Stripe-Account"))
            status, given, headers = api.answer(self.command, path, parameters, data)
            if status == 0:
                self.close_connection = True
                return None
            return self._send(
                status, {"Content-Type": "application/json", "Cache-Control": "no-store", **headers}, json.dumps(given).encode()
            )

        def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _serve

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield api
    finally:
        api.slow.set()
        server.shutdown()
        server.server_close()
