"""The documentation in a real browser: the page draws itself without another host, and signs its calls, or sends the caller's token."""

from __future__ import annotations

import json

from playwright.sync_api import Browser, Error

from local.aws.paths import BUILD
from local.stack import Stack
from tests.e2e.issuer import ACCOUNT, Issuer
from tests.e2e.stack_driver import StackDriver

SCREENSHOT = BUILD / "docs-page.png"


def test_page_makes_a_call_and_asks_no_other_host(browser: Browser, by_token: Stack, issuer: Issuer) -> None:
    assert by_token.stripe is not None
    by_token.stripe.simulator.link("fresh", id="fca_page", stripe_account=ACCOUNT)
    hosts: set[str] = set()
    failures: list[str] = []
    page = browser.new_page(viewport={"width": 1280, "height": 1400})
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]) if request.url.startswith("http") else None)
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(f"{by_token.api_url}/docs")
    page.get_by_role("button", name="Authorize").first.click()
    scheme = page.locator(".modal-ux .auth-container", has=page.locator("code", has_text="jwt"))
    scheme.locator("input[type=text]").fill(issuer.token("read"))
    scheme.locator("button.authorize").click()
    page.locator(".modal-ux button.btn-done").first.click()
    operation = page.locator("#operations-accounts-get_account")
    operation.locator(".opblock-summary-control").click()
    operation.locator("tr[data-param-name=account] input").fill("fca_page")
    try:
        stripe_account = operation.locator("tr[data-param-name=Stripe-Account] input")
        stripe_account.fill("", timeout=2_000)
    except Error:
        pass
    with page.expect_response(lambda response: response.url.endswith("/accounts/fca_page")) as answered:
        operation.get_by_role("button", name="Execute").click()
    assert answered.value.status == 200
    assert json.loads(answered.value.text())["account"] == "fca_page"
    operation.locator(".live-responses-table .response-col_status", has_text="200").wait_for()
    operation.scroll_into_view_if_needed()
    SCREENSHOT.parent.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOT)
    page.close()
    assert hosts == {by_token.api_url.split("/")[2]}
    assert failures == []
    assert SCREENSHOT.stat().st_size > 20_000


CALL = """async ([method, path, body]) => {
  const url = location.pathname.replace(/\\/docs$/, path), headers = body ? { "Content-Type": "application/json" } : {};
  const request = await sign({ method, url, headers, body: body ?? undefined });
  const answer = await fetch(request.url, request);
  return [answer.status, await answer.json()];
}"""


def test_page_of_a_stack_with_iam_signs_its_calls(browser: Browser, driver: StackDriver) -> None:
    account = driver.link("fresh")
    page = browser.new_page()
    page.goto(f"{driver.stack.api_url}/docs")
    operation = page.locator("#operations-accounts-get_account")
    operation.locator(".opblock-summary-control").click()
    operation.locator("tr[data-param-name=account] input").fill(account)
    with page.expect_response(lambda response: response.url.endswith(f"/accounts/{account}")) as answered:
        operation.get_by_role("button", name="Execute").click()
    assert answered.value.status == 200
    assert "signed with the key of the stack on this machine" in page.locator("#note").inner_text()
    claim = {"name": "Margaret Testermän"}
    for method, path, body, status in (
        ("POST", "/verifications", {"account": account, "claim": claim, "wait": 10}, 200),
        ("GET", f"/verifications?limit=5&account={account}", None, 200),
        ("GET", "/accounts?customer=cus_1&cursor=a%20b*(')", None, 422),
        ("GET", "/accounts/fca_%C3%A9", None, 422),
    ):
        found, answer = page.evaluate(CALL, [method, path, body and json.dumps(body)])
        assert found == status, answer
    page.close()
