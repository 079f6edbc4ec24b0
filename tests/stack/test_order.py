"""Each layer stands where its answers are seen by the layers that must see them."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_guard.cors import CORSPolicy
from asgi_guard.errors import InsufficientScopeError, TenantMissingError
from asgi_guard.origins import OriginPolicy
from asgi_guard.protocols import ASGIApp, Receive, Scope, Send
from asgi_guard.stack import Guard
from tests.support.exchange import handshake, websocket_scope
from tests.support.hosts_apps import HOSTS
from tests.support.hosts_client import get, is_protected, problem
from tests.support.hosts_guard import ACME, GLOBEX, guard_settings, token
from tests.support.hosts_pages import Lives
from tests.support.hosts_starlette import starlette_app

FRIEND = "https://friend.example"
FRIENDLY = CORSPolicy(allow_origins=[FRIEND], allow_credentials=True)
ALICE = token("alice", ACME)


def guarded(name: str = "starlette", **changes: Any) -> ASGIApp:
    lives: Lives = []
    return Guard(guard_settings(**changes)).install(HOSTS[name](lives))  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/whoami", {}, 401),
        ("/whoami", token("alice", GLOBEX), 404),
        ("/boom", ALICE, 500),
        ("/missing", ALICE, 404),
        ("/swallow", ALICE, 500),
    ],
)
async def test_a_friend_can_read_the_status_of_every_error(
    name: str, path: str, headers: dict[str, str], status: int
) -> None:
    """Without the grant its page sees "network error" and nobody learns why."""
    answer = await get(guarded(name, cors=FRIENDLY), path, headers | {"origin": FRIEND})

    assert answer.status == status
    assert answer.header("access-control-allow-origin") == FRIEND
    assert is_protected(answer)


async def test_a_preflight_needs_no_credential() -> None:
    """Browsers send none with it (Fetch section 4.8), so asking for one would refuse them all."""
    asking = {"origin": FRIEND, "access-control-request-method": "POST"}

    answer = await get(guarded(cors=FRIENDLY), "/only-post", asking, method="OPTIONS")

    assert answer.status in {200, 204}
    assert answer.header("access-control-allow-origin") == FRIEND


async def test_a_foreign_page_is_refused_before_its_credential_is_read() -> None:
    """A forged request must not tell its maker whether the visitor is signed in."""
    forged = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors", "cookie": "session=1"}
    app = guarded()

    with_one = problem(await get(app, "/whoami", ALICE | forged))
    without = problem(await get(app, "/whoami", forged))

    assert with_one | {"request_id": ""} == without | {"request_id": ""}
    assert with_one["code"] == "cross_origin_refused"


async def test_origins_that_cors_lets_in_with_cookies_are_friends_at_every_gate() -> None:
    """One policy, three gates: reading, writing and sockets."""
    app = guarded(cors=FRIENDLY)
    writing = {"origin": FRIEND, "sec-fetch-site": "cross-site", "cookie": "session=1"}

    written = await get(app, "/only-post", ALICE | writing, method="POST")
    socket = await handshake(app, websocket_scope("/socket", ALICE | {"origin": FRIEND}))

    assert written.status == 200
    assert socket.sent[0]["type"] == "websocket.accept"


async def test_origins_that_may_only_read_without_cookies_are_no_friends_of_a_write() -> None:
    """Whoever may read public answers must not send forms in a visitor's name."""
    app = guarded(cors=CORSPolicy(allow_origins=[FRIEND]))
    writing = {"origin": FRIEND, "sec-fetch-site": "cross-site", "cookie": "session=1"}

    answer = await get(app, "/only-post", ALICE | writing, method="POST")

    assert problem(answer)["code"] == "cross_origin_refused"


async def test_a_listed_origin_may_open_a_websocket_and_a_stranger_may_not() -> None:
    """No same-origin policy guards WebSockets (RFC 6455 section 10.2)."""
    app = guarded(origins=OriginPolicy([FRIEND]))

    friend = await handshake(app, websocket_scope("/socket", ALICE | {"origin": FRIEND}))
    foreign = {"origin": "https://evil.example"}
    stranger = await handshake(app, websocket_scope("/socket", ALICE | foreign))

    assert friend.sent[0]["type"] == "websocket.accept"
    assert problem(stranger)["code"] == "cross_origin_refused"


@pytest.mark.parametrize("error", [InsufficientScopeError, TenantMissingError])
async def test_an_error_of_an_apps_own_middleware_keeps_its_status(error: type[Exception]) -> None:
    """Starlette answers whatever a middleware raises with a 500 of its own."""
    app = starlette_app([])

    class Refusing:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            raise error

    app.add_middleware(Refusing)

    answer = await get(Guard(guard_settings()).install(app), "/whoami", ALICE)

    assert (answer.status, problem(answer)["code"]) == (403, error().code)  # type: ignore[attr-defined]
