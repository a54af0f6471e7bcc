"""Organization destinations, and destinations of thin events only."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local.stripe_simulator.deliveries import GENERATION_FAILURE
from tests.support.stripe_client import refusal
from tests.support.stripe_openapi import from_environment

SECRET = "whsec_for_tests_only"
URL = "http://hooks.example.com/stripe"
ACCOUNT = "financial_connections.account"


def delivered(driver: Any) -> list[dict[str, Any]]:
    return [json.loads(delivery.body) for delivery in driver.deliver()]


class TestOrganizationDestinations:
    @pytest.mark.parametrize(("through", "path"), [(False, "org_simulated/acct_1"), (True, "org_simulated/acct_simulated/acct_1")])
    def test_snapshot_events_have_the_path_to_their_account(self, driver: Any, through: bool, path: str) -> None:
        driver.sim.configure(foreign=["acct_foreign"])
        driver.sim.add_endpoint(URL, SECRET, scope="organization", through_platform=through)
        for connected in (None, "acct_1", "acct_foreign"):
            driver.sim.link("inactive", id="fca_1", stripe_account=connected)
        events = delivered(driver)
        assert [(event["context"], event.get("account")) for event in events] == [
            ("org_simulated/acct_simulated", None),
            (path, "acct_1"),
            ("org_simulated/acct_foreign", "acct_foreign"),
        ]
        if document := from_environment():
            for event in events:
                document.validate_event(event)

    def test_thin_events_have_it_too(self, driver: Any) -> None:
        driver.sim.configure(organization="org_1/org_2")
        driver.sim.add_endpoint(URL, SECRET, scope="organization", payload="thin")
        for connected in (None, "acct_1"):
            driver.sim.link("inactive", id="fca_1", stripe_account=connected)
        assert [event["context"] for event in delivered(driver)] == ["org_1/org_2/acct_simulated", "org_1/org_2/acct_1"]

    def test_other_destinations_get_no_events_of_accounts_that_are_not_connected(self, driver: Any) -> None:
        driver.sim.configure(foreign=["acct_foreign"])
        driver.sim.add_endpoint(URL, SECRET, scope="connected")
        driver.sim.link("inactive", id="fca_1", stripe_account="acct_foreign")
        assert delivered(driver) == []


class TestListOfThinEvents:
    @pytest.fixture
    def thin(self, driver: Any) -> Any:
        driver.sim.add_endpoint(URL, SECRET, payload="thin", id="we_thin")
        return driver

    def test_lost_ones_are_listed_there_and_are_not_undelivered_in_v1(self, thin: Any) -> None:
        thin.sim.fail_webhooks("drop", times=None)
        thin.sim.link("inactive", id="fca_1")
        assert delivered(thin) == []
        assert thin.stripe.v1.events.list({"delivery_success": False}).data == []
        (event,) = thin.stripe.v2.core.events.list({"types": [f"v1.{ACCOUNT}.created"]}).data
        assert (event.related_object.id, event.snapshot_event) == ("fca_1", thin.stripe.v1.events.list().data[0].id)

    def test_pages_hold_the_newest_first_and_each_once(self, thin: Any) -> None:
        for number in range(5):
            thin.sim.link("inactive", id=f"fca_{number}")
            thin.wait(10)
        listed = thin.stripe.v2.core.events.list({"limit": 2, "created": {"gte": int(thin.now) - 40}})
        thin.sim.link("inactive", id="fca_new")
        found = [event.related_object.id for event in listed.auto_paging_iter()]
        assert found == ["fca_4", "fca_3", "fca_2", "fca_1"]
        assert [event.related_object.id for event in thin.stripe.v2.core.events.list({"object_id": "fca_3"}).data] == ["fca_3"]

    def test_what_the_document_does_not_know_is_refused(self, thin: Any) -> None:
        def listing(**params: Any) -> Any:
            return refusal(lambda: thin.stripe.v2.core.events.list(params))

        assert listing(delivery_success=False).code == "parameter_unknown"
        assert listing(types=[f"v1.{number}" for number in range(21)]).http_status == 400
        assert listing(page="bm90IGEgcGFnZQ==").http_status == 400
        assert listing(created={"gte": "2027-01-15T08:00:00Z"}).http_status == 400

    def test_times_are_text_where_stripes_sdks_are_right(self, thin: Any) -> None:
        thin.sim.configure(thin_created="text")
        thin.sim.link("inactive", id="fca_1")
        listing = thin.sim.handle
        headers = {"Authorization": "Bearer sk_test_simulated"}
        assert len(listing("GET", "/v2/core/events?created[gte]=2027-01-15T07:00:00Z", headers).json()["data"]) == 1
        assert listing("GET", f"/v2/core/events?created[gte]={int(thin.now)}", headers).status == 400

    def test_connected_accounts_have_lists_of_their_own(self, thin: Any) -> None:
        thin.sim.add_endpoint(URL, SECRET, payload="thin", scope="connected")
        thin.sim.link("inactive", id="fca_1", stripe_account="acct_1")
        assert thin.stripe.v2.core.events.list({}).data == []
        assert [str(event.context) for event in thin.stripe.v2.core.events.list({}, {"stripe_account": "acct_1"}).data] == ["acct_1"]

    def test_events_without_a_destination_are_listed_on_demand(self, driver: Any) -> None:
        driver.sim.configure(list_all_thin_events=True)
        driver.sim.link("inactive", id="fca_1")
        assert len(driver.stripe.v2.core.events.list({}).data) == 1


class TestOtherThinEvents:
    def test_event_that_could_not_be_made_is_listed_nowhere_and_another_one_names_it(self, driver: Any) -> None:
        driver.sim.add_endpoint(URL, SECRET)
        driver.sim.add_endpoint(URL, SECRET, payload="thin")
        driver.sim.fail_webhooks("ungenerated", type=f"{ACCOUNT}.created")
        driver.sim.link("inactive", id="fca_1")
        (event,) = delivered(driver)
        assert (event["type"], event["related_object"], event.get("data")) == (GENERATION_FAILURE, None, None)
        assert driver.stripe.v1.events.list().data == []
        impact = driver.stripe.v2.core.events.retrieve(event["id"]).data.impact
        assert (impact.event_type, impact.related_object.id) == (f"{ACCOUNT}.created", "fca_1")

    def test_any_shape_can_be_sent(self, driver: Any) -> None:
        driver.sim.add_endpoint(URL, SECRET, payload="thin")
        driver.sim.send_thin("v1.balance.changed", related_object={"type": "balance", "url": "/v1/balance"}, changes={"before": {}})
        driver.sim.send_thin("v2.core.something", snapshot_event="evt_1")
        first, second = delivered(driver)
        assert (first["related_object"], first["changes"]) == ({"type": "balance", "url": "/v1/balance"}, {"before": {}})
        assert (second["related_object"], second["snapshot_event"]) == (None, "evt_1")
