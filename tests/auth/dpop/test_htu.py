"""Which spellings are one URI, which are two, and which are none (RFC 3986 section 6.2)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard._internal.proxies import TrustedProxies
from asgi_guard.auth.dpop import RequestTarget
from asgi_guard.auth.dpop.htu import canonical_path, canonical_uri
from asgi_guard.errors import ConfigError
from tests.support.exchange import http_scope, websocket_scope

PROXY = ("10.0.0.1", 4000)
PROXIES = TrustedProxies(["10.0.0.0/8"], trust_host=True)
FORWARDED = (("x-forwarded-proto", "https"), ("x-forwarded-host", "api.example"))


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("https://api.example/notes", "https://api.example/notes"),
        ("HTTPS://API.Example/notes", "https://api.example/notes"),
        ("https://api.example:443/notes", "https://api.example/notes"),
        ("https://api.example:0443/notes", "https://api.example/notes"),
        ("https://api.example:/notes", "https://api.example/notes"),
        ("http://api.example:443/", "http://api.example:443/"),
        ("https://api.example:8443/", "https://api.example:8443/"),
        ("https://api.example", "https://api.example/"),
        ("https://api.example?q=1", "https://api.example/"),
        ("https://api.example#f", "https://api.example/"),
        ("https://api.example/a?b/../c#d?e", "https://api.example/a"),
        ("https://api.example/%7Ea%2db", "https://api.example/~a-b"),
        ("https://api.example/%c3%bc", "https://api.example/%C3%BC"),
        ("https://api.example/ü", "https://api.example/%C3%BC"),
        ("https://api.example/a|b", "https://api.example/a%7Cb"),
        ("https://api.example/a\\b", "https://api.example/a%5Cb"),
        ("https://api.example/a%2fb", "https://api.example/a%2Fb"),
        ("https://api.example/a/./b/../c", "https://api.example/a/c"),
        ("https://api.example/a/%2e%2E/c", "https://api.example/c"),
        ("https://api.example/../..", "https://api.example/"),
        ("https://api.example/a/..", "https://api.example/"),
        ("https://api.example/a/b/.", "https://api.example/a/b/"),
        ("https://api.example//a", "https://api.example//a"),
        ("https://api.example/a/", "https://api.example/a/"),
        ("https://[2001:DB8::0:1]/", "https://[2001:db8::1]/"),
        ("wss://api.example:443/live", "wss://api.example/live"),
    ],
)
def test_each_uri_has_one_spelling(written: str, canonical: str) -> None:
    """What RFC 3986 calls equivalent is equal here, and it is a fixed point."""
    assert canonical_uri(written) == canonical
    assert canonical_uri(canonical) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/notes",
        "//api.example/notes",
        "api.example/notes",
        "https:/api.example/notes",
        "https:///notes",
        "https://:443/",
        "ftp://api.example/",
        "javascript://api.example/",
        "https://user@api.example/",
        "https://api.example@evil.example/",
        "https://api.example\\@evil.example/",
        "https://api.example:99999/",
        "https://api.example:0/",
        "https://api.example:4 43/",
        "https://api.example:+443/",
        "https://api%2eexample/",
        "https://[::1/",
        "https://[1:2:::3]/",
        "https://[fe80::1%25eth0]/",
        "https://bücher.example/",
        " https://api.example/",
        "https://api.example /",
        "https://api.example/a b",
        "https://api.example/a\r\nb",
        "https://api.example/a\x7fb",
        "https://api.example/%",
        "https://api.example/%zz",
        "https://api.example/%2",
        "https://api.example/\ud800",
        "https://api.example/" + "a" * 9000,
    ],
)
def test_what_has_no_single_reading_is_no_uri(text: str) -> None:
    """A guess at what a caller meant is a second address for one proof."""
    assert canonical_uri(text) is None


@given(st.text(max_size=60))
def test_any_text_has_one_spelling_or_none(text: str) -> None:
    """The spelling is its own spelling, and nobody's crash."""
    for candidate in (text, f"https://{text}", f"https://api.example/{text}"):
        found = canonical_uri(candidate)
        assert found is None or (found.isascii() and canonical_uri(found) == found)


@given(st.binary(max_size=60))
def test_any_path_has_one_spelling_or_none(raw: bytes) -> None:
    """A request's path is a stranger's bytes, too."""
    found = canonical_path(b"/" + raw)
    assert found is None or canonical_path(found.encode()) == found


@pytest.mark.parametrize(
    ("scope", "path"),
    [
        ({"path": "/a/b", "raw_path": b"/a/b"}, "/a/b"),
        ({"path": "/a/b", "raw_path": b"/a%2Fb"}, "/a%2Fb"),
        ({"path": "/b", "raw_path": b"/a/b"}, "/a/b"),
        ({"path": "/a/b", "raw_path": b"/a/b?q=1"}, "/a/b"),
        ({"path": "/ü b", "raw_path": None}, "/%C3%BC%20b"),
        ({"path": "/ü", "raw_path": b""}, "/%C3%BC"),
        ({"path": "/a/b", "raw_path": None, "root_path": "/a"}, "/a/b"),
        ({"path": "/b", "raw_path": None, "root_path": "/a"}, "/a/b"),
        ({"path": "/", "raw_path": b"/"}, "/"),
    ],
    ids=str,
)
def test_the_path_is_the_one_that_the_server_received(scope: dict[str, Any], path: str) -> None:
    """Behind a mount the app sees less; a client knows nothing of mounts."""
    target = RequestTarget(base="https://api.example")

    assert target.uri_of({**http_scope(), **scope}) == f"https://api.example{path}"


@pytest.mark.parametrize("raw", [b"*", b"http://api.example/a", b"/a b", b"/%zz", b"/\x00"])
def test_a_target_that_is_no_path_has_no_uri(raw: bytes) -> None:
    """RFC 9112 section 3.2 has other forms; no proof fits them."""
    assert (
        RequestTarget(base="https://api.example").uri_of({**http_scope(), "raw_path": raw}) is None
    )


def test_a_base_may_have_a_path_that_a_proxy_cuts_off() -> None:
    """What stands before the path as the server sees it."""
    target = RequestTarget(base="https://Example.com:443/api/")

    assert target.uri_of(http_scope("GET", "/notes")) == "https://example.com/api/notes"
    assert target.uri_of(websocket_scope("/live")) == "https://example.com/api/live"


def test_a_configured_base_believes_no_header() -> None:
    """Whoever types Host types the address that a stolen proof was made for."""
    scope = http_scope("GET", "/notes", FORWARDED, host="evil.example", client=PROXY)

    assert RequestTarget(base="https://api.example").uri_of(scope) == "https://api.example/notes"


def forwarded(**changes: Any) -> str | None:
    """Ask a target behind a trusted proxy about one request."""
    hosts = changes.pop("hosts", ["api.example", "*.tenants.example"])
    target = RequestTarget(trusted_proxies=PROXIES, hosts=hosts)
    headers = changes.pop("headers", FORWARDED)
    return target.uri_of(http_scope("GET", "/a", headers, **{"client": PROXY, **changes}))


def test_a_trusted_proxy_names_scheme_and_host_out_of_the_list() -> None:
    """With many tenants' hosts there is no one base."""
    tenant = (FORWARDED[0], ("x-forwarded-host", "Acme.Tenants.example:443"))

    assert forwarded() == "https://api.example/a"
    assert forwarded(headers=tenant) == "https://acme.tenants.example/a"
    assert forwarded(headers=FORWARDED[:1], host="api.example") == "https://api.example/a"


@pytest.mark.parametrize(
    "changes",
    [
        {"client": ("203.0.113.9", 5000)},
        {"client": None},
        {"headers": (FORWARDED[0], ("x-forwarded-host", "evil.example"))},
        {"headers": (FORWARDED[0], ("x-forwarded-host", "tenants.example"))},
        {"headers": (FORWARDED[0], ("x-forwarded-host", "eviltenants.example"))},
        {"headers": (FORWARDED[0], ("x-forwarded-host", "api.example:8443"))},
        {"headers": (FORWARDED[0], ("x-forwarded-host", "api.example.evil.example"))},
        {"headers": (*FORWARDED, ("x-forwarded-host", "api.example"))},
        {"headers": (FORWARDED[1], ("x-forwarded-proto", "http"))},
        {"headers": (FORWARDED[1], ("x-forwarded-proto", "https, http"))},
        {"headers": FORWARDED[:1], "host": "evil.example"},
        {"headers": FORWARDED[:1], "host": None},
    ],
    ids=str,
)
def test_what_a_stranger_forwards_names_nothing(changes: dict[str, Any]) -> None:
    """Each of these is one way to be taken for another server."""
    assert forwarded(**changes) is None


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"base": "https://api.example", "trusted_proxies": PROXIES, "hosts": ["api.example"]},
        {"base": "https://api.example", "hosts": ["api.example"]},
        {"trusted_proxies": PROXIES},
        {"trusted_proxies": TrustedProxies(), "hosts": ["api.example"]},
        {"trusted_proxies": PROXIES, "hosts": "api.example"},
        {"trusted_proxies": PROXIES, "hosts": ["https://api.example"]},
        {"trusted_proxies": PROXIES, "hosts": [None]},
        {"base": "http://api.example"},
        {"base": "api.example"},
        {"base": "https://api.example/?q"},
        {"base": "https://api.example/#f"},
        {"base": "wss://api.example"},
        {"base": None},
        {"base": b"https://api.example"},
    ],
)
def test_a_wrong_address_is_known_at_the_start(settings: dict[str, Any]) -> None:
    """And not by the first refused customer."""
    with pytest.raises(ConfigError):
        RequestTarget(**settings)
