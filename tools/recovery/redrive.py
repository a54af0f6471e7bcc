"""Moves dead letters back to the queues that they came from, after their cause was removed."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from tools.recovery.stack import Deployed, RecoveryError

Say = Callable[[str], None]
SHOWN = 10
"""How many messages are shown."""

TASK_SECONDS = 600
HIDDEN_SECONDS = 120


@dataclass(frozen=True)
class Dead:
    """A dead-letter queue by logical id, the queue that its messages belong into (None: functions are invoked), and what it holds."""

    queue: str
    source: str | None
    holds: str


QUEUES = {
    "refresh": Dead("RefreshDeadLetterQueue", "RefreshQueue", "requests for fresh owners"),
    "events": Dead("EventsDeadLetterQueue", "EventsQueue", "events from Stripe, and accounts to be read"),
    "async": Dead("AsyncDeadLetterQueue", None, "failed runs of reconcile and receive_event"),
}


def redrive(stack: Deployed, name: str, *, apply: bool, say: Say, sleep: Callable[[float], None] = time.sleep) -> None:
    """Show what a dead-letter queue holds, and with `apply` move all of it back. Raises `RecoveryError`."""
    dead, sqs = QUEUES[name], stack.clients("sqs")
    url = stack.resources[dead.queue]
    names = ["QueueArn", "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    say(f"{dead.queue}: {found['ApproximateNumberOfMessages']} messages ({dead.holds})")
    if not apply:
        for message in _shown(sqs, url):
            say(f"  {describe(message)}")
        return
    if dead.source is None:
        invoked, left = _invoke(stack, sqs, url, say)
        say(f"invoked: {invoked} runs")
        if left:
            raise RecoveryError(f"{left} messages were left in {dead.queue}. Look at them, remove their cause or delete them.")
        return
    destination = sqs.get_queue_attributes(QueueUrl=stack.resources[dead.source], AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    # The destination is named, because SQS does not know a source of messages that a function itself sent to the dead-letter queue.
    sqs.start_message_move_task(SourceArn=found["QueueArn"], DestinationArn=destination)
    task = _ended(sqs, found["QueueArn"], sleep)
    say(f"moved: {task.get('ApproximateNumberOfMessagesMoved', 0)} messages to {dead.source}, {task['Status']}")
    if task["Status"] != "COMPLETED":
        raise RecoveryError(f"The task ended as {task['Status']}: {task.get('FailureReason', 'SQS gives no reason')}.")


def describe(message: dict[str, Any]) -> str:
    """The ids in a dead letter and why it is there. A body may hold a task token, which is not shown."""
    reason = message.get("MessageAttributes", {}).get("reason", {}).get("StringValue", "no reason: the function ended, see its log")
    try:
        body = json.loads(message["Body"])
    except ValueError:
        return f"no JSON ({reason})"
    if not isinstance(body, dict):
        return f"no JSON object ({reason})"
    if "requestContext" in body:
        context = _object(body["requestContext"])
        function = str(context.get("functionArn", "")).partition(":function:")[2]
        return f"{function or 'no function'} ({context.get('condition', '')})"
    ref = _object(body.get("ref") or body)
    ids = [body.get("verification"), body.get("event"), ref.get("account"), ref.get("stripe_account")]
    return f"{' '.join(str(each) for each in ids if isinstance(each, str)) or 'no id'} ({reason})"


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _shown(sqs: Any, url: str) -> list[dict[str, Any]]:
    answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=SHOWN, VisibilityTimeout=0, MessageAttributeNames=["All"])
    messages: list[dict[str, Any]] = answer.get("Messages", [])
    return messages


def _ended(sqs: Any, arn: str, sleep: Callable[[float], None]) -> dict[str, Any]:
    """The move task of a queue, once it has ended."""
    for _ in range(TASK_SECONDS):
        [task] = sqs.list_message_move_tasks(SourceArn=arn, MaxResults=1)["Results"]
        if task["Status"] != "RUNNING":
            return dict(task)
        sleep(1)
    raise RecoveryError("The messages are still being moved. Look again: aws sqs list-message-move-tasks --source-arn " + arn)


def _invoke(stack: Deployed, sqs: Any, url: str, say: Say) -> tuple[int, int]:
    """Invoke each function again with what it failed on. SQS moves no message of a queue to which Lambda itself sends failures.

    Returns how many were invoked, and how many messages were left in the queue because no function could be invoked with them.
    """
    functions, invoked = stack.clients("lambda"), 0
    left: dict[str, str] = {}
    received: dict[str, str] = {}
    try:
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=HIDDEN_SECONDS).get("Messages"):
            received |= {message["MessageId"]: message["ReceiptHandle"] for message in messages}
            # Messages that are left are received again if the others take longer than `HIDDEN_SECONDS`.
            if received.keys() <= left.keys():
                break
            for message in messages:
                if message["MessageId"] in left:
                    continue
                if reason := _invoked_with(functions, message):
                    left[message["MessageId"]] = reason
                    say(f"  left in the queue: {message['MessageId']}, {describe(message)}: {reason}")
                    continue
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                del received[message["MessageId"]]
                say(f"  {describe(message)}")
                invoked += 1
    finally:
        # Otherwise the messages left in the queue would be hidden for `HIDDEN_SECONDS`. If the operator lacks this permission, they are.
        for handle in received.values():
            with contextlib.suppress(ClientError):
                sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
    return invoked, len(left)


def _invoked_with(functions: Any, message: dict[str, Any]) -> str:
    """Invoke the function that a message names. Returns why it could not be invoked, else nothing."""
    try:
        body = json.loads(message["Body"])
        arn, payload = body["requestContext"]["functionArn"].split(":"), json.dumps(body["requestPayload"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return "it is not in the form in which Lambda sends a failed invocation"
    try:
        # The ARN ends with the version or alias that was invoked.
        functions.invoke(FunctionName=":".join(arn[:7]), InvocationType="Event", Payload=payload.encode())
    except (ClientError, ParamValidationError) as error:
        return f"the function could not be invoked: {error}"
    return ""
