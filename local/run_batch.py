"""Runs one batch on an embedded stack and prints how fast it was.

    python -m local.run_batch 1000 [--rate 4]

`--rate`: calls a second to each of Stripe's operations. Choose a rate that the machine can keep up.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests

from local.client import Client
from local.command import count, interruptible, number
from local.stack import running
from local.stripe_simulator.options import Options

CONCURRENCY = 200
BAR = 40


def manifest(accounts: list[str]) -> Iterator[bytes]:
    for account in accounts:
        yield json.dumps({"account": account, "claim": {"name": "Margaret Testerman"}}).encode() + b"\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="local.run_batch", description="Run a batch on an embedded stack.")
    parser.add_argument("accounts", type=count)
    parser.add_argument("--rate", type=number, default=4.0, help="calls a second of each operation")
    options = parser.parse_args()
    parameters = {"StripeCallsPerSecond": f"{options.rate:g}", "BatchConcurrency": str(CONCURRENCY), "SettleTimeoutSeconds": "600"}
    with running(parameters=parameters, options=Options(settle_seconds=0.3), say=print) as stack:
        assert stack.stripe is not None
        simulator, http = stack.stripe.simulator, Client(stack.api_url)
        accounts = [f"fca_batch{number}" for number in range(options.accounts)]
        for account in accounts:
            simulator.fail_webhooks("drop", type="financial_connections.account.created", account=account)
            simulator.link("single_owner", id=account, customer=account.replace("fca", "cus"))
        batch = http.call("POST", "/batches", {"format": "jsonl"}).body
        requests.put(batch["upload"]["urls"][0], b"".join(manifest(accounts)), timeout=60).raise_for_status()
        began = time.monotonic()
        http.call("POST", f"/batches/{batch['id']}/start")
        peaks: dict[str, int] = {}
        shown = _follow(http, batch["id"], options.accounts, lambda: _measure(stack.aws.pid, peaks))
        took = time.monotonic() - began
        refreshes = [int(simulator.state(account)["initiated_refreshes"]) for account in accounts]
    lost, twice = options.accounts - sum(shown["done"].values()), sum(count > 1 for count in refreshes)
    bound = options.accounts / options.rate
    print(f"\n{shown['state']}: {shown['done']} in {took:.1f} s, {took / bound:.2f} times the {bound:.1f} s that the rate allows at best")
    print(f"{lost} lost, {twice} paid twice")
    if peaks:
        print("peak memory:", ", ".join(f"{name} {kilobytes / 1000:.0f} MB" for name, kilobytes in sorted(peaks.items())))
    return 0 if (shown["state"], lost, twice) == ("completed", 0, 0) else 1


def _follow(http: Client, batch: str, total: int, meanwhile: Callable[[], None]) -> dict[str, Any]:
    while True:
        shown: dict[str, Any] = http.call("GET", f"/batches/{batch}").body
        meanwhile()
        done = sum(shown["done"].values())
        filled = BAR * done // max(total, 1)
        pace = "" if shown["per_second"] is None else f" {shown['per_second']:.1f}/s"
        end = f", ends about {shown['estimated_end']}" if shown["estimated_end"] else ""
        print(f"\r[{'#' * filled}{'.' * (BAR - filled)}] {done}/{total} {shown['state']}{pace}{end:<36}", end="", flush=True)
        if shown["state"] not in ("importing", "verifying"):
            return shown
        time.sleep(1)


def _measure(emulator: int, peaks: dict[str, int]) -> None:
    """Record the peak memory (KB) of each function's processes in `peaks`. Only Linux shows it."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
            if int(status["PPid"]) != emulator:
                continue
            environment = dict(entry.split("=", 1) for entry in (process / "environ").read_text().split("\0") if "=" in entry)
        except OSError:
            continue  # The process has ended.
        if "AWS_LAMBDA_FUNCTION_NAME" in environment:
            # The name is the stack's, the function's and a random suffix.
            name = environment["AWS_LAMBDA_FUNCTION_NAME"].split("-")[1]
            peaks[name] = max(peaks.get(name, 0), int(status["VmHWM"].split()[0]))


if __name__ == "__main__":
    sys.exit(interruptible(main))
