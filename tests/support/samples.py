"""The sample events, and a deployment with the objects that they name."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

from tests.support.functions import ROOT
from tests.support.reviews import CLOSE
from tests.support.sandbox import Sandbox, client
from titleholder.batches import lifecycle
from titleholder.bootstrap import application
from titleholder.services import verifications

EVENTS = ROOT / "events"
SAMPLES: dict[str, Any] = {path.stem: json.loads(path.read_text()) for path in sorted(EVENTS.glob("*.json")) if path.name != "env.json"}
ACCOUNT = "fca_try1"
BATCH = "bat_00000000000000000000000000000001"
VERIFICATION = "ver_58c7ed745f25ef930738973fa94d3d9e"
REVIEWED = "ver_2f0c6d6ab1e84c5f9d3c7b1a5e8d4f60"
"""A close match with an open review."""


def prepare(sandbox: Sandbox) -> None:
    """Make the account and the verifications that samples name."""
    sandbox.cold_start(REVIEWERS_NEEDED="1")
    sandbox.link("fresh", id=ACCOUNT, customer="cus_try1", payment_method="pm_try1")
    sandbox.link("fresh", id=ACCOUNT, stripe_account="acct_try1")
    # An id is derived with the stack's own secret, so that of the samples is given by hand.
    with patch.object(verifications, "verification_id", lambda *_: VERIFICATION):
        assert sandbox.function("api")(SAMPLES["api.post_verifications"])["statusCode"] == 200
    with patch.object(verifications, "verification_id", lambda *_: REVIEWED):
        assert sandbox.http("POST", "/verifications", {"account": ACCOUNT, "claim": CLOSE}).json["verdict"]["outcome"] == "close_match"
    new = lifecycle.NewBatch(mode="test", format="jsonl", stripe_account=None, max_age=60, policy={})
    lifecycle.create(application().batch_dependencies, new, BATCH)
    client("s3").put_object(Bucket="titleholder-batches", Key=lifecycle.manifest_key(BATCH), Body=b'{"account": "fca_try1"}')
