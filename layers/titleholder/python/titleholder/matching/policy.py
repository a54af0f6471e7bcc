"""The rules that turn scores into a verdict: thresholds and required fields, as versioned data."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType

from titleholder.matching.explanations import SENTENCES
from titleholder.matching.result import FIELDS


class PolicyError(ValueError):
    """A policy that cannot be used. ``field`` names the offending entry.

    ``unknown`` is a name in it that is none of ``known``, if that is the problem.
    """

    def __init__(self, field: str, problem: str, unknown: str | None = None, known: Sequence[str] = ()) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem
        self.unknown = unknown
        self.known = known


_FIELD_THRESHOLDS: Mapping[str, float] = MappingProxyType({"address": 70.0, "phone": 70.0, "email": 70.0})
_DISTINCT_PERSON = (
    "RELATIVE_LIKELY",
    "NAME_DIFFERS",
    "GIVEN_NAME_DIFFERS",
    "SURNAME_DIFFERS",
    "GENERATIONAL_SUFFIX_CONFLICT",
    "BENEFICIARY_ONLY",
    "BUSINESS_NUMBER_DIFFERS",
    "BUSINESS_NAME_DIFFERS",
)


@dataclass(frozen=True, slots=True)
class Policy:
    """Thresholds and required fields.

    Attributes
    ----------
    version
        Stored with every verdict. No other policy may have the version of a built-in policy (`from_request`).
    match_threshold, close_match_threshold
        Overall scores, 0 to 100, from which a verdict is ``match`` or ``close_match``. The defaults are those Plaid recommends
        (https://plaid.com/docs/identity/interpreting-identity-match/): 70, and 50 for review.
    required_fields
        Fields among ``address``, ``phone`` and ``email`` that both sides must have (else ``not_verifiable``) and that must reach their
        thresholds (else ``no_match``). The name is always required.
    field_thresholds
        The score that a required field must reach, 0 to 100.
    never_close
        Reasons that point to another party. A score between the thresholds then means ``no_match``, because a close match may disclose
        the owner's name, which must not be disclosed to a relative. A list that is given replaces the default list. No reason prevents a
        ``match``.
    """

    version: str = "2025-1"
    match_threshold: float = 70.0
    close_match_threshold: float = 50.0
    required_fields: tuple[str, ...] = ()
    field_thresholds: Mapping[str, float] = field(default_factory=lambda: _FIELD_THRESHOLDS)
    never_close: tuple[str, ...] = _DISTINCT_PERSON

    def __post_init__(self) -> None:
        """Raise `PolicyError` for an entry that makes no sense."""
        if not isinstance(self.version, str) or not self.version or len(self.version) > 64:
            raise PolicyError("version", "must be a text of 1 to 64 characters")
        _check_score("match_threshold", self.match_threshold)
        _check_score("close_match_threshold", self.close_match_threshold)
        if self.close_match_threshold > self.match_threshold:
            raise PolicyError("close_match_threshold", "must not exceed match_threshold")
        for name in self.required_fields:
            if name not in FIELDS:
                raise PolicyError("required_fields", "must hold only " + ", ".join(FIELDS), name, FIELDS)
        for name, value in self.field_thresholds.items():
            if name not in FIELDS or name == "name":
                raise PolicyError("field_thresholds", "must have only the keys address, phone, email", str(name), tuple(_FIELD_THRESHOLDS))
            _check_score(f"field_thresholds.{name}", value)
        for code in self.never_close:
            if code not in SENTENCES:
                raise PolicyError("never_close", "must hold only known reason codes", code, tuple(SENTENCES))

    @classmethod
    def from_dict(cls, data: object) -> "Policy":
        """Build a policy from JSON-like data; entries that are left out keep their defaults.

        Raises
        ------
        PolicyError
            For anything that is not a mapping, an unknown entry, or a value of the wrong type or range.
        """
        if not isinstance(data, Mapping):
            raise PolicyError("policy", "must be an object")
        known = [f.name for f in fields(cls)]
        values: dict[str, object] = {}
        for key, value in data.items():
            if not isinstance(key, str) or key not in known:
                raise PolicyError(str(key)[:64], "is not an entry of a policy", str(key), tuple(known))
            if key in ("required_fields", "never_close"):
                if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
                    raise PolicyError(key, "must be a list of texts")
                value = tuple(dict.fromkeys(value))
            elif key == "field_thresholds":
                if not isinstance(value, Mapping):
                    raise PolicyError(key, "must be an object")
                value = MappingProxyType({**_FIELD_THRESHOLDS, **value})
            values[key] = value
        if values and "version" not in values:
            # Two different policies must never share a version, or a stored verdict could not be repeated.
            raise PolicyError("version", "is required when any other entry is given")
        return cls(**values)  # type: ignore[arg-type]

    @classmethod
    def from_request(cls, data: object) -> "Policy":
        """Build the policy that a caller sends, like `from_dict`, but stricter.

        Stored policies are read by `from_dict`, because earlier releases accepted policies that this refuses.

        Raises
        ------
        PolicyError
            Also for a policy that has the version of a built-in policy and differs from it in any entry.
        """
        policy = cls.from_dict(data)
        for built_in in BUILT_IN:
            if _spelled(policy.version) == _spelled(built_in.version) and not policy._same_as(built_in):
                raise PolicyError("version", f"{built_in.version} is the version of a built-in policy; a changed policy needs another")
        return policy

    def _same_as(self, other: "Policy") -> bool:
        """Whether both decide alike and have the same version. The order of required fields and reason codes does not count."""
        mine, others = self.as_dict(), other.as_dict()
        for name in ("required_fields", "never_close"):
            mine[name], others[name] = set(getattr(self, name)), set(getattr(other, name))
        return mine == others

    def as_dict(self) -> dict[str, object]:
        """Return the policy as JSON-ready data that `from_dict` accepts."""
        return {
            "version": self.version,
            "match_threshold": self.match_threshold,
            "close_match_threshold": self.close_match_threshold,
            "required_fields": list(self.required_fields),
            "field_thresholds": dict(self.field_thresholds),
            "never_close": list(self.never_close),
        }


def _check_score(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise PolicyError(name, "must be a number from 0 to 100")


def _spelled(version: str) -> str:
    """The version without differences that a reader does not see: white space, other hyphens, other forms of letters and digits."""
    text = unicodedata.normalize("NFKC", version).casefold()
    kept = [char for char in text if unicodedata.category(char)[0] not in "ZC"]
    return "".join("-" if unicodedata.category(char) == "Pd" else str(unicodedata.decimal(char, char)) for char in kept)


DEFAULT_POLICY = Policy()
BUILT_IN = (DEFAULT_POLICY,)
"""Policies whose versions no other policy may have."""
