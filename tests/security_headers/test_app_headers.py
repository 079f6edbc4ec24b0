"""What happens to headers that the app has set itself."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_guard.security_headers import (
    ContentSecurityPolicy,
    SecurityHeaders,
    SecurityHeadersMiddleware,
)
from tests.support.headers_client import plain_app, request

HTML = SecurityHeaders.html()


@pytest.mark.parametrize(
    ("own", "rules", "expected"),
    [
        (["SAMEORIGIN"], {}, "SAMEORIGIN"),
        (["SAMEORIGIN"], {"x-frame-options": "keep"}, "SAMEORIGIN"),
        (["SAMEORIGIN"], {"X-Frame-Options": "replace"}, "DENY"),
        (["SAMEORIGIN", "SAMEORIGIN"], {}, "SAMEORIGIN"),
        (["SAMEORIGIN", "ALLOWALL"], {}, "DENY"),
    ],
)
async def test_a_header_the_app_has_set_is_treated_by_rule_and_sent_once(
    own: list[str], rules: Any, expected: str
) -> None:
    """Browsers treat two values that disagree as none (HTML Standard section 7.6)."""
    app = plain_app([("X-Frame-Options", value) for value in own])

    answer = await request(SecurityHeadersMiddleware(app, policy=HTML.replace(rules=rules)))

    assert answer.headers["x-frame-options"] == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("keep", "img-src *, font-src *"),
        ("append", "img-src *, font-src *, default-src 'none'"),
        ("replace", "default-src 'none'"),
    ],
)
async def test_policies_of_the_app_join_into_one_line(rule: str, expected: str) -> None:
    """Each policy of a comma list is enforced; two header lines mean the same, and get lost."""
    app = plain_app(
        [("content-security-policy", "img-src *"), ("Content-Security-Policy", "font-src *")]
    )
    policy = SecurityHeaders(
        content_security_policy=ContentSecurityPolicy({"default-src": ["'none'"]}),
        rules={"content-security-policy": rule},  # type: ignore[dict-item] # parametrized
    )

    answer = await request(SecurityHeadersMiddleware(app, policy=policy))

    assert answer.headers["content-security-policy"] == expected


async def test_what_tells_attackers_the_software_is_removed() -> None:
    """A version number saves them the search for the right exploit."""
    app = plain_app([("Server", "uvicorn"), ("X-Powered-By", "Python"), ("X-Runtime", "3")])
    policy = HTML.replace(remove={"server", "X-Powered-By", "x-runtime"})

    answer = await request(SecurityHeadersMiddleware(app, policy=policy))

    assert answer.headers.keys().isdisjoint({"server", "x-powered-by", "x-runtime"})
