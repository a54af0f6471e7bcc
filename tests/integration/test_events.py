"""The sample events: one for every way into every function, each accepted by its real handler; the signer and the settings beside them."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import stripe

from local.sign_event import NoSecretError, find_secret, signed
from tests.support.functions import ROOT
from tests.support.samples import EVENTS, SAMPLES, prepare
from tests.support.sandbox import SIGNING_SECRET, Sandbox
from tests.support.template import called_by, folder, resources, template

DELIVERIES = [name for name in SAMPLES if name.startswith("receive_webhook.")]
STACK = "titleholder"
STATUS = {
    "api.post_verifications.invalid": 422,
    "api.delete_verification": 409,
    "receive_webhook.unsigned": 400,
    "batches.post_batches": 201,
    "batches.start": 202,
}
"""The status of each sample whose answer is not 200."""


class Trigger(NamedTuple):
    """A way into a function: its folder, and what calls it."""

    function: str
    by: str


def triggers() -> set[Trigger]:
    """Every way in that the template has."""
    found = set()
    for name, function in resources("AWS::Serverless::Function").items():
        for event in function.get("Events", {}).values():
            by = event["Type"]
            if by == "SQS":
                queue = resources("AWS::SQS::Queue")[event["Properties"]["Queue"]["Fn::GetAtt"][0]]
                by = queue["QueueName"]["Fn::Sub"].replace("${AWS::StackName}", STACK)
            found.add(Trigger(folder(name), by))
    for route in resources("AWS::ApiGatewayV2::Route").values():
        found.add(Trigger(folder(called_by(route)), route["RouteKey"]))
    for machine in resources("AWS::Serverless::StateMachine").values():
        for value in machine["DefinitionSubstitutions"].values():
            if isinstance(value, dict) and value.get("Fn::GetAtt", [""])[0] in resources("AWS::Serverless::Function"):
                found.add(Trigger(folder(value["Fn::GetAtt"][0]), "workflow"))
    return found


def trigger(name: str) -> Trigger:
    """The kind of event that a sample shows, recognised by its form."""
    event = SAMPLES[name]
    by = "workflow"
    if "Records" in event:
        by = event["Records"][0]["eventSourceARN"].rpartition(":")[2]
    elif "routeKey" in event:
        by = event["routeKey"]
    elif "source" in event:
        by = "ScheduleV2" if event["source"] == "aws.scheduler" else "EventBridgeRule"
    return Trigger(name.partition(".")[0], by)


def test_every_way_in_has_a_sample_and_every_sample_a_way_in() -> None:
    assert {trigger(name) for name in SAMPLES} == triggers()


# -- the handlers take them ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A deployment that knows the samples' account and verification."""
    with Sandbox.open() as sandbox:
        prepare(sandbox)
        yield sandbox


def accepted(name: str, answer: Any) -> bool:
    if trigger(name).by.startswith(("GET ", "POST ", "DELETE ")):
        return bool(answer["statusCode"] == STATUS.get(name, 201 if name.startswith("linking.post_") else 200))
    if trigger(name).by.startswith(STACK):
        return bool(answer == {"batchItemFailures": []})
    if trigger(name).function == "run_batch_step":
        return answer is None or answer["imported"] is False
    if trigger(name).by == "workflow":
        return bool(answer["outcome"] == "match")
    return bool(answer)


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLES)
def test_handler_accepts_the_sample(sandbox: Sandbox, name: str) -> None:
    event = SAMPLES[name]
    if name in DELIVERIES and name != "receive_webhook.unsigned":
        event = signed(event, SIGNING_SECRET, int(sandbox.clock()))
    answer = sandbox.function(name.partition(".")[0])(event)
    assert accepted(name, answer), answer
    assert "message failed" not in sandbox.log.getvalue()


@pytest.mark.parametrize("name", DELIVERIES)
def test_webhook_sample_as_it_is_stored_is_a_replay(sandbox: Sandbox, name: str) -> None:
    sandbox.set_secret("webhook-secret", "whsec_of_the_sample")
    assert sandbox.function("receive_webhook")(SAMPLES[name])["statusCode"] == 400


@pytest.mark.parametrize(
    ("name", "recorded"),
    [("unknown_type", True), ("refreshed_ownership", False), ("thin.ownership_refresh_succeeded", False), ("deactivated", False)],
)
def test_only_events_of_known_types_have_an_account_read(sandbox: Sandbox, name: str, recorded: bool) -> None:
    sandbox.function("receive_webhook")(signed(SAMPLES[f"receive_webhook.{name}"], SIGNING_SECRET, int(sandbox.clock())))
    assert len(sandbox.messages(sandbox.events_queue)) == (0 if recorded else 1)


def test_duplicate_sample_is_the_same_event() -> None:
    first, second = (SAMPLES[f"receive_webhook.refreshed_ownership{suffix}"] for suffix in ("", ".duplicate"))
    assert json.loads(first["body"])["id"] == json.loads(second["body"])["id"]


# -- the signer ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DELIVERIES)
def test_stripes_own_library_verifies_the_signed_sample(name: str) -> None:
    event = signed(SAMPLES[name], SIGNING_SECRET, int(time.time()))
    body = base64.b64decode(event["body"]) if event["isBase64Encoded"] else event["body"].encode()
    header = event["headers"]["stripe-signature"]
    if ".thin." in name:
        notification: Any = stripe.StripeClient("sk_test_x").parse_event_notification(body, header, SIGNING_SECRET)
        assert notification.id == json.loads(body)["id"]
    else:
        assert stripe.Webhook.construct_event(body, header, SIGNING_SECRET).id == json.loads(body)["id"]


def sign(name: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-S", "-E", "-m", "local.sign_event", str(EVENTS / name)]
    bare = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "STRIPE_WEBHOOK_SECRET")}
    return subprocess.run(command, cwd=ROOT, env=bare | environment, capture_output=True, text=True, check=False)


def test_command_prints_the_sample_with_a_signature_of_now() -> None:
    """With no package at hand but the standard library (`-S`)."""
    done = sign("receive_webhook.refreshed_ownership.json", STRIPE_WEBHOOK_SECRET=SIGNING_SECRET)
    event, stored = json.loads(done.stdout), SAMPLES["receive_webhook.refreshed_ownership"]
    assert stripe.Webhook.construct_event(event["body"], event["headers"]["stripe-signature"], SIGNING_SECRET)
    assert event == {**stored, "headers": event["headers"]}
    assert set(event["headers"]) == set(stored["headers"])


def test_command_says_what_is_wrong() -> None:
    missing = sign("nothing.json", STRIPE_WEBHOOK_SECRET="whsec_x")
    assert (missing.returncode, missing.stderr.startswith("error: "), missing.stdout) == (1, True, "")


def test_secret_is_the_environments_else_the_running_stacks(tmp_path: Path) -> None:
    state = tmp_path / "stack.json"
    with pytest.raises(NoSecretError, match="STRIPE_WEBHOOK_SECRET"):
        find_secret({}, state)
    state.write_text('{"webhook_secret": "whsec_of_the_stack"}')
    assert find_secret({}, state) == "whsec_of_the_stack"
    assert find_secret({"STRIPE_WEBHOOK_SECRET": "whsec_of_the_environment"}, state) == "whsec_of_the_environment"


# -- settings --------------------------------------------------------------------------------------------------------------------------


def test_environment_file_names_exactly_the_variables_of_the_template() -> None:
    shared = template()["Globals"]["Function"]["Environment"]["Variables"]
    declared = {
        name: {**shared, **function.get("Environment", {}).get("Variables", {})}
        for name, function in resources("AWS::Serverless::Function").items()
    }
    given = json.loads((EVENTS / "env.json").read_text())
    assert {name: set(variables) for name, variables in given.items()} == {name: set(variables) for name, variables in declared.items()}
    for name, variables in declared.items():
        fixed = {key: value for key, value in variables.items() if isinstance(value, str)}
        assert {key: given[name][key] for key in fixed} == fixed


def test_review_can_be_opened_by_hand_under_sam_local() -> None:
    """On the stack of `make up` no verdict opens one."""
    assert int(json.loads((EVENTS / "env.json").read_text())["Review"]["REVIEWERS_NEEDED"]) > 0


def test_profiles_of_the_sam_cli_name_what_is_there() -> None:
    profiles = tomllib.loads((ROOT / "samconfig.toml").read_text())
    parameters = template()["Parameters"]
    for profile in (value for value in profiles.values() if isinstance(value, dict)):
        for command in profile.values():
            chosen = dict(pair.split("=") for pair in command["parameters"].get("parameter_overrides", ()))
            assert set(chosen) <= set(parameters)
            assert all(value in map(str, parameters[name].get("AllowedValues", [value])) for name, value in chosen.items())
            if file := command["parameters"].get("env_vars"):
                assert (ROOT / file).is_file()
