"""A throttle turned against the people it protects."""

from __future__ import annotations

from asgi_guard.auth import AuthenticationMiddleware, ThrottledAuthenticator
from asgi_guard.auth.sessions import SessionAuthenticator
from asgi_guard.auth.throttle import Throttle, ThrottleLimits
from tests.support.exchange import handshake, websocket_scope
from tests.support.sessions_served import cookie_of, whoami
from tests.support.sessions_world import world


async def test_a_stranger_cannot_lock_everybody_out_of_an_apps_subprotocol() -> None:
    """Each client of a GraphQL app offers the same words: they name the app, not a person."""
    made = world()
    throttle = Throttle(limits=ThrottleLimits(account="5 per minute"), clock=made.clock)
    inner = SessionAuthenticator(made.sessions, insecure_any_origin=True)
    guard = ThrottledAuthenticator(inner, throttle=throttle)
    app = AuthenticationMiddleware(whoami, authenticators=[guard])
    offer = {"sec-websocket-protocol": "graphql-transport-ws", "origin": "https://app.example"}
    alice = await made.login()

    for _ in range(5):
        rubbish = {**offer, "cookie": "__Host-sid=rubbish"}
        refused = await handshake(app, websocket_scope("/", rubbish, client=("192.0.2.66", 1)))
        assert refused.status == 401

    cookie = {**offer, "cookie": cookie_of(alice)}
    honest = await handshake(app, websocket_scope("/", cookie, client=("198.51.100.7", 1)))
    assert honest.sent[0]["type"] == "websocket.accept"
