"""AWS refuses what exceeds its limits: Lambda's concurrency, Step Functions' quotas, recursive chains. Nothing is lost; callers get 503."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from tests.simulation import deployment, simulated_stack
from tests.simulation.application import inside
from tests.simulation.overload import Load, Outcome, run
from tests.simulation.simulation import Simulation
from titleholder.aws import queues

SMALL = Load(10, 900, singles=40, seconds=20, concurrency=10, wait=20)


def polled(simulation: Simulation, *, rate: float, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> Counter[int]:
    """How reads of a batch's progress, `rate` a second, are answered while its only account waits for its bank."""
    answers: Counter[int] = Counter()

    def read() -> None:
        status, _ = simulation._http("batches", "GET", f"/batches/{simulation.batches[key]}", None, None, {})
        answers[status] += 1

    key = "batch-0-fca_0"
    simulation.simulator.link("never_answering", id="fca_0")
    with inside(simulation):
        simulation.at(1, partial(simulation.batch, ["fca_0"], 0, None, None))
        simulation.run(30)
        meanwhile()
        for number in range(int(rate * seconds)):
            simulation.at(number / rate, read)
        simulation.run(seconds + 5)
    return answers


def test_polling_of_a_batch_leaves_step_functions_its_quota() -> None:
    simulation = Simulation(0)
    assert polled(simulation, rate=40, seconds=10) == {200: 400}
    assert simulation.called["DescribeExecution"] <= 5
    assert simulation.violations == []


def test_batch_runs_on_for_its_readers_while_describe_execution_is_throttled() -> None:
    simulation = Simulation(0)

    def throttle() -> None:
        simulation.call_quotas.refused = frozenset({"DescribeExecution"})

    assert polled(simulation, rate=1, seconds=60, meanwhile=throttle) == {200: 60}
    assert 0 < simulation.injected["throttled DescribeExecution"] <= 5
    assert simulation.violations == []


def test_run_that_failed_is_shown_to_every_reader_once_one_has_seen_it() -> None:
    simulation = Simulation(0)
    shown: list[str] = []

    def fail() -> None:
        (execution,) = (each for name, each in simulation.workflows.executions.items() if name.startswith("bat_"))
        execution.status = "FAILED"
        path = f"/batches/{execution.name[:-2]}"
        for second in range(20):
            simulation.at(second, lambda: shown.append(simulation._http("batches", "GET", path, None, None, {})[1]["state"]))

    polled(simulation, rate=0.1, seconds=20, meanwhile=fail)
    assert shown[-4:] == ["failed"] * 4
    assert shown == sorted(shown, key=["verifying", "failed"].index)


def test_verification_whose_workflow_could_not_be_started_is_accepted_when_asked_for_again() -> None:
    simulation = Simulation(0)
    simulation.simulator.link("single_owner", id="fca_0")
    answers: list[tuple[int, str]] = []

    def ask() -> None:
        body = {"account": "fca_0", "claim": {"name": "Margaret Testerman"}}
        status, answer = simulation._http("api", "POST", "/verifications", body, None, {"idempotency-key": "k"})
        answers.append((status, answer.get("type", "")))

    with inside(simulation):
        simulation.call_quotas.refused = frozenset({"StartExecution"})
        simulation.at(1, ask)
        simulation.run(5)
        simulation.call_quotas.refused = frozenset()
        simulation.at(1, ask)
        simulation.run(60)
        verdicts = [item for (_, sk), item in simulation.dynamodb.items.items() if sk == "VERIFICATION" and "verdict" in item]
    assert answers == [(503, "urn:titleholder:problem:aws-unavailable"), (202, "")]
    assert len(verdicts) == len(simulation.refreshes) == 1
    assert simulation.violations == []


def test_callers_that_wait_do_not_starve_what_they_wait_for_in_an_account_that_runs_ten_functions_at_once() -> None:
    outcome = run(SMALL)
    assert outcome.verdicts == {"match": 40}
    assert outcome.wait(0.99) < 15


def test_callers_that_all_wait_starve_what_they_wait_for() -> None:
    """Shows that the test above would notice."""
    outcome = run(replace(SMALL, waiting_calls=1000))
    assert outcome.throttled["start_refresh"]
    assert outcome.wait(0.5) > 15


@pytest.fixture
def long_queue() -> Callable[[], Outcome]:
    """Requests that are put back about twenty times."""
    return lambda: run(Load(1, 4, singles=45, seconds=2, bank=1))


def test_request_that_is_put_back_often_is_not_stopped_as_a_recursive_chain(long_queue: Callable[[], Outcome]) -> None:
    outcome = long_queue()
    assert outcome.longest_chain > 16
    assert outcome.violations == ()
    assert outcome.verdicts == {"match": 45}


def test_recursive_chain_would_be_stopped_where_the_template_did_not_allow_it(
    long_queue: Callable[[], Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = {url: replace(settings, may_loop=False) for url, settings in deployment.queue_settings().items()}
    monkeypatch.setattr(simulated_stack, "queue_settings", lambda: strict)
    assert "recursive chain stopped" in long_queue().violations[0]


def test_request_that_was_put_back_too_often_is_made_anew_by_its_workflow(
    long_queue: Callable[[], Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "MOST_HOPS", 3)
    outcome = long_queue()
    assert outcome.longest_chain == 3
    assert (outcome.verdicts, outcome.paid, outcome.lost) == ({"match": 45}, 45, 0)
