"""The embedded stack: template.yaml deployed to the AWS emulator, with the Stripe simulator.

python -m local.stack up      start one in the background
python -m local.stack down    stop it
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.aws.deploy import deploy, http_api_url
from local.aws.emulator import HOST, REGION, Emulator
from local.aws.paths import BUILD, ROOT
from local.bridge import Bridge
from local.command import CommandError, interruptible
from local.ports import AWS_PORT, STRIPE_PORT, check_ports
from local.signals import end_signals
from local.stripe_simulator.options import PREVIEW_VERSION, Options
from local.stripe_simulator.server import SimulatorServer
from titleholder.aws.secrets import API_KEY, SIGNING_SECRET, SecretKind
from titleholder.errors import ConfigurationError
from titleholder.settings import Settings

STACK = "titleholder"
WORKERS = 3
"""The most environments of one function. On two cores, more of them would start later and not run faster."""
WAITING_CALLS = WORKERS - 1
"""The template's parameter `WaitingCalls` here. A call that waits for a verdict occupies an environment: one is left for others."""
SETTLE_TIMEOUT_SECONDS = 30
"""How soon a workflow of `make up` asks again if no webhook comes. On AWS it is 15 minutes by default."""
STATE = BUILD / "stack.json"
VARIABLES = BUILD / "stack.env"
"""What shells read: `API`, the base URL of the running stack, and `SIMULATOR`, that of the simulated Stripe."""
LOG = BUILD / "stack.log"
API_KEY_SECRET = "titleholder/stripe-api-key"
WEBHOOK_SECRET_SECRET = "titleholder/stripe-webhook-secret"
DEFAULT_API_KEY = "sk_test_titleholder_local"

Say = Callable[[str], None]


class InputError(CommandError):
    """A variable of `make up` or `make tour` has a value that the functions would refuse."""


@dataclass(frozen=True)
class Inputs:
    """The variables of `make up` and `make tour`; None where one is not set."""

    stripe_api_base: str | None
    webhook_secret: str | None
    api_key: str
    preview_version: str
    bridge: str | None
    reviewers: str = "0"

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Inputs:
        """Raises `InputError` for a value that the functions would refuse. The message holds no secret."""
        base, bridge = environment.get("STRIPE_API_BASE") or None, environment.get("BRIDGE") or None
        secret, key = environment.get("STRIPE_WEBHOOK_SECRET") or None, environment.get("STRIPE_API_KEY") or DEFAULT_API_KEY
        preview = environment.get("STRIPE_PREVIEW_VERSION", "" if base else PREVIEW_VERSION)
        if base:
            _check_parameter("STRIPE_API_BASE", base, "StripeApiBase")
        if preview:
            _check_parameter("STRIPE_PREVIEW_VERSION", preview, "StripePreviewVersion")
        _check_secret("STRIPE_WEBHOOK_SECRET", secret, SIGNING_SECRET)
        _check_secret("STRIPE_API_KEY", key, API_KEY)
        reviewers = environment.get("REVIEWERS") or "0"
        if reviewers not in ("0", "1", "2"):
            raise InputError("REVIEWERS must be 0, 1 or 2")
        return cls(base, secret, key, preview, bridge, reviewers)

    @property
    def ports(self) -> list[int]:
        """The ports on which the stack listens."""
        return [AWS_PORT] if self.stripe_api_base else [AWS_PORT, STRIPE_PORT]


def _check_parameter(name: str, value: str, parameter: str) -> None:
    """Raise `InputError` for a value that the template or the functions would refuse."""
    allowed = _parameters(ROOT / "template.yaml")[parameter]
    try:
        Settings.from_environment({name: value, "AWS_ENDPOINT_URL": f"http://{HOST}"})
        fits = re.fullmatch(allowed["AllowedPattern"], value)
    except ConfigurationError:
        fits = None
    if not fits:
        raise InputError(f"{name} {allowed['ConstraintDescription']}")


def _parameters(template: Path) -> dict[str, Any]:
    """The parameters of a template by name."""
    from samtranslator.yaml_helper import yaml_parse

    return dict(yaml_parse(template.read_text(encoding="utf-8"))["Parameters"])


def _check_secret(name: str, value: str | None, kind: SecretKind) -> None:
    if value is not None and not kind.pattern.fullmatch(value):
        raise InputError(f"{name} has not the form of a {kind.name}")


@dataclass
class Stack:
    """A running stack. `stripe` is None if another server replaces the simulator."""

    aws: Emulator
    stripe: SimulatorServer | None
    outputs: Mapping[str, str]
    stripe_url: str
    webhook_secret: str
    api_key: str
    _clients: dict[str, Any] = field(default_factory=dict)

    @property
    def api_url(self) -> str:
        return http_api_url(self.aws.endpoint, self.outputs["HttpApiId"])

    @property
    def webhook_url(self) -> str:
        return f"{self.api_url}/webhooks/stripe"

    def client(self, service: str) -> Any:
        """A boto3 client of the emulator, made once."""
        if service not in self._clients:
            self._clients[service] = self.aws.client(service)
        return self._clients[service]


@contextlib.contextmanager
def running(
    *,
    aws_port: int = 0,
    stripe_port: int = 0,
    parameters: Mapping[str, str] | None = None,
    options: Options | None = None,
    stripe_api_base: str | None = None,
    api_key: str = DEFAULT_API_KEY,
    webhook_secret: str | None = None,
    var: Path = BUILD,
    trail: Path | None = None,
    template: Path = ROOT / "template.yaml",
    say: Say = lambda text: None,
) -> Iterator[Stack]:
    """Start a stack and stop it at the end of the block. Port 0 takes a free one.

    `parameters` are the template's. `stripe_api_base` replaces the simulator by another server, which must sign with `webhook_secret`.
    `trail` is a file that records IAM's decisions. `template` may be that of another release.
    """
    secret = webhook_secret or f"whsec_{secrets.token_hex(16)}"
    with contextlib.ExitStack() as exits:
        began = time.monotonic()
        workers = {"LAMBDA_MAX_WORKERS": str(WORKERS)}
        aws = exits.enter_context(Emulator(port=aws_port, var=var, trail=trail, environment=workers))
        simulator = None
        if stripe_api_base is None:
            simulator = exits.enter_context(SimulatorServer(port=stripe_port, options=options))
        stripe_url = stripe_api_base or (simulator.url if simulator else "")
        say(f"AWS emulator and Stripe simulator are ready after {time.monotonic() - began:.1f} s")
        manager = aws.client("secretsmanager")
        manager.create_secret(Name=API_KEY_SECRET, SecretString=api_key)
        manager.create_secret(Name=WEBHOOK_SECRET_SECRET, SecretString=secret)
        chosen = {
            "Architecture": "x86_64" if os.uname().machine == "x86_64" else "arm64",
            "StripeApiBase": stripe_url,
            "AwsEndpointUrl": aws.endpoint,
            "ServeDocs": "true",
            "WaitingCalls": str(WAITING_CALLS),
        }
        # An earlier release's template may lack some of these.
        known = _parameters(template)
        chosen = {**{name: value for name, value in chosen.items() if name in known}, **(parameters or {})}
        outputs = deploy(template, aws.endpoint, STACK, chosen, var=var)
        stack = Stack(aws, simulator, outputs, stripe_url, secret, api_key)
        if simulator is not None:
            for scope in ("platform", "connected"):
                simulator.simulator.add_endpoint(stack.webhook_url, secret, scope=scope)
        say(f"template.yaml is deployed after {time.monotonic() - began:.1f} s")
        yield stack


def serve(ready: Path, inputs: Inputs) -> None:
    """Run a stack until SIGTERM. `ready` is written once it answers. Containers reach it at the address `inputs.bridge`, too."""
    with contextlib.ExitStack() as exits:
        wait = exits.enter_context(end_signals())
        if inputs.bridge:
            # First, so that an unusable address is reported at once.
            exits.enter_context(Bridge(inputs.bridge, inputs.ports))
        stack = exits.enter_context(
            running(
                aws_port=AWS_PORT, stripe_port=STRIPE_PORT,
                parameters={
                    "SettleTimeoutSeconds": str(SETTLE_TIMEOUT_SECONDS),
                    "StripePreviewVersion": inputs.preview_version,
                    "ReviewersNeeded": inputs.reviewers,
                },
                stripe_api_base=inputs.stripe_api_base, webhook_secret=inputs.webhook_secret, api_key=inputs.api_key,
                say=lambda text: print(text, flush=True),
            )
        )  # fmt: skip
        write_state(stack, ready, reviewers=int(inputs.reviewers))
        wait()
    _forget(ready)


def _forget(path: Path) -> None:
    """Remove what `write_state` has written."""
    for file in (path, path.with_name(VARIABLES.name)):
        file.unlink(missing_ok=True)


def write_variables(stack: Stack, path: Path) -> None:
    """Write how to reach a stack, for shells."""
    simulator = f"SIMULATOR={stack.stripe.url}\n" if stack.stripe is not None else ""
    path.write_text(f"API={stack.api_url}\n{simulator}")


def write_state(stack: Stack, path: Path, reviewers: int = 0) -> None:
    """Write how to reach a stack, for Python to `path` and for shells to `stack.env` beside it."""
    state = {
        "pid": os.getpid(), "api_url": stack.api_url, "webhook_url": stack.webhook_url, "stripe_url": stack.stripe_url,
        "aws_url": stack.aws.endpoint, "webhook_secret": stack.webhook_secret, "simulated": stack.stripe is not None,
        "reviewers": reviewers,
    }  # fmt: skip
    write_variables(stack, path.with_name(VARIABLES.name))
    partial = path.with_suffix(".tmp")
    partial.write_text(json.dumps(state, indent=1))
    partial.rename(path)  # `up` reads the file as soon as it exists.


def up(inputs: Inputs) -> int:
    """Start a stack in the background and print how to call it. Raises `PortError` or `BridgeError` before it starts anything."""
    if (state := running_state()) is not None:
        print("The stack is already running.")
        _describe(state)
        return 0
    check_ports(inputs.ports)
    if inputs.bridge:
        Bridge(inputs.bridge, inputs.ports).close()
    BUILD.mkdir(exist_ok=True)
    _forget(STATE)
    with LOG.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "local.stack", "serve"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    print("Starting the stack ...", flush=True)
    while not STATE.exists():
        if process.poll() is not None:
            print(LOG.read_text()[-2000:])
            print(f"The stack did not start. Its log: {LOG.relative_to(ROOT)}")
            return 1
        time.sleep(0.1)
    _describe(json.loads(STATE.read_text()))
    return 0


def down() -> int:
    """Stop the stack that `up` started."""
    state = running_state()
    if state is None:
        print("No stack is running.")
        return 0
    os.kill(state["pid"], signal.SIGTERM)
    for _ in range(300):
        if not _alive(state["pid"]):
            _forget(STATE)
            print("The stack is stopped.")
            return 0
        time.sleep(0.1)
    print(f"The stack (process {state['pid']}) has not ended within 30 s.")
    return 1


def running_state() -> dict[str, Any] | None:
    """How to reach the stack that `up` started; None if it has ended, however it ended."""
    if not STATE.exists():
        return None
    state: dict[str, Any] = json.loads(STATE.read_text())
    if _alive(state["pid"]):
        return state
    _forget(STATE)
    return None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _describe(state: Mapping[str, Any]) -> None:
    print(f"HTTP interface   {state['api_url']}")
    print(f"Documentation    {state['api_url']}/docs")
    print(f"Webhooks         {state['webhook_url']}   (secret {state['webhook_secret']})")
    print(f"AWS              {state['aws_url']}   (key test, secret test, region us-east-1)")
    print(f"Stripe           {state['stripe_url']}")
    if reviewers := state.get("reviewers"):
        print(f"Reviews          each close match opens one; an approval takes {'one reviewer' if reviewers == 1 else 'two reviewers'}")
    else:
        print("Reviews          none (for reviews: make down, then make up REVIEWERS=1)")
    account = "fca_YOURS"
    if state["simulated"]:
        account = "fca_try1"
        print("\nLink a simulated account, then verify it:")
        print(f"""  curl -s '{state["stripe_url"]}/_simulator/accounts' -d '{{"scenario": "single_owner", "id": "{account}"}}'""")
    else:
        print("\nVerify an account:")
    claim = json.dumps({"account": account, "claim": {"name": "Margaret Testerman"}})
    curl = f"curl -s --aws-sigv4 aws:amz:{REGION}:execute-api --user test:test"
    print(f"""  {curl} '{state["api_url"]}/verifications' -H 'Content-Type: application/json' -d '{claim}'""")
    print(f"""  {curl} '{state["api_url"]}/accounts/{account}/owners'""")
    print(f"\nA workflow whose webhook is lost asks again after {SETTLE_TIMEOUT_SECONDS} s here (to watch it: docs/local-stack.md).")
    print("Stop it: make down")


def main() -> int:
    parser = argparse.ArgumentParser(prog="local.stack", description="Titleholder on an AWS emulator and a Stripe simulator.")
    parser.add_argument("command", choices=["up", "down", "serve"])
    command = parser.parse_args().command
    if command == "down":
        return down()
    inputs = Inputs.read(os.environ)
    if command == "up":
        return up(inputs)
    serve(STATE, inputs)
    return 0


if __name__ == "__main__":
    sys.exit(interruptible(main))
