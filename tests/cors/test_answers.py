"""One table of requests and the full set of response fields that each must get.

Compared whole: a field too many is a grant that nobody asked for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from asgi_guard.cors import CORSAllowlistMiddleware, CORSPolicy
from asgi_guard.errors import ConfigError
from asgi_guard.origins import DynamicOriginPolicy, OriginPolicy
from tests.support.cors_client import ask, hello, preflight, recorded_events, saying
from tests.support.cors_tenants import Answers, addressed_to, tenant_of

APP = "https://app.example.com"
TENANT = "https://acme.tenants.example.com"
EVIL = "https://evil.example"
TEXT = ("content-type", "text/plain")
VARY = ("vary", "Origin")
VARY_PREFLIGHT = (
    "vary",
    (
        "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, "
        "Access-Control-Request-Private-Network"
    ),
)
CREDENTIALS = ("access-control-allow-credentials", "true")

PLAIN = CORSPolicy(allow_origins=[APP, "https://*.tenants.example.com"])
RICH = CORSPolicy(
    allow_origins=[APP],
    allow_methods=["GET", "PUT"],
    allow_headers=["X-One", "X-Two"],
    allow_credentials=True,
    expose_headers=["X-Total", "ETag"],
    max_age=7200,
    allow_private_network=True,
    timing_allow_origin=True,
)
EVERYONE = CORSPolicy(
    allow_origins=["*"],
    allow_methods=["*"],
    allow_headers=["*", "Authorization"],
    expose_headers=["*"],
    timing_allow_origin=True,
    max_age=0,
)


def allow(origin: str) -> tuple[str, str]:
    return ("access-control-allow-origin", origin)


@pytest.mark.parametrize(
    ("policy", "origin", "expected"),
    [
        (PLAIN, None, {TEXT, VARY}),
        (PLAIN, EVIL, {TEXT, VARY}),
        (PLAIN, "null", {TEXT, VARY}),
        (PLAIN, APP, {TEXT, VARY, allow(APP)}),
        (PLAIN, TENANT, {TEXT, VARY, allow(TENANT)}),
        (RICH, None, {TEXT, VARY}),
        (RICH, EVIL, {TEXT, VARY}),
        (
            RICH,
            APP,
            {
                TEXT,
                VARY,
                allow(APP),
                CREDENTIALS,
                ("access-control-expose-headers", "etag, x-total"),
                ("timing-allow-origin", APP),
            },
        ),
        *(
            (
                EVERYONE,
                origin,
                {
                    TEXT,
                    allow("*"),
                    ("access-control-expose-headers", "*"),
                    ("timing-allow-origin", "*"),
                },
            )
            for origin in (None, EVIL, "null", "nonsense")
        ),
        (CORSPolicy(), APP, {TEXT, VARY}),
    ],
)
async def test_an_answer_carries_what_is_granted_and_nothing_else(
    policy: CORSPolicy, origin: str | None, expected: set[tuple[str, str]]
) -> None:
    """Allowed, denied and origin-less answers, each compared on all of its fields."""
    with recorded_events():
        answer = await ask(CORSAllowlistMiddleware(hello, policy=policy), origin=origin)

    assert set(answer.fields) == expected
    assert len(answer.fields) == len(expected)  # no field twice
    assert answer.body == b"hello"  # a denied request is served; its answer cannot be read


@pytest.mark.parametrize(
    ("policy", "origin", "method", "headers", "expected"),
    [
        (
            PLAIN,
            APP,
            "GET",
            None,
            {
                allow(APP),
                ("access-control-allow-methods", "GET"),
                ("access-control-max-age", "600"),
                VARY_PREFLIGHT,
            },
        ),
        (
            PLAIN,
            TENANT,
            "POST",
            "content-type",
            {
                allow(TENANT),
                ("access-control-allow-methods", "POST"),
                ("access-control-allow-headers", "content-type"),
                ("access-control-max-age", "600"),
                VARY_PREFLIGHT,
            },
        ),
        (
            RICH,
            APP,
            "PUT",
            "x-one",
            {
                allow(APP),
                CREDENTIALS,
                ("access-control-allow-methods", "PUT"),
                ("access-control-allow-headers", "x-one"),
                ("access-control-max-age", "7200"),
                VARY_PREFLIGHT,
            },
        ),
        (
            EVERYONE,
            EVIL,
            "DELETE",
            "authorization,x-anything",
            {
                allow("*"),
                ("access-control-allow-methods", "DELETE"),
                ("access-control-allow-headers", "authorization, x-anything"),
                ("access-control-max-age", "0"),
                VARY_PREFLIGHT,
            },
        ),
    ],
)
async def test_a_preflight_is_granted_what_it_asked_for_and_no_more(
    policy: CORSPolicy,
    origin: str,
    method: str,
    headers: str | None,
    expected: set[tuple[str, str]],
) -> None:
    """The list of all that would be allowed is nobody's business."""
    answer = await preflight(
        CORSAllowlistMiddleware(unreachable, policy=policy), origin, method, headers
    )

    assert answer.status == 204
    assert answer.body == b""
    assert set(answer.fields) == expected
    assert len(answer.fields) == len(expected)


async def unreachable(scope: Any, receive: Any, send: Any) -> None:
    """Fail the test: a preflight is answered before the app."""
    raise AssertionError(scope["path"])


@pytest.mark.parametrize(
    ("policy", "origin", "method", "headers", "reason"),
    [
        (RICH, EVIL, "GET", None, "not_listed"),
        (RICH, "null", "GET", None, "null"),
        (RICH, "https://APP.example.com", "GET", None, "malformed"),
        (RICH, APP, "DELETE", None, "method"),
        (RICH, APP, "get", None, "method"),
        (RICH, APP, "GET, PUT", None, "method"),
        (RICH, APP, "", None, "method"),
        (RICH, APP, "GET\r\nX-Injected: 1", None, "method"),
        (RICH, APP, "GET", "x-three", "headers"),
        (RICH, APP, "GET", "x-one,x-three", "headers"),
        (RICH, APP, "GET", "authorization", "headers"),
        (RICH, APP, "GET", "*", "headers"),
        (RICH, APP, "GET", "x-one\r\nx-injected: 1", "headers"),
        (RICH, APP, "GET", "x-one;x-two", "headers"),
        (EVERYONE, EVIL, "GET", "x y", "headers"),
        (EVERYONE, EVIL, "GET", "x\r\ny", "headers"),
        (EVERYONE, EVIL, "GET", b"x-\xff", "headers"),
        (EVERYONE, EVIL, "CUSTOM", None, "method"),
        (replace(EVERYONE, allow_headers=["*"]), EVIL, "GET", "authorization", "headers"),
        (PLAIN, APP, "GET", ",".join(f"x-{n}" for n in range(100)), "headers_too_many"),
        (PLAIN, APP, "GET", "x" * 5000, "headers_too_many"),
    ],
)
async def test_a_denied_preflight_carries_no_grant_at_all_and_says_why_in_the_event(
    policy: CORSPolicy, origin: str, method: str, headers: str | bytes | None, reason: str
) -> None:
    """Half a grant is cached, probed and combined; the operator learns which rule it was."""
    with recorded_events() as events:
        answer = await preflight(
            CORSAllowlistMiddleware(unreachable, policy=policy), origin, method, headers
        )

    assert answer.status == 403
    assert answer.grants == set()
    assert answer.values("vary") == [VARY_PREFLIGHT[1]]
    assert b"cors_denied" in answer.body
    assert [(e.name, e.outcome, e.reason) for e in events] == [("CORS_DENIED", "denied", reason)]
    assert events[0].request_id
    assert events[0].client == "203.0.113.7"
    sent = headers.encode("latin-1") if isinstance(headers, str) else headers or b""
    assert not sent or sent not in answer.body


@pytest.mark.parametrize(
    ("headers", "granted"),
    [
        ("x-one,x-two", "x-one, x-two"),
        ("X-One, X-TWO", "x-one, x-two"),
        (" x-one\t,\t x-two ", "x-one, x-two"),
        ("x-one,,x-two,", "x-one, x-two"),
        ("x-one,x-one,X-ONE", "x-one"),
    ],
)
async def test_odd_but_legal_lists_of_requested_headers_are_understood(
    headers: str, granted: str
) -> None:
    """RFC 9110 section 5.6.1.2: empty members and white space are to be borne."""
    answer = await preflight(CORSAllowlistMiddleware(hello, policy=RICH), APP, "GET", headers)
    assert answer.values("access-control-allow-headers") == [granted]


async def test_a_list_split_over_several_fields_is_one_list() -> None:
    """A proxy may split it (RFC 9110 section 5.3); checking one part would grant the other."""
    app = CORSAllowlistMiddleware(hello, policy=RICH)
    more = ("access-control-request-headers", "x-two")
    answer = await preflight(app, APP, "GET", "x-one", fields=[more])
    assert answer.values("access-control-allow-headers") == ["x-one, x-two"]

    with recorded_events():
        worse = ("access-control-request-headers", "x-three")
        answer = await preflight(app, APP, "GET", "x-one", fields=[worse])
    assert answer.grants == set()


@pytest.mark.parametrize("headers", ["", " ", ",", ",,,"])
async def test_an_empty_list_asks_for_nothing(headers: str) -> None:
    """Old clients send the field without a name in it."""
    answer = await preflight(CORSAllowlistMiddleware(hello, policy=RICH), APP, "GET", headers)
    assert answer.status == 204
    assert answer.values("access-control-allow-headers") == []


@pytest.mark.parametrize("value", ["true", "false", ""])
async def test_a_private_network_is_granted_by_its_own_switch_only(value: str) -> None:
    """A public page must not reach a printer's settings because CORS is on (off by default)."""
    asked = [("access-control-request-private-network", value)]
    answer = await preflight(CORSAllowlistMiddleware(hello, policy=RICH), APP, fields=asked)
    assert answer.values("access-control-allow-private-network") == ["true"]

    with recorded_events() as events:
        answer = await preflight(CORSAllowlistMiddleware(hello, policy=PLAIN), APP, fields=asked)
    assert answer.grants == set()
    assert [event.reason for event in events] == ["private_network"]


async def test_a_preflight_with_two_methods_is_denied() -> None:
    """Which of them an inner layer believes cannot be known."""
    asked = [("access-control-request-method", "PUT")]
    with recorded_events() as events:
        answer = await preflight(
            CORSAllowlistMiddleware(hello, policy=RICH), APP, "GET", fields=asked
        )
    assert answer.grants == set()
    assert [event.reason for event in events] == ["method"]


@pytest.mark.parametrize(
    ("method", "origin", "fields"),
    [
        ("OPTIONS", APP, []),
        ("OPTIONS", None, [("access-control-request-method", "GET")]),
        ("POST", APP, [("access-control-request-method", "GET")]),
    ],
)
async def test_what_is_no_preflight_reaches_the_app(
    method: str, origin: str | None, fields: list[tuple[str, str]]
) -> None:
    """OPTIONS is a method of its own: WebDAV and health checks use it."""
    app = CORSAllowlistMiddleware(hello, policy=PLAIN)
    answer = await ask(app, method, origin=origin, fields=fields)
    assert answer.status == 200
    assert answer.body == b"hello"
    assert answer.values("vary") == ["Origin"]


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
async def test_two_origins_are_refused_not_guessed_at(method: str) -> None:
    """The first may be the friend that this layer reads, the second the one the app believes."""
    asked = [("origin", EVIL), ("access-control-request-method", "GET")]
    app = CORSAllowlistMiddleware(unreachable, policy=PLAIN)
    with recorded_events() as events:
        answer = await ask(app, method, origin=APP, fields=asked)
    assert answer.status == 400
    assert answer.grants == set()
    assert answer.values("vary") == ["Origin"]
    assert [event.reason for event in events] == ["duplicate_origin"]


MEDDLING = (
    (b"Access-Control-Allow-Origin", b"*"),
    (b"access-control-allow-origin", EVIL.encode()),
    (b"ACCESS-CONTROL-ALLOW-CREDENTIALS", b"true"),
    (b"access-control-allow-methods", b"DELETE"),
    (b"access-control-allow-headers", b"*"),
    (b"access-control-allow-private-network", b"true"),
    (b"access-control-expose-headers", b"*"),
    (b"access-control-max-age", b"86400"),
    (b"timing-allow-origin", b"*"),
)


@pytest.mark.parametrize("origin", [None, EVIL, APP])
async def test_the_policy_alone_grants_whatever_the_app_set_itself(origin: str | None) -> None:
    """A left-over '*' in one handler must not undo the policy, nor double the field."""
    app = CORSAllowlistMiddleware(saying(*MEDDLING, (b"x-own", b"1")), policy=PLAIN)
    with recorded_events():
        answer = await ask(app, origin=origin)
    granted = {allow(APP)} if origin == APP else set()
    assert answer.grants == granted
    assert len(answer.values("access-control-allow-origin")) == len(granted)
    assert answer.values("x-own") == ["1"]


async def test_an_app_that_sends_one_message_twice_gets_no_field_twice() -> None:
    """Peers change the app's own list, and pile up fields on the second request."""
    fields = ((b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"vary", b"Accept"))
    app = CORSAllowlistMiddleware(saying(*fields), policy=RICH)

    first, second = await ask(app, origin=APP), await ask(app, origin=APP)
    with recorded_events():
        third = await ask(app, origin=EVIL)

    assert first == second
    assert first.values("set-cookie") == third.values("set-cookie") == ["a=1", "b=2"]
    assert third.grants == set()


@pytest.mark.parametrize(
    ("sent", "merged"),
    [
        ([], ["Origin"]),
        ([b"Accept-Encoding"], ["Accept-Encoding, Origin"]),
        ([b"Accept", b"Accept-Language"], ["Accept, Accept-Language, Origin"]),
        ([b"origin"], ["origin"]),
        ([b"Accept, ORIGIN"], ["Accept, ORIGIN"]),
        ([b"*"], ["*"]),
        ([b"Accept", b"*"], ["*"]),
        ([b""], ["Origin"]),
    ],
)
@pytest.mark.parametrize("origin", [None, EVIL, APP])
async def test_vary_is_merged_and_never_doubled(
    sent: list[bytes], merged: list[str], origin: str | None
) -> None:
    """A cache that misses it hands one origin's answer to another (RFC 9110 section 12.5.5)."""
    app = CORSAllowlistMiddleware(saying(*((b"Vary", value) for value in sent)), policy=PLAIN)
    with recorded_events():
        assert (await ask(app, origin=origin)).values("vary") == merged


async def test_a_cached_answer_that_is_the_same_for_all_stays_shareable() -> None:
    """With '*' there is one answer, so Vary would only split caches."""
    app = CORSAllowlistMiddleware(saying((b"vary", b"Accept")), policy=EVERYONE)
    assert (await ask(app)).fields == (await ask(app, origin=EVIL)).fields
    assert (await ask(app)).values("vary") == ["Accept"]


async def test_a_denied_request_leaves_an_event_and_a_page_talking_to_its_own_server_none() -> None:
    """Browsers send an Origin with every same-origin POST; noise would hide the attack."""
    app = CORSAllowlistMiddleware(hello, policy=PLAIN)
    with recorded_events() as events:
        await ask(app, "POST", origin="https://api.example.com")
        await ask(app, "POST", origin=EVIL, fields=[("sec-fetch-site", "same-origin")])
        await ask(app, "POST", origin=APP)
        await ask(app, "POST")
        assert events == []
        await ask(app, "POST", origin=EVIL)
        await ask(app, "POST", origin=b"x" * 5000 + b"\xff")
    assert [(e.reason, e.details["origin"]) for e in events] == [
        ("not_listed", EVIL),
        ("malformed", "x" * 200),
    ]


async def test_the_provider_is_asked_before_the_app_runs() -> None:
    """One gate object for several rooms: a dynamic policy grants through CORS as well."""
    answers = Answers(("acme", "https://shop.example"))
    gate = DynamicOriginPolicy(OriginPolicy([APP]), provider=answers, tenant_of=tenant_of)
    policy = CORSPolicy(allow_origins=gate, allow_credentials=True)
    assert policy.origins is gate
    app = CORSAllowlistMiddleware(hello, policy=policy)
    host = dict(addressed_to("acme")["headers"])[b"host"]

    async def as_acme(scope: Any, receive: Any, send: Any) -> None:
        headers = [(n, host if n == b"host" else v) for n, v in scope["headers"]]
        await app({**scope, "headers": headers}, receive, send)

    with recorded_events():
        assert (await preflight(as_acme, "https://first.example")).status == 403
        for _ in range(2):  # asked, then kept
            assert (await ask(as_acme, origin="https://shop.example")).grants == {
                allow("https://shop.example"),
                CREDENTIALS,
            }
            assert (await preflight(as_acme, "https://shop.example")).status == 204
            assert (await ask(app, origin="https://shop.example")).grants == set()
            assert (await preflight(app, "https://shop.example")).status == 403
    assert answers.asked == {
        ("acme", "https://first.example"): 1,
        ("acme", "https://shop.example"): 1,
    }


async def test_a_dynamic_policy_with_credentials_stays_safe_through_reloads() -> None:
    """What was checked when built must hold for what is put in its place."""
    gate = DynamicOriginPolicy(OriginPolicy([APP]))
    CORSPolicy(allow_origins=gate, allow_credentials=True)
    with pytest.raises(ConfigError, match=r"cors\.allow_credentials"):
        gate.reload(OriginPolicy(["*"]))
