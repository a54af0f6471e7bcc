"""Converts a verdict to other schemes: Plaid, Confirmation of Payee, Verification of Payee, Stripe."""

from typing import Any

from titleholder.matching.result import FIELDS, FieldMatch
from titleholder.matching.verdict import Verdict

_NICKNAME = frozenset(("NICKNAME",))
_ONE_NAME = frozenset(("RELATIVE_LIKELY", "GIVEN_NAME_DIFFERS", "SURNAME_DIFFERS", "GIVEN_NAME_SIMILAR", "SURNAME_SIMILAR"))
_BUSINESS = frozenset(
    (
        "BUSINESS_VS_PERSON",
        "LEGAL_FORM_DIFFERS",
        "LEGAL_FORM_CONFLICT",
        "BUSINESS_ABBREVIATED",
        "BUSINESS_WORDS_MISSING",
        "BUSINESS_NUMBER_DIFFERS",
        "BUSINESS_NAME_DIFFERS",
        "DOING_BUSINESS_AS",
    )
)
_UNREAD = frozenset(("ACCOUNT_INACTIVE", "PERMISSION_MISSING", "REFRESH_FAILED", "NO_OWNERS"))


def _whole(score: float | None) -> int | None:
    # Never round up into a better band: 99.6 is not an exact match.
    return None if score is None else int(score)


def as_plaid(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict in the shape of Plaid's ``/identity/match``: ``legal_name``, ``address``, ``phone_number``, ``email_address``.

    Scores are whole numbers from 0 to 100, ``None`` when either side lacks the field. Shapes and flags are those of
    https://plaid.com/docs/api/products/identity/#identitymatch.
    """
    name, address = verdict.fields["name"], verdict.fields["address"]
    reasons = frozenset(name.reasons)
    both = "NAME_DIFFERS" in reasons
    return {
        "legal_name": {
            "score": _whole(name.score),
            "is_nickname_match": bool(reasons & _NICKNAME) if name.score is not None else None,
            "is_first_name_or_last_name_match": (bool(reasons & _ONE_NAME) and not both) if name.score is not None else None,
            "is_business_name_detected": bool(reasons & _BUSINESS) if name.score is not None else None,
        },
        "address": {"score": _whole(address.score), "is_postal_code_match": _postal_code_match(address)},
        "phone_number": {"score": _whole(verdict.fields["phone"].score)},
        "email_address": {"score": _whole(verdict.fields["email"].score)},
    }


def _postal_code_match(address: FieldMatch) -> bool | None:
    if address.score is None:
        return None
    return "POSTAL_CODE_DIFFERS" not in address.reasons and "CITY_ONLY" not in address.reasons


def as_confirmation_of_payee(verdict: Verdict, claimed_type: str = "person") -> tuple[bool, str | None]:
    """Return Pay.UK's answer: whether the name matched, and the reason code if it did not, or not fully.

    ``None`` for a full match; ``PANM``/``BANM`` for a matching name on a personal or business account if the claim is of the other kind;
    ``MBAM`` (``PAMM``, ``BAMM``) for a close match; ``ANNM`` for no match; ``AC01`` if there was no account to compare.
    Codes as listed in https://docs.weavr.io/transactions/confirmation-of-payee/multi-cop-codes.
    """
    held_as = "P" if claimed_type == "business" else "B"
    other_kind = "BUSINESS_VS_PERSON" in verdict.reasons
    if verdict.outcome == "not_verifiable":
        return False, "AC01" if _UNREAD & set(verdict.reasons) else "ANNM"
    if verdict.outcome == "match":
        if other_kind:
            return False, f"{held_as}ANM"
        # Pay.UK's match tolerates titles, order and initials of middle names, but no typing error or nickname.
        name = verdict.fields["name"].score
        return (True, None) if name is not None and name >= 95 else (False, "MBAM")
    if verdict.outcome == "close_match":
        return False, f"{held_as}AMM" if other_kind else "MBAM"
    return False, "ANNM"


def as_verification_of_payee(verdict: Verdict) -> str:
    """Return the European Payments Council's answer: ``MTCH``, ``CMTC``, ``NMTC`` or ``NOAP``.

    Stricter than the verdict: a nickname or a typing error (name below 95) is a close match there. Codes as listed in
    https://www.banfico.com/epc-vop-name-matching-rules-guide/.
    """
    if verdict.outcome == "not_verifiable":
        return "NOAP"
    if verdict.outcome == "match":
        name = verdict.fields["name"].score
        return "MTCH" if name is not None and name >= 95 else "CMTC"
    return "CMTC" if verdict.outcome == "close_match" else "NMTC"


def as_stripe_ownership_match(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict by field as ``match_score`` and ``missing_data``, the two things Stripe's Ownership Match answers for each.

    The preview of https://docs.stripe.com/financial-connections/ownership-match is not fully public. Scores are given as whole numbers from
    0 to 100, and ``missing_data`` says which side lacks the field.
    """
    return {field: {"match_score": _whole(verdict.fields[field].score), "missing_data": verdict.fields[field].missing} for field in FIELDS}


def may_show_owner_name(verdict: Verdict) -> bool:
    """Return whether the owner's name may be shown to the claimant, if that is permitted at all: for a close match only.

    For a match it is not needed, and for a mismatch it would disclose another person's name.
    """
    return verdict.outcome == "close_match"


def explain_to_claimant(verdict: Verdict, owner_name: str | None = None, permitted: bool = False) -> list[str]:
    """Return the verdict's reasons as sentences, without anything that the bank gave unless it is permitted.

    Parameters
    ----------
    owner_name
        The best owner's name as the bank gave it.
    permitted
        Whether the integrator may disclose it. It is shown for a close match only, never for a mismatch.
    """
    from titleholder.matching.explanations import explain, shown

    sentences = [explain(reason) for reason in shown(verdict.reasons)]
    if permitted and owner_name and may_show_owner_name(verdict):
        sentences.append(f"The name on the account is {owner_name}.")
    return sentences
