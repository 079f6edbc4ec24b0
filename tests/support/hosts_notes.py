"""A FastAPI app with notes of tenants in a real database, and how to ask it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, WebSocket
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from asgi_guard.integrations.fastapi import (
    CurrentContext,
    GuardedSession,
    guarded_session,
    require_scopes,
)
from asgi_guard.rls import guarded_engine, require_rls
from asgi_guard.stack import Guard
from asgi_guard.tenancy import Membership
from tests.support.hosts_guard import guard_settings
from tests.support.rls_schema import ALICE, BOB, VARIABLES, Note, RLSDatabase

__all__ = ["OneUserEach", "guarded_notes", "notes_app"]


class OneUserEach:
    """Alice belongs to one tenant of the database, Bob to another."""

    async def lookup(self, user_id: str, tenant_id: str) -> Membership | None:
        member = (user_id, tenant_id) in {("alice", ALICE), ("bob", BOB)}
        return Membership() if member else None


def notes_app(engine: AsyncEngine) -> FastAPI:
    """Build the app; it has no guard yet."""
    app = FastAPI()

    @app.get("/notes", dependencies=[require_scopes("notes:read")])
    @require_rls(operation="notes.list")
    async def list_notes(session: GuardedSession, context: CurrentContext) -> dict[str, Any]:
        notes = await session.scalars(select(Note))
        return {"user": context.user_id, "notes": [note.body for note in notes]}

    @app.post("/notes", status_code=201)
    async def add_note(body: str, session: GuardedSession) -> dict[str, str]:
        session.add(Note(body=body))
        return {"stored": body}

    @app.post("/notes/refused")
    async def refuse_note(body: str, session: GuardedSession) -> None:
        session.add(Note(body=body))
        await session.flush()
        raise HTTPException(418, "no")

    @app.post("/notes/broken")
    async def break_note(body: str, session: GuardedSession) -> None:
        session.add(Note(body=body))
        await session.flush()
        raise RuntimeError("the app has a bug")

    @app.post("/notes/scoped", dependencies=[require_scopes("notes:write", "notes:admin")])
    async def scoped(session: GuardedSession) -> None:
        session.add(Note(body="scoped"))

    @app.websocket("/notes/live")
    async def live(websocket: WebSocket, session: GuardedSession) -> None:
        await websocket.accept()
        notes = await session.scalars(select(Note))
        await websocket.send_json([str(note.tenant_id) for note in notes])

    named = Annotated[AsyncSession, guarded_session(engine)]

    async def count(session: Any) -> int:
        return len((await session.scalars(select(Note))).all())

    count.__annotations__["session"] = named
    app.get("/notes/count")(count)
    return app


@asynccontextmanager
async def guarded_notes(database: RLSDatabase, **changes: Any) -> AsyncIterator[FastAPI]:
    """Give the app, guarded, over *database*."""
    engine = guarded_engine(database.url(), variables=VARIABLES)
    try:
        given: dict[str, Any] = {"memberships": OneUserEach(), "databases": [engine]}
        yield Guard(guard_settings(**(given | changes))).install(notes_app(engine))
    finally:
        await engine.dispose()
