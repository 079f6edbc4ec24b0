"""The lint names exactly the conditions that EXPLAIN shows without their index under a policy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Column, MetaData, Table, Text, Uuid, func, make_url, select
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR
from sqlalchemy.schema import CreateTable

from asgi_guard.errors import NotReadyError
from asgi_guard.rls import guarded_engine, tenant_policies
from asgi_guard.rls.operator_lint import lint_operators, stored_statements
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import use_context
from asgi_guard.testing import PostgresDatabase
from tests.support.ddl_deployment import PASSWORD, TENANTS, fresh_variables

pytestmark = pytest.mark.postgres

TENANT = TENANTS["uuid"][0]
VARIABLES = fresh_variables()
METADATA = MetaData()
NOTES = Table(
    "notes",
    METADATA,
    Column("tenant_id", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True, server_default=func.gen_random_uuid()),
    Column("body", Text),
    Column("data", JSONB),
    Column("tags", ARRAY(Text)),
    Column("words", TSVECTOR),
)
FILL = (
    "ALTER TABLE notes ADD k text GENERATED ALWAYS AS (data ->> 'k') STORED",
    "CREATE INDEX by_body ON notes (tenant_id, body text_pattern_ops)",
    "CREATE INDEX by_lower ON notes (lower(body))",
    "CREATE INDEX by_data ON notes USING gin (data)",
    "CREATE INDEX by_tags ON notes USING gin (tags)",
    "CREATE INDEX by_words ON notes USING gin (words)",
    "CREATE INDEX by_k ON notes (tenant_id, k)",
    "CREATE INDEX by_expression ON notes (tenant_id, (data ->> 'k'))",
    "CREATE INDEX by_body_alone ON notes (body text_pattern_ops)",
    f"""INSERT INTO notes (tenant_id, body, data, tags, words) SELECT '{TENANT}', 'n' || i,
        jsonb_build_object('k', i::text), ARRAY['t' || i], to_tsvector('simple', 'w' || i)
        FROM generate_series(1, 3000) AS i""",
    "ANALYZE notes",
)
# condition: the index that serves it without policies, and the operator that the lint names
LOSES = {
    "body LIKE 'n2999%'": "text ~~ text",
    "body ~ '^n2999'": "text ~ text",
    """data @> '{"k": "2999"}'""": "jsonb @> jsonb",
    "data ? 'absent'": "jsonb ? text",
    "tags && ARRAY['t2999']": "anyarray && anyarray",
    "tags @> ARRAY['t2999']": "anyarray @> anyarray",
    "words @@ 'w2999'::tsquery": "tsvector @@ tsquery",
}
KEEPS = {
    "starts_with(body, 'n2999')": "body ~>=~ 'n2999'",
    "body ^@ 'n2999'": "body ~>=~ 'n2999'",
    "k = '2999'": "k = '2999'",
}


@pytest.fixture
async def database(postgres_database: PostgresDatabase) -> AsyncIterator[PostgresDatabase]:
    create = str(CreateTable(NOTES).compile(dialect=_dialect()))
    policies = tenant_policies(METADATA, variables=VARIABLES)
    postgres_database.execute(create, str(policies), *FILL)
    postgres_database.execute(f"ALTER ROLE {VARIABLES.runtime_role} PASSWORD '{PASSWORD}'")
    yield postgres_database
    roles = (VARIABLES.owner_role, VARIABLES.runtime_role, VARIABLES.system_role)
    postgres_database.execute(*(f"DROP OWNED BY {role} CASCADE" for role in roles))
    postgres_database.execute(*(f"DROP ROLE {role}" for role in roles))


def _dialect() -> Any:
    return make_url("postgresql+asyncpg://").get_dialect()()


@pytest.fixture
async def engine(database: PostgresDatabase) -> AsyncIterator[Any]:
    dsn = database.dsn(VARIABLES.runtime_role, PASSWORD)
    url = make_url(dsn).set(drivername="postgresql+asyncpg")
    made: Any = guarded_engine(url, variables=VARIABLES)
    yield made
    await made.dispose()


async def index_condition(dsn: str, condition: str) -> str:
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL {VARIABLES.setting} = '{TENANT}'")
            await connection.execute("SET LOCAL enable_seqscan = off")
            rows = await connection.fetch(f"EXPLAIN SELECT * FROM notes WHERE {condition}")
    finally:
        await connection.close()
    return "\n".join(row[0] for row in rows if "Index Cond" in row[0])


async def test_what_the_lint_names_loses_its_index_and_what_it_passes_keeps_it(
    database: PostgresDatabase, engine: Any
) -> None:
    """The lint is believed because the planner agrees, condition by condition."""
    app, administrator = database.dsn(VARIABLES.runtime_role, PASSWORD), database.dsn()
    statements = {f"SELECT * FROM notes WHERE {each}": each for each in (*LOSES, *KEEPS)}

    found = await lint_operators(engine, statements)

    named = {statements[finding.statement]: finding.operator for finding in found}
    assert named == LOSES
    assert all(finding.tables == ("public.notes",) and finding.rewrite for finding in found)
    for condition in LOSES:
        column = condition.split()[0]
        assert column in await index_condition(administrator, condition), "no policy, no loss"
        assert column not in await index_condition(app, condition)
    for condition, uses in KEEPS.items():
        assert uses in await index_condition(app, condition)


async def test_an_index_on_the_expression_itself_does_not_help(
    database: PostgresDatabase, engine: Any
) -> None:
    """The rewrite that everybody tries first: `->>` is not leakproof either."""
    condition = "(data ->> 'k') = '2999'"

    plan = await index_condition(database.dsn(VARIABLES.runtime_role, PASSWORD), condition)

    assert "data" not in plan
    assert "data" in await index_condition(
        database.dsn(), f"tenant_id = '{TENANT}' AND {condition}"
    )


async def test_what_the_app_compiles_is_linted_in_its_own_suite(
    engine: Any, recorded_statements: list[str]
) -> None:
    """A team finds its LIKE in its own tests, not in production."""
    alice = UserExecutionContext(tenant_id=TENANT, user_id="alice")
    with use_context(alice):
        async with engine.connect() as connection:
            await connection.execute(select(NOTES.c.id).where(NOTES.c.body.like("n2%")))
            await connection.execute(select(NOTES.c.id).where(NOTES.c.body == "n2"))
            await connection.execute(
                NOTES.update().where(NOTES.c.data.contains({})).values(body="")
            )

    found = await lint_operators(engine, recorded_statements)

    assert [finding.operator for finding in found] == ["text ~~ text", "jsonb @> jsonb"]
    assert "LIKE" in str(found[0])


async def test_placeholders_of_every_driver_are_read_and_what_cannot_be_is_passed_over(
    engine: Any,
) -> None:
    """Statements come from pg_stat_statements, psycopg and asyncpg; a lint must not stumble."""
    found = await lint_operators(
        engine,
        [
            "SELECT 1 FROM notes WHERE body LIKE $1",
            "SELECT 1 FROM notes WHERE body LIKE %(one)s AND id = %(two)s::uuid",
            "DELETE FROM notes WHERE body LIKE %s;",
            "SELECT body LIKE 'x' FROM (VALUES ('y')) AS v (body)",
            "SELECT nothing FROM nowhere",
            "VACUUM notes",
            "SELECT 1; DROP TABLE notes",
        ],
    )

    assert [finding.operator for finding in found] == ["text ~~ text"] * 3


async def test_statements_that_were_never_kept_are_asked_for_clearly(engine: Any) -> None:
    """Most servers have no pg_stat_statements until somebody installs it."""
    with (
        use_context(UserExecutionContext(tenant_id=TENANT, user_id="alice")),
        pytest.raises(NotReadyError, match="pg_stat_statements"),
    ):
        await stored_statements(engine)
