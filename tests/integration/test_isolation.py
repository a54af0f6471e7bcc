"""A tenant does not learn from an answer whether an id of another tenant exists, and can do nothing with it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from tests.support.functions import http_event
from tests.support.samples import SAMPLES
from tests.support.sandbox import CLAIM, Answer, Sandbox, client
from titleholder.batches import steps
from titleholder.bootstrap import application
from titleholder.domain.accounts import AccountRef

OWNERS = {"Stripe_Account": "acct_owner"}
TENANTS: list[dict[str, str]] = [{}, OWNERS, {"Stripe_Account": "acct_other"}]
ROUTES = sorted(
    name for name, event in SAMPLES.items() if "routeKey" in event and not name.startswith(("desk.", "docs.", "receive_webhook."))
)


def alike(one: Answer, other: Answer) -> bool:
    return (one.status, one.json, one.content_type) == (other.status, other.json, other.content_type)


@pytest.mark.parametrize("path", ["/accounts/{}", "/accounts/{}/owners", "/accounts/{}/snapshots"])
@pytest.mark.parametrize("asker", [{}, {"Stripe_Account": "acct_other"}])
def test_account_of_another_connected_account_is_answered_as_one_that_does_not_exist(
    sandbox: Sandbox, path: str, asker: dict[str, str]
) -> None:
    ref = sandbox.link("fresh", stripe_account="acct_owner")
    body = {"account": ref.account, "claim": dict(CLAIM)}
    assert sandbox.http("POST", "/verifications", body, Stripe_Account="acct_owner").status == 200
    theirs = sandbox.http("GET", path.format(ref.account), **asker)
    unknown = sandbox.http("GET", path.format("fca_" + "9" * (len(ref.account) - 4)), **asker)
    assert (theirs.status, theirs.json) == (unknown.status, {**unknown.json, **{k: v for k, v in theirs.json.items() if k == "account"}})
    assert "owners" not in theirs.json
    assert not theirs.json.get("snapshots")


def test_verifying_anothers_account_is_refused_as_one_that_does_not_exist(sandbox: Sandbox) -> None:
    ref = sandbox.link("fresh", stripe_account="acct_owner")
    answers = [
        sandbox.http("POST", "/verifications", {"account": account, "claim": dict(CLAIM)}, Stripe_Account="acct_other")
        for account in (ref.account, "fca_unknown")
    ]
    assert answers[0].status == 404
    assert alike(*answers)


def single(sandbox: Sandbox, owner: dict[str, str]) -> str:
    ref = sandbox.link("single_owner", stripe_account=owner.get("Stripe_Account"))
    return str(sandbox.http("POST", "/verifications", {"account": ref.account, "claim": dict(CLAIM)}, **owner).json["id"])


def group(sandbox: Sandbox, owner: dict[str, str]) -> Any:
    sandbox.link("single_owner", stripe_account=owner.get("Stripe_Account"), customer="cus_1")
    return sandbox.http("POST", "/verifications", {"customer": "cus_1", "claim": dict(CLAIM)}, **owner).json


def batch(sandbox: Sandbox, owner: dict[str, str]) -> str:
    id = str(sandbox.http("POST", "/batches", {"format": "jsonl"}, **owner).json["id"])
    line = {"account": "fca_1", "claim": dict(CLAIM)}
    client("s3").put_object(Bucket="titleholder-batches", Key=f"manifests/{id}", Body=json.dumps(line).encode())
    return id


def kept(sandbox: Sandbox) -> Any:
    return [item for item in sandbox.items(but=["AUDIT#", "PACE#", "SECRET#"]) if item], sandbox.tokens.started


@pytest.mark.parametrize("owner", TENANTS[:2], ids=["platform", "connected account"])
class TestAnothersId:
    """`TENANTS`, except the owner, ask for data of the owner."""

    def ask(self, sandbox: Sandbox, owner: dict[str, str], method: str, path: str, unknown: str) -> None:
        before = kept(sandbox)
        for asker in TENANTS:
            if asker != owner:
                assert alike(sandbox.http(method, path, **asker), sandbox.http(method, unknown, **asker))
                assert sandbox.http(method, path, **asker).status == 404
        assert kept(sandbox) == before

    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    def test_verification(self, sandbox: Sandbox, owner: dict[str, str], method: str) -> None:
        path = f"/verifications/{single(sandbox, owner)}"
        self.ask(sandbox, owner, method, path, "/verifications/ver_" + "0" * 32)
        assert sandbox.http(method, path, **owner).status == 200

    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    def test_group_and_its_members(self, sandbox: Sandbox, owner: dict[str, str], method: str) -> None:
        made = group(sandbox, owner)
        for id in (made["id"], *(member["verification"] for member in made["members"])):
            self.ask(sandbox, owner, method, f"/verifications/{id}", "/verifications/ver_" + "0" * 32)
            assert sandbox.http(method, f"/verifications/{id}", **owner).status == 200

    @pytest.mark.parametrize(("method", "action"), [("GET", ""), ("DELETE", ""), ("POST", "/start")])
    def test_batch(self, sandbox: Sandbox, owner: dict[str, str], method: str, action: str) -> None:
        path = f"/batches/{batch(sandbox, owner)}{action}"
        self.ask(sandbox, owner, method, path, f"/batches/bat_{'0' * 32}{action}")
        assert sandbox.http(method, path, **owner).status in (200, 202)

    def test_list_of_verifications(self, sandbox: Sandbox, owner: dict[str, str]) -> None:
        made = group(sandbox, owner)
        for query in (f"account={made['members'][0]['account']}", "customer=cus_1"):
            assert sandbox.http("GET", f"/verifications?{query}", **owner).json["verifications"]
            for asker in TENANTS:
                if asker != owner:
                    assert sandbox.http("GET", f"/verifications?{query}", **asker).json["verifications"] == []


def test_id_of_a_stack_that_changed_its_mode_is_unknown() -> None:
    with Sandbox.open() as sandbox:
        id, other = single(sandbox, {}), batch(sandbox, {})
        sandbox.set_secret("api-key", "sk_live_1")
        sandbox.cold_start(STRIPE_MODE="live")
        assert sandbox.http("GET", f"/verifications/{id}").problem == "verification-not-found"
        assert sandbox.http("DELETE", f"/batches/{other}").problem == "batch-not-found"


@pytest.mark.parametrize("name", ROUTES)
def test_every_route_heeds_the_connected_account(sandbox: Sandbox, name: str) -> None:
    event = SAMPLES[name]
    headers = {**event["headers"], "stripe-account": "nonsense"}
    answer = Answer.of(sandbox.function(name.partition(".")[0])({**event, "headers": headers}))
    assert (answer.status, answer.problem) == (422, "invalid-request")
    assert "Stripe-Account" in answer.bad_fields or name.endswith(".invalid")
    assert kept(sandbox) == ([], [])


# -- ids -----------------------------------------------------------------------------------------------------------------------------------


def plain(name: str) -> str:
    """The id that a release without the secret derived."""
    return f"ver_{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def post(sandbox: Sandbox, key: str, **body: Any) -> Answer:
    return sandbox.http("POST", "/verifications", {"claim": dict(CLAIM), **body}, Idempotency_Key=key)


def restarted(sandbox: Sandbox, key: str, **body: Any) -> Answer:
    sandbox.cold_start()
    return post(sandbox, key, **body)


class TestIds:
    def test_ids_cannot_be_derived_from_what_a_caller_may_guess(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(customer="cus_1")
        id, made = post(sandbox, "order-17", account=ref.account).json["id"], post(sandbox, "order-18", customer="cus_1").json
        assert id != plain("test/platform/order-17")
        assert made["id"] != plain("test/platform/order-18")
        assert [member["verification"] for member in made["members"]] != [plain(f"{made['id']}/{ref.key}")]

    def test_ids_of_two_stacks_differ_for_the_same_key(self) -> None:
        ids = set()
        for _ in range(2):
            with Sandbox.open() as sandbox:
                ids.add(post(sandbox, "k", account=sandbox.link(id="fca_1").account).json["id"])
        assert len(ids) == 2

    def test_ids_are_the_same_in_every_environment_and_for_ever(self, sandbox: Sandbox) -> None:
        account = sandbox.link().account
        first = post(sandbox, "k", account=account)
        for days in (0, 1, 30):
            sandbox.wait(days * 86_400)
            assert restarted(sandbox, "k", account=account).json["id"] == first.json["id"]

    def test_secret_is_made_once_where_two_environments_begin_at_the_same_time(self, sandbox: Sandbox) -> None:
        account, other = sandbox.link().account, []

        def second(moment: Any) -> None:
            if (moment.operation, moment.when) == ("put_item", "before") and "SECRET" in str(moment.arguments):
                sandbox.taps.clear()
                other.append(restarted(sandbox, "k", account=account).json["id"])

        sandbox.taps.append(second)
        assert [post(sandbox, "k", account=account).json["id"]] == other

    def test_secret_is_read_once_by_each_environment(self, sandbox: Sandbox) -> None:
        account, reads = sandbox.link().account, []
        post(sandbox, "k", account=account)
        sandbox.wait(2 * 86_400)
        sandbox.cold_start()
        sandbox.taps.append(lambda moment: reads.append(moment) if "SECRET" in str(moment.arguments) and moment.when == "before" else None)
        for number in range(3):
            post(sandbox, f"k{number}", account=account)
        assert [moment.operation for moment in reads] == ["get_item"]

    def test_secret_is_neither_logged_nor_shown(self, sandbox: Sandbox) -> None:
        post(sandbox, "k", account=sandbox.link().account)
        value = sandbox.store.verifications.id_secret().value
        assert len(value) >= 32
        for shown in (str(sandbox.store.verifications.id_secret()), sandbox.outside_the_table()):
            assert value.hex() not in shown
            assert repr(value)[2:-1] not in shown


class TestUpgrade:
    """From a release that derived ids without a secret."""

    @pytest.fixture
    def before(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
        """Until `undo`, ids are derived as they were."""
        monkeypatch.setattr("titleholder.services.verifications._derived", lambda store, name, *_: plain(name))
        return monkeypatch

    def test_repeated_key_finds_its_verification_for_24_hours(self, sandbox: Sandbox, before: pytest.MonkeyPatch) -> None:
        account = sandbox.link().account
        old = post(sandbox, "k", account=account).json["id"]
        assert old == plain("test/platform/k")
        before.undo()
        new = restarted(sandbox, "other", account=account).json["id"]
        sandbox.wait(86_399)
        assert restarted(sandbox, "k", account=account).json["id"] == old
        assert post(sandbox, "k", account=account, max_age=1).problem == "idempotency-conflict"
        sandbox.wait(1)
        assert restarted(sandbox, "k", account=account).json["id"] not in (old, new)
        assert sandbox.http("GET", f"/verifications/{old}").json["id"] == old

    def test_repeated_key_finds_its_group_and_its_members(self, sandbox: Sandbox, before: pytest.MonkeyPatch) -> None:
        sandbox.link(customer="cus_1")
        old = post(sandbox, "k", customer="cus_1").json
        before.undo()
        assert restarted(sandbox, "k", customer="cus_1").json == old

    def test_group_of_which_only_members_were_made_is_completed(self, sandbox: Sandbox, before: pytest.MonkeyPatch) -> None:
        for _ in range(2):
            sandbox.link(customer="cus_1")
        seen = []

        def die(moment: Any) -> None:
            if (moment.operation, moment.when) == ("start_execution", "after"):
                seen.append(moment)
                if len(seen) == 1:
                    raise RuntimeError

        sandbox.taps.append(die)
        assert post(sandbox, "k", customer="cus_1").status == 500
        [first] = sandbox.tokens.started
        before.undo()
        made = restarted(sandbox, "k", customer="cus_1").json
        assert first["name"] in [member["verification"] for member in made["members"]]
        assert len({execution["name"] for execution in sandbox.tokens.started}) == 2

    def test_line_of_a_batch_keeps_its_verification_for_as_long_as_batches_are_kept(
        self, sandbox: Sandbox, before: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def imported(account: str) -> str:
            id = batch(sandbox, {})
            line = {"account": account, "claim": dict(CLAIM)}
            client("s3").put_object(Bucket="titleholder-batches", Key=f"manifests/{id}", Body=json.dumps(line).encode())
            sandbox.http("POST", f"/batches/{id}/start")
            step = sandbox.function("run_batch_step")
            step({"step": "import", "batch": id, "range": {"number": 0, "start": 0, "end": 10_000, "line": 1}})
            return str(next(application().batch_bucket.lines(f"batches/{id}/rows/000000.jsonl"))["verification"])

        # Moto's table cannot take two writers at once.
        monkeypatch.setattr(steps, "WRITERS", 1)
        ref: AccountRef = sandbox.link()
        old = imported(ref.account)
        before.undo()
        monkeypatch.setattr(steps, "WRITERS", 1)
        sandbox.cold_start()
        new = imported(sandbox.link().account)
        for days in (0, 2, 300):
            sandbox.wait(days * 86_400)
            assert imported(ref.account) == old
        assert new != old


# -- tokens --------------------------------------------------------------------------------------------------------------------------------

CLAIM_NAME = "https://titleholder.test/account"


def call(sandbox: Sandbox, claims: dict[str, Any] | None, method: str = "GET", path: str = "/accounts/fca_1", **headers: str) -> Answer:
    event = http_event(method, path, None, headers)
    if claims is not None:
        event["requestContext"]["authorizer"] = {"jwt": {"claims": {"sub": "client-7", **claims}, "scopes": None}}
    name = {"/accounts/fca_1": "erase_account" if method == "DELETE" else "api", "/accounts/fca_1/refreshes": "start_refresh"}
    return Answer.of(sandbox.function(name.get(path) or {"/b": "batches"}.get(path[:2], "linking"))(event))


class TestToken:
    @pytest.fixture
    def bound(self, sandbox: Sandbox) -> Sandbox:
        """A stack whose tokens name the one connected account that they may be used for."""
        sandbox.cold_start(JWT_ACCOUNT_CLAIM=CLAIM_NAME)
        for stripe_account in (None, "acct_mine", "acct_other"):
            sandbox.link("fresh", id="fca_1", stripe_account=stripe_account)
        return sandbox

    @pytest.mark.parametrize("headers", [{}, {"Stripe_Account": "acct_mine"}])
    def test_acts_for_its_own_account_with_the_header_and_without(self, bound: Sandbox, headers: dict[str, str]) -> None:
        answer = call(bound, {CLAIM_NAME: "acct_mine"}, **headers)
        assert (answer.status, answer.json["stripe_account"]) == (200, "acct_mine")

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/accounts/fca_1"),
            ("DELETE", "/accounts/fca_1"),
            ("POST", "/accounts/fca_1/refreshes"),
            ("GET", "/accounts?customer=cus_1"),
            ("GET", "/batches/bat_" + "0" * 32),
        ],
    )
    def test_token_is_refused_for_any_other_account(self, bound: Sandbox, method: str, path: str) -> None:
        answer = call(bound, {CLAIM_NAME: "acct_mine"}, method, path, Stripe_Account="acct_other")
        assert (answer.status, answer.problem) == (403, "connected-account-forbidden")
        assert bound.stripe_calls() == []
        assert kept(bound) == ([], [])

    @pytest.mark.parametrize(
        "claims",
        [None, {}, {CLAIM_NAME: ""}, {CLAIM_NAME: "platform"}, {CLAIM_NAME: "[acct_mine acct_other]"}, {CLAIM_NAME: "acct_mine\n"},
         {CLAIM_NAME: 7}, {"account": "acct_mine"}],
    )  # fmt: skip
    @pytest.mark.parametrize("headers", [{}, {"Stripe_Account": "acct_mine"}])
    def test_token_that_names_no_account_may_act_for_none(self, bound: Sandbox, claims: Any, headers: dict[str, str]) -> None:
        answer = call(bound, claims, **headers)
        assert (answer.status, answer.problem) == (403, "connected-account-forbidden")
        assert bound.stripe_calls() == []

    def test_token_counts_for_nothing_where_no_claim_is_named(self, sandbox: Sandbox) -> None:
        sandbox.link(id="fca_1", stripe_account="acct_other")
        assert call(sandbox, {"account": "acct_mine"}, Stripe_Account="acct_other").status == 200
