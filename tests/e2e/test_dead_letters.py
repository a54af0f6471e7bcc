"""Messages in a dead-letter queue can be put back by the documented command."""

from __future__ import annotations

import json

from tests.e2e.stack_driver import StackDriver, eventually


def test_dead_letters_are_put_back_by_moving_them_to_their_queue(driver: StackDriver) -> None:
    account = driver.link("fresh")
    eventually(lambda: any(pk.endswith(account) and sk.startswith("SNAPSHOT#") for pk, sk in driver.table()))
    before = driver.stripe_calls(account)
    sqs, outputs = driver.stack.client("sqs"), driver.stack.outputs
    letter = {"event": "evt_deadletter", "account": account, "mode": "test"}
    reason = {"reason": {"DataType": "String", "StringValue": "StripeServerError: Stripe answered 500."}}
    sqs.send_message(QueueUrl=outputs["EventsDeadLetterQueueUrl"], MessageBody=json.dumps(letter), MessageAttributes=reason)
    arns = [
        sqs.get_queue_attributes(QueueUrl=outputs[name], AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        for name in ("EventsDeadLetterQueueUrl", "EventsQueueUrl")
    ]
    sqs.start_message_move_task(SourceArn=arns[0], DestinationArn=arns[1])
    assert eventually(lambda: driver.stripe_calls(account) > before)
