"""AWS's JSON services without the SDK's clients, whose models, rules, serialisers and parsers cost more than all the rest of most calls.

DynamoDB, SQS, Secrets Manager, KMS, EventBridge and Step Functions take one form: a POST with `X-Amz-Target`, JSON both ways, signed by the
SDK's own signer. What the environment may ask for beyond that, such as a proxy or FIPS endpoints, is left to the SDK: see `serves`.
"""

from __future__ import annotations

import base64
import json
import os
import random
import re
import ssl
import time
import uuid
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

ATTEMPTS = 4
LONGEST_PAUSE_SECONDS = 20.0
# Not seeded: processes that start from one snapshot would all draw the same.
_CHANCE = random.SystemRandom()
_TIMEOUT = urllib3.Timeout(connect=2, read=5)


class Service(NamedTuple):
    """How a service is spoken to. `name`: in hosts and signatures; `variable`: in `AWS_ENDPOINT_URL_...`; `blobs`: members of bytes."""

    target: str
    version: str
    name: str
    variable: str
    blobs: tuple[str, ...] = ()


SERVICES = {
    "dynamodb": Service("DynamoDB_20120810", "1.0", "dynamodb", "DYNAMODB", ("B",)),
    "events": Service("AWSEvents", "1.1", "events", "EVENTBRIDGE"),
    "kms": Service("TrentService", "1.1", "kms", "KMS", ("CiphertextBlob", "Plaintext")),
    "secretsmanager": Service("secretsmanager", "1.1", "secretsmanager", "SECRETS_MANAGER"),
    "sqs": Service("AmazonSQS", "1.0", "sqs", "SQS"),
    "stepfunctions": Service("AWSStepFunctions", "1.0", "states", "SFN"),
}
"""By boto3's names."""

OPERATIONS = {
    "dynamodb": "batch_get_item delete_item get_item put_item query transact_write_items update_item",
    "events": "put_events",
    "kms": "decrypt generate_data_key",
    "secretsmanager": "get_secret_value",
    "sqs": "change_message_visibility send_message",
    "stepfunctions": "describe_execution send_task_failure send_task_heartbeat send_task_success start_execution stop_execution",
}
"""What is called here; of these it is tested that they need nothing which this module lacks."""

_SDK_ALONE = (
    "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "AWS_PROFILE", "AWS_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY",
)  # fmt: skip
_REGION = re.compile(r"(af|ap|ca|cn|eu|il|me|mx|sa|us|us-gov)-[a-z]+-[0-9]+")

# As botocore's standard mode has them.
_PASSING_STATUS = frozenset((500, 502, 503, 504))
_PASSING_CODES = frozenset(
    (
        "BandwidthLimitExceeded", "EC2ThrottledException", "LimitExceededException", "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException", "RequestLimitExceeded", "RequestThrottled", "RequestThrottledException", "RequestTimeout",
        "RequestTimeoutException", "SlowDown", "ThrottledException", "Throttling", "ThrottlingException", "TooManyRequestsException",
        "TransactionInProgressException",
    )
)  # fmt: skip


class Keys(NamedTuple):
    """Credentials at one moment; the SDK's frozen ones serve as well."""

    access_key: str
    secret_key: str
    token: str | None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Keys | None:
        """Those that the environment holds, as Lambda's does; None if it holds none."""
        key, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
        return cls(key, secret, environment.get("AWS_SESSION_TOKEN")) if key and secret else None


class Endpoint(NamedTuple):
    """Where a service is: `https://host[:port]`, and the region for which requests are signed."""

    url: str
    region: str


class ServiceError(Exception):
    """A service refused a call. `response` as in botocore's ClientError: `Error` with `Code` and `Message`, and what else was answered."""

    def __init__(self, operation: str, status: int, answer: Mapping[str, Any]) -> None:
        code = str(answer.get("__type") or status).partition(":")[0].rpartition("#")[2]
        message = answer.get("message") or answer.get("Message") or ""
        super().__init__(f"{operation}: {code}: {message}")
        self.status = status
        self.response: dict[str, Any] = {**answer, "Error": {"Code": code, "Message": message}}


def serves(service: str, environment: Mapping[str, str]) -> Endpoint | None:
    """The service's endpoint; None where the environment asks for what only the SDK knows."""
    region = environment.get("AWS_DEFAULT_REGION") or environment.get("AWS_REGION") or ""
    if not _REGION.fullmatch(region) or any(environment.get(name) or environment.get(name.lower()) for name in _SDK_ALONE):
        return None
    url = environment.get(f"AWS_ENDPOINT_URL_{SERVICES[service].variable}") or environment.get("AWS_ENDPOINT_URL")
    if not url:
        return Endpoint(f"https://{SERVICES[service].name}.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}", region)
    scheme, host, path, query, _ = urlsplit(url)
    return None if path.strip("/") or query else Endpoint(f"{scheme}://{host}", region)


class Client:
    """Those methods of a boto3 client that `OPERATIONS` names; its connection is kept for the next call.

    What may pass (throttling, 5xx, a broken connection) is tried four times, after pauses drawn at random up to 1, 2 and 4 seconds, as by
    botocore: a call whose answer was lost is made again, so it has to bear that.

    Raises:
        ServiceError: the service refused, at last.
        urllib3.exceptions.HTTPError: it gave no answer, at last.
    """

    def __init__(
        self,
        service: str,
        endpoint: Endpoint,
        keys: Callable[[], Keys],
        *,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = _CHANCE.random,
    ) -> None:
        self._service = SERVICES[service]
        self._endpoint = endpoint
        self._keys = keys
        self._sleep = sleep
        self._jitter = jitter
        tls: dict[str, Any] = {"ssl_context": _tls()} if endpoint.url.startswith("https:") else {}
        self._pool = urllib3.connection_from_url(endpoint.url, timeout=_TIMEOUT, retries=False, **tls)

        for name in OPERATIONS[service].split():
            setattr(self, name, partial(self._call, name.title().replace("_", "")))

    if TYPE_CHECKING:

        def __getattr__(self, operation: str) -> Callable[..., Any]: ...

    def _call(self, operation: str, /, **request: Any) -> Any:
        if operation == "TransactWriteItems":
            # A transaction that is tried again after its answer was lost must not fail for its own effect.
            request.setdefault("ClientRequestToken", str(uuid.uuid4()))
        body = json.dumps(request, default=_base64).encode()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._once(operation, body)
            except (ServiceError, urllib3.exceptions.HTTPError) as error:
                if attempt == ATTEMPTS or not _may_pass(error):
                    raise
            self._sleep(min(LONGEST_PAUSE_SECONDS, self._jitter() * 2 ** (attempt - 1)))
        raise AssertionError("unreachable")

    def _once(self, operation: str, body: bytes) -> Any:
        headers = {
            "content-type": f"application/x-amz-json-{self._service.version}",
            "x-amz-target": f"{self._service.target}.{operation}",
            "user-agent": "titleholder",
        }
        # By this X-Ray and Lambda's detection of loops see the call; the SDK sends it, too.
        if "AWS_LAMBDA_FUNCTION_NAME" in os.environ and (trace := os.environ.get("_X_AMZN_TRACE_ID")):
            headers["x-amzn-trace-id"] = quote(trace, safe="-=;:+&[]{}\"',")
        request = AWSRequest(method="POST", url=f"{self._endpoint.url}/", headers=headers, data=body)
        SigV4Auth(self._keys(), self._service.name, self._endpoint.region).add_auth(request)
        answer = self._pool.urlopen("POST", "/", body=body, headers=dict(request.headers))
        data = _json(answer.data, self._service.blobs)
        if answer.status != 200:
            raise ServiceError(operation, answer.status, data)
        return data


@cache
def _tls() -> ssl.SSLContext:
    """One for all connections: reading the authorities' certificates takes longer than a call."""
    return ssl.create_default_context()


def _may_pass(error: Exception) -> bool:
    if not isinstance(error, ServiceError):
        return True
    return error.status in _PASSING_STATUS or error.response["Error"]["Code"] in _PASSING_CODES


def _json(data: bytes, blobs: tuple[str, ...]) -> dict[str, Any]:
    def with_bytes(found: dict[str, Any]) -> dict[str, Any]:
        for name in blobs:
            # An attribute of that name is a dict: only a value of the kind is text.
            if isinstance(text := found.get(name), str):
                found[name] = base64.b64decode(text)
        return found

    try:
        answer = json.loads(data or b"{}", object_hook=with_bytes if blobs else None)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _base64(value: Any) -> str:
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    raise TypeError(f"a {type(value).__name__} has no form in JSON")
