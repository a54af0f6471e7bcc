"""Restores a stack's table to a point in time, and does what has to follow when the stack uses the restored table."""

from __future__ import annotations

import datetime
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from tools.recovery import data
from tools.recovery.stack import Deployed, RecoveryError, table_exists

PARAMETER = "DataTableName"
POLL_SECONDS = 15.0
LONGEST_RESTORE_SECONDS = 12 * 3600
Say = Callable[[str], None]


@dataclass
class Setting:
    """A setting that DynamoDB does not restore. `present` is what the table has, `wanted` what the template says."""

    name: str
    present: Any
    wanted: Any
    set: Callable[[], Any]


def restore(
    stack: Deployed,
    into: str,
    at: datetime.datetime | None,
    *,
    verdicts: bool = True,
    apply: bool,
    say: Say,
    sleep: Callable[[float], None] = time.sleep,
    clock: data.Clock = time.time,
) -> None:
    """Restore the table that the stack uses, as it was `at` that time (None: the latest possible), into the new table `into`.

    Then prepare the new table, so that the stack can use it. A table `into` that exists already, for instance because an earlier run was
    cut off, or because it was restored from a backup, is only prepared. `verdicts`: keep the verdicts that were given since.
    """
    dynamodb, source = stack.clients("dynamodb"), stack.data_table
    _check_name(stack, into)
    description = table_exists(dynamodb, into)
    if description is None:
        at = _restore(stack, source, into, at, apply=apply, say=say)
        if not apply:
            say("then:  time to live, point-in-time recovery, tags, resource policy and deletion protection of the new table;")
            say("       erasures since then are repeated in it, audit entries since then are copied into it, items are counted")
            return
        description = _await_active(dynamodb, into, say, sleep, clock)
    else:
        at = at or description.get("RestoreSummary", {}).get("RestoreDateTime")
        if at is None:
            raise RecoveryError(f"The table {into} does not say to which time it was restored: name it by --to.")
        say(f"found: the table {into} as of {at:%FT%TZ}; it is not restored again")
        description = _await_active(dynamodb, into, say, sleep, clock)
    _check_schema(stack, description, into)
    for setting in settings(stack, into, description):
        if setting.present == setting.wanted:
            say(f"right: {setting.name}")
            continue
        say(f"{'set' if apply else 'would set'}: {setting.name}")
        if apply:
            setting.set()
    erased = data.erase_again(dynamodb, into, stack.keys_table, apply=apply, clock=clock)
    say(f"{'marked' if apply else 'would mark'}: {len(erased)} accounts as erased that were erased after that time")
    if source != into and table_exists(dynamodb, source):
        carried = data.carry_over(dynamodb, source, into, at.timestamp(), verdicts=verdicts, apply=apply, clock=clock)
        found = f"{carried['audit entries']} audit entries and {carried['verdicts']} verdicts"
        say(f"{'copied' if apply else 'would copy'}: {found} since then from {source}")
        _say_counts(dynamodb, source, into, say)
    else:
        say(f"lost:  audit entries and verdicts since {at:%FT%TZ}, because there is no table {source}")
    waiting = data.wait_again(dynamodb, into, stack.keys_table, apply=apply, clock=clock)
    say(f"{'listed' if apply else 'would list'}: {waiting} verifications without a verdict as waiting since now")
    if apply:
        say(f"next:  deploy the stack with {PARAMETER}={into}, then run: python -m tools.recovery after-restore")


def after_restore(
    stack: Deployed, *, apply: bool, say: Say, per_second: float = 10.0, sleep: Callable[[float], None] = time.sleep,
    clock: data.Clock = time.time,
) -> None:  # fmt: skip
    """Repeat erasures that were made until the stack used its present table, and have every account read from Stripe, which is free."""
    dynamodb, table = stack.clients("dynamodb"), stack.data_table
    if table == stack.own_table:
        say(f"note:  the stack uses its own table {table}, because its parameter {PARAMETER} is empty")
    wrong = [one.name for one in settings(stack, table, table_exists(dynamodb, table) or {}) if one.present != one.wanted]
    if wrong:
        raise RecoveryError(f"The table {table} lacks: {', '.join(wrong)}. Run the command restore --into {table} again.")
    erased = data.erase_again(dynamodb, table, stack.keys_table, apply=apply, clock=clock)
    say(f"{'marked' if apply else 'would mark'}: {len(erased)} accounts as erased that were erased while the table was restored")
    waiting = data.wait_again(dynamodb, table, stack.keys_table, apply=apply, clock=clock)
    say(f"{'listed' if apply else 'would list'}: {waiting} verifications without a verdict as waiting since now")
    read_accounts(stack, apply=apply, say=say, per_second=per_second, sleep=sleep)


def read_accounts(stack: Deployed, *, apply: bool, say: Say, per_second: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Have every account that is not erased read from Stripe, through the events queue. No refresh is paid for."""
    accounts = data.accounts_to_read(stack.clients("dynamodb"), stack.data_table)
    minutes = len(accounts) / per_second / 60
    say(f"{'sending' if apply else 'would send'}: {len(accounts)} accounts to be read, in {minutes:.1f} minutes, {per_second:g} a second")
    sqs, url = stack.clients("sqs"), stack.resources["EventsQueue"]
    for ref in accounts if apply else ():
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps({**ref.as_dict(), "required": True}))
        sleep(1 / per_second)


def settings(stack: Deployed, table: str, description: dict[str, Any]) -> list[Setting]:
    """The settings of a table that a restore leaves out, with what the template says of the stack's own table."""
    dynamodb, wanted, arn = stack.clients("dynamodb"), stack.properties("Table"), stack.table_arn(table)
    ttl = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    backups = dynamodb.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    recovered = backups.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus") == "ENABLED"
    tags = {tag["Key"]: tag["Value"] for tag in _all_tags(dynamodb, arn) if not tag["Key"].startswith("aws:")}
    stack_tags = {tag["Key"]: tag["Value"] for tag in stack.tags}
    policy = policy_for(stack, table)
    expiry = wanted["TimeToLiveSpecification"]
    protected = str(wanted.get("DeletionProtectionEnabled", False)).lower() == "true"
    return [
        Setting(
            f"time to live by {expiry['AttributeName']}",
            ttl.get("AttributeName") if ttl["TimeToLiveStatus"] in ("ENABLED", "ENABLING") else None,
            expiry["AttributeName"],
            lambda: dynamodb.update_time_to_live(TableName=table, TimeToLiveSpecification=expiry),
        ),
        Setting(
            "point-in-time recovery",
            recovered,
            True,
            lambda: dynamodb.update_continuous_backups(
                TableName=table, PointInTimeRecoverySpecification=wanted["PointInTimeRecoverySpecification"]
            ),
        ),
        Setting(
            "tags of the stack",
            {name: tags.get(name) for name in stack_tags},
            stack_tags,
            lambda: dynamodb.tag_resource(ResourceArn=arn, Tags=stack.tags),
        ),
        Setting(
            "resource policy, by which audit entries can't be changed",
            _policy(dynamodb, arn),
            policy,
            lambda: dynamodb.put_resource_policy(ResourceArn=arn, Policy=json.dumps(policy)),
        ),
        Setting(
            f"deletion protection {'on' if protected else 'off'}",
            bool(description.get("DeletionProtectionEnabled", False)),
            protected,
            lambda: dynamodb.update_table(TableName=table, DeletionProtectionEnabled=protected),
        ),
    ]


def policy_for(stack: Deployed, table: str) -> dict[str, Any]:
    """The resource policy of the template, for another table."""
    own = json.dumps(stack.properties("Table")["ResourcePolicy"]["PolicyDocument"])
    policy: dict[str, Any] = json.loads(own.replace(f'"{stack.table_arn(stack.own_table)}"', f'"{stack.table_arn(table)}"'))
    return policy


def _check_name(stack: Deployed, into: str) -> None:
    parameter = stack.template["Parameters"][PARAMETER]
    if not into or not re.fullmatch(parameter["AllowedPattern"], into):
        raise RecoveryError(f"{into!r} is no name that the parameter {PARAMETER} takes: it {parameter['ConstraintDescription']}")
    taken = {stack.own_table: "the stack's own table", stack.keys_table: "the stack's table of keys"}
    taken.setdefault(stack.data_table, "the table that the stack uses now")
    if into in taken:
        raise RecoveryError(f"{into} is {taken[into]}. DynamoDB restores into a new table only: choose another name.")


def _restore(stack: Deployed, source: str, into: str, at: datetime.datetime | None, *, apply: bool, say: Say) -> datetime.datetime:
    """Begin the restore; returns the time to which the table is restored."""
    dynamodb = stack.clients("dynamodb")
    description = table_exists(dynamodb, source)
    if description is None:
        raise RecoveryError(
            f"There is no table {source} in region {stack.region}. If it was deleted, DynamoDB has kept a backup for 35 days:\n"
            f"  aws dynamodb list-backups --table-name {source} --backup-type SYSTEM\n"
            f"  aws dynamodb restore-table-from-backup --target-table-name {into} --backup-arn <its ARN>\n"
            "Then run this command again."
        )
    found = dynamodb.describe_continuous_backups(TableName=source)["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    if found["PointInTimeRecoveryStatus"] != "ENABLED":
        raise RecoveryError(f"The table {source} has no point-in-time recovery.")
    first, last = found["EarliestRestorableDateTime"], found["LatestRestorableDateTime"]
    at = at or last
    if not first <= at <= last:
        raise RecoveryError(f"{at:%FT%TZ} lies outside the restorable time of {source}: {first:%FT%TZ} to {last:%FT%TZ} (UTC).")
    size = description.get("TableSizeBytes", 0) / 1e9
    about = f"{source} (about {description.get('ItemCount', 0):,} items, {size:.2f} GB) as of {at:%FT%TZ} into {into}"
    say(f"{'restoring' if apply else 'would restore'}: {about}")
    if apply:
        dynamodb.restore_table_to_point_in_time(SourceTableName=source, TargetTableName=into, RestoreDateTime=at)
    return at


def _await_active(dynamodb: Any, table: str, say: Say, sleep: Callable[[float], None], clock: data.Clock) -> dict[str, Any]:
    deadline = clock() + LONGEST_RESTORE_SECONDS
    while True:
        description = table_exists(dynamodb, table)
        if description is not None and description["TableStatus"] == "ACTIVE":
            return description
        if clock() > deadline:
            raise RecoveryError(f"The table {table} is not active after 12 hours. Run the command again once it is.")
        say(f"waiting: the table {table} is {description['TableStatus'] if description else 'not there yet'}")
        sleep(POLL_SECONDS)


def _check_schema(stack: Deployed, description: dict[str, Any], table: str) -> None:
    """Refuse a table that is not a copy of the stack's: another key, another index, another encryption."""
    wanted = stack.properties("Table")
    if description["KeySchema"] != wanted["KeySchema"]:
        raise RecoveryError(f"The table {table} has another key than the stack's table.")
    indexes = {index["IndexName"]: index["KeySchema"] for index in description.get("GlobalSecondaryIndexes", [])}
    for index in wanted["GlobalSecondaryIndexes"]:
        if indexes.get(index["IndexName"]) != index["KeySchema"]:
            raise RecoveryError(f"The table {table} lacks the index {index['IndexName']}. Restore it with its indexes.")
    key = description.get("SSEDescription", {}).get("KMSMasterKeyArn", "")
    if stack.resources.get("Key", "") not in key or not key:
        raise RecoveryError(f"The table {table} is not encrypted with the stack's key {stack.resources.get('Key')}.")


def _all_tags(dynamodb: Any, arn: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    start: dict[str, str] = {}
    while True:
        page = dynamodb.list_tags_of_resource(ResourceArn=arn, **start)
        found += page.get("Tags", [])
        if not page.get("NextToken"):
            return found
        start = {"NextToken": page["NextToken"]}


def _policy(dynamodb: Any, arn: str) -> Any:
    try:
        return json.loads(dynamodb.get_resource_policy(ResourceArn=arn)["Policy"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "PolicyNotFoundException":
            raise
        return None


def _say_counts(dynamodb: Any, source: str, into: str, say: Say) -> None:
    then, now = data.count_items(dynamodb, into), data.count_items(dynamodb, source)
    say(f"count: {'kind':32}{into:>24}{source:>24}")
    for kind in sorted(set(then) | set(now)):
        say(f"count: {kind:32}{then[kind]:>24,}{now[kind]:>24,}")
    say(f"count: {'all':32}{then.total():>24,}{now.total():>24,}")
