"""Origins are normalised when configured, and refused when they are more than an origin."""

from __future__ import annotations

import ipaddress
import string
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_guard.errors import ConfigError
from asgi_guard.origins import Origin, OriginPattern, OriginPolicy, OriginWarning


@pytest.mark.parametrize(
    ("written", "serialized"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("HTTPS://App.Example.COM", "https://app.example.com"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://app.example.com:80", "http://app.example.com"),
        ("http://app.example.com:443", "http://app.example.com:443"),
        ("https://app.example.com:8443", "https://app.example.com:8443"),
        ("https://app.example.com:08443", "https://app.example.com:8443"),
        ("https://B\u00fccher.example", "https://xn--bcher-kva.example"),
        ("https://fa\u00df.example", "https://xn--fa-hia.example"),
        ("https://\u4f8b\u3048\u3002\u30c6\u30b9\u30c8", "https://xn--r8jz45g.xn--zckzah"),
        ("https://\uff41\uff42.example", "https://ab.example"),
        ("https://203.0.113.7:8080", "https://203.0.113.7:8080"),
        ("https://[2001:DB8:0::7]:8443", "https://[2001:db8::7]:8443"),
        ("https://my_app.example.com", "https://my_app.example.com"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
    ],
)
def test_an_origin_is_read_as_the_browser_will_spell_it(written: str, serialized: str) -> None:
    """A capital letter or a default port in a settings file must not lock a friend out."""
    assert Origin.parse(written).serialize() == serialized


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("localhost:9999", "Write 'https://localhost:9999'"),
        ("app.example.com", "Write 'https://app.example.com'"),
        ("//app.example.com", "no scheme"),
        ("https://app.example.com/login", "carries a path. Write 'https://app.example.com'"),
        ("https://app.example.com//", "carries a path"),
        ("https://app.example.com?x=1", "carries a query. Write 'https://app.example.com'"),
        ("https://app.example.com#top", "carries a fragment"),
        ("https://app.example.com\\@evil.example", "carries a path"),
        ("https://me:pw@app.example.com", "user information. Write 'https://app.example.com'"),
        ("https://a.example,https://b.example", "Write a list"),
        ("https://a.example https://b.example", "Write a list"),
        (" https://a.example", "white space"),
        ("https://a.example\r\n", "white space"),
        ("https://a.ex\x00ample", "control character"),
        ("wss://app.example.com", "Write 'https://app.example.com'"),
        ("ws://app.example.com", "Write 'http://app.example.com'"),
        ("null", "allow_null"),
        ("file:///home/me/page.html", "'null'"),
        ("data:text/html,x", "several origins"),
        ("https://", "not a host name"),
        ("https://:443", "not a host name"),
        ("https://app.example.com:", "port"),
        ("https://app.example.com:0", "port"),
        ("https://app.example.com:65536", "port"),
        ("https://app.example.com:8a", "port"),
        ("https://app.example.com:\u0664\u0664\u0663", "port"),
        ("https://app..example.com", "not a host name"),
        ("https://app.example.com.", "trailing dot"),
        ("https://app%2eexample.com", "not a host name"),
        ("https://app.example.com{.evil.example", "not a host name"),
        (f"https://{'a' * 64}.example", "not a host name"),
        (f"https://{'a.' * 130}example", "not a host name"),
        ("https://xn--.\u00fc", "not a valid host name"),
        ("https://127.1", "dotted IPv4"),
        ("https://0x7f000001", "dotted IPv4"),
        ("https://2130706433", "dotted IPv4"),
        ("https://256.0.0.1", "dotted IPv4"),
        ("https://[::1", "IPv6"),
        ("https://[::1%eth0]", "IPv6"),
        ("https://[v1.x]", "IPv6"),
        ("https://*.example.com", "pattern"),
        ("1https://a.example", "scheme"),
        ("ht tp://a.example", "several origins"),
        (b"https://a.example", "bytes"),
        (None, "NoneType"),
    ],
)
def test_what_is_more_or_less_than_an_origin_is_refused_with_the_fix(
    written: Any, told: str
) -> None:
    """An entry that never matches, or matches too much, must not wait for an incident."""
    with pytest.raises(ConfigError) as refused:
        Origin.parse(written)
    assert told in str(refused.value)


def test_a_trailing_slash_is_taken_off_with_a_warning() -> None:
    """Copied from the address bar, it is why a listed origin never matches."""
    with pytest.warns(OriginWarning, match="without a slash"):
        origin = Origin.parse("https://app.example.com/")
    assert origin.serialize() == "https://app.example.com"


def test_a_pattern_with_a_trailing_slash_is_mended_the_same_way() -> None:
    """One spelling rule for all entries."""
    with pytest.warns(OriginWarning, match="without its slash"):
        pattern = OriginPattern.parse("https://*.example.com/")
    assert str(pattern) == "https://*.example.com"


def test_a_parsed_origin_cannot_be_changed() -> None:
    """What was checked at start-up must be what decides later."""
    origin = Origin.parse("https://app.example.com")
    with pytest.raises(FrozenInstanceError):
        origin.host = "evil.example"  # type: ignore[misc]


LABELS = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=12).filter(
    lambda label: not label.isdigit() and not label.lower().startswith(("0x", "xn--"))
)
HOSTS = st.lists(LABELS, min_size=1, max_size=4).map(".".join) | st.builds(
    str, st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address)
)
PORTS = st.none() | st.integers(1, 65535)
WRITTEN = st.builds(
    lambda scheme, host, port: f"{scheme}://{host}" + ("" if port is None else f":{port}"),
    st.sampled_from(["http", "HTTPS", "capacitor"]),
    HOSTS,
    PORTS,
)


@settings(deadline=None)
@given(WRITTEN)
def test_reading_what_was_serialized_changes_nothing(written: str) -> None:
    """One origin has one spelling (RFC 6454 section 6.2), or two gates could disagree."""
    once = Origin.parse(written)

    assert Origin.parse(once.serialize()) == once
    assert once.serialize() == once.serialize().lower()


@settings(deadline=None)
@given(WRITTEN, WRITTEN)
def test_a_policy_lets_in_exactly_the_origin_it_lists(listed: str, other: str) -> None:
    """Neither a prefix, nor a suffix, nor another port or scheme of a friend is a friend."""
    policy = OriginPolicy([listed], environment="development")
    friend, stranger = Origin.parse(listed), Origin.parse(other)

    assert policy.allows(friend.serialize())
    assert policy.allows(stranger.serialize()) == (stranger == friend)


@settings(deadline=None)
@given(st.text(max_size=60) | st.builds("https://{}".format, st.text(max_size=60)))
def test_any_text_is_read_or_refused_and_nothing_else(written: str) -> None:
    """Origins come out of settings pages too; a strange one must not raise something unforeseen."""
    try:
        origin = Origin.parse(written)
    except (ConfigError, OriginWarning):
        return
    assert origin.serialize().isascii()
    assert not set(origin.serialize()) & set("/\\@?#, \r\n").difference("/")
