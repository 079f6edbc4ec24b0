"""A violation that the app hides must not end in silence that passes for success."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from asgi_guard.errors import RLSViolationError
from asgi_guard.observability import subscribe
from asgi_guard.protocols import ASGIApp, Receive, Scope, Send
from asgi_guard.rls.violations import not_enforced
from asgi_guard.stack import Guard
from tests.support.exchange import Events, handshake, websocket_scope
from tests.support.hosts_client import get, problem
from tests.support.hosts_guard import ACME, guard_settings, token

ALICE = token("alice", ACME)


async def violate() -> None:
    raise not_enforced("a statement ran for nobody", reason="no_tenant")


async def swallow() -> None:
    try:
        await violate()
    except RLSViolationError:
        return


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    unsubscribe = subscribe(Events())
    yield
    unsubscribe()


def guarded(app: ASGIApp) -> ASGIApp:
    installed: ASGIApp = Guard(guard_settings()).install(app)
    return installed


async def test_a_socket_whose_handler_hides_a_violation_and_returns_is_closed_as_failed() -> None:
    """Servers close a socket that was left open with 1000, which says that all went well."""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await swallow()

    own_page = ALICE | {"origin": "http://app.example"}

    answer = await handshake(guarded(app), websocket_scope("/", own_page))

    assert [message["type"] for message in answer.sent] == ["websocket.accept", "websocket.close"]
    assert answer.sent[-1]["code"] == 1011
    assert answer.sent[-1]["reason"] == "RLS_NOT_ENFORCED"


async def test_a_violation_hidden_by_silence_is_named_in_the_answer() -> None:
    """An operator who reads ``internal_error`` looks in the wrong place."""

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await swallow()

    assert problem(await get(guarded(app), "/", ALICE))["code"] == "RLS_NOT_ENFORCED"


async def test_a_violation_in_a_task_group_is_named_although_it_arrives_in_a_group() -> None:
    """``except GuardError`` does not see into an ExceptionGroup (PEP 654)."""

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(violate())

    assert problem(await get(guarded(app), "/", ALICE))["code"] == "RLS_NOT_ENFORCED"
