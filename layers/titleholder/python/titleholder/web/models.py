"""Bodies and answers of the HTTP routes, with their limits. Times are ISO 8601 in UTC, scores 0 to 100."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    RootModel,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails

from titleholder.domain import remedies, reviews, verifications
from titleholder.domain.accounts import (
    CONNECTED_ACCOUNT_ID,
    CUSTOMER_ID,
    HOLDERS,
    PAYMENT_METHOD_ID,
    SESSION_ID,
    AccountState,
    PaymentSupport,
)
from titleholder.schemas import OURS, AccountId, Claim, MaxAge, Strict, refused, worded
from titleholder.timestamps import iso_or_none, iso_seconds
from titleholder.web.timeline_models import Timeline

MAX_WAIT = 20
"""Seconds. API Gateway times out after 30, and the request may need a call to Stripe first."""
TARGETS = ("account", "payment_method", "session", *HOLDERS)

PaymentMethodId = Annotated[str, worded(f"^{PAYMENT_METHOD_ID.pattern}$", "not the id of a payment method (pm_...)")]
SessionId = Annotated[
    str, worded(f"^{SESSION_ID.pattern}$", "not the id of a session, an intent or a payment method (fcsess_, seti_, pi_, cs_, pm_)")
]
LinkingSessionId = Annotated[str, worded(r"^fcsess_[A-Za-z0-9_]{1,250}$", "not the id of a Financial Connections Session (fcsess_...)")]
CustomerId = Annotated[str, worded(f"^{CUSTOMER_ID.pattern}$", "not the id of a customer (cus_...)")]
StripeAccountId = Annotated[str, worded(f"^{CONNECTED_ACCOUNT_ID.pattern}$", "not the id of a Stripe account (acct_...)")]
RemedyAction = Literal["relink", "link_again", "wait", "retry", "none"]
Outcome = Literal["match", "close_match", "no_match", "not_verifiable"]
VerificationId = Annotated[str, worded(r"^ver_[0-9a-f]{32}$", "not the id of a verification (ver_...)")]
SnapshotId = Annotated[str, worded(r"^fcaowns_[A-Za-z0-9_]{1,120}$", "not the id of a snapshot (fcaowns_...)")]
BatchId = Annotated[str, worded(r"^bat_[0-9a-f]{32}$", "not the id of a batch (bat_...)")]
IdempotencyKey = Annotated[
    str, worded(r"^[\x21-\x7e]+$", "may have printable ASCII characters only, and no spaces", min_length=1, max_length=255)
]
Cursor = Annotated[str, worded(r"^[A-Za-z0-9_-]+$", "not a cursor of this API: send next_cursor unchanged", min_length=1, max_length=1000)]
Limit = Annotated[int, Field(ge=1, le=100, description="The largest number of entries on a page.")]


def _unicode(data: dict[str, Any]) -> dict[str, Any]:
    # JSON may contain half a surrogate pair, which has no encoding.
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise refused("must be Unicode: it contains half of a surrogate pair") from None
    return data


class Shown(BaseModel):
    """Part of an answer."""

    model_config = ConfigDict(defer_build=True)


class NewVerification(Strict):
    """The body of `POST /verifications`.

    Exactly one of `account`, `payment_method`, `session`, `customer`, `customer_account` and `connected_account` is needed.
    """

    account: AccountId | None = None
    payment_method: PaymentMethodId | None = Field(default=None, description="Verify the account that it was collected from.")
    session: SessionId | None = Field(
        default=None, description="Verify all accounts that this session, SetupIntent, PaymentIntent or Checkout Session collected."
    )
    customer: CustomerId | None = Field(default=None, description="Verify all accounts that this customer has linked.")
    customer_account: StripeAccountId | None = Field(
        default=None, description="Verify all accounts that this account of Accounts v2 has linked as a customer."
    )
    connected_account: StripeAccountId | None = Field(
        default=None, description="Verify all accounts that were linked for payouts of this connected account."
    )
    claim: Claim
    wait: Annotated[int, Field(ge=0, le=MAX_WAIT)] = Field(
        default=0,
        description="Seconds to wait for the verdict before answering. While too many requests wait, others are answered at once.",
    )
    max_age: MaxAge | None = None
    if_inactive: Literal["refuse", "wait"] = Field(
        default="refuse",
        description="What to do if the account is inactive: end the verification, or wait until the account is repaired (by a relink, for "
        "example) or the verification's time is over. For several accounts it applies to each.",
    )
    policy: Annotated[dict[str, Any], AfterValidator(_unicode)] | None = Field(
        default=None, description="Thresholds and required fields that differ from the defaults."
    )

    @model_validator(mode="wrap")
    @classmethod
    def _one_target(cls, data: Any, handler: ModelWrapValidatorHandler[NewVerification]) -> NewVerification:
        """Report a missing or second target together with all other invalid fields."""
        given = [name for name in TARGETS if data.get(name) is not None] if isinstance(data, dict) else list(TARGETS[:1])
        error = refused(f"exactly one of {', '.join(TARGETS[:-1])} and {TARGETS[-1]} is needed")
        wrong = [] if len(given) == 1 else [InitErrorDetails(type=error, loc=(name,), input=None) for name in given or TARGETS[:1]]
        try:
            made = handler(data)
        except ValidationError as found:
            others = [
                InitErrorDetails(
                    type=refused(one["msg"]) if one["type"] == OURS else one["type"], loc=one["loc"], input=None, ctx=one.get("ctx", {})
                )
                for one in found.errors(include_input=False)
            ]
            raise ValidationError.from_exception_data(cls.__name__, [*wrong, *others]) from None
        if wrong:
            raise ValidationError.from_exception_data(cls.__name__, wrong)
        return made


class NewRefresh(Strict):
    """The body of `POST /accounts/{account}/refreshes`. It may be left out."""

    max_age: MaxAge | None = None


class FieldScore(Shown):
    """The result for one field. `score` is null if either side lacks the field, and `missing` says which."""

    score: float | None
    missing: Literal["claim", "bank", "both"] | None = None
    reasons: list[str]


class Verdict(Shown):
    """The outcome of a verification. `owner_position` is the position, from 0, of the owner in the snapshot that matched best."""

    outcome: Outcome
    score: float | None
    fields: dict[str, FieldScore]
    reasons: list[str]
    owner_position: int | None
    owners_compared: int | None = Field(
        default=None,
        description="How many owners were compared, if claim and owners are too long to compare all: those with the most similar names.",
    )
    snapshot: str | None
    refreshed_at: str | None = None
    claim_digest: str | None = Field(
        description="Equal for equal claims about one account. It confirms no guess without the account's key, which an erasure destroys."
    )
    matcher_version: str
    policy_version: str
    refresh_error: dict[str, Any] | None = Field(default=None, description="Stripe's error codes of a failed refresh, if there are any.")
    remedy: RemedyAction | None = Field(
        default=None,
        description="Of `not_verifiable`: what to do next. Have the holder `relink` the account or `link_again`, `wait` until "
        "`remedy_until`, `retry` at any time; or `none`: a repetition gets the same verdict, or the verification was ended on purpose.",
    )
    remedy_until: str | None = Field(default=None, description="Of the remedy `wait`: until when, if that is known.")


class Final(Shown):
    """The answer to act on: the verdict's where that is clear, or the one that a review gave instead."""

    outcome: Literal["match", "no_match"]
    by: Literal["verdict", "review"]
    at: str

    @classmethod
    def of(cls, found: verifications.Verification) -> Final | None:
        final = reviews.final(found)
        return None if final is None else cls.model_validate(final.as_dict())


ReviewState = Literal["open", "proposed", "closed"]


class Verification(Shown):
    """A verification. `verdict` is null until it is completed."""

    id: str
    account: str
    stripe_account: str | None = None
    state: Literal["waiting", "completed"]
    requested_at: str
    completed_at: str | None = None
    waiting_for: Literal["repair"] | None = Field(
        default=None, description="What has to be done before the verification goes on: `repair` the inactive account."
    )
    remedy: Literal["relink", "link_again"] | None = Field(default=None, description="How the account that is waited for is repaired.")
    stale: str | None = Field(default=None, description="Why the verdict no longer holds, such as an account that is no longer active.")
    group: str | None = Field(default=None, description="The id of the verification of several accounts to which this one belongs.")
    review: ReviewState | None = Field(
        default=None, description="The state of its review: `open`, `proposed` while a second reviewer has to confirm it, or `closed`."
    )
    final: Final | None = Field(
        default=None,
        description="The answer to act on. Null while there is none: before the verdict, while a review is not closed, and after a verdict "
        "that is neither `match` nor `no_match` and that no review decided. The verdict itself never changes.",
    )
    verdict: Verdict | None = None
    timeline: Timeline | None = Field(
        default=None, description="Only if it was asked for with `timeline=true`.", exclude_if=lambda value: value is None
    )

    @classmethod
    def of(cls, found: verifications.Verification, *, relink: bool, repair: remedies.Remedy | None = None) -> Verification:
        """`relink`: whether the stack can relink accounts. `repair`: what would repair the account that the verification waits for."""
        shown = None if found.verdict is None else remedies.shown(found.verdict, relink=relink)
        awaited: dict[str, Any] = {} if repair is None else {"waiting_for": "repair", **repair.as_dict()}
        return cls(
            id=found.id,
            account=found.ref.account,
            stripe_account=found.ref.stripe_account,
            state="waiting" if shown is None else "completed",
            **awaited,
            stale=found.stale,
            group=found.group,
            review=found.review,
            final=Final.of(found),
            requested_at=iso_seconds(found.requested_at),
            completed_at=iso_or_none(found.completed_at),
            verdict=None if shown is None else Verdict.model_validate({**shown, "refreshed_at": iso_or_none(shown.get("refreshed_at"))}),
        )


class Member(Shown):
    """One account of a verification of several accounts, with the account's own verification."""

    account: str
    verification: str
    state: Literal["waiting", "completed"]
    waiting_for: Literal["repair"] | None = None
    outcome: Outcome | None = None
    review: ReviewState | None = None
    final: Final | None = Field(default=None, description="The answer to act on, as the account's own verification has it.")
    remedy: RemedyAction | None = Field(default=None, description="What repairs the account that is waited for, or the verdict's remedy.")
    remedy_until: str | None = None


class BestMember(Shown):
    """The member with the best outcome so far: `match` before `close_match`, `no_match` and `not_verifiable`; then the highest score."""

    account: str
    verification: str
    outcome: Outcome


class FinalSummary(Shown):
    """As the summary's `any` and `all`, but of the answers to act on: a member whose review is not closed has none yet."""

    any: bool | None
    all: bool | None


class Summary(Shown):
    """The result of all members. A value is null while it is still open."""

    any: bool | None = Field(
        description="Whether any account matches: true as soon as one does, false once all have ended without a match."
    )
    all: bool | None = Field(description="Whether all accounts match: false as soon as one has ended without a match, true once all match.")
    best: BestMember | None = None
    final: FinalSummary


class GroupVerification(Shown):
    """A verification of all accounts of a payment method, session or holder. It is completed once all its members are."""

    id: str
    payment_method: str | None = None
    session: str | None = None
    customer: str | None = None
    customer_account: str | None = None
    connected_account: str | None = None
    stripe_account: str | None = None
    state: Literal["waiting", "completed"]
    requested_at: str
    members: list[Member]
    summary: Summary


class AnyVerification(RootModel[Verification | GroupVerification]):
    """A verification of one account, or of several."""


class Verifications(Shown):
    """Verifications of an account or a holder, the newest first."""

    verifications: list[AnyVerification]
    next_cursor: str | None = Field(default=None, description="Send it as `cursor` to get the next page. Null on the last page.")


class RefreshState(Shown):
    """Stripe's `ownership_refresh`."""

    status: str
    last_attempted_at: str
    next_refresh_available_at: str | None = None
    error: dict[str, Any] | None = None

    @classmethod
    def of(cls, state: AccountState) -> RefreshState | None:
        if state.refresh is None:
            return None
        return cls(
            status=state.refresh.status,
            last_attempted_at=iso_seconds(state.refresh.last_attempted_at),
            next_refresh_available_at=iso_or_none(state.refresh.next_refresh_available_at),
            error=dict(state.refresh.error) if state.refresh.error else None,
        )


class StatusDetails(Shown):
    """Why an active account is expected to become inactive, or why an inactive one is. Stripe may add causes and actions."""

    cause: str | None = Field(description="Such as `access_expired`, `account_closed` or `unspecified`.")
    action: str | None = Field(description="`relink_required`: the holder can repair it by relinking. `none`: it can't be repaired.")
    expected_deactivation_at: str | None = Field(default=None, description="When Stripe expects an active account to become inactive.")

    @classmethod
    def of(cls, account: AccountState) -> StatusDetails | None:
        """None where Stripe says nothing of the account's present status."""
        if account.details is None:
            return None
        known = account.details
        return cls(cause=known.cause, action=known.action, expected_deactivation_at=iso_or_none(account.expires_at))


class AccountHolder(Shown):
    """The id of the one that the account was linked for."""

    customer: str | None = None
    customer_account: str | None = None
    connected_account: str | None = None

    @classmethod
    def of(cls, state: AccountState) -> AccountHolder | None:
        return None if state.holder is None else cls(**{state.holder.name: state.holder.id})


class AccountNumber(Shown):
    """What Stripe says of an account number, which itself is not shown. A tokenized number may expire at `expected_expiry_date`."""

    identifier_type: str | None = None
    status: str
    expected_expiry_date: str | None = None

    @classmethod
    def all_of(cls, payment: PaymentSupport) -> list[AccountNumber] | None:
        if payment.numbers is None:
            return None
        return [
            cls(
                identifier_type=number.identifier_type,
                status=number.status,
                expected_expiry_date=iso_or_none(number.expected_expiry_at),
            )
            for number in payment.numbers
        ]


class Account(Shown):
    """An account as Stripe describes it at `observed_at`, and the newest stored snapshot of its owners."""

    account: str
    stripe_account: str | None = None
    livemode: bool
    status: str
    permissions: list[str] | None = None
    supported_payment_method_types: list[str] = []
    account_holder: AccountHolder | None = None
    account_numbers: list[AccountNumber] | None = None
    ownership_refresh: RefreshState | None = None
    next_refresh_available_at: str | None = None
    snapshot: str | None = None
    snapshot_refreshed_at: str | None = None
    status_details: StatusDetails | None = None
    remedy: RemedyAction | None = Field(
        default=None, description="What repairs an account that is not active, will not stay so, or lacks the permission `ownership`."
    )
    observed_at: str


class Refresh(Shown):
    """The result of a request for fresh owners."""

    account: str
    status: Literal["started", "pending", "fresh"]
    last_attempted_at: str | None = None
    snapshot: str | None = None


class Owner(Shown):
    """One owner, as named by the bank. Every other field than `name` may be missing."""

    name: str | None
    email: str | None = None
    phone: str | None = None
    raw_address: str | None = None


class Owners(Shown):
    """All owners of one snapshot, in the bank's order."""

    account: str
    snapshot: str
    refreshed_at: str
    age: int = Field(description="Seconds since the refresh that brought these owners.")
    owners: list[Owner]


class OwnerChange(Shown):
    """One change. `before` and `after` are the owner's positions in the two snapshots, from 0; null if the snapshot lacks the owner."""

    kind: Literal["owner_added", "owner_removed", "owner_renamed", "owner_moved", "contact_changed"]
    before: int | None
    after: int | None


class Snapshot(Shown):
    """One snapshot of an account's owners. `changes` are those since the snapshot `since`: null if there was none, or if it is deleted."""

    snapshot: str
    refreshed_at: str
    age: int = Field(description="Seconds since the refresh that brought these owners.")
    owner_count: int
    too_many_owners: bool = Field(
        default=False,
        description="Whether there were too many owners to be stored and compared. `owner_count` is then a lower bound.",
    )
    since: str | None = None
    changes: list[OwnerChange] | None = None


class Snapshots(Shown):
    """An account's snapshots, the newest first."""

    account: str
    snapshots: list[Snapshot]
    next_cursor: str | None = Field(default=None, description="Send it as `cursor` to get the next page. Null on the last page.")


class NewBatch(Strict):
    """The body of `POST /batches`."""

    format: Literal["jsonl", "csv"]
    bytes: Annotated[int, Field(ge=0)] = Field(
        default=0, description="The manifest's size. Required above 5 GiB, because such a manifest is uploaded in parts."
    )
    scope: Annotated[str, worded(r"^[A-Za-z0-9._:/-]{0,100}$", "may have up to 100 letters, digits and . _ : / -")] = Field(
        default="", description="Lines that were verified in the same scope keep their verdicts. In another scope they are verified again."
    )
    max_age: MaxAge | None = None
    policy: Annotated[dict[str, Any], AfterValidator(_unicode)] | None = Field(
        default=None, description="Thresholds and required fields that differ from the defaults."
    )


class Upload(Shown):
    """Where to PUT the manifest: the whole file to a single URL, or each part of `part_bytes` to the next of several.

    The URLs end at `expires_at` at the latest. Repeat the request with its `Idempotency-Key` for new ones.
    """

    method: Literal["PUT"] = "PUT"
    urls: list[str]
    part_bytes: int | None = None
    expires_at: str


class CreatedBatch(Shown):
    """A batch that waits for its manifest."""

    id: str
    state: Literal["waiting_for_upload"] = "waiting_for_upload"
    upload: Upload


class CoolingDown(Shown):
    """Accounts in cooldown: how many, and when the last cooldown ends."""

    accounts: int
    until: str


class Batch(Shown):
    """The progress of a batch. Links are valid for at most an hour. Ask again for new ones."""

    id: str
    state: Literal["waiting_for_upload", "importing", "verifying", "completed", "failed", "stopped"]
    format: Literal["jsonl", "csv"]
    created_at: str
    started_at: str | None = None
    completed_at: str | None = None
    imported: int = Field(description="Lines that were accepted, including duplicates of other lines.")
    duplicates: int
    rejected: int = Field(description="Lines that were not accepted: see `rejects`.")
    blank: int = Field(default=0, description="Lines without content.")
    lines: int | None = Field(
        default=None,
        description="Lines of the manifest without its header, once it is imported: always imported + rejected + blank. An imported CSV "
        "record with line breaks within quotes counts as one line, a rejected one as its physical lines.",
    )
    waiting: int = Field(description="Verifications without a verdict.")
    cooling_down: CoolingDown | None = None
    done: dict[str, int] = Field(description="Verifications by verdict.")
    per_second: float | None = Field(default=None, description="Verdicts a second since the verifications began.")
    estimated_end: str | None = None
    failure: str | None = None
    results: dict[str, str] | None = Field(default=None, description="Links to the results by format: ids and verdicts, no owner data.")
    rejects: str | None = Field(default=None, description="Link to the lines that were not accepted: line, column, reason (JSON Lines).")


class Erasure(BaseModel):
    """An account that was erased. Its stored data is deleted when this is answered.

    `disconnected` is false if Stripe has not disconnected it yet, because it refused the key or did not answer. This is retried for
    30 days.
    """

    account: str
    stripe_account: str | None = None
    erased_at: str
    disconnected: bool
