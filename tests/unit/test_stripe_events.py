"""What is believed of an event: its id, its type, which account to read again; and that nothing malformed gets further."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from titleholder.accounts import AccountRef
from titleholder.errors import MalformedEventError, ModeMismatchError
from titleholder.stripe_events import StripeEvent, parse

REFRESHED = "financial_connections.account.refreshed_ownership"


def snapshot_event(**changes: Any) -> dict[str, Any]:
    return {
        "id": "evt_1",
        "object": "event",
        "created": 1_800_000_000,
        "livemode": False,
        "type": REFRESHED,
        "data": {"object": {"id": "fca_1", "object": "financial_connections.account", "status": "active"}},
        **changes,
    }


def thin_event(**changes: Any) -> dict[str, Any]:
    return {
        "id": "evt_test_1",
        "object": "v2.core.event",
        "created": "2027-01-15T08:00:00.000Z",
        "livemode": False,
        "type": "v1.financial_connections.account.ownership_refresh_succeeded",
        "context": None,
        "related_object": {"id": "fca_1", "type": "financial_connections.account", "url": "/v1/financial_connections/accounts/fca_1"},
        **changes,
    }


def parsed(event: Any, mode: Any = "test") -> StripeEvent:
    return parse(json.dumps(event).encode(), mode)


class TestSnapshotEvents:
    def test_name_the_account_to_read_again(self) -> None:
        assert parsed(snapshot_event()) == StripeEvent("evt_1", REFRESHED, "1800000000", AccountRef("fca_1", "test"))

    @pytest.mark.parametrize("name", ["created", "deactivated", "reactivated", "disconnected", "refreshed_ownership"])
    def test_of_accounts_are_acted_upon(self, name: str) -> None:
        assert parsed(snapshot_event(type=f"financial_connections.account.{name}")).ref == AccountRef("fca_1", "test")

    @pytest.mark.parametrize(
        "type_",
        ["payment_intent.succeeded", "financial_connections.account.refreshed_balance", "financial_connections.session.updated", "x"],
    )
    def test_of_other_things_are_recorded_only(self, type_: str) -> None:
        assert parsed(snapshot_event(type=type_)).ref is None

    def test_of_a_connected_account_carry_it(self) -> None:
        assert parsed(snapshot_event(account="acct_9")).ref == AccountRef("fca_1", "test", "acct_9")

    def test_believe_nothing_else_of_the_payload(self) -> None:
        lying = snapshot_event(data={"object": {"id": "fca_1", "ownership_refresh": {"status": "succeeded"}, "status": "disconnected"}})
        assert parsed(lying) == parsed(snapshot_event())

    @pytest.mark.parametrize(
        "data",
        [None, [], "x", 1, {}, {"object": None}, {"object": "fca_1"}, {"object": {}}, {"object": {"id": None}}, {"object": {"id": "cus_1"}},
         {"object": {"id": "fca_1/../x"}}, {"object": {"id": "fca_1#WAITER"}}, {"object": {"id": "fca_" + "x" * 200}}],
    )  # fmt: skip
    def test_without_a_usable_account_are_recorded_only(self, data: Any) -> None:
        assert parsed(snapshot_event(data=data)).ref is None

    @pytest.mark.parametrize("connected", ["", "acct_", "acct_/x", "fca_1", 1, {}, ["acct_1"]])
    def test_with_an_odd_connected_account_are_not_taken_for_the_platforms(self, connected: Any) -> None:
        assert parsed(snapshot_event(account=connected)).ref is None


class TestThinEvents:
    def test_name_the_account_to_read_again(self) -> None:
        assert parsed(thin_event()).ref == AccountRef("fca_1", "test")

    def test_of_a_connected_account_carry_it(self) -> None:
        assert parsed(thin_event(context="acct_9")).ref == AccountRef("fca_1", "test", "acct_9")

    def test_failed_refresh_is_acted_upon(self) -> None:
        assert parsed(thin_event(type="v1.financial_connections.account.ownership_refresh_failed")).ref is not None

    @pytest.mark.parametrize("related", [None, [], "fca_1", {}, {"id": None}, {"id": "cus_1"}])
    def test_without_a_usable_account_are_recorded_only(self, related: Any) -> None:
        assert parsed(thin_event(related_object=related)).ref is None

    def test_type_of_one_kind_in_an_event_of_the_other_is_recorded_only(self) -> None:
        assert parsed(snapshot_event(type=f"v1.{REFRESHED}")).ref is None
        assert parsed(thin_event(type=REFRESHED)).ref is None


class TestModes:
    def test_live_event_at_a_test_stack_says_what_to_do(self) -> None:
        with pytest.raises(ModeMismatchError, match="StripeMode=live"):
            parsed(snapshot_event(livemode=True))

    def test_test_event_at_a_live_stack_says_what_to_do(self) -> None:
        with pytest.raises(ModeMismatchError, match="StripeMode=test"):
            parsed(snapshot_event(), "live")

    def test_live_event_at_a_live_stack_is_about_a_live_account(self) -> None:
        assert parsed(snapshot_event(livemode=True), "live").ref == AccountRef("fca_1", "live")

    def test_event_that_does_not_say_is_of_the_stacks_mode(self) -> None:
        assert parsed(snapshot_event(livemode=None), "live").ref == AccountRef("fca_1", "live")


class TestMalformed:
    @pytest.mark.parametrize(
        "body", [b"", b"{", b"\xff", b"nul", b"{'id': 1}", b'{"id":"evt_1"', b"\xef\xbb\xbf{}", b"9" * 10_000, b"1e999999"]
    )
    def test_not_json(self, body: bytes) -> None:
        with pytest.raises(MalformedEventError):
            parse(body, "test")

    @pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"evt_1"', b"true", b"NaN"])
    def test_not_an_object(self, body: bytes) -> None:
        with pytest.raises(MalformedEventError):
            parse(body, "test")

    @pytest.mark.parametrize(
        "id_", [None, "", 1, "evt_", "evt-1", "fca_1", "evt_" + "x" * 200, "evt_é", "evt_1\n", "evt_\ud800", ["evt_1"]]
    )
    def test_id(self, id_: Any) -> None:
        with pytest.raises(MalformedEventError):
            parsed(snapshot_event(id=id_))

    @pytest.mark.parametrize("type_", [None, "", 1, "a b", "x" * 201, "A", "a\x00", "\ud800", {}])
    def test_type(self, type_: Any) -> None:
        with pytest.raises(MalformedEventError):
            parsed(snapshot_event(type=type_))

    @pytest.mark.parametrize("depth", [10, 100, 300, 500, 700, 900, 1_000, 5_000, 100_000])
    def test_deep_nesting_is_survived_wherever_it_stands(self, depth: int) -> None:
        deep = "[" * depth + "]" * depth
        for body in (
            deep,
            f'{{"id":"evt_1","type":"x","created":{deep}}}',
            f'{{"id":"evt_1","type":"{REFRESHED}","data":{{"object":{deep}}}}}',
        ):
            with contextlib.suppress(MalformedEventError):
                assert parse(body.encode(), "test").ref is None

    def test_created_is_kept_short_and_writable(self) -> None:
        assert len(parsed(snapshot_event(created="9" * 500)).created) <= 40
        for created in ("\ud800", "a\x00b", {"a": "\udfff"}, None, True, 1.5, [1]):
            parsed(snapshot_event(created=created)).created.encode()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["fca_1", "acct_1", "evt_1", REFRESHED, "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.sampled_from(["object", "id"]), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["id", "type", "object", "livemode", "account", "created", "data", "context", "related_object"])
EVENTS = st.one_of(st.just(snapshot_event()), st.just(thin_event()))


def survives(body: bytes) -> None:
    try:
        event = parse(body, "test")
    except MalformedEventError:
        return
    assert event.id.startswith("evt_")
    event.created.encode()
    if event.ref is not None:
        assert AccountRef.from_dict(event.ref.as_dict()) == event.ref


@given(st.binary(max_size=200))
@example(b'{"id": 1' + b"0" * 5000 + b"}")
def test_any_bytes_are_parsed_or_refused(body: bytes) -> None:
    survives(body)


@given(JSON)
def test_any_json_is_parsed_or_refused(data: Any) -> None:
    survives(json.dumps(data).encode())


@given(EVENTS, st.dictionaries(KEYS, JSON, max_size=4))
def test_event_with_any_parts_replaced_is_parsed_or_refused(event: dict[str, Any], changes: dict[str, Any]) -> None:
    survives(json.dumps(event | changes).encode())
