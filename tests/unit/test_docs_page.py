"""The page of `GET /docs`: what it says about signing, and that only the page of an embedded stack has a key."""

from __future__ import annotations

import base64
import re
from hashlib import sha256
from typing import Any

import pytest

from tests.support.functions import http_event, load

NOTE = re.compile(r'<p id="note"[^>]*>(.*?)</p>')


def page(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> Any:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    return load("docs")(http_event("GET", "/docs"))


def test_page_on_aws_says_that_it_cannot_sign_and_has_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    body = page(monkeypatch, "")["body"]
    [note] = NOTE.findall(body)
    assert "cannot sign for IAM" in note
    assert "curl --aws-sigv4" in note
    assert "AWS4-HMAC-SHA256" not in body.rpartition("<script>")[2]


def test_page_of_an_embedded_stack_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    body = page(monkeypatch, "http://127.0.0.1:4566")["body"]
    [note] = NOTE.findall(body)
    assert "signed with the key of the stack on this machine" in note
    assert "AWS4-HMAC-SHA256" in body.rpartition("<script>")[2]


@pytest.mark.parametrize("endpoint", ["", "http://127.0.0.1:4566"])
def test_policy_of_the_page_allows_its_own_scripts_only(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    answer = page(monkeypatch, endpoint)
    hashes = {
        base64.b64encode(sha256(script.encode()).digest()).decode()
        for script in re.findall(r"<script>(.*?)</script>", answer["body"], re.S)
    }
    allowed = set(re.findall(r"'sha256-([^']+)'", answer["headers"]["Content-Security-Policy"]))
    assert allowed == hashes
