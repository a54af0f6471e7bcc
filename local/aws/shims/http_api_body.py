"""API Gateway makes the routes, integrations and authorizers of an HTTP API that its OpenAPI body declares (what SAM generates)."""

from __future__ import annotations

import json
from typing import Any

METHODS = {"get", "post", "put", "delete", "patch", "head", "options"}
ANY_METHOD = "x-amazon-apigateway-any-method"


def apply() -> None:
    from ministack.services import apigateway
    from ministack.services.cloudformation.provisioners import _RESOURCE_HANDLERS

    handler = _RESOURCE_HANDLERS["AWS::ApiGatewayV2::Api"]
    create_bare, update_bare = handler["create"], handler["update"]

    def create(logical_id: str, props: dict[str, Any], stack: str) -> tuple[str, dict[str, Any]]:
        api_id, attributes = create_bare(logical_id, props, stack)
        if isinstance(props.get("Body"), dict):
            import_body(apigateway, api_id, props["Body"])
        return api_id, attributes

    def update(
        physical_id: str, old: dict[str, Any], new: dict[str, Any], stack: str, logical_id: str | None = None
    ) -> tuple[str, dict[str, Any]]:
        api_id, attributes = update_bare(physical_id, old, new, stack, logical_id)
        if isinstance(new.get("Body"), dict) and (api_id != physical_id or new["Body"] != old.get("Body")):
            import_body(apigateway, api_id, new["Body"])
        return api_id, attributes

    handler.update(create=create, update=update)


def import_body(apigateway: Any, api_id: str, spec: dict[str, Any]) -> None:
    """Replace all routes of the API by those of `spec`. Raises `ValueError` for a part that API Gateway refuses."""
    for store in (apigateway._routes, apigateway._integrations, apigateway._authorizers):
        store[api_id] = {}
    authorizers = _import_authorizers(apigateway, api_id, spec)
    integrations: dict[str, str] = {}
    for path, item in (spec.get("paths") or {}).items():
        for method, operation in item.items():
            if method.lower() not in METHODS and method != ANY_METHOD:
                continue
            integration = operation.get("x-amazon-apigateway-integration") or {}
            identity = json.dumps(integration, sort_keys=True)
            if identity not in integrations:
                integrations[identity] = _import_integration(apigateway, api_id, integration)
            verb = "ANY" if method == ANY_METHOD else method.upper()
            route = {
                "routeKey": "$default" if path == "/$default" else f"{verb} {path}",
                "target": f"integrations/{integrations[identity]}",
            }
            for requirement in operation.get("security", spec.get("security")) or []:
                for name, scopes in requirement.items():
                    if name in authorizers:
                        route |= authorizers[name] | ({"authorizationScopes": scopes} if scopes else {})
            _created(apigateway._create_route(api_id, route), f"{verb} {path}")
    api = apigateway._apis[api_id]
    if cors := spec.get("x-amazon-apigateway-cors"):
        api["corsConfiguration"] = cors
    if api.get("name") in (None, "", "unnamed"):
        api["name"] = str((spec.get("info") or {}).get("title", ""))


def _import_authorizers(apigateway: Any, api_id: str, spec: dict[str, Any]) -> dict[str, dict[str, str]]:
    """What a route has to carry for each security scheme."""
    found: dict[str, dict[str, str]] = {}
    for name, scheme in ((spec.get("components") or {}).get("securitySchemes") or {}).items():
        declared = scheme.get("x-amazon-apigateway-authorizer")
        if not declared:
            if str(scheme.get("x-amazon-apigateway-authtype", "")).lower() == "awssigv4":
                found[name] = {"authorizationType": "AWS_IAM"}
            continue
        jwt = str(declared.get("type", "")).lower() == "jwt"
        source = declared.get("identitySource") or []
        authorizer = {
            "name": name,
            "authorizerType": "JWT" if jwt else "REQUEST",
            "identitySource": [part.strip() for part in source.split(",")] if isinstance(source, str) else source,
            "jwtConfiguration": declared.get("jwtConfiguration") or {},
            "authorizerUri": declared.get("authorizerUri", ""),
            "authorizerPayloadFormatVersion": str(declared.get("authorizerPayloadFormatVersion", "2.0")),
            "enableSimpleResponses": bool(declared.get("enableSimpleResponses")),
            "authorizerResultTtlInSeconds": int(declared.get("authorizerResultTtlInSeconds") or 0),
        }
        made = _created(apigateway._create_authorizer(api_id, authorizer), name)
        found[name] = {"authorizationType": "JWT" if jwt else "CUSTOM", "authorizerId": made["authorizerId"]}
    return found


def _import_integration(apigateway: Any, api_id: str, declared: dict[str, Any]) -> str:
    integration = {
        "integrationType": str(declared.get("type", "aws_proxy")).upper(),
        "integrationUri": declared.get("uri", ""),
        "integrationMethod": declared.get("httpMethod", "POST"),
        "payloadFormatVersion": str(declared.get("payloadFormatVersion", "1.0")),
        "timeoutInMillis": declared.get("timeoutInMillis", 30_000),
    }
    return str(_created(apigateway._create_integration(api_id, integration), "integration")["integrationId"])


def _created(answer: tuple[int, Any, bytes], what: str) -> dict[str, Any]:
    status, _, body = answer
    if status >= 400:
        raise ValueError(f"{what}: {body!r}")
    made: dict[str, Any] = json.loads(body)
    return made
