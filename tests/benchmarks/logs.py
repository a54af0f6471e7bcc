"""How much is logged: by Lambda for each invocation, by functions, by the HTTP API."""

from __future__ import annotations

import json
import re

from tests.e2e.stack_driver import StackDriver
from tests.support.template import template

PLATFORM_LINES = (
    '{"time":"2026-11-28T02:26:02.111Z","type":"platform.start","record":{"requestId":"d081eb0a-ccfc-4511-bcf4-ddc4a9591824","version":'
    '"$LATEST"}}',
    '{"time":"2026-11-28T02:26:02.133Z","type":"platform.report","record":{"requestId":"d081eb0a-ccfc-4511-bcf4-ddc4a9591824","metrics":'
    '{"durationMs":21.45,"billedDurationMs":22,"memorySizeMB":512,"maxMemoryUsedMB":104},"tracing":{"spanId":"5a1f0a0b0c0d0e0f","type":'
    '"X-Amzn-Trace-Id","value":"Root=1-6b0a3ba4-96e64ea9a995d096e7b9bb99;Parent=5a1f0a0b0c0d0e0f;Sampled=1"},"status":"success"}}',
)
"""The lines that Lambda itself logs for each invocation, if functions log JSON."""

PLATFORM_BYTES = sum(len(line) + 1 for line in PLATFORM_LINES)

EMULATORS_LINES = re.compile(r"(START|END|REPORT) RequestId: ")
"""Lines of an invocation at the emulator, which has only Lambda's older format."""

VALUES = {"requestId": "JkJuginGIAMEPMA=", "requestTimeEpoch": "1795832762", "routeKey": "POST /webhooks/stripe", "protocol": "HTTP/1.1"}
"""Typical values of the access log. Others have a few digits, and those of errors are empty: `-`."""


def by_group(driver: StackDriver) -> dict[str, int]:
    """The bytes in each of the functions' log groups, by its last name, as on AWS."""
    logs, found = driver.stack.client("logs"), dict[str, int]()
    for page in logs.get_paginator("describe_log_groups").paginate():
        for group in page["logGroups"]:
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"])
            lines = [event["message"] for page in pages for event in page["events"]]
            own = sum(len(line.encode()) + 1 for line in lines if not EMULATORS_LINES.match(line))
            invocations = sum(line.startswith("START RequestId: ") for line in lines)
            found[group["logGroupName"].rpartition("/")[2]] = own + invocations * PLATFORM_BYTES
    return found


def access_log_bytes() -> int:
    """The bytes of one line of the HTTP API's access log."""
    written = template()["Resources"]["HttpStage"]["Properties"]["AccessLogSettings"]["Format"]
    return len(re.sub(r"\$context\.([\w.]+)", lambda name: VALUES.get(name[1], "123" if "atency" in name[1] else "-"), written)) + 1


def metrics_in(text: str) -> set[tuple[str, str]]:
    """The metrics in a log, by name and values of dimensions: each is charged for the hours in which it is published."""
    found = set()
    for line in text.splitlines():
        if line.startswith('{"_aws"'):
            data = json.loads(line)
            for directive in data["_aws"]["CloudWatchMetrics"]:
                values = ",".join(str(data.get(name)) for names in directive["Dimensions"] for name in names)
                found |= {(metric["Name"], values) for metric in directive["Metrics"]}
    return found
