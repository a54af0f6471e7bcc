"""One plain sentence for each reason code, fit to be shown to the person it is about."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

SENTENCES: Mapping[str, str] = MappingProxyType(
    {
        # Names
        "NORMALISED": "The parts of the names that were compared are the same apart from capitals, accents, punctuation or a title.",
        "SURNAME_FIRST": "One side has the parts of the name in another order.",
        "NICKNAME": "One given name is a usual short or familiar form of the other.",
        "SPELLING_VARIANT": "A name is written in another usual spelling.",
        "TYPO": "A name differs by one or two letters.",
        "INITIALS_ONLY": "Only an initial could be compared for a given name or surname.",
        "GIVEN_NAME_MISSING": "One side has no given name, or lacks the first of several.",
        "SURNAME_MISSING": "On at least one side, the person's name is a single word.",
        "MIDDLE_OMITTED": "One side lacks a middle name.",
        "MIDDLE_INITIAL": "A middle name is given as an initial on one side.",
        "MIDDLE_AS_GIVEN": "The given name on one side is a middle name on the other.",
        "MIDDLE_DIFFERS": "The middle names differ.",
        "GIVEN_NAME_DIFFERS": "The given names differ.",
        "SURNAME_DIFFERS": "The surnames differ.",
        "SURNAME_IN_PART": "One surname is a part of the other.",
        "SURNAME_SIMILAR": "The surnames are similar, but not the same.",
        "GIVEN_NAME_SIMILAR": "The given names are similar, but not the same.",
        "MAIDEN_NAME_LIKELY": "The surname on one side is a middle name on the other, as after a change of surname.",
        "ALSO_KNOWN_AS": "One of the other names that were given was compared.",
        "TRUNCATED": "The bank's record seems to have been cut off at a fixed length.",
        "GLUED": "Parts of the name are written as one word on one side.",
        "GENERATIONAL_SUFFIX_DIFFERS": "One side has a generational suffix such as Jr. or III that the other lacks.",
        "GENERATIONAL_SUFFIX_CONFLICT": "The generational suffixes, such as Jr. and Sr., are those of different people.",
        "RELATIVE_LIKELY": "The surnames agree, at least in part, and the given names differ, as for relatives.",
        "NAME_DIFFERS": "The names are different.",
        "SCRIPT_DIFFERS": "The names are written in different scripts and could not be compared letter by letter.",
        "WORDS_LEFT_OVER": "A word of one name has no counterpart in the other name.",
        "GIVEN_NAMES_SWAPPED": "Two given names are in the opposite order.",
        "SPOUSE_TITLE": "The name on the account has a title, such as Mrs, that the wife of a man of this name may use.",
        "CLAIM_NAMES_SEVERAL": "The claim names more than one party.",
        "CLAIM_CONTRADICTS_ITSELF": "The names in the claim belong to different parties.",
        # Kinds of account
        "JOINT_OWNER": "One side names more than one owner, and the one that agrees best counts.",
        "TRUST": "One side, or both, names a trust.",
        "BENEFICIARY_ONLY": "The name appears on the account only as a beneficiary, not as an owner.",
        "MINOR_ACCOUNT": "One side, or both, names a minor, or a custodian for a minor.",
        "DOING_BUSINESS_AS": "One side, or both, has a trade name.",
        "ESTATE": "One side, or both, names an estate.",
        "SIGNER_ONLY": "The name appears on the account only as that of a person who acts for the owner.",
        "PARENT_OF_OWNER": "The name appears on the account only as that of the owner's parent or husband.",
        # Businesses
        "BUSINESS_NAME_SIMILAR": "A word in the names of the businesses differs by one letter, which makes it a different word.",
        "BUSINESS_VS_PERSON": "One side names a person and the other a business.",
        "LEGAL_FORM_DIFFERS": "The legal forms of the businesses are written differently, or only one side has one.",
        "LEGAL_FORM_CONFLICT": "The businesses have different legal forms.",
        "BUSINESS_ABBREVIATED": "A business's name is abbreviated on one side.",
        "BUSINESS_WORDS_MISSING": "One side leaves out words of the business's name.",
        "BUSINESS_NUMBER_DIFFERS": "The numbers in the businesses' names differ.",
        "BUSINESS_NAME_DIFFERS": "The businesses' names differ.",
        # Addresses
        "POSTAL_CODE_ONLY": "Of the addresses, only the postal codes could be compared.",
        "POSTAL_CODE_DIFFERS": "The postal codes differ.",
        "CITY_ONLY": "Of the addresses, only the towns or states could be compared.",
        "HOUSE_NUMBER_DIFFERS": "The house numbers differ.",
        "HOUSE_NUMBER_MISSING": "One side has no house number.",
        "STREET_DIFFERS": "The streets differ.",
        "STREET_SIMILAR": "The names of the streets are similar, but spelled differently.",
        "STREET_TYPE_DIFFERS": "The kinds of street, such as Street and Avenue, differ.",
        "DIRECTION_DIFFERS": "The compass directions of the street differ.",
        "UNIT_MISSING": "One side has no apartment or unit.",
        "UNIT_DIFFERS": "The apartments or units differ.",
        "CITY_DIFFERS": "The towns differ.",
        "STATE_DIFFERS": "The states differ.",
        "COUNTRY_DIFFERS": "The countries differ.",
        "PO_BOX_DIFFERS": "The post office boxes differ, or only one side is a post office box.",
        # Phones
        "PHONE_EXTENSION_DIFFERS": "The phone numbers are the same apart from an extension.",
        "PHONE_PARTIAL": "Only a part of the phone number could be compared.",
        "PHONE_DIFFERS": "The phone numbers differ.",
        # E-mails
        "EMAIL_TAG_DIFFERS": "The e-mail addresses are the same apart from a tag after a plus sign or hyphen.",
        "EMAIL_PROVIDER_RULE": "The e-mail addresses are written differently, but reach the same mailbox at this provider.",
        "EMAIL_SIMILAR": "The e-mail addresses are nearly the same.",
        "EMAIL_DIFFERS": "The e-mail addresses differ.",
        # Verdicts
        "NO_OWNERS": "The bank gave no owners for this account.",
        "NAME_MISSING": "One side has no name that can be compared.",
        "REQUIRED_FIELD_MISSING": "A field that has to be compared is missing on one side.",
        "REQUIRED_FIELD_DIFFERS": "A field that has to agree does not agree.",
        "CONTACT_AGREES": "An address, phone number or e-mail address agrees.",
        "CONTACT_DIFFERS": "The address, phone number or e-mail address differs.",
        "ACCOUNT_INACTIVE": "The connection to the account no longer works.",
        "PERMISSION_MISSING": "The permission to read the account's owners was not given.",
        "MATCHER_FAILED": "The comparison failed because of an internal error.",
        "TOO_MANY_OWNERS": "The bank names more owners for this account than can be compared.",
        "BATCH_STOPPED": "The batch was stopped before the bank's record could be compared.",
        "REFRESH_FAILED": "The bank could not be asked for the account's owners.",
        "REFRESH_TIMED_OUT": "The bank did not give the account's owners in time.",
        "REFRESH_UNAVAILABLE": "This bank cannot be asked for the account's owners.",
        "REFRESH_REFUSED": "The request for the account's owners was refused.",
        "COOLDOWN_BEYOND_DEADLINE": "The bank can only be asked again after the deadline of the verification.",
        "OWNERSHIP_MISSING": "The bank gave no recent data about the account's owners.",
        "ACCOUNT_DISCONNECTED": "The account was disconnected.",
        "ACCOUNT_NOT_FOUND": "The account is not known.",
        "STRIPE_UNAVAILABLE": "The account's data could not be reached in time.",
        "STRIPE_CREDENTIALS_REFUSED": "The account's data could not be reached because of a configuration error.",
        "CLAIM_ERASED": "The claim is no longer stored, so it could not be compared.",
        "CANCELLED": "The verification was cancelled.",
        "UNEXPECTED_ANSWER": "The verification ended because of an internal error.",
    }
)

UNLIKE: frozenset[str] = frozenset(
    {
        "SURNAME_FIRST", "NICKNAME", "SPELLING_VARIANT", "TYPO", "INITIALS_ONLY", "GIVEN_NAME_MISSING", "SURNAME_MISSING", "MIDDLE_OMITTED",
        "MIDDLE_INITIAL", "MIDDLE_AS_GIVEN", "MIDDLE_DIFFERS", "GIVEN_NAME_DIFFERS", "SURNAME_DIFFERS", "SURNAME_IN_PART",
        "SURNAME_SIMILAR", "GIVEN_NAME_SIMILAR", "MAIDEN_NAME_LIKELY", "TRUNCATED", "GLUED", "GENERATIONAL_SUFFIX_DIFFERS",
        "GENERATIONAL_SUFFIX_CONFLICT", "RELATIVE_LIKELY", "NAME_DIFFERS", "SCRIPT_DIFFERS", "WORDS_LEFT_OVER", "GIVEN_NAMES_SWAPPED",
        "SPOUSE_TITLE", "CLAIM_NAMES_SEVERAL", "CLAIM_CONTRADICTS_ITSELF", "TRUST", "BENEFICIARY_ONLY", "MINOR_ACCOUNT",
        "DOING_BUSINESS_AS", "ESTATE", "SIGNER_ONLY", "PARENT_OF_OWNER", "BUSINESS_NAME_SIMILAR", "BUSINESS_VS_PERSON",
        "LEGAL_FORM_DIFFERS", "LEGAL_FORM_CONFLICT", "BUSINESS_ABBREVIATED", "BUSINESS_WORDS_MISSING", "BUSINESS_NUMBER_DIFFERS",
        "BUSINESS_NAME_DIFFERS",
    }
)  # fmt: skip
"""Reasons that say that names or parties differ in something. Beside them, NORMALISED is about the rest of the names only."""


def shown(reasons: Sequence[str]) -> tuple[str, ...]:
    """Return the reasons whose sentences may be shown beside each other: without NORMALISED, if another one says that names differ."""
    unlike = not UNLIKE.isdisjoint(reasons)
    return tuple(reason for reason in reasons if not (unlike and reason == "NORMALISED"))


def explain(reason: str) -> str:
    """Return a plain English sentence for the reason code of a verdict. docs/reference/reasons.md lists all of them.

    The sentence never holds anything that the bank gave, so it may be shown to the person who made the claim. A later release may add
    codes, and a page that shows a verdict must not fail because of one, so an unknown code gets a general sentence.

    Raises
    ------
    ValueError
        For a text that does not have the form of a code.
    """
    if known := SENTENCES.get(reason):
        return known
    if not re.fullmatch(r"[A-Z][A-Z0-9_]{0,63}", reason):
        raise ValueError(f"not a reason code: {reason[:64]!r}")
    return f"There is another reason, which this release cannot explain ({reason})."
