"""Bodies and answers of the HTTP routes, with their limits. Times are ISO 8601 in UTC, scores 0 to 100.

The text below a field is its description in the OpenAPI document. Python drops it when it compiles, so it costs a cold start nothing.
`local/openapi.py` reads it from the source. A `Literal` of an answer is a text with known values there: later releases may add some.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
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
from titleholder.web.timeline_models import ReasonCode, Timeline, Timestamp

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
# As `Timestamp`: these texts of Stripe have known values in the OpenAPI document.
AccountStatus = str
AccountPermission = str
RefreshStatus = str
StatusCause = str
StatusAction = str
IdentifierType = str
NumberStatus = str
RemedyAction = Literal["relink", "link_again", "wait", "retry", "none"]
Outcome = Literal["match", "close_match", "no_match", "not_verifiable"]
VerificationId = Annotated[str, worded(r"^ver_[0-9a-f]{32}$", "not the id of a verification (ver_...)")]
SnapshotId = Annotated[str, worded(r"^fcaowns_[A-Za-z0-9_]{1,120}$", "not the id of a snapshot (fcaowns_...)")]
BatchId = Annotated[str, worded(r"^bat_[0-9a-f]{32}$", "not the id of a batch (bat_...)")]
IdempotencyKey = Annotated[
    str, worded(r"^[\x21-\x7e]+$", "may have printable ASCII characters only, and no spaces", min_length=1, max_length=255)
]
Cursor = Annotated[str, worded(r"^[A-Za-z0-9_-]+$", "not a cursor of this API: send next_cursor unchanged", min_length=1, max_length=1000)]
Limit = Annotated[int, Field(ge=1, le=100)]
Policy = dict[str, Any]
"""Has a schema in the OpenAPI document. `matching.Policy` checks it."""


def _unicode(data: dict[str, Any]) -> dict[str, Any]:
    # JSON may contain half a surrogate pair, which has no encoding.
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise refused("must be Unicode: it contains half of a surrogate pair") from None
    return data


def repeated(errors: Sequence[Any]) -> list[InitErrorDetails]:
    """The errors of a `ValidationError`, without the values, to be raised together with others."""
    return [
        InitErrorDetails(
            type=refused(one["msg"]) if one["type"] == OURS else one["type"], loc=one["loc"], input=None, ctx=one.get("ctx", {})
        )
        for one in errors
    ]


class Shown(BaseModel):
    """Part of an answer."""

    model_config = ConfigDict(defer_build=True)


class NewVerification(Strict):
    """The body of `POST /verifications`.

    Exactly one of `account`, `payment_method`, `session`, `customer`, `customer_account` and `connected_account` is needed.
    """

    account: AccountId | None = None
    """Verify this account."""
    payment_method: PaymentMethodId | None = None
    """Verify the account that this payment method was collected from."""
    session: SessionId | None = None
    """Verify all accounts that this session, SetupIntent, PaymentIntent or Checkout Session collected."""
    customer: CustomerId | None = None
    """Verify all accounts that this customer has linked."""
    customer_account: StripeAccountId | None = None
    """Verify all accounts that this account of Accounts v2 has linked as a customer."""
    connected_account: StripeAccountId | None = None
    """Verify all accounts that were linked for payouts of this connected account."""
    claim: Claim
    """Who the user says owns the account."""
    wait: Annotated[int, Field(ge=0, le=MAX_WAIT)] = 0
    """Seconds to wait for the verdict before answering. While too many requests wait, others are answered at once."""
    max_age: MaxAge | None = None
    """In seconds. Owners that were fetched longer ago are fetched again. The default is 30 days."""
    if_inactive: Literal["refuse", "wait"] = "refuse"
    """What to do if the account is inactive. `refuse`: end the verification. `wait`: wait until the account is repaired, by a relink for
    example, or until the verification's deadline. For several accounts it applies to each."""
    policy: Annotated[Policy, AfterValidator(_unicode)] | None = None
    """Thresholds, required fields and reasons in `never_close` that differ from the defaults."""

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
            others = repeated(found.errors(include_input=False))
            raise ValidationError.from_exception_data(cls.__name__, [*wrong, *others]) from None
        if wrong:
            raise ValidationError.from_exception_data(cls.__name__, wrong)
        return made


class NewRefresh(Strict):
    """The body of `POST /accounts/{account}/refreshes`. It may be left out."""

    max_age: MaxAge | None = None
    """In seconds. A refresh is started only if the stored owners were fetched longer ago. The default is one day."""


class FieldScore(Shown):
    """How one field of the claim compares with the same field of the owner."""

    score: float | None
    """From 0 to 100. Null if the claim or the bank lacks the field."""
    missing: Literal["claim", "bank", "both"] | None = None
    """Which side lacks the field, or has only a placeholder. `both` also if two addresses have no part in common. Null if both have it."""
    reasons: list[ReasonCode]
    """Why points were lost, the most important reason first. docs/reference/reasons.md explains each code."""


def _field_score() -> Any:
    """A field of `FieldScores` that an answer leaves out if nothing was compared."""
    return Field(default=None, exclude_if=lambda value: value is None)


class FieldScores(Shown):
    """How each field of the claim compares with the owner. It is empty if nothing was compared."""

    name: FieldScore | None = _field_score()
    """The name."""
    address: FieldScore | None = _field_score()
    """The postal address."""
    phone: FieldScore | None = _field_score()
    """The phone number."""
    email: FieldScore | None = _field_score()
    """The e-mail address."""


class Verdict(Shown):
    """The result of a verification. It never changes."""

    outcome: Outcome
    """Whether the account belongs to the claimant. `not_verifiable`: this could not be found out, and `reasons` says why."""
    score: float | None
    """From 0 to 100. Null if nothing was compared."""
    fields: FieldScores
    """The result for each field of the claim."""
    reasons: list[ReasonCode]
    """Why the verdict is not a perfect match, the most important reason first. docs/reference/reasons.md explains each code."""
    owner_position: int | None
    """The position in the snapshot, from 0, of the owner that matched best. Null if nothing was compared."""
    owners_compared: int | None = None
    """How many owners were compared, if claim and owners were too long to compare all: those with the most similar names."""
    snapshot: str | None
    """The id of the snapshot that the claim was compared with (`fcaowns_...`)."""
    refreshed_at: Timestamp | None = None
    """When Stripe began the refresh that brought these owners."""
    claim_digest: str | None
    """Equal for equal claims about one account. It confirms no guess without the account's key, which an erasure destroys."""
    matcher_version: str
    """The version of the matcher that made the verdict."""
    policy_version: str
    """The `version` of the policy that the verdict was made with."""
    refresh_error: dict[str, str] | None = None
    """Stripe's error codes of a failed refresh, if there are any."""
    remedy: RemedyAction | None = None
    """Of `not_verifiable`: what to do next. `relink`: have the holder relink the account. `link_again`: have the holder link it as a new
    account. `wait`: repeat the request after `remedy_until`. `retry`: repeat it at any time. `none`: a repetition gets the same verdict, or
    the verification was ended on purpose."""
    remedy_until: Timestamp | None = None
    """Of the remedy `wait`: when to repeat the request, if that is known."""


class FinalAnswer(Shown):
    """The answer to act on: the verdict's where that is clear, or the one that a review gave instead.

    It does not change when the verdict becomes stale. So check `stale` of the verification too, before you act.
    """

    outcome: Literal["match", "no_match"]
    """Whether the account belongs to the claimant."""
    by: Literal["verdict", "review"]
    """Where the answer comes from."""
    at: Timestamp
    """When the answer was given."""

    @classmethod
    def of(cls, found: verifications.Verification) -> FinalAnswer | None:
        final = reviews.final(found)
        return None if final is None else cls.model_validate(final.as_dict())


ReviewState = Literal["open", "proposed", "closed"]


class Verification(Shown):
    """A verification of one account."""

    id: str
    """The verification's id (`ver_...`)."""
    account: str
    """The account that is verified (`fca_...`)."""
    stripe_account: str | None = None
    """The connected account that the account belongs to. Null for the platform's own."""
    state: Literal["waiting", "completed"]
    """`completed` once there is a verdict."""
    requested_at: Timestamp
    """When the verification was requested."""
    completed_at: Timestamp | None = None
    """When the verdict was given."""
    waiting_for: Literal["repair"] | None = None
    """What has to be done before the verification goes on. `repair`: the account is inactive and has to be repaired."""
    remedy: Literal["relink", "link_again"] | None = None
    """How the inactive account is repaired. Null if the verification does not wait for a repair."""
    stale: ReasonCode | None = None
    """Why the verdict no longer holds, such as an account that is no longer active. Null while it holds. `verdict` and `final` stay as they
    were given, so check `stale` before you act."""
    group: str | None = None
    """The id of the verification of several accounts that this one belongs to."""
    review: ReviewState | None = None
    """The state of its review. `proposed`: a second reviewer has to confirm it. Null without a review."""
    final: FinalAnswer | None = None
    """The answer to act on, if `stale` is null. Null while there is none: before the verdict, while a review is not closed, and after a
    verdict that is neither `match` nor `no_match` and that no review decided."""
    verdict: Verdict | None = None
    """The result. Null until the verification is completed. It never changes."""
    timeline: Timeline | None = Field(default=None, exclude_if=lambda value: value is None)
    """What happened to the verification. Only with `timeline=true`."""

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
            final=FinalAnswer.of(found),
            requested_at=iso_seconds(found.requested_at),
            completed_at=iso_or_none(found.completed_at),
            verdict=None if shown is None else Verdict.model_validate({**shown, "refreshed_at": iso_or_none(shown.get("refreshed_at"))}),
        )


class GroupMember(Shown):
    """One account of a verification of several accounts, with the account's own verification."""

    account: str
    """The account (`fca_...`)."""
    verification: str
    """The id of the account's own verification (`ver_...`)."""
    state: Literal["waiting", "completed"]
    """`completed` once the account's verification has a verdict."""
    waiting_for: Literal["repair"] | None = None
    """`repair`: the account is inactive and has to be repaired before its verification goes on."""
    outcome: Outcome | None = None
    """The outcome of the account's verdict. Null until there is one."""
    review: ReviewState | None = None
    """The state of the review of the account's verification. Null without a review."""
    final: FinalAnswer | None = None
    """The answer to act on, if `stale` is null, as the account's own verification has it."""
    stale: ReasonCode | None = None
    """Why the account's verdict no longer holds. Null while it holds. `outcome` and `final` stay as they were given."""
    remedy: RemedyAction | None = None
    """How the account is repaired while its verification waits for a repair. Afterwards the verdict's remedy."""
    remedy_until: Timestamp | None = None
    """Of the remedy `wait`: when to repeat the request, if that is known."""


class BestGroupMember(Shown):
    """The member with the best outcome so far: `match` before `close_match`, `no_match` and `not_verifiable`; then the highest score."""

    account: str
    """The account (`fca_...`)."""
    verification: str
    """The id of the account's own verification (`ver_...`)."""
    outcome: Outcome
    """The outcome of the account's verdict."""
    stale: ReasonCode | None = None
    """Why the account's verdict no longer holds. Null while it holds."""


class GroupFinalSummary(Shown):
    """As `any` and `all` of the summary, but of the answers to act on. A member whose review is not closed has none yet."""

    any: bool | None
    """Whether the answer for any account is `match`. Null while that is open."""
    all: bool | None
    """Whether the answer for every account is `match`. Null while that is open."""


class GroupSummary(Shown):
    """The result of all members. A value is null while it is still open.

    Members whose verdicts no longer hold count as their verdicts were given. So check `stale` before you act.
    """

    any: bool | None
    """Whether any account matches: true as soon as one does, false once all have ended without a match."""
    all: bool | None
    """Whether all accounts match: false as soon as one has ended without a match, true once all match."""
    best: BestGroupMember | None = None
    """The member with the best outcome so far. Null until one has a verdict."""
    final: GroupFinalSummary
    """The same, of the answers to act on."""
    stale: int
    """How many members have a verdict that no longer holds. If it is not 0, `stale` of each member says which. Act on those members whose
    `stale` is null."""


class GroupVerification(Shown):
    """A verification of all accounts of a payment method, session or holder. One of the five ids below says which."""

    id: str
    """The verification's id (`ver_...`)."""
    payment_method: str | None = None
    """The payment method whose account is verified (`pm_...`)."""
    session: str | None = None
    """The session or intent whose accounts are verified."""
    customer: str | None = None
    """The customer whose accounts are verified (`cus_...`)."""
    customer_account: str | None = None
    """The account of Accounts v2 whose accounts are verified (`acct_...`)."""
    connected_account: str | None = None
    """The connected account whose accounts for payouts are verified (`acct_...`)."""
    stripe_account: str | None = None
    """The connected account that the accounts belong to. Null for the platform's own."""
    state: Literal["waiting", "completed"]
    """`completed` once all members are."""
    requested_at: Timestamp
    """When the verification was requested."""
    members: list[GroupMember]
    """Each account with its own verification."""
    summary: GroupSummary
    """The result of all members."""


class AnyVerification(RootModel[Verification | GroupVerification]):
    """A verification of one account, or of several."""


class VerificationList(Shown):
    """Verifications of an account or a holder, the newest first."""

    verifications: list[AnyVerification]
    """The verifications on this page."""
    next_cursor: str | None = None
    """Send it as `cursor` to get the next page. Null on the last page."""


class RefreshState(Shown):
    """Stripe's `ownership_refresh`: the state of the newest refresh of the account's owners."""

    status: RefreshStatus
    """Stripe's status of the refresh."""
    last_attempted_at: Timestamp
    """When the newest refresh began."""
    next_refresh_available_at: Timestamp | None = None
    """When Stripe allows the next refresh. Null if Stripe names no time."""
    error: dict[str, str] | None = None
    """Stripe's error codes of a failed refresh, if there are any."""

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
    """Why an active account is expected to become inactive, or why an inactive one is."""

    cause: StatusCause | None
    """Stripe's code of the cause."""
    action: StatusAction | None
    """`relink_required`: the holder can repair the account by relinking it. `none`: it can't be repaired."""
    expected_deactivation_at: Timestamp | None = None
    """When Stripe expects an active account to become inactive."""

    @classmethod
    def of(cls, account: AccountState) -> StatusDetails | None:
        """None where Stripe says nothing of the account's present status."""
        if account.details is None:
            return None
        known = account.details
        return cls(cause=known.cause, action=known.action, expected_deactivation_at=iso_or_none(account.expires_at))


class AccountHolder(Shown):
    """The holder that the account was linked for. One of the three ids is set."""

    customer: str | None = None
    """A customer (`cus_...`)."""
    customer_account: str | None = None
    """An account of Accounts v2 with the customer configuration (`acct_...`)."""
    connected_account: str | None = None
    """A connected account, for its payouts (`acct_...`)."""

    @classmethod
    def of(cls, state: AccountState) -> AccountHolder | None:
        return None if state.holder is None else cls(**{state.holder.name: state.holder.id})


class AccountNumber(Shown):
    """What Stripe says of one of the account's numbers. The number itself is not shown."""

    identifier_type: IdentifierType | None = None
    """Stripe's kind of the number."""
    status: NumberStatus
    """Stripe's status of the number."""
    expected_expiry_date: Timestamp | None = None
    """When Stripe expects a tokenized number to expire."""

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
    """The account's id (`fca_...`)."""
    stripe_account: str | None = None
    """The connected account that the account belongs to. Null for the platform's own."""
    livemode: bool
    """Whether the account is of Stripe's live mode."""
    status: AccountStatus
    """Stripe's status of the account."""
    permissions: list[AccountPermission] | None = None
    """What the holder permitted. Owners can be read with `ownership` only."""
    supported_payment_method_types: list[str] = []
    """What can be paid with the account, such as `us_bank_account`."""
    account_holder: AccountHolder | None = None
    """The holder that the account was linked for."""
    account_numbers: list[AccountNumber] | None = None
    """The states of the account's numbers. Null if Stripe does not say."""
    ownership_refresh: RefreshState | None = None
    """The newest refresh of the account's owners. Null if there was none."""
    next_refresh_available_at: Timestamp | None = None
    """When Stripe allows the next refresh. Null if Stripe names no time."""
    snapshot: str | None = None
    """The newest stored snapshot of owners (`fcaowns_...`)."""
    snapshot_refreshed_at: Timestamp | None = None
    """When Stripe began the refresh that brought this snapshot."""
    status_details: StatusDetails | None = None
    """Why the account is inactive, or is expected to become so. Null if Stripe does not say."""
    remedy: RemedyAction | None = None
    """What repairs an account that is not active, will not stay so, or lacks the permission `ownership`. Null if nothing has to be done."""
    observed_at: Timestamp
    """When the account was read from Stripe."""


class RefreshResult(Shown):
    """The result of a request for fresh owners."""

    account: str
    """The account (`fca_...`)."""
    status: Literal["started", "pending", "fresh"]
    """`started`: this request started a refresh. `pending`: one was under way. `fresh`: the stored owners are recent enough."""
    last_attempted_at: Timestamp | None = None
    """When the refresh began that the answer is about. Null if it is about to begin."""
    snapshot: str | None = None
    """The newest stored snapshot of owners (`fcaowns_...`). Null if there is none."""


class Owner(Shown):
    """One owner, as the bank names it. The bank may leave out every field."""

    name: str | None
    """The name."""
    email: str | None = None
    """The e-mail address."""
    phone: str | None = None
    """The phone number."""
    raw_address: str | None = None
    """The postal address in one line."""


class OwnerList(Shown):
    """All owners of one snapshot, in the bank's order."""

    account: str
    """The account (`fca_...`)."""
    snapshot: str
    """The snapshot's id (`fcaowns_...`)."""
    refreshed_at: Timestamp
    """When Stripe began the refresh that brought these owners."""
    age: int
    """Seconds since that refresh began."""
    owners: list[Owner]
    """The owners."""


class OwnerChange(Shown):
    """One change from one snapshot of owners to the next."""

    kind: Literal["owner_added", "owner_removed", "owner_renamed", "owner_moved", "contact_changed"]
    """What changed. `owner_renamed`: the name, not only its spelling. `owner_moved`: the address."""
    before: int | None
    """The owner's position in the earlier snapshot, from 0. Null if that lacks the owner."""
    after: int | None
    """The owner's position in the later snapshot, from 0. Null if that lacks the owner."""


class Snapshot(Shown):
    """One snapshot of an account's owners."""

    snapshot: str
    """The snapshot's id (`fcaowns_...`)."""
    refreshed_at: Timestamp
    """When Stripe began the refresh that brought these owners."""
    age: int
    """Seconds since that refresh began."""
    owner_count: int
    """How many owners the bank named."""
    too_many_owners: bool = False
    """Whether there were too many owners to be stored and compared. `owner_count` is then a lower bound."""
    since: str | None = None
    """The id of the snapshot that this one was compared with for `changes`."""
    changes: list[OwnerChange] | None = None
    """What changed since the snapshot `since`. Null if there was none, or if it is deleted."""


class SnapshotList(Shown):
    """An account's snapshots, the newest first."""

    account: str
    """The account (`fca_...`)."""
    snapshots: list[Snapshot]
    """The snapshots on this page."""
    next_cursor: str | None = None
    """Send it as `cursor` to get the next page. Null on the last page."""


class NewBatch(Strict):
    """The body of `POST /batches`."""

    format: Literal["jsonl", "csv"]
    """The manifest's format."""
    bytes: Annotated[int, Field(ge=0)] = 0
    """The manifest's size in bytes. Required above 5 GiB, because such a manifest is uploaded in parts."""
    scope: Annotated[str, worded(r"^[A-Za-z0-9._:/-]{0,100}$", "may have up to 100 letters, digits and . _ : / -")] = ""
    """Lines that were verified in the same scope keep their verdicts. In another scope they are verified again."""
    max_age: MaxAge | None = None
    """In seconds. Owners that were fetched longer ago are fetched again. The default is 30 days."""
    policy: Annotated[Policy, AfterValidator(_unicode)] | None = None
    """Thresholds, required fields and reasons in `never_close` that differ from the defaults."""


class ManifestUpload(Shown):
    """Where to PUT the manifest: the whole file to a single URL, or each part of `part_bytes` to the next of several.

    Repeat the request with its `Idempotency-Key` for new URLs.
    """

    method: Literal["PUT"] = "PUT"
    """The HTTP method of the upload."""
    urls: list[str]
    """Where to upload the file, or its parts in order."""
    part_bytes: int | None = None
    """The size of each part but the last, in bytes. Null for a single URL."""
    expires_at: Timestamp
    """When the URLs become invalid at the latest."""


class CreatedBatch(Shown):
    """A batch that waits for its manifest."""

    id: str
    """The batch's id (`bat_...`)."""
    state: Literal["waiting_for_upload"] = "waiting_for_upload"
    """The state of the batch."""
    upload: ManifestUpload
    """Where to upload the manifest."""


class BatchCooldown(Shown):
    """The accounts of a batch that Stripe allows no refresh for yet."""

    accounts: int
    """How many accounts are in cooldown."""
    until: Timestamp
    """When the last cooldown ends."""


class Batch(Shown):
    """The progress of a batch. Links are valid for at most an hour. Ask again for new ones."""

    id: str
    """The batch's id (`bat_...`)."""
    state: Literal["waiting_for_upload", "importing", "verifying", "completed", "failed", "stopped"]
    """What the batch is doing."""
    format: Literal["jsonl", "csv"]
    """The manifest's format."""
    created_at: Timestamp
    """When the batch was created."""
    started_at: Timestamp | None = None
    """When the batch was started."""
    completed_at: Timestamp | None = None
    """When the batch ended."""
    imported: int
    """How many lines were accepted, including duplicates of other lines."""
    duplicates: int
    """How many lines are duplicates of other lines."""
    rejected: int
    """How many lines were not accepted: see `rejects`."""
    blank: int = 0
    """How many lines have no content."""
    lines: int | None = None
    """How many lines the manifest has without its header, once it is imported: always imported + rejected + blank. An imported CSV record
    with line breaks within quotes counts as one line, a rejected one as its physical lines."""
    waiting: int
    """How many verifications have no verdict yet."""
    cooling_down: BatchCooldown | None = None
    """The accounts in cooldown. Null if there are none."""
    done: dict[str, int]
    """How many verifications have a verdict, by outcome."""
    per_second: float | None = None
    """Verdicts a second since the verifications began."""
    estimated_end: Timestamp | None = None
    """When the batch ends at this speed."""
    failure: str | None = None
    """Why the batch failed, and what to do."""
    results: dict[str, str] | None = None
    """Links to the results by format, once the batch has ended: ids and verdicts, no owner data."""
    results_so_far: dict[str, str] | None = None
    """Links to the results so far, written before the batch began to wait for cooldowns. A line without a verdict has no `outcome`."""
    results_at: Timestamp | None = None
    """When the linked results were written."""
    rejects: str | None = None
    """Link to the lines that were not accepted: line, column, reason (JSON Lines)."""


class Erasure(BaseModel):
    """An account whose stored data is deleted."""

    account: str
    """The account (`fca_...`)."""
    stripe_account: str | None = None
    """The connected account that the account belonged to. Null for the platform's own."""
    erased_at: Timestamp
    """When the data was deleted."""
    disconnected: bool
    """Whether Stripe has disconnected the account. False if Stripe refused the key or did not answer; this is retried for 30 days."""
