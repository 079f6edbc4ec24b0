"""What goes wrong inside never leaves as a success, nor bare."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from fastapi import BackgroundTasks, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route
from starlette.websockets import WebSocket, WebSocketDisconnect

from asgi_guard.errors import (
    ConflictError,
    ContextContaminationError,
    ContextMissingError,
    GuardError,
    InsufficientScopeError,
    RLSViolationError,
    UnavailableError,
)
from asgi_guard.integrations.fastapi import require_scopes
from asgi_guard.observability import subscribe
from asgi_guard.protocols import ASGIApp, Receive, Scope, Send
from asgi_guard.rls.violations import not_enforced
from asgi_guard.stack import Guard
from asgi_guard.tenancy import ExecutionState, UserExecutionContext, use_context
from asgi_guard.tenancy.fail_closed import FailClosedMiddleware, expect_violation
from tests.support.exchange import Answer, Events, ask, http_scope, websocket_scope
from tests.support.hosts_client import get, problem
from tests.support.hosts_guard import ACME, GLOBEX, guard_settings, token

ALICE = token("alice", ACME)


def violate() -> None:
    raise not_enforced("a statement ran for nobody", reason="no_tenant")


def swallow() -> None:
    with suppress(RLSViolationError):
        violate()


@pytest.fixture(autouse=True)
def events() -> Iterator[Events]:
    """Collect the events, which keeps them out of the log as well."""
    kept = Events()
    unsubscribe = subscribe(kept)
    yield kept
    unsubscribe()


def guarded(app: Any) -> ASGIApp:
    return Guard(guard_settings()).install(app)  # type: ignore[no-any-return]


def page(endpoint: Any) -> ASGIApp:
    return guarded(Starlette(routes=[Route("/", endpoint)]))


async def talk(app: ASGIApp) -> list[Any]:
    """Open a WebSocket, hang up, and return all that came back, an error raised last."""
    incoming = [
        {"type": "websocket.connect"},
        {"type": "websocket.disconnect", "code": 1000},
    ]
    heard: list[Any] = []

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        heard.append(message)

    scope = websocket_scope("/", ALICE | {"origin": "http://app.example"})
    try:
        await app(scope, receive, send)
    except Exception as error:
        heard.append(error)
    return heard


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InsufficientScopeError(), 403, "insufficient_scope"),
        (ConflictError(), 409, "conflict"),
        (ContextMissingError(), 500, "context_missing"),
        (UnavailableError("memberships_unreachable"), 503, "unavailable"),
        (GuardError("odd"), 500, "guard_error"),
        (RLSViolationError("TENANT_MISMATCH", "two met"), 500, "TENANT_MISMATCH"),
    ],
)
@pytest.mark.parametrize("framework", [True, False])
async def test_an_error_of_ours_becomes_its_own_problem(
    error: GuardError, status: int, code: str, *, framework: bool
) -> None:
    """A framework that knows one kind of error makes a 500 of every other."""

    async def endpoint(_request: Request) -> PlainTextResponse:
        raise error

    async def raw(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise error

    answer = await get(page(endpoint) if framework else guarded(raw), "/", ALICE)

    assert (answer.status, problem(answer)["code"]) == (status, code)


async def test_a_refusal_by_a_handler_leaves_an_event_with_its_reason(events: Events) -> None:
    """The caller learns a code; why is for the operator."""

    async def endpoint(_request: Request) -> PlainTextResponse:
        raise InsufficientScopeError("scope_missing")

    await get(page(endpoint), "/", ALICE)

    [event] = events.seen
    assert (event.name, event.reason, event.tenant_id) == ("REQUEST_REFUSED", "scope_missing", ACME)


async def test_an_error_in_a_mounted_app_keeps_its_status() -> None:
    """A mounted framework app answers its errors before anything outside hears of them."""
    inner = FastAPI()
    inner.get("/notes", dependencies=[require_scopes("notes:write")])(lambda: "written")
    outer = guarded(Starlette(routes=[Mount("/deep", Starlette(routes=[Mount("/in", inner)]))]))

    answer = await get(outer, "/deep/in/notes", ALICE)

    assert (answer.status, problem(answer)["code"]) == (403, "insufficient_scope")


async def test_an_app_may_answer_errors_of_ours_in_its_own_words() -> None:
    """A handler that the app registers for them is its decision; the status stays its own too."""

    async def endpoint(_request: Request) -> PlainTextResponse:
        raise InsufficientScopeError

    def in_own_words(_request: Request, _error: Exception) -> PlainTextResponse:
        return PlainTextResponse("please ask for more", 403)

    app = Starlette(
        routes=[Route("/", endpoint)], exception_handlers={InsufficientScopeError: in_own_words}
    )

    assert (await get(guarded(app), "/", ALICE)).body == b"please ask for more"


async def test_an_exception_of_the_app_is_answered_and_still_reaches_the_servers_log() -> None:
    """Raised alone, the server would answer without a single header of ours."""

    async def raw(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise RuntimeError("a secret is in here")

    app, answer = guarded(raw), Answer()

    async def send(message: Any) -> None:
        answer.sent.append(message)

    with pytest.raises(RuntimeError):
        await app(http_scope(headers=ALICE), _no_more, send)

    assert problem(answer)["code"] == "internal_error"
    assert b"secret" not in answer.body


async def _no_more() -> Any:
    await asyncio.Event().wait()


async def test_an_app_that_says_nothing_is_answered_for() -> None:
    """The server would invent a 500 of its own, outside of every layer."""

    async def silent(_scope: Scope, _receive: Receive, _send: Send) -> None:
        return

    assert problem(await get(guarded(silent), "/", ALICE))["code"] == "internal_error"


async def test_a_violation_in_a_child_task_holds_the_answer_back() -> None:
    """The handler may gather its children with ``return_exceptions=True`` and look at none."""

    async def child() -> None:
        violate()

    async def endpoint(_request: Request) -> PlainTextResponse:
        await asyncio.gather(child(), return_exceptions=True)
        await asyncio.gather(asyncio.to_thread(violate), return_exceptions=True)
        return PlainTextResponse("all is well")

    assert problem(await get(page(endpoint), "/", ALICE))["code"] == "RLS_NOT_ENFORCED"


async def test_state_of_another_user_is_a_500_even_when_swallowed() -> None:
    """Contamination is a crossed wall like any other."""

    async def endpoint(_request: Request) -> PlainTextResponse:
        with suppress(ContextContaminationError):
            state["key"] = 1
        return PlainTextResponse("all is well")

    bob = UserExecutionContext(tenant_id=GLOBEX, user_id="bob")
    with use_context(bob), ExecutionState(bob) as state:
        answer = await get(page(endpoint), "/", ALICE)

    assert problem(answer)["code"] == "CONTEXT_CONTAMINATION"


async def test_a_stream_is_cut_off_at_the_violation() -> None:
    """A whole-looking body would be believed; a broken connection is not."""

    async def body() -> AsyncIterator[str]:
        yield "first"
        swallow()
        yield "second"

    async def endpoint(_request: Request) -> StreamingResponse:
        return StreamingResponse(body())

    app, answer = page(endpoint), Answer()

    async def send(message: Any) -> None:
        answer.sent.append(message)

    with pytest.raises(Exception, match=r"RLS_NOT_ENFORCED|response already started"):
        await app(http_scope(headers=ALICE), _request_once(), send)

    assert answer.body == b"first"
    assert all(message.get("more_body", True) for message in answer.sent[1:])


def _request_once() -> Receive:
    incoming = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Any:
        return incoming.pop() if incoming else await _no_more()

    return receive


async def test_a_violation_in_a_background_task_cannot_touch_the_answer_that_is_out() -> None:
    """Its event is there all the same; the next request is not blamed."""
    app = FastAPI()

    @app.get("/")
    async def begin(later: BackgroundTasks) -> str:
        later.add_task(swallow)
        return "begun"

    assert (await get(guarded(app), "/", ALICE)).status == 200


async def test_what_is_expected_to_fail_does_not_decide_the_answer(events: Events) -> None:
    """A self-test or a demonstration of attacks reports on its failures itself."""

    async def endpoint(_request: Request) -> PlainTextResponse:
        with expect_violation() as attempt:
            swallow()
        return PlainTextResponse(attempt.failure.code if attempt.failure else "nothing")

    answer = await get(page(endpoint), "/", ALICE)

    assert (answer.status, answer.body) == (200, b"RLS_NOT_ENFORCED")
    assert [event.name for event in events.seen] == ["RLS_NOT_ENFORCED"]


def socket(endpoint: Any) -> ASGIApp:
    app = FastAPI()
    app.websocket("/")(endpoint)
    return guarded(app)


async def test_a_refusal_before_the_handshake_is_accepted_is_an_http_answer() -> None:
    """The client can tell a refusal from a network that failed."""

    async def endpoint(websocket: WebSocket) -> None:
        raise InsufficientScopeError

    heard = await talk(socket(endpoint))

    assert heard[0]["type"] == "websocket.http.response.start"
    assert heard[0]["status"] == 403


async def test_a_refusal_after_it_closes_with_1008() -> None:
    """RFC 6455 section 7.4.1: a policy was violated."""

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        raise InsufficientScopeError

    heard = await talk(socket(endpoint))

    assert [message["type"] for message in heard] == ["websocket.accept", "websocket.close"]
    assert (heard[1]["code"], heard[1]["reason"]) == (1008, "insufficient_scope")


async def test_a_swallowed_violation_closes_the_socket_with_1011() -> None:
    """Nothing that the handler says after it reaches the client."""

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        swallow()
        await websocket.send_text("all is well")
        await websocket.send_text("and on it goes")

    heard = await talk(socket(endpoint))

    assert [message["type"] for message in heard] == ["websocket.accept", "websocket.close"]
    assert (heard[1]["code"], heard[1]["reason"]) == (1011, "RLS_NOT_ENFORCED")


async def test_a_bug_in_a_socket_closes_it_and_reaches_the_servers_log() -> None:
    """The handler's exception is the server's to log, not ours to hide."""

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        raise RuntimeError("the app has a bug")

    heard = await talk(socket(endpoint))

    assert (heard[1]["code"], heard[1]["reason"]) == (1011, "internal_error")
    assert isinstance(heard[2], RuntimeError)


async def test_a_client_that_hangs_up_is_not_answered() -> None:
    """Servers object to a close after the disconnect."""

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive_text()

    heard = await talk(socket(endpoint))

    assert heard[0]["type"] == "websocket.accept"
    assert [type(each) for each in heard[1:]] in ([], [WebSocketDisconnect])


async def test_a_refusal_to_a_client_that_has_hung_up_is_an_event_and_no_error(
    events: Events,
) -> None:
    """Nobody is left to tell; a server's log full of it would hide what matters."""

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        with suppress(WebSocketDisconnect):
            await websocket.receive_text()
        raise InsufficientScopeError("scope_missing")

    heard = await talk(socket(endpoint))

    assert [message["type"] for message in heard] == ["websocket.accept"]
    assert [event.reason for event in events.seen] == ["scope_missing"]


async def test_control_without_the_layer_a_swallowed_violation_is_a_200(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The proofs above must be able to fail."""
    caplog.set_level(logging.CRITICAL)

    async def careless(_scope: Scope, _receive: Receive, send: Send) -> None:
        swallow()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"all is well"})

    assert (await ask(careless, http_scope())).status == 200
    assert (await ask(FailClosedMiddleware(careless), http_scope())).status == 500
