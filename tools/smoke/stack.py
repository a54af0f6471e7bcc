"""The deployed stack that is checked: its resources, its parameters, and clients for its services and its HTTP interface."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import boto3
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from local.aws.deploy import http_api_url
from local.openapi import gateway_routes, shape
from titleholder.domain.accounts import AccountRef
from titleholder.store import Store
from tools.smoke.report import SmokeError

REQUIRED_OUTPUTS = {"HttpApiId", "WebhookUrl", "StateMachineArn", "BatchStateMachineArn", "TableName", "BucketName"}
DAY_SECONDS = 86_400
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
_UNKNOWN_KEY = ("InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidSignatureException", "AuthFailure")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. `body` is None if it was not JSON."""

    status: int
    body: Any


@dataclass
class Deployed:
    """A deployed stack. `token`: a JSON Web Token for a stack whose callers send one. `patience`: how long work may take, in seconds.
    `local`: whether `make up` started it.

    Make it by `find`.
    """

    name: str
    region: str
    session: Any
    description: Mapping[str, Any]
    resources: Mapping[str, tuple[str, str]]
    token: str | None = None
    patience: float = 45.0
    local: bool = False
    mark: str = field(default_factory=lambda: secrets.token_hex(6))
    _local: threading.local = field(default_factory=threading.local)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _clients: dict[str, Any] = field(default_factory=dict)

    @property
    def outputs(self) -> dict[str, str]:
        return {each["OutputKey"]: each["OutputValue"] for each in self.description.get("Outputs", ())}

    @property
    def parameters(self) -> dict[str, str]:
        return {each["ParameterKey"]: each["ParameterValue"] for each in self.description.get("Parameters", ())}

    @property
    def age(self) -> float:
        """Seconds since the stack was created, or imported."""
        return time.time() - float(self.description["CreationTime"].timestamp())

    @property
    def mode(self) -> Any:
        return self.parameters["StripeMode"]

    def client(self, service: str) -> Any:
        """A client of an AWS service, made once. boto3's sessions are not safe for threads, its clients are."""
        with self._lock:
            if service not in self._clients:
                self._clients[service] = _client(self.session, service, self.region)
            return self._clients[service]

    def physical(self, logical: str) -> str | None:
        """The physical id of a resource; None if the stack has no such resource."""
        return self.resources.get(logical, (None, None))[1]

    def of_type(self, *types: str) -> dict[str, str]:
        """Physical ids by logical ids."""
        return {name: id_ for name, (type_, id_) in sorted(self.resources.items()) if type_ in types}

    @property
    def functions(self) -> dict[str, str]:
        return self.of_type("AWS::Lambda::Function")

    def map_child(self) -> str:
        """The ARN that executions of the children of the map `Verify` have as their state machine."""
        return f"{self.outputs['BatchStateMachineArn']}/Verify"

    @cached_property
    def account(self) -> str:
        return self.outputs["StateMachineArn"].split(":")[4]

    @cached_property
    def api_url(self) -> str:
        gateway = self.client("apigatewayv2")
        if "amazonaws" not in gateway.meta.endpoint_url:
            return http_api_url(gateway.meta.endpoint_url.rstrip("/"), self.outputs["HttpApiId"])
        if self.parameters.get("TruststoreUri"):
            # Unlike the host name of your own, API Gateway's asks for no client certificate.
            return str(gateway.get_api(ApiId=self.outputs["HttpApiId"])["ApiEndpoint"])
        return self.outputs["ApiUrl"]

    @property
    def needs_certificate(self) -> bool:
        """Whether the only way in asks for a client certificate."""
        return bool(self.parameters.get("TruststoreUri")) and self.parameters.get("DisableExecuteApiEndpoint") == "true"

    @property
    def out_of_reach(self) -> tuple[str, str] | None:
        """Why the smoke test cannot make calls that the stack would accept, and what to do about it."""
        if self.needs_certificate:
            return "callers need a client certificate here", "call a route with one yourself: docs/edge.md"
        if self.by_token and not self.token:
            return (
                "callers send JSON Web Tokens here",
                "repeat with TOKEN=<a token with the scopes read, verify and erase>: docs/edge.md#a-token-for-the-smoke-test",
            )
        return None

    @property
    def by_token(self) -> bool:
        """Whether callers send JSON Web Tokens instead of signing for IAM."""
        return bool(self.parameters.get("JwtIssuer"))

    def by_peoples_token(self, route: str) -> bool:
        """Whether people call a route, with tokens of an issuer of their own."""
        return bool(self.parameters.get("ReviewIssuer")) and gateway_routes()[shape(route)].people

    @cached_property
    def store(self) -> Store:
        def no_cipher() -> Any:
            raise AssertionError("the smoke test encrypts nothing")

        return Store(
            self.client("dynamodb"),
            self.outputs["TableName"],
            keys_table=self.physical("KeysTable") or "",
            cipher=no_cipher,
            clock=time.time,
        )

    @property
    def ref(self) -> AccountRef:
        """An account that Stripe does not know."""
        return AccountRef(f"fca_smoke{self.mark}", self.mode, None)

    def expires_at(self) -> int:
        return int(time.time()) + DAY_SECONDS

    def mark_item(self, pk: str, sk: str, **attributes: Any) -> bool:
        """Mark an item as the smoke test's, so that it expires within a day; False if it does not exist."""
        return self.store.table.update(
            pk, sk, set_={"smoke": True, "expires_at": self.expires_at(), **attributes}, condition="attribute_exists(pk)"
        )

    def call(self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Answer:
        """Make a call that the stack is to accept: signed for IAM, or with the token."""
        if self.by_token:
            return self.send(method, path, body, headers={"Authorization": f"Bearer {self.token}", **(headers or {})})
        return self.send(method, path, body, headers=self.signature(method, path, body, headers=headers))

    def signature(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None, region: str = "", spoilt: bool = False
    ) -> dict[str, str]:
        """The headers of a call signed for IAM; `spoilt` with a wrong secret."""
        kept = self.session.get_credentials().get_frozen_credentials()
        credentials = Credentials(kept.access_key, kept.secret_key + ("x" if spoilt else ""), kept.token)
        data = None if body is None else json.dumps(body)
        request = AWSRequest(method=method, url=self.api_url + path, data=data, headers=_content(data, headers))
        SigV4Auth(credentials, "execute-api", region or self.region).add_auth(request)
        return dict(request.headers.items())

    def send(self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Answer:
        """Make a call with these headers, whether the stack accepts it or not."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body)
        answer = self._http().request(method, self.api_url + path, data=data, headers=_content(data, headers), timeout=35)
        try:
            parsed = answer.json()
        except ValueError:
            parsed = None
        return Answer(answer.status_code, parsed)

    def fetch(self, path: str) -> requests.Response:
        """A public page or file, as a browser gets it."""
        return self._http().get(self.api_url + path, timeout=35)

    def _http(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
        session: requests.Session = self._local.session
        return session


def find(name: str, region: str, *, token: str | None = None, session: Any = None, patience: float = 45.0, local: bool = False) -> Deployed:
    """Find a deployed stack. Raises `SmokeError`."""
    session = session or boto3.session.Session(region_name=region)
    try:
        if session.get_credentials() is None:
            raise NoCredentialsError
        cloudformation = _client(session, "cloudformation", region)
        description = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        _require_usable(name, description)
        pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
        found = [each for page in pages for each in page["StackResourceSummaries"]]
    except (NoCredentialsError, PartialCredentialsError):
        raise SmokeError("there are no AWS credentials: set AWS_PROFILE, or run `aws sso login` or `aws configure`") from None
    except ClientError as error:
        raise SmokeError(_reason(name, region, error)) from None
    except (BotoCoreError, ValueError):
        raise SmokeError(f"AWS cannot be reached in the region {region}: check REGION and the network") from None
    outputs = {each["OutputKey"] for each in description.get("Outputs", ())}
    if missing := REQUIRED_OUTPUTS - outputs:
        raise SmokeError(f"the stack {name} is not a Titleholder stack: it has no output {sorted(missing)[0]}. Name another STACK")
    resources = {each["LogicalResourceId"]: (each["ResourceType"], each.get("PhysicalResourceId", "")) for each in found}
    return Deployed(name, region, session, description, resources, token=token, patience=patience, local=local)


def _require_usable(name: str, description: Mapping[str, Any]) -> None:
    status = str(description["StackStatus"])
    if status in (
        "CREATE_COMPLETE",
        "UPDATE_COMPLETE",
        "UPDATE_ROLLBACK_COMPLETE",
        "IMPORT_COMPLETE",
        "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
    ):
        return
    if status.endswith("_IN_PROGRESS"):
        raise SmokeError(f"the stack {name} is still being changed ({status}): wait until `sam deploy` has ended, then repeat")
    raise SmokeError(
        f"the stack {name} is {status}, so it is not usable: the events of the stack in CloudFormation name the resource and the reason"
    )


def _reason(name: str, region: str, error: ClientError) -> str:
    code, text = str(error.response["Error"]["Code"]), str(error.response["Error"].get("Message", ""))
    if "does not exist" in text:
        return f"there is no stack {name} in the region {region}, in the account of these credentials: check STACK, REGION and AWS_PROFILE"
    if code in _EXPIRED:
        return "the AWS credentials have expired: renew them, with `aws sso login` for instance"
    if code in _UNKNOWN_KEY:
        return f"AWS does not accept these credentials in {region} ({code}): check them, and whether the region is enabled in the account"
    return f"the stack {name} cannot be read ({code}): give yourself the policy for the smoke test in docs/deploying.md"


def _client(session: Any, service: str, region: str) -> Any:
    config = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=5, read_timeout=20, max_pool_connections=16)
    return session.client(service, region_name=region, config=config)


def _content(data: Any, headers: Mapping[str, str] | None) -> dict[str, str]:
    return {**({} if data is None else {"Content-Type": "application/json"}), **(headers or {})}
