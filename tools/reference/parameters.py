"""docs/reference/parameters.md: the parameters of template.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from tools.reference import ROOT
from tools.reference.markdown import code, codes, page, table

SET_WHEN: Mapping[str, str] = {
    "StripeMode": "For a live stack: `live`. The profiles `live` and `live-first` of `samconfig.toml` set it.",
    "StripeApiKeySecretName": "The stack is not called `titleholder`, or your secrets have other names.",
    "StripeWebhookSecretName": "The stack is not called `titleholder`, or your secrets have other names.",
    "StripeApiBase": "Never on AWS. `make up STRIPE_API_BASE=...` sets it for an embedded stack.",
    "StripePreviewVersion": "End users are to relink inactive accounts: [relinking.md](../relinking.md).",
    "StripeEventBus": "Stripe delivers events to EventBridge: [deploying.md](../deploying.md#the-webhook-at-stripe).",
    "StripeCallsPerSecond": "The stack uses a sandbox (set 8), or Stripe has raised your limit.",
    "StripeCallsPerSecondInAll": "The stack uses a sandbox (set 25), or Stripe has raised your limit.",
    "JwtIssuer": "Callers have tokens of an issuer instead of AWS credentials: [edge.md](../edge.md#callers-with-tokens).",
    "JwtAudience": "`JwtIssuer` is set, and the tokens' audience is not `titleholder`.",
    "JwtScopePrefix": "The issuer puts a prefix before the scopes, as Cognito does.",
    "JwtAccountClaim": "Each token may be used for one connected account only: [http.md](../http.md#who-may-call).",
    "CorsOrigins": "Web pages call the interface from a browser, with tokens.",
    "ServeDocs": "Developers are to read the description of the interface at the stack itself.",
    "ReviewersNeeded": "People are to decide close matches: `1`, or `2` if two people have to approve: [reviews.md](../reviews.md).",
    "ReviewExpiryDays": "Decisions have to be made within fewer days, or may take longer.",
    "ReviewIssuer": "People who review sign in at another issuer than back ends: [edge.md](../edge.md#people-at-the-review-desk).",
    "ReviewAudience": "`ReviewIssuer` is set.",
    "DeskClientId": "The stack is to serve the page of the review desk: [reviews.md](../reviews.md).",
    "DeskSignInOrigins": "The issuer's token endpoint has another host name than the issuer, as with Cognito.",
    "DomainName": "Callers are to use a host name of yours: [edge.md](../edge.md#a-host-name-of-your-own).",
    "CertificateArn": "`DomainName` is set.",
    "TruststoreUri": "Callers have client certificates: [edge.md](../edge.md#client-certificates).",
    "DisableExecuteApiEndpoint": "Callers are to use `DomainName` only.",
    "ReadsPerSecond": "API Gateway answers 429 to callers of GET routes.",
    "WritesPerSecond": "API Gateway answers 429 to callers of POST or DELETE routes.",
    "WebhooksPerSecond": "API Gateway answers 429 to bursts of Stripe's deliveries.",
    "ClaimsPerAccountPerDay": "Users guess names (lower it), or honest users reach the limit (raise it).",
    "WaitingCalls": "Callers use `wait`, and the AWS account's quota of concurrent executions is above 10.",
    "SettleTimeoutSeconds": "Banks regularly take longer to answer, or lost webhooks are to be noticed sooner.",
    "MaxWaitSeconds": "Verifications are to wait longer than a week, or end sooner.",
    "BatchConcurrency": "Stripe has raised your limit, or refreshes take much longer than 80 s.",
    "SnapshotRetentionDays": "Your rules on personal data ask for a shorter or longer time.",
    "ClaimRetentionDays": "Your rules on personal data ask for a shorter or longer time.",
    "ReceiveWebhookReserve": "Other functions use up the AWS account's concurrent executions: [deploying.md](../deploying.md#1-quotas).",
    "WarmReadUnits": "More than 12,000 reads a second arrive before DynamoDB has enlarged the table by itself.",
    "WarmWriteUnits": "More than 4,000 writes a second arrive before DynamoDB has enlarged the table by itself.",
    "Stage": "Your own tools distinguish deployments by it.",
    "Architecture": "The region has no `arm64`. Give the same value to `sam build` too.",
    "SnapStart": "People wait too long during cold starts, and SnapStart is worth its price: [speed.md](../speed.md).",
    "DeletionProtection": "A live stack is deployed for the first time (set `off`, for this deployment only): [deploying.md](../deploying.md#5-deploy).",
    "DataTableName": "The table was restored under another name: [recovery.md](../recovery.md#restore-the-table).",
    "LogRetentionDays": "You investigate incidents that are older than a month.",
    "AuditRetentionDays": "Your rules ask for another time than seven years.",
    "OwnersReadsAlarm": "Your back end reads owners more often, or so rarely that a lower number is suspicious.",
    "AlarmTopicArn": "Alarms are to go to a topic that you have.",
    "RefreshPriceCents": "Your price differs from the list price.",
    "AwsEndpointUrl": "Never on AWS. Every embedded stack sets it.",
}
"""When a parameter is to be set; until then its default is right."""

INTRO = """
These are the parameters of `template.yaml`. Each has a default, so a first deployment needs no values. Set parameters in `parameter_overrides` of a profile in
`samconfig.toml`, never by `--parameter-overrides` on the command line: [deploying.md](../deploying.md#5-deploy) says why, and how to return
to a default. CloudFormation checks the values before it deploys, and refuses a value that is not allowed.
"""


@cache
def template() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())
    return parsed


def render() -> str:
    sections = []
    for group in template()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]:
        rows = [(code(name), _default(name), _allowed(name), _what(name), SET_WHEN[name]) for name in group["Parameters"]]
        sections += [f"## {group['Label']['default']}", table(("parameter", "default", "allowed", "what it does", "set it when"), rows)]
    return page(
        "Parameters", INTRO, *sections, "## Values that need each other",
        "CloudFormation refuses a deployment that breaks one of these rules.", "\n".join(f"- {rule}" for rule in rules()),
    )  # fmt: skip


def rules() -> list[str]:
    """What the template's rules say of values that need each other."""
    said = [one["AssertDescription"] for rule in template()["Rules"].values() for one in rule["Assertions"]]
    return list(dict.fromkeys(said))


def _parameter(name: str) -> dict[str, Any]:
    found: dict[str, Any] = template()["Parameters"][name]
    return found


def _default(name: str) -> str:
    default = str(_parameter(name)["Default"])
    return code(default) if default else "empty"


def _allowed(name: str) -> str:
    parameter = _parameter(name)
    if "AllowedValues" in parameter:
        return codes((str(each) for each in parameter["AllowedValues"]), " or ")
    if "MinValue" in parameter:
        return f"whole number from {parameter['MinValue']} to {parameter['MaxValue']}"
    listed = "a list, separated by commas: " if parameter["Type"] == "CommaDelimitedList" else ""
    described = parameter["ConstraintDescription"].removeprefix("must be ")
    longest = f" At most {parameter['MaxLength']} characters." if "MaxLength" in parameter and "at most" not in described else ""
    return f"{listed}{described}{longest}"


def _what(name: str) -> str:
    return str(_parameter(name)["Description"])
