"""docs/reference/events.md: the events on the bus, and what each is made of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from titleholder.aws.event_publisher import SOURCE
from tools.reference import ROOT
from tools.reference.markdown import code, page, table

SAMPLES = ROOT / "events" / "bus"

TYPES: Mapping[str, type | tuple[type, ...]] = {
    "text": str, "number": (int, float), "whole number": int, "list": list, "object": dict, "null": type(None),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an event's `detail`: of which types it may be, what it means, and whether every event of the type has it."""

    type: str
    meaning: str
    always: bool = True

    def takes(self, value: object) -> bool:
        return any(isinstance(value, TYPES[each]) and not isinstance(value, bool) for each in self.type.split(" or "))


_VERIFICATION = {"verification": Field("text", "The verification's id (`ver_...`).")}
_ACCOUNT = {
    "account": Field("text", "The account's id (`fca_...`)."),
    "mode": Field("text", "Stripe's mode: `test` or `live`."),
    "stripe_account": Field(
        "text",
        "The connected account to which the bank account belongs (the header `Stripe-Account`). Left out if it belongs to the platform.",
        always=False,
    ),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of event."""

    when: str
    fields: Mapping[str, Field]


KINDS: Mapping[str, Kind] = {
    "VerificationCompleted": Kind(
        "A verification has its verdict.",
        {
            **_VERIFICATION, **_ACCOUNT,
            "outcome": Field("text", "`match`, `close_match`, `no_match` or `not_verifiable`."),
            "score": Field("number or null", "The verdict's score."),
            "scores": Field("object", "The scores of the fields `name`, `address`, `phone` and `email`. A score is null if the claim or the owner lacks the field, or if the two addresses have no part in common. If nothing was compared, the object is empty, or all scores are null."),
            "reasons": Field("list", "The codes of the verdict's [reasons](reasons.md)."),
            "snapshot": Field("text or null", "The id (`fcaowns_...`) of the stored owners that the verdict used, or null."),
            "matcher_version": Field("text", "The version of the matcher."),
            "policy_version": Field("text", "The `version` of the [policy](policy.md#policy) in the request; without one, that of the built-in policy."),
            "review": Field("text or null", "`open` if the verdict opened a review, otherwise null."),
            "remedy": Field("text", "What to do next: one of the [remedies](reasons.md#no-comparison). Only if the outcome is `not_verifiable`.", always=False),
            "remedy_until": Field("text", "Until when to wait. Only if the remedy is `wait` and the time is known.", always=False),
        },
    ),
    "VerificationReviewed": Kind(
        "A review has ended, because it was decided or has expired.",
        {
            **_VERIFICATION, **_ACCOUNT,
            "outcome": Field("text or null", "The outcome of the verdict. The review does not change it."),
            "score": Field("number or null", "The score of the verdict."),
            "resolution": Field("text", "`approved`, `rejected` or `expired`."),
            "reason": Field("text or null", "The code of the reviewer's [reason](reasons.md#decisions). Null if the review expired."),
            "closed_reason": Field("text or null", "Why the review expired: one of [these codes](reasons.md#endings-without-a-decision). Null if the review was decided."),
            "final": Field("object or null", "The final answer after the review: `outcome` (`match` or `no_match`), `by` (`verdict` or `review`) and the time `at`. Null if there is none, such as when the review of a `close_match` expired."),
            "reviewers": Field("whole number", "How many people made the decision. 0 if the review expired."),
        },
    ),
    "VerificationStale": Kind(
        "A verdict no longer holds, because its account is inactive, disconnected or erased. The event is not published if the outcome is `not_verifiable`.",
        {**_VERIFICATION, **_ACCOUNT, "reason": Field("text", "[Why](reasons.md#verdicts-that-no-longer-hold) the verdict no longer holds.")},
    ),
    "VerificationStaleLifted": Kind(
        "The account of a stale verdict is active again, so the verdict is no longer stale.", {**_VERIFICATION, **_ACCOUNT}
    ),
    "AccountExpiring": Kind(
        "Stripe expects an account to become inactive. If the expected time changes, the event is published again.",
        {
            **_ACCOUNT,
            "expected_deactivation_at": Field("text", "When the account is expected to become inactive. Have it relinked before then."),
            "cause": Field("text or null", "The cause that Stripe names, such as `access_expired`."),
            "action": Field("text or null", "The action that Stripe names: `relink_required` or `none`."),
            "remedy": Field("text", "What to do: `relink` or `link_again`.", always=False),
        },
    ),
    "OwnershipChanged": Kind(
        "The bank names other owners than before, or other contact data of an owner. The stack notices this when it fetches newer owners and still has the previous ones.",
        {
            **_ACCOUNT,
            "snapshot": Field("text", "The id of the newer owners."),
            "since": Field("text", "The id of the previous owners."),
            "refreshed_at": Field("text", "When the refresh of the newer owners began."),
            "changes": Field(
                "list", "The changes, 500 at most. Each has a `kind`: `owner_added`, `owner_removed`, `owner_renamed` (the same owner has another name, or has one that the previous owners lacked; another spelling or title is no other name), "
                "`owner_moved` (another address) or `contact_changed` (another phone number or e-mail address). `before` and `after` are the owner's positions, counted from 0, in the lists of the previous and of the newer owners. "
                "Null if the owner is not in the list.",
            ),
        },
    ),
    "BatchCompleted": Kind(
        "All verifications of a batch have their verdicts, and the results are written. The event is not published for a stopped batch.",
        {
            "batch": Field("text", "The batch's id (`bat_...`)."),
            "verified": Field("whole number", "How many verifications the batch had."),
            "rejected": Field("whole number", "How many lines of the manifest were not accepted."),
            "done": Field("object", "The number of verifications by outcome, with the keys `match`, `close_match`, `no_match` and `not_verifiable`. An outcome without verifications is left out."),
        },
    ),
}  # fmt: skip
"""Every type of event, by its `detail-type`."""

INTRO = f"""
A stack puts events on its own event bus (output `EventBusName`). The events have the source `{SOURCE}`. They contain ids, outcomes, scores and codes,
but no names, addresses or other personal data. Put a rule on the bus instead of polling.

- **Each event is published at least once**, so a consumer has to accept an event that it already has. Events may arrive in another order than they were
  published. `GET /verifications/{{id}}` shows the present state.
- **A verification of several accounts publishes no event itself.** Each of its members is a verification of one account, and publishes its own
  `VerificationCompleted`. When such an event arrives, read the member: its field `group` is the
  id of the verification of several accounts, which has the `summary`.
- **A verification in a batch** publishes the same events as any other. `BatchCompleted` follows when the results are written.
- **An event may arrive before `POST /verifications` has answered**, so a consumer can get the id of a verification that it does not know yet.
  Try such an event again later. A repeated `POST` with the same `Idempotency-Key` answers the same id.
- **Events contain neither the claim nor the `reference` of a line in a batch.** They name the verification or the batch by its id. Store the id that `POST /verifications` answers
  with your own order. For a batch, read the results, which have each line's `verification` and `reference`.
- Times are ISO 8601 in UTC. Later releases may add fields, types of events and values, so a consumer has to ignore what it does not know.
"""

RULE_TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Parameters:
  EventBusName:
    Type: String
    Description: The output EventBusName of the stack of Titleholder.
Resources:
  Verdicts:
    Type: AWS::SQS::Queue
    Properties:
      MessageRetentionPeriod: 1209600
  Undelivered:
    Type: AWS::SQS::Queue
    Properties:
      MessageRetentionPeriod: 1209600
  VerdictsPolicy:
    Type: AWS::SQS::QueuePolicy
    Properties:
      Queues: [!Ref Verdicts]
      PolicyDocument:
        Version: "2012-10-17"
        Statement:
          - Effect: Allow
            Principal: {Service: events.amazonaws.com}
            Action: sqs:SendMessage
            Resource: !GetAtt Verdicts.Arn
            Condition: {ArnEquals: {"aws:SourceArn": !GetAtt VerdictsRule.Arn}}
  UndeliveredPolicy:
    Type: AWS::SQS::QueuePolicy
    Properties:
      Queues: [!Ref Undelivered]
      PolicyDocument:
        Version: "2012-10-17"
        Statement:
          - Effect: Allow
            Principal: {Service: events.amazonaws.com}
            Action: sqs:SendMessage
            Resource: !GetAtt Undelivered.Arn
            Condition: {ArnEquals: {"aws:SourceArn": !GetAtt VerdictsRule.Arn}}
  VerdictsRule:
    Type: AWS::Events::Rule
    Properties:
      EventBusName: !Ref EventBusName
      EventPattern:
        source: [titleholder]
        detail-type: [VerificationCompleted]
      Targets:
        - Id: verdicts
          Arn: !GetAtt Verdicts.Arn
          DeadLetterConfig: {Arn: !GetAtt Undelivered.Arn}
Outputs:
  VerdictsQueueUrl:
    Value: !Ref Verdicts
"""

RULE_COMMANDS = r"""
set -eu
BUS="$(aws cloudformation describe-stacks --stack-name "$STACK" --query "Stacks[0].Outputs[?OutputKey=='EventBusName'].OutputValue" --output text)"
QUEUE="$(aws sqs create-queue --queue-name "$STACK-verdicts" --query QueueUrl --output text)"
QUEUE_ARN="$(aws sqs get-queue-attributes --queue-url "$QUEUE" --attribute-names QueueArn --query Attributes.QueueArn --output text)"
UNDELIVERED="$(aws sqs create-queue --queue-name "$STACK-verdicts-undelivered" --query QueueUrl --output text)"
UNDELIVERED_ARN="$(aws sqs get-queue-attributes --queue-url "$UNDELIVERED" --attribute-names QueueArn --query Attributes.QueueArn --output text)"
RULE_ARN="$(aws events put-rule --name "$STACK-verdicts" --event-bus-name "$BUS" \
  --event-pattern '{"source": ["titleholder"], "detail-type": ["VerificationCompleted"]}' --query RuleArn --output text)"
allowed() {
  printf '%s' "{\"Policy\": \"{\\\"Version\\\": \\\"2012-10-17\\\", \\\"Statement\\\": [{\\\"Effect\\\": \\\"Allow\\\", \\\"Principal\\\": {\\\"Service\\\": \\\"events.amazonaws.com\\\"}, \\\"Action\\\": \\\"sqs:SendMessage\\\", \\\"Resource\\\": \\\"$1\\\", \\\"Condition\\\": {\\\"ArnEquals\\\": {\\\"aws:SourceArn\\\": \\\"$RULE_ARN\\\"}}}]}\"}"
}
aws sqs set-queue-attributes --queue-url "$QUEUE" --attributes "$(allowed "$QUEUE_ARN")"
aws sqs set-queue-attributes --queue-url "$UNDELIVERED" --attributes "$(allowed "$UNDELIVERED_ARN")"
aws events put-targets --rule "$STACK-verdicts" --event-bus-name "$BUS" \
  --targets "[{\"Id\": \"verdicts\", \"Arn\": \"$QUEUE_ARN\", \"DeadLetterConfig\": {\"Arn\": \"$UNDELIVERED_ARN\"}}]"
"""

RULE = """
The rule below sends verdicts to a queue. Deploy it as a stack of its own, or copy the resources into the template of your back end (SAM takes
them unchanged). The queues accept messages only from this rule. If you encrypt a queue with a key of your own, allow `events.amazonaws.com` to use
the key.

If EventBridge cannot deliver an event, it tries again for 24 hours, up to 185 times by default. Then it drops the event, or puts it into the
target's dead-letter queue, here `Undelivered`. After a lasting error, such as a missing permission, EventBridge does not try again. Set an alarm on the
dead-letter queue. **Remove the rule before you delete Titleholder's stack**: EventBridge does not delete a bus that has rules, so the deletion
would fail ([recovery.md](../recovery.md)).
"""

RULE_END = """
A message's body is the whole event, as in the samples below. To get other events, change `detail-type`. Without `detail-type`, all events match. A pattern
may also select by `detail`, such as `{"outcome": ["match"]}` or `{"review": ["open"]}`. A function can be the target instead of the queue:
[http.md](../http.md#receive-the-verdict-as-an-event-and-read-the-owners).
"""


def samples() -> dict[str, Any]:
    """The sample events, by the names of their files."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(SAMPLES.glob("*.json"))}


def complaints(kind: str, detail: Mapping[str, Any]) -> Iterator[str]:
    """What of an event does not fit its description."""
    if kind not in KINDS:
        yield f"{kind} is described nowhere"
        return
    fields = KINDS[kind].fields
    yield from (f"{kind}: no {name}" for name, field in fields.items() if field.always and name not in detail)
    for name, value in detail.items():
        if name not in fields:
            yield f"{kind}: {name} is described nowhere"
        elif not fields[name].takes(value):
            yield f"{kind}: {name} is a {type(value).__name__}, not a {fields[name].type}"


def render() -> str:
    sections: list[str] = []
    for kind, described in KINDS.items():
        fields = ((code(name), field.type, field.meaning) for name, field in described.fields.items())
        shown = [_json(sample) for sample in samples().values() if sample["detail-type"] == kind]
        sections += [f"## {kind}", described.when, table(("field of `detail`", "type", "meaning"), fields), *shown]
    return page(
        "Events on the bus", INTRO, table(("type", "published when"), ((f"[`{kind}`](#{kind.lower()})", described.when) for kind, described in KINDS.items())),
        "## A rule, ready to paste", RULE, f"```yaml\n{RULE_TEMPLATE.strip()}\n```",
        "These commands do the same with the AWS CLI. Run them as a script (`bash rule.sh`), because `set -e` ends the shell at an error. `STACK` is the name of Titleholder's stack. "
        "On [the embedded stack](../local-stack.md), set this first: `export STACK=titleholder AWS_ENDPOINT_URL=http://127.0.0.1:4566 "
        "AWS_DEFAULT_REGION=us-east-1 AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test`.", f"```sh\n{RULE_COMMANDS.strip()}\n```", RULE_END,
        *sections,
    )  # fmt: skip


def _json(sample: Mapping[str, Any]) -> str:
    return f"```json\n{json.dumps(sample, indent=2)}\n```"
