"""Ten agents for ten users at once: tools read the database, and nothing crosses.

Run: ``python examples/agents.py`` (needs the ``embedded`` extra). Exits 0 only if nothing crossed.

The mistake that this replaces is one agent object for everybody, whose memory belongs to whoever
calls next. Here the agent is a function; what a run keeps is an `ExecutionState`, which answers
its own user only; and its tools read through `rls_enforced_session`. Last comes the agent of
`text_to_sql.py`, whose model was talked into robbing the neighbour and whose tool runs any SQL.
"""

from __future__ import annotations

import asyncio
import random
import sys
import uuid
from dataclasses import dataclass

import text_to_sql
from sqlalchemy import Text, make_url, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from asgi_guard import UserExecutionContext, require_context, use_context
from asgi_guard.errors import ContextContaminationError
from asgi_guard.observability import SecurityEvent, subscribe
from asgi_guard.rls import (
    RLSVariables,
    TenantScoped,
    guarded_engine,
    require_rls,
    rls_enforced_session,
    tenant_policies,
)
from asgi_guard.tenancy import ExecutionState
from asgi_guard.testing import EmbeddedPostgres

USERS, STEPS = 10, 20


class Base(DeclarativeBase):
    """The example's tables."""


class Fact(TenantScoped, Base):
    """Something that one tenant knows."""

    __tablename__ = "facts"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    text: Mapped[str] = mapped_column(Text)


@dataclass(frozen=True)
class User:
    """One of ten users; every two share a tenant."""

    number: int

    @property
    def tenant_id(self) -> str:
        """The tenant of users 0 and 1, of 2 and 3, and so on."""
        return str(uuid.UUID(int=self.number // 2 + 1, version=4))

    @property
    def context(self) -> UserExecutionContext:
        """Who this user's request runs as."""
        return UserExecutionContext(
            tenant_id=self.tenant_id, user_id=f"user-{self.number}", operation="agent.run"
        )


@require_rls(operation="agent.tool.read_fact")
async def read_fact(session: AsyncSession) -> Fact:
    """Return a fact at random: the tool asks for no tenant and sees one only."""
    facts = (await session.scalars(select(Fact))).all()
    return random.choice(facts)  # noqa: S311 - not a secret


async def agent(engine: AsyncEngine, everybodys: list[ExecutionState]) -> list[Fact]:
    """Run for whoever is current: read facts, remember them, and try to look at the neighbours."""
    me = require_context("agent")
    with ExecutionState.open("agent.run", initial={"memory": []}) as state:
        everybodys.append(state)  # the mistake, on purpose: every agent can reach every state
        for _ in range(STEPS):
            async with rls_enforced_session(engine, me.tenant_id, "agent.step") as session:
                state["memory"].append(await read_fact(session))
            snoop(everybodys, state)
        return list(state["memory"])


class Alarms:
    """An `EventSink` that counts what would reach the operator."""

    contaminations = 0

    def emit(self, event: SecurityEvent) -> None:
        """Count *event* if it is a contamination."""
        self.contaminations += event.name == "CONTEXT_CONTAMINATION"


def snoop(everybodys: list[ExecutionState], own: ExecutionState) -> None:
    """Read every neighbour's memory, as shared state would let anyone do."""
    for state in everybodys:
        if state is not own:
            try:
                leaked = state["memory"]
            except ContextContaminationError:
                continue
            raise SystemExit(f"LEAK: a neighbour's memory was read: {leaked}")


async def run_for(user: User, engine: AsyncEngine, everybodys: list[ExecutionState]) -> int:
    """Run one user's agent, and count foreign facts in what it brings back."""
    with use_context(user.context):
        facts = await agent(engine, everybodys)
    return sum(str(fact.tenant_id) != user.tenant_id for fact in facts)


async def prepare(admin_dsn: str) -> str:
    """Make the table, its policies and five tenants' facts; return where the app connects."""
    admin = make_url(admin_dsn).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(admin)
    rows = [
        {"id": uuid.uuid4(), "tenant_id": uuid.UUID(User(number).tenant_id), "text": f"fact {n}"}
        for number in range(0, USERS, 2)
        for n in range(8)
    ]
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(Fact.__table__.insert(), rows)
        await connection.run_sync(tenant_policies(Base.metadata).apply)
        await connection.exec_driver_sql("ALTER ROLE app_runtime PASSWORD 'example'")
    await engine.dispose()
    runtime = admin.set(username=RLSVariables().runtime_role, password="example")  # noqa: S106
    return runtime.render_as_string(hide_password=False)


async def main(admin_dsn: str) -> int:
    """Run ten agents at once; 0 if nothing crossed."""
    alarms = Alarms()
    subscribe(alarms)
    engine = guarded_engine(await prepare(admin_dsn), pool_size=5)
    everybodys: list[ExecutionState] = []
    users = [User(number) for number in range(USERS)]
    foreign = await asyncio.gather(*(run_for(user, engine, everybodys) for user in users))
    await engine.dispose()
    print(f"{USERS} agents, {USERS * STEPS} tool calls: {sum(foreign)} foreign facts")
    print(f"{alarms.contaminations} looks at a neighbour's memory: each refused, each an event")
    return 0 if sum(foreign) == 0 and alarms.contaminations else 1


if __name__ == "__main__":
    with EmbeddedPostgres(durable=False) as embedded:
        crossed = asyncio.run(main(embedded.create_database("agents").dsn()))
        sys.exit(crossed or asyncio.run(text_to_sql.main(embedded.server)))
