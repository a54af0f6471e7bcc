"""A stateful simulator of Stripe Financial Connections for the unchanged official SDK. It sends signed webhooks."""

from local.stripe_simulator.core import Simulator
from local.stripe_simulator.options import Options
from local.stripe_simulator.wire import Response

__all__ = ["Options", "Response", "Simulator"]
