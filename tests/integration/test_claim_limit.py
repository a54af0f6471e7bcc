"""A caller cannot guess an account's owners by trying claims: the number of different ones a day is limited, batches included."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.sandbox import CLAIM, Answer, Moment, Sandbox, client
from titleholder.batches import steps
from titleholder.bootstrap import application
from titleholder.domain.accounts import AccountRef
from titleholder.services import erasure

LIMIT = 5


@pytest.fixture
def limited(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A sandbox that takes `LIMIT` claims for an account and day."""
    # Moto's table cannot take two writers at once.
    monkeypatch.setattr(steps, "WRITERS", 1)
    sandbox.cold_start(CLAIMS_PER_ACCOUNT_PER_DAY=str(LIMIT))
    return sandbox


def verify(sandbox: Sandbox, ref: AccountRef, name: str, key: str | None = None, **claim: Any) -> Answer:
    headers = {"Idempotency_Key": key} if key else {}
    return sandbox.http("POST", "/verifications", {"account": ref.account, "claim": {"name": name, **claim}}, **headers)


def refused(answer: Answer) -> bool:
    return (answer.status, answer.headers.get("content-type")) == (429, "application/problem+json")


def counted(sandbox: Sandbox, ref: AccountRef) -> int:
    items = [item for item in sandbox.items() if (item["pk"]["S"], item["sk"]["S"]) == (f"ACCOUNT#{ref.key}", "DIGESTS")]
    return sum(len(item["digests"]["M"]) for item in items)


def test_claims_beyond_the_limit_are_refused_until_the_oldest_is_a_day_old(limited: Sandbox) -> None:
    ref = limited.link("fresh")
    for number in range(LIMIT):
        assert verify(limited, ref, f"Guess {number}").status == 200
        limited.wait(600)
    before = (limited.items(but=["AUDIT#", "PACE#"]), len(limited.tokens.started), len(limited.published()))
    answer = verify(limited, ref, "Guess more")
    assert answer.problem == "claim-limit-exceeded"
    assert refused(answer)
    assert int(answer.headers["retry-after"]) == 86_400 - LIMIT * 600
    assert (limited.items(but=["AUDIT#", "PACE#"]), len(limited.tokens.started), len(limited.published())) == before
    limited.wait(int(answer.headers["retry-after"]))
    assert verify(limited, ref, "Guess more").status == 200
    assert refused(verify(limited, ref, "And more"))


def test_default_is_a_hundred(sandbox: Sandbox) -> None:
    ref = sandbox.link("fresh")
    aka = [[f"Guess {number} {alias}" for alias in range(20)] for number in range(5)]
    assert [verify(sandbox, ref, names[0], aka=names[1:]).status for names in aka] == [200] * 5
    assert refused(verify(sandbox, ref, "Guess more"))


def test_every_name_that_is_compared_is_a_guess(limited: Sandbox) -> None:
    ref = limited.link("fresh")
    assert verify(limited, ref, "Guess 1", aka=["Guess 2", "Guess 3"]).status == 200
    assert refused(verify(limited, ref, "Guess 4", aka=["Guess 5", "Guess 6"]))
    # What was compared may be compared again, in any order, alone, and beside what is new.
    assert verify(limited, ref, "Guess 3", aka=["Guess 4", "Guess 1"]).status == 200
    assert verify(limited, ref, "Guess 2").status == 200
    assert counted(limited, ref) == 4
    assert verify(limited, ref, "Guess 5").status == 200
    assert refused(verify(limited, ref, "Guess 6"))


def test_every_other_field_makes_another_claim(limited: Sandbox) -> None:
    ref = limited.link("fresh")
    fields: list[dict[str, Any]] = [
        {},
        {"phone": "+15555550100"},
        {"phone": "+15555550101"},
        {"email": "a@example.com"},
        {"address": "1 Main St"},
    ]
    assert [verify(limited, ref, "Margaret", **field).status for field in fields] == [200] * LIMIT
    assert refused(verify(limited, ref, "Margaret", email="b@example.com"))


def test_repeated_claims_are_never_refused_and_write_nothing_more(limited: Sandbox) -> None:
    ref = limited.link("fresh")
    for number in range(LIMIT):
        verify(limited, ref, f"Guess {number}", key=f"k{number}")
    writes: list[Moment] = []
    limited.taps.append(
        lambda moment: writes.append(moment) if "DIGESTS" in str(moment.arguments) and "write" in moment.operation else None
    )
    for number in range(LIMIT):
        assert verify(limited, ref, f"Guess {number}").status == 200
        assert verify(limited, ref, f"Guess {number}", key=f"k{number}").status == 200
    assert writes == []


def test_repeated_request_of_yesterday_finds_its_verification_at_the_limit(limited: Sandbox) -> None:
    ref = limited.link("fresh")
    first = verify(limited, ref, "Margaret", key="k")
    limited.wait(90_000)
    for number in range(LIMIT):
        assert verify(limited, ref, f"Guess {number}").status == 200
    assert verify(limited, ref, "Margaret", key="k").json["id"] == first.json["id"]
    assert refused(verify(limited, ref, "Margaret", key="other"))


def test_accounts_are_counted_apart(limited: Sandbox) -> None:
    one, other = limited.link("fresh"), limited.link("fresh")
    for number in range(LIMIT):
        verify(limited, one, f"Guess {number}")
    assert refused(verify(limited, one, "Guess more"))
    assert verify(limited, other, "Guess more").status == 200


def test_new_claim_costs_no_call_more_and_one_write_more(sandbox: Sandbox) -> None:
    ref = sandbox.link("fresh")
    verify(sandbox, ref, "Guess 1")
    calls: list[Moment] = []
    sandbox.taps.append(lambda moment: calls.append(moment) if moment.service == "dynamodb" and moment.when == "before" else None)
    parts = []
    for name in ("Guess 1", "Guess 2"):
        calls.clear()
        verify(sandbox, ref, name)
        [write] = [moment for moment in calls if moment.operation == "transact_write_items"]
        parts.append((len(calls), len(write.arguments["TransactItems"])))
    assert parts == [(parts[0][0], 4), (parts[0][0], 5)]


def test_claims_at_the_same_time_do_not_exceed_it(limited: Sandbox) -> None:
    ref = limited.link("fresh")
    for number in range(LIMIT - 1):
        verify(limited, ref, f"Guess {number}")
    others = []

    def meanwhile(moment: Moment) -> None:
        if (moment.operation, moment.when) == ("transact_write_items", "before"):
            limited.taps.clear()
            others.append(verify(limited, ref, "Meanwhile"))

    limited.taps.append(meanwhile)
    answer = verify(limited, ref, "Guess more")
    assert refused(answer)
    assert [other.status for other in others] == [200]
    assert counted(limited, ref) == LIMIT


def test_group_is_refused_before_anything_is_done_for_any_of_its_accounts(limited: Sandbox) -> None:
    refs = [limited.link("fresh", customer="cus_1") for _ in range(3)]
    for number in range(LIMIT):
        verify(limited, refs[-1], f"Guess {number}")
    before = limited.items(but=["AUDIT#", "PACE#"])
    body = {"customer": "cus_1", "claim": {"name": "Guess more"}}
    assert refused(limited.http("POST", "/verifications", body))
    heads = [item for item in limited.items(but=["AUDIT#", "PACE#"]) if item["sk"]["S"].startswith(("VERIFICATION", "CLAIM", "DIGESTS"))]
    assert heads == [item for item in before if item["sk"]["S"].startswith(("VERIFICATION", "CLAIM", "DIGESTS"))]
    assert limited.http("POST", "/verifications", {**body, "claim": {"name": "Guess 1"}}).status in (200, 202)


def test_lines_of_a_batch_count_and_those_beyond_are_rejected(limited: Sandbox) -> None:
    ref, other = limited.link("fresh"), limited.link("fresh")
    verify(limited, ref, "Guess 0")
    lines = [{"account": ref.account, "claim": {"name": f"Guess {number}"}} for number in (*range(LIMIT + 1), 1)]
    lines.append({"account": other.account, "claim": dict(CLAIM)})
    batch = limited.http("POST", "/batches", {"format": "jsonl"}).json["id"]
    body = "\n".join(map(json.dumps, lines)).encode()
    client("s3").put_object(Bucket="titleholder-batches", Key=f"manifests/{batch}", Body=body)
    limited.http("POST", f"/batches/{batch}/start")
    step = limited.function("run_batch_step")
    plan = step({"step": "plan", "batch": batch})
    step({"step": "scan", "batch": batch, "block": plan["blocks"][0]})
    step({"step": "cut", "batch": batch, "blocks": plan["blocks"]})
    for part in list(application().batch_bucket.lines(f"batches/{batch}/ranges.jsonl")):
        step({"step": "import", "batch": batch, "range": part})
    rows = list(application().batch_bucket.lines(f"batches/{batch}/rows/000000.jsonl"))
    rejects = list(application().batch_bucket.lines(f"batches/{batch}/rejects/000000.jsonl"))
    assert [row["line"] for row in rows] == [1, 2, 3, 4, 5, 7, 8]
    assert [(reject["line"], reject["column"], reject["reason"]) for reject in rejects] == [(6, "account", steps.CLAIM_LIMIT)]
    assert refused(verify(limited, ref, "Guess more"))


def test_what_is_counted_goes_with_the_account_and_is_never_written_again(limited: Sandbox) -> None:
    ref = limited.link("fresh")
    verify(limited, ref, "Guess 1")
    assert counted(limited, ref) == 1

    def erased(moment: Moment) -> None:
        if (moment.operation, moment.when) == ("transact_write_items", "before"):
            limited.taps.clear()
            erasure.erase(limited.deps, ref)

    limited.taps.append(erased)
    assert verify(limited, ref, "Guess 2").status in (200, 202)
    assert counted(limited, ref) == 0
    for number in range(2 * LIMIT):
        assert verify(limited, ref, f"Guess {number}").status in (200, 202)
    assert counted(limited, ref) == 0


def test_account_that_is_erased_before_a_failed_count_is_looked_at_is_taken_for_erased(limited: Sandbox) -> None:
    ref = limited.link("fresh")

    def another(moment: Moment) -> None:
        if (moment.operation, moment.when) == ("transact_write_items", "before") and "DIGESTS" in str(moment.arguments):
            limited.taps.clear()
            verify(limited, ref, "Guess 1")
            limited.taps.append(erased)

    def erased(moment: Moment) -> None:
        if (moment.operation, moment.when) == ("get_item", "before") and moment.arguments["Key"].get("sk") == {"S": "DIGESTS"}:
            limited.taps.clear()
            erasure.erase(limited.deps, ref)

    limited.taps.append(another)
    assert verify(limited, ref, "Guess 2").status in (200, 202)
    assert limited.taps == []
    assert counted(limited, ref) == 0


def test_refusal_is_recorded_and_counted(limited: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    ref = limited.link("fresh")
    for number in range(LIMIT):
        verify(limited, ref, f"Guess {number}")
    before = {item["sk"]["S"] for item in limited.items() if item["pk"]["S"].startswith("AUDIT#")}
    verify(limited, ref, "Guess more")
    entries = [item for item in limited.items() if item["pk"]["S"].startswith("AUDIT#") and item["sk"]["S"] not in before]
    states = [{name: item[name]["S"] for name in ("action", "account", "state", "failure") if name in item} for item in entries]
    about = {"action": "verification.requested", "account": ref.account}
    assert sorted(states, key=len) == [
        {**about, "state": "requested"},
        {**about, "state": "failed", "failure": "ClaimLimitExceededError"},
    ]
    assert '"ClaimLimitExceeded":[1' in capsys.readouterr().out.replace(" ", "")
