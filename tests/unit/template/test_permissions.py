"""Who may do what in template.yaml: the functions' and workflows' roles, and the callers of functions."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from typing import Any

import pytest

from tests.support import rights
from tests.support.data_model import row_kinds
from tests.support.functions import ROOT
from tests.support.template import called_by, consumed, folder, functions, made_of, resources, several, statements, target
from titleholder.batches.lifecycle import FINAL_RESULTS, SO_FAR, work_key

FUNCTIONS = functions()
WORKFLOWS = resources("AWS::Serverless::StateMachine")
ROUTES = resources("AWS::ApiGatewayV2::Route")
ROLES = made_of("AWS::IAM::Role")
SHARED = made_of("AWS::IAM::ManagedPolicy")
WRITTEN_IN_PARTS = ("s3:PutObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload")
CHILDREN = {
    # A Distributed Map starts its children as executions of its own workflow, describes them and stops them.
    ("states:StartExecution", "stateMachine:{name}"),
    ("states:DescribeExecution", "execution:{name}:one"),
    ("states:StopExecution", "execution:{name}:one"),
    ("states:DescribeExecution", "execution:{name}/Label:one"),
    ("states:StopExecution", "execution:{name}/Label:one"),
}


class TestRightsOnTheTables:
    """Each function touches only the kinds of items that it needs. The calls that other tests make are checked against these lists too."""

    KINDS = frozenset(pk.partition("#")[0] for kind in row_kinds() for pk, _ in kind.keys)

    def rights(self, name: str) -> set[tuple[str, str]]:
        """Action and kind of item, on the table."""
        return {
            (action, pattern.removesuffix("#*"))
            for actions, where, patterns in rights.allowances(folder(name))
            if "Table" in where
            for action in actions
            for pattern in patterns or ["everything"]
        }

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_rights_are_by_kind_of_item(self, name: str) -> None:
        assert {kind for _, kind in self.rights(name)} <= self.KINDS
        actions = {action for action, _ in self.rights(name)}
        assert actions <= {"GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "BatchGetItem"}

    @pytest.mark.parametrize("name", ["ReceiveWebhook", "ReceiveEvent"])
    def test_rights_of_a_receiver_are_to_put_events(self, name: str) -> None:
        assert self.rights(name) == {("PutItem", "EVENT")}

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_rights_on_audit_entries_are_to_add_them(self, name: str) -> None:
        assert {action for action, kind in self.rights(name) if kind == "AUDIT"} <= {"PutItem"}
        assert {action for action, kind in self.rights(name) if kind == "SECRET"} <= {"GetItem", "PutItem"}

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_do_not_include_deleting_a_verification(self, name: str) -> None:
        assert ("DeleteItem", "VERIFICATION") not in self.rights(name)

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_do_not_include_deleting_a_key_item_because_the_erasure_is_recorded_there(self, name: str) -> None:
        assert not [actions for actions, where, _ in rights.allowances(folder(name)) if "KeysTable" in where and "DeleteItem" in actions]

    def test_rights_are_evaluated_as_iam_does(self) -> None:
        assert rights.allowed("receive_webhook", "PutItem", "Table", "EVENT")
        assert not rights.allowed("receive_webhook", "PutItem", "Table", "VERIFICATION")
        assert not rights.allowed("receive_webhook", "GetItem", "Table", "EVENT")
        assert not rights.allowed("receive_webhook", "PutItem", "KeysTable", "EVENT")
        assert rights.allowed("reconcile", "Query", "Table/index/open", "")


class TestRoles:
    """All roles, as SAM makes them."""

    def test_each_can_be_assumed_by_one_service(self) -> None:
        kinds = {name: assumed_by(role) for name, role in ROLES.items()}
        machines = {f"{name}Role" for name in WORKFLOWS}
        of_functions = {f"{name}Role" for name in FUNCTIONS}
        assert {name for name, services in kinds.items() if services == {"lambda.amazonaws.com"}} == of_functions
        assert {name for name, services in kinds.items() if services == {"states.amazonaws.com"}} == machines
        assert {name for name in kinds if name not in of_functions | machines} == {"ReconcileOftenRole"}

    def test_have_policies_of_aws_for_logs_traces_and_consumed_queues_only(self) -> None:
        consumers = {function for function, _ in consumed()}
        for name in FUNCTIONS:
            managed = {arn.rpartition("/")[2] for arn in ROLES[f"{name}Role"]["ManagedPolicyArns"] if isinstance(arn, str)}
            more = {"AWSLambdaSQSQueueExecutionRole"} if name in consumers else set()
            assert managed == {"AWSLambdaBasicExecutionRole", "AWSXrayWriteOnlyAccess"} | more
        for name in WORKFLOWS:
            managed = {arn.rpartition("/")[2] for arn in ROLES[f"{name}Role"]["ManagedPolicyArns"] if isinstance(arn, str)}
            assert managed == {"AWSXrayWriteOnlyAccess"}

    def test_have_no_permission_twice(self) -> None:
        for name, role in ROLES.items():
            own = [policy["PolicyDocument"] for policy in role.get("Policies", ())]
            held = [
                (action, json.dumps(where), json.dumps(statement.get("Condition")))
                for document in own + [SHARED[each]["PolicyDocument"] for each in shared(role)]
                for statement in document["Statement"]
                for action in several(statement["Action"])
                for where in several(statement["Resource"])
            ]
            assert len(set(held)) == len(held), name

    def test_have_the_shared_policies_that_the_template_gives_them(self) -> None:
        for name, properties in {**FUNCTIONS, **WORKFLOWS}.items():
            given = {each["Ref"] for each in properties["Policies"] if "Ref" in each}
            assert shared(ROLES[f"{name}Role"]) == given
        assert set().union(*map(shared, ROLES.values())) == set(SHARED)

    def test_roles_are_the_only_place_that_says_who_has_a_shared_policy(self) -> None:
        """A managed policy may attach itself to roles, users and groups. These do not, so each function lists all of its policies."""
        for policy in SHARED.values():
            assert not {"Roles", "Users", "Groups"} & set(policy)

    def test_decrypt_or_read_stripes_key_only_where_the_function_does(self) -> None:
        assert having("VaultKey", "kms:GenerateDataKey") == {"Api", "StartRefresh", "FetchOwners", "ImportManifest"}
        assert having("VaultKey", "kms:Decrypt") == {
            "Api", "StartRefresh", "FetchOwners", "ImportManifest", "VerifyOwners", "Reconcile", "Review",
        }  # fmt: skip
        assert having("${StripeApiKeySecretName}", "secretsmanager:GetSecretValue") == {
            name for name, function in FUNCTIONS.items() if "STRIPE_API_KEY_SECRET_NAME" in function["Environment"]["Variables"]
        }


def shared(role: dict[str, Any]) -> set[str]:
    """The managed policies of the template that a role has."""
    return {target(arn) for arn in role.get("ManagedPolicyArns", ()) if not isinstance(arn, str)}


def having(resource: str, action: str) -> set[str]:
    """The functions that may do an action on a resource whose ARN names `resource`."""
    return {
        name
        for name, function in FUNCTIONS.items()
        for statement in statements(function)
        if action in several(statement["Action"]) and resource in json.dumps(statement["Resource"])
    }


def assumed_by(role: dict[str, Any]) -> set[str]:
    [statement] = role["AssumeRolePolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Allow", ["sts:AssumeRole"])
    return set(statement["Principal"]["Service"])


class TestCallersOfFunctions:
    """API Gateway, EventBridge and the scheduler. The emulator does not check their permissions."""

    def permitted(self, caller: str) -> dict[str, str]:
        """The functions that the caller may call, each with the resource that the caller has to act for."""
        found = {}
        for permission in made_of("AWS::Lambda::Permission").values():
            assert permission["Action"] == "lambda:InvokeFunction"
            if permission["Principal"] == caller:
                # With SnapStart, the function's published version: see test_functions.py.
                name = target(permission["FunctionName"].get("Fn::If", [permission["FunctionName"]])[-1])
                assert name not in found
                found[name] = spelt(permission["SourceArn"])
        return found

    def test_api_gateway_may_call_a_function_for_its_routes_only(self) -> None:
        called: dict[str, list[str]] = {}
        for route in ROUTES.values():
            called.setdefault(called_by(route), []).append(route["RouteKey"].replace(" ", ""))
        permitted = self.permitted("apigateway.amazonaws.com")
        assert set(permitted) == set(called)
        for name, keys in called.items():
            api, _, rest = permitted[name].partition("/")
            assert api.endswith(":HttpApi")
            assert all(fnmatchcase(f"$default/{key}", rest) for key in keys), name

    def test_event_bus_may_call_the_function_that_its_rule_names(self) -> None:
        rules = made_of("AWS::Events::Rule")
        named = {target(each["Arn"]): f"{name}.Arn" for name, rule in rules.items() for each in rule["Targets"]}
        assert self.permitted("events.amazonaws.com") == named
        assert not [each for rule in rules.values() for each in rule["Targets"] if "RoleArn" in each]

    def test_no_other_service_may_call_a_function(self) -> None:
        assert {permission["Principal"] for permission in made_of("AWS::Lambda::Permission").values()} == {
            "apigateway.amazonaws.com",
            "events.amazonaws.com",
        }

    def test_scheduler_may_only_call_the_function_that_its_schedule_names(self) -> None:
        schedules = made_of("AWS::Scheduler::Schedule").values()
        for schedule in schedules:
            role = ROLES[target(schedule["Target"]["RoleArn"])]
            [policy] = role["Policies"]
            [statement] = policy["PolicyDocument"]["Statement"]
            assert (statement["Effect"], statement["Action"]) == ("Allow", "lambda:InvokeFunction")
            assert statement["Resource"] == schedule["Target"]["Arn"]
            assert "ManagedPolicyArns" not in role
            assert assumed_by(role) == {"scheduler.amazonaws.com"}
        assert schedules


def spelt(resource: Any) -> str:
    """An ARN in which each reference is replaced by the name in it."""
    if "Fn::GetAtt" in resource:
        return ".".join(resource["Fn::GetAtt"]) if isinstance(resource["Fn::GetAtt"], list) else str(resource["Fn::GetAtt"])
    return re.sub(r"\${([^}]+)}", lambda name: name[1], resource["Fn::Sub"] if "Fn::Sub" in resource else str(resource["Ref"]))


def calls(machine: dict[str, Any]) -> set[tuple[str, str]]:
    """The calls that a workflow's definition makes: action, and one resource that it is made on."""
    substitutions = machine["DefinitionSubstitutions"]
    name, found = spelt(machine["Name"]), set()

    def named(parameter: str) -> str:
        return target(substitutions[parameter.strip("${}")])

    def key(parameters: dict[str, Any], kind: str) -> str:
        pattern = re.fullmatch(r"States\.Format\('([^']*)'.*\)", parameters[f"{kind}.$"])
        assert pattern
        return f"{named(parameters['Bucket'])}.Arn/{pattern[1].replace('{}', 'one')}"

    def walk(part: Any) -> None:
        resource = part.get("Resource") if isinstance(part, dict) else None
        match resource and resource.rpartition(":::")[2]:
            case "sqs:sendMessage.waitForTaskToken":
                found.add(("sqs:SendMessage", f"{named(part['Parameters']['QueueUrl'])}.Arn"))
            case "lambda:invoke":
                found.add(("lambda:InvokeFunction", f"{named(part['Parameters']['FunctionName'])}.Arn"))
            case "s3:getObject":
                found.add(("s3:GetObject", key(part["Parameters"], "Key")))
            case "s3:listObjectsV2":
                found.add(("s3:ListBucket", f"{named(part['Parameters']['Bucket'])}.Arn"))
                assert part["ReaderConfig"]["Transformation"] == "LOAD_AND_FLATTEN"
                found.add(("s3:GetObject", key(part["Parameters"], "Prefix") + "000000.jsonl"))
            case "s3:putObject":
                found.update((action, key(part["Parameters"], "Prefix") + "/one/manifest.json") for action in WRITTEN_IN_PARTS)
            case None:
                pass
            case other:
                raise AssertionError(f"What {other} needs is not known to this test.")
        if isinstance(part, dict) and part.get("ProcessorConfig", {}).get("Mode") == "DISTRIBUTED":
            prefix = "arn:AWS::Partition:states:AWS::Region:AWS::AccountId:"
            found.update((action, prefix + where.format(name=name)) for action, where in CHILDREN)
        for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            walk(inner)

    walk(json.loads((ROOT / machine["DefinitionUri"]).read_text()))
    if any(action.startswith("s3:") for action, _ in found):
        found.update({("kms:Decrypt", "Key.Arn"), ("kms:GenerateDataKey", "Key.Arn")})
    return found


@pytest.mark.parametrize("name", [f"{name}.{kind}" for name in (FINAL_RESULTS, SO_FAR) for kind in ("jsonl", "csv")] + ["rejects.jsonl"])
def test_links_of_a_batch_have_the_right_to_each_file_that_they_name_and_it_expires(name: str) -> None:
    readable = [
        str(resource["Fn::Sub"])
        for statement in statements(FUNCTIONS["Batches"])
        if "s3:GetObject" in several(statement["Action"])
        for resource in several(statement["Resource"])
    ]
    key = work_key("bat_1", name)
    assert any(fnmatchcase(f"${{Bucket.Arn}}/{key}", pattern) for pattern in readable)
    assert not any(fnmatchcase("${Bucket.Arn}/" + work_key("bat_1", "rows/000000.jsonl"), pattern) for pattern in readable)
    rules = resources("AWS::S3::Bucket")["Bucket"]["LifecycleConfiguration"]["Rules"]
    assert [rule["ExpirationInDays"] for rule in rules if key.startswith(rule.get("Prefix", "-"))] == [120]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflow_may_only_do_what_its_definition_does(name: str) -> None:
    """The emulator does not enforce the roles of state machines."""
    machine = WORKFLOWS[name]
    held = {
        (action, spelt(where))
        # What it needs to deliver its logs is in the shared policy WorkflowLogAccess.
        for policy in machine["Policies"]
        for statement in policy.get("Statement", ())
        for action in several(statement["Action"])
        for where in several(statement["Resource"])
    }
    needed = calls(machine)
    for action, where in needed:
        assert any(action == may and fnmatchcase(where, pattern) for may, pattern in held), (action, where)
    for may, pattern in held:
        assert any(action == may and fnmatchcase(where, pattern) for action, where in needed), (may, pattern)


def test_workflow_definitions_exist_and_use_every_substitution() -> None:
    for machine in WORKFLOWS.values():
        text = (ROOT / machine["DefinitionUri"]).read_text()
        for name in machine.get("DefinitionSubstitutions", {}):
            assert "${" + name + "}" in text
        assert json.loads(text)["StartAt"]
