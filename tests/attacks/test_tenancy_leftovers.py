"""Nothing of one request may be left for another: interleaved, in turn, or pipelined.

A server that has a second request waiting on a connection starts it from inside the task that
answers the first; asyncio then copies that task's context variables into the new one (uvicorn
without ``reset_contextvars``, its default).
"""

from __future__ import annotations

import asyncio
import random
import uuid

import pytest

from asgi_guard.protocols import ASGIApp, Receive, Scope, Send
from asgi_guard.tenancy import HeaderResolver, TenantContextMiddleware, use_context
from tests.support.tenancy_calls import get
from tests.support.tenancy_hosts import HOSTS
from tests.support.tenancy_server import exchange, serving
from tests.support.tenancy_world import ACME, GLOBEX, Directory, SignedIn, context, who

TENANTS = [str(uuid.UUID(int=number + 1)) for number in range(20)]
REQUESTS = 200
CHANNELS = [
    "/probe/after_await",
    "/probe/task_group",
    "/probe/to_thread",
    "/probe/propagated_executor",
    "/probe/and_back_by_async_to_sync",
    "/sync",
    "/stream",
]


def guarded(app: ASGIApp) -> ASGIApp:
    """Put the tenancy middleware around *app*, with each user in a tenant."""
    members = [(f"user-{tenant}", tenant) for tenant in (*TENANTS, ACME, GLOBEX)]
    return SignedIn(
        TenantContextMiddleware(
            app,
            resolver=HeaderResolver(),
            memberships=Directory(*members),
            public_paths=["/public"],
        )
    )


async def wrong_answers(app: ASGIApp) -> int:
    """Send 200 requests of 20 tenants at once and count those that ran for anyone else."""
    order = random.Random(20)  # noqa: S311 - an order that fails must fail again

    async def one(number: int) -> bool:
        tenant = TENANTS[number % len(TENANTS)]
        user = f"user-{tenant}"
        for _ in range(order.randrange(5)):
            await asyncio.sleep(0)
        path = CHANNELS[number % len(CHANNELS)]
        answer = await get(app, path, {"x-user": user, "x-tenant-id": tenant})
        return {*answer.body.decode().splitlines()} == {f"{tenant} {user}"}

    right = await asyncio.gather(*(one(number) for number in range(REQUESTS)))
    return right.count(False)


@pytest.mark.parametrize("host", HOSTS)
async def test_two_hundred_interleaved_requests_of_twenty_tenants_each_run_for_their_own(
    host: str,
) -> None:
    """Every value is known, so one crossing is seen."""
    assert await wrong_answers(guarded(HOSTS[host]())) == 0


async def test_control_a_global_instead_of_a_context_variable_is_caught() -> None:
    """The same load against the bug that this package exists for must report crossings."""
    current = {"who": ""}

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        current["who"] = f"{headers[b'x-tenant-id'].decode()} {headers[b'x-user'].decode()}"
        await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": current["who"].encode()})

    assert await wrong_answers(app) > 0


async def tell(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer with who the request runs for."""
    body = who().encode()
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


class Careless:
    """Enters the context of requests that name a tenant, and passes the others on as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        tenant = dict(scope["headers"]).get(b"x-tenant-id")
        if tenant is None:
            await self.app(scope, receive, send)
            return
        with use_context(context(tenant.decode())):
            await self.app(scope, receive, send)


def request(path: str, **headers: str) -> bytes:
    """Write one request of HTTP/1.1."""
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"GET {path} HTTP/1.1\r\nhost: app.example\r\n{fields}\r\n".encode()


FIRST = request("/", x_user=f"user-{ACME}", x_tenant_id=ACME)
NOBODYS = request("/public")
SECOND = request("/", x_user=f"user-{GLOBEX}", x_tenant_id=GLOBEX)


async def test_pipelined_requests_on_one_connection_inherit_nothing() -> None:
    """The public one in the middle is started from inside the first one's task."""
    async with serving(guarded(tell)) as port:
        bodies = await exchange(port, FIRST + NOBODYS + SECOND + NOBODYS, answers=4)

    assert bodies == [f"{ACME} user-{ACME}", "none", f"{GLOBEX} user-{GLOBEX}", "none"]


async def test_control_a_careless_middleware_leaks_to_the_pipelined_request() -> None:
    """On this very server the leak is real, so the test above can see it."""
    async with serving(Careless(tell)) as port:
        bodies = await exchange(port, FIRST + NOBODYS, answers=2)

    assert bodies == [f"{ACME} alice", f"{ACME} alice"]


async def test_requests_in_turn_on_a_kept_connection_inherit_nothing() -> None:
    """Keep-alive without pipelining: the common case."""
    async with serving(guarded(tell)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        seen = []
        for sent in (FIRST, NOBODYS, SECOND, NOBODYS):
            writer.write(sent)
            async with asyncio.timeout(10):
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0])
                seen.append((await reader.readexactly(length)).decode())
        writer.close()
        await writer.wait_closed()

    assert seen == [f"{ACME} user-{ACME}", "none", f"{GLOBEX} user-{GLOBEX}", "none"]
