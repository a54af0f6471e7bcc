"""The warm webhook receiver against a bare handler: HMAC check and one conditional put. One fake endpoint in this process answers both.

What is compared is the work of the function itself; on AWS both wait for the same services. The receiver also sends to a queue, parses and
checks the event, logs and counts.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import io
import json
import os
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from botocore.awsrequest import AWSResponse
from botocore.session import get_session

from tests.benchmarks.figures import Figure
from tests.support.functions import http_event, load
from titleholder import observability, runtime, signatures

ROUNDS, EVENTS = 15, 100
SECRET = "whsec_benchmark"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1", "TABLE_NAME": "table",
    "EVENTS_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/000000000000/events", "STRIPE_WEBHOOK_SECRET_NAME": "webhook",
    "KEYS_TABLE_NAME": "keys", "VAULT_KEY_ID": "alias/vault",
}  # fmt: skip


class _Raw(io.BytesIO):
    def stream(self, **_: Any) -> Any:
        yield self.read()


def _answer(request: Any, **_: Any) -> AWSResponse:
    """What the services answer: a put that held, a message that was taken, the secret."""
    body: dict[str, Any] = {}
    if "sqs" in request.url:
        text = json.loads(request.body)["MessageBody"]
        body = {"MessageId": "m", "MD5OfMessageBody": hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}
    elif "secretsmanager" in request.url:
        body = {"SecretString": SECRET}
    raw = json.dumps(body).encode()
    return AWSResponse(request.url, 200, {"content-type": "application/x-amz-json-1.0", "content-length": str(len(raw))}, _Raw(raw))


def deliveries(count: int, start: int) -> list[dict[str, Any]]:
    events = []
    for number in range(start, start + count):
        body = json.dumps({
            "id": f"evt_{number}", "object": "event", "type": "financial_connections.account.refreshed_ownership", "livemode": False,
            "created": 1_800_000_000, "data": {"object": {"id": f"fca_{number}", "object": "financial_connections.account"}},
        })  # fmt: skip
        header = signatures.sign(body.encode(), SECRET, int(time.time()))
        events.append(http_event("POST", "/webhooks/stripe", body, {"Stripe-Signature": header}))
    return events


def bare(client: Any) -> Callable[[dict[str, Any]], Any]:
    def handler(event: dict[str, Any]) -> dict[str, Any]:
        stamp, _, given = event["headers"]["stripe-signature"].partition(",v1=")
        expected = hmac.new(SECRET.encode(), f"{stamp[2:]}.{event['body']}".encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, given):
            return {"statusCode": 400}
        item = {"pk": {"S": "EVENT#" + json.loads(event["body"])["id"]}, "sk": {"S": "EVENT"}}
        client.put_item(TableName="table", Item=item, ConditionExpression="attribute_not_exists(pk)")
        return {"statusCode": 200}

    return handler


def measure() -> list[Figure]:
    with patch.dict(os.environ, ENVIRONMENT), contextlib.redirect_stdout(io.StringIO()):
        for value in vars(runtime).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()
        receiver = load("receive_webhook")
        log: Any = observability.logger.registered_handler
        stream = log.setStream(io.StringIO())
        plain = get_session().create_client("dynamodb")
        for client in (plain, *map(runtime._client, ("dynamodb", "sqs", "secretsmanager"))):
            client.meta.events.register("before-send", _answer)
        handlers = {"bare": bare(plain), "receive_webhook": receiver}
        rates: dict[str, list[float]] = {name: [] for name in handlers}
        for turn in range(ROUNDS + 1):
            for number, (name, handler) in enumerate(handlers.items()):
                events = deliveries(EVENTS, 10_000 * turn + EVENTS * number)
                began = time.process_time()
                answers = [handler(event)["statusCode"] for event in events]
                spent = time.process_time() - began
                assert answers == [200] * EVENTS
                if turn:  # The first round warms up.
                    rates[name].append(EVENTS / spent)
        for value in vars(runtime).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()
        log.setStream(stream)
    best = {name: max(found) for name, found in rates.items()}
    about = f"{best['receive_webhook']:.0f} events a second of processor time; bare {best['bare']:.0f}"
    return [Figure("warm receiver", "receive_webhook : bare", best["receive_webhook"] / best["bare"], "", (">=", 0.8), about)]
