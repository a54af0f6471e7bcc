"""Our own rules for the parameters of template.yaml: each is limited, described, documented and used; and for samconfig.toml's values."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest

from tests.support.functions import ROOT
from tests.support.resolved import RuleError, resolved
from tests.support.template import several, template
from tools.reference.parameters import SET_WHEN

PARAMETERS: dict[str, dict[str, Any]] = template()["Parameters"]
PATTERNED = [name for name, parameter in PARAMETERS.items() if "AllowedPattern" in parameter]
ACM = "arn:aws:acm:eu-west-1:123456789012:certificate/12345678-1234-1234-1234-123456789012"
DOMAIN = {"DomainName": "titleholder.example.com", "CertificateArn": ACM}
PEOPLE = {"ReviewIssuer": "https://login.example.com/people", "ReviewAudience": "desk"}
BACK_ENDS = {"JwtIssuer": "https://login.example.com/machines"}
SETTINGS = tomllib.loads((ROOT / "samconfig.toml").read_text())


def refusal(name: str, value: str) -> str | None:
    """Why CloudFormation refuses a value, before it deploys. It matches the whole value, or each value of a list. None if it does not."""
    parameter = PARAMETERS[name]
    values = value.split(",") if parameter["Type"] == "CommaDelimitedList" else [value]
    if "AllowedValues" in parameter and not set(values) <= {str(allowed) for allowed in parameter["AllowedValues"]}:
        return "allowed values"
    if "AllowedPattern" in parameter and not all(re.fullmatch(parameter["AllowedPattern"], one) for one in values):
        return "pattern"
    if "MinValue" in parameter and not (value.isdecimal() and parameter["MinValue"] <= int(value) <= parameter["MaxValue"]):
        return "range"
    return None


@pytest.mark.parametrize("name", PARAMETERS)
class TestParameter:
    def test_is_limited_to_values_that_make_sense(self, name: str) -> None:
        limited = PARAMETERS[name].keys()
        assert {"AllowedValues"} <= limited or {"AllowedPattern"} <= limited or {"MinValue", "MaxValue"} <= limited

    def test_has_a_default_that_is_accepted_so_that_a_first_deployment_needs_no_value(self, name: str) -> None:
        assert refusal(name, str(PARAMETERS[name]["Default"])) is None

    def test_has_a_description_within_aws_limit(self, name: str) -> None:
        assert 20 < len(PARAMETERS[name]["Description"]) <= 4000
        assert PARAMETERS[name]["Description"].endswith(".")

    def test_is_used(self, name: str) -> None:
        rest = {section: content for section, content in template().items() if section not in ("Parameters", "Metadata", "Rules")}
        assert re.search(rf'"Ref": "{name}"|\${{{name}}}', json.dumps(rest))

    def test_is_shown_in_one_group_of_the_console(self, name: str) -> None:
        groups = template()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
        assert [one for group in groups for one in group["Parameters"]].count(name) == 1

    def test_is_documented_once_with_its_default(self, name: str) -> None:
        [default] = [default for named, default in documented() if name == named]
        value = str(PARAMETERS[name]["Default"])
        assert default == (f"`{value}`" if value else "empty")


def documented() -> list[tuple[str, str]]:
    """The rows of the reference page: names, and the column `default`."""
    page = (ROOT / "docs" / "reference" / "parameters.md").read_text()
    return re.findall(r"^\| `(\w+)` \| ([^|]+) \|", page, re.MULTILINE)


def test_reference_names_no_parameter_that_does_not_exist_and_says_when_to_set_each() -> None:
    assert {name for name, _ in documented()} == set(PARAMETERS) == set(SET_WHEN)


def test_reference_has_every_rule_of_values_that_need_each_other() -> None:
    page = (ROOT / "docs" / "reference" / "parameters.md").read_text()
    said = [one["AssertDescription"] for rule in template()["Rules"].values() for one in rule["Assertions"]]
    assert len(said) > 10
    assert set(re.findall(r"^- (.+)$", page, re.MULTILINE)) == set(said)


@pytest.mark.parametrize("name", PATTERNED)
def test_pattern_refuses_what_no_name_address_or_arn_contains(name: str) -> None:
    """CloudFormation's patterns are Java's: `$` would allow a last line break. So no pattern has anchors, and each is for the whole."""
    texts = ["a b", "a\n", "a\n\nb", '"', "'", "*", "a\\b", "<a>", "${A}", "$(a)", "é", "a" * 5000]
    assert [text for text in texts if refusal(name, text) is None] == []
    assert not re.search(r"^\^|(?<!\\)\$$", PARAMETERS[name]["AllowedPattern"])


@pytest.mark.parametrize("name", PATTERNED)
def test_refusal_of_a_pattern_says_in_words_what_is_accepted(name: str) -> None:
    """CloudFormation shows the description in place of the pattern, after the parameter's name."""
    assert PARAMETERS[name].get("ConstraintDescription", "").startswith("must be")


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("AlarmTopicArn", "arn:aws:sns:eu-west-1:123456789012:alarms", True),
        ("AlarmTopicArn", "arn:aws-us-gov:sns:us-gov-west-1:123456789012:alarms", True),
        ("AlarmTopicArn", "arn:aws:sqs:eu-west-1:123456789012:alarms", False),
        # CloudWatch sends alarms to standard topics only.
        ("AlarmTopicArn", "arn:aws:sns:eu-west-1:123456789012:alarms.fifo", False),
        ("CertificateArn", ACM, True),
        ("CertificateArn", "arn:aws:iam::123456789012:server-certificate/one", False),
        ("DataTableName", "titleholder-restored", True),
        ("DataTableName", "ab", False),
        ("DomainName", "titleholder.example.com", True),
        ("DomainName", "Titleholder.example.com", False),
        ("DomainName", "https://titleholder.example.com", False),
        ("DomainName", "*.example.com", False),
        ("DomainName", "localhost", False),
        ("JwtAudience", "titleholder,https://titleholder.example.com/api", True),
        ("JwtAudience", "api://5d1f2c0a-0000-4000-8000-000000000000", True),
        ("JwtAudience", "3n4b5urk1ft4fl3mg5e62d9ado", True),
        ("JwtAudience", "", False),
        ("JwtAudience", "titleholder, other", False),
        ("JwtScopePrefix", "titleholder/", True),
        ("JwtScopePrefix", "https://titleholder.example.com/", True),
        ("JwtScopePrefix", "titleholder:", True),
        ("JwtScopePrefix", "titleholder", False),
        ("ReviewersNeeded", "0", True),
        ("ReviewersNeeded", "2", True),
        ("ReviewersNeeded", "3", False),
        ("ReviewExpiryDays", "0", False),
        ("ReviewAudience", "3n4b5urk1ft4fl3mg5e62d9ado,titleholder", True),
        ("ReviewAudience", "https://titleholder.example.com", True),
        ("ReviewAudience", "a,,b", False),
        ("ReviewAudience", "a, b", False),
        ("DeskClientId", "3n4b5urk1ft4fl3mg5e62d9ado", True),
        ("DeskClientId", "</script>", False),
        ("TruststoreUri", "s3://certificates/titleholder/truststore.pem", True),
        ("TruststoreUri", "https://certificates.s3.amazonaws.com/truststore.pem", False),
        ("WarmReadUnits", "12000", True),
        ("WarmReadUnits", "11999", False),
        ("WarmWriteUnits", "4000", True),
        ("WarmWriteUnits", "3999", False),
        ("WarmWriteUnits", "40000", True),
        ("WarmWriteUnits", "40001", False),
    ],
)
def test_value_is_accepted_only_in_its_form(name: str, value: str, accepted: bool) -> None:
    assert (refusal(name, value) is None) is accepted


@pytest.mark.parametrize(
    ("parameters", "accepted"),
    [
        ({}, True),
        (DOMAIN, True),
        ({"DomainName": DOMAIN["DomainName"]}, False),
        ({"CertificateArn": ACM}, False),
        ({"TruststoreUri": "s3://bucket/file"}, False),
        ({**DOMAIN, "TruststoreUri": "s3://bucket/file"}, True),
        ({"DisableExecuteApiEndpoint": "true"}, False),
        ({**DOMAIN, "DisableExecuteApiEndpoint": "true"}, True),
        # Stripe has no client certificate, so its webhooks would be refused.
        ({**DOMAIN, "TruststoreUri": "s3://bucket/file", "DisableExecuteApiEndpoint": "true"}, False),
        ({**DOMAIN, "TruststoreUri": "s3://bucket/file", "DisableExecuteApiEndpoint": "true", "StripeEventBus": "stripe"}, True),
        (PEOPLE, True),
        ({"ReviewIssuer": PEOPLE["ReviewIssuer"]}, False),
        ({"ReviewAudience": PEOPLE["ReviewAudience"]}, False),
        ({**BACK_ENDS, "ReviewAudience": PEOPLE["ReviewAudience"]}, False),
        # People have nowhere to sign in.
        ({"DeskClientId": "desk"}, False),
        ({**BACK_ENDS, "DeskClientId": "desk"}, True),
        ({**PEOPLE, "DeskClientId": "desk"}, True),
        ({**PEOPLE, "DeskSignInOrigins": "https://login.example.com"}, False),
        ({**PEOPLE, "DeskClientId": "desk", "DeskSignInOrigins": "https://login.example.com"}, True),
        ({"WarmReadUnits": "12000"}, False),
        ({"WarmWriteUnits": "8000"}, False),
        ({"WarmReadUnits": "12000", "WarmWriteUnits": "8000"}, True),
    ],
)
def test_values_that_need_each_other_are_refused_without_each_other(parameters: dict[str, str], accepted: bool) -> None:
    if accepted:
        resolved(parameters)
    else:
        with pytest.raises(RuleError):
            resolved(parameters)


PROFILES = sorted(SETTINGS.keys() - {"version"})


@pytest.mark.parametrize("profile", PROFILES)
def test_settings_of_the_sam_cli_name_parameters_and_values_that_exist(profile: str) -> None:
    for command in SETTINGS[profile].values():
        values = dict(one.split("=", 1) for one in several(command["parameters"].get("parameter_overrides", [])))
        # The SAM CLI refuses a value of no characters, and takes the quotes off "".
        assert "" not in values.values()
        values = {name: value.strip('"') for name, value in values.items()}
        assert values.keys() <= PARAMETERS.keys()
        assert {name: refusal(name, value) for name, value in values.items()} == dict.fromkeys(values)
        resolved(values)


def given(profile: str) -> dict[str, str]:
    """The parameters that a profile's `sam deploy` gives."""
    overrides = several(SETTINGS[profile]["deploy"]["parameters"]["parameter_overrides"])
    return {name: value.strip('"') for name, value in (one.split("=", 1) for one in overrides)}


def deployed(*profiles: str) -> dict[str, str]:
    """A stack's parameters after `sam deploy` with one profile after the other.

    For a parameter of a stack that exists, the SAM CLI sends UsePreviousValue unless the profile gives a value.
    """
    values = {name: str(parameter["Default"]) for name, parameter in PARAMETERS.items()}
    for profile in profiles:
        values |= given(profile)
    return values


DEPLOYING = sorted(profile for profile in PROFILES if "deploy" in SETTINGS[profile])
SAME_STACK = [
    (one, other) for one in DEPLOYING for other in DEPLOYING
    if one != other and SETTINGS[one]["global"]["parameters"]["stack_name"] == SETTINGS[other]["global"]["parameters"]["stack_name"]
]  # fmt: skip


@pytest.mark.parametrize(("before", "after"), SAME_STACK)
def test_what_a_profile_deploys_does_not_depend_on_the_profile_that_was_deployed_before(before: str, after: str) -> None:
    assert deployed(before, after) == deployed(after)


def test_tables_of_the_live_stack_are_protected_after_its_second_deployment_and_not_in_its_first() -> None:
    protections = [
        [resolved(deployed(*profiles))[table]["Properties"]["DeletionProtectionEnabled"] for table in ("Table", "KeysTable")]
        for profiles in (["live-first"], ["live-first", "live"], ["live"])
    ]
    assert protections == [[False] * 2, [True] * 2, [True] * 2]


def test_first_deployment_of_the_live_stack_differs_in_the_protection_that_would_prevent_its_rollback_only() -> None:
    first, later = (SETTINGS[profile]["deploy"]["parameters"] for profile in ("live-first", "live"))
    assert {**first, "parameter_overrides": None} == {**later, "parameter_overrides": None}
    assert given("live-first") == {**given("live"), "DeletionProtection": "off"}
    assert SETTINGS["live-first"]["global"] == SETTINGS["live"]["global"]
