"""A process that writes notes through a guarded engine with a log, until it is killed."""

from __future__ import annotations

import asyncio
import os
import sys

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from asgi_guard.audit_log import AuditLog, AuditSigningKey, PostgresAuditSink
from asgi_guard.integrations.sql_audit import audit_writes
from asgi_guard.rls import guarded_engine
from asgi_guard.secret import Secret
from asgi_guard.tenancy import use_context
from tests.support.audit_postgres import TABLES
from tests.support.rls_schema import ALICE, VARIABLES, context_of

__all__ = ["ADD", "SHARED_KEY", "add_notes"]

SHARED_KEY = AuditSigningKey(Secret("22" * 32))

ADD = "INSERT INTO notes (body) VALUES ('audited')"


async def add_notes(engine: AsyncEngine, count: int, pipe: int | None = None) -> None:
    """Write notes one by one; tell each that was acknowledged."""
    with use_context(context_of(ALICE)):
        for _ in range(count):
            async with engine.begin() as connection:
                await connection.execute(text(ADD))
            if pipe is not None:
                os.write(pipe, b"1\n")


async def main(url: str, writer_dsn: str, pipe: int) -> None:
    engine = guarded_engine(url, variables=VARIABLES)
    audit = AuditLog(sinks=[PostgresAuditSink(writer_dsn, tables=TABLES)], signing_key=SHARED_KEY)
    audit_writes(engine, audit)
    async with audit:
        await asyncio.gather(*(add_notes(engine, 1_000_000, pipe) for _ in range(3)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
