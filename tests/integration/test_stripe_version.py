"""One version of Stripe's API: that of the code, of the pinned SDK, of the simulator, of the requests, and of the document that judges."""

from __future__ import annotations

import re

import pytest
import stripe

from local.stripe_simulator.options import GA_VERSION, PREVIEW_VERSION
from tests.support.functions import ROOT
from tests.support.sandbox import Sandbox
from tests.support.stripe_openapi import required
from titleholder.stripe_api.gateway import API_VERSION


def test_version_of_the_code_is_that_of_the_pinned_sdk() -> None:
    pins = (ROOT / "layers/stripe/requirements.in").read_text()
    assert re.findall(r"^stripe==(.+)$", pins, re.MULTILINE) == [stripe.VERSION], "the SDK that is pinned is the one that is installed"
    assert stripe.api_version == API_VERSION


def test_simulator_answers_the_version_of_the_code() -> None:
    assert API_VERSION == GA_VERSION
    assert PREVIEW_VERSION.endswith(".preview")


def test_document_that_judges_is_of_the_version_of_the_code() -> None:
    assert required().stable.version == API_VERSION


@pytest.mark.parametrize("call", ["/accounts/{account}", "/accounts?customer=cus_1"])
def test_every_request_names_the_version(sandbox: Sandbox, call: str) -> None:
    ref = sandbox.link("fresh", customer="cus_1")
    versions = []
    sandbox.taps.append(lambda moment: versions.append(moment.arguments["Stripe-Version"]) if moment.service == "stripe" else None)
    sandbox.http("GET", call.format(account=ref.account))
    assert set(versions) == {API_VERSION}
