"""docs/reference/simulator.md has every scenario, option and parameter of the simulator."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import Any

import pytest

from local.stripe_simulator import commands, control
from local.stripe_simulator.core import Simulator
from local.stripe_simulator.deliveries import WebhookFault
from local.stripe_simulator.faults import ApiFault
from local.stripe_simulator.options import Options
from local.stripe_simulator.scenarios import MARGARET, SCENARIOS, Policy
from titleholder.matching import decide
from tools.reference import FOLDER, ROOT
from tools.reference.simulator import FAULTS, OWNERS, STARTS, descriptions, owners

PAGE = (FOLDER / "simulator.md").read_text()


def section(title: str) -> set[str]:
    """What the first column of the tables of a section names."""
    [text] = re.findall(rf"^##+ {title}\n(.*?)(?=^## |^### |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("cls", "title"),
    [(Policy, "An account's policy"), (Options, "Options"), (ApiFault, "Faults of API calls"), (WebhookFault, "Faults of webhooks")],
    ids=lambda each: getattr(each, "__name__", None),
)
def test_every_setting_is_described_and_no_other(cls: type, title: str) -> None:
    assert set(descriptions(cls)) == section(title) == {field.name for field in fields(cls)}


def test_page_has_every_scenario_and_every_route() -> None:
    assert section("Scenarios") == set(SCENARIOS)
    assert {scenario.start for scenario in SCENARIOS.values()} == set(STARTS)
    assert section("Control routes") == {route.named for route in control.ROUTES}


def test_scenario_that_the_page_gives_no_owners_of_its_own_has_margaret() -> None:
    for name, scenario in SCENARIOS.items():
        if name not in OWNERS:
            assert scenario.owners == (MARGARET,)
        assert (OWNERS.get(name) == "none") == (not scenario.owners)


def test_claim_with_the_values_of_an_owner_matches() -> None:
    for name, owner in owners().items():
        claim = {"name": name, **{field: owner[key] for field, key in (("email", "email"), ("phone", "phone"), ("address", "raw_address"))}}
        one = claim | ({"name": "John Q Samplewell"} if "&" in name else {})
        assert decide({key: value for key, value in one.items() if value}, [dict(owner)]).outcome == "match", name


def call(simulator: Simulator, method: str, path: str, body: Any) -> tuple[int, Any]:
    answer = control.handle(simulator, method, f"{control.PREFIX}{path}", json.dumps(body).encode())
    return answer.status, answer.json()


@pytest.mark.parametrize("route", [route for route in control.ROUTES if route.example is not None], ids=lambda route: route.named)
def test_example_of_a_route_is_accepted(route: control.Route) -> None:
    simulator = Simulator(lambda: 1_800_000_000.0)
    if route.path != "accounts":
        simulator.link("single_owner", id="fca_1", customer="cus_1")
    known, required = control.arguments_of(route)
    commands.check(route.example, known, required=required)
    if not route.path.startswith(("complete", "relink")):
        id_ = "cus_1" if route.path.startswith("customers") else "fca_1"
        assert call(simulator, route.method, route.path.replace("{id}", id_), route.example)[0] == 200


WITH_FIELDS = [route for route in control.ROUTES if control.arguments_of(route)[0]]


@pytest.mark.parametrize("route", WITH_FIELDS, ids=lambda route: route.named)
def test_misspelt_field_of_any_route_is_refused_with_the_right_one(route: control.Route) -> None:
    simulator = Simulator(lambda: 0.0)
    for name in control.arguments_of(route)[0]:
        wrong = f"{name}x"
        path, body = route.path.replace("{id}", "fca_1"), json.dumps({wrong: 1}).encode()
        answer = control.handle(simulator, route.method, f"{control.PREFIX}{path}" + (f"?{wrong}=1" if route.method == "GET" else ""), body)
        assert answer.status == 400
        assert answer.json()["error"].startswith(f"{wrong}: no such field. Did you mean {name}? Known: ")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"owners": [{"nmae": "X"}]}, "owners[0].nmae: no such field. Did you mean name? Known: name, email, phone, raw_address"),
        ({"owners": [{"name": "X"}, {"name": "Y", "adress": "Z"}]}, "owners[1].adress: no such field. Did you mean raw_address?"),
        ({"owners": ["X"]}, "owners: has to be a list, each an object or null"),
        ({"owners": [{"name": 1}]}, "owners[0].name: has to be a text or null"),
        ({"details": {"last_4": "0001"}}, "details.last_4: no such field. Did you mean last4?"),
        ({"policy": {"outcom": "failed"}}, "policy.outcom: no such field. Did you mean outcome?"),
        ({"policy": {"outcome": "suceeded"}}, "policy.outcome: has to be one of succeeded, failed, never or a list"),
        ({"policy": {"settle_seconds": "2"}}, "policy.settle_seconds: has to be a number or null"),
        ({"livemode": "yes"}, "livemode: has to be true or false"),
        ({"permissions": "ownership"}, "permissions: has to be a list of texts"),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_field_of_an_account_is_refused_precisely(body: dict[str, Any], error: str) -> None:
    simulator = Simulator(lambda: 0.0)
    status, answer = call(simulator, "POST", "accounts", {"scenario": "joint", **body})
    assert (status, answer["error"][: len(error)]) == (400, error)
    assert simulator.states() == []
    if "livemode" not in body:
        simulator.link("joint", id="fca_1")
        status, answer = call(simulator, "POST", "accounts/fca_1", body)
        assert (status, answer["error"][: len(error)]) == (400, error)


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("accounts", {}, 400, "scenario: is missing"),
        ("accounts", {"scenario": "singel_owner"}, 404, "not found: singel_owner: no such scenario. Did you mean single_owner?"),
        ("acounts", {}, 404, "not found: POST /_simulator/acounts: no such route. Did you mean POST accounts?"),
        ("accounts/fca_1", {"action": "deactivat"}, 400, "action: no such action. Did you mean deactivate?"),
        ("faults/api", {"kind": "hangs"}, 400, "kind: has to be one of rate_limit, server_error, conflict, hang, drop, late"),
        ("faults/api", {"kind": "hang", "second": 1}, 400, "second: no such field. Did you mean seconds?"),
        ("faults/webhooks", {"kind": "drop", "acount": "fca_1"}, 400, "acount: no such field. Did you mean account?"),
        ("options", {"settle_second": 1}, 400, "settle_second: no such field. Did you mean settle_seconds?"),
        ("options", {"rate_limit": "25"}, 400, "rate_limit: has to be a whole number or null"),
        ("endpoints", {"url": "http://x", "secret": "s", "scope": "plattform"}, 400, "scope: has to be one of platform, connected, org"),
        ("endpoints", {"url": "http://x"}, 400, "secret: is missing"),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_command_is_refused_precisely(path: str, body: dict[str, Any], status: int, error: str) -> None:
    simulator = Simulator(lambda: 0.0)
    simulator.link("single_owner", id="fca_1")
    got, answer = call(simulator, "POST", path, body)
    assert (got, answer["error"][: len(error)]) == (status, error)


def test_wrong_field_of_what_an_end_user_links_is_refused() -> None:
    with pytest.raises(ValueError, match=r"accounts\[0\]\.scenaro: no such field\. Did you mean scenario\?"):
        Simulator(lambda: 0.0).complete("fcsess_1", accounts=[{"scenaro": "joint"}])


def test_page_says_truly_when_a_lost_webhook_is_noticed_with_make_up() -> None:
    [seconds] = re.findall(r"^SETTLE_TIMEOUT_SECONDS = (\d+)$", (ROOT / "local" / "stack.py").read_text(), re.MULTILINE)
    assert f"SettleTimeoutSeconds ({seconds} s with make up)" in FAULTS
