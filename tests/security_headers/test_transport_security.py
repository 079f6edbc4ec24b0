"""HSTS: only over https, only as a trusted proxy sees it, only in production."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_guard.security_headers import (
    SecurityHeaders,
    SecurityHeadersMiddleware,
    StrictTransportSecurity,
)
from tests.support.headers_client import http_scope, plain_app, request

HTML = SecurityHeaders.html()


@pytest.mark.parametrize(
    ("scope", "proxies", "environment", "sent"),
    [
        ({"scheme": "https"}, (), "production", True),
        ({"scheme": "http"}, (), "production", False),
        ({"scheme": "https"}, (), "development", False),
        ({"scheme": "https"}, (), "staging", False),
        ({"headers": [("x-forwarded-proto", "https")]}, (), "production", False),
        ({"headers": [("forwarded", "proto=https")]}, (), "production", False),
        ({"headers": [("x-forwarded-proto", "https")]}, ["203.0.113.0/24"], "production", True),
        ({"headers": [("x-forwarded-proto", "https")]}, ["203.0.114.0/24"], "production", False),
        ({"headers": [("forwarded", "proto=https")]}, ["203.0.113.0/24"], "production", False),
        (
            {"scheme": "https", "headers": [("x-forwarded-proto", "http")]},
            ["203.0.113.9"],
            "production",
            False,
        ),
        (
            {"headers": [("x-forwarded-proto", "https"), ("x-forwarded-proto", "https")]},
            ["203.0.113.9"],
            "production",
            False,
        ),
    ],
)
async def test_hsts_goes_out_only_over_https_as_a_trusted_proxy_sees_it(
    scope: dict[str, Any], proxies: Any, environment: str, *, sent: bool
) -> None:
    """RFC 6797 section 7.2; a stranger's header must not decide about it."""
    guarded = SecurityHeadersMiddleware(
        plain_app(), policy=HTML, trusted_proxies=proxies, environment=environment
    )

    headers = (await request(guarded, http_scope(**{"scheme": "http", **scope}))).headers

    assert ("strict-transport-security" in headers) is sent
    if environment == "production":
        assert ("upgrade-insecure-requests" in headers["content-security-policy"]) is sent


async def test_hsts_outside_production_is_a_named_decision() -> None:
    """A staging domain of its own may want it; localhost never does."""
    policy = HTML.replace(strict_transport_security=StrictTransportSecurity(production_only=False))
    guarded = SecurityHeadersMiddleware(plain_app(), policy=policy, environment="staging")

    assert "strict-transport-security" in (await request(guarded)).headers
    over_http = await request(guarded, http_scope(scheme="http"))
    assert "strict-transport-security" not in over_http.headers


async def test_a_scheme_that_an_inner_layer_rewrites_does_not_bring_hsts_back() -> None:
    """Only the trusted list decides, whatever an inner proxy middleware believes."""

    def believe(scope: Any) -> None:
        scope["scheme"] = "https"

    guarded = SecurityHeadersMiddleware(plain_app(before=believe), policy=HTML)

    answer = await request(guarded, http_scope(scheme="http"))

    assert "strict-transport-security" not in answer.headers
