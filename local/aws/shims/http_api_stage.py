"""HTTP APIs' stages show the limits of the template: MiniStack keeps CloudFormation's names where it later reads the API's own."""

from __future__ import annotations

from typing import Any

from ministack.services import apigateway

from local.aws.shims._cloudformation import after_deployment


def apply() -> None:
    after_deployment("AWS::ApiGatewayV2::Stage", configure)


def configure(_: str, props: dict[str, Any]) -> None:
    """Keep a stage's limits, with `ThrottlingRateLimit` as the number `throttlingRateLimit` and so on."""
    stage = apigateway._stages[props["ApiId"]][props.get("StageName", "$default")]
    stage["defaultRouteSettings"] = _limits(props.get("DefaultRouteSettings", {}))
    stage["routeSettings"] = {route: _limits(limits) for route, limits in props.get("RouteSettings", {}).items()}


def _limits(settings: dict[str, Any]) -> dict[str, Any]:
    return {name[:1].lower() + name[1:]: float(value) if "Limit" in name else value for name, value in settings.items()}
