"""When the alarms of template.yaml are raised, and when not, as CloudWatch would evaluate them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.alarm_state import Value, raised, worked_out
from tests.support.resolved import resolved

ALARMS: dict[str, dict[str, Any]] = {
    name: one["Properties"] for name, one in resolved({"StripeEventBus": "stripe"}).items() if one["Type"] == "AWS::CloudWatch::Alarm"
}
Periods = list[dict[str, Value]]


def on(periods: Periods, **options: Any) -> set[str]:
    """The alarms that are on after these periods."""
    return {name for name, alarm in ALARMS.items() if raised(alarm, periods, **options)}


def test_quiet_stack_raises_no_alarm_while_reconcile_runs() -> None:
    assert on([{}] * 10) == {"ReconcileMissingAlarm"}
    assert on([{"ReconcileCompleted": 3.0}] * 10) == set()


def test_new_stack_of_whose_metrics_none_exists_yet_raises_no_other_alarm() -> None:
    assert on([{}] * 10, known=set()) == {"ReconcileMissingAlarm"}


def test_zeros_that_aws_sends_raise_no_alarm() -> None:
    """SQS, Lambda and API Gateway send zeros, also where nothing happens."""
    names = {query["Id"] for alarm in ALARMS.values() for query in alarm.get("Metrics", ())} | {
        alarm["MetricName"] for alarm in ALARMS.values() if "MetricName" in alarm
    }
    zeros: dict[str, Value] = dict.fromkeys(names, 0.0)
    assert on([{**zeros, "ReconcileCompleted": 1.0}] * 10) == set()


class TestVerdictsBlocked:
    ALARM = ALARMS["VerdictsBlockedAlarm"]

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ({"ended": 100.0}, False),
            ({"ended": 100.0, "unanswered": 20.0}, False),
            ({"ended": 100.0, "unanswered": 21.0}, True),
            # Two failures say nothing, also if there was nothing else.
            ({"failed": 2.0}, False),
            ({"failed": 3.0}, True),
            ({"failed": 1.0, "expired": 1.0, "crashed": 1.0, "ended": 5.0}, True),
            ({"crashed": 3.0, "ended": 100.0}, False),
        ],
    )
    def test_alarm_is_raised_where_a_fifth_and_at_least_three_failed(self, values: dict[str, Value], expected: bool) -> None:
        assert raised(self.ALARM, [values]) is expected

    def test_first_verdicts_of_a_new_stack_that_all_fail_raise_the_alarm(self) -> None:
        """No other metric ever had a value, so CloudWatch fills none."""
        assert raised(self.ALARM, [{"failed": 3.0}], known={"failed"})


class TestWebhooks:
    ABSENT, REFUSED = ALARMS["WebhooksAbsentAlarm"], ALARMS["WebhooksRefusedAlarm"]

    def test_refreshes_without_any_delivery_raise_the_alarm_in_the_second_hour(self) -> None:
        hour: dict[str, Value] = {"paid": 1.0, "accepted": 0.0}
        assert not raised(self.ABSENT, [hour])
        assert raised(self.ABSENT, [hour, hour])
        # One refresh in two hours is enough.
        assert raised(self.ABSENT, [hour, {}, hour])

    def test_refresh_at_the_end_of_an_hour_whose_event_comes_in_the_next_raises_none(self) -> None:
        assert not raised(self.ABSENT, [{"paid": 1.0, "accepted": 0.0}, {"accepted": 1.0}, {"paid": 1.0, "accepted": 1.0}])

    def test_stack_that_never_got_a_delivery_raises_the_alarm(self) -> None:
        """The zero that comes with each refresh makes the metric exist."""
        hour: dict[str, Value] = {"paid": 2.0, "accepted": 0.0}
        assert raised(self.ABSENT, [hour, hour], known={"paid", "accepted"})
        # Without it there would be nothing to compare.
        assert not raised(self.ABSENT, [{"paid": 2.0}] * 2)

    @pytest.mark.parametrize(
        ("refused", "accepted", "expected"), [(4.0, 0.0, False), (5.0, 0.0, True), (5.0, 5.0, False), (6.0, 5.0, True), (9.0, 500.0, False)]
    )
    def test_more_refused_deliveries_than_accepted_ones_raise_the_alarm(self, refused: float, accepted: float, expected: bool) -> None:
        assert raised(self.REFUSED, [{"refused": refused, "accepted": accepted}]) is expected


def test_errors_of_callers_raise_the_alarm_by_their_share() -> None:
    alarm = ALARMS["ApiFailingAlarm"]
    assert raised(alarm, [{"errors": 6.0, "requests": 100.0}] * 2)
    assert not raised(alarm, [{"errors": 6.0, "requests": 100.0}, {}])
    assert not raised(alarm, [{"errors": 4.0, "requests": 4.0}] * 3)
    assert not raised(alarm, [{"errors": 50.0, "requests": 1000.0}] * 3)


@pytest.mark.parametrize(("name", "most"), [("HttpFunctionErrorsAlarm", 2), ("WorkerErrorsAlarm", 5), ("HttpFunctionThrottlesAlarm", 0)])
def test_errors_of_functions_are_summed_whichever_ran(name: str, most: int) -> None:
    """Lambda sends nothing for a function that did not run."""
    first, second, *_ = (query["Id"] for query in ALARMS[name]["Metrics"] if "MetricStat" in query)
    assert not raised(ALARMS[name], [{first: float(most)}], known={first})
    assert raised(ALARMS[name], [{first: float(most), second: 1.0}], known={first, second})


def test_late_verdicts_raise_the_alarm_in_the_second_of_three_quarters_of_an_hour() -> None:
    late, well = {"SecondsAfterStripeAnswered": 301.0}, {"SecondsAfterStripeAnswered": 2.0}
    assert not raised(ALARMS["VerificationsSlowAlarm"], [late, well, well])
    assert raised(ALARMS["VerificationsSlowAlarm"], [late, well, late])


@pytest.mark.parametrize(
    ("quota", "claimed", "expected"), [(10.0, 8.0, False), (10.0, 9.0, True), (1000.0, 800.0, False), (1000.0, 801.0, True)]
)
def test_concurrency_is_compared_with_the_accounts_quota(quota: float, claimed: float, expected: bool) -> None:
    periods: Periods = [{"claimed": claimed, "used": 1.0}] * 5
    assert raised(ALARMS["ConcurrencyNearLimitAlarm"], periods, quota=quota) is expected


def test_metric_math_takes_what_is_missing_for_missing() -> None:
    alarm = {"Metrics": [{"Id": "watched", "Expression": "a / b"}, {"Id": "a", "MetricStat": {}}, {"Id": "b", "MetricStat": {}}]}
    assert worked_out(alarm, {"a": 1.0}) is None
    assert worked_out(alarm, {"a": 1.0, "b": 0.0}) is None
    assert worked_out(alarm, {"a": 1.0, "b": 4.0}) == 0.25
