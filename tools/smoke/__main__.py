"""The command line of the smoke test."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from local.aws.emulator import client_environment
from local.command import interruptible
from local.stack import running_state
from tools.smoke import desk, edge, flows, keys, permissions, settings
from tools.smoke.report import Check, Line, SmokeError, run
from tools.smoke.stack import Deployed, find


def checks(stack: Deployed) -> list[Check]:
    """Every check, in the order in which what it finds is said."""
    found: dict[str, Callable[[Deployed], object]] = {
        "caller": permissions.caller, "routes": edge.routes, "refusals": edge.refusals,
        "authorisation of routes": edge.authorisation, "review desk": desk.page, "webhook": edge.webhook,
        "workflow verify_account": flows.verify_account, "workflow verify_batch": flows.verify_batch, "roles": permissions.roles,
        "right to resume": permissions.resuming, "queues": settings.queues, "functions": settings.functions,
        "published versions": settings.versions, "recursion": settings.recursion, "Lambda quota": settings.concurrency,
        "limits of routes": settings.throttling, "KMS keys": settings.kms_keys, "tables": settings.tables,
        "log groups": settings.logs, "schedule of reconcile": settings.schedule, "rules": settings.rules, "alarms": settings.alarms,
        "dashboard": settings.dashboard,
    }  # fmt: skip
    made = {name: partial(find_, stack) for name, find_ in found.items()}
    return [Check(name, find_) for name, find_ in {**made, **keys.checks(stack)}.items()]


def smoke(stack: Deployed, say: Callable[[str], None]) -> list[Line]:
    """Run every check."""
    return run(checks(stack), say)


def main(arguments: list[str] | None = None) -> int:
    """0 if nothing failed, 1 if something did, 2 if the checks could not begin."""
    parser = argparse.ArgumentParser(prog="tools.smoke", description="Say what works in a deployed stack. It pays for nothing.")
    parser.add_argument("--stack", default="", help="the name of the CloudFormation stack")
    parser.add_argument("--region", default="", help="its region, such as eu-central-1")
    parser.add_argument("--local", action="store_true", help="check the stack that `make up` started")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    try:
        local = _use_local_stack() if options.local else {}
        if not options.stack or not options.region:
            missing = "STACK" if not options.stack else "REGION"
            raise SmokeError(f"{missing} is missing: make smoke STACK=titleholder REGION=eu-central-1, or make smoke LOCAL=1 after make up")
        found = find(options.stack, options.region, token=os.environ.get("TOKEN") or None, local=options.local)
        lines = smoke(found, lambda text: print(text, flush=True))
    except SmokeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    states = Counter(line.state for line in lines)
    if options.local and any("aws " in line.todo for line in lines):
        print(f"\nCommands that begin with aws reach this stack with {' '.join(f'{n}={v}' for n, v in sorted(local.items()))}")
    told = f"{states['ok']} ok, {states['FAILED']} FAILED, {states['could not be checked']} could not be checked"
    print(f"\n{told}, in {time.monotonic() - began:.0f} s")
    return int(bool(states["FAILED"]))


def _use_local_stack() -> dict[str, str]:
    """Use the endpoint and the credentials of the stack that `make up` started; returns them as environment variables."""
    state = running_state()
    if state is None:
        raise SmokeError("no embedded stack is running: start one with `make up`")
    variables = client_environment(state["aws_url"])
    os.environ.update(variables)
    return variables


if __name__ == "__main__":
    sys.exit(interruptible(main))
