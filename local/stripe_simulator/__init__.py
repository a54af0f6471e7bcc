"""A stateful stand-in for Stripe Financial Connections: the official SDK talks to it unchanged, and it sends signed webhooks."""

from local.stripe_simulator.core import Simulator
from local.stripe_simulator.options import Options
from local.stripe_simulator.wire import Response

__all__ = ["Options", "Response", "Simulator"]
