"""An async generator that was left half-way is cleaned up later, in whatever request then runs.

The garbage collector hands it to the event loop (PEP 525), which makes a task out of the context
that happens to be current: by then, another tenant's.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

from asgi_guard import current_context
from asgi_guard.protocols import ASGIApp, Receive, Scope, Send
from asgi_guard.stack import Guard
from asgi_guard.tenancy.current import current_watch
from tests.support.hosts_client import get
from tests.support.hosts_guard import ACME, GLOBEX, guard_settings, token


def host(cleaned_up_for: list[str | None]) -> ASGIApp:
    """Begin a generator and lose it in a cycle, at ``/begin``; collect what was lost at ``/``."""

    async def rows() -> AsyncIterator[str]:
        try:
            yield "one"
            yield "two"
        finally:
            context = current_context()
            watched = "somebody's answer" if current_watch() else None
            cleaned_up_for.append(watched if context is None else context.tenant_id)

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["path"] == "/begin":
            lost: list[Any] = [rows()]
            lost.append(lost)
            await anext(lost[0])
        else:
            gc.collect()
            await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    installed: ASGIApp = Guard(guard_settings()).install(app)
    return installed


async def test_what_one_tenant_abandoned_is_not_cleaned_up_as_another() -> None:
    """``finally: await session.execute(...)`` would write the one's data as the other's row."""
    cleaned_up_for: list[str | None] = []
    app = host(cleaned_up_for)
    gc.disable()
    try:
        await get(app, "/begin", token("alice", ACME))
        await get(app, "/", token("bob", GLOBEX))
        await asyncio.sleep(0)
    finally:
        gc.enable()

    assert cleaned_up_for == [None]
