"""docs/reference/reasons.md: every reason, what it means and what the caller should do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from titleholder.domain import reviews
from titleholder.domain.refresh_policy import REASON_BY_ACCOUNT_STATUS
from titleholder.domain.remedies import BY_REASON
from titleholder.errors import Action
from titleholder.matching import DEFAULT_POLICY, MATCHER_VERSION, Policy, decide
from titleholder.matching.explanations import explain
from titleholder.matching.result import CONTACTS
from titleholder.services import linked_accounts, relinking
from tools.reference.markdown import code, codes, page, table

REMEDIES: Mapping[Action, str] = {
    "relink": "Have the account's holder relink it ([relinking.md](../relinking.md)). The account keeps its id. This remedy is given only "
    "if the stack has `StripePreviewVersion` and Stripe names the account's authorization.",
    "link_again": "Have the holder link the account, or another one, as a new account with a new id. If nothing was linked yet, have an "
    "account linked for the first time. Stripe says that relinking does not repair a closed account, so `ACCOUNT_INACTIVE` has this remedy then.",
    "wait": "Send the same request again later. `remedy_until` says when, if the time is known.",
    "retry": "Send the same request again. The request may succeed at any time. If a problem's `detail` names a step, take that step first.",
    "none": "The same request would get the same answer. If a verification was ended on purpose (`CANCELLED`, `BATCH_STOPPED`), request "
    "it again only if you still want it.",
}

OTHER_DOCUMENTS = "Verify the holder by other documents."

WITHOUT_A_COMPARISON: Mapping[str, tuple[str, str]] = {
    "ACCOUNT_DISCONNECTED": ("The account was disconnected at Stripe, or erased in this stack.", "Have the account linked again."),
    "ACCOUNT_INACTIVE": (
        "Stripe has lost access to the account, and no stored owners are fresh enough. This reason is given even if a refresh failed.",
        "Have the holder relink the account, link it again, or link another one. `retry` is given if the account has become active meanwhile.",
    ),
    "ACCOUNT_NOT_FOUND": (
        "Stripe has no account with this id in the stack's mode, under the connected account or platform that the request is for.",
        "Check the id and the header `Stripe-Account`.",
    ),
    "PERMISSION_MISSING": (
        "The account was linked without the permission `ownership`.",
        "Have the holder relink the account, or link it again, with that permission.",
    ),
    "REFRESH_FAILED": (
        "Stripe reports that the refresh failed. The verdict's `refresh_error` has Stripe's codes, if Stripe gave any.",
        "Verify again after the cooldown. Have the account relinked if Stripe recommends that.",
    ),
    "REFRESH_REFUSED": (
        "Stripe refused to start a refresh, and the account does not show why.", "Verify again, after the cooldown if there is one.",
    ),
    "REFRESH_TIMED_OUT": ("The refresh did not settle before the verification had to end.", "Verify again later."),
    "REFRESH_UNAVAILABLE": (
        "Stripe names no time at which this account can be refreshed.",
        "Have the account linked again, or verify the holder by other documents.",
    ),
    "COOLDOWN_BEYOND_DEADLINE": (
        "Stripe allows the next refresh only after the verification's deadline (`MaxWaitSeconds` after the request).",
        "Verify again after `remedy_until`.",
    ),
    "OWNERSHIP_MISSING": (
        "A refresh succeeded and brought no owners, or only owners older than `max_age` allows.", OTHER_DOCUMENTS,
    ),
    "NO_OWNERS": ("The bank's list of owners is empty.", OTHER_DOCUMENTS),
    "NAME_MISSING": ("The claim or the bank's owners have no name that could be compared.", OTHER_DOCUMENTS),
    "REQUIRED_FIELD_MISSING": (
        "The claim or the bank's owner lacks a field that the policy requires, and the score does not give `no_match`.", "Send the field, or verify the holder by other documents.",
    ),
    "TOO_MANY_OWNERS": ("The bank names more owners than the stack can store: more than 2,000, more than 3 MB, or one of more than 300 KB.", OTHER_DOCUMENTS),
    "STRIPE_UNAVAILABLE": ("Stripe did not answer before the verification had to end.", "Verify again later."),
    "STRIPE_CREDENTIALS_REFUSED": (
        "Stripe refused the stack's API key.", "For the operator: correct [the key](../deploying.md#the-api-key). Then verify again.",
    ),
    "CLAIM_ERASED": (
        "The claim was deleted before it was compared, because its retention (`ClaimRetentionDays`) ended.",
        "Send the claim again, as a new verification.",
    ),
    "CANCELLED": ("`DELETE /verifications/{id}` ended the verification.", "If you still want the verification, request it again."),
    "BATCH_STOPPED": (
        "The verification's batch was stopped.", "If you still want the verification, upload the line in another batch.",
    ),
    "MATCHER_FAILED": (
        "The matcher raised an error, which is logged and raises an alarm.", "For the operator: see [runbook.md](../runbook.md).",
    ),
    "UNEXPECTED_ANSWER": (
        "The workflow ended without a known reason.", "Verify again. For the operator: the cause is in the log.",
    ),
}  # fmt: skip
"""For each reason of a verdict `not_verifiable`: when it is given, and what to do."""

FINE = "Nothing to do."
PERSON = "Have a person decide, or ask the user for the name exactly as the bank has it and verify again."
OTHER_PARTY = "Treat the account as another party's account, and do not show the owner's name to the user."
FULL_NAME = "If the claim's name is incomplete, ask the user for the full name and verify again."
SPELLING = "If the verdict is not `match`, ask the user to check the spelling and verify again."
CONTACT = (
    "If the name scores 90 or more, this difference alone lowers the verdict's score by at most one point, because people move and change their "
    "numbers. Below 90, it may cost more. If the field has to agree, require it in the [policy](policy.md)."
)
SAME_HOUSE = (
    "If both addresses have a street and their other parts agree, this difference does not lower the verdict's score. If this part of the address has to agree, require the address in the "
    "[policy](policy.md), with a threshold above this score."
)
FULL_ADDRESS = "If the claim has only a part of the address, ask the user for the whole address."
CAPACITY = "Have a person decide, with a document that shows the user's right to the account."
AUTHORISED = "Have a person decide, with a document that shows how the user and the business are related."


@dataclass(frozen=True, slots=True)
class Compared:
    """A reason of a comparison: an example, which is given to the matcher, and what to do.

    `claim` and `owner` are a name, or the fields of a claim and of an owner. `field`: the field whose result has the reason.
    """

    claim: str | Mapping[str, Any]
    owner: str | Mapping[str, Any]
    todo: str
    field: str = "name"
    policy: Mapping[str, Any] | None = None

    @property
    def claimed(self) -> dict[str, Any]:
        return {"name": self.claim} if isinstance(self.claim, str) else dict(self.claim)

    @property
    def owned(self) -> dict[str, Any]:
        return {"name": self.owner} if isinstance(self.owner, str) else dict(self.owner)

    def verdict(self) -> dict[str, Any]:
        return decide(self.claimed, [self.owned], DEFAULT_POLICY if self.policy is None else Policy.from_request(self.policy)).as_dict()


def company(name: str) -> dict[str, str]:
    return {"business_name": name}


def _contact(field: str, claim: str, owner: str, todo: str) -> Compared:
    owner_field = dict(CONTACTS)[field]
    return Compared({"name": "Alma Colby", field: claim}, {"name": "ALMA COLBY", owner_field: owner}, todo, field)


def _address(claim: str, owner: str, todo: str = CONTACT) -> Compared:
    return _contact("address", claim, owner, todo)


COMPARED: Mapping[str, Mapping[str, Compared]] = {
    "Names of people": {
        "NORMALISED": Compared("Alma Colby", "MRS ALMA COLBY", FINE),
        "SURNAME_FIRST": Compared("Alma Colby", "COLBY ALMA", FINE),
        "MIDDLE_OMITTED": Compared("Alma Colby", "ALMA T COLBY", FINE),
        "MIDDLE_INITIAL": Compared("Walter Edgar Colby", "WALTER E COLBY", FINE),
        "GLUED": Compared("Alma Colby", "ALMACOLBY", FINE),
        "GENERATIONAL_SUFFIX_DIFFERS": Compared(
            "Andrew Colby", "ANDREW COLBY JR.", "Nothing to do, unless father and son both are customers of yours."
        ),
        "ALSO_KNOWN_AS": Compared({"name": "Alma Colby", "aka": ["Alma Venable"]}, "ALMA VENABLE", FINE),
        "SPELLING_VARIANT": Compared("Irina Zhukova", "IRINA ZHUKOV", FINE),
        "SURNAME_IN_PART": Compared({"given": "Ines", "family": "Quesada Barrientos"}, "INES QUESADA", FINE),
        "GIVEN_NAME_MISSING": Compared("Maria Imelda Quesada", "IMELDA QUESADA", FULL_NAME),
        "TYPO": Compared("Jean Dupond", "JEAN DUPONT", SPELLING),
        "NICKNAME": Compared("Bob Miller", "ROBERT MILLER", FINE),
        "INITIALS_ONLY": Compared("John Colby", "MR J COLBY", FULL_NAME),
        "MIDDLE_AS_GIVEN": Compared("Mary Jane Doe", "JANE MARY DOE", FINE),
        "TRUNCATED": Compared("Bartholomew Wintringham", "BARTHOLOMEW WINTRING", FINE),
        "SURNAME_MISSING": Compared("Suresh", "SURESH LNU", FULL_NAME),
        "WORDS_LEFT_OVER": Compared("Helen Lin Ma", "HELEN LIN", PERSON),
        "MIDDLE_DIFFERS": Compared(
            "Walter E Colby", "WALTER H COLBY", "Have a person decide, because relatives often differ in the middle name only."
        ),
        "GIVEN_NAME_SIMILAR": Compared("Tomiyhy Okafor", "TIMOTHY OKAFOR", PERSON),
        "SURNAME_SIMILAR": Compared("Hana Chang", "HANA CHUNG", PERSON),
        "MAIDEN_NAME_LIKELY": Compared(
            "Juan Santos Reyes", "JUAN REYES SANTOS", "Ask whether the user has changed the name. If so, send the former name in `aka`."
        ),
        "SCRIPT_DIFFERS": Compared("田中太郎", "TARO TANAKA", "Ask for the name in the bank's script, send it in `aka`, and verify again."),
        "SPOUSE_TITLE": Compared("Edgar Colby", "MRS EDGAR COLBY", PERSON),
        "CLAIM_NAMES_SEVERAL": Compared(
            "Alma Brodeur and Curtis Venable", "CURTIS VENABLE", "Request a verification for each party. Send other names of a party in `aka`."
        ),
        "CLAIM_CONTRADICTS_ITSELF": Compared(
            {"given": "Edgar", "family": "Colby", "name": "Alma Venable"}, "ALMA VENABLE",
            "Send one name of one party: `name`, or the parts `given`, `middle` and `family`.",
        ),
        "GENERATIONAL_SUFFIX_CONFLICT": Compared("John Colby Jr", "JOHN COLBY SR", OTHER_PARTY),
        "RELATIVE_LIKELY": Compared("John Doe", "MARY DOE", OTHER_PARTY),
        "GIVEN_NAME_DIFFERS": Compared("Wang Wei", "WANG WEN", OTHER_PARTY),
        "SURNAME_DIFFERS": Compared(
            "Walter Colby", "WALTER VENABLE",
            "Treat the account as another party's account. If the user has another surname now, send the former surname in `aka`.",
        ),
        "NAME_DIFFERS": Compared("Walter Colby", "ALMA VENABLE", OTHER_PARTY),
    },
    "Kinds of account": {
        "JOINT_OWNER": Compared("Jane Doe", "JOHN ROE & JANE DOE", "Nothing to do, unless you need the consent of all owners."),
        "TRUST": Compared("Edgar Colby", "EDGAR COLBY REVOCABLE LIVING TRUST", "If the verdict is not `match`, have a person decide."),
        "MINOR_ACCOUNT": Compared("Alma Venable", "ALMA VENABLE CUSTODIAN", "If the verdict is not `match`, have a person decide."),
        "DOING_BUSINESS_AS": Compared(company("Larkmoor Tiles"), "HOLDCO LLC DBA LARKMOOR TILES", FINE),
        "ESTATE": Compared("Edgar Colby", "ESTATE OF EDGAR COLBY", CAPACITY),
        "SIGNER_ONLY": Compared("Alma Venable", "ESTATE OF EDGAR COLBY ALMA VENABLE EXEC", CAPACITY),
        "PARENT_OF_OWNER": Compared("Naresh Gill", "VIKAS GILL S/O NARESH GILL", CAPACITY),
        "BENEFICIARY_ONLY": Compared("Edgar Colby", "ALMA VENABLE TTEE FBO EDGAR COLBY", OTHER_PARTY),
    },
    "Names of businesses": {
        "LEGAL_FORM_DIFFERS": Compared(company("Larkmoor Tiles LLC"), "LARKMOOR TILES", FINE),
        "BUSINESS_ABBREVIATED": Compared("Bolt Beranek & Newman Inc", "BBN CORP", FINE),
        "BUSINESS_WORDS_MISSING": Compared(company("Larkmoor Group"), "LARKMOOR", AUTHORISED),
        "BUSINESS_VS_PERSON": Compared(company("John Smith LLC"), "JOHN SMITH", AUTHORISED),
        "LEGAL_FORM_CONFLICT": Compared(company("Larkmoor Ltd"), "LARKMOOR LLC", AUTHORISED),
        "BUSINESS_NAME_SIMILAR": Compared(company("Larkmoor Printing"), "LARKMOOR PAINTING", SPELLING),
        "BUSINESS_NUMBER_DIFFERS": Compared(company("Larkmoor 411 LLC"), "LARKMOOR 412 LLC", OTHER_PARTY),
        "BUSINESS_NAME_DIFFERS": Compared(company("Harbor Light Bakery"), "HARBOR LIGHT BREWERY", OTHER_PARTY),
    },
    "Addresses": {
        "POSTAL_CODE_ONLY": _address("89501", "NV 89501", FULL_ADDRESS),
        "CITY_ONLY": _address("Reno, NV", "RENO NV", FULL_ADDRESS),
        "UNIT_MISSING": _address("12 Elm St Apt 4, Reno, NV 89501", "12 ELM ST RENO NV 89501", FINE),
        "UNIT_DIFFERS": _address("12 Elm St Apt 4, Reno, NV 89501", "12 ELM ST APT 7 RENO NV 89501", SAME_HOUSE),
        "STREET_TYPE_DIFFERS": _address("12 Elm St, Reno, NV 89501", "12 ELM AVE RENO NV 89501", SAME_HOUSE),
        "STREET_SIMILAR": _address("12 Juniper St, Reno, NV 89501", "12 JUNIPERO ST RENO NV 89501", SAME_HOUSE),
        "DIRECTION_DIFFERS": _address("310 NE Alder St, Portland, OR 97201", "310 SE ALDER ST PORTLAND OR 97201", SAME_HOUSE),
        "HOUSE_NUMBER_MISSING": _address("Elm St, Reno, NV 89501", "12 ELM ST RENO NV 89501", FULL_ADDRESS),
        "HOUSE_NUMBER_DIFFERS": _address("12 Elm St, Reno, NV 89501", "90 ELM ST RENO NV 89501"),
        "STREET_DIFFERS": _address("12 Elm St, Reno, NV 89501", "12 PINE ST RENO NV 89501"),
        "POSTAL_CODE_DIFFERS": _address("12 Elm St, Reno, NV 89501", "12 ELM ST RENO NV 89502", SAME_HOUSE),
        "CITY_DIFFERS": _address("12 Elm St, Reno, NV", "12 ELM ST ELKO NV", SAME_HOUSE),
        "STATE_DIFFERS": _address("12 Elm St, Portland, OR", "12 ELM ST PORTLAND ME", SAME_HOUSE),
        "PO_BOX_DIFFERS": _address("PO Box 12, Reno, NV 89501", "PO BOX 90 RENO NV 89501"),
    },
    "Phone numbers": {
        "PHONE_EXTENSION_DIFFERS": _contact("phone", "415-555-0134 x12", "(415) 555-0134", FINE),
        "PHONE_PARTIAL": _contact("phone", "5550134", "+1 415 555 0134", "Send the number with its area code."),
        "PHONE_DIFFERS": _contact("phone", "415-555-0134", "415-555-0178", CONTACT),
    },
    "E-mail addresses": {
        "EMAIL_PROVIDER_RULE": _contact("email", "alma.colby@gmail.com", "almacolby@googlemail.com", FINE),
        "EMAIL_TAG_DIFFERS": _contact("email", "alma+bank@example.com", "alma@example.com", FINE),
        "EMAIL_SIMILAR": _contact("email", "alma.colby@example.com", "almacolby@example.com", SPELLING),
        "EMAIL_DIFFERS": _contact("email", "alma@example.com", "walter@example.org", CONTACT),
    },
    "All fields together": {
        "CONTACT_AGREES": Compared(
            {"name": "Hana Chang", "email": "hana@example.com"}, {"name": "HANA CHUNG", "email": "hana@example.com"}, FINE, "",
        ),
        "CONTACT_DIFFERS": Compared(
            {"name": "Alma Colby", "phone": "415-555-0134"}, {"name": "ALMA COLBY", "phone": "415-555-0178"}, CONTACT, "",
        ),
        "REQUIRED_FIELD_DIFFERS": Compared(
            {"name": "Alma Colby", "phone": "415-555-0134"}, {"name": "ALMA COLBY", "phone": "415-555-0178"},
            "Check the claim's value of the required field. If the value was wrong, verify again.", "",
            {"version": "phone-1", "required_fields": ["phone"]},
        ),
    },
}  # fmt: skip
"""The reasons of a comparison, by what is compared. The ones after which a score is highest come first."""

NOT_GIVEN = ("COUNTRY_DIFFERS", "GIVEN_NAMES_SWAPPED")
"""Reasons with a sentence that this release's matcher does not give."""

EMPTY_REASONS: Mapping[str, str] = {
    "not_linked_yet": "The session, the intent or the holder has no linked account yet, or the session ended without one. "
    "`detail` says which.",
    "manually_entered": "The account's numbers were typed in by hand, so no bank is linked that could name the owners.",
    "not_a_bank_account": "The payment method is no bank account that was linked with Financial Connections.",
}

STALE: Mapping[str, str] = {
    "ACCOUNT_INACTIVE": "Have the account relinked, or verify another account. The mark is lifted if the account becomes active again.",
    "ACCOUNT_DISCONNECTED": "Have the account linked again, and verify the new account. The mark is never lifted.",
}

ENDINGS: Mapping[reviews.ClosedReason, str] = {
    "ACCOUNT_INACTIVE": "Have the account relinked, then post a new verification.",
    "ACCOUNT_DISCONNECTED": "Have the account linked again, then verify the new account.",
    "OWNERS_CHANGED": "Post a new verification, which compares the new owners.",
    "OWNERS_ERASED": "Post a new verification. Owners are kept for `SnapshotRetentionDays`.",
    "CLAIM_ERASED": "Post a new verification with the claim. Claims are kept for `ClaimRetentionDays`.",
    "NOT_IN_TIME": "Post a new verification, which opens a new review. Reviews expire after `ReviewExpiryDays`.",
}

INTRO = f"""
A reason is a code that says why a verdict has its outcome or score. Codes never change their meaning. Later releases may add codes, so a
client has to accept codes that it does not know. The examples below are computed by matcher {MATCHER_VERSION}; a test compares this page
with the code.
"""

EXPLAIN = """
`titleholder.matching.explain(code)` returns the sentence of a verdict's reason. The sentence contains nothing from the bank, so it may be
shown to the user. For a code of a later release, the function returns a general sentence.

If a verdict has `NORMALISED` and also a reason that says that names or parties differ, such as `BUSINESS_VS_PERSON`, then `NORMALISED` is about the
rest of the names only. The review desk then does not show the sentence of `NORMALISED`, and your pages should not show it either.
"""

COMPARISON = """
A match can have reasons too. They say what differs. The tables show the score that the field gets with the default [policy](policy.md).
The last table shows the score of the whole verdict. A reason marked with * points to another party. With the default policy, a verdict with such a
reason is never `close_match`: below the match threshold it is `no_match`. A policy with its own [`never_close`](policy.md#never_close) replaces
this list of marked reasons. No reason prevents a `match`: only the score and the required fields decide that. All names are invented.
"""


WHERE: Mapping[str, str] = {
    "`verdict.reasons`, of a verdict `not_verifiable`": "The first reason is one from [No comparison](#no-comparison). If it is `NAME_MISSING` "
    "or `REQUIRED_FIELD_MISSING`, the reasons of the comparison follow.",
    "`verdict.reasons`, of any other verdict": "Reasons from [Comparisons](#comparisons), ordered by field and not by importance: first `REQUIRED_FIELD_DIFFERS`, "
    "then those of the name, the address, the phone number and the e-mail address, then those of all fields together. `JOINT_OWNER` comes last if only the number of owners gives it. The list may be empty.",
    "`verdict.fields.*.reasons`": "Reasons from [Comparisons](#comparisons) that are about this field.",
    "members of a verification of several accounts": "No reasons. The verification of each member has a verdict with reasons.",
    "a line of a batch's results": "The reasons of the line's verdict. A rejected line has a text instead: [batches.md](../batches.md).",
    "`stale`, and the event `VerificationStale`": "A reason from [Verdicts that no longer hold](#verdicts-that-no-longer-hold).",
    "`decisions[].reason` and `closed_reason` of a review": "Reasons from [Reviews](#reviews).",
    "`reason` in a problem, `empty_reason` of a session": "Reasons from [Problems](#problems).",
    "`reason` of a step `trouble` in a timeline": "`STRIPE_UNAVAILABLE` or `STRIPE_CREDENTIALS_REFUSED`. The stack then calls Stripe again.",
}


def verdict_reasons() -> dict[str, str]:
    """Every reason of a verdict on this page, with what to do."""
    compared = {reason: known.todo for group in COMPARED.values() for reason, known in group.items()}
    return {reason: todo for reason, (_, todo) in WITHOUT_A_COMPARISON.items()} | compared | dict.fromkeys(NOT_GIVEN, "")


def render() -> str:
    return page(
        "Reasons", INTRO, table(("where", "which reasons"), WHERE.items()), EXPLAIN,
        "## No comparison", "The outcome `not_verifiable` says that the claim could not be judged. The verdict's `remedy` says what you can do:",
        table(("remedy", "meaning"), ((code(action), REMEDIES[action]) for action in get_args(Action))),
        "The remedy is stored with the verdict and does not change later. If the table lists several remedies, the state "
        "of the account decides which one is given. Problems with status 409 or 410 have a remedy too. `GET /accounts/{account}` shows a "
        "remedy for an account that is not active, will not stay active, or lacks the permission `ownership`.",
        table(
            ("reason", "sentence", "given when", "remedy", "what to do"),
            ((code(reason), explain(reason), *_without(reason)) for reason in BY_REASON),
        ),
        "## Comparisons", COMPARISON,
        *(part for title, group in COMPARED.items() for part in (f"### {title}", _compared(group))),
        f"A policy's `never_close` accepts {codes(NOT_GIVEN, ' and ')} too, but the matcher of this release gives neither of them.",
        "## Verdicts that no longer hold",
        "The field `stale` of a verification, and the field `reason` of the event `VerificationStale`, have these values. The verdict itself "
        "does not change.",
        table(
            ("reason", "sentence", "what to do"),
            ((code(reason), explain(reason), STALE[reason]) for reason in REASON_BY_ACCOUNT_STATUS.values()),
        ),
        "## Reviews", "### Decisions",
        "A reviewer sends the reason with the decision. `OTHER` needs a note. A withdrawal has no reason. "
        "What a decision means: [http.md](../http.md#deciding).",
        table(("decision", "reason", "sentence"), _decisions()),
        "### Endings without a decision", "If the `resolution` of a review is `expired`, its `closed_reason` is one of these:",
        table(
            ("reason", "sentence", "what to do"),
            ((code(reason), sentence, ENDINGS[reason]) for reason, sentence in reviews.CLOSED_SENTENCES.items()),
        ),
        "## Problems",
        "If `POST /accounts/{account}/refreshes` is answered with a problem that has a `reason`, the reason is one from [No comparison](#no-comparison). "
        "Two other types of problems have the reasons in the table below. The problem's `detail` and `remedy` say what to do "
        "([problems.md](../problems.md)). In an answer of `GET /sessions/{session}`, `empty_reason` is a reason of "
        "`no-linked-account`, and `relink.failure_reason` is a code of Stripe: `no_account`, `no_authorization` or `other`.",
        table(("type", "reason", "meaning"), [
            *(("`no-linked-account`", code(reason), EMPTY_REASONS[reason]) for reason in get_args(linked_accounts.EmptyReason)),
            *(("`relink-not-available`", code(reason), sentence) for reason, sentence in relinking.REASONS.items()),
        ]),
    )  # fmt: skip


def _without(reason: str) -> tuple[str, str, str]:
    when, todo = WITHOUT_A_COMPARISON[reason]
    return when, codes(BY_REASON[reason][1]), todo


def _compared(group: Mapping[str, Compared]) -> str:
    rows = []
    for reason, known in group.items():
        verdict = known.verdict()
        score = (verdict["fields"][known.field] if known.field else verdict)["score"]
        marked = code(reason) + (" *" if reason in DEFAULT_POLICY.never_close else "")
        rows.append((marked, explain(reason), _shown(known, known.claimed), _shown(known, known.owned), f"{score:g}", known.todo))
    return table(("reason", "sentence", "claim", "bank", "score", "what to do"), rows)


def _shown(known: Compared, party: Mapping[str, Any]) -> str:
    """The part of an example that is compared."""
    names = {known.field, dict(CONTACTS).get(known.field, "")} if known.field not in ("", "name") else set(party)
    shown = {name: _text(value) for name, value in party.items() if name in names}
    if set(shown) <= {"name", "business_name", "raw_address", "address", "phone", "email"} and len(shown) == 1:
        return next(iter(shown.values()))
    return ", ".join(f"{name}: {value}" for name, value in shown.items())


def _text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def _decisions() -> Iterable[tuple[str, str, str]]:
    for decision, reasons in reviews.REASONS.items():
        for reason, sentence in reasons.items():
            yield code(decision), code(reason), sentence
