"""A request over loopback counts as one over TLS, so that policies which demand `aws:SecureTransport` can stay as they are."""

from __future__ import annotations

from ministack import app

bare = app.pin_request_origin


def apply() -> None:
    app.pin_request_origin = lambda source_ip, _secure: bare(source_ip, True)
