"""CORS settings of an HTTP API that a template declares take effect: CloudFormation's names become the API's own."""

from __future__ import annotations

from typing import Any


def apply() -> None:
    from ministack.services.cloudformation.provisioners import _RESOURCE_HANDLERS

    handler = _RESOURCE_HANDLERS["AWS::ApiGatewayV2::Api"]
    create_bare, update_bare = handler["create"], handler["update"]

    def create(logical_id: str, props: dict[str, Any], stack: str) -> Any:
        return create_bare(logical_id, renamed(props), stack)

    def update(physical_id: str, old: dict[str, Any], new: dict[str, Any], stack: str, logical_id: str | None = None) -> Any:
        return update_bare(physical_id, renamed(old), renamed(new), stack, logical_id)

    handler.update(create=create, update=update)


def renamed(props: dict[str, Any]) -> dict[str, Any]:
    """The resource's properties with `AllowOrigins` and so on as `allowOrigins`."""
    cors = props.get("CorsConfiguration")
    if not isinstance(cors, dict):
        return props
    return {**props, "CorsConfiguration": {name[:1].lower() + name[1:]: value for name, value in cors.items()}}
