"""Notes: four handlers, and none of them names a tenant."""

from __future__ import annotations

import asyncio
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, BackgroundTasks, HTTPException, WebSocket
from pydantic import BaseModel, StringConstraints
from sqlalchemy import select

from asgi_guard import UserExecutionContext
from asgi_guard.integrations.fastapi import GuardedSession, require_scopes
from asgi_guard.rls import require_rls

from .models import Note
from .service import Service

Writer = Annotated[UserExecutionContext, require_scopes("notes:write")]


class NewNote(BaseModel):
    """What to write."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


def shown(note: Note) -> dict[str, str]:
    """Return what the page sees of a note."""
    return {
        "id": str(note.id),
        "text": note.text,
        "author": note.author,
        "created_at": note.created_at.isoformat(),
    }


async def forward(notes: asyncio.Queue[dict[str, str]], socket: WebSocket) -> None:
    """Send each note of the tenant as it arrives."""
    while True:
        await socket.send_json(await notes.get())


def note_routes(service: Service) -> APIRouter:
    """Return the routes of notes."""
    routes = APIRouter()
    live = service.live

    @routes.get("/api/notes")
    @require_rls(operation="notes.list")
    async def list_notes(session: GuardedSession) -> list[dict[str, str]]:
        newest_first = select(Note).order_by(Note.created_at.desc()).limit(50)
        return [shown(note) for note in await session.scalars(newest_first)]

    @routes.get("/api/notes/{note_id}")
    @require_rls(operation="notes.read")
    async def read_note(note_id: UUID, session: GuardedSession) -> dict[str, str]:
        note = await session.scalar(select(Note).where(Note.id == note_id))
        if note is None:
            raise HTTPException(404, "no such note")
        return shown(note)

    @routes.post("/api/notes", status_code=201)
    @require_rls(operation="notes.add")
    async def add_note(
        new: NewNote, session: GuardedSession, context: Writer, background: BackgroundTasks
    ) -> dict[str, str]:
        note = Note(text=new.text, author=context.user_id)
        session.add(note)
        await session.flush()
        await session.refresh(note)
        background.add_task(live.publish, shown(note))  # runs after the commit
        return shown(note)

    @routes.websocket("/api/notes/live")
    async def watch_notes(socket: WebSocket) -> None:
        await socket.accept()
        with live.watch() as notes:
            sending = asyncio.create_task(forward(notes, socket))
            try:
                while (await socket.receive())["type"] != "websocket.disconnect":
                    pass  # the page has nothing to say; listening notices that it left
            finally:
                sending.cancel()

    return routes
