"""`DELETE /accounts/{account}`: erases an account's stored data and disconnects the account at Stripe."""

from __future__ import annotations

import titleholder.cold_start  # noqa: F401

from typing import Annotated, Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Path
from aws_lambda_powertools.metrics import MetricUnit

from titleholder.bootstrap import application
from titleholder.observability import logger, metrics, observed
from titleholder.schemas import AccountId
from titleholder.services import erasure
from titleholder.services.audit import By
from titleholder.timestamps import iso_seconds
from titleholder.web import models, resolver

app = resolver.resolver()


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one HTTP request."""
    return resolver.handle(app, event, context)


@app.delete("/accounts/<account>")
@resolver.openapi_responses({200: models.Erasure}, "account-not-found")
def erase_account(account: Annotated[AccountId, Path()]) -> Response[Any]:
    """Erase an account's owners and claims for good, and disconnect it at Stripe.

    Verdicts stay. Repeating it gives the same answer. The data is erased at once, also while Stripe refuses the key or does not answer.
    Then `disconnected` is false, and the disconnection is retried.
    """
    ref = resolver.tenant(app.current_event, application().settings).ref(account)
    erased = erasure.disconnect(application().dependencies(), ref, By.caller(app.current_event.raw_event))
    logger.info("account erased", extra={"account": ref.account, "disconnected": erased.disconnected})
    metrics.add_metric(name="AccountErased", unit=MetricUnit.Count, value=1)
    shown = models.Erasure(
        account=account, stripe_account=ref.stripe_account, erased_at=iso_seconds(erased.at), disconnected=erased.disconnected
    )
    return resolver.json_response(200, shown)
