"""Processor time of import and first event of each function, from its artefact in a read-only folder, against a plain handler.

The plain handler imports boto3 and stripe of the same versions, makes a DynamoDB client and verifies a signature; it is installed as
`sam build` installs, without bytecode. Each run is a fresh interpreter; plain and ours take turns, and the median counts. The AWS and
the Stripe that a first event speaks to are the embedded ones. A round is one verification: `api` accepts it, `start_refresh`
starts the refresh, `fetch_owners` stores what it brought, `complete_verification` decides, and `review` shows how it came to that.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from local.aws import runtime
from local.aws.paths import BUILD, ROOT
from local.stack import Stack, running
from local.stripe_simulator.options import Options
from local.stripe_simulator.server import SimulatorServer
from tests.benchmarks import artefacts
from tests.benchmarks.figures import Figure
from tests.support.functions import http_event
from titleholder.stripe_api import signatures

RUNS = 11
LIMITS = {"receive_webhook": 0.32, "start_refresh": 0.60, "fetch_owners": 0.65, "complete_verification": 0.60, "api": 0.80, "review": 0.60}
"""Of the plain handler's processor time."""

PLAIN = """
import os
import boto3
import stripe

client = boto3.client("dynamodb")


def handler(event, context):
    stripe.Webhook.construct_event(event["body"], event["headers"]["stripe-signature"], os.environ["SECRET"])
    return {"statusCode": 200}
"""
CHILD = """
import json, sys, time, types
event, *more = json.load(sys.stdin)
context = types.SimpleNamespace(function_name="f", function_version="1", memory_limit_in_mb=512, aws_request_id="r",
    invoked_function_arn="arn:aws:lambda:us-east-1:000000000000:function:f", get_remaining_time_in_millis=lambda: 30000)
began, cpu = time.perf_counter(), time.process_time()
import app
imported = time.process_time()
answer = app.handler(event, context)
ended, used = time.perf_counter(), time.process_time()
warm = []
for event in more:
    start = time.perf_counter()
    app.handler(event, context)
    warm.append(time.perf_counter() - start)
print("\\n" + json.dumps({"seconds": ended - began, "import": imported - cpu, "cpu": used - cpu, "modules": len(sys.modules),
    "peak": next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024, "warm": warm,
    "answer": answer}))
"""


def plain() -> Path:
    """The plain handler with its packages."""
    pins = dict(line.split("==") for line in _pins())
    home = BUILD / "benchmarks" / f"plain-{pins['boto3']}-{pins['stripe']}"
    if not (home / "app.py").exists():
        command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile", "--target", str(home)]
        subprocess.run([*command, *(f"{name}=={pins[name]}" for name in ("boto3", "botocore", "stripe", "requests"))], check=True)
        (home / "app.py").write_text(PLAIN)
    return home


def _pins() -> list[str]:
    lines = [line for layer in ("core", "stripe") for line in (ROOT / f"layers/{layer}/requirements.txt").read_text().splitlines()]
    return [line.split()[0] for line in lines if "==" in line]


def once(paths: list[Path], environment: dict[str, str], events: Sequence[Any], cage: Path | None = None) -> dict[str, Any]:
    """One cold start: the seconds of import and first event, what the handler answered, and the seconds of each further event.

    `cage`: a control group that bounds the process.
    """
    command = [str(runtime.interpreter(BUILD)), "-c", CHILD]
    if cage is not None:
        command = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(cage), *command]
    full = {
        **environment, "PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONDONTWRITEBYTECODE": "1",
        "LAMBDA_TASK_ROOT": str(paths[0]), "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1", "AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    }  # fmt: skip
    done = subprocess.run(command, input=json.dumps(events), env=full, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f"{paths[0]} failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


class Round:
    """One cold start of each function, with events that follow from one another. No deployed function has a part in it."""

    def __init__(self, stack: Stack, simulator: SimulatorServer, number: int, cage: Path | None = None, warm: int = 0) -> None:
        """`cage`: as for `once`. `warm`: how many further events the receiver and `api` get."""
        self.stack, self.simulator = stack, simulator
        self.cage, self.warm = cage, warm
        self.account = f"fca_cold{number}"
        self.number = number
        simulator.simulator.link("single_owner", id=self.account)

    def environment(self, function: str, **more: str) -> dict[str, str]:
        configured = self.stack.client("lambda").list_functions()["Functions"]
        logical = artefacts.NAMES[function]
        (found,) = [each for each in configured if _is(each["FunctionName"], logical)]
        variables: dict[str, str] = found["Environment"]["Variables"]
        return {**variables, "STRIPE_API_BASE": self.simulator.url, "AWS_ENDPOINT_URL": self.stack.aws.endpoint, **more}

    def run(self) -> dict[str, dict[str, Any]]:
        idle = self.stack.client("sqs").create_queue(QueueName="benchmark-idle")["QueueUrl"]
        found: dict[str, dict[str, Any]] = {}

        def start(function: str, *events: Any, **more: str) -> Any:
            environment = self.environment(function, EVENTS_QUEUE_URL=idle, **more)
            found[function] = once(artefacts.paths(function), environment, events, self.cage)
            return found[function]["answer"]

        webhook, *further = (self.webhook(number) for number in range(1 + self.warm))
        found["plain"] = once([plain()], {"SECRET": self.stack.webhook_secret}, [webhook], self.cage)
        assert start("receive_webhook", webhook, *further)["statusCode"] == 200
        request, *requests = (
            http_event("POST", "/verifications", {"account": self.account, "claim": {"name": f"Margaret Testerman {'I' * number}".strip()}})
            for number in range(1 + self.warm)
        )
        created = start("api", request, *requests, STATE_MACHINE_ARN=self.machine())
        assert created["statusCode"] == 202, created
        verification = json.loads(created["body"])["id"]
        assert start("start_refresh", _queued(self.request(verification)), REFRESH_QUEUE_URL=idle) == {"batchItemFailures": []}
        event = {"event": f"evt_cold{self.number}", "account": self.account, "mode": "test"}
        assert start("fetch_owners", _queued(event)) == {"batchItemFailures": []}
        snapshot = self.snapshot()
        decided = start("complete_verification", {"verification": verification, "refresh": {"outcome": "ready", "snapshot": snapshot}})
        assert decided["outcome"] == "match", decided
        timeline = start("review", http_event("GET", f"/verifications/{verification}/timeline"))
        assert timeline["statusCode"] == 200, timeline
        return found

    def webhook(self, number: int) -> dict[str, Any]:
        event = json.loads(json.loads((ROOT / "events/receive_webhook.refreshed_ownership.json").read_text())["body"])
        event["id"] = f"evt_cold{self.number}n{number}"
        event["data"]["object"]["id"] = self.account
        body = json.dumps(event).encode()
        header = signatures.sign(body, self.stack.webhook_secret, int(time.time()))
        return http_event("POST", "/webhooks/stripe", body, {"Stripe-Signature": header})

    def machine(self) -> str:
        """A workflow that does nothing, so that nothing but the measured process works on the verification."""
        states = self.stack.client("stepfunctions")
        definition = json.dumps({"StartAt": "Nothing", "States": {"Nothing": {"Type": "Succeed"}}})
        role = states.describe_state_machine(stateMachineArn=self.stack.outputs["StateMachineArn"])["roleArn"]
        arn: str = states.create_state_machine(name="benchmark-nothing", definition=definition, roleArn=role)["stateMachineArn"]
        return arn

    def request(self, verification: str) -> dict[str, Any]:
        now = time.time()
        return {
            "task_token": "none", "entered": "2027-01-15T08:00:00Z", "retry": 0, "verification": verification,
            "ref": {"account": self.account, "mode": "test"}, "not_before": now - 60, "requested_at": now, "deadline": now + 600,
            "resume_at": None, "priority": "single",
        }  # fmt: skip

    def snapshot(self) -> str:
        key = {"pk": {"S": f"ACCOUNT#test/platform/{self.account}"}, "sk": {"S": "ACCOUNT"}}
        item = self.stack.client("dynamodb").get_item(TableName=self.stack.outputs["TableName"], Key=key)["Item"]
        return str(item["snapshot"]["S"])


def _is(deployed: str, logical: str) -> bool:
    return deployed.rpartition("-")[0].endswith(f"-{logical}") or deployed.endswith(f"-{logical}")


def _queued(message: Any) -> dict[str, Any]:
    record = {"messageId": "m", "receiptHandle": "r", "body": json.dumps(message), "attributes": {"ApproximateReceiveCount": "1"}}
    return {"Records": [record]}


def measure(runs: int = RUNS) -> list[Figure]:
    rounds: list[dict[str, dict[str, Any]]] = []
    with running() as stack, SimulatorServer(port=0, options=Options(settle_seconds=0.0)) as simulator:
        Round(stack, simulator, 0).run()  # Reads every file once, so that each later start finds it in the disk's cache.
        rounds.extend(Round(stack, simulator, number).run() for number in range(1, runs + 1))

    def middle(function: str, name: str) -> float:
        return median(found[function][name] for found in rounds)

    figures = [
        Figure(
            "cold start",
            "plain handler",
            1000 * middle("plain", "cpu"),
            "ms",
            None,
            f"of processor; import and first event, median of {runs}",
        )
    ]
    for function, limit in LIMITS.items():
        # Within a round both met the same load, so their ratio is steadier than either.
        ratio = median(found[function]["cpu"] / found["plain"]["cpu"] for found in rounds)
        about = f"{1000 * middle(function, 'cpu'):.0f} ms of processor, {1000 * middle(function, 'import'):.0f} of them import; "
        about += f"{1000 * middle(function, 'seconds'):.0f} ms of time; {middle(function, 'modules'):.0f} modules"
        figures.append(Figure("cold start", f"{function} : plain", ratio, "", ("<=", limit), about))
    figures += [
        Figure("cold start", f"{function}, peak memory", middle(function, "peak"), "MB", None, "after import and first event")
        for function in ("plain", *LIMITS)
    ]
    return figures
