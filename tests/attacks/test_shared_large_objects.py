"""SQL injected into one tenant's transaction, after another tenant's large objects.

Everything runs as the one runtime role, bound to ALICE; the object is BOB's, and the attacker
knows its number and its id.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from asgi_guard.rls import TenantLargeObjects, audit_catalog
from tests.support.rls_schema import ALICE, BOB, VARIABLES
from tests.support.shared_objects import SharedWorld, plain_only

pytestmark = pytest.mark.postgres

SECRET = b"the secret of another tenant"
_BIND = "set_config('app.cur' || 'rent_tenant', '{bob}', true)"

# By the server itself, each of them (SQLSTATE 42501), or as if there were nothing.
DIRECT = {
    "get": "SELECT lo_get({number})",
    "get a part": "SELECT lo_get({number}, 0, 5)",
    "open to read": "SELECT lo_open({number}, 262144)",
    "open to write": "SELECT lo_open({number}, 131072)",
    "put": "SELECT lo_put({number}, 0, 'x')",
    "unlink": "SELECT lo_unlink({number})",
    "export": "SELECT lo_export({number}, '/tmp/asgi-guard-must-not-exist')",
    "import": "SELECT lo_import('/etc/passwd')",
    "pages": "SELECT data FROM pg_largeobject WHERE loid = {number}",
    "grant": "GRANT SELECT ON LARGE OBJECT {number} TO PUBLIC",
    "own": "ALTER LARGE OBJECT {number} OWNER TO CURRENT_USER",
    "point a row at it": "UPDATE asgi_guard.large_objects SET number = {number}",
    "a row for another": (
        "INSERT INTO asgi_guard.large_objects (tenant_id) VALUES ('{bob}') RETURNING number"
    ),
    "fire the trigger by hand": "SELECT asgi_guard.large_object_remove()",
    "replace the function": (
        "CREATE OR REPLACE FUNCTION asgi_guard.large_object_size(uuid) RETURNS bigint "
        "LANGUAGE sql AS 'SELECT 1::bigint'"
    ),
    "drop the trigger": "DROP TRIGGER large_object_make ON asgi_guard.large_objects",
    "switch triggers off": "SET LOCAL session_replication_role = replica",
    "a trigger of one's own": (
        "CREATE TRIGGER z BEFORE INSERT ON asgi_guard.large_objects FOR EACH ROW "
        "EXECUTE FUNCTION asgi_guard.large_object_remove()"
    ),
}


async def bobs_object(shared: SharedWorld) -> tuple[uuid.UUID, int]:
    async with shared.works_for(BOB) as handle:
        found = await TenantLargeObjects(handle, tables=shared.large_objects).write(SECRET)
        number = await handle.fetchval(f"SELECT number FROM {shared.large_objects.table_sql}")
    return found, number


async def as_superuser(shared: SharedWorld, sql: str, *values: Any) -> Any:
    connection = await asyncpg.connect(shared.rls.database.dsn())
    try:
        return await connection.fetchval(sql, *values)
    finally:
        await connection.close()


async def test_the_server_refuses_every_direct_way(shared: SharedWorld) -> None:
    """Whoever learns the number of an object has learnt nothing."""
    _, number = await bobs_object(shared)

    async with shared.works_for(ALICE) as handle:
        for name, attack in DIRECT.items():
            savepoint = handle.transaction()
            await savepoint.start()
            with pytest.raises(asyncpg.PostgresError) as refused:
                await handle.execute(attack.format(number=number, bob=BOB))
            await savepoint.rollback()
            assert refused.value.sqlstate in {"42501", "0A000"}, name

    assert await as_superuser(shared, "SELECT lo_get($1)", number) == SECRET


@plain_only
async def test_control_an_object_of_the_app_s_own_role_is_everybodys(
    shared: SharedWorld,
) -> None:
    """Negative control: what the helper is there to replace."""
    async with shared.works_for(BOB) as handle:
        number = await handle.fetchval("SELECT lo_from_bytea(0, $1)", SECRET)

    async with shared.works_for(ALICE) as handle:
        assert await handle.fetchval("SELECT lo_get($1)", number) == SECRET


async def test_a_row_of_ones_own_never_names_anothers_object(shared: SharedWorld) -> None:
    """The one statement that could: an insert with a number of the attacker's choosing."""
    found, number = await bobs_object(shared)
    table, read = (
        shared.large_objects.table_sql,
        shared.large_objects.function_sql("read"),
    )

    async with shared.works_for(ALICE) as handle:
        made = await handle.fetchrow(
            f"INSERT INTO {table} (id, number, made_in) VALUES ($1, $2, '3') RETURNING *",
            found,
            number,
        )
        assert made["number"] != number
        assert await handle.fetchval(f"SELECT {read}($1, 0, 100)", made["id"]) == b""
        assert await handle.fetchval(f"SELECT {read}($1, 0, 100)", found) is None
        assert await handle.execute(f"DELETE FROM {table} WHERE id = '{found}'") == "DELETE 0"
        assert await handle.fetchval(f"SELECT count(*) FROM {table}") == 1

    assert await as_superuser(shared, "SELECT lo_get($1)", number) == SECRET


async def test_an_attackers_temporary_objects_stand_in_front_of_nothing(
    shared: SharedWorld,
) -> None:
    """CVE-2018-1058: names in a function that runs as another must not be the caller's."""
    found, number = await bobs_object(shared)
    read = shared.large_objects.function_sql("read")

    async with shared.works_for(ALICE) as handle:
        await handle.execute(
            f"CREATE TEMP TABLE large_objects AS SELECT '{ALICE}'::uuid AS tenant_id, "
            f"'{found}'::uuid AS id, {number}::oid AS number, pg_current_xact_id() AS made_in"
        )
        await handle.execute(
            "CREATE FUNCTION pg_temp.lo_get(oid, bigint, integer) RETURNS bytea "
            "LANGUAGE sql AS 'SELECT ''shadow''::bytea'"
        )
        await handle.execute("SET LOCAL search_path = pg_temp, asgi_guard, pg_catalog")
        assert await handle.fetchval(f"SELECT {read}($1, 0, 100)", found) is None


@plain_only
async def test_measuring_leaves_no_descriptor_to_read_on(shared: SharedWorld) -> None:
    """Rights are checked when an object is opened; who meets an open one reads it."""
    async with shared.works_for(ALICE) as handle:
        objects = TenantLargeObjects(handle, tables=shared.large_objects)
        number = await objects.write(SECRET)
        assert await objects.size(number) == len(SECRET)
        with pytest.raises(asyncpg.UndefinedObjectError):
            await handle.fetchval("SELECT loread(0, 100)")


async def test_the_owner_role_sees_no_row_of_anothers_either(shared: SharedWorld) -> None:
    """The second wall: a function that forgot to compare would still find nothing."""
    found, _ = await bobs_object(shared)
    read = shared.large_objects.function_sql("read(uuid, bigint, integer)")
    body = await as_superuser(
        shared, "SELECT pg_get_functiondef($1::text::regprocedure)", read.replace(" ", "")
    )
    forgetful = body.replace("o.tenant_id = asgi_guard.current_tenant() AND", "")
    assert forgetful != body
    ask = f"SELECT {shared.large_objects.function_sql('read')}($1, 0, 100)"

    shared.admin(forgetful)
    async with shared.works_for(ALICE) as handle:
        assert await handle.fetchval(ask, found) is None

    # Negative control: with both walls down the same question leaks.
    shared.admin(
        f"ALTER POLICY tenant_isolation_owner ON {shared.large_objects.table_sql} USING (true)"
    )
    async with shared.works_for(ALICE) as handle:
        assert await handle.fetchval(ask, found) == SECRET


async def test_injected_sql_that_binds_another_tenant_needs_the_seal_broken(
    shared: SharedWorld,
) -> None:
    """As for rows: a plain binding yields to it, which the page says, and a sealed one does not."""
    found, _ = await bobs_object(shared)
    ask = f"SELECT {shared.large_objects.function_sql('read')}($1, 0, 100)"

    async with shared.works_for(ALICE) as handle:
        savepoint = handle.transaction()
        await savepoint.start()
        await handle.fetchval("SELECT " + _BIND.format(bob=BOB))
        try:
            read = await handle.fetchval(ask, found)
        except asyncpg.PostgresError as error:
            read = error.sqlstate
        await savepoint.rollback()

    assert read == ("28000" if shared.variables.sealed else SECRET)


@plain_only
async def test_a_role_made_for_the_app_alone_calls_the_functions(shared: SharedWorld) -> None:
    """PUBLIC may call every new function, unless told otherwise."""
    for verb in ("read(uuid,bigint,integer)", "write(uuid,bigint,bytea)", "size(uuid)"):
        function = shared.large_objects.function_sql(verb)
        may = "SELECT has_function_privilege($1, $2, 'EXECUTE')"
        assert await as_superuser(shared, may, VARIABLES.runtime_role, function)
        assert not await as_superuser(shared, may, "public", function)


@plain_only
async def test_what_the_page_tells_a_superuser_to_take_away_is_not_needed(
    shared: SharedWorld,
) -> None:
    """Advice that breaks the helper would be taken back in a hurry."""
    page = (Path(__file__).parents[2] / "docs" / "shared-objects.md").read_text()
    advice = page.partition("```sql\n")[2].partition("```")[0]
    shared.admin(*advice.replace("app_owner", VARIABLES.owner_role).strip(";\n").split(";\n"))

    async with shared.works_for(ALICE) as handle:
        for made in ("lo_create(0)", "lo_creat(-1)", "lo_from_bytea(0, 'x')"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with handle.transaction():
                    await handle.fetchval(f"SELECT {made}")
        objects = TenantLargeObjects(handle, tables=shared.large_objects)
        assert await objects.size(await objects.write(SECRET)) == len(SECRET)
    async with shared.engine() as engine:
        findings = await audit_catalog(engine, tables=shared.policies)
    assert {one.code for one in findings} == {"function_definer"}
