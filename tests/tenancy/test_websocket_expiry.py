"""An open WebSocket ends with the credential that opened it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.websockets import WebSocket, WebSocketDisconnect

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.protocols import ASGIApp, Principal, Receive, Scope, Send
from tests.support.tenancy_calls import Socket
from tests.support.tenancy_guarded import guarded
from tests.support.tenancy_world import ACME, MovedClock

ALICE = {"x-tenant-id": ACME}
CLOSED = {"type": "websocket.close", "code": 4401, "reason": ""}


def expiring(app: ASGIApp, clock: Any, *, after: float | None) -> ASGIApp:
    """Guard *app* for a user whose credential ends *after* seconds."""
    end = None if after is None else clock.now() + after
    principal = Principal(user_id="alice", expires_at=end)
    return guarded(app, clock=clock, principal=principal)


class Parrot:
    """Repeats what it hears, and remembers how the conversation ended."""

    ended: list[Any]

    def __init__(self) -> None:
        self.ended = []

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        self.ended.append(message)


async def test_messages_flow_until_the_credential_expires_and_then_none() -> None:
    """A user who was let go must stop both speaking and hearing."""
    clock, parrot = MovedClock(), Parrot()
    async with Socket(expiring(parrot, clock, after=60), "/ws", ALICE) as socket:
        await socket.next()
        socket.say("before")
        assert (await socket.next())["text"] == "before"

        clock.time += 60
        socket.say("after")

        assert await socket.next() == CLOSED
        assert (await socket.next())["type"] == "app.returned"
    assert parrot.ended == [{"type": "websocket.disconnect", "code": 4401, "reason": ""}]


async def test_an_idle_socket_is_closed_when_the_time_is_up() -> None:
    """Nobody has to say a word for it."""
    clock = MovedClock()
    async with Socket(expiring(Parrot(), clock, after=0.05), "/ws", ALICE) as socket:
        await socket.next()

        assert await socket.next() == CLOSED


async def test_what_the_app_pushes_after_expiry_is_not_sent() -> None:
    """A live feed only sends; it would otherwise go on for as long as the tab is open."""
    clock, failures = MovedClock(), []

    async def feed(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        clock.time += 60
        for _ in range(2):
            try:
                await send({"type": "websocket.send", "text": "somebody's data"})
            except OSError as error:
                failures.append(error)
        await send({"type": "websocket.close", "code": 1000})

    async with Socket(expiring(feed, clock, after=60), "/ws", ALICE) as socket:
        pass

    assert [message["type"] for message in socket.sent] == ["websocket.accept", "websocket.close"]
    assert socket.sent[-1] == CLOSED
    assert len(failures) == 2


async def test_starlette_sees_an_ordinary_disconnect() -> None:
    """Handlers clean up as they do when the client leaves."""
    clock, codes = MovedClock(), []

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        clock.time += 60
        try:
            await socket.receive_text()
        except WebSocketDisconnect as gone:
            codes.append(gone.code)

    async with Socket(expiring(handler, clock, after=60), "/ws", ALICE):
        pass

    assert codes == [4401]


async def test_the_apps_own_close_and_the_clients_leaving_pass_as_they_are() -> None:
    """Before expiry nothing is changed."""
    clock, parrot = MovedClock(), Parrot()
    async with Socket(expiring(parrot, clock, after=60), "/ws", ALICE) as left:
        await left.next()

    async def closing(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 4000, "reason": "busy"})

    async with Socket(expiring(closing, clock, after=60), "/ws", ALICE) as refused:
        pass

    assert [message["type"] for message in left.sent] == ["websocket.accept"]
    assert refused.sent == [{"type": "websocket.close", "code": 4000, "reason": "busy"}]


async def test_a_credential_without_an_end_leaves_the_channel_alone() -> None:
    """No timer, no wrapper: the server's own receive."""
    seen: list[Any] = []

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        seen.append(receive)

    async with Socket(expiring(app, MovedClock(), after=None), "/ws", ALICE) as socket:
        pass

    assert seen == [socket._incoming.get]


@pytest.mark.parametrize("seconds", [3600.0, 1e9, float("inf")])
async def test_a_far_end_does_not_disturb_the_wait(seconds: float) -> None:
    """Tokens of machines may last for years."""
    async with Socket(expiring(Parrot(), SYSTEM_CLOCK, after=seconds), "/ws", ALICE) as socket:
        await socket.next()
        await asyncio.sleep(0)
        socket.say("still here")

        assert (await socket.next())["text"] == "still here"
