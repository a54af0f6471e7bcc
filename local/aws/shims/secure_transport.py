"""A request over loopback counts as one over TLS, so that the template's policies can require `aws:SecureTransport`."""

from __future__ import annotations

from ministack import app

original_pin_request_origin = app.pin_request_origin


def apply() -> None:
    app.pin_request_origin = lambda source_ip, _secure: original_pin_request_origin(source_ip, True)
