"""Large objects behind a guarded table: made, written, read, measured, removed, one tenant's."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest

from asgi_guard.errors import ConfigError, RLSViolationError
from asgi_guard.rls import LargeObjectTables, TenantLargeObjects, audit_catalog
from asgi_guard.tenancy import use_context
from tests.support.rls_schema import ALICE, BOB, context_of
from tests.support.shared_objects import SharedWorld, Way, plain_only

pytestmark = pytest.mark.postgres

DATA = bytes(range(256)) * 40
COUNT = "SELECT count(*) FROM pg_largeobject_metadata"


async def pieces(*sizes: int) -> AsyncIterator[bytes]:
    at = 0
    for size in sizes:
        yield DATA[at : at + size]
        at += size


async def count(shared: SharedWorld) -> int:
    connection = await asyncpg.connect(shared.rls.database.dsn())
    try:
        return int(await connection.fetchval(COUNT))
    finally:
        await connection.close()


@pytest.mark.parametrize("way", ["asyncpg", "sqlalchemy"])
async def test_an_object_lives_through_its_life(shared: SharedWorld, way: Way) -> None:
    """Every verb, on both ways to the database."""
    async with shared.works_for(ALICE, way) as handle:
        objects = TenantLargeObjects(handle, tables=shared.large_objects, chunk_size=1000)
        number = await objects.write(pieces(1, 999, 3000, 0, 6240))
        empty = await objects.write(b"")

    async with shared.works_for(ALICE, way) as handle:
        objects = TenantLargeObjects(handle, tables=shared.large_objects, chunk_size=4096)
        chunks = [chunk async for chunk in objects.read(str(number))]
        assert (b"".join(chunks), max(map(len, chunks))) == (DATA, 4096)
        assert [chunk async for chunk in objects.read(empty)] == []
        assert (await objects.size(number), await objects.size(empty)) == (len(DATA), 0)
        await objects.unlink(number)
        with pytest.raises(LookupError):
            await objects.size(number)
    assert await count(shared) == 1


@pytest.mark.parametrize("way", ["asyncpg", "sqlalchemy"])
async def test_anothers_object_is_no_object(shared: SharedWorld, way: Way) -> None:
    """Missing and foreign must look the same, and the transaction must go on."""
    async with shared.works_for(BOB, way) as handle:
        number = await TenantLargeObjects(handle, tables=shared.large_objects).write(DATA)

    async with shared.works_for(ALICE, way) as handle:
        objects = TenantLargeObjects(handle, tables=shared.large_objects)
        said = set()
        for asked in (number, uuid.uuid4(), "not one"):
            with pytest.raises(LookupError) as read:
                _ = [chunk async for chunk in objects.read(asked)]
            with pytest.raises(LookupError) as size:
                await objects.size(asked)
            with pytest.raises(LookupError) as unlinked:
                await objects.unlink(asked)
            said |= {str(error.value) for error in (read, size, unlinked)}
        assert said == {"this tenant has no such large object"}
        await objects.write(b"the transaction still works")
    assert await count(shared) == 2


@plain_only
async def test_what_is_rolled_back_leaves_nothing(shared: SharedWorld) -> None:
    """An upload that breaks off must not fill the disk."""

    async def upload() -> None:
        async with shared.works_for(ALICE) as handle:
            objects = TenantLargeObjects(handle, tables=shared.large_objects, chunk_size=1000)
            await objects.write(DATA, max_bytes=5000)

    with pytest.raises(ValueError, match="more than 5000"):
        await upload()

    assert await count(shared) == 0


async def test_an_object_is_written_once(shared: SharedWorld) -> None:
    """A reader that gets it in many pieces must not get halves of two."""
    async with shared.works_for(ALICE) as handle:
        number = await TenantLargeObjects(handle, tables=shared.large_objects).write(DATA)

    async with shared.works_for(ALICE) as handle:
        write = f"SELECT {shared.large_objects.function_sql('write')}($1, 0, 'x')"
        assert await handle.fetchval(write, number) is None
        assert await TenantLargeObjects(handle, tables=shared.large_objects).size(number) == len(
            DATA
        )


@plain_only
async def test_writing_needs_a_transaction_around_it(shared: SharedWorld) -> None:
    """Otherwise the first statement would be one, and an empty object would stay."""
    with use_context(context_of(ALICE)):
        async with shared.pool() as pool, pool.acquire() as connection:
            objects = TenantLargeObjects(connection, tables=shared.large_objects)
            with pytest.raises(ConfigError, match="no transaction"):
                await objects.write(DATA)
    assert await count(shared) == 0


async def test_a_savepoint_belongs_to_its_transaction(shared: SharedWorld) -> None:
    """Writing goes on after a savepoint, and what was rolled back to it is gone."""
    async with shared.works_for(ALICE) as handle:
        objects = TenantLargeObjects(handle, tables=shared.large_objects)
        async with handle.transaction():
            kept = await objects.write(DATA)
        savepoint = handle.transaction()
        await savepoint.start()
        lost = await objects.write(DATA)
        await savepoint.rollback()
        assert await objects.size(kept) == len(DATA)
        with pytest.raises(LookupError):
            await objects.size(lost)
    assert await count(shared) == 1


async def test_objects_go_with_their_tenant(shared: SharedWorld) -> None:
    """A customer who leaves takes everything along; nobody would ever find it again."""
    for tenant in (ALICE, BOB):
        async with shared.works_for(tenant) as handle:
            await TenantLargeObjects(handle, tables=shared.large_objects).write(DATA)

    system = await asyncpg.connect(shared.rls.system_dsn)
    await system.execute("DELETE FROM tenants WHERE id = $1", ALICE)
    await system.close()

    assert await count(shared) == 1


@plain_only
async def test_the_system_role_removes_objects_with_their_rows(shared: SharedWorld) -> None:
    """Maintenance across tenants needs no list of numbers."""
    async with shared.works_for(BOB) as handle:
        await TenantLargeObjects(handle, tables=shared.large_objects).write(DATA)

    system = await asyncpg.connect(shared.rls.system_dsn)
    await system.execute(f"DELETE FROM {shared.large_objects.table_sql}")
    await system.close()

    assert await count(shared) == 0


async def test_the_ddl_runs_twice_and_keeps_what_is_there(shared: SharedWorld) -> None:
    """Migrations run again."""
    async with shared.works_for(ALICE) as handle:
        number = await TenantLargeObjects(handle, tables=shared.large_objects).write(DATA)

    shared.admin(*shared.policies.statements(), *shared.large_objects.statements())

    async with shared.works_for(ALICE) as handle:
        objects = TenantLargeObjects(handle, tables=shared.large_objects)
        assert await objects.size(number) == len(DATA)


async def test_the_audit_finds_what_is_accepted_and_nothing_else(shared: SharedWorld) -> None:
    """DDL of our own that needs an excuse we do not give is no better than anybody's."""
    async with shared.engine() as engine:
        findings = await audit_catalog(engine, tables=shared.policies, behaviour=True)

    assert {(one.code, one.object) for one in findings} == set(shared.large_objects.accepted)
    assert {one.severity for one in findings} == {"warning"}


@plain_only
async def test_handles_of_nobody_are_refused(shared: SharedWorld) -> None:
    """The guard is asked before a byte is sent."""
    async with shared.pool() as pool, pool.acquire() as connection:
        objects = TenantLargeObjects(connection, tables=shared.large_objects)
        with pytest.raises(RLSViolationError, match="RLS_NOT_ENFORCED"):
            await objects.size(uuid.uuid4())
    bare = await asyncpg.connect(shared.rls.dsn)
    with use_context(context_of(ALICE)), pytest.raises(RLSViolationError):
        await TenantLargeObjects(bare).size(uuid.uuid4())
    await bare.close()
    with pytest.raises(ConfigError, match="got a str"):
        await TenantLargeObjects("postgresql://").size(uuid.uuid4())


@pytest.mark.parametrize("chunk_size", [0, -1, 8 * 1024 * 1024 + 1, 1.5, True])
def test_a_chunk_that_would_fill_the_memory_is_refused(chunk_size: int) -> None:
    """The bound on memory is the point of chunks."""
    with pytest.raises(ConfigError):
        TenantLargeObjects(None, chunk_size=chunk_size)


@pytest.mark.parametrize("tenants", ["", "id", "tenants.", "a\nb.id"])
def test_a_reference_that_cannot_be_one_is_refused(tenants: str) -> None:
    """It becomes part of SQL."""
    with pytest.raises(ConfigError):
        LargeObjectTables(tenants=tenants)
