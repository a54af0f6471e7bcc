"""docs/reference/simulator.md: scenarios, options and control routes of the Stripe simulator."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, get_type_hints

from local.stripe_simulator import commands, control
from local.stripe_simulator.accounts import FEATURE_OF_PREFETCH
from local.stripe_simulator.deliveries import WebhookFault
from local.stripe_simulator.faults import ApiFault
from local.stripe_simulator.options import Options
from local.stripe_simulator.scenarios import CAUSES, EXPIRY_CAUSES, SCENARIOS, Owner, Policy, Scenario
from tools.reference.markdown import code, codes, page, table, value

STARTS: Mapping[str, str] = {
    "none": "never refreshed",
    "pending": "a prefetch is under way",
    "fresh": "a prefetch has just succeeded",
    "failed": "a prefetch has just failed, so the cooldown runs",
    "old": "old owners (option `old_snapshot_seconds`)",
}

OWNERS: Mapping[str, str] = {
    "single_owner": "Margaret", "joint": "John and Jane", "joint_line": "John and Jane in one name", "business": "the business",
    "trust": "the trust", "partial": "Margaret, a name only", "paged_owners": "12 signatories and Margaret", "nickname": "Margaret as Peggy",
    "relative": "Harold", "no_owners": "none", "failing": "none", "failing_with_reason": "none",
}  # fmt: skip
"""What the owners of a scenario are called on the page. All other scenarios have Margaret."""

INTRO = """
The simulator behaves like Stripe Financial Connections. It is for tests and local development. `make up` starts it on port 12111, together with
the embedded AWS. `python -m local.stripe_simulator --port 4242` starts only the simulator. Its modules, and what it does where Stripe documents
nothing: [local/stripe_simulator](../../local/stripe_simulator/README.md). All persons and businesses are invented.
"""

CONTROL = f"""
The routes below `{control.PREFIX}` at the simulator's address control the simulator. A body is a JSON object. `GET` routes take their fields from
the query string. The answer is JSON: 200 with the result or `{{"done": true}}`, 400 with `error` for a wrong field, 404 for an unknown route, scenario
or object. An unknown field is refused. The error names the known fields, and a similar one if there is one:

```
owners[0].nmae: no such field. Did you mean name? Known: {", ".join(commands.OWNER)}
```

For accounts, sessions, customers and thin events, `stripe_account` names the connected account that the object belongs to (null: the platform), and
`livemode` says whether it is in live mode.
"""

FAULTS = """
A fault applies to the next calls or events that match it, as many as `times` says. `DELETE faults` ends all faults. Two examples for the stack of
`make up` follow. Run all commands in one shell, beginning with these:

```sh
. build/stack.env    # sets API and SIMULATOR, the address without /_simulator
field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
titleholder() { curl -sS --aws-sigv4 aws:amz:us-east-1:execute-api --user test:test "$@"; }
# Verifies an account, and prints the steps of the timeline.
verify() {
  id=$(titleholder "$API/verifications" -H 'Content-Type: application/json' \\
    -d '{"account": "'"$1"'", "claim": {"name": "Margaret Testerman"}}' | field id)
  while [ "$(titleholder "$API/verifications/$id" | field state)" = waiting ]; do sleep 1; done
  titleholder "$API/verifications/$id?timeline=true" | python3 -c '
import json, sys
print(*(step.get("by", step["kind"]) for step in json.load(sys.stdin)["timeline"]["steps"]))'
}
```

**The answer to a refresh call is lost.** Stripe starts the refresh and answers 500. The stack finds that refresh by its webhook or by
reading the account, and does not pay for another refresh. The last command prints 1, the number of refreshes:

```sh
ACCOUNT=$(curl -sS "$SIMULATOR/_simulator/accounts" -d '{"scenario": "single_owner"}' | field id)
curl -sS -o /dev/null "$SIMULATOR/_simulator/faults/api" -d '{"kind": "server_error", "effect": "after", "account": "'"$ACCOUNT"'",
  "path": "/v1/financial_connections/accounts/{account}/refresh"}'
verify "$ACCOUNT"
curl -sS "$SIMULATOR/_simulator/refreshes" | field "$ACCOUNT"
```

**No webhook arrives.** After SettleTimeoutSeconds (30 s with make up) the workflow has the account read again by itself, which starts no other refresh. The timeline shows this as `time_out`:

```sh
ACCOUNT=$(curl -sS "$SIMULATOR/_simulator/accounts" -d '{"scenario": "single_owner"}' | field id)
curl -sS -o /dev/null "$SIMULATOR/_simulator/faults/webhooks" -d '{"kind": "drop", "account": "'"$ACCOUNT"'", "times": null}'
verify "$ACCOUNT"
curl -sS "$SIMULATOR/_simulator/refreshes" | field "$ACCOUNT"
curl -sS -o /dev/null -X DELETE "$SIMULATOR/_simulator/faults"
```

`GET requests/counts` shows the numbers of calls to Stripe, and `GET deliveries` shows all deliveries of webhooks.
"""


def descriptions(cls: type) -> dict[str, str]:
    """What a class says of its fields: the paragraphs `name: text` of its docstring."""
    text = inspect.getdoc(cls) or ""
    found = re.findall(r"^(\w+): (.+(?:\n +.+)*)", text, re.MULTILINE)
    return {name: " ".join(said.split()) for name, said in found}


def owners() -> dict[str, Owner]:
    """The owners of all scenarios, each once, by name."""
    return {str(owner["name"]): owner for scenario in SCENARIOS.values() for owner in scenario.owners}


def render() -> str:
    return page(
        "Stripe simulator", INTRO,
        "## Scenarios",
        "A scenario is a kind of linked account. Link an account of a scenario with `POST accounts`, or in a session with `POST complete/{id}` ([control routes](#control-routes), below `/_simulator/`). A *prefetch* is a "
        "refresh that starts when the account is linked. The last column names what differs from an active account with the default "
        "[policy](#an-accounts-policy).",
        table(
            ("scenario", "what it is", "owners", "starts", "behaves"),
            ((code(name), scenario.title, owners_of(name), STARTS[scenario.start], _behaviour(scenario)) for name, scenario in SCENARIOS.items()),
        ),
        "### Owners", "The owners as the bank reports them. A claim with the values of a row matches. From a row with two people, name only one of them.",
        table(
            ("name", "e-mail", "phone", "address"),
            (
                (name, *(str(owner.get(field) or "") for field in ("email", "phone", "raw_address")))
                for name, owner in owners().items() if not name.startswith("SIGNATORY")
            ),
        ),
        "`paged_owners` also has `SIGNATORY 01` to `SIGNATORY 12`, each with only a name and an e-mail address.",
        "### An account's policy",
        "An account's `policy` says how the account behaves. A field that is left out has the value of the account's scenario.",
        _table_of(Policy),
        "### Other fields of an account",
        table(("field", "values"), [
            ("`owners`", f"A list of objects with {codes(commands.OWNER, ' and ')}, instead of the scenario's owners."),
            ("`details`", f"Fields of Stripe's account object. The account shows them as they are given: {codes(commands.DETAILS)}."),
            ("`permissions`", "A list of `balances`, `ownership`, `payment_method`, `transactions`."),
            ("`prefetch`, `features`", f"A list of {codes(FEATURE_OF_PREFETCH)}."),
            ("`cause`", f"Why an account is inactive: {codes(CAUSES)}. Why an active account is expected to become inactive: {codes(EXPIRY_CAUSES)}."),
            ("`action`, with `cause`", "`relink_required`, or `none` if relinking does not repair it."),
        ]),
        "## Options", "`POST options` changes the options while the simulator runs. `python -m local.stripe_simulator --help` lists those that the command takes.",
        _table_of(Options),
        "## Control routes", CONTROL,
        table(("route", "fields", "does", "example of a body"), _routes()),
        "## Injecting faults", FAULTS,
        "### Faults of API calls", _table_of(ApiFault),
        "### Faults of webhooks", _table_of(WebhookFault),
    )  # fmt: skip


def owners_of(scenario: str) -> str:
    return OWNERS.get(scenario, "Margaret")


def _behaviour(scenario: Scenario) -> str:
    said: list[str] = [] if scenario.status == "active" else [scenario.status]
    said += [f"cause {code(scenario.cause)}"] if scenario.status == "inactive" else []
    if scenario.permissions is not None:
        said.append("permissions null" if scenario.permissions == "null" else f"permissions {codes(scenario.permissions)}")
    default = Policy()
    changed = {each.name: getattr(scenario.policy, each.name) for each in fields(Policy)}
    said += [f"{code(name)} {_value(each)}" for name, each in changed.items() if each != getattr(default, name)]
    return ", ".join(said)


def _table_of(cls: type) -> str:
    said, types = descriptions(cls), get_type_hints(cls)
    rows = (
        (code(each.name), commands.described(types[each.name]), _default(each), said[each.name][0].upper() + said[each.name][1:])
        for each in fields(cls)
    )
    return table(("field", "type", "default", "meaning"), rows)


def _default(field: Field[Any]) -> str:
    if field.default_factory is not MISSING:
        return _value(field.default_factory())
    return "required" if field.default is MISSING else _value(field.default)


def _value(of: Any) -> str:
    if isinstance(of, float) and of.is_integer():
        return value(int(of))
    return value(list(of) if isinstance(of, tuple | frozenset) else of)


def _routes() -> Iterator[tuple[str, str, str, str]]:
    for route in control.ROUTES:
        known, required = control.arguments_of(route)
        shown = (
            "see the table below"
            if route.fields in (ApiFault, WebhookFault)
            else "all options"
            if route.fields
            else _fields(known, required)
        )
        yield code(route.named), shown, route.does, _example(route.example)


def _fields(known: Mapping[str, Any], required: tuple[str, ...]) -> str:
    return ", ".join(f"{code(name)}{' (required)' if name in required else ''}" for name in known)


def _example(example: Mapping[str, Any] | None) -> str:
    return "" if not example else code(json.dumps(example))
