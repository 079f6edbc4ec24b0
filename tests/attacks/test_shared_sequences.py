"""What one tenant learns from sequences about the others, on a connection that they share."""

from __future__ import annotations

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from asgi_guard.rls.ddl.tables import sequence_statement
from asgi_guard.tenancy import use_context
from tests.support.rls_schema import ALICE, BOB, VARIABLES, context_of
from tests.support.shared_objects import SharedWorld, plain_only

pytestmark = [pytest.mark.postgres, plain_only]

INSERT = "INSERT INTO notes (body) VALUES ('x') RETURNING id"
# The value of the last number drawn in the session, by whomever; where the sequence stands.
QUESTIONS = (
    "SELECT lastval()",
    "SELECT currval('notes_id_seq')",
    "SELECT last_value FROM notes_id_seq",
    "SELECT nextval('notes_id_seq')",
)
VOLUME = "SELECT last_value FROM pg_sequences WHERE sequencename = 'notes_id_seq'"


async def test_a_pool_hands_on_no_number(shared: SharedWorld) -> None:
    """lastval() lives as long as the session, which several tenants use."""
    async with shared.pool(max_size=1) as pool:
        with use_context(context_of(ALICE)):
            pid, drawn = await pool.fetchval("SELECT pg_backend_pid()"), await pool.fetchval(INSERT)
        with use_context(context_of(BOB)):
            assert await pool.fetchval("SELECT pg_backend_pid()") == pid, "the same session"
            for question in QUESTIONS:
                with pytest.raises(asyncpg.PostgresError) as refused:
                    await pool.fetchval(question)
                assert refused.value.sqlstate in {"42501", "55000"}, question
            assert await pool.fetchval(VOLUME) is None
            assert await pool.fetchval(INSERT) > drawn, "what remains: gaps between one's own ids"


async def test_an_engine_hands_on_no_number(shared: SharedWorld) -> None:
    """SQLAlchemy's pool sends nothing that would make the session forget."""
    async with shared.engine(pool_size=1, max_overflow=0) as engine:
        with use_context(context_of(ALICE)):
            async with engine.begin() as connection:
                await connection.scalar(text(INSERT))
        with use_context(context_of(BOB)):
            for question in QUESTIONS:
                async with engine.connect() as connection:
                    with pytest.raises(ProgrammingError) as refused:
                        await connection.scalar(text(question))
                assert "permission denied for sequence" in str(refused.value), question
            async with engine.connect() as connection:
                assert await connection.scalar(text(VOLUME)) is None


async def test_control_with_usage_the_last_number_and_the_volume_are_told(
    shared: SharedWorld,
) -> None:
    """Negative control: what a serial column's grant still tells, as the page says."""
    shared.admin(f"GRANT USAGE ON SEQUENCE notes_id_seq TO {VARIABLES.runtime_role}")

    async with shared.engine(pool_size=1, max_overflow=0) as engine:
        with use_context(context_of(ALICE)):
            async with engine.begin() as connection:
                drawn = await connection.scalar(text(INSERT))
        with use_context(context_of(BOB)):
            async with engine.connect() as connection:
                assert await connection.scalar(text("SELECT lastval()")) == drawn
                assert await connection.scalar(text(VOLUME)) == drawn


async def test_a_raw_pool_forgets_a_serials_number_too(shared: SharedWorld) -> None:
    """Where USAGE cannot be taken away, the message that resets the session forgets for it."""
    shared.admin(f"GRANT USAGE ON SEQUENCE notes_id_seq TO {VARIABLES.runtime_role}")

    async with shared.pool(max_size=1) as pool:
        with use_context(context_of(ALICE)):
            await pool.fetchval(INSERT)
        with use_context(context_of(BOB)):
            for question in QUESTIONS[:2]:
                with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
                    await pool.fetchval(question)


async def test_a_serial_column_still_draws(shared: SharedWorld) -> None:
    """Its default calls nextval() with the rights of whoever inserts."""
    shared.admin(
        "ALTER TABLE notes ALTER COLUMN id DROP IDENTITY",
        "CREATE SEQUENCE notes_serial START 1000",
        f"ALTER SEQUENCE notes_serial OWNER TO {VARIABLES.owner_role}",
        "ALTER SEQUENCE notes_serial OWNED BY notes.id",
        "ALTER TABLE notes ALTER COLUMN id SET DEFAULT nextval('notes_serial')",
        sequence_statement(shared.policies.inventory.guarded, VARIABLES),
    )

    async with shared.works_for(ALICE) as handle:
        assert await handle.fetchval(INSERT) == 1000
        for refused in ("setval('notes_serial', 1)", "(SELECT last_value FROM notes_serial)"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with handle.transaction():
                    await handle.fetchval(f"SELECT {refused}")
