"""Personal data stays in the table, and requests to Stripe fit Stripe's OpenAPI document."""

from __future__ import annotations

import json

from tests.e2e.stack_driver import StackDriver
from tests.support.stripe_openapi import required

CLAIM = {
    "name": "Zebulon Quackenbush", "email": "zebulon@quackenbush.example.com", "phone": "+1 555 555 0177",
    "address": {"line1": "77 Nowhere Lane", "city": "Springfield", "postal_code": "62799"},
}  # fmt: skip
OWNER = {"name": "ZEBULON QUACKENBUSH", "email": "zq@bank.example.com", "phone": "5555550188", "raw_address": "78 ELSEWHERE LN 62788"}
# Long enough that no id has them by chance.
TRACES = ("quackenbush", "zebulon", "zq@bank", "555 0177", "5550177", "5550188", "nowhere", "elsewhere", '"62799"', "ln 62788")


def test_verdict_is_announced_by_ids_and_scores_alone(driver: StackDriver, announcement_queue: str) -> None:
    account = driver.link("single_owner", owners=[OWNER])
    verification = driver.accepted(account, CLAIM)
    verdict = driver.verdict(verification)
    # Others' verdicts, which came late, are announced as well.
    while (message := driver.received(announcement_queue))["detail"].get("verification") != verification:
        pass
    assert (message["source"], message["detail-type"]) == ("titleholder", "VerificationCompleted")
    detail = message["detail"]
    assert detail["scores"] == {name: field["score"] for name, field in verdict["fields"].items()}
    for name in ("outcome", "score", "reasons", "snapshot", "matcher_version", "policy_version"):
        assert detail[name] == verdict[name]
    assert detail["review"] is None
    assert (detail["verification"], detail["account"], detail["mode"]) == (verification, account, "test")
    assert set(detail) == {
        "verification", "account", "mode", "outcome", "score", "scores", "reasons", "snapshot", "matcher_version", "policy_version",
        "review",
    }  # fmt: skip
    assert not traces(json.dumps(message))


def test_neither_logs_nor_histories_hold_personal_data(driver: StackDriver) -> None:
    account = driver.link("single_owner", owners=[OWNER])
    verification = driver.accepted(account, CLAIM)
    driver.verdict(verification)
    driver.http.call("GET", f"/accounts/{account}/owners")
    driver.request(account, {**CLAIM, "colour": "red"})
    lines = list(driver.log_lines())
    assert any(verification in line for line in lines), "the log was read"
    assert not [line for line in lines if traces(line)]
    assert not traces(json.dumps(driver.ended(verification), default=str))
    keys = " ".join(exchange.headers.get("Idempotency-Key", "") for exchange in driver.exchanges)
    assert not traces(keys)


def test_calls_to_stripe_fit_stripes_document(driver: StackDriver) -> None:
    judge = required()
    driver.verdict(driver.accepted(driver.link("paged_owners", policy={"owners_page": 5})))
    for exchange in driver.exchanges:
        assert judge.validate_request(exchange.method, exchange.target, exchange.body, exchange.headers["Stripe-Version"]), exchange


def traces(text: str) -> list[str]:
    return [trace for trace in TRACES if trace in text.lower()]
