"""What failed for good can be put back by the documented command."""

from __future__ import annotations

import json

from tests.e2e.bench import Bench, eventually


def test_dead_letters_are_put_back_by_moving_them_to_their_queue(bench: Bench) -> None:
    account = bench.link("fresh")
    eventually(lambda: any(pk.endswith(account) and sk.startswith("SNAPSHOT#") for pk, sk in bench.table()))
    before = bench.stripe_calls(account)
    sqs, outputs = bench.stack.client("sqs"), bench.stack.outputs
    letter = {"event": "evt_deadletter", "account": account, "mode": "test"}
    reason = {"reason": {"DataType": "String", "StringValue": "StripeServerError: Stripe answered 500."}}
    sqs.send_message(QueueUrl=outputs["EventsDeadLetterQueueUrl"], MessageBody=json.dumps(letter), MessageAttributes=reason)
    arns = [
        sqs.get_queue_attributes(QueueUrl=outputs[name], AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        for name in ("EventsDeadLetterQueueUrl", "EventsQueueUrl")
    ]
    sqs.start_message_move_task(SourceArn=arns[0], DestinationArn=arns[1])
    assert eventually(lambda: bench.stripe_calls(account) > before)
