"""The attacks that need a foot inside the server: each returns what it got, not what it hoped for.

Every one runs in a task with an empty context, as a bug or a hijacked worker would, and counts the
foreign rows that it really saw. Break the guard, and the number is no longer 0.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import URL, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from asgi_guard import UserExecutionContext, use_context
from asgi_guard.errors import GuardError
from asgi_guard.rls import rls_enforced_session
from asgi_guard.tenancy import ExecutionState

from .models import Note


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attack came back with."""

    tried: str
    answer: str
    held: bool


@dataclass(frozen=True, slots=True)
class Target:
    """What an attack has to work with: the app's own engine, and who is attacked by whom."""

    engine: AsyncEngine
    runtime_url: URL
    attacker: UserExecutionContext
    victim_tenant: str


async def raw_sql(target: Target) -> Outcome:
    """Read the table with no tenant: through the guarded engine, then around it."""
    refused = "rows came back"
    try:
        async with target.engine.connect() as connection:
            await connection.execute(text("SELECT text FROM notes"))
    except GuardError as error:
        refused = error.code
    url = target.runtime_url.set(drivername="postgresql")
    around = await asyncpg.connect(url.render_as_string(hide_password=False))
    try:
        rows = await around.fetch("SELECT text FROM notes")
    finally:
        await around.close()
    return Outcome(
        "SELECT text FROM notes, with no tenant: on the guarded engine, then on a connection of "
        "our own with the app's password",
        f"guarded engine: {refused}; own connection: {len(rows)} rows",
        refused == "RLS_NOT_ENFORCED" and not rows,
    )


async def commit_then_read(target: Target) -> Outcome:
    """Commit, and read on: a session-level setting would still be there for the next user."""
    with use_context(target.attacker):
        async with AsyncSession(target.engine) as session:
            before = (await session.scalars(select(Note))).all()
            await session.commit()
            after = (await session.scalars(select(Note))).all()
    foreign = [note for note in after if str(note.tenant_id) != target.attacker.tenant_id]
    try:
        async with target.engine.connect() as connection:  # the same pool, nobody's turn
            left = len((await connection.execute(text("SELECT 1 FROM notes"))).all())
        nobody = f"{left} rows"
    except GuardError as error:
        left, nobody = 0, error.code
    return Outcome(
        "SELECT, COMMIT, SELECT in one session; then the pooled connection without a tenant",
        f"{len(before)} own rows before, {len(after)} after, {len(foreign)} foreign; "
        f"without a tenant: {nobody}",
        len(after) == len(before) and not foreign and left == 0,
    )


async def cancelled_request(target: Target) -> Outcome:
    """Cancel a query mid-flight and let the other tenant's job use the same pool."""

    async def slow() -> None:
        async with AsyncSession(target.engine) as session:
            await session.execute(select(Note, text("pg_sleep(5)")))

    for _ in range(5):
        with use_context(target.attacker):
            task = asyncio.create_task(slow())
        await asyncio.wait({task}, timeout=0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    foreign = seen = 0
    for _ in range(10):
        async with rls_enforced_session(target.engine, target.victim_tenant, "job") as session:
            rows = (await session.scalars(select(Note.tenant_id))).all()
        seen += len(rows)
        foreign += sum(row != UUID(target.victim_tenant) for row in rows)
    return Outcome(
        "5 requests cancelled in the middle of a query; then 10 jobs of the other tenant on the "
        "same pool",
        f"the jobs read {seen} rows, {foreign} of them foreign",
        seen > 0 and foreign == 0,
    )


async def sql_injection(target: Target) -> Outcome:
    """Type SQL into a search that pastes it into its query, and name the other tenant with it."""
    half = "'app.cur' || 'rent_tenant'"  # what looks for the whole name in the text sees nothing
    typed = (
        "' OR '1'='1",
        f"' OR set_config({half}, '{target.victim_tenant}', true) <> '' --",
        (
            f"' OR set_config({half}, replace(current_setting({half}), "
            f"'{target.attacker.tenant_id}', '{target.victim_tenant}'), true) <> '' --"
        ),
        "' UNION SELECT tenant_id FROM notes, asgi_guard.seal_keys --",
    )
    foreign = refused = 0
    for attempt in typed:
        with use_context(target.attacker):
            async with target.engine.connect() as connection:
                try:
                    await connection.exec_driver_sql(
                        f"SELECT tenant_id FROM notes WHERE text = '{attempt}'"  # noqa: S608 - the hole
                    )
                    rows = await connection.scalars(select(Note.tenant_id))
                    foreign += sum(str(row) != target.attacker.tenant_id for row in rows)
                except DBAPIError:
                    refused += 1
    return Outcome(
        f"{len(typed)} injections into a search that pastes text into SQL; each then reads on in "
        "the same transaction",
        f"{refused} refused by PostgreSQL, {foreign} foreign rows from the others",
        foreign == 0 and refused == len(typed) - 1,
    )


async def agent_state(target: Target) -> Outcome:
    """Reach into the state of another tenant's agent while it runs."""
    victim = UserExecutionContext(
        tenant_id=target.victim_tenant, user_id="agent-of-the-other-tenant", operation="agent.run"
    )
    with use_context(victim):
        state = ExecutionState.open("agent.run", initial={"memory": "a secret plan"})
        with state, use_context(target.attacker):
            try:
                got = repr(state["memory"])
            except GuardError as error:
                got = error.code
    tried = "read state['memory'] of a running agent of the other tenant"
    return Outcome(tried, got, got == "CONTEXT_CONTAMINATION")


Attack = Callable[[Target], Coroutine[Any, Any, Outcome]]
ATTACKS: dict[str, tuple[str, str, Attack]] = {
    "raw-sql": (
        "Raw SQL without a tenant",
        "Send a SELECT without WHERE from code that runs for nobody.",
        raw_sql,
    ),
    "commit-then-read": (
        "Commit, then read",
        "Read on after a commit, then borrow the pooled connection.",
        commit_then_read,
    ),
    "sql-injection": (
        "SQL injection that sets the tenant",
        "Type SQL into a careless search, and name the other tenant with it.",
        sql_injection,
    ),
    "cancelled-request": (
        "Cancelled requests",
        "Abort queries mid-flight and look at what the next tenant sees.",
        cancelled_request,
    ),
    "agent-state": (
        "Another agent's state",
        "Read what an agent of the other tenant keeps in memory.",
        agent_state,
    ),
}


async def run_attack(name: str, target: Target) -> dict[str, Any]:
    """Run the attack called *name* in a task that inherits no context."""
    attack: Awaitable[Outcome] = asyncio.create_task(
        ATTACKS[name][2](target), context=contextvars.Context()
    )
    return asdict(await attack)
