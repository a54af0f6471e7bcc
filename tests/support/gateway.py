"""API Gateway in this process: a WSGI application that turns requests into an HTTP API's events and calls the template's functions."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from tests.support.functions import http_event
from tests.support.template import called_by, folder, resources

LARGEST_BODY = 10 * 1024 * 1024
"""API Gateway's own limit."""
LARGEST_EVENT = 6 * 1024 * 1024
"""Lambda's limit for the payload of a call."""

Invoke = Callable[[str, dict[str, Any]], Mapping[str, Any]]


class Routes:
    """The template's routes, and the folder of the function behind each."""

    def __init__(self) -> None:
        self._found = [(method, re.compile(pattern), route, folder) for method, pattern, route, folder in _routes()]

    def find(self, method: str, path: str) -> tuple[str, str, dict[str, str]] | None:
        """The route's key, its function, and the path's parameters. Literal segments precede parameters, as at API Gateway."""
        matches = [
            (route, folder, match.groupdict())
            for wanted, pattern, route, folder in self._found
            if wanted == method and (match := pattern.fullmatch(path))
        ]
        return min(matches, key=lambda match: len(match[2]), default=None)


def _routes() -> Iterator[tuple[str, str, str, str]]:
    for route in resources("AWS::ApiGatewayV2::Route").values():
        method, path = route["RouteKey"].split()
        pattern = re.sub(r"\{([^}]*)\}", r"(?P<\1>[^/]+)", path)
        yield method, pattern, route["RouteKey"], folder(called_by(route))


class Gateway:
    """The application. `invoke` calls a function by its folder; its exceptions are answered as API Gateway does, and kept in `failures`."""

    def __init__(self, invoke: Invoke) -> None:
        self._invoke = invoke
        self._routes = Routes()
        self.failures: list[BaseException] = []
        self.calls = 0

    def __call__(self, environ: Mapping[str, Any], start: Callable[[str, list[tuple[str, str]]], Any]) -> Iterable[bytes]:
        status, headers, body = self._answer(environ)
        named = [(name, value) for name, value in headers.items() if name.lower() != "content-length"]
        start(f"{status} {HTTPStatus(status).phrase}", [*named, ("Content-Length", str(len(body)))])
        return [body]

    def _answer(self, environ: Mapping[str, Any]) -> tuple[int, dict[str, str], bytes]:
        self.calls += 1
        method = str(environ["REQUEST_METHOD"])
        path = str(environ["PATH_INFO"]).encode("latin-1").decode("utf-8", "replace")
        found = self._routes.find(method, path)
        if found is None:
            return _message(404, "Not Found")
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if len(body) > LARGEST_BODY:
            return _message(413, "Request Entity Too Large")
        route, folder, parameters = found
        event = http_event(method, path, body or None, _headers(environ))
        event["routeKey"] = event["requestContext"]["routeKey"] = route
        event["rawQueryString"] = environ.get("QUERY_STRING", "")
        event.pop("queryStringParameters", None)
        query: dict[str, str] = {}
        for name, value in parse_qsl(event["rawQueryString"], keep_blank_values=True, errors="replace"):
            query[name] = f"{query[name]},{value}" if name in query else value
        if query:
            event["queryStringParameters"] = query
        if parameters:
            event["pathParameters"] = parameters
        if len(json.dumps(event)) > LARGEST_EVENT:
            return _message(413, "Request Entity Too Large")
        try:
            answer = self._invoke(folder, event)
        except Exception as error:
            self.failures.append(error)
            return _message(500, "Internal Server Error")
        headers = {str(name): str(value) for name, value in (answer.get("headers") or {}).items()}
        headers |= {str(name): ",".join(map(str, values)) for name, values in (answer.get("multiValueHeaders") or {}).items()}
        text = answer.get("body") or ""
        return answer["statusCode"], headers, base64.b64decode(text) if answer.get("isBase64Encoded") else text.encode()


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    headers = {name[5:].replace("_", "-").lower(): str(value) for name, value in environ.items() if name.startswith("HTTP_")}
    if environ.get("CONTENT_TYPE"):
        headers["content-type"] = str(environ["CONTENT_TYPE"])
    return headers


def _message(status: int, text: str) -> tuple[int, dict[str, str], bytes]:
    return status, {"Content-Type": "application/json"}, json.dumps({"message": text}).encode()
