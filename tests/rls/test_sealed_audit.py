"""The audit and the probe know a sealed deployment, and what would take the seal off."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from asgi_guard.rls import (
    SealKey,
    SealKeys,
    audit_catalog,
    create_guarded_pool,
    guarded_engine,
    tenant_policies,
)
from asgi_guard.rls.ddl.functions import helper_statements
from asgi_guard.rls.ddl.sealed import retire_seal_key_statement
from tests.support.pgbouncer import PgBouncer
from tests.support.rls_schema import VARIABLES, Base, RLSDatabase
from tests.support.rls_sealed import KEYS, SEALED, seal_database

POLICIES = tenant_policies(Base.metadata, variables=SEALED)
TENANT = "asgi_guard.current_tenant()"
FLAWS: dict[str, tuple[list[str], set[str]]] = {
    "plain functions": (helper_statements(VARIABLES), {"helper_body", "seal_not_enforced"}),
    "a plain body, as definer": (
        [
            (
                f"CREATE OR REPLACE FUNCTION {TENANT} RETURNS uuid LANGUAGE plpgsql STABLE "
                "PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ "
                "BEGIN RETURN NULLIF(current_setting('app.current_tenant', true), '')::uuid; END $$"
            ),
        ],
        {"helper_body", "seal_not_enforced", "seal_refused"},
    ),
    "no search path": ([f"ALTER FUNCTION {TENANT} RESET search_path"], {"helper_settings"}),
    "the app's rights": (
        [f"ALTER FUNCTION {TENANT} SECURITY INVOKER"],
        {"helper_definer", "seal_refused"},
    ),
    "volatile": ([f"ALTER FUNCTION {TENANT} VOLATILE"], {"helper_volatility"}),
    "in parallel workers": ([f"ALTER FUNCTION {TENANT} PARALLEL SAFE"], {"helper_attributes"}),
    "keys to read": (
        ["GRANT SELECT ON asgi_guard.seal_keys TO bind_runtime"],
        {"table_undeclared"},
    ),
    "a column of keys to read": (
        ["GRANT SELECT (outer_pad) ON asgi_guard.seal_keys TO PUBLIC"],
        {"table_undeclared"},
    ),
    "keys to write": (
        ["GRANT INSERT ON asgi_guard.seal_keys TO bind_runtime"],
        {"table_undeclared"},
    ),
    "the app's own keys": (
        ["ALTER TABLE asgi_guard.seal_keys OWNER TO bind_runtime"],
        {"role_owns", "table_undeclared", "seal_refused"},
    ),
    "the key is retired": (
        [retire_seal_key_statement(KEYS.signing.key_id, SEALED)],
        {"seal_refused"},
    ),
}


@pytest.fixture
def database(rls_database: RLSDatabase) -> RLSDatabase:
    return seal_database(rls_database)


@pytest.fixture
async def engine(database: RLSDatabase) -> AsyncIterator[AsyncEngine]:
    made = guarded_engine(database.url(), variables=SEALED, seal_keys=KEYS)
    yield made
    await made.dispose()


async def _found(handle: Any) -> set[str]:
    findings = await audit_catalog(handle, tables=POLICIES, behaviour=True)
    return {finding.code for finding in findings}


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg_async", "psycopg"])
async def test_nothing_is_found_in_a_sealed_deployment(database: RLSDatabase, driver: str) -> None:
    """A check that reports what is right is switched off by whoever reads it twice."""
    engine = guarded_engine(database.url(driver), variables=SEALED, seal_keys=KEYS)

    assert await _found(engine) == set()

    await (engine.dispose() if driver != "psycopg" else _done(engine))


async def _done(engine: Any) -> None:
    engine.dispose()


async def test_nothing_is_found_from_a_handle_that_signs_nothing(database: RLSDatabase) -> None:
    """An operator's own connection has no key, and still sees that all is well."""
    engine = create_async_engine(database.url())

    assert await _found(engine) == set()

    await engine.dispose()


@pytest.mark.pgbouncer
@pytest.mark.parametrize("kind", ["sealed", "plain"])
async def test_a_start_behind_a_pooler_finds_nothing(
    rls_database: RLSDatabase, pgbouncer: Callable[..., PgBouncer], kind: str
) -> None:
    """What the check itself sends must not count as left on the session."""
    sealed = kind == "sealed"
    if sealed:
        seal_database(rls_database)
    pooler = pgbouncer(rls_database.database, users=rls_database.users, pool_size=1)
    dsn = pooler.dsn(VARIABLES.runtime_role, rls_database.password)
    variables = SEALED if sealed else VARIABLES
    async with create_guarded_pool(
        dsn,
        variables=variables,
        seal_keys=KEYS if sealed else None,
        transaction_pooler=True,
        min_size=0,
        max_size=1,
    ) as pool:
        tables = tenant_policies(Base.metadata, variables=variables)
        assert await audit_catalog(pool, tables=tables, behaviour=True) == []


@pytest.mark.parametrize(("statements", "codes"), FLAWS.values(), ids=FLAWS)
async def test_what_takes_the_seal_off_is_found(
    database: RLSDatabase, engine: AsyncEngine, statements: list[str], codes: set[str]
) -> None:
    """Each alone on a deployment that is otherwise sound."""
    database.database.execute(*statements)

    assert codes <= await _found(engine)


@pytest.mark.parametrize(
    "statements", [statements for statements, _ in FLAWS.values()][:-1], ids=list(FLAWS)[:-1]
)
async def test_the_sql_of_a_finding_mends_it(
    database: RLSDatabase, engine: AsyncEngine, statements: list[str]
) -> None:
    """A remedy that does not cure is a promise broken at the worst moment."""
    database.database.execute(*statements)
    findings = await audit_catalog(engine, tables=POLICIES, behaviour=True)

    # What mends an unknown key needs the key, which no finding knows: its remedy is a comment.
    mends = [finding.remedy_sql for finding in findings if finding.code != "seal_refused"]
    database.database.execute(*mends)

    assert await _found(engine) == set()


async def test_an_app_whose_key_the_database_does_not_know_is_told_so(
    database: RLSDatabase,
) -> None:
    """It would otherwise start, and fail at its first request."""
    stranger = SealKeys([SealKey.generate()])
    engine = guarded_engine(database.url(), variables=SEALED, seal_keys=stranger)

    assert await _found(engine) == {"seal_refused"}

    await engine.dispose()
