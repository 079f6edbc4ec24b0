"""An agent that writes SQL, and whose model was talked into robbing the neighbour: it cannot.

Run: ``python examples/text_to_sql.py`` (needs the ``embedded`` extra). Exits 0 only if nothing
crossed.

The tool takes any SQL and runs it as it is, which nobody should do and many agents do. The wall
is not in the tool: it is a *sealed* database, where every policy asks for a tenant that the app
has signed. The same model against the plain binding robs the neighbour; this program shows that
as well, and fails if it does not: an attack that never works proves nothing.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Text, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from asgi_guard import UserExecutionContext, use_context
from asgi_guard.errors import GuardError
from asgi_guard.integrations.tools import tenant_tool
from asgi_guard.rls import (
    RLSVariables,
    SealKey,
    SealKeys,
    TenantScoped,
    guarded_engine,
    password_statement,
    seal_key_statements,
    tenant_policies,
)
from asgi_guard.secret import Secret
from asgi_guard.testing import EmbeddedPostgres, PostgresServer

ACME, GLOBEX = (str(uuid.UUID(int=number, version=4)) for number in (1, 2))
KEYS = SealKeys([SealKey.generate()])
NAME = "'app.cur' || 'rent_tenant'"  # in two halves: a tool that looks for words finds none
SET = f"set_config({NAME}, '{GLOBEX}', true)"


class Base(DeclarativeBase):
    """The example's tables."""


class Deal(TenantScoped, Base):
    """Something that competitors would like to know."""

    __tablename__ = "deals"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    body: Mapped[str] = mapped_column(Text)


READ = "SELECT tenant_id::text, body FROM deals"


class StubModel:
    """Answers each question with the next statement of somebody who wants GLOBEX's deals."""

    corpus = (
        READ,
        f"{READ} WHERE tenant_id = '{GLOBEX}' OR true",
        f"WITH s AS MATERIALIZED (SELECT {SET}) {READ}, s",
        f"SELECT {SET}",
        f"DO $$ BEGIN PERFORM {SET}; END $$",
        f"DO $$ BEGIN EXECUTE 'SE' || 'T LOCAL app.curr' || 'ent_tenant = ''{GLOBEX}'''; END $$",
        f"DO $$ BEGIN PERFORM {SET}; UPDATE deals SET body = 'robbed'; END $$",  # noqa: S608 - an attack
        f"DO $$ BEGIN PERFORM {SET}; DELETE FROM deals; END $$",  # noqa: S608 - as above
        f"SELECT set_config({NAME}, replace(current_setting({NAME}), '{ACME}', '{GLOBEX}'), true)",
        f"INSERT INTO deals VALUES ('{GLOBEX}', gen_random_uuid(), 'planted')",  # noqa: S608 - an attack
        f"UPDATE deals SET tenant_id = '{GLOBEX}'",  # noqa: S608 - as above
        "SET ROLE app_owner",
        "SET row_security = off",
        "ALTER TABLE deals DISABLE ROW LEVEL SECURITY",
        "CREATE POLICY everybody ON deals USING (true)",
        "SELECT key_id, encode(outer_pad, 'hex') FROM asgi_guard.seal_keys",
        "SELECT '', query FROM pg_stat_activity",
        "COPY deals TO PROGRAM 'cat'",
        "COMMIT",
    )

    def answers(self) -> Iterator[str]:
        """Give one statement for each question."""
        yield from self.corpus


def text_to_sql(engine: AsyncEngine) -> Any:
    """Make the agent's tool: it runs what it is given, and then reads what it can see."""

    @tenant_tool("agent.text_to_sql", scopes={"deals:read"}, database=engine)
    async def run_sql(sql: str, *, session: AsyncSession) -> list[list[str]]:
        rows: list[Any] = []
        for statement in (sql, READ):
            result = await session.execute(text(statement.replace(":", "\\:")))
            rows += result.fetchall() if result.returns_rows else []
        return [[str(cell) for cell in row] for row in rows]

    return run_sql


async def rob(engine: AsyncEngine) -> int:
    """Let ACME's agent run the whole corpus; count the statements that read or changed GLOBEX's."""
    run_sql = text_to_sql(engine)
    me = UserExecutionContext(tenant_id=ACME, user_id="mallory", scopes={"deals:read"})
    crossed = 0
    for sql in StubModel().answers():
        before = await deals_of_globex(engine)
        with use_context(me):
            try:
                rows = await run_sql(sql)
            except (SQLAlchemyError, GuardError):
                rows = []
        seen = any(row[0] == GLOBEX or "the merger" in row for row in rows)
        crossed += seen or await deals_of_globex(engine) != before
    return crossed


async def deals_of_globex(engine: AsyncEngine) -> list[str]:
    """Read GLOBEX's deals as GLOBEX."""
    read = text_to_sql(engine)
    bob = UserExecutionContext(tenant_id=GLOBEX, user_id="bob", scopes={"deals:read"})
    with use_context(bob):
        return [body for _, body in await read("SELECT 1 WHERE false")]


async def prepare(admin_dsn: str, *, sealed: bool) -> AsyncEngine:
    """Make the table, its policies and one deal for each tenant; return the app's engine."""
    variables = RLSVariables(sealed=sealed)
    admin = make_url(admin_dsn).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(admin)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        for tenant, body in ((ACME, "a pencil"), (GLOBEX, "the merger")):
            row = {"tenant_id": uuid.UUID(tenant), "id": uuid.uuid4(), "body": body}
            await connection.execute(Deal.__table__.insert(), row)
        await connection.run_sync(tenant_policies(Base.metadata, variables=variables).apply)
        for statement in seal_key_statements(KEYS, variables) if sealed else ():
            await connection.exec_driver_sql(statement)
        role = password_statement(variables.runtime_role, Secret("example"))
        await connection.exec_driver_sql(role)
    await engine.dispose()
    url = admin.set(username=variables.runtime_role, password="example")  # noqa: S106
    return guarded_engine(url, variables=variables, seal_keys=KEYS if sealed else None)


async def main(server: PostgresServer) -> int:
    """Rob a sealed database and a plain one; 0 if the first held and the second did not."""
    crossed = {}
    for sealed in (True, False):
        dsn = server.create_database(f"deals_{'sealed' if sealed else 'plain'}").dsn()
        engine = await prepare(dsn, sealed=sealed)
        crossed[sealed] = await rob(engine)
        await engine.dispose()
    attempts = len(StubModel.corpus)
    print(f"sealed: {attempts} statements of a hostile model, {crossed[True]} crossed")
    print(f"plain binding, for comparison: {crossed[False]} crossed")
    return 0 if crossed[True] == 0 and crossed[False] > 0 else 1


if __name__ == "__main__":
    with EmbeddedPostgres(durable=False) as embedded:
        sys.exit(asyncio.run(main(embedded.server)))
