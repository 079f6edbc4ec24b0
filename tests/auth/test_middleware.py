"""AuthenticationMiddleware: one credential, one principal, or a 401."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from asgi_guard._internal.principal import principal_of
from asgi_guard.auth import AuthenticationMiddleware
from asgi_guard.errors import (
    AuthenticationError,
    ConfigError,
    RejectionError,
    RequestInvalidError,
    UnavailableError,
)
from asgi_guard.observability import subscribe
from asgi_guard.protocols import Principal, Receive, Scope, Send
from asgi_guard.tenancy import ClaimResolver, TenantContextMiddleware
from tests.support.exchange import Events
from tests.support.tenancy_calls import Socket, get, run_lifespan
from tests.support.tenancy_tokens import authenticator, claims, signed

GOOD = {"authorization": f"Bearer {signed().decode()}"}


@pytest.fixture
def events() -> Iterator[Events]:
    """Collect the test's security events."""
    sink = Events()
    unsubscribe = subscribe(sink)
    yield sink
    unsubscribe()


class Fixed:
    """An authenticator with one answer."""

    def __init__(self, answer: Principal | Exception | None) -> None:
        self.answer = answer
        self.asked = 0

    async def authenticate(self, _scope: Scope) -> Principal | None:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Recorder:
    """An app that keeps the principals it was called with."""

    def __init__(self) -> None:
        self.principals: list[Principal | None] = []

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        self.principals.append(principal_of(scope))
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"ok"})


def guarded(app: Any, *authenticators: Any) -> AuthenticationMiddleware:
    """Put the middleware before *app*."""
    return AuthenticationMiddleware(app, authenticators=authenticators or [authenticator()])


async def test_the_principal_reaches_the_app_over_http_and_websocket() -> None:
    """In the scope, where a mounted app finds it too."""
    app = Recorder()

    await get(guarded(app), "/", GOOD)
    async with Socket(guarded(app), "/", GOOD):
        pass

    assert [principal.user_id for principal in app.principals if principal] == ["alice"] * 2


async def test_a_connection_without_a_credential_passes_as_nobody(events: Events) -> None:
    """A public page needs none; whether that is enough is decided further in."""
    app = Recorder()

    answer = await get(guarded(app))

    assert answer.status == 200
    assert app.principals == [None]
    assert events.seen == []


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer garbage"},
        {"authorization": "Bearer"},
        [*GOOD.items(), *GOOD.items()],
        [*GOOD.items(), ("authorization", "Basic YTpi")],
    ],
    ids=["garbage", "empty", "twice", "two schemes"],
)
async def test_a_bad_credential_is_a_401_with_a_challenge_and_one_event(
    headers: Any, events: Events
) -> None:
    """Also where the page is public: whoever sends a credential means it."""
    app = Recorder()

    answer = await get(guarded(app), "/", headers)

    problem = json.loads(answer.body)
    assert (answer.status, problem["code"]) == (401, "unauthenticated")
    assert answer.header("www-authenticate") == 'Bearer error="invalid_token"'
    assert app.principals == []
    (event,) = events.seen
    assert (event.name, event.outcome) == ("AUTHENTICATION_FAILED", "denied")
    assert (event.request_id, event.client) == (problem["request_id"], "203.0.113.9")


@pytest.mark.parametrize("denial", [True, False])
async def test_a_websocket_is_refused_before_it_is_accepted(denial: bool, events: Events) -> None:  # noqa: FBT001 - a table
    """An accepted socket could be written to."""
    headers = {"authorization": "Bearer garbage"}
    async with Socket(guarded(Recorder()), "/", headers, denial=denial) as socket:
        await socket.next()

    first = socket.sent[0]
    if denial:
        assert (first["type"], first["status"]) == ("websocket.http.response.start", 401)
    else:
        assert (first["type"], first["code"]) == ("websocket.close", 1008)
    assert len(events.seen) == 1


async def test_the_first_that_recognises_its_credential_decides() -> None:
    """The next is not asked: a weak second look must not overrule a refusal."""
    alice, bob = Principal(user_id="alice"), Principal(user_id="bob")
    for answers, expected in (
        ([None, alice, bob], 200),
        ([AuthenticationError("revoked"), alice], 401),
    ):
        app, chain = Recorder(), [Fixed(answer) for answer in answers]

        answer = await get(guarded(app, *chain))

        assert answer.status == expected
        assert app.principals == ([alice] if expected == 200 else [])
        assert chain[-1].asked == 0


async def test_two_authorization_headers_are_refused_whoever_would_have_looked() -> None:
    """An authenticator of one's own may take the first, the last, or a dict of them."""
    careless = Fixed(Principal(user_id="alice"))
    app = Recorder()

    answer = await get(guarded(app, careless), "/", [*GOOD.items(), ("authorization", "Basic x")])

    assert (answer.status, app.principals, careless.asked) == (401, [], 0)


class ThrottledError(RejectionError):
    """What an authenticator with a limit raises."""

    code = "too_many_requests"
    status = 429


@pytest.mark.parametrize(
    ("failure", "status", "reason"),
    [
        (AuthenticationError("revoked"), 401, "revoked"),
        (RequestInvalidError("duplicate_x_api_key"), 401, "duplicate_x_api_key"),
        (ThrottledError("per_account"), 429, "per_account"),
        (UnavailableError("keys_unreachable"), 503, "keys_unreachable"),
        (OSError("password=hunter2"), 503, "authenticator_failed"),
        (ZeroDivisionError(), 503, "authenticator_failed"),
    ],
    ids=repr,
)
async def test_whatever_an_authenticator_raises_fails_closed_and_is_told_apart(
    failure: Exception, status: int, reason: str, events: Events
) -> None:
    """Never a 500, and never the request served as nobody."""
    app = Recorder()

    answer = await get(guarded(app, Fixed(failure)))

    assert (answer.status, app.principals) == (status, [])
    assert (answer.header("www-authenticate") is not None) is (status == 401)
    (event,) = events.seen
    assert event.reason == reason
    assert event.outcome == ("error" if status == 503 else "denied")
    assert "hunter2" not in repr(event)
    assert b"hunter2" not in answer.body


async def test_a_challenge_of_the_authenticators_own_is_kept() -> None:
    """A DPoP authenticator asks for DPoP."""
    own = ((b"www-authenticate", b'DPoP algs="ES256"'),)

    answer = await get(guarded(Recorder(), Fixed(AuthenticationError("x", headers=own))))

    assert answer.header("www-authenticate") == 'DPoP algs="ES256"'


async def test_an_inner_app_with_authenticators_of_its_own_does_not_inherit_the_principal() -> None:
    """An API that takes keys only must not be open to whoever has a session outside."""
    app = Recorder()
    inner = guarded(app, Fixed(None))

    await get(guarded(inner, Fixed(Principal(user_id="alice"))))

    assert app.principals == [None]


async def test_starlettes_user_auth_and_requires_work() -> None:
    """Handlers that were written for Starlette's own middleware stay as they are."""

    @requires("notes:read")
    async def notes(request: Request) -> Response:
        return PlainTextResponse(f"{request.user.identity} {request.user.display_name}")

    @requires("authenticated")
    async def anyone(request: Request) -> Response:
        return PlainTextResponse("in")

    async def page(request: Request) -> Response:
        return PlainTextResponse(str(request.user.is_authenticated))

    app = guarded(Starlette(routes=[Route("/n", notes), Route("/a", anyone), Route("/p", page)]))
    reader = {"authorization": f"Bearer {signed(claims(scope='notes:read')).decode()}"}

    assert (await get(app, "/n", reader)).body == b"alice alice"
    assert (await get(app, "/n", GOOD)).status == 403
    assert (await get(app, "/a", GOOD)).body == b"in"
    assert (await get(app, "/a")).status == 403
    assert (await get(app, "/p", GOOD)).body == b"True"
    assert (await get(app, "/p")).body == b"False"


async def test_with_tenancy_inside_a_bearer_token_is_enough_to_be_served() -> None:
    """The two middlewares as they are used, end to end."""
    app = guarded(TenantContextMiddleware(Recorder(), resolver=ClaimResolver()))
    foreign = {"authorization": f"Bearer {signed(claims(tenant_id=None)).decode()}"}

    # The token's clock stands still in the past, tenancy's does not: it has run out since.
    assert (await get(app, "/", GOOD)).status == 401
    assert (await get(app, "/", foreign)).status == 401
    assert (await get(app)).header("www-authenticate") == "Bearer"


async def test_lifespan_passes_untouched() -> None:
    """There is nobody to authenticate."""
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await receive()
        await send({"type": "lifespan.startup.complete"})

    assert await run_lifespan(guarded(app)) == ["lifespan.startup.complete"]
    assert "user" not in seen[0]


@pytest.mark.parametrize("wrong", [[], [None], [Fixed], [object()]], ids=range(4))
def test_wrong_authenticators_are_refused_when_built(wrong: Any) -> None:
    """An empty list would serve everyone as nobody."""
    with pytest.raises(ConfigError, match="authenticators"):
        AuthenticationMiddleware(Recorder(), authenticators=wrong)
