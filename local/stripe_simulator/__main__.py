"""`python -m local.stripe_simulator`: run the simulator until SIGTERM or SIGINT. Prints {"url": ...} once it listens."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import fields

from local.command import CommandError, interruptible, port
from local.signals import end_signals
from local.stripe_simulator.deliveries import check_address
from local.stripe_simulator.options import Options
from local.stripe_simulator.server import SimulatorServer

DEFAULTS = Options()


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.stripe_simulator", description=__doc__)
    parser.add_argument("--port", type=port, default=0, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--webhook-url", help="where the platform's snapshot events go")
    parser.add_argument("--webhook-secret", action="append", default=[], help="signs the webhooks; several while a secret is rolled")
    parser.add_argument("--seed", type=int, default=0, help="decides the ids")
    parser.add_argument("--settle-seconds", type=float, default=DEFAULTS.settle_seconds, help="how long a refresh stays pending")
    parser.add_argument("--cooldown-seconds", type=float, default=DEFAULTS.cooldown_seconds, help="until the next refresh is allowed")
    parser.add_argument(
        "--retry-base-seconds", type=float, default=DEFAULTS.retry_base_seconds, help="until a refused webhook is sent again"
    )
    parser.add_argument("--retry-limit", type=int, default=DEFAULTS.retry_limit, help="how often a refused webhook is sent again")
    parser.add_argument("--delivery-delay-seconds", type=float, default=DEFAULTS.delivery_delay_seconds, help="from event to webhook")
    parser.add_argument("--rate-limit", type=int, help="calls a second for each operation; beyond that 429")
    parser.add_argument("--global-rate-limit", type=int, help="calls a second in all; beyond that 429")
    parser.add_argument(
        "--live-unregistered",
        action="store_false",
        dest="live_registered",
        help="live mode answers 403, as before the registration is complete",
    )
    return parser.parse_args(arguments)


def main() -> None:
    given = parse()
    if given.webhook_url and not given.webhook_secret:
        raise CommandError("--webhook-url needs a --webhook-secret")
    if given.webhook_url:
        try:
            check_address(given.webhook_url)
        except ValueError as error:
            raise CommandError(f"--webhook-url is {error}") from None
    names = {field.name for field in fields(Options)}
    options = Options(**{name: value for name, value in vars(given).items() if name in names})
    with (
        end_signals() as wait,
        SimulatorServer(
            given.port, webhook_url=given.webhook_url, webhook_secrets=given.webhook_secret, options=options, seed=given.seed
        ) as server,
    ):
        print(json.dumps({"url": server.url}), flush=True)
        wait()


if __name__ == "__main__":
    sys.exit(interruptible(main))
