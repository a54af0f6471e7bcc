"""The dashboard in template.yaml: a body that CloudWatch takes, metrics that exist, and what an operator has to see."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest

from tests.support.functions import ROOT
from tests.support.metrics import DOCUMENTED, NAMESPACE, emitted
from tests.support.resolved import resolved
from tests.support.template import resources, template
from titleholder.domain.reviews import REASONS
from titleholder.services.verifications import OUTCOMES
from tools import draw_dashboard

COLUMNS = 24
SIZES = {"width": (1, 24), "height": (1, 1000), "x": (0, 23), "y": (0, 10_000)}
KEYS = {
    "text": {"markdown"},
    "alarm": {"title", "alarms", "sortBy", "states"},
    "metric": {
        "title", "region", "view", "stacked", "stat", "period", "metrics", "yAxis", "annotations", "setPeriodToTimeRange", "legend",
        "liveData", "sparkline", "timezone", "table", "trend", "singleValueFullPrecision",
    },
}  # fmt: skip
"""The properties that each type of widget may have."""

OPTIONS = {"id", "label", "stat", "period", "color", "yAxis", "visible", "region"}
OF_EXPRESSIONS = {"expression", "id", "label", "period", "color", "yAxis", "visible", "region"}
STAT = re.compile(r"Sum|SampleCount|Average|Minimum|Maximum|p\d{1,2}(\.\d+)?|PR\(:\d+(\.\d+)?\)")
FUNCTIONS = {"SUM", "FILL", "IF", "PERIOD", "METRICS", "AVG", "MAX", "MIN"}


@cache
def body(stack: str = "titleholder") -> Any:
    """The dashboard as CloudFormation would hand it to CloudWatch."""
    return json.loads(resolved(stack=stack)["Dashboard"]["Properties"]["DashboardBody"])


def widgets(type_: str) -> list[dict[str, Any]]:
    return [widget for widget in body()["widgets"] if widget["type"] == type_]


GRAPHS = {graph["properties"]["title"]: graph["properties"] for graph in widgets("metric")}


def rows(graph: Mapping[str, Any]) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """Each row of a graph: namespace, name and dimensions, or nothing for an expression; and its options."""
    for row in graph["metrics"]:
        yield (row[:-1], row[-1]) if isinstance(row[-1], dict) else (row, {})


def shown() -> set[str]:
    """The names of all metrics on the dashboard."""
    return {row[1] for graph in GRAPHS.values() for row, _ in rows(graph) if row}


def test_dashboard_has_the_stacks_name() -> None:
    (dashboard,) = resources("AWS::CloudWatch::Dashboard").values()
    assert dashboard["DashboardName"] == {"Ref": "AWS::StackName"}


def test_body_has_the_documented_parts_only() -> None:
    assert set(body()) == {"start", "periodOverride", "widgets"}
    assert re.fullmatch(r"-P(T\d+[HM]|\d+[DWM])", body()["start"])
    assert body()["periodOverride"] in ("auto", "inherit")
    assert 0 < len(body()["widgets"]) <= 500
    assert len(json.dumps(body())) < 1_000_000


@pytest.mark.parametrize("widget", body()["widgets"], ids=lambda widget: widget["properties"].get("title", widget["type"]))
def test_widget_has_the_documented_parts_only(widget: dict[str, Any]) -> None:
    assert set(widget) == {"type", "x", "y", "width", "height", "properties"}
    for name, (low, high) in SIZES.items():
        assert type(widget[name]) is int
        assert low <= widget[name] <= high
    assert widget["x"] + widget["width"] <= COLUMNS
    assert set(widget["properties"]) <= KEYS[widget["type"]]


def test_widgets_do_not_overlap_and_leave_no_gaps() -> None:
    taken = [
        (x, y)
        for widget in body()["widgets"]
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]
    assert len(set(taken)) == len(taken)
    assert set(taken) == set(itertools.product(range(COLUMNS), range(1 + max(y for _, y in taken))))


@pytest.mark.parametrize("title", GRAPHS)
class TestGraph:
    def test_graph_has_values_that_cloudwatch_takes(self, title: str) -> None:
        graph = GRAPHS[title]
        assert graph["region"] == "eu-west-1"
        assert graph["view"] in ("timeSeries", "singleValue", "gauge", "bar", "pie", "table")
        assert graph["period"] in (60, 300, 900, 3600)
        assert isinstance(graph.get("stacked", False), bool)
        assert graph.get("setPeriodToTimeRange", False) == (graph["view"] == "singleValue")
        for axis, limits in graph.get("yAxis", {}).items():
            assert axis in ("left", "right")
            assert set(limits) <= {"min", "max", "label", "showUnits"}
        for kind, lines in graph.get("annotations", {}).items():
            assert kind == "horizontal"
            for line in lines:
                assert set(line) == {"label", "value"}
                assert isinstance(line["value"], int | float)

    def test_graph_shows_metrics_that_exist(self, title: str) -> None:
        for row, options in rows(GRAPHS[title]):
            assert all(isinstance(part, str) for part in row)
            # Abbreviations (`.` and `...`) save nothing here and hide mistakes.
            assert not {".", "..."} & set(row)
            assert set(options) <= (OPTIONS if row else OF_EXPRESSIONS)
            if not row:
                continue
            namespace, name, *pairs = row
            assert len(pairs) % 2 == 0
            dimensions = dict(zip(pairs[::2], pairs[1::2], strict=True))
            if namespace == NAMESPACE:
                assert emitted().get(name) == frozenset(dimensions), name
                assert dimensions["service"] == "titleholder"
            else:
                assert name in DOCUMENTED.get((namespace, frozenset(dimensions)), ()), row
            assert STAT.fullmatch(options.get("stat", GRAPHS[title].get("stat", ""))), "no statistic"

    def test_expressions_of_a_graph_name_its_metrics_only(self, title: str) -> None:
        ids = [options["id"] for _, options in rows(GRAPHS[title]) if "id" in options]
        assert len(set(ids)) == len(ids)
        for row, options in rows(GRAPHS[title]):
            if row:
                continue
            words = set(re.findall(r"[A-Za-z_]\w*", re.sub(r'METRICS\("\w+"\)', "METRICS", options["expression"])))
            assert words & FUNCTIONS == {word for word in words if word.isupper()}
            assert words - FUNCTIONS <= set(ids) - {options["id"]}
            for part in re.findall(r'METRICS\("(\w+)"\)', options["expression"]):
                assert [id_ for id_ in ids if part in id_]
            assert options["label"]

    def test_what_a_graph_hides_is_used_by_an_expression(self, title: str) -> None:
        expressions = " ".join(options["expression"] for row, options in rows(GRAPHS[title]) if not row)
        parts = re.findall(r'METRICS\("(\w+)"\)', expressions)
        for _, options in rows(GRAPHS[title]):
            if options.get("visible") is False:
                assert re.search(rf"\b{options['id']}\b", expressions) or any(part in options["id"] for part in parts)

    def test_every_line_of_a_graph_has_a_name(self, title: str) -> None:
        labels = [options["label"] for _, options in rows(GRAPHS[title]) if options.get("visible", True)]
        assert all(labels)
        assert len(set(labels)) == len(labels)


def test_outcomes_on_the_dashboard_are_all_there_are() -> None:
    found = {row[row.index("outcome") + 1] for graph in GRAPHS.values() for row, _ in rows(graph) if "outcome" in row}
    assert found == set(OUTCOMES)


def test_reasons_on_the_dashboard_are_all_that_reviewers_have() -> None:
    found = {
        (row[row.index("decision") + 1], row[row.index("reason") + 1])
        for graph in GRAPHS.values()
        for row, _ in rows(graph)
        if "decision" in row
    }
    assert found == {(decision, reason) for decision, reasons in REASONS.items() for reason in reasons}


def test_dashboard_shows_when_the_alarm_for_old_reviews_is_raised() -> None:
    (line,) = GRAPHS["Age of the oldest review, in days"]["annotations"]["horizontal"]
    assert line["value"] * 86_400 == resources("AWS::CloudWatch::Alarm")["OldestReviewAlarm"]["Threshold"]


def test_dashboard_shows_every_alarm_that_always_exists() -> None:
    (widget,) = widgets("alarm")
    always = [name for name in resources("AWS::CloudWatch::Alarm") if "Condition" not in template()["Resources"][name]]
    assert widget["properties"]["alarms"] == [f"<{name}.Arn>" for name in always]
    # CloudWatch takes up to a hundred.
    assert len(always) <= 100


@pytest.mark.parametrize(
    "metric",
    [
        "VerificationCompleted", "VerificationSeconds", "SecondsAfterStripeAnswered", "RefreshesPaid", "StripeCalls", "DeliveryAccepted",
        "DeliveryRefused", "DeliverySeconds", "Repaired", "RepairFailed", "ApproximateAgeOfOldestMessage",
        "ApproximateNumberOfMessagesDelayed", "5xx", "Errors", "Throttles", "ExecutionsFailed", "OpenReviews", "OldestReview",
        "ReviewDecided",
    ],
)  # fmt: skip
def test_dashboard_shows_what_an_operator_asks_first(metric: str) -> None:
    assert metric in shown()


def test_dashboard_shows_the_service_levels_with_their_objectives() -> None:
    """docs/service-levels.md states them."""
    levels = (ROOT / "docs" / "service-levels.md").read_text()
    assert re.search(r"99 % within 120 seconds .*`PR\(:120\)`", levels)
    assert re.search(r"99\.9 % answered 200 within 5 seconds .*`PR\(:5\)`", levels)
    stats = {(row[1], options.get("stat")) for graph in GRAPHS.values() for row, options in rows(graph) if row}
    assert {("SecondsAfterStripeAnswered", "PR(:120)"), ("DeliverySeconds", "PR(:5)")} <= stats
    lines = {line["value"] for line in GRAPHS["Service levels over time, in %"]["annotations"]["horizontal"]}
    assert lines == {99, 99.9}


def test_dashboard_estimates_the_cost_with_the_price_that_the_operator_gives() -> None:
    found = resolved({"RefreshPriceCents": "175"})["Dashboard"]["Properties"]["DashboardBody"]
    assert "FILL(paid, 0) * 175 / 100" in found


def test_dashboard_shows_the_table_that_the_functions_use() -> None:
    found = resolved({"DataTableName": "restored"})["Dashboard"]["Properties"]["DashboardBody"]
    assert '"TableName", "restored"' in found
    assert "<Table>" not in found


def test_two_stacks_have_two_dashboards_with_nothing_of_each_other() -> None:
    assert "titleholder" not in json.dumps(body("other")).replace("Titleholder", "").replace("docs/", "")


def test_no_title_promises_a_period_that_cloudwatch_chooses() -> None:
    """With `auto` the period depends on the time range that is shown."""
    assert body()["periodOverride"] == "auto"
    assert not [title for title in GRAPHS if re.search(r"\b(by|per) (minute|hour|day)\b", title)]


def test_picture_in_the_documents_shows_the_dashboard_as_it_is() -> None:
    """`python -m tools.draw_dashboard` draws it anew."""
    assert draw_dashboard.digest(draw_dashboard.dashboard()).encode() in draw_dashboard.PICTURE.read_bytes()
    assert len(draw_dashboard.PICTURE.read_bytes()) < 60_000


def test_picture_names_what_each_graph_shows() -> None:
    shown_lines = [
        line
        for widget in draw_dashboard.dashboard()["widgets"]
        if widget["type"] == "metric"
        for line in draw_dashboard.lines(widget["properties"])
    ]
    assert {"% within 120 s (PR(:120))", "-- limit in all: 100", "refreshes at 150 cents (expression)"} <= set(shown_lines)
