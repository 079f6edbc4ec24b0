"""The app's own role turns hostile: SQL injection with a tenant bound, trying to read another's.

Each attack runs as the runtime role of a sound deployment and must show no row of the other
tenant, whether it is refused or merely finds nothing. The same list runs once more with row-level
security switched off and must then report leaks: a check that cannot fail proves nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from asgi_guard.testing import PostgresDatabase
from tests.support.ddl_deployment import Deployment, deployed

pytestmark = pytest.mark.postgres

SECRET = "of 22222222"  # begins the title of the other tenant's note

# Reading. What each gives back, messages included, is searched for the other tenant's title.
READS = {
    "no filter": "SELECT title FROM {notes}",
    "an OR that is always true": "SELECT title FROM {notes} WHERE false OR true",
    "a union": "SELECT 'x' UNION SELECT title FROM {notes}",
    "naming the tenant": "SELECT title FROM {notes} WHERE tenant_id = '{other}'",
    "a physical address": "SELECT title FROM {notes} WHERE ctid = '(0,2)'",
    "row security off": "SET LOCAL row_security = off; SELECT title FROM {notes}",
    "becoming the owner": "SET ROLE {owner}; SELECT title FROM {notes}",
    "becoming the system": "SET ROLE {system}; SELECT title FROM {notes}",
    "becoming the administrator": "SET SESSION AUTHORIZATION postgres; SELECT title FROM {notes}",
    "a search path of one's own": (
        "SET LOCAL search_path = pg_temp, public; SELECT title FROM {notes}"
    ),
    "a helper of one's own": (
        "CREATE FUNCTION pg_temp.current_tenant() RETURNS uuid LANGUAGE sql "
        "RETURN '{other}'::uuid; SET LOCAL search_path = pg_temp, asgi_guard; "
        "SELECT title FROM public.notes"
    ),
    "a cast of one's own": (
        "CREATE FUNCTION pg_temp.nullif(text, text) RETURNS text LANGUAGE sql RETURN '{other}'; "
        "SELECT title FROM {notes}"
    ),
    "the helper replaced": (
        "CREATE OR REPLACE FUNCTION asgi_guard.current_tenant() RETURNS uuid LANGUAGE sql "
        "RETURN '{other}'::uuid; SELECT title FROM {notes}"
    ),
    "a function in public": (
        "CREATE FUNCTION public.f() RETURNS text LANGUAGE sql RETURN 'x'; SELECT title FROM {notes}"
    ),
    "a policy of one's own": (
        "CREATE POLICY mine ON {notes} USING (true); SELECT title FROM {notes}"
    ),
    "a policy dropped": (
        "DROP POLICY tenant_isolation_strict ON {notes}; SELECT title FROM {notes}"
    ),
    "policies switched off": (
        "ALTER TABLE {notes} DISABLE ROW LEVEL SECURITY; SELECT title FROM {notes}"
    ),
    "a rule or trigger": (
        "CREATE TRIGGER t BEFORE INSERT ON {notes} EXECUTE FUNCTION tsvector_update_trigger(); "
        "SELECT title FROM {notes}"
    ),
    "a cursor held open": (
        "DECLARE c CURSOR WITH HOLD FOR SELECT title FROM {notes}; FETCH ALL FROM c"
    ),
    "a temporary view": ("CREATE TEMP VIEW v AS SELECT title FROM {notes}; SELECT title FROM v"),
    "a copy into a temporary table": (
        "CREATE TEMP TABLE mine AS SELECT title FROM {notes}; SELECT title FROM mine"
    ),
    "statistics": (
        "SELECT most_common_vals::text, histogram_bounds::text FROM pg_stats "
        "WHERE tablename = 'notes'"
    ),
    "raw statistics": "SELECT stavalues1::text FROM pg_statistic",
    "large reads of the file": "SELECT pg_read_file('global/pg_control')",
    "XML of the table": "SELECT table_to_xml('notes', true, false, '')::text",
    "XML of a query": "SELECT query_to_xml('SELECT title FROM notes', true, false, '')::text",
    "a join with itself": (
        "SELECT b.title FROM {notes} a FULL JOIN {notes} b ON a.tenant_id <> b.tenant_id"
    ),
    "whole-row text": "SELECT n::text FROM {notes} n",
    "memberships": "SELECT * FROM memberships",
}

# Writing. Afterwards the other tenant's rows must be exactly what they were.
WRITES = {
    "update all": "UPDATE {notes} SET title = 'defaced'",
    "delete all": "DELETE FROM {notes}",
    "truncate": "TRUNCATE {notes} CASCADE",
    "drop": "DROP TABLE {notes} CASCADE",
    "give away": "UPDATE {notes} SET tenant_id = '{other}'",
    "plant": "INSERT INTO {notes} (tenant_id, title) VALUES ('{other}', 'planted')",
    "upsert": (
        "INSERT INTO {notes} (tenant_id, id, title) OVERRIDING SYSTEM VALUE "
        "VALUES ('{other}', 2, 'planted') "
        "ON CONFLICT (tenant_id, id) DO UPDATE SET title = 'defaced'"
    ),
    "merge": (
        "MERGE INTO {notes} n USING (SELECT 1) x ON n.tenant_id = '{other}' "
        "WHEN MATCHED THEN UPDATE SET title = 'defaced' "
        "WHEN NOT MATCHED THEN INSERT (tenant_id, title) VALUES ('{other}', 'planted')"
    ),
    "lock out": "ALTER TABLE {notes} OWNER TO {runtime}",
    "memberships": "INSERT INTO memberships VALUES ('mallory', '{other}')",
    "reference data": "INSERT INTO countries VALUES ('XX')",
}


@pytest.fixture
async def deployment(postgres_database: PostgresDatabase) -> AsyncIterator[Deployment]:
    async with deployed(postgres_database) as made:
        await made.admin(f"ANALYZE {made.notes}")
        yield made


def spelled(made: Deployment, attack: str) -> str:
    variables = made.variables
    return attack.format(
        notes=made.notes,
        other=made.tenants[1],
        owner=variables.owner_role,
        system=variables.system_role,
        runtime=variables.runtime_role,
    )


async def loot_of(made: Deployment, attack: str, tenant: str | None) -> str:
    """Run *attack* and return everything that the database said, errors and notices included."""
    heard: list[str] = []
    async with made.connected(tenant=tenant) as connection:
        connection.add_log_listener(lambda _connection, message: heard.append(str(message)))
        try:
            *before, last = spelled(made, attack).split("; ")
            heard += [await attempt(connection, statement) for statement in before]
            heard.append(str(await connection.fetch(last)))
        except asyncpg.PostgresError as error:
            heard.append(str(error))
    return "\n".join(heard)


async def attempt(connection: asyncpg.Connection, statement: str) -> str:
    """Go on after a refusal, as an attacker would."""
    try:
        async with connection.transaction():
            return str(await connection.execute(statement))
    except asyncpg.PostgresError as error:
        return str(error)


async def others_rows(made: Deployment) -> str:
    connection = await asyncpg.connect(made.database.dsn())
    try:
        tables = (made.notes, "memberships", "countries")
        found = [await connection.fetch(f"SELECT * FROM {table} t ORDER BY t") for table in tables]
    finally:
        await connection.close()
    return "\n".join(str(row) for rows in found for row in rows if made.tenants[1] in str(row)) + (
        str(found[2])
    )


async def test_no_read_shows_another_tenants_row(deployment: Deployment) -> None:
    """With a tenant bound and without, by any road that the role has."""
    leaks = [
        (name, tenant)
        for name, attack in READS.items()
        for tenant in (deployment.tenants[0], None)
        if SECRET in await loot_of(deployment, attack, tenant)
    ]

    assert leaks == []


async def test_no_write_reaches_another_tenant(deployment: Deployment) -> None:
    """Nothing changed, nothing planted, nothing gone; committed, not merely tried."""
    before = await others_rows(deployment)

    landed = []
    for name, attack in WRITES.items():
        await loot_of(deployment, attack, deployment.tenants[0])
        if await others_rows(deployment) != before:
            landed.append(name)

    assert landed == []


async def test_a_leaky_function_is_shown_no_foreign_row(deployment: Deployment) -> None:
    """A cheap function in WHERE runs before other conditions, but never before the policy."""
    one, other = deployment.tenants
    heard: list[str] = []
    async with deployment.connected(tenant=one) as connection:
        connection.add_log_listener(lambda _connection, message: heard.append(str(message)))
        await connection.execute(
            "CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 "
            "AS $$ BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END $$"
        )
        await connection.execute(f"SELECT FROM {deployment.notes} WHERE pg_temp.leak(title)")

    assert any(f"saw of {one}" in message for message in heard), "the control: it does leak"
    assert not any(other in message for message in heard)


async def test_a_plan_prepared_for_one_tenant_serves_the_next_its_own_rows(
    deployment: Deployment,
) -> None:
    """A generic plan outlives the tenant it was made for, on every pooled connection."""
    one, other = deployment.tenants
    async with deployment.connected(tenant=one) as connection:
        prepared = await connection.prepare(f"SELECT title FROM {deployment.notes}")
        for tenant in (one, other, one, other, one, other, one, other):
            await connection.execute(
                "SELECT set_config($1, $2, true)", deployment.variables.setting, tenant
            )
            assert [row["title"] for row in await prepared.fetch()] == [f"of {tenant}"]


async def test_keys_tell_nothing_of_another_tenant(deployment: Deployment) -> None:
    """The same id may be used by both, so an insert never says "taken"."""
    one, _ = deployment.tenants
    async with deployment.connected(tenant=one) as connection:
        for number in range(2, 6):  # 2 is the other tenant's
            await connection.execute(
                f"INSERT INTO {deployment.notes} (id, title) OVERRIDING SYSTEM VALUE "
                f"VALUES ({number}, 'mine')"
            )


async def test_the_same_attacks_succeed_where_policies_are_off(deployment: Deployment) -> None:
    """The negative control: these attacks can tell a wall from a hole."""
    one, other = deployment.tenants
    await deployment.admin(
        f"ALTER TABLE {deployment.notes} DISABLE ROW LEVEL SECURITY",
        f"INSERT INTO {deployment.notes} (tenant_id, title) "
        f"SELECT '{other}', 'of {other}' FROM generate_series(1, 9)",
        f"ANALYZE {deployment.notes}",
    )

    for name in ("no filter", "a union", "statistics", "whole-row text"):
        assert SECRET in await loot_of(deployment, READS[name], one), name


async def test_the_same_writes_land_where_policies_are_off(deployment: Deployment) -> None:
    """The negative control of the writes."""
    await deployment.admin(f"ALTER TABLE {deployment.notes} DISABLE ROW LEVEL SECURITY")

    for name in ("update all", "plant", "merge", "give away", "delete all"):
        before = await others_rows(deployment)
        await loot_of(deployment, WRITES[name], deployment.tenants[0])
        assert await others_rows(deployment) != before, name
