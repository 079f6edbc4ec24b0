"""The fixtures that the rest of the suite, and users' suites, stand on."""

from __future__ import annotations

from collections.abc import Callable

import asyncpg
import psycopg
import pytest

from asgi_guard.testing import PostgresDatabase, PostgresServer
from asgi_guard.testing.plugin import TemplateFactory
from tests.support.pgbouncer import PgBouncer

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("turn", [1, 2])
async def test_each_test_has_a_database_of_its_own(
    postgres_database: PostgresDatabase, turn: int
) -> None:
    """A table left by one test must not be there for the next."""
    connection = await asyncpg.connect(postgres_database.dsn())
    try:
        await connection.execute("CREATE TABLE left_behind (turn int)")
        assert await connection.fetchval("SELECT current_database()") == postgres_database.name
    finally:
        await connection.close()


def test_a_template_is_filled_once_and_copied_with_its_rows(
    postgres_server: PostgresServer, postgres_template_factory: TemplateFactory
) -> None:
    """A schema that takes a second to make must not be made for each of a thousand tests."""
    forgotten = []

    def prepare(database: PostgresDatabase) -> None:
        connection = psycopg.connect(database.dsn(), autocommit=True)
        connection.execute("CREATE TABLE notes (id int); INSERT INTO notes VALUES (1), (2)")
        forgotten.append(connection)  # a database in use cannot be copied

    names = {postgres_template_factory(prepare) for _ in range(3)}

    assert len(forgotten) == len(names) == 1
    copy = postgres_server.create_database("copy_of_a_template", names.pop())
    with psycopg.connect(copy.dsn()) as connection:
        assert connection.execute("SELECT count(*) FROM notes").fetchone() == (2,)
    postgres_server.drop_database(copy.name)
    forgotten.pop().close()


async def test_a_template_may_be_filled_by_an_async_function(
    postgres_server: PostgresServer, postgres_template_factory: TemplateFactory
) -> None:
    """Async engines make schemas too, also when the test itself is already in a loop."""

    async def prepare(database: PostgresDatabase) -> None:
        connection = await asyncpg.connect(database.dsn())
        await connection.execute("CREATE TABLE notes (id int)")
        await connection.close()

    copy = postgres_server.create_database("async_copy", postgres_template_factory(prepare))

    copy.execute("INSERT INTO notes VALUES (1)")
    postgres_server.drop_database(copy.name)


@pytest.mark.pgbouncer
async def test_the_pooler_hands_one_server_connection_to_many_clients(
    postgres_database: PostgresDatabase, pgbouncer: Callable[..., PgBouncer]
) -> None:
    """Transaction mode is what makes a session-level SET leak to a stranger."""
    role, password = f"pooled_{postgres_database.name}", 'it\'s "quoted"'
    postgres_database.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'it''s \"quoted\"'")
    try:
        pooler = pgbouncer(postgres_database, users={role: password}, pool_size=1)
        dsn = pooler.dsn(role, password)
        first = await asyncpg.connect(dsn, statement_cache_size=0)
        second = await asyncpg.connect(dsn, statement_cache_size=0)
        try:
            pids = {await c.fetchval("SELECT pg_backend_pid()") for c in (first, second, first)}
        finally:
            await first.close()
            await second.close()
        assert len(pids) == 1
    finally:
        postgres_database.execute(f"DROP ROLE {role}")


@pytest.mark.pgbouncer
async def test_the_pooler_refuses_a_wrong_password(
    postgres_database: PostgresDatabase, pgbouncer: Callable[..., PgBouncer]
) -> None:
    """A test server on loopback is still reachable by every user of the machine."""
    pooler = pgbouncer(postgres_database, users={"somebody": "right"})

    with pytest.raises(asyncpg.PostgresError):
        await asyncpg.connect(pooler.dsn("somebody", "wrong"), statement_cache_size=0)
