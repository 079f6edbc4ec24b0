"""Origins that other libraries let in by mistake, one advisory or report each."""

from __future__ import annotations

import pytest

from asgi_guard.cors import CORSAllowlistMiddleware, CORSPolicy
from asgi_guard.origins import OriginPolicy
from tests.support.cors_client import ask, hello, preflight, recorded_events

CASES = {
    # jub0bs/cors before 0.1.3 (GHSA-vhxv-fg4m-p2w8): hosts that share a suffix.
    "two hosts glued together": (["https://foo.com", "https://bar.com"], "https://barfoo.com"),
    # gin-contrib/cors before 1.6 (CVE-2019-25211): a wildcard read as a prefix.
    "wildcard as prefix": (["https://*.example.com"], "https://a.example.com.evil.net"),
    # rs/cors and others: a wildcard that crosses into the authority's other parts.
    "wildcard over user information": (["https://*.example.com"], "https://evil.net@a.example.com"),
    "wildcard over a path": (["https://*.example.com"], "https://evil.net/.example.com"),
    "wildcard over a query": (["https://*.example.com"], "https://evil.net?.example.com"),
    "wildcard over a port": (["https://*.example.com"], "https://evil.net:1.example.com"),
    # Safari and Firefox accept odd characters in host names; expressions by hand let them pass.
    "odd characters in the name": (["https://*.example.com"], "https://evil.net{.example.com"),
    "backquote in the name": (["https://*.example.com"], "https://evil.net`.example.com"),
    "missing dot": (["https://*.example.com"], "https://evilexample.com"),
    "unescaped dot": (["https://app.example.com"], "https://appxexample.com"),
    "another scheme": (["https://app.example.com"], "http://app.example.com"),
    "another port": (["https://app.example.com"], "https://app.example.com:8080"),
    "null of a sandboxed frame": (["https://app.example.com"], "null"),
    "null, written differently": (["https://app.example.com"], "NULL"),
    "empty": (["https://app.example.com"], ""),
    "listed origin among others": (
        ["https://app.example.com"],
        "https://app.example.com, https://evil.net",
    ),
    "look-alike letter": (["https://app.example.com"], "https://\xe0pp.example.com"),
    "case": (["https://app.example.com"], "https://App.Example.Com"),
}


@pytest.mark.parametrize(("listed", "origin"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("credentials", [True, False])
async def test_a_stranger_gets_no_grant_and_is_named_in_the_event(
    listed: list[str], origin: str, *, credentials: bool
) -> None:
    """Neither on the answer nor on the preflight, which decide by the same object."""
    policy = CORSPolicy(allow_origins=listed, allow_credentials=credentials)
    app = CORSAllowlistMiddleware(hello, policy=policy)

    with recorded_events() as events:
        answer, asked = await ask(app, origin=origin), await preflight(app, origin)

    assert answer.grants == asked.grants == set()
    assert len(events) == 2
    assert {event.reason for event in events} <= {"not_listed", "malformed", "null"}


async def test_the_cases_find_out_a_comparison_by_suffix() -> None:
    """Control: an expression of the kind that people write by hand lets several of them in."""
    by_hand = OriginPolicy([], allow_origin_regex=r"https://.*example.com")
    let_in = {name for name, (_, origin) in CASES.items() if by_hand.allows(origin)}
    assert {"missing dot", "unescaped dot"} <= let_in
