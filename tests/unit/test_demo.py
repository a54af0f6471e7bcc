"""What the demo shows of its verifications, by rows of a real run: `python -m tools.draw_demo --keep` takes newer ones."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from local import demo, demo_page, demo_table
from local.demo import CASES
from local.stripe_simulator.scenarios import SCENARIOS
from titleholder.domain.timeline import KINDS
from titleholder.matching import decide, explain

ROOT = Path(__file__).parents[2]
ROWS: list[dict[str, Any]] = json.loads((ROOT / "tests" / "fixtures" / "demo.json").read_text())
BY_ACCOUNT = {row["account"]: row for row in ROWS}
WIDTHS = (44, 60, 80, 100, 120)


def printed(width: int, *accounts: str) -> str:
    return "\n".join(demo_table.lines([BY_ACCOUNT[account] for account in accounts], width))


def words(text: str) -> str:
    """The text without its line breaks."""
    return " ".join(text.split())


@pytest.mark.parametrize("row", ROWS, ids=BY_ACCOUNT)
def test_kept_row_is_what_the_matcher_answers_now(row: dict[str, Any]) -> None:
    """If it is not, run `make demo`, then `python -m tools.draw_demo --keep`, and replace README's sample."""
    case = CASES[row["account"]]
    assert row["claim"] == case.claim
    assert row["owners"] == [dict(owner) for owner in SCENARIOS[case.scenario].owners]
    if row["score"] is not None:
        verdict = json.loads(json.dumps(decide(case.claim, row["owners"]).as_dict()))
        found = {"verdict": verdict["outcome"], **{name: verdict[name] for name in ("score", "fields", "reasons", "owner_position")}}
        assert {name: row[name] for name in found} == found


@pytest.mark.parametrize("width", WIDTHS)
def test_row_shows_claim_owner_verdict_and_score(width: int) -> None:
    for account, row in BY_ACCOUNT.items():
        text = printed(width, account)
        # A long cell is continued on the next line.
        for word in f"{demo_table.party(row['claim'])} {demo_table.owner(row)} {row['verdict']} {row['about']}".split():
            assert word in text
        assert row["score"] is None or re.search(rf"^{account} .* {row['score']:g}$", text, re.MULTILINE)
        assert words(demo_table.why(row)) in words(text)


@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    found = [*demo_table.lines(ROWS, width), *demo_table.legend(width)]
    assert [line for line in found if len(line) > width] == []


def test_claim_and_owner_are_named_as_the_scenario_gives_them() -> None:
    assert demo_table.party(BY_ACCOUNT["fca_relative"]["claim"]) == "Margaret Testerman"
    assert demo_table.owner(BY_ACCOUNT["fca_relative"]) == "HAROLD TESTERMAN"
    assert demo_table.party(BY_ACCOUNT["fca_business"]["claim"]) == "Placeholder Provisions (business)"
    assert demo_table.owner(BY_ACCOUNT["fca_paged"]) == "MARGARET ANNE TESTERMAN (13 of 13)"
    assert demo_table.owner(BY_ACCOUNT["fca_inactive"]) == "MARGARET ANNE TESTERMAN (not read)"
    assert demo_table.owner(BY_ACCOUNT["fca_noowners"]) == "none given"


def test_reason_and_field_scores_say_why_a_score_is_what_it_is() -> None:
    assert demo_table.why(BY_ACCOUNT["fca_nickname"]) == (
        "One given name is a usual short or familiar form of the other. "
        "Scores: name 90.45 (NICKNAME), address 100, phone 100; email not from the bank."
    )
    assert demo_table.why(BY_ACCOUNT["fca_partial"]).endswith("Scores: name 99 (MIDDLE_OMITTED); address, phone, email not from the bank.")
    assert demo_table.why(BY_ACCOUNT["fca_business"]).endswith("; address, phone, email not in the claim.")
    assert "; address, phone not in the claim; email on neither side." in demo_table.why(BY_ACCOUNT["fca_jointline"])


def test_score_in_the_band_of_close_matches_says_what_makes_it_no_match() -> None:
    assert "By the default policy, a verdict with RELATIVE_LIKELY is never close_match." in demo_table.why(BY_ACCOUNT["fca_relative"])
    assert "is never close_match" not in demo_table.why(BY_ACCOUNT["fca_trust"])
    assert "is never close_match" not in demo_table.why(BY_ACCOUNT["fca_soletrader"])


def test_verification_without_a_score_says_why_it_is_not_verifiable() -> None:
    assert demo_table.why(BY_ACCOUNT["fca_inactive"]) == f"{explain('ACCOUNT_INACTIVE')} (ACCOUNT_INACTIVE)"
    assert demo_table.why({**BY_ACCOUNT["fca_single"], "reasons": []}).startswith("The names are the same. Scores: name 98")
    none: dict[str, Any] = {"verdict": "none", "score": None, "fields": {}, "reasons": [], "owner_position": None}
    assert demo_table.why({**BY_ACCOUNT["fca_single"], **none}) == "The verification has not ended in time."
    assert "fca_single" in "".join(demo_table.lines([{**BY_ACCOUNT["fca_single"], **none}], 80))


@pytest.mark.parametrize("width", WIDTHS)
def test_legend_explains_each_column_and_line(width: int) -> None:
    head = printed(width, "fca_single").splitlines()[0].split()
    labels = re.findall(r"^  (\w+) ", printed(width, "fca_single", "fca_relinked", "fca_expiring"), re.MULTILINE)
    assert {*head, *labels, "claim", "owner"} == set(demo_table.LEGEND)
    legend = "\n".join(demo_table.legend(width))
    assert re.findall(r"^(\w+)  ", legend, re.MULTILINE) == list(demo_table.LEGEND)


def test_output_into_a_file_has_the_width_of_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def width(columns: str) -> int:
        monkeypatch.setenv("COLUMNS", columns)
        return demo_table.terminal_width()

    assert [width(columns) for columns in ("20", "80", "300")] == [44, 80, 120]
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr("os.get_terminal_size", lambda _: (_ for _ in ()).throw(OSError("not a terminal")))
    assert demo_table.terminal_width() == 100


def test_terminal_page_and_data_give_the_same_seconds_of_the_timeline() -> None:
    for row in ROWS:
        took = demo_table.seconds(row["timeline"])
        assert took is not None
        assert row["seconds"] == took
        late = demo_table.how({**row, "seconds": took + 100})
        assert f": {took:.1f} s, " in late
        assert f"; verdict after {took:.1f}\N{NO-BREAK SPACE}s</p>" in demo_page.page([row])
    assert BY_ACCOUNT["fca_lost"]["seconds"] == 13.8
    without = {**BY_ACCOUNT["fca_lost"], "timeline": {"steps": BY_ACCOUNT["fca_lost"]["timeline"]["steps"][:-1]}}
    assert ": no verdict, " in demo_table.how(without)
    assert "verdict after" not in demo_page.page([without])


@pytest.mark.parametrize(
    ("account", "reasons", "states", "what"),
    [
        ("fca_single", ["MIDDLE_OMITTED"], [], "refreshed"),
        ("fca_noowners", ["NO_OWNERS"], [], "refreshed"),
        ("fca_failing", ["REFRESH_FAILED"], [], "refresh failed"),
        ("fca_never", ["REFRESH_TIMED_OUT"], ["TaskTimedOut"], "refresh started, gave up"),
    ],
)
def test_refresh_that_did_not_succeed_is_not_called_refreshed(
    account: str, reasons: list[str], states: list[str], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = demo_row(account, {"outcome": "not_verifiable", "reasons": reasons}, Counter(states), 1, monkeypatch)
    assert row["what"] == what


@pytest.mark.parametrize(
    ("at_once", "about"), [(False, "A prefetch is under way"), (True, "A prefetch has ended before the verification was requested")]
)
def test_row_of_the_prefetch_says_whether_it_was_under_way(at_once: bool, about: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = demo_row("fca_prefetch", {"outcome": "match", "reasons": []}, Counter(), 0, monkeypatch, at_once=at_once)
    assert row["about"] == about
    assert row["what"] == ("found fresh" if at_once else "joined")


def demo_row(
    account: str, verdict: dict[str, Any], kinds: Counter[str], refreshes: int, monkeypatch: pytest.MonkeyPatch, *, at_once: bool = False
) -> dict[str, Any]:
    """The row of a verification that ended so."""
    monkeypatch.setattr(demo, "_history", lambda *_: ([], kinds))
    monkeypatch.setattr(demo, "_calls", lambda *_: Counter())
    simulator: Any = SimpleNamespace(initiated_refreshes=lambda: Counter({account: refreshes}))
    found = {
        "id": "ver_1",
        "verdict": {"score": None, "fields": {}, "owner_position": None, **verdict},
        "timeline": BY_ACCOUNT["fca_lost"]["timeline"],
    }
    stack: Any = None
    return demo._row(stack, simulator, {account: 0}, account, CASES[account], found, at_once)


def test_every_word_for_what_happened_is_explained_or_plain() -> None:
    assert demo_table.how(BY_ACCOUNT["fca_lost"]).startswith("refreshed, asked again because no webhook came: ")
    assert re.fullmatch(r"fresh owners were stored: \d+\.\d s, 0 transitions, 0 calls", demo_table.how(BY_ACCOUNT["fca_fresh"]))
    assert demo_table.how({**BY_ACCOUNT["fca_fresh"], "stripe_calls": 1}).endswith("1 call")


@pytest.mark.parametrize(("change", "problem"), [({}, None), ({"verdict": "close_match"}, "verdict close_match, expected match")])
def test_exit_code_and_last_line_say_whether_a_verdict_is_not_the_expected_one(
    change: dict[str, Any], problem: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "BUILD", tmp_path)
    rows = [BY_ACCOUNT["fca_relative"], {**BY_ACCOUNT["fca_single"], **change}]
    assert demo.report(rows) == (1 if problem else 0)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (f"NOT AS EXPECTED  fca_single: {problem}" if problem else f"The same as data: {tmp_path / 'demo.json'}")
    assert json.loads((tmp_path / "demo.json").read_text()) == rows
    assert ("Not as expected: " + str(problem) in (tmp_path / "demo.html").read_text()) == bool(problem)


# The page


def test_page_loads_nothing_and_runs_nothing() -> None:
    page = demo_page.page(ROWS)
    assert re.findall(r"(?:https?:)?//[\w.]+|<script|\bon\w+=|url\(|@import", page) == []
    assert re.findall(r"(?:src|href)=\"([^\"]*)", page) == ["data:,"]


def test_page_escapes_all_text() -> None:
    evil = "<img src=x onerror=alert(1)>&\"'"

    def spoil(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: spoil(each, name) for name, each in value.items()}
        if isinstance(value, list):
            return [spoil(each, key) for each in value]
        # These are compared, read as times or looked up.
        return value if not isinstance(value, str) or key in ("at", "resume_at", "reasons", "reason") else value + evil

    rows = [spoil(row) for row in ROWS]
    for row in rows:
        for spoiled, step in zip(row["timeline"]["steps"], BY_ACCOUNT[row["account"].removesuffix(evil)]["timeline"]["steps"], strict=True):
            spoiled["kind"] = step["kind"]
    rows[0]["timeline"]["steps"].append({"at": rows[0]["timeline"]["steps"][-1]["at"], "kind": "new_kind" + evil})
    page = demo_page.page(rows, {rows[0]["account"]: [evil]})
    assert "<img" not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;&amp;&quot;&#x27;") > 5 * len(ROWS)


def test_page_shows_what_the_table_shows_and_the_contacts() -> None:
    page = demo_page.page(ROWS)
    for name in ("Margaret Testerman", "HAROLD TESTERMAN", "harold.testerman@<wbr>example.com", "+1 555-555-0106", "50.19"):
        assert name in page
    assert f"{explain('PHONE_DIFFERS')} <code>PHONE_DIFFERS</code>" in page
    assert "By the default policy, a verdict with <code>RELATIVE_LIKELY</code> is never close_match." in page


def test_timeline_says_what_the_verification_waited_for_and_how_long() -> None:
    def spoken(account: str) -> str:
        return re.findall(r'aria-label="([^"]*)"', demo_page.page([BY_ACCOUNT[account]]))[0]

    assert spoken("fca_cooling").split("; ")[1].startswith("waits for the cooldown 1")
    assert "waits for Stripe&#x27;s refresh" in spoken("fca_lost")
    assert "waits for the account&#x27;s repair" in spoken("fca_relinked")
    # Its owners were fetched before it was requested.
    assert "waits" not in spoken("fca_fresh")
    assert re.search(r">\N{MINUS SIGN}\d+\.\d\d s</span> <span>Owners fetched<", demo_page.page([BY_ACCOUNT["fca_fresh"]]))


def test_steps_are_named_as_on_the_review_desk() -> None:
    desk = (ROOT / "functions" / "desk" / "desk.js").read_text()
    steps = desk[desk.index("const WOKEN") : desk.index("function showTimeline")]
    for words in [*demo_page.STEPS.values(), *demo_page.CONTINUED.values()]:
        for part in re.split(r" until |\{\w+\}", words):
            assert part.strip(" ()") in steps, part
    # The demo has no reviews and batches.
    of_reviews = {"review_opened", "proposed", "withdrawn", "decided", "expired", "batch_stopped"}
    assert set(demo_page.STEPS) == set(KINDS) - of_reviews
