"""The server's half of the lifespan protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from asgi_guard.protocols import ASGIApp

__all__ = ["Served", "served"]


class Served:
    """What a server has heard from an app's lifespan."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.error: BaseException | None = None

    @property
    def kinds(self) -> list[str]:
        return [message["type"] for message in self.heard]

    @property
    def message(self) -> str:
        return str(self.heard[-1].get("message", ""))


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[Served]:
    """Start *app* as a server does, run the block, and stop it; its error is kept, not raised."""
    state, answered = Served(), asyncio.Event()
    to_app: asyncio.Queue[Any] = asyncio.Queue()

    async def send(message: Any) -> None:
        state.heard.append(message)
        answered.set()

    async def run() -> None:
        try:
            await app(
                {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, to_app.get, send
            )
        except Exception as error:
            state.error = error
        finally:
            answered.set()

    to_app.put_nowait({"type": "lifespan.startup"})
    async with asyncio.TaskGroup() as group:
        group.create_task(run())
        await answered.wait()
        yield state
        to_app.put_nowait({"type": "lifespan.shutdown"})
