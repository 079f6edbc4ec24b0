"""Scheme, host and client as seen through the proxies one runs oneself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard._internal.forwarded import parse_forwarded
from asgi_guard._internal.proxies import TrustedProxies
from asgi_guard.errors import ConfigError

PROXY = ("10.0.0.7", 443)
STRANGER = ("203.0.113.9", 5555)


def scope(
    *headers: tuple[str, str], client: tuple[str, int] | None = PROXY, scheme: str = "http"
) -> dict[str, Any]:
    lines = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return {"type": "http", "scheme": scheme, "client": client, "headers": lines}


X_FAMILY = TrustedProxies(["10.0.0.0/8", "2001:db8::/32"], trust_host=True)
RFC_7239 = TrustedProxies(["10.0.0.0/8"], header="forwarded", trust_host=True)


def test_without_a_list_the_server_alone_is_believed() -> None:
    """The default must be safe for an app that faces the internet."""
    nobody = TrustedProxies()

    assert nobody.scheme_of(scope(("x-forwarded-proto", "https"))) == "http"
    assert nobody.scheme_of(scope(scheme="https")) == "https"
    assert not nobody


@pytest.mark.parametrize(
    ("scheme", "expected"), [("http", "http"), ("https", "https"), ("ws", "http"), ("wss", "https")]
)
def test_websocket_schemes_read_as_their_http_kin(scheme: str, expected: str) -> None:
    """A browser's Origin says https where the socket says wss (RFC 6455 section 10.2)."""
    assert TrustedProxies().scheme_of(scope(scheme=scheme)) == expected
    assert X_FAMILY.scheme_of(scope(("x-forwarded-proto", scheme))) == expected


@pytest.mark.parametrize("client", [STRANGER, None, ("testclient", 1), ("", 0)])
def test_a_stranger_cannot_claim_scheme_host_or_address(client: tuple[str, int] | None) -> None:
    """Anybody can type these headers; a forged https would turn HSTS and CSRF checks around."""
    forged = scope(
        ("host", "app.example"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1;proto=https;host=evil.example"),
        client=client,
    )

    for proxies in (X_FAMILY, RFC_7239):
        assert proxies.scheme_of(forged) == "http"
        assert proxies.host_of(forged) == "app.example"
        assert proxies.client_of(forged) == (client[0] if client and client[0] else None)


def test_only_the_named_header_family_is_believed() -> None:
    """A proxy that writes one family passes the caller's copy of the other on untouched."""
    both = scope(("x-forwarded-proto", "http"), ("forwarded", "proto=https;host=evil.example"))

    assert X_FAMILY.scheme_of(both) == "http"
    assert RFC_7239.scheme_of(scope(("x-forwarded-proto", "https"))) == "http"


def test_a_forwarded_host_needs_its_own_consent() -> None:
    """Many proxies hand X-Forwarded-Host through as the caller wrote it."""
    cautious = TrustedProxies(["10.0.0.0/8"])
    request = scope(("host", "app.example"), ("x-forwarded-host", "evil.example"))

    assert cautious.host_of(request) == "app.example"
    assert X_FAMILY.host_of(request) == "evil.example"


@pytest.mark.parametrize(
    "claims",
    [
        [("x-forwarded-proto", "https"), ("x-forwarded-proto", "https")],
        [("x-forwarded-proto", "https, http")],
        [("x-forwarded-proto", "https,https")],
        [("x-forwarded-proto", "")],
        [("x-forwarded-proto", "ftp")],
        [("x-forwarded-proto", "https\u00a0")],
    ],
)
def test_an_ambiguous_forwarded_scheme_is_unknown(claims: list[tuple[str, str]]) -> None:
    """Which of two values an inner layer would believe cannot be known: fail closed."""
    assert X_FAMILY.scheme_of(scope(*claims, scheme="https")) is None
    assert not X_FAMILY.is_https(scope(*claims, scheme="https"))


@pytest.mark.parametrize(
    "value",
    [
        "",
        ";",
        ",",
        "proto",
        "proto=",
        "proto=https;",
        "proto=https,",
        ",proto=https",
        "proto=https;proto=http",
        'proto="https',
        "proto=https host=x",
        "proto=https;;host=x",
        "proto =https",
        "proto=ftp",
        "for=1.2.3.4, proto=" + "h" * 9000,
    ],
)
def test_a_malformed_forwarded_field_is_unknown(value: str) -> None:
    """A half-parsed hop is how two layers come to believe two schemes (RFC 7239 section 4)."""
    assert RFC_7239.scheme_of(scope(("forwarded", value), scheme="https")) is None


def test_forwarded_hops_are_read_from_the_right_up_to_the_first_stranger() -> None:
    """What a client typed stands left of what our proxies appended."""
    chain = "for=127.0.0.1;proto=https, for=203.0.113.9;proto=http;host=a.example, for=10.0.0.3"
    request = scope(("forwarded", chain), ("host", "inner"))

    assert RFC_7239.client_of(request) == "203.0.113.9"
    assert RFC_7239.scheme_of(request) == "http"
    assert RFC_7239.host_of(request) == "a.example"


def test_forwarded_lines_join_and_quotes_are_read() -> None:
    """RFC 7239 section 7.1: two lines are one list; IPv6 nodes are quoted."""
    request = scope(
        ("forwarded", 'For="[2001:db8:cafe::17]:4711";Proto=HTTPS ; host="App.Example:8443"'),
        ("forwarded", "for=10.0.0.2;proto=http"),
    )

    assert RFC_7239.client_of(request) == "2001:db8:cafe::17"
    assert RFC_7239.scheme_of(request) == "https"
    assert RFC_7239.host_of(request) == "app.example:8443"


def test_forwarded_for_is_read_from_the_right() -> None:
    """The left end of X-Forwarded-For is the caller's own text."""
    forged = scope(("x-forwarded-for", "127.0.0.1, 203.0.113.9"), ("x-forwarded-for", "10.0.0.3"))

    assert X_FAMILY.client_of(forged) == "203.0.113.9"


@pytest.mark.parametrize("chain", ["unknown", "_hidden", "203.0.113.9, nonsense", "1.2.3.4.5", ""])
def test_a_hidden_or_broken_chain_has_no_client(chain: str) -> None:
    """Guessing past a broken hop would hand the caller the choice of address."""
    assert X_FAMILY.client_of(scope(("x-forwarded-for", chain))) is None


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        ("10.255.0.1", True),
        ("::ffff:10.0.0.1", True),
        ("2001:db8::9", True),
        ("11.0.0.1", False),
        ("10.0.0.1.evil.example", False),
        ("0xa000001", False),
    ],
)
def test_peers_are_compared_as_addresses(peer: str, trusted: bool) -> None:  # noqa: FBT001
    """A text prefix is no network; a dual-stack listener sees mapped addresses."""
    assert X_FAMILY.trusts(scope(client=(peer, 1))) is trusted


def test_a_unix_socket_peer_is_trusted_only_when_listed() -> None:
    """Behind a socket the server knows no address, which must not mean anybody."""
    request = scope(("x-forwarded-proto", "https"), client=None)

    assert TrustedProxies(["unix"]).scheme_of(request) == "https"
    assert TrustedProxies(["10.0.0.0/8"]).scheme_of(request) == "http"


@pytest.mark.parametrize(
    "hosts", [[], ["a", "a"], ["a/b"], ["a b"], ["u@a"], ["a:b"], ["a,b"], ["é"], [""], ["-a"]]
)
def test_an_unclear_host_is_none(hosts: list[str]) -> None:
    """Two hosts, or a text that is no host, can equal no origin (RFC 9112 section 3.2)."""
    assert X_FAMILY.host_of(scope(*(("host", host) for host in hosts))) is None


@pytest.mark.parametrize(
    "host", ["App.Example", "localhost:8000", "[2001:DB8::1]:8443", "10.0.0.1"]
)
def test_a_host_is_lower_cased_and_keeps_its_port(host: str) -> None:
    """Hosts compare without case (RFC 9110 section 4.2.3)."""
    assert X_FAMILY.host_of(scope(("host", host))) == host.lower()


@pytest.mark.parametrize(
    ("networks", "word"),
    [
        ("10.0.0.0/8", "one string"),
        (["10.0.0.1/8"], "host bits"),
        (["proxy.internal"], "no network"),
        (["*"], "no network"),
        (["0.0.0.0/0"], "every address"),
        (["::/0"], "every address"),
    ],
)
def test_a_list_that_would_trust_strangers_is_refused(networks: Any, word: str) -> None:
    """``*`` is the usual answer on forums, and hands every caller the scheme."""
    with pytest.raises(ConfigError, match=word):
        TrustedProxies(networks)


def test_an_unknown_header_family_is_refused() -> None:
    """A typing error must not fall back to another family in silence."""
    with pytest.raises(ConfigError, match="header family"):
        TrustedProxies([], header="X-Real-IP")  # type: ignore[arg-type] # the mistake under test


@given(st.text(max_size=200))
def test_no_text_makes_the_forwarded_parser_raise(text: str) -> None:
    """The field comes from the network; an exception here would be a 500 on demand."""
    hops = parse_forwarded(text)

    assert hops is None or len(hops) >= 1


@given(st.text(alphabet='for=proto;,"\\ htps[]:.1_\t', max_size=60), st.booleans())
def test_a_trusted_proxys_last_element_outlives_whatever_stands_before_it(
    before: str,
    secure: bool,  # noqa: FBT001
) -> None:
    """A caller may break the field and make it unknown; it can never choose the scheme."""
    written = "https" if secure else "http"
    request = scope(("forwarded", before), ("forwarded", f"for=203.0.113.9;proto={written}"))

    assert RFC_7239.scheme_of(request) in {written, None}


@given(st.text(alphabet="0123456789abcdef.:,[] x", max_size=80))
def test_no_forwarded_chain_hides_the_stranger_our_proxy_saw(before: str) -> None:
    """A rate limit keyed by client is worth what this holds."""
    request = scope(("x-forwarded-for", f"{before},203.0.113.9"))

    assert X_FAMILY.client_of(request) == "203.0.113.9"
