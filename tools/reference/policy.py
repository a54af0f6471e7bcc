"""docs/reference/policy.md: what a request for a verification may set beside account and claim."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from titleholder.matching import DEFAULT_POLICY
from titleholder.schemas import MAX_AGE_LIMIT
from titleholder.services.verifications import DEFAULT_MAX_AGE_SECONDS
from titleholder.web.models import MAX_WAIT
from tools.reference import ROOT
from tools.reference.markdown import code, codes, page, table


@dataclass(frozen=True, slots=True)
class Entry:
    """A policy's entry: its type with its limits, its unit, and what it does."""

    type: str
    unit: str
    meaning: str


SCORE = "number from 0 to 100"
POINTS = "points"

ENTRIES: Mapping[str, Entry] = {
    "version": Entry(
        "text of 1 to 64 characters", "", "A name for the policy, stored with each verdict (`policy_version`). Required if any other entry is given.",
    ),
    "match_threshold": Entry(
        SCORE, POINTS,
        "A score of at least this number gives `match`, whatever the reasons are, if the required fields agree. **Do not set it below 70**: [below](#thresholds-below-70).",
    ),
    "close_match_threshold": Entry(
        f"{SCORE}, not above `match_threshold`", POINTS,
        "A score of at least this number, but below `match_threshold`, gives `close_match`, unless one of the reasons is in `never_close`. A lower score gives "
        "`no_match`.",
    ),
    "required_fields": Entry(
        "list of `name`, `address`, `phone`, `email`", "",
        "Checked unless the score gives `no_match`. If the claim or the owner lacks a required field, the outcome is `not_verifiable` "
        "(`REQUIRED_FIELD_MISSING`). If the field's score is below its threshold, the outcome is `no_match` (`REQUIRED_FIELD_DIFFERS`). The name "
        "is always required.",
    ),
    "field_thresholds": Entry(
        f"object with the keys `address`, `phone`, `email`; each {SCORE}", POINTS,
        "The score that a required field has to reach. A key that is left out keeps its default.",
    ),
    "never_close": Entry(
        "list of codes of [reasons](reasons.md#comparisons)", "",
        "Reasons that point to another party. A verdict with one of them is never `close_match`: below `match_threshold` it is `no_match`. This "
        "protects owners, because a close match may disclose the owner's name. **A list that you give replaces the default list**: "
        "[below](#never_close).",
    ),
}  # fmt: skip

REFRESH_ROUTE = ROOT / "functions" / "start_refresh" / "routes.py"

INTRO = """
Besides the account and the [claim](claims.md), `POST /verifications` takes these fields. `POST /batches` takes `max_age` and `policy` for all
lines, and a line may have its own `max_age`. `POST /accounts/{account}/refreshes` takes only `max_age`.
"""

MAX_AGE = """
A verdict uses only owners whose refresh was started at most `max_age` seconds before the request, or was pending at that time. If such owners are
stored in the stack, the verdict is given at once. If only Stripe has them, the stack fetches them without a new refresh. Otherwise the verification waits
for a refresh, which Stripe charges for.

- With `max_age: 0`, owners count only if their refresh starts after the request, or is pending when the request arrives. The clocks
  of Stripe and of the stack may differ, so a refresh that started up to 10 seconds before the request counts too. If the account was refreshed shortly before, Stripe allows the next refresh only after a cooldown, which takes hours. **The
  verification then waits for the end of the cooldown.** The call is answered 202, even with `wait`, and the verdict follows when the next
  refresh has settled. If the cooldown ends more than `MaxWaitSeconds` (7 days) after the request, the verification ends at once with the reason
  `COOLDOWN_BEYOND_DEADLINE`.
- Owners can be fresher than you ask for. The verdict's `refreshed_at` says when the owners were refreshed.
- A larger `max_age` costs less, because several verifications of one account share a refresh. If you check 1,000 accounts every day, a
  `max_age` below a day refreshes each account every day: 30,000 refreshes a month, or about $45,000 at $1.50 each. With the default of 30 days,
  each account is refreshed once a month, for about $1,500.
- To check new owners every day, set `max_age` to less than the time between two checks, such as `82800` (23 hours). With `86400`, a check
  exactly 24 hours after the previous one would find the previous owners still fresh, because their refresh started a moment after the previous
  request. The account would then be refreshed only every second day.
"""

POLICY = f"""
A policy is an object. An entry that is left out has its default. Without a policy, the built-in one ({code(DEFAULT_POLICY.version)}) applies.
A policy that differs from the built-in one in any entry needs a `version` of its own. Each verdict stores this version, which shows by which
policy the verdict was given. Give a policy a new version whenever you change it. An unknown entry, a wrong
type or a number out of range is answered 422 `invalid-request`, which names the entry.
"""

EXAMPLE = """
```json
{"version": "payouts-1", "match_threshold": 80, "required_fields": ["phone"], "field_thresholds": {"phone": 75}}
```

This policy gives `match` from 80 points on. It requires a phone number on both sides, and accepts a number without its area code.
How scores are computed: [matching.md](../matching.md).
"""

BELOW_70 = """
With a `match_threshold` below 70, other people's accounts become matches. `never_close` does not prevent this, because it only decides between
`close_match` and `no_match`: **no reason prevents a `match`**.

| score | which names reach it |
| --- | --- |
| 70 to 100 | Names of one party, perhaps with a typing error, a nickname, an initial or a missing part. |
| 50 to 69 | Names that a person should look at. A wife under her husband's name, a parent of the owner, a person who only signs for the owner, and another middle name score up to 69. A relative with the same surname often scores between 50 and 66. |
| below 50 | Names of other parties. |

With `"match_threshold": 50`, for example, the claim "John Doe" matches the owner MARY DOE: the score is 50.19, and the verdict is `match`
with the reason `RELATIVE_LIKELY`. Every threshold from 70 to 100 is safe in this respect. To get fewer close matches without more false
matches, raise `close_match_threshold`, or add reasons to `never_close`.
"""

LENDER: Mapping[str, Any] = {
    "version": "lender-1",
    "never_close": [*DEFAULT_POLICY.never_close, "SPOUSE_TITLE", "PARENT_OF_OWNER", "SIGNER_ONLY", "MAIDEN_NAME_LIKELY"],
}

NEVER_CLOSE = f"""
A list that you give is used as it is. The default reasons are not added to it. With `"never_close": ["SPOUSE_TITLE"]`, the claim "John Doe"
and the owner MARY DOE give `close_match`, although one reason is `RELATIVE_LIKELY`. The owner's name may then be shown to the user. List all
default reasons together with your own. The next policy is for a lender that refuses the accounts of spouses and relatives. It adds four
reasons to the default ones:

```json
{json.dumps(LENDER, indent=2)}
```

With this policy, the following give `no_match` instead of `close_match`: a wife under her husband's name (MRS EDGAR COLBY), a parent or husband
who is only named beside the owner, a person who only acts for the owner, and a surname that may be a former one. The claim of a joint owner
still gives `match`, with the reason `JOINT_OWNER`. A later release may add reasons to the default list. Then compare your
list with it.
"""


def default_of_refreshes() -> int:
    """The `max_age` of a request for a refresh that names none."""
    tree = ast.parse(REFRESH_ROUTE.read_text())
    [found] = [
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DEFAULT_MAX_AGE_SECONDS"
    ]
    return int(ast.literal_eval(found))


def fields() -> Mapping[str, tuple[str, str, str, str]]:
    """For each field of `POST /verifications` beside the target and the claim: type, unit, default, meaning."""
    month, day = (f"{code(str(seconds))} ({_days(seconds)})" for seconds in (DEFAULT_MAX_AGE_SECONDS, default_of_refreshes()))
    return {
        "max_age": (
            f"whole number from 0 to {MAX_AGE_LIMIT} ({_days(MAX_AGE_LIMIT)})", "seconds",
            f"{month}; for `POST /accounts/{{account}}/refreshes` {day}", "The greatest age of the owners that a verdict may use: [below](#max_age).",
        ),
        "wait": (
            f"whole number from 0 to {MAX_WAIT}", "seconds", "`0`: does not wait",
            "How long the call waits for the verdict. If the verdict is known in time, the answer is 200 with it, otherwise 202 without it. If "
            "as many calls as the parameter `WaitingCalls` already wait, a further call is answered at once, so a client has to be ready for 202.",
        ),
        "if_inactive": (
            "`refuse` or `wait`", "", "`refuse`",
            "What to do if the account is inactive and no stored owners are fresh enough. `refuse` ends the verification with the reason "
            "`ACCOUNT_INACTIVE`. `wait` waits until the account is repaired, `MaxWaitSeconds` at most, unless Stripe says that relinking does not repair it: "
            "[http.md](../http.md#wait-for-an-inactive-account). Batches do not accept this field.",
        ),
        "policy": ("object", "", f"the built-in policy {code(DEFAULT_POLICY.version)}", "How scores become an outcome: [below](#policy)."),
    }  # fmt: skip


def render() -> str:
    rows = [(code(name), *described) for name, described in fields().items()]
    return page(
        "Policy", INTRO, table(("field", "type", "unit", "default", "meaning"), rows),
        "## max_age", MAX_AGE, "## policy", POLICY,
        table(
            ("entry", "type", "unit", "default", "meaning"),
            ((code(name), entry.type, entry.unit, _default(name), entry.meaning) for name, entry in ENTRIES.items()),
        ),
        EXAMPLE, "### Thresholds below 70", BELOW_70, "### never_close", NEVER_CLOSE,
    )  # fmt: skip


def _default(name: str) -> str:
    default = DEFAULT_POLICY.as_dict()[name]
    if isinstance(default, dict):
        return ", ".join(f"{code(key)} {value:g}" for key, value in default.items())
    if isinstance(default, list):
        return codes(default) if default else "none"
    return f"{default:g}" if isinstance(default, float) else code(str(default))


def _days(seconds: int) -> str:
    days = timedelta(seconds=seconds).days
    return f"{days} day{'s' if days > 1 else ''}"
