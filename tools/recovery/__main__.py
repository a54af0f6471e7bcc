"""Recovery commands: see docs/recovery.md.

    python -m tools.recovery --stack titleholder --region eu-west-1 restore --to 2026-11-28T09:00:00Z --into titleholder-restored

AWS credentials are found as by the AWS CLI. Without `--apply` a command only says what it would do.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from local.command import interruptible
from tools.recovery import importing, keys, redrive, restore
from tools.recovery.stack import Deployed, RecoveryError

PER_SECOND = 10.0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.recovery", description="Recovery of a Titleholder stack: docs/recovery.md.")
    parser.add_argument("--stack", required=True, help="the stack's name")
    parser.add_argument("--region", required=True, help="the stack's region, such as eu-west-1")
    parser.add_argument("--endpoint-url", help="endpoint of an AWS emulator")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("restore", help="restore the table to a point in time, into a new table")
    one.add_argument("--into", required=True, help="name of the new table")
    one.add_argument("--to", type=_time, help="the time, such as 2026-11-28T09:00:00Z (default: the latest possible, five minutes ago)")
    one.add_argument("--without-verdicts", action="store_true", help="do not keep verdicts that were given since, because they are wrong")
    two = commands.add_parser("after-restore", help="after the stack uses the restored table: repeat erasures, read all accounts again")
    three = commands.add_parser("rebuild-keys", help="make the lost table of keys anew")
    four = commands.add_parser("redrive", help="move dead letters back")
    four.add_argument("queue", choices=list(redrive.QUEUES))
    for command in (two, three):
        command.add_argument(
            "--per-second", type=_rate, default=PER_SECOND, help=f"accounts to be read in a second (default: {PER_SECOND:g})"
        )
    for command in (one, two, three, four):
        command.add_argument("--apply", action="store_true", help="do it; without this the command only says what it would do")
    five = commands.add_parser("import-files", help="write the files by which a stack of a deleted stack's name imports what that left")
    five.add_argument("--folder", type=Path, default=Path("build/import"), help="where to write them (default: build/import)")
    five.add_argument("--parameter", action="append", default=[], metavar="Name=Value", help="a parameter that the stack is deployed with")
    five.add_argument("--vault-key", help="id of the KMS key that encrypts data keys; needed only if it has encrypted none")
    return parser


def run(options: argparse.Namespace, say: restore.Say, **waiting: Any) -> None:
    """Carry a command out. `waiting`: `sleep` and `clock`, for tests. Raises `RecoveryError`."""

    @cache
    def clients(service: str) -> Any:
        return boto3.client(service, region_name=options.region, endpoint_url=options.endpoint_url)

    if options.command == "import-files":
        importing.write_import(_to_be_imported(options, clients), options.folder, vault_key=options.vault_key, say=say)
        return
    stack = Deployed.find(options.stack, options.region, clients)
    match options.command:
        case "restore":
            restore.restore(stack, options.into, options.to, verdicts=not options.without_verdicts, apply=options.apply, say=say, **waiting)
        case "after-restore":
            restore.after_restore(stack, apply=options.apply, say=say, per_second=options.per_second, **waiting)
        case "rebuild-keys":
            keys.rebuild(stack, apply=options.apply, say=say, per_second=options.per_second, **waiting)
        case "redrive":
            redrive.redrive(stack, options.queue, apply=options.apply, say=say)
    if not options.apply:
        say("Nothing was changed. Repeat the command with --apply to do it.")


def _to_be_imported(options: argparse.Namespace, clients: Any) -> Deployed:
    """The stack that is to be deployed again. Raises `RecoveryError` if it exists."""
    try:
        exists = clients("cloudformation").describe_stacks(StackName=options.stack)["Stacks"][0]["StackStatus"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        exists = None
    if exists not in (None, "DELETE_COMPLETE", "REVIEW_IN_PROGRESS"):
        raise RecoveryError(f"The stack {options.stack} exists ({exists}) in region {options.region}. Delete it first.")
    identity = clients("sts").get_caller_identity()
    given = dict(each.partition("=")[::2] for each in options.parameter)
    stack = Deployed(options.stack, options.region, identity["Account"], clients, given, partition=identity["Arn"].split(":")[1])
    if unknown := sorted(set(given) - set(stack.template["Parameters"])):
        raise RecoveryError(f"The template has no parameter {', '.join(unknown)}.")
    return stack


def _time(text: str) -> datetime.datetime:
    at = datetime.datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text} has no time zone: end it with Z for UTC")
    return at.astimezone(datetime.UTC)


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate <= 100:
        raise argparse.ArgumentTypeError("more than 0 and at most 100")
    return rate


def main(arguments: list[str] | None = None) -> int:
    try:
        run(parser().parse_args(arguments), lambda text: print(text, flush=True))
    except KeyboardInterrupt:
        print("The command may be run again.", file=sys.stderr)
        raise
    return 0


if __name__ == "__main__":
    sys.exit(interruptible(main))
