"""The pure decision: one row per kind of request that a browser, or a forger, can make."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.cross_origin import CrossOriginPolicy, Evidence, Verdict
from asgi_guard.cross_origin.evidence import own_origins, read_evidence
from asgi_guard.errors import ConfigError
from tests.support.exchange import http_scope

POLICY = CrossOriginPolicy()
OWN = (b"https://app.example",)
FOREIGN = b"https://evil.example"

ALLOW, REFUSE, LISTED = Verdict.ALLOW, Verdict.REFUSE, Verdict.LISTED_ONLY


def seen(method: str = "GET", site: bytes | None = None, **more: Any) -> Evidence:
    return Evidence(method, site=site, **more)


@pytest.mark.parametrize(
    ("request_", "verdict", "reason"),
    [
        # The app's own pages, and what the visitor typed.
        (seen("POST", b"same-origin", origin=b"https://app.example"), ALLOW, "same_origin"),
        (seen("GET", b"same-origin", mode=b"no-cors", dest=b"image"), ALLOW, "same_origin"),
        (seen("GET", b"none", mode=b"navigate", dest=b"document"), ALLOW, "user_initiated"),
        # Behind a proxy that rewrites Host, and under Referrer-Policy: no-referrer, Origin is of
        # no help; the browser's own word is.
        (seen("POST", b"same-origin", origin=b"https://public.name"), ALLOW, "same_origin"),
        (seen("POST", b"same-origin", origin=b"null"), ALLOW, "same_origin"),
        # Following a link is no attack; loading the same page as a plug-in or frame may be.
        (seen("GET", b"cross-site", mode=b"navigate", dest=b"document"), ALLOW, "navigation"),
        (seen("HEAD", b"cross-site", mode=b"navigate", dest=b"document"), ALLOW, "navigation"),
        (seen("GET", b"cross-site", mode=b"navigate"), ALLOW, "navigation"),
        (seen("GET", b"cross-site", mode=b"navigate", dest=b"iframe"), REFUSE, "cross_site_read"),
        (seen("GET", b"cross-site", mode=b"navigate", dest=b"object"), REFUSE, "cross_site_read"),
        (seen("GET", b"cross-site", mode=b"navigate", dest=b"embed"), REFUSE, "cross_site_read"),
        # CSRF by form, by fetch, by sibling subdomain.
        (
            seen("POST", b"cross-site", mode=b"navigate", dest=b"document", origin=FOREIGN),
            LISTED,
            "cross_site_write",
        ),
        (
            seen("POST", b"cross-site", mode=b"navigate", dest=b"document", origin=b"null"),
            REFUSE,
            "cross_site_write",
        ),
        (seen("POST", b"cross-site", mode=b"navigate"), REFUSE, "cross_site_write"),
        (seen("DELETE", b"cross-site", mode=b"cors", origin=FOREIGN), LISTED, "cross_site_write"),
        (seen("POST", b"same-site", origin=b"https://b.example"), LISTED, "same_site_write"),
        (seen("TRACE", b"cross-site"), REFUSE, "cross_site_write"),
        (seen("get", b"cross-site", mode=b"navigate"), REFUSE, "cross_site_write"),
        # Reading across sites: script inclusion, image timing, fetch.
        (seen("GET", b"cross-site", mode=b"no-cors", dest=b"script"), REFUSE, "cross_site_read"),
        (seen("GET", b"cross-site", mode=b"no-cors", dest=b"image"), REFUSE, "cross_site_read"),
        (seen("GET", b"cross-site", mode=b"cors", origin=FOREIGN), LISTED, "cross_site_read"),
        (seen("GET", b"same-site", mode=b"no-cors", dest=b"image"), REFUSE, "same_site_read"),
        # Values no browser sends.
        (seen("GET", b""), REFUSE, "unknown_site_read"),
        (seen("POST", b"Same-Origin"), REFUSE, "unknown_site_write"),
        (seen("POST", b"same-origin, cross-site"), REFUSE, "unknown_site_write"),
        (seen("POST", b"same-origin", doubled="origin"), REFUSE, "origin_doubled"),
        (seen("GET", b"none", doubled="sec_fetch_site"), REFUSE, "sec_fetch_site_doubled"),
        # Old browsers: Origin against Host.
        (seen("POST", origin=b"https://app.example"), ALLOW, "same_origin"),
        (seen("POST", origin=FOREIGN), LISTED, "origin_foreign"),
        (seen("POST", origin=b"http://app.example"), LISTED, "origin_foreign"),
        (seen("POST", origin=b"https://app.example:8443"), LISTED, "origin_foreign"),
        (seen("POST", origin=b"https://app.example.evil.example"), LISTED, "origin_foreign"),
        (seen("POST", origin=b"HTTPS://APP.EXAMPLE"), LISTED, "origin_foreign"),
        (seen("POST", origin=b"null"), REFUSE, "origin_null"),
        (seen("GET", origin=FOREIGN), LISTED, "origin_foreign"),
        # Not a browser.
        (seen("POST"), ALLOW, "not_a_browser"),
        (seen("GET"), ALLOW, "not_a_browser"),
        # Tokens that no browser adds, with and without a cookie beside them.
        (
            seen("POST", b"cross-site", mode=b"cors", origin=FOREIGN, has_token=True),
            ALLOW,
            "token_without_cookie",
        ),
        (seen("POST", b"cross-site", has_token=True), ALLOW, "token_without_cookie"),
        (
            seen("POST", b"cross-site", origin=FOREIGN, has_token=True, has_cookie=True),
            LISTED,
            "cross_site_write",
        ),
        (seen("POST", b"cross-site", has_token=True, doubled="authorization"), REFUSE, None),
        # Preflights are CORS's to answer.
        (
            seen("OPTIONS", b"cross-site", mode=b"cors", origin=FOREIGN, is_preflight=True),
            ALLOW,
            "preflight",
        ),
        (seen("OPTIONS", b"cross-site", origin=FOREIGN), LISTED, "cross_site_read"),
    ],
)
def test_each_kind_of_request_gets_its_verdict(
    request_: Evidence, verdict: Verdict, reason: str | None
) -> None:
    """One table, so that a reader can see every door and which way it opens."""
    decision = POLICY.judge_request(request_, own_origins=OWN)

    assert decision.verdict is verdict
    assert reason in {None, decision.reason}


@pytest.mark.parametrize(
    ("origin", "verdict", "reason"),
    [
        (b"https://app.example", ALLOW, "same_origin"),
        (FOREIGN, LISTED, "origin_foreign"),
        (b"http://app.example", LISTED, "origin_foreign"),
        (b"https://app.example, https://evil.example", LISTED, "origin_foreign"),
        (b"", LISTED, "origin_foreign"),
        (b"null", REFUSE, "origin_null"),
        (None, REFUSE, "origin_missing"),
    ],
)
def test_a_handshake_is_judged_by_its_origin(
    origin: bytes | None, verdict: Verdict, reason: str
) -> None:
    """The same-origin policy does not guard WebSockets (RFC 6455 section 10.2)."""
    decision = POLICY.judge_handshake(Evidence("GET", origin=origin), own_origins=OWN)

    assert (decision.verdict, decision.reason) == (verdict, reason)


def test_a_token_does_not_excuse_a_handshake_from_a_foreign_page() -> None:
    """A browser cannot add a token to a handshake, so one beside an Origin proves nothing."""
    strange = Evidence("GET", origin=FOREIGN, has_token=True)

    assert POLICY.judge_handshake(strange, own_origins=OWN).verdict is LISTED


@pytest.mark.parametrize("doubled", ["origin", "sec_fetch_site", "authorization"])
def test_a_handshake_with_a_doubled_header_is_refused(doubled: str) -> None:
    """Which of the two an inner layer would believe cannot be known."""
    twice = Evidence("GET", origin=OWN[0], doubled=doubled)

    assert POLICY.judge_handshake(twice, own_origins=OWN).verdict is REFUSE


def test_clients_without_an_origin_may_open_sockets_by_setting_only() -> None:
    """Native apps send no Origin; letting them in is for whoever has some."""
    native = CrossOriginPolicy(allow_websocket_without_origin=True)

    decision = native.judge_handshake(Evidence("GET"), own_origins=())

    assert decision.verdict is ALLOW
    null = Evidence("GET", origin=b"null")
    assert native.judge_handshake(null, own_origins=()).verdict is REFUSE


def test_sibling_subdomains_are_trusted_by_setting_only() -> None:
    """Under one domain per tenant, the sibling is another customer."""
    trusting = CrossOriginPolicy(trust_same_site=True)
    sibling = seen("POST", b"same-site", origin=b"https://b.example")

    assert trusting.judge_request(sibling).verdict is ALLOW
    assert trusting.judge_request(seen("POST", b"cross-site")).verdict is REFUSE


@pytest.mark.parametrize(
    ("request_", "verdict"),
    [
        (seen("GET", b"cross-site", mode=b"cors", origin=FOREIGN), ALLOW),
        (seen("HEAD", b"same-site", mode=b"cors", origin=b"null"), ALLOW),
        (seen("GET", origin=FOREIGN), ALLOW),
        (seen("GET", b"cross-site", mode=b"cors", origin=FOREIGN, has_cookie=True), LISTED),
        (seen("GET", b"cross-site", mode=b"cors", origin=FOREIGN, has_authorization=True), LISTED),
        (seen("GET", origin=FOREIGN, has_cookie=True), LISTED),
        (seen("GET", b"cross-site", mode=b"no-cors", dest=b"script"), REFUSE),
        (seen("GET", b"cross-site"), REFUSE),
        (seen("POST", b"cross-site", mode=b"cors", origin=FOREIGN), LISTED),
        (seen("POST", origin=FOREIGN), LISTED),
    ],
)
def test_a_public_api_serves_reads_that_speak_for_nobody_by_setting(
    request_: Evidence, verdict: Verdict
) -> None:
    """CORS then says who may read the answer; writes and credentials stay where they were."""
    public = CrossOriginPolicy(anonymous_cors_reads=True)

    assert public.judge_request(request_, own_origins=OWN).verdict is verdict


def test_an_embeddable_app_opens_its_frames_by_name() -> None:
    """An app that lives in other people's iframes says so; plug-ins cannot be named at all."""
    embeddable = CrossOriginPolicy(navigable_from_outside=["document", "iframe"])
    framed = seen("GET", b"cross-site", mode=b"navigate", dest=b"iframe")
    closed = CrossOriginPolicy(navigable_from_outside=[])

    assert embeddable.judge_request(framed).verdict is ALLOW
    linked = seen("GET", b"cross-site", mode=b"navigate", dest=b"document")
    assert closed.judge_request(linked).verdict is REFUSE
    assert closed.judge_request(seen("GET", b"cross-site", mode=b"navigate")).verdict is REFUSE


@pytest.mark.parametrize(
    "settings",
    [
        {"exempt": "/hooks"},
        {"exempt": ["hooks"]},
        {"exempt": ["/hooks/"]},
        {"navigable_from_outside": "document"},
        {"navigable_from_outside": ["object"]},
        {"navigable_from_outside": ["Document"]},
    ],
)
def test_a_setting_that_cannot_mean_what_it_says_is_refused_when_built(
    settings: dict[str, Any],
) -> None:
    """Silence would be read as consent."""
    with pytest.raises(ConfigError, match=r"cross_origin\."):
        CrossOriginPolicy(**settings)


@given(
    method=st.sampled_from(["POST", "PUT", "PATCH", "DELETE", "QUERY", "post", "X"]),
    site=st.sampled_from([b"cross-site", b"same-site", b"", b"SAME-ORIGIN", b"nonsense"]),
    mode=st.sampled_from([None, b"navigate", b"cors", b"no-cors", b"websocket", b""]),
    dest=st.sampled_from([None, b"document", b"empty", b"iframe", b""]),
    origin=st.sampled_from([None, b"null", FOREIGN, b"https://app.example", b""]),
    has_cookie=st.booleans(),
)
def test_no_write_from_another_site_is_ever_allowed_outright(
    method: str,
    site: bytes,
    mode: bytes | None,
    dest: bytes | None,
    origin: bytes | None,
    *,
    has_cookie: bool,
) -> None:
    """Whatever else a request claims, only the list of friends can still let it in."""
    request_ = Evidence(method, origin, site, mode, dest, has_cookie=has_cookie)

    assert POLICY.judge_request(request_, own_origins=OWN).verdict is not ALLOW


@pytest.mark.parametrize(
    ("scheme", "host", "expected"),
    [
        ("https", "app.example", (b"https://app.example",)),
        ("https", "app.example:443", (b"https://app.example",)),
        ("https", "app.example:8443", (b"https://app.example:8443",)),
        ("https", "app.example:80", (b"https://app.example:80",)),
        ("http", "app.example", (b"http://app.example", b"https://app.example")),
        ("http", "app.example:80", (b"http://app.example", b"https://app.example:80")),
        ("http", "[::1]:8000", (b"http://[::1]:8000", b"https://[::1]:8000")),
        (None, "app.example", ()),
        ("https", None, ()),
    ],
)
def test_own_origins_are_spelled_as_browsers_spell_them(
    scheme: str | None, host: str | None, expected: tuple[bytes, ...]
) -> None:
    """An http page never counts as the https app's own: the network can write http pages."""
    assert own_origins(scheme, host) == expected


@pytest.mark.parametrize(
    ("authorization", "is_token"),
    [
        ("Bearer abc", True),
        ("bearer abc", True),
        ("DPoP abc", True),
        ("Bearer", False),
        ("Bearer ", False),
        ("Basic dXNlcjpwYXNz", False),
        ("Digest username=x", False),
        ("Negotiate abc", False),
        ("", False),
    ],
)
def test_only_credentials_that_no_browser_repeats_count_as_a_token(
    authorization: str, *, is_token: bool
) -> None:
    """Basic credentials, once typed, go out with cross-site requests just as cookies do."""
    evidence = read_evidence(http_scope(headers={"authorization": authorization}))

    assert evidence.has_token is is_token


@pytest.mark.parametrize(
    ("method", "headers", "is_preflight"),
    [
        ("OPTIONS", {"origin": "https://a.example", "access-control-request-method": "PUT"}, True),
        ("OPTIONS", {"origin": "https://a.example"}, False),
        ("OPTIONS", {"access-control-request-method": "PUT"}, False),
        ("POST", {"origin": "https://a.example", "access-control-request-method": "PUT"}, False),
    ],
)
def test_only_what_cors_will_answer_counts_as_a_preflight(
    method: str, headers: dict[str, str], *, is_preflight: bool
) -> None:
    """Dressing a write up as a preflight must not carry it past the check."""
    assert read_evidence(http_scope(method, headers=headers)).is_preflight is is_preflight
