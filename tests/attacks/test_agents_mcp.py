"""An MCP server for everybody: whose tool call it is, and whose session."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp_types import jsonrpc_message_adapter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount

from asgi_guard import AuthenticationMiddleware, TenantContextMiddleware
from asgi_guard.errors import ConfigError
from asgi_guard.integrations.mcp import _SCOPE_KEY, OwnedMCPSessions, TenantCalls, guarded_mcp
from asgi_guard.observability import SecurityEvent, subscribe
from asgi_guard.protocols import Principal, Scope
from asgi_guard.tenancy import ClaimResolver, current_context, require_context, use_context
from tests.support.agents_people import ACME, GLOBEX, alice, bob, carol

PEOPLE = {"alice": ACME, "carol": ACME, "bob": GLOBEX}
URL = "http://127.0.0.1:8000"


class Names:
    """Takes ``Bearer <name>`` for the name; the credential is not the point here."""

    async def authenticate(self, scope: Scope) -> Principal | None:
        for name, value in scope["headers"]:
            if name == b"authorization":
                user = value.decode().removeprefix("Bearer ")
                return Principal(user_id=user, tenant_id=PEOPLE[user])
        return None


def notes_server() -> MCPServer[Any]:
    server: MCPServer[Any] = MCPServer("notes")

    @server.tool()
    async def whoami() -> str:
        """Say who the tool works for, in a task of its own as well."""
        context = current_context()
        return "nobody" if context is None else f"{context.user_id}@{context.tenant_id}"

    @server.tool()
    def whoami_in_a_thread() -> str:
        """Do the same as a sync tool, which the SDK runs in a thread."""
        return require_context("tool").user_id

    @server.resource("notes://mine")
    def mine() -> str:
        """Say whose notes these are."""
        return f"notes of {require_context('resource').user_id}"

    return server


@asynccontextmanager
async def served(server: MCPServer[Any], mcp_app: Any) -> AsyncIterator[Any]:
    """The server inside Starlette, behind authentication and the tenant's context."""
    inner = Starlette(routes=[Mount("/", mcp_app)])
    app = AuthenticationMiddleware(
        TenantContextMiddleware(inner, resolver=ClaimResolver()), authenticators=[Names()]
    )
    async with server.session_manager.run():
        yield app


def http(app: Any, name: str) -> httpx2.AsyncClient:
    headers = {
        "authorization": f"Bearer {name}",
        "accept": "application/json, text/event-stream",
    }
    transport = httpx2.ASGITransport(app=app)
    return httpx2.AsyncClient(transport=transport, base_url=URL, headers=headers)


def call(tool: str) -> dict[str, Any]:
    return {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "tools/call",
        "params": {"name": tool, "arguments": {}},
    }


INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


async def opened(client: httpx2.AsyncClient) -> str:
    """Open a session as *client*'s user, and give its id."""
    answer = await client.post("/mcp", json=INITIALIZE)
    assert answer.status_code == 200, answer.text
    session: str = answer.headers["mcp-session-id"]
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    await client.post("/mcp", json=ready, headers={"mcp-session-id": session})
    return session


async def said(client: httpx2.AsyncClient, session: str, tool: str = "whoami") -> str:
    answer = await client.post("/mcp", json=call(tool), headers={"mcp-session-id": session})
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["result"]["content"][0]["text"]
    return text


class Events:
    """Keeps what is emitted."""

    def __init__(self) -> None:
        self.seen: list[SecurityEvent] = []

    def emit(self, event: SecurityEvent) -> None:
        self.seen.append(event)


@pytest.fixture
def events() -> Iterator[Events]:
    sink = Events()
    unsubscribe = subscribe(sink)
    yield sink
    unsubscribe()


async def test_each_call_runs_for_its_own_caller() -> None:
    """The SDK's client against the mounted server, for three users in turn and at once."""
    server = notes_server()
    async with served(server, guarded_mcp(server, json_response=True)) as app:

        async def ask(name: str) -> None:
            async with (
                http(app, name) as transport,
                Client(streamable_http_client(f"{URL}/mcp", http_client=transport)) as client,
            ):
                for _ in range(3):
                    result: Any = await client.call_tool("whoami", {})
                    assert result.content[0].text == f"{name}@{PEOPLE[name]}"
                in_thread: Any = await client.call_tool("whoami_in_a_thread", {})
                assert in_thread.content[0].text == name
                resource: Any = await client.read_resource("notes://mine")
                assert resource.contents[0].text == f"notes of {name}"

        async with anyio.create_task_group() as group:
            for name in PEOPLE:
                group.start_soon(ask, name)


async def test_a_session_of_another_is_as_if_it_did_not_exist(events: Events) -> None:
    """Session ids lie in logs and proxies; the other user's credential must not fit them."""
    server = notes_server()
    async with (
        served(server, guarded_mcp(server, json_response=True)) as app,
        http(app, "alice") as hers,
        http(app, "bob") as his,
        http(app, "carol") as third,
    ):
        session = await opened(hers)
        assert await said(hers, session) == f"alice@{ACME}"
        stolen = {"mcp-session-id": session}
        for thief in (his, third):
            refused = [
                await thief.post("/mcp", json=call("whoami"), headers=stolen),
                await thief.delete("/mcp", headers=stolen),
                await thief.get("/mcp", headers=stolen),
            ]
            assert [each.status_code for each in refused] == [404] * 3
        unknown = await his.post("/mcp", json=call("whoami"), headers={"mcp-session-id": "0" * 32})
        bare = session.rpartition(".")[0]
        unmarked = await hers.post("/mcp", json=call("whoami"), headers={"mcp-session-id": bare})
        twice = await hers.post(
            "/mcp",
            json=call("whoami"),
            headers=[("mcp-session-id", session), ("mcp-session-id", session)],
        )
        assert (unknown.status_code, unmarked.status_code, twice.status_code) == (404, 404, 400)
        assert unknown.json()["code"] == refused[0].json()["code"] == "not_found"
        assert await said(hers, session) == f"alice@{ACME}", "the thieves ended nothing"
    refusals = [event for event in events.seen if event.name == "AGENT_ACCESS_REFUSED"]
    assert {event.reason for event in refusals} == {"session_of_another"}
    assert {event.user_id for event in refusals} == {"alice", "bob", "carol"}


async def test_control_without_the_guard_another_user_is_let_into_the_session() -> None:
    """Negative control: the SDK binds sessions to its own kind of user only."""
    server = notes_server()
    async with (
        served(server, server.streamable_http_app(json_response=True)) as app,
        http(app, "alice") as hers,
        http(app, "bob") as his,
    ):
        session = await opened(hers)
        assert await said(his, session) == f"bob@{GLOBEX}"
        ended = await his.delete("/mcp", headers={"mcp-session-id": session})
        assert ended.status_code == 200
        gone = await hers.post("/mcp", json=call("whoami"), headers={"mcp-session-id": session})
        assert gone.status_code == 404


async def answers_over_plain_streams(server: MCPServer[Any]) -> list[str]:
    """Serve a session whose task ALICE's request started, and send calls of two users into it.

    A stream that does not carry `contextvars` is what SDKs before 2 used, and what a transport
    of one's own uses easily.
    """
    to_server, inbox = anyio.create_memory_object_stream[Any](8)
    outbox, from_server = anyio.create_memory_object_stream[Any](8)
    lowlevel = server._lowlevel_server

    def message(content: dict[str, Any], who: Any) -> SessionMessage:
        request = Request({"type": "http", "headers": [], _SCOPE_KEY: who})
        return SessionMessage(
            jsonrpc_message_adapter.validate_python(content),
            metadata=ServerMessageMetadata(request_context=request),
        )

    async def answer() -> str:
        reply: Any = (await from_server.receive()).message
        return str(reply.result["content"][0]["text"]) if hasattr(reply, "result") else "refused"

    async with anyio.create_task_group() as group, to_server, from_server:
        with use_context(alice()):
            group.start_soon(lowlevel.run, inbox, outbox, lowlevel.create_initialization_options())
        await to_server.send(message(INITIALIZE, alice()))
        await from_server.receive()
        said = []
        for who in (alice(), bob(), carol(), None):
            await to_server.send(message(call("whoami"), who))
            said.append(await answer())
        group.cancel_scope.cancel()
    return said


async def test_a_call_runs_for_its_request_whoever_started_the_sessions_task() -> None:
    """The classic bug of session servers: the first caller's context serves everybody."""
    server = notes_server()
    server.middleware.insert(0, TenantCalls())
    assert await answers_over_plain_streams(server) == [
        f"alice@{ACME}",
        f"bob@{GLOBEX}",
        f"carol@{ACME}",
        "refused",
    ]


async def test_control_without_the_guard_everybody_is_the_first_caller() -> None:
    """Negative control: the same streams, and no `TenantCalls`."""
    assert await answers_over_plain_streams(notes_server()) == [f"alice@{ACME}"] * 4


async def test_without_http_nobody_is_known_unless_somebody_is_named() -> None:
    """Over stdio there is no request and no credential; inheriting one would be a guess."""
    server = notes_server()
    server.middleware.insert(0, TenantCalls())
    with use_context(alice()), pytest.raises((MCPError, ExceptionGroup)):
        async with Client(server) as client:
            await client.call_tool("whoami", {})

    named = notes_server()
    named.middleware.insert(0, TenantCalls(context=bob()))
    async with Client(named) as client:
        result: Any = await client.call_tool("whoami", {})
        assert result.content[0].text == f"bob@{GLOBEX}"


async def test_an_expired_credential_calls_nothing() -> None:
    """A session is long; the credential behind each call is looked at each time."""
    server = notes_server()
    server.middleware.insert(0, TenantCalls(context=bob(expires_at=1.0)))
    with pytest.raises((MCPError, ExceptionGroup)):
        async with Client(server) as client:
            await client.call_tool("whoami", {})


async def test_without_a_context_around_it_the_app_serves_nobody() -> None:
    """A mount that was forgotten outside of the guard must not become an open door."""
    server = notes_server()
    app = guarded_mcp(server, json_response=True)
    async with server.session_manager.run(), http(app, "alice") as client:
        refused = await client.post("/mcp", json=INITIALIZE)
    assert (refused.status_code, refused.json()["code"]) == (500, "context_missing")


async def test_event_ids_of_another_replay_nothing() -> None:
    """An event store replays by event id alone, so the header is not passed on."""
    seen: list[Any] = []

    async def inner(scope: Scope, _receive: Any, send: Any) -> None:
        seen.append(scope["headers"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    app = OwnedMCPSessions(inner)
    with use_context(alice()):
        async with http(app, "alice") as client:
            await client.get("/mcp", headers={"last-event-id": "event-of-bob"})
    assert b"last-event-id" not in dict(seen[0])


def test_bad_arguments_are_refused_when_built() -> None:
    """Not in the first request."""
    with pytest.raises(ConfigError):
        guarded_mcp(object())  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        guarded_mcp(notes_server(), key=b"short")
    with pytest.raises(ConfigError):
        TenantCalls(context="alice")  # type: ignore[arg-type]
