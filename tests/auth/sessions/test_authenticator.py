"""The session cookie behind the authentication middleware and the guard."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_guard import GuardSettings
from asgi_guard.auth.sessions import SessionAuthenticator
from asgi_guard.cross_origin import CrossOriginMiddleware, CrossOriginPolicy
from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.protocols import Principal
from asgi_guard.tenancy import ClaimResolver
from tests.support.exchange import Answer, ask, handshake, http_scope, websocket_scope
from tests.support.passwords_people import listening
from tests.support.sessions_served import OWN, Bearer, cookie_of, guarded, protected, whoami
from tests.support.sessions_world import world
from tests.support.tenancy_world import ACME

SAME = {"sec-fetch-site": "same-origin", "origin": OWN}


async def call(app: Any, issued: Any, method: str = "GET", **headers: str) -> Answer:
    cookie = {} if issued is None else {"cookie": cookie_of(issued)}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return await ask(app, http_scope(method, "/", {**cookie, **names}, scheme="https"))


async def test_a_cookie_becomes_the_user_and_the_tenant_of_the_request() -> None:
    """The same context as any other credential gives."""
    made = world()
    issued = await made.login()

    answer = await call(guarded(made, whoami), issued)

    assert answer.body == f"alice {ACME} ".encode()


@pytest.mark.parametrize("ended", ["terminated", "idle", "renewed", "all"])
async def test_a_cookie_whose_session_has_ended_is_nobodys(ended: str) -> None:
    """401 where somebody must be signed in; the login stays open to the same browser."""
    made = world()
    issued = await made.login()
    app = guarded(made, whoami, public_paths=["/login"])
    await _end(made, issued, ended)

    with listening() as events:
        answer = await call(app, issued)
        login = await ask(app, http_scope("GET", "/login", {"cookie": cookie_of(issued)}))

    assert (answer.status, login.status) == (401, 200)
    assert login.body.startswith(b"nobody -")
    assert answer.header("www-authenticate") == 'Cookie cookie-name="__Host-sid"'
    assert [event.name for event in events.seen] == [
        "SESSION_REFUSED",
        "TENANT_REFUSED",
        "SESSION_REFUSED",
    ]


async def _end(made: Any, issued: Any, how: str) -> None:
    if how == "terminated":
        await made.sessions.terminate(issued.sid)
    elif how == "idle":
        made.clock.move(900)
    elif how == "renewed":
        await made.sessions.renew(issued.sid)
    else:
        await made.sessions.terminate_all(tenant_id=ACME)


async def test_an_app_may_refuse_ended_sessions_everywhere() -> None:
    """By option, with one event and the session in it."""
    made = world()
    issued = await made.login()
    await made.sessions.terminate_all(user_id="alice")
    app = protected(whoami, SessionAuthenticator(made.sessions, refuse_ended=True))

    with listening() as events:
        answer = await call(app, issued)

    assert (answer.status, answer.header("set-cookie")) == (401, None)
    (event,) = events.seen
    assert (event.name, event.reason) == ("AUTHENTICATION_FAILED", "session_terminated")
    assert event.details["session"]


async def test_without_a_cookie_the_next_authenticator_is_asked() -> None:
    """A browser and a program use one app."""
    made = world()
    bearer = Bearer(Principal(user_id="robot", tenant_id=ACME))
    app = guarded(made, whoami, bearer)

    answer = await call(app, None, authorization="Bearer alices.token")

    assert answer.body.startswith(b"robot ")


async def test_a_store_that_does_not_answer_is_a_503() -> None:
    """Fail closed, and say that it will pass."""
    made = world()
    issued = await made.login()
    made.store.broken = UnavailableError("down")

    assert (await call(guarded(made, whoami), issued)).status == 503


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"])
async def test_an_unsafe_request_needs_a_cross_origin_check(method: str) -> None:
    """A cookie comes with whatever any page causes (CSRF): no check, no cookie."""
    made = world()
    issued = await made.login()
    authenticator = SessionAuthenticator(made.sessions)

    unchecked = await call(protected(whoami, authenticator, check_origin=False), issued, method)
    checked = await call(protected(whoami, authenticator), issued, method, **_named(SAME))

    assert (unchecked.status, checked.status) == (503, 200)
    assert checked.body.startswith(b"alice")


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("-", "_"): value for name, value in headers.items()}


async def test_the_missing_check_is_on_record_for_the_operator() -> None:
    """The caller reads 503; the event says what to mend."""
    made = world()
    issued = await made.login()
    app = protected(whoami, SessionAuthenticator(made.sessions), check_origin=False)

    with listening() as events:
        await call(app, issued, "POST")

    assert [(event.outcome, event.reason) for event in events.seen] == [
        ("error", "cross_origin_check_missing")
    ]


async def test_control_the_same_request_passes_where_the_check_is_waived_by_name() -> None:
    """Negative control: it is that rule, and only it, that stops the request."""
    made = world()
    issued = await made.login()
    waived = SessionAuthenticator(made.sessions, insecure_any_origin=True)

    answer = await call(protected(whoami, waived, check_origin=False), issued, "POST")

    assert answer.body.startswith(b"alice")


async def test_where_the_check_is_exempt_the_cookie_is_not_looked_at() -> None:
    """A webhook's path is open to every page, so nobody may be signed in by cookie there."""
    made = world()
    issued = await made.login()
    inner = protected(whoami, SessionAuthenticator(made.sessions), check_origin=False)
    app = CrossOriginMiddleware(inner, policy=CrossOriginPolicy(exempt=["/hook"]))
    cookie = {"cookie": cookie_of(issued), "origin": "https://evil.example"}

    posted = await ask(app, http_scope("POST", "/hook", cookie))
    opened = await handshake(app, websocket_scope("/hook", cookie))

    assert posted.body.startswith(b"nobody")
    assert opened.sent[1]["text"].startswith("nobody")


async def test_a_handshake_by_cookie_needs_the_check_and_an_origin() -> None:
    """No same-origin policy holds for WebSockets: the ``Origin`` is all there is."""
    made = world()
    issued = await made.login()
    authenticator = SessionAuthenticator(made.sessions)
    inner = protected(whoami, authenticator, check_origin=False)
    lenient = CrossOriginPolicy(allow_websocket_without_origin=True)
    cookie = {"cookie": cookie_of(issued)}

    unchecked = await handshake(inner, websocket_scope("/", {**cookie, "origin": OWN}))
    foreign = await handshake(
        CrossOriginMiddleware(inner),
        websocket_scope("/", {**cookie, "origin": "https://e.example"}),
    )
    nameless = await handshake(
        CrossOriginMiddleware(inner, policy=lenient), websocket_scope("/", cookie)
    )
    own = await handshake(
        CrossOriginMiddleware(inner), websocket_scope("/", {**cookie, "origin": OWN}, scheme="wss")
    )

    assert (unchecked.status, foreign.status) == (503, 403)
    assert nameless.sent[1]["text"].startswith("nobody")
    assert own.sent[1]["text"].startswith("alice")


def test_a_guard_whose_policy_exempts_everything_is_refused() -> None:
    """The developer learns it at start-up, and not from the first stolen account."""
    made = world()
    with pytest.raises(ConfigError, match="exempts every path"):
        GuardSettings(
            authenticators=[SessionAuthenticator(made.sessions)],
            resolver=ClaimResolver(),
            cross_origin=CrossOriginPolicy(exempt=["/*"]),
        )
    with pytest.raises(ConfigError):
        SessionAuthenticator(made.store)  # type: ignore[arg-type]
