"""The simulated deployment's names, settings and time-outs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parents[2]
BEGIN = 1_800_000_000.0
DAY = 86_400.0
WEBHOOK_SECRET = "whsec_simulated"
API_KEY = "sk_test_simulated"
REFRESH_QUEUE, EVENTS_QUEUE = "https://queue/refresh", "https://queue/events"
CLAIM_LIMIT = 6
TIMEOUTS = {
    "api": 45.0,
    "start_refresh": 60.0,
    "receive_webhook": 25.0,
    "receive_event": 30.0,
    "fetch_owners": 60.0,
    "complete_verification": 30.0,
    "reconcile": 300.0,
    "erase_account": 45.0,
    "linking": 45.0,
    "batches": 30.0,
    "run_batch_step": 900.0,
    "review": 30.0,
}

ENVIRONMENT = {
    "STRIPE_MODE": "test",
    "TABLE_NAME": "table",
    "KEYS_TABLE_NAME": "keys",
    "VAULT_KEY_ID": "arn:aws:kms:us-east-1:000000000000:key/vault",
    "REFRESH_QUEUE_URL": REFRESH_QUEUE,
    "EVENTS_QUEUE_URL": EVENTS_QUEUE,
    "REFRESH_DEAD_LETTER_URL": REFRESH_QUEUE + "-dead",
    "EVENTS_DEAD_LETTER_URL": EVENTS_QUEUE + "-dead",
    "EVENT_BUS_NAME": "bus",
    "STATE_MACHINE_ARN": "arn:aws:states:us-east-1:000000000000:stateMachine:verify-account",
    "BATCH_STATE_MACHINE_ARN": "arn:aws:states:us-east-1:000000000000:stateMachine:verify-batch",
    "BATCH_BUCKET": "bucket",
    "STRIPE_API_KEY_SECRET_NAME": "api-key",
    "STRIPE_WEBHOOK_SECRET_NAME": "webhook-secret",
    "SETTLE_TIMEOUT_SECONDS": "900",
    "CLAIMS_PER_ACCOUNT_PER_DAY": str(CLAIM_LIMIT),
}

LOGICAL_IDS = {REFRESH_QUEUE: "RefreshQueue", EVENTS_QUEUE: "EventsQueue"}
CONSUMERS = {REFRESH_QUEUE: "start_refresh", EVENTS_QUEUE: "fetch_owners"}
"""Which function consumes which queue."""


@dataclass(frozen=True)
class QueueSettings:
    """What the template says of a queue. `may_loop`: its consumer may be invoked any number of times in one chain of messages."""

    visibility: float
    most_receives: int
    may_loop: bool
    most_consumers: int


@cache
def queue_settings() -> Mapping[str, QueueSettings]:
    """By queue, read from the template, so that what is simulated is what is deployed."""
    resources: Mapping[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]
    found = {}
    for url, name in LOGICAL_IDS.items():
        queue = resources[name]["Properties"]
        consumer = resources["".join(part.capitalize() for part in CONSUMERS[url].split("_"))]["Properties"]
        (source,) = (event["Properties"] for event in consumer["Events"].values() if event["Type"] == "SQS")
        found[url] = QueueSettings(
            visibility=float(queue["VisibilityTimeout"]),
            most_receives=int(queue["RedrivePolicy"]["maxReceiveCount"]),
            may_loop=consumer.get("RecursiveLoop") == "Allow",
            most_consumers=int(source["ScalingConfig"]["MaximumConcurrency"]),
        )
    return found
