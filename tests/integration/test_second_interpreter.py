"""The workflows enter the same states, end alike and make as many calls on an interpreter that other people wrote: moto's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.interpreters import ACCOUNT, BATCH, TOLERANT, Run, Scenario, definition, embedded_runs, moto_runs, on_simulation

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def account() -> Iterator[Callable[[Scenario], Run]]:
    with moto_runs("verify_account") as run_of:
        yield run_of


@pytest.fixture(scope="module")
def batch() -> Iterator[Callable[[Scenario], Run]]:
    with moto_runs("verify_batch") as run_of:
        yield run_of


@pytest.mark.parametrize(("name", "scenarios"), [("verify_account", ACCOUNT), ("verify_batch", (*BATCH, *TOLERANT))])
def test_embedded_aws_takes_the_same_ways_as_the_simulation(name: str, scenarios: tuple[Scenario, ...]) -> None:
    with embedded_runs(name) as run_of:
        for scenario in scenarios:
            assert run_of(scenario) == on_simulation(name, scenario), scenario.name


@pytest.mark.parametrize("scenario", ACCOUNT, ids=lambda scenario: scenario.name)
def test_verification_takes_the_same_way_on_both_interpreters(account: Callable[[Scenario], Run], scenario: Scenario) -> None:
    assert account(scenario) == on_simulation("verify_account", scenario)


@pytest.mark.parametrize("scenario", BATCH, ids=lambda scenario: scenario.name)
def test_batch_takes_the_same_way_on_both_interpreters(batch: Callable[[Scenario], Run], scenario: Scenario) -> None:
    assert batch(scenario) == on_simulation("verify_batch", scenario)


def ways(state: dict[str, Any]) -> set[str]:
    """The states that may follow."""
    found = {state[name] for name in ("Next", "Default") if name in state}
    return found | {each["Next"] for each in (*state.get("Choices", ()), *state.get("Catch", ()))}


@pytest.mark.parametrize(("name", "scenarios"), [("verify_account", ACCOUNT), ("verify_batch", BATCH)])
def test_scenarios_go_every_way_that_the_definition_has(name: str, scenarios: tuple[Scenario, ...]) -> None:
    runs = [on_simulation(name, scenario) for scenario in scenarios]
    states = definition(name)["States"]
    assert {state for run in runs for state in run.states} == set(states)
    gone = {pair for run in runs for pair in zip(run.states, run.states[1:], strict=False)}
    assert gone == {(state, following) for state, about in states.items() for following in ways(about)}
    ended = {(run.states[-1], run.status) for run in runs}
    assert {state for state, status in ended if status == "SUCCEEDED"} == {name for name, state in states.items() if state.get("End")}


HISTORY = 25_000
DAY = 86_400


def test_history_of_a_verification_stays_far_below_its_limit(account: Callable[[Scenario], Run]) -> None:
    """Counted on moto: one that waits a week, for a cooldown each hour, and whose heartbeat fails again and again."""
    plain, asked_again, cooldown, repair = (
        account(scenario).events
        for name in ("fresh owners", "worker fails once", "waits for a cooldown", "repaired")
        for scenario in ACCOUNT
        if scenario.name == name
    )
    asked_again, cooldown, repair = asked_again - plain, cooldown - plain, repair - plain
    most = plain + asked_again * (7 * DAY // 900) + (cooldown + 8 * asked_again) * 7 * 24 + repair * 7
    assert most < HISTORY / 2, (plain, asked_again, cooldown, repair)
