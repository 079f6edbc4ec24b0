"""The presets: their exact values, and what they leave to the user."""

from __future__ import annotations

import re

import pytest

from asgi_guard.errors import ConfigError
from asgi_guard.security_headers import (
    ContentSecurityPolicy,
    SecurityHeaders,
    SecurityHeadersMiddleware,
    SecurityHeadersWarning,
    StrictTransportSecurity,
    csp_nonce,
)
from tests.support.headers_client import http_scope, plain_app, request

HTML_CSP = (
    "default-src 'none'; script-src 'nonce-…' 'strict-dynamic'; style-src 'self' 'nonce-…'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)


async def test_the_api_preset_sends_exactly_its_documented_values() -> None:
    """Auditors compare this list with the documentation, letter by letter."""
    guarded = SecurityHeadersMiddleware(plain_app(), policy=SecurityHeaders.api())

    answer = await request(guarded)

    assert answer.headers == {
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'; "
        "base-uri 'none'; form-action 'none'",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "cache-control": "no-store",
        "strict-transport-security": "max-age=63072000; includeSubDomains",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
        "x-xss-protection": "0",
    }


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_html_preset_sends_exactly_its_documented_values(scheme: str) -> None:
    """As above; over plain HTTP neither HSTS nor the upgrade directive may go out."""
    guarded = SecurityHeadersMiddleware(plain_app(before=csp_nonce), policy=SecurityHeaders.html())

    headers = (await request(guarded, http_scope(scheme=scheme))).headers

    csp = headers.pop("content-security-policy")
    expected = HTML_CSP + ("; upgrade-insecure-requests" if scheme == "https" else "")
    assert re.sub(r"'nonce-[\w-]{24}'", "'nonce-…'", csp) == expected
    hsts = {"strict-transport-security": "max-age=63072000; includeSubDomains"}
    assert headers == {
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "strict-origin-when-cross-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=(), "
        "browsing-topics=()",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "x-xss-protection": "0",
        "cache-control": "no-store",  # for the nonce: it is for one response
        **(hsts if scheme == "https" else {}),
    }


async def test_the_report_only_preset_enforces_nothing_that_can_break_a_page() -> None:
    """A first roll-out must be safe to switch on in front of an unknown app."""
    policy = SecurityHeaders.report_only(report_to="/csp-reports")
    guarded = SecurityHeadersMiddleware(plain_app(before=csp_nonce), policy=policy)

    headers = (await request(guarded)).headers

    assert headers["content-security-policy-report-only"].endswith(
        "form-action 'self'; report-uri /csp-reports; report-to csp"
    )
    assert headers["reporting-endpoints"] == 'csp="/csp-reports"'
    assert headers["strict-transport-security"] == "max-age=300"
    assert headers.keys().isdisjoint(
        {
            "content-security-policy",
            "x-frame-options",
            "cross-origin-resource-policy",
            "cross-origin-opener-policy",
            "permissions-policy",
        }
    )


async def test_an_enforced_and_a_report_only_policy_go_out_side_by_side() -> None:
    """The next, stricter policy is tried beside the one that protects today."""
    stricter = ContentSecurityPolicy({"default-src": ["'none'"]})
    policy = SecurityHeaders.html().replace(content_security_policy_report_only=stricter)

    headers = (await request(SecurityHeadersMiddleware(plain_app(), policy=policy))).headers

    assert "script-src" in headers["content-security-policy"]
    assert headers["content-security-policy-report-only"] == "default-src 'none'"


def test_sources_are_added_to_a_preset_without_writing_it_out() -> None:
    """Who must copy a policy to add an image host will paste a weak one."""
    policy = SecurityHeaders.html().allowing(
        {"img-src": ["https://cdn.example"], "media-src": ["'self'"], "base-uri": ["'self'"]}
    )

    assert policy.content_security_policy is not None
    directives = policy.content_security_policy.directives
    assert directives["img-src"] == ("'self'", "data:", "https://cdn.example")
    assert directives["media-src"] == ("'self'",)
    assert directives["base-uri"] == ("'self'",)  # in place of 'none', not beside it
    assert policy.replace(x_frame_options=None).content_security_policy is not None


def test_trusted_types_and_embedder_policy_are_opt_in() -> None:
    """Both break pages that were not written for them."""
    plain = SecurityHeaders.html()
    opted = SecurityHeaders.html(trusted_types=True).replace(
        cross_origin_embedder_policy="require-corp"
    )

    assert "trusted-types" not in str(plain.content_security_policy)
    assert plain.cross_origin_embedder_policy is None
    assert "require-trusted-types-for 'script'" in str(opted.content_security_policy)


@pytest.mark.parametrize(
    ("mistake", "word"),
    [
        ({"content_security_policy": "default-src 'none'"}, "ContentSecurityPolicy"),
        ({"strict_transport_security": "max-age=1"}, "StrictTransportSecurity"),
        ({"rules": {"x-frame-options": "append"}}, "one value"),
        ({"rules": {"x-frame-options": "drop"}}, "no rule"),
        ({"rules": {"set-cookie": "replace"}}, "app's own"),
        ({"rules": {"bad name": "keep"}}, "no header name"),
        ({"remove": "server"}, "one string"),
        ({"remove": {"set-cookie"}}, "app's own"),
        ({"remove": {"x\r\ny"}}, "no header name"),
        ({"cache_control": "no-store\r\nx: y"}, "no header may carry"),
        (
            {"content_security_policy": ContentSecurityPolicy({"report-to": ["nobody"]})},
            "no endpoint",
        ),
    ],
)
def test_a_wrong_setting_fails_where_it_is_written(mistake: dict[str, object], word: str) -> None:
    """A header that browsers ignore in silence must not reach production."""
    with pytest.raises(ConfigError, match=word):
        SecurityHeaders.html().replace(**mistake)


def test_a_setting_that_does_not_exist_is_refused() -> None:
    """A typing error must not leave a header out."""
    with pytest.raises(TypeError):
        SecurityHeaders.html().replace(x_frame_option="DENY")


async def test_the_legacy_filter_value_is_sent_exactly_and_warned_about() -> None:
    """Some checklists still ask for it; nobody should send it unaware."""
    with pytest.warns(SecurityHeadersWarning, match="legacy-block"):
        policy = SecurityHeaders.html().replace(xss_protection="legacy-block")

    headers = (await request(SecurityHeadersMiddleware(plain_app(), policy=policy))).headers

    assert headers["x-xss-protection"] == "1; mode=block"


async def test_preloading_is_a_named_option_of_one_year() -> None:
    """Preload lists take a year and subdomains, and months to leave."""
    policy = SecurityHeaders.html().replace(
        strict_transport_security=StrictTransportSecurity.preloaded()
    )

    headers = (await request(SecurityHeadersMiddleware(plain_app(), policy=policy))).headers

    assert headers["strict-transport-security"] == "max-age=31536000; includeSubDomains; preload"
