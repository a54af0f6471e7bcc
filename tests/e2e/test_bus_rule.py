"""The rule of docs/reference/events.md, made in both ways that the page shows, brings verdicts to a queue."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.e2e.stack_driver import StackDriver, eventually
from tools.reference import ROOT
from tools.reference.events import RULE_COMMANDS, RULE_TEMPLATE, complaints


def arrives(driver: StackDriver, queue: str) -> None:
    """Check that the verdict of a verification comes into the queue, and no other type of event does."""
    verification = driver.request(driver.link("fresh"), wait=20).body["id"]
    driver.verdict(verification)
    while (event := driver.received(queue))["detail"]["verification"] != verification:
        assert event["detail-type"] == "VerificationCompleted"
    assert list(complaints(event["detail-type"], event["detail"])) == []


def test_verdict_comes_into_the_queue_of_the_pages_template(driver: StackDriver) -> None:
    cloudformation = driver.stack.client("cloudformation")
    bus = [{"ParameterKey": "EventBusName", "ParameterValue": driver.stack.outputs["EventBusName"]}]
    cloudformation.create_stack(StackName="verdicts", TemplateBody=RULE_TEMPLATE, Parameters=bus)
    try:
        made = eventually(
            lambda: [
                each for each in cloudformation.describe_stacks(StackName="verdicts")["Stacks"] if "PROGRESS" not in each["StackStatus"]
            ]
        )
        assert made[0]["StackStatus"] == "CREATE_COMPLETE"
        [queue] = [output["OutputValue"] for output in made[0]["Outputs"] if output["OutputKey"] == "VerdictsQueueUrl"]
        arrives(driver, queue)
    finally:
        cloudformation.delete_stack(StackName="verdicts")


def test_verdict_comes_into_the_queue_of_the_pages_commands(driver: StackDriver, tmp_path: Path) -> None:
    cli = tmp_path / "aws"
    cli.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m tests.support.aws_cli "$@"\n')
    cli.chmod(0o755)
    stack = driver.stack.outputs["EventBusName"]
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "AWS_ENDPOINT_URL": driver.stack.aws.endpoint, "STACK": stack}
    commands = ["bash", "-c", RULE_COMMANDS + 'echo "$QUEUE" "$UNDELIVERED"']
    done = subprocess.run(commands, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    queue, undelivered = done.stdout.split()[-2:]
    try:
        assert list(tmp_path.iterdir()) == [cli]
        arrives(driver, queue)
        events = driver.stack.client("events")
        [target] = events.list_targets_by_rule(Rule=f"{stack}-verdicts", EventBusName=stack)["Targets"]
        assert target["DeadLetterConfig"]["Arn"].endswith(f":{stack}-verdicts-undelivered")
    finally:
        events = driver.stack.client("events")
        events.remove_targets(Rule=f"{stack}-verdicts", EventBusName=stack, Ids=["verdicts"])
        events.delete_rule(Name=f"{stack}-verdicts", EventBusName=stack)
        for url in (queue, undelivered):
            driver.stack.client("sqs").delete_queue(QueueUrl=url)


def test_commands_of_the_page_end_at_the_first_error_and_make_no_rule(tmp_path: Path) -> None:
    cli = tmp_path / "aws"
    cli.write_text('#!/bin/sh\necho "$2" >> calls\ntest "$2" != create-queue\n')
    cli.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "STACK": "x"}
    assert subprocess.run(["bash", "-c", RULE_COMMANDS], cwd=tmp_path, env=environment, check=False).returncode == 1
    assert (tmp_path / "calls").read_text().split() == ["describe-stacks", "create-queue"]
