"""The ports of the embedded stack. `make up` checks them before it makes .venv, which takes minutes:

    python -m local.ports

Only the standard library is imported, because .venv may be missing.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from local.command import CommandError, interruptible, no_arguments

HOST = "127.0.0.1"
AWS_PORT = 4566
STRIPE_PORT = 12111
STATE = Path(__file__).parent.parent / "build" / "stack.json"
USERS = {
    AWS_PORT: " (the embedded AWS needs it; LocalStack listens there too)",
    STRIPE_PORT: " (the simulated Stripe needs it; stripe-mock listens there too)",
}
HOLDERS = "If another stack uses it, stop that: `make down` in its checkout after `make up`, or Ctrl-C for `make desk`"


class PortError(CommandError):
    """Other processes listen on ports that are needed."""


def check_ports(ports: Iterable[int]) -> None:
    """Raise `PortError`, which names every port of this machine on which another process listens."""
    if found := list(_taken(ports)):
        raise PortError(f"{'; '.join(found)}. {HOLDERS}")


def _taken(ports: Iterable[int]) -> Iterator[str]:
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                yield f"port {port} of {HOST} cannot be used: {error.strerror}{USERS.get(port, '')}"


def main() -> None:
    no_arguments("local.ports", "Say which ports of the embedded stack are in use.")
    # If the stack runs already, `local.stack up` says so.
    if not STATE.exists():
        check_ports([AWS_PORT] if os.environ.get("STRIPE_API_BASE") else [AWS_PORT, STRIPE_PORT])


if __name__ == "__main__":
    sys.exit(interruptible(main))
