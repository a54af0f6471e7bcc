"""When the alarms of template.yaml are raised, and when not, as CloudWatch would evaluate them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.alarm_state import Value, raised, worked_out
from tests.support.resolved import resolved

ALARMS: dict[str, dict[str, Any]] = {
    name: one["Properties"]
    for name, one in resolved({"StripeEventBus": "stripe", "ReviewersNeeded": "1"}).items()
    if one["Type"] == "AWS::CloudWatch::Alarm"
}
Periods = list[dict[str, Value]]


def on(periods: Periods, **options: Any) -> set[str]:
    """The alarms that are on after these periods."""
    return {name for name, alarm in ALARMS.items() if raised(alarm, periods, **options)}


def test_quiet_stack_raises_no_alarm_while_reconcile_runs() -> None:
    assert on([{}] * 10) == {"ReconcileMissingAlarm"}
    assert on([{"completed": 1.0}] * 10) == set()


def test_new_stack_of_whose_metrics_none_exists_yet_raises_no_other_alarm() -> None:
    assert on([{}] * 10, known=set()) == {"ReconcileMissingAlarm"}


def test_zeros_that_aws_sends_raise_no_alarm() -> None:
    """SQS, Lambda and API Gateway send zeros, also where nothing happens."""
    names = {query["Id"] for alarm in ALARMS.values() for query in alarm.get("Metrics", ())} | {
        alarm["MetricName"] for alarm in ALARMS.values() if "MetricName" in alarm
    }
    zeros: dict[str, Value] = dict.fromkeys(names, 0.0)
    assert on([{**zeros, "completed": 1.0}] * 10) == set()


def test_existing_values_of_a_longer_range_count_before_missing_ones() -> None:
    """CloudWatch's documentation shows these rows for three periods, of which it retrieves five."""
    row = {"MetricName": "m", "Threshold": 0, "ComparisonOperator": "GreaterThanThreshold", "EvaluationPeriods": 3}
    fine: dict[str, Value] = {"m": 0.0}
    breach: dict[str, Value] = {"m": 1.0}
    missing: dict[str, Value] = {}
    periods: Periods
    for periods, of_three, kept, broken in (
        ([fine, missing, breach, missing, breach], 3, False, False),
        ([fine, missing, missing, missing, missing], 3, False, False),
        ([missing] * 5, 3, False, True),
        ([fine, breach, breach, missing, breach], 3, True, True),
        ([missing, missing, breach, missing, missing], 3, False, True),
        ([fine, missing, breach, missing, breach], 2, True, True),
        ([missing, missing, missing, missing, breach], 2, False, True),
    ):
        for treatment, expected in (("notBreaching", kept), ("breaching", broken)):
            assert raised({**row, "DatapointsToAlarm": of_three, "TreatMissingData": treatment}, periods) is expected


class TestReconcileMissing:
    ALARM, RUN = ALARMS["ReconcileMissingAlarm"], {"completed": 1.0}

    def test_three_runs_that_are_missing_raise_the_alarm(self) -> None:
        assert not raised(self.ALARM, [self.RUN] * 10)
        assert not raised(self.ALARM, [*[self.RUN] * 10, {}, {}])
        assert raised(self.ALARM, [*[self.RUN] * 10, {}, {}, {}])

    def test_first_run_ends_the_alarm_of_a_new_stack(self) -> None:
        assert raised(self.ALARM, [{}] * 3, known=set())
        assert not raised(self.ALARM, [{}, {}, self.RUN])


def breach(alarm: dict[str, Any]) -> dict[str, Value]:
    """Values that raise an alarm with one period."""
    if "Metrics" not in alarm:
        return {alarm["MetricName"]: 1e6}
    return {query["Id"]: 0.0 if query["Id"] in ("accepted", "ended") else 1e6 for query in alarm["Metrics"] if "MetricStat" in query}


def period(alarm: dict[str, Any]) -> int:
    return int(alarm.get("Period") or next(query["MetricStat"]["Period"] for query in alarm["Metrics"] if "MetricStat" in query))


SLOW = [name for name, one in ALARMS.items() if one.get("DatapointsToAlarm", one["EvaluationPeriods"]) == 1 and period(one) >= 900]


@pytest.mark.parametrize("name", SLOW)
def test_alarm_over_a_quarter_of_an_hour_or_more_ends_when_its_periods_are_quiet(name: str) -> None:
    """A value that is the only one in the evaluation range would keep it on for hours, and hide that it happens again."""
    alarm = ALARMS[name]
    assert raised(alarm, [breach(alarm)])
    assert not raised(alarm, [breach(alarm), *[{}] * alarm["EvaluationPeriods"]])


@pytest.mark.parametrize("name", [name for name, one in ALARMS.items() if "FILL" in str(one) and period(one) < 300])
def test_value_that_comes_some_minutes_late_raises_an_alarm_that_fills_gaps(name: str) -> None:
    """Until it comes, its period has a zero. CloudWatch looks at as many periods as the alarm says, so one minute is not enough."""
    assert raised(ALARMS[name], [breach(ALARMS[name]), {}, {}, {}])


@pytest.mark.parametrize("name", ["KeyUnusableAlarm", "StripeKeyRefusedAlarm", "OldestReviewAlarm"])
def test_alarm_about_what_each_run_finds_again_stays_on_where_a_run_is_late(name: str) -> None:
    assert raised(ALARMS[name], [breach(ALARMS[name]), {}])


@pytest.mark.parametrize("name", ["RefreshQueueAgeAlarm", "EventsQueueAgeAlarm"])
class TestQueues:
    def test_message_that_is_received_again_and_again_raises_the_alarm(self, name: str) -> None:
        """SQS leaves a message out of the age of the oldest one after its third receipt."""
        alarm = ALARMS[name]
        seen: Periods = [{"visible": 1.0, "taken": 0.0}, {"visible": 0.0, "taken": 1.0}, {"visible": 1.0}]
        assert raised(alarm, [{**each, "deleted": 0.0} for each in seen])
        # Nothing was ever deleted, so the metric does not exist.
        assert raised(alarm, seen, known={"visible", "taken"})
        assert not raised(alarm, seen[:2])

    def test_queue_that_is_worked_off_raises_none(self, name: str) -> None:
        busy: dict[str, Value] = {"visible": 900.0, "taken": 10.0, "deleted": 50.0, "age": 200.0}
        assert not raised(ALARMS[name], [busy] * 5)
        assert not raised(ALARMS[name], [{"visible": 1.0, "deleted": 0.0}, busy, {"visible": 1.0, "deleted": 0.0}])

    def test_messages_that_wait_for_their_slot_raise_none(self, name: str) -> None:
        assert not raised(ALARMS[name], [{"visible": 0.0, "taken": 0.0, "deleted": 0.0}] * 5)

    def test_old_messages_raise_the_alarm_although_others_are_worked_off(self, name: str) -> None:
        old: dict[str, Value] = {"visible": 900.0, "taken": 10.0, "deleted": 50.0, "age": 901.0}
        assert raised(ALARMS[name], [old] * 3)


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
            # Children of a batch's map.
            ({"childFailed": 2.0, "childExpired": 1.0}, True),
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


def test_review_that_waits_raises_the_alarm_after_three_days() -> None:
    alarm, day = ALARMS["OldestReviewAlarm"], 86_400.0
    # From Friday evening to Monday morning.
    assert not raised(alarm, [{"oldest": 2.7 * day}] * 3)
    assert raised(alarm, [{"oldest": 3 * day + 1}])
    assert not raised(alarm, [{"oldest": 3 * day + 1}, {"oldest": 0.0}, {"oldest": 0.0}])


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
