"""What the OpenAPI document says of values: which ones are known, parameters, the policy, problems and their examples."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, get_args

from local.aws.paths import ROOT
from titleholder import errors
from titleholder.domain import remedies, reviews, timeline
from titleholder.matching import explanations
from titleholder.matching.policy import DEFAULT_POLICY, Policy
from titleholder.matching.result import CONTACTS, FIELDS
from titleholder.web import problems

ANSWERS = Path(__file__).with_name("openapi_examples.json")
"""Answers of every route, recorded by `tests/support/example_answers.py`."""

TEXTS: Mapping[str, Mapping[str, Any]] = {
    "Timestamp": {"format": "date-time"},
    **{
        name: {"x-known-values": list(values)}
        for name, values in {
            "AccountPermission": ("balances", "ownership", "payment_method", "transactions"),
            "AccountStatus": ("active", "disconnected", "inactive"),
            "ClosedReason": get_args(reviews.ClosedReason),
            "DecisionReason": tuple(reviews.SENTENCES),
            "IdentifierType": ("account_number", "tokenized_account_number"),
            "NumberStatus": ("deactivated", "expired", "pending", "transactable"),
            "ReasonCode": tuple(explanations.SENTENCES),
            "RefreshStatus": ("failed", "pending", "succeeded"),
            "RelinkFailure": ("no_account", "no_authorization", "other"),
            "RelinkStatus": ("cancelled", "failed", "pending", "succeeded"),
            "StatusAction": ("none", "relink_required"),
            "StatusCause": (
                "access_denied", "access_expired", "account_closed", "account_unavailable", "institution_requirement", "unspecified",
            ),
            "StepKind": timeline.KINDS,
        }.items()
    },
}  # fmt: skip
"""What the document says of texts that the models name so. Values of Stripe's fields are those that Stripe documents."""

PARAMETERS: Mapping[str, str] = {
    "Idempotency-Key": "Makes it safe to repeat the request: with the same key and body it takes effect once. Any text of your own.",
    "account": "The id of a Financial Connections account (`fca_...`).",
    "batch": "The id of a batch (`bat_...`).",
    "connected_account": "A connected account (`acct_...`): what was linked for its payouts.",
    "cursor": "`next_cursor` of the page before. Without it, the first page is answered.",
    "customer": "The id of a customer (`cus_...`).",
    "customer_account": "The id of an account of Accounts v2 with the customer configuration (`acct_...`).",
    "id": "The id of the batch (`bat_...`).",
    "limit": "How many entries a page has at most.",
    "get_session session": "The id of a Financial Connections Session (`fcsess_...`), SetupIntent (`seti_...`), PaymentIntent (`pi_...`), "
    "Checkout Session (`cs_...`) or payment method (`pm_...`).",
    "list_verifications connected_account": "A connected account (`acct_...`): verifications that were requested by `connected_account`.",
    "list_verifications customer": "The id of a customer (`cus_...`): verifications that were requested by `customer`.",
    "list_verifications customer_account": "An account of Accounts v2 (`acct_...`): verifications that were requested by "
    "`customer_account`.",
    "session": "The id of a Financial Connections Session (`fcsess_...`).",
    "snapshot": "The id of a snapshot (`fcaowns_...`). The default is the newest one.",
    "verdict": "Only verifications with this outcome.",
    "verification": "The id of a verification (`ver_...`).",
}
"""What the parameters of all routes mean, or of one operation, where the route does not say it."""


# -- known values ------------------------------------------------------------------------------------------------------------------------


def opened(schema: Any) -> Any:
    """The schema of an answer: enumerations become known values, so that a client accepts the values of later releases."""
    if isinstance(schema, list):
        return [opened(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: opened(value) for key, value in schema.items()}
    known = made.pop("enum", None) or ([made.pop("const")] if isinstance(made.get("const"), str) else None)
    return {**made, "type": "string", "x-known-values": known} if known else made


def closed(schema: Any) -> Any:
    """The opposite of `opened`, for the whole document: known values are the only ones."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    return {**made, "enum": made.pop("x-known-values")} if isinstance(made.get("x-known-values"), list) else made


def annotated(schema: dict[str, Any], annotation: str) -> dict[str, Any]:
    """The schema of a field with what the names in the field's annotation say."""
    for part in _parts(schema):
        for name in re.findall(r"\w+", annotation):
            if part.get("type") == "string":
                part |= TEXTS.get(name, {})
            if part.get("type") == "object" and name == "Policy":
                part.clear()
                part["$ref"] = "#/components/schemas/Policy"
    return schema


def with_formats(schema: Any) -> Any:
    """The schema with formats of its numbers."""
    if isinstance(schema, list):
        return [with_formats(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: with_formats(value) for key, value in schema.items()}
    if made.get("type") == "integer":
        made["format"] = "int32" if made.get("maximum", 2**31) < 2**31 else "int64"
    if made.get("type") == "number":
        made["format"] = "double"
    return made


NAMED: Mapping[tuple[str, str], tuple[str, str]] = {
    ("Batch", "done"): ("BatchCounts", "How many verifications have a verdict, by outcome. An outcome without verifications is left out."),
    ("Batch", "results"): ("BatchResults", "Links to the results, by format."),
    ("Batch", "results_so_far"): ("BatchResults", "Links to the results, by format."),
    ("Claim", "type"): ("ClaimType", "Whether the claimant is a person or a business."),
    ("NewBatch", "format"): ("ManifestFormat", "JSON Lines or CSV."),
    ("NewDecision", "decision"): ("DecisionKind", "What a reviewer decides."),
    ("NewSession", "permissions"): ("SessionPermission", "A permission that the holder is asked for."),
    ("NewSession", "prefetch"): ("SessionPrefetch", "What Stripe fetches as soon as an account is linked."),
    ("NewSession", "via"): ("SessionKind", "The kind of session at Stripe."),
    ("NewVerification", "if_inactive"): ("IfInactive", "What to do if the account is inactive."),
    ("ManualEntry", "mode"): ("ManualEntryMode", "Whether numbers may be typed in by hand."),
    ("RefreshState", "error"): ("StripeErrorCodes", "Stripe's codes of a failed refresh, by the name of their field."),
    ("SessionFilters", "account_subcategories"): ("AccountSubcategory", "A kind of account."),
    ("SessionFilters", "require_payment_method_support"): ("PaymentMethodSupport", "How many accounts payments have to be possible with."),
    ("Verdict", "refresh_error"): ("StripeErrorCodes", "Stripe's codes of a failed refresh, by the name of their field."),
    ("Policy", "field_thresholds"): ("FieldThresholds", "The scores that required fields must reach."),
    ("Policy", "required_fields"): ("ClaimField", "A field of a claim."),
    ("list_reviews", "state"): ("WaitingReviewState", "`open`: no reviewer has decided. `proposed`: a second one has to confirm."),
    ("list_verifications", "verdict"): ("VerdictOutcome", "The outcome of a verdict."),
}
"""Enumerations and objects within a schema, or within a parameter of an operation, that get a name, so that generated classes have it."""


def hoisted(schemas: Mapping[str, Any], paths: Mapping[str, Any]) -> dict[str, Any]:
    """Replace what `NAMED` lists by references, and return the schemas that they refer to."""
    places = {(name, key): value for name, schema in schemas.items() for key, value in schema.get("properties", {}).items()}
    for methods in paths.values():
        for operation in methods.values():
            places |= {(operation["operationId"], each["name"]): each["schema"] for each in operation.get("parameters", ())}
    found: dict[str, Any] = {}
    for place, (name, description) in NAMED.items():
        inner = next(part for part in _parts(places[place]) if "enum" in part or part.get("type") == "object")
        kept: dict[str, Any] = {key: inner.pop(key) for key in ("description", "default") if key in inner and inner is places[place]}
        named: dict[str, Any] = {key: value for key, value in inner.items() if key not in ("description", "default")}
        found[name] = {"description": description, **named}
        inner.clear()
        inner |= {"$ref": f"#/components/schemas/{name}"} | kept
    return found


def _parts(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schema, what it may be, and what its items may be."""
    yield schema
    for part in (*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else ())):
        yield from _parts(part)


# -- schemas that are no models ------------------------------------------------------------------------------------------------------------

_SCORE = {"type": "number", "minimum": 0, "maximum": 100}
_POLICY_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "version": {
        "type": "string", "minLength": 1, "maxLength": 64,
        "description": "A name for this policy, which is stored with each verdict. Required if any other entry is given. "
        f"`{DEFAULT_POLICY.version}` is the name of the default policy, which no other policy may have.",
    },
    "match_threshold": {
        **_SCORE, "description": "The overall score, from 0 to 100, from which the verdict is `match`, whatever its "
        "reasons. Below 70, other people's accounts become matches."},
    "close_match_threshold": {
        **_SCORE, "description": "The overall score, from 0 to 100, from which the verdict is `close_match`. At most `match_threshold`.",
    },
    "required_fields": {
        "type": "array", "items": {"type": "string", "enum": list(FIELDS)},
        "description": "Fields that claim and owner must have, else the verdict is `not_verifiable`, and that must reach their threshold, "
        "else it is `no_match`. The name is always required.",
    },
    "field_thresholds": {
        "type": "object", "additionalProperties": False, "description": "The scores that required fields must reach.",
        "properties": {name: {**_SCORE, "description": f"The score for `{name}`, from 0 to 100."} for name, _ in CONTACTS},
    },
    "never_close": {
        "type": "array", "items": {"type": "string", "x-known-values": list(explanations.SENTENCES)},
        "description": "Reasons that point to another party. With one of them, a score between the two thresholds is `no_match` instead "
        "of `close_match`. A list that is given replaces the default list, so it has to repeat the default reasons that are to stay.",
    },
}  # fmt: skip


def _policy() -> dict[str, Any]:
    defaults: Mapping[str, Any] = DEFAULT_POLICY.as_dict()
    return {
        "type": "object",
        "description": "Thresholds, required fields and reasons in `never_close`. Entries that are left out keep their defaults.",
        "properties": {each.name: dict(_POLICY_FIELDS[each.name]) | {"default": defaults[each.name]} for each in fields(Policy)},
        "additionalProperties": False,
    }


_TYPE = "urn:titleholder:problem:"

SCHEMAS: Mapping[str, dict[str, Any]] = {
    "Policy": _policy(),
    "GatewayMessage": {
        "type": "object",
        "description": "An error of API Gateway itself, which did not reach the stack's functions.",
        "properties": {"message": {"type": "string", "description": "What is wrong, such as `Forbidden`."}},
        "required": ["message"],
    },
    "Refusal": {
        "description": "A problem, or an error of API Gateway itself.",
        "anyOf": [{"$ref": "#/components/schemas/Problem"}, {"$ref": "#/components/schemas/GatewayMessage"}],
    },
    "FieldProblem": {
        "type": "object",
        "description": "A wrong field.",
        "properties": {
            "field": {"type": "string", "description": "The name of the field, with dots between its parts, such as `claim.name`."},
            "detail": {"type": "string", "description": "What is wrong with it. Never its value."},
        },
        "required": ["field", "detail"],
    },
    "Problem": {
        "type": "object",
        "description": "An error (RFC 9457). docs/problems.md says what to do about each type.",
        "properties": {
            "type": {
                "type": "string", "pattern": f"^{_TYPE}[a-z-]+$",
                "x-known-values": [f"{_TYPE}{type_}" for type_ in sorted(problems.statuses())],
                "description": "Which problem it is. This name is stable: programs can rely on it.",
            },
            "title": {"type": "string", "description": "The kind of problem, for people."},
            "status": {"type": "integer", "description": "The HTTP status, a number of three digits."},
            "detail": {"type": "string", "description": "What is wrong in this case, for people."},
            "errors": {
                "type": "array", "items": {"$ref": "#/components/schemas/FieldProblem"},
                "description": "Of `invalid-request`: each wrong field.",
            },
            "reason": {
                "type": "string", "description": "The code of why the account can't be refreshed or relinked, or why no account is linked.",
            },
            "retry_at": {"type": "string", "format": "date-time", "description": "Of `cooling-down`: when the cooldown ends."},
            "remedy": {
                "type": "string", "x-known-values": list(get_args(errors.Action)),
                "description": "What to do next, if the status is 409 or 410. docs/http.md explains each remedy.",
            },
            "remedy_until": {
                "type": "string", "format": "date-time",
                "description": "Of the remedy `wait`: when to repeat the request, if that is known.",
            },
            "review": {
                "$ref": "#/components/schemas/ProblemReview", "description": "If the state of a review is the problem: the review now.",
            },
        },
        "required": ["type", "title", "status", "detail"],
    },
}  # fmt: skip


# -- examples ----------------------------------------------------------------------------------------------------------------------------


@cache
def answers() -> Mapping[str, Any]:
    """Recorded answers, by route and status (`GET /accounts 200`) and by name."""
    found: Mapping[str, Any] = json.loads(ANSWERS.read_text()) if ANSWERS.exists() else {}
    return found


_MADE: Mapping[str, problems.Problem] = {
    "account-disconnected": problems.not_refreshable("ACCOUNT_DISCONNECTED", remedies.Remedy("link_again")),
    "claim-limit-exceeded": problems.problem_for(
        errors.ClaimLimitExceededError(
            "At most 20 different claims about one account are accepted within 24 hours, and each name in a claim counts. 20 were made, "
            "and this one counts 1."
        )
    ),
    "decryption-failed": problems.problem_for(errors.DecryptionError("owners cannot be decrypted with its account's key.")),
    "internal-error": problems.unexpected(),
    "rate-limit-exceeded": problems.problem_for(errors.RateLimitExceededError(3)),
    "refresh-refused": problems.not_refreshable("REFRESH_REFUSED", remedies.Remedy("retry")),
    "stripe-refused": problems.problem_for(errors.StripeRefusedError("Stripe refused the call.")),
}
"""Problems that no ordinary call has."""


def problem_example(type_: str) -> dict[str, Any]:
    """A problem of that type: as it was recorded, or else as the error's own message makes it."""
    recorded: Mapping[str, Any] = answers().get("problems", {})
    if type_ in recorded:
        return dict(recorded[type_])
    if type_ in _MADE:
        return _MADE[type_].body()
    for kind, (_, known, _) in problems._KNOWN.items():
        if known == type_ and issubclass(kind, errors.TitleholderError):
            return problems.problem_for(_raised(kind)).body()
    raise LookupError(f"no example of the problem {type_}: record one")


def _raised(kind: type[errors.TitleholderError]) -> errors.TitleholderError:
    """An error of that kind, with a message with which the code raises it."""
    message = next(_messages(kind.__name__), None)
    if message is None and not str(made := kind()):
        raise LookupError(f"no message of {kind.__name__} is found in the code: record an example")
    return made if message is None else kind(message)


def _messages(name: str) -> Iterator[str]:
    """The texts with which the code makes an error of that name."""
    for tree in _sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args and isinstance(text := node.args[0], ast.Constant) and isinstance(text.value, str):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
                if called == name:
                    yield text.value


@cache
def _sources() -> tuple[ast.Module, ...]:
    package = Path(inspect.getfile(errors)).parent
    return tuple(ast.parse(path.read_text()) for root in (package, ROOT / "functions") for path in sorted(root.rglob("*.py")))
