"""Host header attacks on the subdomain resolver: one base domain, one label, one spelling."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.errors import ConfigError, RejectionError, RequestInvalidError, TenantInvalidError
from asgi_guard.protocols import Principal
from asgi_guard.tenancy import SLUG, SubdomainResolver

RESOLVER = SubdomainResolver("app.example.com")


def named(*hosts: bytes, **others: bytes) -> str | None:
    """Resolve a request with these Host headers."""
    headers = [(b"host", host) for host in hosts]
    headers += [(name.replace("_", "-").encode(), value) for name, value in others.items()]
    scope: dict[str, Any] = {"type": "http", "path": "/", "headers": headers}
    return asyncio.run(RESOLVER.resolve(scope, Principal(user_id="alice")))


@pytest.mark.parametrize(
    "host",
    [
        b"acme.app.example.com",
        b"acme.app.example.com:8443",
        b"ACME.App.Example.COM",
        b"acme.app.example.com.",
        b"acme.app.example.com.:80",
    ],
)
def test_every_spelling_of_one_host_is_one_tenant(host: bytes) -> None:
    """RFC 3986 section 3.2.2 and RFC 9110 section 4.2.3: case, port, the root's dot."""
    assert named(host) == "acme"


@pytest.mark.parametrize(
    "host", [b"app.example.com", b"app.example.com:443", b"www.app.example.com"]
)
def test_the_base_domain_and_reserved_labels_name_nobody(host: bytes) -> None:
    """The sign-up page lives there."""
    assert named(host) is None


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        (b"acme.evil.example", "host_foreign"),
        (b"acme.app.example.com.evil.example", "host_foreign"),
        (b"acmeapp.example.com", "host_foreign"),
        (b"evilapp.example.com", "host_foreign"),
        (b"example.com", "host_foreign"),
        (b"com", "host_foreign"),
        (b"localhost", "host_foreign"),
        (b"127.0.0.1", "host_foreign"),
        (b"admin.acme.app.example.com", "host_nested"),
        (b"a.b.c.app.example.com", "host_nested"),
        (b"xn--cme-8cd.app.example.com", "host_internationalised"),
        (b"XN--cme-8cd.app.example.com", "host_internationalised"),
        ("\u0430cme.app.example.com".encode(), "host_malformed"),
        (b"acm\xe9.app.example.com", "host_malformed"),
        (b"", "host_malformed"),
        (b".app.example.com", "host_malformed"),
        (b"acme..app.example.com", "host_malformed"),
        (b"acme.app.example.com..", "host_malformed"),
        (b"-acme.app.example.com", "host_malformed"),
        (b"acme-.app.example.com", "host_malformed"),
        (b"ac_me.app.example.com", "host_malformed"),
        (b"acme%2eevil.app.example.com", "host_malformed"),
        (b"acme.app.example.com:", "host_malformed"),
        (b"acme.app.example.com:80:90", "host_malformed"),
        (b"acme.app.example.com:http", "host_malformed"),
        (b"acme.app.example.com:123456", "host_malformed"),
        (b"user@acme.app.example.com", "host_malformed"),
        (b"acme.app.example.com/x", "host_malformed"),
        (b"acme.app.example.com, evil.example", "host_malformed"),
        (b" acme.app.example.com", "host_malformed"),
        (b"acme.app.example.com\n", "host_malformed"),
        (b"acme\x00.app.example.com", "host_malformed"),
        (b"[::1]", "host_malformed"),
        (b"[::1]:80", "host_malformed"),
        (b"a" * 64 + b".app.example.com", "host_malformed"),
        (b"a." * 200 + b"app.example.com", "host_malformed"),
    ],
)
def test_every_other_host_is_refused(host: bytes, reason: str) -> None:
    """Suffix tricks, nesting, look-alikes, and what is no host name at all."""
    with pytest.raises(TenantInvalidError) as caught:
        named(host)
    assert caught.value.reason == reason


def test_two_host_headers_or_none_are_refused() -> None:
    """RFC 9112 section 3.2: a proxy and we may have read different ones."""
    with pytest.raises(RequestInvalidError):
        named(b"acme.app.example.com", b"globex.app.example.com")
    with pytest.raises(TenantInvalidError):
        named()


def test_forwarded_hosts_are_never_read() -> None:
    """Anyone can send them; a proxy that is trusted sets Host."""
    seen = named(
        b"acme.app.example.com",
        x_forwarded_host=b"globex.app.example.com",
        forwarded=b"host=globex.app.example.com",
    )

    assert seen == "acme"


@given(st.binary(max_size=300))
def test_whatever_the_bytes_the_answer_is_a_label_or_a_refusal(host: bytes) -> None:
    """And a label that passes is a slug already: there is one spelling."""
    try:
        label = named(host)
    except RejectionError:
        return
    assert label is None or SLUG.parse(label) == label


@pytest.mark.parametrize(
    "base",
    [
        "",
        "Example.com",
        ".example.com",
        "example.com.",
        "https://example.com",
        "example.com:80",
        "*.example.com",
        "ex\xe4mple.com",
    ],
)
def test_a_base_domain_that_matches_nothing_is_refused_when_built(base: str) -> None:
    """Or that would match too much."""
    with pytest.raises(ConfigError, match="base_domain"):
        SubdomainResolver(base)
