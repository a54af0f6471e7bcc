"""Gives a webhook sample a current signature, for functions run by `sam local`:

    python -m local.sign_event events/receive_webhook.refreshed_ownership.json | sam local invoke ReceiveWebhook -e -

The secret is STRIPE_WEBHOOK_SECRET, or that of the stack that `make up` started. It needs Python 3.11 or later and no packages.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.aws.paths import BUILD, ROOT
from local.command import CommandError, interruptible, readable

STATE = BUILD / "stack.json"
VARIABLE = "STRIPE_WEBHOOK_SECRET"


class NoSecretError(CommandError):
    """There is no signing secret. The message says what to do."""


def signed(event: Mapping[str, Any], secret: str, now: int) -> dict[str, Any]:
    """The HTTP API event (payload format 2.0) with the `Stripe-Signature` of its body at `now` (Unix seconds)."""
    sys.path.insert(0, str(ROOT / "layers" / "titleholder" / "python"))
    from titleholder.stripe_api import signatures

    text = event.get("body") or ""
    body = base64.b64decode(text) if event.get("isBase64Encoded") else text.encode()
    headers = {name: value for name, value in (event.get("headers") or {}).items() if name.lower() != "stripe-signature"}
    return {**event, "headers": {**headers, "stripe-signature": signatures.sign(body, secret, now)}}


def find_secret(environment: Mapping[str, str] = os.environ, state: Path = STATE) -> str:
    """The signing secret from the environment, else from the running stack. Raises `NoSecretError`."""
    secret = environment.get(VARIABLE)
    if not secret and state.exists():
        secret = json.loads(state.read_text())["webhook_secret"]
    if not secret:
        raise NoSecretError(f"there is no signing secret: set {VARIABLE}, or start a stack with `make up`")
    return str(secret)


def main() -> None:
    parser = argparse.ArgumentParser(prog="local.sign_event", description="Print a webhook sample with a current signature.")
    parser.add_argument("event", type=Path, help="one of events/receive_webhook.*.json")
    path = readable(parser.parse_args().event)
    try:
        event = json.loads(path.read_text())
    except ValueError:
        event = None
    if not isinstance(event, dict):
        raise CommandError(f"{path} is not a sample event: a JSON object is expected, such as in events/receive_webhook.deactivated.json")
    print(json.dumps(signed(event, find_secret(), int(time.time()))))


if __name__ == "__main__":
    sys.exit(interruptible(main))
