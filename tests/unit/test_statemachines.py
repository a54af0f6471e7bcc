"""The workflows as written: every path ends in a verdict, nothing polls, and the ordinary ways stay within their transitions."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.functions import ROOT
from titleholder.aws.workflows import BatchWorkflow, Workflow, longest_wait
from titleholder.batches import manifests, steps
from titleholder.domain.accounts import AccountRef
from titleholder.domain.refresh_policy import LEASE_SECONDS
from titleholder.domain.verifications import Verification
from titleholder.services.refreshes import RefreshRequest

FILES = sorted((ROOT / "statemachines").glob("*.asl.json"))
ENDS = ("Succeed", "Fail")


def machines(path: Path) -> Iterator[dict[str, Any]]:
    """The machine in a file, and those within its Maps and Parallels."""

    def within(machine: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield machine
        for state in machine["States"].values():
            for inner in (state.get("ItemProcessor"), state.get("Iterator"), *state.get("Branches", ())):
                if inner:
                    yield from within(inner)

    yield from within(json.loads(path.read_text()))


def successors(state: dict[str, Any], *, caught: bool = True) -> list[str]:
    following = [choice["Next"] for choice in state.get("Choices", ())]
    following += [state[name] for name in ("Next", "Default") if name in state]
    return following + [catch["Next"] for catch in state.get("Catch", ()) if caught]


MACHINES = [machine for path in FILES for machine in machines(path)]


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine["StartAt"])
def test_every_state_that_is_named_exists_and_is_reached(machine: dict[str, Any]) -> None:
    states = machine["States"]
    reached, left = set(), [machine["StartAt"]]
    while left:
        name = left.pop()
        assert name in states
        if name not in reached:
            reached.add(name)
            left += successors(states[name])
    assert reached == set(states)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine["StartAt"])
def test_every_state_goes_on_or_ends(machine: dict[str, Any]) -> None:
    for name, state in machine["States"].items():
        assert bool(successors(state, caught=False)) != bool(state.get("End") or state["Type"] in ENDS), name
        assert state["Type"] != "Choice" or "Default" in state, name


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine["StartAt"])
def test_every_task_is_retried(machine: dict[str, Any]) -> None:
    for name, state in machine["States"].items():
        if state["Type"] == "Task":
            retried = {error for retry in state.get("Retry", ()) for error in retry["ErrorEquals"]}
            assert "States.ALL" in retried, name
            # A wait for a repair ends at its time-out: that is the verification's deadline.
            ends = ["RefreshTimedOut", "States.Timeout"] if name == "WaitForRepair" else ["RefreshTimedOut"]
            given_up = [retry for retry in state["Retry"] if retry["ErrorEquals"] == ends]
            assert given_up in ([], [{"ErrorEquals": ends, "MaxAttempts": 0}]), name
            assert all(
                retry["MaxAttempts"] > 0 for retry in state["Retry"] if retry not in given_up and retry["ErrorEquals"] != ["ManifestError"]
            ), name
            assert all(retry.get("BackoffRate", 2) > 1 for retry in state["Retry"] if "States.ALL" in retry["ErrorEquals"]), name


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine["StartAt"])
def test_every_wait_for_a_token_has_a_time_out(machine: dict[str, Any]) -> None:
    for name, state in machine["States"].items():
        if str(state.get("Resource", "")).endswith(".waitForTaskToken"):
            assert "TimeoutSeconds" in state or "TimeoutSecondsPath" in state, name


EXPRESS_SECONDS = 300
"""Step Functions ends every Express execution after five minutes."""


def pauses(retry: dict[str, Any]) -> Iterator[float]:
    """The longest pauses before each try again."""
    for number in range(retry["MaxAttempts"]):
        pause = retry.get("IntervalSeconds", 1) * retry.get("BackoffRate", 2) ** number
        yield min(pause, retry.get("MaxDelaySeconds", pause))


def longest_seconds(state: dict[str, Any]) -> float:
    """How long a state may take, with every try that it is allowed."""
    if state["Type"] != "Task":
        return 0
    retries = state.get("Retry", ())
    tries = 1 + sum(retry["MaxAttempts"] for retry in retries)
    return float(tries * state.get("TimeoutSeconds", float("inf")) + sum(pause for retry in retries for pause in pauses(retry)))


def bounded() -> Iterator[tuple[dict[str, Any], int]]:
    """The machines, with the seconds after which AWS or their own time-out ends them."""
    for path in FILES:
        for machine in machines(path):
            if "TimeoutSeconds" in machine:
                yield machine, machine["TimeoutSeconds"]
            for state in machine["States"].values():
                inner = state.get("ItemProcessor", {})
                if inner.get("ProcessorConfig", {}).get("ExecutionType") == "EXPRESS":
                    yield inner, min(EXPRESS_SECONDS, inner.get("TimeoutSeconds", EXPRESS_SECONDS))


@pytest.mark.parametrize(("machine", "seconds"), list(bounded()), ids=lambda value: value["StartAt"] if isinstance(value, dict) else "")
def test_every_try_of_a_bounded_machine_fits_into_its_time(machine: dict[str, Any], seconds: int) -> None:
    """On the longest way: no state of such a machine is entered twice."""

    def longest(name: str, before: tuple[str, ...] = ()) -> float:
        assert name not in before, "a loop has no longest way"
        state = machine["States"][name]
        return longest_seconds(state) + max((longest(following, (*before, name)) for following in successors(state)), default=0)

    assert longest(machine["StartAt"]) <= seconds


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine["StartAt"])
def test_tries_spread_and_their_pauses_are_bounded(machine: dict[str, Any]) -> None:
    """Otherwise, many executions that AWS throttles together would try again together, and the last tries would be days apart."""
    for name, state in machine["States"].items():
        for retry in state.get("Retry", ()):
            if retry["MaxAttempts"]:
                assert retry["JitterStrategy"] == "FULL", name
                assert retry["BackoffRate"] == 1 or retry["MaxDelaySeconds"] <= 900, name


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine["StartAt"])
def test_task_outlasts_its_heartbeat(machine: dict[str, Any]) -> None:
    for name, state in machine["States"].items():
        assert "HeartbeatSeconds" not in state or state["HeartbeatSeconds"] < state["TimeoutSeconds"], name
        if "HeartbeatSecondsPath" in state:
            assert (state["HeartbeatSecondsPath"], state["TimeoutSecondsPath"]) == ("$.settle_timeout", "$.longest_wait"), name
    for settle, wait in itertools.product((1, 900, 86_400), (60, 604_800, 7_776_000)):
        assert longest_wait(wait, settle) > settle


def test_list_that_a_workflow_holds_is_far_below_the_largest_payload() -> None:
    blocks = -(-manifests.LARGEST_BYTES // steps.BLOCK_BYTES)
    block = {"number": blocks, "start": manifests.LARGEST_BYTES, "end": manifests.LARGEST_BYTES, "piece": manifests.LARGEST_PIECE_BYTES}
    assert len(json.dumps([block] * blocks)) < 256 * 1024 / 4


class TestVerifyAccount:
    @cache  # noqa: B019
    def states(self) -> dict[str, Any]:
        states: dict[str, Any] = json.loads((ROOT / "statemachines/verify_account.asl.json").read_text())["States"]
        return states

    def test_request_for_a_refresh_times_out_is_retried_and_is_caught(self) -> None:
        request = self.states()["RequestRefresh"]
        # Heartbeats keep the time in the queue out of the settle timeout.
        assert request["HeartbeatSecondsPath"] == "$.settle_timeout"
        assert request["TimeoutSecondsPath"] == "$.longest_wait"
        assert request["Catch"] == [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.refresh", "Next": "NotVerifiable"}]
        by_error = {error: retry for retry in request["Retry"] for error in retry["ErrorEquals"]}
        # Stop after the longest wait that can be chosen, not before: a queue may be longer than any number of settle timeouts.
        assert by_error["States.HeartbeatTimeout"]["MaxAttempts"] * 900 > 7 * 86_400
        assert by_error["RefreshTimedOut"]["MaxAttempts"] == 0

    def loops(self) -> list[list[str]]:
        """Every way from a state back to itself."""
        found = []

        def walk(way: list[str]) -> None:
            for following in successors(self.states()[way[-1]]):
                if following == way[0]:
                    found.append(way)
                elif following not in way:
                    walk([*way, following])

        for name in self.states():
            walk([name])
        return found

    def test_only_loops_lead_through_the_end_of_a_cooldown_or_a_repair(self) -> None:
        assert {frozenset(loop) for loop in self.loops()} == {
            frozenset({"RequestRefresh", "Outcome", "WaitForCooldown"}),
            frozenset({"RequestRefresh", "Outcome", "WaitForRepair"}),
        }
        assert self.states()["WaitForCooldown"] == {"Type": "Wait", "TimestampPath": "$.refresh.resume_at", "Next": "RequestRefresh"}

    def test_wait_for_a_repair_lasts_until_the_deadline_and_keeps_its_input(self) -> None:
        waits = self.states()["WaitForRepair"]
        assert waits["TimeoutSecondsPath"] == "$.refresh.seconds"
        assert "HeartbeatSecondsPath" not in waits
        # After every resumption RequestRefresh finds `refresh.resume_at`, and at the deadline the verdict finds the reason.
        assert waits["ResultPath"] is None
        assert waits["Catch"] == [{"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": "NotVerifiable"}]

    def longest(self, cooldowns: int, repairs: int = 0) -> int:
        """Transitions of the longest way, as Step Functions counts them: one into each state, and one at the end."""

        def walk(name: str, left: dict[str, int]) -> int:
            left = {**left, name: left.get(name, 0) - 1}
            onward = [following for following in successors(self.states()[name]) if left.get(following, 1)]
            return 1 + max((walk(following, left) for following in onward), default=1)

        return walk("RequestRefresh", {"WaitForCooldown": cooldowns, "WaitForRepair": repairs})

    def test_transitions_without_a_cooldown_are_at_most_six(self) -> None:
        assert self.longest(cooldowns=0) <= 6

    def test_transitions_with_a_cooldown_are_at_most_nine_and_each_adds_three(self) -> None:
        assert self.longest(cooldowns=1) <= 9
        assert self.longest(cooldowns=2) - self.longest(cooldowns=1) == 3

    def test_states_with_a_repair_and_a_cooldown_are_at_most_nine_and_each_repair_adds_three(self) -> None:
        entered = self.longest(cooldowns=1, repairs=1) - 1
        assert entered <= 9
        assert self.longest(cooldowns=1, repairs=2) - self.longest(cooldowns=1, repairs=1) == 3

    def test_every_way_ends_in_the_function_that_gives_the_verdict(self) -> None:
        for name, state in self.states().items():
            if state.get("End"):
                assert state["Parameters"]["FunctionName"] == "${VerifyOwnersArn}", name
                assert state["Parameters"]["Payload"] == {"verification.$": "$.verification", "refresh.$": "$.refresh"}, name

    def test_message_is_what_start_refresh_reads(self) -> None:
        body = self.states()["RequestRefresh"]["Parameters"]["MessageBody"]
        values = {
            "$$.Task.Token": "token", "$$.State.EnteredTime": "2027-01-15T08:00:00.000Z", "$$.State.RetryCount": 2,
            "$.verification": "ver_1", "$.ref": {"account": "fca_1", "mode": "test"}, "$.not_before": 1.5, "$.requested_at": 2.5,
            "$.deadline": 3.5, "$.priority": "single", "$.refresh.resume_at": "2027-01-15T08:00:00Z",
        }  # fmt: skip
        request = RefreshRequest.from_message({name.removesuffix(".$"): values[path] for name, path in body.items()})
        assert (request.waiter.verification, request.waiter.task_token, request.ref.account) == ("ver_1", "token", "fca_1")
        assert request.waiter.token_version == "2027-01-15T08:00:00.000Z#000002"
        assert request.resumed_at == 1_800_000_000.0

    def test_message_of_a_wait_for_a_repair_is_that_of_a_request_and_says_what_it_awaits(self) -> None:
        request, waits = (self.states()[name]["Parameters"]["MessageBody"] for name in ("RequestRefresh", "WaitForRepair"))
        assert waits == {"awaits": "repair", **request}

    @pytest.mark.parametrize("name", ["RequestRefresh", "WaitForRepair"])
    def test_message_carries_ids_and_times_only(self, name: str) -> None:
        body = self.states()[name]["Parameters"]["MessageBody"]
        assert not [name for name in body if name.startswith(("claim", "owner", "name"))]

    def test_workflow_starts_with_all_that_its_states_read(self) -> None:
        started: dict[str, Any] = {}
        client = SimpleNamespace(start_execution=lambda **arguments: started.update(json.loads(arguments["input"])))
        ref = AccountRef("fca_1")
        verification = Verification("ver_1", ref, "", {}, 0, requested_at=1.0, deadline=2.0, request_digest="")
        Workflow(client, "arn", 9).start(verification)
        paths = re.findall(r'"\$\.(\w+)', json.dumps(self.states()))
        assert set(paths) - {"Payload"} <= set(started)

    def test_pauses_of_the_retries_outlast_the_lease(self) -> None:
        retry = next(retry for retry in self.states()["RequestRefresh"]["Retry"] if "States.ALL" in retry["ErrorEquals"])
        longest = sum(
            min(retry["MaxDelaySeconds"], retry["IntervalSeconds"] * retry["BackoffRate"] ** n) for n in range(retry["MaxAttempts"])
        )
        assert longest > LEASE_SECONDS


@pytest.mark.parametrize("refusal", ["ExecutionDoesNotExist", "ValidationException"])
def test_execution_that_never_began_or_has_ended_is_stopped_already(refusal: str) -> None:
    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": refusal}}, "StopExecution")

    client = SimpleNamespace(stop_execution=refuse)
    Workflow(client, "arn").stop("ver_1")
    BatchWorkflow(client, "arn").stop("bat_1", 1)


class TestVerifyBatch:
    @cache  # noqa: B019
    def states(self) -> dict[str, Any]:
        states: dict[str, Any] = json.loads((ROOT / "statemachines/verify_batch.asl.json").read_text())["States"]
        return states

    def test_children_run_verify_account_but_for_the_wait(self) -> None:
        alone = json.loads((ROOT / "statemachines/verify_account.asl.json").read_text())
        child = json.loads(json.dumps(self.states()["Verify"]["ItemProcessor"]))
        assert child["StartAt"] == alone["StartAt"]
        assert child["States"].pop("CoolsDown")["Type"] == "Succeed"
        del alone["States"]["WaitForCooldown"]
        # A batch's verifications do not wait for a repair.
        del alone["States"]["WaitForRepair"]
        alone["States"]["Outcome"]["Choices"] = [
            choice for choice in alone["States"]["Outcome"]["Choices"] if choice["StringEquals"] != "inactive"
        ]
        [cooling] = [choice for choice in alone["States"]["Outcome"]["Choices"] if choice["StringEquals"] == "cooling_down"]
        cooling["Next"] = "CoolsDown"
        assert child["States"] == alone["States"]

    def test_children_get_all_that_they_read_and_are_of_the_second_rank(self) -> None:
        given = self.states()["Verify"]["ItemSelector"]
        paths = re.findall(r'"\$\.(\w+)', json.dumps(self.states()["Verify"]["ItemProcessor"]))
        assert set(paths) - {"Payload"} <= {name.removesuffix(".$") for name in given}
        assert given["priority"] == "batch"

    def test_every_fan_out_says_what_it_tolerates_and_how_wide_it_is(self) -> None:
        maps = {name: state for name, state in self.states().items() if state["Type"] == "Map"}
        tolerated = {name: state["ToleratedFailurePercentage"] for name, state in maps.items()}
        assert tolerated == {"Scan": 0, "Import": 0, "Verify": 100, "Collect": 0}
        for state in maps.values():
            assert state["ItemProcessor"]["ProcessorConfig"]["Mode"] == "DISTRIBUTED"
            assert {"MaxConcurrency", "MaxConcurrencyPath"} & set(state)

    def test_only_who_waits_for_a_bank_is_no_express_child(self) -> None:
        kinds = {
            name: state["ItemProcessor"]["ProcessorConfig"]["ExecutionType"]
            for name, state in self.states().items()
            if state["Type"] == "Map"
        }
        assert kinds == {"Scan": "EXPRESS", "Import": "EXPRESS", "Verify": "STANDARD", "Collect": "EXPRESS"}

    def test_range_that_fails_is_tried_again_with_those_that_are_left(self) -> None:
        # A child has time for two tries only. The next run of the Map leaves out ranges that are done.
        for state in self.states().values():
            if state["Type"] == "Map" and state["ToleratedFailurePercentage"] == 0:
                [retry] = state["Retry"]
                assert (retry["ErrorEquals"], retry["MaxAttempts"] >= 4) == (["States.ALL"], True)

    def test_results_of_children_do_not_pile_up_in_the_workflow(self) -> None:
        for name, state in self.states().items():
            if state["Type"] == "Map":
                assert state["ResultPath"] is None, name
