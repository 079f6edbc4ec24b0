"""The generated DDL on a real server: what it makes, for whom, and running it again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Uuid, create_engine, make_url

from asgi_guard.rls import RLSVariables
from asgi_guard.rls.catalog.query import catalog_query
from asgi_guard.rls.policies import tenant_policies
from asgi_guard.testing import PostgresDatabase
from tests.support.ddl_deployment import (
    VARIANTS,
    Deployment,
    deployed,
    drop_roles,
    fresh_variables,
    shop,
)

pytestmark = pytest.mark.postgres


@pytest.fixture
async def deployment(postgres_database: PostgresDatabase) -> AsyncIterator[Deployment]:
    async with deployed(postgres_database) as made:
        yield made


@pytest.fixture(params=list(VARIANTS.values()), ids=list(VARIANTS))
async def each_variant(
    request: pytest.FixtureRequest, postgres_database: PostgresDatabase
) -> AsyncIterator[Deployment]:
    make: Callable[[], RLSVariables] = request.param
    async with deployed(postgres_database, make()) as made:
        yield made


async def catalog_of(made: Deployment) -> Any:
    connection = await asyncpg.connect(made.database.dsn())
    try:
        return await connection.fetchval(catalog_query(made.variables))
    finally:
        await connection.close()


async def refused(made: Deployment, statement: str, **who: Any) -> str:
    """Run *statement* and return why the database refused it."""
    async with made.connected(**who) as connection:
        with pytest.raises(asyncpg.PostgresError) as error:
            await connection.execute(statement)
    return str(error.value)


async def test_each_tenant_sees_and_changes_its_own_rows(each_variant: Deployment) -> None:
    """The purpose of it all, for every id type and under other names for everything."""
    one, other = each_variant.tenants

    assert await each_variant.titles(None) == set()
    assert await each_variant.titles(one) == {f"of {one}"}
    assert await each_variant.titles(other) == {f"of {other}"}
    await each_variant.app_still_works()


async def test_rows_of_another_tenant_cannot_be_written(each_variant: Deployment) -> None:
    """WITH CHECK: neither born there, nor moved there, nor changed there."""
    one, other = each_variant.tenants
    notes, column = each_variant.notes, each_variant.column

    born = await refused(
        each_variant,
        f"INSERT INTO {notes} ({column}, title) VALUES ('{other}', 'x')",
        tenant=one,
    )
    moved = await refused(each_variant, f"UPDATE {notes} SET {column} = '{other}'", tenant=one)
    async with each_variant.connected(tenant=one) as connection:
        changed = await connection.execute(
            f"UPDATE {notes} SET title = 'x' WHERE {column} = '{other}'"
        )
        gone = await connection.execute(f"DELETE FROM {notes} WHERE {column} = '{other}'")

    assert "row-level security" in born
    assert "row-level security" in moved
    assert (changed, gone) == ("UPDATE 0", "DELETE 0")


async def test_an_insert_without_a_tenant_is_refused(deployment: Deployment) -> None:
    """No default tenant: the column's default is NULL then, and the policy says no."""
    told = await refused(deployment, f"INSERT INTO {deployment.notes} (title) VALUES ('x')")

    assert "row-level security" in told


async def test_a_setting_that_is_no_tenant_id_is_an_error(deployment: Deployment) -> None:
    """Closed and loud: garbage in the setting is a bug, not an empty page."""
    told = await refused(deployment, f"SELECT * FROM {deployment.notes}", tenant="' OR true --")

    assert "invalid input syntax" in told


async def test_running_it_again_changes_nothing(each_variant: Deployment) -> None:
    """A deployment script runs at every release."""
    before = await catalog_of(each_variant)

    await each_variant.admin(str(each_variant.policies))

    assert await catalog_of(each_variant) == before
    await each_variant.app_still_works()


async def test_statement_by_statement_is_as_good_as_one_script(deployment: Deployment) -> None:
    """Migration tools run one statement at a time, some outside a transaction."""
    before = await catalog_of(deployment)

    await deployment.admin(*deployment.policies.statements())

    assert await catalog_of(deployment) == before


async def test_between_two_statements_the_table_is_never_open(deployment: Deployment) -> None:
    """Replacing policies outside a transaction must shut the table, not open it."""
    admin = await asyncpg.connect(deployment.database.dsn())
    one = deployment.tenants[0]
    allowed = [set(), {f"of {one}"}]
    try:
        for statement in deployment.policies.statements():
            await admin.execute(statement)
            if "POLICY" not in statement or deployment.notes not in statement:
                continue
            assert await deployment.titles(None) == set()
            assert await deployment.titles(one) in allowed
    finally:
        await admin.close()


async def test_a_blocking_driver_applies_it_too(deployment: Deployment) -> None:
    """A driver reads "%" as a placeholder unless told that there are none."""
    before = await catalog_of(deployment)
    url = make_url(deployment.database.dsn()).set(drivername="postgresql+psycopg")
    engine = create_engine(url)

    with engine.begin() as connection:
        deployment.policies.apply(connection)
    engine.dispose()

    assert await catalog_of(deployment) == before


async def test_shared_tables_are_read_by_all_and_written_by_none(deployment: Deployment) -> None:
    """A shared table that tenants write is a channel between them."""
    await deployment.admin("INSERT INTO countries VALUES ('DE')")

    async with deployment.connected(tenant=deployment.tenants[0]) as connection:
        assert await connection.fetchval("SELECT code FROM countries") == "DE"
    for statement in ("INSERT INTO countries VALUES ('FR')", "DELETE FROM countries"):
        assert "permission denied" in await refused(deployment, statement)


async def test_system_tables_are_closed_to_the_app_twice(deployment: Deployment) -> None:
    """No grant; and with a stray one, still no row."""
    one = deployment.tenants[0]
    await deployment.admin(f"INSERT INTO memberships VALUES ('ada', '{one}')")
    assert "permission denied" in await refused(deployment, "SELECT * FROM memberships", tenant=one)

    await deployment.admin("GRANT SELECT ON memberships TO PUBLIC")

    async with deployment.connected(tenant=one) as connection:
        assert await connection.fetch("SELECT * FROM memberships") == []


async def test_the_system_role_sees_all_by_policy_and_names_the_tenant_it_writes_for(
    deployment: Deployment,
) -> None:
    """Crossing tenants is a role of its own with policies that can be listed, not BYPASSRLS."""
    system = deployment.variables.system_role
    one = deployment.tenants[0]
    notes, column = deployment.notes, deployment.column

    async with deployment.connected(system) as connection:
        assert await connection.fetchval(f"SELECT count(*) FROM {notes}") == 2
        await connection.execute(f"INSERT INTO {notes} ({column}, title) VALUES ('{one}', 'x')")
        bypass = "SELECT rolbypassrls FROM pg_roles WHERE rolname = current_user"
        assert await connection.fetchval(bypass) is False
    nameless = await refused(deployment, f"INSERT INTO {notes} (title) VALUES ('x')", role=system)
    assert "null value" in nameless


async def test_nobody_logs_in_as_the_owner_and_the_owner_sees_nothing(
    deployment: Deployment,
) -> None:
    """FORCE: a definer view or function of the owner shows no row."""
    owner = deployment.variables.owner_role
    await deployment.admin(f"ALTER ROLE {owner} PASSWORD 'correct horse'")

    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="not permitted"):
        async with deployment.connected(owner):
            pass
    admin = await asyncpg.connect(deployment.database.dsn())
    try:
        await admin.execute(f"SET ROLE {owner}")
        assert await admin.fetchval(f"SELECT count(*) FROM {deployment.notes}") == 0
    finally:
        await admin.close()


async def test_children_cascade_inside_the_tenant_and_keys_do_not_cross(
    deployment: Deployment,
) -> None:
    """Composite keys: another tenant's id is free to use, and never a thing to refer to."""
    one, other = deployment.tenants
    notes, comments = deployment.notes, '"Odd Comments"'
    async with deployment.connected(tenant=other) as connection:
        foreign = await connection.fetchval(f"SELECT id FROM {notes}")

    told = await refused(
        deployment, f"INSERT INTO {comments} (note_id) VALUES ({foreign})", tenant=one
    )
    async with deployment.connected(tenant=one) as connection:
        await connection.execute(
            f"INSERT INTO {notes} (id, title) OVERRIDING SYSTEM VALUE VALUES ({foreign}, 'same id')"
        )
        await connection.execute(f"INSERT INTO {comments} (note_id) VALUES ({foreign})")
        await connection.execute(f"DELETE FROM {notes} WHERE id = {foreign}")
        left = await connection.fetchval(f"SELECT count(*) FROM {comments}")

    assert "foreign key" in told
    assert left == 0
    assert await deployment.titles(other) == {f"of {other}"}


async def test_partitions_of_any_depth_get_the_policies_and_no_grant(
    postgres_database: PostgresDatabase,
) -> None:
    """A partition is a table with a name of its own; the parent's policies do not guard it."""
    variables = fresh_variables()
    metadata = MetaData()
    Table(
        "events",
        metadata,
        Column("tenant_id", Uuid, primary_key=True),
        Column("year", Integer, primary_key=True),
        postgresql_partition_by="RANGE (year)",
    )
    policies = tenant_policies(metadata, variables=variables)
    made = Deployment(postgres_database, variables, metadata, policies)
    await made.admin(
        "CREATE TABLE events (tenant_id uuid NOT NULL, year int NOT NULL, "
        "PRIMARY KEY (tenant_id, year)) PARTITION BY RANGE (year)",
        "CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM (2024) TO (2025) "
        "PARTITION BY RANGE (year)",
        'CREATE TABLE "Deep 2024" PARTITION OF events_2024 FOR VALUES FROM (2024) TO (2025)',
    )
    await made.admin(str(policies))
    await made.admin(
        "CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM (2025) TO (2026)"
    )
    await made.admin(str(policies))

    admin = await asyncpg.connect(postgres_database.dsn())
    rows = await admin.fetch(
        "SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AS real, "
        f"has_table_privilege('{variables.runtime_role}', c.oid, 'SELECT') AS readable, "
        "(SELECT count(*) FROM pg_policy WHERE polrelid = c.oid) AS policies "
        "FROM pg_class c WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
    )
    await admin.close()
    await drop_roles(made, variables.runtime_role, variables.system_role)
    await made.admin("DROP TABLE events")
    await drop_roles(made, variables.owner_role)

    assert {(row["relname"], row["real"], row["readable"], row["policies"]) for row in rows} == {
        ("events", True, True, 3),
        ("events_2024", True, False, 3),
        ("Deep 2024", True, False, 3),
        ("events_2025", True, False, 3),
    }


async def test_a_declared_view_asks_as_the_one_who_reads_it(deployment: Deployment) -> None:
    """Made by a superuser, a view would read with a superuser's eyes."""
    await deployment.admin(f"CREATE VIEW note_titles AS SELECT title FROM {deployment.notes}")
    policies = tenant_policies(
        deployment.metadata,
        variables=deployment.variables,
        shared=["countries"],
        system_only=["memberships"],
        views=["note_titles"],
    )

    await deployment.admin(str(policies))

    one = deployment.tenants[0]
    async with deployment.connected(tenant=one) as connection:
        rows = await connection.fetch("SELECT title FROM note_titles")
    assert [row["title"] for row in rows] == [f"of {one}"]


async def test_the_tenant_is_asked_once_and_found_by_index(deployment: Deployment) -> None:
    """An InitPlan feeding an index condition; asked per row it costs four times as much."""
    async with deployment.connected(tenant=deployment.tenants[0]) as connection:
        await connection.execute("SET LOCAL enable_seqscan = off")
        plan = await connection.fetch(f"EXPLAIN SELECT * FROM {deployment.notes} WHERE id = 1")
    text = "\n".join(row[0] for row in plan)

    assert "InitPlan" in text
    assert "Index Cond: ((tenant_id = (InitPlan" in text or "Index Cond: ((tenant_id = $" in text


async def test_a_managed_administrator_without_superuser_can_run_it(
    postgres_database: PostgresDatabase,
) -> None:
    """RDS, Cloud SQL and their kin give CREATEROLE and the database, and nothing above."""
    variables = fresh_variables()
    metadata = shop(variables)
    policies = tenant_policies(
        metadata, variables=variables, shared=["countries"], system_only=["memberships"]
    )
    made = Deployment(postgres_database, variables, metadata, policies)
    admin = f"admin_{variables.owner_role}"
    await made.admin(
        f"CREATE ROLE {admin} LOGIN CREATEROLE PASSWORD 'correct horse'",
        f'ALTER DATABASE "{postgres_database.name}" OWNER TO {admin}',
    )
    try:
        async with made.engine(admin) as engine:
            for _ in range(2):
                async with engine.begin() as connection:
                    await connection.run_sync(metadata.create_all)
                    await connection.run_sync(policies.apply)
        await made.admin(f"ALTER ROLE {variables.runtime_role} PASSWORD 'correct horse'")
        assert await made.titles(None) == set()
    finally:
        await made.admin(f'ALTER DATABASE "{postgres_database.name}" OWNER TO CURRENT_USER')
        await drop_roles(made, variables.runtime_role, variables.system_role)
        await drop_roles(made, variables.owner_role, admin)


async def test_it_refuses_to_run_as_one_of_the_three_roles(deployment: Deployment) -> None:
    """The script would take its own runner's rights away, or give the app the owner's."""
    told = await refused(deployment, deployment.policies.statements()[0])

    assert "as an administrator" in told


async def test_it_refuses_a_role_name_that_is_a_superusers(
    postgres_database: PostgresDatabase,
) -> None:
    """``owner_role="postgres"`` must not take the server's administrator apart."""
    variables = fresh_variables(owner_role=postgres_database.superuser)
    policies = tenant_policies(MetaData(), variables=variables)
    other = f"admin_{variables.runtime_role}"
    postgres_database.execute(f"CREATE ROLE {other} SUPERUSER")
    connection = await asyncpg.connect(postgres_database.dsn())
    try:
        await connection.execute(f"SET SESSION AUTHORIZATION {other}")
        with pytest.raises(asyncpg.RaiseError, match="is a superuser"):
            await connection.execute(str(policies))
    finally:
        await connection.close()
        postgres_database.execute(f"DROP ROLE {other}")


async def test_existing_roles_are_corrected(deployment: Deployment) -> None:
    """A role that somebody made by hand, with too much, ends as the design has it."""
    variables = deployment.variables
    await deployment.admin(
        f"ALTER ROLE {variables.owner_role} LOGIN CREATEDB",
        f"ALTER ROLE {variables.runtime_role} BYPASSRLS CREATEROLE INHERIT",
        f"ALTER ROLE {variables.system_role} BYPASSRLS REPLICATION NOLOGIN",
    )

    await deployment.admin(str(deployment.policies))

    admin = await asyncpg.connect(deployment.database.dsn())
    rows = await admin.fetch(
        "SELECT rolname, rolcanlogin, rolbypassrls OR rolcreaterole OR rolcreatedb OR rolinherit "
        "OR rolreplication OR rolsuper AS too_much FROM pg_roles WHERE rolname = ANY($1)",
        [variables.owner_role, variables.runtime_role, variables.system_role],
    )
    await admin.close()
    assert {tuple(row) for row in rows} == {
        (variables.owner_role, False, False),
        (variables.runtime_role, True, False),
        (variables.system_role, True, False),
    }
