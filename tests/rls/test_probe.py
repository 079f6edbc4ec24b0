"""The behavioural probe: it sees what is broken, on every kind of handle, and leaves nothing."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg
import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from asgi_guard.errors import ConfigError, NotReadyError
from asgi_guard.rls import RLSVariables, create_guarded_pool, guarded_engine
from asgi_guard.rls.catalog import audit_catalog, verify_deployment
from asgi_guard.rls.catalog.query import catalog_query
from asgi_guard.rls.catalog.snapshot import Snapshot
from asgi_guard.rls.probe import ProbeTenants, probe
from asgi_guard.rls.steps import Outcome
from asgi_guard.tenancy.current import current_context
from asgi_guard.tenancy.tenant_id import INTEGER, SLUG, UUID, TenantIdShape
from asgi_guard.testing import PostgresDatabase
from tests.support.ddl_deployment import PASSWORD, Deployment, deployed

pytestmark = pytest.mark.postgres

LEAKS = {"probe_rows_visible", "probe_insert_crosses", "probe_not_enforced"}


@pytest.fixture
async def deployment(postgres_database: PostgresDatabase) -> AsyncIterator[Deployment]:
    async with deployed(postgres_database) as made:
        yield made


def dsn_of(made: Deployment, driver: str = "") -> str:
    dsn = made.database.dsn(made.variables.runtime_role, PASSWORD)
    return make_url(dsn).set(drivername=f"postgresql{driver}").render_as_string(False)


@asynccontextmanager
async def plain_engine(made: Deployment) -> AsyncIterator[Any]:
    async with made.engine() as engine:
        yield engine


@asynccontextmanager
async def engine_connection(made: Deployment) -> AsyncIterator[Any]:
    async with made.engine() as engine, engine.connect() as connection:
        yield connection


@asynccontextmanager
async def blocking_engine(made: Deployment) -> AsyncIterator[Any]:
    engine = create_engine(dsn_of(made, "+psycopg"), poolclass=NullPool)
    yield engine
    engine.dispose()


@asynccontextmanager
async def blocking_guarded_engine(made: Deployment) -> AsyncIterator[Any]:
    engine = guarded_engine(dsn_of(made, "+psycopg"), variables=made.variables)
    yield engine
    engine.dispose()


@asynccontextmanager
async def the_guarded_engine(made: Deployment) -> AsyncIterator[Any]:
    engine: Any = guarded_engine(dsn_of(made, "+asyncpg"), variables=made.variables)
    yield engine
    await engine.dispose()


@asynccontextmanager
async def guarded_pool(made: Deployment) -> AsyncIterator[Any]:
    async with create_guarded_pool(
        dsn_of(made), variables=made.variables, min_size=1, max_size=2
    ) as pool:
        yield pool


@asynccontextmanager
async def plain_pool(made: Deployment) -> AsyncIterator[Any]:
    async with asyncpg.create_pool(dsn_of(made), min_size=1, max_size=2) as pool:
        yield pool


@asynccontextmanager
async def asyncpg_connection(made: Deployment) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(dsn_of(made))
    yield connection
    await connection.close()


HANDLES: list[Callable[[Deployment], AbstractAsyncContextManager[Any]]] = [
    plain_engine,
    engine_connection,
    blocking_engine,
    blocking_guarded_engine,
    the_guarded_engine,
    guarded_pool,
    plain_pool,
    asyncpg_connection,
]


@pytest.mark.parametrize("handle", HANDLES, ids=lambda handle: handle.__name__)
async def test_every_kind_of_handle_is_probed_alike(deployment: Deployment, handle: Any) -> None:
    """What is checked must be the app's own way in, whatever it is."""
    async with handle(deployment) as database:
        assert await verify_deployment(database, tables=deployment.policies) == []

        await deployment.admin(f"ALTER TABLE {deployment.notes} DISABLE ROW LEVEL SECURITY")
        found = await audit_catalog(database, tables=deployment.policies, behaviour=True)

    assert {finding.code for finding in found} == {"rls_disabled", *LEAKS}
    assert current_context() is None


async def test_what_answers_for_a_tenant_is_seen_by_the_probe_as_well(
    deployment: Deployment,
) -> None:
    """Same name, same policy, another body: read in the catalog, and tried: every row is shown."""
    await deployment.admin(
        "CREATE OR REPLACE FUNCTION asgi_guard.current_tenant() RETURNS uuid LANGUAGE sql STABLE "
        f"PARALLEL SAFE RETURN '{deployment.tenants[0]}'::uuid"
    )

    async with deployment.engine() as engine:
        read = await audit_catalog(engine, tables=deployment.policies)
        tried = await audit_catalog(engine, tables=deployment.policies, behaviour=True)

    assert [finding.code for finding in read] == ["helper_body"]
    assert "probe_rows_visible" in {finding.code for finding in tried}


async def test_the_probe_leaves_nothing_behind(deployment: Deployment) -> None:
    """It runs at every start, on production data."""
    open_door = f"ALTER TABLE {deployment.notes} DISABLE ROW LEVEL SECURITY"
    nothing_required = f"ALTER TABLE {deployment.notes} ALTER COLUMN title DROP NOT NULL"
    await deployment.admin(open_door, nothing_required)

    connection = await asyncpg.connect(dsn_of(deployment))
    async with connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = '7s'")
        found = await audit_catalog(connection, tables=deployment.policies, behaviour=True)
        timeout = await connection.fetchval("SHOW lock_timeout")
        tenant = await connection.fetchval(
            "SELECT current_setting($1, true)", deployment.variables.setting
        )
        security = await connection.fetchval("SHOW row_security")
    rows = await connection.fetchval(f"SELECT count(*) FROM {deployment.notes}")
    await connection.close()

    assert "probe_insert_crosses" in {finding.code for finding in found}
    assert (rows, timeout, tenant or "", security) == (2, "7s", "", "on")


async def test_a_locked_table_ends_in_a_refusal_and_not_in_a_start_that_hangs(
    deployment: Deployment,
) -> None:
    """A migration that holds a table must not keep the app waiting for ever, unexplained."""
    holder = await asyncpg.connect(deployment.database.dsn())
    try:
        async with holder.transaction():
            await holder.execute(f"LOCK TABLE {deployment.notes} IN ACCESS EXCLUSIVE MODE")
            async with deployment.engine() as engine:
                with pytest.raises(NotReadyError) as refused:
                    await verify_deployment(engine, tables=deployment.policies)
    finally:
        await holder.close()

    assert refused.value.reason == "catalog_unreadable"
    assert "locked" in refused.value.detail


async def test_a_table_too_slow_to_answer_is_asked_once_and_told_as_a_warning(
    deployment: Deployment,
) -> None:
    """Cheap on big tables: one that gives no answer costs one time-out, not five."""
    async with deployment.connected() as connection:
        query = catalog_query(deployment.variables)
        snapshot = Snapshot.parse(await connection.fetchval(query))
    tenants = ProbeTenants.make(deployment.variables.tenant_id, None)
    program = probe(snapshot, deployment.policies.inventory, tenants)

    asked, told = [next(program)], None
    while told is None:
        slow = deployment.notes in asked[-1]
        try:
            asked.append(program.send(Outcome(sqlstate="57014") if slow else Outcome()))
        except StopIteration as finished:
            told = finished.value

    assert len([statement for statement in asked if deployment.notes in statement]) == 1
    assert (told[0].code, told[0].severity) == ("probe_timeout", "warning")
    await deployment.admin(told[0].remedy_sql)


async def test_a_mend_printed_by_the_probe_mends(deployment: Deployment) -> None:
    """Where only behaviour told, its SQL is all that an operator has."""
    await deployment.admin(
        f"DROP POLICY tenant_isolation_strict ON {deployment.notes}; "
        f"CREATE POLICY sneaky ON {deployment.notes} USING (true)"
    )
    async with deployment.engine() as engine:
        found = await audit_catalog(engine, tables=deployment.policies, behaviour=True)
        probed = [finding for finding in found if finding.code.startswith("probe_")]
        await deployment.admin(probed[0].remedy_sql)
        after = await audit_catalog(engine, tables=deployment.policies, behaviour=True)

    assert {finding.code for finding in probed} == {"probe_rows_visible", "probe_insert_crosses"}
    assert [(f.code, f.severity) for f in after] == [("policy_open", "warning")], "held now"


async def test_an_unreachable_database_is_said_so_without_the_password(
    deployment: Deployment,
) -> None:
    """The commonest failure at a first start deserves a sentence, and no secret in it."""
    role = deployment.variables.runtime_role
    for dsn in (
        deployment.database.dsn(role, "not the password"),
        deployment.database.dsn(role, PASSWORD).replace(str(deployment.database.port), "9"),
    ):
        url = make_url(dsn)
        for handle in (
            create_async_engine(url.set(drivername="postgresql+asyncpg"), poolclass=NullPool),
            create_engine(url.set(drivername="postgresql+psycopg"), poolclass=NullPool),
        ):
            with pytest.raises(NotReadyError) as refused:
                await verify_deployment(handle, variables=deployment.variables)
            assert refused.value.reason == "database_unreachable"
            for secret in ("not the password", PASSWORD):
                assert secret not in refused.value.detail


async def test_two_sets_of_names_are_refused(deployment: Deployment) -> None:
    """An app that binds one setting under policies that read another sees nothing at all."""
    async with the_guarded_engine(deployment) as engine:
        with pytest.raises(ConfigError, match="same names"):
            await verify_deployment(engine, tables=deployment.policies, variables=RLSVariables())
        with pytest.raises(ConfigError, match="same names"):
            await verify_deployment(engine, variables=RLSVariables())
        assert await verify_deployment(engine) == []


async def test_something_that_is_no_database_is_refused() -> None:
    """A URL where an engine belongs must not read as a passed check."""
    with pytest.raises(ConfigError):
        await verify_deployment("postgresql://localhost/app")


@pytest.mark.parametrize("shape", [UUID, SLUG, INTEGER], ids=lambda shape: shape.name)
def test_ids_to_try_with_are_well_formed_and_never_the_same(shape: TenantIdShape) -> None:
    """An id that a tenant has would make the probe report that tenant's rows as a leak."""
    made = [ProbeTenants.make(shape, None) for _ in range(50)]

    ids = {tenants.bound for tenants in made} | {tenants.foreign for tenants in made}
    assert len(ids) == 100
    assert all(shape.parse(tenant) == tenant for tenant in ids)


def test_a_shape_of_ones_own_needs_ids_of_ones_own() -> None:
    """Nothing can be made at random for a pattern that only its author knows."""
    shape = TenantIdShape("branch", re.compile(r"B[0-9]{3}"), "text")

    assert ProbeTenants.make(shape, ("B998", "B999")) == ProbeTenants("B998", "B999")
    for pair in (None, ("B999", "B999"), ("x", "y")):
        with pytest.raises(ConfigError, match="probe_tenants"):
            ProbeTenants.make(shape, pair)
