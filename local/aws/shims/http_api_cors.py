"""HTTP APIs get the CORS settings of the template: MiniStack keeps CloudFormation's names where it later reads the API's own."""

from __future__ import annotations

from typing import Any

from ministack.services import apigateway

from local.aws.shims._cloudformation import after_deployment


def apply() -> None:
    after_deployment("AWS::ApiGatewayV2::Api", configure)


def configure(api_id: str, props: dict[str, Any]) -> None:
    """Set the API's CORS settings, with `AllowOrigins` as `allowOrigins` and so on."""
    if cors := props.get("CorsConfiguration"):
        apigateway._apis[api_id]["corsConfiguration"] = {name[:1].lower() + name[1:]: value for name, value in cors.items()}
