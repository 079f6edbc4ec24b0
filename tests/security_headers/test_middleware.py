"""SecurityHeadersMiddleware on real ASGI apps."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.authentication import SimpleUser
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route

from asgi_guard._internal.principal import SCOPE_KEY as PRINCIPAL_KEY
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Principal
from asgi_guard.security_headers import (
    ContentSecurityPolicy,
    SecurityHeaders,
    SecurityHeadersMiddleware,
    StrictTransportSecurity,
    security_headers,
)
from asgi_guard.tenancy import UserExecutionContext, use_context
from tests.support.headers_client import collected_events, http_scope, plain_app, request

HTML = SecurityHeaders.html()
API = SecurityHeaders.api()
LAX = HTML.replace(content_security_policy=None, x_frame_options="SAMEORIGIN")


async def broken(request: Request) -> Any:
    raise RuntimeError("a bug")


async def hello(request: Request) -> Any:
    return PlainTextResponse("hello")


def starlette_app(**options: Any) -> Starlette:
    return Starlette(routes=[Route("/", hello), Route("/broken", broken)], **options)


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/", "GET", 200), ("/nowhere", "GET", 404), ("/", "PUT", 405), ("/broken", "GET", 500)],
)
@pytest.mark.parametrize("outermost", [True, False])
async def test_errors_carry_the_headers_as_pages_do(
    path: str, method: str, status: int, *, outermost: bool
) -> None:
    """An error page is a page: without a policy it is the place to inject a script into."""
    app = starlette_app()
    if outermost:
        guarded: Any = SecurityHeadersMiddleware(app, policy=HTML)
    else:
        app.add_middleware(SecurityHeadersMiddleware, policy=HTML)
        guarded = app

    answer = await request(guarded, http_scope(path, method=method))

    assert answer.status == status
    assert "content-security-policy" in answer.headers
    assert answer.headers["x-frame-options"] == "DENY"
    assert isinstance(answer.error, RuntimeError) is (status == 500)  # servers still log it


async def test_an_app_that_raises_without_an_error_layer_is_answered_here() -> None:
    """The server's own 500 would go out bare."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("secret detail")

    answer = await request(SecurityHeadersMiddleware(app, policy=API))

    assert answer.status == 500
    assert b"secret" not in answer.body
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert str(answer.error) == "secret detail"


@pytest.mark.parametrize("options", [{"debug": True}, {"exception_handlers": {Exception: broken}}])
async def test_an_apps_own_answer_to_exceptions_is_left_to_it(options: dict[str, Any]) -> None:
    """A debug page or an error tracker's handler must not be shadowed."""
    app = starlette_app(**options)
    app.add_middleware(SecurityHeadersMiddleware, policy=HTML)

    answer = await request(app, http_scope("/broken"))

    bodies = [each for each in answer.messages if each["type"] == "http.response.body"]
    assert not any(b"internal_error" in each["body"] for each in bodies)


async def test_a_response_that_broke_half_way_is_not_answered_twice() -> None:
    """A second start would be a protocol error, and hides the first."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("late")

    answer = await request(SecurityHeadersMiddleware(app, policy=HTML))

    assert len(answer.messages) == 1
    assert str(answer.error) == "late"


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_other_connections_get_the_servers_own_send(kind: str) -> None:
    """A wrapper here would cost each WebSocket message and serve nothing."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend((scope, receive, send))

    scope: Any = {"type": kind}

    async def receive() -> Any: ...
    async def send(message: Any) -> None: ...

    await SecurityHeadersMiddleware(app, policy=HTML)(scope, receive, send)

    assert seen == [{"type": kind}, receive, send]
    assert seen[0] is scope


@pytest.mark.parametrize(
    "message",
    [
        {"type": "http.response.body", "body": b"x", "more_body": True},
        {"type": "http.response.pathsend", "path": "/some/file"},
        {"type": "http.response.zerocopysend", "file": 7},
        {"type": "http.response.trailers", "headers": [(b"X-T", b"1")]},
        {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]},
        {"type": "http.response.debug", "info": {"template": "x"}},
        {"type": "http.response.push", "path": "/", "headers": []},
    ],
)
async def test_every_other_message_is_passed_on_as_the_same_object(message: Any) -> None:
    """Streaming and server extensions must work as if nothing stood between."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["extensions"] is extensions
        await send(message)

    extensions = {"http.response.pathsend": {}}
    answer = await request(
        SecurityHeadersMiddleware(app, policy=HTML), http_scope(extensions=extensions)
    )

    assert answer.error is None
    assert answer.messages[0] is message


async def test_a_stream_is_passed_on_chunk_by_chunk() -> None:
    """Server-sent events that arrive at the end are of no use."""
    order: list[str] = []

    async def chunks() -> Any:
        for number in range(3):
            order.append(f"made {number}")
            yield b"x"

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def noting_send(message: Any) -> None:
            if message.get("body"):
                order.append("sent")

        await SecurityHeadersMiddleware(StreamingResponse(chunks()), policy=HTML)(
            scope, receive, noting_send
        )

    # The client stays connected, so that the response is not cut short.
    await request(app, http_scope(asgi={"version": "3.0", "spec_version": "2.4"}))

    assert order == ["made 0", "sent", "made 1", "sent", "made 2", "sent"]


async def test_the_apps_own_message_list_and_cookies_stay_as_they_are() -> None:
    """An app may send the same object twice; peers pile up headers in it or lose a cookie."""
    lines = [(b"Set-Cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"X-Own", b"y")]
    start = {"type": "http.response.start", "status": 200, "headers": lines, "trailers": True}
    before = [*lines]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start)
        await send({"type": "http.response.body"})

    guarded = SecurityHeadersMiddleware(app, policy=HTML)
    first, second = await request(guarded), await request(guarded)

    assert start["headers"] is lines
    assert lines == before
    assert first.lines == second.lines
    assert [each for each in first.lines if each[0] == "set-cookie"] == [
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
    ]
    assert all(name == name.lower() for name, _ in first.lines)
    assert first.start["trailers"] is True


async def test_headers_may_come_as_any_iterable_or_not_at_all() -> None:
    """ASGI asks for an iterable and lets it be left out."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = ((b"x-n", b"%d" % number) for number in range(2))
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204})

    full = await request(SecurityHeadersMiddleware(app, policy=API))
    empty = await request(SecurityHeadersMiddleware(bare, policy=API))

    assert [each for each in full.lines if each[0] == "x-n"] == [("x-n", "0"), ("x-n", "1")]
    assert empty.headers["x-content-type-options"] == "nosniff"


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


@pytest.mark.parametrize(
    ("scope", "proxies", "environment", "sent"),
    [
        ({"scheme": "https"}, (), "production", True),
        ({"scheme": "http"}, (), "production", False),
        ({"scheme": "https"}, (), "development", False),
        ({"scheme": "https"}, (), "staging", False),
        ({"headers": [("x-forwarded-proto", "https")]}, (), "production", False),
        ({"headers": [("forwarded", "proto=https")]}, (), "production", False),
        ({"headers": [("x-forwarded-proto", "https")]}, ["203.0.113.0/24"], "production", True),
        ({"headers": [("x-forwarded-proto", "https")]}, ["203.0.114.0/24"], "production", False),
        ({"headers": [("forwarded", "proto=https")]}, ["203.0.113.0/24"], "production", False),
        (
            {"scheme": "https", "headers": [("x-forwarded-proto", "http")]},
            ["203.0.113.9"],
            "production",
            False,
        ),
        (
            {"headers": [("x-forwarded-proto", "https"), ("x-forwarded-proto", "https")]},
            ["203.0.113.9"],
            "production",
            False,
        ),
    ],
)
async def test_hsts_goes_out_only_over_https_as_a_trusted_proxy_sees_it(
    scope: dict[str, Any], proxies: Any, environment: str, *, sent: bool
) -> None:
    """RFC 6797 section 7.2; a stranger's header must not decide about it."""
    guarded = SecurityHeadersMiddleware(
        plain_app(), policy=HTML, trusted_proxies=proxies, environment=environment
    )

    headers = (await request(guarded, http_scope(**{"scheme": "http", **scope}))).headers

    assert ("strict-transport-security" in headers) is sent
    if environment == "production":
        assert ("upgrade-insecure-requests" in headers["content-security-policy"]) is sent


async def test_hsts_outside_production_is_a_named_decision() -> None:
    """A staging domain of its own may want it; localhost never does."""
    policy = HTML.replace(strict_transport_security=StrictTransportSecurity(production_only=False))
    guarded = SecurityHeadersMiddleware(plain_app(), policy=policy, environment="staging")

    assert "strict-transport-security" in (await request(guarded)).headers
    over_http = await request(guarded, http_scope(scheme="http"))
    assert "strict-transport-security" not in over_http.headers


async def test_a_scheme_that_an_inner_layer_rewrites_does_not_bring_hsts_back() -> None:
    """Only the trusted list decides, whatever an inner proxy middleware believes."""

    def believe(scope: Any) -> None:
        scope["scheme"] = "https"

    guarded = SecurityHeadersMiddleware(plain_app(before=believe), policy=HTML)

    answer = await request(guarded, http_scope(scheme="http"))

    assert "strict-transport-security" not in answer.headers


@pytest.mark.parametrize(
    ("scope", "own", "expected"),
    [
        ({}, [], None),
        ({}, [("set-cookie", "a=1")], "no-store"),
        ({}, [("Set-Cookie", "a=1")], "no-store"),
        ({"headers": [("authorization", "Bearer x")]}, [], "no-store"),
        ({PRINCIPAL_KEY: Principal(user_id="u")}, [], "no-store"),
        ({"user": SimpleUser("u")}, [], "no-store"),
        (
            {},
            [("set-cookie", "a=1"), ("Cache-Control", "private, max-age=5")],
            "private, max-age=5",
        ),
    ],
)
async def test_personal_answers_are_not_stored_unless_the_app_says_how(
    scope: dict[str, Any], own: list[tuple[str, str]], expected: str | None
) -> None:
    """A cache that keeps one user's page shows it to the next (CWE-525)."""
    guarded = SecurityHeadersMiddleware(plain_app(own), policy=HTML)

    answer = await request(guarded, http_scope(**scope))

    assert answer.headers.get("cache-control") == expected


async def test_an_answer_under_a_users_context_is_not_stored() -> None:
    """Whatever authenticated the user, the bound context is proof enough."""
    app = plain_app()

    async def as_user(scope: Any, receive: Any, send: Any) -> None:
        with use_context(UserExecutionContext(tenant_id="t", user_id="u")):
            await app(scope, receive, send)

    answer = await request(SecurityHeadersMiddleware(as_user, policy=HTML))

    assert answer.headers["cache-control"] == "no-store"


async def test_a_cacheable_policy_value_yields_to_no_store_for_personal_answers() -> None:
    """``public`` for everybody must not become ``public`` for one user's page."""
    policy = HTML.replace(cache_control="public, max-age=60")
    guarded = SecurityHeadersMiddleware(plain_app(), policy=policy)
    personal = http_scope(headers=[("authorization", "Basic x")])

    assert (await request(guarded)).headers["cache-control"] == "public, max-age=60"
    assert (await request(guarded, personal)).headers["cache-control"] == "no-store"


async def test_a_cache_rule_may_replace_what_the_app_says() -> None:
    """For apps whose framework sets a careless default."""
    policy = API.replace(rules={"cache-control": "replace"})
    guarded = SecurityHeadersMiddleware(plain_app([("cache-control", "public")]), policy=policy)

    assert (await request(guarded)).headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "frames"),
    [
        ("/embed", "SAMEORIGIN"),
        ("/embed/", "SAMEORIGIN"),
        ("/embed/a/b", "SAMEORIGIN"),
        ("/embedded", "DENY"),
        ("/", "DENY"),
        ("/EMBED", "DENY"),
        ("//embed", "DENY"),
        ("/embed/../admin", "DENY"),
        ("/embed/%2e%2e/admin", "DENY"),
        ("/x/../embed", "DENY"),
        ("/embed;x/a", "DENY"),
    ],
)
async def test_a_route_has_its_own_policy_and_no_spelling_reaches_it_from_outside(
    path: str, frames: str
) -> None:
    """A weaker policy is a door; the path must have one reading to open it."""
    guarded = SecurityHeadersMiddleware(plain_app(), policy=HTML, routes={"/embed/*": LAX})

    assert (await request(guarded, http_scope(path))).headers["x-frame-options"] == frames


async def test_a_route_is_read_before_a_mount_rewrites_the_path() -> None:
    """Inside a mount ``/admin/embed`` looks like ``/embed``, and must not get its policy."""
    inner = Starlette(routes=[Route("/embed", hello)])
    app = Starlette(routes=[Mount("/admin", inner)])
    guarded = SecurityHeadersMiddleware(app, policy=HTML, routes={"/embed": LAX})

    answer = await request(guarded, http_scope("/admin/embed"))

    assert answer.status == 200
    assert answer.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("framework", [Starlette, FastAPI])
async def test_a_handler_can_carry_its_own_policy(framework: Any) -> None:
    """The one page that partners frame says so where it is written."""
    app = framework()
    app.add_route("/plain", hello)
    app.add_route("/framed", security_headers(LAX)(lambda _request: PlainTextResponse("framed")))
    guarded = SecurityHeadersMiddleware(app, policy=HTML)

    framed = await request(guarded, http_scope("/framed"))
    plain = await request(guarded, http_scope("/plain"))

    assert (framed.status, framed.headers["x-frame-options"]) == (200, "SAMEORIGIN")
    assert plain.headers["x-frame-options"] == "DENY"


async def test_a_fastapi_handler_keeps_its_signature_under_the_decorator() -> None:
    """Path parameters are read from the function."""
    app = FastAPI()

    @app.get("/framed/{number}")
    @security_headers(LAX)
    def framed(number: int) -> int:
        return number

    answer = await request(SecurityHeadersMiddleware(app, policy=HTML), http_scope("/framed/7"))

    assert answer.body == b"7"
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"


def tenant_app() -> Any:
    app = plain_app()

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        context = UserExecutionContext(tenant_id=scope["path"].strip("/"), user_id="u")
        with use_context(context):
            await app(scope, receive, send)

    return serve


@pytest.mark.parametrize("tenants", [{"acme": LAX}, {"acme": LAX}.get])
async def test_a_tenant_has_its_own_policy_once_it_is_proven(tenants: Any) -> None:
    """One customer frames the app in an intranet; the others stay unframed."""
    guarded = SecurityHeadersMiddleware(tenant_app(), policy=HTML, tenants=tenants)

    acme = await request(guarded, http_scope("/acme"))
    other = await request(guarded, http_scope("/other"))
    nobody = await request(SecurityHeadersMiddleware(plain_app(), policy=HTML, tenants=tenants))

    assert acme.headers["x-frame-options"] == "SAMEORIGIN"
    assert other.headers["x-frame-options"] == "DENY"
    assert nobody.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("answer_of", [lambda _tenant: 1 / 0, lambda _tenant: "DENY"])
async def test_a_tenant_look_up_that_fails_leaves_the_default_and_an_event(answer_of: Any) -> None:
    """A broken table must neither lose the headers nor the response."""
    guarded = SecurityHeadersMiddleware(tenant_app(), policy=HTML, tenants=answer_of)

    with collected_events() as seen:
        answer = await request(guarded, http_scope("/acme"))

    assert answer.headers["x-frame-options"] == "DENY"
    assert [event.reason for event in seen.events] == ["tenant_policy_failed"]


@pytest.mark.parametrize(
    "options",
    [
        {"policy": "html"},
        {"policy": None},
        {"policy": HTML, "environment": ""},
        {"policy": HTML, "trusted_proxies": "10.0.0.1"},
        {"policy": HTML, "trusted_proxies": ["*"]},
        {"policy": HTML, "routes": {"docs": LAX}},
        {"policy": HTML, "routes": {"/docs": "lax"}},
        {"policy": HTML, "tenants": {"acme": "lax"}},
        {"policy": HTML, "tenants": ["acme"]},
    ],
)
def test_a_wrong_argument_stops_the_app_from_starting(options: Any) -> None:
    """An app without its headers looks healthy."""
    with pytest.raises(ConfigError):
        SecurityHeadersMiddleware(plain_app(), **options)
    with pytest.raises(ConfigError):
        security_headers("lax")  # type: ignore[arg-type] # the mistake under test
