"""The recovery commands refuse the wrong stack, region, table or time by a message that says what to do, and change nothing then."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from botocore.exceptions import ClientError

from tools.recovery import data, importing, keys, redrive, restore
from tools.recovery.__main__ import _to_be_imported, parser
from tools.recovery.stack import Deployed, RecoveryError

AT = datetime.datetime(2026, 11, 28, 9, tzinfo=datetime.UTC)
KEY = "0a1b"


def refused(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": 404}}, "Operation")


class Clients:
    """Mocks of boto3 clients. Tables: by name, with the answers of DescribeTable."""

    def __init__(self, tables: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.of: dict[str, MagicMock] = {}
        self.tables = dict(tables or {})
        self("sts").get_caller_identity.return_value = {"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/operator"}
        self("dynamodb").describe_table.side_effect = self._describe
        self("dynamodb").describe_continuous_backups.return_value = recovery("ENABLED")

    def __call__(self, service: str) -> Any:
        return self.of.setdefault(service, MagicMock())

    def _describe(self, TableName: str) -> Any:
        if TableName not in self.tables:
            raise refused("ResourceNotFoundException")
        return {"Table": {"TableStatus": "ACTIVE", "TableName": TableName, **self.tables[TableName]}}

    @property
    def changes(self) -> list[str]:
        """The operations called that change something."""
        reading = ("describe", "list", "get", "head", "scan", "query", "decrypt", "receive")
        return [
            call[0] for client in self.of.values() for call in client.mock_calls if not call[0].startswith(reading) and "." not in call[0]
        ]


def recovery(status: str) -> dict[str, Any]:
    window = {"EarliestRestorableDateTime": AT - datetime.timedelta(days=7), "LatestRestorableDateTime": AT + datetime.timedelta(hours=1)}
    return {"ContinuousBackupsDescription": {"PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": status, **window}}}


def deployed(clients: Clients, **parameters: str) -> Deployed:
    resources = {"Key": KEY, "EventsQueue": "https://queue/events"}
    return Deployed("titleholder", "eu-west-1", "123456789012", clients, parameters=parameters, resources=resources)


def restoring(
    clients: Clients, into: str = "restored", at: datetime.datetime | None = AT, *, apply: bool = False, **parameters: str
) -> list[str]:
    said: list[str] = []
    restore.restore(deployed(clients, **parameters), into, at, apply=apply, say=said.append, sleep=lambda _: None, clock=AT.timestamp)
    return said


class TestStack:
    def test_missing_one_is_named_with_its_region_and_account(self) -> None:
        clients = Clients()
        clients("cloudformation").describe_stacks.side_effect = refused("ValidationError", "Stack with id other does not exist")
        with pytest.raises(RecoveryError, match="no stack other in region eu-west-1 of the AWS account 123456789012"):
            Deployed.find("other", "eu-west-1", clients)

    def test_another_kind_of_stack_is_refused(self) -> None:
        clients = Clients()
        clients("cloudformation").describe_stacks.return_value = {"Stacks": [{"StackStatus": "CREATE_COMPLETE"}]}
        clients("cloudformation").get_paginator.return_value.paginate.return_value = [
            {"StackResourceSummaries": [{"LogicalResourceId": "Website", "PhysicalResourceId": "w"}]}
        ]
        with pytest.raises(RecoveryError, match="is no stack of Titleholder"):
            Deployed.find("website", "eu-west-1", clients)

    def test_table_that_is_used_is_the_named_one_or_the_stacks_own(self) -> None:
        assert deployed(Clients()).data_table == "titleholder"
        assert deployed(Clients(), DataTableName="restored").data_table == "restored"

    def test_conditions_of_the_template_are_worked_out(self) -> None:
        assert deployed(Clients(), StripeMode="live").properties("Table")["DeletionProtectionEnabled"] is True
        assert deployed(Clients(), StripeMode="live", DeletionProtection="off").properties("Table")["DeletionProtectionEnabled"] is False


class TestRestore:
    @pytest.mark.parametrize(
        ("into", "why"),
        [
            ("titleholder", "the stack's own table"),
            ("titleholder-keys", "the stack's table of keys"),
            ("used", "the table that the stack uses now"),
            ("no name", "no name that the parameter DataTableName takes: it must be .* of 3 to 50 letters, digits"),
            ("", "no name that the parameter"),
        ],
    )
    def test_table_of_another_use_is_refused(self, into: str, why: str) -> None:
        clients = Clients({"titleholder": {}, "used": {}})
        with pytest.raises(RecoveryError, match=why):
            restoring(clients, into, DataTableName="used")
        assert clients.changes == []

    def test_time_outside_of_what_can_be_restored_is_refused(self) -> None:
        for at in (AT - datetime.timedelta(days=8), AT + datetime.timedelta(hours=2)):
            with pytest.raises(
                RecoveryError, match="outside the restorable time of titleholder: 2026-11-21T09:00:00Z to 2026-11-28T10:00:00Z"
            ):
                restoring(Clients({"titleholder": {}}), at=at)

    def test_table_without_recovery_is_refused(self) -> None:
        clients = Clients({"titleholder": {}})
        clients("dynamodb").describe_continuous_backups.return_value = recovery("DISABLED")
        with pytest.raises(RecoveryError, match="has no point-in-time recovery"):
            restoring(clients)

    def test_deleted_table_is_restored_from_the_backup_that_dynamodb_keeps(self) -> None:
        with pytest.raises(RecoveryError, match="aws dynamodb list-backups --table-name titleholder --backup-type SYSTEM"):
            restoring(Clients())

    def test_table_that_is_still_restored_from_a_backup_is_waited_for(self) -> None:
        """A dry run reads its settings too, and DynamoDB refuses some of these reads while the table is made."""
        clients = Clients({"restored": {"TableStatus": "CREATING", "KeySchema": []}})
        said: list[str] = []

        def become_active(_: float) -> None:
            clients.tables["restored"] = {"TableStatus": "ACTIVE", "KeySchema": []}

        with pytest.raises(RecoveryError, match="another key"):
            restore.restore(deployed(clients), "restored", AT, apply=False, say=said.append, sleep=become_active, clock=AT.timestamp)
        assert said[1:] == ["waiting: the table restored is CREATING"]

    def test_without_apply_nothing_is_changed(self) -> None:
        clients = Clients({"titleholder": {"ItemCount": 1200, "TableSizeBytes": 2_000_000_000}})
        said = restoring(clients)
        assert said[0] == "would restore: titleholder (about 1,200 items, 2.00 GB) as of 2026-11-28T09:00:00Z into restored"
        assert clients.changes == []

    def test_table_of_other_keys_or_encryption_is_not_prepared(self) -> None:
        schema = deployed(Clients()).properties("Table")
        right = {"KeySchema": schema["KeySchema"], "GlobalSecondaryIndexes": schema["GlobalSecondaryIndexes"],
                 "SSEDescription": {"KMSMasterKeyArn": f"arn:aws:kms:eu-west-1:123456789012:key/{KEY}"},
                 "RestoreSummary": {"RestoreDateTime": AT}}  # fmt: skip
        for wrong, why in (
            ({"KeySchema": []}, "another key"),
            ({"GlobalSecondaryIndexes": []}, "lacks the index open"),
            ({"SSEDescription": {}}, "not encrypted with the stack's key"),
        ):
            clients = Clients({"titleholder": {}, "restored": {**right, **wrong}})
            with pytest.raises(RecoveryError, match=why):
                restoring(clients, apply=True)
            assert clients.changes == []

    def test_resource_policy_names_the_new_table(self) -> None:
        [statement] = restore.policy_for(deployed(Clients()), "restored")["Statement"]
        assert statement["Resource"] == "arn:aws:dynamodb:eu-west-1:123456789012:table/restored"
        assert statement["Effect"] == "Deny"


class TestKeys:
    def test_without_apply_no_table_is_made(self) -> None:
        clients = Clients({"titleholder": {}})
        clients("dynamodb").scan.return_value = {"Items": []}
        said: list[str] = []
        keys.rebuild(deployed(clients), apply=False, say=said.append)
        assert "would make: the table titleholder-keys" in said
        assert clients.changes == []


class TestImport:
    KEYS: Mapping[str, Any] = {"SSEDescription": {"KMSMasterKeyArn": f"arn:aws:kms:eu-west-1:123456789012:key/{KEY}"}}

    def clients(self, vault: str = "v2") -> Clients:
        clients = Clients({"titleholder": self.KEYS, "titleholder-keys": self.KEYS})
        wrapped = {"pk": {"S": "ACCOUNT#test/platform/fca_1"}, "wrapped_key": {"B": b"w"}}
        clients("dynamodb").scan.return_value = {"Items": [wrapped]}
        clients("kms").decrypt.return_value = {"KeyId": f"arn:aws:kms:eu-west-1:123456789012:key/{vault}"}
        clients("kms").describe_key.side_effect = lambda KeyId: {"KeyMetadata": {"KeyId": KEY if KeyId.endswith("-table") else "v2"}}
        return clients

    def test_files_import_what_is_left_and_nothing_else(self, tmp_path: Path) -> None:
        clients = self.clients()
        importing.write_import(deployed(clients), tmp_path, vault_key=None, say=lambda _: None)
        template, resources = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("template", "resources"))
        found = {one["LogicalResourceId"]: next(iter(one["ResourceIdentifier"].values())) for one in resources}
        assert found == {
            "Key": KEY, "KeyAlias": "alias/titleholder-table", "Table": "titleholder", "VaultKey": "v2",
            "VaultKeyAlias": "alias/titleholder-vault", "KeysTable": "titleholder-keys",
            "Bucket": "titleholder-batches-123456789012-eu-west-1",
        }  # fmt: skip
        assert set(template["Resources"]) == set(found)
        assert all(one["DeletionPolicy"].startswith("Retain") for one in template["Resources"].values())
        # Nothing is left that needs a parameter, a condition or another resource.
        text = json.dumps(template)
        assert "Fn::If" not in text
        assert "AWS::StackName" not in text
        assert "${" not in text
        assert clients.changes == []

    def test_key_that_did_not_encrypt_the_data_keys_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(RecoveryError, match="encrypted with v2, not with other"):
            importing.write_import(deployed(self.clients()), tmp_path, vault_key="other", say=lambda _: None)
        with pytest.raises(RecoveryError, match="point the alias at that key"):
            importing.write_import(deployed(self.clients(vault="v1")), tmp_path, vault_key=None, say=lambda _: None)

    def test_nothing_to_import_is_said(self, tmp_path: Path) -> None:
        clients = Clients()
        clients("s3").head_bucket.side_effect = refused("404")
        clients("kms").describe_key.side_effect = refused("NotFoundException")
        with pytest.raises(RecoveryError, match="nothing to import"):
            importing.write_import(deployed(clients), tmp_path, vault_key=None, say=lambda _: None)

    def test_stack_that_exists_or_unknown_parameters_are_refused(self) -> None:
        clients = Clients()
        clients("cloudformation").describe_stacks.return_value = {"Stacks": [{"StackStatus": "UPDATE_COMPLETE"}]}
        options = parser().parse_args(["--stack", "s", "--region", "eu-west-1", "import-files", "--parameter", "StripeMod=live"])
        with pytest.raises(RecoveryError, match="exists"):
            _to_be_imported(options, clients)
        clients("cloudformation").describe_stacks.side_effect = refused("ValidationError", "does not exist")
        with pytest.raises(RecoveryError, match="no parameter StripeMod"):
            _to_be_imported(options, clients)


class TestCounts:
    def test_kinds_are_named_by_keys_and_not_by_times_or_ids_in_them(self) -> None:
        audit = [{"pk": f"AUDIT#2026-11-28#{number % 10}", "sk": f"{number:015}#a{'#after' * (number % 2)}"} for number in range(30)]
        others = [
            {"pk": "AUDIT#2026-11-28", "sk": "000001795000000#b"}, {"pk": "CONNECTED#test", "sk": "acct_1"},
            {"pk": "CONNECTED#test", "sk": "acct_2"}, {"pk": "ACCOUNT#test/platform/fca_1", "sk": "ACCOUNT"},
            {"pk": "ACCOUNT#test/platform/fca_1", "sk": "SNAPSHOT#fcaowns_1#PART#001"}, {"pk": "VERIFICATION#ver_1", "sk": "VERIFICATION"},
            {"pk": "EVENT#evt_1", "sk": "ASIDE#other_mode"}, {"pk": "IDEMPOTENCY#1f", "sk": "IDEMPOTENCY#1f"},
        ]  # fmt: skip
        client = Clients()("dynamodb")
        client.scan.return_value = {"Items": [{name: {"S": key} for name, key in item.items()} for item in [*audit, *others]]}
        assert data.count_items(client, "titleholder") == {
            "AUDIT": 31, "CONNECTED": 2, "ACCOUNT / ACCOUNT": 1, "ACCOUNT / SNAPSHOT": 1, "VERIFICATION / VERIFICATION": 1,
            "EVENT / ASIDE": 1, "IDEMPOTENCY / IDEMPOTENCY": 1,
        }  # fmt: skip


class Queue:
    """A dead-letter queue: messages that were received and not deleted are seen again once their visibility is set to 0."""

    def __init__(self, *bodies: str) -> None:
        self.waiting = [{"MessageId": f"m{number}", "ReceiptHandle": f"r{number}", "Body": body} for number, body in enumerate(bodies)]
        self.hidden: list[dict[str, str]] = []

    def get_queue_attributes(self, **_: Any) -> Any:
        return {"Attributes": {"QueueArn": "arn", "ApproximateNumberOfMessages": str(len(self.waiting))}}

    def receive_message(self, VisibilityTimeout: int, **_: Any) -> Any:
        found = list(self.waiting[:10])
        if VisibilityTimeout:
            self.hidden += found
            self.waiting = self.waiting[10:]
        return {"Messages": found} if found else {}

    def delete_message(self, ReceiptHandle: str, **_: Any) -> None:
        self.hidden = [message for message in self.hidden if message["ReceiptHandle"] != ReceiptHandle]

    def change_message_visibility(self, ReceiptHandle: str, VisibilityTimeout: int, **_: Any) -> None:
        assert VisibilityTimeout == 0
        self.waiting += [message for message in self.hidden if message["ReceiptHandle"] == ReceiptHandle]
        self.delete_message(ReceiptHandle)


ARN = "arn:aws:lambda:eu-west-1:123456789012:function:titleholder-reconcile"
STRANGE = ["[]", "[1]", "1", "null", '"text"', "no json", "{}", '{"ref": "text"}', '{"ref": [1]}', '{"requestContext": "text"}',
           '{"requestContext": {"functionArn": 1}}', '{"requestContext": null, "account": {}}']  # fmt: skip


class TestRedrive:
    def failed_run(self, arn: str = ARN) -> str:
        return json.dumps({"requestContext": {"functionArn": f"{arn}:$LATEST", "condition": "RetriesExhausted"}, "requestPayload": {}})

    def redriven(self, queue: Queue, name: str, *, apply: bool, functions: Any = None) -> list[str]:
        clients = Clients()
        clients.of |= {"sqs": queue, "lambda": functions or MagicMock()}  # type: ignore[dict-item]
        stack, said = deployed(clients), list[str]()
        stack.resources |= {dead.queue: "https://queue/dead" for dead in redrive.QUEUES.values()}  # type: ignore[operator]
        try:
            redrive.redrive(stack, name, apply=apply, say=said.append)
        except RecoveryError as error:
            said.append(f"error: {error}")
        return said

    @pytest.mark.parametrize("name", redrive.QUEUES)
    @pytest.mark.parametrize("body", STRANGE)
    def test_body_of_any_form_is_shown_in_one_line(self, name: str, body: str) -> None:
        said = self.redriven(Queue(body), name, apply=False)
        assert len(said) == 2
        assert "text" not in said[1]

    def test_message_that_no_function_can_be_invoked_with_is_left_and_does_not_stop_the_others(self) -> None:
        queue = Queue(self.failed_run(), *STRANGE, self.failed_run(ARN + "-gone"), self.failed_run())
        functions = MagicMock()

        def invoke(FunctionName: str, **_: Any) -> None:
            if FunctionName.endswith("-gone"):
                raise refused("ResourceNotFoundException", "Function not found")

        functions.invoke.side_effect = invoke
        said = self.redriven(queue, "async", apply=True, functions=functions)
        assert [call.kwargs["FunctionName"] for call in functions.invoke.mock_calls] == [ARN, ARN + "-gone", ARN]
        assert {message["Body"] for message in queue.waiting} == {*STRANGE, self.failed_run(ARN + "-gone")}
        assert queue.hidden == []
        assert "invoked: 2 runs" in said
        assert len([line for line in said if line.startswith("  left in the queue: m")]) == len(STRANGE) + 1
        assert said[-1].startswith(f"error: {len(STRANGE) + 1} messages were left in AsyncDeadLetterQueue.")

    def test_what_was_received_is_seen_again_after_a_failure_in_between(self) -> None:
        queue, functions = Queue(*[self.failed_run()] * 3), MagicMock()
        functions.invoke.side_effect = [None, KeyboardInterrupt]
        with pytest.raises(KeyboardInterrupt):
            self.redriven(queue, "async", apply=True, functions=functions)
        assert (len(queue.waiting), queue.hidden) == (2, [])
