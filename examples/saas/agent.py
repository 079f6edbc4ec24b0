"""An agent with two tools. What it keeps lives in one run, and the run belongs to one user."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from asgi_guard import current_context, require_context
from asgi_guard.rls import require_rls, rls_enforced_session
from asgi_guard.tenancy import ExecutionState

from .models import Note


@require_rls(operation="agent.tool.count_notes")
async def count_notes(session: AsyncSession) -> int:
    """Count the notes that the caller's tenant has."""
    return await session.scalar(select(func.count()).select_from(Note)) or 0


@require_rls(operation="agent.tool.newest_note")
async def newest_note(session: AsyncSession) -> str:
    """Return the newest note's text."""
    newest = select(Note.text).order_by(Note.created_at.desc()).limit(1)
    return await session.scalar(newest) or "(none)"


async def run_agent(engine: AsyncEngine) -> list[str]:
    """Let the agent look at the notes, and return its steps."""
    context = require_context("agent.run")
    with ExecutionState.open("agent.run") as state:
        state["steps"] = [f"agent runs for {context.user_id}"]
        async with rls_enforced_session(engine, context.tenant_id, "agent.run") as session:
            state["steps"].append(f"tool count_notes -> {await count_notes(session)}")
            state["steps"].append(f"tool newest_note -> {await newest_note(session)!r}")
        state["steps"].append("run ends; its state is dropped")
        still_ours = current_context() == context
        state["steps"].append(f"context restored afterwards: {still_ours}")
        return list(state["steps"])
