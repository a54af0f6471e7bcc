"""The review desk on this machine: an embedded stack, an issuer with users of its own, and twelve close matches that wait for a person.

    python -m local.desk

Needs npm and Node.js, for the issuer and for the page's sign-in library. Back ends sign by IAM, people sign in at the issuer.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from local import issuer
from local.aws.paths import BUILD
from local.client import Client
from local.command import CommandError, interruptible
from local.issuer import IssuerError, LocalIssuer, User
from local.ports import AWS_PORT, STRIPE_PORT, check_ports
from local.signals import end_signals
from local.stack import VARIABLES, Say, Stack, running, write_variables
from local.stripe_simulator.options import Options
from local.stripe_simulator.scenarios import ADDRESS, owner
from tools.fetch_npm import FetchError, fetch

ISSUER_PORT = 4568
SEEDING_SECONDS = 120

USERS = (
    User("ada", "ada-reviews", ("review",)),
    User("ben", "ben-reviews", ("review",)),
    User("sam", "sam-supports", ("support",)),
    User("rita", "rita-reads", ("read",)),
)
MEANING = {
    "review": "sees the queue, looks at names, decides",
    "support": "sees the queue and timelines, no names",
    "read": "has a scope of back ends alone, so the issuer refuses the desk",
}
PEOPLES_ROUTES = (
    "GET /reviews",
    "GET /verifications/{id}/timeline",
    "POST /verifications/{id}/comparison",
    "POST /verifications/{id}/review/decisions",
)
CREDENTIALS = (
    "With a token of a person who has signed in on the page:",
    *(f"  {route}" for route in PEOPLES_ROUTES),
    "All other routes: signed with the key test and the secret test, for us-east-1.",
    "To call the routes above from the command line: stop the desk, then `make up REVIEWERS=1`, where all routes are signed.",
)

MARGARET = {"name": "Margaret Testerman"}
SPRINGFIELD = {"line1": "100 Example Street", "line2": "Apt 4", "city": "Springfield", "state": "IL", "postal_code": "62701"}


@dataclass(frozen=True)
class CloseMatch:
    """An account and a claim that a person should compare. `reason`: the one that shows its kind. `scenario`: of the simulator."""

    title: str
    claim: Mapping[str, Any]
    owners: tuple[dict[str, str | None], ...]
    reason: str
    scenario: str = "single_owner"
    policy: Mapping[str, Any] = field(default_factory=dict)


CLOSE_MATCHES: Mapping[str, CloseMatch] = {
    "fca_middle": CloseMatch(
        "Middle names differ, the phone agrees",
        {"name": "Margaret Anne Testerman", "phone": "555-555-0101"},
        (owner("MARGARET LOUISE TESTERMAN", None, "+1 555-555-0101"),),
        "CONTACT_AGREES",
        # It has the longest way, because its refresh has to wait for the end of a cooldown.
        scenario="cooling_down",
        policy={"cooldown_seconds": 5},
    ),
    "fca_nickname": CloseMatch(
        "A nickname, and another middle name",
        {"name": "Bob Quentin Samplewell"},
        (owner("ROBERT THEODORE SAMPLEWELL"),),
        "NICKNAME",
    ),
    "fca_transposed": CloseMatch(
        "Given name and surname the other way round",
        {"name": "Edgar Walter"},
        (owner("EDGAR, WALTER"),),
        "SURNAME_FIRST",
    ),
    "fca_company": CloseMatch(
        "A person against a business of that name",
        {"name": "Walter Colby", "email": "walter.colby@example.com"},
        (owner("WALTER COLBY LLC", "walter.colby@example.com"),),
        "BUSINESS_VS_PERSON",
    ),
    "fca_joint": CloseMatch(
        "A joint owner with another middle name",
        {"name": "Jane Rose Samplewell"},
        (owner("JOHN Q SAMPLEWELL & JANE RUTH SAMPLEWELL"), owner("HAROLD SAMPLEWELL")),
        "JOINT_OWNER",
        scenario="fresh",
    ),
    "fca_unit": CloseMatch(
        "The address lacks its unit, and middle names differ",
        {"name": "Harold James Testerman", "address": SPRINGFIELD},
        (owner("HAROLD JOHN TESTERMAN", None, None, "100 EXAMPLE ST, SPRINGFIELD, IL 62701"),),
        "UNIT_MISSING",
        scenario="prefetch_pending",
    ),
    "fca_surname": CloseMatch("Surnames are similar", {"name": "Walter Venker"}, (owner("WALTER VENKEY"),), "SURNAME_SIMILAR", "fresh"),
    "fca_maiden": CloseMatch(
        "A surname that changed with a marriage",
        {"name": "Margaret Testerman Placeholder"},
        (owner("MARGARET ANNE TESTERMAN"),),
        "MAIDEN_NAME_LIKELY",
    ),
    "fca_trust": CloseMatch("A trust of that name", {"name": "Edgar Colby"}, (owner("EDGAR COLBY IRREVOCABLE TRUST"),), "TRUST", "fresh"),
    "fca_several": CloseMatch(
        "Several fields differ",
        {"name": "Margaret Anne Testerman", "email": "margaret@example.com", "phone": "555-555-0101", "address": SPRINGFIELD},
        (owner("MARGARET LOUISE TESTERMAN", "maggie@example.org", "+1 555-555-0199", "22 FIXTURE AVE, PORTLAND, OR 97201"),),
        "EMAIL_DIFFERS",
        scenario="fresh",
    ),
    "fca_markup": CloseMatch(
        "An owner's name that is markup",
        MARGARET,
        (owner('MARGARET TESTERMAN <img src=x onerror=alert(1)></script>"><svg onload=alert(1)>', None, None, ADDRESS),),
        "MIDDLE_OMITTED",
        scenario="fresh",
    ),
    "fca_hidden": CloseMatch(
        "An owner's name with letters that turn the text and letters without width",
        MARGARET,
        (owner("MARGARET TESTERMAN \u202eNWOD EDISPU\u200b"),),
        "WORDS_LEFT_OVER",
        scenario="fresh",
    ),
}


@dataclass(frozen=True)
class Desk:
    """A running desk. `url`: where its page is."""

    stack: Stack
    issuer: LocalIssuer
    url: str


@contextlib.contextmanager
def running_desk(
    *,
    reviewers: int = 1,
    aws_port: int = 0,
    stripe_port: int = 0,
    issuer_port: int = 0,
    options: Options | None = None,
    var: Path = BUILD,
    say: Say = lambda text: None,
) -> Iterator[Desk]:
    """Start the issuer, then a stack that trusts it, and stop both at the end of the block. Port 0 takes a free one."""
    with LocalIssuer(USERS, port=issuer_port) as issuer_:
        say(f"the issuer is ready: {issuer_.url}")
        parameters = {**issuer_.parameters, "ReviewersNeeded": str(reviewers)}
        with running(aws_port=aws_port, stripe_port=stripe_port, parameters=parameters, options=options, var=var, say=say) as stack:
            url = f"{stack.api_url}/desk"
            issuer_.allow(url)
            yield Desk(stack, issuer_, url)


@contextlib.contextmanager
def variables(stack: Stack, path: Path) -> Iterator[None]:
    """Have shells find the stack during a `with` block."""
    write_variables(stack, path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def seed(stack: Stack) -> dict[str, dict[str, Any]]:
    """Have all close matches verified over HTTP, four at a time. The verifications by account, in the order of `CLOSE_MATCHES`.

    Raises `SeedError` for one that is no close match, or has no review.
    """
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(CLOSE_MATCHES, pool.map(lambda one: verified(stack, *one), CLOSE_MATCHES.items()), strict=True))


def verified(stack: Stack, account: str, case: CloseMatch) -> dict[str, Any]:
    """Link an account and have it verified over HTTP: the verification, which waits for a review. Raises `SeedError` if it does not."""
    assert stack.stripe is not None
    stack.stripe.simulator.link(case.scenario, id=account, owners=case.owners, policy=case.policy)
    client, end = Client(stack.api_url), time.monotonic() + SEEDING_SECONDS
    answer = client.call("POST", "/verifications", {"account": account, "claim": case.claim})
    while answer.status in (200, 202) and answer.body["state"] != "completed" and time.monotonic() < end:
        time.sleep(0.3)
        answer = client.call("GET", f"/verifications/{answer.body['id']}")
    verification: dict[str, Any] = answer.body
    outcome = (verification.get("verdict") or {}).get("outcome")
    if outcome != "close_match" or verification["review"] != "open":
        raise SeedError(f"{account} should wait for a review as a close match: {answer.status} {verification}")
    return verification


class SeedError(CommandError):
    """An account did not become the close match that it should be."""


def prepare() -> None:
    """Fetch what the desk needs from npm. Raises `IssuerError` or `FetchError`, which say what is missing."""
    issuer.check_programs()
    fetch("oauth4webapi")
    issuer.installed()


def serve(reviewers: int) -> int:
    """Run the desk until Ctrl-C or SIGTERM. Raises an error that says what is missing before it starts anything."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    prepare()
    check_ports([ISSUER_PORT, AWS_PORT, STRIPE_PORT])

    def say(text: str) -> None:
        print(text, flush=True)

    say("Starting the issuer and the stack ...")
    with running_desk(
        reviewers=reviewers, aws_port=AWS_PORT, stripe_port=STRIPE_PORT, issuer_port=ISSUER_PORT,
        options=Options(settle_seconds=1.0), say=say,
    ) as desk, variables(desk.stack, VARIABLES):  # fmt: skip
        say("verifying twelve accounts, each of which is a close match ...")
        found = seed(desk.stack)
        say("")
        for account, verification in found.items():
            verdict = verification["verdict"]
            say(f"{verification['id']}  {verdict['score']:4.0f}  {CLOSE_MATCHES[account].title} ({', '.join(verdict['reasons'])})")
        say(f"\nReview desk      {desk.url}")
        say(f"HTTP interface   {desk.stack.api_url}   (for shells: . build/{VARIABLES.name})")
        for line in CREDENTIALS:
            say(f"                 {line}")
        say("\nSign in there as one of these people, or as two of them in two browsers:")
        for user in USERS:
            say(f"  {user.name:6} {user.password:14} {MEANING[user.scopes[0]]}")
        say(f"\nAn approval takes {'two people' if reviewers == 2 else 'one person'}. Stop it: Ctrl-C")
        with contextlib.suppress(KeyboardInterrupt), end_signals() as wait:
            wait()
        say("\nStopping ...")
    say("The desk is stopped.")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="local.desk", description="The review desk with twelve close matches, on this machine.")
    parser.add_argument("--reviewers", type=int, choices=[1, 2], default=1, help="how many people an approval takes")
    try:
        return serve(parser.parse_args().reviewers)
    except (IssuerError, FetchError) as error:
        sys.exit(f"error: {error}\n`make desk` needs npm and Node.js. `make demo` and `make up` need neither.")


if __name__ == "__main__":
    sys.exit(interruptible(main))
