"""Deploys a stack again under the name of a deleted one: CloudFormation imports the resources that the old stack left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local.command import folder as writable_folder
from tools.recovery import data
from tools.recovery.redrive import Say
from tools.recovery.stack import Deployed, RecoveryError, table_exists

IDENTIFIERS = {
    "AWS::DynamoDB::Table": "TableName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::KMS::Key": "KeyId",
    "AWS::KMS::Alias": "AliasName",
}
"""The property by which CloudFormation finds a resource of each type that a stack leaves behind."""


def write_import(stack: Deployed, folder: Path, *, vault_key: str | None, say: Say) -> None:
    """Write the files for a change set of the type IMPORT: the template of what is left behind, and where to find it.

    `stack`: with the parameters that the new stack will have. `vault_key`: the id of the key that encrypts data keys. It is found by a data
    key that it encrypted, if there is one.
    """
    found = left_behind(stack, vault_key)
    absent = sorted(set(retained(stack)) - set(found))
    if "Table" not in found and "KeysTable" not in found:
        raise RecoveryError(
            f"Neither the table {stack.own_table} nor {stack.keys_table} exists in region {stack.region}: nothing to import."
        )
    resources = {name: stack.template["Resources"][name] for name in found}
    template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"What an earlier stack {stack.name} left behind",
        "Resources": {
            name: {
                **{part: one[part] for part in ("Type", "DeletionPolicy", "UpdateReplacePolicy") if part in one},
                "Properties": stack.resolve(one["Properties"]),
            }
            for name, one in resources.items()
        },
    }
    imports = [
        {
            "ResourceType": one["Type"],
            "LogicalResourceId": name,
            "ResourceIdentifier": {IDENTIFIERS[one["Type"]]: found[name]},
        }
        for name, one in resources.items()
    ]
    writable_folder(folder)
    for name, content in (("template", template), ("resources", imports)):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    for name, physical in found.items():
        say(f"import: {name:14} {physical}")
    for name in absent:
        say(f"absent: {name:14} the deployment after the import makes it anew")
    say(f"wrote: {folder}/template.json and {folder}/resources.json. Then:")
    options = f"--stack-name {stack.name} --change-set-name import"
    say(f"  aws cloudformation create-change-set {options} --change-set-type IMPORT \\")
    say(f"    --template-body file://{folder}/template.json --resources-to-import file://{folder}/resources.json")
    say(f"  aws cloudformation wait change-set-create-complete {options}")
    say(f"  aws cloudformation execute-change-set {options}")
    say(f"  aws cloudformation wait stack-import-complete --stack-name {stack.name}")
    say("and deploy as usual.")


def retained(stack: Deployed) -> list[str]:
    """The logical ids of what a deleted stack leaves behind and CloudFormation can import."""
    return [
        name
        for name, one in stack.template["Resources"].items()
        if one.get("DeletionPolicy", "").startswith("Retain") and one["Type"] in IDENTIFIERS
    ]


def left_behind(stack: Deployed, vault_key: str | None) -> dict[str, str]:
    """The physical ids of what exists of it, by logical id. Raises `RecoveryError`."""
    dynamodb, kms = stack.clients("dynamodb"), stack.clients("kms")
    found: dict[str, str] = {}
    keys = table_exists(dynamodb, stack.keys_table)
    for name in ("Table", "KeysTable"):
        described = table_exists(dynamodb, str(stack.properties(name)["TableName"]))
        if described is not None:
            found[name] = described["TableName"]
            found["Key"] = described["SSEDescription"]["KMSMasterKeyArn"].rpartition("/")[2]
    if bucket := _bucket(stack):
        found["Bucket"] = bucket
    proven = _proven_vault_key(stack, dynamodb, kms) if keys else None
    if proven is not None and vault_key not in (None, proven):
        raise RecoveryError(f"Data keys in {stack.keys_table} are encrypted with {proven}, not with {vault_key}.")
    if proven or vault_key:
        found["VaultKey"] = str(proven or vault_key)
    for name in retained(stack):
        if stack.template["Resources"][name]["Type"] == "AWS::KMS::Alias":
            properties = stack.properties(name)
            alias, key = properties["AliasName"], properties["TargetKeyId"]["Ref"]
            named = _key_of_alias(kms, alias)
            if named is None:
                continue
            if found.setdefault(key, named) != named:
                raise RecoveryError(f"{alias} names the key {named}, but data is encrypted with {found[key]}: point the alias at that key.")
            found[name] = alias
    # In the template's order.
    return {name: found[name] for name in retained(stack) if name in found}


def _bucket(stack: Deployed) -> str | None:
    name = str(stack.properties("Bucket")["BucketName"])
    try:
        stack.clients("s3").head_bucket(Bucket=name)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return None
        raise RecoveryError(f"The bucket {name} belongs to another account, or may not be read.") from None
    return name


def _proven_vault_key(stack: Deployed, dynamodb: Any, kms: Any) -> str | None:
    """The id of the key that decrypts a data key of the table of keys; None if that holds none."""
    for item in data.scan(dynamodb, stack.keys_table):
        if "wrapped_key" in item:
            ref = data.account_ref(item["pk"])
            context = {"account": ref.account, "mode": ref.mode, "stripe_account": ref.stripe_account or "platform"}
            try:
                answer = kms.decrypt(CiphertextBlob=item["wrapped_key"], EncryptionContext=context)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                raise RecoveryError(
                    f"A data key in {stack.keys_table} can't be decrypted ({code}). If its KMS key is scheduled for deletion, cancel that "
                    "(aws kms cancel-key-deletion), and enable the key (aws kms enable-key)."
                ) from None
            return str(answer["KeyId"].rpartition("/")[2])
    return None


def _key_of_alias(kms: Any, name: str) -> str | None:
    """The id of the key that an alias names; None if there is no such alias."""
    try:
        return str(kms.describe_key(KeyId=name)["KeyMetadata"]["KeyId"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "NotFoundException":
            raise
        return None
