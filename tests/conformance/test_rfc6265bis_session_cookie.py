"""RFC 6265bis: the session cookie, as it is set and as it is read back."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response

from asgi_guard.auth.sessions import SessionCookie
from asgi_guard.auth.sessions.identifiers import new_sid
from asgi_guard.errors import AuthenticationError, ConfigError
from tests.support.sessions_world import world

COOKIE = SessionCookie()
SID = "s" * 43


def scope(*lines: bytes) -> dict[str, Any]:
    return {"type": "http", "headers": [(b"cookie", line) for line in lines]}


def read(*lines: bytes) -> str | None:
    sid = COOKIE.read(scope(*lines))
    return None if sid is None else sid.reveal()


async def test_section_4_1_3_2_the_host_prefix_and_what_it_requires() -> None:
    """A browser takes a ``__Host-`` cookie only if Secure, with Path=/ and without Domain."""
    issued = await world().login()

    name, line = COOKIE.header(issued)

    assert name == b"set-cookie"
    pair, *attributes = line.decode().split("; ")
    assert pair == f"__Host-sid={issued.sid.reveal()}"
    assert attributes == ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"]
    assert re.fullmatch(rb"[\x21-\x3a\x3c-\x7e ;]+", line)


def test_section_5_7_the_cookie_is_removed_under_the_same_conditions() -> None:
    """Without them a browser ignores the removal as it would the cookie."""
    assert COOKIE.clearing == (
        b"set-cookie",
        b"__Host-sid=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax",
    )


async def test_a_response_gets_the_cookie_and_is_kept_by_no_cache() -> None:
    """OWASP Session Management Cheat Sheet, "Web Content Caching"; other cookies stay."""
    issued, response = await world().login(), Response()
    response.set_cookie("theme", "dark")

    COOKIE.set(response, issued)

    values = [value for name, value in response.raw_headers if name == b"set-cookie"]
    assert values == [b"theme=dark; Path=/; SameSite=lax", COOKIE.header(issued)[1]]
    assert response.headers["cache-control"] == "no-store"
    COOKIE.clear(response)
    assert response.raw_headers[-1][1] == COOKIE.clearing[1]


@pytest.mark.parametrize("name", ["sid", "__Secure-sid", "__host-sid", "__Host-", "__Host-a b"])
def test_a_cookie_that_others_could_set_is_refused(name: str) -> None:
    """A neighbouring subdomain, or whoever sits on the network."""
    with pytest.raises(ConfigError):
        SessionCookie(name=name)
    with pytest.raises(ConfigError):
        SessionCookie(same_site="None")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "lines",
    [
        (b"__Host-sid=" + SID.encode(),),
        (b"a=b; __Host-sid=" + SID.encode() + b"; c=d",),
        (b"a=b;__Host-sid=" + SID.encode(),),
        (b"a=b", b"__Host-sid=" + SID.encode()),  # HTTP/2 crumbs, RFC 9113 section 8.2.3
        (b"broken; =; ;; __Host-sid=" + SID.encode(),),
        (b'q="a; __Host-sid=' + SID.encode() + b"; b",),  # no quoting: a browser knows of none
    ],
)
def test_section_5_8_3_the_cookie_is_found_among_others(lines: tuple[bytes, ...]) -> None:
    """Other cookies are other people's, and may be malformed."""
    assert read(*lines) == SID


@pytest.mark.parametrize(
    "line",
    [
        b"__host-sid=%b",
        b"__HOST-sid=%b",
        b"__Host-SID=%b",
        b"__Host%%2dsid=%b",
        b"%%5f_Host-sid=%b",
        b"\xe2\x80\x80__Host-sid=%b",  # Unicode spaces that other parsers trim
        b"\xa0__Host-sid=%b",
        b"\x85__Host-sid=%b",
        b"\x1f__Host-sid=%b",
        b"$Version=1, __Host-sid=%b",  # RFC 2109 separators
        b"x__Host-sid=%b",
        b"__Host-sid",
        b"",
    ],
)
def test_what_browsers_do_not_hold_to_be_the_prefixed_name_is_not_it(line: bytes) -> None:
    """Else a page that may not set ``__Host-sid`` sets something that we take for it."""
    assert read(line % SID.encode() if b"%b" in line else line) is None


@pytest.mark.parametrize(
    "value",
    [b"", b'"%b"' % SID.encode(), b"%73" + SID.encode()[1:], SID.encode() + b"=", b"\xff" * 43],
)
def test_a_value_that_is_no_sid_is_refused_and_taken_away(value: bytes) -> None:
    """Nothing is unquoted or percent-decoded on the way to the store."""
    with pytest.raises(AuthenticationError) as refused:
        read(b"__Host-sid=" + value)

    assert refused.value.reason == "session_malformed"
    assert COOKIE.clearing in refused.value.headers


@given(st.binary(max_size=300), st.binary(max_size=60))
def test_whatever_the_bytes_it_is_a_sid_none_or_a_refusal(noise: bytes, value: bytes) -> None:
    """A parser that a stranger can make raise anything else answers 500."""
    for line in (noise, b"__Host-sid=" + value + b";" + noise):
        try:
            found = read(line)
        except AuthenticationError:
            continue
        assert found is None or re.fullmatch(r"[A-Za-z0-9_-]{43}", found)


def test_a_fresh_sid_survives_the_way_through_a_browser() -> None:
    """It has no character that any cookie parser treats specially."""
    sid = new_sid().reveal()

    assert read(f"__Host-sid={sid}".encode()) == sid
