"""The warm webhook receiver against a bare handler: HMAC check and one conditional put through boto3, in processor time.

Both talk over kept HTTP connections to the same `endpoint`, which answers at once from a process of its own, so each pays for its sockets
and neither for the answering; on AWS both wait for the same services, and TLS adds the same to each call. The receiver also sends to a
queue, parses and checks the event, logs and counts. The two take turns; the median of the rounds counts.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any
from unittest.mock import patch

import boto3

from tests.benchmarks.figures import Figure
from tests.support.functions import http_event, load
from titleholder import bootstrap, observability
from titleholder.stripe_api import signatures

ROUNDS, EVENTS = 100, 15
SECRET = "whsec_benchmark"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1", "TABLE_NAME": "table",
    "EVENTS_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/000000000000/events", "STRIPE_WEBHOOK_SECRET_NAME": "webhook",
    "KEYS_TABLE_NAME": "keys", "VAULT_KEY_ID": "alias/vault", "AWS_LAMBDA_FUNCTION_NAME": "receive_webhook",
    "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
}  # fmt: skip


@contextlib.contextmanager
def endpoint() -> Iterator[str]:
    """The URL of an AWS that answers at once."""
    command = [sys.executable, "-m", "tests.benchmarks.endpoint", SECRET]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"


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
    # Without this machine's own variables, such as a proxy's.
    with endpoint() as url, patch.dict(os.environ, {**ENVIRONMENT, "AWS_ENDPOINT_URL": url}, clear=True), _silence():
        bootstrap.use(None)
        receiver = load("receive_webhook")
        log: Any = observability.logger.registered_handler
        stream = log.setStream(io.StringIO())
        handlers = {"bare": bare(boto3.client("dynamodb")), "receive_webhook": receiver}
        spent: dict[str, list[float]] = {name: [] for name in handlers}
        for turn in range(ROUNDS + 1):
            for number, (name, handler) in enumerate(handlers.items()):
                events = deliveries(EVENTS, 10_000 * turn + EVENTS * number)
                began = time.process_time()
                answers = [handler(event)["statusCode"] for event in events]
                if turn:  # The first round warms up.
                    spent[name].append((time.process_time() - began) / EVENTS)
                assert answers == [200] * EVENTS
        log.setStream(stream)
        bootstrap.use(None)
    ratio = median(plain / ours for plain, ours in zip(spent["bare"], spent["receive_webhook"], strict=True))
    each = {name: 1e6 * median(found) for name, found in spent.items()}
    about = f"{each['receive_webhook']:.0f} µs of processor an event; bare {each['bare']:.0f}"
    return [Figure("warm receiver", "receive_webhook : bare", ratio, "", (">=", 0.35), about)]


def _silence() -> contextlib.redirect_stdout[io.StringIO]:
    return contextlib.redirect_stdout(io.StringIO())
