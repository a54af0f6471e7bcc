"""What is taken from an event: its id, its type and the account to read again. Malformed events are set aside."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.event_rule import transformed
from tests.support.template import ROOT, deployed
from titleholder.domain.accounts import AccountRef, Tenant
from titleholder.errors import MalformedEventError
from titleholder.stripe_api.events import (
    GENERATION_FAILURE,
    THIN_TYPES,
    StatedChange,
    StripeEvent,
    from_bus,
    from_object,
    missed_account,
    parse,
    stated_change,
)

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


def missed_event(**changes: Any) -> dict[str, Any]:
    return thin_event(type=GENERATION_FAILURE, related_object=None, **changes)


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


PATHS = ["org_1/acct_9", "org_1/org_2/acct_9", "acct_1/acct_9", "org_1/acct_1/acct_9"]
ODD_CONTEXTS = [
    "", "org_1", "org_1/", "acct_", "acct_9/", "/acct_9", "org_1//acct_9", "acct_9/org_1", "org_/acct_9", "org_1/acct_9\n", "org_1/fca_1",
    "org_1/" * 200 + "acct_9", 1, ["acct_1"], {}, True,
]  # fmt: skip


def parsed(event: Any, mode: Any = "test") -> StripeEvent:
    return parse(json.dumps(event).encode(), mode)


class TestSnapshotEvents:
    def test_name_the_account_to_read_again(self) -> None:
        assert parsed(snapshot_event()) == StripeEvent("evt_1", REFRESHED, "1800000000", AccountRef("fca_1", "test"))

    @pytest.mark.parametrize("name", ["created", "deactivated", "reactivated", "disconnected", "refreshed_ownership"])
    def test_snapshot_events_of_accounts_are_acted_upon(self, name: str) -> None:
        assert parsed(snapshot_event(type=f"financial_connections.account.{name}")).ref == AccountRef("fca_1", "test")

    @pytest.mark.parametrize(
        "type_",
        ["payment_intent.succeeded", "financial_connections.account.refreshed_balance", "financial_connections.session.updated", "x"],
    )
    def test_snapshot_events_of_other_things_are_recorded_only(self, type_: str) -> None:
        assert parsed(snapshot_event(type=type_)).ref is None

    def test_snapshot_events_of_a_connected_account_carry_it(self) -> None:
        assert parsed(snapshot_event(account="acct_9")).ref == AccountRef("fca_1", "test", "acct_9")

    def test_believe_nothing_else_of_the_payload(self) -> None:
        lying = snapshot_event(data={"object": {"id": "fca_1", "ownership_refresh": {"status": "succeeded"}, "status": "disconnected"}})
        assert parsed(lying) == parsed(snapshot_event())

    @pytest.mark.parametrize(
        "data",
        [None, [], "x", 1, {}, {"object": None}, {"object": "fca_1"}, {"object": {}}, {"object": {"id": None}}, {"object": {"id": "cus_1"}},
         {"object": {"id": "fca_1/../x"}}, {"object": {"id": "fca_1#WAITER"}}, {"object": {"id": "fca_" + "x" * 200}}],
    )  # fmt: skip
    def test_snapshot_events_without_a_usable_account_are_malformed(self, data: Any) -> None:
        event = parsed(snapshot_event(data=data))
        assert (event.ref, event.set_aside) == (None, "malformed")

    @pytest.mark.parametrize("connected", ["", "acct_", "acct_/x", "fca_1", 1, {}, ["acct_1"], "org_1", "org_1/acct_1"])
    @pytest.mark.parametrize("type_", [REFRESHED, "payment_intent.succeeded"])
    def test_snapshot_events_with_an_odd_connected_account_are_not_taken_for_the_platforms(self, connected: Any, type_: str) -> None:
        event = parsed(snapshot_event(account=connected, type=type_))
        assert (event.ref, event.set_aside) == (None, "other_context")

    @pytest.mark.parametrize("account", [None, "acct_9"])
    @pytest.mark.parametrize("context", PATHS)
    def test_snapshot_events_of_an_organization_have_the_path_to_their_account(self, account: Any, context: str) -> None:
        event = parsed(snapshot_event(account=account, context=context))
        assert (event.ref, event.context, event.set_aside) == (AccountRef("fca_1", "test", "acct_9"), context, None)

    @pytest.mark.parametrize(
        ("account", "context"),
        [("acct_9", "acct_8"), ("acct_9", "org_1/acct_8"), ("acct_9", "acct_9/acct_8"), ("org_1/acct_9", "org_1/acct_9")],
    )
    def test_snapshot_events_that_name_two_accounts_are_set_aside(self, account: Any, context: str) -> None:
        event = parsed(snapshot_event(account=account, context=context))
        assert (event.ref, event.set_aside) == (None, "other_context")

    @pytest.mark.parametrize("context", ODD_CONTEXTS)
    def test_snapshot_events_of_an_unusable_context_are_set_aside(self, context: Any) -> None:
        event = parsed(snapshot_event(context=context))
        assert (event.ref, event.set_aside) == (None, "other_context")

    @pytest.mark.parametrize(("account", "context"), [("acct_9", "acct_9"), (None, "acct_9"), ("acct_9", None)])
    def test_name_their_connected_account_in_either_way(self, account: Any, context: Any) -> None:
        assert parsed(snapshot_event(account=account, context=context)).ref == AccountRef("fca_1", "test", "acct_9")

    def test_snapshot_events_without_a_known_mode_are_malformed(self) -> None:
        assert parsed(snapshot_event(livemode="false")).set_aside == "malformed"


class TestThinEvents:
    def test_name_the_account_to_read_again(self) -> None:
        assert parsed(thin_event()).ref == AccountRef("fca_1", "test")

    def test_thin_events_of_a_connected_account_carry_it(self) -> None:
        assert parsed(thin_event(context="acct_9")).ref == AccountRef("fca_1", "test", "acct_9")

    def test_failed_refresh_is_acted_upon(self) -> None:
        assert parsed(thin_event(type="v1.financial_connections.account.ownership_refresh_failed")).ref is not None

    @pytest.mark.parametrize("related", [None, [], "fca_1", {}, {"id": None}, {"id": "cus_1"}])
    def test_thin_events_without_a_usable_account_are_malformed(self, related: Any) -> None:
        event = parsed(thin_event(related_object=related))
        assert (event.ref, event.set_aside) == (None, "malformed")

    @pytest.mark.parametrize("context", PATHS)
    def test_thin_events_of_an_organization_have_the_path_to_their_account(self, context: str) -> None:
        event = parsed(thin_event(context=context))
        assert (event.ref, event.context, event.set_aside) == (AccountRef("fca_1", "test", "acct_9"), context, None)

    def test_thin_events_are_stored_under_the_id_of_the_snapshot_event_of_the_same_occurrence(self) -> None:
        assert parsed(thin_event(snapshot_event="evt_9")).key == "evt_9"
        assert parsed(snapshot_event(id="evt_9", snapshot_event="evt_8")).key == "evt_9"

    @pytest.mark.parametrize("twin", [None, "", 1, "fca_1", "evt_", "evt_1#ASIDE", {"id": "evt_9"}])
    def test_thin_events_without_a_usable_one_have_their_own(self, twin: Any) -> None:
        assert parsed(thin_event(snapshot_event=twin)).key == "evt_test_1"

    @pytest.mark.parametrize("changes", [{"type": "v1.other.thing"}, {"related_object": None}, {"livemode": True}, {"context": "org_1"}])
    def test_thin_events_without_effect_are_never_stored_in_the_place_of_one_with_an_effect(self, changes: dict[str, Any]) -> None:
        assert parsed(thin_event(snapshot_event="evt_9", **changes)).key == "evt_test_1"

    @pytest.mark.parametrize("context", ODD_CONTEXTS)
    @pytest.mark.parametrize(
        "type_", ["v1.financial_connections.account.ownership_refresh_succeeded", "v1.billing.meter.error_report_triggered"]
    )
    def test_thin_events_of_an_unusable_context_are_set_aside(self, context: Any, type_: str) -> None:
        event = parsed(thin_event(context=context, type=type_))
        assert (event.ref, event.set_aside) == (None, "other_context")

    def test_type_of_one_kind_in_an_event_of_the_other_is_malformed(self) -> None:
        for event in (parsed(snapshot_event(type=f"v1.{REFRESHED}")), parsed(thin_event(type=REFRESHED))):
            assert (event.ref, event.set_aside) == (None, "malformed")


class TestEventsThatStripeCouldNotMake:
    @pytest.mark.parametrize(
        ("context", "connected", "path"), [(None, None, None), ("acct_9", "acct_9", None), ("org_1/acct_9", "acct_9", "org_1/acct_9")]
    )
    def test_say_for_whom(self, context: Any, connected: Any, path: Any) -> None:
        event = parsed(missed_event(context=context))
        assert (event.ref, event.set_aside, event.missed, event.context) == (None, None, Tenant("test", connected), path)

    def test_are_thin_events(self) -> None:
        assert parsed(snapshot_event(type=GENERATION_FAILURE)).missed is None

    @pytest.mark.parametrize(
        "impact",
        [
            {"event_type": REFRESHED, "related_object": {"id": "fca_1"}},
            {"event_type": f"v1.{REFRESHED}", "related_object": {"id": "fca_1"}},
            {"event_type": REFRESHED, "related_object_id": "fca_1"},
        ],
    )
    def test_name_their_account_in_their_data(self, impact: Any) -> None:
        assert missed_account(missed_event(data={"impact": impact})) == "fca_1"

    @pytest.mark.parametrize(
        "data",
        [None, {}, [], {"impact": None}, {"impact": []}, {"impact": {"event_type": "payment_intent.created", "related_object_id": "fca_1"}},
         {"impact": {"event_type": REFRESHED}}, {"impact": {"event_type": REFRESHED, "related_object": {"id": "cus_1"}}},
         {"impact": {"related_object_id": "fca_1"}}],
    )  # fmt: skip
    def test_may_be_about_something_else(self, data: Any) -> None:
        assert missed_account(missed_event(data=data)) is None


class TestFromAList:
    """A list has only the events of the requested account, so they need not name it."""

    @pytest.mark.parametrize(
        "event", [snapshot_event(), snapshot_event(account="acct_9"), thin_event(), thin_event(context="org_1/acct_9")]
    )
    def test_events_are_the_connected_accounts(self, event: dict[str, Any]) -> None:
        found = from_object(event, "test", listed_for="acct_9")
        assert (found.ref, found.context) == (AccountRef("fca_1", "test", "acct_9"), None)

    @pytest.mark.parametrize("event", [snapshot_event(account="acct_8"), thin_event(context="acct_8"), thin_event(context="acct_9/acct_8")])
    def test_event_of_another_account_is_set_aside(self, event: dict[str, Any]) -> None:
        found = from_object(event, "test", listed_for="acct_9")
        assert (found.ref, found.set_aside) == (None, "other_context")


def test_types_of_thin_events_fit_into_one_listing() -> None:
    assert len(THIN_TYPES) <= 20


class TestModes:
    @pytest.mark.parametrize(("livemode", "mode"), [(True, "test"), (False, "live")])
    @pytest.mark.parametrize("type_", [REFRESHED, "payment_intent.succeeded"])
    def test_event_of_the_other_mode_is_set_aside_with_any_type(self, livemode: bool, mode: str, type_: str) -> None:
        for event in (snapshot_event(livemode=livemode, type=type_), thin_event(livemode=livemode, type=f"v1.{type_}")):
            found = parsed(event, mode)
            assert (found.ref, found.set_aside) == (None, "other_mode")

    def test_malformed_event_of_the_other_mode_raises_no_alarm(self) -> None:
        assert parsed(snapshot_event(livemode=True, data=None)).set_aside == "other_mode"

    def test_live_event_at_a_live_stack_is_about_a_live_account(self) -> None:
        assert parsed(snapshot_event(livemode=True), "live").ref == AccountRef("fca_1", "live")

    def test_event_that_does_not_say_is_of_the_stacks_mode(self) -> None:
        assert parsed(snapshot_event(livemode=None), "live").ref == AccountRef("fca_1", "live")


TRANSFORMER = deployed()["ReceiveEventFromStripe"]["Properties"]["Targets"][0]["InputTransformer"]


class TestFromTheBus:
    """The event that the rule's input transformer shortens has the same meaning as the whole event."""

    def on_the_bus(self, event: dict[str, Any], mode: Any = "test") -> StripeEvent:
        envelope = {"source": "aws.partner/stripe.com/ed_1", "detail-type": event["type"], "detail": event}
        handed_on = transformed(TRANSFORMER, envelope)
        assert handed_on["source"] == envelope["source"]
        return from_bus(handed_on["detail"], mode)

    @pytest.mark.parametrize(
        "event",
        [
            snapshot_event(), snapshot_event(account="acct_9"), snapshot_event(account="org_1/acct_9"), snapshot_event(livemode=True),
            snapshot_event(data={}), snapshot_event(data={"object": {"id": "cus_1"}}),
            snapshot_event(type="financial_connections.account.x"),
            thin_event(), thin_event(context="acct_9"), thin_event(context="org_1/acct_9"), thin_event(livemode=True),
            thin_event(related_object=None), thin_event(snapshot_event="evt_9"), snapshot_event(context="org_1/acct_9"),
            snapshot_event(context="org_1"), missed_event(), missed_event(context="org_1/acct_9"),
            {name: value for name, value in thin_event().items() if name not in ("context", "livemode")},
        ],
    )  # fmt: skip
    def test_event_is_understood_as_the_whole_one_is(self, event: dict[str, Any]) -> None:
        for mode in ("test", "live"):
            assert self.on_the_bus(event, mode) == parsed(event, mode) == from_bus(event, mode)  # type: ignore[arg-type]

    @pytest.mark.parametrize("name", ["receive_event.refreshed_ownership", "receive_event.thin.ownership_refresh_succeeded"])
    def test_sample_loses_what_is_personal(self, name: str) -> None:
        sample = json.loads((ROOT / "events" / f"{name}.json").read_text())
        handed_on = transformed(TRANSFORMER, sample)
        assert from_bus(handed_on["detail"], "test") == from_bus(sample["detail"], "test")
        assert from_bus(handed_on["detail"], "test").ref == AccountRef("fca_try1", "test")
        text = json.dumps(handed_on)
        assert not [word for word in ("Everyday", "6789", "Example Test Bank", "cus_try1") if word in text]

    def test_nothing_else_of_an_event_is_handed_on(self) -> None:
        picked = set(TRANSFORMER["InputPathsMap"].values())
        assert picked == {"$.source"} | {
            f"$.detail.{name}"
            for name in (
                "id",
                "object",
                "type",
                "livemode",
                "created",
                "account",
                "context",
                "related_object.id",
                "snapshot_event",
                "data.object.id",
                "data.object.object",
            )
        }

    def test_event_without_an_id_is_refused(self) -> None:
        with pytest.raises(MalformedEventError):
            self.on_the_bus({"type": REFRESHED})


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
    | st.sampled_from(["fca_1", "acct_1", "org_1/acct_1", "evt_1", REFRESHED, "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.sampled_from(["object", "id"]), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["id", "type", "object", "livemode", "account", "created", "data", "context", "related_object", "snapshot_event"])
EVENTS = st.one_of(st.just(snapshot_event()), st.just(thin_event()), st.just(missed_event()))


def survives(body: bytes) -> None:
    try:
        event = parse(body, "test")
    except MalformedEventError:
        return
    assert event.id.startswith("evt_")
    event.created.encode()
    assert event.ref is None or event.set_aside is None
    assert event.key.startswith("evt_")
    event.key.encode()
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


@pytest.mark.parametrize(
    ("type_", "created", "expected"),
    [
        ("financial_connections.account.refreshed_ownership", "1800000000", StatedChange("settled", 1_800_000_000.0)),
        ("v1.financial_connections.account.ownership_refresh_failed", "2027-01-15T08:00:00.000Z", StatedChange("settled", 1_800_000_000.0)),
        ("financial_connections.account.disconnected", "1800000000", StatedChange("disconnected", 1_800_000_000.0)),
        ("financial_connections.account.created", "1800000000", None),
        ("financial_connections.account.disconnected", "", None),
        ("financial_connections.account.disconnected", "\u00b2", None),
        ("financial_connections.account.disconnected", "0001-01-01", None),
        ("financial_connections.account.disconnected", "soon", None),
    ],
)
def test_what_an_event_tells_of_its_account(type_: str, created: str, expected: StatedChange | None) -> None:
    assert stated_change(type_, created) == expected
